r"""Claims about any method: rules that all methods keep, a local objective, and agreement with `like`."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
from dataclasses import dataclass, replace

import numpy as np

from minilift.checks import lifted
from minilift.checks.cases import to_host
from minilift.checks.claims import defaults_of
from minilift.checks.maps import damping_mistakes, design_matrix
from minilift.checks.minima import minimum_finding
from minilift.checks.networks import (
    as_base,
    class_of,
    compare_blocks,
    directions_of,
    first_run,
    fresh,
    has_own_direction,
    kept,
    norm_steps,
    normed_case,
    run_method,
    whole_step,
    worst_block,
)
from minilift.checks.numeric import Probed, Reference, compare, dense, fits, fitted_factor, gradient, tried
from minilift.checks.report import Finding, NotClaimed, claim, error_text, measured, nothing_of, only_if, worst_of
from minilift.methods import FOOF, BackProp, GaussNewton, LocoProp, Method, ProxProp, SemiImplicit
from minilift.support.backend import to_numpy

GENERAL = ("definition", "convention", "ProxProp Prop. 4, 5", "ProxProp Prop. 3; SIBP Theorem")  # of any method
TOLD = (BackProp, ProxProp, LocoProp, SemiImplicit, FOOF, GaussNewton)  # their equations are in `papers`
EQUATIONS: list = []  # the measures of whole steps; where none is claimed, the reference method is run for comparison


@dataclass(frozen=True)
class Claimed:
    """A method together with what its user says about it.

    Attributes
    ----------
    method : Method
    told : Method
        The method that it should equal, or itself. If this is one of the package's, its equations apply.
    objective : callable or None
        From (block, theta) to a number: the local objective that its new parameters should minimise.
    """

    method: object
    told: object
    objective: object

    def is_of_j(self):
        """Skip a method that is, or is said to be, something other than a step on J: sign steps, a lifted energy."""
        only_if(self.method.descends_on_loss and self.told.descends_on_loss, "its steps are not said to descend on J")
        other = self.objective is not None or self.told is not self.method
        only_if(isinstance(self.told, TOLD) or not other, "its objective, or `like`, says what it claims")


def equation(words, formula, source):
    """Register a claim about a whole step as one of the `EQUATIONS`; each case is measured once."""

    def register(measure):
        @functools.wraps(measure)
        def once(claimed, case):
            return kept(case, measure, claimed, lambda: measure(claimed, case))

        EQUATIONS.append(once)
        return claim("method", words, formula, source)(once)

    return register


def has_equation(claimed, case):
    """Whether an equation of the whole step is claimed in a case."""
    for measure in EQUATIONS:
        with contextlib.suppress(NotClaimed):
            measured(measure, claimed, case)
            return True
    return False


def refusal(claimed, case, chains=False):
    """Return the ValueError, beginning with a method's name, by which it refuses a network ("BCD: expects a chain…").

    It is None if there is no such error. If the method may be written for `chains`, any error on a graph is a refusal.
    """
    run = [claimed.method] if isinstance(claimed.told, TOLD) else [claimed.method, claimed.told]
    for method in run:
        try:
            directions_of(method, case)
        except ValueError as error:
            if str(error).startswith(f"{type(method).__name__}: "):
                return str(error)
        except Exception as error:  # on a chain the claims will meet the error and report it
            if chains and any(case.net.inputs[l] != (l - 1,) for l in range(1, case.net.depth + 1)):
                return f"{error_text(error)}; a method for chains alone says so by a ValueError"
    return None


def scaled(case, l, value, floor=1e-4):
    """Return the reference of an array of θ_l's shape, as accurate as the gradients are."""
    return Reference([case.project(l, value)], *case.propagated_tolerance, floor)


def scaled_blocks(case, values, least=0.0, floor=1e-4):
    """Return references for all maps, with a tolerance of `least` or more."""
    return case.per_map(lambda l: scaled(case, l, values[l], floor).loosened(least))


# ---- any method


@claim("method", "direction returns J and, after reset(), the same steps; θ is left alone",
       "direction(net, X, y) = (J(θ), d)", "definition")
def returns_the_loss(claimed, case):
    method, first = first_run(claimed.method, case)
    method.reset()
    loss, steps = whole_step(method, case)
    if len(steps) != len(case.net.parameters):
        return nothing_of(["directions are not aligned with net.parameters"],
                          "one direction for each of net.parameters")
    finding = compare(float(loss), dense(case.loss(case.theta)), factors=case.factors)
    if not finding.holds:
        return finding
    if not all(np.all(np.isfinite(step)) for step in first):
        return Finding(math.inf, 0.0, "steps are numbers", ("it is not finite (NaN or inf)",))
    return Finding(gap(first, steps) + moved(case), 0.0, "bit for bit",
                   lambda: (repeat_reason(claimed.method, case, first),))


def gap(steps, others):
    """Return the largest difference between two lists of steps; two NaNs count as equal."""
    pairs = zip(map(to_numpy, steps), map(to_numpy, others), strict=True)
    return max(0.0 if np.array_equal(x, y, equal_nan=True) else float(np.nan_to_num(np.max(abs(x - y)), nan=np.inf))
               for x, y in pairs)


def moved(case):
    """Return how far a method's run has moved the parameters of its network."""
    return max(float(np.max(abs(case.theta[l] - to_numpy(case.guarded.net.theta[l])))) for l in case.net.maps)


def repeat_reason(method, case, first):
    """Return why a method's second run differs from its first."""
    if moved(case):
        return "it changes the parameters of the network"
    again = fresh(method)
    if gap(run_method(fresh(method), case), run_method(again, case)):
        return "two runs of it, each without memory, differ: it draws random numbers, or remembers elsewhere"
    again.reset()
    if gap(first, run_method(again, case)):
        return "it keeps a state that reset() does not clear"
    return "direction(…) returns other steps than directions(…)"


@claim("method", "running statistics move where direction is told to commit, by its batch alone",
       "v ← (1 − momentum) v + momentum · v_batch, J of the batch's own statistics", "definition", once=True)
def commits_what_it_is_told(claimed, case):
    normed = case if case.net.norms else normed_case(case.net.backend)
    net, rng = normed.guarded.net, functools.partial(np.random.default_rng, 0)
    before = [norm.running for norm in net.norms]

    def after(run):
        """Return the running statistics after a function has been called, and what it returns."""
        try:
            returned = run()
            return returned, [np.array(to_numpy(norm.running)) for norm in net.norms]
        finally:
            for norm, running in zip(net.norms, before):
                norm.running = running

    def direction(**options):
        return after(lambda: fresh(claimed.method).direction(net, normed.X, normed.y, rng=rng(), **options))

    try:
        (loss, _), left = direction()
        takes = "commit" in inspect.signature(claimed.method.direction).parameters
        committed = direction(commit=True)[1] if takes else None
    except Exception as error:
        raise NotClaimed(f"it does not run on a network with batch norm: {error_text(error)}") from None
    right = after(lambda: net.commit(net.propagate(normed.lend(normed.X), training=True, rng=rng())))[1]
    finding = compare(float(loss), dense(normed.loss(normed.theta)), factors=normed.factors)
    if not finding.holds:
        return finding
    reasons = ["it moves the running statistics, though it is not told to commit"] * bool(gap(before, left))
    if committed is not None and gap(right, committed) > 1e-9:
        reasons.append("told to commit it leaves the running statistics as they are" if not gap(before, committed)
                       else "told to commit it moves the running statistics otherwise than by its batch, once")
    return nothing_of(reasons, "by those after a plain forward pass")


@claim("method", "what it keeps from batch to batch is in its state_dict(), and reset() forgets it",
       "d(B after A) = d(B)", "definition", once=True)
def keeps_what_it_says(claimed, case):
    other, kept = case.batches[1], fresh(claimed.method)
    expected = run_method(fresh(claimed.method), other)
    run_method(kept, case)
    says = bool(kept.state_dict()) or kept.whole_batch
    after = 0.0 if says else gap(expected, run_method(kept, other))
    kept.reset()
    found = ["the steps depend on the batch before: what is kept is not in state_dict()"] * bool(after and not says)
    found += ["reset() does not forget what is kept of the batch before"] * bool(gap(expected, run_method(kept, other)))
    return nothing_of(found, "bit for bit")


@claim("method", "what it returns stays as it is when the next batch comes", "d(A) after B = d(A)", "convention",
       once=True)
def returns_its_own_arrays(claimed, case):
    method = fresh(claimed.method)
    run_method(method, case)  # the first batch creates buffers
    given = {"the steps": run_method(method, case)}
    given["the arrays of state_dict()"] = [value for value in method.state_dict().values() if getattr(value, "ndim", 0)]
    before = {what: [np.array(to_numpy(array)) for array in arrays] for what, arrays in given.items()}
    run_method(method, case if method.whole_batch else case.batches[1])
    reasons = [f"{what} of one batch are changed by the next: a live buffer is handed out, not a copy"
               for what, arrays in given.items() if arrays and gap(before[what], arrays)]
    return nothing_of(reasons, "bit for bit")


def is_stateless(told):
    """Whether the equations of one of the package's methods refer to each batch alone."""
    keeps = getattr(told, "decay", 0) if isinstance(told, FOOF) else getattr(told, "local_optimizer", "sgd") != "sgd"
    return isinstance(told, TOLD) and not keeps


@claim("method", "in one batch after another, without reset(), it is what it should be",
       "d(B after A), d(C after A, B), …", "definition", once=True)
def stays_right(claimed, case):
    of_equations = isinstance(claimed.told, TOLD) and type(claimed.told) is class_of(claimed.told)
    keeps = isinstance(claimed.told, TOLD) and not is_stateless(claimed.told)  # then its class is run beside a variant
    given = claimed.told is not claimed.method
    only_if(given or (keeps and not of_equations), "nothing is given as like")
    alone = of_equations and is_stateless(claimed.told)
    whole = claimed.method.whole_batch
    only_if(whole == claimed.told.whole_batch, "of it and `like` one alone keeps its batch")
    batches = 3 * ([case] * 4 if whole else case.batches)  # enough calls to notice a change made after some of them
    one, other = fresh(claimed.method), fresh(claimed.told) if given else told_alone(claimed.told)
    beside = [run_method(one, batch) for batch in batches]
    expected = [run_method(fresh(claimed.method) if alone else other, batch) for batch in batches]
    findings = [compare(flat(d), dense(flat(right), 1e-6, "of each batch alone, or the steps of `like`"))
                for d, right in zip(beside, expected) if np.all(np.isfinite(flat(right)))]
    only_if(findings and findings[0].holds, "it is wrong in the first batch already")
    if not all(found.holds for found in findings) and (change := sweeps_differ(claimed, case)):
        return next(found for found in findings if not found.holds).because(change)
    k, worst = next(((k, found) for k, found in enumerate(findings, start=1) if not found.holds), (0, findings[0]))
    if math.isnan(worst.number):
        return worst.because("it is not finite (NaN or inf) where the signals are 0: it divides by a norm")
    return worst.because(
        f"the first call is right, call {k} in a row is not: what is kept between calls is lost, or changed otherwise"
        if whole else
        f"the first batch is right, batch {k} in a row is not: what is kept from batch to batch (momentum, a factor, a "
        "start) has no place in it, or another weight")


@claim("method", "in a later epoch, too, its steps are those of the reference, or of its class",
       "d of epoch 3, by start_epoch(3)", "definition", once=True)
def follows_epochs(claimed, case):
    method, told = claimed.method, claimed.told
    only_if(type(method).start_epoch is not Method.start_epoch, "it knows of no epochs")
    told = told_alone(told)
    only_if(claimed.objective is None and type(told) is not type(method), "no other method is given as like")

    def compared(epoch):
        pair = fresh(method), fresh(told)
        for one in pair if epoch is not None else ():
            one.start_epoch(epoch)
        got, expected = (flat(run_method(one, case)) for one in pair)
        return compare(got, dense(expected, 1e-5, "the steps of `like`, or of its class"))

    before, first, later = map(compared, (None, 0, 3))
    only_if(before.holds or first.holds, "it is wrong in the first epoch already")
    if not first.holds:
        return first.because("it is right as long as no epoch is announced, after start_epoch(0) it is not: off by one")
    return later.because(
        "it is right in the first epoch, later it is not: what start_epoch announces is taken late, or otherwise")


def flat(steps):
    """Return the entries of a list of steps in one vector."""
    return np.concatenate([np.ravel(to_numpy(step)) for step in steps])


@claim("method", "resumed from its state_dict() it goes on as if it had not stopped", "d(C after A, B)", "definition",
       once=True)
def goes_on_from_its_state(claimed, case):
    return worst_of([goes_on_after(claimed, case, calls) for calls in (2, 5)])  # the method may count its calls


def goes_on_after(claimed, case, calls):
    """Return the finding on a method that is stopped after so many calls, and resumed."""
    method, again = fresh(claimed.method), fresh(claimed.method)
    other = case if method.whole_batch else case.batches[1]
    for batch in (case, other, case, other, other)[:calls]:
        run_method(method, batch)
    state = {name: np.array(to_numpy(value)) if getattr(value, "ndim", 0) else copy.deepcopy(value)
             for name, value in method.state_dict().items()}  # as a checkpoint stores it
    only_if(state, "it keeps nothing from batch to batch")
    try:
        again.load_state_dict(state)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise NotClaimed(f"it does not take its own state back: {error}") from None
    # random numbers drawn in one call may show in the next
    expected, got = ([np.array(to_numpy(step)) for _ in range(2) for step in run_method(one, other)]
                     for one in (method, again))
    size = max(float(np.max(abs(step))) for step in expected)
    return Finding(gap(expected, got) / (size + 1e-300), 1e-9, "relative to the steps", (
        "what it keeps is not all in state_dict(), or is not taken back: a run that is resumed goes on otherwise",))


@claim("method", "its steps in a batch norm's scale and shift", "∂J/∂(s, t), or as the method takes them", "convention",
       once=True)
def steps_of_norms(claimed, case):
    mine, told = (type(method).explicit_step for method in (claimed.method, claimed.told))
    other = mine is not told and mine.__module__.startswith("minilift.")  # LocoProp's, say, like ProxProp
    only_if(isinstance(claimed.told, (BackProp, ProxProp)) and not other,
            "which multiple of the gradient it takes is its own matter")
    if case.net.norms:
        return norm_steps(claimed.method, case)
    normed = normed_case(case.net.backend)
    try:
        first_run(claimed.method, normed)
    except Exception as error:
        raise NotClaimed(f"it does not run on a network with batch norm: {error_text(error)}") from None
    return norm_steps(claimed.method, normed)


@claim("method", "on a float32 network its steps are float32", "dtype of d", "convention", once=True)
def keeps_float32(claimed, case):
    (single, X, y), why = case.single, "a network is float32 by default"
    state = single.propagate(X, training=True, rng=np.random.default_rng(0))

    def steps_of(method):
        return (method.direction(copy.deepcopy(single), X, y)[1] if has_own_direction(method) else
                method.directions(single, state, y))

    try:
        steps = steps_of(fresh(claimed.method))
    except ArithmeticError as error:
        # not a subclass, such as a division by zero, but an iteration that reports that it misses its tolerance
        only_if(type(error) is not ArithmeticError, f"in float32 it gives up: {error}")
        raise
    except TypeError as error:
        only_if("dtype" in str(error), "it raises, which other claims say")
        return nothing_of([f"float32 arrays become float64, by np.ones or np.eye without dtype perhaps, or by a Gram "
                           f"matrix, which always is float64: {error}"], why)
    told = claimed.told if claimed.told is not claimed.method else None
    right = told and tried(lambda: flat(steps_of(told_alone(told))))
    if right is None or not np.all(np.isfinite(right)):
        return nothing_of([], why)
    own, doubled = (flat(first_run(method, case)[1]) for method in (claimed.method, told_alone(told)))
    size, rounding = np.max(abs(doubled)), np.max(abs(right - doubled))
    largest = max(solved_anew(told, case.theta[l]) for l in case.net.maps)
    allowed = 1e-4 * size + 100 * rounding + 50 * np.finfo(np.float32).eps * largest
    other = not np.max(abs(flat(steps) - right)) <= allowed and fits(own, doubled)  # NaN too
    if other and not np.all(np.isfinite(flat(steps))):
        return nothing_of(["right in float64, its float32 steps are not finite (NaN or inf)"], why)
    return nothing_of(["right in float64, its float32 steps are others than those of `like`: a number, or a branch, "
                       "for that dtype"] * bool(other), why)


def told_alone(told):
    """Return the reference method without memory; for a subclass of one of the package's, an instance of that class."""
    return as_base(told, class_of(told)) if isinstance(told, TOLD) else fresh(told)


@claim("method", "it is a descent direction", "⟨∇J, d⟩ > 0, d to be subtracted", "ProxProp Prop. 4, 5")
def descends(claimed, case):
    claimed.is_of_j()
    only_if(not claimed.told.new_weights, "of steps whose signals pass through new weights short ones alone descend")
    slopes, why = case.dense_gradients, "any positive cosine with ∇J will do"
    d = directions_of(claimed.method, case)
    norm, length = np.sqrt(inner(slopes, slopes)), np.sqrt(inner(d, d))
    only_if(norm >= 1e-10 and np.isfinite(length), "the gradient vanishes here, or its steps are not finite")
    cosine = inner(slopes, d) / (norm * length) if length > 0 else 0.0
    if cosine > 0:
        return Finding(-cosine, 0.0, why)
    if claimed.told is not claimed.method:
        right = tried(directions_of, told_alone(claimed.told), case)
        only_if(right is None or inner(slopes, right) > 0, f"{claimed.told!r} itself leads up here")
    reasons = compare_blocks(case, d, scaled_blocks(case, slopes)).mistakes()
    reasons = (*(reason for reason in reasons if "sign" in reason or "zero" in reason), "it leads up")
    return Finding(-cosine if cosine else 1.0, 0.0, why, reasons)


def inner(u, v):
    """Return the inner product of two lists that hold an array for each map."""
    return sum(float(np.vdot(x, y)) for x, y in zip(u, v) if x is not None)


@claim("method", "stationary points of J are its fixed points", "∇J = 0 ⇒ d = 0", "ProxProp Prop. 3; SIBP Theorem",
       once=True)
def fixed_points(claimed, case):
    claimed.is_of_j()
    stationary = case.stationary
    noise = 0.5 * np.random.default_rng(6).standard_normal(stationary.X.shape)
    elsewhere = replace(stationary, X=stationary.X + noise)
    steps = tried(directions_of, claimed.method, elsewhere)
    only_if(steps is not None, "it does not run on a network of two maps, on which this is checked")
    size, d = max(np.max(abs(x)) for x in steps[1:]) + 1e-3, directions_of(claimed.method, stationary)
    number = float(max(np.max(abs(x)) for x in d[1:]) / size)
    why = "relative to the step on other data; the stationary point is exact to rounding"

    def reasons():
        pairs = list(zip(d[1:], stationary.theta[1:]))
        shares = [fitted_factor(step, theta) for step, theta in pairs]
        if all(fits(step, share * theta) for (step, theta), share in zip(pairs, shares)):
            return ["it moves where ∇J = 0, by " + (
                "θ: it proposes the new parameters; a step is the old ones minus the new" if np.allclose(shares, 1)
                else "a multiple of θ: weight decay, which J does not have")]
        if tried(scale_free, claimed.method, elsewhere):
            return ["it moves where ∇J = 0: its length does not fall with the gradient; it is normalised, or a sign"]
        return ["it moves where ∇J = 0"]

    return Finding(number, 1e-7, why, reasons)


def scale_free(method, case):
    """Whether the steps stay as long when the signals are scaled by 1e-3."""
    pairs = recorded_blocks(method, case)
    smaller = [to_host(fresh(method).propose(block._replace(g=1e-3 * block.g))) for block, _ in pairs]
    return bool(pairs) and all(fits(step, other) for (_, step), other in zip(pairs, smaller))


@claim("method", "the order of the samples does not matter", "d(PX, Py) = d(X, y)", "convention", once=True)
def batch_order(claimed, case):
    only_if(len(case.X) > 1, "a batch of one")
    if not isinstance(claimed.told, TOLD) and claimed.told is not claimed.method:
        steps = tried(lambda: [flat(run_method(fresh(claimed.told), each)) for each in (case, case.permuted)])
        only_if(steps is None or np.allclose(*steps, rtol=1e-5), "it does in `like`")
    d = directions_of(claimed.method, case)
    references = case.per_map(lambda l: dense(case.project(l, d[l]), 1e-5, "iterations amplify rounding"))
    return compare_blocks(case, directions_of(claimed.method, case.permuted), references,
                          mistakes=lambda: case.per_map(lambda l: {}))


# ---- a local objective given by the user


@claim("method", "its new parameters minimise the objective given for it",
       "θ_l − d_l = argmin objective(block, θ)", "yours", main=True)
def minimises_objective(claimed, case):
    only_if(claimed.objective is not None, "no objective is given: objective=function(block, theta)")

    def finding(block, step):
        theta, numbers = to_numpy(block.theta), defaults_of(claimed.objective)
        held = {name: to_numpy(value) for name in ("a", "z", "g", "g_a") if (value := getattr(block, name)) is not None}

        def energy(theta, theta_old, **given):
            there = block._replace(theta=theta_old, **{name: given[name] for name in held})
            return claimed.objective(there, theta, **{name: given[name] for name in numbers})

        found = minimum_finding(energy, "theta", theta - step, theta, case.xp, theta_old=theta, **held, **numbers)

        def with_damped(known):
            new = minimum_finding(energy, "theta", step, theta, case.xp, theta_old=theta, **held, **numbers).holds
            proposes = ["it proposes the new parameters; a step is the old ones minus the new"] * new
            return [*proposes, *damped_reasons(claimed, case, block, step), *known]

        return found.retold(with_damped)

    blocks = recorded_blocks(claimed.method, case)
    only_if(blocks, "it proposes no steps block by block")
    return worst_block([(block.l, finding(block, step)) for block, step in blocks])


def as_low_as(claimed):
    """Return a function that says whether another method comes as low in the objective, in each map, as probes do.

    The probes are those around this method's steps; a minimiser is as low. It costs one value a map, probing hundreds.
    """
    def energy(block):
        theta = to_numpy(block.theta)
        return lambda x: float(claimed.objective(block, x.reshape(theta.shape)))

    def reached(one, case):
        return [energy(block)((to_numpy(block.theta) - step).ravel()) for block, step in recorded_blocks(
            one.method, case)]

    def lowest(case):
        rng = np.random.default_rng(0)
        return [Probed.around(energy(block), (old := to_numpy(block.theta).ravel()) - step.ravel(), old, rng).lowest
                for block, step in recorded_blocks(claimed.method, case)]

    def is_as_low(claim, other, case):
        return claim.measure is not minimises_objective or all(
            new <= old + 1e-9 * abs(old) for new, old in zip(reached(other, case), kept(
                case, "lowest", claimed.method, lambda: lowest(case)), strict=True))

    return is_as_low


def damped_reasons(claimed, case, block, step):
    """Return the common mistakes in a damped step that explain a step, if the objective has that form.

    Its Hessian in each output unit is then c ÃᵀÃ + βI; differences, which are exact for a quadratic function, give it.
    """
    theta, A = to_numpy(block.theta), design_matrix(case, block.phi, to_numpy(block.a))

    def value(t):
        return case.call(lambda new: claimed.objective(block, new), t)

    if not is_quadratic(value, theta):
        return ()
    units = np.eye(theta.size)[:: theta.shape[1]].reshape(-1, *theta.shape)  # the first output unit's
    hessian = np.array([[sum(s * t * value(theta + s * u + t * v) for s in (1, -1) for t in (1, -1)) / 4
                         for u in units] for v in units])
    right = gradient(value, theta).value
    if not np.all(np.isfinite(hessian)) or np.linalg.cond(hessian) > 1e9:
        return ()
    expected = np.linalg.solve(hessian, right)
    return compare(step, dense(expected), lambda: mistakes_of_damped_form(A.T @ A, right, expected, step, len(A)),
                   {"N": len(A)}, theta=True).mistakes()


def is_quadratic(f, x):
    """Whether a scalar f has constant curvature along a random line, unlike one that has a kink or flattens."""
    step = np.random.default_rng(5).standard_normal(x.shape)
    values = [float(f(x + t * step)) for t in (-2, -1, 0, 1, 2)]
    bends = np.diff(values, 2)
    return bool(np.ptp(bends) <= 1e-7 * np.max(abs(bends)) + 1e-13 * np.max(np.abs(values)))


def mistakes_of_damped_form(C, b, expected, got, rows):
    """Return what common mistakes in (cC + βI)⁻¹b would give, if this is the expected form, for some c and β."""
    system = np.stack([(C @ expected).ravel(), expected.ravel()], axis=1)
    if expected.size < 3 or not np.all(np.isfinite(system)):
        return {}
    (share, damping), _, rank, _ = np.linalg.lstsq(system, b.ravel(), rcond=1e-9)
    if rank < 2 or not damping > 0 or not fits((system @ (share, damping)).reshape(b.shape), b):
        return {}
    return damping_mistakes(share * C, b, damping, rows, got)


def recorded_blocks(method, case):
    """Return the pairs (block of read-only arrays that a method saw, step that it proposed for it)."""
    method, pairs = fresh(method), []
    propose = method.propose

    def record(block):
        step = propose(block)
        pairs.append((block, to_host(step)))
        return step

    method.propose = record
    run_method(method, case)
    return pairs


@claim("method", "its steps are those of the reference", "d_l = d_l of `like`", "yours")
def equals_reference(claimed, case):
    told, tolerance, why = claimed.told, 1e-7, "no reference is given as like"
    is_variant = isinstance(told, TOLD) and type(told) is not class_of(told) and claimed.objective is None
    only_if(told is not claimed.method or is_variant, why)  # a subclass is compared with its class
    if isinstance(told, TOLD):
        other = isinstance(told, SemiImplicit) and told is not claimed.method  # its claims take η, λ from the method
        only_if(other or not has_equation(claimed, case), why)
        told, tolerance = as_base(told, class_of(told)), 1e-5
    got, expected = directions_of(claimed.method, case), tried(directions_of, told, case)
    only_if(expected is not None, f"{told!r} itself does not run here")
    rest = unsolved(told, case) if isinstance(told, GaussNewton) else 0.0

    def reference(l):
        right = dense(case.project(l, expected[l]), tolerance, "the steps of `like`, or of its class")
        right = right._replace(floor=right.floor + 1e-3 * solved_anew(told, case.theta[l]))
        return right.loosened(rest / (np.max(abs(expected[l])) + right.floor))

    def mistakes():
        slopes = directions_of(BackProp(), case)
        return case.per_map(lambda l: case.mistakes[l] | mistakes_of_damped_form(
            case.gram[l], slopes[l], expected[l], got[l], len(case.X)))

    if not np.all(np.isfinite(flat(expected[l] for l in case.net.maps))):
        return Finding(math.inf, tolerance, "a reference is of numbers", (
            f"the reference, {told!r}, returns NaN or inf: it is to blame, not what is held against it",))
    finding = compare_blocks(case, got, case.per_map(reference), mistakes)
    if not finding.holds and (factor := constant_factor(case, got, expected)) is not None:
        # then no further mistake is guessed, such as another damping, which may resemble a factor by chance
        finding = compare_blocks(case, got, case.per_map(reference), lambda: case.per_map(lambda l: {}))
        also = [why for why, ratio in numbers_off(claimed.method, told).items() if ratio in (factor, 1 / factor)]
        return finding.retold(lambda known: [*known, *also])
    change = not finding.holds and sweeps_differ(claimed, case)
    off = list(numbers_off(claimed.method, told))
    return finding.because(*([change] if change else off)) if change or off else finding


def solved_anew(told, theta):
    """Return the size of θ if a sweep solves for θ anew: the step is then a difference, with the rounding of θ."""
    return float(np.max(abs(theta), initial=0.0)) if isinstance(told, lifted.DESCENDING) else 0.0


def constant_factor(case, got, expected):
    """Return the factor by which the steps in all maps are off, if it is the same in all, else None."""
    got, expected = (flat(steps[l] for l in case.net.maps) for steps in (got, expected))
    factor = fitted_factor(got, expected)
    return factor if got.size > 1 and factor and fits(got, factor * expected, expected) else None


def numbers_off(method, told):
    """Return the ratios of a method's numbers to those of `like`, by description, where they differ."""
    numbers = {name: (vars(method).get(name, value), value) for name, value in vars(told).items() if np.isscalar(value)}
    return {f"{name} is {mine}, that of `like` {value}": tried(lambda: mine / value)  # noqa: B023
            for name, (mine, value) in numbers.items() if mine != value and value == value}


def sweeps_differ(claimed, case):
    """Return how a sweep differs from that of `like`, if both methods update blocks."""
    lifts = isinstance(claimed.method, lifted.DESCENDING) and type(claimed.told) in lifted.DESCENDING
    return lifts and tried(lifted.departure, claimed.method, claimed.told, case, False)


def unsolved(told, case):
    """Return a bound on the error of Gauss–Newton's conjugate gradients, given that G has no negative eigenvalue."""
    slope = flat(directions_of(BackProp(), case)[l] for l in case.net.maps) / (len(case.X) * summed_weight(case))
    return told.tolerance * np.linalg.norm(slope) / told.damping


def told_as(claimed, kind):
    """Return the method whose equations apply, if it is an instance of a class."""
    only_if(isinstance(claimed.told, kind), f"it is not said to be {kind.__name__} (like={kind.__name__}(…))")
    return claimed.told


def summed_weight(case):
    """Return the factor of one sample's loss in J: SIBP's η refers to the summed loss."""
    return case.net.loss_function.weight(len(case.X))

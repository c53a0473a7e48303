r"""Claims about methods: those that hold for any, of a local objective, and of each paper's method.

The references are dense: the gradients come from differences, the Gram matrices from probing each map, and
every local problem is written out once more as its paper prints it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minilift.checks import lifted
from minilift.checks.claims import defaults_of, minimum_finding
from minilift.checks.layers import damping_mistakes, design_matrix, to_host
from minilift.checks.networks import (
    NetCase,
    as_base,
    class_of,
    compare_blocks,
    directions_of,
    first_run,
    fresh,
    kept,
    norm_steps,
    normed_case,
    run_method,
    worst_block,
)
from minilift.checks.numeric import Reference, compare, dense, directional, fits, fitted_factor, gradient, tried
from minilift.checks.report import Finding, Guess, NotClaimed, claim, error_text, measured, nothing_of, only_if
from minilift.layers.activations import Identity
from minilift.layers.normalization import Dropout
from minilift.methods import FOOF, KFAC, BackProp, GaussNewton, LocoProp, Method, ProxProp, SemiImplicit
from minilift.methods.backward.locoprop import decay_scales
from minilift.optim import SGD
from minilift.support.backend import to_numpy

GENERAL = ("definition", "convention", "ProxProp Prop. 4, 5", "ProxProp Prop. 3; SIBP Theorem")  # of any method
TOLD = (BackProp, ProxProp, LocoProp, SemiImplicit, FOOF, GaussNewton)  # whose equations are written out below
EQUATIONS: list = []  # what measures those of whole steps: where none is claimed, the method itself is run beside


@dataclass(frozen=True)
class Claimed:
    """A method together with what its user says of it.

    Attributes
    ----------
    method : Method
    told : Method
        The method that it should equal, or itself. If it is one of the package's, its equations apply.
    objective : callable or None
        From (block, theta) to a number: the local objective that its new parameters should minimise.
    """

    method: object
    told: object
    objective: object

    def is_of_j(self):
        """Skip a method that is, or is said to be, something else than a step on J: sign steps, a lifted energy."""
        only_if(self.method.descends_on_loss and self.told.descends_on_loss, "its steps are not said to descend on J")
        other = self.objective is not None or self.told is not self.method
        only_if(isinstance(self.told, TOLD) or not other, "its objective, or `like`, says what it claims")


def equation(words, formula, source):
    """Register a claim about a whole step, one of a method's `EQUATIONS`; each case is measured once."""

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


def refusal(claimed, case):
    """Return the ValueError with which a method refuses a network by its name ("BCD: expects a chain…"), or None."""
    run = [claimed.method] if isinstance(claimed.told, TOLD) else [claimed.method, claimed.told]
    for method in run:
        try:
            directions_of(method, case)
        except ValueError as error:
            if str(error).startswith(f"{type(method).__name__}: "):
                return str(error)
        except Exception:  # the claims will meet it, and report it
            continue
    return None


def scaled(case, l, value, floor=1e-4):
    """Return the reference of an array of θ_l's shape, as accurate as the gradients are."""
    return Reference([case.project(l, value)], *case.propagated_tolerance, floor)


def scaled_blocks(case, values, least=0.0, floor=1e-4):
    """Return references for all maps, with at least some tolerance."""
    return case.per_map(lambda l: scaled(case, l, values[l], floor).loosened(least))


# ---- any method


@claim("method", "direction returns J and, after reset(), the same steps; θ is left alone",
       "direction(net, X, y) = (J(θ), d)", "definition")
def returns_the_loss(claimed, case):
    method, first = first_run(claimed.method, case)
    method.reset()
    drops = any(isinstance(layer, Dropout) for layer in case.net.layers)  # of the random numbers of `run_method`
    options = {"rng": np.random.default_rng(0)} if drops else {}
    loss, steps = method.direction(case.guarded.net, case.X, case.y, **options)
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
    """Return the largest difference of two lists of steps; none where both are NaN, for they are the same."""
    pairs = zip(map(to_numpy, steps), map(to_numpy, others), strict=True)
    return max(0.0 if np.array_equal(x, y, equal_nan=True) else float(np.nan_to_num(np.max(abs(x - y)), nan=np.inf))
               for x, y in pairs)


def moved(case):
    """Return how far the parameters of the network that methods are run on have moved."""
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
        """Return the running statistics that a function leaves, and what it returns."""
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
        evaluated = net.loss_function.value(net.propagate(normed.lend(normed.X)).z[net.depth], normed.lend(normed.y))
        return finding.retold(lambda known: (
            ["J is that of the running statistics, it should be that of the batch's own, as in training"]
            * fits(np.asarray(float(loss)), np.asarray(float(evaluated))) + [*known]))
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
    run_method(method, case)  # in the first batch buffers are made
    given = {"the steps": run_method(method, case)}
    given["the arrays of state_dict()"] = [value for value in method.state_dict().values() if getattr(value, "ndim", 0)]
    before = {what: [np.array(to_numpy(array)) for array in arrays] for what, arrays in given.items()}
    run_method(method, case if method.whole_batch else case.batches[1])
    reasons = [f"{what} of one batch are changed by the next: a live buffer is handed out, not a copy"
               for what, arrays in given.items() if arrays and gap(before[what], arrays)]
    return nothing_of(reasons, "bit for bit")


def is_stateless(told):
    """Whether the equations of one of the package's methods are of each batch alone."""
    keeps = getattr(told, "decay", 0) if isinstance(told, FOOF) else getattr(told, "local_optimizer", "sgd") != "sgd"
    return isinstance(told, TOLD) and not keeps


@claim("method", "in one batch after another, without reset(), it is what it should be",
       "d(B after A), d(C after A, B), …", "definition", once=True)
def stays_right(claimed, case):
    only_if(claimed.told is not claimed.method, "nothing is given as like")
    of_equations = isinstance(claimed.told, TOLD) and type(claimed.told) is class_of(claimed.told)
    only_if(is_stateless(claimed.told) or not of_equations, "its equations average over batches")
    whole = claimed.method.whole_batch
    only_if(whole == claimed.told.whole_batch, "of it and `like` one alone keeps its batch")
    batches = 3 * ([case] * 4 if whole else case.batches)  # what is changed after some calls is met
    one, other = fresh(claimed.method), fresh(claimed.told)
    beside = [run_method(one, batch) for batch in batches]
    expected = [run_method(fresh(claimed.method) if of_equations else other, batch)
                for batch in batches]
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

    def steps(method, epoch):
        method = fresh(method)
        method.start_epoch(epoch)
        return flat(run_method(method, case))

    why = "the steps of `like`, or of its class"
    first, later = (compare(steps(method, epoch), dense(steps(told, epoch), 1e-5, why)) for epoch in (0, 3))
    only_if(first.holds, "it is wrong in the first epoch already")
    return later.because(
        "it is right in the first epoch, later it is not: what start_epoch announces is taken late, or otherwise")


def flat(steps):
    """Return the entries of a list of steps in one vector."""
    return np.concatenate([np.ravel(to_numpy(step)) for step in steps])


@claim("method", "resumed from its state_dict() it goes on as if it had not stopped", "d(C after A, B)", "definition",
       once=True)
def goes_on_from_its_state(claimed, case):
    method, again = fresh(claimed.method), fresh(claimed.method)
    other = case if method.whole_batch else case.batches[1]
    for batch in (case, other):
        run_method(method, batch)
    state = {name: np.array(to_numpy(value)) if getattr(value, "ndim", 0) else copy.deepcopy(value)
             for name, value in method.state_dict().items()}  # as a checkpoint holds it
    only_if(state, "it keeps nothing from batch to batch")
    try:
        again.load_state_dict(state)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise NotClaimed(f"it does not take its own state back: {error}") from None
    # what is drawn in one call may show in the next
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
    try:
        steps = fresh(claimed.method).directions(single, state, y)
    except ArithmeticError as error:
        # not a subclass, such as a division by zero: an iteration that says that it does not reach its tolerance
        only_if(type(error) is not ArithmeticError, f"in float32 it gives up: {error}")
        raise
    except TypeError as error:
        only_if("dtype" in str(error), "it raises, which other claims say")
        return nothing_of([f"float32 arrays become float64, by np.ones or np.eye without dtype perhaps: {error}"], why)
    told = claimed.told if claimed.told is not claimed.method else None
    right = told and tried(lambda: flat(told_alone(told).directions(single, state, y)))
    if right is None:
        return nothing_of([], why)
    own, doubled = (flat(first_run(method, case)[1]) for method in (claimed.method, told_alone(told)))
    size, rounding = np.max(abs(doubled)), np.max(abs(right - doubled))
    other = np.max(abs(flat(steps) - right)) > 1e-4 * size + 100 * rounding and fits(own, doubled)
    return nothing_of(["right in float64, its float32 steps are others than those of `like`: a number, or a branch, "
                       "for that dtype"] * bool(other), why)


def told_alone(told):
    """Return what a method is said to be, without memory: of one of the package's, or a subclass, the class's own."""
    return as_base(told, class_of(told)) if isinstance(told, TOLD) else fresh(told)


@claim("method", "it is a descent direction", "⟨∇J, d⟩ > 0, d to be subtracted", "ProxProp Prop. 4, 5")
def descends(claimed, case):
    claimed.is_of_j()
    only_if(not claimed.told.new_weights, "of steps whose signals pass through new weights short ones alone descend")
    slopes, why = case.dense_gradients, "any positive cosine with ∇J will do"
    d = directions_of(claimed.method, case)
    norm, length = np.sqrt(inner(slopes, slopes)), np.sqrt(inner(d, d))
    only_if(not norm < 1e-10, "the gradient vanishes here")  # a NaN does not vanish, it fails below
    cosine = inner(slopes, d) / (norm * length) if length > 0 else 0.0
    if cosine > 0:
        return Finding(-cosine, 0.0, why)
    if claimed.told is not claimed.method:
        right = tried(directions_of, told_alone(claimed.told), case)
        only_if(right is None or inner(slopes, right) > 0, f"{claimed.told!r} itself leads up here")
    reasons = compare_blocks(case, d, scaled_blocks(case, slopes)).mistakes()
    reasons = (*(reason for reason in reasons if "sign" in reason or "zero" in reason), "it leads up, not down")
    return Finding(-cosine if cosine else 1.0, 0.0, why, reasons)


def inner(u, v):
    """Return the inner product of two lists of arrays by map."""
    return sum(float(np.vdot(x, y)) for x, y in zip(u, v) if x is not None)


@claim("method", "stationary points of J are its fixed points", "∇J = 0 ⇒ d = 0", "ProxProp Prop. 3; SIBP Theorem",
       once=True)
def fixed_points(claimed, case):
    claimed.is_of_j()
    stationary = case.stationary
    d = directions_of(claimed.method, stationary)
    noise = 0.5 * np.random.default_rng(6).standard_normal(stationary.X.shape)
    elsewhere = replace(stationary, X=stationary.X + noise)
    size = max(np.max(abs(x)) for x in directions_of(claimed.method, elsewhere)[1:]) + 1e-3
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
    """Whether the steps stay as long where the signals are 1e-3 of what they were."""
    pairs = recorded_blocks(method, case)
    smaller = [to_host(fresh(method).propose(block._replace(g=1e-3 * block.g))) for block, _ in pairs]
    return bool(pairs) and all(fits(step, other) for (_, step), other in zip(pairs, smaller))


@claim("method", "the order of the samples does not matter", "d(PX, Py) = d(X, y)", "convention", once=True)
def batch_order(claimed, case):
    only_if(len(case.X) > 1, "a batch of one")
    d = directions_of(claimed.method, case)
    references = case.per_map(lambda l: dense(case.project(l, d[l]), 1e-5, "iterations amplify rounding"))
    return compare_blocks(case, directions_of(claimed.method, case.permuted), references,
                          mistakes=lambda: case.per_map(lambda l: {}))


# ---- a local objective given by the user


@claim("method", "its new parameters minimise the objective given for it",
       "θ_l − d_l = argmin objective(block, θ)", "yours")
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

    return worst_block([(block.l, finding(block, step)) for block, step in recorded_blocks(claimed.method, case)])


def damped_reasons(claimed, case, block, step):
    """Return the usual mistakes in a damped step that explain a step, if the objective is of that form.

    Its Hessian in each output unit is then c ÃᵀÃ + βI, by differences, which are exact of a quadratic function.
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
    """Whether a scalar f bends alike everywhere along a random line: what has a kink, or flattens, does not."""
    step = np.random.default_rng(5).standard_normal(x.shape)
    values = [float(f(x + t * step)) for t in (-2, -1, 0, 1, 2)]
    bends = np.diff(values, 2)
    return bool(np.ptp(bends) <= 1e-7 * np.max(abs(bends)) + 1e-13 * np.max(np.abs(values)))


def mistakes_of_damped_form(C, b, expected, got, rows):
    """Return what usual mistakes in (cC + βI)⁻¹b give, if that is what is expected, for some c and β."""
    system = np.stack([(C @ expected).ravel(), expected.ravel()], axis=1)
    if expected.size < 3 or not np.all(np.isfinite(system)):
        return {}
    (share, damping), _, rank, _ = np.linalg.lstsq(system, b.ravel(), rcond=1e-9)
    if rank < 2 or not damping > 0 or not fits((system @ (share, damping)).reshape(b.shape), b):
        return {}
    return damping_mistakes(share * C, b, damping, rows, got)


def recorded_blocks(method, case):
    """Return the (block, step) pairs that a method saw and proposed."""
    method, pairs = fresh(method), []
    propose = method.propose

    def record(block):
        step = propose(block)
        pairs.append((block, to_host(step)))
        return step

    method.propose = record
    method.directions(case.net, case.forward(), case.lend(case.y))
    return pairs


@claim("method", "its steps are those of the reference", "d_l = d_l of `like`", "yours")
def equals_reference(claimed, case):
    told, tolerance, why = claimed.told, 1e-7, "no reference is given as like"
    is_variant = isinstance(told, TOLD) and type(told) is not class_of(told) and claimed.objective is None
    only_if(told is not claimed.method or is_variant, why)  # a subclass is held to its class
    if isinstance(told, TOLD):
        other = isinstance(told, SemiImplicit) and told is not claimed.method  # η, λ of its claims are the method's
        only_if(other or not has_equation(claimed, case), why)
        told, tolerance = as_base(told, class_of(told)), 1e-5
    got, expected = directions_of(claimed.method, case), tried(directions_of, told, case)
    only_if(expected is not None, f"{told!r} itself does not run here")
    rest = unsolved(told, case) if isinstance(told, GaussNewton) else 0.0

    def reference(l):
        right = dense(case.project(l, expected[l]), tolerance, "the steps of `like`, or of its class")
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
        # then no other damping, say, is guessed, of which a factor may come by chance
        finding = compare_blocks(case, got, case.per_map(reference), lambda: case.per_map(lambda l: {}))
        also = [why for why, ratio in numbers_off(claimed.method, told).items() if ratio in (factor, 1 / factor)]
        return finding.retold(lambda known: [*start_reasons(claimed, case, factor), *known, *also])
    change = not finding.holds and sweeps_differ(claimed, case)
    off = list(numbers_off(claimed.method, told))
    return finding.because(*([change] if change else off)) if change or off else finding


def start_reasons(claimed, case, factor):
    """Return whether steps that are off by a factor in the first batch are so no more in the third."""
    whole, pair = claimed.method.whole_batch, (fresh(claimed.method), fresh(claimed.told))
    for batch in [case] * 3 if whole else case.batches[:3]:
        got, right = (flat(run_method(one, batch)) for one in pair)
    share = fitted_factor(got, right)
    same = fits(got, share * right) and abs(share - factor) <= 1e-5 * abs(factor)
    return [] if same or not any(one.state_dict() for one in pair) else [
        f"its first step is off by the factor {factor:.6g}, the third is not: what is kept from batch to batch (an "
        "average, say) starts otherwise, or its start is corrected otherwise"]


def constant_factor(case, got, expected):
    """Return the number by which the steps in all maps are off, if it is one."""
    got, expected = (flat(steps[l] for l in case.net.maps) for steps in (got, expected))
    factor = fitted_factor(got, expected)
    return factor if got.size > 1 and factor and fits(got, factor * expected, expected) else None


def numbers_off(method, told):
    """Return the ratios of a method's numbers to those of `like`, by what to say of them, where they differ."""
    numbers = {name: (vars(method).get(name, value), value) for name, value in vars(told).items() if np.isscalar(value)}
    return {f"{name} is {mine}, that of `like` {value}": tried(lambda: mine / value)  # noqa: B023
            for name, (mine, value) in numbers.items() if mine != value and value == value}


def sweeps_differ(claimed, case):
    """Return how a sweep differs from that of `like`, if both are methods of blocks."""
    lifts = isinstance(claimed.method, lifted.DESCENDING) and type(claimed.told) in lifted.DESCENDING
    return lifts and tried(lifted.departure, claimed.method, claimed.told, case, False)


# ---- BackProp


def told_as(claimed, kind):
    """Return the method whose equations apply, if it is of one class."""
    only_if(isinstance(claimed.told, kind), f"it is not said to be {kind.__name__} (like={kind.__name__}(…))")
    return claimed.told


@equation("BackProp is the gradient, by differences", "d_l = ∇_θl J = ãᵀ g_l", "BackProp")
def backprop_is_gradient(claimed, case):
    told_as(claimed, BackProp)
    return compare_blocks(case, directions_of(claimed.method, case), case.gradients)


# ---- ProxProp


@dataclass(frozen=True)
class Proximal:
    """The proximal steps of one case: τ_θ by map, the maps that step implicitly, and a factor γ of the gradients."""

    case: NetCase
    taus: dict
    implicit: list
    gamma: float = 1.0

    @cached_property
    def slopes(self):
        """Return [None, γ ∇_θ1 J, …]."""
        slopes = self.case.dense_gradients
        return self.case.per_map(lambda l: self.gamma * slopes[l])

    def matrix(self, l):
        """Return M_l = ÃᵀÃ + I/τ_θ."""
        C = self.case.gram[l]
        return C + np.eye(len(C)) / self.taus[l]

    def steps(self, solve=np.linalg.solve):
        """Return [None, d_1, …]: solve(M_l, γ ∇_θl J), or γ ∇_θl J on a map with an explicit step."""
        return self.case.per_map(lambda l: solve(self.matrix(l), self.slopes[l]) if l in self.implicit
                                 else self.slopes[l])

    def finding(self, claimed, factors, mistakes=None, expected=None):
        """Return the finding of a method's steps, which should be these, or what is expected."""
        d = directions_of(claimed.method, self.case)
        expected = scaled_blocks(self.case, self.steps()) if expected is None else expected
        return compare_blocks(self.case, d, expected, lambda: (mistakes or self.mistakes)(d), factors)

    def mistakes(self, d):
        """Return by map what usual mistakes in the proximal step give, of steps d."""
        return self.case.per_map(lambda l: self.mistakes_in(l, d[l]))

    def mistakes_in(self, l, d):
        """Return what usual mistakes in one map's step give."""
        M, slope, of_gradient = self.matrix(l), self.slopes[l], self.case.mistakes[l]
        if l not in self.implicit:
            return of_gradient | {
                "the last map takes the implicit step, it should be explicit": np.linalg.solve(M, slope)}
        C = self.case.gram[l]
        made = {f"τ_θ of another map, {tau:g}, is taken": np.linalg.solve(C + np.eye(len(C)) / tau, slope)
                for tau in sorted(set(self.taus.values()) - {self.taus[l]})}
        made |= damping_mistakes(C, slope, 1 / self.taus[l], len(self.case.X), d)
        A, g = self.case.design[l], self.case.signals[l]
        made["the Gram matrix of samples is taken without the ones of the bias"] = self.gamma * A.T @ np.linalg.solve(
            A[:, :-1] @ A[:, :-1].T + np.eye(len(A)) / self.taus[l], g)
        made["the bias takes the gradient, and has no part in the Gram matrix"] = np.vstack(
            [np.linalg.solve(M[:-1, :-1], slope[:-1]), slope[-1:]])
        return made | {name: np.linalg.solve(M, value) for name, value in of_gradient.items()}

    @property
    def factors(self):
        """Return the sizes by which a proximal step may be off."""
        return {**self.case.factors, **{f"tau_theta = {tau:g}": tau for tau in set(self.taus.values())}}


def proximal(told, case):
    """Return the proximal steps of a ProxProp."""
    D, maps = case.net.depth, case.net.maps
    taus = told.tau_theta if hasattr(told.tau_theta, "__len__") else [told.tau_theta] * len(maps)
    return Proximal(case, dict(zip(maps, map(float, taus))), [l for l in maps if l < D or told.last == "implicit"])


@equation("ProxProp solves its normal equations: dense reference", "(I/τ_θ + ãᵀã) d_l = ∇_θl J",
          "ProxProp (13), Prop. 2")
def proxprop_exact(claimed, case):
    told = told_as(claimed, ProxProp)
    only_if(told.solver == "exact", "its solver takes finitely many steps")
    prox = proximal(told, case)
    return prox.finding(claimed, prox.factors)


def outputs(case):
    """Return [None, z_1, …] as rows, one column an output unit; of maps that share θ, stacked."""
    state = case.forward()
    return case.per_map(lambda l: np.vstack([to_numpy(state.z[u]).reshape(-1, case.theta[l].shape[1])
                                             for u in case.uses(l)]))


@equation("K steps of CG minimise over the Krylov space of dimension K",
          "d ∈ span{b, Mb, …, M^{K−1}b}", "ProxProp (14)")
def proxprop_krylov(claimed, case):
    told = told_as(claimed, ProxProp)
    match = re.fullmatch(r"cg(\d+)", told.solver)
    only_if(match is not None, "its solver is exact")
    prox, steps = proximal(told, case), int(match[1])
    steps_K = prox.steps(lambda M, b: krylov_step(M, b, steps, told.joint))
    expected = scaled_blocks(case, steps_K, least=1e-6, floor=1e-3)
    return prox.finding(claimed, prox.factors, lambda d: krylov_mistakes(prox, steps, told.joint, d), expected)


def krylov_mistakes(prox, steps, joint, d):
    """Return by map what usual mistakes in K steps of conjugate gradients give."""
    mistakes = prox.mistakes(d)
    for l in prox.implicit:  # a few steps of an iteration are what is claimed
        mistakes[l] = {name: value for name, value in mistakes[l].items() if not isinstance(name, Guess)}
        M, b = prox.matrix(l), prox.slopes[l]
        root = np.diag(M)[:, None] ** -0.5
        mistakes[l] |= {
            "it takes 1 step of CG too few": krylov_step(M, b, steps - 1, joint),
            "it takes 1 step of CG too many": krylov_step(M, b, steps + 1, joint),
            "it is the exact solution": np.linalg.solve(M, b),
            "its products are with ãᵀã, without the damping": krylov_step(prox.case.gram[l], b, steps, joint),
            "it is steepest descent: its directions are not conjugate": cg_steps(M, b, steps, lambda new, old: 0 * new),
            "β is inverted: old/new": cg_steps(M, b, steps, lambda new, old: old / np.maximum(new, 1e-300)),
            "it is preconditioned by the diagonal": root * krylov_step(root * M * root.T, root * b, steps, joint),
            "all output units share one step length, or should": krylov_step(M, b, steps, not joint)}
    return mistakes


def cg_steps(M, b, steps, beta):
    """Return what steps of conjugate gradients make of M d = b by column, with β of the new and old squares of r."""
    d, r, p, square = np.zeros_like(b), b, b, (b * b).sum(axis=0)
    for _ in range(steps):
        d = d + p * (square / np.maximum((p * (M @ p)).sum(axis=0), 1e-300))
        r, old = b - M @ d, square
        square = (r * r).sum(axis=0)
        p = r + beta(square, old) * p
    return d


def krylov_step(M, b, steps, joint):
    """Return the minimiser of ½⟨d, Md⟩ − ⟨b, d⟩ over a Krylov space, by column or of the stacked whole."""
    if joint:
        M, shape = np.kron(M, np.eye(b.shape[1])), b.shape
        return krylov_step(M, b.reshape(-1, 1), steps, False).reshape(shape)
    bases = [krylov_basis(M, column, steps) for column in b.T]
    return np.stack([V @ np.linalg.solve(V.T @ M @ V, V.T @ column) for V, column in zip(bases, b.T)], axis=1)


def krylov_basis(M, b, steps):
    """Return an orthonormal basis of span{b, Mb, …}, by Arnoldi with two orthogonalisations."""
    basis = np.zeros((len(b), 0))
    v = b
    for _ in range(steps):
        size = np.linalg.norm(v)
        for _ in range(2):
            v = v - basis @ (basis.T @ v)
        if np.linalg.norm(v) <= 1e-10 * max(size, 1e-300) or size < 1e-14:
            break
        basis = np.column_stack([basis, v / np.linalg.norm(v)])
        v = M @ basis[:, -1]
    return basis


# ---- LocoProp


def loco_targets(told, case):
    """Return per map (f, target y, signal γ g) as rows, with f the identity in variant S."""
    z, g = outputs(case), case.signals

    def target(l):
        f, signal = case.net.f[l] if told.variant == "M" else Identity(), told.gamma * g[l]
        return f, case.call(f.forward, z[l]) - signal, signal

    return case.per_map(target)


def loco_reference(told, case, rates, mistake=""):
    """Return θ − θ_new after local steps, written out as the paper has them, or with a key of `LOCO_MISTAKES`."""
    damping, targets = 0.0 if told.eta is None else 1 / told.eta, loco_targets(told, case)

    def step(l):
        (f, y, signal), A, old = targets[l], case.design[l], case.theta[l]
        y = case.call(f.forward, outputs(case)[l] - signal) if mistake == "target" else y
        theta, optimizer = old.copy(), SGD(1.0) if told.local_optimizer == "sgd" else told.new_optimizer()
        for rate in rates:
            z = A @ (old if mistake == "held" else theta)
            residual = (a := case.call(f.forward, z)) - y
            if mistake == "twice":
                residual = to_numpy(f.adjoint(case.lend(z), case.lend(a), None, case.lend(residual)))
            slope = A.T @ residual + damping * (theta - old * (mistake != "origin"))
            optimizer.step([theta], [slope], scale=rate)
        return old - theta

    return case.per_map(step)


LOCO_MISTAKES = {
    "target": "the target is f(z − γg), it should be f(z) − γg",
    "held": "all local steps have one gradient: held",
    "twice": "f' is applied twice: the matching loss has it already",
    "origin": "the regulariser draws to 0, it should draw to the old θ",
}


def plain_rates(told):
    """Return the rates of plain local steps in epoch 0."""
    first = told.local_lr(0) if callable(told.local_lr) else told.local_lr
    return [first * scale for scale in decay_scales(told.steps, told.decay)]


def loco_factors(told, case):
    """Return the sizes by which a local step may be off."""
    return {**case.factors, "gamma": told.gamma}


@equation("T local steps, written out densely", "θ ← θ − α_t (ãᵀ(f(ãθ) − y) + (θ − θ_k)/η)",
          "LocoProp-S, LocoProp-M")
def locoprop_steps(claimed, case):
    told = told_as(claimed, LocoProp)
    only_if(told.steps != "exact", "its local problems are solved")
    expected = loco_reference(told, case, plain_rates(told))
    return compare_blocks(case, directions_of(claimed.method, case), scaled_blocks(case, expected),
                          lambda: loco_mistakes(told, case), loco_factors(told, case))


def loco_mistakes(told, case):
    """Return by map what usual mistakes in T local steps give."""
    rates, other = plain_rates(told), fresh(told, variant="S" if told.variant == "M" else "M")
    made = {"it takes one local step too few": loco_reference(told, case, rates[:-1]),
            "it takes one local step": loco_reference(told, case, rates[:1]),
            f"it is LocoProp-{other.variant}, not LocoProp-{told.variant}": loco_reference(other, case, rates),
            **{why: loco_reference(told, case, rates, name) for name, why in LOCO_MISTAKES.items()}}
    if told.decay:
        later = [rates[0] * max(1 - t / told.steps, 0.25) for t in range(1, told.steps + 1)]
        made["the local rate decays a step too early: 1 − (t + 1)/T"] = loco_reference(told, case, later)
        made["the local rate does not decay"] = loco_reference(told, case, [rates[0]] * told.steps)
    if told.eta is not None:
        made["the regulariser is missing"] = loco_reference(fresh(told, eta=None), case, rates)
    return case.by_map(made)


@equation("LocoProp-S, exact: the dense closed form, on every map", "θ − θ_new = γ (ãᵀã + I/η)⁻¹ ∇J",
          "LocoProp-S = ProxProp (13)")
def locoprop_exact_s(claimed, case):
    told = told_as(claimed, LocoProp)
    only_if(told.steps == "exact" and told.variant == "S", "not the exact S")
    prox = Proximal(case, dict.fromkeys(case.net.maps, told.eta), case.net.maps, told.gamma)
    return prox.finding(claimed, loco_factors(told, case))


@equation("LocoProp-M, exact: stationary for the matching loss", "ãᵀ(f(ãθ) − y) + (θ − θ_k)/η = 0", "LocoProp-M")
def locoprop_exact_m(claimed, case):
    told = told_as(claimed, LocoProp)
    only_if(told.steps == "exact" and told.variant == "M" and told.eta is not None, "not the exact, regularised M")
    d, targets = directions_of(claimed.method, case), loco_targets(told, case)
    tolerance, why = case.propagated_tolerance

    def finding(l):
        (f, y, signal), A = targets[l], case.design[l]
        data = A.T @ (case.call(f.forward, A @ (case.theta[l] - d[l])) - y)
        start = np.max(abs(A.T @ signal), initial=0.0) + 1e-6
        # at the minimiser the regulariser's term is minus the data term, so that it says what is wrong
        reference = Reference([case.project(l, -told.eta * data)], 10 * tolerance, why, told.eta * start)
        return compare(case.project(l, -d[l]), reference, factors={**case.factors, "eta": told.eta}, theta=True)

    return worst_block([(l, finding(l)) for l in case.net.maps])


# ---- Semi-Implicit BP


def summed_weight(case):
    """Return the factor of one sample's loss in J: SIBP's η refers to the summed loss."""
    return case.net.loss_function.weight(len(case.X))


@equation("with many steps each block is stationary: W, then b with the new W, signals through new weights",
          "∂/∂W, ∂/∂b of ‖f(aW + 1bᵀ) − (a_l − ηδ)‖² + λ‖· − ·_k‖² = 0", "SIBP W, SIBP b")
def sibp_stationary(claimed, case):
    told = told_as(claimed, SemiImplicit)
    only_if(case.plain and not re.search("relu|again", case.label) and not getattr(claimed.method, "joint", False),
            "needs smooth elementwise activations, signals that are not large, and separate blocks")
    only_if(hasattr(claimed.method, "steps"), "it has no attribute steps to be changed")
    only_if(case.has_few_inputs, "so many steps are taken on small networks alone")
    patient = fresh(claimed.method, steps=60, lam=max(told.lam, 0.5, 20 * told.eta))
    d, why = directions_of(patient, case), "Fletcher–Reeves has stopped near 1e-7"
    return worst_block([(l, compare(d[l], Reference([right], 1e-5, why, 1e-2), mistakes, theta=True))
                        for l, right, mistakes in sibp_steps(patient, case, d)])


def sibp_steps(method, case, d):
    """Yield (l, what the step's optimality condition makes of it, the same under usual mistakes)."""
    state, D = case.forward(), case.net.depth
    z, a = case.per_map(lambda l: to_numpy(state.z[l])), [to_numpy(x) for x in state.a]
    delta = delta_old = gradient(case.value, z[D]).value / summed_weight(case)
    for l in range(D, 0, -1):
        f, old = Identity() if l == D else case.net.sigma[l], case.theta[l]
        new, f_z = old - d[l], case.call(f.forward, z[l])
        step = functools.partial(sibp_condition, case, f, a[l - 1], old, new, method.lam)
        right = step(f_z - method.eta * delta)
        yield l, right, {
            "the signal passes through the old weights, SIBP's are new": step(f_z - method.eta * delta_old),
            "η is scaled by the batch size: it refers to the summed loss":
                step(f_z - method.eta * (delta / len(case.X))),
            "λ is doubled: the objective has no factor ½": right / 2,
            "λ is halved: the objective has no factor ½": right * 2,
            "b is fitted with the old W, it should be the new": step(f_z - method.eta * delta, old_weights=True)}
        if l > 1:
            slope = 1.0 if l == D else case.slopes[l]
            delta, delta_old = ((x * slope) @ w[:-1].T for x, w in ((delta, new), (delta_old, old)))


def sibp_condition(case, f, a, old, new, lam, target, old_weights=False):
    """Return the step that makes W, b stationary: half the data terms' gradients at the new W and b, over λ."""

    def data(w, b):
        z = a @ w + b
        return case.call(f.derivative, z) * (case.call(f.forward, z) - target)

    weights = a.T @ data(new[:-1], old[-1])
    bias = data((old if old_weights else new)[:-1], new[-1]).sum(axis=0)
    return np.vstack([weights, bias]) / lam


# ---- FOOF, K-FAC, Gauss–Newton


@equation("FOOF solves its normal equations: dense reference", "(ãᵀã/N + λI) d_l = ∇J of the mean loss", "FOOF")
def foof_exact(claimed, case):
    told = told_as(claimed, FOOF)
    only_if(not isinstance(told, KFAC), "it is not said to be FOOF alone")
    tau_theta, gamma = 1 / (len(case.X) * told.damping), 1 / summed_weight(case)
    prox = Proximal(case, dict.fromkeys(case.net.maps, tau_theta), case.net.maps, gamma)

    def mistakes(d):
        return case.per_map(lambda l: prox.mistakes_in(l, d[l]) | from_zero.get(l, {}))

    share, unit = 1 - told.decay, case.per_map(lambda l: np.eye(len(case.gram[l])))
    from_zero = {l: {"the average starts from 0: the first factor has the weight 1 − decay, not 1": np.linalg.solve(
        share * case.gram[l] + unit[l] / tau_theta, prox.slopes[l])} for l in case.net.maps if told.decay}
    return prox.finding(claimed, prox.factors, mistakes)


@equation("K-FAC's direction from dense factors", "(A + λ_A I) d_l (S + λ_S I) = ∇J, or A d_l S + λ d_l = ∇J",
          "K-FAC")
def kfac_exact(claimed, case):
    told = told_as(claimed, KFAC)
    only_if(case.plain, "its dense S is found on chains of fully connected maps")
    other = fresh(told, fisher="type2" if told.fisher == "empirical" else "empirical")
    factors, N, weight = kronecker_factors(told, case), len(case.X), summed_weight(case)
    weights = {"A is a sum over the samples, it should be a mean": (N, 1.0),
               "S is a sum over the samples, it should be a mean": (1.0, N),
               "A and S are sums over the samples, they should be means": (N, N),
               "S is made of the signals of the mean loss, 1/N² as large: it wants each sample's own": (1.0, weight**2)}
    return compare_blocks(case, directions_of(claimed.method, case),
                          scaled_blocks(case, kfac_reference(told, case), least=1e-5),
                          lambda: case.by_map({f"S is {other.fisher}": kfac_reference(other, case),
                                               "π is inverted": kfac_reference(told, case, power=-1),
                                               **{why: kfac_reference(told, case, case.per_map(
                                                   lambda l, a=a, s=s: [a * factors[l][0], s * factors[l][1]]))
                                                  for why, (a, s) in weights.items()}}),
                          {**case.factors, "damping": told.damping})


@claim("method", "after three batches its step is that of averaged factors: dense reference",
       "F ← r F + (1 − r) F_batch, r = min(1 − 1/k, decay) in step k", "K-FAC average", once=True)
def averages_its_factors(claimed, case):
    told = told_as(claimed, FOOF)
    only_if(told.decay, "it keeps no average")
    batches = case.batches[:3]
    method, last = fresh(claimed.method), batches[-1]
    steps = dict(zip(case.net.maps, [run_method(method, batch) for batch in batches][-1]))
    each = [kronecker_factors(told, batch) for batch in batches]

    def averaged(kept, new, rate):
        return case.per_map(lambda l: [rate * old + (1 - rate) * own for old, own in zip(kept[l], new[l])])

    def case_of(factors, change):
        A = case.per_map(lambda l: change(factors[l][0]))
        return case.per_map(lambda l: [A[l], change(factors[l][1]) if isinstance(told, KFAC) else factors[l][1]])

    def of(rates):
        first, second, third = each
        if rates is None:  # from 0, with the full decay
            rates, share = [told.decay] * 2, 1 - told.decay
            first = case_of(first, lambda factor: share * factor)
        return kfac_reference(told, last, averaged(averaged(first, second, rates[0]), third, rates[1]))

    rates = [min(1 - 1 / k, told.decay) for k in (2, 3)]
    mistakes = {"the average has its full decay from the second batch on, not min(1 − 1/k, decay)": [told.decay] * 2,
                "the weights of the average are exchanged: old factors and new": [1 - r for r in rates],
                "there is no average: the factors are those of the last batch": [0.0, 0.0],
                "the average starts from 0: the first factor has the weight 1 − decay, not 1": None}
    return compare_blocks(last, case.per_map(lambda l: to_numpy(steps[l])), scaled_blocks(last, of(rates), least=1e-5),
                          lambda: case.by_map({name: of(other) for name, other in mistakes.items()}))


def kronecker_factors(told, case):
    """Return [None, [A, S], …] of one batch; of FOOF, S is the identity."""
    N, g = len(case.X), case.signals
    H = loss_hessians(case) if isinstance(told, KFAC) else None

    def factors(l):
        unit = np.eye(case.theta[l].shape[1])
        if not isinstance(told, KFAC):
            S = unit
        elif told.fisher == "type2":
            S = curvature([jacobian_column(case, l, row) for row in unit], H)
        else:
            S = g[l].T @ g[l] / summed_weight(case) ** 2 / N
        return [case.gram[l] / N, S]

    return case.per_map(factors)


def kfac_reference(told, case, factors=None, power=1):
    """Return [None, d_1, …] of K-FAC, or FOOF, by a linear system in all entries of θ_l; of the batch's own factors."""
    factors, split = factors or kronecker_factors(told, case), getattr(told, "split", None)

    def step(l):
        A, S = factors[l]
        in_a, in_s = np.eye(len(A)), np.eye(len(S))
        slope = case.dense_gradients[l] / (len(case.X) * summed_weight(case))
        trace_a, trace_s = np.trace(A) / len(A), np.trace(S) / len(S)
        ratio = np.sqrt(trace_a / trace_s) ** power if split == "heuristic" and trace_a * trace_s > 0 else 1.0
        root = np.sqrt(told.damping) if split == "heuristic" else told.damping
        of_s = S if split is None else S + root / ratio * in_s
        matrix = (np.kron(A, S) + told.damping * np.kron(in_a, in_s) if split == "exact" else
                  np.kron(A + root * ratio * in_a, of_s))
        return np.linalg.solve(matrix, slope.ravel()).reshape(slope.shape)

    return case.per_map(step)


def jacobian_column(case, l, unit):
    """Return the derivative of z_D along one unit of z_l in all samples, which do not feel each other, (N, n)."""
    state = case.forward()
    z, theta = to_numpy(state.z[l]), case.lend_all(case.theta)
    return directional(lambda x: case.output_from(l, x, state.a, theta), z, np.ones((len(z), 1)) * unit).value


def loss_hessians(case):
    """Return the Hessian of each sample's loss at the output, (N, n, n), by differences of its gradient."""
    net, z = case.net, to_numpy(case.forward().z[case.net.depth])
    columns = [directional(lambda x: case.call(net.loss_function.gradient, x, case.y), z, np.ones((len(z), 1)) * unit)
               for unit in np.eye(z.shape[1])]
    return np.stack([column.value for column in columns], axis=2) / summed_weight(case)


def curvature(columns, hessians):
    r"""Return the mean over samples of :math:`B_n^T H_n B_n`, given the columns of all B_n and all H_n."""
    return np.einsum("inc,ncd,jnd->ij", columns, hessians, columns, optimize=True) / len(hessians)


@equation("it solves the damped Gauss–Newton equations of the whole network: dense reference",
          "(Σ JᵀHJ/N + λI) d = ∇J of the mean loss", "Gauss–Newton")
def gauss_newton_exact(claimed, case):
    told, maps = told_as(claimed, GaussNewton), case.net.maps
    slopes, N = case.dense_gradients, len(case.X)  # raises where the network is too large
    columns = [directional(lambda t, l=l: to_numpy(case.forward(case.with_theta(l, t)).z[case.net.depth]),
                           case.theta[l], v).value for l in maps for v in case.tangents[l]]
    G = curvature(columns, loss_hessians(case))
    slope = np.concatenate([slopes[l].ravel() for l in maps]) / (N * summed_weight(case))
    d = np.linalg.solve(G + told.damping * np.eye(len(G)), slope)
    sizes = np.cumsum([case.theta[l].size for l in maps])[:-1]
    steps = dict(zip(maps, np.split(d, sizes)))
    rest = unsolved(told, case)

    def expected(l):
        right = scaled(case, l, steps[l].reshape(case.theta[l].shape))
        return right.loosened(max(1e-5, rest / (np.max(abs(steps[l])) + right.floor)))

    return compare_blocks(case, directions_of(claimed.method, case), case.per_map(expected),
                          lambda: case.per_map(lambda l: {}), {**case.factors, "damping": told.damping})


def unsolved(told, case):
    """Return how far Gauss–Newton's conjugate gradients may be from the solution: G has no negative eigenvalue."""
    slope = flat(directions_of(BackProp(), case)[l] for l in case.net.maps) / (len(case.X) * summed_weight(case))
    return told.tolerance * np.linalg.norm(slope) / told.damping

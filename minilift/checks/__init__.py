r"""Is my derivation right? `verify` compares code with finite differences, dense algebra and SciPy.

Check your own derivation
-------------------------
Say you have derived the proximal step of ProxProp (11) by hand and have arrived at

    (ãᵀã + τ_θ I) d = ∇J          (wrong: the damping should be 1/τ_θ)

Write it as a function of a `Block`, which holds what a method may know about one map, and say what it should equal:

>>> import numpy as np, minilift as ml
>>> def my_step(block, tau_theta=0.2):
...     A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
...     gradient = A.T @ block.g
...     if block.last:
...         return gradient
...     return np.linalg.solve(A.T @ A + np.diag(0 * A[0] + tau_theta), gradient)
>>> report = ml.verify(my_step, like=ml.ProxProp(tau_theta=0.2))
>>> report.passed
False
>>> [check.reason for check in report.failures if check.source.startswith("ProxProp (13)")]
['likely: the damping is τ_θ where it should be 1/τ_θ']

Printing the report shows every claim with its equation, the number measured and its tolerance, and, if one was found,
an edit of your code that makes all claims hold:

>>> print(report.mends[0].new)
return np.linalg.solve(A.T @ A + np.diag(1 / (0 * A[0] + tau_theta)), gradient)

In a test, write ``ml.verify(my_step, like=...).raise_for_failures()``; in a terminal,

    minilift verify my_file.py:my_step --like proxprop:tau_theta=0.2

Your own method does not by itself say what it should compute: without `like` or `objective` it cannot be verified.

A derivation that does not involve the package's methods is stated as a claim about functions of randomly drawn arrays:
`Argmin`, `Gradient`, `Equal` or `Decreases` (see `minilift.checks.claims`):

>>> def ridge(theta, a, z):
...     return ((a @ theta[:-1] + theta[-1] - z) ** 2).sum() / 2 + 0.05 * (theta**2).sum()
>>> def solved(a, z):
...     A = np.hstack([a, np.ones_like(a[:, :1])])
...     return np.linalg.solve(A.T @ A + 0.05 * np.eye(A.shape[1]), A.T @ z)
>>> ml.verify(ml.Argmin(ridge, solved, block="theta")).passed
False

(the derivative of 0.05 θ² is 0.1 θ). A claim fails only against a reference that does not come from the code under
test; the likely reason is the common mistake that, made on purpose, yields the same wrong numbers, and "seen" is where
the numbers are wrong if none does.

To read the checks themselves, begin with `report`, `numeric` and `cases`, which all the others use. `maps`, `transfers`
and `losses` check the parts of a network, `networks` the whole, and `methods`, `papers` and `lifted` its training.
`claims` holds the four claims about drawn arrays, which `minima`, `formulas` and `sweeps` measure; `mistakes` looks for
what is wrong, and `mends` for an edit of the code that puts it right, among those that `edits` makes. `package` lists
what `verify()` checks, `command` is the command in the terminal, `equations` the index of tagged lines.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minilift.checks import formulas, lifted, methods, minima, networks, papers, sweeps  # noqa: F401  (their claims)
from minilift.checks.claims import Argmin, Decreases, DrawnClaim, Equal, Gradient, drawn_cases
from minilift.checks.losses import loss_cases, prox_as_low_as_probes
from minilift.checks.maps import for_samples, forward_is_design, join_cases, map_cases
from minilift.checks.mends import Problem, is_own, mends_of
from minilift.checks.numeric import tried
from minilift.checks.package import package_methods, package_networks, package_things
from minilift.checks.report import CLAIMS, NO_REASON, Check, Mend, NotClaimed, Report, broken, check_claim, unmeasured
from minilift.checks.transfers import in_double, transfer_cases
from minilift.energy import Penalties
from minilift.graph import checked_network
from minilift.methods import BackProp, LocoProp, Method, ProxProp, as_method
from minilift.methods.lifted.descend import LiftedEnergy
from minilift.network import Network
from minilift.support.arguments import function, known_name, shown, whole_number
from minilift.support.backend import BACKENDS, get_module, to_numpy
from minilift.support.spellings import spelled
from minilift.training.names import named_method

__all__ = ["Argmin", "Check", "Decreases", "Equal", "Gradient", "Mend", "Report", "verify"]

NOT_VERIFIED = "not verified: give an objective, a reference or `like`, or else nobody knows what it should be"
NOT_JUDGED = "not verified: none of its equations can be checked on these networks, and `like` does not run there"
HALVES = (0, 3, 5, 7, 8), (1, 2, 4, 6, 7)  # of the random networks: the package's methods take turns, one half each
PROBED = 100_000  # every parameter of a map is probed if it has no more than this
MAP = "each unit of z is [a 1] times its column of θ"
FOLLOWS = {"the adjoint: a random tangent against a random cotangent": "the derivative",
           "Gram matrix without the bias": MAP, "Gram matrix of samples": MAP, "Gram matrix of parameters": MAP,
           "the proximal step solves its normal equations, on either side": MAP}  # claims that fail if others do
CASES = {"map": map_cases, "join": join_cases, "transfer": transfer_cases, "loss": loss_cases}


@spelled
@np.errstate(all="ignore")  # an overflow or a division by 0 is a finding
def verify(thing: Any = None, net: Network | None = None, X: Any = None, y: Any = None, *,
           like: Method | Callable[..., Any] | str | None = None, objective: Callable[..., Any] | None = None,
           seed: int = 0, backend: str | None = None) -> Report:
    r"""Check a derivation in float64 on small random problems drawn from a seed.

    Parameters
    ----------
    thing : optional
        What to check, the package's own or yours: a claim (`Argmin`, `Gradient`, `Equal`, `Decreases`), a `Network`
        (its layers and its loss are checked with it), a map, an `Activation` or another transfer, a `Loss`, a `Method`,
        or a function ``propose(block)``; or the name of a method, as `fit` accepts it. None checks everything in the
        package.
    net : Network, optional
        For a method: the network to run it on, instead of eight small random ones (seven chains and a graph) without
        batch norm. It is not changed. A network that the method refuses, by a ValueError that begins with the method's
        name, is left out, and the report says so; the graph is also left out if your own method raises any error on it.
    X, y : arrays, optional
        For a network, or a method with `net`: the batch to use instead of random ones; y is drawn if it is not
        given.
    like : Method, its name or a callable; optional
        For a method: the reference that it should equal. One of the package's methods, such as
        ``ProxProp(tau_theta=0.5)``, determines which equations apply and with which numbers; where none of them is
        checked, on a large network, say, the two are run side by side. So is any other method, or a function of a block
        that returns the step, by a dense formula, say. For a subclass of one of the package's methods, its own class
        and attributes determine the equations, and that class is run beside it, unless an objective is given. If the
        sweep of a lifted method differs from its class's in order or updates, the report remarks on it: this may be a
        variant or a mistake, and giving `like` says that it should be neither.
    objective : callable, optional
        For a method: ``objective(block, theta)``, a number that θ_l − d_l should minimise. Outside a set it is inf,
        with a slack of 1e-12, since θ_l − d_l is rounded.

        A method with neither of these, and not one of the package's, is run and checked for what holds of every method;
        but what it computes cannot be judged, and the report says so and does not pass.
    seed : int, default 0
    backend : {"numpy", "cupy"}, optional
        Where the thing is run; by default NumPy, or the backend of the network. References are computed on the host.

    Returns
    -------
    Report
        Shown as a table by print and in a notebook; it has `passed`, `failures`, `mends`, `to_json()` and
        `raise_for_failures()`.

    Raises
    ------
    TypeError, ValueError
        If the thing is of no known kind, or an argument does not apply to it. Anything that the thing itself does
        wrong, including raising an error, is a failure in the report.

    Examples
    --------
    >>> def half_step(block):
    ...     return block.phi.adjoint_theta(block.a, block.g) / 2
    >>> ml.verify(half_step, like=ml.BackProp()).passed
    False
    >>> ml.verify(ml.Linear(3, 2)).passed
    True
    """
    seed = whole_number("verify: seed", seed, least=0)
    if backend is not None:
        known_name("verify: backend", backend, BACKENDS)
    thing, like = (named_method(f"verify: {what}", one) if isinstance(one, str) else one
                   for what, one in (("thing", thing), ("like", like)))
    if isinstance(net, Method):
        raise TypeError(f"verify: net is a Method; what the thing should equal is given as like={net!r}")
    if net is not None:
        checked_network("verify", net)
    if objective is not None:
        function("verify: objective", objective, "(block, theta)", 2)
    if thing is None:
        if any(argument is not None for argument in (net, X, y, like, objective)):
            raise TypeError("verify: thing must be given with net, X, y, like or objective: a method or a network")
        return Report([check for part in package_checks(seed, backend) for check in part], seed)
    kind = kind_of(thing)
    if kind != "method" and not (like is None and objective is None and net is None):
        raise TypeError(f"verify: net, like and objective go with a method; {thing!r} is a {kind}")
    if X is not None and net is None and kind != "network":
        raise TypeError("verify: X and y go with a network; give net as well")
    if y is not None and X is None:
        raise TypeError("verify: y is given without X, which it needs")
    if kind == "method":
        cases = (networks.random_networks(seed, backend or "numpy") if net is None else
                 networks.network_cases(net, seed, backend, X, y))
        checks = method_checks(thing, seed, backend, net, X, y, like, objective, cases)
        told = is_told(thing, like, objective)
        judged = any(check.passed is not None and check.source not in methods.GENERAL for check in checks)
        ours = like is None and type(thing).__module__.startswith("minilift.")
        missed = "" if objective is None else unmeasured(checks)
        return Report(checks, seed, missed or (NOT_VERIFIED if not told else "" if judged or ours else NOT_JUDGED),
                      partial(method_mends, thing, checks, seed, backend, net, X, y, like, objective),
                      sizes_of(cases, checks))
    unused = unused_copy(kind, thing)  # state left by the problems would mend nothing
    checks = checks_of(thing, seed, backend, X, y)
    return Report(checks, seed, unmeasured(checks), partial(
        part_mends, kind, unused, checks, seed, backend))


def unused_copy(kind, thing):
    """Return a copy of a layer or a loss, which problems leave in another state; or the thing, if it has no copy."""
    copied = tried(copy.deepcopy, thing) if kind in CASES else None
    return thing if copied is None else copied


def sizes_of(cases, checks):
    """Return how large the networks and batches were on which a method was checked; "" if it took none."""
    left_out = {check.claim.removesuffix(": not checked") for check in checks}
    taken = [case for case in cases if case.label not in left_out]
    if not taken:
        return ""
    shapes = [theta.shape for case in taken for theta in case.net.theta if theta is not None]
    (rows, columns), most = map(max, zip(*shapes)), max(len(case.X) for case in taken)
    return f"N ≤ {most}, maps of at most {rows - 1} inputs and {columns} units"


def kind_of(thing):
    """Return the kind of a thing: "network", "map", "loss" or "method", for example."""
    if isinstance(thing, type):
        raise TypeError(f"verify: thing is the class {thing.__name__}; an instance is needed, {thing.__name__}(…)")
    if isinstance(thing, Network):
        return "network"
    if isinstance(thing, Method):
        return "method"
    if isinstance(thing, DrawnClaim) or getattr(thing, "kind", None) in ("map", "join", "transfer"):
        return thing.kind
    if isinstance(thing, (LiftedEnergy, Penalties)):
        raise TypeError(f"verify: thing is a {type(thing).__name__}, an energy of several blocks; verify its method, "
                        "or claim a block of it, as in Gradient(lambda z: energy.value(start.replaced('z', 1, z)), "
                        "lambda z: energy.gradient('z', 1, start.replaced('z', 1, z)), 'z', draw)")
    if hasattr(thing, "gradient") and hasattr(thing, "value"):
        return "loss"
    if callable(thing):
        return "method"
    raise TypeError("verify: thing must be a network, map, activation, loss, method, a function of a Block, or a "
                    f"claim such as Argmin, got {shown(thing)}")


def checks_of(thing, seed, backend, X=None, y=None, shape=None):
    """Return the checks of one thing of any kind but a method; a layer is given samples of `shape`, if there is one."""
    kind = kind_of(thing)
    if kind == "network":
        return network_checks(thing, seed, backend, X, y)
    if isinstance(thing, DrawnClaim):  # an error in its draw is no mistake in the derivation
        return claims_over(kind, thing, repr(thing), posed_of(kind, thing, seed, backend)[1])
    try:
        thing, cases = posed_of(kind, thing, seed, backend, shape)
    except NotClaimed as why:
        return [Check(kind, repr(thing), "not checked", "", "", why=str(why))]
    except Exception as error:
        return [broken(kind, repr(thing), error)]
    return claims_over(kind, thing, repr(thing), cases)


def posed_of(kind, thing, seed, backend, shape=None):
    """Return a part or a drawn claim, in the form that its claims take, and its random problems."""
    xp = get_module(backend or "numpy")
    if isinstance(thing, DrawnClaim):
        return thing, drawn_cases(thing, seed, xp)
    return CASES[kind](thing, np.random.default_rng(seed), xp, **({} if kind == "loss" else {"shape": shape}))


def claims_over(kind, thing, subject, cases):
    """Return the checks of all claims about one kind, the mathematics before conventions such as a dtype."""
    claims = sorted((claim for claim in CLAIMS if claim.kind == kind), key=lambda claim: claim.source == "convention")
    return of_one_cause(without_guesses([check_claim(claim, thing, subject, cases) for claim in claims]))


def of_one_cause(checks):
    """Return the checks of a thing; where a claim fails because another does, whose reason is known, without one.

    A cause that it alone names is kept; a constant factor is none, since it may fit by chance.
    """
    said = {check.claim: check.reason for check in checks if has_reason(check)}

    def follows(check):
        first = said.get(FOLLOWS.get(check.claim), "")
        is_cause = check.reason.startswith("likely: ") and "off by" not in check.reason
        return has_reason(check) and first and not (first.startswith("seen: ") and is_cause)

    return [replace(check, reason=NO_REASON) if follows(check) else check for check in checks]


def has_reason(check):
    """Whether a claim fails and a reason is given."""
    return check.passed is False and check.reason != NO_REASON


def without_guesses(checks):
    """Return the checks of a thing; without other reasons if it caches or couples its arguments, say."""
    kept = re.compile("remember|cached|kept|earlier|buffer|same twice|writes|first problem|rng|commit|shape|raises|"
                      "elementwise|place in")
    if not any(check.passed is False and (check.claim.startswith("it is a function of") or re.search(
            "it is not elementwise|cached, or remembered", check.reason)) for check in checks):
        return checks
    return [check if check.passed is not False or kept.search(check.reason) else replace(check, reason=NO_REASON)
            for check in checks]


def network_checks(net, seed, backend, X, y):
    """Return the checks of a network, then of its different layers and its loss."""
    name = name_of(net)
    get_module(backend or net.backend)  # a library that is not installed is no fault of the network
    try:
        cases = networks.network_cases(net, seed, backend, X, y)
    except Exception as error:
        if X is not None:
            raise
        return [broken("network", name, error)]
    checks = claims_over("network", net, name, cases)
    shapes = input_shapes(net)
    for part in parts_of(net):
        if kind_of(part) == "map" and np.prod(part.theta_shape) > PROBED:
            checks.append(Check("map", repr(part), "not checked", "", "",
                                why=f"more than {PROBED} parameters are too many to be probed one by one; "
                                    "check a smaller map of this kind"))
        else:
            checks += checks_of(part, seed, backend or net.backend, shape=shapes.get(repr(part)))
    amiss = next((check for check in checks if check.kind != "network" and has_reason(check)), None)
    return [replace(check, reason=f"see {amiss.kind} {amiss.subject} below") if amiss and has_reason(check)
            and check.kind == "network" else check for check in checks]


def parts_of(net):
    """Return a network's different layers, and its loss."""
    found: list[Any] = []
    for part in [*net.layers, net.loss_function]:
        if getattr(part, "kind", "") != "name" and not any(part is other or part == other for other in found):
            found.append(part)
    return found


def name_of(net):
    """Return what a network is called in a report: its layers."""
    return f"[{', '.join(map(repr, net.layers))}]"


def input_shapes(net):
    """Return {repr of a map or transfer: shape of the samples that it takes in a network}; several for a join."""
    shapes = {}
    for l in range(1, net.depth + 1):
        read = [net.shapes[2 * i] for i in net.inputs[l]]
        shapes[repr(net.phi[l])] = read if net.phi[l].kind == "join" else read[0]
        shape = net.shapes[2 * l - 1]
        for part in getattr(net.sigma[l], "parts", [net.sigma[l]]) if l < net.depth else ():
            shapes[repr(part)] = shape
            shape = part.output_shape(shape)
    return shapes


def claimed_of(thing, like=None, objective=None):
    """Return a method together with what its user says about it."""
    method = as_method(thing)
    if like is not None and not isinstance(like, Method):
        like = as_method(function("verify: like", like, "a block, or a Method such as ProxProp(0.5)"))
    if like is not None and not isinstance(thing, Method):
        method.new_weights = like.new_weights  # a function of a block does not define the order of the signals
    return methods.Claimed(method, like or method, objective)


def method_checks(thing, seed, backend, net=None, X=None, y=None, like=None, objective=None, cases=None):
    """Return the checks of a method on random networks, on a given one, or on given cases."""
    claimed = claimed_of(thing, like, objective)
    method = claimed.method
    if cases is None and net is not None:
        cases = networks.network_cases(net, seed, backend, X, y)
    elif cases is None:
        cases = networks.random_networks(seed, backend or "numpy")
    own = not type(thing).__module__.startswith("minilift.")
    refusals = [methods.refusal(claimed, case, chains=own and net is None) for case in cases]
    taken = [case for case, why in zip(cases, refusals) if why is None]
    checks = [Check("method", repr(method), f"{case.label}: not checked", "", "", why=why)
              for case, why in zip(cases, refusals) if why is not None]
    checks += claims_over("method", claimed, repr(method), taken) if taken else []
    # skipped because the equations are another method's: not worth a row
    return [check for check in checks if not check.why.startswith("it is not said to be")]


@np.errstate(all="ignore")
def method_mends(thing, checks, seed, backend, net, X, y, like, objective):
    """Return the edits of a method that make all claims hold."""
    cases = (networks.network_cases(net, seed, backend, X, y) if net is not None else
             networks.random_networks(seed, backend or "numpy"))
    own, claimed = not type(thing).__module__.startswith("minilift."), claimed_of(thing, like, objective)
    taken = [case for case in cases if methods.refusal(claimed, case, chains=own and net is None) is None]

    def posed(other):
        return claimed_of(other, like, objective), taken

    def verified(other, more=0, _=1.0):
        return method_checks(other, seed + more, backend, net, X, y, like, objective, None if more else cases)

    def steps_alike(other):
        """Whether another method's steps equal those of this one, for which nobody has said what they should be.

        All of them may have the opposite sign, if they do not descend.
        """
        other = claimed_of(other, like, objective).method
        pairs = [(steps, first_steps(other, case)) for steps, case in zip(own_steps, taken)]
        return any(all(methods.gap([sign * step for step in steps], others) <= 1e-9 for steps, others in pairs)
                   for sign in (1, -1))

    own_steps = None if is_told(thing, like, objective) else tried(
        lambda: [first_steps(claimed.method, case) for case in taken])
    is_same = {} if own_steps is None else {"is_same": steps_alike}
    return mends_of(Problem(thing, failed_of("method", checks), posed, verified, checks, methods.as_low_as(claimed),
                            is_whole=False, held=(like, objective), **is_same))


def first_steps(method, case):
    """Return the steps of two calls in a row, the first of them without memory."""
    method = networks.fresh(method)
    batches = case, case if method.whole_batch else case.batches[1]
    return [np.array(to_numpy(step)) for batch in batches for step in networks.run_method(method, batch)]


def is_told(thing, like, objective):
    """Whether it has been said what a method should be."""
    return (like is not None and like is not thing) or objective is not None or isinstance(
        thing, (*methods.TOLD, *lifted.TOLD))


@np.errstate(all="ignore")
def part_mends(kind, thing, checks, seed, backend, shape=None, others=()):
    """Return the edits of a map, a transfer, a loss, a claim, or a network's parts that make all claims hold.

    `others` are layers of the same class, with the shapes of their samples, of which all claims must hold too.
    """
    if kind == "network":
        shapes = input_shapes(thing)
        failing = {check.subject for check in checks if check.passed is False}
        alike = {type(part): [other for other in parts_of(thing) if type(other) is type(part)]
                 for part in parts_of(thing) if repr(part) in failing}  # one edit must mend all layers of a class
        found = []
        for parts in alike.values():
            part = next(part for part in parts if repr(part) in failing)
            found.append(part_mends(kind_of(part), part, [check for check in checks if check.subject == repr(part)],
                                    seed, backend or thing.backend, shapes.get(repr(part)),
                                    [(other, shapes.get(repr(other))) for other in parts if other is not part]))
        looked = [mends for mends in found if mends is not None]
        return list(itertools.chain(*looked)) if looked else None

    def verified(other, more=0, scale=1.0):
        pairs = [(with_numbers(other, scale), shape), *((of_class(one, type(other)), its) for one, its in others)]
        return [check for one, its in pairs for check in checks_of(one, seed + more, backend, shape=its)]

    failed = failed_of(kind, checks)
    problem = partial(Problem, thing, failed, checks=checks, verified=verified)
    of_forward = any(claim.measure is forward_is_design for claim in failed)  # what defines a map may itself be wrong
    try:
        subject, cases = posed_of(kind, unused_copy(kind, thing), seed, backend, shape)
    except Exception:  # it cannot even be run; perhaps it can be once it is mended
        return mends_of(problem(posed=lambda other: posed_of(kind, other, seed, backend, shape)))
    quick = {"argmin": minima.as_low_as_probes, "decreases": sweeps.leads_to_flatter,
             "loss": partial(prox_as_low_as_probes, subject)}
    problem = partial(problem, **{"possible": quick[kind](cases)} if kind in quick else {})
    if kind in CASES:
        return mends_of(problem(posed=lambda other: posed_again(kind, other, cases), is_same=lambda other: is_defined(
            kind, posed_of(kind, other, seed, backend, shape), subject, cases, of_forward) and (
            kind != "loss" or is_as_good(of_other_reduction(other), of_other_reduction(thing), seed, backend))))
    if kind == "decreases":  # one that moves nothing, forgets its start or leads nowhere trivially does what it claims
        problem = partial(problem, is_same=lambda other: all(before <= after for case in cases for before, after in zip(
            sweeps.does(case), sweeps.does(replace(case, thing=other)))) and sweeps.flatten(
                [replace(case, thing=other) for case in cases]))
    return mends_of(problem(posed=lambda other: (other, [replace(case, thing=other) for case in cases])))


def of_class(thing, cls):
    """Return a copy of a thing as an instance of another version of its class."""
    thing = copy.copy(thing)
    thing.__class__ = cls
    return thing


def with_numbers(thing, scale):
    """Return a claim with its drawn numbers scaled, except ±1, which may be signs; any other thing as it is."""
    if scale == 1 or getattr(thing, "draw", None) is None:
        return thing
    return replace(thing, draw=lambda rng: {name: scale * value if isinstance(value, float)
                                            and abs(value) != 1 else value for name, value in thing.draw(rng).items()})


def posed_again(kind, other, cases):
    """Return another part, in the form that its claims take, with problems that have been made already."""
    if kind == "transfer":
        return in_double(other, cases[0].xp), cases
    if hasattr(other, "on_backend"):
        other = other.on_backend(cases[0].xp, np.dtype(np.float64))
    if kind == "map":
        cases = [replace(case, phi=for_samples(other, case.a.shape[1:])) for case in cases]
    return other, cases


def is_defined(kind, posed, subject, cases, by_adjoint=False):
    """Whether a part has the same values and problems as another: what defines it, apart from what is derived.

    A loss may be defined by its transfer, of which its gradient is made; a map, if its values are doubtful, by its
    adjoints.
    """
    def adjoints(thing, case):
        phi = for_samples(thing, case.a.shape[1:])
        parts = case.call(phi.adjoint_theta, case.a, case.g), case.call(phi.adjoint_input, case.theta, case.g)
        return np.concatenate([np.ravel(part) for part in parts])

    def value(thing, case):
        return case.call(thing.value, case.z, case.y)

    def inherited(thing, case):
        return value(thing, case) if is_own(type(thing).gradient) else case.call(thing.gradient, case.z, case.y)

    kinds = {"map": [lambda thing, case: case.call(for_samples(thing, case.a.shape[1:]).forward, case.theta, case.a),
                     *[adjoints] * by_adjoint],
             "join": [lambda thing, case: case.call(lambda *v: thing.forward(None, *v), *case.values)],
             "transfer": [lambda thing, case: case.apply(thing, case.z, case.training)[0]], "loss": [value, inherited]}
    other, others = posed

    def is_same(values):
        pairs = [(values(other, case), values(subject, case)) for case in cases]
        return all(np.shape(one) == np.shape(two) and np.allclose(one, two, 1e-6, 1e-9, equal_nan=True)
                   for one, two in pairs)

    return [case.label for case in others] == [case.label for case in cases] and any(map(is_same, kinds[kind]))


def of_other_reduction(loss):
    """Return a loss that sums over the batch where the given one takes the mean, and vice versa."""
    other = copy.copy(loss)
    other.reduction = "sum" if getattr(loss, "reduction", "sum") == "mean" else "mean"
    return other


def is_as_good(other, thing, seed, backend):
    """Whether every claim that holds of `thing` also holds of `other`."""
    failing, known = ({check.claim for check in checks_of(one, seed, backend) if check.passed is False}
                      for one in (other, thing))
    return failing <= known


def failed_of(kind, checks):
    """Return the claims of a kind that failed."""
    failed = {(check.claim, check.source) for check in checks if check.passed is False}
    return [claim for claim in CLAIMS if claim.kind == kind and (claim.words, claim.source) in failed]


@np.errstate(all="ignore")
def package_checks(seed, backend, turn=0, turns=1):
    """Return a list of checks for each part of the package, or for every `turns`-th part, starting at `turn`.

    Each kind of part appears once; methods share their networks.
    """
    nets, cases = package_networks(seed), networks.random_networks(seed, backend or "numpy")
    convolutional = networks.network_cases(nets[-1], seed, backend)
    parts = [partial(checks_of, thing, seed, backend) for thing in package_things()]
    parts += [lambda net=net: claims_over("network", net, name_of(net), networks.network_cases(net, seed, backend))
              for net in nets]
    parts += [partial(method_checks, method, seed, backend, cases=[cases[i] for i in HALVES[k % 2]])
              for k, method in enumerate(package_methods())]
    parts += [partial(method_checks, method, seed, backend, cases=convolutional)
              for method in (BackProp(), ProxProp(0.5), ProxProp(0.5, solver="cg2"),
                             LocoProp("S", gamma=0.5, steps="exact", eta=0.7))]
    return [part() for part in parts[turn::turns]]

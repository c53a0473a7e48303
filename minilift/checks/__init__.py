r"""Is my derivation right? `verify` holds a thing against finite differences, dense algebra and SciPy.

Check your own derivation
-------------------------
Say you have derived the proximal step of ProxProp (11) by hand and have arrived at

    (ãᵀã + τ_θ I) d = ∇J          (wrong: the damping should be 1/τ_θ)

Write it as a function of a `Block`, which holds what a method may know of one map, and say what it should equal:

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

Printing the report shows every claim with its equation, the number measured and what it may be. In a test, say
``ml.verify(my_step, like=...).raise_for_failures()``; in a terminal,

    minilift verify my_file.py:my_step --like proxprop:tau_theta=0.2

Of a method alone nobody knows what it should be: without `like` or `objective` it is not verified, whatever it is.

Without the package's methods a derivation is a claim about functions of drawn arrays, `Argmin`, `Gradient`, `Equal` or
`Decreases` (see `minilift.checks.claims`):

>>> def ridge(theta, a, z):
...     return ((a @ theta[:-1] + theta[-1] - z) ** 2).sum() / 2 + 0.05 * (theta**2).sum()
>>> def solved(a, z):
...     A = np.hstack([a, np.ones_like(a[:, :1])])
...     return np.linalg.solve(A.T @ A + 0.05 * np.eye(A.shape[1]), A.T @ z)
>>> ml.verify(ml.Argmin(ridge, solved, block="theta")).passed
False

(the derivative of 0.05 θ² is 0.1 θ). A claim fails only against a reference that does not come from the code under
test; the reason named is the usual mistake which, made on purpose, gives the same wrong numbers.

To read the checks themselves begin with `report` and `numeric`, then `methods` and `lifted`; `layers` and `networks`;
`claims`; `equations` is the index of tagged lines.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import itertools
import math
import os
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minilift.checks import claims, layers, lifted, methods, networks
from minilift.checks.claims import Argmin, Decreases, DrawnClaim, Equal, Gradient
from minilift.checks.report import CLAIMS, NO_REASON, Check, NotClaimed, Report, check_claim, error_text
from minilift.graph import checked_network
from minilift.layers import activations, joins, losses, maps, normalization, pooling
from minilift.layers.convolution import Conv2d
from minilift.methods import (
    ADMM,
    BCD,
    DLADMM,
    FOOF,
    KFAC,
    LPOM,
    MAC,
    BackProp,
    FenchelLifted,
    GaussNewton,
    LiftedBregman,
    LocoProp,
    Method,
    PredictiveCoding,
    ProxProp,
    SemiImplicit,
    TargetPropagation,
    as_method,
)
from minilift.models import mlp, resnet, rnn
from minilift.network import Network
from minilift.support.arguments import function, known_name, shown, split_options, takes, unknown_name, whole_number
from minilift.support.backend import BACKENDS, get_module
from minilift.support.options import check_options, naming, whole
from minilift.support.spellings import spelled
from minilift.support.terminal import USERS_FILE, note
from minilift.training.names import METHODS as TRAINED
from minilift.training.names import named_method

__all__ = ["Argmin", "Check", "Decreases", "Equal", "Gradient", "Report", "verify"]

NOT_VERIFIED = "not verified: give an objective, a reference or `like`, or else nobody knows what it should be"
NOT_JUDGED = "not verified: none of its equations can be checked on these networks, and `like` does not run there"
PROBED = 100_000  # parameters of a map up to which each is probed
CASES = {"map": layers.map_cases, "join": layers.join_cases, "transfer": layers.transfer_cases,
         "loss": layers.loss_cases}


@spelled
@np.errstate(all="ignore")  # what overflows, or divides by 0, is a finding
def verify(thing: Any = None, net: Network | None = None, X: Any = None, y: Any = None, *,
           like: Method | Callable[..., Any] | str | None = None, objective: Callable[..., Any] | None = None,
           seed: int = 0, backend: str | None = None) -> Report:
    r"""Check a derivation, in float64, on small random problems from a seed.

    Parameters
    ----------
    thing : optional
        What to check, the package's own or yours: a claim (`Argmin`, `Gradient`, `Equal`, `Decreases`), a `Network`
        (its layers and its loss are checked with it), a map, an `Activation` or another transfer, a `Loss`, a `Method`,
        or a function ``propose(block)``; or the name of a method, as `fit` takes it. None checks all that the package
        holds.
    net : Network, optional
        For a method: the network to run it on, instead of eight small random ones, seven chains and a graph, without
        batch norm. It is not changed. A network that the method refuses, by a ValueError that begins with its name,
        is left out, and the report says so.
    X, y : arrays, optional
        For a network, or a method with `net`: the batch to use instead of random ones; y is drawn if it is not
        given.
    like : Method, its name or a callable; optional
        For a method: what it should equal, a reference. One of the package's methods, such as
        ``ProxProp(tau_theta=0.5)``, says which equations apply and with which numbers; where none is checked, on a
        large network, say, it is run beside it. So is another method, or a function of a block that returns the step by
        a dense formula, say. For a subclass of one of the package's methods its own class and attributes say which
        equations apply, and that class is run beside it, unless an objective is given. Where the sweep of a lifted
        one has another order or other updates than its class, the report remarks it: it may be a variant as well as a
        mistake, and `like` says that it should be neither.
    objective : callable, optional
        For a method: ``objective(block, theta)``, a number, of which θ_l − d_l should be the minimiser.

        A method of which neither is said is run, and what holds for every method is looked at; but what it computes
        cannot be judged, and the report says so and does not pass.
    seed : int, default 0
    backend : {"numpy", "cupy"}, optional
        Where the thing is run; by default NumPy, or the backend of the network. References are on the host.

    Returns
    -------
    Report
        Shown as a table by print and in a notebook; it has `passed`, `failures`, `to_json()` and
        `raise_for_failures()`.

    Raises
    ------
    TypeError, ValueError
        If the thing is of no known kind, or an argument does not go with it. What the thing itself does wrong,
        an error that it raises included, is a failure in the report.

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
        return Report(package_checks(seed, backend), seed)
    kind = kind_of(thing)
    if kind != "method" and not (like is None and objective is None and net is None):
        raise TypeError(f"verify: net, like and objective go with a method; {thing!r} is a {kind}")
    if X is not None and net is None and kind != "network":
        raise TypeError("verify: X and y go with a network; give net as well")
    if y is not None and X is None:
        raise TypeError("verify: y is given without X, which it needs")
    if kind == "method":
        checks = method_checks(thing, seed, backend, net, X, y, like, objective)
        told = (like is not None and like is not thing) or objective is not None or isinstance(
            thing, (*methods.TOLD, *lifted.TOLD))
        judged = any(check.passed is not None and check.source not in methods.GENERAL for check in checks)
        ours = like is None and type(thing).__module__.startswith("minilift.")
        return Report(checks, seed, NOT_VERIFIED if not told else "" if judged or ours else NOT_JUDGED)
    return Report(checks_of(thing, seed, backend, X, y), seed)


def kind_of(thing):
    """Return of which kind a thing is."""
    if isinstance(thing, type):
        raise TypeError(f"verify: thing is the class {thing.__name__}; an instance is needed, {thing.__name__}(…)")
    if isinstance(thing, Network):
        return "network"
    if isinstance(thing, Method):
        return "method"
    if isinstance(thing, DrawnClaim) or getattr(thing, "kind", None) in ("map", "join", "transfer"):
        return thing.kind
    if hasattr(thing, "gradient") and hasattr(thing, "value"):
        return "loss"
    if callable(thing):
        return "method"
    raise TypeError("verify: thing must be a network, map, activation, loss, method, a function of a Block, or a "
                    f"claim such as Argmin, got {shown(thing)}")


def checks_of(thing, seed, backend, X=None, y=None, shape=None):
    """Return the checks of one thing of any kind but a method; of a layer, on samples of a shape if one is given."""
    kind = kind_of(thing)
    if kind == "network":
        return network_checks(thing, seed, backend, X, y)
    if isinstance(thing, DrawnClaim):
        return claims_over(kind, thing, repr(thing), claims.drawn_cases(thing, seed, get_module(backend or "numpy")))
    try:
        shape = {"shape": shape} if kind in ("map", "transfer") else {}
        thing, cases = CASES[kind](thing, np.random.default_rng(seed), get_module(backend or "numpy"), **shape)
    except NotClaimed as why:
        return [Check(kind, repr(thing), "not checked", "", "", why=str(why))]
    except Exception as error:
        return [broken(kind, repr(thing), error)]
    return claims_over(kind, thing, repr(thing), cases)


def claims_over(kind, thing, subject, cases):
    """Return the checks of all claims about one kind."""
    return without_guesses([check_claim(claim, thing, subject, cases) for claim in CLAIMS if claim.kind == kind])


def without_guesses(checks):
    """Return the checks of a thing; where it is no function of its arguments, or couples them, with no other reason."""
    kept = re.compile("remember|cached|kept|earlier|buffer|same twice|writes|first problem|rng|commit|shape|raises|"
                      "elementwise|place in")
    if not any(check.passed is False and (check.claim.startswith("it is a function of") or "it is not elementwise" in
                                          check.reason) for check in checks):
        return checks
    return [check if check.passed is not False or kept.search(check.reason) else replace(check, reason=NO_REASON[1])
            for check in checks]


def network_checks(net, seed, backend, X, y):
    """Return the checks of a network, then of its different layers and its loss."""
    name = name_of(net)
    get_module(backend or net.backend)  # a library that is not installed is no mistake of the network
    try:
        cases = networks.network_cases(net, seed, backend, X, y)
    except Exception as error:
        if X is not None:
            raise
        return [broken("network", name, error)]
    checks = claims_over("network", net, name, cases)
    shapes = input_shapes(net)
    parts = {repr(layer): layer for layer in [*net.layers, net.loss_function] if getattr(layer, "kind", "") != "name"}
    for part in parts.values():
        if kind_of(part) == "map" and np.prod(part.theta_shape) > PROBED:
            checks.append(Check("map", repr(part), "not checked", "", "",
                                why=f"more than {PROBED} parameters are too many to be probed one by one; "
                                    "check a smaller map of this kind"))
        else:
            checks += checks_of(part, seed, backend or net.backend, shape=shapes.get(repr(part)))
    return checks


def name_of(net):
    """Return what a network is called in a report: its layers."""
    return f"[{', '.join(map(repr, net.layers))}]"


def input_shapes(net):
    """Return {repr of a map or transfer: shape of the samples that it takes in a network}."""
    shapes = {}
    for l in range(1, net.depth + 1):
        shapes[repr(net.phi[l])] = net.shapes[2 * net.inputs[l][0]]
        shape = net.shapes[2 * l - 1]
        for part in getattr(net.sigma[l], "parts", [net.sigma[l]]) if l < net.depth else ():
            shapes[repr(part)] = shape
            shape = part.output_shape(shape)
    return shapes


def broken(kind, subject, error):
    """Return the check of a thing that cannot even be run on a random problem."""
    return Check(kind, subject, "it runs on a random problem", "", "definition", math.inf, 0.0, "it must not raise",
                 False, f"likely: {error_text(error)}", 1, "the first")


def method_checks(thing, seed, backend, net=None, X=None, y=None, like=None, objective=None, cases=None):
    """Return the checks of a method on random networks, on a given one, or on given cases."""
    method = as_method(thing)
    if like is not None and not isinstance(like, Method):
        like = as_method(function("verify: like", like, "a block, or a Method such as ProxProp(0.5)"))
    if like is not None and not isinstance(thing, Method):
        method.new_weights = like.new_weights  # of the order of the signals a function of a block says nothing
    claimed = methods.Claimed(method, like or method, objective)
    if cases is None and net is not None:
        cases = networks.network_cases(net, seed, backend, X, y)
    elif cases is None:
        cases = networks.random_networks(seed, backend or "numpy")
    refusals = [methods.refusal(claimed, case) for case in cases]
    taken = [case for case, why in zip(cases, refusals) if why is None]
    checks = [Check("method", repr(method), f"{case.label}: not checked", "", "", why=why)
              for case, why in zip(cases, refusals) if why is not None]
    checks += claims_over("method", claimed, repr(method), taken) if taken else []
    # what another method's equations say is no news of this one
    return [check for check in checks if not check.why.startswith("it is not said to be")]


def package_checks(seed, backend):
    """Return the checks of all that the package holds, each kind of part once; methods share their networks."""
    checks = [check for thing in package_things() for check in checks_of(thing, seed, backend)]
    for net in package_networks(seed):
        convolutional = networks.network_cases(net, seed, backend)  # the last one's
        checks += claims_over("network", net, name_of(net), convolutional)
    cases = networks.random_networks(seed, backend or "numpy")
    for method in package_methods():
        checks += method_checks(method, seed, backend, cases=cases)
    for method in (BackProp(), ProxProp(0.5), ProxProp(0.5, solver="cg2"),
                   LocoProp("S", gamma=0.5, steps="exact", eta=0.7)):
        checks += method_checks(method, seed, backend, cases=convolutional)
    return checks


def package_things():
    """Return the package's own layers and losses, in several sizes and settings, for `verify()` of everything."""
    things = [maps.Linear(3, 4), maps.Linear(1, 1), maps.Linear(5, 1), maps.Linear(4, 4), maps.Linear(20, 2)]
    things += [Conv2d(2, 3, 3), Conv2d(1, 2, 2, stride=2, padding=1), Conv2d(3, 1, 1, padding="valid")]
    things += [pooling.MaxPool2d(2), pooling.AvgPool2d(2), pooling.Flatten(), normalization.BatchNorm(3),
               normalization.Dropout(0.3)]
    things += [joins.Add("x"), joins.Add(["x", "y"]), joins.Concat(["x", "y"]), joins.Select("x"), joins.Select("x", 1),
               joins.Select(None, 1, 3), joins.Zeros(2)]
    things += [cls() for cls in activations.ACTIVATIONS.values()]
    things += [activations.LeakyReLU(0.3), activations.Softmax(),
               activations.Composition([activations.Tanh(), activations.ReLU()])]
    return things + [cls(reduction) for cls in (losses.SquaredError, losses.SoftmaxCrossEntropy,
                                                losses.SigmoidCrossEntropy) for reduction in losses.REDUCTIONS]


def package_networks(seed):
    """Return small networks of all kinds, the convolutional one last."""
    start = {"seed": seed % 2**32}
    return [mlp([5, 4, 3, 2], activation="tanh", **start), mlp([3, 6, 4], activation="relu", **start),
            mlp([4, 3], loss=losses.SquaredError(), **start), resnet([3, 4, 4, 4, 2], "tanh", **start),
            rnn(2, 3, 1, 3, "every", loss=losses.SquaredError(), **start), small_convnet(seed, "numpy")]


def small_convnet(seed, backend):
    """Return a network with all that images bring: convolutions, batch norm, pooling, flattening."""
    layers = [Conv2d(1, 2, 3), normalization.BatchNorm(2), activations.Tanh(), pooling.AvgPool2d(2),
              Conv2d(2, 2, 2, padding="valid"), activations.ReLU(), pooling.MaxPool2d(2, stride=1), pooling.Flatten(),
              maps.Linear(2, 3)]
    return Network(layers, seed=seed % 2**32, input_shape=(6, 7, 1), backend=backend)


NETS = {"mlp": lambda: mlp([5, 4, 3, 2], activation="tanh"), "convnet": lambda: small_convnet(0, "numpy"),
        "resnet": lambda: resnet([3, 4, 4, 4, 2], "tanh"), "rnn": lambda: rnn(2, 3, 1, 3, loss=losses.SquaredError())}
LIKE = {"backprop": BackProp, "proxprop": ProxProp, "locoprop": LocoProp, "semi-implicit": SemiImplicit}


def package_methods():
    """Return the package's methods in settings that differ in kind, with steps that suit the small networks."""
    return [BackProp(), ProxProp(0.5), ProxProp(5.0, last="implicit"), ProxProp(1.0, solver="cg3"),
            ProxProp(1.0, solver="cg2", joint=True), LocoProp("S", gamma=0.5, steps="exact", eta=0.7),
            LocoProp("M", gamma=0.2, steps="exact", eta=0.7),
            LocoProp("M", gamma=0.5, steps=4, local_lr=0.02, local_optimizer="sgd", eta=2.0),
            LocoProp("M", gamma=1.0, steps=3, local_lr=1e-3, local_optimizer="rmsprop"),
            SemiImplicit(eta=0.05, lam=3.0, solver="exact"), FOOF(2.0, decay=0.9),
            KFAC(0.1, split="heuristic", decay=0.9), KFAC(0.1, "empirical", split="exact"),
            GaussNewton(0.1, tolerance=1e-6), BCD(3.0, alpha=0.5), ADMM(2.0, 0.5, alpha=0.3), DLADMM(0.3),
            MAC(3.0, a_steps=2), FenchelLifted(0.3, 2.0, weight_decay=0.1), LPOM(), LiftedBregman(),
            PredictiveCoding(0.2, 6), PredictiveCoding(prediction="fixed"), TargetPropagation(),
            TargetPropagation(variant="lee")]


# ---- command line


def add_arguments(parser):
    """Add the arguments of ``minilift verify`` to an `argparse` parser."""
    parser.add_argument("target", nargs="?", metavar="FILE.py:NAME",
                        help="what to check: an object, a class without arguments, or a function propose(block); "
                             "without it, everything in the package")
    parser.add_argument("--like", metavar="METHOD",
                        help="what a method should equal: backprop, proxprop:tau_theta=0.5, locoprop:variant=S, "
                             "semi-implicit:eta=0.1, another method of 'minilift compare', or FILE.py:NAME, a function "
                             "of a block")
    parser.add_argument("--objective", metavar="FILE.py:NAME",
                        help="a function of (block, theta), of which a method's new parameters should be the minimiser")
    parser.add_argument("--net", metavar="NET",
                        help=f"the network on which a method is run: {', '.join(NETS)}, or FILE.py:NAME (default: "
                             "seven small chains and a graph)")
    parser.add_argument("--list", action="store_true", help="list the claims with their sources, check nothing")
    parser.add_argument("--seed", type=whole, default=0, help="seed of the random problems (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments):
    """Run ``minilift verify``; return the exit code: 1 if a claim fails or nothing could be verified, else 0.

    Raises
    ------
    ValueError, TypeError
        For a mistake in the arguments; the command prints its message and exits with code 2.
    """
    if arguments.list:
        print(claims_text())
        return 0
    given = {"like": like_of, "objective": objective_of, "net": net_of}
    options = {}
    for name, read in given.items():
        if (text := getattr(arguments, name)) is not None:
            if arguments.target is None:
                raise ValueError(f"--{name} {text}: goes with a method; name it, as FILE.py:NAME")
            with naming(f"--{name}"):
                options[name] = read(text)
    thing = None if arguments.target is None else load_target(arguments.target)
    if thing is not None and arguments.like == arguments.target:
        options["like"] = thing  # its own reference, which says nothing
    if thing is not None:
        with naming(arguments.target):
            if kind_of(thing) != "method" and options:
                raise TypeError(f"--{next(iter(options))} goes with a method, got {shown(thing)}")
    note("checking all that the package holds: about 10 seconds" if thing is None else "checking: some seconds")
    report = verify(thing, seed=arguments.seed, **options)
    print(report.to_json() if arguments.json else report)
    return 0 if report.passed else 1


def like_of(text):
    """Return the method that 'NAME', 'NAME:argument=value,…' or 'FILE.py:NAME' stands for."""
    if re.fullmatch(r".+\.py:\w+", text):
        return as_method(load_target(text))
    name, options = split_options("--like", text)
    if name in TRAINED and name not in LIKE:
        return named_method("--like", text)
    factory = LIKE[known_name("--like", name, tuple(dict.fromkeys([*LIKE, *TRAINED])))]
    check_options(f"--like: {name}", factory, options)
    return factory(**options)


def objective_of(text):
    """Return the function that FILE.py:NAME names."""
    return function("--objective", load_target(text), "(block, theta)", 2)


def net_of(text):
    """Return a small network of a kind, or the one that FILE.py:NAME names."""
    return NETS[text]() if text in NETS else checked_network("--net", load_target(text))


def claims_text():
    """Return the list of all claims: source, equation, words."""
    width, lines = max(len(claim.source) for claim in CLAIMS), []
    for kind, group in itertools.groupby(sorted(CLAIMS, key=lambda claim: claim.kind), key=lambda claim: claim.kind):
        lines += ["", kind, *(f"  {claim.source:<{width}}  {claim.words}: {claim.equation}" for claim in group)]
    return "\n".join(lines[1:])


def load_target(target):
    """Return the object that FILE.py:NAME names; a class is called without arguments.

    Raises
    ------
    ValueError
        If the file or the name does not exist, the file cannot be run, or the class wants arguments. What the class
        itself raises goes through.
    """
    path, _, name = target.rpartition(":")
    if not path:
        raise ValueError(f"expected FILE.py:NAME, got {target!r}{meant(target)}")
    if not os.path.isfile(path):  # False for what no file can be called, too
        raise ValueError(f"there is no file {path!r}{meant(target)}")
    module = run_file(Path(path))
    known = [key for key, value in vars(module).items() if not key.startswith("_")
             and not issubclass(type(value), ModuleType)]
    if name not in known:
        raise unknown_name(path, name, known)
    thing = vars(module)[name]
    if not issubclass(type(thing), type):
        return thing
    if not takes(thing, 0):
        raise ValueError(f"{name} is a class that wants arguments, {name}{inspect.signature(thing)}; make an instance "
                         f"of it in {path} and name that")
    return thing()


def meant(target):
    """Return a question that spells 'mine:f', 'mine.f', 'mine.py::f' as 'mine.py:f', or nothing if no file is so."""
    parts = re.fullmatch(r"(.+?)(?:\.py)?(?:::?|\.)(\w+)", target)
    if parts is None or parts[2] == "py" or not os.path.isfile(f"{parts[1]}.py"):
        return ""
    return f"; did you mean '{parts[1]}.py:{parts[2]}'?"


def run_file(path):
    """Return the module that a file makes; it may import what lies beside it.

    The module says in `USERS_FILE` which file it is: an exception that comes through it later is the user's own.
    """
    spec = importlib.util.spec_from_file_location(path.name, path)  # with '.py': no import can mean this module
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    setattr(module, USERS_FILE, str(path))
    sys.modules[path.name] = module  # where a dataclass looks for its module
    sys.path.insert(0, str(path.parent))
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left beside the user's file
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a file that ends the process is of no use here
        raise ValueError(f"{path} cannot be run: {where_in(module, error)}{type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = writes
        with contextlib.suppress(ValueError):  # the file may have changed the list
            sys.path.remove(str(path.parent))
    return module


def where_in(module, error):
    """Return 'line N: ', the line of a module that an exception came through, or nothing."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_globals is vars(module)]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]
    return f"line {lines[-1]}: " if lines and lines[-1] else ""

"""Every argument of the public API given what it does not take: an error must name it and say what was expected.

The calls are made from the signatures: each public function, constructor and method is called with right arguments
but one, which is in turn each of the wrong values. Nothing is accepted in silence but what `TAKEN` says is no mistake,
and that is held too: those calls must work. A new public argument is tested without a line here, unless it needs a
right value in `RIGHT`; then the test says so.
"""

import inspect
import re
import signal
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse

import minilift as ml
from minilift import checks, download, methods, models, plots
from minilift.layers.gram import Gram

try:
    import torch
except ImportError:
    torch = None

PACKAGE = str(Path(ml.__file__).parent)
MODULES = (ml, ml.datasets, ml.energy, models, ml.problems, ml.solvers, ml.optim, plots, methods)
ALSO = (checks.verify, Gram)
LARGEST_PEAK = 1 << 25  # bytes that a wrong call may allocate; the right ones stay far below
PATIENCE = 10  # seconds until a call counts as hung; none takes a tenth of one

# ---- the public face

# Records that the library fills, and functions that it calls with what the public ones have checked.
RECORDS = {
    "State", "Block", "OwnBlock", "Model", "Step", "Solution", "Dataset",
}
# The local problem and its operators, made for each map in every step of arrays that are in order.
INNER = {
    "PrincipalAxes", "local", "direct_solution", "many_rows", "quick_solve", "careful_solve", "rounding_error",
    "measured_error", "unevenness_and_norm",
    "of_least_norm", "newton_steps", "from_afar", "nearest_to_zero", "rounding_of_gradient",
    "norm", "ratio", "check", "shifted", "cg_solve",
}
HELPERS = {
    "check_range", "cifar10_part", "draw_curves", "flat_images", "idx_pair", "idx_set", "toy_arguments",
    "mean_and_deviation", "toy_set", "usps_npz", "usps_part", "replaced", "squared_norm", "as_number", "build", "built",
    "check_buffer", "check_sizes", "is_part", "named_activation", "check_target",
    "damped_residual", "line_search", "local_solution", "newton_direction", "sweep", "convolution_of", "stacked",
    "check_residuals", "literal_sweep", "draw", "legend", "method_of", "new_figure", "picture_grid",
    "msign", "checked_epoch", "buffer_of", "plain_numbers", "styles", "checked_format", "checked_run", "look_of",
    "looks_of", "checked_targets",
}
ABSTRACT = {"Loss", "Optimizer"}  # their methods are called on what derives from them
# Likewise methods: the arithmetic of layers, losses and local problems, in every step, on arrays that are in order.
KERNELS = {
    "Optimizer": {"check_fits"},
    "Network": {"checked_state", "commit", "in_batches", "outputs", "parameters_text", "propagate", "rows_of_names",
        "samples", "to_backend", "total"},
    "layer": {"adjoint", "adjoint_input", "adjoint_inputs", "adjoint_theta", "apply", "at_outputs",
        "columns", "commit", "conjugate", "derivative", "for_images", "forward", "gather", "gradients", "gram",
        "height", "in_range", "initial_theta", "integral", "inverse", "mean", "on_backend", "output_shape", "rows",
        "signal_gram",
        "signals", "solve_shifted", "statistics", "views"},
    "Loss": {"check_targets", "shifted_inverse", "targets", "transfer_for", "value_per_sample", "weight"},
    "Method": {"check_state", "directions", "explicit_step", "gap", "new_optimizer", "optimizer_of",
        "optimizer_steps", "problem", "propose", "refuse_unbounded", "solve", "step_size", "average", "dampings",
        "gram", "lowered", "prepare", "rounding_is_seen", "signal_factor",
        "inverted", "inverse_map", "inverse_transfer", "inverse", "local_gradient",
        "differences", "gradients_and_inverses", "learn_inverses", "noisy", "reconstruct"},
    "EnergyMethod": {"alpha", "ascend", "beginning", "check_network", "check_rows", "energy", "energy_around", "jacobi",
        "look_at", "relaxed", "schedule", "start", "step_a", "step_w", "sweeps_on"},
    "Team": {"agree", "count", "first", "gather", "guard", "stop", "sum"},
    "Gram": {"adjoint", "apply", "inner", "lift", "lower", "output_change", "product",
        "rounding_of_lower", "solve", "squared_norm", "total", "whole"},
    "LocalProblem": {"descent", "gradient_norm", "inner", "objective", "of_units", "squared_norm", "step", "total"},
    "Gap": {"rounding"},
    "MatchingLoss": {"curvature", "gradient", "model", "rounding", "value"},
    "SquaredFit": {"curvature", "gradient", "model", "rounding", "value"},
    "Penalties": {"activation_gap", "gradient_a", "gradient_phi", "gradient_theta", "gradient_z", "inputs",
        "map_gap", "phi", "terms", "value"},
}

rng = np.random.default_rng(0)
X, LABELS = rng.standard_normal((5, 3)), np.array([0, 1, 0, 1, 1])
Z, TARGETS, IMAGES = rng.standard_normal((5, 2)), rng.uniform(size=(5, 2)), rng.standard_normal((5, 4, 4, 1))


def network():
    return ml.mlp([3, 4, 2], dtype=np.float64)


def image_network():
    return ml.Network([ml.Conv2d(1, 2, 3), ml.ReLU(), ml.Flatten(), ml.Linear(32, 2)], dtype=np.float64,
                      input_shape=(4, 4, 1))


def squared_gap():
    return ml.problems.MatchingLoss(ml.Tanh(), Z, 0.1 * Z)


def local_problem():
    return ml.problems.LocalProblem(Gram(X), Z, squared_gap(), 1.0)


def history():
    run = ml.History("run")
    for epoch in range(3):
        run.append({"epoch": epoch, "seconds": float(epoch), "train_loss": 2.0 / (epoch + 1)})
    return run


def saved_network():
    network().save("saved.npz")
    return "saved.npz"


def saved_history():
    history().to_json("saved.json")
    return "saved.json"


def objective(theta):
    return float((theta**2).sum())


# Makers of right values, by the argument's name, or by "function.argument" where it differs.
RIGHT = {
    "net": network, "X": lambda: X, "y": lambda: LABELS, "data": lambda: (X, LABELS), "method": ml.BackProp,
    "optimizer": lambda: ml.SGD(0.1), "thing": ml.BackProp, "layers": lambda: [ml.Linear(3, 2)],
    "widths": lambda: [3, 4, 2], "n_in": lambda: 3, "n_out": lambda: 2, "c_in": lambda: 1, "c_out": lambda: 2,
    "kernel": lambda: 3, "channels": lambda: 3, "size": lambda: 2, "lr": lambda: 0.1, "every": lambda: 2,
    "epochs": lambda: 1, "epoch": lambda: 1, "progress": lambda: False, "parameters": lambda: [Z.copy(), X.copy()],
    "directions": lambda: [Z, X], "tau": lambda: 0.1, "tau_theta": lambda: 0.1, "theta": lambda: network().theta,
    "l": lambda: 1, "Named.name": lambda: "x", "sources": lambda: "x", "n_hidden": lambda: 3,
    "resnet.widths": lambda: [3, 4, 2],
    "PenaltyEnergy.a": lambda: network().forward(X).a, "PenaltyEnergy.z": lambda: network().forward(X).z,
    "gram": lambda: Gram(X), "a": lambda: X, "g": lambda: Z, "damping": lambda: 1.0, "steps": lambda: 2,
    "rates": lambda: [0.1, 0.1], "tolerance": lambda: 1e-6, "problem": local_problem, "f": ml.Tanh,
    "z": lambda: Z, "x": lambda: Z,
    "v": lambda: Z, "signal": lambda: 0.1 * Z, "rows": lambda: slice(0, 1),
    "LocalProblem.gap": squared_gap, "SquaredError.y": lambda: TARGETS,
    "OneHotSquaredError.y": lambda: LABELS, "SigmoidCrossEntropy.y": lambda: TARGETS, "n": lambda: 20,
    "n_train": lambda: 20, "n_test": lambda: 10,
    "fraction": lambda: 0.5, "name": lambda: "digits", "objective": lambda: objective, "path": lambda: "new.npz",
    "load.path": saved_network, "from_json.path": saved_history, "plot.path": lambda: "new.png",
    "save.path": lambda: "new.png", "Network.save.path": lambda: "new.npz", "figure": lambda: plots.new_figure(2, 2),
    "found": lambda: {"cg3": [None, Z[0] ** 2]}, "histories": lambda: {"cg3": history()}, "history": history,
    "runs": lambda: {"cg3": history()}, "row": lambda: {"epoch": 3, "seconds": 3.0, "train_loss": 0.5},
    "values": lambda: history().as_dict(), "Method.values": dict, "arrays": lambda: network().state_dict(),
    "state": lambda: {"SGD/steps": 1, "SGD/epoch": 0}, "filters.net": image_network, "activations.net": image_network,
    "prox_residual.net": image_network, "activations.X": lambda: IMAGES, "prox_residual.X": lambda: IMAGES,
}
# Optional arguments that are given all the same, so that they are at work, or that little is.
GIVEN = {"Network.forward": ["theta"], "curves": ["n_train", "n_test"],
         "moons": ["n"], "spirals": ["n"], "teacher": ["n"], "fit": ["epochs", "progress"],
         "verify": ["thing", "net", "X", "y"]}
INSTANCES = {"History": history, "Network": network}  # of other classes one is made with right arguments


class Callee(NamedTuple):
    """A public function, constructor or method: its name, names under which `RIGHT` is read, and how to get it."""

    name: str
    owners: list
    bound: Callable
    parameters: dict


def callee(name, owners, bound, function):
    parameters = {argument: parameter for argument, parameter in inspect.signature(function).parameters.items()
                  if argument != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)}
    return Callee(name, owners, bound, parameters)


def right_value(one, argument):
    """Return a right value of an argument: the default where there is one."""
    default = one.parameters[argument].default
    if default is not inspect.Parameter.empty and argument not in GIVEN.get(one.name, ()):
        return default
    for key in [*(f"{owner}.{argument}" for owner in one.owners), argument]:
        if key in RIGHT:
            return RIGHT[key]()
    raise KeyError(f"{one.name}: what is a right value of {argument!r}? Say so in RIGHT")


def right_values(one):
    return {argument: right_value(one, argument) for argument in one.parameters}


def is_public(name, thing, module):
    """Whether a module's own function or class, or one that the package exports, belongs to the public face."""
    if name.startswith("_") or name in RECORDS | INNER | HELPERS:
        return False
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return False
    home = thing.__module__
    exports = module in (ml, plots, methods) and home.startswith("minilift.") and ".support." not in home
    if home == "minilift.graph" or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return False
    return exports or home == module.__name__


def callees():
    """Yield all functions, constructors and methods of the public face, each once."""
    things = [thing for module in MODULES for name, thing in vars(module).items() if is_public(name, thing, module)]
    seen = set()
    for thing in dict.fromkeys([*things, *ALSO]):
        constructor = callee(thing.__name__, [thing.__name__], lambda thing=thing: thing, thing)
        yield constructor
        if inspect.isclass(thing) and thing.__name__ not in ABSTRACT:
            bases = [base.__name__ for base in thing.__mro__ if base.__module__.startswith("minilift")]
            kinds = [*bases, "layer" if hasattr(thing, "kind") else ""]
            kernels = set().union(*(KERNELS.get(kind, ()) for kind in kinds))
            for name, method in inspect.getmembers(thing, inspect.isroutine):
                function = getattr(method, "__func__", method)
                if name.startswith("_") or name in kernels or function in seen or not inspect.isfunction(function):
                    continue
                seen.add(function)
                yield callee(f"{thing.__name__}.{name}", [f"{base}.{name}" for base in bases] + bases + [name],
                             lambda one=constructor, name=name: getattr(instance(one), name), method)


def instance(one):
    """Return an object of a class, given its constructor."""
    return INSTANCES[one.name]() if one.name in INSTANCES else one.bound()(**right_values(one))


# ---- wrong values


def disguised(right, change):
    """Return `right` with its first array changed, or what becomes of a small array if it holds none."""
    if isinstance(right, np.ndarray):
        return change(right)
    items = dict(right) if isinstance(right, dict) else {}
    if isinstance(right, (list, tuple)):
        items = dict(enumerate(right))
    first = next((key for key, value in items.items() if isinstance(value, np.ndarray)), None)
    if first is None:
        return change(np.ones(2))
    items[first] = change(items[first])
    return items if isinstance(right, dict) else list(items.values())


def with_nan(array):
    array = array.astype(np.float64)
    array.flat[0] = np.nan
    return array


class Unspeakable:
    """An object that cannot be written."""

    def __repr__(self):
        raise RuntimeError("no repr")


# By name; those in ARRAYS are made of an array, from a right value of the argument.
VALUES = {
    "None": None, "[]": [], "''": "", "text": "yes", "'1.0'": "1.0", "'cg٣'": "cg٣", "'a\\0b'": "a\0b", "-1": -1,
    "-0.5": -0.5, "True": True, "NaN": np.nan, "inf": np.inf, "10**15": 10**15, "10**19": 10**19, "10**400": 10**400,
    "complex": 1 + 1j, "NumPy complex": np.complex64(1), "list": [1, 2], "ragged list": [[1.0], [1.0, 2.0]],
    "dict": {"a": 1}, "class": dict, "object": object(), "unspeakable": Unspeakable(),
    "function of nothing": lambda: None,
    "sparse matrix": scipy.sparse.csr_matrix(np.eye(3)),
}
ARRAYS = {
    "wrong shape": lambda a: np.ones((2, 3, 1, 2, 1)), "complex array": lambda a: a.astype(complex),
    "text array": lambda a: a.astype(str), "object array": lambda a: a.astype(object), "NaN array": with_nan,
    "masked array": lambda a: np.ma.masked_array(a, a == a.flat[0]),
}
ITS_CLASS = "its class"  # that of the right value, in its place
if torch is not None:
    ARRAYS |= {"tensor that requires grad": lambda a: torch.ones(a.shape, requires_grad=True),
               "bfloat16 tensor": lambda a: torch.ones(a.shape, dtype=torch.bfloat16)}

# ---- what is no mistake

COUNT, LARGE, FILE = ["10**15"], ["10**15", "10**19"], ["text", "'1.0'", "'cg٣'"]
TEXT, PAIR, NAN = [*FILE, "''", "'a\\0b'"], ["list", "object array"], ["NaN array"]
# (pattern of "function(argument)", values, why they are right), beside what `is_taken` knows by itself
TAKEN = [
    (r"\((seed|epoch|every|patience|batch_size|checkpoint_every)\)", COUNT, "no memory depends on it"),
    (r"\((stride|padding|size|start)\)", COUNT, "whether images are as large is seen when they are known"),
    (r"(Cosine|WarmupLinear)\(epochs\)|(LocoProp|SemiImplicit|GaussNewton|LPOM|LiftedBregman|PredictiveCoding)\(steps\)"
     r"|Muon\(iterations\)|\((sweeps|alternations|a_steps|theta_steps)\)",
     COUNT, "time, not memory, depends on it"),
    (r"\((lr|init|eta|level)\)|ADMM\(alpha\)|MAC\(growth\)|(PredictiveCoding|TargetPropagation)\(rate\)", LARGE,
     "positive and finite"),
    (r"fit\(batch_size\)", ["None"], "the whole set"),
    (r"Network\.save\(path\)|to_csv\(path\)|to_json\(path\)|fit\(checkpoint\)", FILE, "the name of a new file"),
    (r"History\.plot\(path\)", ["text", "'cg٣'"], "likewise; without a suffix it is a PNG"),
    (r"History\((label|look)\)|comparison\((ylabel|title)\)|fit\(progress\)", TEXT, "is only shown"),
    (r"ProxProp\(tau_theta\)|gradient_steps\(rates\)", PAIR, "a number for each of two"),
    (r"FenchelLifted\(anchor\)|(LPOM|LiftedBregman)\(mu\)", ["list"], "a number for each of two"),
    (r"mlp\(widths\)|convnet\(channels\)|Conv2d\(image_size\)", ["list"], "two whole numbers"),
    (r"fit\(callbacks\)|load\(layers\)", ["[]"], "none"),
    (r"(Named\(name|Select\(source|(Add|Concat)\(sources)\)", [*FILE, "'a\\0b'"], "any text is a name"),
    (r"(Add|Concat)\(sources\)", ["text array"], "likewise"),
    (r"(Entropy|Error)\.(value|gradient|proba|predict)\(z\)|SigmoidCrossEntropy\.(value|gradient)\(y\)"
     r"|\.step\((parameters|directions)\)|Gram\(a\)|PenaltyEnergy\.\w+\((theta|a|z)\)"
     r"|(damped_solve|conjugate_gradients)\(g\)|LocalProblem\(z\)|(Gap|MatchingLoss|SquaredGap|SquaredFit)\((z|signal)\)",
     NAN, "NaN gives NaN, by which `fit` finds that a run diverged"),
    (r"split\((X|y)\)", NAN, "rows are only sorted"),
]
# Likewise, but not to be tried: they would run for ever, or go to the network.
NOT_TRIED = [(r"fit\(epochs\)|(conjugate_gradients|fletcher_reeves)\(steps\)|verify\(seed\)", COUNT),
             (r"\(folder\)", [*FILE, "None"])]
# Arguments whose default is None but which are needed beside the right ones given here.
NEEDED = r"verify\((thing|net|X)\)"
# numbers in an interval
BOUNDED = r"Dropout\(rate\)|\((slope|momentum|beta1|beta2|fraction|decay)\)|RMSProp\(rho\)|GaussNewton\(tolerance\)"
# Mistakes, as "function(argument) = value", that are known to get another error, and what it says. To be emptied.
PENDING = {
    r"^Network\.load_state_dict\(arrays\) = .*(array|tensor|shape)": "the name of the array in the network",
    r"^\w+\.load_state_dict\(values\) = dict$|^History\.from_dict\(values\) = dict$": "which keys there must be",
    r"^rnn\(n_hidden\) = 10\*\*15$": "that Linear's n_in × n_out must fit in memory",
    r"^Gram\(a\) = sparse matrix$": "that an array was expected, without its name",
}
# How else a message may call an argument.
NOUNS = {"parameters": "parameter", "directions": "direction", "thing": "method", "name": "data set",
         "layers": "layer"}
EXPECTED = re.compile(r"must|expect|known:|need|cannot|holds? NaN|there is no|is empty|is the class|goes? with|give")


class Case(NamedTuple):
    """One call: of what, which argument is wrong, and the name of its value."""

    one: Callee
    argument: str
    value: str

    def __str__(self):
        return f"{self.one.name}({self.argument})"

    def matches(self, table):
        return any(re.search(pattern, str(self)) and self.value in values for pattern, values, *_ in table)


class Outcome(NamedTuple):
    """What came of a call: "named", "unnamed", "foreign", "silent" or "hung"; the message; bytes allocated."""

    case: Case
    kind: str
    message: str
    peak: int


class HungError(BaseException):
    """A call was interrupted."""


def interrupt(*_):
    raise HungError


def is_taken(case, right):
    """Whether the value is no mistake: a documented default, a truth value or a number where one is expected."""
    default = case.one.parameters[case.argument].default
    if case.value == "None" and default is None:
        return not re.search(NEEDED, str(case))
    if case.value in LARGE and isinstance(right, float):
        return not re.search(BOUNDED, str(case))
    return (case.value == "True" and isinstance(right, bool)) or case.matches(TAKEN)


def outcome(case):
    """Make one call; return its outcome and whether it should have worked."""
    values, function = right_values(case.one), case.one.bound()
    right = values[case.argument]
    taken = is_taken(case, right)
    if case.value == ITS_CLASS:
        value = type(right)
    else:
        value = VALUES[case.value] if case.value in VALUES else disguised(right, ARRAYS[case.value])
    values[case.argument] = value
    if case.value in LARGE:
        tracemalloc.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        try:
            function(**values)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        kind, message = "silent", ""
    except HungError:
        kind, message = "hung", ""
    except Exception as error:
        kind, message = judged(error, case.argument, value), f"{type(error).__name__}: {error}"
    peak = tracemalloc.get_traced_memory()[1]  # 0 if it is not traced, which takes time
    tracemalloc.stop()
    return Outcome(case, kind, message[:200], peak), taken


def judged(error, argument, value):
    """Return whether an error is of the package's own making, names the argument and says what was expected."""
    trace, message = error.__traceback__, str(error)
    while trace.tb_next is not None:
        trace = trace.tb_next
    if isinstance(error, OSError) and str(value) in message:  # the path is the name
        return "named"
    ours = trace.tb_frame.f_code.co_filename.startswith(PACKAGE)
    if not ours or type(error) not in (ValueError, TypeError, download.DatasetError, FileNotFoundError):
        return "foreign"
    names = f"{re.escape(argument)}|{NOUNS.get(argument, re.escape(argument))}"
    named = re.search(rf"(?<![A-Za-z_])({names})(?![A-Za-z])", message)
    return "named" if named and EXPECTED.search(message) else "unnamed"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Make all the calls, once, in an empty folder and without network; return (mistakes, those that are none)."""
    cases = [Case(one, argument, value) for one in callees() for argument in one.parameters
             for value in (*VALUES, *ARRAYS, ITS_CLASS)]
    folder, before = tmp_path_factory.mktemp("calls"), signal.signal(signal.SIGALRM, interrupt)
    made = []
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.chdir(folder)
        patch.setattr(download, "download", refuse_to_download)
        plots.history(history()).savefig("warm.png")  # what is imported at first use is no allocation of a call
        for case in cases:
            if not case.matches(NOT_TRIED):
                for path in folder.iterdir():
                    path.unlink()
                made.append(outcome(case))
    signal.signal(signal.SIGALRM, before)
    return [result for result, taken in made if not taken], [result for result, taken in made if taken]


def refuse_to_download(*_):
    raise AssertionError("a wrong call went to the network")


def shown(results):
    """Return outcomes as lines of text."""
    return "\n".join(f"{result.case} = {result.case.value}: {result.kind}, {result.message}" for result in results)


def is_of(result, pattern):
    return re.search(pattern, f"{result.case} = {result.case.value}") is not None


def pending(result):
    return any(is_of(result, pattern) for pattern in PENDING)


def test_the_public_face_is_found():
    names = {one.name for one in callees()}
    assert len(names) > 80
    assert {"fit", "mlp", "Network.forward", "SGD.step", "verify", "moons", "damped_solve", "History.to_csv"} <= names


def test_a_wrong_call_gets_an_error_that_names_the_argument(outcomes):
    mistakes = [result for result in outcomes[0] if not pending(result)]
    count = Counter(result.kind for result in mistakes)
    print(f"{len(mistakes)} wrong calls: {dict(count)}")
    print(shown(result for result in mistakes if result.kind != "named"))
    assert len(mistakes) >= 500
    assert count["named"] == len(mistakes)


def test_no_wrong_call_is_accepted_in_silence(outcomes):
    silent = [result for result in outcomes[0] if result.kind == "silent"]
    assert not silent, shown(silent)


def test_no_wrong_call_hangs_or_allocates(outcomes):
    costly = [result for result in outcomes[0] if result.kind == "hung" or result.peak > LARGEST_PEAK]
    assert not costly, shown(costly)


def test_what_is_said_to_be_no_mistake_works(outcomes):
    refused = [result for result in outcomes[1] if result.kind != "silent"]
    assert not refused, shown(refused)


@pytest.mark.parametrize("pattern", PENDING)
def test_what_is_pending_is_pending_still(outcomes, pattern):
    failing = [result for result in outcomes[0] if is_of(result, pattern) and result.kind != "named"]
    assert failing, f"{pattern} is mended: take it off PENDING"


def test_tensors_are_tried():
    if torch is None:
        pytest.skip("PyTorch is not installed: its tensors were not among the wrong values")
    assert "tensor that requires grad" in ARRAYS

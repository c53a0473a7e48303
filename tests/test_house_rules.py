"""The rules of the house, read from the source: who imports whom, what is loaded, documented, printed."""

import ast
import configparser
import importlib
import inspect
import io
import json
import os
import pkgutil
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

import minilift
import minilift as ml

PACKAGE = Path(minilift.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOT = PACKAGE.parent

# The ground floor first: a room may import those before it, and its own. (optim stands before methods because
# LocoProp runs local optimizers.)
ROOMS = ["support", "download", "datasets", "layers", "local", "graph", "energy", "network", "models", "optim",
         "methods", "training", "estimators", "diagram", "plots", "checks", "lab", "course", "reference", "cli",
         "__main__"]
# Within a folder likewise: a file may import those before it.
FILES = {"support": ["spellings", "commands", "tables", "processes", "arguments", "signals", "terminal", "settings",
                     "backend", "files", "parallel", "options"],
         "layers": ["base", "gram", "maps", "joins", "convolution", "activations", "pooling", "normalization",
                    "losses"],
         "local": ["problems", "minimisers", "solvers", "fits", "activation_problem"],
         "methods": ["sweep", "backprop", "proxprop", "locoprop", "semi_implicit", "kronecker", "gauss_newton",
                     "descend", "three_split", "bcd", "admm", "two_split", "predictive_coding", "target_propagation",
                     "mac", "dladmm", "matching", "fenchel", "lpom", "lifted_bregman"],
         "training": ["curves", "history", "names", "ranks", "fit"],
         "lab": ["tables", "machine", "contenders", "runs", "race", "ranks", "experiments", "figures", "bench",
                 "results", "reproduce", "compare", "train"],
         "course": ["book", "exam", "kit", "lite", "gradebook", "notebooks", "teach", "exercises", "judge"]}
CORE = ["layers", "local", "graph", "energy", "network", "optim", "methods"]
CORE_LINES = 2855  # of code; convolutions, joins, optimizers, checks of arguments and annotations included
FAMILY = ["kronecker", "gauss_newton", "fits", "activation_problem", "lifted"]  # counted by itself
FAMILY_LINES = 1500  # of code, of the methods beyond the papers' own and of their local problems
TALKATIVE = {"checks", "lab", "course", "reference", "cli"}
CLOCKS = {f"{clock}{unit}" for clock in ("time", "perf_counter", "monotonic", "process_time", "thread_time")
          for unit in ("", "_ns")}
RANDOM = {"default_rng", "Generator", "SeedSequence", "PCG64"}  # of NumPy, without a state that all share
HEAVY = {"scipy", "matplotlib", "cupy", "cupyx", "pooch", "tqdm", "torch", "sklearn", "mpi4py"}

each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
each_module = pytest.mark.parametrize("path", [path for path in SOURCES if path != PACKAGE / "__init__.py"],
                                      ids=lambda path: str(path.relative_to(PACKAGE)))


def room_of(path):
    """Return the room of a file: the module, or the subpackage that holds it."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node):
    """Return the full names that an import statement loads, `from minilift.a import x` as minilift.a.x."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        if node.module.startswith("minilift"):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        return [node.module]
    return []


def place_of(name):
    """Return (room, file or None) of a full name such as minilift.layers.maps.Linear or minilift.mlp."""
    parts = name.split(".")[1:]
    if parts[0] not in ROOMS:
        home = getattr(getattr(minilift, parts[0], None), "__module__", "")
        assert home.startswith("minilift."), f"{name} has no place in ROOMS: say where it stands"
        parts = home.split(".")[1:]
    inside = [part for part in parts[1:] if part in FILES.get(parts[0], ())]
    return parts[0], inside[0] if inside else None


def stands_after(name, room, file=None):
    """Whether a full name stands after a room, or after a file in its own room."""
    other, part = place_of(name)
    if other != room or None in (part, file):
        return ROOMS.index(other) > ROOMS.index(room)
    return FILES[room].index(part) > FILES[room].index(file)


def imports(tree):
    """Return all full names imported anywhere in a file, in functions too."""
    return [name for node in ast.walk(tree) for name in imported(node)]


def wrong_imports(room, tree, file=None):
    """Return what a room, or a file in it, imports that stands after it."""
    ours = [name for name in imports(tree) if re.match(r"minilift\.(?!_)", name)]
    return [name for name in ours if stands_after(name, room, file)]


@each_module
def test_imports_point_one_way(path):
    room, names = room_of(path), [path.stem, *path.relative_to(PACKAGE).parts[1:-1]]
    assert room in ROOMS, f"{path.name} has no place in ROOMS: say where it stands"
    file = next((name for name in names if name in FILES.get(room, ())), None)
    assert file or path.stem == "__init__" or room not in FILES, f"{path} has no place in FILES: say where it stands"
    assert not wrong_imports(room, parsed(path), file)


@pytest.mark.parametrize(("room", "file", "source"), [
    ("layers", "maps", "from minilift.network import Network"),
    ("support", "arguments", "import minilift.support.backend"),
    ("layers", "maps", "from minilift.layers import losses"),
    ("layers", "losses", "def f():\n    from minilift import energy"),
    ("energy", None, "from minilift.methods.backward.sweep import sweep"),
    ("training", "fit", "from minilift.cli import main"), ("local", "solvers", "from minilift import ProxProp")])
def test_an_import_that_points_the_other_way_is_found(room, file, source):
    assert wrong_imports(room, ast.parse(source), file)


@each_source
def test_cupy_is_imported_in_one_file(path):
    roots = {name.split(".")[0] for name in imports(parsed(path))}
    assert path == PACKAGE / "support" / "backend.py" or not roots & {"cupy", "cupyx"}


@each_source
def test_mpi4py_is_imported_in_one_file(path):
    roots = {name.split(".")[0] for name in imports(parsed(path))}
    assert path == PACKAGE / "support" / "parallel.py" or "mpi4py" not in roots


@each_source
def test_heavy_libraries_are_imported_where_they_are_used(path):
    top = {name.split(".")[0] for node in parsed(path).body for name in imported(node)}
    allowed = {"sklearn"} if path == PACKAGE / "estimators.py" else set()  # which nothing imports but who asks for it
    assert not top & HEAVY - allowed


@each_source
def test_nothing_is_pickled_and_no_random_state_is_global(path):
    tree = parsed(path)
    assert not {"pickle", "dill", "joblib.numpy_pickle", "random"} & set(imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            assert node.attr in RANDOM, ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and node.module == "numpy.random":
            assert {alias.name for alias in node.names} <= RANDOM, ast.unparse(node)


@each_source
def test_nothing_is_printed_inside_algorithms(path):
    calls = [node for node in ast.walk(parsed(path))
             if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"]
    assert room_of(path) in TALKATIVE or not calls


def docstrings(tree):
    """Return the string nodes of all docstrings of a file."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.body[0].value for node in ast.walk(tree)
            if isinstance(node, holders) and ast.get_docstring(node) is not None]


def docstrings_that_should_be_raw(source):
    """Return the lines on which a docstring with a backslash begins without r."""
    lines = {node.lineno for node in docstrings(ast.parse(source))}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.start[0] for token in tokens if token.type == tokenize.STRING and token.start[0] in lines
            and "\\" in token.string and not token.string.lower().startswith("r")]


@each_source
def test_docstrings_with_backslashes_are_raw(path):
    assert not docstrings_that_should_be_raw(path.read_text(encoding="utf-8"))


def test_a_docstring_that_should_be_raw_is_found():
    assert docstrings_that_should_be_raw('def f():\n    """Return \\alpha."""\n') == [2]
    assert not docstrings_that_should_be_raw('def f():\n    r"""Return \\alpha."""\n')


def public_objects():
    """Yield (name, object) of all public modules, classes, functions and methods of the package."""
    for info in pkgutil.walk_packages([str(PACKAGE)], "minilift."):
        module = importlib.import_module(info.name)
        yield info.name, module
        for name, thing in vars(module).items():
            own = getattr(thing, "__module__", None) == info.name
            if name.startswith("_") or not own or not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            yield f"{info.name}.{name}", thing
            if inspect.isclass(thing):
                for attribute, value in vars(thing).items():
                    callable_or_property = inspect.isfunction(value) or isinstance(value, property)
                    if not attribute.startswith("_") and callable_or_property:
                        yield f"{info.name}.{name}.{attribute}", getattr(thing, attribute)


def test_public_things_are_documented():
    objects = list(public_objects())
    assert len(objects) > 150
    assert not [name for name, thing in objects if not (inspect.getdoc(thing) or "").strip()]


def test_what_the_package_exports_is_documented():
    exported = {name: thing for name, thing in vars(minilift).items() if not name.startswith("_")}
    assert {"Network", "mlp", "BackProp", "ProxProp", "Linear", "ReLU", "load"} <= set(exported)
    for name, thing in exported.items():
        assert inspect.getdoc(thing), name


def code_lines(path):
    """Return how many lines of a file hold code: neither blank, nor comment, nor docstring."""
    tree = parsed(path)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    docstrings = {line for body in bodies if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
                  for line in range(body[0].lineno, body[0].end_lineno + 1)}
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    return sum(number not in docstrings and line.strip()[:1] not in ("", "#") for number, line in lines)


def test_the_core_is_small():
    files = [path for path in SOURCES if room_of(path) in CORE]
    family = [path for path in files if path.stem in FAMILY or path.parent.name in FAMILY]
    assert {path.stem for path in files} >= {"maps", "network", "sweep", "proxprop", *FAMILY[:4]}
    for name, some, most in (("core", set(files) - set(family), CORE_LINES), ("family", family, FAMILY_LINES)):
        lines = sum(map(code_lines, some))
        assert lines <= most, f"the {name} has {lines} lines of code"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py" and path.parent != PACKAGE],
                         ids=lambda path: path.parent.name)
def test_each_folder_names_all_its_files(path):
    says = ast.get_docstring(parsed(path))
    assert path.parent.name == "exercises" or not [other.stem for other in path.parent.glob("[a-z]*.py")
                                                   if f"`{other.stem}`" not in says]


def reads_clock(tree):
    """Whether a file reads a clock of the module `time`, which it may call something else."""
    nodes, modules = list(ast.walk(tree)), {"time"}
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.asname for alias in node.names if alias.name == "time"}
        if isinstance(node, ast.ImportFrom) and node.module == "time" and CLOCKS & {alias.name for alias in node.names}:
            return True
    return any(isinstance(node, ast.Attribute) and node.attr in CLOCKS and ast.unparse(node.value) in modules
               for node in nodes)


def test_no_test_asserts_on_time():
    """On a busy machine everything takes longer. `minilift bench` measures time, and names the machine."""
    found = {path.name for path in (ROOT / "tests").rglob("test_*.py") if reads_clock(parsed(path))}
    assert found == {"test_signals.py", "test_files.py"}  # one waits, the other makes a file of yesterday


@pytest.mark.parametrize("source", ["import time\nstart = time.perf_counter()", "import time as t\nstart = t.time()",
                                    "from time import perf_counter as now"])
def test_a_clock_that_is_read_is_found(source):
    assert reads_clock(ast.parse(source))


def test_every_folder_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    assert set(config["options"]["packages"].split()) == folders


def test_importing_the_package_loads_little():
    """Nothing heavy, and few modules beyond NumPy's; `minilift bench import` measures the time."""
    code = ("import json, sys; import numpy; before = set(sys.modules); import minilift; "
            "print(json.dumps(sorted(set(sys.modules) - before)))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(result.stdout)
    assert "minilift" in loaded
    assert not HEAVY & {name.split(".")[0] for name in loaded}
    ours = [name for name in loaded if name.split(".")[0] == "minilift"]
    assert len(ours) < 70
    assert len(loaded) - len(ours) < 100, loaded


def run_tool(*command):
    """Run a tool of the development installation over the project, or skip, visibly, where it is missing."""
    pytest.importorskip(command[0])
    command = [sys.executable, "-m", *command]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_ruff_finds_nothing():
    result = run_tool("ruff", "check", "--no-cache", "--output-format", "concise", "minilift", "tests")
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_mypy_finds_nothing():
    result = run_tool("mypy")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("method", "most"), [(ml.ProxProp(), 60), (ml.LocoProp("M", gamma=1.0), 200),
                                          (ml.SemiImplicit(), 900)], ids=["ProxProp", "LocoProp-M", "SIBP"])
def test_a_step_changes_rooms_seldom(method, most, rng):
    """A reader who follows one batch through three maps goes from file to file no more often than this."""
    net, X, y = ml.mlp([20, 16, 12, 10]), rng.random((32, 20), dtype=np.float32), rng.integers(0, 10, 32)
    changes = []

    def note(frame, event, _):
        files = [frame.f_code.co_filename, frame.f_back.f_code.co_filename] if event == "call" else []
        if len(set(files)) == 2 and all(file.startswith(f"{PACKAGE}{os.sep}") for file in files):
            changes.append(files)

    method.direction(net, X, y)
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        method.direction(net, X, y)
    finally:
        sys.setprofile(before)
    assert 30 <= len(changes) <= most

"""Mutations of the lines that carry an equation's tag: each must make a test fail that holds this equation.

Comments that name an equation prove nothing. This script breaks the lines that carry them, one small mistake at a
time (a sign, a factor 2, a term or factor left out, a transpose, a reciprocal, the wrong branch, the old iterate for
the half step), in a copy of the project, and runs there the tests that `minilift equations` names.

    python tests/mutations.py              all mutations; exit code 1 if one survives
    python tests/mutations.py --list       what would be broken, and how
    python tests/mutations.py --sample 20  some of them, drawn by --seed
"""

import argparse
import ast
import copy
import functools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from minilift.checks import equations

ROOT = Path(equations.__file__).parent.parent.parent
# these return no array but a Solution, a problem or a gap: an argument is changed, this one
SIGNALS = {"damped_solve": 1, "conjugate_gradients": 1, "LocalProblem": 1, "SquaredGap": 1, "MatchingLoss": 2,
           "SquaredFit": 2, "exact": 0}
DAMPINGS = {"damped_solve": 2, "conjugate_gradients": 2, "local": 2, "LocalProblem": 3}
# that a test fails is enough to know; looking for its smallest example takes minutes
NO_SHRINKING = """
from hypothesis import Phase
settings.register_profile("mutations", parent=settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutations")
"""
OLD_ITERATES = {"at_half": "a", "half": "z"}  # what these lists are where the half step is forgotten


class Mutation(NamedTuple):
    """One mistake in one statement: where it is, the equations that it should break, and the source with it."""

    path: str
    line: int
    equations: tuple
    mistake: str
    before: str
    after: str
    source: str

    def __str__(self):
        return f"{self.path}:{self.line} {self.mistake}\n    - {self.before}\n    + {self.after}"


@functools.cache
def index():
    """Return the index of equations, read once: lines of code, and tests."""
    return equations.index()


def tagged_lines():
    """Return {(path, line): equations} of all tagged lines of the package."""
    lines = {}
    for equation, places in index()[0].items():
        for place in places:
            lines.setdefault((place.path, place.line), []).append(equation)
    return lines


def all_mutations():
    """Return the mutations of every tagged line, in the order of files and lines."""
    found = []
    for (path, line), tags in sorted(tagged_lines().items()):
        source = (ROOT / path).read_text(encoding="utf-8")
        for mistake, before, after, mutated in mutations_of(source, line):
            found.append(Mutation(path, line, tuple(tags), mistake, before, after, mutated))
    return found


def mutations_of(source, line):
    """Yield (mistake, statement, changed statement, changed source) for the statement on one line.

    Raises
    ------
    ValueError
        If the line is not in an assignment or a return, of which alone a value can be changed.
    """
    statement = statement_at(ast.parse(source), line)
    seen = {ast.unparse(statement)}
    for mistake, changed in changed_statements(statement):
        text = ast.unparse(changed)
        if text not in seen:
            seen.add(text)
            yield mistake, ast.unparse(statement), text, spliced(source, statement, text)


def statement_at(tree, line):
    """Return the innermost assignment or return that a line lies in."""
    around = [node for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return))
              and node.lineno <= line <= node.end_lineno]
    if not around:
        raise ValueError(f"line {line} is in no assignment or return")
    return max(around, key=lambda node: node.lineno)


def spliced(source, statement, text):
    """Return the source with the lines of a statement replaced."""
    lines = source.splitlines(keepends=True)
    indent = " " * statement.col_offset
    return "".join([*lines[: statement.lineno - 1], f"{indent}{text}\n", *lines[statement.end_lineno :]])


def changed_statements(statement):
    """Yield (mistake, changed copy) for the whole value of a statement, then for each expression in it."""
    statement = opened(statement)
    value = signal_of(statement.value)
    yield "the sign", with_replaced(statement, value, ast.UnaryOp(ast.USub(), value))
    yield "a factor 2", with_replaced(statement, value, ast.BinOp(ast.Constant(2), ast.Mult(), value))
    indices = {id(node) for subscript in ast.walk(statement) if isinstance(subscript, ast.Subscript)
               for node in ast.walk(subscript.slice)}
    for node in ast.walk(statement.value):
        for mistake, new in changes(node) if id(node) not in indices and not is_index(node) else ():
            yield mistake, with_replaced(statement, node, new)


def opened(statement):
    """Return a statement with `exact(problem)` as a call that shows the parts of the problem."""
    parts = "exact(type(problem)(problem.gram, problem.z, problem.gap, problem.damping))"
    if ast.unparse(statement.value) != "exact(problem)":
        return statement
    return ast.parse(ast.unparse(statement).replace("exact(problem)", parts)).body[0]


def called(node):
    """Return the name of the function or class that a node calls, or None; that of a problem's type is LocalProblem."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "type(problem)":
        return "LocalProblem"
    return getattr(getattr(node, "func", None), "id", None)


def is_index(node):
    """Whether an expression is l ± 1: a layer's number, not a term of an equation."""
    return (isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant)
            and isinstance(node.op, (ast.Add, ast.Sub)))


def signal_of(value):
    """Return the expression whose sign and size are those of a value: an array, in a call that returns none."""
    if isinstance(value, ast.ListComp):
        return signal_of(value.elt)
    if isinstance(value, ast.Attribute) and called(value.value) == "exact":
        return value
    call = value.value if isinstance(value, ast.Attribute) else value
    return signal_of(call.args[SIGNALS[called(call)]]) if called(call) in SIGNALS else value


def changes(node):
    """Yield (mistake, new expression) for one expression."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield "the sign of a term", ast.BinOp(node.left, other, node.right)
        yield "a term left out", node.left
        yield ("a term left out", node.right if isinstance(node.op, ast.Add)
               else ast.UnaryOp(ast.USub(), node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield "a factor left out", node.left
        yield "a factor left out", node.right
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        yield "a reciprocal", ast.BinOp(node.right, ast.Div(), node.left)
        yield ("a factor 2 in a denominator", ast.BinOp(node.left, ast.Div(),
                                                        ast.BinOp(ast.Constant(2), ast.Mult(), node.right)))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield "a matrix left out", node.right
        yield ("a matrix transposed", ast.BinOp(ast.Attribute(node.left, "T", ast.Load()), ast.MatMult(),
                                                node.right))
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "a transpose left out", node.value
    if isinstance(node, ast.IfExp):
        yield "the branches exchanged", ast.IfExp(node.test, node.orelse, node.body)
        yield "one branch always", node.body
        yield "the other branch always", node.orelse
    if isinstance(node, ast.Name) and node.id in OLD_ITERATES:
        yield "the old iterate for the half step", ast.Name(OLD_ITERATES[node.id], ast.Load())
    if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "adjoint":
        yield "the derivative left out", node.args[-1]
    if called(node) in DAMPINGS:
        k = DAMPINGS[called(node)]
        damping = ast.BinOp(ast.Constant(2), ast.Mult(), node.args[k])
        yield ("the damping doubled", ast.Call(node.func, [*node.args[:k], damping, *node.args[k + 1:]],
                                               node.keywords))


def with_replaced(statement, old, new):
    """Return a copy of a statement in which one node is replaced."""
    place = [node for node in ast.walk(statement)].index(old)
    result = copy.deepcopy(statement)
    target, new = [node for node in ast.walk(result)][place], copy.deepcopy(new)
    for parent in ast.walk(result):
        for field, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, field, new)
            elif isinstance(value, list) and any(item is target for item in value):
                setattr(parent, field, [new if item is target else item for item in value])
    return ast.fix_missing_locations(result)


# ---- running the tests on a broken copy


def copy_of_project(folder):
    """Copy what the tests need into a folder, and return it."""
    for name in ("minilift", "tests", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", folder)
    with open(folder / "tests" / "conftest.py", "a", encoding="utf-8") as conftest:
        conftest.write(NO_SHRINKING)
    return folder


def holding_tests(tags):
    """Return the pytest names of the tests that hold some equations."""
    tests = index()[1]
    return sorted({f"{place.path}::{place.name}" for tag in tags for place in tests[tag]})


def run_tests(folder, names):
    """Run tests in a copy of the project; return whether they all pass, and the output.

    Raises
    ------
    RuntimeError
        If no test was run: then nothing is proven.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "CI": "true", "OPENBLAS_NUM_THREADS": "1"}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):  # compiling takes longer than most of the tests
        environment.pop(name, None)
    options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *names], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=300)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with code {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0, done.stdout


def survives(folder, mutation):
    """Whether all tests that hold the mutation's equations pass in a copy of the project with the mistake in it.

    A mutation that dies by a TypeError counts as surviving: any test finds it, so it proves nothing.
    """
    target = folder / mutation.path
    right = target.read_text(encoding="utf-8")
    written(target, mutation.source)
    try:
        passed, output = run_tests(folder, holding_tests(mutation.equations))
        return passed or "TypeError" in output
    finally:
        written(target, right)


def written(path, source):
    """Write a source, and remove what Python has compiled of the one before: by time and size it cannot tell them."""
    path.write_text(source, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def main(argv=None):
    """Break each tagged line in each way, print what survives, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print the mutations, run nothing")
    parser.add_argument("--sample", type=int, help="run this many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    arguments = parser.parse_args(argv)
    mutations = all_mutations()
    if arguments.list:
        print("\n".join(map(str, mutations)))
        return 0
    if arguments.sample is not None:
        mutations = random.Random(arguments.seed).sample(mutations, min(arguments.sample, len(mutations)))
    with tempfile.TemporaryDirectory() as folder:
        copied = copy_of_project(Path(folder))
        passed, output = run_tests(copied, holding_tests(equations.EQUATIONS))
        if not passed:
            print(f"the tests fail before anything is broken:\n{output}")
            return 1
        survivors = []
        for count, mutation in enumerate(mutations, start=1):
            if survives(copied, mutation):
                survivors.append(mutation)
                print(f"survives: {mutation}", flush=True)
            print(f"{count} of {len(mutations)}", end="\r", file=sys.stderr, flush=True)
    print(
        f"{len(mutations) - len(survivors)} of {len(mutations)} mutations fail a test that holds their equation"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

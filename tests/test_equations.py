"""The index of equations: every equation has a line in the code and a test, and breaking the line fails the test."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minilift import equations
from minilift.equations import EQUATIONS, collect, index, parse_tags

ROOT = Path(equations.__file__).parent.parent
CODE, TESTS = index()
SOLVERS = {"damped_solve", "conjugate_gradients"}  # they return a Solution, whose right-hand side can be doubled


@pytest.mark.parametrize("equation", EQUATIONS)
def test_every_equation_has_a_line_and_a_test(equation):
    assert CODE[equation], f"no line of the package ends in '# {equation}'"
    assert TESTS[equation], f"no test says '# holds {equation}'"
    for place in TESTS[equation]:
        assert place.name.startswith("test_"), f"{place} is no test"


def tagged_lines():
    """Return {(path, line): equations} of all tagged lines of the package."""
    lines = {}
    for equation, places in CODE.items():
        for place in places:
            lines.setdefault((place.path, place.line), []).append(equation)
    return lines


def doubled(source, line):
    """Return a source with twice the value of the statement on a line: the mistake of a wrong factor."""
    tree = ast.parse(source)
    around = [node for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.Return))
              and node.lineno <= line <= node.end_lineno]
    assert len(around) == 1, f"line {line} is no assignment or return"
    value = around[0].value
    call = value.value if isinstance(value, ast.Attribute) else value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in SOLVERS:
        call.args[1] = ast.BinOp(ast.Constant(2), ast.Mult(), call.args[1])
    else:
        around[0].value = ast.BinOp(ast.Constant(2), ast.Mult(), value)
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the project that can be broken."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("minilift", "tests", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", folder)
    return folder


def run_tests(folder, held):
    """Run the tests that hold some equations in a copy of the project; return whether they pass, and the output."""
    names = sorted({f"{place.path}::{place.name}" for equation in held for place in TESTS[equation]})
    environment = {**os.environ, "PYTHONPATH": str(folder), "CI": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line", *names],
                          cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: some test failed; others: nothing was run
    return done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_tests_pass_on_an_unbroken_copy(copy):
    where = subprocess.run([sys.executable, "-c", "import minilift; print(minilift.__file__)"], cwd=copy, text=True,
                           env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, check=True).stdout
    assert Path(where.strip()).is_relative_to(copy)
    passed, output = run_tests(copy, EQUATIONS)
    assert passed, output


@pytest.mark.slow
@pytest.mark.parametrize(("path", "line"), tagged_lines())
def test_a_wrong_factor_in_a_tagged_line_fails_its_tests(copy, path, line):
    source = (copy / path).read_text(encoding="utf-8")
    (copy / path).write_text(doubled(source, line), encoding="utf-8")
    try:
        passed, output = run_tests(copy, tagged_lines()[path, line])
    finally:
        (copy / path).write_text(source, encoding="utf-8")
    assert not passed, f"{path}:{line} can be doubled and no test that holds it fails:\n{output}"


# ---- the reader of tags


@pytest.mark.parametrize(("text", "expected"), [
    ("ProxProp (11), (13)", ["ProxProp (11)", "ProxProp (13)"]),
    ("LocoProp-M, LocoProp-S", ["LocoProp-M", "LocoProp-S"]),
    ("ProxProp (8), (10), SIBP signal", ["ProxProp (8)", "ProxProp (10)", "SIBP signal"]),
    ("BackProp", ["BackProp"])])
def test_tags(text, expected):
    assert parse_tags(text, "here") == expected


@pytest.mark.parametrize(("text", "message"), [
    ("ProxProp (99)", r"file\.py:3: equation: unknown name 'ProxProp \(99\)'; did you mean 'ProxProp \(9\)'"),
    ("ProxProp (11) with the bias inside", "file.py:3: the comment .* looks like the tag of an equation but is none"),
    ("LocoProp-S (3)", "looks like the tag"),
    ("SIBP", "looks like the tag")])
def test_a_wrong_tag_is_an_error(tmp_path, text, message):
    (tmp_path / "file.py").write_text(f"def f(x):\n    return (\n        x)  # {text}\n")
    with pytest.raises(ValueError, match=message):
        collect(tmp_path, r"(?P<tags>.*)")


def test_only_comments_count_and_the_innermost_function_is_named(tmp_path):
    (tmp_path / "file.py").write_text('''\
class Method:
    def solve(self):
        """A docstring that says # ProxProp (11)."""
        text = "# ProxProp (12)"  # not a tag: ProxProp (13)

        def inner():
            return text  # ProxProp (14)
        return inner


value = 1  # BackProp
# LocoProp's notebook and ProxProp's paper are prose
''')
    found = {equation: places for equation, places in collect(tmp_path, r"(?P<tags>.*)").items() if places}
    assert {equation: [(place.line, place.name) for place in places] for equation, places in found.items()} == {
        "ProxProp (14)": [(7, "Method.solve.inner")], "BackProp": [(11, "")]}


def test_notebooks_inside_an_installed_package_are_left_out(tmp_path):
    (tmp_path / "tutorials" / "src").mkdir(parents=True)
    (tmp_path / "tutorials" / "src" / "08_local_losses.py").write_text("# LocoProp-S is prose here\nx = 1  # SIBP W\n")
    assert not any(collect(tmp_path, r"(?P<tags>.*)").values())


# ---- what is printed and written


def test_the_listing_names_lines_and_tests():
    text = equations.listing(CODE, TESTS)
    for place in (CODE["ProxProp (13)"][0], TESTS["ProxProp (13)"][0]):
        assert str(place) in text


def test_without_tests_the_listing_says_so():
    assert "tests are not installed" in equations.listing(CODE, {equation: [] for equation in EQUATIONS})


def test_a_table_is_renewed_between_its_marks_and_nowhere_else():
    text = "before\n<!-- equations -->\nold\n<!-- /equations -->\nafter\n"
    assert equations.with_table(text, "| new |") == "before\n<!-- equations -->\n| new |\n<!-- /equations -->\nafter\n"
    for bad in ("no marks", text + text):
        with pytest.raises(ValueError, match="expected one '<!-- equations -->'"):
            equations.with_table(bad, "| new |")

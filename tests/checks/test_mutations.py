"""The derivation is the code: breaking a tagged line fails the test that holds its equation. See mutations.py."""

import ast
import random

import pytest
from mutations import (
    ROOT,
    all_mutations,
    changed_statements,
    copy_of_project,
    holding_tests,
    mutations_of,
    run_tests,
    statement_at,
    survives,
    tagged_lines,
)

MUTATIONS = all_mutations()
LINES = sorted(tagged_lines())


def by_line(path, line):
    return [mutation for mutation in MUTATIONS if (mutation.path, mutation.line) == (path, line)]


def sample():
    """Return one mutation of each tagged line, the same ones each time."""
    rng = random.Random(0)
    return [rng.choice(by_line(*place)) for place in LINES]


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    return copy_of_project(tmp_path_factory.mktemp("copy"))


# ---- the engine

@pytest.mark.parametrize(("statement", "expected"), [
    ("return tau * g", {"return -(tau * g)", "return 2 * (tau * g)", "return tau", "return g"}),
    ("return a - b", {"return -(a - b)", "return 2 * (a - b)", "return a + b", "return a", "return -b"}),
    ("x = g @ w.T", {"x = -(g @ w.T)", "x = 2 * (g @ w.T)", "x = w.T", "x = g.T @ w.T", "x = g @ w"}),
    ("return damped_solve(gram, g, 1 / tau)", {
        "return damped_solve(gram, -g, 1 / tau)", "return damped_solve(gram, 2 * g, 1 / tau)",
        "return damped_solve(gram, g, tau / 1)", "return damped_solve(gram, g, 1 / (2 * tau))",
        "return damped_solve(gram, g, 2 * (1 / tau))"}),
    ("return SquaredGap(z, signal)", {"return SquaredGap(z, -signal)", "return SquaredGap(z, 2 * signal)"}),
    ("return LocalProblem(gram, gap.z, gap, damping)", {
        "return LocalProblem(gram, -gap.z, gap, damping)", "return LocalProblem(gram, 2 * gap.z, gap, damping)",
        "return LocalProblem(gram, gap.z, gap, 2 * damping)"}),
    ("return exact(problem)", {
        "return exact(type(problem)(problem.gram, -problem.z, problem.gap, problem.damping))",
        "return exact(type(problem)(problem.gram, 2 * problem.z, problem.gap, problem.damping))",
        "return exact(type(problem)(problem.gram, problem.z, problem.gap, 2 * problem.damping))"}),
    ("return exact(local(block, gap, t)).value", {
        "return -exact(local(block, gap, t)).value", "return 2 * exact(local(block, gap, t)).value",
        "return exact(local(block, gap, 2 * t)).value"}),
    ("x = new if late else old", {"x = -(new if late else old)", "x = 2 * (new if late else old)",
                                  "x = old if late else new", "x = new", "x = old"}),
    ("x = s.adjoint(z, g)", {"x = -s.adjoint(z, g)", "x = 2 * s.adjoint(z, g)", "x = g"}),
    ("x = f(half)", {"x = -f(half)", "x = 2 * f(half)", "x = f(z)"}),
    ("x[l - 1] = a[l - 1]", {"x[l - 1] = -a[l - 1]", "x[l - 1] = 2 * a[l - 1]"})])
def test_mistakes_made_in_a_statement(statement, expected):
    tree = ast.parse(f"def f():\n    {statement}")
    found = {ast.unparse(changed) for _, changed in changed_statements(statement_at(tree, 2))}
    assert found == expected


def test_the_innermost_statement_is_changed_and_nothing_else():
    source = "def f(a):\n    b = (a\n         + 1)  # tag\n    # kept\n    return b\n"
    mutated = {text for *_, text in mutations_of(source, 3)}
    assert "def f(a):\n    b = -(a + 1)\n    # kept\n    return b\n" in mutated


def test_a_line_that_is_no_assignment_or_return_is_refused():
    with pytest.raises(ValueError, match="line 1 is in no assignment"):
        list(mutations_of("print(1)\n", 1))


@pytest.mark.parametrize(("path", "line"), LINES)
def test_each_tagged_line_can_be_broken_and_has_tests(path, line):
    mutations = by_line(path, line)
    assert {"the sign", "a factor 2"} <= {mutation.mistake for mutation in mutations}
    assert holding_tests(mutations[0].equations)
    original = (ROOT / path).read_text(encoding="utf-8")
    for mutation in mutations:
        ast.parse(mutation.source)
        assert mutation.source != original


# ---- the proof

def test_a_harmless_change_survives_and_a_mistake_does_not(copied):
    """The control: it is the mistake that fails the test, not the way in which it is planted."""
    place = next(place for place in LINES if place[0] == "minilift/methods/backward/backprop.py")
    sign = next(mutation for mutation in by_line(*place) if mutation.mistake == "the sign")
    harmless = sign._replace(source=sign.source.replace(sign.after, sign.after.replace("return -", "return 1 * ")))
    assert harmless.source != sign.source
    assert survives(copied, harmless)
    assert not survives(copied, sign)


def test_running_no_test_is_an_error(copied):
    with pytest.raises(RuntimeError, match="pytest ended with code"):
        run_tests(copied, ["tests/methods/test_propositions.py::test_that_does_not_exist"])


@pytest.mark.slow
@pytest.mark.parametrize("mutation", sample(), ids=lambda m: f"{m.path}:{m.line} {m.mistake}")
def test_a_mistake_in_a_tagged_line_fails_its_tests(copied, mutation):
    assert not survives(copied, mutation), f"survives: {mutation}"

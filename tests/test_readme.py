"""README.md is true: its code runs, its commands exist, its table is current, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import minilift as ml
from minilift import cli
from minilift.checks import equations

ROOT = Path(ml.__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Return the code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def block_with(text):
    """Return the one Python block that contains a text."""
    found = [block for block in blocks("python") if text in block]
    assert len(found) == 1
    return found[0]


def run_block(text, folder, monkeypatch):
    """Run the Python block that contains a text in a folder; return its names."""
    monkeypatch.chdir(folder)
    names = {"__name__": "readme"}
    exec(compile(block_with(text), "README.md", "exec"), names)
    return names


def test_the_ten_lines(tmp_path, monkeypatch, capsys):
    assert len([line for line in block_with("history.plot").splitlines() if line.strip()]) <= 10
    names = run_block("history.plot", tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert f"{65 * 128 + 129 * 128 + 129 * 10:,} parameters" in printed  # with the biases
    assert names["history"]["train_loss"][-1] < 0.1
    assert float(re.search(r"test accuracy (0\.\d+)", printed)[1]) > 0.9
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_a_method_of_ones_own(tmp_path, monkeypatch):
    """It is one step of conjugate gradients for large τ_θ, as its words say; under 15 lines."""
    assert len(block_with("def line_search").splitlines()) < 15
    line_search = run_block("def line_search", tmp_path, monkeypatch)["line_search"]
    net, data = ml.mlp([64, 16, 8, 10], activation="tanh", dtype=np.float64), ml.datasets.digits()
    X, y = data.X_train[:30], data.y_train[:30]
    _, own = ml.methods.as_method(line_search).direction(net, X, y)
    _, cg1 = ml.ProxProp(tau_theta=1e12, solver="cg1", last="implicit").direction(net, X, y)
    for d, e in zip(own, cg1, strict=True):
        assert np.linalg.norm(d - e) <= 1e-8 * np.linalg.norm(e)


def test_a_layer_of_ones_own(tmp_path, monkeypatch):
    names = run_block("class Softsign", tmp_path, monkeypatch)
    assert ml.verify(names["Softsign"]()).passed
    net, data = names["net"], ml.datasets.digits()
    method = ml.LocoProp("M", gamma=0.1, steps="exact", eta=1.0)
    loss, directions = method.direction(net, data.X_train[:50], data.y_train[:50])
    ml.SGD(lr=1.0).step(net.parameters, directions)
    assert net.loss(data.X_train[:50], data.y_train[:50]) < loss


def test_a_graph(tmp_path, monkeypatch):
    net = run_block("ml.Add", tmp_path, monkeypatch)["net"]
    assert len(net.parameters) == 5
    assert net.accuracy(ml.datasets.digits().X_test, ml.datasets.digits().y_test) > 0.85


def test_every_python_block_is_tried():
    assert len(blocks("python")) == 4


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("minilift ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_as_the_parser_has_them(line):
    name, *options = shlex.split(line)[1:]
    command, parser = cli.COMMANDS[name], cli.Parser()
    getattr(cli.module_of(command), command.add_arguments)(parser)
    parser.parse_args(options)  # exits on an unknown option


def test_every_command_is_in_the_readme():
    assert all(re.search(rf"`{name}`|minilift {name}\b", README) for name in cli.COMMANDS)


def test_continuous_integration_runs_the_test_command_then_the_rest():
    installing = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("python3 -m venv")]
    assert len(installing) == 2
    compare, test = installing
    assert compare.endswith("minilift compare")
    assert test.endswith("python -m pytest")
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines.count(test) == 1
    assert [line for line in lines[lines.index(test) + 1:] if line.endswith("python -m pytest -m slow")]
    assert "set -euo pipefail" in lines, "what fails ends the run"


def test_the_quick_tier_is_the_default_and_leaves_out_the_slow_tests_alone(pytestconfig):
    """A run says how many it left out: see conftest.py."""
    words = pytestconfig.getini("addopts")
    assert words[words.index("-m") + 1] == "not slow"
    assert "-k" not in words
    assert not [word for word in words if word.startswith(("--ignore", "--deselect"))]


def test_the_table_of_equations_is_current():
    table = equations.with_table(README, equations.markdown(*equations.index()))
    assert table == README, "renew it with: minilift equations --write README.md"


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 20
    assert not [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()]


def test_the_pictures_are_small():
    images = re.findall(r"!\[.+\]\((.+)\)", README)
    assert "tutorials/images/compare.png" in images
    assert all((ROOT / image).stat().st_size < 200_000 for image in images)

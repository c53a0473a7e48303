"""README.md and the pages it leads to are true: their code runs, their commands exist, their links lead somewhere."""

import json
import re
import shlex
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minilift as ml
from minilift import cli
from minilift.checks import equations
from minilift.training.names import METHODS

ROOT = Path(ml.__file__).parent.parent
PAGES = {path: (ROOT / path).read_text(encoding="utf-8")
         for path in ("README.md", "tutorials/RECIPES.md", "tutorials/EQUATIONS.md", "tutorials/VERIFY.md",
                      "tutorials/RANKS.md", "tutorials/FAMILY.md", "data/results/README.md", "CHANGELOG.md")}
README = PAGES["README.md"]


def blocks(language, page=README):
    """Return the code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def block_with(text):
    """Return the one Python block that contains a text."""
    found = [block for page in PAGES.values() for block in blocks("python", page) if text in block]
    assert len(found) == 1
    return found[0]


def test_the_readme_is_read_in_one_sitting():
    assert len(README.splitlines()) <= 180


def test_recipes_are_short():
    sections = PAGES["tutorials/RECIPES.md"].split("\n## ")[1:]
    assert max(len(section.splitlines()) for section in sections) <= 45
    assert "$$" not in PAGES["tutorials/RECIPES.md"], "mathematics has pages of its own, such as RANKS.md"


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


def test_a_transfer_with_a_trained_parameter(tmp_path, monkeypatch, capsys):
    names = run_block("class PReLU", tmp_path, monkeypatch)
    ml.verify(names["PReLU"]()).raise_for_failures()
    assert names["net"].norms[0].scale_shift[0, 0] != np.float32(0.1)
    assert "PReLU: every method" in str(names["net"])


def test_a_graph(tmp_path, monkeypatch):
    net = run_block("ml.Add", tmp_path, monkeypatch)["net"]
    assert len(net.parameters) == 5
    assert net.accuracy(ml.datasets.digits().X_test, ml.datasets.digits().y_test) > 0.85


def test_all_that_are_said_to_take_a_method_of_ones_own_take_it(tmp_path, monkeypatch):
    takers = re.search(r"^(.*) take it as they take ours", README, re.M)[1]
    assert re.findall(r"`(\w+)`", takers) == ["verify", "compare", "train", "fit"]
    line_search = run_block("def line_search", tmp_path, monkeypatch)["line_search"]
    (tmp_path / "mine.py").write_text(block_with("def line_search"), encoding="utf-8")
    short = ["--layers", "64,8,10", "--samples", "50", "--epochs", "1", "--quiet"]
    for words in (["verify", "mine.py:line_search", "--like", "proxprop:tau_theta=1e12,solver=cg1,last=implicit"],
                  ["compare", "--methods", "mine.py:line_search", "--steps", "0.1", "--repeats", "1", *short],
                  ["train", "--method", "mine.py:line_search", "--step", "0.1", *short]):
        assert cli.main(words) == 0
    net = ml.mlp([64, 8, 10])
    assert ml.fit(net, ml.datasets.digits(), line_search, "sgd:lr=0.1", epochs=1, progress=False).diverged is None


def test_a_table_of_ones_own(tmp_path, monkeypatch, capsys):
    """As the recipe says, the file is compared and trained on; and the network takes the table as it stands."""
    names = run_block("load_diabetes", tmp_path, monkeypatch)
    recipe = PAGES["tutorials/RECIPES.md"].partition("## A table of one's own")[2]
    comparison, training = re.findall(r"^    minilift (.*)$", recipe, re.M)[:2]
    assert cli.main(shlex.split(training)) == 0
    told = float(re.search(r"test loss ([\d.]+)", capsys.readouterr().out)[1])
    assert told < 0.35, "of the mean it is about 0.5"
    predicted = ml.load("net.npz").predict(names["X_test"])[:, 0]
    error = ((predicted - names["y_test"]) ** 2).mean() / 2 / names["y_train"].var()
    assert error == pytest.approx(told, rel=0.01)
    assert cli.main([*shlex.split(comparison), "--epochs", "4", "--repeats", "1", "--methods", "backprop", "cg3"]) == 0
    assert "diabetes (354 training samples, standardized), network 10-20-1 (relu)" in capsys.readouterr().out


def test_a_table_of_ones_own_in_python(tmp_path, monkeypatch):
    names = run_block("load_diabetes", tmp_path, monkeypatch)
    exec(compile(block_with('ml.datasets.Dataset("diabetes"'), "RECIPES.md", "exec"), names)
    error = ((names["predictions"][:, 0] - names["y_test"]) ** 2).mean() / 2 / names["y_train"].var()
    assert error == pytest.approx(names["test_loss"], rel=1e-3)
    assert error < 0.35, "of the mean it is about 0.5"


def test_a_search_in_scikit_learn(tmp_path, monkeypatch):
    assert run_block("GridSearchCV", tmp_path, monkeypatch)["search"].best_score_ > 0.8


def test_a_search_with_optuna(tmp_path, monkeypatch):
    """Against a stand-in with Optuna's names, whose trials draw at random and are pruned when they are the worst."""
    draw, ends = np.random.default_rng(0), []

    class TrialPruned(Exception):  # noqa: N818  (Optuna's name)
        pass

    class Trial:
        def __init__(self):
            self.values, self.params = [], {}

        def suggest_float(self, name, low, high, log):
            assert log
            self.params[name] = float(np.exp(draw.uniform(np.log(low), np.log(high))))
            return self.params[name]

        def report(self, value, step):
            assert step == len(self.values)
            self.values.append(value)

        def should_prune(self):
            return len(self.values) > 1 and len(ends) > 1 and self.values[-1] > np.median(ends)

    class Study:
        best_params = None

        def optimize(self, objective, n_trials):
            for _ in range(n_trials):
                trial = Trial()
                try:
                    ends.append(objective(trial))
                    self.best_params = trial.params if ends[-1] == min(ends) else self.best_params
                except TrialPruned:
                    pruned.append(trial)

    pruned = []
    optuna = SimpleNamespace(TrialPruned=TrialPruned, create_study=lambda pruner: Study(),
                             pruners=SimpleNamespace(MedianPruner=lambda n_startup_trials: None))
    monkeypatch.setitem(sys.modules, "optuna", optuna)
    study = run_block("import optuna", tmp_path, monkeypatch)["study"]
    assert len(ends) + len(pruned) == 6
    assert ends
    assert pruned
    assert all(len(trial.values) < 5 for trial in pruned if not trial.values[-1] < np.median(ends))
    assert set(study.best_params) == {"lr", "tau_theta"}


def test_a_search_with_optuna_itself(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    study = run_block("import optuna", tmp_path, monkeypatch)["study"]
    states = [trial.state for trial in study.trials]
    assert len(states) == 6
    assert set(states) <= {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    assert study.best_value < 2.3


def test_logging_to_mlflow_itself(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs.db'}")
    run_block("import mlflow", tmp_path, monkeypatch)
    run = mlflow.last_active_run()
    logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")
    assert [row.step for row in logged] == [0, 1, 2, 3]
    assert logged[-1].value < logged[0].value


def test_logging_to_a_tracker(tmp_path, monkeypatch):
    class Run:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    logged = []
    tracker = SimpleNamespace(start_run=Run, log_metrics=lambda row, step: logged.append((step, row)))
    monkeypatch.setitem(sys.modules, "mlflow", tracker)
    run_block("import mlflow", tmp_path, monkeypatch)
    assert [step for step, _ in logged] == [0, 1, 2, 3]
    assert logged[-1][1]["train_loss"] < logged[0][1]["train_loss"]


def test_an_experiment_on_a_cluster(tmp_path, monkeypatch):
    results = run_block("parallel_config", tmp_path, monkeypatch)["results"]
    assert "proxprop" in results.labels
    assert (tmp_path / "results" / "results.txt").is_file()


def test_every_python_block_is_tried():
    tried = ["history.plot", "def line_search", "class Softsign", "class PReLU", "ml.Add", "load_diabetes",
             "GridSearchCV", 'ml.datasets.Dataset("diabetes"', "import optuna", "import mlflow", "parallel_config"]
    assert sum(len(blocks("python", page)) for page in PAGES.values()) == len(tried)
    assert all(block_with(text) for text in tried)


@pytest.mark.slow
def test_a_method_from_a_file(tmp_path, monkeypatch, capsys):
    """The commands that README.md gives to the file it shows, with little data."""
    (tmp_path / "mine.py").write_text(block_with("def line_search"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    verify, compare = [line for block in blocks("sh") for line in block.splitlines() if "mine.py" in line]
    little = ["--samples", "100", "--epochs", "2", "--repeats", "1", "--steps", "1", "--quiet"]
    assert cli.main(shlex.split(verify)[1:]) == 0
    assert cli.main([*shlex.split(compare)[1:], *little]) == 0
    assert "\nline_search  " in capsys.readouterr().out
    assert "ml.verify(line_search, like=ml.ProxProp(1e12, solver=\"cg1\", last=\"implicit\"))" in PAGES[
        "tutorials/RECIPES.md"]


def test_the_family_s_page_marks_the_values_at_the_ends_of_their_grid():
    """As the legends of its figures do, with an asterisk; the lowest losses are among them, and it says so."""
    page = PAGES["tutorials/FAMILY.md"]
    rows = re.findall(r"(?m)^\| `([\w:=-]+)`( \*)? \|[^|]+\| ([\d.]+) \|", page)
    assert len(rows) == 15
    assert {name for name, mark, _ in rows if mark} == {
        "bcd:variables=forward", "dladmm", "fenchel", "lpom", "lifted-bregman"}
    lowest = sorted(rows, key=lambda row: float(row[2]))
    assert [bool(mark) for _, mark, _ in lowest[:4]] == [False] + [True] * 3
    said = " ".join(page.split())
    assert "An asterisk, in the figures and in the table, marks" in said
    assert "Three of the four lowest training losses are such" in said


def test_the_family_s_page_counts_the_operations_of_its_totals():
    """Small matrices do not grow with N, so that totals at two N give the products that do, in units of U."""
    page = " ".join(PAGES["tutorials/FAMILY.md"].split())
    number = r"([\d.]+)"
    few, many = (list(map(float, re.search(pattern, page).groups())) for pattern in (
        rf"{number} against {number} · 10¹² operations at N = 4000",
        rf"{number} against {number} · 10¹² at N = 60 000"))
    stated = list(map(float, re.search(rf"{number} U against {number} U in all", page).groups()))
    hidden = 784 / 1500  # the first map's products, in U; that of its Gram matrix is symmetric here
    assert stated == pytest.approx([9.5 + hidden + hidden**2 / 2, 14 + 3 * hidden + hidden**2], abs=0.05)
    for total, small, large in zip(stated, few, many):
        grown = total * 2 * 1500**2 * (60_000 - 4000) / 1e12
        assert grown == pytest.approx(large - small, abs=0.055)  # what rounding leaves open


# on lines of their own, and those in the text that have arguments; of a file that is not here they run above
GUIDES = [README, textwrap.indent("".join(blocks("sh")), "    "), PAGES["tutorials/RECIPES.md"],
          PAGES["tutorials/RANKS.md"], (ROOT / "tutorials/README.md").read_text(encoding="utf-8")]
LINE = re.compile(r"^ {4}(minilift [^#`\n]+)|`(minilift [^`]+)`", re.M)
COMMANDS = {" ".join("".join(found).split()) for page in GUIDES for found in LINE.findall(page)}
COMMANDS = sorted(line for line in COMMANDS if "mine.py" not in line)


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
    last = "\n".join(lines[-30:])
    for part in ("python -m build", "pyroma --min=10", "install -q .venv/dist", "pytest tests/test_package.py"):
        assert part in last, "the package is built, rated, installed anew, and tested from its source distribution"


def test_the_quick_tier_is_the_default_and_leaves_out_the_slow_tests_alone(pytestconfig):
    """A run says how many it left out: see conftest.py."""
    words = pytestconfig.getini("addopts")
    assert words[words.index("-m") + 1] == "not slow"
    assert "-k" not in words
    assert not [word for word in words if word.startswith(("--ignore", "--deselect"))]


def test_the_table_of_equations_is_current():
    page = PAGES["tutorials/EQUATIONS.md"]
    table = equations.with_table(page, equations.markdown(*equations.index(), "../"))
    assert table == page, "renew it with: minilift equations --write tutorials/EQUATIONS.md"


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[path])
    assert len(links) > 20 or path != "README.md"
    folder = (ROOT / path).parent
    assert not [link for link in links if not link.startswith("https://") and not (folder / link).exists()]


def test_the_methods_are_those_that_go_by_name():
    """Each row of the table names what `fit` and the command line know, and all but one of those are in it."""
    rows = README.partition("## Methods")[2].partition("\n## ")[0].splitlines()
    named = {name for row in rows if row.startswith("| `") for name in re.findall("`([a-z0-9-]+)`", row.split("|")[1])}
    assert named == set(METHODS) - {"locoprop-m-rmsprop"}  # LocoProp-M with another local optimizer


def test_the_pictures_are_small():
    images = re.findall(r"!\[.+\]\((.+)\)", README)
    assert "tutorials/images/compare.png" in images
    assert all((ROOT / image).stat().st_size < 200_000 for image in images)


def test_the_span_of_an_exact_step_is_that_of_what_was_measured():
    said = re.search(r"on smaller networks it takes ([\d.]+) to ([\d.]+) times as long as BackProp's step", README)
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "data" / "results").rglob("step*.json")]
    measured = [row["ratios"]["BackProp"]["median"] for table in tables for row in table["rows"]
                if row["contender"] == "ProxProp exact" and row["network"] != "wide"]
    assert said.groups() == tuple(f"{ratio:.1f}" for ratio in (min(measured), max(measured)))


def test_the_headline_results_name_their_commands():
    lines = README.partition("## Results")[2].partition("\n## ")[0].splitlines()
    results = [line for line in lines if line.startswith("- ")]
    assert len(results) == 6
    assert all(re.search(r"`minilift [^`]+`$", line) for line in results)

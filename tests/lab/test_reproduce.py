"""`minilift reproduce`: runs are done once and taken up where they stopped, and verdicts say what the numbers say."""

import contextlib
import io
import json
import math
import operator
import os
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from threadpoolctl import threadpool_info, threadpool_limits

from minilift import cli, datasets
from minilift.lab import bench, experiments, figures, reproduce, runs
from minilift.lab.experiments import EXPERIMENTS, Plan, Setting
from minilift.lab.results import methods_text, section, with_section
from minilift.lab.runs import Job, Results, blas_threads, final_loss
from minilift.lab.tables import number
from minilift.support.files import read_npz
from minilift.training.history import Divergence, History

TINY = {"samples": 120, "epochs": 2, "seeds": 1}
needs_joblib = pytest.mark.skipif(find_spec("joblib") is None, reason="needs joblib")


def plan_of(experiment="proxprop-fig2", **changes):
    return Plan(experiment, **{"samples": 120, "epochs": 4, "seeds": 1, **changes})


def reproduced(experiment, folder, jobs=1, **changes):
    return reproduce.reproduce(plan_of(experiment, **{**TINY, **changes}), folder, jobs=jobs, progress=False)


def record(label, step, losses, seed=0, data="digits", diverged=False, seconds=None, **more):
    """Return the record of a run with these training losses, epoch 0 first."""
    history = History(label)
    for epoch, loss in enumerate(losses):
        time = epoch if seconds is None else seconds[epoch]
        history.append({"epoch": epoch, "seconds": float(time), "train_loss": loss, "val_accuracy": 0.5})
    if diverged:
        history.diverged = Divergence(1, 1, None, "the loss of a batch is nan")
    return {"data": data, "label": label, "step": step, "seed": seed, "test_loss": 1.0, "test_accuracy": 0.5,
            "machine": {}, "history": history, **more}


# ---- runs


def test_an_interrupted_run_continues_where_it_stopped_and_ends_as_an_uninterrupted_one(tmp_path):
    job = Job("digits", "cg3", 1.0, 0)
    for name in ("whole", "parts"):
        (tmp_path / name / "runs").mkdir(parents=True)
    whole = reproduce.run_job(plan_of(epochs=12), tmp_path / "whole", job)

    def interrupt(row, net, history):
        if row["epoch"] == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce.run_job(plan_of(epochs=12), tmp_path / "parts", job, interrupt)
    checkpoint = tmp_path / "parts" / "runs" / f"{job.key}.npz"
    assert "about" in read_npz(checkpoint)
    epochs = []
    rest = reproduce.run_job(plan_of(epochs=12), tmp_path / "parts", job,
                             lambda row, net, history: epochs.append(row["epoch"]))
    assert epochs == [11, 12], "ten epochs were done already"
    for column in ("train_loss", "val_loss", "val_accuracy", "batch_loss"):
        np.testing.assert_array_equal(rest["history"][column], whole["history"][column])
    assert rest["test_accuracy"] == whole["test_accuracy"]
    assert not checkpoint.exists()


def test_a_checkpoint_beside_a_finished_record_is_removed(tmp_path):
    job = Job("digits", "cg3", 1.0, 0)
    (tmp_path / "runs").mkdir()
    first = reproduce.run_job(plan_of(epochs=1), tmp_path, job)
    stale = tmp_path / "runs" / f"{job.key}.npz"
    stale.write_bytes(b"of a run that was killed before it could remove this")
    assert reproduce.run_job(plan_of(epochs=1), tmp_path, job)["test_loss"] == first["test_loss"]
    assert not stale.exists()


def test_finished_runs_are_not_done_again(tmp_path, monkeypatch):
    first = reproduced("proxprop-fig2", tmp_path)

    def forbidden(*arguments, **more):
        raise AssertionError("a finished run was done again")

    monkeypatch.setattr(reproduce, "fit", forbidden)
    again = reproduced("proxprop-fig2", tmp_path)
    assert [final_loss(one) for one in again.records] == [final_loss(one) for one in first.records]


def test_runs_in_parallel_give_what_runs_in_turn_give(tmp_path):
    pytest.importorskip("joblib")
    alone = reproduced("proxprop-fig2", tmp_path / "1")
    both = reproduced("proxprop-fig2", tmp_path / "2", jobs=2)
    for one, other in zip(alone.records, both.records, strict=True):
        assert (one["label"], one["step"], one["seed"]) == (other["label"], other["step"], other["seed"])
        np.testing.assert_allclose(one["history"]["train_loss"], other["history"]["train_loss"], rtol=1e-4)


@needs_joblib
@pytest.mark.skipif(sys.version_info < (3, 11), reason="until 3.10 Python has no way to be told so")
def test_workers_take_no_file_of_the_users_folder_for_a_module(tmp_path):
    """The command itself does not: the folder on its path is that of the installed commands."""
    (tmp_path / "installed").mkdir()
    program = "from minilift.lab import runs\nprint(sorted(runs.spread(abs, [-1, 2, -3], 2)))\n"
    (tmp_path / "installed" / "command.py").write_text(program)
    (tmp_path / "signal.py").write_text("raise SystemExit('it is not meant')\n")
    found = subprocess.run([sys.executable, "installed/command.py"], cwd=tmp_path, capture_output=True, text=True,
                           timeout=120)
    assert (found.stdout, found.stderr) == ("[1, 2, 3]\n", "")


def test_another_joblib_backend_serves(tmp_path):
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config("threading"):
        found = reproduced("proxprop-fig2", tmp_path, jobs=2)
    assert found.labels == ["backprop", "proxprop", "cg3", "cg5", "cg10"]


def test_a_folder_with_other_settings_is_refused(tmp_path):
    reproduce.claim_folder(plan_of(), tmp_path)
    samples = plan_of().setting.samples
    told = rf"other settings: data was .* {samples} \+.* is .* 130 \+.*, samples was {samples}, is 130; .*--output"
    with pytest.raises(ValueError, match=told):
        reproduce.claim_folder(plan_of(samples=130), tmp_path)


def test_further_seeds_are_run_beside_those_that_are_there(tmp_path):
    reproduced("proxprop-fig2", tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    both = reproduced("proxprop-fig2", tmp_path, seeds=2)
    assert both.seeds == [0, 1]
    assert len(both.records) == 2 * len(kept)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert reproduced("proxprop-fig2", tmp_path).seeds == [0]


def test_a_folder_of_other_data_is_refused(tmp_path, monkeypatch):
    digits, seen = datasets.digits(), []
    monkeypatch.setattr(reproduce, "load_data", lambda plan, name: seen[-1])
    seen.append(digits)
    reproduce.claim_folder(plan_of(), tmp_path)
    for name in ("X_train", "y_train", "X_test", "y_test"):
        seen.append(replace(digits, **{name: getattr(digits, name)[::-1].copy()}))
        with pytest.raises(ValueError, match=r"other settings: data was .*checksum .* is .*checksum"):
            reproduce.claim_folder(plan_of(), tmp_path)


def test_the_step_size_is_tuned_with_one_seed_and_the_best_one_runs_with_all(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "GRID", (1.0, 0.1))
    found = reproduced("sibp-mnist", tmp_path, seeds=3, epochs=1)
    for label in ("backprop", "semi-implicit"):
        assert len(found.select(label=label, seed=0)) == 2
        best = min(found.select(label=label, seed=0), key=final_loss)["step"]
        assert {one["step"] for seed in (1, 2) for one in found.select(label=label, seed=seed)} == {best}
        assert [one["seed"] for one in found.chosen("digits", label)] == [0, 1, 2]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("scale", experiments.SCALES)
def test_every_method_has_as_many_step_sizes_as_the_others(name, scale):
    plan = EXPERIMENTS[name]
    labels = [variant.label for variant in plan.variants(plan.settings[scale])]
    assert len({labels.count(label) for label in labels}) == 1
    assert len(set(labels)) >= 2


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_variant_can_be_made_and_takes_a_finite_step(name, tmp_path):
    plan = EXPERIMENTS[name]
    setting = plan.settings["small"]
    data = reproduce.load_data(plan_of(name), setting.data[0])
    for variant in plan.variants(setting)[::3]:
        net = plan.network(setting, data, 0, "numpy")
        method, optimizer = variant.method(), variant.optimizer()
        loss, directions = method.direction(net, data.X_train[:50], data.y_train[:50])
        optimizer.step(net.parameters, directions)
        assert math.isfinite(loss)


# ---- the papers' settings


def test_the_papers_networks_are_the_defaults():
    fake = type("", (), {"X_train": np.zeros((1, 784), np.float32), "n_classes": 10})
    net = experiments.autoencoder(EXPERIMENTS["locoprop-autoencoder"].settings["paper"], fake, 0, "numpy")
    assert [theta.shape[0] - 1 for theta in net.parameters] == [784, 1000, 500, 250, 30, 250, 500, 1000]
    assert [repr(sigma) for sigma in net.sigma[1:]] == ["Tanh()"] * 3 + ["Identity()"] + ["Tanh()"] * 3
    fake.X_train = np.zeros((1, 3072), np.float32)
    net = experiments.classifier(EXPERIMENTS["proxprop-table1"].settings["paper"], fake, 0, "numpy")
    assert [theta.shape for theta in net.parameters] == [(3073, 4000), (4001, 1000), (1001, 4000), (4001, 10)]
    assert {len(row) for row in experiments.TABLE1.values()} == {len(experiments.TABLE1_STEPS)}


# ---- verdicts


def test_the_papers_own_table_1_upholds_its_claims():
    records = []
    for label, row in experiments.TABLE1.items():
        for step, loss in zip(experiments.TABLE1_STEPS, row):
            records.append(record(label, step, [2.3] if loss is None else [2.3, loss], diverged=loss is None))
    records += [{**one, "label": "proxprop"} for one in records if one["label"] == "cg5"]
    found = experiments.table1_claims(Results(records))
    assert [one.verdict for one in found] == ["holds (1 of 1 seeds)"] * 4
    assert found[0].numbers == "10 against 0.1"
    assert found[1].numbers == "0.0003 against 0.091"
    same = [record(label, step, [2.3, 0.5]) for label in ("backprop", "cg1", "proxprop") for step in (1, 0.1)]
    assert all(one.verdict.startswith("fails") for one in experiments.table1_claims(Results(same)))


@pytest.mark.parametrize(("losses", "words"), [
    ([2.3, 2.3], ["unclear", "fails"]), ([2.3, 0.0], ["fails", "unclear"]), ([2.3], ["unclear", "unclear"])],
    ids=["nothing trains", "BackProp's loss is 0", "all diverge"])
def test_a_ratio_to_nothing_is_unclear(losses, words):
    """10 · 0 ≤ 0 and 10 · ∞ ≤ ∞ are true, and no claim about a network that trains."""
    records = [record(label, 1, losses, diverged=len(losses) == 1) for label in ("backprop", "cg1", "proxprop")]
    assert [one.verdict.split()[0] for one in experiments.table1_claims(Results(records))] == 2 * words


def test_a_method_that_diverges_where_backprop_trains_upholds_no_claim():
    records = [record(label, 1, [2.3], diverged=True) for label in ("cg1", "proxprop")]
    found = experiments.table1_claims(Results([record("backprop", 1, [2.3, 0.1]), *records]))
    assert {one.verdict.split()[0] for one in found} == {"fails"}


def test_a_verdict_is_unclear_when_seeds_disagree():
    def word(ours):
        return experiments.verdict("x", ours, [2, 2], operator.lt).verdict
    assert word([1, 1]) == "holds (2 of 2 seeds)"
    assert word([1, 3]) == "unclear (1 of 2 seeds)"
    assert word([3, 3]) == "fails (0 of 2 seeds)"


def test_a_win_over_a_method_tuned_to_the_edge_of_its_grid_is_unclear():
    def runs(best):
        return Results([record("semi-implicit", 1, [2.3, 0.1])] + [
            record("backprop", step, [2.3, 0.5 if step == best else 1.0]) for step in (10, 1, 0.1)])
    assert experiments.against_backprop(runs(1))[0].verdict == "holds (1 of 1 seeds)"
    assert experiments.against_backprop(runs(10))[0].verdict.startswith("unclear (holds")


def test_losses_are_compared_at_equal_times():
    slow = record("semi-implicit", 1, [2.0, 1.0, 0.0], seconds=[0, 10, 20])
    fast = record("backprop", 1, [2.0, 1.5, 1.2], seconds=[0, 1, 2])
    assert experiments.loss_after(5, slow) == 1.5
    at_end, at_time = experiments.against_backprop(Results([fast, slow]))
    assert at_end.verdict.startswith("holds")
    assert at_time.verdict.startswith("fails")
    assert "after 2 s: 1.8 against 1.2" in f"{at_time.claim}: {at_time.numbers}"


def test_a_run_that_diverged_was_not_the_fastest():
    runs = [record("proxprop", 1, [2.3, 0.5, 0.01], seed) for seed in range(3)]
    runs += [record("backprop", 1, [2.3, 1.5, 1.0], seed) for seed in range(2)]
    runs.append(record("backprop", 1, [2.3], 2, diverged=True))
    at_end, at_time = experiments.against_backprop(Results(runs))
    assert at_end.verdict == at_time.verdict == "holds (3 of 3 seeds)"
    assert "after 2 s" in at_time.claim


def test_one_sweep_raises_no_energy():
    once = record("bcd", 1, [])
    for epoch, energy in enumerate([4.0, 3.0]):
        once["history"].append({"epoch": epoch, "seconds": 0.5 * epoch, "train_loss": 1.0, "energy": energy})
    (found,) = experiments.bcd_claims(Results([once]))
    assert found.verdict == "unclear (no two sweeps)"
    once["history"].append({"epoch": 2, "seconds": 1.0, "train_loss": 1.0, "energy": 3.0})
    assert experiments.bcd_claims(Results([once]))[0].verdict.startswith("holds")


@pytest.mark.parametrize(("name", "value"), [("threads", 2), ("jobs", -1), ("processor", "another")])
def test_seconds_of_other_conditions_are_not_compared(name, value):
    fast, slow = record("backprop", 1, [2.0, 1.5]), record("semi-implicit", 1, [2.0, 1.0])
    slow["machine"] = {**slow["machine"], name: value}
    at_end, at_time = experiments.against_backprop(Results([fast, slow]))
    assert at_end.verdict == "holds (1 of 1 seeds)"
    assert at_time.verdict == f"unclear (holds (1 of 1 seeds), but its runs differ in {name})"


def test_three_digits_before_the_point_are_written_out():
    assert [number(value, 2) for value in (104.3, 99.6, 99.4, 480.0, 1234.0, -104.3)] == [
        "104", "99.6", "99", "480", "1.2e+03", "-104"]
    assert number(1004.0) == "1e+03"


def test_divergence_is_a_result():
    diverged = record("backprop", 1, [2.3], diverged=True)
    assert final_loss(diverged) == math.inf
    assert number(math.inf) == "-"
    above = record("backprop", 1, [2.3, 77.9])
    assert number(final_loss(above)) == "77.9"
    assert not experiments.trains(diverged)
    assert not experiments.trains(above)
    assert experiments.trains(record("backprop", 1, [2.3, 0.3]))


# ---- files


def test_the_figure_of_step_sizes_says_the_plans_epochs_whatever_diverged():
    runs = [record("backprop", 50, [2.3], diverged=True), record("backprop", 0.1, [2.3, 1.0, 0.5])]
    figure = figures.steps_figure(plan_of("proxprop-table1", epochs=2), Results(runs), "digits")
    assert "digits, 2 epochs;" in figure.axes[0].get_title()
    assert "crosses: diverged" in figure.axes[0].get_title()
    figure = figures.steps_figure(plan_of("proxprop-table1", epochs=1), Results(runs[1:]), "digits")
    assert figure.axes[0].get_title().endswith("digits, 1 epoch; thin: the paper's, CIFAR-10, 50 epochs")


def test_the_name_of_a_users_file_is_drawn_as_it_is():
    """Though it be no TeX, and no Unicode."""
    name, shown = "a$x_{$b\udcfc", r"a\$x_{\$b\udcfc"
    results = Results([record("backprop", 0.1, [2.3, 1.0, 0.5], data=name)])
    for draw, experiment in ((figures.steps_figure, "proxprop-table1"), (figures.curves_figure, "proxprop-fig2")):
        figure = draw(plan_of(experiment, epochs=2), results, name)
        figure.savefig(io.BytesIO())
        assert shown in figure.get_suptitle() + figure.axes[0].get_title()


def test_results_are_written_as_json_and_csv_with_all_that_is_needed_to_believe_them(tmp_path):
    found = reproduced("proxprop-fig2", tmp_path)
    about = json.loads((tmp_path / "results.json").read_text())
    assert about["command"] == "minilift reproduce proxprop-fig2 --scale small --seeds 1 --epochs 2 --samples 120"
    assert {"numpy", "minilift"} <= set(about["machine"]["versions"])
    assert {"commit", "date", "processor", "blas", "threads"} <= set(about["machine"])
    assert [run["seed"] for run in about["runs"]] == [0] * 5
    assert about["runs"][0]["curve"][-1] == pytest.approx(found.records[0]["history"]["train_loss"][-1], rel=1e-4)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("data,label,step,seed,status,epochs,seconds,train_loss")
    report = (tmp_path / "results.txt").read_text()
    assert all(one["claim"] in report for one in about["verdicts"])
    assert (tmp_path / "digits.png").stat().st_size > 10_000


def test_results_say_with_which_optimizer_and_settings_they_were_made(tmp_path):
    reproduced("proxprop-fig2", tmp_path)
    told = {"proxprop": "ProxProp(tau_theta=0.05, solver='exact'), Nesterov(lr=1.0, momentum=0.95, weight_decay=0.0)"}
    for name in ("results.json", "settings.json"):
        about = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        assert list(about["methods"]) == ["backprop", "proxprop", "cg3", "cg5", "cg10"]
        assert told.items() <= about["methods"].items()
        assert about["held out"] == 0.1
    lines = (tmp_path / "results.txt").read_text(encoding="utf-8").splitlines()
    assert lines[3] == "10% of the samples held out for validation; methods and optimizers:"
    assert lines[5] == f"  proxprop: {told['proxprop']}"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_searched_is_told_as_the_step(name):
    methods = plan_of(name).methods
    for label, text in methods.items():
        variants = [one for one in EXPERIMENTS[name].variants(plan_of(name).setting) if one.label == label]
        assert ("=step" in text) == (len(variants) > 1)
    if name == "sibp-mnist":
        assert methods["semi-implicit"].startswith("SemiImplicit(eta=step, lam=1.0, steps=5, solver='fr'), SGD(lr=1.0")
    if name == "locoprop-autoencoder":
        assert "lr=WarmupLinear(lr=step, warmup=5, epochs=28), momentum=0.9" in methods["backprop:momentum long"]


def test_a_folder_of_a_former_version_is_continued(tmp_path):
    """Its settings.json does not say which methods it was made with."""
    reproduced("proxprop-fig2", tmp_path)
    path = tmp_path / "settings.json"
    former = json.loads(path.read_text(encoding="utf-8"))
    del former["methods"], former["held out"]
    path.write_text(json.dumps(former, indent=1))
    assert reproduced("proxprop-fig2", tmp_path, seeds=2).seeds == [0, 1]
    assert methods_text({"setting": {}}) == []


def test_a_users_file_takes_the_place_of_the_data(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "mine.npz"
    X, y = rng.integers(0, 256, (60, 6, 6, 1), dtype=np.uint8), rng.integers(0, 3, 60)
    np.savez(path, X_train=X[:50], y_train=y[:50], X_test=X[50:], y_test=y[50:])
    data = reproduce.load_data(plan_of(samples=40, data=path), "mine")
    assert data.X_train.shape == (40, 36)
    assert data.image_shape == (6, 6, 1)
    assert data.n_classes == 3
    np.testing.assert_array_equal(data.X_test, X[50:].reshape(10, 36).astype(np.float32) / 255)
    found = reproduced("proxprop-fig3", tmp_path / "r", data=path, epochs=1)
    assert found.data == ["mine"]
    np.savez(path, X_train=X, y_train=y)
    with pytest.raises(ValueError, match="has no X_test; it holds X_train, y_train"):
        reproduce.read_data(path)


@pytest.mark.parametrize(("words", "message"), [
    (["proxprop-tabel1"], "did you mean 'proxprop-table1'"),
    (["sibp-mnist", "--scale", "smal"], "did you mean 'small'"),
    (["sibp-mnist", "--seeds", "0"], "--seeds must be at least 1"),
    (["sibp-mnist", "--backend", "numpi"], "did you mean 'numpy'"),
    (["sibp-mnist", "--data", "no-such.npz"], "no-such.npz")])
def test_a_users_mistake_is_one_line_and_exit_code_2(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


# ---- the page of results


@pytest.fixture
def kept(tmp_path):
    """Return a folder as data/results is: the files of one experiment and of one benchmark, a figure."""
    folder = tmp_path / "data" / "results"
    reproduced("proxprop-fig2", tmp_path / "run")
    folder.mkdir(parents=True)
    (tmp_path / "run" / "results.json").rename(folder / "fig2.json")
    (tmp_path / "run" / "digits.png").rename(folder / "fig2-digits.png")
    times = {"BackProp": [0.1], "PyTorch": [0.2]}
    rows = [bench.step_row("small", name, times, {name: np.array([0.05])}) for name in times]
    about = {"command": "minilift bench step --rounds 1", "machine": bench.machine(), "rows": rows}
    (folder / "step.json").write_text(json.dumps(about))
    return folder


def test_the_page_is_renewed_from_the_files_that_are_kept(kept, capsys):
    readme = kept / "README.md"
    readme.write_text("before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter\n")
    assert cli.main(["reproduce", "--write", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- results:begin -->\n### Time of a training step")
    assert text.endswith("<!-- results:end -->\nafter\n")
    assert "old" not in text
    assert "| BackProp | 100 (100–100) | – | 0.50 (0.50–0.50) | 50.0 (50.0–50.0) | 0.50 (0.50–0.50) |" in text
    assert "`minilift reproduce proxprop-fig2 --scale small --seeds 1 --epochs 2 --samples 120`" in text
    assert "](fig2-digits.png)" in text
    assert "\n10% of the samples held out for validation; methods and optimizers:\n\n- backprop: BackProp()," in text
    assert "proxprop below backprop in training loss, at the end" in text
    assert with_section(text, section(kept)) == text
    readme.write_text("no marks")
    assert cli.main(["reproduce", "--write", str(readme)]) == 2
    assert "results:begin" in capsys.readouterr().err
    assert cli.main(["reproduce", "--write", str(kept / "none.md")]) == 2
    assert capsys.readouterr().err.startswith("minilift reproduce: --write: ")


def test_our_page_says_what_the_kept_files_say():
    folder = Path(__file__).resolve().parent.parent.parent / "data" / "results"
    page = (folder / "README.md").read_text(encoding="utf-8")
    current = with_section(page, section(folder))
    assert current == page, "renew it with: minilift reproduce --write data/results/README.md"


@pytest.mark.slow
def test_a_small_experiment_from_the_command_line(tmp_path, capsys):
    words = ["reproduce", "locoprop-autoencoder", "--epochs", "2", "--samples", "100", "--seeds", "1",
             "--output", str(tmp_path / "r")]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "locoprop-m" in out
    assert "step sizes tried: backprop:sgd 1, 0.316, 0.1, 0.0316, 0.01, 0.00316, 0.001" in out
    assert "the best of backprop:sgd, backprop:momentum, backprop:adam, backprop:rmsprop" in out


def test_a_setting_survives_the_way_through_json():
    setting = EXPERIMENTS["proxprop-table1"].settings["paper"]
    again = Setting(**json.loads(json.dumps(setting.__dict__)))
    assert [again.epochs, again.batch, again.seeds, list(again.widths)] == [50, 500, 1, [4000, 1000, 4000]]


def test_at_equal_seconds_backprop_runs_as_long_as_locoprop_with_a_schedule_made_for_it():
    plan = EXPERIMENTS["locoprop-autoencoder"]
    variants = plan.variants(plan.settings["small"])
    short, long = ([v for v in variants if v.label == label] for label in ("backprop:adam", "backprop:adam long"))
    assert [v.step for v in short] == [v.step for v in long]
    assert {v.times for v in short} == {1}
    assert {v.times for v in long} == {experiments.LONG}
    epochs = plan.settings["small"].epochs
    assert short[0].optimizer().lr(epochs - 1) < long[0].optimizer().lr(epochs - 1), "the long one is at its start"
    records = [record("locoprop-m", 1, [9.0, 1.0], seconds=[0, 7]), record("locoprop-s", 1, [9.0, 8.0])]
    for name in experiments.FIRST_ORDER:
        records += [record(f"backprop:{name}", 1, [9.0, 2.0]),
                    record(f"backprop:{name} long", 1, [9.0, 0.5], seconds=[0, 7])]
    m_epochs, m_seconds, *_ = plan.claims(Results(records))
    assert m_epochs.verdict.startswith("holds"), m_epochs
    assert m_seconds.verdict.startswith("fails"), "long runs were lower at that time"
    assert "after 7 s: 1 against 0.5" in f"{m_seconds.claim}: {m_seconds.numbers}"


def test_how_long_an_experiment_takes_is_said_before_by_what_is_asked_for(monkeypatch):
    monkeypatch.setattr(reproduce, "crowd", lambda threads: 1.0)
    monkeypatch.setattr(reproduce, "cores", lambda: 2)
    monkeypatch.setitem(reproduce.SECONDS, "sibp-mnist", 400)
    small = EXPERIMENTS["sibp-mnist"].settings["small"]
    plan = Plan("sibp-mnist")
    assert set(reproduce.SECONDS) == set(EXPERIMENTS)
    assert reproduce.lasting(plan, 1) == "about 7 minutes"
    assert reproduce.lasting(plan, -1) == reproduce.lasting(plan, 8) == "about 3 minutes", "as many as cores"
    assert reproduce.lasting(Plan("sibp-mnist", seeds=3 * small.seeds), 1) == "about 20 minutes"
    assert reproduce.lasting(Plan("sibp-mnist", "paper"), 1) == "many hours, or days"
    assert reproduce.lasting(plan, 1, "tcp://10.0.0.1:8786") == "some minutes, or more"


# ---- files that change, links, other backends, threads and mistakes

def written(path, seed=0, samples=50):
    """Write a small table with labels; return its training inputs."""
    X, y = np.random.default_rng(seed).random((samples + 10, 8), np.float32), np.arange(samples + 10) % 3
    np.savez(path, X_train=X[:samples], y_train=y[:samples], X_test=X[samples:], y_test=y[samples:])
    return X[:samples]


def test_a_file_that_has_changed_is_read_again(tmp_path):
    """A worker of a cluster, or a notebook, lives longer than a file of the user's stays as it is."""
    path = tmp_path / "mine.npz"
    for seed, samples in ((0, 120), (1, 130)):
        expected = written(path, seed, samples)[:120]
        np.testing.assert_array_equal(reproduce.load_data(plan_of("sibp-mnist", data=path), "mine").X_train, expected)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs links")
def test_a_link_to_a_file_keeps_its_own_name(tmp_path):
    written(tmp_path / "ab12cd.npz")
    os.symlink("ab12cd.npz", tmp_path / "mine.npz")
    plan = plan_of("sibp-mnist", data=tmp_path / "mine.npz")
    assert plan.setting.data == ("mine",)
    assert "mine.npz" in plan.command


@pytest.mark.slow
@needs_joblib
def test_a_backend_that_gives_all_results_at_the_end_does_the_runs(tmp_path):
    """As joblib's multiprocessing, and Ray's, which is made of it."""
    from joblib import parallel_config
    with parallel_config("multiprocessing"):
        found = reproduced("proxprop-fig2", tmp_path, jobs=2, epochs=1)
    assert len(found.records) == 5


@needs_joblib
def test_where_nothing_is_left_to_run_no_workers_are_started(monkeypatch):
    """As after the search of a single seed; joblib would warn that it has cancelled 0 tasks."""
    monkeypatch.setattr("joblib.Parallel", None)
    assert list(runs.spread(len, [], 2)) == []


@pytest.mark.slow
@needs_joblib
def test_a_damaged_checkpoint_is_the_users_mistake_with_several_jobs_too(tmp_path, capsys):
    words = ["reproduce", "proxprop-fig2", "--samples", "100", "--epochs", "1", "--seeds", "1", "--output"]
    for jobs in "12":
        folder = tmp_path / jobs
        (folder / "runs").mkdir(parents=True)
        (folder / "runs" / "digits_backprop_0.05_0.npz").write_bytes(b"cut off")
        assert cli.main([*words, str(folder), "--jobs", jobs]) == 2
        assert "digits_backprop_0.05_0.npz" in capsys.readouterr().err


def controlled_by_nobody():
    """Let any thread set the number of threads: newer threadpoolctl heeds the first one that has done so alone."""
    with contextlib.suppress(AttributeError):
        threadpoolctl.OpenBLASController.clear_controlling_thread(force=True)


def test_runs_in_threads_of_one_process_share_one_limit_of_blas_threads():
    """As in a worker of several threads; the end of one run restored the threads before it under the other."""
    def limits():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    before = max(limits(), default=0)
    if not before:
        pytest.skip("threadpoolctl knows no BLAS here")

    def run(k):
        with blas_threads(before + 1):
            begun[k].set()
            assert done[k].wait(30)
            seen[k] = limits()

    begun, done, seen = ([make(), make()] for make in (threading.Event, threading.Event, set))
    controlled_by_nobody()
    try:
        runs = [threading.Thread(target=run, args=(k,)) for k in (0, 1)]
        for k in (0, 1):  # the second begins while the first is at work
            runs[k].start()
            assert begun[k].wait(30)
        for k in (0, 1):  # and is at work when the first has ended
            done[k].set()
            runs[k].join()
    finally:
        controlled_by_nobody()
        threadpool_limits(before, user_api="blas")
        controlled_by_nobody()
    assert seen == [{before + 1}, {before + 1}]


def test_results_from_outside_a_checkout_have_a_section(tmp_path):
    kept = json.loads((Path(bench.__file__).parents[2] / "data" / "results" / "step.json").read_text(encoding="utf-8"))
    kept["machine"]["commit"] = None
    (tmp_path / "step.json").write_text(json.dumps(kept))
    assert "commit not known" in section(tmp_path)

"""Write the results of an experiment: tables, files, figures, and the page that shows all of them."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from minilift import datasets, plots
from minilift.lab.bench import busy, describe, step_cells
from minilift.lab.figures import curves_figure, steps_figure
from minilift.lab.machine import machine
from minilift.lab.race import race_cells, verdict
from minilift.lab.runs import Job, final_loss, grouped, losses_by_step, training_time
from minilift.lab.tables import aligned, ends, listed, markdown, number, ranges, table
from minilift.support.files import write_text

# ---------------------------------------------------------------------------------------------------------------- files


def write_results(plan, results, folder):
    """Write the table and the verdicts (text, CSV, JSON), and a figure for each data set."""
    cells, draw = (steps_cells, steps_figure) if plan.what.figure == "steps" else (curves_cells, curves_figure)
    about = {"command": plan.command, "title": plan.what.title, "setting": asdict(plan.setting),
             "held out": plan.what.validation, "methods": plan.methods,
             "machine": machine(), "machines of the runs": machines(results),
             "verdicts": [one._asdict() for one in plan.what.claims(results)],
             "tables": {data: cells(plan.what, results, data) for data in results.data},
             "notes": {data: notes_of(plan.what, results, data) for data in results.data},
             "paper": plan.what.paper, "runs": [summary(record) for record in results.records]}
    write_text(folder / "results.json", json.dumps(about, indent=1, ensure_ascii=False))
    write_text(folder / "results.csv", csv_text(about["runs"]))
    write_text(folder / "results.txt", report(about))
    for data in results.data:
        plots.save(draw(plan, results, data), folder / f"{data}.png")


def summary(record):
    """Return a summary of one run: how it ended, and its curve of training losses."""
    history = record["history"]
    numbers = {name: history[name][-1] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
               if name in history}
    return {**{name: record[name] for name in Job._fields}, "status": history.status, "epochs": len(history) - 1,
            "seconds": training_time(record), **numbers, "test_loss": record["test_loss"],
            "test_accuracy": record["test_accuracy"],
            "curve": [float(f"{loss:.5g}") for loss in history["train_loss"]]}


def csv_text(runs):
    """Return the runs as CSV, without their curves."""
    out, head = io.StringIO(), [name for name in runs[0] if name != "curve"]
    csv.writer(out, lineterminator="\n").writerows([head, *([run.get(name) for name in head] for run in runs)])
    return out.getvalue()


def machines(results):
    """Return the machines, versions and commits with which the runs were done."""
    names = ("processor", "threads", "jobs", "blas", "versions", "commit")
    found = {json.dumps({name: record["machine"].get(name) for name in names}) for record in results.records}
    return [json.loads(one) for one in sorted(found)]


def read_json(path, what, make):
    """Return the result of `make` for a JSON file's content, or raise a `ValueError` saying that it is not `what`."""
    try:
        return make(json.loads(Path(path).read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not {what} ({type(error).__name__}: {error})") from error


# --------------------------------------------------------------------------------------------------------------- tables


def report(about):
    """Return the tables and the verdicts of an experiment as text."""
    at = about["machine"]
    lines = [about["title"], about["command"], setting_text(**about["setting"]), *methods_text(about),
             f"{at['processor']}, {at['blas']}, numpy {np.__version__}, commit {at['commit']}, {at['date']}"]
    for data, cells in about["tables"].items():
        lines += ["", f"{data}:", *aligned(cells), *about["notes"][data]]
    lines += ["", "verdicts:", *(f"  {one['verdict']}: {one['claim']}: {one['numbers']}" for one in about["verdicts"])]
    return "\n".join(lines) + "\n"


def setting_text(data, samples, widths, epochs, batch, seeds):
    """Return the size of an experiment in words."""
    return (f"{samples} samples at most, hidden widths {'-'.join(map(str, widths))}, "
            f"{epochs} epoch{'s' * (epochs > 1)}, batch {'of all' if batch is None else batch}, "
            f"{seeds} seed{'s' * (seeds > 1)}")


def methods_text(about):
    """Return lines on what was held out, and on each method with its optimizer; none for results of former versions."""
    if "methods" not in about:
        return []
    share = about["held out"]
    held_out = "No samples held out" if share is None else f"{share:.0%} of the samples held out for validation"
    return [f"{held_out}; methods and optimizers:", *(f"  {label}: {text}" for label, text in about["methods"].items())]


def steps_cells(experiment, results, data):
    """Return the final training losses for each step size (medians over seeds), with the paper's below ours."""
    cells = [["τ", *map(number, results.steps(data, results.labels[0]))]]
    for label in results.labels:
        losses = losses_by_step(results.select(data=data, label=label))
        cells.append([label, *(number(ends(some)[0]) for some in losses.values())])
        if label in experiment.paper:
            cells.append([f"{label}, paper", *map(number, experiment.paper[label])])
    return cells


def curves_cells(experiment, results, data):
    """Return the cells for each method with its chosen step size: medians over the seeds, ranges in brackets."""
    def over_seeds(measure, worst=math.inf):
        return lambda label: ranges(results.measured(data, label, measure), missing=worst)

    columns = {"method": str, "step": lambda label: number(results.best_step(data, label)) +
               "*" * results.at_edge(data, label), "training loss": over_seeds(final_loss)}
    columns |= {name.replace("_", " "): over_seeds(itemgetter(name), worst)
                for name, worst in (("test_loss", math.inf), ("test_accuracy", -math.inf))
                if any(record[name] is not None for record in results.records)}
    return table(results.labels, {**columns, "seconds": over_seeds(training_time)})


def notes_of(experiment, results, data):
    """Return the lines below the table of one data set: the grids of step sizes, and numbers from the paper."""
    lines = [f"paper, {name}: " + ", ".join(f"{label} {value}" for label, value in of.items())
             for name, of in experiment.paper.items() if isinstance(of, dict) and name not in datasets.available()]
    if experiment.tuned:
        tried = "; ".join(f"{label} {listed(results.steps(data, label))}" for label in results.labels)
        lines += [f"step sizes tried: {tried}", "* the first or last of those: a wider grid may hold a better one"]
    return lines + [experiment.note] * bool(experiment.note)


# ----------------------------------------------------------------------------------- the page of all results


BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def with_section(text, body):
    """Return a page in which everything between its two marks is replaced."""
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n{body}\n{END}{text.partition(END)[2]}"


def section(folder):
    """Return the results in all files of a folder as Markdown: races first, then those of `bench step`.

    A file comes from `minilift bench`, such as ``step.json``, or is the ``results.json`` of an experiment under any
    name. The page is in the same folder. Files with the same name are linked: for a benchmark its table NAME.txt and
    figure NAME.png, for an experiment the figures NAME-DATA.png, one for each data set.
    """
    parts = [read_json(path, "a result of minilift", partial(part_of, path))
             for path in sorted(Path(folder).glob("*.json"))]
    lines = [line for _, part in sorted(parts, key=itemgetter(0)) for line in part]
    return "\n".join(lines).strip() or "Nothing has been measured yet."


def part_of(path, about):
    """Return the position of a file's part in the section (0 to 3), and its lines."""
    if "verdicts" in about:
        return 3, experiment_part(path, about)
    if about["command"].startswith("minilift bench race"):
        return 0, race_part(path, about)
    if about["command"].startswith("minilift bench step"):
        return 1, step_part(about)
    return 2, bench_part(path, about)


def origin(about):
    """Return where the numbers come from, in one line."""
    at = about["machine"]
    commits = dict.fromkeys(one["commit"] for one in about.get("machines of the runs", [at]))
    return (f"`{about['command']}`, {at['date'][:10]}, {at['processor']} ({at['cores']} cores), {at['blas']}, "
            f"NumPy {at['versions']['numpy']}, commit {', '.join(one or 'not known' for one in commits)}.")


def step_part(about):
    """Return the tables of `bench step`, preceded by the threads and the versions of what was compared."""
    threads, versions = (about["machine"][name] for name in ("threads", "versions"))
    others = [f", {name} {versions[key]}" for key, name in (("torch", "PyTorch"), ("sklearn", "scikit-learn"))
              if key in versions]
    lines = ["", "### Time of a training step", "",
             f"{origin(about)} {threads} thread{'s' * (threads != '1')}{''.join(others)}. Medians over the rounds, "
             "ranges in brackets; ratios pair by pair; *limit*: the bare matrix products of that step."]
    for network, block in grouped(about["rows"], "network").items():
        lines += ["", f"*{describe(network)}*", "", *markdown(step_cells(block))]
    return lines


def race_part(path, about):
    """Return the table and the figure of each course of `bench race`."""
    threads, versions = (about["machine"][name] for name in ("threads", "versions"))
    lines = ["", f"### Seconds to a training loss ({about['rows'][0]['network']})", "",
             f"{origin(about)} {threads} thread{'s' * (threads != '1')}, PyTorch {versions.get('torch', 'missing')}.",
             *(line for warning in busy(about["machine"]) for line in ("", warning))]
    for block in grouped(about["rows"], "network").values():
        lines += ["", *markdown(race_cells(block)), "", *(f"{line}  " for line in verdict(block))]
    held_out = about["rows"][0]["held out"]
    return [*lines, "", f"![Training loss and {held_out} against seconds]({path.with_suffix('.png').name})"]


def bench_part(path, about):
    """Return a line that says where the numbers of another benchmark are."""
    kept = [f"[{kind}]({path.stem}{suffix})" for kind, suffix in (("table", ".txt"), ("figure", ".png"))
            if path.with_suffix(suffix).exists()]
    title = about["command"].removeprefix("minilift ").split(" --")[0]
    return ["", f"### `{title}`", "", f"{origin(about)} {', '.join([*kept, f'[numbers]({path.name})'])}"]


def experiment_part(path, about):
    """Return the tables, notes, verdicts and figures of an experiment; the figures are beside the file."""
    lines = ["", f"### {about['title']} ({', '.join(about['tables'])})", "",
             f"{origin(about)} {setting_text(**about['setting'])}."]
    if told := methods_text(about):
        lines += ["", told[0], "", *(f"- {line.strip()}" for line in told[1:])]
    for data, cells in about["tables"].items():
        lines += ["", f"*{data}*", "", *markdown(cells), "", *(f"{note}  " for note in about["notes"][data])]
        figure = path.with_name(f"{path.stem}-{data}.png")
        if figure.exists():
            lines += ["", f"![{about['title']}: {data}]({figure.name})"]
    return [*lines, "", *(f"- {one['verdict']}: {one['claim']}: {one['numbers']}" for one in about["verdicts"])]

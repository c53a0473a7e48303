"""How the results of an experiment are written: tables, files, figures, and the README's section of results."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from minilift import datasets
from minilift.lab.bench import columns, describe, machine, select, step_cells
from minilift.lab.experiments import EXPERIMENTS, LONG, TABLE1_STEPS, Job, final_loss, text, texts
from minilift.support.files import write_text

# ---------------------------------------------------------------------------------------------------------------- files


def write_results(results, options, folder):
    """Write table and verdicts (text, CSV, JSON) and the figures, one for each data set."""
    from minilift import plots

    about = {"command": command(options), "title": results.experiment.title, "setting": options["setting"],
             "machine": machine(), "machines of the runs": machines(results),
             "verdicts": [one._asdict() for one in results.experiment.claims(results)],
             "tables": {data: cells_of(results, data) for data in results.data},
             "notes": {data: notes_of(results, data) for data in results.data},
             "paper": results.experiment.paper, "runs": [summary(record) for record in results.records]}
    write_text(folder / "results.json", json.dumps(about, indent=1, ensure_ascii=False))
    write_text(folder / "results.csv", csv_text(about["runs"]))
    write_text(folder / "results.txt", report(results, options))
    draw = step_figure if results.experiment.figure == "steps" else curve_figure
    for data in results.data:
        plots.save(draw(results, data), folder / f"{data}.png")


def summary(record):
    """Return one run in few numbers: how it ended, and its curve of training losses."""
    history = record["history"]
    numbers = {name: history[name][-1] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
               if name in history}
    return {**{name: record[name] for name in Job._fields}, "status": history.status, "epochs": len(history) - 1,
            "seconds": history["seconds"][-1], **numbers, "test_loss": record["test_loss"],
            "test_accuracy": record["test_accuracy"],
            "curve": [float(f"{loss:.5g}") for loss in history["train_loss"]]}


def csv_text(runs):
    """Return the runs as CSV, without their curves."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [name for name in runs[0] if name != "curve"], extrasaction="ignore",
                            lineterminator="\n")
    writer.writeheader()
    writer.writerows(runs)
    return out.getvalue()


def machines(results):
    """Return where, with what versions and from which commits the runs were done."""
    names = ("processor", "threads", "blas", "versions", "commit")
    found = {json.dumps({name: record["machine"][name] for name in names}) for record in results.records}
    return [json.loads(one) for one in sorted(found)]


def command(options):
    """Return the command that gives these results again."""
    setting, planned = options["setting"], asdict(EXPERIMENTS[options["experiment"]].settings[options["scale"]])
    words = [f"minilift reproduce {options['experiment']} --scale {options['scale']}"]
    words += [f"--{name} {setting[name]}" for name in ("seeds", "epochs", "samples") if setting[name] != planned[name]]
    words += [f"--data {Path(options['data']).name}"] if options["data"] else []
    words += [f"--backend {options['backend']}"] if options["backend"] != "numpy" else []
    return " ".join(words)


# --------------------------------------------------------------------------------------------------------------- tables


def report(results, options):
    """Return the table and the verdicts as text."""
    setting, about = results.setting, machine()
    lines = [results.experiment.title, command(options),
             f"{setting.samples} samples at most, hidden widths {'-'.join(map(str, setting.widths))}, "
             f"{setting.epochs} epochs, batch {setting.batch}, {setting.seeds} seeds",
             f"{about['processor']}, {about['blas']}, numpy {np.__version__}, commit {about['commit']}, "
             f"{about['date']}"]
    for data in results.data:
        lines += ["", f"{data}:", *columns(cells_of(results, data)), *notes_of(results, data)]
    lines += ["", "verdicts:", *(f"  {one.verdict}: {one.claim}: {one.numbers}"
                                 for one in results.experiment.claims(results))]
    return "\n".join(lines) + "\n"


def table1_cells(results, data):
    """Return final training losses for each step size (median over seeds), the paper's below ours."""
    steps = results.steps(data, results.labels[0])
    cells = [["τ", *map(text, steps)]]
    for label in results.labels:
        medians = [np.median([final_loss(record) for record in results.select(data=data, label=label, step=step)])
                   for step in steps]
        cells.append([label, *map(text, medians)])
        if label in results.experiment.paper:
            cells.append([f"{label}, paper", *map(text, results.experiment.paper[label])])
    return cells


def curve_cells(results, data):
    """Return each method at its best step size: medians over the seeds, ranges in brackets."""
    shown = {"training loss": final_loss, "test loss": lambda record: record["test_loss"],
             "test accuracy": lambda record: record["test_accuracy"],
             "seconds": lambda record: record["history"]["seconds"][-1]}
    if not any(record["test_accuracy"] for record in results.records):
        del shown["test accuracy"]
    cells = [["method", "step", *shown]]
    for label in results.labels:
        records, edge = results.chosen(data, label), "*" if results.at_edge(data, label) else ""
        cells.append([label, f"{records[0]['step']:.3g}{edge}",
                      *(middle(map(value, records)) for value in shown.values())])
    return cells


def cells_of(results, data):
    """Return the table of one data set."""
    return (table1_cells if results.experiment.figure == "steps" else curve_cells)(results, data)


def notes_of(results, data):
    """Return the lines below the table of one data set: the grids of step sizes, and numbers of the paper."""
    numbers = {name: of for name, of in results.experiment.paper.items()
               if isinstance(of, dict) and name not in datasets.available()}
    lines = [f"paper, {name}: " + ", ".join(f"{label} {number}" for label, number in of.items())
             for name, of in numbers.items()]
    if results.experiment.tuned:
        lines += ["step sizes tried: " + "; ".join(f"{label} {texts(results.steps(data, label))}"
                                                   for label in results.labels)]
        lines += ["* the first or last of those: a wider grid may hold a better one"]
    return lines + [results.experiment.note] * bool(results.experiment.note)


def middle(values):
    """Return the median as text, and the range of several."""
    values = [math.nan if value is None else value for value in values]
    if not all(map(math.isfinite, values)):
        return "-"
    ends = f" [{text(min(values))}, {text(max(values))}]" if len(values) > 1 else ""
    return text(float(np.median(values))) + ends


# -------------------------------------------------------------------------------------------------------------- figures


def step_figure(results, data):
    """Draw the final training loss against the step size, the paper's numbers in thin lines.

    A method that diverged has a cross above the axes, in a row of its own.
    """
    from minilift import plots

    figure = plots.new_figure(8, 5)
    axes = figure.subplots()
    steps = results.steps(data, results.labels[0])
    for row, (label, style) in enumerate(plots.styles(results.labels).items()):
        losses = np.array([[final_loss(record) for record in results.select(data=data, label=label, step=step)]
                           for step in steps])
        trained = np.isfinite(losses).all(axis=1)
        axes.plot(steps, np.where(trained, np.median(losses, axis=1), np.nan), label=label, linewidth=1.8, **style)
        crosses = np.array(steps)[~trained]
        axes.plot(crosses, np.full(len(crosses), 1.02 + 0.025 * row), "x", color=style["color"], markersize=5,
                  markeredgewidth=1.5, transform=axes.get_xaxis_transform(), clip_on=False)
        if label in results.experiment.paper:
            paper = [math.nan if loss is None else loss for loss in results.experiment.paper[label]]
            axes.plot(TABLE1_STEPS, paper, linewidth=0.8, alpha=0.6, fillstyle="none", **style)
    axes.set(xscale="log", yscale="log", xlabel="τ", ylabel="training loss at the end")
    axes.set_title(f"{data}, {results.setting.epochs} epochs; thin: the paper's, CIFAR-10, 50 epochs\n"
                   "crosses: diverged, from below in the legend's order", fontsize=10, pad=8 + 8 * len(results.labels))
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def curve_figure(results, data):
    """Draw training losses over epochs and seconds, and validation accuracies where there are any."""
    from matplotlib.ticker import MaxNLocator

    from minilift import plots

    runs = {label: [record["history"] for record in results.chosen(data, label)] for label in results.labels}
    longer = {label.removesuffix(" long"): label for label in runs if label.endswith(" long")}
    accuracy = all("val_accuracy" in history for histories in runs.values() for history in histories)
    figure = plots.new_figure(13 if accuracy else 9, 4.6)
    panels = figure.subplots(1, 3 if accuracy else 2)
    for label, style in plots.styles([label for label in runs if label not in longer.values()]).items():
        at_seconds = longer.get(label, label)
        plots.draw({"epoch": panels[0]}, runs[label], "train_loss", style, label)
        plots.draw({"seconds": panels[1]}, runs[at_seconds], "train_loss", style, at_seconds)
        if accuracy:
            plots.draw({"epoch": panels[2]}, runs[label], "val_accuracy", style, label)
    for label, curve in results.experiment.paper.get(data, {}).items():
        panels[0].plot(range(len(curve)), curve, "k.", label=f"{label}, the authors' log (full size)")
    seconds = "seconds of training" + (f" (backprop: {LONG} times the epochs)" if longer else "")
    for axes, name in zip(panels, ("epochs", seconds, "epochs")):
        axes.set_xlabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        if name == "epochs":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels[:2]:
        axes.set(yscale="log", ylabel="training loss")
        plots.plain_numbers(axes.yaxis)
    if accuracy:
        panels[2].set_ylabel("validation accuracy")
        for label, value in results.experiment.paper.get("best validation accuracy", {}).items():
            below = label == "backprop"
            panels[2].axhline(value, color="grey", linewidth=0.8, linestyle=":" if below else "--")
            panels[2].annotate(f"the paper's best, CIFAR-10: {label}", (0, value), fontsize=7,
                               xytext=(2, -8 if below else 2), textcoords="offset points")
    figure.suptitle(f"{results.experiment.title}, {data}", fontsize=10)
    plots.legend(figure, {"epoch": panels[0]})
    return figure


# --------------------------------------------------------------------------------------------- the README


BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def with_section(text, body):
    """Return a README with everything between its two marks replaced."""
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n{body}\n{END}{text.partition(END)[2]}"


def section(folder):
    """Return the results of all files of a folder as Markdown: those of `bench step` first.

    The files are ``step.json`` of `minilift bench step`; ``memory.json`` and others of other benchmarks, whose tables
    and figures, NAME.txt and NAME.png, are linked; and, under names of one's choice, ``results.json`` of experiments,
    the figure for a data set being NAME-DATA.png.
    """
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*.json"))}
    kinds = (bench_section, other_section, experiment_section)
    in_order = sorted(files.items(), key=lambda item: kinds.index(section_of(item[1])))
    lines = [line for path, about in in_order for line in section_of(about)(path, about)]
    return "\n".join(lines).strip() or "Nothing has been measured yet."


def section_of(about):
    """Return the function that writes the section of a file."""
    if "verdicts" in about:
        return experiment_section
    return bench_section if about["command"].startswith("minilift bench step") else other_section


def origin(about):
    """Return where the numbers come from, in one line."""
    at = about["machine"]
    commits = dict.fromkeys(one["commit"] for one in about.get("machines of the runs", [at]))
    return (f"`{about['command']}`, {at['date'][:10]}, {at['processor']} ({at['cores']} cores), {at['blas']}, "
            f"NumPy {at['versions']['numpy']}, commit {', '.join(commits)}.")


def bench_section(path, about):
    """Return the tables of `bench step`."""
    lines = ["", "### Time of a training step", "", f"{origin(about)} {at_threads(about)} Medians over the rounds, "
             "ranges in brackets; ratios pair by pair; *limit*: the bare matrix products of that step."]
    for network in dict.fromkeys(row["network"] for row in about["rows"]):
        lines += ["", f"*{describe(network)}*", "", *markdown(step_cells(select(about["rows"], network=network)))]
    return lines


def other_section(path, about):
    """Return where the numbers of another benchmark are."""
    kept = [f"[{kind}](data/results/{path.stem}{suffix})" for kind, suffix in (("table", ".txt"), ("figure", ".png"))
            if path.with_suffix(suffix).exists()]
    title = about["command"].removeprefix("minilift ").split(" --")[0]
    return ["", f"### `{title}`", "", f"{origin(about)} {', '.join([*kept, f'[numbers](data/results/{path.name})'])}"]


def at_threads(about):
    """Return the number of threads and the versions of what was compared."""
    versions = about["machine"]["versions"]
    others = [f"{name} {versions[key]}" for key, name in (("torch", "PyTorch"), ("sklearn", "scikit-learn"))
              if key in versions]
    threads = about["machine"]["threads"]
    return f"{threads} thread{'s' * (threads != '1')}{''.join(f', {other}' for other in others)}."


def experiment_section(path, about):
    """Return the tables, notes, verdicts and figures of an experiment; figures lie beside the file."""
    setting = about["setting"]
    lines = ["", f"### {about['title']} ({', '.join(about['tables'])})", "",
             f"{origin(about)} {setting['samples']} samples at most, hidden widths "
             f"{'-'.join(map(str, setting['widths']))}, {setting['epochs']} epochs, batch {setting['batch']}, "
             f"{setting['seeds']} seed{'s' * (setting['seeds'] > 1)}."]
    for data, cells in about["tables"].items():
        lines += ["", f"*{data}*", "", *markdown(cells), "", *(f"{note}  " for note in about["notes"][data])]
        figure = path.with_name(f"{path.stem}-{data}.png")
        if figure.exists():
            lines += ["", f"![{about['title']}: {data}](data/results/{figure.name})"]
    return [*lines, "", *(f"- {one['verdict']}: {one['claim']}: {one['numbers']}" for one in about["verdicts"])]


def markdown(cells):
    """Return a table of text as Markdown."""
    rows = [f"| {' | '.join(row)} |" for row in cells]
    return [rows[0], f"| --- |{' ---: |' * (len(cells[0]) - 1)}", *rows[1:]]

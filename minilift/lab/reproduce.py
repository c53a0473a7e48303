r"""The papers' experiments: ``minilift reproduce EXPERIMENT --scale small | medium | paper``.

An experiment is a list of independent runs, each with one network, method and step size, trained from one seed. Each
finished run leaves one JSON file in the results folder and is not done again; an interrupted run continues from its
checkpoint. The result is a table and a figure, with the paper's numbers beside ours, and a verdict on each claim of the
paper: *holds* (for every seed), *fails* (it holds for none) or *unclear*. A run that diverges counts as a result ("-").

Runs are done one at a time, or in parallel by ``joblib`` (``--jobs``) with whatever backend it is given. With
``--cluster tcp://…`` the workers of a Dask cluster do them, provided that they see the results folder under the same
path. The workers of another kind of cluster, such as Ray's, can be used in two lines:

.. code-block:: python

    with joblib.parallel_config("ray"):
        minilift.lab.reproduce.reproduce(Plan("proxprop-table1", "paper"), "/data/table1", jobs=100)

A lost worker costs nothing but time: others continue its runs from their checkpoints.

`minilift.lab.experiments` defines what is run, and `Plan`; `minilift.lab.results` defines what is written.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

from minilift import datasets
from minilift.lab.experiments import EXPERIMENTS, Plan, autoencoder, image_classifier
from minilift.lab.machine import crowd, machine
from minilift.lab.results import BEGIN, END, read_json, section, with_section, write_results
from minilift.lab.runs import (
    Job,
    Results,
    blas_threads,
    check_address,
    cluster,
    elsewhere,
    lowest_step,
    read_data,
    record_of,
    spread,
    tune,
    varied,
)
from minilift.support.backend import get_module
from minilift.support.files import checksum, read_text, remove_stale, write_text
from minilift.support.options import check_count, naming, whole, writable_folder
from minilift.support.processes import cores
from minilift.support.terminal import about, note
from minilift.training.fit import fit
from minilift.training.history import History

# ---------------------------------------------------------------------------------------------------- runs


def load_data(plan, name):
    """Return a data set, cut to the number of training samples; an autoencoder's targets are its inputs.

    A file that has changed is read again: workers of a cluster, and notebooks, live long.
    """
    at = Path(plan.data).stat() if plan.data is not None and Path(plan.data).exists() else None
    return loaded(plan, name, at and (at.st_mtime_ns, at.st_size))


@lru_cache(maxsize=2)
def loaded(plan, name, version):
    """Return a data set as `load_data` does; `version` tells a file from what it was before."""
    samples, network = plan.setting.samples, plan.what.network
    options = {"n_train": samples} if name == "curves" else {}
    data = read_data(plan.data) if plan.data else datasets.load(name, **options)
    if network is image_classifier and data.image_shape is None:
        raise ValueError(f"--data: {plan.experiment} takes images (N, height, width, channels), {plan.data} has none")
    data = replace(data, X_train=data.X_train[:samples], y_train=data.y_train[:samples])
    return data.autoencoder() if network is autoencoder else varied(data)


def run_job(plan, folder, job, *callbacks, jobs=1):
    """Do one run, or resume it where it stopped, or read its result if it is finished; return the record.

    `jobs` is the number of runs at a time; the callbacks are passed to `fit`.
    """
    path, checkpoint = (Path(folder) / "runs" / f"{job.key}{suffix}" for suffix in (".json", ".npz"))
    if path.exists():
        checkpoint.unlink(missing_ok=True)  # left by a run that was killed after writing its record
        return read_record(path)
    what, setting, data = plan.what, plan.setting, load_data(plan, job.data)
    variant = next(v for v in what.variants(setting) if (v.label, v.step) == (job.label, job.step))
    net = what.network(setting, data, job.seed, plan.backend)
    with blas_threads(plan.threads):
        history = fit(net, data, method=variant.method(), optimizer=variant.optimizer(),
                      epochs=setting.epochs * variant.times, batch_size=setting.batch, seed=job.seed,
                      validation=what.validation, callbacks=callbacks, progress=False, resume=True,
                      checkpoint=checkpoint, checkpoint_every=1 if plan.scale == "paper" else 10)
        record = {**record_of(job, history, net, data), "machine": {**machine(), "threads": plan.threads, "jobs": jobs}}
    write_text(path, json.dumps({**record, "history": history.as_dict()}))
    checkpoint.unlink(missing_ok=True)
    return record


def read_record(path):
    """Return the record that `run_job` wrote."""
    def made(record):
        history = History.from_dict(record["history"])
        if Job(*(record[name] for name in Job._fields)).key != path.stem or not history["train_loss"]:
            raise ValueError("of another run")
        return {**record, "history": history, "machine": dict(record["machine"]), "test_loss": record["test_loss"]}

    return read_json(path, "a run of minilift reproduce", made)


def finished_jobs(plan, folder, workers, jobs, bar):
    """Return an iterator over the records of runs, in the order in which they finish.

    The bar counts each epoch of the runs that are done in this process.
    """
    if workers == 1 and not elsewhere():
        return (run_job(plan, folder, job, lambda row, net, history: bar.update(row["epoch"] > 0) and None)
                for job in jobs)
    run = partial(run_job, plan, folder.absolute(), jobs="a cluster's" if elsewhere() else workers)
    return spread(run, jobs, workers)


def reproduce(plan, folder=None, *, jobs=1, progress=True, address=None):
    """Run an experiment, or what remains of it, and write its results.

    Parameters
    ----------
    plan : Plan
    folder : path, optional
        The folder of the results, by default ``minilift-EXPERIMENT-SCALE``. Finished runs in it are not done again.
    jobs : int, default 1
        Runs at a time; −1: as many as there are cores. The workers of a cluster do as many as they can.
    progress : bool, default True
    address : str, optional
        The address of a Dask cluster whose workers do the runs, such as "tcp://10.0.0.1:8786".

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If the data file or the folder cannot be used, if the folder holds results with other settings, or if no cluster
        answers at the address.
    """
    check_jobs(jobs)
    folder = folder_of(plan, folder)
    get_module(plan.backend)
    claim_folder(plan, folder)
    try:
        with cluster(address):
            results = run_all(plan, folder, jobs, progress)
    finally:
        remove_stale(folder / "runs")  # files that workers were writing when they were stopped
    write_results(plan, results, folder)
    return results


def check_jobs(jobs):
    """Raise an error if the number of runs at a time is neither −1 nor at least 1."""
    if jobs != -1:
        check_count("jobs", jobs)


def folder_of(plan, folder):
    """Return the folder of the results."""
    return Path(folder or f"minilift-{plan.experiment}-{plan.scale}")


def claim_folder(plan, folder):
    """Write the settings into a results folder, or make sure that it has the same ones and complete results.

    The number of seeds may differ, as each run is stored under its seed. The methods with their optimizers, and the
    share held out, are written for the reader and not compared: earlier folders lack them.
    """
    mine = {"experiment": plan.experiment, "scale": plan.scale, "setting": asdict(plan.setting),
            "backend": plan.backend, "data": {name: fingerprint(load_data(plan, name)) for name in plan.setting.data}}
    mine, path = json.loads(json.dumps(mine)), folder / "settings.json"
    writable_folder(folder / "runs")
    if not path.exists():
        told = {"held out": plan.what.validation, "methods": plan.methods}
        write_text(path, json.dumps({**mine, **told}, indent=1, ensure_ascii=False))
    theirs = read_json(path, "the settings of minilift reproduce", partial(with_seeds, seeds=plan.setting.seeds))
    before, now = flat(theirs), flat(mine)
    differing = [f"{name} was {before.get(name)}, is {now[name]}" for name in now if now[name] != before.get(name)]
    if differing:
        raise ValueError(f"{folder} holds results of other settings: {', '.join(differing)}; choose another folder "
                         "with --output")
    for record in (folder / "runs").glob("*.json"):
        read_record(record)


def with_seeds(settings, seeds):
    """Return the settings of a results folder with the number of seeds replaced."""
    return {**settings, "setting": {**settings["setting"], "seeds": seeds}}


def flat(settings):
    """Return the settings of a results folder with those of the size, such as "epochs", beside the others."""
    return {**settings["setting"], **{name: value for name, value in settings.items() if name != "setting"}}


def fingerprint(data):
    """Return the sizes and the checksum of a data set."""
    return f"{data!r}, checksum {checksum(data.X_train, data.y_train, data.X_test, data.y_test):08x}"


def run_all(plan, folder, workers, progress):
    """Return the results of all runs.

    If methods are tuned, the whole grid is run with one seed, and the best step size of each with the others too.
    """
    setting, variants = plan.setting, plan.what.variants(plan.setting)
    grid = [(data, variant.label, variant.step) for data in setting.data for variant in variants]
    epochs = {variant.label: setting.epochs * variant.times for variant in variants}
    seeds, run = range(setting.seeds), partial(finished_jobs, plan, folder, workers)
    first = 1 if plan.what.tuned else setting.seeds
    search, repeated = tune(grid, (run, epochs, seeds[:first]), (run, epochs, seeds[first:]), lowest_step,
                            progress, desc=plan.experiment, smoothing=0)
    return Results(sorted(search + repeated, key=lambda r: (grid.index((r["data"], r["label"], r["step"])), r["seed"])))


# ---------------------------------------------------------------------------------------- the command line


SECONDS = {"proxprop-table1": 95, "proxprop-fig2": 15, "proxprop-fig3": 33, "locoprop-autoencoder": 450,
           "sibp-mnist": 10, "bcd-mnist": 18, "usps-autoencoder": 22}  # at the small scale
LASTS = {"medium": "an hour or several", "paper": "many hours, or days"}


def lasting(plan, jobs, address=None):
    """Return how long an experiment takes, in words; known for the small scale, on this machine and our own data."""
    if plan.scale in LASTS or plan.data is not None or address is not None:
        return LASTS.get(plan.scale, "some minutes, or more")
    small, here = plan.what.settings["small"], cores()
    work = math.prod(getattr(plan.setting, name) / getattr(small, name) for name in ("seeds", "epochs", "samples"))
    at_a_time = here if jobs == -1 else min(jobs, here)
    return about(SECONDS[plan.experiment] * work / at_a_time * crowd(at_a_time * plan.threads))


def add_arguments(parser):
    """Declare the options of `minilift reproduce`."""
    parser.epilog = ("--jobs is passed to joblib; to use another cluster, such as Ray's, as its backend, call "
                     "minilift.lab.reproduce.reproduce(…) within joblib.parallel_config(\"ray\").")
    add, count = parser.add_argument, partial(parser.add_argument, type=whole, metavar="N")
    add("experiment", metavar="EXPERIMENT", nargs="?", help=", ".join(EXPERIMENTS))
    add("--scale", default="small", metavar="{small,medium,paper}",
        help="small: embedded or generated data, minutes; medium: real data, a smaller network; paper: "
        "the full experiment, hours to days (default small)")
    count("--jobs", default=1, help="runs at a time; -1: one for each core (default 1)")
    add("--cluster", metavar="ADDRESS",
        help="address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers do the runs, as many at a time "
        "as they have threads; they must see the results folder, and the file of --data, under the same paths")
    count("--threads", default=1, help="threads of NumPy in each run (default 1)")
    for name in ("seeds", "epochs", "samples"):
        count(f"--{name}", help=f"number of {name}, instead of the scale's")
    add("--data", metavar="FILE.npz", help="X_train, y_train, X_test, y_test to use instead of the scale's data")
    add("--backend", default="numpy", metavar="{numpy,cupy}", help="array library (default numpy)")
    add("--write", metavar="FILE", type=Path,
        help="renew the results in FILE (data/results/README.md) from the files beside it, and run nothing")
    add("--output", metavar="FOLDER",
        help="folder for the results (default minilift-EXPERIMENT-SCALE); finished runs are not repeated")


@naming("--write", OSError)
def write_section(page):
    """Update the results in a page from the files beside it; return the exit code."""
    text = read_text(page)
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    write_text(page, with_section(text, section(page.parent)))
    print(f"renewed the results in {page}")
    return 0


def run(arguments):
    """Run the experiment and print its table and verdicts; return the exit code."""
    if arguments.write is not None:
        return write_section(arguments.write)
    if arguments.experiment is None:
        raise ValueError(f"which EXPERIMENT? One of {', '.join(EXPERIMENTS)}")
    check_address(arguments.cluster)
    if arguments.cluster is not None and arguments.jobs != 1:
        raise ValueError("--jobs is for this machine; the workers of --cluster do as many runs as they have threads")
    plan = Plan(**{name: getattr(arguments, name) for name in Plan.__dataclass_fields__})
    folder = folder_of(plan, arguments.output)
    check_jobs(arguments.jobs)
    lasts = lasting(plan, arguments.jobs, arguments.cluster)
    note(f"{plan.experiment}, {plan.scale}: {lasts}; finished runs, kept in {folder}, are not done again")
    results = reproduce(plan, arguments.output, jobs=arguments.jobs, address=arguments.cluster)
    print((folder / "results.txt").read_text(encoding="utf-8"))
    print(f"written: {folder}: results.txt, results.csv, results.json, {', '.join(f'{d}.png' for d in results.data)}")
    return 0

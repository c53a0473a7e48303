r"""The papers' experiments: ``minilift reproduce EXPERIMENT --scale small | medium | paper``.

An experiment is a list of independent runs: one network, method and step size, trained from one seed. Each finished
run leaves one JSON file in the results folder and is not done again; one that was interrupted continues from its
checkpoint. At the end stand a table and a figure with the paper's numbers beside ours, and for each claim of the paper
a verdict: *holds* (for every seed), *fails* (for none) or *unclear*. A run that diverges is a result ("-").

Runs go to ``joblib``, one at a time or in parallel (``--jobs``). Whatever backend joblib has been given serves, so that
a cluster takes two lines, provided its machines see the results folder:

.. code-block:: python

    with joblib.parallel_config("dask"):  # after client = dask.distributed.Client(…); likewise "ray"
        minilift.lab.reproduce.reproduce("proxprop-table1", scale="paper", folder="/shared/table1", jobs=100)

What is run stands in `minilift.lab.experiments`, what is written in `minilift.lab.results`.
"""

from __future__ import annotations

import json
import sys
import zlib
from contextlib import closing
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from minilift import datasets
from minilift.lab.bench import machine
from minilift.lab.experiments import EXPERIMENTS, SCALES, Job, Results, Setting, autoencoder, final_loss, text
from minilift.lab.results import BEGIN, END, section, with_section, write_results
from minilift.support.arguments import known_name, whole_number
from minilift.support.backend import BACKENDS
from minilift.support.files import read_npz, sweep, write_text
from minilift.support.signals import children_spared
from minilift.training.fit import evaluate, fit
from minilift.training.history import History

# ---------------------------------------------------------------------------------------------------- runs


@lru_cache(maxsize=2)
def load_data(experiment, name, samples, path):
    """Return a data set, cut to a number of training samples; an autoencoder's targets are its inputs."""
    data = read_data(path) if path else datasets.load(name, **({"n_train": samples} if name == "curves" else {}))
    data = replace(data, X_train=data.X_train[:samples], y_train=data.y_train[:samples])
    return data.autoencoder() if EXPERIMENTS[experiment].network is autoencoder else data


def read_data(path):
    """Return the data set of an `.npz` file with X_train, y_train, X_test, y_test, or raise an error.

    Images are (N, height, width, channels) or flat, uint8 or numbers in [0, 1]; labels are whole numbers from 0.
    """
    arrays = read_npz(path)
    for name in ("X_train", "y_train", "X_test", "y_test"):
        if name not in arrays:
            raise ValueError(f"--data: {path} has no {name}; it holds {', '.join(sorted(arrays)) or 'nothing'}")
    shape = arrays["X_train"].shape[1:]
    parts = []
    for part in ("train", "test"):
        X = arrays[f"X_{part}"]
        white = 255 if X.dtype == np.uint8 else 1
        parts += [X.reshape(len(X), -1).astype(np.float32) / np.float32(white), arrays[f"y_{part}"].astype(np.int64)]
    return datasets.Dataset(Path(path).stem, *parts, image_shape=shape if len(shape) == 3 else None,
                            n_classes=int(arrays["y_train"].max()) + 1, source=str(path))


def run_job(options, job, callback=None):
    """Do one run, or take it up where it stopped, or read its result if it is finished; return the record."""
    path = Path(options["folder"]) / "runs" / f"{job.key}.json"
    if path.exists():
        path.with_suffix(".npz").unlink(missing_ok=True)  # of a run that was killed between the record and this
        return read_record(path)
    from threadpoolctl import threadpool_limits

    experiment, setting = EXPERIMENTS[options["experiment"]], Setting(**options["setting"])
    data = load_data(options["experiment"], job.data, setting.samples, options["data"])
    variant = next(v for v in experiment.variants(setting) if (v.label, v.step) == (job.label, job.step))
    epochs = setting.epochs * variant.times
    net = experiment.network(setting, data, job.seed, options["backend"])
    checkpoint = path.with_suffix(".npz")
    with threadpool_limits(options["threads"], user_api="blas"):
        history = fit(net, data, method=variant.method(), optimizer=variant.optimizer(), epochs=epochs,
                      batch_size=setting.batch, seed=job.seed, validation=experiment.validation or None,
                      progress=False, checkpoint=checkpoint, checkpoint_every=options["checkpoint every"],
                      resume=True, callbacks=[callback] if callback else [])
        test_loss, test_accuracy = (None, None) if history.diverged else evaluate(net, data.X_test, data.y_test)
    record = {**job._asdict(), "test_loss": test_loss, "test_accuracy": test_accuracy, "history": history.as_dict(),
              "machine": {**machine(), "threads": options["threads"]}}
    write_text(path, json.dumps(record))
    checkpoint.unlink(missing_ok=True)
    return {**record, "history": history}


def read_record(path):
    """Return the record that `run_job` wrote."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return {**record, "history": History.from_dict(record["history"])}


def do_jobs(options, jobs, workers, bar, epochs):
    """Do runs, one at a time or in parallel, and return their records; the bar counts epochs, so many a label."""
    records, done = [], bar.n
    with closing(finished_jobs(options, jobs, workers, bar)) as finished:  # ends the workers, if we are ended
        for record in finished:
            records.append(record)
            done += epochs[record["label"]]
            bar.update(done - bar.n)  # a diverged run is shorter
            bar.set_postfix_str(f"{record['label']} {record['step']:.3g}: {text(final_loss(record))}")
    return records


def finished_jobs(options, jobs, workers, bar):
    """Yield the records of runs as they are finished; of runs in this process the bar counts each epoch."""
    if workers == 1:
        return (run_job(options, job, lambda row, net, history: bar.update(row["epoch"] > 0) and None) for job in jobs)
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise RuntimeError("--jobs needs joblib; install minilift[reproduce]") from error
    with children_spared():
        return Parallel(workers, return_as="generator_unordered")(delayed(run_job)(options, job) for job in jobs)


def reproduce(experiment, scale="small", folder=None, *, jobs=1, threads=1, seeds=None, epochs=None, samples=None,
              data=None, backend="numpy", progress=True):
    """Run an experiment, or what is left of it, and write its results.

    Parameters
    ----------
    experiment : str
        One of `EXPERIMENTS`.
    scale : {"small", "medium", "paper"}, default "small"
    folder : path, optional
        Of the results, by default ``minilift-EXPERIMENT-SCALE``. What is finished in it is not done again.
    jobs : int, default 1
        Runs at a time, as joblib counts (−1: as many as there are cores).
    threads : int, default 1
        Threads of NumPy's BLAS in each run: several runs use several cores better than several threads do.
    seeds, epochs, samples : int, optional
        Instead of the scale's.
    data : path, optional
        An `.npz` file with X_train, y_train, X_test, y_test, to be used instead of the scale's data.
    backend : {"numpy", "cupy"}, default "numpy"
    progress : bool, default True

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If a name is unknown, or the folder holds results of other settings.
    """
    plan = EXPERIMENTS[known_name("experiment", experiment, tuple(EXPERIMENTS))]
    setting = plan.settings[known_name("--scale", scale, SCALES)]
    for name, value in (("seeds", seeds), ("epochs", epochs), ("samples", samples)):
        if value is not None:
            setting = replace(setting, **{name: whole_number(f"--{name}", value)})
    if data is not None:
        setting = replace(setting, data=(Path(data).stem,))
    folder = Path(folder or f"minilift-{experiment}-{scale}")
    options = {"experiment": experiment, "scale": scale, "setting": asdict(setting), "folder": str(folder),
               "data": None if data is None else str(Path(data).resolve()),
               "backend": known_name("--backend", backend, BACKENDS),
               "threads": whole_number("--threads", threads), "checkpoint every": 1 if scale == "paper" else 10}
    claim_folder(folder, options)
    try:
        results = Results(plan, setting, run_all(plan, setting, options, jobs, progress))
    finally:
        sweep(folder / "runs")  # what workers had begun to write when they were ended
    write_results(results, options, folder)
    return results


def claim_folder(folder, options):
    """Write down the settings of a results folder, or make sure that it has the same ones."""
    mine = {name: options[name] for name in ("experiment", "scale", "setting", "backend")}
    mine["data"] = {name: fingerprint(options, name) for name in options["setting"]["data"]}
    mine, path = json.loads(json.dumps(mine)), folder / "settings.json"
    if not path.exists():
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(mine, indent=1))
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in mine if mine[name] != theirs.get(name)]
    if differing:
        raise ValueError(f"{folder} holds results of other settings ({', '.join(differing)} differ from its "
                         "settings.json); choose another folder with --output")


def fingerprint(options, name):
    """Return sizes and checksum of a data set."""
    data = load_data(options["experiment"], name, options["setting"]["samples"], options["data"])
    return f"{data!r}, checksum {zlib.crc32(np.ascontiguousarray(data.X_train)):08x}"


def run_all(plan, setting, options, workers, progress):
    """Return the records of all runs; where methods are tuned, of the grid with one seed and the best with all."""
    from tqdm.auto import tqdm

    variants, seeds = plan.variants(setting), range(setting.seeds)
    first = [Job(data, v.label, v.step, seed) for data in setting.data for v in variants
             for seed in (seeds[:1] if plan.tuned else seeds)]
    epochs = {variant.label: setting.epochs * variant.times for variant in variants}
    later = len(setting.data) * (len(seeds) - 1) * sum(epochs.values()) if plan.tuned else 0
    with tqdm(total=sum(epochs[job.label] for job in first) + later, desc=options["experiment"], unit="epoch",
              smoothing=0, disable=not progress) as bar:
        records = do_jobs(options, first, workers, bar, epochs)
        if plan.tuned:
            tuned = Results(plan, setting, records)
            rest = [Job(data, label, tuned.best_step(data, label), seed)
                    for data in tuned.data for label in tuned.labels for seed in seeds[1:]]
            records += do_jobs(options, rest, workers, bar, epochs)
    order = {(variant.label, variant.step): k for k, variant in enumerate(variants)}
    return sorted(records, key=lambda r: (setting.data.index(r["data"]), order[r["label"], r["step"]], r["seed"]))


# ---------------------------------------------------------------------------------------- the command line


def add_arguments(parser):
    """Declare the options of `minilift reproduce`."""
    parser.epilog = ("--jobs goes to joblib; a Dask or Ray cluster serves as its backend when "
                     "minilift.lab.reproduce.reproduce(…) is called within joblib.parallel_config(\"dask\") "
                     "or (\"ray\").")
    parser.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help=", ".join(EXPERIMENTS))
    parser.add_argument("--scale", default="small", metavar="{small,medium,paper}",
                        help="small: embedded or generated data, minutes; medium: real data, a smaller network; paper: "
                             "the full experiment, hours to days (default small)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="runs at a time; -1: one for each core (default 1)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of NumPy in each run (default 1)")
    for name in ("seeds", "epochs", "samples"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="instead of the scale's")
    parser.add_argument("--data", metavar="FILE.npz",
                        help="X_train, y_train, X_test, y_test to use instead of the scale's data")
    parser.add_argument("--backend", default="numpy", metavar="{numpy,cupy}", help="array library (default numpy)")
    parser.add_argument("--write", metavar="FILE", type=Path,
                        help="renew the results in FILE (README.md) from data/results, and run nothing")
    parser.add_argument("--output", metavar="FOLDER",
                        help="of the results (default minilift-EXPERIMENT-SCALE); finished runs are not done again")


def write_section(readme):
    """Renew the results in a README from data/results beside it; return the exit code."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"--write: {readme} has no lines {BEGIN} and {END}")
    write_text(readme, with_section(text, section(readme.parent / "data" / "results")))
    print(f"renewed the results in {readme}")
    return 0


def run(arguments):
    """Run the experiment and print its table and verdicts; return the exit code."""
    if arguments.write is not None:
        return write_section(arguments.write)
    if arguments.experiment is None:
        raise ValueError(f"which EXPERIMENT? One of {', '.join(EXPERIMENTS)}")
    results = reproduce(arguments.experiment, arguments.scale, arguments.output, jobs=arguments.jobs,
                        threads=arguments.threads, seeds=arguments.seeds, epochs=arguments.epochs,
                        samples=arguments.samples, data=arguments.data, backend=arguments.backend,
                        progress=sys.stderr.isatty())
    folder = Path(arguments.output or f"minilift-{arguments.experiment}-{arguments.scale}")
    print((folder / "results.txt").read_text(encoding="utf-8"))
    print(f"written: {folder}: results.txt, results.csv, results.json, {', '.join(f'{d}.png' for d in results.data)}")
    return 0

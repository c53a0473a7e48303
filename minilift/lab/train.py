"""`minilift train`: one network, one method, one step size; if started by mpiexec, the processes share each batch.

What can be trained, and what a step size means, is the same as for `minilift compare`.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from minilift.datasets import mean_and_deviation
from minilift.lab.compare import add_task, make_task, parse_method, seconds_needed, taken_as_they_are
from minilift.network import Network
from minilift.support.arguments import whole_number
from minilift.support.options import check_counts, decimal, naming, writable
from minilift.support.parallel import Team, started
from minilift.support.terminal import about, note, watched
from minilift.training.fit import check_paths, evaluate, fit
from minilift.training.ranks import Ranks

EXAMPLES = """examples:
  minilift train --method proxprop --step 10 --checkpoint run.npz
  minilift train --method proxprop --step 10 --checkpoint run.npz --resume --epochs 40
  mpiexec -n 4 minilift train --data mnist --layers 784,500,500,10 --method cg3 --step 1 --batch 1000

A run that diverged ends with status 1. With mpiexec (which the extra mpi brings) all processes must find the data set.
Each takes its rows of every batch; the result is that of one process but for rounding."""


def add_arguments(parser):
    """Declare the options of `minilift train`."""
    parser.set_defaults(backend="numpy")
    add, count = add_task(parser, EXAMPLES, "all", " in each process (default 1)")
    add("--method", default="proxprop", metavar="METHOD",
        help="a method of 'minilift compare', with any arguments after a colon, or FILE.py:NAME (default proxprop)")
    add("--step", type=decimal, default=1.0, metavar="X",
        help="the optimizer's learning rate or, for methods that propose new parameters, the argument that is their "
        "step size: gamma for LocoProp, eta for Semi-Implicit BP, tau for lpom and lifted-bregman, 1/alpha for bcd and "
        "admm, 1/mu for mac, 1/rho for dladmm, 1/anchor for fenchel (default 1)")
    count("--epochs", default=20, help="number of epochs (default 20)")
    add("--checkpoint", type=Path, metavar="FILE", help="write a checkpoint (.npz) after every epoch")
    add("--resume", action="store_true",
        help="continue the run of --checkpoint, on any number of processes; begin it if there is none")
    add("--output", type=Path, metavar="FILE", help="file for the trained network (.npz), for minilift.load")


def run(arguments):
    """Train the network and print the result; return the exit code."""
    team = Team.mpi(brief=True) if started() > 1 else Team.alone()
    with team.guard():
        return train(arguments, team)


def train(arguments, team):
    """Train on a team of ranks, the first of which prints; return the exit code."""
    from threadpoolctl import threadpool_limits

    check_counts(vars(arguments), "epochs", "batch", "threads", "samples")
    whole_number("--seed", arguments.seed, least=0)
    if arguments.resume and arguments.checkpoint is None:
        raise ValueError("--resume needs --checkpoint, the file to continue from")
    if None not in (arguments.checkpoint, arguments.output) and (
            arguments.checkpoint.resolve() == arguments.output.resolve()):
        raise ValueError(f"--output: expected another file than --checkpoint, got {arguments.output} for both")
    for option in ("checkpoint", "output"):
        path = getattr(arguments, option)
        if path is not None and arguments.data.endswith(".npz") and path.resolve() == Path(arguments.data).resolve():
            raise ValueError(f"--{option}: expected another file than --data, got {path} for both")
    with naming("--checkpoint", OSError):
        check_paths(arguments.checkpoint, None)
    contender, task = parse_method(arguments.method, "--method"), make_task(arguments)
    method, optimizer = contender.make(arguments.step, task.optimizer)
    net, leads = task.network(arguments.seed), team.rank == 0
    batch = None if method.whole_batch else arguments.batch
    if leads and arguments.output is not None:
        writable(arguments.output)
    if leads:
        print(*[task.describe(), *task.remarks()], sep="\n")
        print(f"{contender.label}, step size {arguments.step:g}, {team.size} "
              f"{'process' if team.size == 1 else 'processes'}", *taken_as_they_are(task, [contender]), sep="\n",
              flush=True)
    if leads and team.size > 1:
        samples = len(task.data.X_train)
        print(*Ranks(team, method).describe(net, min(batch or samples, samples)), sep="\n", flush=True)
    with threadpool_limits(arguments.threads, user_api="blas"):
        if leads and not arguments.quiet:
            note(f"{about(seconds_needed(task, contender, task.epochs, team.size))} at most")
        bar, told = watched() and not arguments.quiet, []
        written = [] if watched() or arguments.quiet else [partial(lines, epochs=arguments.epochs)]
        try:
            history = fit(net, task.data, method, optimizer, epochs=arguments.epochs, batch_size=batch,
                          seed=arguments.seed, checkpoint=arguments.checkpoint, resume=arguments.resume or None,
                          team=team, progress=bar, callbacks=[*written, lambda row, *_: told.append(row)])
        except KeyboardInterrupt:
            if leads and arguments.checkpoint is not None and arguments.checkpoint.exists():
                note(f"{arguments.checkpoint} holds the last whole epoch: the same line with --resume goes on from it")
            raise
    if leads and not told:  # resumed, and not an epoch more
        epochs = len(history) - 1
        print(f"nothing was left to do: {arguments.checkpoint} holds {epochs} epoch{'s' * (epochs != 1)}, --epochs is "
              f"{arguments.epochs}")
    if leads:
        report(net, task, history, arguments.output)
    return int(history.diverged is not None)


def lines(row, net, history, epochs):
    """Write about ten lines per run on standard error, if there is no terminal for a bar."""
    if row["epoch"] % math.ceil(max(epochs, 1) / 10) == 0:
        note(f"epoch {row['epoch']} of {epochs}: training loss {row['train_loss']:.4g}")


def of_given(net, given):
    """Return a network trained on standardized data as one that takes and returns numbers in the original units.

    Its first map is ((x − m)/s) W + b = x (W/s) + (b − (m/s) W); the output of the last map is scaled and shifted back.
    It computes in float64, because m may be large compared with s.
    """
    theta = [None if one is None else one.astype(np.float64) for one in net.theta]
    (mean, deviation), first, last = mean_and_deviation(given.X_train), net.maps[0], net.maps[-1]
    theta[first][:-1] /= deviation[:, None]
    theta[first][-1] -= mean @ theta[first][:-1]
    if not given.n_classes:
        mean, deviation = mean_and_deviation(given.y_train)
        theta[last] *= deviation
        theta[last][-1] += mean
    own = Network(net.layers, net.loss_function, dtype=np.float64)
    own.theta = theta
    return own


def report(net: Network, task, history, output):
    """Print the outcome of a run, and write the network if that is wanted."""
    written = None
    try:
        if output is not None:  # first, as nobody may read what is printed
            written = f"network{'' if history.diverged is None else ', as it diverged'}: {output}"
            (net if task.given is None else of_given(net, task.given)).save(output)
    except ValueError as error:  # NaN after divergence
        written = f"no network is written: {error}"
    finally:  # on a full disk, too
        print(history)
        if history.diverged is None:
            loss, accuracy = evaluate(net, task.data.X_test, task.data.y_test)
            print(f"test loss {loss:.4g}" if accuracy is None else f"test accuracy {accuracy:.4g}")
    if written is not None:
        print(written)

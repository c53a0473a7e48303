r"""`minilift bench ranks`: the cost of a training step on several ranks, counted, predicted and measured.

Each of p ranks holds n = N/p rows of a batch. For each method `work_of` counts what one rank does in a step, from the
mathematics: flops of products on its own rows, flops and inverses that all ranks repeat, bytes that are only moved, and
data that are exchanged. For a map with r inputs (including the bias) and m outputs the dominant terms are

==========================  =================  =====================================  =======================
step                        on n rows          repeated on every rank                 exchanged, in numbers
==========================  =================  =====================================  =======================
BackProp                    6 n r m                                                   sum of r m
exact, parameter side       n r², 2 r² m / p   r³                                     sum of r²/2 (float64), r m
exact, sample side          n N (r + 2 s)      N³                                     rows: N (r + m), N²/2
CG, k steps, Gram matrix    n r² or n N r      2 k r² m or 2 k N² m                   as an exact step
CG, k steps, without it     4 k n r m                                                 k sums of r m, and 2 k of m
==========================  =================  =====================================  =======================

where all rows but the first count work in addition to BackProp's, and s is the smaller of r and m.

The last method is not one of minilift, which forms the Gram matrix. It is the textbook's CG, with its unknowns split
among the ranks by rows, as the samples are. Its inner products are therefore sums of m numbers each, 2 k for each map;
each costs the latency of a message, and no two of them can be sent together.

Time is flops divided by rates, plus the α-β model of an exchange: a sum of b bytes takes the smaller of
:math:`\log_2 p\,(\alpha + \beta b)` and :math:`2\log_2 p\,\alpha + 2\frac{p-1}{p}\beta b`; gathering rows of b bytes in
total takes :math:`\log_2 p\,\alpha + \frac{p-1}{p}\beta b`. α, β and the rates are measured, with all ranks at work,
before and after each step, and its prediction uses the mean of both, because a machine with other users changes within
seconds. The error is the median over the steps. The cost of Python's calls is measured in a step of a network with
equally many, but tiny, maps; it is the same for any number of ranks, times the number that share a core. What else the
model leaves out (vectors, products at other rates) enters as a factor on all computation, fitted to the steps on one
rank. Hence the numbers for one rank are not predictions, but those for more are. Steps are measured with a τ_θ for
which rounding spoils no solution on either side: if it did, a map would be solved again along principal axes
(`careful_solve`), which is not counted.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilift.lab.contenders import OURS, PROBLEMS, Problem, outer
from minilift.lab.runs import grouped, select
from minilift.lab.tables import aligned, ends, number
from minilift.methods import LocoProp
from minilift.optim import SGD
from minilift.support.backend import spd_inverse
from minilift.support.parallel import Team
from minilift.support.processes import THREAD_VARIABLES, cores, own_process
from minilift.support.terminal import exit_code_of, how_to_install
from minilift.training.ranks import Ranks, SharedMap, bounds, even_bounds, folded_size

MEASURED_RANKS = (1, 2, 3, 4)
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
MANY = (1, 2, 8, 64, 512, 4096)  # those shown in a table
WIDTHS, BATCHES = (250, 500, 1000, 2000, 4000), (250, 1000, 4000, 16000)  # for which the model is evaluated
DEAR = 2.0  # an exact step that takes more than this multiple of BackProp's is said not to pay
TOLERANCE = 0.25  # target for the relative error of a prediction
RATIO = 1.15  # target for time on as many ranks as cores ÷ time of one process with as many threads
TAU_THETA = 0.01  # of the steps measured; with 1 and fewer samples than inputs the parameter side needs principal axes
FOUND = ("seconds", "given", "constants", "calls")  # results of each method in a job
TINY = 4  # samples, and largest width, of a network whose step spends its time on nothing but calls
LARGE = 3000  # rows above which an inverse's flops per second hardly change
PAIRS = 7  # turns of the jobs that are compared with each other
TURN = 0.1  # seconds that one measurement of a step takes at least
FEWEST, MOST, LONG = 3, 7, 6.0  # measurements of a step in each job, at least and at most, and seconds they should fill
LATENCY, VOLUME = 8, 8_000_000  # bytes of the sums by which α and β are measured
PASSES = {"outer": 5, "gram": 8, "cg": 10, "rows": 8}  # arrays read or written in a step of the optimizer, in forming a
# Gram matrix, in an iteration of CG on its unknowns, and for the activations and signals of a map


class Work(NamedTuple):
    """The work of one rank in a step.

    Attributes
    ----------
    own, repeated : float
        Flops of products on its rows, and of those that all ranks repeat.
    inverse : float
        n³ of the inverses, in float64.
    moved : float
        Bytes that are read or written with hardly any computation.
    sums, gathers : tuple of float
        Bytes of each array that is summed, and of the rows of all ranks that are gathered.
    """

    own: float = 0.0
    repeated: float = 0.0
    inverse: float = 0.0
    moved: float = 0.0
    sums: tuple = ()
    gathers: tuple = ()

    def plus(self, other):
        """Return the sum of this work and another."""
        return Work(*(one + two for one, two in zip(self, other)))

    def given(self, p):
        """Return the bytes that a rank contributes to sums and to gathers (its own rows)."""
        return sum(self.sums), sum(self.gathers) / p

    def sent(self, p):
        """Return the bytes that a rank sends with the algorithms that send the least."""
        return (p - 1) / p * (2 * sum(self.sums) + sum(self.gathers))


class Shape(NamedTuple):
    """A map with r inputs, including the bias, and m outputs, on n of N rows; it may be the `first` or the `last`."""

    r: int
    m: int
    n: float
    N: int
    first: bool
    last: bool


class Constants(NamedTuple):
    """The rates of a rank and the times of an exchange, with all ranks at work.

    Attributes
    ----------
    product, inverse : float
        Flops a second of a product in float32; n³ a second of an inverse in float64.
    memory : float
        Bytes a second.
    alpha, beta : float
        Seconds per message, and per byte; 0 on one rank.
    """

    product: float
    inverse: float
    memory: float
    alpha: float
    beta: float


# ---------------------------------------------------------------------------------------------- the counts


ITEM = 4  # bytes of a float32


def gradient(shape):
    """Return BackProp's work in a map: three products (two in the first map), a sum of ãᵀg, the optimizer's step."""
    r, m, n, _, first, _ = shape
    return Work(own=(4 if first else 6) * n * r * m,
                moved=ITEM * (PASSES["outer"] * r * m + PASSES["rows"] * n * m), sums=(ITEM * r * m,))


def exact(shape, side=None):
    """Return the work of an exact implicit step in addition to BackProp's."""
    r, m, n, N, *_ = shape
    s = smaller(shape, side)
    probed = (32,) * (s == "parameter")  # bytes of norms of samples and of the signal, for the estimate of rounding
    solved = (Work(inverse=r**3, own=2 * r**2 * m * n / N, gathers=(ITEM * r * m,)) if s == "parameter" else
              Work(inverse=N**3, own=2 * n * N * min(r - 1, m)))
    return gram(shape, s).plus(solved).plus(Work(sums=probed))


def cg(steps, shape, side=None):
    """Return the work of k steps of conjugate gradients on the Gram matrix, in addition to BackProp's."""
    norms = (ITEM * shape.m,) * (smaller(shape, side) == "parameter")  # of the signal: a unit stops at its rounding
    return on_gram(steps, shape, side).plus(Work(sums=norms))


def on_gram(steps, shape, side=None):
    """Return the work of forming the Gram matrix, and of `steps` products with it."""
    s = smaller(shape, side)
    size = shape.r if s == "parameter" else shape.N
    return gram(shape, s).plus(Work(repeated=2 * steps * size**2 * shape.m,
                                    moved=steps * PASSES["cg"] * ITEM * size * shape.m))


def gram(shape, side):
    """Return the work of forming a Gram matrix: C by a sum, or K in parts, one for each rank, from gathered rows."""
    r, m, n, N, *_ = shape
    if side == "parameter":
        return Work(own=n * r**2, moved=8 * PASSES["gram"] * r**2, sums=(8 * folded_size(bounds(r)),))
    block = ITEM * folded_size(even_bounds(N, round(N / n)))
    return Work(own=n * N * r, moved=8 * PASSES["gram"] * N**2, gathers=(ITEM * N * (r - 1), block, ITEM * N * m))


def smaller(shape, side=None):
    """Return the given side, by default the one on which fewer bytes are received, as minilift chooses."""
    if side is not None:
        return side
    phi = SharedMap(OneMap((shape.r, shape.m)), None, 1, shape.r - 1)
    sides = phi.bytes_of_sides(shape.N, ITEM)
    return min(sides, key=sides.get)


class OneMap(NamedTuple):
    """A map of which nothing but the shape of θ is known."""

    theta_shape: tuple


def textbook_cg(steps, shape):
    """Return the extra work of k steps of CG with the unknowns split by rows, and without a Gram matrix."""
    r, m, n, *_ = shape
    return Work(own=4 * steps * n * r * m, moved=steps * PASSES["cg"] * ITEM * n * m,
                sums=(ITEM * r * m,) * steps + (ITEM * m,) * (2 * steps))


def plain_steps(steps, shape):
    """Return the extra work of plain local steps of LocoProp-S: all but one are products with K or C."""
    return on_gram(steps - 1, shape)


def hidden(work, shape):
    """Return the work of a method whose last map takes an explicit step."""
    return Work() if shape.last else work(shape)


CG, LOCAL = 3, 10  # steps
COUNTS = {  # by method: the work beyond BackProp's in a map
    "BackProp": lambda shape: Work(),
    "exact, parameter side": partial(hidden, partial(exact, side="parameter")),
    "exact, sample side": partial(hidden, partial(exact, side="sample")),
    f"cg{CG}, parameter side": partial(hidden, partial(cg, CG, side="parameter")),
    f"cg{CG}, sample side": partial(hidden, partial(cg, CG, side="sample")),
    "FOOF": exact,
    "LocoProp-S, plain steps": partial(plain_steps, LOCAL),
    f"cg{CG}, textbook": partial(hidden, partial(textbook_cg, CG)),
}
MODEL_ONLY = (f"cg{CG}, textbook",)
SIDED = ("parameter side", "sample side")


def work_of(method, widths, batch, p):
    """Return the `Work` of one of p ranks in a step of a method on a chain of maps.

    If there are more ranks than samples, it is a rank that has a row.
    """
    total = Work(sums=(8,))  # the loss
    last = len(widths) - 2
    for l, (n_in, n_out) in enumerate(pairwise(widths)):
        shape = Shape(n_in + 1, n_out, max(1.0, batch / p), batch, l == 0, l == last)
        total = total.plus(gradient(shape)).plus(COUNTS[method](shape))
    return total


def parts(work, p, constants):
    """Return {part: seconds} of some work by the model."""
    hops = math.log2(p)
    latency = volume = 0.0
    for size in work.sums:
        ways = ((hops, hops * size), (2 * hops, 2 * (p - 1) / p * size))  # the whole array at each hop, or in pieces
        messages, sent = min(ways, key=lambda way: way[0] * constants.alpha + way[1] * constants.beta)
        latency, volume = latency + messages * constants.alpha, volume + sent * constants.beta
    for size in work.gathers:
        latency, volume = latency + hops * constants.alpha, volume + (p - 1) / p * size * constants.beta
    return {"own rows": work.own / constants.product,
            "repeated": work.repeated / constants.product + work.inverse / constants.inverse
            + work.moved / constants.memory, "volume (β)": volume, "latency (α)": latency}


# ----------------------------------------------------------------------------------------- the measurement


def needs():
    """Raise an error that says what to install, if mpi4py or its launcher is missing."""
    missing = [what for what, there in (("mpi4py", find_spec("mpi4py")), ("mpiexec", launcher())) if not there]
    if missing:
        raise RuntimeError(f"bench ranks: {' and '.join(missing)} cannot be found; install with: "
                           f"{how_to_install('mpi')}")


def launcher():
    """Return the path of mpiexec, preferably that of this Python's environment, or None."""
    return shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def on_ranks(p, threads, order):
    """Run `measured` on p ranks started by mpiexec, and return the results of rank 0."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)),
                   "OMPI_MCA_rmaps_base_oversubscribe": "true",  # Open MPI: more ranks than cores
                   "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    words = [launcher(), "-n", str(p), *own_process("minilift.lab.ranks", json.dumps(order))]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"bench ranks: {p} ranks ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def measured(order):
    """Measure constants and steps on the ranks that mpiexec started; rank 0 prints; return the exit code."""
    team = Team.mpi(brief=True)
    with team.guard():
        problem = Problem("", tuple(order["widths"]), order["activation"], order["batch"], order["autoencoder"])
        found = {method: steps_of(team, problem, method, order["constants"]) for method in order["methods"]}
        found = {what: {method: one[what] for method, one in found.items()} for what in FOUND}
        if team.rank == 0:
            print(json.dumps(found))
    return 0


def steps_of(team, problem, name, constants):
    """Return the results of a method named in `FOUND`.

    These are the seconds of a step in each turn; the mean number of bytes that a rank gave to sums and gathers in a
    step; the constants measured around each turn, if wanted; and the seconds of calls.
    """
    tiny = step_on(team, problem._replace(widths=tuple(min(TINY, width) for width in problem.widths), batch=TINY), name)
    step = step_on(team, problem, name)
    measure = constants_of(team, problem, inverse_size(problem, name)) if constants else lambda: None
    measure()  # before the first step: after it, the next step must allocate memory anew and takes half as long again
    step()  # arrays that are kept are created now
    before = {verb: given for verb, (given, _) in team.sent.items()}
    start = time.perf_counter()
    step()
    took = time.perf_counter() - start
    given = [team.sum(float(team.sent[verb][0] - before[verb])) / team.size for verb in ("sum", "gather")]
    took = team.sum(took) / team.size
    repeats, turns = repeats_in(TURN, took), min(MOST, max(FEWEST, round(LONG / took)))
    beside, seconds = [measure()], []
    for _ in range(turns):
        seconds.append(mean_seconds(team, step, repeats))
        beside.append(measure())
    means = [mean(two)._asdict() for two in pairwise(beside)] if constants else None
    calls = mean_seconds(team, tiny, repeats_in(TURN, mean_seconds(team, tiny, 3)))
    return {"seconds": seconds, "given": given, "constants": means, "calls": [calls]}


def mean(constants):
    """Return `Constants` that are the means of several."""
    return Constants(*(float(np.mean(values)) for values in zip(*constants)))


def middle(constants):
    """Return `Constants` that are the medians of several."""
    return Constants(*(float(np.median(values)) for values in zip(*constants)))


def step_on(team, problem, name):
    """Return a whole training step of a method on this rank's rows, as `fit` performs it."""
    net, method = problem.network("numpy"), method_of(name)
    optimizer = SGD(1.0) if isinstance(method, LocoProp) else outer(problem)
    X, y = net.checked_batch(*problem.samples())
    ranks = Ranks(team, method)
    X, y = ranks.part(X), ranks.part(y)
    shared, method = ranks.shared(net)
    side = name.rpartition(", ")[2].partition(" ")[0]
    for phi in shared.phi:
        if isinstance(phi, SharedMap) and name.endswith(SIDED):
            phi.gram = on_side(phi.gram, side)

    def step():
        state = shared.propagate(X, training=True)
        shared.loss_function.value(state.z[shared.depth], y)
        optimizer.step(net.parameters, method.directions(shared, state, y))

    return step


def on_side(gram, chosen):
    """Return a map's `gram` that always uses one side, whichever side is requested."""
    return lambda a, side=None, bias=True: gram(a, chosen, bias)


def method_of(name):
    """Return the method that is measured under a name in `COUNTS`."""
    kind = name.partition(",")[0]
    if kind == "LocoProp-S":
        return LocoProp("S", gamma=1.0, steps=LOCAL, local_lr=1e-8, local_optimizer="sgd")
    if kind in OURS:
        return OURS[kind].method(**OURS[kind].timed)
    return OURS[f"ProxProp {kind}"].method(tau_theta=TAU_THETA)


def mean_seconds(team, step, repeats):
    """Return the mean time of a step over several in a row, equally many on all ranks, on the slowest rank.

    If three ranks have two cores, two of them share one, and the third waits for them.
    """
    team.sum(0.0)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    took = (time.perf_counter() - start) / repeats
    return float(team.gather(np.array([took])).max())


def repeats_in(seconds, once):
    """Return how often something that takes `once` seconds must be repeated to fill `seconds`."""
    return max(1, round(seconds / once))


def inverse_size(problem, name):
    """Return the number of rows of the inverses in a method's step, but no more than `LARGE` on the parameter side."""
    n_in = max(problem.widths[:-1])
    return min(n_in + 1, LARGE if name == "exact, parameter side" else problem.batch)


def constants_of(team, problem, size):
    """Return a function that measures the `Constants` with all ranks at work, and inverses of `size` rows."""
    rng, n = np.random.default_rng(0), max(1, problem.batch // team.size)
    n_in, n_out = max(pairwise(problem.widths), key=lambda shape: shape[0] * shape[1])
    a, theta = rng.random((n, n_in), dtype=np.float32), rng.random((n_in, n_out), dtype=np.float32)
    z, matrix = np.empty((n, n_out), np.float32), np.eye(size) + 1.0
    large, other = rng.random((2, 4_000_000), dtype=np.float32)
    small, many = np.zeros(LATENCY // ITEM, np.float32), np.zeros(VOLUME // ITEM, np.float32)
    acts = [lambda: np.matmul(a, theta, out=z), lambda: spd_inverse(matrix), lambda: np.add(large, other, out=other)]
    acts += [lambda: team.sum(small), lambda: team.sum(many)] * (team.size > 1)
    repeats = [repeats_in(TURN / 2, mean_seconds(team, act, 2)) for act in acts]
    hops, share = math.log2(team.size), 2 * (team.size - 1) / team.size

    def measure():
        product, inverse, memory, *exchanges = (mean_seconds(team, *act) for act in zip(acts, repeats))
        alpha = exchanges[0] / hops if exchanges else 0.0
        beta = max(exchanges[1] - 2 * hops * alpha, 0.0) / (share * VOLUME) if exchanges else 0.0
        return Constants(2 * n * n_in * n_out / product, size**3 / inverse, 3 * large.nbytes / memory, alpha, beta)

    return measure


# ---------------------------------------------------------------------------------------------- the rows


def ranks_rows(options, progress):
    """Return the rows: measured and predicted for a few ranks on this machine, predicted for many."""
    rows = []
    for network in options["network"]:
        problem = PROBLEMS[network]._replace(batch=options["batch"] or PROBLEMS[network].batch)
        order = {"widths": problem.widths, "activation": problem.activation, "batch": problem.batch,
                 "autoencoder": problem.autoencoder}
        said = partial(progress, line=True)
        found = by_turns(order, options["rounds"], said, network)
        pairs = in_pairs(order, problem, options["threads"], said, network)
        rows += rows_of(network, problem, found, pairs, options["threads"])
    return rows


def by_turns(order, rounds, progress, network):
    """Return {ranks: the results in `FOUND`}, with seconds and constants of each turn of each round.

    In each round all numbers of ranks take a turn, as a machine with other users changes within minutes. Each method
    has its own processes: in the memory that a large step leaves behind, the next one takes a fifth longer.
    """
    orders = [{**order, "methods": [method], "constants": True} for method in COUNTS if method not in MODEL_ONLY]
    jobs = {p: [] for p in MEASURED_RANKS}
    for turn, p in product(range(rounds), MEASURED_RANKS):
        progress(f"{network}: {p} rank{'s' * (p > 1)}, {turn + 1} of {rounds}")
        jobs[p].append(of_all_methods([on_ranks(p, 1, one) for one in orders]))
    return {p: together(found) for p, found in jobs.items()}


def of_all_methods(jobs):
    """Return the results of jobs of one method each, combined."""
    return {what: {method: found for job in jobs for method, found in job[what].items()} for what in FOUND}


def together(jobs):
    """Return the results of all jobs with the same number of ranks, combined."""
    first, *others = jobs
    return {**first, **{what: {method: sum((job[what][method] for job in others), first[what][method])
                               for method in first[what]} for what in ("seconds", "constants", "calls")}}


def in_pairs(order, problem, threads, progress, network):
    """Return [(seconds on as many ranks as threads, seconds in one process with those threads)], taken in turns.

    The steps are BackProp's, and the exact step on the side that minilift chooses for the widest map.
    """
    order, pairs = {**order, "methods": beside(problem, threads), "constants": False}, []
    for turn in range(PAIRS if threads in MEASURED_RANKS[1:] else 0):
        progress(f"{network}: {threads} ranks beside one process with {threads} threads, {turn + 1} of {PAIRS}")
        jobs = [on_ranks(*job, order)["seconds"] for job in ((threads, 1), (1, threads))]
        pairs.append([{method: float(np.median(times)) for method, times in job.items()} for job in jobs])
    return pairs


def beside(problem, p):
    """Return the methods for which ranks are compared with threads of one process."""
    n_in, n_out = max(pairwise(problem.widths), key=math.prod)
    widest = Shape(n_in + 1, n_out, problem.batch / p, problem.batch, first=False, last=False)
    return ["BackProp", f"exact, {smaller(widest)} side"]


CHAINS = [name for name, problem in PROBLEMS.items() if problem.chain]


def check_chains(networks):
    """Raise an error if one of some networks is not a chain of fully connected maps, which the model counts."""
    for network in networks:
        if network not in CHAINS:
            raise ValueError(f"--network: bench ranks takes chains of fully connected maps ({', '.join(CHAINS)}), "
                             f"got {network}")


def rows_of(network, problem, found, pairs, threads):
    """Return the rows of one network, from {ranks: results} and the pairs of `in_pairs`."""
    own = cores()
    distant = max((p for p in found if 1 < p <= own), default=max(found))  # its constants are used for more ranks
    far = middle([middle(turns) for turns in constants_in(found[distant]).values()])
    rows = []
    for method, p in product(COUNTS, sorted({*found, *RANKS})):
        here = found.get(p)
        turns = constants_in(here).get(method, []) if here else []
        constants = middle(turns or (constants_in(here)["BackProp"] if here else [far]))
        work = work_of(method, problem.widths, problem.batch, p)
        shared = max(1.0, p / own) if here else 1.0  # ranks on one core also wait for each other's Python
        predict = partial(predicted_parts, work, p, *beyond(method, problem, found[1], shared))
        predicted = predict(constants)
        times = here["seconds"][method] if turns else None
        rows.append({"network": network, "method": method, "ranks": p, "batch": problem.batch,
                     "widths": list(problem.widths), "own flops": work.own,
                     "repeated flops": work.repeated + work.inverse, "given": list(work.given(p)),
                     "given, measured": None if times is None else here["given"][method], "sent": work.sent(p),
                     "messages": len(work.sums) + len(work.gathers), "parts": predicted,
                     "predicted": sum(predicted.values()), "constants": constants._asdict(), "turns": times,
                     "turns, predicted": [sum(predict(one).values()) for one in turns],
                     "own cores": here is None or p <= own,
                     "seconds": None if times is None else dict(zip(("median", "min", "max"), ends(times))),
                     "threads": threads, "cores": own, "ratios": ratios(pairs, method) if p == threads else []})
    return rows


def ratios(pairs, method):
    """Return the ratio of the time of a step on ranks to that in one process with threads, for each pair."""
    return [ranks[method] / threaded[method] for ranks, threaded in pairs if method in ranks]


def constants_in(here):
    """Return {method: `Constants` of each turn} from some results."""
    return {method: [Constants(**one) for one in turns] for method, turns in here["constants"].items()}


def beyond(method, problem, one, shared):
    """Return the factor on computation, and the seconds of calls, from the steps on one rank.

    For a method that is not measured, those of BackProp are used.
    """
    name = method if method in one["seconds"] else "BackProp"
    work, calls = work_of(name, problem.widths, problem.batch, 1), float(np.median(one["calls"][name]))
    factors = [(seconds - calls) / sum(parts(work, 1, constants).values())
               for seconds, constants in zip(one["seconds"][name], constants_in(one)[name])]
    return max(0.0, float(np.median(factors))), shared * calls


def predicted_parts(work, p, factor, calls, constants):
    """Return {part: seconds} of a step by the model, with computation scaled by a factor, and of its calls."""
    made = parts(work, p, constants)
    return {**made, "own rows": factor * made["own rows"], "repeated": factor * made["repeated"], "calls": calls}


def error(row):
    """Return the median over the turns of the relative error of a prediction, or None."""
    errors = [predicted / seconds - 1 for predicted, seconds in zip(row["turns, predicted"], row["turns"] or [])]
    return float(np.median(errors)) if errors else None


# ------------------------------------------------------------------------------------------ text and figure


def ranks_table(rows):
    """Return the results as text, network by network."""
    return "\n".join(line for network, block in grouped(rows, "network").items()
                     for line in ["", *network_lines(network, block)])


def network_lines(network, block):
    """Return the tables of one network as lines."""
    first = block[0]
    shown = {method: {row["ranks"]: row for row in line} for method, line in grouped(block, "method").items()}
    widths = "-".join(map(str, first["widths"]))
    lines = [f"{network}: {widths}, batch {first['batch']}; one BLAS thread a rank, {first['cores']} cores",
             "", f"Measured, ms a step, the median of {turns_text(block)}; predicted; error, the median of theirs"]
    head = ["", *(f"{p} rank{'s' * (p > 1)}" for p in MEASURED_RANKS)]
    lines += aligned([head, *([method, *(against(line[p]) for p in MEASURED_RANKS)] for method, line in shown.items()
                              if method not in MODEL_ONLY)])
    lines += [*map(error_line, (2, 4), [block] * 2), *ratio_lines(shown), "",
              "What one rank does in a step on 4 ranks: flops on its rows, flops that all repeat, bytes given to "
              "exchanges (and counted in the run), messages"]
    lines += aligned([["", "own Gflop", "repeated Gflop", "kB given", "counted kB", "exchanges"],
                      *(counted(method, line[4]) for method, line in shown.items())])
    many = [p for p in MANY if all(line[p]["own cores"] for line in shown.values())]
    lines += ["", f"By the model, with the constants of {constants_text(block)}: ms a step (times BackProp's)"]
    lines += aligned([["", *map(str, many)], *([method, *(far(line[p], shown["BackProp"][p]) for p in many)]
                                               for method, line in shown.items())])
    return [*lines, "", *where_it_pays(block)]


def turns_text(block):
    """Return a text that says how often steps were measured."""
    turns = sorted({len(row["turns"]) for row in block if row["turns"]})
    return f"{turns[0]} to {turns[-1]}" if len(turns) > 1 else str(turns[0])


def against(row):
    """Return the text of a measured time beside the predicted one."""
    return f"{row['seconds']['median'] * 1e3:.2f}; {row['predicted'] * 1e3:.2f}; {error(row):+.0%}"


def far(row, reference):
    """Return the text of a predicted time, and its ratio to another."""
    return f"{row['predicted'] * 1e3:.3g} ({row['predicted'] / reference['predicted']:.2g})"


def counted(method, row):
    """Return the cells of the table of counts."""
    measured_bytes = row["given, measured"]
    return [method, f"{row['own flops'] / 1e9:.4f}", f"{row['repeated flops'] / 1e9:.4f}",
            f"{sum(row['given']) / 1e3:.1f}", "–" if measured_bytes is None else f"{sum(measured_bytes) / 1e3:.1f}",
            str(row["messages"])]


def error_line(p, block):
    """Return the line that compares the errors of the predictions for p ranks with the target."""
    errors = [abs(error(row)) for row in select(block, ranks=p) if row["seconds"] is not None]
    verdict = "met" if max(errors) <= TOLERANCE else "NOT met"
    return f"  target: prediction for {p} ranks within {TOLERANCE:.0%}: at most {max(errors):.0%} off, {verdict}"


def ratio_lines(shown):
    """Return the lines that compare ranks with as many threads of one process on as many cores, with the target."""
    lines = []
    for method, line in shown.items():
        row = next((row for row in line.values() if row["ratios"] and row["ranks"] <= row["cores"]), None)
        if row is not None:
            middle, low, high = ends(row["ratios"])
            lines.append(f"  target: {method}, {row['ranks']} ranks ÷ one process with {row['threads']} threads ≤ "
                         f"{RATIO}: {middle:.2f} ({low:.2f}–{high:.2f}), {'met' if middle <= RATIO else 'NOT met'}")
    return lines


def constants_text(block):
    """Return the constants for many ranks, in words."""
    constants = block[-1]["constants"]
    return (f"{constants['product'] / 1e9:.3g} Gflop/s in products, {constants['inverse'] / 1e9:.3g} Gflop/s in "
            f"inverses, {constants['memory'] / 1e9:.3g} GB/s, α = {constants['alpha'] * 1e6:.3g} µs, "
            f"β = 1/({1e-9 / max(constants['beta'], 1e-15):.3g} GB/s)")


def where_it_pays(block):
    """Return the table of the number of ranks from which an exact step takes more than `DEAR` times BackProp's."""
    constants = Constants(**block[-1]["constants"])
    cells = [["width", *(f"batch {batch}" for batch in BATCHES)]]
    for width in WIDTHS:
        cells.append([str(width), *(dear_from(width, batch, constants) for batch in BATCHES)])
    return [f"By the model: ranks from which an exact step on its cheaper side takes more than {DEAR:g} times "
            "BackProp's (784-width-width-width-10)", *aligned(cells)]


def dear_from(width, batch, constants):
    """Return a text with the number of ranks from which an exact step is too expensive for a width and a batch."""
    widths = (784, width, width, width, 10)

    def seconds(method, p):
        return sum(parts(work_of(method, widths, batch, p), p, constants).values())

    return next((str(p) for p in RANKS if min(seconds(f"exact, {side}", p) for side in SIDED)
                 > DEAR * seconds("BackProp", p)), f"> {RANKS[-1]}")


COLORS = ("#000000", "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#888888")
PARTS = {"own rows": "#009E73", "repeated": "#D55E00", "volume (β)": "#56B4E9", "latency (α)": "#0072B2",
         "calls": "#BBBBBB"}


def ranks_figure(rows):
    """Return a figure of times against ranks, and of their parts on few ranks and on many."""
    from minilift import plots

    blocks = grouped(rows, "network")
    figure = plots.new_figure(13, 5.2 * len(blocks))
    for (network, block), (left, right) in zip(blocks.items(), figure.subplots(len(blocks), 2, squeeze=False)):
        draw_times(left, network, block)
        draw_parts(right, block)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_times(axes, network, block):
    """Draw the predicted time of a step against ranks as lines, and the measured times as points.

    If ranks share cores, the prediction for that is drawn as a cross, and is not part of the line.
    """
    for color, (method, line) in zip(COLORS, grouped(block, "method").items()):
        for mark, there in (("--" if method in MODEL_ONLY else "-", [row for row in line if row["own cores"]]),
                            ("x", [row for row in line if not row["own cores"]])):
            axes.plot([row["ranks"] for row in there], [row["predicted"] * 1e3 for row in there], mark, color=color,
                      label=method if mark != "x" else None)
        here = [row for row in line if row["seconds"] is not None]
        axes.plot([row["ranks"] for row in here], [row["seconds"]["median"] * 1e3 for row in here], "o", color=color,
                  markersize=5)
    dear = next((row["ranks"] for row in select(block, method="BackProp") if row["own cores"]
                 and cheapest_exact(block, row["ranks"]) > DEAR * row["predicted"]), None)
    if dear is not None:
        axes.axvline(dear, color="#999999", linewidth=0.8, linestyle=":")
        axes.annotate(f"exact > {DEAR:g} × BackProp", (dear, 0.99), xycoords=("data", "axes fraction"), fontsize=8,
                      xytext=(3, 0), textcoords="offset points", va="top")
    axes.set(xscale="log", yscale="log", xlabel="ranks", ylabel="ms a step",
             title=f"{network}, batch {block[0]['batch']}: model (lines), measured (points)\n"
                   "crosses: model where ranks share cores")
    axes.set_xticks(RANKS[::2], [str(p) for p in RANKS[::2]])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.13))


def time_text(seconds):
    """Return the text of a time in seconds or milliseconds."""
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(seconds * 1e3)} ms"


def cheapest_exact(block, p):
    """Return the predicted time of an exact step on its cheaper side."""
    return min(row["predicted"] for side in SIDED for row in select(block, method=f"exact, {side}", ranks=p))


def draw_parts(axes, block):
    """Draw the parts of the predicted step as bars: on 1, 16, 256 and 4096 ranks, of some methods."""
    methods = ["BackProp", cheaper_side(block), *MODEL_ONLY]
    labels, place = [], 0.0
    for p in (1, 16, 256, 4096):
        for method in methods:
            (row,), bottom = select(block, method=method, ranks=p), 0.0
            for part, color in PARTS.items():
                height = row["parts"][part] / row["predicted"]
                axes.bar(place, height, 0.8, bottom, color=color, label=part if not labels else None)
                bottom += height
            axes.text(place, 1.01, time_text(row["predicted"]), rotation=60, fontsize=7)
            labels.append((place, f"{method}, {p}"))
            place += 1
        place += 0.6
    axes.set_xticks([at for at, _ in labels], [text for _, text in labels], rotation=60, ha="right", fontsize=8)
    axes.set(ylabel="share of a step", ylim=(0, 1.4), title="What the step is made of, by the model")
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="upper center")


def cheaper_side(block):
    """Return the name of the exact step on the side that is cheaper for most numbers of ranks."""
    return min((f"exact, {side}" for side in SIDED), key=lambda method: sum(
        math.log(row["predicted"]) for row in select(block, method=method)))


if __name__ == "__main__":
    sys.exit(exit_code_of("minilift bench", measured, json.loads(sys.argv[1])))

# %% [markdown]
# # 12 · Move it to the GPU
#
# You will state how closely two number formats (and, with a GPU, two array libraries) agree, time work that is done
# elsewhere, and compute from a model the size above which a GPU pays.
#
# **Afterwards you can**
# 1. measure agreement in ulps (Exercise 12.1);
# 2. say beforehand how large the error of a product in float32 may be (Exercise 12.2);
# 3. time asynchronous work (Exercise 12.3);
# 4. find a step that float64 takes and float32 does not (Exercise 12.4);
# 5. say before buying hardware what to measure, and count what several machines exchange (Exercise 12.5).
#
# **You need** notebook 05. **Time**: 60 minutes (estimated). This notebook is optional, and so is a GPU with CuPy:
# without one every cell runs, on NumPy alone, and the figures say so.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import gpu as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## Is there a GPU?
#
# That CuPy can be imported does not prove that there is a GPU: it may be missing, or not answer.
# The library asks the GPU to add two numbers, and raises an error with the reason if that fails.

# %%
from minilift.support.backend import get_module, synchronize, to_numpy


def usable(backend):
    """Whether this backend can compute here."""
    try:
        get_module(backend)
    except RuntimeError:  # CuPy is not installed, or no GPU answers
        return False
    return True


backends = [name for name in ("numpy", "cupy") if usable(name)]

# %%
heading = "NumPy alone (no GPU answers here)"
if "cupy" in backends:
    heading = "NumPy and CuPy"
print(f"Backends compared below: {heading}.")

# %% [markdown]
# A network gets its backend and dtype when it is made. Random numbers are drawn by NumPy and then moved, so one seed
# gives one network, up to rounding. A network accepts NumPy arrays and moves them.

# %%
data = ml.datasets.digits()
X, y = data.X_train[:100], data.y_train[:100]
method = ml.ProxProp(tau_theta=1.0)


def directions(dtype, backend):
    """Return the exact ProxProp directions of one network as NumPy arrays."""
    net = ml.mlp([64, 128, 128, 10], seed=SEED, dtype=dtype, backend=backend)
    return [to_numpy(d) for d in method.direction(net, X, y)[1]]


first = [ml.mlp([64, 128, 128, 10], seed=SEED, dtype=dtype).theta[1]
         for dtype in (np.float32, np.float64)]
teach.holds("one seed: float32's first weights are float64's, rounded",
            first[0], first[1].astype(np.float32), 0)
reference = directions(np.float64, "numpy")
print([f"{d.dtype} {d.shape}" for d in directions(np.float32, "numpy")])

# %% [markdown]
# ## Exercise 12.1 (warm-up): units in the last place
#
# Floats near $y$ are `np.spacing(y)` apart: one *ulp*. For arrays measure the largest difference against the
# ulp of the largest entry, in the precision of $y$:
#
# $$ \mathrm{ulps}(x, y) = \frac{\max_i |x_i - y_i|}{\mathrm{spacing}(\max_i |y_i|)}. \tag{12.1} $$
#
# <details><summary>Hint 1: idea</summary>
#
# How many spacings of floats, at the size of the largest entry, fit between the two?
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# (12.1). `np.spacing` of a float32 is float32's. Subtract in float64.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `spacing = np.spacing(np.abs(y).max())`
#
# </details>

# %% tags=["exercise"]
# Exercise 12.1
def ulps(x, y):
    """Return the distance of x from y, arrays of one shape and dtype,
    in ulps of y's largest entry."""
    # <solution>
    spacing = np.spacing(np.abs(y).max())
    return float(np.abs(x.astype(np.float64) - y).max() / spacing)  # (12.1)
    # </solution>

# %% tags=["check"]
ulps = check.ulps(ulps, SEED)

# %% tags=["mistake"]
# says: difference itself
def ulps(x, y):
    return float(np.abs(x.astype(np.float64) - y).max())

# %% tags=["mistake"]
# says: float64's spacing
def ulps(x, y):
    return float(np.abs(x.astype(np.float64) - y).max()
                 / np.spacing(float(np.abs(y).max())))

# %% tags=["mistake"]
# says: the spacing at 1
def ulps(x, y):
    return float(np.abs(x.astype(np.float64) - y).max() / np.finfo(y.dtype).eps)

# %% [markdown]
# The two number formats, by the spacing of floats and by our own measure:

# %%
for dtype in (np.float32, np.float64):
    one, next_one = np.ones(1, dtype), np.nextafter(np.ones(1, dtype), 2)
    teach.holds(f"{np.dtype(dtype)}: the next float after 1 is 1 ulp away",
                ulps(next_one, one), 1.0)  # (12.1)
    print(f"its spacing at 1: {np.spacing(one)[0]:.1e}")

# %% [markdown]
# ## How large may the error be?
#
# Apart from under- and overflow, rounding to the nearest float changes a number by a factor $1 + \delta$,
# $|\delta| \le u$, with $u = 2^{-24}$ in float32. In a sum of $n$ products, in any order, each term undergoes at most
# $n$ roundings. To first order in $u$ the error of a matrix product therefore obeys, entry by entry,
#
# $$ |\mathrm{fl}(AB) - AB| \;\le\; n\,u\,|A|\,|B|. \tag{12.2} $$
#
# Mind the absolute values on the right: where terms cancel, the result is small and the bound is not.

# %% [markdown]
# ## Exercise 12.2 (core): the bound
#
# Write the right-hand side of (12.2) for float32 arrays, computed in float64.
#
# <details><summary>Hint 1: idea</summary>
#
# Multiply the matrices of absolute values, then scale.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $n$ is the length of the sums: the number of columns of $A$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `wide_a, wide_b = np.abs(A).astype(np.float64), np.abs(B).astype(np.float64)`
#
# </details>

# %% tags=["exercise"]
# Exercise 12.2
def product_bound(A, B):
    """Return a bound (m, k) of the error of A @ B in float32, for A (m, n),
    B (n, k)."""
    # <solution>
    wide_a, wide_b = np.abs(A).astype(np.float64), np.abs(B).astype(np.float64)
    return A.shape[1] * 2.0**-24 * wide_a @ wide_b  # (12.2)
    # </solution>

# %% tags=["check"]
product_bound = check.product_bound(product_bound, SEED)

# %% tags=["mistake"]
# says: instead of |A||B|
def product_bound(A, B):
    return A.shape[1] * 2.0**-24 * np.abs(A.astype(np.float64)
                                          @ B.astype(np.float64))

# %% tags=["mistake"]
# says: n is missing
def product_bound(A, B):
    wide_a, wide_b = np.abs(A).astype(np.float64), np.abs(B).astype(np.float64)
    return 2.0**-24 * wide_a @ wide_b

# %% [markdown]
# How near does the error come to its bound? The 100 digits times a random 64 × 128 matrix:

# %%
A, B = X.astype(np.float32), rng.normal(size=(64, 128)).astype(np.float32)
exact = A.astype(np.float64) @ B.astype(np.float64)
share = np.abs(A @ B - exact) / product_bound(A, B)  # (12.2)
teach.holds("errors beyond the bound (12.2)", (share > 1).sum(), 0)
print(f"largest error over its bound, n = 64: {share.max():.3f}")

# %% [markdown]
# ## Predict
#
# Compare the exact ProxProp direction of a small net in float32 with that in float64. It takes products as in (12.2)
# and a solve with a matrix of at most 100 × 100 (the size of the **batch**, in sample space), which multiplies relative
# errors by up to its condition number (Higham, chapter 7), here at most 1200 (printed at the end).
# That allows for thousands of ulps. Such bounds are seldom met, so we bet on less, and say so beforehand:
# *if rounding moves no $z$ across ReLU's kink, at most 512 ulps of float32 in every map* (9 of its 24 bits), and as
# many of float64 between backends. What will the largest distance be? (a) below 4 ulps; (b) 4 to 512; (c) more.

# %% tags=["predict"]
within = None  # "a", "b" or "c"

# %%
STATED = 512  # ulps of the arrays' own dtype


def distances(dtype, backend):
    """Return by how many ulps each map's direction is off the reference."""
    return [ulps(d, r.astype(dtype))
            for d, r in zip(directions(dtype, backend), reference)]


def sides(dtype, backend):
    """Return on which side of ReLU's kink each hidden z lies."""
    net = ml.mlp([64, 128, 128, 10], seed=SEED, dtype=dtype, backend=backend)
    return np.hstack([to_numpy(z) > 0 for z in net.forward(X).z[1:3]])


found = {(np.dtype(t).name, b): distances(t, b) for b in backends
         for t in (np.float32, np.float64)}
largest = max(max(each) for each in found.values())
crossed = sum(int((sides(t, b) != sides(np.float64, "numpy")).sum())
              for t, b in found)
teach.reveal(within, "a" if largest < 4 else "b" if largest <= STATED else "c",
             f"The largest is {largest:.0f} ulps; {crossed} z cross the kink.")
if crossed == 0:  # else a unit is on in one network and off in the other
    teach.holds("ulps beyond what was stated", max(0.0, largest - STATED), 0.0)

# %% [markdown]
# All distances, against what was stated:

# %%
names = [f"{dtype}, {backend}" for dtype, backend in found]
fig, ax = plt.subplots(figsize=(8, 0.9 + 0.5 * len(names)))
for k, each in enumerate(found.values()):
    ax.plot(np.maximum(each, 0.05), [k] * 3, "os^D"[k],
            color=list(teach.COLORS.values())[(5, 0, 3, 1)[k]], ms=8,
            clip_on=False)
ax.axvline(STATED, color=teach.COLORS["black"], linestyle="--")
ax.set(xscale="log", xlim=(0.05, 2000), yticks=range(len(names)),
       yticklabels=names, ylim=(-0.6, len(names) - 0.4),
       xlabel="ulps from float64 on NumPy, one point per map (left edge: "
       "equal).  Dashed: what was stated", title=heading)
teach.show(fig,
           "Distance of each map's direction from the float64 one on NumPy, "
           "in ulps of its own precision: float32 lies at 1 to 100 ulps, "
           "left of the dashed line at 512; float64 on NumPy is the "
           "reference.")

# %% [markdown]
# ## Exercise 12.3 (core): time what is not done yet
#
# A GPU answers "understood", not "done": `work()` queues a computation and returns. `wait()` returns when
# the queue is empty, `clock()` is the time. The first call may have to compile first, and somebody
# else's work may still be queued. Return the time of **one** piece of work,
#
# $$ t = t_{\text{done}} - t_{\text{started}}, \tag{12.3} $$
#
# including its launch, but neither the first call nor old work. The check uses a simulated device.
#
# <details><summary>Hint 1: idea</summary>
#
# To know how long something took you must see it end, and begin with nothing pending.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# (12.3), with an empty queue at both readings.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `work()`, to warm up.
#
# </details>

# %% tags=["exercise"]
# Exercise 12.3
def timed(work, wait, clock):
    """Return how long one work() takes until it is done."""
    # <solution>
    work()
    wait()
    started = clock()
    work()
    wait()
    return clock() - started  # (12.3)
    # </solution>

# %% tags=["check"]
timed = check.timed(timed, SEED)

# %% tags=["mistake"]
# says: not when it is done
def timed(work, wait, clock):
    work()
    wait()
    started = clock()
    work()
    return clock() - started

# %% tags=["mistake"]
# says: compiling and allocating
def timed(work, wait, clock):
    wait()
    started = clock()
    work()
    wait()
    return clock() - started

# %% tags=["mistake"]
# says: and halved
def timed(work, wait, clock):
    started = clock()
    for _ in range(2):
        work()
        wait()
    return (clock() - started) / 2

# %% [markdown]
# A queue in which each piece takes 3, behind somebody else's work, which takes 5. A clock that does not wait sees
# neither.

# %%
now, free_at = [0.0], [5.0]  # the time, and when the queue is empty


def queue_three():
    free_at[0] = max(free_at[0], now[0]) + 3.0


def wait():
    now[0] = max(now[0], free_at[0])


teach.holds("its time", timed(queue_three, wait, lambda: now[0]), 3.0)  # (12.3)
started = now[0]
queue_three()
teach.holds("without waiting", now[0] - started, 0.0)

# %% [markdown]
# ## A model of the crossover
#
# In a map from $n$ to $n$ units a step takes three products with a batch of $N$: forward, backward and $\tilde a^TU$,
# each of $2Nn^2$ operations. In the model nothing else grows: a backend has a fixed cost $t_0$ per step (say, for
# launching a GPU's kernels) and a speed $v$ in these products,
#
# $$ t(n) = t_0 + \frac{6 N n^2}{v}, \qquad
# n^* = \sqrt{\frac{t_0^{\text{gpu}} - t_0^{\text{cpu}}}{6N\,(1/v_{\text{cpu}} - 1/v_{\text{gpu}})}}.
# \tag{12.4} $$
#
# With both higher, the GPU of this model is slower below the crossover $n^*$, faster above.

# %%
def step_time(n, t0, speed, N=100):
    return t0 + 6 * N * n**2 / speed  # (12.4)


def crossover(t0_cpu, t0_gpu, v_cpu, v_gpu, N=100):
    saved = 6 * N * (1 / v_cpu - 1 / v_gpu)  # seconds saved, over n²
    return np.sqrt((t0_gpu - t0_cpu) / saved)  # (12.4)


guess = crossover(2e-4, 2e-3, 5e10, 5e12)
teach.holds("both take equally long there", step_time(guess, 2e-4, 5e10),
            step_time(guess, 2e-3, 5e12))
print("with 0.2 ms and 50 Gflop/s against 2 ms and 5000 Gflop/s: n* = "
      f"{guess:.1f}; with 50000 Gflop/s {crossover(2e-4, 2e-3, 5e10, 5e13):.1f}"
      f"; with 20 ms {crossover(2e-4, 2e-2, 5e10, 5e12):.1f}")

# %% [markdown]
# ## Predict
#
# From width 64 to 1024 the products of the middle map grow 256-fold. By what factor does the time of a CPU step
# grow? (a) about 256; (b) clearly less; (c) clearly more.

# %% tags=["predict"]
growth = None  # "a", "b" or "c"

# %%
from functools import partial
from time import perf_counter

widths = (64, 128, 256, 512, 1024)


def step_seconds(n, backend, repeats=9):
    """Return the seconds of `repeats` exact ProxProp directions,
    hidden width n, float32, each timed by itself."""
    net = ml.mlp([64, n, n, 10], seed=SEED, backend=backend)
    batch = net.to_backend(X), net.xp.asarray(y)
    wait = partial(synchronize, net.xp)
    return [timed(lambda: method.direction(net, *batch), wait, perf_counter)
            for _ in range(repeats)]


times = {b: 1e3 * np.array([step_seconds(n, b) for n in widths]).T
         for b in backends}  # milliseconds
on_cpu = np.min(times["numpy"], axis=0)  # the shortest, as drawn below
ratio = on_cpu[-1] / on_cpu[0]  # of the widest to the narrowest
teach.reveal(growth, "b" if ratio < 180 else "a" if ratio < 360 else "c",
             f"The shortest time grows {ratio:.0f} times. See the fixed cost "
             "t0 that is fitted below.")

# %% [markdown]
# Let two numbers describe your CPU in this step: fit $t_0$ and $v$ of (12.4) to its shortest times. Whatever else grows
# with $n$ enters them too, so $v$ is not the speed of a product alone. Without a GPU of your own, the CPU is compared
# with the worked example's GPU, at ten times its fixed cost: *assumed*, not measured.

# %%
def fitted(milliseconds):
    """Return t0 and v of (12.4), by least squares of relative errors."""
    seconds = 1e-3 * np.min(milliseconds, axis=0)  # the shortest of nine
    work = 6.0 * len(X) * np.array(widths) ** 2
    rows = np.column_stack([np.ones(len(widths)), work]) / seconds[:, None]
    t0, per_operation = np.linalg.lstsq(rows, np.ones(len(widths)),
                                        rcond=None)[0]
    return max(t0, 0.0), 1 / per_operation


cpu, gpu = fitted(times["numpy"]), (2e-2, 5e12)
gpu_name = "a GPU with 20 ms and 5000 Gflop/s: assumed"
if "cupy" in backends:
    gpu, gpu_name = fitted(times["cupy"]), "CuPy: (12.4), fitted"
print(f"a step on this CPU: t0 = {1e3 * cpu[0]:.2g} ms, "
      f"v = {cpu[1] / 1e9:.0f} Gflop/s")
misfit = step_time(np.array(widths), *cpu) / times["numpy"].min(axis=0) * 1e3
print(f"the model over the shortest times: {misfit.min():.2f} to "
      f"{misfit.max():.2f}")
meets, faster, slower = (
    crossover(cpu[0], costs * gpu[0], cpu[1], speeds * gpu[1])
    if costs * gpu[0] > cpu[0] else 0.0
    for costs, speeds in ((1, 1), (1, 10), (10, 1)))
print(f"crossover n* = {meets:.0f}; with a GPU ten times as fast and the same "
      f"fixed cost {faster:.0f}, with ten times the fixed cost {slower:.0f}")

# %% [markdown]
# Times, the model, and where they cross:

# %%
fig, ax = plt.subplots(figsize=(8, 4.2))
grey, red = teach.COLORS["grey"], teach.COLORS["vermillion"]
looks = {"numpy": ("NumPy", "P", grey), "cupy": ("CuPy", "X", red)}
for backend in backends:
    label, marker, color = looks[backend]
    low, high = times[backend].min(axis=0), times[backend].max(axis=0)
    ax.plot(widths, low, marker, color=color, markersize=7,
            label=f"{label}, shortest of nine")
    ax.vlines(widths, low, high, color, alpha=0.5)
n = np.geomspace(64, 2048, 61)
for part, dash, label in ((n < 1025, "-", "NumPy: (12.4), fitted"),
                          (n > 1023, ":", "not measured there")):
    ax.plot(n[part], 1e3 * step_time(n[part], *cpu), dash, color=grey,
            label=label)
ax.plot(n, 1e3 * step_time(n, *gpu), "--", color=red, label=gpu_name)
if n[0] < meets < n[-1]:
    ax.axvline(meets, color=teach.COLORS["black"], linewidth=0.8,
               label=f"the two cross at n* = {meets:.0f}")
ax.set(xscale="log", yscale="log", xlabel="hidden width n",
       ylabel="milliseconds a step", title=heading)
ax.set_xticks([*widths, 2048], [str(n) for n in (*widths, 2048)])
ax.minorticks_off()
ax.yaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
ax.yaxis.set_major_formatter("{x:g}")
fig.legend(loc="outside lower center", ncols=2)
teach.show(fig, "Milliseconds of an exact ProxProp step against hidden width: "
           "NumPy's, the shortest of nine timings as plus signs, with lines up "
           "to the longest, and the model (12.4) fitted to these, dotted "
           "beyond the widest, 1024; and a GPU's model, CuPy's where one "
           "answers. If the two cross here, a thin line marks the width.")

# %% [markdown]
# Thin lines end at the longest of nine times; beyond 1024 nothing was measured. An $n^*$ of 0 means that the
# GPU's fixed cost is not above the CPU's: by (12.4) a faster GPU then wins everywhere. The assumed $1/v_{\text{gpu}}$ is
# small beside the CPU's $1/v$, so a tenfold speed hardly moves $n^*$ (in the worked example from 389.2 to 387.5); a
# tenfold fixed cost does, as printed: measure the fixed cost first.

# %% [markdown]
# ## Floats that stay where they are
#
# Take the weights $\theta$ of the small net's second map and their direction $d$, without the smallest entries: a
# weight into or out of a unit that is off for all 100 digits has $d = 0$, and no $\tau$ moves it.

# %%
net = ml.mlp([64, 128, 128, 10], seed=SEED, dtype=np.float32)
# the second map, without the smallest entries of d
moving = np.abs(reference[1]) > 1e-6
theta, d = net.theta[2][moving].astype(np.float64), reference[1][moving]
moving = np.abs(theta) > 1e-3
theta, d = theta[moving], d[moving]
print(f"{theta.size} of {net.theta[2].size} entries are left")

# %% [markdown]
# ## Exercise 12.4 (break it): make float32 stand still
#
# A step $\theta - \tau d$ changes a float only if it ends nearer to the next one, that is, if
#
# $$ |\tau d_i| > \tfrac12\,\mathrm{spacing}(\theta_i) \ge \tfrac{u}{2}\,|\theta_i| \tag{12.5} $$
#
# (approximately; going down from a power of two, half of that suffices). For any $\theta$ and $d$ find a $\tau$ at which
# **no** entry moves in float32, while at $10\tau$ one does. In float64 **every** entry then moves.
#
# <details><summary>Hint 1: idea</summary>
#
# Each entry has its own threshold. The most mobile one decides.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Entry $i$ stays if $\tau|d_i|$ is below $\frac u2|\theta_i|$ or, to be safe, half of that. Which $i$ decides?
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `mobile = np.min(np.abs(theta) / np.abs(d))`
#
# </details>

# %% tags=["exercise"]
# Exercise 12.4
def standstill(theta, d):
    """Return τ, for float64 arrays (n,) without zeros."""
    # <solution>
    mobile = np.min(np.abs(theta) / np.abs(d))
    return mobile * 2.0**-26  # (12.5)
    # </solution>

# %% tags=["check"]
standstill = check.standing_still(standstill, theta, d, SEED)

# %% tags=["mistake"]
# says: the same τ for every
def standstill(theta, d):
    return 1e-10

# %% tags=["mistake"]
# says: float64's unit roundoff
def standstill(theta, d):
    return np.min(np.abs(theta) / np.abs(d)) * 2.0**-53

# %% tags=["mistake"]
# says: made of the mean
def standstill(theta, d):
    return np.mean(np.abs(theta) / np.abs(d)) * 2.0**-26

# %% [markdown]
# What this $\tau$ moves. Then a test of (12.5): move each entry by a little less, and a little more, than half its
# spacing.

# %%
tau = standstill(theta, d)
shares = [(theta.astype(t) - (tau * d).astype(t) != theta.astype(t)).mean()
          for t in (np.float32, np.float64)]
print(f"τ = {tau:.1e} moves {shares[0]:.0%} of the entries in float32, "
      f"{shares[1]:.0%} in float64")
near = theta.astype(np.float32)
half = np.spacing(np.abs(near)).astype(np.float64) / 2
teach.holds("entries whose ½ spacing is less than u/2 times their size",
            (half < 2.0**-25 * np.abs(theta)).sum(), 0)  # (12.5)
away = np.spacing(near)  # away from 0: it has the entry's sign
moved = [(near + np.float32(share) * away != near).mean()
         for share in (0.49, 0.51)]  # (12.5)
teach.holds("shares of entries that 0.49 and 0.51 spacings move", moved, [0, 1])

# %% [markdown]
# ## One batch on several machines
#
# Several processes (*ranks*) can share every batch; rank $k$ holds its rows $\tilde a_k, g_k$. Whatever couples samples
# only through a sum is **summed** over ranks: the loss, the statistics of a batch norm, the gradient, and the matrix of
# an implicit step in $\theta$,
#
# $$ \tilde a^Tg = \sum_k\tilde a_k^Tg_k,\qquad C = \sum_k\tilde a_k^T\tilde a_k,\qquad
#    (C + I/\tau_\theta)\,d = \tilde a^Tg. \tag{12.6} $$
#
# For $r$ inputs, including the bias, and $m$ units (12.6) sums $rm$ numbers for $\tilde a^Tg$ and about $r^2/2$ for
# $C$, however many samples there are. In sample space every two ranks share a block, so the rows are **gathered**,
# $N(r + m)$ numbers, and $d$ is summed:
#
# $$ (\tilde a\tilde a^T + I/\tau_\theta)\,U = g,\qquad d = \sum_k\tilde a_k^TU_k. \tag{12.7} $$

# %% [markdown]
# Three ranks, with a third of the rows each:

# %%
own = np.random.default_rng(1)
a_tilde, g = np.c_[own.random((90, 20)), np.ones(90)], own.normal(size=(90, 5))
tau_theta = 0.5
ranks = list(zip(np.split(a_tilde, 3), np.split(g, 3)))

gradient = sum(a_k.T @ g_k for a_k, g_k in ranks)  # (12.6), what BackProp sums
# (12.6), what an implicit step sums beside it
C = sum(a_k.T @ a_k for a_k, _ in ranks)
summed = np.linalg.solve(C + np.eye(21) / tau_theta, gradient)

rows = np.vstack([a_k for a_k, _ in ranks])  # gathered
U = np.split(np.linalg.solve(rows @ rows.T + np.eye(90) / tau_theta, g), 3)
gathered = sum(a_k.T @ U_k for (a_k, _), U_k in zip(ranks, U))  # (12.7)
teach.holds("what is summed and what is gathered give one step", summed,
            gathered)
triangle = np.triu_indices(len(C))[0]
print(f"r = {len(C)}, m = {g.shape[1]}, N = {len(rows)}: {gradient.size} + "
      f"{triangle.size} numbers are summed; or {rows.size + g.size} gathered, "
      f"and {gathered.size} summed, for d")

# %% [markdown]
# The library's model counts operations, bytes and messages. Do its sums agree with (12.6)? It sends the lower half of
# $C$ in strips of rows, each as long as its longest row, and so part of the upper half too.

# %%
from minilift.lab.ranks import Constants, parts, work_of

layers = (784, 1000, 1000, 10)
shapes = [(n + 1, m) for n, m in zip(layers, layers[1:])]  # (r, m) of each map
by_hand = sum(r * m for r, m in shapes)  # the gradients
summed, more = (sum(work_of(method, layers, 1000, 4).sums[1:])  # bytes
                for method in ("BackProp", "exact, parameter side"))
teach.holds("BackProp sums rm numbers a map, in float32", summed / 4, by_hand)
halves = sum(r**2 / 2 for r, _ in shapes[:-1])
print("an exact step sums, in float64, so many times r²/2 more a hidden map: "
      f"{(more - summed) / 8 / halves:.2f} (1, and what the strips add)")

# %% [markdown]
# Milliseconds per step on 1000 samples: a model, not a measurement. Its five constants are assumed: per rank 50
# Gflop/s, 10 in inverses, and 10 GB/s from memory; 2 µs per message and 10 GB/s between ranks. Line 64 ×: 64 ranks with
# 64 times the samples. Last line: the milliseconds due to latency, on 1024 ranks.

# %%
machine = Constants(product=5e10, inverse=1e10, memory=1e10, alpha=2e-6,
                    beta=1e-10)
methods = ("BackProp", "exact, parameter side", "exact, sample side",
           "cg3, textbook")


def two_digits(seconds):
    return f"{float(f'{1e3 * seconds:.2g}'):>22g}"


print("ranks  ", *(f"{method:>22}" for method in methods))
for p in (1, 4, 16, 64, 256, 1024):
    steps = [sum(parts(work_of(method, layers, 1000, p), p, machine).values())
             for method in methods]
    print(f"{p:<7}", *map(two_digits, steps))
more = [sum(parts(work_of(method, layers, 64_000, 64), 64, machine).values())
        for method in methods]
print("64 ×   ", *map(two_digits, more))
latencies = [parts(work_of(method, layers, 1000, p), p, machine)["latency (α)"]
             for method in methods]
print("latency", *map(two_digits, latencies))

# %% [markdown]
# In this model exact steps in parameter space are cheap to distribute in one direction, not in the other. *More
# samples* on more ranks: the sums do not grow, and each rank multiplies its own rows (line 64 ×: 390 ms, against 450
# for one rank with 1000 samples: ranks share the products with the inverse). *Wider maps*: each rank inverts the same
# matrix, $r^3$ operations however many ranks there are ($785^3 + 1001^3$ at 10 Gflop/s are 149 of the 170 ms from 64
# ranks on; and $r^2/2$ exceeds $rm$ where $r > 2m$).

# %% [markdown]
# In sample space inverses take $N^3$ operations, whatever the width, but the message grows with $N$. CG that forms no
# matrix (textbook) sends many small sums in turn: of its 11 ms, 0.62 are latency; of BackProp's 5.4, only 0.14.

# %% [markdown]
# `mpiexec -n 4 minilift train` does this, `minilift bench ranks` measures your machine. Derivation:
# `tutorials/RANKS.md` in the repository.

# %% [markdown]
# ## Exercise 12.5 (open): before buying
#
# Your network is 3072-4000-1000-4000-10 with batches of 500; suppose a CPU step takes half a second. Which three
# measurements, each of a minute, would you make before asking for a GPU? And how many numbers would four machines have
# to sum, or to gather, for one exact step?

# %% [markdown] tags=["answer"]
# **One answer.** (1) Time a CPU step at three widths and fit $t_0$ and $v$ of (12.4): is it the arithmetic that takes
# the time? (2) On a borrowed GPU, time **one** step, warmed up and waited for, and the transfer of one batch. (3) Run
# both for 20 steps from one seed in float32 and compare the losses: rounding differs, so the trajectories may diverge.
# (If they do, compare final results over several seeds, which takes more than a minute.)
#
# Four machines sum the gradient, 20.3 million numbers (the sum of $rm$ over four maps), and for the three hidden maps
# the upper halves of $C$, 13.2 million ($r = 3073, 4001, 1001$). In sample space those maps gather $N(r + m)$, 8.5
# million, and in place of the gradient sum $d$ of (12.7), which is as large: 28.9 million in all against 33.6. The cell
# below counts.

# %% tags=["answer"]
shapes = [(3073, 4000), (4001, 1000), (1001, 4000), (4001, 10)]
million = {"gradients": sum(r * m for r, m in shapes),
           "upper halves of C": sum(r * (r + 1) // 2 for r, _ in shapes[:3]),
           "rows": sum(500 * (r + m) for r, m in shapes[:3])}
gradients, halves, gathered_rows = million.values()
million["in parameter space"] = gradients + halves
million["in sample space"] = gathered_rows + gradients  # d is as large
print({name: f"{count / 1e6:.1f} million" for name, count in million.items()})

# %% tags=["record"]
teach.record("float32: largest distance, ulps",
             max(found["float32", "numpy"]), expected=64, tolerance=64)
itself = max(found["float64", "numpy"])
teach.record("float64 on NumPy, ulps from itself", itself, 0, 0)
net64 = ml.mlp([64, 128, 128, 10], seed=SEED, dtype=np.float64)
grams = [ml.maps.Gram(a).matrix for a in net64.forward(X).a[:2]]
worst = max(np.linalg.cond(gram + np.eye(len(gram))) for gram in grams)
teach.record("largest condition number of a hidden map's solve", worst,
             expected=1160, tolerance=50)
rows = {len(ml.maps.Gram(np.ones((len(X), n)), side="sample").matrix)
        for n in widths}
teach.record("rows of the system in sample space, at most",
             max(rows), expected=100, tolerance=0)
teach.record("crossover of the worked example", guess, expected=389,
             tolerance=1)

# %% [markdown]
# ## Summary
#
# - State agreement in ulps before you measure; (12.2) bounds, to first order, the error of a product.
# - A clock around work that is only queued does not see it: warm up, wait, start, work, wait, stop.
# - In the model (12.4) a GPU with the higher fixed cost and speed pays above the width $n^*$.
# - Over several ranks, the sums of (12.6) do not grow with the batch, the gathered rows of (12.7) do, and each rank
#   repeats the inverse.
#
# **What this does not show.** Whole training runs: one direction agrees to 512 ulps, and nothing here says how long two
# trajectories stay together. One machine's times hold for no other, and an $n^*$ above 1024 is extrapolated. Without a
# GPU, nothing about one.
#
# **References.** Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, §3.5: (12.2); §2.1: spacing and unit
# roundoff, as in (12.5); chapter 7: condition numbers. Okuta et al., *CuPy*, LearningSys 2017: arrays on a GPU with
# NumPy's interface. CuPy's documentation, *Performance Best Practices*: the GPU runs asynchronously; *Overview*:
# kernels are compiled on demand. Thakur, Rabenseifner, Gropp, *Optimization of collective communication operations in
# MPICH*, 2005: the time of a sum over ranks, from messages and bytes. (12.4) and (12.6) are derived here, (12.7) in
# notebook 05 for one rank.

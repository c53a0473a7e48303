# %% [markdown]
# # 02 · Evaluate prox operators and Moreau envelopes
#
# You will compute where a proximal step sends a point, for smooth, kinked and non-convex functions, and
# look at the function that such a step descends.
#
# **Afterwards you can**
# 1. compute a prox by brute force, to check formulas against (Exercise 2.1);
# 2. derive a prox from its optimality condition, kinks included (Exercise 2.2);
# 3. compute the prox of a loss by iteration, where no formula is at hand (Exercise 2.3);
# 4. make a prox jump, and say for which $\tau$ it cannot (Exercise 2.4);
# 5. say what the Moreau envelope keeps of a function and what it changes (Exercise 2.5).
#
# **You need** notebook 01, derivatives, convexity. **Time**: 60 minutes (estimated).

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import prox_and_envelope as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## Two definitions
#
# Notebook 01 had a step that lowers a loss but pays $\frac{1}{2\tau}\|x - x_k\|^2$ for the way. Its destination is the
# **prox** of $f$ at $v$,
#
# $$ \mathrm{prox}_{\tau f}(v) = \arg\min_u \; f(u) + \tfrac{1}{2\tau}\|u - v\|^2, \tag{2.1} $$
#
# and the value reached is the **Moreau envelope**,
#
# $$ \mathrm{env}_{\tau f}(v) = \min_u \; f(u) + \tfrac{1}{2\tau}\|u - v\|^2. \tag{2.2} $$
#
# The prox is a point, the envelope a number; both depend on $v$ and on a step size $\tau > 0$. Three examples:

# %%
def logistic(u):
    return np.logaddexp(0, u)  # log(1 + exp u): cross-entropy of the label 0


def double_well(u):
    return (u**2 - 1) ** 2 / 4


functions = {"|u|": np.abs, "log(1 + exp u)": logistic,
             "(u² − 1)²/4": double_well}
grid = np.linspace(-6, 6, 12001)  # spacing 0.001

# %% [markdown]
# ## Exercise 2.1 (warm-up): try every point
#
# Write (2.1) for each entry of $v$ by trying every point of a grid, with no Python loop over it: later cells have
# 12,001 points.
#
# <details><summary>Hint 1: idea</summary>
#
# Make a table: one row for each $v$, one column for each grid point. Take the column of the least entry of
# each row.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# The table is $f(u_j) + \frac{1}{2\tau}(u_j - v_i)^2$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `distance = (grid - v[:, None]) ** 2`
#
# </details>

# %% tags=["exercise"]
# Exercise 2.1
def brute_prox(f, v, tau, grid):
    """Return an array: for each v (k,) the point of grid (m,) by (2.1)."""
    # <solution>
    distance = (grid - v[:, None]) ** 2
    return grid[np.argmin(f(grid) + distance / (2 * tau), axis=1)]  # (2.1)
    # </solution>

# %% tags=["check"]
brute_prox = check.brute_prox(brute_prox, SEED)

# %% tags=["mistake"]
# says: minimises f alone
def brute_prox(f, v, tau, grid):
    return np.full(len(v), grid[np.argmin(f(grid))])

# %% tags=["mistake"]
# says: a factor 2
def brute_prox(f, v, tau, grid):
    return grid[np.argmin(f(grid) + (grid - v[:, None]) ** 2 / tau, axis=1)]

# %% tags=["mistake"]
# says: τ divides
def brute_prox(f, v, tau, grid):
    return grid[np.argmin(f(grid) + (grid - v[:, None]) ** 2 * tau / 2, axis=1)]

# %% [markdown]
# The envelope (2.2) at the points that `brute_prox` finds:

# %%
def envelope(f, v, tau):
    u = brute_prox(f, v, tau, grid)
    return f(u) + (u - v) ** 2 / (2 * tau)  # (2.2)


tau, v = 0.7, rng.uniform(-3, 3, 200)
for name, f in functions.items():
    reached = envelope(f, v, tau)
    excess = max((reached - f(w) - (w - v) ** 2 / (2 * tau)).max()
                 for w in grid)
    teach.holds(f"{name}: no point of the grid is lower",
                max(excess, 0), 0)  # (2.1)
    below = np.all(reached <= f(v))
    print(f"{name:15s} its envelope is nowhere above it, at {len(v)} points: "
          f"{below}")

# %% [markdown]
# The envelope is nowhere above $f$, since $u = v$ is one of the candidates. The envelope of $u^2/2$ is quickly found on
# paper: the slope $u + (u - v)/\tau$ vanishes at $u = v/(1 + \tau)$, where the value is $v^2/(2 + 2\tau)$.

# %%
for tau in (0.3, 0.7, 4.0):
    # a minimum is flat: half a spacing beside it costs less than 1e-6
    teach.holds(f"envelope of u²/2, τ = {tau}",
                envelope(lambda u: u**2 / 2, v, tau),
                v**2 / (2 + 2 * tau), 1e-6)

# %% [markdown]
# Where is an envelope lowest?

# %%
for name in ("|u|", "(u² − 1)²/4"):
    f, at = functions[name], np.linspace(-3, 3, 601)
    teach.holds(f"{name}: least value of the envelope",
                envelope(f, at, 0.7).min(), f(at).min())
    teach.holds(f"{name}: where it is reached",
                np.flatnonzero(envelope(f, at, 0.7) < 1e-12),
                np.flatnonzero(f(at) < 1e-12))

# %% [markdown]
# Where $f$ is: at a minimiser of $f$ both terms of (2.2) are as small as they can be, with $u = v$; anywhere else
# either the first is larger or $u \ne v$. So, if $f$ has a minimiser, $f$ and its envelope have the same least value and
# the same minimisers.

# %% [markdown]
# ## Predict
#
# The double well has minima at $\pm1$ and a hump at 0. For which of $\tau = 0.5,\ 0.9$ and $4$ does its
# prox *jump* when $v$ crosses 0? Write a tuple.

# %% tags=["predict"]
jumps = None  # such as (0.5, 0.9)

# %%
taus = (0.5, 0.9, 4.0)
v = np.linspace(-2.5, 2.5, 502)  # even: no point at 0
destinations = {(name, tau): brute_prox(f, v, tau, grid)
                for name, f in functions.items() for tau in taus}
largest = {tau: np.diff(destinations["(u² − 1)²/4", tau]).max() for tau in taus}
jumping = tuple(tau for tau in taus if largest[tau] > 0.5)
teach.reveal(jumps, jumping, "At u = 0 the sum in (2.1) bends down if 1/τ < 1.",
             in_order=False)

# %% [markdown]
# Top: where the prox sends $v$. Bottom: the value reached.

# %%
fig, axes = plt.subplots(2, 3, figsize=(11, 5.6), sharex=True, sharey="row")
looks = [(teach.COLORS["blue"], ":"), (teach.COLORS["green"], "--"),
         (teach.COLORS["vermillion"], "-")]
for column, (name, f) in enumerate(functions.items()):
    top, bottom = axes[:, column]
    top.plot(v, v, color=teach.COLORS["grey"], linewidth=0.8, label="u = v")
    bottom.plot(v, f(v), color="black", label="f")
    for tau, (color, line) in zip(taus, looks):
        u = destinations[name, tau]
        # do not draw a line across a jump
        whole = np.where(np.append(np.diff(u), 0) > 0.5, np.nan, u)
        top.plot(v, whole, line, color=color, label=f"τ = {tau}")
        bottom.plot(v, envelope(f, v, tau), line, color=color)
    top.set(title=f"f(u) = {name}", ylabel="prox(v)" if column == 0 else "")
    bottom.set(xlabel="v", ylabel="f and its envelopes" if column == 0 else "",
               ylim=(-0.1, 2.6))
axes[0, 0].legend()
axes[1, 0].legend(loc="upper center")
teach.show(fig, "Six panels. Top: where the prox sends v, for three τ; |u| has "
           "a flat piece at 0, the logistic loss shifts points left, the "
           "double well jumps at 0 for τ = 4. Bottom: the envelopes lie "
           "nowhere above f, rounder where f has a kink, with a kink where the "
           "prox jumps.")

# %% [markdown]
# Top row: $|u|$ collects a whole interval of points at its kink. The double well pulls points towards its wells;
# for $\tau = 4$ none of the points drawn goes to the middle. The logistic loss has a slope between 0 and 1 and so moves
# points to the left by less than $\tau$: by how much at the two ends?

# %%
for tau in taus:
    moved = v - destinations["log(1 + exp u)", tau]
    print(f"logistic loss, τ = {tau}: v = -2.5 moves by {moved[0] / tau:.2f} "
          f"τ, v = 2.5 by {moved[-1] / tau:.2f} τ")
middle = np.abs(destinations["(u² − 1)²/4", 4.0]).min()
print(f"double well, τ = 4: none of these {len(v)} points goes nearer to 0 "
      f"than {middle:.2f}")

# %% [markdown]
# ## From definition to formula
#
# At a minimiser $u$ of (2.1) the slope vanishes: $f'(u) + (u - v)/\tau = 0$. With a kink, 0
# must lie *between* the slopes from the left and from the right. Both conditions read
#
# $$ \frac{v - u}{\tau} \in \partial f(u), \tag{2.3} $$
#
# where $\partial f(u)$, for a **convex** $f$, is the set of slopes of lines that touch $f$ at $u$ from below. For a
# smooth $f$, convex or not, let it be $\{f'(u)\}$: then (2.3) is the implicit step of notebook 01,
# $u = v - \tau f'(u)$. The double well is smooth and not convex: no line touches it from below at $u = 0.36$ (printed),
# and yet that point is a prox:

# %%
v = rng.uniform(-3, 3, 50)
for tau in (0.5, 4.0):
    u = brute_prox(double_well, v, tau, grid)
    # half a spacing off, the slopes err by (f'' + 1/τ)/2000
    teach.holds(f"double well, τ = {tau}: (v − u)/τ is the slope at u",
                (v - u) / tau, u * (u**2 - 1), 1e-2)  # (2.3)
u = brute_prox(double_well, np.array([0.2]), 0.5, grid)[0]
above = (double_well(u) + u * (u**2 - 1) * (grid - u) - double_well(grid)).max()
print(f"τ = 0.5: v = 0.2 goes to u = {u:.2f}; the tangent there runs up to "
      f"{above:.2f} above f")

# %% [markdown]
# ## Exercise 2.2 (core): the absolute value
#
# For $f = |u|$ the slopes are $\{-1\}$ to the left of 0, $\{1\}$ to the right, and all of $[-1, 1]$ at 0. Solve (2.3)
# for $u$ in these three cases, and write the result for arrays.
#
# <details><summary>Hint 1: idea</summary>
#
# Suppose $u > 0$. What is $u$, and for which $v$ is it indeed positive? Do the same for $u < 0$ and $u = 0$.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $u > 0$ gives $v - u = \tau$; $u = 0$ needs $|v| \le \tau$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `length = np.maximum(np.abs(v) - tau, 0)`
#
# </details>

# %% tags=["exercise"]
# Exercise 2.2
def soft_threshold(v, tau):
    """Return an array: the prox of tau |u| at each entry of v."""
    # <solution>
    length = np.maximum(np.abs(v) - tau, 0)
    return np.sign(v) * length  # (2.3)
    # </solution>

# %% tags=["check"]
soft_threshold = check.soft_threshold(soft_threshold, SEED)

# %% tags=["mistake"]
# says: change sign here
def soft_threshold(v, tau):
    return np.sign(v) * (np.abs(v) - tau) if tau > 0 else v

# %% tags=["mistake"]
# says: must move by τ as well
def soft_threshold(v, tau):
    return np.where(np.abs(v) > tau, v, 0)

# %% tags=["mistake"]
# says: negative v are lost
def soft_threshold(v, tau):
    return np.maximum(v - tau, 0)

# %% [markdown]
# Compare the formula with the grid:

# %%
v = rng.uniform(-3, 3, 50)
for tau in (0.5, 2.0):
    # the grid's spacing is 1e-3
    teach.holds(f"|u|, τ = {tau}: formula against brute force",
                soft_threshold(v, tau), brute_prox(np.abs, v, tau, grid), 6e-4)

# %% [markdown]
# Check (2.3) itself: off the kink the slope is $\pm1$, at the kink anything in between.

# %%
u = soft_threshold(v, 0.5)
slope, off = (v - u) / 0.5, np.abs(u) > 1e-12
teach.holds("where u ≠ 0 it is the sign of u", slope[off], np.sign(u[off]))
teach.holds("where u = 0 it is no steeper than 1",
            max(np.abs(slope[~off]).max() - 1, 0), 0)  # (2.3)

# %% [markdown]
# ## The slope of the envelope
#
# Let $u$ be the prox at $v$, and $u_h$ that at $v + h$. Each is a candidate in (2.2) at the other's point, kinks or
# not. For $u$ this gives $\mathrm{env}(v + h) \le \mathrm{env}(v) + \langle h, v - u\rangle/\tau + \|h\|^2/(2\tau)$,
# and for $u_h$ the same with $\ge$ and with $u_h$ in place of $u$. Wherever the prox does not jump, $u_h \to u$ for
# $h \to 0$, and so
#
# $$ \nabla\, \mathrm{env}_{\tau f}(v) = \frac{v - \mathrm{prox}_{\tau f}(v)}{\tau}. \tag{2.4} $$
#
# So **a proximal step on $f$ is a gradient step on its envelope**, $\mathrm{prox}_{\tau f}(v) = v - \tau
# \nabla\,\mathrm{env}_{\tau f}(v)$, and the envelope of $|u|$ is smooth although $|u|$ is not.

# %%
def abs_envelope(v, tau):
    u = soft_threshold(v, tau)
    return np.abs(u) + (u - v) ** 2 / (2 * tau)


h, tau = 1e-5, 0.7
slope = (abs_envelope(v + h, tau) - abs_envelope(v - h, tau)) / (2 * h)
# tolerance: the slope has a kink at ±τ, where a difference errs by up to h
teach.holds("slope of the envelope", slope, (v - soft_threshold(v, tau)) / tau,
            1e-5)  # (2.4)
h = 0.01
for name, f in functions.items():  # on the grid: h and errors are larger
    slope = (envelope(f, v + h, tau) - envelope(f, v - h, tau)) / (2 * h)
    teach.holds(f"{name}: slope of the envelope on the grid", slope,
                (v - brute_prox(f, v, tau, grid)) / tau, h)

# %% [markdown]
# ## A law for convex functions
#
# Write $u = \mathrm{prox}_{\tau f}(v)$ and $p = (v - u)/\tau$. Let $f$ be convex; so is its conjugate $f^*(p) =
# \sup_u pu - f(u)$, a supremum of lines. Since $p \in \partial f(u)$, this $u$ reaches the supremum, and $f^*(q) \ge
# qu - f(u) = f^*(p) + u(q - p)$ for every $q$: a line of slope $u$ touches $f^*$ at $p$ from below. That is (2.3) for
# $f^*$ at the point $v/\tau$ with step $1/\tau$; for a convex function this suffices for a minimum. Hence
# **Moreau's identity**
#
# $$ v = \mathrm{prox}_{\tau f}(v) + \tau\, \mathrm{prox}_{f^*/\tau}(v/\tau). \tag{2.5} $$

# %%
tau = 0.7
# f* is 0 on [-1, 1] and infinite elsewhere: its prox projects
projected = np.clip(v / tau, -1, 1)
teach.holds("Moreau's identity",
            soft_threshold(v, tau) + tau * projected, v)  # (2.5)

# %% [markdown]
# ## A second law
#
# Slopes $p$ at $u$ and $q$ at $w$ of a convex $f$ obey $\langle p - q, u - w\rangle \ge 0$ (add the inequalities of the
# two lines that touch $f$ from below). By (2.3) the proxes $u$ and $w$ of two points $v_u$ and $v_w$ then obey
#
# $$ \|u - w\|^2 \le \langle u - w,\; v_u - v_w \rangle, \tag{2.6} $$
#
# *firm nonexpansiveness*: a prox of a convex function never drives points apart. It is unique, too: $v_u = v_w$ gives
# $u = w$. Test it on a loss of four numbers, with the library's prox, at 500 pairs of points:

# %%
loss = ml.SoftmaxCrossEntropy(reduction="sum")
points, labels = 3 * rng.normal(size=(2, 500, 4)), rng.integers(0, 4, 500)
images = [loss.prox(each, labels, 5.0) for each in points]
moved, between = images[0] - images[1], points[0] - points[1]
slack = np.sum(moved * between, axis=1) - np.sum(moved**2, axis=1)  # (2.6)
teach.holds("500 pairs of softmax proxes: no slack below 0",
            min(slack.min(), 0), 0)

# %% [markdown]
# ## A loss to be solved by iteration
#
# The logistic loss of a label $y \in \{0, 1\}$ is $\ell(u) = \log(1 + e^u) - yu$, with slope
# $\mathrm{sigmoid}(u) - y$. Its prox solves
#
# $$ u + \tau\,(\mathrm{sigmoid}(u) - y) = v. \tag{2.7} $$
#
# The left side grows with $u$, from $-\infty$ to $\infty$, so there is exactly one solution; iteration finds it.

# %% [markdown]
# ## Exercise 2.3 (core): the logistic prox
#
# Solve (2.7) for arrays, for small *and* large $\tau$, to a residual of 1e-8. Try Newton's method first if
# you like: at $\tau = 50$ it may go astray, and the check says so.
#
# <details><summary>Hint 1: idea</summary>
#
# The slope of the loss lies between $-1$ and $1$. So $u$ lies between $v - \tau$ and $v + \tau$: bisect.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# If $m + \tau(\mathrm{sigmoid}(m) - y) > v$ at the midpoint $m$, the solution is to the left of $m$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `low, high = v - tau, v + tau`
#
# </details>

# %% tags=["exercise"]
# Exercise 2.3
def logistic_prox(v, y, tau):
    """Return u (k,) with u + tau (sigmoid(u) - y) = v, for y of 0 and 1."""
    # <solution>
    low, high = v - tau, v + tau
    for _ in range(60):
        middle = (low + high) / 2
        beyond = middle + tau * (1 / (1 + np.exp(-middle)) - y) > v  # (2.7)
        low, high = (np.where(beyond, low, middle),
                     np.where(beyond, middle, high))
    return middle
    # </solution>

# %% tags=["check"]
logistic_prox = check.logistic_prox(logistic_prox, SEED)

# %% tags=["mistake"]
# says: slope is taken at v
def logistic_prox(v, y, tau):
    return v - tau * (1 / (1 + np.exp(-v)) - y)

# %% tags=["mistake"]
# says: right for a small τ only
def logistic_prox(v, y, tau):
    u = v.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-u))
        u = u - (u + tau * (p - y) - v) / (1 + tau * p * (1 - p))
    return u

# %% tags=["mistake"]
# says: the label's sign
def logistic_prox(v, y, tau):
    low, high = v - tau, v + tau
    for _ in range(60):
        middle = (low + high) / 2
        beyond = middle + tau * (1 / (1 + np.exp(-middle)) - 1 + y) > v
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return middle

# %% [markdown]
# The library has this prox for a whole batch. Check it for both reductions:

# %%
v, y = rng.normal(size=40) * 3, rng.integers(0, 2, 40).astype(float)
for reduction, weight in (("sum", 1.0), ("mean", 1 / 40)):
    loss = ml.SigmoidCrossEntropy(reduction)
    library = loss.prox(v[:, None], y[:, None], 8.0)[:, 0]
    slope = 1 / (1 + np.exp(-library)) - y
    residual = library + weight * 8.0 * slope  # (2.7)
    teach.holds(f"library's prox, {reduction}: (2.7)", residual, v, 1e-10)
    teach.holds(f"library's prox and logistic_prox, {reduction}", library,
                logistic_prox(v, y, weight * 8.0), 1e-8)

# %% [markdown]
# The two reductions differ: under the *mean* over $N$ samples the loss of a single sample has weight $1/N$, and its
# prox a step of $\tau/N$. So the same $\tau$ means something else when the batch grows.

# %% [markdown]
# ## Where steps land
#
# Take softmax cross-entropy with two classes and label 0, in the plane of the two logits, and from each of five points
# one explicit and one implicit step.

# %%
loss = ml.SoftmaxCrossEntropy(reduction="sum")
starts = np.array([[-6.0, -2], [-4, 2], [1, -1], [-1, 3], [5, 1]])
labels = np.zeros(len(starts), dtype=int)


def label_0(z):
    return loss.value_per_sample(z, np.zeros(len(z), dtype=int))


ends = {tau: {"explicit": starts - tau * loss.gradient(starts, labels),
              "implicit": loss.prox(starts, labels, tau)}
        for tau in (1.0, 4.0, 16.0)}
end = ends[4.0]["implicit"]
teach.holds("softmax, τ = 4: (v − u)/τ is the slope at u", (starts - end) / 4,
            loss.gradient(end, labels), 1e-10)  # (2.3)

# %% [markdown]
# ## Predict
#
# How many of the five *explicit* steps with $\tau = 16$ end at a logit beyond $\pm9$, and how many implicit ones?

# %% tags=["predict"]
beyond = None  # (explicit, implicit), such as (5, 5)

# %%
outside, outside_implicit = (int(np.sum(np.abs(end).max(axis=1) > 9))
                             for end in ends[16.0].values())
teach.reveal(beyond, (outside, outside_implicit),
             "An implicit step takes the slope where it ends.")
longer = [np.linalg.norm(end["explicit"] - starts, axis=1)
          > np.linalg.norm(end["implicit"] - starts, axis=1)
          for end in ends.values()]
print(f"τ = 1, 4 and 16: of {np.size(longer)} explicit steps {np.sum(longer)} "
      "are longer than the implicit ones")

# %% [markdown]
# From each point two lines lead to where its steps end; a cross marks where one leaves the picture.

# %%
fig, axes = plt.subplots(1, 3, figsize=(10, 3.7), sharex=True, sharey=True)
for ax, tau in zip(axes, ends):
    teach.contours(ax, label_0, np.linspace(-9, 9, 90), np.linspace(-9, 9, 90))
    for name, end in ends[tau].items():
        color, _, marker = teach.METHODS[name]
        wide = name == "implicit"  # broad lines, open squares: both are seen
        for start, stop in zip(starts, end):
            # the share of the way at which it leaves the picture
            edge = ((9 * np.sign(stop - start) - start) / (stop - start)).min()
            last = start + min(1, edge) * (stop - start)
            ax.plot(*np.array([start, last]).T, color=color,
                    linewidth=4 if wide else 1.1, alpha=0.4 if wide else 1)
            if edge < 1:
                ax.plot(*last, "x", color=color, ms=8, mew=2, clip_on=False)
        ax.plot(*end.T, marker, color=color, label=name, ms=9 if wide else 4,
                markerfacecolor="none" if wide else color)
    ax.plot(*starts.T, "+", color=teach.COLORS["vermillion"], label="start")
    ax.set(title=f"τ = {tau:g}", xlabel="logit of the true class", xlim=(-9, 9),
           ylim=(-9, 9))
axes[0].set_ylabel("logit of the other")
axes[0].legend(loc="upper right")
teach.show(fig, "Explicit and implicit steps on softmax cross-entropy from "
           "five points, three τ. Both go towards larger true logits, the "
           "explicit ones farther (printed); at τ = 16 three of these leave "
           "the picture (crosses), and all implicit ones end in it.")

# %% [markdown]
# The length of an explicit step is proportional to the slope where it starts, even if the loss levels off on the way.
# An implicit step is as long as $\tau$ times the slope where it ends, by (2.3). Implicit steps on *activations*
# would descend an energy with the loss's envelope in place of the loss (ProxProp §4.2.1; notebook 04).

# %% [markdown]
# ## Exercise 2.4 (break it): make a prox jump by 1
#
# For non-convex $f$ law (2.6) may fail. For the double well find the $\tau$ at which its prox jumps by 1, and two points,
# at most 0.01 apart, whose proxes lie that far apart (to 2 %). Then say, on paper, for which $\tau$ there can be no jump
# at all.
#
# <details><summary>Hint 1: idea</summary>
#
# The objective in (2.1) needs two minima of equal depth; by symmetry that happens at $v = 0$.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# The objective's curvature at $u = 0$ is $-1 + 1/\tau$. At $v = 0$ its slope is $u^3 - u + u/\tau$; where it
# vanishes the objective has a minimum or a maximum.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `tau_jump = ...`: where, beside 0, does the slope of the second hint vanish?
#
# </details>

# %% tags=["exercise"]
# Exercise 2.4
# <solution v_left, v_right, tau_jump>
# The slope vanishes at u = ±√(1 − 1/τ), real for τ > 1: a jump of 1 has
# 1 − 1/τ = 1/4. For τ ≤ 1 there is no jump.
v_left, v_right, tau_jump = -0.001, 0.001, 4 / 3
# </solution>

# %% tags=["check"]
v_left, v_right, tau_jump = check.jump((v_left, v_right, tau_jump), SEED)

# %% tags=["mistake"]
# says: there is one minimum
v_left, v_right, tau_jump = -0.005, 0.005, 0.9

# %% tags=["mistake"]
# says: same side of 0
v_left, v_right, tau_jump = 0.001, 0.006, 4 / 3

# %% tags=["mistake"]
# says: a small one
v_left, v_right, tau_jump = -0.005, 0.005, 1.2

# %% tags=["mistake"]
# says: a wide one
v_left, v_right, tau_jump = -0.005, 0.005, 4.0

# %% [markdown]
# A function is *$\rho$-weakly convex* if $f + \frac{\rho}{2}\|\cdot\|^2$ is convex; the double well is,
# with $\rho = 1$, since $f'' = 3u^2 - 1 \ge -1$. Its prox is unique for $\tau\rho < 1$, since the objective in (2.1) is
# then strongly convex: small enough steps are well defined on weakly convex losses too. (Here at $\tau = 1$, too, as
# $\sqrt[3]{v}$; beyond, it jumps.)

# %% [markdown]
# ## Exercise 2.5 (open): what does an envelope forget?
#
# In the bottom row of the key figure, compare the *stationary* points of the double well with those of its envelopes.
# Where has the hump gone? What would a method that descends the envelope with $\tau = 4$ do at a saddle of a network's
# loss? No automatic check.

# %% [markdown] tags=["answer"]
# **One answer.** For $\tau < 1$ the envelope's slope $(v - \mathrm{prox}(v))/\tau$ vanishes exactly at the
# fixed points of the prox: by (2.3) the stationary points $-1, 0, 1$ of $f$. For $\tau = 4$ the hump is no
# longer a fixed point: at 0 the envelope has a peak, a maximum without a slope. A method that really evaluates such a
# prox leaves this hump, and any saddle where the loss bends down with a curvature above $1/\tau$, since such a point
# does not minimise (2.1). But to do so it solves a global problem; a solver that starts there and follows slopes stays,
# since the slope is zero.

# %% tags=["record"]
teach.record("jump of the double well's prox at τ = 4", largest[4.0],
             expected=1.732, tolerance=0.01)
teach.record("largest move between neighbours at τ = 0.9", largest[0.9],
             expected=0.098, tolerance=0.01)
teach.record("explicit steps outside the picture, τ = 16", outside, expected=3,
             tolerance=0)

# %% [markdown]
# ## Summary
#
# - A prox is an implicit step, $u = v - \tau f'(u)$ for a smooth $f$ and (2.3) with kinks. For functions of one number
#   a brute-force argmin on a grid checks it.
# - Where the prox does not jump, it is a gradient step on the Moreau envelope, which has the least value and the
#   minimisers of $f$. The kinks of a convex $f$ vanish; for a non-convex $f$ a new kink may arise where the prox jumps.
# - For a convex $f$ the prox is unique and never drives points apart. For a $\rho$-weakly convex $f$ it is unique if
#   $\tau\rho < 1$, and may jump otherwise.
#
# **What this does not show.** All functions here act on one number or one sample; a network couples its
# weights through products. Nothing here says that a prox is cheap.
#
# **References.** Parikh and Boyd, *Proximal Algorithms*, 2014, §1–3: definitions, (2.4), (2.5), (2.6).
# Rockafellar and Wets, *Variational Analysis*, 1998, chapter 1.G: envelopes of non-convex functions.
# Frerix et al., *Proximal Backpropagation*, ICLR 2018, §4.2.1: implicit steps on activations minimise an
# energy with the loss's envelope.

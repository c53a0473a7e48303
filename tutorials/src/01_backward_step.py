# %% [markdown]
# # 01 · Take a backward step
#
# You will follow one curve, the gradient flow, with two kinds of steps: one that uses the slope where it starts, and
# one that uses the slope where it arrives. The second is the idea that runs through this course.
#
# **Afterwards you can**
# 1. write an explicit and an implicit Euler step for a quadratic loss (Exercises 1.1 and 1.2);
# 2. read off from its amplification factor what a step does to each eigenvector (Exercise 1.1);
# 3. find the largest stable explicit step by experiment, and explain it (Exercise 1.3);
# 4. make an implicit step go uphill, and say which step of a proof fails there (Exercise 1.4);
# 5. estimate the condition number from which an implicit step pays (Exercise 1.5).
#
# **You need** eigenvalues and eigenvectors, gradients, NumPy. **Time**: 50 minutes (estimated).
#
# Each exercise but the last has a check below it. Until you do the exercise, the check says TODO; later cells that need
# the answer go on with a stand-in from the library.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import backward_step as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## A loss with one steep and one flat direction
#
# Let $x \in \mathbb{R}^2$ stand for the weights of a model, and let
#
# $$ J(x) = \tfrac12 \|Bx\|^2 = \tfrac12\, x^T A x, \qquad A = B^T B, \tag{1.1} $$
#
# whose gradient is
#
# $$ \nabla J(x) = A x. \tag{1.2} $$
#
# The eigenvalues of $A$ are the curvatures of $J$ along its eigenvectors. Call the largest $L$ and the smallest
# $\mu$. We choose $L = 10$ and $\mu = 0.5$ and turn the axes by a random angle.

# %%
L, mu = 10.0, 0.5
angle = rng.uniform(0.3, 1.2)
# columns: the eigenvectors
Q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
B = np.diag(np.sqrt([L, mu])) @ Q.T
A = B.T @ B


def J(x):
    return 0.5 * np.sum((x @ B.T) ** 2, axis=-1)  # (1.1), for one x or for rows


def gradient(x):
    return A @ x  # (1.2)


x0 = Q @ np.array([0.6, 2.0])  # mostly along the flat direction

# %% [markdown]
# Never believe a gradient that has not met a finite difference. $J$ is quadratic, so a central difference
# has no truncation error; only rounding is left. The error that `teach.holds` prints, in all notebooks, is
# $\max|x - y| / \max(1, \max|y|)$ for $x$ against $y$: relative where the largest $|y|$ is above 1, else absolute. Above
# the tolerance it stops the notebook.

# %%
h = 1e-4
differences = [(J(x0 + h * e) - J(x0 - h * e)) / (2 * h) for e in np.eye(2)]
teach.holds("∇J is the derivative of J", gradient(x0), differences,
            teach.DIFFERENCES)

# %% [markdown]
# ## The curve to follow
#
# The *gradient flow* runs downhill at the speed of the slope:
#
# $$ \dot x(t) = -\nabla J(x(t)), \qquad x(0) = x_0. \tag{1.3} $$
#
# For the component $c = q^Tx$ along an eigenvector $q$ with eigenvalue $\lambda$ this is $\dot c = -\lambda c$. So each
# component decays independently of the others, and
#
# $$ x(t) = Q \,\mathrm{diag}(e^{-\lambda_i t})\, Q^T x_0. \tag{1.4} $$

# %%
eigenvalues = np.array([L, mu])


def flow(t):
    return Q @ (np.exp(-eigenvalues * t) * (Q.T @ x0))  # (1.4)


t, h = 0.4, 1e-5
velocity = (flow(t + h) - flow(t - h)) / (2 * h)
teach.holds("the curve starts at x0", flow(0), x0)
teach.holds("the curve solves the flow", velocity, -gradient(flow(t)),
            teach.DIFFERENCES)  # (1.3)

# %% [markdown]
# The steep component falls by a factor $e$ in a time $1/L = 0.1$; the flat one takes $1/\mu = 2$. A problem
# whose time scales lie far apart is called **stiff**. The ratio $\kappa = L/\mu$ is 20 here. For the last
# layer of a network on CIFAR-10, ProxProp (§4.1) reports a largest eigenvalue of $6.7\cdot10^{6}$, seven orders of
# magnitude above the smallest.

# %% [markdown]
# ## Forward: the explicit step
#
# Replace the derivative in (1.3) by a difference quotient over a time $\tau$, and take the slope at the
# **old** point:
#
# $$ x_{k+1} = x_k - \tau \nabla J(x_k). \tag{1.5} $$
#
# This is explicit Euler, and it is gradient descent.

# %% [markdown]
# ## Exercise 1.1 (warm-up): the explicit step
#
# Write the step for $J(x) = \frac12\|Bx\|^2$, given $B$, $x$ and $\tau$. Then work out on paper the number by which it
# multiplies an eigenvector of $A$ with eigenvalue $\lambda$: its *amplification factor*.
#
# <details><summary>Hint 1: idea</summary>
#
# Walk from $x$ against the slope at $x$, for a time $\tau$.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Put (1.2) into (1.5). For the factor, use $Aq = \lambda q$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `slope = B.T @ (B @ x)`
#
# </details>

# %% tags=["exercise"]
# Exercise 1.1
def explicit_step(B, x, tau):
    """Return x_new, shape (n,), for B (m, n), x (n,) and tau > 0."""
    # <solution>
    return x - tau * B.T @ (B @ x)  # (1.5)
    # </solution>

# %% tags=["check"]
explicit_step = check.explicit_step(explicit_step, SEED)

# %% tags=["mistake"]
# says: downhill
def explicit_step(B, x, tau):
    return x + tau * B.T @ (B @ x)

# %% tags=["mistake"]
# says: a factor 2
def explicit_step(B, x, tau):
    return x - 2 * tau * B.T @ (B @ x)

# %% tags=["mistake"]
# says: change of x
def explicit_step(B, x, tau):
    return -tau * B.T @ (B @ x)

# %% tags=["mistake"]
# says: writes into one of its arguments
def explicit_step(B, x, tau):
    x -= tau * B.T @ (B @ x)
    return x

# %% [markdown]
# ## Predict
#
# Which number does your factor give for $\tau\lambda = 1.9$?

# %% tags=["predict"]
factor = None  # a number

# %%
teach.holds("explicit step", explicit_step(B, x0, 0.1),
            x0 - 0.1 * gradient(x0))  # (1.5)
q = Q[:, 0]  # the steep direction, whose λ is L
teach.reveal(factor, round(float(q @ explicit_step(B, q, 1.9 / L)), 6))

# %% [markdown]
# ## Backward: the implicit step
#
# Take the slope at the **new** point instead:
#
# $$ x_{k+1} = x_k - \tau \nabla J(x_{k+1}). \tag{1.6} $$
#
# The unknown is on both sides. That is implicit, or *backward*, Euler: standing at $x_{k+1}$ and stepping
# back up the slope leads to $x_k$.

# %% [markdown]
# ## Exercise 1.2 (core): the implicit step
#
# Derive the solution of (1.6) for $J(x) = \frac12\|Bx\|^2$ on paper, then write it. Use `np.linalg.solve`;
# no inverse is needed.
#
# <details><summary>Hint 1: idea</summary>
#
# The equation is linear in $x_{k+1}$. Collect what multiplies it on the left.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $x_{k+1} + \tau A x_{k+1} = x_k$. Which matrix stands before $x_{k+1}$?
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `identity = np.eye(len(x))`
#
# </details>

# %% tags=["exercise"]
# Exercise 1.2
def implicit_step(B, x, tau):
    """Return x_new, shape (n,), for B (m, n), x (n,) and tau > 0."""
    # <solution>
    identity = np.eye(len(x))
    return np.linalg.solve(identity + tau * B.T @ B, x)  # (1.6)
    # </solution>

# %% tags=["check"]
implicit_step = check.implicit_step(implicit_step, SEED)

# %% tags=["mistake"]
# says: this is the explicit step
def implicit_step(B, x, tau):
    return x - tau * B.T @ (B @ x)

# %% tags=["mistake"]
# says: τ belongs to A
def implicit_step(B, x, tau):
    return np.linalg.solve(B.T @ B + tau * np.eye(len(x)), x)

# %% tags=["mistake"]
# says: the other side
def implicit_step(B, x, tau):
    return np.linalg.solve(np.eye(len(x)) - tau * B.T @ B, x)

# %% tags=["mistake"]
# says: instead of solving
def implicit_step(B, x, tau):
    return x + tau * B.T @ (B @ x)

# %% [markdown]
# The library poses the same step as a damped least-squares problem for the *change* $d = x_k - x_{k+1}$. Put
# $x_{k+1} = x_k - d$ into (1.6), divide by $\tau$ and collect $d$:
#
# $$ \left(B^T B + \tfrac1\tau I\right) d = B^T B\, x_k. \tag{1.7} $$
#
# Its `damped_solve(gram, r, beta)` solves $(B^TB + \beta I)\,d = B^T r$; so $r = Bx_k$, and the damping $\beta$ is
# $1/\tau$. This system returns in notebook 05, with a layer's input in place of $B$.

# %%
gram = ml.maps.Gram(B, bias=False)
for tau in (0.05, 1.0, 100.0):
    d = ml.solvers.damped_solve(gram, (B @ x0)[:, None],
                                1 / tau).value[:, 0]  # (1.7)
    teach.holds(f"library's step, τ = {tau:g}", x0 - d,
                implicit_step(B, x0, tau))
    # rounding of d counts up to τL = 1000 times
    teach.holds(f"slope taken at arrival, τ = {tau:g}",
                x0 - tau * gradient(x0 - d), x0 - d, 1e-11)  # (1.6)

# %% [markdown]
# ## What the implicit step minimises
#
# Read (1.6) as $\nabla J(x) + \frac1\tau(x - x_k) = 0$: it says that a gradient vanishes, that of the sum of $J$ and a
# square. Our $J$ is convex, so this happens at the minimum of the sum alone:
#
# $$ x_{k+1} = \arg\min_x \; J(x) + \tfrac{1}{2\tau}\|x - x_k\|^2. \tag{1.8} $$
#
# Lower the loss, but do not go far. Since $x_k$ itself is a candidate, with value $J(x_k)$, we get
# $J(x_{k+1}) + \frac{1}{2\tau}\|x_{k+1} - x_k\|^2 \le J(x_k)$: **this loss never rises, whatever $\tau > 0$**. The
# minimiser is called the *proximal point* of $x_k$; notebook 02 is about it.

# %%
def proximal_objective(x, tau):
    return J(x) + np.sum((x - x0) ** 2, axis=-1) / (2 * tau)  # (1.8)


for tau in (0.01, 100.0, 1.0):
    x_new = implicit_step(B, x0, tau)
    slope = [(proximal_objective(x_new + h * e, tau)
              - proximal_objective(x_new - h * e, tau)) / (2 * h)
             for e in np.eye(2)]
    teach.holds(f"τ = {tau:g}: (1.8) has no slope at x_new", slope, np.zeros(2),
                teach.DIFFERENCES)
    teach.holds(f"τ = {tau:g}: J and the cost of the move are at most J(x0)",
                max(proximal_objective(x_new, tau) - J(x0), 0), 0)

# %% [markdown]
# There is no slope at $x_{k+1}$. Does any of 1000 nearby points lie lower?

# %%
sizes = rng.choice([1e-3, 0.1, 1.0], size=(1000, 1))
nearby = x_new + sizes * rng.normal(size=(1000, 2))
reached = proximal_objective(x_new, tau)
lower = np.sum(proximal_objective(nearby, tau) < reached)
print(f"τ = {tau:g}, 1000 points near x_new: {lower} have a lower value")
print(f"J(x0) = {J(x0):.3f}, J(x_new) + the cost of the move = "
      f"{reached:.3f}")

# %% [markdown]
# ## Predict
#
# Take sixteen steps from the same $x_0$, with $\tau L = 0.5,\ 1.9,\ 2.1$ and $100$. For which of these values do the
# **explicit** steps move away from the minimum? Write them as a tuple before you run the next cell.

# %% tags=["predict"]
prediction = None  # such as (0.5, 100)

# %%
step_sizes = (0.5, 1.9, 2.1, 100.0)  # τL


def path(step, tau, steps=16):
    points = [x0]
    for _ in range(steps):
        points.append(step(B, points[-1], tau))
    return np.array(points)


steps = {"explicit": explicit_step, "implicit": implicit_step}
paths = {s: {name: path(step, s / L) for name, step in steps.items()}
         for s in step_sizes}
away = tuple(s for s in step_sizes if J(paths[s]["explicit"][-1]) > J(x0))
teach.reveal(prediction, away, "Factors (1.9) will say why.", in_order=False)

# %% [markdown]
# The figure shows the paths of both kinds over the contours of $J$, with the flow as a dashed line. A cross on the
# upper edge means that the explicit path has left the picture; at $\tau L = 100$ its first step does.

# %%
def within(points):
    """Return a path up to where it leaves the picture."""
    outside = np.abs(points - [-0.6, 0.6]).max(axis=1) > 2
    return points[np.cumsum(outside) == 0]


# %%
fig, axes = plt.subplots(1, 4, figsize=(11, 3.7), sharex=True, sharey=True)
curve = np.array([flow(t) for t in np.linspace(0, 12, 400)])
side = np.linspace(-2, 2, 80)
for ax, s in zip(axes, step_sizes):
    teach.contours(ax, J, side - 0.6, side + 0.6)
    ax.plot(*curve.T, "--", color=teach.COLORS["grey"], label="gradient flow")
    # open circles, where both kinds meet
    for name, size, fill in (("explicit", 7, "none"), ("implicit", 4, "full")):
        points = within(paths[s][name])
        ax.plot(*points.T, **teach.method_style(name), ms=size, fillstyle=fill)
        if len(points) < len(paths[s][name]):
            ax.plot(points[-1, 0], 2.6, "kx", ms=9, mew=2, clip_on=False)
    ends = [f"{name}: {J(points[-1]):.2g}" for name, points in paths[s].items()]
    ax.set_title("\n".join([f"τL = {s:g}", *ends]), pad=10)
    ax.set_xlabel("x₁")
axes[0].set_ylabel("x₂")
axes[0].legend(loc="lower left")
fig.suptitle("J after 16 steps.  ×: explicit steps have left the picture",
             fontsize=9)
teach.show(fig, "Four panels over the contours of J. Explicit steps follow the "
           "flow at τL = 0.5, zigzag across the valley at 1.9, leave the "
           "picture (cross) at 2.1 and at 100. Implicit steps approach the "
           "minimum in all four.")

# %% [markdown]
# ## One number per eigenvector
#
# Take an eigenvector with eigenvalue $\lambda$ and let $s = \tau\lambda$. One step multiplies the component along it by
#
# $$ r_{\text{flow}}(s) = e^{-s}, \qquad r_{\text{explicit}}(s) = 1 - s, \qquad
#    r_{\text{implicit}}(s) = \frac{1}{1+s}. \tag{1.9} $$
#
# The first is what we want to follow. Near $s = 0$ the others agree with it to first order. At $s = 2$ the explicit
# factor leaves $[-1, 1]$; for large $s$ the implicit one goes to zero, as the flow's does.

# %%
s = np.logspace(-2, 2.5, 400)
factors = {"exact": np.exp(-s), "explicit": 1 - s,
           "implicit": 1 / (1 + s)}  # (1.9)
for name, step in (("explicit", explicit_step), ("implicit", implicit_step)):
    measured = [Q[:, 0] @ step(B, Q[:, 0], value / L) for value in s]
    teach.holds(f"factor of the {name} step", measured, factors[name])
# the steep component of the curve (1.4) at the time τ = s/L, over its start
measured = [Q[:, 0] @ flow(value / L) / (Q[:, 0] @ x0) for value in s]
teach.holds("factor of the flow", measured, factors["exact"])

# %% [markdown]
# One step size acts on both eigenvectors. What do the four step sizes of the last figure do to the flat one?

# %%
for value in step_sizes:
    flat = value * mu / L  # s of the flat direction
    print(f"τL = {value:g}, flat direction: flow {np.exp(-flat):.3f}, "
          f"explicit {1 - flat:.3f}, implicit {1 / (1 + flat):.3f}")

# %% [markdown]
# Now plot the three factors as curves. The bars below them show the range of $s$ that each step size covers: from
# $\tau\mu$ to $\tau L$.

# %%
fig, ax = plt.subplots(figsize=(9, 3.3))
for name, factor in factors.items():
    line = teach.method_style(name) | {"marker": "",
                                       "label": name.replace("exact", "flow")}
    ax.plot(s, np.abs(factor), **line)
for height, value in zip((3e-3, 1.3e-3, 5e-4, 2e-4), step_sizes):
    ax.plot([value * mu / L, value], [height] * 2, "|-",
            color=teach.COLORS["grey"], ms=8)
    # beside the flow, not on it
    start, side = (value, "right") if value > 10 else (value * mu / L, "left")
    ax.text(start, height * 1.25, f"τL = {value:g}: from τμ to τL",
            fontsize=8, ha=side)
ax.axhline(1, color=teach.COLORS["black"], linewidth=0.8)
ax.text(500, 1.3, "above 1: grows", fontsize=8, ha="right")
ax.axvline(2, color=teach.COLORS["grey"], linestyle=":")
ax.text(2.1, 8, "s = 2", fontsize=8)
ax.set(xscale="log", yscale="log", ylim=(1e-4, 20), xlabel="s = τλ",
       ylabel="size of the factor, |r(s)|")
ax.legend(loc="upper left")
teach.show(fig, "Size of the amplification factors against s. The explicit one "
           "touches zero at s = 1 and rises above one at s = 2; for large s "
           "the implicit one falls like 1/s, the flow's faster.")

# %% [markdown]
# An explicit step has to keep the **right** end of its bar, the steep direction, below 2. Then the left end, the flat
# direction, has a factor near 1 (0.905 at $\tau L = 1.9$): little happens there, and that little is accurate (the flow
# has 0.909). This is how stiffness shows: what limits the step is *stability* in one direction, not accuracy in the
# other. Implicit Euler is stable, but **not** accurate: at $\tau L = 100$ its factor in the flat direction is 0.167,
# where the flow has $e^{-5} = 0.007$. To reach the minimum no accuracy is needed: any factor between $-1$ and 1 leads
# there.

# %% [markdown]
# ## Exercise 1.3 (core): find the limit by experiment
#
# Write a function that finds, from $B$ alone and **by experiment**, the largest $\tau$ for which explicit steps still
# shrink $x$. Use no eigenvalues (the check cannot see whether you do). An accuracy of one per cent is enough. Then
# compare the result with the limit that follows from (1.9).
#
# <details><summary>Hint 1: idea</summary>
#
# Write a test "after many steps, is $x$ shorter than before?", then bisect between a $\tau$ that shrinks
# and one that grows.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# In the long run $x$ grows by $\max_i |1 - \tau\lambda_i|$ a step: the component with the largest factor outgrows the
# others. So take a few hundred steps from a random $x$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `low, high = 0.0, 1.0`, then double `high` until $x$ is no longer shorter (write the test as `not shorter`: an overflow
# to nan then counts as grown).
#
# </details>

# %% tags=["exercise"]
# Exercise 1.3
def largest_stable_step(B):
    """Return the number tau, to 1 %, up to which explicit steps shrink x."""
    # <solution>
    def grows(tau):
        x = np.ones(B.shape[1])
        for _ in range(3000):
            x = x - tau * B.T @ (B @ x)
            if np.linalg.norm(x) > 1e6:
                return True
        return False

    low, high = 0.0, 1e-3
    while not grows(high):
        low, high = high, 2 * high
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if grows(middle) else (middle, high)
    return low
    # </solution>

# %% tags=["check"]
largest_stable_step = check.largest_stable_step(largest_stable_step, B, SEED)

# %% tags=["mistake"]
# says: vanishes in one step
def largest_stable_step(B):
    return 1 / np.linalg.norm(B, 2) ** 2

# %% tags=["mistake"]
# says: the slowest component
def largest_stable_step(B):
    return 2 / np.linalg.eigvalsh(B.T @ B)[0]

# %% tags=["mistake"]
# says: a singular value of B
def largest_stable_step(B):
    return 2 / np.linalg.norm(B, 2)

# %% [markdown]
# ## The window, measured
#
# How many steps of either kind does it take to bring $J$ down by a factor of a million, for $\tau$ over six decades?

# %%
def steps_needed(step, tau, limit=10_000):
    x, target = x0, 1e-6 * J(x0)
    for k in range(limit):
        if J(x) <= target:
            return k
        if J(x) > 1e6 * J(x0):
            break
        x = step(B, x, tau)
    return np.nan  # diverged, or too slow


# %% [markdown]
# Count them for 25 step sizes, and for two more just below the explicit step's limit.

# %%
taus = np.logspace(-3, 3, 25)
needed = {name: np.array([[steps_needed(step, tau) for tau in taus]])
          for name, step in (("explicit", explicit_step),
                             ("implicit", implicit_step))}
limit = largest_stable_step(B)
for tau in (taus[5], taus[8], 1.99 / L):
    near = {name: steps_needed(step, tau) for name, step in steps.items()}
    print(f"τ = {tau:.3f}:", *(f"{name} {count:.0f} steps "
                               for name, count in near.items()))
last = steps_needed(explicit_step, 0.95 * limit)
print(f"explicit, τ at 0.95 of its limit: {last} steps, {last * mu / L:.1f} κ")

# %% [markdown]
# The figure shows all 25. The thick line is the implicit step's; the explicit step's line, where it exists, lies on it.

# %%
fig, ax = plt.subplots(figsize=(8, 3.2))
for row, (name, counts) in enumerate(needed.items()):
    teach.band(ax, taus, counts, name, row=row,
               **({"linewidth": 5, "alpha": 0.4} if row else {"zorder": 3}))
ax.axvline(limit, color=teach.COLORS["grey"], linestyle=":")
ax.set(xscale="log", yscale="log", xlabel="τ", ylabel="steps to J(x₀)/10⁶",
       title="× : not there in 10,000 steps, or never.  Dotted: the measured "
       "limit of the explicit step\n")
ax.legend(loc="lower left")
teach.show(fig, "Steps needed against τ: explicit steps need fewer and fewer "
           "up to τ = 0.178, the last one before the dotted limit at 0.2, and "
           "never arrive beyond (crosses on the top edge); implicit steps go "
           "on down to two. At the smallest τ both would take more than "
           "10,000.")

# %% [markdown]
# Well before the limit the two need about the same number of steps (printed): a small step is a small step. Just below
# the limit, at $\tau = 0.199$, explicit steps need 9.8 times as many: their steep factor is $-0.99$. To the right of
# the dotted line only implicit steps arrive. But these are counts of *steps*: an explicit step costs a product with
# $A$, an implicit one a linear solve. Notebook 06 counts what each costs on a layer; notebook 11 measures seconds.

# %% [markdown]
# ## Exercise 1.4 (break it): an implicit step that goes uphill
#
# "The loss never rises" was proved from (1.8). Where did the proof use that $x_{k+1}$ is the
# *minimiser*, and not just a point with zero gradient? Find a symmetric 2×2 matrix $A$ and a $\tau > 0$
# such that (1.6) has a solution $x_{\text{new}}$ for each $x$, and for at least one $x$ the step **raises**
# $J(x) = \frac12 x^TAx$: $J(x_{\text{new}}) > J(x)$.
#
# <details><summary>Hint 1: idea</summary>
#
# Give $J$ a direction in which it bends down.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Let $c = q^Tx$ be the component along an eigenvector $q$. Its part of $J$ goes from $\frac{\lambda}{2}c^2$ to
# $\frac{\lambda}{2}\,\frac{c^2}{(1+\tau\lambda)^2}$. When is the second larger, for $\lambda < 0$?
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `saddle = np.diag([1.0, -1.0])`
#
# </details>

# %% tags=["exercise"]
# Exercise 1.4
# <solution saddle, saddle_tau>
# The proof says: at the minimiser J + ‖x − x_k‖²/2τ is at most what it is at
# x_k. Along λ < 0 with 1 + τλ < 0 the zero of its gradient is a maximum.
saddle, saddle_tau = np.diag([1.0, -1.0]), 3.0  # x₂: across 0, half as far
# </solution>

# %% tags=["check"]
saddle, saddle_tau = check.uphill((saddle, saddle_tau), SEED)

# %% tags=["mistake"]
# says: J is convex
saddle, saddle_tau = np.diag([1.0, 2.0]), 3.0

# %% tags=["mistake"]
# says: subproblem convex
saddle, saddle_tau = np.diag([1.0, -1.0]), 0.5

# %% tags=["mistake"]
# says: farther out than x
saddle, saddle_tau = np.diag([1.0, -1.0]), 1.5

# %% [markdown]
# ## Exercise 1.5 (open): is it worth it?
#
# Suppose $x \in \mathbb{R}^{4000}$, and that solving with $I + \tau A$ costs as much as 1000 products with $A$. You want
# to bring $J$ down by a factor of $10^6$, as in the last figure, from a start that lies almost in the flat direction, and
# may choose $\tau$ for either kind of step. From which condition number $\kappa$ on are implicit steps cheaper? What if
# the solve were stopped after three steps of an iterative method? Write five lines; there is no automatic check. Notebook
# 06 answers the second question.

# %% [markdown] tags=["answer"]
# **One answer.** A little below its limit the explicit step multiplies the flat component by about $1 - 2/\kappa$, and
# its part of $J$ by $e^{-4/\kappa}$: for a factor of $10^{-6}$ it takes $\frac14\ln 10^6 = 3.45$ times $\kappa$ steps
# (3.4 printed above, for $\kappa = 20$). An implicit step may be as long as we like: with $\tau\mu = 1000$ one is enough,
# by (1.9), for 1000 products. So implicit steps pay from a $\kappa$ of about 290 (at the figure's largest $\tau$ it takes
# two of them: from 580). For a network $A$ changes with $x$; how large a step may then be is not answered here. Three
# iterations of one product each cost as much as three explicit steps; how much they achieve is the subject of notebook
# 06.

# %% tags=["record"]
teach.record("largest stable τL", limit * L, expected=2.0, tolerance=0.02)
least, end = needed["implicit"][0, -1], J(paths[1.9]["explicit"][-1]) / J(x0)
teach.record("implicit steps needed at the largest τ", least, expected=2,
             tolerance=0)
teach.record("J of 16 explicit steps over J(x0), τL = 1.9", end, expected=0.037,
             tolerance=0.005)
teach.record("explicit steps near the limit over κ", last * mu / L,
             expected=3.4, tolerance=0.15)
ratio = near["explicit"] / near["implicit"]
teach.record("explicit over implicit steps, τL = 1.99", ratio, expected=9.8,
             tolerance=0.3)
flat = 100 * mu / L
teach.record("implicit factor of the flat direction, τL = 100", 1 / (1 + flat),
             expected=0.167, tolerance=1e-3)

# %% [markdown]
# ## Summary
#
# - An explicit step takes the slope where it starts; it is stable only for $\tau < 2/L$, whatever the flat directions
#   need.
# - An implicit step takes the slope where it arrives: $(I + \tau A)^{-1}x$ for (1.1), stable for every
#   $\tau > 0$.
# - It minimises $J(x) + \frac{1}{2\tau}\|x - x_k\|^2$ for a convex $J$, and therefore never raises it. Where $J$ is
#   not convex, a zero of the gradient need not be the minimiser, and a step may go uphill.
#
# **What this does not show.** Nothing here is a network, whose $J$ is not quadratic; ProxProp treats only parts of that
# $J$ implicitly. Stable does not mean accurate, and counts of steps are not seconds.
#
# **References.** Frerix, Möllenhoff, Moeller, Cremers, *Proximal Backpropagation*, ICLR 2018, §4.1: the
# eigenvalues quoted, and the limit $2/\lambda_{\max}$ of explicit steps. Parikh and Boyd, *Proximal
# Algorithms*, 2014, §4.1: implicit Euler as a proximal step. Hairer and Wanner, *Solving Ordinary
# Differential Equations II*, chapter IV: stiffness and amplification factors.

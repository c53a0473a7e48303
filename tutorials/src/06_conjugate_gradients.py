# %% [markdown]
# # 06 · Solve it with conjugate gradients
#
# You will replace the exact solve of ProxProp's step by a few iterations that need not form its matrix, and
# learn to say beforehand how many are enough.
#
# **Afterwards you can**
# 1. take the best step along a gradient, unit by unit (Exercise 6.1);
# 2. write conjugate gradients for a whole layer, without its matrix (Exercise 6.2);
# 3. bound the number of steps by eigenvalues, and make float64 take more steps than unknowns (Exercises 6.3 and 6.5);
# 4. carry the iteration over to sample space, where steps cost less if $N < 2n$ (Exercise 6.4);
# 5. choose between a few steps and an exact solve by counting (Exercise 6.6).
#
# **You need** notebook 05. **Time**: 70 minutes (estimated).

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import conjugate_gradients as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## The system
#
# For one layer with input $\tilde a = [a\ 1]$, signal $g = \partial J/\partial z$ and damping $\beta =
# 1/\tau_\theta$, ProxProp's direction solves
#
# $$ M d = b, \qquad M = \tilde a^T\tilde a + \beta I, \qquad b = \tilde a^T g = \nabla J. \tag{ProxProp 14} $$
#
# $d$ and $b$ have one column for each output unit $j$, and $M$ does not mix them: these are $m$ systems with one
# matrix; $\beta$ on the diagonal keeps it invertible. A product $Mp = \tilde a^T(\tilde a p) + \beta p$ needs no $M$,
# only two products with $\tilde a$.

# %%
data, N = ml.datasets.digits(), 100


def layer(seed, rng):
    """Return a network, a batch, and a and g of map 2: 30 inputs, 20 units."""
    rows = rng.choice(len(data.X_train), N, replace=False)
    X, y = data.X_train[rows].astype(float), data.y_train[rows]
    net = ml.mlp([64, 30, 20, 10], activation="tanh", seed=seed,
                 dtype=np.float64)
    theta, z, a, _ = net.forward(X)
    g3 = net.loss_function.gradient(z[3], y)
    return net, X, y, a[1], (g3 @ theta[3][:-1].T) * (1 - a[2] ** 2)


def system(tau_theta):
    M = a_tilde.T @ a_tilde + np.eye(len(b)) / tau_theta  # ProxProp (14)
    return M, np.linalg.solve(M, b)


net, X, y, a, g = layer(SEED, rng)
a_tilde = np.hstack([a, np.ones((N, 1))])
b = a_tilde.T @ g
teach.holds("b is ∇J", b, ml.BackProp().direction(net, X, y)[1][1])

# %% [markdown]
# ## One step: the best one along the gradient
#
# Since $M$ is symmetric and positive definite, solving $Md = b$ means minimising, in each unit,
#
# $$ q(d) = \tfrac12\langle d, Md\rangle - \langle b, d\rangle, \qquad -\nabla q(d) = b - Md = r. \tag{6.1} $$
#
# Start at $d_0 = 0$. This is a *warm start*: the new weights are $\theta_k - \tau d$, and $d = 0$ gives the present
# ones. The residual there is $b$. Along any direction $p$ the lowest point is where the slope
# $\langle p, M(d + \alpha p) - b\rangle$ vanishes:
#
# $$ \alpha = \frac{\langle p, r\rangle}{\langle p, Mp\rangle}. \tag{6.2} $$

# %% [markdown]
# ## Exercise 6.1 (warm-up): one step, unit by unit
#
# From $d_0 = 0$ take the best step along $p = b$, in each unit (column) with its own $\alpha$.
#
# <details><summary>Hint 1: idea</summary>
#
# Each column has its own $\alpha$, which makes its slope along its own $b$ zero.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# (6.2) with $p = r = b$, column by column; then $d_1 = d_0 + \alpha p$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `squares = np.sum(b * b, axis=0)`
#
# </details>

# %% tags=["exercise"]
# Exercise 6.1
def first_step(M, b):
    """Return d_1, the shape of b (n, m), for M (n, n)."""
    # <solution>
    alpha = np.sum(b * b, axis=0) / np.sum(b * (M @ b), axis=0)  # (6.2)
    return alpha * b
    # </solution>

# %% tags=["check"]
first_step = check.first_step(first_step, SEED)

# %% tags=["mistake"]
# says: all units share
def first_step(M, b):
    return np.sum(b * b) / np.sum(b * (M @ b)) * b

# %% tags=["mistake"]
# says: upside down
def first_step(M, b):
    return np.sum(b * (M @ b), axis=0) / np.sum(b * b, axis=0) * b

# %% tags=["mistake"]
# says: stable, but not the best
def first_step(M, b):
    return b / np.linalg.norm(M, 2)

# %% [markdown]
# First the warm start, and the slope in (6.1):

# %%
def dots(u, v):
    return np.sum(u * v, axis=0)  # an inner product for each unit


def q(M, d):
    return 0.5 * dots(d, M @ d) - dots(b, d)  # (6.1)


M, exact = system(1.0)
# ProxProp's step solves Mθ = ãᵀz^½ + βθ_k; how far off is θ_k? Here τ = β = 1
theta_k, z_half = net.theta[2], a_tilde @ net.theta[2] - g
teach.holds("(5.1), its residual at θ_k: −b",
            a_tilde.T @ z_half + theta_k - M @ theta_k, -b)
d, way = np.random.default_rng(SEED).normal(size=(2, *b.shape))
# no error in the difference of a quadratic's values but rounding
teach.holds("slope of q by differences", (q(M, d + way) - q(M, d - way)) / 2,
            -dots(b - M @ d, way), 1e-10)  # (6.1)

# %% [markdown]
# Then the step:

# %%
cg1 = ml.solvers.conjugate_gradients(ml.maps.Gram(a), g, 1.0, steps=1).value
largest = abs(cg1).max()
teach.holds("cg1 of the library is this step, over its largest entry",
            cg1 / largest, first_step(M, b) / largest)
teach.holds("no slope of q along b is left, over that at the start",
            dots(b, M @ cg1 - b) / dots(b, b), np.zeros(20), 1e-10)  # (6.2)

# %% [markdown]
# Other lengths, the step's angles, and ten such steps:

# %%
steps = (0.5, 0.9, 1.1, 2.0)
best = all(np.all(q(M, t * cg1) > q(M, cg1)) for t in steps)
angles = dots(cg1, b) / np.sqrt(dots(cg1, cg1) * dots(b, b))
print(f"0.5, 0.9, 1.1 and 2 times the step are worse in every unit: {best}")
print(f"cosine to the gradient: at least {angles.min():.3f} in each unit, "
      f"{np.sum(cg1 * b) / (np.linalg.norm(cg1) * np.linalg.norm(b)):.3f} "
      "over all")
rest = exact
for _ in range(10):
    rest = rest - first_step(M, M @ rest)
descent = np.sqrt(np.sum(rest * (M @ rest)) / np.sum(exact * b))
print(f"ten such steps: error {descent:.2f} of that at 0, in the norm of M")

# %% [markdown]
# So ProxProp with one step, cg1, *is* the gradient, with each unit's column scaled by an exact line search; as one vector
# it has a cosine of 0.794 to $\nabla J$.
#
# ## The next steps: do not undo the last
#
# At $\tau_\theta=1$ ten such steps, steepest descent, leave 0.47 of the error, ten CG steps 0.0025. CG searches along
# $p_0 = r_0$, then along $p_{k+1} = r_{k+1} + \gamma_k p_k$ with $\gamma_k$ such that
# $\langle p_{k+1}, Mp_k\rangle = 0$: moving along $p_{k+1}$ then leaves the slope along $p_k$ at zero. Each search
# leaves $r_{k+1} = r_k - \alpha_k Mp_k$ orthogonal to $p_k$. Hence $\langle p_k, r_k\rangle = \|r_k\|^2$ and
# $\langle r_{k+1}, r_k\rangle = 0$, and with $Mp_k = (r_k - r_{k+1})/\alpha_k$
#
# $$ \alpha_k = \frac{\|r_k\|^2}{\langle p_k, Mp_k\rangle}, \qquad \gamma_k =
# -\frac{\langle r_{k+1}, Mp_k\rangle}{\langle p_k, Mp_k\rangle} = \frac{\|r_{k+1}\|^2}{\|r_k\|^2}.
# \tag{6.3} $$

# %% [markdown]
# Older directions take care of themselves. Let $p_0,\dots,p_k$ be $M$-conjugate and $r_k$ orthogonal to those before
# $p_k$. Then $\langle p_i,r_{k+1}\rangle=\langle p_i,r_k\rangle-\alpha_k\langle p_i,Mp_k\rangle=0-0$ for $i<k$, and
# $\alpha_k$ makes it zero for $i=k$. Since $Mp_i=(r_i-r_{i+1})/\alpha_i$ and $r_i=p_i-\gamma_{i-1}p_{i-1}$, each $Mp_i$
# with $i<k$ is a sum of $p_0,\dots,p_k$, so
# $\langle p_{k+1},Mp_i\rangle=\langle r_{k+1},Mp_i\rangle+\gamma_k\langle p_k,Mp_i\rangle=0+0$. The $p_i$ span the
# *Krylov space* of $b, Mb, \dots$, on which the slope of $q$ at $d_k$ is zero:
#
# $$ d_k = \arg\min\,\{q(d) : d \in \mathrm{span}(b, Mb, \dots, M^{k-1}b)\}. \tag{6.4} $$

# %% [markdown]
# ## Exercise 6.2 (core): conjugate gradients for a layer
#
# Write CG for all units at once, each with its own $\alpha$ and $\gamma$, without forming $M$.
#
# <details><summary>Hint 1: idea</summary>
#
# Keep four arrays of the shape of $d$: $d, r, p$ and $Mp$. Never change an array in place:
# another name may stand for it.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# In each step: $\alpha$; $d + \alpha p$; $r - \alpha Mp$; $\gamma$; $r + \gamma p$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `d, r, p = np.zeros_like(b), b, b`, and then `d = d + alpha * p` (not `+=`).
#
# </details>

# %% tags=["exercise"]
# Exercise 6.2
def conjugate_gradients(a, g, tau_theta, steps):
    """Return d_k after `steps` iterations from 0, shape (n + 1, m),
    for a (N, n) and g (N, m)."""
    a_tilde = np.hstack([a, np.ones((len(a), 1))])
    b = a_tilde.T @ g
    # <solution>
    d, r, p = np.zeros_like(b), b, b
    for _ in range(steps):
        Mp = a_tilde.T @ (a_tilde @ p) + p / tau_theta
        alpha = np.sum(r * r, axis=0) / np.sum(p * Mp, axis=0)  # (6.3)
        d = d + alpha * p
        r_new = r - alpha * Mp
        gamma = np.sum(r_new * r_new, axis=0) / np.sum(r * r, axis=0)  # (6.3)
        p = r_new + gamma * p
        r = r_new
    return d
    # </solution>

# %% tags=["check"]
conjugate_gradients = check.conjugate_gradients(conjugate_gradients, SEED)

# %% tags=["mistake"]
# says: steepest descent
def conjugate_gradients(a, g, tau_theta, steps):
    return check.wrong_cg(a, g, tau_theta, steps, gamma=lambda *_: 0)

# %% tags=["mistake"]
# says: one and the same array
def conjugate_gradients(a, g, tau_theta, steps):
    a_tilde = np.hstack([a, np.ones((len(a), 1))])
    r = a_tilde.T @ g
    d, p = np.zeros_like(r), r
    for _ in range(steps):
        Mp = a_tilde.T @ (a_tilde @ p) + p / tau_theta
        size = np.sum(r * r, axis=0)
        alpha = size / np.sum(p * Mp, axis=0)
        d = d + alpha * p
        r -= alpha * Mp
        p = r + np.sum(r * r, axis=0) / size * p
    return d

# %% tags=["mistake"]
# says: one step length for all units
def conjugate_gradients(a, g, tau_theta, steps):
    return ml.solvers.conjugate_gradients(ml.maps.Gram(a), g, 1 / tau_theta,
                                          steps, joint=True).value

# %% tags=["mistake"]
# says: τ_θ divides
def conjugate_gradients(a, g, tau_theta, steps):
    return ml.solvers.conjugate_gradients(ml.maps.Gram(a), g, tau_theta,
                                          steps).value

# %% [markdown]
# Ours and the library's (at ten steps rounding has grown: Exercise 6.5):

# %%
for k in (1, 3, 10):
    ours = conjugate_gradients(a, g, 1.0, k)
    theirs = ml.ProxProp(1.0, solver=f"cg{k}").direction(net, X, y)[1][1]
    teach.compare(f"cg{k}: ours, library's", ours, theirs)

# %% [markdown]
# For unit 0: three directions, each $M$-conjugate to *both* others:

# %%
path = np.array([0 * b[:, 0]] + [conjugate_gradients(a, g, 1.0, k)[:, 0]
                                 for k in range(1, 4)])  # of unit 0
moves = np.diff(path, axis=0)  # α_k p_k
products = moves @ M @ moves.T
sizes = np.sqrt(np.diag(products))
teach.holds("three directions, each M-conjugate to all others",
            products / np.outer(sizes, sizes), np.eye(3), 1e-10)

# %% [markdown]
# Both forms of $\gamma_k$ in (6.3) agree, and its $\alpha_k$ gives these moves:

# %%
rests = b[:, 0] - path @ M  # r_k
squares = np.sum(rests**2, axis=1)
slopes = -np.sum(rests[1:] * (moves @ M), axis=1) / squares[:-1]
gamma = squares[1:] / squares[:-1]
teach.holds("γ is the same in both forms", slopes, gamma, 1e-10)  # (6.3)
p = [rests[0]]
for k in (0, 1):
    p.append(rests[k + 1] + gamma[k] * p[k])
alpha = squares[:3] / np.sum(p @ M * p, axis=1)  # (6.3)
teach.holds("α_k p_k, over the moves", alpha[:, None] * p / moves,
            np.ones_like(moves), 1e-8)

# %% [markdown]
# And $d_3$ minimises over the Krylov space of dimension 3:

# %%
krylov = [b[:, 0], M @ b[:, 0], M @ M @ b[:, 0]]
basis = np.linalg.qr(np.stack(krylov, axis=1))[0]
lowest = basis @ np.linalg.solve(basis.T @ M @ basis, basis.T @ b[:, 0])
teach.holds("cg3 minimises over three dimensions, unit 0",
            path[3] / np.abs(lowest).max(), lowest / np.abs(lowest).max(),
            1e-10)  # (6.4)

# %% [markdown]
# ## How many steps?
#
# Measure errors in the norm $\|x\|_M^2 = \langle x, Mx\rangle$. So does $q$: put $b = Md$ into (6.1),
#
# $$ q(d_k) - q(d) = \tfrac12\|d - d_k\|_M^2. \tag{6.5} $$

# %%
M, exact = system(1.0)
d = conjugate_gradients(a, g, 1.0, 3)
rest, above = exact - d, q(M, d) - q(M, exact)
# tolerance: a difference of near values
teach.holds("how far q is above its least value, over half the squared error",
            above / (0.5 * dots(rest, M @ rest)), np.ones(len(above)),
            1e-8)  # (6.5)

# %%
def error(M, exact, d):
    rest = exact - d  # over all units
    return np.sqrt(np.sum(rest * (M @ rest)) / np.sum(exact * (M @ exact)))


gram = ml.maps.Gram(a, side="parameter")
taus, counts = (0.05, 1.0, 100.0, 1e4), np.arange(1, 61)
errors, iterates = {}, {}
for tau_theta in taus:
    M, exact = system(tau_theta)
    iterates[tau_theta] = [
        ml.solvers.conjugate_gradients(gram, g, 1 / tau_theta, int(k)).value
        for k in counts]
    errors[tau_theta] = np.array([error(M, exact, d)
                                  for d in iterates[tau_theta]])

# %% [markdown]
# By (6.4) $d_k = s(M)b$ for the best polynomial $s$ of degree $<k$. The error is $d - d_k = (I - s(M)M)\,d$: along each
# eigenvector of $M$ it is $d$ times $1 - s(\lambda)\lambda$, which runs through the polynomials $\pi$ of degree $\le k$
# with $\pi(0) = 1$. So
#
# $$ \frac{\|d - d_k\|_M}{\|d\|_M} \le \min_{\pi(0)=1}\ \max_{\lambda \in \mathrm{eig}(M)} |\pi(\lambda)|
#    \;\le\; 2\left(\frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}\right)^k, \qquad \kappa =
#    \frac{\lambda_{\max}}{\lambda_{\min}}. \tag{6.6} $$
#
# In the last bound $\pi$ is the Chebyshev polynomial of the interval $[\lambda_{\min}, \lambda_{\max}]$. The middle term
# asks for less: a $\pi$ small on the *eigenvalues*. If the largest, $\lambda_1$, stands apart, a factor
# $1 - \lambda/\lambda_1$ removes it in one step, and $\kappa' = \lambda_2/\lambda_{\min}$ counts for the rest:
#
# $$ \frac{\|d - d_k\|_M}{\|d\|_M} \le 2\left(\frac{\sqrt{\kappa'} - 1}{\sqrt{\kappa'} + 1}\right)^{k-1}. \tag{6.7} $$
#
# And a polynomial of degree $n + 1$ can vanish on all $n + 1$ eigenvalues: on paper CG *ends* by step $n + 1$.

# %%
def chebyshev(kappa, k):
    return 2 * ((np.sqrt(kappa) - 1) / (np.sqrt(kappa) + 1)) ** k


kappas, bounds = {}, {}
for tau_theta in taus:
    values = np.linalg.eigvalsh(system(tau_theta)[0])
    kappas[tau_theta] = values[-1] / values[0]
    bounds[tau_theta] = (chebyshev(kappas[tau_theta], counts),  # (6.6)
                         chebyshev(values[-2] / values[0],
                                   counts - 1))  # (6.7)
    excess = errors[tau_theta] - np.minimum(*bounds[tau_theta])
    teach.holds(f"τ_θ = {tau_theta:g}, 60 steps: no error above a bound",
                max(excess.max(), 0), 0)

# %% [markdown]
# The middle of (6.6) is a linear program:

# %%
from scipy.optimize import linprog


def middle(values, k):
    """Return the least t with |1 + Σ c_i (λ/λ_max)^i| ≤ t for all λ."""
    powers = (values[:, None] / values[-1]) ** np.arange(1, k + 1)
    t = np.ones((len(values), 1))
    sides = np.block([[powers, -t], [-powers, -t]])
    ones = np.ones(len(values))
    return linprog(np.eye(k + 1)[k], sides, np.concatenate([-ones, ones]),
                   bounds=(None, None)).fun  # (6.6)


for tau_theta in (0.05, 1.0):
    values = np.linalg.eigvalsh(system(tau_theta)[0])
    for k in (1, 2, 4):
        chain = (errors[tau_theta][k - 1], middle(values, k),
                 *(bound[k - 1] for bound in bounds[tau_theta]))
        print(f"τ_θ = {tau_theta:<4g} cg{k}: error {chain[0]:.1e}, middle "
              f"{chain[1]:.1e}, (6.6) {chain[2]:.1e}, (6.7) {chain[3]:.1e}")
        # tolerance: the program is solved to about 1e-7
        teach.holds("    the middle lies between",
                    max(chain[0] - chain[1], chain[1] - min(chain[2:]), 0), 0,
                    1e-6)

# %% [markdown]
# ## Predict
#
# Our layer has $n + 1 = 31$. Take $\tau_\theta = 100$, float64, and 31 steps. The relative error is then
# about (a) $10^{-15}$, (b) $10^{-9}$, (c) $10^{-3}$.

# %% tags=["predict"]
prediction = None  # "a", "b" or "c"

# %%
at_the_end = errors[100.0][30]
answer = min("abc",
             key=lambda c: abs(np.log10(at_the_end)
                               + {"a": 15, "b": 9, "c": 3}[c]))
teach.reveal(prediction, answer, f"The error is {at_the_end:.0e}.")

# %% [markdown]
# On paper $r_k$ is orthogonal to all $p_i$ with $i<k$, hence to $r_i$. In float64, at $\tau_\theta=100$, rounding
# destroys that:

# %%
M, exact = system(100.0)
rests = np.stack([b] + [b - M @ d for d in iterates[100.0][:19]])  # r_k
rests /= np.linalg.norm(rests, axis=1, keepdims=True)
cosines = abs(np.einsum("knj,inj->kij", rests, rests))  # of each unit j
cosines[range(20), range(20)] = 0
crossed = {k: cosines[:k, :k].max() for k in (5, 10, 20)}
for k, largest in crossed.items():
    print(f"first {k} residuals: largest |cosine| of two {largest:.2g}")

# %% [markdown]
# Errors and bounds:

# %%
fig, axes = plt.subplots(1, 4, figsize=(11, 3.8), sharey=True)
for ax, tau_theta in zip(axes, taus):
    for bound, line, label in zip(bounds[tau_theta], (":", "--"),
                                  ("Chebyshev (6.6)", "one apart (6.7)")):
        ax.plot(counts, bound, line, color=teach.COLORS["grey"], label=label)
    ax.plot(counts, errors[tau_theta], "k", label="CG")
    for k in (1, 3, 10):
        marker = teach.METHODS[f"ProxProp cg{k}"][2]
        ax.plot(k, errors[tau_theta][k - 1], f"k{marker}", ms=7, label=f"cg{k}")
    ax.axvline(len(b), color=teach.COLORS["vermillion"], linewidth=0.9,
               label="k = n + 1")
    ax.set(yscale="log", ylim=(1e-16, 5), xlabel="steps k",
           title=rf"$\tau_\theta$ = {tau_theta:g}, "
                 rf"$\kappa$ = {kappas[tau_theta]:.0f}")
axes[0].set_ylabel("relative error, norm of M")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center",
           ncols=7)
teach.show(fig, "Error of CG against the number of steps for four τ_θ, with "
           "two bounds. At 0.05 ten steps go below 1e-8; at 100 and 10000 the "
           "curves are alike, 0.16 and 0.18 after ten steps, about 1e-3 and "
           "2e-3 at the line k = 31, where exact arithmetic would be done.")
print("errors after ten steps:",
      *(f"{errors[tau_theta][9]:.2g} (τ_θ = {tau_theta:g})  "
        for tau_theta in taus))

# %% [markdown]
# Strong damping ($\tau_\theta = 0.05$): five steps give the exact solve to 3e-4. Weak damping (100, 10 000): ten steps
# leave 0.16 and 0.18 of the error. One eigenvalue stands far apart (at $\tau_\theta=1$ 13 times the next; its
# eigenvector has a cosine of 0.9999 to the mean of $\tilde a$): from the second step on (6.7) is the better bound here.
#
# The panels for 100 and 10 000 look alike, but show errors against *different* solutions. Do a few steps return the
# same direction?

# %%
layers = [layer(seed, np.random.default_rng(seed))[3:]
          for seed in (SEED, SEED + 1, SEED + 2)]


def after(k, tau_theta, a, g):
    if k is None:
        wide = np.hstack([a, np.ones((N, 1))])
        M = wide.T @ wide + np.eye(wide.shape[1]) / tau_theta
        return np.linalg.solve(M, wide.T @ g)
    return ml.solvers.conjugate_gradients(
        ml.maps.Gram(a, side="parameter"), g, 1 / tau_theta, k).value


apart_by = {}
for tau_theta in (1.0, 100.0):
    print(f"τ_θ = {tau_theta:g} against 10000, relative difference, three "
          "seeds of net and batch:")
    for k in (1, 3, 10, None):
        pairs = [(after(k, tau_theta, *each), after(k, 1e4, *each))
                 for each in layers]
        apart_by[tau_theta, k] = [np.linalg.norm(u - v) / np.linalg.norm(v)
                                  for u, v in pairs]
        print(f"    cg{k}" if k else "    solved",
              *(f"{100 * share:.2g} %  " for share in apart_by[tau_theta, k]))

# %% [markdown]
# For all three seeds, between 100 and 10 000 three steps differ by at most 0.3 %: **what so few steps return hardly
# depends** on which $\tau_\theta$ it is. Between 1 and 10 000 even one differs by more than 4.8 %.

# %% [markdown]
# ## Exercise 6.3 (core): how many steps are enough?
#
# From the eigenvalues of $M$ return the least $k \ge 1$ for which one of the bounds (6.6), (6.7)
# promises an error of at most $\varepsilon$. `chebyshev(kappa, k)` above is (6.6).
#
# <details><summary>Hint 1: idea</summary>
#
# Try $k = 1, 2, \dots$; the smaller of the two bounds counts.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# (6.7) is the Chebyshev bound for $\kappa' = \lambda_2/\lambda_{\min}$ and $k - 1$ steps, where $\lambda_2$ is the
# second largest eigenvalue.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `values = np.sort(eigenvalues)`
#
# </details>

# %% tags=["exercise"]
# Exercise 6.3
def steps_enough(eigenvalues, eps):
    """Return k, a whole number, for eigenvalues (n,) in any order;
    they stay in that order."""
    # <solution>
    values, k = np.sort(eigenvalues), 1
    while min(chebyshev(values[-1] / values[0], k),
              chebyshev(values[-2] / values[0], k - 1)) > eps:  # (6.6), (6.7)
        k += 1
    return k
    # </solution>

# %% tags=["check"]
steps_enough = check.steps_enough(steps_enough, SEED)

# %% tags=["mistake"]
# says: the smaller of the two
def steps_enough(eigenvalues, eps):
    k = 1
    while chebyshev(max(eigenvalues) / min(eigenvalues), k) > eps:
        k += 1
    return k

# %% tags=["mistake"]
# says: costs one step
def steps_enough(eigenvalues, eps):
    values, k = np.sort(eigenvalues), 1
    while min(chebyshev(values[-1] / values[0], k),
              chebyshev(values[-2] / values[0], k)) > eps:
        k += 1
    return k

# %% [markdown]
# Steps promised and taken:

# %%
promised, taken = {}, {}
for tau_theta in taus:
    promised[tau_theta] = steps_enough(np.linalg.eigvalsh(system(tau_theta)[0]),
                                       1e-3)
    taken[tau_theta] = counts[errors[tau_theta] <= 1e-3][0]
    print(f"τ_θ = {tau_theta:g}: for an error of 1e-3, {promised[tau_theta]} "
          f"steps promised, {taken[tau_theta]} taken")

# %% [markdown]
# You may stop by the relative residual, which can be measured. It is not the error:

# %%
for tau_theta in taus:
    M, exact = system(tau_theta)
    rests = [np.linalg.norm(b - M @ d) / np.linalg.norm(b)
             for d in iterates[tau_theta]]
    k = counts[np.array(rests) <= 1e-2][0]
    print(f"τ_θ = {tau_theta:g}: residual below 1e-2 after {k} steps, error "
          f"{errors[tau_theta][k - 1]:.1g}")

# %% [markdown]
# ## Always downhill
#
# Along the steps $q$ falls from $q(0) = 0$. So $0 \ge q(d_k) = \frac12\langle d_k, Md_k\rangle - \langle b,
# d_k\rangle$, that is
#
# $$ \langle \nabla J, d_k\rangle \;\ge\; \tfrac12\langle d_k, Md_k\rangle \;>\; 0. \tag{6.8} $$
#
# This is **Proposition 5**: stop after any number of steps, and $d_k$ is a descent direction. (A minimiser over a
# subspace even has $\langle \nabla J, d_k\rangle = \langle d_k, Md_k\rangle$.)

# %%
for tau_theta in taus:
    M, exact = system(tau_theta)
    least = min(np.min(dots(b, d) / (0.5 * dots(d, M @ d)))
                for d in iterates[tau_theta])
    print(f"τ_θ = {tau_theta:g}, every unit, 60 steps: left side of (6.8) over "
          f"its right one: {least:.4f} at least")
    teach.holds("    at least 1", max(1 - least, 0), 0)  # (6.8)
    left_over = max(np.max(abs(dots(b - M @ d, d) / dots(b, d)))
                    for d in iterates[tau_theta][:3])
    teach.holds("    one to three steps: ⟨∇J, d⟩ = ⟨d, Md⟩", left_over, 0,
                1e-10)

# %% [markdown]
# At $\tau_\theta = 100$ and 10 000, $d_3$ is nearer to $\nabla J$ than to the exact $d$ (a cosine of 0.5):

# %%
def cosine(u, v):
    return np.sum(u * v) / np.linalg.norm(u) / np.linalg.norm(v)


fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharex=True, sharey=True)
to_exact = {}
looks = (("black", "-"), ("blue", "--"), ("green", "-."), ("vermillion", ":"))
for tau_theta, (color, line) in zip(taus, looks):
    M, exact = system(tau_theta)
    to_exact[tau_theta] = [cosine(exact, d) for d in iterates[tau_theta]]
    for ax, values in zip(axes,
                          ([cosine(b, d) for d in iterates[tau_theta]],
                           to_exact[tau_theta])):
        ax.plot(counts, values, line, color=teach.COLORS[color],
                label=rf"$\tau_\theta$ = {tau_theta:g}")
axes[0].set(xscale="log", ylim=(0, 1.02), xlabel="steps k", ylabel="cosine",
            title=r"of $d_k$ and ∇J")
axes[1].set(xscale="log", xlabel="steps k", title=r"of $d_k$ and the exact $d$")
axes[1].set_xticks([1, 3, 10, 30], [1, 3, 10, 30])
axes[0].legend(loc="lower left")
teach.show(fig,
           "Cosines against the number of steps. Left: to the gradient, they "
           "start between 0.78 and 0.9 and level off above 0.2. Right: to "
           "the exact solution, after three steps near 1 for 0.05, but at "
           "most one half for 100 and 10000.")

# %% [markdown]
# ## Exercise 6.4 (core): conjugate gradients in sample space
#
# All iterates have the form $d = \tilde a^TU$ with $U$ of shape $(N, m)$: they lie in the Krylov space of
# $\tilde a^Tg$. Run the same iteration on coefficients. Given $K = \tilde a\tilde a^T$, $g$ and $\beta$, but
# not $\tilde a$, return $U$. Inner products must stay those of $\theta$:
#
# $$ \langle \tilde a^TU, \tilde a^TV\rangle = \langle U, KV\rangle, \qquad M\tilde a^TP = \tilde a^T(KP + \beta P).
#    \tag{6.9} $$
#
# <details><summary>Hint 1: idea</summary>
#
# Replace $b$ by its coefficients $g$, $Mp$ by $KP + \beta P$, and each inner product by (6.9).
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $\|r\|^2 = \langle R, KR\rangle$ and $\langle p, Mp\rangle = \langle KP, KP + \beta P\rangle$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `U, R, P = np.zeros_like(g), g, g`
#
# </details>

# %% tags=["exercise"]
# Exercise 6.4
def sample_space_cg(K, g, beta, steps):
    """Return U, shape (N, m), with d_k = a_tilde.T @ U,
    for K (N, N) and g (N, m)."""
    # <solution>
    U, R, P = np.zeros_like(g), g, g
    for _ in range(steps):
        KP = K @ P  # could follow from K @ R: one product a step
        MP = KP + beta * P
        size = np.sum(R * (K @ R), axis=0)  # (6.9)
        alpha = size / np.sum(KP * MP, axis=0)
        U, R = U + alpha * P, R - alpha * MP
        P = R + np.sum(R * (K @ R), axis=0) / size * P
    return U
    # </solution>

# %% tags=["check"]
sample_space_cg = check.sample_space_cg(sample_space_cg, SEED)

# %% tags=["mistake"]
# says: inner products of the coefficients
def sample_space_cg(K, g, beta, steps):
    return check.coefficient_cg(K, g, beta, steps)

# %% tags=["mistake"]
# says: damping
def sample_space_cg(K, g, beta, steps):
    return check.library_sample_space_cg(K, g, 0.0, steps)

# %% tags=["mistake"]
# says: the exact solution
def sample_space_cg(K, g, beta, steps):
    return np.linalg.solve(K + beta * np.eye(len(K)), g)

# %% [markdown]
# Check (6.9):

# %%
K = a_tilde @ a_tilde.T
U, V = np.random.default_rng(SEED).normal(size=(2, N, 20))
in_theta, in_samples = dots(a_tilde.T @ U, a_tilde.T @ V), dots(U, K @ V)
size, M = abs(in_theta).max(), system(1.0)[0]
teach.holds("inner products, over their largest", in_theta / size,
            in_samples / size)  # (6.9)
products = M @ (a_tilde.T @ U), a_tilde.T @ (K @ U + U)  # τ_θ = β = 1
teach.holds("products with M, over their largest",
            *(each / abs(products[0]).max() for each in products))  # (6.9)

# %% [markdown]
# The iterates:

# %%
apart = {}
for k in (1, 3, 10, 40):
    in_theta = conjugate_gradients(a, g, 1.0, k)
    in_samples = a_tilde.T @ sample_space_cg(K, g, 1.0, k)
    apart[k] = np.abs(in_theta - in_samples).max() / np.abs(in_theta).max()
    print(f"cg{k}: relative difference between the two {apart[k]:.0e}")
teach.holds("one step and three are the same in both", [apart[1], apart[3]],
            [0, 0], 1e-10)

# %% [markdown]
# ## Exercise 6.5 (break it): finite termination
#
# "CG ends after as many steps as there are unknowns" is a theorem of exact arithmetic. Above, ten steps in sample space
# differed from ten in $\theta$, forty did not: rounding leads along different paths to one solution. Take dimension 16:
# find 16 positive eigenvalues, with $\kappa\le10^4$, such that after 16 steps in float64 the error is still above 1 %
# (the median over nine bases, the same for every `SEED`, of the least error over five right sides).
#
# <details><summary>Hint 1: idea</summary>
#
# Make all eigenvalues matter: well separated on a logarithmic scale, so that no polynomial of low degree is
# small on them.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Try $\lambda_i = \kappa^{i/15}$, $i = 0 \dots 15$, for a growing $\kappa$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `spectrum = 10.0 ** np.linspace(0, ..., 16)`
#
# </details>

# %% tags=["exercise"]
# Exercise 6.5
# <solution spectrum>
spectrum = np.logspace(0, 4, 16)
# </solution>

# %% tags=["check"]
spectrum = check.unfinished(spectrum, SEED)

# %% tags=["mistake"]
# says: before rounding matters
spectrum = np.linspace(1, 10, 16)

# %% tags=["mistake"]
# says: not yet by one percent
spectrum = np.logspace(0, 2.5, 16)

# %% tags=["mistake"]
# says: distinct eigenvalues
spectrum = np.array([1.0] * 8 + [1e4] * 8)

# %% tags=["mistake"]
# says: at most 10⁴
spectrum = np.logspace(0, 8, 16)

# %% [markdown]
# Three spectra:

# %%
teach.holds("this cell's CG is that of 6.2",
            check.dense_cg(system(1.0)[0], b, 3)[-1],
            conjugate_gradients(a, g, 1.0, 3), 1e-9)
Q, right = np.linalg.qr(rng.normal(size=(16, 16)))[0], rng.normal(size=(16, 1))
ends, curves = {}, {}
for kappa in (10, 311, 1e4):
    matrix = Q * np.logspace(0, np.log10(kappa), 16) @ Q.T
    x, basis = np.linalg.solve(matrix, right), np.zeros((16, 0))
    curves[kappa] = [error(matrix, x, d)
                     for d in check.dense_cg(matrix, right, 30)]
    # exact arithmetic, imitated: minimise over an orthonormalised Krylov basis
    for k in range(16):
        new = right if k == 0 else matrix @ basis[:, -1:]
        new = new - basis @ (basis.T @ new)
        new = new - basis @ (basis.T @ new)
        basis = np.hstack([basis, new / np.linalg.norm(new)])
        d = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T @ right)
        ends[kappa, k + 1] = max(error(matrix, x, d), 1e-16)
    print(f"κ = {kappa:g}, float64: error",
          *(f"{curves[kappa][k - 1]:.0e} at k = {k} "
            for k in (16, 20, 24, 30)))

# %%
fig, ax = plt.subplots(figsize=(8, 3.4))
for kappa, color, mark in ((10, "black", "o"), (311, "blue", "s"),
                           (1e4, "vermillion", "^")):
    look = {"color": teach.COLORS[color], "marker": mark, "ms": 5}
    ax.plot(range(1, 31), curves[kappa],
            label=rf"float64, $\kappa$ = {kappa:g}", **look)
    ax.plot(range(1, 17), [ends[kappa, k] for k in range(1, 17)], ":",
            markevery=[14, 15], **look)
ax.axvline(16, color=teach.COLORS["grey"], linewidth=0.8, label="k = 16")
ax.set(yscale="log", ylim=(1e-16, 5), xlabel="steps k",
       ylabel="relative error, norm of M",
       title="Solid: as computed. Dotted: orthogonality kept by force")
ax.legend(loc="lower left")
teach.show(fig,
           "Error of CG in 16 dimensions for three condition numbers. With "
           "orthogonality kept by force all three drop to about 1e-13 or "
           "below at k = 16. In float64 only κ = 10 does; κ = 311 gets there "
           "by k = 24, κ = 10000 hardly by k = 30.")

# %% [markdown]
# ## What does it cost?
#
# Count the operations of the products (half where the result is symmetric), for $N$ rows, $n$ inputs, $m$ units.
# Backprop takes $6Nnm$ (forward, both adjoints). On top of that come
#
# $$ \underbrace{4Nnm\,k}_{\text{matrix-free}},\qquad \underbrace{N^2n + 2N^2m\,k}_{\text{sample space}},\qquad
#    \underbrace{Nn^2 + 2n^2m\,k}_{\text{with } \tilde a^T\tilde a}. \tag{6.10} $$
#
# (In sample space $KP$ follows from $KR$, as $P$ does from $R$: one product a step, cheaper if $N < 2n$.) An exact solve
# costs what one step does, plus an inverse: by Cholesky's factor about $N^3$ or $n^3$ operations.

# %%
def prices(N, n, m, k):
    return {"matrix-free": 4 * N * n * m * k,
            "sample": N**2 * n + 2 * N**2 * m * k,
            "parameter": N * n**2 + 2 * n**2 * m * k}  # (6.10)


for kind, price in prices(600, 500, 400, 3).items():
    counted = check.count_products(kind, N=600, n=500, m=400, steps=3)
    # one product with ã that backprop does anyway: ãᵀg, or ãᵀU in its place
    adjoint = 2 * 600 * 500 * 400
    # tolerance: (6.10) leaves out the column of ones and the centring
    teach.holds(f"{kind}: products counted, over (6.10)",
                (counted - adjoint) / price, 1, 0.01)

# %% [markdown]
# Two layers:

# %%
shapes = {"fully connected: N = 500, n = 4000, m = 1000": (500, 4000, 1000),
          "convolution: N = 128 000, n = 400, m = 20": (128_000, 400, 20)}
k, relative = np.arange(1, 21), {}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.5), sharey=True)
for ax, (title, (rows_, n, m)) in zip(axes, shapes.items()):
    backprop = 6 * rows_ * n * m
    for (name, price), size, (color, line, mark) in zip(
            prices(rows_, n, m, k).items(), (0, rows_, n),
            (("orange", "--", ""), ("blue", "-", "s"), ("green", "-.", "D"))):
        cost = price / backprop
        ax.plot(k, cost, line, color=teach.COLORS[color],
                label="CG, " + name.replace("parameter", "ãᵀã formed"))
        relative[title[:4], name] = cost
        if size:
            ax.plot(0, cost[0] + size**3 / backprop, mark, ms=7,
                    color=teach.COLORS[color],
                    label="exact, " + name.replace("parameter", "ãᵀã"))
    ax.set(yscale="log", ylim=(0.05, 2e6), xticks=range(0, 21, 5),
           xlabel="CG steps k (0: exact solve)", title=title)
axes[0].set_ylabel("extra cost / backprop")
axes[0].legend()
teach.show(fig, "Extra cost relative to backprop against the number of steps. "
           "Fully connected: sample space costs 0.1 to 0.9, its exact solve "
           "0.1, matrix-free 0.7 a step. Convolution: matrix-free is the "
           "cheapest up to five steps, sample space costs 1000 and more.")

# %% [markdown]
# ## Exercise 6.6 (open): exact or a few steps?
#
# You train (i) the fully connected layer and (ii) the convolution of the last figure, and may choose
# $\tau_\theta$. Which solver do you take for $\tau_\theta = 0.05$, which for 100? Are exact solves and three steps both
# "ProxProp with $\tau_\theta = 100$"? No automatic check.

# %% [markdown] tags=["answer"]
# **One answer.** (i) The exact solve in sample space costs 0.14 of a backprop, less than one matrix-free CG
# step: take it, whatever $\tau_\theta$. (ii) The matrix-free iteration is cheapest up to five steps. On
# the layer of this notebook, with $\tau_\theta = 0.05$, three steps are exact to 2 %, five to 3e-4; with 100
# three steps give a direction whose cosine to the exact one is about 0.5: I would call that another method. On the
# convolution $\tilde a^T\tilde a$ is a sum over 128 000 rows: look at its eigenvalues first. A report must name the
# solver and $k$, not only $\tau_\theta$.

# %% tags=["record"]
values, vectors = np.linalg.eigh(system(1.0)[0])
to_mean = abs(cosine(vectors[:, -1], a_tilde.mean(axis=0)))
teach.record("cosine of the first eigenvector and the mean of ã", to_mean,
             expected=0.9999, tolerance=0.0002)
teach.record("error after 31 steps, τ_θ = 100, log10", np.log10(at_the_end),
             expected=-3, tolerance=0.7)
after_ten = *(errors[t][9] for t in taus[1:]), descent
for name, value, expected in zip(("1", "100", "10000", "1, steepest descent"),
                                 after_ten, (0.0025, 0.16, 0.18, 0.47)):
    teach.record(f"error after 10 steps, τ_θ = {name}", value, expected,
                 tolerance=0.15 * expected)
most, least = max(apart_by[100.0, 3]), min(apart_by[1.0, 1])
worse = sum(np.sum(bounds[t][1][1:] >= bounds[t][0][1:]) for t in taus)
teach.record("steps where (6.7) is not below (6.6)", worse, 0, tolerance=0)
teach.record("largest eigenvalue over the next", values[-1] / values[-2],
             expected=13, tolerance=1)
teach.record("cg3 at τ_θ = 100 and 10000, largest difference", most,
             expected=0.005, tolerance=0.005)
teach.record("cg1 at τ_θ = 1 and 10000, least difference", least,
             expected=0.05, tolerance=0.04)
teach.record("steps promised for 1e-3, τ_θ = 1", promised[1.0], 18, tolerance=1)
teach.record("cosine of cg3 to exact, τ_θ = 100", to_exact[100.0][2],
             expected=0.5, tolerance=0.05)
for k, expected, slack in ((16, -2.6, 0.4), (20, -9.8, 1)):
    value = np.log10(curves[311][k - 1])
    teach.record(f"κ = 311: error at k = {k}, log10", value, expected, slack)
for k, expected in ((3, 0.02), (5, 3e-4)):
    teach.record(f"error after {k} steps, τ_θ = 0.05", errors[0.05][k - 1],
                 expected, tolerance=0.5 * expected)
for k, expected in ((5, 5e-11), (10, 0.9), (20, 0.98)):
    value = np.log10(crossed[k])
    teach.record(f"cosine of two of the first {k} residuals, log10", value,
                 np.log10(expected), tolerance=1.5 if k == 5 else 0.3)
inverse = 500**3 / (6 * 500 * 4000 * 1000)
full = relative["full", "sample"][0] + inverse
teach.record("fully connected, exact in sample space, over backprop", full,
             expected=0.14, tolerance=0.01)
cheaper = relative["conv", "matrix-free"] < relative["conv", "parameter"]
teach.record("convolution: matrix-free is cheapest up to step", cheaper.sum(),
             5, tolerance=0)

# %% [markdown]
# ## Summary
#
# - CG minimises over growing Krylov spaces; cg1 is the gradient with an exact line search per unit, and every
#   $d_k$ is a descent direction.
# - The eigenvalues bound the number of steps. At $\tau_\theta = 100$ and 10 000 three steps return the same to 0.3 %,
#   where exact solutions differ by 13 to 19 %.
# - In sample space a step costs one product with an $N \times N$ matrix; shapes decide what this saves.
#
# **What this does not show.** One layer shape; one batch, one basis unless seeds are named; no training.
# Operations are counted, not seconds; a convolution's Gram matrices as if its patches shared nothing.
#
# **References.** Frerix, Möllenhoff, Moeller, Cremers, *Proximal Backpropagation*, ICLR 2018: (14),
# Proposition 5. Hestenes and Stiefel, *Methods of Conjugate Gradients*,
# 1952: (6.3), (6.4), finite termination. Trefethen and Bau, *Numerical Linear Algebra*, 1997, lecture 38:
# (6.6). Greenbaum, *Iterative Methods for Solving Linear Systems*, 1997, chapters 3 and 4: (6.7), and CG in
# floating point. Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, chapters 10 and 14: Cholesky's factor,
# and what an inverse costs.

# %% [markdown]
# # 05 · Make the weight step implicit
#
# You will replace one step of backprop's sweep, the step in the weights, by its implicit version, solve it in four
# ways, and find out what it does to the gradient.
#
# **Afterwards you can**
# 1. write the implicit step of a layer and verify it by its optimality condition (Exercise 5.1);
# 2. solve it in sample space, with an $N \times N$ matrix (Exercise 5.2);
# 3. bound its angle to the gradient (Exercise 5.3);
# 4. say which side of the solve keeps its digits, and break the other (Exercise 5.4);
# 5. predict what the batch size does to the damping (Exercise 5.5).
#
# **You need** notebooks 01 and 04; the singular value decomposition. **Time**: 70 minutes (estimated).

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import implicit_weights as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## The step to replace
#
# Notebook 04 found that in the sweep that *is* backprop a hidden $\theta_l$ takes an explicit step of
# length 1 on $\frac12\|\tilde a_{l-1}\theta - z_l^{1/2}\|^2$, there far beyond what is stable. ProxProp keeps the sweep
# and takes this one step implicitly:
#
# $$ \theta_l^{+} = \arg\min_\theta\; \tfrac12\|\tilde a_{l-1}\theta - z_l^{1/2}\|^2 +
#    \tfrac{1}{2\tau_\theta}\|\theta - \theta_l\|^2, \qquad z_l^{1/2} = z_l - \tau g_l. \tag{ProxProp 11} $$
#
# Here $g_l = \partial J/\partial z_l$ is the backpropagated signal and $\tilde a = [a\ 1]$, so that the bias
# is part of $\theta$. There are now two step sizes: $\tau$ scales the signal, $\tau_\theta$ sets how far $\theta$ may
# go to match it. We drop the index $l$ where one layer is meant.

# %%
data = ml.datasets.digits()
N = 40
rows = rng.choice(len(data.X_train), N, replace=False)
X, y = data.X_train[rows].astype(float), data.y_train[rows]
net = ml.mlp([64, 30, 20, 10], activation="tanh", seed=SEED, dtype=np.float64)
theta, z, a, _ = net.forward(X)
g = {3: net.loss_function.gradient(z[3], y)}
for l in (3, 2):
    # backprop: notebooks 03 and 04
    g[l - 1] = (g[l] @ theta[l][:-1].T) * (1 - a[l - 1] ** 2)
a_tilde = {l: np.hstack([a[l - 1], np.ones((N, 1))]) for l in (1, 2, 3)}
gradient = {l: a_tilde[l].T @ g[l] for l in (1, 2, 3)}
for l, theirs in enumerate(ml.BackProp().direction(net, X, y)[1], start=1):
    teach.holds(f"∇J in θ_{l}, shape {gradient[l].shape}", gradient[l], theirs)

# %% [markdown]
# ## Exercise 5.1 (warm-up): the implicit step
#
# (11) is a least-squares problem. Set its gradient in $\theta$ to zero, and solve for the new $\theta$ with
# `np.linalg.solve`.
#
# <details><summary>Hint 1: idea</summary>
#
# The gradient is linear in $\theta$, up to a constant. Collect what multiplies $\theta$ on one side.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $\tilde a^T(\tilde a\,\theta - z^{1/2}) + (\theta - \theta_k)/\tau_\theta = 0$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `a_tilde = np.hstack([a, np.ones((len(a), 1))])`
#
# </details>

# %% tags=["exercise"]
# Exercise 5.1
def implicit_weights(a, theta_k, z_half, tau_theta):
    """Return the new theta (n + 1, m), for a (N, n) and z_half (N, m)."""
    # <solution>
    a_tilde = np.hstack([a, np.ones((len(a), 1))])
    matrix = a_tilde.T @ a_tilde + np.eye(len(theta_k)) / tau_theta
    right = a_tilde.T @ z_half + theta_k / tau_theta
    return np.linalg.solve(matrix, right)  # (5.1)
    # </solution>

# %% tags=["check"]
implicit_weights = check.implicit_weights(implicit_weights, SEED)

# %% tags=["mistake"]
# says: divides
def implicit_weights(a, theta_k, z_half, tau_theta):
    return check.library_implicit_weights(a, theta_k, z_half, 1 / tau_theta)

# %% tags=["mistake"]
# says: pulled towards 0
def implicit_weights(a, theta_k, z_half, tau_theta):
    return check.library_implicit_weights(a, 0 * theta_k, z_half, tau_theta)

# %% tags=["mistake"]
# says: not averaged
def implicit_weights(a, theta_k, z_half, tau_theta):
    return check.library_implicit_weights(a, theta_k, z_half, tau_theta / len(a))

# %% tags=["mistake"]
# says: the bias is damped
def implicit_weights(a, theta_k, z_half, tau_theta):
    a_tilde, damping = np.hstack([a, np.ones((len(a), 1))]), np.eye(len(theta_k)) / tau_theta
    damping[-1, -1] = 0
    return np.linalg.solve(a_tilde.T @ a_tilde + damping, a_tilde.T @ z_half + damping @ theta_k)

# %% [markdown]
# The condition, with everything that multiplies $\theta$ on the left, is
#
# $$ \left(\tilde a^T\tilde a + \tfrac{1}{\tau_\theta} I\right)\theta^{+} = \tilde a^T z^{1/2} +
#    \tfrac{1}{\tau_\theta}\theta_k. \tag{5.1} $$
#
# Its matrix is positive definite for every $\tau_\theta > 0$: there is one solution, and no limit on $\tau_\theta$. Is it
# the minimiser of (11)? Look at 300 points near it.

# %%
l, tau = 2, 1.0
z_half = z[l] - tau * g[l]


def local_fit(theta):
    return 0.5 * np.sum((a_tilde[l] @ theta - z_half) ** 2)


def objective(new, tau_theta):
    # ProxProp (11)
    return local_fit(new) + np.sum((new - theta[l]) ** 2) / (2 * tau_theta)


for tau_theta in (0.01, 1.0, 100.0):
    new = implicit_weights(a[l - 1], theta[l], z_half, tau_theta)
    nearby = [new + size * rng.normal(size=new.shape)
              for size in (1e-4, 1e-2, 1) for _ in range(100)]
    lower = sum(objective(other, tau_theta) < objective(new, tau_theta)
                for other in nearby)
    matrix = a_tilde[l].T @ a_tilde[l] + np.eye(len(new)) / tau_theta
    teach.holds(f"τ_θ = {tau_theta:g}: both sides", matrix @ new,
                a_tilde[l].T @ z_half + theta[l] / tau_theta)  # (5.1)
    print(f"    {lower} of {len(nearby)} points near it have a lower objective")

# %% [markdown]
# Compare with explicit steps of the same size $\tau_\theta$ on the same local problem, below and beyond their limit:

# %%
limit = 2 / np.linalg.norm(a_tilde[l], 2) ** 2
print(f"explicit steps are stable below {limit:.4f}; local fit at θ_k: "
      f"{local_fit(theta[l]):.1e}")
for tau_theta in (0.01, 0.1, 1.0, 100.0):
    new = implicit_weights(a[l - 1], theta[l], z_half, tau_theta)
    explicit = theta[l] - tau_theta * tau * gradient[l]
    print(f"τ_θ = {tau_theta:<5g} local fit after the step: explicit "
          f"{local_fit(explicit):.1e}, implicit {local_fit(new):.1e}")

# %% [markdown]
# ## Only the difference matters
#
# At $\theta_k$ the map gives $\tilde a\theta_k = z$, so $\tilde a\theta_k - z^{1/2} = \tau g$. Subtract (5.1)
# from $(\tilde a^T\tilde a + \frac{1}{\tau_\theta}I)\,\theta_k$:
#
# $$ M\,(\theta_k - \theta^{+}) = \tilde a^T(\tilde a\theta_k - z^{1/2}) = \tau\,\tilde a^T g = \tau\,\nabla J,
#    \qquad M = \tfrac{1}{\tau_\theta} I + \tilde a^T\tilde a. \tag{5.2} $$
#
# This is **Proposition 2**:
#
# $$ \theta^{+} = \theta_k - \tau\, d, \qquad d = M^{-1}\,\nabla J. \tag{ProxProp 13} $$
#
# The implicit step is a *preconditioned gradient step*. The direction $d$ does not depend on $\tau$ at all:
# so ProxProp can hand $d$ to an optimizer (momentum, Adam) in place of $\nabla J$. In the paper, and by default in the
# library, the last map keeps its explicit step.

# %%
tau_theta = 1.0
_, directions = ml.ProxProp(tau_theta).direction(net, X, y)
for l in (1, 2):
    M = np.eye(len(theta[l])) / tau_theta + a_tilde[l].T @ a_tilde[l]
    d = np.linalg.solve(M, gradient[l])  # ProxProp (13)
    teach.holds(f"θ_{l}: the library's direction", d, directions[l - 1])
    for tau in (0.1, 1.0):
        new = implicit_weights(a[l - 1], theta[l], z[l] - tau * g[l], tau_theta)
        teach.holds(f"θ_{l}, τ = {tau:g}: M (θ_k − θ⁺) = τ ∇J",
                    M @ (theta[l] - new), tau * gradient[l])  # (5.2)
teach.holds("θ_3: explicit", directions[2], gradient[3])

# %% [markdown]
# ## Exercise 5.2 (core): sample space
#
# $M$ is $(n+1)\times(n+1)$: with 4000 inputs, 16 million numbers. But $\tilde a$ has only $N$ rows. Start
# from
#
# $$ (\tilde a^T\tilde a + \beta I)\,\tilde a^T = \tilde a^T(\tilde a\tilde a^T + \beta I), \tag{5.3} $$
#
# with $\beta = 1/\tau_\theta$, and find coefficients $U$, of shape $(N, m)$, such that $d = \tilde a^T U$.
# Form no matrix larger than $N \times N$.
#
# <details><summary>Hint 1: idea</summary>
#
# Multiply (5.3) by the inverse of its left matrix from the left, and of its right matrix from the right.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $M^{-1}\tilde a^T = \tilde a^T(\tilde a\tilde a^T + \beta I)^{-1}$; apply both sides to $g$. And
# $\tilde a\tilde a^T = aa^T + 11^T$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `K = a @ a.T + 1`
#
# </details>

# %% tags=["exercise"]
# Exercise 5.2
def coefficients(a, g, tau_theta):
    """Return U (N, m) with d = a_tilde.T @ U, for a (N, n) and g (N, m)."""
    # <solution>
    K = a @ a.T + 1
    return np.linalg.solve(K + np.eye(len(a)) / tau_theta, g)  # (5.4)
    # </solution>

# %% tags=["check"]
coefficients = check.coefficients(coefficients, SEED)

# %% tags=["mistake"]
# says: column of ones
def coefficients(a, g, tau_theta):
    return np.linalg.solve(a @ a.T + np.eye(len(a)) / tau_theta, g)

# %% tags=["mistake"]
# says: τ_θ divides
def coefficients(a, g, tau_theta):
    return np.linalg.solve(a @ a.T + 1 + np.eye(len(a)) * tau_theta, g)

# %% tags=["mistake"]
# says: the solve is missing
def coefficients(a, g, tau_theta):
    return tau_theta * g

# %% [markdown]
# First check (5.3) itself, with $\beta = 3$:

# %%
for l in (1, 2):
    K, small = a_tilde[l] @ a_tilde[l].T, a_tilde[l].T @ a_tilde[l]
    teach.holds(f"θ_{l}: both sides of (5.3)",
                (small + 3 * np.eye(len(small))) @ a_tilde[l].T,
                a_tilde[l].T @ (K + 3 * np.eye(N)))  # (5.3)

# %% [markdown]
# So $d$ has the form that backprop computes, $\tilde a^T g$, but with other signals.
#
# <details><summary>Written out (after Exercise 5.2)</summary>
#
# $$ d = \tilde a^T U, \qquad U = (\tilde a\tilde a^T + \tfrac{1}{\tau_\theta}I)^{-1} g. \tag{5.4} $$
#
# </details>

# %% [markdown]
# ## What it does to the gradient
#
# Let $\tilde a = Q\,\mathrm{diag}(s)\,V^T$. In these coordinates gradient and direction are
#
# $$ \nabla J = V\,\mathrm{diag}(s)\,Q^T g, \qquad
#    d = V\,\mathrm{diag}\!\left(\frac{s}{s^2 + 1/\tau_\theta}\right) Q^T g. \tag{5.5} $$
#
# Directions with $s^2 \ll 1/\tau_\theta$ keep their share of the gradient; those above are divided by $s^2$, so that
# all of them weigh the same in the fit $\tilde a d$. So
#
# $$ \tau_\theta \to 0:\ d/\tau_\theta \to \nabla J, \qquad\qquad
#    \tau_\theta \to \infty:\ d \to \tilde a^{+} g, \tag{5.6} $$
#
# with the pseudo-inverse $\tilde a^{+}$: the gradient step turns into the least-squares fit of $z^{1/2}$ nearest to
# $\theta_k$.

# %%
def filtered(l, tau_theta):
    Q, s, Vt = np.linalg.svd(a_tilde[l], full_matrices=False)
    return Vt.T @ ((s / (s**2 + 1 / tau_theta))[:, None]
                   * (Q.T @ g[l]))  # (5.5)


for l in (1, 2):
    Q, s, Vt = np.linalg.svd(a_tilde[l], full_matrices=False)
    teach.holds(f"θ_{l}: ∇J in these coordinates",
                Vt.T @ (s[:, None] * (Q.T @ g[l])), gradient[l])  # (5.5)

# %% [markdown]
# The two limits (5.6), at a tiny and a huge $\tau_\theta$:

# %%
for l in (1, 2):
    tiny, huge = 1e-7, 1e12
    size, fit = np.abs(gradient[l]).max(), np.linalg.pinv(a_tilde[l]) @ g[l]
    # what is left for a finite τ_θ: τ_θ s² relative to 1, and 1/(τ_θ s²)
    teach.holds(f"θ_{l}, τ_θ → 0", filtered(l, tiny) / tiny / size,
                gradient[l] / size, 1e-4)
    teach.holds(f"θ_{l}, τ_θ → ∞", filtered(l, huge) / np.abs(fit).max(),
                fit / np.abs(fit).max(), 1e-6)  # (5.6)

# %% [markdown]
# Compare four forms of one step: the old $\theta$ minus the new one of (5.1), Proposition 2, sample space, and the
# filter.

# %%
for l in (1, 2):
    identity = np.eye(len(theta[l]))
    for tau_theta in (0.05, 1.0, 100.0):
        new = implicit_weights(a[l - 1], theta[l], z[l] - g[l], tau_theta)
        M = a_tilde[l].T @ a_tilde[l] + identity / tau_theta
        d = a_tilde[l].T @ coefficients(a[l - 1], g[l], tau_theta)  # (5.4)
        forms = np.stack([theta[l] - new, np.linalg.solve(M, gradient[l]), d,
                          filtered(l, tau_theta)])
        forms /= np.abs(forms[-1]).max()  # d is small: make the error relative
        # the first form subtracts θ from θ and may lose digits
        teach.holds(f"θ_{l}, τ_θ = {tau_theta:g}: old minus new", forms[0],
                    forms[3], 1e-7)
        teach.holds(f"θ_{l}, τ_θ = {tau_theta:g}: three forms", forms[1:3],
                    np.stack([forms[3]] * 2), 1e-11)

# %% [markdown]
# ## Predict
#
# Here $d$ turns away from $\nabla J$ as $\tau_\theta$ grows. What happens to the cosine of their
# angle, on map 2, as $\tau_\theta \to \infty$? (a) It goes to 0. (b) It becomes negative. (c) It levels off above 0.

# %% tags=["predict"]
prediction = None  # "a", "b" or "c"

# %%
def cosine(u, v):
    return np.sum(u * v) / (np.linalg.norm(u) * np.linalg.norm(v))


taus = np.logspace(-5, 8, 53)
cosines = {l: np.array([cosine(gradient[l], filtered(l, t)) for t in taus])
           for l in (1, 2)}
last = cosines[2][-1]
limit = cosine(gradient[2], np.linalg.pinv(a_tilde[2]) @ g[2])  # (5.6)
answer = "b" if last < 0 else "a" if last < 1e-3 else "c"
teach.reveal(prediction, answer, f"The cosine ends at {last:.3f}, that of the "
             f"least-squares fit (5.6) is {limit:.3f}.")

# %% [markdown]
# Is that so for other networks and batches?

# %%
def drawn(seed):
    """Return a network and a batch."""
    rows = np.random.default_rng(seed).choice(len(data.X_train), N,
                                              replace=False)
    return (ml.mlp([64, 30, 20, 10], activation="tanh", seed=seed,
                   dtype=np.float64),
            data.X_train[rows].astype(float), data.y_train[rows])


for seed in (SEED, SEED + 1, SEED + 2):
    d, slope = (method.direction(*drawn(seed))[1][1]
                for method in (ml.ProxProp(taus[-1]), ml.BackProp()))
    print(f"seed {seed}: it ends at {cosine(d, slope):.3f}")

# %% [markdown]
# To see the turn, take one weight and the bias of one unit: they span a plane.

# %%
def misfit(changes):
    return 0.5 * np.sum((changes @ one.T - signal) ** 2, axis=1)


one = np.hstack([a[1][:, [4]], np.ones((N, 1))])
signal = -g[2][:, 3] / np.linalg.norm(g[2][:, 3])  # z^1/2 − z, scaled
path = np.array([np.linalg.solve(one.T @ one + np.eye(2) / t, one.T @ signal)
                 for t in taus])
ray = one.T @ signal / np.linalg.norm(one.T @ signal)
print(f"cosine to the gradient ray: first move {cosine(path[0], ray):.4f}, "
      f"last {cosine(path[-1], ray):.2f}")

# %% [markdown]
# Left: this plane, with the contours of its local problem, $\tau_\theta$ at three points, and the end point. Right: the
# cosine for the whole of $\theta_1$ and $\theta_2$.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.3))
blue = teach.METHODS["ProxProp exact"][0]
side = 0.75 * np.abs(path).max() * np.linspace(-1, 1, 90)
teach.contours(left, misfit, *(side + middle for middle in path[-1] / 2))
left.plot(*np.outer(ray, [0, side[-1] / 2]), "k", label="gradient ray")
left.plot(*path.T, color=blue, label=r"new $\theta$, squares: $\tau_\theta$")
for t in (0.1, 0.3, 1.0, 1e8):
    point = path[np.argmin(abs(np.log(taus / t)))]
    left.plot(*point, "s", color=blue)
    left.annotate(f"{t:g}" if t < 1e8 else "least squares", point, (0, 6),
                  textcoords="offset points", ha="center", fontsize=8)
left.plot(0, 0, "ko")
left.set(xlabel="change of the weight", ylabel="change of the bias",
         title="from gradient to fit, over contours of the fit")
left.legend(loc="lower left")
for l, line in ((1, "-"), (2, "--")):
    right.plot(taus, cosines[l], line, color=blue, label=f"map {l}")
right.axhline(limit, color=teach.COLORS["grey"], ls=":", label="fit of map 2")
right.set(xscale="log", xlabel=r"$\tau_\theta$", ylabel="cosine of d and ∇J",
          ylim=(0, 1.02), title="cosine to ∇J: from 1 to that of the fit")
right.legend()
teach.show(fig, "Left: contours of the local problem in one weight and bias; "
           "the path of the implicit step leaves along the gradient and bends "
           "to the least-squares point. Right: the cosine falls from 1 and "
           "levels off at about 0.1 for both maps.")

# %% [markdown]
# ## Always downhill
#
# $M^{-1}$ is positive definite, so $\langle \nabla J, d\rangle > 0$ unless $\nabla J = 0$: $d$ is a descent
# direction for every $\tau_\theta$, and fixed points are the stationary points of $J$ (Propositions 3 and
# 4). How far can it turn? Let the eigenvalues of $M$ lie between $\lambda_{\min}$ and $\lambda_{\max}$; their ratio
# is $\kappa = \lambda_{\max}/\lambda_{\min}$. The product $(M - \lambda_{\min}I)(\lambda_{\max}I - M)$ is positive
# semidefinite, that is $(\lambda_{\min} + \lambda_{\max})M \succeq M^2 + \lambda_{\min}\lambda_{\max}I$. Hence,
# with $\nabla J = Md$,
#
# $$ (\lambda_{\min} + \lambda_{\max})\,\langle d, Md\rangle \;\ge\; \|Md\|^2 +
#    \lambda_{\min}\lambda_{\max}\|d\|^2 \;\ge\;
#    2\sqrt{\lambda_{\min}\lambda_{\max}}\,\|Md\|\,\|d\|, \tag{5.7} $$
#
# the last step because $(\|Md\| - \sqrt{\lambda_{\min}\lambda_{\max}}\|d\|)^2 \ge 0$. This is Kantorovich's
# inequality in disguise.

# %% [markdown]
# Check on map 2:

# %%
M, d = a_tilde[2].T @ a_tilde[2] + np.eye(len(theta[2])), filtered(2, 1.0)
eigenvalues, Md = np.linalg.eigvalsh(M), M @ d
least, largest = eigenvalues[0], eigenvalues[-1]
parts = [(least + largest) * np.sum(d * Md),
         np.sum(Md**2) + least * largest * np.sum(d**2),
         2 * np.sqrt(least * largest) * np.linalg.norm(Md) * np.linalg.norm(d)]
teach.holds("each part of (5.7) is at most the one before", parts,
            sorted(parts)[::-1])  # (5.7)

# %% [markdown]
# ## Exercise 5.3 (core): how far can it turn?
#
# Turn (5.7) into a lower bound on the cosine of $\nabla J$ and $d$ that depends on $a$ and $\tau_\theta$ only. The
# check looks for gradients that violate it, and for one that attains it. Then ask what the bound becomes for
# $\tau_\theta \to 0$ and $\tau_\theta \to \infty$, and compare with the figure.
#
# <details><summary>Hint 1: idea</summary>
#
# The cosine is $\langle d, Md\rangle / (\|d\|\,\|Md\|)$.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Divide (5.7) by $(\lambda_{\min} + \lambda_{\max})\|d\|\,\|Md\|$. The $\lambda$ are those of the *damped* $M$, bias included.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `s = np.linalg.svd(np.hstack([a, np.ones((len(a), 1))]), compute_uv=False)`
#
# </details>

# %% tags=["exercise"]
# Exercise 5.3
def cosine_bound(a, tau_theta):
    """Return a number, the largest lower bound, for a (N, n) with N > n."""
    # <solution>
    s = np.linalg.svd(np.hstack([a, np.ones((len(a), 1))]), compute_uv=False)
    largest, least = s[0] ** 2 + 1 / tau_theta, s[-1] ** 2 + 1 / tau_theta
    return 2 * np.sqrt(largest * least) / (largest + least)  # (5.7)
    # </solution>

# %% tags=["check"]
cosine_bound = check.cosine_bound(cosine_bound, SEED)

# %% tags=["mistake"]
# says: undamped
def cosine_bound(a, tau_theta):
    return check.library_cosine_bound(a, 1e300)

# %% tags=["mistake"]
# says: true, but
def cosine_bound(a, tau_theta):
    kappa = np.linalg.cond(ml.maps.Gram(a, side="parameter").matrix + np.eye(a.shape[1] + 1) / tau_theta)
    return 1 / kappa

# %% tags=["mistake"]
# says: their squares
def cosine_bound(a, tau_theta):
    s = np.linalg.svd(np.hstack([a, np.ones((len(a), 1))]), compute_uv=False) + 1 / tau_theta
    return 2 * np.sqrt(s[0] * s[-1]) / (s[0] + s[-1])

# %% [markdown]
# Compare 100 draws of a network, a batch and $\tau_\theta$, each with its own bound.

# %%
found, bounds, tau_draws = [], [], 10 ** rng.uniform(-3, 3, 100)
for draw, tau_draw in enumerate(tau_draws):
    other = ml.mlp([64, 20, 15, 10], activation="tanh", seed=draw,
                   dtype=np.float64)
    rows = rng.choice(len(data.X_train), 50, replace=False)
    X_draw, y_draw = data.X_train[rows].astype(float), data.y_train[rows]
    _, steps = ml.ProxProp(tau_draw).direction(other, X_draw, y_draw)
    _, slopes = ml.BackProp().direction(other, X_draw, y_draw)
    found.append(cosine(steps[1], slopes[1]))
    bounds.append(cosine_bound(other.forward(X_draw).a[1], tau_draw))
found, bounds = np.array(found), np.array(bounds)
below = np.sum(found < bounds)
teach.holds("draws below the bound", below, 0)
far = tau_draws > 400
cosines_far = found[far]
print(f"for τ_θ above 400: cosines {cosines_far.min():.2f} to "
      f"{cosines_far.max():.2f}, bounds down to {bounds[far].min():.2f}")

# %% [markdown]
# How close are they?

# %%
fig, ax = plt.subplots(figsize=(7.5, 3.1))
ax.plot(tau_draws, found, "s", color=teach.METHODS["ProxProp exact"][0],
        label="cosine of d and ∇J, map 2")
ax.plot(tau_draws, bounds, "_", color=teach.COLORS["grey"], ms=8,
        label="bound (5.7)")
ax.set(xscale="log", yscale="log", xlabel=r"$\tau_\theta$", ylim=(0.01, 1.5),
       title=f"100 draws of network, batch and $\\tau_\\theta$: {below} below "
       "the bound")
ax.legend(loc="lower left")
teach.show(fig, "Cosines of 100 drawn steps against their step size, with the "
           "bound of each below it. Both fall from 1, the bound faster: above "
           "400 down to 0.03, where the cosines are between 0.19 and 0.35.")

# %% [markdown]
# The bound holds. For large $\tau_\theta$ it is far from tight: the gradients of these untrained networks are not the
# worst ones.

# %% [markdown]
# ## And far away?
#
# "Descent direction" is a statement about small $\tau$. The local problem was solved implicitly, $J$ was not: along
# $-d$, $J$ may rise later, and for long steps here it does. Only $\theta_1$ and $\theta_2$, whose steps are implicit,
# move on these lines.

# %%
lengths = np.logspace(-1, 4, 60)
choices = {"BackProp": gradient, **{
    f"τ_θ = {t:g}": {l: filtered(l, t) for l in (1, 2)}
    for t in (0.05, 1, 100)}}
lowest, best, lines = {}, {}, {}
for name, d in choices.items():
    moved = [[None, theta[1] - t * d[1], theta[2] - t * d[2], theta[3]]
             for t in lengths]
    losses = np.array([net.loss_function.value(net.forward(X, theta=new).z[3],
                                               y) for new in moved])
    lowest[name] = losses.min()
    size = np.sqrt(np.linalg.norm(d[1]) ** 2 + np.linalg.norm(d[2]) ** 2)
    best[name] = lengths[losses.argmin()], lengths[losses.argmin()] * size
    lines[name] = losses, size
    print(f"{name:<10} lowest J {losses.min():.2f}, at τ = "
          f"{best[name][0]:.3g}, length {best[name][1]:.3g}")

# %% [markdown]
# Plot $J$ against $\tau$ and against the length of the step:

# %%
looks = dict(zip(choices, (("black", "-"), ("sky", ":"), ("blue", "-"),
                           ("green", "-."))))
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
for name, (losses, size) in lines.items():
    for ax, along in zip(axes, (lengths, lengths * size)):
        ax.plot(along, losses, looks[name][1],
                color=teach.COLORS[looks[name][0]],
                label=name.replace("τ_θ", r"ProxProp, $\tau_\theta$"))
axes[0].set(xscale="log", xlabel="τ", ylabel="J(θ − τ d)",
            title="against the step size (seed 0)", ylim=(1.4, 3.4))
axes[1].set(xscale="log", xlabel="‖τ d‖",
            title="against the length of the step", xlim=(1e-2, 1e2))
axes[0].legend()
teach.show(fig, "J along the four directions, only hidden maps moved; all "
           "fall to a lowest point and rise from it. Left: those of the "
           "implicit ones are at a τ some ten to a hundred times as large. "
           "Right: against the length of the step the four turn up between "
           "lengths of 3 and 15.")

# %% [markdown]
# Repeat this for three seeds:

# %%
def along(name, seed, maps=2):
    """Return J at all lengths along −d of the first maps, and ‖d‖."""
    other, X_s, y_s = drawn(seed)
    method = (ml.BackProp() if name == "BackProp"
              else ml.ProxProp(float(name.split()[-1])))
    d, values = method.direction(other, X_s, y_s)[1][:maps], []
    for t in lengths:
        moved = [part - t * each for part, each in zip(other.parameters, d)]
        new = [None, *moved, *other.parameters[maps:]]
        values.append(other.loss_function.value(
            other.forward(X_s, theta=new).z[3], y_s))
    return np.array(values), np.sqrt(sum(np.sum(each**2) for each in d))


# %%
found, at, seeds = {}, {}, (SEED, SEED + 1, SEED + 2)
for name in choices:
    three = [along(name, seed) for seed in seeds]
    found[name] = [values.min() for values, _ in three]
    at[name] = [lengths[values.argmin()] * np.array([1, size])
                for values, size in three]
print(f"lowest J for the seeds {seeds}, and its median:")
for name, values in found.items():
    print(f"{name:<10}", *(f"{value:.2f} " for value in values),
          f" median {np.median(values):.2f}")
ratios = np.array(at["τ_θ = 1"]) / np.array(at["BackProp"])
print("τ_θ = 1 over BackProp, at the lowest J: τ",
      *(f"{far:.0f} " for far in ratios[:, 0]), "length",
      *(f"{longer:.1f} " for longer in ratios[:, 1]),
      f"(τ on a grid of ratio {lengths[1] / lengths[0]:.2f})")

# %% [markdown]
# Compare the panels. Against $\tau$ the implicit directions seem more stable: with $\tau_\theta = 1$ the lowest point
# lies at a $\tau$ some 20 to 40 times BackProp's. But $d$ is *shorter* there than $\nabla J$, since $M \succeq I$; in
# length that step is only 2 to 5 times BackProp's. What remains is a lower $J$ on each implicit line, for each of three
# seeds (at most 1.92, against at least 2.05); the best of three $\tau_\theta$ changes with the seed (1 for seeds 0 and
# 1, 100 for seed 2). And if $\theta_3$ moves too, with the explicit step that all four share?

# %%
whole = {name: [along(name, seed, maps=3)[0].min() for seed in seeds]
         for name in choices}
print(f"all maps moved, lowest J for the seeds {seeds}:")
for name, values in whole.items():
    print(f"{name:<10}", *(f"{value:.2f} " for value in values))

# %% [markdown]
# Much less remains: for seed 1 BackProp reaches the lowest $J$. Notebook 07 compares step sizes in training.

# %% [markdown]
# ## Exercise 5.4 (break it): lose half the digits
#
# In exact arithmetic $M^{-1}\nabla J$ and the $d$ of (5.4) are equal. Find $N$, $n$ (1 to 100) and $\tau_\theta$
# such that for random $a$ and $g$ the sample-space form in float64 has a relative error above $10^{-8}$, while the form
# $M^{-1}\nabla J$ stays below $10^{-10}$ (medians of seven draws, the same for every `SEED`). `samples` is $N$, `inputs`
# is $n$, `large_tau` is $\tau_\theta$.
#
# <details><summary>Hint 1: idea</summary>
#
# Make $\tilde a\tilde a^T$ singular, so that only the damping keeps its solve from a division by 0.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Its rank is at most $n + 1$. In its null space $U = \tau_\theta\, g$ is huge, and $\tilde a^T U$ should be
# 0: what remains is rounding, $10^{-16}\,\tau_\theta$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `samples, inputs = 40, 5`
#
# </details>

# %% tags=["exercise"]
# Exercise 5.4
# <solution samples, inputs, large_tau>
samples, inputs, large_tau = 40, 5, 1e10
# </solution>

# %% tags=["check"]
samples, inputs, large_tau = check.lost_digits((samples, inputs, large_tau),
                                               SEED)

# %% tags=["mistake"]
# says: is the safe one
samples, inputs, large_tau = 5, 40, 1e10

# %% tags=["mistake"]
# says: still large
samples, inputs, large_tau = 40, 5, 1e3

# %% tags=["mistake"]
# says: at most 100
samples, inputs, large_tau = 4000, 5, 1e10

# %% [markdown]
# On our maps, for 18 $\tau_\theta$ up to $6\cdot10^7$, compare plain solves with either matrix and the filter
# (5.5), which needs neither.

# %%
errors = {}
for l in (1, 2):
    C, identity = a_tilde[l].T @ a_tilde[l], np.eye(len(theta[l]))
    steps = {"parameter": [np.linalg.solve(C + identity / t, gradient[l])
                           for t in taus[::3]],
             "sample": [a_tilde[l].T @ coefficients(a[l - 1], g[l], t)
                        for t in taus[::3]]}
    for side, ds in steps.items():
        errors[l, side] = [np.abs(d - filtered(l, t)).max() / np.abs(d).max()
                           for d, t in zip(ds, taus[::3])]
        print(f"map {l}, {side} side: largest error {max(errors[l, side]):.0e}")
    print(f"map {l}: the library takes the {ml.maps.Gram(a[l - 1]).side} side")

# %% [markdown]
# Where does each side lose its digits?

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True)
for ax, l in zip(axes, (1, 2)):
    for side, color, line, marker in (("parameter", "blue", "-", "o"),
                                      ("sample", "green", "--", "s")):
        ax.plot(taus[::3], errors[l, side], line, marker=marker,
                color=teach.COLORS[color], label=f"{side} side")
    ax.set(xscale="log", yscale="log", xlabel=r"$\tau_\theta$",
           title=f"map {l}: N = {N}, n + 1 = {len(theta[l])}")
axes[0].set_ylabel("relative error of d")
axes[0].legend()
teach.show(fig, "Relative error of the two sides against τ_θ. On map 1, with "
           "fewer samples than parameters, that of the parameter side grows to "
           "some 1e-7; on map 2 that of the sample side does. The other side "
           "stays below 1e-12.")

# %% [markdown]
# On both maps the *smaller* matrix is the accurate one at large $\tau_\theta$: without damping the larger is singular.
# The library takes the smaller. (Notebook 06 counts what each costs.)

# %% [markdown]
# ## Plant a mistake of your own
#
# Would you have noticed? `ml.verify` runs a step on small random networks and compares it with (13), from difference
# quotients and dense matrices. A step is a function of a *block*, which holds what a method may know about one map.
# Here is ours with a mistake. Run it; then mend it, and plant another: an undamped bias, $\tilde a^T\tilde a/N$, a
# wrong sign, or one of your own.

# %%
def my_step(block, tau_theta=0.2):
    a_tilde = np.hstack([block.a, np.ones_like(block.a[:, :1])])
    if block.last:
        return a_tilde.T @ block.g
    # the mistake
    damping = tau_theta * np.eye(len(block.theta), dtype=block.a.dtype)
    return np.linalg.solve(a_tilde.T @ a_tilde + damping, a_tilde.T @ block.g)


# %% [markdown]
# Hand it to `verify`:

# %%
report = ml.verify(my_step, like=ml.ProxProp(tau_theta=0.2))
for held in report.checks:
    if held.passed and "Prop." in held.source:
        print(f"holds: {held.claim}: {held.equation}")
for refused in report.failures:
    print(f"{refused.claim}\n    {refused.equation}: {refused.reason}")
print(report.summary())

# %% [markdown]
# The step still leads downhill (over all maps together: the last can hide a wrong sign) and vanishes where $\nabla J$
# does: only the equation fails. The reason printed is a known mistake that reproduces these wrong numbers. Find the line;
# then print `report.mends`, edits of the code that put it right.

# %% [markdown]
# ## Exercise 5.5 (open): twice the batch
#
# $J$ is a mean over the batch, but $\tilde a^T\tilde a$ in $M$ is a sum. Take every sample twice: $J$ and
# $\nabla J$ do not change. What becomes of $d$? Which $\tau_\theta$ and $\tau$ would undo it? And what does
# that mean for someone who tunes $\tau_\theta$ at batch size 100 and trains at 500? No automatic check.

# %% [markdown] tags=["answer"]
# **One answer.** With $C = \tilde a^T\tilde a$ the direction becomes $(2C + I/\tau_\theta)^{-1}\nabla J =
# \frac12(C + I/(2\tau_\theta))^{-1}\nabla J$: half of the direction with $\tau_\theta$ doubled. To undo it
# take $\tau_\theta/2$ and $2\tau$. So $N\tau_\theta$ and $\tau/N$ must stay fixed: at batch size 500 try a fifth of
# $\tau_\theta$ and five times $\tau$. (With other samples instead of copies, $C/N$ stays the same only on average; and
# the last map, whose step is explicit, needs its old $\tau$.)

# %% tags=["record"]
teach.record("cosine of map 2 at the largest τ_θ", cosines[2][-1], expected=0.1,
             tolerance=0.01)
teach.record("cosine of map 1 at the largest τ_θ", cosines[1][-1], expected=0.1,
             tolerance=0.01)
teach.record("lowest J, θ_1 and θ_2 moved, τ_θ = 1", lowest["τ_θ = 1"],
             expected=1.58, tolerance=0.03)
teach.record("lowest J, θ_1 and θ_2 moved, BackProp", lowest["BackProp"],
             expected=2.05, tolerance=0.03)
teach.record("draws below the bound", below, expected=0, tolerance=0)
teach.record("claims that refuse the planted mistake", len(report.failures),
             expected=1, tolerance=0)
far, longer = ratios.T
teach.record("τ of the lowest J over BackProp's, least of 3 seeds",
             min(far), expected=20, tolerance=9)
teach.record("τ of the lowest J over BackProp's, largest", max(far),
             expected=40, tolerance=9)
teach.record("its length over BackProp's, least", min(longer), 2, 0.8)
teach.record("its length over BackProp's, largest", max(longer), 5, 0.8)
worst = max(max(found[name]) for name in choices if name != "BackProp")
teach.record("highest of ProxProp's lowest J, three seeds", worst,
             expected=1.92, tolerance=0.1)
teach.record("lowest of BackProp's, three seeds", min(found["BackProp"]),
             expected=2.05, tolerance=0.1)
behind = min(whole[name][1] for name in choices if name != "BackProp")
behind -= whole["BackProp"][1]
teach.record("all maps, seed 1: ProxProp's lowest J less BackProp's", behind,
             expected=0.03, tolerance=0.02)
for l, small, large in (1, "sample", "parameter"), (2, "parameter", "sample"):
    kept, lost = np.log10([max(errors[l, small]), errors[l, large][-1]])
    teach.record(f"map {l}, smaller side, largest error, log10", kept,
                 expected=-12.3, tolerance=0.7)
    teach.record(f"map {l}, larger side, last error, log10", lost,
                 expected=-7, tolerance=0.8)
teach.record("draws with τ_θ > 400, least cosine", cosines_far.min(),
             expected=0.19, tolerance=0.01)
teach.record("draws with τ_θ > 400, largest cosine", cosines_far.max(),
             expected=0.35, tolerance=0.01)
shorter = np.linalg.norm(filtered(2, 1.0)) / np.linalg.norm(gradient[2])
teach.record("‖d‖ over ‖∇J‖, map 2, τ_θ = 1", shorter, expected=0.13,
             tolerance=0.01)

# %% [markdown]
# ## Summary
#
# - The implicit step of a layer is $\theta_k - \tau M^{-1}\nabla J$ with $M = \tilde a^T\tilde a +
#   I/\tau_\theta$: stable on the local problem for every $\tau_\theta$, and a preconditioned gradient that can
#   take the place of $\nabla J$ in an optimizer.
# - It can be computed from an $N\times N$ system; here the smaller of the two matrices keeps 12 digits up to
#   $\tau_\theta = 6\cdot10^7$, the larger 6.
# - Between gradient ($\tau_\theta \to 0$) and least-squares fit ($\tau_\theta \to \infty$) it is always a
#   descent direction, within Kantorovich's bound.
#
# **What this does not show.** Small tanh networks of two shapes, on batches of 40 or 50 digits; where no seeds or draws
# are named, one of each; no training, no timing. Only the *local* problem is stable; $J$ can rise. A direction is not
# better because it is more expensive.
#
# **References.** Frerix, Möllenhoff, Moeller, Cremers, *Proximal Backpropagation*, ICLR 2018: (11),
# Proposition 2 with (13), Propositions 3 and 4 (fixed points, descent), §4.1 on the limit of explicit
# steps. Horn and Johnson, *Matrix Analysis*, §7.4: Kantorovich's inequality. Hansen, *Rank-Deficient and
# Discrete Ill-Posed Problems*, 1998, chapter 4: damped least squares as the filter (5.5).

# %% [markdown]
# # 10 · Place it among second-order methods
#
# You will compute the full Hessian of a small network, strip it down step by step, and see which part of it
# an implicit weight step keeps.
#
# **Afterwards you can**
# 1. form a Gauss–Newton matrix from Jacobians (Exercise 10.1);
# 2. write the Levenberg–Marquardt step of a linear layer as a small system, ProxProp's (Exercise 10.2);
# 3. form the two Kronecker factors of a layer's block (Exercise 10.3);
# 4. find a point where Newton's step goes uphill (Exercise 10.4);
# 5. say what a second factor would cost and buy (Exercise 10.5).
#
# **You need** notebooks 03 and 05. **Time**: 60 minutes (estimated).

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import second_order as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## The whole Hessian
#
# Three kinds of digits, shrunk to 4×4 pixels, and a network 16-5-3 with tanh: 103 parameters, few enough to
# differentiate the gradient by finite differences, one parameter at a time. We flatten $\theta_1, \theta_2$ row by row
# into one vector.

# %%
data = ml.datasets.digits()


def batch(seed, samples=100):
    three = np.flatnonzero(data.y_train < 3)
    some = np.random.default_rng(seed).choice(three, samples, replace=False)
    blocks = data.X_train[some].reshape(samples, 4, 2, 4, 2)
    small = blocks.mean(axis=(2, 4)).reshape(samples, 16)
    net = ml.mlp([16, 5, 3], activation="tanh", seed=seed, dtype=np.float64)
    return net, small.astype(float), data.y_train[some]


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def unflat(net, vector):
    ends = np.cumsum([theta.size for theta in net.parameters])[:-1]
    return [None] + [part.reshape(t.shape)
                     for part, t in zip(np.split(vector, ends), net.parameters)]


# %% [markdown]
# The Hessian by central differences of BackProp's gradient, one row per parameter:

# %%
def hessian(net, X, y, h=1e-5):
    start, rows = flat(net.parameters), []

    def gradient(vector):
        net.theta = unflat(net, vector)
        return flat(ml.BackProp().direction(net, X, y)[1])

    for e in np.eye(len(start)):
        rows.append((gradient(start + h * e) - gradient(start - h * e))
                    / (2 * h))
    net.theta = unflat(net, start)
    return np.array(rows)


net, X, y = batch(SEED)
N = len(X)
H = hessian(net, X, y)
g = flat(ml.BackProp().direction(net, X, y)[1])
print(f"{len(g)} parameters; Hessian {H.shape}")
teach.holds("the Hessian is symmetric", H, H.T, teach.DIFFERENCES)
H = (H + H.T) / 2

# %% [markdown]
# ## Two kinds of curvature
#
# The loss is curved for two reasons: it is curved as a function of the outputs $z_i \in \mathbb{R}^K$ of sample $i$,
# and the outputs are curved as functions of $\theta$. With the Jacobian $J_i = \partial z_i/\partial\theta$ and the
# signal $r_i = \partial J/\partial z_i$ the chain rule, used twice, gives
#
# $$ \nabla^2 J = \sum_i J_i^T H_i J_i \;+\; \sum_i\sum_k r_{ik}\,\nabla^2 z_{ik}. \tag{10.1} $$
#
# Here $H_i$ is the Hessian, in $z_i$, of sample $i$'s share of the loss. For softmax cross-entropy with probabilities
# $p_i$ it is the following matrix, for which $v^TH_iv$ is the variance of $v$ under $p_i$, divided by $N$:
#
# $$ H_i = \tfrac1N\bigl(\mathrm{diag}\,p_i - p_i p_i^T\bigr) \succeq 0. \tag{10.2} $$
#
# The first sum is the **Gauss–Newton matrix** $G$. It is positive semidefinite; the second sum may be indefinite.
#
# Row $k$ of $J_i$ is a backward pass from one output: with $S_l = \partial z_D/\partial z_l$,
#
# $$ S_D = I, \qquad S_{l-1} = \sigma'(z_{l-1}) \odot (S_l W_l^T), \qquad
#    \frac{\partial z_{ik}}{\partial\theta_l} = \tilde a_i\, (S_{l})_{ik}^T. \tag{10.3} $$

# %%
def with_ones(a):
    return np.column_stack([a, np.ones(len(a))])


def signals(net, X):
    state = net.forward(X)
    S = np.broadcast_to(np.eye(3), (len(X), 3, 3))  # (sample, output, unit)
    found = {net.depth: S}
    for l in range(net.depth, 1, -1):
        slope = net.sigma[l - 1].derivative(state.z[l - 1])[:, None, :]
        S = slope * (S @ net.theta[l][:-1].T)  # (10.3)
        found[l - 1] = S
    return state, found


def jacobian(net, X):
    state, S = signals(net, X)
    parts = [np.einsum("ni,nkj->nkij", with_ones(state.a[l - 1]), S[l])
             for l in (1, 2)]  # (10.3)
    return np.concatenate([part.reshape(len(X), 3, -1) for part in parts],
                          axis=2)

# %% [markdown]
# Along a random direction the outputs must change by the Jacobians times that direction.

# %%
jac, start = jacobian(net, X), flat(net.parameters)
v, h = rng.normal(size=len(g)), 1e-5


def outputs(vector):
    return net.forward(X, theta=unflat(net, vector)).z[2]


change = (outputs(start + h * v) - outputs(start - h * v)) / (2 * h)
teach.holds("Jacobian along a random direction", jac @ v, change,
            teach.DIFFERENCES)

# %% [markdown]
# The loss's Hessian in the outputs of each sample, against differences of its gradient:

# %%
def loss_curvature(p):
    outer = p[:, :, None] * p[:, None, :]
    return (p[:, :, None] * np.eye(3) - outer) / len(p)  # (10.2)


curvature = loss_curvature(net.predict_proba(X))
z, dz, loss = net.forward(X).z[2], rng.normal(size=(N, 3)), net.loss_function
bend = (loss.gradient(z + h * dz, y) - loss.gradient(z - h * dz, y)) / (2 * h)
teach.holds("H_i along a random direction",
            np.einsum("nkj,nj->nk", curvature, dz), bend, teach.DIFFERENCES)

# %% [markdown]
# ## Exercise 10.1 (warm-up): Gauss–Newton
#
# Write $G$ from the Jacobians and the $H_i$.
#
# <details><summary>Hint 1: idea</summary>
#
# One product of three matrices per sample, then a sum over samples.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $G_{pq} = \sum_i\sum_{k,j} J_{ikp}\, H_{ikj}\, J_{ijq}$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `bent = curvature @ jac`, of shape (N, K, P)
#
# </details>

# %% tags=["exercise"]
# Exercise 10.1
def gauss_newton(jac, curvature):
    """Return G (P, P), for jac (N, K, P) and curvature (N, K, K)."""
    # <solution>
    # (10.1), the first sum
    return np.einsum("nkp,nkq->pq", jac, curvature @ jac)
    # </solution>

# %% tags=["check"]
gauss_newton = check.gauss_newton(gauss_newton, SEED)

# %% tags=["mistake"]
# says: own curvature
def gauss_newton(jac, curvature):
    return np.einsum("nkp,nkq->pq", jac, jac)

# %% tags=["mistake"]
# says: once more
def gauss_newton(jac, curvature):
    return np.einsum("nkp,nkq->pq", jac, curvature @ jac) / len(jac)

# %% tags=["mistake"]
# says: product of sums
def gauss_newton(jac, curvature):
    return jac.sum(axis=0).T @ curvature.sum(axis=0) @ jac.sum(axis=0)

# %%
G = gauss_newton(jac, curvature)
r = loss.gradient(z, y)
rest = []
# the second sum: how the Jacobian turns, weighted with r
for e in np.eye(len(g)):
    ends = []
    for sign in (1, -1):
        net.theta = unflat(net, start + sign * h * e)
        ends.append(np.einsum("nk,nkp->p", r, jacobian(net, X)))
    rest.append((ends[0] - ends[1]) / (2 * h))
net.theta = unflat(net, start)
teach.holds("Hessian = Gauss–Newton + the rest", G + np.array(rest), H,
            teach.DIFFERENCES)  # (10.1)

# %% [markdown]
# How does Newton's undamped step behave with such a Hessian? Adding the same vector to all three columns of $\theta_2$
# changes no probability: in these six directions $G$ and $H$ are zero, so we take the shortest of the steps that solve
# Newton's equations. Three seeds (network and batch):

# %%
def cosine(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


print(f"seed {SEED}: least eigenvalue of G {np.linalg.eigvalsh(G)[0]:.1e}")
newton = []
for seed in (0, 1, 2):
    net_s, X_s, y_s = batch(seed)
    H_s, at = hessian(net_s, X_s, y_s), flat(net_s.parameters)
    g_s = flat(ml.BackProp().direction(net_s, X_s, y_s)[1])
    # below 1e-9 of the largest, a curvature counts as zero
    step, _, rank, _ = np.linalg.lstsq((H_s + H_s.T) / 2, g_s, rcond=1e-9)
    newton.append(np.linalg.norm(step) / np.linalg.norm(g_s))
    before, net_s.theta = net_s.loss(X_s, y_s), unflat(net_s, at - step)
    low = np.linalg.eigvalsh(H_s)[0]
    print(f"seed {seed}: H has rank {rank}, least eigenvalue {low:.2f}; step "
          f"{newton[-1]:.0f} times as long as the gradient, cosine "
          f"{cosine(step, g_s):.4f}, loss {before:.2f} → "
          f"{net_s.loss(X_s, y_s):.3g}")

# %% [markdown]
# ## Damping: Levenberg–Marquardt
#
# Newton's undamped step is almost orthogonal to the gradient and hundreds to thousands of times as long; for two of the
# three seeds it raises the loss, as printed. $G$ is singular, too, so we damp it:
#
# $$ (G + \mu I)\, d = \nabla J. \tag{10.4} $$
#
# This gives the Levenberg–Marquardt step. Now look at **one linear layer** with squared error,
# $J = \frac1N\sum_i \frac12\|z_i - y_i\|^2$. Then $J_i = \tilde a_i^T \otimes I$, $H_i = I/N$, the second sum in (10.1)
# is zero, and
#
# $$ G = \tfrac1N \tilde A^T\tilde A \otimes I. \tag{10.5} $$
#
# So (10.4) becomes one small system, with one matrix and a right side for each output unit.

# %% [markdown]
# ## Exercise 10.2 (core): Levenberg–Marquardt by matrices
#
# Write the step $d$ of (10.4) as a matrix $\Delta$ of $\theta$'s shape, from $\tilde A$ and the residuals $Z - Y$. Mind
# the mean. Then compare on paper with ProxProp's
# $(\tilde A^T\tilde A + \frac{1}{\tau_\theta} I)^{-1}\nabla J$.
#
# <details><summary>Hint 1: idea</summary>
#
# Put (10.5) into (10.4), with $\theta$ as a matrix again. Both the gradient and $G$ are means over the samples.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $(\frac1N\tilde A^T\tilde A + \mu I)\, \Delta = \nabla J$, with $\nabla J = \frac1N\tilde A^T(Z - Y)$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `samples, n = a_tilde.shape`
#
# </details>

# %% tags=["exercise"]
# Exercise 10.2
def lm_step(a_tilde, residual, mu):
    """Return Δ (n + 1, m), to be subtracted; residual Z - Y (N, m)."""
    # <solution>
    samples, n = a_tilde.shape
    gradient = a_tilde.T @ residual / samples
    return np.linalg.solve(a_tilde.T @ a_tilde / samples + mu * np.eye(n),
                           gradient)  # (10.4), (10.5)
    # </solution>

# %% tags=["check"]
lm_step = check.lm_step(lm_step, SEED)

# %% tags=["mistake"]
# says: ProxProp's mixture
def lm_step(a_tilde, residual, mu):
    gram = a_tilde.T @ a_tilde + mu * np.eye(a_tilde.shape[1])
    return np.linalg.solve(gram, a_tilde.T @ residual / len(a_tilde))

# %% tags=["mistake"]
# says: both are sums
def lm_step(a_tilde, residual, mu):
    return np.linalg.solve(a_tilde.T @ a_tilde + mu * np.eye(a_tilde.shape[1]), a_tilde.T @ residual)

# %% tags=["mistake"]
# says: damping is missing
def lm_step(a_tilde, residual, mu):
    return np.linalg.solve(a_tilde.T @ a_tilde, a_tilde.T @ residual)

# %% [markdown]
# ## Predict
#
# ProxProp sums $\tilde A^T\tilde A$ and averages $\nabla J$. For which $\tau_\theta$ is its direction
# parallel to the Levenberg–Marquardt step with $\mu$: (a) $\tau_\theta = \mu$, (b) $1/\mu$, (c) $1/(N\mu)$?

# %% tags=["predict"]
which_tau = None  # "a", "b" or "c"

# %%
mu = 0.05
one = ml.mlp([16, 3], loss=ml.SquaredError(), seed=SEED, dtype=np.float64)
goal = np.eye(3)[y]
step = lm_step(with_ones(X), one.predict(X) - goal, mu)


def prox(tau_theta):
    return ml.ProxProp(tau_theta, last="implicit").direction(one, X, goal)[1][0]


candidates = {"a": mu, "b": 1 / mu, "c": 1 / (N * mu)}
closest = max(candidates, key=lambda name: cosine(prox(candidates[name]), step))
teach.reveal(which_tau, closest, "The direction is then the step divided by N.")

# %% [markdown]
# The same step by (10.4) as it stands, all parameters in one vector, with the matrix of (10.5):

# %%
teach.holds("N times ProxProp's direction", N * prox(1 / (N * mu)), step)
jac_one = np.einsum("ni,kj->nkij", with_ones(X), np.eye(3)).reshape(N, 3, -1)
G_one = gauss_newton(jac_one, np.broadcast_to(np.eye(3) / N, (N, 3, 3)))
teach.holds("G = ÃᵀÃ/N ⊗ I", G_one, np.kron(with_ones(X).T @ with_ones(X) / N,
                                            np.eye(3)))  # (10.5)
g_one = flat(ml.BackProp().direction(one, X, goal)[1])
whole = np.linalg.solve(G_one + mu * np.eye(len(g_one)), g_one)  # (10.4)
teach.holds("(10.4) with the whole G is the same step", whole, step.ravel())

# %% [markdown]
# ## Two Kronecker factors
#
# For a deep network, put (10.3) into $G$. The block of layer $l$ is
#
# $$ G_l = \sum_i \tilde a_i\tilde a_i^T \otimes B_i, \qquad B_i = S_i^T H_i S_i, \tag{10.6} $$
#
# an *input* factor and an *output* factor for each sample. **K-FAC** replaces the sum of products by a
# product of sums, as if inputs and $B_i$ were independent:
#
# $$ G_l \approx \Bigl(\tfrac1N\sum_i \tilde a_i\tilde a_i^T\Bigr) \otimes \sum_i B_i. \tag{10.7} $$
#
# Set the output factor to the identity and you have
#
# $$ \tfrac1N\tilde A^T\tilde A \otimes I, \tag{10.8} $$
#
# the matrix of ProxProp (damped by $\frac{1}{N\tau_\theta}$), called **FOOF** in the literature on second-order
# methods. Here the last layer has such a block too (`last="implicit"`); in ProxProp's paper the last layer takes a
# gradient step.

# %% [markdown]
# ## Exercise 10.3 (core): the factors
#
# Write (10.7). In `np.kron(P, Q)` the index of $P$ is the outer one; $\theta$ is flattened row by row, and its rows
# belong to inputs.
#
# <details><summary>Hint 1: idea</summary>
#
# Two small matrices, one `np.kron`.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# The weights $1/N$ of the samples are inside $B_i$, by (10.2).
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `input_factor = a_tilde.T @ a_tilde / len(a_tilde)`
#
# </details>

# %% tags=["exercise"]
# Exercise 10.3
def kfac(a_tilde, output):
    """Return the block; a_tilde (N, n + 1), output (N, m, m) holds the B_i."""
    # <solution>
    input_factor = a_tilde.T @ a_tilde / len(a_tilde)
    return np.kron(input_factor, output.sum(axis=0))  # (10.7)
    # </solution>

# %% tags=["check"]
kfac = check.kfac(kfac, SEED)

# %% tags=["mistake"]
# says: the order
def kfac(a_tilde, output):
    return np.kron(output.sum(axis=0), a_tilde.T @ a_tilde / len(a_tilde))

# %% tags=["mistake"]
# says: two sums
def kfac(a_tilde, output):
    return np.kron(a_tilde.T @ a_tilde, output.sum(axis=0))

# %% tags=["mistake"]
# says: output factor is missing
def kfac(a_tilde, output):
    return np.kron(a_tilde.T @ a_tilde / len(a_tilde), np.eye(output.shape[1]))

# %%
def factors(net, X):
    """Return (ã, B_i) of each layer."""
    state, S = signals(net, X)
    curvature = loss_curvature(net.predict_proba(X))
    B = {l: np.swapaxes(S[l], 1, 2) @ curvature @ S[l] for l in S}
    return [(with_ones(state.a[l - 1]), B[l]) for l in (1, 2)]


def block_diagonal(blocks):
    ends = np.cumsum([0] + [len(block) for block in blocks])
    matrix = np.zeros((ends[-1], ends[-1]))
    for block, low, high in zip(blocks, ends, ends[1:]):
        matrix[low:high, low:high] = block
    return matrix

# %% [markdown]
# The exact block of $G$ and K-FAC's, each checked against what it claims to be:

# %%
layers = factors(net, X)
first = layers[0][0].shape[1] * 5  # parameters of layer 1
for (a_tilde, B), block in zip(layers, (G[:first, :first], G[first:, first:])):
    exact = sum(np.kron(np.outer(a, a), B_i)
                for a, B_i in zip(a_tilde, B))  # (10.6)
    teach.holds("block of G, sample by sample", exact, block)
    teach.holds("K-FAC's of one sample is exact", kfac(a_tilde[:1], B[:1]),
                np.kron(np.outer(a_tilde[0], a_tilde[0]), B[0]))  # (10.7)
    V = rng.normal(size=(a_tilde.shape[1], B.shape[1]))  # a direction
    pairs = sum(dz @ B_i @ dz for dz in a_tilde @ V for B_i in B) / N
    teach.holds("K-FAC's along V: each input with each B_i",
                V.ravel() @ kfac(a_tilde, B) @ V.ravel(), pairs)  # (10.7)

# %% [markdown]
# And ProxProp's matrix, FOOF:

# %%
foof = block_diagonal([np.kron(a.T @ a / N, np.eye(B.shape[1]))
                       for a, B in layers])  # (10.8)
implicit = ml.ProxProp(1 / (N * mu), last="implicit").direction(net, X, y)[1]
teach.holds("(10.8), damped by μ = 1/(Nτ_θ): N times ProxProp's direction",
            np.linalg.solve(foof + mu * np.eye(len(g)), g), N * flat(implicit))

# %% [markdown]
# How far is K-FAC's block from that of $G$, and how much do the $p_i$ differ between samples?

# %%
for seed in (0, 1, 2):
    net_s, X_s, _ = batch(seed)
    p = net_s.predict_proba(X_s)
    G_s = gauss_newton(jacobian(net_s, X_s), loss_curvature(p))
    off = []
    for layer, block in zip(factors(net_s, X_s),
                            (G_s[:first, :first], G_s[first:, first:])):
        apart = np.linalg.norm(kfac(*layer) - block)
        off.append(f"{100 * apart / np.linalg.norm(block):.1f} %")
    print(f"seed {seed}: K-FAC is off by", " and ".join(off), "of the norm; "
          f"largest standard deviation of a p_i {p.std(axis=0).max():.3f}")

# %% [markdown]
# ## Predict
#
# In ProxProp's matrix (10.8) the block of layer 1, five units, has 85×85 entries. What share of them can be non-zero:
# (a) all, (b) a fifth, (c) the diagonal only?

# %% tags=["predict"]
share = None  # "a", "b" or "c"

# %%
filled = np.mean(foof[:first, :first] != 0)
choices = {"a": 1.0, "b": 1 / 5, "c": 1 / first}
answer = min(choices, key=lambda name: abs(np.log(choices[name] / filled)))
teach.reveal(share, answer, f"The share is {filled:.2f} of {first}×{first}. "
             "No entry couples two units.")

# %% [markdown]
# All five matrices, from the Hessian to the identity that BackProp puts in its place; below each, what is lost from
# left to right:

# %%
pictures = {"Hessian": H, "Gauss–Newton": G,
            "K-FAC": block_diagonal([kfac(*layer) for layer in layers]),
            "ProxProp (FOOF)": foof, "BackProp": np.eye(len(g))}
loses = ("loses nothing", "bend of the outputs",
         "+ blocks between layers,\ncorrelation of the factors",
         "+ output factor", "+ input factor")
fig, axes = plt.subplots(1, 5, figsize=(11, 2.7))
for ax, (name, matrix), lost in zip(axes, pictures.items(), loses):
    part = matrix / np.abs(matrix).max()
    shown = np.sign(part) * np.sqrt(np.abs(part))  # roots show small entries
    image = ax.imshow(shown, cmap="PuOr", vmin=-1, vmax=1,
                      interpolation="nearest")
    ax.axhline(first - 0.5, color="black", linewidth=0.5)
    ax.axvline(first - 0.5, color="black", linewidth=0.5)
    ax.set(xticks=[], yticks=[], title=name, xlabel=lost)
    ax.grid(False)
axes[0].set_yticks([first / 2, (first + len(g)) / 2], ["layer 1", "layer 2"],
                   rotation=90, va="center")
bar = fig.colorbar(image, ax=axes, ticks=[-1, 0, 1], shrink=0.8)
bar.ax.set_yticklabels(["−max", "0", "max"])
bar.set_label("entry, root scale")
teach.show(fig, "Five matrices of 103 rows as images. Hessian and Gauss–Newton "
           "are full, with a fine pattern in each layer's block; K-FAC keeps "
           "the blocks, without the parts between layers; ProxProp keeps the "
           "input pattern on diagonals only; BackProp is the identity.")

# %% [markdown]
# From left to right each matrix loses something more: Gauss–Newton the curvature of the outputs; K-FAC the blocks
# between layers, and the dependence between inputs and $B_i$ (little at the start, see above); ProxProp the output
# factor; BackProp the input factor. What ProxProp keeps is exact, though: no independence is assumed, and nothing is
# averaged over time.

# %% [markdown]
# ## Does it matter for the step?
#
# Compare directions by their cosine to two references: the Levenberg–Marquardt step (10.4) with $\mu = 0.01$, and
# Newton's step, with 1.5 times the damping that makes $H$ positive definite. Both numbers are choices; one alternative
# to each is tried below. Each method has its own damping, on the horizontal axis. Everything is done for three seeds,
# at the start and after 300 steps of gradient descent (rate 0.5).

# %%
dampings = np.logspace(-4, 1, 16)


def trained(seed, descent_steps):
    """Return network and batch after some steps, and the gradient there."""
    net, X, y = batch(seed)
    for _ in range(descent_steps):
        ml.SGD(lr=0.5).step(net.parameters,
                            ml.BackProp().direction(net, X, y)[1])
    return net, X, y, flat(ml.BackProp().direction(net, X, y)[1])


def matrices(net, X):
    """Return Gauss–Newton's matrix and K-FAC's."""
    G = gauss_newton(jacobian(net, X), loss_curvature(net.predict_proba(X)))
    return G, block_diagonal([kfac(*layer) for layer in factors(net, X)])

# %%
def curves(seed, descent_steps):
    """Return {reference: {method: cosines, an array over dampings}}."""
    net, X, y, g = trained(seed, descent_steps)
    H, (G, blocks), eye = hessian(net, X, y), matrices(net, X), np.eye(len(g))
    least = -np.linalg.eigvalsh((H + H.T) / 2)[0]
    references = {name: np.linalg.solve(matrix + mu * eye, g)  # (10.4)
                  for name, matrix, mu in (
                      ("LM", G, 0.01), ("LM, 0.001", G, 0.001),
                      ("Newton", H, max(0.01, 1.5 * least)),
                      ("Newton, 3 times", H, max(0.01, 3 * least)))}

    def damped(matrix):
        return [np.linalg.solve(matrix + mu * eye, g) for mu in dampings]

    prox = [ml.ProxProp(1 / (len(X) * mu), last="implicit") for mu in dampings]
    steps = {"BackProp": [g] * 16, "K-FAC": damped(blocks),
             "Gauss–Newton": damped(G),
             "ProxProp exact": [flat(method.direction(net, X, y)[1])
                                for method in prox]}
    return {reference: {name: np.array([cosine(d, target) for d in each])
                        for name, each in steps.items()}
            for reference, target in references.items()}

# %% [markdown]
# ## Predict
#
# At the start of training the gradient's cosine to the Levenberg–Marquardt step is about one half (median). And
# ProxProp's, with its best damping: (a) below 0.6, (b) 0.6 to 0.8, (c) above 0.8?

# %% tags=["predict"]
nearer = None  # "a", "b" or "c"

# %%
found = {count: [curves(seed, count) for seed in (0, 1, 2)]
         for count in (0, 300)}
best = {name: np.median([run["LM"][name].max() for run in found[0]])
        for name in found[0][0]["LM"]}
prox_at = best["ProxProp exact"]
teach.reveal(nearer, "a" if prox_at < 0.6 else "b" if prox_at < 0.8 else "c",
             "Medians of three seeds:")
print(", ".join(f"{name} {value:.2f}" for name, value in best.items()))

# %% [markdown]
# The cosines for every damping, to both references, and later in training:

# %%
looks = {"BackProp": {"marker": ""},
         "K-FAC": {"color": teach.COLORS["purple"], "marker": "*"},
         "Gauss–Newton": {"color": teach.COLORS["orange"], "linestyle": ":"}}
panels = [("LM", 0, "to Levenberg–Marquardt, start"),
          ("Newton", 0, "to damped Newton, start"),
          ("LM", 300, "to Levenberg–Marquardt, 300 steps later")]
fig, axes = plt.subplots(1, 3, figsize=(11, 3.3), sharey=True)
for ax, (reference, count, title) in zip(axes, panels):
    for name in ("BackProp", "ProxProp exact", "K-FAC", "Gauss–Newton"):
        runs = np.array([run[reference][name] for run in found[count]])
        teach.band(ax, dampings, runs,
                   name if name in teach.METHODS else "exact", label=name,
                   **looks.get(name, {}))
    ax.set(xscale="log", title=title, xlabel=r"$\mu = 1/(N\tau_\theta)$",
           ylim=(0, 1.03))
axes[0].set_ylabel("cosine, median and range of 3 seeds")
axes[2].text(0.97, 0.06, "the reference is damped (0.01) by\nmore than the "
             "curvature along the gradient", ha="right", fontsize=8,
             transform=axes[2].transAxes)
axes[1].legend(loc="lower right")
teach.show(fig, "Cosines against damping. At the start, each at its best "
           "damping, ProxProp and K-FAC come far nearer to Levenberg–Marquardt "
           "than the gradient does, K-FAC a little nearer; to damped Newton "
           "no median exceeds 0.85, and ProxProp's highest is within 0.01 of "
           "the gradient's. After 300 steps the gradient itself is near.")

# %% [markdown]
# What is behind the three panels? First the best cosines at the start, for two dampings of each reference:

# %%
highest = {}
for reference in found[0][0]:
    for name in best:
        each = [run[reference][name].max() for run in found[0]]
        highest[reference, name] = np.median(each)
        print(f"to {reference:<16} {name:<15} {np.median(each):.2f}  (seeds:",
              *(f"{value:.2f}" for value in each), ")")

# %% [markdown]
# The input factor alone brings most of the gain towards Levenberg–Marquardt at $\mu = 0.01$ (the cosine rises from 0.49
# to 0.92, with K-FAC to 0.96); at 0.001 the second factor matters more. Gauss–Newton *is* the first reference. It comes
# near Newton's step only where that is damped more, and there the gradient does, too: $G$ has no negative curvature;
# what $H$ has of it is in the second sum of (10.1), which the whole family leaves out.

# %% [markdown]
# Then the curvature (of $G$) along the gradient, also as a share of the largest, at the start and later, and the
# gradient's cosine later on.

# %%
turns = {}
for count in (0, 300):
    turns[count], met = [], []
    for seed in (0, 1, 2):
        net_s, X_s, _, slope = trained(seed, count)
        curved = matrices(net_s, X_s)[0]
        met.append(slope @ curved @ slope / (slope @ slope))
        turns[count].append(met[-1] / np.linalg.eigvalsh(curved)[-1])
    print(f"after {count} steps, three seeds: curvature along the gradient",
          *(f"{value:.4f}" for value in met), "– over the largest",
          *(f"{value:.4f}" for value in turns[count]))
later = np.median([run["LM"]["BackProp"][0] for run in found[300]])
print("the gradient's cosine to Levenberg–Marquardt after 300 steps, median: "
      f"{later:.2f}")

# %% [markdown]
# 300 steps later the curvature along the gradient is less than the 0.01 that the reference's damping adds, and the
# reference hardly turns the gradient.

# %% [markdown]
# Then the scale: ProxProp replaces the output factor by the identity. We multiply (10.8) by that factor's mean
# eigenvalue, one number per layer, and look for the best damping again.

# %%
scales, plain, scaled = [], [], []
for seed in (0, 1, 2):
    net_s, X_s, _, slope = trained(seed, 0)
    layers_s, eye = factors(net_s, X_s), np.eye(len(slope))
    scales.append([np.trace(B.sum(axis=0)) / B.shape[1] for _, B in layers_s])
    matrix = block_diagonal([
        size * np.kron(a.T @ a / len(X_s), np.eye(B.shape[1]))
        for size, (a, B) in zip(scales[-1], layers_s)])
    target = np.linalg.solve(matrices(net_s, X_s)[0] + 0.01 * eye, slope)
    runs = np.array([cosine(np.linalg.solve(matrix + mu * eye, slope), target)
                     for mu in dampings])
    own = found[0][seed]["LM"]["ProxProp exact"]
    plain.append(dampings[own.argmax()])
    scaled.append(dampings[runs.argmax()])
    print(f"seed {seed}: mean eigenvalue of the output factor, layers 1 and 2: "
          f"{scales[-1][0]:.2f}, {scales[-1][1]:.2f}; best damping as it is "
          f"{plain[-1]:.2g} (cosine {own.max():.3f}), scaled "
          f"{scaled[-1]:.2g} ({runs.max():.3f})")

# %% [markdown]
# ProxProp's best damping is ten times Gauss–Newton's, and that is a matter of scale: two numbers in place of the output
# factors bring it down to 0.01 or less.

# %% [markdown]
# ## Exercise 10.4 (break it): Newton uphill
#
# A network of two weights: $J(w) = \frac12(w_2\tanh w_1 - 1)^2$. Find a point $w$ where Newton's step
# $-H^{-1}\nabla J$ goes **uphill** (cosine of $H^{-1}\nabla J$ to the gradient at most $-0.1$). Say, on paper, why no
# damped Gauss–Newton step can. `toy(w)` returns gradient, Hessian and Gauss–Newton matrix.
#
# <details><summary>Hint 1: idea</summary>
#
# Newton's step seeks stationary points of any kind. This loss has a saddle.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Near 0, $J \approx \frac12 - w_1w_2$: there is a saddle at 0, from which $J$ falls along $w_1 = w_2$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `g, H, _ = toy(uphill)`, then the cosine of `np.linalg.solve(H, g)` to `g`
#
# </details>

# %%
def toy(w):
    """Return gradient, Hessian and Gauss–Newton matrix of
    ½ (w₂ tanh w₁ − 1)²."""
    t, w2 = np.tanh(w[0]), w[1]
    slope, r = 1 - t * t, w2 * t - 1
    jac = np.array([w2 * slope, t])
    G = np.outer(jac, jac)
    bend = np.array([[-2 * w2 * t * slope, slope], [slope, 0]])
    return r * jac, G + r * bend, G  # (10.1)


spot = np.array([0.7, 1.2])
ends = [(toy(spot + h * e)[0] - toy(spot - h * e)[0]) / (2 * h)
        for e in np.eye(2)]
teach.holds("its Hessian against differences", toy(spot)[1],
            ends, teach.DIFFERENCES)

# %% tags=["exercise"]
# Exercise 10.4
# <solution uphill>
# on the slope that leads down from the saddle at 0
uphill = np.array([0.25, 0.25])
# </solution>

# %% tags=["check"]
uphill = check.newton_uphill(uphill, SEED)

# %% tags=["mistake"]
# says: stationary point
uphill = np.array([0.0, 0.0])

# %% tags=["mistake"]
# says: positive definite here
uphill = np.array([1.0, 1.2])

# %% tags=["mistake"]
# says: still downhill
uphill = np.array([0.3, -0.3])

# %% [markdown]
# Three steps from your point (until you have one, from a point where all three go down). $G + \mu I$ is positive
# definite, and so is its inverse: no damped Gauss–Newton step goes uphill. Here, with one output and one sample, $G$ has
# rank one, and the step is even parallel to the gradient.

# %%
def toy_loss(w):
    return (w[..., 1] * np.tanh(w[..., 0]) - 1) ** 2 / 2


uphill = np.asarray(uphill, dtype=float)
gradient, toy_H, toy_G = toy(uphill)
damped = -np.linalg.solve(toy_G + 0.2 * np.eye(2), gradient)
ways = {"Newton": (-np.linalg.solve(toy_H, gradient), "vermillion", 5, "-"),
        "Gauss–Newton, μ = 0.2": (damped, "orange", 3, ":"),
        "gradient": (-gradient, "black", 1, "-")}
fig, ax = plt.subplots(figsize=(5.4, 4))
# J(−w) = J(w): the side on which your point lies
grid = np.linspace(-1, 2, 80) if sum(uphill) >= 0 else np.linspace(-2, 1, 80)
teach.contours(ax, toy_loss, grid, grid)
for name, (way, color, width, line) in ways.items():
    arrow = {"arrowstyle": "->", "color": teach.COLORS[color], "lw": width,
             "ls": line}
    ax.annotate("", uphill + way, uphill, arrowprops=arrow)
    ax.plot([], [], line, color=teach.COLORS[color], linewidth=width,
            label=f"{name}: to J = {toy_loss(uphill + way):.2f}")
ax.plot(0, 0, "k+", ms=9)
ax.set(title=f"J = {toy_loss(uphill):.2f} at the tail; + is a saddle",
       xlabel="w₁", ylabel="w₂")
ax.legend(loc="lower right", fontsize=8, frameon=True)
teach.show(fig, "Contours of a loss with a saddle at 0, and three steps from "
           "the point of Exercise 10.4, where Newton's goes uphill; until that "
           "is done, from a point where all three go down.")

# %% [markdown]
# The network of the first cells has directions of negative curvature, too:

# %%
fig, ax = plt.subplots(figsize=(5.4, 3.2))
ax.plot(np.linalg.eigvalsh(H), "-", color=teach.COLORS["vermillion"],
        label="Hessian")
ax.plot(np.linalg.eigvalsh(G), ":", color=teach.COLORS["orange"],
        label="Gauss–Newton")
ax.set(title=f"network 16-5-3, seed {SEED}, at the start",
       xlabel="number, sorted", ylabel="eigenvalue")
ax.legend(loc="upper left")
teach.show(fig, "Sorted eigenvalues of the network's two matrices, 103 each: "
           "the Hessian has negative ones, to −0.5; Gauss–Newton's least is 0, "
           "but for rounding.")

# %% [markdown]
# ## Exercise 10.5 (open): add the missing factor?
#
# According to its authors, K-FAC's second factor costs a backward pass with another signal, an average over time, and a
# factorisation per layer. Judging by the figures, what would it buy ProxProp, at which stage, and what would you
# measure before adding it? Five lines.

# %% [markdown] tags=["answer"]
# **One answer.** At the start, for the reference's $\mu = 0.01$, it buys a few hundredths of cosine over the input
# factor (0.96 against 0.92, each at its best damping), where the two scales alone reach 0.94 to 0.97; for smaller $\mu$
# it buys more. It costs an $n_l\times n_l$ solve and, if $B$ is to be exact as here, a backward pass for each output
# (10.3); if $B$ is sampled, it is noisy. Before adding it I would measure training loss against seconds, at each
# method's best damping and step size, on networks wide enough for the solves to matter. Cosine is not progress: the
# gradient has cosine one to itself.

# %% tags=["record"]
low, high = np.linalg.eigvalsh(H)[0], np.linalg.eigvalsh(G)[0]
teach.record("least eigenvalue of the Hessian", low, expected=-0.5,
             tolerance=0.03)
teach.record("least eigenvalue of Gauss–Newton", high, expected=0,
             tolerance=1e-6)
for name, value in {"BackProp": 0.49, "ProxProp exact": 0.92,
                    "K-FAC": 0.96}.items():
    teach.record(f"cosine to Levenberg–Marquardt, {name}", best[name],
                 expected=value, tolerance=0.04)
for reference, name, value in (("Newton", "Gauss–Newton", 0.85),
                               ("Newton, 3 times", "Gauss–Newton", 0.97),
                               ("LM, 0.001", "ProxProp exact", 0.68),
                               ("LM, 0.001", "K-FAC", 0.9)):
    nearest = highest[reference, name]
    teach.record(f"{name}'s best cosine to {reference}", nearest,
                 expected=value, tolerance=0.05)
spread = net.predict_proba(X).std(axis=0).max()
teach.record("spread of the p_i at the start", spread, expected=0.015,
             tolerance=0.01)
least = np.log10(min(newton))
teach.record("log10 of Newton's length over the gradient's", least,
             expected=2.65, tolerance=0.1)
teach.record("the gradient's cosine, 300 steps later", later, expected=0.99,
             tolerance=0.01)
at = np.median(plain)
teach.record("ProxProp's best damping at the start", at, expected=0.1,
             tolerance=0.06)
teach.record("the same, scaled, the largest of 3 seeds", max(scaled),
             expected=0.01, tolerance=0.006)
most = max(turns[300])
teach.record("curvature the later gradient meets", most, expected=0.006,
             tolerance=0.003)

# %% [markdown]
# ## Summary
#
# - Hessian = Gauss–Newton + curvature of the outputs; if the loss is convex in the outputs, the first is positive
#   semidefinite.
# - On a linear layer with squared error an implicit step *is* Levenberg–Marquardt, divided by $N$, with
#   $\mu = 1/(N\tau_\theta)$.
# - In a deep network an implicit step keeps its block's input factor exactly, and replaces the output factor by the
#   identity.
#
# **What this does not show.** One network of 103 parameters, a batch of 100 for each of three seeds, and angles, which
# depend on the references' dampings, say nothing about training speed. K-FAC as its authors describe it averages its
# factors over batches and samples labels from the model; here both factors are exact.
#
# **References.** Martens, Grosse, *Optimizing Neural Networks with Kronecker-factored Approximate Curvature*, ICML
# 2015: (10.7), its costs, averages and samples. Benzing, *Gradient Descent on Neurons and its Link to Approximate
# Second-order Optimization*, ICML 2022: FOOF, and evidence that K-FAC approximates it. Frerix et al., *Proximal
# Backpropagation*, ICLR 2018, Proposition 2: ProxProp's matrix. Nocedal and Wright, *Numerical Optimization*, 2006,
# §10.3: Gauss–Newton and Levenberg–Marquardt.

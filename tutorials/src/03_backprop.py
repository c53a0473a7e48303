# %% [markdown]
# # 03 · Write backprop and prove it right
#
# You will write the gradient of a network by hand, and build tests that can tell you where it is wrong.
#
# **Afterwards you can**
# 1. write the adjoint of a linear map, to be tested by two inner products (Exercise 3.1);
# 2. differentiate a loss, with the right weight for a mean (Exercise 3.2);
# 3. write the backward sweep in at most ten lines (Exercise 3.3);
# 4. find a bug by comparing tensor by tensor (Exercise 3.4);
# 5. fool a weak gradient check, and say which check sees the fault (Exercise 3.5).
#
# **You need** the chain rule, matrix products. **Time**: 60 minutes (estimated).

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import backprop as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## The forward pass
#
# Samples are rows. Map number $l$ has weights $W_l$ and bias $b_l$, kept in **one** array $\theta_l =
# [W_l;\, b_l^T]$ with the bias in the last row:
#
# $$ z_l = a_{l-1} W_l + 1 b_l^T, \qquad a_l = \sigma(z_l), \qquad l = 1, \dots, D, \tag{3.1} $$
#
# with $a_0 = X$ and no activation after the last map. Slot 0 of each list holds $X$ or None, so that `theta[1]` is
# $\theta_1$. The loss is the mean over samples of the softmax cross-entropy,
#
# $$ J = \frac1N \sum_i \Big( \log \sum_j e^{z_{ij}} - z_{i y_i} \Big), \qquad z = z_D. \tag{3.2} $$

# %%
net = ml.mlp([5, 7, 7, 7, 3], activation="tanh", dtype=np.float64, seed=SEED)
X, y = rng.normal(size=(20, 5)), rng.integers(0, 3, 20)
theta, D = net.theta, net.depth


def forward(theta, X):
    z, a = [None], [X]
    for l in range(1, len(theta)):
        z.append(a[l - 1] @ theta[l][:-1] + theta[l][-1])
        if l < len(theta) - 1:
            a.append(np.tanh(z[l]))  # (3.1)
    return z, a


def J(theta):
    z = forward(theta, X)[0][-1]
    return np.mean(np.log(np.exp(z).sum(axis=1))
                   - z[np.arange(len(y)), y])  # (3.2)


z, a = forward(theta, X)
state = net.forward(X)
for l in range(1, D + 1):
    teach.holds(f"z_{l} by hand and the library's", z[l], state.z[l])  # (3.1)
teach.holds("loss by hand and the library's", J(theta), net.loss(X, y))

# %% [markdown]
# ## Adjoints
#
# Backpropagation is a chain of *adjoints*. The adjoint of a linear map $M$ is the map $M^*$ with
#
# $$ \langle M x, g \rangle = \langle x, M^* g \rangle \quad \text{for all } x, g. \tag{3.3} $$
#
# It carries a gradient with respect to the output back to one with respect to the input. Apart from the bias, a
# constant, the map in (3.1) is linear in $a$: a change $t$ of $a$ changes $z$ by $tW$, and the adjoint of this is
# $g \mapsto g W^T$. It is also linear in $\theta$. No formula is needed to *test* an adjoint: take two random arrays
# and two inner products. With a wrong linear map in place of $M^*$ the two differ with probability one.

# %%
l, g = 2, rng.normal(size=(20, 7))
tangent = rng.normal(size=(20, 7))  # a change of a_1
left = np.sum((tangent @ theta[l][:-1]) * g)
right = np.sum(tangent * (g @ theta[l][:-1].T))
teach.holds("adjoint in a: two inner products", left, right)  # (3.3)

# %% [markdown]
# ## Exercise 3.1 (warm-up): the adjoint in θ
#
# Write the adjoint of $\theta \mapsto a W + 1 b^T$: it takes $g$, of shape (N, n_out), to an array of the shape of
# $\theta$.
#
# <details><summary>Hint 1: idea</summary>
#
# The map is one matrix product, if a column of ones is appended to $a$.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# With $\tilde a = [a\; 1]$ the map is $\tilde a\,\theta$ and its adjoint is $\tilde a^T g$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `weights = a.T @ g`
#
# </details>

# %% tags=["exercise"]
# Exercise 3.1
def adjoint_theta(a, g):
    """Return an array (n_in + 1, n_out), for a (N, n_in) and g (N, n_out)."""
    # <solution>
    weights, bias = a.T @ g, g.sum(axis=0)
    return np.vstack([weights, bias])  # (3.6)
    # </solution>

# %% tags=["check"]
adjoint_theta = check.adjoint_theta(adjoint_theta, SEED)

# %% tags=["mistake"]
# says: the bias is missing
def adjoint_theta(a, g):
    return a.T @ g

# %% tags=["mistake"]
# says: averaged over the samples
def adjoint_theta(a, g):
    return np.vstack([a.T @ g, g.mean(axis=0)])

# %% tags=["mistake"]
# says: the last row
def adjoint_theta(a, g):
    return np.vstack([g.sum(axis=0), a.T @ g])

# %% [markdown]
# ## Exercise 3.2 (core): the gradient of the loss
#
# Differentiate (3.2) with respect to the logits $z$. Call the result $g_D = \partial J / \partial z_D$. Logits of
# 1000 must not give nan.
#
# <details><summary>Hint 1: idea</summary>
#
# Take one sample. What is the derivative of $\log\sum_j e^{z_j}$ with respect to $z_k$?
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# It is the probability $p_k = e^{z_k}/\sum_j e^{z_j}$. The other term contributes $-1$ at the true class.
# And each sample has weight $1/N$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `p = np.exp(z - z.max(axis=1, keepdims=True))`, then normalise each row.
#
# </details>

# %% tags=["exercise"]
# Exercise 3.2
def loss_gradient(z, y):
    """Return dJ/dz, an array (N, n), for logits z (N, n) and labels y (N,)."""
    # <solution>
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)  # (3.4)
    # </solution>

# %% tags=["check"]
loss_gradient = check.loss_gradient(loss_gradient, SEED)

# %% tags=["mistake"]
# says: weight 1/N
def loss_gradient(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return p - np.eye(z.shape[1])[y]

# %% tags=["mistake"]
# says: the sign
def loss_gradient(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return (np.eye(z.shape[1])[y] - p) / len(y)

# %% tags=["mistake"]
# says: softmax is missing
def loss_gradient(z, y):
    return (z - np.eye(z.shape[1])[y]) / len(y)

# %% tags=["mistake"]
# says: not each column
def loss_gradient(z, y):
    return (np.exp(z) / np.exp(z).sum(axis=0) - np.eye(z.shape[1])[y]) / len(y)

# %% [markdown]
# ## The backward sweep
#
# With $p$ the softmax of the logits and $e_y$ the one-hot label, the three lines of backpropagation, from
# the last map to the first, are
#
# $$ g_D = \tfrac1N (p - e_y), \tag{3.4} $$
# $$ g_{l-1} = \sigma'(z_{l-1}) \odot (g_l W_l^T), \tag{3.5} $$
# $$ \nabla_{\theta_l} J = \tilde a_{l-1}^T g_l, \qquad \tilde a = [a\;1]. \tag{3.6} $$
#
# (3.5) applies the adjoint of the map in $a$, then that of the activation; (3.6) applies the adjoint of the map in
# $\theta$. The bias row takes no part in (3.5): it does not multiply $a$.

# %% [markdown]
# ## Exercise 3.3 (core): backprop
#
# Write the sweep for a tanh network, in at most ten lines, given $\theta$, the values $z$ and $a$ of the forward pass,
# and $g_D$.
#
# <details><summary>Hint 1: idea</summary>
#
# One loop over $l = D, \dots, 1$. In each turn: the gradient of $\theta_l$, then the signal for the layer
# below.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# (3.6), then (3.5) with $\sigma'(z) = 1 - \tanh^2 z = 1 - a^2$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `gradients = [None] * len(theta)`
#
# </details>

# %% tags=["exercise"]
# Exercise 3.3
def backprop(theta, z, a, g):
    """Return [None, gradient in theta_1, …, in theta_D], for g = dJ/dz_D."""
    # <solution>
    gradients = [None] * len(theta)
    for l in range(len(theta) - 1, 0, -1):
        gradients[l] = adjoint_theta(a[l - 1], g)  # (3.6)
        if l > 1:
            g = (1 - a[l - 1] ** 2) * (g @ theta[l][:-1].T)  # (3.5)
    return gradients
    # </solution>

# %% tags=["check"]
backprop = check.backprop(backprop, SEED)

# %% tags=["mistake"]
# says: σ' is missing
def backprop(theta, z, a, g):
    gradients = [None] * len(theta)
    for l in range(len(theta) - 1, 0, -1):
        gradients[l] = adjoint_theta(a[l - 1], g)
        g = g @ theta[l][:-1].T
    return gradients

# %% tags=["mistake"]
# says: it belongs at z_l
def backprop(theta, z, a, g):
    gradients = [None] * len(theta)
    for l in range(len(theta) - 1, 0, -1):
        gradients[l] = adjoint_theta(a[l - 1], g)
        g = (1 - np.tanh(a[l - 1]) ** 2) * (g @ theta[l][:-1].T)
    return gradients

# %% tags=["mistake"]
# says: 1 − tanh²
def backprop(theta, z, a, g):
    gradients = [None] * len(theta)
    for l in range(len(theta) - 1, 0, -1):
        gradients[l] = adjoint_theta(a[l - 1], g)
        g = (1 - a[l - 1]) * (g @ theta[l][:-1].T)
    return gradients

# %% [markdown]
# ## Tensor by tensor
#
# Compare the signal at the top and every gradient with the library's.

# %%
signals = {}


# a block holds what minilift knows of one map: its number, its input a, its
# signal g and more; a function from a block to a step is a method
def keep_signals(block):
    signals[block.l] = block.g
    return block.phi.adjoint_theta(block.a, block.g)


loss, library = ml.methods.as_method(keep_signals).direction(net, X, y)
mine = backprop(theta, z, a, loss_gradient(z[D], y))
teach.compare("∂J/∂z_4", loss_gradient(z[D], y), signals[D])
for l in range(D, 0, -1):
    teach.compare(f"∇J in theta_{l}", mine[l], library[l - 1])
    size = np.abs(library[l - 1]).max()  # below 1: make the error relative
    teach.holds(f"the same, map {l}", mine[l] / size,
                library[l - 1] / size)  # (3.6)
teach.holds("BackProp's direction", library[0] / size,
            ml.BackProp().direction(net, X, y)[1][0] / size)

# %% [markdown]
# Now check the signals below the top, and the gradients once more, against the two adjoints by (3.3): push a random
# change of $z_{l-1}$, and one of $\theta_l$, forward to $z_l$.

# %%
draw = np.random.default_rng(SEED + 1)
for l in range(D, 0, -1):
    t = draw.normal(size=theta[l].shape)
    change = a[l - 1] @ t[:-1] + t[-1]  # of z_l
    teach.holds(f"∇J in theta_{l} from g_{l}", np.sum(library[l - 1] * t),
                np.sum(change * signals[l]))  # (3.6)
for l in range(D, 1, -1):
    t = draw.normal(size=z[l - 1].shape)
    change = ((1 - a[l - 1] ** 2) * t) @ theta[l][:-1]  # of z_l
    teach.holds(f"g_{l - 1} from g_{l}", np.sum(signals[l - 1] * t),
                np.sum(change * signals[l]))  # (3.5)

# %% [markdown]
# That checks each signal against the one above it. Is the signal also what its name says, $\partial J/\partial z_l$?
# Replace $z_l$ by a nearby value, compute the rest of the network anew, and see how the loss changes.

# %%
def J_from(l, z_l):
    """Return the loss if z_l is replaced, and all after it computed anew."""
    for k in range(l + 1, D + 1):
        z_l = np.tanh(z_l) @ theta[k][:-1] + theta[k][-1]
    return net.loss_function.value(z_l, y)


h = 1e-4
for l in range(D, 0, -1):
    t = rng.normal(size=z[l].shape)
    slope = (J_from(l, z[l] + h * t) - J_from(l, z[l] - h * t)) / (2 * h)
    teach.holds(f"g_{l} is ∂J/∂z_{l}, along a random direction",  # (3.4), (3.5)
                np.sum(signals[l] * t), slope, teach.DIFFERENCES)

# %% [markdown]
# ## Finite differences
#
# An implementation can agree with another that has the same fault. Finite differences ask $J$ itself. Along
# a random direction $t$ the even terms of the two Taylor series cancel; the difference of two values of $J$, each rounded
# by $O(\varepsilon)$, is divided by $2h$:
#
# $$ \frac{J(\theta + ht) - J(\theta - ht)}{2h}
#    = \langle \nabla J, t \rangle + O(h^2) + O(\varepsilon / h), \tag{3.7} $$
#
# where $\varepsilon$ is the unit rounding, about 1e-16 in float64. One random direction tests all entries at
# once: an error $e$ of the gradient shows as $\langle e, t\rangle$, which is zero with probability zero (to be seen, it
# must exceed the tolerance).

# %%
tangent = [None] + [rng.normal(size=part.shape) for part in theta[1:]]
slope = sum(np.sum(gradient * t) for gradient, t in zip(mine[1:], tangent[1:]))


def shifted(h, dtype=np.float64):
    return [None] + [(part + h * t).astype(dtype)
                     for part, t in zip(theta[1:], tangent[1:])]


def central(h):
    return (J(shifted(h)) - J(shifted(-h))) / (2 * h)  # (3.7)


teach.holds("central difference, h = 1e-4", central(1e-4), slope, 1e-6)

# %% [markdown]
# The *forward* quotient is one-sided. $J(\theta)$ is known, so that each further direction costs one evaluation of
# $J$, where (3.7) costs two; but its error is of first order:
#
# $$ \frac{J(\theta + ht) - J(\theta)}{h} = \langle \nabla J, t \rangle + O(h) + O(\varepsilon / h). \tag{3.8} $$

# %%
J_here = J(theta)  # once, for all directions and all h


def forward_quotient(h):
    return (J(shifted(h)) - J_here) / h  # (3.8)


teach.holds("forward quotient, h = 1e-6", forward_quotient(1e-6), slope, 1e-4)

# %% [markdown]
# If $J$ is analytic and its code takes complex numbers, there is a way that takes no difference of two values. In the
# Taylor series of $J(\theta + iht)$ the terms with even powers of $h$ are real, and the next imaginary one after
# $ih\langle\nabla J, t\rangle$ is of order $h^3$:
#
# $$ \frac{\mathrm{Im}\, J(\theta + iht)}{h} = \langle \nabla J, t \rangle + O(h^2). \tag{3.9} $$

# %%
def complex_step(h):
    return np.imag(J(shifted(1j * h, complex))) / h  # (3.9)


teach.holds("complex step, h = 1e-30", complex_step(1e-30), slope)

# %% [markdown]
# The orders can be seen along this direction (seed 0): from $h$ = 1e-4 to 2e-4 the error of (3.8) doubles, those of
# (3.7) and (3.9) grow by a factor of four. For 41 values of $h$ from 1e-12 to 1e-8 the error of (3.7) is at most a few
# $\varepsilon/h$ ($\varepsilon$ taken as 1e-16).

# %%
for name, way, power in (("(3.7)", central, 2), ("(3.8)", forward_quotient, 1),
                         ("(3.9)", complex_step, 2)):
    ratio = (way(2e-4) - slope) / (way(1e-4) - slope)
    teach.holds(f"{name}: twice the h, {2**power} times the error", ratio,
                2**power, 1e-2)
tiny = np.logspace(-12, -8, 41)
most = max(abs(central(h) - slope) * h / 1e-16 for h in tiny)
print(f"41 h from 1e-12 to 1e-8: errors of (3.7) are at most {most:.1f} ε/h")

# %% [markdown]
# ## Predict
#
# Which step makes the central difference in float64 most accurate: 1e-2, 1e-5 or 1e-8?

# %% tags=["predict"]
best_step = None  # 1e-2, 1e-5 or 1e-8

# %%
errors = {h: abs(central(h) - slope) for h in (1e-2, 1e-5, 1e-8)}
teach.reveal(best_step, min(errors, key=errors.get),
             "Up to constants, h² and ε/h are equal at h = ε^(1/3).")

# %% [markdown]
# Now take the same quotient with the network and each sample's loss in float32 (the sum over samples and the quotient
# stay in float64):

# %%
net32 = ml.mlp([5, 7, 7, 7, 3], activation="tanh", dtype=np.float32, seed=SEED)


def central32(h):
    plus, minus = (net32.loss_function.value(
        net32.forward(X, theta=shifted(s, np.float32)).z[D], y)
                   for s in (h, -h))
    return (plus - minus) / (2 * h)


still = [np.mean(moved == part) for s in (5.6e-11, -5.6e-11)
         for moved, part in zip(shifted(s, np.float32)[1:],
                                shifted(0, np.float32)[1:])]
print(f"float32, h = 5.6e-11: quotient {central32(5.6e-11):g}; at least "
      f"{min(still):.1%} of each θ's entries stay as they are")


# %% [markdown]
# The figure shows all quotients over 14 decades of $h$, along one direction, with the slopes of $h$, $h^2$ and $1/h$ in
# grey. At the last $h$ where the float32 curve is level, at least 95.8 % of the entries of each $\theta_l \pm ht$ round
# to those of $\theta_l$, and the quotient is 0 (both printed), a relative error of 1.

# %%
steps = np.logspace(-14, 0, 57)
ways = {"forward, float64 (3.8)": (forward_quotient, "purple", ":"),
        "central, float64 (3.7)": (central, "blue", "-"),
        "central, float32 (3.7)": (central32, "vermillion", "--"),
        "complex step (3.9)": (complex_step, "green", "-.")}
# an error of 0 is drawn at 1e-17
along_t = {name: [max(abs(way(h) - slope) / abs(slope), 1e-17) for h in steps]
           for name, (way, *_) in ways.items()}
least = [min(along_t[f"central, {kind} (3.7)"])
         for kind in ("float64", "float32")]

# %%
fig, ax = plt.subplots(figsize=(9, 4))
for name, (_, color, line) in ways.items():
    ax.plot(steps, along_t[name], line, color=teach.COLORS[color], label=name)
    if "complex" not in name:
        k = np.argmin(along_t[name])
        ax.plot(steps[k], along_t[name][k], "o", ms=9, fillstyle="none",
                color=teach.COLORS[color])
ax.plot([], [], "ko", ms=9, fillstyle="none", label="least error")
guides = (("∝ 1/h", 1e-13, 4e-6, steps[:40], 1e-16 / steps[:40]),
          ("∝ h", 3e-7, 2e-3, steps[26:], 200 * steps[26:]),
          ("∝ h²", 2e-5, 2e-11, steps[28:], 1.5 * steps[28:] ** 2))
for label, h, height, span, guide in guides:
    ax.plot(span, guide, color=teach.COLORS["grey"], linewidth=0.8)
    ax.text(h, height, label, fontsize=9, color=teach.COLORS["grey"])
ax.set(xscale="log", yscale="log", xlabel="step h", ylim=(1e-17, 1e7),
       ylabel="relative error of the slope",
       title="one direction, seed 0; least error of (3.7): {:.0e} in float64, "
             "{:.0e} in float32".format(*least))
ax.legend(ncols=3, loc="upper right")
teach.show(fig, "The V-curve: the error of central differences falls with h² "
           "below h = 0.03, to 3e-10 at 3e-6, then rises about like 1/h; the "
           "forward quotient's falls with h only, to 3e-7 at h = 6e-9; in "
           "float32 central differences do not come below 1e-6; the complex "
           "step's error stays below 1e-13 at the 25 h from 1e-14 to 1e-8.")

# %% [markdown]
# That was *one* direction. For any net, data and direction $t$:

# %%
def J_along(net, X, y, t, h):
    """Return the loss at θ + ht, which is rounded to the net's type."""
    theta = [None, *((part + h * each).astype(net.dtype)
                     for part, each in zip(net.parameters, t))]
    return float(net.loss_function.value(net.forward(X, theta=theta).z[D], y))


def errors_along(net, net32, X, y, t):
    """Return the errors of (3.8), (3.7) and (3.7) in float32, for every h."""
    exact = ml.BackProp().direction(net, X, y)[1]
    slope = sum(np.sum(each * part) for each, part in zip(exact, t))
    rows, here = [], J_along(net, X, y, t, 0)
    for h in steps[::2]:
        up, down = (J_along(net, X, y, t, s * h) for s in (1, -1))
        up32, down32 = (J_along(net32, X, y, t, s * h) for s in (1, -1))
        rows.append([(up - here) / h, (up - down) / (2 * h),
                     (up32 - down32) / (2 * h)])
    return np.abs(np.array(rows) / slope - 1).T


# %% [markdown]
# Now take three seeds (net and data) with 15 directions each:

# %%
def three_quotients(seed, n=15):
    """Return those errors for n directions, with net and data of a seed."""
    draw, sizes = np.random.default_rng(seed), [5, 7, 7, 7, 3]
    X, y = draw.normal(size=(20, 5)), draw.integers(0, 3, 20)
    net, net32 = (ml.mlp(sizes, activation="tanh", dtype=dtype, seed=seed)
                  for dtype in (np.float64, np.float32))
    directions = [[draw.normal(size=part.shape) for part in net.parameters]
                  for _ in range(n)]
    return [errors_along(net, net32, X, y, t) for t in directions]

# %% [markdown]
# At each $h$ take the median error over the directions; for each seed, take the least of these medians over $h$.
# Printed are the median and the range of the three seeds:

# %%
names = ("forward, float64", "central, float64", "central, float32")
# (seed, quotient, h): the median over directions, then the least over h
bottom = [np.median(three_quotients(SEED + k), axis=0).min(axis=1)
          for k in range(3)]
middle, low, high = (f(bottom, axis=0) for f in (np.median, np.min, np.max))
for name, *numbers in zip(names, middle, low, high):
    print("{}: least error {:.0e}, seeds from {:.0e} to {:.0e}".format(
        name, *numbers))
digits = [np.log10(one[0] / one[1]) for one in bottom]
print(f"the forward quotient loses {np.median(digits):.1f} digits, seeds from "
      f"{min(digits):.1f} to {max(digits):.1f}")

# %% [markdown]
# For all three seeds the bottom of the V lies below 1e-9 in float64. The forward quotient costs less and loses two to
# three digits: its least error is near 1e-7. In float32 the bottom lies between 1e-5 and 1e-4 (printed), some $10^5$ times
# higher than in float64: a slope with a relative error of that size can pass for a right one. **Check gradients in
# float64.**

# %% [markdown]
# ## A suspicious gradient
#
# `check.suspicious_gradient` sweeps backwards through the same network, but the derivative of **one**
# activation, $\sigma'(z_l)$, is wrong. Compare tensor by tensor:

# %%
suspicious = check.suspicious_gradient(net, X, y, SEED)
for l in range(D, 0, -1):
    teach.compare(f"∇J in theta_{l}", suspicious[l], mine[l])

# %% [markdown]
# ## Exercise 3.4 (core): find the bug
#
# Which layer's derivative is it? Answer with a function that takes the suspicious gradients and the right ones, and
# returns the number $l$ of the wrong $\sigma'(z_l)$. It must work for a fault in any layer, and for any number of maps.
# Right gradients agree up to rounding.
#
# <details><summary>Hint 1: idea</summary>
#
# The signal flows from the last map down. What lies above the fault is right.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# A wrong $\sigma'(z_l)$ enters $g_l$ by (3.5), hence $\nabla_{\theta_l} J$ by (3.6), and all below.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `for l in range(len(right) - 1, 0, -1):`
#
# </details>

# %% tags=["exercise"]
# Exercise 3.4
def find_fault(suspicious, right):
    """Return l of the wrong derivative, from two lists [None, 1, …, D]."""
    # <solution>
    for l in range(len(right) - 1, 0, -1):
        if teach.gap(suspicious[l], right[l]) > 1e-9:
            return l
    # </solution>

# %% tags=["check"]
find_fault = check.find_fault(find_fault, SEED)

# %% tags=["mistake"]
# says: look from the top
def find_fault(suspicious, right):
    return min(l for l in range(1, len(right))
               if not np.allclose(suspicious[l], right[l]))

# %% tags=["mistake"]
# says: that gradient is still right
def find_fault(suspicious, right):
    return max(l for l in range(1, len(right))
               if not np.allclose(suspicious[l], right[l])) + 1

# %% tags=["mistake"]
# says: the same for every fault
def find_fault(suspicious, right):
    return 2

# %%
l = find_fault(suspicious, mine)
print(f"the fault is in the activation behind map {l}")

# %% [markdown]
# ## Exercise 3.5 (break it): fool a check
#
# Suppose that a gradient check moves *all* entries by the same $h$, and so compares only the **sum** of the gradient
# with a finite difference. Build a wrong gradient of the same shape, off by at least 10 % in norm, that this check
# passes. Start from `gradient`.
#
# <details><summary>Hint 1: idea</summary>
#
# Which changes of an array leave its sum alone?
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Add an error $e$ with $\langle e, 1\rangle = 0$: it is invisible along the direction of ones.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `error = np.zeros_like(gradient)`
#
# </details>

# %% tags=["exercise"]
# Exercise 3.5
gradient = mine[1]
# <solution wrong_gradient>
# (3.7) along a random t sees it: ⟨e, t⟩ is 0 with probability 0 alone
wrong_gradient = gradient[::-1].copy()
# </solution>

# %% tags=["check"]
wrong_gradient = check.fool(wrong_gradient, gradient, SEED)

# %% tags=["mistake"]
# says: it should be wrong
wrong_gradient = gradient.copy()

# %% tags=["mistake"]
# says: twice its sum
wrong_gradient = 2 * gradient

# %% [markdown]
# ## Predict
#
# Which check sees your fault: this one, with all entries moved "alike", or (3.7), with a "random" direction?

# %% tags=["predict"]
sees_it = None  # "alike" or "random"

# %%
fits = np.shape(wrong_gradient) == gradient.shape
error = (wrong_gradient if fits else gradient[::-1]) - gradient
t = np.random.default_rng(SEED + 1).normal(size=error.shape)
seen = {"alike": abs(error.sum()), "random": abs(np.sum(error * t))}
teach.reveal(sees_it, max(seen, key=seen.get),
             f"|⟨e, t⟩| is {seen['alike']:.3f} for all entries moved alike, "
             f"{seen['random']:.2f} for a random t.")

# %% [markdown]
# ## Mean against sum
#
# $J$ may average over the batch, or sum. The gradients differ by the
# factor $N$: a gradient step with $\tau$ on the mean is one with $\tau/N$ on the sum.

# %%
summed = ml.mlp([5, 7, 7, 7, 3], activation="tanh", dtype=np.float64, seed=SEED,
                loss=ml.SoftmaxCrossEntropy(reduction="sum"))
_, directions = ml.BackProp().direction(summed, X, y)
ratio = np.linalg.norm(directions[0]) / np.linalg.norm(library[0])
teach.holds("gradient of the sum is N times that of the mean", directions[0],
            len(X) * library[0])

# %% [markdown]
# ## Exercise 3.6 (open): where finite differences lie
#
# Repeat the V-curve with `activation="relu"`. (3.7) need not hold where an entry of some $z_l$, $l < D$, changes sign
# between $\theta - ht$ and $\theta + ht$: there ReLU has a kink. How would you tell a kink from a bug? No automatic
# check.

# %% [markdown] tags=["answer"]
# **One answer.** Count the entries of $z_l$ that have different signs at $\theta + ht$ and $\theta - ht$.
# Where the count is zero (and no sign changes twice on the way), $J$ is smooth between the two and (3.7) holds, with
# $O(h^2)$ and $O(\varepsilon/h)$. Once $h$ is too small to reach a kink, the kink's error is gone (unless $\theta$ lies
# on it); a bug's is not.

# %% tags=["record"]
forwards, best, best32 = np.log10(middle)
teach.record("log10 of the least error, central, float64", best, expected=-9.5,
             tolerance=0.5)
teach.record("log10 of the least error, central, float32", best32,
             expected=-4.5, tolerance=0.5)
teach.record("log10 of the least error, forward", forwards, expected=-7,
             tolerance=0.4)
teach.record("digits that the forward quotient loses", np.median(digits),
             expected=2.5, tolerance=0.5)
teach.record("gradient of the sum over that of the mean", ratio, expected=20,
             tolerance=1e-9)
teach.record("errors of (3.7) at small h, in ε/h", most, expected=5,
             tolerance=4.9)

# %% [markdown]
# ## Summary
#
# - Backprop is two lines per layer, both of adjoints: (3.5) carries the signal down, (3.6) turns it into a gradient.
# - Test adjoints by inner products, gradients by one random direction in float64, implementations tensor by
#   tensor.
# - Say whether the loss is a mean or a sum; the step size of a gradient step depends on it.
#
# **What this does not show.** A right gradient says nothing about whether a gradient step is a good one; notebooks 04
# and 05 ask what else can be done with $g_l$. All measurements are on small tanh networks of one shape; where the V has
# its bottom depends on $J$, through its third derivative along $t$, and kinks are left to Exercise 3.6. The figure
# shows one direction of seed 0.
#
# **References.** Rumelhart, Hinton, Williams, *Learning representations by back-propagating errors*, 1986:
# (3.5), (3.6). Frerix et al., *Proximal Backpropagation*, ICLR 2018, §3: the same sweep as gradient steps on a
# penalty energy. Squire and Trapp, *Using complex variables to estimate derivatives of real functions*, 1998: (3.9).

# %% [markdown]
# # 04 · Lift the network
#
# You will turn the values inside a network into independent variables, write one energy for all of them, and recover
# backpropagation as a sweep of gradient steps on that energy.
#
# **Afterwards you can**
# 1. write the penalty energy of a network (Exercise 4.1);
# 2. derive its partial gradients (Exercise 4.2);
# 3. show that one sweep of half steps over the blocks is one step of gradient descent (Exercise 4.3);
# 4. predict what goes wrong if the sweep uses a value too early (Exercise 4.4);
# 5. take an *implicit* step on an activation (Exercise 4.5).
#
# **You need** notebook 03; 01 for one limit, 02 for the last part. **Time**: 70 minutes (estimated).

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import lift_the_network as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## The network as a graph
#
# Samples are rows, $N$ of them. Map $l$ and the transfer behind it are
#
# $$ z_l = \varphi(\theta_l, a_{l-1}) = a_{l-1} W_l + 1 b_l^T = \tilde a_{l-1}\theta_l,
#    \qquad a_l = \sigma(z_l), \qquad a_0 = X, \tag{4.1} $$
#
# with $\theta_l = [W_l; b_l^T]$ and $\tilde a = [a\ 1]$, for $l = 1 \dots D$; the last map has no transfer.
# The loss is half the mean squared error,
#
# $$ J(\theta) = L_y(z_D), \qquad L_y(z) = \tfrac{1}{2N}\|z - Y\|^2. \tag{4.2} $$

# %%
data = ml.datasets.digits()
rows = rng.choice(len(data.X_train), 30, replace=False)
X, Y = data.X_train[rows].astype(float), np.eye(10)[data.y_train[rows]]
widths = [64, 20, 15, 12, 10]
net = ml.mlp(widths, activation="tanh", loss=ml.SquaredError(), seed=SEED,
             dtype=np.float64)
theta, D = net.theta, net.depth

# %% [markdown]
# Drawn as a graph, with an arrow from each variable to those computed from it:

# %%
from minilift import plots

with plt.rc_context({"figure.constrained_layout.use": False}):
    teach.show(plots.graph(net),
               "The layer graph: activations a_0 to a_3 in a row at the "
               "bottom, z_1 to z_4 above, the parameters on top. Arrows lead "
               "from a and theta to z, from z to a, and from z_4 to the loss.")

# %% [markdown]
# By hand and by the library:

# %%
def phi(theta_l, a):
    return a @ theta_l[:-1] + theta_l[-1]  # (4.1)


def forward(theta, X):
    z, a = [None], [X]
    for l in range(1, len(theta)):
        z.append(phi(theta[l], a[l - 1]))
        if l < len(theta) - 1:
            a.append(np.tanh(z[l]))
    return z, a


z, a = forward(theta, X)
J = np.sum((z[D] - Y) ** 2) / (2 * len(Y))  # (4.2)
state = net.forward(X)
for l in range(1, D + 1):
    teach.compare(f"z_{l}", z[l], state.z[l])
teach.holds("J", J, net.loss(X, Y))

# %% [markdown]
# ## Cut the arrows
#
# In the picture $z_l$ and $a_l$ are *computed*. Now let them be free variables, and charge a price where they differ
# from what the arrows give:
#
# $$ E(\theta, a, z) = L_y(\varphi(\theta_D, a_{D-1})) + \sum_{l=1}^{D-1} \tfrac{\gamma}{2}
#    \|\sigma(z_l) - a_l\|^2 + \tfrac{\rho}{2}\|\varphi(\theta_l, a_{l-1}) - z_l\|^2. \tag{ProxProp 3} $$
#
# This is *lifting*: a function of functions of functions has become a sum in which every variable has few
# neighbours. Absent are $z_D$, whose place $\varphi(\theta_D, a_{D-1})$ takes, and a factor $1/N$ in the penalties.

# %% [markdown]
# ## Exercise 4.1 (warm-up): the penalty energy
#
# Write $E$ for the loss (4.2) and $\sigma = \tanh$. Lists are indexed as in the formulas; slot 0 of `theta`
# and `z` holds None.
#
# <details><summary>Hint 1: idea</summary>
#
# One term for the loss, and for each hidden map two squared gaps.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# The sum runs over $l = 1 \dots D-1$, with $D$ = `len(theta) - 1`.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `loss = np.sum((phi(theta[D], a[D - 1]) - Y) ** 2) / (2 * len(Y))`
#
# </details>

# %% tags=["exercise"]
# Exercise 4.1
def penalty_energy(theta, a, z, Y, gamma, rho):
    """Return the number E, for theta [None, ...], a [X, ...], z [None, ...]."""
    # <solution>
    D = len(theta) - 1
    energy = np.sum((phi(theta[D], a[D - 1]) - Y) ** 2) / (2 * len(Y))
    for l in range(1, D):
        energy += gamma / 2 * np.sum((np.tanh(z[l]) - a[l]) ** 2)
        # ProxProp (3)
        energy += rho / 2 * np.sum((phi(theta[l], a[l - 1]) - z[l]) ** 2)
    return energy
    # </solution>

# %% tags=["check"]
penalty_energy = check.penalty_energy(penalty_energy, SEED)

# %% tags=["mistake"]
# says: γ and ρ are exchanged
def penalty_energy(theta, a, z, Y, gamma, rho):
    return check.library_energy(theta, a, z, Y, rho, gamma)

# %% tags=["mistake"]
# says: the factor ½
def penalty_energy(theta, a, z, Y, gamma, rho):
    return check.library_energy(theta, a, z, Y, 2 * gamma, 2 * rho)

# %% tags=["mistake"]
# says: has no penalty on the last map
def penalty_energy(theta, a, z, Y, gamma, rho):
    D = len(theta) - 1
    gap = phi(theta[D], a[D - 1]) - z[D]
    energy = check.library_energy(theta, a, z, Y, gamma, rho)
    return energy + rho / 2 * np.sum(gap**2)

# %% tags=["mistake"]
# says: is not averaged
def penalty_energy(theta, a, z, Y, gamma, rho):
    return check.library_energy(theta, a, z, Y, gamma / len(Y), rho / len(Y))

# %% [markdown]
# ## Descend block by block
#
# A forward pass makes all gaps zero: $E = J$. Now go from the last block to the first and let each variable
# take one gradient step on $E$, with all others as in the forward pass except the one neighbour that has opened a gap.
# This needs the partial gradients, first the one in the *value* of a map, which enters those in $\theta_l$ and
# $a_{l-1}$:
#
# $$ \frac{\partial E}{\partial \varphi_l} = \rho\,(\varphi_l - z_l)\ (l < D), \qquad
#    \frac{\partial E}{\partial \varphi_D} = \tfrac1N(\varphi_D - Y). \tag{4.3} $$
#
# Since $\varphi_l = \tilde a_{l-1}\theta_l$ is linear in $\theta_l$,
#
# $$ \frac{\partial E}{\partial \theta_l} = \tilde a_{l-1}^T\, \frac{\partial E}{\partial \varphi_l}. \tag{4.4} $$

# %%
def gradient_phi(l, theta, a, z, Y, rho):
    if l == len(theta) - 1:
        return (phi(theta[l], a[l - 1]) - Y) / len(Y)  # (4.3), at l = D
    return rho * (phi(theta[l], a[l - 1]) - z[l])  # (4.3)


def gradient_theta(l, theta, a, z, Y, rho):
    a_tilde = np.hstack([a[l - 1], np.ones((len(Y), 1))])
    return a_tilde.T @ gradient_phi(l, theta, a, z, Y, rho)  # (4.4)


# %% [markdown]
# Is this right? At the forward pass all gaps vanish, which tests little: test also where none does.

# %%
teach.holds("after a forward pass E = J, for any γ, ρ",
            penalty_energy(theta, a, z, Y, 3.0, 7.0), J)
noisy_a = [value + 0.1 * rng.normal(size=value.shape) for value in a]
noisy_z = [None] + [value + 0.1 * rng.normal(size=value.shape)
                    for value in z[1:]]
energy = ml.energy.PenaltyEnergy(net, Y, gamma=3.0, rho=7.0)
teach.holds("elsewhere: the library's energy",
            penalty_energy(theta, noisy_a, noisy_z, Y, 3.0, 7.0),
            energy.value(theta, noisy_a, noisy_z))

# %%
of_a = sum(np.sum((np.tanh(noisy_z[l]) - noisy_a[l]) ** 2) for l in range(1, D))
of_z = sum(np.sum((noisy_a[l - 1] @ theta[l][:-1] + theta[l][-1]
                   - noisy_z[l]) ** 2) for l in range(1, D))
light, heavy = (penalty_energy(theta, noisy_a, noisy_z, Y, *weights)
                for weights in ((1.0, 1.0), (3.0, 7.0)))
# ProxProp (3)
teach.holds("the penalties, by hand", heavy - light, (2 * of_a + 6 * of_z) / 2)

# %% [markdown]
# The gradients in $\theta_l$:

# %%
for l in range(1, D + 1):
    teach.holds(f"∂E/∂θ_{l}",
                gradient_theta(l, theta, noisy_a, noisy_z, Y, 7.0),
                energy.gradient_theta(l, theta, noisy_a, noisy_z))

# %% [markdown]
# ## Exercise 4.2 (core): the gradients in a and z
#
# Derive $\partial E/\partial a_l$ and $\partial E/\partial z_l$ for $1 \le l < D$. Each of these variables occurs in
# exactly two terms of $E$: look at its neighbours in the graph. The check takes finite differences of $E$ at a point
# that is *not* a forward pass, where no gap is zero.
#
# <details><summary>Hint 1: idea</summary>
#
# $a_l$ enters map $l+1$ and the gap $\sigma(z_l) - a_l$; $z_l$ enters both gaps of its own index.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# A signal $G$ at $\varphi_{l+1}$ becomes $G W_{l+1}^T$ at $a_l$; a signal at $\sigma(z_l)$ is multiplied by
# $\sigma'(z_l) = 1 - \tanh^2 z_l$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `gap = np.tanh(z[l]) - a[l]`
#
# </details>

# %% tags=["exercise"]
# Exercise 4.2
def gradients(l, theta, a, z, Y, gamma, rho):
    """Return (dE/da_l, dE/dz_l), both of the shape of a_l."""
    # <solution>
    gap = np.tanh(z[l]) - a[l]
    from_above = gradient_phi(l + 1, theta, a, z, Y, rho)
    gradient_a = from_above @ theta[l + 1][:-1].T - gamma * gap  # (4.5)
    gradient_z = (gamma * (1 - np.tanh(z[l]) ** 2) * gap
                  - rho * (phi(theta[l], a[l - 1]) - z[l]))  # (4.6)
    return gradient_a, gradient_z
    # </solution>

# %% tags=["check"]
gradients = check.gradients(gradients, SEED)

# %% tags=["mistake"]
# says: σ' is missing
def gradients(l, theta, a, z, Y, gamma, rho):
    da, _ = check.library_gradients(l, theta, a, z, Y, gamma, rho)
    gap = np.tanh(z[l]) - a[l]
    return da, gamma * gap - rho * (phi(theta[l], a[l - 1]) - z[l])

# %% tags=["mistake"]
# says: its own gap
def gradients(l, theta, a, z, Y, gamma, rho):
    dz = check.library_gradients(l, theta, a, z, Y, gamma, rho)[1]
    return gradient_phi(l + 1, theta, a, z, Y, rho) @ theta[l + 1][:-1].T, dz

# %% tags=["mistake"]
# says: z_l stands with a minus sign
def gradients(l, theta, a, z, Y, gamma, rho):
    da, dz = check.library_gradients(l, theta, a, z, Y, gamma, rho)
    return da, dz + 2 * rho * (phi(theta[l], a[l - 1]) - z[l])

# %% tags=["mistake"]
# says: minus the gradients
def gradients(l, theta, a, z, Y, gamma, rho):
    da, dz = check.library_gradients(l, theta, a, z, Y, gamma, rho)
    return -da, -dz

# %% [markdown]
# <details><summary>Written out (after Exercise 4.2)</summary>
#
# $$ \frac{\partial E}{\partial a_l} = \frac{\partial E}{\partial \varphi_{l+1}} W_{l+1}^T
#    - \gamma\,(\sigma(z_l) - a_l), \tag{4.5} $$
#
# $$ \frac{\partial E}{\partial z_l} = \gamma\,\sigma'(z_l)\odot(\sigma(z_l) - a_l)
#    - \rho\,(\varphi_l - z_l). \tag{4.6} $$
#
# </details>
#
# Check both for $l = 2$, off the forward pass:

# %%
gap = np.tanh(noisy_z[2]) - noisy_a[2]
above, own = (gradient_phi(k, theta, noisy_a, noisy_z, Y, 7.0) for k in (3, 2))
in_a = above @ theta[3][:-1].T - 3.0 * gap  # (4.5)
in_z = 3.0 * (1 - np.tanh(noisy_z[2]) ** 2) * gap - own  # (4.6)
both = gradients(2, theta, noisy_a, noisy_z, Y, 3.0, 7.0)
teach.holds("(4.5) at l = 2", both[0], in_a)
teach.holds("(4.6) at l = 2", both[1], in_z)

# %% [markdown]
# Compare with differences of $E$, along a random direction in each variable:

# %%
def moved_energy(kind, l, change):
    point = {"a": list(noisy_a), "z": list(noisy_z)}
    point[kind][l] = point[kind][l] + change
    return penalty_energy(theta, point["a"], point["z"], Y, 3.0, 7.0)


h = 1e-5
for l in range(1, D):
    both = gradients(l, theta, noisy_a, noisy_z, Y, 3.0, 7.0)
    for kind, part in zip("az", both):
        t = rng.normal(size=part.shape)
        up, down = (moved_energy(kind, l, s * h * t) for s in (1, -1))
        teach.holds(f"∂E/∂{kind}_{l}", np.sum(part * t), (up - down) / (2 * h),
                    teach.DIFFERENCES)  # (4.5), (4.6)

# %% [markdown]
# ## The half steps
#
# Choose $\gamma = \rho = 1/\tau$ and take steps of length $\tau$. **First**, at the forward pass, where all
# gaps vanish, $a_{D-1}$ sees only the loss:
#
# $$ a_{D-1}^{1/2} = a_{D-1} - \tau\, \tfrac1N(z_D - Y)\, W_D^T = a_{D-1} - \tau\,
#    \frac{\partial J}{\partial a_{D-1}}. \tag{ProxProp 8} $$
#
# (The 1/2 marks a half step, not a power.) **Then** $z_l$ sees the gap
# $\sigma(z_l) - a_l^{1/2} = \tau\,\partial J/\partial a_l$ that has just opened, and by (4.6) with $\gamma = 1/\tau$
#
# $$ z_l^{1/2} = z_l - \tau\, \sigma'(z_l)\odot\frac{\partial J}{\partial a_l}
#    = z_l - \tau\,\frac{\partial J}{\partial z_l}. \tag{ProxProp 9} $$

# %% [markdown]
# **Then** $a_{l-1}$ sees the gap $\varphi_l - z_l^{1/2} = \tau\,\partial J/\partial z_l$, and by (4.5) with
# $\rho = 1/\tau$
#
# $$ a_{l-1}^{1/2} = a_{l-1} - \tau\,\frac{\partial J}{\partial z_l}\, W_l^T
#    = a_{l-1} - \tau\,\frac{\partial J}{\partial a_{l-1}}, \tag{ProxProp 10} $$
#
# and so on down. Each time the step's factor $\tau$ cancels the penalty's $1/\tau$: the gaps *are* the backpropagated
# signals, times $\tau$. $\theta_D$ sees the loss, the other $\theta_l$ their gaps:
#
# $$ \theta_D^{+} = \theta_D - \tau\, \tilde a_{D-1}^T\, \tfrac1N(z_D - Y), \tag{ProxProp 12} $$
#
# $$ \theta_l^{+} = \theta_l - \tau\cdot\tfrac1\tau\, \tilde a_{l-1}^T (\varphi_l - z_l^{1/2})
#    = \theta_l - \tau\, \tilde a_{l-1}^T \frac{\partial J}{\partial z_l} = \theta_l - \tau\nabla_{\theta_l}J.
#    \tag{4.7} $$
#
# This is **Proposition 1**: with $\gamma = \rho = 1/\tau$ the sweep is exactly one step of gradient descent
# on $J$. In (4.7) $a_{l-1}$ is that of the forward pass.

# %% [markdown]
# ## Exercise 4.3 (core): the sweep
#
# Write the sweep literally, without backprop, for *any* energy that is handed in, whatever its $\gamma$ and $\rho$:
# call `energy.gradient_theta(l, theta, a, z)`, and likewise `gradient_a`, `gradient_z`.
# `ml.energy.replaced(a, l, value)` is a copy of the list with one entry replaced.
#
# <details><summary>Hint 1: idea</summary>
#
# Start with $\theta_D$ and $a_{D-1}$. Then for $l = D-1, \dots, 1$: $z_l$, then (if $l > 1$) $a_{l-1}$, then
# $\theta_l$, each at the forward pass except for one neighbour. $a_0 = X$ is not a variable.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# (9) takes its gradient at $(a_l^{1/2}, z_l)$, (10) and (4.7) at $(a, z_l^{1/2})$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `new[D] = theta[D] - tau * energy.gradient_theta(D, theta, a, z)`
#
# </details>

# %% tags=["exercise"]
# Exercise 4.3
def sweep(energy, theta, a, z, tau):
    """Return [theta_1, ..., theta_D] after a sweep; a, z: the forward pass."""
    D, new, replaced = len(theta) - 1, list(theta), ml.energy.replaced
    # <solution>
    # ProxProp (12)
    new[D] = theta[D] - tau * energy.gradient_theta(D, theta, a, z)
    # ProxProp (8)
    a_half = a[D - 1] - tau * energy.gradient_a(D - 1, theta, a, z)
    for l in range(D - 1, 0, -1):
        z_half = z[l] - tau * energy.gradient_z(
            l, theta, replaced(a, l, a_half), z)  # ProxProp (9)
        moved = replaced(z, l, z_half)
        if l > 1:
            # ProxProp (10)
            a_half = a[l - 1] - tau * energy.gradient_a(l - 1, theta, a, moved)
        # (4.7)
        new[l] = theta[l] - tau * energy.gradient_theta(l, theta, a, moved)
    return new[1:]
    # </solution>

# %% tags=["check"]
sweep = check.sweep(sweep, SEED)

# %% tags=["mistake"]
# says: step (4.7) uses the half-stepped
def sweep(energy, theta, a, z, tau):
    return check.sweep_with_half_steps(energy, theta, a, z, tau)

# %% tags=["mistake"]
# says: without a sweep
def sweep(energy, theta, a, z, tau):
    _, dJ = ml.BackProp().direction(energy.net, a[0], energy.y)
    return [theta[l] - tau * dJ[l - 1] for l in range(1, len(theta))]

# %% tags=["mistake"]
# says: hidden maps do not move
def sweep(energy, theta, a, z, tau):
    return [theta[l] - tau * energy.gradient_theta(l, theta, a, z)
            for l in range(1, len(theta))]

# %% [markdown]
# Check Proposition 1 with `sweep`:

# %%
tau = 0.1
_, dJ = ml.BackProp().direction(net, X, Y)
by_hand = sweep(ml.energy.PenaltyEnergy(net, Y, gamma=1 / tau, rho=1 / tau),
                theta, a, z, tau)
for l in range(1, D + 1):
    teach.holds(f"θ_{l}: one sweep = θ − τ ∇J", by_hand[l - 1],
                theta[l] - tau * dJ[l - 1])  # (4.7)

# %% [markdown]
# Compare the half steps one by one, as the library's sweep keeps them, with the chain rule.

# %%
literal = ml.energy.algorithm_1(net, X, Y, tau)
in_z = (z[D] - Y) / len(Y)
# ProxProp (12)
teach.holds("θ_D", literal.theta[D],
            theta[D] - tau * np.vstack([a[D - 1].T @ in_z, in_z.sum(axis=0)]))
for l in range(D - 1, 0, -1):
    in_a = in_z @ theta[l + 1][:-1].T
    in_z = in_a * (1 - a[l] ** 2)
    # ProxProp (8) at l = D − 1, else ProxProp (10)
    teach.holds(f"a_{l} − τ ∂J/∂a_{l}", literal.a[l], a[l] - tau * in_a)
    # ProxProp (9)
    teach.holds(f"z_{l} − τ ∂J/∂z_{l}", literal.z[l], z[l] - tau * in_z)

# %% [markdown]
# ## Follow the terms of the energy
#
# Go through this sweep again, and record all terms of $E$ after each move; $\theta_l$ moves before $a_{l-1}$ (neither
# uses the other's result).

# %%
energy = ml.energy.PenaltyEnergy(net, Y, gamma=1 / tau, rho=1 / tau)
new, z_half, a_half, _ = literal
now = {"θ": list(theta), "a": list(a), "z": list(z)}
source = {"θ": new, "a": a_half, "z": z_half}
order = [("θ", 4), ("a", 3), ("z", 3), ("θ", 3), ("a", 2), ("z", 2), ("θ", 2),
         ("a", 1), ("z", 1), ("θ", 1)]
history = [energy.terms(now["θ"], now["a"], now["z"])]
for kind, l in order:
    now[kind][l] = source[kind][l]
    history.append(energy.terms(now["θ"], now["a"], now["z"]))
J_new = net.loss_function.value(net.forward(X, theta=new).z[D], Y)

# %% [markdown]
# ## Predict
#
# Just before $\theta_3$ moves, its term $\frac{\rho}{2} \|\varphi_3 - z_3^{1/2}\|^2$ has some value; the step
# (4.7) is a gradient step on *that very term*, and $\tau = 0.1$ is small enough for $J$ to fall. What happens to the
# term: it "falls", "stays about the same" (within a factor 2), or "rises"?

# %% tags=["predict"]
prediction = None  # "falls", "stays about the same" or "rises"

# %%
raised = {}
for l in (1, 2, 3):
    k = 1 + order.index(("θ", l))
    before, after = history[k - 1][2][l - 1], history[k][2][l - 1]
    raised[l] = after / before
change = "falls" if raised[3] < 0.5 else "stays about the same"
change = "rises" if raised[3] > 2 else change
teach.reveal(prediction, change,
             f"The term goes from {before:.1e} to {after:.1e}; the factors of "
             f"the steps in θ_3, θ_2, θ_1 are {raised[3]:.0f}, "
             f"{raised[2]:.0f}, {raised[1]:.0f}.")

# %% [markdown]
# Plot all terms along the sweep, each once its gap is open:

# %%
fig, (top, bottom) = plt.subplots(2, 1, figsize=(9, 5.6), sharex=True,
                                  height_ratios=[1, 2])
top.plot([terms[0] for terms in history], "ko-", label="loss term of E")
red = teach.COLORS["vermillion"]
top.axhline(J, color=red, linestyle=":", label="J before the sweep")
top.axhline(J_new, color=red, linestyle="--", label="J at the new θ")
top.set(ylabel="loss", title="One sweep, τ = 0.1: the terms of E")
top.legend(loc="center right", ncols=3)
for l, color, marker in zip((3, 2, 1), ("orange", "green", "blue"), "os^"):
    for which, line, name in ((1, "--", "σ(z) − a"), (2, "-", "φ − z")):
        values = [terms[which][l - 1] or np.nan for terms in history]  # no gap
        bottom.plot(values, line, marker=marker, color=teach.COLORS[color],
                    label=f"{name}, l = {l}")
bottom.annotate(f"the step in θ₃ multiplies\nits own term by {raised[3]:.0f}",
                (k - 0.5, np.sqrt(before * after)), (k - 3.8, 0.2),
                arrowprops={"arrowstyle": "-", "color": teach.COLORS["grey"]})
bottom.set(yscale="log", ylabel="penalty terms",
           xlabel="variable that has just moved")
bottom.set_xticks(range(len(history)),
                  ["forward\npass"] + [f"${kind}_{l}$" for kind, l in order])
bottom.legend(loc="center left", bbox_to_anchor=(1, 0.5))
teach.show(fig, "Terms of the energy along one sweep. The loss term falls in "
           "the first two steps and then stays. The gaps that a and z open are "
           "passed on and down and cost less than 0.001 each; each step in a "
           "hidden theta raises the term of its own map 680 times or more.")

# %% [markdown]
# The signal is handed down: $a_3$ opens a gap, $z_3$ takes it over, then $a_2$, and so on. And each explicit step in a
# hidden $\theta_l$ *raises* the one term that it should lower. For with $\rho = 1/\tau$, (4.7) is a step of length 1 on
# $\frac12\|\tilde a\theta - z^{1/2}\|^2$ whatever $\tau$ is, and notebook 01 allows only
# $2/\lambda_{\max}(\tilde a^T\tilde a)$, which is 0.006, 0.03 and 0.04 for $\theta_1$ to $\theta_3$: the gap's
# components along the top eigenvectors grow, and here they dominate.
#
# $J$ falls all the same, by 12 %; $a$ and $z$ are thrown away, and a new forward pass closes all
# gaps. But "block descent" is not descent on $E$, which grows fivefold here. Taking the step in $\theta_l$ *implicitly*
# is the idea of ProxProp, and of notebook 05.

# %% [markdown]
# ## Exercise 4.4 (break it): a value used too early
#
# A reader of the algorithm takes step (4.7) at $a_{l-1}^{1/2}$ instead of $a_{l-1}$, in both places:
# $\theta_l^{\text{wrong}} = \theta_l - \tilde a_{1/2}^T(\varphi(\theta_l, a_{l-1}^{1/2}) - z_l^{1/2})$. Predict, as a
# formula in $a = a_{l-1}$, $W = W_l$, $g = \partial J/\partial z_l$ and $\tau$, how far $\theta_l^{\text{wrong}}$ is
# from the right $\theta_l^{+}$.
#
# <details><summary>Hint 1: idea</summary>
#
# Put (10) into $\varphi(\theta_l, a^{1/2})$ and subtract $z_l^{1/2}$.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $\varphi(\theta_l, a^{1/2}) - z_l^{1/2} = \tau\, g\,(I - W^TW)$, and $\tilde a_{1/2} = \tilde a -
# \tau\,[gW^T\ \ 0]$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `a_half_tilde = np.hstack([a - tau * g @ W.T, np.ones((len(a), 1))])`
#
# </details>

# %% tags=["exercise"]
# Exercise 4.4
def discrepancy(a, W, g, tau):
    """Return theta_wrong - theta_right, shape (n_in + 1, n_out)."""
    # <solution>
    a_tilde = np.hstack([a, np.ones((len(a), 1))])
    a_half_tilde = np.hstack([a - tau * g @ W.T, np.ones((len(a), 1))])
    # (4.8)
    return tau * a_tilde.T @ g - tau * a_half_tilde.T @ (g - g @ W.T @ W)
    # </solution>

# %% tags=["check"]
discrepancy = check.discrepancy(discrepancy, SEED)

# %% tags=["mistake"]
# says: first order in τ
def discrepancy(a, W, g, tau):
    return tau * np.hstack([a, np.ones((len(a), 1))]).T @ g @ W.T @ W

# %% tags=["mistake"]
# says: φ is taken at the half step too
def discrepancy(a, W, g, tau):
    return tau**2 * np.vstack([(g @ W.T).T @ g, np.zeros((1, g.shape[1]))])

# %% tags=["mistake"]
# says: the sign
def discrepancy(a, W, g, tau):
    return -check.library_discrepancy(a, W, g, tau)

# %% [markdown]
# <details><summary>Written out (after Exercise 4.4)</summary>
#
# $$ \theta_l^{\text{wrong}} - \theta_l^{+} = \tau\,\tilde a^T g\, W^TW + \tau^2\, [gW^T\ \ 0]^T g\,(I - W^TW).
#    \tag{4.8} $$
#
# </details>
#
# Check its two terms:

# %%
signal = (z[2] - literal.z[2]) / tau  # ∂J/∂z_2, as the half step has it
W, a_tilde = theta[2][:-1], np.hstack([a[1], np.ones((len(Y), 1))])
bent = signal - signal @ W.T @ W  # g (I − WᵀW)
back = np.hstack([signal @ W.T, np.zeros((len(Y), 1))])  # [gWᵀ 0]
for t in (0.1, 10.0):
    teach.holds(f"discrepancy over τ, τ = {t:g}",
                discrepancy(a[1], W, signal, t) / t,
                a_tilde.T @ (signal - bent) + t * back.T @ bent)  # (4.8)

# %% [markdown]
# ## Predict
#
# Relative to the step $\tau\nabla J$: as $\tau \to 0$, does the discrepancy (a) vanish like $\tau$, (b) level off,
# (c) grow?

# %% tags=["predict"]
vanishes = None  # "a", "b" or "c"

# %%
taus, directions, relative = np.logspace(-3, 4, 30), {}, {}
norm = np.linalg.norm(theta[2][:-1], 2)
for scale in (0.5, 1, 2, 4):
    W = scale * theta[2][:-1]
    relative[scale] = [np.linalg.norm(discrepancy(a[1], W, signal, t))
                       / np.linalg.norm(t * dJ[1]) for t in taus]
    wrong = discrepancy(a[1], W, signal, taus[0]) - taus[0] * dJ[1]
    lengths = np.linalg.norm(wrong) * np.linalg.norm(dJ[1])
    cosine = -np.sum(wrong * dJ[1]) / lengths
    directions[scale] = relative[scale][0], cosine
    print(f"{scale} W, of norm {scale * norm:.2f}: discrepancy over step as "
          f"τ → 0: {relative[scale][0]:.2f}, cosine {cosine:.2f}")
fall = relative[1][4] / relative[1][0]  # while τ grows 9 times
teach.reveal(vanishes, "a" if fall > 3 else "c" if fall < 1 / 3 else "b",
             "The first term of (4.8) is of order τ, as the step itself is.")

# %% [markdown]
# So **the relative error does not vanish as $\tau \to 0$**, unless $\tilde a^T g\,W^TW = 0$. To first order the wrong
# step is $-\tau\,\tilde a^T g\,(I - W^TW)$. Where the largest singular value $\|W\|$ is above 1, so that $I - W^TW$ has
# a negative eigenvalue, it may point uphill (cosines, printed for $W$ scaled and $a$, $g$ kept).

# %%
fig, ax = plt.subplots(figsize=(7.5, 3.2))
for scale, color, line in ((0.5, "sky", "-."), (1, "blue", "-"),
                           (2, "orange", "--"), (4, "vermillion", ":")):
    ax.plot(taus, relative[scale], line, color=teach.COLORS[color],
            label=f"{scale} W: {directions[scale][1]:.2f}".replace("-", "−"))
ax.axhline(1, color="black", linewidth=0.8)
ax.text(1e-3, 0.9, "as long as the step itself", ha="left", va="top",
        fontsize=8)
ax.set(xscale="log", yscale="log", xlabel="τ", ylabel="‖discrepancy‖ / ‖τ∇J‖",
       ylim=(3e-2, 3e3), title="How far the wrong step in θ₂ is off")
ax.legend(ncols=2, title="cosine of wrong and right step, τ → 0")
teach.show(fig,
           "Relative size of the discrepancy of map 2 against τ, for weights "
           "scaled by 0.5, 1, 2 and 4. All curves are level for small τ, the "
           "higher the larger the weights: the error does not vanish. The thin "
           "line at 1 is the step's own size.")

# %% [markdown]
# ## What an implicit step on a would minimise
#
# Let $f(u) = L_y(\varphi(\theta_D, u))$ be the loss as a function of the last activation. Instead of (8),
# take the implicit step of notebook 02 on it:
#
# $$ a_{D-1}^{1/2} = \arg\min_u\; f(u) + \tfrac{1}{2\tau}\|u - a_{D-1}\|^2 = \mathrm{prox}_{\tau f}(a_{D-1}).
#    \tag{4.9} $$
#
# By (2.4), $a_{D-1} - a_{D-1}^{1/2} = \tau\,\nabla\mathrm{env}_{\tau f}(a_{D-1})$. The rest of the sweep only hands on
# whatever gap it finds. So in the hidden maps the sweep is a gradient step on another function, with the Moreau
# envelope in place of the loss:
#
# $$ \hat J(\theta_1, \dots, \theta_{D-1}) = \min_u\; L_y(\varphi(\theta_D, u)) + \tfrac{1}{2\tau}
#    \|u - a_{D-1}(\theta)\|^2 \;\le\; J. \tag{4.10} $$
#
# As $f$ is convex, this step drives no two points apart for any $\tau$ (notebook 02). But it solves a different
# problem: the larger $\tau$, the lower is $\hat J$ and, here, the slower its fall along $-\nabla J$; and where $J$ is
# stationary, $\hat J$ need not be (measured below). ProxProp steps implicitly in $\theta$ only, where the fixed points
# stay those of $J$ (notebook 05).

# %% [markdown]
# ## Exercise 4.5 (core): the implicit step on an activation
#
# Solve (4.9) for the loss (4.2), where it is a linear system, for all rows at once.
#
# <details><summary>Hint 1: idea</summary>
#
# Set the gradient in $u$ to zero and collect $u$.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $\frac1N(uW + 1b^T - Y)W^T + \frac1\tau(u - a) = 0$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `W, b = theta_D[:-1], theta_D[-1]`
#
# </details>

# %% tags=["exercise"]
# Exercise 4.5
def implicit_activation(a, theta_D, Y, tau):
    """Return u, the shape of a (N, n), for theta_D (n + 1, m) and Y (N, m)."""
    # <solution>
    W, b = theta_D[:-1], theta_D[-1]
    c = tau / len(Y)
    return np.linalg.solve(np.eye(len(W)) + c * W @ W.T,
                           (a + c * (Y - b) @ W.T).T).T  # (4.9)
    # </solution>

# %% tags=["check"]
implicit_activation = check.implicit_activation(implicit_activation, SEED)

# %% tags=["mistake"]
# says: the explicit step (8)
def implicit_activation(a, theta_D, Y, tau):
    return a - tau / len(Y) * (phi(theta_D, a) - Y) @ theta_D[:-1].T

# %% tags=["mistake"]
# says: averaged over the batch
def implicit_activation(a, theta_D, Y, tau):
    return check.library_implicit_activation(a, theta_D, Y, tau * len(Y))

# %% tags=["mistake"]
# says: the bias
def implicit_activation(a, theta_D, Y, tau):
    no_bias = np.vstack([theta_D[:-1], 0 * theta_D[-1:]])
    return check.library_implicit_activation(a, no_bias, Y, tau)

# %% [markdown]
# Evaluate (4.10) at the present parameters:

# %%
def J_hat(hidden, tau):
    last = forward([None, *hidden, theta[D]], X)[1][-1]
    u = implicit_activation(last, theta[D], Y, tau)  # (4.9)
    loss = np.sum((phi(theta[D], u) - Y) ** 2) / (2 * len(Y))
    return loss + np.sum((u - last) ** 2) / (2 * tau)  # (4.10)


hidden, h, flat = theta[1:D], 1e-4, {}
for tau in (3.0, 30.0, 300.0):
    lower = J_hat(hidden, tau)
    back, on = (J_hat([th - s * d for th, d in zip(hidden, dJ)], tau)
                for s in (-h, h))
    flat[tau] = (back - on) / (2 * h) / sum(np.sum(d**2) for d in dJ[:-1])
    print(f"τ = {tau:g}: along −∇J Ĵ falls {flat[tau]:.2f} times as fast as J")
    teach.holds(f"Ĵ = {lower:.3f} is not above J = {J:.3f}, τ = {tau:g}",
                max(lower - J, 0), 0)

# %% [markdown]
# Does the sweep descend $\hat J$? With the implicit step in place of (8), compare each step in a hidden $\theta_l$ with
# a difference of $\hat J$.

# %%
tau, h, replaced = 30.0, 1e-4, ml.energy.replaced
lifted = ml.energy.PenaltyEnergy(net, Y, gamma=1 / tau, rho=1 / tau)
a_next = implicit_activation(a[D - 1], theta[D], Y, tau)
for l in range(D - 1, 0, -1):
    # ProxProp (9)
    z_next = z[l] - tau * lifted.gradient_z(l, theta, replaced(a, l, a_next), z)
    moved = replaced(z, l, z_next)
    step = lifted.gradient_theta(l, theta, a, moved)  # of (4.7)
    if l > 1:  # ProxProp (10)
        a_next = a[l - 1] - tau * lifted.gradient_a(l - 1, theta, a, moved)
    t = rng.normal(size=step.shape)
    up, down = ([*hidden[:l - 1], theta[l] + s * h * t, *hidden[l:]]
                for s in (1, -1))
    slope = (J_hat(up, tau) - J_hat(down, tau)) / (2 * h)
    teach.holds(f"θ_{l}: the sweep descends Ĵ", np.sum(step * t), slope,
                teach.DIFFERENCES)

# %% [markdown]
# Plot both functions along $-\nabla J$ in the hidden maps:

# %%
steps = np.linspace(-0.5, 3, 60)
line = [[th - s * d for th, d in zip(hidden, dJ)] for s in steps]
fig, ax = plt.subplots(figsize=(7.5, 3.1))
outputs = [net.forward(X, theta=[None, *p, theta[D]]).z[D] for p in line]
ax.plot(steps, [net.loss_function.value(output, Y) for output in outputs],
        color="black", label="J")
for tau, color, dash in ((3.0, "sky", "-."), (30.0, "blue", "--"),
                         (300.0, "vermillion", ":")):
    ax.plot(steps, [J_hat(p, tau) for p in line], dash,
            color=teach.COLORS[color], label=f"Ĵ, τ = {tau:g}")
ax.set(xlabel="step along −∇J in the hidden maps", ylabel="J and Ĵ",
       ylim=(0, None))
ax.legend()
teach.show(fig, "J along its negative gradient in the hidden maps, and below "
           "it the function with the loss's envelope for τ = 3, 30 and 300, "
           "lower and flatter the larger τ is.")

# %% [markdown]
# For the fixed points, take a toy whose one hidden map, of two units, can descend $J$ to the end.

# %%
toy = np.random.default_rng(0)
inputs, targets = toy.normal(size=(2, 30, 2))
W_last = toy.normal(size=(2, 2))
ones = np.hstack([inputs, np.ones((30, 1))])
last_map = np.vstack([W_last, np.zeros(2)])


def slope(th, implicit):
    """Return the gradient of J, or of Ĵ with τ = 30, in the hidden map."""
    hidden = np.tanh(ones @ th)
    signal = (phi(last_map, hidden) - targets) @ W_last.T / 30
    if implicit:
        prox = implicit_activation(hidden, last_map, targets, 30.0)  # (4.9)
        signal = (hidden - prox) / 30
    return ones.T @ ((1 - hidden**2) * signal)


# %% [markdown]
# Is that the gradient of $\hat J$? Check along a random direction:

# %%
def toy_J_hat(th):
    hidden = np.tanh(ones @ th)
    u = implicit_activation(hidden, last_map, targets, 30.0)
    return (np.sum((phi(last_map, u) - targets) ** 2) / (2 * len(targets))
            + np.sum((u - hidden) ** 2) / (2 * 30.0))  # (4.10)


h, (th, t) = 1e-5, rng.normal(size=(2, 3, 2))
difference = (toy_J_hat(th + h * t) - toy_J_hat(th - h * t)) / (2 * h)
teach.holds("toy: slope of Ĵ", np.sum(slope(th, True) * t), difference,
            teach.DIFFERENCES)

# %% [markdown]
# Descend $J$ until its gradient is gone, look at the gradient of $\hat J$ there, and descend $\hat J$ from there.

# %%
fixed = {}
for implicit, start in ((False, 0.1 * toy.normal(size=(3, 2))), (True, None)):
    th = fixed[False].copy() if implicit else start
    for _ in range(1500):
        th = th - 0.3 * slope(th, implicit)
    fixed[implicit] = th
left, other = (np.linalg.norm(slope(fixed[False], implicit))
               for implicit in (False, True))
moved = np.linalg.norm(fixed[True] - fixed[False])
moved = moved / np.linalg.norm(fixed[False])
ended = np.linalg.norm(slope(fixed[True], True))
print(f"where ‖∇J‖ = {left:.0e}, ‖∇Ĵ‖ = {other:.1e}: descending Ĵ from there, "
      f"to ‖∇Ĵ‖ = {ended:.0e}, moves θ by {100 * moved:.1f} %")

# %% [markdown]
# ## Exercise 4.6 (open): who may work at the same time?
#
# In one sweep, which steps must wait for which? Suppose you had one machine per map. What could run at once, what not,
# and what would change if the forward pass were left out, so that $a$ and $z$ carry over to the next sweep? Five lines,
# no automatic check.

# %% [markdown] tags=["answer"]
# **One answer.** The half steps form a chain, $a_{D-1}, z_{D-1}, a_{D-2}, \dots$, as in backprop. The steps
# in the hidden $\theta_l$ need only their own $z_l^{1/2}$ and the old $a_{l-1}$: once the chain is done, all of them
# can run at once; ProxProp's linear solves are in these steps. Without the forward pass the blocks could also update
# out of step, but then $E \ne J$, Proposition 1 is lost, and the method minimises a relaxation whose gaps must be
# closed, for instance by growing $\gamma$ and $\rho$.

# %% tags=["record"]
teach.record("factor by which the step raises its own term, map 3",
             raised[3], expected=680, tolerance=70)
grown = sum(map(np.sum, history[-1])) / sum(map(np.sum, history[0]))
teach.record("E after the sweep over E before it", grown, expected=5.3,
             tolerance=0.5)
limits = [2 / np.linalg.norm(ml.maps.Gram(each, side="parameter").matrix, 2)
          for each in a[:3]]
teach.record("largest stable step for θ_1, where 1 is taken", limits[0],
             expected=0.0056, tolerance=0.0005)
teach.record("largest stable step for θ_2", limits[1], expected=0.032,
             tolerance=0.003)
teach.record("largest stable step for θ_3", limits[2], expected=0.039,
             tolerance=0.004)
teach.record("least factor of a step on its own term",
             min(raised.values()), expected=680, tolerance=70)
teach.record("relative discrepancy of map 2 as τ → 0", directions[1][0],
             expected=0.4, tolerance=0.05)
teach.record("relative discrepancy, W / 2", directions[0.5][0], expected=0.1,
             tolerance=0.01)
teach.record("gradient of Ĵ where that of J is gone", other, expected=0.0041,
             tolerance=0.0002)
teach.record("gradient of J there", left, expected=0, tolerance=1e-10)
teach.record("gradient of Ĵ at its own end", ended, expected=0, tolerance=1e-10)
teach.record("way to the fixed point of Ĵ, relative", moved, expected=0.0226,
             tolerance=0.001)
teach.record("slope of Ĵ over that of J, τ = 300", flat[300.0], expected=0.24,
             tolerance=0.02)
teach.record("cosine of wrong and right step, 4 W", directions[4][1],
             expected=-0.58, tolerance=0.05)
teach.record("J after the sweep over J", J_new / J, expected=0.875,
             tolerance=0.01)

# %% [markdown]
# ## Summary
#
# - Lifting makes $z_l$ and $a_l$ variables, held to the network by quadratic penalties; on a forward pass
#   $E = J$.
# - With $\gamma = \rho = 1/\tau$ one sweep of steps of length $\tau$, from the last map down, is a step of gradient
#   descent on $J$: gaps are $\tau$ times backpropagated signals.
# - Within it the step in a hidden $\theta_l$ is explicit, here far beyond its own stability limit. With an implicit
#   step on $a_{D-1}$ the hidden maps descend $\hat J$, with the envelope in place of the loss.
#
# **What this does not show.** One small network, one batch, a toy, seed 0; nothing about the speed of training:
# Proposition 1's sweep *is* backprop's step, and assumes a forward pass before every sweep.
#
# **References.** Frerix, Möllenhoff, Moeller, Cremers, *Proximal Backpropagation*, ICLR 2018: the energy (3),
# Algorithm 1 and Proposition 1 (8–10, 12), §4.2.1 on implicit steps in the activations. Carreira-Perpiñán and
# Wang, *Distributed optimization of deeply nested systems*, AISTATS 2014: lifting with quadratic penalties
# without the forward pass (method of auxiliary coordinates).

# %% [markdown]
# # 15 · Train like a brain
#
# You will let a network settle instead of sending a signal back through it, and find out when that is
# backpropagation after all.
#
# **Afterwards you can**
# 1. write the gradient of predictive coding's energy in one layer's values (Exercise 15.1);
# 2. relax all layers at once, each from the old values (Exercise 15.2);
# 3. compute the rate at which relaxing turns into blowing up (Exercise 15.3);
# 4. pass targets down through learned inverses (Exercise 15.4);
# 5. weigh what is local in these methods, and what is not (Exercise 15.5).
#
# **You need** notebooks 03 and 04, and for 15.3 the limit on the step size from 01. **Time**: 60 minutes (estimated).

# %%
import matplotlib.pyplot as plt
import numpy as np

import minilift as ml
from minilift.course import teach
from minilift.course.exercises import train_like_a_brain as check

SEED = 0
rng = np.random.default_rng(SEED)
teach.style()
teach.versions()

# %% [markdown]
# ## Errors instead of a backward pass
#
# Backpropagation needs a second phase, in which signals come down through the transposed weights. Predictive coding has
# no backward sweep: each layer holds values $a_l$ of its own, which are predicted from below by
# $f_l = \sigma_l(a_{l-1}W_l + 1b_l^T)$. All values settle by descending one energy, the loss plus half the squared
# errors of the predictions:
#
# $$ F = L_y(a_{D-1}W_D + 1b_D^T) + \sum_{l<D} \tfrac12\|e_l\|^2, \qquad e_l = a_l - f_l. \tag{15.1} $$
#
# Here $L_y$ is a sum over samples. It is MAC's energy of notebook 14 with $\mu = 1$; but there the values are kept from
# sweep to sweep, whereas here they start from a forward pass each time. After a forward pass $a_l = f_l$, so the errors
# in the sum are zero and $F$ is the loss.

# %%
data = ml.datasets.digits()
X, y = data.X_train[:60].astype(float), data.y_train[:60]
net = ml.mlp([64, 20, 20, 20, 20, 10], "tanh",
             loss=ml.SoftmaxCrossEntropy("sum"), seed=SEED, dtype=np.float64)
D, state, one_hot = net.depth, net.forward(X), np.eye(10)[y]


def errors(a):
    """Return [None, e_1, ..., e_D] and slopes [None, σ'(z_1), ...];
    e_D is minus the loss's gradient."""
    z = [None] + [net.phi[l].forward(net.theta[l], a[l - 1])
                  for l in range(1, D + 1)]
    e = [None] + [a[l] - np.tanh(z[l]) for l in range(1, D)]  # (15.1)
    slopes = [None] + [1 - np.tanh(z[l]) ** 2 for l in range(1, D)]
    top = one_hot - net.loss_function.proba(z[D])
    return [*e, top], [*slopes, np.ones_like(top)]


forward = state.a[:D]  # [X, a_1, ..., a_{D-1}] of the forward pass
e, slopes = errors(forward)
print("norms of the errors after a forward pass:",
      *(f"{np.linalg.norm(e[l]):.2g}" for l in range(1, D + 1)))

# %% [markdown]
# Computed by hand, (15.1) must equal the loss after a forward pass, and the library's energy at other values.

# %%
def F_by_hand(a):
    output = net.phi[D].forward(net.theta[D], a[D - 1])
    squares = sum(np.sum(e_l**2) for e_l in errors(a)[0][1:D])
    return net.loss_function.value(output, y) + squares / 2  # (15.1)


method = ml.PredictiveCoding()
energy = method.energy(net, X, y)
away = [a + 0.1 * rng.normal(size=a.shape) for a in forward]
variables = method.start(net, state)._replace(a=away)
teach.holds("F after a forward pass is the loss", F_by_hand(forward),
            net.loss(X, y))
teach.holds("F of other values: the library's", F_by_hand(away),
            energy.value(variables))

# %% [markdown]
# ## Exercise 15.1 (warm-up): who pulls at a layer?
#
# Two terms of $F$ contain $a_l$: its own error, and the error of the layer above, which $a_l$ predicts through
# $z_{l+1} = a_lW_{l+1} + 1b_{l+1}^T$, where the transfer has the slope $\sigma'_{l+1}$ (ones at the output, where $-e_D$
# is the loss's gradient). Derive $\partial F/\partial a_l$ and write it.
#
# <details><summary>Hint 1: idea</summary>
#
# The chain rule on two terms: both are squares, unless the upper one is the loss. How does $e_{l+1}$ depend on $a_l$?
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# $\partial\,\tfrac12\|e_l\|^2/\partial a_l = e_l$. From above comes one product entry by entry, then one of matrices.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `pull = (e_above * slope_above) @ W_above.T`
#
# </details>

# %% tags=["exercise"]
# Exercise 15.1
def value_gradient(e, e_above, slope_above, W_above):
    """Return the gradient in a_l (N, n), for e (N, n),
    e_above and slope_above (N, m), W_above (n, m)."""
    # <solution>
    return e - (e_above * slope_above) @ W_above.T  # (15.2)
    # </solution>

# %% tags=["check"]
value_gradient = check.value_gradient(value_gradient, SEED)

# %% tags=["mistake"]
# says: the sign
def value_gradient(e, e_above, slope_above, W_above):
    return e + (e_above * slope_above) @ W_above.T

# %% tags=["mistake"]
# says: σ' is missing
def value_gradient(e, e_above, slope_above, W_above):
    return e - e_above @ W_above.T

# %% tags=["mistake"]
# says: own error
def value_gradient(e, e_above, slope_above, W_above):
    return -(e_above * slope_above) @ W_above.T

# %% [markdown]
# <details><summary>Written out (after Exercise 15.1)</summary>
#
# $$ \frac{\partial F}{\partial a_l} = e_l - (e_{l+1} \odot \sigma'_{l+1})\,W_{l+1}^T \tag{15.2} $$
#
# </details>
#
# Central differences, and the library:

# %%
def gradient(l, a):
    e, slopes = errors(a)
    return value_gradient(e[l], e[l + 1], slopes[l + 1], net.theta[l + 1][:-1])


eps = 1e-6
for l in range(1, D):
    tangent = rng.normal(size=away[l].shape)
    ahead, behind = ([*away[:l], away[l] + sign * tangent, *away[l + 1:]]
                     for sign in (eps, -eps))
    difference = (F_by_hand(ahead) - F_by_hand(behind)) / (2 * eps)
    slope = np.sum(gradient(l, away) * tangent)  # (15.2)
    teach.holds(f"∂F/∂a_{l} along a random tangent", slope, difference,
                teach.DIFFERENCES)
    teach.holds(f"∂F/∂a_{l}: the library's", gradient(l, away),
                energy.gradient("a", l, variables))

# %% [markdown]
# ## Exercise 15.2 (core): all at once
#
# Here no layer waits for the one above. All values move at the same time, each by what it sees now:
#
# $$ a_l \leftarrow a_l - \eta\,\frac{\partial F}{\partial a_l}(a_1, \dots, a_{D-1}),
#    \qquad l = 1, \dots, D - 1. \tag{15.3} $$
#
# Take `steps` such steps; `gradient(l, a)` gives the derivative, and $a_0 = X$ stays fixed. Layers may differ in width.
# Leave the list that you are given as it is: the cells below still need it.
#
# <details><summary>Hint 1: idea</summary>
#
# Make a whole new list before anything is replaced.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# All derivatives of (15.3) are taken at the old list.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `for _ in range(steps):`, then `a = [a[0]] + [... for l in range(1, len(a))]`
#
# </details>

# %% tags=["exercise"]
# Exercise 15.2
def relax(a, gradient, rate, steps):
    """Return [a_0, a_1, ...] after so many steps."""
    # <solution>
    for _ in range(steps):
        # (15.3)
        a = [a[0]] + [a[l] - rate * gradient(l, a) for l in range(1, len(a))]
    return a
    # </solution>

# %% tags=["check"]
relax = check.relax(relax, SEED)

# %% tags=["mistake"]
# says: sees the new a_1
def relax(a, gradient, rate, steps):
    a = list(a)
    for _ in range(steps):
        for l in range(1, len(a)):
            a[l] = a[l] - rate * gradient(l, a)
    return a

# %% tags=["mistake"]
# says: rushes down
def relax(a, gradient, rate, steps):
    a = list(a)
    for _ in range(steps):
        for l in range(len(a) - 1, 0, -1):
            a[l] = a[l] - rate * gradient(l, a)
    return a

# %% tags=["mistake"]
# says: climbs
def relax(a, gradient, rate, steps):
    for _ in range(steps):
        a = [a[0]] + [a[l] + rate * gradient(l, a) for l in range(1, len(a))]
    return a

# %%
once, twice = (relax(away, gradient, 0.1, steps) for steps in (1, 2))
theirs = ml.PredictiveCoding(rate=0.1).relaxed(energy, variables)
for l in range(1, D):
    teach.holds(f"a_{l} after a step: the library's", once[l], theirs.a[l])
    step = -0.1 * gradient(l, once)  # (15.3)
    teach.holds(f"a_{l}'s second step", twice[l] - once[l], step)

# %% [markdown]
# ## Predict
#
# Five maps. After the forward pass only the output has an error. After **two** steps of (15.3), how many of
# $e_1, \dots, e_5$ are not zero?

# %% tags=["predict"]
nonzero = None  # a number

# %%
def sizes_after(T):
    e, _ = errors(relax(forward, gradient, 0.1, T))
    return [np.linalg.norm(e_l) for e_l in e[1:]]


sizes = np.array([sizes_after(T) for T in range(9)])
teach.reveal(nonzero, int((sizes[2] > 1e-12).sum()),
             "Each step carries the error one map down.")

# %% [markdown]
# One column for each number of steps, with the output in the top row:

# %%
fig, ax = plt.subplots(figsize=(6, 2.8))
shown = np.log10(np.where(sizes > 1e-12, sizes, np.nan)).T[::-1]
picture = ax.imshow(shown, cmap="viridis", aspect="auto")
for row, column in zip(*np.nonzero(np.isfinite(shown))):
    value = shown[row, column]
    ax.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8,
            color="black" if value > -1 else "white")
ax.set(xlabel="steps taken", yticks=range(D), title="η = 0.1",
       yticklabels=[f"e_{l}" for l in range(D, 0, -1)])
ax.grid(False)
fig.colorbar(picture, label="log10 of the norm")
teach.show(fig, "Sizes of the errors by map and step, as colours and numbers. "
           "White, which is zero, below a staircase: the error moves one map "
           "down in each step, and arrives more than ten times smaller.")

# %% [markdown]
# ## What arrives
#
# The weights then descend along $\partial F/\partial\theta_l = -\tilde a_{l-1}^T(e_l \odot \sigma'_l)$, a product of
# the quantities at the two ends of the synapse. At the moment of arrival, after $T = D - l$ steps, nothing below has
# moved, so
#
# $$ \frac{\partial F}{\partial\theta_l} = \eta^{\,D-l}\,\nabla_{\theta_l}J
#    \qquad\text{for any } \eta. \tag{15.4} $$
#
# Later arrivals add up. For small $\eta$ each step adds $\eta$ times the error then present in the layer above, so the
# factor after $T$ steps is, to leading order, $\binom{T}{D-l}\eta^{D-l}$, because $\sum_{t<T}\binom tk = \binom{T}{k+1}$.

# %%
def directions(a):
    e, slopes = errors(a)
    return [-net.phi[l].adjoint_theta(a[l - 1], e[l] * slopes[l])
            for l in range(1, D + 1)]


_, gradients = ml.BackProp().direction(net, X, y)
for l in range(D, 0, -1):
    arrived = np.array([
        directions(relax(forward, gradient, eta, D - l))[l - 1] / eta ** (D - l)
        for eta in (0.25, 0.5, 1.0)])
    teach.holds(f"map {l}, after {D - l} steps, three rates", arrived,
                np.array(3 * [gradients[l - 1]]))  # (15.4)

# %%
import math

small, T = 1e-3, 6
late = directions(relax(forward, gradient, small, T))
found = [np.sum(d * g) / np.sum(g * g) for d, g in zip(late, gradients)]
counted = [math.comb(T, D - l) * small ** (D - l) for l in range(1, D + 1)]
teach.holds("six small steps: the arrivals add up", np.array(found) / counted,
            np.ones(D), 0.03)  # within 5 η T

# %%
_, ours = ml.PredictiveCoding(rate=0.1, steps=20).direction(net, X, y)
by_hand = directions(relax(forward, gradient, 0.1, 20))
for l in range(1, D + 1):
    teach.holds(f"map {l}: the library", by_hand[l - 1], ours[l - 1])

# %% [markdown]
# ## When it is exactly backpropagation
#
# Equation (15.4) describes the moment of arrival; afterwards the predictions follow the values. Hold predictions and
# slopes at their values in the forward pass, and the errors $\varepsilon_l = -e_l$ obey a linear recursion,
#
# $$ \varepsilon_l \leftarrow (1 - \eta)\,\varepsilon_l
#    + \eta\,(\varepsilon_{l+1} \odot \sigma'_{l+1})\,W_{l+1}^T. \tag{15.5} $$
#
# Its fixed point satisfies BackProp's recursion for the signal $\partial J/\partial a_l$. With $\eta = 1$ the fixed
# point is reached exactly, in $D - 1$ steps: this is "fixed prediction" in the literature. ("Z-IL" in the literature
# holds nothing fixed: each map takes its step when its error arrives, (15.4) at $\eta = 1$.)

# %%
def recursion(eta, steps):
    epsilon = [None] + [0 * e_l for e_l in e[1:D]] + [-e[D]]
    for _ in range(steps):
        pulls = [(epsilon[l + 1] * slopes[l + 1]) @ net.theta[l + 1][:-1].T
                 for l in range(1, D)]
        moved = [(1 - eta) * epsilon[l] + eta * pull  # (15.5)
                 for l, pull in enumerate(pulls, start=1)]
        epsilon = [None, *moved, epsilon[D]]
    return [net.phi[l].adjoint_theta(forward[l - 1], epsilon[l] * slopes[l])
            for l in range(1, D + 1)]


for l, d in enumerate(recursion(1.0, D - 1), start=1):
    teach.holds(f"map {l}, η = 1, {D - 1} steps: ∇J", d, gradients[l - 1])
fixed = ml.PredictiveCoding(0.2, 20, prediction="fixed")
_, library = fixed.direction(net, X, y)
for l, d in enumerate(recursion(0.2, 20), start=1):
    teach.holds(f"map {l}, η = 0.2, 20 steps: the library", d, library[l - 1])

# %% [markdown]
# On a graph too? Here is a residual net (notebook 13):

# %%
bridged = ml.resnet([64] + [16] * 5 + [10], "tanh", seed=SEED, dtype=np.float64)
fixed = ml.PredictiveCoding(1.0, bridged.depth - 1, prediction="fixed")
for l, d, g in zip(bridged.maps, fixed.direction(bridged, X, y)[1],
                   ml.BackProp().direction(bridged, X, y)[1]):
    size = np.abs(g).max()  # below 1
    teach.holds(f"with bridges, map {l}: ∇J", d / size, g / size)

# %% [markdown]
# ## Predict
#
# With free predictions, relaxed for 320 steps (the gradient that then remains is printed), is the direction that of
# BackProp? "yes", "almost" (cosine above 0.99 on every map) or "no"?

# %% tags=["predict"]
settled = None  # "yes", "almost" or "no"

# %%
def settled_cosines(net):
    _, found = ml.PredictiveCoding(0.2, 320).direction(net, X, y)
    _, gradients = ml.BackProp().direction(net, X, y)
    return [np.sum(d * g) / np.linalg.norm(d) / np.linalg.norm(g)
            for d, g in zip(found, gradients)]


cosines = settled_cosines(net)
answer = "almost" if min(cosines) > 0.99 else "no"
teach.reveal(settled, answer,
             f"The cosines: {', '.join(f'{c:.3f}' for c in cosines)}.")
rest = relax(forward, gradient, 0.2, 320)
print("largest |∂F/∂a_l| after 320 steps:",
      f"{max(np.abs(gradient(l, rest)).max() for l in range(1, D)):.0e}")

# %% [markdown]
# Is this true of this network alone? Two more:

# %%
others = [ml.mlp([64, 20, 20, 20, 20, 10], "tanh", seed=seed, dtype=np.float64,
                 loss=ml.SoftmaxCrossEntropy("sum")) for seed in (1, 2)]
print("the least of two other networks:",
      *(f"{min(settled_cosines(other)):.3f}" for other in others))

# %% [markdown]
# How far is each map's direction from the gradient, step by step, with free and with fixed predictions? Mind the
# scales: free predictions on a linear one, fixed ones on a logarithmic one.

# %%
def distances(rate, prediction, steps):
    method = ml.PredictiveCoding(rate, steps, prediction=prediction)
    _, found = method.direction(net, X, y)
    return [np.linalg.norm(d - g) / np.linalg.norm(g)
            for d, g in zip(found, gradients)]


counts = np.array([0, 1, 2, 3, 4, 6, 8, 12, 20, 40, 80, 160, 320])
kinds = (("free, η = 0.2", 0.2, "free"), ("fixed, η = 0.2", 0.2, "fixed"),
         ("fixed, η = 1", 1.0, "fixed"))
curves = {title: np.array([distances(rate, kind, T) for T in counts])
          for title, rate, kind in kinds}
print("free, after 320 steps, maps 1 to 5:",
      *(f"{distance:.2f}" for distance in curves["free, η = 0.2"][-1]))

# %%
looks = "-o", "--s", "-.^", ":D", "-x"
fig, axes = plt.subplots(1, 3, figsize=(10, 3.2))
for ax, (title, curve) in zip(axes, curves.items()):
    for l in range(1, D + 1):
        ax.plot(counts, curve[:, l - 1], looks[l - 1], label=f"map {l}",
                markersize=3)
    ax.set(title=title, xscale="symlog", xlabel="steps")
axes[0].set(ylabel="‖d − ∇J‖ / ‖∇J‖", ylim=(0, None))
axes[0].legend(loc="upper left", fontsize=8)
for ax, at in zip(axes[1:], (0.03, 0.5)):
    ax.set(yscale="log", ylim=(3e-17, 3))
    ax.text(at, 0.3, "map 5: 0 from the start", fontsize=8,
            transform=ax.transAxes)
teach.show(fig, "Relative distance of each map's direction from the gradient, "
           "against steps. Left, linear scale: free predictions settle at a "
           "distance between 0.15, of the lowest map, and 2.3, of the "
           "highest. Middle and right, logarithmic: fixed ones with rate 0.2 "
           "fall steadily to rounding in maps 1 to 4, with rate 1 one a step; "
           "map 5 is at zero from the start.")

# %% [markdown]
# ## What settling minimises
#
# The highest map differs most here. If settling does not minimise the loss, what does it minimise? For linear maps an
# error $e_{l-1}$ moves the output by $e_{l-1}W_l\cdots W_D$. So with squared error, minimising $F$ is a ridge
# regression of the forward pass's residual $r = y - \hat y$ (a row per sample) on the errors. With
# $S = I + \sum_{l=2}^{D} (W_l\cdots W_D)^T(W_l\cdots W_D)$,
#
# $$ \min_a F = \tfrac12 \sum_i r_i\, S^{-1} r_i^T. \tag{15.6} $$
#
# It is the squared error in another metric: a residual counts less if the layers can explain it cheaply by moving.

# %%
linear = ml.mlp([4, 6, 5, 3], "identity", loss=ml.SquaredError("sum"),
                seed=0, dtype=np.float64)  # one that settles at rate 0.3
points, wanted = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
W2, W3 = linear.theta[2][:-1], linear.theta[3][:-1]
S = np.eye(3) + W3.T @ W3 + (W2 @ W3).T @ (W2 @ W3)
r = wanted - linear.predict(points)
settling = ml.PredictiveCoding(0.3, 300)
settling.direction(linear, points, wanted)
least = np.sum(r * np.linalg.solve(S, r.T).T) / 2  # (15.6)
teach.holds("energy of the settled linear network",
            settling.measure()["energy"], least)
print(f"loss {np.sum(r**2) / 2:.2f}, settled energy {least:.2f}")

# %% [markdown]
# ## How fast may it relax?
#
# Relaxing is gradient descent on $F$. Where $F$ is quadratic the limit of notebook 01 holds: a mode of curvature
# $\lambda$ is multiplied by $1 - \eta\lambda$ in each step, and $\eta$ must stay below $2/\lambda_{\max}$. For the
# linear network the curvature in one sample's values $(a_1, a_2)$ is
#
# $$ H = \begin{pmatrix} I + W_2W_2^T & -W_2 \\ -W_2^T & I + W_3W_3^T \end{pmatrix}. \tag{15.7} $$

# %%
def energies(net, rate, steps):
    """Return F before each of so many steps and after the last."""
    F = settling.energy(net, points, wanted)
    values = settling.start(net, net.forward(points))
    found, method = [F.value(values)], ml.PredictiveCoding(rate)
    for _ in range(steps):
        values = method.relaxed(F, values)
        found.append(F.value(values))
    return np.array(found)


# %%
# the curvature, and the limit
H = np.block([[np.eye(6) + W2 @ W2.T, -W2],
              [-W2.T, np.eye(5) + W3 @ W3.T]])  # (15.7)
F = settling.energy(linear, points, wanted)
start = settling.start(linear, linear.forward(points))
way = [rng.normal(size=start.a[l].shape) for l in (1, 2)]
moved = start._replace(a=[points, *(a + d for a, d in zip(start.a[1:], way))])
turned = [F.gradient("a", l, moved) - F.gradient("a", l, start) for l in (1, 2)]
teach.holds("the gradient changes by H times the way", np.hstack(turned),
            np.hstack(way) @ H)
limit = 2 / np.linalg.eigvalsh(H).max()
teach.number("2/λ_max", limit)

# %%
courses = {share: energies(linear, share * limit, 60) / least
           for share in (0.5, 0.95, 1.05, 1.2)}
growth = {share: F[-1] / F[0] for share, F in courses.items()}
print("F after 60 steps over F before:",
      ", ".join(f"{grown:.3g} at {share:g} of the limit"
                for share, grown in growth.items()))

# %%
# a cross: beyond the figure
fig, ax = plt.subplots(figsize=(7, 3))
for (share, course), look in zip(courses.items(), ("-o", "--s", "-.^", ":D")):
    drawn = np.where(course > 1e3, np.nan, course)
    line, = ax.plot(drawn, look, markevery=5, markersize=4,
                    label=f"η = {share:g} · 2/λ_max")
    if np.isnan(drawn).any():
        ax.plot(np.isnan(drawn).argmax(), 1, "x", color=line.get_color(),
                transform=ax.get_xaxis_transform(), clip_on=False,
                markersize=8, markeredgewidth=2)
ax.set(yscale="log", ylim=(0.9, 1e3), xlabel="steps",
       ylabel="F / its minimum (15.6)")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
teach.show(fig, "Energy over its minimum against steps for four rates. Half "
           "of the limit 2 over the largest curvature and 0.95 of it settle "
           "at one, on each other; 1.05 and 1.2 times the limit first fall and "
           "then leave the figure, with a cross on the top edge.")

# %% [markdown]
# ## Exercise 15.3 (break it): networks that do not settle
#
# (15.7) is for three maps. Write the limit $2/\lambda_{\max}$ for any number $D \ge 2$ of linear maps. The check relaxes
# such networks: at 0.95 of your rate $F$ must fall, at 1.05 of it blow up.
#
# <details><summary>Hint 1: idea</summary>
#
# All errors are linear in all values. How do they change when the values do?
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# With the values $(a_1, \dots, a_{D-1})$ of a sample in one row, the errors are this row times a matrix $M$, plus a
# constant, and $F$ has the curvature $MM^T$. In $M$ the value $a_l$ has a row of blocks: $I$ for $e_l$, $-W_{l+1}$ for
# $e_{l+1}$. (The output's error is $y$ minus the output.)
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `ends = np.cumsum([0] + [W_l.shape[1] for W_l in W[1:]])`: block $l$ of the columns is `ends[l - 1]:ends[l]`
#
# </details>

# %% tags=["exercise"]
# Exercise 15.3
def limit_of(W):
    """Return the limit, for W = [None, W_1, ..., W_D]."""
    # <solution>
    ends = np.cumsum([0] + [W_l.shape[1] for W_l in W[1:]])
    M = np.eye(ends[-2], ends[-1])  # from values to errors
    for l in range(1, len(W) - 1):
        M[ends[l - 1]:ends[l], ends[l]:ends[l + 1]] = -W[l + 1]
    return 2 / np.linalg.eigvalsh(M @ M.T).max()
    # </solution>

# %% tags=["check"]
limit_of = check.limit_of(limit_of, SEED)

# %% tags=["mistake"]
# says: 2/λ_max, not 1/λ_max
def limit_of(W):
    return check.library_limit(W) / 2

# %% tags=["mistake"]
# says: right for three maps alone
def limit_of(W):
    V2, V3 = W[2], W[3]
    H = np.block([[np.eye(len(V2)) + V2 @ V2.T, -V2], [-V2.T, np.eye(len(V3)) + V3 @ V3.T]])
    return 2 / np.linalg.eigvalsh(H).max()

# %% tags=["mistake"]
# says: do not meet
def limit_of(W):
    return 2 / (1 + max(np.linalg.norm(W_l, 2) for W_l in W[2:]) ** 2)

# %% [markdown]
# Back to the network above, and to one with $\theta$ four times as large:

# %%
weights = [None, *(theta[:-1] for theta in linear.parameters)]
# tolerance: that of the check
teach.holds("the limit of the network above", limit_of(weights), limit, 0.05)
wild = ml.mlp([4, 6, 5, 3], "identity", loss=ml.SquaredError("sum"),
              seed=0, dtype=np.float64)
wild.theta = [None, *(4 * theta for theta in linear.parameters)]
limit_of_wild = limit_of([None, *(4 * W for W in weights[1:])])
for rate in (0.95 * limit_of_wild, 1.05 * limit_of_wild):
    F = energies(wild, rate, 60)
    print(f"its limit {limit_of_wild:.3f}; F after 60 steps over F before, at "
          f"rate {rate:.3f}: {F[-1] / F[0]:.3g}")

# %% [markdown]
# When weights grow in training, a rate that settled may blow up.
#
# ## Targets instead of errors
#
# Target propagation sends down neither errors nor signals but *wishes*: values $t_l$ that a layer should
# have had. They come through inverses $\hat f_l$, which learn to undo $f_l$ on noisy values,
#
# $$ \min_{\psi_l}\; \tfrac{1}{2N}\|\hat f_l(f_l(\tilde h)) - \tilde h\|^2, \qquad
#    \tilde h = h_{l-1} + s\,\nu. \tag{15.8} $$
#
# There are no transposed weights: $\psi_l$ is a matrix of its own. Starting from
# $t_D = h_D - \beta\,\partial L_y/\partial h_D$, the targets are
#
# $$ t_{l-1} = h_{l-1} + \hat f_l(t_l) - \hat f_l(h_l). \tag{15.9} $$
#
# The obvious rule would be $t_{l-1} = \hat f_l(t_l)$. The difference in (15.9) removes the error of $\hat f_l$ at $h_l$. Each map
# then descends on $\frac12\|f_l(h_{l-1}) - t_l\|^2$ alone.

# %% [markdown]
# ## Exercise 15.4 (core): wishes down the stairs
#
# Write (15.9) for $h = [X, h_1, \dots, h_D]$, the last target and the functions `inverses[l]`.
#
# <details><summary>Hint 1: idea</summary>
#
# From the top down, each target from the one above it.
#
# </details>
# <details><summary>Hint 2: equation</summary>
#
# Equation (15.9), for $l = D, \dots, 2$.
#
# </details>
# <details><summary>Hint 3: first line</summary>
#
# `t = [None] * (len(h) - 1) + [last]`
#
# </details>

# %% tags=["exercise"]
# Exercise 15.4
def targets(h, last, inverses):
    """Return [None, t_1, ..., t_D]."""
    # <solution>
    t = [None] * (len(h) - 1) + [last]
    for l in range(len(h) - 1, 1, -1):
        t[l - 1] = h[l - 1] + inverses[l](t[l]) - inverses[l](h[l])  # (15.9)
    return t
    # </solution>

# %% tags=["check"]
targets = check.targets(targets, SEED)

# %% tags=["mistake"]
# says: the difference is missing
def targets(h, last, inverses):
    t = [None] * (len(h) - 1) + [last]
    for l in range(len(h) - 1, 1, -1):
        t[l - 1] = inverses[l](t[l])
    return t

# %% tags=["mistake"]
# says: the sign
def targets(h, last, inverses):
    t = [None] * (len(h) - 1) + [last]
    for l in range(len(h) - 1, 1, -1):
        t[l - 1] = h[l - 1] + inverses[l](h[l]) - inverses[l](t[l])
    return t

# %% [markdown]
# ## Predict
#
# Now the inverses learn for 600 steps, while the network stays as it is. They begin with random weights. Before they
# have learnt anything, one of the five maps already moves along the gradient: which?

# %% tags=["predict"]
right_at_once = None  # a number

# %%
h, beta = [*forward, state.z[D]], 0.1
propagation = ml.TargetPropagation(beta, rate=0.05, sigma=0.3, seed=SEED)
curves = {"reconstruction": [], **{f"map {l}": [] for l in range(1, D + 1)}}
for _ in range(600):
    psi = dict(propagation.psi)  # the inverses before this call
    _, steps = propagation.direction(net, X, y)
    off = propagation.measure()["reconstruction"]
    curves["reconstruction"].append(off)
    for l, (d, g) in enumerate(zip(steps, gradients), start=1):
        cosine = np.sum(d * g) / np.linalg.norm(d) / np.linalg.norm(g)
        curves[f"map {l}"].append(cosine)
first = [curves[f"map {l}"][0] for l in range(1, D + 1)]
teach.reveal(right_at_once, int(np.argmax(first)) + 1,
             f"First cosines: {', '.join(f'{c:.2f}' for c in first)}. Its "
             "target comes from the loss, through no inverse.")

# %% [markdown]
# The library's targets in its last call, and its losses (15.8), must be those of our formulas.

# %%
inverses = {l: lambda x, l=l: np.tanh(x @ psi[l][:-1] + psi[l][-1])
            for l in psi}
t = targets(h, h[D] + beta * e[D], inverses)  # (15.9)
for l in range(1, D + 1):
    teach.holds(f"t_{l}: the library's", t[l], propagation.variables.a[l])

# %%
psi = propagation.psi  # after the last step
for l in psi:
    noisy = h[l - 1] + 0.3 * rng.normal(size=h[l - 1].shape)
    made = net.phi[l].forward(net.theta[l], noisy)
    made = made if l == D else np.tanh(made)  # f_l
    off = np.sum((inverses[l](made) - noisy) ** 2) / (2 * len(X))  # (15.8)
    theirs, _ = propagation.reconstruct(net, l, noisy, net.theta[l])
    teach.holds(f"(15.8) for f̂_{l}: the library's", off, theirs)

# %%
# the obvious rule beside (15.9), both with the inverses as they are now
def target_cosines(t):
    found = [net.phi[l].adjoint_theta(h[l - 1], (h[l] - t[l]) * slopes[l])
             for l in range(1, D + 1)]
    return [np.sum(d * g) / np.linalg.norm(d) / np.linalg.norm(g)
            for d, g in zip(found, gradients)]


t = targets(h, t[D], inverses)
obvious = [None] * D + [t[D]]
for l in range(D, 1, -1):
    obvious[l - 1] = inverses[l](obvious[l])
rules = {"t = h + f̂(t) − f̂(h)": target_cosines(t),
         "t = f̂(t)": target_cosines(obvious)}
for name, found in rules.items():
    print(f"{name}: cosines of maps 1 to 5 to ∇J",
          ", ".join(f"{c:.2f}" for c in found))

# %% [markdown]
# What have the 600 steps done?

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3))
axes[0].plot(curves["reconstruction"], color=teach.COLORS["grey"])
axes[0].set(xlabel="steps of the inverses",
            ylabel="reconstruction loss, all inverses", ylim=(0, None))
for l in range(1, D + 1):
    axes[1].plot(curves[f"map {l}"], looks[l - 1], markevery=75,
                 label=f"map {l}")
axes[1].set(xlabel="steps of the inverses",
            ylabel="cosine of the direction to ∇J", ylim=(-0.5, 1.05))
axes[1].legend(loc="lower right")
off = curves["reconstruction"]
print(f"reconstruction loss {off[0]:.1f} at first, {off[-1]:.1f} at the end; "
      f"map 2's least cosine {min(curves['map 2']):.2f}")
teach.show(fig, "Left: the reconstruction loss of the inverses falls while the "
           "network stays. Right: the directions of the lower maps, cosine "
           "at most 0.2 at first, have turned towards the gradient after 600 "
           "steps, map 2 after turning away, and are not the gradient. That "
           "of the last map is the gradient from the start.")

# %% [markdown]
# An inverse is not a transpose, so a perfect one need not give the gradient either. Through invertible linear maps
# targets are passed down by $W^{-1}$, signals by $W^T$, and $t_1 - h_1$ is the change of $h_1$ that brings the output
# to its target: a Gauss–Newton step in the values, not a gradient step.

# %%
W = [None] + [rng.normal(size=(6, 6)) for _ in range(3)]
values = [rng.normal(size=(30, 6))]
for l in (1, 2, 3):
    values.append(values[l - 1] @ W[l])
back = {l: lambda x, l=l: np.linalg.solve(W[l].T, x.T).T for l in (2, 3)}
change = 0.1 * rng.normal(size=(30, 6))  # wanted at the output
wish = targets(values, values[3] + change, back)[1] - values[1]  # (15.9)
newton = np.linalg.lstsq((W[2] @ W[3]).T, change.T, rcond=None)[0].T
teach.holds("exact inverses: the Gauss–Newton step in h_1", wish, newton, 1e-9)
signal = change @ (W[2] @ W[3]).T
cosine = (np.sum(wish * signal) / np.linalg.norm(wish)
          / np.linalg.norm(signal))
print(f"cosine of that step to the gradient in h_1: {cosine:.2f}")

# %% [markdown]
# ## A race
#
# 400 digits, 64-32-16-10, tanh, SGD, batches of 20, 20 epochs; predictive coding relaxes ten steps at $\eta = 0.2$,
# target propagation has $\beta = 0.1$ and inverses that learn at rate 0.05 (noise 0.1). Each method gets the learning
# rate with the least median of the final training loss over seeds 7, 8, 9; it then runs from seeds 0, 1, 2.

# %%
entries = {"BackProp": ml.BackProp(),
           "Predictive coding": ml.PredictiveCoding(0.2, 10),
           "Target propagation": ml.TargetPropagation(0.1, rate=0.05)}
rates = 1.0, 1.25, 2.0, 3.0


def train(method, lr, seed):
    net = ml.mlp([64, 32, 16, 10], "tanh", seed=seed)
    return ml.fit(net, (data.X_train[:400], data.y_train[:400]), method=method,
                  optimizer=ml.SGD(lr=lr), epochs=20, batch_size=20, seed=seed,
                  progress=False)


ends, chosen = {}, {}
for name, method in entries.items():
    ends[name] = np.array([[train(method, lr, seed)["train_loss"][-1]
                            for lr in rates] for seed in (7, 8, 9)])
    ends[name] = np.nan_to_num(ends[name], nan=np.inf)
    medians = np.median(ends[name], axis=0)
    chosen[name] = rates[medians.argmin()]
    print(f"{name}: rate {chosen[name]:g} of", *(
        f"{lr:g} ({median:.2g}) " for lr, median in zip(rates, medians)))

# %% [markdown]
# ## Predict
#
# Every chosen rate lies inside the grid. Whose median training loss is lowest after **two** epochs?

# %% tags=["predict"]
early = None  # "BackProp", "Predictive coding" or "Target propagation"

# %%
losses, seconds = {}, {}
for name, method in entries.items():
    runs = [train(method, chosen[name], seed) for seed in (0, 1, 2)]
    losses[name] = np.array([run["train_loss"] for run in runs])
    seconds[name] = np.median([run["seconds"] for run in runs], axis=0)
after_two = {name: np.median(loss[:, 2]) for name, loss in losses.items()}
teach.reveal(early, min(after_two, key=after_two.get),
             f"{', '.join(f'{n}: {v:.2f}' for n, v in after_two.items())}.")
final, spent = {}, {}
for name, loss in losses.items():
    final[name], spent[name] = np.median(loss[:, -1]), seconds[name][-1]
    print(f"{name}: final loss {final[name]:.2g} ({loss[:, -1].min():.2g} to "
          f"{loss[:, -1].max():.2g}), {spent[name]:.2f} s")

# %%
# learning rates, epochs, seconds
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), subplot_kw={"yscale": "log"})
for row, name in enumerate(entries):
    teach.band(axes[0], rates, ends[name], name, ceiling=np.log(10),
               row=row // 2)
    for ax, x in ((axes[1], np.arange(21)), (axes[2], seconds[name])):
        teach.band(ax, x, losses[name], name, markevery=4,
                   label=f"{name}, rate {chosen[name]:g}")
axes[0].set(xlabel="learning rate", ylabel="final training loss, seeds 7-9",
            xscale="log", xticks=rates, xticklabels=[f"{r:g}" for r in rates],
            title="×: a seed ends above guessing\n")
axes[0].minorticks_off()
axes[1].set(xlabel="epoch", ylabel="training loss, seeds 0-2",
            title="median and range of 3 seeds\n")
axes[2].set(xlabel="seconds (this machine)")
axes[2].legend(loc="upper right", fontsize=8)
leads = []
for name in ("Predictive coding", "Target propagation"):
    ours, theirs = (np.median(losses[n], axis=0) for n in ("BackProp", name))
    ahead = np.flatnonzero(theirs < ours)
    leads += [f"{name}: median below BackProp's after {len(ahead)} of 20 "
              f"epochs, from {ahead.min(initial=20)} to {ahead.max(initial=0)}"]
print(*leads, sep="\n")
teach.show(fig, "Left: final training loss against the learning rate; a cross "
           "on top where a seed ends above guessing: BackProp from 2, target "
           "propagation at 3. Middle and right: training loss of each at its "
           f"chosen rate against epochs and seconds. {'. '.join(leads)}. "
           "BackProp ends lowest. Its 20 epochs take the fewest seconds, "
           "predictive coding's the most.")

# %% [markdown]
# ## Exercise 15.5 (open): what is local?
#
# Equation (15.2) still has $W_{l+1}^T$. For each of the two methods, name what a synapse could know and what it could
# not; then name one experiment that would tell whether it matters. Five lines.

# %% [markdown] tags=["answer"]
# **One answer.** In predictive coding the change of a weight is a product of quantities at its two ends, and while
# values relax no layer waits for another; but by (15.2) errors come down through the transposed weights, and each layer
# needs its values and its errors. In target propagation no weight is transposed, but (15.9) asks $\hat f_l$ for two values
# at once, and in (15.8) a map and its inverse run on noisy values. The experiment: give predictive coding fixed random
# matrices for the way down, or a second set with its own learning rule, and measure the cosine with the gradient during
# training, at several depths.

# %% tags=["record"]
moved = (sizes[2] > 1e-12).sum()
teach.record("errors that are not zero after two steps", moved, expected=3,
             tolerance=0)
teach.record("least cosine of the settled direction", min(cosines),
             expected=0.40, tolerance=0.02)
teach.record("cosine of a Gauss–Newton step in h_1 to the gradient", cosine,
             expected=0.1, tolerance=0.2)
teach.record("linear network: 2 over the largest curvature", limit,
             expected=0.869, tolerance=0.001)
teach.record("    of wild", limit_of_wild, expected=0.149, tolerance=0.001)
teach.record("F grows at 1.05 of the limit, by tenfold or more", growth[1.05],
             expected=1500, tolerance=1400)
kept, bare = (np.mean(found[:-1]) for found in rules.values())
teach.record("mean cosine of maps 1 to 4, with (15.9)", kept, 0.7, 0.1)
teach.record("mean cosine of maps 1 to 4, without the difference", bare,
             0.2, 0.1)
backprop, predictive, target = after_two.values()
teach.record("loss after two epochs, BackProp", backprop, 1.6, 0.5)
teach.record("    predictive coding", predictive, 0.24, 0.08)
teach.record("    target propagation", target, 0.35, 0.1)
backprop, predictive, target = final.values()
teach.record("final loss, BackProp", backprop, 0.0041, 0.0013)
teach.record("    predictive coding, at the end", predictive, 0.0052, 0.0016)
teach.record("    target propagation, at the end", target, 0.0097, 0.003)

# %% [markdown]
# ## Summary
#
# - Predictive coding relaxes values on one energy; an error moves one map per step and first arrives as $\eta^{D-l}$
#   times BackProp's signal.
# - With predictions held fixed and rate 1 it *is* BackProp after $D - 1$ steps; with free ones it minimises another
#   objective: for linear maps and squared error, that error in the metric $S^{-1}$. The first statement held on a
#   residual net too; Millidge et al. derive it for any graph.
# - Target propagation replaces transposed weights by learned inverses; with the difference in (15.9) the directions are
#   nearer to the gradient (mean cosine to it, map 5 left out: 0.7 with the difference, 0.2 without; one network).
#
# **What this does not show.** That a brain does either. The race is one small network on 400 digits with four learning
# rates and three seeds; BackProp and target propagation end above guessing at the next higher rate of the grid, and a
# finer grid may change the order at the end. Each step of predictive coding visits every map, here one after the other.
# Distances, settled energies and the inverses' cosines are those of one network each. Nothing is said of test error, or
# of depth beyond five.
#
# **References.** Whittington, Bogacz, "An approximation of the error backpropagation algorithm in a predictive
# coding network with local Hebbian synaptic plasticity", *Neural Computation*, 2017: (15.1)–(15.3). Song,
# Lukasiewicz, Xu, Bogacz, "Can the brain do backpropagation?", NeurIPS 2020: arrival, (15.4). Millidge, Tschantz,
# Buckley, "Predictive coding approximates backprop along arbitrary computation graphs", 2020: fixed predictions,
# (15.5). Innocenti et al., "Only strict saddles in the energy landscape of predictive coding networks?", NeurIPS
# 2024: the settled energy, (15.6). Lee, Zhang, Fischer, Bengio, "Difference target propagation", 2015: (15.8),
# (15.9). Meulemans et al., "A theoretical framework for target propagation", NeurIPS 2020: exact inverses and
# Gauss–Newton.

"""The laws that the library must obey, as predicates, and random networks to hold them against.

Each law raises AssertionError with a reason. `test_planted.py` runs wrong implementations through the same
predicates: one that accepts them is worth nothing.
"""

from typing import NamedTuple

import numpy as np
from conftest import read_only
from hypothesis import strategies as st

import minilift as ml
from minilift.energy import PenaltyEnergy, algorithm_1, replaced

LOSSES = (ml.SoftmaxCrossEntropy, ml.SigmoidCrossEntropy, ml.SquaredError)
SMOOTH = ("tanh", "sigmoid", "softplus", "identity")
ACTIVATIONS = (*SMOOTH, "relu", "leaky_relu")


# ---- random networks

class Case(NamedTuple):
    """A network in float64 whose parameters, like the data, cannot be written into; and a batch."""

    net: ml.Network
    X: np.ndarray
    y: np.ndarray
    rng: np.random.Generator


def frozen(net):
    """Return the network with parameters that raise when something writes into them."""
    for theta in net.parameters:
        theta.flags.writeable = False
    return net


def random_targets(loss, rng, samples, n_out):
    """Return targets that the loss takes."""
    if loss.classification:
        return read_only(rng.integers(0, n_out, samples))
    return read_only(rng.uniform(0, 1, (samples, n_out)))


def random_case(seed, widths, samples, activations, loss, dead=False):
    """Return a case; with `dead`, the first unit of each hidden layer never fires (ReLU) or is saturated."""
    rng = np.random.default_rng(seed)
    net = ml.mlp(widths, activation=activations, loss=loss, dtype=np.float64)
    theta = [None] + [rng.standard_normal(p.shape) / np.sqrt(len(p)) for p in net.parameters]
    if dead:
        for hidden in theta[1:-1]:
            hidden[-1, 0] = -30
    net.theta = theta
    X = read_only(rng.standard_normal((samples, widths[0])))
    return Case(frozen(net), X, random_targets(loss, rng, samples, widths[-1]), rng)


@st.composite
def cases(draw, activations=ACTIVATIONS, least_depth=1, losses=LOSSES):
    """Draw a case: depth to 4, widths 1 to 9, batch 1 to 12, both reductions, dead units, wide and tall."""
    depth = draw(st.integers(least_depth, 4))
    widths = draw(st.lists(st.integers(1, 9), min_size=depth + 1, max_size=depth + 1))
    hidden = draw(st.lists(st.sampled_from(activations), min_size=depth - 1, max_size=depth - 1))
    loss = draw(st.sampled_from(losses))(draw(st.sampled_from(("mean", "sum"))))
    seed, samples = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 12))
    return random_case(seed, widths, samples, hidden, loss, dead=draw(st.booleans()))


def stacked(a):
    """Return [a 1]: what the library never forms."""
    return np.hstack([a, np.ones((len(a), 1))])


def is_smooth(net, X, margin=1e-3):
    """Whether no pre-activation is near a kink of its transfer, so that finite differences mean something."""
    state = net.forward(X)
    kinked = [l for l in range(1, net.depth) if isinstance(net.sigma[l], (ml.ReLU, ml.LeakyReLU))]
    return all(abs(state.z[l]).min() > margin for l in kinked)


# ---- norms

def norm(x):
    """Return the Frobenius norm."""
    return float(np.linalg.norm(np.asarray(x, dtype=np.float64)))


def inner(x, y):
    """Return the inner product of two arrays, or of two lists of arrays."""
    if isinstance(x, list):
        return sum(inner(u, v) for u, v in zip(x, y, strict=True))
    return float((np.asarray(x) * np.asarray(y)).sum())


def relative(x, reference):
    """Return the relative error of x, or its norm where the reference vanishes."""
    assert np.shape(x) == np.shape(reference), f"shapes {np.shape(x)} and {np.shape(reference)} differ"
    return norm(x - reference) / (norm(reference) or 1.0)


def assert_close(what, x, reference, tolerance):
    """Equality to a relative error in the norm of the whole array."""
    error = relative(x, reference)
    assert error <= tolerance, f"{what}: relative error {error:.2g} exceeds {tolerance:.2g}"


# ---- derivatives

def central_difference(f, x, tangent, step=1e-5):
    """Return the derivative of f at x (an array or a list of them) along a tangent, to fourth order."""
    def along(t):
        if isinstance(x, list):
            return f([u + t * v for u, v in zip(x, tangent, strict=True)])
        return f(x + t * tangent)
    return (8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (12 * step)


def random_like(x, rng):
    """Return a random tangent."""
    return [rng.standard_normal(u.shape) for u in x] if isinstance(x, list) else rng.standard_normal(x.shape)


def assert_gradient(what, f, x, gradient, rng, tolerance=1e-7):
    """The gradient of f at x is `gradient`: its product with a random tangent is the derivative along it."""
    tangent = random_like(x, rng)
    expected, got = central_difference(f, x, tangent), inner(gradient, tangent)
    scale = inner(gradient, gradient)**0.5 + abs(expected) + 1e-3 * (1 + abs(f(x)))
    assert abs(got - expected) <= tolerance * scale, (
        f"{what}: the derivative along a random tangent is {expected:.12g} by differences, "
        f"{got:.12g} by hand")


def assert_adjoint(what, derivative, adjoint, tangent, cotangent, tolerance=1e-10):
    """⟨D t, c⟩ = ⟨t, Dᵀ c⟩ for a random tangent against a random cotangent."""
    forward, backward = derivative(tangent), adjoint(cotangent)
    left, right = inner(forward, cotangent), inner(tangent, backward)
    scale = norm(forward) * norm(cotangent) + norm(tangent) * norm(backward)
    scale += 1e-3 * norm(tangent) * norm(cotangent)  # where D is tiny, differences are all rounding
    assert abs(left - right) <= tolerance * scale, (
        f"{what}: ⟨Dt, c⟩ = {left:.12g} but ⟨t, Dᵀc⟩ = {right:.12g}")


# ---- transfers and losses

def assert_transfer(transfer, z, rng):
    """Derivative, adjoint, integral and range of an elementwise transfer agree with its forward."""
    z_before, a = z.copy(), transfer.forward(z)
    assert a.shape == z.shape
    assert a.dtype == z.dtype, f"{transfer!r}: forward promotes {z.dtype} to {a.dtype}"
    differences = central_difference(transfer.forward, z, np.ones_like(z))
    assert_close(f"{transfer!r}: derivative", transfer.derivative(z), differences, 1e-8)
    g = rng.standard_normal(z.shape)
    _, aux = transfer.apply(z)
    assert_close(f"{transfer!r}: adjoint", transfer.adjoint(z, a, aux, g), differences * g, 1e-8)
    slope = central_difference(transfer.integral, z, np.ones_like(z))
    assert_close(f"{transfer!r}: the integral's derivative is σ", slope, a, 1e-7)
    other = rng.permutation(z.ravel()).reshape(z.shape)
    chord = (transfer.integral(z) + transfer.integral(other)) / 2
    between = transfer.integral((z + other) / 2)
    assert (between <= chord + 1e-12).all(), f"{transfer!r}: the integral is not convex"
    assert transfer.in_range(a, 1e-12), f"{transfer!r}: a value lies outside of range {transfer.range}"
    assert (z == z_before).all()


def assert_relu_convention(relu):
    """The derivative at the kink is 0, as in the papers' programs."""
    z, g = np.zeros((1, 3)), np.ones((1, 3))
    assert not relu.derivative(z).any(), f"{relu!r}: σ'(0) must be 0, is {relu.derivative(z)[0, 0]}"
    assert not relu.adjoint(z, z, None, g).any(), f"{relu!r}: the adjoint at 0 must be 0"


def assert_loss_gradient(loss, z, y, rng):
    """The gradient of a loss is that of its value."""
    assert_gradient(f"{loss!r}: gradient", lambda u: loss.value(u, y), z, loss.gradient(z, y), rng)


def assert_prox(loss, v, y, tau, rng):
    """The prox satisfies its optimality condition, and its objective is least there."""
    u = loss.prox(v, y, tau)
    condition = tau * loss.gradient(u, y) + u - v
    assert abs(condition).max() <= 1e-9 * (1 + tau + abs(v).max()), (
        f"{loss!r}: τ∇L(u) + u − v is {abs(condition).max():.2g} at the prox for τ = {tau}")
    assert_minimises(f"{loss!r}: prox", lambda w: loss.value(w, y) + ((w - v)**2).sum() / (2 * tau), u, rng)


def assert_minimises(what, objective, x, rng, trials=20):
    """The objective is nowhere lower than at x, among random perturbations of many sizes."""
    least = objective(x)
    for size in np.logspace(-6, 1, trials):
        moved = objective(x + size * rng.standard_normal(x.shape))
        assert moved >= least - 1e-12 * (1 + abs(least)), (
            f"{what}: a perturbation of size {size:.1g} lowers the objective from {least:.12g} "
            f"to {moved:.12g}")


# ---- maps

def assert_map(phi, theta, a, rng):
    """Forward is ã θ, the adjoints are its transposes, and the Gram operator on either side is ã's."""
    z = phi.forward(theta, a)
    assert_close(f"{phi!r}: forward", z, stacked(a) @ theta, 1e-13)
    c = rng.standard_normal(z.shape)
    zero_bias = np.vstack([theta[:-1], np.zeros((1, theta.shape[1]))])
    assert_adjoint(f"{phi!r}: adjoint_input", lambda t: phi.forward(zero_bias, t),
                   lambda g: phi.adjoint_input(theta, g), rng.standard_normal(a.shape), c)
    assert_adjoint(f"{phi!r}: adjoint_theta", lambda t: phi.forward(t, a), lambda g: phi.adjoint_theta(a, g),
                   rng.standard_normal(theta.shape), c)
    for side in ("sample", "parameter"):
        assert_gram(phi.gram(a, side=side), stacked(a), rng)


def assert_gram(gram, dense, rng):
    """A Gram operator's matrix, apply, adjoint, lower, lift and inner product are those of the dense matrix ã."""
    matrix = dense @ dense.T if gram.side == "sample" else dense.T @ dense
    assert gram.matrix.dtype == np.float64
    assert_close(f"Gram ({gram.side}): matrix", gram.matrix, matrix, 1e-12)
    d, g = rng.standard_normal((dense.shape[1], 3)), rng.standard_normal((len(dense), 3))
    assert_close("Gram: apply", gram.apply(d), dense @ d, 1e-12)
    assert_close("Gram: adjoint", gram.adjoint(g), dense.T @ g, 1e-12)
    u, v = rng.standard_normal((2, len(matrix), 3))
    assert_close("Gram: the lift of what is lowered", gram.lift(gram.lower(g)), dense.T @ g, 1e-12)
    expected = (gram.lift(u) * gram.lift(v)).sum(axis=0)
    assert_close("Gram: inner product", gram.inner(u, matrix @ u, v), expected, 1e-11)


# ---- solvers

def dense_step(a, g, damping):
    """Return the damped least-squares step by NumPy's SVD of the stacked system [ã; √β I] d = [g; 0]."""
    tilde = stacked(a)
    n = tilde.shape[1]
    system = np.vstack([tilde, np.sqrt(damping) * np.eye(n)])
    return np.linalg.lstsq(system, np.vstack([g, np.zeros((n, g.shape[1]))]), rcond=None)[0]


def damped_objective(a, g, damping, d):
    """Return ½‖ãd − g‖² + β/2 ‖d‖², what the direct solve and conjugate gradients minimise."""
    return ((stacked(a) @ d - g)**2).sum() / 2 + damping * (d**2).sum() / 2


def assert_direct_solve(solve, a, g, damping, rng):
    """The direct solve equals the dense one on either side, minimises its objective, reports its residual."""
    from minilift.layers.gram import Gram
    reference = dense_step(a, g, damping)
    for side in ("sample", "parameter"):
        solution = solve(Gram(a, side=side), g, damping)
        assert_close(f"direct solve ({side})", solution.value, reference, 1e-9)
        assert_residual_is_honest(solution, a, g, damping)
    assert_minimises("direct solve", lambda d: damped_objective(a, g, damping, d), solution.value, rng)


def assert_residual_is_honest(solution, a, g, damping):
    """The residual that is reported is ‖(ãᵀã + βI) d − ãᵀg‖ / ‖ãᵀg‖ of each column, formed densely."""
    tilde = stacked(a)
    b = tilde.T @ g
    misfit = np.linalg.norm((tilde.T @ tilde + damping * np.eye(len(b))) @ solution.value - b, axis=0)
    size = np.linalg.norm(b, axis=0)
    safe = np.where(size > 0, size, 1)
    expected = np.where(size > 0, misfit / safe, 0)
    # both are themselves rounded: the product M d cancels against b
    slack = 1e-14 * len(b) * (1 + norm(tilde)**2 * np.linalg.norm(solution.value, axis=0) / safe)
    assert solution.residual.shape == expected.shape
    assert (abs(solution.residual - expected) <= slack + 1e-6 * expected).all(), (
        f"residual: reported {solution.residual}, in fact {expected}")


def textbook_cg(a, g, damping, steps):
    """Return `steps` of CG on the dense normal equations, each column alone, in 80-bit arithmetic."""
    tilde = stacked(a).astype(np.longdouble)
    m = tilde.T @ tilde + damping * np.eye(tilde.shape[1], dtype=np.longdouble)
    columns = []
    for b in (tilde.T @ g).T:
        d, r = np.zeros_like(b), b.copy()
        p = r.copy()
        for _ in range(steps):
            if not r @ r:
                break
            m_p = m @ p
            alpha = (r @ r) / (p @ m_p)
            d, r_new = d + alpha * p, r - alpha * m_p
            p, r = r_new + (r_new @ r_new) / (r @ r) * p, r_new
        columns.append(d)
    return np.array(columns).T.astype(np.float64)


def assert_conjugate_gradients(solve, a, g, damping):
    """A few steps are those of the textbook on either side; about 2n of them reach the direct solve."""
    from minilift.layers.gram import Gram
    for side in ("sample", "parameter"):
        for steps in (1, 2, 3):
            assert_close(f"{steps} CG steps ({side})", solve(Gram(a, side=side), g, damping, steps).value,
                         textbook_cg(a, g, damping, steps), 1e-8)
        solution = solve(Gram(a, side=side), g, damping, 2 * min(len(a), a.shape[1] + 1) + 2)
        assert_close(f"2n CG steps ({side})", solution.value, dense_step(a, g, damping), 1e-6)
        assert_residual_is_honest(solution, a, g, damping)


# ---- propositions

def preconditioner(a, tau_theta):
    """Return M = I/τ_θ + ãᵀã, dense."""
    tilde = stacked(a)
    return np.eye(tilde.shape[1]) / tau_theta + tilde.T @ tilde


def gradients_of(net, X, y):
    """Return ∇J by BackProp."""
    return ml.BackProp().direction(net, X, y)[1]


def assert_gradients(net, X, y, gradients, rng):
    """The gradients of the loss are those of `net.loss`, by differences in all parameters."""
    def loss(parameters):
        return net.loss_function.value(net.forward(X, theta=[None, *parameters]).z[net.depth], y)
    assert_gradient("∇J", loss, list(net.parameters), gradients, rng)
    # map by map: a small block must not hide behind a large one
    for l, gradient in enumerate(gradients, start=1):
        def loss_of_one(theta, l=l):
            return loss([*net.parameters[:l - 1], theta, *net.parameters[l:]])
        assert_gradient(f"∇J in θ_{l}", loss_of_one, net.parameters[l - 1], gradient, rng)


def assert_proposition_1(net, X, y, tau, theta_new):
    """ProxProp's Algorithm 1 has taken one step of gradient descent on J."""
    state = net.forward(X)
    for l, gradient in enumerate(gradients_of(net, X, y), start=1):
        expected = net.theta[l] - tau * gradient
        # what the half steps round away in z_l and a_{l−1} comes back through ãᵀ
        scale = norm(expected) + tau * norm(gradient) + norm(stacked(state.a[l - 1])) * norm(state.z[l])
        error = norm(theta_new[l] - expected) / scale
        assert error <= 1e-12, f"Proposition 1: θ_{l} is off its gradient step by {error:.2g} relative"


def assert_proposition_2(net, X, y, tau_theta, directions):
    """M d = ∇J on the hidden maps, d = ∇J on the last."""
    state = net.forward(X)
    for l, (d, gradient) in enumerate(zip(directions, gradients_of(net, X, y), strict=True), start=1):
        if l == net.depth:
            assert_close("Proposition 2: the last map's direction", d, gradient, 1e-13)
            continue
        m = preconditioner(state.a[l - 1], tau_theta)
        scale = norm(m) * norm(d) + norm(gradient)
        error = norm(m @ d - gradient) / (scale or 1)
        assert error <= 1e-11, f"Proposition 2: M d differs from ∇J in θ_{l} by {error:.2g} relative"


def assert_proposition_4(d, gradient, m):
    """The angle between d = M⁻¹∇J and ∇J is bounded away from a right one (Kantorovich)."""
    if not norm(gradient):
        assert not norm(d), "Proposition 4: a step where the gradient is zero"
        return
    kappa = np.linalg.cond(m)
    cosine, bound = inner(d, gradient) / (norm(d) * norm(gradient)), 2 * np.sqrt(kappa) / (1 + kappa)
    assert cosine >= bound - 1e-12, (
        f"Proposition 4: the cosine is {cosine:.6g}, below Kantorovich's {bound:.6g}")


def assert_proposition_5(d, gradient, m):
    """K steps of CG descend, in each output unit by no less than ‖∇J‖²/λ_max(M), as a gradient step does."""
    products = (d * gradient).sum(axis=0)
    squares = (gradient * gradient).sum(axis=0)
    least = squares / np.linalg.eigvalsh(m)[-1]
    assert (products >= least * (1 - 1e-10)).all(), (
        f"Proposition 5: ⟨d, ∇J⟩ per output unit is {products}, must be at least {least}")


# ---- oracles

def oracle_network(oracle):
    """Return the oracle's network 20-16-12-8-5, read-only."""
    net = ml.mlp([20, 16, 12, 8, 5], dtype=np.float64)
    prefix = "" if "W1" in oracle else "init/"
    net.theta = [None] + [oracle_theta(oracle, f"{prefix}W{l}", f"{prefix}b{l}") for l in range(1, 5)]
    return frozen(net)


def oracle_theta(oracle, weights, bias):
    """Return W and b stacked."""
    return np.vstack([oracle[weights], oracle[bias][None]])


def assert_oracle(directions, oracle, key, tolerances):
    """The directions of maps 1, 2, … are the oracle's, each to its own relative error."""
    for l, tolerance in enumerate(tolerances, start=1):
        expected = oracle_theta(oracle, f"{key}/dW{l}", f"{key}/db{l}")
        assert_close(f"{key}, map {l}", directions[l - 1], expected, tolerance)


# ---- references written out by hand

def infeasible(case):
    """Return θ, a, z off the forward pass: both penalties are at work."""
    state, rng = case.net.forward(case.X), case.rng
    a = [state.a[0]] + [x + 0.3 * rng.standard_normal(x.shape) for x in state.a[1:]]
    z = [None] + [x + 0.3 * rng.standard_normal(x.shape) for x in state.z[1:]]
    return list(state.theta), a, z


def assert_partial_gradients(energy, case):
    """All partial gradients of an energy are those of its value, at a point that is not a forward pass."""
    theta, a, z = infeasible(case)
    for l in range(1, case.net.depth + 1):
        assert_gradient(f"∂E/∂θ_{l}", lambda u, l=l: energy.value(replaced(theta, l, u), a, z), theta[l],
                        energy.gradient_theta(l, theta, a, z), case.rng)
    for l in range(1, case.net.depth):
        assert_gradient(f"∂E/∂a_{l}", lambda u, l=l: energy.value(theta, replaced(a, l, u), z), a[l],
                        energy.gradient_a(l, theta, a, z), case.rng)
        assert_gradient(f"∂E/∂z_{l}", lambda u, l=l: energy.value(theta, a, replaced(z, l, u)), z[l],
                        energy.gradient_z(l, theta, a, z), case.rng)


def with_half_stepped_input(net, X, y, tau):
    """Return θ of Algorithm 1 with its step (c) taken at a_{l−1}^½: the mistake that (11) warns of."""
    state, half = net.forward(X), algorithm_1(net, X, y, tau)
    energy = PenaltyEnergy(net, y, gamma=1 / tau, rho=1 / tau)
    theta = list(half.theta)
    for l in range(1, net.depth):
        a, z = replaced(state.a, l - 1, half.a[l - 1]), replaced(state.z, l, half.z[l])
        theta[l] = state.theta[l] - tau * energy.gradient_theta(l, state.theta, a, z)
    return theta


def patches_by_loops(phi, a):
    """Return the patch matrix, one patch after the other."""
    k, s, p = phi.kernel, phi.stride, phi.pad
    padded = np.zeros((a.shape[0], a.shape[1] + 2 * p, a.shape[2] + 2 * p, a.shape[3]), a.dtype)
    padded[:, p:p + a.shape[1], p:p + a.shape[2]] = a
    height, width = phi.output_shape(a.shape[1:])[:2]
    return np.array([padded[n, s * y:s * y + k, s * x:s * x + k].ravel()
                     for n in range(len(a)) for y in range(height) for x in range(width)])

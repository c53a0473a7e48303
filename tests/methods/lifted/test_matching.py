"""The matching energy: conjugates, values, gradients without σ′, and three ways to step in a block of activations."""

import numpy as np
import pytest
from laws import assert_close, assert_gradient, norm
from test_three_split import ACTIVATIONS, problem

import minilift as ml
from minilift.local.activation_problem import NEWTON_STEPS, ActivationProblem, resolvent
from minilift.methods.lifted.descend import Variables
from minilift.methods.lifted.matching import MatchingEnergy

TRANSFERS = [ml.Identity(), ml.ReLU(), ml.LeakyReLU(0.2), ml.HardTanh(), ml.Tanh(), ml.Sigmoid()]
each_transfer = pytest.mark.parametrize("f", TRANSFERS, ids=repr)


def random_variables(net, X, rng):
    """Return variables that no forward pass gives, with activations in the range of their transfers."""
    a = [X] + [net.sigma[l].forward(rng.standard_normal((len(X), net.theta[l].shape[1]))) for l in range(1, net.depth)]
    return Variables(list(net.theta), None, a)


def random_problem(seed, f, rng, kappa=0.7):
    """Return a problem in a block of activations; in every third one the units above are coupled."""
    N, n, m = rng.integers(1, 8, 3)
    g = [f, ml.activations.Softmax(), ml.Identity()][seed % 3]
    target = g.forward(rng.standard_normal((N, m)))
    return ActivationProblem(f, 2 * rng.standard_normal((N, n)), rng.standard_normal((n, m)), rng.standard_normal(m), g,
                             target, kappa)


# ---- F, F* and σ

@each_transfer
def test_the_conjugate_belongs_to_the_integral(f, rng):
    z, w = 2 * rng.standard_normal((2, 50, 4))
    a = f.forward(z)
    assert_close("F + F* = ⟨z, σ(z)⟩", f.integral(z) + f.conjugate(a), z * a, 1e-13)
    assert (f.integral(w) + f.conjugate(a) - w * a >= -1e-13).all()
    assert_close("σ(σ⁻¹(a))", f.forward(f.inverse(a)), a, 1e-13)


@each_transfer
@pytest.mark.parametrize("c", [0.0, 0.3, 40.0])
def test_the_resolvent_solves_its_equation(f, c, rng):
    w = (1 + c) * rng.standard_normal((20, 5))
    p = resolvent(f, w, c)
    assert_close("p + c σ(p)", p + c * f.forward(p), w, 1e-13)


def test_softplus_has_no_conjugate_here():
    for name in ("conjugate", "inverse"):
        with pytest.raises(NotImplementedError, match=f"Softplus has no {name}"):
            getattr(ml.Softplus(), name)(np.ones((1, 1)))


# ---- the energy

@each_transfer
def test_a_bracket_is_at_least_half_the_squared_gap(f, rng):
    """For σ = prox_Ψ: B_Ψ(a, z) ≥ ½‖a − σ(z)‖² ≥ 0, and 0 on a forward pass alone."""
    # holds Matching energy
    for seed in range(20):
        net, X, y = problem(seed, [f if isinstance(f, str) else "relu"])
        net = ml.Network([layer for l in range(1, net.depth) for layer in (net.phi[l], f)] + [net.phi[net.depth]],
                         loss=net.loss_function, dtype=np.float64)
        energy, v = MatchingEnergy(net, y), random_variables(net, X, rng)
        for l in range(1, net.depth):
            gap = norm(v.a[l] - f.forward(energy.phi(l, v)))
            assert energy.matching(l, v) >= gap**2 / 2 - 1e-12 * (1 + gap**2)
        at_rest = ml.LPOM().start(net, net.propagate(X))
        assert abs(energy.terms(at_rest)["matching"]) <= 1e-12 * (1 + sum(norm(z)**2 for z in net.propagate(X).z[1:]))
        assert energy.terms(at_rest)["loss"] == pytest.approx(net.loss(X, y) / net.loss_function.weight(len(X)))


def test_beyond_the_range_of_the_transfer_the_energy_is_infinite():
    net, X, y = problem(0, ["relu"])
    energy, v = MatchingEnergy(net, y), ml.LPOM().start(net, net.propagate(X))
    for far in (1, 1e-6):
        assert energy.value(v.replaced("a", 1, v.a[1] - far)) == np.inf


def test_each_partial_gradient_is_that_of_the_value(rng):
    """Also where the loss's weights and weight decay take part; a ReLU's activations are kept off their kink."""
    # holds Matching energy, Matching gradient
    for seed in range(18):
        net, X, y = problem(seed, ["tanh", "sigmoid", "relu", "leaky_relu", "hard_tanh"])
        energy = MatchingEnergy(net, y, mu=tuple(rng.uniform(0.5, 2, net.depth - 1)), decay=0.3)
        v = random_variables(net, X, rng)
        if seed % 5 == 2:
            v = v._replace(a=[X, *(a + 0.1 for a in v.a[1:])])
        if seed % 5 == 4:
            v = v._replace(a=[X, *(0.9 * a for a in v.a[1:])])
        blocks = [("theta", l) for l in range(1, net.depth + 1)] + [("a", l) for l in range(1, net.depth)]
        for block, l in blocks:
            assert_gradient(f"∂E/∂{block}_{l}", lambda x: energy.value(v.replaced(block, l, x)),  # noqa: B023
                            getattr(v, block)[l], energy.gradient(block, l, v), rng, 1e-6)


def test_no_gradient_of_what_is_no_block(rng):
    net, X, y = problem(0)
    for block in ("z", "multiplier", "nonsense"):
        with pytest.raises(ValueError, match=f"MatchingEnergy: block: unknown name '{block}'"):
            MatchingEnergy(net, y).gradient(block, 1, random_variables(net, X, rng))


class NoSlope(ml.ReLU):
    """A ReLU that must not be differentiated."""

    def derivative(self, z):
        """Raise."""
        raise AssertionError("σ′ was asked for")

    def adjoint(self, z, a, aux, g):
        """Raise."""
        raise AssertionError("σ′ was asked for")


def test_no_gradient_and_no_step_in_a_needs_the_derivative_of_a_transfer(rng):
    # holds Matching gradient
    net = ml.Network([ml.Linear(4, 5), NoSlope(), ml.Linear(5, 6), NoSlope(), ml.Linear(6, 3)], dtype=np.float64)
    X, y = rng.standard_normal((7, 4)), np.arange(7) % 3
    energy, v = MatchingEnergy(net, y), random_variables(net, X, rng)
    for l in (1, 2):
        assert norm(energy.gradient("theta", l, v)) > 0
        assert norm(energy.gradient("a", l, v)) > 0
        energy.fixed_point(l, v, 3)
        energy.proximal_gradient(l, v, 3)
    with pytest.raises(AssertionError, match="σ′ was asked for"):
        ml.BackProp().direction(net, X, y)


# ---- a block of activations

@each_transfer
@pytest.mark.parametrize("kappa", [0.05, 1.0, 300.0])
def test_newtons_method_finds_the_minimiser(f, kappa, rng):
    """It is where a = σ(q(a)), which no other point near it undercuts."""
    for seed in range(15):
        block = random_problem(seed, f, rng, kappa)
        a = block.newton()
        q = block.wanted(a)
        assert norm(a - f.forward(q)) <= 1e-10 * (1 + norm(q))
        lowest = block.value(block.at(q))
        for _ in range(5):
            nearby = block.at(q + 1e-3 * rng.standard_normal(q.shape))
            assert (block.value(nearby) >= lowest - 1e-11 * (1 + abs(lowest))).all()


def test_newtons_method_takes_few_steps_on_a_stiff_problem(monkeypatch, rng):
    """Large weights below a softmax: the full step overshoots, halved ones do not."""
    monkeypatch.setattr("minilift.local.activation_problem.NEWTON_STEPS", 50)
    for _ in range(5):
        W = 8 * rng.standard_normal((30, 10))
        block = ActivationProblem(ml.ReLU(), rng.standard_normal((20, 30)), W, np.zeros(10), ml.activations.Softmax(),
                                  np.eye(10)[rng.integers(0, 10, 20)], 0.5)
        block.newton()
    assert NEWTON_STEPS == 100


def test_newtons_method_says_when_it_fails(rng):
    block = random_problem(0, ml.ReLU(), rng)._replace(phi=np.full((2, 3), np.nan))
    with pytest.raises(ArithmeticError, match="ActivationProblem: Newton's method did not converge in 100 steps"):
        block._replace(W=np.ones((3, 2)), b=np.zeros(2), target=np.zeros((2, 2))).newton()


@each_transfer
def test_fixed_point_and_proximal_gradient_never_raise_the_objective(f, rng):
    """Whether or not the iteration contracts; and both come to Newton's minimiser."""
    # holds LPOM a, Bregman a
    for seed in range(8):
        block = random_problem(seed, f, rng, kappa=0.02 if seed % 2 else 3.0)
        best = block.newton()
        for step in (block.fixed_point, block.proximal_gradient):
            z = block.phi
            a = f.forward(z)
            value = energy_of(block, a)
            for _ in range(5):
                a = step(a, 1)
                before, value = value, energy_of(block, a)
                assert (value <= before + 1e-11 * (1 + abs(before))).all()
            if block.contraction() < 1:
                assert_close("a", step(a, 100), best, 1e-9)


def energy_of(block, a):
    """Return the objective of each sample, from F* itself."""
    u = a @ block.W + block.b
    above = block.g.integral(u)
    above = (above.sum(axis=-1) if block.g.elementwise else above) - (block.target * u).sum(axis=-1)
    return block.kappa * above + (block.f.conjugate(a) - a * block.phi).sum(axis=-1)


def test_a_proximal_gradient_step_of_length_one_is_a_fixed_point_step(monkeypatch, rng):
    for f in TRANSFERS:
        block = random_problem(0, f, rng, 0.01)
        a = f.forward(rng.standard_normal(block.phi.shape))
        monkeypatch.setattr(ActivationProblem, "contraction", lambda self: 0.0)
        assert_close("a", block.proximal_gradient(a, 1), block.fixed_point(a, 1), 1e-13)


def check_descent(method, anchored, seeds=range(100), sweeps=1):
    """No block raises E plus the anchor α/2 ‖θ − θ⁰‖²; a block of parameters is its argmin.

    `anchored` gives α and θ⁰ of map l, from the network and the variables before the block.
    """
    for seed in seeds:
        net, X, y = problem(seed)
        energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
        for block, l, update in list(method.schedule(energy)) * sweeps:
            new, prox = v.replaced(block, l, update(l, v)), [0.0, 0.0]
            if block == "theta":
                alpha, around = anchored(net, v, l)
                prox = [alpha / 2 * norm(w.theta[l] - around) ** 2 for w in (v, new)]
                gradient = energy.gradient("theta", l, new) + alpha * (new.theta[l] - around)
                before = energy.gradient("theta", l, v) + alpha * (v.theta[l] - around)
                assert norm(gradient) <= 1e-10 * (1 + norm(before)), (seed, l)
            rise = energy.value(new) + prox[1] - energy.value(v) - prox[0]
            assert rise <= 1e-12 * (1 + abs(energy.value(v)) + prox[0]), (seed, block, l)
            v = new


@pytest.mark.parametrize(("arguments", "message"), [
    ({"mu": 0}, "MatchingEnergy: mu must be positive and finite, got 0"),
    ({"mu": (1.0, -1.0)}, r"MatchingEnergy: mu\[1\] must be positive and finite, got -1"),
    ({"mu": (1.0,) * 9}, "MatchingEnergy: mu must be a list of . numbers, got 9"),
    ({"decay": -1}, "MatchingEnergy: decay must be at least 0"),
])
def test_wrong_arguments_are_named(arguments, message):
    net, _, y = problem(1)
    with pytest.raises(ValueError, match=message):
        MatchingEnergy(net, y, **arguments)


def test_all_activations_of_the_other_energies_serve_here():
    assert {type(f).__name__ for f in TRANSFERS} >= {type(ml.activations.ACTIVATIONS[name]()).__name__
                                                     for name in ACTIVATIONS}


@pytest.mark.parametrize("method", [ml.LPOM(mu=[1.0, 2.0]), ml.LiftedBregman(mu=[1.0, 2.0])])
def test_a_wrong_number_of_weights_is_the_methods_own(method):
    with pytest.raises(ValueError, match=f"{type(method).__name__}: mu must be .* got 2"):
        method.direction(ml.mlp([4, 3, 2]), np.ones((5, 4)), np.arange(5) % 2)

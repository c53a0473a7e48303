"""The three-split energy, and the two methods that solve its blocks in closed form: BCD and ADMM without gradients."""

import numpy as np
import pytest
from laws import assert_close, assert_gradient, norm
from transfers import Swish

import minilift as ml
from minilift.methods.lifted.descend import Variables, descend
from minilift.methods.lifted.three_split import ThreeSplit

LOSSES = [ml.SquaredError(), ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy("sum")]
ACTIVATIONS = ["relu", "leaky_relu", "hard_tanh", "tanh", "sigmoid"]


def problem(seed, activations=ACTIVATIONS):
    """Return a random network with a batch, of any depth, width and loss."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 7, rng.integers(3, 6))
    loss, samples = LOSSES[seed % 3], int(rng.integers(1, 12))
    net = ml.mlp([int(n) for n in widths], activations[seed % len(activations)], loss=loss, seed=seed,
                 dtype=np.float64)
    for theta in net.theta[1:]:
        theta *= 2
    X = rng.standard_normal((samples, widths[0]))
    if loss.classification:
        return net, X, rng.integers(0, widths[-1], samples)
    return net, X, rng.random((samples, widths[-1]))


def network_and_batch():
    """Return a network of three maps with a batch."""
    rng = np.random.default_rng(0)
    net = ml.mlp([4, 6, 5, 3], "relu", loss=ml.SquaredError(), seed=0, dtype=np.float64)
    return net, rng.standard_normal((9, 4)), rng.random((9, 3))


def random_variables(net, samples, rng, split_output):
    """Return variables that no forward pass gives."""
    widths = [net.theta[l].shape[1] for l in range(1, net.depth + 1)]
    z = [None] + [rng.standard_normal((samples, n)) for n in widths]
    a = [rng.standard_normal((samples, net.theta[1].shape[0] - 1))]
    a += [rng.standard_normal((samples, n)) for n in (widths if split_output else widths[:-1])]
    return Variables(list(net.theta), z, a, rng.standard_normal(z[-1].shape))


# ---- the energy

@pytest.mark.parametrize("form", [{}, {"split_output": False, "multiplier": "output"},
                                  {"split_output": False, "multiplier": "gap"}], ids=str)
def test_each_partial_gradient_is_that_of_the_value(form, rng):
    for seed in range(8):
        net, X, y = problem(seed, ["tanh", "sigmoid", "softplus"])
        energy = ThreeSplit(net, y, gamma=0.7, rho=1.3, **form)
        v = random_variables(net, len(X), rng, energy.split_output)
        blocks = [("theta", l) for l in range(1, net.depth + 1)] + [("z", l) for l in range(1, net.depth + 1)]
        for block, l in blocks + [("a", l) for l in range(1, len(v.a))]:
            assert_gradient(f"∂E/∂{block}_{l}", lambda x: energy.value(v.replaced(block, l, x)),  # noqa: B023
                            getattr(v, block)[l], energy.gradient(block, l, v), rng)
        if energy.multiplier:
            assert_gradient("∂E/∂u", lambda u: energy.value(v.replaced("multiplier", None, u)),  # noqa: B023
                            v.multiplier, energy.gradient("multiplier", None, v), rng)


def test_no_gradient_of_what_is_no_block(rng):
    net, X, y = problem(0)
    v = random_variables(net, len(X), rng, True)
    for energy, block in ((ThreeSplit(net, y), "nonsense"), (ThreeSplit(net, y), "multiplier"),
                          (ThreeSplit(net, y, multiplier="gap"), "u")):
        with pytest.raises(ValueError, match=f"ThreeSplit: block: unknown name '{block}'"):
            energy.gradient(block, 1, v)


def test_on_a_forward_pass_the_energy_is_the_summed_loss():
    for seed in range(6):
        net, X, y = problem(seed)
        energy, state = ml.BCD().energy(net, X, y), net.propagate(X)
        terms = energy.terms(ml.BCD().start(net, state))
        assert terms["loss"] == pytest.approx(net.loss(X, y) / net.loss_function.weight(len(X)), rel=1e-13)
        assert terms["activations"] == terms["maps"] == terms["output"] == 0


@pytest.mark.parametrize("method", [ml.BCD(0.7, 1.3, 0.4), ml.ADMM(0.7, 2.0, alpha=0.4)], ids=repr)
def test_each_block_is_the_argmin_of_the_energy_with_its_prox_term(method):
    """100 problems: no block raises E + α/2 ‖v − v_old‖², and where E is smooth in it the gradient vanishes."""
    for seed in range(100):
        net, X, y = problem(seed)
        energy = method.energy(net, X, y)
        v = method.start(net, net.propagate(X))
        for block, l, update in [step for _ in range(3) for step in method.schedule(energy)]:
            new = v.replaced(block, l, update(l, v))
            if block != "multiplier":
                check_block(method, energy, block, l, v, new)
            v = new


def check_block(method, energy, block, l, v, new):
    before, after = getattr(v, block)[l], getattr(new, block)[l]
    D = energy.net.depth
    anchored = block == "theta" or (isinstance(method, ml.BCD) and (block, l) != ("z", D)
                                    and not (block == "a" and l < D))
    alpha = method.alpha if anchored else 0.0
    scale = 1 + sum(map(abs, energy.terms(v).values()))
    assert energy.value(new) + alpha / 2 * norm(after - before) ** 2 <= energy.value(v) + 1e-12 * scale, (block, l)
    if block == "z" and l < D:  # not smooth: tests/local/test_fits.py holds it against a grid
        return
    gradient = energy.gradient(block, l, new) + alpha * (after - before)
    assert norm(gradient) <= 1e-10 * (1 + norm(energy.gradient(block, l, v))), (block, l)


@pytest.mark.parametrize("form", [{}, {"multiplier": "output"}, {"multiplier": "gap"}, {"split_output": False},
                                  {"split_output": False, "multiplier": "output"},
                                  {"split_output": False, "multiplier": "gap"}], ids=str)
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_any_block_of_any_form_takes_a_prox_term(form, alpha, rng):
    for seed in range(8):
        net, X, y = problem(seed, ["tanh", "sigmoid", "softplus"])
        energy = ThreeSplit(net, y, gamma=0.7, rho=1.3, **form)
        v = random_variables(net, len(X), rng, energy.split_output)
        best = {"theta": energy.best_theta, "z": energy.best_z, "a": energy.best_a}
        for block, l in [(name, l) for name in best for l in range(1, len(getattr(v, name)))]:
            old, new = getattr(v, block)[l], best[block](l, v, alpha)
            gradient = energy.gradient(block, l, v.replaced(block, l, new)) + alpha * (new - old)
            assert norm(gradient) <= 1e-7 * (1 + norm(energy.gradient(block, l, v))), (block, l)


@pytest.mark.parametrize(("bias", "memory", "products"), [("joint", "kept", [2, 4, 4]), ("jacobi", "kept", [2, 4, 4]),
                                                           ("joint", "forward", [2, 2, 2])])
def test_no_value_of_a_map_is_made_twice(bias, memory, products, monkeypatch):
    """In a sweep over D = 3 maps the a_l of 2 take one product each; kept variables φ_2 and φ_3 too, for z and θ."""
    net, X, y = network_and_batch()
    method, made, count = ml.BCD(bias=bias, variables=memory), [], []
    with monkeypatch.context() as patch:
        patch.setattr(ml.Linear, "forward", lambda phi, theta, a: made.append(phi) or a @ theta[:-1] + theta[-1])
        for _ in products:
            state = net.propagate(X)
            made.clear()
            for theta, step in zip(net.parameters, method.directions(net, state, y)):
                theta -= step
            count.append(len(made))
    assert count == products
    assert method.last_energy.known == ()


@pytest.mark.parametrize("method", [ml.BCD(), ml.BCD(bias="jacobi"), ml.ADMM(), ml.DLADMM(1.0)], ids=repr)
def test_shared_values_are_those_made_anew(method):
    net, X, y = network_and_batch()
    steps = method.direction(net, X, y)[1]
    energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
    v = descend(v, method.schedule(energy))  # outside of a sweep nothing is shared
    for l, step in enumerate(steps, start=1):
        assert_close(f"θ_{l}", net.theta[l] - step, v.theta[l], 1e-13)


# ---- the authors' numbers

def authors_network(widths, oracle, key, loss):
    net = ml.mlp(widths, "relu", loss=loss, dtype=np.float64)
    for l in range(1, net.depth + 1):
        bias = oracle.get(f"{key}/b{l}", np.zeros(widths[l]))
        net.theta[l][...] = np.vstack([oracle[f"{key}/W{l}"], bias])
    return net


def take_step(net, method, X, y):
    for theta, step in zip(net.parameters, method.direction(net, X, y)[1]):
        theta -= step


@pytest.mark.parametrize("setting", ["gamma1_rho1_alpha5", "gamma1_rho1_alpha1", "gamma1_rho1_alpha0.05",
                                     "gamma0.5_rho2_alpha0.3"])
@pytest.mark.parametrize("widths", [(6, 7, 5, 3), (6, 7, 5, 4, 3)], ids=str)
@pytest.mark.parametrize(("bias", "mode"), [("jacobi", "official"), ("joint", "own_joint")])
def test_bcd_is_the_authors_program(oracle, widths, setting, bias, mode):
    # holds Lifted θ, Lifted a, Lifted z, Lifted output, BCD jacobi, dlADMM b
    numbers, at = oracle("family/bcd"), f"{'-'.join(map(str, widths))}/init0.5"
    net = authors_network(widths, numbers, f"{at}/start", ml.SquaredError())
    method = ml.BCD(*(float(numbers[f"{at}/{setting}/{name}"]) for name in ("gamma", "rho", "alpha")), bias=bias)
    for sweep in range(1, 6):
        take_step(net, method, numbers[f"{at}/X"], numbers[f"{at}/Y"])
        assert method.measure()["energy"] == pytest.approx(numbers[f"{at}/{setting}/{mode}/energy"][sweep], rel=1e-11)
        if sweep in (1, 5):
            key = f"{at}/{setting}/{mode}/sweep{sweep}"
            for l in range(1, net.depth + 1):
                assert_close(f"θ_{l}", net.theta[l], np.vstack([numbers[f"{key}/W{l}"], numbers[f"{key}/b{l}"]]), 1e-11)
                assert_close(f"z_{l}", method.variables.z[l], numbers[f"{key}/U{l}"], 1e-11)
                assert_close(f"a_{l}", method.variables.a[l], numbers[f"{key}/V{l}"], 1e-11)


class Abs(ml.Activation):
    """|z|, which falls too, but whose pieces are tried one after the other."""

    pieces = ((-np.inf, 0.0, -1.0, 0.0), (0.0, np.inf, 1.0, 0.0))

    def forward(self, z):
        return abs(z)

    def derivative(self, z):
        return np.sign(z)


@pytest.mark.parametrize("method", [ml.BCD(), ml.ADMM(), ml.DLADMM()], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_smooth_transfer_that_falls_is_refused_since_its_fit_may_miss_the_minimum(method, dtype, rng):
    X, y = rng.standard_normal((9, 3)).astype(dtype), np.arange(9) % 2

    def direction(sigma):
        method.reset()
        return method.direction(ml.Network([ml.Linear(3, 4), sigma, ml.Linear(4, 2)], dtype=dtype), X, y)
    with pytest.raises(ValueError, match=f"{type(method).__name__}: expects increasing transfers.*map 1 stands S"):
        direction(Swish())
    for sigma in (Abs(), *(cls() for cls in ml.activations.ACTIVATIONS.values())):
        direction(sigma)
    method.reset()


class Hinge(ml.Loss):
    """The loss of Taylor et al.: max(0, 1 − z) where y is 1, max(0, z) where it is 0."""

    transfer = ml.Identity()

    def value_per_sample(self, z, y):
        return np.where(y == 1, np.maximum(0, 1 - z), np.maximum(0, z)).sum(axis=-1)

    def prox(self, v, y, tau):
        """Shrink towards the kink, at 1 or at 0."""
        kink = np.where(y == 1, 1.0, 0.0)
        towards = np.where(y == 1, np.minimum(v + tau, kink), np.maximum(v - tau, kink))
        satisfied = np.where(y == 1, v >= 1, v <= 0)
        return np.where(satisfied, v, towards)


def test_admm_rests_on_any_network_whose_multiplier_is_the_slope_of_the_loss():
    """With u = −∇L on the forward pass of a network that nobody has trained: nothing moves."""
    net, X, y = network_and_batch()
    method = ml.ADMM(0.5, 2.0)
    start = method.start(net, net.propagate(X))
    slope = method.energy(net, X, y).loss_gradient(start.z[net.depth])
    method.variables = start._replace(multiplier=-slope)
    for step in method.direction(net, X, y)[1]:
        assert norm(step) < 1e-12
    assert norm(slope) > 1


@pytest.mark.parametrize("setting", ["beta1_gamma10", "beta0.5_gamma2"])
def test_admm_is_the_published_program_with_its_output_solved_exactly(oracle, setting):
    # holds ADMM u
    numbers, at = oracle("family/admm"), f"6-7-5-3/{setting}"
    net = authors_network((6, 7, 5, 3), numbers, f"{at}/start", Hinge("sum"))
    beta, gamma = map(float, setting.replace("beta", "").split("_gamma"))
    method, start = ml.ADMM(beta, gamma, bias="fixed"), f"{at}/start"
    method.variables = Variables([], [None, *(numbers[f"{start}/z{l}"] for l in (1, 2, 3))],
                                 [None, *(numbers[f"{start}/a{l}"] for l in (1, 2))], numbers[f"{start}/lambda"])
    run = f"{at}/train5/own_exact_output"
    for sweep in range(1, 6):
        take_step(net, method, numbers[f"{at}/X"], numbers[f"{at}/Y"])
        hinge, multiplier, output, activations, maps = numbers[f"{run}/lagrangian_terms"][sweep]
        terms = method.last_energy.terms(method.variables)
        expected = {"loss": hinge, "multiplier": multiplier, "activations": activations, "maps": maps + output}
        assert terms == pytest.approx(expected, rel=1e-11)
        if sweep in (1, 5):
            for l in (1, 2, 3):
                assert_close(f"W_{l}", net.theta[l][:-1], numbers[f"{run}/sweep{sweep}/W{l}"], 1e-12)
                assert_close(f"z_{l}", method.variables.z[l], numbers[f"{run}/sweep{sweep}/z{l}"], 1e-12)
            assert_close("u", method.variables.multiplier, numbers[f"{run}/sweep{sweep}/lambda"], 1e-12)


@pytest.mark.parametrize("beta", [0.5, 1])
def test_the_published_output_step_is_never_better(oracle, beta):
    """It takes a stationary point of one smooth piece and never the kink: worse in a third of these cases."""
    numbers, key = oracle("family/admm"), f"zL_update/beta{beta}"
    y, u, phi = (numbers[f"{key}/{name}"] for name in ("y", "lambda", "m"))
    z = Hinge("sum").prox(phi - u / (2 * beta), y, 1 / (2 * beta))
    cost = (np.where(y == 1, np.maximum(0, 1 - z), np.maximum(0, z)) + u * z + beta * (z - phi) ** 2)
    assert cost == pytest.approx(numbers[f"{key}/cost_exact"], rel=1e-12, abs=1e-12)
    assert (cost <= numbers[f"{key}/cost_official"] + 1e-12).all()
    assert (cost < numbers[f"{key}/cost_official"] - 1e-6).mean() > 0.1


def test_the_jacobi_bias_is_no_block_step_but_does_not_raise_the_energy():
    """Neither W for the old b nor b for the old W is the argmin of both; the pair still lowers E + prox."""
    missed = 0
    for seed in range(50):
        net, X, y = problem(seed)
        method = ml.BCD(alpha=0.3, bias="jacobi")
        energy, v = method.energy(net, X, y), method.start(net, net.propagate(X))
        v = descend(v, list(method.schedule(energy))[:2])  # only now do the maps' gaps not vanish
        l = net.depth
        new = v.replaced("theta", l, method.jacobi(energy, l, v))
        prox = 0.15 * norm(new.theta[l] - v.theta[l]) ** 2
        assert energy.value(new) + prox <= energy.value(v) * (1 + 1e-12)
        gradient = energy.gradient("theta", l, new) + 0.3 * (new.theta[l] - v.theta[l])
        missed += norm(gradient) > 1e-3 * norm(energy.gradient("theta", l, v))
    assert missed > 40


# ---- identities

def test_the_step_in_theta_is_proxprops_with_another_target():
    """ProxProp (11) with z^½ = U: for U = z − τ g it is ProxProp's step, with τ_θ = ρ/α."""
    net, X, y = problem(4, ["tanh"])
    state, tau, rho, alpha = net.propagate(X), 0.01, 2.0, 0.5
    blocks = {}
    list(ml.methods.sweep(net, state, y, lambda block: blocks.setdefault(block.l, block).theta))
    steps = ml.ProxProp(rho / alpha, last="implicit").direction(net, X, y)[1]
    energy, v = ThreeSplit(net, y, rho=rho), ml.BCD().start(net, state)
    for l, block in blocks.items():
        half = v.replaced("z", l, block.z - tau * block.g)
        assert_close(f"θ_{l}", v.theta[l] - energy.best_theta(l, half, alpha), tau * steps[l - 1], 1e-8)

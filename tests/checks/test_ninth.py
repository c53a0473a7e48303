"""Where `verify` erred: right things that it refused, mistakes that it missed, reasons that led elsewhere."""

import numpy as np
import pytest

import minilift as ml


def reasons(report):
    return " / ".join(check.reason for check in report.failures)


def soft(v, t):
    return np.sign(v) * np.maximum(abs(v) - t, 0)


# ---- pieces that do not quite join


class Softplus(ml.Activation):
    """Linear beyond a threshold of βz, where e⁻ᵝᶻ is left out."""

    def __init__(self, threshold=20, beta=1.0):
        self.threshold, self.beta = threshold, beta

    def forward(self, z):
        beta = z.dtype.type(self.beta)
        return np.where(beta * z > self.threshold, z, np.log1p(np.exp(beta * z)) / beta)

    def derivative(self, z):
        return 1 / (1 + np.exp(-z.dtype.type(self.beta) * z))


class Joined(Softplus):
    """Its slope is right on either side of the threshold."""

    def derivative(self, z):
        return np.where(z > self.threshold, z.dtype.type(1), super().derivative(z))


@pytest.mark.parametrize("seed", [0, 2, 3])
@pytest.mark.parametrize("beta", [1.0, 2.0, 10.0])
def test_a_softplus_that_is_linear_from_20_on_holds(beta, seed):
    assert ml.verify(Softplus(beta=beta), seed=seed).passed


@pytest.mark.parametrize("thing", [Softplus(5), Softplus(10), Softplus(15)])
def test_one_that_is_linear_too_early_does_not(thing):
    assert not ml.verify(thing).passed


def test_a_jump_between_right_slopes_is_found():
    assert "σ jumps" in reasons(ml.verify(Joined(5)))


# ---- images of odd and even numbers of rows


class OddRows(ml.Conv2d):
    def adjoint_input(self, theta, g):
        da = super().adjoint_input(theta, g)
        return da[:, ::-1] if da.shape[1] % 2 else da


def test_images_have_odd_numbers_of_rows_too():
    assert "adjoint in a" in [check.claim for check in ml.verify(OddRows(2, 3, 3)).failures]
    assert "of another size alone" in reasons(ml.verify(OddRows(2, 3, 3)))


@pytest.mark.parametrize("phi", [ml.Conv2d(1, 2, 2, stride=2, padding=1), ml.Conv2d(1, 1, 3, stride=2),
                                 ml.Conv2d(2, 1, 1, padding="valid"), ml.Conv2d(1, 2, 3, image_size=(5, 4))])
def test_convolutions_hold_on_images_of_both_sizes(phi):
    assert ml.verify(phi).passed


# ---- running statistics


class Commits(ml.BackProp):
    def direction(self, net, X, y, rng=None, commit=False):
        return super().direction(net, X, y, rng, True)


class Never(ml.BackProp):
    def direction(self, net, X, y, rng=None, commit=False):
        return super().direction(net, X, y, rng, False)


class Twice(ml.BackProp):
    def direction(self, net, X, y, rng=None, commit=False):
        super().direction(net, X, y, rng, commit)
        return super().direction(net, X, y, rng, commit)


class Evaluates(ml.BackProp):
    def direction(self, net, X, y, rng=None, commit=False):
        return net.loss(X, y), super().direction(net, X, y, rng, commit)[1]


class Bare(ml.BackProp):
    """It takes no `commit`, and promises nothing."""

    def direction(self, net, X, y, rng=None):
        return super().direction(net, X, y, rng)


@pytest.mark.parametrize(("method", "said"), [
    (Commits(), "not told to commit"), (Never(), "leaves the running statistics"), (Twice(), "by its batch, once"),
    (Evaluates(), "J is that of the running statistics")])
def test_direction_moves_running_statistics_where_it_is_told(method, said):
    assert said in reasons(ml.verify(method, like=ml.BackProp()))


@pytest.mark.parametrize("method", [ml.BackProp(), ml.ProxProp(0.5), ml.FOOF(1.0), ml.LocoProp("S"), Bare()])
def test_direction_of_right_methods_does(method):
    like = ml.BackProp() if isinstance(method, Bare) else None
    report = ml.verify(method, like=like)
    assert report.passed, reasons(report)
    assert any(check.passed and check.claim.startswith("running statistics") for check in report.checks)


def test_the_networks_statistics_stay():
    norm = ml.BatchNorm(4)
    net = ml.Network([ml.Linear(3, 4), norm, ml.Tanh(), ml.Linear(4, 2)], loss=ml.SquaredError())
    before = net.state_dict()
    assert ml.verify(ml.BackProp(), net, like=ml.BackProp()).passed
    assert not ml.verify(Commits(), net, like=ml.BackProp()).passed
    assert all(np.array_equal(value, before[name]) for name, value in net.state_dict().items())


# ---- references


def solved(factor=1.0, damping=5.0):
    def step(block):
        A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
        matrix = A.T @ A + A.dtype.type(damping) * np.eye(A.shape[1], dtype=A.dtype)
        return A.dtype.type(factor) * np.linalg.solve(matrix, A.T @ block.g)
    return step


@pytest.mark.parametrize("like", [solved(), ml.ProxProp(0.2, last="implicit")])
def test_a_constant_multiple_is_no_other_damping(like):
    net = ml.mlp([3, 1], loss=ml.SquaredError())
    X, y = np.random.default_rng(0).standard_normal((1, 3)), np.ones((1, 1))  # of one row any damping is a factor
    for given in ({}, {"net": net, "X": X, "y": y}):
        said = reasons(ml.verify(solved(1.7), like=like, **given))
        assert "constant factor 1.7" in said
        assert "damping is" not in said


class Scaled(ml.Method):
    def __init__(self, damping, factor=1.0):
        self.damping, self.factor = damping, factor

    def propose(self, block):
        return solved(self.factor)(block)


def test_numbers_that_differ_and_are_not_the_factor_are_not_named():
    said = reasons(ml.verify(Scaled(0.3, 1.7), like=Scaled(0.5)))
    assert "constant factor 1.7" in said
    assert "damping is" not in said


def test_a_reference_that_is_no_number_is_to_blame():
    def nothing(block):
        return block.phi.adjoint_theta(block.a, block.g) * np.nan

    assert "the reference returns NaN" in reasons(ml.verify(ml.Equal(lambda a: np.log(abs(a)), lambda a: np.log(a))))
    assert "the reference, FunctionMethod(nothing), returns NaN" in reasons(ml.verify(ml.BackProp(), like=nothing))


# ---- reasons


class Keeping:
    """What is kept for each map, and told in checkpoints."""

    kept: dict

    def reset(self):
        self.kept = {}

    def state_dict(self):
        return {str(l): value for l, value in self.kept.items()}

    def load_state_dict(self, values):
        self.kept = {int(l): np.array(value) for l, value in values.items()}


class Average(Keeping, ml.Method):
    def __init__(self, rate=0.9, share=1.0):
        self.rate, self.share, self.kept = rate, share, {}

    def propose(self, block):
        g = block.phi.adjoint_theta(block.a, block.g)
        rate = g.dtype.type(self.rate)
        self.kept[block.l] = rate * self.kept.get(block.l, g * g.dtype.type(self.share)) + (1 - rate) * g
        return self.kept[block.l].copy()


def averaged(a, start, rate=0.9):
    for row in a:
        start = rate * start + (1 - rate) * row
    return start


def test_an_average_that_starts_otherwise():
    assert ml.verify(Average(), like=Average()).passed
    assert "its first step is off by the factor 0.1, the third is not" in reasons(
        ml.verify(Average(share=0.0), like=Average()))
    said = reasons(ml.verify(ml.Equal(lambda a: averaged(a, 0 * a[0]), lambda a: averaged(a, a[0]))))
    assert "the first row of a alone: on where it starts" in said


class Distance(ml.Loss):
    def value_per_sample(self, z, y):
        return abs(z - y).sum(axis=-1)

    def gradient(self, z, y):
        return np.sign(z - y) * z.dtype.type(self.weight(len(z)))

    def prox(self, v, y, tau):
        return y + soft(v - y, v.dtype.type(tau * self.weight(len(v))))


class TowardsZero(Distance):
    def prox(self, v, y, tau):
        return soft(v, v.dtype.type(tau * self.weight(len(v))))


def test_a_prox_that_shrinks_towards_zero_is_no_step():
    def energy(z, v, y, lam):
        return lam * abs(z - y).sum() + ((z - v) ** 2).sum() / 2

    assert ml.verify(Distance()).passed
    assert ml.verify(ml.Argmin(energy, lambda v, y, lam: y + soft(v - y, lam), "z")).passed
    for wrong in (TowardsZero(), ml.Argmin(energy, lambda v, lam: soft(v, lam), "z")):
        said = reasons(ml.verify(wrong))
        assert "it shrinks towards 0, not y" in said
        assert "the step from" not in said


# ---- what other lists of mistakes, and of right things, showed


class Steep(ml.Activation):
    def forward(self, z):
        return np.tanh(30 * z)

    def derivative(self, z):
        return 30 * (1 - np.tanh(30 * z) ** 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_steep_tanh_that_is_saturated_holds_in_float32(seed):
    assert ml.verify(Steep(), seed=seed).passed


class Momentum(Keeping, ml.BackProp):
    def __init__(self, rate=0.9):
        self.rate, self.kept = rate, {}

    def propose(self, block):
        g = super().propose(block)
        self.kept[block.l] = g + g.dtype.type(self.rate) * self.kept.get(block.l, 0 * g)
        return self.kept[block.l].copy()


def test_a_subclass_that_keeps_something_is_run_beside():
    assert ml.verify(Momentum(), like=Momentum()).passed
    assert "batch 2 in a row" in reasons(ml.verify(Momentum(0.8), like=Momentum()))
    assert "batch 2 in a row" in reasons(ml.verify(Momentum(), like=ml.BackProp()))


def test_a_number_times_the_rows_of_one_of_several_arrays():
    def energy(theta, a, z, lam):
        return ((a @ theta[:-1] + theta[-1] - z) ** 2).sum() / 2 + lam * (theta**2).sum() / 2

    def solve(a, z, lam):
        A = np.hstack([a, np.ones_like(a[:, :1])])
        return np.linalg.solve(A.T @ A + lam * len(a) * np.eye(A.shape[1]), A.T @ z)

    assert "lam·N stands where lam should" in reasons(ml.verify(ml.Argmin(energy, solve, "theta")))


def test_a_variance_over_one_less():
    said = reasons(ml.verify(ml.Equal(lambda a: a.var(axis=0) * len(a) / max(len(a) - 1, 1), lambda a: a.var(axis=0))))
    assert "N/(N − 1), N the number of rows of a" in said

"""`ml.verify`: what it accepts, what it reports, that the package passes it, and that its references are right."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest
from test_losses import LOSSES
from test_maps import MAPS
from test_methods import METHODS
from test_networks import NETWORKS
from test_transfers import TRANSFERS
from transfers import Swish

import minilift as ml
from minilift.checks import command as of_command
from minilift.checks import networks, numeric, papers
from minilift.checks.command import load_target
from minilift.checks.package import package_methods
from minilift.checks.report import CLAIMS, Finding, common_reason, row_of


@functools.cache
def package_report(seed):
    """Return the report on everything in the package."""
    return ml.verify(seed=seed)


def verified(thing, **options):
    report = ml.verify(thing, **options)
    assert report.passed, report
    return report


# ---- everything of ours passes

def test_the_package_passes_its_own_checks():
    package_report(0).raise_for_failures()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_the_package_passes_with_more_seeds(seed):
    ml.verify(seed=seed).raise_for_failures()


@pytest.mark.slow
@pytest.mark.parametrize("method", [
    ml.ProxProp(1.0, solver="cg1"), ml.LocoProp("S", gamma=0.5, steps=4, local_lr=0.02, local_optimizer="sgd", eta=2.0),
    ml.LocoProp("M", gamma=0.5, steps=5, local_lr=0.02, local_optimizer="sgd"), ml.SemiImplicit(eta=0.05),
    ml.FOOF(0.1), ml.KFAC(0.1)], ids=repr)
def test_methods_in_other_settings(method):
    verified(method)


@pytest.mark.slow
@pytest.mark.parametrize("method", package_methods(), ids=repr)
def test_each_method_of_ours_passes_on_all_random_networks(method):
    """`verify()` of all that the package holds tries each on half of them."""
    verified(method)


def test_each_claim_is_made_by_something_of_ours():
    """A claim that nothing in the package makes would be checked by nobody."""
    made = {(check.kind, check.claim) for check in package_report(0).checks if check.passed is not None}
    yours = {("method", "its new parameters minimise the objective given for it"),
             ("method", "its steps are those of the reference"),
             ("method", "in one batch after another, without reset(), it is what it should be"),
             ("method", "in a later epoch, too, its steps are those of the reference, or of its class"),
             ("method", "its energy is that of the method whose subclass it is"),
             ("method", "the gradient of its own energy, in each block, by differences"),
             ("method", "with the sweep of the method whose subclass it is, it takes its steps, call after call")}
    all_kinds = {(claim.kind, claim.words) for claim in CLAIMS}
    drawn = {(kind, words) for kind, words in all_kinds if kind in ("argmin", "gradient", "equal", "decreases")}
    assert all_kinds - made == yours | drawn


def test_a_large_network_is_checked_along_random_directions():
    report = verified(ml.mlp([400, 260, 10], activation="tanh"))
    gradient = next(check for check in report.checks if check.claim.startswith("backpropagated"))
    assert gradient.passed
    assert any("too many to be probed" in check.why for check in report.skipped)


def test_a_mistake_in_a_large_network_is_found_too():
    class Halved(ml.Linear):
        def adjoint_theta(self, a, g):
            d = super().adjoint_theta(a, g)
            d[-1] /= 2
            return d
    report = ml.verify(ml.Network([Halved(400, 260), ml.Tanh(), ml.Linear(260, 10)]))
    assert any(check.claim.startswith("backpropagated") for check in report.failures)


class Exponential(ml.Activation):
    forward = derivative = integral = lambda self, z: np.exp(z)
    range = (0.0, np.inf)


class Poisson(ml.Loss):
    """Poisson's loss, of which e^1000 is no number, and cannot be."""

    transfer = Exponential()

    def value_per_sample(self, z, y):
        return (np.exp(z) - y * z).sum(axis=-1)


def test_a_loss_that_outgrows_the_largest_number_is_remarked():
    report = verified(Poisson())
    assert any("its true value exceeds the largest number" in check.why for check in report.skipped)


def test_the_users_own_batch_and_network():
    data = ml.datasets.digits()
    net = ml.mlp([64, 16, 10], seed=1)
    before = [theta.copy() for theta in net.parameters]
    verified(net, X=data.X_train[:5], y=data.y_train[:5])
    verified(ml.ProxProp(0.5), net=net, X=data.X_train[:5], y=data.y_train[:5])
    assert all((x == y).all() for x, y in zip(before, net.parameters))
    assert net.dtype == np.float32


def test_a_convolutional_network_with_pooling_and_batch_norm():
    verified(ml.convnet((8, 8, 1), (2, 2), classes=3, kernel=3, batch_norm=True, input_layout="flat"))


def test_images_in_the_users_layout():
    net = ml.convnet((8, 8, 1), (2,), classes=10, kernel=3, activation="tanh", input_layout="flat")
    data = ml.datasets.digits()
    verified(net, X=data.X_train[:3], y=data.y_train[:3])


def test_subclasses_are_held_to_the_equations_of_their_class():
    class Mine(ml.ProxProp):
        def propose(self, block):
            return super().propose(block)
    sources = {check.source for check in verified(Mine(0.7)).checks if check.passed}
    assert {"ProxProp (13), Prop. 2", "ProxProp Prop. 4, 5"} <= sources


def test_a_plain_function_is_held_to_the_equations_that_it_is_said_to_satisfy():
    def propose(block):
        return block.phi.adjoint_theta(block.a, block.g)
    general = {check.claim for check in ml.verify(propose).checks}
    told = {check.claim for check in verified(propose, like=ml.BackProp()).checks}
    assert told - general == {"BackProp is the gradient, by differences"}


def test_a_method_with_its_objective():
    tau_theta = 0.4

    def objective(block, theta):
        A = np.hstack([block.a, np.ones((len(block.a), 1))])
        misfit = ((A @ theta - (block.z - block.g)) ** 2).sum() / 2
        return misfit + ((theta - block.theta) ** 2).sum() / (2 * tau_theta)
    report = verified(ml.ProxProp(tau_theta, last="implicit"), objective=objective)
    assert any(check.claim.startswith("its new parameters minimise") and check.passed for check in report.checks)


def local_problem(a, z, signal):
    return ml.problems.LocalProblem(ml.maps.Gram(a), z, ml.problems.MatchingLoss(ml.Tanh(), z, 0.1 * signal), 0.5)


def test_a_local_problem_of_the_package():
    def objective(d, a, z, signal):
        return local_problem(a, z, signal).objective(d)

    def slope(d, a, z, signal):
        problem = local_problem(a, z, signal)
        gram = problem.gram
        return problem.damping * d - gram.adjoint(problem.gap.gradient(z - gram.apply(d)))

    def minimiser(a, z, signal):
        return ml.solvers.newton(local_problem(a, z, signal), 1e-12).value

    def draw(rng):
        a, z, signal = rng.normal(size=(5, 3)), *rng.normal(size=(2, 5, 2))
        return {"a": a, "z": z, "signal": signal, "d": rng.normal(size=(4, 2))}
    verified(ml.Gradient(objective, slope, "d", draw))
    verified(ml.Argmin(objective, minimiser, "d", draw))


def test_a_method_of_which_nothing_is_said_is_not_verified():
    def propose(block):
        return block.phi.adjoint_theta(block.a, block.g)
    report = ml.verify(propose)
    assert not report.failures
    assert not report.passed
    assert report.summary().startswith("not verified: give an objective, a reference or `like`")
    assert json.loads(report.to_json())["unverified"]
    with pytest.raises(AssertionError, match="not verified"):
        report.raise_for_failures()


def test_a_methods_report_says_which_sizes_were_tried(rng):
    """A step that is doubled for more samples, or for more units, passes unnoticed."""
    def doubled(block):
        step = block.phi.adjoint_theta(block.a, block.g)
        return step * (1 + (len(block.a) > 64 or step.shape[1] > 32))
    report = ml.verify(doubled, like=ml.BackProp())
    assert report.passed
    assert report.sizes == "N ≤ 40, maps of at most 45 inputs and 5 units"
    assert report.summary().endswith("do not apply (float64, seed 0, N ≤ 40, maps of at most 45 inputs and 5 units)")
    assert json.loads(report.to_json())["sizes"] == report.sizes
    net = ml.mlp([4, 40, 2], "tanh")
    report = ml.verify(doubled, net=net, X=rng.standard_normal((100, 4)), like=ml.BackProp())
    assert not report.passed
    assert report.sizes == "N ≤ 100, maps of at most 40 inputs and 40 units"
    assert ml.verify(ml.Tanh()).sizes == ml.verify(ml.BCD(), net=graph_of_joins()).sizes == ""
    assert ml.verify(ml.Tanh()).summary().endswith("(float64, seed 0)")


def graph_of_joins():
    """Return a network that methods for chains refuse."""
    return ml.Network([ml.Linear(3, 3), ml.Named("x"), ml.Tanh(), ml.Linear(3, 3), ml.Add("x"), ml.Linear(3, 2)])


@pytest.mark.parametrize(("factor", "mark"), [(1.0, "ok"), (-1.0, "FAIL")])
def test_the_number_of_a_descent_has_the_sign_of_its_claim(factor, mark):
    def step(block):
        return factor * block.phi.adjoint_theta(block.a, block.g)
    report = ml.verify(step, like=ml.BackProp())
    check = next(check for check in report.checks if check.claim == "it is a descent direction")
    row = row_of(check)
    assert (row[0], row[-1]) == (mark, "> 0")
    assert np.sign(float(row[-2])) == factor
    assert (check.number <= check.tolerance) == (factor > 0), "in the check itself smaller is better, as everywhere"


def test_a_method_is_held_against_a_reference_of_the_users():
    def signs(block):
        return np.sign(block.phi.adjoint_theta(block.a, block.g))

    def dense(block):
        rows = np.hstack([block.a, np.ones_like(block.a[:, :1])])
        return np.sign(rows.T @ block.g)
    verified(signs, like=dense)  # which has not the fixed points of J, and says so
    assert not ml.verify(signs, like=ml.BackProp()).passed
    reasons = [check.reason for check in ml.verify(signs, like=lambda block: 2 * dense(block)).failures]
    assert reasons == ["likely: it is off by a factor ½"]


def tenth(block):
    return 0.1 * block.phi.adjoint_theta(block.a, block.g)


def averaged(block):
    A = block.phi.rows(block.a)
    A = np.hstack([A, np.ones_like(A[:, :1])])
    M = A.T @ A / len(block.a) + np.eye(A.shape[1], dtype=A.dtype) / np.asarray(0.3, A.dtype)
    return np.linalg.solve(M, block.phi.adjoint_theta(block.a, block.g))


LARGE = {"large": lambda: ml.mlp([20, 20, 5], "tanh", loss=ml.SquaredError()), "images": lambda: ml.Network(
    [ml.Conv2d(2, 3, 3), ml.ReLU(), ml.MaxPool2d(2), ml.Flatten(), ml.Linear(27, 2)], ml.SquaredError(),
    input_shape=(6, 6, 2))}


@pytest.mark.parametrize("net", [None, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
@pytest.mark.parametrize("like", [
    ml.BackProp(), ml.ProxProp(0.3), ml.ProxProp(0.3, solver="cg3"), ml.LocoProp(), ml.LocoProp("S"),
    ml.LocoProp("M", steps="exact"), ml.LocoProp("S", steps="exact", eta=0.3), ml.SemiImplicit(eta=0.1),
    ml.SemiImplicit(solver="exact"), ml.FOOF(0.1), ml.KFAC(0.1), ml.GaussNewton(0.1), ml.LPOM()], ids=repr)
def test_no_class_takes_a_wrong_step_for_its_own(like, net):
    options = {} if net is None else {"net": LARGE[net]()}
    for wrong in (tenth, averaged):
        assert not ml.verify(wrong, like=like, **options).passed
    assert net is not None or ml.verify(like).passed


@pytest.mark.parametrize("base", [ml.LocoProp(), ml.SemiImplicit(), ml.FOOF(0.1), ml.KFAC(0.1)], ids=repr)
def test_a_subclass_is_run_beside_its_class(base):
    wrong = type("Mine", (type(base),), {"propose": lambda self, block: tenth(block)})
    mine = object.__new__(wrong)
    vars(mine).update(vars(base))
    assert not ml.verify(mine).passed


@pytest.mark.parametrize("net", LARGE)
def test_the_reference_is_run_with_all_samples_and_names_the_mistake(net):
    net = LARGE[net]()
    X, y = np.random.default_rng(0).normal(size=(5, *net.shapes[0])), np.ones((5, net.shapes[-1][0]))
    report = ml.verify(lambda block: tenth(block) * 10 if block.last else averaged(block), like=ml.ProxProp(0.3),
                       net=net, X=X, y=y)
    assert "the Gram matrix is divided by N" in report.failures[-1].reason
    verified(lambda block: ml.ProxProp(0.3).propose(block), like=ml.ProxProp(0.3), net=net, X=X, y=y)


def test_an_energy_of_several_blocks_is_no_loss_and_a_block_of_it_may_be_claimed():
    net, X, y = ml.mlp([3, 4, 2], seed=0, dtype=np.float64), np.ones((5, 3)), np.arange(5) % 2
    energy, start = ml.BCD().energy(net, X, y), ml.BCD().start(net, net.propagate(X))
    for thing in (energy, ml.energy.PenaltyEnergy(net, y)):
        with pytest.raises(TypeError, match=f"thing is a {type(thing).__name__}, an energy of several blocks"):
            ml.verify(thing)
    verified(ml.Gradient(lambda z: energy.value(start.replaced("z", 1, z)),
                         lambda z: energy.gradient("z", 1, start.replaced("z", 1, z)), "z",
                         lambda rng: {"z": rng.normal(size=(5, 4))}))


def test_where_the_reference_does_not_run_nothing_is_verified():
    report = ml.verify(tenth, like=ml.LocoProp("M", steps="exact"), net=LARGE["large"]())
    assert report.unverified.startswith("not verified: none of its equations")


@pytest.mark.parametrize("method", [ml.BCD(), ml.GaussNewton(0.1), ml.PredictiveCoding()], ids=repr)
def test_an_objective_of_a_block_says_nothing_of_a_method_that_proposes_no_blocks(method):
    report = ml.verify(method, objective=lambda block, theta: float((theta**2).sum()), net=ml.mlp([2, 3, 2], seed=0))
    assert not report.passed
    assert not report.failures
    assert report.unverified.endswith("it proposes no steps block by block")


@pytest.mark.parametrize("other", [ml.SemiImplicit(eta=0.2), ml.SemiImplicit(lam=2.0), ml.SemiImplicit(joint=True)])
def test_other_settings_than_those_of_like_are_seen(other):
    assert not ml.verify(other, like=ml.SemiImplicit()).passed


def test_what_is_not_claimed_of_a_larger_batch_is_no_error():
    """Where no mistake fits, a claim is measured on batches twice as large: too large for some."""
    class Odd(ml.SemiImplicit):
        def propose(self, block):
            step = super().propose(block)
            return step + 0.01 * np.sin(np.arange(step.size, dtype=step.dtype)).reshape(step.shape)

    net, X = ml.mlp([48, 3, 2], "tanh", loss=ml.SquaredError()), np.random.default_rng(0).normal(size=(5, 48))
    assert any(check.claim.startswith("with many steps") for check in ml.verify(Odd(), net=net, X=X).failures)


def test_a_step_that_is_cut_off_where_it_is_long_is_found():
    def clipped(block):
        d = ml.ProxProp(0.3).propose(block)
        return d if block.last else d / max(1, float(np.linalg.norm(d)))
    assert not ml.verify(clipped, like=ml.ProxProp(0.3)).passed


def test_another_order_of_blocks_is_named():
    class Backwards(ml.BCD):
        def schedule(self, energy):
            return list(super().schedule(energy))[::-1]
    failure, = ml.verify(Backwards(alpha=1.0), like=ml.BCD(alpha=1.0)).failures
    assert failure.reason == "likely: its sweep does not visit the blocks in the order of BCD"


def test_a_function_takes_the_signals_of_what_it_is_like():
    verified(lambda block: ml.SemiImplicit().propose(block), like=ml.SemiImplicit())


# ---- other libraries' layers

@pytest.mark.slow
def test_layers_of_pytorch_with_ten_seeds():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # the arrays are tiny

    def lent(x):
        return torch.from_numpy(np.array(x))

    class TorchGELU(ml.Activation):
        def forward(self, z):
            return torch.nn.functional.gelu(lent(z)).numpy()

        def derivative(self, z):
            z = lent(z).requires_grad_()
            torch.nn.functional.gelu(z).sum().backward()
            return z.grad.numpy()

    class TorchLinear(ml.Linear):
        def forward(self, theta, a):
            return torch.nn.functional.linear(lent(a), lent(theta[:-1].T), lent(theta[-1])).numpy()

        def adjoint_theta(self, a, g):
            theta = torch.zeros(self.theta_shape, dtype=lent(a).dtype, requires_grad=True)
            z = torch.nn.functional.linear(lent(a), theta[:-1].T, theta[-1])
            return torch.autograd.grad(z, theta, lent(g))[0].numpy()

    class TorchCrossEntropy(ml.SoftmaxCrossEntropy):
        def value(self, z, y):
            return float(torch.nn.functional.cross_entropy(lent(z), lent(y), reduction=self.reduction))

        def gradient(self, z, y):
            z = lent(z).requires_grad_()
            torch.nn.functional.cross_entropy(z, lent(y), reduction=self.reduction).backward()
            return z.grad.numpy()
    verified(ml.Network([TorchLinear(3, 4), TorchGELU(), TorchLinear(4, 2)], loss=TorchCrossEntropy()))
    for seed in range(10):
        for thing in (TorchGELU(), TorchLinear(4, 3), TorchCrossEntropy(), TorchCrossEntropy("sum")):
            ml.verify(thing, seed=seed).raise_for_failures()


# ---- what is not a mistake

def test_an_activation_that_is_not_monotone_need_not_be():
    report = verified(Swish())
    assert "σ is monotone, F convex" in {check.claim for check in report.skipped}


def test_a_loss_that_says_that_it_is_not_convex():
    class Welsch(ml.Loss):
        convex = False

        def value_per_sample(self, z, y):
            return 1 - np.exp(-((z - y) ** 2).sum(axis=-1) / 2)

        def gradient(self, z, y):
            return self.weight(len(z)) * (z - y) * np.exp(-((z - y) ** 2).sum(axis=-1, keepdims=True) / 2)
        prox = property()  # it has none
    report = ml.verify(Welsch())
    assert report.passed, report


def test_a_function_that_is_not_analytic_is_not_checked_by_the_complex_step():
    """|z| takes complex numbers and gives a wrong derivative there: central differences must have the last word."""
    class SoftSign(ml.Activation):
        range = (-1.0, 1.0)

        def forward(self, z):
            return z / (1 + abs(z))

        def derivative(self, z):
            return 1 / (1 + abs(z)) ** 2

        def integral(self, z):
            return abs(z) - np.log1p(abs(z))
    verified(SoftSign())
    reference = numeric.directional(lambda x: abs(x), np.array([1.0, -2.0]), np.ones(2))
    assert np.allclose(reference.value, [1, -1])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_energies_of_any_size(scale):
    def objective(x, A, b):
        return scale * ((A @ x - b) ** 2).sum()

    def draw(rng):
        return {"A": rng.normal(size=(5, 3)), "b": rng.normal(size=5), "x": rng.normal(size=3)}
    verified(ml.Gradient(objective, lambda x, A, b: 2 * scale * A.T @ (A @ x - b), "x", draw))
    verified(ml.Argmin(objective, lambda A, b: np.linalg.lstsq(A, b, rcond=None)[0], "x", draw))
    wrong = ml.Gradient(objective, lambda x, A, b: scale * A.T @ (A @ x - b), "x", draw)
    assert "½" in ml.verify(wrong).failures[0].reason


# ---- the references, held against what is known in closed form

def test_stationary_points_are_stationary_and_their_signals_are_not_zero():
    case = networks.random_networks(0, "numpy")[0].stationary
    assert max(abs(case.gradients[l].value).max() for l in (1, 2)) < 1e-9
    assert all(abs(g).max() > 1e-2 for g in case.signals[1:])


def test_krylov_steps_end_at_the_solution():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(6, 4)), rng.normal(size=(4, 2))
    M = A.T @ A + np.eye(4)
    assert np.allclose(papers.krylov_step(M, b, 4, joint=False), np.linalg.solve(M, b))
    assert np.allclose(papers.krylov_step(M, b, 8, joint=True), np.linalg.solve(M, b))


@pytest.mark.parametrize(("f", "slope"), [(np.sin, np.cos), (np.exp, np.exp), (lambda x: abs(x), np.sign)])
def test_derivatives(f, slope):
    x = np.array([0.3, -1.2, 2.0])
    reference = numeric.directional(f, x, np.ones(3))
    assert np.abs(reference.nearest(slope(x)) - slope(x)).max() < 1e-9


def test_a_reference_near_a_kink_is_met_by_the_right_derivative_and_by_no_wrong_one():
    x = np.array([5e-4])  # nearer to the kink than the longer of the two steps
    reference = numeric.directional(lambda t: np.maximum(t, 0) * 1.0, x, np.ones(1))._replace(candidates=[
        *numeric.central_differences(lambda t: np.maximum(t, 0), x, np.ones(1))], tolerance=1e-6)
    assert numeric.compare(np.array([1.0]), reference).holds
    assert not numeric.compare(np.array([0.5]), reference).holds


def test_tangents_of_a_large_array_feel_the_bias_row():
    tangents = numeric.Tangents((1000, 3), np.random.default_rng(0))
    d = np.zeros((1000, 3))
    d[-1] = 1e-2
    assert not tangents.full
    assert abs(tangents.project(d)).max() > 1e-5


def test_compare_rejects_nan_and_zero_with_a_reason():
    reference = numeric.dense(np.ones((3, 2)))
    wrong = (np.full((3, 2), np.nan), "not finite"), (np.zeros((3, 2)), "zero"), (np.ones((2, 3)), "transposed")
    for got, words in wrong:
        finding = numeric.compare(got, reference)
        assert not finding.holds
        assert words in finding.reasons[0]


def test_the_reason_is_the_one_that_fits_most_problems():
    reasons = [("a factor 2", "a factor N"), ("a factor N",), ()]
    findings = [Finding(1, 0, "", each) for each in reasons]
    assert common_reason(findings) == "likely: a factor N"
    assert common_reason([*findings[1:], findings[2]]) == "none of the usual mistakes fits"  # in a third of them only
    assert common_reason(findings[2:]) == "none of the usual mistakes fits"


def test_there_are_enough_plants_of_all_kinds():
    """Those of the rooms, one for each kind of thing."""
    plants = [*MAPS, *TRANSFERS, *LOSSES, *METHODS, *NETWORKS]
    assert len(plants) >= 30
    assert sum(plant.words is not None for plant in plants) >= 25
    assert len({plant.what for plant in plants}) == len(plants)


# ---- the report

def wrong_tanh():
    return type("WrongTanh", (ml.Tanh,), {"derivative": lambda self, z: 1 - z**2})()


def test_report_as_text_names_claim_equation_number_and_reason():
    text = str(ml.verify(wrong_tanh()))
    for words in ("transfer WrongTanh()", "FAIL  the derivative", "σ'(z) = dσ/dz", "ProxProp (9)",
                  "likely: it is written in terms of a = σ(z)", "3 fail", "seed 0"):  # kinks and Newton's system too
        assert words in text


def test_report_in_a_notebook_escapes_what_it_shows():
    class Odd(ml.Tanh):
        def __repr__(self):
            return "<script>"
    page = ml.verify(Odd())._repr_html_()
    assert "<table>" in page
    assert "<script>" not in page
    assert "FAIL" in ml.verify(wrong_tanh())._repr_html_()


def test_report_as_json_is_strict():
    class Broken(ml.Tanh):
        def derivative(self, z):
            return np.full_like(z, np.nan)

    def refuse(constant):
        raise AssertionError(constant)
    content = json.loads(ml.verify(Broken()).to_json(), parse_constant=refuse)
    assert content["passed"] is False
    numbers = {check["claim"]: check["number"] for check in content["checks"]}
    assert numbers["the derivative"] == "nan"
    assert json.loads(ml.verify(ml.Tanh()).to_json())["passed"] is True


def test_raise_for_failures():
    ml.verify(ml.Tanh()).raise_for_failures()
    with pytest.raises(AssertionError, match="in terms of a"):
        ml.verify(wrong_tanh()).raise_for_failures()


def test_a_report_in_which_nothing_was_checked_does_not_pass():
    class Strange(ml.activations.Transfer):
        def output_shape(self, input_shape):
            raise ValueError("only for five-dimensional data")
    report = ml.verify(Strange())
    assert not report.passed
    assert "check it inside a network" in report.skipped[0].why
    with pytest.raises(AssertionError):
        report.raise_for_failures()


def test_an_error_inside_the_thing_is_a_failure_that_says_so():
    class Raises(ml.Tanh):
        def adjoint(self, z, a, aux, g):
            return g @ z
    reasons = [check.reason for check in ml.verify(Raises()).failures]
    assert any("it raises ValueError" in reason for reason in reasons)


def test_the_same_seed_gives_the_same_report():
    assert ml.verify(ml.ReLU(), seed=5).to_json() == ml.verify(ml.ReLU(), seed=5).to_json()
    assert ml.verify(ml.ReLU(), seed=5).to_json() != ml.verify(ml.ReLU(), seed=6).to_json()


def test_every_claim_has_a_source_and_an_equation():
    for claim in CLAIMS:
        assert claim.words, claim
        assert claim.equation, claim
        assert claim.source, claim
    assert len({(claim.kind, claim.words) for claim in CLAIMS}) == len(CLAIMS)


# ---- wrong calls

@pytest.mark.parametrize(("call", "message"), [
    (lambda: ml.verify(ml.Tanh), r"thing is the class Tanh; an instance is needed, Tanh\(…\)"),
    (lambda: ml.verify(3), "thing must be a network, map, activation"),
    (lambda: ml.verify(ml.Tanh(), like=ml.BackProp()), "go with a method"),
    (lambda: ml.verify(ml.BackProp(), like=ml.SGD(0.1)), "like must be a function of a block, or a Method"),
    (lambda: ml.verify(ml.BackProp(), X=np.ones((2, 3))), "give net as well"),
    (lambda: ml.verify(ml.mlp([3, 2]), y=np.zeros(3)), "y is given without X"),
    (lambda: ml.verify(ml.Tanh(), seed=-1), "seed must be at least 0"),
    (lambda: ml.verify(ml.Tanh(), backend="torch"), "backend: unknown name 'torch'")])
def test_wrong_calls(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# ---- the other backend

def test_on_the_device(device):
    for thing in (ml.Tanh(), ml.ReLU(), ml.Linear(3, 2), ml.SoftmaxCrossEntropy(), ml.ProxProp(0.5),
                  ml.ProxProp(0.5, solver="cg2"), ml.mlp([3, 4, 2])):
        verified(thing, backend="cupy")


# ---- command line

MY_FILE = '''
import numpy as np
import minilift as ml


class GoodTanh(ml.Tanh):
    pass


class BadTanh(ml.Tanh):
    def adjoint(self, z, a, aux, g):
        return g


class Slope(ml.LeakyReLU):
    def __init__(self, slope):
        super().__init__(slope)


def ascent(block):
    return -block.phi.adjoint_theta(block.a, block.g)


def my_step(block, tau_theta=0.2):
    A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
    gradient = A.T @ block.g
    if block.last:
        return gradient
    return np.linalg.solve(A.T @ A + np.diag(0 * A[0] + tau_theta), gradient)


def objective(block, theta):
    A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
    misfit = ((A @ theta - block.z + block.g) ** 2).sum() / 2
    return misfit + ((theta - block.theta) ** 2).sum() / (2 * 0.2)


net = ml.mlp([3, 4, 2])
forgotten = [3, 1, 2].sort()  # which returns nothing
print("a trial of my own")
'''


@pytest.fixture
def command(tmp_path):
    """Return a function that runs ``minilift verify`` beside a file of the user's."""
    (tmp_path / "mine.py").write_text(MY_FILE)

    def run(*arguments):
        main = "from minilift.cli import main; raise SystemExit(main())"
        return subprocess.run([sys.executable, "-c", main, "verify", *arguments], cwd=tmp_path, capture_output=True,
                              text=True, timeout=300)
    return run


@pytest.mark.parametrize(("target", "code", "words"), [
    ("mine.py:GoodTanh", 0, "0 fail"), ("mine.py:BadTanh", 1, "σ' is forgotten"),
    pytest.param("mine.py:net", 0, "0 fail", marks=pytest.mark.slow),
    pytest.param("mine.py:ascent", 1, "the sign is wrong", marks=pytest.mark.slow),
    ("mine.py:my_step", 1, "not verified: give an objective, a reference or `like`"),
    ("mine.py:my_step --like mine.py:my_step", 1, "not verified: give an objective"),
    ("mine.py:my_step --like proxprop:tau_theta=0.2", 1, "τ_θ where it should be"),
    ("mine.py:my_step --like cg3", 1, "fail"),
    pytest.param("mine.py:my_step --like proxprop:tau_theta=5.0 --net mine.py:net", 0, "0 fail",
                 marks=pytest.mark.slow),
    pytest.param("mine.py:my_step --like proxprop:tau_theta=5.0 --net resnet", 0, "0 fail", marks=pytest.mark.slow),
    ("mine.py:my_step --objective mine.py:objective", 1, "τ_θ where it should be")])
def test_command_checks_the_users_object(command, target, code, words):
    done = command(*target.split())
    assert done.returncode == code, done.stderr
    assert words in done.stdout


@pytest.mark.parametrize(("target", "words"), [
    ("mine.py", "expected FILE.py:NAME"), ("yours.py:x", "there is no file 'yours.py'"),
    *[(target, "did you mean 'mine.py:net'?") for target in ("mine:net", "mine.net", "mine.py::net")],
    *[(f"{words}mine.py:Decay:lam=0.2", "expected FILE.py:NAME, without arguments after it, got "
       "'mine.py:Decay:lam=0.2'; with other settings make another object in the file")
      for words in ("", "mine.py:my_step --like ", "mine.py:my_step --objective ", "mine.py:my_step --net ")],
    ("mine.py:GoodTanhh", "did you mean 'GoodTanh'"), ("mine.py:Slope", "wants arguments"),
    ("mine.py:net --like backprop", "--like goes with a method"), ("--like backprop", "goes with a method"),
    *[(f"mine.py:forgotten{more}", "mine.py:forgotten: verify: thing must be a network, map, activation, loss, "
       "method, a function of a Block, or a claim such as Argmin, got None") for more in ("", " --like backprop")],
    ("mine.py:my_step --like proxprp", "--like: unknown name 'proxprp'; did you mean 'proxprop'"),
    ("mine.py:my_step --like proxprop:tau=1", "unknown name 'tau'"),
    ("mine.py:my_step --net mine.py:my_step", "--net")])
def test_command_answers_a_users_mistake_in_one_line(command, target, words):
    done = command(*target.split())
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_users_dataclass_with_postponed_annotations_is_made(tmp_path):
    """It looks for its module by name, and numpy.py beside numpy is a module of its own."""
    path = tmp_path / "numpy.py"
    path.write_text("from __future__ import annotations\nimport dataclasses\n\n@dataclasses.dataclass\nclass Point:\n"
                    "    x: float = 1.0\n")
    assert load_target(f"{path}:Point").x == 1.0
    assert sys.modules["numpy"] is np


@pytest.mark.parametrize(("source", "says"), [
    ("1 / 0", "line 1: ZeroDivisionError: division by zero"), ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
    ("x = 1\ndef f(:\n", "line 2: SyntaxError: "), ("\0", "ValueError|SyntaxError"),
    ("def f():\n    return f()\nf()", "line 2: RecursionError: "),
    ("raise BaseException('own')", "BaseException: own")])
def test_a_file_that_cannot_be_run_is_named_with_the_line(tmp_path, source, says):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(ValueError, match=rf"mine\.py cannot be run: .*({says})"):
        load_target(f"{path}:f")


def test_what_a_users_class_raises_goes_through(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class A:\n    def __init__(self):\n        None + 1\n\n"
                    "class B:\n    def __init__(self, n):\n        pass\n")
    with pytest.raises(TypeError, match="unsupported operand"):
        load_target(f"{path}:A")
    with pytest.raises(ValueError, match="B is a class that wants arguments"):
        load_target(f"{path}:B")


def test_command_lists_the_claims(command):
    done = command("--list")
    assert done.returncode == 0
    for claim in CLAIMS:
        assert claim.equation in done.stdout
    assert "ProxProp (13), Prop. 2" in done.stdout


def test_command_prints_json(command):
    done = command("mine.py:BadTanh", "--json", "--seed", "3")
    assert done.returncode == 1
    assert json.loads(done.stdout)["seed"] == 3
    assert done.stderr.startswith("a trial of my own\n")


@pytest.mark.slow
def test_command_checks_everything(command):
    """In three processes, as in one."""
    done = command("--json", "--jobs", "3")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout) == json.loads(package_report(0).to_json())


def test_command_says_when_one_of_its_processes_ends(monkeypatch):
    monkeypatch.setattr(of_command, "package_checks", lambda *_: [])
    monkeypatch.setattr(of_command, "own_process", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(RuntimeError, match="a process that checks a share ended with status 3"):
        of_command.all_checked(0, 2)
    with pytest.raises(ValueError, match="--jobs must be at least 1, got 0"):
        of_command.all_checked(0, 0)


@pytest.mark.parametrize(("old", "new", "shown"), [
    ("y - x", "x - y", ["mine.py, line 7, in step: `x - y` for `y - x`"]),
    ("return (z * np.arcsinh(self.k * z) - (root - 1)) / self.k",
     "return (z * np.arcsinh(self.k * z) - (root - 1) / self.k) / self.k",
     ["mine.py, line 7, in step:", "    - return (z * np.arcsinh(self.k * z) - (root - 1)) / self.k",
      "    + return (z * np.arcsinh(self.k * z) - (root - 1) / self.k) / self.k",
      "                                                     ^^^^^^^^^"]),
    ("return np.where(a > 0, b + c + c, d) + something_long_enough",
     "return np.where(a > 0, b + c, d) + something_long_enough",
     ["mine.py, line 7, in step:", "    - return np.where(a > 0, b + c + c, d) + something_long_enough",
      "                                  ^^^^", "    + return np.where(a > 0, b + c, d) + something_long_enough"])],
    ids=["short", "added", "removed"])
def test_a_long_edit_is_marked_where_it_differs(old, new, shown):
    assert str(ml.Mend("mine.py", 7, "step", old, new)).split("\n") == shown


def test_a_long_report_lists_its_failures_again():
    class Wrong(ml.Tanh):
        def derivative(self, z):
            return 2 * super().derivative(z)

    report = ml.verify(ml.Network([ml.Linear(3, 4), Wrong(), ml.Linear(4, 2)], ml.SquaredError(), dtype=np.float64))
    shown = str(report)
    listed = shown[shown.index("\nFailed:\n"):].splitlines()
    assert f"  transfer {Wrong()!r}: the derivative" in listed
    assert any("-> likely: it is off by a factor 2" in line for line in listed)
    assert "Failed:" not in str(ml.verify(ml.Gradient(lambda z: (z * z).sum(), lambda z: z, "z")))

"""`verify` on lifted methods: what they claim holds, what they do not claim is not asked, mistakes are found."""

from functools import partial

import numpy as np
import pytest
from told import changed, ones, reasons

import minilift as ml
from minilift.layers.joins import Add, Named
from minilift.methods.lifted.descend import Lifted

RIGHT = [ml.BCD(), ml.TargetPropagation(), ml.PredictiveCoding(), ml.ADMM(), ml.DLADMM(), ml.MAC(),
         ml.FenchelLifted(), ml.LPOM(), ml.LiftedBregman()]  # the first two in the quick tests too
OTHER_SETTINGS = [
    ml.BCD(3.0, 0.5, 0.2, bias="jacobi"), ml.ADMM(2.0, 0.3, bias="fixed"), ml.DLADMM(0.3, schedule=False),
    ml.MAC(5.0, theta_steps=1, a_steps=3), ml.FenchelLifted(0.2, 3.0, weight_decay=0.5), ml.LPOM(3.0, 2.0),
    ml.LiftedBregman(2.0, 0.3), ml.PredictiveCoding(0.5, 3, "pre"), ml.PredictiveCoding(prediction="fixed"),
    ml.TargetPropagation(variant="lee", transfer="identity")]
SMALL = ml.mlp([2, 3, 1], activation="relu", loss=ml.SquaredError("sum"), seed=1)
DEEP = ml.mlp([3, 4, 3, 2], activation="sigmoid", seed=3)


def checked(report, words):
    """Return whether the claim that begins so was made; None if it does not apply."""
    return next(check.passed for check in report.checks if check.claim.startswith(words))


@pytest.mark.parametrize("method", [pytest.param(method, marks=[pytest.mark.slow] * (method in RIGHT[2:]))
                                    for method in RIGHT], ids=repr)
def test_a_lifted_method_passes_and_says_what_it_does_not_claim(method):
    report = ml.verify(method)
    report.raise_for_failures()
    assert report.passed
    assert checked(report, "stationary points of J") is None
    assert checked(report, "it is a descent direction") is None
    refused = [check.why for check in report.skipped if check.claim.endswith("not checked")]
    assert len(refused) == (not isinstance(method, ml.PredictiveCoding))  # which takes the graph among the networks
    assert all(why.startswith(f"{type(method).__name__}: expects a chain of Linear maps") for why in refused)


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHER_SETTINGS, ids=repr)
def test_in_other_settings_on_a_network_of_the_users(method):
    report = ml.verify(method, net=SMALL, seed=2)
    assert report.passed, report


@pytest.mark.slow
@pytest.mark.parametrize("method", RIGHT, ids=repr)
def test_with_more_seeds(method):
    for seed in (1, 2):
        ml.verify(method, seed=seed).raise_for_failures()


def test_a_network_that_is_refused_is_not_verified():
    layers = [ml.Linear(3, 3), ml.Tanh(), Named("a"), ml.Linear(3, 3), Add("a"), ml.Tanh(), ml.Linear(3, 2)]
    report = ml.verify(ml.BCD(), net=ml.Network(layers))
    assert not report.passed
    assert not report.failures
    assert all(check.why.startswith("BCD: expects a chain") for check in report.checks)


def test_an_error_that_is_no_refusal_is_a_failure():
    class Broken(ml.BCD):
        def schedule(self, energy):
            raise ValueError("operands could not be broadcast together")
    assert any("operands" in check.reason for check in ml.verify(Broken(), net=SMALL).failures)


# ---- mistakes


def without_prox(self, energy):
    for block, l, update in ml.BCD.schedule(self, energy):
        yield block, l, energy.best_theta if block == "theta" else update


def weights_exchanged(self, net, X, y):
    """Return an energy other than the one that is solved."""
    energy = ml.ADMM.energy(self, net, X, y)
    solved = ml.ADMM(self.gamma, self.beta).energy(net, X, y)
    energy.best_z = solved.best_z
    return energy


def reflected(self, energy):
    """Take steps twice as long: they lead beyond the minimum, but never higher."""
    for block, l, update in ml.FenchelLifted.schedule(self, energy):
        def twice(l, variables, block=block, update=update):
            return 2 * update(l, variables) - getattr(variables, block)[l]
        yield block, l, twice if block == "theta" else update


def half_weighted(self, net, X, y):
    return ml.FenchelLifted.energy(ml.FenchelLifted(self.lam / 2, self.anchor), net, X, y)


def uphill(self, energy):
    for block, l, update in ml.MAC.schedule(self, energy):
        def away(l, variables, update=update):
            return 2 * variables.a[l] - update(l, variables)
        yield block, l, away if block == "a" else update


def second_visit_uphill(self, energy):
    seen = set()
    for block, l, update in ml.DLADMM.schedule(self, energy):
        def away(l, variables, update=update):
            return 2 * variables.theta[l] - update(l, variables)
        yield block, l, away if block == "theta" and l in seen else update
        seen.update([l] * (block == "theta"))


def relaxed_in_turn(self, energy, variables):
    for l in range(1, energy.net.depth):
        slope = energy.gradient(energy.block, l, variables)
        variables = variables.replaced(energy.block, l, getattr(variables, energy.block)[l] - self.rate * slope)
    return variables


def direction_of_sum(self, net, state, y):
    weight = net.loss_function.weight(len(y))
    return [step / weight for step in ml.PredictiveCoding.directions(self, net, state, y)]


def no_difference(self, net, state, y):
    off = ml.TargetPropagation.differences(self, net, state, y)
    below = net.depth - 1
    off[below] = state.a[below] - self.inverse(net, below + 1, state.z[net.depth] - off[net.depth])
    return off


@pytest.mark.parametrize(("base", "net", "claim", "reason", "changes"), [
    (ml.BCD, SMALL, "its closed blocks", "theta ", {"schedule": without_prox}),
    (ml.ADMM, SMALL, "its closed blocks", "z ", {"energy": weights_exchanged}),
    (ml.FenchelLifted, SMALL, "its closed blocks", "twice the step", {"schedule": reflected}),
    (ml.FenchelLifted, SMALL, "its energy is that", "'matching' is 0.5 times", {"energy": half_weighted}),
    (ml.MAC, DEEP, "no block of a sweep", "raises it", {"schedule": uphill}),
    (ml.DLADMM, DEEP, "no block of a sweep", "raises it", {"schedule": second_visit_uphill}),
    (ml.PredictiveCoding, DEEP, "all values take one gradient step", "", {"relaxed": relaxed_in_turn}),
    (ml.PredictiveCoding, DEEP, "its direction is the energy's gradient", "factor N", {"directions": direction_of_sum}),
    (ml.TargetPropagation, DEEP, "each map takes the gradient", "", {"differences": no_difference})],
    ids=lambda value: next(iter(value.values())).__name__ if isinstance(value, dict) else "")
def test_a_planted_mistake_is_found(base, net, claim, reason, changes):
    report = ml.verify(changed(base, **changes), net=net)
    said = [check.reason for check in report.failures if check.claim.startswith(claim)]
    assert len(said) == 1
    assert reason in said[0]


@pytest.mark.parametrize(("ascend", "words"), [
    (lambda self, energy, l, v: v.multiplier, "zero"),
    (lambda self, energy, l, v: 2 * v.multiplier - ml.ADMM.ascend(self, energy, l, v), "sign")])
def test_a_wrong_dual_step_is_found(ascend, words):
    report = ml.verify(changed(ml.ADMM, 2.0, 0.5, ascend=ascend), net=ml.mlp([2, 2, 1], "relu", loss=ml.SquaredError()))
    assert any("dual step" in check.reason and words in check.reason for check in report.failures), report


class UndampedBias(ml.BCD):
    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            yield block, l, partial(self.weights, energy) if block == "theta" else update

    def weights(self, energy, l, v):
        A, damping = ones(v.a[l - 1]), self.alpha * np.eye(len(v.theta[l]), dtype=v.theta[l].dtype)
        damping[-1, -1] = 0
        return np.linalg.solve(self.rho * A.T @ A + damping, self.rho * A.T @ v.z[l] + damping @ v.theta[l])


def test_a_lifted_method_is_told_of_its_bias():
    assert "only the last row of theta is wrong, the bias" in reasons(ml.verify(UndampedBias()))


def test_what_is_written_for_chains_is_judged_on_chains():
    class OnChains(ml.PredictiveCoding):
        def relaxed(self, energy, variables):
            assert all(abs(theta[-1]).size for theta in variables.theta[1:])  # a join has no θ
            return super().relaxed(energy, variables)

    report = ml.verify(OnChains())
    assert report.passed
    assert any("a graph of" in check.claim and "it raises" in check.why for check in report.checks)


class AsItStands:
    """BCD's and ADMM's θ by NumPy, in float64."""

    def schedule(self, energy):
        for block, l, update in super().schedule(energy):
            yield block, l, self.fit if block == "theta" else update

    def fit(self, l, v):
        A, old = ones(v.a[l - 1].astype(float)), v.theta[l]
        rows = np.vstack([A, (self.alpha or 0.0) ** 0.5 * np.eye(A.shape[1])])
        missed = np.vstack([v.z[l] - A @ old, 0 * old])
        return (old + np.linalg.lstsq(rows, missed, rcond=None)[0]).astype(old.dtype)


@pytest.mark.parametrize(("base", "options", "seed"), [
    (ml.BCD, {"alpha": 1.0}, 8), (ml.BCD, {"alpha": 1.0}, 18), (ml.ADMM, {"beta": 0.5}, 0),
    (ml.ADMM, {"beta": 0.5}, 3)])
def test_blocks_solved_by_another_formula_are_right_to_rounding(base, options, seed):
    """A first step of ADMM is 0 but for the rounding of its parameters, in float32 too."""
    method = type(f"{base.__name__}ByNumPy", (AsItStands, base), {})(**options)
    ml.verify(method, like=base(**options), seed=seed).raise_for_failures()


def test_an_iteration_that_gives_up_says_nothing():
    class Same(ml.DLADMM):
        def alpha(self, g, curvature):
            return super().alpha(g, curvature)

    assert ml.verify(Same(), like=ml.DLADMM(), seed=3).passed

    class GivesUp(ml.DLADMM):
        def alpha(self, g, curvature):
            raise ArithmeticError("no step")

    assert not ml.verify(GivesUp(), like=ml.DLADMM(rho=1.0, schedule=False)).passed


def test_what_a_users_method_does_not_claim_is_not_asked():
    class Signs(ml.BackProp):
        descends_on_loss = False
    report = ml.verify(Signs())
    assert checked(report, "stationary points of J") is None
    assert checked(ml.verify(ml.BackProp()), "stationary points of J")


def test_a_lifted_method_may_be_a_reference():
    class Mine(ml.Method):
        descends_on_loss = False

        def directions(self, net, state, y):
            return ml.BCD(alpha=self.alpha).directions(net, state, y)

        def __init__(self, alpha):
            self.alpha = alpha
    assert ml.verify(Mine(5.0), like=ml.BCD(), net=SMALL).passed
    assert not ml.verify(Mine(4.0), like=ml.BCD(), net=SMALL).passed


def test_a_tolerance_that_float32_cannot_reach_is_no_mistake():
    net = ml.mlp([3, 4, 2], activation="tanh", seed=1)
    X, y = np.random.default_rng(0).standard_normal((7, 3)), np.arange(7) % 2
    report = ml.verify(ml.GaussNewton(0.1, tolerance=1e-12, steps=60), net=net, X=X, y=y)
    assert report.passed, report
    assert checked(report, "on a float32 network") is None
    assert checked(ml.verify(ml.GaussNewton(0.1), net=net), "on a float32 network")


@pytest.mark.slow
def test_a_subclass_with_another_sweep_is_remarked_and_like_judges_it():
    class Forwards(ml.BCD):
        def schedule(self, energy):
            return list(super().schedule(energy))[::-1]
    net = ml.mlp([2, 3, 2, 1], activation="relu", loss=ml.SquaredError("sum"), seed=1)
    report = ml.verify(Forwards(), net=net)
    assert report.passed, report
    assert any("in the order of BCD" in check.why for check in report.skipped)
    assert not ml.verify(Forwards(), net=net, like=ml.BCD()).passed


@pytest.mark.parametrize("block", ["theta", "z", "a"])
def test_a_block_between_hidden_layers_that_stops_short_is_found(block):
    class Short(ml.BCD):
        def schedule(self, energy):
            for kind, l, update in super().schedule(energy):
                yield kind, l, partial(self.most_of, kind, update) if self.is_inner(energy, kind, l) else update

        def is_inner(self, energy, kind, l):
            return kind == block and energy.net.depth > 2 and l + (kind != "theta") > 1 and l < energy.net.depth

        def most_of(self, kind, update, l, variables):
            old = getattr(variables, kind)[l]
            return old + 0.9 * (update(l, variables) - old)

    net = ml.mlp([2, 5, 3, 3], "relu", seed=0)
    assert "0.9 times the step" in reasons(ml.verify(Short(2.0, alpha=0.5), net=net))


class Own(Lifted):
    """A member of the family of a user's own: on BCD's energy, forwards."""

    factor = 1.0

    def energy(self, net, X, y):
        return ml.BCD.energy(ml.BCD(), net, X, y)

    def start(self, net, state):
        return ml.BCD.start(self, net, state)

    def schedule(self, energy):
        for l in range(1, energy.net.depth + 1):
            yield "theta", l, partial(energy.best_theta, alpha=0.3)
            yield "z", l, partial(self.far, energy) if self.factor != 1 else energy.best_z
            yield "a", l, partial(energy.best_a, alpha=0.2)

    def far(self, energy, l, variables):
        return self.factor * energy.best_z(l, variables)


class Stays(Own):
    """A block of which no argmin is said may stay as it is."""

    factor = 0.0

    def far(self, energy, l, variables):
        return variables.z[l]


@pytest.mark.parametrize(("method", "claim"), [
    (changed(Own, factor=-3.0), "no block of a sweep"), (Own(), None), (Stays(), None)], ids=["up", "own", "stays"])
def test_of_a_users_own_member_no_block_raises_its_energy(method, claim):
    """That it is what it should be nobody knows: it is not verified."""
    report = ml.verify(method)
    assert [check.claim.startswith(claim) for check in report.failures] == [True] * (claim is not None), report
    assert report.unverified
    assert checked(report, "its closed blocks are argmins")


class OfOwnEnergy(Own):
    """Its energy states a gradient of its own, in one block by a factor off."""

    off = 1.0

    def energy(self, net, X, y):
        energy, off = super().energy(net, X, y), self.off

        class OwnEnergy(type(energy)):
            def gradient(self, block, l, variables):
                return super().gradient(block, l, variables) * (off if block == "z" else 1)

        energy.__class__ = OwnEnergy
        return energy


@pytest.mark.parametrize(("method", "passes"), [(OfOwnEnergy(), True), (changed(OfOwnEnergy, off=2.0), False)],
                         ids=["right", "twice"])
def test_an_energy_of_ones_own_has_the_gradient_that_it_states(method, passes):
    said = [check for check in ml.verify(method).checks if check.claim.startswith("the gradient of its own energy")]
    assert [check.passed for check in said] == [passes]
    assert passes or "it is off by a factor 2" in said[0].reason

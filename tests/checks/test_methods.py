"""`verify` on methods, users' functions of a block and classes: right ones hold; mistakes in the step, in what is kept
from call to call, in running statistics and against a reference are found, and the reason says what is wrong.
"""

import copy
import functools

import numpy as np
import pytest
from told import Plant, in_turn, is_found_and_named, is_named_with, ones, reasons, square, tells

import minilift as ml
from minilift.layers.activations import Identity
from minilift.layers.gram import Gram
from minilift.local.problems import LocalProblem, SquaredFit

# ---- right methods


@pytest.mark.parametrize(("eta", "seed"), [(0.5, 15), (0.5, 40), (2.0, 0), (10.0, 1)])
def test_semi_implicit_is_itself_with_long_targets(eta, seed):
    assert ml.verify(ml.SemiImplicit(eta=eta), seed=seed).passed


def test_locoprop_is_like_proxprop_but_for_batch_norms():
    assert ml.verify(ml.LocoProp("S", gamma=1.0, steps="exact", eta=0.2), like=ml.ProxProp(0.2, last="implicit")).passed


def scheduled(cls):
    return cls("S", gamma=2.0, steps=3, local_lr=lambda epoch: 0.01 / (1 + epoch), local_optimizer="sgd")


@pytest.mark.parametrize(("base", "make"), [(ml.BCD, ml.BCD), (ml.ADMM, ml.ADMM),
                                            (ml.PredictiveCoding, ml.PredictiveCoding),
                                            (ml.LocoProp, lambda: scheduled(ml.LocoProp))])
def test_a_subclass_that_changes_nothing_holds(base, make):
    method = make()
    method.__class__ = type("Same", (base,), {})
    ml.verify(method).raise_for_failures()
    ml.verify(method, like=make()).raise_for_failures()


def local_steps(block, rate=0.05):
    """LocoProp-S's plain steps in the residual alone, with a rate that is too long for some inputs."""
    A, residual, total = ones(block.a), 2.0 * block.g, 0
    for t in range(4):
        part = rate * max(1 - t / 4, 0.25) * residual
        total, residual = total + part, residual - A @ (A.T @ part)
    return A.T @ total


def test_a_step_that_leads_up_as_its_reference_does_is_right():
    like = ml.LocoProp("S", gamma=2.0, steps=4, local_lr=0.05, local_optimizer="sgd")
    assert not ml.verify(like).passed
    assert ml.verify(local_steps, like=like).passed
    assert "leads up" in reasons(ml.verify(lambda block: -local_steps(block), like=like))


# ---- planted mistakes: a user's functions of a block, told what they should be, and subclasses


def stacked(a):
    """Return [a 1]."""
    return np.hstack([a, np.ones((len(a), 1))])


def proximal(tau_theta=0.3, damping=None, gram=None, change=lambda d, block: d):
    """Return a function of a block that takes ProxProp's step, with something changed."""

    def propose(block):
        T = stacked(block.a)
        gradient = T.T @ block.g
        if block.last:
            return gradient
        C = T.T @ T if gram is None else gram(T)
        beta = 1 / tau_theta if damping is None else damping
        return change(np.linalg.solve(C + beta * np.eye(len(C)), gradient), block)

    return lambda: propose


def backprop(change):
    """Return a function of a block that proposes a changed gradient."""
    return lambda: lambda block: change(stacked(block.a).T @ block.g, block)


def bare(T):
    """Return TᵀT without the row and column of the bias."""
    return np.pad(T[:, :-1].T @ T[:, :-1], ((0, 1), (0, 1)))


def masked(block):
    """Return the gradient with the signal of a, not of z."""
    return stacked(block.a).T @ (block.g if block.g_a is None else block.g_a)


def zero_bias(d, block):
    return np.vstack([d[:-1], 0 * d[-1:]])


class OneSided(ml.LocoProp):
    """LocoProp whose regulariser pulls towards 0."""

    def propose(self, block):
        return super().propose(block) + self.local_lr * block.theta


class OldWeights(ml.SemiImplicit):
    new_weights = False


class AlwaysNew(ml.BackProp):
    new_weights = True


class ColdAverage(ml.FOOF):
    """FOOF whose average has its full decay at once."""

    def average(self, name, factor):
        self.factors[name] = factor + self.decay * (self.factors.get(name, factor) - factor)
        return self.factors[name]


class ForgetfulAverage(ml.FOOF):
    """FOOF whose state does not say how many steps there were."""

    def state_dict(self):
        return {**super().state_dict(), "steps": 1}


class ConstantPenalty(ml.MAC):
    """MAC whose μ stays, whatever its `growth`."""

    def directions(self, net, state, y):
        return super(ml.MAC, self).directions(net, state, y)


class UnscaledSemi(ml.SemiImplicit):
    """SIBP whose η refers to the averaged loss."""

    def propose(self, block):
        return super().propose(block._replace(weight=1.0))


PROX = {"like": ml.ProxProp(0.3)}


BACK = {"like": ml.BackProp()}


METHODS = [
    Plant("damping τ_θ for 1/τ_θ", proximal(damping=0.3), "τ_θ where it should be 1/τ_θ", PROX),
    Plant("damping doubled", proximal(damping=2 / 0.3), "damping is doubled", PROX),
    Plant("Gram matrix divided by N", proximal(gram=lambda T: T.T @ T / len(T)), "divided by N", PROX),
    Plant("Gram matrix without the bias", proximal(gram=bare), None, PROX),
    Plant("step doubled", proximal(change=lambda d, block: 2 * d), "a factor 2", PROX),
    Plant("step up, not down", proximal(change=lambda d, block: -d), "sign", PROX),
    Plant("bias row of the step missing", proximal(change=zero_bias), "the bias row is missing", PROX),
    Plant("the gradient for the proximal step", backprop(lambda d, block: d), "explicit", PROX),
    Plant(
        "implicit on the last map too",
        lambda: ml.ProxProp(0.3, last="implicit"),
        "last map takes the implicit",
        PROX,
    ),
    Plant(
        "CG with a step too few",
        lambda: ml.ProxProp(0.3, solver="cg1"),
        "too few",
        {"like": ml.ProxProp(0.3, solver="cg2")},
    ),
    Plant("σ' forgotten", lambda: masked, "σ' is forgotten", BACK),
    Plant("gradient summed, not averaged", backprop(lambda d, block: d / block.weight), "a factor N", BACK),
    Plant("gradient ascent", backprop(lambda d, block: -d), "sign"),
    Plant("nothing at all", backprop(lambda d, block: 0 * d), "zero"),
    Plant("signals through new weights", lambda: AlwaysNew(), "new weights"),
    Plant(
        "T steps, one too few",
        lambda: ml.LocoProp("M", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd", decay=False),
        "too few",
        {"like": ml.LocoProp("M", gamma=0.5, steps=4, local_lr=0.05, local_optimizer="sgd", decay=False)},
    ),
    Plant(
        "S for M",
        lambda: ml.LocoProp("S", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd"),
        "LocoProp-S, not LocoProp-M",
        {"like": ml.LocoProp("M", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd")},
    ),
    Plant(
        "no regulariser",
        lambda: ml.LocoProp("S", gamma=0.5, steps=5, local_lr=0.05, local_optimizer="sgd"),
        "regulariser is missing",
        {"like": ml.LocoProp("S", gamma=0.5, steps=5, local_lr=0.05, local_optimizer="sgd", eta=0.5)},
    ),
    Plant(
        "a regulariser towards 0",
        lambda: OneSided("M", gamma=0.5, steps=3, local_lr=0.05, local_optimizer="sgd"),
        None,
    ),
    Plant("η of SIBP on the averaged loss", lambda: UnscaledSemi(eta=0.05), "η is scaled by the batch size"),
    Plant("SIBP through old weights", lambda: OldWeights(eta=0.3, lam=0.5), "old weights"),
    Plant(
        "half of the batch is left out",
        lambda: lambda block: stacked(block.a[::2]).T @ block.g[::2],
        None,
        BACK,
    ),
    Plant(
        "a running average without its warm start", lambda: ColdAverage(0.1, decay=0.9),
        "full decay from the second batch on",
    ),
    Plant("a state without the number of steps", lambda: ForgetfulAverage(0.1, decay=0.9), "goes on otherwise"),
    Plant("a penalty that does not grow", lambda: ConstantPenalty(growth=1.5), "the second is not"),
    Plant("not a number", backprop(lambda d, block: d + np.nan), "it is not finite", BACK),
    Plant(
        "an objective that is not the one minimised",
        proximal(),
        None,
        {
            "objective": lambda block, theta: (
                ((stacked(block.a) @ theta - block.z + block.g) ** 2).sum() / 2
                + ((theta - block.theta) ** 2).sum()
            )
        },
    ),
]


@pytest.mark.parametrize("plant", in_turn(METHODS), ids=lambda plant: plant.what)
def test_planted_mistake_is_found_and_named(plant):
    is_found_and_named(plant)


@pytest.mark.parametrize("plant", METHODS[:1], ids=lambda plant: plant.what)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_diagnosis_does_not_depend_on_the_seed(plant, seed):
    is_named_with(seed, plant)


# ---- what a reason says, and what it must not


def gradient(block):
    return block.phi.adjoint_theta(block.a, block.g)


@pytest.mark.parametrize(("method", "like", "said", "unsaid"), [
    (lambda block: np.sign(gradient(block)), ml.BackProp(), "it is normalised, or a sign", "weight decay"),
    (lambda block: block.theta - gradient(block), ml.BackProp(), "it proposes the new parameters", "weight decay"),
    (lambda block: gradient(block) + 0.01 * block.theta, ml.BackProp(), "weight decay", "normalised"),
    (ml.SemiImplicit(eta=0.3, lam=2.0), ml.SemiImplicit(eta=0.3), "lam is 2.0, that of `like` 1.0", "joint"),
    (ml.SemiImplicit(eta=0.3, joint=True), ml.SemiImplicit(eta=0.3), "joint is True", "lam")],
    ids=["sign", "new", "decay", "lam", "joint"])
def test_a_wrong_method_is_told_by_its_cause(method, like, said, unsaid):
    tells(said, unsaid, method, like=like)


def decayed_step(block, theta, lam=0.3, tau=0.5):
    A, d = block.phi.rows(block.a), theta - block.theta
    A = np.hstack([A, np.ones((len(A), 1))])
    return square(block.phi.columns(block.g) + A @ d) / 2 + square(d) / (2 * tau) + lam * square(theta[:-1]) / 2


def decay_not_of_the_old(block):
    A, g = block.phi.rows(block.a), block.phi.columns(block.g)
    A = np.hstack([A, np.ones((len(A), 1))])
    return np.linalg.solve(A.T @ A + 2 * np.eye(A.shape[1]) + 0.3 * np.diag([1.0] * (A.shape[1] - 1) + [0]), A.T @ g)


def sparse_step(block, theta, lam=0.05, tau=0.5):
    d = theta - block.theta
    return (block.phi.adjoint_theta(block.a, block.g) * d).sum() + square(d) / (2 * tau) + lam * abs(theta[:-1]).sum()


def hard_threshold(block):
    new = block.theta - 0.5 * block.phi.adjoint_theta(block.a, block.g)
    new[:-1] *= abs(new[:-1]) > 0.025
    return block.theta - new


@pytest.mark.parametrize(("method", "objective", "said", "unsaid"), [
    (hard_threshold, sparse_step, "", "lam is left out"),
    (decay_not_of_the_old, decayed_step, "a term in theta_old is missing", "lam is left out")], ids=["hard", "decay"])
def test_a_guess_is_named_only_if_nothing_else_is_seen_elsewhere(method, objective, said, unsaid):
    tells(said, unsaid, method, objective=objective)


class NoDifference(ml.TargetPropagation):
    def differences(self, net, state, y):
        off, h = super().differences(net, state, y), [*state.a[: net.depth], state.z[net.depth]]
        for l in range(net.depth, 1, -1):
            off[l - 1] = h[l - 1] - self.inverse(net, l, h[l] - off[l])
        return off


def blocks_of_32(block):
    kept = len(block.a) if len(block.a) <= 32 else len(block.a) // 32 * 32
    return block.phi.adjoint_theta(block.a[:kept], block.g[:kept])


@pytest.mark.parametrize(("thing", "options", "said", "unsaid"), [
    (NoDifference(), {"like": ml.TargetPropagation()}, "the difference, is missing", "nan"),
    (blocks_of_32, {"like": ml.BackProp()}, "the last samples are left out", "a factor of its own")],
    ids=lambda x: type(x).__name__)
def test_what_fits_by_chance_or_in_part_is_not_said(thing, options, said, unsaid):
    tells(said, unsaid, thing, **options)


def federated(block):
    """The mean of the steps of three clients, each with its own part of the batch."""
    steps = [np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ g) for a, g in zip(*(
        np.array_split(part, 3) for part in (np.c_[block.a, np.ones(len(block.a))], block.g)))]
    return np.mean(steps, axis=0).astype(block.theta.dtype)


def served(block):
    """The same by least squares."""
    total = np.zeros_like(block.theta)
    for rows in np.array_split(np.arange(len(block.a)), 3):
        tall = np.vstack([np.c_[block.a[rows], np.ones(len(rows))], np.eye(len(total))])
        total += np.linalg.lstsq(tall, np.vstack([block.g[rows], np.zeros_like(total)]))[0].astype(total.dtype) / 3
    return total


def test_a_method_may_depend_on_the_order_of_samples_if_its_reference_does():
    data = {"X": np.random.default_rng(5).standard_normal((10, 4)), "y": np.arange(10) % 3}
    net = ml.mlp([4, 5, 3], activation="softplus", dtype=np.float64)
    assert ml.verify(federated, net, **data, like=served).passed
    report = ml.verify(federated, net, **data, like=ml.ProxProp(1.0, last="implicit"))
    assert any("order of the samples" in check.claim for check in report.failures)


# ---- usual mistakes, made in the reference


class Inverted(ml.KFAC):
    def dampings(self, a, s):
        return super().dampings(a, s)[::-1]


class InversesFirst(ml.TargetPropagation):
    def directions(self, net, state, y):
        self.prepare(net)
        ml.TargetPropagation.learn_inverses(self, net, state)
        return super().directions(net, state, y)

    def learn_inverses(self, net, state):
        pass


def matching_steps(block, mistake=""):
    """Return three local steps of LocoProp-M of length 0.05, with γ = 0.5 and η = 2, or with a mistake."""
    rows = block.phi.rows(block.a)
    A = np.hstack([rows, np.ones_like(rows[:, :1])])
    z, g, old, new = block.phi.columns(block.z), 0.5 * block.phi.columns(block.g), block.theta, block.theta.copy()
    target = block.f.forward(z - g) if mistake == "target" else block.f.forward(z) - g
    for _ in range(3):
        at = A @ (old if mistake == "held" else new)
        off = block.f.forward(at) - target
        off = block.f.adjoint(at, block.f.forward(at), None, off) if mistake == "twice" else off
        new = new - 0.05 * (A.T @ off + (new - (0 if mistake == "zero" else old)) / 2)
    return old - new


def krylov(block, power=1):
    """Return three steps of conjugate gradients for τ_θ = 0.2, with a power of β."""
    slope = block.phi.adjoint_theta(block.a, block.g)
    if block.last:
        return slope
    A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
    M = A.T @ A + 5 * np.eye(A.shape[1], dtype=A.dtype)
    d, r, p = 0 * slope, slope, slope
    for _ in range(3):
        square = (r * r).sum(axis=0)
        step = p * square / np.maximum((p * (M @ p)).sum(axis=0), 1e-30)
        d, r = d + step, slope - M @ (d + step)
        p = r + p * (np.maximum((r * r).sum(axis=0), 1e-30) / np.maximum(square, 1e-30)) ** power
    return d


LOCO = ml.LocoProp("M", gamma=0.5, steps=3, local_lr=0.05, eta=2.0, decay=False, local_optimizer="sgd")


CG3, CHAIN = ml.ProxProp(0.2, solver="cg3"), ml.mlp([4, 3, 3, 2], dtype=np.float64)


@pytest.mark.parametrize(("thing", "options", "said"), [
    (Inverted(0.1, split="heuristic"), {"like": ml.KFAC(0.1, split="heuristic")}, "π is inverted"),
    (InversesFirst(rate=0.1), {"like": ml.TargetPropagation(rate=0.1)}, "the inverses take their step before"),
    (lambda b: matching_steps(b, "target"), {"like": LOCO}, "the target is f(z − γg)"),
    (lambda b: matching_steps(b, "held"), {"like": LOCO}, "have one gradient"),
    (lambda b: matching_steps(b, "twice"), {"like": LOCO}, "f' is applied twice"),
    (lambda b: matching_steps(b, "zero"), {"like": LOCO}, "the regulariser draws to 0"),
    (lambda b: krylov(b, -1), {"like": CG3, "net": CHAIN}, "β is inverted")],
    ids=lambda x: x if isinstance(x, str) else "")
def test_a_usual_mistake_is_made_and_named(thing, options, said):
    tells(said, "nan", thing, **options)


def test_the_steps_in_which_mistakes_are_made_are_right():
    ml.verify(matching_steps, like=LOCO).raise_for_failures()
    ml.verify(krylov, like=CG3, net=CHAIN).raise_for_failures()


# ---- preconditioners


def prox_step(solve):
    """Return a step that is the gradient on the last map, and elsewhere what is made of ã, the gradient and g."""
    return lambda block: gradient_of(block) if block.last else solve(
        ones(block.a), gradient_of(block), block.g)


def gradient_of(block):
    return ones(block.a).T @ block.g


def unsquared(A, d, g, beta=1 / 0.3):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return Vt.T @ ((s / (s + beta))[:, None] * (U.T @ g))


def inner_of_one(A, d, g, tau=0.3):
    """Woodbury's formula with I in the inner matrix, where I/τ should be."""
    return tau * (d - A.T @ np.linalg.solve(np.eye(len(A), dtype=A.dtype) + A @ A.T, A @ d))


def undamped_cg(A, d, g):
    x, r = np.zeros_like(d), d
    p = r
    for _ in range(3):
        Mp, rr = A.T @ (A @ p), (r * r).sum(axis=0)
        alpha = rr / ((p * Mp).sum(axis=0) + 1e-30)
        x, r = x + alpha * p, r - alpha * Mp
        p = r + (r * r).sum(axis=0) / (rr + 1e-30) * p
    return x


def centred(block):
    A, rest = ones(block.a), block.a - block.a.mean(axis=0)
    C = np.zeros((A.shape[1],) * 2, A.dtype)
    C[:-1, :-1], C[-1, -1] = rest.T @ rest / len(A), 1
    return np.linalg.solve(C + 0.1 * np.eye(len(C), dtype=A.dtype), gradient_of(block) / (len(A) * block.weight))


class FromZero(ml.FOOF):
    """A running average that starts from 0, without min(1 − 1/k, decay)."""

    def __init__(self, damping=0.1, decay=0.9):
        super().__init__(damping, decay)

    def average(self, name, factor):
        self.factors[name] = self.decay * self.factors.get(name, 0) + (1 - self.decay) * factor
        return self.factors[name]


def mean_signals(block, damping=0.1):
    A, g, N = ones(block.a), block.g, len(block.a)
    of_input, of_signal = (x.T @ x / N + damping * np.eye(x.shape[1], dtype=A.dtype) for x in (A, g))
    return np.linalg.solve(of_signal, np.linalg.solve(of_input, A.T @ g / (N * block.weight)).T).T


@pytest.mark.parametrize(("method", "like", "said"), [
    (prox_step(unsquared), ml.ProxProp(0.3), "the singular values of the input stand where their squares should"),
    (prox_step(inner_of_one), ml.ProxProp(0.3), "ãᵀã is multiplied by 3.33, the damping by 1"),
    (prox_step(undamped_cg), ml.ProxProp(0.3, solver="cg3"), "without the damping"),
    (centred, ml.FOOF(0.1), "the input is centred"),
    (FromZero(), ml.FOOF(0.1, decay=0.9), "the average starts from 0"),
    (mean_signals, ml.KFAC(0.1, fisher="empirical"), "the signals of the mean loss")])
def test_a_preconditioner_is_told_what_is_wrong(method, like, said):
    assert said in reasons(ml.verify(method, like=like))


# ---- what is kept from call to call


class Forgets(ml.BCD):
    def directions(self, net, state, y):
        self.variables = None
        return super().directions(net, state, y)


class Early(ml.ADMM):
    """The dual step before z_D."""

    def schedule(self, energy):
        blocks = list(super().schedule(energy))
        blocks[-1], blocks[-2] = blocks[-2], blocks[-1]
        return blocks


class Reset(ml.ADMM):
    def directions(self, net, state, y):
        if self.variables is not None:
            self.variables = self.variables._replace(multiplier=0 * self.variables.multiplier)
        return super().directions(net, state, y)


class Fewer(ml.PredictiveCoding):
    def directions(self, net, state, y):
        self.steps -= 1
        try:
            return super().directions(net, state, y)
        finally:
            self.steps += 1


class Late(ml.LocoProp):
    def start_epoch(self, epoch):
        super().start_epoch(max(epoch - 1, 0))


@pytest.mark.parametrize(("method", "like", "words"), [
    (Forgets(), ml.BCD(), "call 2 in a row is not"), (Forgets(), None, "the second is not"),
    (Early(), ml.ADMM(), "in the order of ADMM"), (Reset(), None, "the third is not"),
    (Reset(), ml.ADMM(), "call 3 in a row is not"), (Fewer(), None, "its first call is not"),
    (scheduled(Late), None, "what start_epoch announces is taken late")])
def test_what_shows_in_later_calls_is_found(method, like, words):
    assert words in reasons(ml.verify(method, like=like))


def test_another_order_is_remarked():
    assert any("in the order of ADMM: a variant, or a mistake" in check.why for check in ml.verify(Early()).skipped)


class HalvedLater(ml.BackProp):
    calls = 0

    def directions(self, net, state, y):
        self.calls += 1
        return [step if self.calls <= 10 else step / 2 for step in super().directions(net, state, y)]

    def reset(self):
        self.calls = 0


class ForgetsLater(ml.ADMM):
    calls = 0

    def directions(self, net, state, y):
        self.calls += 1
        if self.calls == 6:
            self.variables = None
        return super().directions(net, state, y)

    def reset(self):
        super().reset()
        self.calls = 0


@pytest.mark.parametrize(("method", "like", "call"), [
    (HalvedLater(), ml.BackProp(), "batch 11"), (ForgetsLater(), ml.ADMM(), "call 6")])
def test_what_changes_after_some_calls_is_met(method, like, call):
    assert call in reasons(ml.verify(method, like=like))


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


class Counting(Keeping, ml.BackProp):
    """Its steps become shorter; how many there were it does not tell, and begins again with the third."""

    def __init__(self):
        self.count, self.kept = 0, {}

    def reset(self):
        super().reset()
        self.count = 0

    def load_state_dict(self, values):
        super().load_state_dict(values)
        self.count = 2

    def directions(self, net, state, y):
        self.count += 1
        self.kept = {1: np.zeros(1)}
        return [step / step.dtype.type(self.count) for step in super().directions(net, state, y)]


def test_a_run_is_resumed_after_several_numbers_of_calls():
    assert "what it keeps is not all in state_dict()" in reasons(ml.verify(Counting(), like=Counting()))


def test_an_average_that_starts_otherwise():
    assert ml.verify(Average(), like=Average()).passed
    assert not ml.verify(Average(share=0.0), like=Average()).passed


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


class Averaging(ml.FOOF):
    """Its weights are those of FOOF for ten batches, whose plain mean it takes for ever."""

    def average(self, name, factor):
        old, share = self.factors.get(name, factor), 1 / self.steps
        self.factors[name] = (1 - share) * old + share * factor
        return self.factors[name]


def test_a_running_factor_is_that_of_its_class_after_ten_batches_too():
    report = ml.verify(Averaging(damping=0.1, decay=0.9))
    assert ["batch 11 in a row is not" in check.reason for check in report.failures] == [True]


# ---- steps with one usual mistake


class OfTheMean(ml.Method):
    """FOOF or K-FAC with empirical factors, written out; `mistake` says what is done otherwise."""

    def __init__(self, mistake=""):
        self.mistake = mistake

    def directions(self, net, state, y):
        self.N = len(state.a[0])
        return super().directions(net, state, y)

    def propose(self, block):
        A, g = ones(block.a).astype(float), block.phi.columns(block.g).astype(float) / block.weight
        slope, seen = A.T @ g / self.N, A - A.mean(axis=0) if self.mistake == "centred" else A
        second = seen.T @ seen / (self.N - 1 if self.mistake == "N - 1" else self.N)
        if "sum" not in self.mistake and "product" not in self.mistake:
            return np.linalg.solve(second + 0.1 * np.eye(len(second)), slope).astype(block.g.dtype)
        (a, U), (s, V) = np.linalg.eigh(second), np.linalg.eigh(g.T @ g / len(g))
        joint = np.add.outer(a, s) if self.mistake == "sum" else np.multiply.outer(a, s)
        return (U @ (U.T @ slope @ V / (joint + 0.1)) @ V.T).astype(block.g.dtype)


class AllAtOnce(ml.Method):
    """Gauss–Newton with a dense matrix; `mistake` says what is done otherwise."""

    def __init__(self, mistake=""):
        self.mistake = mistake

    def directions(self, net, state, y):
        z, loss = state.z[net.depth], net.loss_function
        gradient = ml.BackProp().propose

        def slopes(signal):
            parts = dict(ml.methods.sweep(net, state, None, gradient, output_signal=signal))
            return np.concatenate([parts[k].ravel() for k in sorted(parts)]).astype(float)

        units = np.eye(z.size, dtype=z.dtype).reshape(z.size, *z.shape)
        J = np.array([slopes(unit) for unit in units]).reshape(*z.shape, -1)
        g = loss.gradient(z, y).astype(float) / loss.weight(len(z))
        each = np.einsum("ncp,nc->np", J, g)
        H = np.array([np.diag(row) if loss.transfer.elementwise else np.diag(p) - np.outer(p, p) for row, p in zip(
            loss.transfer.derivative(z) if loss.transfer.elementwise else z, loss.transfer.forward(z).astype(float))])
        H = np.zeros_like(H) + np.eye(z.shape[1]) if self.mistake == "no Hessian" else H
        G = each.T @ each if self.mistake == "Fisher" else np.einsum("ncp,ncd,ndq->pq", J, H, J, optimize=True)
        G = G / len(z)
        of = np.repeat(np.arange(len(net.maps)), [net.theta[l].size for l in net.maps])
        G = G * (of[:, None] == of) if self.mistake == "apart" else G
        damping = np.diag(np.diag(G)) if self.mistake == "Marquardt" else np.eye(len(G))
        d = np.linalg.solve(G + 0.1 * damping + 1e-12 * np.eye(len(G)), each.mean(axis=0))
        ends = np.cumsum([net.theta[l].size for l in net.maps])[:-1]
        return [part.reshape(net.theta[l].shape).astype(z.dtype) for l, part in zip(net.maps, np.split(d, ends))]


def local_step(sign):
    """Return LocoProp-S's regularised local steps; with the sign −1 the regulariser draws away."""
    def step(block):
        theta, target = block.theta.copy(), block.z - 2.0 * block.g
        for t in range(5):
            slope = block.phi.adjoint_theta(block.a, block.phi.forward(theta, block.a) - target)
            theta = theta - 0.01 * max(1 - t / 5, 0.25) * (slope + sign * (theta - block.theta) / 0.5)
        return block.theta - theta

    return step


def conjugate(beta):
    """Return three steps of conjugate gradients, with β of the new and old squares of the residual."""
    def step(block):
        A, g = ones(block.a), block.phi.columns(block.g)
        r = A.T @ g
        if block.last:
            return r
        x, p, square, tiny = np.zeros_like(r), r.copy(), (r * r).sum(axis=0), np.finfo(r.dtype).tiny
        for _ in range(3):
            q = A.T @ (A @ p) + p / np.asarray(0.3, A.dtype)
            length = square / ((p * q).sum(axis=0) + tiny)
            x, r, old = x + length * p, r - length * q, square
            square = (r * r).sum(axis=0)
            p = r + beta(square, old + tiny) * p
        return x

    return step


class Masked(ml.SemiImplicit):
    """Its targets are made of ∂J/∂z."""

    def gap(self, block):
        f = Identity() if block.last else block.f
        return SquaredFit(f, block.phi.columns(block.z), self.eta / block.weight * block.phi.columns(block.g))


class BiasFirst(ml.SemiImplicit):
    def propose(self, block):
        gap, damping = self.gap(block), 2 * self.lam
        bias = self.solve(LocalProblem(Gram(np.empty((len(gap.z), 0), gap.z.dtype)), gap.z, gap, damping))
        weights = self.solve(LocalProblem(block.phi.gram(block.a, bias=False), gap.z - bias.value, gap, damping))
        return np.concatenate([weights.value, bias.value])


FOOF_LIKE, GN_LIKE = ml.FOOF(damping=0.1), ml.GaussNewton(damping=0.1, tolerance=1e-9)
KFAC_LIKE = ml.KFAC(damping=0.1, fisher="empirical", split="exact")
LOCO_LIKE = ml.LocoProp("S", gamma=2.0, steps=5, local_lr=0.01, local_optimizer="sgd", eta=0.5)
CG_LIKE, SIBP_LIKE = ml.ProxProp(tau_theta=0.3, solver="cg3"), ml.SemiImplicit(eta=0.5, lam=0.5)


@pytest.mark.parametrize(("method", "like"), [
    (OfTheMean(), FOOF_LIKE), (OfTheMean("product"), KFAC_LIKE), (AllAtOnce(), GN_LIKE), (local_step(1), LOCO_LIKE),
    (conjugate(lambda new, old: new / old), CG_LIKE)])
def test_steps_written_out_are_right(method, like):
    ml.verify(method, like=like).raise_for_failures()


@pytest.mark.parametrize(("method", "like", "said"), [
    (OfTheMean("N - 1"), FOOF_LIKE, "divided by N − 1 where N should stand"),
    (OfTheMean("centred"), FOOF_LIKE, "the input is centred, with its ones"),
    (OfTheMean("sum"), KFAC_LIKE, "A and S are added, not multiplied"),
    (AllAtOnce("no Hessian"), GN_LIKE, "the loss's Hessian is missing"),
    (AllAtOnce("Fisher"), GN_LIKE, "the empirical Fisher matrix"),
    (AllAtOnce("apart"), GN_LIKE, "each map's step is solved by itself"),
    (AllAtOnce("Marquardt"), GN_LIKE, "λ diag(G)"), (local_step(-1), LOCO_LIKE, "draws away from the old θ"),
    (Masked(eta=0.5, lam=0.5), SIBP_LIKE, "the target takes ∂J/∂z"),
    (BiasFirst(eta=0.5, lam=0.5), SIBP_LIKE, "b is fitted before W")])
def test_a_usual_mistake_in_a_step_is_named(method, like, said):
    assert said in reasons(ml.verify(method, like=like))


@pytest.mark.parametrize("size", [1e-6, 1e-12])
def test_a_factor_in_a_tiny_step_is_found(size):
    """Of methods that solve for no θ anew a step is not compared with the size of θ."""
    def scaled(factor):
        return lambda block: factor * block.phi.adjoint_theta(block.a, block.g)

    assert "it is off by a factor 2" in reasons(ml.verify(scaled(2 * size), like=scaled(size)))


class AlongTheSlope(ml.Method):
    """The minimiser along the gradient, unit by unit; 0/0 where a unit is dead."""

    def propose(self, block):
        A, g = ones(block.a), block.phi.columns(block.g)
        d = A.T @ g
        return d * ((A @ d * g).sum(axis=0) / ((A @ d) ** 2).sum(axis=0))


def test_what_is_not_finite_is_called_that_alone(capfd):
    found = reasons(ml.verify(AlongTheSlope(), like=ml.ProxProp(1e8, solver="cg1", last="implicit")))
    assert "not finite" in found
    assert "leads up" not in found
    assert "it raises" not in found
    assert "DLASCL" not in "".join(capfd.readouterr()), "LAPACK is not asked of NaN"


class OnChains(ml.Method):
    """BackProp's step, written for networks without joins, which have no θ."""

    def directions(self, net, state, y):
        assert all(abs(theta[-1]).size for theta in state.theta[1:])  # a join has no θ
        return ml.BackProp().directions(net, state, y)


def test_a_method_for_chains_is_judged_on_chains():
    report = ml.verify(OnChains(), like=ml.BackProp())
    assert report.passed
    assert any("a graph of" in check.claim and "it raises" in check.why for check in report.checks), "which is said"
    given = ml.verify(OnChains(), ml.resnet([3, 4, 4, 4, 2]), like=ml.BackProp())
    assert not given.passed, "a network that is given is not left out"


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
    (Evaluates(), "none of the usual mistakes fits")])
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


def test_a_method_is_no_reference_for_itself():
    report = ml.verify(gradient, like=gradient)
    assert not report.failures
    assert report.unverified
    assert not report.passed


@pytest.mark.parametrize(("jitter", "passed"), [(0.0, True), (0.1, False)])
def test_float32_steps_are_those_of_like(jitter, passed):
    def step(block):
        A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
        if block.last:
            return A.T @ block.g
        more = jitter * (A.dtype == np.float32)
        return np.linalg.solve(A.T @ A + A.dtype.type(5 + more) * np.eye(A.shape[1], dtype=A.dtype), A.T @ block.g)

    assert ml.verify(step, like=ml.ProxProp(0.2)).passed == passed


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


def with_ones(function):
    """A decorator that hands over one argument more."""
    @functools.wraps(function)
    def wrapped(block):
        return function(block, np.concatenate([block.a, np.ones_like(block.a[:, :1])], axis=1))

    return wrapped


@with_ones
def decorated(block, A):
    return A.T @ block.g


def test_a_step_behind_a_decorator_is_called_as_the_decorator_is():
    assert ml.verify(decorated, like=ml.BackProp()).passed


class Rising(ml.MAC):
    """Its weight rises by an amount, which it states."""

    def __init__(self, mu=1.0, rise=0.5):
        super().__init__(mu=mu, growth=1.0)
        self.rise = rise

    def settings(self):
        return {"mu": self.mu, "rise": self.rise}

    def directions(self, net, state, y):
        directions = super().directions(net, state, y)
        self.weight = min(self.weight + self.rise, self.mu_max)
        return directions


def test_a_variant_that_states_a_setting_of_its_own_is_not_held_to_later_calls():
    assert ml.verify(Rising()).passed
    assert not ml.verify(Rising(), like=ml.MAC(mu=1.0)).passed


# ---- large networks, and networks of its own

class HalfBCD(ml.BCD):
    def directions(self, net, state, y):
        return [step / 2 for step in super().directions(net, state, y)]


@pytest.mark.parametrize("n", [5, 30])
def test_a_wrong_step_fails_on_many_samples_too(n, rng):
    """The search for a reason gives up there; the failure does not."""
    net, X, y = ml.mlp([4, 16, 16, 3], loss=ml.SquaredError(), seed=0), rng.normal(size=(n, 4)), rng.normal(size=(n, 3))
    assert not ml.verify(HalfBCD(3.0, alpha=0.5), net=net, X=X, y=y).passed


@pytest.mark.parametrize("n", [30, 60])
def test_a_wrong_gradient_fails_on_many_samples_and_is_named(n):
    data = ml.datasets.digits()
    report = ml.verify(lambda block: 2 * block.phi.adjoint_theta(block.a, block.g), like=ml.BackProp(),
                       net=ml.mlp([64, 16, 10], seed=0), X=data.X_train[:n], y=data.y_train[:n])
    assert any("off by a factor 2" in check.reason for check in report.failures), report


@pytest.mark.parametrize("given", [True, False])
def test_a_method_with_a_setting_for_each_of_three_maps_is_accepted(given):
    net = {"net": ml.mlp([4, 5, 3, 2], activation="tanh")} if given else {}
    assert ml.verify(ml.ProxProp(tau_theta=[0.1, 0.5, 1.0]), **net).passed


def nan_in_float32(block):
    d = block.phi.adjoint_theta(block.a, block.g)
    size = ((1e25 * d) ** 2).sum() + 1
    return d * (size / size)


def test_steps_that_are_nan_in_float32_fail():
    assert not ml.verify(nan_in_float32, like=ml.BackProp()).passed


@pytest.mark.slow
def test_wide_layers_do_not_stop_the_packages_own(rng):
    for method, options in ((ml.PredictiveCoding(0.2, 6), {"net": ml.mlp([3, 100, 2], "tanh", seed=0)}),
                            (ml.TargetPropagation(), {"net": ml.mlp([8, 12, 10], "tanh", seed=0),
                                                      "X": rng.normal(size=(60, 8))})):
        report = ml.verify(method, **options)
        assert report.passed, report


# ---- methods that define `direction`


class Ascended(ml.Method):
    """Sharpness-aware: the gradient at θ + ρ∇J/‖∇J‖, to which the network itself is moved."""

    descends_on_loss = False

    def kept(self, net):
        return [parameter.copy() for parameter in net.parameters]

    def direction(self, net, X, y, rng=None, commit=False):
        loss, gradient = ml.BackProp().direction(net, X, y, rng, commit)
        size, before = 1e-9 + float(np.sqrt(sum((d * d).sum() for d in gradient))), self.kept(net)
        for parameter, d in zip(net.parameters, gradient):
            parameter += 0.05 / size * d
        steps = ml.BackProp().direction(net, X, y, rng)[1]
        for parameter, old in zip(net.parameters, before):
            parameter[...] = old
        return loss, steps


class AscendedInCopy(Ascended):
    def direction(self, net, X, y, rng=None, commit=False):
        return super().direction(copy.deepcopy(net), X, y, rng)


class LeftThere(Ascended):
    def kept(self, net):
        return list(net.parameters)


class Elsewhere(Ascended):
    def direction(self, net, X, y, rng=None, commit=False):
        loss, steps = super().direction(net, X, y, rng, commit)
        return loss, [1.5 * step for step in steps]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_method_may_move_the_parameters_if_it_moves_them_back(seed):
    report = ml.verify(Ascended(), like=AscendedInCopy(), seed=seed)
    report.raise_for_failures()
    assert any(check.passed for check in report.checks if check.claim == "its steps are those of the reference")


def test_a_method_must_not_leave_the_parameters_moved():
    report = ml.verify(LeftThere(), like=AscendedInCopy())
    assert {check.reason for check in report.failures} == {"likely: it leaves the parameters of the network changed"}
    assert "[one.copy() for one in net.parameters]" in str(report)


def test_wrong_steps_of_such_a_method_are_seen():
    tells("off by the constant factor 1.5", "must define propose", Elsewhere(), like=AscendedInCopy())


class ByEpoch(ml.Method):
    def __init__(self, rate=0.5):
        self.rate, self.epoch = rate, 0

    def start_epoch(self, epoch):
        self.epoch = epoch

    def propose(self, block):
        return block.phi.adjoint_theta(block.a, block.g) / (1 + self.rate * self.epoch)


class OneAhead(ByEpoch):
    def start_epoch(self, epoch):
        self.epoch = epoch + 1


def test_a_schedule_that_is_an_epoch_ahead_is_seen():
    """Until an epoch is announced, it is right."""
    tells("after start_epoch(0) it is not", "first epoch already", OneAhead(), like=ByEpoch())
    ml.verify(ByEpoch(), like=ByEpoch(0.5)).raise_for_failures()

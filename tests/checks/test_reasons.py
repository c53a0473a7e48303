"""What is misread easily: things that `verify` must be able to judge, and reasons that it must not give."""

import numpy as np
import pytest

import minilift as ml
from minilift.checks.numeric import seen_reasons


def tells(said, unsaid, thing, **options):
    """Check that something fails, for a reason that is said, and none for another."""
    found = "\n".join(check.reason for check in ml.verify(thing, **options).failures)
    assert found
    assert said in found, found
    assert unsaid not in found, found


def relu(z):
    return np.maximum(z, 0)


# ---- transfers

class Maxout(ml.Transfer):
    """The larger of two neighbours: an even number of units alone."""

    def output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        pairs = z.reshape(*z.shape[:-1], -1, 2)
        return pairs.max(axis=-1), pairs.argmax(axis=-1)

    def adjoint(self, z, a, aux, g):
        out = np.zeros((*g.shape, 2), g.dtype)
        np.put_along_axis(out, aux[..., None], g[..., None], -1)
        return out.reshape(z.shape)


class MaxoutBoth(Maxout):
    def adjoint(self, z, a, aux, g):
        return np.repeat(g, 2, axis=-1)


class GLU(ml.Transfer):
    """The first half of the units times the sigmoid of the second; it asserts that there are two."""

    def output_shape(self, input_shape):
        assert input_shape[-1] % 2 == 0
        return (*input_shape[:-1], input_shape[-1] // 2)

    def apply(self, z, training=False, rng=None):
        v, w = np.split(z, 2, axis=-1)
        return v / (1 + np.exp(-w)), None

    def adjoint(self, z, a, aux, g):
        v, w = np.split(z, 2, axis=-1)
        gate = 1 / (1 + np.exp(-w))
        return np.concatenate([g * gate, g * v * gate * (1 - gate)], axis=-1)


class GLUExchanged(GLU):
    def adjoint(self, z, a, aux, g):
        return np.concatenate(np.split(super().adjoint(z, a, aux, g), 2, axis=-1)[::-1], axis=-1)


class Drop(ml.Transfer):
    def mask(self, z, rng):
        return ((rng.random(z.shape) >= 0.4) / 0.6).astype(z.dtype)

    def apply(self, z, training=False, rng=None):
        if not training:
            return z, None
        mask = self.mask(z, rng)
        return z * mask, mask

    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * aux


class DropOfAll(Drop):
    def mask(self, z, rng):
        return super().mask(z, np.random)


class DropKept(Drop):
    def mask(self, z, rng):
        self.kept = getattr(self, "kept", {})
        return self.kept.setdefault(z.shape, super().mask(z, rng))


class DropAgain(Drop):
    def adjoint(self, z, a, aux, g):
        return g if aux is None else g * super().mask(z, np.random)


class SoftmaxOfUnits(ml.Activation):
    def forward(self, z):
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def derivative(self, z):
        a = self.forward(z)
        return a * (1 - a)


class Buffered(ml.Tanh):
    def forward(self, z):
        self.buffer = getattr(self, "buffer", {})
        return np.tanh(z, out=self.buffer.setdefault((z.shape, z.dtype), np.empty_like(z)))


class Overflows(ml.Activation):
    range = (0.0, np.inf)

    def forward(self, z):
        return np.log(1 + np.exp(20 * z)) / 20

    def derivative(self, z):
        return 1 / (1 + np.exp(-20 * z))


class NoTop(ml.Activation):
    range = (0.0, 6.0)

    def forward(self, z):
        return np.clip(z, 0, 6)

    def derivative(self, z):
        return (z > 0).astype(z.dtype)


class CommitsEarly(ml.BatchNorm):
    def apply(self, z, training=False, rng=None):
        a, aux = super().apply(z, training, rng)
        super().commit(aux)
        return a, aux


@pytest.mark.parametrize("thing", [Maxout(), GLU(), Drop()], ids=repr)
def test_transfers_of_even_widths_and_with_random_numbers_can_be_judged(thing):
    assert ml.verify(thing).passed


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (MaxoutBoth(), "a mask is missing", "raises"), (GLUExchanged(), "permuted, swapped", "raises"),
    (DropOfAll(), "that are not those of rng", "linear"), (DropKept(), "of its first call are kept", "linear"),
    (DropAgain(), "it is not the same twice", "clipped"), (SoftmaxOfUnits(), "it is not elementwise", "flat"),
    (Buffered(), "a buffer is reused", "flat"), (Overflows(), "overflow", "power"),
    (NoTop(), "wrong where z > 6", "bias"),
    (CommitsEarly(3), "commit takes the batch twice", "permuted")], ids=lambda value: repr(value)[:30])
def test_a_wrong_transfer_is_told_by_its_cause(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


# ---- maps and losses

class Sequence(ml.Map):
    """The same map at each of so many times."""

    n_in, n_out, times = 2, 3, 6
    theta_shape = (3, 3)

    def initial_theta(self, rng):
        return rng.standard_normal((3, 3))

    def output_shape(self, input_shape):
        if tuple(input_shape) != (6, 2):
            raise ValueError("Sequence: expects (6, 2)")
        return (6, 3)

    def forward(self, theta, a):
        return a @ theta[:-1] + theta[-1]

    def adjoint_input(self, theta, g):
        return g @ theta[:-1].T

    def adjoint_theta(self, a, g):
        a, g = self.rows(a), self.columns(g)
        return np.concatenate([a.T @ g, g.sum(axis=0, keepdims=True)])

    def rows(self, a):
        return a.reshape(-1, 2)

    def columns(self, z):
        return z.reshape(-1, 3)


class RowsTwice(ml.Linear):
    def rows(self, a):
        return 2 * a


class BiasTwice(ml.Linear):
    def forward(self, theta, a):
        return a @ theta[:-1] + 2 * theta[-1]


class TanhInside(ml.Linear):
    def forward(self, theta, a):
        return super().forward(theta, np.tanh(a))


class Jumps(ml.Loss):
    """Huber's, without the constant that joins its pieces."""

    def value_per_sample(self, z, y):
        r = abs(z - y)
        return np.where(r < 0.7, r * r / 2, 0.7 * r).sum(axis=-1)

    def gradient(self, z, y):
        return np.clip(z - y, -0.7, 0.7) * z.dtype.type(self.weight(len(z)))


class Pinball(ml.SquaredError):
    """Its prox is that of the squared error, which it inherits."""

    def value_per_sample(self, z, y):
        return np.where(y > z, 0.3 * (y - z), 0.7 * (z - y)).sum(axis=-1)

    def gradient(self, z, y):
        return np.where(y > z, -0.3, 0.7).astype(z.dtype) * z.dtype.type(self.weight(len(z)))


class Cauchy(ml.Loss):
    """Not convex, and it does not say so."""

    def value_per_sample(self, z, y):
        return np.log1p((z - y) ** 2).sum(axis=-1) / 2

    def gradient(self, z, y):
        return (z - y) / (1 + (z - y) ** 2) * z.dtype.type(self.weight(len(z)))


class WeightsForgotten(ml.SquaredError):
    """The value weighs outputs, the gradient does not."""

    def value_per_sample(self, z, y):
        return ((z - y) ** 2 * (1 + np.arange(z.shape[1]))).sum(axis=-1) / 2


def test_a_map_of_sequences_finds_samples_that_it_takes():
    assert ml.verify(Sequence()).passed


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (RowsTwice(4, 3), "rows(a) are off by a constant factor", "twice"),
    (BiasTwice(4, 3), "the bias is added twice", "order"),
    (TanhInside(4, 3), "the map is not affine in a", "constant factor"), (Jumps(), "the value jumps", "off by"),
    (Pinball(), "its transfer is another loss's", "independent"), (Cauchy(), "convex = False", "concave"),
    (WeightsForgotten(), "", "cut off")], ids=lambda value: repr(value)[:30])
def test_a_wrong_map_or_loss_is_told_by_its_cause(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


# ---- methods

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


def test_a_method_is_no_reference_for_itself():
    report = ml.verify(gradient, like=gradient)
    assert not report.failures
    assert report.unverified
    assert not report.passed


# ---- claims

def distance(z, v):
    return ((z - v) ** 2).sum() / 2


def in_box(z, v):
    return distance(z, v) if abs(z).max() <= 1 + 1e-12 else np.inf


def in_ball(z, v):
    return distance(z, v) if np.linalg.norm(z) <= 1 + 1e-12 else np.inf


def of_size(size):
    def draw(rng):
        n = int(rng.integers(2, 9))
        return {"z": rng.standard_normal(n), "v": size * rng.standard_normal(n)}
    return draw


def on_simplex(v):
    u = np.sort(v)[::-1]
    shift = (np.cumsum(u) - 1) / np.arange(1, len(v) + 1)
    return relu(v - shift[np.nonzero(u > shift)[0][-1]])


def few(z, v, lam):
    return lam * np.count_nonzero(z) + distance(z, v)


def draw_few(rng):
    return {**of_size(2)(rng), "lam": float(np.exp(rng.uniform(-3, 3)))}


def bowl(z, H):
    return z @ H @ z / 2


def draw_bowl(rng):
    m = rng.standard_normal((4, 8))
    return {"z": rng.standard_normal(4), "H": m @ m.T / 4}


def at_once(z, H):
    return {"z": z - (H @ z) / np.diag(H)}


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (ml.Argmin(distance, lambda v: np.exp(v) / np.exp(v).sum(), "z", of_size(1), project=on_simplex), "",
     "step from"),
    (ml.Argmin(in_box, lambda v: v / max(1, abs(v).max()), "z", of_size(2)), "", "a term in z"),
    (ml.Argmin(in_ball, lambda v: v / np.linalg.norm(v), "z", of_size(0.4)), "", "2 v stands"),
    (ml.Argmin(in_ball, lambda v: 1.1 * v / max(1, np.linalg.norm(v)), "z", of_size(2)), "outside the domain",
     "depend"),
    (ml.Argmin(few, lambda v, lam: v * (abs(v) > lam), "z", draw_few), "", "lam/2 stands"),
    (ml.Decreases(bowl, lambda z, H: {"z": z - 2.5 / np.linalg.norm(H, 2) * H @ z}, draw_bowl), "the step is too long",
     "Jacobi"),
    (ml.Decreases(bowl, at_once, lambda rng: {"z": rng.standard_normal(4), "H": np.eye(4) + 3}), "(Jacobi)",
     "too long"),
    (ml.Equal(lambda z: 2 * z, lambda z: 3 * z, lambda rng: {"z": np.zeros(3)}), "all that is drawn is 0", "factor")],
    ids=["simplex", "box", "ball", "outside", "threshold", "step", "jacobi", "zeros"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_reason_is_given_by_chance(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


# ---- what is seen of a part, and does not hold of the rest

def square(v):
    return (v * v).sum()


def gap(z, t, y, rho, gamma):
    return gamma * square(y - relu(z)) / 2 + rho * square(z - t) / 2


def draw_gap(rng):
    z, t, y = rng.standard_normal((3, 4, 3))
    return {"z": z, "t": t, "y": y, "rho": float(rng.uniform(0.3, 3)), "gamma": float(rng.uniform(0.3, 3))}


def not_cut(t, y, rho, gamma):
    up, down = (gamma * y + rho * t) / (gamma + rho), np.minimum(t, 0)
    return np.where(gamma * (y - up) ** 2 + rho * (up - t) ** 2 < gamma * y**2 + rho * (down - t) ** 2, up, down)


def likelihood(P, S):
    P = (P + P.T) / 2
    w = np.linalg.eigvalsh(P)
    return (S * P).sum() - np.log(w).sum() if w[0] > 0 else np.inf


def draw_likelihood(rng):
    B = rng.standard_normal((9, 4))
    return {"P": np.eye(4), "S": B.T @ B / 9}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (ml.Argmin(gap, not_cut, "z", draw_gap), "", "a term in"),
    (ml.Gradient(likelihood, lambda P, S: np.linalg.inv(P) + S, "P", draw_likelihood), "a term in the inverse of P",
     "a term in P ")], ids=["branch", "identity"])
def test_a_term_is_named_only_if_it_explains_all_entries_there_and_elsewhere(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


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


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("method", "objective", "said", "unsaid"), [
    (hard_threshold, sparse_step, "", "lam is left out"),
    (decay_not_of_the_old, decayed_step, "a term in theta_old is missing", "lam is left out")], ids=["hard", "decay"])
def test_a_guess_is_named_only_if_nothing_else_is_seen_elsewhere(method, objective, said, unsaid, seed):
    tells(said, unsaid, method, objective=objective, seed=seed)


class HardTanh(ml.Activation):
    range, half = (-1.0, 1.0), 0.5

    def forward(self, z):
        return np.clip(z, -1, 1)

    def derivative(self, z):
        return (abs(z) < 1).astype(z.dtype)

    def integral(self, z):
        return np.where(abs(z) < 1, z**2 / 2, abs(z) - self.half)


class OneSum(ml.Loss):
    def value_per_sample(self, z, y):
        return ((z - y) ** 2).sum() / 2

    def gradient(self, z, y):
        return self.weight(len(z)) * (z - y)


class Distance(ml.Loss):
    def value_per_sample(self, z, y):
        return np.sqrt(((z - y) ** 2).sum(axis=-1))

    def gradient(self, z, y):
        return self.weight(len(z)) * (z - y) / self.value_per_sample(z, y)[:, None]


class Kept(ml.Tanh):
    def forward(self, z):
        return vars(self).setdefault(str((z.shape, z.dtype)), np.tanh(z))


class Affine(ml.activations.Softmax):
    def adjoint(self, z, a, aux, g):
        return super().adjoint(z, a, aux, g) + a - 1


@pytest.mark.parametrize(("thing", "words"), [
    (type("Jumps", (HardTanh,), {"half": 0.0})(), "F jumps: its pieces do not join"),
    (OneSum(), "value_per_sample returns shape (), not (N,)"), (Distance(), "not finite (NaN or inf) at ties"),
    (Kept(), "σ(z) is that of an earlier z of this shape"), (Affine(), "not linear in g, but affine")],
    ids=lambda x: type(x).__name__)
def test_what_was_missed_or_misnamed(thing, words):
    assert any(words in check.reason for check in ml.verify(thing).failures)


def test_pieces_of_an_integral_that_join_are_no_jump():
    ml.verify(HardTanh()).raise_for_failures()


# ---- what fits by chance, or fits in part, asks for more

class TanhInSingle(ml.Activation):
    def forward(self, z):
        return np.tanh(np.asarray(z, np.float32)).astype(z.dtype)

    def derivative(self, z):
        return 1 - np.tanh(z) ** 2


class Product(ml.Add):
    def forward(self, theta, *values):
        return values[0] * values[1]

    def adjoint_inputs(self, theta, g, values):
        return [g * values[1], g * values[1]]


class Quantile(ml.Loss):
    def value_per_sample(self, z, y):
        return np.maximum(0.8 * (y - z), 0.2 * (z - y)).sum(axis=-1)

    def gradient(self, z, y):
        return np.where(z < y, -0.2, 0.8) * self.weight(len(z))


class PoolFromZero(ml.MaxPool2d):
    def apply(self, z, training=False, rng=None):
        a, aux = super().apply(z, training, rng)
        return np.maximum(a, 0), aux


class NoDifference(ml.TargetPropagation):
    def differences(self, net, state, y):
        off, h = super().differences(net, state, y), [*state.a[: net.depth], state.z[net.depth]]
        for l in range(net.depth, 1, -1):
            off[l - 1] = h[l - 1] - self.inverse(net, l, h[l] - off[l])
        return off


def blocks_of_32(block):
    kept = len(block.a) if len(block.a) <= 32 else len(block.a) // 32 * 32
    return block.phi.adjoint_theta(block.a[:kept], block.g[:kept])


def hills(z, v):
    return (1 - np.cos(z)).sum() + 0.01 * ((z - np.pi) ** 2).sum()


def wells(z, v):
    return ((z * z - 1) ** 2).sum() + 0.1 * z.sum()


def to_the_next_well(z):
    for _ in range(300):
        z = z - 0.02 * (4 * z * (z * z - 1) + 0.1) / (1 + z * z)
    return z


@pytest.mark.parametrize(("thing", "options", "said", "unsaid"), [
    (TanhInSingle(), {}, "in single precision", "nearly right"),
    (Product("x"), {}, "the signal to value 1: it is that of value 0", "a mask is missing"),
    (Quantile(), {}, "two sides of the target are exchanged", "of the targets"),
    (PoolFromZero(2), {}, "some entries should be zero", "padding"),
    (NoDifference(), {"like": ml.TargetPropagation()}, "the difference, is missing", "nan"),
    (blocks_of_32, {"like": ml.BackProp()}, "the last samples are left out", "a factor of its own"),
    (ml.Argmin(hills, lambda v: np.full(v.shape, np.pi), "z"), {}, "a maximum", "all its rows"),
    (ml.Argmin(wells, to_the_next_well, "z", draw=lambda rng: {"z": rng.uniform(-1.5, 1.5, (4, 3)), "v": 0.0}), {},
     "it depends on the old z", "it is stuck")], ids=lambda x: type(x).__name__)
def test_what_fits_by_chance_or_in_part_is_not_said(thing, options, said, unsaid):
    tells(said, unsaid, thing, **options)


# ---- usual mistakes in methods, made in the reference

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


def krylov(block, change):
    """Return three steps of conjugate gradients for τ_θ = 0.2, β inverted or with a preconditioner."""
    slope = block.phi.adjoint_theta(block.a, block.g)
    if block.last:
        return slope
    A = np.hstack([block.a, np.ones_like(block.a[:, :1])])
    M = A.T @ A + 5 * np.eye(A.shape[1], dtype=A.dtype)
    scale = 1 / np.diag(M)[:, None] if change == "diagonal" else 1.0
    d, r, p = 0 * slope, slope, scale * slope
    for _ in range(3):
        square = (r * scale * r).sum(axis=0)
        step = p * square / np.maximum((p * (M @ p)).sum(axis=0), 1e-300)
        d, r = d + step, slope - M @ (d + step)
        share = (r * scale * r).sum(axis=0) / np.maximum(square, 1e-300)
        p = scale * r + p * (1 / np.maximum(share, 1e-300) if change == "inverted" else share)
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
    (lambda b: krylov(b, "inverted"), {"like": CG3, "net": CHAIN}, "β is inverted"),
    (lambda b: krylov(b, "diagonal"), {"like": CG3, "net": CHAIN}, "preconditioned by the diagonal"),
    (ml.Equal(lambda a: a[: len(a) // 2].T @ a[: len(a) // 2], lambda a: a.T @ a,
              draw=lambda rng: {"a": rng.normal(size=(9, 2))}), {}, "the last rows have no part in it"),
    (ml.Equal(lambda a: a @ a.T, lambda a: a @ a.T + 1), {}, "all entries are off by one number")],
    ids=lambda x: x if isinstance(x, str) else "")
def test_a_usual_mistake_is_made_and_named(thing, options, said):
    tells(said, "nan", thing, **options)


def test_the_steps_in_which_mistakes_are_made_are_right():
    ml.verify(matching_steps, like=LOCO).raise_for_failures()
    ml.verify(lambda b: krylov(b, ""), like=CG3, net=CHAIN).raise_for_failures()


def test_no_rank_is_asked_of_what_is_not_finite():
    """NumPy raises for one, which would be told as an error of the user's."""
    assert not list(seen_reasons(np.ones((3, 3)), np.full((3, 3), np.nan)))

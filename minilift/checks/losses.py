r"""Claims about losses: the gradient (ProxProp (8), (12)), the prox (§4.2.1), matching losses, and predictions."""

from __future__ import annotations

import contextlib
import itertools
import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from minilift.checks.cases import (
    FIRST_IS_LAST,
    OF_A_LINE,
    ROUNDING,
    Case,
    by_rows_and_layout,
    in_float32,
    interleaved,
    jump_of,
    of_each_sample,
)
from minilift.checks.minima import lowest_around_result, minimum_case, minimum_finding, reaches
from minilift.checks.numeric import OFF, Asked, compare, dense, fits, gradient, is_soon_off, seen_last, tried
from minilift.checks.report import EXPLICIT, Finding, Guess, NotClaimed, claim, only_if
from minilift.layers.losses import Loss

FAR = 4.0  # outputs this many times those drawn may still occur in training
CONCAVE = "it is concave: its sign is wrong"
NOT_CONVEX = "it is not convex, though it says convex = True"
PAST_TARGETS = np.linspace(-3, 3, 25)[:, None, None]  # distances from the targets at which a prox is taken
STEPS_BESIDE = (0.3, 0.05, 0.005, -0.005, -0.05, -0.3)
SIZES = ((1, 3, 0.7), (5, 1, 300.0), (3, 4, 0.4), (6, 2, 50.0), (17, 5, 3.0))  # samples, outputs, and τ of a prox
BENT = 8  # further points at which a loss that does not say whether it is convex is looked at
HUGE = 1e60  # a loss that exceeds this for outputs of a few hundred grows exponentially


@dataclass(frozen=True)
class LossCase(Case):
    """Outputs z, targets y, other outputs w, at which the prox is taken, and its τ for each sample."""

    z: np.ndarray
    y: np.ndarray
    w: np.ndarray
    tau: float
    everywhere: bool = True  # whether the loss is finite for all outputs tried

    def value(self, loss, z):
        """Return the loss, also of complex outputs if it supports them."""
        return self.loss_value(loss, z, self.y)

    def alike(self):
        """Return one more problem of this kind, with fewer samples if there are several."""
        n = (len(self.z) + 1) // 2
        shares = np.random.default_rng(10).uniform(0.6, 1, self.z[:n].shape)
        return replace(self, z=shares * self.z[:n], y=self.y[:n], w=shares * self.w[:n], tau=shares.flat[0] * self.tau)


def loss_cases(loss, rng, xp):
    """Return a loss and random problems for it: one sample, one output, wide ones and tall ones.

    Those in which it is NaN are left to one claim, unless there are no others; those that it refuses are left out.
    """
    cases, refused = [], NotClaimed()
    for size in SIZES:
        try:
            cases.append(loss_case(loss, rng, xp, *size))
        except NotClaimed as error:
            refused = error
    if not cases:
        raise refused
    return loss, [case for case in cases if not is_nan(loss, case)] or cases


def is_nan(loss, case):
    """Whether a loss is NaN at ordinary outputs."""
    return bool(np.isnan(tried(case.value, loss, case.z) or 0.0))


def loss_case(loss, rng, xp, n, n_out, tau):
    """Return one problem for a loss; if the loss is infinite outside its domain, the outputs are inside."""
    y = draw_targets(loss, rng, n, n_out)
    far = 1.5 * (FAR if tau > 100 else 1.0)  # the scale of the outputs from which a long step of a prox begins
    case = LossCase(f"N = {n}, {n_out} outputs", xp, z=1.5 * rng.standard_normal((n, n_out)), y=y,
                    w=far * rng.standard_normal((n, n_out)), tau=tau)
    if finite_around(loss, case, case.z) and finite_around(loss, case, case.w):
        return case
    for inside in (abs, lambda z: -abs(z), lambda z: z / 10, lambda z: 0.1 + abs(z) % 0.8):
        z, w = inside(case.z), inside(case.w)
        if finite_around(loss, case, z) and finite_around(loss, case, w):
            return replace(case, z=z, w=w, everywhere=False)
    return case


def finite_around(loss, case, z):
    """Whether a loss is finite at outputs and beside them; or raises, which the claims will report."""
    try:
        return all(np.isfinite(case.value(loss, z + h)) for h in (-2e-3, 0.0, 2e-3))
    except Exception:  # whatever is raised here will be raised in the claims too, and reported
        return True


def draw_targets(loss, rng, n, n_out):
    """Draw targets that a loss accepts: labels, numbers, shares in [0, 1], rows of probabilities, counts or signs."""
    if getattr(loss, "classification", False):
        return rng.integers(0, n_out, n)

    def drawn():
        yield rng.standard_normal((n, n_out))
        shares = rng.uniform(0.05, 0.95, (n, n_out))
        yield shares
        yield shares / shares.sum(axis=1, keepdims=True)
        yield from (np.floor(5 * shares), np.floor(5 * shares) + 1.0, np.sign(shares - 0.5))

    for y in drawn():
        with contextlib.suppress(ValueError):
            if hasattr(loss, "check_targets"):
                loss.check_targets(y, n, n_out, np.float64)
            return y
    raise NotClaimed(f"check_targets refuses the targets drawn for {n_out} output{'s' * (n_out > 1)}: numbers, shares, "
                     "rows of probabilities, counts and signs")


@claim("loss", "the gradient", "∇L_y(z), G_D = ∂J/∂z_D", "ProxProp (8), (12)")
def loss_gradient(loss, case):
    got = case.call(loss.gradient, case.z, case.y)
    if is_soon_off(lambda z: case.value(loss, z), case.z, got):
        return OFF
    reference = gradient(lambda z: case.value(loss, z), case.z)
    finding = compare(got, reference, lambda: loss_mistakes(loss, case),
                      {"N, the batch size": len(case.z), "the number of outputs": case.z.shape[1]})
    if finding.holds and case.everywhere:
        far = FAR * case.z
        finding = compare(case.call(loss.gradient, far, case.y), gradient(lambda z: case.value(loss, z), far))
        if finding.holds and case.z.shape[1] > 1:  # of a single output, a direction is a sign, which jumps
            line = case.w - case.z
            jump = jump_of(lambda t: np.array([case.value(loss, case.z + share * line) for share in t]), lambda t: [
                np.vdot(case.call(loss.gradient, case.z + share * line, case.y), line) for share in t])
            return Finding(jump, 1e-6, OF_A_LINE, ("the value jumps: its pieces do not join",))
        return finding.because(
            "value and gradient agree for small outputs and not for larger ones: one is clipped, or flat there")
    if got.shape != case.z.shape:
        return finding
    return finding.retold(lambda known: seen_last(known, slope_of_loss_reasons(loss, case, got, reference)))


def slope_of_loss_reasons(loss, case, got, reference):
    """Return properties of a wrong gradient that show where the mistake is."""
    difference = got - reference.value
    others = (case.y + 1) % case.z.shape[1] if case.y.ndim == 1 == len(case.y) else np.roll(case.y, 1)
    other, rolled = (case.call(loss.gradient, case.w, y) - gradient(
        lambda z, y=y: case.loss_value(loss, z, y), case.w).value for y in (case.y, others))
    if fits(other, difference) and np.any(difference) and not fits(rolled, difference):
        return ["what is wrong depends on the targets y alone: value and gradient take them differently, or the sign"]
    if case.y.ndim == 1 and case.z.shape[1] > 1 and (weights := tried(weight_reasons, loss, case)):
        return weights
    if case.y.ndim == 1 and case.z.shape[1] > 2:
        wrong = abs(difference) > 1e-5 * np.max(abs(reference.value))
        true = np.arange(case.z.shape[1]) == case.y[:, None]
        if np.any(wrong) and not np.any(wrong & ~true):
            return [Guess("it is wrong in the entry of the label alone")]
    if named_transfer(loss) is not None and type(loss).gradient is Loss.gradient:
        return ["value and transfer do not go together: the gradient, f(z) − y of its transfer f, is not that of the "
                "value"]
    return []


def weight_reasons(loss, case):
    """Return whether a gradient is off by a factor for each sample, tested with enough outputs to tell."""
    wide = loss_case(loss, np.random.default_rng(9), case.xp, 6, 4, 1.0)
    factors = []
    for z in (wide.z, wide.w):
        right, got = gradient(lambda z: wide.value(loss, z), z).value, wide.call(loss.gradient, z, wide.y)
        factors.append((got * right).sum(axis=1) / ((right**2).sum(axis=1) + 1e-300))
        if np.ptp(factors[-1]) < 1e-3 or not fits(got, factors[-1][:, None] * right):
            return []
    if np.allclose(*factors, rtol=1e-4):
        return ["each sample is off by a factor of its own: a weight of its class, or sample, is missing"]
    return ["each sample is off by a factor that depends on its outputs"]


def named_transfer(loss):
    """Return the f of a loss with gradient f(z) − y, or None if the loss names none."""
    return getattr(loss, "transfer", None)


def loss_mistakes(loss, case):
    """Return what common mistakes in the gradient of a loss of z − y would give."""
    if named_transfer(loss) is not None or case.y.shape != case.z.shape:
        return {}
    mirrored = gradient(lambda z: case.value(loss, z), 2 * case.y - case.z).value
    return {"what belongs above the target and what belongs below it are exchanged": mirrored,
            "the two sides of the target are exchanged: it takes y − z for z − y, or q for 1 − q": -mirrored,
            "it is z − y, as of the squared error: a weight, a clip or tanh, say, is missing":
                loss.weight(len(case.z)) * (case.z - case.y)}


@claim("loss", "where outputs have ties, or lie at kinks, the gradient is a subgradient",
       "L(w) ≥ L(z) + ⟨∇L(z), w − z⟩", "convention")
def loss_at_ties(loss, case):
    stated = states_convex(loss)
    only_if(stated is not False and case.everywhere, "it is not convex, or has a domain")
    only_if(case.z.size < 20, "larger problems would take long")
    ways = np.eye(case.z.size).reshape(-1, *case.z.shape)
    ways = [*ways, *np.random.default_rng(8).choice([-1.0, 1.0], (20, *case.z.shape))]

    def above(z, h=1e-3):
        value, slope = case.value(loss, z), case.call(loss.gradient, z, case.y)
        size = h * (np.max(abs(slope)) + 1e-6 * (1 + abs(value)))
        return max(value + np.vdot(slope, s * h * v) - case.value(loss, z + s * h * v)
                   for v in ways for s in (1, -1)) / size

    at = case.y if case.y.shape == case.z.shape else 0
    points = [np.round(case.z) + at, np.round(case.z[:, :1]) + 0 * case.z]  # in the second, each sample's outputs tie
    excess, slope = [above(z) for z in points], case.call(loss.gradient, points[0], case.y)
    worst = points[int(np.argmax(excess))]
    reason = NOT_CONVEX if above(worst, 1e-4) < 0.3 * np.max(excess) else (  # it comes from curvature, not a slope
        "it is wrong at ties or kinks: where entries, a margin or a threshold are met exactly")
    finding = Finding(float(np.max(excess)), 1e-4, "relative to the gradient, over steps of 1e-3", (reason,))
    if not np.all(np.isfinite(slope)):
        finding = Finding(math.inf, 1e-4, "a subgradient is a number", (
            "the gradient is not finite (NaN or inf) at ties, or where an output meets its target: 0/0 perhaps",))
    elsewhere = np.random.default_rng(9).standard_normal((BENT, *case.z.shape))
    only_if(finding.holds or stated or (reason != NOT_CONVEX and not any(
        bends_down(loss, case, z, ways) for z in (worst, case.z, case.w, *elsewhere))),
            "it is not convex, and does not say so")
    only_if(stated or not np.isnan([case.value(loss, z) for z in points]).any(), "it is NaN there, of 0/0 perhaps")
    only_if(finding.holds or (loss_gradient(loss, case).holds and convexity(loss, case).holds),
            "it is wrong elsewhere")
    return finding


def bends_down(loss, case, z, ways):
    """Whether a loss lies above one of its chords through some outputs, whatever its gradient is."""
    value = case.value(loss, z)
    return any(2 * value - case.value(loss, z + h * v) - case.value(loss, z - h * v) > 1e-9 * (1 + abs(value))
               for h in (1e-3, 1e-2, 0.1, 1.0) for v in ways)


@claim("loss", "proba is its transfer", "proba(z) = f(z)", "convention")
def proba_is_transfer(loss, case):
    only_if(hasattr(loss, "proba") and named_transfer(loss) is not None, "it has no proba, or names no transfer")
    f = case.call(loss.transfer.forward, case.z)
    return compare(case.call(loss.proba, case.z), dense(f)).because("proba(z) is not f(z), the transfer's value")


@claim("loss", "the batch is reduced as stated", "L(batch twice) = L(batch) for a mean, 2 L(batch) for a sum",
       "convention")
def loss_reduction(loss, case):
    only_if(hasattr(loss, "reduction"), "it states no reduction")
    twice = case.loss_value(loss, np.concatenate([case.z, case.z]), np.concatenate([case.y, case.y]))
    once = case.value(loss, case.z)
    n = len(case.z)
    if hasattr(loss, "value_per_sample") and (shape := case.call(loss.value_per_sample, case.z, case.y).shape) != (n,):
        return Finding(math.inf, 0.0, "one number for each", (f"value_per_sample returns shape {shape}, not (N,)",))
    if hasattr(loss, "value_per_sample"):
        of_samples = case.call(loss.value_per_sample, case.z, case.y).sum() * loss.weight(n)
        finding = compare(np.asarray(of_samples), dense(np.asarray(once)))
        if not finding.holds:
            return finding.because("value is not the sum of value_per_sample, times weight(N)")
    mistakes = {"it sums over the batch, but says mean": 2 * once, "it averages over the batch, but says sum": once}
    return compare(twice, dense(once if loss.reduction == "mean" else 2 * once), mistakes)


@claim("loss", "it is convex in z", "L(t z + (1 − t) w) ≤ t L(z) + (1 − t) L(w)", "convention")
def loss_is_convex(loss, case):
    stated, finding = states_convex(loss), convexity(loss, case)
    only_if(stated is not False, "it says that it is not convex")
    concave = CONCAVE in finding.reasons and falls_far_out(loss, case)
    only_if(stated or concave, "it does not say that it is: convex = True")
    return finding


def falls_far_out(loss, case):
    """Whether the mean of a loss over both sides keeps falling far out, rather than levelling off, for all targets.

    A loss for positive targets, or for shares, may well be concave for others, and need not refuse these.
    """
    def falls(y, t):
        return 2 * case.loss_value(loss, 0 * case.z, y) - sum(case.loss_value(loss, s * t * case.z, y) for s in (-1, 1))

    kinds = (case.y,) if case.y.ndim == 1 else (case.y, 1 / (1 + np.exp(-case.y)), 1 + abs(case.y), np.sign(case.y))
    return all(falls(y, 30.0) > 0 and falls(y, 300.0) > 5 * falls(y, 30.0) for y in kinds)


def states_convex(loss):
    """Return whether a loss states that it is convex or not, None if it states neither; the package's are convex."""
    return getattr(loss, "convex", True if type(loss).__module__.startswith("minilift.") else None)


def convexity(loss, case):
    """Return the finding on whether a loss lies below its chords."""
    far = ((5 * case.z, case.z), (5 * case.w, case.w), (4 * case.z, -4 * case.w)) if case.everywhere else ()
    pairs, shares = ((case.z, case.w), *far), np.array([0.1, 0.3, 0.5, 0.7, 0.9])

    def above(z, w):
        ends = case.value(loss, z), case.value(loss, w)
        chord = shares * ends[0] + (1 - shares) * ends[1]
        return (np.array([case.value(loss, t * z + (1 - t) * w) for t in shares]) - chord) / (1 + sum(map(abs, ends)))

    excess = np.nan_to_num([above(*pair) for pair in pairs], posinf=0.0)  # where it overflows
    reason = CONCAVE if np.all(excess >= 0) and np.max(excess) > 1e-12 else NOT_CONVEX
    return Finding(float(np.max(excess)), 1e-12, ROUNDING, (reason,))


@claim("loss", "it is the matching loss of its transfer", "L(z) − L(w) = ∫ ⟨f − y, dz⟩ along a line", "LocoProp-M")
def matching_loss(loss, case):
    only_if(named_transfer(loss) is not None and hasattr(loss, "targets"), "it names no transfer")
    y, weight = case.call(loss.targets, case.z, case.y), loss.weight(len(case.z))
    line = case.z - case.w

    def along(count):
        nodes = zip(*np.polynomial.legendre.leggauss(count))
        return weight * sum(q / 2 * np.vdot(case.call(loss.transfer.forward, case.w + (t + 1) / 2 * line) - y, line)
                            for t, q in nodes)

    got, total = case.value(loss, case.z) - case.value(loss, case.w), along(60)
    kinked = 20 * abs(total - along(45)) / (abs(total) + 1e-6)
    reference = dense(total, 1e-7 + kinked, "Gauss quadrature of 60 nodes, and how far it is from 45")
    other = ("f(z) − y is not its gradient: its transfer is another loss's, inherited perhaps, with the prox made of "
             "it; a loss without a transfer names none")
    return compare(got, reference, factors={"N, the batch size": len(case.z)}).retold(
        lambda known: known or [other] * loss_gradient(loss, case).holds)


@claim("loss", "predict says what the loss is least of", "L(z, predict(z)) ≤ L(z, y) for all labels y", "convention")
def loss_predicts(loss, case):
    only_if(getattr(loss, "classification", False) and hasattr(loss, "predict"), "it does not classify")
    predicted, of_each = case.call(loss.predict, case.z), hasattr(loss, "value_per_sample")
    only_if(of_each, "it has no loss of each sample")
    own = not type(loss).__module__.startswith("minilift.")
    inherited = own and type(loss).predict.__module__.startswith("minilift.")

    def of_labels(z):
        return np.stack([case.call(loss.value_per_sample, z, np.full(len(z), label)) for label in range(z.shape[1])])

    def excess(losses):
        if inherited:  # the most probable label need not have the least loss, only less than the mean over labels
            return float(np.mean(losses[predicted, np.arange(len(predicted))]) - losses.mean())
        return float(np.max(losses[predicted, np.arange(len(predicted))] - losses.min(axis=0)))

    losses, equal = of_labels(case.z), of_labels(0 * case.z)  # with all outputs 0, only a label's own weight remains
    weighted = [losses / equal, losses - equal] if np.ptp(equal) > 1e-9 and np.all(equal > 0) else []
    return Finding(min(map(excess, [losses, *weighted])), 1e-9, ROUNDING, (
        "predict is not the label of the least loss",))


@claim("loss", "it is a function of its arguments", FIRST_IS_LAST, "convention")
def loss_remembers_nothing(loss, case):
    z, y = [case.lend(case.z), case.lend(case.w)], [case.lend(case.y), case.lend(case.y[::-1])]
    finding = interleaved({"the gradient": lambda k: loss.gradient(z[k], y[k]),
                           "the value": lambda k: np.asarray(loss.value(z[k], y[k]))})
    if not finding.holds or len(case.z) == 1:
        return finding
    right, mixed, reversed_too = (case.call(loss.gradient, case.z[::k], case.y[::j])[::k]
                                  for k, j in ((1, 1), (-1, 1), (-1, -1)))
    return compare(reversed_too, dense(right)).because(
        "the gradient of a sample depends on its place in the batch" if np.any(mixed != reversed_too)
        else "the gradient for other targets is that for earlier ones: they are cached")


@claim("loss", "its gradient is the same in a large batch, and in any memory layout", "∇L(z)_i / weight = ∇ℓ(z_i)",
       "convention")
def loss_in_any_layout(loss, case):
    only_if(case.everywhere and hasattr(loss, "weight"), "it is infinite outside of its domain, or states no weight")

    def per_weight(z, y):
        return case.call(loss.gradient, z, y) / loss.weight(len(z))

    few = np.resize(np.arange(len(case.z)), max(len(case.z), 3))  # of one sample three, of other sizes
    z, y = case.z[few] * np.linspace(0.5, 1.5, len(few))[:, None], case.y[few]
    each = of_each_sample(lambda rows: per_weight(z[rows], y[rows]), np.arange(len(few)))
    only_if(each.holds, "its samples are coupled, or weight(N) is not that of its gradient")
    return by_rows_and_layout({"the gradient": per_weight}, [case.z, case.y])


@claim("loss", "float32 stays float32", "dtype of ∇L_y(z)", "convention")
def loss_keeps_float32(loss, case):
    values = case.z.shape[1] > 1  # of a single output, the slope of an angle, say, is but rounding
    return in_float32(case, {"the gradient": lambda single: loss.gradient(single(case.z), single(case.y))}, values)


@claim("loss", "finite for large outputs", "|L(±1000)|, |∇L(±1000)| < ∞", "float64")
def loss_is_safe(loss, case):
    for n, n_out, tau in SIZES:
        other = tried(loss_case, loss, np.random.default_rng(12), case.xp, n, n_out, tau)
        if other and is_nan(loss, other):
            return Finding(math.inf, 0.0, "no value may be NaN or inf", (
                f"it is NaN for {n} sample{'s' * (n > 1)} with {n_out} output{'s' * (n_out > 1)}: 0/0, as of a "
                "division by one less than their number, or the log or root of a negative number",))
    only_if(case.everywhere, "it is infinite outside of its domain")
    far = 1000.0 * np.sign(case.z)
    finite = math.isfinite(case.value(loss, far)) and np.isfinite(case.call(loss.gradient, far, case.y)).all()
    nearer = [case.value(loss, t * far) for t in (0.2, 0.4, 0.6)] if not finite else []
    only_if(not any(math.isfinite(value) and abs(value) > HUGE for value in nearer),
            "its true value exceeds the largest number there: it grows exponentially")
    return Finding(float(not finite), 0.0, "no value may be NaN or inf",
                   ("it overflows: exp of a large number, or log of zero",))


@claim("loss", "the prox minimises its objective: no probe is lower", "prox_τL(v) = argmin_u L(u) + ‖u − v‖²/2τ",
       "ProxProp §4.2.1")
def loss_prox(loss, case):
    own = type(loss).prox is not Loss.prox if isinstance(loss, Loss) else True  # which may say that it is not defined
    only_if(hasattr(loss, "prox") and (own or named_transfer(loss) is not None), "it has no prox")
    only_if(case.z.size <= 12, "larger problems would take long")
    try:
        case.call(lambda v, y: loss.prox(v, y, case.tau * len(case.w)), case.w, case.y)
    except NotImplementedError as why:
        raise NotClaimed(f"its prox is not defined: {why}") from None
    posed, given = prox_problem(loss, case)
    (objective, _, prox, *_), weight = posed, given["weight_of_a_sample"]
    single = len(case.w) == 1 and case.y.shape == case.w.shape
    for v, tau in itertools.product(case.y + PAST_TARGETS, (case.tau / 2, 2 * case.tau)) if single else ():
        # pieces may meet at these distances from the target
        if lower_beside(partial(objective, v=v, tau=tau, weight_of_a_sample=weight), prox(v, tau)):
            return minimum_finding(objective, "u", prox, v, v=v, tau=tau, **given) if Asked.measured else Finding(
                math.inf, 0.0, "a probe is lower")
    finding = minimum_finding(*posed, v=case.w, tau=case.tau * len(case.w), **given)
    return finding.retold(lambda known: [reason for reason in known if EXPLICIT not in reason or tried(
        is_explicit, loss, case, prox)])


def is_explicit(loss, case, prox):
    """Whether a prox takes a multiple of the gradient at its argument, the same one near to the targets and far away.

    One that only chooses its piece by the argument does so on some pieces.
    """
    beside = case.y if case.y.shape == case.w.shape else 0
    shares = []
    for nearer in (1.0, 0.3, 0.03):
        v = beside + nearer * (case.w - beside)
        step, slope = v - prox(v, case.tau * len(v)), case.call(loss.gradient, v, case.y)
        shares.append(np.vdot(step, slope) / np.vdot(slope, slope))
        if not np.max(abs(step - shares[-1] * slope)) <= 1e-4 * np.max(abs(step)):
            return False
    return np.ptp(shares) <= 1e-4 * max(shares)


def prox_problem(loss, case):
    """Return what a prox minimises, its block, the prox and its argument, and what else both are given, by name."""
    weight = loss.weight(len(case.w))

    def objective(u, v, tau, weight_of_a_sample, y=case.y):
        return case.loss_value(loss, u, y) * (weight_of_a_sample / weight) + ((u - v) ** 2).sum() / (2 * tau)

    def prox(v, tau, y=case.y):
        return case.call(lambda v, y: loss.prox(v, y, tau), v, y)

    # the loss's case passes arrays of the backend to value and prox; labels are not numbers that can be altered
    given = {} if case.y.dtype.kind in "iu" else {"y": case.y}
    return (objective, "u", prox, case.w), {"weight_of_a_sample": weight, **given}


def prox_as_low_as_probes(thing, cases):
    """Return a function that says whether another loss's prox comes as low as the probes around this one's.

    It costs one evaluation of the loss, while probing costs hundreds.
    """
    def prox_case(loss, case):
        posed, given = prox_problem(loss, case)
        return minimum_case(*posed, v=case.w, tau=case.tau * len(case.w), **given)

    lowest = {}

    def is_as_low(claim, loss, case):
        if claim.measure is not loss_prox:
            return True
        if case.label not in lowest:
            first = next(known for known in cases if known.label == case.label)
            lowest[case.label] = tried(lambda: lowest_around_result(prox_case(thing, first)))
        return reaches(prox_case(loss, case), lowest[case.label])

    return is_as_low


def lower_beside(objective, u):
    """Whether an objective is lower than at a point u a little or some way off, in one output or all."""
    if not math.isfinite(value := objective(u)):
        return False
    ways = [*np.eye(u.size).reshape(-1, *u.shape), np.ones(u.shape)]
    return any(objective(u + s * v) < value - 1e-7 * (1 + abs(value)) for v in ways for s in STEPS_BESIDE)


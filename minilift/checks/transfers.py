r"""Claims about transfers: σ' and the adjoint (ProxProp (9)), the integral F (LocoProp-M), its conjugate, pieces."""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass

import numpy as np

from minilift.checks.cases import (
    CUT,
    FIRST_IS_LAST,
    MANY,
    OF_A_LINE,
    ROUNDING,
    Case,
    by_rows_and_layout,
    copied,
    fits_shapes,
    in_float32,
    interleaved,
    jump_on_line,
    of_each_sample,
    sample_shape,
    to_host,
    where_wrong,
    wrong_shape,
)
from minilift.checks.numeric import (
    OFF,
    Asked,
    Tangents,
    compare,
    dense,
    directional,
    fits,
    fitted_factor,
    gradient,
    is_soon_off,
    seen_last,
    tried,
)
from minilift.checks.report import SINGLE, Finding, claim, nothing_of, only_if, worst_of
from minilift.layers.normalization import BatchNorm
from minilift.support.arguments import is_floating
from minilift.support.backend import array_module

NOT_ELEMENTWISE = "not elementwise: its adjoint is checked instead"
NOT_LINEAR = "it is not linear in g: clipped, or masked by the sign of g"
AFFINE = "it is not linear in g, but affine: it is not 0 for g = 0, a term lacks its g, or a sum of g"
CACHED = "σ(z) is that of an earlier z of this shape: forward is cached, or remembers"
COUPLED = "it is not elementwise: an entry depends on others; a Transfer, with apply and adjoint, may be so"
NO_INTEGRAL = "it has no integral F, which only LocoProp-M needs"
RESTLESS = "of one signal it is not the same twice: it draws random numbers, or remembers"


# ---- transfers


@dataclass(frozen=True)
class TransferCase(Case):
    """A batch z, a tangent of z, a cotangent g of a = σ(z), and whether layers that distinguish it are in training."""

    z: np.ndarray
    tangent: np.ndarray
    g: np.ndarray
    training: bool
    elementwise: bool


def transfer_cases(sigma, rng, xp, shape=None):
    """Return a transfer and random problems for it: a batch of one, one unit, saturated and dead units."""
    sigma = in_double(sigma, xp)
    # a transfer that draws random numbers, or keeps something for its adjoint, may be elementwise without a derivative
    elementwise = getattr(sigma, "elementwise", False) and hasattr(sigma, "derivative")
    case, cases, shapes = Case("", xp), [], [(3,), (1,), (4,)]
    # a transfer with a slope for each channel accepts only samples like those in its network
    elementwise &= shape is None or all(tried(case.call, sigma.forward, np.zeros((2, *n))) is not None for n in shapes)
    shapes = shapes if elementwise else [shape] * 3 if shape else transfer_shapes(sigma)
    batches = (2, 7, 3) if hasattr(sigma, "commit") else (1, 7, 2)
    for n, shape, scale in zip(batches, shapes, (1.0, 1.0, 4.0)):
        for _ in range(100):  # until second differences show no kink of σ at z: at a kink there is no derivative
            z = scale * rng.standard_normal((n, *shape))
            if smooth_at(case, sigma, z, rng):
                break
        for training in (True,) if elementwise else (False, True):
            label = f"N = {n}, samples of shape {shape}" + ("" if elementwise else f", training = {training}")
            g = rng.standard_normal(case.apply(sigma, z, training)[0].shape)
            cases.append(TransferCase(label, xp, z, rng.standard_normal(z.shape), g, training, elementwise))
    return sigma, cases


def in_double(sigma, xp):
    """Return a transfer in float64 on a backend, with its own parameters elsewhere than where training begins.

    A mistake may not show where they are all ones or zeros.
    """
    sigma = sigma.on_backend(xp, np.dtype(np.float64)) if hasattr(sigma, "on_backend") else sigma
    if is_floating(getattr(sigma, "scale_shift", None)):
        moved = tried(copy.deepcopy, sigma)
        sigma = sigma if moved is None else moved
        move(sigma.scale_shift)
    return sigma


def move(own):
    """Move a transfer's own parameters: by up to a third of their size, the same way each time, and up."""
    shares = array_module(own).asarray(np.random.default_rng(13).uniform(-1, 1, own.shape))
    own += own * shares / 3 + abs(shares) / 10


def transfer_shapes(sigma):
    """Return three shapes of samples that a transfer accepts: vectors if it can, longer vectors, and an image."""
    channels = getattr(sigma, "channels", 4)
    vectors, images = [(5,), (channels,), (4,), (6,), (12,)], [(4, 5, 2), (4, 5, channels), (7, 6, 3), (9, 8, 1)]
    stated = [shape for shape in vectors + images if fits_shapes(sigma, [shape])]
    # a transfer that pairs units may state that it accepts an odd number, and raise
    values = {shape: np.linspace(-3, 3, 2 * math.prod(shape)).reshape(2, *shape) for shape in stated}
    runs = {shape: tried(sigma.apply, z) for shape, z in values.items()}
    taken = [shape for shape in stated if runs[shape] is not None] or stated
    # a transfer made for vectors may accept an image in apply, and raise in its adjoint
    taken = [shape for shape in taken if runs[shape] is not None and tried(
        lambda z, run: sigma.adjoint(z, *run, run[0]), values[shape], runs[shape]) is not None] or taken
    first = sample_shape(sigma, [*taken, *vectors])
    longer = max((shape for shape in taken if shape in vectors), default=first)  # a permutation of four may be its own
    return [first, longer, next((shape for shape in images if shape in taken), first)]  # inverse, of twelve it is not


def smooth_at(case, sigma, z, rng):
    """Whether σ has no kink within 2e-3 of z, along a random direction of signs and against it."""
    signs = rng.choice([-1.0, 1.0], z.shape)

    def value(x):
        return case.apply(sigma, x)[0]

    middle = 2 * value(z)
    return all(np.max(abs(value(z + h * signs) - middle + value(z - h * signs)), initial=0) < 0.05 * h
               for h in (2.1e-3, 5e-4))


@claim("transfer", "it is a function of its arguments", FIRST_IS_LAST, "convention")
def transfer_remembers_nothing(sigma, case):
    z = [case.lend(case.z), case.lend(-case.z / 2)]

    def run(k):
        return sigma.apply(z[k], training=case.training, rng=np.random.default_rng(k))

    runs = [run(0), run(1)]
    calls = {"forward": lambda k: case.xp.asarray(run(k)[0]),
             "the adjoint": lambda k: sigma.adjoint(z[k], *runs[k], case.lend(case.g)) + 0}
    if case.elementwise:
        calls["the derivative"] = lambda k: sigma.derivative(z[k])
    else:
        calls["evaluation"] = lambda k: sigma.apply(z[k], training=False, rng=np.random.default_rng(k))[0]
    return interleaved(calls)


@claim("transfer", "its random numbers are those of the generator that it is given", "σ(z; rng), anew in each call",
       "convention", once=True)
def transfer_draws_from_rng(sigma, case):
    only_if(not case.elementwise, "an elementwise transfer draws none")
    n = len(case.z)  # the two batches have shapes for which nothing has been stored
    z, alike = (case.lend(np.resize(case.z[:k], (n + more, *case.z.shape[1:]))) for k, more in ((n, 11), (1, 12)))

    def draw(one, seed, z=z):
        return copied(one.apply(z, training=True, rng=np.random.default_rng(seed))[0])

    one, other = (tried(copy.deepcopy, sigma) or sigma for _ in range(2))
    first, second, again = draw(one, 0), draw(other, 1), [draw(one, 1) for _ in range(2)]
    own = not np.array_equal(*again, equal_nan=True)
    kept = np.array_equal(first, again[0], equal_nan=True) and not np.array_equal(first, second, equal_nan=True)
    reasons = ["it draws random numbers that are not those of rng, the generator that apply is given"] * own
    reasons += ["the random numbers of its first call are kept: each call should draw anew from rng"] * kept
    if np.array_equal(first, second) and np.any(np.ptp(draw(one, 0, alike), axis=0)):  # equal samples come out unequal
        reasons.append("its random numbers are the same for every generator: of a seed, or a mask, of its own")
    return nothing_of(reasons, "bit for bit")


@claim("transfer", "float32 stays float32", "dtype of σ(z), σ'(z), σ.adjoint(g)", "convention")
def transfer_keeps_float32(sigma, case):
    sigma = sigma.on_backend(case.xp, np.dtype(np.float32)) if hasattr(sigma, "on_backend") else sigma
    z, g = case.z, case.g
    if case.elementwise:  # if all is saturated, the steepest slope is rounding of 1 − σ(z)²: add unsaturated points
        z, g = np.concatenate([z, z / 100]), np.concatenate([g, g])

    def apply(single):
        return sigma.apply(single(z), training=case.training, rng=np.random.default_rng(0))

    calls = {"forward": lambda single: apply(single)[0],
             "the adjoint": lambda single: sigma.adjoint(single(z), *apply(single), single(g))}
    if case.elementwise:
        calls |= {"derivative": lambda single: sigma.derivative(single(z))}
    return in_float32(case, calls, values=case.elementwise)


@claim("transfer", "forward, apply and output_shape agree", "σ(z) in evaluation, and its shape", "convention")
def transfer_is_one(sigma, case):
    shape = wrong_shape(sigma, case.z.shape[1:], case.apply(sigma, case.z)[0])
    if not shape.holds:
        return shape
    finding = compare(case.call(sigma.forward, case.z), dense(case.apply(sigma, case.z)[0]))
    if not finding.holds:
        return finding.because("forward(z) is not what apply(z) returns")
    one = case.apply(sigma, case.z[..., :1])[0] if case.elementwise else None
    if one is not None and one.shape != case.z[..., :1].shape:
        return nothing_of([f"of an array of shape {case.z[..., :1].shape} it returns one of shape {one.shape}: an axis "
                           "of length 1 is lost (squeeze)"], finding.why)
    among = of_each_sample(lambda z: case.apply(sigma, z)[0], np.concatenate([case.z, -case.z / 2]))
    if one is not None and not among.holds and SINGLE not in among.reasons:
        return among.because("it is not elementwise: samples are coupled, a mean, or an axis, goes over the batch")
    if one is not None and not np.allclose(one, case.apply(sigma, case.z)[0][..., :1], equal_nan=True):
        return nothing_of([COUPLED], finding.why)
    other = to_host(sigma.apply(case.lend(case.z), training=False, rng=np.random.default_rng(1))[0])
    if not np.array_equal(other, case.apply(sigma, case.z)[0], equal_nan=True):
        return nothing_of(["it draws random numbers in evaluation too"], "bit for bit")
    return of_each_sample(lambda z: case.apply(sigma, z)[0], case.z)


@claim("transfer", "it is the same in a large batch, and in any shape and memory layout", "σ(z)_i = σ(z_i)",
       "convention", once=True)
def transfer_in_any_layout(sigma, case):
    def adjoint(z, g):
        return case.adjoint(sigma, z, *case.apply(sigma, z), g)

    of_z, forms = {"forward": lambda z: case.apply(sigma, z)[0]}, {}
    if case.elementwise:
        of_z["the derivative"] = lambda z: case.call(sigma.derivative, z)
        forms["of images it is another"] = lambda array: array.reshape(-1, 2, 2, array.shape[1])
    found = by_rows_and_layout(of_z, [case.z], forms)
    z, g = (np.repeat(array, MANY, axis=0) for array in (case.z[:1], case.g[:1]))
    of_adjoint = by_rows_and_layout({"the adjoint": adjoint}, [z, g], forms)
    return nothing_of(found.reasons + of_adjoint.reasons, found.why)


@claim("transfer", "on average over its random numbers, training is evaluation", "E σ(z) = σ(z)", "convention")
def transfer_keeps_the_mean(sigma, case):
    only_if(case.training and not case.elementwise, "it is the same in training")

    def draw(seed):
        return to_host(sigma.apply(case.lend(case.z), training=True, rng=np.random.default_rng([5, seed]))[0])

    only_if(not np.array_equal(draw(0), draw(1), equal_nan=True), "it draws no random numbers")
    draws, expected = np.stack([draw(seed) for seed in range(400)]), case.apply(sigma, case.z)[0]
    # a rare event that some entries did not meet is judged by the others: pooled, relative to the size of each entry
    pooled = abs(expected) * np.sqrt(draws.var(axis=0).mean() / (np.mean(expected**2) + 1e-300))
    gaps = abs(draws.mean(axis=0) - expected) / (np.maximum(draws.std(axis=0), pooled) / 20 + 1e-9)
    factor = fitted_factor(draws.mean(axis=0), expected)
    return Finding(float(np.max(gaps)), 8.0, "standard deviations of a mean of 400 draws", (
        f"its mean in training is {factor:.1f} times its value in evaluation: the scale of what is kept is wrong",))


@claim("transfer", "where entries of z are equal, the adjoint lies between the one-sided derivatives",
       "d/dt σ(z + t1)⁻ ≤ ⟨σ.adjoint(1), 1⟩ ≤ d/dt σ(z + t1)⁺", "convention")
def transfer_at_ties(sigma, case):
    only_if(not case.elementwise, "elementwise transfers have no ties")
    z, h = np.full_like(case.z, 0.7), 1e-6
    a, aux = case.apply(sigma, z, case.training)
    sides = [((case.apply(sigma, z + s * h, case.training)[0] - a) / (s * h)) for s in (-1, 1)]
    low, high = np.minimum(*sides).sum(), np.maximum(*sides).sum()
    got = float(case.adjoint(sigma, z, a, aux, np.ones_like(a)).sum())
    excess = max(low - got, got - high) / (1 + abs(low) + abs(high))

    def reasons():
        if not transfer_adjoint(sigma, case).holds:
            return ()  # ties are not to blame
        if not np.isfinite(got + low + high):
            return ("it is not finite (NaN or inf) where all entries are equal: 0/0",)
        return ("where several entries are equal (ties) the signal goes to several, or to none: it should be shared",)

    return Finding(float(excess), 1e-4, "one-sided differences of step 1e-6", reasons)


@claim("transfer", "the gradients in its own parameters, by differences", "∂⟨σ(z), g⟩/∂(its parameters)", "BackProp")
def transfer_own_parameters(sigma, case):
    only_if(len(getattr(sigma, "parameters", ())), "it has no parameters of its own")
    if len(sigma.parameters) != 1 or getattr(sigma, "scale_shift", None) is not sigma.parameters[0]:
        return nothing_of(["a network takes one array of a transfer's own, which is kept as its attribute scale_shift"],
                          "as of BatchNorm")
    _, aux = case.apply(sigma, case.z, case.training)
    got = [to_host(gradient) for gradient in sigma.gradients(aux, case.lend(case.g))]

    def finding(one, own):
        reference = gradient(lambda x: own_value(sigma, case, own, x), to_host(own))
        found = compare(one, reference, factors={"N": case.z[..., 0].size})
        swapped = one.shape == reference.value.shape and fits(one[::-1], reference.value)
        return found.because("its rows are swapped: scale and shift, say") if swapped else found

    return worst_of(finding(*pair) for pair in zip(got, sigma.parameters, strict=True))


def own_value(sigma, case, own, values):
    """Return ⟨σ(z), g⟩ with one of the transfer's own arrays replaced."""
    kept = own.copy()
    try:
        own[...] = case.xp.asarray(values.real)
        return (case.apply(sigma, case.z, case.training)[0] * case.g).sum()
    finally:
        own[...] = kept


@claim("transfer", "commit takes a batch into the running averages with weight momentum",
       "v ← (1 − momentum) v + momentum · v_batch", "BatchNorm")
def norm_commits(sigma, case):
    only_if(isinstance(sigma, BatchNorm), "it is no BatchNorm")
    only_if(case.training, "in evaluation it measures nothing")
    norm, rate = copy.copy(sigma), sigma.momentum
    old = 1 + np.random.default_rng(4).random((2, norm.channels))
    norm.running = case.xp.asarray(old.copy())
    norm.commit(case.apply(norm, case.z, training=True)[1])
    values = case.z.reshape(-1, norm.channels)
    batch = np.stack([values.mean(axis=0), values.var(axis=0, ddof=1)])
    return compare(to_host(norm.running), dense((1 - rate) * old + rate * batch), {
        "commit has the weights the wrong way round: momentum is that of the batch, not of the past":
            rate * old + (1 - rate) * batch,
        "commit takes the batch twice: apply has already moved the running averages":
            (1 - rate) ** 2 * old + (1 - (1 - rate) ** 2) * batch})


@claim("transfer", "at and beside kinks the derivative lies between the one-sided ones", "σ'(z−) ≤ σ'(z) ≤ σ'(z+)",
       "convention", once=True)
def transfer_at_kinks(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    usual = [sign * x for x in (0.0, 1e-3, 0.05, 0.3, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0) for sign in (1, -1)]
    z = np.concatenate([usual, np.arange(-7, 7, 7e-4)])
    z = z[: len(z) // 140 * 140].reshape(140, -1)  # a single row, combined with its transpose, would fill the memory
    h = 1e-6 * (1 + abs(z))
    value, got = case.call(sigma.forward, z), case.call(sigma.derivative, z)
    if value.shape != z.shape or np.shape(got) not in ((), z.shape):  # combined, they may fill the memory
        return nothing_of(["values, or derivatives, are of another shape than z"], "one for each entry")
    sides = [(case.call(sigma.forward, z + s * h) - value) / (s * h) for s in (-1, 1)]
    low, high = np.minimum(*sides), np.maximum(*sides)
    excess = np.maximum(low - got, got - high) / (1 + abs(low) + abs(high))
    wrong = z[~(excess <= 1e-4)]  # if there are many, kinks are not to blame
    reasons = [f"the derivative at z = {wrong[0]:g} is outside of the one-sided ones"] if 0 < wrong.size < 4 else (
        [f"the derivative is wrong from z = {wrong.min():.4g} to {wrong.max():.4g}: where a piece begins"]
        if wrong.size and np.ptp(wrong) < 0.5 else ())
    if not np.all(np.isfinite(got)):
        reasons = [f"the derivative at z = {z[~np.isfinite(got)][0]:g} is not finite (NaN or inf)"]
    return Finding(float(np.max(excess)), 1e-4, "one-sided differences of step 1e-6", tuple(reasons))


@claim("transfer", "solve_shifted solves the Newton step of a prox", "(I + c σ'(z)) s = r", "convention")
def transfer_solves_shifted(sigma, case):
    only_if(hasattr(sigma, "solve_shifted"), "it has no solve_shifted, which only a loss's prox needs")
    only_if(case.elementwise or case.z.shape[1:] == case.g.shape[1:], "its values have another shape than z")
    a, aux = case.apply(sigma, case.z)
    slope = case.derivative(sigma.forward, case.z).value if case.elementwise else None
    r = case.tangent

    def through(s):
        return slope * s if case.elementwise else case.adjoint(sigma, case.z, a, aux, s)

    own = case.call(sigma.derivative, case.z) if case.elementwise else slope

    def finding(c):
        s = case.call(lambda z, r: sigma.solve_shifted(z, c, r), case.z, r)
        if case.elementwise and s.shape == r.shape == own.shape and fits(s + c * own * s, r, r + c * (own - slope) * s):
            return compare(s + c * slope * s, dense(r, 1e-5, "differences of σ")).because(
                "it is that of the derivative, which is not σ's")
        return compare(s + c * through(s), dense(r, 1e-5, "differences of σ"), {
            "solve_shifted multiplies by 1 + c σ', it should divide": r + c * through(2 * r + c * through(r))})

    return worst_of(finding(c) for c in (0.3, 2.0, 50.0))


@claim("transfer", "the derivative", "σ'(z) = dσ/dz", "ProxProp (9)")
def transfer_derivative(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    reference, got = case.derivative(sigma.forward, case.z), case.call(sigma.derivative, case.z)
    finding = compare(got, reference, lambda: derivative_mistakes(sigma, case, reference.value, got))
    if finding.holds:
        again = case.call(sigma.derivative, -case.z / 2)
        second = compare(again, case.derivative(sigma.forward, -case.z / 2))
        if not second.holds:
            same = np.array_equal(again, got)
            return second.because("it is that of an earlier z of this shape: it is cached, or remembered"
                                  ) if same else second
        far = np.outer((1.0, -1.0), np.geomspace(0.0103, 61.7, 60))  # none of these is a kink
        finding = compare(case.call(sigma.derivative, far), case.derivative(sigma.forward, far))
        if not finding.holds:
            return finding.retold(lambda _: slope_reasons(sigma, case, reference.value, got))
        jump = jump_on_line(case, sigma.forward, sigma.derivative) if getattr(sigma, "continuous", True) else 0.0
        return finding if not jump > 1e-6 else Finding(jump, 1e-6, OF_A_LINE, (
            "σ jumps: its pieces do not join, though each has its slope; one that jumps on purpose says continuous = "
            "False",))
    if got.shape != reference.value.shape:
        return finding
    return finding.retold(lambda known: seen_last(known, slope_reasons(sigma, case, reference.value, got)))


def slope_reasons(sigma, case, slope, got):
    """Return what may be wrong with a derivative that is not one of the common wrong ones."""
    where, off, right = where_differs(case, sigma.forward, sigma.derivative)
    if not np.all(np.isfinite(off)):
        return ["it is not finite (NaN or inf)"]
    if not np.any(slope) and not np.any(right):
        return [CACHED if is_cached(sigma, case) else "σ is flat, its derivative is 0: what is given is a stand-in "
                "(straight-through)"]
    if where:
        return [f"it is right elsewhere, and wrong where {where}"]
    if np.max(off) <= 0.02 * np.max(abs(right)):
        return ["it is nearly right: a small term in it, an approximation, or constants of few digits"]
    power = exponent_of(slope, got)
    return [] if power is None else [f"it is σ'(z) to the power {power:.3g}: an exponent is wrong"]


def exponent_of(slope, got):
    """Return the exponent, other than 1, by which the slopes give the claimed values; None if there is none."""
    with np.errstate(all="ignore"):
        power = np.log(abs(got)) / np.log(abs(slope))
    plain = np.size(power) > 1 and np.all(np.isfinite(power)) and np.ptp(power) <= 1e-4
    return power.flat[0] if plain and abs(power.flat[0] - 1) > 1e-3 else None


def is_cached(sigma, case):
    """Whether an elementwise transfer that is not constant gives the same result for two arrays of one shape."""
    a, other = (case.apply(sigma, z)[0] for z in (case.z, -case.z / 2))
    return bool(case.elementwise and np.ptp(a) and np.array_equal(a, other))


def where_differs(case, function, slope):
    """Return where an elementwise slope is not the function's, how much it is off there, and the right slopes."""
    near, beyond = np.linspace(-7.03, 7.04, 201), np.linspace(7.3, 63.7, 60)  # none of these is a kink
    for z in (near[None], np.concatenate([-beyond, near, beyond])[None]):
        right = case.derivative(function, z).value
        off = abs(case.call(slope, z) - right)
        wrong = off > 2e-8 * (1 + abs(right))
        if np.any(wrong):
            break
    ends = np.flatnonzero(np.diff(wrong[0]))
    fades = any(off[0, end : end + 2].max() < 1e-5 * off.max() for end in ends)  # no sharp boundary
    return None if fades else where_wrong(z[0], wrong[0]), off, right


def derivative_mistakes(sigma, case, slope, got):
    """Return what common mistakes in σ' would give."""
    a = case.call(sigma.forward, case.z)
    mistakes = {"it is the derivative of −z: σ'(−z)": case.derivative(sigma.forward, -case.z).value}
    if exponent_of(slope, got) is None:  # for z/(1 + |z|) the root of σ' is also σ(z)/z
        mistakes["it is σ(z)/z: a term of the product rule is missing"] = a / case.z
    curved = len(np.unique(np.round(slope, 6))) > 2  # if the slope is a step function, a misplaced kink is as likely
    for c in (0.5, 2.0, 0.25, 4.0, 1 / 3, 3.0, 0.2, 5.0, 0.1, 10.0) if curved else ():
        mistakes[f"it is the derivative at {c:.3g} z: a factor inside it is missing, or too many"] = case.derivative(
            sigma.forward, c * case.z).value
    # σ' is often written in terms of a = σ(z); given z instead, it is right at σ(z)
    if fits(case.call(sigma.derivative, a), slope):
        mistakes["it is written in terms of a = σ(z), but is given z"] = got
    return mistakes


@claim("transfer", "the adjoint: a random tangent against a random cotangent",
       "⟨Dσ(z) v, g⟩ = ⟨v, σ.adjoint(g)⟩", "ProxProp (9)")
def transfer_adjoint(sigma, case):
    def value(z):
        return case.apply(sigma, z, case.training)[0]

    a, aux = case.apply(sigma, case.z, case.training)
    got = case.adjoint(sigma, case.z, a, aux, case.g)
    if case.elementwise:
        slope = directional(value, case.z, np.ones_like(case.z)).loosened(CUT)
        reference = slope._replace(candidates=[s * case.g for s in slope.candidates])
    else:
        if is_soon_off(lambda z: (value(z) * case.g).sum(), case.z, got):
            return OFF
        tangents = Tangents(case.z.shape, np.random.default_rng(1), limit=100)
        reference = gradient(lambda z: (value(z) * case.g).sum(), case.z, tangents)
        got = tangents.project(got)

    finding = compare(got, reference, lambda: adjoint_mistakes(sigma, case, a, reference.value, got))
    return finding.retold(lambda known: seen_last(known, structure_reasons(sigma, case, a, aux, reference.value)))


def structure_reasons(sigma, case, a, aux, right):
    """Return properties of an adjoint that a correct one cannot have."""
    adjoint = functools.partial(case.adjoint, sigma, case.z, a, aux)
    whole, one = adjoint(case.g), np.zeros_like(case.g)
    if not np.array_equal(adjoint(case.g), whole, equal_nan=True):
        return [RESTLESS]
    if is_cached(sigma, case):
        return [CACHED]
    if not np.allclose(adjoint(-3 * case.g), -3 * whole, rtol=1e-9, atol=1e-12):
        return [AFFINE if np.any(adjoint(0 * case.g)) else NOT_LINEAR]
    one[:1] = case.g[:1]
    coupled = len(one) > 1 and np.any(adjoint(one)[1:])
    first = tried(lambda: case.apply(sigma, case.z[:1], case.training)[0])
    if coupled and first is not None and np.allclose(first, a[:1], rtol=1e-9, atol=1e-12):
        return ["the adjoint couples the samples, which forward does not: a mean or a sum over the batch"]
    if whole.shape != case.g.shape or case.elementwise or right.shape != case.g.shape:
        return []

    def along(v):
        return directional(lambda z: case.apply(sigma, z, case.training)[0], case.z, v).value

    reasons = []
    if a.shape == whole.shape and fits(whole, along(case.g), right):
        reasons.append("it is the derivative along g, Jg, not the product with its transpose, Jᵀg")
    elif a.shape == whole.shape and fits(along(whole), case.g):
        reasons.append("it is the inverse of the derivative, J⁻¹g, not its transpose, Jᵀg")
    if constant_along(np.where(case.g, whole / case.g, np.nan), range(1, whole.ndim)):
        reasons.append("it is g times a number for each sample: a mean, norm or deviation is held constant")
    elif constant_along(np.where(case.g, whole / case.g, np.nan), range(whole.ndim - 1)):
        reasons.append("it is g times a number for each channel: mean and deviation are held constant")
    if constant_along(np.where(a, (whole - right) / np.where(a, a, 1), np.nan), range(1, whole.ndim)):
        reasons.append("a term is missing, or of the wrong strength, σ(z) times a number for each sample: that of the "
                       "deviation, or the norm, which depends on z too")
    for axes, what in ((range(whole.ndim - 1), "the batch"), (range(1, whole.ndim), "a sample")):
        if constant_along(whole - right, axes):
            reasons.append(f"a term is missing, or wrong, that is the same throughout: that of the mean over {what}")
    gap = whole - right
    rows = [row[on] for row, on in zip(gap, a != 0)] if a.shape == gap.shape else []
    if not reasons and np.any(gap) and not np.any(gap[a == 0]) and any(1 < len(row) < gap[0].size for row in rows) and (
            all(np.ptp(row) <= 1e-5 * np.max(abs(gap)) for row in rows if len(row))):
        reasons.append("what is wrong is the same in all entries of a sample where σ(z) is not 0: the mean over these")
    units = np.eye(case.z.size).reshape(-1, *case.z.shape) if case.z.size <= 60 else ()
    diagonal = [along(unit).ravel()[k] for k, unit in enumerate(units)]
    if len(diagonal) and fits(whole, np.reshape(diagonal, whole.shape) * case.g, right):
        reasons.append("it is the diagonal of the Jacobian alone: entries of a sample are coupled")
    return reasons


def constant_along(values, axes):
    """Whether values that are not all equal are constant along some axes."""
    spread, size = np.ptp(values, axis=tuple(axes)), np.max(abs(values))
    return bool(values.size > 1 and np.all(spread <= 1e-5 * size) and size > 0 and values[:, ...].size > spread.size)


@claim("transfer", "the adjoint is linear in its signal", "σ.adjoint(−1000 g) = −1000 σ.adjoint(g)", "ProxProp (9)")
def adjoint_is_linear(sigma, case):
    adjoint = functools.partial(case.adjoint, sigma, case.z, *case.apply(sigma, case.z, case.training))
    once = adjoint(case.g)
    same = np.array_equal(adjoint(case.g), once, equal_nan=True)
    return compare(adjoint(-1000 * case.g), dense(-1000 * once)).because(
        RESTLESS if not same else AFFINE if np.any(adjoint(0 * case.g)) else NOT_LINEAR)


def adjoint_mistakes(sigma, case, a, right, got):
    """Return what common mistakes in σ'(z) ⊙ g would give."""
    g = case.g
    if g.shape != right.shape:
        return {}
    swapped = tried(case.adjoint, sigma, a, case.z, *case.apply(sigma, case.z, case.training)[1:], g)
    exchanged = case.elementwise and swapped is not None and fits(swapped, right)
    return {"σ' is forgotten: it returns g": g, **({"z and a = σ(z) are exchanged in it": got} if exchanged else {})}


@claim("transfer", "σ is the derivative of its integral F", "F'(z) = σ(z)", "LocoProp-M")
def integral_of_transfer(sigma, case):
    only_if(has_integral(sigma, case), NO_INTEGRAL)
    if case.elementwise:
        reference = case.derivative(sigma.integral, case.z)
    else:
        reference = gradient(lambda z: case.call(sigma.integral, z).sum(), case.z)
    got = case.call(sigma.forward, case.z)
    if case.elementwise and case.call(sigma.integral, case.z).shape != case.z.shape:
        return Finding(math.inf, 0.0, "F of an elementwise σ is elementwise", ("F has not the shape of z",))
    # the claim is about F, so F' is compared with σ, in this order
    finding = compare(reference.nearest(got), reference._replace(candidates=[got]),
                      {"F is the integral of z, not of σ": case.z} if case.elementwise else {})
    if finding.holds and case.elementwise:
        jump = jump_on_line(case, sigma.integral, sigma.forward)
        return finding if not jump > 1e-6 else Finding(jump, 1e-6, OF_A_LINE, ("F jumps: its pieces do not join",))
    wrong = case.elementwise and not finding.holds and Asked.explained
    where = wrong and where_differs(case, sigma.integral, sigma.forward)[0]
    return finding.retold(lambda known: [*known, f"F is wrong where {where}"]) if where else finding


def offers(sigma, case, name, at):
    """Whether a transfer has an optional function (integral, conjugate or inverse), tested on an array."""
    try:
        return np.size(case.call(getattr(sigma, name), at)) > 0
    except (AttributeError, NotImplementedError):
        return False


def has_integral(sigma, case):
    """Whether the transfer has an integral."""
    return offers(sigma, case, "integral", case.z)


@claim("transfer", "F* is the conjugate of F", "F(z) + F*(σ(z)) = z σ(z)", "Matching energy")
def conjugate_of_integral(sigma, case):
    a = case.call(sigma.forward, case.z)
    only_if(case.elementwise and has_integral(sigma, case) and offers(sigma, case, "conjugate", a),
            "it has no conjugate F*, which only matching energies need")
    only_if(integral_of_transfer(sigma, case).holds, "F is not the integral of σ")
    expected = case.z * a - case.call(sigma.integral, case.z)
    return compare(case.call(sigma.conjugate, a), dense(expected, 1e-7, "F* near the ends of the range"), terms={
        "F* is off by a constant: F and F* are not shifted together": np.ones(expected.shape)})


@claim("transfer", "inverse(a) is a point with that value", "σ(inverse(a)) = a", "Matching gradient")
def inverse_of_transfer(sigma, case):
    a = case.call(sigma.forward, case.z)
    only_if(case.elementwise and offers(sigma, case, "inverse", a), "it has no inverse, which matching energies need")
    z = case.call(sigma.inverse, a)
    if np.array_equal(case.z, z) or z.shape != a.shape:
        return compare(z, dense(case.z))
    return compare(case.call(sigma.forward, z), dense(a, 1e-7, "the inverse near the ends of the range")).because(
        "inverse(a) is no z with σ(z) = a")


@claim("transfer", "its pieces are those of σ", "σ(z) = slope · z + offset on each", "Lifted z", once=True)
def pieces_of_transfer(sigma, case):
    only_if(case.elementwise and getattr(sigma, "pieces", None) is not None, "it states no linear pieces")
    z = np.linspace(-7.03, 7.04, 41)
    stated = np.full_like(z, np.nan)
    for low, high, slope, offset in sigma.pieces:
        inside = (z >= low) & (z <= high)
        stated[inside] = slope * z[inside] + offset
    return compare(stated, dense(case.call(sigma.forward, z))).because(
        "the pieces are not those of σ: slopes, offsets or ends are another function's")


@claim("transfer", "σ is monotone, F convex", "⟨σ(z) − σ(w), z − w⟩ ≥ 0", "LocoProp-M")
def transfer_is_monotone(sigma, case):
    only_if(has_integral(sigma, case), NO_INTEGRAL)
    w = case.z + 3 * case.tangent
    rise = (case.call(sigma.forward, case.z) - case.call(sigma.forward, w)) * (case.z - w)
    rise = rise if case.elementwise else rise.reshape(len(rise), -1).sum(axis=1)
    reason = "σ is decreasing: its sign is wrong" if np.all(rise <= 0) else "σ both rises and falls"
    return Finding(float(np.max(-rise)), 1e-12, ROUNDING, (reason,) if case.elementwise else ())


@claim("transfer", "its values lie in the range it states, and the range is no wider",
       "closure of σ(ℝ) = [low, high]", "LocoProp-M, targets")
def target_range(sigma, case):
    stated = getattr(sigma, "range", (-math.inf, math.inf)) != (-math.inf, math.inf)
    only_if(stated or has_integral(sigma, case), "it states no range, and has no integral F")
    if not case.elementwise:
        only_if(has_integral(sigma, case), NO_INTEGRAL)
        inside = sigma.in_range(case.lend(case.call(sigma.forward, case.z)))
        return nothing_of(["its values are no targets: in_range refuses them"] * (not inside),
                          "its own values are targets")
    far = np.array([[-1e8, -1e4, -300.0, -5.0, 0.3, 5.0, 300.0, 1e4, 1e8]])
    values = case.call(sigma.forward, far)[0]
    values = values[np.isfinite(values)]
    (low, high), least, most = sigma.range, values.min(), values.max()
    if hasattr(sigma, "in_range") and not sigma.in_range(case.lend(values), 1e-9) and low <= least and most <= high:
        return nothing_of(["in_range refuses its own values"], "its own values are targets")
    outside = max(low - least, most - high, 0.0)
    if outside > 1e-9:
        return Finding(outside, 1e-9, ROUNDING,
                       (f"the range is stated too narrow: values reach from {least:.4g} to {most:.4g}",))
    if not has_integral(sigma, case):
        return Finding(max(outside, 0.0), 1e-9, ROUNDING)
    slack = max(unreached(low, least, values), unreached(high, most, values))
    reason = "the range is stated too wide: for targets that σ never reaches the matching loss has no lower bound"
    return Finding(slack, 1e-2, "σ is probed up to |z| = 1e8", (reason,))


def unreached(bound, extreme, values):
    """Return how far values stay from a stated bound; for an infinite bound, 1 if they stop growing."""
    if math.isfinite(bound):
        return abs(bound - extreme) / (1 + abs(bound))
    grows = abs(extreme) > 1.5 * np.median(abs(values)) and abs(extreme) > 3
    return 0.0 if grows else 1.0


@claim("transfer", "finite for large arguments", "|σ(±1000)|, |F(±1000)|, |σ'(±1000)| < ∞, and of ±100",
       "float64, float32", once=True)
def transfer_is_safe(sigma, case):
    only_if(case.elementwise, NOT_ELEMENTWISE)
    far, functions = np.array([[-1000.0, -100.0, 100.0, 1000.0]]), {"σ": sigma.forward, "σ'": sigma.derivative}
    if has_integral(sigma, case):
        functions["F"] = sigma.integral
    early = [case.call(function, 0.2 * far) for function in functions.values()]
    only_if(not any(np.any(np.isfinite(values) & (abs(values) > 1e60)) for values in early),
            "it grows exponentially: no number holds it")
    for dtype in (np.float64, np.float32):
        bad = [name for name, function in functions.items()
               if not np.all(np.isfinite(case.call(function, far.astype(dtype))))]
        if bad:
            break
    where = " in float32" * (dtype == np.float32)
    return nothing_of([f"{', '.join(bad)} overflows{where}: exp of a large number"] * bool(bad),
                      "no value may be NaN or inf")



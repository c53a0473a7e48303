"""`verify` on `Argmin`: right minimisers hold; of wrong ones the reason says what is wrong, none by chance."""

import numpy as np
import pytest
from told import draw, normal, reasons, relu, soft, square, tells

import minilift as ml

# ---- planted mistakes, and what is like them and right


def of_nuclear(X, V, lam=0.7):
    return 0.5 * np.sum((X - V) ** 2) + lam * np.linalg.svd(X, compute_uv=False).sum()


def hard(V, lam=0.7):
    U, s, Vt = np.linalg.svd(V, full_matrices=False)
    return (U * np.where(s > lam, s, 0)) @ Vt


def of_pinball(x, v, tau=0.8, lam=0.9):
    return lam * np.sum(np.maximum(tau * x, (tau - 1) * x)) + 0.5 * np.sum((x - v) ** 2)


def swapped(v, tau=0.8, lam=0.9):
    return np.where(v > lam * (1 - tau), v - lam * (1 - tau), np.where(v < -lam * tau, v + lam * tau, 0))


def of_logdet(X, V, tau=0.8):
    w = np.linalg.eigvalsh((X + X.T) / 2)
    return -tau * np.log(w).sum() + 0.5 * np.sum((X - V) ** 2) if w.min() > 0 else np.inf


def without_four(V, tau=0.8):
    w, Q = np.linalg.eigh(V)
    return (Q * ((w + np.sqrt(w * w + tau)) / 2)) @ Q.T


def of_huber(x, v, delta=0.5, lam=2.0):
    return lam * np.sum(np.where(abs(x) <= delta, x * x / 2, delta * (abs(x) - delta / 2))) + np.sum((x - v) ** 2) / 2


def of_ridge(theta, X, y):
    return 0.5 * np.sum((X @ theta[:-1] + theta[-1] - y) ** 2) + 0.25 * np.sum(theta[:-1] ** 2)


def plain_mean(X, y):
    centre = X - X.mean(axis=0)
    return np.append(np.linalg.solve(centre.T @ centre + 0.5 * np.eye(X.shape[1]), centre.T @ (y - y.mean())), y.mean())


def in_ball(v):
    u = np.sort(abs(v))[::-1]
    cut = (np.cumsum(u) - 2) / np.arange(1, len(u) + 1)
    return np.sign(v) * np.maximum(abs(v) - cut[np.nonzero(u > cut)[0][-1]], 0)


def near_ball(v):
    return v if abs(v).sum() <= 2 else in_ball(v)


def semidefinite(V):
    w, Q = np.linalg.eigh((V + V.T) / 2)
    return (Q * np.maximum(w, 0)) @ Q.T


def rotation(V, entry=-1):
    U, _, Vt = np.linalg.svd(V)
    U[:, entry] *= np.sign(np.linalg.det(U) * np.linalg.det(Vt))
    return U @ Vt


def of_transport(f, g, C, a, eps=0.5):
    return -f @ a + eps * np.exp((f[:, None] + g[None, :] - C) / eps).sum()


def without_eps(g, C, a, eps=0.5):
    return np.log(a) - eps * np.log(np.exp((g[None, :] - C) / eps).sum(axis=1))


def of_mirror(x, g, y, tau=0.7):
    return np.sum(g * x) + np.sum(x * np.log(x / y) - x) / tau if x.min() > 0 else np.inf


def positive(*shape):
    return lambda rng: rng.uniform(0.2, 2, shape)


MINIMISERS = {
    "hard": (of_nuclear, hard, "X", draw(X=normal(4, 3), V=normal(4, 3)), None,
             "each singular value that is not 0 is too large"),
    "pinball": (of_pinball, swapped, "x", draw(x=normal(9), v=normal(9)), None, "1 − tau stands where tau should"),
    "log det": (of_logdet, without_four, "X", draw(X=lambda rng: np.eye(4), V=lambda rng: semidefinite(
        rng.normal(size=(4, 4)))), None, "tau/4 stands where tau should"),
    "ridge": (of_ridge, plain_mean, "theta", draw(theta=normal(4), X=lambda rng: 1 + rng.normal(size=(10, 3)),
                                                  y=normal(10)), None, "only the last entry of theta is wrong"),
    "ball": (lambda x, v: np.sum((x - v) ** 2), in_ball, "x", draw(x=normal(5, size=0.1), v=normal(5, size=0.1)),
             near_ball, "it should be v as it is"),
    "Kabsch": (lambda Q, A, B: np.sum((A @ Q - B) ** 2), lambda A, B: rotation(A.T @ B, 0), "Q", draw(
        Q=lambda rng: np.eye(3), A=normal(6, 3), B=normal(6, 3)), rotation, "another stationary point"),
    "transport": (of_transport, without_eps, "f", draw(f=normal(4), g=normal(5), C=positive(4, 5), a=positive(4)),
                  None, "depends on eps and a alone"),
    "mirror": (of_mirror, lambda g, y, tau=0.7: y * np.exp(-g / tau), "x", draw(
        x=positive(5), g=normal(5), y=positive(5)), None, "tau and 1/tau are exchanged")}


@pytest.mark.parametrize("name", MINIMISERS)
def test_a_minimiser_is_told_what_is_wrong(name):
    energy, update, block, drawn, project, said = MINIMISERS[name]
    found = reasons(ml.verify(ml.Argmin(energy, update, block, drawn, project)))
    assert said in found
    assert "squared" not in found
    assert "shrinks towards 0" not in found


def soft_values(V, lam=0.7):
    w, Q = np.linalg.eigh(V.T @ V)
    return V @ (Q * np.maximum(1 - lam / np.sqrt(np.maximum(w, 1e-300)), 0)) @ Q.T


@pytest.mark.parametrize(("energy", "update", "block", "drawn", "project"), [
    (of_nuclear, soft_values, *MINIMISERS["hard"][2:5]),
    (of_huber, lambda v: v - 2 * np.clip(v / 3, -0.5, 0.5), "x", draw(x=normal(9), v=normal(9, size=2)), None),
    (MINIMISERS["Kabsch"][0], lambda A, B: rotation(A.T @ B), *MINIMISERS["Kabsch"][2:5]),
    (MINIMISERS["ball"][0], near_ball, *MINIMISERS["ball"][2:5])])
def test_what_is_right_is_no_mistake(energy, update, block, drawn, project):
    assert ml.verify(ml.Argmin(energy, update, block, drawn, project)).passed


def of_bounded(W, X, y):
    return np.inf if (W < -1e-12).any() else square(X @ W - y) / 2 + square(W) / 2


def cut_ridge(X, y):
    return relu(np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ y))


def of_map(theta, a, z, theta_k):
    return square(a @ theta[:-1] + theta[-1] - z) / 2 + square(theta - theta_k) / 2


def old_bias(a, z, theta_k):
    rows = np.c_[a, np.ones(len(a))]
    new = np.linalg.solve(rows.T @ rows + np.eye(len(theta_k)), rows.T @ z + theta_k)
    new[-1] = theta_k[-1]
    return new


def of_soft(z, v, lam, rho):
    return lam * abs(z).sum() + rho / 2 * square(z - v)


@pytest.mark.parametrize(("claim", "said", "unsaid"), [
    (ml.Argmin(of_bounded, cut_ridge, "W"), "without the bound, or as if its entries were not coupled", "its sign"),
    (ml.Argmin(of_map, old_bias, "theta"), "only the last row of theta is wrong, the bias", "branch"),
    (ml.Argmin(of_soft, lambda v, lam, rho: soft(v, lam), "z"),
     "as if lam were lam·rho: a factor rho is missing, or too many", "branch")])
def test_a_claim_is_told_what_is_wrong(claim, said, unsaid):
    tells(said, unsaid, claim)


def test_a_number_times_the_rows_of_one_of_several_arrays():
    def energy(theta, a, z, lam):
        return ((a @ theta[:-1] + theta[-1] - z) ** 2).sum() / 2 + lam * (theta**2).sum() / 2

    def solve(a, z, lam):
        A = np.hstack([a, np.ones_like(a[:, :1])])
        return np.linalg.solve(A.T @ A + lam * len(a) * np.eye(A.shape[1]), A.T @ z)

    assert "lam·N stands where lam should" in reasons(ml.verify(ml.Argmin(energy, solve, "theta")))


def smoothed_line(z, u):
    return (np.diff(z) ** 2).sum() / 2 + ((z - u) ** 2).sum() / 6


def with_one_end(u):
    """The first equation is that of an end, the last is not."""
    system = (2 + 1 / 3) * np.eye(len(u)) - np.eye(len(u), k=1) - np.eye(len(u), k=-1)
    system[0, 0] -= 1
    return np.linalg.solve(system, u / 3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_end_at_which_another_equation_holds_is_told(seed):
    thing = ml.Argmin(smoothed_line, with_one_end, "z", lambda rng: dict(zip("zu", rng.standard_normal((2, 9)))))
    tells("along the last entry of z alone", "only where it is", thing, seed=seed)


LAM, SIGMA = 0.05, 0.8


def kernel(x):
    return np.exp(-((x[:, None] - x) ** 2).sum(axis=-1) / 2)


def mean_ridge(alpha, x, y):
    return ((y - kernel(x) @ alpha) ** 2).sum() / (2 * len(y)) + LAM / 2 * alpha @ kernel(x) @ alpha


def without_n(x, y):
    return np.linalg.solve(kernel(x) + LAM * np.eye(len(y)), y)


def welsch(w, r):
    return (w * r**2).sum() / 2 + SIGMA**2 * (w * np.log(w) - w + 1).sum() if np.all(w > 0) else np.inf


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("thing", "said"), [
    (ml.Argmin(mean_ridge, without_n, "alpha", lambda rng: {
        "alpha": rng.normal(size=9), "x": rng.normal(size=(9, 2)), "y": rng.normal(size=9)}),
     "LAM/N stands where LAM should"),
    (ml.Argmin(welsch, lambda r: np.exp(-(r / SIGMA) ** 2), "w", lambda rng: {
        "w": rng.uniform(0.2, 1, 10), "r": rng.normal(size=10)}), "SIGMA²/2 stands where SIGMA² should")],
    ids=["without N", "without 1/2"])
def test_numbers_of_the_file_may_be_the_mistake(thing, said, seed):
    tells(said, "usual mistakes", thing, seed=seed)


# ---- no reason by chance, none that leads astray


def distance(z, v):
    return ((z - v) ** 2).sum() / 2


def inside_box(z, v):
    return distance(z, v) if abs(z).max() <= 1 + 1e-12 else np.inf


def inside_ball(z, v):
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


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (ml.Argmin(distance, lambda v: np.exp(v) / np.exp(v).sum(), "z", of_size(1), project=on_simplex), "",
     "step from"),
    (ml.Argmin(inside_box, lambda v: v / max(1, abs(v).max()), "z", of_size(2)), "", "a term in z"),
    (ml.Argmin(inside_ball, lambda v: v / np.linalg.norm(v), "z", of_size(0.4)), "", "2 v stands"),
    (ml.Argmin(inside_ball, lambda v: 1.1 * v / max(1, np.linalg.norm(v)), "z", of_size(2)), "outside the domain",
     "depend"),
    (ml.Argmin(few, lambda v, lam: v * (abs(v) > lam), "z", draw_few), "", "lam/2 stands")],
    ids=["simplex", "box", "ball", "outside", "threshold"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_reason_is_given_by_chance(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


def gap(z, t, y, rho, gamma):
    return gamma * square(y - relu(z)) / 2 + rho * square(z - t) / 2


def draw_gap(rng):
    z, t, y = rng.standard_normal((3, 4, 3))
    return {"z": z, "t": t, "y": y, "rho": float(rng.uniform(0.3, 3)), "gamma": float(rng.uniform(0.3, 3))}


def not_cut(t, y, rho, gamma):
    up, down = (gamma * y + rho * t) / (gamma + rho), np.minimum(t, 0)
    return np.where(gamma * (y - up) ** 2 + rho * (up - t) ** 2 < gamma * y**2 + rho * (down - t) ** 2, up, down)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (ml.Argmin(gap, not_cut, "z", draw_gap), "", "a term in")], ids=["branch"])
def test_a_term_is_named_only_if_it_explains_all_entries_there_and_elsewhere(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


def hills(z, v):
    return (1 - np.cos(z)).sum() + 0.01 * ((z - np.pi) ** 2).sum()


def wells(z, v):
    return ((z * z - 1) ** 2).sum() + 0.1 * z.sum()


def to_the_next_well(z):
    for _ in range(300):
        z = z - 0.02 * (4 * z * (z * z - 1) + 0.1) / (1 + z * z)
    return z


@pytest.mark.parametrize(("thing", "options", "said", "unsaid"), [
    (ml.Argmin(hills, lambda v: np.full(v.shape, np.pi), "z"), {}, "a maximum", "all its rows"),
    (ml.Argmin(wells, to_the_next_well, "z", draw=lambda rng: {"z": rng.uniform(-1.5, 1.5, (4, 3)), "v": 0.0}), {},
     "it is a local minimiser, not the global one", "it is stuck")],
    ids=lambda x: type(x).__name__)
def test_what_fits_by_chance_or_in_part_is_not_said(thing, options, said, unsaid):
    tells(said, unsaid, thing, **options)


def shrinkage(z, v):
    return abs(z).sum() + ((z - v) ** 2).sum() / 2


def tilted(z, v):
    return float(((z**2 - 1) ** 2 + 0.3 * z + 0 * v).sum())


def near_minimiser(z):
    for _ in range(200):
        z = z - 0.02 * (4 * z * (np.clip(z, -3, 3) ** 2 - 1) + 0.3)
    return z


def kinked(z, a, v):
    return ((np.maximum(z, 0) - a) ** 2).sum() + ((z - v) ** 2).sum()


def cheaper_side(a, v):
    up, down = np.maximum((a + v) / 2, 0), np.minimum(v, 0)
    return np.where((up - a) ** 2 + (up - v) ** 2 < (down - v) ** 2, up, down)  # a² is missing


@pytest.mark.parametrize(("claim", "words", "astray"), [
    (ml.Argmin(shrinkage, lambda v: np.where(abs(v) > 1, v, 0), "z"), "a hard threshold", "coupled"),
    (ml.Argmin(tilted, near_minimiser, "z", draw=lambda rng: {"z": rng.normal(size=(1, 1)), "v": np.zeros((1, 1))}), "",
     "several together"),
    (ml.Argmin(lambda z, v: shrinkage(z, v), lambda v: v / (1 + abs(v[0, 0])), "z"), "", "entries are large"),
    (ml.Argmin(kinked, cheaper_side, "z", draw=lambda rng: {name: rng.normal(size=(6, 3)) for name in "zav"}),
     "it is wrong only where it is 0 or less", "hard threshold")],
    ids=["hard threshold", "double well", "scaled", "one side"])
def test_no_reason_leads_astray(claim, words, astray):
    tells(words, astray, claim)


@pytest.mark.parametrize(("local", "passes", "fails"), [(False, 1.0003, 1.002), (True, 1.003, 1.02)])
def test_how_far_a_minimiser_may_be_off_is_as_documented(local, passes, fails):
    passed = [ml.verify(ml.Argmin(lambda z, v: square(z - v) / 2, lambda v, k=k: k * v, "z", local=local)).passed
              for k in (1.0, passes, fails)]
    assert passed == [True, True, False]


def isotonic(x, y):
    return np.inf if np.any(np.diff(x) < -1e-10) else ((x - y) ** 2).sum()


def pooled(y):
    """Pool adjacent violators: means of neighbours that are in the wrong order."""
    means, sizes = [], []
    for value in y:
        means.append(value)
        sizes.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            size = sizes[-2] + sizes[-1]
            means[-2:] = [(sizes[-2] * means[-2] + sizes[-1] * means[-1]) / size]
            sizes[-2:] = [size]
    return np.repeat(means, sizes)


@pytest.mark.parametrize("seed", range(4))
def test_entries_that_a_constraint_ties_are_moved_together(seed):
    drawn = draw(x=lambda rng: np.sort(rng.standard_normal(9)), y=normal(9))
    assert ml.verify(ml.Argmin(isotonic, pooled, "x", drawn), seed=seed).passed
    assert not ml.verify(ml.Argmin(isotonic, lambda y: np.maximum.accumulate(y), "x", drawn), seed=seed).passed


def test_a_set_without_interior_is_not_measured_where_nothing_moves():
    """The old value is in the set, the new one is it but for rounding: no probe is in the set, and none was lower."""
    def energy(p, v):
        return ((p - v) ** 2).sum() if abs(p.sum() - 2.5) < 1e-9 else np.inf

    claim = ml.Argmin(energy, lambda v: np.full(5, 0.5 + 1e-16), "p", draw(p=lambda rng: np.full(5, 0.5), v=normal(5)))
    assert not ml.verify(claim).passed


# ---- on the boundary of a set


def to_cone(p, x, t):
    inside = np.linalg.norm(p[:-1]) <= p[-1] + 1e-9 * (1 + abs(p[-1]))
    return 0.5 * ((p[:-1] - x) ** 2).sum() + 0.5 * (p[-1] - t) ** 2 if inside else np.inf


def on_cone(least):
    """Return the projection on a cone, with the apex for all below `least` times the norm."""
    def project(x, t):
        r = np.linalg.norm(x)
        if r <= t:
            return np.append(x, t)
        return np.zeros(len(x) + 1) if t <= least * r else np.append((1 + t / r) / 2 * x, (r + t) / 2)
    return project


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("least", "passes"), [(-1.0, True), (0.0, False)])
def test_the_apex_of_a_cone_from_which_few_ways_lead_inside(least, passes, seed):
    drawn = draw(x=normal(4), t=lambda rng: float(rng.normal()), p=lambda rng: np.append(0.3 * rng.normal(size=4), 2.0))
    assert ml.verify(ml.Argmin(to_cone, on_cone(least), "p", drawn), seed=seed).passed == passes


def distance_in_cone(p, q):
    return np.inf if np.linalg.norm(p[:-1]) > p[-1] + 1e-9 else ((p - q) ** 2).sum() / 2


def onto_cone(q):
    x, t, size = q[:-1], q[-1], np.linalg.norm(q[:-1])
    if size <= t:
        return q.copy()
    return np.zeros_like(q) if t <= 0 else (size + t) / 2 * np.append(x / size, 1.0)


def test_at_the_tip_of_a_cone_it_is_not_called_a_local_minimiser():
    claim = ml.Argmin(distance_in_cone, onto_cone, "p", lambda rng: {
        "p": np.array([0.3, 0.1, 0.2, 0.9]) + 0.2 * rng.random(4), "q": rng.standard_normal(4)})
    tells("it is zero", "local minimiser", claim)


def no_return(v):
    np.maximum(v, 0)


def merged_once(v):
    """Pools adjacent violators, but only the last two blocks: `if` stands where `while` should."""
    blocks = []
    for x in v:
        blocks.append([x, 1])
        if len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            m, n = blocks.pop()
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + m * n) / (blocks[-1][1] + n), blocks[-1][1] + n]
    return np.concatenate([np.full(n, m) for m, n in blocks])


def increasing(z, v):
    return np.inf if np.any(np.diff(z) < -1e-9) else ((z - v) ** 2).sum()


def beside(rng):
    return {"z": np.sort(rng.normal(size=8)), "v": rng.normal(size=8)}


def test_an_update_that_returns_nothing_fails_and_is_no_mend():
    """An edit to `return blocks.append(…)` would leave nothing to be claimed, and so nothing that fails."""
    tells("update returns None", "ties", ml.Argmin(lambda z, v: ((z - v) ** 2).sum(), no_return, "z", beside))
    report = ml.verify(ml.Argmin(increasing, merged_once, "z", beside))
    assert report.failures
    assert not [mend.new for mend in report.mends if "return blocks.append" in mend.new]


def test_a_step_to_the_boundary_of_a_set_is_not_called_explicit():
    """The minimiser over a box is its corner, from the middle in direction −sign g."""
    def energy(d, middle, g):
        return g @ d if np.max(abs(d - middle)) <= 1 + 1e-12 else np.inf

    def given(rng):
        middle = rng.normal(size=4)
        return {"d": middle, "middle": middle, "g": rng.normal(size=4)}

    report = ml.verify(ml.Argmin(energy, lambda middle, g: middle - g / abs(g).max(), "d", given))
    assert report.failures
    assert "explicit" not in reasons(report)

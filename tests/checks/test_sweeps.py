"""`verify` on `Decreases`: right sweeps hold; one that rises, now or later, is found, and the reason says why."""

import numpy as np
import pytest
from told import draw, normal, reasons, relu, square, tells

import minilift as ml

# ---- right sweeps


def lifted_energy(theta, z, x, y, rho):
    gap = np.hstack([x, np.ones((len(x), 1))]) @ theta - z
    return rho / 2 * (gap**2).sum() + ((relu(z) - y) ** 2).sum() / 2 + (theta**2).sum() / 2


def lifted_sweep(theta, z, x, y, rho):
    M = np.hstack([x, np.ones((len(x), 1))])
    u = M @ theta
    positive, negative = relu((y + rho * u) / (1 + rho)), np.minimum(u, 0)
    z = np.where((relu(positive) - y) ** 2 + rho * (positive - u) ** 2 < y**2 + rho * (negative - u) ** 2,
                 positive, negative)
    return {"z": z, "theta": np.linalg.solve(rho * M.T @ M + np.eye(M.shape[1]), rho * M.T @ z)}


@pytest.mark.parametrize("seed", [0, 40, 45])
def test_a_point_of_rest_may_lie_beside_a_kink(seed):
    assert ml.verify(ml.Decreases(lifted_energy, lifted_sweep), seed=seed).passed


# ---- of whole numbers: labels along a chain, each given the best one beside its neighbours


def potts(labels, costs, pull):
    return costs[np.arange(len(labels)), labels].sum() + pull * (labels[1:] != labels[:-1]).sum()


def relabelled(labels, costs, pull, sign=-1):
    labels = labels.copy()
    for i in range(len(labels)):
        beside = labels[max(0, i - 1) : i + 2][np.arange(max(0, i - 1), min(len(labels), i + 2)) != i]
        labels[i] = np.argmin(costs[i] + sign * pull * np.bincount(beside, minlength=costs.shape[1]))
    return {"labels": labels}


def chain(rng):
    return {"labels": rng.integers(0, 3, 9), "costs": rng.random((9, 3)), "pull": rng.uniform(0.3, 2)}


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_judged_without_slopes(seed):
    report = ml.verify(ml.Decreases(potts, relabelled, chain), seed=seed)
    assert report.passed, report
    assert [check.why for check in report.checks if check.passed is None] == ["whole numbers have no slopes"]


@pytest.mark.parametrize(("goal", "passes"), [(-1.0, True), (0.0, False)])
def test_a_sweep_that_counts_is_held_to_its_slopes_all_the_same(goal, passes):
    """It counts up to ten, and comes to rest at its goal, which should be −1."""
    claim = ml.Decreases(lambda z, k: square(z + 1), lambda z, k: {"z": (z + goal) / 2, "k": np.minimum(k + 1, 10)},
                         lambda rng: {"z": 2 + rng.random(3), "k": np.zeros(1, int)})
    report = ml.verify(claim)
    assert report.passed == passes
    assert passes or "where the energy is not stationary in z" in report.failures[-1].reason


def test_labels_that_raise_the_energy_are_found_and_mended():
    report = ml.verify(ml.Decreases(potts, lambda labels, costs, pull: relabelled(labels, costs, pull, 1), chain))
    assert [check.claim for check in report.failures] == ["one sweep after another does not increase the energy"]
    assert "raises" not in report.failures[0].reason
    assert "-1" in report.mends[0].new or "-pull" in report.mends[0].new, "no loop that runs over nothing"


def test_an_energy_that_ignores_the_labels_does_not_pass():
    report = ml.verify(ml.Decreases(lambda costs, pull: pull * costs.sum(), relabelled, chain))
    assert [check.claim for check in report.failures] == ["the energy depends on what the sweep returns"]


def distance(x, A, solution):
    return ((x - solution) ** 2).sum()


def rows_in_turn(x, A, solution):
    x = x.copy()
    for a, target in zip(A, A @ solution):
        x += (target - a @ x) / np.linalg.norm(a) * a
    return {"x": x}


def test_no_edit_begins_at_the_solution():
    """Then nothing would rise, and nothing be done."""
    report = ml.verify(ml.Decreases(distance, rows_in_turn, draw(x=normal(6), A=normal(4, 6), solution=normal(6))))
    assert report.failures
    assert [mend.new for mend in report.mends if "** 2" not in mend.new and "@ a" not in mend.new] == []


# ---- when it rises


def shrinks(rates):
    """Return a claim of a sweep that counts itself, and goes by one rate after the other."""
    def sweep(z, t):
        return {"z": z * rates[min(int(t[0]), len(rates) - 1)], "t": t + 1}
    return ml.Decreases(lambda z, t: square(z), sweep, draw=lambda rng: {"z": rng.normal(size=3), "t": np.zeros(1)})


def test_the_energy_is_followed_beyond_the_first_sweeps():
    assert "each sweep" not in reasons(ml.verify(shrinks([0.9] * 8 + [1.1])))
    assert "increases the energy" in reasons(ml.verify(shrinks([0.9] * 8 + [1.1])))
    assert not reasons(ml.verify(shrinks([0.9] * 8 + [0.5])))


# ---- why it rises


def bowl(z, H):
    return z @ H @ z / 2


def draw_bowl(rng):
    m = rng.standard_normal((4, 8))
    return {"z": rng.standard_normal(4), "H": m @ m.T / 4}


def at_once(z, H):
    return {"z": z - (H @ z) / np.diag(H)}


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (ml.Decreases(bowl, lambda z, H: {"z": z - 2.5 / np.linalg.norm(H, 2) * H @ z}, draw_bowl), "the step is too long",
     "Jacobi"),
    (ml.Decreases(bowl, at_once, lambda rng: {"z": rng.standard_normal(4), "H": np.eye(4) + 3}), "(Jacobi)",
     "too long")],
    ids=["step", "jacobi"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_reason_is_given_by_chance(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


POINTS = np.random.default_rng(7).normal(size=(20, 2)) * [1, 2] + [2, 0]


def of_clusters(c):
    return ((POINTS[:, None] - c[None]) ** 2).sum(axis=2).min(axis=1).sum()


def means(c, count):
    label = ((POINTS[:, None] - c[None]) ** 2).sum(axis=2).argmin(axis=1)
    return {"c": np.array([POINTS[label == k].sum(axis=0) / max(count(label == k), 1) for k in range(len(c))])}


def of_median(x):
    return np.linalg.norm(POINTS - x, axis=1).sum()


def weiszfeld(x, power):
    w = np.maximum(np.linalg.norm(POINTS - x, axis=1), 1e-12) ** -power
    return {"x": w @ POINTS / w.sum()}


def test_a_step_towards_a_wrong_point_is_not_too_long():
    drawn = draw(c=lambda rng: POINTS[rng.choice(20, 3, replace=False)])
    found = reasons(ml.verify(ml.Decreases(of_clusters, lambda c: means(c, len), drawn)))
    assert "increases the energy" in found
    assert "too long" not in found
    assert ml.verify(ml.Decreases(of_clusters, lambda c: means(c, np.sum), drawn)).passed


def test_a_direction_that_leads_up_is_told_from_a_step_that_is_too_long():
    drawn = draw(x=normal(2))
    assert "its direction is wrong, not its length" in reasons(ml.verify(ml.Decreases(
        of_median, lambda x: weiszfeld(x, 2), drawn)))
    too_long = ml.Decreases(lambda x: float((x * x).sum()), lambda x: {"x": x - 2.5 * x}, drawn)
    assert "the step is too long" in reasons(ml.verify(too_long))
    assert ml.verify(ml.Decreases(of_median, lambda x: weiszfeld(x, 1), drawn)).passed


@pytest.mark.parametrize("sweep", [lambda v: {"v": -v}, lambda v: {"v": v - 1e-4 * (v + 3)}])
def test_a_sweep_that_neither_descends_nor_comes_to_rest_is_not_verified(sweep):
    """The second would rest at −3, in 10⁵ sweeps."""
    report = ml.verify(ml.Decreases(square, sweep, descends=False))
    assert not report.passed
    assert not report.failures
    assert "it rests only where" in report.unverified
    assert "400 sweeps do not come to rest" in report.unverified


def of_strengths(skill, wins):
    """The energy of paired comparisons, which does not change if all strengths are doubled."""
    return (wins * np.log(1 + skill[None, :] / skill[:, None])).sum()


def stronger(skill, wins, games):
    return {"skill": wins.sum(axis=1) / (games(wins, skill) / (skill[:, None] + skill)).sum(axis=1)}


def draw_games(rng):
    return {"skill": rng.uniform(0.5, 2, 4), "wins": rng.uniform(1, 7, (4, 4)) * (1 - np.eye(4))}


def test_a_sweep_along_which_the_energy_never_changes_is_judged_where_it_leads():
    """It doubles all strengths again and again, and learns nothing."""
    def doubling(wins, skill):
        return wins * (skill[:, None] + skill) / (2 * skill[:, None])

    found = reasons(ml.verify(ml.Decreases(of_strengths, lambda skill, wins: stronger(skill, wins, doubling),
                                           draw_games)))
    assert "it rests where the energy is not stationary in skill" in found
    assert ml.verify(ml.Decreases(of_strengths, lambda skill, wins: stronger(
        skill, wins, lambda wins, skill: wins + wins.T), draw_games)).passed


# ---- on a simplex


def divergences(p, P):
    return (P * np.log(P / (p @ P))).sum(axis=1)


def information(p, P):
    return -(p @ divergences(p, P))


def blahut(sign):
    """Return a sweep of Blahut's and Arimoto's that moves along the simplex: uphill for +1, as it should."""
    def sweep(p, P):
        new = p * np.exp(sign * divergences(p, P))
        return {"p": new / new.sum()}
    return sweep


def draw_channel(rng):
    P, p = rng.uniform(0.05, 1, (3, 4)), rng.uniform(0.1, 1, 3)
    return {"p": p / p.sum(), "P": P / P.sum(axis=1, keepdims=True)}


@pytest.mark.parametrize(("sign", "passes"), [(1, True), (-1, False)])
def test_a_sweep_that_stays_in_a_simplex_is_held_to_it(sign, passes):
    """Off the simplex the energy is lower."""
    report = ml.verify(ml.Decreases(information, blahut(sign), draw_channel))
    assert report.passed == passes, report


def test_where_sums_stay_a_stationary_point_is_still_asked_for():
    """It moves along the simplex, to its middle, where the energy is not least."""
    report = ml.verify(ml.Decreases(lambda p, c: c @ p, lambda p, c: {"p": 0.5 * p + 0.5 / len(p)}, lambda rng: {
        "p": np.array([0.2, 0.3, 0.5]), "c": rng.standard_normal(3)}, descends=False))
    assert any("not stationary in p" in check.reason for check in report.failures), report


# ---- multipliers, and data in which an energy is linear


def quadratic(x, H, c):
    return x @ H @ x / 2 - c @ x


def heavy_ball(x, v, H, c):
    v = 0.8 * v - (H @ x - c) / np.trace(H)
    return {"x": x + v, "v": v}


def spd(rng):
    B = rng.standard_normal((4, 6))
    return {"x": rng.standard_normal(4), "v": rng.standard_normal(4), "H": B @ B.T / 6 + 0.1 * np.eye(4),
            "c": rng.standard_normal(4)}


def test_a_momentum_of_which_only_rounding_is_left_rests():
    def halfway(x, v, c):
        return {"x": (x + c) / 2, "v": np.where(v > 0, -1e-17, 1e-17)}

    drawn = draw(x=normal(4), v=normal(4), c=normal(4))
    report = ml.verify(ml.Decreases(lambda x, v, c: square(x - c), halfway, drawn, descends=False))
    assert report.passed, report


def with_multiplier(x, z, u, b):
    return square(x - b) + abs(z).sum() + u @ (x - z) + square(x - z)


def without_dual_step(z, u, b):
    x = (2 * b - u + 2 * z) / 4
    v = x + u / 2
    return {"x": x, "z": np.sign(v) * np.maximum(abs(v) - 0.5, 0)}


@pytest.mark.parametrize("seed", range(3))
def test_data_in_which_the_energy_is_linear_are_no_multiplier(seed):
    """H and c are data: what H multiplies is a square, and what c multiplies is x itself; x − z is a constraint."""
    assert ml.verify(ml.Decreases(quadratic, heavy_ball, spd, descends=False), seed=seed).passed
    claim = ml.Decreases(with_multiplier, without_dual_step, draw(x=normal(4), z=normal(4), u=normal(4), b=normal(4)),
                         descends=False)
    assert "linear in u, a multiplier, which the sweep never changes" in reasons(ml.verify(claim, seed=seed))


# ---- numbers of the file

SHARE, RHO = 0.5, 2.0


def ridge_in_two(x, z, u, A, b):
    fit = ((A @ x - b) ** 2).sum() / 2 + SHARE / 2 * (z**2).sum()
    return fit + RHO * u @ (x - z) + RHO / 2 * ((x - z) ** 2).sum()


def without_rho(x, z, u, A, b):
    x = np.linalg.solve(A.T @ A + RHO * np.eye(len(z)), A.T @ b + RHO * (z - u))
    z = (x + u) / (1 + SHARE)
    return {"x": x, "z": z, "u": u + x - z}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_number_of_the_file_is_told_for_what_it_is_and_not_for_its_value(seed):
    """SHARE·RHO is 1, so that SHARE seems to be left out."""
    thing = ml.Decreases(ridge_in_two, without_rho, draw(
        x=normal(4), z=normal(4), u=normal(4), A=normal(6, 4), b=normal(6)), descends=False)
    tells("as if SHARE were SHARE·RHO", "left out", thing, seed=seed)


def cauchy(w, X, y):
    return np.log1p(((X @ w - y) / RHO) ** 2).sum() / 2 * RHO**2


def squared_weights(w, X, y):
    rows = X / (1 + ((X @ w - y) / RHO) ** 2)[:, None]
    return {"w": np.linalg.lstsq(rows, y / (1 + ((X @ w - y) / RHO) ** 2))[0]}


def test_an_energy_that_a_number_makes_flat_or_undefined_explains_nothing():
    tells("not stationary in w", "RHO", ml.Decreases(cauchy, squared_weights, draw(w=normal(3), X=normal(14, 3),
                                                                                  y=normal(14))))


SPREAD = np.array([0.5, 1.5])


def mixture(mu, w, x):
    return -np.log((w / w.sum() * np.exp(-(((x[:, None] - mu) / SPREAD) ** 2) / 2) / SPREAD).sum(axis=1)).sum()


def expected(mu, w, x):
    r = w * np.exp(-(((x[:, None] - mu) / SPREAD) ** 2) / 2) / SPREAD
    r = r / r.sum(axis=1, keepdims=True)
    return {"mu": (r * x[:, None]).sum(axis=0) / r.sum(axis=0), "w": r.mean(axis=0)}


@pytest.mark.parametrize("seed", [2, 30, 31])
def test_shares_that_begin_off_the_simplex_are_judged_on_it(seed):
    """One of them may become 0, and the energy would fall with less than nothing of it."""
    def given(rng):
        return {"mu": rng.normal(size=2), "w": rng.uniform(0.5, 1, 2),
                "x": np.concatenate([rng.normal(-2, 0.5, 10), rng.normal(2, 1.5, 10)])}

    ml.verify(ml.Decreases(mixture, expected, draw=given), seed=seed).raise_for_failures()


def test_shares_that_are_all_0_lie_on_no_simplex():
    """Every step from there would leave it, and the energy would look stationary."""
    claim = ml.Decreases(lambda x, w: ((x - 1) ** 2).sum() + ((w - 1) ** 2).sum(), lambda x, w: {
        "x": np.ones_like(x), "w": np.zeros_like(w)}, lambda rng: {"x": rng.random(3), "w": rng.random(2) / 9})
    assert "not stationary in w" in reasons(ml.verify(claim))

"""`verify` on `Gradient` and `Equal`: right formulas hold; wrong ones are found, and the reason says what is wrong."""

import math

import numpy as np
import pytest
from told import reasons, softmax, square, tells

import minilift as ml
from minilift.checks.numeric import seen_reasons

# ---- gradients


def normals(**shapes):
    return lambda rng: {name: rng.normal(size=shape) for name, shape in shapes.items()}


def attention():
    def weights(Q, K):
        return softmax(Q @ K.T / math.sqrt(Q.shape[1]))

    def energy(Q, K, V, T):
        return 0.5 * np.sum((weights(Q, K) @ V - T) ** 2)

    def gradient(Q, K, V, T):
        P = weights(Q, K)
        R = P @ V - T
        S = P * (R @ V.T - (R @ V.T * P).sum(axis=1, keepdims=True))
        return S @ K / math.sqrt(Q.shape[1]), S.T @ Q, P.T @ R

    return ml.Gradient(energy, gradient, block=("Q", "K", "V"), draw=normals(Q=(5, 3), K=(6, 3), V=(6, 2), T=(5, 2)))


@pytest.mark.parametrize(("thing", "says", "does_not_say"), [
    (attention(), "wrong in K alone: it is off by the constant factor 1.73205", "transposed")],
    ids=lambda thing: getattr(type(thing), "__name__", None) if not isinstance(thing, str) else "")
def test_a_reason_says_what_is_planted(thing, says, does_not_say):
    tells(says, does_not_say, thing)


def likelihood(P, S):
    P = (P + P.T) / 2
    w = np.linalg.eigvalsh(P)
    return (S * P).sum() - np.log(w).sum() if w[0] > 0 else np.inf


def draw_likelihood(rng):
    B = rng.standard_normal((9, 4))
    return {"P": np.eye(4), "S": B.T @ B / 9}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (ml.Gradient(likelihood, lambda P, S: np.linalg.inv(P) + S, "P", draw_likelihood), "a term in the inverse of P",
     "a term in P ")], ids=["identity"])
def test_a_term_is_named_only_if_it_explains_all_entries_there_and_elsewhere(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


def halved_in_place(A, H):
    """Z has the integers' dtype, and what is written into it is cut."""
    Z = H.copy()
    Z[:] = (A @ Z + H) / 2
    return Z


def draw_form(rng):
    return {"x": rng.normal(size=4), "B": rng.normal(size=(4, 4))}


@pytest.mark.parametrize(("claim", "said", "unsaid"), [
    (ml.Gradient(lambda p: float((p * np.log(p)).sum()), lambda p: np.log(p), "p",
                 lambda rng: {"p": rng.uniform(0.1, 2, (4, 3))}), "a constant, or", "off by"),
    (ml.Gradient(lambda x, B: float(x @ B @ x), lambda x, B: 2 * B @ x, "x", draw_form),
     "the gradient of no function: its derivative is not symmetric", "depends on B"),
    (ml.Gradient(lambda z: float(np.linalg.norm(z)), lambda z: z, "z"), "constant in each problem", "no function"),
    (ml.Gradient(lambda t, x: float(np.exp(t[0]) * x @ x + np.exp(2 * t[1])), lambda t, x: np.array(
        [np.exp(t[0]) * x @ x, 2 * np.exp(t[1])]), "t", lambda rng: {"t": rng.normal(size=2), "x": rng.normal(size=3)}),
     "only the last entry is wrong", "no function"),
    (ml.Equal(lambda z: abs(z) + np.log1p(np.exp(-abs(z))), lambda z: np.logaddexp(0, z)),
     "it is wrong only where z is negative", "positive"),
    (ml.Equal(halved_in_place, lambda A, H: (A @ H + H) / 2, lambda rng: {
        "A": rng.random((4, 4)), "H": np.eye(4, dtype=int)[rng.integers(4, size=5)].T}),
     "H holds whole numbers", "zero"),
    (ml.Equal(lambda x, B: [x + 1, x @ B], lambda x, B: [x + 1, x - B @ x], draw_form),
     "seen: of its 2 results only number 1, counted from 0, is wrong", "transposed"),
    (ml.Equal(lambda x, T: x @ T[0] @ T[1], lambda x, T: x @ T[0].T @ T[1], lambda rng: {
        "x": rng.normal(size=3), "T": list(rng.normal(size=(2, 3, 3)))}), "T[0] is transposed", "T[1]")])
def test_a_claim_is_told_what_is_wrong(claim, said, unsaid):
    tells(said, unsaid, claim)


# ---- equalities


def solved(a, g, lam):
    return np.linalg.solve(a.T @ a + lam * np.eye(a.shape[1]), a.T @ g)


@pytest.mark.parametrize(("claim", "words", "astray"), [
    (ml.Equal(lambda a, g: solved(a, g, 1.0), lambda a, g: solved(a, g, 0.5)), "", "constant in each problem"),
    (ml.Equal(lambda x: x[:-1], lambda x: x, draw=lambda rng: {"x": rng.normal(size=(5, 4))}), "its shape", "bias")],
    ids=["another λ", "a row is dropped"])
def test_no_reason_leads_astray(claim, words, astray):
    tells(words, astray, claim)


@pytest.mark.parametrize(("thing", "said", "unsaid"), [
    (ml.Equal(lambda z: 2 * z, lambda z: 3 * z, lambda rng: {"z": np.zeros(3)}), "all that is drawn is 0", "factor")],
    ids=["zeros"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_reason_is_given_by_chance(thing, said, unsaid, seed):
    tells(said, unsaid, thing, seed=seed)


@pytest.mark.parametrize(("thing", "options", "said"), [
    (ml.Equal(lambda a: a @ a.T, lambda a: a @ a.T + 1), {}, "all entries are off by one number")],
    ids=lambda x: x if isinstance(x, str) else "")
def test_a_usual_mistake_is_made_and_named(thing, options, said):
    tells(said, "nan", thing, **options)


def test_an_equality_is_asked_of_many_rows():
    def chunked(a):
        return sum(a[k : k + 64].T @ a[k : k + 64] for k in range(0, max(len(a) // 64, 1) * 64, 64))

    assert not ml.verify(ml.Equal(chunked, lambda a: a.T @ a)).passed


def test_a_variance_over_one_less():
    said = reasons(ml.verify(ml.Equal(lambda a: a.var(axis=0) * len(a) / max(len(a) - 1, 1), lambda a: a.var(axis=0))))
    assert "N/(N − 1), N the number of rows of a" in said


def test_no_rank_is_asked_of_what_is_not_finite():
    """NumPy raises for one, which would be told as an error of the user's."""
    assert not list(seen_reasons(np.ones((3, 3)), np.full((3, 3), np.nan)))


# ---- what is carried from row to row


def one_pass(rescaled, steps=3):
    """Attention in one pass over blocks of keys, with a running maximum."""
    def streamed(q, K, V):
        top, total, out = -np.inf, 0.0, np.zeros(V.shape[1])
        for k in range(0, len(K), steps):
            s = K[k : k + steps] @ q
            new = max(top, s.max())
            total = total * np.exp(top - new) + np.exp(s - new).sum()
            out = out * (np.exp(top - new) if rescaled else 1) + np.exp(s - new) @ V[k : k + steps]
            top = new
        return out / total

    return ml.Equal(streamed, lambda q, K, V: softmax(K @ q) @ V, draw=normals(q=3, K=(12, 3), V=(12, 2)))


def recursive_squares(late):
    """Least squares row by row, with the gain before the update of P, or after it."""
    def recursive(A, b, lam=0.5):
        P, w = np.eye(A.shape[1]) / lam, np.zeros(A.shape[1])
        for a, y in zip(A, b):
            new = P - np.outer(P @ a, P @ a) / (1 + a @ P @ a)
            P = new if late else P
            w, P = w + P @ a / (1 + a @ P @ a) * (y - a @ w), new
        return w

    return ml.Equal(recursive, lambda A, b, lam=0.5: np.linalg.solve(A.T @ A + lam * np.eye(A.shape[1]), A.T @ b),
                    draw=normals(A=(9, 4), b=9))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("claim", [one_pass(True), recursive_squares(False)])
def test_a_right_recursion_passes(claim, seed):
    assert ml.verify(claim, seed=seed).passed


@pytest.mark.parametrize(("claim", "names"), [(one_pass(False), "K and V"), (recursive_squares(True), "A and b")])
def test_a_recursion_that_depends_on_the_order_of_rows_says_so(claim, names):
    assert f"the order of the rows of {names}, the reference does not" in reasons(ml.verify(claim))


# ---- near the end of a domain


def entropy(p):
    return (p * np.log(p)).sum()


def barrier(x):
    return float(-np.log(x).sum()) if (x > 0).all() else np.inf


@pytest.mark.parametrize(("energy", "right", "wrong", "draw"), [
    (entropy, lambda p: np.log(p) + 1, lambda p: np.log(p), lambda rng: {"p": rng.dirichlet(np.ones(300))}),
    (barrier, lambda x: -1 / x, lambda x: 1 / x, lambda rng: {"x": rng.uniform(0, 1e-3, 7)}),
    (barrier, lambda x: -1 / x, lambda x: -1.001 / x, lambda rng: {"x": rng.uniform(0, 1e-7, 3)})])
def test_a_gradient_is_measured_however_near_the_end_of_the_domain(energy, right, wrong, draw):
    (block,) = draw(np.random.default_rng())
    for seed in range(3):
        assert ml.verify(ml.Gradient(energy, right, block, draw), seed=seed).passed
        assert ml.verify(ml.Gradient(energy, wrong, block, draw), seed=seed).failures


def test_where_a_gradient_is_measured_in_no_draw_it_is_not_verified():
    def on_simplex(p):
        return square(p) if abs(p.sum() - 1) < 1e-12 else np.inf

    report = ml.verify(ml.Gradient(on_simplex, lambda p: p, "p", lambda rng: {"p": rng.dirichlet(np.ones(5))}))
    assert not report.passed
    assert not report.failures
    assert "no problem suits the claim “the claimed gradient, by differences”" in report.unverified


def by_moreau(v, tau):
    return v - tau * np.clip(v / tau, -1, 1)


@pytest.mark.parametrize("seed", [0, 18])
def test_rounding_of_what_is_drawn_is_no_mistake_where_all_of_a_result_is_zero(seed):
    thing = ml.Equal(by_moreau, lambda v, tau: np.sign(v) * np.maximum(abs(v) - tau, 0), draw=lambda rng: {
        "v": 2 * rng.normal(size=7), "tau": rng.uniform(0.3, 2)})
    ml.verify(thing, seed=seed).raise_for_failures()

"""The damped least-squares step, direct and by conjugate gradients, on either side, against dense ones."""

import re
from itertools import pairwise, product

import numpy as np
import pytest
from conftest import read_only
from hypothesis import given
from hypothesis import strategies as st
from laws import (
    assert_close,
    assert_conjugate_gradients,
    assert_direct_solve,
    assert_residual_is_honest,
    damped_objective,
    dense_step,
    norm,
    stacked,
)

import minilift as ml
from minilift.layers.gram import Gram
from minilift.local.problems import Gap, LocalProblem, MatchingLoss, Model, SquaredFit, SquaredGap
from minilift.local.solvers import (
    cg_solve,
    conjugate_gradients,
    damped_solve,
    exact,
    fletcher_reeves,
    gradient_steps,
    newton,
)
from minilift.support.backend import CACHED, spd_inverse, spd_solve

seeds, dampings = st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.1, 1.0, 20.0])


def drawn(seed, dead):
    rng = np.random.default_rng(seed)
    samples, n_in, n_out = rng.integers(1, [13, 10, 6])
    a, g = rng.standard_normal((samples, n_in)), rng.standard_normal((samples, n_out))
    if dead:
        a[:, 0], g[:, 0] = 0, 0
    return read_only(a), read_only(g), rng


@given(seeds, dampings, st.booleans())
def test_direct_solve(seed, damping, dead):
    # holds Representer
    a, g, rng = drawn(seed, dead)
    assert_direct_solve(damped_solve, a, g, damping, rng)


@given(seeds, dampings, st.booleans())
def test_conjugate_gradients(seed, damping, dead):
    # holds Representer
    a, g, _ = drawn(seed, dead)
    assert_conjugate_gradients(conjugate_gradients, a, g, damping)


def of_rows(x, y):
    return (x * y).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("forcing", [0.5, 1e-3, 1e-10])
@pytest.mark.parametrize("preconditioned", [True, False])
def test_systems_of_several_units_are_solved_each_as_far_as_it_was_asked(rng, forcing, preconditioned):
    root, b, made = rng.standard_normal((6, 7, 7)), rng.standard_normal((6, 7)), []
    b[2], root[3] = 0, np.eye(7)  # one unit has nothing to do, one needs a step
    matrices = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(7)
    scale = np.stack([matrix.diagonal() for matrix in matrices]) if preconditioned else np.ones_like(b)

    def product(p):
        made.append(p.copy())
        return np.einsum("nij,nj->ni", matrices, p)

    def along(r):
        return (r / scale,)

    together = cg_solve(product, read_only(b), of_rows, 40, along=along, forcing=forcing)
    few = len(made)
    assert not together[2].any()
    residual = b - product(together)
    assert (of_rows(residual, residual / scale) <= 1.01 * forcing**2 * of_rows(b, b / scale)).all()
    for i in range(6):
        alone = cg_solve(lambda p, i=i: p @ matrices[i], b[i:i + 1], of_rows, 40,
                         along=lambda r, i=i: (r / scale[i],), forcing=forcing)
        assert_close(f"unit {i}", together[i], alone[0], 1e-9)
    assert few < 40


def test_a_unit_whose_direction_has_no_curvature_takes_the_first_one_and_stays_at_a_later_one():
    matrix, b = np.diag([0.0, 0.0, 2.0, 1.0]), np.array([[3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 1.0]])

    def solved(b, steps):
        return cg_solve(lambda p: p @ matrix, b, of_rows, steps, forcing=1e-12, least=lambda p: 1e-9 * of_rows(p, p))

    assert_close("flat, and not", solved(b, 9), [[3, 0, 0, 0], [0, 0, 2, 1]], 1e-12)
    both = np.array([[1.0, 0.0, 4.0, 0.0]])  # after a step along both, what is left is nearly flat
    assert np.isfinite(solved(both, 9)).all()


@given(seeds, dampings, st.integers(1, 6))
def test_both_sides_agree(seed, damping, steps):
    # holds Representer
    a, g, _ = drawn(seed, dead=False)
    sample, parameter = Gram(a, side="sample"), Gram(a, side="parameter")
    one, other = (damped_solve(gram, g, damping).value for gram in (sample, parameter))
    assert_close("exact", one, other, 1e-9)
    few = min(steps, len(a), a.shape[1] + 1)  # beyond the rank both have only noise left
    for joint in (False, True):
        one, other = (conjugate_gradients(gram, g, damping, few, joint=joint) for gram in (sample, parameter))
        # CG forgets its starting digits at the rate of the conditioning: hold it to what it minimises
        objectives = [damped_objective(a, g, damping, s.value) for s in (one, other)]
        assert objectives[0] == pytest.approx(objectives[1], rel=1e-8)


@given(seeds, dampings, st.booleans())
def test_each_step_of_conjugate_gradients_lowers_the_objective(seed, damping, joint):
    a, g, _ = drawn(seed, dead=False)
    gram = Gram(a)
    values = [conjugate_gradients(gram, g, damping, k, joint=joint).value for k in range(1, 8)]
    objectives = [damped_objective(a, g, damping, np.zeros_like(values[0]))]
    objectives += [damped_objective(a, g, damping, d) for d in values]
    least = damped_objective(a, g, damping, dense_step(a, g, damping))
    slack = 1e-12 * objectives[0]
    assert all(after <= before + slack for before, after in pairwise(objectives))
    assert objectives[-1] >= least - slack


@given(seeds, dampings)
def test_first_step_is_the_gradient_with_an_exact_line_search(seed, damping):
    a, g, _ = drawn(seed, dead=False)
    gradient = stacked(a).T @ g
    d = conjugate_gradients(Gram(a), g, damping, 1).value
    lengths = (d * gradient).sum(axis=0) / (gradient * gradient).sum(axis=0)
    assert_close("direction", d, lengths * gradient, 1e-10)
    for factor in (0.99, 1.01):
        assert damped_objective(a, g, damping, d) <= damped_objective(a, g, damping, factor * d)
    joint = conjugate_gradients(Gram(a), g, damping, 1, joint=True).value
    ratio = (joint * gradient).sum() / (gradient * gradient).sum()
    assert_close("one length for all units", joint, ratio * gradient, 1e-10)


def test_one_unit_is_its_own_problem(rng):
    a, g = rng.standard_normal((8, 4)), rng.standard_normal((8, 3))
    together = conjugate_gradients(Gram(a), g, 0.5, 3).value
    for j in range(3):
        alone = conjugate_gradients(Gram(a), g[:, [j]], 0.5, 3).value
        assert_close(f"unit {j}", together[:, [j]], alone, 1e-12)


@pytest.mark.parametrize("joint", [False, True])
def test_no_signal_no_step(rng, joint):
    a, g = rng.standard_normal((5, 3)), np.zeros((5, 2))
    for solution in (damped_solve(Gram(a), g, 1.0), conjugate_gradients(Gram(a), g, 1.0, 3, joint=joint)):
        assert not solution.value.any()
        assert not solution.residual.any()


@pytest.mark.parametrize("side", ["sample", "parameter"])
@pytest.mark.parametrize("damping", [1e-2, 1.0])
def test_float32_solves_for_the_difference(rng, side, damping):
    """Data with large means and a small signal: new parameters minus old ones would be lost in float32."""
    a = (5 + rng.standard_normal((40, 30))).astype(np.float32)
    g = (1e-4 * rng.standard_normal((40, 6))).astype(np.float32)
    exact = dense_step(a.astype(np.float64), g.astype(np.float64), damping)
    solution = damped_solve(Gram(a, side=side), g, damping)
    assert solution.value.dtype == np.float32
    assert_close("float32", solution.value, exact, 2e-3)
    cg = conjugate_gradients(Gram(a, side=side), g, damping, 3)
    reference = conjugate_gradients(Gram(a.astype(np.float64), side=side), g.astype(np.float64), damping, 3)
    assert cg.value.dtype == np.float32
    # 3 steps with sums of 31 products, on M of condition ‖M‖/μ = 10³ with μ the least Ritz value: 3·31·10³·2⁻²⁴ = 6e-3
    assert_close("cg3 in float32", cg.value, reference.value, 6e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-2)])
@pytest.mark.parametrize("side", ["sample", "parameter"])
@pytest.mark.parametrize("rank", [1, 3])
def test_steps_after_convergence_do_no_harm(rng, rank, side, dtype, tolerance):
    """Samples that repeat leave K a null space, where ⟨R, KR⟩ is rounding: noise over noise must not be a step."""
    a = np.repeat(rng.standard_normal((rank, 6)), 12 // rank, axis=0).astype(dtype)
    g = rng.standard_normal((12, 300)).astype(dtype)
    exact = dense_step(a.astype(np.float64), g.astype(np.float64), 1.0)
    for steps in (6, 10, 20, 40):
        d = conjugate_gradients(Gram(a, side=side), g, 1.0, steps).value
        assert_close(f"{steps} steps", d, exact, tolerance)


@pytest.mark.parametrize("damping", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("cancels", [False, True])
def test_in_float32_too_any_number_of_steps_descends(rng, damping, cancels):
    """Prop. 5. Samples that repeat leave ãᵀã null directions, where 1/β magnifies the rounding of ãᵀg."""
    a = np.repeat(30 * rng.standard_normal((1, 7)), 19, axis=0).astype(np.float32)
    g = rng.standard_normal((19, 5))
    g = (g - cancels * 0.999 * g.mean(axis=0)).astype(np.float32)
    gradient, exact = Gram(a).adjoint(g), dense_step(a.astype(np.float64), g.astype(np.float64), damping)
    for steps in (1, 3, 10):
        d = conjugate_gradients(Gram(a), g, damping, steps).value
        assert ((d * gradient).sum(axis=0) >= 0.9 * np.linalg.norm(d, axis=0) * np.linalg.norm(gradient, axis=0)).all()
        assert np.linalg.norm(d) <= 2 * np.linalg.norm(exact)


@pytest.mark.parametrize("mean", [50, 200, 1000])
@pytest.mark.parametrize("shape", [(100, 200), (300, 50)], ids=str)
@pytest.mark.parametrize("side", ["sample", "parameter"])
def test_conjugate_gradients_in_float32_on_raw_data(rng, mean, shape, side):
    """Beside one huge eigenvalue, that of the column means, the others must not drown in its rounding."""
    # holds ProxProp (14)
    a = (mean + rng.standard_normal(shape)).astype(np.float32)
    g = rng.standard_normal((len(a), 8)).astype(np.float32)
    double = a.astype(np.float64), g.astype(np.float64)
    start = damped_objective(*double, 1.0, np.zeros((shape[1] + 1, 8)))
    for steps in (1, 3, 10):
        d = conjugate_gradients(Gram(a, side=side), g, 1.0, steps).value
        expected = conjugate_gradients(Gram(double[0]), double[1], 1.0, steps).value
        assert d.dtype == np.float32
        reached, possible = (start - damped_objective(*double, 1.0, step.astype(np.float64)) for step in (d, expected))
        assert reached >= 0.9 * possible, f"{steps} steps"


@pytest.mark.parametrize("mean", [50, 200])
@pytest.mark.parametrize("shape", [(100, 200), (60, 30)], ids=str)
@pytest.mark.parametrize("side", ["sample", "parameter"])
def test_nonlinear_conjugate_gradients_in_float32_on_raw_data(rng, mean, shape, side):
    a = (mean + rng.standard_normal(shape)).astype(np.float32)
    z, s = (size * rng.standard_normal((len(a), 8)).astype(np.float32) for size in (np.float32(1), np.float32(0.1)))
    problem = LocalProblem(Gram(a, side=side, bias=False), z, SquaredFit(ml.Tanh(), z, s), 2.0)
    a, z, s = (array.astype(np.float64) for array in (a, z, s))
    double = LocalProblem(Gram(a, bias=False), z, SquaredFit(ml.Tanh(), z, s), 2.0)
    steps = [fletcher_reeves(one, 5).value for one in (problem, double)]
    assert steps[0].dtype == np.float32
    start, *lowered = (double.objective(d.astype(np.float64)) for d in (0 * steps[1], *steps))
    assert start - lowered[0] >= 0.8 * (start - lowered[1])


@pytest.mark.parametrize("side", ["sample", "parameter"])
def test_a_gram_matrix_is_cast_unless_rounding_would_hide_most_of_it(rng, side):
    for mean, dtype in ((0, np.float32), (1, np.float32), (1000, np.float64)):
        gram = Gram((mean + rng.standard_normal((100, 120))).astype(np.float32), side=side)
        assert gram.operator.dtype == dtype
        u = rng.standard_normal((len(gram.matrix), 3)).astype(np.float32)
        assert gram.product(u).dtype == np.float32
        assert_close("product", gram.product(u), gram.matrix @ u, 1e-6)


def test_the_closed_form_is_that_of_every_quadratic_gap(rng):
    """½‖·‖² and SIBP's ‖·‖², with z_k or, as in SIBP's b block, another z: against Newton, and plain gradient steps."""
    a, z, signal = rng.standard_normal((6, 3)), rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    for gap, at in product((SquaredGap(z, signal), MatchingLoss(ml.Identity(), z, signal),
                            SquaredFit(ml.Identity(), z, signal)), (z, z + 1)):
        problem = LocalProblem(Gram(a), at, gap, 0.5)
        assert problem.gradient_norm(exact(problem).value) <= 1e-12 * problem.gradient_norm(np.zeros((4, 2)))
        d = np.zeros((4, 2))
        for rate in (0.01, 0.02, 0.03):
            d = d + rate * (problem.gram.adjoint(gap.gradient(at - problem.gram.apply(d))) - 0.5 * d)
        np.testing.assert_allclose(gradient_steps(problem, [0.01, 0.02, 0.03]).value, d, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_a_direct_solve_says_which_dtypes_it_takes(dtype):
    a, g = np.ones((3, 2), dtype), np.ones((3, 1), dtype)
    for solve in (lambda: damped_solve(Gram(a), g, 0.5), lambda: damped_solve(Gram(a), g, 0.0),
                  lambda: exact(LocalProblem(Gram(a), g, SquaredGap(g, g), 0.5))):
        with pytest.raises(TypeError, match=f"g must be of dtype float32 or float64, got {np.dtype(dtype)}"):
            solve()


class Weighted(Gap):
    """A gap of the user's, which keeps a number beside its arrays."""

    convex = True

    def __init__(self, z, signal, weight):
        super().__init__(ml.Identity(), z, signal)
        self.weight = weight

    def gradient(self, z):
        return self.weight * (z - self.z + self.signal)

    def value(self, z):
        return ((z - self.z + self.signal) ** 2).sum(axis=0) * self.weight / 2

    def model(self, z):
        return Model(z, self.value(z), self.gradient(z), lambda v: self.weight * v)


def test_a_gap_of_ones_own_may_keep_a_number(rng):
    rows = CACHED  # two numbers each: the line search takes them in two parts
    a, z, signal = rng.standard_normal((rows, 3)), rng.standard_normal((rows, 2)), rng.standard_normal((rows, 2))
    problem = LocalProblem(Gram(a), z, Weighted(z, signal, 2.5), damping=1.0)
    assert_close("D", fletcher_reeves(problem, steps=8).value, damped_solve(Gram(a), signal, 1 / 2.5).value, 1e-6)


@pytest.mark.parametrize("shape", [(0, 2), (3, 0)])
@pytest.mark.parametrize("solve", [damped_solve, lambda *problem: conjugate_gradients(*problem, 2)])
def test_nothing_to_be_solved_for_is_refused_by_name(solve, shape):
    message = f"g must hold a row and a column at least, got one of shape {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        solve(Gram(np.ones((shape[0], 4))), np.ones(shape), 0.5)


def test_a_gap_that_is_not_convex_is_refused_by_name(rng):
    z = rng.standard_normal((6, 2))
    problem = LocalProblem(Gram(rng.standard_normal((6, 3))), z, SquaredFit(ml.Tanh(), z, 0.1 * z), 0.5)
    for solve in (exact, lambda problem: newton(problem, 1e-8)):
        with pytest.raises(TypeError, match=r"the gap of problem must be of class MatchingLoss, got .*SquaredFit"):
            solve(problem)


def test_without_a_signal_there_is_no_residual(rng):
    z = rng.standard_normal((6, 2))
    problem = LocalProblem(Gram(rng.standard_normal((6, 3))), z, MatchingLoss(ml.Tanh(), z, 0 * z), 0.5)
    for solution in (newton(problem, 1e-8), gradient_steps(problem, [0.1]), fletcher_reeves(problem, 2)):
        assert solution.residual == 0
        assert not solution.value.any()


def test_the_residual_of_a_local_problem_is_that_of_its_gradient(rng):
    z = rng.standard_normal((6, 2))
    problem = LocalProblem(Gram(rng.standard_normal((6, 3))), z, MatchingLoss(ml.Tanh(), z, 0.1 * z), 0.5)
    for solution in (gradient_steps(problem, [0.05]), fletcher_reeves(problem, 1)):
        d = solution.value
        assert solution.residual == pytest.approx(problem.gradient_norm(d) / problem.gradient_norm(0 * d), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_small_objective_does_not_rise_either(dtype):
    """A sum of squares of size 1e-8 rounds far below the rounding of 1: past the kink of a ReLU it is a hundredfold."""
    a, z, s = (np.array(column, dtype)[:, None] for column in ([0.1, -1.0], [1.0, -1e-6], [1e-4, 0.0]))
    problem = LocalProblem(Gram(a, bias=False), z, SquaredFit(ml.ReLU(), z, s), 2e-4)
    start = problem.objective(np.zeros((1, 1), dtype))
    for steps in (1, 2, 5):
        assert problem.objective(fletcher_reeves(problem, steps).value) <= 1.001 * start


@pytest.mark.parametrize("f", [ml.ReLU(), ml.Tanh(), ml.Softplus()], ids=repr)
@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("rows", [3, 1000])
def test_what_a_squared_fit_takes_for_rounding(rng, f, size, rows):
    """It is above that of h in float32, or a search would halve in vain, and far below h, or it would do nothing."""
    z = rng.standard_normal((rows, 50)).astype(np.float32)
    s = (size * rng.standard_normal(z.shape)).astype(np.float32)
    gap, double = SquaredFit(f, z, s), SquaredFit(f, z.astype(np.float64), s.astype(np.float64))
    at = (z + size * rng.standard_normal(z.shape)).astype(np.float32)
    model, rounding = gap.model(at), gap.rounding(gap.model(at))
    assert rounding.dtype == np.float32
    assert (abs(model.value - double.value(at.astype(np.float64))) <= rounding).all()
    assert (rounding <= 2e-5 / size * model.value).all()


def test_a_damping_of_numpys_promotes_nothing(rng):
    a, z, g = rng.standard_normal((3, 6, 2)).astype(np.float32)
    problem = LocalProblem(Gram(a), z, SquaredGap(z, g), np.float64(0.5))
    for solution in (gradient_steps(problem, [0.1, 0.1]), fletcher_reeves(problem, 3), exact(problem)):
        assert solution.value.dtype == np.float32


def test_residual_tells_few_steps_from_many(rng):
    a, g = read_only(rng.standard_normal((12, 8))), read_only(rng.standard_normal((12, 4)))
    residuals = []
    for steps in (1, 3, 8, 20):
        solution = conjugate_gradients(Gram(a), g, 0.1, steps)
        assert solution.steps == steps
        assert_residual_is_honest(solution, a, g, 0.1)
        residuals.append(norm(solution.residual))
    assert residuals[0] > 1e-2
    assert residuals[-1] < 1e-10
    assert damped_solve(Gram(a), g, 0.1).steps == 0


@given(seeds, st.integers(1, 8), st.sampled_from([1e-6, 1.0, 1e6]))
def test_small_inverse(seed, n, scale):
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((n, n))
    matrix = read_only(scale * (b @ b.T + np.eye(n)))
    assert_close("inverse", spd_inverse(matrix) @ matrix, np.eye(n), 1e-10)
    assert spd_inverse(matrix.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("n", [64, 65, 257, 515])
def test_an_inverse_made_by_halves(n, rng):
    b = rng.standard_normal((n, n))
    matrix = read_only(b @ b.T / n + np.eye(n))
    inverse = spd_inverse(matrix)
    assert_close("inverse", inverse @ matrix, np.eye(n), 1e-13)
    assert (inverse == inverse.T).all()


@pytest.mark.parametrize("matrix", [np.diag([1.0, -1]), np.ones((2, 2)), np.array([[1.0, 2], [2, 1]])])
def test_a_matrix_that_is_not_positive_definite_is_an_error(matrix):
    with pytest.raises(ArithmeticError, match="2×2 matrix that should be positive definite is not"):
        spd_inverse(matrix)


def test_divergence_is_passed_on_as_nan():
    assert np.isnan(spd_inverse(np.array([[np.nan, 0], [0, 1.0]]))).all()
    assert np.isnan(spd_inverse(np.array([[np.inf, 0], [0, 1.0]]))).all()


@pytest.mark.parametrize("smallest", [0.1, 1e-7])
@pytest.mark.parametrize("columns", [3, 60, 400])
def test_a_product_with_an_inverse_in_float32_is_taken_only_where_it_may_be(smallest, columns):
    """An error of float32 along the large eigenvalue, divided by the smallest, would be as large as the solution."""
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    matrix = axes * np.geomspace(smallest, 1, 60) @ axes.T
    b = (matrix @ rng.standard_normal((60, columns))).astype(np.float32)
    x = spd_solve(matrix, b)
    assert x.dtype == np.float32
    assert_close("solution", x, np.linalg.solve(matrix, b.astype(np.float64)), 2e-5)
    applied = abs(spd_inverse(matrix).astype(np.float32) @ b - x).max() / abs(x).max()
    assert (applied > 1e-3) == (smallest < 1e-6), applied


def test_a_small_column_is_no_worse_for_large_ones_beside_it():
    """Those along the smallest eigenvalue make a solution beside which the error of this one would not be seen."""
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 60)))
    matrix = axes * np.geomspace(1e-3, 1, 60) @ axes.T
    b = np.repeat(axes[:, :1], 100, axis=1).astype(np.float32)
    b[:, 0] = axes[:, -1]
    right = np.linalg.solve(matrix, b[:, 0].astype(np.float64))
    assert_close("solution", spd_solve(matrix, b)[:, 0], right, 1e-6)
    assert abs(spd_inverse(matrix).astype(np.float32) @ b[:, 0] - right).max() > 1e-5 * abs(right).max()


def test_the_step_of_least_norm_takes_memory_in_proportion_to_the_samples(rng):
    import tracemalloc

    import scipy.optimize  # noqa: F401  (loaded before anything is measured)

    a, z = rng.standard_normal((6000, 4)), rng.standard_normal((6000, 1))
    gap = MatchingLoss(ml.ReLU(), z, np.where(z > 0, 0.1 * z * rng.random(z.shape), 0))
    problem = LocalProblem(ml.Linear(4, 1).gram(a), z, gap, 0.0)
    tracemalloc.start()
    try:
        exact(problem)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6, peak  # a square matrix of the samples that fire has 72 MB

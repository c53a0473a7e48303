r"""Checks of notebook 10: Gauss–Newton, Levenberg–Marquardt, Kronecker factors, Newton's step uphill."""

from __future__ import annotations

import contextlib

import numpy as np

from minilift.course.teach import Claim, beyond, check, claim, close_to_answers, same, slips, times
from minilift.layers.gram import Gram
from minilift.layers.losses import SquaredError
from minilift.local.solvers import damped_solve


def library_gauss_newton(jac, curvature):
    """Return Σ JᵀHJ, as the normal matrix of the library's Gram operator for J after a square root of H."""
    values, vectors = np.linalg.eigh(curvature)
    root = np.sqrt(np.maximum(values, 0))[..., None] * np.swapaxes(vectors, 1, 2)  # H = rootᵀ root
    rows = (root @ jac).reshape(-1, jac.shape[-1])
    return Gram(rows, side="parameter", bias=False).matrix


WRONG_GAUSS_NEWTON = {
    "the loss's own curvature H_i is missing between the two Jacobians":
        lambda jac, H: np.einsum("nkp,nkq->pq", jac, jac),
    "divided by N once more: the weights of the samples are in H_i already":
        lambda jac, H: library_gauss_newton(jac, H) / len(jac),
    "a product of sums; sum the products, sample by sample":
        lambda jac, H: jac.sum(axis=0).T @ H.sum(axis=0) @ jac.sum(axis=0),
    "H_i of the first sample stands in all terms": lambda jac, H: np.einsum("nkp,kl,nlq->pq", jac, H[0], jac),
    "the sum of all H_i stands in each term": lambda jac, H: np.einsum("nkp,kl,nlq->pq", jac, H.sum(axis=0), jac),
    "the mean of all H_i stands in each term": lambda jac, H: np.einsum("nkp,kl,nlq->pq", jac, H.mean(axis=0), jac),
    "H_i is applied twice": lambda jac, H: np.einsum("nkp,nkl,nlm,nmq->pq", jac, H, H, jac),
    "only the diagonal of H_i is used": lambda jac, H: np.einsum("nkp,nkk,nkq->pq", jac, H, jac),
    "the first output alone; the sums run over all outputs k and j": lambda jac, H:
        library_gauss_newton(jac[:, :1], H[:, :1, :1]),
    "only the diagonal is left": lambda jac, H: np.diag(np.diag(library_gauss_newton(jac, H))),
    "the sum over the samples is missing: this is the first one's": lambda jac, H: jac[0].T @ H[0] @ jac[0],
    "the sum over the samples is missing: one matrix each": lambda jac, H: np.swapaxes(jac, 1, 2) @ H @ jac,
    "the sum over the samples is missing: this is the last one's": lambda jac, H: jac[-1].T @ H[-1] @ jac[-1],
    "the sign": lambda jac, H: -library_gauss_newton(jac, H),
    "a factor ½": lambda jac, H: library_gauss_newton(jac, H) / 2,
    "a product of means; sum the products, sample by sample":
        lambda jac, H: jac.mean(axis=0).T @ H.mean(axis=0) @ jac.mean(axis=0),
    "the first sample is left out": lambda jac, H: library_gauss_newton(jac[1:], H[1:]),
    "no damping yet: G itself is wanted": lambda jac, H: library_gauss_newton(jac, H) + np.eye(jac.shape[-1]),
    "H_i itself stands between the Jacobians, not its inverse":
        lambda jac, H: (np.swapaxes(jac, 1, 2) @ np.linalg.inv(H) @ jac).sum(axis=0),
    "the double sum runs over pairs of different samples: n in all three factors":
        lambda jac, H: np.einsum("nkp,mkj,mjq->pq", jac, H, jac),
    "the double sum runs over pairs of different samples: n in the last factor, too":
        lambda jac, H: np.einsum("nkp,nkj,mjq->pq", jac, H, jac),
    "mean Jacobians and a mean H_i; sum the products, sample by sample":
        lambda jac, H: len(jac) * jac.mean(axis=0).T @ H.mean(axis=0) @ jac.mean(axis=0),
    "H_i itself stands between the Jacobians, not the roots of its entries":
        lambda jac, H: sum(J.T @ np.sqrt(abs(h)) @ J for J, h in zip(jac, H)),
    "the outputs are summed before they meet H_i: each pair of outputs k, j has its own entry":
        lambda jac, H: sum(np.trace(h) * np.outer(J.sum(axis=0), J.sum(axis=0)) for J, h in zip(jac, H)),
    "the rows of H_i are summed here; each pair of outputs k, j has its own entry":
        lambda jac, H: sum(J.T @ np.diag(h.sum(axis=0)) @ J for J, h in zip(jac, H)),
    "only the upper triangle is left; G is symmetric": lambda jac, H: np.triu(library_gauss_newton(jac, H)),
    "only the lower triangle is left; G is symmetric": lambda jac, H: np.tril(library_gauss_newton(jac, H)),
    "a factor 2": lambda jac, H: 2 * library_gauss_newton(jac, H),
    "divided by the number of outputs: both sums run whole": lambda jac, H: library_gauss_newton(jac, H) / jac.shape[1],
    "divided by N and by the number of outputs: all sums run whole, the weights are in H_i": lambda jac, H:
        library_gauss_newton(jac, H) / jac[..., 0].size,
    "only the trace of H_i is used; each pair of outputs k, j has its own entry":
        lambda jac, H: np.einsum("nkp,n,nkq->pq", jac, np.trace(H, axis1=1, axis2=2), jac),
    "of the indices p and q stay, those of the parameters; the sums run over n, k and j":
        lambda jac, H: np.einsum("nkp,nkj,njq->nkj", jac, H, jac),
    "multiplied by N: the sum over the samples stands as it is":
        lambda jac, H: len(jac) * library_gauss_newton(jac, H),
    "H_i is missing, and 1/N stands for it: between the Jacobians of a sample stands its own H_i":
        lambda jac, H: np.einsum("nkp,nkq->pq", jac, jac) / len(jac),
    "H_i is L Lᵀ by Cholesky: Lᵀ stands before J_i, not L": lambda jac, H:
        sum((L @ J).T @ (L @ J) for J, L in zip(jac, np.linalg.cholesky(H))),
    "this is the inverse; no system is solved yet": lambda jac, H: np.linalg.inv(library_gauss_newton(jac, H)),
}


def gauss_newton(answer, seed):
    """Exercise 10.1: Σ_i J_iᵀ H_i J_i."""
    rng = np.random.default_rng(seed)
    jac, factor = rng.normal(size=(6, 3, 5)), rng.normal(size=(6, 3, 3))
    curvature = factor @ np.swapaxes(factor, 1, 2)

    def claims(G):
        found = np.asarray(G(jac, curvature))
        for k in range(3):
            v = rng.normal(size=5)
            change = jac @ v  # of the outputs of each sample
            bend = sum(float(dz @ H @ dz) for dz, H in zip(change, curvature))
            yield claim(f"vᵀGv: the loss's bend along that change of outputs, {k + 1}", v @ found @ v, bend,
                        look="sum over the samples of Jᵀ H J, each with its own J and H")
        yield claim("symmetric", found, found.T)
        two, v = (jac[:, :2], curvature[:, :2, :2]), rng.normal(size=5)
        bend = sum(float((J @ v) @ H @ (J @ v)) for J, H in zip(*two))
        yield claim("vᵀGv, for two outputs in the place of three", v @ np.asarray(G(*two)) @ v, bend)

    def mistakes(G):
        yield from slips(G, [(jac, curvature)], WRONG_GAUSS_NEWTON)
        found = np.asarray(G(jac, curvature), dtype=float)
        yield (same(found, library_gauss_newton(jac, curvature)),
               "right for three outputs, not for two: their number is K = jac.shape[1]")
        yield found.shape == (3, 3), "G pairs parameters, p and q; this pairs outputs with outputs"
        yield found.shape != (5, 5), f"G has shape {found.shape} where (P, P) = (5, 5) is expected"
        alone = sum(np.asarray(G(J[None], H[None]), dtype=float) for J, H in zip(jac, curvature))
        factor, extra = times(found, library_gauss_newton(jac, curvature)), found - library_gauss_newton(jac, curvature)
        yield factor == factor, f"all of it is {factor:.3g} times what it should be"
        yield same(extra, extra[0, 0] * np.eye(5)), "no damping yet: G itself is wanted"
        yield not same(alone, found), "G is a sum over samples: that of the G of each sample alone. Yours is not"
        yield (not same(G(2 * jac[:1], curvature[:1]), 4 * np.asarray(G(jac[:1], curvature[:1]))),
               "a doubled J_i must make four times its part: two Jacobians stand in it")
        yield (not same(G(jac[:1], 2 * curvature[:1]), 2 * np.asarray(G(jac[:1], curvature[:1]))),
               "a doubled H_i must double its part: it stands in it once, as it is")

    return check("10.1", answer, claims, mistakes, fallback=library_gauss_newton)


def library_lm_step(a_tilde, residual, mu):
    """Return the Levenberg–Marquardt step by the library's damped solve, in its scaling."""
    samples = len(a_tilde)
    gradient = SquaredError().gradient(residual, 0 * residual)
    return samples * damped_solve(Gram(a_tilde, bias=False), gradient, samples * mu).value


def lm_with(matrix=lambda N: 1 / N, gradient=lambda N: 1 / N, damping=lambda mu, N: mu, sign=1.0):
    """Return the step with a slip in it: sums for means, the damping, the sign."""
    def step(a_tilde, residual, mu):
        N, n = a_tilde.shape
        left = matrix(N) * a_tilde.T @ a_tilde + damping(mu, N) * np.eye(n)
        return sign * np.linalg.solve(left, gradient(N) * a_tilde.T @ residual)
    return step


WRONG_LM_STEPS = {
    "the gradient is a mean and the matrix a sum: that is ProxProp's mixture, with τ_θ = 1/μ": lm_with(lambda N: 1.0),
    "ProxProp's mixture, with τ_θ = μ: here matrix and gradient are means, and μ itself is the damping":
        lm_with(lambda N: 1.0, damping=lambda mu, N: 1 / mu),
    "the factors of (10.5) are exchanged: θ's rows belong to inputs, so that their index is the outer one":
        lambda a, r, mu: np.linalg.solve(np.kron(np.eye(r.shape[1]), a.T @ a / len(a) + mu * np.eye(a.shape[1])),
                                         (a.T @ r / len(a)).ravel()).reshape(a.shape[1], -1),
    "both are sums, or μ has been divided by N: with means μ stands as it is": lm_with(lambda N: 1.0, lambda N: 1.0),
    "the gradient is a sum and the matrix a mean; J is a mean": lm_with(gradient=lambda N: 1.0),
    "the damping is missing": lm_with(damping=lambda mu, N: 0.0),
    "μ itself is the damping, not 1/μ": lm_with(damping=lambda mu, N: 1 / mu),
    "the sign: d is subtracted from Θ": lm_with(sign=-1.0),
    "μ is not multiplied by N": lm_with(damping=lambda mu, N: mu * N),
    "a factor 2 in the damping: μ/2 ‖d‖² has the slope μ d": lm_with(damping=lambda mu, N: 2 * mu),
    "a factor ½ in the damping, or the ½ of J is forgotten: J and μ/2 ‖d‖² have one each":
        lm_with(damping=lambda mu, N: mu / 2),
    "a factor 2 in the gradient: J has a ½": lm_with(gradient=lambda N: 2 / N),
    "this is the gradient; it must be solved with the damped matrix": lambda a, r, mu: a.T @ r / len(a),
    "this is the gradient over μ; the curvature is missing": lambda a, r, mu: a.T @ r / len(a) / mu,
    "multiplied by the matrix instead of solving with it":
        lambda a, r, mu: (a.T @ a / len(a) + mu * np.eye(a.shape[1])) @ a.T @ r / len(a),
    "the sign of the damping: μI is added": lm_with(damping=lambda mu, N: -mu),
    "the bias row is damped too: μ stands on all of the diagonal": lambda a, r, mu: np.linalg.solve(
        a.T @ a / len(a) + mu * np.diag(np.append(np.ones(a.shape[1] - 1), 0.0)), a.T @ r / len(a)),
    "a matrix of ones stands where the identity belongs: np.eye, not np.ones":
        lambda a, r, mu: np.linalg.solve(a.T @ a / len(a) + mu, a.T @ r / len(a)),
    "only the diagonal of the matrix is solved with": lambda a, r, mu:
        a.T @ r / len(a) / (np.diag(a.T @ a) / len(a) + mu)[:, None],
    "the mean is over rows alone: divide by N, not by the number of entries of Z":
        lambda a, r, mu: lm_with(gradient=lambda N: 1 / r.size)(a, r, mu),
    "the means are over the N samples, not over all entries of Z": lambda a, r, mu:
        np.linalg.solve(a.T @ a / r.size + mu * np.eye(a.shape[1]), a.T @ r / r.size),
    "divided by N once more: that is ProxProp's direction": lm_with(gradient=lambda N: 1 / N**2),
    "both are sums, and 1/μ stands for μ, or 1/(Nμ) beside means: μ itself is the damping":
        lm_with(lambda N: 1.0, lambda N: 1.0, lambda mu, N: 1 / mu),
    "the gradient is flattened column by column here; θ is flattened row by row": lambda a, r, mu: np.linalg.solve(
        np.kron(a.T @ a / len(a) + mu * np.eye(a.shape[1]), np.eye(r.shape[1])),
        (a.T @ r / len(a)).ravel(order="F")).reshape(a.shape[1], -1),
    "the damping is not averaged: μI stands beside ÃᵀÃ/N, and the gradient is a mean":
        lm_with(gradient=lambda N: 1.0, damping=lambda mu, N: mu / N),
    "the matrix is divided by N twice": lm_with(matrix=lambda N: 1 / N**2),
    "the mean divides by N, not by N − 1": lm_with(lambda N: 1 / (N - 1), lambda N: 1 / (N - 1)),
    "μ is not squared": lm_with(damping=lambda mu, N: mu**2),
    "μ stands inside the solve, beside ÃᵀÃ/N; nothing is added behind it": lambda a, r, mu:
        lm_with(damping=lambda mu, N: 0.0)(a, r, mu) + mu,
    "a step that is only shortened, by 1 + μ: μI stands inside the solve": lambda a, r, mu:
        lm_with(damping=lambda mu, N: 0.0)(a, r, mu) / (1 + mu),
    "divided by μ once more": lambda a, r, mu: lm_with()(a, r, mu) / mu,
    "multiplied by μ once more": lambda a, r, mu: mu * lm_with()(a, r, mu),
    "the slope of ½‖Z − Y‖² is Z − Y, not its square": lambda a, r, mu: lm_with()(a, r**2, mu),
    "the means are over the samples, the rows of ã; here its number of columns divides": lambda a, r, mu:
        np.linalg.solve(a.T @ a / a.shape[1] + mu * np.eye(a.shape[1]), a.T @ r / a.shape[1]),
    "1 over each entry of a matrix is not its inverse": lambda a, r, mu:
        (1 / (a.T @ a / len(a) + mu * np.eye(a.shape[1]))) @ a.T @ r / len(a),
    "ã has its column of ones already": lambda a, r, mu: lm_with()(np.column_stack([a, np.ones(len(a))]), r, mu),
    "μ scales the diagonal of the matrix here (Marquardt's way); ½μ‖d‖² adds μI":
        lambda a, r, mu: np.linalg.solve(a.T @ a / len(a) + mu * np.diag(np.diag(a.T @ a / len(a))), a.T @ r / len(a)),
}


def lm_step(answer, seed):
    """Exercise 10.2: argmin_d J(Θ − d) + μ/2 ‖d‖² for J the mean of ½‖z − y‖² on one linear layer."""
    rng = np.random.default_rng(seed)
    a, residual = rng.normal(size=(11, 4)), rng.normal(size=(11, 5))  # 11, which no variant of an examination has for N
    three = rng.normal(size=(11, 3))  # outputs, as in the notebook

    def claims(step):
        for mu in (0.05, 3.0):
            d = step(a, residual, mu)
            slope = -a.T @ (residual - a @ d) / len(a) + mu * d
            yield claim(f"μ = {mu:g}: the slope of J(Θ − d) + μ/2 ‖d‖² in d is zero", slope, 0 * slope, 1e-10,
                        look="put your d into the slope: both sums have 1/N, and μd stands beside them")

    def mistakes(step):
        as_there = False
        with contextlib.suppress(Exception):  # what it raises is told otherwise
            as_there = same(step(a, three, 3.0), library_lm_step(a, three, 3.0))
        yield as_there, "right for three outputs, not for five: their number is residual.shape[1]"
        yield from slips(step, [(a, residual, mu) for mu in (0.05, 3.0)], WRONG_LM_STEPS)
        d, right = step(a, residual, 3.0), library_lm_step(a, residual, 3.0)
        yield np.shape(d) != right.shape, f"Δ has shape {np.shape(d)} where {right.shape} is expected, that of Θ"
        far, pull = times(d, right), times(d, a.T @ (residual - a @ d) / len(a))
        yield far == far, f"Δ is {far:.3g} times what it should be, for μ = 3 and N = {len(a)}"
        yield (pull == pull, f"your Δ solves the system for a damping of {1 / pull:.3g}, where μ = 3: is N the number "
                             f"of rows of ã, {len(a)} here?")
        exact = np.linalg.lstsq(a, residual, rcond=None)[0]
        yield not same(step(a, residual, 1e-9), exact, 1e-6), "for μ → 0 Δ must be the least-squares step; yours is not"
        gradient = a.T @ residual / len(a)
        yield not same(step(a, residual, 1e6) * 1e6, gradient, 1e-4), "for a huge μ Δ must become ∇J/μ; yours does not"
        yield True, "right for a tiny and for a huge μ, and not between: is a system solved, or are steps taken?"

    return check("10.2", answer, claims, mistakes, fallback=library_lm_step)


def library_kfac(a_tilde, output):
    """Return the Kronecker approximation of one block, from the library's Gram matrix."""
    return np.kron(Gram(a_tilde, side="parameter", bias=False).matrix / len(a_tilde), output.sum(axis=0))


def kfac_with(inputs=lambda N: 1 / N, outputs=lambda N: 1.0, swapped=False):
    """Return the Kronecker product with a slip in it: sums for means, the order."""
    def product(a_tilde, output):
        N = len(a_tilde)
        pair = inputs(N) * a_tilde.T @ a_tilde, outputs(N) * output.sum(axis=0)
        return np.kron(*(pair[::-1] if swapped else pair))
    return product


WRONG_KFAC = {
    "the order: θ's rows belong to inputs, so that their index is the outer one": kfac_with(swapped=True),
    "the order, and two sums": kfac_with(lambda N: 1.0, swapped=True),
    "two sums over the samples: one of the two factors is to be a mean": kfac_with(lambda N: 1.0),
    "two means, or N divides twice: the weights of the samples are in B_i already, so that B is a sum": kfac_with(
        outputs=lambda N: 1 / N),
    "the output factor is missing: this is what ProxProp keeps":
        lambda a, B: np.kron(a.T @ a / len(a), np.eye(B.shape[1])),
    "the input factor is missing": lambda a, B: np.kron(np.eye(a.shape[1]), B.sum(axis=0)),
    "this is the exact block, sample by sample; K-FAC multiplies a mean and a sum":
        lambda a, B: sum(np.kron(np.outer(x, x), b) for x, b in zip(a, B)),
    "the mean input's outer product; the mean of the outer products is wanted":
        lambda a, B: np.kron(np.outer(a.mean(axis=0), a.mean(axis=0)), B.sum(axis=0)),
    "the first sample's B stands for all": lambda a, B: np.kron(a.T @ a / len(a), B[0]),
    "only the diagonal of the output factor": lambda a, B: np.kron(a.T @ a / len(a), np.diag(np.diag(B.sum(axis=0)))),
    "the activations are centred here: the mean of ããᵀ is no covariance":
        lambda a, B: np.kron(np.cov(a.T, bias=True), B.sum(axis=0)),
    "the sign": lambda a, B: -kfac_with()(a, B),
    "this is the exact block, sample by sample, over N; K-FAC multiplies a mean and a sum":
        lambda a, B: sum(np.kron(np.outer(x, x), b) for x, b in zip(a, B)) / len(a),
    "the activations are centred here, and divided by N − 1: the mean of ããᵀ is no covariance":
        lambda a, B: np.kron(np.cov(a.T), B.sum(axis=0)),
    "only the trace of the output factor is used: it has m × m entries":
        lambda a, B: np.kron(a.T @ a / len(a), np.trace(B.sum(axis=0)) * np.eye(B.shape[1])),
    "only the mean eigenvalue of the output factor is used: it has m × m entries":
        lambda a, B: np.kron(a.T @ a / len(a), np.trace(B.sum(axis=0)) / B.shape[1] * np.eye(B.shape[1])),
    "the mean over the samples divides by N, not by N − 1": kfac_with(lambda N: 1 / (N - 1)),
    "the order, and a mean of the B_i: θ's rows belong to inputs, and the weights of the samples are in B_i already":
        kfac_with(outputs=lambda N: 1 / N, swapped=True),
    "a Kronecker sum, with identities; the product of the two factors is wanted":
        lambda a, B: (np.kron(a.T @ a / len(a), np.eye(B.shape[1])) + np.kron(np.eye(a.shape[1]), B.sum(axis=0))),
    "the output factor is inverted; the matrix itself is wanted":
        lambda a, B: np.kron(a.T @ a / len(a), np.linalg.inv(B.sum(axis=0))),
    "only the diagonal of the input factor": lambda a, B: np.kron(np.diag((a**2).mean(axis=0)), B.sum(axis=0)),
    "the order of the indices: of K[(i, k), (j, l)] the first pair are rows; transpose before the reshape":
        lambda a, B: np.einsum("ij,kl->ijkl", a.T @ a / len(a), B.sum(axis=0)).reshape(a.shape[1] * B.shape[1], -1),
    "the matrix itself is wanted, not its inverse": lambda a, B: np.linalg.pinv(kfac_with()(a, B)),
    "no damping yet: the product itself is wanted": lambda a, B: kfac_with()(a, B) + np.eye(a.shape[1] * B.shape[1]),
}


KFAC_SHAPES = {
    (10, 10): "ããᵀ pairs samples with samples; the input factor pairs inputs with inputs",
    (4, 4): "the bias column is left out: ã's column of ones is an input, too",
    (8, 8): "ã has its column of ones already",
    (9, 4): "an outer product flattens both factors; np.kron keeps (input, output) pairs as rows",
    (3, 3, 2, 2): "four indices, two a factor; np.kron makes pairs of them, rows and columns of one matrix",
    (3, 3): "the sum of the B_i runs over the samples alone, axis 0, and leaves m × m entries",
    (15, 6): "the sum of the B_i runs over the samples, axis 0",
    (5, 6, 6): "one matrix for each sample: the sum over the samples is missing",
}  # by the shape of an answer, for N = 5, n + 1 = 3, m = 2


def kfac(answer, seed):
    """Exercise 10.3: the mean of ããᵀ ⊗ the sum of B_i, for θ flattened row by row."""
    rng = np.random.default_rng(seed)
    a, factor = rng.normal(size=(5, 3)), rng.normal(size=(5, 2, 2))
    output = factor @ np.swapaxes(factor, 1, 2)

    def claims(K):
        V = rng.normal(size=(3, 2))
        through = a @ V  # the change of z of each sample
        pairs = sum(float(dz @ B @ dz) for dz in through for B in output) / len(a)
        found = np.asarray(K(a, output))
        yield claim("vᵀKv: every input meets every B, on average", V.ravel() @ found @ V.ravel(), pairs,
                    look="one factor is a mean of ããᵀ, the other the sum of the B_i; θ's rows are the outer index")
        dz, alone = a[0] @ V, np.asarray(K(a[:1], output[:1]))
        own = dz @ output[0] @ dz
        yield claim("one sample: it is the Gauss–Newton block itself", V.ravel() @ alone @ V.ravel(), own)

    def mistakes(K):
        yield isinstance(K(a, output), tuple), "two matrices; one is wanted, their Kronecker product: np.kron"
        yield from slips(K, [(a, output)], WRONG_KFAC)
        found = np.asarray(K(a, output), dtype=float)
        yield found.shape in KFAC_SHAPES, KFAC_SHAPES.get(found.shape, "")
        yield found.shape != (6, 6), f"it has shape {found.shape} where (6, 6) is expected, for n + 1 = 3, m = 2"
        factor = times(found, library_kfac(a, output))
        yield factor == factor, f"all of it is {factor:.3g} times what it should be, for N = 5, n + 1 = 3, m = 2"
        yield not same(K(a, 2 * output), 2 * found), "doubled B_i must double the matrix: they stand in it as a sum"
        yield not same(K(2 * a, output), 4 * found), "doubled inputs must make it four times as large: they stand twice"
        yield (not same(found.reshape(3, 2, 3, 2)[0, :, 0], np.mean(a[:, 0] ** 2) * output.sum(axis=0)),
               "the block of the first input must be the mean of its square times the sum of the B_i; yours is not")

    return check("10.3", answer, claims, mistakes, fallback=library_kfac)


def toy(w):
    """Return gradient, Hessian and Gauss–Newton matrix of ½ (w₂ tanh w₁ − 1)² at w, by hand."""
    t, w2 = np.tanh(w[0]), w[1]
    slope = 1 - t * t
    miss, jac = w2 * t - 1, np.array([w2 * slope, t])
    bend = np.array([[-2 * w2 * t * slope, slope], [slope, 0]])
    return miss * jac, np.outer(jac, jac) + miss * bend, np.outer(jac, jac)


def newton_uphill(answer, seed):
    """Exercise 10.4: a point of the toy loss where Newton's step goes uphill; a damped Gauss–Newton step never does."""
    def steepness(w):
        """Return ‖∇J‖ over ‖w‖: 1 beside the saddle, 0 on the curve of minima, and 0 in the saddle itself."""
        return np.linalg.norm(toy(np.asarray(w, dtype=float))[0]) / max(float(np.linalg.norm(w)), 1e-12)

    def slopes(w):
        gradient, hessian, _ = toy(np.asarray(w, dtype=float))
        newton = np.linalg.solve(hessian, gradient)
        return gradient @ newton / np.linalg.norm(gradient) / np.linalg.norm(newton), hessian

    def claims(w):
        yield claim("a point in the plane, (w₁, w₂)", np.shape(w), (2,))
        yield Claim("not a stationary point: ‖∇J‖ over ‖w‖ (shortfall from 0.001)",
                    beyond(1e-3 - steepness(w)), 0)
        cosine, _ = slopes(w)
        yield Claim("cosine of H⁻¹∇J to the gradient, at most -0.1", beyond(cosine + 0.1), 0)

    def mistakes(w):
        yield np.shape(w) != (2,), "a point has two parts, w₁ and w₂"
        yield steepness(w) < 1e-3, "a stationary point: no step goes anywhere"
        hessian = toy(np.asarray(w, dtype=float))[1]
        yield (abs(np.linalg.det(hessian)) <= 1e-14 * np.sum(hessian**2),
               "the Hessian is singular here, and Newton's step not defined: for large w₁ the tanh is flat")
        cosine, hessian = slopes(w)
        values = np.linalg.eigvalsh(hessian)
        yield values[0] > 0, "the Hessian is positive definite here, so that Newton's step goes down"
        yield abs(cosine) < 1e-6, "neither up nor down: here Newton's step is orthogonal to the gradient"
        yield cosine > 0, "the Hessian is indefinite, but Newton's step is still downhill here"
        yield cosine > -0.1, f"uphill, but barely: the cosine is {cosine:.2g}, at most −0.1 is asked for"

    ordinary = np.array([1.3, 0.5])  # no answer, since a point can be read: here Newton's step goes down
    return check("10.4", answer, claims, mistakes, fallback=ordinary)


close_to_answers(globals())

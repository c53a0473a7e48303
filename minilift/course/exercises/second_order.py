r"""Checks of notebook 10: Gauss–Newton, Levenberg–Marquardt, Kronecker factors, Newton's step uphill."""

from __future__ import annotations

import numpy as np

from minilift.course.teach import Claim, check, claim, close_to_answers, same
from minilift.layers.gram import Gram
from minilift.layers.losses import SquaredError
from minilift.local.solvers import damped_solve


def library_gauss_newton(jac, curvature):
    """Return Σ JᵀHJ, as the normal matrix of the library's Gram operator for J after a square root of H."""
    values, vectors = np.linalg.eigh(curvature)
    root = np.sqrt(np.maximum(values, 0))[..., None] * np.swapaxes(vectors, 1, 2)  # H = rootᵀ root
    rows = (root @ jac).reshape(-1, jac.shape[-1])
    return Gram(rows, side="parameter", bias=False).matrix


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
            yield claim(f"vᵀGv: the loss's bend along that change of outputs, {k + 1}", v @ found @ v, bend)
        yield claim("symmetric", found, found.T)

    def mistakes(G):
        found = G(jac, curvature)
        right = library_gauss_newton(jac, curvature)
        plain = np.einsum("nkp,nkq->pq", jac, jac)
        total = jac.sum(axis=0)
        yield same(found, plain), "the loss's own curvature H_i is missing between the two Jacobians"
        yield same(found, right / len(jac)), \
            "divided by N once more: the weights of the samples are in H_i already"
        yield same(found, total.T @ curvature.sum(axis=0) @ total), \
            "a product of sums; sum the products, sample by sample"

    return check("10.1", answer, claims, mistakes, fallback=library_gauss_newton)


def library_lm_step(a_tilde, residual, mu):
    """Return the Levenberg–Marquardt step by the library's damped solve, in its scaling."""
    samples = len(a_tilde)
    gradient = SquaredError().gradient(residual, 0 * residual)
    return samples * damped_solve(Gram(a_tilde, bias=False), gradient, samples * mu).value


def lm_step(answer, seed):
    """Exercise 10.2: argmin_d J(Θ − d) + μ/2 ‖d‖² for J the mean of ½‖z − y‖² on one linear layer."""
    rng = np.random.default_rng(seed)
    a, residual = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))

    def claims(step):
        for mu in (0.05, 3.0):
            d = step(a, residual, mu)
            slope = -a.T @ (residual - a @ d) / len(a) + mu * d
            yield claim(f"μ = {mu:g}: the slope of J(Θ − d) + μ/2 ‖d‖² in d is zero", slope, 0 * slope, 1e-10)

    def mistakes(step):
        mu, N = 0.05, len(a)
        found, gram, total, eye = step(a, residual, mu), a.T @ a, a.T @ residual, np.eye(4)
        yield same(found, np.linalg.solve(gram + mu * eye, total / N)), \
            "the gradient is a mean and the matrix a sum: that is ProxProp's mixture, with τ_θ = 1/μ"
        yield same(found, np.linalg.solve(gram + mu * eye, total)), "both are sums here; J is a mean"
        yield same(found, np.linalg.solve(gram, total)), "the damping is missing"
        yield same(found, np.linalg.solve(gram / N + eye / mu, total / N)), "μ itself is the damping, not 1/μ"
        yield same(found, -np.linalg.solve(gram / N + mu * eye, total / N)), \
            "the sign: d is subtracted from Θ"

    return check("10.2", answer, claims, mistakes, fallback=library_lm_step)


def library_kfac(a_tilde, output):
    """Return the Kronecker approximation of one block, from the library's Gram matrix."""
    return np.kron(Gram(a_tilde, side="parameter", bias=False).matrix / len(a_tilde), output.sum(axis=0))


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
        yield claim("vᵀKv: every input meets every B, on average", V.ravel() @ found @ V.ravel(), pairs)
        dz, alone = a[0] @ V, np.asarray(K(a[:1], output[:1]))
        own = dz @ output[0] @ dz
        yield claim("one sample: it is the Gauss–Newton block itself", V.ravel() @ alone @ V.ravel(), own)

    def mistakes(K):
        found, A, B = K(a, output), a.T @ a, output.sum(axis=0)
        yield same(found, np.kron(B, A / 5)), \
            "the order: θ's rows belong to inputs, so that their index is the outer one"
        yield same(found, np.kron(A, B)), "two sums over the samples: one of the two factors is to be a mean"
        yield same(found, np.kron(A / 5, B / 5)), \
            "two means: the weights of the samples are in B_i already, so that B is a sum"
        yield same(found, np.kron(A / 5, np.eye(2))), \
            "the output factor is missing: this is what ProxProp keeps"

    return check("10.3", answer, claims, mistakes, fallback=library_kfac)


def toy(w):
    """Return gradient, Hessian and Gauss–Newton matrix of ½ (w₂ tanh w₁ − 1)² at w, by hand."""
    t, w2 = np.tanh(w[0]), w[1]
    slope = 1 - t * t
    miss, jac = w2 * t - 1, np.array([w2 * slope, t])
    bend = np.array([[-2 * w2 * t * slope, slope], [slope, 0]])
    return miss * jac, np.outer(jac, jac) + miss * bend, np.outer(jac, jac)


def newton_uphill(answer, seed):
    """Exercise 10.4: a point of the toy loss where Newton's step goes uphill and Gauss–Newton's does not."""
    def slopes(w):
        gradient, hessian, gn = toy(np.asarray(w, dtype=float))
        newton = np.linalg.solve(hessian, gradient)
        damped = np.linalg.solve(gn + 0.01 * np.eye(2), gradient)
        size = np.linalg.norm(gradient)
        return size, gradient @ newton / size / np.linalg.norm(newton), gradient @ damped, hessian

    def claims(w):
        size, cosine, descent, _ = slopes(w)
        yield Claim("the gradient is not zero (shortfall from 0.01)", float(max(0.0, 0.01 - size)), 0)
        yield Claim("cosine of Newton's step to the gradient, at most -0.1", float(max(0.0, cosine + 0.1)), 0)
        yield Claim("Gauss–Newton's step, damped, descends", float(max(0.0, -descent)), 0)

    def mistakes(w):
        size, cosine, _, hessian = slopes(w)
        values = np.linalg.eigvalsh(hessian)
        yield size < 0.01, "a stationary point: no step goes anywhere"
        yield values[0] > 0, "the Hessian is positive definite here, so that Newton's step goes down"
        yield cosine > 0, "the Hessian is indefinite, but the gradient lies where it bends up: still downhill"
        yield cosine > -0.1, "uphill, but barely: move on in this direction"

    return check("10.4", answer, claims, mistakes, fallback=np.array([0.25, 0.25]))


close_to_answers(globals())

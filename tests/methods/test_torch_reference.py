"""PyTorch, where it is installed, agrees on losses and gradients of random networks."""

import numpy as np
import pytest
from hypothesis import given
from laws import cases, gradients_of

import minilift as ml

torch = pytest.importorskip("torch")
functional = torch.nn.functional
TRANSFERS = {
    ml.ReLU: torch.relu, ml.Tanh: torch.tanh, ml.Sigmoid: torch.sigmoid,
    ml.Softplus: lambda z: functional.softplus(z, threshold=50),  # from there on it is z in float64; not yet at 20
    ml.LeakyReLU: lambda z: functional.leaky_relu(z, 0.01), ml.Identity: lambda z: z,
}


def torch_loss(loss, z, y):
    """Return the same loss in PyTorch's own words."""
    reduction = loss.reduction
    if isinstance(loss, ml.SoftmaxCrossEntropy):
        return functional.cross_entropy(z, torch.tensor(y), reduction=reduction)
    samples = len(z) if reduction == "mean" else 1  # PyTorch's mean is over outputs as well
    if isinstance(loss, ml.SigmoidCrossEntropy):
        return functional.binary_cross_entropy_with_logits(z, torch.tensor(y), reduction="sum") / samples
    return functional.mse_loss(z, torch.tensor(y), reduction="sum") / 2 / samples


def torch_run(net, X, y):
    """Return loss and gradients by PyTorch's automatic differentiation."""
    parameters = [torch.tensor(p, requires_grad=True) for p in net.parameters]
    a = torch.tensor(X)
    for l, theta in enumerate(parameters, start=1):
        z = functional.linear(a, theta[:-1].T, theta[-1])
        a = TRANSFERS[type(net.sigma[l])](z) if l < net.depth else z
    loss = torch_loss(net.loss_function, z, y)
    loss.backward()
    return loss.item(), [p.grad.numpy() for p in parameters]


@given(cases())
def test_loss_and_gradients(case):
    loss, gradients = torch_run(case.net, case.X, case.y)
    assert case.net.loss(case.X, case.y) == pytest.approx(loss, rel=1e-12)
    pairs = zip(gradients_of(case.net, case.X, case.y), gradients, strict=True)
    for l, (ours, theirs) in enumerate(pairs, start=1):
        # where a transfer is saturated, σ' is what 1 − a² leaves: its rounding is absolute
        assert np.abs(ours - theirs).max() <= 1e-10 * np.abs(theirs).max() + 1e-13, f"∇J in θ_{l}"


@given(cases())
def test_exact_proxprop_by_automatic_differentiation(case):
    """M is the Hessian of the proximal objective, and ∇J PyTorch's."""
    state = case.net.forward(case.X)
    _, directions = ml.ProxProp(2.0).direction(case.net, case.X, case.y)
    _, gradients = torch_run(case.net, case.X, case.y)
    for l in range(1, case.net.depth):
        a = torch.tensor(state.a[l - 1])

        def objective(column, a=a):
            return ((a @ column[:-1] + column[-1])**2).sum() / 2 + (column**2).sum() / (2 * 2.0)
        m = torch.autograd.functional.hessian(objective, torch.zeros(a.shape[1] + 1, dtype=a.dtype)).numpy()
        d = np.linalg.solve(m, gradients[l - 1])
        assert np.abs(directions[l - 1] - d).max() <= 1e-8 * np.abs(d).max() + 1e-12, f"d_{l}"  # saturated: as above


def test_tensors_are_taken_as_data():
    net = ml.mlp([3, 2], dtype=np.float64)
    X, y = np.linspace(0, 1, 12).reshape(4, 3), np.array([0, 1, 1, 0])
    assert net.loss(torch.tensor(X), torch.tensor(y)) == net.loss(X, y)

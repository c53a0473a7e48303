"""The papers' common claim: fixed points are the stationary points of the loss. Every method leaves one alone."""

import numpy as np
import pytest
from scipy.optimize import minimize, root

import minilift as ml

METHODS = [ml.BackProp(), ml.ProxProp(1.0), ml.ProxProp(1.0, "cg3", last="implicit"),
           ml.LocoProp("S", 1.0, "exact", eta=1.0), ml.LocoProp("M", 1.0, "exact", eta=1.0),
           ml.LocoProp("S", 1.0, 5, 1e-2, "sgd"), ml.LocoProp("M", 1.0, 5, 1e-2, "sgd"),
           ml.LocoProp("M", 1.0, 5, 1e-2, "momentum"), ml.SemiImplicit(0.5), ml.SemiImplicit(0.5, solver="exact"),
           ml.SemiImplicit(0.5, joint=True), ml.FOOF(0.1), ml.FOOF(0.1, decay=0.5), ml.KFAC(0.1), ml.GaussNewton(0.1),
           ml.KFAC(0.1, "empirical", "heuristic", decay=0.5)]


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


@pytest.fixture(scope="module")
def stationary():
    """Return a tiny network in float64, trained by SciPy until the gradient is rounding, and its data."""
    rng = np.random.default_rng(3)
    net = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64, seed=1)
    X = rng.standard_normal((60, 3))  # targets of a teacher, so that the minimum is not at infinity, and noise
    teacher = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64, seed=7, init=1.0)
    y = teacher.predict(X) + 0.3 * rng.standard_normal((60, 2))
    sizes = np.cumsum([parameter.size for parameter in net.parameters])[:-1]

    def loss_and_gradient(x):
        parts = zip(np.split(x, sizes), net.parameters)
        net.theta = [None, *(part.reshape(parameter.shape) for part, parameter in list(parts))]
        loss, gradient = ml.BackProp().direction(net, X, y)
        return loss, flat(gradient)

    x = minimize(loss_and_gradient, flat(net.parameters), jac=True, method="BFGS", options={"maxiter": 5000}).x
    x = root(lambda x: loss_and_gradient(x)[1], x, tol=1e-15).x  # BFGS ends where the loss no longer shows a difference
    loss, gradient = loss_and_gradient(x)
    assert np.abs(gradient).max() < 1e-9
    assert loss > 0.03  # stationary, and not because everything fits
    return net, X, y


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_every_method_leaves_a_stationary_point_alone(stationary, method):
    net, X, y = stationary
    method.reset()
    _, step = method.direction(net, X, y)
    elsewhere = ml.mlp([3, 4, 2], activation="tanh", loss=ml.SquaredError(), dtype=np.float64, seed=1)
    method.reset()
    _, usual = method.direction(elsewhere, X, y)
    assert np.abs(flat(step)).max() < 1e-6 * np.abs(flat(usual)).max()

"""Branches, joins and shared weights: Proposition 1 on graphs, one problem for a shared θ, and all methods."""

import numpy as np
import pytest
from graphs import GRAPHS, case_of, has_branches, random_graph
from laws import (
    assert_close,
    assert_gradient,
    central_difference,
    dense_step,
    gradients_of,
    norm,
)

import minilift as ml
from minilift.energy import PenaltyEnergy, algorithm_1, algorithm_2

METHODS = [ml.BackProp(), ml.ProxProp(0.7), ml.ProxProp(0.7, "cg2"), ml.ProxProp(0.7, last="implicit"),
           ml.LocoProp("S", gamma=0.3, steps=4, local_lr=0.01, local_optimizer="sgd"),
           ml.LocoProp("S", gamma=0.3, steps="exact", eta=0.5),
           ml.LocoProp("M", gamma=0.1, steps=3, local_lr=0.01), ml.SemiImplicit(0.2), ml.FOOF(0.5),
           ml.KFAC(1.0, decay=0.9)]
each_graph = pytest.mark.parametrize("kind", GRAPHS)
each_seed = pytest.mark.parametrize("seed", range(100))


def graph(kind, seed=0, samples=6):
    return case_of(GRAPHS[kind](), np.random.default_rng(seed), samples)


def loss_of(case, parameters):
    """Return J for a list of parameters."""
    net = case.net
    theta = [None] * (net.depth + 1)
    for l, value in zip(net.maps, parameters):
        theta[l] = value
    state = net.forward(case.X, training=True, theta=theta)
    return net.loss_function.value(state.z[net.depth], case.y)


# ---- the gradient


def test_random_graphs_branch():
    assert sum(has_branches(random_graph(seed).net) for seed in range(100)) > 90


@pytest.mark.parametrize("seed", [*range(30), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(30, 100))])
def test_backprop_is_the_gradient_of_the_loss(seed):
    case = random_graph(seed, transfers=(ml.Tanh, ml.Sigmoid, ml.Softplus))
    assert_gradient("∇J", lambda parameters: loss_of(case, parameters), list(case.net.parameters),
                    gradients_of(case.net, case.X, case.y), case.rng)


@each_graph
def test_each_gradient_is_that_of_its_own_parameters(kind):
    """Block by block, so that a small one cannot hide behind a large one; scale and shift of a batch norm too."""
    case = graph(kind)
    gradients = gradients_of(case.net, case.X, case.y)
    for k, parameter in enumerate(case.net.parameters):
        tangent, kept = case.rng.standard_normal(parameter.shape), parameter.copy()

        def loss(value, parameter=parameter):
            parameter[...] = value
            return loss_of(case, [case.net.theta[l] for l in case.net.maps])
        expected = central_difference(loss, kept, tangent)
        parameter[...] = kept
        assert (gradients[k] * tangent).sum() == pytest.approx(expected, rel=1e-7, abs=1e-8)


# ---- Proposition 1


@each_seed
def test_1_algorithm_1_is_gradient_descent_on_any_graph(seed):
    case, tau = random_graph(seed), (1.0, 0.1, 0.01)[seed % 3]
    state = algorithm_1(case.net, case.X, case.y, tau)
    for l, gradient in zip(case.net.maps, gradients_of(case.net, case.X, case.y)):
        expected = case.net.theta[l] - tau * gradient
        values = case.net.forward(case.X)
        # what the half steps round away in z and a comes back through ãᵀ
        scale = norm(expected) + sum((1 + norm(values.a[case.net.inputs[u][0]])) * norm(values.z[u])
                                     for u in range(1, case.net.depth + 1) if case.net.owner[u] == l)
        assert norm(state.theta[l] - expected) <= 1e-12 * scale


@each_graph
def test_1_every_half_step_is_a_step_down_the_loss(kind):
    case, tau = graph(kind), 0.3
    half, state = algorithm_1(case.net, case.X, case.y, tau), case.net.forward(case.X)
    seen = {}

    def look(block):
        seen[block.l] = block
        return ml.BackProp().propose(block)

    list(ml.methods.sweep(case.net, state, case.y, look))
    assert sorted(seen) == case.net.maps
    for l in set(seen) - {case.net.depth}:  # z_D is no variable
        uses = [u for u in range(1, case.net.depth + 1) if case.net.owner[u] == l]
        steps = np.concatenate([state.z[u] - half.z[u] for u in uses])
        assert norm(steps - tau * seen[l].g) <= 1e-12 * (norm(steps) + norm(seen[l].z))


def test_1_the_naive_order_fails_at_first_order():
    """With its sibling's half step in the penalty of a join, the error is a share of the step that does not vanish."""
    case, shares = graph("residual"), []
    for tau in (1e-2, 1e-3, 1e-4):
        gradients = gradients_of(case.net, case.X, case.y)
        naive = algorithm_1(case.net, case.X, case.y, tau, siblings="half")
        errors = [naive.theta[l] - (case.net.theta[l] - tau * gradient)
                  for l, gradient in zip(case.net.maps, gradients)]
        shares.append(norm(np.concatenate([error.ravel() for error in errors]))
                      / (tau * norm(np.concatenate([gradient.ravel() for gradient in gradients]))))
    assert min(shares) > 0.1
    assert max(shares) < 1.1 * min(shares)


@pytest.mark.parametrize("seed", range(5))
def test_1_on_a_chain_both_orders_are_one(seed):
    net = ml.mlp([3, 4, 4, 2], "tanh", dtype=np.float64, seed=seed)
    X, y = np.random.default_rng(seed).standard_normal((5, 3)), [0, 1, 0, 1, 1]
    for one, other in zip(algorithm_1(net, X, y, 0.3), algorithm_1(net, X, y, 0.3, siblings="half")):
        assert all(np.array_equal(a, b) for a, b in zip(one[1:3], other[1:3]))


# ---- shared weights


@each_seed
def test_2_the_exact_step_in_a_shared_weight_is_one_problem_with_stacked_rows(seed):
    case, tau_theta = random_graph(seed), 0.8
    _, directions = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    state, net = case.net.forward(case.X), case.net
    signals = signals_of(case)
    for l, d in zip(net.maps, directions):
        uses = [u for u in range(1, net.depth + 1) if net.owner[u] == l]
        if uses == [net.depth]:
            continue
        a, g = (np.concatenate(rows) for rows in zip(*((state.a[net.inputs[u][0]], signals[u]) for u in uses)))
        assert_close(f"d of map {l}", d, dense_step(a, g, 1 / tau_theta), 1e-11)


def signals_of(case):
    """Return ∂J/∂z_u of each use of each map: the half steps of the literal Algorithm 1 for τ = 1."""
    net = case.net
    half, state = algorithm_1(net, case.X, case.y, 1.0), net.forward(case.X)
    signals = {u: state.z[u] - half.z[u] for u in range(1, net.depth)}
    return {**signals, net.depth: net.loss_function.gradient(state.z[net.depth], case.y)}


@pytest.mark.parametrize("seed", range(30))
def test_2_algorithm_2_is_the_direction_on_any_graph(seed):
    case, tau, tau_theta = random_graph(seed), 0.3, 2.0
    state = algorithm_2(case.net, case.X, case.y, tau, tau_theta)
    _, directions = ml.ProxProp(tau_theta).direction(case.net, case.X, case.y)
    for l, d in zip(case.net.maps, directions):
        assert_close(f"θ_{l}", state.theta[l], case.net.theta[l] - tau * d, 1e-9)


@each_graph
def test_2_all_uses_of_a_shared_weight_have_the_new_one(kind):
    case = graph(kind)
    for state in (algorithm_1(case.net, case.X, case.y, 0.1), algorithm_2(case.net, case.X, case.y, 0.1, 1.0)):
        for l, first in enumerate(case.net.owner):
            assert state.theta[l] is None or np.array_equal(state.theta[l], state.theta[first])


@pytest.mark.parametrize("seed", range(30))
def test_5_some_steps_of_conjugate_gradients_descend_and_many_are_exact(seed):
    case = random_graph(seed)
    gradients = gradients_of(case.net, case.X, case.y)
    exact = ml.ProxProp(0.8).direction(case.net, case.X, case.y)[1]
    for solver, tolerance in (("cg1", None), ("cg3", None), ("cg60", 1e-6)):
        directions = ml.ProxProp(0.8, solver).direction(case.net, case.X, case.y)[1]
        for gradient, d, best in zip(gradients, directions, exact):
            assert (gradient * d).sum() >= 0
            if tolerance:
                assert_close(solver, d, best, tolerance)


@pytest.mark.parametrize("kind", ["recurrent", "last output"])
def test_one_weight_in_many_places_is_not_many_weights(kind):
    """The sum of each use's own implicit step is another step, far from the one of the stacked problem."""
    case = graph(kind)
    alone = []

    def split(block):
        rows = np.array_split(np.arange(len(block.a)), len(block.a) // len(case.X))
        alone.append(sum(dense_step(block.a[part], block.g[part], 1.0) for part in rows))
        return ml.ProxProp(1.0).solve(block).value

    steps = dict(ml.methods.sweep(case.net, case.net.forward(case.X), case.y, split))
    cell = steps[1]
    assert norm(cell - alone[-1]) > 0.2 * norm(cell)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@each_graph
def test_every_method_takes_a_step_on_every_graph(kind, method):
    case = graph(kind)
    before = case.net.loss(case.X, case.y)
    method.reset()
    _, directions = method.direction(case.net, case.X, case.y)
    assert [d.shape for d in directions] == [p.shape for p in case.net.parameters]
    history = ml.fit(case.net, (case.X, case.y), method, ml.SGD(0.01), epochs=3, batch_size=6, progress=False)
    assert history.diverged is None
    if not case.net.norms:  # a batch norm trains on other values than it evaluates
        assert case.net.loss(case.X, case.y) < before


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_chain_with_names_is_the_same_chain(method):
    """Adding zero, selecting the whole, and naming change nothing, bit for bit."""
    plain = ml.Network([ml.Linear(4, 5), ml.Tanh(), ml.Linear(5, 3)], dtype=np.float64)
    wired = ml.Network([ml.Named("x"), ml.Select("x"), ml.Linear(4, 5), ml.Tanh(), ml.Named("a"), ml.Zeros(5),
                        ml.Add("a"), ml.Linear(5, 3)], input_shape=(4,), dtype=np.float64)
    assert (wired.depth, wired.maps) == (5, [2, 5])
    X, y = np.random.default_rng(0).standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    for one, other in zip(plain.parameters, wired.parameters):
        assert np.array_equal(one, other)
    method.reset()
    loss, directions = method.direction(plain, X, y)
    method.reset()
    again, same = method.direction(wired, X, y)
    assert loss == again
    assert all(np.array_equal(d, e) for d, e in zip(directions, same))


def test_semi_implicit_passes_signals_through_the_old_shared_weights():
    case = graph("recurrent")
    old = {}

    def look(block):
        old[block.l] = block.g
        return ml.SemiImplicit(0.2).propose(block)

    def same(block):
        assert np.array_equal(block.g, old[block.l])
        return 0 * block.theta

    state = case.net.forward(case.X)
    list(ml.methods.sweep(case.net, state, case.y, look, new_weights=True))
    list(ml.methods.sweep(case.net, state, case.y, same, new_weights=False))


def test_a_local_problem_with_a_transfer_needs_one():
    cell = ml.Linear(3, 3)
    net = ml.Network([cell, ml.Tanh(), cell, ml.Sigmoid(), ml.Linear(3, 2)], dtype=np.float64)
    X, y = np.ones((4, 3)), [0, 1, 0, 1]
    ml.ProxProp().direction(net, X, y)
    ml.LocoProp("S").direction(net, X, y)
    for method in (ml.LocoProp("M"), ml.SemiImplicit()):
        with pytest.raises(ValueError, match="map 1 is used before transfers of several kinds"):
            method.direction(net, X, y)


def shared_last(sigma, loss):
    cell = ml.Linear(3, 3)
    net = ml.Network([cell, sigma, cell], loss, dtype=np.float64)
    rng = np.random.default_rng(0)
    return net, rng.standard_normal((8, 3)), rng.random((8, 3))


@pytest.mark.parametrize("method", [ml.SemiImplicit(), ml.SemiImplicit(solver="exact", joint=True)], ids=repr)
def test_semi_implicit_has_no_fit_for_a_hidden_map_that_is_the_last_one_too(method):
    """There f is the identity, before σ it is σ: also where the loss's transfer is that σ."""
    for sigma, loss in ((ml.Sigmoid(), ml.SigmoidCrossEntropy()), (ml.Tanh(), ml.SquaredError())):
        with pytest.raises(ValueError, match="map 1 is used before transfers of several kinds, the last map's being"):
            method.direction(*shared_last(sigma, loss))


@pytest.mark.parametrize("loss", [ml.SoftmaxCrossEntropy(), ml.SigmoidCrossEntropy("sum"), ml.SquaredError()], ids=repr)
@pytest.mark.parametrize("joint", [True, False])
def test_semi_implicit_fits_a_hidden_map_before_the_identity_that_is_the_last_one_too(loss, joint):
    """There f is the identity in both places, whatever the loss has inside: one linear problem, of stacked rows."""
    net, X, y = shared_last(ml.Identity(), loss)
    y = y.argmax(axis=1) if loss.classification else y
    eta, lam = 0.3, 0.7
    (d,) = ml.SemiImplicit(eta, lam, solver="exact", joint=joint).direction(net, X, y)[1]
    _, z, a, _ = net.forward(X)
    g_2 = loss.gradient(z[2], y) / loss.weight(len(X))
    rows, signal = np.vstack([X, a[1]]), eta * np.vstack([g_2 @ net.theta[1][:-1].T, g_2])
    ones = np.ones((len(rows), 1))

    def best(rows, signal):
        return np.linalg.solve(rows.T @ rows + lam * np.eye(rows.shape[1]), rows.T @ signal)

    if joint:
        expected = best(np.hstack([rows, ones]), signal)
    else:
        weights = best(rows, signal)
        expected = np.vstack([weights, best(ones, signal - rows @ weights)])
    assert norm(d - expected) < 1e-12 * norm(expected)
    first = ml.SemiImplicit(eta, lam, steps=40, joint=joint).direction(net, X, y)[1][0]
    assert norm(first - expected) < 1e-6 * norm(expected)


@pytest.mark.parametrize("joint", [True, False])
def test_a_small_semi_implicit_step_is_a_gradient_step_where_the_last_map_is_shared(joint):
    net, X, y = shared_last(ml.Identity(), ml.SquaredError("sum"))
    (d,), (g,) = (method.direction(net, X, y)[1]
                  for method in (ml.SemiImplicit(0.1, lam=1e8, solver="exact", joint=joint), ml.BackProp()))
    assert norm(d - 0.1 / 1e8 * g) < 1e-5 * norm(d)


def test_local_optimizers_keep_one_state_for_a_shared_weight():
    case, method = graph("recurrent"), ml.LocoProp("M", gamma=0.1, steps=3, local_lr=0.01)
    method.direction(case.net, case.X, case.y)
    assert sorted(method.optimizers) == [1, 2]
    method.check_state(case.net)


def test_step_sizes_are_counted_by_parameters():
    case = graph("residual")
    thetas = len(case.net.maps)
    several = ml.ProxProp([0.5] * thetas).direction(case.net, case.X, case.y)[1]
    one = ml.ProxProp(0.5).direction(case.net, case.X, case.y)[1]
    assert all(np.array_equal(d, e) for d, e in zip(several, one))
    with pytest.raises(ValueError, match=f"one for each of the {thetas} maps"):
        ml.ProxProp([0.5] * case.net.depth).direction(case.net, case.X, case.y)


# ---- the energy


@pytest.mark.parametrize("seed", range(30))
def test_the_partial_gradients_of_the_energy(seed):
    case = random_graph(seed, transfers=(ml.Tanh, ml.Sigmoid, ml.Softplus))
    energy, rng = PenaltyEnergy(case.net, case.y, 0.7, 1.3), case.rng
    state = case.net.forward(case.X)
    theta, D = list(state.theta), case.net.depth
    a = [state.a[0], *(value + 0.1 * rng.standard_normal(value.shape) for value in state.a[1:])]
    z = [None, *(value + 0.1 * rng.standard_normal(value.shape) for value in state.z[1:])]
    for l in range(1, D):
        assert_gradient(f"∂E/∂a_{l}", lambda v, l=l: energy.value(theta, [*a[:l], v, *a[l + 1:]], z), a[l],
                        energy.gradient_a(l, theta, a, z), rng)
        assert_gradient(f"∂E/∂z_{l}", lambda v, l=l: energy.value(theta, a, [*z[:l], v, *z[l + 1:]]), z[l],
                        energy.gradient_z(l, theta, a, z), rng)
    for l in case.net.maps:
        def value(v, l=l):
            return energy.value([v if case.net.owner[u] == l and u else t for u, t in enumerate(theta)], a, z)
        assert_gradient(f"∂E/∂θ_{l}", value, theta[l], energy.gradient_theta(l, theta, a, z), rng)


# ---- PyTorch


@each_graph
def test_losses_and_gradients_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    case = graph(kind)
    net = case.net
    parameters = [torch.tensor(np.array(p), requires_grad=True) for p in net.parameters]
    theta = dict(zip(net.maps, parameters))
    norms = iter(parameters[len(net.maps):])
    values, state = [torch.tensor(case.X)], net.forward(case.X, training=True)
    for l in range(1, net.depth + 1):
        v = torch_node(torch, net.phi[l], theta.get(net.owner[l]), [values[j] for j in net.inputs[l]])
        for part in getattr(net.sigma[l], "parts", [net.sigma[l]]) if l < net.depth else []:
            v = torch_transfer(torch, part, v, norms)
        values.append(v)
    functional = torch.nn.functional
    if isinstance(net.loss_function, ml.SquaredError):
        loss = functional.mse_loss(v, torch.tensor(case.y), reduction="sum") / 2 / len(case.X)
    else:
        loss = functional.cross_entropy(v, torch.tensor(case.y))
    loss.backward()
    assert net.loss_function.value(state.z[net.depth], case.y) == pytest.approx(loss.item(), rel=1e-12)
    for ours, theirs in zip(gradients_of(net, case.X, case.y), parameters, strict=True):
        assert_close("∇J", ours, theirs.grad.numpy(), 1e-12)


def torch_node(torch, phi, theta, values):
    """Return what PyTorch makes of a map or join."""
    if isinstance(phi, ml.Add):
        return sum(values[1:], values[0])
    if isinstance(phi, ml.Concat):
        return torch.cat(values, dim=-1)
    if isinstance(phi, ml.Zeros):
        return torch.zeros(len(values[0]), phi.n, dtype=values[0].dtype)
    if isinstance(phi, ml.Select):
        return values[0] if phi.start is None else values[0][:, phi.start]
    if isinstance(phi, ml.Conv2d):
        kernels = theta[:-1].reshape(phi.kernel, phi.kernel, phi.c_in, phi.c_out).permute(3, 2, 0, 1)
        images = values[0].permute(0, 3, 1, 2)
        z = torch.nn.functional.conv2d(images, kernels, theta[-1], padding=phi.kernel // 2)
        return z.permute(0, 2, 3, 1)
    return torch.nn.functional.linear(values[0], theta[:-1].T, theta[-1])


def torch_transfer(torch, part, v, norms):
    """Return what PyTorch makes of a transfer."""
    if isinstance(part, ml.BatchNorm):
        scale, shift = next(norms)
        axes = tuple(range(v.ndim - 1))
        mean, variance = v.mean(axes), v.var(axes, unbiased=False)
        return scale * (v - mean) / torch.sqrt(variance + part.eps) + shift
    if isinstance(part, (ml.MaxPool2d, ml.AvgPool2d)):
        pool = torch.nn.functional.max_pool2d if isinstance(part, ml.MaxPool2d) else torch.nn.functional.avg_pool2d
        return pool(v.permute(0, 3, 1, 2), part.size).permute(0, 2, 3, 1)
    if isinstance(part, ml.Flatten):
        return v.reshape(len(v), -1)
    return v if isinstance(part, ml.Identity) else torch.tanh(v)

"""Random layer graphs with branches, joins and shared maps, and their mathematics in PyTorch's words."""

import numpy as np
from laws import Case, random_targets

import minilift as ml

TRANSFERS = (ml.Tanh, ml.Sigmoid, ml.Softplus, ml.ReLU)


def random_layers(rng, transfers=TRANSFERS, length=9, n_out=3):
    """Return a list of layers in which values are read again, added, put side by side, and maps stand twice."""
    width = int(rng.integers(2, 5))
    layers, names, maps = [], {}, []

    def put(phi):
        layers.append(phi)
        maps.append(phi)
        if rng.random() < 0.8:
            layers.append(transfers[rng.integers(len(transfers))]())
        return phi.n_out

    width = put(ml.Linear(width, int(rng.integers(2, 5))))
    for k in range(length):
        fitting = [phi for phi in maps if phi.n_in == width]
        same = [name for name, n in names.items() if n == width]
        kind = rng.choice(["map", "again", "name", "add", "concat", "select"])
        if kind == "name" or not names:
            names[f"v{k}"] = width
            layers.append(ml.Named(f"v{k}"))
        elif kind == "again" and fitting:
            width = put(fitting[rng.integers(len(fitting))])
        elif kind == "add" and same:
            layers.append(ml.Add([str(name) for name in rng.choice(same, rng.integers(1, 3))]))
        elif kind == "concat" and width < 8:
            name = str(rng.choice(list(names)))
            layers.append(ml.Concat(name))
            width += names[name]
        elif kind == "select":
            layers.append(ml.Select(None, int(rng.integers(width)), width))
            width -= layers[-1].start
        else:
            width = put(ml.Linear(width, int(rng.integers(2, 5))))
    read = {name for layer in layers if isinstance(layer, ml.Join) for name in layer.sources}
    unread = [name for name in names if name not in read]
    if unread:  # a name that nobody reads is refused
        layers.append(ml.Concat(unread))
        width += sum(names[name] for name in unread)
    return [*layers, ml.Linear(width, n_out)]


def random_graph(seed, transfers=TRANSFERS, loss=None, samples=None):
    """Return a `Case` of a random graph in float64."""
    rng = np.random.default_rng(seed)
    loss = ml.SoftmaxCrossEntropy(("mean", "sum")[seed % 2]) if loss is None else loss
    net = ml.Network(random_layers(rng, transfers), loss=loss, dtype=np.float64, seed=seed)
    return case_of(net, rng, samples or int(rng.integers(1, 9)))


def case_of(net, rng, samples=6):
    """Return a `Case` of a network, with random data."""
    for l in net.maps:
        net.theta[l] = rng.standard_normal(net.theta[l].shape) / np.sqrt(len(net.theta[l]))
    X = rng.standard_normal((samples, *net.shapes[0]))
    return Case(net, X, random_targets(net.loss_function, rng, samples, net.shapes[-1][0]), rng)


def has_branches(net):
    """Whether a value is read twice, or a θ used twice."""
    read = [j for inputs in net.inputs[1:] for j in inputs]
    return len(set(read)) < len(read) or any(net.owner[l] != l for l in range(1, net.depth + 1))


def residual(batch_norm=False):
    """A residual MLP with a projection."""
    return ml.resnet([5, 6, 6, 6, 4, 4, 3], "tanh", batch_norm=batch_norm, dtype=np.float64)


def dense():
    """Every value goes on to all later maps, as in DenseNet."""
    layers, width = [ml.Linear(4, 3), ml.Tanh()], 3
    for k in range(3):
        layers += [ml.Named(f"h{k}"), ml.Linear(width, 3), ml.Tanh(), ml.Concat(f"h{k}")]
        width += 3
    return ml.Network([*layers, ml.Linear(width, 3)], dtype=np.float64)


def recurrent(outputs="every"):
    """A recurrent net, unrolled."""
    return ml.rnn(2, 4, 2, 5, outputs, loss=ml.SquaredError(), dtype=np.float64)


def residual_convnet():
    """A residual ConvNet with batch norm."""
    return ml.resnet([1, 3, 3, 3, 4, 4, 3], "tanh", batch_norm=True, input_shape=(6, 6, 1), dtype=np.float64)


GRAPHS = {"residual": residual, "residual with batch norm": lambda: residual(True), "dense": dense,
          "recurrent": recurrent, "last output": lambda: recurrent("last"), "residual convnet": residual_convnet}

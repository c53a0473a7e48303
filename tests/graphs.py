"""Random layer graphs with branches, joins and shared maps, and their mathematics in PyTorch's words."""

import numpy as np
from laws import Case, random_targets

import minilift as ml
from minilift.layers.joins import Add, Concat, Join, Named, Select
from minilift.layers.maps import Linear

TRANSFERS = (ml.Tanh, ml.Sigmoid, ml.Softplus, ml.ReLU)


def random_layers(rng, transfers, choices=5, n_out=3):
    """Return layers in which values are read again, added, put side by side and cut, and maps stand in two places."""
    layers, names, maps = [], {}, []

    def put(phi):
        layers.extend([phi, transfers[rng.integers(len(transfers))]])
        maps.append(phi)
        return phi.n_out

    def new(n_in):
        return Linear(n_in, int(rng.integers(2, 5)))

    width = put(new(int(rng.integers(2, 5))))
    for k in range(choices):
        names[f"v{k}"] = width
        layers.append(Named(f"v{k}"))
        fitting = [phi for phi in maps if phi.n_in == width] or [new(width)]
        kind = rng.choice(["map", "again", "add", "concat", "select"])
        if kind == "add":
            width = put(new(width))
            same = [name for name in names if names[name] == width]
            layers.extend([Add([str(name) for name in rng.choice(same, rng.integers(1, 3))])] if same else [])
        elif kind == "concat" and width < 6:
            layers.append(Concat(str(rng.choice(list(names)))))
            width += names[layers[-1].sources[0]]
        elif kind == "select":
            start = int(rng.integers(width))
            layers.append(Select(None, start, width))
            width -= start
        else:
            width = put(fitting[rng.integers(len(fitting))] if kind == "again" else new(width))
    read = {name for layer in layers if isinstance(layer, Join) for name in layer.sources}
    unread = [name for name in names if name not in read]
    if unread:
        layers.append(Concat(unread[-2:]))
        width += sum(names[name] for name in unread[-2:])
    layers = [layer for layer in layers if not isinstance(layer, Named) or layer.name in {*read, *unread[-2:]}]
    return [*layers, Linear(width, n_out)]


def random_graph(seed, transfers=TRANSFERS, loss=None, samples=None):
    """Return a `Case` of a random graph in float64."""
    rng = np.random.default_rng(seed)
    loss = ml.SoftmaxCrossEntropy(("mean", "sum")[seed % 2]) if loss is None else loss
    layers = random_layers(rng, [cls() for cls in transfers], choices=7)
    net = ml.Network(layers, loss=loss, dtype=np.float64, seed=seed)
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

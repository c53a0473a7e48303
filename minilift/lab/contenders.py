r"""What can be run: methods as they are compared, the papers' networks, other libraries, and the machine's own limit.

`METHODS` has a `Contender` for each name in `minilift.training.names`. `minilift compare` takes its names from it, the
experiments take their methods, and the benchmarks their rows.

The limit of a step is the time that its bare matrix products take when written into existing arrays. It depends on the
method, and the products are counted from the mathematics, not from the code. A map with r rows, n inputs and m
outputs needs

====================  =================================================================================
BackProp              A W, Aᵀ G and, except on the first map, G Wᵀ
implicit steps        BackProp's, the Gram matrix of the smaller side s (A Aᵀ or Aᵀ A), and k products
                      of it with s × m: 1 for an exact step, K for cgK, T − 1 for T plain local steps
rescaled local steps  BackProp's, and A W and Aᵀ G again in each of T − 1 further steps
====================  =================================================================================

A convolution is such a map on its patches; their Gram matrix can cost less than that product. If a map is used in
several places, A W and G Wᵀ are counted for each place, and all others once, with the rows of all places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np

from minilift.layers.losses import SigmoidCrossEntropy
from minilift.models import convnet, mlp, resnet, rnn
from minilift.optim import SGD, Adam, Nesterov
from minilift.support.backend import get_module, synchronize
from minilift.training.names import METHODS as NAMED

LEARNING_RATE = 1e-4  # small, so that nothing diverges and every step does the same work
MOMENTUM = 0.95  # that of ProxProp's paper, for its own network and all others


# ------------------------------------------------------------------------------------------ networks


class Problem(NamedTuple):
    """A network, from one of the papers or of another kind, with the batch it is trained on."""

    title: str
    widths: tuple
    activation: object
    batch: int
    autoencoder: bool = False
    images: tuple = ()  # (H, W, C), H and W divisible by 4: the network is ProxProp's ConvNet
    residual: bool = False  # whether an `Add` bridges every two maps
    steps: int = 0  # time steps, if the network is recurrent

    @property
    def chain(self):
        """Whether the network is a chain of fully connected maps."""
        return not (self.images or self.residual or self.steps)

    def network(self, backend="numpy", seed=0):
        """Return the network, on a backend."""
        if self.images:
            return convnet(self.images, classes=self.widths[-1], seed=seed, backend=backend)
        if self.steps:
            return rnn(*self.widths, self.steps, activation=self.activation, seed=seed, backend=backend)
        if self.residual:
            return resnet(self.widths, self.activation, seed=seed, backend=backend)
        loss = SigmoidCrossEntropy() if self.autoencoder else None
        return mlp(self.widths, self.activation, loss=loss, seed=seed, backend=backend)

    def samples(self, images=None):
        """Return a batch X, y: of the images if given, else of random ones with 8 bits a pixel, in [0, 1]."""
        rng = np.random.default_rng(0)
        shape = self.images or (*((self.steps,) if self.steps else ()), self.widths[0])
        if images is None:
            images = rng.integers(0, 256, (self.batch, *shape), dtype=np.uint8)
        X = images[: self.batch].reshape(self.batch, *shape).astype(np.float32)
        X /= X.max()
        return X, X if self.autoencoder else rng.integers(0, self.widths[-1], self.batch)


CODE = ("tanh", "tanh", "tanh", "identity", "tanh", "tanh", "tanh")  # the code layer is linear
PROBLEMS = {
    "wide": Problem("ProxProp's network", (3072, 4000, 1000, 4000, 10), "relu", 500),
    "autoencoder": Problem("LocoProp's autoencoder", (784, 1000, 500, 250, 30, 250, 500, 1000, 784), CODE,
                           1000, autoencoder=True),
    "sibp": Problem("Semi-Implicit BP's network", (784, 500, 10), "relu", 100),
    "small": Problem("a small network", (64, 128, 128, 10), "relu", 100),
    "convnet": Problem("ProxProp's ConvNet", (3072, 10), "relu", 500, images=(32, 32, 3)),
    "residual": Problem("64 maps in residual blocks of two, 256 wide", (*[256] * 64, 10), "relu", 500, residual=True),
    "recurrent": Problem("a recurrent network over 50 time steps", (2, 128, 10), "tanh", 100, steps=50),
}


# ------------------------------------------------------------------------------------------- methods


def solves(applications, maps):
    """Return the products for implicit steps in all maps but the last, whose step is explicit."""
    return on_gram(applications, maps[:-1])


def on_gram(applications, maps):
    """Return the products for steps with the smaller side's Gram matrix: it is formed, and applied repeatedly."""
    gram = [("gram", rows, n_in) for rows, n_in, _ in maps]
    return gram + [("apply", min(rows, n_in), n_out) for rows, n_in, n_out in maps] * applications


def kronecker_solves(maps):
    """Return the products of K-FAC beyond FOOF's: in every map the Gram matrix of the signals, formed and applied."""
    gram = [("gram", rows, n_out) for rows, _, n_out in maps]
    return solves(1, maps) + gram + [("apply", min(rows, n_out), max(rows, n_out)) for rows, _, n_out in maps]


def local_steps(times, maps):
    """Return the products for further plain local steps: in sample space if that takes fewer flops."""
    few = [shape for shape in maps if shape[0] <= 2 * shape[1]]
    gram = [("sample gram", rows, n_in) for rows, n_in, _ in few]
    applied = [("apply", rows, n_out) for rows, _, n_out in few] * times
    return gram + applied + passes(times, [shape for shape in maps if shape not in few])


def passes(times, maps):
    """Return the products for further local steps in parameter space."""
    return [(kind, *shape) for shape in maps for kind in ("forward", "theta")] * times


def inference(steps, maps):
    """Return the products for steps in the lifted values; BackProp's own backward pass counts as one of them."""
    shapes = [("forward", *shape) for shape in maps] * (steps + 1)
    return shapes + [("input", *shape) for shape in maps[1:]] * (steps - 1)


class Contender(NamedTuple):
    """A method that can be run by name.

    Attributes
    ----------
    label : str
        Its name in tables.
    factory : callable
        From keyword arguments to a method.
    options : dict
        Its arguments, without the step size.
    searched : str or None
        The argument that is the step size, as "gamma", or its reciprocal, as "1/alpha"; None if it is the optimizer's
        learning rate.
    timed : dict
        Arguments for a benchmark, chosen so that nothing diverges.
    products : callable
        From the shapes of the maps, (rows, n_in, n_out), to the products of a step beyond BackProp's; explicit steps
        have none.
    chains : bool
        Whether it trains only chains of `Linear` maps.
    """

    label: str
    factory: Callable
    options: dict = {}
    searched: str | None = None
    timed: dict = {}
    products: Callable = lambda maps: []
    chains: bool = False

    def method(self, **more):
        """Return the method, with further or replaced arguments."""
        return self.factory(**{**self.options, **more})

    def make(self, step, optimizer):
        """Return the method and its optimizer for a step size; `optimizer` maps a learning rate to an optimizer."""
        if self.searched is None:
            return self.method(), optimizer(step)
        value = 1 / step if self.searched.startswith("1/") else step
        return self.method(**{self.argument: value}), SGD(lr=1.0)  # takes exactly the proposed step

    @property
    def argument(self):
        """Name of the argument that is searched, or None."""
        return self.searched and self.searched.removeprefix("1/")


TIMED = {"gamma": 1.0, "local_lr": 1e-8}
METHODS = {  # the classes and arguments are those that `fit` uses for these names
    "backprop": Contender("BackProp", *NAMED["backprop"]),
    "proxprop": Contender("ProxProp exact", *NAMED["proxprop"], products=partial(solves, 1)),
    **{f"cg{k}": Contender(f"ProxProp cg{k}", *NAMED[f"cg{k}"], products=partial(solves, k)) for k in (1, 3, 5, 10)},
    "locoprop-s": Contender("LocoProp-S", *NAMED["locoprop-s"], "gamma", TIMED, partial(on_gram, 9)),
    "locoprop-m": Contender("LocoProp-M", *NAMED["locoprop-m"], "gamma", TIMED, partial(local_steps, 9)),
    "locoprop-m-rmsprop": Contender("LocoProp-M RMSProp", *NAMED["locoprop-m-rmsprop"], "gamma", TIMED,
                                    partial(passes, 9)),
    "semi-implicit": Contender("Semi-Implicit BP", *NAMED["semi-implicit"], "eta", {}, partial(local_steps, 5)),
    "foof": Contender("FOOF", *NAMED["foof"], products=partial(solves, 1)),
    "kfac": Contender("K-FAC", *NAMED["kfac"], products=kronecker_solves),
    "gauss-newton": Contender("Gauss–Newton", *NAMED["gauss-newton"], timed={"damping": 1.0}),
    "bcd": Contender("BCD", *NAMED["bcd"], "1/alpha", chains=True),
    "admm": Contender("ADMM", *NAMED["admm"], "1/alpha", chains=True),
    "mac": Contender("MAC", *NAMED["mac"], "1/mu", chains=True),
    "predictive-coding": Contender("Predictive coding", *NAMED["predictive-coding"], products=partial(inference, 10)),
    "target-propagation": Contender("Target propagation", *NAMED["target-propagation"], chains=True),
    "dladmm": Contender("dlADMM", *NAMED["dladmm"], "1/rho", {"rho": 1e3}, chains=True),
    "fenchel": Contender("Fenchel lifted", *NAMED["fenchel"], "1/anchor", chains=True),
    "lpom": Contender("LPOM", *NAMED["lpom"], "tau", chains=True),
    "lifted-bregman": Contender("Lifted Bregman", *NAMED["lifted-bregman"], "tau", chains=True),
}


# ---------------------------------------------------------------------------------------- what is timed


class Timed(NamedTuple):
    """Something to be timed: `step` does the work, `wait` returns when the device has finished."""

    library: str
    step: Callable
    wait: Callable = lambda: None


OURS = {method.label: method for method in METHODS.values()}
OTHERS = ("PyTorch", "PyTorch fused", "scikit-learn")


def outer(problem):
    """Return the optimizer of a method that returns directions, as in the paper for its network."""
    return Adam(LEARNING_RATE) if problem.images else Nesterov(LEARNING_RATE, MOMENTUM)


def trains(name, problem):
    """Whether a contender can train the network of a problem."""
    return not (name in OURS and OURS[name].chains and not problem.chain)


def entered(problem, name, backend):
    """Return the network, the method and the optimizer of one of `OURS`."""
    ours = OURS[name]
    optimizer = outer(problem) if ours.searched is None else SGD(1.0)
    return problem.network(backend), ours.method(**ours.timed), optimizer


def our_step(problem, name, backend, images):
    """Return a whole training step of one of `OURS`."""
    net, method, optimizer = entered(problem, name, backend)
    X, y = net.checked_batch(*problem.samples(images))

    def step():
        _, directions = method.direction(net, X, y)
        optimizer.step(net.parameters, directions)

    return Timed("minilift", step, lambda: synchronize(net.xp))


def torch_mlp(problem):
    """Return a problem's multilayer perceptron in PyTorch."""
    from torch import nn

    activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "identity": nn.Identity}
    names = repeat(problem.activation) if isinstance(problem.activation, str) else [*problem.activation, "identity"]
    layers = []
    for n_in, n_out, name in zip(problem.widths, problem.widths[1:], names):
        layers += [nn.Linear(n_in, n_out), activations[name]()]
    return nn.Sequential(*layers[:-1])


def torch_convnet(problem):
    """Return ProxProp's ConvNet in PyTorch."""
    from torch import nn

    layers, (height, width, channels) = [], problem.images
    for c_in, c_out in ((channels, 16), (16, 20), (20, 20)):
        layers += [nn.Conv2d(c_in, c_out, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers[:-1], nn.Flatten(), nn.Linear(height // 4 * (width // 4) * 20, problem.widths[-1]))


def torch_resnet(problem):
    """Return a residual network of one width in PyTorch."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.first, self.second = nn.Linear(n, n), nn.Linear(n, n)

        def forward(self, x):
            return nn.functional.relu(x + self.second(nn.functional.relu(self.first(x))))

    n_in, n, *_, n_out = problem.widths
    blocks = [Block(n) for _ in problem.widths[2:-1:2]]
    return nn.Sequential(nn.Linear(n_in, n), nn.ReLU(), *blocks, nn.Linear(n, n_out))


def torch_rnn(problem):
    """Return a recurrent network in PyTorch: its cell is a single map, faster here than `nn.RNNCell` and `nn.RNN`."""
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self, n_in, n, n_out):
            super().__init__()
            self.cell, self.output = nn.Linear(n_in + n, n), nn.Linear(n, n_out)

        def forward(self, x):
            h = x.new_zeros(len(x), self.cell.out_features)
            for x_t in x.unbind(1):
                h = torch.tanh(self.cell(torch.cat([x_t, h], 1)))
            return self.output(h)

    return Recurrent(*problem.widths)


def torch_network(problem):
    """Return a problem's network in PyTorch."""
    if problem.images:
        return torch_convnet(problem)
    return torch_rnn(problem) if problem.steps else torch_resnet(problem) if problem.residual else torch_mlp(problem)


def torch_loss(problem, z, y):
    """Return the mean loss of a problem in PyTorch."""
    from torch.nn import functional

    if problem.autoencoder:
        return functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z)
    return functional.cross_entropy(z, y)


def torch_step(problem, name, backend, images):
    """Return PyTorch's training step by backpropagation, with the optimizer in its default or fused form."""
    import torch

    device = "cuda" if backend == "cupy" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        return None
    net = torch_network(problem).to(device)
    X, y = (torch.from_numpy(array).to(device) for array in problem.samples(images))
    fused = {"fused": True} if name.endswith("fused") else {}
    if problem.images:
        X = X.permute(0, 3, 1, 2).contiguous()  # PyTorch's own layout
        optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, **fused)
    else:
        optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, MOMENTUM, nesterov=True, **fused)

    def step():
        optimizer.zero_grad()
        value = torch_loss(problem, net(X), y)
        value.backward()
        optimizer.step()
        return value.item()

    return Timed("PyTorch", step, torch.cuda.synchronize if device == "cuda" else lambda: None)


def sklearn_step(problem, name, backend, images):
    """Return scikit-learn's training step, with its default Nesterov: one batch of `partial_fit`."""
    from sklearn.neural_network import MLPClassifier

    if problem.autoencoder or problem.images or problem.residual or problem.steps or backend == "cupy":
        return None  # it has no sigmoid cross-entropy, linear code layer, network beyond chains of Linear maps, or GPU
    X, y = problem.samples(images)
    net = MLPClassifier(problem.widths[1:-1], problem.activation, solver="sgd", alpha=0.0,
                        batch_size=problem.batch, learning_rate_init=LEARNING_RATE, momentum=MOMENTUM)
    net.partial_fit(X, y, classes=np.arange(problem.widths[-1]))
    return Timed("scikit-learn", lambda: net.partial_fit(X, y))


def timed_step(problem, name, backend="numpy", images=None):
    """Return the training step of one of `OURS` or `OTHERS`, or None if it does not apply or cannot run here."""
    if not trains(name, problem):
        return None
    if name in OURS:
        return our_step(problem, name, backend, images)
    try:
        return (sklearn_step if name == "scikit-learn" else torch_step)(problem, name, backend, images)
    except ImportError:
        return None


# ----------------------------------------------------------------------------- the machine's own limit


def step_products(name, problem, backend):
    """Return how many times a step on a problem's network needs each bare product."""
    net, shapes = places(problem, backend)
    products = [("forward", *shape) for shape in shapes.values()]
    products += [("input", *shape) for l, shape in shapes.items() if any(net.learns[j] for j in net.inputs[l])]
    maps = stacked(net, shapes)
    products += [("theta", *shape) for shape in maps]
    return Counter(products + (OURS[name].products(maps) if name in OURS else []))


def places(problem, backend):
    """Return a problem's network, and {l: (rows, n_in, n_out)} of each place where a map is used."""
    net = problem.network(backend)
    z = net.forward(problem.samples()[0]).z
    return net, {l: (len(net.phi[l].columns(z[l])), net.theta[l].shape[0] - 1, net.theta[l].shape[1])
                 for l in range(1, net.depth + 1) if net.theta[l] is not None}


def stacked(net, shapes):
    """Return (rows, n_in, n_out) of each θ, with the rows of all places that share it."""
    return [(sum(shapes[use][0] for use in shapes if net.owner[use] == l), *shapes[l][1:]) for l in net.maps]


def bare_products(products, backend):
    """Return {product: `Timed`} of bare matrix products, each written into an existing array."""
    xp, rng = get_module(backend), np.random.default_rng(0)
    return {product: bare_product(*product, xp=xp, array=lambda *shape: xp.asarray(rng.random(shape, np.float32)))
            for product in products}


def bare_product(kind, *shape, xp, array):
    """Return one bare matrix product of arrays made by `array`."""
    if kind == "apply":
        left, right = array(shape[0], shape[0]), array(*shape)
    elif kind.endswith("gram"):
        a = array(*shape)
        left, right = (a, a.T) if shape[0] <= shape[1] or kind == "sample gram" else (a.T, a)
    else:
        rows, n_in, n_out = shape
        a, w, g = array(rows, n_in), array(n_in, n_out), array(rows, n_out)
        left, right = {"forward": (a, w), "theta": (a.T, g), "input": (g, w.T)}[kind]
    out = xp.empty((left.shape[0], right.shape[1]), np.float32)
    return Timed("minilift", lambda: xp.matmul(left, right, out=out), lambda: synchronize(xp))

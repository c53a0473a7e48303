r"""Claims about networks (gradients, energy, Proposition 1), and random networks on which methods run."""

from __future__ import annotations

import copy
import functools
import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minilift.checks.cases import Case
from minilift.checks.losses import draw_targets
from minilift.checks.maps import design_matrix, samples_left_out
from minilift.checks.numeric import DIFFERENCES, EXACT, Tangents, compare, dense, directional, gradient, tried
from minilift.checks.report import LEFT_CHANGED, Guess, NotClaimed, claim, nothing_of, only_if, worst_of
from minilift.checks.transfers import move, smooth_at
from minilift.energy import replaced
from minilift.layers.activations import ReLU, Sigmoid, Tanh
from minilift.layers.joins import Add, Concat, Named, Select
from minilift.layers.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from minilift.layers.maps import Linear
from minilift.layers.normalization import BatchNorm, Dropout
from minilift.methods import BackProp, Method
from minilift.models import mlp
from minilift.network import Network
from minilift.support.backend import to_numpy


@dataclass(frozen=True)
class NetCase(Case):
    """A float64 network with random parameters, and a batch."""

    net: Network
    X: np.ndarray
    y: np.ndarray

    def per_map(self, value):
        """Return [None, value(1), …, value(D)]; None for a join and for a map whose θ is an earlier one's."""
        return [value(l) if l in self.net.maps else None for l in range(self.net.depth + 1)]

    def uses(self, l):
        """Return the maps that share the θ of map l: on a chain, l alone."""
        return [u for u in range(l, self.net.depth + 1) if self.net.owner[u] == l]

    @cached_property
    def permuted(self):
        """Return the case with its samples in another order."""
        order = np.random.default_rng(2).permutation(np.arange(len(self.X)))
        order = order if np.any(order != np.arange(len(order))) else order[::-1]
        return replace(self, X=self.X[order], y=self.y[order])

    @cached_property
    def batches(self):
        """Return four batches, the last equal to the first, and for a squared error a fifth that is fitted exactly."""
        changes = ((1.0, 1), (0.5, -1), (-1.5, 1), (1.0, 1))
        fitted = [replace(self, y=to_numpy(self.forward().z[-1]))] * isinstance(self.net.loss_function, SquaredError)
        return [*(replace(self, X=size * self.X[::order]) for size, order in changes), *fitted]

    @cached_property
    def ran(self):
        """Return {(what, id of a method): (the method, its result)} of the runs made so far."""
        return {}

    @cached_property
    def theta(self):
        """Return [None, θ_1, …, θ_D] on the host."""
        own = self.per_map(lambda l: locked(to_numpy(self.net.theta[l])))
        return [own[self.net.owner[l]] for l in range(self.net.depth + 1)]

    def with_theta(self, l, theta):
        """Return the list of all θ with another in place of θ_l, wherever θ_l is used."""
        return [theta if self.net.owner[u] == l else value for u, value in enumerate(self.theta)]

    def forward(self, theta=None):
        """Return the state of a training pass, with the same random numbers each time."""
        theta = None if theta is None else self.lend_all(theta)
        return self.net.propagate(self.lend(self.X), training=True, rng=np.random.default_rng(0), theta=theta)

    def value(self, z):
        """Return the loss as a function of z_D."""
        return self.loss_value(self.net.loss_function, z, self.y)

    def loss(self, theta):
        """Return J(θ); complex where θ is, if the loss supports it."""
        return self.value(to_numpy(self.forward(theta).z[self.net.depth]))

    @cached_property
    def tangents(self):
        """Return [None, t_1, …, t_D], the tangents along which each θ_l is probed."""
        rng = np.random.default_rng(1)
        return self.per_map(lambda l: Tangents(self.theta[l].shape, rng))

    @cached_property
    def gradients(self):
        """Return [None, …]: the reference for ∂J/∂θ_l of each block, by differences or the complex step."""
        return self.per_map(lambda l: gradient(lambda t: self.loss(self.with_theta(l, t)), self.theta[l],
                                               self.tangents[l]))

    @cached_property
    def signals(self):
        """Return [None, g_1, …] as rows, ∂J/∂z_l by differences in z_l; stacked for maps that share θ."""
        return self.per_map(lambda l: np.vstack([self.signal(u) for u in self.uses(l)]))

    def signal(self, l):
        """Return ∂J/∂z_l as rows, one column for each output unit, by differences in z_l."""
        state = self.forward()
        z, theta = to_numpy(state.z[l]), self.lend_all(self.theta)
        only_if(z.size <= 400, "the network is too large for signals by differences")
        slope = gradient(lambda x: self.value(self.output_from(l, x, state.a, theta)), z)
        return slope.value.reshape(-1, self.theta[l].shape[1])

    def output_from(self, l, z, a, theta):
        """Return z_D when a forward pass, with activations a, is continued from a given z_l."""
        net, rng, a = self.net, np.random.default_rng(0), list(a)
        z = self.lend(z)
        for k in range(l, net.depth):
            a[k], _ = net.sigma[k].apply(z, training=True, rng=rng)
            z = net.phi[k + 1].forward(theta[k + 1], *(a[j] for j in net.inputs[k + 1]))
        return to_numpy(z)

    def norm_gradient(self, norm):
        """Return the reference for the gradient in scale and shift of one batch norm of this case's own network."""
        kept = norm.scale_shift

        def loss(scale_shift):
            norm.scale_shift = self.lend(scale_shift)
            return self.loss(self.theta)

        try:
            return gradient(loss, to_numpy(kept))
        finally:
            norm.scale_shift = kept

    @property
    def elementwise(self):
        """Whether all transfers are elementwise: there is no batch norm, say, which couples the samples."""
        return all(sigma.elementwise for sigma in self.net.sigma[1:])

    @property
    def plain(self):
        """Whether it is a chain of `Linear` maps and elementwise transfers, in which mistakes can be planted."""
        chain = all(self.net.inputs[l] == (l - 1,) for l in range(1, self.net.depth + 1)) and not any(self.net.shared)
        return chain and self.elementwise and all(isinstance(phi, Linear) for phi in self.net.phi[1:])

    @cached_property
    def design(self):
        """Return [None, Ã_0, …, Ã_{D−1}]: the design matrix of each map at its inputs in the forward pass, stacked."""
        a, inputs = self.forward().a, self.net.inputs
        return self.per_map(lambda l: np.vstack([
            design_matrix(self, self.net.phi[u], to_numpy(a[inputs[u][0]])) for u in self.uses(l)]))

    def output(self, l, theta, a):
        """Return the output of φ_l, a map or a join, for lists θ and a."""
        return to_numpy(self.net.phi[l].forward(*self.lend_all([theta[l], *(a[j] for j in self.net.inputs[l])])))

    @cached_property
    def gram(self):
        """Return [None, ÃᵀÃ, …] of each map, from its design matrix."""
        return self.per_map(lambda l: self.design[l].T @ self.design[l])

    @cached_property
    def slopes(self):
        """Return [None, σ'(z_1), …], by differences or the complex step."""
        z, net = self.forward().z, self.net
        return [None] + [self.derivative(net.sigma[l].forward, to_numpy(z[l])).value for l in range(1, net.depth)]

    def backward(self, slopes=None, theta=None):
        """Return [None, …]: the gradients by the chain rule in dense algebra, or with a mistake.

        `slopes` are used in place of σ'(z_l), and the signal passes through the parameters `theta`.
        """
        slopes, theta, D = slopes or self.slopes, theta or self.theta, self.net.depth
        g = gradient(self.value, to_numpy(self.forward().z[D])).value
        result = [None] * (D + 1)
        for l in range(D, 0, -1):
            result[l] = self.design[l].T @ g
            if l > 1:
                g = (g @ theta[l][:-1].T) * slopes[l - 1]
        return result

    @cached_property
    def mistakes(self):
        """Return a list by l of what common mistakes in ∂J/∂θ_l would give, by name."""
        if not self.plain:
            return [{}] * (self.net.depth + 1)
        a, sigma, right = [to_numpy(x) for x in self.forward().a], self.net.sigma, self.backward()
        stand_ins = {"σ' is forgotten in a layer above": lambda l: np.ones_like(self.slopes[l]),
                     "σ' is taken at a = σ(z), not at z": lambda l: self.derivative(sigma[l].forward, a[l]).value,
                     "σ' is applied twice": lambda l: self.slopes[l] ** 2}
        made = {name: self.backward([None, *map(slope, range(1, self.net.depth))]) for name, slope in stand_ins.items()}
        made["the signal passes through new weights, not the old ones (step 1)"] = self.backward(
            theta=self.per_map(lambda l: self.theta[l] - right[l]))
        return self.by_map(made)

    def by_map(self, made):
        """Return [None, …], a dict for each map, from a dict of lists by map."""
        return self.per_map(lambda l: {name: values[l] for name, values in made.items()})

    @cached_property
    def stationary(self):
        """Return a small network and a batch at which ∇J = 0 but the signals g_l are not.

        ∇J is linear in g_D: the Jacobian of z_D in all parameters, transposed, times g_D. A squared error can
        have any residual, so it is given one that this operator maps to zero.
        """
        rng = np.random.default_rng(5)
        net = Network([Linear(2, 2), Tanh(), Linear(2, 2)], loss=SquaredError(), dtype=np.float64,
                      backend=self.net.backend)
        net.theta = [None] + [rng.standard_normal(t.shape) for t in net.theta[1:]]  # a chain
        X = rng.standard_normal((9, 2))
        case = NetCase("a stationary point of J", self.xp, net, X, np.zeros((9, 2)))
        z = to_numpy(case.forward().z[2])
        jacobian = [directional(lambda t, l=l: to_numpy(case.forward(replaced(case.theta, l, t)).z[2]),
                                case.theta[l], v).value for l in (1, 2) for v in case.tangents[l]]
        null = np.linalg.svd(np.reshape(jacobian, (-1, z.size)))[2][-2:]
        return replace(case, y=z - (rng.standard_normal(2) @ null).reshape(z.shape))

    @property
    def has_few_inputs(self):
        """Whether the case is small enough for slow checks, with many steps or many differences."""
        return self.X.size <= 400

    @property
    def dense_gradients(self):
        """Return [None, ∇_θ1 J, …] as arrays; only where every block is probed entry by entry."""
        only_if(all(self.tangents[l].full for l in self.net.maps), "the network is too large for a dense reference")
        return self.per_map(lambda l: self.gradients[l].value)

    @property
    def propagated_tolerance(self):
        """Return the tolerance, and its reason, for what is computed from the gradients by dense algebra."""
        if all(self.gradients[l].why == EXACT for l in self.net.maps):
            return 1e-8, f"{EXACT}, and so does dense algebra"
        return 1e-5, f"{DIFFERENCES}; then dense algebra"

    @cached_property
    def single(self):
        """Return (network, X, y) of the case in float32."""
        net = Network(self.net.layers, loss=self.net.loss_function, backend=self.net.backend,
                      input_shape=self.net.shapes[0])
        net.load_state_dict(self.net.state_dict())
        net._theta = self.lend_all([None if theta is None else to_numpy(theta) for theta in net.theta])
        return (net, *net.checked_batch(self.lend(self.X), self.lend(self.y)))

    @cached_property
    def guarded(self):
        """Return the case with read-only parameters of its network (on NumPy)."""
        net = copy.copy(self.net)
        net._theta = self.lend_all(self.theta)
        return replace(self, net=net)

    @property
    def factors(self):
        """Return the sizes that a gradient may be off by as factors."""
        return {"N, the batch size": len(self.X)}

    def project(self, l, array):
        """Return the inner products of an array of θ_l's shape with the tangents."""
        return self.tangents[l].project(array)


def compare_blocks(case, got, references, mistakes=None, factors=None):
    """Return the worst finding over all maps of directions that should equal references.

    `mistakes` is a function that returns, by map, the results of common mistakes; by default of those in a gradient.
    """
    mistakes = functools.cache(mistakes or (lambda: case.mistakes))

    def finding(l):
        theta = case.project(l, case.theta[l])
        return compare(case.project(l, got[l]), references[l], lambda: {
            **{name: case.project(l, value) for name, value in mistakes()[l].items()},
            "it proposes the new parameters; a step is the old ones minus the new": theta - references[l].value,
            **(samples_left_out(case.design[l][:, :, None] * case.signals[l][:, None], np.asarray(got[l]))
               if case.plain and case.tangents[l].full and tried(lambda: case.signals) else {}),
        }, factors or case.factors, {"a multiple of θ is added: weight decay": theta}, theta=True)

    findings = [(l, finding(l)) for l in case.net.maps]
    worst, wrong = worst_block(findings), [l for l, found in findings if not found.holds]
    if wrong and len(wrong) < len(findings) and all(len(case.uses(l)) > 1 for l in wrong):
        return worst.because("it is wrong only in maps that share their θ, which have more rows than samples")
    some = len(wrong) < len(findings) or len(case.X) == 1  # with one sample, all may be wrong for this reason
    if where := [text for text, maps in parts_of(case).items() if some and wrong and set(wrong) <= set(maps)]:
        return worst.retold(lambda known: [text for reason in known for text in (  # a wrong σ' never shows on the last
            *(f"{reason}; {part} alone" for part in where if not re.search("^the step of|σ|signal", reason)), reason)])
    return worst


def parts_of(case):
    """Return groups of a network's maps, by description."""
    low = [l for l in case.net.maps if len(case.design[l]) < len(case.theta[l])]
    return {"where there are fewer rows than parameters of a unit": low,
            "on the last map": [case.net.depth], "on the first map": case.net.maps[:1]}


def worst_block(findings, what="map"):
    """Return the finding to report for several maps, say: the worst, with the reasons that fit all that fail."""
    failing = [(l, finding) for l, finding in findings if not finding.holds]
    if not failing:
        return worst_of(finding for _, finding in findings)
    l, worst = max(failing, key=lambda item: np.nan_to_num(item[1].number, nan=np.inf))

    def shared():
        mistakes = [finding.mistakes() for _, finding in failing[:2]]
        named = dict.fromkeys(reason for reasons in mistakes for reason in reasons)
        common = [reason for reason in named if all(reason in reasons for reasons in mistakes)]
        # a guess is dropped if another map shows something else
        firm = [[reason for reason in reasons if reason in common or not isinstance(reason, Guess)
                 or not all(mistakes)] for reasons in mistakes]
        each = dict.fromkeys(reasons[0] for reasons in firm if reasons)
        if not common and not each:
            return [f"the step of {what} {l} is wrong"] * (len(failing) == 1)  # often only one fails: say which
        if len(failing) > 1 and not common and not all(mistakes):
            only = next(k for k, reasons in enumerate(mistakes) if reasons)
            told = f"on {what} {failing[only][0]}; another is wrong otherwise"
            return [text for reason in each for text in (f"{reason} {told}", reason)]
        return common or ["; in another map, ".join(each)]

    return worst._replace(reasons=shared)


# ---- random networks


def double_net(net, backend=None):
    """Return a network with the same layers in float64, by default on the same backend, with its own parameters."""
    double = copy.copy(net)  # keeps the subclass
    plain = Network(net.layers, loss=net.loss_function, dtype=np.float64, backend=backend or net.backend,
                    input_shape=net.shapes[0])
    vars(double).update(vars(plain))
    double.load_state_dict(net.state_dict())
    return double


def network_cases(net, seed, backend=None, X=None, y=None):
    """Return cases of one network: with its own parameters, with random ones, and a batch of one with a dead unit."""
    rng = np.random.default_rng(seed)
    if X is not None:
        return [given_case(net, backend, X, y, rng)]
    least = 3 if net.norms else 1  # a batch norm cannot train on one sample, and on two it is nearly a sign function
    plan = (("its own parameters, N = 5", 5, "own"), (f"random parameters, N = {least}", least, "random"),
            ("random parameters and a dead unit, N = 4", 4, "dead"))
    return [net_case(net, backend, rng, *item) for item in plan]


def given_case(net, backend, X, y, rng):
    """Return the case with the user's own batch."""
    double = double_net(net, backend)
    layout, double.input_layout = double.input_layout, net.input_layout
    y = targets_of(net, rng, len(X)) if y is None else y
    X, y = (to_numpy(array) for array in double.checked_batch(X, y))
    double.input_layout = layout  # from here on X is in the layout that the first map takes
    return NetCase(f"the given batch, N = {len(X)}", double.xp, double, X, y)


def targets_of(net, rng, n):
    """Draw targets for n samples of a network, or raise a `ValueError` if its loss refuses them."""
    try:
        return draw_targets(net.loss_function, rng, n, net.shapes[-1][0])
    except NotClaimed as why:
        raise ValueError(f"{why}; give X and y") from None


def net_case(net, backend, rng, label, n, parameters):
    """Return one case of a network; points too near a kink of a transfer are drawn again."""
    net = double_net(net, backend)
    y = targets_of(net, rng, n)
    for norm in net.norms if parameters != "own" else ():
        move(norm.scale_shift)
    for _ in range(100):
        if parameters != "own":
            net.theta = random_theta(net, rng, dead=parameters == "dead")
        case = NetCase(label, net.xp, net, rng.standard_normal((n, *net.shapes[0])), y)
        z = case.forward().z
        if all(smooth_at(case, net.sigma[l], to_numpy(z[l]), rng) for l in range(1, net.depth)):
            break
    return case


def random_theta(net, rng, dead):
    """Draw all parameters, biases included; with `dead` the first unit of each hidden map never fires."""
    own = {l: rng.standard_normal(net.theta[l].shape) / np.sqrt(len(net.theta[l])) for l in net.maps}
    for l, theta in own.items():
        if dead and l < net.depth and theta.shape[1] > 1:
            theta[-1, 0] = -30.0
    return [own.get(k) for k in net.owner]


def random_networks(seed, backend):
    """Return small networks with a batch each: one unit, a batch of one, dead units, wide, tall, and a random graph."""
    rng = np.random.default_rng(seed)
    plan = [("tanh 3-4-2", [3, 4, 2], Tanh(), SquaredError(), 5, "random"),
            ("relu 2-5-3-3, dead units", [2, 5, 3, 3], ReLU(), SoftmaxCrossEntropy(), 16, "dead"),
            ("sigmoid 4-1-3, summed loss", [4, 1, 3], Sigmoid(), SigmoidCrossEntropy("sum"), 3, "random"),
            ("tanh 45-3-2, wide", [45, 3, 2], Tanh(), SoftmaxCrossEntropy(), 40, "random"),
            ("tanh 3-2-3-2-5, deep", [3, 2, 3, 2, 5], Tanh(), SoftmaxCrossEntropy(), 4, "random"),
            ("relu 3-3-1, batch of one", [3, 3, 1], ReLU(), SquaredError(), 1, "random"),
            ("one map 2-2, tall", [2, 2], Tanh(), SquaredError("sum"), 17, "random")]
    chains = [net_case(mlp(widths, activation=sigma, loss=loss), backend, rng, f"{label}, N = {n}", n, parameters)
              for label, widths, sigma, loss, n, parameters in plan]
    graph = Network(graph_layers(rng))
    label = f"a graph of {graph.depth} maps and joins, N = 3"
    # the same shape as another batch, so that state kept from it shows; large signals, so that clipping shows
    X, y = rng.standard_normal(chains[0].X.shape), 30 * chains[0].y
    again = replace(chains[0], label="tanh 3-4-2 again, another batch", X=X, y=y)
    return [*chains, net_case(graph, backend, rng, label, 3, "random"), again]


def graph_layers(rng):
    """Return layers of random widths in which a map is used twice, and values are added, concatenated and sliced."""
    n = int(rng.integers(2, 5))
    shared, start = Linear(n, n), int(rng.integers(1, n))
    return [Linear(3, n), Tanh(), Named("u"), shared, Tanh(), Named("v"), shared, Tanh(), Add("u"), Concat("v"),
            Select(None, start, 2 * n), Linear(2 * n - start, 3)]


# ---- claims about a network


def fresh(method, **attributes):
    """Return a copy of a method without memory, with some attributes replaced."""
    method = copy.deepcopy(method)
    for name, value in attributes.items():
        setattr(method, name, value)
    method.reset()
    return method


def class_of(method):
    """Return the package's class that a method is an instance of, directly or through a subclass."""
    return next(cls for cls in type(method).__mro__ if cls.__module__.startswith("minilift.methods."))


def as_base(method, base):
    """Return a method of the package with the attributes of an instance of a subclass."""
    twin = object.__new__(base)
    vars(twin).update(vars(fresh(method)))
    twin.reset()
    return twin


def first_run(method, case):
    """Return a copy of the method after one run that began without memory, and its steps on the host."""
    def run():
        copied = fresh(method)
        return copied, [np.array(to_numpy(step)) for step in run_method(copied, case)]

    return kept(case, "steps", method, run)


def kept(case, what, method, run):
    """Return run(), which is called only once for each case and method."""
    if (what, id(method)) not in case.ran:
        case.ran[what, id(method)] = method, run()  # the method is kept too, so that its id is not reused
    return case.ran[what, id(method)][1]


def directions_of(method, case):
    """Return [None, d_1, …, d_D] on the host, from one run of a copy of the method without memory."""
    steps = dict(zip(case.net.maps, first_run(method, case)[1]))
    return case.per_map(lambda l: steps[l])


def has_own_direction(method):
    """Whether a method defines `direction` instead of what a step of a block is, or those of all."""
    return type(method).direction is not Method.direction and type(method).directions is Method.directions


def whole_step(method, case):
    """Return the loss and the steps of a method's `direction`; its own may move θ if it puts it back."""
    drops = any(isinstance(layer, Dropout) for layer in case.net.layers)  # with the same random numbers as `forward`
    options = {"rng": np.random.default_rng(0)} if drops else {}
    guarded = case.guarded.net
    if type(method).direction is Method.direction:
        return method.direction(guarded, case.X, case.y, **options)
    net = copy.deepcopy(guarded)
    loss, steps = method.direction(net, case.X, case.y, **options)
    steps = [step.copy() for step in steps]  # they might be the parameters
    if any(not case.xp.array_equal(*pair) for pair in zip(net.parameters, guarded.parameters)):
        raise ValueError(LEFT_CHANGED)
    return loss, steps


def run_method(method, case):
    """Return what method.directions returns for read-only arrays, or `direction`, if the method defines its own."""
    if has_own_direction(method):
        return whole_step(method, case)[1]
    case = case.guarded
    state, y = case.forward(), case.lend(case.y)
    if case.xp is not np:
        return method.directions(case.net, state, y)
    propose, replacing = method.propose, vars(method).get("propose")

    def on_locked(block):
        arrays = ("theta", "a", "z", "g_a", "g")
        return propose(block._replace(**{name: locked(getattr(block, name)) for name in arrays}))

    method.propose = on_locked
    try:
        return method.directions(case.net, state, y)
    finally:
        del method.propose
        if replacing is not None:
            method.propose = replacing


def locked(array):
    """Return a read-only view of an array; None stays None."""
    if array is not None:
        array = array.view()
        array.flags.writeable = False
    return array


def normed_case(backend):
    """Return a small network with a batch norm, and a batch."""
    net = Network([Linear(3, 4), BatchNorm(4), Tanh(), Linear(4, 2)], loss=SquaredError(), seed=1)
    return net_case(net, backend, np.random.default_rng(9), "a network with batch norm, N = 5", 5, "random")


@claim("network", "backpropagated gradients of every block", "∇_θl J = ãᵀ g_l", "BackProp, ProxProp (8)–(10)")
def network_gradient(net, case):
    return compare_blocks(case, directions_of(BackProp(), case), case.gradients)


@claim("network", "gradients in a transfer's own parameters, as in scale and shift", "∇_{s,t} J", "BackProp")
def norm_gradient(net, case):
    only_if(case.net.norms, "no transfer has parameters")
    return norm_steps(BackProp(), case)


def norm_steps(method, case):
    """Return the finding on a method's steps in the parameters of transfers, which should be gradients."""
    steps = first_run(method, case)[1][len(case.net.maps) :]
    pairs = enumerate(zip(steps, case.net.norms, strict=True), start=1)
    worst = worst_block([(k, compare(step, case.norm_gradient(norm), factors=case.factors))
                         for k, (step, norm) in pairs], "transfer with parameters")
    names = " or ".join(dict.fromkeys(type(norm).__name__ for norm in case.net.norms))
    return worst.retold(lambda known: [f"of the parameters of {names}: {why}" for why in known])


@claim("network", "shapes of the forward pass", "z_l = φ(θ_l, a_{l−1}), a_l = σ_l(z_l)", "ProxProp, φ and σ")
def forward_shapes(net, case):
    state, net = case.forward(), case.net
    got = [x.shape[1:] for l in range(net.depth) for x in (state.a[l], state.z[l + 1])]
    wrong = [f"{g} for {w}" for g, w in zip(got, net.shapes) if tuple(g) != tuple(w)]
    return nothing_of([f"output_shape disagrees with forward: {', '.join(wrong)}"] * bool(wrong),
                      "shapes are whole numbers")


@claim("network", "the gradient of a batch is that of its samples, added up", "∇J = Σ_i weight · ∇ℓ_i", "convention")
def gradient_is_additive(net, case):
    only_if(len(case.X) > 1, "a batch of one")
    only_if(case.elementwise, "a transfer may couple the samples (batch norm)")
    got, loss = directions_of(BackProp(), case), case.net.loss_function
    share = loss.weight(len(case.X)) / loss.weight(1)
    singles = [directions_of(BackProp(), replace(case, X=case.X[i : i + 1], y=case.y[i : i + 1]))
               for i in range(len(case.X))]
    return compare_blocks(case, got, case.per_map(
        lambda l: dense(case.project(l, sum(share * single[l] for single in singles)))))

r"""Claims about networks (gradients, energy, Proposition 1), and random networks on which methods run."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minilift.checks.layers import Case, design_matrix, draw_targets, smooth_at
from minilift.checks.numeric import (
    DIFFERENCES,
    EXACT,
    Reference,
    Tangents,
    compare,
    dense,
    directional,
    gradient,
)
from minilift.checks.report import Finding, NotClaimed, claim
from minilift.energy import PenaltyEnergy, algorithm_1
from minilift.layers.activations import ReLU, Sigmoid, Tanh
from minilift.layers.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from minilift.layers.maps import Linear
from minilift.methods import BackProp
from minilift.network import Network
from minilift.support.backend import to_numpy


@dataclass(frozen=True)
class NetCase(Case):
    """A float64 network with random parameters, and a batch."""

    net: Network
    X: np.ndarray
    y: np.ndarray

    @cached_property
    def theta(self):
        """Return [None, θ_1, …, θ_D] on the host."""
        return [None] + [to_numpy(theta) for theta in self.net.theta[1:]]

    def forward(self, theta=None):
        """Return the state of a training pass, with the same random numbers each time."""
        lent = None if theta is None else [None, *map(self.lend, theta[1:])]
        return self.net.propagate(self.lend(self.X), training=True, rng=np.random.default_rng(0), theta=lent)

    def loss(self, theta, y=None):
        """Return J(θ); complex where θ is and the loss can."""
        loss, z = self.net.loss_function, self.forward(theta).z[self.net.depth]
        y = self.lend(self.y if y is None else y)
        if np.iscomplexobj(np.empty(0, z.dtype)) and hasattr(loss, "value_per_sample"):
            return complex(loss.value_per_sample(z, y).sum() * loss.weight(len(z)))
        return loss.value(z, y)

    def with_block(self, l, theta_l):
        """Return the parameters with θ_l replaced."""
        return [*self.theta[:l], theta_l, *self.theta[l + 1 :]]

    @cached_property
    def tangents(self):
        """Return [None, t_1, …, t_D], the tangents along which each θ_l is probed."""
        rng = np.random.default_rng(1)
        return [None] + [Tangents(theta.shape, rng) for theta in self.theta[1:]]

    @cached_property
    def gradients(self):
        """Return [None, …]: the reference of ∂J/∂θ_l for each block, by differences or the complex step."""
        return [None] + [gradient(lambda t, l=l: self.loss(self.with_block(l, t)), self.theta[l],
                                  self.tangents[l]) for l in range(1, self.net.depth + 1)]

    @cached_property
    def norm_gradients(self):
        """Return the reference of the gradient in scale and shift of each batch norm."""
        return [gradient(lambda t, norm=norm: self.loss_with(norm, t), to_numpy(norm.scale_shift))
                for norm in self.net.norms]

    def loss_with(self, norm, scale_shift):
        """Return J with other scale and shift in one batch norm of the (own) network."""
        kept, norm.scale_shift = norm.scale_shift, self.lend(scale_shift)
        try:
            return self.loss(self.theta)
        finally:
            norm.scale_shift = kept

    @property
    def plain(self):
        """Whether all maps are `Linear` and all transfers elementwise, so that mistakes can be made."""
        return all(isinstance(phi, Linear) for phi in self.net.phi[1:]) and all(
            getattr(sigma, "elementwise", False) for sigma in self.net.sigma[1:]
        )

    @cached_property
    def design(self):
        """Return [None, Ã_0, …, Ã_{D−1}]: the design matrix of each map at its input in the forward pass."""
        a = self.forward().a
        return [None] + [design_matrix(self, self.net.phi[l], to_numpy(a[l - 1]))
                         for l in range(1, self.net.depth + 1)]

    @cached_property
    def slopes(self):
        """Return [None, σ'(z_1), …], by differences or the complex step."""
        z, net = self.forward().z, self.net
        return [None] + [directional(lambda x, l=l: self.call(net.sigma[l].forward, x), to_numpy(z[l]),
                                     np.ones(z[l].shape)).value for l in range(1, net.depth)]

    def backward(self, mistake=None, theta=None):
        """Return [None, …]: the gradients by the chain rule in dense algebra, with a mistake made on purpose.

        Mistakes: "no slope" (σ' forgotten), "slope at a" (σ' at a instead of z), "transfer" (σ for σ'), "slope
        twice". With other parameters `theta` the signal passes through these weights.
        """
        net, state = self.net, self.forward()
        theta = self.theta if theta is None else theta
        z, a = [None if x is None else to_numpy(x) for x in state.z], [to_numpy(x) for x in state.a]
        g = gradient(lambda x: self.value(x), z[net.depth]).value
        result = [None] * (net.depth + 1)
        for l in range(net.depth, 0, -1):
            result[l] = self.design[l].T @ g
            if l > 1:
                g = g @ theta[l][:-1].T
                g = g * self.mistaken_slope(mistake, l - 1, a[l - 1])
        return result

    def mistaken_slope(self, mistake, l, a):
        """Return what stands in for σ'(z_l) under a mistake."""
        if mistake == "no slope":
            return np.ones_like(self.slopes[l])
        if mistake == "slope at a":
            return directional(lambda x: self.call(self.net.sigma[l].forward, x), a, np.ones_like(a)).value
        return {"transfer": a, "slope twice": self.slopes[l] ** 2}.get(mistake, self.slopes[l])

    def value(self, z):
        """Return the loss as a function of z_D."""
        loss = self.net.loss_function
        if np.iscomplexobj(z):
            return complex(self.call(loss.value_per_sample, z, self.y).sum() * loss.weight(len(z)))
        return self.call(loss.value, z, self.y)

    @cached_property
    def mistakes(self):
        """Return a list by l of what usual mistakes in ∂J/∂θ_l give, by name."""
        if not self.plain:
            return [{}] * (self.net.depth + 1)
        made = {"σ' is forgotten in a layer above": self.backward("no slope"),
                "σ' is taken at a = σ(z), not at z": self.backward("slope at a"),
                "σ(z) stands where σ'(z) should": self.backward("transfer"),
                "σ' is applied twice": self.backward("slope twice")}
        new = [None] + [t - g for t, g in zip(self.theta[1:], self.backward()[1:])]
        made["the signal passes through new weights, not the old ones (step 1)"] = self.backward(theta=new)
        return [{name: values[l] for name, values in made.items()} for l in range(self.net.depth + 1)]

    @cached_property
    def stationary(self):
        """Return a small network and a batch at which ∇J = 0 but the signals g_l are not.

        ∇J is linear in g_D: the Jacobian of z_D in all parameters, transposed, times g_D. A squared error can
        have any residual, so it is given one that this operator maps to zero.
        """
        rng = np.random.default_rng(5)
        net = Network([Linear(2, 2), Tanh(), Linear(2, 2)], loss=SquaredError(), dtype=np.float64,
                      backend=self.net.backend)
        net.theta = [None] + [rng.standard_normal(t.shape) for t in net.theta[1:]]
        X = rng.standard_normal((9, 2))
        case = NetCase("a stationary point of J", self.xp, net, X, np.zeros((9, 2)))
        z = to_numpy(case.forward().z[2])
        jacobian = [directional(lambda t, l=l: to_numpy(case.forward(case.with_block(l, t)).z[2]),
                                case.theta[l], v).value for l in (1, 2) for v in case.tangents[l]]
        null = np.linalg.svd(np.reshape(jacobian, (-1, z.size)))[2][-2:]
        residual = (rng.standard_normal(2) @ null).reshape(z.shape)
        return NetCase(case.label, self.xp, net, X, z - residual)

    @cached_property
    def factors(self):
        """Return the sizes by which a gradient may be off."""
        return {"N, the batch size": len(self.X)} if len(self.X) > 1 else {}

    def project(self, l, array):
        """Return an array of θ_l's shape as inner products with the tangents."""
        return self.tangents[l].project(array)


def compare_blocks(case, got, references, mistakes=None, factors=None):
    """Return the worst finding over all maps of directions that should equal references.

    `mistakes` is a function that returns, by map, what usual mistakes give; by default those in a gradient.
    """
    made = []

    def variants(l):
        if not made:
            made.append(case.mistakes if mistakes is None else mistakes())
        return {name: case.project(l, value) for name, value in made[0][l].items()}

    return worst_block([(l, compare(case.project(l, got[l]), references[l], lambda l=l: variants(l), factors
                                    or case.factors)) for l in range(1, case.net.depth + 1)])


def no_mistakes(case):
    """Return a function for `compare_blocks` that offers no explanations."""
    return lambda: [{}] * (case.net.depth + 1)


def worst_block(findings):
    """Return the finding to report of several maps: the worst, with the reasons that fit all that fail."""
    failing = [(l, finding) for l, finding in findings if not finding.holds]
    if not failing:
        return max((finding for _, finding in findings), key=lambda finding: finding.number)
    shared = [reason for reason in failing[0][1].reasons
              if all(reason in finding.reasons for _, finding in failing)]
    l, worst = max(failing, key=lambda item: np.nan_to_num(item[1].number, nan=np.inf))
    if shared:
        return worst._replace(reasons=tuple(shared))
    # a mistake often shows in one block alone; say where
    reasons = [reason for _, finding in failing for reason in finding.reasons]
    return worst._replace(reasons=tuple(dict.fromkeys(reasons)) or (f"the step of map {l} is wrong",))


# ---- random networks


def double_net(net):
    """Return a network with the same layers in float64, and parameters of its own."""
    double = copy.copy(net)  # a subclass stays one
    plain = Network(net.layers, loss=net.loss_function, dtype=np.float64, backend=net.backend,
                    input_shape=net.shapes[0])
    vars(double).update(vars(plain))
    double.load_state_dict(net.state_dict())
    return double


def network_cases(net, seed, X=None, y=None, backend=None):
    """Return cases of one network: its own parameters, random ones, and a batch of one with a dead unit."""
    rng = np.random.default_rng(seed)
    if X is not None:
        return [given_case(net, X, y, rng)]
    least = 2 if net.norms else 1  # a batch norm cannot train on one sample
    plan = (("its own parameters, N = 5", 5, "own"), (f"random parameters, N = {least}", least, "random"),
            ("random parameters and a dead unit, N = 4", 4, "dead"))
    return [net_case(net, rng, *item) for item in plan]


def given_case(net, X, y, rng):
    """Return the case of the user's own batch."""
    double = double_net(net)
    layout, double.input_layout = double.input_layout, net.input_layout
    y = draw_targets(net.loss_function, rng, len(X), net.shapes[-1][0]) if y is None else y
    X, y = (to_numpy(array) for array in double.checked_batch(X, y))
    double.input_layout = layout  # from here on X is as the first map takes it
    return NetCase(f"the given batch, N = {len(X)}", double.xp, double, X, y)


def net_case(net, rng, label, n, parameters):
    """Return one case of a network; points too near a kink of a transfer are drawn again."""
    net = double_net(net)
    y = draw_targets(net.loss_function, rng, n, net.shapes[-1][0])
    own = [None] + [to_numpy(theta) for theta in net.theta[1:]]
    for _ in range(100):
        theta = own if parameters == "own" else random_theta(net, rng, dead=parameters == "dead")
        net.theta = theta
        X = rng.standard_normal((n, *net.shapes[0]))
        case = NetCase(label, net.xp, net, X, y)
        if away_from_kinks(case, rng):
            return case
    return case


def random_theta(net, rng, dead):
    """Draw all parameters, biases too; `dead` leaves the first unit of each hidden map without a chance."""
    theta = [None] + [rng.standard_normal(t.shape) / np.sqrt(len(t)) for t in net.theta[1:]]
    for l in range(1, net.depth):
        if dead and theta[l].shape[1] > 1:
            theta[l][-1, 0] = -30.0
    return theta


def away_from_kinks(case, rng):
    """Whether no transfer has a kink near the forward pass."""
    state, net = case.forward(), case.net
    return all(smooth_at(lambda z, l=l: to_numpy(net.sigma[l].apply(case.lend(z),
                                                                    rng=np.random.default_rng(0))[0]),
                         to_numpy(state.z[l]), rng) for l in range(1, net.depth))


def random_networks(seed, backend):
    """Return small networks with a batch each: one unit, a batch of one, dead units, wide, tall."""
    rng, cases = np.random.default_rng(seed), []
    plan = [("tanh 3-4-2", [3, 4, 2], Tanh(), SquaredError(), 5, "random"),
            ("relu 2-5-3-3, dead units", [2, 5, 3, 3], ReLU(), SoftmaxCrossEntropy(), 7, "dead"),
            ("sigmoid 4-1-3, summed loss", [4, 1, 3], Sigmoid(), SigmoidCrossEntropy("sum"), 3, "random"),
            ("tanh 9-6-2, wide", [9, 6, 2], Tanh(), SoftmaxCrossEntropy(), 2, "random"),
            ("relu 3-3-1, batch of one", [3, 3, 1], ReLU(), SquaredError(), 1, "random"),
            ("one map 2-2, tall", [2, 2], None, SquaredError("sum"), 8, "random")]
    for label, widths, sigma, loss, n, parameters in plan:
        layers = [Linear(widths[0], widths[1])]
        for l in range(1, len(widths) - 1):
            layers += [sigma, Linear(widths[l], widths[l + 1])]
        net = Network(layers, loss=loss, seed=seed % 2**32, dtype=np.float64, backend=backend)
        cases.append(net_case(net, rng, f"{label}, N = {n}", n, parameters))
    return cases


# ---- claims about a network


def directions_of(method, case):
    """Return the loss and [None, d_1, …, d_D] on the host, from a copy of the method without memory."""
    method = copy.deepcopy(method)
    method.reset()
    loss, steps = run_method(method, case)
    return loss, [None] + [to_numpy(step) for step in steps[: case.net.depth]]


def run_method(method, case):
    """Return the loss and what method.directions returns, on arrays that cannot be written to."""
    net = guarded(case)
    state = net.propagate(case.lend(case.X), training=True, rng=np.random.default_rng(0))
    y = case.lend(case.y)
    return net.loss_function.value(state.z[net.depth], y), method.directions(net, state, y)


def guarded(case):
    """Return the case's network with parameters that, on NumPy, cannot be written to."""
    net = copy.copy(case.net)
    net._theta = [None, *map(case.lend, case.theta[1:])]
    return net


@claim("network", "backpropagated gradients of every block", "∇_θl J = ãᵀ g_l", "BackProp, ProxProp (8)–(10)")
def network_gradient(net, case):
    _, got = directions_of(BackProp(), case)
    return compare_blocks(case, got, case.gradients)


@claim("network", "gradients in scale and shift of each batch norm", "∇_{s,t} J", "BackProp")
def norm_gradient(net, case):
    if not case.net.norms:
        raise NotClaimed("there is no batch norm")
    steps = run_method(BackProp(), case)[1][case.net.depth :]
    findings = [compare(to_numpy(step), reference, factors=case.factors) for step,
                reference in zip(steps, case.norm_gradients, strict=True)]
    return worst_block(list(enumerate(findings)))


@claim("network", "shapes of the forward pass", "z_l = φ(θ_l, a_{l−1}), a_l = σ_l(z_l)", "ProxProp, φ and σ")
def forward_shapes(net, case):
    state, net = case.forward(), case.net
    got = [x.shape[1:] for l in range(net.depth) for x in (state.a[l], state.z[l + 1])]
    wrong = [f"{g} for {w}" for g, w in zip(got, net.shapes) if tuple(g) != tuple(w)]
    return Finding(
        float(len(wrong)),
        0.0,
        "shapes are whole numbers",
        () if not wrong else (f"output_shape disagrees with forward: {', '.join(wrong)}",),
    )


@claim("network", "the gradient of a batch is that of its samples, added up", "∇J = Σ_i weight · ∇ℓ_i",
       "convention")
def gradient_is_additive(net, case):
    if len(case.X) == 1:
        raise NotClaimed("a batch of one")
    if not all(getattr(s, "elementwise", False) for s in case.net.sigma[1:]):
        raise NotClaimed("a transfer may couple the samples (batch norm)")
    _, got = directions_of(BackProp(), case)
    loss, singles = case.net.loss_function, [np.zeros_like(t) for t in case.theta[1:]]
    for i in range(len(case.X)):
        one = NetCase("", case.xp, case.net, case.X[i : i + 1], case.y[i : i + 1])
        share = loss.weight(len(case.X)) / loss.weight(1)
        singles = [s + share * d for s, d in zip(singles, directions_of(BackProp(), one)[1][1:])]
    return compare_blocks(case, got, [None] + [dense(case.project(l + 1, s)) for l, s in enumerate(singles)])


@claim("network", "on a forward pass the penalty energy is the loss", "E(θ, a, z) = J(θ)", "ProxProp (3)")
def energy_is_loss(net, case):
    same_in_training(case)
    energy = PenaltyEnergy(case.net, case.lend(case.y), gamma=3.0, rho=0.7)
    state = case.net.propagate(case.lend(case.X))
    return compare(np.asarray([energy.value(state.theta, state.a, state.z)]),
                   dense(np.asarray([case.loss(case.theta)])))


def same_in_training(case):
    """Skip networks with layers that tell training from evaluation, in which the energy is taken."""
    evaluated = case.net.propagate(case.lend(case.X)).z[case.net.depth]
    if np.any(to_numpy(evaluated) != to_numpy(case.forward().z[case.net.depth])):
        raise NotClaimed("a transfer differs between training and evaluation")


@claim("network", "off the forward pass the penalties count as printed",
       "E = L + Σ γ/2 ‖σ(z) − a‖² + ρ/2 ‖φ − z‖²", "ProxProp (3)")
def energy_off_forward(net, case):
    _, theta, a, z, gamma, rho = infeasible(case)
    net, D = case.net, case.net.depth
    expected = case.value(case.call(net.phi[D].forward, theta[D], a[D - 1]))
    for l in range(1, D):
        sigma_z = case.call(lambda x, l=l: net.sigma[l].apply(x)[0], z[l])
        expected += gamma / 2 * ((sigma_z - a[l]) ** 2).sum()
        expected += rho / 2 * ((case.call(net.phi[l].forward, theta[l], a[l - 1]) - z[l]) ** 2).sum()
    got = energy_value(case, gamma, rho, theta, a, z)
    return compare(np.asarray([got]), dense(np.asarray([expected])))


def infeasible(case):
    """Return random activations and pre-activations around the forward pass, and the energy's weights."""
    if case.net.depth == 1:
        raise NotClaimed("a network of one map has no penalties")
    rng, state = np.random.default_rng(3), case.net.propagate(case.lend(case.X))
    z = [None] + [to_numpy(x) for x in state.z[1:]]
    a = [to_numpy(x) for x in state.a]
    for l in range(1, case.net.depth):
        z[l] = next((w for w in (z[l] + 0.3 * rng.standard_normal(z[l].shape) for _ in range(100))
                     if smooth_at(lambda x, l=l: to_numpy(case.net.sigma[l].apply(case.lend(x))[0]), w, rng)),
                    z[l])
        a[l] = a[l] + 0.3 * rng.standard_normal(a[l].shape)
    return state, case.theta, a, z, 3.0, 0.7


def energy_value(case, gamma, rho, theta, a, z):
    """Return E of the package at host arrays."""

    def lent(values):
        return [None if value is None else case.lend(value) for value in values]

    return PenaltyEnergy(case.net, case.lend(case.y), gamma, rho).value(lent(theta), lent(a), lent(z))


@claim("network", "partial gradients of the penalty energy, in every block", "∂E/∂θ_l, ∂E/∂a_l, ∂E/∂z_l",
       "ProxProp (8)–(11)")
def energy_gradients(net, case):
    _, theta, a, z, gamma, rho = infeasible(case)
    energy, D = PenaltyEnergy(case.net, case.lend(case.y), gamma, rho), case.net.depth
    blocks = {"theta": (theta, energy.gradient_theta, range(1, D + 1)),
              "a": (a, energy.gradient_a, range(1, D)), "z": (z, energy.gradient_z, range(1, D))}
    findings = []
    for name, (values, partial, layers) in blocks.items():
        for l in layers:
            lists = {"theta": theta, "a": a, "z": z}

            def value(x, name=name, l=l, lists=lists, values=values):
                lists = {**lists, name: [*values[:l], x, *values[l + 1 :]]}
                return energy_value(case, gamma, rho, **lists)

            tangents = Tangents(values[l].shape, np.random.default_rng(1), limit=40, count=6)
            lent = [[None if v is None else case.lend(v) for v in lists[k]] for k in ("theta", "a", "z")]
            got = tangents.project(to_numpy(partial(l, *lent)))
            findings.append((l, compare(got, gradient(value, values[l], tangents))))
    return worst_block(findings)


@claim("network", "one sweep of block-wise descent on E is one gradient step on J",
       "Algorithm 1: θ^{k+1} = θ^k − τ ∇J", "ProxProp Prop. 1")
def proposition_1(net, case):
    same_in_training(case)
    tau = 0.37
    theta = algorithm_1(case.net, case.lend(case.X), case.lend(case.y), tau).theta
    got = [None] + [(case.theta[l] - to_numpy(theta[l])) / tau for l in range(1, case.net.depth + 1)]
    references = [None] + [Reference(r.candidates, max(r.tolerance, 1e-8), r.why, r.floor)
                           for r in case.gradients[1:]]
    return compare_blocks(case, got, references)


def exact_gradients(case):
    """Whether all gradients of a case come from the complex step."""
    return all(reference.why == EXACT for reference in case.gradients[1:])


def gradient_arrays(case):
    """Return [None, ∇_θ1 J, …] as arrays; only where every block is probed entry by entry."""
    if not all(tangents.full for tangents in case.tangents[1:]):
        raise NotClaimed("the network is too large for a dense reference")
    return [None] + [reference.value for reference in case.gradients[1:]]


def propagated_tolerance(case):
    """Return tolerance and reason of what is computed in dense algebra from the gradients."""
    return ((1e-8, f"{EXACT}, and so does dense algebra") if exact_gradients(case)
            else (1e-5, f"{DIFFERENCES}; then dense algebra"))

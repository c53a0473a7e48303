"""Wrong and right answers to the exercises of the course, each a change of the model answer.

A line is (what stands in the model answer, what stands there instead[, what the check must say]).
"""

SETUP: dict[str, str] = {}  # by exercise: what its check takes from the notebook

WRONG: dict[str, list[tuple[str, str, str]]] = {
    "4.1": [
        ("gamma / 2", "rho / 2", ""),
        ("(2 * len(Y))", "len(Y)", "½ of the loss"),
        ("gamma / 2", "gamma", ""),
        ("/ (2 * len(Y))", "/ 2", "mean over the samples"),
        ("(2 * len(Y))", "(2 * Y.size)", "number of rows"),
        ("np.tanh(z[l])", "z[l]", "σ is missing"),
        ("range(1, D)", "range(1, D - 1)", "excludes its end"),
        ("range(1, D)", "range(2, D)", "starts at l = 2"),
        ("range(1, D)", "range(1, D + 1)", ""),
        ("phi(theta[D], a[D - 1]) - Y", "z[D] - Y", "not the list's z_D"),
        ("phi(theta[l], a[l - 1])", "a[l - 1] @ theta[l][:-1]", ""),
        ("        energy += rho", "        energy = rho", ""),
        ("    return energy", "    energy", "returns None"),
        ("np.sum((np.tanh(z[l]) - a[l]) ** 2)", "np.sum(np.tanh(z[l]) - a[l]) ** 2", ""),
        ("np.sum((np.tanh(z[l]) - a[l]) ** 2)", "np.linalg.norm(np.tanh(z[l]) - a[l])", ""),
    ],
    "4.2": [
        ("- gamma * gap", "+ gamma * gap", "a_l stands with a minus sign"),
        (" - gamma * gap", "", "its own gap"),
        ("np.tanh(z[l]) ** 2", "np.tanh(z[l])", "not 1 − tanh"),
        ("(1 - np.tanh(z[l]) ** 2) * ", "", "σ' is missing"),
        ("(1 - np.tanh(z[l]) ** 2)", "(1 - z[l] ** 2)", "1 − z²"),
        ("- rho * (phi", "+ rho * (phi", "minus sign"),
        (" - rho * (phi(theta[l], a[l - 1]) - z[l])", "", "two terms"),
        ("@ theta[l + 1][:-1].T", "@ theta[l + 1][:-1]", ""),
        ("@ theta[l + 1][:-1].T", "@ theta[l + 1].T", ""),
        ("gamma * (1", "rho * (1", ""),
        ("- rho * (phi", "- gamma * (phi", ""),
        ("return gradient_a, gradient_z", "return gradient_z, gradient_a", ""),
        ("return gradient_a, gradient_z", "return -gradient_a, -gradient_z", "minus the gradients"),
        ("gap = np.tanh(z[l]) - a[l]", "gap = a[l] - np.tanh(z[l])", ""),
    ],
    "4.3": [
        ("replaced(a, l, a_half)", "a", "z_l does not move"),
        ("gradient_theta(l, theta, a, moved)", "gradient_theta(l, theta, a, z)", "hidden maps do not move"),
        ("gradient_a(l - 1, theta, a, moved)", "gradient_a(l - 1, theta, a, z)", "(10) takes its gradient"),
        ("gradient_theta(l, theta, a, moved)", "gradient_theta(l, theta, replaced(a, l - 1, a_half) if l > 1 else a, moved)",
         "half-stepped"),
        ("range(D - 1, 0, -1)", "range(1, D)", ""),
        ("range(D - 1, 0, -1)", "range(D - 1, 1, -1)", "θ_1 does not move"),
        ("new[D] = theta[D] - tau", "new[D] = theta[D] + tau", ""),
        ("new[l] = theta[l] - tau * ", "new[l] = theta[l] - ", "τ is missing in (4.7)"),
        ("z_half = z[l] - tau * ", "z_half = z[l] - ", "τ is missing in (9)"),
        ("return new[1:]", "return new", ""),
        ("    return new[1:]", "        return new[1:]", ""),
        ("    return new[1:]", "    new[1:]", "returns None"),
        ("    return new[1:]", "    return [t - tau * d for t, d in zip(theta[1:], ml.BackProp().direction("
                               "energy.net, a[0], energy.y)[1])]", "without a sweep"),
        ("new[D] = theta[D] - tau * energy.gradient_theta(D, theta, a, z)", "pass", "θ_D does not move"),
    ],
    "4.4": [
        ("    return tau * a_tilde.T @ g - tau * a_half_tilde.T @ (g - g @ W.T @ W)",
         "    return tau * a_half_tilde.T @ (g - g @ W.T @ W) - tau * a_tilde.T @ g", "sign"),
        ("tau * a_half_tilde.T @ (g", "tau * a_tilde.T @ (g", "first order"),
        ("(g - g @ W.T @ W)", "g", "φ is taken at the half step"),
        ("(g - g @ W.T @ W)", "(g + g @ W.T @ W)", ""),
        ("np.hstack([a - tau * g @ W.T, np.ones((len(a), 1))])",
         "np.hstack([a, np.ones((len(a), 1))]) - tau * g @ np.vstack([W, np.ones((1, W.shape[1]))]).T", ""),
        ("a - tau * g @ W.T", "a + tau * g @ W.T", ""),
        ("g @ W.T @ W)", "g @ W @ W.T)", ""),
        ("    return tau * a_tilde.T @ g - tau * a_half", "    return a_tilde.T @ g - a_half", "factor τ"),
        ("    return tau * a_tilde.T @ g - tau * a_half_tilde.T @ (g - g @ W.T @ W)",
         "    return (tau * a_tilde.T @ g - tau * a_half_tilde.T @ (g - g @ W.T @ W))[:-1]", "bias row"),
        ("np.ones((len(a), 1))", "np.zeros((len(a), 1))", "bias row"),
        ("    return tau", "    tau", "returns None"),
        ("    return tau * a_tilde.T @ g - tau * a_half", "    return tau**2 * a_tilde.T @ g - tau**2 * a_half", ""),
    ],
    "4.5": [
        ("c = tau / len(Y)", "c = tau", "averaged over the batch"),
        ("c = tau / len(Y)", "c = tau / Y.size", ""),
        ("c = tau / len(Y)", "c = 1 / (tau * len(Y))", "τ divides"),
        ("c = tau / len(Y)", "c = 2 * tau / len(Y)", "factor 2"),
        ("(Y - b)", "Y", "bias"),
        ("(Y - b)", "(Y + b)", "sign of the bias"),
        ("(a + c * ", "(a - c * ", "sign"),
        ("W @ W.T,", "W.T @ W,", ""),
        ("(a + c * (Y - b) @ W.T).T", "(c * (Y - b) @ W.T).T", ""),
        ("np.eye(len(W)) + ", "", ""),
        ("    return np.linalg.solve(np.eye(len(W)) + c * W @ W.T, (a + c * (Y - b) @ W.T).T).T",
         "    return a - c * (a @ W + b - Y) @ W.T", "explicit step"),
        ("(a + c * (Y - b) @ W.T).T).T", "(a + c * (Y - b) @ W.T).T)", "transposed"),
        ("    return np", "    np", "returns None"),
    ],
}

RIGHT: dict[str, list[tuple[str, str]]] = {
    "4.1": [
        ("    return energy", "    return np.array(energy)"),
        ("gamma / 2 * np.sum((np.tanh(z[l]) - a[l]) ** 2)", "gamma * np.linalg.norm(a[l] - np.tanh(z[l])) ** 2 / 2"),
    ],
    "4.2": [
        ("return gradient_a, gradient_z", "return [gradient_a, gradient_z]"),
        ("(1 - np.tanh(z[l]) ** 2)", "np.cosh(z[l]) ** -2"),
    ],
    "4.3": [
        ("return new[1:]", "return tuple(new[1:])"),
        ("replaced(a, l, a_half)", "[*a[:l], a_half, *a[l + 1:]]"),
    ],
    "4.4": [
        ("    return tau * a_tilde.T @ g - tau * a_half_tilde.T @ (g - g @ W.T @ W)",
         "    up = np.hstack([g @ W.T, 0 * g[:, :1]])\n"
         "    return tau * a_tilde.T @ g @ W.T @ W + tau**2 * up.T @ (g - g @ W.T @ W)"),
    ],
    "4.5": [
        ("    return np.linalg.solve(np.eye(len(W)) + c * W @ W.T, (a + c * (Y - b) @ W.T).T).T",
         "    return (a + c * (Y - b) @ W.T) @ np.linalg.inv(np.eye(len(W)) + c * W @ W.T)"),
    ],
}

"""A program that a user might write, with what the package exports; mypy checks it strictly (see setup.cfg).

It is never run. Each line that says `ignore` is a mistake that the annotations must find: mypy complains of an `ignore`
that is not needed.
"""

from pathlib import Path
from typing import Any

import numpy as np

import minilift as ml
from minilift import Check, History, Network, ProxProp, Report, fit, verify


class Half(ml.Method):
    """A method of the user's."""

    def __init__(self, scale: float = 0.5) -> None:
        self.scale = scale

    def propose(self, block: ml.Block) -> Any:
        """Return half the gradient."""
        return self.scale * block.phi.adjoint_theta(block.a, block.g)


def networks() -> list[Network]:
    """Return one of each kind."""
    block = [ml.Named("x"), ml.Linear(32, 32), ml.BatchNorm(32), ml.ReLU(), ml.Dropout(0.1), ml.Add("x"), ml.Tanh()]
    images = [ml.Conv2d(1, 4, 3), ml.LeakyReLU(0.1), ml.MaxPool2d(2), ml.AvgPool2d(2), ml.Flatten(), ml.Linear(16, 10)]
    return [ml.mlp([64, 32, 10], activation="relu"), ml.convnet((8, 8, 1), (4,)), ml.resnet([64, 32, 32, 32, 10]),
            ml.rnn(8, 16, 10, 8), ml.Network([ml.Linear(64, 32), *block, ml.Linear(32, 10)], ml.SoftmaxCrossEntropy()),
            ml.Network(images, loss=ml.SquaredError("sum"), input_shape=(8, 8, 1), dtype=np.float64)]


def training(folder: Path) -> float:
    """Train in all the ways there are."""
    data = ml.datasets.digits()
    net = ml.mlp([64, 32, 10])
    history: History = fit(net, data, ProxProp(tau_theta=1.0, solver="cg3"), ml.SGD(lr=3), epochs=2, validation=0.2,
                           early_stop=ml.EarlyStop(patience=3, restore_best=True), checkpoint=folder / "run.npz")
    fit(net, (data.X_train, data.y_train), "proxprop:tau_theta=0.05", "adam", callbacks=[print], progress=False)
    fit(net, data, lambda block: block.gradient, ml.Nesterov(ml.Cosine(0.1, epochs=10), momentum=0.95))
    for method in (ml.BackProp(), ml.LocoProp("M", gamma=10), ml.SemiImplicit(eta=1.0), Half()):
        loss, directions = method.direction(net, data.X_train, data.y_train)
        ml.RMSProp().step(net.parameters, directions)
    net.save(folder / "net.npz")
    labels: np.ndarray[Any, Any] = ml.load(folder / "net.npz").predict(data.X_test)
    history.to_csv(folder / "history.csv")
    history.plot("history.png")
    loss, accuracy = ml.evaluate(net, data.X_test, data.y_test)
    return loss + (accuracy or 0.0) + net.accuracy(data.X_test, labels) + float(history["train_loss"][-1])


def checking() -> list[Check]:
    """Check a method."""
    report: Report = verify(Half(), like=ml.BackProp())
    report.raise_for_failures()
    return report.failures


def estimating(X: Any, y: Any) -> Any:
    """Use scikit-learn's way."""
    model = ml.ImplicitMLPClassifier((32,), method="proxprop", max_iter=3, random_state=0)
    return model.fit(X, y).predict_proba(X)


def drawing(net: Network, history: History, X: Any, y: Any) -> Any:
    """Draw, and use layers and losses by themselves."""
    ml.plots.save(ml.plots.history(history), "history.png")
    ml.plots.comparison({"proxprop": [history]}, level=0.1).savefig("comparison.png")
    ml.plots.graph(net).savefig("net.png")
    z = ml.Linear(3, 2).forward(np.zeros((4, 2)), np.zeros((1, 3)))
    return ml.SoftmaxCrossEntropy().gradient(ml.ReLU().forward(z), y)


def mistakes(net: Network) -> None:
    """Make mistakes that the annotations find."""
    fit(net, net, "proxprop", "adam")  # type: ignore[arg-type]
    fit(net, ml.datasets.digits(), "proxprop", 0.1)  # type: ignore[arg-type]
    fit(net, ml.datasets.digits(), "proxprop", "adam", max_iter=3)  # type: ignore[call-arg]
    ml.SGD(learning_rate=0.1)  # type: ignore[call-arg]
    net.summary()  # type: ignore[attr-defined]
    ml.Dense(3, 4)  # type: ignore[attr-defined]

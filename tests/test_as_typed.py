"""Python as users type it: names in the place of objects, completion, notebooks, and what a wrong guess is told.

`GUESSES` are calls that a user of scikit-learn, Keras or PyTorch tries first. Each works, or its error names the right
spelling.
"""

import inspect
import pickle
import re
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import minilift as ml
from minilift.datasets import SETS
from minilift.lab import contenders
from minilift.support.spellings import ATTRIBUTES, ELSEWHERE, INSTEAD, NAMES, OTHERWISE, TAKEN
from minilift.training import names

rng = np.random.default_rng(0)
X, y = rng.standard_normal((12, 3)), rng.integers(0, 2, 12)


def network():
    return ml.mlp([3, 4, 2])


def trained(method, optimizer, **more):
    net = network()
    return net, ml.fit(net, (X, y), method, optimizer, epochs=2, batch_size=4, progress=False, **more)


# ---- methods and optimizers by name


@pytest.mark.parametrize(("text", "method"), [
    ("backprop", ml.BackProp()), ("proxprop", ml.ProxProp()), ("cg3", ml.ProxProp(solver="cg3")),
    ("proxprop:tau_theta=0.05", ml.ProxProp(0.05)), ("proxprop:tau_theta=0.5,last=implicit",
                                                     ml.ProxProp(0.5, last="implicit")),
    ("locoprop-m:gamma=2", ml.LocoProp("M", gamma=2, steps=10, local_optimizer="sgd", local_lr=5e-4)),
    ("semi-implicit", ml.SemiImplicit())])
def test_a_method_by_name_is_the_method(text, method):
    assert names.named_method("method", text) == method
    (by_name, _), (itself, _) = trained(text, "sgd:lr=0.1"), trained(method, ml.SGD(0.1))
    assert by_name == itself


def test_optimizers_by_name():
    for text, optimizer in (("adam", ml.Adam()), ("nesterov:lr=0.1,momentum=0.95", ml.Nesterov(0.1, 0.95)),
                            ("rmsprop:lr=0.01", ml.RMSProp(0.01))):
        assert trained("backprop", text)[0] == trained("backprop", optimizer)[0]
    assert ml.Adam().lr == ml.RMSProp().lr == 0.001


def test_the_names_are_those_of_the_command_line():
    assert set(contenders.METHODS) == set(names.METHODS)
    for name, (factory, options) in names.METHODS.items():
        assert contenders.METHODS[name][1:3] == (factory, options)
        assert isinstance(names.named_method("method", name), ml.Method)
    assert {type(optimizer) for optimizer in (make(0.1) for make, _ in names.OPTIMIZERS.values())} <= {
        ml.SGD, ml.HeavyBall, ml.Nesterov, ml.Adam, ml.RMSProp, ml.Muon}


def test_positions_and_names_are_one_call():
    net, history = trained(ml.ProxProp(), ml.SGD(lr=3))
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert trained("proxprop", "sgd:lr=3")[0] == net


# ---- completion


def test_everything_public_is_in_dir_and_can_be_had():
    assert {"verify", "Report", "Check", "plots", "fit"} <= set(dir(ml))
    assert len(set(ml.__all__)) == len(ml.__all__)
    for name in ml.__all__:
        assert getattr(ml, name) is not None
    public = {name for name in vars(ml) if not name.startswith("_")}
    classes = {name for name in public if getattr(getattr(ml, name), "__module__", "").startswith("minilift.")}
    ours = classes - {"unknown_export", "guide_in", "guided"}
    assert ours <= set(ml.__all__), "a name of the package is missing in __all__"
    assert not {"LATER", "TYPE_CHECKING", "guide_in", "import_module"} & set(dir(ml))


def test_what_is_loaded_later_is_not_loaded_before():
    code = "import sys, minilift; dir(minilift); print([m for m in sys.modules if m in ('minilift.checks', 'sklearn')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_scikit_learn_all_else_is_there_and_the_estimators_say_what_to_install():
    code = """
        import sys
        sys.modules["sklearn"] = None
        import inspect
        import minilift as ml
        from minilift import *
        assert hasattr(ml, "ImplicitMLPClassifier") and dict(inspect.getmembers(ml))["fit"] is fit
        try:
            ImplicitMLPRegressor((32,), max_iter=3)
        except ImportError as error:
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ImplicitMLPRegressor needs scikit-learn (")
    assert "pip install" in result.stdout
    assert "[sklearn]" in result.stdout


# ---- types: tests/typed_user.py is checked strictly by mypy, in the slow tier


def face():
    """Return {name: function} of all functions and constructors that the package exports."""
    things = {name: getattr(ml, name) for name in ml.__all__} | {f"datasets.{f.__name__}": f for f in SETS.values()}
    functions = {name: thing for name, thing in things.items() if inspect.isfunction(thing)}
    own = {name: thing.__init__ for name, thing in things.items() if inspect.isclass(thing)
           and inspect.isfunction(thing.__init__) and not issubclass(thing, tuple)}
    used = {ml.Network: "forward loss accuracy predict predict_proba save state_dict load_state_dict",
            ml.Method: "propose direction reset state_dict", ml.optim.Optimizer: "step reset state_dict",
            ml.History: "append to_csv to_json from_json plot __getitem__", ml.Report: "to_json raise_for_failures"}
    methods = {f"{cls.__name__}.{name}": getattr(cls, name) for cls, names in used.items() for name in names.split()}
    return functions | own | methods


def test_the_public_face_is_annotated():
    assert (Path(ml.__file__).parent / "py.typed").is_file()
    functions = face()
    assert len(functions) > 70
    for name, function in functions.items():
        signature = inspect.signature(inspect.unwrap(function))
        bare = [argument for argument, one in signature.parameters.items()
                if argument != "self" and one.annotation is one.empty]
        assert not bare, f"{name}: {bare}"
        assert signature.return_annotation is not signature.empty or function.__name__ == "__init__", name


# ---- notebooks


def test_a_network_and_a_history_are_tables_in_a_notebook():
    net, history = trained("backprop", "adam")
    page = net._repr_html_()
    assert page.count("<tr>") == 4  # the head, two maps and a transfer
    assert "<code>Linear(3, 4)</code>" in page
    assert "26 parameters" in page
    page = history._repr_html_()
    assert page.count("<tr>") == 4  # the head and three rows
    assert "train accuracy" in page
    assert "completed" in page


def test_tables_escape_what_is_no_text_of_theirs():
    history = ml.History("<b>")
    for epoch in range(20):
        history.append({"epoch": epoch, "seconds": 0.0, "train_loss": 1.0})
    page = history._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert page.count("<tr>") == 14  # head, six, the dots, six


# ---- guesses


def fit(*arguments, **named):
    given = {"epochs": 1, "progress": False, **named}
    return ml.fit(network(), (X, y), *(arguments or ("backprop", "adam")), **given)


def estimator(**options):
    pytest.importorskip("sklearn")
    return ml.ImplicitMLPClassifier(**options)


def fitted(**options):
    pytest.importorskip("sklearn")
    return ml.ImplicitMLPClassifier((4,), max_iter=1, **options).fit(X, y)


def data():
    return ml.datasets.digits()


GUESSES = {  # what is typed: what the error must name, or "" where it works
    "ml.fit(net, data, ml.ProxProp(), ml.SGD(lr=3))": (lambda: fit(ml.ProxProp(), ml.SGD(lr=3)), ""),
    'ml.fit(…, "proxprop", "adam")': (lambda: fit("proxprop", "adam"), ""),
    'ml.fit(…, optimizer="Adam")': (lambda: fit("proxprop", "Adam"), "'adam'"),
    'ml.fit(…, optimizer="sgd")': (lambda: fit("proxprop", "sgd"), "'sgd:lr=0.1'"),
    "ml.fit(…, optimizer=ml.Adam)": (lambda: fit("proxprop", ml.Adam), "such as SGD(lr=0.1)"),
    'ml.fit(…, method="ProxProp")': (lambda: fit("ProxProp", "adam"), "'proxprop'"),
    'ml.fit(…, method="sibp")': (lambda: fit("sibp", "adam"), "semi-implicit"),
    'ml.fit(…, method="proxprop:tau=1")': (lambda: fit("proxprop:tau=1", "adam"), "'tau_theta'"),
    "ml.fit(…, method=ml.ProxProp)": (lambda: fit(ml.ProxProp, "adam"), "ProxProp("),
    "ml.fit(net, X, y, …)": (lambda: ml.fit(network(), X, y, ml.SGD(1.0)), "pair (X, y)"),
    "ml.fit(…, n_epochs=3)": (lambda: fit(n_epochs=3), "'epochs'"),
    "ml.fit(…, max_iter=3)": (lambda: fit(max_iter=3), "'epochs'"),
    "ml.fit(…, verbose=0)": (lambda: fit(verbose=0), "'progress'"),
    "ml.fit(…, progress=0)": (lambda: fit(progress=0), "True, False"),
    "ml.fit(…, random_state=0)": (lambda: fit(random_state=0), "'seed'"),
    "ml.fit(…, validation_data=(X, y))": (lambda: fit(validation_data=(X, y)), "'validation'"),
    "ml.fit(…, validation_split=0.2)": (lambda: fit(validation_split=0.2), "'validation'"),
    "ml.fit(…, early_stopping=True)": (lambda: fit(early_stopping=True), "'early_stop'"),
    "ml.fit(…, early_stop=True)": (lambda: fit(early_stop=True), "EarlyStop"),
    "ml.fit(…, learning_rate=0.1)": (lambda: fit(learning_rate=0.1), "SGD(lr=0.1)"),
    "ml.fit(net, x=X, y=y, …)": (lambda: ml.fit(network(), x=X, y=y), "(X, y)"),
    "net.fit(X, y)": (lambda: network().fit(X, y), "minilift.fit(net, (X, y), method, optimizer)"),
    'net.compile("adam")': (lambda: network().compile("adam"), "minilift.fit(net"),
    "net.summary()": (lambda: network().summary(), "print(net)"),
    "net.score(X, y)": (lambda: network().score(X, y), "net.accuracy(X, y)"),
    "net.evaluate(X, y)": (lambda: network().evaluate(X, y), "minilift.evaluate(net, X, y)"),
    "net.weights": (lambda: network().weights, "net.parameters"),
    "net.coefs_": (lambda: network().coefs_, "net.theta"),
    "net.predict(X)": (lambda: network().predict(X), ""),
    "net.predict_proba(X)": (lambda: network().predict_proba(X), ""),
    'history.history["loss"]': (lambda: fit().history["loss"], 'history["train_loss"]'),
    'history["loss"]': (lambda: fit()["loss"], "'train_loss'"),
    'history["val_acc"]': (lambda: fit(validation=(X, y))["val_acc"], "'val_accuracy'"),
    "ml.SGD(learning_rate=0.1)": (lambda: ml.SGD(learning_rate=0.1), "'lr'"),
    "ml.SGD()": (lambda: ml.SGD(), "'lr'"),
    "ml.SGD(0.1, momentum=0.9)": (lambda: ml.SGD(0.1, momentum=0.9), "HeavyBall"),
    "ml.Adam(lr=1e-3, betas=(0.9, 0.999))": (lambda: ml.Adam(lr=1e-3, betas=(0.9, 0.999)), "'beta1'"),
    "ml.Momentum(0.1)": (lambda: ml.Momentum(0.1), "minilift.HeavyBall"),
    "ml.ProxProp(tau=1)": (lambda: ml.ProxProp(tau=1), "'tau_theta'"),
    "ml.mlp(hidden_layer_sizes=(4,))": (lambda: ml.mlp(hidden_layer_sizes=(4,)), "'widths'"),
    "ml.mlp([3, 4, 2], 'ReLU')": (lambda: ml.mlp([3, 4, 2], "ReLU"), "'relu'"),
    "ml.mlp([3, 4, 2], 'logistic')": (lambda: ml.mlp([3, 4, 2], "logistic"), "sigmoid"),
    "ml.mlp(3, 4, 2)": (lambda: ml.mlp(3, 4, 2), "widths must be a list"),
    "ml.mlp([3, 4, 2], loss='mse')": (lambda: ml.mlp([3, 4, 2], loss="mse"), "SquaredError()"),
    "ml.MLP([3, 4, 2])": (lambda: ml.MLP([3, 4, 2]), "minilift.mlp"),
    "ml.Sequential([…])": (lambda: ml.Sequential([ml.Linear(3, 2)]), "minilift.Network"),
    "ml.Dense(4)": (lambda: ml.Dense(4), "minilift.Linear"),
    "ml.Linear(4)": (lambda: ml.Linear(4), "'n_out'"),
    "ml.Linear(in_features=3, out_features=2)": (lambda: ml.Linear(in_features=3, out_features=2), "'n_in'"),
    "ml.Conv2D(1, 2, 3)": (lambda: ml.Conv2D(1, 2, 3), "minilift.Conv2d"),
    "ml.Conv2d(1, 2, kernel_size=3)": (lambda: ml.Conv2d(1, 2, kernel_size=3), "'kernel'"),
    "ml.MaxPool2d(pool_size=2)": (lambda: ml.MaxPool2d(pool_size=2), "'size'"),
    "ml.Dropout(p=0.5)": (lambda: ml.Dropout(p=0.5), "'rate'"),
    "ml.CrossEntropyLoss()": (lambda: ml.CrossEntropyLoss(), "minilift.SoftmaxCrossEntropy"),
    "ml.Network([…, ml.Softmax()])": (lambda: ml.Network([ml.Linear(3, 2), ml.Softmax()]), "SoftmaxCrossEntropy"),
    "ml.Network([…, ml.ReLU()])": (lambda: ml.Network([ml.Linear(3, 2), ml.ReLU()]), "must be a map"),
    "ml.Network([…], optimizer='adam')": (lambda: ml.Network([ml.Linear(3, 2)], optimizer="adam"), "known: layers"),
    "ml.EarlyStopping(patience=3)": (lambda: ml.EarlyStopping(patience=3), "minilift.EarlyStop"),
    "ml.EarlyStop(monitor='loss')": (lambda: ml.EarlyStop(monitor="loss"), "'train_loss'"),
    "ml.EarlyStop(restore_best_weights=True)": (lambda: ml.EarlyStop(restore_best_weights=True), "'restore_best'"),
    "ml.load_digits()": (lambda: ml.load_digits(), "minilift.datasets.digits"),
    "ml.datasets.load('MNIST')": (lambda: ml.datasets.load("MNIST"), "'mnist'"),
    "ml.train(net)": (lambda: ml.train(network()), "minilift.fit"),
    "ml.nn.Linear(3, 2)": (lambda: ml.nn.Linear(3, 2), "minilift.Linear"),
    "ml.optim.AdamW()": (lambda: ml.optim.AdamW(), "minilift.Adam(…, decoupled=True)"),
    "ml.optim.Adma()": (lambda: ml.optim.Adma(), "'Adam'"),
    "ml.datasets.load_digits()": (lambda: ml.datasets.load_digits(), "minilift.datasets.digits"),
    "ml.datasets.MNIST": (lambda: ml.datasets.MNIST, "minilift.datasets.mnist"),
    "ml.Dataset": (lambda: ml.Dataset, "minilift.datasets.Dataset"),
    "data.target": (lambda: ml.datasets.digits().target, "data.y_train"),
    "data.train": (lambda: ml.datasets.digits().train, "data.X_train, data.y_train"),
    "net.eval()": (lambda: network().eval(), "net.predict(X)"),
    "history.to_pandas()": (lambda: fit().to_pandas(), "pandas.DataFrame(history.columns)"),
    "ml.fit(…, patience=3)": (lambda: fit(patience=3), "EarlyStop(patience=3)"),
    "ml.ProxProp(lr=1)": (lambda: ml.ProxProp(lr=1), "SGD(lr=10)"),
    "ml.manual_seed(0)": (lambda: ml.manual_seed(0), "mlp(…, seed=0)"),
    "ml.Trainer(net)": (lambda: ml.Trainer(network()), "minilift.fit"),
    'ml.ImplicitMLPClassifier(solver="adam")': (lambda: estimator(solver="adam"), "'optimizer'"),
    "ml.ImplicitMLPClassifier(learning_rate_init=0.1)": (lambda: estimator(learning_rate_init=0.1), "adam:lr=0.01"),
    "ml.ImplicitMLPClassifier(epochs=3)": (lambda: estimator(epochs=3), "'max_iter'"),
    "ml.BackProp(0.1)": (lambda: ml.BackProp(0.1), "takes no arguments"),
    # of a user of PyTorch
    "net(X)": (lambda: network()(X), "net.predict(X)"),
    "net.parameters()": (lambda: network().parameters(), "net.parameters"),
    "net[0]": (lambda: network()[0], "net.layers[k]"),
    "for layer in net": (lambda: list(network()), "net.layers[k]"),
    "len(net)": (lambda: len(network()), "len(net.layers)"),
    "net.children()": (lambda: network().children(), "net.layers"),
    "net.double()": (lambda: network().double(), 'dtype="float64"'),
    'net.to("cuda")': (lambda: network().to("cuda"), 'backend="cupy"'),
    'ml.mlp([3, 2], backend="cuda")': (lambda: ml.mlp([3, 2], backend="cuda"), "'cupy'"),
    "ml.SGD(net.parameters, lr=0.1)": (lambda: ml.SGD(network().parameters, lr=0.1), "step(net.parameters,"),
    "ml.Adam(params=net.parameters)": (lambda: ml.Adam(params=network().parameters), "step(net.parameters,"),
    "ml.SGD(0.1, lr=0.1)": (lambda: ml.SGD(0.1, lr=0.1), "'lr' is given twice"),
    "optimizer.zero_grad()": (lambda: ml.SGD(0.1).zero_grad(), "optimizer.step(net.parameters, directions)"),
    "method.grad(net, X, y)": (lambda: ml.BackProp().grad(network(), X, y), "method.direction(net, X, y)"),
    "ml.no_grad()": (lambda: ml.no_grad(), "minilift.BackProp().direction(net, X, y)"),
    "ml.DataLoader((X, y), batch_size=4)": (lambda: ml.DataLoader((X, y)), "batch_size=32"),
    "ml.Tensor(X)": (lambda: ml.Tensor(X), "NumPy's arrays"),
    "ml.optim.lr_scheduler.StepLR": (lambda: ml.optim.lr_scheduler.StepLR, "minilift.StepDecay"),
    "len(data)": (lambda: len(ml.datasets.digits()), "len(data.X_train)"),
    "data[0]": (lambda: ml.datasets.digits()[0], "data.X_train, data.y_train"),
    "ml.GELU()": (lambda: ml.GELU(), "minilift.Activation"),
    # of a user of Keras
    'ml.mlp([3, 4, 2], "swish")': (lambda: ml.mlp([3, 4, 2], "swish"), "softplus"),
    'ml.mlp([3, 2], "swish")': (lambda: ml.mlp([3, 2], "swish"), "softplus"),
    'ml.mlp([3, 4, 2], "softmax")': (lambda: ml.mlp([3, 4, 2], "softmax"), "SoftmaxCrossEntropy"),
    'ml.mlp([3, 4, 2], "linear")': (lambda: ml.mlp([3, 4, 2], "linear"), "'identity'"),
    'ml.Activation("relu")': (lambda: ml.Activation("relu"), "ReLU()"),
    "ml.mlp([3, 4, 2], dropout=0.5)": (lambda: ml.mlp([3, 4, 2], dropout=0.5), "Dropout(0.5)"),
    "ml.mlp([3, 4, 2], use_bias=False)": (lambda: ml.mlp([3, 4, 2], use_bias=False), "every map has a bias"),
    "ml.mlp(input_dim=3)": (lambda: ml.mlp(input_dim=3), "'widths'"),
    'ml.mlp([3, 4, 2], init="he_normal")': (lambda: ml.mlp([3, 4, 2], init="he_normal"), "'he'"),
    "ml.layers.Dense(4)": (lambda: ml.layers.Dense(4), "minilift.Linear"),
    "ml.layers.Linear(3, 2)": (lambda: ml.layers.Linear(3, 2), "minilift.Linear"),
    "ml.models.Sequential([])": (lambda: ml.models.Sequential([]), "minilift.Network"),
    "ml.losses.MeanSquaredError()": (lambda: ml.losses.MeanSquaredError(), "minilift.SquaredError"),
    "ml.callbacks.EarlyStopping()": (lambda: ml.callbacks.EarlyStopping(), "minilift.EarlyStop"),
    "net.count_params()": (lambda: network().count_params(), "sum(p.size for p in net.parameters)"),
    'ml.fit(…, metrics=["accuracy"])': (lambda: fit(metrics=["accuracy"]), 'history["train_accuracy"]'),
    "ml.fit(net, X, y)": (lambda: ml.fit(network(), X, y), "as in fit(net, (X, y), ProxProp(), SGD(lr=3))"),
    "ml.fit(net, (X, y), optimizer=…)": (lambda: ml.fit(network(), (X, y), optimizer="adam"), "'method' is missing"),
    "ml.mlp()": (lambda: ml.mlp(), "'widths' is missing"),
    "ml.Add()": (lambda: ml.Add(), "Add: 'sources' is missing (in this order: sources)"),
    'ml.Add("x", "y")': (lambda: ml.Add("x", "y"), "one argument goes by position, got 2; several names are one list"),
    "ml.fit(net, (X, y), method, optimizer, 5)": (lambda: ml.fit(network(), (X, y), "backprop", "sgd:lr=1", 5),
                                                  "got 5; epochs and those after it go by name"),
    "net.loss(sparse)": (lambda: network().loss(scipy.sparse.csr_matrix(X), y), "sparse matrix; X.toarray() has them"),
    "ml.mlp([3, 1]).loss(X, y)": (lambda: ml.mlp([3, 1]).loss(X, y), "labels count from 0, and each has an output"),
    "ml.HeavyBall()": (lambda: ml.HeavyBall(), "HeavyBall: 'lr' is missing"),
    "ml.plots.loss": (lambda: ml.plots.loss, "minilift.plots.history(history) draws it"),
    "ml.plots.plot": (lambda: ml.plots.plot, "minilift.plots.history"),
    "ml.losses.MSE": (lambda: ml.losses.MSE, "minilift.SquaredError"),
    "ml.fit(net, X, y, method=…)": (lambda: ml.fit(network(), X, y, method="backprop"), "X and y are one pair (X, y)"),
    'history["val_loss"]': (lambda: fit()["val_loss"], "validation=(X, y)"),
    "history.val_loss": (lambda: fit().val_loss, 'history["val_loss"]'),
    "(X, y), (X_test, y_test) = data": (lambda: list(ml.datasets.digits()), "data.X_test and data.y_test"),
    "data.x_train": (lambda: ml.datasets.digits().x_train, "data.X_train"),
    # of a user of scikit-learn
    'data["data"]': (lambda: ml.datasets.digits()["data"], "data.X_train"),
    "ml.train_test_split(X, y)": (lambda: ml.train_test_split(X, y), "minilift.datasets.split"),
    'ml.datasets.fetch_openml("mnist_784")': (lambda: ml.datasets.fetch_openml("mnist_784"), 'datasets.load("mnist")'),
    "net.partial_fit(X, y)": (lambda: network().partial_fit(X, y), "minilift.fit(net"),
    "net.get_params()": (lambda: network().get_params(), "net.parameters"),
    "net.loss_curve_": (lambda: network().loss_curve_, 'history["train_loss"]'),
    "ml.ImplicitMLPClassifier(alpha=1e-4)": (lambda: estimator(alpha=1e-4), "weight_decay"),
    "model.coefs_": (lambda: estimator().coefs_, "model.network_.theta"),
    'ml.ProxProp(solver="cholesky")': (lambda: ml.ProxProp(solver="cholesky"), "'exact'"),
    'ml.ProxProp(solver="conjugate_gradient")': (lambda: ml.ProxProp(solver="conjugate_gradient"), "'cg3'"),
    'ml.fit(…, method="backpropagation")': (lambda: fit("backpropagation", "adam"), "'backprop'"),
    'ml.fit(…, optimizer="adamw")': (lambda: fit("proxprop", "adamw"), "adam:decoupled=True"),
    "ml.LocoPropM()": (lambda: ml.LocoPropM(), 'minilift.LocoProp("M")'),
    'ml.LocoProp(loss="squared")': (lambda: ml.LocoProp(loss="squared"), "LocoProp('S')"),
    "ml.Kfac()": (lambda: ml.Kfac(), "'KFAC'"),
    # of all three, a second time
    "net.output_shape": (lambda: network().output_shape, "net.shapes[-1]"),
    "net.loss_fn": (lambda: network().loss_fn, "net.loss_function"),
    "net.thetas": (lambda: network().thetas, "state_dict, theta"),  # what there is
    "ml.LBFGS()": (lambda: ml.LBFGS(), "optimizers are SGD"),
    "ml.LSTM(3, 4)": (lambda: ml.LSTM(3, 4), "minilift.rnn"),
    "ml.utils.data": (lambda: ml.utils.data, "minilift.datasets"),
    "ml.to_categorical(y)": (lambda: ml.to_categorical(y), "SoftmaxCrossEntropy takes labels as they are"),
    "ml.metrics.accuracy_score(y, y)": (lambda: ml.metrics.accuracy_score(y, y), "net.accuracy(X, y)"),
    "ml.regularizers.l2(1e-4)": (lambda: ml.regularizers.l2(1e-4), "weight_decay"),
    "ml.SGD(0.1, decay=1e-6)": (lambda: ml.SGD(0.1, decay=1e-6), "StepDecay"),
    "ml.fit(…, batchsize=4)": (lambda: fit(batchsize=4), "'batch_size'"),
    "ml.fit(…, class_weight=…)": (lambda: fit(class_weight={}), "every sample weighs the same"),
    "ml.SemiImplicit(lr=0.1)": (lambda: ml.SemiImplicit(lr=0.1), "'eta'"),
    'ml.LocoProp("squared")': (lambda: ml.LocoProp("squared"), "'S'"),
    "ml.KFAC(eps=0.1)": (lambda: ml.KFAC(eps=0.1), "'damping'"),
    'ml.mlp([3, 2], init="xavier_uniform")': (lambda: ml.mlp([3, 2], init="xavier_uniform"), "'glorot'"),
    "ml.Network(layer, layer)": (lambda: ml.Network(ml.Linear(3, 2), ml.ReLU()), "must be a list of layers"),
    "ml.GridSearchCV": (lambda: ml.GridSearchCV, "scikit-learn's"),
    "ml.datasets.make_moons(200)": (lambda: ml.datasets.make_moons(200), "minilift.datasets.moons"),
    "model.loss_curve_": (lambda: estimator(max_iter=1).fit(X, y).loss_curve_, 'model.history_["train_loss"]'),
    # of all four, a third time, PyProximal's users too
    'ml.fit(…, method="adam")': (lambda: fit("adam", "adam"), "it is an optimizer"),
    'ml.fit(…, "sgd(lr=0.1)")': (lambda: fit("backprop", "sgd(lr=0.1)"), "'sgd:lr=0.1'"),
    'ml.fit(…, "adam:learning_rate=0.01")': (lambda: fit("backprop", "adam:learning_rate=0.01"), "'lr'"),
    "ml.fit(…, callbacks=[ml.EarlyStop(3)])": (lambda: fit(callbacks=[ml.EarlyStop(3)]), "early_stop="),
    "ml.fit(…, callbacks=ml.EarlyStop(3))": (lambda: fit(callbacks=ml.EarlyStop(3)), "early_stop="),
    'ml.fit(…, device="cuda")': (lambda: fit(device="cuda"), "backend='cupy'"),
    "ml.Cosine(0.1, T_max=50)": (lambda: ml.Cosine(0.1, T_max=50), "'epochs'"),
    "ml.StepDecay(0.1, step_size=30)": (lambda: ml.StepDecay(0.1, step_size=30), "'every'"),
    "ml.StepDecay(0.1, every=30, gamma=0.1)": (lambda: ml.StepDecay(0.1, every=30, gamma=0.1), "'factor'"),
    "ml.StepDecay(0.1, every=30).step()": (lambda: ml.StepDecay(0.1, every=30).step(), "minilift.fit"),
    "ml.RMSProp(0.01, alpha=0.99)": (lambda: ml.RMSProp(0.01, alpha=0.99), "'rho'"),
    "ml.SquaredError()(X, X)": (lambda: ml.SquaredError()(X, X), "loss.value(z, y)"),
    "ml.ReLU()(X)": (lambda: ml.ReLU()(X), "f.forward(z)"),
    "ml.Linear(3, 2)(X)": (lambda: ml.Linear(3, 2)(X), "phi.forward(theta, a)"),
    "net.layers[0].weight": (lambda: network().layers[0].weight, "net.theta[l]"),
    "net.forward(X).argmax(1)": (lambda: network().forward(X).argmax(1), "net.predict(X)"),
    "net.append(ml.ReLU())": (lambda: network().append(ml.ReLU()), "minilift.Network("),
    "ml.random.seed(0)": (lambda: ml.random.seed(0), "seed=0"),
    'ml.Linear(3, 4, activation="relu")': (lambda: ml.Linear(3, 4, activation="relu"), "a layer of its own"),
    'ml.mlp([3, 2], optimizer="adam")': (lambda: ml.mlp([3, 2], optimizer="adam"), "fit takes it"),
    "ml.ReduceLROnPlateau()": (lambda: ml.ReduceLROnPlateau(), "minilift.StepDecay"),
    "ml.activations.gelu": (lambda: ml.activations.gelu, "minilift.Activation"),
    "ml.ImplicitMLPClassifier(tau_theta=1)": (lambda: estimator(tau_theta=1), "method='proxprop:tau_theta=0.5'"),
    "ml.ImplicitMLPClassifier(warm_start=True)": (lambda: estimator(warm_start=True), "partial_fit"),
    "ml.datasets.split(X, y, test_size=0.2)": (lambda: ml.datasets.split(X, y, test_size=0.2), "'fraction'"),
    "ml.datasets.moons(n_samples=200)": (lambda: ml.datasets.moons(n_samples=200), "'n'"),
    "ml.datasets.moons(random_state=0)": (lambda: ml.datasets.moons(random_state=0), "'seed'"),
    'ml.datasets.mnist(root="data")': (lambda: ml.datasets.mnist(root="data"), "'folder'"),
    "ml.datasets.fetch_mnist()": (lambda: ml.datasets.fetch_mnist(), "minilift.datasets.mnist"),
    "ml.SquaredError().grad(X, X)": (lambda: ml.SquaredError().grad(X, X), "loss.gradient(z, y)"),
    "ml.Linear(3, 2).H": (lambda: ml.Linear(3, 2).H, "phi.adjoint_input(theta, g)"),
    "ml.gradcheck(f)": (lambda: ml.gradcheck(X), "minilift.verify"),
    "ml.LinearizedADMM()": (lambda: ml.LinearizedADMM(), "minilift.DLADMM"),
    "ml.solvers.cg": (lambda: ml.solvers.cg, "minilift.solvers.conjugate_gradients"),
    "ml.ProxProp(damping=0.1)": (lambda: ml.ProxProp(damping=0.1), "1/tau_theta"),
    "ml.BCD(iters=3)": (lambda: ml.BCD(iters=3), "'sweeps'"),
    "ml.PredictiveCoding(lr=0.1)": (lambda: ml.PredictiveCoding(lr=0.1), "'rate'"),
    "ml.verify(f, ml.ProxProp())": (lambda: ml.verify(ml.BackProp(), ml.ProxProp()), "like=ProxProp("),
    "ml.verify(f, reference=…)": (lambda: ml.verify(ml.BackProp(), reference=ml.BackProp()), "'like'"),
    'ml.verify("proxprob")': (lambda: ml.verify("proxprob"), "'proxprop'"),
    "report.ok": (lambda: ml.verify(ml.ReLU()).ok, "report.passed"),
    "ml.plots.show()": (lambda: ml.plots.show(), "minilift.plots.save"),
    'history["test_loss"]': (lambda: fit()["test_loss"], "validation=(X, y)"),
}

# a fourth time, of all four: what is typed, the call, and what the error must name, or "" where it works
GUESSES |= {
    "fit(epoch=3)": (lambda: fit(epoch=3), "'epochs'"),
    "fit(nepochs=3)": (lambda: fit(nepochs=3), "'epochs'"),
    "fit(bs=4)": (lambda: fit(bs=4), "'batch_size'"),
    "fit(batch_size='auto')": (lambda: fit(batch_size="auto"), "batch_size must be"),
    "fit(progress_bar=False)": (lambda: fit(progress_bar=False), "'progress'"),
    "fit(verbose=True)": (lambda: fit(verbose=True), "'progress'"),
    "fit(validation=True)": (lambda: fit(validation=True), "validation"),
    "fit(val=0.1)": (lambda: fit(val=0.1), "'validation'"),
    "fit(valid=0.1)": (lambda: fit(valid=0.1), "'validation'"),
    "fit(test_data=(X, y))": (lambda: fit(test_data=(X, y)), "'validation'"),
    "fit(checkpoint_path='a.npz')": (lambda: fit(checkpoint_path="a.npz"), "'checkpoint'"),
    "fit(save_path='a.npz')": (lambda: fit(save_path="a.npz"), "'checkpoint'"),
    "fit(resume_from='a.npz')": (lambda: fit(resume_from="a.npz"), "'resume'"),
    "fit(logger=print)": (lambda: fit(logger=print), "'callbacks'"),
    "fit(callback=print)": (lambda: fit(callback=print), "'callbacks'"),
    "fit(on_epoch_end=print)": (lambda: fit(on_epoch_end=print), "'callbacks'"),
    "fit(scheduler=1)": (lambda: fit(scheduler=1), "schedule"),
    "fit(lr_scheduler=1)": (lambda: fit(lr_scheduler=1), "schedule"),
    "fit(momentum=0.9)": (lambda: fit(momentum=0.9), "HeavyBall"),
    "fit(weight_decay=0.9)": (lambda: fit(weight_decay=0.9), "optimizer's"),
    "fit(tau_theta=0.9)": (lambda: fit(tau_theta=0.9), "ProxProp(tau_theta"),
    "fit(threads=1)": (lambda: fit(threads=1), "threadpool"),
    "fit(n_jobs=1)": (lambda: fit(n_jobs=1), "threadpool"),
    "fit(epochs='10')": (lambda: fit(epochs="10"), "epochs must be a whole number"),
    "fit(epochs=10.0)": (lambda: fit(epochs=10.0), "epochs must be a whole number"),
    "fit(solver='cg3')": (lambda: fit(solver="cg3"), "solver"),
    "ml.fit(net=net, data=(X, y), method='backprop', optimizer='adam', epochs=1, progress=False)":
        (lambda: ml.fit(net=network(), data=(X, y), method="backprop", optimizer="adam", epochs=1, progress=False), ""),
    "ml.fit(model=net, data=(X, y))": (lambda: ml.fit(model=network(), data=(X, y)), "'net'"),
    "ml.fit(net, dataset=(X, y))": (lambda: ml.fit(network(), dataset=(X, y)), "'data'"),
    "ml.fit(net, train_data=(X, y))": (lambda: ml.fit(network(), train_data=(X, y)), "'data'"),
    "fit(opt='adam')": (lambda: fit(opt="adam"), "'optimizer'"),
    "ml.fit(net, iter([(X, y)]), 'backprop', 'adam')":
        (lambda: ml.fit(network(), iter([(X, y)]), "backprop", "adam"), "pair (X, y)"),
    "ml.fit(net, (X, np.eye(2)[y]), 'backprop', 'adam', epochs=1, progress=False)":
        (lambda: ml.fit(network(), (X, np.eye(2)[y]), "backprop", "adam", epochs=1, progress=False), "labels"),
    "ml.fit(net, (X, y.astype(float)), 'backprop', 'adam', epochs=1, progress=False)":
        (lambda: ml.fit(network(), (X, y.astype(float)), "backprop", "adam", epochs=1, progress=False), "labels"),
    "ml.fit(net, (X, np.array(['a', 'b'])[y]), 'backprop', 'adam')":
        (lambda: ml.fit(network(), (X, np.array(["a", "b"])[y]), "backprop", "adam"), "labels"),
    "ml.fit(net, (X, y[:, None]), 'backprop', 'adam', epochs=1, progress=False)":
        (lambda: ml.fit(network(), (X, y[:, None]), "backprop", "adam", epochs=1, progress=False), "labels"),
    "ml.fit(net, (X.tolist(), y.tolist()), 'backprop', 'adam', epochs=1, progress=False)":
        (lambda: ml.fit(network(), (X.tolist(), y.tolist()), "backprop", "adam", epochs=1, progress=False), ""),
    "fit('backprop', 0.1)": (lambda: fit("backprop", 0.1), "SGD(lr=0.1)"),
    "fit('backprop', 'sgd:0.1')": (lambda: fit("backprop", "sgd:0.1"), "argument=value"),
    "fit('backprop', 'sgd,lr=0.1')": (lambda: fit("backprop", "sgd,lr=0.1"), "sgd:lr=0.1"),
    "fit('backprop', 'sgd lr=0.1')": (lambda: fit("backprop", "sgd lr=0.1"), "sgd:lr=0.1"),
    "fit('backprop', 'sgd:lr:0.1')": (lambda: fit("backprop", "sgd:lr:0.1"), "argument=value"),
    "fit('proxprop(tau_theta=1)', 'adam')": (lambda: fit("proxprop(tau_theta=1)", "adam"), "proxprop:tau_theta=1"),
    "fit('prox', 'adam')": (lambda: fit("prox", "adam"), "'proxprop'"),
    "fit('ProxProp()', 'adam')": (lambda: fit("ProxProp()", "adam"), "'proxprop'"),
    "fit('locoprop', 'adam')": (lambda: fit("locoprop", "adam"), "'locoprop-s'"),
    "fit('loco', 'adam')": (lambda: fit("loco", "adam"), "'locoprop-s'"),
    "fit('gd', 'adam')": (lambda: fit("gd", "adam"), "'backprop'"),
    "fit('newton', 'adam')": (lambda: fit("newton", "adam"), "'gauss-newton'"),
    "fit(None, 'adam')": (lambda: fit(None, "adam"), "Method"),
    "fit('proxprop:lr=1', 'adam')": (lambda: fit("proxprop:lr=1", "adam"), "optimizer's"),
    "fit('proxprop:tau=1', 'adam')": (lambda: fit("proxprop:tau=1", "adam"), "'tau_theta'"),
    "fit('backprop', 'nag')": (lambda: fit("backprop", "nag"), "'nesterov'"),
    "fit('backprop', 'SGD')": (lambda: fit("backprop", "SGD"), "'sgd'"),
    "fit('backprop', 'lbfgs')": (lambda: fit("backprop", "lbfgs"), "known: sgd"),
    "fit('backprop', 'sgd:lr=1,momentum=0.9')":
        (lambda: fit("backprop", "sgd:lr=1,momentum=0.9"), "momentum:momentum=0.9"),
    "net.forward(X).output": (lambda: network().forward(X).output, "state.z[-1]"),
    "net.forward(X).y": (lambda: network().forward(X).y, "z"),
    "net.forward(X).activations": (lambda: network().forward(X).activations, "state.a"),
    "net.forward(X).preactivations": (lambda: network().forward(X).preactivations, "state.z"),
    "net.params": (lambda: network().params, "net.parameters"),
    "net.parameter": (lambda: network().parameter, "parameters"),
    "net.W1": (lambda: network().W1, "net.theta"),
    "net.n_parameters": (lambda: network().n_parameters, "sum(p.size"),
    "net.num_parameters()": (lambda: network().num_parameters(), "sum(p.size"),
    "net.size": (lambda: network().size, "sum(p.size"),
    "net.grad": (lambda: network().grad, "direction(net, X, y)"),
    "net.gradient(X, y)": (lambda: network().gradient(X, y), "direction(net, X, y)"),
    "net.gradients": (lambda: network().gradients, "direction(net, X, y)"),
    "net.device": (lambda: network().device, "backend"),
    "net.dtype": (lambda: network().dtype, ""),
    "net.backend": (lambda: network().backend, ""),
    "net.reset_parameters()": (lambda: network().reset_parameters(), "seed"),
    "net.init_weights()": (lambda: network().init_weights(), "seed"),
    "net.reset()": (lambda: network().reset(), "seed"),
    "net.state_dict()": (lambda: network().state_dict(), ""),
    "net.load_state_dict(net.state_dict())": (lambda: network().load_state_dict(network().state_dict()), ""),
    "net.pop()": (lambda: network().pop(), "minilift.Network("),
    "net.get_layer('x')": (lambda: network().get_layer("x"), "net.layers"),
    "net.n_layers": (lambda: network().n_layers, "net.depth"),
    "net.num_layers": (lambda: network().num_layers, "net.depth"),
    "net.widths": (lambda: network().widths, "net.shapes"),
    "net.sizes": (lambda: network().sizes, "net.shapes"),
    "net.seed": (lambda: network().seed, "known"),
    "net.plot()": (lambda: network().plot(), "print(net)"),
    "net.to_json()": (lambda: network().to_json(), "net.save(path)"),
    "net.save_model('a')": (lambda: network().save_model("a"), "net.save(path)"),
    "net.predict_log_proba(X)": (lambda: network().predict_log_proba(X), "predict_proba"),
    "net.decision_function(X)": (lambda: network().decision_function(X), "net.forward(X).z[-1]"),
    "net.logits(X)": (lambda: network().logits(X), "net.forward(X).z[-1]"),
    "net.classes_": (lambda: network().classes_, "classes"),
    "net.n_iter_": (lambda: network().n_iter_, "history"),
    "net.history": (lambda: network().history, "minilift.fit"),
    "net.freeze()": (lambda: network().freeze(), "copies"),
    "net.apply(print)": (lambda: network().apply(print), "net.layers"),
    "net.numpy()": (lambda: network().numpy(), "net.parameters"),
    "net.error(X, y)": (lambda: network().error(X, y), "net.accuracy"),
    "net.test(X, y)": (lambda: network().test(X, y), "minilift.evaluate"),
    "net.acc(X, y)": (lambda: network().acc(X, y), "net.accuracy"),
    "net.loss(X, y)": (lambda: network().loss(X, y), ""),
    "net + net": (lambda: network() + network(), "Network"),
    "net.energy(X, y)": (lambda: network().energy(X, y), "energy.PenaltyEnergy"),
    "net.step()": (lambda: network().step(), "minilift.fit"),
    "net.layer": (lambda: network().layer, "layers"),
    "net.learning_rate": (lambda: network().learning_rate, "optimizer"),
    "setattr(net, 'lr', 1)": (lambda: setattr(network(), "lr", 1), ""),
    "net.predict(X, batch_size=3)": (lambda: network().predict(X, batch_size=3), "batch_size"),
    "net.predict(x=X)": (lambda: network().predict(x=X), "'X'"),
    "net.accuracy(y, X)": (lambda: network().accuracy(y, X), "X"),
    "net.forward(X, train=True)": (lambda: network().forward(X, train=True), "known"),
    "net.predict(X[0])": (lambda: network().predict(X[0]), "X"),
    "net.save()": (lambda: network().save(), "path"),
    "ml.mlp(layers=[3, 2])": (lambda: ml.mlp(layers=[3, 2]), "'widths'"),
    "ml.mlp(3, hidden=(4,), n_out=2)": (lambda: ml.mlp(3, hidden=(4,), n_out=2), "'widths'"),
    "ml.mlp((3, 4, 2))": (lambda: ml.mlp((3, 4, 2)), ""),
    "ml.mlp(np.array([3, 4, 2]))": (lambda: ml.mlp(np.array([3, 4, 2])), ""),
    "ml.mlp('64-10')": (lambda: ml.mlp("64-10"), "widths must be a list"),
    "ml.mlp([3, 4, 2], act='relu')": (lambda: ml.mlp([3, 4, 2], act="relu"), "'activation'"),
    "ml.mlp([3, 4, 2], activation=np.tanh)": (lambda: ml.mlp([3, 4, 2], activation=np.tanh), "activation"),
    "ml.mlp([3, 4, 2], seed=None)": (lambda: ml.mlp([3, 4, 2], seed=None), "seed"),
    "ml.mlp([3, 4, 2], random_state=1)": (lambda: ml.mlp([3, 4, 2], random_state=1), "'seed'"),
    "ml.mlp([3, 2], device='cpu')": (lambda: ml.mlp([3, 2], device="cpu"), "backend"),
    "ml.mlp([3, 2], dtype=float)": (lambda: ml.mlp([3, 2], dtype=float), ""),
    "ml.mlp([3, 2], dtype='float16')": (lambda: ml.mlp([3, 2], dtype="float16"), "float32"),
    "ml.mlp([3, 2], initialization='he')": (lambda: ml.mlp([3, 2], initialization="he"), "'init'"),
    "ml.mlp([3, 2], init='kaiming_normal')": (lambda: ml.mlp([3, 2], init="kaiming_normal"), "'he'"),
    "ml.mlp([3, 2], loss='cross_entropy')": (lambda: ml.mlp([3, 2], loss="cross_entropy"), "SoftmaxCrossEntropy()"),
    "ml.mlp([3, 2], lr=0.1)": (lambda: ml.mlp([3, 2], lr=0.1), "optimizer"),
    "ml.mlp([3, 2], last_activation='softmax')":
        (lambda: ml.mlp([3, 2], last_activation="softmax"), "SoftmaxCrossEntropy"),
    "ml.Network(ml.Linear(3, 2), ml.ReLU())": (lambda: ml.Network(ml.Linear(3, 2), ml.ReLU()), "list of layers"),
    "ml.Network([ml.Linear(3, 4), ml.ReLU(), ml.Linear(5, 2)])":
        (lambda: ml.Network([ml.Linear(3, 4), ml.ReLU(), ml.Linear(5, 2)]), "4"),
    "ml.Network([ml.Linear(3, 2)], name='a')": (lambda: ml.Network([ml.Linear(3, 2)], name="a"), "known: layers"),
    "ml.Network([ml.Linear(3, 2)], criterion='a')": (lambda: ml.Network([ml.Linear(3, 2)], criterion="a"), "'loss'"),
    "ml.Linear(3, 2, bias=False)": (lambda: ml.Linear(3, 2, bias=False), "bias"),
    "ml.Linear(input_dim=3, units=2)": (lambda: ml.Linear(input_dim=3, units=2), "'n_in'"),
    "ml.Linear((3, 2))": (lambda: ml.Linear((3, 2)), "n_out"),
    "ml.Conv2d(3, 8)": (lambda: ml.Conv2d(3, 8), "'kernel'"),
    "ml.Conv2d(1, 2, 3, padding=1)": (lambda: ml.Conv2d(1, 2, 3, padding=1), ""),
    "ml.Conv2d(1, 2, 3, dilation=2)": (lambda: ml.Conv2d(1, 2, 3, dilation=2), "known"),
    "ml.Conv2d(1, 2, 3, groups=2)": (lambda: ml.Conv2d(1, 2, 3, groups=2), "known"),
    "ml.Conv2d(1, 2, 3, padding='SAME')": (lambda: ml.Conv2d(1, 2, 3, padding="SAME"), "'same'"),
    "ml.MaxPool2d(kernel_size=2)": (lambda: ml.MaxPool2d(kernel_size=2), "'size'"),
    "ml.Dropout(rate=0.5)": (lambda: ml.Dropout(rate=0.5), ""),
    "ml.Dropout(50)": (lambda: ml.Dropout(50), "rate"),
    "ml.BatchNorm()": (lambda: ml.BatchNorm(), "'channels'"),
    "ml.LeakyReLU(0.1)": (lambda: ml.LeakyReLU(0.1), ""),
    "ml.LeakyReLU(alpha=0.1)": (lambda: ml.LeakyReLU(alpha=0.1), "'slope'"),
    "ml.LeakyReLU(negative_slope=0.1)": (lambda: ml.LeakyReLU(negative_slope=0.1), "'slope'"),
    "ml.ReLU6()": (lambda: ml.ReLU6(), "minilift.HardTanh"),
    "ml.SoftmaxCrossEntropy(reduction='none')": (lambda: ml.SoftmaxCrossEntropy(reduction="none"), "known"),
    "ml.SoftmaxCrossEntropy(label_smoothing=0.1)": (lambda: ml.SoftmaxCrossEntropy(label_smoothing=0.1), "known"),
    "ml.SquaredError(X, X)": (lambda: ml.SquaredError(X, X), "SquaredError"),
    "ml.L1Loss()": (lambda: ml.L1Loss(), "minilift.SquaredError"),
    "ml.KLDivLoss()": (lambda: ml.KLDivLoss(), "minilift.SoftmaxCrossEntropy"),
    "ml.LogSoftmax()": (lambda: ml.LogSoftmax(), "SoftmaxCrossEntropy"),
    "ml.Conv1d(1, 2, 3)": (lambda: ml.Conv1d(1, 2, 3), "minilift.Conv2d"),
    "ml.Reshape(3)": (lambda: ml.Reshape(3), "minilift.Flatten"),
    "ml.Residual()": (lambda: ml.Residual(), "minilift.Add"),
    "ml.SkipConnection()": (lambda: ml.SkipConnection(), "minilift.Add"),
    "ml.Upsample()": (lambda: ml.Upsample(), "minilift.Map"),
    "ml.ConvTranspose2d(1, 2, 3)": (lambda: ml.ConvTranspose2d(1, 2, 3), "minilift.Map"),
    "ml.VGG()": (lambda: ml.VGG(), "minilift.convnet"),
    "ml.resnet18()": (lambda: ml.resnet18(), "minilift.resnet"),
    "ml.Perceptron()": (lambda: ml.Perceptron(), "minilift.mlp"),
    "ml.NeuralNetwork([3, 2])": (lambda: ml.NeuralNetwork([3, 2]), "minilift.Network"),
    "ml.Net([3, 2])": (lambda: ml.Net([3, 2]), "minilift.Network"),
    "ml.Layer": (lambda: ml.Layer, "minilift.Map"),
    "ml.Optimizer": (lambda: ml.Optimizer, "minilift.optim.Optimizer"),
    "ml.Callback": (lambda: ml.Callback, "callbacks"),
    "ml.Loss": (lambda: ml.Loss, ""),
    "ml.history": (lambda: ml.history, "minilift.History"),
    "ml.Model": (lambda: ml.Model, "minilift.Network"),
    "ml.backward": (lambda: ml.backward, "direction(net, X, y)"),
    "ml.grad": (lambda: ml.grad, "direction(net, X, y)"),
    "ml.jit": (lambda: ml.jit, "nothing"),
    "ml.vmap": (lambda: ml.vmap, "nothing"),
    "ml.load_state_dict": (lambda: ml.load_state_dict, "Network.load_state_dict"),
    "ml.save(net, 'a')": (lambda: ml.save(network(), "a"), "Network.save"),
    "ml.version": (lambda: ml.version, "__version__"),
    "ml.__version__": (lambda: ml.__version__, ""),
    "ml.summary(net)": (lambda: ml.summary(network()), "print(net)"),
    "ml.benchmark": (lambda: ml.benchmark, "'minilift bench'"),
    "ml.bench": (lambda: ml.bench, "'minilift bench'"),
    "ml.check": (lambda: ml.check, "verify"),
    "ml.equations": (lambda: ml.equations, "'minilift equations'"),
    "ml.reproduce": (lambda: ml.reproduce, "'minilift reproduce'"),
    "ml.tutorials": (lambda: ml.tutorials, "'minilift tutorials'"),
    "ml.race": (lambda: ml.race, "'minilift bench race'"),
    "ml.plot(1)": (lambda: ml.plot(1), "minilift.plots.history"),
    "ml.score": (lambda: ml.score, "accuracy"),
    "ml.Momentum": (lambda: ml.Momentum, "HeavyBall"),
    "ml.NAG": (lambda: ml.NAG, "minilift.Nesterov"),
    "ml.Prox": (lambda: ml.Prox, "minilift.ProxProp"),
    "ml.CG": (lambda: ml.CG, "conjugate_gradients"),
    "ml.GN": (lambda: ml.GN, "minilift.GaussNewton"),
    "ml.BP": (lambda: ml.BP, "minilift.BackProp"),
    "ml.backprop": (lambda: ml.backprop, "BackProp"),
    "ml.proxprop": (lambda: ml.proxprop, "ProxProp"),
    "ml.sgd": (lambda: ml.sgd, "SGD"),
    "ml.adam": (lambda: ml.adam, "Adam"),
    "ml.linear": (lambda: ml.linear, "minilift."),
    "ml.dense": (lambda: ml.dense, "minilift.Linear"),
    "ml.digits()": (lambda: ml.digits(), "minilift.datasets.digits"),
    "ml.mnist()": (lambda: ml.mnist(), "minilift.datasets.mnist"),
    "ml.data": (lambda: ml.data, "minilift.datasets"),
    "ml.dataset": (lambda: ml.dataset, "datasets"),
    "ml.optimizer": (lambda: ml.optimizer, "minilift.optim"),
    "ml.loss_functions": (lambda: ml.loss_functions, "losses"),
    "ml.metrics": (lambda: ml.metrics, "net.accuracy"),
    "ml.method": (lambda: ml.method, "methods"),
    "ml.model": (lambda: ml.model, "models"),
    "ml.sklearn": (lambda: ml.sklearn, "minilift.ImplicitMLPClassifier"),
    "ml.training": (lambda: ml.training, ""),
    "ml.ImplicitMLP": (lambda: ml.ImplicitMLP, "ImplicitMLPClassifier"),
    "ml.MLPClassifier": (lambda: ml.MLPClassifier, "ImplicitMLPClassifier"),
    "ml.Regressor": (lambda: ml.Regressor, "ImplicitMLPRegressor"),
    "ml.Classifier": (lambda: ml.Classifier, "ImplicitMLPClassifier"),
    "ml.SGD('0.1')": (lambda: ml.SGD("0.1"), "lr"),
    "ml.SGD(None)": (lambda: ml.SGD(None), "lr"),
    "ml.Adam(0.001, 0.9, 0.999)": (lambda: ml.Adam(0.001, 0.9, 0.999), ""),
    "ml.Adam(beta_1=0.9)": (lambda: ml.Adam(beta_1=0.9), "'beta1'"),
    "ml.Adam(amsgrad=True)": (lambda: ml.Adam(amsgrad=True), "known"),
    "ml.Adam(b1=0.9)": (lambda: ml.Adam(b1=0.9), "'beta1'"),
    "ml.Adam(epsilon=1e-08)": (lambda: ml.Adam(epsilon=1e-08), "'eps'"),
    "ml.Nesterov(0.1, beta=0.9)": (lambda: ml.Nesterov(0.1, beta=0.9), "'momentum'"),
    "ml.HeavyBall(0.1, mu=0.9)": (lambda: ml.HeavyBall(0.1, mu=0.9), "'momentum'"),
    "ml.SGD(0.1, wd=0.0001)": (lambda: ml.SGD(0.1, wd=0.0001), "'weight_decay'"),
    "ml.SGD(0.1, nesterov=True)": (lambda: ml.SGD(0.1, nesterov=True), "Nesterov"),
    "ml.Cosine(0.1)": (lambda: ml.Cosine(0.1), "'epochs'"),
    "ml.StepDecay(0.1)": (lambda: ml.StepDecay(0.1), "'every'"),
    "ml.Cosine(lr_max=0.1, epochs=3)": (lambda: ml.Cosine(lr_max=0.1, epochs=3), "'lr'"),
    "ml.Cosine(max_lr=0.1, epochs=3)": (lambda: ml.Cosine(max_lr=0.1, epochs=3), "'lr'"),
    "ml.WarmupLinear(0.1, warmup_epochs=3, epochs=9)":
        (lambda: ml.WarmupLinear(0.1, warmup_epochs=3, epochs=9), "'warmup'"),
    "ml.SGD(0.1).step()": (lambda: ml.SGD(0.1).step(), "parameters"),
    "ml.SGD(0.1).lr": (lambda: ml.SGD(0.1).lr, ""),
    "ml.SGD(0.1).momentum": (lambda: ml.SGD(0.1).momentum, "HeavyBall"),
    "ml.Adam().state": (lambda: ml.Adam().state, "state_dict"),
    "ml.Adam().get_config()": (lambda: ml.Adam().get_config(), "state_dict"),
    "ml.optim.SGD(0.1)": (lambda: ml.optim.SGD(0.1), ""),
    "ml.optim.Momentum": (lambda: ml.optim.Momentum, "HeavyBall"),
    "ml.OneCycleLR": (lambda: ml.OneCycleLR, "minilift.WarmupLinear"),
    "ml.MultiStepLR": (lambda: ml.MultiStepLR, "minilift.StepDecay"),
    "ml.LinearLR": (lambda: ml.LinearLR, "minilift.WarmupLinear"),
    "ml.Warmup": (lambda: ml.Warmup, "WarmupLinear"),
    "ml.CosineDecay": (lambda: ml.CosineDecay, "minilift.Cosine"),
    "ml.ConstantLR": (lambda: ml.ConstantLR, "minilift.Constant"),
    "ml.ProxProp(1, 'cg')": (lambda: ml.ProxProp(1, "cg"), "'cg3'"),
    "ml.ProxProp('cg3')": (lambda: ml.ProxProp("cg3"), "tau_theta"),
    "ml.ProxProp(cg=3)": (lambda: ml.ProxProp(cg=3), "solver='cg3'"),
    "ml.ProxProp(n_cg=3)": (lambda: ml.ProxProp(n_cg=3), "solver='cg3'"),
    "ml.ProxProp(max_iter=3)": (lambda: ml.ProxProp(max_iter=3), "solver='cg3'"),
    "ml.ProxProp(tol=0.001)": (lambda: ml.ProxProp(tol=0.001), "known"),
    "ml.ProxProp(step_size=1)": (lambda: ml.ProxProp(step_size=1), "SGD(lr"),
    "ml.ProxProp(momentum=1)": (lambda: ml.ProxProp(momentum=1), "optimizer"),
    "ml.ProxProp(tau_w=1)": (lambda: ml.ProxProp(tau_w=1), "'tau_theta'"),
    "ml.ProxProp().tau": (lambda: ml.ProxProp().tau, "tau_theta"),
    "ml.ProxProp().step(net, X, y)": (lambda: ml.ProxProp().step(network(), X, y), "direction(net, X, y)"),
    "ml.ProxProp()(net, X, y)": (lambda: ml.ProxProp()(network(), X, y), "direction(net, X, y)"),
    "ml.ProxProp().compute(net, X, y)": (lambda: ml.ProxProp().compute(network(), X, y), "direction"),
    "ml.BackProp().direction(X, y, net)": (lambda: ml.BackProp().direction(X, y, network()), "net"),
    "ml.BackProp().direction(net, (X, y))": (lambda: ml.BackProp().direction(network(), (X, y)), "'y'"),
    "ml.BackProp().train(net)": (lambda: ml.BackProp().train(network()), "minilift.fit"),
    "ml.BackProp().update(net)": (lambda: ml.BackProp().update(network()), "direction"),
    "ml.ProxProp().name": (lambda: ml.ProxProp().name, "repr"),
    "ml.ProxProp().lr": (lambda: ml.ProxProp().lr, "optimizer"),
    "ml.LocoProp('s')": (lambda: ml.LocoProp("s"), "'S'"),
    "ml.LocoProp('S', n_steps=3)": (lambda: ml.LocoProp("S", n_steps=3), "'steps'"),
    "ml.LocoProp('S', lr=3)": (lambda: ml.LocoProp("S", lr=3), "'local_lr'"),
    "ml.LocoProp('S', optimizer='adam')": (lambda: ml.LocoProp("S", optimizer="adam"), "'local_optimizer'"),
    "ml.SemiImplicit(step_size=1)": (lambda: ml.SemiImplicit(step_size=1), "'eta'"),
    "ml.SemiImplicit(tau=1)": (lambda: ml.SemiImplicit(tau=1), "'eta'"),
    "ml.SemiImplicit(solver='cg')": (lambda: ml.SemiImplicit(solver="cg"), "known"),
    "ml.GaussNewton(lam=1)": (lambda: ml.GaussNewton(lam=1), "'damping'"),
    "ml.KFAC(lambda_=1)": (lambda: ml.KFAC(lambda_=1), "'damping'"),
    "ml.ADMM(1.0, rho=1)": (lambda: ml.ADMM(1.0, rho=1), "'beta'"),
    "ml.BCD(n_sweeps=2)": (lambda: ml.BCD(n_sweeps=2), "'sweeps'"),
    "fit().train_losses": (lambda: fit().train_losses, 'history["train_loss"]'),
    "fit().val_losses": (lambda: fit().val_losses, 'history["val_loss"]'),
    "fit()['train']": (lambda: fit()["train"], "'train_loss'"),
    "fit()['training_loss']": (lambda: fit()["training_loss"], "'train_loss'"),
    "fit()['time']": (lambda: fit()["time"], "'seconds'"),
    "fit()['epochs']": (lambda: fit()["epochs"], "'epoch'"),
    "fit()[0]": (lambda: fit()[0], "known"),
    "fit().columns": (lambda: fit().columns, ""),
    "len(fit())": (lambda: len(fit()), ""),
    "fit().last()": (lambda: fit().last(), "history["),
    "fit().final_loss": (lambda: fit().final_loss, 'history["train_loss"][-1]'),
    "fit().best_loss": (lambda: fit().best_loss, "min(history"),
    "fit().epochs": (lambda: fit().epochs, 'history["epoch"]'),
    "fit().seconds": (lambda: fit().seconds, 'history["seconds"]'),
    "fit().time": (lambda: fit().time, 'history["seconds"]'),
    "fit().to_dict()": (lambda: fit().to_dict(), "as_dict"),
    "fit().save('a')": (lambda: fit().save("a"), "to_json"),
    "fit().to_dataframe()": (lambda: fit().to_dataframe(), "pandas.DataFrame"),
    "fit().df": (lambda: fit().df, "pandas.DataFrame"),
    "fit().values()": (lambda: fit().values(), "history.columns"),
    "fit().get('loss')": (lambda: fit().get("loss"), "history["),
    "fit().summary()": (lambda: fit().summary(), "print(history)"),
    "fit().test_accuracy": (lambda: fit().test_accuracy, "val_accuracy"),
    "fit().lr": (lambda: fit().lr, "known"),
    "fit().stopped_epoch": (lambda: fit().stopped_epoch, "history.stopped"),
    "fit().best_epoch": (lambda: fit().best_epoch, "history"),
    "fit().net": (lambda: fit().net, "fit"),
    "fit().model": (lambda: fit().model, "fit"),
    "'train_loss' in fit()": (lambda: "train_loss" in fit(), ""),
    "fit().as_dict()": (lambda: fit().as_dict(), ""),
    "fit() + fit()": (lambda: fit() + fit(), "History"),
    "digits.X_train": (lambda: data().X_train, ""),
    "digits.DESCR": (lambda: data().DESCR, "source"),
    "digits.n_features": (lambda: data().n_features, "data.X_train.shape"),
    "digits.n_samples": (lambda: data().n_samples, "len(data.X_train)"),
    "digits.num_classes": (lambda: data().num_classes, "data.n_classes"),
    "digits.y_val": (lambda: data().y_val, "validation"),
    "digits.inputs": (lambda: data().inputs, "data.X_train"),
    "digits.split()": (lambda: data().split(), "datasets.split(X, y, fraction=0.2)"),
    "digits.batch(32)": (lambda: data().batch(32), "batch_size"),
    "digits.train_data": (lambda: data().train_data, "data.X_train"),
    "digits.classes_": (lambda: data().classes_, "n_classes"),
    "digits.Xtrain": (lambda: data().Xtrain, "X_train"),
    "digits.ytrain": (lambda: data().ytrain, "y_train"),
    "ml.datasets.load('cifar')": (lambda: ml.datasets.load("cifar"), "'cifar10'"),
    "ml.datasets.cifar()": (lambda: ml.datasets.cifar(), "cifar10"),
    "ml.datasets.cifar100()": (lambda: ml.datasets.cifar100(), "cifar10"),
    "ml.datasets.load()": (lambda: ml.datasets.load(), "name"),
    "ml.datasets.list()": (lambda: ml.datasets.list(), "available"),
    "ml.datasets.names": (lambda: ml.datasets.names, "available"),
    "ml.datasets.load_mnist()": (lambda: ml.datasets.load_mnist(), "minilift.datasets.mnist"),
    "ml.datasets.FashionMNIST()": (lambda: ml.datasets.FashionMNIST(), "fashion_mnist"),
    "ml.datasets.make_spirals()": (lambda: ml.datasets.make_spirals(), "spirals"),
    "ml.datasets.make_circles()": (lambda: ml.datasets.make_circles(), "available"),
    "ml.datasets.iris()": (lambda: ml.datasets.iris(), "available"),
    "ml.datasets.moons(noise_level=0.1)": (lambda: ml.datasets.moons(noise_level=0.1), "'noise'"),
    "ml.datasets.split(digits)": (lambda: ml.datasets.split(data()), "y"),
    "ml.datasets.split(X, y, train_size=0.8)": (lambda: ml.datasets.split(X, y, train_size=0.8), "'fraction'"),
    "ml.datasets.split(X, y, test_fraction=0.2)": (lambda: ml.datasets.split(X, y, test_fraction=0.2), "'fraction'"),
    "ml.datasets.digits(return_X_y=True)": (lambda: ml.datasets.digits(return_X_y=True), "X_train"),
    "ml.datasets.digits(train=True)": (lambda: ml.datasets.digits(train=True), "X_train"),
    "ml.datasets.digits(split='train')": (lambda: ml.datasets.digits(split="train"), "X_train"),
    "ml.datasets.load_data('mnist')": (lambda: ml.datasets.load_data("mnist"), "minilift.datasets.load"),
    "ml.datasets.get('mnist')": (lambda: ml.datasets.get("mnist"), "load"),
    "ml.datasets.DataLoader": (lambda: ml.datasets.DataLoader, "batch_size"),
    "estimator(hidden_layer_sizes=(4,))": (lambda: estimator(hidden_layer_sizes=(4,)), ""),
    "estimator(widths=(4,))": (lambda: estimator(widths=(4,)), "'hidden_layer_sizes'"),
    "estimator(hidden=(4,))": (lambda: estimator(hidden=(4,)), "'hidden_layer_sizes'"),
    "estimator(lr=0.1)": (lambda: estimator(lr=0.1), "adam:lr=0.01"),
    "estimator(seed=0)": (lambda: estimator(seed=0), "'random_state'"),
    "estimator(solver='sgd')": (lambda: estimator(solver="sgd"), "'optimizer'"),
    "estimator(tol=0.0001)": (lambda: estimator(tol=0.0001), "known"),
    "estimator(n_iter_no_change=3)": (lambda: estimator(n_iter_no_change=3), ""),
    "estimator(patience=3)": (lambda: estimator(patience=3), "'n_iter_no_change'"),
    "estimator(early_stopping=True)": (lambda: estimator(early_stopping=True), ""),
    "estimator(early_stop=True)": (lambda: estimator(early_stop=True), "'early_stopping'"),
    "estimator(validation_split=0.1)": (lambda: estimator(validation_split=0.1), "'validation_fraction'"),
    "estimator(batch=4)": (lambda: estimator(batch=4), "'batch_size'"),
    "fitted(batch_size='auto')": (lambda: fitted(batch_size="auto"), "batch_size must be"),
    "estimator(loss='log_loss')": (lambda: estimator(loss="log_loss"), "known"),
    "estimator(alpha=0.0001)": (lambda: estimator(alpha=0.0001), "weight_decay"),
    "fitted(activation='logistic')": (lambda: fitted(activation="logistic"), "sigmoid"),
    "fitted(method='ProxProp')": (lambda: fitted(method="ProxProp"), "'proxprop'"),
    "model.best_loss_": (lambda: fitted().best_loss_, "history_"),
    "model.n_iter_": (lambda: fitted().n_iter_, ""),
    "model.classes_": (lambda: fitted().classes_, ""),
    "model.n_outputs_": (lambda: fitted().n_outputs_, "network_"),
    "model.out_activation_": (lambda: fitted().out_activation_, "network_"),
    "model.network": (lambda: fitted().network, "network_"),
    "model.history": (lambda: fitted().history, "history_"),
    "model.evaluate(X, y)": (lambda: fitted().evaluate(X, y), "score"),
    "model.decision_function(X)": (lambda: fitted().decision_function(X), "predict_proba"),
    "estimator().fit(X, y, epochs=3)": (lambda: estimator().fit(X, y, epochs=3), "max_iter"),
    "estimator().fit(X, y, sample_weight=y)": (lambda: estimator().fit(X, y, sample_weight=y), "sample_weight"),
    "estimator().fit((X, y))": (lambda: estimator().fit((X, y)), "y"),
    "estimator().predict(X)": (lambda: estimator().predict(X), "fit"),
    "ml.verify('relu')": (lambda: ml.verify("relu"), "known"),
    "ml.plots.loss_curve(fit())": (lambda: ml.plots.loss_curve(fit()), "minilift.plots.history"),
    "ml.plots.weights(net)": (lambda: ml.plots.weights(network()), "filters"),
    "ml.plots.compare([fit()])": (lambda: ml.plots.compare([fit()]), "comparison"),
    "ml.plots.savefig('a.png')": (lambda: ml.plots.savefig("a.png"), "minilift.plots.save"),
    "ml.energy.Energy(net)": (lambda: ml.energy.Energy(network()), "PenaltyEnergy"),
    "ml.PenaltyEnergy": (lambda: ml.PenaltyEnergy, "minilift.energy.PenaltyEnergy"),
    "ml.energy.penalty": (lambda: ml.energy.penalty, "PenaltyEnergy"),
    "ml.solvers.conjugate_gradient": (lambda: ml.solvers.conjugate_gradient, "conjugate_gradients"),
    "ml.conjugate_gradients": (lambda: ml.conjugate_gradients, "minilift.solvers.conjugate_gradients"),
    "ml.moons()": (lambda: ml.moons(), "minilift.datasets.moons"),
    "ml.evaluate(net, (X, y))": (lambda: ml.evaluate(network(), (X, y)), "'y'"),
    "ml.EarlyStop()": (lambda: ml.EarlyStop(), ""),
    "ml.EarlyStop(min_delta=0.1)": (lambda: ml.EarlyStop(min_delta=0.1), "known"),
    "ml.EarlyStop('val_loss')": (lambda: ml.EarlyStop("val_loss"), "patience"),
    "ml.EarlyStop(mode='min')": (lambda: ml.EarlyStop(mode="min"), "known"),
    "ml.EarlyStop(monitor='val_acc')": (lambda: ml.EarlyStop(monitor="val_acc"), "known"),
    "fit(early_stop=3)": (lambda: fit(early_stop=3), "EarlyStop"),
    "ml.Team(4)": (lambda: ml.Team(4), "Team."),
    "ml.Named()": (lambda: ml.Named(), "'name'"),
    "ml.Add()": (lambda: ml.Add(), "'sources'"),
    "ml.Concat('a', 'b')": (lambda: ml.Concat("a", "b"), "sources"),
    "ml.resnet(depth=18)": (lambda: ml.resnet(depth=18), "'widths'"),
    "ml.rnn(input_size=3, hidden_size=4)": (lambda: ml.rnn(input_size=3, hidden_size=4), "'n_in'"),
}


@pytest.mark.parametrize("typed", GUESSES)
def test_a_guess_works_or_is_told_the_right_spelling(typed):
    call, expected = GUESSES[typed]
    if not expected:
        call()
        return
    with pytest.raises((TypeError, ValueError, AttributeError, KeyError)) as caught:
        call()
    assert expected in str(caught.value)


def test_there_are_more_than_a_hundred_guesses():
    assert len(GUESSES) >= 500


def test_the_spellings_that_are_named_exist():
    told = [text for table in (OTHERWISE, INSTEAD, ELSEWHERE, TAKEN, *ATTRIBUTES.values()) for text in table.values()]
    for name in [*NAMES.values(), *(name for text in told for name in re.findall(r"minilift\.([\w.]+)", text))]:
        first, *rest = name.partition("(")[0].split(".")
        assert hasattr(ml, first)
        assert not rest or hasattr(getattr(ml, first), rest[0])
    pytest.importorskip("sklearn")
    net, things = network(), {"Network": network(), "History": fit(), "Dataset": ml.datasets.digits(),
                              "Method": ml.BackProp(), "Optimizer": ml.Adam(), "ImplicitMLP": estimator(),
                              "Map": ml.Linear(3, 2), "Transfer": ml.ReLU(), "Loss": ml.SquaredError(),
                              "Schedule": ml.Constant(0.1), "State": network().forward(X), "Report": ml.Report([], 0)}
    for kind, attributes in ATTRIBUTES.items():
        own = [name for name in attributes if name in dir(things[kind])]
        assert not own, f"{kind} has {own}, which the table says that it has not"
    for shown in ATTRIBUTES["Network"].values():
        if shown.startswith("net."):
            assert hasattr(net, re.split(r"[(,[]", shown[4:])[0])


def test_what_is_refused_changes_nothing_else():
    """An object without a length is still true, a list of parameters still a list, a copy still a copy."""
    net, data = network(), ml.datasets.digits()
    assert bool(net) is bool(data) is True
    assert isinstance(net.parameters, list)
    assert pickle.loads(pickle.dumps(net)) == net
    assert np.asarray(net, dtype=object).shape == ()
    assert not hasattr(ml.SGD(0.1), "tolist")
    with pytest.raises(TypeError, match="expected a Method such as"):
        ml.fit(net, (X, y), net, "adam")


def test_a_property_that_fails_says_why():
    class Own(ml.Method):
        @property
        def gradient(self):
            return self.memory

    with pytest.raises(AttributeError, match="no attribute 'memory'"):
        print(Own().gradient)


def test_subclasses_of_users_may_take_what_they_like():
    class Own(ml.Method):
        def __init__(self, **options):
            self.options = options

    class Scaled(ml.SGD):
        def __init__(self, scale, **more):
            super().__init__(**more)
            self.scale = scale

    class Several(ml.Method):
        def __init__(self, *parts, lr=1.0):
            self.parts, self.lr = parts, lr

    assert Own(anything=1).options == {"anything": 1}
    assert Several(1, 2, lr=3).lr == 3
    assert Scaled(scale=2, lr=0.1).lr == 0.1


def test_a_hint_is_looked_for_when_it_is_read_only(monkeypatch):
    """`hasattr` is asked thousands of times while `verify` looks for an edit, and wants no hint."""
    monkeypatch.setattr("minilift.support.spellings.nearest", lambda *_, **__: pytest.fail("a hint is looked for"))
    assert not any(hasattr(thing, "layerz") for thing in (ml, ml.losses, network(), ml.Adam(), ml.Linear(1, 1)))


def test_the_error_for_what_is_absent_is_a_plain_one_to_tracebacks_and_other_processes():
    with pytest.raises(AttributeError, match="did you mean 'layers'") as caught:
        _ = network().layerz
    assert type(caught.value).__name__ == "AttributeError"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert str(caught.value) in "".join(traceback.format_exception_only(caught.value))

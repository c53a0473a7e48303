"""The estimators are at home in scikit-learn: its own checks, pipelines, searches, pickles; and they are `fit`."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import minilift as ml

DATA = ml.datasets.moons(200, seed=1)
NAMES = np.array(["lower", "upper"])
X, y = DATA.X_train, NAMES[DATA.y_train]
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 20, "random_state": 0}


def classifier(**more):
    return ml.ImplicitMLPClassifier(**{**QUICK, **more})


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [ml.ImplicitMLPClassifier, ml.ImplicitMLPRegressor])
def test_scikit_learns_own_checks(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is skipped (pandas, the array API) is said by a warning
        results = check_estimator(estimator(), on_fail=None)
    assert len(results) > 45
    assert not [(one["check_name"], one["exception"]) for one in results if one["status"] not in ("passed", "skipped")]
    assert sum(one["status"] == "skipped" for one in results) <= 3


def test_targets_in_the_hundreds_want_to_be_scaled_as_the_docstring_says():
    data = ml.datasets.teacher(500)
    model = ml.ImplicitMLPRegressor(activation="tanh", max_iter=30, random_state=0)
    scaled = TransformedTargetRegressor(model, transformer=StandardScaler())
    bare, better = (one.fit(data.X_train, 300 + 100 * data.y_train[:, 0]).score(data.X_test, 300 + 100 * data.y_test)
                    for one in (model, scaled))
    assert bare < 0 < 0.9 < better
    assert "TransformedTargetRegressor(model, transformer=StandardScaler())" in ml.ImplicitMLPRegressor.__doc__


def test_it_is_fit():
    """The estimator trains the very network that `mlp` and `fit` do, given its seed."""
    model = ml.ImplicitMLPClassifier((8,), method=ml.ProxProp(0.5), optimizer=ml.Nesterov(1.0), max_iter=3,
                                     batch_size=20, random_state=3).fit(X, y)
    net = ml.mlp([2, 8, 2], seed=model.seed_)
    history = ml.fit(net, (X, DATA.y_train), ml.ProxProp(0.5), ml.Nesterov(1.0), epochs=3, batch_size=20,
                     seed=model.seed_, progress=False)
    assert model.network_ == net
    assert model.history_["train_loss"] == history["train_loss"]
    assert (model.predict(DATA.X_test) == NAMES[net.predict(DATA.X_test)]).all()


def test_it_learns():
    model = ml.ImplicitMLPClassifier(random_state=0).fit(X, y)
    assert model.score(DATA.X_test, NAMES[DATA.y_test]) > 0.95
    teacher = ml.datasets.teacher(300)
    model = ml.ImplicitMLPRegressor((20,), "tanh", random_state=0).fit(teacher.X_train, teacher.y_train)
    assert model.predict(teacher.X_test).shape == teacher.y_test.shape
    assert model.score(teacher.X_test, teacher.y_test) > 0.8
    one_axis = ml.ImplicitMLPRegressor((20,), "tanh", random_state=0).fit(teacher.X_train, teacher.y_train[:, 0])
    assert one_axis.predict(teacher.X_test).shape == (60,)


def test_probabilities():
    model = classifier().fit(X, y)
    probabilities = model.predict_proba(DATA.X_test)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(DATA.X_test)).all()


def test_a_search_in_a_pipeline_finds_the_method_that_trains():
    pipeline = make_pipeline(StandardScaler(), classifier())
    grid = {"implicitmlpclassifier__method": ["backprop", "proxprop:tau_theta=1"],
            "implicitmlpclassifier__optimizer": ["sgd:lr=1e-9", "sgd:lr=1"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_params_["implicitmlpclassifier__optimizer"] == "sgd:lr=1"
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("method", ["proxprop", ml.ProxProp(5.0, last="implicit")], ids=repr)
def test_a_search_takes_arguments_of_the_method_and_of_the_optimizer(method):
    grid = {"method__tau_theta": [0.25, 4.0], "optimizer__lr": [1e-9, 0.01]}
    search = GridSearchCV(classifier(method=method), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["optimizer__lr"] == 0.01
    best = search.best_estimator_.method_
    assert best.tau_theta == search.best_params_["method__tau_theta"]
    assert best.last == getattr(method, "last", "explicit")
    assert getattr(method, "tau_theta", 5.0) == 5.0  # the given one is as it was


def test_arguments_of_method_and_optimizer_are_parameters_if_these_can_be_made():
    model = classifier(method="cg3", optimizer=ml.SGD(0.1))
    assert model.get_params()["method__solver"] == "cg3"
    assert model.set_params(optimizer__lr=0.5, max_iter=2).optimizer == ml.SGD(0.5)
    assert model.set_params(method=ml.MAC(), method__mu=2.0).method == ml.MAC(mu=2.0)
    with pytest.raises(TypeError, match=r"MAC.*tau_theta"):
        model.set_params(method__tau_theta=0.5)
    unmade = classifier(method="proxpop", optimizer="sgd")
    assert unmade.get_params() == unmade.get_params(deep=False)
    with pytest.raises(ValueError, match=r"'sgd:lr=0\.1'"):
        unmade.set_params(optimizer__momentum=0.5)


def test_clones_and_pickles():
    model = classifier(method=ml.ProxProp(0.5), optimizer=ml.Adam(0.01)).fit(X, y)
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert not hasattr(copied, "network_")
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(X) == model.predict_proba(X)).all()
    assert again.network_ == model.network_


def test_steps_of_partial_fit_are_one_run():
    """The optimizer goes on where it was: batches in two calls are batches in one."""
    one, two = classifier(optimizer="adam:lr=0.01"), classifier(optimizer="adam:lr=0.01")
    one.partial_fit(X[:80], y[:80], classes=NAMES)
    two.partial_fit(X[:40], y[:40], classes=NAMES).partial_fit(X[40:80], y[40:80])
    assert one.network_ == two.network_
    assert (one.n_iter_, two.n_iter_) == (1, 2)
    more = classifier().fit(X, y)
    before = more.network_.loss(X, DATA.y_train)
    for _ in range(5):
        more.partial_fit(X, y)
    assert more.network_.loss(X, DATA.y_train) < before


def test_partial_fit_takes_no_other_classes_later():
    model = classifier().partial_fit(X[:80], y[:80], classes=NAMES)
    model.partial_fit(X[:80], y[:80], classes=NAMES[::-1])  # the same, in another order
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X[:80], y[:80], classes=NAMES[:-1])


def test_each_call_of_partial_fit_is_an_epoch_of_a_schedule():
    model = classifier(method="backprop", optimizer=ml.SGD(ml.StepDecay(0.5, every=1)))
    model.partial_fit(X, y, classes=NAMES)
    net = copy.deepcopy(model.network_)
    model.partial_fit(X[:20], y[:20])
    ml.SGD(0.05).step(net.parameters, ml.BackProp().direction(net, X[:20], DATA.y_train[:20])[1])
    assert model.network_ == net


@pytest.mark.parametrize("layer", [ml.Dropout(0.5), ml.BatchNorm(8)], ids=repr)
def test_a_step_of_partial_fit_is_one_in_training(layer):
    """Dropout had no generator to draw from, and predictions used a batch norm's statistics of before."""
    model = classifier(activation=layer, method="backprop", optimizer="sgd:lr=0.1")
    model.partial_fit(X[:20], y[:20], classes=NAMES)
    net = ml.mlp([2, 8, 2], layer, seed=model.seed_, dtype=X.dtype)
    drawn = np.random.default_rng(model.seed_)
    ml.SGD(0.1).step(net.parameters, ml.BackProp().direction(net, X[:20], DATA.y_train[:20], drawn, commit=True)[1])
    assert model.network_ == net


def test_partial_fit_starts_anew_whatever_its_optimizer_was_used_for():
    used = ml.Adam(0.01)
    ml.fit(ml.mlp([2, 8, 2]), (X, DATA.y_train), "backprop", used, epochs=1, progress=False)
    one, two = (classifier(optimizer=optimizer).partial_fit(X, y, NAMES) for optimizer in (used, ml.Adam(0.01)))
    assert one.network_ == two.network_


@pytest.mark.parametrize("batches", [1, 2])
def test_partial_fit_says_that_it_diverged(batches):
    with pytest.raises(ValueError, match=r"theta_1 is not finite|the loss of a batch is (nan|inf)"):
        classifier(optimizer="sgd:lr=1e200").partial_fit(X[:20 * batches], y[:20 * batches], NAMES)


def test_an_estimator_whose_training_diverged_is_not_fitted():
    """Its parameters are ruined; a further call starts anew."""
    model = classifier().partial_fit(X[:80], y[:80], NAMES)
    model.optimizer_ = ml.SGD(1e200)
    with pytest.raises(ValueError, match="try a smaller lr"):
        model.partial_fit(X[:80], y[:80])
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.partial_fit(X[:80], y[:80], NAMES)
    assert (model.predict(X) == classifier().partial_fit(X[:80], y[:80], NAMES).predict(X)).all()


def test_a_local_problem_without_a_solution_is_divergence_in_partial_fit_too():
    class Unsolvable(ml.BackProp):
        def direction(self, net, X, targets, rng, commit):
            raise FloatingPointError("the matrix is singular")
    regressor = ml.ImplicitMLPRegressor(**QUICK).fit(X, X[:, 0])
    regressor.method_ = Unsolvable()
    with pytest.raises(ValueError, match="the matrix is singular; try a smaller lr"):
        regressor.partial_fit(X, X[:, 0])
    with pytest.raises(NotFittedError):
        regressor.predict(X)


def test_targets_of_another_shape_do_not_change_the_shape_of_predictions():
    model = ml.ImplicitMLPRegressor(**QUICK).partial_fit(X, X[:, 0])
    with pytest.raises(ValueError, match="expects targets of shape"):
        model.partial_fit(X, X)
    assert model.predict(X).shape == (len(X),)


def test_a_method_that_keeps_values_of_each_sample_takes_all_at_once():
    model = classifier(method="bcd", optimizer="sgd:lr=1", batch_size=None).fit(X, y)
    assert model.history_["train_loss"][-1] < model.history_["train_loss"][0]


def test_early_stopping():
    model = classifier(early_stopping=True, n_iter_no_change=2, max_iter=200, optimizer="sgd:lr=3").fit(X, y)
    assert model.loss_ == model.history_["train_loss"][int(np.argmin(model.history_["val_loss"]))]
    assert model.n_iter_ < 200
    assert "early stop" in model.history_.stopped
    assert len(model.history_["val_loss"]) == model.n_iter_ + 1


@pytest.mark.parametrize(("options", "message"), [
    ({"max_iter": 0}, "ImplicitMLPClassifier: max_iter must be at least 1"),
    ({"hidden_layer_sizes": "8"}, "ImplicitMLPClassifier: hidden_layer_sizes must be a list"),
    ({"hidden_layer_sizes": (8, 0)}, r"ImplicitMLPClassifier: hidden_layer_sizes\[1\] must be at least 1, got 0"),
    ({"early_stopping": True, "validation_fraction": 1.0}, "ImplicitMLPClassifier: validation_fraction must be in"),
    ({"method": "proxpop"}, "ImplicitMLPClassifier: method: unknown name 'proxpop'; did you mean 'proxprop'"),
    ({"optimizer": "sgd"}, "'sgd:lr=0.1'"), ({"activation": "logistic"}, "sigmoid"),
    ({"optimizer": "sgd:lr=1e30"}, "training diverged .*; try a smaller lr")])
def test_wrong_arguments(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(**options).fit(X, y)


@pytest.mark.parametrize("options", [{"max_iter": 0}, {"batch_size": 0}, {"method": "proxpop"}, {"optimizer": "adaam"},
                                     {"optimizer": "sgd:lr=1e30"}], ids=repr)
def test_what_stops_a_fit_leaves_the_estimator_unfitted(options):
    model = classifier().fit(X, y)
    with pytest.raises(ValueError, match=r"unknown name|at least 1|diverged"):
        model.set_params(**options).fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(**classifier().get_params())
    assert model.partial_fit(X, y, classes=NAMES).n_iter_ == 1
    assert (model.predict(X) == classifier().partial_fit(X, y, classes=NAMES).predict(X)).all()


@pytest.mark.parametrize("call", [
    lambda: classifier().fit(X, y, sample_weight=np.ones(len(X))), lambda: classifier().fit(X, y, np.ones(len(X))),
    lambda: classifier().partial_fit(X, y, classes=NAMES, sample_weight=np.ones(len(X))),
    lambda: ml.ImplicitMLPRegressor().partial_fit(X, X, sample_weight=np.ones(len(X))),
    lambda: classifier(class_weight="balanced"), lambda: ml.ImplicitMLPClassifier(class_weight={0: 2.0})])
def test_whoever_gives_weights_is_told_that_there_are_none_and_what_to_do(call):
    """scikit-learn's own networks take weights of samples since its 1.7, and none of classes."""
    with pytest.raises(TypeError, match=r"every sample weighs the same; rows may be repeated, as in X\.repeat\(n,"):
        call()


def test_wrong_labels():
    with pytest.raises(ValueError, match="classes must be given"):
        classifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="'middle', which is not among the classes"):
        classifier().fit(X, y).partial_fit(X[:1], np.array(["middle"]))


def test_verbose_may_be_a_number_as_in_scikit_learn(capsys):
    classifier(verbose=0).fit(X, y)
    assert not capsys.readouterr().err
    classifier(verbose=1).fit(X, y)
    assert "100%" in capsys.readouterr().err  # the bar's words are cut off in a narrow terminal

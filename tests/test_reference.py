"""The reference shows every public name, once, and none of its references leads nowhere; its examples run."""

import doctest
import importlib
import inspect
import re
import warnings

import numpy as np
import pytest

import minilift as ml
from minilift import datasets, download, reference

FETCHED = {f"minilift.datasets.{name}" for name in download.PUBLISHED}  # sets of many megabytes
PUBLIC = reference.public()


def example(name):
    """Return the examples of a name as one doctest, which begins with the imports that the first page names."""
    text = inspect.getdoc(PUBLIC[name] if name in PUBLIC else importlib.import_module(name)) or ""
    return doctest.DocTestParser().get_doctest(text, {"ml": ml, "np": np}, name, None, None)


def outcome(name):
    """Return what doctest has to say of the examples of a name, nothing if all is as they show it."""
    said = []
    doctest.DocTestRunner().run(example(name), out=said.append)
    return "".join(said)


def test_every_public_name_is_on_one_page():
    shown = [name for rooms in reference.PAGES.values() for name in reference.on_page(rooms)]
    assert sorted(shown) == sorted(PUBLIC)
    exported = {f"minilift.{name}" for name in ml.__all__ if not inspect.ismodule(getattr(ml, name))}
    assert exported <= set(shown)


def test_every_public_name_has_an_example_that_shows_something():
    assert len(PUBLIC) > 110
    shown = {name: "".join(one.want for one in example(name).examples) for name in PUBLIC}
    assert not [name for name, text in shown.items() if not text]


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - FETCHED))
def test_an_example_runs(name):
    assert outcome(name) == ""


def test_a_wrong_example_is_found(monkeypatch):
    monkeypatch.setattr(ml.Constant, "__doc__", ">>> ml.Constant(0.1)(0)\n0.2\n")
    assert "Expected:\n    0.2\nGot:\n    0.1" in outcome("minilift.Constant")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilift.checks", "minilift.checks.claims", "minilift.datasets",
                                  "minilift.estimators"])
def test_an_example_at_the_head_of_a_file_runs(name):
    assert example(name).examples
    assert outcome(name) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FETCHED))
def test_an_example_of_a_published_set_runs_where_its_files_are(name, monkeypatch):
    """Or else it is skipped, visibly; nothing is downloaded."""
    def refuse(set_name, published, folder):
        raise datasets.DatasetError(f"{published.name} is not here")

    monkeypatch.setattr(download, "download", refuse)
    try:
        getattr(datasets, name.rpartition(".")[2])()
    except datasets.DatasetError as error:
        pytest.skip(str(error))
    assert outcome(name) == ""


def test_names_in_backquotes_are_links_or_code():
    names = {"fit": "minilift.fit"}
    assert reference.linked("As `fit` does, `x` and ``fit``, :math:`fit`.", names) == (
        "As :py:obj:`fit <minilift.fit>` does, ``x`` and ``fit``, :math:`fit`.")


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path):
    """Sphinx is told to be nitpicky: what is written as a reference must lead somewhere."""
    pytest.importorskip("sphinx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Sphinx's own
        assert reference.build(tmp_path) == ""
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html"))
    assert set(PUBLIC) <= set(re.findall(r'id="([\w.]+)"', pages))
    assert pages.count("<math") > 100
    assert "mathjax" not in pages.lower(), "the pages are read without a network"
    assert pages.count("&gt;&gt;&gt;") > 110
    assert "nitpicky, " in reference.SETTINGS

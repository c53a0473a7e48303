"""The reference shows every public name, once, and none of its references leads nowhere; its examples run."""

import inspect
import re

import pytest

import minilift as ml
from minilift import reference


def test_every_public_name_is_on_one_page():
    shown = [name for rooms in reference.PAGES.values() for name in reference.on_page(rooms)]
    assert sorted(shown) == sorted(reference.public())
    exported = {f"minilift.{name}" for name in ml.__all__ if not inspect.ismodule(getattr(ml, name))}
    assert exported <= set(shown)


def test_names_in_backquotes_are_links_or_code():
    names = {"fit": "minilift.fit"}
    assert reference.linked("As `fit` does, `x` and ``fit``, :math:`fit`.", names) == (
        "As :py:obj:`fit <minilift.fit>` does, ``x`` and ``fit``, :math:`fit`.")


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    assert reference.build(tmp_path) == ""
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html"))
    assert set(reference.public()) <= set(re.findall(r'id="([\w.]+)"', pages))
    assert pages.count('class="math') > 50

"""The site on which the notebooks run in the browser: what it is made of, and what is said where it cannot be built."""

import importlib.util
import json

import pytest

from minilift.cli import main
from minilift.course import lite, notebooks


def test_the_first_code_cell_installs_the_package():
    notebook = notebooks.read(notebooks.paths("05")[1])
    changed = lite.with_installation(notebook)
    kinds = [cell["cell_type"] for cell in changed["cells"]]
    assert changed["cells"][kinds.index("code")]["source"].startswith("%pip install -q minilift")
    assert [cell for cell in changed["cells"] if cell["source"] != lite.INSTALL] == notebook["cells"]


def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["teach", "book", "--lite", str(tmp_path)]) != 0
    said = capsys.readouterr().err
    assert "jupyterlite_core" in said
    assert "[lite]" in said


def test_what_a_tool_said_is_told(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)json\.tool nowhere ended with code.*nowhere"):
        lite.call(tmp_path, "json.tool", "nowhere")


@pytest.mark.slow
def test_the_site_has_the_notebooks_and_our_wheel(tmp_path):
    for needed in ("jupyterlite_core", "jupyterlite_pyodide_kernel", "jupyter_server", "setuptools"):
        pytest.importorskip(needed)
    notebook = lite.with_installation(notebooks.without_outputs(notebooks.read(notebooks.paths("05")[1])))
    lite.write(tmp_path / "lite", {"05_implicit_weights": notebooks.as_text(notebook)}, notebooks.folder().parent)
    assert json.loads((tmp_path / "lite/files/05_implicit_weights.ipynb").read_text("utf-8")) == notebook
    index = json.loads((tmp_path / "lite/pypi/all.json").read_text("utf-8"))
    assert list(index) == ["minilift"]
    (release,) = index["minilift"]["releases"].values()
    assert (tmp_path / "lite/pypi" / release[0]["filename"]).exists()
    assert (tmp_path / "lite/lab/index.html").exists()

"""What is built and said of the package: a small wheel without solutions, a whole source distribution, one version."""

import configparser
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import minilift as ml
from minilift.course.notebooks import CURRICULUM

ROOT = Path(ml.__file__).parent.parent
BUILD = "from setuptools import build_meta as backend; backend.build_wheel('out'); backend.build_sdist('out'); " \
        "backend.build_editable('editable')"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_version_and_authors_are_said_once():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    about = config["metadata"]
    assert about["version"] == ml.__version__
    assert f"\nversion: {ml.__version__}\n" in text("CITATION.cff")
    assert f"## {ml.__version__}" in text("CHANGELOG.md")
    authors = re.search(r"Copyright \(c\) \d+ (.+)", text("LICENSE"))[1]
    assert about["author"] == authors
    assert f"  - name: {authors}\n" in text("CITATION.cff")
    assert f"minilift-{ml.__version__}-py3-none-any.whl" in text("tutorials/RECIPES.md")


def test_the_papers_of_all_methods_are_cited():
    def papers(name):
        return re.findall(r"https://(?:arxiv.org/abs|doi.org)/[\w./]+", text(name))
    cited = papers("CITATION.cff")
    assert len(cited) == len(set(cited)) == 16
    assert set(cited) == set(papers("README.md"))
    assert set(papers("setup.cfg")) == set(cited[:3]), "the papers of the three methods that the package is named for"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the wheel, the source distribution and the wheel of an editable installation.

    They are built from a copy of the files that are kept under version.
    """
    pytest.importorskip("setuptools", minversion="70.1")  # which makes wheels itself
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: which files belong to it is not known")
    tree = tmp_path_factory.mktemp("tree")
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(tree.glob("out/*.whl")), next(tree.glob("out/*.tar.gz")), next(tree.glob("editable/*.whl"))


@pytest.mark.slow
def test_the_wheel_is_small_and_tells_no_solutions(built):
    wheel, _, _ = built
    assert wheel.stat().st_size < 1_100_000
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        notebooks = [json.loads(archive.read(f"minilift/tutorials/{name}.ipynb")) for name in CURRICULUM]
    assert {"minilift/py.typed", "minilift/data/digits.npz", "minilift/tutorials/README.md"} <= set(names)
    assert not [name for name in names if "solutions/" in name or "/src/" in name or "tests/" in name]
    assert not [cell for notebook in notebooks for cell in notebook["cells"] if cell.get("outputs")]


@pytest.mark.slow
def test_the_source_distribution_is_whole(built):
    """What the tests read is in it, so that they run there."""
    _, source, _ = built
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("tests/conftest.py", "tests/oracle/README.md", "tutorials/src/01_backward_step.py", "data/digits.npz",
                 "tutorials/solutions/01_backward_step.ipynb", "data/results/README.md", ".ci/run", ".ruff.toml",
                 "CITATION.cff", "CHANGELOG.md", "LICENSE"):
        assert name in names


@pytest.mark.slow
def test_an_editable_installation_is_a_path(built):
    """Type checkers follow a path to the clone; a hook in Python's import, which setuptools may make, they do not."""
    _, _, editable = built
    with zipfile.ZipFile(editable) as archive:
        outside = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert [name.endswith(".pth") for name in outside] == [True]
        path = Path(archive.read(outside[0]).decode().strip())
    assert (path / "minilift" / "py.typed").is_file()

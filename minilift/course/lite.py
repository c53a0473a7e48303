"""The course in the browser: a JupyterLite site with the notebooks and a wheel of this package.

Python runs in the reader's browser. The site needs a web server, any that can serve files. The reader needs a network
connection the first time: Python, NumPy and the other libraries come from the distribution that JupyterLite specifies.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from minilift.support.files import write_text

PARTS = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "minilift", "data",
         "tutorials")  # the contents of a wheel
INSTALL = "%pip install -q minilift  # here in the browser, once in each notebook"


def write(directory, notebooks, root):
    """Write the site into a folder.

    Parameters
    ----------
    directory : Path
        Created if it does not exist; the files of an earlier build are replaced.
    notebooks : dict of name → str
        The texts of the notebooks' files.
    root : Path
        The source checkout from which the wheel is built.

    Raises
    ------
    RuntimeError
        If the wheel or the site cannot be built, with the last lines of the tool's output.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for part in ("contents", "site", "source"):
            (scratch / part).mkdir()
        for title, text in notebooks.items():
            write_text(scratch / "contents" / f"{title}.ipynb", text)
        for part in PARTS:  # a build leaves files beside its source
            copy = shutil.copytree if (root / part).is_dir() else shutil.copy
            copy(root / part, scratch / "source" / part)
        call(scratch, "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", "wheels",
             "./source")  # without ./ it would be the name of a package
        wheel = next((scratch / "wheels").glob("*.whl"))
        call(scratch, "jupyterlite_core", "build", "--force", "--no-sourcemaps", "--apps", "lab", "--apps", "notebooks",
             "--lite-dir", "site", "--contents", str(scratch / "contents"), "--piplite-wheels", str(wheel),
             "--output-dir", str(directory.resolve()))


def with_installation(notebook):
    """Return a notebook, as dicts, with a cell that installs this package before its first code cell."""
    first = next(k for k, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code")
    cell = {"cell_type": "code", "id": "in-the-browser", "source": INSTALL, "metadata": {}, "outputs": [],
            "execution_count": None}
    return dict(notebook, cells=[*notebook["cells"][:first], cell, *notebook["cells"][first:]])


def call(folder, *command):
    """Run a Python module in a folder, or raise a `RuntimeError` with the last lines of its output."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise RuntimeError(f"{command[0]} {command[1]} ended with code {done.returncode}:\n{said}")

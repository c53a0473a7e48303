"""What setup.cfg cannot say: data and notebooks lie beside the package and go into it, notebooks without outputs.

Outputs are large, and spoil predictions. Were the two folders packages of setup.cfg's, an editable installation would
need a hook in Python's import, and type checkers would find no package.
"""

import json
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ("data/*.npz", "data/*.json", "tutorials/*.ipynb", "tutorials/*.md")


class WithDataAndNotebooks(build_py):
    """Copy the package, then what lies beside it, and empty the outputs of the notebooks."""

    def run(self):
        super().run()
        if self.editable_mode:  # they are found beside the package
            return
        for path in (path for pattern in BESIDE for path in Path().glob(pattern)):
            target = Path(self.build_lib, "minilift", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".ipynb":
                target.write_text(without_outputs(path.read_text(encoding="utf-8")), encoding="utf-8")
            else:
                shutil.copyfile(path, target)


def without_outputs(text):
    """Return the text of a notebook with the outputs of its cells emptied."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


setup(cmdclass={"build_py": WithDataAndNotebooks})

"""What setup.cfg cannot say: notebooks go into a wheel without their outputs, which are large and spoil predictions."""

import json
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithoutOutputs(build_py):
    """Copy the package, then empty the outputs of its notebooks."""

    def run(self):
        super().run()
        for path in Path(self.build_lib, "minilift", "tutorials").glob("*.ipynb"):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    cell.update(outputs=[], execution_count=None)
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


setup(cmdclass={"build_py": WithoutOutputs})

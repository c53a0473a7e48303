"""`minilift docs`: the reference of the public API, built by Sphinx from the docstrings alone, as a folder of HTML.

The pages are generated here from what the package exports: nothing is written into the source tree, and nothing has to
be kept in step with it. A name in backquotes becomes a link if it is one of the public names.
"""

from __future__ import annotations

import inspect
import io
import re
import tempfile
from functools import partial
from pathlib import Path

import minilift
from minilift import datasets, energy, plots
from minilift.local import problems, solvers
from minilift.support.options import writable_folder
from minilift.support.terminal import how_to_install, note

# the pages, in reading order: title, and the rooms or files whose public names they show
PAGES = {
    "Networks": ("network", "models", "graph"),
    "Layers: maps and joins": ("layers.maps", "layers.convolution", "layers.joins"),
    "Layers: transfers": ("layers.activations", "layers.normalization", "layers.pooling"),
    "Losses": ("layers.losses",),
    "Methods": ("methods",),
    "The lifted energy and its local problems": ("energy", "local"),
    "Optimizers and schedules": ("optim",),
    "Training": ("training", "support.parallel"),
    "Estimators for scikit-learn": ("estimators",),
    "Checking": ("checks",),
    "Data sets": ("datasets",),
    "Figures": ("plots",),
}
# names that users call in the exported modules, beyond those that the package itself exports
SHOWN = {
    "datasets": (datasets.Dataset, datasets.DatasetError, datasets.load, datasets.available, datasets.describe,
                 datasets.split),
    "energy": (energy.PenaltyEnergy, energy.algorithm_1, energy.algorithm_2),
    "problems": (problems.LocalProblem, problems.SquaredGap, problems.MatchingLoss, problems.SquaredFit),
    "solvers": (solvers.damped_solve, solvers.conjugate_gradients, solvers.exact, solvers.newton,
                solvers.gradient_steps, solvers.fletcher_reeves),
    "plots": (plots.history, plots.comparison, plots.residuals, plots.graph, plots.sweep, plots.filters,
              plots.activations, plots.prox_residual, plots.save),
}
SETTINGS = """
import builtins

project, author, release = "minilift", "The minilift authors", {version!r}
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "minilift.reference"]
html_math_renderer = "mathml"
default_role = "code"
nitpicky, nitpick_ignore = True, [("py:exc", name) for name in dir(builtins)]  # Python's own are not shown here
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = napoleon_use_param = napoleon_use_rtype = False  # types are words here, and no names
napoleon_custom_sections = [("Attributes", "params_style")]
html_theme = "alabaster"
html_copy_source = html_show_sourcelink = False
html_theme_options = {{"description": "Neural networks trained by implicit steps", "page_width": "1100px"}}
"""
BACKQUOTED = re.compile(r"(?<![`:\w])`([A-Za-z_][\w.]*)(\(\))?`(?![`_])")


def public():
    """Return {full name: object} of all functions and classes that the reference shows."""
    found = {f"minilift.{name}": getattr(minilift, name) for name in minilift.__all__}
    things = {name: thing for name, thing in found.items() if not inspect.ismodule(thing)}
    things |= {f"minilift.datasets.{name}": loader for name, loader in datasets.SETS.items()}
    return things | {f"minilift.{module}.{thing.__name__}": thing for module, some in SHOWN.items() for thing in some}


def place(name, thing):
    """Return where an object is defined, such as 'layers.maps'; for plots and data sets, where it is shown."""
    shown = name.split(".")[1]
    return shown if shown in ("datasets", "plots") and name.count(".") > 1 else thing.__module__.partition(".")[2]


def on_page(rooms):
    """Return the public names that are defined in some rooms or files."""
    return {name: thing for name, thing in public().items()
            if any(place(name, thing) == room or place(name, thing).startswith(f"{room}.") for room in rooms)}


def page(title, names):
    """Return a page in reStructuredText."""
    lines = [title, "=" * len(title)]
    for name, thing in names.items():
        if inspect.isclass(thing):
            lines += ["", f".. autoclass:: {name}", f"   :members: {', '.join(members(thing))}"]
        else:
            lines += ["", f".. autofunction:: {name}"]
    return "\n".join([*lines, ""])


def members(cls):
    """Return the names of the public methods and properties of a class, and of its bases in this package."""
    own = {name for base in cls.__mro__ if base.__module__.startswith("minilift.") for name, value in vars(base).items()
           if inspect.isroutine(value) or isinstance(value, (property, classmethod))}
    return sorted(name for name in own if not name.startswith("_") and not name.endswith("_request"))


def slug(title):
    """Return the name of a page's file."""
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-")


def sources():
    """Return {file name: text} of all that Sphinx reads: settings, the first page, and a page per group of names."""
    listed = "\n   ".join(map(slug, PAGES))
    index = (f"minilift {minilift.__version__}\n==================\n\n{inspect.getdoc(minilift)}\n\n"
             "Examples begin with ``import numpy as np`` and ``import minilift as ml``.\n\n"
             f".. toctree::\n   :maxdepth: 2\n\n   {listed}\n\n* :ref:`genindex`\n")
    pages = {f"{slug(title)}.rst": page(title, on_page(rooms)) for title, rooms in PAGES.items()}
    return {"conf.py": SETTINGS.format(version=minilift.__version__), "index.rst": index, **pages}


def linked(line, names):
    """Return a line of a docstring with its backquoted names turned into links to public names, or into code."""
    def link(match):
        name, call = match[1], match[2] or ""
        full = names.get(name)
        return f":py:obj:`{name}{call} <{full}>`" if full else f"``{name}{call}``"
    return BACKQUOTED.sub(link, line)


def setup(app):
    """Make Sphinx, which loads this as an extension, write equations as MathML, which browsers draw offline."""
    inline, displayed = (partial(written, display=display) for display in (False, True))
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    return {"parallel_read_safe": True}


def written(translator, node, display):
    """Write an equation into a page."""
    from docutils.nodes import SkipNode

    from minilift.course.book import mathml

    translator.body.append(mathml(node.astext(), None) if display else mathml(None, node.astext()))
    raise SkipNode


def build(folder):
    """Build the reference in a folder and return Sphinx's warnings as text.

    Raises
    ------
    RuntimeError
        If Sphinx or latex2mathml is not installed.
    """
    try:
        import latex2mathml.converter  # noqa: F401 (what writes the equations)
        from sphinx.application import Sphinx
        from sphinx.util.console import nocolor
    except ImportError as error:
        raise RuntimeError(f"docs needs Sphinx and latex2mathml; install with: {how_to_install('docs')}") from error
    nocolor()
    warnings, names = io.StringIO(), {name.rpartition(".")[2]: name for name in reversed(list(public()))}

    def rewrite(app, what, name, thing, options, lines):  # Sphinx's arguments
        lines[:] = [linked(line, names) for line in lines]

    with tempfile.TemporaryDirectory() as source:
        for name, text in sources().items():
            Path(source, name).write_text(text, encoding="utf-8")
        app = Sphinx(source, source, str(folder), str(Path(source) / "doctrees"), "html", status=None,
                     warning=warnings, freshenv=True)
        app.connect("autodoc-process-docstring", rewrite, priority=100)  # before napoleon
        app.build()
    return warnings.getvalue()


def add_arguments(parser):
    """Declare the options of `minilift docs`."""
    parser.add_argument("--output", type=Path, default=Path("minilift-docs"), metavar="FOLDER",
                        help="where the pages are written (default minilift-docs)")


def run(arguments):
    """Build the reference and return the exit code: 1 if Sphinx warns, for example of a broken reference."""
    writable_folder(arguments.output)
    note("building the reference: about 20 seconds")
    warnings = build(arguments.output)
    print(f"{warnings}written: {arguments.output / 'index.html'}")
    return 1 if warnings else 0

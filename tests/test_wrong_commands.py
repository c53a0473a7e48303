"""Hundreds of wrong command lines, made from the parsers: each is one message that names the mistake, and exit code 2.

An option that is new to a parser is tried with wrong values from the day that it is there: by its type, or by `VALUES`.
"""

import argparse
import functools
import os
import subprocess
import sys

import pytest

from minilift import cli, download
from minilift.checks import equations
from minilift.course import notebooks
from minilift.network import Network
from minilift.support import options

# Lines that are not yet refused as they should be, by their beginnings, and where that is to be mended.
KNOWN_FAILURES: dict[str, tuple] = {}

WORDS = ("", " ", "nonsense", "σ٣", "x" * 3000)
SEEDS = ("", "-1", "three", "1.5", "nan", "٣", "1_0", "1e3", "0x10", "9" * 5000)
COUNTS = (*SEEDS, "0")
NUMBERS = ("", "-1", "0", "three", "nan", "inf", "٣", "1_0", "1e999")
HUGE = ("1" + 30 * "0",)
NO_NOTEBOOK = "99"
NO_FILES = ("", "nowhere/at/all", "binary.bin", "folder", "x" * 3000)  # to be read
NO_TARGETS = ("", "binary.bin/inside", "x" * 3000)  # to be written into
NO_METHODS = ("nowhere.py:f", "folder:f", "binary.py:f", "binary.bin:f", "raises.py:f", "exits.py:f", "typo.py:f",
              "good.py:nothing", "good.py:", ":f", "good.py:Wants", "good.py:Raises", "good.py:Hostile", "good.py:text")
# By command and option, where the type alone does not say what is wrong for it.
VALUES = {
    "compare --data": (*WORDS, "moons:seed=-1", "moons:seed=1.5", "moons:seed=None", "moons:n=5", "moons:n=2.5",
                       "moons:n=999999999999", "moons:noise=-1", "moons:noise=nan", "moons:noise=1e39", "moons:noise=x",
                       "moons:n", "mnist:folder=5", "mnist:folder=~nobody-of-this-name", "curves:n_train=1000000000000",
                       "curves:n_test=0", "curves:seed=x", "spirals:classes=1", "spirals:classes=1000000000000",
                       "teacher:widths=5", "teacher:widths='abc'", "teacher:noise=True"),
    "compare --layers": ("", "64", "64,,10", "64,a,10", "64,-1,10", "64,0,10", "64,1.5,10", "63,5,10", "64,٥,10",
                         "64,100000000,100000000,10"),
    "compare --steps": ("", "0", "-1", "a", "0.1,,1", "nan", "inf", "0.1,٣"),
    "compare --methods": (*WORDS, *NO_METHODS, "proxprop:", "proxprop:tau_theta=-1", "proxprop:tau_theta=1j",
                          "proxprop:tau_theta=[]", "proxprop:solver=cg0", "proxprop:solver=cg٣", "proxprop:joint=yes"),
    "compare --optimizer": (*WORDS, "sgd:lr=1", "nesterov:momentum=2", "nesterov:momentum=x", "adam:beta_1=[]"),
    "compare --threads": (*COUNTS, *HUGE), "compare --repeats": (*COUNTS, *HUGE), "compare --samples": COUNTS,
    "compare --output": (*NO_TARGETS, "nowhere/x.png", "x.pgn", "folder"),
    "compare --seed": SEEDS,
    "train --seed": SEEDS, "train --output": NO_TARGETS, "train --checkpoint": NO_TARGETS,
    "train --method": (*WORDS, *NO_METHODS, "proxprop:tau_theta=-1"), "train --optimizer": (*WORDS, "sgd:lr=1"),
    "bench --rounds": (*COUNTS, *HUGE), "bench --threads": (*COUNTS, *HUGE),
    "bench --data": NO_FILES, "bench --output": NO_TARGETS,
    "reproduce --jobs": ("", "0", "three", "1.5", "٣", *HUGE), "reproduce --threads": (*COUNTS, *HUGE),
    "reproduce --seeds": (*COUNTS, *HUGE),
    "reproduce --data": NO_FILES, "reproduce --output": (*NO_TARGETS, "binary.bin"),
    "reproduce --write": (*NO_FILES, "notes.md"),
    "verify target": (*WORDS, *NO_METHODS), "verify --seed": SEEDS, "verify --like": (*WORDS, *NO_METHODS),
    "verify --objective": (*WORDS, *NO_METHODS), "verify --net": (*WORDS, *NO_METHODS),
    "equations --write": (*NO_FILES, "notes.md"), "equations filter": ("", "nonsense words", "99", "٣"),
    "data fetch name": (*WORDS, "digit", "digits.npz"),
    "tutorials directory": NO_TARGETS,
    "teach student directory": NO_TARGETS, "teach student names": (*WORDS, "0", NO_NOTEBOOK, "²"),
    "teach book directory": NO_TARGETS, "docs --output": NO_TARGETS,
    "teach grade notebook": (*NO_FILES, "notes.md"), "teach grade --seed": SEEDS, "teach grade --json": NO_TARGETS,
    "teach kit directory": NO_TARGETS, "teach kit --seed": SEEDS,
    "teach build names": (*WORDS, "0", NO_NOTEBOOK, "²"),
}
# What else a command needs, so that one wrong value is all that is wrong with the line.
REST = {"bench": ["step"], "reproduce": ["proxprop-table1"], "tutorials": ["--no-browser"], "teach student": ["out"],
        "teach grade": ["good.ipynb"]}
LONE = ("", "--", "comapre", "compare\n", "--versio", "-x", "٣")


def parsers():
    """Yield (command, parser) of every command and of its subcommands."""
    for name, command in cli.COMMANDS.items():
        parser = cli.Parser(prog=f"minilift {name}")
        getattr(cli.module_of(command), command.add_arguments)(parser)
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        yield name, parser
        for action in inner:
            yield from ((f"{name} {word}", choice) for word, choice in action.choices.items())


def wrong_values(command, option, action):
    """Return what is wrong for an option: as `VALUES` has it, or by its type."""
    by_type = {options.whole: COUNTS, options.decimal: NUMBERS}
    return VALUES.get(f"{command} {option}", by_type.get(action.type, WORDS))


def wrong_lines():
    """Yield (words, what the message must name one of) of every wrong command line."""
    yield from (([word], (word.strip(), "unknown")) for word in LONE)
    for command, parser in parsers():
        words, rest = command.split(), REST.get(command, [])
        yield [*words, *rest, "--nonsense"], ("--nonsense", "are required: {")
        for action in parser._actions:
            option = action.option_strings[-1] if action.option_strings else action.dest
            values = wrong_values(command, option, action)
            if isinstance(action, argparse._SubParsersAction):
                yield words, ("are required: {",)
                yield from (([*words, value], ("unknown name",)) for value in WORDS)
            elif not action.option_strings:  # of positional arguments those before it
                before = rest if option == "names" or rest[:1] == ["--no-browser"] else []
                yield from (([*words, *before, value], (option, str(action.metavar), value)) for value in values)
            elif action.nargs == 0:
                yield [*words, *rest, f"{option}=yes"], (option,)
                yield [*words, *rest, option[:-1]], (option[:-1], "are required: {")
            else:
                yield [*words, *rest, option], (option,)
                yield [*words, *rest, option[:-1], "1"], (option[:-1],)
                yield from (([*words, *rest, f"{option}={value}"], (option, value)) for value in values)


def shown(words):
    """Return a command line for the name of a test."""
    return " ".join(word if len(word) < 60 else f"{word[:20]}…" for word in words)


def param(words, names):
    """Return a wrong command line for pytest; one that is known to fail is not run, for it may take all memory."""
    line = shown(words)
    places = [place for place, lines in KNOWN_FAILURES.items() for known in lines if f"{line} ".startswith(known)]
    return pytest.param(words, names, id=line, marks=[pytest.mark.xfail(reason=place, run=False) for place in places])


LINES = [param(words, names) for words, names in wrong_lines()]
INDEX = functools.cache(equations.index)


class Begun(BaseException):
    """Raised where work begins that a wrong command line must not reach."""


def begin(*arguments, **options):
    raise Begun


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Return a folder with files of every wrong kind."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "folder").mkdir()
    for name in ("binary.bin", "binary.py"):
        (folder / name).write_bytes(bytes(range(256)) * 20)
    (folder / "notes.md").write_text("no marks, no notebook\n")
    (folder / "raises.py").write_text("import math\n\n1 / 0\n")
    (folder / "exits.py").write_text("import sys\nsys.exit('bye')\n")
    (folder / "typo.py").write_text("def f(block:\n")
    (folder / "good.py").write_text(GOOD)
    (folder / "good.ipynb").write_bytes(notebooks.paths("01")[1].read_bytes())
    return folder


GOOD = """
class Wants:
    def __init__(self, size):
        self.size = size

class Raises:
    def __init__(self):
        raise KeyError("no such thing")

class Hostile:
    @property
    def kind(self):
        raise OSError("not today")
    def __repr__(self):
        return repr(self)

text = "neither a method nor a layer"
"""


@pytest.fixture
def nothing_begins(desk, monkeypatch):
    """Stand at the desk, where nothing may begin and nothing may be left."""
    monkeypatch.chdir(desk)
    monkeypatch.setattr(equations, "index", INDEX)  # which reads a hundred files
    before = sorted(os.listdir())
    for owner, name in ((Network, "propagate"), (download, "download"), (notebooks, "execute"), (subprocess, "run"),
                        (subprocess, "call"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, begin)
    yield
    after = sorted(os.listdir())
    for name in set(after) - set(before):
        (desk / name).rename(desk.parent / name)
    assert after == before


def outcome(words, capsys):
    """Return the exit code, standard output and error of a command line; a traceback is told as Python would."""
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_there_are_enough_of_them():
    assert len(LINES) >= 225
    assert len({param.id for param in LINES}) > 0.95 * len(LINES)
    known = {f"{command} {option}" for command, parser in parsers() for action in parser._actions
             for option in (*action.option_strings, action.dest)}
    assert set(VALUES) <= known, "an option is gone"


@pytest.mark.parametrize(("words", "names"), LINES)
def test_a_wrong_command_line_is_refused(nothing_begins, capsys, words, names):
    code, out, err = outcome(words, capsys)
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    message = err.splitlines()[-1]
    assert message.startswith("minilift")
    named = {form.casefold() for name in names for form in (name, name.partition(":")[0]) if form}
    assert any(name in message.casefold() for name in named), message


@pytest.mark.slow
@pytest.mark.parametrize("line", ["verify typo.py:f", "equations --write=binary.bin", "compare --seed=x"])
def test_the_process_says_the_same(desk, line):
    command = [sys.executable, "-m", "minilift.cli", *line.split()]
    done = subprocess.run(command, cwd=desk, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""

r"""The command ``minilift verify``: its arguments, and the objects that FILE.py:NAME refers to."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from minilift.checks import kind_of, package_checks, verify
from minilift.checks.package import small_convnet
from minilift.checks.report import CLAIMS, Check, Report
from minilift.graph import checked_network
from minilift.layers import losses
from minilift.methods import BackProp, LocoProp, ProxProp, SemiImplicit, as_method
from minilift.models import mlp, resnet, rnn
from minilift.support.arguments import function, known_name, shown, split_options, takes, unknown_name, whole_number
from minilift.support.options import check_count, check_options, naming, whole
from minilift.support.processes import cores, own_process
from minilift.support.signals import children_spared
from minilift.support.terminal import USERS_FILE, note
from minilift.training.names import METHODS as TRAINED
from minilift.training.names import named_method

NETS = {"mlp": lambda: mlp([5, 4, 3, 2], activation="tanh"), "convnet": lambda: small_convnet(0, "numpy"),
        "resnet": lambda: resnet([3, 4, 4, 4, 2], "tanh"), "rnn": lambda: rnn(2, 3, 1, 3, loss=losses.SquaredError())}
AT_ONCE = 4  # processes at most, by default: each one draws all problems anew
LIKE = {"backprop": BackProp, "proxprop": ProxProp, "locoprop": LocoProp, "semi-implicit": SemiImplicit}


def add_arguments(parser):
    """Add the arguments of ``minilift verify`` to an `argparse` parser."""
    parser.add_argument("target", nargs="?", metavar="FILE.py:NAME",
                        help="what to check: an object, a class without arguments, or a function propose(block); "
                             "without it, everything in the package")
    parser.add_argument("--like", metavar="METHOD",
                        help="what the method should equal: backprop, proxprop:tau_theta=0.5, locoprop:variant=S, "
                             "semi-implicit:eta=0.1, another method of 'minilift compare', or FILE.py:NAME, a function "
                             "of a block")
    parser.add_argument("--objective", metavar="FILE.py:NAME",
                        help="a function of (block, theta) that the method's new parameters should minimise")
    parser.add_argument("--net", metavar="NET",
                        help=f"the network on which the method is run: {', '.join(NETS)}, or FILE.py:NAME (default: "
                             "seven small chains and a graph)")
    parser.add_argument("--list", action="store_true", help="list the claims with their sources, check nothing")
    parser.add_argument("--seed", type=whole, default=0, help="seed of the random problems (default 0)")
    parser.add_argument("--jobs", type=whole, metavar="N",
                        help=f"number of processes that check the package (default: one per core, at most {AT_ONCE})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments):
    """Run ``minilift verify``; return the exit code: 1 if a claim fails or nothing could be verified, else 0.

    Raises
    ------
    ValueError, TypeError
        For a mistake in the arguments; the command prints its message and exits with code 2.
    """
    if arguments.list:
        print(claims_text())
        return 0
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr if arguments.json else out):  # a user's prints are no JSON
        report = report_on(arguments)
        with folders_of_files():
            for k, part in enumerate([report.to_json()] if arguments.json else report.parts()):
                print("\n" * (k > 0) + part, file=out, flush=True)  # the table does not wait for edits
    return 0 if report.passed else 1


def report_on(arguments):
    """Return the `Report` on what the arguments name."""
    given = {"like": like_of,
             "objective": lambda text: function("--objective", load_target(text), "(block, theta)", 2),
             "net": net_of}
    options = {}
    for name, read in given.items():
        if (text := getattr(arguments, name)) is not None:
            if arguments.target is None:
                raise ValueError(f"--{name} {text}: goes with a method; name it, as FILE.py:NAME")
            with naming(f"--{name}"):
                options[name] = read(text)
    alone = arguments.target is not None
    thing = load_target(arguments.target) if alone else None
    if alone and arguments.jobs is not None:
        raise ValueError("--jobs: goes with everything in the package, not with FILE.py:NAME")
    if alone and arguments.like == arguments.target:
        options["like"] = thing  # it is its own reference, which proves nothing
    if alone:
        with naming(arguments.target):
            if kind_of(thing) != "method" and options:  # kind_of refuses None, which would stand for the package
                raise TypeError(f"--{next(iter(options))} goes with a method, got {shown(thing)}")
    note("checking: some seconds" if alone else "checking all that the package holds: about 10 seconds")
    seed = arguments.seed
    with folders_of_files():
        return verify(thing, seed=seed, **options) if alone else all_checked(seed, arguments.jobs)


@contextlib.contextmanager
def folders_of_files():
    """Let imports inside the functions of the user's files find what lies beside these."""
    files = [getattr(module, "__dict__", {}).get(USERS_FILE) for module in [*sys.modules.values()]]
    before = sys.path[:]
    sys.path.extend(str(Path(file).resolve().parent) for file in files if file)
    try:
        yield
    finally:
        sys.path[:] = before


def all_checked(seed, jobs=None):
    """Return the `Report` on the whole package; other processes check their shares alongside this one."""
    seed = whole_number("verify: seed", seed, least=0)
    jobs = min(cores(), AT_ONCE) if jobs is None else check_count("jobs", jobs)
    others = []
    try:
        with children_spared():  # they ignore Ctrl-C by themselves only when they have imported what they need
            others = [subprocess.Popen(own_process("minilift.checks.command", str(seed), str(turn), str(jobs)),
                                       stdout=subprocess.PIPE) for turn in range(1, jobs)]
        shares = [package_checks(seed, None, 0, jobs), *map(checks_of_process, others)]
    finally:
        for other in others:
            other.kill()
    parts = itertools.chain.from_iterable(itertools.zip_longest(*shares, fillvalue=()))
    return Report([check for part in parts for check in part], seed)


def checks_of_process(process):
    """Return the checks that another process has made."""
    written, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"verify: a process that checks a share ended with status {process.returncode}")
    return [[Check(**check) for check in part] for part in json.loads(written)]


def write_share(seed, turn, jobs):
    """Check a share of the package and write the checks for the process that started this one, and will also end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(json.dumps([[asdict(check) for check in part] for part in package_checks(seed, None, turn, jobs)]))


def like_of(text):
    """Return the method that 'NAME', 'NAME:argument=value,…' or 'FILE.py:NAME' stands for."""
    if re.fullmatch(r".+\.py:\w+(:.*)?", text):
        return as_method(load_target(text))
    name, options = split_options("--like", text)
    if name in TRAINED and name not in LIKE:
        return named_method("--like", text)
    factory = LIKE[known_name("--like", name, tuple(dict.fromkeys([*LIKE, *TRAINED])))]
    check_options(f"--like: {name}", factory, options)
    return factory(**options)


def net_of(text):
    """Return the network that a name in `NETS` or 'FILE.py:NAME' stands for."""
    if text.isidentifier():
        return NETS[known_name("network", text, (*NETS, "FILE.py:NAME"))]()
    return checked_network("--net", load_target(text))


def claims_text():
    """Return the list of all claims: source, equation, words."""
    width, lines = max(len(claim.source) for claim in CLAIMS), []
    for kind, group in itertools.groupby(sorted(CLAIMS, key=lambda claim: claim.kind), key=lambda claim: claim.kind):
        lines += ["", kind, *(f"  {claim.source:<{width}}  {claim.words}: {claim.equation}" for claim in group)]
    return "\n".join(lines[1:])


def load_target(target):
    """Return the object that FILE.py:NAME names; a class is called without arguments.

    Raises
    ------
    ValueError
        If the file or the name does not exist, the file cannot be run, or the class requires arguments. An error that
        the class itself raises is passed on.
    """
    if re.search(r"\.py:\w+:", target):
        raise ValueError(f"expected FILE.py:NAME, without arguments after it, got {target!r}; with other settings make "
                         "another object in the file")
    path, _, name = target.rpartition(":")
    if not path:
        raise ValueError(f"expected FILE.py:NAME, got {target!r}{meant(target)}")
    if not os.path.isfile(path):  # False also for what cannot be a file's name
        raise ValueError(f"there is no file {path!r}{meant(target)}")
    module = module_of(path, os.stat(path).st_mtime_ns)
    known = [key for key, value in vars(module).items() if not key.startswith("_")
             and not issubclass(type(value), ModuleType)]
    if name not in known:
        raise unknown_name(path, name, known)
    thing = vars(module)[name]
    if not issubclass(type(thing), type):
        return thing
    if not takes(thing, 0):
        raise ValueError(f"{name} is a class that wants arguments, {name}{inspect.signature(thing)}; make an instance "
                         f"of it in {path} and name that")
    return thing()


def meant(target):
    """Return a hint at what was meant: 'mine.py:f' by 'mine:f', 'mine.f' or 'mine.py::f', or everything by our names.

    It is "" if there is no such file or name.
    """
    if target.partition(":")[0] in (*TRAINED, *LIKE):
        return "; our own methods are checked without a name: minilift verify"
    return in_a_file(target)


def in_a_file(target):
    """Return the hint at 'mine.py:f' for what is written in another way, or "" if there is no such file."""
    parts = re.fullmatch(r"(.+?)(?:\.py)?(?:::?|\.)(\w+)", target)
    if parts is None or parts[2] == "py" or not os.path.isfile(f"{parts[1]}.py"):
        return ""
    return f"; did you mean '{parts[1]}.py:{parts[2]}'?"


@functools.lru_cache(maxsize=8)
def module_of(path, written):
    """Return the module made by running a file, once however often a command names it, and again if it was `written`.

    It may import modules from its own folder. Its attribute `USERS_FILE` holds the path, so that an exception passing
    through it later is known as the user's.
    """
    path = Path(path)
    spec = importlib.util.spec_from_file_location(path.name, path)  # with '.py', so that no import can find it
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    setattr(module, USERS_FILE, str(path))
    sys.modules[path.name] = module  # where a dataclass looks for its module
    sys.path.insert(0, str(path.parent))
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left beside the user's file
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a file that ends the process is of no use here
        raise ValueError(f"{path} cannot be run: {where_in(module, error)}{type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = writes
        with contextlib.suppress(ValueError):  # the file may have changed the list
            sys.path.remove(str(path.parent))
    return module


def where_in(module, error):
    """Return 'line N: ' for the line of a module that an exception came through, or ""."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_globals is vars(module)]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]
    return f"line {lines[-1]}: " if lines and lines[-1] else ""


if __name__ == "__main__":
    write_share(*map(int, sys.argv[1:]))

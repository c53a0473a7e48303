"""The `minilift` command: finds the module of a subcommand, and turns a user's mistake into one line.

A module that serves a subcommand has `add_arguments(parser)` and `run(arguments)`, which returns the exit code. It is
imported only when its subcommand is called. The command's exit code is that one, 2 for a mistake of the user's, 130
after Ctrl-C, 143 after SIGTERM, and 141 if nobody reads the output to its end.
"""

from __future__ import annotations

import argparse
import difflib
import dis
import importlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from minilift.support.signals import Terminated, terminable


class Command(NamedTuple):
    """Where a subcommand lives: module, one line of help, and the names of its two functions."""

    module: str
    help: str
    add_arguments: str = "add_arguments"
    run: str = "run"


COMMANDS = {
    "compare": Command("minilift.lab.compare", "train one small network with every method, side by side"),
    "data": Command("minilift.cli", "list the data sets, or fetch one", "add_data_arguments", "run_data"),
    "equations": Command("minilift.checks.equations",
                         "print where each equation of the papers is, and which test holds it"),
    "verify": Command("minilift.checks", "check gradients, adjoints, local solves and propositions numerically"),
    "bench": Command("minilift.lab.bench", "measure the time and memory of a training step"),
    "reproduce": Command("minilift.lab.reproduce", "run the papers' experiments, scaled to the time there is"),
    "tutorials": Command("minilift.course.notebooks", "copy the notebooks to a folder and open them in Jupyter",
                         "add_tutorials_arguments", "run_tutorials"),
    "teach": Command("minilift.course.notebooks", "hand out fresh notebooks, and grade returned ones"),
}
MISTAKES = (ValueError, TypeError, RuntimeError, ArithmeticError)


class Parser(argparse.ArgumentParser):
    """argparse's parser, which takes no abbreviated options and gives the nearest name for an unknown one."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def parse_args(self, argv=None, namespace=None):
        """Return the parsed arguments; exit with code 2 on unknown ones."""
        arguments, unknown = self.parse_known_args(argv, namespace)
        if unknown:
            option = unknown[0].split("=")[0]
            self.error(f"unknown argument {option}{hint(option, self._option_string_actions)}")
        return arguments

    def _check_value(self, action, value):
        """Refuse a value that is not one of the choices, with the nearest one (argparse names them all)."""
        if action.choices is not None and value not in action.choices:
            message = f"unknown name {value!r}{hint(value, action.choices)}"
            raise argparse.ArgumentError(action, f"{message} (known: {', '.join(map(str, action.choices))})")


def hint(name, known):
    """Return '; did you mean …?' with the nearest of the known names, or nothing."""
    near = difflib.get_close_matches(str(name), list(map(str, known)), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def main(argv=None):
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = overview()
    if not argv or argv[0].startswith("-"):
        parser.parse_args(argv)
        parser.print_help()
        return 2 if argv else 0
    name = argv[0]
    if name not in COMMANDS:
        parser.error(f"unknown command {name!r}{hint(name, COMMANDS)}")
    command = COMMANDS[name]
    try:
        with terminable():
            code = run_command(name, command, argv[1:])
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader, such as head, has left: what is still to be written goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as error:
        ended, code = ("terminated", 143) if isinstance(error, Terminated) else ("interrupted", 130)
        print(f"minilift {name}: {ended}", file=sys.stderr)
        return code
    except (*MISTAKES, OSError) as error:
        if not is_mistake(error):
            raise
        print(f"minilift {name}: {error}", file=sys.stderr)
        return 2


def run_command(name, command, argv):
    """Parse a subcommand's arguments and run it; return the exit code."""
    module = module_of(command)
    parser = Parser(prog=f"minilift {name}", description=f"{command.help[0].upper()}{command.help[1:]}.")
    getattr(module, command.add_arguments)(parser)
    arguments = parser.parse_args(argv)
    return getattr(module, command.run)(arguments)


def module_of(command):
    """Return the module of a `Command`, importing it."""
    return importlib.import_module(command.module)


def overview():
    """Return the parser of `minilift --help`."""
    from minilift import __version__

    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    parser = Parser(prog="minilift", formatter_class=argparse.RawDescriptionHelpFormatter,
                    usage="minilift COMMAND [options]", description="Neural networks trained by implicit steps.",
                    epilog=f"commands:\n{commands}\n\n'minilift COMMAND --help' explains a command; begin with "
                           "'minilift compare'.")
    parser.add_argument("--version", action="version", version=f"minilift {__version__}")
    return parser


def is_mistake(error):
    """Whether an exception is a check's answer to a user's mistake, rather than a bug.

    An `OSError` speaks of a file or the network. Of the others, ours are those that a ``raise`` statement in this
    package raised; where an operation failed by itself (shapes that do not fit in a product, say) it is a bug.
    """
    if isinstance(error, OSError):
        return True
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    inside = Path(__file__).parent in Path(code.co_filename).parents
    return inside and dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


# ---- minilift data


def add_data_arguments(parser):
    """Declare the options of `minilift data`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,fetch}")
    actions.add_parser("list", help="what there is, where it comes from and under which licence")
    fetch = actions.add_parser("fetch", help="download a set into the cache, or check the files already there")
    fetch.add_argument("name", metavar="NAME")


def run_data(arguments):
    """List the data sets or fetch one; return the exit code."""
    from minilift import datasets

    if arguments.action == "list":
        for name in datasets.available():
            print(f"{name}\n  " + datasets.describe(name).replace("\n", "\n  "))
        return 0
    data = datasets.load(arguments.name)
    print(f"{data!r}\nsource: {data.source}\nlicence: {data.licence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The `minilift` command: find the module of a subcommand, and report a user's mistake in one line.

A module that implements a subcommand has `add_arguments(parser)` and `run(arguments)`, which returns the exit code. It
is imported only when its subcommand is called. Whatever stops a command is reported in one line;
`minilift.support.terminal` defines how, and with which exit code.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import NamedTuple

from minilift.support.commands import command_hint, option_hint, stray_hint
from minilift.support.signals import terminable
from minilift.support.spellings import value_hint
from minilift.support.terminal import exit_code_of, note


class Command(NamedTuple):
    """Where a subcommand lives: module, one line of help, and the names of its two functions."""

    module: str
    help: str
    add_arguments: str = "add_arguments"
    run: str = "run"


COMMANDS = {
    "compare": Command("minilift.lab.compare", "train one small network with every method, side by side"),
    "train": Command("minilift.lab.train", "train one network, on one process or, with mpiexec, on several"),
    "data": Command("minilift.cli", "list the data sets, or fetch one", "add_data_arguments", "run_data"),
    "equations": Command("minilift.checks.equations",
                         "print where each equation of the papers is implemented, and which test checks it"),
    "verify": Command("minilift.checks.command",
                      "check gradients, adjoints, local solves and propositions numerically"),
    "bench": Command("minilift.lab.bench", "measure the time and memory of a training step"),
    "reproduce": Command("minilift.lab.reproduce", "run the papers' experiments, scaled to the time available"),
    "tutorials": Command("minilift.course.notebooks", "copy the notebooks to a folder and open them in Jupyter",
                         "add_tutorials_arguments", "run_tutorials"),
    "teach": Command("minilift.course.notebooks", "hand out fresh notebooks, and grade returned ones"),
    "docs": Command("minilift.reference", "build the API reference as HTML"),
}


class Parser(argparse.ArgumentParser):
    """A stricter argparse parser: no abbreviated options, no empty values; it suggests the nearest to an unknown name.

    The types of its numbers are `minilift.support.options.whole` and `decimal`.
    """

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, argv=None, namespace=None):
        """Return the parsed arguments and no others; exit with code 2 on unknown ones."""
        arguments, unknown = super().parse_known_args(argv, namespace)
        if unknown:
            option = unknown[0].split("=")[0] if unknown[0].startswith("-") else unknown[0]
            self.error(f"unknown argument {option}{self.hint(option)}")
        return arguments, []

    def hint(self, word):
        """Return the hint about an unknown word: its name here, or all that are available."""
        known = [one.option_strings[-1] for one in self._actions if one.option_strings and one.dest != "help"]
        alone = [str(one.metavar or one.dest) for one in self._actions if not one.option_strings]
        if word.startswith("-"):
            return option_hint(word, known, alone)
        from minilift.datasets import SETS
        from minilift.training.names import METHODS, OPTIMIZERS

        return stray_hint(word, known, {"--method": METHODS, "--methods": METHODS, "--data": SETS,
                                        "--optimizer": OPTIMIZERS}, alone)

    def _print_message(self, message, file=None):
        """Write a message, and raise an error if that fails (argparse would continue silently)."""
        if message:
            (file or sys.stderr).write(message)

    def _get_value(self, action, text):
        """Refuse an empty value, which every library interprets in its own way."""
        if not text.strip() and not isinstance(action, argparse._SubParsersAction):  # these pass on all that follows
            raise argparse.ArgumentError(action, f"expected a value, got {text!r}")
        return super()._get_value(action, text)

    def _check_value(self, action, value):
        """Refuse a value that is not one of the choices, suggesting the nearest one (argparse lists them all)."""
        if action.choices is not None and value not in action.choices:
            from minilift.datasets import SETS

            hint = value_hint(str(value), list(map(str, action.choices)))
            hint = f"; is it 'fetch {value}'?" if "fetch" in action.choices and value in SETS else hint
            message = f"unknown name {value!r}{hint}"
            raise argparse.ArgumentError(action, f"{message} (known: {', '.join(map(str, action.choices))})")


def main(argv=None):
    """Run the command line `argv` (by default that of the process) and return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    prog = " ".join(["minilift", *[word for word in argv[:1] if word in COMMANDS]])
    return exit_code_of(prog, run_command, argv)


def run_command(argv):
    """Run a command line and return its exit code, or raise whatever stops it."""
    parser = overview()
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    if not argv or argv[0].startswith("-"):
        parser.parse_args(argv)
        parser.print_help()
        return 2 if argv else 0
    name = argv[0]
    if name not in COMMANDS:
        parser.error(f"unknown command {name!r}{command_hint(name, COMMANDS)}")
    command = COMMANDS[name]
    with terminable():
        return getattr(module_of(command), command.run)(parser_of(name).parse_args(argv[1:]))


def parser_of(name):
    """Return the parser of a subcommand, importing its module."""
    command = COMMANDS[name]
    parser = Parser(prog=f"minilift {name}", description=f"{command.help[0].upper()}{command.help[1:]}.")
    getattr(module_of(command), command.add_arguments)(parser)
    return parser


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
    parser.add_argument("-V", "--version", action="version", version=f"minilift {__version__}")
    parser.add_argument("--completion", action=Completion, nargs=0,
                        help="print bash code that completes commands and options: eval \"$(minilift --completion)\"")
    return parser


# ---- completion in a shell


COMPLETION = """_minilift() {{
    local words="{commands}"
    if [ "$COMP_CWORD" -gt 1 ]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
            *) words="" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _minilift minilift
"""


class Completion(argparse.Action):
    """Print a bash function that completes commands and options, and file names where none of these fits."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Print the function and exit."""
        words = {name: " ".join(words_of(parser_of(name))) for name in COMMANDS}
        cases = "\n".join(f'            {name}) words="{known}" ;;' for name, known in words.items())
        sys.stdout.write(COMPLETION.format(commands=" ".join(COMMANDS), cases=cases))
        parser.exit()


def words_of(parser):
    """Return the options and subcommands of a parser, and those of its subcommands."""
    words = []
    for action in parser._actions:
        words += [option for option in action.option_strings if option.startswith("--")]
        if not action.option_strings:
            words += action.choices or ()
        if isinstance(action, argparse._SubParsersAction):
            words += (word for inner in action.choices.values() for word in words_of(inner))
    return list(dict.fromkeys(words))


# ---- minilift data


def add_data_arguments(parser):
    """Declare the options of `minilift data`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,fetch}")
    actions.add_parser("list", help="list the data sets, their sources and their licences")
    fetch = actions.add_parser("fetch", help="download a set into the cache, or check the files already there")
    fetch.add_argument("name", metavar="NAME", help="the set, with any arguments after a colon: mnist:folder=here")


def run_data(arguments):
    """List the data sets or fetch one; return the exit code."""
    from minilift import datasets
    from minilift.support.arguments import split_options

    if arguments.action == "list":
        for name in datasets.available():
            print(f"{name}\n  " + datasets.describe(name).replace("\n", "\n  "))
        return 0
    name, options = split_options("NAME", arguments.name)
    if name in datasets.PUBLISHED:
        note(f"{name}: reading its files, after downloading those that are missing; some minutes at most")
    data = datasets.load(name, **options)
    print(f"{data!r}\nsource: {data.source}\nlicence: {data.licence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

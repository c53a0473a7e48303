"""Values on the command line: numbers in their ranges, NAME:argument=value, files that can be written."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import os
import re
import shlex

from minilift.support.arguments import known_name, whole_number
from minilift.support.files import check_writable
from minilift.support.spellings import ELSEWHERE

RATES = ("lr", "learning_rate", "learning_rate_init", "step", "step_size")  # other libraries' names for the step size
MOST = {"threads": 1024, "jobs": 1024, "repeats": 1000, "seeds": 1000, "rounds": 100_000, "epochs": 1_000_000,
        "samples": 10**9, "batch": 10**9, "layers": 10**9}  # larger numbers are typing errors


def whole(text):
    """Return the whole number that a text holds, for argparse: ASCII digits, not more than a number here can have."""
    if not re.fullmatch(r"[+-]?[0-9]{1,40}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number such as 3, got {shortened(text)}")
    return int(text)


def decimal(text):
    """Return the number that a text holds, for argparse: positive and finite, in ASCII digits."""
    with contextlib.suppress(ValueError):
        if text.isascii() and "_" not in text and 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a positive number such as 0.1, got {shortened(text)}")


def series(text, parse, example):
    """Return the values of a text such as '64,128,10', each read by `parse`."""
    try:
        return [parse(item) for item in text.split(",")]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected {example}, got {shortened(text)}") from None


def shortened(text):
    """Return a text in quotes, without its middle if it is long."""
    return repr(text if len(text) <= 60 else f"{text[:40]}…{text[-10:]}")


def check_count(name, value, least=1):
    """Return the value of an option --name that counts something, or raise an error; `MOST` holds its upper bound."""
    value = whole_number(f"--{name}", value, least)
    if value > MOST[name]:
        raise ValueError(f"--{name} must be at most {MOST[name]}, got {value}")
    return value


def check_counts(options, *names):
    """Raise an error unless each of these options, in a dict or a namespace, is a valid count or None."""
    for name in names:
        if options[name] is not None:
            check_count(name, options[name])


@contextlib.contextmanager
def naming(option, *errors):
    """Prefix the message of an error about an option's value with the name of the option."""
    try:
        yield
    except (ValueError, TypeError, *errors) as error:
        text = str(error) or type(error).__name__
        raise ValueError(text if text.startswith(option) else f"{option}: {text}") from error


def command_line(command, options, defaults):
    """Return a command as typed in a shell, with those of its options that differ from their defaults."""
    words = command.split()
    for name, value in options.items():
        if value != defaults.get(name):
            words += [f"--{name}", *map(str, [] if value is True else value if isinstance(value, list) else [value])]
    return shlex.join(words)


def check_options(what, factory, options, taken=()):
    """Raise an error for an argument that `factory` does not take, or that the grid of step sizes sets."""
    parameters = list(inspect.signature(factory).parameters)
    for key in options:
        if key in taken or (key in RATES and key not in parameters):
            raise ValueError(f"{what}: {key} is the step size, which --step or --steps gives")
        if key not in parameters and (factory.__name__, key) in ELSEWHERE:
            raise ValueError(f"{what}: there is no argument {key!r}; {ELSEWHERE[factory.__name__, key]}")
        known_name(f"{what}: argument", key, [one for one in parameters if one not in taken])


def writable(path):
    """Make sure that --output can be written."""
    with naming("--output", OSError):
        if path.is_dir():
            raise ValueError(f"{path} is a folder, a file is needed")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"there is no folder {path.parent}")
        check_writable(path)


def writable_folder(folder):
    """Create the folder that --output names, if it is missing, and make sure that files can be written into it."""
    with naming("--output", OSError):
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder / f".{os.urandom(8).hex()}")  # a name that is free

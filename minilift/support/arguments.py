"""Checks of arguments, with errors that name the argument, what was expected and what was given."""

from __future__ import annotations

import ast
import contextlib
import inspect
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minilift.support.spellings import ELSEWHERE, value_hint

LARGEST = 2**63 - 1  # the largest whole number that an index can hold
LONGEST = 200  # characters of a value that an error shows
FALLBACK_MEMORY = 1 << 40  # bytes, where the system does not say what it has


def shown(value):
    """Return a value as an error shows it: shortened if it is long, and as its class if it cannot be printed.

    A large array is shown as its shape and dtype, which its first numbers would not reveal.
    """
    try:
        words = repr(value)
    except Exception:  # Python does not print integers of over 4300 digits, and a user's class may do anything
        return f"an object of class {type(value).__name__}"
    if hasattr(value, "dtype") and getattr(value, "ndim", 0) and (len(words) > LONGEST or "\n" in words):
        return f"{type(value).__name__} of shape {value.shape} and dtype {value.dtype}"
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


def unknown_name(what, name, known):
    """Return the `ValueError` for a name that is not in `known`, with the nearest one that is."""
    hint = value_hint(name[:LONGEST] if isinstance(name, str) else "", [str(k) for k in known])
    between = "; " if any("," in str(k) for k in known) else ", "
    return ValueError(f"{what}: unknown name {shown(name)}{hint} (known: {between.join(map(str, known)) or 'none'})")


def known_name(what, name, known):
    """Return `name` if it is one of `known`."""
    if not isinstance(name, str) or name not in known:
        raise unknown_name(what, name, known)
    return name


def whole_number(what, value, least=1, most=LARGEST):
    """Return `value` as an int if it is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{what} must be a whole number, got {shown(value)}")
    if value < least:
        raise ValueError(f"{what} must be at least {least}, got {shown(int(value))}")
    if value > most:
        raise ValueError(f"{what} must be at most {most}, got {shown(int(value))}")
    return int(value)


def real_number(what, value, kind="a number"):
    """Return `value` as a float if it is a real number of Python or NumPy; inf if it is too large for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{what} must be {kind}, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def positive_number(what, value):
    """Return `value` as a float if it is positive and finite."""
    number = real_number(what, value, "a positive number")
    if not 0 < number < math.inf:
        raise ValueError(f"{what} must be positive and finite, got {number}")
    return number


def number_between(what, value, low, high=math.inf):
    """Return `value` as a float if it is a finite number with low ≤ value < high."""
    number = real_number(what, value)
    if not (low <= number < high and math.isfinite(number)):
        bounds = f"at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g})"
        raise ValueError(f"{what} must be {bounds} and finite, got {number}")
    return number


def boolean(what, value):
    """Return `value` as a bool if it is a boolean of Python or NumPy; text and numbers do not count."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be True or False, got {shown(value)}")
    return bool(value)


def is_floating(*values, axes=(2,)):
    """Return whether all `values` are unmasked real floating-point arrays whose number of axes is in `axes`."""
    return all(getattr(value, "ndim", 0) in axes and getattr(value.dtype, "kind", "") == "f"
               and not isinstance(value, np.ma.MaskedArray) for value in values)


def text(what, value):
    """Return `value` if it is a text."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, got {shown(value)}")
    return value


def instance_of(what, value, cls, example=""):
    """Return `value` if it is an instance of a class."""
    if not isinstance(value, cls):
        raise wrong_class(what, value, cls, example)
    return value


def wrong_class(what, value, cls, example=""):
    """Return the error for a value that is not an instance of a class, for callers that test this in every step."""
    return TypeError(f"{what} must be of class {cls.__name__}{example}, got {shown(value)}")


def function(what, value, arguments, count=1):
    """Return `value` if it can be called with `count` arguments and is not a class, calling which makes an object.

    A `count` of None allows any number, for functions whose argument names decide what they are given.
    """
    if not callable(value) or isinstance(value, type) or not (count is None or takes(value, count)):
        raise TypeError(f"{what} must be a function of {arguments}, got {shown(value)}")
    return value


def takes(value, count):
    """Whether a function takes `count` arguments; True if Python cannot tell."""
    try:
        signature = inspect.signature(value, follow_wrapped=False)  # what is called is the decorated function
    except (ValueError, TypeError):  # some functions in C have no signature
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def sequence(what, value, items, length=None):
    """Return `value` as a list if it is a sequence other than text, or a 1-d array, and has `length` (if given)."""
    if (not isinstance(value, Sequence) or isinstance(value, (str, bytes))) and getattr(value, "ndim", 0) != 1:
        raise TypeError(f"{what} must be a list of {items}, got {shown(value)}")
    if length is not None and len(value) != length:
        raise ValueError(f"{what} must be a list of {length} {items}, got {len(value)}")
    return list(value)


def checked_path(what, path):
    """Return `path` as a `Path` if it can name a file, whether or not the file exists."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{what} must be the path of a file, got {shown(path)}")
    if not os.fspath(path).strip() or "\0" in os.fspath(path):
        raise ValueError(f"{what} must be the path of a file, got {shown(path)}")
    return Path(path)


def random_generator(what, seed):
    """Return NumPy's generator for a seed, a whole number of at least 0; a generator is returned as it is."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(whole_number(what, seed, least=0))


def memory_of_machine():
    """Return the bytes of physical memory or, if unknown, a number that only an absurd size exceeds."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not available on every system
        return FALLBACK_MEMORY


def fits_in_memory(what, needed):
    """Raise a `ValueError` if something about to be made needs more bytes of memory than the machine has."""
    if needed > memory_of_machine():
        raise ValueError(f"{what} must fit in memory: {needed / 1e9:,.3g} GB are needed, this machine has "
                         f"{memory_of_machine() / 1e9:.3g} GB")


# ---- things given by name


def where_labels_are(y, samples, n_out, real="; a regression takes loss=ml.SquaredError()"):
    """Return how to get labels, whole numbers (N,), from an array that has them in another form; "" if it has none.

    `real` is what to do with real numbers, which are no labels.
    """
    kind = y.dtype.kind
    if kind == "f" and y.ndim and len(y) == samples and not bool((y == y.round()).all()):
        return real
    if y.shape == (samples, 1):
        return f"; y[:, 0]{'.astype(int)' if kind == 'f' else ''} has it"
    if y.shape == (samples, n_out) and kind in "biuf":  # one-hot rows: 0 except for one entry
        return "; y.argmax(axis=1) has it" * bool(((y == 1).sum(axis=1) + (y == 0).sum(axis=1) == n_out).all()
                                                  and ((y == 1).sum(axis=1) == 1).all())
    if kind == "b" or (kind == "f" and bool((y == y.round()).all())):
        return "; y.astype(int) has them"
    if kind == "O" and all(isinstance(label, (int, np.integer)) for label in y.ravel()):
        return "; y.astype(int) has them"
    named = kind == "U" or (kind == "O" and all(isinstance(label, str) for label in y.ravel()))
    return "; np.unique(y, return_inverse=True)[1] has them" * (named and y.ndim == 1)


def where_targets_are(y, samples, n_out):
    """Return how to get targets of shape (N, n) from an array that has them in another form; "" if it has none."""
    if y.shape == (samples,) and n_out > 1 and samples and bool(((y == y.round()) & (y >= 0) & (y < n_out)).all()):
        return f"; of labels np.eye({n_out})[y] has it"
    if y.ndim and len(y) == samples and y.size == samples * n_out:
        return "; y[:, None] has it" if y.ndim == 1 else "; y.reshape(len(y), -1) has it"
    return ""


def split_options(what, text):
    """Return the name and the arguments of 'name:argument=value,…'; values are Python literals or text.

    Commas in brackets belong to a value, as in 'teacher:widths=(10,20,1)'.
    """
    name, colon, rest = text.partition(":")
    options = {}
    for item in cut_at_commas(rest) if colon else ():
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{what}: {text!r}: expected NAME:argument=value,…, got {item!r} after the colon")
        if key in options:
            raise ValueError(f"{what}: {text!r}: {key} is given twice")
        options[key] = value
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            options[key] = ast.literal_eval(value)
    return name, options


def cut_at_commas(text):
    """Return the parts of a text between commas, except commas inside brackets."""
    depth, parts = 0, [""]
    for sign in text:
        depth = max(0, depth + (sign in "([{") - (sign in ")]}"))
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def made_by_name(what, text, known):
    """Return what 'name' or 'name:argument=value,…' stands for.

    `known` is {name: (class, arguments)}; arguments in the text take precedence over those.

    Raises
    ------
    ValueError
        If the name or an argument is unknown, or an argument without a default is missing.
    """
    own = re.search(r"(\w+)\.py:(\w+)$", text)
    if own:
        raise ValueError(f"{what}: {text!r} is a name for the commands; here give the object: "
                         f"from {own[1]} import {own[2]}")
    name, options = split_options(what, text)
    make, settings = known[known_name(what, name, tuple(known))]
    parameters = inspect.signature(make).parameters
    for option in options:
        if option not in parameters and (make.__name__, option) in ELSEWHERE:
            raise ValueError(f"{what}: {name}: there is no argument {option!r}; {ELSEWHERE[make.__name__, option]}")
        known_name(f"{what}: {name}: argument", option, tuple(parameters))
    given = {**settings, **options}
    missing = [key for key, one in parameters.items() if one.default is one.empty and key not in given]
    if missing:
        raise ValueError(f"{what}: {name!r} needs {missing[0]}, as in {f'{name}:{missing[0]}=0.1'!r}")
    return make(**given)

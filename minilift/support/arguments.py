"""Checks of arguments, whose errors say which argument, what was expected and what came."""

from __future__ import annotations

import difflib
import math

import numpy as np


def unknown_name(what, name, known):
    """Return the `ValueError` for a name that is not in `known`, with the nearest one that is."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"{what}: unknown name {name!r}{hint} (known: {', '.join(map(str, known))})")


def known_name(what, name, known):
    """Return `name` if it is one of `known`."""
    if name not in known:
        raise unknown_name(what, name, known)
    return name


def whole_number(what, value, least=1):
    """Return `value` as an int if it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{what} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{what} must be at least {least}, got {value}")
    return int(value)


def positive_number(what, value):
    """Return `value` as a float if it is positive and finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{what} must be a positive number, got {value!r}")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{what} must be positive and finite, got {value}")
    return float(value)

"""Tables as text, aligned or in Markdown, and numbers with their spread."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from minilift.support.tables import padded


def table(things, columns):
    """Return rows of text cells, the head first.

    `columns` is {head: function that returns the cell of a thing}. If things are dicts, the function may be replaced by
    a text such as "{network}, {contender}", which is filled with their entries.
    """
    writers = [column.format_map if isinstance(column, str) else column for column in columns.values()]
    return [list(columns), *([write(thing) for write in writers] for thing in things)]


def aligned(rows):
    """Return rows of text cells as lines of a table, the first row being the head."""
    lines = padded(rows, "<" + ">" * (len(rows[0]) - 1))
    return [lines[0], "─" * len(lines[0]), *lines[1:]]


def markdown(rows):
    """Return rows of text cells as lines of a table in Markdown, the first row being the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"| --- |{' ---: |' * (len(rows[0]) - 1)}", *lines[1:]]


def number(value, digits=3, otherwise="-"):
    """Return a number with `digits` significant digits, at least 3 from 100 to 999; `otherwise` for None, nan, inf."""
    if value is None or not math.isfinite(value):
        return otherwise
    return f"{value:.{max(digits, 3) if 99.5 <= abs(value) < 999.5 else digits}g}"  # 104, not 1e+02


def listed(values):
    """Return several numbers, with commas between them."""
    return ", ".join(map(number, values))


def ends(values, missing=math.inf):
    """Return median, lowest and highest of some values; a missing one (None, nan) counts as the worst, inf.

    For accuracies the worst is −inf.
    """
    values = [missing if value is None or math.isnan(value) else value for value in values]
    return float(np.median(values)), float(min(values)), float(max(values))


def range_text(three, write=number, form="{} [{}, {}]"):
    """Return the text of a median, a lowest and a highest value, each formatted by `write`."""
    return form.format(*map(write, three))


def ranges(values, digits=3, otherwise="-", missing=math.inf):
    """Return the median of some values as text and, if they differ, their range; for `missing` see `ends`."""
    three, write = ends(values, missing), partial(number, digits=digits, otherwise=otherwise)
    return range_text(three, write) if len(set(three)) > 1 else write(three[0])

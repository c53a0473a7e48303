"""Tables of texts, for a terminal and for a notebook: fewer lines than a dependency on rich or tabulate would need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

SPARED = 10  # rows at least that folding must spare


def folded(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return the rows of a network's layers; of a group that repeats many times, the first two and the last.

    The rows of groups are alike if they differ in their numbers (of values, or of times) alone, not in the sizes of
    maps and outputs.
    """
    alike = [(re.sub(r"\d+", "", layer) if "'" in layer else layer, shape, re.sub(r"(of) .*", r"\1", parameters))
             for _, layer, shape, parameters in rows]
    result, start = [], 0
    while start < len(rows):
        size, times = max(((size, repeats(alike, start, size)) for size in range(1, len(rows) // 4 + 1)),
                          key=lambda group: group[0] * (group[1] - 3), default=(1, 1))
        if size * (times - 3) >= SPARED:
            end = start + size * times
            result += [*rows[start:start + 2 * size], ("", f"⋮ {times - 3} times more", "", ""), *rows[end - size:end]]
            start = end
        else:
            result.append(rows[start])
            start += 1
    return result


def repeats(items: Sequence[object], start: int, size: int) -> int:
    """Return how many times a group of so many items stands in a row."""
    times = 1
    while items[start:start + size] == items[start + times * size:start + (times + 1) * size]:
        times += 1
    return times


def padded(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Return rows of text cells as lines, columns two spaces apart; `sides` has < or > for each: left, right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths)).rstrip()
            for row in rows]


def html(rows: Sequence[Sequence[str]], above: str = "", below: Sequence[str] = (), code: int | None = None) -> str:
    """Return rows of text cells as a table in HTML, the first row being the head.

    Parameters
    ----------
    rows : list of lists of str
    above : str
        A line over the table.
    below : list of str
        Lines under it.
    code : int, optional
        The column that holds code.
    """
    head, *body = [[escape(cell) for cell in row] for row in rows]
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    for row in body:
        cells = [f"<code>{cell}</code>" if column == code and cell else cell for column, cell in enumerate(row)]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    caption = f"<p>{escape(above)}</p>" if above else ""
    return f"{caption}<table>{''.join(lines)}</table>{''.join(f'<p>{escape(line)}</p>' for line in below)}"

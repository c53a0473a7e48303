"""Tables of text, for a terminal and a notebook, in less code than a dependency on rich or tabulate would need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

SPARED = 10  # rows that folding must save, at least


def folded(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return the rows of a network's layers; for a group that repeats many times, only the first two and the last.

    Rows of groups are considered alike if they differ only in their numbers (of values, or of times), and not in the
    sizes of maps and outputs.
    """
    alike = [(re.sub(r"\d+", "", layer) if "'" in layer else layer, shape, re.sub(r"(of) .*", r"\1", parameters))
             for _, layer, shape, parameters in rows]
    result, start = [], 0
    while start < len(rows):
        sizes = [size for size in range(1, min(len(rows) // 4, len(rows) - 1 - start) + 1)
                 if alike[start + size] == alike[start]]
        size, times = max(((size, repeats(alike, start, size)) for size in sizes),
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
    """Return how many times in a row a group of `size` items occurs."""
    times = 1
    while items[start:start + size] == items[start + times * size:start + (times + 1) * size]:
        times += 1
    return times


def padded(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Return rows of text cells as lines, columns two spaces apart, each aligned left (<) or right (>) by `sides`."""
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

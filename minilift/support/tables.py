"""Tables of texts, for a terminal and for a notebook: fewer lines than a dependency on rich or tabulate would need."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


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

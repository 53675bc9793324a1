"""What is written on nodes and edges of a drawing: rows of text, and heat maps of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import NamedTuple

import numpy as np

from tensorgrad.engine.arrays import entries_in, is_lazy, sizes
from tensorgrad.engine.node import Array
from tensorgrad.formula.text import brief, number
from tensorgrad.formula.writing import TEXT
from tensorgrad.graph.names import in_one_line
from tensorgrad.viz.graph.themes import Theme, mixed

LONGEST = 80  # characters
CELLS = 8  # the most rows and columns of a heat map
CELL = 9  # points


class Row(NamedTuple):
    """A line of text in one colour; or, with `maps`, tables in Graphviz's HTML side by side."""

    text: str
    colour: str = ""
    bold: bool = False
    maps: tuple[str, ...] = ()


Write = Callable[[Iterable[Row]], str]


def rich(rows: Iterable[Row]) -> str:
    """A label in Graphviz's HTML."""
    lines = (f"<TR><TD>{cell(row)}</TD></TR>" for row in rows)
    bare = "BORDER='0' CELLBORDER='0' CELLSPACING='0' CELLPADDING='1'"
    return f"<<TABLE {bare}>{''.join(lines)}</TABLE>>"


def cell(row: Row) -> str:
    if row.maps:
        maps = "".join(f"<TD>{part}</TD>" for part in row.maps)
        return f"<TABLE BORDER='0' CELLSPACING='4'><TR>{maps}</TR></TABLE>"
    # dot reads entities before it reads backslashes, and no bracket at the end of a bold text
    text = escape(shown(row.text).replace("\\", "\\\\")).replace("]", "&#93;")
    return f"<FONT COLOR='{row.colour}'>{f'<B>{text}</B>' if row.bold else text}</FONT>"


def bare(rows: Iterable[Row]) -> str:
    """A label without markup, for a Graphviz that has no HTML."""
    lines = (
        shown(row.text).replace("\\", "\\\\").replace('"', '\\"') for row in rows if not row.maps
    )
    return '"' + "\\n".join(lines) + '"'


def shown(text: str) -> str:
    """Text in one line: without control characters, not too long, not empty."""
    text = in_one_line(text)
    return (text if len(text) <= LONGEST else text[:LONGEST] + "…") or " "


def value_rows(x: Array, gradient: Array | None, theme: Theme) -> list[Row]:
    """A number; or dtype and shape, how many entries are not finite, and heat maps."""
    if not np.ndim(x) and not is_lazy(x):
        return [Row(brief(x), theme.text)]
    shape = "×".join("?" if n is None else f"{n}" for n in sizes(x))
    rows = [Row(f"{x.dtype} {shape}".rstrip(), theme.text)]
    if is_lazy(x):
        return [*rows, Row("to be computed", theme.faint)]
    x, gradient = entries_in(x), entries_in(gradient)
    nan, infinite = np.count_nonzero(np.isnan(x)), np.count_nonzero(np.isinf(x))
    if nan or infinite:
        rows.append(Row(f"{nan:,} NaN, {infinite:,} infinite", theme.gradient))
    maps = [heat_map(part, theme) for part in (x, gradient) if part is not None and np.size(part)]
    return [*rows, Row("", maps=tuple(maps))] if maps else rows


def gradient_row(what: str, gradient: Array | None, theme: Theme) -> Row:
    """A derivative: a number, the norm of an array, or that nobody computed it."""
    if gradient is None:
        return Row(f"{what}: not computed", theme.faint)
    if is_lazy(gradient):
        return Row(f"{what}: to be computed", theme.gradient)
    if np.ndim(gradient):
        return Row(TEXT.equal([f"‖{what}‖", norm(gradient)]), theme.gradient)
    return Row(TEXT.equal([what, brief(gradient)]), theme.gradient)


def norm(x: Array) -> str:
    moduli = np.abs(np.asarray(x, complex))
    largest = np.max(moduli, initial=0)
    if not 0 < largest < np.inf:
        return number(largest)
    # Its squares may be too large.
    return number(largest * np.sqrt(np.sum((moduli / largest) ** 2)))


def blocks(x: Array, side: int) -> list[list[Array]]:
    """An array as a table, in at most `side` rows and columns of blocks of entries."""
    x = np.reshape(x, (-1, np.shape(x)[-1]))
    rows = np.array_split(x, min(side, len(x)))
    return [np.array_split(row, min(side, x.shape[1]), axis=1) for row in rows]


def largest(block: Array) -> float:
    """The entry of largest magnitude; a NaN where there is one."""
    entry: float = block.flat[np.argmax(np.abs(block))]
    return entry


def heat_map(x: Array, theme: Theme) -> str:
    """A table of colours: the largest entries of blocks, relative to the largest of all."""
    x = np.abs(x) if np.iscomplexobj(x) else np.asarray(x, float)
    entries = np.array([[largest(block) for block in line] for line in blocks(x, CELLS)])
    top = np.max(np.abs(entries), initial=0, where=np.isfinite(entries)) or 1.0
    lines = []
    for line in entries:
        colours = (mixed(theme, m / top) if np.isfinite(m) else theme.cluster for m in line)
        size = f"WIDTH='{CELL}' HEIGHT='{CELL}' FIXEDSIZE='TRUE'"
        lines.append("".join(f"<TD BGCOLOR='{colour}' {size}></TD>" for colour in colours))
    frame = f"BORDER='1' COLOR='{theme.faint}' CELLBORDER='0' CELLSPACING='0' FIXEDSIZE='TRUE'"
    height, width = (CELL * n + 2 for n in entries.shape)
    cells = "".join(f"<TR>{line}</TR>" for line in lines)
    return f"<TABLE {frame} WIDTH='{width}' HEIGHT='{height}'>{cells}</TABLE>"

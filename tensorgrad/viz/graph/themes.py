"""Colours of drawings: Okabe and Ito's, told apart by colour-blind readers; and a theme for print.

Source: M. Okabe and K. Ito, Color Universal Design (2008). What a colour says, a shape says too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tensorgrad.viz.graph.layout import effort

Colour = tuple[int, int, int]


class Theme(NamedTuple):
    """Fills by what a node is, and lines."""

    text: str
    faint: str
    line: str
    background: str
    parameter: str
    input: str
    constant: str
    operation: str
    output: str
    gradient: str
    cluster: str
    positive: Colour
    negative: Colour
    zero: Colour


THEMES = {
    "light": Theme(
        text="#1a1a1a",
        faint="#5a5a5a",
        line="#4a4a4a",
        background="transparent",
        parameter="#fde3b0",
        input="#cfe6f7",
        constant="#eeeeee",
        operation="#ffffff",
        output="#c9ecdd",
        gradient="#a33f00",
        cluster="#9a9a9a",
        positive=(0, 114, 178),
        negative=(213, 94, 0),
        zero=(255, 255, 255),
    ),
    "dark": Theme(
        text="#f0f0f0",
        faint="#b5b5b5",
        line="#bdbdbd",
        background="#141414",
        parameter="#5c4310",
        input="#16405c",
        constant="#3a3a3a",
        operation="#222222",
        output="#0d4f39",
        gradient="#ffb27a",
        cluster="#7a7a7a",
        positive=(86, 180, 233),
        negative=(230, 140, 50),
        zero=(34, 34, 34),
    ),
    "print": Theme(
        text="#000000",
        faint="#333333",
        line="#000000",
        background="white",
        parameter="#e4e4e4",
        input="#ffffff",
        constant="#ffffff",
        operation="#ffffff",
        output="#cfcfcf",
        gradient="#000000",
        cluster="#777777",
        positive=(0, 0, 0),
        negative=(150, 150, 150),
        zero=(255, 255, 255),
    ),
}


def theme_of(name: str) -> Theme:
    """A theme by its name. ValueError names those there are."""
    if name not in THEMES:
        raise ValueError(f"theme={name!r}: there are {', '.join(map(repr, THEMES))}")
    return THEMES[name]


def head(theme: Theme, rankdir: str, legend: str, edges: int, apart: float = 0.45) -> Iterator[str]:
    """The first lines of a DOT source. `apart`: inches between layers."""
    font = 'fontname="Helvetica,Arial,sans-serif"'
    yield "digraph {"
    yield f'  graph [rankdir={rankdir} bgcolor="{theme.background}" color="{theme.cluster}" '
    yield from [f"    {effort(edges)}"] if effort(edges) else []
    yield f'    {font} fontsize=11 fontcolor="{theme.faint}"'
    yield f'    style=rounded nodesep=0.3 ranksep={apart} label="{legend}"]'
    yield f'  node [{font} fontsize=12 color="{theme.line}" fontcolor="{theme.text}"'
    yield '    margin="0.08,0.04"]'
    yield f'  edge [{font} fontsize=10 color="{theme.line}" fontcolor="{theme.faint}"'
    yield "    arrowsize=0.7]"


def mixed(theme: Theme, share: float) -> str:
    """The colour of a number between -1 and 1: a shade of one colour below 0, another above."""
    target = theme.positive if share > 0 else theme.negative
    parts = (round(z + (t - z) * abs(share)) for z, t in zip(theme.zero, target))
    return "#" + "".join(f"{part:02x}" for part in parts)

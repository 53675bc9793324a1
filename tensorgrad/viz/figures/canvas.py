"""What the figures share: a sheet to draw on, colours, and rows of small pictures.

Nothing here touches matplotlib's global state: a figure needs no display, and no `close()`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.extras import missing
from tensorgrad.graph.names import in_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any

# M. Okabe and K. Ito (2008): told apart by colour-blind readers, and by their grey in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
SIGNED = "RdBu"  # red negative, white 0, blue positive

TITLE, LABEL, SMALL = 15, 12, 10


def sheet(width: float, height: float, *, still: bool = False) -> Figure:
    """An empty figure of so many inches. Its parts keep clear of each other, unless they are to
    stay `still` from one frame of an animation to the next.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("figures need matplotlib", "viz") from None
    size = (width, height)
    figure = Figure(size, dpi=100) if still else Figure(size, dpi=150, layout="constrained")
    # What notebooks show: matplotlib tells them how only where pyplot is imported.
    figure._repr_png_ = partial(as_png, figure)  # type: ignore[attr-defined]
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure as a picture for a notebook's page.

    >>> sheet(1, 1)._repr_png_()[:4]
    b'\\x89PNG'
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def plain(text: str) -> str:
    """What a user has named, as matplotlib shows it: no mathematics, nothing that is no text.

    >>> plain("cost in $, US$")
    'cost in \\\\$, US\\\\$'
    """
    return in_one_line(text).replace("$", r"\$")


def caption(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Title and axis labels that can be read from the last row."""
    axes.set_title(title, fontsize=TITLE)
    axes.set_xlabel(x, fontsize=LABEL)
    axes.set_ylabel(y, fontsize=LABEL)
    axes.tick_params(labelsize=SMALL)


def blank(axes: Axes) -> None:
    """No ticks, but a frame."""
    axes.set_xticks([])
    axes.set_yticks([])


def as_images(x: Array, shape: tuple[int, int] | None, where: str) -> Array:
    """(n, pixels) as (n, height, width); without a `shape`, square. ValueError if it cannot be."""
    x = np.asarray(data_of(x))
    if x.ndim != 2:
        raise ValueError(f"{where}: pictures come as (n, pixels), not as {x.shape}")
    side = math.isqrt(x.shape[1])
    height, width = shape or (side, side)
    if height * width != x.shape[1]:
        asked = f"{height}x{width} picture" if shape else "square"
        raise ValueError(f"{where}: {x.shape[1]} inputs are no {asked}; pass shape=(height, width)")
    return x.reshape(-1, height, width)


def rows_of_pictures(
    pictures: Sequence[Array],
    titles: Sequence[str],
    title: str,
    *,
    limits: tuple[float, float],
    cmap: str,
    scale: str,
    columns: int = 10,
) -> Figure:
    """Small pictures, a title above each, and one scale for all of them."""
    n = len(pictures)
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    figure = sheet(
        max(0.95 * columns + 1.2, 6.0), max(0.95, 4.8 / columns) * rows + 0.22 * rows + 0.5
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[n:]:
        axes.axis("off")
    drawn = None
    for axes, picture, text in zip(grid.ravel(), pictures, titles):
        drawn = axes.imshow(picture, cmap=cmap, vmin=limits[0], vmax=limits[1])
        axes.set_title(text, fontsize=SMALL, pad=3)
        blank(axes)
    figure.suptitle(title, fontsize=TITLE)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=grid, fraction=0.03, pad=0.02, aspect=30)
        bar.set_label(scale, fontsize=LABEL)
    return figure


def signed_limit(numbers: Array) -> float:
    """The largest size among finite numbers, so that 0 is white; 1 if all are 0."""
    numbers = np.abs(np.asarray(numbers, dtype=float))
    largest = np.max(numbers, where=np.isfinite(numbers), initial=0.0)
    return float(largest) or 1.0

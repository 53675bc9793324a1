"""Examples on a sheet, and how a classifier sees them: what it mixes up, what lights up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.viz.figures.canvas import (
    COLOURS,
    LABEL,
    SIGNED,
    SMALL,
    TITLE,
    as_images,
    blank,
    caption,
    plain,
    rows_of_pictures,
    sheet,
    signed_limit,
)
from tensorgrad.viz.figures.layers import (
    LayerView,
    activations_of,
    classes_of,
    evaluating,
    layers_of,
    one_example,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any


def confusion(answers: Array, targets: Array) -> Array:
    """How many examples of each class (rows) were read as each class (columns): (classes, classes).

    `answers`: (n, classes), the largest one counts; `targets`: the right classes, numbers (n,) or
    rows of 0 and 1. ValueError for other shapes and for classes that are none.

    >>> confusion(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), np.array([0, 1, 1]))
    array([[1, 0],
           [1, 1]])
    """
    read, right, n = _read(answers, targets, "confusion")
    counts = np.zeros((n, n), int)
    np.add.at(counts, (right, read), 1)
    return counts


def confusion_matrix(answers: Array, targets: Array) -> Figure:
    """The counts of `confusion`; the darker, the larger the share of its row.

    >>> figure = confusion_matrix(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
    >>> figure.axes[0].get_xlabel()
    'read as'
    """
    counts = confusion(answers, targets)
    n, total = len(counts), counts.sum()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = sheet(max(5.0, 0.55 * n + 1.2), max(4.4, 0.5 * n + 1.0))
    axes = figure.subplots()
    shade = np.sqrt(share)  # a share of 1 % is seen
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shade[row, column] > 0.6 else "black"
            weight = "bold" if row != column else "normal"
            axes.text(
                *(column, row, f"{count}"),
                ha="center",
                va="center",
                color=colour,
                fontsize=LABEL if n <= 12 else 7,
                fontweight=weight,
            )
    axes.set_xticks(range(n), [f"{i}" for i in range(n)])
    axes.set_yticks(range(n), [f"{i}" for i in range(n)])
    wrong = total - np.trace(counts)
    caption(axes, f"{wrong:,} of {total:,} read wrong ({wrong / total:.1%})", "read as", "is")
    return figure


def pictures(
    x: Array,
    shape: tuple[int, int] | None = None,
    columns: int = 10,
    rows: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Many pictures on one sheet, row after row, the darker the larger a number: samples, say.

    `x`: (n, pixels), pictures of `shape` (without it, square); white is the smallest of them all.
    `rows`: what stands beside each row. ValueError for shapes that do not fit.

    >>> sheet = pictures(np.eye(4), columns=2, rows=["first", "second"])
    >>> [label.get_text() for label in sheet.axes[0].get_yticklabels()]
    ['first', 'second']
    """
    images = as_images(x, shape, "pictures")
    n, height, width = images.shape
    if not n or columns < 1:
        raise ValueError(f"pictures: {n} pictures in {columns} columns")
    columns = min(columns, n)
    lines = math.ceil(n / columns)
    if rows and len(rows) != lines:
        raise ValueError(f"pictures: {len(rows)} names for {lines} rows of {columns}")
    low, high = float(images.min()), float(images.max())
    whole = np.full((lines * columns, height + 2, width + 2), low)  # a margin around each
    whole[:n, 1:-1, 1:-1] = images
    whole = whole.reshape(lines, columns, height + 2, width + 2).swapaxes(1, 2)
    whole = whole.reshape(lines * (height + 2), columns * (width + 2))
    figure = sheet(0.62 * columns + (1.3 if rows else 0.3), 0.62 * lines * height / width + 0.5)
    figure.set_layout_engine("compressed")  # room for names beside what has a fixed aspect
    axes = figure.subplots()
    axes.imshow(whole, cmap="gray_r", vmin=low, vmax=high if high > low else low + 1)
    blank(axes)
    if rows:
        axes.set_yticks((np.arange(lines) + 0.5) * (height + 2), [plain(row) for row in rows])
        axes.tick_params(length=0, labelsize=LABEL)
    axes.set_title(plain(title), fontsize=TITLE)
    return figure


def mistakes(
    x: Array,
    answers: Array,
    targets: Array,
    shape: tuple[int, int] | None = None,
    most: int = 24,
) -> Figure:
    """The examples that were read wrong, the surest mistakes first: "4 as 9".

    `x`: (n, pixels), pictures of `shape` (without it, square); `answers` and `targets` as in
    `confusion`. `most`: so many at most. ValueError for shapes that do not fit.

    >>> x, answers = np.zeros((2, 4)), np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> mistakes(x, answers, np.array([0, 1])).axes[0].get_title()
    '1 as 0'
    """
    read, right, _ = _read(answers, targets, "mistakes")
    pictures = as_images(x, shape, "mistakes")
    if len(pictures) != len(read):
        raise ValueError(f"mistakes: {len(pictures)} pictures, but {len(read)} answers")
    if most < 1:
        raise ValueError(f"mistakes: most={most}: must be at least 1")
    wrong = np.flatnonzero(read != right)
    title = f"{len(wrong):,} of {len(read):,} read wrong"
    if not len(wrong):
        figure = sheet(6.0, 1.5)
        figure.suptitle(title, fontsize=TITLE)
        return figure
    answers = np.asarray(data_of(answers))
    surplus = answers[wrong, read[wrong]] - answers[wrong, right[wrong]]
    shown = wrong[np.argsort(-surplus, kind="stable")][:most]
    if len(shown) < len(wrong):
        title += f": the {len(shown)} surest"
    return rows_of_pictures(
        [pictures[i] for i in shown],
        [f"{right[i]} as {read[i]}" for i in shown],
        title,
        limits=(0, float(np.max(pictures)) or 1.0),
        cmap="gray_r",
        scale="ink",
        columns=8,
    )


def activations(model: Any, x: Array, shape: tuple[int, int] | None = None) -> Figure:
    """One example on its way: the picture, what each neuron of each layer answers, the outputs.

    As 3Blue1Brown shows them, on white: blue positive, red negative, white 0; each layer has a
    scale of its own.

    `model`: an nn.Sequential or nn.MLP. `x`: one example (inputs,), a picture of `shape` (without
    it, square). ValueError for another shape.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.Sigmoid())
    >>> [axes.get_title() for axes in activations(model, np.zeros(4)).axes[:3]]
    ['input', 'layer 1\\n3 sigmoid', 'output\\n2 sigmoid']
    """
    x = one_example(x, "activations")
    layers = layers_of(model, "activations")
    picture = as_images(x, shape, "activations")[0]
    with evaluating(model):
        hidden = [a[0] for a in activations_of(layers, x)]
    output = hidden.pop()
    widths = [2.6, *(0.55 + 0.28 * _column_shape(len(a))[1] for a in hidden), 2.6]
    figure = sheet(sum(widths) + 0.5 * len(widths), 4.8)
    panels = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    panels[0].imshow(picture, cmap="gray_r", vmin=0)
    panels[0].set_title("input", fontsize=LABEL)
    blank(panels[0])
    for i, (axes, layer, a) in enumerate(zip(panels[1:], layers, hidden), start=1):
        _neurons(axes, a)
        axes.set_title(_named(f"layer {i}", layer, len(a)), fontsize=LABEL)
    _outputs(panels[-1], output)
    panels[-1].set_title(_named("output", layers[-1], len(output)), fontsize=LABEL)
    return figure


def _read(answers: Array, targets: Array, where: str) -> tuple[Array, Array, int]:
    """What was read, what is right, and how many classes there are."""
    answers = np.asarray(data_of(answers))
    if answers.ndim != 2 or answers.shape[1] < 2 or not len(answers):
        one = "; of one output p pass np.hstack([1 - p, p])" if answers.shape[1:] == (1,) else ""
        raise ValueError(f"{where}: answers come as (n, classes), not as {answers.shape}{one}")
    n, classes = answers.shape
    right = classes_of(targets, n, where)
    whole = right.dtype.kind in "biuf" and (np.mod(right, 1) == 0).all()
    if not whole or right.min() < 0 or right.max() >= classes:
        raise ValueError(
            f"{where}: the right classes are whole numbers from 0 to {classes - 1}, not "
            f"{right.dtype} from {right.min()} to {right.max()}"
        )
    return answers.argmax(axis=1), right.astype(int), classes


def _column_shape(n: int) -> tuple[int, int]:
    """Rows and columns for n neurons: one column while they can be told apart."""
    columns = -(-n // 16) if n <= 256 else round(n**0.5)
    return -(-n // columns), columns


def _named(name: str, layer: LayerView, n: int) -> str:
    return f"{name}\n{n} {layer.squash_name or 'linear'}"


def _neurons(axes: Axes, a: Array) -> None:
    """Circles, coloured by activation."""
    rows, columns = _column_shape(len(a))
    i = np.arange(len(a))
    limit = signed_limit(a)
    axes.scatter(
        i // rows,
        i % rows,
        c=a,
        s=min(160.0, 40_000 / rows**2),
        cmap=SIGNED,
        vmin=-limit,
        vmax=limit,
        edgecolors="#555555",
        linewidths=0.8,
    )
    axes.set(xlim=(-0.8, columns - 0.2), ylim=(rows - 0.3, -0.7))
    blank(axes)
    sign = "±" if np.min(a) < 0 else ""
    axes.set_xlabel(f"darkest: {sign}{limit:.2g}", fontsize=SMALL)


def _outputs(axes: Axes, a: Array) -> None:
    """A bar for each output, with its number."""
    best = int(np.argmax(a))
    colours = [COLOURS[0] if i == best else "#aaaaaa" for i in range(len(a))]
    axes.barh(range(len(a)), a, color=colours)
    for i, value in enumerate(a):
        axes.annotate(
            f"{value:.2f}",
            (max(float(value), 0.0) if np.isfinite(value) else 0.0, i),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
        )
    finite = np.append(a[np.isfinite(a)], 0.0)  # what is not is written, without a bar
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high <= 1:  # sigmoid, softmax: an output of 0.5 is half as long as one of 1
        high = 1.0
    axes.set_xlim(low - 0.02 * (high - low), high + 0.3 * (high - low or 1.0))
    axes.set_yticks(range(len(a)), [f"{i}" for i in range(len(a))], fontsize=SMALL)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.set_xlabel("activation", fontsize=SMALL)

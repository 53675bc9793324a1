"""Examples in the plane, and what a model answers around them: where pictures of it start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tensorgrad.extras import missing
from tensorgrad.viz.figures.canvas import COLOURS, MARKERS, plain
from tensorgrad.viz.figures.layers import LayerView, answers_of, by_class, classes_of, layers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = Any
FINE = 241  # points along each side where the model is asked for its answer


class Scene(NamedTuple):
    """The points with their classes, and what the model answers on a grid around them."""

    points: Array  # (n, 2)
    classes: Array  # (n,), from 0
    labels: list[str]
    across: Array  # (FINE,)
    up: Array  # (FINE,)
    margins: Array  # (FINE, FINE, classes): how far the class is ahead of the best other one

    @property
    def borders(self) -> list[Array]:
        """Where two classes are level: lines, each (points, 2)."""
        try:
            from contourpy import contour_generator
        except ImportError:
            raise missing("figures need matplotlib", "viz") from None

        lines: list[Array] = []
        for i in range(1 if len(self.labels) == 2 else 0, len(self.labels)):
            generator = contour_generator(self.across, self.up, self.margins[..., i])
            lines += generator.lines(0.0)
        return lines


def look(model: Any, x: Array, y: Array, threshold: float | None, where: str) -> Scene:
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(
            f"{where}: draws examples in the plane, two or more finite rows (n, 2), not x of shape "
            f"{x.shape}"
        )
    labels, classes = np.unique(classes_of(y, len(x), where), return_inverse=True)
    if not 2 <= len(labels) <= len(COLOURS):
        raise ValueError(f"{where}: {len(labels)} classes; from 2 to {len(COLOURS)} can be drawn")
    low, high = x.min(axis=0), x.max(axis=0)
    room = 0.1 * max(high - low) or 1.0
    across, up = (np.linspace(low[i] - room, high[i] + room, FINE) for i in (0, 1))
    grid = np.stack([*map(np.ravel, np.meshgrid(across, up))], axis=1).astype(x.dtype)
    try:
        answers = answers_of(model, grid, where)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: the model does not take points of the plane, (n, 2): {error}"
        ) from error
    if not np.isfinite(answers).all():
        raise ValueError(f"{where}: the model's answers are not finite everywhere in the plane")
    if answers.shape[1] == 1:
        if len(labels) != 2:
            raise ValueError(f"{where}: one output tells 2 classes apart, y has {len(labels)}")
        answers = by_class(answers, model, threshold)
    if answers.shape[1] != len(labels):
        raise ValueError(
            f"{where}: y has {len(labels)} classes, but the model answers {answers.shape[1]}: "
            "each needs an example"
        )
    margins = np.stack(
        [a - np.delete(answers, i, axis=1).max(axis=1) for i, a in enumerate(answers.T)], axis=1
    )
    names = [label if isinstance(label, str) else f"{label:g}" for label in labels]
    return Scene(x, classes, names, across, up, margins.reshape(FINE, FINE, -1))


def hidden_layers(model: Any, where: str) -> list[LayerView]:
    layers = layers_of(model, where)
    if len(layers) < 2:
        raise ValueError(f"{where}: the model has no hidden layer; decision_boundary draws it")
    return layers[:-1]


def grid_of(scene: Scene, lines: int = 17) -> list[Array]:
    """Lines across and up, each (100, 2)."""
    grid = []
    for axis, beside, order in ((scene.across, scene.up, 1), (scene.up, scene.across, -1)):
        t = np.linspace(axis[0], axis[-1], 100)
        for level in np.linspace(beside[0], beside[-1], lines):
            grid.append(np.stack([t, np.full_like(t, level)][::order], axis=1))
    return grid


def typed(layers: Sequence[LayerView], points: Array) -> Array:
    """The points in the precision of the weights."""
    weight = layers[0].weight
    return points if weight is None else points.astype(weight.dtype)


def input_plane(axes: Axes, scene: Scene) -> None:
    from matplotlib.colors import ListedColormap

    best = scene.margins.argmax(axis=-1)
    colours = ListedColormap([*COLOURS[: len(scene.labels)]])
    axes.pcolormesh(
        *(scene.across, scene.up, best),
        cmap=colours,
        vmin=-0.5,
        vmax=len(scene.labels) - 0.5,
        alpha=0.25,
        linewidth=0,
        rasterized=True,
    )
    for line in scene.borders:
        axes.plot(*line.T, color="black", linewidth=2.5, zorder=4)
    examples(axes, scene.points, scene)
    axes.set_aspect("equal")


def examples(axes: Axes, points: Array, scene: Scene) -> None:
    for i, label in enumerate(scene.labels):
        x, y = points[scene.classes == i].T
        axes.scatter(
            x,
            y,
            s=28,
            color=COLOURS[i],
            marker=MARKERS[i],
            edgecolors="white",
            linewidths=0.5,
            zorder=3,
            label=plain(label),
        )

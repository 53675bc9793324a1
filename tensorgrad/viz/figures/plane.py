"""Networks with two inputs: what they answer all over the plane, and what each layer makes of it.

After C. Olah, "Neural Networks, Manifolds, and Topology" (2014): a network separates what is
tangled by moving the plane, until a straight line is enough. `bending.py` shows it moving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.viz.figures.canvas import LABEL, caption, sheet
from tensorgrad.viz.figures.layers import activations_of, evaluating
from tensorgrad.viz.figures.scene import examples, grid_of, hidden_layers, input_plane, look, typed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any


def decision_boundary(model: Any, x: Array, y: Array, threshold: float | None = None) -> Figure:
    """The class that the model gives to each point of the plane, with the examples on top.

    `model`: answers to (n, 2) with (n, classes), of which the largest counts, or with (n, 1), which
    is compared with `threshold`: 0.5 if the model ends in an nn.Sigmoid, else 0.
    `x`: (n, 2); `y`: classes (n,) or (n, 1), any numbers, or rows of 0 and 1.

    ValueError for other shapes and where the answers do not fit the classes.

    >>> from tensorgrad import nn
    >>> x, y = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1])
    >>> decision_boundary(nn.Linear(2, 2, rng=0), x, y).axes[0].get_title()
    'Decision boundary'
    """
    scene = look(model, x, y, threshold, "decision_boundary")
    ratio = float(np.ptp(scene.across) / np.ptp(scene.up))
    figure = sheet(min(max(4.3 * ratio, 3.0), 9.0) + 1.8, 5.0)
    axes = figure.subplots()
    input_plane(axes, scene)
    caption(axes, "Decision boundary", "$x_1$", "$x_2$")
    figure.legend(loc="outside right upper", fontsize=LABEL, title="class")
    return figure


def boundary_by_layer(model: Any, x: Array, y: Array, threshold: float | None = None) -> Figure:
    """The decision boundary as each hidden layer sees it, with the grid and the examples moved.

    The first picture is the plane; each next one is what a layer has made of it. What the last
    hidden layer makes of the boundary is straight, for the output is a weighted sum. Of layers with
    more than two neurons the picture shows the two directions in which the examples vary most, and
    what is flat in all of them may look bent in two.

    `model`: an nn.Sequential or nn.MLP with a hidden layer; the rest as in `decision_boundary`.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Tanh(), nn.Linear(2, 2, rng=1))
    >>> x, y = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1])
    >>> [axes.get_title() for axes in boundary_by_layer(model, x, y).axes]
    ['input', 'layer 1: 2 tanh']
    """
    where = "boundary_by_layer"
    layers = hidden_layers(model, where)
    scene = look(model, x, y, threshold, where)
    grid, borders = grid_of(scene), scene.borders
    with evaluating(model):
        seen = [
            activations_of(layers, typed(layers, lines))
            for lines in (scene.points, np.concatenate(grid), *borders)
        ]
    rows = -(-(len(layers) + 1) // 4)
    columns = -(-(len(layers) + 1) // rows)
    figure = sheet(3.9 * columns + 0.3, 4.0 * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    input_plane(panels[0], scene)
    caption(panels[0], "input", "$x_1$", "$x_2$")
    for i, layer in enumerate(layers):
        points, lines, *edges = (a[i] for a in seen)
        flat, share = _two_directions(points)
        axes = panels[i + 1]
        for line in np.split(flat(lines), len(grid)):
            axes.plot(*line.T, color="#bbbbbb", linewidth=0.6, zorder=1)
        for edge in edges:
            axes.plot(*flat(edge).T, color="black", linewidth=2.5, zorder=4)
        examples(axes, flat(points), scene)
        width = points.shape[1]
        names = ("$a_1$", "$a_2$") if width == 2 else (f"{share:.0%} of the variance is seen", "")
        caption(axes, f"layer {i + 1}: {width} {layer.squash_name or 'linear'}", *names)
    for axes in panels[len(layers) + 1 :]:
        axes.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8, fontsize=LABEL)
    return figure


def _two_directions(points: Array) -> tuple[Callable[[Array], Array], float]:
    """What maps to the plane in which the points vary most, and the share of variance seen there;
    of two columns the identity, of one a line.
    """
    width = points.shape[1]
    if width == 2:
        return lambda a: a, 1.0
    if width == 1:
        return lambda a: np.pad(a, ((0, 0), (0, 1))), 1.0
    mean = points.mean(axis=0)
    _, sizes, directions = np.linalg.svd(points - mean, full_matrices=False)
    share = float((sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-300))
    return lambda a: (a - mean) @ directions[:2].T, share

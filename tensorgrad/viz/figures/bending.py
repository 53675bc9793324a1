"""The plane on its way through a network, as an animation.

After C. Olah, "Neural Networks, Manifolds, and Topology" (2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.train import predict
from tensorgrad.viz.figures.animation import Animation
from tensorgrad.viz.figures.canvas import COLOURS, MARKERS, TITLE, sheet
from tensorgrad.viz.figures.layers import LayerView, evaluating
from tensorgrad.viz.figures.scene import grid_of, hidden_layers, look, typed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any


def bend(
    model: Any,
    x: Array,
    y: Array,
    threshold: float | None = None,
    *,
    frames: int = 12,
) -> Animation:
    """The plane on its way through the hidden layers: times W, plus b, squashed; and again.

    Each of these moves every point along a straight line, in so many `frames`; grid, examples and
    decision boundary move with it. The axes follow: look at their numbers.

    `model`: an nn.Sequential or nn.MLP whose hidden layers have 2 or 3 neurons each; with 3 the
    picture is in space. The rest as in `decision_boundary`.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Tanh(), nn.Linear(2, 2, rng=1))
    >>> x, y = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1])
    >>> bend(model, x, y, frames=5)
    Animation of 16 frames: .save("name.gif"), .save("name.html")
    """
    where = "bend"
    if frames < 1:
        raise ValueError(f"{where}: frames={frames}: must be at least 1")
    layers = hidden_layers(model, where)
    for i, layer in enumerate(layers, start=1):
        if layer.weight is None or len(layer.weight) not in (2, 3):
            width = "no Linear" if layer.weight is None else f"{len(layer.weight)} neurons"
            raise ValueError(
                f"{where}: hidden layer {i} has {width}; what can be seen has 2 or 3: "
                "boundary_by_layer shows two directions of more"
            )
    scene = look(model, x, y, threshold, where)
    parts = [scene.points, *grid_of(scene), *scene.borders]
    ends = np.cumsum([len(part) for part in parts])[:-1]
    with evaluating(model):
        stops = _stops(layers, typed(layers, np.concatenate(parts)))
    depth = max(place.shape[1] for _, place in stops)
    places = [np.pad(place, ((0, 0), (0, depth - place.shape[1]))) for _, place in stops]
    boxes = [_box(place) for place in places]

    figure = sheet(5.6, 5.6, still=True)
    axes: Any = figure.subplots(subplot_kw={"projection": "3d"} if depth == 3 else {})
    figure.subplots_adjust(0.1, 0.09, 0.97, 0.87)
    drawn = [
        axes.plot(
            *([],) * depth,
            linestyle="none",
            marker=MARKERS[i],
            markersize=5,
            color=COLOURS[i],
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=3,
        )[0]
        for i in range(len(scene.labels))
    ]
    thin = {"color": "#999999", "linewidth": 0.6, "zorder": 1}
    thick = {"color": "black", "linewidth": 2.5, "zorder": 4}
    n_grid = len(parts) - 1 - len(scene.borders)
    lines = [
        axes.plot(*([],) * depth, **(thin if i < n_grid else thick))[0]
        for i in range(len(parts) - 1)
    ]
    heading = figure.suptitle("", fontsize=TITLE)
    axes.tick_params(labelsize=9)
    axes.locator_params(nbins=5)

    def draw(frame: int) -> Figure:
        stop, step = divmod(frame, frames)  # each stop is the first frame of the next move
        after, t = min(stop + 1, len(stops) - 1), step / frames
        t = t * t * (3 - 2 * t)  # starts and stops gently
        place = (1 - t) * places[stop] + t * places[after]
        points, *moved = np.split(place, ends)
        for i, artist in enumerate(drawn):
            _put(artist, points[scene.classes == i])
        for artist, line in zip(lines, moved):
            _put(artist, line)
        box = (1 - t) * boxes[stop] + t * boxes[after]
        for name, (low, high) in zip("xyz", box.T):
            getattr(axes, f"set_{name}lim")(low, high)
        heading.set_text(stops[after if t else stop][0])
        return figure

    return Animation(draw, frames * (len(stops) - 1) + 1, "How the layers bend the plane")


def _stops(layers: Sequence[LayerView], start: Array) -> list[tuple[str, Array]]:
    """Where the points are before and after each move, and what the move is called."""
    stops = [("input", start)]
    for i, layer in enumerate(layers, start=1):
        a = stops[-1][1]
        name = f"layer {i}"
        weight: Array = layer.weight
        stops.append((f"{name}: times W", a @ weight.T))
        if layer.bias is not None:
            stops.append((f"{name}: plus b", predict(layer.weighted, a)))
        if layer.squash_name:
            stops.append((f"{name}: {layer.squash_name}", predict(layer, a)))
    return stops


def _box(place: Array) -> Array:
    """The corners (2, axes) of what holds all points, with some room."""
    low, high = place.min(axis=0), place.max(axis=0)
    room = 0.05 * np.maximum(high - low, 1e-9 + 0.2 * (high - low).max())
    return np.stack([low - room, high + room])


def _put(artist: Any, place: Array) -> None:
    if place.shape[1] == 3:
        artist.set_data_3d(*place.T)
    else:
        artist.set_data(*place.T)

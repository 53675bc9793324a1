"""A density in the plane: by kernels, on a grid, and in pictures; what flow.py is measured with."""

import numpy as np

from tensorgrad.viz.figures import canvas


def kernels(x, centres, width):
    """ln of the mean of normal densities around the centres, at each of `x`."""
    logs = []
    for part in np.array_split(x, 1 + len(x) * len(centres) // 10**6):
        squares = np.sum((part[:, None] - centres) ** 2, axis=2)
        logs.append(np.logaddexp.reduce(-squares / (2 * width**2), axis=1))
    return np.concatenate(logs) - np.log(len(centres) * 2 * np.pi * width**2)


def grid(reach, n=200):
    """The middles (n * n, 2) of the cells of a square around 0."""
    middles = reach * ((np.arange(n) + 0.5) / n * 2 - 1)
    return np.stack(np.meshgrid(middles, middles), axis=2).reshape(-1, 2)


def draw(seen, reach, training, drawn):
    """The density on a grid after so many steps, and the points it comes from and leads to."""
    sheet = canvas.sheet(11, 7.2)
    panels = sheet.subplots(2, 3).ravel()
    for axes, (step, p) in zip(panels, seen.items()):
        picture = np.sqrt(p).reshape(200, 200)  # what is faint is seen
        axes.imshow(picture, origin="lower", extent=(-reach, reach) * 2, cmap="magma")
        canvas.caption(axes, f"√density, {step:,} steps")
    for axes, points, title in zip(
        panels[4:], (training, drawn), ("learned from", "drawn from it")
    ):
        axes.scatter(*points.T, s=2, color=canvas.COLOURS[0])
        canvas.caption(axes, f"{len(points):,} points {title}")
    for axes in panels:
        canvas.blank(axes)
        axes.set(xlim=(-0.6 * reach, 0.6 * reach), ylim=(-0.6 * reach, 0.6 * reach), aspect="equal")
    return sheet

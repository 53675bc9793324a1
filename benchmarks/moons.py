"""Two moons, micrograd's demo: a step of 100 points in an MLP(2, [16, 16, 1]) of scalars.

The same data, network and update for micrograd and for tensorgrad.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.nn import scalar

POINTS = 100


def moons(n: int) -> tuple[list[list[float]], list[float]]:
    rng = np.random.default_rng(0)
    angle, side = rng.uniform(0, np.pi, n), np.arange(n) % 2
    upper, lower = (
        np.c_[np.cos(angle), np.sin(angle)],
        np.c_[1 - np.cos(angle), 0.5 - np.sin(angle)],
    )
    x = np.where(side[:, None] == 0, upper, lower) + rng.normal(size=(n, 2)) * 0.1
    return x.tolist(), (2.0 * side - 1).tolist()


def step_of(kind: Any, n: int = POINTS) -> Callable[[], Any]:
    """A step of training, and the loss before it."""
    xs, ys = moons(n)
    model, same = kind.MLP(2, [16, 16, 1]), scalar.MLP(2, [16, 16, 1], rng=1)
    parameters = model.parameters()
    for p, q in zip(parameters, same.parameters()):
        p.data = q.item()

    def step() -> Any:
        scores = [model(x) for x in xs]
        losses = [(1 + -y * score).relu() for y, score in zip(ys, scores)]
        loss = sum(losses) * (1 / n) + 1e-4 * sum(p * p for p in parameters)
        model.zero_grad()
        loss.backward()
        for p in parameters:
            p.data -= 0.05 * p.grad
        return loss

    step.parameters = lambda: [p.data for p in parameters]
    return step

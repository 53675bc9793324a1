"""Two moons, micrograd's demo: a step of 100 points in an MLP(2, [16, 16, 1]) of scalars, compiled.

The same data, network and update in micrograd, in eager tensorgrad and compiled, with the scalars
that repeat rolled into vectors and without.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from contestants import micrograd
from result import Result, time_text

import tensorgrad as tg
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

    return step


def seconds(step: Callable[[], Any], n: int) -> float:
    """Processor time of a step; garbage is collected, as in a user's program."""
    start = time.process_time()
    for _ in range(n):
        step()
    return (time.process_time() - start) / n


def run(rounds: int) -> Iterator[Result]:
    steps = {
        "micrograd": (step_of(micrograd), 1),
        "eager": (step_of(scalar), 1),
        "compiled, not rolled": (tg.compile(step_of(scalar), without=["rolling"]), 10),
        "compiled": (tg.compile(step_of(scalar)), 200),
    }
    losses = {k: [float(step().data) for _ in range(3)] for k, (step, _) in steps.items()}
    for found in losses.values():
        np.testing.assert_allclose(found, losses["micrograd"], rtol=1e-12)
    gc.collect()
    times: dict[str, list[float]] = {k: [] for k in steps}
    for _ in range(max(3, min(rounds, 7))):
        for k, (step, n) in steps.items():
            times[k].append(seconds(step, n))
    targets = {"compiled": 1000, "compiled, not rolled": 300}
    for k, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["micrograd"], found))
        target = targets.get(k)
        yield Result(
            "two moons, a step of scalars",
            k,
            time_text(statistics.median(found)),
            ratio="" if k == "micrograd" else f"{ratio:,.1f} times micrograd's speed",
            target=f">= {target}" if target else "",
            met=ratio >= target if target else None,
            numbers={"seconds": statistics.median(found), "ratio": ratio},
        )

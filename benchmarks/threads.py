"""Wall time of compiled steps in one thread and in two, `tg.compile(step, threads=2)`.

The two take turns, and the ratio is the median over the turns. What else runs on the machine takes
the second core from us: how much is left is measured in between, as the time that two products of
matrices take in two threads, in times of one after the other. 0.5 is a quiet machine with two
cores, and a ratio of wall times says something there alone. Processor time, of both threads
together, says what the halves cost; and Amdahl's bound, the ratio where both halves run at once and
nobody waits, is counted where they run one after the other: what one thread does, and the longer
half of the rest.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import steps
from contestants import tensorgrad as eager
from contestants import transformer
from result import Result, time_text

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler import source
from tensorgrad.compiler.threads import both
from tensorgrad.nn import functional as F

TITLE = "two threads, wall time"
BLOCK = 0.02
DENSE = {"medium": ((784, 128, 64, 10), 64), "large": ((784, 512, 512, 10), 128)}


def normalized(wrap: Any) -> Any:
    """Two convolutions, each with a batch normalisation, whose statistics are of both halves."""
    layers = [nn.Conv2d(1, 20, 5, rng=0), nn.BatchNorm2d(20), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(20, 40, 5, rng=1), nn.BatchNorm2d(40), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(640, 10, rng=2))
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    _, batches, _ = steps.convolutional()
    return eager.training_step(model, F.cross_entropy, optimizer, batches, wrap)


MAKERS: dict[str, Callable[..., Any]] = {
    **{
        name: lambda wrap, args=args: eager.deep(*steps.DEEP(*args, 0.05), wrap=wrap)
        for name, args in DENSE.items()
    },
    "convolution": lambda wrap: eager.convolutional(*steps.convolutional(), wrap=wrap),
    "BatchNorm": normalized,
    "lstm": lambda wrap: eager.lstm(*steps.lstm(), wrap=wrap),
    "transformer": lambda wrap: transformer.tensorgrad(*steps.transformer(), wrap=wrap),
    "logistic": lambda wrap: eager.gradients(*steps.logistic(), wrap=wrap),
}
X = np.ones((600, 600), np.float32)


def products() -> None:
    for _ in range(2):
        X.dot(X)


def took(f: Callable[[], Any], n: int = 1) -> tuple[float, float]:
    """Seconds of wall and of processor time for each of `n` calls."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(n):
        f()
    return (time.perf_counter() - wall) / n, (time.process_time() - processor) / n


def left() -> float:
    """What two threads take of the time of one."""
    one, _ = took(products, 2)
    two, _ = took(lambda: both(products, products, (), ()))
    return two / (2 * one)


def run(rounds: int) -> Iterator[Result]:
    for name, make in MAKERS.items():
        for backend in ("numpy", "llvm"):
            yield measured(name, backend, make, rounds)


class Turns:
    """Both halves one after the other, and how long each took."""

    def __init__(self) -> None:
        self.halves: list[tuple[float, float]] = []

    def __call__(self, f: Any, g: Any, xs: Any, ys: Any) -> tuple[Any, Any]:
        start = time.thread_time()
        x = f(*xs)
        middle = time.thread_time()
        y = g(*ys)
        self.halves.append((middle - start, time.thread_time() - middle))
        return x, y


def alone(make: Callable[..., Any], wrap: Any) -> Callable[[], float]:
    """What makes a step, and answers how long it would take in two threads that do not wait."""
    turns = Turns()
    source.both = turns
    step = make(wrap)
    took(step, 4)
    source.both = both

    def least() -> float:
        turns.halves.clear()
        start = time.thread_time()
        step()
        total = time.thread_time() - start
        return total - sum(min(halves) for halves in turns.halves)

    return least


def measured(name: str, backend: str, make: Callable[..., Any], rounds: int) -> Result:
    wraps = [partial(tg.compile, backend=backend, threads=n) for n in (1, 2)]
    one, two = (make(wrap) for wrap in wraps)
    for step in (one, two):
        took(step, 4)
    least = alone(make, wraps[1])
    n = max(1, int(BLOCK / took(one)[0]))
    turns, free, bounds = [], [], []
    for _ in range(rounds):
        turns.append((*took(one, n), *took(two, n)))
        bounds.append(sum(least() for _ in range(n)) / n / turns[-1][1])
        free.append(left())
    first, _, second, _ = (statistics.median(x) for x in zip(*turns))
    wall = statistics.median(y / x for x, _, y, _ in turns)
    processor = statistics.median(y / x for _, x, _, y in turns)
    bound, machine = statistics.median(bounds), statistics.median(free)
    return Result(
        TITLE,
        f"{name}, {backend}",
        f"{time_text(second)}, in one {time_text(first)}",
        f"{wall:.2f}x; bound {bound:.2f}x, processor {processor:.2f}x, machine {machine:.2f}x",
        numbers={
            **{"wall": wall, "bound": bound, "processor": processor, "machine": machine},
            "one": first,
        },
    )

"""Wall time of compiled steps in one thread and in two, `tg.compile(step, threads=2)`:

    python benchmarks/threads.py [numpy | llvm]

The two take turns, and the ratio is the median over the turns. What else runs on the machine takes
the second core from us: how much is left is measured in between, as the time that two products of
matrices take in two threads, in times of one after the other. 0.5 is a quiet machine with two
cores, and a ratio of steps says something there alone. Processor time, of both threads together,
says what the halves cost.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402
import steps  # noqa: E402
from contestants import tensorgrad as eager  # noqa: E402
from contestants import transformer  # noqa: E402

import tensorgrad as tg  # noqa: E402
from tensorgrad.compiler.threads import both  # noqa: E402

SECONDS, BLOCK = 4.0, 0.02
DENSE = {"medium": ((784, 128, 64, 10), 64), "large": ((784, 512, 512, 10), 128)}
MAKERS: dict[str, Callable[..., Any]] = {
    **{
        name: lambda wrap, args=args: eager.deep(*steps.DEEP(*args, 0.05), wrap=wrap)
        for name, args in DENSE.items()
    },
    "convolution": lambda wrap: eager.convolutional(*steps.convolutional(), wrap=wrap),
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


def main(backend: str) -> None:
    print(f"{backend}: ms of wall time; ratios of two threads to one")
    for name, make in MAKERS.items():
        wraps = [partial(tg.compile, backend=backend, threads=n) for n in (1, 2)]
        one, two = (make(wrap) for wrap in wraps)
        for step in (one, two):
            took(step, 4)
        n = max(1, int(BLOCK / took(one)[0]))
        turns, free, end = [], [], time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            turns.append((*took(one, n), *took(two, n)))
            free.append(left())
        first, _, second, _ = (statistics.median(x) for x in zip(*turns))
        wall = statistics.median(y / x for x, _, y, _ in turns)
        processor = statistics.median(y / x for _, x, _, y in turns)
        print(
            f"{name:12} {first * 1e3:7.2f} {second * 1e3:7.2f}  wall {wall:.2f}  processor time "
            f"{processor:.2f}  the machine {statistics.median(free):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["numpy"]))

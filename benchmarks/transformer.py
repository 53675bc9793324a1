"""A step of a character transformer, and the memory that it takes, against NumPy and PyTorch.

Each contestant runs in a process of its own; before the clock runs all go through the same losses.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from contestants import transformer
from memory import resident
from result import Result, ratio_text, time_text
from timing import Apart, alternate, quartiles

HAND, OURS, PEER = "NumPy by hand", "tensorgrad", "torch"
CONTESTANTS = {HAND: "handwritten", OURS: "tensorgrad", PEER: "torch"}
NAME = "transformer 4x4x128, context 64, batch 12"
TARGET = 1.5  # of PyTorch, in time and in memory


def make_step(function: str) -> Callable[[], Any]:
    """The contestant's step, from the same weights and data for all."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(65, size=(2, 12, 64))
    return getattr(transformer, function)(transformer.draw(), x, y)


class Peak:
    """In place of a step: how much more memory ten steps take at most than before the first."""

    def __init__(self, function: str) -> None:
        self.step = make_step(function)

    def __call__(self) -> float:
        before = resident()
        for _ in range(10):
            self.step()
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return float(highest - before)


def runners(make: Callable[..., Any], n: int) -> tuple[dict[str, Apart], dict[str, list[float]]]:
    """The contestants that are installed, and the first `n` numbers that each returns."""
    found, numbers = {}, {}
    for name, function in CONTESTANTS.items():
        runner = Apart(make, function, env={})
        try:
            numbers[name] = runner.first(n)
        except (ImportError, EOFError) as error:
            print(f"skipped: {name} ({error or 'did not start'})", file=sys.stderr)
            continue
        found[name] = runner
    return found, numbers


def run(rounds: int) -> Iterator[Result]:
    found, losses = runners(make_step, 5)
    for name in found:
        np.testing.assert_allclose(losses[name], losses[HAND], rtol=1e-4, err_msg=name)
    times = alternate(found, rounds)
    peer = times.get(PEER)
    for name, seconds in times.items():
        ratio = quartiles(seconds / (times[HAND] if peer is None else peer))
        yield Result(
            NAME,
            name,
            time_text(quartiles(seconds)[1]),
            ratio_text(*ratio),
            target=f"<= {TARGET}x torch" if name == OURS else "",
            met=ratio[1] <= TARGET if name == OURS and peer is not None else None,
            numbers={"seconds": quartiles(seconds)[1], "ratio": ratio[1]},
        )
    _, peaks = runners(Peak, 1)
    for name, (peak,) in peaks.items():
        ratio = peak / peaks.get(PEER, peaks[HAND])[0]
        yield Result(
            f"{NAME}, memory",
            name,
            f"{peak / 2**20:.1f} MiB",
            f"{ratio:.2f}x",
            target=f"<= {TARGET}x torch" if name == OURS else "",
            met=ratio <= TARGET if name == OURS and PEER in peaks else None,
            numbers={"bytes": peak, "ratio": ratio},
        )

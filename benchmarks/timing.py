"""Timing on a machine that others use too: contestants take turns, and ratios are taken per turn.

A round gives each contestant one block of repetitions, so a disturbance that lasts longer than a
block hits all of them alike; the median over the rounds forgets the others.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Protocol
from unittest import mock

import numpy as np

BLOCK = 0.008  # seconds: long against the clock's resolution, short against disturbances
PAUSE = 0.03  # seconds: OpenBLAS threads spin for 2²⁶ cycles (26 ms) after a product, then sleep


class Runner(Protocol):
    def first(self, n: int) -> list[float]: ...

    def answer(self) -> np.ndarray[Any, Any]: ...

    def seconds(self, k: int) -> float: ...


class Here:
    """Runs `step` in this process."""

    def __init__(self, step: Callable[[], Any]) -> None:
        self.step = step

    def first(self, n: int) -> list[float]:
        """The numbers that the next `n` steps return."""
        answers = (self.step() for _ in range(n))
        return [a.item() if hasattr(a, "item") else a for a in answers]

    def answer(self) -> np.ndarray[Any, Any]:
        """What a step returns, an array or several, as one vector."""
        result = self.step()
        arrays = result if isinstance(result, (tuple, list)) else [result]
        return np.concatenate([np.ravel(np.asarray(a)) for a in arrays])

    def seconds(self, k: int) -> float:
        """How long one of `k` steps takes."""
        step = self.step
        gc.collect()  # the garbage is another contestant's,
        step()  # and so are the caches
        start = time.process_time()  # of the processor: what others take of it does not count
        for _ in repeat(None, k):
            step()
        return (time.process_time() - start) / k


class Apart:
    """Runs the step that `make(*args)` returns in a process of its own, while this one waits.

    A pause on either side lets the thread pool of the contestant before fall asleep. The first
    question raises what `make` raised: ImportError where a library is not installed,
    NotImplementedError where it cannot do this.
    """

    def __init__(self, make: Callable[..., Callable[[], Any]], *args: Any, env: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, make, args, os.getpid()), daemon=True
        )
        with mock.patch.dict(os.environ, env):  # OpenBLAS reads it when NumPy is imported
            self.process.start()

    def ask(self, method: str, *arguments: int) -> Any:
        self.connection.send((method, *arguments))
        answer = self.connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def first(self, n: int) -> list[float]:
        return self.ask("first", n)

    def answer(self) -> np.ndarray[Any, Any]:
        return self.ask("answer")

    def seconds(self, k: int) -> float:
        time.sleep(PAUSE)
        answer = self.ask("seconds", k)
        time.sleep(PAUSE)
        return answer


def serve(connection: Any, make: Any, args: Any, parent: int) -> None:
    """The other process."""
    try:
        runner = Here(make(*args))
    except (ImportError, NotImplementedError) as error:
        connection.recv()
        connection.send(error)
        return
    while os.getppid() == parent:
        try:
            method, *arguments = connection.recv()
        except EOFError:
            return
        connection.send(getattr(runner, method)(*arguments))


def alternate(runners: dict[str, Runner], rounds: int) -> dict[str, np.ndarray[Any, Any]]:
    """Seconds per step of each runner, one entry a round."""
    for runner in runners.values():
        runner.seconds(3)
    k = {name: max(1, round(BLOCK / runner.seconds(5))) for name, runner in runners.items()}
    times = {name: np.empty(rounds) for name in runners}
    for i in range(rounds):
        for name, runner in runners.items():
            times[name][i] = runner.seconds(k[name])
    return times


def quartiles(samples: Sequence[float] | np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = np.percentile(samples, (25, 50, 75))
    return float(low), float(middle), float(high)

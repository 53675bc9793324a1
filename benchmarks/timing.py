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
BUDGET = 12  # seconds of a benchmark's rounds, if they are many
PAUSE = 0.03  # seconds: OpenBLAS threads spin for 2²⁶ cycles (26 ms) after a product, then sleep
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
ONE_THREAD = {
    **dict.fromkeys((*THREADS, "NPROC"), "1"),  # NPROC: of XLA
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


class Runner(Protocol):
    def answers(self, n: int) -> np.ndarray[Any, Any]: ...

    def seconds(self, k: int) -> float: ...


class Here:
    """Runs `step` in this process."""

    def __init__(self, step: Callable[[], Any]) -> None:
        self.step = step
        self.calls: list[float] = []  # how long the first ones took

    def answers(self, n: int) -> np.ndarray[Any, Any]:
        """What the next `n` steps return, as one vector; of large arrays a hundred entries."""
        found = []
        for _ in range(n):
            start = time.process_time()
            result = self.step()
            self.calls.append(time.process_time() - start)
            found += [sampled(x) for x in each(result)]
        return np.concatenate(found)

    def answer(self) -> np.ndarray[Any, Any]:
        """What a step returns, an array or several, as one vector."""
        return np.concatenate([np.ravel(as_array(x)) for x in each(self.step())])

    def parameters(self, n: int) -> np.ndarray[Any, Any]:
        """What a step trains, after `n` more of them; of some steps nothing."""
        trained = getattr(self.step, "parameters", list)
        for _ in range(n if trained() else 0):
            self.step()
        return np.concatenate([np.zeros(0), *map(np.ravel, trained())])

    def costs(self) -> tuple[list[float], int]:
        """How long the first calls took, and the bytes that a compiled step keeps between them."""
        report = self.report()
        return self.calls, report.held if report else 0

    def profile(self) -> str:
        """The report of a compiled step."""
        return str(self.report())

    def report(self) -> Any:
        step = self.step if hasattr(self.step, "report") else getattr(self.step, "f", None)
        return step.report() if hasattr(step, "report") else None

    def seconds(self, k: int) -> float:
        """How long one of `k` steps takes."""
        step = self.step
        gc.collect()  # the garbage is another contestant's,
        step()  # and so are the caches
        start = time.process_time()  # of the processor: what others take of it does not count
        for _ in repeat(None, k):
            step()
        return (time.process_time() - start) / k


def each(result: Any) -> Any:
    return result if isinstance(result, (tuple, list)) else [result]


def as_array(x: Any) -> np.ndarray[Any, Any]:
    """The numbers of any library's array."""
    x = x.detach() if hasattr(x, "detach") else x
    return np.asarray(x if hasattr(x, "__array__") else getattr(x, "data", x))


def sampled(x: Any) -> np.ndarray[Any, Any]:
    x = np.ravel(as_array(x))
    return x[:: max(1, x.size // 100)].copy()  # an array that is there may change


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

    def answer(self) -> np.ndarray[Any, Any]:
        return self.ask("answer")

    def seconds(self, k: int) -> float:
        pause = 0 if os.environ.get("OPENBLAS_NUM_THREADS") == "1" else PAUSE
        time.sleep(pause)
        answer = self.ask("seconds", k)
        time.sleep(pause)
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
    once = {name: runner.seconds(1) for name, runner in runners.items()}
    k = {name: max(1, round(BLOCK / seconds)) for name, seconds in once.items()}
    total = sum(seconds * (k[name] + 1) for name, seconds in once.items())
    times = {name: np.empty(max(5, min(rounds, round(BUDGET / total)))) for name in runners}
    for i in range(len(next(iter(times.values())))):
        for name, runner in runners.items():
            times[name][i] = runner.seconds(k[name])
    return times


def quartiles(samples: Sequence[float] | np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = np.percentile(samples, (25, 50, 75))
    return float(low), float(middle), float(high)

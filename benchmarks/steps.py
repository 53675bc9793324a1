"""Training steps of four networks, against NumPy by hand and against the peers.

Before the clock runs, every contestant must go through the same losses as the NumPy by hand: a
benchmark of wrong code is void.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from contestants import CONTESTANTS, Contestant
from result import Result, ratio_text, time_text
from timing import Apart, Here, Runner, alternate, quartiles

HAND, OURS = "NumPy by hand", "tensorgrad"
SPELLED, COMPILED = f"{OURS}, spelled out", f"{OURS}, compiled"
INFORMATION = "jax.jit"


class Problem(NamedTuple):
    """A network and its batch. `target`: how much longer than NumPy by hand a step may take through
    `nn`; `spelled`: and spelled out in operators and NumPy's functions; `compiled`: as tg.compile
    makes it.
    """

    kind: str  # the function of the contestants: shallow, deep or convolutional
    sizes: tuple[int, ...]  # of the layers; of 5x5 kernels, those of their maps
    batch: int
    lr: float
    target: float
    spelled: float
    compiled: float

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"


PROBLEMS = {
    "small": Problem(
        "shallow", (784, 30, 10), batch=10, lr=0.5, target=1.75, spelled=2.3, compiled=0.6
    ),
    "medium": Problem(
        "deep", (784, 128, 64, 10), batch=64, lr=0.05, target=1.25, spelled=1.25, compiled=0.95
    ),
    "convolution": Problem(
        "convolutional",
        (1, 20, 40, 100, 10),
        batch=64,
        lr=0.05,
        target=0.9,
        spelled=0,
        compiled=0.9,
    ),
    "large": Problem(
        "deep", (784, 512, 512, 10), batch=128, lr=0.05, target=1.05, spelled=1.06, compiled=0.95
    ),
}


def make_step(contestant: Contestant, problem: Problem) -> Callable[[], Any]:
    """The contestant's step, from the same weights and data for all."""
    module = contestant.load()
    if not hasattr(module, problem.kind):
        raise NotImplementedError(f"has no {problem.kind} step")
    rng = np.random.default_rng(0)
    if problem.kind == "convolutional":
        return module.convolutional(*convolutional(rng, problem), problem.lr)
    weights = [
        ((rng.normal(size=(m, n)) / np.sqrt(m)).astype(np.float32), np.zeros(n, np.float32))
        for m, n in zip(problem.sizes, problem.sizes[1:], strict=False)
    ]
    x = rng.random((problem.batch, problem.sizes[0]), dtype=np.float32)
    y: Any = rng.integers(problem.sizes[-1], size=problem.batch)
    if problem.kind == "shallow":
        y = np.eye(problem.sizes[-1], dtype=np.float32)[y]
    return getattr(module, problem.kind)(weights, x, y, problem.lr)


def convolutional(rng: np.random.Generator, problem: Problem) -> tuple[Any, Any, Any]:
    """Weights and images of the net of Nielsen ch. 6: two layers of 5x5 kernels, pooled 2x2."""
    channels, first, second, hidden, classes = problem.sizes
    shapes = (first, channels, 5, 5), (second, first, 5, 5), (second * 16, hidden)
    weights = []
    for shape in (*shapes, (hidden, classes)):
        n, out = (shape[0], shape[1]) if len(shape) == 2 else (np.prod(shape[1:]), shape[0])
        W = rng.normal(size=shape) / np.sqrt(n)
        weights.append((W.astype(np.float32), np.zeros(out, np.float32)))
    x = rng.random((problem.batch, channels, 28, 28), dtype=np.float32)
    return weights, x, rng.integers(classes, size=problem.batch)


def runners(problem: Problem, together: bool) -> dict[str, Runner]:
    """The contestants that are installed, checked against the NumPy by hand."""
    found: dict[str, Runner] = {}
    for contestant in CONTESTANTS:
        if together and contestant.env:
            continue  # an environment needs a process of its own
        runner: Runner
        try:
            if contestant.apart and not together:
                runner = Apart(make_step, contestant, problem, env=contestant.env)
            else:
                runner = Here(make_step(contestant, problem))
            losses = runner.first(5)
        except (ImportError, EOFError, NotImplementedError) as error:
            print(f"skipped: {contestant.name} ({error or 'did not start'})", file=sys.stderr)
            continue
        if contestant.name == HAND:
            right = losses
        np.testing.assert_allclose(losses, right, rtol=1e-4, err_msg=contestant.name)
        found[contestant.name] = runner
    return found


def run(problem: Problem, rounds: int, together: bool = False) -> Iterator[Result]:
    times = alternate(runners(problem, together), rounds)
    for name, seconds in times.items():
        ratio = quartiles(seconds / times[HAND])
        to_ours = quartiles(seconds / times[OURS])[1]
        numbers = {"seconds": quartiles(seconds)[1], "ratio": ratio[1], "to_tensorgrad": to_ours}
        result = partial(
            Result,
            benchmark=problem.name,
            what=name,
            measured=time_text(numbers["seconds"]),
            ratio=ratio_text(*ratio),
            numbers=numbers,
        )
        if name in (HAND, INFORMATION):
            yield result()
        elif name in (OURS, SPELLED, COMPILED):
            targets = {OURS: problem.target, SPELLED: problem.spelled, COMPILED: problem.compiled}
            target = targets[name]
            yield result(target=f"<= {target}x", met=ratio[1] <= target)
        else:
            yield result(target="slower than tensorgrad", met=to_ours > 1)

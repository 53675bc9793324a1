"""Derivatives of functions that are written once, in NumPy's spelling, against other libraries.

A function here is given `np`, the NumPy of the library that differentiates it. Before the clock
runs, all contestants must find the same derivatives: a benchmark of wrong code is void. Each has a
process of its own, all have one thread and the same allocator, and everything is float64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from contestants import BY_ROWS, DIFFERENTIATORS, Contestant
from result import Result, ratio_text, time_text
from timing import ONE_THREAD, Apart, alternate, quartiles

OURS, RIVALS = "tensorgrad", ("autograd", "mygrad")
GAIN = 5  # how much longer than one sweep with all rows a loop over the rows takes, at least
ALIKE = {
    **ONE_THREAD,
    # glibc keeps what is freed. By default large arrays go back to the system and come again page
    # by page, half of the time in some steps, or not, by what the process had freed before.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}

Arrays = list[Any]


def logistic(np, w, x, y):
    """Logistic regression: minus the log likelihood of labels ±1, with weight decay."""
    return np.sum(np.log(1 + np.exp(-y * (x @ w)))) + np.sum(w**2) / 2


def mlp(np, *arrays):
    """tanh layers and a softmax cross-entropy: W, b of each layer, then x and one-hot targets."""
    *parameters, a, targets = arrays
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        a = np.tanh(a @ W + b)
    z = a @ parameters[-2] + parameters[-1]
    z = z - np.amax(z, 1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), 1)) - np.sum(z * targets, 1))


def two_layers(np, x, A, B):
    return np.tanh(B @ np.tanh(A @ x))


def attention(np, W_q, W_k, W_v, W_o, x, y):
    """Multi-head attention (Vaswani et al., 2017) and a squared error.

    Letters: batch, length (of queries i and keys j), width, heads, depth of a head.
    """
    q = np.einsum("biw,whd->bhid", x, W_q)
    k = np.einsum("bjw,whd->bhjd", x, W_k)
    v = np.einsum("bjw,whd->bhjd", x, W_v)
    scores = np.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
    e = np.exp(scores - np.amax(scores, -1, keepdims=True))
    weights = e / np.sum(e, -1, keepdims=True)
    mixed = np.einsum("bhij,bhjd->bhid", weights, v)
    out = np.einsum("bhid,hdw->biw", mixed, W_o)
    return np.mean((out - y) ** 2)


# What they are given: the variables to differentiate by, and constants.

Rng = np.random.Generator


def regression(rng: Rng) -> tuple[Arrays, Arrays]:
    return [rng.normal(size=100) / 10], [rng.normal(size=(500, 100)), rng.choice([-1.0, 1.0], 500)]


def network(rng: Rng) -> tuple[Arrays, Arrays]:
    """1,000,353 parameters."""
    parameters = []
    for m, n in ((784, 1000), (1000, 213), (213, 10)):
        parameters += [rng.normal(size=(m, n)) / np.sqrt(m), np.zeros(n)]
    return parameters, [rng.random((64, 784)), np.eye(10)[rng.integers(10, size=64)]]


def square(rng: Rng) -> tuple[Arrays, Arrays]:
    return [rng.normal(size=100)], [rng.normal(size=(100, 100)) / 10 for _ in range(2)]


def heads(rng: Rng) -> tuple[Arrays, Arrays]:
    batch, length, width, heads, depth = 4, 64, 128, 8, 16
    weights = [rng.normal(size=(width, heads, depth)) / np.sqrt(width) for _ in range(3)]
    weights.append(rng.normal(size=(heads, depth, width)) / np.sqrt(width))
    return weights, [rng.normal(size=(batch, length, width)) for _ in range(2)]


class Problem(NamedTuple):
    name: str
    kind: str  # the function of the contestants
    f: Callable[..., Any]
    arrays: Callable[[Rng], tuple[Arrays, Arrays]]


PROBLEMS = {
    "attention": Problem("gradient, attention 4x8x64x16", "gradient", attention, heads),
    "hvp": Problem("Hessian times vector, MLP, n = 1,000,353", "hvp", mlp, network),
    "hessian": Problem("Hessian 100x100, logistic, 500 rows", "hessian", logistic, regression),
    "jacobian": Problem("Jacobian 100x100, two layers", "jacobian", two_layers, square),
}


def make_step(contestant: Contestant, problem: Problem) -> Callable[[], Any]:
    """The contestant's step, from the same arrays for all; `hvp` gets tangents too."""
    rng = np.random.default_rng(0)
    variables, constants = problem.arrays(rng)
    tangents = [[rng.normal(size=x.shape) for x in variables]] if problem.kind == "hvp" else []
    make = getattr(contestant.load(), problem.kind)
    return make(problem.f, variables, constants, *tangents)


def run(problem: Problem, rounds: int) -> Iterator[Result]:
    """Times, as multiples of tensorgrad's in the same round."""
    runners: dict[str, Apart] = {}
    unable = []
    right = None
    for contestant in (*DIFFERENTIATORS, BY_ROWS):
        if contestant is BY_ROWS and problem.kind not in ("hessian", "jacobian"):
            continue  # there is one row
        try:
            runner = Apart(make_step, contestant, problem, env=ALIKE)
            answer = runner.answer()
        except NotImplementedError:
            unable.append(contestant.name)
            continue
        except ImportError as error:
            print(f"skipped: {contestant.name} ({error})", file=sys.stderr)
            continue
        right = answer if right is None else right
        close = 1e-9 * np.abs(right).max()
        np.testing.assert_allclose(answer, right, 1e-6, close, err_msg=contestant.name)
        runners[contestant.name] = runner
    times = alternate(runners, rounds)
    for name, seconds in times.items():
        ratio = quartiles(seconds / times[OURS])
        result = partial(
            Result,
            benchmark=problem.name,
            what=name,
            measured=time_text(quartiles(seconds)[1]),
            ratio=ratio_text(*ratio) + " of tensorgrad",
            numbers={"seconds": quartiles(seconds)[1], "to_tensorgrad": ratio[1]},
        )
        if name in RIVALS:
            yield result(target="slower than tensorgrad", met=ratio[1] > 1)
        elif name == BY_ROWS.name:
            yield result(target=f">= {GAIN}x", met=ratio[1] >= GAIN)
        else:
            yield result()
    for name in unable:
        yield Result(problem.name, name, "not possible")

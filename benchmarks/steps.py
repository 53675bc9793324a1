"""Steps against NumPy by hand and the peers: trainings, scalar graphs, chains and gradients.

Before the clock runs, every contestant must return what the first one does, and compiled ones must
have taken the eager parameters along 100 steps: a benchmark of wrong code is void. Each has a
process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from hand import chain
from result import Result, bytes_text, ratio_text, time_text
from timing import ONE_THREAD, Apart, alternate, quartiles

HAND, OUT, COPY = "NumPy by hand", "NumPy by hand, out=", "a copy of the array"
OURS, COMPILED, LLVM = "tensorgrad", "tensorgrad, compiled", "tensorgrad, compiled, llvm"
SPELLED = "tensorgrad, spelled out"
TORCH, LAST, TORCH_COMPILE = "torch", "torch, channels last", "torch.compile"
JAX, AUTOGRAD, MYGRAD, MICROGRAD = "jax.jit", "autograd", "mygrad", "micrograd"
MODULES = {
    **{OURS: "tensorgrad", COMPILED: "compiled", LLVM: "compiled_llvm", SPELLED: "spelled"},
    **{TORCH: "torch", TORCH_COMPILE: "torch", LAST: "torch", JAX: "jax"},
    **{AUTOGRAD: "autograd", MYGRAD: "mygrad"},
}
UNROLLED = ", not rolled"
OPTIONS = {TORCH_COMPILE: {"compiled": True}, LAST: {"last": True}}
BATCHES = 4
"""How many there are, for the inputs to be others at each call."""
STEPS = 100
"""After how many the parameters are compared."""
APART = 1e-2
"""How far, relatively, they may be apart then: to add in another order moves those of the
convolutions by 3e-3, as it does to change each of them by 1e-7 at first."""
TRACED, FUSED = 0.05, 0.5
"""Seconds that a first call may take to capture and compile, for NumPy and for llvm."""


class Target(NamedTuple):
    """`what` takes at most `ratio` times as long as the fastest of `than`."""

    what: str
    ratio: float
    than: tuple[str, ...]

    def text(self) -> str:
        than = {HAND: "NumPy by hand", TORCH: "torch", COPY: "a copy"}.get(self.than[0])
        than = than or self.than[0]
        if self.ratio <= 1 / 3 and self.than[0] != HAND:
            return f">= {1 / self.ratio:,.0f}x as fast as {than}"
        return f"<= {self.ratio:.3g}x {than}"


def target(what: str, ratio: float, *than: str) -> Target:
    return Target(what, ratio, than)


class Row(NamedTuple):
    """`title`: for people; `makers`: of each contestant's step, the first is what others are
    compared with, in what they return, and in the time that is printed; `targets`; `rtol`."""

    title: str
    makers: dict[str, Callable[[], Any]]
    targets: tuple[Target, ...]
    rtol: float = 1e-4


def made(name: str, kind: str, *args: Any, **options: Any) -> Any:
    """A contestant's step of this kind."""
    module = import_module(f"contestants.{MODULES[name]}")
    if not hasattr(module, kind):
        raise NotImplementedError(f"has no {kind} step")
    return getattr(module, kind)(*args, **OPTIONS.get(name, {}), **options)


def by_hand(kind: str, version: str, *args: Any) -> Any:
    module = import_module(f"hand.{kind}")
    if not hasattr(module, version):
        raise NotImplementedError("is one with out= already")
    return getattr(module, version)(*args)


def on_problem(make: Any, problem: Any, *args: Any) -> Any:
    """The problem is drawn where the contestant runs."""
    return make(*args, *problem())


def makers(kind: str, problem: Any, names: tuple[str, ...], hand: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {
        name: partial(on_problem, by_hand, problem, hand or kind, version)
        for name, version in ((HAND, "plain"), (OUT, "out"))
    }
    return found | {name: partial(on_problem, made, problem, name, kind) for name in names}


# What is computed.


def dense(sizes: tuple[int, ...], batch: int, lr: float, one_hot: bool) -> Any:
    rng = np.random.default_rng(0)
    weights = [
        ((rng.normal(size=(m, n)) / np.sqrt(m)).astype(np.float32), np.zeros(n, np.float32))
        for m, n in pairwise(sizes)
    ]
    batches = []
    for _ in range(BATCHES):
        x = rng.random((batch, sizes[0]), dtype=np.float32)
        y: Any = rng.integers(sizes[-1], size=batch)
        batches.append((x, np.eye(sizes[-1], dtype=np.float32)[y] if one_hot else y))
    return weights, batches, lr


def convolutional() -> Any:
    """Weights and images of the net of Nielsen ch. 6: two layers of 5x5 kernels, pooled 2x2."""
    rng = np.random.default_rng(0)
    weights = []
    for shape in (20, 1, 5, 5), (40, 20, 5, 5), (640, 100), (100, 10):
        n, out = (shape[0], shape[1]) if len(shape) == 2 else (np.prod(shape[1:]), shape[0])
        W = rng.normal(size=shape) / np.sqrt(n)
        weights.append((W.astype(np.float32), np.zeros(out, np.float32)))
    draw = lambda: (rng.random((64, 1, 28, 28), dtype=np.float32), rng.integers(10, size=64))
    return weights, [draw() for _ in range(BATCHES)], 0.05


def lstm(pixels: int = 28, units: int = 128, classes: int = 10) -> Any:
    rng = np.random.default_rng(0)
    shapes = {
        "lstm.weight_ih_l0": (4 * units, pixels),
        "lstm.weight_hh_l0": (4 * units, units),
        "lstm.bias_ih_l0": (4 * units,),
        "lstm.bias_hh_l0": (4 * units,),
        "answer.weight": (classes, units),
        "answer.bias": (classes,),
    }
    limit = units**-0.5
    weights = {k: rng.uniform(-limit, limit, s).astype(np.float32) for k, s in shapes.items()}
    draw = lambda: (rng.random((64, 28, pixels), np.float32), rng.integers(classes, size=64))
    return weights, [draw() for _ in range(BATCHES)], 1e-3


def transformer() -> Any:
    from contestants.transformer import draw

    rng = np.random.default_rng(0)
    return draw(), [tuple(rng.integers(65, size=(2, 12, 64))) for _ in range(BATCHES)]


def characters(name: str) -> Any:
    """The step of a transformer."""
    weights, batches = transformer()
    if name in (COMPILED, LLVM):
        return import_module(f"contestants.{MODULES[name]}").transformer(weights, batches)
    library = MODULES[name].partition("_")[0]
    make = getattr(import_module("contestants.transformer"), library)
    return make(weights, batches, **OPTIONS.get(name, {}))


def scalars(name: str) -> Any:
    """micrograd's demo, a graph of 65,000 scalars."""
    import moons

    from tensorgrad.nn import scalar

    if name == MICROGRAD:
        return moons.step_of(import_module("contestants.micrograd"))
    step = moons.step_of(scalar)
    if name == OURS:
        return step
    module = import_module(f"contestants.{MODULES[name.removesuffix(UNROLLED)]}")
    options = {"without": ["rolling"]} if name.endswith(UNROLLED) else {}
    compiled = module.wrap(step, **options)
    run = lambda: compiled()
    run.f, run.parameters = compiled, step.parameters
    return run


def arrays(f: Any) -> Any:
    rng = np.random.default_rng(0)
    return f, [rng.normal(size=10**7).astype(np.float32) for _ in range(2)]


def copies() -> Callable[[], Any]:
    """The bandwidth of memory: as many bytes read and written."""
    _, (x, y) = arrays(None)

    def step() -> Any:
        np.copyto(y, x)
        return y

    return step


def logistic_loss(np: Any, w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return np.mean(np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z))))


def logistic() -> Any:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_000, 100))
    points = [(rng.normal(size=100) / 20,) for _ in range(BATCHES)]
    y = (rng.random(100_000) < 1 / (1 + np.exp(-2 * X @ points[0][0]))).astype(float)
    return logistic_loss, points, (X, y)


def rosenbrock_value(np: Any, x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock() -> Any:
    rng = np.random.default_rng(0)
    return rosenbrock_value, [(rng.normal(size=10**6),) for _ in range(BATCHES)], ()


def ahead(*names: str) -> tuple[Target, ...]:
    """tensorgrad, eager, is faster than these."""
    return tuple(target(OURS, 1, name) for name in names)


EAGER = (OURS, COMPILED, LLVM, TORCH, TORCH_COMPILE, JAX, AUTOGRAD, MYGRAD)
DEEP = partial(dense, one_hot=False)
NETWORK = (OURS, COMPILED, LLVM, TORCH, TORCH_COMPILE, JAX)
ROWS = {
    "small": Row(
        "784-30-10 sigmoid, batch 10",
        makers("shallow", partial(dense, (784, 30, 10), 10, 0.5, one_hot=True), (*EAGER, SPELLED)),
        (
            *(target(OURS, 1.75, HAND), target(SPELLED, 2.3, HAND)),
            *(target(COMPILED, 0.6, HAND), target(LLVM, 0.4, HAND)),
            *ahead(TORCH, AUTOGRAD, MYGRAD),
        ),
    ),
    "medium": Row(
        "784-128-64-10 ReLU, batch 64",
        makers("deep", partial(DEEP, (784, 128, 64, 10), 64, 0.05), (*EAGER, SPELLED)),
        (
            *(target(OURS, 1.25, HAND), target(SPELLED, 1.25, HAND)),
            *(target(COMPILED, 0.95, HAND), target(LLVM, 0.85, HAND), target(LLVM, 1 / 1.1, JAX)),
            *ahead(TORCH, AUTOGRAD, MYGRAD),
        ),
    ),
    "large": Row(
        "784-512-512-10 ReLU, batch 128",
        makers("deep", partial(DEEP, (784, 512, 512, 10), 128, 0.05), (*EAGER, SPELLED)),
        (
            *(target(OURS, 1.05, HAND), target(SPELLED, 1.06, HAND)),
            *(target(COMPILED, 0.95, HAND), target(COMPILED, 1, JAX)),
            *(target(LLVM, 0.95, HAND), target(LLVM, 1, JAX)),
            *ahead(TORCH, AUTOGRAD, MYGRAD),
        ),
    ),
    "convolution": Row(
        "convolutions of Nielsen ch. 6, batch 64",
        makers("convolutional", convolutional, (*NETWORK, LAST)),
        (
            *(target(OURS, 0.9, HAND), *ahead(TORCH)),
            *(target(COMPILED, 0.9, TORCH, LAST), target(LLVM, 0.75, TORCH, LAST)),
        ),
        1e-3,
    ),
    "lstm": Row(
        "LSTM of 128 on 28x28, batch 64, Adam",
        makers("lstm", lstm, NETWORK),
        (
            *(target(OURS, 1.3, TORCH), target(COMPILED, 1.05, TORCH)),
            target(LLVM, 0.9, TORCH),
        ),
    ),
    "transformer": Row(
        "transformer 4x4x128, context 64, AdamW",
        {
            HAND: partial(on_problem, by_hand, transformer, "transformer", "plain"),
            **{name: partial(characters, name) for name in NETWORK},
        },
        (
            *(target(OURS, 1.5, TORCH), target(COMPILED, 1, TORCH)),
            target(LLVM, 0.9, TORCH_COMPILE),
        ),
        1e-3,
    ),
    "moons": Row(
        "micrograd's two moons, scalars",
        {
            name: partial(scalars, name)
            for name in (MICROGRAD, OURS, COMPILED, LLVM, COMPILED + UNROLLED)
        },
        (
            *(target(COMPILED, 1 / 1000, MICROGRAD), target(LLVM, 1 / 20_000, MICROGRAD)),
            target(COMPILED + UNROLLED, 1 / 300, MICROGRAD),
        ),
    ),
    "cheap": Row(
        "20 cheap operations, 1e7 floats",
        {
            **makers("function", partial(arrays, chain.cheap), NETWORK[1:], hand="chain"),
            COPY: copies,
        },
        (target(COMPILED, 1 / 4, HAND), target(LLVM, 1.2, COPY)),
    ),
    "rich": Row(
        "the same, 5 transcendentals",
        makers("function", partial(arrays, chain.rich), NETWORK[1:], hand="chain"),
        (target(COMPILED, 1 / 3.5, HAND), target(LLVM, 1 / 3, JAX)),
        1e-3,
    ),
    "logistic": Row(
        "logistic regression, 1e5 x 100, float64",
        makers("gradients", logistic, EAGER, hand="logistic"),
        (target(COMPILED, 0.65, HAND), target(LLVM, 0.3, HAND), *ahead(AUTOGRAD, MYGRAD)),
        1e-9,
    ),
    "rosenbrock": Row(
        "gradient of Rosenbrock's, 1e6 variables",
        makers("gradients", rosenbrock, EAGER, hand="rosenbrock"),
        (target(COMPILED, 0.3, HAND), target(LLVM, 0.05, HAND), *ahead(AUTOGRAD, MYGRAD)),
        1e-9,
    ),
}


def runners(row: Row, env: dict[str, str]) -> dict[str, Apart]:
    """The contestants that are installed, which return the same."""
    started = {name: Apart(make, env=env) for name, make in row.makers.items()}
    found: dict[str, Apart] = {}
    right: Any = None
    for name, runner in started.items():
        try:
            answers = runner.ask("answers", 5)
        except (ImportError, EOFError, NotImplementedError) as error:
            print(f"  without {name}: {error or 'did not start'}", file=sys.stderr, flush=True)
            continue
        found[name] = runner
        right = answers if right is None else right
        if name == COPY:
            continue
        close = row.rtol * np.abs(right).max()
        np.testing.assert_allclose(answers, right, row.rtol, close, err_msg=name)
    return found


def agree(found: dict[str, Apart]) -> None:
    """Whether compiled steps take the parameters where the eager ones do."""
    if OURS not in found:
        return
    wanted = found[OURS].ask("parameters", STEPS)
    for name in {COMPILED, LLVM} & found.keys() if wanted.size else ():
        apart = np.linalg.norm(found[name].ask("parameters", STEPS) - wanted)
        assert apart <= APART * np.linalg.norm(wanted), f"{name}: {apart}"


def run(row: Row, rounds: int) -> Iterator[Result]:
    with TemporaryDirectory() as kernels:  # none is there yet
        yield from measured(row, rounds, {**ONE_THREAD, "TENSORGRAD_CACHE": kernels})


def measured(row: Row, rounds: int, env: dict[str, str]) -> Iterator[Result]:
    found = runners(row, env)
    costs = {name: runner.ask("costs") for name, runner in found.items()}
    agree(found)
    times = alternate(found, rounds)
    base = next(iter(found))
    for name, seconds in times.items():
        ratio = quartiles(seconds / times[base])
        numbers = {"seconds": quartiles(seconds)[1], "ratio": ratio[1]}
        texts, met = [], []
        profile = ""
        for t in row.targets:
            if t.what == name and times.keys() & {*t.than}:
                than = np.min([times[x] for x in t.than if x in times], axis=0)
                reached = quartiles(seconds / than)[1]
                met.append(reached <= t.ratio)
                numbers.setdefault("target", t.ratio * quartiles(than / times[base])[1])
                texts.append(t.text() + ("" if t.than == (base,) else f" ({reached:.3g})"))
        if name in (COMPILED, LLVM) and not all(met):
            profile = found[name].ask("profile")
        yield Result(
            row.title,
            name,
            time_text(numbers["seconds"]),
            ratio_text(*ratio),
            "; ".join(texts),
            all(met) if met else None,
            numbers,
            profile,
        )
    for name, most in ((COMPILED, TRACED), (LLVM, FUSED)):
        if name in found:
            seconds = quartiles(times[name])[1]
            yield compilation(row, name, costs[name], seconds, most)
            again = Apart(row.makers[name], env=env)
            again.ask("answers", 3)
            yield compilation(row, name, again.ask("costs"), seconds, TRACED, ", again")


def compilation(
    row: Row, name: str, costs: Any, seconds: float, most: float, again: str = ""
) -> Result:
    """How long the first calls took longer than others, and what is held between calls; `again`: in
    a process that finds what another one has compiled."""
    calls, held = costs
    longest = max(calls) - seconds
    return Result(
        row.title,
        f"{name}: to compile{again}",
        f"{time_text(longest)}, holds {bytes_text(held)}",
        target=f"<= {time_text(most)}",
        met=longest <= most,
        numbers={"seconds": longest, "bytes": held},
    )

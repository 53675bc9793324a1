"""The whole of Nielsen's chapter 1, data loading included: by hand, and compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from hand import chapter
from result import Result, ratio_text, time_text
from steps import COMPILED, HAND, LLVM, OURS
from timing import ONE_THREAD, Apart, quartiles

TARGET = 0.6
TIMES = 2


def by_hand() -> Callable[[], Any]:
    return chapter.plain


def made(name: str) -> Callable[[], Any]:
    """The training, in which steps are eager or compiled."""
    import tensorgrad as tg
    from tensorgrad import nn, optim

    if name == LLVM:
        import llvmlite  # noqa: F401
    wraps: dict[str, Any] = {OURS: lambda f: f, COMPILED: tg.compile}
    wrap = wraps.get(name, partial(tg.compile, backend="llvm"))

    def train() -> float:
        x, y, x_test, y_test = tg.data.mnist()
        x, y = x[: chapter.IMAGES], np.eye(10, dtype=np.float32)[y[: chapter.IMAGES]]
        layers = [nn.Linear(784, 30, rng=0), nn.Linear(30, 10, rng=1)]
        model = nn.Sequential(layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid())
        sgd = optim.SGD(model.parameters(), lr=chapter.LR)

        @wrap
        def step(x: Any, y: Any) -> None:
            loss = nn.functional.quadratic(model(x), y)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            sgd.zero_grad()

        batches = tg.data.DataLoader(x, y, batch_size=chapter.BATCH, shuffle=True, rng=0)
        for _ in range(chapter.EPOCHS):
            for x_batch, y_batch in batches:
                step(x_batch, y_batch)
            with tg.no_grad():
                right = model(x_test).data.argmax(axis=1) == y_test
        return float(right.mean())

    return train


def run(rounds: int) -> Iterator[Result]:
    makers = {HAND: by_hand, **{name: partial(made, name) for name in (OURS, COMPILED, LLVM)}}
    runners = {name: Apart(make, env=ONE_THREAD) for name, make in makers.items()}
    rights: dict[str, float] = {}
    for _ in range(TIMES):
        for name in [*runners]:
            try:
                (rights[name],) = runners[name].ask("answers", 1)
            except ImportError as error:
                print(f"  without {name}: {error}", file=sys.stderr)
                del runners[name]
    times = {name: np.array(runner.ask("costs")[0]) for name, runner in runners.items()}
    for name, seconds in times.items():
        assert rights[name] > 0.93, f"{name}: {rights[name]:.1%} of the test images"
        ratio = quartiles(seconds / times[HAND])
        judged = name in (COMPILED, LLVM)
        yield Result(
            "Nielsen ch. 1, 30 epochs, data read",
            name,
            f"{time_text(quartiles(seconds)[1])}, {rights[name]:.1%} right",
            ratio_text(*ratio),
            f"<= {TARGET}x NumPy by hand" if judged else "",
            ratio[1] <= TARGET if judged else None,
            {"seconds": quartiles(seconds)[1], "ratio": ratio[1]},
        )

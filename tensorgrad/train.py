"""The training loop: batches, backward, update; a progress bar to watch and a history to keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.nn.module import Module
from tensorgrad.optim import Optimizer
from tensorgrad.value import Value, no_grad


class Epoch(NamedTuple):
    """One line of a history: mean losses, the metric on the validation data, seconds so far."""

    epoch: int
    loss: float
    validation_loss: float | None
    accuracy: float | None
    seconds: float


def accuracy(answers: Any, targets: Any) -> float:
    """The share of rows whose largest answer is the right class (a number, or a row of 0 and 1).

    `answers`: (n, classes), at least two of them; `targets`: (n,) or (n, classes). ValueError for
    other shapes, such as those of a regression, which has no right class.

    >>> accuracy(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
    0.5
    """
    answers, targets = np.asarray(data_of(answers)), np.asarray(targets)
    fits = targets.shape in (answers.shape[:1], answers.shape)
    if answers.ndim != 2 or answers.shape[1] < 2 or not fits:
        raise ValueError(
            f"accuracy compares answers (n, classes) with right classes, not {answers.shape} with "
            f"{targets.shape}: pass another metric, or metric=None"
        )
    if targets.ndim > 1:
        targets = targets.argmax(axis=-1)
    return float(np.mean(answers.argmax(axis=-1) == targets))


def predict(model: Callable[..., Any], x: Any, batch_size: int = 10_000) -> Any:
    """The model's answers as one plain array, computed without recording, in batches."""
    with no_grad():
        parts = [model(x[i : i + batch_size]) for i in range(0, len(x), batch_size)]
    return np.concatenate([part.data if isinstance(part, Value) else part for part in parts])


def fit(
    model: Module,
    batches: Any,
    loss: Callable[..., Any],
    optimizer: Optimizer,
    *,
    epochs: int,
    validation: tuple[Any, Any] | None = None,
    metric: Callable[..., float] | None = accuracy,
    on_epoch: Callable[[Epoch], object] | None = None,
    progress: bool = True,
) -> list[Epoch]:
    """Train `model` and return the history, one `Epoch` each.

    `batches`: yields (x, y) pairs anew each time it is iterated, such as a `data.DataLoader`.
    `loss`: of (model(x), y), a Value with one element, the mean over the batch.
    `validation`: (x, y) to measure the loss and `metric` on after each epoch.
    `on_epoch`: called with each new line of the history (print it, save the best, stop by raising).
    `progress`: a bar with loss, accuracy and time left (extra `cli`); only in a terminal.

    Ctrl-C raises KeyboardInterrupt as ever; the model keeps what it has learned.

    >>> from tensorgrad import data, nn, optim
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> y = (x[:, 0] > x[:, 1]).astype(int)
    >>> model = nn.Linear(2, 2, rng=0)
    >>> batches = data.DataLoader(x, y, batch_size=10, shuffle=True, rng=0)
    >>> history = fit(model, batches, nn.functional.cross_entropy,
    ...               optim.SGD(model.parameters(), lr=1.0), epochs=5, validation=(x, y))
    >>> history[-1].accuracy > 0.9
    True
    """
    if epochs < 0:
        raise ValueError(f"epochs={epochs}: must not be negative")
    history: list[Epoch] = []
    model.train()
    started = time.perf_counter()
    with _bar(epochs, batches, progress) as advance:
        for epoch in range(1, epochs + 1):
            total, n = 0.0, 0
            for n, (x, y) in enumerate(batches, start=1):
                cost = loss(model(x), y)
                optimizer.zero_grad()
                cost.backward()
                optimizer.step()
                total += cost.item()
                if n % 64 == 0:
                    advance(64, total / n, history)
            if not n:
                raise ValueError(
                    f"epoch {epoch} has no batches: pass what can be iterated anew each time and "
                    "is not empty, such as a list or a data.DataLoader"
                )
            advance(n % 64, total / n, history)
            line = Epoch(epoch, total / n, None, None, time.perf_counter() - started)
            if validation is not None:
                line = _measure(model, validation, loss, metric, line)
            history.append(line)
            if on_epoch is not None:
                on_epoch(line)
    return history


def _measure(
    model: Module, validation: tuple[Any, Any], loss: Any, metric: Any, line: Epoch
) -> Epoch:
    x, y = validation
    model.eval()
    try:
        answers = predict(model, x)
    finally:
        model.train()
    score = None if metric is None else metric(answers, y)
    return line._replace(validation_loss=float(loss(answers, y)), accuracy=score)


@contextmanager
def _bar(epochs: int, batches: Any, wanted: bool) -> Iterator[Callable[[int, float, Any], None]]:
    """A progress bar, or nothing where nobody looks."""
    import sys

    if not (wanted and sys.stderr.isatty()):
        yield lambda batches_done, loss, history: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        print("no progress bar: pip install 'tensorgrad-engine[cli]'", file=sys.stderr)
        yield lambda batches_done, loss, history: None
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    # Lines printed meanwhile go above the bar, but not if stdout is a file: they would miss it.
    above = sys.stdout.isatty()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=above) as bar:
        total = epochs * len(batches) if hasattr(batches, "__len__") else None
        task = bar.add_task("", total=total)

        def advance(done: int, loss: float, history: list[Epoch]) -> None:
            text = f"epoch {len(history) + 1}/{epochs}  loss {loss:.4f}"
            if history and history[-1].accuracy is not None:
                text += f"  accuracy {history[-1].accuracy:.2%}"
            bar.update(task, advance=done, description=text)

        yield advance

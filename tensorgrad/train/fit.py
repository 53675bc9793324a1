"""The training loop: a step for each batch; a progress bar to watch and a history to keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.nn.module import Module
from tensorgrad.optim import Optimizer
from tensorgrad.train.progress import progress_bar
from tensorgrad.train.step import Step
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
    step: Callable[[Module, Callable[..., Any], Optimizer], Callable[..., Any]] = Step,
) -> list[Epoch]:
    """Train `model` and return the history, one `Epoch` each.

    `batches`: yields (x, y) pairs anew each time it is iterated, such as a `data.DataLoader`.
    `loss`: of (model(x), y), a Value with one element, the mean over the batch. The history has the
    mean over the examples: a smaller last batch counts for less.
    `validation`: (x, y) to measure the loss and `metric` on after each epoch.
    `on_epoch`: called with each new line of the history (print it, save the best, stop by raising).
    `progress`: a bar with loss, accuracy and time left (extra `cli`); only in a terminal.
    `step`: makes the training step of (model, loss, optimizer), such as a subclass of `Step`.

    A model that is in evaluation mode is put into training mode; of one that is not, Modules within
    that are, frozen ones, are left so. Ctrl-C raises KeyboardInterrupt as ever; the model keeps
    what it has learned.

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
    if not model.training:
        model.train()
    take = step(model, loss, optimizer)
    started = time.perf_counter()
    with progress_bar(epochs, batches, progress) as advance:
        for epoch in range(1, epochs + 1):
            total, examples, n = 0.0, 0, 0
            for n, batch in enumerate(batches, start=1):
                size = rows(batch[-1])
                if not size:
                    raise ValueError(f"batch {n} of epoch {epoch} has no examples")
                total += size * take(*batch).item()
                examples += size
                if n % 64 == 0:
                    advance(64, total / examples, history)
            if not n:
                raise ValueError(
                    f"epoch {epoch} has no batches: pass what can be iterated anew each time and "
                    "is not empty, such as a list or a data.DataLoader"
                )
            advance(n % 64, total / examples, history)
            line = Epoch(epoch, total / examples, None, None, time.perf_counter() - started)
            if validation is not None:
                line = _measure(model, validation, loss, metric, line)
            history.append(line)
            if on_epoch is not None:
                on_epoch(line)
    return history


def rows(targets: Any) -> int:
    """How many examples there are; one where the targets have no axis for them."""
    shape = np.shape(data_of(targets))
    return shape[0] if shape else 1


def _measure(
    model: Module, validation: tuple[Any, Any], loss: Any, metric: Any, line: Epoch
) -> Epoch:
    x, y = validation
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        answers = predict(model, x)
    finally:
        for module, training in modes:
            module.training = training
    score = None if metric is None else metric(answers, y)
    return line._replace(validation_loss=float(loss(answers, y)), accuracy=score)

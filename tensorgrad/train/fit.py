"""The training loop: a step for each batch; a progress bar to watch and a history to keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, Literal, NamedTuple

import numpy as np

from tensorgrad.data.loader import DataLoader
from tensorgrad.engine.arguments import ordinary
from tensorgrad.engine.arrays import NUMPY, kind_of
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
    validation: Any = None,
    metric: Callable[..., float] | Literal["accuracy"] | None = "accuracy",
    on_epoch: Callable[[Epoch], object] | None = None,
    progress: bool = True,
    step: Callable[[Module, Callable[..., Any], Optimizer], Callable[..., Any]] = Step,
) -> list[Epoch]:
    """Train `model` and return the history, one `Epoch` each.

    `batches`: yields (x, y) pairs anew each time it is iterated, such as a `data.DataLoader`; or a
    tuple (x, y) of arrays, lists or DataFrames, a row for each example, drawn 32 at a time.
    `loss`: of (model(x), y), a Value with one element, the mean over the batch. The history has the
    mean over the examples: a smaller last batch counts for less.
    `validation`: (x, y) to measure the loss and `metric` on after each epoch. The first examples
    are tried before training. "accuracy" is measured where answers and targets are classes.
    `on_epoch`: called with each new line of the history (print it, save the best, stop by raising).
    `progress`: a bar with loss, accuracy and time left (extra `cli`); only in a terminal.
    `step`: makes the training step of (model, loss, optimizer), such as a subclass of `Step`.

    A model that is in evaluation mode is put into training mode; of one that is not, Modules within
    that are, frozen ones, are left so. Ctrl-C raises KeyboardInterrupt as ever; the model keeps
    what it has learned. FloatingPointError where a loss or gradient is not finite, with epoch and
    batch and the operation and Module that made the first NaN or Inf; the parameters are as before
    that step (`Step.check`). ValueError and TypeError, before training, for arrays of different
    lengths, without examples or of other things than numbers, for an iterator, which ends, and for
    an optimiser of other parameters than the model's.

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
    if not isinstance(model, Module):
        raise TypeError(f"fit trains a Module, not {model!r:.60}")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            "a loss is a function of (answers, targets), such as nn.functional.cross_entropy or "
            f"nn.CrossEntropyLoss(), not {loss!r:.60}"
        )
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"an optimizer is such as optim.Adam(model.parameters()), not {optimizer!r:.60}"
        )
    learning = {p.node for group in optimizer.param_groups for p in group["params"]}
    own = model.parameters()
    if own and not any(p.node in learning for p in own):
        raise ValueError(
            "the optimizer has none of the model's parameters (of an earlier model, it may be): "
            "make it anew, of model.parameters()"
        )
    batches = as_batches(batches, epochs)
    if validation is not None:
        x, y = validation = arrays_of("validation", validation)
        answers = _answers(model, x[:2])
        loss(answers, y[:2])
        if metric is accuracy:
            accuracy(answers, y[:2])
        elif metric == "accuracy":
            metric = accuracy if classifies(answers, y) else None
    history: list[Epoch] = []
    if not model.training:
        model.train()
    take = step(model, loss, optimizer)
    started = time.perf_counter()
    with progress_bar(epochs, batches, progress) as advance:
        for epoch in range(1, epochs + 1):
            total, examples, n = 0.0, 0, 0
            for n, batch in enumerate(batches, start=1):
                if is_data(batch):
                    raise TypeError("a batch is a tuple (x, y), not an array: fit(model, (x, y))")
                size = rows(batch[-1])
                if not size:
                    raise ValueError(f"batch {n} of epoch {epoch} has no examples")
                try:
                    value = take(*batch).item()
                except FloatingPointError as error:
                    raise FloatingPointError(f"epoch {epoch}, batch {n}: {error}") from error
                if not isfinite(value):  # of a step that has not looked itself
                    raise FloatingPointError(
                        f"epoch {epoch}, batch {n}: the loss is {value}, and the step has changed "
                        "the parameters"
                    )
                total += size * value
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


def as_batches(batches: Any, epochs: int) -> Any:
    """What can be iterated once an epoch."""
    if holds_arrays(batches):
        return DataLoader(*arrays_of("arrays", batches), shuffle=True)
    if is_data(batches):
        raise TypeError("fit takes inputs and targets together: fit(model, (x, y), ...)")
    if epochs > 1 and isinstance(batches, Iterator):
        raise ValueError(
            f"{type(batches).__name__} ends with its first epoch: pass what can be iterated anew "
            "each time, such as a list or a data.DataLoader"
        )
    return batches


def is_data(x: Any) -> bool:
    """Whether `x` is an array or a DataFrame."""
    return len(x.shape) > 0 if hasattr(x, "shape") else hasattr(x, "to_numpy")


def holds_arrays(batches: Any) -> bool:
    """Whether it is a tuple of arrays, rather than a tuple of batches, each a tuple or list."""
    if not isinstance(batches, tuple) or not batches:
        return False
    return any(map(is_data, batches)) or all(
        isinstance(part, list) and not any(map(is_data, part)) for part in batches
    )


def arrays_of(what: str, parts: Any) -> tuple[Any, ...]:
    """Arrays with a row for each example, checked."""
    if not isinstance(parts, (tuple, list)) or len(parts) < 2:
        raise TypeError(f"{what}: needs a pair (x, y), not {type(parts).__name__}")
    arrays = tuple(map(table, parts))
    for x in arrays:
        if x.dtype.kind not in "biufc":
            raise TypeError(
                f"{what}: {x.dtype} is no type of numbers; x.astype(float) reads what can be read "
                "so, and names, y = np.unique(labels, return_inverse=True) numbers classes"
            )
    shapes = [x.shape for x in arrays]
    if () in shapes or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"{what}: each needs a row for each example, got shapes {shapes}")
    if not shapes[0][0]:
        raise ValueError(f"{what}: no examples, got shapes {shapes}")
    return arrays


def table(part: Any) -> Any:
    """An array of what may be a list or a DataFrame; other kinds of array as they are."""
    x = part.to_numpy() if hasattr(part, "to_numpy") else data_of(part)
    try:
        return x if kind_of(x) is not NUMPY else np.asarray(ordinary(x, "fit"))
    except ValueError as error:
        raise ValueError("the rows of a list have different lengths: pad them to one") from error


def classifies(answers: Any, targets: Any) -> bool:
    """Whether `accuracy` fits: answers for several classes, targets that are classes."""
    if answers.ndim != 2 or answers.shape[1] < 2:
        return False
    if targets.ndim == 1:
        return bool(targets.dtype.kind in "biu")
    rows_of_one = np.all((targets == 0) | (targets == 1)) and np.all(np.sum(targets, axis=-1) == 1)
    return bool(targets.shape[1:] == answers.shape[1:] and rows_of_one)


def _answers(model: Module, x: Any) -> Any:
    """`predict`, in evaluation mode."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        return predict(model, x)
    finally:
        for module, training in modes:
            module.training = training


def _measure(model: Module, validation: Any, loss: Any, metric: Any, line: Epoch) -> Epoch:
    x, y = validation
    answers = _answers(model, x)
    score = None if metric is None else metric(answers, y)
    return line._replace(validation_loss=float(loss(answers, y)), accuracy=score)

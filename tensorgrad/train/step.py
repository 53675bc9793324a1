"""Step: one training step, forward, backward and update, as an object to take and to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.amp import GradScaler, autocast, infinite, masters_of, short_dtype
from tensorgrad.engine.arrays import met
from tensorgrad.engine.calls import forgetting_buffers
from tensorgrad.engine.care import finite
from tensorgrad.engine.node import data_of
from tensorgrad.graph.debug import birth
from tensorgrad.nn.module import Module
from tensorgrad.optim import Optimizer
from tensorgrad.optim.optimizer import settle
from tensorgrad.train.batches import rows
from tensorgrad.value import Value


def origin(loss: Value, model: Module) -> str:
    """Where the first NaN or Inf of a step arose, in words."""
    found = birth(loss.node)
    if found is None:
        return (
            "computed again from the graph all is finite, so on the way back it grew too large for "
            "its dtype (a smaller lr?), or what was done to it made it so"
        )
    node, what = found
    names = {p.node: f"parameter {name}" for name, p in model.named_parameters()}
    if node.op is None:
        return f"{names.get(node) or node.name or 'a Value'} {what}"
    if node.scope is None:
        return f"{what}, outside of the model"
    paths = {id(module): name for name, module in model.named_modules()}
    module = node.scope.module
    path = paths.get(id(module))
    return f"{what}, in {type(module).__name__}" + (f" {path}" if path else "")


class Alone:
    """The processes that train together: this one. Of several, `parallel.Ranks` knows."""

    rank, size = 0, 1

    def total(self, *numbers: float, at: str) -> tuple[float, ...]:
        """Their sums over all processes, which are to be at the same place of the training."""
        return numbers

    def compare(self, what: Mapping[str, str]) -> None:
        """ValueError where it is not the same in all."""

    def split(self, batches: Any) -> Any:
        """Of each batch this process's part."""
        return batches


ALONE = Alone()


class Step:
    """One training step: `step(x, y)` improves the model and returns the loss, from before.

    `precision`: in which the model computes, "float16" or "bfloat16", by `amp.autocast`; the loss,
    the gradients and the update stay in that of its parameters. In float16 a `scaler`, by default
    `amp.GradScaler()`, sees to small gradients: a step in which one overflows is skipped:
    nothing changes but the scale, and `scaler.skipped` counts it. At a scale of 1 it is an error.

    Clipping, accumulation, penalties and the like override a part of it:

    >>> import numpy as np
    >>> from tensorgrad import nn, optim
    >>> class Clipped(Step):
    ...     def backward(self, loss):
    ...         super().backward(loss)
    ...         for p in self.model.parameters():
    ...             p.grad = np.clip(p.grad, -1, 1)
    >>> model = nn.Linear(1, 1, rng=0)
    >>> step = Clipped(model, nn.functional.mse_loss, optim.SGD(model.parameters(), lr=0.1))
    >>> x = np.array([[1.0], [2.0]])
    >>> losses = [step(x, 3 * x).item() for _ in range(100)]
    >>> losses[-1] < losses[0] / 100
    True
    """

    peers = ALONE
    precision: Any = None
    scaler: GradScaler | None = None

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any],
        optimizer: Optimizer,
        *,
        precision: Any = None,
        scaler: GradScaler | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.precision, self.scaler = None, None
        if precision is not None or scaler is not None:
            self.compute_in(precision, scaler)

    def compute_in(self, precision: Any, scaler: GradScaler | None = None) -> None:
        """Steps in that precision from now on. ValueError for an unknown one, for a model that is
        short itself, and for a scaler where an optimiser looks at several points, as LBFGS does."""
        dtype = short_dtype(precision)
        if scaler is None and dtype == np.float16:
            scaler = GradScaler()
        if dtype is not None:
            masters_of(self.model)
        if scaler is not None and not self.optimizer.looks_once:
            raise ValueError(
                f"{type(self.optimizer).__name__} looks at several points in a step, and one that "
                "overflows cannot be skipped: precision='bfloat16', or 'float32'"
            )
        self.precision, self.scaler = dtype, scaler

    def __call__(self, *batch: Any) -> Value:
        """Take the step; the loss that the model had before it."""
        loss: Value = self._take(lambda again: self.once(again)(*batch))
        return loss

    def accumulate(self, batches: Sequence[Any]) -> Any:
        """One step for several batches, as if they were one, in the memory that one needs.

        The loss is the mean over all examples, for a loss that is the mean over a batch's. A
        Module that looks at a batch as a whole, such as BatchNorm, sees each by itself.
        """
        return self._take(lambda again: Accumulated(self, batches, again))

    def _take(self, loss_of: Callable[[bool], Any]) -> Any:
        again = False
        loss: Any = None

        def evaluate() -> Any:
            nonlocal again, loss
            loss = loss_of(again)
            self.backward(loss)
            if not again:
                self.check(loss)
            again = True
            return loss

        if self.scaler is None:
            return self.update(evaluate)
        before = {name: x.copy() for name, x in self.model.named_buffers()}
        try:
            found = self.update(evaluate)
        except FloatingPointError:
            if loss is None or self.scaler.get_scale() <= 1:
                raise
            self.optimizer.zero_grad()
            for name, x in before.items():  # statistics may have seen the overflow
                self.model.get_buffer(name)[...] = x
            self.scaler.back_off()
            return loss
        self.scaler.count()
        return found

    def once(self, again: bool) -> Callable[..., Value]:
        """The forward. Again, by a line search, say, what the model remembers of a batch, it does
        not remember twice."""
        forward = self.in_precision
        return partial(forgetting_buffers, (), forward) if again else forward

    def in_precision(self, *batch: Any) -> Value:
        """The forward, of a model that computes in short floats if the step is to."""
        if self.precision is None:
            return self.forward(*batch)
        quiet = np.errstate(over="ignore", invalid="ignore")  # `check` looks at what comes of it
        with quiet, autocast(self.model, self.precision):
            return self.forward(*batch)

    def forward(self, *batch: Any) -> Value:
        """The loss: of what the model makes of all but the last, and the last, the targets."""
        *inputs, targets = batch
        answers = self.model(*inputs)
        if answers is None:
            raise TypeError(f"{type(self.model).__name__} answers None: its forward has no return")
        loss: Value = self.loss(answers, targets)
        if not isinstance(loss, Value):
            raise TypeError(f"a loss is a Value, not a {type(loss).__name__}: no .item(), no float")
        return loss

    def with_penalty(self, loss: Any) -> Any:
        """What `fit` monitors, of the loss on any data: the loss itself; `penalised` adds to it."""
        return loss

    def backward(self, loss: Value) -> None:
        """Leave the gradient of the loss, and no other, in the parameters."""
        self.optimizer.zero_grad()
        self.sweep(loss)
        if self.scaler is not None:
            self.scaler.divide(self.optimizer.params)
            self.check(loss)  # before anybody clips what is not finite

    def seed(self, loss: Any, share: float = 1.0) -> Any:
        """What the sweep begins with; None for 1."""
        if self.scaler is not None:
            return self.scaler.seed(loss, share)
        return None if share == 1 else loss.dtype.type(share)

    def sweep(self, loss: Any) -> None:
        """The sweep itself; of several processes together, where they train together."""
        loss.backward(self.seed(loss))
        if met:
            settle(loss, self.optimizer.params)

    def check(self, loss: Value) -> None:
        """Go on only with numbers: FloatingPointError, before the update, if the loss or a gradient
        is not finite, that says which operation of which Module made the first NaN or Inf.
        (Buffers have seen the batch already.)
        """
        gradients = [g for p in self.optimizer.params if (g := p.node.grad) is not None]
        if finite(loss.node.data) and all(map(finite, gradients)):
            return  # 4 µs; the rest also of arrays without numbers, and recorded gradients
        if not any(map(infinite, [loss.data, *map(data_of, gradients)])):
            return
        if self.scaler is not None and self.scaler.get_scale() > 1:
            raise FloatingPointError("a gradient overflows at this scale")
        what = "a gradient is not finite"
        if infinite(loss.data):
            what = f"the loss is {loss.item()}"
        raise FloatingPointError(
            f"{what}: {origin(loss, self.model)}. The parameters are as they were before this step"
        )

    def update(self, evaluate: Callable[[], Value]) -> Value:
        """Change the parameters, and return the loss. `evaluate()` is forward and backward; an
        optimiser that needs several calls it again at each point it tries."""
        loss: Value = self.descend(evaluate)
        return loss

    def descend(self, evaluate: Callable[[], Value]) -> Any:
        """The optimiser's step itself."""
        return self.optimizer.step(evaluate)


class Accumulated:
    """The mean loss of several batches, for `Step.backward`: one graph after the other.

    Its `backward` computes each batch's loss, adds its gradient to the parameters', and forgets the
    graph.
    """

    node: Any = None  # of the last batch's loss
    last: Callable[[], Any] = nullcontext  # what is put around the last sweep
    dtype = np.dtype(np.float64)

    def __init__(self, step: Step, batches: Sequence[Any], again: bool) -> None:
        self.step, self.batches, self.again = step, batches, again
        self.data = np.float64(0.0)

    def backward(self, seed: Any = None, create_graph: bool = False) -> None:
        """Add the gradients. The seed is that of the step."""
        sizes = [rows(batch[-1]) for batch in self.batches]
        (whole,) = self.step.peers.total(sum(sizes), at="accumulated batches")
        self.data = np.float64(0.0)
        for i, (batch, size) in enumerate(zip(self.batches, sizes), start=1):
            self.node = None  # the graph before is gone when the next is made
            around = self.last if i == len(sizes) else nullcontext
            self.node = self._add(batch, size / whole, create_graph, around)
        self.again = True

    def _add(self, batch: Any, share: float, create_graph: bool, around: Callable[[], Any]) -> Any:
        loss = self.step.once(self.again)(*batch) * share
        with around():
            loss.backward(self.step.seed(loss), create_graph=create_graph)
        if not self.again and self.step.scaler is None:
            self.step.check(loss)  # while there is a graph to look for its first NaN in
        self.data += loss.item()
        return loss.node

    def item(self) -> float:
        return float(self.data)

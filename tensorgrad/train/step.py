"""Step: one training step, forward, backward and update, as an object to take and to change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from tensorgrad.engine.calls import forgetting_buffers
from tensorgrad.nn.module import Module
from tensorgrad.optim import Optimizer
from tensorgrad.value import Value


class Step:
    """One training step: `step(x, y)` improves the model and returns the loss, from before.

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

    def __init__(self, model: Module, loss: Callable[..., Any], optimizer: Optimizer) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer

    def __call__(self, *batch: Any) -> Value:
        """Take the step; the loss that the model had before it."""
        again = False

        def evaluate() -> Value:
            nonlocal again
            # Again by a line search, say: what the model remembers of a batch, it remembers once.
            with forgetting_buffers() if again else nullcontext():
                loss = self.forward(*batch)
            again = True
            self.backward(loss)
            return loss

        return self.update(evaluate)

    def forward(self, *batch: Any) -> Value:
        """The loss: of what the model makes of all but the last, and the last, the targets."""
        *inputs, targets = batch
        loss: Value = self.loss(self.model(*inputs), targets)
        return loss

    def backward(self, loss: Value) -> None:
        """Leave the gradient of the loss, and no other, in the parameters."""
        self.optimizer.zero_grad()
        loss.backward()

    def update(self, evaluate: Callable[[], Value]) -> Value:
        """Change the parameters, and return the loss. `evaluate()` is forward and backward; an
        optimiser that needs several calls it again at each point it tries."""
        loss: Value = self.optimizer.step(evaluate)
        return loss

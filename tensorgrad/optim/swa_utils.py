"""Averages of weights: of all there were (SWA), or of late ones (EMA). Names are PyTorch's.

Izmailov et al. (2018), "Averaging weights leads to wider optima and better generalization".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import beside, copied, in_place
from tensorgrad.engine.node import Array
from tensorgrad.engine.short import kept
from tensorgrad.extras import whole
from tensorgrad.nn.module import Module, in_mode, replace
from tensorgrad.optim.lr_scheduler import ANNEAL, Each, LRScheduler, for_each
from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.value import no_grad

AvgFn = Callable[[Array, Array, int], Array]
"""Of the mean of n weights and the next one: the mean of n + 1."""


def get_swa_avg_fn() -> AvgFn:
    """The mean of all."""
    return lambda mean, x, n: mean + (x - mean) / (n + 1)


def get_ema_avg_fn(decay: float = 0.999) -> AvgFn:
    """decay times the mean before, and 1 - decay of the new. ValueError unless from 0 to 1.

    >>> get_ema_avg_fn(0.75)(1.0, 2.0, 5)
    1.25
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay={decay}: must be from 0 to 1")
    return lambda mean, x, n: decay * mean + (1 - decay) * x


def of_lists(average: AvgFn) -> Callable[..., list[Array]]:
    return lambda means, xs, n: [average(mean, x, n) for mean, x in zip(means, xs)]


def get_swa_multi_avg_fn() -> Callable[..., list[Array]]:
    """`get_swa_avg_fn` of lists: the new means."""
    return of_lists(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., list[Array]]:
    """`get_ema_avg_fn` of lists: the new means."""
    return of_lists(get_ema_avg_fn(decay))


class AveragedModel(Module):
    """A copy of `model` with the average of its weights: call `update_parameters(model)` at times.

    `avg_fn(mean, new, n)` is of one array, `multi_avg_fn(means, news, n)` of lists of them, and
    returns the new ones or writes into `means`. Buffers are the model's last, or averaged too with
    `use_buffers`. The first update copies.

    >>> from tensorgrad import nn, optim
    >>> model = nn.Linear(1, 1, bias=False, rng=0)
    >>> average = optim.swa_utils.AveragedModel(model)
    >>> for w in (1.0, 2.0, 6.0):
    ...     model.weight.data = np.full((1, 1), w)
    ...     average.update_parameters(model)
    >>> print(average(np.ones(1)).data)
    [3.]
    """

    def __init__(
        self,
        model: Module,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: Callable[..., Any] | None = None,
        use_buffers: bool = False,
    ) -> None:
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("one of avg_fn and multi_avg_fn")
        self.module = deepcopy(model)
        self.n_averaged = np.array(0)
        self.avg_fn, self.multi_avg_fn = avg_fn, multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the weights of `model` into the average. ValueError for those of other shapes."""
        n = int(self.n_averaged)
        mine, its = self.module.parameters(), model.parameters()
        buffers, new_buffers = self.module.buffers(), model.buffers()
        if [x.shape for x in (*mine, *buffers)] != [x.shape for x in (*its, *new_buffers)]:
            raise ValueError("the average is of a model with other arrays: make it of this one")
        new = self._average([p.data for p in mine], [p.data for p in its], n)
        for p, x in zip(mine, new, strict=True):
            p.node.data = kept(x)
        if self.use_buffers:
            new_buffers = self._average(buffers, new_buffers, n)
        copies = [in_place(copied(x, b.dtype)) for b, x in zip(buffers, new_buffers, strict=True)]
        replace(self.module, {id(b): x for b, x in zip(buffers, copies)})
        self.n_averaged = beside(np.array(n + 1), self.n_averaged)

    def _average(self, means: list[Array], xs: list[Array], n: int) -> list[Array]:
        new = [in_place(copied(x if not n else mean)) for mean, x in zip(means, xs, strict=True)]
        if n:
            average = self.multi_avg_fn or of_lists(self.avg_fn or get_swa_avg_fn())
            given = average(new, xs, n)
            new = new if given is None else given
        return [copied(x, mean.dtype) for x, mean in zip(new, means, strict=True)]


def update_bn(loader: Iterable[Any], model: Module) -> None:
    """Running statistics of `model`'s BatchNorms anew, over one pass: those of an average are not
    the average of statistics.

    `loader`: batches, or tuples that begin with one.
    """
    norms: list[Any] = [m for _, m in model.named_modules() if hasattr(m, "reset_running_stats")]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    try:
        for m in norms:
            m.reset_running_stats()
            m.momentum = None
        with in_mode(model, True), no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for m, momentum in zip(norms, momenta):
            m.momentum = momentum


class SWALR(LRScheduler):
    """From the rate as it is to `swa_lr` in `anneal_epochs` steps, then that."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Each,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ANNEAL:
            raise ValueError(f"anneal_strategy={anneal_strategy!r}: must be 'cos' or 'linear'")
        for group, lr in zip(optimizer.param_groups, for_each("swa_lr", swa_lr, optimizer)):
            group["swa_lr"] = lr
        self.anneal_epochs = whole("anneal_epochs", anneal_epochs, 0)
        self.anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        before, now = self.passed(self.last_epoch - 1), self.passed(self.last_epoch)
        # What is left of the way shrinks by this; the rate may have been changed on it.
        left = (1 - now) / (1 - before) if before < 1 else 0.0
        groups = self.optimizer.param_groups
        return [g["swa_lr"] + (g["lr"] - g["swa_lr"]) * left for g in groups]

    def passed(self, step: int) -> float:
        """The part of the way from 0 to 1."""
        way = step / self.anneal_epochs if self.anneal_epochs else 1.0
        return ANNEAL[self.anneal_strategy](0.0, 1.0, max(0.0, min(1.0, way)))

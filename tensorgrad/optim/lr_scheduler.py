"""Schedules of the learning rate, each a function of the step; names and numbers are PyTorch's.

`scheduler.step()` after each epoch, or each step, sets `lr` in the groups of its optimiser, where
the truth is: set it by hand, and a schedule goes on from there. Most are a factor of the initial
rate, `Factor`, and multiply the rate by its change, so that they compose; others set the rate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tensorgrad.engine.node import data_of
from tensorgrad.extras import whole
from tensorgrad.optim.optimizer import Optimizer

Each = float | Sequence[float]
"""One for all groups, or one for each."""


class LRScheduler:
    """Base class: a subclass has `get_lr()`, the rates of all groups at step `self.last_epoch`.

    `optimizer.param_groups[i]["initial_lr"]`, `self.base_lrs`: what it began with. TypeError where
    there is no optimiser, KeyError for a schedule that goes on (`last_epoch` of 0 or more) where a
    group has no "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = of_optimizer(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"group {i} has no 'initial_lr' to go on from: load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def get_lr(self) -> list[float]:
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def get_last_lr(self) -> list[float]:
        """The rates that it set last."""
        return self._last_lr

    def step(self, epoch: Any = None) -> None:
        """Set the rates of the next step, or those of step `epoch`."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        rates = self.get_lr() if epoch is None else self.closed_form()
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = list(rates)

    def closed_form(self) -> list[float]:
        """The rates at step `self.last_epoch`, whatever they were before."""
        return self.get_lr()

    def state_dict(self) -> dict[str, Any]:
        """All it knows besides its optimiser and functions: numbers."""
        return {k: v for k, v in vars(self).items() if k != "optimizer" and not is_function(v)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict()` returned. The rates are the optimiser's to load.

        ValueError, before anything changes, where it is another schedule's.
        """
        if set(state) != set(self.state_dict()):
            raise ValueError(f"this is no state of {type(self).__name__}: {sorted(state)}")
        vars(self).update(state)


def of_optimizer(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"a schedule is one of an optimizer, not of {type(optimizer).__name__}")
    return optimizer


def is_function(x: Any) -> bool:
    return any(map(callable, x)) if isinstance(x, list) else callable(x)


def for_each(name: str, x: Each, optimizer: Optimizer) -> list[float]:
    """A setting of each group. ValueError for another number of them."""
    n = len(of_optimizer(optimizer).param_groups)
    if not isinstance(x, (list, tuple)):
        return [x] * n  # type: ignore[list-item]
    if len(x) != n:
        raise ValueError(f"{name} has {len(x)} numbers, and the optimizer {n} groups")
    return list(x)


class LambdaLR(LRScheduler):
    """lr = initial lr times `lr_lambda(step)`; a list has a function for each group.

    >>> from tensorgrad import Value, optim
    >>> optimizer = optim.SGD([Value(1.0)], lr=0.5)
    >>> scheduler = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    >>> scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self.lr_lambdas: Any = for_each("lr_lambda", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * f(self.last_epoch) for lr, f in zip(self.base_lrs, self.lr_lambdas)]


class MultiplicativeLR(LambdaLR):
    """lr ← lr times `lr_lambda(step)`, from step 1 on."""

    def get_lr(self) -> list[float]:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if not self.last_epoch:
            return rates
        return [lr * f(self.last_epoch) for lr, f in zip(rates, self.lr_lambdas)]


class Factor(LRScheduler):
    """Base class of schedules that are a `factor` of the step, times the initial rate.

    `warmup`: so many steps before, in which the rate rises linearly from 1 / warmup of the initial
    one. `eta_min`: the rate that a factor of 0 stands for.
    """

    eta_min = 0.0

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1, warmup: int = 0) -> None:
        self.warmup = whole("warmup", warmup, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} does not define factor()")

    def at(self, step: int) -> float:
        """The factor, with the warm-up before."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self.factor(step - self.warmup)

    def get_lr(self) -> list[float]:
        new, old = self.at(self.last_epoch), 1.0
        if self.last_epoch:
            old = self.at(self.last_epoch - 1)
        if not old:
            return self.closed_form()
        low, change = self.eta_min, new / old
        return [low + (group["lr"] - low) * change for group in self.optimizer.param_groups]

    def closed_form(self) -> list[float]:
        factor = self.at(self.last_epoch)
        return [self.eta_min + (lr - self.eta_min) * factor for lr in self.base_lrs]


class StepLR(Factor):
    """`gamma` times as much every `step_size` steps.

    >>> from tensorgrad import Value, optim
    >>> optimizer = optim.SGD([Value(1.0)], lr=0.5)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     print(optimizer.param_groups[0]["lr"], end=" ")
    ...     scheduler.step()
    0.5 0.5 0.25 0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
        *,
        warmup: int = 0,
    ) -> None:
        self.step_size, self.gamma = whole("step_size", step_size), gamma
        super().__init__(optimizer, last_epoch, warmup)

    def factor(self, step: int) -> float:
        return self.gamma ** (step // self.step_size)


class MultiStepLR(Factor):
    """`gamma` times as much at each of the `milestones`."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
        *,
        warmup: int = 0,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch, warmup)

    def factor(self, step: int) -> float:
        return self.gamma ** bisect_right(self.milestones, step)


class ConstantLR(Factor):
    """`factor` times the rate for `total_iters` steps, then all of it."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"factor={factor}: must be from 0 to 1")
        self.start, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        return self.start if step < self.total_iters else 1.0


class LinearLR(Factor):
    """From `start_factor` to `end_factor` times the rate in `total_iters` steps: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"start_factor={start_factor}, end_factor={end_factor}: must be from 0 to 1, and "
                "not start with 0"
            )
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        passed = min(step / self.total_iters, 1) if self.total_iters else 1
        return self.start_factor + (self.end_factor - self.start_factor) * passed


class ExponentialLR(Factor):
    """`gamma` times as much at every step."""

    def __init__(
        self, optimizer: Optimizer, gamma: float, last_epoch: int = -1, *, warmup: int = 0
    ) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch, warmup)

    def factor(self, step: int) -> float:
        return self.gamma**step


class PolynomialLR(Factor):
    """(1 - step / total_iters)^power, then 0."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
        *,
        warmup: int = 0,
    ) -> None:
        self.total_iters, self.power = whole("total_iters", total_iters), power
        super().__init__(optimizer, last_epoch, warmup)

    def factor(self, step: int) -> float:
        left: float = 1 - min(step / self.total_iters, 1)
        return float(left**self.power)


class CosineAnnealingLR(Factor):
    """Along half a cosine to `eta_min` in `T_max` steps (and up again): Loshchilov, Hutter (2017).

    >>> from tensorgrad import Value, optim
    >>> optimizer = optim.SGD([Value(1.0)], lr=0.5)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=2, warmup=2)
    >>> for _ in range(5):
    ...     print(f"{optimizer.param_groups[0]['lr']:.2f}", end=" ")
    ...     scheduler.step()
    0.25 0.50 0.50 0.25 0.00
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
        *,
        warmup: int = 0,
    ) -> None:
        self.T_max, self.eta_min = whole("T_max", T_max), eta_min
        super().__init__(optimizer, last_epoch, warmup)

    def factor(self, step: int) -> float:
        return (1 + math.cos(math.pi * step / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Along half a cosine in T_0 steps, then anew, each time `T_mult` times as long.

    Loshchilov and Hutter (2017). `step(epoch)` takes fractions of an epoch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_0, self.T_mult, self.eta_min = whole("T_0", T_0), whole("T_mult", T_mult), eta_min
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        if epoch is not None and epoch < 0:
            raise ValueError(f"epoch={epoch}: must not be negative")
        super().step(epoch)
        self.last_epoch = math.floor(self.last_epoch)

    def get_lr(self) -> list[float]:
        passed, length = self.last_epoch, self.T_0
        if self.T_mult == 1:
            passed %= length
        while passed >= length:
            passed, length = passed - length, length * self.T_mult
        factor = (1 + math.cos(math.pi * passed / length)) / 2
        return [self.eta_min + (lr - self.eta_min) * factor for lr in self.base_lrs]


class WithMomentum(LRScheduler):
    """Base class of schedules that turn the momentum down while the rate is up, if asked."""

    cycle_momentum: bool

    def _begin(self, optimizer: Optimizer, base: Each, most: Each, last_epoch: int) -> None:
        if not self.cycle_momentum:
            return
        if not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError(
                f"{type(optimizer).__name__} has no momentum to change: cycle_momentum=False"
            )
        lows, highs = (for_each("momentum", x, optimizer) for x in (base, most))
        if last_epoch == -1:
            for group, low, high in zip(optimizer.param_groups, lows, highs):
                group["base_momentum"], group["max_momentum"] = low, high

    def _set_momentum(self, group: dict[str, Any], momentum: float) -> None:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


SCALES: dict[str, Callable[[float, int, int], float]] = {
    "triangular": lambda gamma, cycle, step: 1.0,
    "triangular2": lambda gamma, cycle, step: 0.5 ** (cycle - 1),
    "exp_range": lambda gamma, cycle, step: gamma**step,
}
"""How high each triangle of `CyclicLR` is."""


class CyclicLR(WithMomentum):
    """Up from `base_lr` to `max_lr` and down, again and again: Smith (2017)."""

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Each,
        max_lr: Each,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Each = 0.8,
        max_momentum: Each = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in SCALES and scale_fn is None:
            raise ValueError(f"mode={mode!r}: must be one of {', '.join(SCALES)}")
        self.min_lrs = for_each("base_lr", base_lr, optimizer)
        self.max_lrs = for_each("max_lr", max_lr, optimizer)
        self.up = whole("step_size_up", step_size_up)
        self.down = whole("step_size_down", step_size_down or self.up)
        self.mode, self.gamma = mode, gamma
        self.scale_fn, self.scale_mode = scale_fn, scale_mode
        self.cycle_momentum = cycle_momentum
        self._begin(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step, length = self.last_epoch, self.up + self.down
        cycle = step // length + 1
        passed = step % length
        height = passed / self.up if passed <= self.up else (length - passed) / self.down
        if self.scale_fn is None:
            height *= SCALES[self.mode](self.gamma, cycle, step)
        else:
            height *= self.scale_fn(cycle if self.scale_mode == "cycle" else step)
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                low, high = group["base_momentum"], group["max_momentum"]
                self._set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.min_lrs, self.max_lrs)]


def linear(start: float, end: float, passed: float) -> float:
    return start + (end - start) * passed


def cos(start: float, end: float, passed: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * passed)) / 2


ANNEAL = {"cos": cos, "linear": linear}


class OneCycleLR(WithMomentum):
    """Up to `max_lr` in the first `pct_start` of all steps, and down to almost nothing.

    Smith and Topin (2019). The rate begins with max_lr / div_factor and ends with
    max_lr / div_factor / final_div_factor. `total_steps`, or `epochs` and `steps_per_epoch`.
    ValueError for a step past the last.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Each,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Each = 0.85,
        max_momentum: Each = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("needs total_steps, or epochs and steps_per_epoch")
            total_steps = whole("epochs", epochs) * whole("steps_per_epoch", steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start={pct_start}: must be from 0 to 1")
        if anneal_strategy not in ANNEAL:
            raise ValueError(f"anneal_strategy={anneal_strategy!r}: must be 'cos' or 'linear'")
        self.total_steps = total_steps = whole("total_steps", total_steps)
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        top, end = pct_start * total_steps - 1, total_steps - 1
        names = ["initial_lr", "max_lr", "min_lr"]
        self.ends, self.rates = [0.0, top, end], names
        self.momenta = ["max_momentum", "base_momentum", "max_momentum"]
        if three_phase:
            self.ends.insert(2, 2 * pct_start * total_steps - 2)
            self.rates.insert(2, "initial_lr")
            self.momenta.append("max_momentum")
        self._begin(optimizer, base_momentum, max_momentum, last_epoch)
        if last_epoch == -1:
            highs = for_each("max_lr", max_lr, optimizer)
            for group, high in zip(optimizer.param_groups, highs):
                group["max_lr"], group["initial_lr"] = high, high / div_factor
                group["min_lr"] = group["initial_lr"] / final_div_factor
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step, ends, anneal = self.last_epoch, self.ends, ANNEAL[self.anneal_strategy]
        if step > self.total_steps:
            raise ValueError(
                f"step {step} of a schedule of {self.total_steps} steps: total_steps is how often "
                "step() is called in all, such as epochs * len(loader)"
            )
        phase = next((i for i in range(1, len(ends)) if step <= ends[i]), len(ends) - 1)
        passed = (step - ends[phase - 1]) / (ends[phase] - ends[phase - 1])
        if self.cycle_momentum:
            a, b = self.momenta[phase - 1 : phase + 1]
            for group in self.optimizer.param_groups:
                self._set_momentum(group, anneal(group[a], group[b], passed))
        a, b = self.rates[phase - 1 : phase + 1]
        return [anneal(group[a], group[b], passed) for group in self.optimizer.param_groups]


class ReduceLROnPlateau(LRScheduler):
    """`factor` times the rate when a number has not improved for more than `patience` epochs.

    `step(metrics)` takes that number. It improves if it is better than the best by `threshold`, of
    that or ("abs") in itself. After a change `cooldown` epochs are not counted.

    >>> from tensorgrad import Value, optim
    >>> optimizer = optim.SGD([Value(1.0)], lr=0.5)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Each = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not 0 <= factor < 1:
            raise ValueError(f"factor={factor}: must be below 1")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"mode={mode!r}, threshold_mode={threshold_mode!r}: must be 'min' or 'max', and "
                "'rel' or 'abs'"
            )
        self.optimizer = of_optimizer(optimizer)
        self.min_lrs = for_each("min_lr", min_lr, optimizer)
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def better(self, x: float) -> bool:
        """Whether it improves on the best."""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * x > sign * self.best + self.threshold
        return sign * x > sign * self.best * (1 + sign * self.threshold)

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """An epoch has ended with this number."""
        x = float(data_of(metrics))
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self.num_bad_epochs += 1
        if self.better(x):
            self.best, self.num_bad_epochs = x, 0
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for group, low in zip(self.optimizer.param_groups, self.min_lrs):
                lr = max(group["lr"] * self.factor, low)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class HalvingLR(ReduceLROnPlateau):
    """Nielsen's rule (chapter 3): half the rate when `patience` epochs in a row have not improved.

    `finished` once a rate is at most `end` of what it was: time to stop.

    >>> from tensorgrad import Value, optim
    >>> scheduler = HalvingLR(optim.SGD([Value(1.0)], lr=0.5), mode="max", patience=2)
    >>> epochs = 0
    >>> while not scheduler.finished:
    ...     scheduler.step(0.9)  # the accuracy
    ...     epochs += 1
    >>> epochs  # the first improves; then seven halves, of two epochs each
    15
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", patience: int = 10, end: float = 1 / 128
    ) -> None:
        patience = whole("patience", patience)
        super().__init__(optimizer, mode, 0.5, patience - 1, threshold=0.0, eps=0.0)
        self.ends = [end * lr for lr in self._last_lr]

    @property
    def finished(self) -> bool:
        """Whether a rate has come down to its end."""
        return any(g["lr"] <= end for g, end in zip(self.optimizer.param_groups, self.ends))


class Several(LRScheduler):
    """Base class of schedules that are made of others, of the same optimiser."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name} got no schedulers")
        self.optimizer = schedulers[0].optimizer if optimizer is None else of_optimizer(optimizer)
        for i, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"{name}: number {i}, {type(scheduler).__name__}, needs a metric")
            if scheduler.optimizer is not self.optimizer:
                raise ValueError(f"{name}: number {i} is of another optimizer")
        self.schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        states = [scheduler.state_dict() for scheduler in self.schedulers]
        own = {k: v for k, v in vars(self).items() if k not in ("optimizer", "schedulers")}
        return {**own, "schedulers": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        own, schedulers = dict(state), self.schedulers
        for scheduler, its in zip(schedulers, own.get("schedulers", ()), strict=True):
            scheduler.load_state_dict(its)
        super().load_state_dict(own)
        self.schedulers = schedulers


class ChainedScheduler(Several):
    """All of them at each step: factors multiply."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        super().__init__(schedulers, optimizer)
        self._last_lr = schedulers[-1].get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        groups = self.optimizer.param_groups
        rates = [group["initial_lr"] for group in groups]
        for scheduler in self.schedulers:
            scheduler.step(epoch)
            rates = [lr * g["lr"] / g["initial_lr"] for lr, g in zip(rates, groups)]
        if epoch is not None:  # each has set its own
            for group, lr in zip(groups, rates):
                group["lr"] = lr
        self._last_lr = [group["lr"] for group in groups]


class SequentialLR(Several):
    """One after the other: the next, from its own step 0 on, at each of the `milestones`.

    >>> from tensorgrad import Value, optim
    >>> optimizer = optim.SGD([Value(1.0)], lr=0.5)
    >>> warmup, decay = LinearLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.5)
    >>> scheduler = SequentialLR(optimizer, [warmup, decay], milestones=[2])
    >>> for _ in range(4):
    ...     print(optimizer.param_groups[0]["lr"], end=" ")
    ...     scheduler.step()
    0.25 0.375 0.5 0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"{len(schedulers)} schedulers change at {len(schedulers) - 1} milestones, not "
                f"{len(milestones)}"
            )
        self.milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Each has taken its first step when it was made: only that of the first counts.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        first = self.schedulers[bisect_right(self.milestones, 0)]
        first.step(0)
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        i = bisect_right(self.milestones, self.last_epoch)
        passed = self.last_epoch - (self.milestones[i - 1] if i else 0)
        self.schedulers[i].step(None if passed and epoch is None else passed)
        self._last_lr = self.schedulers[i].get_last_lr()

"""Mixed precision, with PyTorch's names: a model that computes in 16 bits and learns in 32.

`autocast` has a model compute in float16 or bfloat16; its parameters stay as they are, the master
weights, and so do their gradients and the loss. float16 ends at 6e-8 downwards, where many
gradients lie: `GradScaler` multiplies the loss, and so all of them, by a large number, and divides
them by it before the update. bfloat16 has the range of float32, and needs no such thing.

What a Value holds of short floats is computed with in float32 and rounded once for each operation
(`engine/short.py`), so no operation has to be kept from them; normalisations compute all of theirs,
statistics too, in float32. Micikevicius et al. (2018), "Mixed precision training".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import is_known, wrong
from tensorgrad.engine.care import finite
from tensorgrad.engine.dtypes import Dtype, dtype_called, is_floating, is_short
from tensorgrad.engine.node import Array, data_of
from tensorgrad.extras import whole
from tensorgrad.nn.module import Module, replace
from tensorgrad.ops.elementwise import cast
from tensorgrad.optim import Optimizer
from tensorgrad.transforms.tree import flatten
from tensorgrad.value import Value, as_constant

LARGEST = 2.0**100
"""A scale that grows no more."""


def short_dtype(precision: Any) -> Dtype | None:
    """The dtype of a precision, None for that of the parameters. ValueError for no such thing."""
    if precision is None or precision == "float32":
        return None
    try:
        dtype = dtype_called(precision)
    except TypeError:
        dtype = np.dtype(object)
    if not is_short(dtype):
        raise ValueError(f"precision={precision!r:.60}: 'float16', 'bfloat16' or 'float32'")
    return dtype


def infinite(x: Array) -> bool:
    """Whether there is a NaN or Inf, as far as there are numbers."""
    return not finite(x) and wrong(~np.isfinite(x))


@contextmanager
def autocast(model: Module, dtype: Any = "bfloat16") -> Iterator[None]:
    """Within, each call of `model` computes in `dtype`, "float16" or "bfloat16".

    It sees its parameters, and what it is given, in that dtype, and what it answers is in that of
    its parameters again, so that the loss is computed in float32. Gradients come back to the
    parameters in their own dtype. A Module within that is called by itself computes as ever.

    ImportError where bfloat16 needs ml_dtypes (extra `bfloat16`), ValueError for another dtype, and
    for a model that is in 16 bits itself: its parameters are to be the master weights.

    >>> from tensorgrad import nn
    >>> model = nn.Linear(2, 1, rng=0)
    >>> with autocast(model, "float16"):
    ...     y = model(np.array([[0.1, 0.2]]))
    >>> y.backward()
    >>> y.dtype, model.weight.dtype, model.weight.grad  # 0.1 and 0.2, of 11 binary digits
    (dtype('float32'), dtype('float32'), array([[0.09997559, 0.19995117]], dtype=float32))
    """
    short = short_dtype(dtype)
    if short is None:
        yield
        return
    masters_of(model)
    calls: list[list[tuple[Value, Any]]] = []

    def enter(module: Module, args: Any) -> Any:
        calls.append([(p, cast(p, dtype=short)) for p in masters_of(module)])
        replace(model, {id(p): x for p, x in calls[-1]})
        parts, rebuild = flatten(args)
        return rebuild([cast(as_constant(x), dtype=short) if is_long(x) else x for x in parts])

    def leave(module: Module, args: Any = (), out: Any = None) -> Any:
        pairs = calls.pop()
        replace(model, {id(x): p for p, x in pairs})
        usual = np.result_type(*(p.dtype for p, _ in pairs)) if pairs else np.dtype(np.float32)
        parts, rebuild = flatten(out)
        return rebuild([x.astype(usual) if is_of(x, short) else x for x in parts])

    had_hooks = "_hooks" in vars(model)
    handles = [model.register_forward_pre_hook(enter), model.register_forward_hook(leave)]
    try:
        yield
    finally:
        while calls:  # a call that raised
            leave(model)
        for handle in handles:
            handle.remove()
        if not had_hooks and not any(vars(model._hooks).values()):
            del model._hooks  # all is as it was


def masters_of(model: Module) -> list[Value]:
    """The parameters that are converted. ValueError where they are short themselves."""
    found = [p for p in model.parameters() if is_floating(p.dtype)]
    for p in found:
        if is_short(p.dtype) and p.node.op is None:
            raise ValueError(
                f"{type(model).__name__} has parameters of {p.dtype}: in mixed precision they are "
                "the master weights, model.float()"
            )
    return found


def is_long(x: Any) -> bool:
    """Whether it is an array or a Value of real numbers in more than 16 bits."""
    known = isinstance(x, Value) or (is_known(x) and hasattr(x, "dtype"))
    return known and is_floating(x.dtype) and not is_short(x.dtype)


def is_of(x: Any, dtype: Dtype) -> bool:
    return isinstance(x, Value) and x.dtype == dtype


class GradScaler(Module):
    """Scales a loss so that no gradient is lost below what float16 has, and gradients back.

    `init_scale`: the first scale. After each step whose gradients are not all finite, which is
    skipped, it is multiplied by `backoff_factor`; after `growth_interval` others in a row, by
    `growth_factor`. Powers of two change no digit. `skipped` counts the steps that were.

    It is a Module without parameters: its state, in `state_dict`, is arrays. ValueError for factors
    that do not grow, or back off.

    >>> from tensorgrad import nn, optim
    >>> model = nn.Linear(1, 1, rng=0)
    >>> sgd, scaler = optim.SGD(model.parameters(), lr=0.1), GradScaler()
    >>> with autocast(model, "float16"):
    ...     loss = nn.functional.mse_loss(model(np.ones((1, 1))), np.ones((1, 1)))
    >>> scaler.scale(loss).backward()
    >>> scaler.unscale_(sgd)  # to clip, say
    >>> scaler.step(sgd)
    >>> scaler.update()
    >>> scaler.get_scale(), int(scaler.skipped)  # 65536 times a slope above 1 is no float16
    (32768.0, 1)
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        if not 0 < init_scale <= LARGEST:
            raise ValueError(f"init_scale={init_scale}: above 0, and at most 2**100")
        if not 1 < growth_factor < np.inf or not 0 < backoff_factor < 1:
            raise ValueError(
                f"growth_factor={growth_factor}, backoff_factor={backoff_factor}: the one is above "
                "1, the other between 0 and 1"
            )
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval = whole("growth_interval", growth_interval)
        self.factor = np.array(init_scale, np.float32)
        self.good = np.array(0)  # steps in a row since the scale has changed
        self.skipped = np.array(0)
        self._unscaled: list[Optimizer] = []  # since the last update
        self._overflow = False

    def get_scale(self) -> float:
        """The scale as it is now."""
        return float(self.factor)

    def scale(self, outputs: Any) -> Any:
        """A loss, times the scale."""
        return outputs * self.factor.astype(outputs.dtype)[()]

    def seed(self, loss: Any, share: float = 1.0) -> Array:
        """What a sweep from `loss` begins with, to leave scaled gradients."""
        return (self.factor * share).astype(loss.dtype)[()]

    def divide(self, params: Iterable[Value]) -> None:
        """Scale the gradients back."""
        for p in params:
            if p.node.grad is not None:
                p.node.grad = p.node.grad / self.factor.astype(p.dtype)[()]

    def unscale_(self, optimizer: Optimizer) -> None:
        """Scale the gradients of its parameters back, before they are clipped, say.

        RuntimeError for a second time in one step.
        """
        if any(optimizer is other for other in self._unscaled):
            raise RuntimeError("unscale_ was called for this optimizer since the last update()")
        self.divide(optimizer.params)
        found = [data_of(p.node.grad) for p in optimizer.params if p.node.grad is not None]
        self._overflow = self._overflow or any(map(infinite, found))
        self._unscaled = [*self._unscaled, optimizer]

    def step(self, optimizer: Optimizer) -> None:
        """`optimizer.step()`, with gradients scaled back; nothing where one is not finite."""
        if not any(optimizer is other for other in self._unscaled):
            self.unscale_(optimizer)
        if not self._overflow:
            optimizer.step()

    def update(self) -> None:
        """Adapt the scale, after each step."""
        if self._overflow:
            self.back_off()
        else:
            self.count()
        self._unscaled, self._overflow = [], False

    def back_off(self) -> None:
        """A step was skipped."""
        zero = np.zeros_like(self.good)
        self.remember(factor=self.factor * self.backoff_factor, good=zero, skipped=self.skipped + 1)

    def count(self) -> None:
        """A step was taken."""
        good = self.good + 1
        grows = good >= self.growth_interval
        larger = np.minimum(self.factor * self.growth_factor, LARGEST)
        self.remember(
            factor=np.where(grows, larger, self.factor).astype(np.float32),
            good=np.where(grows, 0, good),
        )

"""PyTorch: a torch.autograd.Function, a Module, or any other function of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.testing.adapters.library import Library, imported, subject
from tensorgrad.testing.subject import Function, Subject, name_of
from tensorgrad.testing.vectors import listed, several

Array = Any


def from_torch(function: Any, name: str = "") -> Subject:
    """A function of tensors, with the gradients that PyTorch computes, to any order.

    `function`: a subclass of torch.autograd.Function, or anything that can be called, such as a
    Module, one whose parameters are float64 (`.double()`): the check also calls it in float64.
    Forward mode is checked where the subclass defines `jvp`. A gradient that PyTorch leaves out
    (None) is zero, as it is to PyTorch. The tensors share the memory of the arrays: what `forward`
    and `backward` change in place is noticed.

    >>> testing.check(from_torch(MyFunction), x, weight, order=2)  # doctest: +SKIP
    """
    torch = imported("torch", "torch")
    base: Any = torch.autograd.Function
    custom = isinstance(function, type) and issubclass(function, base)
    written = getattr(function, "forward", function)
    if custom and function.setup_context is base.setup_context:
        written = partial(written, None)  # its first argument is ctx
    f = function.apply if custom else function
    forward = custom and function.jvp is not base.jvp

    def tensor(a: Array) -> Any:
        a = np.asarray(a)
        if a.flags.writeable and all(n >= 0 for n in a.strides):
            return torch.from_numpy(a)
        # PyTorch has neither; what is one number broadcast stays so
        once = a[tuple(slice(1) if n == 0 else slice(None) for n in a.strides)]
        return torch.from_numpy(once.copy()).expand(a.shape)

    def array(t: Any) -> Any:
        return t.numpy(force=True) if isinstance(t, torch.Tensor) else t

    def floats(x: Any) -> bool:
        return isinstance(x, torch.Tensor) and (x.is_floating_point() or x.is_complex())

    def pulled(f: Function, gs: list[Any], xs: Sequence[Any], again: bool) -> Sequence[Any]:
        wrt = [x.requires_grad_() for x in xs if floats(x)]
        # PyTorch's gradients, and its cotangents, are the conjugates of a Subject's
        pairs = [
            (y, torch.as_tensor(g, dtype=y.dtype).conj())
            for y, g in zip(listed(f(*xs)), gs)
            if floats(y) and y.requires_grad
        ]
        found = [torch.zeros_like(x) for x in wrt]
        if pairs and wrt:
            ys, cotangents = zip(*pairs)
            found = torch.autograd.grad(
                ys, wrt, cotangents, create_graph=again, materialize_grads=True
            )
        it = iter(found)
        return [next(it).conj() if floats(x) else None for x in xs]

    def pushed(f: Function, ts: list[Any], xs: Sequence[Any]) -> Any:
        ad = torch.autograd.forward_ad
        with ad.dual_level():
            duals = [
                ad.make_dual(x, torch.as_tensor(t, dtype=x.dtype)) if floats(x) else x
                for x, t in zip(xs, ts)
            ]
            y = f(*duals)
            pairs = map(ad.unpack_dual, listed(y))
            found = [torch.zeros_like(value) if t is None else t for value, t in pairs]
            return found if several(y) else found[0]

    library = Library(torch, tensor, array, pulled, pushed)
    return subject(library, f, written, (forward, False), name or name_of(function))

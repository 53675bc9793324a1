"""HIPS autograd: a primitive with its rules, or any other function."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tensorgrad.testing.adapters.library import Library, imported, subject
from tensorgrad.testing.subject import Function, Subject
from tensorgrad.testing.vectors import several


def from_autograd(f: Function, name: str = "") -> Subject:
    """A function of arrays, with the gradients that autograd computes, to any order.

    Forward mode is checked where `f` is a primitive with rules for it (`defjvp`).

    >>> testing.check(from_autograd(my_primitive), x, weight, order=2)  # doctest: +SKIP
    """
    autograd = imported("autograd", "autograd")
    core, builtins = imported("autograd.core", "autograd"), autograd.builtins

    def floats(x: Any) -> bool:
        return getattr(getattr(x, "dtype", None), "kind", "O") in "fc"

    def traced(f: Function) -> Function:
        """Its results in a tuple through which autograd can trace."""

        def g(*xs: Any) -> Any:
            y = f(*xs)
            return builtins.tuple(y) if several(y) else y

        return g

    def pulled(f: Function, gs: list[Any], xs: Sequence[Any], again: bool) -> Sequence[Any]:
        def by(k: int) -> Any:
            back, y = autograd.make_vjp(traced(f), k)(*xs)
            return back(tuple(gs) if builtins.isinstance(y, tuple) else gs[0])

        return [by(k) if floats(x) else None for k, x in enumerate(xs)]

    def pushed(f: Function, ts: list[Any], xs: Sequence[Any]) -> Any:
        along = [
            autograd.make_jvp(traced(f), k)(*xs)(t)[1]
            for k, (x, t) in enumerate(zip(xs, ts))
            if floats(x)
        ]
        if several(along[0]):
            return [sum(terms[1:], start=terms[0]) for terms in zip(*along)]
        return sum(along[1:], start=along[0])

    @contextmanager
    def context(args: Sequence[Any]) -> Iterator[None]:
        with warnings.catch_warnings():  # zero is a gradient like any other, and is compared
            warnings.filterwarnings("ignore", "Output seems independent of input")
            yield

    unchanged = lambda a: a
    library = Library(autograd.numpy, unchanged, unchanged, pulled, pushed, context)
    forward = f in core.primitive_jvps
    return subject(library, f, getattr(f, "fun", f), (forward, False), name)

"""What the adapters have in common: a Subject made of what a library can do with its own arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np

from tensorgrad.testing.subject import Function, Subject, name_of
from tensorgrad.testing.vectors import listed, several

Array = Any


@dataclass(frozen=True)
class Library:
    """A library that differentiates. Below, `xs` and `gs` hold its own arrays.

    `array` makes one of a NumPy array, `numpy` goes back, and leaves whatever else it is given;
    `xp` has `sum` and `real` for them.
    `pulled(f, gs, xs, again)` returns the gradients of `f` at `xs` for the cotangents `gs`, None
    for an argument without; differentiable once more if `again`. `pushed(f, ts, xs)` returns the
    derivative of what `f` returns along `ts`. `context(args)` is entered around each call.
    """

    xp: Any
    array: Callable[[Array], Any]
    numpy: Callable[[Any], Array]
    pulled: Callable[[Function, list[Any], Sequence[Any], bool], Sequence[Any]]
    pushed: Callable[[Function, list[Any], Sequence[Any]], Any]
    context: Callable[[Sequence[Any]], AbstractContextManager[Any]] = lambda args: nullcontext()


def subject(
    library: Library, f: Function, written: Any, forward: tuple[bool, bool], name: str = ""
) -> Subject:
    """`f`, a function of the library's arrays, as a Subject.

    `written`: the function that names the arguments. `forward`: whether forward mode is to be
    checked, of the function and of its gradient.
    """

    def own(a: Any) -> Any:
        """Of arrays and NumPy's floats; whatever else an argument is, it stays: an axis, a flag."""
        return library.array(a) if isinstance(a, (np.ndarray, np.inexact)) else a

    def back(y: Any) -> Any:
        return tuple(map(library.numpy, y)) if several(y) else library.numpy(y)

    def value(*args: Any) -> Any:
        with library.context(args):
            return back(f(*map(own, args)))

    def vjp(g: Any, *args: Any) -> tuple[Any, ...]:
        with library.context(args):
            ds = library.pulled(f, list(map(own, listed(g))), list(map(own, args)), False)
            return tuple(map(library.numpy, ds))

    def jvp(ts: Sequence[Any], *args: Any) -> Any:
        with library.context(args):
            return back(library.pushed(f, list(map(own, ts)), list(map(own, args))))

    def second(g: Any, ws: Sequence[Array]) -> Subject:
        def h(*xs: Any) -> Any:
            ds = library.pulled(f, list(map(own, listed(g))), xs, True)
            terms = [library.xp.sum(own(w) * d) for w, d in zip(ws, ds) if d is not None]
            return library.xp.real(sum(terms[1:], start=terms[0]))

        return subject(library, h, written, (forward[1], forward[1]), str(result))

    with suppress(ValueError, TypeError):  # of some functions written in C
        value.__signature__ = signature(written)  # type: ignore[attr-defined]
    result = Subject(value, vjp, jvp if forward[0] else None, second, name or name_of(f))
    return result


def imported(module: str, package: str) -> Any:
    """A module that tensorgrad does not depend on."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{package} is not installed: pip install {package}") from error

"""JAX: a custom_vjp, a custom_jvp, or any other function, under jit or not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from tensorgrad.testing.adapters.library import Library, imported, subject
from tensorgrad.testing.subject import Function, Subject


def from_jax(f: Function, name: str = "") -> Subject:
    """A function of JAX arrays, with the derivatives that JAX computes, to any order.

    JAX cuts float64 to float32 unless `jax_enable_x64` is set. Where an argument is float64, calls
    are made with it set, and it is as before afterwards. Forward mode is checked, except of a
    custom_vjp, which has none; for a function that calls one, pass `modes=("rev",)`.

    >>> testing.check(from_jax(my_custom_vjp), x, weight, order=2)  # doctest: +SKIP
    """
    jax = imported("jax", "jax")
    jnp = jax.numpy
    newer = hasattr(jax, "enable_x64")
    enabled = (jax if newer else imported("jax.experimental", "jax")).enable_x64

    def context(args: Sequence[Any]) -> AbstractContextManager[Any]:
        wide = any(getattr(a, "dtype", None) in (np.float64, np.complex128) for a in args)
        result: AbstractContextManager[Any] = enabled(True) if wide else nullcontext()
        return result

    def floats(x: Any) -> bool:
        return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.inexact)

    def of_floats(f: Function, xs: Sequence[Any]) -> tuple[Function, list[Any]]:
        """`f` as a function of the float arguments alone, and these."""

        def g(*some: Any) -> Any:
            it = iter(some)
            return f(*(next(it) if floats(x) else x for x in xs))

        return g, [x for x in xs if floats(x)]

    def pulled(f: Function, gs: list[Any], xs: Sequence[Any], again: bool) -> Sequence[Any]:
        f, some = of_floats(f, xs)
        y, back = jax.vjp(f, *some)
        ys, structure = jax.tree.flatten(y)
        it = iter(back(structure.unflatten(jnp.asarray(g, y.dtype) for g, y in zip(gs, ys))))
        return [next(it) if floats(x) else None for x in xs]

    def pushed(f: Function, ts: list[Any], xs: Sequence[Any]) -> Any:
        tangents = [jnp.asarray(t, x.dtype) for t, x in zip(ts, xs) if floats(x)]
        f, some = of_floats(f, xs)
        try:
            return jax.jvp(f, some, tangents)[1]
        except TypeError as error:
            if "custom_vjp" not in str(error):
                raise
            raise NotImplementedError(f"{error} Pass modes=('rev',)") from error

    numpy = lambda y: np.array(y) if isinstance(y, jax.Array) else y
    library = Library(jnp, jnp.asarray, numpy, pulled, pushed, context)
    forward = not any(isinstance(layer, jax.custom_vjp) for layer in layers(f))
    return subject(library, f, f, (forward, forward), name)


def layers(f: Any) -> list[Any]:
    """A function and those that it wraps: under jit, say."""
    found = [f]
    while hasattr(found[-1], "__wrapped__"):
        found.append(found[-1].__wrapped__)
    return found

"""Short floats, float16 and bfloat16: kept in 16 bits, computed with in 32.

What a Value holds of them is a `ShortArray`, NumPy's array under another class, so that they are a
kind of array. Each operation and each rule is given float32, and what it answers is rounded, once:
so do GPUs. A product of matrices adds up in float32, and BLAS computes it, which has no 16 bits: of
(256, 784) and (784, 100) float16 numbers it takes 0.9 ms in place of NumPy's 77. Elementwise there
is no such gain: on a CPU short floats save memory, not time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.engine.arrays import Kind, kinds, met
from tensorgrad.engine.dtypes import SHORT, Dtype, is_floating, is_inexact, is_short
from tensorgrad.engine.node import Array, Node
from tensorgrad.engine.rules import Reading

if TYPE_CHECKING:
    from tensorgrad.engine.backprop import Sweep
    from tensorgrad.engine.primitive import Primitive


class ShortArray(np.ndarray[Any, Any]):
    """An array of float16 or bfloat16, as a Value holds it. Alone it is computed with as NumPy
    does."""

    def __array_finalize__(self, of: Any) -> None:
        met.add(ShortArray)  # however it came to be: by `kept`, from a pickle


def kept(x: Any) -> Any:
    """NumPy's array as a Value holds it: short floats as a `ShortArray`, others as they are."""
    if not issubclass(type(x), (np.ndarray, np.generic)):
        return x
    if is_short(x.dtype):
        return x if type(x) is ShortArray else np.asarray(x).view(ShortArray)
    return x.view(np.ndarray) if type(x) is ShortArray else x


def bare(x: Any) -> Any:
    """NumPy's own array or number again."""
    return np.asarray(x)[()] if type(x) is ShortArray else x


def has_short(x: Any) -> bool:
    """Whether it is an array of short floats."""
    return getattr(getattr(x, "dtype", None), "char", "") in SHORT


def wide(x: Any) -> Any:
    """Short floats as float32, which holds them all; all else as it is."""
    if has_short(x):
        return kept(x.astype(np.float32))
    return type(x)(map(wide, x)) if type(x) in (list, tuple) else x


@np.errstate(over="ignore")
def rounded(x: Any, dtype: Dtype) -> Any:
    """Real numbers in another dtype, in silence where one is too large for it: that is infinite."""
    return kept(x.astype(dtype))


def dtype_of_result(xs: Iterable[Any]) -> Dtype | None:
    """What is computed of these is rounded to: the short dtype, where all their floats have one."""
    dtypes = {x.dtype for x in xs if hasattr(x, "dtype") and is_inexact(x.dtype)}
    return dtypes.pop() if len(dtypes) == 1 and is_short(*dtypes) else None


def computed(
    op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any], forward: Any = None
) -> Array:
    """The result of `op`, rounded. What only shows its operand, and has no products to take care
    of, computes nothing. `forward`: what computes in place of that of `op`."""
    forward = forward or op.forward
    if (op.view and op.care is None) or not any(map(has_short, inputs)):
        return kept(forward(*inputs, **params))
    out = forward(*map(wide, inputs), **{name: wide(x) for name, x in params.items()})
    dtype = dtype_of_result(inputs)
    if dtype is None or "dtype" in params or not hasattr(out, "dtype"):
        return kept(out)
    return rounded(out, dtype) if is_floating(out.dtype) else out


class Widened(Reading):
    """Of a node among whose arrays there are short ones: its rules are given float32."""

    def given(self, node: Node, args: tuple[Array, ...], sweep: Sweep) -> tuple[Array, ...]:
        return tuple(map(wide, args))


WIDENED = Widened()


class Short(Kind):
    """The row of short floats."""

    def run(self, op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
        return computed(op, inputs, params)

    def create(self, function: Callable[..., Array], like: Array, *args: Any, **params: Any) -> Any:
        return kept(function(*args, **params))

    def copy(self, x: Array, dtype: Any = None) -> Array:
        return kept(np.array(x, dtype))

    def locked(self, x: Array) -> Array:
        x = kept(x).view()
        x.flags.writeable = False
        return x


kinds[ShortArray] = Short(rank=0, readings=(WIDENED,))
kinds["ml_dtypes.bfloat16"] = kinds[ShortArray]  # a number

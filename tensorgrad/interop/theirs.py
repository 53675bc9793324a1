"""A function of another library as an operation here, with that library's own gradient.

Each call is one node. Its rule asks the library for the vector-Jacobian product of that call; where
the rule itself is to be differentiated, or runs inside of a `vmap`, the product is such an
operation in its turn, of the operands and the cotangents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Protocol

import numpy as np

from tensorgrad.engine.arrays import is_array, is_numpy
from tensorgrad.engine.care import OPAQUE, bare
from tensorgrad.engine.dtypes import is_floating, is_inexact, is_short
from tensorgrad.engine.node import NO_PARAMS, Array, recorder
from tensorgrad.engine.primitive import Primitive, apply
from tensorgrad.engine.rules import Together
from tensorgrad.engine.short import dtype_of_result
from tensorgrad.interop.ours import naming, put
from tensorgrad.ops.several import pack, unpack
from tensorgrad.transforms.call import requires_grad
from tensorgrad.transforms.custom import as_dtype
from tensorgrad.transforms.tree import flatten
from tensorgrad.value import Value, plain

Function = Callable[..., Any]
Pull = Callable[[Sequence[Array]], Sequence[Array]]


class Library(Protocol):
    """What is asked of another library. Its functions here take its arrays in a row, and return a
    list of them."""

    name: str

    def is_own(self, x: Any) -> bool:
        """Whether `x` is one of its arrays."""

    def run(
        self, f: Function, xs: Sequence[Array], wanted: Sequence[int], k: int
    ) -> tuple[list[Array], Pull]:
        """The results of `f` as NumPy's arrays, and the function from the cotangents of those that
        are floats to the gradients of the wanted operands. `k` axes in front hold examples."""

    def pulled(self, f: Function, n: int, wanted: Sequence[int], chosen: Sequence[int]) -> Function:
        """That function as one of the library's, of `n` operands and the cotangents of the chosen
        results."""

    def batch(
        self, op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
    ) -> Array:
        """The batching rule of such an operation."""


class Crossing:
    """One call of `f`: its results side by side, `shapes` and `dtypes` of each, and its rule."""

    def __init__(self, library: Library, name: str, f: Function, wanted: Sequence[int]) -> None:
        self.owner, self.name, self.f, self.wanted = library, name, f, wanted
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[np.dtype[Any]] = []

    def forward(self, *xs: Array, k: int = 0) -> Array:
        if not all(map(is_numpy, xs)):
            kinds = ", ".join(sorted({type(x).__name__ for x in xs if not is_numpy(x)}))
            raise TypeError(
                f"{self.owner.name} computes with NumPy's arrays here, not with a {kinds}: call "
                "it outside of tg.compile, which writes down what is before and after it, on "
                "arrays that are computed, and v.to('numpy')"
            )
        wanted = () if k else self.wanted
        with naming(self.name, self.owner.name):
            ys, self.pull = self.owner.run(self.f, xs, wanted, k)
        self.shapes, self.dtypes = [y.shape[k:] for y in ys], [y.dtype for y in ys]
        if len(ys) == 1:
            return ys[0][()]
        return pack(ys, self.shapes) if ys else np.zeros(0)

    def parts(self, packed: Array) -> list[Array]:
        """The results again, or the cotangents of each."""
        if len(self.shapes) == 1:
            return [packed]
        return [*map(as_dtype, unpack(packed, self.shapes), self.dtypes)] if self.shapes else []

    def rule(self, g: Array, out: Array, *xs: Array) -> Sequence[Array]:
        chosen = [i for i, dtype in enumerate(self.dtypes) if is_inexact(dtype)]
        parts = self.parts(bare(g))
        gs = [parts[i] for i in chosen]
        with naming(f"the gradient of {self.name}", self.owner.name):
            if all(map(is_numpy, [*gs, *xs])):
                found = iter(self.pull(gs))
            else:
                back = self.owner.pulled(self.f, len(xs), self.wanted, chosen)
                found = iter(cross(self.owner, f"{self.name}'", back, [*xs, *gs]))
            return [next(found) if i in self.wanted else 0.0 for i in range(len(xs))]


def cross(library: Library, name: str, f: Function, operands: Sequence[Array]) -> list[Array]:
    """The results of a function of the library, as an operation on `operands`."""
    recording = recorder.get() is not None
    wanted = [i for i, x in enumerate(operands) if recording and requires_grad(x)]
    crossing = Crossing(library, name, f, wanted)
    op = Primitive(
        crossing.forward, Together(crossing.rule), name, batch=library.batch, readings=(OPAQUE,)
    )
    packed = apply(op, operands, NO_PARAMS)
    return [
        y if is_inexact(y.dtype) or not isinstance(y, Value) else plain(y.data)
        for y in crossing.parts(packed)
    ]


def operation(library: Library, name: str, f: Function) -> Function:
    """`f` of the library, called with Values and arrays in any containers, and returning such."""

    @wraps(f, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, rebuild = flatten((args, kwargs))
        places = [i for i, x in enumerate(leaves) if isinstance(x, Value) or is_array(x)]
        returned: list[Any] = []

        def row(*xs: Any) -> list[Any]:
            args, kwargs = put(rebuild, places, leaves, xs)
            results, again = flatten(f(*args, **kwargs))
            returned[:] = results, again
            return [y for y in results if library.is_own(y)]

        operands = [leaves[i] for i in places]
        short = dtype_of_result(operands)
        operands = [x.astype(np.float32) if is_short(x.dtype) else x for x in operands]
        made = cross(library, name, row, operands)
        if short is not None:  # computed in 32 bits, and rounded: as all operations
            made = [y.astype(short) if is_floating(y.dtype) else y for y in made]
        results, again = returned
        own = [i for i, y in enumerate(results) if library.is_own(y)]
        return put(again, own, results, made)

    return call

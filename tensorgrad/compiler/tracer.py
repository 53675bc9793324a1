"""A tracer: an array without numbers that writes down what NumPy is asked to do with it.

It speaks NumPy's two protocols, so forwards, rules and updates run on it as they are written, and
what they do is a `Program`. It is a kind of array of the engine like any other.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from weakref import ref

import numpy as np

from tensorgrad.compiler.program import (
    Instruction,
    Program,
    added_at,
    converted,
    draw,
    each,
    viewed,
    with_items,
)
from tensorgrad.engine.arrays import Kind, kinds
from tensorgrad.engine.calls import scope_of
from tensorgrad.engine.node import Array, recorder

ABOUT = frozenset(
    {np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj, np.can_cast}
)
"""Functions that tell of an array what a tracer knows."""
DRAWS = (
    "random",
    "normal",
    "standard_normal",
    "uniform",
    "integers",
    "choice",
    "permutation",
    "exponential",
    "binomial",
    "poisson",
    "multivariate_normal",
    "gamma",
    "beta",
)
"""What a generator that is an argument draws."""
BY_NUMBERS = frozenset(
    {np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.compress, np.extract}
)
"""Functions that make arrays whose shapes depend on numbers."""


class Tracer:
    """An array, or a Python number (`weak`), that `instruction` makes.

    `part`: of another tracer at an index: what is written into one is in both. `shown`: those whose
    memory it may show otherwise.
    """

    __slots__ = ("__weakref__", "at", "made", "part", "shown")

    def __init__(self, instruction: Instruction) -> None:
        self.made = self.at = instruction
        self.part: tuple[Tracer, Any] | None = None
        self.shown: list[Any] = []

    @property
    def instruction(self) -> Instruction:
        """What makes it now: after something was written into what it is a view of, another."""
        if self.part is not None:
            parent, index = self.part
            now = parent.instruction
            if now is not self.at:
                self.at = now
                self.made = write(operator.getitem, (parent, index)).made
        return self.made

    @property
    def shape(self) -> tuple[int, ...]:
        return self.instruction.shape or ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.instruction.dtype)

    @property
    def weak(self) -> bool:
        """Whether it takes the dtype of what it meets."""
        return isinstance(self.instruction.dtype, type)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)
    T = property(lambda self: np.transpose(self))
    real = property(lambda self: np.real(self))
    imag = property(lambda self: np.imag(self))
    flags = property(lambda self: np.empty(self.shape, self.dtype).flags)
    base = None

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a number")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def numbers(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "a compiled function was asked for a number while it is traced, and has none yet: "
            "choose with np.where instead of if, compute with NumPy instead of math and float, "
            "pass arrays instead of lists, and name what is a setting in static_argnums"
        )

    __array__ = __bool__ = __float__ = __int__ = __index__ = __complex__ = item = tolist = numbers

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if not all(isinstance(x, KNOWN) or method == "at" for x in args):
            return NotImplemented
        if method == "at":
            return args[0].become(write(added_at, (ufunc, *args), kwargs))
        out = kwargs.pop("out", None)
        result = write(ufunc if method == "__call__" else getattr(ufunc, method), args, kwargs)
        return result if out is None else written(out[0], result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, KNOWN) for t in types):
            return NotImplemented
        out = kwargs.pop("out", None)
        if function is np.copyto:
            return written(args[0], np.broadcast_to(args[1], args[0].shape), *args[2:], **kwargs)
        result = write(function, args, kwargs)
        return result if out is None else written(out, result)

    def become(self, other: Tracer) -> None:
        """What was written into it is in it from now on, and in what it is a view of."""
        if any(parent() is not None for parent in self.shown):
            raise TypeError(
                f"a compiled function writes into a view that {self.made.function.__name__} made, "
                "and the array that it shows is still there: write into a copy, or use np.where"
            )
        if self.part is not None:
            parent, index = self.part
            parent.become(write(with_items, (parent, index, other)))
            self.at = parent.instruction
        self.made = other.instruction

    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Any:
        part = write(operator.getitem, (self, index))
        if part.shape and is_basic(index):
            part.part, part.at = (self, index), self.instruction
        return part

    def __setitem__(self, index: Any, x: Any) -> None:
        self.become(write(with_items, (self, index, x)))

    def astype(self, dtype: Any, **how: Any) -> Any:
        how.pop("copy", None)
        return write(converted, (self, np.dtype(dtype)), how)

    def view(self, dtype: Any) -> Any:
        return write(viewed, (self, np.dtype(dtype)))

    def reshape(self, *shape: Any, **how: Any) -> Any:
        return write(np.reshape, (self, shape[0] if len(shape) == 1 else shape), how)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not callable(getattr(np.ndarray, name, None)):
            raise AttributeError(name)
        return lambda *args, **kwargs: getattr(np, name)(self, *args, **kwargs)

    def __repr__(self) -> str:
        return f"Tracer(shape={self.shape}, dtype={self.instruction.dtype or 'a number'})"


KNOWN = Tracer, np.ndarray, np.generic, int, float, complex


def written(target: Any, result: Any, *where: Any, **how: Any) -> Any:
    """`result`, also what `target=out` holds from now on."""
    if not isinstance(target, Tracer):
        raise TypeError("a compiled function writes into an array that was there before: return it")
    if where or how.keys() - {"casting"}:
        raise TypeError("np.copyto with where= is not compiled: use np.where")
    target.become(write(converted, (result, target.dtype)))
    return target


def defined(function: Any, turned: bool) -> Callable[..., Any]:
    def method(self: Tracer, *other: Any) -> Any:
        if not all(isinstance(x, KNOWN) for x in other):
            return NotImplemented
        return write(function, (*other, self) if turned else (self, *other))

    return method


for name in vars(np.lib.mixins.NDArrayOperatorsMixin):  # Python's operators, and their likes
    straight, turned = (getattr(operator, n, None) for n in (name, name.replace("__r", "__", 1)))
    if callable(straight or turned) and (name == "__invert__" or not name.startswith("__i")):
        setattr(Tracer, name, defined(straight or turned, turned=straight is None))


def in_place(function: Any) -> Callable[..., Any]:
    def method(self: Tracer, other: Any) -> Any:
        if not isinstance(other, KNOWN):
            return NotImplemented
        result = write(function, (self, other))
        if self.weak or not self.shape:  # a number: another one takes its place
            return result
        if result.dtype != self.dtype:
            result = write(converted, (result, self.dtype))
        self.become(result)
        return self

    return method


for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    function = getattr(operator, name, None) or getattr(operator, f"{name}_")
    setattr(Tracer, f"__i{name}__", in_place(function))


@lru_cache(maxsize=512)
def example(shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...] = ()) -> Any:
    """An array to try a function on: 0 is an index of everything, and no matrix is singular."""
    if order:
        x = np.full([shape[axis] for axis in order], 0.5 if dtype.kind in "fc" else 0, dtype)
        return x.transpose(np.argsort(order))
    if dtype.kind not in "fc":
        return np.zeros(shape, dtype)[()]
    if len(shape) > 1 and shape[-1] == shape[-2]:
        return (np.full(shape, 0.5) + np.eye(shape[-1])).astype(dtype)
    return np.full(shape, 0.5, dtype)[()]


NUMBERS: dict[type, Any] = {bool: True, int: 1, float: 0.5, complex: 0.5 + 0j}


def stand_in(x: Any) -> Any:
    """What a function is tried on instead of a tracer."""
    if isinstance(x, np.random.Generator):
        return np.random.default_rng(0)
    i = x.instruction
    return NUMBERS[i.dtype] if i.dtype in NUMBERS else example(i.shape, i.dtype, i.order)


writing: ContextVar[Program | None] = ContextVar("writing", default=None)
"""The program that is being written."""


def write(function: Any, args: Sequence[Any], kwargs: Any = None) -> Any:
    """One more instruction; what it makes has the shape and dtype that it makes of stand-ins."""
    kwargs = kwargs or {}
    program = writing.get()
    if program is None:
        raise RuntimeError(
            "an array of a compiled function was kept beyond its call, where it has no numbers: "
            "return it"
        )
    masks = [i for i in args[1:2] if isinstance(i, Tracer) and i.dtype == bool]
    if function in BY_NUMBERS or (function in (operator.getitem, with_items) and masks):
        raise TypeError(
            f"{function.__name__}: the shape of the result depends on numbers, which a compiled "
            "function has none of while it is traced: use np.where, or weights of 0 and 1"
        )
    with np.errstate(all="ignore"):
        tried = each(stand_in, (Tracer, np.random.Generator), (tuple(args), dict(kwargs)))
        result = function(*tried[0], **tried[1])
    if function in ABOUT:
        return result
    inputs, params = each(lambda x: x.instruction, TRACED, (tuple(args), dict(kwargs)))
    if not isinstance(result, (tuple, list)):
        tracer = made(program, function, inputs, params, result)
        if function in VIEWS and isinstance(args[0], Tracer):
            tracer.shown = [ref(args[0]), *args[0].shown]
        return tracer
    whole = Instruction(function, inputs, params, shape=None)
    program.body.append(whole)
    parts = [made(program, operator.getitem, (whole, i), {}, r) for i, r in enumerate(result)]
    return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)


def made(program: Program, function: Any, args: Any, kwargs: Any, like: Any) -> Tracer:
    """The tracer of a new instruction, which makes something like this."""
    i = Instruction(function, args, kwargs, *outline(like), order=order_of(like))
    outer = recorder.get()
    i.scope = scope_of(outer) if outer else None
    program.body.append(i)
    return Tracer(i)


def is_basic(index: Any) -> bool:
    """Whether what an index takes out is a view."""
    parts = index if type(index) is tuple else (index,)
    return all(x is None or x is ... or type(x) in (int, slice) for x in parts)


VIEWS = frozenset(
    {
        *(np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.ravel),
        *(np.broadcast_to, np.real, np.imag, np.diagonal, np.rollaxis, np.flip, np.rot90, viewed),
    }
)
"""Functions whose results may show memory of their first argument."""


def order_of(x: Any) -> tuple[int, ...]:
    """How the axes of an array lie in memory, where that is not C's order."""
    if not isinstance(x, np.ndarray) or x.ndim < 2 or x.flags.c_contiguous or not x.size:
        return ()
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    return () if order == [*range(x.ndim)] else tuple(order)


def outline(x: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of an array, or the type of a number."""
    return np.shape(x), type(x) if type(x) in NUMBERS else np.asarray(x).dtype


class Drawing(np.random.Generator):
    """A generator that is an input: what it draws is drawn by the program."""

    def __init__(self, instruction: Instruction) -> None:
        super().__init__(np.random.PCG64(0))
        self.instruction = instruction


def drawn(method: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: write(draw, (self, method, *args), kwargs)


for name in DRAWS:
    setattr(Drawing, name, drawn(name))
TRACED = Tracer, Drawing


class Traced(Kind):
    """The row of tracers: creation is written down too, and so is what generators draw.

    A sweep is made without care, and its gradients are checked when the program runs.
    """

    def __init__(self) -> None:
        super().__init__(numbers=False)
        self.hopes = self.writes = True

    def create(self, function: Callable[..., Array], like: Array, *args: Any, **params: Any) -> Any:
        rng = getattr(function, "__self__", None)
        if isinstance(rng, np.random.Generator):
            return write(draw, (rng, function.__name__, *args), params)
        return write(function, args, params)

    def finite(self, g: Array) -> bool:
        program = writing.get()
        if program is not None:
            program.checks.append(g.instruction)
        return True

    def as_one(
        self, function: Callable[..., Array], args: Sequence[Any], params: Mapping[str, Any]
    ) -> Array:
        return write(function, args, params)

    def to_numbers(self, x: Array) -> Any:
        return x

    def copy(self, x: Array, dtype: Any = None) -> Array:
        return write(converted, (x, np.dtype(dtype or x.dtype)))

    def locked(self, x: Array) -> Array:
        return write(converted, (x, x.dtype)) if x.weak else x


kinds[Tracer] = Traced()

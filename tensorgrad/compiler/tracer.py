"""A tracer: an array without numbers that writes down what NumPy is asked to do with it.

It speaks NumPy's two protocols, so forwards, rules and updates run on it as they are written, and
what they do is a `Program`. It is a kind of array of the engine like any other.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from mmap import mmap
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import numpy as np

from tensorgrad.compiler.program import (
    FRESH,
    IMPURE,
    UFUNCS,
    Instruction,
    Loop,
    Program,
    Rule,
    added_at,
    converted,
    draw,
    each,
    found_in,
    is_basic,
    is_elementwise,
    is_operation,
    is_reduction,
    makes_number,
    replaced,
    viewed,
    with_items,
)
from tensorgrad.engine.arrays import Kind, is_numpy, kinds
from tensorgrad.engine.calls import scope_of
from tensorgrad.engine.dtypes import SHORT, is_inexact
from tensorgrad.engine.node import Array, recorder
from tensorgrad.engine.rules import Reading
from tensorgrad.engine.short import WIDENED, computed, has_short

if TYPE_CHECKING:
    from tensorgrad.engine.primitive import Primitive

ABOUT = frozenset(
    {
        *(np.shape, np.ndim, np.size, np.result_type, np.common_type, np.can_cast),
        *(np.iscomplexobj, np.isrealobj),
    }
)
"""Functions that tell of an array what a tracer knows."""
DRAWS = frozenset(
    name
    for name in vars(np.random.Generator)
    if not name.startswith("_") and name not in ("bit_generator", "spawn", "shuffle", "permuted")
)
"""What a generator draws."""
SHAPED = frozenset(
    {
        *FRESH.difference({np.where, draw, *Kind.creators}),
        *(np.reshape, np.transpose, np.broadcast_to, np.expand_dims, np.squeeze, np.ravel),
        *(np.moveaxis, np.swapaxes, np.zeros_like, np.ones_like, np.linalg.inv, np.linalg.solve),
        *(operator.getitem, converted, viewed, np.asarray, np.copy, np.square),
    }
)
"""Functions whose results have a shape that depends on no numbers, if no argument is a number."""


BY_AXES = frozenset(
    {
        *(*UFUNCS, operator.pow, operator.floordiv, operator.mod, operator.xor),
        *(np.sum, np.mean, np.max, np.min, np.prod, np.var, np.std, np.any, np.all, np.copy),
        *(np.argmax, np.argmin, np.square, converted),
    }
)
"""Functions, besides ufuncs and reductions, that treat all sizes of an axis but 0 and 1 alike."""
LIKE = frozenset({np.zeros_like, np.ones_like, np.empty_like})


def by_axes(function: Any) -> bool:
    plain = isinstance(function, np.ufunc) and function.signature is None
    return plain or function in BY_AXES or function is np.matmul or is_reduction(function)


class Tracer:
    """An array, or a Python number (`weak`), that `instruction` makes.

    `part`: of another tracer at an index: what is written into one is in both; `at`: the
    instruction of that one when this was made of it, `seen`: of how many writes in all that knew.
    `kin`: itself and all that may show the same memory otherwise, such as a transpose.
    """

    __slots__ = ("__weakref__", "at", "kin", "made", "part", "seen")
    writes = 0

    def __init__(self, instruction: Instruction) -> None:
        self.made = self.at = instruction
        self.part: tuple[Tracer, Any] | None = None
        self.kin: Sequence[ref[Tracer]] = ()

    @property
    def instruction(self) -> Instruction:
        """What makes it now: after something was written into what it is a view of, another."""
        if self.part is None or self.seen == Tracer.writes:
            return self.made
        old, x = [], self
        while x.part is not None and x.seen != Tracer.writes:
            old.append(x)
            x = x.part[0]
        for x in reversed(old):
            parent, index = x.part  # type: ignore[misc]
            if parent.made is not x.at:
                x.at = parent.made
                x.made = write(operator.getitem, (parent, index)).made
            x.seen = Tracer.writes
        return self.made

    def is_part(self, parent: Tracer, index: Any) -> None:
        """It shows another one at an index, where what is written into one is in both."""
        self.part, self.at, self.seen = (parent, index), parent.instruction, Tracer.writes

    def is_array(self) -> bool:
        """Whether it has axes, or is `x[..., 0]`: without any, and yet no number."""
        i = self.instruction
        return bool(i.shape) or (looks_at(i) and isinstance(stand_in_for(i), np.ndarray))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.made if self.part is None else self.instruction).shape or ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype((self.made if self.part is None else self.instruction).dtype)

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
    flags = property(lambda self: strided(self.instruction).flags)
    strides = property(lambda self: strided(self.instruction).strides)
    base = None

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What `isinstance` tells a function, which branches as on arrays and numbers. Who asks
        because it is going to look at the numbers asks `issubclass(type(x), ...)`."""
        if self.weak:
            return self.instruction.dtype
        return np.ndarray if self.instruction.shape else self.dtype.type

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a number")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        program = writing.get()
        if program is not None and self.instruction in program.nonzero:
            return True
        raise refused(ASKED + "choose with np.where instead of if, np.maximum instead of max")

    def __index__(self) -> int:
        raise refused(ASKED + "name in static_argnums what is a setting: a length, an axis")

    def numbers(self, *args: Any, **kwargs: Any) -> Any:
        raise refused(
            ASKED + "choose with np.where instead of if, compute with NumPy instead of math and "
            "float, and return what is to be shown or kept; pass arrays instead of lists, and name "
            "what is a setting in static_argnums"
        )

    __float__ = __int__ = __complex__ = item = tolist = __reduce_ex__ = numbers

    def __hash__(self) -> int:
        raise refused(ASKED + "a set, a key of a dict, functools.cache take one that is there")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise refused(
            "np.array, np.asarray, an index into an array of NumPy's own and a write into one take "
            "numbers, of which a compiled function has none while it is traced: use np.stack, "
            "np.concatenate or x.copy(), write into np.zeros(shape, like=x) or np.full(shape, x, "
            "like=x), pass arrays instead of lists, and make a table that x is an index of a "
            "variable or an argument"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "at":
            return args[0].become(write(added_at, (ufunc, *args), kwargs))
        if not (KINDS.issuperset(map(type, args)) or all(isinstance(x, KNOWN) for x in args)):
            return NotImplemented
        out, *others = kwargs.pop("out", None) or (None,)
        where = kwargs.pop("where", True) if method == "__call__" else True
        if others or (out is None and where is not True):
            raise TypeError(f"{ufunc.__name__}: with this out= and where= it is not compiled")
        result = write(ufunc if method == "__call__" else getattr(ufunc, method), args, kwargs)
        return result if out is None else written(out, result, where, fresh=True)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, KNOWN) for t in types):
            return NotImplemented
        out = kwargs.pop("out", None)
        order = ORDERED.get(function, len(args))
        if order < len(args):
            args, kwargs["order"] = args[:order], args[order]
        if function is np.copyto:
            return self.copyto(*args, **kwargs)
        if function in AT_ONCE:
            raise refused(
                f"np.{function.__name__} is not compiled: it would run now, while the function is "
                "traced, and never after: return the arrays, and call it outside"
            )
        result = write(function, args, kwargs)
        return result if out is None else written(out, result)

    @staticmethod
    def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
        written(dst, src, where, casting)

    @property
    def root(self) -> Tracer:
        """What it is a part of, or a part of a part."""
        x = self
        while x.part is not None:
            x = x.part[0]
        return x

    def may_show(self, other: Tracer) -> bool:
        """Whether it may show memory of the other."""
        root = other.root
        return self.root is root or any(x() is root for x in self.root.kin)

    def akin(self, other: Tracer) -> None:
        """It may show memory of the other from now on."""
        a, b = self.root, other.root
        if a is not b:
            known = (*(a.kin or [ref(a)]), *(b.kin or [ref(b)]))
            kin = [*{id(x()): x for x in known if x() is not None}.values()]
            for member in kin:
                member().kin = kin  # type: ignore[union-attr]

    def become(self, other: Tracer) -> None:
        """What was written into it is in it from now on, and in what it is a view of."""
        root = self.root
        if any(x() is not None and x() is not root for x in root.kin):
            raise TypeError(
                "a compiled function writes into an array of which another one may be a view: "
                "write into a copy, or use np.where"
            )
        if self.part is not None:
            parent, index = self.part
            parent.become(write(with_items, (parent, index, other)))
            self.is_part(parent, index)
        self.made = other.instruction
        if self.part is None:
            Tracer.writes += 1

    def __getitem__(self, index: Any) -> Any:
        return write(operator.getitem, (self, index))

    def __setitem__(self, index: Any, x: Any) -> None:
        if type(x) is Tracer and x.part is not None and x.part[0] is self and x.part[1] is index:
            return  # of `x[index] += 1`, where the part was written into already
        self.become(write(with_items, (self, index, x)))

    def astype(self, dtype: Any, *, copy: bool = True, **how: Any) -> Any:
        if not copy and not how and self.dtype == dtype:
            return self
        return write(converted, (self, np.dtype(dtype)), how)

    def view(self, dtype: Any) -> Any:
        return write(viewed, (self, np.dtype(dtype)))

    def reshape(self, *shape: Any, **how: Any) -> Any:
        return write(np.reshape, (self, shape[0] if len(shape) == 1 else shape), how)

    def __divmod__(self, other: Any) -> Any:
        return write(divmod, (self, other))

    def __rdivmod__(self, other: Any) -> Any:
        return write(divmod, (other, self))

    def __round__(self, digits: int | None = None) -> Any:
        return self.numbers() if digits is None else np.round(self, digits)

    def copy(self, order: Any = "C") -> Any:
        return np.copy(self, order) if self.shape else self.astype(self.dtype)

    def __copy__(self, memo: Any = None) -> Any:
        return self.copy()

    __deepcopy__ = __copy__

    def flatten(self) -> Any:
        return np.copy(np.ravel(self))

    def fill(self, x: Any) -> None:
        if self.is_array():  # of a number NumPy's does nothing
            self[...] = x

    def sort(self, axis: int = -1) -> None:
        self[...] = np.sort(self, axis)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def __getattr__(self, name: str) -> Any:
        if name == "flat":
            raise TypeError("x.flat is not compiled: use np.ravel(x), or an index for a write")
        if not callable(getattr(np.ndarray, name, None)) or not hasattr(np, name):
            raise AttributeError(f"an array of a compiled function has no {name!r}")
        if name in ("partition", "put", "resize"):
            raise TypeError(WRITES.format(f"x.{name}()"))
        return lambda *args, **kwargs: getattr(np, name)(self, *args, **kwargs)

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return f"Tracer(shape={self.shape}, dtype={self.instruction.dtype or 'a number'})"


OWN = np.ndarray, np.generic
KNOWN = Tracer, np.ndarray, np.generic, int, float, complex
ORDERED = {np.ravel: 1, np.reshape: 2}
"""Functions that may be told an order, as which argument: it is a keyword of theirs in programs."""
KINDS = frozenset({Tracer, np.ndarray, np.float32, np.float64, int, float})
LISTS = list, tuple, str, bytes, type(None)
"""What an array compares with entry by entry, and a Python object would not."""


def written(
    target: Any, result: Any, where: Any = True, casting: str = "same_kind", fresh: bool = False
) -> Any:
    """`target`, which holds `result` from now on, where a mask says so. `fresh`: a tracer that
    nobody else has."""
    if not isinstance(target, Tracer):
        raise TypeError("a compiled function writes into an array that was there before: return it")
    if where is not True:
        result = np.where(where, result, target)
    if np.shape(result) != target.shape:
        result = np.broadcast_to(result, target.shape)
    if not (fresh and result.instruction.dtype == target.instruction.dtype):
        result = write(converted, (result, target.dtype), {"casting": casting})
    program = writing.get()
    if program and program.exact and result.instruction.order != target.instruction.order:
        result = write(with_items, (target, ..., result))  # it lies in memory as it did
    target.become(result)
    return target


def defined(function: Any, turned: bool) -> Callable[..., Any]:
    def method(self: Tracer, *other: Any) -> Any:
        for x in other:
            if type(x) in KINDS:
                continue
            other = tuple(np.asarray(x) if isinstance(x, LISTS) else x for x in other)
            if not all(isinstance(x, KNOWN) for x in other):
                return NotImplemented
        return write(function, (*other, self) if turned else (self, *other))

    return method


for name in vars(np.lib.mixins.NDArrayOperatorsMixin):  # Python's operators, and their likes
    straight, turned = (getattr(operator, n, None) for n in (name, name.replace("__r", "__", 1)))
    if name == "__hash__":  # a module has one, too
        continue
    if callable(straight or turned) and (name == "__invert__" or not name.startswith("__i")):
        setattr(Tracer, name, defined(straight or turned, turned=straight is None))


def in_place(function: Any) -> Callable[..., Any]:
    def method(self: Tracer, other: Any) -> Any:
        if not isinstance(other, KNOWN):
            return NotImplemented
        result = write(function, (self, other))
        # a number: another one takes its place
        return written(self, result, fresh=True) if self.is_array() and not self.weak else result

    return method


for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    function = getattr(operator, name, None) or getattr(operator, f"{name}_")
    setattr(Tracer, f"__i{name}__", in_place(function))


LARGE = 1 << 16
"""Bytes of an array to try a function on."""


@lru_cache(maxsize=512)
def example(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...] = (), other: bool = False
) -> Any:
    """An array to try a function on: 0 is an index of everything, and no matrix is singular.
    Nothing can be written into it. `other`: one of other numbers, some of them 0.
    """
    real, turned = is_inexact(dtype), [*order] or [*range(len(shape))]
    x: Any = blank(tuple([shape[axis] for axis in turned]), dtype).transpose(np.argsort(turned))
    if other:
        x[...] = (np.arange(x.size) + (not real)).reshape(shape) % 2
    elif real:
        if x.nbytes < LARGE:
            x += 0.5
        if len(shape) > 1 and shape[-1] == shape[-2]:
            x += np.eye(shape[-1], dtype=dtype)
    x.flags.writeable = False
    return x[()]


def blank(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An array of 0. A large one takes no memory as long as nobody looks at its numbers, and most
    functions do not."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < LARGE:
        return np.zeros(shape, dtype)
    return np.ndarray(shape, dtype, mmap(-1, nbytes))


NUMBERS: dict[type, Any] = {bool: True, int: 1, float: 0.5, complex: 0.5 + 0j}


def stand_in(x: Any, other: bool = False) -> Any:
    """What a function is tried on instead of a tracer."""
    if isinstance(x, np.random.Generator):
        return np.random.default_rng(0)
    return stand_in_for(x.instruction, other)


def stand_in_for(i: Any, other: bool = False) -> Any:
    """The same for what an instruction makes."""
    if i.dtype in NUMBERS:
        return i.dtype(2 * NUMBERS[i.dtype]) if other else NUMBERS[i.dtype]
    if narrow := spread(i):
        return np.broadcast_to(stand_in_for(narrow, other), i.shape)
    if looks_at(i):
        args, kwargs = each(lambda x: stand_in_for(x, other), Instruction, (i.args, i.kwargs))
        return i.function(*args, **kwargs)
    return example(i.shape, i.dtype, i.order, other)


def outlined(x: Any) -> Any:
    """What tells of an array all but its numbers."""
    return thin(x.instruction) if type(x) is Tracer and x.shape else stand_in(x)


SHOWS = frozenset(
    {
        *(np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.matrix_transpose),
        *(np.squeeze, np.expand_dims, np.broadcast_to, np.real, np.imag, operator.getitem),
        *(np.flip, np.diagonal, np.atleast_1d, np.atleast_2d, np.atleast_3d),
    }
)


def looks_at(i: Instruction) -> bool:
    """Whether it is a view whose strides decide how an exact program lies in memory; or one of a
    single entry, which tells itself whether it is an array or a number."""
    if i.function not in SHOWS:
        return False
    if not i.shape:
        return is_view(i)
    program = writing.get()
    return program is not None and program.exact and is_view(i)


def is_view(i: Instruction) -> bool:
    """Whether it may show entries of its first argument."""
    x = i.args[0] if i.function in SHOWS else None
    if not isinstance(x, Instruction) or x.shape is None:
        return False
    if i.function is not operator.getitem:
        return True
    return is_basic(i.args[1]) and (bool(i.shape) or has_ellipsis(i.args[1]))


def strided(i: Instruction) -> Any:
    """An array that lies in memory as what an instruction makes, gaps between its rows as well."""
    if not (is_view(i) or (i.function is np.einsum and len(i.operands) == 1)):
        return example(i.shape or (), i.dtype, i.order)
    args, kwargs = each(strided, Instruction, (i.args, i.kwargs))
    return i.function(*args, **kwargs)


def spread(i: Instruction) -> Instruction | None:
    """What was broadcast, if it is that: an axis that nobody asks for decides no order."""
    narrow = i.args[0] if i.function is np.broadcast_to and i.shape else None
    return narrow if isinstance(narrow, Instruction) and narrow.shape is not None else None


def small_stand_in(x: Any, sizes: dict[int, int]) -> Any:
    """One of other sizes, of which equal ones are equal."""
    i: Any = x.instruction if type(x) is Tracer else x
    if i.dtype in NUMBERS:
        return NUMBERS[i.dtype]
    shape = tuple([sizes.setdefault(n, len(sizes)) for n in i.shape])
    if isinstance(i, np.ndarray):
        return example(shape, i.dtype, order_of(i))
    if narrow := spread(i):
        return np.broadcast_to(small_stand_in(narrow, sizes), shape)
    return example(shape, i.dtype, i.order)


def other_stand_in(x: Any) -> Any:
    return stand_in(x, other=True)


def stand_in_of(n: int) -> Callable[[Any], Any]:
    """Of integers another one, of arrays the same: an axis is one that there is, and another."""
    return lambda x: type(stand_in(x))(n) if is_integer(x) else stand_in(x)


def is_integer(x: Any) -> bool:
    return type(x) is Tracer and not x.shape and x.dtype.kind == "i"


def asked_by_sparse() -> bool:
    """Whether a sparse array takes the numbers, one of SciPy's or PyData's, or for it one of us."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(8):
        if frame is None:
            return False
        if "sparse" in str(frame.f_globals.get("__name__", "")).split("."):
            return True
        frame = frame.f_back
    return False


SPARSE = (
    "tg.compile writes no sparse arrays down: leave this function to NumPy, or compute the "
    "products with them outside and pass these"
)


def refused(why: str) -> TypeError:
    """An error, which the function may catch, but is not compiled then."""
    program = writing.get()
    if asked_by_sparse():
        why = SPARSE
    error = TypeError(why)
    if program is not None:
        program.refused = error
    return error


writing: ContextVar[Program | None] = ContextVar("writing", default=None)
"""The program that is being written."""


class Outcome(NamedTuple):
    """What a function makes of arguments of certain shapes and dtypes: what it `answers`, if it
    tells about arrays; or the shape, dtype and order of each result, the arguments that each may
    show memory of, and what the results are held in. `kind`: the number of a single result's.
    """

    answer: Any
    results: Sequence[tuple[tuple[int, ...], Any, tuple[int, ...], tuple[int, ...]]] = ()
    held: Callable[[Sequence[Any]], Any] | None = None
    kind: int = 0


def write(function: Any, args: Sequence[Any], kwargs: Any = None) -> Any:
    """One more instruction; what it makes has the shape and dtype that it makes of stand-ins."""
    kwargs = kwargs or {}
    program = writing.get()
    if program is None:
        raise RuntimeError(
            "an array of a compiled function was kept beyond its call, where it has no numbers: "
            "return it"
        )
    at = function is operator.getitem
    basic = (at or function is with_items) and is_basic(args[1])
    if not basic and (at or function is with_items) and chooses(args[1]):
        raise refused(BY_NUMBERS.format(function.__name__))
    inputs, operands = given(args)
    params = instructions(kwargs) if kwargs else {}
    known, alike = program.known, program.alike
    other = of_operand if function in UFUNCS else likeness
    like: Any = (
        function,
        *[alike.get(x) or number(x) if type(x) is Instruction else other(x) for x in inputs],
        *params,
        *[number(x) if type(x) is Instruction else likeness(x) for x in params.values()],
    )
    try:
        outcome = known.get(like)
    except TypeError:  # an argument that is not hashable
        like, outcome = None, None
    if outcome is None:
        outcome = None if params else of_shapes(function, inputs, basic)
        outcome = outcome or outcome_of(function, args, kwargs)
        if like is not None:
            known[like] = outcome
    if function in ABOUT:
        return outcome.answer
    outer = recorder.get()
    scope = scope_of(outer) if outer else None
    if outcome.held is None:
        ((shape, dtype, order, shown),) = outcome.results
        operands = None if params else operands
        made = Instruction(function, inputs, params, shape, dtype, "", scope, order, operands)
        program.body.append(made)
        tracer = Tracer(made)
        if outcome.kind:
            alike[made] = outcome.kind
        elif like is not None:
            known[like] = outcome._replace(kind=number(made))
        if at and basic and (shape or has_ellipsis(args[1])):  # without axes it is a number
            tracer.is_part(*args)
        else:
            for position in shown:
                tracer.akin(args[position])
        return tracer
    whole = Instruction(function, inputs, params, shape=None)
    program.body.append(whole)
    found = []
    for n, (shape, dtype, order, shown) in enumerate(outcome.results):
        made = Instruction(operator.getitem, (whole, n), {}, shape, dtype, "", scope, order)
        program.body.append(made)
        found.append(Tracer(made))
        for position in shown:
            found[-1].akin(args[position])
    return outcome.held(found)


def number(x: Instruction) -> int:
    """The number of its kind in the program that is being written."""
    program: Any = writing.get()
    found = program.alike.get(x)
    if found is None:
        found = program.known.setdefault(likeness(x), len(program.known) + 1)
        program.alike[x] = found
    return found  # type: ignore[no-any-return]


def has_ellipsis(index: Any) -> bool:
    return any(k is ... for k in (index if type(index) is tuple else [index]))


def given(args: Sequence[Any]) -> tuple[tuple[Any, ...], list[Instruction] | None]:
    """The arguments of an instruction, and its operands, if it is plain which these are."""
    inputs, operands, plain = [], [], True
    for x in args:
        if type(x) is Tracer:
            x = x.made if x.part is None else x.instruction
            operands.append(x)
        elif type(x) not in SIMPLE:
            x, plain = instructions(x), False
        inputs.append(x)
    return tuple(inputs), operands if plain else None


def instructions(x: Any) -> Any:
    """An argument with instructions where there are tracers."""
    if type(x) is tuple:
        return tuple(
            [
                (y.made if y.part is None else y.instruction)
                if type(y) is Tracer
                else y
                if type(y) in SIMPLE
                else instructions(y)
                for y in x
            ]
        )
    return each(lambda y: y.instruction, TRACED, x)


SIMPLE = frozenset({int, float, bool, str, type(None), type(...)})


def of_operand(x: Any) -> Any:
    """The same for an operator, to which all floats are one: a program may have thousands."""
    return float if type(x) is float else likeness(x)


def likeness(x: Any) -> Any:
    """What the outcome depends on of an argument of an instruction, hashable."""
    kind = type(x)
    if kind is Instruction:
        narrow = spread(x)
        known: Any = narrow and (narrow.shape, narrow.order)
        if looks_at(x):
            known = getattr(stand_in_for(x), "strides", None)
        return x.shape, x.dtype, x.order, known
    if kind is slice:
        return kind, x.start, x.stop, x.step
    if kind is tuple or kind is list:
        return kind, *[(int, y) if type(y) is int else likeness(y) for y in x]
    if kind is dict:
        return kind, *x, *map(likeness, x.values())
    return kind, x


def outcome_of(function: Any, args: Sequence[Any], kwargs: Any) -> Outcome:
    """What a function makes of stand-ins. Without a number of any tracer it must make arrays of the
    same shapes of others, too, or its results depend on numbers."""
    given = tuple(args), dict(kwargs)
    if function in ABOUT:
        tried = each(outlined, TRIED, given)
        return Outcome(function(*tried[0], **tried[1]))
    setting = is_set(function, args, kwargs)
    with np.errstate(all="ignore"):
        alike = by_axes(function) or (function is np.where and len(args) == 3)
        alike |= function in LIKE and len(args) == 1 and "shape" not in kwargs
        alike &= not (setting or any(looks_at(x.instruction) for x in args if type(x) is Tracer))
        if alike:
            sizes = {0: 0, 1: 1}
            tried = each(lambda x: small_stand_in(x, sizes), (Tracer, np.ndarray), given)
            try:
                result = function(*tried[0], **tried[1])
            except Exception:  # it will tell of the sizes that there are
                pass
            else:
                return made_of(function, args, tried[0], result, {n: k for k, n in sizes.items()})
        tried = each(stand_in, TRIED, given)
        try:
            result = UNTOUCHED.get(function, function)(*tried[0], **tried[1])
        except (ValueError, IndexError) as error:
            if setting and any(fits(function, given, n) for n in (0, -1, 2)):
                raise refused(BY_NUMBERS.format(function.__name__)) from None
            if "read-only" in str(error):
                raise TypeError(WRITES.format(function.__name__)) from None
            raise
        others = [] if is_shaped(function, args, kwargs) else [other_stand_in]
        for other in (*others, *map(stand_in_of, (0, -1, 2) if setting else ())):
            again = each(other, TRIED, given)
            try:
                found = UNTOUCHED.get(function, function)(*again[0], **again[1])
            except (ValueError, IndexError, ArithmeticError):
                continue
            if shapes(found) != shapes(result):
                raise refused(BY_NUMBERS.format(function.__name__))
    if result is None:
        raise TypeError(WRITES.format(function.__name__))
    return made_of(function, args, tried[0], result)


def fits(function: Any, given: Any, n: int) -> bool:
    """Whether a function takes the integer n for those that are traced."""
    args, kwargs = each(stand_in_of(n), TRIED, given)
    try:
        function(*args, **kwargs)
    except (ValueError, IndexError, ArithmeticError):
        return False
    return True


NOTHING = bytearray(64)


def thin(i: Instruction) -> Any:
    """An array of the shape of what an instruction makes, in no memory."""
    return np.ndarray(i.shape or (), i.dtype, NOTHING, 0, (0,) * len(i.shape or ()))


def of_shapes(function: Any, inputs: Any, basic: bool) -> Outcome | None:
    """What shapes alone tell, which are asked for again and again: of a view at an index, of a copy
    with a value there, of a reshape."""
    x, rest = inputs[0], inputs[1:]
    if not basic and (function is not np.reshape or len(rest) != 1 or found_in(rest)):
        return None
    if not isinstance(x, Instruction) or not x.shape or x.order or looks_at(x) or spread(x):
        return part_of(*inputs) if function is operator.getitem else None
    if function is np.reshape:
        return Outcome(None, [(np.reshape(thin(x), rest[0]).shape, x.dtype, (), (0,))])
    shape = thin(x)[rest[0]].shape
    if function is operator.getitem:
        return Outcome(None, [(shape, x.dtype, (), ())])
    fits = isinstance(rest[1], Instruction) and rest[1].shape == shape
    return Outcome(None, [(x.shape, x.dtype, (), ())]) if fits else None


def part_of(x: Instruction, index: Any) -> Outcome:
    """What an index takes out that makes a view."""
    part = stand_in_for(x)[index]
    return Outcome(None, [(*outline(part), order_of(part), ())])


def is_set(function: Any, args: Any, kwargs: Any) -> bool:
    """Whether an integer that is traced may be an axis or a length."""
    owner = np.ufunc if isinstance(function, np.ufunc) else getattr(function, "__module__", "")
    if owner in (np.ufunc, "_operator") or function in (with_items, converted, np.where):
        return False
    found: list[Any] = []
    each(found.append, Tracer, (tuple(args[1:]), kwargs))
    return any(map(is_integer, found))


def fitting(x: Any, index: Any, value: Any) -> Any:
    """An array like the one that `with_items` makes: without a copy of the numbers, where the value
    fits the items."""
    try:
        np.broadcast_to(value, x[index].shape)
    except (ValueError, IndexError, AttributeError):
        return with_items(x, index, value)
    return np.empty_like(x)


UNTOUCHED = {with_items: fitting, np.zeros: np.empty, np.ones: np.empty}
"""What makes an array like those of a function, and writes no numbers into its memory."""


def made_of(
    function: Any, args: Sequence[Any], tried: Any, result: Any, sizes: Any = None
) -> Outcome:
    """What was made of stand-ins of other `sizes`."""
    several = isinstance(result, (tuple, list))
    results = []
    for r in result if several else (result,):
        shape, dtype = outline(r)
        shape = tuple([sizes[n] for n in shape]) if sizes else shape
        shown = tuple(
            k
            for k, (x, y) in enumerate(zip(args, tried))
            if isinstance(x, Tracer) and (function in VIEWS or np.may_share_memory(y, r))
        )
        results.append((shape, dtype, order_of(r), shown))
    if not several:
        return Outcome(None, results)
    kind = type(result)
    return Outcome(None, results, (lambda xs: kind(*xs)) if hasattr(kind, "_fields") else kind)


ASKED = "a compiled function was asked for a number while it is traced, and has none yet: "
AT_ONCE = frozenset(
    {np.save, np.savez, np.savez_compressed, np.savetxt, np.may_share_memory, np.shares_memory}
)
"""Functions that look at the arrays that are there when they are called."""
WRITES = (
    "{} is not compiled, as it writes into its argument: assign to items, x[index] = value, choose "
    "with np.where, or use a function that returns a new array"
)
BY_NUMBERS = (
    "{}: the shape of the result depends on numbers, which a compiled function has none of while "
    "it is traced: use np.where, or weights of 0 and 1, or static_argnums"
)


def chooses(index: Any) -> bool:
    """Whether an index takes as many as its numbers say: a mask, or a slice up to a number."""
    if isinstance(index, Tracer):
        return index.dtype == bool
    if type(index) in SIMPLE:
        return False
    if type(index) in (tuple, list):
        return any(map(chooses, index))
    return type(index) is slice and any(
        isinstance(x, Tracer) for x in (index.start, index.stop, index.step)
    )


def is_shaped(function: Any, args: Any, kwargs: Any) -> bool:
    """Whether the shape of a result is known to depend on shapes alone."""
    if isinstance(function, np.ufunc) or is_reduction(function) or is_operation(function):
        return True
    if function.__module__ == "_operator" and function is not operator.getitem:
        return True
    rest = [*args[1:], *kwargs.values()]
    return function in SHAPED and not any(isinstance(x, Tracer) and x.weak for x in rest)


def shapes(x: Any) -> Any:
    return [*map(np.shape, x)] if isinstance(x, (tuple, list)) else np.shape(x)


VIEWS = frozenset({np.reshape, np.ravel})
"""Functions whose results show memory of their argument, or not, as that lies in memory."""


def order_of(x: Any) -> tuple[int, ...]:
    """How the axes of an array lie in memory, where that is not C's order: as NumPy sorts them for
    what it makes of it, an axis that was broadcast, or of length 1, where it is."""
    if not isinstance(x, np.ndarray) or x.ndim < 2 or x.flags.c_contiguous or not x.size:
        return ()
    steps = [abs(step) * (n > 1) for n, step in zip(x.shape, x.strides)]
    order: list[int] = []
    for axis in reversed(range(x.ndim)):  # the innermost comes first
        place = 0
        for k, other in enumerate(order):
            if steps[axis] and steps[other]:
                if steps[other] <= steps[axis]:
                    break
                place = k + 1
        order.insert(place, axis)
    return () if order == [*range(x.ndim)] else tuple(order)


def gaps_in(x: Any) -> tuple[int, ...]:
    """The strides of an array that does not fill its memory; () of others."""
    if not isinstance(x, np.ndarray) or not x.size or x.flags.forc:
        return ()
    whole = x.transpose(order_of(x) or range(x.ndim))
    return () if whole.flags.c_contiguous else x.strides


def outline(x: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of an array, or the type of a number."""
    return np.shape(x), type(x) if type(x) in NUMBERS else np.asarray(x).dtype


class Drawing(np.random.Generator):
    """In place of a generator, an input or one that is there: what it draws, the program draws."""

    def __init__(self, instruction: Any) -> None:
        super().__init__(np.random.PCG64(0))
        self.instruction = instruction

    def refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a compiled function draws with rng.permutation instead of rng.shuffle")

    shuffle = permuted = spawn = refuse


def drawn(name: str) -> Callable[..., Any]:
    def method(self: Drawing, *args: Any, **kwargs: Any) -> Any:
        return write(draw, (self, name, *args), kwargs)

    method.__name__ = name
    return method


for name in DRAWS:
    setattr(Drawing, name, drawn(name))
TRACED = Tracer, Drawing
TRIED = Tracer, np.random.Generator


def is_written(x: Any) -> bool:
    """Whether a program can have it: a tracer, or a constant."""
    return type(x) is Tracer or is_numpy(x)


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
            program.swept.append((len(program.body), None))
        return True

    def taken_as_finite(self, x: Array) -> bool:
        program = writing.get()
        if program is None or program.hoped is None:
            return False
        program.hoped.append(x.instruction)
        return True

    def deny(self, condition: Array) -> bool:
        program = writing.get()
        if program is None or program.hoped is None:
            return False
        if condition.size:
            count: Any = np.count_nonzero(condition)
            program.checks.append(count.instruction)
        return True

    def taken_as_nowhere(self, condition: Array) -> bool:
        program = writing.get()
        if program is None or not program.assumes:
            return False
        program.assumed = self.deny(condition) or program.assumed
        return program.hoped is not None

    def as_one(
        self, function: Callable[..., Array], args: Sequence[Any], params: Mapping[str, Any]
    ) -> Array:
        return write(function, args, params)

    def in_order(self) -> bool:
        program = writing.get()
        return program is not None and program.exact

    def shows(self, x: Tracer, y: Tracer) -> bool:
        """A reshape of what was transposed, or of slices, may be a copy: strides tell."""
        if not (type(x) is type(y) is Tracer and x.may_show(y)):
            return False
        i = x.instruction
        if i.function not in VIEWS:
            return True
        source = strided(i.args[0])
        return np.may_share_memory(source, i.function(source, *i.args[1:], **i.kwargs))

    def loop(
        self, step: Any, carry: list[Array], xs: list[Array], n: int, reverse: bool
    ) -> tuple[list[Array], list[Array]] | None:
        """The step is written into a program of its own, whose inputs are what it reads from
        around it, the carry and the entries of `xs`."""
        outer = writing.get()
        if outer is None or not outer.loops or not all(map(is_written, (*carry, *xs))):
            return None
        within = Program(known=outer.known, alike=outer.alike, hoped=None, exact=outer.exact)
        inputs = [
            Instruction(None, (), None, np.shape(x)[k:], np.dtype(x.dtype), name)
            for k, name, given in ((0, "carry", carry), (1, "x", xs))
            for x in given
        ]
        tracers = [*map(Tracer, inputs)]
        token = writing.set(within)
        try:
            new, ys = step(tracers[: len(carry)], tracers[len(carry) :])
            outs = [self.locked(x) if type(x) is Tracer else x for x in (*new, *ys)]
        finally:
            writing.reset(token)
        outer.refused = outer.refused or within.refused
        if any(i.function in IMPURE for i in within.body) or not all(map(is_written, outs)):
            return None
        turned = (x.instruction.order for x in (*carry, *xs, *outs) if type(x) is Tracer)
        if outer.exact and any(turned):  # a loop lays what it stacks in C's order
            return None
        outs = [x if type(x) is Tracer else np.asarray(x)[()] for x in outs]
        within.outputs = [x.instruction if type(x) is Tracer else x for x in outs]
        made = {*inputs, *within.body}
        used = [x for i in within.body for x in i.operands] + found_in(within.outputs)
        reads = [x for x in dict.fromkeys(used) if x not in made]
        own = [Instruction(None, (), None, x.shape, x.dtype, x.name, order=x.order) for x in reads]
        known: dict[Instruction, Any] = dict(zip(reads, own))
        within.inputs, within.checks = [*own, *inputs], []
        for i in within.body:
            i.call(i.function, *replaced((i.args, i.kwargs), known))
            i.scope = None
        within = within.with_body(within.body, known)
        given = [x.instruction if type(x) is Tracer else x for x in (*carry, *xs)]
        loop = Loop(within, len(reads), len(carry), n, reverse)
        whole = Instruction(loop, (*reads, *given), None, shape=None)
        outer.body.append(whole)
        found = []
        for k, x in enumerate(outs):
            shape = np.shape(x) if k < len(carry) else (n, *np.shape(x))
            part = Instruction(operator.getitem, (whole, k), None, shape, np.dtype(x.dtype))
            outer.body.append(part)
            found.append(Tracer(part))
        return found[: len(carry)], found[len(carry) :]

    def by_entries(
        self, function: Callable[..., Any], args: Sequence[Any], params: Mapping[str, Any]
    ) -> Any:
        """The function is written down once for all shapes, and called as one."""
        outer = writing.get()
        key = form((args, params), args[0].shape, outer)
        if outer is None or key is None:
            return function(*args, **params)
        whole = function, key
        if whole not in outer.rules:
            outer.rules[whole] = entries_of(function, args, params, outer)
        found = outer.rules[whole]
        return function(*args, **params) if found is None else found.call(args, params, outer)

    def run(self, op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
        own = False
        for x in inputs:
            if has_short(x):
                return computed(op, inputs, params)
            own = own or issubclass(type(x), OWN)
        program = writing.get()
        if program is None or not own:
            return op.forward(*inputs, **params)
        before, refused = len(program.body), program.refused
        try:
            return op.forward(*inputs, **params)
        except (TypeError, ValueError):  # NumPy's own take no index and no items that are traced
            del program.body[before:]
            program.refused = refused
            traced = [write(np.asarray, (x,)) if issubclass(type(x), OWN) else x for x in inputs]
            return op.forward(*traced, **params)

    def between(self, x: Array) -> tuple[Reading, ...]:
        return (WIDENED,) if x.dtype.char in SHORT else ()

    def to_numbers(self, x: Array) -> Any:
        return x

    def result(self, x: Array) -> Array:
        """To the last bit a number is no array without axes: complex products round otherwise."""
        if x.shape or x.weak or makes_number(x.instruction) or not self.in_order():
            return x
        number = write(converted, (x, x.dtype))
        number.akin(x)  # to a Value that holds it what is written into x is written, too
        return number

    def copy(self, x: Array, dtype: Any = None) -> Array:
        return write(converted, (x, np.dtype(dtype or x.dtype)))

    def locked(self, x: Array) -> Array:
        return write(converted, (x, x.dtype)) if x.weak else x


def form(x: Any, shape: tuple[int, ...], program: Any) -> Any:
    """What a function knows of an argument, but for the shape of arrays: None if they are not all
    of this one, or if there is something else."""
    kind = type(x)
    if kind is Tracer:
        i = x.instruction
        if not shape or i.shape not in (shape, ()):
            return None
        lies = (i.order, len(shape)) if i.order else ()
        return bool(i.shape), i.dtype, lies, i in program.nonzero
    if kind in SIMPLE:
        return kind, repr(x)
    if kind is dict:
        parts = [form(y, shape, program) for y in x.values()]
        return None if None in parts else (*x, *parts)
    if kind is tuple:
        parts = [form(y, shape, program) for y in x]
        return None if None in parts else (*parts,)
    return None


LEAST = 10
"""Of so many operations what goes entry by entry is one: shorter ones, such as SGD's, may become
part of what makes a gradient."""


class Entries(NamedTuple):
    """What a function does entry by entry: its `rule`, and what it answered, of tracers."""

    rule: Rule
    answer: Any

    def call(self, args: Any, params: Any, program: Program) -> Any:
        """What it answers here: one more instruction."""
        given: list[Any] = []
        each(given.append, Tracer, (args, params))
        inside, shape = self.rule.program, args[0].shape
        known = dict(zip(inside.inputs, given))
        whole = Instruction(self.rule, (*[x.instruction for x in given],), None, shape=None)
        program.body.append(whole)
        for k, x in enumerate(inside.outputs):
            size = shape if x.shape else ()
            part = Instruction(operator.getitem, (whole, k), None, size, x.dtype, order=x.order)
            program.body.append(part)
            known[x] = Tracer(part)
        return each(lambda x: known[x.made], Tracer, self.answer)


def entries_of(function: Any, args: Any, params: Any, outer: Program) -> Entries | None:
    """What a function does entry by entry, in a program of its own; None where it does something
    else, or too little to be one."""
    within = Program(known=outer.known, alike=outer.alike, hoped=None, exact=outer.exact)
    inputs: list[Tracer] = []

    def stand(x: Tracer) -> Tracer:
        i = x.instruction
        inputs.append(Tracer(Instruction(None, (), None, i.shape, i.dtype, order=i.order)))
        if i in outer.nonzero:
            within.nonzero.add(inputs[-1].made)
        return inputs[-1]

    args, params = each(stand, Tracer, (tuple(args), dict(params)))
    given = [x.made for x in inputs]
    token = writing.set(within)
    try:
        answer = function(*args, **params)
    except Exception:  # it says so where it is not written apart
        return None
    finally:
        writing.reset(token)
    shape, made = args[0].shape, {*given, *within.body}
    answered: list[Any] = []
    each(answered.append, Tracer, answer)
    if (
        within.refused
        or within.checks
        or len(within.body) < LEAST
        or [x.made for x in inputs] != given  # it writes into them
        or form(answer, shape, within) is None
        or not all(x.part is None and x.made in made for x in answered)
        or not all(is_of_entries(i, shape) and made.issuperset(i.operands) for i in within.body)
    ):
        return None
    for i in within.body:
        i.scope = None
    outputs = dict.fromkeys(x.made for x in answered)
    within.inputs, within.outputs = given, [x for x in outputs if x not in given]
    return Entries(Rule(within), answer)


def is_of_entries(i: Instruction, shape: tuple[int, ...]) -> bool:
    """Whether it does the same with each entry of arrays of a shape, and makes one; or a number."""
    f = i.function
    by_entries = is_elementwise(i) or f in UFUNCS or f in (np.where, converted, operator.pow)
    alone = i.kwargs or any(np.ndim(x) for x in i.args if isinstance(x, np.ndarray))
    return by_entries and i.shape in (shape, ()) and not alone


kinds[Tracer] = Traced()

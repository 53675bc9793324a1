"""Kinds of array: one table of what the package asks of an array, and no other place that asks.

NumPy's own is the first row, a batched array of `vmap` another, and so is one of another library: a
kind that speaks NumPy's two protocols, `__array_ufunc__` and `__array_function__`, and has an
array's usual attributes and methods, needs a `Kind()` as it stands. See CONTRIBUTING.md.

Nobody looks at numbers to decide what to do, but through `anywhere`: some arrays have none yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.engine.dtypes import dtype_called
from tensorgrad.engine.node import Array, Handle
from tensorgrad.engine.rules import Reading

if TYPE_CHECKING:
    from tensorgrad.engine.primitive import Primitive

# glibc gives freed memory back to the system, and asks for each page of the next array anew: that
# took 20 of 105 ms of a transformer's step, and 6 of 7 of the gradient of an activation of 400,000
# entries. One piece of nearly 32 MB, freed at once and never touched, teaches it to keep up to 64.
np.empty((1 << 25) - (1 << 16), np.uint8)

SCALARS = frozenset(np.sctypeDict.values())
PLAIN = SCALARS | {np.ndarray, bool, int, float, complex}


class Kind:
    """A row: how arrays of one kind are computed with. The columns are attributes and methods.

    `rank`: among several kinds the highest rank runs an operation; two of one rank do not mix.
    `numbers`: whether its numbers are there to be looked at.
    `hopes`: whether a sweep is tried without care, and `finite` tells whether that was enough.
    `writes`: whether it writes down what is done with it, and whole functions `as_one`.
    `alone`: whether it may be held without a Value around it.
    `readings`: what stands between a sweep and the rules of a node that holds one.
    `lazy`: whether its numbers come when they are computed, several at once in one pass.
    `creators`: the functions that create such arrays where they are told `like=` which.
    `name`: where arrays are moved to that become such: `x.to(name)`; "" where none are.
    """

    name = ""

    creators: frozenset[Any] = frozenset(
        {np.zeros, np.ones, np.empty, np.full, np.eye, np.arange, np.tri}
    )
    lazy = False

    def __init__(
        self,
        rank: int = 1,
        numbers: bool = True,
        alone: bool = True,
        readings: tuple[Reading, ...] = (),
    ) -> None:
        self.rank, self.numbers, self.alone, self.readings = rank, numbers, alone, readings
        self.hopes = numbers
        self.writes = False

    def run(self, op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
        """The result of a primitive on operands and params among which there is such an array."""
        return op.forward(*inputs, **params)

    def instead(self, op: Primitive) -> Callable[..., Array] | None:
        """What computes a primitive of Values with such an array among them, in words of other
        primitives, `function(op, operands, params)`; None where it is computed like any other."""
        return None

    def as_one(
        self, function: Callable[..., Array], args: Sequence[Any], params: Mapping[str, Any]
    ) -> Array:
        """The result of a call that is written down as it is."""
        return function(*args, **params)

    def by_entries(
        self, function: Callable[..., Any], args: Sequence[Any], params: Mapping[str, Any]
    ) -> Any:
        """What a function answers that goes entry by entry through arrays of one shape, of which
        the first argument is one."""
        return function(*args, **params)

    def loop(
        self,
        step: Callable[[list[Array], list[Array]], tuple[list[Array], list[Array]]],
        carry: list[Array],
        xs: list[Array],
        n: int,
        reverse: bool,
    ) -> tuple[list[Array], list[Array]] | None:
        """What a loop of `carry, ys = step(carry, [x[t] for x in xs])` ends with, and the stacked
        `ys`; None where it is not written down as one."""
        return None

    def in_order(self) -> bool:
        """Whether what is written down adds in the order of the function, to the last bit."""
        return False

    def shows(self, x: Array, y: Array) -> bool:
        """Whether `x`, which was made of `y` and is written down, shows memory of that."""
        return False

    def between(self, x: Array) -> tuple[Reading, ...]:
        """What stands between a sweep and the rules of a node that holds `x`."""
        return self.readings

    def create(self, function: Callable[..., Array], like: Array, *args: Any, **params: Any) -> Any:
        """What `function` (of NumPy, or of a random generator) creates, as an array like `like`."""
        if function in self.creators:
            return function(*args, like=like, **params)
        return np.asarray(function(*args, **params), like=like)

    def copy(self, x: Array, dtype: Any = None) -> Array:
        """An array of its own, in `dtype`."""
        return x.copy() if dtype is None or dtype == x.dtype else x.astype(dtype)

    def result(self, x: Array) -> Array:
        """What a Value holds of a result: for NumPy, without axes, a number."""
        return x

    def target(self, x: Array) -> Array:
        """What may be written into, where `x` is changed in place."""
        return x

    def locked(self, x: Array) -> Array:
        """The same numbers, where writing into them fails: who changes them in place hears of it.

        A copy where arrays of this kind cannot be locked.
        """
        return self.copy(x)

    def spread(self, x: Array, like: Array) -> Array:
        """`x` in the shape of `like`."""
        return np.broadcast_to(x, like.shape)

    def entries(self, x: Array) -> Array:
        """What of `x` has a gradient, in the shape that cotangents have inside of a sweep."""
        return x

    def opened(self, g: Array, x: Array) -> Array:
        """A cotangent of `x` in that shape, where a sweep begins."""
        return g

    def closed(self, g: Array, x: Array) -> Array:
        """The cotangent like `x` itself, where it ends."""
        return g

    def plus(self, x: Array, y: Array) -> Array:
        """The sum of two gradients."""
        return x + y

    def finite(self, g: Array) -> bool:
        """Whether a cotangent has finite entries only: False where nobody knows."""
        return self.numbers and bool(np.all(np.isfinite(g)))

    def taken_as_finite(self, x: Array) -> bool:
        """Whether a forward may take all entries to be finite."""
        return self.finite(x)

    def deny(self, condition: Array) -> bool:
        """See to it that a condition holds nowhere once there are numbers; whether that is done."""
        return False

    def taken_as_nowhere(self, condition: Array) -> bool:
        """Whether a forward may take it that a condition holds nowhere."""
        return self.numbers and not anywhere(condition)

    def take_care(self, rule: Any, function: Any, args: list[Any], params: Any) -> Array:
        """What a care rule answers, one of whose args is `Careful`; see `care.py`."""
        return rule(function, args, params)

    def to_numbers(self, x: Array) -> Any:
        """As NumPy has it: at the user's border only (`item`, `float`, files), as that may cost."""
        return np.asarray(x)

    def from_numpy(self, x: Any) -> Array:
        """One of NumPy's, as an array of this kind."""
        raise NotImplementedError

    def all_to_numbers(self, xs: Sequence[Array], warn: bool = False) -> Sequence[Any]:
        """Several at once. `warn`: of work that was done before."""
        return [self.to_numbers(x) for x in xs]


class Plain(Kind):
    """NumPy's arrays and numbers, and whatever else it makes arrays of, such as lists."""

    name = "numpy"

    def create(self, function: Callable[..., Array], like: Array, *args: Any, **params: Any) -> Any:
        return function(*args, **params)

    def copy(self, x: Array, dtype: Any = None) -> Array:
        return np.array(x, dtype)[()]

    def result(self, x: Array) -> Array:
        return np.asarray(x)[()]

    def target(self, x: Array) -> Array:
        return np.asarray(x)

    def locked(self, x: Array) -> Array:
        if not np.ndim(x):
            return self.copy(x)
        x = x.view()
        x.flags.writeable = False
        return x

    def to_numbers(self, x: Array) -> Any:
        return x

    def from_numpy(self, x: Any) -> Array:
        return x


NUMPY: Kind = Plain(rank=0)
kinds: dict[type | str, Kind] = {**dict.fromkeys(PLAIN, NUMPY)}
"""The rows, by type, or by its full name where that belongs to a library not loaded yet."""

places: dict[str, Kind] = {"numpy": NUMPY}
"""The rows by the names by which arrays are moved to them."""

met: set[type] = set()
"""The types that are not NumPy's that were met so far: until there is one, no operation looks."""


def kind_of(x: Any) -> Kind:
    """The row of `x`; NumPy's for what is in none."""
    made = type(x)
    if made in PLAIN:
        return NUMPY
    kind = kinds.get(made)
    if kind is None and (hasattr(made, "__array_ufunc__") or hasattr(made, "__array_priority__")):
        names = (f"{base.__module__}.{base.__qualname__}" for base in made.__mro__)
        kind = next((kinds[name] for name in names if name in kinds), None)
    if kind is None:
        return NUMPY
    met.add(made)
    kinds[made] = kind
    return kind


def readings_of(xs: Iterable[Any]) -> tuple[Reading, ...]:
    """What stands between a sweep and the rules of a node of these arrays, its result's first."""
    found: tuple[Reading, ...] = ()
    for x in xs:
        if type(x) not in PLAIN:
            found += kind_of(x).between(x)
    return tuple(dict.fromkeys(found)) if len(found) > 1 else found


def is_numpy(x: Any) -> bool:
    """Whether `x` is an array or a number of NumPy, or a Python number."""
    return type(x) in PLAIN


def is_known(x: Any) -> bool:
    """Whether `x` is an array or a number of a kind in the table."""
    return is_numpy(x) or kind_of(x) is not NUMPY


def is_array(x: Any) -> bool:
    """Whether `x` is an array, of any kind, and no number."""
    if not hasattr(x, "__array_ufunc__"):
        return False
    return isinstance(x, np.ndarray) or kind_of(x) is not NUMPY


def run(op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
    """The result of `op`, whatever kinds of array it is given. TypeError for two of one rank."""
    found = kinds_in((*inputs, params) if params else inputs)
    if not found:
        return op.forward(*inputs, **params)
    if len(found) == 1:
        return kinds[found.pop()].run(op, inputs, params)
    first, *others = sorted(found, key=lambda made: kinds[made].rank, reverse=True)
    for other in others:
        if kinds[other] is not kinds[first] and kinds[other].rank == kinds[first].rank:
            raise TypeError(
                f"{op.name}: {described(first)} and {described(other)} do not mix: make both of "
                "one kind"
            )
    return kinds[first].run(op, inputs, params)


def described(made: type) -> str:
    """A kind in words, and how its arrays become NumPy's, which mix with all."""
    way = next(
        (name for name in ("compute", "get", "toarray", "todense") if hasattr(made, name)), None
    )
    of = f"arrays of {made.__module__.partition('.')[0]}.{made.__qualname__}"
    return f"{of} (x.{way}() is NumPy's)" if way else of


def kinds_in(xs: Any) -> set[type]:
    """The types of other arrays than NumPy's among `xs`, also inside lists, tuples, mappings."""
    found: set[type] = set()
    for x in xs.values() if type(xs) not in (tuple, list) and isinstance(xs, Mapping) else xs:
        made = type(x)
        if made in found or kind_of(x) is not NUMPY:
            found.add(made)
        elif made in (list, tuple, dict):
            found |= kinds_in(x)
    return found


def as_one(function: Callable[..., Array], *args: Any, **params: Any) -> Array:
    """The function of NumPy's arrays, quick on these: who writes down what is done writes down this
    call, instead of all that it consists of. What it returns must be an array of its own.
    """
    for made in kinds_in(args) if met else ():
        if kinds[made].writes:
            return kinds[made].as_one(function, args, params)
    return function(*args, **params)


def writer(xs: Sequence[Any]) -> Kind | None:
    """The row of arrays that write down what is done with them, if such are among these or were met
    before, and so may be around."""
    found = (kinds.get(made, NUMPY) for made in met | kinds_in(xs))
    return next((kind for kind in found if kind.writes), None)


def whole(function: Callable[..., Array]) -> Callable[..., Array]:
    """The function, always called as one."""
    return wraps(function)(partial(as_one, function))


def innermost(x: Any) -> Any:
    """The array behind a Value, that of a batched one, and of a cotangent made with care."""
    while type(x) not in PLAIN and (isinstance(x, Handle) or hasattr(type(x), "payload")):
        x = x.node.data if isinstance(x, Handle) else x.payload
    return x


def created(function: Callable[..., Array], *args: Any, like: Any, **params: Any) -> Any:
    """What `function` creates, `np.zeros` or `rng.random`, as an array that `like` computes with.

    >>> created(np.eye, 2, like=np.ones(2))
    array([[1., 0.],
           [0., 1.]])
    """
    if type(like) in PLAIN:
        return function(*args, **params)
    like = innermost(like)
    return kind_of(like).create(function, like, *args, **params)


def as_array(x: Any, dtype: Any = None) -> Array:
    """A list, number or tensor as an array, others as they are; in `dtype` if there is one.

    TypeError where it holds no numbers.
    """
    if type(x) is not np.ndarray and not hasattr(getattr(x, "dtype", None), "kind"):
        given, x = x, np.asarray(x)
        if x.dtype == object:
            raise TypeError(f"an operation computes with numbers, not with {given!r:.60}")
    return x if dtype is None or dtype == x.dtype else x.astype(dtype)


def copied(x: Any, dtype: Any = None, order: Any = "K") -> Any:
    """An array of its own, in `dtype`; a number where it has no axes and is NumPy's.

    `order`: how its entries lie in memory, which other kinds decide for themselves.
    """
    if type(x) in PLAIN:
        return np.array(x, dtype, order=order)[()]
    return kind_of(x).copy(x, dtype)


def in_place(x: Any) -> Any:
    """What to write into, where `x` is to change; of a NumPy number an array without axes."""
    return kind_of(x).target(x)


def to_numbers(x: Any) -> Any:
    """As NumPy has it, at the user's border."""
    return kind_of(x).to_numbers(x)


PYTORCHS = {"cuda": "cupy", "gpu": "cupy", "cpu": "numpy"}
PYTORCHS |= {x: x for x in ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")}
"""What to write for PyTorch's devices and dtypes, `torch.float16`."""


def destination(to: Sequence[Any], what: str) -> tuple[Kind | None, Any]:
    """What `x.to(place)`, `x.to(dtype)` and `x.to(place, dtype)` mean: the row, and the dtype.

    TypeError, which says where arrays can be moved to, for anything else.
    """
    place = dtype = None
    for x in to:
        named = places.get(x) if isinstance(x, str) else None
        word = str(x).removeprefix("torch.").partition(":")[0]
        try:
            place, dtype = (
                (named, dtype) if named else (place, dtype_called("" if x is None else x))
            )
        except TypeError:
            raise TypeError(
                f"{what}.to({x!r:.60}): neither a dtype nor a place for arrays; there are "
                + ", ".join(map(repr, places))
                + (f": write {PYTORCHS[word]!r}" if word in PYTORCHS else "")
            ) from None
    if not 0 < len(to) == (place is not None) + (dtype is not None):
        raise TypeError(f"{what}.to takes a place, a dtype, or both, not {to!r:.60}")
    return place, dtype


def place_of(x: Any) -> Kind:
    """Where `x` is: NumPy's memory, but for what is on a GPU, or to be computed yet."""
    kind = kind_of(innermost(x))
    return kind if kind.name or kind.lazy else NUMPY


def moved(x: Any, place: Kind) -> Any:
    """`x` as an array at this place: itself where it is there."""
    return x if place_of(x) is place else place.from_numpy(to_numbers(x))


def beside(x: Any, like: Any) -> Any:
    """`x` as an array at the place where `like` is; as NumPy's where that is none."""
    kind = kind_of(innermost(like))
    if kind_of(x) is kind:
        return x
    return kind.from_numpy(to_numbers(x)) if kind.name else to_numbers(x)


def elsewhere(x: Any) -> bool:
    """Whether `x` is in a memory of its own: what is quick in NumPy's may be slow there."""
    return type(x) not in PLAIN and kind_of(innermost(x)).name not in ("", "numpy")


def in_dtype(x: Any, dtype: Any) -> Any:
    """`x` in `dtype`. TypeError for another kind of number, unless that has room for it."""
    if is_numpy(x):
        return x.astype(dtype, order="C", casting="same_kind", copy=False)
    if not np.can_cast(x.dtype, dtype, "same_kind"):
        raise TypeError(f"Cannot cast array data from {x.dtype!r} to {dtype!r}, by 'same_kind'")
    return x.astype(dtype, copy=False)


def is_lazy(x: Any) -> bool:
    """Whether the numbers of `x` are to be computed yet."""
    return kind_of(x).lazy


def all_to_numbers(xs: Sequence[Any], warn: bool = False) -> list[Any]:
    """Lazy arrays as NumPy's, in one pass, which does work that they share once; others as they
    are. `warn`: of work that was done before.
    """
    found = list(xs)
    lazy = [i for i, x in enumerate(xs) if is_lazy(x)]
    if lazy:
        kind = kind_of(xs[lazy[0]])
        for i, x in zip(lazy, kind.all_to_numbers([xs[i] for i in lazy], warn)):
            found[i] = x
    return found


def entries_in(x: Any) -> Any:
    """What of `x` has a gradient: of a sparse array, what it stores."""
    return kind_of(x).entries(x)


def on_entries(function: Callable[[Array], Array], x: Array) -> Array:
    """An array like `x`, of what `function` makes of these."""
    kind = kind_of(x)
    return kind.closed(function(kind.entries(x)), x)


def shares_memory(x: Any) -> bool:
    """Whether `x` is a view of another array."""
    return getattr(x, "base", None) is not None


def views(x: Any, y: Any) -> bool:
    """Whether an array `x`, which was made of `y`, shows memory of it."""
    base = x.base
    return x is y or (base is not None and (base is y or base is y.base))


NOTHING = np.full(32, 0xFF, np.uint8)  # as floats these bytes are NaN


def outline(x: Array) -> Array:
    """An array of the shape and dtype of `x`, and no numbers."""
    return np.ndarray(x.shape, x.dtype, NOTHING, strides=(0,) * x.ndim)


def is_outline(x: Any) -> bool:
    """Whether only shape and dtype are left of an array."""
    return getattr(x, "base", None) is NOTHING


def sizes(x: Any) -> tuple[int | None, ...]:
    """The sizes of the axes, as far as they are known: Dask's are NaN where they are not."""
    return tuple(n if n == n else None for n in x.shape)


def same_shape(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two shapes are the same, as far as their sizes are known.

    >>> same_shape((2, np.nan), (2, 3)), same_shape((2, np.nan), (3, 3))
    (True, False)
    """
    return a == b or (len(a) == len(b) and all(n == m or n != n or m != m for n, m in zip(a, b)))


def total(sizes: Sequence[int]) -> int:
    """The product of these sizes of axes. ValueError where one is not known."""
    n = math.prod(sizes)
    if n != n:
        raise ValueError(f"sizes {list(sizes)} are not known yet; in Dask: x.compute_chunk_sizes()")
    return n


def spread(x: Any, like: Any) -> Any:
    """`x` in the shape of `like`, to which it broadcasts; that may be unknown."""
    if type(x) in SCALARS and type(like) is np.ndarray:  # a third of the time of np.broadcast_to
        return np.ndarray(like.shape, x.dtype, np.asarray(x), strides=(0,) * like.ndim)
    return kind_of(like).spread(x, like)


def anywhere(condition: Any, unknown: bool = True) -> bool:
    """Whether `condition` holds in any entry of any example: the one way to look at numbers.

    An array that has none yet is answered `unknown`: so `True` must be the general case, which is
    right for all numbers.
    """
    condition = innermost(condition)
    if type(condition) in (np.ndarray, np.bool):
        return bool(condition.any())  # 1 µs where np.any takes 2
    return bool(np.any(condition)) if kind_of(condition).numbers else unknown


def taken_as_finite(x: Any) -> bool:
    """Whether a forward may take all entries of an array to be finite. A program that is written
    down does so, and looks at each call."""
    x = innermost(x)
    return kind_of(x).taken_as_finite(x)


def taken_as_nowhere(condition: Any) -> bool:
    """Whether a forward may take it that `condition` holds nowhere. A program that is written down
    does so, looks at each call, and is written anew, without that, where it was not so."""
    condition = innermost(condition)
    return kind_of(condition).taken_as_nowhere(condition)


def outside(numbers: Array, n: int) -> Array:
    """Where whole numbers are none of 0..n-1: not 0 there. One division, if n is one of these."""
    if n and numbers.dtype.itemsize > 2:
        return numbers // n
    return (numbers < 0) | (numbers >= n)


def wrong(condition: Any) -> bool:
    """Whether a check finds that `condition` holds anywhere. It lets pass what has no numbers: a
    program that is written down looks at each call."""
    condition = innermost(condition)
    kind_of(condition).deny(condition)
    return anywhere(condition, unknown=False)

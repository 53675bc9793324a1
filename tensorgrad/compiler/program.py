"""A program: what NumPy is asked to do, in order, as data. Tracers write it, passes change it, back
ends make code of it.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tensorgrad.ops.nn.embedding import rows_added

ROWS_ADDED = rows_added.__wrapped__  # type: ignore[attr-defined]
"""What adds rows where numbers say, as an instruction has it."""
Function = Callable[..., Any]


class Instruction:
    """One call: `function` of `args` and `kwargs`, in which other instructions stand for what they
    make. `shape`, `dtype`: of what it makes; dtype is a Python type for a Python number, shape None
    for a tuple of arrays. An input has no function.

    `name`: what the user calls it; `scope`: the call of a Module that it was written in, and then
    the `Part` of the program (names.py); `order`: of its axes in memory, the longest strides first,
    () for C's; `operands`: the instructions among its arguments, in order, each as often as it
    stands there.
    """

    __slots__ = (
        *("args", "dtype", "function", "kwargs", "name", "operands", "order", "scope", "shape"),
    )

    def __init__(
        self,
        function: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        shape: tuple[int, ...] | None = (),
        dtype: np.dtype[Any] | type | None = None,
        name: str = "",
        scope: Any = None,
        order: tuple[int, ...] = (),
        operands: list[Instruction] | None = None,
    ) -> None:
        self.shape, self.dtype, self.name, self.scope = shape, dtype, name, scope
        self.order = order
        if operands is None:
            self.call(function, args, kwargs or {})
        else:
            self.function, self.args, self.kwargs = function, args, kwargs or {}
            self.operands = operands

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What it calls from now on."""
        self.function, self.args, self.kwargs = function, args, kwargs
        self.operands = found_in(args)
        if kwargs:
            self.operands += found_in((*kwargs.values(),))

    def become(self, other: Instruction) -> None:
        """Make what another one makes."""
        self.function, self.args, self.kwargs = other.function, other.args, other.kwargs
        self.shape, self.dtype, self.order = other.shape, other.dtype, other.order
        self.name, self.scope, self.operands = other.name, other.scope, other.operands

    def __repr__(self) -> str:
        made = getattr(self.function, "__name__", "input")
        return f"<{made} {self.dtype}{self.shape}>"


fields = operator.attrgetter(*Instruction.__slots__)


@dataclass
class Program:
    """`inputs` are read in this order, `outputs` (instructions, or constants) are returned.

    `checks`: what must be finite, or a count that must be 0, or the program is not to be believed;
    `factors`: what must be
    smaller than that, for the sum of all their squares must be finite. Then so is each product of
    two of these matrices: no entry of x y is above |x| |y| <= (|x|² + |y|²) / 2. `refused`: why it
    is not the function's, which went on. `arguments`: how many of the inputs, the first, are the
    caller's; `gaps`: inputs that may lie in memory with gaps. While it is being written: `known`,
    what functions make; `alike`, by instruction, a number that all of its kind have, of which
    functions make the same;
    `swept`, at which lengths of the body a sweep came to which node, to None where it ended;
    `rules`, those of optimisers, by what they are given;
    `nonzero`, inputs that count as true, which is seen to at each call; `hoped`, what a forward
    took to be finite, or None where that cannot be checked, in a loop; `assumes`, whether it may be
    taken that a condition holds nowhere, and `assumed`, whether it was; `exact`, whether all is
    added in the function's order; `loops`, whether a scan is one.
    """

    inputs: list[Instruction] = field(default_factory=list)
    body: list[Instruction] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    checks: list[Instruction] = field(default_factory=list)
    factors: list[Instruction] = field(default_factory=list)
    refused: Exception | None = None
    swept: list[tuple[int, Any]] = field(default_factory=list)
    rules: dict[Any, Any] = field(default_factory=dict)
    known: dict[Any, Any] = field(default_factory=dict)
    alike: dict[Instruction, int] = field(default_factory=dict)
    nonzero: set[Instruction] = field(default_factory=set)
    hoped: list[Instruction] | None = field(default_factory=list)
    assumes: bool = True
    assumed: bool = False
    exact: bool = False
    loops: bool = True
    arguments: int = 0
    gaps: set[Instruction] = field(default_factory=set)

    def copy(self) -> Program:
        """The same calls of the same inputs once more, for passes to change."""
        return self.kept()()

    def kept(self) -> Callable[[], Program]:
        """What makes this program once more, also after passes have changed it: a tenth of the
        time of a copy."""
        body, before = [(i, fields(i)) for i in self.body], replace(self, outputs=[*self.outputs])

        def again() -> Program:
            made: dict[Instruction, Any] = {}
            for i, values in body:
                new = made[i] = Instruction.__new__(Instruction)
                for name, x in zip(Instruction.__slots__, values):
                    setattr(new, name, x)
                new.call(new.function, replaced(new.args, made), replaced(new.kwargs, made))
            return before.with_body([*made.values()], made)

        return again

    def with_body(self, body: list[Instruction], made: dict[Instruction, Any]) -> Program:
        """Another body, in which `made` has what stands for instructions that are gone."""
        checks, factors = (
            [y for x in xs if isinstance(y := replaced(x, made), Instruction)]
            for xs in (self.checks, self.factors)
        )
        outputs = [replaced(x, made) for x in self.outputs]
        kept = {"exact": self.exact, "arguments": self.arguments, "gaps": self.gaps}
        return Program(self.inputs, body, outputs, checks, factors, **kept)  # type: ignore[arg-type]

    def check_what_was_hoped(self) -> None:
        """But for what leads to something that is checked already, which would not be finite."""
        if not self.hoped:
            return
        leads = set(self.checks)
        for i in reversed(self.body):
            if i in leads:
                leads.update(i.operands)
        self.checks += [x for x in dict.fromkeys(self.hoped) if x not in leads]

    def run(
        self,
        given: Sequence[Any],
        taken: Collection[Instruction] = (),
    ) -> list[Any] | None:
        """What it puts out of these inputs, one operation after the other; None where a check does
        not hold. What nobody needs any more is let go. `taken`: the writes that go into
        the array itself."""
        made: dict[Instruction, Any] = dict(zip(self.inputs, given))
        last: dict[Instruction, Any] = {x: i for i in self.body for x in i.operands}
        last.update(dict.fromkeys((*found_in(self.outputs), *self.guards)))
        for i in self.body:
            args, kwargs = replaced(i.args, made), i.kwargs and replaced(i.kwargs, made)
            if i in taken and i.function is with_items:
                made[i], index, value = args
                made[i][index] = value
            else:
                made[i] = i.function(*args, **kwargs)
            for x in i.operands:
                if last[x] is i:
                    made.pop(x, None)
        if any(made[x] if is_count(x) else not np.isfinite(made[x]).all() for x in self.guards):
            return None
        return [replaced(x, made) for x in self.outputs]

    @property
    def guards(self) -> tuple[Instruction, ...]:
        """What is looked at before anything is written."""
        return *self.checks, *self.factors


def is_count(check: Instruction) -> bool:
    """Whether a check is of a number that must be 0."""
    return not check.shape and np.dtype(check.dtype).kind in "iu"


class Composite:
    """A program in place of a function, which it has within: without state and checks, and with its
    own instructions. `times`: how often it runs at a call."""

    __slots__ = ("program",)
    times = 1

    def __init__(self, program: Program) -> None:
        self.program = program


class Fused(Composite):
    """Operations that run as one. It answers what they put out, in a tuple if it is several arrays.

    What is called is the plain reading, one operation after the other; a back end has its own.
    `run`: machine code, called with the inputs and with the arrays that it puts out.
    """

    __slots__ = ("run",)
    __name__ = "fused"

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.run: Function | None = None

    def __call__(self, *args: Any) -> Any:
        outs = self.program.run(args) or []
        return tuple(outs) if len(outs) > 1 else outs[0]


class Rule(Composite):
    """What a function does with arrays of one shape, entry by entry, and with numbers: an
    optimiser's rule, which is one for all parameters of a kind, whatever their shapes. The first
    input of `program` is such an array. It answers a tuple."""

    __slots__ = ()
    __name__ = "rule"

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        """The plain reading, one operation after the other."""
        return tuple(self.program.run(args) or [])


class Loop(Composite):
    """A loop of `times` steps, in place of a function that answers all its results in a tuple.

    `program` is a step: of `reads` arrays from around the loop, of `carry` arrays that it hands on
    and of entries of others, along their first axis, it makes the next carry, and what is stacked.
    """

    __slots__ = ("carry", "reads", "reverse", "times")
    __name__ = "scan"

    def __init__(self, program: Program, reads: int, carry: int, steps: int, reverse: bool) -> None:
        super().__init__(program)
        self.reads, self.carry = reads, carry
        self.times, self.reverse = steps, reverse

    def parted(self, xs: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Arguments, or inputs of the step: what is read, the carry, what has entries."""
        end = self.reads + self.carry
        return xs[: self.reads], xs[self.reads : end], xs[end:]

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        """The plain reading, one operation after the other."""
        reads, carry, tables = self.parted(args)
        step, stacked = Fused(self.program), []
        for t in range(self.times)[:: -1 if self.reverse else 1]:
            outs = step(*reads, *carry, *(x[t] for x in tables))
            outs = outs if len(self.program.outputs) > 1 else (outs,)
            carry = outs[: self.carry]
            stacked.append(outs[self.carry :])
        ys = zip(*(stacked[::-1] if self.reverse else stacked))
        return *map(np.array, carry), *map(np.stack, ys)


class Halves(Composite):
    """A part of a program on both halves of a batch, in two threads, in place of a function that
    answers all results in a tuple: of each the first half's and then the second's.

    `program` is that of one half; `axes`: along which axis each argument is halved, or None where
    both get the whole.
    """

    __slots__ = ("axes",)
    __name__ = "halves"
    times = 2

    def __init__(self, program: Program, axes: Sequence[int | None]) -> None:
        super().__init__(program)
        self.axes = axes

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        """The plain reading, one half after the other."""
        given = ([half(x, axis, k) for x, axis in zip(args, self.axes)] for k in (0, 1))
        first, second = (self.program.run(xs) or [] for xs in given)
        return tuple(x for both in zip(first, second) for x in both)


def half(x: Any, axis: int | None, k: int) -> Any:
    """The first or second half of an array along an axis; all of it along None."""
    return x if axis is None else x[half_index(x.shape[axis] // 2, axis, k)]


def half_index(n: int, axis: int, k: int) -> Any:
    """The index of the first `n` entries along an axis, or of all others."""
    part = slice(n, None) if k else slice(None, n)
    return (*[slice(None)] * axis, part) if axis else part


NESTED = frozenset({slice, tuple, list, dict})


def found_in(x: Any) -> list[Instruction]:
    """The instructions in an argument, or in several, in order."""
    found = []
    for part in x if type(x) in (tuple, list) else (x,):
        kind = type(part)
        if kind is Instruction:
            found.append(part)
        elif kind is slice:
            ends = part.start, part.stop, part.step
            found += [] if is_constant(part) else found_in(ends)
        elif kind is dict:
            found += found_in((*part.values(),))
        elif kind is tuple or kind is list:
            found += found_in(part)
    return found


ENDS = frozenset({int, type(None)})


def is_constant(x: slice) -> bool:
    """Whether its ends are numbers that stand in it."""
    return type(x.start) in ENDS and type(x.stop) in ENDS and type(x.step) in ENDS


def each(f: Callable[[Any], Any], kinds: Any, x: Any) -> Any:
    """`x` with `f` of each object of `kinds` in it, which are no Python numbers."""
    kind = type(x)
    if kind not in NESTED:
        return f(x) if isinstance(x, kinds) else x
    if kind is slice:
        ends = x.start, x.stop, x.step
        return x if is_constant(x) else slice(*each(f, kinds, ends))
    if kind is dict:
        return {key: each(f, kinds, part) for key, part in x.items()} if x else x
    return kind([each(f, kinds, part) for part in x])


def replaced(x: Any, made: Mapping[Instruction, Any]) -> Any:
    """An argument with what stands for the instructions in it now."""
    kind = type(x)
    if kind is Instruction:
        return made.get(x, x)
    if kind is tuple or kind is list:
        return kind(
            [
                made.get(y, y)
                if type(y) is Instruction
                else replaced(y, made)
                if type(y) in NESTED
                else y
                for y in x
            ]
        )
    return each(lambda i: made.get(i, i), Instruction, x) if kind in NESTED else x


# What a program calls where NumPy has a statement or a method. A program that is saved brings these
# functions along: each is a text that needs NumPy alone.


def with_items(x: Any, index: Any, value: Any) -> Any:
    """A copy of `x` in which `x[index] = value`."""
    x = np.array(x)
    x[index] = value
    return x


def added_at(ufunc: np.ufunc, x: Any, index: Any, *values: Any) -> Any:
    """A copy of `x` after `ufunc.at(x, index, value)`."""
    x = np.array(x)
    ufunc.at(x, index, *values)
    return x


def converted(x: Any, dtype: Any, **how: Any) -> Any:
    """`x.astype(dtype)`, a number where `x` has no axes."""
    return np.asarray(x).astype(dtype, **how)[()]


def item(x: Any) -> Any:
    """`x.item()`, a number of Python's."""
    return x.item()


def entries(x: Any) -> list[Any]:
    """The entries of a vector, as numbers of NumPy's."""
    return [*x.flat]


def chosen(mask: bool, x: Any, y: Any) -> Any:
    """`x if mask else y`."""
    return x if mask else y


def divided(x: float, y: float) -> float:
    """x / y, where y is 0 as NumPy has it."""
    return x / y if y else float(np.float64(x) / y)


def root(x: float) -> float:
    """√x, NaN where x is negative."""
    return math.sqrt(x) if x >= 0 else math.nan


def power(x: float, n: int) -> float:
    """xⁿ, where Python raises as NumPy has it."""
    try:
        return x**n
    except ArithmeticError:
        return float(np.float64(x) ** n)


def viewed(x: Any, dtype: Any) -> Any:
    """`x.view(dtype)`."""
    return x.view(dtype)


def sum_of_slices(
    shape: tuple[int, ...], places: tuple[tuple[tuple[int, int], ...], ...], parts: tuple[Any, ...]
) -> Any:
    """An array of 0, to which parts are added, each at its place: from where to where, by axis."""
    x = np.zeros(shape, parts[0].dtype)
    for place, part in zip(places, parts):
        x[tuple([slice(first, end) for first, end in place])] += part
    return x


def vacant(before: list[Any], shape: tuple[int, ...], dtype: str) -> Any:
    """An array for a result: one of the results `before` that nobody has any more, or a new one,
    whose memory the system would have to find first (a millisecond for 10 MB)."""
    import sys
    import weakref

    probe = [np.empty(0)]
    alone = sys.getrefcount(probe[0]) if getattr(sys, "_is_gil_enabled", lambda: True)() else -1
    free = [
        k
        for k in range(len(before))
        if sys.getrefcount(before[k]) == alone
        and not weakref.getweakrefcount(before[k])
        and (before[k].shape, before[k].dtype, before[k].flags.carray) == (shape, dtype, True)
    ]
    for k in free[:0:-1]:
        del before[k]
    if free:
        return before[free[0]]
    before.append(np.empty(shape, dtype))
    del before[:-2]  # a loop has the last result while it makes the next
    return before[-1]


def draw(rng: np.random.Generator, method: str, *args: Any, **kwargs: Any) -> Any:
    """Numbers from a generator, which goes on."""
    return getattr(rng, method)(*args, **kwargs)


def plus_product(
    c: Any,
    alpha: Any,
    x: Any,
    y: Any,
    beta: Any = 1,
    x_turned: bool = False,
    y_turned: bool = False,
) -> Any:
    """beta c + alpha x y, of matrices, x or y turned, and numbers."""
    return beta * c + alpha * ((x.T if x_turned else x) @ (y.T if y_turned else y))


def of_matrices(i: Instruction) -> bool:
    """Whether it is a product of matrices, by itself or added to one."""
    both = i.function in (np.matmul, np.dot) and len(i.shape or ()) == 2
    return both or i.function is plus_product


def sum_of_squares(*xs: Any) -> Any:
    """Of arrays the squares, in double, and numbers themselves, added up."""
    wide = (np.asarray(x, np.float64) for x in xs)
    return sum([np.vdot(x, x) if x.shape else x for x in wide])


IMPURE = frozenset({draw})
"""What must be done each time, in its place."""


def urgent(program: Program) -> set[Instruction]:
    """What the checks need, and what is drawn: it comes before all else."""
    needed = set(program.guards)
    for i in reversed(program.body):
        if i in needed or i.function in IMPURE:
            needed.update((i, *i.operands))
    return needed


def users_of(program: Program) -> dict[Instruction, list[Instruction]]:
    """Who reads what, in order."""
    users = defaultdict[Instruction, list[Instruction]](list)
    for i in program.body:
        for x in i.operands:
            users[x].append(i)
    return dict(users)


UFUNCS: dict[Function, np.ufunc] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.true_divide,
    operator.neg: np.negative,
    operator.abs: np.absolute,
    operator.matmul: np.matmul,
    operator.gt: np.greater,
    operator.ge: np.greater_equal,
    operator.lt: np.less,
    operator.le: np.less_equal,
    operator.eq: np.equal,
    operator.ne: np.not_equal,
    operator.and_: np.bitwise_and,
    operator.or_: np.bitwise_or,
    operator.invert: np.invert,
}
"""The ufunc of an operator, which an array with axes runs."""

FRESH = frozenset(
    {
        *(*UFUNCS, operator.pow, operator.floordiv, operator.mod, operator.xor),
        *(np.dot, np.vdot, np.tensordot, np.where, np.concatenate, np.stack, np.sum, np.mean),
        *(np.max, np.min, np.prod, np.var, np.std, np.cumsum, np.argmax, np.argmin, np.take),
        *(np.take_along_axis, np.sort, np.argsort, np.clip, np.any, np.all),
        *(np.copy, np.zeros_like, np.ones_like, with_items, added_at, converted, draw),
        *(plus_product, sum_of_slices, entries),
        *(np.zeros, np.ones, np.empty, np.full, np.eye, np.arange, np.tri, np.fromiter),
    }
)
"""Functions whose results share no memory with their arguments; so do ufuncs and reductions."""


MAKES_NUMBERS = frozenset({*UFUNCS, converted, np.sum, np.mean, np.prod, np.max, np.min})


def makes_number(x: Any) -> bool:
    """Whether a function without axes makes a number of NumPy's, not an array without axes."""
    if not isinstance(x, Instruction) or x.shape or not isinstance(x.dtype, np.dtype):
        return False
    f = x.function
    return isinstance(f, np.ufunc) or f in MAKES_NUMBERS or is_reduction(f)


def is_elementwise(i: Instruction) -> bool:
    """Whether each number that it makes is made of one number of each operand."""
    return isinstance(i.function, np.ufunc) and i.function.signature is None


def nbytes(x: Instruction) -> int:
    return math.prod(x.shape or ()) * np.dtype(x.dtype).itemsize


def axes_of(i: Instruction) -> set[int]:
    """The axes that a reduction goes along."""
    axis, ndim = i.kwargs.get("axis", 0), len(i.args[0].shape)
    along = range(ndim) if axis is None else axis if type(axis) is tuple else (axis,)
    return {k % ndim for k in along}


def axis_of(x: Instruction) -> int | None:
    """The axis along which it concatenates or stacks; None if it is told more than that."""
    axis = x.args[1] if len(x.args) > 1 else x.kwargs.get("axis", 0)
    plain = len(x.args) < 3 and not x.kwargs.keys() - {"axis"} and isinstance(axis, int)
    return axis if plain else None


TURNS = frozenset({np.transpose, np.swapaxes, np.moveaxis})


def turned(x: Instruction) -> list[int]:
    """Which axes of its argument the axes of a transposed array are."""
    named = np.broadcast_to(0, range(1, len(x.shape or ()) + 1))
    return [n - 1 for n in x.function(named, *x.args[1:], **x.kwargs).shape]


def joined_in(i: Instruction) -> list[tuple[Any, Any]]:
    """What is concatenated or stacked, each with the index at which it is in the whole."""
    if i.function not in (np.concatenate, np.stack) or axis_of(i) is None or not i.shape:
        return []
    at, axis, found = 0, axis_of(i) % len(i.shape), []  # type: ignore[operator]
    for x in i.args[0] if type(i.args[0]) in (list, tuple) else ():
        shape = x.shape if isinstance(x, Instruction) else np.shape(x)
        n = 1 if i.function is np.stack else shape[axis]  # type: ignore[index]
        where = at if i.function is np.stack else slice(at, at + n)
        found.append((x, (*(slice(None),) * axis, where) if axis else where))
        at += n
    return found


def is_reduction(f: Any) -> bool:
    owner = getattr(f, "__self__", None)
    return isinstance(owner, np.ufunc) and f == owner.reduce


def has_out(i: Instruction) -> bool:
    """Whether the result can be written where it is told to."""
    f = i.function
    if not i.shape:
        return False
    if isinstance(f, np.ufunc):
        return f.nout == 1
    if f is np.dot or f is plus_product:
        return not i.order
    return is_reduction(f) or bool(joined_in(i))


def is_operation(f: Any) -> bool:
    """Whether it is the function of an operation, `as_one`: it answers an array of its own, of a
    shape that depends on no numbers."""
    return (getattr(f, "__module__", None) or "").startswith("tensorgrad.ops.")


def is_basic(index: Any) -> bool:
    """Whether what an index takes out is a view, wherever it is."""
    for x in index if type(index) is tuple else (index,):
        kind = type(x)
        if kind is slice:
            basic = is_basic((x.start, x.stop, x.step))
        else:  # a tracer is no integer, whatever it says
            basic = x is None or x is ... or kind is int or issubclass(kind, np.integer)
        if not basic:
            return False
    return True


def takes(i: Instruction) -> bool:
    """Whether it takes out what an array of indices says, as an embedding does."""
    if i.function is not operator.getitem:
        return False
    index = i.args[1] if type(i.args[1]) is tuple else (i.args[1],)
    return any(x.shape for x in index if isinstance(x, (Instruction, np.ndarray)))


def shares(i: Instruction) -> bool:
    """Whether the result may show memory of an operand."""
    f = i.function
    if f is None or isinstance(f, (np.ufunc, Composite)) or f in FRESH or isinstance(i.dtype, type):
        return False
    if f is operator.getitem and is_part(i):
        return False
    if f is np.einsum and isinstance(i.args[0], str) and len(i.args) > 2:
        return False
    if f is operator.getitem and not i.shape:  # a number, if not by x[...]
        index = i.args[1] if type(i.args[1]) is tuple else (i.args[1],)
        return not all(isinstance(x, (int, np.integer)) for x in index)
    return not (is_reduction(f) or is_operation(f))


def is_masked(i: Instruction) -> bool:
    """Whether it is `np.where(mask, x, 0)` of real numbers, none of them broadcast: the bits of x,
    times 0 or 1, which takes a quarter of the time."""
    if i.function is not np.where or len(i.args) != 3 or type(i.args[2]) is not int or i.args[2]:
        return False
    mask, x, _ = i.args
    return (
        isinstance(x, Instruction)
        and isinstance(mask, Instruction)
        and i.dtype in (np.float32, np.float64)
        and (x.shape, x.dtype) == (i.shape, i.dtype)
        and (mask.shape, mask.dtype) == (i.shape, np.dtype(bool))
        and bool(i.shape)
    )


def is_part(i: Instruction) -> bool:
    """Whether it is one of the results of a group, which has memory of its own."""
    whole: Any = i.args[0] if i.function is operator.getitem else i
    several = isinstance(whole, Instruction) and whole.shape is None
    return several and whole is not i and isinstance(whole.function, Composite)

"""The loops of a small program.

Arrays are indexed by *dims*: axes that operations bring together are one dim, and neighbours that
lie together in all arrays are one as well, so that a chain of operations on whole arrays is one
loop. Loops are nested, the first dim outermost. At each level what there is to do is done in
*phases*: a loop over the dim, or what does not vary along it. Who needs a sum along the dim waits
for a later phase; what an earlier phase computed, entry by entry, is kept or computed again.

Where rows are read by several of these, one after the other, all of that is in a loop over *blocks*
of rows, which the cache holds. It is a level before the others, and as if a dim, `BLOCKS`, of all
that has rows.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir

from tensorgrad.compiler import program as programs
from tensorgrad.compiler.llvm.mathematics import BOOL, I32, I64, Term, where
from tensorgrad.compiler.llvm.operations import (
    POWERS,
    REALS,
    REDUCTIONS,
    converted,
    kind_of,
    loop_dtypes,
    number,
    place_of,
    price,
    product,
    total,
    write_of,
)
from tensorgrad.compiler.passes.fusion import is_product
from tensorgrad.compiler.passes.pooling import LARGEST, TO_LARGEST
from tensorgrad.compiler.program import Instruction, Program, is_elementwise, is_reduction

POINTER = ir.PointerType()
BLOCKS = -1
SCRATCH = 1 << 16
"""The bytes that a kernel keeps on the stack for what a later phase needs again."""
CHEAP = 6
"""What costs so many cheap operations is rather computed again."""
BLOCK, MOST = 1 << 17, 1 << 11
"""The bytes of a block of rows, in a part of the second cache, and how many they are at most."""
NUMPYS_POWER = sys.platform == "linux" and binding.get_host_cpu_features().get("avx512f", False)
"""Whether NumPy has a power of float64 in vectors: it takes half the time of the one here."""
AT_ONCE, NEAR = 8, 1 << 10
"""How many rows of matrices are done at once, where the block was read before, or where they are so
many bytes: memory brings along what is next, not what is the next of each of eight rows. (Logistic
regression of 1e5 x 100 takes 5 ms, and 9 if the first to read it takes 8 rows at once.)"""
LATE, MANY, VECTORS = 24, 1 << 16, 4
"""From what price on a loop over so many numbers does several vectors at once. Each function waits
for the one before, and a processor looks no further ahead than a vector of such a loop: one of 5
functions takes 1.7 ns for a float32, not 2.8, and 15 ms longer to compile."""
FEW = 6
"""How many slices a kernel adds up: there is a loop between each two of their ends, in which all of
them are made again. (Of 16 that are a tanh each it takes 3 s to compile, and ten times as long as
NumPy to run.)"""
LONG = 1 << 12
"""Sums of more float32 than these are taken in double."""


class Axis:
    """An axis of a size; `same` is the axis that it turned out to be; `parts`: where windows lie
    side by side along it, the axes that number them, and the entries of one."""

    __slots__ = ("parts", "same", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.same: Axis | None = None
        self.parts: tuple[Axis | None, Axis] | None = None

    def root(self) -> Axis:
        axis = self
        while axis.same is not None:
            axis = axis.same
        return axis

    def split(self, entries: int) -> tuple[Axis | None, Axis]:
        """Its parts, for windows of so many entries."""
        axis, n = self.root(), self.size // entries
        if axis.parts is None:
            axis.parts = Axis(n) if n > 1 else None, Axis(entries)
        if axis.parts[1].size != entries:
            raise Refused("windows of two sizes along an axis")
        return axis.parts

    def all(self) -> list[Axis]:
        """It, or its parts, and theirs."""
        axis = self.root()
        if axis.parts is None:
            return [axis]
        return [x for part in axis.parts if part for x in part.all()]


Axes = tuple[Axis | None, ...]
"""Of an array, the axis that each of its own is; None where it has one entry."""


class Cell:
    """A number for each index along `axes`, which `make` writes of those of `operands`; `over`:
    the axes that are summed, or the like, from `start`. An input has no `make`."""

    __slots__ = ("axes", "dims", "dtype", "make", "operands", "over", "price", "start")

    def __init__(
        self,
        dtype: Any,
        axes: Sequence[Axis | None],
        make: Callable[..., Term] | None = None,
        operands: Sequence[Cell] = (),
        price: int = 1,
        over: Sequence[Axis] = (),
        start: Any = None,
    ) -> None:
        self.dtype, self.make, self.operands, self.price = np.dtype(dtype), make, operands, price
        self.axes: Any = [a for a in axes if a is not None]
        self.over: Any = [*over]
        self.start = start
        self.dims: Any = None


class Slices(NamedTuple):
    """A part of a cell without `make`, which is a sum of such: `cuts`, along which axis of the sum
    the entries from `first` to `end` are all those of the part, along an axis of its own."""

    part: Cell
    cuts: tuple[tuple[Axis, Axis, int, int], ...]


class Place:
    """Where a cell is in memory: a pointer, and its strides by dim, in entries; or those of a block
    of it."""

    __slots__ = ("block", "pointer", "strides")

    def __init__(self, pointer: Any, strides: dict[int, int], block: bool = False) -> None:
        self.pointer, self.strides, self.block = pointer, strides, block


class Refused(ValueError):
    """What a kernel is not written for."""


def admits(i: Instruction) -> bool:
    """Whether an instruction can be part of a kernel."""
    f = i.function
    arrays = (i, *i.operands)
    if any(x.shape is None or math.prod(x.shape) == 0 or kind_of_any(x) is None for x in arrays):
        return False
    if isinstance(i.dtype, type) or (not i.shape and not i.operands):
        return False
    if is_reduction(f):
        return f.__self__ in REDUCTIONS and reduces(i)
    if f in (LARGEST, TO_LARGEST):
        real = np.dtype(i.dtype).kind == "f" and len({x.dtype for x in arrays}) == 1
        return real and len(i.operands) == len(i.args) and side_by_side(i)
    if f is programs.sum_of_slices:
        few = len(i.args[2]) <= FEW
        return few and all(isinstance(x, Instruction) and x.dtype == i.dtype for x in i.args[2])
    if is_product(i):
        real = np.dtype(i.dtype).kind == "f"
        return real and all(isinstance(x, Instruction) and x.dtype == i.dtype for x in i.args)
    if isinstance(f, np.ufunc):
        return write_of(f) is not None and not i.kwargs and admits_ufunc(i)
    if any(not known(x) for x in i.args if not isinstance(x, (tuple, type, np.dtype))):
        return False
    if f is programs.converted:
        return i.kwargs.keys() <= {"copy"} and isinstance(i.args[0], Instruction)
    return f is np.where and len(i.args) == 3 and not i.kwargs


def kind_of_any(x: Instruction) -> Any:
    """The type of its numbers, of Python's as well."""
    return kind_of(x.dtype) if x.dtype is float or isinstance(x.dtype, np.dtype) else None


def known(x: Any) -> bool:
    """Whether an argument is computed with: a result, or constant real numbers."""
    if isinstance(x, Instruction) or type(x) in (int, float, bool):
        return True
    return isinstance(x, (np.ndarray, np.generic)) and x.size > 0 and kind_of(x.dtype) is not None


def side_by_side(i: Instruction) -> bool:
    """Whether each entry is in one window."""
    kernel, shape = i.kwargs["kernel_size"], i.args[1 if i.function is TO_LARGEST else 0].shape
    apart = i.kwargs.get("stride") in (None, (), kernel)
    apart &= {*i.kwargs.get("dilation", ())} <= {1} and max(kernel) > 1
    return apart and not any(n % k for n, k in zip(shape[-len(kernel) :], kernel))


def reduces(i: Instruction) -> bool:
    x = i.args[0]
    plain = len(i.args) == 1 and i.kwargs.keys() <= {"axis", "keepdims"}
    if not (plain and isinstance(x, Instruction)) or not x.shape or isinstance(x.dtype, type):
        return False
    logical = i.function.__self__ in (np.logical_or, np.logical_and)
    return not logical or np.dtype(x.dtype).kind == "b"


def admits_ufunc(i: Instruction) -> bool:
    f = i.function
    if not all(map(known, i.args)):
        return False
    try:
        dtypes = loop_dtypes(f, [given(x) for x in i.args])
    except (TypeError, OverflowError):
        return False
    first = dtypes[0]
    if any(kind_of(dtype) is None for dtype in dtypes) or dtypes[-1] != i.dtype:
        return False
    if len({*dtypes[: f.nin]}) > 1:
        return False
    if f in REALS and first.kind != "f":
        return False
    if f in (np.logical_and, np.logical_or, np.logical_not, np.logical_xor) and first.kind != "b":
        return False
    if f is np.power and first != np.float32:
        y = i.args[1]
        quick = not isinstance(y, Instruction) and float(y) in POWERS
        return first.kind == "f" and (quick or not NUMPYS_POWER)
    return not (f is np.subtract and first.kind == "b")


def given(x: Any) -> Any:
    """The dtype of an argument; of a Python number its type, which is weak."""
    if isinstance(x, Instruction):
        return x.dtype
    return type(x) if type(x) in (int, float) else np.asarray(x).dtype


class Plan:
    """The cells of a program, and the dims that they are indexed by. `layouts`: the strides of its
    inputs and outputs; `rows`: the axes that it goes along in blocks; `bands`: whether loops over
    rows of matrices, in a block, are loops of their own."""

    def __init__(self, program: Program, layouts: Sequence[tuple[int, ...]]) -> None:
        self.cells: list[Cell] = []
        self.shown: dict[Instruction, tuple[Cell, Axes]] = {}
        self.slices: dict[Cell, list[Slices]] = {}
        self.apart: set[Axis] = set()
        self.rows: list[Axis] = []
        self.bands = False
        self.inputs = [self.read(i) for i in program.inputs]
        for i in program.body:
            self.shown[i] = self.cell_of(i)
        self.outputs = [self.shown[x] for x in program.outputs]
        axes = self.in_order(layouts)
        if any(axis.root().parts for axis in self.rows):
            raise Refused("windows along rows that are taken in blocks")
        for cell in self.every():
            cell.axes, cell.over = ([*all_of(x)] for x in (cell.axes, cell.over))
        self.split(axes)
        for cell in self.every():
            if len({*cell.axes}) < len(cell.axes):
                raise Refused("an array that is indexed twice by one axis")
        self.axes = axes

    def every(self) -> list[Cell]:
        return [*(c for c, _ in self.inputs), *self.cells]

    def read(self, i: Instruction) -> tuple[Cell, Axes]:
        axes = tuple(Axis(n) if n > 1 else None for n in i.shape or ())
        found = self.shown[i] = Cell(i.dtype, axes), axes
        return found

    def add(self, *args: Any, **kwargs: Any) -> Cell:
        self.cells.append(Cell(*args, **kwargs))
        return self.cells[-1]

    def cell_of(self, i: Instruction) -> tuple[Cell, Axes]:
        f = i.function
        if is_reduction(f):
            return self.reduction(i)
        if f is programs.sum_of_slices:
            return self.sum_of_slices(i)
        if is_product(i):
            return self.product(i)
        if f is LARGEST:
            return self.largest(i)
        if f is TO_LARGEST:
            return self.to_largest(i)
        if f is programs.converted:
            args, old, new = i.args[:1], i.args[0].dtype, np.dtype(i.dtype)
            return self.each(i, args, [old], lambda x: converted(x, old, new), 1)
        if f is np.where:
            args, dtype = i.args, np.dtype(i.dtype)
            return self.each(i, args, [np.dtype(bool), dtype, dtype], where, 1)
        dtypes = loop_dtypes(f, [given(x) for x in i.args])
        write, first = write_of(f), dtypes[0]
        assert write is not None
        make = lambda *xs: write(first, *xs)
        return self.each(i, i.args, dtypes[: len(i.args)], make, price(f))

    def each(
        self, i: Instruction, args: Sequence[Any], dtypes: Any, make: Any, price: int
    ) -> tuple[Cell, Axes]:
        """What is computed entry by entry, of arguments that are converted to these dtypes."""
        shape = i.shape or ()
        axes: list[Axis | None] = [None] * len(shape)
        operands: list[Cell] = []
        reads: list[Callable[[Any, Iterator[Term]], Term]] = []
        for x, dtype in zip(args, dtypes):
            if not isinstance(x, Instruction):
                reads.append(lambda b, xs, x=x, dtype=dtype: number(b, x, dtype))  # type: ignore
                continue
            cell, own = self.shown[x]
            operands.append(cell)
            reads.append(lambda b, xs, c=cell, dtype=dtype: converted(next(xs), c.dtype, dtype))  # type: ignore
            for k, axis in enumerate(reversed(own), 1):
                axes[-k] = merged(axes[-k], axis)
        for k, n in enumerate(shape):
            axes[k] = axes[k] or (Axis(n) if n > 1 else None)

        def write(b: Any, *xs: Term) -> Term:
            rest = iter(xs)
            made: Term = make(*[read(b, rest) for read in reads])
            return made

        return self.add(i.dtype, axes, write, operands, price), tuple(axes)

    def reduction(self, i: Instruction) -> tuple[Cell, Axes]:
        cell, own = self.shown[i.args[0]]
        along = programs.axes_of(i)
        axes = [None if k in along else a for k, a in enumerate(own)]
        over = [a for k, a in enumerate(own) if k in along and a is not None]
        combine, start = REDUCTIONS[i.function.__self__]
        new = np.dtype(i.dtype)
        many = math.prod(a.size for a in over) > LONG
        exact = i.function.__self__ in (np.maximum, np.minimum)
        single = new == np.float32 and many and not any(axes) and not exact
        wide = np.dtype(np.float64) if single else new
        made = cell
        if over:
            made = self.add(
                wide, axes, lambda x, y: combine(wide, x, y), [cell], 1, over, start(wide)
            )
        if made.dtype != new or not over:
            made = self.add(new, axes, lambda b, x, old=made.dtype: converted(x, old, new), [made])
        kept = bool(i.kwargs.get("keepdims"))
        return made, tuple(a for k, a in enumerate(axes) if kept or k not in along)

    def windows(self, own: Axes, kernel: tuple[int, ...]) -> tuple[list[Axis | None], list[Axis]]:
        """The axes that number windows, and those of their entries."""
        axes, entries = [*own], []
        for k, n in enumerate(kernel, len(own) - len(kernel)):
            axis = own[k]
            if n > 1 and axis:
                axes[k], inner = axis.split(n)
                entries.append(inner)
        return axes, entries

    def largest(self, i: Instruction) -> tuple[Cell, Axes]:
        x, own = self.shown[i.args[0]]
        axes, entries = self.windows(own, i.kwargs["kernel_size"])
        (combine, start), dtype = REDUCTIONS[np.maximum], np.dtype(i.dtype)
        make = lambda x, y: combine(dtype, x, y)
        return self.add(dtype, axes, make, [x], 1, entries, start(dtype)), tuple(axes)

    def to_largest(self, i: Instruction) -> tuple[Cell, Axes]:
        """The largest entries of a window share its gradient."""
        (g, axes), (x, own), (out, others) = (self.shown[x] for x in i.args)
        dtype = np.dtype(i.dtype)
        windows, entries = self.windows(own, i.kwargs["kernel_size"])
        windows = [merged(merged(a, b), c) for a, b, c in zip(windows, axes, others)]
        hit = self.add(bool, own, lambda b, x, y: x.is_(y) | x.is_nan(), [x, out])
        add = lambda x, y: total(dtype, x, y)
        number_of = self.add(dtype, windows, add, [hit], 1, entries, 0)
        share = self.add(dtype, windows, lambda b, x, n: x / n, [g, number_of], CHEAP + 1)
        return self.add(dtype, own, lambda b, hit, x: where(hit, x, 0.0), [hit, share]), own

    def product(self, i: Instruction) -> tuple[Cell, Axes]:
        """A matrix and a vector: what is multiplied, and its sum."""
        (x, own), (y, others) = (self.shown[x] for x in i.args)
        along = merged(own[-1], others[0])
        axes, dtype = (*own[:-1], *others[1:]), np.dtype(i.dtype)
        rows = own[0] if own[1:] else along if others[1:] else None
        if rows:
            self.rows.append(rows)
            self.bands = True
        make = lambda b, x, y: product(dtype, x, y)
        made = self.add(dtype, [a for a in (*axes, along) if a], make, [x, y])
        if along:
            made = self.add(dtype, axes, lambda x, y: total(dtype, x, y), [made], 1, [along], 0)
        return made, axes

    def sum_of_slices(self, i: Instruction) -> tuple[Cell, Axes]:
        shape, places = i.shape or (), i.args[1]
        cut = [any(place[k] != (0, n) for place in places) for k, n in enumerate(shape)]
        own: list[Axis | None] = [Axis(n) if n > 1 else None for n in shape]
        parts = []
        for x, place in zip(i.args[2], places):
            cell, axes = self.shown[x]
            own = [a if sliced else merged(a, b) for a, b, sliced in zip(own, axes, cut)]
            cuts = [(*pair, *ends) for *pair, ends, there in zip(own, axes, place, cut) if there]
            if any(None in of for of in cuts) or not (own[0] and axes[0]):
                raise Refused("a slice of one entry")
            parts.append(Slices(cell, tuple(cuts)))
            self.rows.append(axes[0])
            self.apart.update(axis for pair in cuts for axis in pair[:2])
        assert own[0] is not None
        self.rows.append(own[0])
        made = self.add(i.dtype, [*own], None, [cell for cell, _ in parts])
        self.slices[made] = parts
        return made, tuple(own)

    def in_order(self, layouts: Sequence[tuple[int, ...]]) -> list[Axis]:
        """The dims: those of outputs and inputs as they lie in memory, then those of others, beside
        what they meet."""
        order: list[Axis] = []
        n = len(self.inputs)
        arrays = [*zip(self.outputs, layouts[n:]), *zip(self.inputs, layouts)]
        every = [
            [axis for _, axis in sorted(zip(strides, axes), key=lambda x: -abs(x[0])) if axis]
            for (_, axes), strides in arrays
        ]
        every += [[axis for axis in axes if axis] for _, axes in self.shown.values()]
        for axes in sorted(every, key=lambda axes: -len(axes)):
            at = 0
            for axis in axes:
                axis = axis.root()
                if axis not in order:
                    order.insert(at, axis)
                at = order.index(axis) + 1
        inner = [axis.parts[1] for axis in order if axis.parts]
        order = [*dict.fromkeys(a for axis in order for a in axis.all() if a not in inner)]
        return [*order[:-1], *inner, *order[-1:]]  # the innermost loop stays one of vectors

    def split(self, order: list[Axis]) -> None:
        """A sum along the last dims and others, with one between that is kept, is two sums."""
        rank = {axis: k for k, axis in enumerate(order)}
        for cell in [*self.cells]:
            over = {a.root() for a in cell.over}
            kept = [rank[a.root()] for a in cell.axes]
            inner = [a for a in over if rank[a] > max(kept, default=-1)]
            outer = [a for a in over if a not in inner]
            if inner and outer:
                axes = [*cell.axes, *outer]
                first = Cell(cell.dtype, axes, cell.make, cell.operands, 1, inner, cell.start)
                self.cells.insert(self.cells.index(cell), first)
                cell.operands, cell.over = [first], outer


def merged(a: Axis | None, b: Axis | None) -> Axis | None:
    """The axis that both are."""
    if a is None or b is None:
        return a or b
    a, b = a.root(), b.root()
    if a is not b:
        b.same = a
        if a.parts and b.parts:
            if a.parts[1].size != b.parts[1].size:
                raise Refused("windows of two sizes along an axis")
            for x, y in zip(a.parts, b.parts):
                merged(x, y)
        a.parts = a.parts or b.parts
    return a


def all_of(axes: Sequence[Axis]) -> Iterator[Axis]:
    for axis in axes:
        yield from axis.all()


def arguments(program: Program) -> list[Instruction]:
    """What a kernel is called with."""
    return [*program.inputs, *program.outputs]


def strides_of(i: Instruction) -> tuple[int, ...]:
    """In entries, as the array lies if it is nobody's view."""
    shape = i.shape or ()
    strides, step = [0] * len(shape), 1
    for axis in reversed(i.order or range(len(shape))):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def is_dense(x: Instruction, strides: Sequence[int]) -> bool:
    """Whether its numbers fill memory from where it begins, in whatever order."""
    step = 1
    for axis_step, n in sorted((s, n) for s, n in zip(strides, x.shape or ()) if n > 1):
        if axis_step != step:
            return False
        step *= n
    return True


WHOLE = 64
"""What the length of a loop for any length is a multiple of: so many numbers are whole vectors, and
none are left over."""


def is_one_loop(program: Program, layouts: Sequence[tuple[int, ...]]) -> bool:
    """Whether it goes entry by entry through arrays of one size that lie alike, without gaps: its
    code is for all lengths then, such as that of an optimiser's update for all parameters."""
    given, shape = arguments(program), program.outputs[0].shape
    if not shape or math.prod(shape) % WHOLE or math.prod(shape) == 0:
        return False
    steps = {strides for i, strides in zip(given, layouts) if i.shape}
    if len(steps) > 1 or not is_dense(program.outputs[0], *steps):
        return False
    each = (np.where, programs.converted)
    return all(i.shape in (shape, ()) for i in (*given, *program.body)) and all(
        is_elementwise(i) or i.function in each for i in program.body
    )


class Nest:
    """Writes the loops of a program into a function of the pointers to its inputs and outputs, and
    of how long they are if that is one loop. `layouts`: the strides of each, in entries."""

    def __init__(
        self, program: Program, layouts: Sequence[tuple[int, ...]], module: Any, name: str
    ) -> None:
        plan = Plan(program, layouts)
        arrays = [*plan.inputs, *plan.outputs]
        given = [by_axis(axes, strides) for (_, axes), strides in zip(arrays, layouts)]
        self.sizes = self.dims(plan, given)
        self.slices, self.bands = plan.slices, plan.bands
        self.blocks(plan, given)
        self.place: dict[Cell, Place] = {}
        self.scratch = 0
        one_loop = is_one_loop(program, layouts)
        kinds = [POINTER] * len(arrays) + [I64] * one_loop
        self.function = function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for argument in function.args[: len(arrays)]:
            argument.add_attribute("noalias")
        self.top = ir.IRBuilder(function.append_basic_block())
        self.end: Any = None  # of the one loop
        if one_loop:
            self.end = self.top.and_(function.args[-1], ir.Constant(I64, -WHOLE))
        self.b = ir.IRBuilder(function.append_basic_block())
        work = plan.cells
        for (cell, _), argument, strides in zip(arrays, function.args, given):
            place = Place(argument, {self.dim[a]: n for a, n in strides.items() if a in self.last})
            inner = any(d > min(cell.over) for d in cell.dims) if cell.over else True
            if cell in self.place or not inner:  # it is shown twice, or summed in a register
                cell = Cell(cell.dtype, cell.axes, lambda b, x: x, [cell])
                cell.dims, cell.over = cell.operands[0].dims, frozenset()
                work.append(cell)
            self.place[cell] = place
        self.number = {cell: k for k, cell in enumerate(work)}
        self.at: dict[int, Any] = {}
        self.whole = {cell for cell, _ in (*plan.inputs, *plan.outputs)}
        self.emit(BLOCKS if self.rows else 0, work, [{}])
        self.b.ret_void()
        self.top.branch(function.blocks[1])
        self.cost = sum(  # of one loop what each entry costs
            cell.price * (1 if one_loop else math.prod(self.sizes[d] for d in span(cell) if d >= 0))
            for cell in plan.cells
        )

    def dims(self, plan: Plan, given: Sequence[dict[Axis, int]]) -> list[int]:
        """The sizes of the dims; gives the cells theirs."""
        parts: list[list[Axis]] = []
        apart = {axis.root() for axis in plan.apart}
        for axis in plan.axes:
            near = bool(parts) and apart.isdisjoint((parts[-1][-1], axis))
            if near and joined(parts[-1][-1], axis, plan, given):
                parts[-1].append(axis)
            else:
                parts.append([axis])
        self.dim = {axis: k for k, part in enumerate(parts) for axis in part}
        self.last = {part[-1] for part in parts}
        for cell in plan.every():
            cell.dims = frozenset(self.dim[a] for a in cell.axes)
            cell.over = frozenset(self.dim[a] for a in cell.over)
        return [math.prod(axis.size for axis in part) for part in parts]

    def blocks(self, plan: Plan, given: Sequence[dict[Axis, int]]) -> None:
        """The dims that rows are, and how many of them are a block: all, where one array goes along
        two of them."""
        self.rows = frozenset(self.dim[a.root()] for a in plan.rows)
        self.row = 0
        self.first: Any = None  # the first row of the block that is written
        self.most = max((self.sizes[d] for d in self.rows), default=0)
        cells = plan.every() if self.rows else []
        if all(len(span(cell) & self.rows) < 2 for cell in cells):
            inner = [(cell, cell.dims - self.rows) for cell in cells if cell.dims & self.rows]
            arrays = {cell for cell, _ in (*plan.inputs, *plan.outputs)}
            self.row = sum(
                math.prod(self.sizes[d] for d in dims) * cell.dtype.itemsize
                for cell, dims in inner
                if cell in arrays
            )
            self.most = min(self.most, MOST, max(1, BLOCK // max(1, self.row)))
        for cell in cells:
            cell.dims |= {BLOCKS} if cell.dims & self.rows else {*()}
            cell.over |= {BLOCKS} if cell.over & self.rows else {*()}

    # what is done at each level

    def emit(self, level: int, work: list[Cell], env: list[dict[Cell, Term]]) -> None:
        """Write what computes these cells, in their order, inside of the loops over the dims before
        `level`. `env`: the numbers that are there, for each row that is done at once."""
        if level == len(self.sizes):
            for known in self.each_row(env):
                for cell in work:
                    self.compute(cell, known)
            return
        for along, part in self.phases(level, work):
            if not along:
                self.emit(level + 1, part, env)
                continue
            for _ in self.each_row(env):
                for cell in part:
                    if cell.over and min(cell.over) == level:
                        self.begin(cell)
            if level == BLOCKS:
                with self.block():
                    self.emit_block(part, env)
            elif self.bands and level in self.rows and max(map(max, map(span, part))) > level:
                self.emit_rows(level, part, env)
            else:
                with self.loop(level, vectors=VECTORS * self.waits(level, part)):
                    self.emit(level + 1, part, [{**known} for known in env])

    def waits(self, level: int, part: list[Cell]) -> bool:
        """Whether in the innermost loop so much is done of each of so many numbers, one after the
        other, that it takes as long as its parts have to wait for each other."""
        if level + 1 < len(self.sizes) or sum(cell.price for cell in part) <= LATE:
            return False
        dims: set[int] = set().union(*map(span, part)) - {BLOCKS}
        return math.prod(self.sizes[d] for d in dims) >= MANY

    def emit_rows(self, level: int, part: list[Cell], env: list[dict[Cell, Term]]) -> None:
        """Write what goes along the rows of matrices, several of them at once: a sum over the rows
        is read and written once for all of these."""
        low, high = self.bounds(level, 0, self.sizes[level])
        n = AT_ONCE
        while n > 1 and n * self.row > NEAR and not any(BLOCKS in cell.over for cell in part):
            n //= 2
        if isinstance(high, ir.Constant):
            after = ir.Constant(I64, high.constant // n * n)
        else:
            several = self.b.and_(self.b.sub(high, low), ir.Constant(I64, -n))
            after = self.b.add(low, several, flags=("nuw", "nsw"))
        with self.loop_between(level, low, after, n):
            first = self.at[level]
            ahead = [self.b.add(first, ir.Constant(I64, k)) for k in range(n)]
            self.at_once = level, ahead
            self.emit(level + 1, part, [{**env[0]} for _ in ahead])
        if n == 1:
            return
        with self.loop_between(level, after, high):
            self.emit(level + 1, part, [{**env[0]}])

    def each_row(self, env: list[dict[Cell, Term]]) -> Iterator[dict[Cell, Term]]:
        """What is known of each of the rows that are done at once."""
        for k, known in enumerate(env):
            if len(env) > 1:
                dim, ahead = self.at_once
                self.at[dim] = ahead[k]
            yield known

    def emit_block(self, part: list[Cell], env: list[dict[Cell, Term]]) -> None:
        """Write what is done in a block: what slices are made of, and these."""
        for cell in part if self.bands else ():
            if cell.over and BLOCKS in cell.dims and cell not in self.place:
                self.place[cell] = self.sum_on_stack([d for d in cell.dims if d >= 0], cell.dtype)
        later = {cell: [cell] for cell in self.slices}
        for cell in part:
            for made in later.values():
                if cell not in made and not set(made).isdisjoint(cell.operands):
                    made.append(cell)
        rest = [c for c in part if not any(c in made for made in later.values())]
        sums = [cell for cell in later if cell in part]
        beside = rest if sums and self.go_along(rest, sums[0]) else []
        if not beside:
            self.emit(0, rest, [{**env[0]}])
        for cell in sums:
            self.add_slices(cell, later[cell][1:], beside if cell is sums[0] else [])

    def go_along(self, cells: list[Cell], total: Cell) -> bool:
        """Whether all these are made row by row as the first part of a sum of slices is, and none
        is an array, of which other parts may read other rows."""
        first = self.slices[total][0].part
        return all(
            span(c) == span(first) and (BLOCKS in c.over if c.over else c not in self.place)
            for c in cells
        )

    @contextmanager
    def block(self) -> Iterator[None]:
        """What is written here is done for each block of rows."""
        size = max(self.sizes[d] for d in self.rows)
        if self.most >= size:
            self.first = ir.Constant(I64, 0)
            yield
        else:
            with self.loop(BLOCKS, 0, size, self.most):
                self.first = self.at[BLOCKS]
                yield
        self.first = None

    def bounds(self, dim: int, first: int, end: int) -> tuple[Any, Any]:
        """From where to where a loop goes; of rows, in the block."""
        low, high = ir.Constant(I64, first), self.end or ir.Constant(I64, end)
        if self.first is None or dim not in self.rows or isinstance(self.first, ir.Constant):
            return low, high
        after = self.b.add(self.first, ir.Constant(I64, self.most), flags=("nuw", "nsw"))
        later = self.b.icmp_unsigned(">", self.first, low)
        before = self.b.icmp_unsigned("<", after, high)
        low = self.b.select(later, self.first, low) if first else self.first
        return low, self.b.select(before, after, high)

    def phases(self, level: int, work: list[Cell]) -> list[tuple[bool, list[Cell]]]:
        """The phases of a level: whether it is a loop, and what is done in it."""
        phase: dict[Cell, int] = {}
        kinds: list[tuple[bool, bool]] = []
        apart = self.bands and level in self.rows
        for cell in work:
            kind, least = kind_at(level, cell, apart), 0
            for x in cell.operands:
                if x in phase:
                    waits = kind_at(level, x, apart) != kind or level in x.over
                    least = max(least, phase[x] + waits)
            k = next((k for k in range(least, len(kinds)) if kinds[k] == kind), len(kinds))
            if k == len(kinds):
                kinds.append(kind)
            phase[cell] = k
        parts: list[set[Cell]] = [set() for _ in kinds]
        for cell, k in phase.items():
            parts[k].add(cell)
        for k, part in enumerate(parts):
            self.complete(k, part, phase, level)
        return [
            (along, sorted(part, key=lambda c: self.number[c]))
            for (along, _), part in zip(kinds, parts)
        ]

    def complete(self, k: int, part: set[Cell], phase: dict[Cell, int], level: int) -> None:
        """See that a phase finds what others before it computed: it is kept, or computed again."""
        todo = [*part]
        while todo:
            for x in todo.pop().operands:
                before = x in phase and phase[x] < k and x not in part
                if not before or x in self.place or max(x.dims, default=-1) < max(level, 0):
                    continue
                if x.over and min(x.over) <= level:  # it has a place when it begins
                    continue
                if not self.keep(x, level, phase):
                    part.add(x)
                    todo.append(x)

    def keep(self, x: Cell, level: int, phase: dict[Cell, int]) -> bool:
        """Whether it is kept from one phase to the next."""
        shape = [d for d in sorted(x.dims) if d >= max(level, 0)]
        nbytes = math.prod(map(self.length, shape)) * x.dtype.itemsize
        cheap = not x.over and self.cost_again(x, phase) <= CHEAP
        if cheap or self.scratch + nbytes > SCRATCH:
            return False
        self.place[x] = self.on_stack(shape, x.dtype)
        return True

    def cost_again(self, x: Cell, phase: dict[Cell, int]) -> int:
        cost, todo = 0, [x]
        while todo and cost <= CHEAP:
            cell = todo.pop()
            cost += cell.price
            todo += [y for y in cell.operands if y in phase and not (y in self.place or y.over)]
        return cost

    def on_stack(self, shape: list[int], dtype: np.dtype[Any]) -> Place:
        """Memory for an array of these dims."""
        strides, step = {}, 1
        for d in reversed(shape):
            strides[d] = step
            step *= self.length(d)
        pointer = self.top.alloca(place_of(dtype), step)
        if shape:
            pointer.align = 64
            self.scratch += step * dtype.itemsize
        return Place(pointer, strides, self.first is not None)

    def length(self, dim: int) -> int:
        """How many entries of a dim there are, in a block if one is written."""
        size = self.sizes[dim]
        return min(size, self.most) if self.first is not None and dim in self.rows else size

    # sums

    def begin(self, cell: Cell) -> None:
        """Give a sum what it starts with."""
        inner = [d for d in sorted(cell.dims) if d > min(cell.over)]
        if cell not in self.place:
            self.place[cell] = self.sum_on_stack(inner, cell.dtype)
        self.fill(cell, inner)

    def sum_on_stack(self, dims: list[int], dtype: np.dtype[Any]) -> Place:
        place = self.on_stack(sorted(dims), dtype)
        if self.scratch > SCRATCH:
            raise Refused("a sum that is too long for the stack")
        return place

    def fill(self, cell: Cell, dims: list[int]) -> None:
        if dims:
            with self.loop(dims[0]):
                self.fill(cell, dims[1:])
        else:
            self.store(cell, number(self.b, cell.start, cell.dtype))

    # slices

    def add_slices(self, cell: Cell, later: list[Cell], beside: list[Cell]) -> None:
        """Between rows where a part begins or ends, the same parts are added: a loop for each.
        `later`: what is made of each number at once; `beside`: what is made of the first part's
        rows."""
        if any(span(x) != span(cell) for x in later):
            raise Refused("another loop over a sum of slices")
        parts = [
            (
                part,
                {self.dim[own.root()]: (self.dim[axis.root()], *ends) for own, axis, *ends in cuts},
            )
            for part, cuts in self.slices[cell]
        ]
        self.add_along(sorted(cell.dims - {BLOCKS}), [cell, *later], parts, beside)

    def add_along(self, dims: list[int], cells: list[Cell], parts: Any, beside: list[Cell]) -> None:
        """The loops over these dims, in which parts are added."""
        if not dims:
            self.add_entries(cells, parts, beside)
            return
        dim, *inner = dims
        cuts = [cut[1:] for _, places in parts for own, cut in places.items() if own == dim]
        ends = sorted({0, self.sizes[dim], *(n for cut in cuts for n in cut)})
        for low, high in pairwise(ends):
            there = [
                (part, places)
                for part, places in parts
                if dim not in places or (places[dim][1] <= low and high <= places[dim][2])
            ]
            first = beside if there[:1] == parts[:1] else []
            with self.loop(dim, low, high):
                self.add_along(inner, cells, there, first)

    def add_entries(self, cells: list[Cell], parts: Any, beside: list[Cell]) -> None:
        cell, *later = cells
        sum_ = number(self.b, 0, cell.dtype)
        for part, places in parts:
            for own, (dim, first, _) in places.items():
                at = self.b.sub(self.at[own], ir.Constant(I64, first), flags=("nsw",))
                self.at[dim] = at
            known: dict[Cell, Term] = {}
            for x in beside:
                self.compute(x, known)
            beside = []  # that was the first part
            sum_ = sum_ + self.again(part, known)
        self.store(cell, sum_)
        env = {cell: sum_}
        for x in later:
            self.compute(x, env)

    def again(self, cell: Cell, env: dict[Cell, Term]) -> Term:
        """The number of a cell, from what is in the arrays."""
        if cell not in env:
            if cell in self.whole and cell in self.place:
                env[cell] = self.load(cell)
            elif cell.over or cell.make is None:
                raise Refused("a slice of what depends on a sum")
            else:
                env[cell] = cell.make(self.b, *[self.again(x, env) for x in cell.operands])
        return env[cell]

    # single numbers

    def compute(self, cell: Cell, env: dict[Cell, Term]) -> None:
        assert cell.make is not None
        xs = [self.value(x, env) for x in cell.operands]
        if cell.over:
            x = converted(xs[0], cell.operands[0].dtype, cell.dtype)
            self.store(cell, cell.make(self.load(cell), x))
            return
        env[cell] = made = cell.make(self.b, *xs)
        if cell in self.place:
            self.store(cell, made)

    def value(self, cell: Cell, env: dict[Cell, Term]) -> Term:
        if cell in env:
            return env[cell]
        x = self.load(cell)
        if not cell.over:
            env[cell] = x
        return x

    def address(self, cell: Cell) -> Any:
        place = self.place[cell]
        at = ir.Constant(I64, 0)
        for d, stride in place.strides.items():
            index = (
                self.b.sub(self.at[d], self.first) if place.block and d in self.rows else self.at[d]
            )
            step = self.b.mul(index, ir.Constant(I64, stride)) if stride != 1 else index
            at = self.b.add(at, step) if stride else at
        return self.b.gep(place.pointer, [at], inbounds=True, source_etype=place_of(cell.dtype))

    def load(self, cell: Cell) -> Term:
        x = self.b.load(self.address(cell), typ=place_of(cell.dtype))
        return Term(self.b, self.b.trunc(x, BOOL) if cell.dtype.kind == "b" else x)

    def store(self, cell: Cell, x: Term) -> None:
        kind = place_of(cell.dtype)
        self.b.store(self.b.zext(x.v, kind) if cell.dtype.kind == "b" else x.v, self.address(cell))

    @contextmanager
    def loop(
        self, dim: int, first: int = 0, end: int = 0, step: int = 1, vectors: int = 0
    ) -> Iterator[None]:
        """What is written in the block is done for each index, from the first to the end, of so
        many vectors at once, or of as many as LLVM likes."""
        bounds = self.bounds(dim, first, end or self.sizes[dim])
        with self.loop_between(dim, *bounds, step, vectors):
            yield

    @contextmanager
    def loop_between(
        self, dim: int, low: Any, high: Any, step: int = 1, vectors: int = 0
    ) -> Iterator[None]:
        """The same, of what may be known when it runs only."""
        b = self.b
        head, after = b.append_basic_block(), b.append_basic_block()
        before = b.block
        if (
            isinstance(high, ir.Constant)
            and isinstance(low, ir.Constant)
            and low.constant < high.constant
        ):
            b.branch(head)
        else:
            b.cbranch(b.icmp_unsigned("<", low, high), head, after)
        b.position_at_end(head)
        self.at[dim] = i = b.phi(I64)
        i.add_incoming(low, before)
        yield
        following = b.add(i, ir.Constant(I64, step), flags=("nuw", "nsw"))
        i.add_incoming(following, b.block)
        again = b.cbranch(b.icmp_unsigned("<", following, high), head, after)
        if vectors:
            again.set_metadata("llvm.loop", interleaved(b.module, vectors))
        b.position_at_end(after)


def interleaved(module: Any, vectors: int) -> Any:
    """What tells LLVM to do so many vectors of a loop at once; it begins with itself."""
    count = module.add_metadata(["llvm.loop.interleave.count", ir.Constant(I32, vectors)])
    found = ir.MDValue(module, (), name=str(len(module.metadata)))
    found.operands = found, count
    return found


def kind_at(level: int, cell: Cell, apart: bool) -> tuple[bool, bool]:
    """Whether there is a loop over a level around it, and, if these are `apart`, others in that."""
    return level in span(cell), apart and max(span(cell), default=level) > level


def span(cell: Cell) -> Any:
    """The dims of the loops that a cell is computed in."""
    return cell.dims | cell.over


def by_axis(axes: Axes, strides: Sequence[int]) -> dict[Axis, int]:
    found = {}
    for axis, step in zip(axes, strides):
        for part in reversed(axis.all() if axis else []):
            found[part] = step
            step *= part.size
    return found


def joined(a: Axis, b: Axis, plan: Plan, given: Sequence[dict[Axis, int]]) -> bool:
    """Whether two dims can be one: everybody has both or none, one after the other in memory."""
    for cell in plan.every():
        if (a in cell.axes) != (b in cell.axes) or (a in cell.over) != (b in cell.over):
            return False
    return all(x[a] == x[b] * b.size for x in given if a in x)

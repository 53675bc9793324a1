"""What is done for each example of a batch is done for both halves of it at once, in two threads.

Each axis of an operation's arrays has a *label*: one along which it goes through several arrays
together is the same label. An array that is *split* along one splits others there; what adds up
along it is one sum for each half. All else waits until both halves are done, or is made before.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.compiler.costs import bytes_of, flops
from tensorgrad.compiler.lives import views
from tensorgrad.compiler.names import UPDATE
from tensorgrad.compiler.passes import tidy
from tensorgrad.compiler.passes.pooling import LARGEST, TO_LARGEST
from tensorgrad.compiler.passes.rewrite import shape_of
from tensorgrad.compiler.program import (
    IMPURE,
    ROWS_ADDED,
    TURNS,
    Halves,
    Instruction,
    Program,
    axes_of,
    axis_of,
    converted,
    found_in,
    is_basic,
    is_elementwise,
    is_reduction,
    plus_product,
    replaced,
    sum_of_slices,
    turned,
    with_items,
)
from tensorgrad.ops.nn.conv import by_rows, conv_rows, transposed_rows, weight_rows

ENOUGH = 1000.0
"""Microseconds of work that are worth two threads: a step of 400 took 1 to 1.3 of its time so."""
STOP = 200.0
"""As many in one go: a thread that waits needs 20 to 50 to go on."""
CHEAP = 50.0
"""As many may be spent before, by one thread, for the rest to be done without a stop."""
Labels = tuple[Any, ...]


class Place(NamedTuple):
    """Where an array is split: along which axis, in how many blocks of it each."""

    axis: int
    blocks: int = 1


class Reading(NamedTuple):
    """How an operation goes along its arrays: `labels` of the axes of each, None where it may not
    be split, and of the result's, `out`. `adds`: whether labels that the result has not are summed
    over; `call`: its arguments and settings, of arrays and the shape of the result."""

    arrays: Sequence[Any]
    labels: Sequence[Labels]
    out: Labels
    adds: bool
    call: Callable[[Sequence[Any], tuple[int, ...]], tuple[Any, Any]]


def reading(i: Instruction) -> Reading | None:
    """Of an instruction; None where nothing is known of it."""
    f, args, kwargs = i.function, i.args, i.kwargs
    shape = i.shape
    if shape is None or found_in([*kwargs.values()]):
        return None
    out: Labels = (*range(len(shape)),)

    def along(x: Any) -> Labels:
        """Labels of what is broadcast to the result."""
        of = shape_of(x)
        first = len(out) - len(of)
        return tuple(first + k if n == shape[first + k] else None for k, n in enumerate(of))

    def plain(xs: Sequence[Any], _: Any) -> tuple[Any, Any]:
        return (*xs, *args[len(xs) :]), kwargs

    if (is_elementwise(i) and f.nout == 1 and len(args) == f.nin) or f is np.where:
        if kwargs.keys() - {"dtype", "casting"}:
            return None
        return Reading(args, [*map(along, args)], out, False, plain)
    if f in (converted, np.copy, np.zeros_like, np.ones_like) and len(found_in(args)) == 1:
        return Reading(args[:1], [along(args[0])], out, False, plain)
    if f is np.broadcast_to and not kwargs:
        return Reading(args[:1], [along(args[0])], out, False, lambda xs, to: ((xs[0], to), {}))
    if f in (np.matmul, np.dot, operator.matmul):
        return product(i, plain)
    if f is plus_product:
        rows, inner, columns = "rows", "inner", "columns"
        xs = (inner, rows) if kwargs.get("x_turned") else (rows, inner)
        ys = (columns, inner) if kwargs.get("y_turned") else (inner, columns)
        several: list[Labels] = [(rows, columns), (), xs, ys, ()]
        return Reading(args, several[: len(args)], (rows, columns), False, plain)
    if is_reduction(f) and len(args) == 1 and not kwargs.keys() - {"axis", "keepdims", "dtype"}:
        x = (*range(len(shape_of(args[0]))),)
        gone, kept = axes_of(i), kwargs.get("keepdims", False)
        left = tuple(None if k in gone else k for k in x if kept or k not in gone)
        return Reading(args, [x], left, f == np.add.reduce, plain)
    if f in TURNS:
        return Reading(args[:1], [out], out, False, plain)._replace(out=(*turned(i),))
    if f in (np.concatenate, np.stack) and (axis := axis_of(i)) is not None:
        axis %= len(shape)
        blocked = tuple(None if k == axis else k for k in out)
        each = tuple(k for k in out if k != axis) if f is np.stack else blocked
        rest = args[1:]
        return Reading(
            *(args[0], [each] * len(args[0]), blocked, False),
            lambda xs, _: ((type(args[0])(xs), *rest), kwargs),
        )
    if f is operator.getitem:
        return item(i, plain)
    if f is with_items and is_basic(args[1]) and isinstance(args[0], Instruction):
        index = args[1] if type(args[1]) is tuple else (args[1],)
        labels, part = view(len(shape), index)
        of = shape_of(args[2])
        written = (*[None] * (len(of) - len(part)), *part[len(part) - len(of) :])
        written = tuple(None if n == 1 else k for n, k in zip(of, written))
        return Reading(
            *([args[0], args[2]], [labels, written], labels, False),
            lambda xs, _: ((xs[0], args[1], xs[1]), kwargs),
        )
    if f is sum_of_slices:
        each = tuple(
            k if all(place[k] == (0, n) for place in args[1]) else None for k, n in enumerate(shape)
        )
        return Reading(
            *(args[2], [each] * len(args[2]), each, False),
            lambda xs, to: ((to, within(args[1], each, to), (*xs,)), kwargs),
        )
    if f is np.take_along_axis and type(axis_at := [*args[2:], *kwargs.values()][0]) is int:
        blocked = tuple(None if k == axis_at % len(out) else k for k in out)
        return Reading(args[:2], [blocked] * 2, blocked, False, plain)
    if f is ROWS_ADDED:  # (rows, ...), (numbers): the sum of those of each number
        x, n = (*range(len(shape_of(args[0]))),), len(shape_of(args[1]))
        return Reading(args[:2], [x, x[:n]], (None,) * len(shape), True, plain)
    if f in (LARGEST, TO_LARGEST):  # of windows along the last axes
        n = len(shape) - len(kwargs["kernel_size"])
        each = (*range(n), *[None] * (len(shape) - n))
        return Reading(args, [each] * len(args), each, False, plain)
    if f is np.vecdot and not kwargs and len(args) == 2:
        xs, ys = ((*along(np.empty(shape_of(x)[:-1], "?")), "inner") for x in args)
        return Reading(args, [xs, ys], out, True, plain)
    if f is np.einsum and isinstance(args[0], str) and re.fullmatch(r"[a-zA-Z,]+->\w*", args[0]):
        words, _, result = args[0].partition("->")
        letters = [(*word,) for word in words.split(",")]
        return Reading(args[1:], letters, (*result,), True, lambda xs, _: ((args[0], *xs), kwargs))
    if f is by_rows and args[0] in (conv_rows, transposed_rows, weight_rows):
        return convolution(i)
    return None


def product(i: Instruction, plain: Any) -> Reading | None:
    """Of a product of matrices, or stacks of them, or a vector."""
    x, y = (len(shape_of(z)) for z in i.args[:2])
    if i.kwargs or len(i.args) != 2 or not x or not y or (i.function is np.dot and max(x, y) > 2):
        return None
    n = max(x, y) - 2
    stack = [*range(n)]
    sizes = (i.shape or ())[:n] if n > 0 else ()

    def stacked(z: Any, m: int) -> list[Any]:
        first = n - (m - 2)
        of = shape_of(z)[: max(m - 2, 0)]
        return [first + k if size == sizes[first + k] else None for k, size in enumerate(of)]

    rows, inner, columns = ["rows"] * (x > 1), "inner", ["columns"] * (y > 1)
    xs = (*stacked(i.args[0], x), *rows, inner)
    ys = (*stacked(i.args[1], y), inner, *columns)
    return Reading(i.args, [xs, ys], (*stack, *rows, *columns), True, plain)


def item(i: Instruction, plain: Any) -> Reading | None:
    """Of a view, rows of a table, or an entry of each row."""
    x, index = i.args
    several = index if type(index) is tuple else (index,)
    if isinstance(x, Instruction) and x.shape is None:
        return None
    ndim = len(shape_of(x))
    if is_basic(index):
        labels, out = view(ndim, several)
        return Reading([x], [labels], out, False, plain)
    if len(several) == 1 and isinstance(index, Instruction) and np.dtype(index.dtype).kind in "iu":
        n = len(shape_of(index))  # rows of a table
        names, rest_of = (*range(n),), (*(f"x{k}" for k in range(1, ndim)),)
        return Reading([x, index], [(None, *rest_of), names], (*names, *rest_of), False, plain)
    if len(several) == 2 and ndim == 2:  # an entry of each row
        first, second = several
        own = isinstance(first, np.ndarray) and first.shape == shape_of(x)[:1]
        if own and shape_of(second) == first.shape and (first == np.arange(len(first))).all():
            numbers = first[: len(first) // 2]
            return Reading(
                *([x, second], [(0, None), (0,)], (0,), False),
                lambda xs, _: ((xs[0], (numbers, xs[1])), {}),
            )
    return None


def within(places: Any, whole: Labels, shape: tuple[int, ...]) -> Any:
    """Places in half an array, which end where that does along an axis that all of them fill."""
    return tuple(
        tuple(at if k is None else (0, n) for at, k, n in zip(place, whole, shape))
        for place in places
    )


def view(ndim: int, several: Sequence[Any]) -> tuple[Labels, Labels]:
    """The labels of an array of so many axes, and of a view of it by this index: an axis of which
    a part is taken has none."""
    rest = ndim - sum(k is not None and k is not ... for k in several)
    if not any(k is ... for k in several):
        several = (*several, ...)
    labels: list[Any] = []
    out: list[Any] = []
    for k in several:
        if k is None:
            out.append(None)
        elif k is ...:
            new = [*range(len(labels), len(labels) + rest)]
            labels += new
            out += new
        elif type(k) is slice:
            label = len(labels) if k == slice(None) else None
            labels.append(label)
            out.append(label)
        else:
            labels.append(None)
    return (*labels,), (*out,)


def convolution(i: Instruction) -> Reading | None:
    """Along the images, of a convolution, its transpose and the gradient of its kernels."""
    f, geo, *xs = i.args
    labels = [("images", *[None] * (len(shape_of(x)) - 1)) for x in xs]
    out: Labels = ("images", *[None] * (len(i.shape or ()) - 1))
    if f is weight_rows:
        out = (None,) * len(out)
    else:
        labels[1:] = [(None,) * len(shape_of(x)) for x in xs[1:]]
    return Reading(xs, labels, out, f is weight_rows, lambda xs, _: ((f, geo, *xs), i.kwargs))


def reshaped(before: tuple[int, ...], after: tuple[int, ...], place: Place) -> Place | None:
    """Where an array is split after it is reshaped."""
    n, seen = math.prod(before[: place.axis]) * place.blocks, 1
    for k, size in enumerate(after):
        blocks = n // seen
        if blocks * seen == n and size % blocks == 0 and size > blocks:
            return Place(k, blocks) if size // blocks % 2 == 0 else None
        seen *= size
    return None


class Split(NamedTuple):
    """How an instruction is split: at a `place`, or None if each half makes a sum; `needs`: where
    each of the `arrays` is, or None; `call` as in a `Reading`."""

    place: Place | None
    arrays: Sequence[Any]
    needs: Sequence[Place | None]
    call: Any


def split_of(i: Instruction, along: dict[Instruction, Place]) -> Split | None:
    """How an instruction is split whose operands are; None where it cannot be."""
    if i.function is np.reshape and not i.kwargs and len(i.args) == 2:
        x = i.args[0]
        place = reshaped(x.shape, i.shape or (), along[x])
        return place and Split(place, [x], [along[x]], lambda xs, to: ((xs[0], to), {}))
    if i.function is operator.getitem and (split := some_blocks(i, along)):
        return split
    found = joined(i, along) or reading(i)
    if found is None:
        return None
    marks = {
        (of[along[x].axis], along[x].blocks, shape_of(x)[along[x].axis])
        for x, of in zip(found.arrays, found.labels)
        if isinstance(x, Instruction) and x in along
    }
    if len(marks) != 1:
        return None
    ((label, blocks, n),) = marks
    needs = []
    for x, of in zip(found.arrays, found.labels):
        if label is None or of.count(label) > 1:
            return None
        needs.append(Place(of.index(label), blocks) if label in of else None)
        if isinstance(x, Instruction) and x in along and along[x] != needs[-1]:
            return None
        if label in of and shape_of(x)[of.index(label)] != n:
            return None
    if label in found.out:
        axis = found.out.index(label)
        blocks *= (i.shape or ())[axis] // n  # several, one after the other
        return Split(Place(axis, blocks), found.arrays, needs, found.call)
    numeric = np.dtype(i.dtype).kind in "iufc"
    return Split(None, found.arrays, needs, found.call) if found.adds and numeric else None


def joined(i: Instruction, along: dict[Instruction, Place]) -> Reading | None:
    """Of arrays that are split along the axis at which they are joined."""
    axis = axis_of(i) if i.function is np.concatenate else None
    xs = i.args[0] if axis is not None else ()
    axis = axis and axis % len(i.shape or ())
    if not any(known(x) in along for x in xs):
        return None
    if any(along.get(known(x), (axis, 1)) != (axis, 1) for x in xs):
        return None
    labels = (*range(len(i.shape or ())),)
    return Reading(
        *(xs, [labels] * len(xs), labels, False),
        lambda ys, _: (([*ys], *i.args[1:]), i.kwargs),
    )


def some_blocks(i: Instruction, along: dict[Instruction, Place]) -> Split | None:
    """Of a slice that takes out some blocks, such as a step of a recurrent net."""
    x, index = i.args
    place = along.get(x) if isinstance(x, Instruction) else None
    several = [*(index if type(index) is tuple else (index,))]
    if place is None or any(type(k) not in (slice, type(...)) for k in several):
        return None
    if ... in several:
        at = several.index(...)
        several[at : at + 1] = [slice(None)] * (len(x.shape) - len(several) + 1)
    if len(several) <= place.axis:
        return None
    n = x.shape[place.axis]
    start, stop, step = several[place.axis].indices(n)
    n //= place.blocks
    if step != 1 or start % n or stop % n or start >= stop:
        return None
    several[place.axis] = slice(start // 2, stop // 2)
    there = Place(place.axis, (stop - start) // n)
    return Split(there, [x], [place], lambda xs, _: ((xs[0], (*several,)), {}))


def known(x: Any) -> Any:
    return x if isinstance(x, Instruction) else None


def work(i: Instruction) -> float:
    """Microseconds that an instruction takes, about."""
    if i.function is None or i.shape is None:
        return 0.0
    return max(flops(i) / 5e4, bytes_of(i) / 1e4)


def halves(program: Program, rest: Sequence[Callable[[Program], Program]] = ()) -> Program:
    """What is done for each example is done for both halves of the batch at once, and then the
    update for both halves of each parameter. `rest`: the passes that follow, through which the
    program of a half goes too."""
    program = tidy.dead_code(program)
    given = [x for x in program.inputs[: program.arguments] if x.shape]
    batches = [
        {x: Place(0) for x in given if x.shape and x.shape[0] == n}
        for n in dict.fromkeys(x.shape[0] for x in given if x.shape)
        if n and n % 2 == 0
    ]
    if len(batches) > 1:
        batches.sort(key=lambda seeds: sum(map(work, region_of(program, seeds))))
    for seeds in batches[-1:]:
        program = in_regions(program, seeds, rest)
    state = program.inputs[program.arguments :]
    some = [x for x in state if math.prod(x.shape or (0,))]
    halfway = {x: Place(x.order[0] if x.order else 0) for x in some}
    seeds = {x: at for x, at in halfway.items() if (x.shape or ())[at.axis] % 2 == 0}
    others = {i for i in program.body if i.scope is None or i.scope.step != UPDATE}
    return in_regions(program, seeds, rest, others)


def in_regions(
    program: Program,
    seeds: dict[Instruction, Place],
    rest: Sequence[Callable[[Program], Program]],
    others: Collection[Instruction] = (),
) -> Program:
    """The program with what is made of the seeds in halves, and of what that made, and so on, such
    as what follows the statistics of a batch; but for `others`."""
    for parts in (False, True):
        total, along, done = 0.0, seeds, {*others}
        while region := region_of(program, along, done):
            made = {i: split.place for i, split in region.items() if split.place}
            done.update(region)
            if (shared := sum(map(work, region))) > STOP:
                total += shared
                if parts:
                    program, made = parted(program, region, rest)
            along = {**along, **made}
        if total <= ENOUGH:
            break
    return program


def region_of(
    program: Program, seeds: dict[Instruction, Place], done: Collection[Instruction] = ()
) -> dict[Instruction, Split]:
    """What is made for each half of the seeds, and how, if it is not `done`."""
    before = {*done}  # which is made of the whole, before
    price: dict[Instruction, float] = {}
    for i in program.body:
        price[i] = work(i) + sum(price.get(x, 0) for x in {*i.operands})
    while True:
        along, later, region = dict(seeds), set[Instruction](), dict[Instruction, Split]()
        ends = []
        for i in program.body:
            if not later.isdisjoint(i.operands):
                later.add(i)
                if i not in before and i.function in LINEAR and {*i.operands} <= region.keys():
                    region[i] = sum_of_sum(i)
                continue
            if i in before:
                if not region.keys().isdisjoint(i.operands):
                    later.add(i)
                continue
            if i in seeds or isinstance(i.function, Halves):
                continue
            if along.keys().isdisjoint(i.operands):
                continue
            split = split_of(i, along)
            if split is not None:
                region[i] = split
            if split is None or split.place is None:
                later.add(i)
                ends.append(i)
            else:
                along[i] = split.place
        new = {i for i in ends if price[i] <= CHEAP}
        if not new:
            return region
        for i in reversed(program.body):
            if i in new:
                new.update(x for x in i.operands if x.function is not None)
        before |= new


LINEAR = np.add.reduce, np.reshape
"""What makes of a sum the sum of what it makes of each of two."""


def sum_of_sum(i: Instruction) -> Split:
    """What is made of each half's sum, to be added up itself."""
    return Split(None, i.args[:1], [None], lambda xs, _: ((*xs, *i.args[1:]), i.kwargs))


def parted(
    program: Program, region: dict[Instruction, Split], rest: Sequence[Callable[..., Program]]
) -> tuple[Program, dict[Instruction, Place]]:
    """The program with this region in halves, and where what they make is split."""
    outs, later = ends_of(program, region)
    if not outs:
        return program, {}
    half = Half(region, later)
    for i, split in region.items():
        half.take(i, split)
    ends = [half.end(i, region[i].place) for i in outs]
    half_program = Program(half.inputs, half.body, ends)
    for run in rest:
        half_program = run(half_program)
    half_program = with_own_memory(half_program)
    both = Instruction(Halves(half_program, half.axes), (*half.args,), None, None)
    made, whole = [both], dict[Instruction, Any]()
    places: dict[Instruction, Place] = {}

    def new(i: Instruction, f: Any, args: Any, shape: Any, order: Any = (), **how: Any) -> Any:
        made.append(Instruction(f, args, how, shape, i.dtype, i.name, i.scope, order))
        return made[-1]

    for n, (i, end) in enumerate(zip(outs, half_program.outputs)):
        place, order = region[i].place, getattr(end, "order", ())
        parts = [new(i, operator.getitem, (both, 2 * n + k), shape_of(end), order) for k in (0, 1)]
        if place is None:
            whole[i] = new(i, np.add, (*parts,), i.shape)
            continue
        axis, shape = place.axis + (place.blocks > 1), in_blocks(i.shape or (), place)
        whole[i] = new(i, np.concatenate, (parts,), shape, order, axis=axis)
        places[whole[i]] = Place(axis)
        if place.blocks > 1:
            whole[i] = new(i, np.reshape, (whole[i], i.shape), i.shape)
            places[whole[i]] = place
    return instead(program, region, [*half.before, *made], whole), places


def with_own_memory(program: Program) -> Program:
    """The program, whose outputs show no memory of an input's or of each other: who reads them
    takes each for an array of its own, and writes over it after its last reader."""
    of, known = views(program.body), {*program.inputs}
    for k, x in enumerate(program.outputs):
        if isinstance(x, Instruction) and x.shape:
            shown = of.get(x, {x})
            if not known.isdisjoint(shown):
                how = {} if x.order else {"order": "C"}
                copy = Instruction(np.copy, (x,), how, x.shape, x.dtype, x.name, x.scope, x.order)
                program.body.append(copy)
                program.outputs[k] = copy
            known |= shown
    return program


def ends_of(
    program: Program, region: Collection[Instruction]
) -> tuple[list[Instruction], set[Instruction]]:
    """What others read of a region, and all that depends on it; nothing where what is drawn does,
    which stays in its order."""
    body = program.body
    read = {x for i in body if i not in region for x in i.operands}
    read.update((*found_in(program.outputs), *program.guards))
    later = set(region)
    for i in body:
        if not later.isdisjoint(i.operands):
            later.add(i)
    drawn = any(i.function in IMPURE and i in later for i in body)
    return [] if drawn else [i for i in body if i in region and i in read], later


def instead(
    program: Program,
    region: Collection[Instruction],
    made: Sequence[Instruction],
    whole: dict[Instruction, Any],
) -> Program:
    """The program with what was `made` in place of a region, whose ends are `whole` now."""
    body, own = program.body, {*made}
    needed = {i for i in body if i.function in IMPURE}
    needed.update(x for i in made for x in i.operands if x not in own)
    for i in reversed(body):
        if i in needed:
            needed.update(i.operands)
    first = [i for i in body if i in needed]
    last = [i for i in body if i not in needed and i not in region]
    for i in last:
        i.call(i.function, replaced(i.args, whole), replaced(i.kwargs, whole))
    return program.with_body([*first, *made, *last], whole)


class Half:
    """The program of a half while it is made. `args`: what it is given, along `axes`; `made`: what
    stands in it for others; `before`: instructions that it wants made of the whole."""

    def __init__(self, region: Collection[Instruction], later: Collection[Instruction]) -> None:
        self.region, self.later = region, later
        self.args: list[Any] = []
        self.axes: list[int | None] = []
        self.inputs: list[Instruction] = []
        self.body: list[Instruction] = []
        self.before: list[Instruction] = []
        self.made: dict[Any, Any] = {}

    def take(self, i: Instruction, split: Split) -> Instruction:
        """What it is for a half."""
        xs = [self.part(x, place) for x, place in zip(split.arrays, split.needs)]
        shape = halved(i.shape or (), split.place)
        args, kwargs = split.call(xs, shape)
        self.made[i] = new = self.add(i, args, kwargs, shape)
        return new

    def add(self, i: Instruction, args: Any, kwargs: Any, shape: Any, f: Any = None) -> Instruction:
        order = () if f else i.order
        new = Instruction(f or i.function, args, kwargs, shape, i.dtype, i.name, i.scope, order)
        self.body.append(new)
        return new

    def end(self, i: Instruction, place: Place | None) -> Instruction:
        """What is put out for an instruction: with an axis of blocks, if it has several."""
        if place is None or place.blocks == 1:
            return self.made[i]  # type: ignore[no-any-return]
        shape = halved(in_blocks(i.shape or (), place), Place(place.axis + 1))
        return self.add(i, (self.made[i], shape), {}, shape, np.reshape)

    def part(self, x: Any, place: Place | None) -> Any:
        """What stands for an argument."""
        if isinstance(x, Instruction) and x in self.region:
            return self.made[x]
        shape = shape_of(x)
        if not shape and not isinstance(x, Instruction):
            return x
        key = (x if isinstance(x, Instruction) else id(x), place)
        if key not in self.made:
            self.made[key] = self.given(x, shape, place)
        return self.made[key]

    def given(self, x: Any, shape: tuple[int, ...], place: Place | None) -> Instruction:
        """What the program is given for something that is made before."""
        if place is None and isinstance(x, Instruction) and x.function in TURNS:
            args = self.part(x.args[0], None), *x.args[1:]  # passes look for them
            return self.add(x, args, x.kwargs, shape)
        x = x if isinstance(x, Instruction) else np.asarray(x)
        if place is not None and place.blocks > 1:
            apart = in_blocks(shape, place)
            name = getattr(x, "name", "")
            self.before.append(Instruction(np.reshape, (x, apart), None, apart, x.dtype, name))
            new = self.part(self.before[-1], Place(place.axis + 1))
            here = halved(shape, place)
            return self.add(new, (new, here), {}, here, np.reshape)
        self.args.append(x)
        self.axes.append(place and place.axis)
        order, name = getattr(x, "order", ()), getattr(x, "name", "")
        new = Instruction(None, (), None, halved(shape, place), x.dtype, name, order=order)
        self.inputs.append(new)
        return new


def halved(shape: tuple[int, ...], place: Place | None) -> tuple[int, ...]:
    """The shape of half an array."""
    return tuple(n // 2 if place and k == place.axis else n for k, n in enumerate(shape))


def in_blocks(shape: tuple[int, ...], place: Place | None) -> tuple[int, ...]:
    """The shape with an axis of blocks before that of what is in a block, if there are several."""
    if place is None or place.blocks == 1:
        return shape
    axis, n = place
    return *shape[:axis], n, shape[axis] // n, *shape[axis + 1 :]

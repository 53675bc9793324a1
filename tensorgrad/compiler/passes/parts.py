"""Arrays that are put together and taken apart again: who reads a part is given the part.

The result of a recurrent layer holds what all times made, and its rule reads it time by time.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import is_array, rewritten, shape_of
from tensorgrad.compiler.program import (
    TURNS,
    Instruction,
    Program,
    axis_of,
    found_in,
    turned,
    with_items,
)

Region = tuple[tuple[int, int], ...]
"""Of each axis the first that is read, and the one after the last."""
FAR = 1 << 9
"""Through how many writes a part is looked for, one after the other..."""
DEEP = 64
"""... and into how many arrays and views of arrays."""


def parts(program: Program) -> Program:
    """A part of what was written by parts, concatenated or stacked is that part, also where it was
    transposed and reshaped in between."""

    def rule(i: Instruction) -> Any:
        if i.function is not operator.getitem or not i.shape or not is_array(i.args[0]):
            return i
        x, shape = i.args[0], shape_of(i.args[0])
        region = region_of(i.args[1], shape) if 0 < math.prod(i.shape) < math.prod(shape) else None
        found = None if region is None else search.part(x, region)
        return i if found is None else reshaped(found, i.shape)

    search = Search()
    return rewritten(program, rule, {operator.getitem})


class Search:
    """For what makes a part of an array. `places`: by write, the series that it is in, and the
    number of it there."""

    def __init__(self) -> None:
        self.places: dict[Instruction, tuple[Series, int]] = {}

    def place(self, x: Any) -> tuple[Series, int]:
        """Where a write is; those before it are found as well."""
        new = []
        while x not in self.places and is_write(x):
            new.append(x)
            x = x.args[0]
        for write in reversed(new):
            series, k = self.places.get(x, (None, 0))
            if series is None or k + 1 < len(series.writes):
                series = Series(x)
            series.add(write)
            self.places[write] = series, len(series.writes) - 1
            x = write
        return self.places[x]

    def part(self, x: Any, region: Region, depth: int = 0) -> Instruction | None:
        """What makes this region of `x`, in as many axes; None if `x` alone does."""
        if not is_array(x) or depth > DEEP:
            return None
        f, lengths = x.function, lengths_of(region)
        if f is with_items:
            found = self.written(x, region, depth)
            return x if found is None and lengths == x.shape else found
        if lengths == x.shape:
            return x  # type: ignore[no-any-return]
        if f is np.zeros:
            return zeros(lengths, x)
        if f is np.concatenate or f is np.stack:
            return self.joined(x, region, depth)
        source = x.args[0] if x.args else None
        if f in TURNS:
            order = turned(x)
            inner = tuple(region[order.index(axis)] for axis in range(len(order)))
            found = self.part(source, inner, depth + 1)
            if found is None or found.function is np.zeros:
                return found and zeros(lengths, x)
            return made(np.transpose, (found, order), lengths, x)
        before = before_view(x, region) if is_array(source) else None
        found = None if before is None else self.part(source, before, depth + 1)
        return None if found is None else reshaped(found, lengths)

    def written(self, x: Any, region: Region, depth: int) -> Instruction | None:
        """The region of an array after writes: what one of them wrote, or several side by side."""
        pieces: list[tuple[Region, Instruction]] = []
        for _ in range(FAR):
            if not is_write(x):
                break
            series, k = self.place(x)
            if series.lengths:
                x = series.last(k, region)
                if not is_write(x):
                    break
                series, k = self.place(x)
            target = series.targets[k]
            if target is None:
                return None
            base, _, value = x.args
            if meet(region, target):
                common = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(region, target))
                lengths = lengths_of(target)
                wide = not is_array(value) or math.prod(value.shape) != math.prod(lengths)
                if (
                    wide
                    or value.dtype != x.dtype
                    or any(meet(common, other) for other, _ in pieces)
                ):
                    return None
                value = reshaped(value, lengths)
                inner = tuple((a - c, b - c) for (a, b), (c, _) in zip(common, target))
                piece = self.part(value, inner, depth + 1) or cut(value, inner)
                if common == region:
                    return piece
                pieces.append((common, piece))
            x = base
        return side_by_side(pieces, region) if pieces else self.part(x, region, depth + 1)

    def joined(self, x: Instruction, region: Region, depth: int) -> Instruction | None:
        """The region of what is concatenated or stacked, if it is in one of its parts."""
        parts, axis = x.args[0], axis_of(x)
        if axis is None:
            return None
        axis %= len(region)
        stacked, (first, end), at = x.function is np.stack, region[axis], 0
        for y in parts if type(parts) in (list, tuple) else ():
            n = 1 if stacked else y.shape[axis]
            if at <= first and end <= at + n:
                if not is_array(y) or y.dtype != x.dtype:
                    return None
                here = () if stacked else ((first - at, end - at),)
                inner = (*region[:axis], *here, *region[axis + 1 :])
                return reshaped(self.part(y, inner, depth + 1) or cut(y, inner), lengths_of(region))
            at += n
        return None


def is_write(x: Any) -> bool:
    return type(x) is Instruction and x.function is with_items and bool(x.shape)


class Series:
    """Writes into an array, each into what the one before made, the first into `base`.

    `targets`: the regions that they go to, None where that is not known; `lengths`: those of all,
    if they lie in a grid, as what is made time by time does; `cells`: by the place in the grid, the
    numbers of the writes there.
    """

    def __init__(self, base: Any) -> None:
        self.base = base
        self.writes: list[Instruction] = []
        self.targets: list[Region | None] = []
        self.lengths: tuple[int, ...] = ()
        self.cells: dict[Any, list[int]] = {}

    def add(self, write: Any) -> None:
        target = region_of(write.args[1], write.shape)
        lengths = lengths_of(target) if target else ()
        if not self.writes and 0 not in lengths:
            self.lengths = lengths
        if self.lengths:
            cell = self.cell(target) if lengths == self.lengths else None
            if cell is None:
                self.lengths = ()
            else:
                self.cells.setdefault(cell, []).append(len(self.writes))
        self.writes.append(write)
        self.targets.append(target)

    def cell(self, region: Any) -> tuple[int, ...] | None:
        """The place in the grid of what is within one."""
        place = tuple(a // n for (a, _), n in zip(region, self.lengths))
        whole = all(b <= (k + 1) * n for (_, b), k, n in zip(region, place, self.lengths))
        return place if whole else None

    def last(self, k: int, region: Region) -> Any:
        """The last write, up to the one of number `k`, that a region may meet, or the base."""
        cell = self.cell(region)
        if cell is None:
            return self.writes[k]
        numbers = self.cells.get(cell, [])
        before = bisect_right(numbers, k)
        return self.writes[numbers[before - 1]] if before else self.base


def before_view(x: Instruction, region: Region) -> Region | None:
    """The region of what `x` is an index or a reshape of."""
    shape, source = shape_of(x), shape_of(x.args[0])
    if x.function is np.reshape and len(x.args) == 2 and not x.kwargs:
        return regrouped(region, shape, source)
    outer = region_of(x.args[1], source) if x.function is operator.getitem else None
    inner = None if outer is None else regrouped(region, shape, lengths_of(outer))
    if outer is None or inner is None:
        return None
    return tuple((a + c, b + c) for (a, b), (c, _) in zip(inner, outer))


def side_by_side(pieces: list[tuple[Region, Instruction]], region: Region) -> Instruction | None:
    """Pieces that do not meet, joined along the one axis in which they differ; None if that is
    not the region."""
    size = math.prod(lengths_of(region))
    if sum(math.prod(lengths_of(where)) for where, _ in pieces) != size:
        return None
    partial = {
        axis for where, _ in pieces for axis, ends in enumerate(where) if ends != region[axis]
    }
    if len(partial) != 1:
        return None
    (axis,) = partial
    parts = [piece for where, piece in sorted(pieces, key=lambda pair: pair[0][axis])]
    return Instruction(np.concatenate, (parts,), {"axis": axis}, lengths_of(region), parts[0].dtype)


def region_of(index: Any, shape: Sequence[int]) -> Region | None:
    """What an index of integers and slices reads; None of another one."""
    found = index if type(index) is tuple else (index,)
    counted = [x for x in found if x is not None and x is not ...]
    rest = [slice(None)] * (len(shape) - len(counted))
    at = next((k for k, x in enumerate(found) if x is ...), len(found))
    before, after = found[:at], found[at + 1 :]
    full = [x for x in (*before, *rest, *after) if x is not None]
    region = []
    for x, n in zip(full, shape):
        if type(x) is slice and not any(found_in(x)):
            start, stop, step = x.indices(n)
            if step != 1:
                return None
            region.append((start, max(start, stop)))
        elif isinstance(x, (int, np.integer)) and not isinstance(x, bool):
            region.append((int(x) % n, int(x) % n + 1))
        else:
            return None
    return tuple(region)


def regrouped(region: Region, shape: Sequence[int], source: Sequence[int]) -> Region | None:
    """The region of an array of shape `source` that is this one after a reshape to `shape`; None
    if it is in several pieces there."""
    if 0 in shape:
        return None
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(shape) or j < len(source):
        a, b = i, j
        i, j = min(i + 1, len(shape)), min(j + 1, len(source))
        while (m := math.prod(shape[a:i])) != (n := math.prod(source[b:j])):
            if m < n:
                i += 1
            else:
                j += 1
        group = flat(region[a:i], shape[a:i])
        ends = None if group is None else unflat(*group, source[b:j])
        if ends is None:
            return None
        found += ends
    return tuple(found)


def flat(region: Region, shape: Sequence[int]) -> tuple[int, int] | None:
    """Where a region begins, and how long it is, if it is all in one piece."""
    start, length, stride, whole = 0, 1, 1, True
    for (a, b), n in zip(reversed(region), reversed(shape)):
        if not whole and b - a > 1:
            return None
        start, length, stride = start + a * stride, length * (b - a), stride * n
        whole = whole and b - a == n
    return start, length


def unflat(start: int, length: int, shape: Sequence[int]) -> list[tuple[int, int]] | None:
    """The region of an array that begins there and is so long."""
    region: list[tuple[int, int]] = []
    for n in reversed(shape):
        if start % n == 0 and length % n == 0:
            region.append((0, n))
            start, length = start // n, length // n
        elif start % n + length <= n:
            region.append((start % n, start % n + length))
            start, length = start // n, 1
        else:
            return None
    return region[::-1]


def lengths_of(region: Region) -> tuple[int, ...]:
    return tuple(b - a for a, b in region)


def meet(region: Region, other: Region) -> bool:
    """Whether two regions have something in common."""
    for (a, b), (c, d) in zip(region, other):  # noqa: SIM110 - asked often: half the time
        if a >= d or c >= b:
            return False
    return True


def cut(x: Instruction, region: Region) -> Instruction:
    """The region as an index takes it out."""
    index = tuple(slice(a, b) for a, b in region)
    return made(operator.getitem, (x, index), lengths_of(region), x)


def reshaped(x: Instruction, shape: Sequence[int] | None) -> Instruction:
    shape = tuple(shape or ())
    while x.function is np.reshape and len(x.args) == 2 and not x.kwargs:
        x = x.args[0]
    if x.shape == shape:
        return x
    return zeros(shape, x) if x.function is np.zeros else made(np.reshape, (x, shape), shape, x)


def zeros(shape: tuple[int, ...], like: Instruction) -> Instruction:
    return made(np.zeros, (shape, like.dtype), shape, like)


def made(function: Any, args: Any, shape: tuple[int, ...], like: Instruction) -> Instruction:
    return Instruction(function, args, None, shape, like.dtype)


def sums_with_nothing(program: Program) -> Program:
    """What 0 is added to is the sum: only -0. would not be."""

    def rule(i: Instruction) -> Any:
        if i.function is not np.add or i.kwargs:
            return i
        for x, y in (i.args, i.args[::-1]):
            alike = is_array(x) and (x.shape, x.dtype) == (i.shape, i.dtype)
            if alike and isinstance(y, Instruction) and y.function is np.zeros:
                return x
        return i

    return rewritten(program, rule, {np.add})

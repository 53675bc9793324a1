"""The lines of a group of operations: a call of machine code, or a loop over blocks of rows, small
enough to stay in the cache from one operation to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.compiler.passes.fusion import added_by, ends, follows, is_product, rows_of
from tensorgrad.compiler.passes.parts import Region
from tensorgrad.compiler.passes.products import REAL
from tensorgrad.compiler.program import (
    ROWS_ADDED,
    Fused,
    Instruction,
    Program,
    converted,
    is_elementwise,
    is_masked,
    is_reduction,
    of_matrices,
    plus_product,
    sum_of_slices,
)
from tensorgrad.engine.dtypes import spelt

if TYPE_CHECKING:
    from tensorgrad.compiler.lives import Lives
    from tensorgrad.compiler.source import Writer

BUDGET = 1 << 20
"""The bytes that all blocks of a loop take together, about the second cache of a core. With half of
it a chain of 20 cheap operations on 1e7 floats takes a tenth more, with a fourth two tenths."""


def group(
    writer: Writer, i: Instruction, k: int, checked: bool, ends: list[Instruction], lives: Lives
) -> str:
    """The lines of a group. Each result has an array: an input's that it is written over, a
    buffer, or a new one."""
    fused, parts = i.function, writer.parts.get(i, {})
    inside = {x: y for x, y in zip(i.args, fused.program.inputs) if isinstance(x, Instruction)}
    lines, places = [], []
    for n, made in enumerate(fused.program.outputs):
        out = parts.get(n, i)
        source = writer.over.get(out) if writer.buffers else None
        reads = [x for x in i.operands if source in lives.roots(x)]
        own = all(x is source and may_be_over(fused, made, inside[x]) for x in reads)
        if source and writer.may_write(out, source, k, checked, lives, own):
            writer.written.add(source)
            name = writer.names[source]
        elif not made.shape:
            name = writer.new(out.name or "v")
        elif out in lives.kept or not writer.buffers:
            name = writer.names[out] = writer.new(out.name or "v")
            lines.append(writer.result(out))
        else:
            writer.release(done(out, i, made, inside, ends, lives)[:1])
            name = writer.buffer(out)
        writer.names[out] = name
        places.append(name)
    writer.release(ends)
    lines += kernel(writer, i, places) if fused.run else loop(writer, i, places)
    return "\n".join(lines)


def done(
    out: Instruction,
    i: Instruction,
    made: Instruction,
    inside: Mapping[Instruction, Instruction],
    ends: list[Instruction],
    lives: Lives,
) -> list[Instruction]:
    """What a result of a group may be written over: of its form, and read by nobody later."""
    return [
        x
        for x in ends
        if (x.shape, x.dtype, x.order) == (out.shape, out.dtype, out.order)
        if x in inside and may_be_over(i.function, made, inside[x])
        if all(y is x or x not in lives.roots(y) for y in i.operands)
    ]


def kernel(writer: Writer, i: Instruction, places: list[str]) -> list[str]:
    """The lines that call machine code, and what they mean."""
    program, run = i.function.program, i.function.run
    given = [*map(writer.text, i.args)]
    arrays, after = [], []
    for x, name in zip(program.outputs, places):
        if not x.shape:
            place = writer.new(f"{name}_array")
            writer.setup.append(f"{place} = np.empty((), {spelt(np.dtype(x.dtype))!r})")
            after.append(f"{name} = {place}[()]")
            name = place
        arrays.append(name)
    known = dict(zip(program.outputs, places))
    writer.names.update(zip(program.inputs, given))
    meaning = []
    for x in program.body:
        writer.names[x] = known.get(x) or writer.new(x.name or "v")
        meaning.append(f"#     {writer.names[x]} = {writer.expression(x)}")
    if i in writer.program.checks:
        meaning = ["#     the sum of the squares of all that is to be finite"]
    name = writer.constant(run, "product" if of_matrices(program.body[-1]) else "kernel")
    return [f"{name}({', '.join([*given, *arrays])})", *meaning, *after]


def loop(writer: Writer, group: Instruction, places: Sequence[str]) -> list[str]:
    """The lines of a group, whose results go into arrays of these names."""
    return Blocks(group.function).lines(writer, [*map(writer.text, group.args)], places)


def may_be_over(fused: Fused, out: Instruction, x: Instruction) -> bool:
    """Whether an output may be written over an input, block by block: nothing reads that later."""
    if fused.run:
        return each_alone(fused.program, out, x)
    for i in reversed(fused.program.body):
        if x in i.operands:
            return i is out and is_elementwise(i) and follows(i, x)
        if i is out:
            break
    return not ends(out) and all(follows(i, x) for i in fused.program.body if x in i.operands)


def each_alone(program: Program, out: Instruction, x: Instruction) -> bool:
    """Whether each number of an output is made of that of an input in its place, and maybe others,
    and nothing reads the input elsewhere: the number is read before it is written over."""
    shown = {*program.outputs}
    for i in program.body:
        if of_matrices(i):
            return i.function is plus_product and x is i.args[0] and x not in i.args[2:4]
        if i.operands and shown.issuperset(i.operands):  # it reads results alone
            shown.add(i)
        elif i.shape != x.shape or is_reduction(i.function) or i.function is ROWS_ADDED:
            return False
    needed = {out}
    for i in reversed(program.body):
        if i in needed:
            needed.update(i.operands)
    return x in needed


class Blocks:
    """How a group goes through its rows: how many at a time, and where each result goes.

    `slot`: the number of the block for the result of a member, which others use again;
    `slots`: the shape of a row, and the dtype, of each; `sums`: by member, the sum of slices that
    it is made in, to which others are added.
    """

    def __init__(self, fused: Fused) -> None:
        self.program: Program = fused.program
        self.by_rows = {x for i in self.program.body for x in i.operands if follows(i, x)}
        self.lead = self.long()
        self.n = rows_of(self.program.body[0])
        if self.lead:
            self.n = self.program.body[0].shape[len(self.lead)]  # type: ignore[index]
        self.slots: list[tuple[tuple[int, ...], Any]] = []
        self.slot: dict[Instruction, int] = {}
        self.sums: dict[Instruction, Instruction] = {}
        for i in self.program.body:
            if i.function is sum_of_slices and (part := self.made_in(i)):
                self.sums[part] = i
        self.share()
        seen = [x for x in (*self.program.inputs, *self.program.outputs) if self.is_block(x)]
        seen += [i for i in self.program.outputs if i.function is sum_of_slices]
        rows = [*((self.row(x), x.dtype) for x in seen), *self.slots]
        total = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in rows)
        count = max(1, min(self.n, BUDGET // max(1, total)))
        self.rows = 1 << (count.bit_length() - 1)

    def long(self) -> tuple[int, ...]:
        """The axes before the one that is taken in blocks: some, where a row is too long for the
        cache, and all arrays are of one shape, but for numbers."""
        shape, *others = {x.shape or () for x in (*self.program.body, *self.by_rows)}
        whole = any(x.shape for x in self.program.inputs if x not in self.by_rows)
        if others or whole or any(map(ends, self.program.body)):
            return ()
        size = sum(np.dtype(x.dtype).itemsize for x in (*self.by_rows, *self.program.outputs))
        depth = 0
        while depth < len(shape) - 1 and size * math.prod(shape[depth + 1 :]) > BUDGET:
            depth += 1
        return shape[:depth]

    def row(self, x: Instruction) -> tuple[int, ...]:
        """The shape of one of the rows that it is taken in blocks of."""
        return (x.shape or ())[len(self.lead) + 1 :]

    def is_block(self, x: Instruction) -> bool:
        """Whether an input, or an output, is an array that the loop takes rows of."""
        return x in self.by_rows if x.function is None else not ends(x)

    def matrices(self) -> dict[Instruction, None]:
        """Those from outside that are multiplied by vectors. BLAS goes through several rows at
        once, for which memory is slow: with one of 1e5 x 100 it takes 7 ms, but 1.3 where that is
        in the cache, and to read it in order takes 2.6."""
        products = [i for i in self.program.body if is_product(i) and i.function is not np.vdot]
        found = dict.fromkeys(x for i in products for x in i.operands if x.function is None)
        return {x: None for x in found if len(x.shape or ()) == 2 and x.dtype in REAL}

    def made_in(self, i: Instruction) -> Instruction | None:
        """The part of a sum of slices that can be made there: the one that lies ahead of others, if
        nobody reads it after these are added to it."""
        place = last_place(i)
        part = i.args[2][i.args[1].index(place)]
        readers = [user for user in self.program.body if part in user.operands]
        alone = part.function and has_slot(part) and i.operands.count(part) == 1
        alone = alone and is_whole(i, place) and part not in self.program.outputs
        return part if alone and readers[-1] is i else None

    def share(self) -> None:
        """Give a slot to each result that is not put out."""
        last = {x: k for k, i in enumerate(self.program.body) for x in i.operands}
        free: dict[Any, list[int]] = {}
        outputs = {*self.program.outputs}
        for k, i in enumerate(self.program.body):
            done = [x for x in dict.fromkeys(i.operands) if x in self.slot and last[x] == k]
            if is_elementwise(i):  # over an operand that it is the last to read
                for x in done:
                    free.setdefault(self.slots[self.slot[x]], []).append(self.slot[x])
            if i not in outputs and i not in self.sums and has_slot(i):
                key = self.row(i), i.dtype
                if not free.get(key):
                    free[key] = [len(self.slots)]
                    self.slots.append(key)
                self.slot[i] = free[key].pop()
            if not is_elementwise(i):
                for x in done:
                    free.setdefault(self.slots[self.slot[x]], []).append(self.slot[x])

    def lines(self, writer: Writer, given: Sequence[str], places: Sequence[str]) -> list[str]:
        n, step = self.n, self.rows
        program, names = self.program, writer.names
        views: dict[str, str] = {}  # what is in a name of the loop
        of: dict[str, str] = {}
        put = dict(zip(program.outputs, places))
        for x, name in (*zip(program.inputs, given), *put.items()):
            if not self.is_block(x):
                names[x] = name
                continue
            if name not in of:
                of[name] = writer.local(f"{name}_r")
                views[of[name]] = f"{name}[r]"
            names[x] = of[name]
        blocks = [writer.block((step, *shape), dtype) for shape, dtype in self.slots]
        slots = blocks
        if n % step:  # the last block is shorter
            slots = [writer.local(f"t_{k}" if k else "t") for k in range(len(blocks))]
            views |= {t: f"{block}[:{n} - i]" for t, block in zip(slots, blocks)}
        # Two threads would wait for each other, for Python's lock, between short calls.
        matrices = self.matrices() if writer.alone else ()
        body = [f"np.vdot({names[x]}, {names[x]})  # into the cache, in order" for x in matrices]
        after, before = [], []
        for i in program.body:
            if i.function is sum_of_slices:
                first, last = self.slices(writer, i, put[i], views)
                before += first
                body += last
            elif ends(i):
                parts = writer.block((-(-n // step), *(i.shape or ())), i.dtype, "parts")
                blocks.append(parts)
                body.append(f"{parts}[i // {step}] = {writer.expression(i)}")
                call = f"{writer.function(added_by(i).reduce)}({parts}, axis=0"
                name = put[i]
                after.append(f"{call}, out={name})" if i.shape else f"{name} = {call})")
            elif i in self.slot:
                names[i] = slots[self.slot[i]]
                body.append(written(writer, i))
            elif i in self.sums:
                total = self.sums[i]
                names[i] = names_of(writer, put[total], total, last_place(total))[1]
                body.append(written(writer, i))
            elif i in put:
                body.append(written(writer, i))
            else:
                names[i] = writer.new(i.name or "v")
                body.append(f"{names[i]} = {writer.expression(i)}")
        writer.give_back(blocks)
        r = f"slice(i, i + {step})"
        lines = [
            f"for i in range(0, {n}, {step}):  # in blocks that stay in the cache",
            f"    r = (*at, {r})" if self.lead else f"    r = {r}",
            *(f"    {name} = {view}" for name, view in views.items()),
            *(f"    {line}" for line in body),
        ]
        if self.lead:
            lines = [f"for at in np.ndindex{self.lead}:", *(f"    {line}" for line in lines)]
        return [*before, *lines, *after]

    def slices(
        self, writer: Writer, i: Instruction, name: str, views: dict[str, str]
    ) -> tuple[list[str], list[str]]:
        """The lines before the loop, and in it, of a sum of slices. Of the one that lies ahead of
        all others each block is the first to write to its rows; no block does to others, which are
        0."""
        n, before, body = self.n, [], []
        latest = last_place(i)
        ahead, fills = latest[0][0], is_whole(i, latest)
        if ahead:
            before.append(f"{name}[:{ahead}] = 0")
        if n + ahead < i.shape[0]:  # type: ignore[index]
            before.append(f"{name}[{n + ahead}:] = 0")
        if not fills:
            start = f"i + {ahead}" if ahead else "i"
            body.append(f"{name}[{start}:{start} + {self.rows}] = 0")
        for place, x in zip(i.args[1], i.args[2]):
            part, r = names_of(writer, name, i, place)
            before.append(f"{part} = {name}[{', '.join(f'{a}:{b}' for a, b in place)}]")
            views[r] = f"{part}[r]"
            if not fills or place != latest:
                body.append(f"np.add({r}, {writer.text(x)}, {r})")
            elif self.sums.get(x) is not i:
                body.insert(0, f"{r}[...] = {writer.text(x)}")
        return before, body


def is_whole(i: Instruction, place: Region) -> bool:
    """Whether these are whole rows of a sum of slices."""
    return place[1:] == tuple((0, n) for n in (i.shape or ())[1:])


def last_place(i: Instruction) -> Region:
    """The place of a sum of slices that begins with the last row, of whole rows if there are."""
    return max(i.args[1], key=lambda place: (place[0][0], is_whole(i, place)))


def names_of(writer: Writer, name: str, i: Instruction, place: Region) -> tuple[str, str]:
    """What a place of a sum of slices is called, and what a block of it is."""
    part = f"{name}_{i.args[1].index(place)}"
    return writer.local(part), writer.local(f"{part}_r")


def has_slot(i: Instruction) -> bool:
    """Whether its result goes where it is told to."""
    return i.function is not np.where or is_masked(i)


def written(writer: Writer, i: Instruction) -> str:
    """The line that writes a result into the array of its name."""
    name, call = writer.names[i], writer.expression(i)
    if i.function is converted:
        return f"{name}[...] = {writer.text(i.args[0])}"
    return writer.into(i, call) if has_slot(i) else f"{name}[...] = {call}"

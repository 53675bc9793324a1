"""NumPy code of a program: one line an instruction, results in arrays that are kept between calls.

What an elementwise function, a reduction or a matrix product makes goes by `out=` into a *buffer*,
which a later line uses again when nobody needs its numbers any more; or over an input that it is
the new value of, such as a parameter. What else is returned is new at each call. lives.py tells
what is needed until when, text.py writes calls, blocks.py the groups that run as one.
"""

from __future__ import annotations

import ctypes
import math
import operator
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.compiler.blas import adder
from tensorgrad.compiler.blocks import group
from tensorgrad.compiler.cache import binary
from tensorgrad.compiler.lives import (
    Lives,
    aims_of,
    homes_of,
    in_order,
    may_raise,
    packed,
    place_of,
    views,
)
from tensorgrad.compiler.names import Part
from tensorgrad.compiler.passes.rewrite import shape_of, uses
from tensorgrad.compiler.program import (
    TURNS,
    Fused,
    Halves,
    Instruction,
    Loop,
    Program,
    found_in,
    half_index,
    has_out,
    is_basic,
    is_count,
    is_elementwise,
    is_masked,
    is_part,
    item,
    joined_in,
    nbytes,
    plus_product,
    shares,
    turned,
    users_of,
    vacant,
    with_items,
)
from tensorgrad.compiler.repeats import Names, folded
from tensorgrad.compiler.text import BINDS, NAME, Text
from tensorgrad.compiler.threads import both
from tensorgrad.engine.dtypes import spelt


class Code(NamedTuple):
    """`source`, which defines `make(np, constants...)`; the names of the inputs; the constants by
    name; the inputs that a step writes over; how many bytes of buffers it keeps.

    `make` returns `step(inputs...)`, which answers the outputs in a tuple; or None if a check does
    not hold, before it writes over anything but what is to be replaced anyway.
    """

    source: str
    inputs: tuple[str, ...]
    constants: dict[str, Any]
    written: frozenset[Instruction]
    nbytes: int


WIDTH, WITHIN = 100, 80
"""How long a line is, and how long a number is that stands in the line of who reads it."""
CARE = "    return None  # to be made with care"
CHECK = -2
"""What a clock is told instead of the number of an instruction, after the look whether all is
finite."""
LARGE = 1 << 20
"""The bytes of a result from which on the memory of one before is used again."""
VIEWS = frozenset({np.transpose, np.swapaxes, np.reshape, operator.getitem})
FINITE = [
    "import math",
    "",
    "import numpy as np",
    "",
    "",
    "def finite(*xs):",
    "    squares = sum([abs(np.vdot(x, x)) for x in xs])",
    "    return math.isfinite(squares) or all(np.isfinite(x).all() for x in xs)",
    "",
    "",
]


class Buffer:
    """An array that is kept between calls, by the names of what it holds one after the other.
    `memory`: the shape that it has there; `key`: what it has room for, any shape of its size if it
    is in C's order; `since`: the line from which on it is in use; `busy`: those in which it was, as
    bits.
    """

    def __init__(self, i: Instruction) -> None:
        self.shape = shape = i.shape or ()
        self.order, self.key, self.names = i.order, room(i), dict[str, str]()
        self.memory = tuple(shape[axis] for axis in i.order) or shape
        self.nbytes, self.since, self.busy = nbytes(i), 0, 0
        self.kind = f"{self.memory!r}, {spelt(np.dtype(i.dtype))!r}"
        self.made = f"np.empty({self.kind})"
        self.turned = f".transpose({[*map(int, np.argsort(i.order))]})" if i.order else ""

    def free(self, line: int) -> None:
        """It is in use no more after this line."""
        self.busy |= (2 << line) - (1 << self.since)

    def __str__(self) -> str:
        return " = ".join([*self.names.values(), self.made + self.turned])


def room(i: Instruction) -> Any:
    """What tells which buffers have room for a result."""
    return (i.shape, i.dtype, i.order) if i.order else (math.prod(i.shape or ()), i.dtype)


def is_along(i: Instruction) -> bool:
    """Whether it goes entry by entry, into an array that it is told."""
    return (is_elementwise(i) and has_out(i)) or is_masked(i)


def is_in_place(i: Instruction) -> bool:
    """Whether it makes the same numbers over its operands: NumPy rounds one complex product
    otherwise there."""
    one = np.dtype(i.dtype).kind == "c" and math.prod(i.shape or ()) == 1
    return not (one and i.function in (np.multiply, np.square))


def is_filled(i: Instruction) -> bool:
    """Whether it is an array full of one number."""
    return i.function is np.full and bool(i.shape)


def is_choice(i: Instruction) -> bool:
    """Whether it is `np.where(mask, x, y)` of a size for which two calls take less time than a new
    array."""
    if i.function is not np.where or len(i.args) != 3 or not i.shape or nbytes(i) < LARGE >> 4:
        return False
    return getattr(i.args[0], "dtype", None) == np.dtype(bool)


def within_lines(program: Program) -> set[Instruction]:
    """Python's numbers that are read once, by another one or to be returned, as part of whose line
    they take half the time, and a fourth to compile."""
    numbers = {i for i in program.body if isinstance(i.dtype, type) and i.function in BINDS}
    if not numbers:
        return numbers
    read = uses(program)
    read.update(program.guards)
    back = {i for i in program.body if isinstance(i.function, type)}
    readers = (i for i in program.body if i in numbers or i in back)
    once = {x for i in readers for x in i.operands if read[x] == 1}
    returned = {x for x in program.outputs if isinstance(x, Instruction) and read[x] == 1}
    return (numbers & once) | (back & returned)


def gap(x: Instruction, axis: int | None) -> int:
    """How far apart the rows of a half matrix lie, if the other half's entries are in between."""
    if axis is None or len(x.shape or ()) != 2 or axis == (*x.order, 0)[0]:
        return 0
    return 2 * x.shape[axis]  # type: ignore[index]


def is_of_halves(i: Instruction) -> bool:
    """Whether it joins what two halves made."""
    xs: Any = i.args[0] if i.function is np.concatenate else ()
    return len(xs) == 2 and all(
        isinstance(x, Instruction) and is_part(x) and isinstance(x.args[0].function, Halves)
        for x in xs
    )


def takes_half(i: Instruction, x: Instruction, axis: int) -> bool:
    """Whether it is in halves, of which each takes its half of an array along this axis alone."""
    return isinstance(i.function, Halves) and all(
        along == axis for y, along in zip(i.args, i.function.axes) if y is x
    )


def is_told(i: Instruction) -> bool:
    """Whether what it makes can be written where others want it."""
    return bool(i.shape) and (
        has_out(i) or is_masked(i) or is_part(i) or isinstance(i.function, Fused)
    )


class Writer(Text):
    """Writes the code of one program. `over`: the input whose new value an output is."""

    def __init__(
        self,
        program: Program,
        over: Mapping[Instruction, Instruction],
        buffers: bool,
        results: int,
        clock: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.program, self.over, self.buffers, self.results = program, over, buffers, results
        self.clock = clock
        self.alone = True  # no other thread runs beside this code
        self.risk = -1  # the last line that may raise: no state is written before
        if any(isinstance(i.function, Fused) for i in program.body):
            self.taken |= {"i", "r", "at"}  # of loops
        self.nbytes = self.now = 0  # the number of the line
        self.own: dict[Buffer, None] = {}
        self.written: set[Instruction] = set()
        self.free: dict[Any, list[Buffer]] = {}
        self.held: dict[Instruction, Buffer] = {}  # until it is read for the last time
        self.lies: dict[Instruction, Buffer] = {}  # in which one it was made
        self.aims, self.within = aims_of(program, over), within_lines(program)
        self.static: set[str] = set()  # names of buffers, and of views of them
        self.made: dict[str, str] = {}  # by their text, names of what is made once
        self.blocks: dict[Any, list[str]] = {}
        self.locals: dict[str, str] = {}
        self.kinds: dict[str, Any] = {}
        self.parts: dict[Instruction, dict[int, Instruction]] = {}
        self.joins: dict[Instruction, Instruction] = {}  # by the first half, what joins both
        self.apart: set[int] = set()  # by id, what of that is in halves for all who read it
        self.steps: dict[Instruction, int] = {}  # how far apart the rows of half a matrix lie
        for i in program.body:
            if is_part(i):
                self.parts.setdefault(i.args[0], {})[i.args[1]] = i
        for i in program.inputs:
            self.names[i] = self.new(i.name)

    def expression(self, i: Instruction) -> str:
        if i.function is np.vdot and self.buffers and all(map(self.is_flat, i.args)):
            x, y = map(self.flat, i.args)
            return f"{x}.dot({y})"
        return super().expression(i)

    def body(self, state: bool = True) -> list[str]:
        """The lines of the step, but for its last. `state`: whether its inputs are somebody's."""
        order, checks = in_order(self.program, self.over)
        if state:
            self.risk = max((k for k, i in enumerate(order) if may_raise(i)), default=-1)
        lives = Lives(self.program, order)
        self.homes = homes_of(order, lives, self.over) if self.buffers else {}
        self.homed = {whole for whole, _ in self.homes.values()}
        self.join(order, lives)
        ends = lives.ends(checks)
        self.returned = self.whose(lives)
        counts = {*filter(is_count, self.program.checks)}
        lines: list[str] = []
        part: Any = None
        for k, i in enumerate(order):
            self.now = k
            if k == checks:
                lines += self.timed(self.checking(), CHECK)
            if i.scope is not None and i.scope != part and not is_part(i):
                lines += self.heading(i.scope, part)
                part = i.scope
            line = self.line(i, k, k >= checks, ends.get(k, []), lives)
            lines += self.timed(line.splitlines(), k)  # none where a view is made once
            if i in counts:  # before what raises where it is not 0, such as an index
                lines += [f"if {self.base(i)}:", CARE]
        return lines + (self.timed(self.checking(), CHECK) if checks == len(order) else [])

    def timed(self, lines: list[str], k: int) -> list[str]:
        """With a look at the clock after them, if there is one."""
        if self.clock is None or not lines:
            return lines
        return [*lines, f"{self.constant(self.clock, 'clock')}({k})"]

    def whose(self, lives: Lives) -> set[Instruction]:
        """What is the caller's, and no state."""
        outs = self.program.outputs
        results, state = (
            {root for out in several for x in found_in(out) for root in lives.roots(x)}
            for several in (outs[: self.results], outs[self.results :])
        )
        return results - state

    def result(self, i: Instruction) -> str:
        """The line that makes room for what outlives the call."""
        shape, dtype = i.shape or (), np.dtype(i.dtype)
        name, made = self.names[i], f"({shape!r}, {spelt(dtype)!r})"
        if i not in self.returned or nbytes(i) < LARGE:
            return f"{name} = np.empty{made}"
        before = self.new(f"{name}_before")
        self.setup.append(f"{before} = []")
        return f"{name} = {self.function(vacant)}({before}, {made[1:]}"

    def heading(self, part: Part, before: Part | None) -> list[str]:
        """Comments where another part of the step begins, or another Module's."""
        if before is not None and part.step == before.step:
            return [f"# {part!r}" if part.module else "# the function itself"]
        own = [f"# {part!r}"] if part.module else []
        if before is None:
            steps = {i.scope.step for i in self.program.body if i.scope is not None}
            return [f"# --- {part.step}"] * (len(steps) > 1) + own
        again = ": what no gradient needs" if part.step == "forward" else ""
        return ["", f"# --- {part.step}{again}", *own]

    def checking(self) -> list[str]:
        """Whether what is to be finite is: one sum of numbers, and of the squares of factors; and
        then all else."""
        program, added = self.program, list[str]()
        numbers = {x for x in program.checks if not x.shape and np.dtype(x.dtype).kind == "f"}
        looked = [x for x in (*program.checks, *program.factors) if not is_count(x)]
        if self.buffers:
            beside = self.side_by_side()
            factors = dict.fromkeys(map(self.base, program.factors))
            added = [beside.get(x, f"np.vdot({x}, {x})") for x in factors]
            added += [self.base(x) for x in program.checks if x in numbers]
            looked = [x for x in program.checks if x not in numbers and not is_count(x)]
        lines = [f"if not math.isfinite({' + '.join(dict.fromkeys(added))}):"] * bool(added)
        names = ", ".join(dict.fromkeys(map(self.base, looked)))
        lines += [f"if not finite({names}):"] * bool(looked)
        return [text for line in lines for text in (line, CARE)]

    def side_by_side(self) -> dict[str, str]:
        """Lay the factors that are buffers into one array for each dtype; the squares of these, by
        the names of what they are of."""
        lengths: dict[Any, int] = {}
        names: dict[Any, str] = {}
        found: dict[str, str] = {}
        for x in dict.fromkeys(self.program.factors):
            if x in self.held:
                buffer, dtype = self.held[x], x.dtype
                start = lengths.get(dtype, 0)
                end = start + math.prod(buffer.shape)
                lengths[dtype] = -(-end // 16) * 16  # vectors begin where they would
                if start == 0:
                    names[dtype] = self.new("factors")
                name = names[dtype]
                buffer.made = f"{name}[{start}:{end}].reshape({buffer.memory})"
                self.own.pop(buffer, None)
                found[self.base(x)] = f"{name}.dot({name})"
        for dtype, length in lengths.items():
            self.setup.insert(0, f"{names[dtype]} = np.zeros({length}, {spelt(np.dtype(dtype))!r})")
        return found

    def base(self, x: Instruction) -> str:
        """The name of an array, as it lies in memory."""
        return self.view(f"{self.names[x]}.T") if x.order == (1, 0) else self.names[x]

    def view(self, text: str, name: str = "") -> str:
        """The name of a view of a buffer, or the view itself of what may be another each time."""
        whose = re.split(r"[.\[]", text)[0]
        if whose not in self.static or not self.buffers:
            return text
        if not name:
            name, _, shape = text.partition(".reshape")
            if shape:  # b_2_as_3x4
                lengths = "x".join(re.findall(r"\d+", shape))
                name = re.sub(r"_as_[\dx]+$", "", name) + f"_as_{lengths}"
        made = self.once(text, name)
        self.static.add(made)
        return made

    def once(self, text: str, name: str) -> str:
        """The name of what is made before the first step; a name that was asked for is its own."""
        key = f"{name} {text}"
        if key not in self.made:
            self.made[key] = self.new(name)
            self.setup.append(f"{self.made[key]} = {text}")
        return self.made[key]

    def line(
        self, i: Instruction, k: int, checked: bool, ends: list[Instruction], lives: Lives
    ) -> str:
        if isinstance(i.function, Fused):
            return group(self, i, k, checked, ends, lives)
        if isinstance(i.function, Loop):
            return self.scan(i, ends, lives)
        if isinstance(i.function, Halves):
            text = "\n".join(self.halves(i, k, checked, lives))
            self.release(ends)
            return text
        if is_part(i) or i in self.joins.values():  # which was made with the others
            self.release(ends)
            return ""
        if i in lives.taken and self.buffers:
            place = self.names[i] = self.names[place_of(i)]
            self.release(ends)
            if i.function is with_items:
                return f"{place}[{self.index(i.args[1])}] = {self.text(i.args[2])}"
            ufunc = self.function(i.args[0])
            return f"{ufunc}.at({place}, {self.arguments(i.args[2:], {})})"
        call = "" if i.function is plus_product and self.buffers else self.expression(i)
        if i in self.within and not i.name and len(call) <= WITHIN:
            self.names[i], self.binds[i] = call, BINDS.get(i.function, NAME)
            return ""
        if i.function is item and self.is_over(i.args[0], k, lives):
            self.names[i] = self.names[i.args[0]]
            return f"{self.names[i]} = {call}"
        if not self.buffers:
            self.names[i] = self.new(i.name or "v")
            return f"{self.names[i]} = {call}"
        source = self.over.get(i) if has_out(i) or is_masked(i) else None
        if source and self.may_write(i, source, k, checked, lives, self.owns(i, source, lives)):
            self.written.add(source)
            self.names[i] = self.names[source]
            self.release(ends)
            return self.into(i, call)
        if i.function in VIEWS and self.is_fixed(i):
            self.names[i] = self.view(call)
            self.release(ends)
            return ""
        if i in self.homed:
            lines = self.joining(i)
            self.release(ends)
            return lines
        over = self.temporary(i, ends, lives) or self.transposed(i, ends, lives)
        if over:
            self.names[i] = over
            self.release(ends)
            return self.into(i, call)
        if i not in lives.kept and (has_out(i) or is_masked(i) or is_filled(i) or is_choice(i)):
            if self.reads_first(i, ends, lives):  # over an operand that it is the last to read
                self.release(ends)
            self.names[i] = self.home(i)
            self.release(ends)
            return self.into(i, call)
        transpose = call if i.function is np.transpose and call.endswith(".T") else ""
        self.names[i] = self.new(i.name or transpose or "v")
        self.release(ends)
        if has_out(i) and i in self.returned and not i.order and nbytes(i) >= LARGE:
            return f"{self.result(i)}\n{self.into(i, call)}"
        if i.function is plus_product:
            copy = f"{self.names[i]} = np.copy({self.text(i.args[0])})"
            return f"{copy}\n{self.added(i, self.names[i])}"
        return f"{self.names[i]} = {call}"

    def is_over(self, x: Instruction, k: int, lives: Lives) -> bool:
        """Whether it is an input of which nobody but line `k` knows any more."""
        known = x in lives.kept or x in lives.checked
        return x.function is None and lives.last[x] == k and not known

    def into(self, i: Instruction, call: str) -> str:
        """The line that makes `i` in the array of its name."""
        name = self.names[i]
        if is_masked(i):
            return self.masking(i)
        if is_choice(i):
            mask, x, y = map(self.text, i.args)
            return f"np.copyto({name}, {y})\nnp.copyto({name}, {x}, where={mask})"
        if is_filled(i):
            return f"{name}.fill({self.text(i.args[1])})"
        if i.function is plus_product:
            c = self.names[i.args[0]]
            return f"np.copyto({name}, {c})\n" * (c != name) + self.added(i, name)
        if i.function is np.dot:  # as a method it is called 0.2 µs earlier
            x, y = map(self.text, i.args)
            if self.over.get(i) in self.steps:
                return f"np.matmul({x}, {y}, {name})"
            return f"{x}.dot({y}, {name})"
        positional = isinstance(i.function, np.ufunc) and not i.kwargs
        positional = positional and i.function not in (np.maximum, np.minimum)  # deprecated there
        return f"{call[:-1]}, {name})" if positional else f"{call[:-1]}, out={name})"

    def added(self, i: Instruction, name: str) -> str:
        """The call of BLAS that adds a product to an array."""
        _, alpha, x, y, *beta = i.args
        x_turned, y_turned = (
            i.kwargs.get(name, False) != (z.order == (1, 0))
            for name, z in (("x_turned", x), ("y_turned", y))
        )
        inner = math.prod(x.shape) // i.shape[0]  # type: ignore[index]
        kind = f"{i.shape}, {inner}, {spelt(np.dtype(i.dtype))!r}"
        kind += ", x_turned=True" * x_turned + ", y_turned=True" * y_turned
        for name_of, z in ("x", x), ("y", y):
            if self.base(z) in self.static:
                kind += f", {name_of}={self.base(z)}"
            if z in self.steps:
                kind += f", {name_of}_step={self.steps[z]}"
        add = self.once(f"{self.constant(adder, 'adder')}({kind})", "add_product")
        rest = [name, self.text(alpha), self.base(x), self.base(y), *map(self.text, beta)]
        return f"{add}({', '.join(rest)})"

    def reads_first(self, i: Instruction, ends: list[Instruction], lives: Lives) -> bool:
        """Whether `i` reads each number of buffers that end here before it writes in its place."""
        if not (is_along(i) and is_in_place(i)):
            return False
        free = {x for x in ends if x in self.held}
        return all(
            x in self.held or self.is_whole(x) or free.isdisjoint(lives.roots(x))
            for x in i.operands
        )

    def flat(self, x: Instruction) -> str:
        """The name of a buffer as a vector."""
        name = self.names[x]
        if len(x.shape or ()) == 1:
            return name
        return self.view(f"{name}.reshape(-1)", f"{name}_flat")

    def is_flat(self, x: Any) -> bool:
        """Whether it is a buffer of real numbers, in C's order."""
        real = x in self.held and x.dtype.kind == "f"
        return real and not x.order and not self.held[x].order

    def is_fixed(self, i: Instruction) -> bool:
        """Whether it is the same view of the same memory each time."""
        x = i.args[0]
        if not isinstance(x, Instruction) or self.names[x] not in self.static or not shares(i):
            return False
        if i.function is operator.getitem and not is_basic(i.args[1]):
            return False  # a copy
        plain = i.function is not np.reshape or (not i.kwargs and self.is_whole(x))
        return len(i.operands) == 1 and plain

    def is_whole(self, x: Any) -> bool:
        """Whether it has all numbers of a buffer, in their order there."""
        return isinstance(x, Instruction) and self.order(x) == [*range(len(x.shape or ()))]

    def order(self, x: Instruction) -> list[int] | None:
        """Of a buffer, and a view of all of it: how its axes lie in memory, the longest first."""
        if x in self.held:
            return [*x.order] or [*range(len(x.shape or ()))]
        if x.function in TURNS and isinstance(x.args[0], Instruction):
            before, axes = self.order(x.args[0]), turned(x)
            return before and [axes.index(axis) for axis in before]
        if x.function is np.reshape and not x.kwargs and self.is_whole(x.args[0]):
            return [*range(len(x.shape or ()))]
        return None

    def masking(self, i: Instruction) -> str:
        """The line that makes `np.where(mask, x, 0)` in the array of its name."""
        mask, x = map(self.text, i.args[:2])
        bits = f".view('i{np.dtype(i.dtype).itemsize}')"  # of what is left out 0
        out = self.view(self.names[i] + bits)
        return f"np.multiply({self.view(x + bits)}, {mask}, {out})"

    def temporary(self, i: Instruction, ends: list[Instruction], lives: Lives) -> str | None:
        """The name of an operand that is new at each call and read here for the last time, over
        which `i` may be written."""
        if i in self.homes or not (is_along(i) and is_in_place(i)):
            return None
        for x in i.operands:
            alike = (x.shape, x.dtype, x.order) == (i.shape, i.dtype, i.order)
            kept = x in self.held or x in self.homes or x.function is None or shares(x)
            if not alike or kept or x not in ends:
                continue
            if all(y is x or x not in lives.roots(y) for y in i.operands):
                return self.names[x]
        return None

    def scan(self, i: Instruction, ends: list[Instruction], lives: Lives) -> str:
        """The lines of a loop, whose step is written by a writer that knows all names."""
        scan, results = i.function, self.parts.get(i, {})
        program = scan.program
        given, carry, tables = scan.parted([*map(self.text, i.args)])
        reads, carried, entries = scan.parted(program.inputs)
        handed = program.outputs[: scan.carry]
        of = views(program.body)
        shown = Counter(root for x in found_in(handed) for root in of.get(x, {x}))
        over = {  # the next of what shares no memory with others may be written over the last
            x: last
            for x, last in zip(handed, carried)
            if isinstance(x, Instruction) and x.function and x not in of and shown[x] == 1
        }
        inner = Writer(program, over, self.buffers, 0)
        inner.taken, inner.last, inner.known = self.taken, self.last, self.known
        inner.constants, inner.setup = self.constants, self.setup
        inner.names = dict(zip(reads, given))
        own: dict[int, Instruction] = {}  # by number, what is in a buffer that nobody else reads
        for k, (x, start) in enumerate(zip(handed, scan.parted(i.args)[1])):
            there = isinstance(start, Instruction) and start in self.held and start in ends
            sole = there and i.operands.count(start) == 1 and not shown[carried[k]]
            if sole and x in over and k in results and results[k] not in lives.kept:
                own[k] = start
        names = [carry[k] if k in own else self.new("carry") for k in range(len(carried))]
        inner.names.update(zip(carried, names))
        inner.names.update((x, self.new("x")) for x in entries)
        t = self.new("t")
        body = [f"{inner.names[x]} = {table}[{t}]" for x, table in zip(entries, tables)]
        body += inner.body(state=False)
        inner.pack()
        self.nbytes += inner.nbytes
        lines = [
            f"{name} = {x}.copy()" if before in inner.written else f"{name} = {x}"
            for name, x, before in zip(names, carry, carried)
            if name != x
        ]
        stacked = []
        for k, y in enumerate(program.outputs[scan.carry :], start=scan.carry):
            name = self.new(results[k].name or "ys") if k in results else ""
            stacked.append(name)
            if name:
                shape = scan.times, *np.shape(y)
                lines.append(f"{name} = np.empty({shape!r}, {spelt(np.dtype(y.dtype))!r})")
                body.append(f"{name}[{t}] = {inner.text(y)}")
        pairs = [(name, inner.text(x)) for name, x in zip(names, handed) if name != inner.text(x)]
        body += [f"{name}[...] = {x}" for name, x in pairs if name in carry]
        pairs = [(name, x) for name, x in pairs if name not in carry]
        if pairs:
            body.append(" = ".join(", ".join(several) for several in zip(*pairs)))
        steps = f"range({scan.times})" + "[::-1]" * scan.reverse
        lines += [f"for {t} in {steps}:", *(f"    {line}" for line in body or ["pass"])]
        for k, name in enumerate([*names, *stacked]):
            if k in results:
                self.names[results[k]] = name
                owned = k >= scan.carry or k in own or carried[k] in inner.written
                if k in own:
                    self.held[results[k]] = self.held.pop(own[k])
                if not owned and np.shape(program.outputs[k]):
                    lines.append(f"{name} = {name}.copy()")
        self.release(ends)
        return "\n".join(lines)

    def join(self, order: list[Instruction], lives: Lives) -> None:
        """See what joins both halves of something, and what of it need not be done, as those who
        read it are in halves as well."""
        users = users_of(self.program)
        for i in filter(is_of_halves, order):
            halves: Any = i.args[0]
            self.joins[halves[0]] = i
            axis, readers = i.kwargs["axis"], users.get(i, ())
            seen = i in lives.kept or i in lives.checked
            if not seen and all(takes_half(user, i, axis) for user in readers):
                self.apart.add(id(i))
                for x in halves:
                    lives.last[x] = max(lives.last[x], lives.last[i])

    def halves(self, i: Instruction, k: int, checked: bool, lives: Lives) -> list[str]:
        """The lines that run both halves of a batch, or of parameters. What a half makes is written
        into its half of an array, an input's that it is the new value of, or another one, or into
        an array of its own; what cannot be told where is answered."""
        program, results = i.function.program, self.parts.get(i, {})
        inputs = [*zip(program.inputs, i.args, i.function.axes)]
        given = [[self.part_of(x, axis, h) for _, x, axis in inputs] for h in (0, 1)]
        steps = {p: gap(p, axis) for p, x, axis in inputs if id(x) not in self.apart}
        places: dict[Instruction, Instruction] = {}
        lines, answered = list[str](), list[Instruction]()
        after, answers = list[str](), self.new("halves")
        for n, x in enumerate(program.outputs):
            parts = [results[2 * n + h] for h in (0, 1) if 2 * n + h in results]
            whole = self.joins.get(parts[0]) if parts else None
            whole = None if id(whole) in self.apart else whole
            source = whole and self.replaced(whole, inputs, k, checked, lives)
            if source:
                places[x] = source
            elif whole or (parts and is_told(x)):
                axis: int | None = whole.kwargs["axis"] if whole else None
                places[x] = Instruction(None, (), None, x.shape, x.dtype, "out", order=x.order)
                steps[places[x]] = gap(x, axis)
                for part in [whole] if whole else parts:
                    self.result_of(part, lives, lines)
                for h in (0, 1):
                    given[h].append(self.part_of(whole or parts[h], axis, h))
            elif parts:
                for h, part in enumerate(parts):
                    self.names[part] = self.new(part.name or "v")
                    after.append(f"{self.names[part]} = {answers}[{h}][{len(answered)}]")
                answered.append(x)
        new = [x for x in places.values() if x not in program.inputs]
        inside = Program([*program.inputs, *new], program.body, program.outputs)
        inner = Writer(inside, places if self.buffers else {}, self.buffers, 0)
        inner.steps = {x: step for x, step in steps.items() if step}
        names = self.half(inner, inside, places, answered)
        xs, ys = (f"({', '.join(several)}{',' * (len(several) == 1)})" for several in given)
        call = f"{self.constant(both, 'both')}({names[0]}, {names[1]}, {xs}, {ys})"
        return [*lines, f"{answers} = {call}" if after else call, *after]

    def replaced(
        self, i: Instruction, inputs: Any, k: int, checked: bool, lives: Lives
    ) -> Instruction | None:
        """The input of a half that its half of `i` is written over, if both halves of that are of
        an array whose new value it is."""
        source = self.over.get(i) if self.buffers else None
        if source is None or may_raise(i.args[0][0].args[0]):
            return None
        reads = [
            (x, axis)
            for _, x, axis in inputs
            if isinstance(x, Instruction) and source in lives.roots(x)
        ]
        if reads != [(source, i.kwargs["axis"])]:
            return None
        if not self.may_write(i, source, k, checked, lives, True):
            return None
        self.written.add(source)
        self.names[i] = self.names[source]
        found: Instruction = next(p for p, x, _ in inputs if x is source)
        return found

    def half(
        self, inner: Writer, program: Program, places: Mapping[Any, Any], answered: list[Any]
    ) -> tuple[str, str]:
        """The names of two functions, with buffers of their own, of the program of a half."""
        inner.taken, inner.last, inner.known = self.taken, self.last, dict(self.known)
        inner.constants, inner.alone = self.constants, False
        for x in program.inputs:
            inner.names[x] = inner.new(x.name or "x")
        body = inner.body(state=False)
        body += [
            f"{inner.names[place]}[...] = {inner.text(x)}"
            for x, place in places.items()
            if place not in inner.written
        ]
        inner.pack()
        self.nbytes += 2 * inner.nbytes
        make, half = self.new("make_half"), self.new("half")
        answer = "".join(f"{inner.text(x)}, " for x in answered)
        self.setup += [
            f"def {make}():",
            *(f"    {line}" for x in inner.setup for line in str(x).splitlines()),
            f"    def {half}({', '.join(inner.names[x] for x in program.inputs)}):",
            *(f"        {line}".rstrip() for x in body for line in x.splitlines()),
            *([f"        return ({answer.strip()})"] if answered else []),
            f"    return {half}",
        ]
        first, second = self.new("first_half"), self.new("second_half")
        self.setup.append(f"{first}, {second} = {make}(), {make}()")
        return first, second

    def part_of(self, x: Any, axis: int | None, h: int) -> str:
        """The first or second half of an array, or all of it, as it is written."""
        if id(x) in self.apart:
            return self.names[x.args[0][h]]
        if axis is None:
            return self.text(x)
        return self.view(
            f"{self.text(x)}[{self.index(half_index(shape_of(x)[axis] // 2, axis, h))}]"
        )

    def result_of(self, i: Instruction, lives: Lives, lines: list[str]) -> None:
        """Give one of the results of halves a name, and an array."""
        if i not in lives.kept and self.buffers:
            self.names[i] = self.home(i)
        else:
            self.names[i] = self.new(i.name or "v")
            lines.append(self.result(i))

    def block(self, shape: tuple[int, ...], dtype: Any, name: str = "block") -> str:
        """A block that no group around it uses."""
        free = self.blocks.setdefault((shape, dtype), [])
        if free:
            return free.pop()
        self.nbytes += math.prod(shape) * np.dtype(dtype).itemsize
        name = self.new(name)
        self.setup.append(f"{name} = np.empty({shape!r}, {spelt(np.dtype(dtype))!r})")
        self.kinds[name] = shape, dtype
        return name

    def local(self, name: str) -> str:
        """A name in a loop, which other loops use too."""
        if name not in self.locals:
            self.locals[name] = self.new(name)
        return self.locals[name]

    def give_back(self, blocks: list[str]) -> None:
        for name in blocks:
            self.blocks[self.kinds[name]].append(name)

    def transposed(self, i: Instruction, ends: list[Instruction], lives: Lives) -> str | None:
        """The name of a transposed buffer that is read here for the last time, over which `i` may
        be written; it is `i`'s from now on."""
        if i in self.homes or i in lives.kept or not (is_along(i) and is_in_place(i)):
            return None
        for x in i.operands:
            whole = x.args[0] if x.function is np.transpose and len(x.args) == 1 else x
            alike = (x.shape, x.dtype, x.order) == (i.shape, i.dtype, i.order)
            if not alike or whole not in self.held or whole not in ends:
                continue
            if self.held[whole].order == i.order:
                continue  # the ordinary case
            if all(y is x or whole not in lives.roots(y) for y in i.operands):
                self.held[i] = self.held.pop(whole)
                wish = self.aims.get(i, i.name)
                if not wish:
                    return self.names[x]
                name = self.new(wish)
                self.static.add(name)
                self.setup.append(f"{name} = {self.names[x]}")
                return name
        return None

    def may_write(
        self,
        i: Instruction,
        source: Instruction,
        k: int,
        checked: bool,
        lives: Lives,
        own: bool,
    ) -> bool:
        """Whether `i` may be written over `source`, which nobody reads any more, or nobody but `i`,
        whose `own` reading is done by then; and not before the checks, or what may raise."""
        if (source.shape, source.dtype) != (i.shape, i.dtype):
            return False
        last = lives.last[source]
        if source in lives.kept or source in self.written or k < self.risk:
            return False
        return checked and (last < k or (last == k and own))

    def owns(self, i: Instruction, source: Instruction, lives: Lives) -> bool:
        """Whether `i` may be written over what it reads `source` from, if it does."""
        reads = [x for x in i.operands if source in lives.roots(x)]
        own = all(x is source for x in reads) and is_elementwise(i) and is_in_place(i)
        return own or (i.function is plus_product and reads == [source] and i.args[0] is source)

    def home(self, i: Instruction) -> str:
        """The name of the array that `i` is made in: a buffer, or a part of one."""
        if i not in self.homes:
            return self.buffer(i)
        whole, index = self.homes[i]
        if whole not in self.names:
            self.names[whole] = self.home(whole)
        return self.view(f"{self.names[whole]}[{self.index(index)}]")

    def joining(self, i: Instruction) -> str:
        """The lines that put into an array what was not made there."""
        if i not in self.names:
            self.names[i] = self.home(i)
        lines = []
        for x, index in joined_in(i):
            if not isinstance(x, Instruction) or self.homes.get(x) != (i, index):
                lines.append(f"{self.names[i]}[{self.index(index)}] = {self.text(x)}")
        return "\n".join(lines)

    def buffer(self, i: Instruction) -> str:
        """The name of one that is free, or new: what is made is called, or what it is made for, or
        what it is written over."""
        found = self.free.get(room(i))
        if found:
            buffer = found.pop()
        else:
            buffer = Buffer(i)
            self.setup.append(buffer)
            self.own[buffer] = None
            self.nbytes += nbytes(i)
        buffer.since = self.now
        self.held[i] = self.lies[i] = buffer
        wish = self.aims.get(i, i.name)
        for x in i.operands:
            if not wish and self.lies.get(x) is buffer and (x.shape, x.order) == (i.shape, i.order):
                return self.names[x]  # over it
        if buffer.shape != i.shape:
            first = next(iter(buffer.names.values()))
            return self.view(f"{first}.reshape({i.shape!r})", wish)
        if wish not in buffer.names:
            buffer.names[wish] = self.new(wish or "b")
            self.static.add(buffer.names[wish])
        return buffer.names[wish]

    def release(self, ends: list[Instruction]) -> None:
        for x in ends:
            if x in self.held:
                buffer = self.held.pop(x)
                buffer.free(self.now)
                self.free.setdefault(buffer.key, []).append(buffer)

    def fold(self, body: list[str], answer: str) -> list[str]:
        """The lines of the step, with calls of functions for what comes again and again."""
        numbers = {name for i, name in self.names.items() if not i.shape}
        static = {"np", *self.static, *self.made.values(), *self.known.values(), *self.kinds}
        functions, body = folded(body, answer, Names(numbers, static, self.new))
        self.setup += functions
        return body

    def pack(self) -> None:
        """Lay large buffers into one array, those that are never in use at once in the same place,
        if that spares much."""
        large = [buffer for buffer in self.own if buffer.nbytes >= LARGE >> 4]
        for buffer in self.held.values():
            buffer.free(self.now + 1)
        starts, end = packed([x.nbytes for x in large], [x.busy for x in large])
        spared = sum(x.nbytes for x in large) - end
        if spared < LARGE:
            return
        name = self.new("memory")
        self.setup.insert(0, f"{name} = np.empty({end}, 'u1')")
        for buffer, start in zip(large, starts):
            buffer.made = f"np.ndarray({buffer.kind}, {name}, {start})"
        self.nbytes -= spared


def code_of(
    program: Program,
    over: Mapping[Instruction, Instruction],
    buffers: bool = True,
    results: int = 0,
    clock: Callable[[int], None] | None = None,
) -> Code:
    """The code of a program; without `buffers` each line makes an array of its own. `results`: how
    many of its outputs, the first, are the caller's, who may have dropped those of calls before.
    `clock` is told after each line which instruction it was, by its number `in_order`, or CHECK."""
    writer = Writer(program, over, buffers, results, clock)
    body = writer.body()
    writer.pack()
    returned = "".join(f"{writer.text(x)}, " for x in program.outputs)
    answer = f"return ({returned.strip()})"
    if buffers and clock is None:
        body = writer.fold(body, answer)
    body.append(answer)
    inputs = tuple(writer.names[i] for i in program.inputs)
    lines = [
        *FINITE * bool(program.guards),
        *wrapped(f"def make({', '.join(['np', *writer.constants])}):"),
        *(x for line in writer.setup for x in wrapped(f"    {line}".rstrip())),
        *wrapped(f"    def step({', '.join(inputs)}):"),
        *(x for line in body for x in wrapped(f"        {line}".rstrip())),
        "    return step",
    ]
    source = "\n".join(lines) + "\n"
    return Code(source, inputs, writer.constants, frozenset(writer.written), writer.nbytes)


def wrapped(line: str) -> list[str]:
    """A line that lists names, in several where it is long."""
    if len(line) <= WIDTH or any(x in line for x in "\n'\""):  # no text is broken
        return [line]
    lists = line.lstrip().startswith(("def ", "return ", "if not "))
    if not (lists or re.search(r"\b(both|kernel|update|part)(_\d+)?\(", line)):
        return [line]
    left, line = " " * (len(line) - len(line.lstrip())), line.strip()
    targets, equals, call = line.partition(" = ")
    if equals and not lists:  # nobody breaks a line there
        line = f"({targets})" * ("," in targets) or targets
        line += f"\0=\0{call}"
    how: Any = {"break_long_words": False, "break_on_hyphens": False, "initial_indent": left}
    found = textwrap.wrap(line, WIDTH, subsequent_indent=left + " " * 8, **how)
    return [x.replace("\0", " ") for x in found]


def function_of(code: Code, name: str) -> Any:
    """The step, with buffers of its own."""
    defined: dict[str, Any] = {}
    exec(binary(code.source, f"<compiled {name}>"), defined)
    if code.nbytes >= LARGE:
        give_back()  # what it took to get here, before the buffers are made
    return defined["make"](np, *code.constants.values())


@cache
def trimming() -> Any:
    """What gives freed memory back to the system, where the C library is glibc."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def give_back() -> None:
    """Give memory that was freed back to the system, in a millisecond or two: glibc keeps it, and
    what comes next may lie elsewhere."""
    if trim := trimming():
        trim(0)

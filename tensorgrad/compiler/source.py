"""NumPy code of a program: one line an instruction, results in arrays that are kept between calls.

What an elementwise function, a reduction or a matrix product makes goes by `out=` into a *buffer*,
which a later line uses again when nobody needs its numbers any more; or over an input that it is
the new value of, such as a parameter. What else is returned is new at each call.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.compiler.blas import adder
from tensorgrad.compiler.blocks import loop, may_be_over
from tensorgrad.compiler.names import Part, users_of
from tensorgrad.compiler.program import (
    TURNS,
    Fused,
    Instruction,
    Loop,
    Program,
    added_at,
    converted,
    draw,
    found_in,
    is_basic,
    is_elementwise,
    is_masked,
    is_part,
    is_reduction,
    joined_in,
    nbytes,
    plus_product,
    shares,
    turned,
    urgent,
    vacant,
    viewed,
    with_items,
)


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


WIDTH = 100
LARGE = 1 << 20
"""The bytes of a result from which on the memory of one before is used again."""
INFIX = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
    operator.gt: ">",
    operator.ge: ">=",
    operator.lt: "<",
    operator.le: "<=",
    operator.eq: "==",
    operator.ne: "!=",
    operator.and_: "&",
    operator.or_: "|",
    operator.xor: "^",
    operator.matmul: "@",
    operator.lshift: "<<",
    operator.rshift: ">>",
}
PREFIX = {operator.neg: "-", operator.pos: "+", operator.invert: "~"}
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


def has_out(i: Instruction) -> bool:
    """Whether the result can be written where it is told to."""
    f = i.function
    if f is np.dot or f is plus_product:
        return bool(i.shape) and not i.order
    ufunc = is_reduction(f) or (isinstance(f, np.ufunc) and f.nout == 1)
    return bool(i.shape) and (ufunc or bool(joined_in(i)))


def in_order(
    program: Program, over: Mapping[Instruction, Instruction]
) -> tuple[list[Instruction], int]:
    """The body in an order in which what the checks need, and what is drawn, comes before all else,
    and who reads state before what is written over it; and the number of the first."""
    needed = urgent(program)
    shown, place = views(program.body), {i: k for k, i in enumerate(program.body)}
    readers: dict[Instruction, list[Instruction]] = {x: [] for x in over.values()}
    for i in program.body:
        for root in {root for x in i.operands for root in shown.get(x, (x,))}:
            if root in readers and i not in needed:
                readers[root].append(i)
    rest = {i: x for i, x in over.items() if i in place and i not in needed}
    late = {i for i, x in rest.items() if any(place[y] > place[i] for y in readers[x])}
    before = -1
    while before < len(late):
        before = len(late)
        for i in program.body if late else ():
            if i not in needed and not late.isdisjoint(i.operands):
                late.add(i)
        late.update(i for i, x in rest.items() if not late.isdisjoint(readers[x]))
    first = [i for i in program.body if i in needed]
    soon = [i for i in program.body if i not in needed and i not in late]
    return [*first, *soon, *(i for i in program.body if i in late)], len(first)


WRITES = with_items, added_at


def place_of(i: Instruction) -> Any:
    """What a write goes into."""
    return i.args[1 if i.function is added_at else 0]


def views(
    body: list[Instruction], taken: Collection[Instruction] = ()
) -> dict[Instruction, set[Instruction]]:
    """Whose memory is shown by what may show that of others. `taken`: the writes that go into the
    array itself."""
    of: dict[Instruction, set[Instruction]] = {}
    for i in body:
        if i in taken:
            place = place_of(i)
            of[i] = of.get(place, {place})
        elif shares(i):
            of[i] = {root for x in i.operands for root in of.get(x, (x,))}
    return of


class Lives:
    """Who shows whose memory, and until when it is needed.

    `taken`: the writes that may go into the array itself, for nobody looks at what it was.
    `last`: by array, the line that reads it for the last time, itself or a view; `kept`: those that
    outlive the program. An input ends too.
    """

    def __init__(self, program: Program, body: list[Instruction]) -> None:
        self.taken: set[Instruction] = set()
        self.follow(program, body)
        self.taken = {
            i
            for k, i in enumerate(body)
            if i.function in WRITES and i.shape and self.is_over(place_of(i), k)
        }
        if self.taken:
            self.follow(program, body)

    def is_over(self, x: Any, k: int) -> bool:
        """Whether nobody but line `k` reads what `x` made, nor a view of it, from there on."""
        made_here = isinstance(x, Instruction) and x.function is not None and x not in self.of
        return made_here and self.last[x] == k and x not in self.kept and x not in self.checked

    def follow(self, program: Program, body: list[Instruction]) -> None:
        self.of = of = views(body, self.taken)
        self.last = last = dict.fromkeys(program.inputs, -1)
        for k, i in enumerate(body):
            for x in i.operands:
                if x in of:
                    last.update(dict.fromkeys(of[x], k))
                else:
                    last[x] = k
            if i not in of:
                last[i] = k
        outlive = (x for out in program.outputs for x in found_in(out))
        self.kept = {root for x in outlive for root in self.roots(x)}
        self.checked = {root for x in program.guards for root in self.roots(x)}

    def roots(self, x: Instruction) -> Collection[Instruction]:
        """Whose memory `x` shows: itself, if no other's."""
        return self.of.get(x, (x,))

    def ends(self, checks: int) -> dict[int, list[Instruction]]:
        """By line; what is checked is needed until line `checks`."""
        found: dict[int, list[Instruction]] = {}
        for i, k in self.last.items():
            if i not in self.kept and i.function is not None:
                k = max(k, checks - 1) if i in self.checked else k
                found.setdefault(k, []).append(i)
        return found


def homes_of(
    order: list[Instruction], lives: Lives, over: Collection[Instruction]
) -> dict[Instruction, tuple[Instruction, Any]]:
    """What is made in its place in an array that it is joined to, and at which index there; that
    array lives as long as what is made in it."""
    homes: dict[Instruction, tuple[Instruction, Any]] = {}
    changed = {root for i in lives.taken for root in lives.roots(i)}
    elsewhere = {*over, *lives.kept, *lives.checked, *changed}
    for whole in reversed(order):
        if not has_out(whole) or whole in elsewhere:
            continue
        for x, index in joined_in(whole):
            made = isinstance(x, Instruction) and x.dtype == whole.dtype and has_out(x)
            direct = made and (is_elementwise(x) or is_reduction(x.function) or joined_in(x))
            if direct and x not in homes and x not in elsewhere:
                homes[x] = whole, index
    for x in order:
        if x in homes:
            whole = homes[x][0]
            lives.last[whole] = max(lives.last[whole], lives.last[x])
    return homes


def aims_of(program: Program, over: Collection[Instruction]) -> dict[Instruction, str]:
    """Names of what has none, and goes into an elementwise function alone, which may write its
    result over it: that of the result."""
    users = users_of(program)
    aims: dict[Instruction, str] = {}
    for i in reversed(program.body):
        user, *others = users.get(i, [i])
        same = (user.shape, user.dtype, user.scope) == (i.shape, i.dtype, i.scope)
        plain = not any(map(shares, user.operands))
        plain &= not any(x.function and not x.name for x in user.operands if x is not i)
        if not (i.name or others or user in over) and same and plain and is_elementwise(user):
            aims[i] = aims.get(user, user.name)
    return aims


class Buffer:
    """An array that is kept between calls, by the names of what it holds one after the other.
    `memory`: the shape that it has there."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, order: tuple[int, ...]) -> None:
        self.shape, self.names = shape, dict[str, str]()
        self.memory = tuple(shape[axis] for axis in order) or shape
        self.made = f"np.empty({self.memory!r}, {np.dtype(dtype).str!r})"
        self.turned = f".transpose({[*map(int, np.argsort(order))]})" if order else ""

    def __str__(self) -> str:
        return " = ".join([*self.names.values(), self.made + self.turned])


class Writer:
    """Writes the code of one program. `over`: the input whose new value an output is."""

    def __init__(
        self,
        program: Program,
        over: Mapping[Instruction, Instruction],
        buffers: bool,
        results: int,
        clock: Callable[[int], None] | None = None,
    ) -> None:
        self.program, self.over, self.buffers, self.results = program, over, buffers, results
        self.clock = clock
        self.names: dict[Instruction, str] = {}
        self.taken = {"np", "math", "finite", "step", "make", *keyword.kwlist}
        if any(isinstance(i.function, Fused) for i in program.body):
            self.taken |= {"i", "r", "at"}  # of loops
        self.last: dict[str, int] = {}  # by name, the number that its newest like has
        self.constants: dict[str, Any] = {}
        self.known: dict[Any, str] = {}
        self.setup: list[str | Buffer] = []
        self.nbytes = 0
        self.written: set[Instruction] = set()
        self.free: dict[Any, list[Buffer]] = {}
        self.held: dict[Instruction, tuple[Any, ...]] = {}
        self.lies: dict[Instruction, Buffer] = {}  # in which one it was made
        self.aims = aims_of(program, over)
        self.static: set[str] = set()  # names of buffers, and of views of them
        self.views: dict[str, str] = {}
        self.blocks: dict[Any, list[str]] = {}
        self.locals: dict[str, str] = {}
        self.kinds: dict[str, Any] = {}
        self.parts: dict[Instruction, dict[int, Instruction]] = {}
        for i in program.body:
            if is_part(i):
                self.parts.setdefault(i.args[0], {})[i.args[1]] = i
        for i in program.inputs:
            self.names[i] = self.new(i.name)

    def new(self, name: str) -> str:
        """A name like that, which nothing has yet."""
        name = re.sub(r"\W+", "_", name).strip("_") or "x"
        name = f"x{name}" if name[0].isdigit() else name
        found, n = name, self.last.get(name, 1)
        while found in self.taken:
            n += 1
            found = f"{name}_{n}"
        self.last[name] = n
        self.taken.add(found)
        return found

    def constant(self, x: Any, name: str = "k") -> str:
        """The name of an object that the code is given, or of a number that it makes."""
        number = isinstance(x, np.ndarray) and not x.ndim and x.dtype.kind in "fiu"
        key = (x.dtype, x.tobytes()) if number else id(x)
        if key not in self.known:
            if number:
                name = f"{x:.6g}".replace("-", "minus_").replace(".", "_").replace("+", "")
                name = {"1": "one", "2": "two", "0": "zero"}.get(name, f"c{name}")
            made = self.known[key] = self.new(name)
            if number and np.isfinite(x):
                self.setup.append(f"{made} = np.array({x.item()!r}, {x.dtype.str!r})")
            else:
                self.constants[made] = x
        return self.known[key]

    def function(self, f: Any) -> str:
        """The name of a function, NumPy's or one that the code is given."""
        name = getattr(f, "__name__", "f")
        for module, prefix in ((np, "np"), (np.linalg, "np.linalg"), (np.fft, "np.fft")):
            if getattr(module, name, None) is f:
                return f"{prefix}.{name}"
        ufunc = getattr(f, "__self__", None)
        if isinstance(ufunc, np.ufunc) and getattr(ufunc, name, None) == f:
            return f"{self.function(ufunc)}.{name}"
        return self.constant(f, name)

    def text(self, x: Any) -> str:
        """An argument, as it is written."""
        if isinstance(x, Instruction):
            return self.names[x]
        if type(x) is tuple:
            return f"({', '.join(map(self.text, x))}{',' if len(x) == 1 else ''})"
        if type(x) is list:
            return f"[{', '.join(map(self.text, x))}]"
        if type(x) is slice:
            return f"slice({', '.join(map(self.text, (x.start, x.stop, x.step)))})"
        if type(x) in (bool, int, str, type(None), type(...)):
            return repr(x)
        if type(x) in (float, complex) and np.isfinite(x):
            return f"({x!r})" if x.real < 0 else repr(x)
        if isinstance(x, np.dtype) and x.names is None:
            return f"np.dtype({x.str!r})"
        name = str(getattr(x, "__name__", "k"))
        if isinstance(x, type) and getattr(np, name, None) is x:
            return f"np.{name}"
        return self.constant(x, name)

    def index(self, x: Any) -> str:
        """What stands in brackets."""
        if type(x) is slice:
            ends = ("" if p is None else self.text(p) for p in (x.start, x.stop, x.step))
            start, stop, step = ends
            return f"{start}:{stop}" + (f":{step}" if step else "")
        if type(x) is tuple and x:
            return ", ".join(map(self.index, x)) + ("," if len(x) == 1 else "")
        return self.text(x)

    def expression(self, i: Instruction) -> str:
        """The call, as NumPy code."""
        f, args = i.function, i.args
        if f is operator.getitem:
            return f"{self.text(args[0])}[{self.index(args[1])}]"
        if f in INFIX and not i.kwargs:
            return f"{self.text(args[0])} {INFIX[f]} {self.text(args[1])}"
        if f in PREFIX:
            return f"{PREFIX[f]}{self.text(args[0])}"
        if f is draw:
            return f"{self.text(args[0])}.{args[1]}({self.arguments(args[2:], i.kwargs)})"
        if f is np.vdot and self.buffers and all(map(self.is_flat, args)):
            x, y = (self.view(f"{self.names[x]}.reshape(-1)") for x in args)
            return f"{x}.dot({y})"
        if f is viewed:
            return f"{self.text(args[0])}.view({self.text(args[1])})"
        if f is converted and i.shape:
            return f"{self.text(args[0])}.astype({self.arguments(args[1:], i.kwargs)})"
        if f is np.reshape and not i.kwargs:
            return f"{self.text(args[0])}.reshape({self.text(args[1])})"
        if f is np.transpose and not i.kwargs and all(x is None for x in args[1:]):
            return f"{self.text(args[0])}.T"
        if f is np.swapaxes or (f is np.transpose and not i.kwargs):
            axes = ", ".join(map(self.text, (*args[1:], *i.kwargs.values())))
            return f"{self.text(args[0])}.{f.__name__}({axes})"
        return f"{self.function(f)}({self.arguments(args, i.kwargs)})"

    def arguments(self, args: Any, kwargs: Any) -> str:
        named = [f"{name}={self.text(x)}" for name, x in kwargs.items()]
        return ", ".join([*map(self.text, args), *named])

    def body(self) -> list[str]:
        """The lines of the step, but for its last."""
        order, checks = in_order(self.program, self.over)
        lives = Lives(self.program, order)
        self.homes = homes_of(order, lives, self.over) if self.buffers else {}
        self.homed = {whole for whole, _ in self.homes.values()}
        ends = lives.ends(checks)
        self.returned = self.whose(lives)
        lines: list[str] = []
        part: Any = None
        for k, i in enumerate(order):
            if k == checks:
                lines += self.checking()
            if i.scope is not None and i.scope != part and not is_part(i):
                lines += self.heading(i.scope, part)
                part = i.scope
            line = self.line(i, k, k >= checks, ends.get(k, []), lives)
            lines += line.splitlines()  # none where a view is made once
            if self.clock is not None and line:
                lines.append(f"{self.constant(self.clock, 'clock')}({k})")
        return lines + (self.checking() if checks == len(order) else [])

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
        name, made = self.names[i], f"({shape!r}, {dtype.str!r})"
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
        """Whether factors have a finite sum of squares, and what is to be finite is."""
        checks = dict.fromkeys(map(self.base, self.program.checks))
        factors = dict.fromkeys(map(self.base, self.program.factors))
        care = "    return None  # to be made with care"
        real = (x for x in self.program.checks if not x.shape and np.dtype(x.dtype).kind == "f")
        numbers = dict.fromkeys(map(self.base, real)) if self.buffers else {}
        checks = {x: None for x in checks if x not in numbers}
        if not self.buffers or not (factors or numbers):
            checked = ", ".join(checks | factors)
            return [f"if not finite({checked}):", care] * bool(checked)
        beside = self.side_by_side()
        squares = dict.fromkeys(beside.get(x, f"np.vdot({x}, {x})") for x in factors)
        squares |= numbers
        lines = [f"if not math.isfinite({' + '.join(squares)}):", care]
        return lines + [f"if not finite({', '.join(checks)}):", care] * bool(checks)

    def side_by_side(self) -> dict[str, str]:
        """Lay the factors that are buffers into one array for each dtype; the squares of these, by
        the names of what they are of."""
        lengths: dict[Any, int] = {}
        found: dict[str, str] = {}
        for x in dict.fromkeys(self.program.factors):
            if x in self.held:
                buffer, dtype = self.held[x][0], x.dtype
                start = lengths.get(dtype, 0)
                end = start + math.prod(buffer.shape)
                lengths[dtype] = -(-end // 16) * 16  # vectors begin where they would
                if start == 0:
                    self.known["factors", dtype] = self.new("factors")
                name = self.known["factors", dtype]
                buffer.made = f"{name}[{start}:{end}].reshape({buffer.memory})"
                found[self.base(x)] = f"{name}.dot({name})"
        for dtype, length in lengths.items():
            name = self.known["factors", dtype]
            self.setup.insert(0, f"{name} = np.zeros({length}, {np.dtype(dtype).str!r})")
        return found

    def base(self, x: Instruction) -> str:
        """The name of an array, as it lies in memory."""
        return self.view(f"{self.names[x]}.T") if x.order == (1, 0) else self.names[x]

    def view(self, text: str, name: str = "") -> str:
        """The name of a view of a buffer, or the view itself of what may be another each time."""
        whose = re.split(r"[.\[]", text)[0]
        if whose not in self.static or not self.buffers:
            return text
        known = f"{name} {text}"
        if known not in self.views:
            seen, _, shape = text.partition(".reshape")
            if shape:
                seen = re.sub(r"_as_[\dx]+$", "", seen) + "_as_"
            self.views[known] = made = self.new(name or seen + "x".join(re.findall(r"\d+", shape)))
            self.static.add(made)
            self.setup.append(f"{made} = {text}")
        return self.views[known]

    def line(
        self, i: Instruction, k: int, checked: bool, ends: list[Instruction], lives: Lives
    ) -> str:
        if isinstance(i.function, Fused):
            return self.group(i, k, checked, ends, lives)
        if isinstance(i.function, Loop):
            return self.scan(i, ends)
        if is_part(i):  # which was made with the others
            self.release(ends)
            return ""
        if i in lives.taken and self.buffers:
            place = self.names[i] = self.names[place_of(i)]
            self.release(ends)
            if i.function is with_items:
                return f"{place}[{self.index(i.args[1])}] = {self.text(i.args[2])}"
            ufunc = self.function(i.args[0])
            return f"{ufunc}.at({place}, {self.arguments(i.args[2:], {})})"
        if not self.buffers:
            call, self.names[i] = self.expression(i), self.new(i.name or "v")
            return f"{self.names[i]} = {call}"
        call = "" if i.function is plus_product else self.expression(i)
        source = self.over.get(i) if has_out(i) else None
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
        over = self.temporary(i, ends, lives)
        if over:
            self.names[i] = over
            self.release(ends)
            return self.masking(i) if is_masked(i) else self.into(i, call)
        over = None if i in lives.kept else self.turned(i, ends, lives)
        if over:
            self.names[i] = over
            self.release(ends)
            return self.masking(i) if is_masked(i) else self.into(i, call)
        if i.function is np.full and i.shape and i not in lives.kept:
            self.names[i] = self.home(i)
            self.release(ends)
            return f"{self.names[i]}.fill({self.text(i.args[1])})"
        if i not in lives.kept and is_masked(i):
            if not shares(i.args[1]):  # over what it masks
                self.release(ends)
            self.names[i] = self.home(i)
            self.release(ends)
            return self.masking(i)
        if has_out(i) and i not in lives.kept:
            free = {x for x in ends if x in self.held}
            plain = all(
                x in self.held or self.is_whole(x) or free.isdisjoint(lives.roots(x))
                for x in i.operands
            )
            if is_elementwise(i) and plain:  # over an operand that it is the last to read
                self.release(ends)
            self.names[i] = self.home(i)
            self.release(ends)
            return self.into(i, call)
        turned = f"{call}" if i.function is np.transpose and call.endswith(".T") else ""
        self.names[i] = self.new(i.name or turned or "v")
        self.release(ends)
        if has_out(i) and i in self.returned and not i.order and nbytes(i) >= LARGE:
            return f"{self.result(i)}\n{self.into(i, call)}"
        if i.function is plus_product:
            return f"{self.names[i]} = np.copy({self.text(i.args[0])})\n" + self.added(
                i, self.names[i]
            )
        return f"{self.names[i]} = {call}"

    def into(self, i: Instruction, call: str) -> str:
        """The line that makes `i` in the array of its name."""
        name = self.names[i]
        if i.function is plus_product:
            c = self.names[i.args[0]]
            return f"np.copyto({name}, {c})\n" * (c != name) + self.added(i, name)
        if i.function is np.dot:  # as a method it is called 0.2 µs earlier
            x, y = map(self.text, i.args)
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
        kind = f"{i.shape}, {inner}, {np.dtype(i.dtype).str!r}"
        kind += ", x_turned=True" * x_turned + ", y_turned=True" * y_turned
        factors = ("x", self.base(x)), ("y", self.base(y))
        kind += "".join(f", {name}={z}" for name, z in factors if z in self.static)
        if kind not in self.views:
            self.views[kind] = self.new("add_product")
            self.setup.append(f"{self.views[kind]} = {self.constant(adder, 'adder')}({kind})")
        rest = [name, self.text(alpha), self.base(x), self.base(y), *map(self.text, beta)]
        return f"{self.views[kind]}({', '.join(rest)})"

    def is_flat(self, x: Any) -> bool:
        """Whether it is a buffer of real numbers, in C's order."""
        return x in self.held and not x.order and x.dtype.kind == "f" and len(self.held[x]) == 3

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
        if i in self.homes or (not (is_elementwise(i) and has_out(i)) and not is_masked(i)):
            return None
        for x in i.operands:
            alike = (x.shape, x.dtype, x.order) == (i.shape, i.dtype, i.order)
            kept = x in self.held or x in self.homes or x.function is None or shares(x)
            if not alike or kept or x not in ends:
                continue
            if all(y is x or x not in lives.roots(y) for y in i.operands):
                return self.names[x]
        return None

    def group(
        self, i: Instruction, k: int, checked: bool, ends: list[Instruction], lives: Lives
    ) -> str:
        """The lines of a group. Each result has an array: an input's that it is written over, a
        buffer, or a new one."""
        fused, parts = i.function, self.parts.get(i, {})
        inside = {x: y for x, y in zip(i.args, fused.program.inputs) if isinstance(x, Instruction)}
        lines, places = [], []
        for n, made in enumerate(fused.program.outputs):
            out = parts.get(n, i)
            source = self.over.get(out) if self.buffers else None
            reads = [x for x in i.operands if source in lives.roots(x)]
            own = all(x is source and may_be_over(fused, made, inside[x]) for x in reads)
            if source and self.may_write(out, source, k, checked, lives, own):
                self.written.add(source)
                name = self.names[source]
            elif not made.shape:
                name = self.new(out.name or "v")
            elif out in lives.kept or not self.buffers:
                name = self.names[out] = self.new(out.name or "v")
                lines.append(self.result(out))
            else:
                self.release(self.done(out, i, made, inside, ends, lives)[:1])
                name = self.buffer(out)
            self.names[out] = name
            places.append(name)
        self.release(ends)
        lines += self.kernel(i, places) if fused.run else loop(self, i, places)
        return "\n".join(lines)

    def done(
        self,
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

    def scan(self, i: Instruction, ends: list[Instruction]) -> str:
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
        names = [self.new("carry") for _ in carried]
        inner.names.update(zip(carried, names))
        inner.names.update((x, self.new("x")) for x in entries)
        t = self.new("t")
        body = [f"{inner.names[x]} = {table}[{t}]" for x, table in zip(entries, tables)]
        body += inner.body()
        self.nbytes += inner.nbytes
        lines = [
            f"{name} = {x}.copy()" if before in inner.written else f"{name} = {x}"
            for name, x, before in zip(names, carry, carried)
        ]
        stacked = []
        for k, y in enumerate(program.outputs[scan.carry :], start=scan.carry):
            name = self.new(results[k].name or "ys") if k in results else ""
            stacked.append(name)
            if name:
                shape = scan.steps, *np.shape(y)
                lines.append(f"{name} = np.empty({shape!r}, {np.dtype(y.dtype).str!r})")
                body.append(f"{name}[{t}] = {inner.text(y)}")
        pairs = [(name, inner.text(x)) for name, x in zip(names, handed) if name != inner.text(x)]
        if pairs:
            body.append(" = ".join(", ".join(several) for several in zip(*pairs)))
        steps = f"range({scan.steps})" + "[::-1]" * scan.reverse
        lines += [f"for {t} in {steps}:", *(f"    {line}" for line in body or ["pass"])]
        for k, name in enumerate([*names, *stacked]):
            if k in results:
                self.names[results[k]] = name
                owned = k >= scan.carry or carried[k] in inner.written
                if not owned and np.shape(program.outputs[k]):
                    lines.append(f"{name} = {name}.copy()")
        self.release(ends)
        return "\n".join(lines)

    def kernel(self, i: Instruction, places: list[str]) -> list[str]:
        """The lines that call machine code, and what they mean."""
        program, run = i.function.program, i.function.run
        given = [*map(self.text, i.args)]
        arrays, after = [], []
        for x, name in zip(program.outputs, places):
            if not x.shape:
                place = self.new(f"{name}_array")
                self.setup.append(f"{place} = np.empty((), {np.dtype(x.dtype).str!r})")
                after.append(f"{name} = {place}[()]")
                name = place
            arrays.append(name)
        known = dict(zip(program.outputs, places))
        self.names.update(zip(program.inputs, given))
        meaning = []
        for x in program.body:
            self.names[x] = known.get(x) or self.new(x.name or "v")
            meaning.append(f"#     {self.names[x]} = {self.expression(x)}")
        if i in self.program.checks:
            meaning = ["#     the sum of the squares of all that is to be finite"]
        kernel = self.constant(run, "kernel")
        return [f"{kernel}({', '.join([*given, *arrays])})", *meaning, *after]

    def block(self, shape: tuple[int, ...], dtype: Any, name: str = "block") -> str:
        """A block that no group around it uses."""
        free = self.blocks.setdefault((shape, dtype), [])
        if free:
            return free.pop()
        self.nbytes += math.prod(shape) * np.dtype(dtype).itemsize
        name = self.new(name)
        self.setup.append(f"{name} = np.empty({shape!r}, {np.dtype(dtype).str!r})")
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

    def turned(self, i: Instruction, ends: list[Instruction], lives: Lives) -> str | None:
        """The name of a transposed buffer that is read here for the last time, over which `i` may
        be written; it is `i`'s from now on."""
        if i in self.homes or (not (is_elementwise(i) and has_out(i)) and not is_masked(i)):
            return None
        for x in i.operands:
            whole = x.args[0] if x.function is np.transpose and len(x.args) == 1 else x
            alike = (x.shape, x.dtype, x.order) == (i.shape, i.dtype, i.order)
            if not alike or whole not in self.held or whole not in ends:
                continue
            if (self.held[whole][3:] or ((),))[0] == i.order:
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
        whose `own` reading is done by then; and not before the checks."""
        if (source.shape, source.dtype) != (i.shape, i.dtype):
            return False
        last = lives.last[source]
        if source in lives.kept or source in self.written:
            return False
        return checked and (last < k or (last == k and own))

    def owns(self, i: Instruction, source: Instruction, lives: Lives) -> bool:
        """Whether `i` may be written over what it reads `source` from, if it does."""
        reads = [x for x in i.operands if source in lives.roots(x)]
        own = all(x is source for x in reads) and is_elementwise(i)
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
        key = (i.shape, i.dtype, i.order) if i.order else (math.prod(i.shape or ()), i.dtype)
        found = self.free.get(key)
        if found:
            buffer = found.pop()
        else:
            buffer = Buffer(i.shape or (), i.dtype, i.order)
            self.setup.append(buffer)
            self.nbytes += nbytes(i)
        self.held[i], self.lies[i] = (buffer, *key), buffer
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
                buffer, *key = self.held.pop(x)
                self.free.setdefault(tuple(key), []).append(buffer)


def code_of(
    program: Program,
    over: Mapping[Instruction, Instruction],
    buffers: bool = True,
    results: int = 0,
    clock: Callable[[int], None] | None = None,
) -> Code:
    """The code of a program; without `buffers` each line makes an array of its own. `results`: how
    many of its outputs, the first, are the caller's, who may have dropped those of calls before.
    `clock` is told after each line which instruction it was, by its number `in_order`."""
    writer = Writer(program, over, buffers, results, clock)
    body = writer.body()
    returned = "".join(f"{writer.text(x)}, " for x in program.outputs)
    body.append(f"return ({returned.strip()})")
    inputs = tuple(writer.names[i] for i in program.inputs)
    lines = [
        *FINITE * bool(program.guards),
        f"def make({', '.join(['np', *writer.constants])}):",
        *(f"    {line}" for line in writer.setup),
        *wrapped(f"    def step({', '.join(inputs)}):"),
        *(x for line in body for x in wrapped(f"        {line}".rstrip())),
        "    return step",
    ]
    source = "\n".join(lines) + "\n"
    return Code(source, inputs, writer.constants, frozenset(writer.written), writer.nbytes)


def wrapped(line: str) -> list[str]:
    """A line that lists names, in several where it is long."""
    if len(line) <= WIDTH or not line.lstrip().startswith(("def ", "return ", "if not ")):
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    how: Any = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": indent}
    return textwrap.wrap(line, WIDTH, drop_whitespace=True, **how)


def function_of(code: Code, name: str) -> Any:
    """The step, with buffers of its own."""
    defined: dict[str, Any] = {}
    exec(compile(code.source, f"<compiled {name}>", "exec"), defined)
    return defined["make"](np, *code.constants.values())

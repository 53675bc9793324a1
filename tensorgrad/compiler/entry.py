"""The way into a program and out of it: code that looks whether all is as it was when the program
was written, reads the state, runs the step, and writes the state.
"""

from __future__ import annotations

import math
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # of `signal`, which takes 13 µs
from _signal import signal as exchange
from collections.abc import Collection, Iterator, Sequence
from itertools import starmap
from signal import SIGINT, default_int_handler
from threading import get_ident, main_thread
from typing import Any, NamedTuple

import numpy as np
from numpy._core import umath

from tensorgrad.compiler.cache import binary
from tensorgrad.compiler.capture import (
    GONE,
    Argument,
    Attribute,
    Numbers,
    Place,
    Rate,
    Reach,
    parts,
)
from tensorgrad.compiler.program import Instruction
from tensorgrad.compiler.tracer import order_of
from tensorgrad.engine.short import kept

OTHER = object()
"""What an entry answers where something is not as it was: nothing was changed."""
CARE = object()
"""What it answers where a check did not hold."""


PRESSED: list[int] = []
"""The Ctrl-C that came while a step wrote state."""
MAIN = main_thread().ident


class Errors:
    """What NumPy is told to do where it divides by 0, of a NumPy that has no such variable."""

    def get(self, default: None) -> Any:
        return True

    def set(self, how: Any) -> Any:
        return np.seterr(all="ignore")

    def reset(self, before: Any) -> None:
        np.seterr(**before)


errors: Any = getattr(umath, "_extobj_contextvar", None) or Errors()
"""What NumPy is told to do where it divides by 0: its `.get(None)` is None where nobody told it
anything, in 20 ns, and np.geterr() takes 2 µs."""
with np.errstate(all="ignore"):
    QUIET = errors.get(None)


def hold_back() -> bool:
    """Keep back a Ctrl-C until `let_go`, but not a second one; whether that was done.

    Where Python's own handler would raise, as in `fit`, which does the same. 0.7 µs, most of it the
    system's.
    """
    held = getsignal(SIGINT) is default_int_handler and get_ident() == MAIN
    if held:
        PRESSED.clear()
        exchange(SIGINT, arrived)
    return held


def arrived(signum: int, frame: Any) -> None:
    if PRESSED:
        exchange(SIGINT, default_int_handler)  # it may come where nobody lets go any more
        raise KeyboardInterrupt
    PRESSED.append(signum)


def let_go(held: bool) -> None:
    if held:
        exchange(SIGINT, default_int_handler)
        if PRESSED:
            raise KeyboardInterrupt


KNOWN = {
    **{"OTHER": OTHER, "CARE": CARE, "QUIET": QUIET, "errors": errors},
    **{"getrefcount": sys.getrefcount, "hold_back": hold_back, "let_go": let_go},
}
"""What the code of an entry names."""


class Write(NamedTuple):
    """How many outputs go to a place, whether they are a tuple there, whether they are written
    `inside` the array that was there before, and whether that was `short`."""

    place: Place
    outputs: int
    several: bool
    inside: bool
    short: bool


class Lines:
    """Code, and the objects that it names. `machine`: `llvm/objects.py`, where that runs."""

    def __init__(self, machine: Any = None) -> None:
        self.machine = machine
        self.code: list[str] = []
        self.objects: dict[str, Any] = {}
        self.known: dict[int, str] = {}

    def add(self, line: str) -> None:
        self.code.append(line)

    def name(self, x: Any) -> str:
        """What it goes by in the code."""
        if id(x) not in self.known:
            made = self.known[id(x)] = f"o{len(self.known)}"
            self.objects[made] = x
        return self.known[id(x)]

    def refuse_unless(self, conditions: Sequence[str], indent: str = "") -> None:
        for i in range(0, len(conditions), 50):
            self.add(f"{indent}if {' or '.join(conditions[i : i + 50])}: return OTHER")

    def function(self, **given: Any) -> Any:
        """`entry(leaves)` of these lines, to which what is `given` is known, too."""
        body = "\n".join(f"        {line}" for line in self.code)
        known = {**KNOWN, **given, **self.objects}
        source = (
            f"def make({', '.join(known)}):\n    def entry(leaves):\n{body}\n    return entry\n"
        )
        defined: dict[str, Any] = {}
        exec(binary(source, "<entry of a compiled function>"), defined)
        return defined["make"](*known.values())


Field = tuple[Any, Any, Any]
"""An object, an attribute's name or an item's number or `len` or `type`, and what that was."""
PLAIN = int, float, str
"""What may be another object, if it is equal."""


class Said(NamedTuple):
    """A condition that must not hold; and the fields of which it says that one is not what it was,
    if it says no more."""

    condition: str
    fields: Sequence[Field] = ()


def settled(reach: Reach, seen: Collection[Any], lines: Lines) -> Iterator[Said]:
    """What must not hold: that something is not what it was. `seen`: nodes whose gradients are
    looked at where they are read."""
    name = lines.name
    for cell, x, _ in reach.cells:
        yield Said(f"{name(cell)}.cell_contents is not {name(x)}")
    values, nodes, wanted = ([value[k] for value in reach.values] for k in range(3))
    yield from answers("node", values, nodes, lines)
    yield from answers("requires_grad", nodes, wanted, lines)
    for _, node, _, none in reach.values:
        if node not in seen:
            yield Said(f"{name(node)}.grad is {'not ' * none}None")
    for holder, key, x in reach.slots:
        if isinstance(holder, type):
            yield Said(f"{name(vars(holder))}.get({key!r}) is not {name(x)}")
        elif x is not GONE and key.isidentifier():
            yield Said(f"{name(holder)}.{key} is not {name(x)}")
        else:
            yield Said(f"getattr({name(holder)}, {key!r}, {name(GONE)}) is not {name(x)}")
    for kind, bases in reach.bases:
        yield Said(f"{name(kind)}.__mro__ is not {name(bases)}")
    for (key, _), variables in reach.hidden.items():
        yield Said(f"{key!r} in {name(variables)}")
    for holder, held in reach.several:
        if all(type(x) is str for x in held):  # the same ones, where they are equal
            yield Said(f"[*{name(holder)}] != {name(held)}")
        else:
            yield Said(f"[*map(id, {name(holder)})] != {name([*map(id, held)])}")
    for ask, answer in reach.asked:
        yield Said(f"{name(ask)}() != {name(answer)}")
    yield from answers(type, reach.objects, [*map(type, reach.objects)], lines)
    lists = [(x, n) for x, n in reach.sizes if type(x) is list]
    others = [(x, n) for x, n in reach.sizes if type(x) is not list]
    for sizes in lists, others:
        yield from answers(len, [x for x, _ in sizes], [n for _, n in sizes], lines)
    sized = {id(x) for x, _ in lists}  # how long a list is, is looked at before its items
    for holder, key, x in reach.settled:
        at = repr(key) if isinstance(key, (str, int)) else name(key)
        item = f"[{at}]" if isinstance(holder, (dict, list)) else f".get({at})"
        get = f"{name(holder)}{item}"
        same = f"{get} is not {name(x)}"
        if type(x) in PLAIN:
            same += f" and repr({get}) != {repr(x)!r}"
        yield Said(same, [(holder, key, x)] if id(holder) in sized else ())


FEW = 50
"""So many questions are written one by one: each takes 10 ns, in a list 25, 10 µs to compile."""


def answers(ask: Any, xs: list[Any], wanted: list[Any], lines: Lines) -> Iterator[Said]:
    """What must not hold: that an attribute, or a function of Python's, says something else of one
    of these."""
    name = lines.name
    fields = [*zip(xs, [ask] * len(xs), wanted)]
    known = ask is not len or all(type(x) is list for x in xs)
    if len(xs) > FEW:
        got = f"x.{ask} for x in" if isinstance(ask, str) else f"*map({ask.__name__},"
        end = "" if isinstance(ask, str) else ")"
        yield Said(f"[{got} {name(xs)}{end}] != {name(wanted)}", fields if known else ())
        return
    for x, ask, y in fields:
        got = f"{name(x)}.{ask}" if isinstance(ask, str) else f"{ask.__name__}({name(x)})"
        differs = f"!= {y}" if ask is len else f"is not {name(y)}"
        yield Said(f"{got} {differs}", [(x, ask, y)] if known else ())


def as_said(holder: Any, key: Any, x: Any) -> bool:
    """Whether a field is what it was."""
    if isinstance(key, str):
        return getattr(holder, key) is x
    now = holder[key] if isinstance(key, int) else key(holder)
    return now is x or (type(x) in PLAIN and repr(now) == repr(x))


def refuse_unless_settled(reach: Reach, reads: Sequence[Read], lines: Lines) -> None:
    gathered = (x.place for x in reads if isinstance(x.place, Numbers) and x.place.key == "grad")
    seen = {node for place in gathered for node in place.holder}
    said = [*settled(reach, seen, lines)]
    fields = [field for _, fields in said for field in fields]
    lines.add("try:")
    if lines.machine and len(fields) > FEW:
        said = [x for x in said if not x.fields]
        same = lines.name(lines.machine.is_same(fields))
        slowly = lines.name(lambda: all(starmap(as_said, fields)))
        lines.refuse_unless([f"not {same}() and not {slowly}()"], " ")
    lines.refuse_unless([x.condition for x in said], " ")
    lines.add(" pass")
    lines.add("except (LookupError, AttributeError): return OTHER")


def place_text(place: Place, lines: Lines) -> str:
    """The place, as it is written in code."""
    if isinstance(place, Argument):
        return f"leaves[{place.holder}]" + (f".node.{place.key}" if place.key else "")
    holder = lines.name(place.holder)
    if isinstance(place, Attribute):
        return f"{holder}.{place.key}"
    key = repr(place.key) if isinstance(place.key, (str, int)) else lines.name(place.key)
    return f"{holder}[{key}]"


class Read(NamedTuple):
    """A place, what was there when the program was written, and of each number there the name that
    it gets, what it was, and the input that it becomes."""

    place: Place
    x: Any
    numbers: list[tuple[str, Any, Instruction]]


def named(reads: Sequence[tuple[Place, Any]], inputs: Sequence[Instruction]) -> list[Read]:
    names, rest = (f"a{n}" for n in range(len(inputs))), iter(inputs)
    return [Read(place, x, [(next(names), y, next(rest)) for y in parts(x)]) for place, x in reads]


def take(read: Read, seen: bool, exact: bool, lines: Lines) -> None:
    """Read what is at a place, and see that the program holds for it. `seen`: whether somebody
    looked at its kind before."""
    place, x, numbers = read
    names = [name for name, _, _ in numbers]
    if isinstance(place, Numbers):
        gather(place, names[0], lines)
        return
    where = place_text(place, lines)
    if type(x) is tuple:
        lines.add(f"t = {where}")
        lines.refuse_unless([f"len(t) != {len(names)}"])
        lines.add(f"{', '.join(names)}, = t")
    else:
        lines.add(f"{names[0]} = {where}")
    if isinstance(place, Rate):
        lines.add(f"if type({names[0]}) is {lines.name(np.float64)}: {names[0]} = {where}.item()")
    if not seen:
        for name, part, i in numbers:
            look(name, part, i, lines, exact)
    if place.nonzero:
        lines.refuse_unless([f"not {name}" for name in names])
    if place.is_rate and type(x) is float:  # which the optimiser itself refuses
        lines.refuse_unless([f"not 0 <= {name} < {lines.name(math.inf)}" for name in names])


def gather(place: Numbers, name: str, lines: Lines) -> None:
    """Read many numbers into a vector."""
    if lines.machine:
        lines.add(f"{name} = {lines.name(lines.machine.reader(place))}()")
        lines.refuse_unless([f"{name} is None"])
    else:
        kinds = [np.float64] * len(place.holder)
        lines.add(f"{name} = [node.{place.key} for node in {lines.name(place.holder)}]")
        lines.refuse_unless([f"[*map(type, {name})] != {lines.name(kinds)}"])
        lines.add(f"{name} = {lines.name(np.fromiter)}({name}, float, {len(kinds)})")


def look(name: str, x: Any, i: Instruction, lines: Lines, exact: bool) -> None:
    """See that what has this name is of the kind, dtype and shape that `x` was, and if `exact` lies
    in memory as it did."""
    kind = f"type({name}) is not {lines.name(type(x))}"
    if isinstance(i.dtype, type) or isinstance(x, np.number):  # the type says it all
        lines.refuse_unless([kind])
    else:
        known = lines.name(x.dtype)
        dtype = f"{name}.dtype is not {known} and {name}.dtype != {known}"  # a pickled one
        lines.refuse_unless([kind, dtype, f"{name}.shape != {i.shape!r}"])
        if exact and len(i.shape or ()) > 1:
            lines.refuse_unless([f"{lines.name(order_of)}({name}) != {i.order!r}"])


def put(write: Write, x: str, old: str, lines: Lines) -> None:
    """Write `x`, some code, to a place, at which `old` was read."""
    place, _, _, inside, short = write
    x = f"{lines.name(kept)}({x})" if short else x
    if inside:  # others that hold the array see it
        lines.add(f"    if {x} is not {old}: {old}[...] = {x}")
    elif not isinstance(place, Numbers):
        lines.add(f"    {place_text(place, lines)} = {x}")
    elif lines.machine:
        lines.add(f"    {lines.name(lines.machine.writer(place))}({x})")
    else:
        lines.add(f"    for node, x in zip({lines.name(place.holder)}, {x}.flat):")
        lines.add(f"        node.{place.key} = x")


def entry_of(
    step: Any,
    reach: Reach,
    reads: Sequence[tuple[Place, Any]],
    inputs: Sequence[Instruction],
    written: frozenset[Instruction],
    writes: Sequence[Write],
    results: int,
    result: Any,
    nodes: Any,
    plain: bool,
    exact: bool,
    machine: Any = None,
) -> Any:
    """`entry(leaves)`, which answers the result, or OTHER, or CARE.

    `reads`: places, with what was there when the program was written; `inputs`: an instruction for
    each number there; `result`: what makes the function's result of the outputs, the first of which
    are its, and of the nodes that it came from, or what tells these. `plain`: whether the leaves
    are arrays that nobody has looked at yet.
    """
    lines, places = Lines(machine), named(reads, inputs)
    arguments = [read for read in places if isinstance(read.place, Argument)]  # which come first
    if plain:
        lines.refuse_unless([f"len(leaves) != {len(arguments)}"])
    for read in arguments:  # another shape is what changes most often
        take(read, not (plain or read.place.key), exact, lines)
    refuse_unless_settled(reach, places, lines)
    for read in places[len(arguments) :]:
        take(read, False, exact, lines)
    inside = {write.place.identity for write in writes if write.inside}
    own = [read for read in places if read.place.identity not in inside]
    lines.code += [SOLE.format(name) for x in own for name, _, i in x.numbers if i in written]
    lines.add(f"held = {'hold_back()' if writes else 'False'}")
    lines.add("quiet = errors.set(QUIET)")
    lines.add("try:")
    lines.add(f"    out = step({', '.join(name for x in places for name, _, _ in x.numbers)})")
    lines.add("    if out is None: return CARE")
    old = {read.place.identity: read.numbers[0][0] for read in places if read.numbers}
    n = results
    for write in writes:
        x = f"out[{n}:{n + write.outputs}]" if write.several else f"out[{n}]"
        put(write, x, old.get(write.place.identity, ""), lines)
        n += write.outputs
    lines.add("finally:")
    lines.add("    errors.reset(quiet)")
    lines.add("    let_go(held)")
    lines.add(f"return result(out, {'nodes(leaves)' if callable(nodes) else 'nodes'})")
    return lines.function(step=step, result=result, nodes=nodes)


def sole() -> int:
    """What `sys.getrefcount` says of an array that an object and a local variable hold."""

    class Holder:
        x = None

    holder = Holder()
    holder.x = np.zeros(2)  # type: ignore[assignment]
    local = holder.x
    return sys.getrefcount(local)


SHARED = f"getrefcount({{0}}) != {sole()} or {{0}}.base is not None or not {{0}}.flags.writeable"
SOLE = f"if {SHARED}: {{0}} = {{0}}.copy()"
"""What is written over must be nobody else's."""

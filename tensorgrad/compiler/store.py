"""Code of programs on disk: what was just written down is looked for there before any pass is made.

It is looked up by all that its code depends on, as text: its instructions, with the names and
constants in them, what is written over what, the passes, and the files of this package. What no
text tells from others, such as a function of the user's, is compiled each time.
"""

from __future__ import annotations

import hashlib
import marshal
import operator
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tensorgrad.compiler.cache import cached
from tensorgrad.compiler.passes import Pass, name_of
from tensorgrad.compiler.program import Instruction, Loop, Program, Rule
from tensorgrad.compiler.source import Code

LEAST, MOST = 64, 20_000
"""Of how many instructions a program is looked up: a smaller one is compiled in the time of writing
a file, and the instructions of a larger one would be held for who asks what became of them."""
PACKAGES = frozenset({"numpy", "scipy", "tensorgrad", "_operator", "builtins"})
"""Whose functions are what their names say."""
LOADED = time.time_ns()
"""When the files of this package were read."""
PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None), type(...)})


class Unknown(Exception):
    """What no text tells from others, or is no longer there."""


def stored(
    program: Program,
    passes: Sequence[Pass],
    settings: Any,
    make: Callable[[], Code],
    again: Callable[[], Program],
) -> Code:
    """The code of a program: from the disk, or what `make()` answers, which may use it up.

    `settings`: what the code depends on besides; `again()`: the program after all passes, for
    kernels that are called otherwise than was expected.
    """
    if not LEAST <= len(program.body) <= MOST:
        return make()
    words, made = Words(), list[Code]()
    try:
        lines = [*words.lines(program), repr(settings), *depends(tuple(map(name_of, passes)))]
    except Unknown:
        return make()

    def packed() -> bytes:
        made.append(make())
        return words.packed(made[0], program.inputs)

    try:
        data = cached("\n".join(lines), packed, ".program")
        return made[0] if made else words.unpacked(data, program.inputs, again)
    except Unknown:
        return made[0] if made else make()


class Words:
    """The words for what is in a program. `given`: arrays and generators that stand in it."""

    def __init__(self) -> None:
        self.names: dict[Instruction, str] = {}
        self.given: list[Any] = []
        self.known: dict[int, int] = {}  # by their ids, their numbers

    def lines(self, program: Program) -> Iterator[str]:
        """The program as text."""
        names, text = self.names, self.text
        kinds: dict[Any, str] = {}
        functions: dict[Any, str] = {}
        for n, i in enumerate((*program.inputs, *program.body), start=len(names)):
            names[i] = f"v{n}"
            kind = i.shape, id(i.dtype), i.order, id(i.scope)
            if kind not in kinds:
                kinds[kind] = text((i.shape, i.dtype, i.order, i.scope and (*i.scope,)))
            if i.function not in functions:
                functions[i.function] = text(i.function)
            how = text(i.kwargs) if i.kwargs else ""
            yield f"{i.name!r} {kinds[kind]} {functions[i.function]} {text(i.args)} {how}"
        yield text((program.outputs, program.checks, program.factors))
        gaps = [n for n, x in enumerate(program.inputs) if x in program.gaps]
        yield f"{program.exact} {program.arguments} {gaps}"

    def text(self, x: Any) -> str:
        """An argument as text."""
        kind = type(x)
        if kind is Instruction:
            return self.names[x]
        if kind in PLAIN:
            return repr(x) if x == x else f"{kind} {np.array(x).tobytes().hex()}"  # NaN has signs
        if kind is tuple or kind is list:
            names, text = self.names, self.text
            parts = [names[y] if type(y) is Instruction else text(y) for y in x]
            return f"({', '.join(parts)})" if kind is tuple else f"[{', '.join(parts)}]"
        if kind is dict:
            return f"dict({', '.join([f'{k!r}: {self.text(y)}' for k, y in x.items()])})"
        if kind is slice:
            return f"{self.text(x.start)}:{self.text(x.stop)}:{self.text(x.step)}"
        if kind is Loop:
            own = self.text((x.carry, x.reads, x.reverse, x.times))
            return "\n".join([f"scan {own}", *self.lines(x.program), "end"])
        if kind is Rule:
            return "\n".join(["rule", *self.lines(x.program), "end"])
        if isinstance(x, np.dtype):
            return repr(x)
        if kind is np.ndarray or isinstance(x, np.random.Generator):
            return self.object(x)
        if isinstance(x, np.generic) and not x.dtype.hasobject:
            return f"{x.dtype!r} {x.tobytes().hex()}"
        if isinstance(x, tuple):  # with names for its parts
            return f"{self.text(kind)} {self.text((*x,))}"
        return " ".join(reference(x))

    def object(self, x: Any) -> str:
        """The word for an array, or generator, which may stand there several times."""
        if id(x) in self.known:
            return f"object {self.known[id(x)]}"
        self.known[id(x)] = len(self.given)
        self.given.append(x)
        if isinstance(x, np.random.Generator):
            return "generator"
        if x.dtype.hasobject:
            raise Unknown
        return f"{x.dtype!r} {x.shape} {x.strides} {hashlib.sha256(x.tobytes()).hexdigest()}"

    def packed(self, code: Code, inputs: Sequence[Instruction]) -> bytes:
        """The code as bytes."""
        constants = [(name, self.recipe(x)) for name, x in code.constants.items()]
        written = [k for k, i in enumerate(inputs) if i in code.written]
        whole = code.source, code.inputs, constants, written, code.nbytes
        return marshal.dumps(whole)

    def recipe(self, x: Any) -> tuple[Any, ...]:
        """How a constant of some code is found again."""
        if id(x) in self.known:
            return "given", self.known[id(x)]
        if type(x) in PLAIN:
            return "plain", x
        if isinstance(x, tuple) and all(map(is_plain, x)):
            return "tuple", (*x,), *reference(type(x))[:2]
        array = type(x) is np.ndarray and x.flags.c_contiguous
        if (array or isinstance(x, np.generic)) and x.dtype.isbuiltin == 1:
            return "array" if array else "number", x.tobytes(), x.dtype.str, x.shape
        machine_code = getattr(getattr(x, "__self__", None), "key", None)
        return ("kernel", machine_code) if machine_code else ("function", *reference(x)[:2])

    def unpacked(
        self, data: bytes, inputs: Sequence[Instruction], again: Callable[[], Program]
    ) -> Code:
        """The code that was packed."""
        source, names, recipes, written, nbytes = marshal.loads(data)
        keys = [key for _, (kind, key, *_) in recipes if kind == "kernel"]
        kernels = iter(kernels_of(keys, again))
        constants: dict[str, Any] = {}
        for name, (kind, x, *rest) in recipes:
            if kind == "given":
                x = self.given[x]
            elif kind in ("array", "number"):
                x = np.frombuffer(x, rest[0]).reshape(rest[1])
                x = x.copy() if kind == "array" else x[()]
            elif kind == "tuple":
                x = found(*rest)(*x)
            elif kind != "plain":
                x = next(kernels) if kind == "kernel" else found(x, *rest)
            constants[name] = x
        own = frozenset([inputs[k] for k in written])
        return Code(source, names, constants, own, nbytes)


def is_plain(x: Any) -> bool:
    return type(x) in PLAIN or (type(x) is tuple and all(map(is_plain, x)))


def kernels_of(keys: Sequence[Any], again: Callable[[], Program]) -> Sequence[Any]:
    """Machine code that is on disk. Unknown, where some of it is gone."""
    if not keys:
        return ()
    from tensorgrad.compiler.llvm.load import reloaded

    kernels = reloaded(keys, again)
    if not kernels:
        raise Unknown
    return kernels


def reference(f: Any) -> tuple[str, str, str]:
    """The module, and the name there, by which Python finds a function or type; and the version of
    the package. Unknown, where that is not so."""
    if not callable(f) or f.__hash__ is None:
        raise Unknown
    return found_as(f)


@cache
def found_as(f: Any) -> tuple[str, str, str]:
    owner = getattr(f, "__self__", None)
    if isinstance(owner, np.ufunc):
        module, name, version = found_as(owner)
        return module, f"{name}.{f.__name__}", version
    own = getattr(f, "__module__", None) or "numpy"
    called = str(getattr(f, "__qualname__", "") or getattr(f, "__name__", ""))
    for module in (own, "numpy", "scipy.special"):
        package = module.partition(".")[0]
        for name in (called, f"{called}.__wrapped__") if package in PACKAGES else ():
            if found(module, name) is f:
                return module, name, getattr(sys.modules[package], "__version__", "")
    raise Unknown


def found(module: str, name: str) -> Any:
    try:
        return operator.attrgetter(name)(sys.modules[module])
    except (KeyError, AttributeError):
        return None


@cache
def depends(passes: tuple[str, ...]) -> tuple[str, ...]:
    """What code depends on besides its program: Python, NumPy, this package's files, as Python
    itself looks whether they have changed, and for machine code LLVM and the processor."""
    files, folders = list[str](), [str(Path(__file__).parents[1])]
    for folder in folders:
        with os.scandir(folder) as entries:
            for x in entries:
                if x.is_dir():
                    folders.append(x.path)
                elif x.name.endswith(".py"):
                    there = x.stat()
                    if there.st_mtime_ns > LOADED:
                        raise Unknown  # another release was installed since: this one runs here
                    files.append(f"{x.path} {there.st_mtime_ns} {there.st_size}")
    below: tuple[str, ...] = ()
    if "machine code" in passes:
        from tensorgrad.compiler.llvm import load

        below = load.depends()
    return sys.version, np.__version__, *passes, *sorted(files), *below

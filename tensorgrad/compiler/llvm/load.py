"""Kernels: compiled, or read from the disk, and loaded as Python functions."""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from tensorgrad.compiler.blas import TYPES as REALS
from tensorgrad.compiler.blas import routine
from tensorgrad.compiler.cache import cached, kept
from tensorgrad.compiler.llvm import (
    call,
    kernel,
    mathematics,
    operations,
    products,
    scatter,
    squares,
)
from tensorgrad.compiler.llvm.call import (
    ENTRY,
    ENTRY_CODE,
    HEAD,
    PYTHONS,
    TYPES,
    cost_of,
    table_of,
    written,
)
from tensorgrad.compiler.llvm.kernel import MANY as MANY_AT_ONCE
from tensorgrad.compiler.llvm.kernel import WHOLE, Refused, arguments, is_one_loop, strides_of
from tensorgrad.compiler.program import (
    ROWS_ADDED,
    Composite,
    Fused,
    Instruction,
    Program,
    of_matrices,
    replaced,
)

FASTCALL = 0x80  # METH_FASTCALL


class Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


@cache
def begin() -> None:
    """Get LLVM ready. RuntimeError if objects of this Python, or arrays of this NumPy, are not as
    the code expects them."""
    x, number = np.arange(6.0, dtype=np.float32).reshape(2, 3), np.float32(1.5)

    def field(of: Any, offset: int, kind: Any) -> Any:
        return kind.from_address(id(of) + HEAD + offset).value

    found = (
        field(x, 0, ctypes.c_void_p) == x.ctypes.data
        and field(x, 8, ctypes.c_int) == 2
        and field(x, -8, ctypes.c_void_p) == id(np.ndarray)
        and field(number, 0, ctypes.c_float) == 1.5
        and field(2.5, 0, ctypes.c_double) == 2.5
        and (ctypes.c_int64 * 2).from_address(field(x, 16, ctypes.c_void_p))[:] == [2, 3]
        and (ctypes.c_int64 * 2).from_address(field(x, 24, ctypes.c_void_p))[:] == [12, 4]
        and field(Kernel(x), 0, ctypes.c_void_p) == id(x)
    )
    if not found or sys.byteorder != "little":
        raise RuntimeError("arrays of this NumPy lie otherwise in memory")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    called = {name: getattr(ctypes.pythonapi, name) for name in PYTHONS}
    called |= {products.name_of(char): routine(char)[0] for char in REALS}
    for name, function in called.items():
        if function is not None:
            llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)


def processor() -> tuple[str, Any]:
    """The name of this processor, and what it has."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features()


def here() -> tuple[str, str]:
    """The same as LLVM has it, in two texts."""
    name, has = processor()
    return name, has.flatten()


def machine(name: str, features: str) -> Any:
    """What code is made for: a processor."""
    begin()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=3, jit=True
    )


target = cache(machine)


def available() -> frozenset[str]:
    return frozenset(name for name, there in processor()[1].items() if there)


def made(text: Callable[[], str]) -> bytes:
    """The machine code of a module."""
    module = llvm.parse_assembly(text())
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    # A loop over 10 classes would be unrolled before it could become one of vectors: softmax of
    # (64, 10) takes 1.4 µs so, and 3.3 unrolled; and compiling a fourth less.
    options.loop_unrolling = False
    options.slp_vectorization = False  # loops are vectors by then: it looks a twelfth of the time
    there = target(*here())
    builder = llvm.create_pass_builder(there, options)
    builder.getModulePassManager().run(module, builder)
    code: bytes = there.emit_object(module)
    return code


Run = Callable[..., None]
Key = tuple[bytes, bytes]
"""By which a kernel is found again: the key of its code on disk, and its table."""


def kernels(programs: Sequence[Program]) -> list[Run]:
    """For each program a function of its inputs and of the arrays that its outputs go to."""
    return loaded([(p, [strides_of(i) for i in arguments(p)]) for p in programs])


@cache
def entry() -> tuple[Any, Any]:
    """The function that Python calls, of all kernels, and what holds its code."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine(*here()))
    code = cached("\n".join([ENTRY_CODE, *depends()]), partial(made, lambda: ENTRY_CODE))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    types = (ctypes.c_void_p * len(TYPES)).from_address(engine.get_global_value_address("types"))
    types[:] = [id(np.dtype(char).type) for char in TYPES]
    return Method(b"kernel", engine.get_function_address(ENTRY), FASTCALL, None), engine


def loaded(kernels: Sequence[tuple[Program, Sequence[Any]]]) -> list[Run]:
    """Functions of programs, for arrays of these strides."""
    code: dict[bytes, bytes] = {}
    keys = []
    for given in kernels:
        program, layout = of_any_length(*given)
        text = "\n".join([*described(program), str(layout), *depends()])
        key = hashlib.sha256(text.encode()).digest()
        keys.append(key)
        if key in code:
            continue
        make = partial(written, program, layout, name_of(key), available())
        try:
            code[key] = cached(text, partial(made, make))
        except Refused:
            code[key] = b""
        except RuntimeError as error:
            warnings.warn(f"LLVM refuses a kernel, which runs on NumPy: {error}", stacklevel=2)
            code[key] = b""
    engine = holding(code)
    return [
        function_of(engine, (key, table_in(engine, key, program, layout)), lambda p=program: p)  # type: ignore[misc]
        if code[key]
        else partial(plain, program)
        for (program, layout), key in zip(kernels, keys)
    ]


def table_in(engine: Any, key: bytes, program: Program, layout: Sequence[Any]) -> bytes:
    """The table of a kernel whose code is there."""
    cost = ctypes.c_int64.from_address(engine.get_global_value_address(cost_of(name_of(key)))).value
    length = math.prod(program.outputs[0].shape) if is_one_loop(program, layout) else 0
    table: bytes = table_of(program, layout, cost * (length or 1), length).tobytes()
    return table


def of_any_length(
    program: Program, layout: Sequence[tuple[int, ...]]
) -> tuple[Program, Sequence[tuple[int, ...]]]:
    """The same of vectors, of one of two lengths, if it is one loop: one so long that its code is
    another, or a shorter one."""
    if not is_one_loop(program, layout):
        return program, layout
    size = math.prod(program.outputs[0].shape)
    length = MANY_AT_ONCE if size >= MANY_AT_ONCE else WHOLE
    made: dict[Instruction, Any] = {}
    for i in (*program.inputs, *program.body):
        args, kwargs = replaced(i.args, made), replaced(i.kwargs, made)
        made[i] = Instruction(i.function, args, kwargs, (length,) if i.shape else (), i.dtype)
    body = [made[i] for i in program.body]
    flat = Program([made[i] for i in program.inputs], body, replaced(program.outputs, made))
    return flat, [(1,) if i.shape else () for i in arguments(program)]


def reloaded(keys: Sequence[Key], again: Callable[[], Program]) -> list[Run]:
    """Functions of kernels that are on disk; none if one of them is gone. `again()`: the program
    that they are in."""
    code = {key: kept(key) for key, _ in keys}
    if not all(code.values()):
        return []
    engine = holding(code)
    return [function_of(engine, key, partial(program_of, key, again)) for key in keys]


def program_of(key: Key, again: Callable[[], Program]) -> Program:
    """The program of a kernel, one of those that a program is made of."""
    waiting = [again()]
    for program in waiting:
        for f in [i.function for i in program.body]:
            others = getattr(getattr(f, "run", None), "__self__", None)
            if isinstance(others, Others) and others.key == key:
                return f.program  # type: ignore[no-any-return]
            waiting += [f.program] if isinstance(f, Composite) else []
    raise RuntimeError("a program of kernels became another one than it was")


def name_of(key: bytes) -> str:
    return f"kernel_{key.hex()[:16]}"


def holding(code: Mapping[bytes, bytes]) -> Any:
    """What has these kernels in memory."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine(*here()))
    for x in filter(None, code.values()):
        engine.add_object_file(llvm.ObjectFileRef.from_data(x))
    engine.finalize_object()
    return engine


def plain(program: Program, *given: Any) -> None:
    """NumPy's own, of what is none for a kernel."""
    n = len(program.inputs)
    outs = Fused(program)(*given[:n])
    for x, new in zip(given[n:], outs if type(outs) is tuple else (outs,)):
        x[...] = new


def described(program: Program) -> Iterator[str]:
    """All that a kernel depends on, line by line."""
    number = {i: k for k, i in enumerate([*program.inputs, *program.body])}

    def text(x: Any) -> str:
        if isinstance(x, Instruction):
            return f"v{number[x]}"
        if isinstance(x, (np.ndarray, np.generic)):
            return f"{x.dtype.str}{np.shape(x)} {x.tobytes().hex()}"
        if isinstance(x, (tuple, list)):
            return f"({', '.join(map(text, x))})"
        return repr(x)

    for i, k in number.items():
        kind = i.dtype.__name__ if isinstance(i.dtype, type) else np.dtype(i.dtype).str
        name = i.function
        if name is not None:
            owner = getattr(name, "__self__", None)
            name = f"{owner.__name__}.{name.__name__}" if owner else name.__name__
        settings = ", ".join(f"{key}={text(x)}" for key, x in sorted(i.kwargs.items()))
        yield f"v{k}: {kind}{i.shape} = {name} {text(i.args)} {settings}"
    yield text(program.outputs)


@cache
def depends() -> tuple[str, ...]:
    """What the code of a kernel depends on besides: this processor, LLVM, and these files."""
    begin()
    rooms = mathematics, operations, kernel, products, scatter, squares, call
    files = *rooms, sys.modules[__name__]
    sources = map(inspect.getsource, files)
    return (
        *(llvm.get_default_triple(), *here(), *(str(products.bits(char)) for char in REALS)),
        *(llvmlite.__version__, hashlib.sha256("".join(sources).encode()).hexdigest()),
    )


def function_of(engine: Any, key: Key, program: Callable[[], Program]) -> Run:
    """The function, which holds the engine that it is in."""
    code, table = key[0], np.frombuffer(key[1], np.int64)
    places = [engine.get_function_address(name_of(code)), table.ctypes.data]
    method, _ = entry()
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    new.restype = ctypes.py_object
    others = Others(np.array(places, np.int64), key, program, (engine, table))
    run: Run = new(ctypes.addressof(method), others, None)
    return run


MANY = 4
"""For so many layouts there is code of their own; others are copied."""


class Kernel:
    """Where a kernel is, and its table, as the code that Python calls finds it."""

    __slots__ = ("places",)

    def __init__(self, places: Any) -> None:
        self.places = places


class Others(Kernel):
    """Runs a kernel's program on arrays that lie otherwise than it expects."""

    __slots__ = ("find", "held", "key", "known")

    def __init__(self, places: Any, key: Key, program: Callable[[], Program], held: Any) -> None:
        super().__init__(places)
        self.key, self.find, self.held = key, program, held
        self.known: dict[Any, Run] = {}

    @property
    def program(self) -> Program:
        return self.find()

    def __call__(self, *given: Any) -> None:
        expected = arguments(self.program)
        if len(given) != len(expected):
            raise TypeError(f"a kernel of {len(expected)} arrays, not {len(given)}")
        for x, i in zip(given, expected):
            if np.shape(x) != (i.shape or ()) or np.result_type(x) != i.dtype:
                raise ValueError(f"{i!r} is expected, not {x!r:.60}")
        alone = lambda i: i.function is ROWS_ADDED or of_matrices(i)
        if any(map(alone, self.program.body)):  # with a number of no row, or with 0
            plain(self.program, *given)
            return
        layout = [*map(layout_of, given)]
        run = self.known.get(tuple(layout))
        if run is None:
            if len(self.known) == MANY or None in layout:
                self.copied(given, expected)
                return
            run = self.known[tuple(layout)] = self.made(layout)
        run(*given)

    def made(self, layout: Sequence[Any]) -> Run:
        (run,) = loaded([(self.program, layout)])
        return run

    def copied(self, given: Sequence[Any], expected: Sequence[Instruction]) -> None:
        arrays = [np.array(x, order="C") for x in given]
        plain = tuple(map(layout_of, arrays))
        if plain not in self.known:
            self.known[plain] = self.made(plain)
        self.known[plain](*arrays)
        for x, new in zip(given[len(self.program.inputs) :], arrays[len(self.program.inputs) :]):
            x[...] = new


def layout_of(x: Any) -> Any:
    """The strides of an array, in entries; None if its numbers lie between those of others."""
    if not np.ndim(x):
        return ()
    if any(n % x.itemsize for n in x.strides) or x.ctypes.data % x.itemsize:
        return None
    return tuple(step // x.itemsize if n > 1 else 0 for n, step in zip(x.shape, x.strides))

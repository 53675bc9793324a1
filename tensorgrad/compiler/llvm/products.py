"""A product of small matrices: a call of BLAS from machine code. It takes 0.2 µs where NumPy's
`matmul` takes 1, and ctypes 1.5.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from tensorgrad.compiler.blas import ROWS as IN_ROWS
from tensorgrad.compiler.blas import STRAIGHT, TURNED, TYPES, routine
from tensorgrad.compiler.llvm.kernel import POINTER, Refused, arguments, strides_of
from tensorgrad.compiler.llvm.mathematics import BOOL, I64
from tensorgrad.compiler.llvm.operations import kind_of
from tensorgrad.compiler.program import Instruction, Program, of_matrices, plus_product

I32 = ir.IntType(32)
SMALL = 1 << 20
"""Products of numbers up to which that is a part of the time of BLAS itself."""


@cache
def bits(char: str) -> int:
    """How many a size has in BLAS; 0 if there is none."""
    gemm, size = routine(char)
    return 8 * ctypes.sizeof(size) if gemm else 0


def name_of(char: str) -> str:
    """What LLVM calls the routine of BLAS."""
    return f"tensorgrad_{TYPES[char][0]}"


def multiplies(i: Instruction) -> bool:
    """Whether an instruction is a product of small matrices, which is a program of its own."""
    if not of_matrices(i) or i.order or i.dtype not in (np.float32, np.float64):
        return False
    plus = i.function is plus_product
    numbers, (x, y) = (i.args[1::3], i.args[2:4]) if plus else ((), i.args)
    matrices = (x, y, *i.args[:plus])
    if any(not isinstance(z, Instruction) or z.dtype != i.dtype for z in matrices):
        return False
    shapes = [z.shape or () for z in matrices]
    if any(len(s) != 2 or min(s) < 2 for s in shapes) or (i.kwargs and not plus):
        return False
    real = all(map(is_loaded, numbers))
    cost = math.prod(i.shape or ()) * math.prod(x.shape) // (i.shape or ())[0]
    return real and 0 < cost <= SMALL and bits(np.dtype(i.dtype).char) > 0


def is_loaded(s: Any) -> bool:
    """Whether it is a real number that machine code finds in memory, or may have in itself."""
    if isinstance(s, Instruction):
        return s.dtype is float or (not s.shape and s.dtype in (np.float32, np.float64))
    return not np.ndim(s) and np.asarray(s).dtype.kind in "if"


def turned(i: Instruction) -> list[Instruction]:
    """The operands that are transposes: BLAS is told so, and no view is made."""
    return [
        x
        for x in dict.fromkeys(i.operands)
        if x.function is np.transpose and len(x.operands) == len(x.args) == 1 and not x.kwargs
    ]


def steps(x: Instruction, strides: Sequence[int]) -> tuple[bool, int]:
    """How a matrix lies: whether turned, and from where to where its rows are, or its columns."""
    (m, n), (a, b) = x.shape or (), strides
    if b == 1 and a >= n:
        return False, a
    if a == 1 and b >= m:
        return True, b
    raise Refused("a matrix whose numbers do not lie side by side")


class Gemm:
    """Writes it into a function of the pointers to what it reads and to the result. It answers
    whether that is there: it is not where BLAS is told to multiply by 0, and forgets NaN."""

    def __init__(
        self, program: Program, layouts: Sequence[tuple[int, ...]], module: Any, name: str
    ) -> None:
        *views, i = program.body
        given = arguments(program)
        strides, plus = dict(zip(given, layouts)), i.function is plus_product
        strides |= {x: strides[x.args[0]][::-1] for x in views}
        c, alpha, x, y, *beta = i.args if plus else (i, 1.0, *i.args, 0.0)
        if not strides[i] == strides[c] == strides_of(i):
            raise Refused("a result that does not lie in rows")
        (m, n), dtype = i.shape or (), np.dtype(i.dtype)
        k = math.prod(x.shape) // m
        self.cost = m * n * k // 32
        size, real = ir.IntType(bits(dtype.char)), kind_of(dtype)
        self.function = function = ir.Function(
            module, ir.FunctionType(BOOL, [POINTER] * len(given)), name
        )
        function.linkage = "internal"
        self.pointers = pointers = dict(zip(given, function.args))
        self.b = ir.IRBuilder(function.append_basic_block())
        numbers = [self.number(s, real) for s in (alpha, *(beta or [1.0]))]
        if plus:
            self.unless_zero(*numbers)
            self.copied(pointers[c], pointers[i], m * n * dtype.itemsize)
        settings, factors = [ir.Constant(I32, IN_ROWS.value)], []
        for z, name in ((x, "x_turned"), (y, "y_turned")):
            lies_turned, step = steps(z, strides[z])
            how = TURNED if lies_turned != i.kwargs.get(name, False) else STRAIGHT
            settings.append(ir.Constant(I32, how.value))
            factors += [pointers[z.args[0] if z in views else z], ir.Constant(size, step)]
        settings += [ir.Constant(size, length) for length in (m, n, k)]
        of = [*settings, numbers[0], *factors, numbers[1], pointers[i], ir.Constant(size, n)]
        kind = ir.FunctionType(ir.VoidType(), [s.type for s in of])
        self.b.call(ir.Function(module, kind, name_of(dtype.char)), of)
        self.b.ret(ir.Constant(BOOL, 1))

    def number(self, s: Any, real: Any) -> Any:
        """What a number is, in the dtype of the matrices."""
        if not isinstance(s, Instruction):
            return ir.Constant(real, float(s))
        kind = ir.DoubleType() if s.dtype is float else kind_of(s.dtype)
        x = self.b.load(self.pointers[s], typ=kind)
        if kind == real:
            return x
        return self.b.fptrunc(x, real) if kind == ir.DoubleType() else self.b.fpext(x, real)

    def unless_zero(self, *numbers: Any) -> None:
        b = self.b
        for x in numbers:
            fine, zero = (b.function.append_basic_block() for _ in range(2))
            b.cbranch(b.fcmp_unordered("!=", x, ir.Constant(x.type, 0.0)), fine, zero)
            b.position_at_end(zero)
            b.ret(ir.Constant(BOOL, 0))
            b.position_at_end(fine)

    def copied(self, x: Any, out: Any, nbytes: int) -> None:
        """Begin with what is added to, if it is not there yet."""
        b = self.b
        other, same = (b.function.append_basic_block() for _ in range(2))
        b.cbranch(b.icmp_unsigned("!=", x, out), other, same)
        b.position_at_end(other)
        kinds = ir.FunctionType(POINTER, [POINTER, POINTER, I64])
        b.call(ir.Function(b.module, kinds, "memcpy"), [out, x, ir.Constant(I64, nbytes)])
        b.branch(same)
        b.position_at_end(same)

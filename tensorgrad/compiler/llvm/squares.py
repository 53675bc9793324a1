"""The loops that add up the squares of many arrays: one for each dtype, that goes through all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tensorgrad.compiler.llvm.kernel import POINTER, Refused, arguments, is_dense
from tensorgrad.compiler.llvm.mathematics import I64
from tensorgrad.compiler.llvm.operations import kind_of
from tensorgrad.compiler.program import Program

DOUBLE = ir.DoubleType()
ANY_ORDER = "reassoc", "contract"


class Squares:
    """Writes them into a function of the pointers to the arrays, or numbers, and to the result.
    Each is a loop of its own otherwise: 50 arrays take a fifth of a second to compile."""

    def __init__(
        self, program: Program, layouts: Sequence[tuple[int, ...]], module: Any, name: str
    ) -> None:
        *given, result = arguments(program)
        if not all(map(is_dense, given, layouts)):
            raise Refused("numbers that do not lie side by side")
        self.module, self.name, self.loops = module, name, dict[str, Any]()
        self.cost = sum(math.prod(x.shape or ()) for x in given)
        kind = ir.FunctionType(ir.VoidType(), [POINTER] * (len(given) + 1))
        self.function = function = ir.Function(module, kind, name)
        function.linkage = "internal"
        b = ir.IRBuilder(function.append_basic_block())
        total: Any = ir.Constant(DOUBLE, 0.0)
        for x, pointer in zip(given, function.args):
            number = widened(b, b.load(pointer, typ=kind_of(x.dtype))) if not x.shape else None
            if number is None:
                n = ir.Constant(I64, math.prod(x.shape or ()))
                number = b.call(self.loop(np.dtype(x.dtype)), [pointer, n])
            total = b.fadd(total, number)
        narrow = kind_of(result.dtype)
        total = total if narrow == DOUBLE else b.fptrunc(total, narrow)
        b.store(total, function.args[-1])
        b.ret_void()

    def loop(self, dtype: np.dtype[Any]) -> Any:
        """The function that answers, in double, the sum of the squares of n numbers of a dtype."""
        if dtype.char in self.loops:
            return self.loops[dtype.char]
        function = ir.Function(
            self.module, ir.FunctionType(DOUBLE, [POINTER, I64]), f"{self.name}.{dtype.char}"
        )
        function.linkage = "internal"
        function.attributes.add("noinline")
        self.loops[dtype.char] = function
        pointer, n = function.args
        start = function.append_basic_block()
        head, after = function.append_basic_block(), function.append_basic_block()
        ir.IRBuilder(start).branch(head)
        b = ir.IRBuilder(head)
        k, total = b.phi(I64), b.phi(DOUBLE)
        kind = kind_of(dtype)
        x = widened(b, b.load(b.gep(pointer, [k], inbounds=True, source_etype=kind), typ=kind))
        square = b.fmul(x, x, flags=ANY_ORDER)
        new = b.fadd(total, square, flags=ANY_ORDER)
        following = b.add(k, ir.Constant(I64, 1), flags=("nuw", "nsw"))
        for phi, first, later in (
            (k, ir.Constant(I64, 0), following),
            (total, ir.Constant(DOUBLE, 0.0), new),
        ):
            phi.add_incoming(first, start)
            phi.add_incoming(later, head)
        b.cbranch(b.icmp_unsigned("<", following, n), head, after)
        ir.IRBuilder(after).ret(new)
        return function


def widened(b: Any, x: Any) -> Any:
    return x if x.type == DOUBLE else b.fpext(x, DOUBLE)

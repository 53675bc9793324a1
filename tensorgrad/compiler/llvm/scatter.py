"""The loops that add rows where numbers say, as the gradient of an embedding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tensorgrad.compiler.llvm.kernel import POINTER, Refused, arguments, strides_of
from tensorgrad.compiler.llvm.mathematics import BOOL, I64
from tensorgrad.compiler.llvm.operations import kind_of
from tensorgrad.compiler.program import ROWS_ADDED, Instruction, Program


def scatters(i: Instruction) -> bool:
    """Whether an instruction adds rows, of arrays that are as these loops want them."""
    if i.function is not ROWS_ADDED or i.order or not i.shape:
        return False
    g, indices = i.args
    known = isinstance(g, Instruction) and isinstance(indices, (Instruction, np.ndarray))
    if not known or not math.prod(g.shape or ()) or not indices.shape or g.dtype != i.dtype:
        return False
    return g.dtype in (np.float32, np.float64) and np.dtype(indices.dtype).kind in "iu"


def side_by_side(x: Instruction, strides: Sequence[int]) -> bool:
    each = zip(x.shape or (), strides, strides_of(x))
    return all(n == 1 or step == wanted for n, step, wanted in each)


class Scatter:
    """Writes them into a function of the pointers to both arrays and to the result. It answers
    whether the result is there: it is not where a number is of no row."""

    def __init__(
        self, program: Program, layouts: Sequence[tuple[int, ...]], module: Any, name: str
    ) -> None:
        given = arguments(program)
        if not all(map(side_by_side, given, layouts)):
            raise Refused("rows that do not lie side by side")
        (i,) = program.body
        g, indices = i.args
        if given[:2] != [g, indices]:
            raise Refused("one array twice")
        kind, whole = kind_of(i.dtype), kind_of(indices.dtype)
        rows, *shape = i.shape or ()
        size = math.prod(shape)
        count = math.prod(indices.shape)
        self.cost = count * (size + 1)
        self.function = function = ir.Function(module, ir.FunctionType(BOOL, [POINTER] * 3), name)
        function.linkage = "internal"
        for argument in function.args:
            argument.add_attribute("noalias")
        source, numbers, result = function.args
        b = self.b = ir.IRBuilder(function.append_basic_block())

        def at(pointer: Any, place: Any, kind: Any) -> Any:
            return b.gep(pointer, [place], inbounds=True, source_etype=kind)

        def number(k: Any) -> Any:
            x = b.load(at(numbers, k, whole), typ=whole)
            wide = b.sext if np.dtype(indices.dtype).kind == "i" else b.zext
            return x if whole == I64 else wide(x, I64)

        there = b.alloca(BOOL)
        b.store(ir.Constant(BOOL, 1), there)

        def check(k: Any) -> None:
            inside = b.icmp_unsigned("<", number(k), ir.Constant(I64, rows))
            b.store(b.and_(b.load(there, typ=BOOL), inside), there)

        self.loop(count, check)
        fine, wrong = function.append_basic_block(), function.append_basic_block()
        b.cbranch(b.load(there, typ=BOOL), fine, wrong)
        b.position_at_end(wrong)
        b.ret(ir.Constant(BOOL, 0))
        b.position_at_end(fine)
        self.loop(rows * size, lambda k: b.store(ir.Constant(kind, 0.0), at(result, k, kind)))

        def add(k: Any) -> None:
            first, row = (b.mul(x, ir.Constant(I64, size)) for x in (k, number(k)))

            def entry(d: Any) -> None:
                place = at(result, b.add(row, d), kind)
                x = b.load(at(source, b.add(first, d), kind), typ=kind)
                b.store(b.fadd(b.load(place, typ=kind), x), place)

            self.loop(size, entry)

        self.loop(count, add)
        b.ret(ir.Constant(BOOL, 1))

    def loop(self, n: int, body: Callable[[Any], Any]) -> None:
        """Write a loop of so many steps."""
        b, before = self.b, self.b.block
        head, after = b.append_basic_block(), b.append_basic_block()
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(I64)
        k.add_incoming(ir.Constant(I64, 0), before)
        body(k)
        following = b.add(k, ir.Constant(I64, 1), flags=("nuw", "nsw"))
        k.add_incoming(following, b.block)
        b.cbranch(b.icmp_unsigned("<", following, ir.Constant(I64, n)), head, after)
        b.position_at_end(after)

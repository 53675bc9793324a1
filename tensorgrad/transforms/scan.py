"""`scan`: a loop that hands a carry on from step to step.

A loop of Python records each step. `scan` does as well, and says so much about its loop that a
compiled function need not: it writes the step down once, and its gradient once, and runs loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import Kind, as_array, created, is_array, is_lazy, writer
from tensorgrad.engine.backprop import still_holds, swept
from tensorgrad.engine.care import bare
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import Array, Node, data_of, leaf, recorded, recorder, within
from tensorgrad.transforms.call import now, outer_nodes, requires_grad, seeds_of
from tensorgrad.transforms.custom import one_node
from tensorgrad.transforms.tree import LONE, NAMESPACE, Rebuild, flatten, loaded
from tensorgrad.value import Value, as_constant

Body = Callable[[Any, Any], tuple[Any, Any]]


def scan(
    f: Body, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each `x` along the first axis of `xs`: the last carry, and all
    `y` stacked along a first axis (JAX's function of this name).

    `init` and what `f` returns as carry: arrays, Values, or containers of these, of the same
    structure, shapes and dtypes at each step; `xs`: as many entries in each of its arrays, or None
    with `length` steps. `reverse`: the last entry first; its `y` is the last. Gradients of any
    order go back to `init`, `xs` and what `f` closes over. In a compiled function it is one loop,
    and one for its gradient, which keeps the carries and computes the rest of a step again. Where
    that is differentiated, or a step draws random numbers or changes a buffer, the steps are
    written out, and with `exact=True` where there is a gradient.

    ValueError where lengths differ, the carry changes its shape or `f` returns no pair; TypeError
    where it changes its structure or dtype.

    >>> decay = Value(0.5)
    >>> last, sums = scan(lambda c, x: (decay * c + x, c), np.float64(0.0), np.arange(4.0))
    >>> last.item(), sums.data
    (4.25, array([0. , 0. , 1. , 2.5]))
    >>> last.backward()
    >>> decay.grad
    np.float64(3.0)
    """
    loop = Loop(f, init, xs, length, reverse)
    return loop.at_once() or loop.by_steps()


class Loop:
    """One call of `scan`: the leaves of its arguments, and the containers that they are from."""

    def __init__(self, f: Body, init: Any, xs: Any, length: int | None, reverse: bool) -> None:
        self.f, self.reverse, self.structure = f, reverse, structure(init)
        carry, self.as_carry = flatten(init)
        self.carry = [x if hasattr(x, "dtype") else as_array(x)[()] for x in carry]
        self.xs, self.as_x = flatten(xs)
        self.n = length_of(self.xs, length)
        self.as_y: Rebuild = iter
        self.outer: list[Node] = []

    def step(self, carry: Sequence[Any], x: Sequence[Any]) -> tuple[list[Any], list[Any], Rebuild]:
        """The leaves of what a step returns."""
        out = self.f(self.as_carry(carry), self.as_x(x))
        if not isinstance(out, tuple) or len(out) != 2:
            raise ValueError(f"scan: f returns a pair (carry, y), not {out!r:.60}")
        leaves, _ = flatten(out[0])
        if structure(out[0]) != self.structure:
            raise TypeError(
                f"scan: the carry is {self.structure or 'one array'} at the beginning, and "
                f"{structure(out[0]) or 'one array'} after a step"
            )
        for old, new in zip(self.carry, leaves):
            if np.shape(new) != np.shape(old):
                raise ValueError(
                    f"scan: the carry has shape {np.shape(old)} at the beginning, and "
                    f"{np.shape(new)} after a step: begin with an array of this shape"
                )
            dtype = as_array(new).dtype
            if dtype != old.dtype:
                raise TypeError(
                    f"scan: the carry is {old.dtype} at the beginning, and {dtype} after a step: "
                    f"begin with an array of dtype {dtype}, or return .astype({old.dtype})"
                )
        return leaves, *flatten(out[1])

    def by_steps(self) -> tuple[Any, Any]:
        """The loop as it stands."""
        if not self.n:
            return self.as_carry(self.carry), self.nothing()
        carry, found = self.carry, []
        rebuild: Rebuild = iter
        for t in reversed(range(self.n)) if self.reverse else range(self.n):
            carry, ys, rebuild = self.step(carry, [x[t] for x in self.xs])
            found.append(ys)
        if self.reverse:
            found.reverse()
        return self.as_carry(carry), rebuild([np.stack(ys) for ys in zip(*found)])

    def nothing(self) -> Any:
        """What no steps return: a step is tried on zeros."""
        x = [created(np.zeros, np.shape(x)[1:], x.dtype, like=data_of(x)) for x in self.xs]
        with np.errstate(all="ignore"):
            _, ys, rebuild = within(recorder, None, self.step, ([*map(data_of, self.carry)], x), {})
        outs = [as_array(data_of(y)) for y in ys]
        return rebuild([created(np.zeros, (0, *y.shape), y.dtype, like=y) for y in outs])

    # As one loop, in a compiled function

    def at_once(self) -> tuple[Any, Any] | None:
        """The same as results of one node, where steps are written down; None where they must be
        written out."""
        given = [*self.carry, *self.xs]
        carry, xs = [*map(data_of, self.carry)], [*map(data_of, self.xs)]
        kind = writer((*carry, *xs))
        made = kind.loop(self.forward, carry, xs, self.n, self.reverse) if kind and self.n else None
        if kind is None or made is None:
            return None
        last, tables = made
        count = len(tables) - len(last)
        outs: list[Any] = [*last, *tables[:count]]
        leaves = [x.node for x in given if requires_grad(x)] if recorder.get() is not None else []
        nodes = [*dict.fromkeys((*leaves, *self.outer))]
        if nodes and kind.in_order():  # a loop adds up what the steps of its gradient make
            return None
        if nodes:
            floats = [k for k, y in enumerate(outs) if is_float(y)]
            datas = [x.data for x in nodes]
            back = partial(self.pullback, kind, floats, tables[count:], nodes, datas)
            values = one_node("scan", [as_constant(outs[k]) for k in floats], nodes, back)
            for k, y in zip(floats, values):
                outs[k] = y
        elif any(isinstance(x, Value) for x in given):
            outs = [*map(as_constant, outs)]
        return self.as_carry(outs[: len(last)]), self.as_y(outs[len(last) :])

    def forward(self, carry: list[Array], x: list[Array]) -> tuple[list[Array], list[Array]]:
        """A step; the carry that it was given is stacked as well."""
        since = now()
        new, ys, self.as_y = self.step([*map(variable, carry)], [*map(variable, x)])
        self.outer = outer_nodes([*new, *ys], since) if recorder.get() is not None else []
        return [*map(data_of, new)], [*map(data_of, (*ys, *carry))]

    def pullback(
        self,
        kind: Kind,
        floats: list[int],
        carries: list[Array],
        nodes: list[Node],
        datas: list[Array],
        gs: list[Array],
        keep: bool,
    ) -> Sequence[Array]:
        """The cotangents of the nodes, given those of the results `floats`: a loop the other way
        round, that carries what the carry and what is closed over get, and stacks what `xs` get."""
        if not all(map(still_holds, nodes, datas)):
            raise RuntimeError("what a scan read was changed since: compute it again")
        count, given = len(self.carry), [*self.carry, *self.xs]
        by = dict(zip(floats, map(data_of, map(bare, gs))))
        start = [g for k, g in by.items() if k < count] + [*map(zeros_like, self.outer)]
        stacked = [k for k in floats if k >= count]
        rows = [*carries, *map(data_of, self.xs), *(by[k] for k in stacked)]
        back = partial(self.backward, [*by], stacked)
        made = None if keep else kind.loop(back, start, rows, self.n, not self.reverse)
        if made is None:
            carry, ys = recorded(self.by_steps)
            outs = [*flatten(carry)[0], *flatten(ys)[0]]
            seeds = seeds_of([outs[k] for k in floats], [*map(bare, gs)])
            found = swept(seeds, keep, nodes)
            return [found.get(x, 0.0) for x in nodes]
        last, tables = made
        found = dict(zip(self.outer, last[len(last) - len(self.outer) :]))
        for x, g in zip(filter(is_float, given), (*last[: len(last) - len(self.outer)], *tables)):
            if requires_grad(x):
                found[x.node] = found[x.node] + g if x.node in found else g
        return [found.get(x, 0.0) for x in nodes]

    def backward(
        self, floats: list[int], stacked: list[int], gs: list[Array], rows: list[Array]
    ) -> tuple[list[Array], list[Array]]:
        """The same of a step, which is computed again."""
        count = len(self.carry)
        given = [*map(variable, rows[: count + len(self.xs)])]
        new, ys, _ = recorded(self.step, given[:count], given[count:])
        outs, sums = [*new, *ys], len(floats) - len(stacked)
        by = (*gs[:sums], *rows[len(given) :])
        seeds = seeds_of([outs[k] for k in floats], by)
        nodes = [x.node for x in given if isinstance(x, Value)]
        found = swept(seeds, False, [*nodes, *self.outer]) if seeds else {}
        inner, outer = (
            [data_of(bare(found[x])) if x in found else zeros_like(x) for x in several]
            for several in (nodes, self.outer)
        )
        return [*inner[:sums], *(g + d for g, d in zip(gs[sums:], outer))], inner[sums:]


def is_float(x: Any) -> bool:
    return is_inexact(x.dtype)


def zeros_like(x: Node) -> Array:
    return created(np.zeros, x.data.shape, x.data.dtype, like=x.data)


def variable(x: Array) -> Any:
    """A leaf that holds an array, if that carries gradients."""
    return Value.of(leaf(x, requires_grad=True)) if is_float(x) else x


def structure(tree: Any) -> Any:
    """What tells containers apart; None for a lone array."""
    if isinstance(tree, LONE) or is_array(tree):
        return None
    flatten(tree)  # makes its dataclasses and Modules known
    return loaded().tree_structure(tree, namespace=NAMESPACE)


def length_of(xs: Sequence[Any], length: int | None) -> int:
    """How many steps there are. ValueError where that is not the same for all."""
    if any(is_lazy(data_of(x)) for x in xs):
        raise TypeError("scan: its steps are NumPy's: tg.compute(xs) before, or scan each chunk")
    shapes = [np.shape(x) for x in xs]
    if () in shapes or not all(map(is_array, map(data_of, xs))):
        raise ValueError("scan: xs has arrays, which are gone through along their first axis")
    lengths = {shape[0] for shape in shapes} | ({length} if length is not None else set())
    if not lengths:
        raise ValueError("scan: without xs it needs length=, the number of steps")
    if len(lengths) > 1:
        given = f", length={length}" if length is not None else ""
        raise ValueError(f"scan: xs has arrays of shapes {shapes}{given}: of different lengths")
    (n,) = lengths
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise ValueError(f"scan: length is a number of steps, not {n!r}")
    return int(n)

"""Functions that bring their own backward pass: `checkpoint` computes again, `custom_vjp` asks you.

To the graph each is one node, whatever the function is made of and whatever containers it returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial, update_wrapper, wraps
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import innermost, kind_of
from tensorgrad.engine.backprop import still_holds, swept
from tensorgrad.engine.batching import by_itself, levels_of
from tensorgrad.engine.calls import forgetting_buffers, noting_buffers
from tensorgrad.engine.care import OPAQUE, Careful, bare
from tensorgrad.engine.levels import as_axis, as_examples
from tensorgrad.engine.node import (
    NO_PARAMS,
    Array,
    Node,
    data_of,
    detached,
    opaque,
    record,
    recorded,
    recorder,
    within,
)
from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.rules import Reading, Together
from tensorgrad.ops.several import pack, unpack
from tensorgrad.transforms.call import matching, now, outer_nodes, requires_grad, seeds_of
from tensorgrad.transforms.tree import flatten, map_leaves, modules_in
from tensorgrad.value import Value, as_constant, plain

Function = Callable[..., Any]
forwards: ContextVar[frozenset[Any]] = ContextVar("forwards", default=frozenset())
"""The functions whose `fwd` runs here."""

Pullback = Callable[[list[Array], bool], Sequence[Array]]


def checkpoint(f: Function) -> Function:
    """`f`, whose inner results are not kept for the sweep, which computes them again: less memory
    for one more forward (T. Chen et al., "Training deep nets with sublinear memory cost", 2016).

    `f` may read any Values, also those that it closes over, and must compute the same when called
    again. Dropout draws the same again; a random generator of your own must be made inside.

    >>> x = Value([1.0, 2.0])
    >>> checkpoint(lambda x: np.sum(np.exp(np.sin(x))))(x).backward()
    >>> np.allclose(x.grad, np.cos(x.data) * np.exp(np.sin(x.data)))
    True
    """

    @wraps(f)
    def forgetful(*args: Any, **kwargs: Any) -> Any:
        args, since = as_they_are(args), now()
        buffers: list[Any] = []
        out = noting_buffers(buffers, f, *args, **kwargs)
        outs, rebuild = flatten(out)
        nodes = outer_nodes(outs, since)
        datas = [x.data for x in nodes]
        if not nodes or any(kind_of(innermost(x)).writes for x in datas):
            return out  # what is written down is computed once

        def pullback(gs: list[Array], keep: bool) -> Sequence[Array]:
            since = now()
            out = recorded(partial(forgetting_buffers, buffers, f, *args, **kwargs))
            again, _ = flatten(out)
            if not all(map(still_holds, nodes, datas)) or outer_nodes(again, since) != nodes:
                raise RuntimeError("what a checkpoint read was changed since: compute it again")
            ys = [y for y in again if requires_grad(y)]
            careful = any(type(g) is Careful for g in gs)  # a sweep within a sweep takes as much
            found = swept(seeds_of(ys, [*map(bare, gs)]), keep, nodes, careful)
            return [found.get(x, 0.0) for x in nodes]

        chosen = [y for y in outs if requires_grad(y)]
        made = iter(one_node("checkpoint", chosen, nodes, pullback))
        return rebuild([next(made) if requires_grad(y) else y for y in outs])

    return forgetful


def as_they_are(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values under other names, which stay when the caller's are written into."""
    return tuple(Value.of(x.node) if isinstance(x, Value) else x for x in args)


def name_of(f: Any) -> str:
    """What errors and drawings call a function, a partial one or an object that is called."""
    return getattr(f, "__name__", None) or name_of(getattr(f, "func", type(f)))


class custom_vjp:
    """A function with your own gradient: a stable formula, or an implicit one.

    `defvjp(fwd, bwd)`, as in JAX: `fwd(*args)` returns `(f(*args), residuals)`, and
    `bwd(residuals, cotangent)` a tuple with one gradient for each argument, in its containers, None
    for zero. Of `nondiff_argnums` there is none; these arguments come first in `bwd`. For higher
    orders both are differentiated. A sweep whose result is not finite is made again with care,
    and calls `bwd` again. ValueError if `fwd` reads a Value that requires grad and is no
    argument: its gradient would be lost.

    >>> @custom_vjp
    ... def log1pexp(x):
    ...     return np.log(1 + np.exp(x))
    >>> log1pexp.defvjp(lambda x: (log1pexp(x), x), lambda x, g: (g * (1 - 1 / (1 + np.exp(x))),))
    >>> x = Value(100.0)
    >>> log1pexp(x).backward()
    >>> x.grad
    np.float64(1.0)
    """

    def __init__(self, f: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        update_wrapper(self, f, updated=())  # what an object holds is its own
        self.name = name_of(f)
        self.f, self.nondiff_argnums = f, tuple(nondiff_argnums)
        self.fwd: Function | None = None
        self.bwd: Function | None = None

    def defvjp(self, fwd: Function, bwd: Function) -> None:
        """Set the two halves of the gradient."""
        self.fwd, self.bwd = fwd, bwd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.fwd is None or self.bwd is None:
            raise TypeError(f"{self.name} has no gradient yet: call defvjp(fwd, bwd)")
        args = as_they_are(self.by_position(args, kwargs))
        left_out = [i % len(args) for i in self.nondiff_argnums]
        static = [args[i] for i in left_out]
        given = [x for i, x in enumerate(args) if i not in left_out]
        leaves, _ = flatten(given)
        nodes = [x.node for x in leaves if requires_grad(x)]
        if not nodes or recorder.get() is None:
            return self.value(args)
        datas, since = [x.data for x in nodes], now()
        buffers: list[Any] = []
        if self in forwards.get():  # fwd asks for the value
            out, residuals = noting_buffers(buffers, self.value, args), None
        else:
            out, residuals = noting_buffers(buffers, self.forward, args)
        lost = [x for x in outer_nodes(flatten(out)[0], since) if x not in nodes]
        if lost:
            raise ValueError(
                f"{self.name} reads a Value of shape {np.shape(lost[0].data)} that requires "
                "grad and is no argument, so its gradient would be lost: pass it as an argument"
            )
        outs, rebuild = flatten(out)
        batched = bool(levels_of(*map(data_of, outs)))
        saved = None if residuals is None else map_leaves(as_plain, residuals)

        def gradients(gs: list[Array], keep: bool) -> Sequence[Array]:
            known = saved
            if saved is None or keep:
                if not all(map(still_holds, nodes, datas)):
                    raise RuntimeError(
                        f"an argument of {self.name} was changed since: call it again"
                    )
                known = forgetting_buffers(buffers, self.forward, args)[1]
            grads = self.bwd(*static, known, rebuild(gs))  # type: ignore[misc]
            return [g for g, x in zip(self.fitted(grads, given), leaves) if requires_grad(x)]

        def pullback(gs: list[Array], keep: bool) -> Sequence[Array]:
            if keep or batched:
                return gradients(gs, keep)
            return one_at_a_time(gradients, gs)  # of a Jacobian's rows; bwd may look at them

        values = [*map(as_constant, outs)]
        return rebuild(one_node(self.name, values, nodes, pullback, (OPAQUE,)))

    def by_position(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position: those left out have their defaults, where fwd takes them."""
        try:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
        except ValueError:  # a builtin function that does not tell
            if kwargs:
                raise TypeError(f"{self.name} takes its arguments by position only") from None
            return args
        kinds = bound.signature.parameters
        by_keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
        if any(kinds[name].kind in by_keyword for name in bound.arguments):
            raise TypeError(
                f"{self.name} was given an argument that goes by keyword only, for which bwd could "
                "return no gradient: let it be passed by position as well"
            )
        given = bound.args
        bound.apply_defaults()
        try:
            inspect.signature(self.fwd).bind(*bound.args)  # type: ignore[arg-type]
        except TypeError:  # np.sin has an out=None of which the gradient knows nothing
            return given
        except ValueError:
            pass
        return bound.args

    def value(self, args: Sequence[Any]) -> Any:
        """What the function returns, without a graph back to the arguments: it needs no rules."""
        args = [x if modules_in(x) else map_leaves(detached, x) for x in args]
        return within(opaque, True, self.f, args, {})

    def forward(self, args: Sequence[Any]) -> tuple[Any, Any]:
        """What `fwd` returns; within, the function itself does not ask `fwd` again."""
        result = within(forwards, forwards.get() | {self}, self.fwd, args, {})  # type: ignore[arg-type]
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"{self.name}: fwd must return the pair (value, residuals)")
        return result

    def fitted(self, grads: Any, args: Sequence[Any]) -> list[Array]:
        """What `bwd` returned, one for each leaf of the arguments."""
        if not isinstance(grads, (tuple, list)) or len(grads) != len(args):
            raise TypeError(
                f"{self.name}: bwd must return a tuple of {len(args)} gradients, one for each "
                f"argument, not {grads!r:.60}"
            )
        found: list[Array] = []
        for g, x in zip(grads, args):
            n = len(flatten(x)[0])
            parts = [0.0] * n if g is None else flatten(g)[0]
            if len(parts) != n:
                raise TypeError(
                    f"{self.name}: bwd returned {len(parts)} gradients for an argument of {n}"
                )
            if g is not None:
                matching(f"{self.name}: the gradient of bwd", g, x)
            found += parts
        return found


def one_at_a_time(pullback: Pullback, gs: list[Array]) -> Sequence[Array]:
    """What `pullback` returns for each example of batched cotangents."""
    levels = levels_of(*(data_of(bare(g)) for g in gs))
    if not levels:
        return pullback(gs, False)
    rows = [as_axis(g, level=levels[-1]) for g in gs]
    results = [one_at_a_time(pullback, [row[i] for row in rows]) for i in range(levels[-1].size)]
    stacks = [as_constant(bare(np.stack(parts))) for parts in zip(*results)]
    return [as_examples(x, level=levels[-1]) for x in stacks]


def as_plain(x: Any) -> Any:
    return plain(x.data) if isinstance(x, Value) else x


def one_node(
    name: str,
    outs: Sequence[Value],
    operands: Sequence[Node],
    pullback: Pullback,
    readings: tuple[Reading, ...] = (),
) -> list[Value]:
    """`outs`, without the graph that they came by, as results of one node.

    `pullback(gs, keep)` computes the cotangents of all operands; it is recorded if `keep`.
    """
    cores, dtypes = [y.shape for y in outs], [y.dtype for y in outs]
    single = len(outs) == 1
    data = outs[0].data if single else pack([y.detach() for y in outs], cores).data

    def rule(g: Array, out: Array, *xs: Array) -> Sequence[Array]:
        raw = not isinstance(bare(g), Value)
        keep = not raw and recorder.get() is not None
        gs = [g] if single else [*map(as_dtype, unpack(g, cores), dtypes)]
        found = pullback(gs, keep)
        return [plain(data_of(bare(c))) for c in found] if raw else found

    op = Primitive(data_of, Together(rule), name, batch=by_itself, readings=readings)
    new = recorder.get() or record
    node = new(op, tuple(operands), tuple(x.data for x in operands), NO_PARAMS, data)
    node.readings += kind_of(data).readings
    made = Value.of(node)
    if single:
        return [made]
    return [*map(as_dtype, unpack(made, cores), dtypes)]


def as_dtype(x: Array, dtype: np.dtype[Any]) -> Array:
    """A part of what was packed, in its own dtype again."""
    if x.dtype.kind == "c" and dtype.kind != "c":
        x = np.real(x)
    return x if x.dtype == dtype else x.astype(dtype)

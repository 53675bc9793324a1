"""Calls of Modules, as the engine sees them: their recorders, and what becomes of the buffers that
a Module remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import MethodType
from typing import Any

from tensorgrad.engine.node import Array, Recorder, Scope, recorder, within


def scope_of(outer: Recorder) -> Scope | None:
    """The call of a Module that a recorder belongs to: it is a function, a Scope's its method."""
    scope = outer.__self__ if type(outer) is MethodType else None
    return scope if isinstance(scope, Scope) else None


def call_of(module: Any, outer: Recorder) -> Recorder:
    """The recorder of a call of `module`, where `outer` is in force."""
    scope = outer.__self__ if type(outer) is MethodType else None  # scope_of, without its call
    if isinstance(scope, Scope):
        return Scope(module, scope, scope.base).record
    return Scope(module, None, outer).record


def instead(new: Recorder) -> Recorder | None:
    """`new` in place of the recorder in force, in the same call; none where none is in force."""
    outer = recorder.get()
    scope = outer and scope_of(outer)
    return Scope(scope.module, scope.parent, new).record if scope else outer and new


Buffers = Mapping[str, Array]


def replace_buffers(module: Any, buffers: Buffers) -> None:
    """The ordinary keeper: a Module gets new buffers."""
    vars(module).update(buffers)


# What becomes of the buffers that a Module remembers. A transform, whose function sees a copy of
# the Module, hands them on; what is computed once more keeps them for as long as that takes.
keeper: ContextVar[Callable[[Any, Buffers], None]] = ContextVar("keeper", default=replace_buffers)


# What draws numbers tells which generator it is about to draw from: what is computed again draws
# the same from it.
drawing: ContextVar[Callable[[Any], None]] = ContextVar("drawing", default=lambda rng: None)


def put(holder: Any, state: Buffers) -> None:
    """Give a Module other buffers, or a generator another state."""
    if hasattr(holder, "bit_generator"):
        drawing.get()(holder)
        holder.bit_generator.state = state["state"]
    else:
        keeper.get()(holder, state)


def noting_buffers(
    before: list[tuple[Any, Buffers]], f: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """`f(*args, **kwargs)`, with a note of the buffers that it is about to replace, and of the
    states of generators before it draws."""
    outer, outer_drawing = keeper.get(), drawing.get()

    def note(module: Any, buffers: Buffers) -> None:
        before.append((module, {name: getattr(module, name) for name in buffers}))
        outer(module, buffers)

    def draws(rng: Any) -> None:
        if all(holder is not rng for holder, _ in before):
            before.append((rng, {"state": rng.bit_generator.state}))
        outer_drawing(rng)

    return within(drawing, draws, within, (keeper, note, f, args, kwargs), {})


def forgetting_buffers(
    before: Sequence[tuple[Any, Buffers]], f: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """`f(*args, **kwargs)` with the buffers, and states of generators, of `before`; then all are as
    they are now."""
    now: list[tuple[Any, Buffers]] = []

    def again() -> Any:
        for holder, state in reversed(before):
            put(holder, state)
        return f(*args, **kwargs)

    def alone() -> Any:
        return within(keeper, replace_buffers, noting_buffers, (now, again), {})

    try:
        return within(drawing, lambda rng: None, alone, (), {})
    finally:
        for holder, state in reversed(now):
            if hasattr(holder, "bit_generator"):
                holder.bit_generator.state = state["state"]
            else:
                replace_buffers(holder, state)

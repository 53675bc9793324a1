"""A call of a function, written down: what it reads and writes, and the program between them.

What a call can reach, through its arguments and what the function closes over, is either *state*,
which is read at each call and written where the function changes it: the data and gradients of
Values, buffers, an optimiser's state and its learning rate; or *settled*, all else, which must be
what it was for the program to be used again.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.compiler.program import Instruction, Program
from tensorgrad.compiler.tracer import Drawing, Tracer, order_of, outline, writing
from tensorgrad.engine.arrays import met
from tensorgrad.engine.node import Node
from tensorgrad.transforms.tree import is_module
from tensorgrad.value import Value

GONE = object()
FOREIGN = frozenset({"numpy", "tensorgrad", "builtins", "optree", "functools", "math", "operator"})
"""Packages whose functions hold nothing of the user's."""


class Place:
    """Where state is: an item of a dict or list."""

    def __init__(self, holder: Any, key: Any, name: str) -> None:
        self.holder, self.key, self.name = holder, key, name

    @property
    def identity(self) -> Any:
        """What tells whether two places are the same."""
        key = self.key if isinstance(self.key, (str, int)) else id(self.key)
        return type(self), id(self.holder), key

    def read(self, leaves: Sequence[Any]) -> Any:
        return self.holder[self.key]

    def write(self, x: Any, leaves: Sequence[Any]) -> None:
        self.holder[self.key] = x


class Attribute(Place):
    """An attribute: the data or gradient of a node."""

    def read(self, leaves: Sequence[Any]) -> Any:
        return getattr(self.holder, self.key)

    def write(self, x: Any, leaves: Sequence[Any]) -> None:
        setattr(self.holder, self.key, x)


class Argument(Place):
    """A leaf of the arguments; with a `key`, that of the node of a Value there."""

    @property
    def identity(self) -> Any:
        return Argument, self.holder, self.key

    def read(self, leaves: Sequence[Any]) -> Any:
        x = leaves[self.holder]
        return getattr(x.node, self.key) if self.key else x

    def write(self, x: Any, leaves: Sequence[Any]) -> None:
        setattr(leaves[self.holder].node, self.key, x)


class Container(NamedTuple):
    """A dict or list that was reached, and what was in it; `state` says which items are state.
    Of the globals of a module only what the function names counts: they are not the `whole`."""

    holder: Any
    items: dict[Any, Any]
    name: str
    state: Callable[[Any, Any], bool]
    whole: bool = True


def never(key: Any, x: Any) -> bool:
    return False


class Reach:
    """All that can be reached from some roots: containers, and nodes of Values by their names."""

    def __init__(self) -> None:
        self.containers: list[Container] = []
        self.cells: list[tuple[Any, Any]] = []
        self.nodes: dict[Node, str] = {}
        self.values: list[tuple[Value, Node, bool, bool]] = []
        self.settled: list[tuple[Any, Any, Any]] = []  # holder, key, what is there
        self.sizes: list[tuple[Any, int]] = []
        self.seen: set[int] = set()
        self.held: list[Any] = []  # ids are of things that stay

    def function(self, f: Any) -> None:
        """What a function closes over, the globals that it names, and what it is bound to."""
        while isinstance(f, partial):
            self.look(list(f.args), "args")
            self.look(dict(f.keywords), "kwargs")
            f = f.func
        if isinstance(f, types.MethodType):
            self.look(f.__self__, "")
            f = f.__func__
        if not isinstance(f, types.FunctionType):
            self.look(f, "")
            return
        f = getattr(f, "__wrapped__", f) if isinstance(f, types.FunctionType) else f
        if id(f) in self.seen or f.__module__.partition(".")[0] in FOREIGN:
            return
        self.seen.add(id(f))
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or ()):
            try:
                x = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            self.cells.append((cell, x))
            self.look(x, name)
        found = {n: f.__globals__[n] for n in names_in(f.__code__) if n in f.__globals__}
        if found:
            self.containers.append(Container(f.__globals__, found, "", never, False))
        for name, x in found.items():
            self.look(x, name)
        for x in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self.look(x, "")

    def look(self, x: Any, name: str) -> None:
        """Follow what is in `x`."""
        if x is None or type(x) in (bool, int, float, complex, str, bytes, np.ndarray, type):
            return
        if isinstance(x, (type, types.ModuleType, np.generic, np.random.Generator, np.ufunc)):
            return
        if id(x) in self.seen:
            return
        if type(x).__module__ == "tensorgrad.compiler.compiled":
            self.function(x.f)
            return
        if isinstance(x, (types.FunctionType, types.MethodType, partial)):
            self.function(x)
            return
        self.seen.add(id(x))
        self.held.append(x)
        if isinstance(x, Value):
            self.value(x, name)
        elif isinstance(x, (tuple, set, frozenset)):
            for i, part in enumerate(x):
                self.look(part, joined(name, i))
        elif isinstance(x, dict):
            self.container(x, x, name, never)
        elif isinstance(x, list):
            self.container(x, dict(enumerate(x)), name, never)
        elif is_module(x):
            self.container(vars(x), vars(x), name, is_buffer)
        elif hasattr(x, "param_groups") and hasattr(x, "state"):
            self.optimizer(x, name)
        elif type(x).__module__.partition(".")[0] != "numpy" and hasattr(x, "__dict__"):
            self.container(vars(x), vars(x), name, never)

    def container(
        self, holder: Any, items: dict[Any, Any], name: str, state: Callable[[Any, Any], bool]
    ) -> None:
        self.containers.append(Container(holder, dict(items), name, state))
        public_first = sorted(items.items(), key=lambda item: str(item[0]).startswith("_"))
        for key, x in public_first:
            if not state(key, x):
                self.look(x, joined(name, key))

    def optimizer(self, x: Any, name: str) -> None:
        items = {k: y for k, y in vars(x).items() if k not in ("state", "param_groups")}
        self.containers.append(Container(vars(x), vars(x).copy(), name, never))
        for key, y in items.items():
            self.look(y, joined(name, key))
        self.containers.append(
            Container(x.param_groups, dict(enumerate(x.param_groups)), name, never)
        )
        for group in x.param_groups:
            self.look(group["params"], "")
            self.containers.append(Container(group, dict(group), name, is_rate))
        self.containers.append(Container(x.state, dict(x.state), joined(name, "state"), always))

    def forget(self) -> None:
        """Keep what is settled, and none of the arrays that are state."""
        for holder, items, _, state, whole in self.containers:
            if whole:
                self.sizes.append((holder, len(items)))
            self.settled += [(holder, k, x) for k, x in items.items() if not state(k, x)]
        self.containers = []

    def value(self, x: Value, name: str) -> None:
        if x.node.op is not None and x.requires_grad:
            raise ValueError(
                f"the function reads a Value that was computed before ({x.node.op.name}, shape "
                f"{x.shape}), whose graph a compiled function does not know: detach() it, or "
                "compute it inside"
            )
        self.nodes.setdefault(x.node, x.node.name or name)
        self.values.append((x, x.node, x.node.requires_grad, x.node.grad is None))


def is_buffer(key: Any, x: Any) -> bool:
    return isinstance(x, (np.ndarray, Tracer))


def is_rate(key: Any, x: Any) -> bool:
    return key == "lr" and isinstance(x, (float, Tracer))


def always(key: Any, x: Any) -> bool:
    return True


def joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name and isinstance(key, (str, int)) else f"{name or key}"


def names_in(code: types.CodeType) -> Iterator[str]:
    """The names that a function, and those within it, may look up among the globals."""
    yield from code.co_names
    for x in code.co_consts:
        if isinstance(x, types.CodeType):
            yield from names_in(x)


def parts(x: Any) -> tuple[Any, ...]:
    """The numbers of an item of state: a tuple holds several."""
    return x if type(x) is tuple else (x,)


def written(stand: Any) -> bool:
    """Whether something was written into what stands for an input."""
    return isinstance(stand, Tracer) and stand.instruction.function is not None


def sample(x: Any) -> Any:
    """Of the kind and dtype of an item of state, without its numbers."""
    if type(x) is tuple:
        return tuple(map(sample, x))
    return np.empty(0, x.dtype) if type(x) is np.ndarray else x


class Capture:
    """Runs a function once on tracers, in place of its state, and puts everything back."""

    def __init__(
        self, reach: Reach, leaves: Sequence[Any], traced: Sequence[str], names: Sequence[str]
    ) -> None:
        self.program, self.reach = Program(), reach
        self.reads: list[Place] = []
        self.kept: list[tuple[Place, Any, Any]] = []  # place, what was there, what stands there
        self.given = list(leaves)
        for i, kind in enumerate(traced):
            x, name = leaves[i], names[i]
            if kind == "generator":
                instruction = self.input(Argument(i, "", name), (), np.dtype(object))
                self.given[i] = Drawing(instruction)
            elif kind == "array":
                self.given[i] = self.stand_for(Argument(i, "", name), x)
            elif kind == "value" and not any(x is y for y in leaves[:i]):
                reach.nodes.pop(x.node, None)
                self.put(Argument(i, "data", name), x.node.data)
                self.put(Argument(i, "grad", f"{name}.grad"), x.node.grad)
        for node, name in reach.nodes.items():
            self.put(Attribute(node, "data", name or "value"), node.data)
            self.put(Attribute(node, "grad", f"{name}.grad"), node.grad)
        for holder, items, name, state, _ in reach.containers:
            for key, x in items.items():
                if state(key, x):
                    self.put(Place(holder, key, joined(name, key)), x)
        self.leaves = leaves

    def input(self, place: Place, shape: Any, dtype: Any, x: Any = None) -> Instruction:
        order = order_of(x)
        instruction = Instruction(None, (), None, shape, dtype, place.name, order=order)
        self.program.inputs.append(instruction)
        self.reads.append(place)
        return instruction

    def stand_for(self, place: Place, x: Any) -> Any:
        """A tracer for each number of `x`."""
        if type(x) is tuple:
            made = [
                Instruction(None, (), None, *outline(y), f"{place.name}.{i}")
                for i, y in enumerate(x)
            ]
            self.program.inputs += made
            self.reads.append(place)
            return tuple(map(Tracer, made))
        return Tracer(self.input(place, *outline(x), x))

    def put(self, place: Place, x: Any) -> None:
        """Tracers where `x` is."""
        stand = x if x is None else self.stand_for(place, x)
        self.kept.append((place, x, stand))

    def run(self, call: Callable[[Sequence[Any]], Any]) -> tuple[Any, list[tuple[Place, Any]]]:
        """What the call answers, and what it changed; all is as it was, whatever happens."""
        try:
            for place, _, stand in self.kept:
                if stand is not None:
                    place.write(stand, self.leaves)
            context = copy_context()
            context.run(writing.set, self.program)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is tried has numbers that nobody gave
                result = context.run(call, self.given)
            return result, [*self.changes()]
        finally:
            self.restore()
            met.discard(Tracer)

    def as_array(self, x: Any) -> Any:
        """What is an array stays one, also without axes, where an operation makes a number."""
        if not isinstance(x, Tracer) or x.ndim:
            return x
        made = Instruction(np.asarray, (x.instruction,), None, (), x.dtype)
        self.program.body.append(made)
        return Tracer(made)

    def changes(self) -> Iterator[tuple[Place, Any]]:
        for x, stand in zip(self.leaves, self.given):
            if x is not stand and written(stand):
                raise TypeError(
                    "a compiled function writes into an array that it was given: copy it, and "
                    "return it"
                )
        known: set[Any] = set()
        for place, x, stand in self.kept:
            if not isinstance(place, (Attribute, Argument)):
                known.add((id(place.holder), place.key))
            now = place.read(self.leaves)
            if now is not stand or any(written(y) for y in parts(stand)):
                now = now.data if isinstance(now, Value) else now
                yield place, self.as_array(now) if isinstance(x, np.ndarray) else now
        for holder, items, name, state, whole in self.reach.containers:
            everything = dict(enumerate(holder)) if isinstance(holder, list) else holder
            for key in [*(everything if whole else items)]:
                now, x = everything.get(key, GONE), items.get(key, GONE)
                if now is x or (id(holder), key) in known:
                    continue
                if state is always:
                    yield Place(holder, key, joined(name, key)), now
                    continue
                raise TypeError(
                    f"a compiled function changes {joined(name, key)!r}, which is no state of a "
                    "model or an optimiser and would be changed only now, while it is traced: "
                    "return it"
                )
        for cell, x in self.reach.cells:
            if cell.cell_contents is not x:
                raise TypeError(
                    "a compiled function assigns to a variable of the function around it: return it"
                )

    def restore(self) -> None:
        for place, x, _ in self.kept:
            place.write(x, self.leaves)
        for cell, x in self.reach.cells:
            if cell.cell_contents is not x:
                cell.cell_contents = x
        for holder, items, _, _, whole in self.reach.containers:
            if isinstance(holder, list):
                if len(holder) != len(items) or any(
                    a is not b for a, b in zip(holder, items.values())
                ):
                    holder[:] = items.values()
            elif not whole:
                holder.update({k: x for k, x in items.items() if holder.get(k, GONE) is not x})
            else:
                for key in [k for k in holder if k not in items]:
                    del holder[key]
                for key, x in items.items():
                    if holder.get(key, GONE) is not x:
                        holder[key] = x

"""Hooks: what is called around each forward of a Module, and in the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import ref

from tensorgrad.engine.care import OPAQUE, bare
from tensorgrad.engine.node import Array, Node, recorder
from tensorgrad.transforms.call import requires_grad
from tensorgrad.transforms.custom import one_node
from tensorgrad.transforms.tree import flatten
from tensorgrad.value import Value

if TYPE_CHECKING:
    from tensorgrad.nn.module import Module


class RemovableHandle:
    """A hook in its list; `remove()` takes it out."""

    def __init__(self, hooks: list[Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self.hooks, self.hook = hooks, hook
        hooks.append(hook)

    def remove(self) -> None:
        """Call the hook no more."""
        if self.hook in self.hooks:
            self.hooks.remove(self.hook)


class Hooks:
    """What is called around each forward of a Module, and in the sweep."""

    def __init__(self) -> None:
        self.before: list[Callable[..., Any]] = []
        self.after: list[Callable[..., Any]] = []
        self.backward: list[Callable[..., Any]] = []

    def run(self, module: Module, *args: Any, **kwargs: Any) -> Any:
        """The forward, with the hooks around it."""
        for hook in tuple(self.before):  # one may remove itself
            new = hook(module, args)
            if new is not None:
                args = new if isinstance(new, tuple) else (new,)
        passed = Passage(module, tuple(self.backward)) if self.backward else None
        out = module.forward(*(passed.inputs(args) if passed else args), **kwargs)
        for hook in tuple(self.after):
            new = hook(module, args, out)
            out = out if new is None else new
        return passed.outputs(out) if passed else out


class Passage:
    """A sweep's way through one call of a Module: past its outputs, then past its inputs.

    Both are identities in the graph, each one node, whose rule sees the gradients.
    """

    def __init__(self, module: Module, hooks: tuple[Callable[..., Any], ...]) -> None:
        self.module, self.hooks = ref(module), hooks  # a Module may keep a node: no cycle
        self.by_output: tuple[Array | None, ...] = ()  # from its outputs to its inputs
        self.watched: list[int] = []  # the arguments that a gradient goes to
        self.n = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, under new names."""
        self.n = len(args)
        self.watched = [i for i, x in enumerate(args) if requires_grad(x)]
        given = [args[i] for i in self.watched]
        if not given or recorder.get() is None:
            return args
        passed = dict(
            zip(self.watched, one_node("hook", given, nodes_of(given), self.arrived, (OPAQUE,)))
        )
        return tuple(passed.get(i, x) for i, x in enumerate(args))

    def outputs(self, out: Any) -> Any:
        """What the forward returned, under new names."""
        parts, rebuild = flatten(out)
        made = [y for y in parts if requires_grad(y)]
        if not made:
            return out
        self.by_output = (None,) * len(made)
        passed = iter(one_node("hook", made, nodes_of(made), self.entered, (OPAQUE,)))
        return rebuild([next(passed) if requires_grad(y) else y for y in parts])

    def entered(self, gs: list[Array], keep: bool) -> list[Array]:
        """The rule of the outputs."""
        self.by_output = tuple(map(bare, gs))
        return gs if self.watched else self.arrived(gs, keep)

    def arrived(self, gs: list[Array], keep: bool) -> list[Array]:
        """The rule of the inputs: the hooks' turn."""
        found = dict(zip(self.watched, map(bare, gs)))
        by_input = tuple(found.get(i) for i in range(self.n))
        by_output, self.by_output = self.by_output, (None,) * len(self.by_output)
        for hook in self.hooks:
            new = hook(self.module(), by_input, by_output)
            if new is not None:
                by_input = new if isinstance(new, tuple) else (new,)
        return [by_input[i] for i in self.watched] if self.watched else gs


def nodes_of(values: Iterable[Value]) -> list[Node]:
    return [x.node for x in values]

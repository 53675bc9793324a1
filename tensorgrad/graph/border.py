"""Looking at a graph whose arrays are elsewhere, on a GPU: for as long as that takes, its nodes
hold NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from tensorgrad.engine.arrays import elsewhere, met, moved, places
from tensorgrad.engine.backprop import topological_order
from tensorgrad.engine.node import Handle, Node

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def here(node: Node) -> Iterator[None]:
    """The graph behind a node, in NumPy's arrays inside the block."""
    order = topological_order([node]) if met and elsewhere(node.data) else []
    before = [(x, x.data, x.grad, x.inputs, x.params) for x in order]
    copies: dict[int, Any] = {}  # what is one array stays one

    def brought(x: Any) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)(map(brought, x))
        if isinstance(x, Handle) or not elsewhere(x):
            return x
        return copies.setdefault(id(x), moved(x, places["numpy"]))

    try:
        for x in order:
            x.data, x.grad, x.inputs = brought(x.data), brought(x.grad), brought(x.inputs)
            x.params = {name: brought(param) for name, param in x.params.items()}
        yield
    finally:
        for x, data, grad, inputs, params in before:
            x.data, x.grad, x.inputs, x.params = data, grad, inputs, params


def looks_here(look: F) -> F:
    """A function that looks at a Value, given its graph so."""

    @wraps(look)
    def call(value: Any, *args: Any, **kwargs: Any) -> Any:
        if not met or not isinstance(value, Handle):
            return look(value, *args, **kwargs)
        with here(value.node):
            return look(value, *args, **kwargs)

    return call  # type: ignore[return-value]

"""Scopes: a node knows in which call of which Module it was made."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, no_grad
from tensorgrad.engine.backprop import topological_order
from tensorgrad.engine.node import record, recorder
from tensorgrad.graph.modules import modules_in, modules_of
from tensorgrad.viz import graph

X = np.array([[1.0, 2.0]])


def model() -> Any:
    return nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh(), nn.Linear(3, 1, rng=1))


def made_by(out: Any) -> list[Any]:
    """For each operation, the Modules that it was made in, the innermost first."""
    found = []
    for node in topological_order([out.node]):
        scope, modules = node.scope, []
        while scope is not None:
            modules.append(scope.module)
            scope = scope.parent
        if node.op is not None:
            found.append(modules)
    return found


def test_each_node_is_in_the_innermost_module_that_ran_and_those_around_it() -> None:
    net = model()
    out = net(X) * 2
    assert made_by(out) == [[net[0], net], [net[1], net], [net[2], net], []]


def test_two_calls_of_a_module_are_two_scopes() -> None:
    layer = nn.Linear(2, 2, rng=0)
    first, second = layer(X), layer(X)
    assert first.node.scope is not second.node.scope
    assert first.node.scope.module is second.node.scope.module is layer


def test_what_is_made_after_an_error_in_a_forward_is_in_no_module() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))
    with pytest.raises(ValueError, match="linear"):
        net(X)
    assert made_by(Value(1.0) * 2) == [[]]
    assert recorder.get() is record


def test_parameters_in_lists_dicts_and_dataclasses_stand_in_the_frame_of_their_module() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            self.rows = [Value(2.0), {"deep": Value(3.0)}]
            self.inner = {"a": nn.Linear(2, 1, rng=0)}

        def forward(self, x: Any) -> Any:
            return self.rows[0] * self.rows[1]["deep"] * self.inner["a"](x)  # type: ignore[index]

    bag = Bag()
    out = bag(X)
    paths = modules_of(topological_order([out.node]), modules_in({"bag": bag}))
    leaves = {name: paths[p.node] for name, p in bag.named_parameters()}
    assert leaves == {
        "rows.0": ("bag",),
        "rows.1.deep": ("bag",),
        "inner.a.weight": ("bag", "inner", "a"),
        "inner.a.bias": ("bag", "inner", "a"),
    }
    assert "bag.inner" in graph(out, {"bag": bag}).source
    assert "3 operations" in graph(out, {"bag": bag}, depth=0).source


@pytest.mark.parametrize("debug_outside", [True, False])
def test_debug_and_scopes_go_together_in_either_order(debug_outside: bool) -> None:
    class Checked(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Tanh()

        def forward(self, x: Any) -> Any:
            with tg.debug():
                return self.inner(x) * 2

    net: Any = nn.Sequential(nn.Tanh()) if debug_outside else Checked()
    if debug_outside:
        with tg.debug():
            out = net(Value(0.5))
        expected = [[net[0], net]]
    else:
        out = net(Value(0.5))
        expected = [[net.inner, net], [net]]
    assert made_by(out) == expected
    assert out.node.readings
    assert recorder.get() is record


def test_no_grad_within_a_module_records_nothing_and_without_one_neither() -> None:
    class Half(nn.Module):
        def forward(self, x: Any) -> Any:
            with no_grad():
                y = x * 2
            assert not y.requires_grad
            return x * y

    half = Half()
    assert made_by(half(Value(3.0))) == [[half]]
    with no_grad():
        assert not half(Value(3.0)).requires_grad


def test_inside_checkpoint_grad_and_vmap_nodes_know_their_modules() -> None:
    seen: list[Any] = []

    class Watched(nn.Module):
        def forward(self, x: Any) -> Any:
            y = np.tanh(x)
            seen.append(y.node.scope and y.node.scope.module)
            return y

    net = Watched()
    tg.checkpoint(net)(Value(0.5)).backward()
    tg.grad(net)(0.5)
    tg.vmap(tg.grad(net))(np.array([0.5, 0.6]))
    assert seen == [net] * 4  # the checkpoint twice


def test_threads_do_not_see_each_others_modules() -> None:
    gates = threading.Barrier(2)
    results: dict[int, Any] = {}

    class Slow(nn.Module):
        def forward(self, x: Any) -> Any:
            gates.wait()
            y = x * 2
            gates.wait()
            return y

    def run(i: int) -> None:
        net = Slow()
        results[i] = made_by(net(Value(1.0))) == [[net]]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: True, 1: True}


def test_a_module_that_keeps_its_output_is_freed_without_the_garbage_collector() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            self.w = Value(1.0)

        def forward(self, x: Any) -> Any:
            self.hidden = self.w * x
            return self.hidden

    gc.disable()
    try:
        net = Keeping()
        out = net(2.0)
        gone = weakref.ref(net)
        del net
        assert gone() is None
        assert made_by(out) == [[None]]
        assert modules_of([out.node], {}) == {out.node: ()}
    finally:
        gc.enable()

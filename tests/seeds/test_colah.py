"""Christopher Olah, *Calculus on Computational Graphs*: derivatives on edges, sums over paths."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tensorgrad import Value
from tensorgrad.engine.backprop import topological_order
from tensorgrad.engine.node import Node
from tensorgrad.engine.primitive import Primitive, primitive

pytestmark = pytest.mark.usefixtures("own_primitives")


def his_graph() -> dict[str, Value]:
    """e = (a + b)(b + 1) at a = 2, b = 1."""
    a, b = Value(2.0, name="a"), Value(1.0, name="b")
    c, d = a + b, b + 1
    e = c * d
    c.name, d.name, e.name = "c", "d", "e"
    return {"a": a, "b": b, "c": c, "d": d, "e": e}


def edges(output: Node) -> list[tuple[Node, Node, float]]:
    """(x, y, ∂y/∂x) for each edge x → y: the rule of y for x, given the cotangent 1."""
    return [
        (x, y, float(rule(1.0, y.data, *y.inputs, **y.params)))
        for y in topological_order([output])
        if y.op is not None
        for x, rule in zip(y.operands, y.op.rules)
        if x is not None
    ]


def path_products(start: Node, end: Node) -> list[float]:
    """For every path from `start` to `end`, the product of the derivatives on its edges."""
    if start is end:
        return [1.0]
    onward = [(y, slope) for x, y, slope in edges(end) if x is start]
    return [slope * rest for y, slope in onward for rest in path_products(y, end)]


def test_the_values_of_the_graph() -> None:
    assert {name: v.item() for name, v in his_graph().items()} == {
        **{"a": 2, "b": 1},
        **{"c": 3, "d": 2, "e": 6},
    }


def test_the_derivatives_on_the_edges() -> None:
    found = {(x.name, y.name): slope for x, y, slope in edges(his_graph()["e"].node)}
    assert found == {
        **{("a", "c"): 1, ("b", "c"): 1, ("b", "d"): 1},
        **{("c", "e"): 2, ("d", "e"): 3},
    }


def test_a_derivative_is_the_sum_over_paths_of_the_products_of_their_edges() -> None:
    v = his_graph()
    assert path_products(v["a"].node, v["e"].node) == [1 * 2]
    assert path_products(v["b"].node, v["e"].node) == [1 * 2, 1 * 3]


def test_reverse_mode_finds_all_derivatives_of_e_in_one_sweep() -> None:
    v = his_graph()
    for x in v.values():
        x.retain_grad()
    v["e"].backward()
    assert {name: x.grad for name, x in v.items()} == {
        **{"a": 2, "b": 2 + 3},
        **{"c": 2, "d": 3, "e": 1},
    }


def forward_mode(outputs: list[Value], x: Value) -> list[float]:
    """∂output/∂x for several outputs: the vjp is linear in its seed; differentiate it by that."""
    derivatives = []
    for output in outputs:
        seed = Value(1.0)
        x.grad = None
        output.backward(seed, create_graph=True)
        vjp, x.grad = x.grad, None
        vjp.backward()
        derivatives.append(seed.grad)
    return derivatives


def test_forward_mode_seeded_at_b_gives_the_derivative_of_every_node_by_b() -> None:
    v = his_graph()
    assert forward_mode([v["c"], v["d"], v["e"]], v["b"]) == [1, 1, 5]


def test_forward_mode_seeded_at_a_gives_the_derivative_of_every_node_by_a() -> None:
    v = his_graph()
    assert forward_mode([v["c"], v["e"]], v["a"]) == [1, 2]


def test_forward_mode_is_the_jacobian_times_the_tangent() -> None:
    x, t = Value([0.5, -1.0, 2.0]), np.array([1.0, -2.0, 0.5])
    A = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
    y = np.tanh(A @ np.sin(x))
    seed = Value(np.array([0.3, 0.7]))  # any: the vjp is linear in it
    y.backward(seed, create_graph=True)
    vjp, x.grad = x.grad, None
    vjp.backward(t)
    jacobian = np.diag(1 - y.data**2) @ A @ np.diag(np.cos(x.data))
    np.testing.assert_allclose(seed.grad, jacobian @ t, rtol=1e-9)


# How often an edge is touched.


def counted(calls: Counter[str], slopes: dict[str, float]) -> Primitive:
    """y = Σ slope x, with an edge, and a rule that counts its calls, for each slope."""

    def rule(name: str, slope: float) -> Any:
        def times_slope(g: Any, out: Any, *xs: Any) -> Any:
            calls[name] += 1
            return slope * g

        return times_slope

    return primitive(
        lambda *xs: sum(s * x for s, x in zip(slopes.values(), xs, strict=True)),
        *(rule(name, slope) for name, slope in slopes.items()),
        name="".join(slopes),
    )


def test_nine_paths_are_factored_into_six_edges() -> None:
    calls: Counter[str] = Counter()
    first, second = {"α": 2.0, "β": 3.0, "γ": 5.0}, {"δ": 7.0, "ε": 11.0, "ζ": 13.0}
    X = Value(1.0)
    Y = counted(calls, first)(X, X, X)
    Z = counted(calls, second)(Y, Y, Y)
    paths = [s * t for s, t in itertools.product(first.values(), second.values())]
    assert len(edges(Z.node)) == 6
    assert sorted(path_products(X.node, Z.node)) == sorted(paths)
    assert len(paths) == 9
    calls.clear()
    Z.backward()
    assert X.grad == sum(paths) == (2 + 3 + 5) * (7 + 11 + 13)
    assert calls == dict.fromkeys("αβγδεζ", 1)


def test_sixty_layers_of_three_parallel_edges_are_180_edges_and_not_3_to_the_60_paths() -> None:
    calls: Counter[str] = Counter()
    thrice = counted(calls, {"α": 1.0, "β": 1.0, "γ": 1.0})
    X = Y = Value(1.0)
    for _ in range(60):
        Y = thrice(Y, Y, Y)
    Y.backward()
    assert X.grad == 3.0**60
    assert calls.total() == 180


def test_reverse_mode_skips_the_edges_of_constants() -> None:
    calls: Counter[str] = Counter()
    constants = 4.0, Value(5.0, requires_grad=False)
    y = counted(calls, {"α": 2.0, "β": 3.0, "γ": 4.0})(Value(1.0), *constants)
    y.backward()
    assert calls == {"α": 1}

"""The events of a replay add up to what the engine computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.graph.replay import Event, Replay
from tensorgrad.viz import steps
from tests.expressions import expressions
from tests.viz.test_graph import colah


def network() -> tuple[Value, nn.Module]:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 2, rng=1))
    x = np.random.default_rng(0).normal(size=(5, 3))
    return nn.functional.cross_entropy(model(x), np.array([0, 1, 0, 1, 1])), model


def edges(events: Any) -> list[Event]:
    return [event for event in events if event.kind == "edge"]


def test_colahs_sweep_is_told_as_he_tells_it() -> None:
    e, names = colah()
    assert [str(event) for event in steps(e, names=names)] == [
        "a = 2",
        "b = 1",
        "c = a + b = 2 + 1 = 3",
        "d = b + 1 = 1 + 1 = 2",
        "e = c * d = 3 * 2 = 6",
        "∂e/∂e = 1",
        "∂e/∂c += ∂e/∂e * d = 1 * 2 = 2",
        "∂e/∂d += ∂e/∂e * c = 1 * 3 = 3",
        "∂e/∂b += ∂e/∂d * ∂d/∂b = ∂e/∂d = 3",
        "∂e/∂a += ∂e/∂c * ∂c/∂a = ∂e/∂c = 2",
        "∂e/∂b += ∂e/∂c * ∂c/∂b = ∂e/∂c = 2   (so far 5)",
    ]
    locals_of_edges = sorted(float(edge.local) for edge in edges(steps(e)))
    assert locals_of_edges == [1, 1, 1, 2, 3]


def test_forward_mode_carries_the_derivatives_by_one_input() -> None:
    e, names = colah()
    b = e.operands[1].operands[0]
    totals = {edge.name: float(edge.total) for edge in edges(steps(e, b, names, mode="fwd"))}
    assert totals == {"c": 1, "d": 1, "e": 5}


def test_totals_are_the_gradients_of_the_engine_and_nothing_is_touched() -> None:
    loss, model = network()
    found = {edge.source: edge.total for edge in edges(steps(loss))}
    assert all(p.grad is None for p in model.parameters())
    loss.backward()
    for p in model.parameters():
        np.testing.assert_array_equal(found[p.node], p.grad)
        assert found[p.node].dtype == p.grad.dtype


@settings(max_examples=30)
@given(call=expressions())
def test_the_same_for_drawn_expressions(call: Any) -> None:
    f, arguments = call
    leaves = [Value(x) for x in arguments]
    out = f(*leaves)
    assume(out.requires_grad)
    found = {edge.source: edge.total for edge in edges(steps(out))}
    out.backward(np.ones_like(out.data))
    for leaf in leaves:
        if leaf.node in found:  # a product of other strides may round in another way
            np.testing.assert_allclose(found[leaf.node], leaf.grad, rtol=1e-13, atol=1e-13)


@settings(max_examples=15)
@given(call=expressions())
def test_forward_mode_is_the_engines_jvp(call: Any) -> None:
    f, arguments = call
    leaves = [Value(x) for x in arguments]
    out = f(*leaves)
    for i, leaf in enumerate(leaves):
        if out.requires_grad and leaf.node in Replay(out).order:
            *_, last = steps(out, leaf, mode="fwd")
            tangents = [
                np.ones_like(x) if i == k else np.zeros_like(x) for k, x in enumerate(arguments)
            ]
            _, expected = tg.jvp(f, tuple(arguments), tuple(tangents))
            found = last.g if last.kind == "seed" else last.total
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_forward_mode_is_the_directional_derivative_of_a_network() -> None:
    loss, model = network()
    weight = model.parameters()[0]
    *_, last = steps(loss, weight, mode="fwd")
    loss.backward()
    np.testing.assert_allclose(last.total, weight.grad.sum(), rtol=1e-6)


def test_contributions_of_a_where_that_masks_are_those_of_the_sweep() -> None:
    x = Value([0.0, 1.0], name="x")
    with np.errstate(all="ignore"):
        y = np.sum(np.where(x > 0, x * np.log(x), 0))
        found = [edge.total for edge in edges(steps(y)) if edge.source is x.node][-1]
        y.backward()
    np.testing.assert_array_equal(found, x.grad)
    assert np.isfinite(found).all()


def test_forward_mode_goes_through_choices_of_any_shape() -> None:
    x = Value(np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 4.0]]))
    for f in (lambda x: np.max(x, axis=1), lambda x: np.linalg.norm(x, axis=1), np.ptp):
        found = [edge.choice for edge in edges(steps(np.sum(f(x)), x, mode="fwd"))]
        assert len(found) >= 2
    first, _ = [edge.choice for edge in edges(steps(np.sum(np.max(x, axis=1)), x, mode="fwd"))]
    assert first is not None


def test_a_graph_is_explained_as_it_was_or_not_at_all() -> None:
    w = Value(1.0, name="w")
    y = (w * 2) ** 2
    w.data = np.float64(5)
    with pytest.raises(ValueError, match="w was given other data"):
        steps(y)


def test_constants_have_the_names_they_were_given() -> None:
    w, x = Value(np.ones(2), name="w"), Value(np.ones((3, 2)), requires_grad=False, name="x")
    arr = np.ones(3)
    told = str(list(steps((x @ w) * arr, names={"v1": arr}))[2])
    assert told.startswith("v3 = v2 * v1 = ")
    assert str(list(steps((x @ w) * arr, names={"v1": arr}))[1]).startswith("v2 = x @ w = ")


def test_only_what_is_asked_for_is_walked() -> None:
    a, b = Value(2.0, name="a"), Value(3.0, name="b")
    walked = [(edge.name, edge.names[edge.source]) for edge in edges(steps(a * b + np.exp(b), a))]
    assert walked == [("v3", "v1"), ("v1", "a")]


def test_parallel_edges_are_two_events() -> None:
    a = Value(3.0, name="a")
    assert [edge.operand for edge in edges(steps(a * a))] == [0, 1]


def test_a_choice_is_told_where_it_was_made_and_nowhere_else() -> None:
    assert [e.choice for e in edges(steps(Value(0.0).relu()))] == ["relu'(0) = 0"]
    assert [e.choice for e in edges(steps(Value(1.0).relu()))] == [None]


def test_names_are_told_apart() -> None:
    a, b = Value(1.0, name="x"), Value(2.0, name="x")
    assert str(list(steps(a * b))[2]) == "v1 = x * x_2 = 1 * 2 = 2"


@pytest.mark.usefixtures("own_primitives")
def test_primitives_of_any_spelling_are_told() -> None:
    product = tg.primitive(
        lambda x, out: x * out,
        lambda g, o, x, out: g * out,
        lambda g, o, x, out: g * x,
        name="product",
    )
    told = [str(e) for e in steps(product(Value(2.0, name="a"), Value(3.0, name="b")))]
    assert told[2] == "v1 = product(a, b) = product(2, 3) = 6"
    assert told[4] == "∂v1/∂a += ∂v1/∂v1 * b = 1 * 3 = 3"

    def filled(g: Any, out: Any, x: Any) -> Any:
        result = np.zeros_like(x)
        for i in range(len(x)):
            result[i] = g * 2 * x[i]
        return result

    loop = tg.primitive(lambda x: (x * x).sum(), filled, name="loop")
    *_, last = steps(loop(Value(np.ones(3), name="x")))
    assert str(last) == "∂v1/∂x += [2, 2, 2]"  # no formula, but the numbers


def test_parts_of_a_formula_are_not_called_as_a_value_is() -> None:
    t = Value(np.array([[2.0, 1.0], [1.0, 3.0]]), name="t")
    *_, last = steps(np.sum(np.linalg.eigh(t)[0]))
    assert "t_1 = " in str(last)
    assert ", t = " not in str(last)


def test_forward_mode_goes_through_a_checkpoint() -> None:
    a, f = Value(2.0, name="a"), tg.checkpoint(lambda x: np.sin(x) * x)
    *_, last = steps(f(a), a, mode="fwd")
    assert last.total == pytest.approx(np.sin(2) + 2 * np.cos(2))


def test_infinities_that_cancel_are_shown_and_names_stay_in_their_line() -> None:
    x = Value(0.0, name="x\n\x1b[31m")
    with np.errstate(all="ignore"):
        y = x**0.5 + x**-1
    told = [str(event) for event in steps(y)]
    assert "nan" in told[-1]
    assert not any("\n" in line or "\x1b" in line for line in told)


def test_what_a_vmap_computed_is_not_looked_into() -> None:
    q = Value(np.ones((2, 2)))
    with pytest.raises(TypeError, match="what a vmap computed"):
        steps(np.sum(tg.vmap(lambda row: row * row)(q)))


def test_bad_input() -> None:
    e, _ = colah()
    with pytest.raises(ValueError, match="no graph"):
        steps(Value(1.0, requires_grad=False))
    with pytest.raises(TypeError, match="not ndarray"):
        list(steps(np.ones(2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no part in this result"):
        list(steps(e, Value(1.0)))
    with pytest.raises(ValueError, match="forward mode differentiates by one input"):
        list(steps(e, mode="fwd"))
    with pytest.raises(ValueError, match="there are 'rev' and 'fwd'"):
        list(steps(e, mode="back"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="names= takes a mapping"):
        list(steps(e, names=["a"]))
    with pytest.raises(TypeError, match="inside vmap"):
        tg.vmap(lambda x: list(steps(x * 2)))(Value(np.ones(3)))

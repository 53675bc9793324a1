"""Each printed equation, read back and computed with what it names, gives what it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tensorgrad import Value
from tensorgrad.formula.parse import ExpressionError, evaluate
from tensorgrad.formula.text import Rounded
from tensorgrad.graph.names import DIRECTION
from tensorgrad.graph.replay import Event, Replay, totals
from tensorgrad.nn import functional as F
from tests.expressions import expressions
from tests.networks import networks

SOME = settings(deadline=None, suppress_health_check=list(HealthCheck))
SHAPE = re.compile(r"(\w+)\[([\d, ]+)\]")


def readable(text: str) -> str:
    """Derivatives as names, lists of numbers as arrays."""
    text = re.sub(r"∂(\w+)/∂(\w+)", r"d_\1_d_\2", text)
    text = re.sub(r"D_(\w+)\((\w+)\)", r"D_\1_\2", text)
    return re.sub(r"(?<![\w)\].(])\[([^][]*)\]", r"array([\1])", text)


def computed(text: str, values: dict[str, Any]) -> Any:
    """The value of a formula; what stands in brackets behind it is defined there."""
    text, _, where = readable(text).partition(" (where ")
    for part in reversed(re.split(r", (?=\w+ = )", where.removesuffix(")")) if where else []):
        name, _, formula = part.partition(" = ")
        values = {**values, name: evaluate(formula, values)}
    try:
        return evaluate(text, values)
    except ExpressionError:  # a function that wants NumPy's numbers
        return evaluate(re.sub(r"(?<=[(, ])(-?[\d.]+)(?=[,)])", r"array(\1)", text), values)


def meant(
    replay: Replay, mode: Any, wrt: Value | None = None
) -> tuple[list[Event], dict[str, Any]]:
    """The events of a computation, and the value of everything that they name."""
    seed, *edges = replay.derivatives(mode, wrt)
    events = [*replay.values(seed), seed, *edges]
    values: dict[str, Any] = {replay.names[DIRECTION]: seed.g}
    for node in replay.order:
        values[replay.names[node]] = node.data
        for x in node.inputs:
            if id(x) in replay.names:
                values[replay.names[id(x)]] = x
    for node, total in totals([seed, *edges]).items():
        values[readable(seed.moving(node))] = total
    return events, values


def equations(events: list[Event], values: dict[str, Any]) -> Iterator[tuple[Event, str, Any, Any]]:
    """Each side of each equation, what it computes, and what it should."""
    for event in events:
        if event.kind == "seed":
            want = event.g
        else:
            want = event.contribution if event.kind == "edge" else event.value
        here = dict(values)
        if event.local is not None and event.source is not None:
            edge = f"d_{event.name}_d_{event.names[event.source]}"
            here.setdefault(edge, event.local)
            if edge in values and event.node is not event.end:
                here[edge] = event.local
        first, *sides = event.sides()
        if event.kind != "edge":
            np.testing.assert_array_equal(here[readable(first)], want)
        for side in sides[:-1]:
            yield event, side, computed(side, here), want
        yield event, sides[-1], stated(sides[-1], want), want


def stated(text: str, want: Any) -> Any:
    """The number or list at the end of an equation; what it says of a larger array must hold."""
    if found := SHAPE.fullmatch(text):
        assert found[1] == want.dtype.name
        assert tuple(map(int, found[2].split(","))) == want.shape
        return want
    return evaluate(readable(text), {})


def check(value: Value, mode: Any = "rev", wrt: Value | None = None) -> None:
    replay = Replay(value, wrt if mode == "fwd" else None)
    events, values = meant(replay, mode, wrt)
    for event, side, got, want in equations(events, values):
        said = f"{event}: {side}"
        assert np.shape(got) == np.shape(want), said
        rough = isinstance(side, Rounded)
        tolerance = 1e-3 if rough else 1e-4 if np.result_type(want).itemsize < 8 else 1e-9
        scale = np.max(np.abs(want), initial=0, where=np.isfinite(want))
        scale += moved_by_rounding(side, got) / tolerance if rough else 0
        np.testing.assert_allclose(got, want, tolerance, tolerance * scale, err_msg=said)


def moved_by_rounding(side: str, got: Any) -> Any:
    """How far the fourth digit of a number moves the result of a formula of numbers."""
    rng = np.random.default_rng(0)

    def nudged(found: re.Match[str]) -> str:
        return repr(float(found[0]) * (1 + rng.uniform(-2e-4, 2e-4)))

    if "[" in side or re.search(r"(?<![\w.])[A-Za-z_]\w*(?![\w(])", side):
        return 0
    others = [re.sub(r"(?<![\w.])\d+\.?\d*(e[-+]\d+)?", nudged, side) for _ in range(8)]
    return max(np.max(np.abs(got - computed(other, {}))) for other in others)


COSTS = {
    "sum": lambda a: np.sum(a * a),
    "mean": lambda a: np.mean(np.abs(a)),
    "cross entropy": lambda a: F.cross_entropy(a, np.zeros(len(a), int)),
    "quadratic": lambda a: F.mse_loss(a, np.ones(a.shape)),
    "largest": lambda a: np.sum(np.max(a, axis=-1)),
    "norms": lambda a: np.sum(np.sqrt(np.sum(a * a, axis=0) + 1)),
}


@settings(SOME, max_examples=12)
@given(call=networks(), cost=st.sampled_from(sorted(COSTS)))
def test_each_equation_of_a_network_holds(call: Any, cost: str) -> None:
    model, x = call
    loss = COSTS[cost](model(x))
    check(loss)
    check(loss, "fwd", model.parameters()[0])


@settings(SOME, max_examples=40)
@given(call=expressions())
def test_each_equation_of_an_expression_holds(call: Any) -> None:
    f, arguments = call
    out = f(*map(Value, arguments))
    assume(isinstance(out, Value) and out.requires_grad)
    check(out)

"""The thirteen rules of the engine (DESIGN.md), each as a test that fails without its rule."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.backprop import observing, topological_order
from tensorgrad.engine.node import Handle, Node, recording
from tensorgrad.engine.primitive import Primitive, primitive, registry
from tensorgrad.engine.rules import Reading
from tensorgrad.ops.nn.activation import relu
from tensorgrad.ops.nn.linear import linear
from tests.numerical import assert_gradient

pytestmark = pytest.mark.usefixtures("own_primitives")


@contextmanager
def no_collector() -> Iterator[None]:
    """Only reference counting frees memory inside."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def twice(rule: Any, forward: Any = lambda x: 2 * x) -> Primitive:
    """A primitive with this rule."""
    return primitive(forward, rule, name="twice")


# 1. Data, not closures.


def test_1_a_node_is_data_in_slots() -> None:
    y = Value([1.0, 2.0], name="x") * 3
    for thing in (y, y.node):
        assert not hasattr(thing, "__dict__")
    assert y.node.data.tolist() == [3, 6]
    assert (y.node.op.name, y.node.params, y.node.inputs[1]) == ("multiply", {}, 3)
    assert y.operands[0].name == "x"


def test_1_memory_stays_flat_over_10000_steps_without_the_garbage_collector() -> None:
    w, x = Value(np.full((3, 2), 0.1)), np.ones((4, 2))

    def step() -> None:
        h = np.tanh(linear(x, w, 0.0))
        h[0] = np.max(h) * w[0, 0]
        loss = (h * h).mean()
        loss.backward()
        w.data -= 0.01 * w.grad
        w.grad = None

    def steps(n: int) -> int:
        for _ in range(n):
            step()
        return sys.getallocatedblocks()

    with no_collector():
        before = steps(2_000)  # by then Python has specialised its byte code
        assert steps(10_000) - before < 200


def test_1_a_graph_of_gradients_holds_no_cycle_once_its_grads_are_dropped() -> None:
    def step() -> None:
        x = Value(2.0)
        (x**3).backward(create_graph=True)
        g, x.grad = x.grad, None  # .grad refers to a graph that starts at x
        g.backward()

    with no_collector():
        step()
        before = sys.getallocatedblocks()
        for _ in range(1000):
            step()
        assert sys.getallocatedblocks() - before < 200


# 2. The graph is inspectable and stable.


def test_2_operands_are_ordered_and_a_plus_a_has_two_edges() -> None:
    a, b = Value(1.0, name="a"), Value(2.0, name="b")
    assert [x.name for x in (a + a).operands] == ["a", "a"]
    assert [x.name for x in (a - b).operands] == ["a", "b"]
    assert [x.name for x in (b - a).operands] == ["b", "a"]
    s = a + a
    s.backward()
    assert a.grad == 2


def test_2_the_order_of_the_sweep_is_the_order_of_creation() -> None:
    leaves = [Value(float(i), name=str(i)) for i in range(20)]
    total = leaves[7] * leaves[3]
    for x in reversed(leaves):
        total = np.tanh(x + total * x)
    orders = [topological_order([total.node]) for _ in range(3)]
    assert orders[0] == orders[1] == orders[2]
    assert [n.serial for n in orders[0]] == sorted(n.serial for n in orders[0])
    position = {n: i for i, n in enumerate(orders[0])}
    for node in orders[0]:
        assert all(position[x] < position[node] for x in node.operands if x is not None)


# 3. No recursion over graphs.


def test_3_a_chain_of_a_million_operations_records_sweeps_and_is_freed() -> None:
    n = 1_000_000
    with no_collector():
        x = y = Value(1.0)
        for _ in range(n):
            y = y + 1
        assert y.item() == n + 1
        y.backward()
        assert x.grad == 1
        del y


def test_3_a_deep_graph_of_gradients_needs_no_stack_either() -> None:
    x = y = Value(0.5)
    for _ in range(5_000):
        y = y * 1.0001
    (y * y).backward(create_graph=True)  # d²/dx² (cx)² = 2c²
    g, x.grad = x.grad, None
    g.backward()
    assert x.grad == pytest.approx(2 * 1.0001**10_000, rel=1e-9)


def test_3_sharing_costs_nothing_twice() -> None:
    """A node that is used twice is visited once: 2⁶⁰ paths, 61 nodes."""
    x = y = Value(1.0)
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad == 2.0**60


# 4. The sweep keeps cotangents to itself.


def test_4_only_leaves_get_a_grad_and_values_asked_to_retain_it() -> None:
    x = Value(3.0)
    y, z = x * x, x * 2
    y.retain_grad()
    (y * z).backward()
    assert (y.grad, z.grad, x.grad) == (6, None, 54)  # d(2x³)/dx = 6x²


def test_4_grad_is_none_until_it_is_computed() -> None:
    x, unused = Value(3.0), Value(4.0)
    assert x.grad is None
    (x * 2).backward()
    assert x.grad == 2
    assert unused.grad is None


def test_4_backward_twice_adds_exactly_the_same_gradient_twice() -> None:
    w, x = Value(np.random.default_rng(0).normal(size=(3, 3))), Value(np.ones(3))
    y = (np.tanh(w @ x) * (w @ x)).sum()
    y.backward()
    once = w.grad.copy(), x.grad.copy()
    y.backward()
    np.testing.assert_array_equal(w.grad, 2 * once[0])
    np.testing.assert_array_equal(x.grad, 2 * once[1])


def test_4_the_sweep_may_start_from_a_leaf() -> None:
    x = Value([1.0, 2.0])
    x.backward([3.0, 4.0])
    assert x.grad.tolist() == [3, 4]


IDENTITIES: dict[str, Any] = {
    "the leaf itself": lambda x: x,
    "+x": lambda x: +x,
    "x + 0": lambda x: x + 0,
    "reshape": lambda x: x.reshape(2, 2),
    "transpose": lambda x: x.T,
    "broadcast": lambda x: np.broadcast_to(x, x.shape),
    "slice": lambda x: x[:],
    "flip": lambda x: np.flip(x),
    "reshape twice": lambda x: x.reshape(4).reshape(2, 2),
    "copy": lambda x: x.copy(),
    "concatenate": lambda x: np.concatenate([x]),
    "stack": lambda x: np.stack([x])[0],
    "expand and squeeze": lambda x: np.squeeze(np.expand_dims(x, 0), 0),
    "astype": lambda x: x.astype(np.float64),
}


@pytest.mark.parametrize("identity", sorted(IDENTITIES))
@pytest.mark.parametrize("retained", [False, True])
def test_4_a_grad_shares_its_memory_with_nothing(identity: str, retained: bool) -> None:
    x, y, seed = Value(np.ones((2, 2))), Value(np.ones((2, 2))), np.full((2, 2), 5.0)
    out = IDENTITIES[identity](x) + y
    if retained:
        out.retain_grad()
    out.backward(seed)
    arrays = [seed, x.data, y.data, out.data, x.grad, y.grad]
    arrays += [out.grad] if retained else []
    for i, a in enumerate(arrays):
        for b in arrays[:i]:
            assert not np.shares_memory(a, b)
    x.grad *= 0
    np.testing.assert_array_equal(y.grad, seed)
    np.testing.assert_array_equal(seed, np.full((2, 2), 5.0))


def test_4_adding_to_a_grad_leaves_the_old_array_alone() -> None:
    x = Value(np.ones(2))
    (x * 2).sum().backward()
    old = x.grad
    (x * 3).sum().backward()
    assert (old.tolist(), x.grad.tolist()) == ([2, 2], [5, 5])


def test_4_sums_of_cotangents_are_nobody_elses_arrays() -> None:
    """Three users of one leaf, added up in place, share no memory with what another leaf gets."""
    a, b = Value(np.ones(3)), Value(np.ones(3))
    seed = np.ones(3)
    (a + b + a + a).backward(seed)
    assert a.grad.tolist() == [3, 3, 3]
    assert b.grad.tolist() == [1, 1, 1]
    assert seed.tolist() == [1, 1, 1]


def test_4_many_reads_of_one_array_add_up_in_one_array() -> None:
    v = Value(np.arange(4.0))
    reads = [v[1:], v[[0, 0, 3]], v[v.data > 1], v[None, 2], v[..., -1], v[::2]]
    sum(np.sum(read) * k for k, read in enumerate(reads, 1)).backward()
    expected = np.zeros(4)
    for k, index in enumerate((slice(1, None), [0, 0, 3], [2, 3], 2, -1, slice(None, None, 2)), 1):
        np.add.at(expected, index, float(k))
    assert v.grad.tolist() == expected.tolist()


# 5. One rule per operand, evaluated only where a gradient is wanted.


def test_5_rules_run_only_where_a_gradient_is_wanted() -> None:
    ran = []

    def rule(i: int) -> Any:
        return lambda g, out, x, y: ran.append(i) or g  # type: ignore[func-returns-value]

    plus = primitive(lambda x, y: x + y, rule(0), rule(1), name="plus")
    w, data, constant = Value(1.0), np.float64(2.0), Value(3.0, requires_grad=False)
    for call, expected in (
        ((w, data), [0]),
        ((constant, w), [1]),
        ((w * constant, w), [0, 1]),
        ((constant * 2, w), [1]),
    ):
        ran.clear()
        plus(*call).backward()
        assert ran == expected


def test_5_no_matrix_product_for_the_gradient_of_input_data() -> None:
    """d(xW)/dx would have x's shape; with only W wanted, no such product is computed."""
    asked = []
    product = primitive(
        lambda x, w: x @ w,
        lambda g, out, x, w: asked.append("x") or g @ w.T,
        lambda g, out, x, w: asked.append("w") or x.T @ g,
        name="spied product",
    )
    product(np.ones((5, 3)), Value(np.ones((3, 2)))).backward(np.ones((5, 2)))
    assert asked == ["w"]


# 6. Shape repair lives in the sweep, once.


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (np.ones((4, 2, 3)), np.full((2, 3), 4.0)),  # an axis too many: summed
        (np.ones((1, 1, 2, 3)), np.ones((2, 3))),
        (np.ones(3), np.ones((2, 3))),  # an axis missing: broadcast
        (np.ones((2, 1)), np.ones((2, 3))),
        (np.ones((4, 2, 1)), np.full((2, 3), 4.0)),  # both
        (2.0, np.full((2, 3), 2.0)),
        (1, np.ones((2, 3))),
        (np.float32(3), np.full((2, 3), 3.0)),
        (np.ones((2, 3), np.float32), np.ones((2, 3))),
        (np.ones((2, 3), int), np.ones((2, 3))),
        (np.ones((2, 3), bool), np.ones((2, 3))),
    ],
)
def test_6_a_cotangent_that_broadcasts_is_summed_or_expanded(returned: Any, expected: Any) -> None:
    x = Value(np.zeros((2, 3)))
    twice(lambda g, out, x: returned)(x).backward(np.ones((2, 3)))
    assert x.grad.dtype == np.float64
    assert x.grad.flags.writeable
    np.testing.assert_array_equal(x.grad, expected)


def test_6_what_was_broadcast_from_size_1_is_summed_back_to_it() -> None:
    x, y, z = Value(np.ones((3, 1))), Value(np.ones((1, 4))), Value(2.0)
    (x * y * z).backward(np.ones((3, 4)))
    assert x.grad.tolist() == [[8]] * 3
    assert y.grad.tolist() == [[6] * 4]
    assert z.grad == 12


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (np.ones((2, 2)), "shape (2, 2)"),
        (np.ones(2), "shape (2,)"),
        (np.ones((3, 2)), "shape (3, 2)"),
        (np.ones((2, 0)), "shape (2, 0)"),
        (np.full((2, 3), "a"), "<U1"),
        (None, "None"),
        ([1.0], "[1.0]"),
    ],
)
def test_6_a_misfit_names_primitive_shapes_and_rule(returned: Any, what: str) -> None:
    op = twice(lambda g, out, x: returned)
    x, before = Value(np.zeros((2, 3))), Value(1.0)
    with pytest.raises((ValueError, TypeError)) as caught:
        (op(x) * before).backward(np.ones((2, 3)))
    message = str(caught.value)
    for part in ("rule of twice", __file__, what, "operand of shape (2, 3)", "float64"):
        assert part in message
    assert before.grad is None


# 7. Raw in, raw out.


def test_7_a_primitive_on_plain_arrays_is_plain_numpy() -> None:
    def forbidden(*args: Any) -> Node:
        raise AssertionError("recorded")

    with recording(forbidden):
        for op in (np.tanh, relu, registry["tanh"], registry["softmax"]):
            assert type(op(np.ones(3))) is np.ndarray
        assert type(registry["multiply"](2.0, np.float32(3))) is np.float32
        assert type(registry["concatenate"](np.ones(2), np.ones(1))) is np.ndarray


def test_7_rules_run_on_plain_arrays_in_an_ordinary_backward() -> None:
    seen: list[Any] = []
    op = twice(lambda g, out, x: seen.extend((g, out, x)) or g * 2)  # type: ignore[func-returns-value]
    x = Value(np.ones(3))
    op(x).sum().backward()
    assert not any(isinstance(a, Handle) for a in seen)
    op(x).sum().backward(create_graph=True)
    assert all(isinstance(a, Handle) for a in seen[3:])


# 8. Arrays are constants, Values are variables.


def test_8_constants_are_not_recorded() -> None:
    c, x = Value([1.0, 2.0], requires_grad=False), Value([1.0, 2.0])
    y = np.tanh(c) * 2 + np.ones(2)
    assert (y.op, y.operands, y.requires_grad) == (None, (), False)
    z = x * y * 3.0
    assert [type(a) for a in z.operands] == [Value, float]
    z.sum().backward()
    assert c.grad is None


def test_8_nothing_is_recorded_under_no_grad() -> None:
    x = Value(2.0)
    with tg.no_grad():
        y = x * x
    assert (y.op, y.requires_grad) == (None, False)
    assert (x * x).requires_grad


# 9. Randomness is an input. (So far no primitive draws random numbers; this keeps it so.)


def test_9_a_primitive_is_a_function_of_its_operands() -> None:
    before = np.random.get_state(legacy=True)  # noqa: NPY002
    for op in registry.values():
        shapes = [(2, 2)] * (op.domain.signature or "(),()").count("(")
        shapes = shapes if op.arity is None or op.domain.signature else [(2, 2)] * op.arity
        low, high = op.domain.of(0)
        for params in list(op.domain.params(*shapes))[:2]:
            xs = [np.full(s, (low + high) / 2 + 0.1) for s in shapes]
            xs = [np.clip(x, *op.domain.of(i)) for i, x in enumerate(xs)]
            if op.name != "linear" and not op.domain.make:
                np.testing.assert_array_equal(op(*xs, **params), op(*xs, **params))
    after = np.random.get_state(legacy=True)  # noqa: NPY002
    np.testing.assert_equal(after, before)


# 10. NumPy decides dtypes.


def test_10_python_numbers_are_weak_and_float32_stays_float32() -> None:
    x = Value(np.ones(3, np.float32))
    for y in (x * 2.0, 1 / x, x**2, x + 1, np.exp(x).mean(), np.where(x > 0, x, 0.0)):
        assert y.dtype == np.float32
    assert (x * np.ones(3)).dtype == np.float64
    assert Value(3).dtype == Value([1, 2]).dtype == np.float64
    assert Value(np.float32(3)).dtype == (Value(np.float32(3)) * 2.0).dtype == np.float32


def test_10_a_gradient_has_its_operands_dtype() -> None:
    x, y = Value(np.ones(2, np.float32)), Value(np.ones(2, np.float64))
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


def test_10_integers_and_booleans_carry_no_gradient() -> None:
    for data in (np.arange(3), np.array(True), np.int64(3)):
        with pytest.raises(TypeError, match="carries no gradient"):
            Value(data)
        assert Value(data, requires_grad=False).dtype == data.dtype


# 11. A stated policy where calculus is silent (all of them: test_policies.py).


def test_11_a_masked_branch_adds_zero_not_nan() -> None:
    x = Value([-1.0, 0.0, 2.0])
    with np.errstate(all="ignore"):
        np.where(x > 0, np.log(x) + np.sqrt(x) + x**-0.5, 0).sum().backward()
    assert x.grad[:2].tolist() == [0, 0]


# 12. Never fall through silently.


def half(x: float) -> float:
    return x / 2


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("numpy.lib.*scimath.*sqrt", lambda x: np.emath.sqrt(x)),
        ("half .vectorized.", lambda x: np.frompyfunc(half, 1, 1)(x)),
    ],
)
def test_12_a_numpy_function_without_a_rule_raises_and_names_it(name: str, call: Any) -> None:
    x = Value(np.eye(2))
    with pytest.raises(TypeError, match=rf"{name} has no gradient rule. Declare one, tg.primitive"):
        call(x)


@pytest.mark.parametrize(
    "leak",
    [
        lambda x: np.asarray(x),
        lambda x: np.array([x, x]),
        lambda x: np.ones(2).__setitem__(slice(None), x),
        lambda x: np.ones(2).__iadd__(x),
        lambda x: np.add(np.ones(2), x, out=np.ones(2)),
        lambda x: np.add.at(x, [0], 1.0),
        lambda x: np.ones(2).dot(x),
        lambda x: np.sum(x, out=np.ones(())),
        lambda x: np.add(x, 1, where=[True, False]),
        lambda x: np.cumsum(x, axis=x[0]),
    ],
)
def test_12_a_gradient_is_never_lost_unseen(leak: Any) -> None:
    with pytest.raises(TypeError):
        leak(Value([1.0, 2.0]))


# 13. Item assignment works.


def unrolled(x: Any, w: Any) -> Any:
    """h₀ = x₀, h₁ = tanh(w h₀ + x₁), ..., each under a name of its own."""
    h0 = x[0]
    h1 = np.tanh(h0 * w + x[1])
    h2 = np.tanh(h1 * w + x[2])
    h3 = np.tanh(h2 * w + x[3])
    return np.stack([h0, h1, h2, h3])


def assigned(x: Any, w: Any) -> Any:
    """The same with an array that is filled in."""
    h = Value(np.zeros(4), requires_grad=False) if isinstance(x, Value) else np.zeros(4)
    h[0] = x[0]
    for t in range(3):
        h[t + 1] = np.tanh(h[t] * w + x[t + 1])
    return h


def test_13_a_recurrence_by_assignment_is_the_unrolled_one() -> None:
    results = []
    for recurrence in (unrolled, assigned):
        x, w = Value([0.1, -0.2, 0.3, 0.4]), Value(0.7)
        h = recurrence(x, w)
        h.backward([1.0, 2.0, 3.0, 4.0])
        results.append((h.data, x.grad, w.grad))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15)
    assert_gradient(assigned, [0.1, -0.2, 0.3, 0.4], 0.7, order=2)


def test_13_what_was_read_before_a_write_keeps_its_gradient() -> None:
    x = Value([1.0, 2.0])
    y = x * 3
    before, whole = y[0], y
    y[0] = 10.0
    after = y[0]
    assert (before.item(), after.item(), whole is y) == (3, 10, True)
    (before * 5 + after * 7).backward()
    assert x.grad.tolist() == [15, 0]  # through `before` only: what was written is a constant


def test_13_an_overwritten_entry_gets_no_gradient_and_the_written_value_does() -> None:
    x, v = Value([1.0, 2.0, 3.0]), Value(5.0)
    y = x * x
    y[1] = v
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 6]
    assert v.grad == 1


def test_13_augmented_assignment_to_items() -> None:
    x = Value([1.0, 2.0])
    y = x * 3
    y[0] += 1
    y[1] *= y[0]  # (3x₁)(3x₀ + 1)
    y *= 2
    y.sum().backward()
    assert y.data.tolist() == [8, 48]
    assert x.grad.tolist() == [2 * (3 + 9 * 2), 2 * 3 * (3 + 1)]


@pytest.mark.parametrize(
    ("index", "shape"),
    [
        (1, (3,)),
        (-1, ()),
        (slice(None, None, -1), (2, 3)),
        ((slice(None), 0), (2,)),
        ((..., None, 1), (2, 1)),
        ([0, 0], (2, 3)),  # the last one written stays
        (([0, 1, 0], [2, 1, 2]), (3,)),
        (np.array([[True, False, True], [False, False, True]]), (3,)),
        (np.array([False, True]), (1, 3)),
        ((), (2, 3)),
        (..., (1, 1)),
        (([0, 0], slice(1, 3)), (2, 2)),
    ],
)
def test_13_every_form_of_index_is_written(index: Any, shape: Any) -> None:
    def write(x: Any, v: Any) -> Any:
        y = x * 2
        y[index] = v * v
        return y * y

    rng = np.random.default_rng(0)
    assert_gradient(write, rng.normal(size=(2, 3)), rng.normal(size=shape), order=2)


def test_13_a_write_moves_the_name_not_the_array() -> None:
    x = Value([1.0, 2.0])
    y = x * 1
    y.name = "y"
    array = y.data
    y[0] = 5.0
    assert (array.tolist(), y.data.tolist(), y.name) == ([1, 2], [5, 2], "y")


def test_13_a_leaf_that_requires_grad_is_not_assigned_to_unless_under_no_grad() -> None:
    x = Value([1.0, 2.0])
    with pytest.raises(ValueError, match="would hide the leaf"):
        x[0] = 3.0
    with tg.no_grad():
        x[0] = 3.0
    assert x.data.tolist() == [3, 2]


def test_a_number_takes_the_indices_that_numpy_takes_also_under_no_grad() -> None:
    v = Value(5.0)
    with tg.no_grad():
        for index in (0, slice(None)):
            with pytest.raises(IndexError):
                v[index] = 3.0
        v[np.array(False)] = 3.0
        assert v.item() == 5
        v[np.array(True)] = np.array([1.0])
        assert v.item() == 1
        v[()] = 7.0
        assert (v.item(), v.shape) == (7, ())


class Told(Reading):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.asked: list[Node] = []
        self.complete: dict[Node, Any] = {}
        self.asked_before: dict[Node, int] = {}
        self.careful: list[bool] = []

    def given(self, node: Node, args: tuple[Any, ...], sweep: Any) -> tuple[Any, ...]:
        self.asked.append(node)
        return args

    def completed(self, node: Node, g: Any, sweep: Any) -> None:
        assert node not in self.complete or sweep.careful
        self.complete[node] = np.copy(g)
        self.asked_before[node] = len(self.asked)
        self.careful.append(sweep.careful)


def test_an_observer_is_told_a_gradient_the_moment_it_is_complete() -> None:
    """The last layer's while the first has yet to be asked: so it can travel meanwhile."""
    w1, w2, b = Value(np.ones((3, 2))), Value(np.ones((2, 2))), Value(0.5)
    loss = np.sum(np.tanh(np.tanh(np.ones((4, 3)) @ w1 + b) @ w2 + b))
    told = Told()
    with observing(told):
        loss.backward()
    assert len(told.asked) == len({*told.asked}) == 7
    assert told.asked_before == {w2.node: 4, b.node: 6, w1.node: 7}
    for p in (w1, w2, b):
        np.testing.assert_array_equal(told.complete[p.node], p.grad)
    loss.backward()
    assert len(told.asked) == 7, "outside of the block nobody is told"


def test_an_observer_is_told_of_the_careful_sweep_as_of_another() -> None:
    x = Value(np.array([0.0, 4.0]))
    told = Told()
    with observing(told):
        grads = tg.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0)))(x.data)
    assert grads.tolist() == [0, 0.25]
    assert told.careful == [False, True]
    assert [g.tolist() for g in told.complete.values()] == [[0, 0.25]]

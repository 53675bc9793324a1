"""What a user's mistake says: what was wrong, where, and the way out; and nothing has changed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.engine.primitive import primitive, registry
from tensorgrad.ops.nn import cost, linear

pytestmark = pytest.mark.usefixtures("own_primitives")


def says(*parts: str) -> str:
    """A pattern that finds all of `parts`, in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(part)})" for part in parts)


# Shapes.


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("add", lambda x, y: x + y),
        ("subtract", lambda x, y: x - y),
        ("multiply", lambda x, y: x * y),
        ("divide", lambda x, y: x / y),
        ("power", lambda x, y: x**y),
        ("matmul", lambda x, y: x @ y),
        ("maximum", np.maximum),
        ("minimum", np.minimum),
        ("hypot", np.hypot),
        ("arctan2", np.arctan2),
        ("logaddexp", np.logaddexp),
        ("where", lambda x, y: np.where(True, x, y)),
        ("clip", lambda x, y: np.clip(x, y, None)),
        ("concatenate", lambda x, y: np.concatenate([x, y], axis=0)),
        ("stack", lambda x, y: np.stack([x, y])),
        ("einsum", lambda x, y: np.einsum("ij,ij", x, y)),
        ("tensordot", lambda x, y: np.tensordot(x, y, 1)),
        ("matmul", np.dot),
        ("tensordot", np.inner),
        ("matmul", np.vdot),
        ("quadratic", cost.quadratic),
        ("cross_entropy", cost.cross_entropy),
        ("binary_cross_entropy", cost.binary_cross_entropy),
        ("binary_cross_entropy_with_logits", cost.binary_cross_entropy_with_logits),
        ("linear", lambda x, y: linear.linear(x, y, 0.0)),
    ],
)
def test_a_shape_mismatch_names_the_operation_and_both_shapes(name: str, call: Any) -> None:
    x, y = Value(np.full((2, 3), 0.5)), Value(np.full((2, 4), 0.5))
    shown = ("6", "8") if call is np.vdot else ("2, 3", "2, 4")
    with pytest.raises(ValueError, match=says(name, *shown)):
        call(x, y)
    with pytest.raises(ValueError, match=says(name, *shown)):  # a constant on the right
        call(x, y.data)
    assert x.grad is y.grad is None


@pytest.mark.parametrize(
    ("error", "parts", "call"),
    [
        (ValueError, ("reshape", "2, 3", "(4,)"), lambda x: x.reshape(4)),
        (IndexError, ("sum", "2, 3", "axis 2"), lambda x: x.sum(axis=2)),
        (ValueError, ("transpose", "2, 3"), lambda x: x.transpose(0, 1, 2)),
        (ValueError, ("squeeze", "2, 3"), lambda x: x.squeeze(0)),
        (ValueError, ("broadcast_to", "2, 3"), lambda x: np.broadcast_to(x, (4,))),
        (IndexError, ("getitem", "2, 3", "5"), lambda x: x[5]),
        (IndexError, ("getitem", "2, 3"), lambda x: x[0, 0, 0]),
        (IndexError, ("take", "2, 3", "7"), lambda x: np.take(x, 7)),
        (ValueError, ("split", "(2, 3)", "2 equal"), lambda x: np.split(x, 2, axis=1)),
        (ValueError, ("einsum", "2, 3"), lambda x: np.einsum("ijk", x)),
        (ValueError, ("setitem", "2, 3", "4"), lambda x: (+x).__setitem__(0, np.ones(4))),
        (ValueError, ("pad", "nonsense"), lambda x: np.pad(x, 1, "nonsense")),
        (ValueError, ("max", "2, 0"), lambda x: x[:, :0].max()),
    ],
)
def test_an_impossible_call_names_operation_shape_and_argument(
    error: Any, parts: Any, call: Any
) -> None:
    x = Value(np.ones((2, 3)))
    with pytest.raises(error, match=says(*parts)):
        call(x)


def test_an_operand_that_is_missing() -> None:
    with pytest.raises(TypeError, match=r"multiply takes 2 operands, got 1"):
        registry["multiply"](Value(1.0))


def test_surplus_arguments() -> None:
    with pytest.raises(TypeError, match=says("relu", "1", "3")):
        registry["relu"](Value(1.0), 5, 6)


def test_a_param_that_the_rule_does_not_know() -> None:
    with pytest.raises(TypeError, match=says("flip", "order", "axis", ".data")):
        registry["flip"](Value([1.0]), order="F")


def test_a_value_where_only_data_may_stand() -> None:
    with pytest.raises(TypeError, match=says("requires grad", ".detach()")):
        np.cumsum(Value([1.0]), axis=Value(0.0))


# backward().


def test_backward_from_many_numbers_needs_a_seed() -> None:
    x = Value([1.0, 2.0])
    y = x * 2
    with pytest.raises(ValueError, match=says("shape (2,)", "pass a seed", "reduce")):
        y.backward()
    assert x.grad is None


def test_backward_without_a_graph() -> None:
    x = Value(2.0)
    with tg.no_grad():
        unrecorded = x * x
    for y in (x.detach(), unrecorded, Value(1.0, requires_grad=False) * 3):
        with pytest.raises(ValueError, match=says("without a graph", "constant", "detached")):
            y.backward()
    assert x.grad is None


def test_backward_on_integers() -> None:
    for data in (np.arange(3), np.int64(2), np.array(True)):
        with pytest.raises(ValueError, match=says("without a graph", "carries no gradient")):
            Value(data, requires_grad=False).backward()


@pytest.mark.parametrize("seed", [np.ones(3), 1.0, np.ones((1, 2)), np.ones((2, 1)), []])
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_seed_of_another_shape(seed: Any, create_graph: bool) -> None:
    x = Value([1.0, 2.0])
    (x * 3).sum().backward()
    with pytest.raises(ValueError, match=says("seed of shape", str(np.shape(seed)), "(2,)")):
        (x * 2).backward(seed, create_graph=create_graph)
    assert x.grad.tolist() == [3, 3]


# Rules of a user.


@pytest.mark.parametrize(
    ("error", "returned", "what"),
    [
        (ValueError, np.ones((2, 2)), "shape (2, 2)"),
        (ValueError, np.ones(4), "shape (4,)"),
        (TypeError, None, "None"),
        (TypeError, "nonsense", "'nonsense'"),
        (TypeError, [1.0, 2.0, 3.0], "[1.0, 2.0, 3.0]"),
        (TypeError, {}, "{}"),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_that_returns_no_cotangent(
    error: Any, returned: Any, what: str, create_graph: bool
) -> None:
    double = primitive(lambda x: 2 * x, lambda g, out, x: returned, name="double")
    x, after = Value([1.0, 2.0, 3.0]), Value(5.0)
    after.grad = 7.0
    kept = double(x) * after
    kept.retain_grad()
    parts = ("rule", "double", "test_errors.py:", what, "(3,)", "float64")
    with pytest.raises(error, match=says(*parts)):
        kept.sum().backward(create_graph=create_graph)
    assert (x.grad, after.grad, kept.grad) == (None, 7, None)  # nothing has changed


def test_a_rule_that_raises_changes_nothing() -> None:
    def broken(g: Any, out: Any, x: Any) -> Any:
        raise ZeroDivisionError("in the rule")

    bad = primitive(lambda x: 2 * x, broken, name="bad")
    x, y = Value(1.0), Value(2.0)
    z = bad(x) * y
    with pytest.raises(ZeroDivisionError, match="in the rule"):
        z.backward()
    assert x.grad is y.grad is None


def test_a_declaration_needs_a_name_and_a_rule() -> None:
    before = set(registry)
    with pytest.raises(TypeError, match="pass a callable rule for each operand"):
        primitive(np.spacing)
    with pytest.raises(TypeError, match="and a name="):
        primitive(lambda x: x, lambda g, out, x: g)
    assert set(registry) == before


# NumPy functions without a rule.


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sqrt", np.emath.sqrt),
        ("log", np.emath.log),
    ],
)
def test_a_numpy_function_without_a_rule_says_how_to_declare_it(name: str, call: Any) -> None:
    x = Value(np.eye(2))
    (x * x).sum().backward()
    with pytest.raises(TypeError, match=says(name, "no gradient rule", "tg.primitive(")):
        call(x)
    assert x.grad.tolist() == [[2, 0], [0, 2]]


def test_a_ufuncs_method_without_a_rule_is_not_the_ufunc() -> None:
    x = Value([1.0, 2.0])
    with pytest.raises(TypeError, match=r"np\.add\.at"):
        np.add.at(x, [0], 1.0)


def test_an_array_is_not_made_of_a_value_that_requires_grad() -> None:
    with pytest.raises(TypeError, match=says("lose its gradient", ".data", "np.stack")):
        np.asarray(Value([1.0]))


def test_in_place_on_an_array_says_what_to_write() -> None:
    a = np.ones(2)
    with pytest.raises(TypeError, match=says("np.add", "a = a + value")):
        a += Value([1.0, 2.0])
    assert a.tolist() == [1, 1]


# Values.


@pytest.mark.parametrize("data", ["text", None, [None], {}, [[1.0], [1.0, 2.0]]])
def test_a_value_holds_numbers(data: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Value(data)


def test_integers_carry_no_gradient() -> None:
    x = Value(np.arange(3), requires_grad=False)
    with pytest.raises(
        TypeError, match=says("int64", "carries no gradient", "requires_grad=False")
    ):
        x.requires_grad = True
    assert not x.requires_grad


def test_only_a_leafs_requires_grad_can_be_set() -> None:
    y = Value(1.0) * 2
    with pytest.raises(ValueError, match=says("leaf", ".detach()")):
        y.requires_grad = False
    assert y.requires_grad


def test_data_and_grad_keep_their_shape() -> None:
    x = Value([1.0, 2.0])
    with pytest.raises(ValueError, match=says("(3,)", "(2,)")):
        x.data = np.ones(3)
    with pytest.raises(ValueError, match=says("(3,)", "(2,)")):
        x.grad = np.ones(3)
    assert (x.data.tolist(), x.grad) == ([1, 2], None)


def test_assigning_to_a_leaf_or_to_integers() -> None:
    x, n = Value([1.0, 2.0]), Value(np.arange(2), requires_grad=False)
    with pytest.raises(ValueError, match=says("leaf", "v.copy()", "no_grad()")):
        x[0] = 1.0
    with pytest.raises(TypeError, match="integer"):
        n[0] = x[0]
    assert (x.data.tolist(), n.data.tolist()) == ([1, 2], [0, 1])


def test_names_of_other_libraries_are_told_what_to_write() -> None:
    for of, name, part in (
        (tg, "tensor", "tg.Value"),
        (tg, "save", "tg.io.save"),
    ):
        with pytest.raises(AttributeError, match=says(name, part)):
            getattr(of, name)


def test_a_layer_says_how_many_features_it_takes() -> None:
    layer = nn.Linear(4, 2, rng=0)
    for x in (np.ones((5, 3)), np.ones(3), np.ones((2, 5, 3))):
        with pytest.raises(ValueError, match=says("linear", "3 features", "takes 4")):
            layer(x)


def test_class_numbers_are_checked() -> None:
    z = Value(np.zeros((2, 3)))
    for y, parts in (
        (np.array([0, 3]), ("classes 0..3", "3 logits")),
        (np.array([0, -1]), ("-1", "3 logits")),
        (np.array([0, 1, 2]), ("(2, 3)", "(3,)")),
    ):
        with pytest.raises(ValueError, match=says("cross_entropy", *parts)):
            nn.functional.cross_entropy(z, y)


def test_the_words_of_pytorch_for_shapes_are_understood_or_answered() -> None:
    x = Value(np.arange(24.0).reshape(2, 3, 4))
    x.flatten(1)[1].sum().backward()
    np.testing.assert_array_equal(x.grad, [np.zeros((3, 4)), np.ones((3, 4))])
    assert [x.flatten(*axes).shape for axes in ((0,), (0, 1), (-1,))] == [(24,), (6, 4), (2, 3, 4)]
    with pytest.raises(ValueError, match=r"flatten\(2, 1\) of shape \(2, 3, 4\): no such axes"):
        x.flatten(2, 1)
    with pytest.raises(ValueError, match=r"write v\.swapaxes\(1, 2\)"):
        x.transpose(1, 2)
    with pytest.raises(AttributeError, match=r"'chunk': write np\.split"):
        x.chunk(3, dim=1)
    with pytest.raises(AttributeError, match=r"'cat': write np\.concatenate"):
        tg.cat([x, x])
    with pytest.raises(AttributeError, match=r"write .to\('cupy'\)"):
        nn.Linear(2, 1).cuda()

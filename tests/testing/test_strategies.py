"""What the strategies draw, what it shrinks to, and the engine on what random graphs compute."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from random import Random
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.engine.primitive import primitive, registry
from tensorgrad.testing import strategies as sts
from tests.expressions import expressions
from tests.networks import networks
from tests.numerical import assert_gradient
from tests.shapes import conv_shapes, einsum_calls, matmul_shapes

ANY = lambda _: True
SIZES = st.integers(1, 4)
THOROUGH = settings(max_examples=3_000, database=None)


def occurs(strategy: st.SearchStrategy[Any], predicate: Callable[[Any], bool]) -> Any:
    """Some example, not the smallest one: NoSuchExample where there is none."""
    chosen = settings(THOROUGH, phases=[Phase.generate])
    return find(strategy, predicate, settings=chosen, random=Random(0))


def smallest(strategy: st.SearchStrategy[Any], predicate: Callable[[Any], bool] = ANY) -> Any:
    return find(strategy, predicate, settings=THOROUGH, random=Random(0))


# Arrays.


@given(st.data())
def test_arrays_have_the_shape_dtype_and_range_that_was_asked_for(data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 2)))
    dtype = data.draw(st.sampled_from([np.float64, np.float32, np.float16]))
    shape = data.draw(sts.array_shapes(min_dims=0, max_side=5))
    x = data.draw(sts.arrays(shape, dtype, low, high))
    assert (x.shape, x.dtype) == (shape, dtype)
    # a range without any number of the dtype is rounded
    room = 0 if dtype != np.float16 else np.spacing(np.float16(max(-low, high)))
    assert np.all((low - room <= x) & (x <= high + room))


@given(sts.arrays(dtype=st.sampled_from([np.float32, np.float64])))
def test_drawn_numbers_are_the_same_in_single_and_in_double_precision(x: Any) -> None:
    assert np.array_equal(x.astype(np.float32).astype(np.float64), x)


@pytest.mark.parametrize("shape", [(), (3,), (8, 9)])
@pytest.mark.parametrize("special", [0, 1, -3, 3])
def test_zeros_ones_and_both_ends_of_the_range_occur(shape: Any, special: float) -> None:
    assert np.any(occurs(sts.arrays(shape), lambda x: np.any(x == special)) == special)


def test_ties_occur() -> None:
    occurs(sts.arrays(4), lambda x: len(np.unique(x)) < 4)


def test_simplest_entries_are_distinct_and_none_is_special() -> None:
    x = smallest(sts.arrays((2, 3)))
    assert x.tolist() == [[0.5, -1.5, 2.5], [-0.5, 1.5, -2.5]]
    assert smallest(sts.arrays(2, low=0.1)).tolist() == [0.5, 2.5]
    assert smallest(sts.arrays(2, low=-0.9, high=0.9)).tolist() == [0.5, -0.5]
    assert smallest(sts.arrays(2, low=-1e4, high=1e4)).tolist() == [0.5, -1.5]
    assert smallest(sts.arrays(2, start=1)).tolist() == [-1.5, 2.5]
    assert smallest(sts.arrays(1, complex)).tolist() == [0.5 - 1.5j]
    assert smallest(sts.arrays(2, low=7, high=7)).tolist() == [7, 7]


def test_failures_shrink_to_the_smallest_shape_and_the_shortest_number() -> None:
    assert smallest(sts.arrays()).tolist() == 0.5
    assert smallest(sts.arrays((sts.sides(), 2))).shape == (1, 2)
    assert smallest(sts.arrays(), lambda x: x.ndim == 2).shape == (1, 1)
    assert smallest(sts.arrays(), lambda x: x.sum() > 1.2).tolist() == 2.5
    assert smallest(sts.arrays((1,)), lambda x: x[0] < -1).tolist() == [-1.5]
    assert smallest(sts.arrays(), lambda x: x.size > 1 and x.std() > 1).shape == (2,)
    x = smallest(sts.arrays(sts.sides(1, 80)), lambda x: x.size > 60)
    assert x.shape == (61,)


def test_shapes_and_dtypes_may_be_strategies() -> None:
    shapes = st.sampled_from([(2,), (1, 4)])
    dtypes = sts.floating_dtypes(endianness="=", sizes=(32, 64))
    found = {
        (x.shape, x.dtype.name)
        for shape in [(2,), (1, 4)]
        for kind in ["float32", "float64"]
        for x in [
            occurs(
                sts.arrays(shapes, dtypes),
                lambda x, s=shape, k=kind: (x.shape, x.dtype.name) == (s, k),
            )
        ]
    }
    assert len(found) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sts.arrays(low=2, high=1), "low=2, high=1: pass two finite numbers"),
        (lambda: sts.arrays(high=math.inf), "pass two finite numbers"),
        (lambda: sts.arrays(low=math.nan), "pass two finite numbers"),
        (lambda: sts.arrays((2, -1)), "sides are 0 or more"),
        (lambda: sts.sides(3, 2), "0 <= min_side <= max_side"),
        (lambda: sts.away_from(sts.arrays(), abs, margin=-1), "pass 0 or more"),
        (lambda: matmul_shapes(max_dims=-1), "pass 0 or more"),
        (lambda: matmul_shapes(min_side=4), "0 <= min_side <= max_side"),
        (lambda: einsum_calls(max_operands=0), "pass 1 or more"),
        (lambda: conv_shapes(0), "pass 1 or more"),
        (lambda: sts.axes((-1,)), "sides are 0 or more"),
        (lambda: sts.well_conditioned(2, condition=0.5), "condition=0.5: pass 1 or more"),
        (lambda: sts.positive_definite(2, condition=math.inf), "a finite number"),
        (lambda: sts.orthogonal(-1), "sides are 0 or more"),
        (lambda: sts.probability_vectors((2, 0)), "no probabilities"),
        (lambda: sts.probability_vectors((2,), axis=1), "no probabilities"),
        (lambda: expressions(primitives=["tanhh"]), "names in the registry"),
        (lambda: expressions(primitives=[]), "pass primitives"),
        (lambda: expressions(max_size=0), "pass 1 or more"),
        (lambda: networks(max_layers=0), "1 or more"),
    ],
)
def test_arguments_with_wrong_values_are_refused_at_once(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sts.arrays("ab"), "pass an int, a tuple of ints"),
        (lambda: sts.arrays((2, True)), "pass an int, a tuple of ints"),
        (lambda: sts.arrays(2, int), "hypothesis.extra.numpy.arrays draws the others"),
        (lambda: sts.away_from(np.ones(2), abs), "pass a strategy"),
        (lambda: sts.away_from(sts.arrays(), 0), "pass a function"),
        (lambda: sts.axes(3), "pass a tuple of ints"),
        (lambda: sts.indices([2]), "pass a tuple of ints"),
        (lambda: sts.permutations(None), "pass a number or a shape"),
        (lambda: sts.orthogonal((2, 2)), "pass a number of rows"),
        (lambda: sts.probability_vectors(None), "pass an int or a shape"),
        (lambda: expressions([1.0]), "pass a strategy of tuples"),
        (lambda: smallest(expressions(st.just(2.0))), "a tuple of arrays"),
        (lambda: smallest(sts.arrays(2, st.just(bool))), "draws the others"),
    ],
)
def test_arguments_of_wrong_types_are_refused(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@given(st.data())
def test_points_stay_off_the_kinks_of_every_primitive_that_has_some(data: st.DataObject) -> None:
    op = data.draw(st.sampled_from([op for op in registry.values() if op.domain.kink]))
    if op.domain.signature or op.arity is None:
        return
    kink = op.domain.kink
    operands = st.tuples(*(sts.arrays(2, np.float64, *op.domain.of(i)) for i in range(op.arity)))
    xs = data.draw(sts.away_from(operands, kink, margin=0.01))
    assert np.all(np.abs(kink(*xs)) > 0.01)


def test_away_from_shrinks_as_what_it_filters_does() -> None:
    assert smallest(sts.away_from(sts.arrays(()), lambda x: x)).tolist() == 0.5
    assert smallest(sts.away_from(sts.arrays(()), lambda x: x - 0.5)).tolist() == -1.5
    assert smallest(sts.away_from(st.floats(-1, 1), lambda x: x)) == 1


# Shapes.


@given(matmul_shapes(max_dims=2, min_side=0))
def test_matmul_shapes_multiply(shapes: Any) -> None:
    x, y = map(np.ones, shapes)
    assert (x @ y).ndim <= 4


@pytest.mark.parametrize("ndims", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 2), (3, 3)])
def test_vectors_matrices_and_stacks_occur_on_either_side(ndims: tuple[int, int]) -> None:
    found = smallest(matmul_shapes(), lambda shapes: tuple(map(len, shapes)) == ndims)
    assert set(sum(found, ())) == {1}


@given(einsum_calls(min_side=0))
def test_einsum_calls_are_calls_and_the_engine_makes_the_same_of_them(call: Any) -> None:
    subscripts, shapes = call
    rng = np.random.default_rng(len(subscripts))
    xs = [rng.uniform(-2, 2, shape) for shape in shapes]
    expected = np.einsum(subscripts, *xs)
    found = np.einsum(subscripts, *map(Value, xs))
    np.testing.assert_allclose(found.data, expected, rtol=1e-12, atol=1e-12)


@given(einsum_calls(max_operands=2, max_side=2))
def test_gradients_of_einsum_calls(call: Any) -> None:
    subscripts, shapes = call
    rng = np.random.default_rng(len(subscripts))
    assert_gradient(
        lambda *xs: np.einsum(subscripts, *xs), *(rng.uniform(-1, 1, s) for s in shapes)
    )


@pytest.mark.parametrize(
    "feature",
    {
        "a trace": r".*([ijk])\1[^>]*$",
        "a diagonal": r".*([ijk])[^,]*\1.*->.*\1",
        "a transpose": r".*([ijk])(?!\1)([ijk]).*->.*\2.*\1",
        "a matrix product": r"([ijk])([ijk]),.*\2.*->(\.\.\.)?\1",
        "an implied result": r".*,[^>]*$",
        "an ellipsis in the middle": r".*\w\.\.\.\w",
        "three operands": r".*,.*,",
        "a number": r",",
        "a full sum": r".*->$",
    }.items(),
    ids=lambda feature: feature[0],
)
def test_einsum_calls_of_every_form_occur(feature: Any) -> None:
    occurs(einsum_calls(), lambda call: re.match(feature[1], call[0]) is not None)


def test_einsum_calls_shrink_to_one_short_operand() -> None:
    assert smallest(einsum_calls()) == ("i", ((1,),))
    assert smallest(einsum_calls(), lambda call: "->" in call[0])[1] == ((1,),)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@given(data=st.data())
def test_convolutions_have_a_result_by_the_formula_of_pytorch(
    ndim: int, data: st.DataObject
) -> None:
    x, kernel, options = data.draw(conv_shapes(ndim))
    assert len(x) == len(kernel) == ndim + 2
    assert x[1] == kernel[1] * options["groups"]
    assert kernel[0] % options["groups"] == 0
    for n, k, s, p, d in zip(
        x[2:], kernel[2:], *(options[key] for key in ("stride", "padding", "dilation"))
    ):
        assert (n + 2 * p - d * (k - 1) - 1) // s + 1 >= 1


def test_convolutions_of_every_kind_occur() -> None:
    for key in ("stride", "padding", "dilation"):
        x, kernel, options = smallest(
            conv_shapes(1), lambda c, key=key: c[2][key] == (1 + (key != "padding"),)
        )
        assert (kernel, options["groups"]) == ((1, 1, 1), 1)
        assert x == (1, 1, 1)
    assert smallest(conv_shapes(), lambda c: c[2]["groups"] == 2)[:2] == (
        (1, 2, 1, 1),
        (2, 1, 1, 1),
    )


# Indexing.


@given(st.data())
def test_axes_reduce(data: st.DataObject) -> None:
    shape = data.draw(sts.array_shapes(min_dims=0, max_dims=4, max_side=2))
    axis = data.draw(sts.axes(shape))
    x = np.ones(shape)
    np.testing.assert_array_equal(np.sum(Value(x), axis=axis).data, np.sum(x, axis=axis))


def test_axes_of_every_form_occur() -> None:
    axes = sts.axes((2, 3, 4))
    assert smallest(axes) is None
    assert smallest(axes, lambda a: isinstance(a, int)) == 0
    assert smallest(axes, lambda a: isinstance(a, int) and a < 0) == -1
    assert smallest(axes, lambda a: isinstance(a, tuple)) == ()
    assert len(occurs(axes, lambda a: isinstance(a, tuple) and len(a) == 3)) == 3
    occurs(axes, lambda a: isinstance(a, tuple) and min(a, default=0) < 0 <= max(a))
    assert smallest(sts.axes(()), lambda a: a is not None) == ()


@given(st.data())
def test_permutations_permute(data: st.DataObject) -> None:
    shape = data.draw(sts.array_shapes(min_dims=0, max_dims=4, max_side=3))
    axes = data.draw(sts.permutations(shape))
    assert np.transpose(np.ones(shape), axes).shape == tuple(shape[a] for a in axes)
    p = data.draw(sts.permutations(5))
    assert sorted(np.arange(5)[p]) == [0, 1, 2, 3, 4]


def test_permutations_shrink_to_the_identity() -> None:
    assert smallest(sts.permutations(3)).tolist() == [0, 1, 2]
    assert smallest(sts.permutations((4, 5))) == (0, 1)
    assert smallest(sts.permutations(0)).shape == (0,)


@given(st.data())
def test_indices_index_and_their_gradient_adds_up_what_was_read(data: st.DataObject) -> None:
    shape = data.draw(sts.array_shapes(min_dims=0, min_side=0, max_side=3))
    i = data.draw(sts.indices(shape))
    x = Value(np.arange(math.prod(shape), dtype=float).reshape(shape))
    picked = x[i]
    np.testing.assert_array_equal(picked.data, x.data[i])
    g = 1.0 + np.arange(picked.size).reshape(picked.shape)
    picked.backward(g)
    expected = np.zeros(shape)
    np.add.at(expected, i, g)
    np.testing.assert_array_equal(x.grad, expected)


@settings(max_examples=20 * settings().max_examples)
@given(sts.indices((4, 3, 3)))
def test_arrays_and_masks_in_one_index_broadcast(i: Any) -> None:
    np.ones((4, 3, 3))[i]


def parts(i: Any) -> tuple[Any, ...]:
    return i if isinstance(i, tuple) else (i,)


def kinds(i: Any) -> set[str]:
    """The forms that an index mixes."""
    names = {int: "int", slice: "slice", type(None): "newaxis", type(...): "ellipsis"}
    arrays = {"b": "mask", "i": "array"}
    return {names.get(type(p)) or arrays[np.asarray(p).dtype.kind] for p in parts(i)}


@pytest.mark.parametrize(
    "form",
    {
        "int": lambda i: type(i) is int,
        "negative int": lambda i: type(i) is int and i < 0,
        "slice": lambda i: isinstance(i, slice),
        "reversed slice": lambda i: isinstance(i, slice) and i.step == -1,
        "ellipsis": lambda i: i is ...,
        "newaxis": lambda i: "newaxis" in kinds(i),
        "empty tuple": lambda i: isinstance(i, tuple) and not i,
        "list": lambda i: isinstance(i, list),
        "integers that repeat": lambda i: (
            isinstance(i, np.ndarray) and i.dtype.kind == "i" and len(np.unique(i)) < i.size
        ),
        "integers in two axes": lambda i: isinstance(i, np.ndarray) and i.ndim == 2,
        "mask of everything": lambda i: isinstance(i, np.ndarray) and i.shape == (3, 2),
        "mask of an axis": lambda i: isinstance(i, np.ndarray) and i.shape == (3,) and i.any(),
        "two arrays": lambda i: isinstance(i, tuple) and sum(type(p) is np.ndarray for p in i) == 2,
        "array, slice": lambda i: kinds(i) == {"array", "slice"},
        "array, int, newaxis": lambda i: kinds(i) == {"array", "int", "newaxis"},
        "mask, ellipsis": lambda i: kinds(i) == {"mask", "ellipsis"},
        "mask, array": lambda i: kinds(i) == {"mask", "array"},
    }.items(),
    ids=lambda form: form[0],
)
def test_indices_of_every_form_occur(form: Any) -> None:
    assert form[1](occurs(sts.indices((3, 2)), form[1]))


# Matrices.


@given(sts.orthogonal(SIZES))
def test_orthogonal_matrices_keep_lengths_and_angles(Q: Any) -> None:
    assert np.abs(Q.T @ Q - np.eye(len(Q))).max() < 1e-12


@pytest.mark.parametrize("sign", [-1, 1])
def test_orthogonal_matrices_have_either_determinant(sign: int) -> None:
    occurs(sts.orthogonal(3), lambda Q: np.sign(np.linalg.det(Q)) == sign)


@given(sts.well_conditioned(SIZES, condition=50))
def test_condition_numbers_stay_below_the_bound(A: Any) -> None:
    assert np.linalg.cond(A) <= 50 * (1 + 1e-12)


@given(sts.positive_definite(SIZES, condition=50))
def test_positive_definite_matrices_are(A: Any) -> None:
    assert np.array_equal(A, A.T)
    eigenvalues = np.linalg.eigvalsh(A)
    assert eigenvalues[0] > 0
    assert eigenvalues[-1] / eigenvalues[0] <= 50 * (1 + 1e-12)
    np.linalg.cholesky(A)


@pytest.mark.nightly
def test_the_simplest_matrices_can_be_told_from_the_identity_and_from_their_transpose() -> None:
    for strategy in (sts.orthogonal(2), sts.well_conditioned(2)):
        A = smallest(strategy)
        assert not np.allclose(A, A.T)
    assert np.all(smallest(sts.positive_definite(2)) != 0)
    assert smallest(sts.well_conditioned(SIZES)).shape == (1, 1)
    assert smallest(sts.orthogonal(1)).tolist() == [[1]]
    assert smallest(sts.orthogonal(0)).shape == (0, 0)


def test_condition_one_leaves_the_orthogonal_matrices() -> None:
    A = occurs(sts.well_conditioned(3, condition=1), ANY)
    np.testing.assert_allclose(A.T @ A, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("shape", "axis"), [(3, -1), ((2, 3), 0), ((2, 3, 1), 1), (SIZES, 0)])
@given(data=st.data())
def test_probabilities_are_positive_and_sum_to_one(
    shape: Any, axis: int, data: st.DataObject
) -> None:
    p = data.draw(sts.probability_vectors(shape, axis))
    n = p.shape[axis]
    assert np.all(p >= 1 / (16 * n))
    np.testing.assert_allclose(p.sum(axis=axis), 1, rtol=1e-15 * n)


def test_gradients_of_matrix_functions_where_the_matrices_are_good() -> None:
    @given(sts.positive_definite(SIZES), sts.well_conditioned(2))
    def check(A: Any, B: Any) -> None:
        assert_gradient(lambda A: np.linalg.cholesky((A + A.T) / 2), A)
        assert_gradient(np.linalg.inv, B)

    check()


# Expressions.


@settings(max_examples=3 * settings().max_examples)
@given(expressions())
def test_the_engine_differentiates_random_expressions(call: Any) -> None:
    f, xs = call
    assert_gradient(f, *xs)


@given(expressions(max_size=4))
def test_the_engine_differentiates_gradients_of_random_expressions(call: Any) -> None:
    f, xs = call
    assert_gradient(f, *xs, order=2)


@given(expressions(max_size=4))
def test_forward_mode_transposes_reverse_mode_on_random_expressions(call: Any) -> None:
    f, xs = call
    rng = np.random.default_rng(0)
    tangents = tuple(rng.standard_normal(x.shape) for x in xs)
    out, tangent = tg.jvp(f, xs, tangents)
    g = rng.standard_normal(np.shape(out))
    gradients = tg.vjp(f, *xs)[1](g)
    forward = np.sum(g * tangent)
    reverse = [np.sum(d * t) for d, t in zip(gradients, tangents)]
    scale = 1 + abs(forward) + sum(map(abs, reverse))
    assert abs(forward - sum(reverse)) < 1e-9 * scale


@given(expressions())
def test_an_expression_is_its_source(call: Any) -> None:
    f, xs = call
    pasted = eval(repr(f), {"np": np, "registry": registry})
    expected = f(*xs)
    np.testing.assert_array_equal(pasted(*xs), expected)
    values = f(*map(Value, xs))
    assert isinstance(values, Value)
    np.testing.assert_allclose(values.data, expected, rtol=1e-12, atol=1e-12)
    assert np.all(np.isfinite(expected))


FAMILIES = {
    "arithmetic": ["+", "*", "/", " - "],
    "elementwise": ["np.tanh(", "np.log(", "np.arctan2(", "np.clip(", "registry['clip']("],
    "reductions": ["np.sum(", "np.max(", "np.var(", "registry['logsumexp']("],
    "shapes": ["np.transpose(", "registry['reshape'](", "np.expand_dims("],
    "indexing": ["[0]", "np.take(", "registry['setitem']("],
    "products": [" @ ", "registry['einsum']("],
    "linear algebra": ["np.linalg.inv(", "np.linalg.det(", "np.linalg.cholesky("],
    "decompositions": ["registry['eigh'](", "np.linalg.svdvals("],
    "joins": ["registry['stack'](", "registry['concatenate']("],
    "sorting": ["np.sort(", "np.partition("],
    "networks": ["registry['relu'](", "registry['softmax']("],
}


FIRST = ("arithmetic", "elementwise", "shapes")
REST = [pytest.param(name, marks=pytest.mark.nightly) for name in FAMILIES if name not in FIRST]


@pytest.mark.parametrize("family", [*FIRST, *REST])
def test_expressions_contain_primitives_of_every_family(family: str) -> None:
    found = occurs(expressions(), lambda c: any(s in repr(c[0]) for s in FAMILIES[family]))
    assert_gradient(found[0], *found[1])


@pytest.mark.nightly
def test_expressions_share_and_need_all_their_arguments() -> None:
    f, _ = smallest(expressions(primitives=["tanh", "multiply"]), lambda c: ":=" in repr(c[0]))
    assert repr(f) in (
        "lambda x: (t1 := np.tanh(x)) * t1",
        "lambda x: np.tanh((t1 := np.tanh(x))) + np.tanh(t1)",
    )
    f, xs = smallest(expressions(), lambda c: len(c[1]) == 3)
    assert repr(f) == "lambda x, y, z: ((z + z) + y) + x"
    assert len({x.item() for x in xs}) == 3


@pytest.mark.nightly
def test_expressions_shrink_to_one_operation_on_one_number() -> None:
    f, (x,) = smallest(expressions())
    assert (repr(f), x.tolist()) == ("lambda x: x + x", 0.5)
    f, (x,) = smallest(expressions(), lambda c: "@" in repr(c[0]))
    assert (repr(f), x.size) == ("lambda x: x @ x", 1)
    f, _ = smallest(expressions(), lambda c: "np.log(" in repr(c[0]))
    assert repr(f) == "lambda x: np.log(x)"


def test_operands_outside_of_a_domain_are_brought_inside() -> None:
    below = st.tuples(sts.arrays(2, low=-3, high=-1))
    f, _ = smallest(expressions(below, primitives=["log"]))
    assert repr(f) == "lambda x: np.log(1.55 + (1.45 * np.tanh(x)))"


def test_a_kink_is_left_out() -> None:
    at_zero = st.just((np.zeros(2),))
    f, _ = smallest(expressions(at_zero, primitives=["absolute"]))
    assert repr(f) == "lambda x: x"


@pytest.mark.usefixtures("own_primitives")
def test_expressions_contain_a_primitive_of_ones_own() -> None:
    op = primitive(
        lambda x, y: x * y + y, lambda g, out, x, y: g * y, lambda g, out, x, y: g, name="wrong"
    )
    found = smallest(expressions(primitives=[op, "add"]), lambda c: fails(*c))
    assert repr(found[0]) == "lambda x: registry['wrong'](x, x)"
    assert found[1][0].tolist() == 0.5


def fails(f: Any, xs: Any) -> bool:
    """Whether the engine's gradient of `f` is wrong."""
    try:
        assert_gradient(f, *xs)
    except AssertionError:
        return True
    return False


OWN = hnp.arrays(np.float32, 3, elements=st.floats(-3, 3, width=32), fill=st.just(0.5))


@given(expressions(st.tuples(sts.arrays((2, 3), np.float32), OWN)))
def test_expressions_take_arguments_of_ones_own(call: Any) -> None:
    f, (x, y) = call
    assert (x.shape, y.shape) == ((2, 3), (3,))
    assert f(x, y).dtype == np.float32


# Networks.


@given(networks())
def test_the_engine_differentiates_random_networks(call: Any) -> None:
    model, x = call
    names = list(model.state_dict())

    def cost(x: Any, *parameters: Any) -> Any:
        y = x
        p = dict(zip(names, parameters))
        for i, layer in enumerate(model):
            if isinstance(layer, nn.Linear):
                y = y @ p[f"layers.{i}.weight"].T + p[f"layers.{i}.bias"]
            else:
                y = layer(y)
        return y

    np.testing.assert_allclose(cost(x, *model.state_dict().values()), model(x).data, rtol=1e-12)
    assert_gradient(cost, x, *model.state_dict().values())
    model(Value(x)).sum().backward()
    expected = tg.grad(lambda *a: cost(*a).sum(), argnums=tuple(range(1, 1 + len(names))))(
        x, *model.state_dict().values()
    )
    for p, d in zip(model.parameters(), expected):
        np.testing.assert_allclose(p.grad, d, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "activation", [nn.Tanh, nn.Sigmoid, nn.ReLU, nn.Softplus, nn.Softmax, nn.LogSoftmax]
)
def test_networks_of_every_activation_occur(activation: Any) -> None:
    model, x = smallest(networks(), lambda c: any(isinstance(layer, activation) for layer in c[0]))
    assert [type(layer) for layer in model] == [nn.Linear, activation]
    assert x.tolist() == [[0.5]]


@given(networks(activations=[nn.ReLU], dtype=np.float32))
def test_no_relu_is_near_its_kink(call: Any) -> None:
    model, x = call
    assert model(x).dtype == np.float32
    for layer in model:
        if isinstance(layer, nn.ReLU):
            assert np.all(np.abs(x.data) >= 1 / 16)
        x = layer(x)


def test_a_failing_network_is_printed_as_code() -> None:
    @settings(database=None)
    @given(networks(activations=[nn.Tanh]))
    def check(call: Any) -> None:
        model, x = call
        check.model, check.x = model, x
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as error:
        check()
    line = next(n for n in error.value.__notes__ if n.startswith("the network: "))
    again = eval(line.removeprefix("the network: "), {"nn": nn})
    np.testing.assert_array_equal(again(check.x).data, check.model(check.x).data)

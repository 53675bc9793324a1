"""Embeddings: rows of a table, and bags of them, against loops."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, io, nn
from tensorgrad.nn import functional as F
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(6, 3))


@pytest.mark.parametrize("shape", [(), (4,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, np.complex128, np.longdouble]
)
def test_rows_are_looked_up_and_their_gradients_added_up(shape: Any, dtype: Any) -> None:
    numbers, weight = rng.integers(0, 6, shape), Value(TABLE.astype(dtype))
    out = F.embedding(numbers, weight)
    np.testing.assert_array_equal(out.data, weight.data[numbers])
    g = rng.normal(size=out.shape).astype(dtype)
    out.backward(g)
    wanted = np.zeros((6, 3), dtype)
    for i in np.ndindex(shape):
        wanted[numbers[i]] += g[i]
    assert weight.grad.dtype == dtype
    np.testing.assert_allclose(weight.grad, wanted, rtol=2e-2 if dtype == np.float16 else 1e-5)


def test_second_derivatives_and_vmap_over_numbers_and_over_tables() -> None:
    numbers = np.array([[1, 1, 4], [0, 5, 0]])
    assert_gradient(lambda w: F.embedding(numbers, w) ** 3, TABLE, order=2)
    one = lambda w, i: np.sum(F.embedding(i, w) ** 2)
    tables = np.stack([TABLE, 2 * TABLE])
    for axes, args in [
        ((None, 0), (TABLE, numbers)),
        ((0, 0), (tables, numbers)),
        ((0, None), (tables, numbers[0])),
    ]:
        each = [
            one(*(x if axis is None else x[i] for x, axis in zip(args, axes))) for i in range(2)
        ]
        np.testing.assert_allclose(tg.vmap(one, in_axes=axes)(*args), each)
        grads = tg.vmap(tg.grad(one), in_axes=axes)(*args)
        for i in range(2):
            w, k = (x if axis is None else x[i] for x, axis in zip(args, axes))
            np.testing.assert_allclose(grads[i], tg.grad(one)(w, k))


@pytest.mark.parametrize("padding_idx", [2, -4])
def test_a_row_of_padding_is_0_at_first_and_does_not_learn(padding_idx: int) -> None:
    layer = nn.Embedding(6, 3, padding_idx=padding_idx, rng=0)
    assert not layer.weight.data[2].any()
    np.sum(layer(np.array([2, 1, 2])) + 1).backward()
    np.testing.assert_array_equal(layer.weight.grad.sum(axis=1), [0, 3, 0, 0, 0, 0])


def test_the_gradient_may_be_divided_by_how_often_a_row_is_used() -> None:
    weight, numbers = Value(TABLE), np.array([1, 1, 1, 4])
    F.embedding(numbers, weight, scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(weight.grad[:, 0], [0, 1, 0, 0, 1, 0])
    f = lambda w: F.embedding(numbers, w, scale_grad_by_freq=True).sum()
    np.testing.assert_allclose(tg.vmap(tg.grad(f))(np.stack([TABLE] * 2))[1], weight.grad)


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_rows_that_are_used_and_too_long_are_shortened_in_place(norm_type: float) -> None:
    weight = Value(3 * TABLE)
    out = F.embedding(np.array([0, 0, 4]), weight, max_norm=1.0, norm_type=norm_type)
    lengths = np.linalg.norm(weight.data, norm_type, axis=1)
    np.testing.assert_allclose(lengths[[0, 4]], 1, rtol=1e-6)
    np.testing.assert_array_equal(weight.data[[1, 2, 3, 5]], 3 * TABLE[[1, 2, 3, 5]])
    np.testing.assert_array_equal(out.data, weight.data[[0, 0, 4]])


NUMBERS, OFFSETS = np.array([1, 4, 4, 0, 2, 5, 3]), np.array([0, 3, 3, 6])
REDUCE = {"sum": np.sum, "mean": np.mean, "max": np.max}


def by_hand(rows: list[Any], mode: str) -> Any:
    return REDUCE[mode](np.array(rows), axis=0) if rows else np.zeros(3)


@pytest.mark.parametrize("padding", [None, 4, 3])
@pytest.mark.parametrize("mode", REDUCE)
def test_a_bag_is_the_sum_mean_or_maximum_of_its_rows(mode: str, padding: int | None) -> None:
    bags = np.split(NUMBERS, OFFSETS[1:])
    wanted = [by_hand([TABLE[i] for i in bag if i != padding], mode) for bag in bags]
    f = lambda w: F.embedding_bag(NUMBERS, w, OFFSETS, mode=mode, padding_idx=padding)
    np.testing.assert_allclose(f(TABLE), wanted)
    if padding is None:
        assert_gradient(f, TABLE, order=2)
    else:
        w = Value(TABLE)
        (f(w) ** 2).sum().backward()
        assert not w.grad[padding].any()
        assert np.isfinite(w.grad).all()
    last = np.append(OFFSETS, len(NUMBERS))
    again = F.embedding_bag(
        NUMBERS, TABLE, last, mode=mode, include_last_offset=True, padding_idx=padding
    )
    np.testing.assert_array_equal(again, f(TABLE))
    rows = NUMBERS[:6].reshape(2, 3)
    wanted = [by_hand([TABLE[i] for i in bag if i != padding], mode) for bag in rows]
    out = F.embedding_bag(rows, TABLE, mode=mode, padding_idx=padding)
    np.testing.assert_allclose(out, wanted)


def test_the_rows_of_a_sum_may_have_factors_that_learn() -> None:
    f = lambda table, w: F.embedding_bag(NUMBERS, table, OFFSETS, mode="sum", per_sample_weights=w)
    factors = rng.normal(size=7)
    bags = np.split(np.arange(7), OFFSETS[1:])
    wanted = [sum((factors[k] * TABLE[NUMBERS[k]] for k in bag), np.zeros(3)) for bag in bags]
    np.testing.assert_allclose(f(TABLE, factors), wanted)
    assert_gradient(f, TABLE, factors, order=2)


def test_a_table_that_was_learnt_elsewhere_is_frozen_unless_it_may_learn() -> None:
    layer = nn.Embedding.from_pretrained(TABLE)
    assert not layer.weight.requires_grad
    np.testing.assert_array_equal(layer(np.array([1])), TABLE[[1]])
    bag = nn.EmbeddingBag.from_pretrained(TABLE, freeze=False, mode="max")
    assert bag.weight.requires_grad
    assert bag.mode == "max"
    assert bag.weight.dtype == np.float64
    layer.weight.data[0] = 0
    assert TABLE[0].any()  # a copy


@pytest.mark.parametrize(
    ("layer", "args"),
    [
        (nn.Embedding(6, 3, padding_idx=1, rng=0), (np.array([[1, 2]]),)),
        (nn.EmbeddingBag(6, 3, mode="max", rng=0), (NUMBERS, OFFSETS)),
    ],
)
def test_layers_are_saved_copied_pickled_and_differentiated(
    layer: Any, args: Any, tmp_path: Any
) -> None:
    out = layer(*args)
    assert out.dtype == np.float32
    io.save(layer, tmp_path / "layer.safetensors")
    loaded = io.load(tmp_path / "layer.safetensors")
    for other in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(*args).data, out.data)
    loss = lambda model: np.sum(model(*args) ** 2)
    loss(layer).backward()
    np.testing.assert_allclose(tg.grad(loss)(layer).weight.data, layer.weight.grad)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Embedding(6, 3)(np.array([6])), ValueError, r"rows 6..6 of a table of 6: 0..5"),
        (lambda: nn.Embedding(6, 3)(np.array([-1])), ValueError, r"rows -1..-1"),
        (
            lambda: nn.Embedding(6, 3)(np.array([1.0])),
            TypeError,
            r"integers, not float64: write x.as",
        ),
        (lambda: nn.Embedding(0, 3), ValueError, "both sizes must be positive"),
        (lambda: nn.Embedding(6, 3, padding_idx=6), ValueError, "padding_idx=6 of a table of 6"),
        (lambda: F.embedding_bag(NUMBERS, TABLE), ValueError, "or .n. with offsets="),
        (lambda: F.embedding_bag(NUMBERS[None], TABLE, OFFSETS), ValueError, "has no offsets="),
        (lambda: F.embedding_bag(NUMBERS, TABLE, [0, 9]), ValueError, "begin at 0, do not fall"),
        (lambda: F.embedding_bag(NUMBERS, TABLE, [1]), ValueError, "begin at 0"),
        (lambda: F.embedding_bag(NUMBERS[None], TABLE, mode="min"), ValueError, "'sum', 'mean'"),
        (
            lambda: F.embedding_bag(NUMBERS[None], TABLE, per_sample_weights=NUMBERS[None]),
            ValueError,
            "factors of a sum",
        ),
    ],
)
def test_mistakes_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("n", [1, 200, 40_000])
@pytest.mark.parametrize("dtype", "bBhHiIqQ")
def test_numbers_of_rows_come_in_any_dtype_whatever_the_table(dtype: str, n: int) -> None:
    """Also where the length of the table is no number of that dtype."""
    table, largest = np.arange(float(n))[:, None], int(np.iinfo(dtype).max)
    found = F.embedding(np.array([0, min(n - 1, largest)], dtype), table)
    np.testing.assert_array_equal(found, [[0], [min(n - 1, largest)]])
    logits = np.zeros((1, n), np.float32)
    right = np.array([min(n - 1, largest)], dtype)
    np.testing.assert_allclose(F.cross_entropy(logits, right), np.log(n), rtol=1e-5, atol=1e-6)
    for number in ([n] if n <= largest else []) + [-1] * (dtype in "bhiq"):
        wrong = np.array([number], dtype)
        with pytest.raises(ValueError, match="rows"):
            F.embedding(wrong, table)
        with pytest.raises(ValueError, match="classes"):
            F.cross_entropy(logits, wrong)

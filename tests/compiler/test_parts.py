"""What is put together and taken apart again: who reads a part is given the part."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn

X = np.random.default_rng(0).normal(size=(4, 6))


def assert_same_bits(f: Any, *args: Any) -> Any:
    step = tg.compile(f, exact=True)
    found, wanted = step(*args), f(*args)
    assert np.shape(found) == np.shape(wanted)
    assert found.tobytes() == wanted.tobytes()
    return step


def test_a_row_that_was_written_is_what_was_written() -> None:
    def f(x: Any) -> Any:
        out = np.zeros_like(x)
        for k in range(4):
            out[k] = x[k] * k
        return np.exp(out[2]) + out[-1]

    source = assert_same_bits(f, X).source
    assert "zeros" not in source
    assert "] =" not in source


def test_all_rows_are_joined() -> None:
    def f(x: Any) -> Any:
        out = np.empty_like(x)
        for k in (0, 2, 3, 1):
            out[k] = x[k] * k
        return out.reshape(2, 2, 6)[1]

    assert "concatenate" in assert_same_bits(f, X).source


def test_what_is_in_several_pieces_after_a_reshape_is_read_there() -> None:
    def f(x: Any) -> Any:
        out = np.zeros_like(x)
        out[1:3] = x[:2] * 2
        rows = out.reshape(3, 8)
        return np.exp(rows[1]) + rows[2]

    assert_same_bits(f, X)


def test_what_was_written_later_counts() -> None:
    def f(x: Any) -> Any:
        out = np.zeros_like(x)
        out[:, :4] = x[:, :4] + 1
        out[:, 2:] = x[:, 2:] * 2
        return out[1, 3] * 1, out[1:, 1:3], out[:, :2]

    for found, wanted in zip(tg.compile(f, exact=True)(X), f(X), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_part_of_what_is_joined_or_stacked_is_a_part_of_one_of_them() -> None:
    def f(x: Any) -> Any:
        joined = np.concatenate([x * 2, np.exp(x)], axis=1)
        stacked = np.stack([joined[:, 6:9], joined[:, :3]], axis=1)
        return stacked[:, 0] + stacked[:, 1].T.T

    source = assert_same_bits(f, X).source
    assert "concatenate" not in source
    assert "stack" not in source


INDEX = st.one_of(
    st.integers(-3, 2),
    st.builds(slice, st.none() | st.integers(-3, 3), st.none() | st.integers(-3, 3)),
)
INDICES = st.tuples(INDEX, INDEX, INDEX) | st.tuples(INDEX, st.just(...))


@settings(max_examples=50)
@given(
    st.lists(INDICES, max_size=4), st.permutations(range(3)), st.booleans(), INDICES, st.booleans()
)
def test_reads_after_any_writes(
    writes: Any, axes: Any, flat: bool, index: Any, joined: bool
) -> None:
    x = np.arange(27.0).reshape(3, 3, 3)

    def f(x: Any) -> Any:
        out = np.concatenate([x[:1] + 0.5, x[1:] * 2]) if joined else np.zeros_like(x)
        for k, where in enumerate(writes):
            out[where] = x[where] * (k + 2)
        out = out.reshape(9, 3).T.reshape(3, 3, 3) if flat else out
        return np.exp(-out.transpose(axes)[index])

    assert_same_bits(f, x)


def test_zeros_that_a_part_adds_are_left_out_but_for_their_sign() -> None:
    def f(x: Any) -> Any:
        out = np.zeros_like(x)
        out[0] = x[0]
        return x[1] + out[1]

    x = np.array([[1.0, 2.0], [-0.0, 3.0]])
    every, exact = tg.compile(f), tg.compile(f, exact=True)
    np.testing.assert_array_equal(every(x), f(x))
    assert np.signbit(every(x)[0])
    assert not np.signbit(exact(x)[0])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_what_a_recurrent_layer_makes_is_not_gathered(kind: Any) -> None:
    layer = kind(3, 5, rng=0)
    x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)

    def f(x: Any) -> Any:
        out = np.sum(layer(x)[0][-1] ** 2)
        for p in layer.parameters():
            p.grad = None
        out.backward()
        return [p.grad for p in layer.parameters()]

    step = tg.compile(f)
    for found, wanted in zip(step(x), f(x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert not re.search(r"^ +\w+\[.*\] = ", step.source, re.MULTILINE)

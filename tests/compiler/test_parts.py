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
    written = re.findall(r"^ +\w+\[.*\] = ", step.source, re.MULTILINE)
    # the state before the first; two gates of a GRU are in two arrays at each time
    assert len(written) <= 1 + 8 * (kind is nn.GRU)
    assert "concatenate" not in step.source


def test_what_is_joined_is_made_in_its_place() -> None:
    def f(x: Any) -> Any:
        inner = np.concatenate([x * 2, x[:, ::2], np.exp(x)], axis=1)
        return np.sum(np.stack([inner, np.sqrt(inner)]), axis=(0, 2))

    source = assert_same_bits(f, X**2).source
    assert "concatenate" not in source
    assert "stack" not in source
    assert len(re.findall(r"\] = ", source)) == 1  # x[:, ::2]


def test_an_array_is_kept_as_long_as_what_was_made_in_it() -> None:
    def f(x: Any) -> Any:
        part = np.exp(x)
        total = np.sum(np.concatenate([part, x * 2]), axis=0)
        return np.sum(np.concatenate([x * total, x * 3]), axis=0) + part

    assert_same_bits(f, X)


def test_an_array_of_another_shape_but_as_many_numbers_is_used_again() -> None:
    def f(x: Any) -> Any:
        row = np.exp(x).reshape(24)
        return np.sum(np.sqrt(row * 2 + 1))

    assert len(re.findall(r"np\.empty\(", assert_same_bits(f, X).source)) == 1


STEPS = {
    "add": lambda x, y: x + y,
    "outer": lambda x, y: x * y[:1] + y[:, :1],
    "exp": lambda x, y: np.exp(-np.abs(x)),
    "flat": lambda x, y: np.reshape(np.reshape(x, -1) * 2, x.shape),
    "turned": lambda x, y: (x.T + y.T).T,
    "square": lambda x, y: np.reshape(x.reshape(2, 2, 6) + y.reshape(2, 2, 6)[:, :1], x.shape),
    "halves": lambda x, y: np.concatenate([np.tanh(y[2:]), x[:2] + 1]),
    "twice": lambda x, y: np.concatenate([x, y * 2, x])[2:6],
    "columns": lambda x, y: np.concatenate([np.sin(x[:, :3]), (y[:, 3:])], axis=-1),
    "stack": lambda x, y: np.sum(np.stack([x - y, np.cos(y), y], axis=1), axis=1),
    "where": lambda x, y: np.where(x > 0, y, 0),
    "power": lambda x, y: np.concatenate([np.exp(-(x[:2] ** 2)), y[:2] * 2]),
    "reversed": lambda x, y: x[::-1, ::-1] + y,
    "write": lambda x, y: written(x, y),
}


def written(x: Any, y: Any) -> Any:
    first = x[:2] * 3
    both = np.concatenate([first, y[2:]])
    both[1] = y[0]
    both[:2] += first
    return both


def test_a_result_that_is_joined_too_is_the_callers() -> None:
    def f(x: Any) -> Any:
        y = np.exp(x)
        return y, np.sum(np.concatenate([y, x * 2]))

    step = tg.compile(f)
    first, total = step(X)
    step(X + 1)
    np.testing.assert_array_equal(first, np.exp(X))
    assert total == f(X)[1]


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from([*STEPS]), st.integers(0, 3), st.integers(0, 3))))
def test_buffers_of_random_programs_are_free_when_they_are_used_again(plan: Any) -> None:
    def f(x: Any) -> Any:
        made = [x, x * 0.5]
        for name, k, n in plan:
            made.append(STEPS[name](made[-1 - k % len(made)], made[-1 - n % len(made)]))
        return made[-1] + made[len(plan) // 2] * 1

    assert_same_bits(f, X)

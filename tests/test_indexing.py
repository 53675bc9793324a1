"""Reading and writing by every form of index, and the functions of NumPy that do.

NumPy's answer on the numbers of the entries tells which entry went where; the expected gradients
are counted from that, entry by entry, and compared exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.node import data_of
from tests.numerical import assert_gradient

Array = Any
Shape = tuple[int, ...]
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@st.composite
def mixed_indices(draw: st.DrawFn, shape: Shape) -> Any:
    """Any forms side by side: integers, slices, arrays, lists, masks, truth values, None, `...`."""
    parts: list[Any] = []
    axes = [*shape]
    while axes or draw(st.booleans()):
        kind = draw(st.sampled_from(["axis"] * 4 + ["None", "...", "truth", "end"]))
        if kind == "end" or (kind == "axis" and not axes):
            break
        if kind == "axis":
            n = axes.pop(0)
            forms = [st.slices(n), nps.arrays(bool, n), st.just([])]
            if n:
                one = st.integers(-n, n - 1)
                sides = st.sampled_from([(), (1,), (2,), (2, 1), (1, 2), (2, 2)])
                forms += [one, nps.arrays(int, sides, elements=one), st.lists(one, min_size=1)]
            parts.append(draw(st.one_of(forms)))
        elif kind == "truth":
            parts.append(draw(st.sampled_from([True, False, np.True_, np.array(False)])))
        elif kind == "..." and not any(part is ... for part in parts):
            parts.append(...)
            axes = axes[draw(st.integers(0, len(axes))) :]
        else:
            parts.append(None)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


@st.composite
def indexed(draw: st.DrawFn) -> tuple[Shape, Any]:
    """A shape, and an index that fits it."""
    shape = draw(SHAPES)
    forms = [
        nps.basic_indices(shape, allow_newaxis=True, max_dims=5),
        mixed_indices(shape),
        nps.arrays(bool, shape[: draw(st.integers(0, len(shape)))]),
    ]
    if shape and 0 not in shape:
        forms += [nps.integer_array_indices(shape)]
    index = draw(st.one_of(forms))
    try:
        np.empty(shape)[index]
    except IndexError:  # arrays that do not broadcast
        assume(False)
    return shape, index


def counted(where: Array, weights: Array, size: int) -> Array:
    """For each number, the sum of the weights of the places where it stands."""
    return np.bincount(np.ravel(where), np.ravel(weights), size)


def check_read(shape: Shape, index: Any, draw: Any) -> None:
    plain = data_of(index)
    x, w = Value(draw(size=shape)), draw(size=shape)
    y = x[index]
    np.testing.assert_array_equal(y.data, x.data[plain])
    assert y.shape == x.data[plain].shape
    g = Value(draw(size=y.shape))
    y.backward(g, create_graph=True)
    read = np.arange(x.size).reshape(shape)[plain]
    expected = counted(read, g.data, x.size).reshape(shape)
    np.testing.assert_allclose(x.grad.data, expected, rtol=1e-14, atol=1e-14)
    np.sum(w * x.grad).backward()
    np.testing.assert_array_equal(g.grad, w[plain])  # the transpose of the transpose


def check_written(shape: Shape, index: Any, sides: Shape, draw: Any) -> None:
    plain = data_of(index)
    x, v = Value(draw(size=shape)), Value(draw(size=sides))
    y = x.copy()
    y[index] = v
    expected = np.array(x.data)
    owner = np.full(shape, -1)  # which entry of v stands there at the end: the last one written
    expected[plain], owner[plain] = v.data, np.arange(v.size).reshape(sides)
    np.testing.assert_array_equal(y.data, expected)
    g, w, u = Value(draw(size=shape)), draw(size=shape), draw(size=sides)
    y.backward(g, create_graph=True)
    written = owner >= 0
    np.testing.assert_array_equal(x.grad.data, np.where(written, 0, g.data))
    by_v = counted(owner[written], g.data[written], v.size).reshape(sides)
    np.testing.assert_allclose(v.grad.data, by_v, rtol=1e-14, atol=1e-14)
    (np.sum(w * x.grad) + np.sum(u * v.grad)).backward()
    np.testing.assert_array_equal(g.grad, np.where(written, np.append(u, 0)[owner], w))


@given(indexed(), SEEDS)
def test_an_entry_gets_the_cotangents_of_all_places_that_it_was_read_into(
    case: tuple[Shape, Any], seed: int
) -> None:
    check_read(*case, np.random.default_rng(seed).normal)


@given(indexed(), SEEDS, st.data())
def test_a_value_gets_the_cotangents_of_the_places_where_it_stays_written(
    case: tuple[Shape, Any], seed: int, data: st.DataObject
) -> None:
    shape, index = case
    target = np.empty(shape)[index].shape
    kept = target[data.draw(st.integers(0, len(target))) :]  # the rest is broadcast
    sides = tuple(1 if data.draw(st.booleans()) else n for n in kept)
    if len(sides) == len(target):
        sides = (1,) * data.draw(st.integers(0, 2)) + sides
    try:
        np.empty(shape)[index] = np.empty(sides)
    except (TypeError, ValueError):  # NumPy drops axes of size 1 before a slice, not before a mask
        assume(False)
    check_written(shape, index, sides, np.random.default_rng(seed).normal)


CONSTANT = Value(np.array([2, 0]), requires_grad=False)
FORMS: dict[str, Any] = {
    "np.ix_": np.ix_([1, 0, 1], [True, False, True]),
    "np.s_": np.s_[::-2, ..., None],
    "a range": range(1, 3),
    "a list of lists": [[0, 1], [1, 0]],
    "arrays of integers of any size": (np.array([0, 1], np.int8), np.array([2, 0], np.uint64)),
    "a mask of two axes, and an integer": (np.eye(3, dtype=bool), 1),
    "a mask and an array": (np.array([True, False, True]), [0, 2]),
    "arrays apart": ([0, 1], slice(None), [[1], [0]]),
    "an array of none": np.zeros((0, 2), int),
    "an array without axes": np.array(1),
    "Value of integers": CONSTANT,
    "Values in a tuple": (..., CONSTANT, CONSTANT[0]),
    "a new axis and truth": (np.newaxis, True, 0),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_index_that_people_write(form: str) -> None:
    draw = np.random.default_rng(0).normal
    check_read((3, 3, 3), FORMS[form], draw)
    check_written((3, 3, 3), FORMS[form], np.empty((3, 3, 3))[data_of(FORMS[form])].shape, draw)


def test_an_overwritten_value_gets_0_even_if_the_cotangent_is_infinite() -> None:
    x, v = Value([1.0, 2.0]), Value([3.0, 4.0])
    y = x * 1
    y[[0, 0]] = v
    y.backward([np.inf, 1.0])
    assert v.grad.tolist() == [0, np.inf]
    assert x.grad.tolist() == [0, 1]


def test_a_complex_write_has_complex_gradients() -> None:
    x, v = Value([1 + 1j, 2.0]), Value(3.0)
    y = x * 1
    y[0] = v
    y.backward([2 + 5j, 7j])
    assert v.grad == 2  # real, as v is
    assert x.grad.tolist() == [0, 7j]


def test_what_an_array_cannot_hold_is_not_written_into_it() -> None:
    whole = Value(np.array([1, 2]), requires_grad=False)
    whole[0] = 7
    whole[1] = np.int8(3)
    assert whole.data.tolist() == [7, 3]
    y = Value([1.0, 2.0]) * 1
    for target, value in ((whole, 1.5), (whole, Value(2.0)), (y, 1j), (y, Value([1j]))):
        with pytest.raises(TypeError, match=r"a value of \w+ would be cut off"):
            target[0] = value


# Functions that read.

READS: dict[str, tuple[Any, Shape]] = {
    "take": (lambda a: np.take(a, 4), (2, 3)),
    "take none": (lambda a: np.take(a, [], axis=1), (2, 3)),
    "take wrap": (lambda a: np.take(a, [[7, -8], [5, 5]], mode="wrap"), (2, 3)),
    "take clip": (lambda a: np.take(a, [7, -8, 1], axis=-1, mode="clip"), (2, 3)),
    "take by a Value": (
        lambda a: np.take(a, CONSTANT, 1) if isinstance(a, Value) else a[:, [2, 0]],
        (2, 3),
    ),
    "take_along_axis by broadcast": (
        lambda a: np.take_along_axis(a, np.array([[0, -1, 0, 1]]), 1),
        (2, 3),
    ),
    "take_along_axis of broadcast": (
        lambda a: np.take_along_axis(a, np.array([[0, 1], [2, 2]]), 1),
        (1, 3),
    ),
    "take_along_axis flattened": (
        lambda a: np.take_along_axis(a, np.array([5, 0, 5]), axis=None),
        (2, 3),
    ),
    "take_along_axis as sorted": (
        lambda a: np.take_along_axis(a, np.argsort(a, 0), 0),
        (3, 2),
    ),
}
if np.lib.NumpyVersion(np.__version__) >= "2.3.0":
    READS["take_along_axis by default"] = (
        lambda a: np.take_along_axis(a, np.array([[0], [2]])),
        (2, 3),
    )


@pytest.mark.parametrize("read", READS)
def test_functions_that_read(read: str) -> None:
    f, shape = READS[read]
    x = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_array_equal(f(Value(x)).data, f(x))
    assert_gradient(f, x, order=2)


# Functions that write.

MASK = np.array([[True, False, True], [False, True, True]])
WRITES: dict[str, tuple[Any, Shape, Shape]] = {
    "copyto": (np.copyto, (2, 3), (3,)),
    "copyto, more axes": (np.copyto, (3,), (1, 3)),
    "copyto where": (lambda a, v: np.copyto(a, v, where=MASK), (2, 3), (2, 1)),
    "copyto where, broadcast": (lambda a, v: np.copyto(a, v, "no", MASK[0]), (2, 3), ()),
    "fill_diagonal": (np.fill_diagonal, (2, 3), ()),
    "fill_diagonal over and over": (np.fill_diagonal, (3, 3), (2,)),
    "fill_diagonal, too many": (np.fill_diagonal, (2, 2), (3,)),
    "fill_diagonal, tall": (np.fill_diagonal, (5, 2), (2,)),
    "fill_diagonal, wrapped": (lambda a, v: np.fill_diagonal(a, v, wrap=True), (5, 2), (2,)),
    "fill_diagonal of a cube": (np.fill_diagonal, (2, 2, 2), ()),
    "place": (lambda a, v: np.place(a, MASK, v), (2, 3), (4,)),
    "place over and over": (lambda a, v: np.place(a, MASK, v), (2, 3), (3,)),
    "place by the values": (lambda a, v: np.place(a, a > 0, v), (3, 3), (2,)),
    "putmask": (lambda a, v: np.putmask(a, MASK, v), (2, 3), (2, 3)),
    "putmask over and over": (lambda a, v: np.putmask(a, MASK.ravel(), v), (2, 3), (4,)),
    "put": (lambda a, v: np.put(a, [0, -1, 3], v), (2, 3), (3,)),
    "put over and over": (lambda a, v: np.put(a, [[0, 1], [3, 0]], v), (2, 3), (3,)),
    "put wrap": (lambda a, v: np.put(a, [7, -9], v, mode="wrap"), (2, 3), (2,)),
    "put clip": (lambda a, v: np.put(a, [7, -9], v, "clip"), (2, 3), (3,)),
    "put_along_axis": (
        lambda a, v: np.put_along_axis(a, np.array([[0, 2], [1, 1]]), v, 1),
        (2, 3),
        (2, 2),
    ),
    "put_along_axis, broadcast": (
        lambda a, v: np.put_along_axis(a, np.array([[1, 0]]), v, axis=-1),
        (2, 3),
        (2, 1),
    ),
    "put_along_axis, flattened": (
        lambda a, v: np.put_along_axis(a, np.array([5, -6]), v, None),
        (2, 3),
        (2,),
    ),
    "nothing, putmask": (lambda a, v: np.putmask(a, MASK, v), (2, 3), (0,)),
    "nothing, put": (lambda a, v: np.put(a, [1], v), (2, 3), (0,)),
    "nothing, place": (lambda a, v: np.place(a, MASK[:0], v), (0, 3), (0,)),
}


@pytest.mark.parametrize("write", WRITES)
def test_functions_that_write(write: str) -> None:
    f, *shapes = WRITES[write]

    def written(x: Array, v: Array) -> Array:
        y = x * 2
        assert f(y, v * v) is None
        return y * y

    rng = np.random.default_rng(0)
    x, v = (rng.normal(size=shape) for shape in shapes)
    np.testing.assert_array_equal(written(Value(x), Value(v)).data, written(x, v))
    np.testing.assert_array_equal(written(Value(x), v).data, written(x, v))
    if v.size:
        assert_gradient(written, x, v, order=2)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    **{
        f"{name} into an array": (call, TypeError, f"np.{name}: a Value written into an array")
        for name, call in {
            "copyto": lambda v: np.copyto(np.ones(2), v),
            "put": lambda v: np.put(np.ones(2), [0, 1], v),
            "place": lambda v: np.place(np.ones(2), [True, False], v),
            "putmask": lambda v: np.putmask(np.ones(2), [True, False], v),
            "put_along_axis": lambda v: np.put_along_axis(np.ones(2), np.array([0, 1]), v, 0),
        }.items()
    },
    "fill_diagonal into an array": (
        lambda v: np.fill_diagonal(np.eye(2), v),
        TypeError,
        "would lose its gradient",
    ),
    "copyto into a leaf": (lambda v: np.copyto(v, 1.0), ValueError, "would hide the leaf"),
    "copyto from complex": (lambda v: np.copyto(v * 1, 1j * v), TypeError, "cannot cast complex"),
    "copyto from more": (lambda v: np.copyto(v * 1, np.ones(3)), ValueError, "broadcast"),
    "fill_diagonal": (lambda v: np.fill_diagonal(v * 1, 0), ValueError, "at least 2-d"),
    "place": (lambda v: np.place(v * 1, [True, False], []), ValueError, "no values"),
    "put": (lambda v: np.put(v * 1, 2, 1.0), IndexError, "out of bounds"),
    "take": (lambda v: np.take(v, 2), IndexError, r"take\(float64\[2\].*out of bounds"),
    "getitem": (lambda v: v[0, 0], IndexError, r"getitem\(float64\[2\].*too many indices"),
    "a gradient in an index": (lambda v: v[v], TypeError, "where only data may"),
}


@pytest.mark.parametrize("call", REFUSED)
def test_what_cannot_be_done_says_why(call: str) -> None:
    f, kind, message = REFUSED[call]
    with pytest.raises(kind, match=message):
        f(Value([1.0, 2.0]))


def test_under_no_grad_the_functions_write_into_the_leaf() -> None:
    x = Value(np.zeros((2, 2)))
    with tg.no_grad():
        np.fill_diagonal(x, 5.0)
        np.put(x, 1, Value(7.0))
    assert (x.data.tolist(), x.requires_grad) == ([[5, 7], [0, 5]], True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_long_slices_that_are_read_twice_receive_both_cotangents(axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(20, 20, 20))
    places = np.array([3, 0, 3, -1, 19, 3])
    g = np.random.default_rng(1).normal(size=np.take(x, places, axis).shape)
    _, pullback = tg.vjp(lambda x: np.take(x, places, axis), x)
    expected = np.zeros_like(x)
    for i, place in enumerate(places):
        part = (*[slice(None)] * axis, place)
        expected[part] += np.take(g, i, axis)
    np.testing.assert_allclose(pullback(g)[0], expected, rtol=1e-12)
    v = Value(x)
    np.sum(v[:, places] * 2.0 + v[:, places]).backward()
    np.testing.assert_allclose(v.grad[0, :, 0], 3 * np.bincount(places % 20, minlength=20))

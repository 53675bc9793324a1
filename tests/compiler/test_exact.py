"""`exact=True` is the function to the last bit; machine code is it within a bound."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tests.compiler.test_compile import assert_same

Operation = Callable[[Any, Any, int], Any]
"""Of two arrays, and a number that tells the axis or the index."""


def written(a: Any, b: Any, u: int) -> Any:
    y = a * 1
    y[u % a.shape[0] :] *= 2
    y[..., :1] = 7
    if u % 2:
        y[0] = y[-1] * 2
    return y


def added(a: Any, b: Any, u: int) -> Any:
    y, b = a.copy()[..., None], b.astype(a.dtype)
    np.add(y, b, out=y)
    y += b
    return y


def in_a_loop(a: Any, b: Any, u: int) -> Any:
    last, ys = tg.scan(lambda c, x: (c * x + x, c), np.ones_like(a[0]), a, reverse=u % 2 == 0)
    return ys + last


def entries(a: Any, b: Any, u: int) -> Any:
    xs, ys = np.reshape(a, -1), np.reshape(b, -1)
    return sum(xs[k] * ys[-k] for k in range(min(a.size, b.size, 4)))


SMOOTH: list[Operation] = [
    *[lambda a, b, u, f=f: f(a, b) for f in (operator.add, operator.sub, operator.mul)],
    lambda a, b, u: 3 / (1 + abs(a)),
    *[lambda a, b, u: a * a, lambda a, b, u: a + a, lambda a, b, u: a / (abs(a * a) + 1)],
    *[lambda a, b, u, c=c: a * c for c in (2, 0.5, 1 + 2j)],
    *[lambda a, b, u, c=c: abs(a) ** c for c in (2, 0.5, 3)],
    *[lambda a, b, u, f=f: f(a) for f in (np.real, np.imag, np.conj, abs, np.tanh, np.sin)],
    lambda a, b, u: np.exp(np.clip(np.real(a), 0, 3)),
    lambda a, b, u: np.hypot(np.real(a), np.real(b)),
    *[lambda a, b, u: a.T, lambda a, b, u: a[::-1], lambda a, b, u: a[..., 1:]],
    *[lambda a, b, u: a[u % len(a)], lambda a, b, u: a[..., ::2], lambda a, b, u: a[:, None]],
    *[lambda a, b, u: np.reshape(a, -1), lambda a, b, u: np.swapaxes(a, 0, -1)],
    *[lambda a, b, u: np.squeeze(a), lambda a, b, u: np.moveaxis(a, 0, -1)],
    *[lambda a, b, u: np.sum(a), lambda a, b, u: np.sum(a, u % max(a.ndim, 1))],
    *[
        lambda a, b, u: np.mean(a, 0),
        lambda a, b, u: np.sum(a, (0, -1)),
        lambda a, b, u: np.prod(a),
    ],
    *[lambda a, b, u: np.cumsum(a), lambda a, b, u: np.linalg.norm(a)],
    *[lambda a, b, u: np.where(np.real(a) > 0, a, b), lambda a, b, u: np.maximum(a, b)],
    *[lambda a, b, u: np.concatenate([a, b], u % max(a.ndim, 1)), lambda a, b, u: np.stack([a, b])],
    *[lambda a, b, u: a @ b, lambda a, b, u: a @ a.T, lambda a, b, u: np.vdot(a, b)],
    *[lambda a, b, u: np.take(a, [0, 0], u % max(a.ndim, 1)), lambda a, b, u: a[[0, -1]]],
    *[lambda a, b, u: np.broadcast_to(a, (2, *a.shape)), lambda a, b, u: np.roll(a, 1)],
    *[lambda a, b, u: a.astype((np.float64, np.complex128)[u % 2]), written, added],
    *[lambda a, b, u: np.ones_like(a) * b, entries, in_a_loop],
]
OPERATIONS = [
    *SMOOTH,
    lambda a, b, u: np.std(a),  # of equal numbers 0, or a rounding of it
    *[lambda a, b, u: np.floor(np.real(a)), lambda a, b, u: np.sign(a), lambda a, b, u: a == b],
    *[lambda a, b, u: a.astype((np.int64, np.bool_, np.float32)[u % 3]), lambda a, b, u: a * 1j],
    *[lambda a, b, u: np.any(a > b), lambda a, b, u: np.arctan2(np.real(a), np.real(b))],
]
DTYPES = "f4", "f8", "i8", "?", "c16", "c8", "i1", "u1", ">f8"
SHAPES = "33", "23", "3", "03", "13", "223", "1", "11", "", "31"
NOT_SO = (ValueError, IndexError, ZeroDivisionError)  # of these shapes


def random_program(rng: np.random.Generator, operations: Sequence[Operation]) -> Any:
    """A function of two arrays: what a dozen operations make of these and of each other, and the
    gradients of the sum of it all."""
    plan = rng.integers(0, 1 << 30, size=(12, 4)).tolist()

    def f(*xs: Any) -> Any:
        given = [Value(x) if x.dtype.kind in "fc" else x for x in xs]
        pool: list[Any] = [*given]
        for c, i, j, u in plan:
            try:
                new = operations[c % len(operations)](pool[i % len(pool)], pool[j % len(pool)], u)
            except NOT_SO:
                continue
            except TypeError as error:
                if "compiled" in str(error):
                    raise
                continue
            if hasattr(new, "dtype") and new.size < 500:
                pool.append(new)
        real = [np.real(x) for x in pool if isinstance(x, Value)]
        loss = sum(np.sum(x) * (k + 1) for k, x in enumerate(real))
        if isinstance(loss, Value):
            loss.backward()
        return pool[2:], loss, [x.grad for x in given if isinstance(x, Value)]

    return f


def random_arrays(rng: np.random.Generator, dtypes: Sequence[str]) -> Callable[..., list[Any]]:
    """Two arrays of any shape and dtype, other numbers each time, that lie in memory as asked."""
    shapes = [tuple(map(int, shape)) for shape in rng.choice(SHAPES, 2)]
    kinds = rng.choice(dtypes, 2)

    def draw(layout: Any) -> list[Any]:
        found = []
        for shape, kind in zip(shapes, kinds):
            x = rng.normal(size=shape) * 3 + (1j * rng.normal(size=shape) if "c" in kind else 0)
            found.append(np.asarray(layout(x.astype(kind))).reshape(shape))
        return found

    return draw


def check(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f, arrays = random_program(rng, OPERATIONS), random_arrays(rng, DTYPES)
    compiled = tg.compile(f, exact=True)
    for layout in (np.ascontiguousarray, np.asfortranarray, np.ascontiguousarray):
        xs = arrays(layout)
        with np.errstate(all="ignore"):
            wanted = f(*xs)
        assert_same(flat(compiled(*xs)), flat(wanted), kinds=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [*range(25), 573, 902, 1419, 2067, 4231, 8884])
def test_a_program_is_the_function_to_the_last_bit(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(500, 1500, 100))
def test_many_programs_are_the_function_to_the_last_bit(seed: int) -> None:
    for k in range(seed, seed + 100):
        check(k)


BOUND = {"f4": 1e-4, "f8": 1e-11}
"""Of the largest number of a result: machine code adds in another order, and its functions are
within 2 units of the last place."""


def check_machine_code(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtypes = (("f8", "i8", "?", "c16"), ("f4", "f8", "u1", "c8"))[seed % 2]
    f, arrays = random_program(rng, SMOOTH), random_arrays(rng, dtypes)
    compiled = tg.compile(f, backend="llvm")
    for layout in (np.ascontiguousarray, np.asfortranarray):
        xs = arrays(layout)
        with np.errstate(all="ignore"):
            wanted, found = f(*xs), compiled(*xs)
        bound = BOUND["f4" if seed % 2 else "f8"]
        for x, y in zip(flat(found), flat(wanted), strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            largest = np.max(np.abs(y), initial=1, where=np.isfinite(y))
            np.testing.assert_allclose(x * 1.0, y * 1.0, rtol=bound, atol=bound * largest)


def flat(tree: Any) -> list[Any]:
    leaves, _ = tg.transforms.tree.flatten(tree)
    return [np.asarray(x.data if isinstance(x, Value) else x) for x in leaves if x is not None]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(6))
def test_machine_code_is_the_function_within_a_bound(seed: int) -> None:
    pytest.importorskip("llvmlite")
    check_machine_code(seed)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(100, 500, 40))
def test_much_machine_code_is_the_function_within_a_bound(seed: int) -> None:
    pytest.importorskip("llvmlite")
    for k in range(seed, seed + 40):
        check_machine_code(k)


def test_what_lies_otherwise_in_memory_is_added_in_that_order() -> None:
    x = np.random.default_rng(0).normal(size=(7, 9)) * 1e8
    f = lambda x: np.sum(np.tanh(x / 1e8) * 3)
    compiled = tg.compile(f, exact=True)
    for y in (x, np.asfortranarray(x), x.T, x):
        assert compiled(y) == f(y)


def test_gradients_of_entries_are_added_one_after_the_other() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3, 3)) * np.array([[-0.0], [1], [1]])
    rows = np.array([1, 1, 2])
    f = tg.grad(lambda x: np.sum(x[rows] ** 3) + x[2, 2] ** 2 + np.sum(x[1:]) + np.sum(x * x))
    compiled = tg.compile(f, exact=True)
    for k in range(20):
        assert compiled(x[k]).tobytes() == f(x[k]).tobytes()


def test_one_complex_product_is_not_made_over_its_operand() -> None:
    rng = np.random.default_rng(0)
    f = lambda x, y: ((x + y) * y) * (x - y) * (x + 1)
    compiled = tg.compile(f, exact=True)
    for _ in range(50):
        x, y = rng.normal(size=(2, 1)) + 1j * rng.normal(size=(2, 1))
        assert compiled(x, y).tobytes() == f(x, y).tobytes()


def test_an_entry_that_is_an_array_is_written_into() -> None:
    def f(x: Any) -> Any:
        y = x * 1
        entry = y[..., 0]
        entry += 5
        return y, entry * 1

    x = np.arange(3.0)
    assert_same(tg.compile(f)(x), f(x))


def test_the_sign_of_integers_in_machine_code() -> None:
    pytest.importorskip("llvmlite")
    x = np.arange(-3, 4)
    assert_same(tg.compile(lambda x: np.sign(x) * 2, backend="llvm")(x), np.sign(x) * 2)


def test_what_is_made_like_an_array_in_another_shape() -> None:
    f = lambda x: np.zeros_like(x, shape=(2, 7)) + np.ones_like(x, shape=2)[:, None] * x[0, 0]
    x = np.arange(36.0).reshape(6, 6)
    assert_same(tg.compile(f)(x), f(x))


GAPS: dict[str, Any] = {
    "einsum": lambda v: np.einsum("...i,...i->...", v, v),
    "a product": lambda v: v @ v.T,
    "of two copies": lambda v: v @ Value(v.data).T,
    "columns": lambda v: v[:, ::2] @ Value(v.data[:, ::2]).T,
    "in one row": lambda v: np.sum(np.reshape(v, (-1, 2), order="A") * 3, axis=1),
    "as it lies": lambda v: np.cumsum(np.ravel(v, "K")),
}


@pytest.mark.parametrize("name", GAPS)
def test_what_lies_in_memory_with_gaps_or_twice_rounds_as_the_functions(name: str) -> None:
    f = lambda x: GAPS[name](Value(x)).data
    compiled, rng = tg.compile(f, exact=True), np.random.default_rng(0)
    for _ in range(3):
        x = rng.normal(size=(20, 30))
        wide = np.repeat(x, 2, axis=1)
        for y in (
            x,
            wide[:, ::2],
            np.asfortranarray(x),
            np.repeat(x, 2, axis=0)[::2],
            wide[:, 30:],
        ):
            assert compiled(y).tobytes() == f(y).tobytes()


def test_a_program_of_any_order_does_not_ask_for_the_order_in_memory() -> None:
    for order in "AK":
        f = tg.compile(lambda x, order=order: np.ravel(Value(x), order))
        with pytest.raises(TypeError, match="write 'C' or 'F', or compile it with exact=True"):
            f(np.ones((2, 3)))

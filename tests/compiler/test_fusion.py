"""Groups of operations that run as one: what they make is what their members made."""

from __future__ import annotations

import operator
import re
import runpy
import tracemalloc
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import optim
from tensorgrad.compiler import blocks
from tensorgrad.compiler.entry import CARE
from tensorgrad.compiler.passes import fusion
from tensorgrad.compiler.passes.fusion import groups, is_chained
from tensorgrad.compiler.program import Fused, Instruction, Program, is_count, is_reduction
from tensorgrad.compiler.program import draw as drawing
from tensorgrad.compiler.source import code_of, function_of

ROWS = 7


def joins(i: Instruction) -> bool:
    return is_chained(i) or is_reduction(i.function)


def made(function: Any, *args: Any, **kwargs: Any) -> Instruction:
    """An instruction, whose shape and dtype NumPy tells."""
    like = [np.ones(x.shape, x.dtype) if isinstance(x, Instruction) else x for x in args]
    x = function(*like, **kwargs)
    return Instruction(function, args, kwargs, np.shape(x), np.asarray(x).dtype)


def run(program: Program, *args: Any) -> Any:
    few_rows = mock.patch.object(blocks, "BUDGET", 64)
    with few_rows, np.errstate(all="ignore"):
        return function_of(code_of(program, {}), "program")(*args)


def members(program: Program) -> list[list[str]]:
    """The names of the functions in each group."""
    fused = [i.function.program for i in program.body if isinstance(i.function, Fused)]
    return [[j.function.__name__ for j in p.body] for p in fused]


@st.composite
def programs(draw: Any) -> Program:
    """Chains that part and meet, columns and rows that are broadcast, sums of all kinds."""
    draws = draw(st.randoms(use_true_random=False))
    inputs = [
        Instruction(None, (), None, shape, np.dtype(dtype))
        for shape in ((ROWS, 3), (ROWS, 3), (ROWS, 1), (3,), ())
        for dtype in (np.float64, np.float32)
    ]
    known, body = [*inputs], []
    for _ in range(draw(st.integers(1, 25))):
        x, y = draws.choice(known), draws.choice(known[-6:])
        kind = draws.randrange(6)
        if kind == 0 and x.shape:
            axis = draws.choice([None, 0, -1])
            i = made(np.add.reduce, x, axis=axis, keepdims=draws.choice([True, False]))
        elif kind == 1:
            i = made(np.tanh, x)
        else:
            try:
                i = made(draws.choice([np.add, np.multiply, np.maximum, np.less]), x, y)
            except ValueError:  # of shapes that do not meet
                continue
        body.append(i)
        known.append(i)
    outputs = [draws.choice(known) for _ in range(3)]
    finite = [x for x in known if not is_count(x)]
    return Program(inputs, body, outputs, [draws.choice(finite) for _ in range(2)])


@contextmanager
def small_blocks() -> Iterator[None]:
    with mock.patch.object(fusion, "SMALL", -1), mock.patch.object(blocks, "BUDGET", 1 << 10):
        yield


def drawn_for(program: Program) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=i.shape).astype(i.dtype)[()] for i in program.inputs]


@given(programs())
@settings(max_examples=40)
def test_chains_in_blocks_change_no_bit(program: Program) -> None:
    args = drawn_for(program)
    for x, y in zip(run(program, *args), run(groups(program, is_chained), *args)):
        np.testing.assert_array_equal(x, y, strict=True)


@given(programs())
@settings(max_examples=40)
def test_sums_in_blocks_change_rounding(program: Program) -> None:
    args = drawn_for(program)
    half = any(i.dtype == np.float16 for i in program.body)  # tanh of a comparison is one
    near = {"rtol": 1e-2, "atol": 5e-2} if half else {"rtol": 1e-4, "atol": 1e-5}
    for x, y in zip(run(program, *args), run(groups(program, joins), *args)):
        assert (np.shape(x), np.asarray(x).dtype) == (np.shape(y), np.asarray(y).dtype)
        np.testing.assert_allclose(x, y, **near)


def test_what_needs_a_sum_over_the_rows_is_in_another_group() -> None:
    x = Instruction(None, (), None, (ROWS,), np.dtype(float))
    a = made(np.exp, x)
    b = made(np.add.reduce, a, axis=None)
    c = made(np.divide, a, b)
    d = made(np.sqrt, c)
    assert members(groups(Program([x], [a, b, c, d], [d]), joins)) == [
        ["exp", "reduce"],
        ["divide", "sqrt"],
    ]


def test_no_two_groups_wait_for_each_other() -> None:
    x = Instruction(None, (), None, (ROWS, ROWS), np.dtype(float))
    a = made(np.exp, x)
    b = made(np.matmul, a, x)
    c = made(np.add, a, b)
    d = made(np.negative, c)
    assert members(groups(Program([x], [a, b, c, d], [d]), joins)) == [["add", "negative"]]


def test_numbers_are_drawn_in_their_order() -> None:
    rng = Instruction(None, (), None, (), np.dtype(object))
    x = Instruction(None, (), None, (ROWS,), np.dtype(float))
    one, two = (
        Instruction(drawing, (rng, "normal", k, 1.0, ROWS), None, (ROWS,), x.dtype) for k in (0, 9)
    )
    a = made(np.negative, x)
    b = made(np.add, two, a)
    program = groups(Program([rng, x], [a, one, two, b], [b, one]), joins)
    drawn = [i.args[2] for i in program.body if i.function is drawing]
    assert drawn == [0, 9]


def test_several_results_are_parts_of_one_instruction() -> None:
    x = Instruction(None, (), None, (ROWS,), np.dtype(float))
    a = made(np.exp, x)
    b = made(np.negative, a)
    program = groups(Program([x], [a, b], [b, a]), joins)
    whole, *parts = program.body
    assert [i.function for i in parts] == [operator.getitem] * 2
    assert program.outputs == parts[::-1]
    np.testing.assert_array_equal(
        whole.function(np.zeros(ROWS)), np.array([[1.0], [-1.0]]) + np.zeros(ROWS)
    )


@pytest.mark.parametrize("depth", [100, 10_000])
def test_a_long_chain_is_one_group(depth: int) -> None:
    x = i = Instruction(None, (), None, (ROWS,), np.dtype(float))
    body = []
    for _ in range(depth):
        i = Instruction(np.negative, (i,), None, i.shape, i.dtype)
        body.append(i)
    assert len(groups(Program([x], body, [i]), joins).body) == 1


def chain(x: Any) -> Any:
    return np.tanh(x * 2) + 1


KEPT: dict[str, Callable[[Any], Any]] = {
    "itself": lambda r: r,
    "a view": lambda r: r[1:],
    "a transpose": lambda r: r.reshape(2, -1).T,
    "an iterator": lambda r: r.flat,
    "a memoryview": memoryview,
    "an address": lambda r: r.ctypes,
    "a weak reference": weakref.ref,
    "a list": lambda r: [r],
}


@pytest.mark.parametrize("kept", KEPT)
def test_a_result_that_somebody_has_is_never_written_over(kept: str) -> None:
    step = tg.compile(chain)
    x = np.random.default_rng(0).normal(size=1 << 18)
    result = step(x)
    address, held = result.ctypes.data, KEPT[kept](result)
    del result
    for k in range(3):
        assert step(x + k).ctypes.data != address
    del held


def test_a_result_that_nobody_has_is_where_the_next_one_goes() -> None:
    step = tg.compile(chain)
    x = np.random.default_rng(0).normal(size=1 << 18)
    places = {step(x + k).ctypes.data for k in range(4)}
    assert len(places) == 1
    result = step(x)
    for k in range(4):  # a loop has the last one
        result = step(x + k)
        places.add(result.ctypes.data)
        np.testing.assert_array_equal(result, chain(x + k))
    assert len(places) == 2
    before = [step(x + k) for k in range(4)]
    for k, y in enumerate(before):
        np.testing.assert_array_equal(y, chain(x + k))


@pytest.mark.parametrize(
    "change", [lambda r: setattr(r, "shape", (2, -1)), lambda r: r.setflags(write=False)]
)
def test_a_result_that_was_changed_is_not_used_again(change: Any) -> None:
    step = tg.compile(chain)
    x = np.random.default_rng(0).normal(size=1 << 18)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        change(step(x))
    np.testing.assert_array_equal(step(x), chain(x))


def test_a_result_is_given_back_to_no_other_thread() -> None:
    step = tg.compile(chain)
    xs = [np.full(1 << 17, k / 8) for k in range(4)]
    step(xs[0])

    def work(k: int) -> bool:
        return all((step(xs[k]) == chain(xs[k])).all() for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_a_program_with_blocks_and_results_used_again_is_saved(tmp_path: Path) -> None:
    step = tg.compile(chain)
    x = np.random.default_rng(0).normal(size=1 << 18)
    with small_blocks():
        step(x)
    step.save(tmp_path / "step.py")
    found = runpy.run_path(str(tmp_path / "step.py"))["step"](x)
    np.testing.assert_array_equal(found, chain(x))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_matrix_is_in_the_cache_when_it_is_multiplied(dtype: str) -> None:
    def f(w: Any, X: Any, y: Any) -> Any:
        return np.mean(np.logaddexp(0, (2 * y - 1) * (X @ w)))

    rng = np.random.default_rng(0)
    w, X = rng.normal(size=3).astype(dtype), rng.normal(size=(101, 3)).astype(dtype)
    y = np.zeros(101, dtype)
    with small_blocks():
        step = tg.compile(tg.value_and_grad(f))
        for a, b in zip(step(w, X, y), tg.value_and_grad(f)(w, X, y)):
            np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "f4" else 1e-12)
    lines = [line.strip() for line in step.source.partition("for i in ")[2].splitlines()]
    calls = [line for line in lines if "X_r" in line]
    assert [re.findall(r"np\.(\w+)", line) for line in calls] == [[], ["vdot"], *[["matmul"]] * 2]


def neighbours(x: Any) -> Any:
    """Who needs an entry, the one before and one further on, of some rows of x."""
    d = x[1:] - x[:-1] ** 2
    return np.sum(100 * d**2 + (1 - x[:-1]) ** 2) + np.sum(x[2:5] * x[:3]) + np.sum(x[3:] * x[:-3])


def second_differences(x: Any) -> Any:
    return np.sum(np.sin(x[2:] - 2 * x[1:-1] + x[:-2]))


@pytest.mark.parametrize(
    "f",
    [
        *(neighbours, second_differences, lambda x: np.sum(np.abs(x[1:] - x[:-1]))),
        *(lambda x: np.sum(x[:-3] * x[2:-1]), lambda x: np.sum((x[1:] - x[:-1]) ** 2)),
        lambda x: np.sum(np.exp(x[3:] * x[2:-1]) + x[1:-2] * np.sin(x[:-3])),
        lambda x: np.sum(np.sin(x[2:] + x[1:-1] + x[:-2])),
    ],
)
@pytest.mark.parametrize("shape", [(7,), (40,), (41, 3), ((1 << 17) + 3,)])
def test_gradients_of_slices_are_added_in_one_array(f: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    with small_blocks():
        step = tg.compile(tg.value_and_grad(f))
        step(x + 1)  # whose result is written over, if it is large
        found, wanted = step(x), tg.value_and_grad(f)(x)
    assert "with_items" not in step.source
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def bent(u: Any) -> Any:
    """Laplace's operator in differences."""
    across = u[2:, 1:-1] + u[:-2, 1:-1]
    along = u[1:-1, 2:] + u[1:-1, :-2]
    return np.sum(np.sin(across + along - 4 * u[1:-1, 1:-1]))


def variation(u: Any) -> Any:
    return np.sum(np.abs(u[1:] - u[:-1])) + np.sum(np.abs(u[:, 1:] - u[:, :-1]))


GRIDS = [
    *(bent, variation, lambda u: np.sum(np.tanh(u[..., 1:] * u[..., :-1]))),
    lambda u: np.sum(np.tanh(u[:2] * u[1:3] + sum(u[k : k + 2] for k in range(4)))),  # of 2 rows
    lambda u: np.sum(u[1:-1] * np.sin(u[2:] * u[1:-1])) + np.sum(u[:-2, 1:] * np.exp(u[1:-1, :-1])),
]


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("f", GRIDS)
@pytest.mark.parametrize("shape", [(5, 4), (41, 3), (37, 6, 2)])
def test_slices_along_several_axes(f: Any, shape: tuple[int, ...], backend: Any) -> None:
    if backend == "llvm":
        pytest.importorskip("llvmlite")
    u = np.random.default_rng(0).normal(size=shape)
    with small_blocks():
        step = tg.compile(tg.value_and_grad(f), backend=backend)
        step(u + 1)
        found, wanted = step(u), tg.value_and_grad(f)(u)
    assert "with_items" not in step.source
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


FORMS: dict[str, Callable[[Any], Any]] = {
    "Fortran's order": np.asfortranarray,
    "every second": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1, ::-1],
    "one row": lambda x: np.broadcast_to(x[0], x.shape),
    "float32": lambda x: x.astype(np.float32),
    "integers": lambda x: (x * 9).astype(int),
    "booleans": lambda x: x > 0,
    "no rows": lambda x: x[:0],
    "no columns": lambda x: x[:, :0],
    "one": lambda x: x[:1],
    "a vector": lambda x: x[0],
    "three axes": lambda x: x.reshape(-1, 4, 3),
    "other bytes": lambda x: x.astype(">f8"),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_every_form(form: str) -> None:
    x = FORMS[form](np.random.default_rng(0).normal(size=(37, 12)))
    row, column, number = (x[:1] if x.ndim > 1 else x), x[..., :1], np.float64(2)

    def f(x: Any, row: Any, column: Any, number: Any) -> Any:
        y = np.tanh(x * 2 + row) * column - number
        z = np.where(y > 0, y, 0) + np.where(x != 0, y, 1) + (y < 0)
        return y, z, np.exp(z) * row

    with small_blocks():
        found = tg.compile(f, exact=True)(x, row, column, number)
    for a, b in zip(found, f(x, row, column, number)):
        np.testing.assert_array_equal(a, b, strict=True)
        assert form != "Fortran's order" or a.strides == b.strides


def training(wrap: Callable[..., Any], shape: tuple[int, ...] = (37, 12)) -> tuple[Any, Any]:
    """A step of Adam, and the parameter."""
    w = tg.Value(np.random.default_rng(0).normal(size=shape), name="w")
    adam = optim.Adam([w], lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        adam.zero_grad()
        loss = np.sum(np.tanh(w * x) ** 2)
        loss.backward()
        adam.step()
        return loss

    return step, w


def test_a_parameter_is_written_over_block_by_block() -> None:
    (step, w), (eager, wanted) = training(partial(tg.compile, exact=True)), training(lambda f: f)
    x = np.random.default_rng(1).normal(size=w.shape)
    with small_blocks():
        for k in range(3):
            step(x + k)
            eager(x + k)
            np.testing.assert_array_equal(w.data, wanted.data)
            address = w.data.ctypes.data
        step(x)
    assert w.data.ctypes.data == address
    assert "for i in range" in step.source.partition("finite")[2]


def test_nothing_is_written_over_before_what_must_be_finite_is() -> None:
    step, w = training(tg.compile)
    x = np.random.default_rng(1).normal(size=w.shape)
    with small_blocks(), np.errstate(all="ignore"):
        step(x)
        step(x)
        before = w.data.copy()
        first, _, rest = step.source.partition("to be made with care")
        assert "w_r = w[r]" in first
        assert "w_r, w_r)" not in first
        assert "w_r, w_r)" in rest
        x[3, 4] = np.nan
        assert step.last.run([x]) is CARE
    np.testing.assert_array_equal(w.data, before)


@pytest.mark.parametrize("f", [chain, lambda x: np.sum(np.exp(x) * x), tg.grad(neighbours)])
def test_memory_is_never_above_that_of_the_function(f: Callable[[Any], Any]) -> None:
    x = np.random.default_rng(0).normal(size=1 << 19)
    step = tg.compile(f)
    step(x)
    step.last.free.clear()  # its buffers, made anew, count

    def peak(g: Callable[[Any], Any]) -> int:
        tracemalloc.start()
        g(x)
        g(x)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(step) < peak(f) + (1 << 17)


def named(i: Any, r: Any, t: Any, block: Any, parts: Any) -> Any:
    return np.sum(np.exp(i) * r + t) * block + parts


def test_names_of_arguments_are_not_those_of_the_loop() -> None:
    with small_blocks():
        step = tg.compile(named)
        args = np.random.default_rng(0).normal(size=(5, 64))
        for _ in range(2):
            np.testing.assert_allclose(step(*args), named(*args))


def test_what_a_view_shows_is_not_written_over() -> None:
    def f(a: Any, x: Any) -> Any:
        y = a @ x
        return a @ (np.tanh(y) * 2 + y[::-1])

    a, x = np.random.default_rng(0).normal(size=(2, 50, 50))
    with small_blocks():
        np.testing.assert_array_equal(tg.compile(f, exact=True)(a, x), f(a, x))


@pytest.mark.parametrize("shape", [(1, 5000), (3, 700), (2, 3, 2, 300), (2, 3, 200, 40)])
def test_rows_too_long_for_the_cache_are_taken_in_blocks(shape: tuple[int, ...]) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, *shape))

    def f(x: Any, at: Any) -> Any:
        return np.where(x > 0, np.tanh(x * at + 1), at) ** 2

    with small_blocks():
        step = tg.compile(f, exact=True)
        np.testing.assert_array_equal(step(x, y), f(x, y))
        np.testing.assert_array_equal(step(x.T.copy().T, y), f(x, y))
    assert "for at in np.ndindex" in step.source

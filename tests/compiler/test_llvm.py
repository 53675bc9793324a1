"""Groups of operations as machine code, beside what NumPy makes of them."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import tensorgrad as tg
from tensorgrad import Value, nn, optim
from tensorgrad.compiler import cache
from tensorgrad.compiler.llvm import call, kernel, load
from tensorgrad.compiler.passes.pooling import LARGEST, TO_LARGEST
from tensorgrad.compiler.program import Fused, Instruction, Program, replaced, sum_of_squares
from tensorgrad.compiler.tracer import order_of
from tensorgrad.nn import functional as F

rng = np.random.default_rng(0)
Draw = Callable[..., Instruction]


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where machine code is kept meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORGRAD_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


def program_of(f: Callable[..., Any], *xs: Any) -> Program:
    """What `f` asks of NumPy: its first argument does a function of instructions, and notes it."""
    inputs = [
        Instruction(None, (), None, np.shape(x), type(x) if type(x) is float else x.dtype)
        for x in xs
    ]
    made: dict[Instruction, Any] = dict(zip(inputs, xs))
    body: list[Instruction] = []

    def do(function: Any, *args: Any, **kwargs: Any) -> Instruction:
        with np.errstate(all="ignore"):
            got = function(*replaced(args, made), **kwargs)
        i = Instruction(function, args, kwargs, np.shape(got), got.dtype)
        assert kernel.admits(i)
        made[i] = got
        body.append(i)
        return i

    outs = f(do, *inputs)
    return Program(inputs, body, [outs] if isinstance(outs, Instruction) else [*outs])


def run(program: Program, *xs: Any) -> list[Any]:
    (f,) = load.kernels([program])
    outs = [np.full(i.shape or (), 7, i.dtype) for i in program.outputs]
    f(*xs, *outs)
    return outs


def as_numpy(f: Callable[..., Any], *xs: Any, rtol: float = 1e-5) -> None:
    """See that a kernel makes what NumPy makes."""
    program = program_of(f, *xs)
    with np.errstate(all="ignore"):
        want = Fused(program)(*xs)
    for got, x in zip(run(program, *xs), want if type(want) is tuple else (want,)):
        np.testing.assert_allclose(got, x, rtol=rtol, atol=rtol)


FUNCTIONS = {
    dtype: ["exp", "expm1", "log", "log1p", "tanh", "sqrt", "sin", "cos", "erf"]
    for dtype in (np.float32, np.float64)
}


def numbers(dtype: type, n: int) -> Any:
    """Numbers of every size, and those at the ends."""
    info = np.finfo(dtype)
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, 0.5, info.max, -info.max]
    if dtype is np.float64:  # the nearest one to a multiple of π/2 (Muller)
        ends.append(6381956970095103.0 * 2.0**797)
    ends += [info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal, info.eps]
    wide = info.bits // 8
    bits = rng.integers(0, 1 << (info.bits - 1), n, dtype=np.uint64).astype(f"u{wide}").view(dtype)
    spread = [rng.uniform(-s, s, n) for s in (0.01, 0.6, 1.5, 4, 20, 110, 750)]
    bits = np.where(np.isnan(bits), np.nan, bits)  # signalling ones make NumPy warn
    return np.concatenate([ends, bits, -bits, *spread, 1 + rng.normal(size=n) / 100]).astype(dtype)


def units_off(dtype: type, n: int) -> dict[str, float]:
    """By function, the greatest error, in units of the last place of what is right."""
    mpmath, special = map(pytest.importorskip, ("mpmath", "scipy.special"))
    x, names = numbers(dtype, n), FUNCTIONS[dtype]
    function = {name: getattr(np, name, None) or getattr(special, name) for name in names}
    made = run(program_of(lambda do, x: [do(function[name], x) for name in names], x), x)
    worst = dict.fromkeys(names, 0.0)
    for name, got in zip(names, made):
        with np.errstate(all="ignore"):
            plain = function[name](x)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(plain))
        np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(plain[got == 0]))
        with mpmath.workprec(200 if dtype is np.float64 else 100):
            for a, y, near in zip(x.tolist(), got.tolist(), plain):
                if math.isinf(a) or not math.isfinite(y) or y == near == 0:
                    assert math.isnan(y) or y == near
                    continue
                error = abs(mpmath.mpf(y) - getattr(mpmath, name)(mpmath.mpf(a)))
                worst[name] = max(worst[name], float(error / abs(np.spacing(near))))
    return worst


@pytest.mark.parametrize("dtype", FUNCTIONS)
def test_the_error_of_a_function_is_below_two_units_in_the_last_place(dtype: type) -> None:
    assert max(units_off(dtype, 8).values()) < 2


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", FUNCTIONS)
def test_and_so_it_is_of_many_numbers(dtype: type) -> None:
    assert max(units_off(dtype, 5000).values()) < 2


def test_powers_are_numpys() -> None:
    ends = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e9]
    x, y = (v.ravel().astype(np.float32) for v in np.meshgrid(ends, ends))
    x = np.concatenate([x, np.exp(rng.normal(size=2000) * 5).astype(np.float32)])
    y = np.concatenate([y, (rng.normal(size=2000) * 5).astype(np.float32)])
    (got,) = run(program_of(lambda do, x, y: do(np.power, x, y), x, y), x, y)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(float), y).astype(np.float32)
    np.testing.assert_array_equal(got, want)
    known = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))


def test_powers_of_float64_are_within_two_units_in_the_last_place(monkeypatch: Any) -> None:
    monkeypatch.setattr(kernel, "NUMPYS_POWER", False)
    mpmath = pytest.importorskip("mpmath")
    ends = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -3.0,
        0.5,
        np.inf,
        -np.inf,
        np.nan,
        1e300,
        5e-324,
        2.0**53 + 1,
    ]
    x, y = (v.ravel() for v in np.meshgrid(ends, ends))
    (got,) = run(program_of(lambda do, x, y: do(np.power, x, y), x, y), x, y)
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-15)
    known = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))
    x = np.concatenate([np.exp(rng.uniform(-700, 700, 200)), 1 + rng.normal(size=200) / 1000])
    y = np.concatenate([rng.normal(size=200) / 2, rng.normal(size=200) * 1e5])
    (got,) = run(program_of(lambda do, x, y: do(np.power, x, y), x, y), x, y)
    with mpmath.workprec(200):
        for a, b, z in zip(x.tolist(), y.tolist(), got.tolist()):
            assert abs(mpmath.mpf(a) ** mpmath.mpf(b) - z) < 2 * math.ulp(z)


def single(*shape: int) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def softmax(do: Draw, z: Instruction, axis: int = -1) -> Instruction:
    top = do(np.maximum.reduce, z, axis=axis, keepdims=True)
    e = do(np.exp, do(np.subtract, z, top))
    return do(np.true_divide, e, do(np.add.reduce, e, axis=axis, keepdims=True))


def cross_entropy(do: Draw, z: Instruction, y: Instruction) -> list[Instruction]:
    z = do(np.subtract, z, do(np.maximum.reduce, z, axis=-1, keepdims=True))
    e = do(np.exp, z)
    s = do(np.add.reduce, e, axis=-1, keepdims=True)
    loss = do(np.add.reduce, do(np.multiply, do(np.subtract, z, do(np.log, s)), y), axis=None)
    g = do(np.subtract, do(np.true_divide, e, s), y)
    return [do(np.multiply, loss, -0.1), g, do(np.add.reduce, g, axis=0)]


def test_a_chain_is_numpys() -> None:
    f = lambda do, x, y: do(np.tanh, do(np.add, do(np.multiply, x, 2.0), y))
    as_numpy(f, single(1001), single(1001))
    as_numpy(f, single(33, 1), single(7))
    as_numpy(f, single(5, 1, 7), single(3, 1))
    as_numpy(f, single(20, 90)[::-2, ::3], single(10, 30))
    as_numpy(f, single(8), np.float32(3))
    as_numpy(f, single(8), np.array(3, np.float32))  # the same code
    as_numpy(f, single(8), 3.5)
    as_numpy(f, rng.normal(size=8), single(8))


@pytest.mark.parametrize(("n", "times"), [(1000, 0), (kernel.MANY + 7, 1)])
def test_a_long_chain_is_made_of_several_vectors_at_once(n: int, times: int) -> None:
    f = lambda do, x: do(np.tanh, do(np.exp, do(np.sin, x)))
    x = np.linspace(-3, 3, n)
    as_numpy(f, x, rtol=1e-14)
    program = program_of(f, x)
    text = call.written(program, [*map(kernel.strides_of, kernel.arguments(program))], "f")
    assert text.count("llvm.loop.interleave.count") == times


def test_softmax_along_any_axis() -> None:
    as_numpy(softmax, single(64, 10))
    as_numpy(softmax, single(3, 3000))
    as_numpy(lambda do, z: softmax(do, z, 1), single(4, 10, 3))


def test_a_loss_its_gradient_and_that_of_a_bias() -> None:
    as_numpy(cross_entropy, single(64, 10), np.eye(10, dtype=np.float32)[rng.integers(10, size=64)])


@pytest.mark.parametrize("axes", [(0, 2), (1, (0, 1)), ((0, 2), None), ((1, 2),)])
def test_sums_along_all_axes(axes: Any) -> None:
    def f(do: Draw, x: Instruction) -> Any:
        square = do(np.square, x)
        yield square
        for axis in axes:
            yield do(np.add.reduce, square, axis=axis)
            yield do(np.maximum.reduce, x, axis=axis, keepdims=True)

    as_numpy(f, single(5, 3, 7))


@pytest.mark.parametrize("n", [40, 40_000])  # the sums fit on the stack, or are made twice
def test_sums_of_rows_meet_a_number_that_is_made_after_them(n: int) -> None:
    def f(do: Draw, x: Instruction, y: Instruction) -> Instruction:
        sums = do(np.add.reduce, x, axis=-1)
        return do(np.multiply, do(np.negative, sums), do(np.exp, y))

    as_numpy(f, single(n, 3), np.float32(0.5))
    as_numpy(f, single(n // 20, 4, 5), np.float32(0.5))


def test_sums_of_which_there_is_a_sum_are_there_after_it() -> None:
    def f(do: Draw, x: Instruction) -> Instruction:
        sums = do(np.add.reduce, x, axis=2)
        return do(np.subtract, sums, do(np.maximum.reduce, sums, axis=1, keepdims=True))

    as_numpy(f, single(3, 5, 7))


@pytest.mark.parametrize(("n", "k"), [(1, 3), (9, 1), (700, 100), (5001, 3)])
def test_products_of_a_matrix_with_vectors_go_along_its_rows(n: int, k: int) -> None:
    def f(do: Draw, X: Instruction, w: Instruction, y: Instruction) -> list[Instruction]:
        z = do(np.matmul, X, w)
        e = do(np.subtract, do(np.tanh, z), y)
        g = do(np.matmul, e, X)
        return [z, do(np.matmul, e, e), g, do(np.matmul, X, g)]  # the last in blocks of its own

    X, w, y = rng.normal(size=(n, k)) / n**0.5, rng.normal(size=k), rng.normal(size=n)
    as_numpy(f, X, w, y, rtol=1e-10)
    as_numpy(f, np.asfortranarray(X), w, y, rtol=1e-10)


def logistic(w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return np.mean(np.maximum(z, 0) - y * z + np.log1p(np.exp(-abs(z))))


def valley(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_a_matrix_is_read_once_for_a_loss_and_its_gradient() -> None:
    X, y, w = rng.normal(size=(3000, 7)), rng.random(3000), rng.normal(size=7)
    both = tg.value_and_grad(logistic)
    compiled = tg.compile(both, backend="llvm")
    with pytest.MonkeyPatch.context() as patch:  # all arrays lie as it is expected
        patch.setattr(load.Others, "__call__", None)
        for got, want in zip(compiled(w, X, y), both(w, X, y)):
            np.testing.assert_allclose(got, want, rtol=1e-12)
    lines = [line for line in compiled.source.splitlines() if "np.matmul" in line]
    assert len(lines) == 2  # of what the one kernel means
    assert all(line.lstrip().startswith("#") for line in lines)


def test_what_makes_a_large_gradient_takes_its_squares() -> None:
    both = tg.value_and_grad(valley)
    compiled = tg.compile(both, backend="llvm")
    x = rng.normal(size=20_001)
    for scale in 1, 1e80, 1, 1e160:  # squares overflow, and then numbers
        with np.errstate(all="ignore"):
            for got, want in zip(compiled(scale * x), both(scale * x)):
                np.testing.assert_allclose(got, want, rtol=1e-12)
    assert len(re.findall(r"^ *kernel\w*\(", compiled.source, re.M)) == 1


def test_squares_of_many_arrays_are_added_up_by_one_loop_for_each_dtype() -> None:
    single, double = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=33)
    turned, number = rng.normal(size=(3, 4)).T, np.float64(2.5)
    xs = (single, double, turned, number)
    inputs = [Instruction(None, (), None, x.shape, x.dtype, order=order_of(x)) for x in xs]
    for dtype in (np.float32, np.float64):
        whole = Instruction(sum_of_squares, (*inputs,), None, (), np.dtype(dtype))
        program = Program(inputs, [whole], [whole])
        for extra in (1.0, np.inf, np.nan, 1e200):
            double[7] = extra
            with np.errstate(over="ignore"):
                (got,) = run(program, *xs)
                want = dtype(sum_of_squares(*xs))
            np.testing.assert_allclose(got, want, rtol=1e-6)
        gaps = np.ones((5, 14), np.float32)[:, ::2]  # read as NumPy reads it
        (got,) = run(program, gaps, *xs[1:3], np.float64(2.5))
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(got, dtype(sum_of_squares(gaps, *xs[1:])), rtol=1e-6)


@pytest.mark.parametrize("shape", [(7,), (5001,), (2100, 3)])  # some of several blocks
def test_what_is_made_beside_a_sum_of_slices(shape: tuple[int, ...]) -> None:
    def f(x: Any) -> Any:
        curve = lambda x: np.sum(np.sin(x[2:] - 2 * x[1:-1] + x[:-2]))
        d = x[1:] - x[:-1]
        return *tg.value_and_grad(valley)(x), *tg.value_and_grad(curve)(x), d, np.sum(d, axis=-1)

    x = rng.normal(size=shape)
    for got, want in zip(tg.compile(f, backend="llvm")(x), f(x)):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_one_of_several_results_goes_into_a_kernel() -> None:
    f = lambda x: np.exp(np.split(x, 2)[1]) * 2 - np.frexp(x)[0][:2]
    x = single(4, 6)
    np.testing.assert_allclose(tg.compile(f, backend="llvm")(x), f(x), rtol=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 1, 3, 0)])
@pytest.mark.parametrize("size", [(2, 2), (3, 1), (2,)])
def test_largest_entries_of_windows_and_their_gradient(size: Any, order: Any) -> None:
    x = rng.integers(-2, 3, size=(3, 5, 6, 4)).astype(np.float32)
    x[0, 0, 0, :3] = np.nan, np.inf, -0.0
    x = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    g = single(*LARGEST(x, kernel_size=size).shape)

    def f(do: Draw, x: Any, g: Any) -> Any:
        a = do(np.maximum, x, -1)
        out = do(LARGEST, a, kernel_size=size)
        dx = do(TO_LARGEST, do(np.multiply, g, out), a, out, kernel_size=size)
        return out, do(np.exp, dx), do(np.add.reduce, dx, axis=(0, 2, 3))

    assert not isinstance(load.kernels([program_of(f, x, g)])[0], partial)  # it has been written
    as_numpy(f, x, g)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("numbers", [np.int64, np.uint8])
def test_rows_are_added_where_numbers_say(numbers: Any, dtype: Any) -> None:
    """As many as there are numbers, so that the result could lie where they lay."""
    i, w = rng.integers(0, 12, size=12).astype(numbers), np.zeros((12, 3), dtype)
    g = rng.normal(size=(12, 3)).astype(dtype)

    @tg.compile(backend="llvm")
    def f(w: Any, g: Any, i: Any) -> Any:
        (total,) = tg.vjp(lambda w: F.embedding(i, w), w)[1](np.exp(g))
        return total * 2

    total = np.zeros(w.shape)
    np.add.at(total, i, 2 * np.exp(g))
    for x in (g, g[::-1], np.asfortranarray(g), g):
        k = i[::-1] if x.strides[0] < 0 else i
        np.testing.assert_allclose(f(w, x, k), total, rtol=1e-5)
    assert "rows_added(" not in re.sub("#.*", "", f.source)
    i[1] = 12
    for _ in range(2):
        with pytest.raises(ValueError, match=r"rows \d..12 of a table of 12"):
            f(w, g, i)


def test_rows_of_tables_side_by_side_are_added_where_numbers_say() -> None:
    i, w = rng.integers(0, 6, (3, 5)), rng.normal(size=(3, 6, 4))
    f = tg.vmap(tg.grad(lambda w, i: np.sum(F.embedding(i, w) ** 2)))
    np.testing.assert_allclose(tg.compile(f, backend="llvm")(w, i), f(w, i))


def test_what_a_later_kernel_needs_is_made_there() -> None:
    """The bias of a convolution is added where the sum is read, and a mask is made at its use."""
    layer, x = nn.Conv2d(2, 4, 3, rng=0), single(5, 2, 8, 8)

    def loss(x: Any) -> Any:
        z = layer(x)
        return np.sum(F.max_pool2d(F.relu(z), 2) ** 2) + np.sum(np.tanh(z))

    def step(x: Any) -> Any:
        total = loss(x)
        total.backward()
        grads = layer.weight.grad, layer.bias.grad
        layer.weight.grad = layer.bias.grad = None
        return total.detach(), *grads

    f = tg.compile(backend="llvm")(step)
    for a, b in zip(f(x), step(x)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert re.search(r"conv_rows, \w+, x, \w+\)", f.source)  # without the bias
    kernels = re.findall(r"kernel\w*\(.*\n(?: +#.*\n)*", f.source)
    (share,) = (text for text in kernels if "to_largest(" in text)
    assert "np.add(" in share
    assert "np.greater(" in share


def test_the_largest_of_what_has_nan_is_nan() -> None:
    x = single(4, 50)
    x[1, 7] = np.nan
    as_numpy(lambda do, x: do(np.maximum.reduce, x, axis=1), x)
    as_numpy(lambda do, x: [do(np.maximum, x, 0), do(np.minimum, 0, x), do(np.sign, x)], x)


def test_integers_and_truth_values() -> None:
    i, j = rng.integers(-9, 9, 40), rng.integers(0, 99, 40).astype(np.uint8)

    def f(do: Draw, i: Instruction, j: Instruction) -> list[Instruction]:
        less = do(np.less, i, j)
        both = do(np.logical_and, less, do(np.equal, do(np.bitwise_and, i, 1), 0))
        return [do(np.add, i, j), do(np.true_divide, i, 3), do(np.where, both, i, 0), less]

    as_numpy(f, i, j)
    as_numpy(lambda do, i, j: do(np.add.reduce, do(np.less, i, j)), i, j)


def test_a_sum_of_a_million_is_as_exact_as_numpys() -> None:
    x = np.full(1_000_000, 0.1, np.float32)
    (got,) = run(program_of(lambda do, x: do(np.add.reduce, x), x), x)
    assert abs(got - 1e6 * float(np.float32(0.1))) < 1e-2


def test_arrays_that_lie_otherwise_are_taken() -> None:
    program = program_of(lambda do, x: do(np.multiply, x, 2), single(6, 4))
    (f,) = load.kernels([program])
    out = np.zeros((6, 4), np.float32)
    packed = np.zeros(6 * 4 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(6, 4)
    packed[...] = single(6, 4)
    for x in (single(4, 6).T, single(6, 8)[:, ::2], single(6, 4)[::-1], single(12, 4)[::2], packed):
        f(x, out)
        np.testing.assert_array_equal(out, x * 2)
    f(single(6, 4), out.reshape(4, 6).T[:6])  # where the copy goes
    with pytest.raises(ValueError, match="is expected"):
        f(single(5, 4), out)
    with pytest.raises(ValueError, match="is expected"):
        f(single(6, 4).astype(float), out)
    with pytest.raises(TypeError, match="2 arrays"):
        f(out)


# tg.compile(f, backend="llvm")


def trained(steps: int = 4, **how: Any) -> tuple[list[float], Any, Any]:
    """The losses, the parameters after some steps, and the compiled step."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.LayerNorm(30), nn.Linear(30, 10))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    draw = np.random.default_rng(1)

    @tg.compile(**how)
    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = [
        step(draw.normal(size=(16, 20)).astype(np.float32), draw.integers(10, size=16)).item()
        for _ in range(steps)
    ]
    return losses, [p.data for p in model.parameters()], step


def test_a_training_takes_the_steps_of_the_numpy_back_end() -> None:
    want, parameters, _ = trained()
    losses, found, step = trained(backend="llvm")
    np.testing.assert_allclose(losses, want, rtol=1e-5)
    for x, y in zip(found, parameters):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
    assert "kernel(" in step.source
    assert re.search(r"#     \w+ = np.exp\(", step.source)  # what it means
    report = step.report()
    assert any(x.code.startswith("kernel") for x in report.operations)
    assert all(len(x) <= 100 for text in (step.source, str(report)) for x in text.splitlines())
    with pytest.raises(ValueError, match="kernel"):
        step.save("step.py")


def test_what_is_not_finite_is_left_to_the_function() -> None:
    @tg.compile(backend="llvm")
    def slope(x: Any) -> Any:
        v = Value(x)
        np.sum(np.where(x > 0, np.sqrt(v), 0)).backward()
        return v.grad

    np.testing.assert_allclose(slope(np.array([4.0, 1.0])), [0.25, 0.5])
    np.testing.assert_array_equal(slope(np.array([4.0, 0.0])), [0.25, 0])


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="exact"):
        tg.compile(np.tanh, backend="llvm", exact=True)
    with pytest.raises(ValueError, match="not 'cuda'"):
        tg.compile(np.tanh, backend="cuda")
    model = nn.Linear(2, 1)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    rows = np.ones((4, 2)), np.ones((4, 1))
    for how in ("cuda", 3):
        with pytest.raises(ValueError, match=f"not {how!r}"):
            tg.fit(model, rows, F.mse_loss, sgd, epochs=1, compile=how)


def test_without_llvmlite_numpy_runs_and_a_warning_says_so_once() -> None:
    code = """
import sys, warnings
sys.modules["llvmlite"] = None
import numpy as np, tensorgrad as tg
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    f, g = (tg.compile(lambda x: np.tanh(x) + 1, backend="llvm") for _ in range(2))
print(f(np.zeros(3)), g(np.zeros(3)), *(x.message for x in said), sep="\\n")
"""
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert lines[:2] == ["[1. 1. 1.]"] * 2
    assert len(lines) == 3
    assert "pip install 'tensorgrad-engine[jit]'" in lines[2]


def test_importing_the_package_loads_no_llvmlite() -> None:
    code = "import sys, tensorgrad as tg; tg.compile(abs); print('llvmlite' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def double(x: Any) -> Any:
    (f,) = load.kernels([program_of(lambda do, x: do(np.multiply, x, 2), x)])
    out = np.zeros_like(x)
    f(x, out)
    return out


def test_machine_code_on_disk_is_checked(tmp_path: Path, monkeypatch: Any) -> None:
    load.entry()  # once in a process
    compiled = []
    monkeypatch.setattr(load, "made", lambda *args, f=load.made: compiled.append(1) or f(*args))
    monkeypatch.setenv("TENSORGRAD_CACHE", str(tmp_path / "kernels"))
    x = np.arange(5.0)
    for _ in range(2):
        np.testing.assert_array_equal(double(x), 2 * x)
    (path,) = (tmp_path / "kernels").iterdir()
    assert len(compiled) == 1
    whole = path.read_bytes()
    for wrong in (b"", whole[:-9], whole[:40] + b"\x90" + whole[41:], b"rubbish" * 99):
        path.write_bytes(wrong)
        np.testing.assert_array_equal(double(x), 2 * x)
        assert path.read_bytes() == whole
    assert len(compiled) == 5
    other = path.with_name("0" * 64 + ".o")
    monkeypatch.setattr(cache.hashlib, "sha256", lambda x, f=hashlib.sha256: f(b"salt" + x))
    path.rename(other)  # of another name
    np.testing.assert_array_equal(double(x), 2 * x)
    assert len(compiled) == 6


def test_one_kernel_goes_through_arrays_of_any_length(tmp_path: Path, monkeypatch: Any) -> None:
    """Whose numbers fill whole vectors: of others there is one for each shape."""
    f = tg.compile(lambda x, y: (x - y) * 0.3 + y, backend="llvm")
    f(*np.ones((2, 3)))  # what all programs need is made
    compiled = []
    monkeypatch.setattr(load, "made", lambda *args, f=load.made: compiled.append(1) or f(*args))
    monkeypatch.setenv("TENSORGRAD_CACHE", str(tmp_path / "kernels"))
    for count, shape in (1, (64,)), (1, (3, 128)), (1, (2, 5, 64)), (2, (65,)), (3, (5, 13)):
        x, y = np.random.default_rng(0).normal(size=(2, *shape))
        for _ in range(2):
            np.testing.assert_allclose(f(x, y), (x - y) * 0.3 + y, rtol=1e-14, atol=1e-15)
        assert len(compiled) == count, shape


def test_a_folder_of_others_or_none_is_not_read(tmp_path: Path, monkeypatch: Any) -> None:
    load.entry()  # once in a process
    compiled = []
    monkeypatch.setattr(load, "made", lambda *args, f=load.made: compiled.append(1) or f(*args))
    monkeypatch.setenv("TENSORGRAD_CACHE", str(tmp_path))
    tmp_path.chmod(0o777)
    x = np.arange(7.0)
    for _ in range(2):
        np.testing.assert_array_equal(double(x), 2 * x)
    assert not [*tmp_path.iterdir()]
    (tmp_path / "file").touch()
    monkeypatch.setenv("TENSORGRAD_CACHE", str(tmp_path / "file" / "folder"))
    np.testing.assert_array_equal(double(x), 2 * x)
    assert len(compiled) == 3


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX warns, where another test has loaded it
def test_threads_run_at_once_and_a_fork_goes_on() -> None:
    f = tg.compile(lambda x: np.sum(np.exp(-x * x)), backend="llvm")
    xs = [single(100_000) for _ in range(4)]
    want = [f(x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert [*pool.map(f, xs)] == want
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(0 if f(xs[0]) == want[0] else 1)
        assert os.waitpid(child, 0)[1] == 0


UNARY = [np.tanh, np.exp, np.negative, np.square, np.absolute, np.sign, np.log1p]
BINARY = [np.add, np.subtract, np.multiply, np.maximum, np.minimum]
SUMS = [np.add.reduce, np.maximum.reduce, np.minimum.reduce]


@given(st.data())
@settings(max_examples=12)
def test_random_programs(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 5)] * data.draw(st.integers(1, 3))))
    seed = np.random.default_rng(data.draw(st.integers(0, 99)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    narrow = tuple(n if data.draw(st.booleans()) else 1 for n in shape)
    xs = [seed.uniform(-1, 1, s).astype(dtype) for s in (shape, narrow, shape[1:], ())]

    def f(do: Draw, *inputs: Instruction) -> list[Instruction]:
        known = [*inputs]
        for _ in range(data.draw(st.integers(1, 6))):
            x, y = (data.draw(st.sampled_from(known)) for _ in range(2))
            kind = data.draw(st.integers(0, 3))
            if kind == 0:
                known.append(do(data.draw(st.sampled_from(UNARY)), x))
            elif kind == 1:
                known.append(do(data.draw(st.sampled_from(BINARY)), x, y))
            elif kind == 2 and x.shape:
                axes = data.draw(st.sets(st.integers(0, len(x.shape) - 1), min_size=1))
                f = data.draw(st.sampled_from(SUMS))
                known.append(do(f, x, axis=tuple(sorted(axes)), keepdims=True))
            else:
                known.append(do(np.where, do(np.greater, x, y), x, 0.5))
        return [x for x in known if x.function is not None]

    program = program_of(f, *xs)
    with np.errstate(all="ignore"):
        want = Fused(program)(*xs)
    for got, x in zip(run(program, *xs), want if type(want) is tuple else (want,)):
        np.testing.assert_allclose(got, x, rtol=1e-4 if dtype is np.float32 else 1e-10)


OLDER = {
    "x86-64": lambda name: name in {"64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2"},  # no AVX
    "x86-64-v3": lambda name: not name.startswith(("avx512", "avx10", "amx", "evex512")),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="features of x86-64")
@pytest.mark.parametrize("cpu", OLDER)
def test_kernels_of_an_older_processor_are_right_and_are_not_taken_for_those_of_this_one(
    cpu: str, monkeypatch: Any, tmp_path: Path
) -> None:
    def f(x: Any) -> Any:
        z = np.exp(x - np.max(x, 1, keepdims=True))
        p = z / np.sum(z, 1, keepdims=True)
        return np.log(p + 1) * np.tanh(x), np.sum(np.where(x > 0, np.sqrt(np.abs(x)), x))

    monkeypatch.setenv("TENSORGRAD_CACHE", str(tmp_path))
    x = np.random.default_rng(0).normal(size=(7, 33))
    tg.compile(f, backend="llvm")(x)
    own = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    has = load.processor()[1]
    fewer = type(has)({name: there and OLDER[cpu](name) for name, there in has.items()})
    monkeypatch.setattr(load, "processor", lambda: (cpu, fewer))
    load.depends.cache_clear()
    try:
        for dtype, bound in ((np.float32, 2e-6), (np.float64, 1e-14)):
            y = x.astype(dtype)
            for found, wanted in zip(tg.compile(f, backend="llvm")(y), f(y)):
                np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound)
        assert fewer.flatten() in load.depends()
    finally:
        load.depends.cache_clear()
    older = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name not in own}
    assert own
    assert len(older) >= 2 * len(own)
    assert all((tmp_path / name).read_bytes() == code for name, code in own.items())


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_small_matrices_are_calls_of_blas(dtype: Any) -> None:
    c, x, y = (rng.random(shape).astype(dtype) for shape in ((5, 3), (5, 7), (7, 3)))
    cases: list[Callable[..., Any]] = [
        lambda c, x, y, s: (x @ y, y.T @ x.T, x.T @ c, c @ c.T, (x @ y) @ c.T),
        lambda c, x, y, s: (c - s * (x @ y), c * 0.5 + x @ y),
        lambda c, x, y, s: (c.T + y.T @ x.T, s * c - 2 * (x @ y)),
    ]
    for f in cases:
        g = tg.compile(f, backend="llvm")
        ways: list[Callable[[Any], Any]] = [
            *(np.array, np.asfortranarray, lambda z: np.repeat(z, 2, axis=0)[::2]),
            lambda z: z[::-1, ::-1].copy()[::-1, ::-1],
        ]
        for how in ways:
            for s in (0.5, 0.0):
                given = how(c), how(x), how(y), s
                for got, wanted in zip(g(*given), f(c, x, y, s), strict=True):
                    assert got.dtype == wanted.dtype
                    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        assert "product(" in g.source
        x[0, 0], c[0, 0] = np.inf, np.nan  # what 0 times these is, BLAS forgets
        for got, wanted in zip(g(c, x, y, 0.0), f(c, x, y, 0.0), strict=True):
            np.testing.assert_equal(np.isnan(got), np.isnan(wanted))
        x[0, 0], c[0, 0] = 1, 1
        for m, n, k in ((0, 3, 7), (5, 0, 7), (5, 3, 0)):
            few = c[:m, :n], x[:m, :k], y[:k, :n], 0.5
            for got, wanted in zip(g(*few), f(*few), strict=True):
                assert got.shape == wanted.shape
                np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_a_product_is_written_over_what_it_is_added_to_and_over_no_factor() -> None:
    start = rng.random((4, 4))
    x = rng.random((4, 4))
    changes: list[Callable[[Any], Any]] = [
        *(lambda w: w @ w / 4, lambda w: w - 0.1 * (x @ w), lambda w: w - 0.1 * (w @ w)),
        *(lambda w: x @ w / 4, lambda w: w - 0.1 * (x @ x)),
    ]
    for change in changes:
        w = Value(start)

        @partial(tg.compile, backend="llvm")
        def step(w: Any = w, change: Any = change) -> None:
            w.data = change(w.data)

        wanted = start
        for _ in range(3):
            step()
            wanted = change(wanted)
            np.testing.assert_allclose(w.data, wanted, rtol=1e-12)
        assert "product(" in step.source  # type: ignore[attr-defined]


def test_a_layer_norm_is_one_kernel() -> None:
    x, w, b = (rng.random(n).astype(np.float32) for n in ((6, 20, 40), 40, 40))
    norm = lambda x, w, b: F.layer_norm(x, (40,), w, b)
    step = tg.compile(norm, backend="llvm")
    np.testing.assert_allclose(step(x, w, b), norm(x, w, b), rtol=1e-4, atol=1e-5)
    calls = step.source.partition("def step")[2]
    assert calls.count("kernel(") == 1
    assert not re.search(r"^ +np\.", calls, re.MULTILINE)

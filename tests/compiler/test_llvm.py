"""Groups of operations as machine code, beside what NumPy makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from tensorgrad.compiler.llvm import kernel, load
from tensorgrad.compiler.program import Fused, Instruction, Program, replaced

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


FUNCTIONS = ["exp", "expm1", "log", "log1p", "tanh", "sqrt", "sin", "cos"]


def numbers(dtype: type, n: int) -> Any:
    """Numbers of every size, and those at the ends."""
    info = np.finfo(dtype)
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, 0.5, info.max, -info.max]
    ends += [info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal, info.eps]
    wide = info.bits // 8
    bits = rng.integers(0, 1 << (info.bits - 1), n, dtype=np.uint64).astype(f"u{wide}").view(dtype)
    spread = [rng.uniform(-s, s, n) for s in (0.01, 0.6, 1.5, 4, 20, 110, 750)]
    bits = np.where(np.isnan(bits), np.nan, bits)  # signalling ones make NumPy warn
    return np.concatenate([ends, bits, -bits, *spread, 1 + rng.normal(size=n) / 100]).astype(dtype)


def units_off(name: str, dtype: type, n: int) -> float:
    """The greatest error, in units of the last place of what is right; infinite where one is NaN,
    infinite or 0 and the other is not."""
    mpmath = pytest.importorskip("mpmath")
    x = numbers(dtype, n)
    (got,) = run(program_of(lambda do, x: do(getattr(np, name), x), x), x)
    worst = 0.0
    with mpmath.workprec(200 if dtype is np.float64 else 100), np.errstate(all="ignore"):
        plain = getattr(np, name)(x)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(plain))
        np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(plain[got == 0]))
        for a, y, near in zip(x.tolist(), got.tolist(), plain):
            if math.isnan(y) or math.isinf(a) or (math.isinf(y) and near == y) or y == near == 0:
                assert math.isnan(y) or y == near
                continue
            right = getattr(mpmath, name)(mpmath.mpf(a))
            worst = max(worst, float(abs(mpmath.mpf(y) - right) / abs(np.spacing(near))))
    return worst


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_of_a_function_is_below_two_units_in_the_last_place(
    name: str, dtype: type
) -> None:
    if dtype is np.float64 and name in ("sin", "cos"):
        pytest.skip("NumPy's own")
    assert units_off(name, dtype, 12) < 2


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_and_so_it_is_of_many_numbers(name: str, dtype: type) -> None:
    if dtype is np.float64 and name in ("sin", "cos"):
        pytest.skip("NumPy's own")
    assert units_off(name, dtype, 5000) < 2


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
    as_numpy(f, single(20, 30).T, single(30, 20))
    as_numpy(f, single(20, 90)[::-2, ::3], single(10, 30))
    as_numpy(f, single(8), np.float32(3))
    as_numpy(f, single(8), np.array(3, np.float32))
    as_numpy(f, single(8), 3.5)
    as_numpy(f, rng.normal(size=8), single(8))


def test_softmax_along_any_axis() -> None:
    as_numpy(softmax, single(64, 10))
    as_numpy(softmax, single(3, 3000))
    as_numpy(lambda do, z: softmax(do, z, 1), single(4, 10, 3))


def test_a_loss_its_gradient_and_that_of_a_bias() -> None:
    as_numpy(cross_entropy, single(64, 10), np.eye(10, dtype=np.float32)[rng.integers(10, size=64)])


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 1), (0, 2), (1, 2), None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_along_all_axes(axis: Any, keepdims: bool) -> None:
    def f(do: Draw, x: Instruction) -> list[Instruction]:
        square = do(np.square, x)
        how = {"axis": axis, "keepdims": keepdims}
        return [do(np.add.reduce, square, **how), do(np.maximum.reduce, x, **how), square]

    as_numpy(f, single(5, 3, 7))


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

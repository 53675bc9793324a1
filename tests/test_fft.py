"""Discrete Fourier transforms: linear maps, whose gradient is the transposed map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tests.numerical import assert_gradient

ONE_AXIS = {
    "length": [{}, {"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}, {"n": 7}, {"n": 8}],
    "axis": [{"axis": 0}, {"axis": 1, "n": 3}, {"axis": -2, "n": 6}],
    "norm": [{"norm": norm, "n": n} for norm in ("backward", "ortho", "forward") for n in (4, 7)],
}
CALLS = [arguments for calls in ONE_AXIS.values() for arguments in calls]
TWO_AXES = [
    {},
    {"s": (3, 4), "axes": (-2, -1)},
    {"s": (4, 3), "axes": (0, 1)},
    {"s": (-1, 5), "axes": (1, 0)},
    {"axes": (1, 0)},
    {"axes": (-1, -1)},
    {"axes": (0, 1, 0), "s": (2, 5, 3)},
    {"axes": (1,), "norm": "ortho"},
    {"axes": (0, 1), "norm": "forward"},
]
REAL_IN = {"rfft", "ihfft", "rfft2", "rfftn"}
TRANSFORMS = [
    (name, arguments)
    for names, calls in (
        (("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"), CALLS),
        (("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"), TWO_AXES),
    )
    for name in names
    for arguments in calls
]
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))


def parts(z: Any) -> Any:
    """Real and imaginary parts, as one real array."""
    return np.stack([np.real(z), np.imag(z)])


@pytest.mark.parametrize(("name", "arguments"), TRANSFORMS)
def test_transforms_agree_with_numpy_and_with_difference_quotients(
    name: str, arguments: dict[str, Any]
) -> None:
    f: Callable[..., Any] = lambda x: getattr(np.fft, name)(x, **arguments)
    for x in (X,) if name in REAL_IN else (X, X + 1j * Y):
        found, expected = f(Value(x)), f(x)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.data, expected, rtol=1e-13, atol=1e-14)
    assert_gradient(lambda x: parts(f(x)), X, order=2)
    if name not in REAL_IN:
        assert_gradient(lambda x, y: parts(f(x + 1j * y)), X, Y)


@pytest.mark.parametrize("n", [3, 5, 6])
def test_the_gradient_is_the_transposed_matrix_not_its_conjugate(n: int) -> None:
    """Of Re Σ w (F z): Fᵀ w, with F from its definition."""
    j, k = np.arange(5), np.arange(n)
    F = np.exp(-2j * np.pi / n * np.outer(k, j)) * (j < n)
    w = rng.normal(size=n) + 1j * rng.normal(size=n)
    z = Value(X[0] + 1j * Y[0])
    np.fft.fft(z, n).backward(w)
    np.testing.assert_allclose(z.grad, F.T @ w, rtol=1e-13, atol=1e-13)
    z.grad = None
    np.fft.ifft(z, n).backward(w)
    np.testing.assert_allclose(z.grad, F.conj().T @ w / n, rtol=1e-13, atol=1e-13)


def test_entries_of_a_half_spectrum_count_twice_but_those_without_a_mirror_image() -> None:
    for n in (5, 6):
        c = Value(np.ones(n // 2 + 1))
        np.fft.irfft(c, n)[0].backward()
        assert (c.grad * n).round(12).tolist() == ([1, 2, 2] if n == 5 else [1, 2, 2, 1])


def test_a_transform_and_its_inverse_pass_the_cotangent_on() -> None:
    for there, back in (("fft", "ifft"), ("rfft", "irfft"), ("ihfft", "hfft")):
        x = Value(X)
        y = getattr(np.fft, back)(getattr(np.fft, there)(x), 5)
        np.real(y).backward(Y)
        np.testing.assert_allclose(x.grad, Y, rtol=1e-13)


@pytest.mark.parametrize("axes", [None, 0, -1, (1,), (0, 1), [1, 0]])
def test_shifts(axes: Any) -> None:
    for f in (np.fft.fftshift, np.fft.ifftshift):
        np.testing.assert_array_equal(f(Value(X), axes).data, f(X, axes))
        assert_gradient(lambda x, f=f: f(x, axes=axes), X, order=2)


def test_single_precision_stays() -> None:
    for f in (np.fft.fft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft, np.fft.rfft2):
        x = Value(X.astype(np.float32))
        y = f(x)
        y.backward(np.ones(y.shape))
        assert y.dtype in (np.complex64, np.float32)
        assert x.grad.dtype == np.float32
    z = Value((X + 1j * Y).astype(np.complex64))
    np.fft.ifft(z).backward(np.ones(X.shape))
    assert z.grad.dtype == np.complex64


def test_vmap_of_a_transform_is_the_transform_of_each_row() -> None:
    for f in (np.fft.fft, np.fft.rfft, np.fft.irfft, lambda x: np.fft.fftn(x, s=(4,), axes=(0,))):
        expected = np.stack([f(row) for row in X])
        np.testing.assert_allclose(tg.vmap(f)(X), expected, rtol=1e-13)


def test_wrong_lengths_axes_and_norms_are_errors_that_name_the_transform() -> None:
    x = Value(X)
    for call, message in (
        (lambda: np.fft.fft(x, 0), r"fft\(.*Invalid number of FFT data points"),
        (lambda: np.fft.fft(x, axis=2), r"fft\(float64\[3, 5\], axis=2\)"),
        (lambda: np.fft.rfft(x, norm="unit"), r"rfft\(.*Invalid norm value"),
        (lambda: np.fft.fftn(x, s=(3,), axes=(0, 1)), "lengths"),
        (lambda: np.fft.rfft(x + 1j), r"rfft\("),
        (lambda: np.fft.fft(x, out=np.empty(X.shape, complex)), "out"),
        (lambda: np.fft.fft2(x, out=np.empty(X.shape, complex)), "out"),
    ):
        with pytest.raises((ValueError, TypeError, IndexError), match=message):
            call()

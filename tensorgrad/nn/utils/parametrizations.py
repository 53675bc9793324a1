"""Weights as direction and length, of spectral norm 1, orthogonal: see `parametrize`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import beside, copied, created
from tensorgrad.engine.node import data_of, detached
from tensorgrad.nn.module import Module
from tensorgrad.nn.utils.parametrize import register_parametrization
from tensorgrad.random import generator


class _WeightNorm(Module):
    """length ⊙ direction / ‖direction‖, a length for each entry of the axis `dim`."""

    def __init__(self, dim: int | None) -> None:
        self.dim = dim

    def lengths(self, v: Any) -> Any:
        axes = None if self.dim is None else tuple(a for a in range(v.ndim) if a != self.dim)
        return np.sqrt(np.sum(v * v, axis=axes, keepdims=self.dim is not None))

    def forward(self, length: Any, direction: Any) -> Any:
        return direction * (length / self.lengths(direction))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        """Length and direction."""
        return self.lengths(weight), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Let `module.name` learn as length, `original0`, and direction, `original1`.

    Salimans and Kingma (2016). A length for each entry of the axis `dim`; None for one in all.

    >>> from tensorgrad import nn
    >>> layer = weight_norm(nn.Linear(20, 40, rng=0))
    >>> layer.parametrizations["weight"].original0.shape
    (40, 1)
    """
    ndim = getattr(module, name).ndim
    return register_parametrization(
        module, name, _WeightNorm(None if dim is None else dim % ndim), unsafe=True
    )


def unit(x: Any, eps: float) -> Any:
    """`x`, with length 1."""
    return x / np.maximum(np.sqrt(np.sum(x * x)), eps)


class _SpectralNorm(Module):
    """weight / its largest singular value, which power iterations follow while it trains."""

    def __init__(self, weight: Any, n_power_iterations: int, dim: int, eps: float, rng: Any):
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim, eps
        matrix = self.matrix(weight)
        rng = generator(rng)
        self.u, self.v = (
            beside(unit(rng.standard_normal(n), eps).astype(weight.dtype), weight)
            for n in matrix.shape
        )
        self.u, self.v = self.followed(matrix, 15)

    def matrix(self, weight: Any) -> Any:
        """The weight, with the axis `dim` as rows and all others as columns."""
        rows = np.moveaxis(weight, self.dim, 0)
        return np.reshape(rows, (rows.shape[0], -1))

    def followed(self, matrix: Any, times: int) -> tuple[Any, Any]:
        """The singular vectors, after some iterations more."""
        u, v = self.u, self.v
        for _ in range(times):
            u = unit(matrix @ v, self.eps)
            v = unit(matrix.T @ u, self.eps)
        return u, v

    def forward(self, weight: Any) -> Any:
        matrix = self.matrix(weight)
        u, v = self.u, self.v
        if self.training:
            u, v = self.followed(detached(matrix), self.n_power_iterations)
            self.remember(u=u, v=v)
        return weight / (u @ (matrix @ v))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    *,
    rng: Any = None,
) -> Module:
    """Let `module.name` be its original by its largest singular value: Miyato et al. (2018).

    Of a weight with more than two axes that of the matrix with `dim` as rows: by default the
    outputs. Each forward in training makes `n_power_iterations` to follow it. ValueError for less
    than one, and for a parameter of less than two axes.

    >>> from tensorgrad import nn
    >>> layer = spectral_norm(nn.Linear(20, 40, rng=0), rng=0)
    >>> float(np.linalg.norm(layer.weight.data, 2).round(1))
    1.0
    """
    weight = getattr(module, name)
    if n_power_iterations < 1 or weight.ndim < 2:
        raise ValueError(
            f"spectral_norm: {n_power_iterations} iterations for shape {weight.shape}; one or "
            "more, for two axes or more"
        )
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    made = _SpectralNorm(weight.data, n_power_iterations, dim % weight.ndim, eps, rng)
    return register_parametrization(module, name, made)


class _Orthogonal(Module):
    """A matrix with orthonormal columns, or rows where there are fewer: base @ map(original)."""

    def __init__(self, weight: Any, orthogonal_map: str, use_trivialization: bool) -> None:
        self.orthogonal_map = orthogonal_map
        tall = self.tall(weight)
        q, r = np.linalg.qr(tall, mode="complete")
        signs = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
        k = tall.shape[-1]
        q = np.concatenate([q[..., :k] * signs[..., None, :], q[..., k:]], axis=-1)
        self.base = q if use_trivialization else None

    def tall(self, x: Any) -> Any:
        return np.swapaxes(x, -1, -2) if x.shape[-2] < x.shape[-1] else x

    def forward(self, original: Any) -> Any:
        x = self.tall(original)
        q = self.mapped(x)
        if self.base is not None:
            q = self.base @ q
        return q if x is original else np.swapaxes(q, -1, -2)

    def mapped(self, x: Any) -> Any:
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            return reflected(x)
        a = np.tril(x)
        if n > k:
            zeros = created(np.zeros, (*x.shape[:-1], n - k), x.dtype, like=data_of(x))
            a = np.concatenate([a, zeros], axis=-1)
        a = a - np.swapaxes(a, -1, -2)
        if self.orthogonal_map == "matrix_exp":
            return exponential(a)[..., :k]
        one = created(np.eye, n, dtype=x.dtype, like=data_of(x))
        return np.linalg.solve(one - a / 2, (one + a / 2)[..., :k])

    def right_inverse(self, weight: Any) -> Any:
        """What the map makes 1 of, to be multiplied with the base; without one what reflections
        make its orthogonal factor of, or the weight."""
        if self.base is not None:
            one = created(np.eye, *weight.shape[-2:], dtype=weight.dtype, like=weight)
            return -np.broadcast_to(one, weight.shape)
        if self.orthogonal_map != "householder":
            return weight
        h, tau = np.linalg.qr(self.tall(weight), mode="raw")
        x = copied(np.swapaxes(h, -1, -2))
        i = np.arange(x.shape[-1])
        x[..., i, i] = np.sign(x[..., i, i]) * np.where(tau == 0, -1, 1)
        return x if self.tall(weight) is weight else np.swapaxes(x, -1, -2)


def reflected(x: Any) -> Any:
    """The product of the reflections at the columns of `x`, with signs of its diagonal."""
    n, k = x.shape[-2:]
    one = created(np.eye, n, k, dtype=x.dtype, like=data_of(x))
    v = np.tril(x, -1) + one
    tau = 2 / np.sum(v * v, axis=-2, keepdims=True)
    q = one
    for i in reversed(range(k)):
        column = v[..., :, i : i + 1]
        q = q - tau[..., :, i : i + 1] * column * (np.swapaxes(column, -1, -2) @ q)
    return q * np.sign(np.diagonal(detached(x), axis1=-2, axis2=-1))[..., None, :]


def exponential(a: Any) -> Any:
    """e^a of a skew-symmetric matrix: a series of a / 64, squared six times."""
    n, terms, times = a.shape[-1], 12, 6
    one = created(np.eye, n, dtype=a.dtype, like=data_of(a))
    small = a / 2**times
    e = one + small / terms
    for i in reversed(range(1, terms)):
        e = one + small @ e / i
    for _ in range(times):
        e = e @ e
    return e


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Let `module.name` be a matrix with orthonormal rows, or columns where there are fewer.

    `orthogonal_map`, what makes it of the original: "matrix_exp" (by default, of square ones),
    "cayley" or "householder" (else). `use_trivialization`: it is that times the orthogonal factor
    of the weight as it was, Lezcano-Casado (2019). ValueError for other maps and a parameter of
    less than two axes.

    >>> from tensorgrad import nn
    >>> weight = orthogonal(nn.Linear(3, 2, rng=0)).weight
    >>> bool(np.allclose(weight.data @ weight.data.T, np.eye(2), atol=1e-6))
    True
    """
    weight = getattr(module, name)
    if weight.ndim < 2:
        raise ValueError(f"orthogonal: two axes or more, not shape {weight.shape}")
    square = weight.shape[-1] == weight.shape[-2]
    orthogonal_map = orthogonal_map or ("matrix_exp" if square else "householder")
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f"orthogonal_map={orthogonal_map!r}; there are 'matrix_exp', 'cayley', 'householder'"
        )
    made = _Orthogonal(weight.data, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made)

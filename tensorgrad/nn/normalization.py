"""Normalisations: of a batch, a layer, groups, instances. Statistics of float16 are float32's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array, in_place
from tensorgrad.engine.dtypes import finfo, is_short
from tensorgrad.engine.node import data_of, detached
from tensorgrad.nn.init import full
from tensorgrad.nn.module import Module, learning
from tensorgrad.ops import nn as ops
from tensorgrad.ops.nn.activation import floats
from tensorgrad.value import Value

LastSizes = int | Sequence[int]


def _in_float32(normalization: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose input in float16 it computes with in float32: squares end at 65504.
    Lists and integers it takes as float64.
    """

    @wraps(normalization)
    def wide(input: Any, *args: Any, **kwargs: Any) -> Any:
        input = floats(as_array(input))
        if not is_short(input.dtype):
            return normalization(input, *args, **kwargs)
        return normalization(input.astype(np.float32), *args, **kwargs).astype(input.dtype)

    return wide


def _scaled(x: Any, weight: Any, bias: Any) -> Any:
    """x ⊙ weight + bias, where there are these."""
    if weight is None:
        return x if bias is None else x + bias
    return x * weight if bias is None else ops.normalization.scale(x, weight, bias)


def _of_channels(name: str, x: Any, p: Any) -> Any:
    """A number for each channel, to be broadcast to x (n, channels, ...)."""
    if p is None:
        return None
    if np.shape(p) != x.shape[1:2]:
        raise ValueError(
            f"{name}: {np.shape(p)} numbers for the channels of an input of shape {x.shape}"
        )
    return np.reshape(p, (-1,) + (1,) * (x.ndim - 2))


def _trailing(name: str, x: Any, normalized_shape: LastSizes) -> tuple[int, ...]:
    """The last axes of `x`, which have these sizes."""
    sizes = _as_sizes(normalized_shape)
    if not sizes or x.shape[-len(sizes) :] != sizes:
        raise ValueError(f"{name}: the input, of shape {x.shape}, does not end in {sizes}")
    return tuple(range(-len(sizes), 0))


def _as_sizes(sizes: LastSizes) -> tuple[int, ...]:
    return (sizes,) if isinstance(sizes, int) else tuple(sizes)


def _standardized(x: Any, weight: Any, bias: Any, axis: Any, eps: float) -> Any:
    """(x - mean) / √(variance + eps) ⊙ weight + bias, over `axis`."""
    return _scaled(ops.normalization.standardize(x, axis=axis, eps=eps), weight, bias)


@_in_float32
def layer_norm(
    input: Any, normalized_shape: LastSizes, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / √(variance + eps) ⊙ weight + bias, over the last axes, of `normalized_shape`.

    Ba et al. (2016). `weight` and `bias` have that shape. ValueError for an input that ends in
    other sizes.

    >>> layer_norm(np.array([[1.0, 3.0]]), 2).round(3)
    array([[-1.,  1.]])
    """
    axis = _trailing("layer_norm", input, normalized_shape)
    return _standardized(input, weight, bias, axis, eps)


@_in_float32
def rms_norm(
    input: Any, normalized_shape: LastSizes, weight: Any = None, eps: float | None = None
) -> Any:
    """x / √(mean of x² + eps) ⊙ weight, over the last axes: Zhang and Sennrich (2019).

    `eps`: by default the spacing of numbers at 1 in the dtype of the input. ValueError for an input
    that ends in other sizes than `normalized_shape`.

    >>> rms_norm(np.array([[3.0, 4.0]]), 2).round(3)
    array([[0.849, 1.131]])
    """
    input, axis = floats(input), _trailing("rms_norm", input, normalized_shape)
    eps = float(finfo(input.dtype).eps) if eps is None else eps
    return _scaled(ops.normalization.rms_norm(input, axis=axis, eps=eps), weight, None)


@_in_float32
def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Each example's channels, in groups, normalised to mean 0 and variance 1: Wu and He (2018).

    `input`: (n, channels, ...); `weight` and `bias`: (channels). ValueError unless the groups
    divide the channels.

    >>> group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2).round(3)
    array([[-1.,  1., -1.,  1.]])
    """
    if input.ndim < 2:
        raise ValueError(f"group_norm: an input (n, channels, ...), not of shape {input.shape}")
    n, channels = input.shape[:2]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"group_norm: {channels} channels are not {num_groups} equal groups")
    size = math.prod(input.shape[2:]) * (channels // num_groups)
    groups = _standardized(np.reshape(input, (n, num_groups, size)), None, None, -1, eps)
    weight, bias = (_of_channels("group_norm", input, p) for p in (weight, bias))
    return _scaled(np.reshape(groups, input.shape), weight, bias)


Moments = tuple[Any, Any]


def _moments(x: Any, axis: tuple[int, ...]) -> Moments:
    """The mean and the unbiased variance of each channel over `axis`, as numbers: nothing learns by
    them. Where each example has its own, their means."""
    x, n = detached(x), math.prod(x.shape[a] for a in axis)
    mean = ops.normalization.sum_over(x, axis=axis) / n
    d = x - mean
    variance = ops.normalization.sum_product(d, d, axis=axis) / (n - 1)
    mean, variance = np.squeeze(mean, axis), np.squeeze(variance, axis)
    return (mean, variance) if 0 in axis else (np.mean(mean, axis=0), np.mean(variance, axis=0))


def _averaged(running: Moments, new: Moments, momentum: Any) -> Moments:
    """Running statistics, after one more batch."""
    mean, variance = ((1 - momentum) * r + momentum * x for r, x in zip(running, new))
    return mean, variance


def _written(running: Moments, momentum: float, new: Moments) -> None:
    """Running statistics that a function is given are written into, as in PyTorch."""
    for old, x in zip(running, _averaged(running, new, momentum)):
        in_place(data_of(old))[...] = data_of(x)


def _by_channels(
    name: str,
    x: Any,
    axis: tuple[int, ...],
    running: Moments,
    weight: Any,
    bias: Any,
    eps: float,
    own: bool,
    follow: Callable[[Moments], None],
) -> Any:
    """Channels normalised by statistics of their `own` over `axis`, which running ones `follow`, or
    by the running ones."""
    weight, bias = (_of_channels(name, x, p) for p in (weight, bias))
    if not own:
        if any(p is None for p in running):
            raise ValueError(f"{name}: there are no running mean and variance to normalise by")
        mean, variance = (_of_channels(name, x, p) for p in running)
        return _scaled(x - mean, (1 if weight is None else weight) / np.sqrt(variance + eps), bias)
    if math.prod(x.shape[a] for a in axis) < 2:
        raise ValueError(
            f"{name}: an input of shape {x.shape} has no two values to take a variance of"
        )
    out = _standardized(x, weight, bias, axis, eps)
    if running[0] is not None:  # after what may raise
        follow(_moments(x, axis))
    return out


@_in_float32
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel normalised to mean 0 and variance 1: Ioffe and Szegedy (2015), algorithm 1.

    `input`: (n, channels, ...); all else: (channels). While `training`, by the mean and variance of
    the input, which also move those that are running, in place: running += momentum (new -
    running), of the unbiased variance. Otherwise by the running ones. ValueError for other shapes,
    and in training for a single value in a channel.

    >>> batch_norm(np.array([[1.0], [3.0]]), None, None, training=True).round(3).ravel()
    array([-1.,  1.])
    """
    axis, running = (0, *range(2, input.ndim)), (running_mean, running_var)
    follow = partial(_written, running, momentum)
    return _by_channels("batch_norm", input, axis, running, weight, bias, eps, training, follow)


@_in_float32
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel of each example normalised to mean 0 and variance 1: Ulyanov et al. (2016).

    `input`: (n, channels, ...), all else (channels). Running statistics as of `batch_norm`, means
    over the examples; they are used without `use_input_stats`. ValueError for other shapes, and for
    a single value in a channel.

    >>> instance_norm(np.array([[[1.0, 3.0]]])).round(3)
    array([[[-1.,  1.]]])
    """
    axis, running = tuple(range(2, input.ndim)), (running_mean, running_var)
    settings = weight, bias, eps, use_input_stats, partial(_written, running, momentum)
    return _by_channels("instance_norm", input, axis, running, *settings)


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """x / (k + alpha · mean of x² over `size` channels around its own)^beta.

    Krizhevsky et al. (2012), 3.3, with a mean in place of the sum, as in PyTorch. `input`: (n,
    channels, ..., width). Channels beyond the first and last count as 0. ValueError for an input of
    fewer than three axes.

    >>> local_response_norm(np.ones((1, 1, 1)), 2, alpha=6.0, beta=1.0).item()
    0.25
    """
    if input.ndim < 3 or size < 1:
        raise ValueError(
            f"local_response_norm(size={size}): size is 1 or more, and the input has the shape "
            f"(n, channels, ..., width), not {input.shape}"
        )
    channels = input.shape[1]
    around = [(0, 0), (size // 2, (size - 1) // 2)] + [(0, 0)] * (input.ndim - 2)
    squares = np.pad(input * input, around)
    total = sum(squares[:, i : i + channels] for i in range(size))
    return input / (k + alpha / size * total) ** beta


# Modules.


class LayerNorm(Module):
    """`layer_norm` over the last axes, of sizes `normalized_shape`, with a weight and a bias.

    >>> LayerNorm(4)(np.zeros((2, 3, 4))).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        normalized_shape: LastSizes,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        dtype = learning(dtype)
        self.normalized_shape, self.eps = _as_sizes(normalized_shape), eps
        self.elementwise_affine, sizes = elementwise_affine, self.normalized_shape
        self.weight = Value(full(1, sizes, dtype)) if elementwise_affine else None
        self.bias = Value(full(0, sizes, dtype)) if elementwise_affine and bias else None

    def forward(self, input: Any) -> Any:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """`rms_norm` over the last axes, of sizes `normalized_shape`, with a weight.

    >>> RMSNorm(4)(np.zeros((2, 3, 4))).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        normalized_shape: LastSizes,
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.normalized_shape, self.eps = _as_sizes(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        ones = full(1, self.normalized_shape, learning(dtype))
        self.weight = Value(ones) if elementwise_affine else None

    def forward(self, input: Any) -> Any:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """`group_norm`, with a weight and a bias for each channel.

    >>> GroupNorm(2, 6)(np.zeros((3, 6, 4))).shape
    (3, 6, 4)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels are not {num_groups} groups")
        dtype = learning(dtype)
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self.weight = Value(full(1, num_channels, dtype)) if affine else None
        self.bias = Value(full(0, num_channels, dtype)) if affine and bias else None

    def forward(self, input: Any) -> Any:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class LocalResponseNorm(Module):
    """`local_response_norm`, over `size` channels."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class _Running(Module):
    """What normalises channels, and remembers a running mean and variance of them."""

    axes: tuple[int, ...] = ()  # that inputs may have, with that of the batch

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        dtype = learning(dtype)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Value(full(1, num_features, dtype)) if affine else None
        self.bias = Value(full(0, num_features, dtype)) if affine and bias else None
        if track_running_stats:
            self.running_mean = full(0, num_features, dtype)
            self.running_var = full(1, num_features, dtype)
            self.num_batches_tracked = np.array(0)

    def forward(self, input: Any) -> Any:
        name = type(self).__name__
        if input.ndim not in self.axes or input.shape[1] != self.num_features:
            axes = " or ".join(map(str, self.axes))
            raise ValueError(
                f"{name}: an input of {axes} axes, (n, {self.num_features}, ...), not of shape "
                f"{input.shape}"
            )
        return _in_float32(self.normalized)(input)

    def normalized(self, x: Any) -> Any:
        kept = self.track_running_stats
        running = (self.running_mean, self.running_var) if kept else (None, None)
        settings = self.weight, self.bias, self.eps, self.training or not kept, self.follow
        return _by_channels(type(self).__name__, x, self.over(x), running, *settings)

    def reset_running_stats(self) -> None:
        """Forget all batches."""
        if self.track_running_stats:
            self.running_mean = np.zeros_like(self.running_mean)
            self.running_var = np.ones_like(self.running_var)
            self.num_batches_tracked = np.array(0)

    def over(self, x: Any) -> tuple[int, ...]:
        """The axes that statistics go over."""
        raise NotImplementedError

    def follow(self, new: Moments) -> None:
        """Remember the statistics of one more batch."""
        n = self.num_batches_tracked + 1
        momentum = 1 / n if self.momentum is None else self.momentum
        mean, variance = _averaged((self.running_mean, self.running_var), new, momentum)
        self.remember(running_mean=mean, running_var=variance, num_batches_tracked=n)


adders: ContextVar[Callable[[Any], Any] | None] = ContextVar("adders", default=None)
"""Adds an array up over all parts of a batch, where batch norms are to have the whole's statistics:
with gradients, and the count too."""


class _BatchNorm(_Running):
    def over(self, x: Any) -> tuple[int, ...]:
        return (0, *range(2, x.ndim))

    def normalized(self, x: Any) -> Any:
        add = adders.get()
        if add is None or not (self.training or not self.track_running_stats):
            return super().normalized(x)
        axis = self.over(x)
        n = add(np.array([math.prod(x.shape[a] for a in axis)], x.dtype)).item()
        if n < 2:
            raise ValueError(f"{type(self).__name__}: a batch without two values to a channel")
        mean = add(ops.normalization.sum_over(x, axis=axis)) / n
        d = x - mean
        variance = add(ops.normalization.sum_product(d, d, axis=axis)) / n
        if self.track_running_stats:
            unbiased = detached(variance) * (n / (n - 1))
            self.follow((np.squeeze(detached(mean), axis), np.squeeze(unbiased, axis)))
        weight, bias = (_of_channels("batch_norm", x, p) for p in (self.weight, self.bias))
        return _scaled(d / np.sqrt(variance + self.eps), weight, bias)


class BatchNorm1d(_BatchNorm):
    """`batch_norm` of (n, num_features) or (n, num_features, length).

    In training by statistics of the batch, otherwise by the running ones, which are buffers.
    `momentum`: how far these move with each batch; None for the mean of all batches.

    >>> layer = BatchNorm1d(2)
    >>> layer(np.array([[1.0, 10.0], [3.0, 30.0]])).data.round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> layer.running_mean
    array([0.2, 2. ], dtype=float32)
    """

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`batch_norm` of images (n, num_features, height, width); as `BatchNorm1d`."""

    axes = (4,)


class BatchNorm3d(_BatchNorm):
    """`batch_norm` of volumes (n, num_features, depth, height, width); as `BatchNorm1d`."""

    axes = (5,)


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, dtype=dtype
        )

    def forward(self, input: Any) -> Any:
        if input.ndim + 1 in self.axes:  # one example
            return super().forward(input[None])[0]
        return super().forward(input)

    def over(self, x: Any) -> tuple[int, ...]:
        return tuple(range(2, x.ndim))


class InstanceNorm1d(_InstanceNorm):
    """`instance_norm` of (n, num_features, length), or of one example (num_features, length).

    By default without parameters and running statistics.

    >>> InstanceNorm1d(1)(np.array([[[1.0, 3.0]], [[5.0, 9.0]]])).round(3).ravel()
    array([-1.,  1., -1.,  1.])
    """

    axes = (3,)


class InstanceNorm2d(_InstanceNorm):
    """`instance_norm` of images (n, num_features, height, width), or of one."""

    axes = (4,)


class InstanceNorm3d(_InstanceNorm):
    """`instance_norm` of volumes (n, num_features, depth, height, width), or of one."""

    axes = (5,)

"""Convolutions and transposed convolutions, over one, two and three axes.

x is (N, C, ...) or, for one image, (C, ...), as in PyTorch; the result lies in memory in another
order, which the layers behind it keep: see `ops/nn/conv.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array
from tensorgrad.nn.module import Module, dimensions, learning
from tensorgrad.nn.shape import PADDINGS, pad
from tensorgrad.ops import nn as ops
from tensorgrad.ops.nn.sizes import Size, images, many
from tensorgrad.random import generator
from tensorgrad.value import Value


def _paddings(
    n: int, padding: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """How many entries to add before and after along each axis."""
    if padding == "valid":
        return [(0, 0)] * n
    if padding == "same":
        if any(s > 1 for s in stride):
            raise ValueError(
                f"padding='same' with stride {tuple(stride)}: the result of a stride is smaller "
                "than its input; give the padding in numbers"
            )
        around = [d * (k - 1) for d, k in zip(dilation, kernel)]
        return [(m // 2, m - m // 2) for m in around]
    if isinstance(padding, str):
        raise ValueError(f"padding={padding!r}; there are 'same', 'valid' and numbers")
    return [(p, p) for p in many(n, padding, "padding", 0)]


def _given(n: int, x: Any, weight: Any, name: str) -> tuple[Any, Any]:
    """x as images in a batch, and the weight; ValueError where axes are missing or too many."""
    x, weight = images(n, x, name), as_array(weight)
    if weight.ndim != n + 2:
        raise ValueError(f"{name}{n}d: a weight of shape {weight.shape} has not {n + 2} axes")
    return x if x.ndim == n + 2 else x[None], weight


def _settings(stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    """The params of a call, those that are not usual, and as one number where all axes are alike:
    so a formula shows what is special."""
    usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    around = {part for pair in padding for part in pair}
    given = {
        "stride": stride[0] if len({*stride}) == 1 else stride,
        "padding": around.pop() if len(around) == 1 else padding,
        "dilation": dilation[0] if len({*dilation}) == 1 else dilation,
        "groups": groups,
    }
    return {name: x for name, x in given.items() if x != usual[name]}


def _conv(
    n: int,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Σ w_clm x_c,j+l,k+m + b at each place j, k: Nielsen ch. 6, eq. 125 for several channels.

    The input x is (N, C, H, W) or (C, H, W), the weight (O, C / groups, kH, kW), the bias (O);
    with one axis, L, or three, D, H, W, in place of H and W for `conv1d` and `conv3d`. Numbers are
    one for all axes, or one for each. `stride`: how far apart the places are. `padding`: how many
    zeros around x, or 'same', which keeps its size, or 'valid', none. `dilation`: how far apart the
    entries of x are that a kernel meets. In each of `groups` a part of the outputs sees a part of
    the channels. ValueError where channels do not fit, or a kernel does not fit into x.

    >>> x, difference = np.array([[1.0, 4.0, 9.0, 16.0]]), np.array([[[-1.0, 1.0]]])
    >>> conv1d(x, difference)
    array([[3., 5., 7.]])
    """
    x, weight = _given(n, input, weight, "conv")
    kernel, (groups,) = weight.shape[2:], many(1, groups, "groups")
    stride, dilation = many(n, stride, "stride"), many(n, dilation, "dilation")
    exact = []
    around = _paddings(n, padding, kernel, stride, dilation)
    for (low, high), size, k, s, d in zip(around, x.shape[2:], kernel, stride, dilation):
        room = size + low + high - d * (k - 1) - 1  # the kernel moves over it, in steps of s
        exact.append((low, high - max(room, 0) % s))
    params = _settings(stride, tuple(exact), dilation, groups)
    if bias is None:
        out = ops.conv.conv(x, weight, **params)
    else:
        out = ops.conv.conv_bias(x, weight, bias, **params)
    return out if np.ndim(input) == n + 2 else out[0]


def _conv_transpose(
    n: int,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The transposed map of a convolution: what its gradient by its input does.

    input (N, C, H, W) or (C, H, W), weight (C, O / groups, kH, kW), bias (O); with one axis or
    three in place of H and W for `conv_transpose1d` and `conv_transpose3d`. Each axis has
    (H - 1) stride - 2 padding + dilation (kH - 1) + 1 + output_padding entries in the result.
    ValueError where channels do not fit, or for an output_padding that is not smaller than stride
    or dilation.

    >>> conv_transpose1d(np.array([[1.0, 2.0]]), np.array([[[1.0, 1.0, 1.0]]]), stride=2)
    array([[1., 1., 3., 2., 2.]])
    """
    x, weight = _given(n, input, weight, "conv_transpose")
    (groups,) = many(1, groups, "groups")
    stride, dilation = many(n, stride, "stride"), many(n, dilation, "dilation")
    more = many(n, output_padding, "output_padding", 0)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation)):
        raise ValueError(
            f"output_padding={more}: it is smaller than the stride {stride} or dilation {dilation}"
        )
    around = tuple((p, p - m) for p, m in zip(many(n, padding, "padding", 0), more))
    params = _settings(stride, around, dilation, groups)
    out = ops.conv.conv_transpose(x, weight, **params)
    if bias is not None:
        out = out + np.reshape(bias, (-1,) + (1,) * n)
    return out if np.ndim(input) == n + 2 else out[0]


conv1d, conv2d, conv3d = dimensions(_conv)
conv_transpose1d, conv_transpose2d, conv_transpose3d = dimensions(_conv_transpose)


class _Conv(Module):
    """What the layers share: a weight and a bias from U(-1/√n, 1/√n), as PyTorch's are, where each
    of the entries of a kernel is one of the n numbers that a neuron sees."""

    axes = 0
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        name, n = f"{type(self).__name__}({in_channels}, {out_channels})", self.axes
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"{name}: both numbers of channels must be positive")
        (groups,), kernel = many(1, groups, "groups"), many(n, kernel_size, "kernel_size")
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: {groups} groups do not divide both numbers of channels")
        modes = ("zeros", *PADDINGS[1:])
        if padding_mode not in modes:
            raise ValueError(f"padding_mode={padding_mode!r}; there are {', '.join(modes)}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.dilation = many(n, stride, "stride"), many(n, dilation, "dilation")
        self.padding, self.groups, self.padding_mode = padding, groups, padding_mode
        _paddings(n, padding, kernel, self.stride, self.dilation)  # the ValueError
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        sides = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (sides[0], sides[1] // groups, *kernel)
        dtype, draw = learning(dtype), generator(rng).uniform
        limit = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = Value(draw(-limit, limit, shape).astype(dtype))
        self.bias = Value(draw(-limit, limit, out_channels).astype(dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        padding = self.padding
        if self.padding_mode != "zeros":
            given = padding, self.weight.shape[2:], self.stride, self.dilation
            around, padding = _paddings(self.axes, *given), 0
            x = pad(x, [m for pair in reversed(around) for m in pair], self.padding_mode)
        settings = self.stride, padding, self.dilation, self.groups
        return _conv(self.axes, x, self.weight, self.bias, *settings)


class Conv1d(_Conv):
    """`Conv2d` over one axis: (N, C, L) to (N, O, L'), or one image without N.

    >>> Conv1d(2, 8, 3, padding="same")(np.zeros((4, 2, 10))).shape
    (4, 8, 10)
    """

    axes = 1


class Conv2d(_Conv):
    """Kernels that slide over images: (N, C, H, W) to (N, O, H', W'), or one image without N.

    The weight is (out_channels, in_channels / groups, *kernel_size), the bias (out_channels).
    Sizes are one for both axes, or a pair. `padding`: how many entries to add around an image, or
    'same', or 'valid'; `padding_mode`: zeros, reflect, replicate or circular. See
    `nn.functional.conv2d`.

    >>> layer = Conv2d(1, 20, 5)
    >>> layer(np.zeros((10, 1, 28, 28))).shape, layer.weight.shape
    ((10, 20, 24, 24), (20, 1, 5, 5))
    """

    axes = 2


class Conv3d(_Conv):
    """`Conv2d` over three axes: (N, C, D, H, W) to (N, O, D', H', W'), or one image without N.

    >>> Conv3d(1, 2, (3, 2, 2))(np.zeros((1, 1, 4, 4, 4))).shape
    (1, 2, 2, 3, 3)
    """

    axes = 3


class _ConvTranspose(_Conv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        if padding_mode != "zeros" or isinstance(padding, str):
            raise ValueError(f"{type(self).__name__} takes padding in numbers, of zeros")
        given = stride, padding, dilation, groups, bias
        super().__init__(in_channels, out_channels, kernel_size, *given, dtype=dtype, rng=rng)
        self.output_padding = many(self.axes, output_padding, "output_padding", 0)

    def forward(self, x: Any, output_size: Sequence[int] | None = None) -> Any:
        more = self.output_padding if output_size is None else self._missing(x, output_size)
        given: Any = self.stride, self.padding, more, self.groups, self.dilation
        return _conv_transpose(self.axes, x, self.weight, self.bias, *given)

    def _missing(self, x: Any, output_size: Sequence[int]) -> list[int]:
        """The output_padding for this size, of the axes that are convolved or of all."""
        n = self.axes
        wanted, kernel = list(output_size)[-n:], self.weight.shape[2:]
        numbers = zip(x.shape[-n:], self.stride, many(n, self.padding, "padding", 0), kernel)
        least = [
            (m - 1) * s - 2 * p + d * (k - 1) + 1 for (m, s, p, k), d in zip(numbers, self.dilation)
        ]
        more = [w - m for w, m in zip(wanted, least)]
        if len(wanted) != n or not all(0 <= m < s for m, s in zip(more, self.stride)):
            most = [m + s - 1 for m, s in zip(least, self.stride)]
            raise ValueError(f"output_size={output_size!r}: between {least} and {most} is possible")
        return more


class ConvTranspose1d(_ConvTranspose):
    """`ConvTranspose2d` over one axis: (N, C, L) to (N, O, L').

    >>> ConvTranspose1d(2, 4, 3, stride=2)(np.zeros((1, 2, 5))).shape
    (1, 4, 11)
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The transposed map of a convolution: (N, C, H, W) to (N, O, H', W'), or without N.

    With a stride the result is larger than x. The weight is (in_channels, out_channels / groups,
    *kernel_size). Several sizes of a result belong to one of x where there is a stride:
    `output_padding` adds to the smallest, `layer(x, output_size)` names it. See
    `nn.functional.conv_transpose2d`.

    >>> layer = ConvTranspose2d(16, 8, 3, stride=2, padding=1)
    >>> x = np.zeros((1, 16, 6, 6))
    >>> layer(x).shape, layer(x, output_size=(12, 12)).shape
    ((1, 8, 11, 11), (1, 8, 12, 12))
    """

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """`ConvTranspose2d` over three axes: (N, C, D, H, W) to (N, O, D', H', W').

    >>> ConvTranspose3d(2, 1, 2)(np.zeros((1, 2, 2, 2, 2))).shape
    (1, 1, 3, 3, 3)
    """

    axes = 3

"""Dropout: what a training step leaves out is drawn anew each time.

`rng`: a NumPy generator, or a seed for one; None is the program's, which `tg.manual_seed` seeds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.engine.node import detached
from tensorgrad.nn.module import Module
from tensorgrad.ops import nn as ops
from tensorgrad.ops.nn.dropout import probability
from tensorgrad.ops.nn.sizes import images
from tensorgrad.random import generator


def _kept(x: Any, p: float, rng: Any, whole: int | None = None) -> Any:
    """Which entries stay; `whole`: the number of axes, beyond which parts stay or go as one."""
    return ops.dropout.bernoulli(detached(x), p=p, rng=generator(rng), whole=whole)


def _dropped(name: str, x: Any, p: float, training: bool, rng: Any, whole: int | None) -> Any:
    """`x` with what is not kept 0; as it is without training."""
    if probability(name, p) == 0 or not training:
        return x
    return ops.dropout.dropout(x, _kept(x, p, rng, whole), p=p)


def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> Any:
    """Each entry 0 with probability p, and else divided by 1 - p; without `training` as it is.

    ValueError for p outside of 0..1.

    >>> dropout(np.ones(5), 0.5, rng=0)
    array([2., 2., 2., 0., 0.])
    """
    return _dropped("dropout", input, p, training, rng, None)


def _channels_dropped(x: Any, n: int, p: float, training: bool, rng: Any) -> Any:
    """Whole channels of an input with `n` axes after them dropped; without its first, of one."""
    x = images(n, x, "dropout")
    return _dropped(f"dropout{n}d", x, p, training, rng, x.ndim - n)


def dropout1d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> Any:
    """Dropout of whole channels of (n, channels, length), or of one example (channels, length).

    >>> dropout1d(np.ones((1, 3, 2)), 0.5, rng=2)
    array([[[2., 2.],
            [0., 0.],
            [0., 0.]]])
    """
    return _channels_dropped(input, 1, p, training, rng)


def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> Any:
    """Dropout of whole channels of (n, channels, height, width): Tompson et al. (2015).

    As in PyTorch an input of three axes is (n, channels, length).
    """
    if input.ndim == 3:
        return _dropped("dropout2d", input, p, training, rng, 2)
    return _channels_dropped(input, 2, p, training, rng)


def dropout3d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> Any:
    """Dropout of whole channels of (n, channels, depth, height, width), or of one example."""
    return _channels_dropped(input, 3, p, training, rng)


LOWEST = -1.7580993408473766  # selu(-∞): -λα of Klambauer et al. (2017)


def _alpha_dropped(name: str, x: Any, p: float, training: bool, rng: Any, whole: Any) -> Any:
    """Mean 0 and variance 1 stay: Klambauer et al. (2017), section 3."""
    if probability(name, p) == 0 or not training:
        return x
    if p == 1:
        return ops.dropout.dropout(x, _kept(x, p, rng, whole), p=p)
    a = 1 / math.sqrt((1 - p) * (1 + p * LOWEST**2))
    return a * np.where(_kept(x, p, rng, whole), x, LOWEST) - a * p * LOWEST


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, *, rng: Any = None
) -> Any:
    """Dropout for SELU: what is left out is SELU's lowest value, and mean and variance stay.

    Klambauer et al., "Self-normalizing neural networks" (2017), section 3. As in PyTorch, not in
    training by default.
    """
    return _alpha_dropped("alpha_dropout", input, p, training, rng, None)


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, *, rng: Any = None
) -> Any:
    """`alpha_dropout` of whole channels of (n, channels, ...)."""
    if input.ndim < 2:
        raise ValueError(f"feature_alpha_dropout: (n, channels, ...), not shape {input.shape}")
    return _alpha_dropped("feature_alpha_dropout", input, p, training, rng, 2)


class _Dropout(Module):
    """What is left out while it trains."""

    function: Any

    def __init__(self, p: float = 0.5, inplace: bool = False, *, rng: Any = None) -> None:
        self.p = probability(type(self).__name__, p)
        self.rng = None if rng is None else generator(rng)

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.p, self.training, rng=self.rng)


class Dropout(_Dropout):
    """`dropout` in training: each entry 0 with probability p, and else divided by 1 - p.

    >>> layer = Dropout(0.5, rng=0)
    >>> layer(np.ones(5)), layer.eval()(np.ones(5))
    (array([2., 2., 2., 0., 0.]), array([1., 1., 1., 1., 1.]))
    """

    function = staticmethod(dropout)


class Dropout1d(_Dropout):
    """`dropout1d` in training: whole channels of (n, channels, length)."""

    function = staticmethod(dropout1d)


class Dropout2d(_Dropout):
    """`dropout2d` in training: whole channels of (n, channels, height, width)."""

    function = staticmethod(dropout2d)


class Dropout3d(_Dropout):
    """`dropout3d` in training: whole channels of (n, channels, depth, height, width)."""

    function = staticmethod(dropout3d)


class AlphaDropout(_Dropout):
    """`alpha_dropout` in training, after SELU."""

    function = staticmethod(alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`feature_alpha_dropout` in training, after SELU."""

    function = staticmethod(feature_alpha_dropout)

"""Transformers, from Vaswani et al., Attention is all you need (2017), as PyTorch has them.

`src` (S, N, E), `tgt` (T, N, E), or the examples first with `batch_first=True`, or without N.
Masks are those of `MultiheadAttention`: True is left out, floats are added to the scores.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.nn import activation as activations
from tensorgrad.nn.attention import MultiheadAttention
from tensorgrad.nn.dropout import Dropout
from tensorgrad.nn.init import taking
from tensorgrad.nn.linear import Linear
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import LayerNorm
from tensorgrad.random import generator

Activation = str | Callable[[Any], Any]


def _activation(name: Activation) -> Activation:
    """The same; ValueError for a name that is none."""
    if callable(name) or name in ("relu", "gelu"):
        return name
    raise ValueError(f"activation={name!r}; there are 'relu' and 'gelu', or pass a function")


def _activated(x: Any, activation: Activation) -> Any:
    return activation(x) if callable(activation) else getattr(activations, activation)(x)


def _copies(layer: Module, n: int) -> list[Module]:
    """ValueError for none, and for more than anybody has trained (Wang et al., DeepNet, 2022)."""
    if not 1 <= n <= 1000:
        raise ValueError(f"num_layers={n}: 1 to 1000 layers")
    arrays = (*layer.named_parameters(), *layer.named_buffers())
    taking.get()(n * sum([1 for _ in layer.named_modules()] + [x.size for _, x in arrays]))
    shared: dict[int, Any] = {}  # or all would drop the same, and copy what they were made of
    for _, part in layer.named_modules():
        for x in (getattr(part, "rng", None), part._made_with):
            shared[id(x)] = x
    return [copy.deepcopy(layer, dict(shared)) for _ in range(n)]


class _Layer(Module):
    """What the layers share: attention to themselves, in a decoder to others too, and two linear
    maps with an activation between."""

    others = False

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        rng = None if rng is None else generator(rng)
        made: dict[str, Any] = {"bias": bias, "dtype": dtype}
        attention = {"dropout": dropout, "batch_first": batch_first, "rng": rng, **made}
        self.self_attn = MultiheadAttention(d_model, nhead, **attention)
        if self.others:
            self.multihead_attn = MultiheadAttention(d_model, nhead, **attention)
        self.linear1 = Linear(d_model, dim_feedforward, rng=rng, **made)
        self.dropout = Dropout(dropout, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, rng=rng, **made)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, **made)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, **made)
        self.dropout1, self.dropout2 = Dropout(dropout, rng=rng), Dropout(dropout, rng=rng)
        if self.others:
            self.norm3 = LayerNorm(d_model, layer_norm_eps, **made)
            self.dropout3 = Dropout(dropout, rng=rng)
        self.activation, self.norm_first = _activation(activation), norm_first

    def _attend(self, x: Any, mask: Any, padding: Any, is_causal: bool) -> Any:
        x, _ = self.self_attn(x, x, x, padding, False, mask, is_causal=is_causal)
        return self.dropout1(x)

    def _feed(self, x: Any) -> Any:
        return self.linear2(self.dropout(_activated(self.linear1(x), self.activation)))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear maps with an `activation` between, each around x and a norm.

    x ← norm(x + f(x)) for both, or with `norm_first` x ← x + f(norm(x)). `activation`: "relu",
    "gelu" or a function. `rng`: a NumPy generator or a seed, also for dropout.

    >>> layer = TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.zeros((3, 5, 8), np.float32)).shape
    (3, 5, 8)
    """

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        x, masks = src, (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._attend(self.norm1(x), *masks)
            return x + self.dropout2(self._feed(self.norm2(x)))
        x = self.norm1(x + self._attend(x, *masks))
        return self.norm2(x + self.dropout2(self._feed(x)))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to `memory`, and two linear maps, each around x and a norm.

    As `TransformerEncoderLayer`; `forward(tgt, memory)`, with masks of each.

    >>> layer = TransformerDecoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.zeros((3, 5, 8), np.float32), np.zeros((3, 4, 8), np.float32)).shape
    (3, 5, 8)
    """

    others = True

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        others = memory_mask, memory_key_padding_mask, memory_is_causal
        x = tgt
        if self.norm_first:
            x = x + self._attend(self.norm1(x), *own)
            x = x + self._look(self.norm2(x), memory, *others)
            return x + self.dropout3(self._feed(self.norm3(x)))
        x = self.norm1(x + self._attend(x, *own))
        x = self.norm2(x + self._look(x, memory, *others))
        return self.norm3(x + self.dropout3(self._feed(x)))

    def _look(self, x: Any, memory: Any, mask: Any, padding: Any, is_causal: bool) -> Any:
        x, _ = self.multihead_attn(x, memory, memory, padding, False, mask, is_causal=is_causal)
        return self.dropout2(x)


class TransformerEncoder(Module):
    """`num_layers` copies of a layer, one after the other, and a `norm` at the end if there is one.

    They begin with the same numbers, as in PyTorch.
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Any:
        x = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, bool(is_causal))
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """`num_layers` copies of a layer, one after the other, and a `norm` at the end if there is one.

    They begin with the same numbers, as in PyTorch.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask,
                memory_mask,
                tgt_key_padding_mask,
                memory_key_padding_mask,
                bool(tgt_is_causal),
                memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of `src`, and a decoder of `tgt` that looks at what it made: the shape of `tgt`.

    ValueError where their features are not `d_model` or their numbers of examples differ. `rng`: a
    NumPy generator or a seed, also for dropout.

    >>> model = Transformer(8, 2, 1, 1, dim_feedforward=16, batch_first=True)
    >>> src, tgt = np.zeros((3, 5, 8), np.float32), np.zeros((3, 4, 8), np.float32)
    >>> model(src, tgt, tgt_is_causal=True).shape
    (3, 4, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        rng = None if rng is None else generator(rng)
        made: dict[str, Any] = {"bias": bias, "dtype": dtype}
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        settings = {"batch_first": batch_first, "norm_first": norm_first, "rng": rng, **made}
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*layer, **settings),
            num_encoder_layers,
            LayerNorm(d_model, layer_norm_eps, **made),
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*layer, **settings),
            num_decoder_layers,
            LayerNorm(d_model, layer_norm_eps, **made),
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        draw = generator(rng)
        for p in self.parameters():
            if p.ndim > 1:  # xavier
                limit = math.sqrt(6 / sum(p.shape))
                p.data = draw.uniform(-limit, limit, p.shape).astype(p.dtype)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        if self.d_model not in (src.shape[-1], tgt.shape[-1]) or src.shape[-1] != tgt.shape[-1]:
            raise ValueError(
                f"src of shape {src.shape} and tgt of shape {tgt.shape}: both have "
                f"d_model={self.d_model} features, the last axis"
            )
        axis = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[axis] != tgt.shape[axis]):
            raise ValueError(
                f"src of shape {src.shape} and tgt of shape {tgt.shape}: with "
                f"batch_first={self.batch_first} axis {axis} counts the examples, of both alike"
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            tgt_is_causal,
            memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: npt.DTypeLike = np.float32) -> Any:
        """(sz, sz): 0 where a query may look, at its own place and before, and -∞ after.

        >>> Transformer.generate_square_subsequent_mask(2)
        array([[  0., -inf],
               [  0.,   0.]], dtype=float32)
        """
        return np.where(np.tri(sz, dtype=bool), 0.0, -np.inf).astype(dtype)

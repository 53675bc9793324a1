"""Recurrent networks: RNN, LSTM and GRU of any number of layers, and their cells.

A layer's way through all times is one node (`ops/nn/recurrent.py`), its product with the inputs of
all times another. The variants of the LSTM are composed, step by step.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array, created
from tensorgrad.nn.activation import sigmoid
from tensorgrad.nn.dropout import dropout as dropped
from tensorgrad.nn.linear import linear
from tensorgrad.nn.module import Module, learning
from tensorgrad.nn.utils.rnn import PackedSequence, lengths_of
from tensorgrad.ops.nn import recurrent as ops
from tensorgrad.ops.nn.dropout import probability
from tensorgrad.random import generator
from tensorgrad.value import Value

States = tuple[Any, ...]
BatchSizes = tuple[int, ...]
ParameterShapes = dict[str, tuple[int, ...]]


class _Recurrent(Module):
    """What layers and cells share: parameters, and `through`, the way through time.

    `gates`: how many rows of a weight there are for each hidden feature; `states`: 2 with c.
    """

    gates = states = 1
    proj_size = 0
    input_size: int
    hidden_size: int
    bias: bool

    def set_sizes(self, input_size: int, hidden_size: int, bias: bool) -> None:
        if input_size < 1 or hidden_size < 1:
            name = type(self).__name__
            raise ValueError(f"{name}({input_size}, {hidden_size}): both sizes must be positive")
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias

    def shapes(self, input_size: int) -> ParameterShapes:
        """Those of the parameters of a layer."""
        rows = self.gates * self.hidden_size
        weights = {"weight_ih": (rows, input_size), "weight_hh": (rows, self.features[0])}
        return weights | ({"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else {})

    def draw(
        self, shapes: ParameterShapes, suffix: str, rng: np.random.Generator, dtype: Any
    ) -> None:
        """Parameters from U(-1/√hidden_size, 1/√hidden_size)."""
        limit = 1 / math.sqrt(self.hidden_size)
        for name, shape in shapes.items():
            drawn = rng.uniform(-limit, limit, shape).astype(learning(dtype))
            setattr(self, name + suffix, Value(drawn))

    @property
    def features(self) -> tuple[int, ...]:
        """Of each state."""
        return (self.proj_size or self.hidden_size, self.hidden_size)[: self.states]

    def through(self, x: Any, before: States, sizes: BatchSizes, suffix: str = "") -> States:
        """The states (rows, features) after every step, from inputs (times, n, input_size)."""
        raise NotImplementedError

    def given(self, x: Any, suffix: str, *biases: str) -> Any:
        """What the inputs of all times add to the gates, (rows, gates)."""
        bias = sum(self.part(name, suffix) for name in biases) if self.bias else None
        a = linear(x, self.part("weight_ih", suffix), bias)  # three axes: its rows are contiguous
        return np.reshape(a, (-1, a.shape[-1]))

    def part(self, name: str, suffix: str) -> Any:
        return getattr(self, name + suffix)

    def first(self, hx: Any, shapes: Sequence[tuple[int, ...]], x: Any) -> States:
        """The states before the first step: those given, of these shapes, or 0."""
        if hx is None:
            dtype = next(iter(self.parameters())).dtype
            return tuple(created(np.zeros, shape, dtype=dtype, like=x) for shape in shapes)
        states = tuple(map(as_array, hx if self.states > 1 else (hx,)))
        found = [s.shape for s in states]
        if found != list(shapes):
            wanted, got = (" and ".join(map(str, each)) for each in (shapes, found))
            raise ValueError(f"{type(self).__name__}: hx has shape {got}, expected {wanted}")
        return states

    def refuse(self, x: Any, expected: str) -> ValueError:
        name, shape = type(self).__name__, np.shape(x)
        return ValueError(f"{name} takes an input {expected}, not one of shape {shape}")


class _RNN(_Recurrent):
    nonlinearity: str

    def set_nonlinearity(self, nonlinearity: str) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity={nonlinearity!r}: there are 'tanh' and 'relu'")
        self.nonlinearity = nonlinearity

    def through(self, x: Any, before: States, sizes: BatchSizes, suffix: str = "") -> States:
        op = ops.rnn_tanh if self.nonlinearity == "tanh" else ops.rnn_relu
        a = self.given(x, suffix, "bias_ih", "bias_hh")
        return (op(a, *before, self.part("weight_hh", suffix), sizes=sizes)[0],)


class _GRU(_Recurrent):
    gates = 3

    def through(self, x: Any, before: States, sizes: BatchSizes, suffix: str = "") -> States:
        a = self.given(x, suffix, "bias_ih")
        if self.bias:
            bias = self.part("bias_hh", suffix)[None]
        else:
            bias = created(np.zeros, (1, a.shape[-1]), dtype=a.dtype, like=a)
        return (ops.gru(a, *before, self.part("weight_hh", suffix), bias, sizes=sizes)[4],)


class _LSTM(_Recurrent):
    gates, states = 4, 2
    peephole = coupled = False

    def set_variant(self, peephole: bool, coupled: bool, proj_size: int = 0) -> None:
        self.peephole, self.coupled, self.proj_size = peephole, coupled, proj_size
        self.gates = 3 if coupled else 4

    def shapes(self, input_size: int) -> ParameterShapes:
        n, found = self.hidden_size, super().shapes(input_size)
        if self.proj_size:
            found["weight_hr"] = (self.proj_size, n)
        if self.peephole:
            found["weight_ch"] = ((self.gates - 1) * n, n)
        return found

    def through(self, x: Any, before: States, sizes: BatchSizes, suffix: str = "") -> States:
        a, weight = self.given(x, suffix, "bias_ih", "bias_hh"), self.part("weight_hh", suffix)
        if not (self.peephole or self.coupled or self.proj_size):
            made = ops.lstm(a, *before, weight, sizes=sizes)
            return made[4], made[5]
        hr = self.part("weight_hr", suffix) if self.proj_size else None
        ch = self.part("weight_ch", suffix) if self.peephole else None
        found = []
        for end, n in zip(accumulate(sizes), sizes):
            h, c = (state[:n] for state in before)
            before = lstm_step(a[end - n : end], h, c, weight, hr, ch, self.coupled)
            found.append(before)
        return tuple(map(np.concatenate, zip(*found)))


def lstm_step(
    a: Any, h: Any, c: Any, weight_hh: Any, weight_hr: Any, weight_ch: Any, coupled: bool
) -> States:
    """A step of an LSTM and its variants, from what the input adds to the gates: the new h and c.

    The gates are i, f, g, o; without i where they are `coupled`, i = 1 - f. `weight_hr` projects h
    (Sak et al., 2014). `weight_ch`: peepholes, by which i and f see the old c and o the new one
    (Gers and Schmidhuber, 2000, whose matrices are diagonal; Olah, 2015, draws full ones).
    """
    n = c.shape[-1]
    z = a + h @ weight_hh.T
    *gates, g, o = (z[:, k : k + n] for k in range(0, z.shape[1], n))
    if weight_ch is not None:
        gates = [z + c @ weight_ch[k * n : k * n + n].T for k, z in enumerate(gates)]
    *i, f = map(sigmoid, gates)
    c = f * c + (1 - f if coupled else i[0]) * np.tanh(g)
    if weight_ch is not None:
        o = o + c @ weight_ch[-n:].T
    h = sigmoid(o) * np.tanh(c)
    return (h if weight_hr is None else h @ weight_hr.T), c


class _Layers(_Recurrent):
    """Layers one over the other, in one direction of time or in both."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        self.set_sizes(input_size, hidden_size, bias)
        if num_layers < 1 or not 0 <= self.proj_size < hidden_size:
            raise ValueError(
                f"num_layers={num_layers} must be positive, and proj_size={self.proj_size} less "
                f"than hidden_size={hidden_size}"
            )
        if probability(type(self).__name__, dropout) and num_layers == 1:
            warnings.warn("dropout acts between layers, and there is one only", stacklevel=3)
        self.num_layers, self.batch_first, self.dropout = num_layers, batch_first, dropout
        self.bidirectional = bidirectional
        self.rng = None if rng is None else generator(rng)
        for layer in range(num_layers):
            width = self.features[0] * len(self.directions) if layer else input_size
            for direction in self.directions:
                suffix = f"_l{layer}{direction}"
                self.draw(self.shapes(width), suffix, generator(self.rng), dtype)

    @property
    def directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self.packed(input, hx)
        x = as_array(input)
        alone = x.ndim == 2
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            axes = "n, times" if self.batch_first else "times, n"
            n = self.input_size
            raise self.refuse(x, f"({axes}, {n}), or (times, {n}) of one sequence")
        x = x[:, None] if alone else np.swapaxes(x, 0, 1) if self.batch_first else x
        times, n, _ = x.shape
        if not times:
            raise self.refuse(input, "of one step at least, not sequences of length 0")
        if alone and hx is not None:
            hx = tuple(map(batch_of_one, hx)) if self.states > 1 else batch_of_one(hx)
        out, ends = self.over(x, (n,) * times, hx)
        if alone:
            return out[:, 0], self.as_given([state[:, 0] for state in ends])
        return (np.swapaxes(out, 0, 1) if self.batch_first else out), self.as_given(ends)

    def packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, sizes, order, back = input
        if data.ndim != 2 or data.shape[1] != self.input_size or not len(sizes):
            raise self.refuse(data, f"packed as (rows, {self.input_size}), of one step at least")
        if hx is not None and order is not None:
            hx = tuple(s[:, order] for s in hx) if self.states > 1 else hx[:, order]
        out, ends = self.over(data[None], tuple(map(int, sizes)), hx)
        ends = ends if back is None else [state[:, back] for state in ends]
        return PackedSequence(out[0], sizes, order, back), self.as_given(ends)

    def over(self, x: Any, sizes: BatchSizes, hx: Any) -> tuple[Any, list[Any]]:
        """h of the last layer, and the last states of all, of inputs (times, n, input_size), or of
        packed ones (1, rows, input_size)."""
        count = self.num_layers * len(self.directions)
        before = self.first(hx, [(count, sizes[0], n) for n in self.features], x)
        equal = len(x) == len(sizes)
        turn = slice(None, None, -1) if equal else (slice(None), turned(sizes))
        end = slice(-sizes[0], None) if equal else last_rows(sizes)
        ends: list[States] = []
        for layer in range(self.num_layers):
            x = dropped(x, self.dropout, bool(layer) and self.training, rng=self.rng)
            outs = []
            for direction in self.directions:
                first = tuple(state[len(ends)] for state in before)
                way = x[turn] if direction else x
                made = self.through(way, first, sizes, f"_l{layer}{direction}")
                ends.append(tuple(state[end] for state in made))
                h = np.reshape(made[0], (*x.shape[:2], self.features[0]))
                outs.append(h[turn] if direction else h)
            x = np.concatenate(outs, axis=-1) if self.bidirectional else outs[0]
        return x, [np.stack(states) for states in zip(*ends)]

    def as_given(self, states: Sequence[Any]) -> Any:
        """(h, c), or h alone."""
        return tuple(states) if self.states > 1 else states[0]


def batch_of_one(state: Any) -> Any:
    """The states of layers, of one sequence, as those of a batch."""
    return np.expand_dims(as_array(state), 1)


def turned(sizes: BatchSizes) -> npt.NDArray[np.intp]:
    """The packed rows with each sequence backwards; done twice, they are as before."""
    lengths, starts = lengths_of(sizes), np.cumsum((0, *sizes))
    rows = [starts[lengths[:n] - 1 - t] + np.arange(n) for t, n in enumerate(sizes)]
    return np.concatenate(rows)


def last_rows(sizes: BatchSizes) -> npt.NDArray[np.intp]:
    """The packed row in which each sequence ends."""
    lengths, starts = lengths_of(sizes), np.cumsum((0, *sizes))
    return np.asarray(starts[lengths - 1] + np.arange(len(lengths)))


class RNN(_RNN, _Layers):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or max(0, ...), at each time: Elman (1990).

    `input`: (times, n, input_size), or (n, times, input_size) with `batch_first`, (times,
    input_size) of one sequence, or a `PackedSequence`. `hx`: the first h, (layers, n, hidden_size),
    twice as many layers if `bidirectional`; by default 0. Returns h of the last layer at all times,
    both directions side by side, and the last h of each layer. `dropout`: between layers, drawn
    from `rng`. ValueError for shapes that do not fit and for sequences of length 0.

    >>> out, h = RNN(3, 5, num_layers=2, bidirectional=True)(np.zeros((7, 4, 3)))
    >>> out.shape, h.shape
    ((7, 4, 10), (4, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        self.set_nonlinearity(nonlinearity)
        layers = num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(input_size, hidden_size, *layers, dtype=dtype, rng=rng)


class LSTM(_LSTM, _Layers):
    """Long short-term memory: c' = f c + i g and h' = o tanh c' at each time, with the gates
    i, f, o = σ(W_ih x + b_ih + W_hh h + b_hh) and g = tanh of the same, with rows of their own.

    Hochreiter and Schmidhuber (1997), with the f of Gers, Schmidhuber and Cummins (2000). Arguments
    and results are those of `RNN`, with (h, c) in place of h. `proj_size`: h is projected to so
    many features. Variants that Olah draws (2015): `peephole`, gates see c too, by weight_ch;
    `coupled`, i = 1 - f, so that there are the rows f, g, o.

    >>> out, (h, c) = LSTM(28, 128, batch_first=True)(np.zeros((64, 28, 28)))
    >>> out.shape, h.shape, c.shape
    ((64, 28, 128), (1, 64, 128), (1, 64, 128))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        peephole: bool = False,
        coupled: bool = False,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        self.set_variant(peephole, coupled, proj_size)
        layers = num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(input_size, hidden_size, *layers, dtype=dtype, rng=rng)


class GRU(_GRU, _Layers):
    """Gated recurrent units: h' = (1 - z) n + z h at each time, with the gates r and z,
    σ(W_ih x + b_ih + W_hh h + b_hh), and n = tanh(W_ih x + b_ih + r (W_hh h + b_hh)), with rows of
    their own.

    Cho et al. (2014), with r behind the product as in PyTorch: theirs is W_hh (r h). In Olah's text
    z and 1 - z have changed places too. Arguments and results are those of `RNN`.

    >>> out, h = GRU(3, 5)(np.zeros((7, 4, 3)))
    >>> out.shape, h.shape
    ((7, 4, 5), (1, 4, 5))
    """


class Last(Module):
    """x[..., -1, :], the last time of sequences (n, times, features), of one (times, features), or
    of the `out` of (out, states) that a recurrent layer with `batch_first` returns: a Sequential
    reads them, then tells of them.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(LSTM(28, 128, batch_first=True), Last(), nn.Linear(128, 10))
    >>> model(np.zeros((64, 28, 28))).shape
    (64, 10)
    """

    def forward(self, x: Any) -> Any:
        return (x[0] if isinstance(x, tuple) else x)[..., -1, :]


class _Cell(_Recurrent):
    """One step of one layer."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        self.set_sizes(input_size, hidden_size, bias)
        self.draw(self.shapes(input_size), "", generator(rng), dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        x = as_array(input)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise self.refuse(x, f"(n, {self.input_size}), or ({self.input_size}) of one sequence")
        states = self.first(hx, [(*x.shape[:-1], n) for n in self.features], x)
        alone = x.ndim == 1
        if alone:
            x, states = x[None], tuple(state[None] for state in states)
        made = self.through(x[None], states, (len(x),))
        made = tuple(state[0] for state in made) if alone else made
        return made if self.states > 1 else made[0]


class RNNCell(_RNN, _Cell):
    """One step of an `RNN`: from input (n, input_size) and h (n, hidden_size), by default 0, the
    next h; also without n.

    >>> RNNCell(3, 5)(np.zeros((4, 3))).shape
    (4, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        self.set_nonlinearity(nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)


class LSTMCell(_LSTM, _Cell):
    """One step of an `LSTM`: from input (n, input_size) and (h, c), (n, hidden_size) each, by
    default 0, the next (h, c); also without n.

    >>> h, c = LSTMCell(3, 5, peephole=True, coupled=True)(np.zeros(3))
    >>> h.shape, c.shape
    ((5,), (5,))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        peephole: bool = False,
        coupled: bool = False,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        self.set_variant(peephole, coupled)
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)


class GRUCell(_GRU, _Cell):
    """One step of a `GRU`: from input (n, input_size) and h (n, hidden_size), by default 0, the
    next h; also without n.

    >>> GRUCell(3, 5)(np.zeros((4, 3))).shape
    (4, 5)
    """

"""Recurrent layers: each one node for all times, whose rule is backpropagation through time.

`a` is what the inputs add before the activations, a row for each sequence, time after time: of
`sizes[0]` sequences at the first time, of `sizes[1]`, no more, at the second, the longest first. So
`(n,) * t` is a batch of equal lengths, and nothing is computed for a sequence that has ended.
The result holds all that the steps made, (parts, rows, features): gates, which the rule needs, and
last the states. Its formulas are PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import created, is_numpy
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.engine.rules import Together
from tensorgrad.ops.elementwise import only
from tensorgrad.ops.nn.activation import logistic, rectified

Sizes = tuple[int, ...]
Parts = Sequence[Array]


def through_time(
    step: Callable[..., Parts], back: Callable[..., Any], made: int, states: int
) -> Any:
    """The forward of a layer, and its rule, of one step and its derivative.

    `step(a, *before, *weights)` makes the parts of a time, as many as `made`, from the states
    before. `back(gs, parts, before, *weights)`: from the cotangents of the parts those of `a`, of
    the product of h and the first weight, and of the states before.
    """

    def forward(a: Array, *operands: Array, sizes: Sizes) -> Array:
        before, weights = operands[:states], operands[states:]
        weights = np.swapaxes(weights[0], -1, -2).copy(), *weights[1:]  # 0.85 of the product's time
        lead = np.broadcast_shapes(*(x.shape[:-2] for x in (a, *operands)))
        shape = (*lead, made, a.shape[-2], operands[0].shape[-1])
        dtype = np.result_type(*(x.dtype for x in (a, *operands)))
        out = created(np.empty, shape, dtype, like=a)
        for rows in spans(sizes):
            n = rows.stop - rows.start
            parts = step(a[..., rows, :], *(x[..., :n, :] for x in before), *weights)
            for i, part in enumerate(parts):
                out[..., i, rows, :] = part
            before = tuple(parts[-states:])
        return out

    def rule(g: Array, out: Array, a: Array, *operands: Array, sizes: Sizes) -> Parts:
        weights, times = operands[states:], spans(sizes)
        by_a, by_product, hs = Rows(len(a)), Rows(len(a)), []
        before: Parts
        later: list[Array] = []
        for t, rows in reversed([*enumerate(times)]):
            if t:
                start = times[t - 1].start
                before = at(out, slice(start, start + sizes[t]))[-states:]
            else:
                before = operands[:states]
            gs = at(g, rows)
            if later:
                gs[-states:] = map(plus, gs[-states:], later)
            da, dz, *later = back(gs, at(out, rows), before, *weights)
            by_a.put(rows, da)
            if dz is not da:
                by_product.put(rows, dz)
            hs.append(before[0])
        if not times:
            return [0.0] * (1 + len(operands))
        da = by_a.joined()
        dz = by_product.joined() if by_product.parts else da
        biases = [np.sum(dz, axis=0, keepdims=True) for _ in weights[1:]]
        return [da, *later, dz.T @ np.concatenate(hs[::-1]), *biases]

    return forward, Together(rule)


class Rows:
    """The rows of all times, of which the last are found first.

    NumPy's are written where they belong: without a second copy the step of an LSTM asks the system
    for half as many pages. Others are joined at the end.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.parts: list[Array] = []

    def put(self, rows: slice, x: Array) -> None:
        if not is_numpy(x):
            self.parts.append(x)
            return
        if not self.parts:
            self.parts.append(created(np.empty, (self.n, x.shape[1]), x.dtype, like=x))
        self.parts[0][rows] = x

    def joined(self) -> Array:
        first = self.parts[0]
        return first if is_numpy(first) else np.concatenate(self.parts[::-1])


def spans(sizes: Sizes) -> list[slice]:
    """The rows of each time."""
    return [slice(end - n, end) for n, end in zip(sizes, accumulate(sizes))]


def at(x: Array, rows: slice) -> list[Array]:
    """The parts that these rows have."""
    return [x[i, rows] for i in range(len(x))]


def plus(g: Array, later: Array) -> Array:
    """`g`, with what comes from the time after, when the last sequences may have ended."""
    n = len(later)
    return g + later if n == len(g) else np.concatenate([g[:n] + later, g[n:]])


def split(z: Array, k: int) -> Parts:
    """What lies side by side, as `k` parts."""
    n = z.shape[-1] // k
    return [z[..., i * n : (i + 1) * n] for i in range(k)]


# LSTM: i, f, g, o are the gates, c and h the states. Gers, Schmidhuber and Cummins (2000).


def lstm_step(a: Array, h: Array, c: Array, weight: Array) -> Parts:
    i, f, u, o = split(a + h @ weight, 4)
    i, f, u, o = logistic(i), logistic(f), np.tanh(u), logistic(o)
    c = f * c + i * u
    return i, f, u, o, o * np.tanh(c), c


def lstm_back(gs: Parts, parts: Parts, before: Parts, weight: Array) -> Parts:
    gi, gf, gu, go, gh, gc = gs
    i, f, u, o, _, c = parts
    squashed = np.tanh(c)
    dc = gc + gh * o * (1 - squashed * squashed)
    di = (gi + dc * u) * i * (1 - i)
    df = (gf + dc * before[1]) * f * (1 - f)
    du = (gu + dc * i) * (1 - u * u)
    do = (go + gh * squashed) * o * (1 - o)
    dz = np.concatenate([di, df, du, do], axis=-1)
    return dz, dz, dz @ weight, dc * f


# GRU: r, z are the gates, q is what r lets through, n the new state. Cho et al. (2014).


def gru_step(a: Array, h: Array, weight: Array, bias: Array) -> Parts:
    (ar, az, an), (hr, hz, q) = split(a, 3), split(h @ weight + bias, 3)
    r, z = logistic(ar + hr), logistic(az + hz)
    n = np.tanh(an + r * q)
    return r, z, q, n, (1 - z) * n + z * h


def gru_back(gs: Parts, parts: Parts, before: Parts, weight: Array, bias: Array) -> Parts:
    gr, gz, gq, gn, gh = gs
    r, z, q, n, _ = parts
    dn = (gn + gh * (1 - z)) * (1 - n * n)
    dz = (gz + gh * (before[0] - n)) * z * (1 - z)
    dr = (gr + dn * q) * r * (1 - r)
    of_product = np.concatenate([dr, dz, gq + dn * r], axis=-1)
    return np.concatenate([dr, dz, dn], axis=-1), of_product, of_product @ weight + gh * z


# The plain network: h is all that it makes. Elman (1990).


def rnn_tanh_step(a: Array, h: Array, weight: Array) -> Parts:
    return (np.tanh(a + h @ weight),)


def rnn_tanh_back(gs: Parts, parts: Parts, before: Parts, weight: Array) -> Parts:
    dz = gs[0] * (1 - parts[0] * parts[0])
    return dz, dz, dz @ weight


def rnn_relu_step(a: Array, h: Array, weight: Array) -> Parts:
    return (rectified(a + h @ weight),)


def rnn_relu_back(gs: Parts, parts: Parts, before: Parts, weight: Array) -> Parts:
    dz = only(parts[0] > 0, gs[0])
    return dz, dz, dz @ weight


# What tests draw: states, and one gate's weight and input, of which those of the others are made.


def gates(k: int) -> Callable[..., tuple[Array, ...]]:
    def make(a: Array, *operands: Array) -> tuple[Array, ...]:
        *states, weight = operands
        rows, n = math.prod(a.shape[:-1]), a.shape[-1]
        factors = [1, -1, 0.5, 2][:k]
        a = np.concatenate([x * np.reshape(a, (rows, n)) for x in factors], axis=-1)
        return a, *states, np.concatenate([x * weight for x in factors])

    return make


def with_bias(a: Array, h: Array, weight: Array) -> tuple[Array, ...]:
    a, h, weight = gates(3)(a, h, weight)
    return a, h, weight, np.sum(weight, axis=1)[None]


def lengths(shape: Shape, *others: Shape) -> Iterable[Mapping[str, Any]]:
    """Sequences of equal and of different lengths."""
    times, n = math.prod(shape[:-2]), shape[-2]
    yield {"sizes": (n,) * times}
    if times > 1:
        yield {"sizes": (n,) * (times - 1) + (1,) * n}


def sum_and_relu(a: Array, h: Array, weight: Array) -> Parts:
    z = a + h @ weight
    return z, rectified(z)


def before_relu(a: Array, h: Array, weight: Array) -> Array:
    """What relu has its kink in, at all times."""
    forward, _ = through_time(sum_and_relu, rnn_relu_back, 2, 1)
    made = [forward(*gates(1)(a, h, weight), **call)[0] for call in lengths(a.shape)]
    return np.concatenate(made)


def layer(
    name: str,
    step: Callable[..., Parts],
    back: Callable[..., Any],
    notation: str,
    made: int = 1,
    states: int = 1,
    bias: bool = False,
    **domain: Any,
) -> Primitive:
    """The primitive of such a layer. Its notation: a step, and how many sequences there are."""
    forward, rules = through_time(step, back, made, states)
    before = ",(n,h)" * states
    drawn = Domain((-1.5, 1.5), f"(t,n,h){before},(h,h)", broadcast=False, params=lengths, **domain)
    whole = rf"\bigl[ {notation},\; N_t = {{sizes}} \bigr]_t"
    signature = f"(r,k){before},(k,h)" + ",(one,k)" * bias
    return primitive(forward, rules, name=name, notation=whole, signature=signature, domain=drawn)


rnn_tanh = layer(
    "rnn_tanh",
    rnn_tanh_step,
    rnn_tanh_back,
    r"h_t = \tanh({{{0}}}_t + h_{{t-1}} {2}^{{\top}}),\; h_0 = {1}",
    make=gates(1),
)
rnn_relu = layer(
    "rnn_relu",
    rnn_relu_step,
    rnn_relu_back,
    r"h_t = \max(0, {{{0}}}_t + h_{{t-1}} {2}^{{\top}}),\; h_0 = {1}",
    make=gates(1),
    kink=before_relu,
)
lstm = layer(
    "lstm",
    lstm_step,
    lstm_back,
    r"h_t = o_t \odot \tanh c_t,\; c_t = f_t \odot c_{{t-1}} + i_t \odot g_t,\; "
    r"(i, f, o)_t = \sigma(z_t),\; g_t = \tanh z_t,\; "
    r"z_t = {{{0}}}_t + h_{{t-1}} {3}^{{\top}},\; h_0 = {1},\; c_0 = {2}",
    made=6,
    states=2,
    make=gates(4),
)
gru = layer(
    "gru",
    gru_step,
    gru_back,
    r"h_t = (1 - z_t) \odot n_t + z_t \odot h_{{t-1}},\; "
    r"(r, z)_t = \sigma({{{0}}}_t + q_t),\; n_t = \tanh({{{0}}}_t + r_t \odot q_t),\; "
    r"q_t = h_{{t-1}} {2}^{{\top}} + {3},\; h_0 = {1}",
    made=5,
    bias=True,
    make=with_bias,
)

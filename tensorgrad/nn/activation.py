"""Activations. Each is one declaration: its Module and documentation follow from the function."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.node import detached
from tensorgrad.nn.init import full
from tensorgrad.nn.module import Module, learning, module_of
from tensorgrad.ops import nn as ops
from tensorgrad.random import generator
from tensorgrad.transforms.derivatives import stop_gradient
from tensorgrad.value import Value

sigmoid = ops.activation.sigmoid
tanhshrink = ops.activation.tanhshrink
softshrink = ops.activation.softshrink
hardshrink = ops.activation.hardshrink
logsigmoid = ops.activation.logsigmoid
Sigmoid = module_of("Sigmoid", sigmoid, 1, "1 / (1 + e⁻ˣ).")
Tanhshrink = module_of("Tanhshrink", tanhshrink, 1, "x - tanh x.")
Softshrink = module_of("Softshrink", softshrink, 1, "x moved towards 0 by `lambd`, 0 within.")
Hardshrink = module_of("Hardshrink", hardshrink, 1, "x where |x| > `lambd`, else 0.")
LogSigmoid = module_of("LogSigmoid", logsigmoid, 1, "ln σ(x), without underflow.")


def tanh(input: Any) -> Any:
    """The hyperbolic tangent, entry by entry."""
    return np.tanh(input)


Tanh = module_of("Tanh", tanh, 1)


def softsign(input: Any) -> Any:
    """x / (1 + |x|).

    >>> softsign(np.array([-1.0, 3.0]))
    array([-0.5 ,  0.75])
    """
    x = as_array(input)
    return x / (1 + np.abs(x)) if x.dtype.kind == "c" else ops.activation.softsign(x)


Softsign = module_of("Softsign", softsign, 1)


def relu(input: Any, inplace: bool = False) -> Any:
    """max(0, x), with gradient 0 at 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return ops.activation.relu(input)


ReLU = module_of("ReLU", relu, 1)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(0, x), 6), with gradient 0 at 0 and 6.

    >>> relu6(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """
    return ops.activation.hardtanh(input, min_val=0.0, max_val=6.0)


ReLU6 = module_of("ReLU6", relu6, 1)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x between two limits, with gradient 0 on both. ValueError where min_val > max_val.

    >>> hardtanh(np.array([-3.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} is greater than max_val={max_val}")
    return ops.activation.hardtanh(input, min_val=min_val, max_val=max_val)


Hardtanh = module_of("Hardtanh", hardtanh, 1)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """x / 6 + 1/2 between 0 and 1.

    >>> hardsigmoid(np.array([-4.0, 0.0, 1.5]))
    array([0.  , 0.5 , 0.75])
    """
    return ops.activation.hardsigmoid(input)


Hardsigmoid = module_of("Hardsigmoid", hardsigmoid, 1)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x hardsigmoid(x) (Howard et al. 2019, MobileNetV3).

    >>> hardswish(np.array([-4.0, 1.5, 4.0]))
    array([-0.   ,  1.125,  4.   ])
    """
    return ops.activation.hardswish(input)


Hardswish = module_of("Hardswish", hardswish, 1)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > `threshold`, else `value`.

    >>> threshold(np.array([0.5, 2.0]), 1.0, -9.0)
    array([-9.,  2.])
    """
    return ops.activation.threshold(input, threshold=threshold, value=value)


Threshold = module_of("Threshold", threshold, 1)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """max(0, x) + negative_slope min(0, x).

    >>> leaky_relu(np.array([-2.0, 3.0]), 0.1)
    array([-0.2,  3. ])
    """
    return ops.activation.leaky_relu(input, negative_slope)


LeakyReLU = module_of("LeakyReLU", leaky_relu, 1)


def prelu(input: Any, weight: Any) -> Any:
    """max(0, x) + weight min(0, x), of a slope that learns (He et al. 2015).

    `weight`: one number, or one for each channel, the second axis of `input`. ValueError for
    another number.

    >>> prelu(np.array([[-2.0, -2.0]]), np.array([0.1, 0.2]))
    array([[-0.2, -0.4]])
    """
    input, weight = as_array(input), as_array(weight)
    n = weight.size
    if n == 1:
        return ops.activation.leaky_relu(input, weight.reshape(()))
    if weight.ndim != 1 or input.ndim < 2 or input.shape[1] != n:
        raise ValueError(
            f"prelu: a weight of shape {weight.shape} for {input.shape}: one number, or one for "
            "each channel, the second axis"
        )
    return ops.activation.leaky_relu(input, weight.reshape(n, *(1,) * (input.ndim - 2)))


class PReLU(Module):
    """`prelu`, with `num_parameters` slopes (1, or one for each channel) that start as `init`.

    >>> PReLU(init=0.5)(np.array([-2.0, 3.0])).data
    array([-1.,  3.])
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: npt.DTypeLike = np.float32
    ) -> None:
        self.num_parameters = num_parameters
        self.weight = Value(full(init, num_parameters, learning(dtype)))

    def forward(self, input: Any) -> Any:
        return prelu(input, self.weight)


def rrelu(
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    rng: Any = None,
) -> Any:
    """A leaky ReLU whose slopes are drawn from lower..upper, for each entry (Xu et al. 2015).

    Unless `training`, as a Module is until `eval()`, their mean. `rng`: a NumPy generator, or a
    seed. ValueError for limits in the wrong order.

    >>> rrelu(np.array([-2.0, 3.0]), 0.25, 0.75)
    array([-1.,  3.])
    """
    if lower > upper:
        raise ValueError(f"rrelu: lower={lower} is greater than upper={upper}")
    slope: Any = (lower + upper) / 2
    if training:
        input = ops.activation.floats(as_array(input))
        shares = ops.dropout.uniform(detached(input), rng=generator(rng)).astype(input.dtype)
        slope = lower + (upper - lower) * shares
    return ops.activation.leaky_relu(input, slope)


RReLU = module_of("RReLU", rrelu, 1)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (eˣ - 1) (Clevert et al. 2016).

    >>> elu(np.array([-1.0, 2.0])).round(6)
    array([-0.632121,  2.      ])
    """
    return ops.activation.elu(input, alpha=alpha)


ELU = module_of("ELU", elu, 1)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (e^(x / alpha) - 1): smooth at 0 (Barron 2017).

    ValueError for alpha = 0.

    >>> celu(np.array([-1.0, 2.0]), 0.5).round(6)
    array([-0.432332,  2.      ])
    """
    if not alpha:
        raise ValueError("celu divides by alpha, which is 0")
    return ops.activation.celu(input, alpha=alpha)


CELU = module_of("CELU", celu, 1)


def selu(input: Any, inplace: bool = False) -> Any:
    """1.0507 elu(x, 1.6733): mean 0 and variance 1 go on (Klambauer et al. 2017).

    >>> selu(np.array([-1.0, 2.0])).round(6)
    array([-1.111331,  2.101402])
    """
    return ops.activation.selu(input)


SELU = module_of("SELU", selu, 1)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Φ(x), Φ the distribution function of the normal distribution (Hendrycks, Gimpel 2016).

    `approximate="tanh"`: with their approximation, ½ (1 + tanh(√(2/π) (x + 0.044715 x³))).
    ValueError for another word.

    >>> gelu(np.array([-1.0, 2.0])).round(6)
    array([-0.158655,  1.9545  ])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r}; there are 'none' and 'tanh'")
    if approximate == "tanh":
        return ops.activation.gelu_tanh(input)
    return input * ops.activation.normal_cdf(input)  # a node that keeps Φ: it takes long


GELU = module_of("GELU", gelu, 1)


def silu(input: Any, inplace: bool = False) -> Any:
    """x σ(x), also called swish.

    >>> silu(np.array([-1.0, 2.0])).round(6)
    array([-0.268941,  1.761594])
    """
    return ops.activation.silu(input)


SiLU = module_of("SiLU", silu, 1)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(ln(1 + eˣ)) (Misra 2019).

    >>> mish(np.array([-1.0, 2.0])).round(6)
    array([-0.303401,  1.943959])
    """
    return ops.activation.mish(input)


Mish = module_of("Mish", mish, 1)

EXACT = 20  # beta x from which on ln(1 + e^(beta x)) is beta x in float32


def softplus(input: Any, beta: float = 1.0, threshold: float = EXACT) -> Any:
    """ln(1 + e^(beta x)) / beta, and x where beta x is above a `threshold` below 20.

    (PyTorch cuts at 20, for fear of overflow. Here nothing overflows, and it is exact.)

    >>> softplus(np.array([0.0, 100.0])).round(6)
    array([  0.693147, 100.      ])
    """
    smooth = ops.activation.softplus
    if beta == 1 and threshold >= EXACT:
        return smooth(input)
    scaled = beta * as_array(input)
    if threshold >= EXACT:
        return smooth(scaled) / beta
    return np.where(scaled > threshold, input, smooth(scaled) / beta)


Softplus = module_of("Softplus", softplus, 1)


def glu(input: Any, dim: int = -1) -> Any:
    """a σ(b), a and b the halves of the input along `dim` (Dauphin et al. 2017).

    ValueError where there are no halves.

    >>> glu(np.array([1.0, 2.0, 0.0, 0.0]))
    array([0.5, 1. ])
    """
    input = as_array(input)
    n = input.shape[dim] if input.ndim else 1
    if n % 2:
        raise ValueError(f"glu halves axis {dim} of {input.shape}: {n} is odd")
    before = (slice(None),) * (dim % input.ndim)
    a, b = input[(*before, slice(n // 2))], input[(*before, slice(n // 2, None))]
    return a * ops.activation.sigmoid(b)


GLU = module_of("GLU", glu, 1)


def softmax(input: Any, dim: int = -1, dtype: npt.DTypeLike | None = None) -> Any:
    """e^x / Σ e^x along `dim`; same shape. `dtype`: what to compute in.

    >>> softmax(np.log([1.0, 3.0])).round(6)
    array([0.25, 0.75])
    """
    return ops.softmax.softmax(as_array(input, dtype), axis=dim)


Softmax = module_of("Softmax", softmax, 1)


def log_softmax(input: Any, dim: int = -1, dtype: npt.DTypeLike | None = None) -> Any:
    """ln softmax(x) along `dim`, without underflow; same shape. `dtype`: what to compute in.

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    return ops.softmax.log_softmax(as_array(input, dtype), axis=dim)


LogSoftmax = module_of("LogSoftmax", log_softmax, 1)


def softmin(input: Any, dim: int = -1, dtype: npt.DTypeLike | None = None) -> Any:
    """softmax(-x) along `dim`; same shape. `dtype`: what to compute in.

    >>> softmin(np.log([1.0, 3.0])).round(6)
    array([0.75, 0.25])
    """
    return ops.softmax.softmax(-as_array(input, dtype), axis=dim)


Softmin = module_of("Softmin", softmin, 1)


class Softmax2d(Module):
    """Softmax over the channels of (..., channels, height, width), at each place.

    ValueError unless there are 3 or 4 axes.

    >>> Softmax2d()(np.zeros((2, 4, 1, 1))).ravel()
    array([0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25])
    """

    def forward(self, input: Any) -> Any:
        if np.ndim(input) not in (3, 4):
            raise ValueError(f"Softmax2d takes (n, channels, h, w), not {np.shape(input)}")
        return softmax(input, -3)


def gumbel_softmax(
    logits: Any,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    rng: Any = None,
) -> Any:
    """A random class by softmax probabilities, in a form that can be differentiated.

    softmax((logits + G) / tau) with Gumbel noise G (Jang et al. 2017). `hard`: the class itself, a
    single 1, with the gradient of that. `rng`: a NumPy generator, or a seed. `eps` has no effect,
    as in PyTorch. ValueError unless tau > 0.

    >>> gumbel_softmax(np.array([0.0, 1000.0]), hard=True, rng=0)
    array([0., 1.])
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau={tau} is not positive")
    logits = ops.activation.floats(as_array(logits))
    shares = ops.dropout.uniform(detached(logits), rng=generator(rng))
    noise = -np.log(-np.log(np.maximum(shares, 1e-300)))
    soft = softmax((logits + noise.astype(logits.dtype)) / tau, dim)
    if not hard:
        return soft
    chosen = ops.cost.one_hot(np.argmax(soft, axis=dim), soft.shape[dim]).astype(soft.dtype)
    return np.moveaxis(chosen, -1, dim) - stop_gradient(soft) + soft

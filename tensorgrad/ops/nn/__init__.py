"""What networks add to NumPy, by family: each operation one node with the formula that textbooks
derive for it, stable at any magnitude of the input."""

from tensorgrad.ops.nn import (
    activation,
    attention,
    conv,
    cost,
    ctc,
    dropout,
    embedding,
    linear,
    normalization,
    pooling,
    recurrent,
    resampling,
    sizes,
    softmax,
)

__all__ = [
    "activation",
    "attention",
    "conv",
    "cost",
    "ctc",
    "dropout",
    "embedding",
    "linear",
    "normalization",
    "pooling",
    "recurrent",
    "resampling",
    "sizes",
    "softmax",
]

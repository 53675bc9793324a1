"""tensorgrad, the training step compiled: `tg.compile`."""

from functools import partial

import tensorgrad as tg
from contestants import tensorgrad as eager


def compiled(kind, weights, x, y, lr):
    """The eager step, compiled; gradients are forgotten at its end, as nobody asks for them."""
    return eager.__dict__[kind](weights, x, y, lr, wrap=tg.compile)


shallow, deep, convolutional = (partial(compiled, k) for k in ("shallow", "deep", "convolutional"))

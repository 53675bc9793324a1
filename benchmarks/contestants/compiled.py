"""tensorgrad, the step compiled: `tg.compile`.

Gradients are forgotten at the end of a step, as nobody asks for them.
"""

from functools import partial

import tensorgrad as tg
from contestants import tensorgrad as eager
from contestants import transformer as eager_transformer

wrap = tg.compile
kinds = ("shallow", "deep", "convolutional", "lstm", "function", "gradients")
shallow, deep, convolutional, lstm, function, gradients = (
    partial(getattr(eager, kind), wrap=wrap) for kind in kinds
)
transformer = partial(eager_transformer.tensorgrad, wrap=wrap)

"""tensorgrad, the step compiled to machine code: `tg.compile(..., backend="llvm")`."""

from functools import partial

import llvmlite  # noqa: F401 - otherwise the NumPy back end would run, and be measured twice

import tensorgrad as tg
from contestants import tensorgrad as eager
from contestants import transformer as eager_transformer

wrap = partial(tg.compile, backend="llvm")


kinds = ("shallow", "deep", "convolutional", "lstm", "function", "gradients")
shallow, deep, convolutional, lstm, function, gradients = (
    partial(getattr(eager, kind), wrap=wrap) for kind in kinds
)
transformer = partial(eager_transformer.tensorgrad, wrap=wrap)

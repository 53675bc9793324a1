"""The words of others: what NumPy and PyTorch have that a Value has not, and what to write here."""

from __future__ import annotations

from typing import Any

import numpy as np

ARGUMENTS = {"dim": "axis=", "keepdim": "keepdims=", "unbiased": "ddof="}
"""What NumPy calls the arguments of PyTorch's methods."""

ATTRIBUTES = {
    **{name: f"v.data.{name}, of the numbers" for name in dir(np.ndarray) if name[0] != "_"},
    **{
        name: f"np.{name}(v)"
        for name in ["abs", "sqrt", "square", "sin", "cos", "maximum", "minimum", "matmul"]
    },
    "view": "v.reshape(shape), or v.astype(dtype)",
    "permute": "v.transpose(axes)",
    "t": "v.T",
    "unsqueeze": "np.expand_dims(v, axis)",
    "expand": "np.broadcast_to(v, shape)",
    "gather": "np.take_along_axis(v, indices, axis)",
    "masked_fill": "np.where(mask, value, v)",
    "norm": "np.linalg.norm(v)",
    "pow": "v ** n",
    "mm": "v @ w",
    "softmax": "tg.nn.functional.softmax(v)",
    "log_softmax": "tg.nn.functional.log_softmax(v)",
    "clone": "v.copy()",
    "clamp": "np.clip(v, low, high)",
    "zero_": "v[...] = 0",
    "cpu": "v, there is no other device",
    "cuda": "v, there is no other device",
    "is_leaf": "v.op is None",
    "grad_fn": "v.op",
    "_op": "v.op",
    "_prev": "v.node.operands, or tg.viz.graph(v) to draw what it was made of",
    "dim": "v.ndim",
    "numel": "v.size",
    "numpy": "v.data",
    "to_numpy": "v.data",
    "to": "v.astype(dtype)",
    "type": "v.astype(dtype)",
    "float": "v.astype(np.float32)",
    "double": "v.astype(float)",
    "long": "v.astype(int)",
    "requires_grad_": "v.requires_grad = True",
    "zero_grad": "v.grad = None",
}
"""What to write for attributes of NumPy's, PyTorch's and micrograd's that a Value has not."""


class Instead:
    """An attribute that a Value has not. (A `__getattr__` makes each operator 4 % slower.)"""

    def __init__(self, name: str, way_out: str) -> None:
        self.name, self.way_out = name, way_out

    def __get__(self, value: Any, owner: type) -> Any:
        raise AttributeError(f"a Value has no attribute {self.name!r}: write {self.way_out}")

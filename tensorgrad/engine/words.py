"""The words of others: what NumPy and PyTorch have that a Value has not, and what to write here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

ARGUMENTS = {"dim": "axis=", "keepdim": "keepdims=", "unbiased": "ddof=", "correction": "ddof="}
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
    "clone": "v.copy()",
    "clamp": "np.clip(v, low, high)",
    "zero_": "v[...] = 0",
    "cpu": "v.to('numpy')",
    "cuda": "v.to('cupy')",
    "is_leaf": "v.op is None",
    "grad_fn": "v.op",
    "_op": "v.op",
    "_prev": "v.node.operands, or tg.viz.graph(v) to draw what it was made of",
    "dim": "v.ndim",
    "numel": "v.size",
    "numpy": "v.data",
    "to_numpy": "v.data",
    "type": "v.astype(dtype)",
    "float": "v.astype(np.float32)",
    "double": "v.astype(float)",
    "long": "v.astype(int)",
    "requires_grad_": "v.requires_grad = True",
    "zero_grad": "v.grad = None",
    "contiguous": "v, whose layout is NumPy's",
    "chunk": "np.split(v, n, axis)",
    "split": "np.split(v, sections, axis)",
    "topk": "np.sort(v, axis)[..., -k:]",
    "unbind": "list(v)",
    "masked_select": "v[mask]",
    "index_select": "v[:, indices]",
    "flip": "np.flip(v, axis)",
    "tril": "np.tril(v)",
    "triu": "np.triu(v)",
    "bmm": "v @ w",
    "eq": "v == w",
    "type_as": "v.astype(w.dtype)",
    "half": "v.astype(np.float16)",
    "bool": "v.astype(bool)",
    "int": "v.astype(int)",
    "detach_": "v = v.detach()",
    "new_zeros": "np.zeros(shape, v.dtype)",
    "add_": "v += w",
    "mul_": "v *= w",
    "copy_": "v[...] = w",
    "fill_": "v[...] = x",
}
"""What to write for attributes of NumPy's, PyTorch's and micrograd's that a Value has not."""


class Instead:
    """An attribute that a Value has not. (A `__getattr__` makes each operator 4 % slower.)"""

    def __init__(self, name: str, way_out: str) -> None:
        self.name, self.way_out = name, way_out

    def __get__(self, value: Any, owner: type) -> Any:
        raise AttributeError(f"a Value has no attribute {self.name!r}: write {self.way_out}")


class Found(NamedTuple):
    """What PyTorch's `max(dim=)` returns: the largest entries, and where they are."""

    values: Any
    indices: Any


def in_other_words(kwargs: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Arguments under the names that `words` has for them. TypeError where both are given."""
    for theirs in kwargs.keys() & words.keys():
        if words[theirs] in kwargs:
            raise TypeError(f"{theirs}= and {words[theirs]}= are the same: give one")
    return {words.get(name, name): x for name, x in kwargs.items()}


NUMPYS = {name: ours.rstrip("=") for name, ours in ARGUMENTS.items()}
TORCHS = {"axis": "dim", "keepdims": "keepdim"}
ARG = {"max": "argmax", "min": "argmin"}


def as_in_pytorch(value: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A method that is called with PyTorch's words: `v.sum(dim=0, keepdim=True)`.

    Where a word means more than its name, so it does here: `max` and `min` along a `dim` return
    the indices too, and a standard deviation has no default of its own, for NumPy's is another.
    """
    given = in_other_words(kwargs, NUMPYS)
    if isinstance(given.get("axis"), list):
        given["axis"] = tuple(given["axis"])
    if name in ("std", "var") and "ddof" not in given:
        raise TypeError(
            f"{name}: PyTorch divides by n - 1, NumPy by n: write correction=1, or correction=0"
        )
    if name in ("std", "var"):
        given["ddof"] = int(given["ddof"])  # unbiased=True
    found = getattr(value, name)(*args, **given)
    if name in ARG and "dim" in kwargs:
        return Found(found, getattr(value, ARG[name])(**given))
    return found


def in_both_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`; if it takes `dim` or `keepdim`, one that takes `axis` and `keepdims` too.

    It stands in the place of the other in its module, where `pickle` looks for it.
    """
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
    if not {*TORCHS.values()} & {*names}:
        return function

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **(in_other_words(kwargs, TORCHS) if kwargs else kwargs))

    setattr(sys.modules[function.__module__], function.__name__, call)
    return call

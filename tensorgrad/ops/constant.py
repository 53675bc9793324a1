"""NumPy functions without a gradient by nature: they answer with booleans, indices, shapes or new
arrays. On a Value they compute with its data and return plain arrays; new arrays of its shape are
Values as well, so that Values can be written into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorgrad.engine.arguments import defaults
from tensorgrad.engine.arrays import kind_of, met
from tensorgrad.engine.batching import (
    Batched,
    BatchingRule,
    along,
    elementwise,
    levels_of,
    reduction,
    run_batched,
)
from tensorgrad.engine.node import data_of, hold, leaf
from tensorgrad.engine.primitive import Primitive, implementations
from tensorgrad.engine.rules import Each, flat


def on_data(function: Callable[..., Any], batch: BatchingRule | None = None) -> Callable[..., Any]:
    """`function` of the data: plain arrays; inside vmap a Value, for each example its own."""
    op = Primitive(function, Each(flat), function.__name__, batch=batch)

    def compute(*args: Any, **params: Any) -> Any:
        data, named = [*map(data_of, args)], {k: data_of(v) for k, v in params.items()}
        for x in data if met else ():
            instead = None if function in OF_PATTERNS else kind_of(x).instead(op)
            if instead is not None:
                return data_of(instead(op, args, named))
        if not levels_of(*data, *named.values()):
            return function(*data, **named)
        if function in ABOUT_SHAPES:
            return function(*map(stand_in, data), **named)
        if batch in (reduction, along):  # NumPy takes the axis by position as well
            named |= zip(list(defaults(function))[1:], data[1:])
            data = data[:1]
        return hold(leaf(run_batched(op, data, named)))

    return compute


def held(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with its result in a Value."""
    return lambda *args, **params: hold(leaf(function(*args, **params)[()]))


def stand_in(x: Any) -> Any:
    """One example, of which only shape and dtype count."""
    return np.empty(x.shape, x.dtype) if isinstance(x, Batched) else x


# What these functions answer, and their names. Not every NumPy has all of them.

TRUTH = """equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not
    logical_xor isfinite isinf isnan isnat isneginf isposinf isreal iscomplex signbit isin in1d
    isclose all any"""
ANSWERS = {
    "truth values": TRUTH + " allclose array_equal array_equiv",
    "bits and whole numbers": """bitwise_and bitwise_or bitwise_xor invert left_shift right_shift
        bitwise_count gcd lcm packbits unpackbits""",
    "indices and counts": """argmax argmin argsort argpartition lexsort nanargmax nanargmin argwhere
        nonzero flatnonzero count_nonzero searchsorted digitize unravel_index ravel_multi_index
        ix_ tril_indices_from triu_indices_from diag_indices_from linalg.matrix_rank""",
    "edges of bins, which are taken as constants": "histogram_bin_edges",
    "shapes and types": """shape ndim size iscomplexobj isrealobj result_type can_cast common_type
        min_scalar_type einsum_path shares_memory may_share_memory""",
    "new arrays of a shape": "zeros_like ones_like empty_like",
    "new arrays, called with like= a Value": "arange empty eye identity ones tri zeros",
    "text and files": "array_repr array_str array2string save savetxt savez savez_compressed",
}
BATCHED: dict[BatchingRule, str] = {
    elementwise: "isneginf isposinf isreal iscomplex isclose",  # and all ufuncs
    reduction: "all any count_nonzero",
    along: "argmax argmin argsort argpartition nanargmax nanargmin",
}

# Functions that never see a Value: they do not ask it, or would make it an array, which raises.

APART = {
    "makes an array": """bartlett blackman diag_indices from_dlpack frombuffer fromfile fromregex
        fromstring genfromtxt hamming hanning indices load loadtxt mask_indices tril_indices
        triu_indices fftfreq rfftfreq""",
    "about types, text and settings": """base_repr binary_repr broadcast_shapes busday_count
        busday_offset datetime_as_string datetime_data format_float_positional
        format_float_scientific get_include get_printoptions getbufsize geterr geterrcall
        info is_busday isdtype isfortran isscalar issubdtype iterable mintypecode nested_iters
        printoptions promote_types set_printoptions setbufsize seterr seterrcall show_config
        show_runtime test typename""",
}


def named(names: str) -> Iterator[Callable[..., Any]]:
    """The NumPy functions of these names."""
    for name in names.split():
        home = np.linalg if name.startswith("linalg.") else np
        function = getattr(home, name.removeprefix("linalg."), None)
        if function is not None:
            yield function


CONSTANTS = {function: what for what, names in ANSWERS.items() for function in named(names)}
"""What each function without a gradient answers."""

ABOUT_SHAPES = {
    *named(ANSWERS["shapes and types"]),
    *named(ANSWERS["new arrays of a shape"]),
}
OF_PATTERNS = {*named(ANSWERS["shapes and types"] + " nonzero argwhere argmax argmin")}
"""What sparse arrays themselves answer."""
batching = {function: rule for rule, names in BATCHED.items() for function in named(names)}
for function in CONSTANTS:
    implementations[function] = on_data(function, batching.get(function))
for function in named(" ".join(names for what, names in ANSWERS.items() if what[:3] == "new")):
    implementations[function] = held(implementations[function])

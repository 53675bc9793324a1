"""Attention and transformers beside PyTorch's.

    python benchmarks/pytorch_attention.py [ROUNDS]

Random shapes, settings and masks in float64; compared are values, gradients by inputs and by
parameters, which are copied over by their names, and of `scaled_dot_product_attention` second
derivatives along a random direction. Prints a line for each family: how many were compared, how
many differ.
"""

from __future__ import annotations

import sys
from typing import Any

from beside import chance, compare, report, rng, tensor

# isort: split
import numpy as np
import torch

from tensorgrad import nn
from tensorgrad.nn import functional as F


def integer(low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def mask_of(rows: int, columns: int, *before: int) -> Any:
    """Nothing, booleans that leave no row without any, or numbers; True where one may look."""
    kind = rng.choice(["none", "booleans", "numbers"])
    shape = (*before, rows, columns)
    if kind == "none":
        return None
    if kind == "numbers":
        return rng.normal(size=shape)
    seen = rng.random(shape) < 0.6
    seen[..., 0] = True
    return seen


def left_out(mask: Any) -> Any:
    """The same for Modules, where True is left out."""
    return ~mask if mask is not None and mask.dtype == bool else mask


def functions() -> None:
    before = (integer(1, 3),) * chance() + (4,)
    n, s, d, v = (integer(1, 5) for _ in range(4))
    shared = chance() and len(before) == 2
    few = (*before[:-1], int(rng.choice([1, 2, 4]))) if shared else before
    arrays = [rng.normal(size=shape) for shape in ((*before, n, d), (*few, s, d), (*few, s, v))]
    causal = chance()
    mask = None if causal else mask_of(n, s, *(before if chance() else ()))
    if mask is not None and mask.dtype == bool and n > 1:
        mask[..., 0, :] = False  # a query that may look nowhere
    settings = {"is_causal": causal, "enable_gqa": shared, "scale": 0.3 if chance() else None}
    if mask is not None and mask.dtype != bool:
        arrays.append(mask)
    constant = {} if len(arrays) == 4 else {"attn_mask": mask}
    more = {k: tensor(x) for k, x in constant.items()}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        compare(
            "scaled_dot_product_attention",
            lambda *xs: F.scaled_dot_product_attention(*xs, **constant, **settings),
            lambda *xs: torch.nn.functional.scaled_dot_product_attention(*xs, **more, **settings),
            arrays,
            f"{settings} {mask is not None}",
        )


def modules(family: str, ours: Any, theirs: Any, arrays: list[Any], masks: dict[str, Any]) -> None:
    """Two Modules with the same numbers, called alike."""
    assert list(ours.state_dict()) == list(theirs.state_dict()), family
    new = {name: rng.normal(size=x.shape) * 0.5 for name, x in ours.state_dict().items()}
    ours.load_state_dict(new)
    theirs.load_state_dict({name: torch.tensor(x) for name, x in new.items()})
    more = {name: tensor(x) for name, x in masks.items()}
    shown = {k: getattr(x, "shape", x) for k, x in masks.items()}
    compare(
        family,
        lambda *xs: ours(*xs, **masks),
        lambda *xs: theirs(*xs, **more),
        arrays,
        f"{ours!r} {shown}",
        order=1,
        parameters=[*zip(ours.parameters(), theirs.parameters(), strict=True)],
    )


def heads() -> None:
    h = integer(1, 3)
    e, n, length, s = h * integer(1, 3), integer(1, 3), integer(1, 4), integer(1, 4)
    first, alone = chance(), rng.random() < 0.2
    kdim, vdim = (integer(1, 4), integer(1, 4)) if chance() else (e, e)
    settings = {
        **{"bias": chance(), "add_bias_kv": chance(), "add_zero_attn": chance()},
        **{"kdim": kdim, "vdim": vdim, "batch_first": first},
    }
    shapes = [(n, length, e), (n, s, kdim), (n, s, vdim)]
    arrays = [rng.normal(size=shape) for shape in shapes]
    arrays = [x[0] if alone else x if first else x.swapaxes(0, 1) for x in arrays]
    each = chance() and not alone
    masks = {
        "attn_mask": left_out(mask_of(length, s, *((n * h,) if each else ()))),
        "key_padding_mask": None,
        "need_weights": chance(),
        "average_attn_weights": chance(),
    }
    if chance():
        padding = rng.random((n, s)) < 0.3
        padding[:, 0] = False
        masks["key_padding_mask"] = padding[0] if alone else padding
        if masks["attn_mask"] is not None and masks["attn_mask"].dtype != bool:
            masks["key_padding_mask"] = np.where(masks["key_padding_mask"], -np.inf, 0.0)
    modules(
        "MultiheadAttention",
        nn.MultiheadAttention(e, h, dtype=np.float64, **settings),
        torch.nn.MultiheadAttention(e, h, **settings),
        arrays,
        masks,
    )


def transformers() -> None:
    h = integer(1, 2)
    e, n, s, t = h * integer(1, 3), integer(1, 3), integer(1, 4), integer(1, 4)
    settings = {
        **{"dropout": 0.0, "activation": str(rng.choice(["relu", "gelu"])), "bias": chance()},
        **{"batch_first": chance(), "norm_first": chance(), "layer_norm_eps": 1e-3},
    }
    turn = lambda x: x if settings["batch_first"] else x.swapaxes(0, 1)
    src, tgt = turn(rng.normal(size=(n, s, e))), turn(rng.normal(size=(n, t, e)))
    arguments = (e, h, 5)
    src_mask, tgt_mask = left_out(mask_of(s, s)), left_out(mask_of(t, t))
    memory_mask = left_out(mask_of(t, s))
    typed = {"dtype": np.float64}
    modules(
        "TransformerEncoderLayer",
        nn.TransformerEncoderLayer(*arguments, **settings, **typed),
        torch.nn.TransformerEncoderLayer(*arguments, **settings),
        [src],
        {"src_mask": src_mask},
    )
    modules(
        "TransformerDecoderLayer",
        nn.TransformerDecoderLayer(*arguments, **settings, **typed),
        torch.nn.TransformerDecoderLayer(*arguments, **settings),
        [tgt, src],
        {"tgt_mask": tgt_mask, "memory_mask": memory_mask},
    )
    modules(
        "Transformer",
        nn.Transformer(e, h, 2, 1, 5, **settings, **typed),
        torch.nn.Transformer(e, h, 2, 1, 5, **settings),
        [src, tgt],
        {"src_mask": src_mask, "tgt_mask": tgt_mask, "memory_mask": memory_mask},
    )


def main() -> int:
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 100):
        for family in (functions, heads, transformers):
            family()
    return report()


if __name__ == "__main__":
    sys.exit(main() > 0)

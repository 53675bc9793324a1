"""Attention and transformers beside PyTorch's.

    python benchmarks/pytorch_attention.py [ROUNDS]

Random shapes, settings and masks in float64; compared are values, gradients by inputs and by
parameters, which are copied over by their names, and of `scaled_dot_product_attention` second
derivatives along a random direction. Prints a line for each family: how many were compared, how
many differ.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tensorgrad import Value, nn  # noqa: E402
from tensorgrad.nn import functional as F  # noqa: E402

torch.set_default_dtype(torch.float64)
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
compared: Counter[str] = Counter()
different: Counter[str] = Counter()


def integer(low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def chance() -> bool:
    return bool(rng.random() < 0.5)


def same(family: str, ours: Any, theirs: Any, what: str) -> None:
    compared[family] += 1
    ours, theirs = np.asarray(getattr(ours, "data", ours)), theirs.detach().numpy()
    if not np.allclose(ours, theirs, rtol=1e-8, atol=1e-10):
        different[family] += 1
        print(f"{family}: {what}: {np.abs(ours - theirs).max():.2e}")


def as_tensor(x: Any) -> Any:
    return torch.tensor(x) if isinstance(x, np.ndarray) else x


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
    values = [*map(Value, arrays)]
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    out = F.scaled_dot_product_attention(*values, **constant, **settings)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        their_out = torch.nn.functional.scaled_dot_product_attention(
            *tensors, **{k: as_tensor(x) for k, x in constant.items()}, **settings
        )
    what = f"{[x.shape for x in arrays]} {settings} {constant and mask is not None}"
    same("function", out, their_out, what)
    seed = rng.normal(size=out.shape)
    out.backward(seed, create_graph=True)
    grads = [x.grad for x in values]
    theirs = torch.autograd.grad(their_out, tensors, torch.tensor(seed), create_graph=True)
    for x, mine, their in zip(values, grads, theirs):
        same("gradient", mine, their, what)
        x.grad = None
    directions = [rng.normal(size=x.shape) for x in arrays]
    sum(np.sum(a * g) for a, g in zip(directions, grads)).backward()
    along = sum((torch.tensor(a) * g).sum() for a, g in zip(directions, theirs))
    for x, their in zip(values, torch.autograd.grad(along, tensors)):
        same("second order", x.grad, their, what)


def modules(family: str, ours: Any, theirs: Any, arrays: list[Any], masks: dict[str, Any]) -> None:
    """Two Modules with the same numbers, called alike."""
    state = ours.state_dict()
    their_state = theirs.state_dict()
    if list(state) != list(their_state):
        different[family] += 1
        print(f"{family}: names {list(state)} and {list(their_state)}")
    new = {name: rng.normal(size=x.shape) * 0.5 for name, x in state.items()}
    ours.load_state_dict(new)
    theirs.load_state_dict({name: torch.tensor(x) for name, x in new.items()})
    values = [*map(Value, arrays)]
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    out = ours(*values, **masks)
    their_out = theirs(*tensors, **{name: as_tensor(x) for name, x in masks.items()})
    shown = {k: getattr(x, "shape", x) for k, x in masks.items()}
    what = f"{ours!r} {[x.shape for x in arrays]} {shown}"
    pairs = zip(out, their_out) if isinstance(out, tuple) else [(out, their_out)]
    loss, their_loss = Value(0.0), torch.tensor(0.0)
    for mine, their in pairs:
        if their is None:
            assert mine is None
            continue
        same(family, mine, their, what)
        seed = rng.normal(size=mine.shape)
        loss, their_loss = (
            loss + np.sum(mine * seed),
            their_loss + (their * torch.tensor(seed)).sum(),
        )
    loss.backward()
    their_loss.backward()
    for mine, their in zip(values, tensors):
        same(f"{family}, gradient", mine.grad, their.grad, what)
    their_grads = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        their = their_grads[name].grad
        if their is not None:
            same(f"{family}, gradient", p.grad, their, f"{name} of {what}")


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


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for _ in range(rounds):
        for family in (functions, heads, transformers):
            family()
    for name, n in compared.items():
        print(f"{name:35} {n:6} compared, {different[name]} different")


if __name__ == "__main__":
    main()

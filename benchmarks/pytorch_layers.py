"""Normalisations, embeddings, bilinear layers and parametrisations beside PyTorch's.

    python benchmarks/pytorch_layers.py [ROUNDS]

Random shapes and settings in float64; compared are values, gradients, second derivatives (along a
random direction), running statistics after several batches, and what is used without training.
Prints a line for each family: how many were compared, how many differ.
"""

from __future__ import annotations

import sys

from beside import compare, report, rng, same

# isort: split
import numpy as np
import torch
import torch.nn.functional as TF

from tensorgrad import Value, nn
from tensorgrad.nn import functional as F


def normalisations() -> None:
    k = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers(2, 5, k + 1))
    eps, affine = float(rng.choice([1e-5, 0.1])), rng.random() < 0.7
    x, last = rng.normal(1.0, 2.0, shape), shape[-k:]
    p = [rng.normal(size=last) for _ in range(2)] if affine else []
    compare(
        "layer_norm",
        lambda x, *p: F.layer_norm(x, last, *p, eps=eps),
        lambda x, *p: TF.layer_norm(x, last, *p, eps=eps),
        [x, *p],
        f"{shape} {last}",
    )
    compare(
        "rms_norm",
        lambda x, *p: F.rms_norm(x, last, *p, eps=eps),
        lambda x, *p: TF.rms_norm(x, last, *p, eps=eps),
        [x, *p[:1]],
        f"{shape} {last}",
    )
    groups = int(rng.choice([1, 2, 3]))
    x = rng.normal(1.0, 2.0, (shape[0], 6, *shape[1:]))
    p = [rng.normal(size=6) for _ in range(2)] if affine else []
    compare(
        "group_norm",
        lambda x, *p: F.group_norm(x, groups, *p, eps=eps),
        lambda x, *p: TF.group_norm(x, groups, *p, eps=eps),
        [x, *p],
        f"{x.shape} {groups}",
    )
    compare(
        "batch_norm",
        lambda x, *p: F.batch_norm(x, None, None, *p, training=True, eps=eps),
        lambda x, *p: TF.batch_norm(x, None, None, *p, training=True, eps=eps),
        [x, *p],
        f"{x.shape}",
    )
    compare(
        "instance_norm",
        lambda x, *p: F.instance_norm(x, None, None, *p, eps=eps),
        lambda x, *p: TF.instance_norm(x, None, None, *p, eps=eps),
        [x, *p],
        f"{x.shape}",
    )
    size = int(rng.integers(1, 6))
    compare(
        "local_response_norm",
        lambda x: F.local_response_norm(x, size, 0.3, 0.6, 1.5),
        lambda x: TF.local_response_norm(x, size, 0.3, 0.6, 1.5),
        [x],
        f"{x.shape} {size}",
    )


def running() -> None:
    n, momentum = int(rng.integers(1, 4)), rng.choice([0.1, 0.5, None])
    kind = str(rng.choice(["BatchNorm", "InstanceNorm"]))
    if kind == "InstanceNorm" and momentum is None:
        momentum = 0.3  # PyTorch's stays where it is then, and ours is a mean of all batches
    settings = {"affine": bool(rng.random() < 0.5), "momentum": momentum}
    tracking = bool(rng.random() < 0.8)
    ours = getattr(nn, f"{kind}{n}d")(3, **settings, track_running_stats=tracking, dtype=float)
    theirs = getattr(torch.nn, f"{kind}{n}d")(3, **settings, track_running_stats=tracking)
    size = tuple(int(m) for m in rng.integers(2, 4, n))
    for _ in range(3):
        x = rng.normal(1.0, 2.0, (4, 3, *size))
        same(kind, ours(x), theirs(torch.tensor(x)), f"{n}d {settings}")
    if tracking:
        same(kind, ours.running_mean, theirs.running_mean, "mean")
        same(kind, ours.running_var, theirs.running_var, "variance")
    if tracking and kind == "BatchNorm":  # PyTorch's InstanceNorm does not count
        same(kind, ours.num_batches_tracked, theirs.num_batches_tracked, "batches")
    ours.eval()
    theirs.eval()
    compare(kind, ours, theirs, [x], f"in use, {n}d {settings}")


def embeddings() -> None:
    table = rng.normal(size=(7, 3))
    shape = tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(0, 3))))
    numbers = rng.integers(0, 7, shape)
    padding = [None, 2, -1][int(rng.integers(3))]
    by_frequency = bool(rng.random() < 0.5)
    settings = {"padding_idx": padding, "scale_grad_by_freq": by_frequency}
    compare(
        "embedding",
        lambda w: F.embedding(numbers, w, **settings),
        lambda w: TF.embedding(torch.tensor(numbers), w, **settings),
        [table],
        f"{shape} {settings}",
    )
    mode = str(rng.choice(["sum", "mean", "max"]))
    size = int(rng.integers(1, 9))
    numbers = rng.integers(0, 7, size)
    offsets = np.sort(np.append(0, rng.integers(0, size + 1, int(rng.integers(0, 4)))))
    settings = {"mode": mode, "padding_idx": padding}
    factors = [rng.normal(size=size)] if mode == "sum" else []
    named = lambda p: {"per_sample_weights": p[0]} if p else {}
    compare(
        "embedding_bag",
        lambda w, *p: F.embedding_bag(numbers, w, offsets, **settings, **named(p)),
        lambda w, *p: TF.embedding_bag(
            torch.tensor(numbers), w, torch.tensor(offsets), **settings, **named(p)
        ),
        [table, *factors],
        f"{numbers} {offsets} {settings}",
        order=1,
    )
    norm = float(rng.choice([1.0, 2.0, 3.0]))
    ours, theirs = Value(table), torch.tensor(table)
    F.embedding(numbers, ours, max_norm=1.0, norm_type=norm)
    TF.embedding(torch.tensor(numbers), theirs, max_norm=1.0, norm_type=norm)
    same("embedding", ours, theirs, f"max_norm, {norm}")


def others() -> None:
    lead = tuple(int(n) for n in rng.integers(1, 4, int(rng.integers(0, 3))))
    n, m, o = (int(k) for k in rng.integers(1, 5, 3))
    arrays = [rng.normal(size=s) for s in ((*lead, n), (*lead, m), (o, n, m), (o,))]
    if lead:
        compare("bilinear", F.bilinear, TF.bilinear, arrays, f"{lead} {n} {m} {o}")
    x = rng.normal(size=(3, n))
    ours, theirs = nn.Linear(n, m, dtype=float), torch.nn.Linear(n, m)
    for p, t in zip(ours.parameters(), theirs.parameters()):
        p.data = t.detach().numpy().copy()
    dim = [0, 1, None][int(rng.integers(3))]
    kind = str(rng.choice(["weight_norm", "matrix_exp", "cayley"]))
    for library, layer in ((nn, ours), (torch.nn, theirs)):
        made = library.utils.parametrizations
        if kind == "weight_norm":
            made.weight_norm(layer, dim=dim)
        else:
            made.orthogonal(layer, orthogonal_map=kind, use_trivialization=False)
    held = ours.parametrizations["weight"].originals()
    pairs = [*zip(held, theirs.parametrizations.weight.parameters(), strict=True)]
    compare(kind, ours, theirs, [x], f"{n} {m} {dim}", order=1, parameters=pairs)


def main() -> int:
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 100):
        for family in (normalisations, running, embeddings, others):
            family()
    return report()


if __name__ == "__main__":
    sys.exit(main() > 0)

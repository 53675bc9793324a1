"""Optimisers and schedules over 100 steps, beside PyTorch's; and how long a step takes.

    python benchmarks/pytorch_optimisers.py [time]

Each configuration is a line if it differs. Everything is float64; Muon's bfloat16 is taken out of
PyTorch. Gradients change their sign now and then, and parameters are real and complex.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from beside import rng, times

# isort: split
import numpy as np
import torch

from tensorgrad import Value, optim

STEPS = 100

RULES: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"maximize": True, "momentum": 0.5},
    ],
    "Adam": [
        {},
        {"amsgrad": True},
        {"weight_decay": 0.1, "lr": 0.05},
        {"decoupled_weight_decay": True, "weight_decay": 0.1},
        {"maximize": True, "betas": (0.5, 0.7), "eps": 1e-3, "amsgrad": True, "lr": 0.1},
    ],
    "AdamW": [
        {},
        {"amsgrad": True, "lr": 0.1},
        {"weight_decay": 0.3, "lr": 0.05, "maximize": True},
    ],
    "RMSprop": [
        {},
        {"centered": True},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"centered": True, "momentum": 0.5, "alpha": 0.9, "eps": 1e-3, "maximize": True},
    ],
    "Adagrad": [
        {},
        {"lr_decay": 0.1, "weight_decay": 0.1},
        {"initial_accumulator_value": 0.5, "maximize": True, "lr": 0.1},
    ],
    "Adadelta": [{}, {"rho": 0.5, "eps": 1e-3, "weight_decay": 0.1}, {"maximize": True, "lr": 0.5}],
    "NAdam": [
        {},
        {"weight_decay": 0.1, "lr": 0.05},
        {"decoupled_weight_decay": True, "weight_decay": 0.1, "momentum_decay": 0.1},
        {"maximize": True, "betas": (0.5, 0.7)},
    ],
    "RAdam": [
        {},
        {"weight_decay": 0.1, "lr": 0.05},
        {"decoupled_weight_decay": True, "weight_decay": 0.1},
        {"maximize": True, "betas": (0.5, 0.6)},
        {"betas": (0.9, 0.9), "lr": 0.1},
    ],
    "Adamax": [{}, {"weight_decay": 0.1, "lr": 0.05}, {"maximize": True, "betas": (0.5, 0.7)}],
    "ASGD": [
        {},
        {"lambd": 0.1, "t0": 20, "alpha": 0.5, "lr": 0.05},
        {"weight_decay": 0.1, "maximize": True},
    ],
    "Rprop": [
        {},
        {"lr": 0.3, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.5)},
        {"maximize": True},
    ],
    "Adafactor": [
        {},
        {"weight_decay": 0.1, "lr": 0.3, "d": 1.5},
        {"eps": (1e-3, 1e-2), "beta2_decay": -0.5},
        {"maximize": True},
    ],
    "Muon": [
        {},
        {"nesterov": False, "lr": 0.05},
        {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.3},
        {"ns_steps": 3, "momentum": 0.5},
    ],
}
REAL = {"Muon", "Adafactor"}


def both(name: str, settings: dict[str, Any], starts: list[Any]) -> Any:
    """Our parameters and optimiser, and PyTorch's."""
    ours = [Value(x) for x in starts]
    theirs = [torch.tensor(x, requires_grad=True) for x in starts]
    kinds = getattr(optim, name), getattr(torch.optim, name)
    return ours, theirs, *(kind(p, **settings) for kind, p in zip(kinds, (ours, theirs)))


def apart(ours: list[Value], theirs: list[Any]) -> float:
    """By how much parameters differ, relative to their size."""
    pairs = [(p.data, q.detach().numpy()) for p, q in zip(ours, theirs)]
    return max(float(np.max(np.abs(p - q) / (np.abs(q) + 1e-3))) for p, q in pairs)


def rule(name: str, settings: dict[str, Any], is_complex: bool) -> float:
    shapes: list[Any] = [(3, 5), (5, 3), (4, 4)] if name == "Muon" else [(3,), (2, 4), (), (4, 2)]
    starts = [rng.normal(size=s) + (1j * rng.normal(size=s) if is_complex else 0) for s in shapes]
    ours, theirs, mine, peer = both(name, settings, starts)
    worst = 0.0
    for i in range(STEPS):
        for p, q in zip(ours, theirs):
            x = p.data
            g = np.conj(x) - 0.5 + np.cos(1.3 * i + np.arange(x.size)).reshape(x.shape)
            p.grad, q.grad = g, torch.tensor(np.conj(g))
        mine.step()
        peer.step()
        worst = max(worst, apart(ours, theirs))
    return worst


def valley(w: Any, m: Any) -> Any:
    return (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()


def waves(w: Any, m: Any) -> Any:
    return ((w - 1) ** 4).sum() + (w * w).sum() * 0.5 + m.sin(3 * w).sum()


WOLFE = {"line_search_fn": "strong_wolfe"}
SEARCHES: list[tuple[Any, dict[str, Any]]] = [
    *((f, WOLFE) for f in (valley, waves)),
    *((f, WOLFE | {"history_size": 3, "max_iter": 7}) for f in (valley, waves)),
    *((f, WOLFE | {"max_iter": 1}) for f in (valley, waves)),
    *((f, WOLFE | {"max_eval": 9, "lr": 0.5}) for f in (valley, waves)),
    # Of steps without a search, in the valley, roundings grow: PyTorch's as well.
    (waves, {"lr": 0.01}),
    (waves, {"lr": 0.1, "max_iter": 4, "history_size": 2}),
]


def search(loss: Any, settings: dict[str, Any], n: int) -> float:
    ours, theirs, mine, peer = both("LBFGS", settings, [rng.normal(size=n)])

    def closure(optimizer: Any, w: Any, m: Any) -> Any:
        optimizer.zero_grad()
        value = loss(w, m)
        value.backward()
        return value

    worst = 0.0
    for _ in range(STEPS):
        mine.step(partial(closure, mine, ours[0], np))
        peer.step(partial(closure, peer, theirs[0], torch))
        worst = max(worst, apart(ours, theirs))
    return worst


SCHEDULES: dict[str, list[Callable[[Any, Any, Any], Any]]] = {
    "LambdaLR": [
        lambda s, o, _: s.LambdaLR(o, lambda t: 0.95**t),
        lambda s, o, _: s.LambdaLR(o, [lambda t: 0.95**t, lambda t: 1 / (1 + t)]),
    ],
    "MultiplicativeLR": [
        lambda s, o, _: s.MultiplicativeLR(o, lambda t: 0.9 + 0.01 * (t % 3)),
    ],
    "StepLR": [lambda s, o, _: s.StepLR(o, 7, 0.5), lambda s, o, _: s.StepLR(o, 30)],
    "MultiStepLR": [lambda s, o, _: s.MultiStepLR(o, [30, 10, 10, 55], 0.3)],
    "ConstantLR": [lambda s, o, _: s.ConstantLR(o), lambda s, o, _: s.ConstantLR(o, 0.25, 40)],
    "LinearLR": [lambda s, o, _: s.LinearLR(o), lambda s, o, _: s.LinearLR(o, 0.9, 0.1, 37)],
    "ExponentialLR": [lambda s, o, _: s.ExponentialLR(o, 0.93)],
    "PolynomialLR": [
        lambda s, o, _: s.PolynomialLR(o),
        lambda s, o, _: s.PolynomialLR(o, 60, 2.0),
    ],
    "CosineAnnealingLR": [
        lambda s, o, _: s.CosineAnnealingLR(o, 100),
        lambda s, o, _: s.CosineAnnealingLR(o, 17, 0.01),
    ],
    "CosineAnnealingWarmRestarts": [
        lambda s, o, _: s.CosineAnnealingWarmRestarts(o, 13),
        lambda s, o, _: s.CosineAnnealingWarmRestarts(o, 8, 2, 0.003),
        lambda s, o, _: s.CosineAnnealingWarmRestarts(o, 3, 3),
    ],
    "CyclicLR": [
        lambda s, o, _: s.CyclicLR(o, 0.01, 0.2, 13),
        lambda s, o, _: s.CyclicLR(o, [0.01, 0.02], [0.2, 0.3], 10, 5, mode="triangular2"),
        lambda s, o, _: s.CyclicLR(o, 0.01, 0.2, 7, 11, mode="exp_range", gamma=0.97),
        lambda s, o, _: s.CyclicLR(
            *(o, 0.01, 0.2, 7),
            scale_fn=lambda x: 1 / (1 + x),
            scale_mode="iterations",
            cycle_momentum=False,
        ),
    ],
    "OneCycleLR": [
        lambda s, o, _: s.OneCycleLR(o, 0.3, 100),
        lambda s, o, _: s.OneCycleLR(
            *(o, [0.3, 0.1]),
            epochs=10,
            steps_per_epoch=11,
            anneal_strategy="linear",
            pct_start=0.4,
        ),
        lambda s, o, _: s.OneCycleLR(o, 0.3, 100, three_phase=True, pct_start=0.25),
    ],
    "ChainedScheduler": [
        lambda s, o, _: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9)]),
        lambda s, o, _: s.ChainedScheduler(
            [s.LinearLR(o, 0.1, 1.0, 20), s.StepLR(o, 30, 0.5), s.CosineAnnealingLR(o, 100)]
        ),
    ],
    "SequentialLR": [
        lambda s, o, _: s.SequentialLR(
            o, [s.LinearLR(o, 0.1, 1.0, 10), s.CosineAnnealingLR(o, 90)], [10]
        ),
        lambda s, o, _: s.SequentialLR(
            o,
            [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9), s.StepLR(o, 10, 0.5)],
            [20, 50],
        ),
        lambda s, o, _: s.SequentialLR(
            o, [s.LinearLR(o, 0.5, 1.0, 5), s.PolynomialLR(o, 50, 0.9)], [5]
        ),
    ],
    "ReduceLROnPlateau": [
        lambda s, o, _: s.ReduceLROnPlateau(o, factor=0.5, patience=3),
        lambda s, o, _: s.ReduceLROnPlateau(
            *(o, "max", 0.5, 2, 0.1, "abs"), cooldown=3, min_lr=[0.01, 0.02]
        ),
        lambda s, o, _: s.ReduceLROnPlateau(o, "max", 0.5, 0, cooldown=1),
    ],
    "SWALR": [
        lambda _, o, swa: swa.SWALR(o, 0.05),
        lambda _, o, swa: swa.SWALR(o, [0.5, 0.3], 20, "linear"),
        lambda _, o, swa: swa.SWALR(o, 0.5, 0),
    ],
}


def schedule(make: Any, kind: str, settings: dict[str, Any], by_metric: bool) -> float:
    found = []
    for library, parameter in ((optim, Value), (torch.optim, leaf)):
        groups = [{"params": [parameter(1.0)]}, {"params": [parameter(2.0)], "lr": 0.1}]
        optimizer = getattr(library, kind)(groups, **settings)
        scheduler = make(library.lr_scheduler, optimizer, library.swa_utils)
        seen = []
        for i in range(STEPS):
            for group in optimizer.param_groups:
                momentum = group["betas"][0] if "betas" in group else group["momentum"]
                seen.append([group["lr"], momentum])
            optimizer.step()
            scheduler.step(*([math.sin(i / 3) + 2 + i % 7 / 10] if by_metric else []))
        found.append(np.array(seen))
    return float(np.max(np.abs(found[0] - found[1]) / (np.abs(found[1]) + 1e-12)))


def leaf(x: float) -> Any:
    return torch.tensor(x, requires_grad=True)


def compare() -> int:
    """Count what differs."""
    bfloat16, torch.Tensor.bfloat16 = torch.Tensor.bfloat16, torch.Tensor.clone
    cases: list[tuple[str, float]] = []
    for name, configurations in RULES.items():
        for settings in configurations:
            for is_complex in (False, True) if name not in REAL else (False,):
                kind = "complex" if is_complex else "real"
                cases.append((f"{name} {kind} {settings}", rule(name, settings, is_complex)))
    torch.Tensor.bfloat16 = bfloat16
    for loss, settings in SEARCHES:
        cases.append((f"LBFGS {loss.__name__} {settings}", search(loss, settings, 5)))
    for name, makes in SCHEDULES.items():
        for i, make in enumerate(makes):
            for kind, settings in (("SGD", {"lr": 0.4, "momentum": 0.9}), ("Adam", {"lr": 0.4})):
                by_metric = name == "ReduceLROnPlateau"
                cases.append((f"{name} {i} {kind}", schedule(make, kind, settings, by_metric)))
    different = [(name, by) for name, by in cases if not by < 1e-6]
    for name, by in different:
        print(f"{name}: {by:.1e}")
    close = sum(by < 1e-12 for _, by in cases)
    print(f"{len(cases)} configurations of {STEPS} steps, {len(different)} differ by 1e-6 or more,")
    print(f"{close} by less than 1e-12")
    return len(different)


BLOCK = [(384, 128), (384,), (128, 128), (128,), (512, 128), (512,), (128, 512), *[(128,)] * 5]
MODELS = {
    "784-30-10": [(30, 784), (30,), (10, 30), (10,)],
    "800,000 numbers": [(800, 1000)],
    "transformer of 4 blocks": [(65, 128), (64, 128), *BLOCK * 4, (65, 128)],
}


def time() -> None:
    """A step, float32."""
    for name, shapes in MODELS.items():
        for kind in ("SGD", "Adam", "AdamW"):
            ours = [Value(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
            theirs = [torch.randn(*shape, dtype=torch.float32) for shape in shapes]
            for p, q in zip(ours, theirs):
                p.grad, q.grad = np.ones(p.shape, np.float32), torch.ones_like(q)
            peers = {
                "ours": getattr(optim, kind)(ours),
                "PyTorch": getattr(torch.optim, kind)(theirs),
                "foreach": getattr(torch.optim, kind)(theirs, foreach=True),
                "fused": getattr(torch.optim, kind)(theirs, fused=True),
            }
            times(f"{name}, {kind}", {peer: o.step for peer, o in peers.items()})


if __name__ == "__main__":
    sys.exit(time() if sys.argv[1:] == ["time"] else compare() > 0)

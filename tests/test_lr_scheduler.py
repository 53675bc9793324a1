"""Schedules: the formula of each over its steps, how they compose, and going on from a state."""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from tensorgrad import Value, optim
from tensorgrad.optim import lr_scheduler as schedules

close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-15)
LR, STEPS = 0.4, 40


def sgd(lr: float = LR) -> optim.SGD:
    return optim.SGD([Value(1.0)], lr=lr, momentum=0.9)


def rates(make: Callable[[Any], Any], optimizer: Any = None) -> list[float]:
    """The rate at steps 0, 1, ..."""
    optimizer = optimizer or sgd()
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [found[-1]]
        scheduler.step()
    return found


def half_cosine(passed: float) -> float:
    return (1 + math.cos(math.pi * passed)) / 2


def one_cycle(t: int) -> float:
    """Of 40 steps, the first 10 up from max / 25, the others down to max / 25 / 1e4."""
    first, last = 0.2 / 25, 0.2 / 25 / 1e4
    if t <= 9:
        return 0.2 + (first - 0.2) * half_cosine(t / 9)
    return last + (0.2 - last) * half_cosine((t - 9) / 30)


# (how it is made, the rate at step t)
FORMULAS: dict[str, tuple[Callable[[Any], Any], Callable[[int], float]]] = {
    "LambdaLR": (lambda o: schedules.LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: LR / (1 + t)),
    "MultiplicativeLR": (
        lambda o: schedules.MultiplicativeLR(o, lambda t: 1 / (1 + t)),
        lambda t: LR / math.factorial(t + 1),
    ),
    "StepLR": (lambda o: schedules.StepLR(o, 7, 0.5), lambda t: LR * 0.5 ** (t // 7)),
    "MultiStepLR": (
        lambda o: schedules.MultiStepLR(o, [20, 10, 10], 0.5),
        lambda t: LR * (1 if t < 10 else 0.25 if t < 20 else 0.125),
    ),
    "ConstantLR": (
        lambda o: schedules.ConstantLR(o, 0.25, 8),
        lambda t: LR * (0.25 if t < 8 else 1),
    ),
    "LinearLR": (
        lambda o: schedules.LinearLR(o, 0.1, 0.9, 10),
        lambda t: LR * (0.1 + 0.08 * min(t, 10)),
    ),
    "ExponentialLR": (lambda o: schedules.ExponentialLR(o, 0.9), lambda t: LR * 0.9**t),
    "PolynomialLR": (
        lambda o: schedules.PolynomialLR(o, 30, 2.0),
        lambda t: LR * max(0, 1 - t / 30) ** 2,
    ),
    "CosineAnnealingLR": (
        lambda o: schedules.CosineAnnealingLR(o, 11, 0.01),  # and up again, and down
        lambda t: 0.01 + (LR - 0.01) * half_cosine(t / 11),
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: schedules.CosineAnnealingWarmRestarts(o, 4, 2, 0.01),
        lambda t: (
            0.01 + (LR - 0.01) * [half_cosine(s / n) for n in (4, 8, 16, 32) for s in range(n)][t]
        ),
    ),
    "CyclicLR": (
        lambda o: schedules.CyclicLR(o, 0.1, 0.5, 4, 8),
        lambda t: 0.1 + 0.4 * min(t % 12 / 4, (12 - t % 12) / 8),
    ),
    "CyclicLR triangular2": (
        lambda o: schedules.CyclicLR(o, 0.1, 0.5, 5, mode="triangular2"),
        lambda t: 0.1 + 0.4 * min(t % 10, 10 - t % 10) / 5 / 2 ** (t // 10),
    ),
    "CyclicLR exp_range": (
        lambda o: schedules.CyclicLR(o, 0.1, 0.5, 5, mode="exp_range", gamma=0.9),
        lambda t: 0.1 + 0.4 * min(t % 10, 10 - t % 10) / 5 * 0.9**t,
    ),
    "CyclicLR scale_fn": (
        lambda o: schedules.CyclicLR(o, 0.1, 0.5, 5, scale_fn=lambda cycle: 1 / cycle),
        lambda t: 0.1 + 0.4 * min(t % 10, 10 - t % 10) / 5 / (t // 10 + 1),
    ),
    "OneCycleLR": (lambda o: schedules.OneCycleLR(o, 0.2, 40, pct_start=0.25), one_cycle),
    "SWALR": (
        lambda o: optim.swa_utils.SWALR(o, 0.1, 5),
        lambda t: 0.1 + (LR - 0.1) * half_cosine(min(t, 5) / 5),
    ),
    "ChainedScheduler": (
        lambda o: schedules.ChainedScheduler(
            [schedules.ConstantLR(o, 0.1, 5), schedules.ExponentialLR(o, 0.9)]
        ),
        lambda t: LR * (0.1 if t < 5 else 1) * 0.9**t,
    ),
    "SequentialLR": (
        lambda o: schedules.SequentialLR(
            o,
            [
                schedules.LinearLR(o, 0.5, 1.0, 5),
                schedules.ChainedScheduler(
                    [schedules.ExponentialLR(o, 0.9), schedules.StepLR(o, 5, 0.5)]
                ),
                schedules.CosineAnnealingLR(o, 50),
            ],
            [5, 20],
        ),
        lambda t: (
            LR * (0.5 + 0.1 * t)
            if t < 5
            else LR * 0.9 ** (t - 5) * 0.5 ** ((t - 5) // 5)
            if t < 20
            else LR * half_cosine((t - 20) / 50)
        ),
    ),
    "with a warm-up": (
        lambda o: schedules.CosineAnnealingLR(o, 30, 0.01, warmup=10),
        lambda t: 0.01 + (LR - 0.01) * ((t + 1) / 10 if t < 10 else half_cosine((t - 10) / 30)),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_schedule_is_its_formula(name: str) -> None:
    make, formula = FORMULAS[name]
    close(rates(make), [formula(t) for t in range(STEPS)])


@pytest.mark.parametrize("name", FORMULAS)
def test_a_schedule_goes_on_from_its_state_as_if_nothing_had_been(name: str) -> None:
    make, _ = FORMULAS[name]
    whole = rates(make)
    optimizer = sgd()
    scheduler = make(optimizer)
    for _ in range(15):
        scheduler.step()
    saved = pickle.loads(pickle.dumps((optimizer.state_dict(), scheduler.state_dict())))
    other = sgd(0.123)
    again = make(other)
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    for t in range(15, STEPS):
        assert other.param_groups[0]["lr"] == whole[t]
        again.step()


@pytest.mark.parametrize("name", ["StepLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR"])
def test_a_rate_set_by_hand_is_where_a_factor_goes_on_from(name: str) -> None:
    make, _ = FORMULAS[name]
    one, other = sgd(), sgd()
    for scheduler in (make(one), make(other)):
        for t in range(8):
            if t == 3 and scheduler.optimizer is other:
                low = getattr(scheduler, "eta_min", 0)
                group = other.param_groups[0]
                group["lr"] = low + 2 * (group["lr"] - low)
            scheduler.step()
    low = getattr(make(sgd()), "eta_min", 0)
    close(other.param_groups[0]["lr"] - low, 2 * (one.param_groups[0]["lr"] - low))


def test_a_schedule_may_begin_after_a_step_of_what_was_saved() -> None:
    for name in ("StepLR", "LinearLR", "ExponentialLR", "CosineAnnealingLR"):
        make, formula = FORMULAS[name]
        made = make(sgd())
        kind, names = type(made), list(inspect.signature(type(made)).parameters)[1:]
        arguments = {name: getattr(made, name) for name in names}
        optimizer = sgd(formula(8))
        optimizer.param_groups[0]["initial_lr"] = LR
        kind(optimizer, **arguments | {"last_epoch": 8})
        close(optimizer.param_groups[0]["lr"], formula(9))


def test_a_warm_up_from_all_of_the_rate_is_none() -> None:
    close(rates(lambda o: schedules.LinearLR(o, 1.0, 0.5, 2))[:3], [LR, 0.75 * LR, 0.5 * LR])
    close(rates(lambda o: schedules.LinearLR(o, 0.5, 0.0, 1))[:2], [0.5 * LR, 0])


def test_each_group_has_its_own_rate_and_may_have_its_own_function() -> None:
    groups = [{"params": [Value(1.0)]}, {"params": [Value(1.0)], "lr": 0.5}]
    optimizer = optim.SGD(groups, lr=0.1)
    scheduler = schedules.LambdaLR(optimizer, [lambda t: 0.5**t, lambda t: 1.0])
    scheduler.step()
    close(scheduler.get_last_lr(), [0.05, 0.5])
    assert scheduler.base_lrs == [0.1, 0.5]
    schedules.CyclicLR(optimizer, [0.1, 0.2], [1.0, 2.0], cycle_momentum=False).step(1000)
    close([group["lr"] for group in optimizer.param_groups], [0.55, 1.1])


def test_the_momentum_is_down_while_the_rate_is_up() -> None:
    sgd_, adam = sgd(), optim.Adam([Value(1.0)])
    for optimizer in (sgd_, adam):
        cyclic = schedules.CyclicLR(optimizer, 0.1, 0.5, 4, base_momentum=0.8, max_momentum=0.9)
        cyclic.step()
    assert sgd_.param_groups[0]["momentum"] == pytest.approx(0.875)
    assert adam.param_groups[0]["betas"] == (pytest.approx(0.875), 0.999)
    schedule = schedules.OneCycleLR(sgd_, 0.2, 40, pct_start=0.25)
    for t in range(40):
        if t == 9:
            assert sgd_.param_groups[0]["momentum"] == pytest.approx(0.85)
        schedule.step()
    assert sgd_.param_groups[0]["momentum"] == pytest.approx(0.95, abs=1e-3)


def test_one_cycle_of_three_phases_comes_back_before_it_fades() -> None:
    found = rates(
        lambda o: schedules.OneCycleLR(
            o, 0.2, 40, pct_start=0.25, anneal_strategy="linear", three_phase=True, div_factor=4.0
        )
    )
    close([found[0], found[9], found[18], found[39]], [0.05, 0.2, 0.05, 5e-6])
    close(np.diff(found[:10]), 0.15 / 9)


def test_warm_restarts_take_fractions_of_an_epoch() -> None:
    optimizer = sgd()
    scheduler = schedules.CosineAnnealingWarmRestarts(optimizer, 2, 3)
    scheduler.step(3.5)
    close(optimizer.param_groups[0]["lr"], LR * half_cosine(1.5 / 6))
    assert scheduler.last_epoch == 3


def plateau(numbers: list[float], **settings: Any) -> list[float]:
    optimizer = sgd(1.0)
    scheduler = schedules.ReduceLROnPlateau(optimizer, factor=0.5, **settings)
    found = []
    for x in numbers:
        scheduler.step(x)
        found += scheduler.get_last_lr()
    return found


def test_a_plateau_is_more_than_so_many_epochs_without_improvement() -> None:
    assert plateau([3, 2, 2, 2, 2, 2], patience=1) == [1, 1, 1, 0.5, 0.5, 0.25]
    assert plateau([3, 2, 2.5, 1.9, 2], patience=1) == [1, 1, 1, 1, 1]
    assert plateau([1, 2, 3, 3, 3], mode="max", patience=0) == [1, 1, 1, 0.5, 0.25]
    assert plateau([3, 3, 3, 3], patience=0, cooldown=1) == [1, 0.5, 0.5, 0.25]
    assert plateau([3] * 4, patience=0, min_lr=0.3) == [1, 0.5, 0.3, 0.3]
    assert plateau([3, math.nan, math.nan], patience=0) == [1, 0.5, 0.25]
    assert plateau([1, 0.95, 0.85], patience=0, threshold=0.1) == [1, 0.5, 0.5]
    assert plateau([1, 0.95, 0.85], patience=0, threshold=0.1, threshold_mode="abs") == [
        1,
        0.5,
        0.5,
    ]
    assert plateau([-1, -0.5], mode="max", patience=0, threshold=0.1) == [1, 1]


def test_a_plateau_takes_a_loss_and_goes_on_from_its_state() -> None:
    one, other = sgd(1.0), sgd(1.0)
    first = schedules.ReduceLROnPlateau(one, factor=0.5, patience=1)
    first.step(Value(2.0))
    first.step(np.float32(2.0))
    second = schedules.ReduceLROnPlateau(other, factor=0.1, patience=7)
    second.load_state_dict(first.state_dict())
    second.step(2.0)
    assert other.param_groups[0]["lr"] == 0.5


def test_nielsens_rule_halves_after_n_epochs_and_stops_at_a_128th() -> None:
    optimizer = sgd(0.5)
    scheduler = schedules.HalvingLR(optimizer, "max", patience=10)
    accuracies = iter([0.8, 0.9] + [0.9] * 1000)
    seen = []
    while not scheduler.finished:
        scheduler.step(next(accuracies))
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen[:11] == [0.5] * 11  # the second epoch was the last that improved
    assert seen[11] == 0.25
    assert seen[-1] == 0.5 / 128
    assert len(seen) == 2 + 7 * 10


def test_a_step_with_an_epoch_is_that_of_a_schedule_that_went_there() -> None:
    for name in ("StepLR", "LinearLR", "CosineAnnealingLR", "ChainedScheduler", "SequentialLR"):
        make, formula = FORMULAS[name]
        optimizer = sgd()
        make(optimizer).step(23)
        close(optimizer.param_groups[0]["lr"], formula(23))


def test_a_schedule_of_your_own_is_a_get_lr_or_a_factor() -> None:
    class Inverse(schedules.LRScheduler):
        def get_lr(self) -> list[float]:
            return [lr / (1 + self.last_epoch) for lr in self.base_lrs]

    class Root(schedules.Factor):
        def factor(self, step: int) -> float:
            return (1 + step) ** -0.5

    close(rates(Inverse), [LR / (1 + t) for t in range(STEPS)])
    close(rates(partial(Root, warmup=4))[:6], LR * np.array([0.25, 0.5, 0.75, 1, 1, 2**-0.5]))


adam = optim.Adam([Value(1.0)])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.StepLR([Value(1.0)], 2), TypeError, "one of an optimizer, not of list"),
        (lambda: schedules.StepLR(adam, 0), ValueError, "step_size=0: must be 1 or more"),
        (lambda: schedules.StepLR(adam, 1.5), TypeError, "step_size=1.5: must be a whole number"),
        (lambda: schedules.StepLR(adam, 2, warmup=-1), ValueError, "warmup=-1"),
        (lambda: schedules.StepLR(sgd(), 2, last_epoch=3), KeyError, "load the optimizer's state"),
        (lambda: schedules.ConstantLR(adam, 2.0), ValueError, "from 0 to 1"),
        (lambda: schedules.LinearLR(adam, 0.0), ValueError, "not start with 0"),
        (lambda: schedules.LambdaLR(adam, [abs, abs]), ValueError, "2 numbers, .* 1 groups"),
        (lambda: schedules.CosineAnnealingLR(adam, 0), ValueError, "T_max=0"),
        (lambda: schedules.CosineAnnealingWarmRestarts(adam, 2, 0), ValueError, "T_mult=0"),
        (lambda: schedules.CyclicLR(adam, 0.1, 1.0, mode="x"), ValueError, "triangular2"),
        (
            lambda: schedules.CyclicLR(optim.Adagrad([Value(1.0)]), 0.1, 1.0),
            ValueError,
            "Adagrad has no momentum",
        ),
        (lambda: schedules.OneCycleLR(adam, 0.1), ValueError, "needs total_steps"),
        (lambda: schedules.OneCycleLR(adam, 0.1, 10, pct_start=2), ValueError, "pct_start=2"),
        (lambda: schedules.OneCycleLR(adam, 0.1, 10).step(11), ValueError, "step 11 of .* 10"),
        (lambda: schedules.ReduceLROnPlateau(adam, "best"), ValueError, "'min' or 'max'"),
        (lambda: schedules.ReduceLROnPlateau(adam, factor=1), ValueError, "below 1"),
        (lambda: schedules.ChainedScheduler([]), ValueError, "no schedulers"),
        (
            lambda: schedules.ChainedScheduler([schedules.ReduceLROnPlateau(adam)]),
            ValueError,
            "number 0, ReduceLROnPlateau, needs a metric",
        ),
        (
            lambda: schedules.SequentialLR(sgd(), [schedules.ExponentialLR(adam, 0.5)], []),
            ValueError,
            "number 0 is of another optimizer",
        ),
        (
            lambda: schedules.SequentialLR(adam, [schedules.ExponentialLR(adam, 0.5)], [3]),
            ValueError,
            "0 milestones, not 1",
        ),
        (
            lambda: schedules.StepLR(adam, 2).load_state_dict({"last_epoch": 3}),
            ValueError,
            "no state of StepLR",
        ),
        (lambda: schedules.LRScheduler(adam), NotImplementedError, "get_lr"),
        (lambda: optim.swa_utils.SWALR(adam, 0.1, 5, "x"), ValueError, "'cos' or 'linear'"),
    ],
)
def test_mistakes_are_named(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()

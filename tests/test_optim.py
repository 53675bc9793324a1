"""Optimisers: the update formulas written out, PyTorch's numbers, and what they refuse."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from tensorgrad import Value, nn, optim

close = partial(np.testing.assert_allclose, rtol=1e-9)

# PyTorch 2.13, float64, three steps of each on this cost:
#     p = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
#     (torch.tensor([0.5, 1.0, 2.0]) * p**2 / 2 + torch.sin(p)).sum().backward()
START, CURVATURE = np.array([1.0, -2.0, 0.5]), np.array([0.5, 1.0, 2.0])
TUNED = {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2}
MOMENTUM = {"lr": 0.1, "momentum": 0.9}
PYTORCH = [
    (
        *(optim.SGD, {"lr": 0.1}),
        [0.8959697694131861, -1.7583853163452858, 0.3122417438109627],
        [0.7886950909953797, -1.5638977121225093, 0.15462866362742841],
        [0.6787831701934719, -1.4081977969056572, 0.024896051941923757],
    ),
    (
        *(optim.SGD, MOMENTUM),
        [0.8959697694131861, -1.7583853163452858, 0.3122417438109627],
        [0.6950678834672471, -1.3464444968332665, -0.014353766942705133],
        [0.4027017690986964, -0.8633007578867217, -0.40540867187806096],
    ),
    (
        *(optim.SGD, MOMENTUM | {"nesterov": True}),
        [0.8023425618850535, -1.5409321010560428, 0.14325931324082913],
        [0.5098009055677356, -1.0581204675793097, -0.2513170386183758],
        [0.13090001557162134, -0.6517406760792451, -0.5801018619611623],
    ),
    (
        *(optim.SGD, MOMENTUM | {"weight_decay": 0.2}),
        [0.875969769413186, -1.7183853163452858, 0.3022417438109627],
        [0.6389994563606662, -1.2440204867903621, -0.0377010312581703],
        [0.30072692502806403, -0.6999087975316454, -0.43528424197315685],
    ),
    (
        *(optim.SGD, MOMENTUM | {"weight_decay": 0.2, "nesterov": True}),
        [0.7643425618850535, -1.464932101056043, 0.12425931324082914],
        [0.42507138905165587, -0.9228963414288671, -0.27640031780257396],
        [0.003220029177391036, -0.4880139893519154, -0.5903375926867089],
    ),
    (
        *(optim.Adam, {"lr": 0.1}),
        [0.900000000961259, -1.9000000004138822, 0.40000000053259976],
        [0.7999337158708809, -1.8003028149916829, 0.30032099407570484],
        [0.6997742308614009, -1.7011616404840275, 0.20126053142915717],
    ),
    (
        *(optim.Adam, TUNED),
        [0.9000805605528381, -1.900035496907262, 0.4000505412318526],
        [0.8001352672976296, -1.800379313323651, 0.3004857818701622],
        [0.7001669453382909, -1.7012830531060583, 0.20166088260688164],
    ),
    (
        *(optim.AdamW, {"lr": 0.1}),
        [0.899000000961259, -1.8980000004138822, 0.3995000005325997],
        [0.7980342244389377, -1.796413028659208, 0.29942372433040176],
        [0.6970757526118679, -1.695499411568915, 0.20007021730662433],
    ),
    (
        *(optim.AdamW, TUNED),
        [0.8800960335912409, -1.8600413710902821, 0.3900532316236872],
        [0.7625019178580796, -1.7234084237926046, 0.28270602572956516],
        [0.647145637006159, -1.590496730352625, 0.17827161113971945],
    ),
]


def descend(p: Value) -> None:
    p.grad = None
    (CURVATURE * p**2 / 2 + np.sin(p)).sum().backward()


@pytest.mark.parametrize(("kind", "settings", "first", "second", "third"), PYTORCH)
def test_three_steps_are_pytorchs(
    kind: Any, settings: dict[str, Any], first: Any, second: Any, third: Any
) -> None:
    p = Value(START)
    optimizer = kind([p], **settings)
    for expected in (first, second, third):
        descend(p)
        optimizer.step()
        close(p.data, expected)


# The formulas on paper. Both gradients are given, so the rules need no engine.

p0, g1, g2 = np.array([1.0, -2.0]), np.array([0.3, -0.1]), np.array([-0.2, 0.5])


def two_steps(rule: Any, **settings: Any) -> Any:
    p1, state = rule(p0, g1, (), **settings)
    p2, _ = rule(p1, g2, state, **settings)
    return p1, p2


def test_sgd_goes_against_the_gradient() -> None:
    p1, p2 = two_steps(optim.sgd, lr=0.1)
    close(p1, p0 - 0.1 * g1)
    close(p2, p1 - 0.1 * g2)


def test_momentum_adds_up_past_gradients() -> None:
    p1, p2 = two_steps(optim.sgd, lr=0.1, momentum=0.9)
    close(p1, p0 - 0.1 * g1)
    close(p2, p1 - 0.1 * (0.9 * g1 + g2))


def test_nesterov_looks_one_step_ahead() -> None:
    p1, p2 = two_steps(optim.sgd, lr=0.1, momentum=0.9, nesterov=True)
    close(p1, p0 - 0.1 * (g1 + 0.9 * g1))
    close(p2, p1 - 0.1 * (g2 + 0.9 * (0.9 * g1 + g2)))


def test_weight_decay_of_sgd_is_an_l2_term_in_the_gradient() -> None:
    p1, p2 = two_steps(optim.sgd, lr=0.1, momentum=0.9, weight_decay=0.2)
    close(p1, p0 - 0.1 * (g1 + 0.2 * p0))
    close(p2, p1 - 0.1 * (0.9 * (g1 + 0.2 * p0) + (g2 + 0.2 * p1)))


def test_adam_divides_the_mean_gradient_by_its_root_mean_square() -> None:
    p1, p2 = two_steps(optim.adam, lr=0.1, betas=(0.8, 0.9), eps=1e-3)
    close(p1, p0 - 0.1 * g1 / (np.abs(g1) + 1e-3))  # both unbiased moments are those of g1 alone
    m, v = (0.8 * 0.2 * g1 + 0.2 * g2) / (1 - 0.8**2), (0.9 * 0.1 * g1**2 + 0.1 * g2**2) / 0.19
    close(p2, p1 - 0.1 * m / (np.sqrt(v) + 1e-3))


def test_weight_decay_of_adam_is_a_term_of_the_gradient_and_that_of_adamw_is_not() -> None:
    settings = {"lr": 0.1, "weight_decay": 0.2}
    close(two_steps(optim.adam, **settings)[0], p0 - 0.1 * np.sign(g1 + 0.2 * p0), rtol=1e-7)
    close(two_steps(optim.adamw, **settings)[0], 0.98 * p0 - 0.1 * np.sign(g1), rtol=1e-7)


RULES = [
    (optim.sgd, {"lr": 0.1}),
    (optim.sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (optim.adam, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.adamw, {"lr": 0.1}),
]


@pytest.mark.parametrize(("rule", "settings"), RULES)
def test_a_rule_is_a_pure_function(rule: Any, settings: dict[str, Any]) -> None:
    p, g = p0.copy(), g1.copy()
    once, state = rule(p, g, (), **settings)
    copies = [np.copy(s) for s in state]
    again, _ = rule(once, g, state, **settings)
    for before, now in zip([p0, g1, *copies], [p, g, *state], strict=True):
        np.testing.assert_array_equal(before, now)
    results = [once, again, *state]
    assert not any(np.may_share_memory(r, x) for r in results for x in (p, g))
    np.testing.assert_array_equal(rule(once, g, state, **settings)[0], again)


@pytest.mark.parametrize(("rule", "settings"), RULES)
def test_a_rule_keeps_float32(rule: Any, settings: dict[str, Any]) -> None:
    p, g = p0.astype(np.float32), g1.astype(np.float32)
    once, state = rule(p, g, (), **settings)
    assert once.dtype == rule(once, g, state, **settings)[0].dtype == np.float32


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_scalars_stay_scalars(kind: Any) -> None:
    w = Value(1.0)
    optimizer = kind([w], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (w * w).backward()
        optimizer.step()
    assert isinstance(w.data, np.float64)
    assert w.data < 1


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_defaults_are_pytorchs(kind: Any) -> None:
    (group,) = kind([Value(1.0)]).param_groups
    assert group["lr"] == 1e-3
    expected = {optim.SGD: 0.0, optim.Adam: 0.0, optim.AdamW: 0.01}[kind]
    assert group["weight_decay"] == expected
    if kind is not optim.SGD:
        assert (group["betas"], group["eps"]) == ((0.9, 0.999), 1e-8)


# What the classes add: parameters, groups, state.


def test_each_group_has_its_own_settings() -> None:
    a, b, c = Value(1.0), Value(1.0), Value(1.0)
    groups = [{"params": [a, b], "lr": 0.5}, {"params": [c], "weight_decay": 1.0}]
    optimizer = optim.SGD(groups, lr=0.1)
    for p in (a, b, c):
        p.grad = 1.0
    optimizer.step()
    close([a.data, b.data, c.data], [0.5, 0.5, 1 - 0.1 * (1 + 1)])


def test_a_setting_may_change_between_steps() -> None:
    p = Value(1.0)
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = 1.0
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step()
    close(p.data, 1 - 0.1 - 0.2)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_parameter_without_a_gradient_is_not_touched_not_even_decayed(kind: Any) -> None:
    used, idle = Value(1.0), Value(1.0)
    optimizer = kind([idle, used], lr=0.1, weight_decay=0.5)
    (used * 2).backward()
    optimizer.step()
    assert idle.data == 1
    assert idle.grad is None
    assert used.data < 1


def test_every_parameter_has_its_own_state() -> None:
    a, b = Value([1.0, 2.0]), Value(3.0)
    optimizer = optim.SGD([a, b], lr=0.1, momentum=0.9)
    b.grad = 1.0
    optimizer.step()
    a.grad = 1.0
    optimizer.step()
    close(b.data, 3 - 0.1 * 1 - 0.1 * 1.9)
    close(a.data, [0.9, 1.9])


def test_a_gradient_changed_after_the_step_does_not_change_the_momentum() -> None:
    p = Value([1.0, 1.0])
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    p.grad = [1.0, 1.0]
    optimizer.step()
    p.grad *= 0.0
    optimizer.step()
    close(p.data, 1 - 0.1 - 0.1 * 0.5)


def test_a_step_makes_a_new_array_and_leaves_the_old_to_the_graph() -> None:
    p = Value([1.0, 2.0])
    square = (p * p).sum()
    square.backward()
    optim.SGD([p], lr=0.1).step()
    p.grad = None
    square.backward()  # of the graph as it was recorded
    close(p.grad, [2, 4])


def test_a_recorded_gradient_is_used_as_data() -> None:
    p = Value([1.0, 2.0])
    (p * p).sum().backward(create_graph=True)
    optim.Adam([p], lr=0.1).step()
    assert isinstance(p.data, np.ndarray)
    close(p.data, [0.9, 1.9], rtol=1e-7)


def test_zero_grad_forgets_the_gradients_of_all_groups() -> None:
    a, b = Value(1.0), Value(1.0)
    optimizer = optim.SGD([{"params": [a]}, {"params": [b]}], lr=0.1)
    (a * b).backward()
    optimizer.zero_grad()
    assert a.grad is b.grad is None


def test_parameters_may_come_from_a_generator() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD((p for p in model.parameters()), lr=0.1)
    assert len(optimizer.param_groups[0]["params"]) == 2


w = Value(1.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD([], lr=0.1), ValueError, "SGD got no parameters"),
        (lambda: optim.SGD([{"params": []}]), ValueError, "SGD got no parameters"),
        (lambda: optim.SGD([w, w]), ValueError, "SGD got a parameter twice"),
        (lambda: optim.SGD([{"params": [w]}, {"params": [w]}]), ValueError, "twice"),
        (lambda: optim.SGD([w * 2]), TypeError, r"changes leaves, not Value\(2.0"),
        (lambda: optim.SGD([np.ones(2)]), TypeError, "changes leaves, not array"),
        (lambda: optim.SGD([w], lr=-1), ValueError, "lr=-1: must be 0 or more"),
        (lambda: optim.SGD([w], lr=float("nan")), ValueError, "lr=nan"),
        (lambda: optim.SGD([w], momentum=-0.1), ValueError, "momentum=-0.1"),
        (lambda: optim.SGD([w], weight_decay=-1), ValueError, "weight_decay=-1"),
        (lambda: optim.SGD([{"params": [w], "lr": -1}]), ValueError, "lr=-1"),
        (lambda: optim.SGD([{"params": [w], "rate": 1}]), ValueError, "SGD has no rate"),
        (lambda: optim.SGD([w], nesterov=True), ValueError, "nesterov=True needs a momentum"),
        (lambda: optim.Adam([w], eps=-1e-8), ValueError, "eps=-1e-08"),
        (lambda: optim.Adam([w], betas=(1.0, 0.9)), ValueError, r"betas=\(1.0, 0.9\)"),
        (lambda: optim.AdamW([w], betas=(0.9, -0.1)), ValueError, "at least 0 and below 1"),
    ],
)
def test_mistakes_are_named_when_the_optimiser_is_made(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_frozen_parameter_stays_as_it_is() -> None:
    w, frozen = Value(2.0), Value(3.0, requires_grad=False)
    optimizer = optim.SGD([w, frozen], lr=0.5)
    (w * frozen).backward()
    optimizer.step()
    assert (w.data, frozen.data) == (0.5, 3.0)


def test_a_numpy_learning_rate_leaves_float32_alone() -> None:
    for make in (optim.SGD, optim.Adam, optim.AdamW):
        w = Value(np.ones(3, np.float32))
        optimizer = make([w], lr=np.float64(0.1))
        for lr in np.linspace(0.1, 0.01, 3):
            optimizer.param_groups[0]["lr"] = lr
            w.grad = 1.0
            optimizer.step()
        assert w.dtype == np.float32

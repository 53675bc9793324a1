"""Optimisers: the update formulas written out, PyTorch's numbers, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, optim
from tensorgrad.optim import optimizer as optimizer_file

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
    (
        *(optim.SGD, MOMENTUM | {"dampening": 0.5}),
        [0.8959697694131861, -1.7583853163452858, 0.3122417438109627],
        [0.7487052226761504, -1.4436882989446547, 0.06445277314906198],
        [0.5608209587600366, -1.0946148700937577, -0.21489875970958894],
    ),
    (
        *(optim.Adam, TUNED | {"amsgrad": True}),
        [0.9000805605528381, -1.900035496907262, 0.4000505412318526],
        [0.8001352672976296, -1.800379313323651, 0.3004857818701622],
        [0.7001669453382909, -1.7012830531060583, 0.20166088260688164],
    ),
    (
        *(optim.AdamW, TUNED | {"maximize": True}),
        [1.079903966408759, -2.059958628909718, 0.5899467683763128],
        [1.158116061434216, -2.1188270114983436, 0.6782381245260813],
        [1.2345939426404997, -2.176687553302113, 0.7649818988416005],
    ),
    (
        *(optim.NAdam, TUNED),
        [0.890560427953678, -1.890511070730359, 0.3905275484493497],
        [0.8034866204152286, -1.8067760924004368, 0.3074099017168531],
        [0.7190897200082665, -1.7275232281757804, 0.22929480056001492],
    ),
    (
        *(optim.RAdam, TUNED | {"betas": (0.8, 0.8)}),
        [0.875969769413186, -1.7183853163452858, 0.3022417438109627],
        [0.7512101638610535, -1.4704945601289234, 0.12437121633861309],
        [0.6260770133136322, -1.2559828105189217, -0.03248239579516751],
    ),
    (
        *(optim.Adamax, TUNED),
        [0.9000805605528381, -1.900035496907262, 0.4000505412318526],
        [0.800561370683859, -1.7964427077595253, 0.2957549358412657],
        [0.7011155776620096, -1.688589292265967, 0.18675206118839294],
    ),
    (
        *(optim.RMSprop, {"lr": 0.03}),
        [0.7000000288377686, -1.7000000124164636, 0.20000001597799172],
        [0.48014991387505684, -1.5183631649971554, 0.02174581679338966],
        [0.3009890669555355, -1.3868452423558004, -0.10168889791466228],
    ),
    (
        *(optim.RMSprop, MOMENTUM | {"centered": True, "alpha": 0.8}),
        [0.7500000060078689, -1.7500000025867632, 0.2500000033287484],
        [0.31111687511328145, -1.3395682175048635, -0.15825321601338357],
        [-0.28708141299817663, -0.8520362393381615, -0.6191858011792921],
    ),
    (
        *(optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1}),
        [0.9000000000096126, -1.9000000000041388, 0.400000000005326],
        [0.8347717889050996, -1.838442891451716, 0.33857158132563775],
        [0.7856825321216839, -1.7934986615938782, 0.2938410883543974],
    ),
    (
        *(optim.Adadelta, {"eps": 1e-2}),
        [0.6974419046314178, -1.6864463924760842, 0.18816411371435932],
        [0.37684510364274, -1.4128376381019445, -0.07854143293323179],
        [0.05040641862778855, -1.2018664704213011, -0.26368233880558367],
    ),
    (
        *(optim.Adafactor, {"lr": 0.1}),
        [0.8677124344467705, -1.8677124344467704, 0.3677124344467705],
        [0.7450117206546173, -1.752905536005198, 0.25324190541208946],
        [0.631459961355819, -1.6525845165179025, 0.15397315364404404],
    ),
    (
        *(optim.ASGD, {"lr": 0.1, "lambd": 0.1}),
        [0.8859697694131861, -1.7383853163452858, 0.3072417438109627],
        [0.7704232350225031, -1.5320281234638755, 0.14859223018358522],
        [0.6541756339257496, -1.3698081457103843, 0.02040781353411512],
    ),
    (
        *(optim.Rprop, {"lr": 0.5}),
        [0.5, -1.5, 0.0],
        [-0.09999999999999998, -0.9, -0.6],
        [-0.82, -0.18000000000000005, -0.6],
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
    (optim.adam, {"lr": 0.1, "amsgrad": True}),
    (optim.sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    (optim.nadam, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.radam, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.adamax, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.rmsprop, {"lr": 0.1, "momentum": 0.9, "centered": True}),
    (optim.rmsprop, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.adagrad, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.adadelta, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.adafactor, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.asgd, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.lion, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.rprop, {"lr": 0.1}),
]
"""Of each rule, what makes it do all that it does. (Muon, of matrices, is below.)"""


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


ALL = [
    getattr(optim, name)
    for name in optim.__all__
    if hasattr(getattr(optim, name), "rule") and name != "Muon"  # which is for matrices
]


@pytest.mark.parametrize("kind", ALL)
def test_scalars_stay_scalars(kind: Any) -> None:
    w = Value(1.0)
    optimizer = kind([w], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (w * w).backward()
        optimizer.step()
    assert isinstance(w.data, np.float64)
    assert w.data < 1


ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
DEFAULTS: dict[Any, dict[str, Any]] = {  # PyTorch 2.13's, without those of its devices
    optim.SGD: {"lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
    optim.ASGD: {"lr": 0.01, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6, "weight_decay": 0},
    optim.Adam: ADAM | {"amsgrad": False, "decoupled_weight_decay": False},
    optim.AdamW: ADAM | {"weight_decay": 0.01, "amsgrad": False},
    optim.NAdam: ADAM | {"lr": 2e-3, "momentum_decay": 4e-3, "decoupled_weight_decay": False},
    optim.RAdam: ADAM | {"decoupled_weight_decay": False},
    optim.Adamax: ADAM | {"lr": 2e-3},
    optim.RMSprop: {
        "lr": 0.01,
        "alpha": 0.99,
        "eps": 1e-8,
        "weight_decay": 0,
        "momentum": 0,
        "centered": False,
    },
    optim.Adagrad: {
        "lr": 0.01,
        "lr_decay": 0,
        "weight_decay": 0,
        "initial_accumulator_value": 0,
        "eps": 1e-10,
    },
    optim.Adadelta: {"lr": 1, "rho": 0.9, "eps": 1e-6, "weight_decay": 0},
    optim.Adafactor: {
        "lr": 0.01,
        "beta2_decay": -0.8,
        "eps": (None, 1e-3),
        "d": 1,
        "weight_decay": 0,
    },
    optim.Rprop: {"lr": 0.01, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50)},
    optim.Muon: {
        "lr": 1e-3,
        "weight_decay": 0.1,
        "momentum": 0.95,
        "nesterov": True,
        "ns_coefficients": (3.4445, -4.775, 2.0315),
        "eps": 1e-7,
        "ns_steps": 5,
        "adjust_lr_fn": None,
    },
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults_and_their_order_are_pytorchs(kind: Any) -> None:
    (group,) = kind([Value(np.ones((2, 2)))]).param_groups
    names = [name for name in group if name not in ("params", "maximize")]
    assert names == list(DEFAULTS[kind])
    assert {name: group[name] for name in names} == DEFAULTS[kind]
    assert group["maximize"] is False


L2 = ["sgd", "asgd", "adam", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta"]


@pytest.mark.parametrize("name", L2)
def test_weight_decay_is_an_l2_term_in_the_gradient(name: str) -> None:
    rule = getattr(optim, name)
    p, state = rule(p0, g1, weight_decay=0.2)
    expected, plain = rule(p0, g1 + 0.2 * p0)
    for x, y in zip((p, *state), (expected, *plain), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("rule", [optim.adam, optim.nadam, optim.radam])
def test_a_decoupled_decay_shrinks_the_parameter_and_is_no_part_of_the_gradient(rule: Any) -> None:
    p, state = rule(p0, g1, lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)
    expected, plain = rule((1 - 0.1 * 0.2) * p0, g1, lr=0.1)
    close(p, expected)
    for x, y in zip(state, plain, strict=True):
        np.testing.assert_array_equal(x, y)


def test_radam_divides_once_the_variance_is_known() -> None:
    """Liu et al. (2020), algorithm 2, line by line."""
    rng = np.random.default_rng(0)
    p, state, expected, m, v = p0, (), p0, 0, 0
    rho = 2 / (1 - 0.8) - 1
    for t in range(1, 13):
        g = rng.normal(size=2)
        p, state = optim.radam(p, g, state, lr=0.1, betas=(0.7, 0.8))
        m, v = 0.7 * m + 0.3 * g, 0.8 * v + 0.2 * g**2
        length = rho - 2 * t * 0.8**t / (1 - 0.8**t)
        step = m / (1 - 0.7**t)
        if length > 5:
            r = (length - 4) * (length - 2) * rho / ((rho - 4) * (rho - 2) * length)
            step = step * np.sqrt(r) * np.sqrt(1 - 0.8**t) / (np.sqrt(v) + 1e-8)
        expected = expected - 0.1 * step
        close(p, expected)
    assert length > 5 > rho - 2 * 0.8 / 0.2


def test_a_mean_square_of_rows_and_columns_is_that_of_a_product() -> None:
    """Adafactor's first step, where the gradient is an outer product: by its signs, as Adam's."""
    w, g = np.full((3, 2), 2.0), np.outer([1.0, -2.0, 3.0], [0.5, -4.0])
    p, _ = optim.adafactor(w, g, lr=0.1)
    close(p, w - 0.1 * 2 * np.sign(g))  # relative to the size of w


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (5,)])
def test_adafactor_is_its_algorithm_line_by_line(shape: Any) -> None:
    """Shazeer and Stern (2018), algorithms 4 and 5, with PyTorch's eps of the dtype."""
    rng = np.random.default_rng(0)
    p, state = rng.normal(size=shape), ()
    expected, rows, columns, whole = p, 0, 0, 0
    tiny, lr = np.finfo(float).eps, 0.3
    for t in range(1, 5):
        g = rng.normal(size=shape) * 10.0**t  # so that d is met
        p, state = optim.adafactor(p, g, state, lr=lr, weight_decay=0.1, d=1.1)
        keep = 1 - t**-0.8
        size = max(1e-3, np.sqrt(np.mean(expected**2)))
        if len(shape) == 1:
            whole = v = keep * whole + (1 - keep) * g**2
        else:
            rows = keep * rows + (1 - keep) * np.mean(g**2, axis=-1)
            columns = keep * columns + (1 - keep) * np.mean(g**2, axis=-2)
            mean = np.maximum(np.mean(rows, axis=-1), tiny)
            v = np.einsum("...i,...j->...ij", rows, columns) / mean[..., None, None]
        step = g / np.sqrt(np.maximum(v, tiny**2))
        step = step / max(1, np.sqrt(np.mean(step**2)) / 1.1)
        expected = (1 - lr * 0.1) * expected - min(lr, t**-0.5) * size * step
        close(p, expected)


def test_averaged_sgd_keeps_the_mean_of_where_it_was() -> None:
    p, state = np.array([1.0, -2.0]), ()
    seen = []
    for _ in range(5):
        p, state = optim.asgd(p, g1, state, lr=0.1, lambd=0.0, t0=1)
        seen.append(p)
    close(state[0], np.mean(seen[2:], axis=0))


def test_lion_steps_by_signs() -> None:
    p1, p2 = two_steps(optim.lion, lr=0.1, betas=(0.8, 0.9), weight_decay=0.2)
    close(p1, p0 - 0.1 * (np.sign(g1) + 0.2 * p0))
    close(p2, p1 - 0.1 * (np.sign(0.8 * 0.1 * g1 + 0.2 * g2) + 0.2 * p1))


def newton_schulz(x: Any) -> Any:
    """Each singular value by the polynomial that the iteration applies to it."""
    u, s, v = np.linalg.svd(x / np.linalg.norm(x), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ v


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 3)])
def test_muon_keeps_singular_vectors_and_brings_singular_values_near_1(shape: Any) -> None:
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, *shape))
    settings = {"lr": 0.1, "weight_decay": 0.2, "momentum": 0.9}
    ratio = max(1, shape[0] / shape[1]) ** 0.5
    p, (v,) = optim.muon(w, g, nesterov=False, **settings)
    close(v, 0.1 * g)
    close(p, 0.98 * w - 0.1 * ratio * newton_schulz(v))
    p, _ = optim.muon(w, g, **settings)
    close(p, 0.98 * w - 0.1 * ratio * newton_schulz(0.9 * v + 0.1 * g))
    p, _ = optim.muon(w, g, adjust_lr_fn="match_rms_adamw", **settings)
    close(p, 0.98 * w - 0.02 * max(shape) ** 0.5 * newton_schulz(g))


def test_muon_zero_gradients_and_float32() -> None:
    w = Value(np.ones((2, 3), np.float32))
    optimizer = optim.Muon([w], lr=0.1, weight_decay=0.5)
    w.grad = 0.0
    optimizer.step()
    assert w.dtype == np.float32
    close(w.data, np.float32(0.95), rtol=1e-6)


def test_maximize_climbs() -> None:
    for kind in ALL:
        up, down = Value([1.0, -2.0]), Value([1.0, -2.0])
        climber, other = kind([up], maximize=True), kind([down])
        for _ in range(2):
            up.grad, down.grad = [1.0, -3.0], [-1.0, 3.0]
            climber.step()
            other.step()
        np.testing.assert_array_equal(up.data, down.data)


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


def test_zero_grad_may_set_zeros_where_there_are_gradients() -> None:
    a, b = Value([1.0, 2.0]), Value(1.0)
    optimizer = optim.SGD([a, b])
    (a * a).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0]
    assert b.grad is None


def test_an_optimiser_shows_its_groups_as_pytorchs_does() -> None:
    optimizer = optim.Adadelta([{"params": [Value(1.0)]}, {"params": [Value(1.0)], "lr": 0.5}])
    assert repr(optimizer).splitlines()[:3] == ["Adadelta (", "Parameter Group 0", "    eps: 1e-06"]
    assert "Parameter Group 1\n    eps: 1e-06\n    lr: 0.5" in repr(optimizer)


def test_parameters_may_come_with_their_names() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.named_parameters())
    assert [p.shape for p in optimizer.param_groups[0]["params"]] == [(1, 2), (1,)]


def test_a_rate_that_has_become_no_number_stops_the_step_and_changes_nothing() -> None:
    for lr in (float("nan"), -0.1, -1, np.inf):
        p = Value(1.0)
        optimizer = optim.Adam([p])
        p.grad = 1.0
        optimizer.param_groups[0]["lr"] = lr
        with pytest.raises(ValueError, match=f"lr={lr}: must be 0 or more"):
            optimizer.step()
        assert p.data == 1


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (optim.Muon, np.ones((2, 3)), np.ones((3, 2))),
        (optim.Adafactor, np.ones((2, 3)), np.ones((3, 2))),
        (optim.Adafactor, np.ones(3), np.ones(2)),
        (optim.Adafactor, np.ones((2, 3)), np.ones(3)),
    ],
)
def test_a_state_of_a_parameter_as_a_whole_is_of_its_shape(make: Any, one: Any, other: Any) -> None:
    w = Value(one)
    optimizer = make([w])
    w.grad = 1.0
    optimizer.step()
    make([Value(one)]).load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="for parameter 0 of shape"):
        make([Value(other)]).load_state_dict(optimizer.state_dict())


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
        (lambda: optim.SGD(w), TypeError, r"such as model\.parameters\(\) or \[w\], not Value"),
        (lambda: optim.SGD(nn.Linear(1, 1)), TypeError, r"model\.parameters\(\) .* not Linear"),
        (lambda: optim.Adam([w], betas=0.9), ValueError, "betas=0.9: must be 2 numbers"),
        (lambda: optim.Rprop([w], etas=(0.5,)), ValueError, r"etas=\(0.5,\): must be 2 numbers"),
        (lambda: optim.SGD([{"lr": 1}]), ValueError, "a group is a dict with its .params"),
        (lambda: optim.SGD([w], lr=float("nan")), ValueError, "lr=nan"),
        (lambda: optim.SGD([w], momentum=-0.1), ValueError, "momentum=-0.1"),
        (lambda: optim.SGD([w], weight_decay=-1), ValueError, "weight_decay=-1"),
        (lambda: optim.SGD([{"params": [w], "lr": -1}]), ValueError, "lr=-1"),
        (lambda: optim.SGD([{"params": [w], "rate": 1}]), ValueError, "SGD has no rate"),
        (lambda: optim.SGD([w], nesterov=True), ValueError, "nesterov=True needs a momentum"),
        (
            lambda: optim.SGD([w], momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "no dampening",
        ),
        (lambda: optim.Adam([w], fused=True), TypeError, "Adam: .*'fused'; it has lr, betas, eps"),
        (lambda: optim.SGD([w], lr="0.1"), TypeError, "lr='0.1': must be a number"),
        (lambda: optim.SGD([w], lr=1j), TypeError, "must be a number"),
        (lambda: optim.SGD([w], lr=None), TypeError, "lr=None: must be a number"),
        (lambda: optim.Lion([w], lr=[0.1]), TypeError, r"lr=\[0.1\]: must be a number"),
        (lambda: optim.Adam([w], lr=np.array([0.1, 0.2])), TypeError, "must be a number"),
        (lambda: optim.RMSprop([w], alpha=None), TypeError, "alpha=None: must be a number"),
        (lambda: optim.Adam([w], lr=10**400), ValueError, "lr=1000.* must be 0 or more, and fin"),
        (lambda: optim.Adam([w], betas=0.9 * w), ValueError, "must be 2 numbers"),
        (lambda: optim.Rprop([w], etas=(1.5, 0.5)), ValueError, "below and above 1"),
        (lambda: optim.Adadelta([w], rho=1.5), ValueError, "at least 0 and below 1"),
        (lambda: optim.RMSprop([w], alpha=-1), ValueError, "alpha=-1"),
        (lambda: optim.Adafactor([w], d=0.5), ValueError, "must be 1 or more"),
        (lambda: optim.Adafactor([Value(1j)]), ValueError, "for real parameters"),
        (lambda: optim.Muon([Value([1.0])]), ValueError, r"real matrices, not .* shape \(1,\)"),
        (
            lambda: optim.Muon([Value([[1.0]])], adjust_lr_fn="x"),
            ValueError,
            "adjust_lr_fn='x': must be",
        ),
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


@pytest.mark.parametrize("lr", [-1, -1.0, math.nan, None, "0.1"])
def test_a_rate_set_later_is_checked_before_anything_changes(lr: Any) -> None:
    w = Value([1.0])
    optimizer = optim.SGD([w])
    w.grad = np.ones(1)
    optimizer.param_groups[0]["lr"] = lr
    with pytest.raises((ValueError, TypeError), match="lr="):
        optimizer.step()
    assert w.data.tolist() == [1.0]


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


def test_a_numpy_decay_rate_of_adam_leaves_float32_alone() -> None:
    w = Value(np.ones(3, np.float32))
    optimizer = optim.Adam([w], betas=(np.float64(0.9), np.float64(0.99)), eps=np.float64(1e-8))
    w.grad = 1.0
    optimizer.step()
    (m, v, t) = optimizer.state[w]
    assert {x.dtype for x in (w, m, v)} == {np.dtype(np.float32)}
    assert t == 1


# Complex parameters: each is a pair of real ones.

SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.5, "nesterov": True}),
    (optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.AdamW, {"lr": 0.1}),
    (optim.Adam, {"lr": 0.1, "amsgrad": True}),
    (optim.NAdam, {"lr": 0.1}),
    (optim.RAdam, {"lr": 0.1}),
    (optim.Adamax, {"lr": 0.1}),
    (optim.RMSprop, {"lr": 0.01}),
    (optim.RMSprop, {"lr": 0.01, "momentum": 0.5, "centered": True, "eps": 1.0}),
    (optim.Adagrad, {"lr": 0.5}),
    (optim.Adadelta, {"lr": 1.0, "eps": 1e-2}),
    (optim.ASGD, {"lr": 0.1}),
    (optim.Lion, {"lr": 0.01, "betas": (0.5, 0.5)}),
    (optim.Rprop, {"lr": 0.1}),
]


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
@pytest.mark.parametrize("start", [0.5 + 0.5j, [0.5 + 0.5j], [[0.5, 2j], [1 - 1j, 3.0]]])
def test_a_complex_parameter_steps_as_its_real_and_imaginary_parts_do(
    kind: Any, settings: dict[str, Any], start: Any
) -> None:
    target = 1 + 2j
    z = Value(np.array(start, complex))
    x, y = Value(z.data.real), Value(z.data.imag)
    by_complex, by_parts = kind([z], **settings), kind([x, y], **settings)
    for _ in range(5):
        by_complex.zero_grad()
        by_parts.zero_grad()
        np.sum(np.abs(z - target) ** 2).backward()
        np.sum((x - target.real) ** 2 + (y - target.imag) ** 2).backward()
        by_complex.step()
        by_parts.step()
    close(z.data, x.data + 1j * y.data)
    assert z.data.shape == np.shape(start)
    assert z.dtype == complex
    assert all(s.dtype != complex for s in by_complex.state.get(z, ()) if np.ndim(s))


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_complex_parameters_find_the_minimum(kind: Any, settings: dict[str, Any]) -> None:
    z = Value(np.array([0.5 + 0.5j], np.complex64))
    optimizer = kind([z], **settings)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    for _ in range(300):
        optimizer.zero_grad()
        np.sum(np.abs(z - (1 + 2j)) ** 2).backward()
        optimizer.step()
    close(z.data, 1 + 2j, rtol=0.05)
    assert z.dtype == np.complex64


# The state belongs to the parameter, and the settings are data.


def take(optimizer: Any, *pairs: tuple[Value, float]) -> None:
    optimizer.zero_grad()
    for p, g in pairs:
        p.grad = g
    optimizer.step()


def test_a_group_that_is_added_leaves_the_states_of_others_alone() -> None:
    a, b, alone = Value(1.0), Value(1.0), Value(1.0)
    optimizer = optim.SGD([a], lr=0.1, momentum=0.9)
    take(optimizer, (a, 1.0))
    optimizer.add_param_group({"params": [b], "lr": 0.01})
    optimizer.param_groups.reverse()  # by position, the states would be mixed up
    take(optimizer, (a, 1.0), (b, 5.0))
    reference = optim.SGD([alone], lr=0.1, momentum=0.9)
    take(reference, (alone, 1.0))
    take(reference, (alone, 1.0))
    assert a.data == alone.data
    assert b.data == 1 - 0.01 * 5
    assert optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ({"params": lambda a: [a]}, ValueError, "a parameter twice"),
        ({"params": lambda a: a * 2}, TypeError, "changes leaves"),
        ({"params": lambda a: Value(1.0), "lr": -1}, ValueError, "lr=-1"),
        ({"params": lambda a: Value(1.0), "rate": 1}, ValueError, "SGD has no rate"),
    ],
)
def test_a_group_that_is_wrong_is_not_added(
    group: Any, error: type[Exception], message: str
) -> None:
    a = Value(1.0)
    optimizer = optim.SGD([a], lr=0.1)
    with pytest.raises(error, match=message):
        optimizer.add_param_group(group | {"params": group["params"](a)})
    assert len(optimizer.param_groups) == 1


def test_a_learning_rate_that_is_set_counts_from_the_next_step() -> None:
    for rate in (0.5, np.float64(0.5), np.array(0.5)):
        w = Value(1.0)
        optimizer = optim.SGD([w], lr=0.1)
        optimizer.param_groups[0]["lr"] = rate
        take(optimizer, (w, 1.0))
        assert w.data == 0.5


@pytest.mark.parametrize("kind", ALL)
def test_an_optimiser_goes_on_from_its_saved_state_as_if_nothing_had_been(kind: Any) -> None:
    start: list[Any] = [np.array([1.0, 2.0]), np.array(3.0), np.array([1 + 1j])]
    if kind is optim.Adafactor:
        start[2] = np.ones((2, 2))
    settings = {"lr": 0.1, **({"momentum": 0.9} if kind is optim.SGD else {})}
    ours, theirs = ([Value(x) for x in start] for _ in range(2))
    one = kind([{"params": ours[:2]}, {"params": ours[2:], "lr": 0.3}], **settings)
    for i in range(3):
        take(one, *((p, 0.5 + i) for p in ours))
    saved = one.state_dict()
    for p, q in zip(ours, theirs, strict=True):
        q.data = p.data
    other = kind([{"params": theirs[:2]}, {"params": theirs[2:]}], lr=7.0)
    other.load_state_dict(pickle.loads(pickle.dumps(saved)))
    for i in range(2):
        take(one, *((p, 1.5 - i) for p in ours))
        take(other, *((p, 1.5 - i) for p in theirs))
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    assert other.param_groups[1]["lr"] == 0.3


def test_a_saved_state_is_a_copy_also_of_large_parameters() -> None:
    w = Value(np.zeros(100_000))
    optimizer = optim.Adam([w])
    take(optimizer, (w, 1.0))
    saved = optimizer.state_dict()["state"][0][0].copy()
    kept = optimizer.state_dict()
    take(optimizer, (w, -3.0))
    np.testing.assert_array_equal(kept["state"][0][0], saved)


def test_a_state_of_other_groups_or_shapes_is_refused_and_changes_nothing() -> None:
    a, b = Value([1.0, 2.0]), Value(1.0)
    optimizer = optim.Adam([a, b], lr=0.1)
    take(optimizer, (a, 1.0), (b, 1.0))
    with pytest.raises(ValueError, match=r"groups of \[2\] parameters, expected \[1\]"):
        optim.Adam([Value(1.0)]).load_state_dict(optimizer.state_dict())
    other = optim.Adam([Value([1.0, 2.0, 3.0]), Value(1.0)])
    with pytest.raises(ValueError, match=r"shape \(2,\) for parameter 0 of shape \(3,\)"):
        other.load_state_dict(optimizer.state_dict())
    assert not other.state
    assert other.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("wrong", [None, 1, "a", [], [1], {"a": 1}, -1, 10**400])
def test_a_damaged_state_is_refused_in_a_line_and_changes_nothing(wrong: Any) -> None:
    w = Value([1.0, 2.0])
    optimizer = optim.Adam([w], lr=0.1)
    take(optimizer, (w, 1.0))
    whole = optimizer.state_dict()
    group = whole["param_groups"][0]
    for damaged in (
        wrong,
        {},
        {**whole, "state": wrong},
        {**whole, "param_groups": wrong},
        {**whole, "param_groups": [wrong]},
        {**whole, "param_groups": [{**group, "params": wrong}]},
        {**whole, "param_groups": [{**group, "betas": wrong}]},
        {**whole, "state": {0: wrong}},
    ):
        other = optim.Adam([w])
        try:
            other.load_state_dict(damaged)
        except ValueError as error:
            assert str(error).isprintable()  # noqa: PT017 (some harm nothing)
            assert not other.state
            assert other.param_groups[0]["lr"] == 1e-3


def test_a_state_of_pairs_is_that_of_a_complex_parameter_and_of_no_other() -> None:
    real, complex_ = np.ones(2), np.ones(2, complex)
    states = {}
    for x in (real, complex_):
        w = Value(x)
        optimizer = optim.Adam([w])
        take(optimizer, (w, 1.0))
        states[x.dtype] = optimizer.state_dict()
        optim.Adam([Value(x)]).load_state_dict(states[x.dtype])
    with pytest.raises(ValueError, match=r"shape \(2, 2\) for parameter 0 of shape \(2,\)"):
        optim.Adam([Value(real)]).load_state_dict(states[complex_.dtype])
    with pytest.raises(ValueError, match=r"shape \(2,\) for parameter 0 of shape \(2,\)"):
        optim.Adam([Value(complex_)]).load_state_dict(states[real.dtype])


def test_what_a_scheduler_notes_in_a_group_is_kept_and_saved_and_no_setting_of_the_rule() -> None:
    w = Value(1.0)
    optimizer, other = (optim.SGD([w], lr=0.5) for _ in range(2))
    optimizer.param_groups[0]["initial_lr"] = 0.5
    take(optimizer, (w, 1.0))
    assert w.data == 0.5
    other.load_state_dict(optimizer.state_dict())
    take(other, (w, 1.0))
    assert (w.data, other.param_groups[0]["initial_lr"]) == (0, 0.5)


def test_a_model_and_its_optimiser_are_copied_together() -> None:
    model = nn.Linear(2, 1, rng=0)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    model(np.ones((1, 2))).sum().backward()
    optimizer.step()
    twin, its = copy.deepcopy((model, optimizer))
    its.step()
    optimizer.step()
    np.testing.assert_array_equal(twin.weight.data, model.weight.data)
    assert its.state[twin.weight][2] == 2


def test_a_closure_computes_the_loss_that_step_returns() -> None:
    w = Value(3.0)
    optimizer = optim.SGD([w], lr=0.1)

    def closure() -> Value:
        optimizer.zero_grad()
        loss = w * w
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9
    close(w.data, 3 - 0.1 * 6)
    assert optimizer.step() is None


# A step makes one new array of a parameter, as NumPy orders it.


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_blocks_of_a_large_parameter_step_as_the_whole(
    kind: Any, settings: dict[str, Any], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(7, 9)).astype(dtype)
    grads = [rng.normal(size=(7, 9)).astype(dtype) for _ in range(4)]
    found = []
    for large, block in ((10**9, 1), (100, 64)):  # bytes
        monkeypatch.setattr(optimizer_file, "LARGE", large)
        monkeypatch.setattr(optimizer_file, "BLOCK", block)
        p = Value(np.asfortranarray(start))
        optimizer = kind([p], **settings)
        seen = []
        for g in grads:
            before = p.data
            kept = before.copy()
            p.grad = g
            p.node.grad = np.asfortranarray(p.grad)
            optimizer.step()
            np.testing.assert_array_equal(before, kept)  # a graph may still need it
            assert p.data.flags.c_contiguous
            assert (p.data.shape, p.dtype) == ((7, 9), dtype)
            seen.append(p.data)
        found.append(seen)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6 if dtype is np.float32 else 1e-13)


def test_a_rule_that_computes_in_float64_leaves_parameters_as_they_are() -> None:
    class Double(optim.Optimizer):
        @staticmethod
        def rule(p: Any, g: Any, state: Any = (), *, lr: float = 0.5) -> Any:
            return p - np.float64(lr) * g, state

    for start in (np.ones(2, np.float32), np.float32(1)):
        w = Value(start)
        optimizer = Double([w])
        w.grad = 1.0
        optimizer.step()
        assert w.dtype == np.float32
        np.testing.assert_array_equal(w.data, 0.5)
        assert type(w.data) is type(start)


def test_a_new_optimiser_is_a_rule_and_a_class_that_names_it() -> None:
    class Sign(optim.Optimizer):
        """Steps by the sign of the gradient, and counts them."""

        @staticmethod
        def rule(p: Any, g: Any, state: Any = (0,), *, lr: float = 0.1) -> Any:
            return p - lr * np.sign(g), (state[0] + 1 if state else 1,)

    w = Value(1.0)
    optimizer = Sign([w], 0.25)
    take(optimizer, (w, -5.0))
    take(optimizer, (w, -1.0))
    assert (w.data, optimizer.state[w]) == (1.5, (2,))
    with pytest.raises(TypeError, match="'momentum'"):
        Sign([w], momentum=0.5)


def test_an_optimiser_without_a_rule_has_a_step_of_its_own() -> None:
    class Shrink(optim.Optimizer):
        def __init__(self, params: Any, factor: float = 0.5) -> None:
            super().__init__(params, factor=factor)

        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    p.data = p.data * group["factor"]

    a, b = Value(1.0), Value(1.0)
    optimizer = Shrink([{"params": [a]}, {"params": [b], "factor": 0.25}])
    optimizer.step()
    assert (a.data, b.data) == (0.5, 0.25)


@pytest.mark.parametrize("make", [optim.Adam, partial(optim.SGD, momentum=0.9)])
def test_a_number_of_float32_goes_on_bit_for_bit(make: Any) -> None:
    def run(reload: bool) -> Any:
        w = Value(np.float32(0.3))
        optimizer = make([w], lr=0.1)
        for i in range(6):
            if reload and i == 3:
                state, optimizer = optimizer.state_dict(), make([w], lr=0.1)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            (np.sin(w * np.float32(3)) * w).backward()
            optimizer.step()
        return w.data

    assert run(True) == run(False)
    assert run(True).dtype == np.float32


@pytest.mark.parametrize("data", [np.ones(3), 1.0, np.ones(3) * 1j])
@pytest.mark.parametrize("wrap", [lambda step: step, tg.compile])
def test_a_state_that_is_no_tuple_is_refused_by_name(data: Any, wrap: Any) -> None:
    """Its keys alone would be saved."""

    class Own(optim.Optimizer):
        @staticmethod
        def rule(p: Any, g: Any, state: Any = (), *, lr: float = 0.1) -> Any:
            return p - lr * g, {"n": g * g}

    w = Value(data)
    optimizer = Own([w])
    w.grad = w.data * 2
    with pytest.raises(TypeError, match=r"Own: a rule answers the new .* a tuple of"):
        wrap(optimizer.step)()
    np.testing.assert_array_equal(w.data, data)

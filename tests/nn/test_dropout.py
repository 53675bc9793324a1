"""Dropout: what it leaves out, and that it is drawn anew, or the same again, where it should be."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, io, nn
from tensorgrad.nn import functional as F

ONES = np.ones((200, 50))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_entries_are_0_with_probability_p_and_the_mean_stays(p: float) -> None:
    out = F.dropout(ONES, p, rng=0)
    np.testing.assert_allclose(np.unique(out), [0, 1 / (1 - p)])
    error = 4 * np.sqrt(p * (1 - p) / out.size)
    assert abs((out == 0).mean() - p) < error
    assert abs(out.mean() - 1) < error / (1 - p)


def test_the_gradient_goes_where_an_entry_was_kept_and_infinities_that_were_not_add_0() -> None:
    x = Value(np.where(np.arange(20) % 2, np.inf, 1.0))
    out = F.dropout(x, 0.5, rng=0)
    assert not np.isnan(out.data).any()
    np.sum(out * np.arange(20.0)).backward()
    np.testing.assert_array_equal(x.grad, np.where(out.data != 0, 2 * np.arange(20.0), 0))


@pytest.mark.parametrize("f", [F.dropout, F.alpha_dropout])
def test_with_p_1_all_is_0_and_with_p_0_or_in_use_nothing(f: Any) -> None:
    x = Value(ONES)
    out = f(x, 1.0, training=True)
    assert not out.data.any()
    out.sum().backward()
    assert not x.grad.any()
    assert f(x, 0.0, training=True) is x
    assert f(x, 0.7, training=False) is x


@pytest.mark.parametrize(
    ("f", "shape", "rest"),
    [
        (F.dropout1d, (40, 30, 5), (2,)),
        (F.dropout1d, (30, 5), (1,)),
        (F.dropout2d, (40, 30, 2, 3), (2, 3)),
        (F.dropout2d, (40, 30, 2), (2,)),
        (F.dropout3d, (40, 30, 2, 1, 3), (2, 3, 4)),
        (F.dropout3d, (30, 2, 1, 3), (1, 2, 3)),
    ],
)
def test_whole_channels_are_dropped(f: Any, shape: Any, rest: Any) -> None:
    out = f(np.ones(shape), 0.5, rng=0)
    whole = out.mean(axis=rest)
    np.testing.assert_array_equal(np.unique(whole), [0, 2])


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(0).standard_normal((400, 500))
    out = F.alpha_dropout(x, 0.3, training=True, rng=0)
    assert abs(out.mean()) < 0.01
    assert abs(out.std() - 1) < 0.01
    a = (0.7 * (1 + 0.3 * 1.7580993408473766**2)) ** -0.5
    assert (out == a * -1.7580993408473766 + a * 0.3 * 1.7580993408473766).mean() > 0.29
    channels = F.feature_alpha_dropout(x.reshape(400, 50, 10), 0.3, training=True, rng=0)
    constant = np.ptp(channels, axis=2) == 0
    assert abs(constant.mean() - 0.3) < 0.02


def test_layers_act_in_training_and_not_in_use() -> None:
    for cls in (nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout):
        layer, x = cls(0.5, rng=0), np.ones((20, 30, 4))
        assert (layer(x) != x).any()
        assert layer.eval()(x) is x


def test_a_seed_repeats_a_generator_moves_on_and_manual_seed_is_for_all_others() -> None:
    np.testing.assert_array_equal(F.dropout(ONES, rng=3), F.dropout(ONES, rng=3))
    layer = nn.Dropout(rng=3)
    first = layer(ONES)
    np.testing.assert_array_equal(first, F.dropout(ONES, rng=3))
    assert (layer(ONES) != first).any()
    draws = []
    for _ in range(2):
        tg.manual_seed(0)
        draws.append([F.dropout(ONES), nn.Dropout()(ONES)])
    np.testing.assert_array_equal(*draws)
    assert (draws[0][0] != draws[0][1]).any()


@pytest.mark.parametrize("rng", [None, 0])
def test_a_checkpoint_computes_again_with_the_same_mask(rng: Any) -> None:
    layer, x = nn.Dropout(0.5, rng=rng), Value(np.ones(50))
    out = tg.checkpoint(lambda x: layer(np.sin(x)))(x)
    after = layer(np.ones(50))  # others draw in between
    out.backward(np.ones(50))
    np.testing.assert_allclose(x.grad, np.where(out.data != 0, 2 * np.cos(1), 0))
    assert (layer(np.ones(50)) != after).any()


def test_a_checkpoint_in_a_checkpoint_too_and_it_leaves_the_generator_as_it_was() -> None:
    x, w = Value(np.ones(60)), Value(np.ones(60))

    def run(inner: Any, outer: Any) -> Any:
        first, second = nn.Dropout(0.3, rng=1), nn.Dropout(0.6, rng=2)
        part = inner(lambda x: first(x * w))
        total = outer(lambda x: np.sum(second(part(first(x)) ** 3)))
        x.grad = w.grad = None
        loss = total(x)
        loss.backward()
        return loss.data, x.grad, w.grad, first(np.ones(60)), second(np.ones(60))

    plain = lambda f: f
    wanted = run(plain, plain)
    for inner, outer in [(tg.checkpoint, plain), (plain, tg.checkpoint), (tg.checkpoint,) * 2]:
        for found, right in zip(run(inner, outer), wanted):
            np.testing.assert_allclose(found, right)


def test_each_example_of_a_vmap_has_its_own_mask() -> None:
    x = np.ones((30, 40))
    out = tg.vmap(lambda x: F.dropout(x, 0.5, rng=np.random.default_rng(0)))(x)
    assert len(np.unique(out == 0, axis=0)) == 30
    same = tg.vmap(lambda y: F.dropout(np.ones(40), 0.5, rng=0) * y)(x)
    assert len(np.unique(same == 0, axis=0)) == 1  # what is the same for all is dropped for all
    channels = tg.vmap(lambda x: F.dropout1d(x, 0.5, rng=0))(np.ones((30, 8, 5)))
    assert set(np.unique(channels.mean(axis=2))) == {0, 2}


def test_gradients_by_a_transform_and_of_higher_order_are_those_of_the_mask_that_was_drawn() -> (
    None
):
    model = nn.Sequential(nn.Linear(4, 30, rng=0), nn.Dropout(0.5, rng=0), nn.Linear(30, 1, rng=1))
    other, x = copy.deepcopy(model), np.ones((2, 4))
    loss = lambda model: np.sum(model(x) ** 2)
    grads = tg.grad(loss)(model)
    loss(other).backward()
    for g, p in zip(grads.parameters(), other.parameters()):
        np.testing.assert_allclose(g.data, p.grad, rtol=1e-6)
    v = Value(np.full(20, 2.0))
    out = F.dropout(v**3, 0.5, rng=0)
    out.backward(np.ones(20), create_graph=True)
    first, v.grad = v.grad, None
    np.sum(first).backward()
    np.testing.assert_allclose(v.grad, np.where(out.data != 0, 2 * 6 * 2.0, 0))


def test_an_entry_is_taken_apart_into_the_number_it_was_made_of() -> None:
    x = Value(np.array([1.0, -3.0, 5.0]), name="x")
    out = F.dropout(x, 0.5, rng=0)
    entry = tg.viz.zoom(out, (1,))
    assert entry.data == out.data[1] == -6
    assert "x[1] = -3" in map(str, tg.viz.steps(entry))


def test_custom_vjp_and_a_line_search_draw_the_same_again() -> None:
    layer = nn.Dropout(0.5, rng=0)
    f = tg.custom_vjp(lambda x: layer(x))
    f.defvjp(lambda x: (f(x), layer(x) != 0), lambda kept, g: (np.where(kept, g, 0) * 2,))
    x = Value(np.ones(40))
    out = f(x)
    out.backward(np.ones(40), create_graph=True)
    assert set(np.unique(x.grad.data)) == {0, 2}


def test_dtype_and_settings_stay_in_files_copies_and_pickles(tmp_path: Any) -> None:
    layer = nn.Sequential(nn.Dropout(0.25, inplace=True, rng=0))
    assert layer(np.ones(3, np.float32)).dtype == np.float32
    io.save(layer, tmp_path / "model.safetensors")
    loaded = io.load(tmp_path / "model.safetensors").train()
    assert (loaded(ONES) == 0).any()
    assert loaded[0].p == 0.25
    assert loaded[0].rng is None
    twin, pickled = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    drawn = layer(ONES)
    np.testing.assert_array_equal(twin(ONES), drawn)
    np.testing.assert_array_equal(pickled(ONES), drawn)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Dropout(1.5), r"Dropout: the probability p is between 0 and 1, not 1.5"),
        (lambda: F.dropout(ONES, -0.1), "dropout: the probability p is between 0 and 1"),
        (lambda: F.alpha_dropout(ONES, np.nan), "not nan"),
        (lambda: F.dropout1d(np.ones(3)), r"dropout1d of shape \(3,\): it takes \(N, C, length\)"),
        (lambda: F.feature_alpha_dropout(np.ones(3)), r"\(n, channels, ...\)"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

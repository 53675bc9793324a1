"""Averages of weights: means written out, buffers, saving, and statistics made anew."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.optim import swa_utils

close = partial(np.testing.assert_allclose, rtol=1e-6)


class Norm(nn.Module):
    """What a BatchNorm has."""

    def __init__(self) -> None:
        self.scale = Value(np.float64(1.0))
        self.momentum: float | None = 0.1
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        self.mean, self.count = np.zeros(2), np.array(0)

    def forward(self, x: Any) -> Any:
        if self.training:
            n = int(self.count) + 1
            new = 1 / n if self.momentum is None else self.momentum
            self.remember(mean=(1 - new) * self.mean + new * np.mean(x, axis=0), count=n)
        return self.scale * (x - self.mean)


def walk(average: swa_utils.AveragedModel, model: Any, n: int = 4) -> list[Any]:
    """Random weights, each taken into the average: what they were."""
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(n):
        for p in model.parameters():
            p.data = rng.normal(size=p.shape)
        seen.append([p.data for p in model.parameters()])
        average.update_parameters(model)
    return seen


def test_the_average_is_the_mean_of_all() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), Norm()).to(np.float64)
    average = swa_utils.AveragedModel(model)
    seen = walk(average, model)
    for p, *ws in zip(average.module.parameters(), *seen, strict=True):
        close(p.data, np.mean(ws, axis=0))
    assert average.n_averaged == 4
    x = np.ones((1, 2))
    assert average(x).shape == model(x).shape


@pytest.mark.parametrize("name", ["avg_fn", "multi_avg_fn"])
def test_an_exponential_average_forgets(name: str) -> None:
    model = nn.Linear(2, 3, rng=0).to(np.float64)
    function = getattr(swa_utils, f"get_ema_{name}")(0.75)
    average = swa_utils.AveragedModel(model, **{name: function})
    seen = walk(average, model, 3)
    for p, a, b, c in zip(average.module.parameters(), *seen, strict=True):
        close(p.data, 0.75 * (0.75 * a + 0.25 * b) + 0.25 * c)


def test_an_average_of_lists_may_be_written_in_place() -> None:
    def greatest(means: Any, new: Any, n: int) -> None:
        for mean, x in zip(means, new):
            np.maximum(mean, x, out=mean)

    model = nn.Linear(2, 3, rng=0).to(np.float64)
    average = swa_utils.AveragedModel(model, multi_avg_fn=greatest)
    seen = walk(average, model)
    for p, *ws in zip(average.module.parameters(), *seen, strict=True):
        np.testing.assert_array_equal(p.data, np.max(ws, axis=0))
    assert not np.may_share_memory(average.module.weight.data, model.weight.data)


def test_buffers_are_the_models_last_or_averaged_too() -> None:
    for use_buffers, expected in ((False, 4.0), (True, 2.0)):
        model = Norm()
        average = swa_utils.AveragedModel(model, use_buffers=use_buffers)
        for mean in (0.0, 2.0, 4.0):
            model.mean = np.full(2, mean)
            average.update_parameters(model)
        close(average.module.mean, expected)
        assert average.module.count.dtype == model.count.dtype


def test_float32_stays_and_scalars_stay() -> None:
    model = nn.Linear(2, 3, rng=0)
    average = swa_utils.AveragedModel(model)
    for _ in range(2):
        average.update_parameters(model)
    assert average.module.weight.dtype == np.float32
    norm = Norm()
    average = swa_utils.AveragedModel(norm)
    walk(average, norm)
    assert isinstance(average.module.scale.data, np.float64)


def test_an_average_is_copied_and_loaded_with_its_count() -> None:
    model = nn.Linear(2, 3, rng=0).to(np.float64)
    average = swa_utils.AveragedModel(model)
    walk(average, model)
    other = swa_utils.AveragedModel(nn.Linear(2, 3, rng=1).to(np.float64))
    other.load_state_dict(average.state_dict())
    for twin in (other, copy.deepcopy(average), pickle.loads(pickle.dumps(average))):
        assert twin.n_averaged == 4
        np.testing.assert_array_equal(twin.module.weight.data, average.module.weight.data)


def test_an_average_is_saved_in_a_file(tmp_path: Any) -> None:
    model = nn.Linear(2, 3, rng=0)
    average = swa_utils.AveragedModel(model)
    average.update_parameters(model)
    tg.io.save(average, tmp_path / "average.safetensors")
    again = tg.io.load(tmp_path / "average.safetensors", classes=[swa_utils.AveragedModel])
    assert again.n_averaged == 1
    np.testing.assert_array_equal(again.module.weight.data, model.weight.data)


def test_statistics_are_made_anew_over_one_pass() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(5, 2)) for _ in range(3)]
    model = nn.Sequential(Norm(), Norm())
    model[1].eval()
    model[0].mean = np.full(2, 99.0)
    swa_utils.update_bn([(x, None) for x in batches], model)
    close(model[0].mean, np.mean(batches, axis=(0, 1)))
    assert model[0].momentum == 0.1
    assert (model[0].training, model[1].training) == (True, False)
    swa_utils.update_bn(iter(()), nn.Linear(1, 1))


def test_statistics_of_a_batchnorm_are_made_anew() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(5, 2)) for _ in range(3)]
    model = nn.Sequential(nn.BatchNorm1d(2, dtype=np.float64)).eval()
    model[0].running_mean = np.full(2, 99.0)
    swa_utils.update_bn(batches, model)
    close(model[0].running_mean, np.mean(batches, axis=(0, 1)))
    close(model[0].running_var, np.mean(np.var(batches, axis=1, ddof=1), axis=0))
    assert model[0].num_batches_tracked == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: swa_utils.get_ema_avg_fn(1.5), "decay=1.5"),
        (lambda: swa_utils.AveragedModel(nn.Linear(1, 1), abs, abs), "one of avg_fn"),
        (
            lambda: swa_utils.AveragedModel(nn.Linear(1, 1)).update_parameters(nn.Linear(2, 1)),
            "of a model with other arrays",
        ),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

"""Whatever is changed between steps, in whatever order, a compiled step is the eager one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, optim
from tests.compiler.test_compile import assert_same

OPTIMISERS = optim.SGD, optim.Adam, optim.RMSprop, optim.Adagrad


class World:
    """A model, an optimiser and a step, one of many; what is `held` by others."""

    def __init__(self, rng: np.random.Generator) -> None:
        first, last = (nn.Linear(n, m, rng=0, dtype=float) for n, m in ((3, 4), (4, 2)))
        norm = [nn.BatchNorm1d(4, dtype=float)] if rng.random() < 0.5 else []
        drop = [nn.Dropout(0.3, rng=7)] if rng.random() < 0.3 else []
        self.model = nn.Sequential(first, nn.Tanh(), *norm, *drop, last)
        self.optimizer = OPTIMISERS[rng.integers(4)](self.model.parameters(), lr=0.05)
        self.settings, self.rng = {"a": 1.0, "b": 2.0}, np.random.default_rng(3)
        self.clips, self.draws, self.clears = (rng.random(3) < 0.5).tolist()
        self.held: list[Any] = []

    def step(self, x: Any) -> Any:
        h = self.model(x)
        loss = np.sum(h * h)
        for by in self.settings.values():
            loss = loss * 1.1 + by
        if self.draws:
            loss = loss + np.sum(self.rng.normal(size=h.shape) * h)
        if self.clears:
            self.optimizer.zero_grad()
        loss.backward()
        if self.clips:
            nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
        self.optimizer.step()
        return loss.data, h.data, self.weight.grad

    @property
    def weight(self) -> Value:
        return self.model[0].weight  # type: ignore[no-any-return]

    @property
    def bias(self) -> Value:
        return self.model[0].bias  # type: ignore[no-any-return]

    def state(self) -> Any:
        moments = [*self.optimizer.state.values()]
        grads = [p.grad for p in self.model.parameters()]
        return self.model.state_dict(), moments, grads, self.held


def relearn(w: World, rng: Any) -> None:
    w.weight.requires_grad = not w.weight.requires_grad


def forget_gradients(w: World, rng: Any) -> None:
    for p in w.model.parameters():
        p.grad = None


def mode(w: World, rng: Any) -> None:
    w.model.train(not w.model.training)


CHANGES: list[Callable[[World, np.random.Generator], Any]] = [
    *[relearn, forget_gradients, mode],
    lambda w, rng: w.weight.data.__setitem__(0, rng.normal()),
    lambda w, rng: setattr(w.weight, "data", rng.normal(size=(4, 3))),
    lambda w, rng: setattr(w.weight, "data", np.asfortranarray(rng.normal(size=(4, 3)))),
    lambda w, rng: setattr(w.bias, "data", np.repeat(rng.normal(size=4), 2)[::2]),
    lambda w, rng: setattr(w.bias, "data", w.bias.data[:]),
    lambda w, rng: setattr(w.model[-1].bias, "data", w.bias.data[:2]),
    lambda w, rng: setattr(w.bias, "grad", rng.normal(size=4)),
    lambda w, rng: setattr(w.model[0], "bias", Value(rng.normal(size=4))),
    lambda w, rng: w.weight.data.setflags(write=False),
    lambda w, rng: w.model.__setitem__(1, nn.ReLU()),
    lambda w, rng: w.model.load_state_dict({k: x * 0.9 for k, x in w.model.state_dict().items()}),
    lambda w, rng: w.optimizer.param_groups[0].update(lr=rng.random() * 0.1),
    lambda w, rng: w.optimizer.param_groups[0].update(weight_decay=0.1 * rng.integers(2)),
    lambda w, rng: w.optimizer.state.clear(),
    lambda w, rng: w.optimizer.load_state_dict(copy.deepcopy(w.optimizer.state_dict())),
    lambda w, rng: w.settings.update(a=w.settings.pop("a")),
    lambda w, rng: w.settings.update(c=rng.random()),
    lambda w, rng: w.settings.pop("c", None),
    lambda w, rng: setattr(w, "rng", np.random.default_rng(5)),
    lambda w, rng: w.rng.normal(),
    lambda w, rng: w.held.append(w.weight.data.T),
    lambda w, rng: w.held.extend(p.grad for p in w.model.parameters()),
    lambda w, rng: w.held.extend(p.data for p in w.model.parameters()),
    lambda w, rng: w.held.clear(),
]


def check(seed: int) -> None:
    worlds = [World(np.random.default_rng(seed)) for _ in range(2)]
    runs = worlds[0].step, tg.compile(worlds[1].step, exact=True)
    rng = np.random.default_rng(seed)
    given: list[list[Any]] = [[], []]
    for k in rng.integers(len(CHANGES), size=14).tolist():
        rows = 3 + k % 2
        for world, run, results in zip(worlds, runs, given, strict=True):
            CHANGES[k](world, np.random.default_rng(seed))
            results.append(run(np.random.default_rng(k).normal(size=(rows, 3))))
        assert_same((given[1], worlds[1].state()), (given[0], worlds[0].state()), kinds=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(2))
def test_after_any_changes_a_step_is_the_eager_one(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(100, 160))
def test_after_any_of_many_changes_a_step_is_the_eager_one(seed: int) -> None:
    check(seed)

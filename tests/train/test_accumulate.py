"""Several batches to one step are one large batch."""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import ref

import numpy as np
import pytest

from tensorgrad import data, nn, optim
from tensorgrad.nn import functional as F
from tensorgrad.train import Step, clipped, fit, penalised

X = np.random.default_rng(0).normal(size=(70, 3))
Y = (X[:, 0] > X[:, 1]).astype(int)


class Careful(Step):
    """A penalty in the forward, clipping in the backward."""

    def forward(self, *batch: Any) -> Any:
        return super().forward(*batch) + 1e-2 * sum(np.sum(p**2) for p in self.model.parameters())

    def backward(self, loss: Any) -> None:
        super().backward(loss)
        for p in self.model.parameters():
            p.grad = np.clip(p.grad, -0.05, 0.05)


def run(size: int, **options: Any) -> Any:
    model = nn.Sequential(
        nn.Linear(3, 5, rng=0, dtype=np.float64),
        nn.Tanh(),
        nn.Linear(5, 2, rng=1, dtype=np.float64),
    )
    batches = data.DataLoader(X, Y, batch_size=size, shuffle=True)
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    return model, fit(model, batches, F.cross_entropy, optimizer, epochs=3, **options)


@pytest.mark.parametrize("step", [Step, Careful, clipped(penalised(l2=0.1), norm=0.1)])
@pytest.mark.parametrize(("size", "accumulate"), [(8, 4), (16, 2), (32, 1), (1, 32), (8, 9)])
def test_accumulated_batches_are_one_large_batch(step: Any, size: int, accumulate: int) -> None:
    large, expected = run(min(size * accumulate, 70), step=step)
    model, history = run(size, accumulate=accumulate, step=step)  # the last step is smaller
    for p, q in zip(model.parameters(), large.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-10, atol=1e-12)
    for line, same in zip(history, expected, strict=True):
        assert line.loss == pytest.approx(same.loss, rel=1e-12)


@pytest.mark.parametrize(
    "make", [partial(optim.LBFGS, line_search_fn="strong_wolfe"), optim.NewtonCG]
)
def test_a_search_goes_over_the_same_loss(make: Any) -> None:
    def search(size: int, **options: Any) -> Any:
        model = nn.Linear(3, 2, rng=0).to(np.float64)
        batches, optimizer = data.DataLoader(X, Y, batch_size=size), make(model.parameters())
        history = fit(model, batches, F.cross_entropy, optimizer, epochs=2, **options)
        return history.column("loss")

    np.testing.assert_allclose(search(20, accumulate=4), search(70), rtol=1e-6)


def test_an_optimiser_that_looks_twice_sees_one_loss_and_the_model_remembers_once() -> None:
    class Twice(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            losses.append(closure().item())
            losses.append(closure().item())
            return super().step(closure)

    class Counts(nn.Linear):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.n = np.zeros(())

        def forward(self, x: Any) -> Any:
            self.remember(n=self.n + 1)
            return super().forward(x)

    losses: list[float] = []
    model = Counts(3, 2, rng=0)
    step = Step(model, F.cross_entropy, Twice(model.parameters(), lr=0.1))
    loss = step.accumulate([(X[:30], Y[:30]), (X[30:], Y[30:])])
    assert losses[0] == losses[1] == loss.item()
    assert model.n == 2


def test_a_nan_in_any_batch_ends_it_before_the_step() -> None:
    model = nn.Linear(3, 2, rng=0)
    start = model.state_dict()
    batches = [(X, Y)] * 5 + [(X * np.nan, Y)]
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(FloatingPointError, match="epoch 1, batch 5: the loss is nan: linear was"),
    ):
        fit(
            *(model, batches, F.cross_entropy, optim.SGD(model.parameters(), lr=0.0)),
            epochs=1,
            accumulate=2,
        )
    np.testing.assert_array_equal(model.weight.data, start["weight"])


def test_only_one_graph_is_alive_at_a_time() -> None:
    alive: list[int] = []
    outputs: list[Any] = []

    class Watched(nn.Linear):
        def forward(self, x: Any) -> Any:
            alive.append(sum(output() is not None for output in outputs))
            out = super().forward(x)
            outputs.append(ref(out.data))
            return out

    model = Watched(3, 2, rng=0)
    step = Step(model, F.cross_entropy, optim.SGD(model.parameters()))
    step.accumulate([(X, Y)] * 4)
    assert alive == [0, 0, 0, 0]

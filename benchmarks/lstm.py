"""A training step of an LSTM that reads 28 rows of 28 pixels: 128 units, batch 64, Adam, float32.

Before the clock runs, all must go through the same losses as the NumPy by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from derivatives import ALIKE
from result import Result, ratio_text, time_text
from timing import Apart, Runner, alternate, quartiles

TIMES, PIXELS, UNITS, BATCH, CLASSES = 28, 28, 128, 64, 10
LR = 1e-3
TARGET = 1.3  # times PyTorch's
HAND, OURS, PEER = "NumPy by hand", "tensorgrad", "torch"


def problem() -> tuple[dict[str, Any], Any, Any]:
    """Parameters by PyTorch's names, images and classes."""
    rng = np.random.default_rng(0)
    shapes = {
        "lstm.weight_ih_l0": (4 * UNITS, PIXELS),
        "lstm.weight_hh_l0": (4 * UNITS, UNITS),
        "lstm.bias_ih_l0": (4 * UNITS,),
        "lstm.bias_hh_l0": (4 * UNITS,),
        "answer.weight": (CLASSES, UNITS),
        "answer.bias": (CLASSES,),
    }
    limit = UNITS**-0.5
    draw = lambda shape: rng.uniform(-limit, limit, shape).astype(np.float32)
    parameters = {name: draw(shape) for name, shape in shapes.items()}
    images = rng.random((BATCH, TIMES, PIXELS), dtype=np.float32)
    return parameters, images, rng.integers(CLASSES, size=BATCH)


def by_hand() -> Callable[[], Any]:
    """Products with the inputs, and those of the weights' gradients, for all times at once."""
    p, x, y = problem()
    Wi, Wh, bi, bh, Wo, bo = (np.ascontiguousarray(a.T) for a in p.values())
    parameters = Wi, Wh, bi, bh, Wo, bo
    moments = [(np.zeros_like(a), np.zeros_like(a)) for a in parameters]
    rows, n, count = np.arange(BATCH), UNITS, 0
    x = np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(-1, PIXELS)
    sigmoid = lambda z: 1 / (1 + np.exp(-z))

    def step() -> Any:
        nonlocal count
        inputs = (x @ Wi + (bi + bh)).reshape(TIMES, BATCH, -1)
        h = c = np.zeros((BATCH, n), np.float32)
        kept = []
        for a in inputs:
            z = a + h @ Wh
            i, f, g, o = (
                *(sigmoid(z[:, :n]), sigmoid(z[:, n : 2 * n])),
                *(np.tanh(z[:, 2 * n : 3 * n]), sigmoid(z[:, 3 * n :])),
            )
            before, c = c, f * c + i * g
            squashed = np.tanh(c)
            kept.append((i, f, g, o, before, h, squashed))
            h = o * squashed
        z = h @ Wo + bo
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - z[rows, y])
        d = e / total
        d[rows, y] -= 1
        d /= BATCH
        gWo, gbo = h.T @ d, d.sum(axis=0)
        dh, dc = d @ Wo.T, np.zeros((BATCH, n), np.float32)
        dz = np.empty((TIMES, BATCH, 4 * n), np.float32)
        for t in reversed(range(TIMES)):
            i, f, g, o, before, _, squashed = kept[t]
            dc += dh * o * (1 - squashed * squashed)
            dz[t, :, :n] = dc * g * i * (1 - i)
            dz[t, :, n : 2 * n] = dc * before * f * (1 - f)
            dz[t, :, 2 * n : 3 * n] = dc * i * (1 - g * g)
            dz[t, :, 3 * n :] = dh * squashed * o * (1 - o)
            dc *= f
            dh = dz[t] @ Wh.T
        dz = dz.reshape(-1, 4 * n)
        gb = dz.sum(axis=0)
        hs = np.concatenate([made[5] for made in kept])
        count += 1
        a, b = 1 - 0.9**count, 1 - 0.999**count
        gradients = x.T @ dz, hs.T @ dz, gb, gb, gWo, gbo
        for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= LR / a * m / (np.sqrt(v / b) + 1e-8)
        return loss

    return step


def ours() -> Callable[[], Any]:
    from tensorgrad import nn, optim

    class Reader(nn.Module):
        def __init__(self) -> None:
            self.lstm = nn.LSTM(PIXELS, UNITS, batch_first=True)
            self.answer = nn.Linear(UNITS, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.answer(self.lstm(x)[0][:, -1])

    parameters, x, y = problem()
    model = Reader()
    model.load_state_dict(parameters)
    optimizer = optim.Adam(model.parameters(), lr=LR)
    return training_step(model, nn.functional.cross_entropy, optimizer, x, y)


def torchs() -> Callable[[], Any]:
    import torch
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(PIXELS, UNITS, batch_first=True)
            self.answer = nn.Linear(UNITS, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.answer(self.lstm(x)[0][:, -1])

    parameters, x, y = problem()
    model = Reader()
    model.load_state_dict({name: torch.tensor(a) for name, a in parameters.items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    data = torch.tensor(x), torch.tensor(y)
    return training_step(model, nn.functional.cross_entropy, optimizer, *data)


def training_step(model: Any, cost: Any, optimizer: Any, x: Any, y: Any) -> Callable[[], Any]:
    def step() -> Any:
        loss = cost(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def run(rounds: int) -> Iterator[Result]:
    makers = {HAND: by_hand, OURS: ours, PEER: torchs}
    runners: dict[str, Runner] = {name: Apart(m, env=ALIKE) for name, m in makers.items()}
    right = runners[HAND].first(5)
    for name in (OURS, PEER):
        try:
            np.testing.assert_allclose(runners[name].first(5), right, rtol=1e-4, err_msg=name)
        except (ImportError, EOFError) as error:
            print(f"skipped: {name} ({error or 'did not start'})", file=sys.stderr)
            del runners[name]
    times = alternate(runners, rounds)
    for name, seconds in times.items():
        ratio = quartiles(seconds / times[HAND])
        to_peer = quartiles(seconds / times[PEER])[1] if PEER in times else float("nan")
        numbers = {"seconds": quartiles(seconds)[1], "ratio": ratio[1], "to_torch": to_peer}
        judged = name == OURS and PEER in times
        yield Result(
            f"LSTM of {UNITS}, {TIMES}x{PIXELS}, batch {BATCH}",
            name,
            time_text(numbers["seconds"]),
            ratio_text(*ratio) + (f", {to_peer:.2f}x torch" if judged else ""),
            target=f"<= {TARGET}x torch" if judged else "",
            met=to_peer <= TARGET if judged else None,
            numbers=numbers,
        )

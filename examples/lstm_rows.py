"""An LSTM reads MNIST row by row, 28 pixels at each of 28 times: 98.5 % and more.

    python examples/lstm_rows.py [epochs [images]]

After the last row, what it remembers tells the digit. Adam, its rate falling to 0 on half a cosine.
MNIST is read from $TENSORGRAD_DATA/mnist, or downloaded once.
"""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim

BATCH = 64


class Reader(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.lstm = nn.LSTM(28, 128, batch_first=True, rng=rng)
        self.answer = nn.Linear(128, 10, rng=rng)

    def forward(self, images: np.ndarray) -> tg.Value:
        h, _ = self.lstm(images.reshape(-1, 28, 28))
        return self.answer(h[:, -1])


class Cosine(tg.Step):
    """A step whose rate falls from step to step."""

    steps, done = 1, 0

    def __call__(self, *batch: np.ndarray) -> tg.Value:
        self.optimizer.param_groups[0]["lr"] = 1e-3 * (1 + np.cos(np.pi * self.done / self.steps))
        self.done += 1
        return super().__call__(*batch)


def train(epochs: int = 10, images: int = 60_000) -> None:
    x_train, y_train, x_test, y_test = data.mnist()
    rng = np.random.default_rng(0)
    model = Reader(rng)
    batches = data.DataLoader(
        x_train[:images], y_train[:images], batch_size=BATCH, shuffle=True, rng=rng
    )
    Cosine.steps = epochs * -(-images // BATCH)
    history = tg.fit(
        model,
        batches,
        nn.functional.cross_entropy,
        optim.Adam(model.parameters()),
        epochs=epochs,
        validation=(x_test, y_test),
        step=Cosine,
        on_epoch=lambda e: print(f"Epoch {e.epoch}: {e.accuracy:.2%}", flush=True),
    )
    print(f"After {history[-1].seconds:.0f} s: {history[-1].accuracy:.2%}")


if __name__ == "__main__":
    train(*map(int, sys.argv[1:]))

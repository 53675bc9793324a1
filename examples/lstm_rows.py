"""An LSTM learns to read MNIST row by row, 28 pixels at each of 28 times, to 99 %.

    python examples/lstm_rows.py [epochs [images [seed]]]

What it remembers after the last row tells the digit. Adam, with a rate that falls along half a
cosine. Measured on the 10,000 test images. MNIST is read from $TENSORGRAD_DATA/mnist, or downloaded
once.
"""

import sys
from typing import Any

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim
from tensorgrad.train import Schedule

BATCH = 64


class Reader(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.lstm = nn.LSTM(28, 128, batch_first=True, rng=rng)
        self.answer = nn.Linear(128, 10, rng=rng)

    def forward(self, images: Any) -> tg.Value:
        h, _ = self.lstm(images)
        return self.answer(h[:, -1])


def train(epochs: int = 10, images: int = 60_000, seed: int = 0) -> None:
    x_train, y_train, x_test, y_test = data.mnist()
    x_train, x_test = (x.reshape(-1, 28, 28) for x in (x_train[:images], x_test))

    rng = np.random.default_rng(seed)
    model = Reader(rng)
    batches = data.DataLoader(x_train, y_train[:images], batch_size=BATCH, shuffle=True, rng=rng)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(batches))
    history = tg.fit(
        model,
        batches,
        nn.functional.cross_entropy,
        optimizer,
        epochs=epochs,
        validation=(x_test, y_test),
        callbacks=[Schedule(cosine, each="step")],
        on_epoch=lambda e: print(f"Epoch {e.epoch}: {e.accuracy:.2%}", flush=True),
    )
    last = history[-1]
    print(f"At the end {last.accuracy:.2%} of the test images, in {last.seconds:.1f} s.")


if __name__ == "__main__":
    train(*map(int, sys.argv[1:]))

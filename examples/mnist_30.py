"""Nielsen's first network: 784-30-10 sigmoid neurons learn to read MNIST, to 95 % in 30 epochs.

    python examples/mnist_30.py [seed [epochs]]

Neural Networks and Deep Learning, chapter 1: quadratic cost, weights and biases from N(0, 1),
mini-batches of 10, learning rate 3. Trained on the first 50,000 images, measured on the 10,000
test images. MNIST is read from $TENSORGRAD_DATA/mnist, or downloaded once.
"""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim


def train(hidden: int, seed: int = 0, epochs: int = 30) -> None:
    x_train, y_train, x_test, y_test = data.mnist()
    one_hot = np.eye(10, dtype=np.float32)

    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Linear(784, hidden, init="normal", rng=rng),
        nn.Sigmoid(),
        nn.Linear(hidden, 10, init="normal", rng=rng),
        nn.Sigmoid(),
    )
    history = tg.fit(
        model,
        data.DataLoader(
            x_train[:50_000], one_hot[y_train[:50_000]], batch_size=10, shuffle=True, rng=rng
        ),
        nn.functional.quadratic,
        optim.SGD(model.parameters(), lr=3.0),
        epochs=epochs,
        validation=(x_test, one_hot[y_test]),
        on_epoch=lambda e: print(f"Epoch {e.epoch}: {e.accuracy * 10_000:,.0f} / 10,000"),
    )
    best = max(history, key=lambda e: e.accuracy)
    print(f"Best: {best.accuracy:.2%} after epoch {best.epoch}, in {history[-1].seconds:.1f} s.")


if __name__ == "__main__":
    train(30, *map(int, sys.argv[1:]))

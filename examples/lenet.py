"""LeNet-5 learns to read MNIST, to 99 %: two convolutions with pooling, three dense layers.

    python examples/lenet.py [epochs [images [seed]]]

LeCun et al., Gradient-based learning applied to document recognition (1998), fig. 2, in the form
that is usual today: ReLU, largest entries instead of means, softmax; momentum, a little weight
decay, and a rate that falls by a fifth after each epoch. Measured on the 10,000 test images. MNIST
is read from $TENSORGRAD_DATA/mnist, or downloaded once.
"""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim
from tensorgrad.train import Schedule


def network(rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120, rng=rng),
        nn.ReLU(),
        nn.Linear(120, 84, rng=rng),
        nn.ReLU(),
        nn.Linear(84, 10, rng=rng),
    )


def train(epochs: int = 12, images: int = 60_000, seed: int = 0) -> None:
    x_train, y_train, x_test, y_test = data.mnist()
    x_train, x_test = (x.reshape(-1, 1, 28, 28) for x in (x_train[:images], x_test))

    rng = np.random.default_rng(seed)
    model = network(rng)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    history = tg.fit(
        model,
        data.DataLoader(x_train, y_train[:images], batch_size=64, shuffle=True, rng=rng),
        nn.functional.cross_entropy,
        optimizer,
        epochs=epochs,
        validation=(x_test, y_test),
        callbacks=[Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.8))],
        on_epoch=lambda e: print(f"Epoch {e.epoch}: {e.accuracy:.2%}", flush=True),
    )
    last = history[-1]
    print(f"At the end {last.accuracy:.2%} of the test images, in {last.seconds:.1f} s.")


if __name__ == "__main__":
    train(*map(int, sys.argv[1:]))

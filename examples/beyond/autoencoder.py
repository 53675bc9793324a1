"""An autoencoder: 784 pixels through 30 numbers and back, beside PCA with as many."""

from itertools import pairwise

import numpy as np

import tensorgrad as tg
from examples.by_hand import autoencoder as by_hand
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, optim
from tensorgrad.train import Schedule
from tensorgrad.viz import figures


def autoencoder(rng, widths=(784, 500, 250, 30, 250, 500, 784)):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, init="he", rng=rng), nn.ReLU()]
    del layers[5]  # the code may be negative
    layers[-1] = nn.Sigmoid()
    return nn.Sequential(*layers)


def train(seed, epochs, x, lr=2e-3):
    rng = np.random.default_rng(seed)
    model = autoencoder(rng)
    batches = data.DataLoader(x, x, batch_size=200, shuffle=True, rng=rng)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(batches))
    tg.fit(
        model,
        batches,
        nn.functional.quadratic,
        optimizer,
        epochs=epochs,
        callbacks=[Schedule(cosine, each="step")],
        on_epoch=show,
    )
    return model


def between(model, x):
    """From each image to the next in ten steps, through the codes between theirs."""
    codes = tg.train.predict(model[:5], x)
    share = np.linspace(0, 1, 10, dtype=np.float32)[:, None]
    ways = [(1 - share) * a + share * b for a, b in pairwise(codes)]
    return tg.train.predict(model[5:], np.concatenate(ways))


def pca(x, code=30):
    """The nearest point, for each row, of the plane of most variance of `x`."""
    mean, (_, directions) = x.mean(axis=0), np.linalg.eigh(np.cov(x.T))
    plane = directions[:, -code:].astype(x.dtype)
    return lambda rows: mean + (rows - mean) @ plane @ plane.T


def squared_error(x, again):
    """Summed over an image's pixels, the mean of images."""
    return np.mean(np.sum((x - again) ** 2, axis=1))


def train_by_hand(seed, epochs, images):
    """The same in plain NumPy, measured as well."""
    x, _, test, _ = data.mnist()
    parameters = by_hand.train(seed, epochs, images)
    again, flat = by_hand.forward(parameters, test)[-1], pca(x[:images])(test)
    return squared_error(test, again), squared_error(test, flat)


@experiment(
    Claim("autoencoder with 30 numbers, squared error of a test image", 3.00, at_most=5.0,
          quick=25.0, form=".2f"),
    Claim("PCA with 30", 13.87, within=0.1, quick=0.1, form=".2f"),
    quick={"epochs": 1, "images": 30_000},
    by_hand=train_by_hand,
    timed={"epochs": 1, "images": 20_000},
    note="Reported: G. Hinton and R. Salakhutdinov, Science 313, 2006, for 784-1000-500-250-30 and "
    "its mirror image, pretrained layer by layer.",
)  # fmt: skip
def thirty(seed=0, epochs=12, images=60_000):
    x, _, test, labels = data.mnist()
    model = train(seed, epochs, x[:images])
    again, flat = tg.train.predict(model, test), pca(x[:images])(test)

    def draw():
        first = test[[np.argmax(labels == digit) for digit in range(10)]]
        again, flat = tg.train.predict(model, first), np.clip(pca(x)(first), 0, 1)
        rows = ["test image", "30 numbers", "PCA with 30", *(f"{i} to {i + 1}" for i in range(9))]
        return figures.pictures(
            np.concatenate([first, again, flat, between(model, first)]),
            rows=rows,
            title="Digits through 30 numbers",
        )

    return Reached([squared_error(test, again), squared_error(test, flat)], draw)

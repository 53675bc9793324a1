"""A GAN: two networks play against each other until one draws digits.

The generator makes images of noise, the discriminator tells them from MNIST's, and each learns from
the other's mistakes (I. Goodfellow et al., Generative Adversarial Nets, 2014). A third network,
which has learned to read real digits, judges what is drawn.
"""

import numpy as np

import tensorgrad as tg
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, no_grad, optim
from tensorgrad.nn.functional import cross_entropy, softmax, softplus
from tensorgrad.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tensorgrad.viz import figures

NOISE = 64


def generator(rng):
    return nn.Sequential(
        *(nn.Linear(NOISE, 256, rng=rng), nn.BatchNorm1d(256), nn.ReLU()),
        *(nn.Linear(256, 512, rng=rng), nn.BatchNorm1d(512), nn.ReLU()),
        *(nn.Linear(512, 784, rng=rng), nn.Sigmoid()),
    )


def discriminator(rng):
    return nn.Sequential(
        *(nn.Linear(784, 256, rng=rng), nn.LeakyReLU(0.2), nn.Dropout(0.3, rng=rng)),
        *(nn.Linear(256, 256, rng=rng), nn.LeakyReLU(0.2), nn.Dropout(0.3, rng=rng)),
        nn.Linear(256, 1, rng=rng),
    )


def draw(make, n, rng):
    """Images (n, 784) of noise."""
    return make(rng.standard_normal((n, NOISE), dtype=np.float32))


def told_apart(make, tell, real, rng):
    """The discriminator's loss: -ln of its chances that real is real and drawn is drawn."""
    with no_grad():
        drawn = draw(make, len(real), rng).data
    return np.mean(softplus(-tell(real))) + np.mean(softplus(tell(drawn)))


def found_out(make, tell, n, rng):
    """The generator's: -ln of the chance, to the discriminator, that what it draws is real."""
    return np.mean(softplus(-tell(draw(make, n, rng))))


def play(x, epochs, rng, batch):
    """Both learn in turn. What comes back is a slow mean of the generator, which wavers less."""
    make, tell = generator(rng), discriminator(rng)
    makes, tells = (optim.Adam(m.parameters(), lr=5e-4, betas=(0.5, 0.999)) for m in (make, tell))
    mean = AveragedModel(make, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    for epoch in range(epochs):
        for (real,) in data.DataLoader(x, batch_size=batch, shuffle=True, rng=rng, drop_last=True):
            for who, loss in (
                (tells, told_apart(make, tell, real, rng)),
                (makes, found_out(make, tell, batch, rng)),
            ):
                who.zero_grad()
                loss.backward()
                who.step()
            mean.update_parameters(make)
        print(f"  epoch {epoch + 1}: generator's loss {loss.item():.3f}", flush=True)
    return mean.eval()


def reader(x, y, epochs, rng):
    """A network that reads digits: their chances (n, 10)."""
    model = nn.Sequential(nn.Linear(784, 200, rng=rng), nn.ReLU(), nn.Linear(200, 10, rng=rng))
    adam = optim.Adam(model.parameters(), lr=1e-3)
    batches = data.DataLoader(x, y, batch_size=100, shuffle=True, rng=rng)
    tg.fit(model, batches, cross_entropy, adam, epochs=epochs, on_epoch=show)
    return lambda images: softmax(tg.train.predict(model, images))


def nearest(images, x):
    """The image in x that is nearest to each, and how far off it is."""
    squares = np.sum(x**2, axis=1) - 2 * images @ x.T
    found = x[squares.argmin(axis=1)]
    return found, np.linalg.norm(images - found, axis=1)


@experiment(
    Claim("drawn digits that are read with 90 % confidence", None, at_least=0.3),
    Claim("real test digits that are", None),
    Claim("share of the rarest digit among the drawn", 0.1, at_least=0.03),
    Claim("distance to the nearest training image, a test image's being 1", 1.0, within=0.4,
          quick=0.3, form=".2f"),
    seeds=1,
    quick={"epochs": 2, "images": 10_000, "batch": 32},
    note="After six passes over the images, and with no convolution: networks of whole layers.",
)  # fmt: skip
def digits(seed=0, epochs=6, images=60_000, batch=100):
    rng = np.random.default_rng(seed)
    x, y, test, _ = data.mnist()
    make, read = play(x[:images], epochs, rng, batch), reader(x[:images], y[:images], 2, rng)
    with no_grad():
        drawn = draw(make, 1000, rng).data
    chances = read(drawn)
    digit = chances.argmax(axis=1)
    copies, distance = nearest(drawn[:300], x)
    apart = np.median(distance) / np.median(nearest(test[:300], x)[1])

    def sheet():
        chosen = np.concatenate([np.resize(np.flatnonzero(digit == d), 8) for d in range(10)])
        by_digit = drawn[chosen.reshape(10, 8).T.ravel()]
        return figures.pictures(
            np.concatenate([by_digit, drawn[:10], copies[:10]]),
            rows=["read as 0 to 9", *["the same"] * 7, "the first ten", "nearest in MNIST"],
            title="What the generator draws",
        )

    sure = [np.mean(p.max(axis=1) > 0.9) for p in (chances, read(test))]
    return Reached([*sure, np.bincount(digit, minlength=10).min() / 1000, apart], sheet)

"""A variational autoencoder of two numbers: the plane of digits.

What stands where if the plane is laid out by equal shares of the normal distribution, after figure
4 of D. Kingma and M. Welling, Auto-Encoding Variational Bayes, 2014.
"""

from statistics import NormalDist

import numpy as np

from examples.beyond.vae import decoded, measure, train
from examples.experiment import Claim, Reached, experiment
from tensorgrad import data, no_grad
from tensorgrad.viz.figures import canvas


@experiment(
    Claim("ELBO of a test image, 2 numbers", None, at_least=-155, quick=-190, form=".1f"),
    Claim("of it, what the code costs (KL)", None, form=".1f"),
    seeds=1,
    quick={"epochs": 1, "images": 20_000},
)
def plane(seed=0, epochs=6, images=60_000):
    x, _, test, labels = data.mnist()
    model = train(x[:images], 2, 400, seed, epochs)

    def draw():
        """What stands where in the plane, by equal shares of N(0, 1), and where test images are."""
        sheet = canvas.sheet(12, 6)
        left, right = sheet.subplots(1, 2)
        steps = NormalDist().inv_cdf
        quantiles = np.array([steps((i + 0.5) / 20) for i in range(20)])
        z = np.stack(np.meshgrid(quantiles, -quantiles), axis=2).reshape(-1, 2)
        tiles = decoded(model, z).reshape(20, 20, 28, 28).swapaxes(1, 2).reshape(560, 560)
        left.imshow(tiles, cmap="gray_r")
        with no_grad():
            codes = model(test[:5000])[1].data
        dots = right.scatter(*codes.T, c=labels[:5000], cmap="tab10", s=4)
        right.legend(*dots.legend_elements(num=10), title="digit")
        for axes in (left, right):
            axes.set(xticks=[], yticks=[])
        return sheet

    return Reached(measure(model, test), draw)

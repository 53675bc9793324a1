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
    Claim("ELBO of a test image, 2 numbers", None, at_least=-160, quick=-195, form=".1f"),
    Claim("of it, what the code costs (KL)", None, form=".1f"),
    seeds=1,
    quick={"epochs": 1, "images": 20_000},
)
def plane(seed=0, epochs=6, images=60_000):
    x, _, test, labels = data.mnist()
    model = train(x[:images], 2, 400, seed, epochs)

    def draw():
        sheet = canvas.sheet(12, 6)
        left, right = sheet.subplots(1, 2)
        quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / 20) for i in range(20)])
        z = np.stack(np.meshgrid(quantiles, -quantiles), axis=2).reshape(-1, 2)
        tiles = decoded(model, z).reshape(20, 20, 28, 28).swapaxes(1, 2).reshape(560, 560)
        left.imshow(tiles, cmap="gray_r")
        canvas.caption(left, "what stands where in the plane")
        with no_grad():
            codes = model(test[:5000])[1].data
        dots = right.scatter(*codes.T, c=labels[:5000], cmap="tab10", s=4)
        right.legend(*dots.legend_elements(num=10), title="digit")
        canvas.caption(right, "where 5,000 test images are")
        for axes in (left, right):
            canvas.blank(axes)
        return sheet

    return Reached(measure(model, test), draw)

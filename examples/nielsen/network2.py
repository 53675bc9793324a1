"""His network2.py: dense layers of sigmoid neurons, two costs, two initialisations, L2, monitors.

Chapters 3 and 5 are settings of it. examples/by_hand/dense.py is the same in plain NumPy.
"""

from itertools import pairwise

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.experiment import show
from tensorgrad import data, nn, optim
from tensorgrad.train import Checkpoint, penalised

F = nn.functional


def network(sizes, init, rng):
    """Layers of sigmoid neurons; the last gives its weighted sums: its σ is part of the cost.

    init: "normal", N(0, 1), his large one, or "lecun", N(0, 1/n), his default.
    """
    *hidden, last = (nn.Linear(n, out, init=init, rng=rng) for n, out in pairwise(sizes))
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.Sigmoid())), last)


def quadratic(z, y):
    return F.quadratic(F.sigmoid(z), y)


COSTS = {"cross_entropy": F.sigmoid_cross_entropy, "quadratic": quadratic}


def train(
    seed=0,
    epochs=30,
    *,
    sizes,
    lr,
    cost="cross_entropy",
    init="lecun",
    l2=0.0,
    images=50_000,
    batch=10,
    monitored=("test",),
    checkpoint=None,
):
    """The history, with cost and accuracy on the sets `monitored`, the penalty included.

    `l2` is his λ/n; he divides λ by the number of images of the set that is measured, which for
    the training images is the same. `images`: so many of the training images are used.
    `checkpoint`: a file to go on from, if it is there, and to write after each epoch.
    """
    sets = mnist.split()._asdict()
    training = sets["training"] = sets["training"].first(images)
    rng = np.random.default_rng(seed)
    model = network(sizes, init, rng)
    return tg.fit(
        model,
        data.DataLoader(training.x, training.one_hot, batch_size=batch, shuffle=True, rng=rng),
        COSTS[cost],
        optim.SGD(model.parameters(), lr=lr),
        epochs=epochs,
        validation={name: (sets[name].x, sets[name].one_hot) for name in monitored},
        step=penalised(l2=l2),
        callbacks=[Checkpoint(checkpoint)] if checkpoint else [],
        resume=checkpoint is not None,
        on_epoch=show,
    )

"""Chapter 5: more hidden layers do not help, for the gradient vanishes on its way to the first."""

from functools import partial

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.by_hand import dense
from examples.experiment import Claim, Reached, experiment
from examples.nielsen.network2 import network, train
from tensorgrad import nn, optim
from tensorgrad.train import penalised
from tensorgrad.viz import figures


def settings(hidden):
    return {
        "sizes": (784, *[30] * hidden, 10),
        "lr": 0.1,
        "l2": 5.0 / 50_000,
        "monitored": ("validation",),
    }


def depth(hidden, reported, quick, epochs=1):
    """What an experiment with so many hidden layers of 30 neurons claims."""
    return experiment(
        Claim(f"hidden layers of 30: {hidden}", reported, at_least=reported - 0.005, quick=quick),
        quick={"epochs": epochs},
        by_hand=partial(dense.train, **settings(hidden)),
    )


def best(history):
    return Reached(max(history.column("accuracy")), lambda: figures.learning_curves(history))


@depth(1, 0.9648, quick=0.91)
def one(seed=0, epochs=30, checkpoint=None):
    return best(train(seed, epochs, **settings(1), checkpoint=checkpoint))


@depth(2, 0.9690, quick=0.89)
def two(seed=0, epochs=30, checkpoint=None):
    return best(train(seed, epochs, **settings(2), checkpoint=checkpoint))


@depth(3, 0.9657, quick=0.82)
def three(seed=0, epochs=30, checkpoint=None):
    return best(train(seed, epochs, **settings(3), checkpoint=checkpoint))


@depth(4, 0.9653, quick=0.70, epochs=2)  # after one it has hardly begun
def four(seed=0, epochs=30, checkpoint=None):
    return best(train(seed, epochs, **settings(4), checkpoint=checkpoint))


NORMS = (0.0030, 0.0171, 0.0695, 0.2851)  # of his one network, first hidden layer to last
COST = nn.functional.sigmoid_cross_entropy


def deep(seed):
    """Four hidden layers, and the length of ∂C/∂b in each layer, over 1,000 images."""
    images = mnist.split().training.first(1000)
    model = network(settings(4)["sizes"], "lecun", np.random.default_rng(seed))
    return model, figures.GradientNorms(model, COST, images.x, images.one_hot)


@experiment(
    *(
        Claim(f"‖∂C/∂b‖, hidden layer {n}", norm, within=norm / 2, quick=norm / 2, form=".4f")
        for n, norm in enumerate(NORMS, 1)
    ),
    seeds=1,
    quick={"epochs": 5, "networks": 50},
    note="the book has one network; ours is the median of 200. Of these, 75 %, 92 %, 74 % and "
    "44 % have a shorter gradient than his in layers 1 to 4.",
)
def vanishing(seed=0, epochs=500, networks=200):
    drawn = [deep(seed + i)[1].by_layer() for i in range(networks)]
    first = np.array([[norms[0] for norms in by_layer.values()] for by_layer in drawn])
    model, norms = deep(seed)
    images = mnist.split().training.first(1000)
    tg.fit(
        model,
        [(images.x, images.one_hot)],  # all of them at once, as in the book's program
        COST,
        optim.SGD(model.parameters(), lr=0.1),
        epochs=epochs,
        callbacks=[norms],
        step=penalised(l2=5.0 / 1000),
    )
    return Reached(np.median(first, axis=0)[:4].tolist(), lambda: figures.gradient_norms(norms))

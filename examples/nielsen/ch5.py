"""Chapter 5: more hidden layers do not help, for the gradient vanishes on its way to the first."""

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.by_hand import dense
from examples.experiment import Claim, Reached, experiment
from examples.nielsen.network2 import network, train
from tensorgrad import nn, optim
from tensorgrad.train import penalised
from tensorgrad.viz import figures

REPORTED = {1: 0.9648, 2: 0.9690, 3: 0.9657, 4: 0.9653}
SETTINGS = {"lr": 0.1, "l2": 5.0 / 50_000, "monitored": ("validation",)}


def sizes(hidden):
    return (784, *[30] * hidden, 10)


def curves(histories):
    figure = figures.canvas.sheet(7.0, 4.5)
    axes = figure.subplots()
    for hidden, history in histories.items():
        axes.plot(history.column("epoch"), history.column("accuracy"), label=hidden)
    figures.canvas.caption(axes, "Accuracy on the validation images", "epoch")
    axes.yaxis.set_major_formatter(lambda x, _: f"{100 * x:.4g} %")
    axes.grid(alpha=0.3)
    axes.legend(title="hidden layers")
    return figure


def by_hand(seed, epochs):
    for hidden in REPORTED:
        dense.train(seed, epochs, sizes=sizes(hidden), **SETTINGS)


@experiment(
    *(
        Claim(f"hidden layers of 30: {n}", reported, at_least=reported - 0.005, quick=0.85)
        for n, reported in REPORTED.items()
    ),
    quick={"epochs": 1},
    by_hand=by_hand,
)
def depth(seed=0, epochs=30):
    histories = {n: train(seed, epochs, sizes=sizes(n), **SETTINGS) for n in REPORTED}
    best = [max(history.column("accuracy")) for history in histories.values()]
    return Reached(best, lambda: curves(histories))


NORMS = (0.0030, 0.0171, 0.0695, 0.2851)  # of his one network, first hidden layer to last
COST = nn.functional.sigmoid_cross_entropy


def deep(seed):
    """Four hidden layers, and the length of ∂C/∂b in each layer, over 1,000 images."""
    images = mnist.split().training.first(1000)
    model = network(sizes(4), "lecun", np.random.default_rng(seed))
    return model, figures.GradientNorms(model, COST, images.x, images.one_hot)


@experiment(
    *(
        Claim(
            f"‖∂C/∂b‖ at first, hidden layer {n}", norm, within=norm / 2, quick=norm / 2, form=".4f"
        )
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

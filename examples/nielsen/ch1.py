"""Chapter 1: a network reads handwritten digits, by plain gradient descent."""

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, optim
from tensorgrad.viz import figures


def train(hidden, seed, epochs, lr=3.0):
    """His network.py: sigmoid neurons, weights of N(0, 1), quadratic cost, batches of 10."""
    training, _, test = mnist.split()
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Linear(784, hidden, init="normal", rng=rng),
        nn.Sigmoid(),
        nn.Linear(hidden, 10, init="normal", rng=rng),
        nn.Sigmoid(),
    )
    return tg.fit(
        model,
        data.DataLoader(training.x, training.one_hot, batch_size=10, shuffle=True, rng=rng),
        nn.functional.quadratic,
        optim.SGD(model.parameters(), lr=lr),
        epochs=epochs,
        validation=(test.x, test.one_hot),
        on_epoch=show,
    )


@experiment(Claim("784-30-10", 0.9542, at_least=0.9492, quick=0.90), quick={"epochs": 1})
def thirty(seed=0, epochs=30):
    history = train(30, seed, epochs)
    return Reached(max(history.column("accuracy")), lambda: figures.learning_curves(history))

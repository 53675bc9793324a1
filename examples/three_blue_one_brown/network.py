"""784-16-16-10, the network of the films: 13,002 weights and biases that read digits."""

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.by_hand import three_blue_one_brown as by_hand
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, optim
from tensorgrad.optim.lr_scheduler import CosineAnnealingLR
from tensorgrad.train import Schedule
from tensorgrad.viz import figures


def network(rng, squash=nn.ReLU, init="he"):
    return nn.Sequential(
        *(nn.Linear(784, 16, init=init, rng=rng), squash()),
        *(nn.Linear(16, 16, init=init, rng=rng), squash()),
        nn.Linear(16, 10, init=init, rng=rng),
    )


def moved(x, y, rng):
    """Half of the batches are moved by up to a pixel, down or up and right or left: so few neurons
    learn no digit by heart, but they do learn where it stands.
    """
    down, right = rng.integers(-1, 2, 2)
    if rng.random() < 0.5:
        x = data.shift(x.reshape(-1, 28, 28), down, right).reshape(-1, 784)
    return x, y


def batches(rng):
    """All 60,000 images for training, 64 at a time."""
    training, validation, _ = mnist.split()
    x, y = map(np.concatenate, zip(training, validation))
    return data.DataLoader(x, y, batch_size=64, shuffle=True, transform=moved, rng=rng)


def train(seed, epochs, squash=nn.ReLU, init="he", lr=3e-3, loss=nn.functional.cross_entropy):
    """By Adam, at a rate that falls along a cosine."""
    rng = np.random.default_rng(seed)
    model, loader, test = network(rng, squash, init), batches(rng), mnist.split().test
    adam = optim.Adam(model.parameters(), lr=lr)
    schedule = Schedule(CosineAnnealingLR(adam, T_max=epochs * len(loader)), each="step")
    history = tg.fit(
        model,
        loader,
        loss,
        adam,
        epochs=epochs,
        validation=(test.x, test.y),
        callbacks=[schedule],
        on_epoch=show,
    )
    return model, history


def train_by_hand(seed, epochs):
    rng = np.random.default_rng(seed)
    parameters = [p.data for p in network(rng).parameters()]
    test = mnist.split().test
    return by_hand.train(parameters, batches(rng), epochs, (test.x, test.y))


@experiment(
    Claim("784-16-16-10, ReLU", 0.96, at_least=0.96, quick=0.90),
    Claim("its parameters", 13_002, within=0, quick=0, form=",.0f"),
    quick={"epochs": 2},
    by_hand=train_by_hand,
)
def relu(seed=0, epochs=40):
    model, history = train(seed, epochs)
    parameters = sum(p.size for p in model.parameters())
    return Reached(
        [max(history.column("accuracy")), parameters], lambda: figures.learning_curves(history)
    )


@experiment(Claim("784-16-16-10, sigmoid", 0.96, at_least=0.955, quick=0.85), quick={"epochs": 2})
def sigmoid(seed=0, epochs=40):
    _, history = train(seed, epochs, nn.Sigmoid, "xavier", lr=1e-2)
    return Reached(max(history.column("accuracy")), lambda: figures.learning_curves(history))

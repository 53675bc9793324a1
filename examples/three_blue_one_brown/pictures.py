"""The pictures of the films: what lights up, what neurons look for, what a digit asks to change.

Each number says of its picture what the film says.
"""

from functools import cache

import numpy as np

from examples import mnist
from examples.experiment import Claim, Reached, experiment
from examples.three_blue_one_brown import network
from tensorgrad import nn
from tensorgrad.train import predict
from tensorgrad.viz import figures

F = nn.functional
QUICK = {"epochs": 1}


def loss(z, y):
    """Cross-entropy of sigmoid outputs, which answer for one digit each."""
    return F.binary_cross_entropy_with_logits(z, mnist.ONE_HOT[y], reduction="sum") / len(y)


@cache
def reader(seed, epochs):
    """784-16-16-10 with sigmoid neurons to the end, as it stands in the films."""
    model, _ = network.train(seed, epochs, nn.Sigmoid, "xavier", lr=1e-2, loss=loss)
    return nn.Sequential(*model, nn.Sigmoid())


def sure(model, x):
    """The mean of the largest output."""
    return predict(model, x).max(axis=1).mean()


def cost(answers, targets):
    """His: the sum over the outputs of (a - y)², the mean over the examples."""
    return ((answers - targets) ** 2).sum(axis=-1).mean()


@experiment(
    Claim("a digit: the mean of the largest output", None, form=".2f"), seeds=1, quick=QUICK
)
def activations(seed=0, epochs=20):
    model, x = reader(seed, epochs), mnist.split().test.x
    return Reached(sure(model, x), lambda: figures.activations(model, x[0]))


@experiment(Claim("noise: the same", None, form=".2f"), seeds=1, quick=QUICK)
def noise(seed=0, epochs=20):
    """It is sure of what is no digit."""
    model = reader(seed, epochs)
    x = np.random.default_rng(seed).random((1000, 784), dtype=np.float32)
    return Reached(sure(model, x), lambda: figures.activations(model, x[0]))


@experiment(
    Claim("weights: how much pixels side by side are alike (correlation)", None, form=".2f"),
    seeds=1,
    quick=QUICK,
)
def weights(seed=0, epochs=20):
    """In the film they look almost random; digits that move by a pixel make neighbours alike."""
    model = reader(seed, epochs)
    middle = model[0].weight.data.reshape(16, 28, 28)[:, 6:22, 6:22]
    alike = np.corrcoef(middle[..., 1:].ravel(), middle[..., :-1].ravel())[0, 1]
    return Reached(alike, lambda: figures.first_layer(model))


@experiment(
    Claim("the input that an output likes best: that output", None, form=".2f"),
    seeds=1,
    quick=QUICK,
)
def maximising(seed=0, epochs=20):
    """It looks like no digit. (From a blank sheet on: at mid grey most neurons are flat.)"""
    model = reader(seed, epochs)
    return Reached(
        sure(model, figures.maximise(model, start=0.0)),
        lambda: figures.maximising_inputs(model, start=0.0),
    )


@experiment(
    Claim("a misread digit: its cost", None, form=".3f"),
    Claim("after a small step as it asks", None, form=".3f"),
    seeds=1,
    quick=QUICK,
)
def nudges(seed=0, epochs=20):
    model, test = reader(seed, epochs), mnist.split().test
    i = np.flatnonzero(predict(model, test.x).argmax(axis=1) != test.y)[0]
    x, y = test.x[i], test.one_hot[i]
    asked = cost(model(x[None]), y)
    asked.backward()
    step = {name: p.data - 0.1 * p.grad for name, p in model.named_parameters()}
    after = cost(nn.functional_call(model, step, x[None]), y)
    return Reached([asked.item(), after.item()], lambda: figures.nudges(model, x, y, cost))


@experiment(
    Claim("cost of 1,000 test digits", None, form=".3f"),
    Claim("and in a random direction as long as the weights", None, form=".3f"),
    seeds=1,
    quick=QUICK,
)
def surface(seed=0, epochs=20):
    model, (x, y) = reader(seed, epochs), mnist.split().test.first(1000)
    targets = mnist.ONE_HOT[y]
    away, _ = figures.directions(model, seed)
    moved = {name: p.data + away[name].astype(p.dtype) for name, p in model.named_parameters()}
    far = cost(nn.functional_call(model, moved, x), targets)
    return Reached(
        [cost(model(x), targets).item(), far.item()],
        lambda: figures.loss_surface(model, cost, x, targets),
    )

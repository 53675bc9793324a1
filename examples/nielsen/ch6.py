"""Chapter 6: convolutional networks, and a vote of five.

His network3.py: weights with variance 1/n_out, softmax that starts at zero, the cost of softmax and
log-likelihood, lambda divided by the number of mini-batches. The accuracy is its too: that on the
test images after the epoch that was best on the validation images, not after the best epoch.
"""

import math
from pathlib import Path

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.by_hand import conv
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, optim
from tensorgrad.optim import lr_scheduler
from tensorgrad.train import Checkpoint, EarlyStopping, Schedule, penalised
from tensorgrad.viz import figures
from tensorgrad.viz.figures.canvas import rows_of_pictures


def his(rng, out, n):
    return rng.standard_normal((out, n)) / math.sqrt(out), rng.standard_normal(out)


def his_kernels(rng, out, n):
    """His n_out of a convolution: filters times entries of a kernel, by the area of pooling."""
    return rng.standard_normal((out, n)) / math.sqrt(out * 25 / 4), rng.standard_normal(out)


def zeros(rng, out, n):
    return np.zeros((out, n)), np.zeros(out)


def dense(n, out, activation, rng, init=his):
    return nn.Linear(n, out, init=init, rng=rng), activation()


def convolution(channels, out, activation, rng, init=his_kernels):
    """5 x 5, the largest of 2 x 2, and then the activation, of which so a quarter is computed."""
    layer = nn.Conv2d(channels, out, 5)
    weight, bias = init(rng, out, 25 * channels)
    layer.weight.data = weight.reshape(layer.weight.shape).astype(np.float32)
    layer.bias.data = bias.astype(np.float32)
    return layer, nn.MaxPool2d(2), activation()


def one_convolution(rng, activation=nn.Sigmoid):
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *convolution(1, 20, activation, rng),
        nn.Flatten(),
        *dense(20 * 12 * 12, 100, activation, rng),
        nn.Linear(100, 10, init=zeros),
    )


def two_convolutions(rng, activation=nn.Sigmoid):
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *convolution(1, 20, activation, rng),
        *convolution(20, 40, activation, rng),
        nn.Flatten(),
        *dense(40 * 4 * 4, 100, activation, rng),
        nn.Linear(100, 10, init=zeros),
    )


def with_dropout(rng):
    """Drawn by He: of weights and biases as his it still read 10 % after 500 steps."""
    he = nn.init.he
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *convolution(1, 20, nn.ReLU, rng, he),
        *convolution(20, 40, nn.ReLU, rng, he),
        nn.Flatten(),
        nn.Dropout(0.5, rng=rng),
        *dense(40 * 4 * 4, 1000, nn.ReLU, rng, he),
        nn.Dropout(0.5, rng=rng),
        *dense(1000, 1000, nn.ReLU, rng, he),
        nn.Dropout(0.5, rng=rng),
        nn.Linear(1000, 10, init=zeros),
    )


def moved(x, y, rng):
    """Each image by up to a pixel, down or up and right or left, anew each time it is seen."""
    return data.random_shift(x.reshape(-1, 28, 28), rng=rng).reshape(x.shape), y


def train(
    model,
    rng,
    epochs,
    optimizer,
    training,
    *,
    batch=10,
    weight_decay=0.0,
    falls=False,
    transform=None,
    checkpoint=None,
):
    """Returns the history, of the validation images; the model is then that of the best epoch."""
    loader = data.DataLoader(
        *training, batch_size=batch, shuffle=True, transform=transform, rng=rng
    )
    # Of equal epochs the first; network3.py takes the last.
    callbacks = [EarlyStopping("accuracy", patience=epochs)]
    if falls:
        steps = epochs * len(loader)
        up = steps // 20
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - up, warmup=up)
        callbacks.append(Schedule(cosine, each="step"))
    if checkpoint is not None:
        callbacks.append(Checkpoint(checkpoint))
    history = tg.fit(
        model,
        loader,
        nn.functional.cross_entropy,
        optimizer,
        epochs=epochs,
        validation=mnist.split().validation,
        step=penalised(l2=weight_decay),
        callbacks=callbacks,
        on_epoch=show,
        resume=checkpoint is not None,
    )
    if history.interrupted:
        raise KeyboardInterrupt
    return history


def probabilities(model, x):
    model.eval()
    return nn.functional.softmax(tg.train.predict(model, x, batch_size=1000))


def accuracy(model):
    test = mnist.split().test
    return tg.train.accuracy(probabilities(model, test.x), test.y)


@experiment(Claim("FC100", 0.9780, at_least=0.9730, quick=0.88), quick={"epochs": 2})
def dense_100(seed=0, epochs=60):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(*dense(784, 100, nn.Sigmoid, rng), nn.Linear(100, 10, init=zeros))
    sgd = optim.SGD(model.parameters(), lr=0.1)
    history = train(model, rng, epochs, sgd, mnist.split().training)
    return Reached(accuracy(model), lambda: figures.learning_curves(history))


@experiment(
    Claim("conv20-FC100", 0.9878, at_least=0.9858, quick=0.7),
    seeds=1,
    quick={"epochs": 3, "images": 6000},
    note="batches of 64 with momentum 0.9, the rate falls from 0.3 along a cosine, 15 epochs; the "
    "book: η = 0.1, batches of 10, 60 epochs.",
)
def one_layer(seed=0, epochs=15, images=50_000, checkpoint=None):
    rng = np.random.default_rng(seed)
    model = one_convolution(rng)
    sgd = optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    training = mnist.split().training.first(images)
    train(model, rng, epochs, sgd, training, batch=64, falls=True, checkpoint=checkpoint)
    return Reached(accuracy(model), lambda: figures.filters(model))


@experiment(
    Claim("conv20-conv40-FC100", 0.9906, at_least=0.9886, quick=0.6),
    seeds=1,
    quick={"epochs": 4, "images": 5000},
    note="Adam, which leaves the plateau at the start sooner than gradient descent does, in "
    "batches of 64, the rate falls from 0.002 along a cosine, 15 epochs; the book: as with one.",
)
def two_layers(seed=0, epochs=15, images=50_000, checkpoint=None):
    rng = np.random.default_rng(seed)
    model = two_convolutions(rng)
    adam = optim.Adam(model.parameters(), lr=2e-3)
    training = mnist.split().training.first(images)
    train(model, rng, epochs, adam, training, batch=64, falls=True, checkpoint=checkpoint)
    return Reached(accuracy(model), lambda: figures.filters(model))


def relu_net(rng, epochs, training, l2, checkpoint=None):
    model = two_convolutions(rng, nn.ReLU)
    sgd = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    options = {"batch": 64, "falls": True, "weight_decay": l2, "checkpoint": checkpoint}
    train(model, rng, epochs, sgd, training, **options)
    return model


MOMENTUM = "batches of 64 with momentum 0.9, the rate falls from 0.05 along a cosine, "


@experiment(
    Claim("two conv, ReLU, λ = .1", 0.9923, at_least=0.9903, quick=0.8),
    seeds=1,
    quick={"epochs": 1, "images": 8000},
    by_hand=conv.train,
    timed={"epochs": 1, "images": 12_800},
    note=MOMENTUM + "12 epochs; the book: η = 0.03, batches of 10, 60 epochs.",
)
def relu(seed=0, epochs=12, images=50_000, checkpoint=None):
    rng = np.random.default_rng(seed)
    training = mnist.split().training.first(images)
    model = relu_net(rng, epochs, training, 0.1 / 5000, checkpoint)
    return Reached(accuracy(model), lambda: figures.filters(model))


def five_of_one(image):
    """An image and its four neighbours: blue the ink that came, red the ink that went."""
    x, _ = data.expand(image[None], [0])
    first, *rest = x.reshape(5, 28, 28)
    return rows_of_pictures(
        [first, *(other - first for other in rest)],
        ["as it is", "down", "up", "right", "left"],
        "Moved by one pixel: what came and what went",
        limits=(-1, 1),
        cmap="RdBu",
        scale="ink",
        columns=5,
    )


@experiment(
    Claim("two conv, ReLU, expanded data", 0.9937, at_least=0.9917, quick=0.8),
    seeds=1,
    quick={"epochs": 1, "images": 1600},
    note=MOMENTUM + "5 epochs of the 250,000; the book: η = 0.03, batches of 10, 60 epochs.",
)
def expanded(seed=0, epochs=5, images=50_000, checkpoint=None):
    rng = np.random.default_rng(seed)
    training = data.expand(*mnist.split().training.first(images))
    model = relu_net(rng, epochs, training, 0.1 / 25_000, checkpoint)
    return Reached(accuracy(model), lambda: five_of_one(training[0][0]))


@experiment(
    Claim("two FC1000 with dropout, expanded data", 0.9960, at_least=0.9940, quick=0.75),
    Claim("a vote of five of them", 0.9967, at_least=0.9947, quick=0.75),
    seeds=1,
    quick={"epochs": 1, "images": 4000, "batch": 16, "lr": 0.01, "nets": 3},
    note="the best of the five, and their vote; weights drawn by He, batches of 64 with momentum "
    "0.9, the rate falls from 0.05 along a cosine, 14 epochs of the 50,000, each image shifted "
    "anew every time by up to one pixel, also diagonally; the book: η = 0.03, batches of 10, 40 "
    "epochs of the 250,000.",
)
def voting(seed=0, epochs=14, images=50_000, batch=64, lr=0.05, nets=5, checkpoint=None):
    """Each net has a checkpoint of its own, and one that is trained is not trained again."""
    test, training = mnist.split().test, mnist.split().training.first(images)
    paths = [checkpoint and Path(f"{checkpoint}-{i}") for i in range(nets)]
    answers = []
    for i, path in enumerate(paths):
        rng = np.random.default_rng([seed, i])
        model = with_dropout(rng)
        sgd = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        options = {"batch": batch, "falls": True, "transform": moved}
        train(model, rng, epochs, sgd, training, **options, checkpoint=path)
        answers.append(probabilities(model, test.x))
        print(f"  net {i}: {tg.train.accuracy(answers[-1], test.y):.2%}", flush=True)
    voted = mnist.ONE_HOT[tg.train.vote(answers)]
    single = max(tg.train.accuracy(a, test.y) for a in answers)
    for path in filter(None, paths):
        path.unlink()
    return Reached(
        (single, tg.train.accuracy(voted, test.y)),
        lambda: figures.mistakes(test.x, voted, test.y, most=60),
    )

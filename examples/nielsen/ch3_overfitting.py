"""Chapter 3: overfitting, on 1,000 images; and what weights held down, or more images, do."""

from functools import partial

from examples.by_hand import dense
from examples.experiment import Claim, Reached, experiment
from examples.nielsen.network2 import train
from tensorgrad.viz import figures

# His λ is divided by the number of images.
FEW = {
    "sizes": (784, 30, 10),
    "lr": 0.5,
    "init": "normal",
    "images": 1000,
    "monitored": ("test", "training"),
}


def few(seed, epochs, l2):
    history = train(seed, epochs, **FEW, l2=l2)
    numbers = max(history.column("accuracy")), max(history.column("training_accuracy"))
    return Reached(numbers, lambda: figures.learning_curves(history))


@experiment(
    Claim("1,000 images", 0.823, at_least=0.818, quick=0.70),
    Claim("1,000 images, accuracy on them", 1.0, at_least=1.0, quick=0.85),
    quick={"epochs": 15},
    by_hand=partial(dense.train, **FEW),
    timed={"epochs": 5},
)
def plain(seed=0, epochs=400):
    return few(seed, epochs, l2=0.0)


@experiment(
    Claim("1,000 images, λ = 0.1", 0.871, at_least=0.866, quick=0.70),
    Claim("1,000 images, λ = 0.1, accuracy on them", None),
    quick={"epochs": 15},
    by_hand=partial(dense.train, **FEW, l2=0.1 / 1000),
    timed={"epochs": 5},
)
def regularised(seed=0, epochs=400):
    return few(seed, epochs, l2=0.1 / 1000)


ALL = {
    "sizes": (784, 30, 10),
    "lr": 0.5,
    "init": "normal",
    "l2": 5.0 / 50_000,
    "monitored": ("test", "training"),
}


@experiment(
    Claim("50,000 images, λ = 5", 0.9649, at_least=0.9599, quick=0.90),
    quick={"epochs": 1},
    by_hand=partial(dense.train, **ALL),
)
def all_images(seed=0, epochs=30, checkpoint=None):
    history = train(seed, epochs, **ALL, checkpoint=checkpoint)
    return Reached(max(history.column("accuracy")), lambda: figures.learning_curves(history))


HUNDRED = {"sizes": (784, 100, 10), "lr": 0.1, "l2": 5.0 / 50_000, "monitored": ("validation",)}


@experiment(
    Claim("784-100-10, λ = 5, η = 0.1, validation images", 0.9804, at_least=0.9754, quick=0.92),
    quick={"epochs": 1},
    by_hand=partial(dense.train, **HUNDRED),
)
def hundred(seed=0, epochs=60, checkpoint=None):
    history = train(seed, epochs, **HUNDRED, checkpoint=checkpoint)
    return Reached(max(history.column("accuracy")), lambda: figures.learning_curves(history))

"""Digits drawn in ten styles are read from their PNG files, by a convolutional network.

It learns MNIST, and has seen no drawing. Its softmax is calibrated on the validation images (Guo et
al., 2017), so that an answer of probability 0.95 is right 95 times in 100; below it says unsure.
"""

import tempfile
from contextlib import suppress

import numpy as np

import tensorgrad as tg
from examples import lenet, mnist, pen
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, optim, train
from tensorgrad.commands import image


def reader(seed, epochs, images):
    """LeNet-5 (examples/lenet.py) on rows of 784, calibrated; ends in softmax."""
    training, validation, _ = mnist.split()
    rng = np.random.default_rng(seed)
    body = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *lenet.network(rng).layers)
    optimizer = optim.SGD(body.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    tg.fit(
        body,
        data.DataLoader(*training.first(images), batch_size=64, shuffle=True, rng=rng),
        nn.functional.cross_entropy,
        optimizer,
        epochs=epochs,
        validation=validation,
        callbacks=[train.Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.5))],
        on_epoch=show,
    )
    temperature = train.calibrate(train.predict(body, validation.x), validation.y)
    print(f"  temperature {temperature:.3f}", flush=True)
    for p in body.layers[-1].parameters():
        p.data /= temperature
    return nn.Sequential(*body.layers, nn.Softmax()).eval()


def read(model, paths):
    """The probabilities for each picture, (n, 10); rows of NaN where no digit was found."""
    answers = np.full((len(paths), 10), np.nan)
    for row, path in zip(answers, paths, strict=True):
        with suppress(ValueError):
            row[:] = train.predict(model, image.read_digit(path, "mnist").reshape(1, -1))[0]
    return answers


def doubted(model, answers):
    return np.array([not np.isfinite(row[0]) or image.unsure(model, row) for row in answers])


@experiment(
    Claim("200 drawn digits, ten styles", None, at_least=0.95, quick=0.80),
    Claim("right among the sure", None, at_least=0.99, quick=0.90),
    Claim("sure", None, at_least=0.85, quick=0.40),
    Claim("calibration error, MNIST's test images", None, at_most=0.01, quick=0.05, form=".4f"),
    Claim("no digits, refused or unsure", None, at_least=0.75, quick=0.50),
    quick={"epochs": 1, "images": 20_000, "each": 4},
    note="drawn by examples/pen.py, which nothing was learned from; image.py was made on the "
    "drawings of seeds 100 to 104. No digits: 100 letters, scribbles, patches as of a photograph, "
    "noise and blank sheets.",
)
def drawings(seed=0, epochs=4, images=50_000, each=20):
    model = reader(seed, epochs, images)
    test = mnist.split().test
    error = train.calibration_error(train.predict(model, test.x), test.y)
    with tempfile.TemporaryDirectory() as folder:
        paths, digits = pen.draw(folder, seed, each)
        answers = read(model, paths)
        sheet = pen.contact_sheet(paths, titles(model, answers), marked=wrong(answers, digits))
        unsure = doubted(model, answers)
        for i, style in enumerate(pen.STYLES):
            part = slice(i * each, (i + 1) * each)
            missed = wrong(answers, digits)[part].sum()
            print(f"  {style}: {each - missed} of {each}, {unsure[part].sum()} unsure")
        strangers = pen.draw_strangers(folder, seed, each)
        refused = doubted(model, read(model, strangers))
        for i, kind in enumerate(pen.STRANGERS):
            print(f"  {kind}: {refused[i * each : (i + 1) * each].sum()} of {each} are no digits")
    right = ~wrong(answers, digits)
    numbers = right.mean(), right[~unsure].mean(), (~unsure).mean(), error, refused.mean()
    return Reached(numbers, lambda: shown(sheet))


def wrong(answers, digits):
    return ~np.isfinite(answers[:, 0]) | (np.nan_to_num(answers).argmax(axis=1) != digits)


def titles(model, answers):
    """The answer; where unsure with ? and its probability."""
    best = np.nan_to_num(answers)
    return [
        f"{row.argmax()}" + f"? {row.max():.2f}" * int(doubt)
        for row, doubt in zip(best, doubted(model, answers), strict=True)
    ]


def shown(sheet):
    from tensorgrad.viz.figures import canvas

    figure = canvas.sheet(16, 10)
    axes = figure.subplots()
    axes.imshow(sheet)
    canvas.caption(axes, "Drawn in ten styles, and what is read (? unsure, red wrong)")
    rows = (np.arange(len(pen.STYLES)) + 0.5) * sheet.height / len(pen.STYLES)
    axes.set_yticks(rows, pen.STYLES, fontsize=canvas.TITLE)
    axes.set_xticks([])
    return figure

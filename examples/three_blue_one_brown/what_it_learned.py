"""What a network that reads digits has learned, in pictures, as Nielsen and 3Blue1Brown draw it.

    python -m examples.three_blue_one_brown.what_it_learned [folder]

It learns the bundled digits, then shows how training went, what its neurons look for, what lights
up for one digit and for noise, what a misread digit asks it to change, what it mixes up, and the
cost around the place where training ended. Needs tensorgrad-engine[viz].
"""

import sys
from pathlib import Path

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim
from tensorgrad.train import predict
from tensorgrad.viz import figures


class Convolution(nn.Module):
    """The same 8 filters of 3x3 at each place: a matrix product with tied weights."""

    def __init__(self, rng):
        self.filters = nn.Linear(9, 8, init="he", rng=rng)
        self.output = nn.Linear(8 * 36, 10, rng=rng)

    def forward(self, x):
        places = np.lib.stride_tricks.sliding_window_view(x.reshape(-1, 8, 8), (3, 3), (1, 2))
        seen = self.filters(places.reshape(len(x), 36, 9)).relu()
        return self.output(seen.reshape(len(x), -1))


def main(folder):
    x, y, x_test, y_test = data.digits()
    one_hot = np.eye(10, dtype=np.float32)

    rng = np.random.default_rng(0)
    model = nn.Sequential(
        *(nn.Linear(64, 16, init="lecun", rng=rng), nn.Sigmoid()),
        *(nn.Linear(16, 16, init="lecun", rng=rng), nn.Sigmoid()),
        *(nn.Linear(16, 10, init="lecun", rng=rng), nn.Sigmoid()),
    )
    loss = nn.functional.quadratic
    batches = data.DataLoader(x, one_hot[y], batch_size=10, shuffle=True, rng=rng)
    norms = figures.GradientNorms(model, loss, x, one_hot[y])
    sets = {"test": (x_test, one_hot[y_test]), "training": (x, one_hot[y])}
    sgd = optim.SGD(model.parameters(), lr=3.0)
    history = tg.fit(model, batches, loss, sgd, epochs=30, validation=sets, callbacks=[norms])
    print(f"{history[-1].accuracy:.1%} of {len(x_test)} unseen digits are read correctly.")

    answers = predict(model, x_test)
    misread = np.flatnonzero(answers.argmax(axis=1) != y_test)[0]
    noise = np.random.default_rng(1).uniform(size=(1, 64)).astype(np.float32)
    heard = predict(model, noise)[0]
    print(f"Noise is read as a {heard.argmax()}, with an activation of {heard.max():.2f}.")

    convolution = Convolution(rng)
    history_2 = tg.fit(
        convolution,
        batches,
        nn.functional.cross_entropy,
        optim.Adam(convolution.parameters(), lr=0.005),
        epochs=30,
        validation=sets,
    )
    print(f"{history_2[-1].accuracy:.1%} with eight filters that look at 3x3 pixels.")

    pictures = {
        "learning_curves": figures.learning_curves(history),
        "gradient_norms": figures.gradient_norms(norms),
        "first_layer": figures.first_layer(model),
        "filters": figures.filters(convolution.filters.weight.data.reshape(8, 3, 3)),
        "maximising_inputs": figures.maximising_inputs(model),
        "activations": figures.activations(model, x_test[0]),
        "activations_noise": figures.activations(model, noise[0]),
        "nudges": figures.nudges(model, x_test[misread], one_hot[y_test[misread]], loss),
        "mistakes": figures.mistakes(x_test, answers, y_test),
        "confusion_matrix": figures.confusion_matrix(answers, y_test),
        "loss_surface": figures.loss_surface(model, loss, x_test, one_hot[y_test]),
    }
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"{len(pictures)} pictures are in {folder}.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

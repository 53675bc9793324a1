"""Chapter 3: weights of N(0, 1/n) do not saturate neurons as those of N(0, 1) do."""

from examples.experiment import Claim, Reached, experiment
from examples.nielsen.network2 import train
from tensorgrad.viz import figures

SETTINGS = {
    "sizes": (784, 30, 10),
    "lr": 0.1,
    "l2": 5.0 / 50_000,
    "monitored": ("validation",),
}


def drawn(large, small):
    figure = figures.canvas.sheet(7.0, 4.5)
    axes = figure.subplots()
    for i, (history, label) in enumerate([(small, "N(0, 1/n)"), (large, "N(0, 1)")]):
        look = {"color": figures.canvas.COLOURS[i], "marker": figures.canvas.MARKERS[i]}
        axes.plot(history.column("epoch"), history.column("accuracy"), label=label, **look)
    figures.canvas.caption(axes, "Accuracy on the validation images", "epoch", "accuracy")
    axes.yaxis.set_major_formatter(lambda x, _: f"{100 * x:.4g} %")
    axes.set_ylim(0.85, 1.0)
    axes.grid(alpha=0.3)
    axes.legend(title="weights drawn from", fontsize=figures.canvas.LABEL)
    return figure


@experiment(
    Claim("784-30-10, weights of N(0, 1/n), after epoch 1", 0.927, at_least=0.922, quick=0.922),
    Claim("784-30-10, weights of N(0, 1), after epoch 1", 0.864, at_least=0.859, quick=0.84),
    quick={"epochs": 1},
    note="accuracies on the validation images, as in the book's program.",
)
def race(seed=0, epochs=30):
    small = train(seed, epochs, init="lecun", **SETTINGS)
    large = train(seed, epochs, init="normal", **SETTINGS)
    return Reached((small[0].accuracy, large[0].accuracy), lambda: drawn(large, small))

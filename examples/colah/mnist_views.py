"""Visualizing MNIST, and Representations: digits in a plane by PCA and by t-SNE."""

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.experiment import Claim, Reached, experiment, show
from tensorgrad import data, nn, optim
from tensorgrad.train import predict
from tensorgrad.viz.figures.canvas import LABEL, TITLE, blank, sheet


def views(rows, seed, iterations):
    """Two numbers for each row: its principal components, and its place by t-SNE."""
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError:
        raise ImportError("PCA and t-SNE need scikit-learn: pip install scikit-learn") from None
    from threadpoolctl import threadpool_limits

    components = PCA(min(50, rows.shape[1]), random_state=seed).fit_transform(rows)
    with threadpool_limits(1):  # on a busy machine several wait for each other: 10 times as long
        placed = TSNE(random_state=seed, max_iter=iterations).fit_transform(components)
    return components[:, :2], placed


def agreement(points, y):
    """The share of points whose nearest neighbour is the same digit."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)
    return np.mean(y[nearest[:, 0]] == y)


def scatter(planes, y):
    """A panel for each of `planes`, title to points, in which a digit is drawn as what it is."""
    import matplotlib

    figure = sheet(7.2 * len(planes) + 0.8, 7.0)
    panels = figure.subplots(1, len(planes))
    for axes, (title, points) in zip(panels, planes.items()):
        for digit, colour in enumerate(matplotlib.colormaps["tab10"].colors):
            look = {"color": colour, "marker": f"${digit}$", "markersize": 7, "linestyle": "none"}
            axes.plot(*points[y == digit].T, **look, markeredgewidth=0.3, label=str(digit))
        same = f"{100 * agreement(points, y):.1f} %"
        axes.set_title(f"{title}: nearest is the same digit for {same}", fontsize=TITLE)
        blank(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=LABEL, markerscale=2)
    return figure


def seen(rows, y, seed, iterations, what):
    pca, tsne = views(rows, seed, iterations)
    reached = [agreement(points, y) for points in (rows, pca, tsne)]
    return Reached(reached, lambda: scatter({f"{what}, PCA": pca, f"{what}, t-SNE": tsne}, y))


def beside(where, at_least, quick):
    return Claim(f"beside the same digit, {where}", None, at_least=at_least, quick=quick)


QUICK = {"images": 400, "iterations": 500}
NOTE = (
    "the share of 3,000 test images whose nearest neighbour is the same digit. He reports no"
    " numbers; t-SNE is scikit-learn's, of the first 50 principal components."
)


@experiment(
    beside("784 pixels", 0.90, 0.80),
    beside("pixels by PCA", 0.35, 0.30),
    beside("pixels by t-SNE", 0.85, 0.70),
    seeds=1,
    quick=QUICK,
    note=NOTE,
)
def pixels(seed=0, images=3000, iterations=1000):
    test = mnist.split().test.first(images)
    return seen(test.x, test.y, seed, iterations, "pixels")


@experiment(
    beside("100 hidden neurons", 0.90, 0.80),
    beside("hidden neurons by PCA", 0.40, 0.30),
    beside("hidden neurons by t-SNE", 0.90, 0.80),
    seeds=1,
    quick=QUICK | {"epochs": 1},
    note=NOTE,
)
def hidden(seed=0, images=3000, iterations=1000, epochs=5):
    """Of what the hidden layer of a trained network makes of them."""
    training, _, test = mnist.split()
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Linear(784, 100, init="lecun", rng=rng), nn.Sigmoid(), nn.Linear(100, 10, rng=rng)
    )
    tg.fit(
        model,
        data.DataLoader(training.x, training.y, batch_size=10, shuffle=True, rng=rng),
        nn.functional.cross_entropy,
        optim.SGD(model.parameters(), lr=0.5),
        epochs=epochs,
        validation=(test.x, test.y),
        on_epoch=show,
    )
    test = test.first(images)
    return seen(predict(model[:2], test.x), test.y, seed, iterations, "hidden layer")

"""How often words meet: the optimum of word vectors, and the singular vectors beside them.

With k pairs drawn at random for each true one, the products of vectors that make the loss of
words.py least are PMI - ln k, the pointwise mutual information (O. Levy and Y. Goldberg, Neural
Word Embedding as Implicit Matrix Factorization, 2014).
"""

import numpy as np

from tensorgrad.viz.figures import canvas


def counts_of(pairs, words):
    counts = np.zeros((words, words))
    np.add.at(counts, tuple(pairs.T), 1)
    return counts


def by_chance(counts):
    return np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()


def pmi(counts):
    """ln of how much oftener two words meet than by chance, -inf where they never do."""
    with np.errstate(divide="ignore"):
        return np.log(counts / by_chance(counts))


def objective(counts, z, k):
    """The mean of the loss, exactly, if z are the products of all words (n,) with all contexts, and
    each pair comes with k that are drawn at random."""
    met = counts * np.logaddexp(0, -np.where(counts > 0, z, 0))
    return np.sum(met + k * by_chance(counts) * np.logaddexp(0, z)) / counts.sum()


def singular(matrix, dimensions=30):
    """The vectors (n, d) and contexts of a symmetric matrix whose products are nearest to it."""
    values, vectors = np.linalg.eigh(matrix)
    first = np.argsort(-np.abs(values))[:dimensions]
    size = np.sqrt(np.abs(values[first]))
    return vectors[:, first] * size, vectors[:, first] * size * np.sign(values[first])


def cosines(vectors):
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def same_group(vectors, rows, group):
    """How often the nearest of the words in `rows`, by the angle between, is of the same group."""
    near = np.argmax(cosines(vectors[rows]) - 2 * np.eye(len(rows)), axis=1)
    return np.mean(group[near] == group)


def apart(places, words, height):
    """The places (n, 2) of words so high, moved up or down, as little as no overlap takes."""
    places, width = places.copy(), 0.45 * height * np.array([len(word) for word in words])
    shifts, order = sorted(np.arange(-40, 41) * height / 4, key=abs), np.argsort(places[:, 1])
    for n, i in enumerate(order):
        (x, y), done = places[i], order[:n]
        beside = places[done[np.abs(x - places[done, 0]) < (width[i] + width[done]) / 2], 1]
        places[i, 1] = next(y + s for s in shifts if (np.abs(y + s - beside) >= height).all())
    return places


def in_the_plane(vectors, words, group, groups):
    """Words in the plane of most variance of their directions, each group in its colour."""
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    directions -= directions.mean(axis=0)
    places = directions @ np.linalg.svd(directions)[2][:2].T
    places = apart(places / np.ptp(places, axis=0) * [11, 8], words, 0.22)  # in inches, nearly
    sheet = canvas.sheet(11, 8)
    axes = sheet.subplots()
    axes.scatter(*places.T, s=0)
    for place, word, g in zip(places, words, group):
        axes.text(*place, word, color=canvas.COLOURS[g], fontsize=13, ha="center")
    for g, name in enumerate(groups):
        axes.plot([], [], "s", color=canvas.COLOURS[g], label=name)
    axes.legend(fontsize=canvas.LABEL)
    canvas.caption(axes, "Words of Shakespeare, 30 dimensions seen from where they differ most")
    canvas.blank(axes)
    return sheet

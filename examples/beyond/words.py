"""Word vectors: of the words of Shakespeare, by the company they keep.

Skip-gram with negative sampling (T. Mikolov et al., 2013): the vector of a word and that of a word
nearby shall have a large product, those of a word and one drawn at random a small one. How small
that loss could be at all is known: pmi.py.
"""

import re

import numpy as np

from examples.beyond.pmi import (
    cosines,
    counts_of,
    in_the_plane,
    objective,
    pmi,
    same_group,
    singular,
)
from examples.experiment import Claim, Reached, experiment
from tensorgrad import data, nn, optim
from tensorgrad.nn.functional import logsigmoid

NEGATIVE, WINDOW = 5, 5
GROUPS = {
    "family": "father mother son daughter brother sister wife husband uncle cousin",
    "titles": "king queen prince duke lord earl sir lady madam gentleman",
    "body": "hand hands eyes eye head face tongue lips arms ear",
    "time": "day night hour morning morrow days hours time year years",
    "people": "romeo juliet edward henry richard warwick clarence gloucester york bolingbroke",
    "feelings": "love hate grief sorrow joy fear hope shame pity anger",
    "death": "death blood grave sword war kill dead murder die wounds",
}


def corpus():
    """The words that occur ten times or more, and the text as numbers of them."""
    text = data.tiny_shakespeare()
    text = text.decode(text.train) + text.decode(text.validation)
    words, numbers, counts = np.unique(
        re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower()), return_inverse=True, return_counts=True
    )
    new = np.cumsum(counts >= 10) - 1
    return words[counts >= 10], new[numbers[counts[numbers] >= 10]]


def neighbours(text, rng):
    """All pairs (n, 2) of words at most WINDOW apart, of a text thinned of its commonest words."""
    share = np.bincount(text) / len(text)
    text = text[rng.random(len(text)) < np.sqrt(1e-3 / share[text])]
    pairs = [np.stack([text[i:], text[:-i]], axis=1) for i in range(1, WINDOW + 1)]
    return np.concatenate([p[:, order] for p in pairs for order in ([0, 1], [1, 0])])


class Vectors(nn.Module):
    def __init__(self, words, dimensions, rng):
        self.word, self.context = (nn.Embedding(words, dimensions, rng=rng) for _ in range(2))
        for table in (self.word, self.context):
            table.weight.data *= 0.1

    def loss(self, some, pairs, rng):
        """Of `some` pairs (n, 2), true ones, and NEGATIVE for each with contexts of any `pairs`."""
        drawn = pairs[rng.integers(len(pairs), size=(len(some), NEGATIVE)), 1]
        contexts = self.context(np.column_stack([some[:, 1], drawn]))
        z = np.einsum("nd,nkd->nk", self.word(some[:, 0]), contexts)
        sign = np.array([1] + [-1] * NEGATIVE, z.dtype)
        return -np.mean(np.sum(logsigmoid(sign * z), axis=1))


def train(words, pairs, rng, epochs, dimensions=30, batch=4000, lr=0.01):
    model = Vectors(words, dimensions, rng)
    optimizer, steps = optim.Adam(model.parameters(), lr=lr), len(pairs) // batch
    cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)
    for epoch in range(epochs):
        for rows in np.array_split(rng.permutation(len(pairs)), steps):
            loss = model.loss(pairs[rows], pairs, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cosine.step()
        print(f"  epoch {epoch + 1}: loss {loss.item():.4f}", flush=True)
    return model


@experiment(
    Claim("loss above the optimum, 30 dimensions", None, at_most=0.35, quick=0.6),
    Claim("words whose nearest is of their group (chance 13 %)", None, at_least=0.5, quick=0.15),
    Claim("singular vectors of the positive PMI - ln k, 30 dimensions", None),
    Claim("words whose nearest singular vector is of their group", None),
    seeds=1,
    quick={"epochs": 1},
    note="Vectors of 0 are 107 % above. Levy and Goldberg find the same order, in their table 1.",
)
def shakespeare(seed=0, epochs=5):
    rng = np.random.default_rng(seed)
    words, text = corpus()
    pairs = neighbours(text, rng)
    counts = counts_of(pairs, len(words))
    model = train(len(words), pairs, rng, epochs)
    learned = model.word.weight.data, model.context.weight.data
    best = pmi(counts) - np.log(NEGATIVE)
    optimum = objective(counts, best, NEGATIVE)
    rows = np.searchsorted(words, " ".join(GROUPS.values()).split())
    group = np.repeat(np.arange(len(GROUPS)), [len(g.split()) for g in GROUPS.values()])
    reached = []
    for vectors, contexts in (learned, singular(np.maximum(best, 0), 30)):
        reached.append(objective(counts, vectors @ contexts.T, NEGATIVE) / optimum - 1)
        reached.append(same_group(vectors, rows, group))
    near = np.argsort(-cosines(learned[0]), axis=1)
    for word in np.searchsorted(words, ["mother", "eyes", "romeo", "three"]):
        print(f"  {words[word]}:", *words[near[word, 1:6]])
    return Reached(reached, lambda: in_the_plane(learned[0][rows], words[rows], group, GROUPS))

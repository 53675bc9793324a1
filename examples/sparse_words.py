"""Who wrote it? Logistic regression on word counts, a sparse matrix that is never made dense.

Two authors draw 40 words for each text out of 20,000, by the same law of rare words (Zipf's); each
has 200 favourites, which are five times as frequent. The matrix of 4,000 texts would have 80
million entries, and stores 150,000. Run: python examples/sparse_words.py
(needs `tensorgrad-engine[scipy]`)
"""

import numpy as np
import scipy.sparse

import tensorgrad as tg
from tensorgrad import nn

TEXTS, WORDS, LENGTH, FAVOURITES = 4000, 20_000, 40, 200
rng = np.random.default_rng(0)

likely = 1 / np.arange(10, WORDS + 10)
favourites = rng.choice(2000, (2, FAVOURITES), replace=False)
chances = np.stack([likely, likely])
chances[[[0], [1]], favourites] *= 5
chances /= chances.sum(axis=1, keepdims=True)

author = rng.integers(2, size=TEXTS)
drawn = np.concatenate([rng.choice(WORDS, LENGTH, p=chances[a]) for a in author])
text = np.repeat(np.arange(TEXTS), LENGTH)
counts = scipy.sparse.csr_array((np.ones(drawn.size), (text, drawn)), shape=(TEXTS, WORDS))

known, new = slice(3000), slice(3000, None)
model = nn.Linear(WORDS, 1, rng=0)
optimizer = tg.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)
for _ in range(60):
    logits = model(counts[known])[:, 0]
    loss = nn.functional.binary_cross_entropy_with_logits(logits, author[known].astype(float))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

right = (model(counts[new]).data[:, 0] > 0) == author[new]
heaviest = np.argsort(np.abs(model.weight.data[0]))[-50:]
told = np.isin(heaviest, favourites).mean()
print(f"{counts.nnz:,} of {TEXTS * WORDS:,} entries are stored")
print(
    f"New texts: {right.mean():.1%} told apart; of the 50 heaviest words {told:.0%} are favourites"
)

"""A transformer of 0.8 million parameters learns to write as Shakespeare did, letter by letter.

    python examples/shakespeare.py [seed [steps]]

Tiny Shakespeare is read from $TENSORGRAD_DATA/tinyshakespeare, or downloaded once.
"""

import sys

import numpy as np

from tensorgrad import data, nn, no_grad, optim
from tensorgrad.nn.functional import cross_entropy, gelu, softmax

CHANNELS, CONTEXT, BATCH = 128, 64, 12


class Writer(nn.Module):
    def __init__(self, letters, rng):
        self.letter, self.place = (nn.Embedding(n, CHANNELS, rng=rng) for n in (letters, CONTEXT))
        for table in (self.letter, self.place):
            nn.init.normal_(table.weight, std=0.02, rng=rng)
        kind = {"batch_first": True, "norm_first": True, "activation": lambda x: gelu(x, "tanh")}
        layer = nn.TransformerEncoderLayer(CHANNELS, 4, 4 * CHANNELS, 0.0, **kind, rng=rng)
        self.layers = nn.TransformerEncoder(layer, 4, nn.LayerNorm(CHANNELS))
        self.head = nn.Linear(CHANNELS, letters, rng=rng)

    def forward(self, x):
        h = self.letter(x) + self.place(np.arange(x.shape[-1]))
        return self.head(self.layers(h, is_causal=True))


def train(seed=0, steps=2000):
    text, rng = data.tiny_shakespeare(), np.random.default_rng(seed)
    model = Writer(len(text.characters), rng)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-4, warmup=100)

    def loss(letters, starts):  # of the next letter, at every place
        windows = letters[starts[:, None] + np.arange(CONTEXT + 1)]
        return cross_entropy(np.moveaxis(model(windows[:, :-1]), -1, 1), windows[:, 1:])

    for _ in range(steps):
        loss(text.train, rng.integers(len(text.train) - CONTEXT, size=BATCH)).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    with no_grad():
        parts = np.arange(0, len(text.validation) - CONTEXT, CONTEXT).reshape(26, -1)
        print(f"{steps} steps: validation loss", np.mean([loss(text.validation, p) for p in parts]))
        written = text.encode("\n")
        for _ in range(400):
            odds = softmax(model(written[None, -CONTEXT:])[0, -1].astype(float))
            written = np.append(written, rng.choice(len(odds), p=odds))
    print(text.decode(written))


if __name__ == "__main__":
    train(*map(int, sys.argv[1:]))

"""Calculus on Computational Graphs: e = (a + b)(b + 1), a neuron, an LSTM, a transformer block.

    python -m examples.colah.chain_rule [folder]

Writes SVG pictures of the graphs, a page that explains ∂e/∂b = 5 on paper, and a page that steps
through backpropagation. Needs tensorgrad-engine[viz].
"""

import sys
from pathlib import Path

import numpy as np

import tensorgrad as tg
from examples.experiment import Claim, experiment
from tensorgrad import Value, nn, viz


class Cell(nn.Module):
    """A step of a long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000)."""

    def __init__(self, inputs, size):
        self.x, self.h = nn.Linear(inputs, 4 * size, rng=0), nn.Linear(size, 4 * size, rng=1)

    def forward(self, x, h, c):
        z, n = self.x(x) + self.h(h), h.shape[-1]
        i, f, g, o = (z[:, k * n : (k + 1) * n] for k in range(4))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Attention(nn.Module):
    """softmax(Q Kᵀ / √d) V (Vaswani et al., 2017, eq. 1)."""

    def __init__(self, d):
        self.q, self.k, self.v = (nn.Linear(d, d, rng=i) for i in range(3))

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        return nn.functional.softmax(q @ k.mT / np.sqrt(q.shape[-1])) @ v


class Block(nn.Module):
    """A transformer's block: attention and a small network, each added to its input."""

    def __init__(self, d):
        self.attention = Attention(d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d, rng=5), nn.ReLU(), nn.Linear(2 * d, d, rng=6))

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.mlp(x)


def paths(start, end):
    """The derivative along each path: the product of those of its edges, the rules given 1."""
    if start is end:
        return [1.0]
    found = []
    for x, rule in zip(end.operands, end.op.rules) if end.op else ():
        slope = rule(1.0, end.data, *end.inputs, **end.params)
        found += [slope * rest for rest in paths(start, x)] if x is not None else []
    return found


def exactly(what, reported):
    return Claim(what, reported, within=0, quick=0, form=".0f")


@experiment(
    exactly("∂e/∂a in reverse mode", 2),
    exactly("∂e/∂b in reverse mode", 5),
    exactly("∂e/∂b in forward mode", 5),
    exactly("the first path from b to e", 2),
    exactly("the second path from b to e", 3),
    exactly("paths through three edges and three more", 9),
    exactly("edges that reverse mode touches there", 6),
    seeds=1,
)
def derivatives(seed=0):
    def e(a, b):
        return (a + b) * (b + 1)

    by_a, by_b = tg.grad(e, argnums=(0, 1))(2.0, 1.0)
    _, forward = tg.jvp(e, (2.0, 1.0), (0.0, 1.0))
    b = Value(1.0)
    first, second = sorted(paths(b.node, e(Value(2.0), b).node))

    touched = []

    def edge(g, out, *xs):
        touched.append(g)
        return g

    three = tg.primitive(lambda *xs: sum(xs), *[edge] * 3, name="three")
    x = Value(1.0)
    y = three(*[three(*[x] * 3)] * 3)
    count = len(paths(x.node, y.node))
    touched.clear()
    y.backward()
    return by_a, by_b, forward, first, second, count, len(touched)


def main(folder="."):
    out = Path(folder)
    rng = np.random.default_rng(0)

    # 5 is 1 * 2 + 1 * 3, forwards and backwards.
    a, b = Value(2.0, name="a"), Value(1.0, name="b")
    c, d = a + b, b + 1
    e = c * d
    names = {"c": c, "d": d, "e": e}
    explanation = viz.explain(e, b, names)
    print(explanation)
    explanation.save(out / "chain_rule.html")
    viz.graph(e, names).save(out / "reverse_mode.svg")
    viz.graph(e, names, wrt=b, mode="fwd").save(out / "forward_mode.svg")
    viz.stepper(e, names=names).save(out / "stepper.html")

    # One neuron, micrograd's; the weight that Nielsen's chapter 1 trains.
    x, w, bias = Value(1.0, name="x"), Value(0.6, name="w"), Value(0.9, name="b")
    output = (w * x + bias).sigmoid()
    cost = output**2 / 2
    viz.graph(cost, {"z": output.operands[0], "a": output, "C": cost}).save(out / "neuron.svg")

    # Modules are frames, and can be folded.
    cell = Cell(3, 4)
    inputs = {"x": rng.normal(size=(2, 3)), "h0": np.zeros((2, 4)), "c0": rng.normal(size=(2, 4))}
    h, state = cell(*inputs.values())
    loss = np.mean(h**2)
    viz.graph(loss, {"lstm": cell, **inputs, "h": h, "c": state, "loss": loss}).save(
        out / "lstm.svg"
    )

    block, tokens = Block(4), rng.normal(size=(5, 4))
    loss = np.mean(block(tokens) ** 2)
    called = {"block": block, "tokens": tokens, "loss": loss}
    viz.graph(loss, called, rankdir="TB").save(out / "transformer.svg")
    viz.graph(loss, called, depth=1).save(out / "transformer_folded.svg")

    # One entry of the attention, taken apart into numbers.
    q = Value(rng.normal(size=(2, 2)), name="q")
    entry = viz.zoom(nn.functional.softmax(q), (0, 1))
    print(f"\nsoftmax(q)[0, 1] = {entry.data:.4f} is made of", *viz.steps(entry), sep="\n  ")
    print("\nwritten:", *sorted(path.name for path in out.glob("*.svg")))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A character transformer, once in each library: 4 layers of 4 heads, pre-norm, gelu (tanh), AdamW.

`tensorgrad`, `torch` and `jax` take `weights` by name (matrices (in, out)) and batches of class
numbers (examples, context), and return `step()`: forward, loss, gradients and update, returning the
loss. `hand/transformer.py` says what is computed.
"""

import math

import numpy as np
from hand.transformer import BETAS, DECAY, EPS, HEADS, LAYERS, LR


def draw(channels=128, context=64, letters=65):
    """The same weights for all."""
    rng = np.random.default_rng(0)
    n = lambda *shape: (rng.normal(size=shape) * 0.02).astype(np.float32)
    ones, zeros = (
        lambda *shape: np.ones(shape, np.float32),
        lambda *shape: np.zeros(shape, np.float32),
    )
    c = channels
    weights = {"letter": n(letters, c), "place": n(context, c)}
    for i in range(LAYERS):
        layer = {
            **{"norm1.w": ones(c), "norm1.b": zeros(c), "norm2.w": ones(c), "norm2.b": zeros(c)},
            **{"qkv.w": n(c, 3 * c), "qkv.b": zeros(3 * c), "out.w": n(c, c), "out.b": zeros(c)},
            **{
                "up.w": n(c, 4 * c),
                "up.b": zeros(4 * c),
                "down.w": n(4 * c, c),
                "down.b": zeros(c),
            },
        }
        weights |= {f"{i}.{name}": w for name, w in layer.items()}
    return weights | {"norm.w": ones(c), "norm.b": zeros(c), "head.w": n(c, letters)}


def tensorgrad(weights, batches, wrap=None):
    from contestants.tensorgrad import training_step
    from tensorgrad import nn, optim
    from tensorgrad.nn.functional import cross_entropy, gelu

    letters, channels = weights["letter"].shape
    context = batches[0][0].shape[1]

    class Writer(nn.Module):
        def __init__(self):
            self.letter = nn.Embedding(letters, channels)
            self.place = nn.Embedding(context, channels)
            layer = nn.TransformerEncoderLayer(
                *(channels, HEADS, 4 * channels, 0.0, lambda u: gelu(u, "tanh")),
                batch_first=True,
                norm_first=True,
            )
            self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(channels))
            self.head = nn.Linear(channels, letters, bias=False)

        def forward(self, x):
            h = self.letter(x) + self.place(np.arange(x.shape[1]))
            return self.head(self.layers(h, is_causal=True))

    model = Writer()
    model.load_state_dict(pytorchs(weights))
    optimizer = optim.AdamW(model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)

    def cost(z, y):
        return cross_entropy(z.reshape(-1, letters), y.ravel())

    return training_step(model, cost, optimizer, batches, wrap)


def torch(weights, batches, compiled=False):
    import torch
    from torch import nn
    from torch.nn import functional as F

    from contestants.torch import training_step

    letters, channels = weights["letter"].shape
    context = batches[0][0].shape[1]

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
            self.in_proj_bias = nn.Parameter(torch.empty(3 * channels))
            self.out_proj = nn.Linear(channels, channels)

        def forward(self, h):  # as nanoGPT: nn.MultiheadAttention takes longer
            n, length, _ = h.shape
            qkv = F.linear(h, self.in_proj_weight, self.in_proj_bias)
            q, k, v = (
                part.view(n, length, HEADS, -1).transpose(1, 2) for part in qkv.split(channels, 2)
            )
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out_proj(out.transpose(1, 2).reshape(n, length, channels))

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.self_attn = Attention()
            self.linear1 = nn.Linear(channels, 4 * channels)
            self.linear2 = nn.Linear(4 * channels, channels)
            self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)

        def forward(self, h):
            h = h + self.self_attn(self.norm1(h))
            return h + self.linear2(F.gelu(self.linear1(self.norm2(h)), approximate="tanh"))

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
            self.norm = nn.LayerNorm(channels)

    class Writer(nn.Module):
        def __init__(self):
            super().__init__()
            self.letter = nn.Embedding(letters, channels)
            self.place = nn.Embedding(context, channels)
            self.layers = Layers()
            self.head = nn.Linear(channels, letters, bias=False)

        def forward(self, x):
            h = self.letter(x) + self.place.weight
            for layer in self.layers.layers:
                h = layer(h)
            return self.head(self.layers.norm(h))

    model = Writer()
    model.load_state_dict({name: torch.tensor(w) for name, w in pytorchs(weights).items()})
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY
    )

    def cost(z, y):
        return F.cross_entropy(z.view(-1, letters), y.view(-1))

    return training_step(model, cost, optimizer, batches, compiled)


def jax(weights, batches):
    import jax
    import jax.numpy as jnp

    from contestants.jax import adam, stepped

    (_, context), channels = batches[0][0].shape, weights["letter"].shape[1]
    mask = jnp.tril(jnp.ones((context, context), bool))

    def norm(h, w, b):
        h = h - h.mean(-1, keepdims=True)
        return h / jnp.sqrt((h * h).mean(-1, keepdims=True) + 1e-5) * w + b

    def heads(a):
        return a.reshape(len(a), context, HEADS, -1).transpose(0, 2, 1, 3)

    def loss(P, x, y):
        h = P["letter"][x] + P["place"]
        for i in range(LAYERS):
            p = {k.partition(".")[2]: w for k, w in P.items() if k.startswith(f"{i}.")}
            a = norm(h, p["norm1.w"], p["norm1.b"])
            q, k, v = map(heads, jnp.split(a @ p["qkv.w"] + p["qkv.b"], 3, -1))
            s = q @ k.swapaxes(-1, -2) / math.sqrt(channels // HEADS)
            z = jax.nn.softmax(jnp.where(mask, s, -jnp.inf), -1) @ v
            z = z.transpose(0, 2, 1, 3).reshape(h.shape)
            h = h + z @ p["out.w"] + p["out.b"]
            u = norm(h, p["norm2.w"], p["norm2.b"]) @ p["up.w"] + p["up.b"]
            h = h + jax.nn.gelu(u) @ p["down.w"] + p["down.b"]
        z = norm(h, P["norm.w"], P["norm.b"]) @ P["head.w"]
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[..., None], -1))

    return stepped(loss, weights, adam(LR, BETAS, EPS, DECAY), batches)


def pytorchs(weights):
    """The weights under the names, and with the shapes, that both libraries' layers have."""
    names = {
        **{"letter": "letter.weight", "place": "place.weight"},
        **{"head.w": "head.weight", "norm.w": "layers.norm.weight", "norm.b": "layers.norm.bias"},
    }
    parts = {
        **{"norm1.w": "norm1.weight", "norm1.b": "norm1.bias"},
        **{"norm2.w": "norm2.weight", "norm2.b": "norm2.bias"},
        **{"qkv.w": "self_attn.in_proj_weight", "qkv.b": "self_attn.in_proj_bias"},
        **{"out.w": "self_attn.out_proj.weight", "out.b": "self_attn.out_proj.bias"},
        **{"up.w": "linear1.weight", "up.b": "linear1.bias"},
        **{"down.w": "linear2.weight", "down.b": "linear2.bias"},
    }
    for i in range(LAYERS):
        names |= {f"{i}.{ours}": f"layers.layers.{i}.{theirs}" for ours, theirs in parts.items()}
    tables = ("letter", "place")
    return {
        names[name]: np.ascontiguousarray(w if name in tables else w.T)
        for name, w in weights.items()
    }

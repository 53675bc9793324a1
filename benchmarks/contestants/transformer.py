"""A character transformer, once in each library: 4 layers of 4 heads, pre-norm, gelu (tanh), AdamW.

`handwritten`, `tensorgrad` and `torch` take `weights` by name (matrices (in, out)), class numbers
`x` and `y` (examples, context), and return `step()`: forward, loss, gradients and update, returning
the loss.
"""

import math

import numpy as np

LAYERS, HEADS = 4, 4
LR, BETAS, EPS, DECAY = 1e-3, (0.9, 0.99), 1e-8, 0.1
INNER, CUBIC = math.sqrt(2 / math.pi), 0.044715


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


def handwritten(weights, x, y):
    """What a good NumPy programmer writes by hand: rows as one matrix, what can be in place is."""
    P = {name: w.copy() for name, w in weights.items()}
    state = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in P.items()}
    (examples, context), channels = x.shape, P["letter"].shape[1]
    rows, size = x.size, channels // HEADS
    scale, y = 1 / math.sqrt(size), y.ravel()
    mask = np.where(np.tri(context, dtype=bool), 0, -np.inf).astype(np.float32)
    ones, mean = np.ones(rows, np.float32), np.full(channels, 1 / channels, np.float32)
    onehot = np.zeros((len(P["letter"]), rows), np.float32)
    onehot[x.ravel(), np.arange(rows)] = 1
    steps = 0

    def norm(h, w, b):
        unit = h - (h @ mean)[:, None]
        deviation = 1 / np.sqrt(np.einsum("ij,ij->i", unit, unit) / channels + 1e-5)[:, None]
        unit *= deviation
        out = unit * w
        out += b
        return out, (unit, deviation)

    def norm_back(g, w, saved):
        unit, deviation = saved
        by_w, by_b = np.einsum("ij,ij->j", g, unit), ones @ g
        g = g * w
        along = np.einsum("ij,ij->i", g, unit)[:, None] / channels * unit
        along += (g @ mean)[:, None]
        g -= along
        g *= deviation
        return g, by_w, by_b

    def gelu(u):
        t = u * u
        t *= INNER * CUBIC
        t += INNER
        t *= u
        np.tanh(t, out=t)
        out = t + 1
        out *= u
        out *= 0.5
        return out, (u, t)

    def gelu_back(g, saved):
        u, t = saved
        slope = u * u
        slope *= 3 * INNER * CUBIC
        slope += INNER
        slope *= u
        slope *= 1 - t * t
        slope += t
        slope += 1
        slope *= 0.5
        slope *= g
        return slope

    def layer(i):
        return lambda name: P[f"{i}.{name}"]

    def heads(a, i):
        return a.reshape(examples, context, 3, HEADS, size)[:, :, i].transpose(0, 2, 1, 3)

    def together(a):
        return a.transpose(0, 2, 1, 3).reshape(rows, channels)

    def step():
        nonlocal steps
        h = (P["letter"][x] + P["place"]).reshape(rows, channels)
        saved, G = [], {}
        for i in range(LAYERS):
            p = layer(i)
            a1, n1 = norm(h, p("norm1.w"), p("norm1.b"))
            qkv = a1 @ p("qkv.w")
            qkv += p("qkv.b")
            q, k, v = (heads(qkv, j) for j in range(3))
            s = q @ k.swapaxes(-1, -2)
            s *= scale
            s += mask
            s -= s.max(-1, keepdims=True)
            np.exp(s, out=s)
            s /= s.sum(-1, keepdims=True)
            z = together(s @ v)
            o = z @ p("out.w")
            o += p("out.b")
            h = h + o
            a2, n2 = norm(h, p("norm2.w"), p("norm2.b"))
            u = a2 @ p("up.w")
            u += p("up.b")
            f, kept = gelu(u)
            d = f @ p("down.w")
            d += p("down.b")
            h = h + d
            saved.append((a1, n1, q, k, v, s, z, a2, n2, kept, f))
        a, n = norm(h, P["norm.w"], P["norm.b"])
        logits = a @ P["head.w"]
        logits -= logits.max(1, keepdims=True)
        e = np.exp(logits)
        total = e.sum(1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - logits[np.arange(rows), y])

        e /= total
        e[np.arange(rows), y] -= 1
        e /= rows
        G["head.w"] = a.T @ e
        g, G["norm.w"], G["norm.b"] = norm_back(e @ P["head.w"].T, P["norm.w"], n)
        for i in reversed(range(LAYERS)):
            p = layer(i)
            a1, n1, q, k, v, s, z, a2, n2, kept, f = saved.pop()
            G[f"{i}.down.w"], G[f"{i}.down.b"] = f.T @ g, ones @ g
            du = gelu_back(g @ p("down.w").T, kept)
            G[f"{i}.up.w"], G[f"{i}.up.b"] = a2.T @ du, ones @ du
            more, by_w, by_b = norm_back(du @ p("up.w").T, p("norm2.w"), n2)
            G[f"{i}.norm2.w"], G[f"{i}.norm2.b"] = by_w, by_b
            g = g + more
            G[f"{i}.out.w"], G[f"{i}.out.b"] = z.T @ g, ones @ g
            dz = (g @ p("out.w").T).reshape(examples, context, HEADS, size).transpose(0, 2, 1, 3)
            ds = dz @ v.swapaxes(-1, -2)
            ds -= np.einsum("abij,abij->abi", ds, s)[..., None]
            ds *= s
            ds *= scale
            dqkv = np.empty((examples, context, 3, HEADS, size), np.float32)
            heads(dqkv, 0)[...] = ds @ k
            heads(dqkv, 1)[...] = ds.swapaxes(-1, -2) @ q
            heads(dqkv, 2)[...] = s.swapaxes(-1, -2) @ dz
            dqkv = dqkv.reshape(rows, 3 * channels)
            G[f"{i}.qkv.w"], G[f"{i}.qkv.b"] = a1.T @ dqkv, ones @ dqkv
            more, by_w, by_b = norm_back(dqkv @ p("qkv.w").T, p("norm1.w"), n1)
            G[f"{i}.norm1.w"], G[f"{i}.norm1.b"] = by_w, by_b
            g = g + more
        G["place"] = g.reshape(examples, context, channels).sum(0)
        G["letter"] = onehot @ g

        steps += 1
        rate, root = LR / (1 - BETAS[0] ** steps), 1 / math.sqrt(1 - BETAS[1] ** steps)
        for name, w in P.items():
            (m, v), g = state[name], G[name]
            m += (1 - BETAS[0]) * (g - m)
            v += (1 - BETAS[1]) * (g * g - v)
            w *= 1 - LR * DECAY
            w -= rate * m / (np.sqrt(v) * root + EPS)
        return loss

    return step


def tensorgrad(weights, x, y):
    from tensorgrad import nn, optim
    from tensorgrad.nn.functional import cross_entropy, gelu

    letters, channels = weights["letter"].shape

    class Writer(nn.Module):
        def __init__(self):
            self.letter = nn.Embedding(letters, channels)
            self.place = nn.Embedding(x.shape[1], channels)
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

    def step():
        loss = cross_entropy(model(x).reshape(-1, letters), y.ravel())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch(weights, x, y):
    import torch
    from torch import nn
    from torch.nn import functional as F

    letters, channels = weights["letter"].shape

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
            self.place = nn.Embedding(x.shape[1], channels)
            self.layers = Layers()
            self.head = nn.Linear(channels, letters, bias=False)

        def forward(self, x):
            h = self.letter(x) + self.place.weight
            for layer in self.layers.layers:
                h = layer(h)
            return self.head(self.layers.norm(h))

    model = Writer()
    x, y = torch.tensor(x), torch.tensor(y)
    model.load_state_dict({name: torch.tensor(w) for name, w in pytorchs(weights).items()})
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY
    )

    def step():
        loss = F.cross_entropy(model(x).view(-1, letters), y.view(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


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

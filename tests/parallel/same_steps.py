"""Run by test_parallel.py under mpiexec: the steps of many processes are those of one."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import data, nn, optim, parallel
from tensorgrad.nn import functional as F
from tensorgrad.parallel import buckets

ranks = parallel.world()
rng = np.random.default_rng(0)
x = rng.normal(size=(22, 5)).astype(np.float32)
y = rng.integers(0, 3, 22)
weight = np.array([1.0, 5.0, 0.5], np.float32)


def model():
    return nn.Sequential(nn.Linear(5, 8, rng=1), nn.Tanh(), nn.Linear(8, 3, rng=2))


def trained(loss, step, batches, y=y, epochs=3):
    net = model()
    take = step(net, loss, optim.Adam(net.parameters(), lr=0.05))
    losses = [take(*batch).item() for _ in range(epochs) for batch in batches]
    return np.concatenate([p.data.ravel() for p in net.parameters()]), losses


def same(loss, y=y, batch_size=7, step=parallel.data_parallel):
    """One process with the whole batches, and all with their parts: 22 = 7 + 7 + 7 + 1."""
    loader = data.DataLoader(x, y, batch_size=batch_size, shuffle=True, rng=3)
    p, losses = trained(loss, tg.Step, loader)
    loader = data.DataLoader(x, y, batch_size=batch_size, shuffle=True, rng=3)
    q, its = trained(loss, step, parallel.Shards(loader))
    np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(its, losses, rtol=1e-4)
    assert np.all(ranks.gather(q) == q), "the same bits in each"


same(F.cross_entropy)
same(lambda z, t: F.cross_entropy(z, t, weight))
ignored = np.where(np.arange(22) % 3 == 0, y, -100)
ignored[:6] = -100
same(lambda z, t: F.cross_entropy(z, t, ignore_index=-100), ignored, batch_size=22)
same(F.mse_loss, rng.normal(size=(22, 3)))
same(lambda z, t: F.cross_entropy(z, t, weight), batch_size=1)  # parts are empty


# In float16: where the gradient of one rank's part overflows, all skip the step.
def mixed(compile=False):
    def step(*args):
        kind = tg.Step(*args, precision="float16", scaler=tg.amp.GradScaler(2.0**8))
        made_in_float16.append(parallel.data_parallel(kind, compile=compile))
        return made_in_float16[-1]

    net = model()
    take = step(net, F.mse_loss, optim.SGD(net.parameters(), lr=0.1))
    part = slice(ranks.rank, None, ranks.size)
    for _ in range(3):
        take(x[part], targets[part])
    before = np.concatenate([p.data.ravel() for p in net.parameters()])
    wild = targets * np.where(np.arange(22) == 1, 1e6, 1)[:, None]
    take(x[part], wild[part])
    after = np.concatenate([p.data.ravel() for p in net.parameters()])
    np.testing.assert_array_equal(after, before)
    assert (take.scaler.get_scale(), int(take.scaler.skipped)) == (2.0**7, 1)
    take(x[part], targets[part])
    q = np.concatenate([p.data.ravel() for p in net.parameters()])
    assert np.all(ranks.gather(q) == q)
    return q


made_in_float16 = []
targets = rng.normal(size=(22, 3))
np.testing.assert_allclose(mixed(compile=True), mixed(), atol=1e-3)
assert all(program.last is not None for program in made_in_float16[0].programs)

# Compiled: in two programs, with what is exchanged between them.
made = []


def compiled(*args):
    made.append(parallel.data_parallel(*args, compile=True))
    return made[-1]


same(lambda z, t: F.cross_entropy(z, t, weight), step=compiled)
same(lambda z, t: F.cross_entropy(z, t, weight), batch_size=1, step=compiled)
assert all(program.last is not None for program in made[0].programs)
with pytest.raises(TypeError, match=r"data_parallel\(step, compile=True\)"):
    tg.compile(made[0])(x, y)

# Clipping sees the gradient of the whole batch.
clipped = tg.train.clipped(tg.train.penalised(l2=0.1), norm=0.1)
loader = [(x, y)]
p, _ = trained(F.cross_entropy, clipped, loader)
for settings in ({}, {"compile": True}):
    step = parallel.data_parallel(clipped, **settings)
    q, _ = trained(F.cross_entropy, step, parallel.Shards(loader))
    np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)


# In the order of the ranks, bit for bit.
def ordered(net, loss, optimizer):
    step = tg.Step(net, loss, optimizer)
    return parallel.data_parallel(step, deterministic=True)


def accumulated(net, loss, optimizer):
    step, n = tg.Step(net, loss, optimizer), ranks.size
    return lambda x, y: step.accumulate(
        [tuple(a[parallel.ranks.part(len(x), r, n)] for a in (x, y)) for r in range(n)]
    )


p, _ = trained(F.cross_entropy, accumulated, loader)
q, _ = trained(F.cross_entropy, ordered, parallel.Shards(loader))
assert np.array_equal(p, q)


# Accumulation within each rank.
def groups(net, loss, optimizer):
    step = parallel.data_parallel(net, loss, optimizer)
    return lambda x, y: step.accumulate([(x[:2], y[:2]), (x[2:], y[2:])])


q, _ = trained(F.cross_entropy, groups, parallel.Shards(loader))
np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)


# Batch norms with the statistics of the whole batch, of a part without examples too.
def normed(step, batches):
    net = nn.Sequential(
        nn.Linear(5, 8, rng=1, dtype=float), nn.BatchNorm1d(8, dtype=float), nn.Linear(8, 3, rng=2)
    )
    take = step(net, F.cross_entropy, optim.SGD(net.parameters(), lr=0.5))
    losses = [take(*batch).item() for batch in batches]
    return np.concatenate([a.ravel() for a in net.state_dict().values()]), losses


both = [(x[:7].astype(float), y[:7]), (x[7:9], y[7:9]), (x[9:], y[9:])]
p, losses = normed(tg.Step, both)
with pytest.raises(ValueError, match="choose one of them"):
    normed(parallel.data_parallel(tg.Step, batch_norm=True, compile=True), parallel.Shards(both))
q, its = normed(parallel.data_parallel(tg.Step, batch_norm=True), parallel.Shards(both))
np.testing.assert_allclose(q, p, rtol=1e-5, atol=1e-6)
np.testing.assert_allclose(its, losses, rtol=1e-5)


FIRST = x[0, 0]


# Messages that travel while the sweep goes on; and where a rank has to make it again with care.
class Singular(nn.Module):
    def __init__(self):
        self.first, self.last = nn.Linear(5, 8, rng=1), nn.Linear(8, 3, rng=2)
        self.unused = nn.Linear(1, 1, rng=3)

    def forward(self, x):
        h = self.first(x)
        first = x[:, :1] == FIRST  # which is in rank 0
        h = np.where(first, h, h * np.sqrt(np.where(first, 0 * h, 1)))  # of a slope inf * 0
        return self.last(h)


def overlapped(singular, step):
    net = Singular() if singular else model()
    take = step(net, F.cross_entropy, optim.Adam(net.parameters(), lr=0.05))
    for a, b in [(x, y), (x[:5], y[:5])]:
        mine = parallel.ranks.part(len(a), ranks.rank, ranks.size) if step is not tg.Step else ...
        take(a[mine], b[mine])
    return take, np.concatenate([p.data.ravel() for p in net.parameters()])


sent = []
finish = buckets.Underway.finish
buckets.Underway.finish = lambda self: sent.append(finish(self)) or sent[-1]
buckets.LARGE = 64
for singular in (False, True):
    _, p = overlapped(singular, tg.Step)
    take, q = overlapped(singular, parallel.data_parallel)
    np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)
    assert len(take.buckets) > 2
    assert sent == ([False] if singular else [True, True]), sent
    sent.clear()

# The same where they are added in the order of the ranks, and of accumulated batches.
p, _ = trained(F.cross_entropy, accumulated, loader)
q, _ = trained(F.cross_entropy, ordered, parallel.Shards(loader))
assert np.array_equal(p, q)
q, _ = trained(F.cross_entropy, groups, parallel.Shards(loader))
np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)
assert sent == [True] * 6, sent
buckets.LARGE = 1 << 20

# An epoch is split without overlap, and drawn by rank 0.
sampler = data.RandomSampler(x, rng=ranks.rank)
mine = [i for batch in parallel.Sharded(sampler, 4) for i in batch]
lengths = ranks.gather(np.array([len(mine)]))[:, 0]
padded = np.full(max(lengths), -1)
padded[: len(mine)] = mine
everything = [i for row in ranks.gather(padded) for i in row if i >= 0]
assert sorted(everything) == list(range(22)), everything

# Initial parameters are rank 0's.
net = nn.Linear(5, 3, rng=ranks.rank)
first = nn.Linear(5, 3, rng=0).weight.data
step = parallel.data_parallel(net, F.cross_entropy, optim.SGD(net.parameters(), lr=0.0))
step(x, y)
assert np.array_equal(net.weight.data, first)


# The state of an optimiser, divided: the same bits, a part of the memory.
kinds = [k for k in vars(optim).values() if isinstance(k, type) and issubclass(k, optim.Optimizer)]
kinds = [k for k in kinds if k.entrywise and hasattr(k, "rule")]
assert len(kinds) > 9


def parameters():
    draw = np.random.default_rng(5).normal
    made = [draw(size=5).astype(np.float32), draw(), 1j * draw(size=(3, 3)), np.zeros((0, 2))]
    return [tg.Value(x) for x in made] + [tg.Value(np.zeros(2), requires_grad=False)]


def stepped(optimizer, n):
    draw = np.random.default_rng(len(optimizer.state)).normal
    for _ in range(n):
        for p in optimizer.params[:-1]:
            g = draw(size=p.shape) + (1j * draw(size=p.shape) if p.dtype.kind == "c" else 0)
            p.grad = np.asarray(g).astype(p.dtype)[()]
        optimizer.step()
    state = [x for s in optimizer.state_dict()["state"].values() for x in s]
    return [p.data for p in optimizer.params] + state


for kind in kinds:
    whole, divided = kind(parameters(), lr=0.1), parallel.shard_state(kind(parameters(), lr=0.1))
    for _ in range(2):
        expected, found = stepped(whole, 3), stepped(divided, 3)
        for a, b in zip(expected, found, strict=True):
            assert np.array_equal(a, b), kind
            assert np.shape(a) == np.shape(b), kind
            assert np.asarray(a).dtype == np.asarray(b).dtype, kind
        most = max([np.size(x) for s in divided.state.values() for x in s], default=0)
        assert most <= 10, "of 9 pairs 5 at most"
        saved = whole.state_dict()  # goes on divided, as what was divided goes on whole
        divided = parallel.shard_state(kind(parameters(), lr=0.1))
        for p, q in zip(divided.params, whole.params):
            p.data = q.data
        divided.load_state_dict(saved)
for name in ("Muon", "LBFGS"):
    with pytest.raises(ValueError, match=f"{name} cannot be divided"):
        parallel.shard_state(getattr(optim, name)(nn.Linear(2, 2, bias=False).parameters()))


def divided(net, loss, optimizer):
    clipping = tg.train.clipped(tg.train.penalised(max_norm=1.0), norm=0.1)
    step = clipping(net, loss, parallel.shard_state(optimizer))
    return parallel.data_parallel(step, check_every=2)


clipped = tg.train.clipped(tg.train.penalised(max_norm=1.0), norm=0.1)
p, _ = trained(F.cross_entropy, parallel.data_parallel(clipped), parallel.Shards(loader))
q, _ = trained(F.cross_entropy, divided, parallel.Shards(loader))
assert np.array_equal(p, q)


# fit, with the history of one process.
def history(step, split, divide=lambda adam: adam, **settings):
    net = model()
    batches = data.DataLoader(x, y, batch_size=4, shuffle=True, rng=0)
    adam = divide(optim.Adam(net.parameters(), lr=0.01))
    return tg.fit(
        net,
        split(batches),
        F.cross_entropy,
        adam,
        epochs=2,
        validation=(x, y),
        step=step,
        **settings,
        on_epoch=lambda line: print("line", line.epoch) if split is parallel.Shards else None,
    )


one, many = history(tg.Step, lambda b: b), history(parallel.data_parallel, parallel.Shards)
np.testing.assert_allclose(many.column("loss"), one.column("loss"), rtol=1e-5)
short = {"step": parallel.data_parallel, "split": lambda b: parallel.Shards(b)}
whole, divided = (
    history(divide=divide, precision="float16", **short)
    for divide in (lambda adam: adam, parallel.shard_state)
)
assert divided.column("loss") == whole.column("loss")
many = history(parallel.data_parallel, lambda b: parallel.Shards(b), compile=True)
np.testing.assert_allclose(many.column("loss"), one.column("loss"), rtol=1e-5)
print("done", ranks.rank)

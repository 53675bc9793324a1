"""DataLoader: an epoch is every example once, rows of all arrays together."""

import itertools
import subprocess
import sys
import threading
import time
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorgrad import data
from tensorgrad.data import DataLoader

lengths = st.integers(1, 70)
sizes = st.integers(1, 80)


def examples(n):
    """Rows that know their number, and that number."""
    return np.arange(n * 3).reshape(n, 3), np.arange(n)


@given(n=lengths, size=sizes, shuffle=st.booleans(), seed=st.integers(0, 2**32))
def test_an_epoch_is_each_example_once(n, size, shuffle, seed):
    x, y = examples(n)
    loader = DataLoader(x, y, batch_size=size, shuffle=shuffle, rng=seed)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-n // size)
    assert all(len(yb) == size for _, yb in batches[:-1])
    seen = np.concatenate([yb for _, yb in batches])
    assert sorted(seen) == list(range(n))
    np.testing.assert_array_equal(np.concatenate([xb for xb, _ in batches]), x[seen])


@given(n=lengths, size=sizes, shuffle=st.booleans())
def test_drop_last_gives_whole_batches_only(n, size, shuffle):
    x, y = examples(n)
    if n < size:
        with pytest.raises(ValueError, match=f"{n} rows make no batch of {size}"):
            DataLoader(x, y, batch_size=size, shuffle=shuffle, drop_last=True)
        return
    loader = DataLoader(x, y, batch_size=size, shuffle=shuffle, drop_last=True)
    batches = [yb for _, yb in loader]
    assert len(batches) == len(loader) == n // size
    assert {len(yb) for yb in batches} == {size}
    assert len(set(np.concatenate(batches).tolist())) == n // size * size


def test_the_shuffled_rows_are_those_that_indexing_gives():
    x, y = examples(25)
    order = np.random.default_rng(3).permutation(25)
    for i, (xb, yb) in enumerate(DataLoader(x, y, batch_size=4, shuffle=True, rng=3)):
        rows = order[4 * i : 4 * i + 4]
        np.testing.assert_array_equal(xb, x[rows])
        np.testing.assert_array_equal(yb, y[rows])


def epochs(loader, count):
    return [np.concatenate([yb for _, yb in loader]).tolist() for _ in range(count)]


def test_every_epoch_is_a_new_permutation():
    loader = DataLoader(*examples(50), batch_size=8, shuffle=True)
    orders = epochs(loader, 3)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])


def test_the_same_seed_gives_the_same_epochs():
    def loader(rng):
        return DataLoader(*examples(50), batch_size=8, shuffle=True, rng=rng)

    assert epochs(loader(7), 3) == epochs(loader(7), 3)
    assert epochs(loader(7), 3) == epochs(loader(np.random.default_rng(7)), 3)
    assert epochs(loader(7), 1) != epochs(loader(8), 1)


def test_two_epochs_may_run_at_once():
    loader = DataLoader(*examples(50), batch_size=8, shuffle=True)
    pairs = list(zip(loader, loader, strict=True))
    for side in (0, 1):
        assert sorted(np.concatenate([pair[side][1] for pair in pairs])) == list(range(50))


def test_shuffled_batches_are_copies_and_unshuffled_ones_views():
    x, y = examples(20)
    for shuffle in (False, True):
        xb, yb = next(iter(DataLoader(x, y, batch_size=4, shuffle=shuffle)))
        assert np.shares_memory(xb, x) == np.shares_memory(yb, y) == (not shuffle)


def test_any_number_of_arrays_and_lists():
    ((a,), (b,)) = DataLoader([1, 2, 3], batch_size=2)
    assert (a.tolist(), b.tolist()) == ([1, 2], [3])
    batches = list(DataLoader([1, 2], [[3], [4]], ["p", "q"], batch_size=1))
    assert [[part.tolist() for part in batch] for batch in batches] == [
        [[1], [[3]], ["p"]],
        [[2], [[4]], ["q"]],
    ]


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        ([], {}, ValueError, r"needs arrays with rows, or a data set, got shapes \[\]"),
        ([[1, 2], 32], {}, ValueError, "batch_size is given by name: batch_size=32"),
        ([[1, 2], [1]], {}, ValueError, r"equally long, got shapes \[\(2,\), \(1,\)\]"),
        ([[], []], {}, ValueError, "0 rows make no batch of 32"),
        ([[1, 2]], {"batch_size": 0}, ValueError, "batch_size=0: must be 1 or more"),
        ([[1, 2]], {"batch_size": -3}, ValueError, "batch_size=-3: must be 1"),
        ([[1, 2]], {"batch_size": 2.0}, TypeError, r"batch_size=2\.0: must be a whole"),
        ([[1, 2]], {"batch_size": None}, TypeError, "batch_size=None: must be a whole"),
        ([[1, 2]], {"sampler": iter([0])}, TypeError, "list_iterator has no length"),
        ([[1, 2]], {"batch_sampler": iter([[0]])}, TypeError, "list_iterator has no length"),
        ([[1, 2]], {"sampler": []}, ValueError, "0 rows make no batch of 32"),
        ([[1, 2]], {"prefetch": -1}, ValueError, "prefetch=-1: must be 0 or more"),
        ([[1, 2]], {"prefetch": 0.5}, TypeError, "prefetch=0.5: must be a whole"),
    ],
)
def test_what_cannot_be_loaded_is_refused(arrays, options, error, message):
    with pytest.raises(error, match=message):
        DataLoader(*arrays, **options)


def test_a_loader_says_what_it_has():
    loader = DataLoader([1, 2, 3], batch_size=2, shuffle=True)
    assert repr(loader) == "DataLoader: 3 examples in 2 batches of 2, shuffled"


def test_numpy_integers_are_integers():
    assert len(DataLoader([1, 2, 3], batch_size=np.int64(2))) == 2


# Data sets, samplers, what a thread prepares.


class Squares:
    """A data set that computes its examples, and writes down which."""

    def __init__(self, n):
        self.n, self.asked = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        self.asked.append(i)
        return np.array([i, i * i]), i


def epoch(loader):
    return [y.tolist() for _, y in loader]


def test_a_data_set_of_ones_own_is_read_an_example_at_a_time():
    squares = Squares(5)
    batches = iter(DataLoader(squares, batch_size=2))
    x, y = next(batches)
    assert (x.tolist(), y.tolist(), squares.asked) == ([[0, 0], [1, 1]], [0, 1], [0, 1])
    assert [y.tolist() for _, y in batches] == [[2, 3], [4]]
    shuffled = DataLoader(squares, batch_size=2, shuffle=True, rng=1)
    arrays = DataLoader(np.arange(5), np.arange(5), batch_size=2, shuffle=True, rng=1)
    assert epoch(shuffled) == epoch(arrays)
    pairs = [({"a": 1.0}, "x"), ({"a": 2.0}, "y")]
    ((first, names),) = DataLoader(pairs)
    assert (first["a"].tolist(), names) == ([1, 2], ["x", "y"])


def test_arrays_are_a_data_set_and_a_tensor_dataset_is_its_arrays():
    x, y, TensorDataset = np.arange(10).reshape(5, 2), np.arange(5), data.TensorDataset
    loaders = [DataLoader(*a, batch_size=2, shuffle=True) for a in ((x, y), (TensorDataset(x, y),))]
    assert [len(loader.dataset) for loader in loaders] == [5, 5]
    assert [a.tolist() for a in loaders[0].dataset[3]] == [[6, 7], 3]
    for (a, b), (c, d) in zip(*loaders, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    assert loaders[1].arrays[0] is x  # no example is looked at by itself
    assert list(DataLoader(TensorDataset(x, y), batch_size=5, collate_fn=len)) == [5]

    class Negative(TensorDataset):
        def __getitem__(self, i):
            return tuple(-part for part in super().__getitem__(i))

    ((a, b),) = DataLoader(Negative(x, y), batch_size=5)
    assert b.tolist() == [0, -1, -2, -3, -4]


def test_examples_of_different_shapes_need_a_collate_fn():
    ragged = [(np.zeros(2), 0), (np.zeros(3), 1)]
    with pytest.raises(ValueError, match=r"\[\(2,\), \(3,\)\] make no batch: pass a collate_fn"):
        list(DataLoader(ragged))
    ((lengths,),) = DataLoader(ragged, collate_fn=lambda batch: ([len(x) for x, _ in batch],))
    assert lengths == [2, 3]


def test_samplers_choose_the_examples():
    x = np.arange(6)
    loader = DataLoader(x, x, batch_size=2, sampler=[4, 1, 1])
    assert (epoch(loader), len(loader)) == ([[4, 1], [1]], 2)
    loader = DataLoader(x, x, batch_sampler=[[5], [0, 1]])
    assert (epoch(loader), len(loader)) == ([[5], [0, 1]], 2)
    weighted = data.WeightedRandomSampler([0, 0, 1, 3, 0, 0], 4000, rng=0)
    drawn = np.concatenate(epoch(DataLoader(x, x, sampler=weighted)))
    assert np.bincount(drawn, minlength=6)[2:4] == pytest.approx([1000, 3000], abs=120)
    with pytest.raises(ValueError, match="num_samples=0: must be 1 or more"):
        data.RandomSampler([])
    two_rounds = list(data.RandomSampler(x, num_samples=12, rng=0))
    assert sorted(two_rounds[:6]) == sorted(two_rounds[6:]) == [*range(6)]
    for options in ({"sampler": [1], "shuffle": True}, {"batch_sampler": [[1]], "drop_last": True}):
        with pytest.raises(ValueError, match="has its own order"):
            DataLoader(x, **options)


def test_a_split_deals_every_example_out_once():
    parts = data.random_split(range(11), [0.5, 0.3, 0.2], rng=0)
    assert [len(p) for p in parts] == [6, 3, 2]
    assert sorted(i for p in parts for i in p) == [*range(11)]
    assert [len(p) for p in data.random_split("abc", [1, 2])] == [1, 2]
    for lengths in ([5, 5], [0.5, 0.4], [12, -1], []):
        with pytest.raises(ValueError, match="random_split"):
            data.random_split(range(11), lengths)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_a_loader_goes_on_where_it_was(prefetch, stop):
    """Within an epoch, with a transform that draws, and a sampler of its own."""

    def loader():
        sampler = data.RandomSampler(range(20), rng=5)
        jitter = lambda x, y, rng: (x + rng.normal(size=x.shape), y)
        return DataLoader(
            np.zeros(20), np.arange(20), batch_size=3, sampler=sampler, transform=jitter,
            prefetch=prefetch, rng=3,
        )  # fmt: skip

    def taken(loader, n):
        return [(x.tolist(), y.tolist()) for x, y in islice(loader, n)]

    whole = loader()
    expected = taken(whole, 7) + taken(whole, 7)
    first = loader()
    batches = iter(first)
    begun = [(x.tolist(), y.tolist()) for x, y in islice(batches, stop)]
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    rest = [*taken(second, 9), *taken(second, 9), *taken(second, 9)]  # to the ends of epochs
    assert (begun + rest)[: len(expected)] == expected


class Noisy(Squares):
    def __init__(self, n):
        super().__init__(n)
        self.generator = np.random.default_rng(8)

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x + self.generator.normal(), y


class Halved:
    def __init__(self):
        self.draws = np.random.default_rng(9)

    def __call__(self, x, y):
        return x * self.draws.integers(2), y


def test_what_a_loader_was_given_draws_on_where_it_was():
    def loader(sampler_rng=6):
        order = data.BatchSampler(data.RandomSampler(range(6), rng=sampler_rng), 2, True)
        return DataLoader(Noisy(6), batch_sampler=order, transform=Halved())

    def taken(loader):
        return [(x.tolist(), y.tolist()) for x, y in loader]

    whole, first, second = loader(), loader(), loader()
    expected = taken(whole) + taken(whole)
    batches = iter(first)
    begun = [(x.tolist(), y.tolist()) for x, y in islice(batches, 2)]
    second.load_state_dict(first.state_dict())
    assert begun + taken(second) + taken(second) == expected
    third = loader(np.random.Generator(np.random.SFC64(0)))
    before = third.state_dict()
    with pytest.raises(ValueError, match=r"generators .*PCG64', 'PCG64'.*, not .*SFC64"):
        third.load_state_dict(first.state_dict())
    assert repr(third.state_dict()) == repr(before)


def test_a_thread_reads_ahead_hands_errors_on_and_ends():
    squares = Squares(10)
    batches = iter(DataLoader(squares, batch_size=1, prefetch=2))
    next(batches)
    deadline = time.monotonic() + 20
    while len(squares.asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(squares.asked) >= 3
    batches.close()
    assert not [t for t in threading.enumerate() if "work" in t.name]

    class Broken(Squares):
        def __getitem__(self, i):
            if i == 2:
                raise RuntimeError("the disk is gone")
            return super().__getitem__(i)

    seen = []
    with pytest.raises(RuntimeError, match="the disk is gone"):
        seen.extend(y.tolist() for _, y in DataLoader(Broken(5), batch_size=1, prefetch=1))
    assert seen == [[0], [1]]
    assert not [t for t in threading.enumerate() if "work" in t.name]


def test_arrays_larger_than_memory_are_read_batch_by_batch(tmp_path):
    """A file of 64 MB, of which a process takes a twentieth."""
    path = tmp_path / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", np.float32, (16_000, 1000))
    x[:, 0] = np.arange(16_000)
    x.flush()
    del x
    code = """
import resource, sys
import numpy as np
from tensorgrad.data import DataLoader
x = np.load(sys.argv[1], mmap_mode="r")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
loader = DataLoader(x, np.arange(16_000), batch_size=8, shuffle=True)
for i, (xb, yb) in enumerate(loader):
    assert (xb[:, 0] == yb).all()
    if i == 50:
        break
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 30


# Where it is.


@given(n=lengths, size=sizes, shuffle=st.booleans(), epochs=st.integers(0, 2), data=st.data())
def test_a_loader_goes_on_where_another_one_was(n, size, shuffle, epochs, data):
    x, y = examples(n)

    def made(rng):
        return DataLoader(x, y, batch_size=size, shuffle=shuffle, rng=rng)

    shared = np.random.default_rng(1)
    loader = made(shared)
    for _ in range(epochs):
        assert len([shared.random() for _ in loader]) == len(loader)
    batches = iter(loader)
    given_so_far = data.draw(st.integers(1, len(loader)))
    for _ in range(given_so_far):
        next(batches)
        shared.random()
    state = loader.state_dict()
    assert state["position"] == given_so_far
    other_rng = np.random.default_rng(2)
    other = made(other_rng)
    other.load_state_dict(state)
    assert other.state_dict() == state
    for mine, theirs in zip([*batches, *loader], [*other, *other], strict=True):
        np.testing.assert_array_equal(mine[1], theirs[1])
    assert shared.random() == other_rng.random()


def test_between_epochs_a_loader_has_no_position():
    x, y = examples(5)
    loader = DataLoader(x, y, batch_size=2, shuffle=True)
    assert loader.state_dict()["position"] is None
    list(loader)
    state = loader.state_dict()
    assert state["position"] is None
    following = [yb.tolist() for _, yb in loader]
    loader.load_state_dict(state)
    assert [yb.tolist() for _, yb in loader] == following


def test_the_state_of_another_loader_is_refused():
    x, y = examples(5)
    state = DataLoader(x, y, batch_size=2).state_dict()
    for other in (DataLoader(x, y, batch_size=3), DataLoader(x[:4], y[:4], batch_size=2)):
        before = other.state_dict()
        with pytest.raises(ValueError, match="the state is of"):
            other.load_state_dict(state)
        assert other.state_dict() == before


class Endless:
    """Yields more than its length says."""

    def __init__(self, item):
        self.item = item

    def __iter__(self):
        return itertools.repeat(self.item)

    def __len__(self):
        return 4


def test_a_sampler_is_asked_for_as_many_as_its_length():
    x = np.arange(10)
    assert [len(b) for (b,) in DataLoader(x, batch_size=3, sampler=Endless(7))] == [3, 1]
    assert len(list(DataLoader(x, batch_sampler=Endless([1, 2])))) == 4


@pytest.mark.parametrize("rows", [[0.5, 1.0], ["1"], [None], [np.float64(2)]])
def test_numbers_of_rows_that_are_no_whole_numbers_are_an_error(rows):
    x = np.arange(10)
    for options in ({"sampler": rows}, {"batch_sampler": [rows]}):
        with pytest.raises(TypeError, match="integer"):
            list(DataLoader(x, **options))


def test_a_state_that_does_not_fit_changes_nothing():
    def loader(kind=np.random.PCG64):
        x = np.arange(10)
        sampler = data.RandomSampler(x, rng=np.random.Generator(kind(1)))
        return DataLoader(x, batch_size=2, sampler=sampler, rng=0)

    other = loader(np.random.MT19937)
    next(iter(other))
    here = loader()
    before = here.state_dict()
    plain = DataLoader(np.arange(10), batch_size=2).state_dict()
    changed = [{"position": 6}, {"position": -1}, {"rng": []}]
    for state in (other.state_dict(), plain, {}, *({**before, **change} for change in changed)):
        with pytest.raises(ValueError, match="state"):
            here.load_state_dict(state)
        assert here.state_dict() == before

"""DataLoader: an epoch is every example once, rows of all arrays together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ([], {}, ValueError, r"needs arrays with rows, got shapes \[\]"),
        ([[1, 2], 32], {}, ValueError, r"shapes \[\(2,\), \(\)\] \(batch_size is given by name"),
        ([[1, 2], [1]], {}, ValueError, r"equally long, got shapes \[\(2,\), \(1,\)\]"),
        ([[], []], {}, ValueError, "0 rows make no batch of 32"),
        ([[1, 2]], {"batch_size": 0}, ValueError, "at least 1, got 0"),
        ([[1, 2]], {"batch_size": -3}, ValueError, "at least 1, got -3"),
        ([[1, 2]], {"batch_size": 2.0}, TypeError, r"integer, got 2\.0"),
        ([[1, 2]], {"batch_size": None}, TypeError, "integer, got None"),
    ],
)
def test_what_cannot_be_loaded_is_refused(arrays, options, error, message):
    with pytest.raises(error, match=message):
        DataLoader(*arrays, **options)


def test_numpy_integers_are_integers():
    assert len(DataLoader([1, 2, 3], batch_size=np.int64(2))) == 2

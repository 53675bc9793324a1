"""The bundled digits: the right numbers, in splits that never move."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorgrad.data
from tensorgrad.data import digits

SPLITS = ["stratified", "writers"]


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_64_counts_of_sixteenths_and_labels_are_digits(split):
    x_train, y_train, x_test, y_test = digits(split)
    for x, y in [(x_train, y_train), (x_test, y_test)]:
        assert (x.dtype, x.shape) == (np.float32, (len(y), 64))
        assert (y.dtype, y.ndim) == (np.int64, 1)
        assert set((x * 16).ravel().tolist()) == set(range(17))
        assert set(y.tolist()) == set(range(10))


def test_the_splits_share_out_the_same_1797_examples():
    def examples(data):
        pairs = [(data.x_train, data.y_train), (data.x_test, data.y_test)]
        return sorted((x.tobytes(), y) for xs, ys in pairs for x, y in zip(xs, ys, strict=True))

    stratified, writers = map(examples, map(digits, SPLITS))
    assert len(stratified) == 1797
    assert stratified == writers


def test_the_stratified_split_tests_a_fifth_of_each_digit():
    data = digits()
    train, test = np.bincount(data.y_train), np.bincount(data.y_test)
    np.testing.assert_allclose(test, (train + test) / 5, atol=0.5)


def test_the_stratified_split_is_mixed():
    # As many changes of label between neighbours as chance would have it: 9 in 10.
    assert np.mean(np.diff(digits().y_train) != 0) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("split", "train", "test"),
    [
        ("stratified", "7b5b851e57972961", "53f4fb9e564c7848"),
        ("writers", "9574b33fb757af72", "a300d389cc0a03e7"),
    ],
)
def test_the_splits_never_move(split, train, test):
    data = digits(split)
    for x, y, digest in [(data.x_train, data.y_train, train), (data.x_test, data.y_test, test)]:
        values = (x * 16).astype(np.uint8).tobytes() + y.astype(np.uint8).tobytes()
        assert hashlib.sha256(values).hexdigest()[:16] == digest


def test_the_writers_split_keeps_the_order_of_the_file():
    data = digits("writers")
    assert (len(data.y_train), len(data.y_test)) == (1437, 360)
    labels = np.concatenate([data.y_train, data.y_test])
    np.testing.assert_array_equal(labels[:30], np.tile(np.arange(10), 3))
    form = "".join(map(str, labels)).split("0123456789" + "0955650989")
    assert len(form) - 1 == 14
    assert len("".join(map(str, data.y_train)).split("0123456789" + "0955650989")) - 1 == 11


def test_the_writers_split_is_the_harder_one():
    def nearest_neighbour_accuracy(data):
        x_train, y_train, x_test, y_test = data
        squared_distance = (x_train**2).sum(1) - 2 * x_test @ x_train.T
        return np.mean(y_train[squared_distance.argmin(1)] == y_test)

    assert nearest_neighbour_accuracy(digits("writers")) < 0.97
    assert nearest_neighbour_accuracy(digits()) > 0.98


def test_the_numbers_are_scikit_learns():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    x_train, y_train, x_test, y_test = digits("writers")
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]) * 16, theirs.data)
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), theirs.target)


def test_another_split_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="'stratified' or 'writers', got 'random'"):
        digits("random")


def test_the_file_is_small_and_travels_with_its_attribution():
    folder = Path(tensorgrad.data.__file__).parent
    assert (folder / "digits.npz").stat().st_size < 100_000
    attribution = (folder / "digits.LICENSE.txt").read_text()
    for word in ["E. Alpaydin", "C. Kaynak", "10.24432/C50P49", "CC BY 4.0", "Changes:"]:
        assert word in attribution


def test_a_file_that_was_not_shipped_is_not_read(monkeypatch, tmp_path):
    whole = Path(tensorgrad.data.__file__).with_name("digits.npz").read_bytes()
    (tmp_path / "digits.npz").write_bytes(whole[:-1] + b"!")
    monkeypatch.setattr(sys.modules[digits.__module__], "__file__", str(tmp_path / "digits.py"))
    with pytest.raises(ValueError, match="not the file that came with tensorgrad"):
        digits()

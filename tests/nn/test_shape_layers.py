"""Layers that move entries, against loops and NumPy; and functions of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import functional as F
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)


def test_flatten_and_unflatten_are_reshapes() -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(nn.Flatten()(x), x.reshape(2, 60))
    np.testing.assert_array_equal(nn.Flatten(0, -2)(x), x.reshape(24, 5))
    np.testing.assert_array_equal(nn.Unflatten(2, (2, -1))(x), x.reshape(2, 3, 2, 2, 5))
    assert_gradient(nn.Sequential(nn.Flatten(), nn.Unflatten(1, (6, 10)), np.sin), x)


NUMPYS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPYS)
@pytest.mark.parametrize("pads", [(1, 2), (2, 1, 0, 3), (0, 0, 1, 1), (1, 0, 0, 1, 2, 2)])
def test_pad_begins_with_the_last_axis(mode: str, pads: tuple[int, ...]) -> None:
    x = rng.normal(size=(3, 4, 5))
    widths = [(0, 0)] * (3 - len(pads) // 2) + [*zip(pads[::2], pads[1::2], strict=True)][::-1]
    np.testing.assert_array_equal(F.pad(x, pads, mode), np.pad(x, widths, NUMPYS[mode]))
    assert_gradient(lambda x: np.sin(F.pad(x, pads, mode)), x)


def test_a_negative_pad_takes_entries_away() -> None:
    x = np.arange(5.0)
    np.testing.assert_array_equal(F.pad(x, (-1, 2), value=9), [1, 2, 3, 4, 9, 9])
    np.testing.assert_array_equal(F.pad(x, (-1, -3)), [1])
    np.testing.assert_array_equal(F.pad(x, (-1, 1), "reflect"), [1, 2, 3, 4, 3])
    np.testing.assert_array_equal(F.pad(x, (-1, 1), "replicate"), [1, 2, 3, 4, 4])
    np.testing.assert_array_equal(F.pad(x, (-1, 1), "circular"), [1, 2, 3, 4, 1])
    assert F.pad(x, (0, 0)) is x


def test_an_empty_batch_stays_empty() -> None:
    x = np.zeros((0, 2, 3, 3))
    assert F.pad(x, (1, 1), "reflect").shape == (0, 2, 3, 5)
    assert F.unfold(x, 2).shape == (0, 8, 4)
    assert F.fold(np.zeros((0, 8, 4)), (3, 3), 2).shape == (0, 2, 3, 3)
    assert F.max_pool2d(x, 2).shape == F.avg_pool2d(x, 2).shape == (0, 2, 1, 1)
    assert F.interpolate(x, 5, mode="bilinear").shape == (0, 2, 5, 5)
    assert F.adaptive_max_pool2d(x, 2).shape == F.adaptive_avg_pool2d(x, 2).shape == (0, 2, 2, 2)


def test_a_constant_pad_keeps_the_order_in_memory() -> None:
    x = np.zeros((4, 3, 6, 5), np.float32).transpose(3, 1, 0, 2)  # (H, C, W, N) in memory
    out = F.pad(x, (1, 1, 2, 2))
    assert out.transpose(2, 1, 3, 0).flags.c_contiguous
    assert out.dtype == np.float32


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "mode"),
    [("Reflection", "reflect"), ("Replication", "replicate"), ("Circular", "circular")],
)
def test_padding_layers_pad_their_axes(n: int, name: str, mode: str) -> None:
    x = rng.normal(size=(2, 3, *[4] * n))
    layer = getattr(nn, f"{name}Pad{n}d")
    np.testing.assert_array_equal(layer(2)(x), F.pad(x, (2,) * 2 * n, mode))
    pads = (0, 1, 2, 1, 0, 2)[: 2 * n]
    np.testing.assert_array_equal(layer(pads)(x), F.pad(x, pads, mode))


def test_zeros_and_constants_around_an_array() -> None:
    x = np.ones((1, 1, 1))
    np.testing.assert_array_equal(nn.ZeroPad1d((0, 1))(x), [[[1, 0]]])
    np.testing.assert_array_equal(nn.ConstantPad1d(1, 3.5)(x), [[[3.5, 1, 3.5]]])
    assert nn.ZeroPad3d(1)(np.ones((1, 1, 1, 1, 1))).sum() == 1
    assert nn.ConstantPad2d((1, 0, 0, 1), value=2)(x).tolist() == [[[2, 1], [2, 2]]]


def test_pixel_shuffle_is_equation_4_of_its_paper() -> None:
    x, r = rng.normal(size=(2, 12, 3, 4)), 2
    out = F.pixel_shuffle(x, r)
    for i, c, y, z in np.ndindex(out.shape):
        assert out[i, c, y, z] == x[i, c * r * r + r * (y % r) + z % r, y // r, z // r]
    np.testing.assert_array_equal(F.pixel_unshuffle(out, r), x)
    assert_gradient(lambda x: np.sin(nn.PixelShuffle(r)(x)), x)
    assert_gradient(lambda x: np.sin(nn.PixelUnshuffle(r)(x)), out)


def test_channel_shuffle_deals_the_groups_in_turn() -> None:
    x = rng.normal(size=(2, 6, 3))
    out = nn.ChannelShuffle(3)(x)
    for i, c in np.ndindex(2, 6):
        np.testing.assert_array_equal(out[i, c], x[i, c % 3 * 2 + c // 3])


@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (3, 5, 6), (1, 1, 2, 3)])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 2},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 0)},
        {"kernel_size": (1, 2), "dilation": 2, "stride": 3, "padding": 1},
    ],
)
def test_unfold_has_a_column_for_each_window_and_fold_is_its_transpose(
    shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    x = rng.normal(size=shape)
    (k, m), (p, q), (s, t), (d, e) = (
        (v, v) if isinstance(v := settings.get(name, usual), int) else v
        for name, usual in (("kernel_size", 1), ("padding", 0), ("stride", 1), ("dilation", 1))
    )
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p), (q, q)])
    rows = (padded.shape[-2] - (k - 1) * d - 1) // s + 1
    columns = (padded.shape[-1] - (m - 1) * e - 1) // t + 1
    out = F.unfold(x, **settings)
    for i, j in np.ndindex(rows, columns):
        window = padded[
            ..., i * s : i * s + (k - 1) * d + 1 : d, j * t : j * t + (m - 1) * e + 1 : e
        ]
        column = out[..., i * columns + j]
        np.testing.assert_array_equal(column, window.reshape(column.shape))
    g = rng.normal(size=out.shape)
    folded = F.fold(g, shape[-2:], **settings)
    assert np.isclose(np.sum(g * out), np.sum(folded * x))
    layers = nn.Unfold(**settings), nn.Fold(shape[-2:], **settings)
    assert_gradient(nn.Sequential(layers[0], np.sin, layers[1]), x)


def test_class_numbers_as_rows() -> None:
    np.testing.assert_array_equal(F.one_hot(np.array([[0], [2]])), np.eye(3, dtype=int)[[[0], [2]]])
    assert F.one_hot([1], 5).tolist() == [[0, 1, 0, 0, 0]]


@pytest.mark.parametrize("p", [1, 2, 3.5, np.inf])
def test_rows_of_length_one_and_distances(p: float) -> None:
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    norm = lambda d: np.max(abs(d), -1) if p == np.inf else np.sum(abs(d) ** p, -1) ** (1 / p)
    np.testing.assert_allclose(F.normalize(x, p), x / norm(x)[:, None])
    np.testing.assert_allclose(nn.PairwiseDistance(p)(x, y), norm(x - y + 1e-6))
    pairs = [norm(x[i] - x[j]) for i in range(4) for j in range(i + 1, 4)]
    np.testing.assert_allclose(F.pdist(x, p), pairs)
    assert_gradient(lambda x: F.normalize(x, p), x)
    assert_gradient(lambda x: F.pdist(x, p), x)


def test_cosine_of_the_angle_between_rows() -> None:
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(1, 3))
    lengths = np.sqrt(np.sum(x * x, 1) * np.sum(y * y, 1))
    np.testing.assert_allclose(nn.CosineSimilarity()(x, y), np.sum(x * y, 1) / lengths)
    assert_gradient(F.cosine_similarity, x, y)
    assert F.cosine_similarity(np.zeros((1, 3)), y) == 0
    assert not tg.grad(lambda x: F.normalize(x).sum())(np.zeros((1, 3)))[0, 0] < 1e11


def test_layers_that_move_entries_work_inside_vmap() -> None:
    x = rng.normal(size=(3, 2, 4, 4, 4))
    for layer in (
        nn.Flatten(),
        nn.ReflectionPad2d(1),
        nn.ZeroPad2d(1),
        nn.PixelShuffle(2),
        nn.Unfold(2),
    ):
        expected = np.stack([layer(each) for each in x])
        np.testing.assert_array_equal(tg.vmap(layer)(Value(x)).data, expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: F.pad(x, (1, 2, 3)), ValueError, "two for each axis, beginning with the last"),
        (lambda x: F.pad(x, (4, 0), "reflect"), ValueError, "axis 3 has 4 entries, and 4 more"),
        (lambda x: F.pad(x, (-2, -3)), ValueError, "axis 3 has 4 entries"),
        (lambda x: F.pad(x, (1, 1), "wrap"), ValueError, "there are 'constant', 'reflect'"),
        (lambda x: F.pad(x, (1, 1), "reflect", 2.0), ValueError, "value=2.0 is for mode='const"),
        (lambda x: nn.ZeroPad2d((1, 2))(x), TypeError, "give an integer, or 4 of them"),
        (lambda x: nn.Flatten(2, 1)(x), ValueError, "the axes end before they start"),
        (lambda x: nn.Unflatten(1, (2, 2))(x), ValueError, r"3 entries are not \(2, 2\)"),
        (lambda x: F.pixel_shuffle(x, 2), ValueError, "it takes"),
        (lambda x: F.pixel_unshuffle(x, 3), ValueError, "it takes"),
        (lambda x: F.channel_shuffle(x, 2), ValueError, "axis 1 is no multiple of 2"),
        (lambda x: F.unfold(x, 5), ValueError, "do not fit"),
        (lambda x: F.unfold(x[0, 0], 2), ValueError, "it takes"),
        (lambda x: F.fold(np.ones((4, 3)), (2, 3), 2), ValueError, "1 x 2 windows of 4 entries"),
        (lambda x: F.one_hot([3], 3), ValueError, "classes 3..3, but there are 3"),
        (lambda x: F.one_hot([0.5]), TypeError, "class numbers are integers"),
        (lambda x: F.one_hot(np.zeros(0, int)), ValueError, "give num_classes="),
        (lambda x: F.pdist(x), ValueError, "it takes rows"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(np.ones((2, 3, 4, 4)))


def test_a_number_is_a_vector_of_one_entry_as_in_pytorch() -> None:
    assert F.normalize(np.float64(-3.0), dim=0) == -1
    assert F.cosine_similarity(2.0, -3.0, dim=0) == -1

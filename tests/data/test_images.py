"""Pictures made of pictures: moved, turned, bent, cut; and points in the plane."""

import numpy as np
import pytest

from tensorgrad import data

IMAGES = np.random.default_rng(0).random((6, 9, 8)).astype(np.float32)


@pytest.mark.parametrize("down", [-9, -2, 0, 1, 20])
@pytest.mark.parametrize("right", [-1, 0, 3, 8])
def test_a_shift_moves_pixels_and_brings_in_zeros(down, right):
    out = data.shift(IMAGES, down, right)
    for i in range(9):
        for j in range(8):
            a, b = i - down, j - right
            inside = 0 <= a < 9 and 0 <= b < 8
            np.testing.assert_array_equal(out[:, i, j], IMAGES[:, a, b] if inside else 0)


def test_expanded_data_are_five_times_as_many():
    """Nielsen's expand_mnist.py: each image, and its four neighbours."""
    x, y = data.expand(IMAGES, np.arange(6))
    assert x.shape == (30, 9, 8)
    assert y.tolist() == [*range(6)] * 5
    np.testing.assert_array_equal(x[:6], IMAGES)
    np.testing.assert_array_equal(x[6:12, 1:], IMAGES[:, :-1])
    rows, _ = data.expand(IMAGES.reshape(6, 72), np.arange(6), height=9)
    np.testing.assert_array_equal(rows, x.reshape(30, 72))
    with pytest.raises(ValueError, match="rows of 72 pixels are no images"):
        data.expand(IMAGES.reshape(6, 72), np.arange(6))
    with pytest.raises(ValueError, match="6 images and labels"):
        data.expand(IMAGES, [1])


def test_a_random_shift_is_one_of_the_shifts_and_each_comes():
    x = np.repeat(IMAGES[:1], 300, axis=0)
    shifts = [data.shift(x[0], i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    found = [
        next(k for k, s in enumerate(shifts) if np.array_equal(s, y))
        for y in data.random_shift(x, rng=0)
    ]
    assert set(found) == set(range(9))


def test_a_rotation_keeps_the_middle_and_turns_the_rest():
    """A disk of smooth grey, seen turned, is the picture computed at turned places."""
    i, j = np.indices((41, 41)) - 20.0

    def smooth(a, b):
        return np.exp(-(a * a + b * b) / 80) * (1 + np.sin(a / 6) * np.cos(b / 9))

    x = np.repeat(smooth(i, j)[None], 4, axis=0)
    turned = data.rotate(x, 30, rng=3)
    angles = [np.deg2rad(np.random.default_rng(3).uniform(-30, 30, 4)[k]) for k in range(4)]
    for y, a in zip(turned, angles):
        c, s = np.cos(a), np.sin(a)
        np.testing.assert_allclose(y, smooth(c * i - s * j, s * i + c * j), atol=0.02)


def test_rubber_keeps_what_is_flat_and_moves_pixels_by_a_quarter_of_alpha():
    flat = np.ones((2, 60, 60))
    np.testing.assert_allclose(data.elastic(flat, rng=0)[:, 20:40, 20:40], 1)
    ramp = np.tile(np.arange(200.0), (1, 200, 1))  # its pixels tell where they came from
    inner = (data.elastic(ramp, alpha=8, sigma=4, rng=0) - ramp)[0, 30:-30, 30:-30]
    assert inner.std() == pytest.approx(2, rel=0.15)


def test_each_image_is_drawn_for_and_the_seed_decides():
    for change in (data.random_shift, data.rotate, data.elastic, data.cutout, data.random_flip):
        x = np.repeat(IMAGES[:1], 40, axis=0)
        out = change(x, rng=1)
        assert (out.dtype, out.shape) == (np.float32, x.shape)
        assert len({y.tobytes() for y in out}) > 1, change
        np.testing.assert_array_equal(out, change(x, rng=1))
        channels = change(x.reshape(20, 2, 9, 8), rng=1)
        assert channels.shape == (20, 2, 9, 8)
        with pytest.raises(ValueError, match=r"takes images .* not shape \(3,\)"):
            change(np.zeros(3))


def test_normalized_channels_have_mean_0_and_deviation_1():
    x = np.random.default_rng(0).random((50, 3, 4, 4)).astype(np.float32)
    mean, std = x.mean(axis=(0, 2, 3)), x.std(axis=(0, 2, 3))
    out = data.normalize(x, mean, std)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(0, 2, 3)), 1, atol=1e-5)
    with pytest.raises(ValueError, match="must be above 0"):
        data.normalize(x, mean, [1, 0, 1])


@pytest.mark.parametrize("make", [data.moons, data.circles, data.spirals, data.blobs])
def test_points_are_as_many_as_asked_for_in_classes_of_one_size(make):
    x, y = make(101, rng=0)
    assert x.shape == (101, 2)
    assert np.ptp(np.bincount(y)) == 1
    np.testing.assert_array_equal(x, make(101, rng=0)[0])
    with pytest.raises(ValueError, match="noise=-1 must not be negative"):
        make(10, noise=-1)
    with pytest.raises(ValueError, match="0 points for"):
        make(0)

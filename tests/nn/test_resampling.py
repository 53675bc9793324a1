"""Resampling, against formulas written out for single pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import functional as F
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def position(i: int, old: int, new: int, align: bool) -> float:
    """Where pixel i of the new ones lies among the old."""
    if align:
        return i * (old - 1) / max(new - 1, 1)
    return (i + 0.5) * old / new - 0.5


@pytest.mark.parametrize(("old", "new"), [(5, 9), (9, 4), (4, 8), (1, 3), (6, 1), (90, 150)])
@pytest.mark.parametrize("align", [False, True])
def test_between_two_pixels_an_image_is_a_line(old: int, new: int, align: bool) -> None:
    x = rng.normal(size=(2, 3, old))
    out = F.interpolate(x, new, mode="linear", align_corners=align)
    places = [position(i, old, new, align) for i in range(new)]
    expected = [[np.interp(places, range(old), row) for row in image] for image in x]
    np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_several_axes_are_resampled_one_after_the_other(n: int) -> None:
    x, sizes = rng.normal(size=(2, 3, 4, 5, 2)[: n + 2]), (6, 3, 5)[:n]
    out = F.interpolate(x, sizes, mode=LINEAR[n])
    for axis, size in enumerate(sizes, 2):
        rows = np.moveaxis(x, axis, -1)
        flat = F.interpolate(rows.reshape(1, -1, rows.shape[-1]), size, mode="linear")
        x = np.moveaxis(flat.reshape(*rows.shape[:-1], size), -1, axis)
    np.testing.assert_allclose(out, x, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), [(5, 9), (9, 4), (4, 8), (3, 9), (2, 7)])
def test_the_nearest_pixel_is_that_of_the_beginning_or_of_the_middle(old: int, new: int) -> None:
    x = rng.normal(size=(1, 2, old))
    begin = [math.floor(i * old / new) for i in range(new)]
    middle = [math.floor((i + 0.5) * old / new) for i in range(new)]
    np.testing.assert_array_equal(F.interpolate(x, new), x[..., begin])
    np.testing.assert_array_equal(F.interpolate(x, new, mode="nearest-exact"), x[..., middle])
    assert_gradient(lambda x: np.sin(F.interpolate(x, new)), x)


def keys(d: float, a: float) -> float:
    """Keys (1981), eq. 4, with his a."""
    d = abs(d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


@pytest.mark.parametrize("align", [False, True])
def test_bicubic_weighs_four_neighbours_by_keys_polynomials(align: bool) -> None:
    old, new = 5, 7
    x = rng.normal(size=(1, 2, 3, old))
    out = F.interpolate(x, (3, new), mode="bicubic", align_corners=align)
    for i in range(new):
        at = position(i, old, new, align)
        expected = sum(
            keys(at - j, -0.75) * x[..., min(max(j, 0), old - 1)]
            for j in range(math.floor(at) - 1, math.floor(at) + 3)
        )
        np.testing.assert_allclose(out[..., i], expected, atol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("old", "new"), [(12, 5), (5, 3), (4, 6)])
def test_antialias_takes_all_pixels_that_a_new_one_covers(mode: str, old: int, new: int) -> None:
    x = rng.normal(size=(1, 2, 3, old))
    out = F.interpolate(x, (3, new), mode=mode, antialias=True)
    wide = max(old / new, 1)
    weight = (lambda d: max(1 - abs(d), 0)) if mode == "bilinear" else (lambda d: keys(d, -0.5))
    for i in range(new):
        weights = np.array([weight((j - position(i, old, new, False)) / wide) for j in range(old)])
        np.testing.assert_allclose(out[..., i], x @ weights / weights.sum(), atol=1e-12)


def test_area_is_the_mean_of_the_pixels_that_a_new_one_touches() -> None:
    x = rng.normal(size=(1, 2, 5, 7))
    out = F.interpolate(x, (2, 3), mode="area")
    np.testing.assert_allclose(out[..., 0, 1], x[..., 0:3, 2:5].mean((-2, -1)))


def test_a_factor_may_be_taken_as_given_or_as_it_came_out() -> None:
    x = np.arange(5.0).reshape(1, 1, 5)
    given = F.interpolate(x, scale_factor=1.5, mode="linear")  # 7 pixels, 1/1.5 apart
    made = F.interpolate(x, scale_factor=1.5, mode="linear", recompute_scale_factor=True)
    np.testing.assert_allclose(given[0, 0, 3], 3.5 / 1.5 - 0.5)
    np.testing.assert_allclose(made[0, 0, 3], 3.5 * 5 / 7 - 0.5)
    # two pixels of 1.2 times two: the second begins at 1 / 1.2, within the first old one
    np.testing.assert_array_equal(F.interpolate(x[..., 1:3], scale_factor=1.2), [[[1, 1]]])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest", "area"])
def test_resampling_is_linear_and_so_is_its_gradient(mode: str) -> None:
    x = rng.normal(size=(1, 2, 3, 4))
    f = lambda x: F.interpolate(x, (5, 3), mode=mode)
    assert_gradient(f, x, order=2)
    assert f(x.astype(np.float32)).dtype == np.float32
    many = rng.normal(size=(3, *x.shape))
    np.testing.assert_allclose(tg.vmap(f)(Value(many)).data, [f(x) for x in many], atol=1e-12)


def test_layers_are_the_functions() -> None:
    x = rng.normal(size=(1, 2, 3, 4))
    for layer, expected in (
        (nn.Upsample(scale_factor=2), F.interpolate(x, scale_factor=2)),
        (nn.Upsample((5, 6), mode="bilinear"), F.interpolate(x, (5, 6), mode="bilinear")),
        (nn.UpsamplingNearest2d(scale_factor=3), F.interpolate(x, scale_factor=3)),
        (
            nn.UpsamplingBilinear2d(6),
            F.interpolate(x, 6, mode="bilinear", align_corners=True),
        ),
    ):
        np.testing.assert_array_equal(layer(x), expected)


# Grids.


def test_an_affine_grid_is_the_map_of_the_pixels_places() -> None:
    theta = rng.normal(size=(2, 2, 3))
    for align in (False, True):
        out = F.affine_grid(theta, (2, 1, 3, 4), align)
        place = lambda i, n: 2 * i / (n - 1) - 1 if align else (2 * i + 1) / n - 1  # noqa: B023
        for e, i, j in np.ndindex(2, 3, 4):
            np.testing.assert_allclose(out[e, i, j], theta[e] @ [place(j, 4), place(i, 3), 1])
    assert_gradient(lambda theta: F.affine_grid(theta, (2, 1, 3, 4)), theta)
    assert F.affine_grid(rng.normal(size=(1, 3, 4)), (1, 1, 2, 3, 4)).shape == (1, 2, 3, 4, 3)


def pixel(image: Any, i: int, j: int, padding_mode: str, align: bool) -> Any:
    """A pixel of (C, H, W), also outside."""
    place = []
    for k, n in ((i, image.shape[1]), (j, image.shape[2])):
        if padding_mode == "zeros" and not 0 <= k < n:
            return np.zeros(len(image))
        if padding_mode == "reflection":
            while not 0 <= k < n and n > 1:
                k = (-k if align else -1 - k) if k < 0 else (2 * n - 2 if align else 2 * n - 1) - k
        place.append(min(max(k, 0), n - 1))
    return image[:, place[0], place[1]]


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_an_image_through_a_grid(mode: str, padding_mode: str, align: bool) -> None:
    image, grid = rng.normal(size=(2, 3, 4, 5)), rng.uniform(-1.7, 1.7, (2, 3, 3, 2))
    out = F.grid_sample(image, grid, mode, padding_mode, align)
    assert out.shape == (2, 3, 3, 3)
    for e, i, j in np.ndindex(2, 3, 3):
        at = [
            (g + 1) / 2 * (n - 1) if align else ((g + 1) * n - 1) / 2
            for g, n in zip(grid[e, i, j, ::-1], (4, 5), strict=True)
        ]
        if mode == "nearest":
            taps = [[(round(u), 1.0)] for u in at]
        elif mode == "bilinear":
            taps = [
                [(math.floor(u) + k, 1 - abs(u - math.floor(u) - k)) for k in (0, 1)] for u in at
            ]
        else:
            taps = [
                [(math.floor(u) + k, keys(u - math.floor(u) - k, -0.75)) for k in (-1, 0, 1, 2)]
                for u in at
            ]
        expected = sum(
            wa * wb * pixel(image[e], a, b, padding_mode, align)
            for a, wa in taps[0]
            for b, wb in taps[1]
        )
        np.testing.assert_allclose(out[e, :, i, j], expected, atol=1e-12)
    assert_gradient(lambda image: F.grid_sample(image, grid, mode, padding_mode, align), image)
    if mode != "nearest":
        assert_gradient(lambda grid: F.grid_sample(image, grid, mode, padding_mode, align), grid)


def test_the_identity_shows_the_image_itself() -> None:
    for shape in ((2, 3, 4, 5), (1, 2, 3, 4, 5)):
        n = len(shape) - 2
        image = rng.normal(size=shape)
        theta = np.broadcast_to(np.eye(n, n + 1), (shape[0], n, n + 1))
        for align in (False, True):
            grid = F.affine_grid(theta, shape, align)
            seen = F.grid_sample(image, grid, align_corners=align)
            np.testing.assert_allclose(seen, image, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: F.interpolate(x), ValueError, "give either size or scale_factor"),
        (lambda x: F.interpolate(x, 2, 2), ValueError, "give either size or scale_factor"),
        (lambda x: F.interpolate(x, 2, mode="cubic"), ValueError, "there are 'nearest'"),
        (lambda x: F.interpolate(x, 2, mode="linear"), ValueError, "of 3 axes"),
        (lambda x: F.interpolate(x, 2, align_corners=True), ValueError, "has no corners to align"),
        (lambda x: F.interpolate(x, 2, antialias=True), ValueError, "antialias is for"),
        (lambda x: F.interpolate(x, (2, 3, 4)), TypeError, "or 2 of them"),
        (lambda x: F.interpolate(x, scale_factor=(2, 3, 4)), ValueError, "or 2 of them"),
        (lambda x: F.interpolate(x, scale_factor=-1), ValueError, "give a positive number"),
        (lambda x: F.interpolate(x, scale_factor=0.1), ValueError, "leaves no pixel"),
        (lambda x: F.interpolate(x, 0), ValueError, "sizes begin at 1"),
        (lambda x: F.interpolate(x[:, :, :0], 2), ValueError, "there are no pixels"),
        (lambda x: F.affine_grid(np.eye(3), (1, 1, 2, 2)), ValueError, "it takes"),
        (lambda x: F.grid_sample(x, np.zeros((1, 2, 2, 3))), ValueError, "it takes"),
        (lambda x: F.grid_sample(x, np.zeros((1, 2, 2, 2)), "area"), ValueError, "no mode 'area'"),
        (
            lambda x: F.grid_sample(x, np.zeros((1, 2, 2, 2)), padding_mode="wrap"),
            ValueError,
            "no padding_mode 'wrap'",
        ),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(np.ones((1, 2, 3, 4)))

"""Pictures of digits: whatever their size, colours and margin, the same digit arrives."""

import numpy as np
import pytest
from PIL import Image

from tensorgrad import data
from tensorgrad.commands import image
from tensorgrad.commands.classifier import train
from tensorgrad.train import accuracy, predict

X_TEST, Y_TEST = data.digits()[2:]


def paint(x, side=8, size=140, margin=(30, 10, 5, 45), noise=0.0):
    """Ink 0..1 of a stored digit, enlarged, off the centre."""
    small = Image.fromarray(x.reshape(side, side).astype(np.float32))
    ink = np.clip(np.asarray(small.resize((size, size), Image.Resampling.BILINEAR)), 0, 1)
    top, bottom, left, right = margin
    ink = np.pad(ink, ((top, bottom), (left, right)))
    return ink + np.random.default_rng(0).normal(0, noise, ink.shape) if noise else ink


def mix(ink, paper, pen):
    """A uint8 picture of the ink in two colours."""
    t = ink[..., None]
    levels = (1 - t) * np.array(paper) + t * np.array(pen)
    return np.clip(levels, 0, 255).round().astype(np.uint8).squeeze()


def alpha(ink, pen):
    return np.dstack([np.full((*ink.shape, 3), pen), 255 * ink]).astype(np.uint8)


def card(ink):
    picture = np.pad(mix(ink, [255] * 3, [0] * 3), ((0, 0), (0, 0), (0, 1)), constant_values=255)
    return np.pad(picture, ((30, 30), (30, 30), (0, 0)))  # transparent black around it


STYLES = {
    "dark on light": lambda ink: Image.fromarray(mix(ink, [255], [0])),
    "light on dark": lambda ink: Image.fromarray(mix(ink, [0], [255])),
    "grey on grey": lambda ink: Image.fromarray(mix(ink, [150], [70])),
    "colours": lambda ink: Image.fromarray(mix(ink, [120, 220, 250], [200, 30, 30])),
    "equally bright colours": lambda ink: Image.fromarray(mix(ink, [200, 0, 0], [0, 102, 0])),
    "dark, transparent": lambda ink: Image.fromarray(alpha(ink, 20)),
    "light, transparent": lambda ink: Image.fromarray(alpha(ink, 240)),
    "a card": lambda ink: Image.fromarray(card(ink)),
    "palette": lambda ink: Image.fromarray(mix(ink, [255] * 3, [0] * 3)).quantize(16),
    "grey with alpha": lambda ink: Image.fromarray(alpha(ink, 0)).convert("LA"),
    "16 bits": lambda ink: Image.fromarray((65535 * ink).astype(np.uint16)),
}


@pytest.fixture(scope="module")
def model():
    out = []
    train(
        data.digits(), hidden=[30], activation="relu", cost="softmax", epochs=10, batch_size=10,
        lr=0.1, l2=0, rng=np.random.default_rng(0), on_epoch=lambda m, line: out.append(m),
    )  # fmt: skip
    return out[-1]


def read(pictures, folder, layout="digits"):
    rows = []
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
        rows.append(image.read_digit(folder / f"{i}.png", layout).ravel())
    return np.stack(rows)


@pytest.mark.parametrize("style", STYLES)
def test_the_same_digit_arrives_in_every_style(style, tmp_path):
    inks = [paint(x) for x in X_TEST[:20]]
    expected = np.stack([image.digits(image.crop(ink)).ravel() for ink in inks])
    arrived = read(map(STYLES[style], inks), tmp_path)
    assert arrived.shape == (20, 64)
    np.testing.assert_allclose(arrived, expected, atol=0.2)
    assert np.abs(arrived - expected).mean() < 0.02


@pytest.mark.parametrize("noise", [0, 0.05])
def test_enlarged_test_digits_are_read_nearly_as_well_as_the_stored_ones(noise, model, tmp_path):
    direct = accuracy(predict(model, X_TEST[::2]), Y_TEST[::2])
    pictures = (STYLES["grey on grey"](paint(x, noise=noise)) for x in X_TEST[::2])
    assert accuracy(predict(model, read(pictures, tmp_path)), Y_TEST[::2]) > direct - 0.04


def test_a_picture_of_the_sets_own_size_arrives_unchanged(tmp_path):
    pictures = [Image.fromarray((255 - 255 * x).astype(np.uint8).reshape(8, 8)) for x in X_TEST]
    arrived = read(pictures, tmp_path)
    full = X_TEST.max(axis=1) == 1
    np.testing.assert_allclose(arrived[full], X_TEST[full], atol=1 / 250)


def test_mnists_placement_restores_mnists_own_images(tmp_path, real_mnist):
    images = real_mnist.x_test[:100]
    pictures = [Image.fromarray((255 * x).astype(np.uint8).reshape(28, 28)) for x in images]
    arrived = read(pictures, tmp_path, "mnist")
    difference = np.abs(arrived - images / images.max(axis=1, keepdims=True)).max(axis=1)
    assert np.mean(difference < image.TRACE) > 0.9  # all but traces of ink at the sides


def test_mnists_placement_fits_20_by_20_with_the_centre_of_mass_in_the_middle():
    for ink in (np.ones((50, 7)), np.tri(31), np.ones((3, 90))):
        placed = image.mnist(ink.astype(np.float32))
        rows, columns = np.nonzero(placed)
        assert placed.shape == (28, 28)
        assert 20 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
        y, x = (placed.sum(1 - axis) @ (np.arange(28) + 0.5) / placed.sum() for axis in (0, 1))
        assert 13.98 <= y < 15.02
        assert 13.98 <= x < 15.02


def test_a_leaning_stroke_is_set_upright():
    leaning = np.zeros((100, 100), np.float32)
    for y in range(100):
        leaning[y, 70 - y // 2 : 80 - y // 2] = 1
    assert np.count_nonzero(image.digits(image.crop(leaning)).sum(axis=0) > 0.5) <= 2


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    picture = STYLES["dark on light"](paint(X_TEST[0]))
    picture.save(tmp_path / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "1.png", exif=exif)
    upright, turned = (image.read_digit(tmp_path / f"{i}.png", "digits") for i in (0, 1))
    np.testing.assert_allclose(upright, turned, atol=0.01)


def test_bad_pictures_are_value_errors_with_their_names(tmp_path):
    STYLES["dark on light"](paint(X_TEST[0])).save(tmp_path / "good.png")
    good = (tmp_path / "good.png").read_bytes()
    blank = np.full((50, 50, 3), 200, np.uint8)
    noise = np.random.default_rng(0).normal(200, 5, (300, 300)).astype(np.uint8)
    files = {"cut.png": good[: len(good) // 2], "text.png": b"hello", "empty.png": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    Image.fromarray(blank).save(tmp_path / "blank.png")
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(tmp_path / "nothing.png")
    Image.fromarray(blank[:1, :1]).save(tmp_path / "dot.png")
    for name in (*files, "blank.png", "noise.png", "nothing.png", "dot.png"):
        with pytest.raises(ValueError, match=name):
            image.read_digit(tmp_path / name, "mnist")
    with pytest.raises(FileNotFoundError):
        image.read_digit(tmp_path / "none.png", "mnist")
    with pytest.raises(OSError, match="directory"):
        image.read_digit(tmp_path, "mnist")

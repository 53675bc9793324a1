"""Pictures of digits: whatever their size, colours and margin, the same digit arrives."""

import random
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image, ImageDraw

import tensorgrad as tg
from examples import pen
from tensorgrad import data, nn, optim
from tensorgrad.commands import image
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
    x, y, *_ = data.digits()
    model = nn.Sequential(nn.Linear(64, 30, init="he", rng=0), nn.ReLU(), nn.Linear(30, 10, rng=1))
    sgd = optim.SGD(model.parameters(), lr=0.1)
    tg.fit(
        model,
        data.DataLoader(x, y, batch_size=10, shuffle=True),
        nn.functional.cross_entropy,
        sgd,
        epochs=10,
    )
    return model


def read(pictures, folder, layout="digits"):
    rows = []
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
        rows.append(image.read_digit(folder / f"{i}.png", layout).ravel())
    return np.stack(rows)


@cache
def enlarged():
    inks = [paint(x) for x in X_TEST[:20]]
    return inks, np.stack([image.digits(image.crop(ink)).ravel() for ink in inks])


@pytest.mark.parametrize("style", STYLES)
def test_the_same_digit_arrives_in_every_style(style, tmp_path):
    inks, expected = enlarged()
    arrived = read(map(STYLES[style], inks), tmp_path)
    assert arrived.shape == (20, 64)
    np.testing.assert_allclose(arrived, expected, atol=0.2)
    assert np.abs(arrived - expected).mean() < 0.02


@pytest.mark.parametrize("noise", [pytest.param(0, marks=pytest.mark.nightly), 0.05])
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


# Pictures from strangers.


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth=8, colour=6, data=b"", more=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    whole = chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole


def zeros(n):
    """A compressed gigabyte is a megabyte."""
    packer = zlib.compressobj(1)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(n >> 20)), packer.flush()])


BOMBS = {
    "92 bytes.png": (
        lambda: png(13_000, 13_000),
        "too large: 13,000 x 13,000 pixels, at most 25,000,000",
    ),
    "palette.png": (
        lambda: png(9_000, 9_000, 8, 3, more=chunk(b"PLTE", bytes(768))),
        "9,000 x 9,000 pixels",
    ),
    "beyond Pillow.png": (lambda: png(2**31 - 1, 2**31 - 1), "damaged image"),
    "text.png": (
        lambda: png(9, 9, more=chunk(b"zTXt", b"a\0\0" + zeros(1 << 28))),
        "damaged image",
    ),
    "truncated.png": (lambda: png(5_000, 5_000), "truncated"),
    "postscript.png": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PNG, JPEG"),
    "postscript.eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PNG, JPEG"),
    "plain.png": (lambda: b"P2 5000 5000 255 " + b"1 " * 99, "PNG, JPEG"),
    "\x1b[2Jname.png": (lambda: b"no picture", r"\\x1b\[2Jname.png is not an image"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header_in_a_line_that_names_it(name, tmp_path):
    make, words = BOMBS[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ValueError, match=words) as caught:
        image.read_digit(tmp_path / name, "digits")
    assert str(caught.value).isprintable()
    assert "name.png" in str(caught.value) or name in str(caught.value)


@pytest.mark.parametrize(("depth", "colour", "width"), [(8, 6, 4), (16, 0, 2)])
def test_the_largest_picture_takes_little_more_memory_than_its_pixels(
    depth, colour, width, tmp_path
):
    data = zeros((width * 25 + 1) << 20)
    (tmp_path / "0.png").write_bytes(png(5_000, 5_000, depth, colour, data))
    code = f"""
import resource
from tensorgrad.commands import image
import PIL.Image, PIL.ImageOps, PIL.PngImagePlugin
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image.open_image({str(tmp_path / "0.png")!r})
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 300


def test_pictures_that_are_damaged_anywhere_are_read_or_refused_in_a_line(tmp_path):
    draw, path = random.Random(0), tmp_path / "picture"
    wholes = []
    for kind in image.FORMATS:
        STYLES["colours"](paint(X_TEST[0], size=40)).save(path, kind)
        wholes.append(path.read_bytes())
    for _ in range(400):
        content = bytearray(draw.choice(wholes))
        for _ in range(draw.randint(1, 4)):
            i = draw.randrange(len(content))
            content[i : i + draw.choice([0, 1, 4])] = draw.randbytes(draw.choice([0, 1, 4]))
        path.write_bytes(content)
        try:
            image.read_digit(path, "digits")
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 (some harm nothing)
            assert str(error).isprintable()  # noqa: PT017


def framed(picture, width, inset=0, colour=0):
    sides = [inset, inset, picture.width - 1 - inset, picture.height - 1 - inset]
    ImageDraw.Draw(picture).rectangle(sides, outline=colour, width=width)
    return picture


@cache
def unframed(style, layout):
    inks = [paint(x, margin=(30, 15, 15, 45)) for x in X_TEST[:10]]
    with TemporaryDirectory() as folder:
        return inks, read(map(STYLES[style], inks), Path(folder), layout)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("inset", [0, 4])
@pytest.mark.parametrize("style", ["dark on light", "light on dark", "colours"])
@pytest.mark.parametrize("layout", ["digits", pytest.param("mnist", marks=pytest.mark.nightly)])
def test_a_thin_frame_is_no_part_of_the_digit(style, inset, width, layout, tmp_path):
    inks, plain = unframed(style, layout)
    colour = {"dark on light": 0, "light on dark": 255, "colours": (0, 0, 90)}[style]
    pictures = (framed(STYLES[style](ink), width, inset, colour) for ink in inks)
    np.testing.assert_allclose(read(pictures, tmp_path, layout), plain, atol=0.1)


@pytest.mark.parametrize("width", [2, 4, 20])
def test_an_8_and_a_0_of_straight_lines_are_no_frames(width, tmp_path):
    for bar in (False, True):
        picture = framed(Image.new("L", (200, 220), 255), width, 40)
        if bar:
            ImageDraw.Draw(picture).line([40, 110, 160, 110], fill=0, width=width)
        seen = read([picture], tmp_path, "mnist").reshape(28, 28)
        assert np.ptp(np.nonzero(seen > image.TRACE)[0]) >= 18
        assert (seen[14, 10:18].max() > 0.5) == bar


@pytest.mark.parametrize("layout", ["digits", "mnist"])
def test_a_thin_pen_writes_as_thick_as_the_set(layout, tmp_path):
    def written(width):
        picture = Image.new("L", (300, 300), 255)
        pen = ImageDraw.Draw(picture)
        pen.line([(160, 40), (160, 260)], fill=0, width=width)
        pen.line([(160, 40), (100, 110)], fill=0, width=width)
        return picture

    usual = {"digits": 38, "mnist": 26}[layout]
    *thin, wanted = read([written(n) for n in (1, 4, 10, usual)], tmp_path, layout)
    for seen in thin:
        assert abs(seen.sum() - wanted.sum()) < 0.3 * wanted.sum()


# A digit by itself, and in the surroundings that people write in: nearly the same arrives.


def written(digit=3, seed=1, height=120):
    return pen.around(pen.write(digit, np.random.default_rng(seed), height, 12), PATCHES)


def lamp(ink, edge=False):
    """Light that falls off to the right, or the edge of a shadow."""
    x = np.linspace(0, 1, ink.shape[1])
    light = np.where(x < 0.55, 1, 0.6) if edge else 1 - 0.6 * x
    return Image.fromarray(np.uint8((230 - 200 * ink) * light))


def ring(ink):
    picture = Image.fromarray(np.uint8(255 - 255 * np.pad(ink, 60)))
    ImageDraw.Draw(picture).ellipse([5, 5, picture.width - 5, picture.height - 5], width=3)
    return picture


def box(ink, far=10):
    """By hand: no side is straight, one corner is nearer to the digit."""
    picture = Image.fromarray(np.uint8(255 - 255 * np.pad(ink, far)))
    right, bottom = picture.width - 1, picture.height - 1
    corners = [(1, 3), (right - 4, 1), (right - 1, bottom - 3), (4, bottom - 1), (1, 3)]
    ImageDraw.Draw(picture).line(corners, fill=0, width=3)
    return picture


def squared(ink, tilt=0.015):
    y, x = np.indices(ink.shape)
    lines = np.minimum((y + tilt * x) % 35, (x - tilt * y) % 35) < 2
    return Image.fromarray(np.uint8(250 - 110 * np.maximum(lines, 0) * (ink < 0.5) - 230 * ink))


def beside_a_table(ink):
    picture = Image.fromarray(np.uint8(255 - 255 * np.pad(ink, ((0, 0), (0, 40)))))
    ImageDraw.Draw(picture).rectangle([picture.width - 15, 0, picture.width, 999], fill=90)
    return picture


PATCHES = np.random.default_rng(0)
SURROUNDINGS = {
    "a lamp": lamp,
    "a shadow": lambda ink: lamp(ink, edge=True),
    "a ring": ring,
    "a box by hand": box,
    "squared paper": squared,
    "a table": beside_a_table,
}


@pytest.mark.parametrize("around", SURROUNDINGS)
def test_what_is_around_a_digit_is_no_part_of_it(around, tmp_path):
    inks = [written(digit) for digit in (1, 3, 4, 5)]
    plain = read([Image.fromarray(np.uint8(255 - 255 * ink)) for ink in inks], tmp_path, "mnist")
    seen = read(map(SURROUNDINGS[around], inks), tmp_path, "mnist")
    assert np.abs(seen - plain).mean() < 0.03
    for a, b in zip(seen, plain, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.9


def test_parts_hang_together_by_sides_and_corners():
    spiral = np.zeros((41, 41), bool)
    for k in range(0, 20, 2):  # squares within each other, each open, and joined to the next
        spiral[k, k : -k or None] = spiral[k : -k or None, -k - 1] = spiral[-k - 1, k : 41 - k] = (
            True
        )
    parts = image.components(spiral)
    assert parts.max() == 10
    assert len(np.unique(image.components(np.eye(300, dtype=bool)))) == 2
    assert not image.components(np.zeros((3, 3), bool)).any()


def test_unsure_is_below_a_probability_of_softmax_and_below_a_lead_of_other_outputs():
    softmax, sigmoid = (nn.Sequential(nn.Linear(2, 3), end()) for end in (nn.Softmax, nn.Sigmoid))
    for answers, doubts in (
        ([0.94, 0.06, 0.0], (True, False)),
        ([0.96, 0.04, 0.0], (False, False)),
        ([0.99, 0.6, 0.0], (False, True)),
    ):
        seen = tuple(image.unsure(network, np.array(answers)) for network in (softmax, sigmoid))
        assert seen == doubts


def test_kinds_of_file_that_cameras_and_scanners_write_are_read_alike(tmp_path):
    ink = written()
    grey = Image.fromarray(np.uint8(255 - 255 * ink))
    (plain,) = read([grey], tmp_path, "mnist")
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    grey.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    grey.rotate(180).save(tmp_path / "turned.jpg", exif=turned, quality=95)
    grey.save(tmp_path / "film.gif", save_all=True, append_images=[grey.rotate(90)])
    for name in ("cmyk.jpg", "turned.jpg", "film.gif"):
        seen = image.read_digit(tmp_path / name, "mnist").ravel()
        assert np.corrcoef(seen, plain)[0, 1] > 0.98, name


def test_the_same_pictures_are_drawn_each_time(tmp_path):
    one, other = ([make(4, np.random.default_rng([0, 1])).tobytes() for make in pen.STYLES.values()]
                  for _ in range(2))  # fmt: skip
    assert one == other
    assert len(set(one)) == 10


@pytest.mark.nightly
def test_two_hundred_drawings_in_ten_styles_are_read(real_mnist):
    from examples.gonn.drawings import drawings

    reached = drawings(seed=0, epochs=4)
    for claim, number in zip(drawings.claims, reached.numbers, strict=True):
        assert claim.met(number), (claim, number)

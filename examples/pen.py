"""Digits as a person draws them: strokes of a pen, in ten styles of picture.

    python -m examples.pen FOLDER [seed]    200 PNG files, 20 of each style, named style-digit-n.png

Each digit is written in two to four ways, as control points of smooth strokes that tremble, lean
and stretch from one picture to the next. Nothing comes from a data set. Pillow draws.
"""

import io
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# Strokes, each through its points (x, y) in percent of the digit's height, y downwards. A corner is
# where one stroke ends and the next begins.
WAYS = {
    0: ["36,2 12,18 4,50 12,84 34,98 56,84 64,50 56,16 36,2", "40,4 16,12 3,46 10,86 32,99 58,80 "
        "62,40 50,10 30,6", "50,8 30,2 10,22 5,60 20,94 42,96 60,66 62,28 46,4 34,6"],
    1: ["30,2 30,50 29,98", "10,24 22,14 32,2|32,2 32,50 31,98",
        "8,28 20,18 34,2|34,2 34,50 33,96|10,97 34,96 58,97", "36,2 30,50 26,98"],
    2: ["8,22 18,6 38,2 56,14 54,36 34,62 6,96|6,96 34,95 64,96",
        "8,20 24,3 46,4 56,22 46,46 24,76 10,92 8,84 18,78 34,88 50,96 66,90",
        "6,14 26,3 50,8 56,28 40,56 6,95|6,95 36,93 62,98"],
    3: ["8,12 26,2 48,6 54,22 44,38 26,46|26,46 48,50 60,68 52,88 30,98 6,88",
        "10,4 32,4 56,5|56,5 42,24 28,42|28,42 50,48 60,70 48,92 24,98 6,86",
        "8,8 30,1 52,10 52,30 38,42 26,45 44,50 60,64 56,86 36,98 8,92"],
    4: ["20,2 14,28 6,56|6,56 34,56 64,54|46,8 46,50 45,98",
        "46,2 26,32 4,66|4,66 34,66 66,65|47,2 47,50 46,98",
        "10,4 10,30 14,50 34,54 54,48|56,4 54,50 53,98"],
    5: ["14,4 12,24 9,44|9,44 30,38 52,46 58,68 46,92 24,98 4,88|14,4 36,4 58,2",
        "58,4 36,5 16,4|16,4 13,24 10,44|10,44 32,36 56,50 56,78 36,97 6,92"],
    6: ["50,4 28,18 10,48 8,76 22,96 42,96 56,80 52,60 34,54 16,62 9,74",
        "38,2 20,26 8,60 14,90 36,99 56,86 54,64 36,56 18,64 10,78"],
    7: ["6,6 32,5 60,4|60,4 44,34 32,66 26,98",
        "6,8 32,6 60,5|60,5 42,44 30,98|20,52 36,50 54,50",
        "8,18 8,6|8,6 34,7 62,4|62,4 46,32 36,62 34,98"],
    8: ["52,14 34,2 14,12 16,30 34,44 54,62 56,84 36,98 12,90 10,68 30,48 48,32 54,18 46,6",
        "34,46 16,34 14,14 32,2 50,12 50,32 34,46|34,46 12,60 8,84 32,98 58,86 56,60 34,46"],
    9: ["52,16 36,3 14,12 8,32 20,48 40,44 53,22|54,8 54,40 50,98",
        "54,24 44,4 22,4 8,22 14,42 34,46 52,32|53,14 54,50 44,80 20,98",
        "52,14 32,2 12,14 10,36 26,48 46,38 53,14|53,14 51,50 46,98"],
    "A": ["4,98 18,50 32,2|32,2 46,50 62,98|14,64 32,62 50,63"],
    "E": ["56,4 34,4 10,4|10,4 10,50 10,96|10,96 34,96 58,96|10,50 30,49 50,50"],
    "H": ["8,2 8,50 8,98|56,2 56,50 56,98|8,52 32,50 56,50"],
    "K": ["10,2 10,50 10,98|56,4 34,30 12,54|12,54 34,76 60,98"],
    "M": ["4,98 8,50 10,4|10,4 22,34 34,62|34,62 46,34 58,4|58,4 62,50 66,98"],
    "R": ["8,98 9,50 10,4|10,4 42,4 52,26 36,46 10,50|10,50 34,72 58,98"],
    "T": ["4,4 32,4 62,4|33,4 33,50 32,98"],
    "W": ["4,4 10,50 16,96|16,96 26,66 34,38|34,38 42,66 50,96|50,96 58,50 64,4"],
    "X": ["6,4 32,50 60,98|60,2 32,50 4,96"],
    "?": ["10,24 20,6 44,6 54,26 38,48 32,70|32,94 32,98"],
}  # fmt: skip


def smooth(points, steps=24):
    """The Catmull-Rom spline through the points."""
    p = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps)[:, None]
    pieces = [
        b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]  # fmt: skip
    return np.concatenate(pieces)


def write(digit, rng, height, width):
    """The ink of a written digit, 0 to 1, in its smallest box: `height` and pen `width` in pixels,
    about so."""
    way = WAYS[digit][rng.integers(len(WAYS[digit]))]
    angle, slant = rng.normal(0, 0.05), rng.uniform(-0.05, 0.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    bend = turn @ np.array([[rng.uniform(0.85, 1.15), -slant], [0, 1]])
    big = 3  # drawn so much larger, and shrunk: smooth edges
    strokes = []
    ends = {}  # strokes that meet tremble alike where they do
    for stroke in way.split("|"):
        points = np.array([ends.setdefault(p, np.array(p.split(","), float) + rng.normal(0, 2, 2))
                           for p in stroke.split()])  # fmt: skip
        strokes.append(big * height / 100 * smooth(points) @ bend.T)
    every = np.concatenate(strokes)
    margin = big * width
    low = every.min(axis=0) - margin
    size = (np.ptp(every, axis=0) + 2 * margin).astype(int)
    sheet = Image.new("L", tuple(map(int, size)))
    pen = ImageDraw.Draw(sheet)
    press = rng.uniform(0.85, 1.1, 2)
    for points in strokes:
        dense = np.concatenate([np.linspace(a, b, 4) for a, b in pairwise(points)])
        radii = big * width / 2 * np.linspace(*press, len(dense))
        for (x, y), r in zip(dense - low, radii, strict=True):
            pen.ellipse([x - r, y - r, x + r, y + r], fill=255)
    ink = np.asarray(sheet.crop(sheet.getbbox()).reduce(big), dtype=np.float32) / 255
    return ink


def place(ink, size, corner):
    """The ink at a corner (x, y) of an empty sheet of this size (width, height)."""
    sheet = np.zeros(size[::-1], np.float32)
    x, y = corner
    sheet[y : y + ink.shape[0], x : x + ink.shape[1]] = ink
    return sheet


def around(ink, rng, least=0.15, most=0.6):
    """The ink with margins, shares of its height, each of its own."""
    h = ink.shape[0]
    before, after = (h * rng.uniform(least, most, (2, 2))).astype(int)
    size = tuple(int(n) for n in np.add(before, after) + ink.shape[::-1])
    return place(ink, size, tuple(before))


def colour(ink, paper, pen):
    """RGB: paper where the ink is 0, the pen's colour where it is 1; either may be a picture."""
    t = ink[..., None]
    return (1 - t) * np.asarray(paper, np.float32) + t * np.asarray(pen, np.float32)


def picture(pixels):
    return Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))


def grain(shape, rng, size):
    """Smooth noise of unit variance, whose grains are `size` pixels wide."""
    h, w = shape
    small = rng.normal(0, 1, (h // size + 3, w // size + 3)).astype(np.float32)
    grown = Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC)
    out = np.asarray(grown)
    return (out - out.mean()) / out.std()


def plain(digit, rng):
    h = rng.integers(60, 220)
    ink = around(write(digit, rng, h, h * rng.uniform(0.07, 0.13)), rng)
    return picture(colour(ink, [255] * 3, [rng.uniform(0, 60)] * 3))


def thin(digit, rng):
    h = rng.integers(150, 400)
    ink = around(write(digit, rng, h, max(1.5, h * rng.uniform(0.008, 0.02))), rng)
    return picture(colour(ink, [255] * 3, [20, 20, 60]))


def thick(digit, rng):
    h = rng.integers(80, 240)
    ink = around(write(digit, rng, h, h * rng.uniform(0.17, 0.23)), rng)
    return picture(colour(ink, [250] * 3, [10] * 3))


def framed(digit, rng):
    """In a box: ruled, or by hand, whose sides are not quite straight."""
    h = int(rng.integers(80, 240))
    ink = around(write(digit, rng, h, h * rng.uniform(0.05, 0.11)), rng, 0.2, 0.5)
    far = rng.integers(0, 30)
    ink = np.pad(ink, far)
    line = max(1, int(h * rng.uniform(0.01, 0.05)))
    sheet = Image.fromarray(ink)
    pen = ImageDraw.Draw(sheet)
    right, bottom = sheet.width - 1 - far, sheet.height - 1 - far
    if rng.random() < 0.5:
        pen.rectangle([far, far, right, bottom], outline=1.0, width=line)
    else:
        wobble = rng.uniform(0, 0.04 * h, (4, 2))
        corners = np.array([(far, far), (right, far), (right, bottom), (far, bottom)])
        corners = corners + wobble * np.sign(sheet.width / 2 - corners)
        pen.line([tuple(p) for p in [*corners, corners[0]]], fill=1.0, width=line, joint="curve")
    return picture(colour(np.asarray(sheet), [255] * 3, [30, 30, 30]))


def photographed(digit, rng):
    """By lamp light, from aside, a little out of focus, a JPEG once; sometimes in a shadow."""
    h = int(rng.integers(120, 300))
    ink = around(write(digit, rng, h, h * rng.uniform(0.05, 0.11)), rng, 0.3, 1.0)
    shape = ink.shape
    texture = 1 + 0.012 * grain(shape, rng, 2) + 0.015 * grain(shape, rng, 40)
    paper = rng.uniform(200, 240) * np.array([1, 0.97, 0.9]) * texture[..., None]
    flat = picture(colour(0.93 * ink, paper, [35, 35, 70]))
    w, h = flat.size
    corners = [(0, 0), (0, h), (w, h), (w, 0)]
    seen = np.array(corners) + rng.uniform(0, 0.08, (4, 2)) * (w, h) * [
        (1, 1),
        (1, -1),
        (-1, -1),
        (-1, 1),
    ]
    flat = flat.transform(
        (w, h), Image.Transform.QUAD, tuple(seen.ravel()), Image.Resampling.BICUBIC
    )
    y, x = np.mgrid[0 : 1 : h * 1j, 0 : 1 : w * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    along = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    light = 1 - rng.uniform(0.2, 0.6) * (along + 0.5) - 0.3 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    if rng.random() < 0.5:  # of the hand, or the telephone
        light *= 1 - 0.3 / (1 + np.exp(-(along - rng.uniform(-0.2, 0.3)) / 0.03))
    noisy = (
        np.asarray(flat.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.8)))) * light[..., None]
    )
    noisy = picture(noisy + rng.normal(0, 4, (h, w, 3)))
    noisy.save(file := io.BytesIO(), "JPEG", quality=int(rng.integers(35, 80)))
    return Image.open(file).convert("RGB")


def inverted(digit, rng):
    """Chalk on a board that was wiped."""
    h = int(rng.integers(120, 300))
    ink = around(write(digit, rng, h, h * rng.uniform(0.05, 0.1)), rng)
    ink = ink * np.clip(0.85 + 0.25 * grain(ink.shape, rng, 1), 0.2, 1)
    board = np.array([[20, 20, 24], [30, 60, 45], [25, 35, 60]])[rng.integers(3)]
    wiped = (
        board + 4 * grain(ink.shape, rng, 30)[..., None] + rng.normal(0, 2, ink.shape)[..., None]
    )
    return picture(colour(ink, wiped, [235, 235, 225]))


def coloured(digit, rng):
    h = int(rng.integers(80, 240))
    ink = around(write(digit, rng, h, h * rng.uniform(0.06, 0.13)), rng)
    while True:
        paper, pen = rng.uniform(0, 255, (2, 3))
        if np.abs(paper - pen).max() > 110:  # a person must see it, too
            return picture(colour(ink, paper, pen))


def ruled(digit, rng):
    """On squared or lined paper, that lies almost straight."""
    h = int(rng.integers(120, 260))
    ink = around(write(digit, rng, h, h * rng.uniform(0.05, 0.1)), rng)
    apart = h * rng.uniform(0.2, 0.5)
    y, x = np.mgrid[: ink.shape[0], : ink.shape[1]]
    tilt, start = rng.uniform(-0.02, 0.02), rng.uniform(0, apart, 2)
    line = rng.uniform(1.2, 2.5)
    lines = [np.clip(line / 2 + 0.5 - np.abs((u - s) % apart - apart / 2), 0, 1)
             for u, s in ((y + tilt * x, start[0]), (x - tilt * y, start[1]))]  # fmt: skip
    grid = lines[0] if rng.random() < 0.5 else np.maximum(*lines)
    paper = colour(grid * rng.uniform(0.5, 1), [252, 252, 248], [110, 140, 205])
    return picture(colour(ink, paper, [25, 30, 90]))


def small(digit, rng):
    """Somewhere on a large sheet."""
    size = rng.integers(500, 900, 2)
    h = int(min(size) * rng.uniform(0.06, 0.15))
    ink = write(digit, rng, h, h * rng.uniform(0.07, 0.13))
    corner = rng.uniform(0.02, 0.98, 2) * (size - ink.shape[::-1])
    ink = place(ink, tuple(map(int, size)), tuple(corner.astype(int)))
    return picture(colour(ink, [245, 245, 240], [20, 20, 60]))


def cut_out(digit, rng):
    """Without a margin: the digit touches all sides; on nothing (transparent), or on paper."""
    h = int(rng.integers(60, 240))
    ink = write(digit, rng, h, h * rng.uniform(0.07, 0.14))
    if rng.random() < 0.5:
        return picture(colour(ink, [255] * 3, [0] * 3))
    pen = np.full((*ink.shape, 3), rng.choice([10, 245]))
    return picture(np.dstack([pen, 255 * ink]))


STYLES = {
    "plain": plain, "thin": thin, "thick": thick, "framed": framed, "photographed": photographed,
    "inverted": inverted, "coloured": coloured, "ruled": ruled, "small": small, "cut out": cut_out,
}  # fmt: skip


def letter(rng):
    return plain("AEHKMRTWX?"[rng.integers(10)], rng)


def noise(rng):
    return picture(rng.uniform(0, 255, (120, 120, 3)))


def scribble(rng):
    WAYS["scribble"] = [" ".join(f"{x},{y}" for x, y in rng.uniform(0, 100, (9, 2)).round(1))]
    return plain("scribble", rng)


def photo(rng):
    """Of nothing: patches of many sizes in earthy colours, as a cat on a sofa has."""
    layers = sum(
        n * grain((200, 240), rng, n)[..., None] * rng.uniform(0.3, 1, 3) for n in (4, 12, 36)
    )
    return picture(rng.uniform(80, 170, 3) + 1.5 * layers)


def blank(rng):
    return picture(
        rng.uniform(180, 250) + 6 * grain((150, 150), rng, 50) + rng.normal(0, 1, (150, 150))
    )


STRANGERS = {"letter": letter, "noise": noise, "scribble": scribble, "photo": photo, "blank": blank}


def draw(folder, seed=0, each=20):
    """Write `each` pictures of every style into the folder; their paths, in order, and digits."""
    paths, digits = [], []
    for s, (style, make) in enumerate(STYLES.items()):
        for i in range(each):
            digit = (s * each + i) % 10
            paths.append(Path(folder) / f"{style.replace(' ', '_')}-{digit}-{i // 10}.png")
            make(digit, np.random.default_rng([seed, s, i])).save(paths[-1])
            digits.append(digit)
    return paths, np.array(digits)


def draw_strangers(folder, seed=0, each=20):
    """Write `each` pictures of every kind that shows no digit into the folder; their paths."""
    paths = []
    for k, (kind, make) in enumerate(STRANGERS.items()):
        for i in range(each):
            paths.append(Path(folder) / f"{kind}-{i}.png")
            make(np.random.default_rng([seed, len(STYLES) + k, i])).save(paths[-1])
    return paths


def contact_sheet(paths, titles=None, marked=None, columns=20, side=96):
    """The pictures in rows, each in a square, with titles below, those marked in red."""
    rows, font = -(-len(paths) // columns), ImageFont.load_default(20)
    sheet = Image.new("RGB", (columns * side, rows * (side + 24)), (70, 70, 70))
    for i, path in enumerate(paths):
        with Image.open(path) as file:
            tile = file.convert("RGBA")
        tile.thumbnail((side - 4, side - 4))
        x, y = i % columns * side, i // columns * (side + 24)
        sheet.paste(tile, (x + 2, y + 2), tile)
        if titles is not None:
            fill = (255, 60, 60) if marked is not None and marked[i] else (255, 255, 255)
            ImageDraw.Draw(sheet).text((x + 4, y + side - 2), titles[i], fill=fill, font=font)
    return sheet


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    draw(sys.argv[1], *map(int, sys.argv[2:]))

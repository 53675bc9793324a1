"""A picture of a digit, made into what a network was trained on: centred, scaled, ink is 1.

`read_digit` finds what differs from the background, whatever the colours; `LAYOUTS` then places it
as the makers of each data set did. Pillow reads the files and resamples.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorgrad import nn
from tensorgrad.extras import missing, printable

Ink = NDArray[np.float32]  # (height, width), 0 paper to 1 ink
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")  # Pillow's others start programs, or take long
LARGEST = 25_000_000  # pixels, told by the header: 100 MB once they are unpacked
SIDE = 1024  # pixels, enough to tell a digit
FRAME = 0.05  # a line of one pixel, smoothed
TRACE = 0.2  # less than this is no part of the digit: smudges, the soft edge of a stroke


def read_digit(path: str | os.PathLike[str], layout: str) -> Ink:
    """The digit in the image file at `path` as a data set has it, (28, 28) or (8, 8), 0..1.

    `layout`: "mnist" or "digits". The picture may have any size and be grey, coloured or
    transparent, dark on light or light on dark, in a thin frame, by a thin pen. Raises as
    `open_image`, and ValueError if there is nothing on it. A picture from a stranger is safe to
    read.
    """
    image = open_image(path)
    own = layout == "digits" and image.size == (8, 8)
    try:
        found = ink(image) if own else ink(evened(unframed(image)))
    except ValueError as error:
        raise ValueError(printable(f"{path}: {error}")) from None
    if own:
        return found  # such a picture comes from the set, and counts as it stands
    return LAYOUTS[layout](thickened(crop(alone(unruled(found))), *STROKES[layout]))


def open_image(path: str | os.PathLike[str]) -> Any:
    """The image at `path` as Pillow's RGB, transparency resolved, at most 1024 pixels wide.

    ValueError for a file that is none of `FORMATS`, damaged, or of more pixels than `LARGEST`;
    OSError if it cannot be read.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise missing("images need Pillow", "cli") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what is read all the same
            with Image.open(path, formats=FORMATS) as file:
                if file.width * file.height <= LARGEST:
                    file.draft("RGB", (SIDE, SIDE))  # a JPEG is scaled while it is read
                    ImageOps.exif_transpose(file, in_place=True)
                    file.load()
        image: Any = file
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise ValueError(
            printable(f"{path} is not an image of a kind read here: {known}")
        ) from None
    except Exception as error:  # a decoder may say anything of what it meets
        if isinstance(error, OSError) and error.errno is not None:  # else Pillow's own
            raise
        said = printable(f"{path} is a damaged image: {error or type(error).__name__}")
        raise ValueError(said) from error
    if image.width * image.height > LARGEST:
        size = f"{image.width:,} x {image.height:,}"
        said = f"{path} is too large: {size} pixels, at most {LARGEST:,}: scale it"
        raise ValueError(printable(said))
    if image.mode in ("P", "PA", "1"):  # colours by number have no mean
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode[0] == "I":  # 16 bits, which Pillow would clip to 8
        levels = np.array(image, dtype=np.float32)
        levels -= levels.min()
        levels *= 255 / max(float(levels.max()), 1)
        image = Image.fromarray(levels.astype(np.uint8))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    if image.has_transparency_data:
        image = _on_paper(image.convert("RGBA"))
    return image.convert("RGB")


def _on_paper(image: Any) -> Any:
    """A transparent image on a sheet that its digit stands out from."""
    from PIL import Image

    grey = np.asarray(image.convert("RGB").convert("L"), dtype=np.float32)
    opaque = np.asarray(image.getchannel("A")) > 127
    if not opaque.any():
        return image.convert("RGB")
    seen = grey[opaque]
    rows, columns = np.nonzero(opaque)
    frame = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    if len(seen) > 0.8 * frame and np.ptp(seen) > 64:  # a card with the digit on it
        colour = int(np.median(seen))
    else:  # the digit itself
        colour = 0 if seen.mean() > 127 else 255
    sheet = Image.new("RGBA", image.size, (colour, colour, colour, 255))
    return Image.alpha_composite(sheet, image)


def unframed(image: Any) -> Any:
    """The image without a frame along its border: lines of one colour around paper of another.

    Rings of pixels are followed inwards. Lines drawn by hand cross some of them, until one is even.
    """
    pixels = np.asarray(image, dtype=np.float32) / 255
    colours: list[Any] = []
    start, crossed = 0, False
    for k in range(min(3 + min(image.size) // 8, min(image.size) // 4)):
        ring = np.concatenate(sides(pixels[k : len(pixels) - k, k : image.width - k]))
        colour = np.median(ring, axis=0)
        if np.mean(np.abs(ring - colour).max(axis=1) < 0.1) < (0.98 if crossed else 0.9):
            if k > 2 and not crossed:
                break  # by a digit, or a frame farther inside, which is told by its parts
            colours, crossed = [], True
            continue
        if crossed and not colours:
            start = k
        colours.append(colour)
        jumps = [np.abs(a - b).max() for a, b in pairwise(colours[-3:])]
        if len(jumps) == 2 and jumps[0] > 0.08 > 2 * jumps[1]:
            start = k - 1  # another colour, and it stays
        if not crossed and k - start > min(image.size) // 20 + 1:
            break
    return image.crop((start, start, image.width - start, image.height - start))


def sides(x: Any) -> list[Any]:
    """What lies along the border."""
    return [x[0], x[-1], x[:, 0], x[:, -1]]


def evened(image: Any) -> Any:
    """The image in even light, if its light was not: each pixel as a share of the paper around it.

    The paper is what is lightest nearby, and darkest then (a closing): that follows a shadow's
    edge, and passes over strokes, which are narrower than a third of the picture.
    """
    from PIL import Image, ImageFilter

    pixels = np.asarray(image, dtype=np.float32) / 255
    border = np.concatenate(sides(pixels))
    background = np.median(border, axis=0)
    deviation = np.abs(border - background).max(axis=1)
    between = (deviation > 0.06) & (deviation < np.abs(pixels - background).max() / 2)
    if min(image.size) < 16 or between.mean() < 0.15:  # else neither paper nor a stroke
        return image
    small = image.copy()
    small.thumbnail((256, 256), Image.Resampling.BOX)
    paper = np.asarray(small, dtype=np.float32) / 255
    around = small.filter(ImageFilter.BoxBlur(max(small.size) // 8))
    high = paper - np.asarray(around, dtype=np.float32) / 255
    light = (high**3).sum() > 0  # strokes are narrow, and stand out more than what is between them
    paper = 1 - paper if light else paper
    side = max(small.size) // 3 | 1
    paper = np.stack([-grown(-grown(c, side), side) for c in np.moveaxis(paper, 2, 0)], axis=2)
    whole = Image.fromarray((255 * paper).astype(np.uint8)).filter(ImageFilter.BoxBlur(2))
    whole = whole.resize(image.size)
    share = (1 - pixels if light else pixels) / np.maximum(np.asarray(whole) / 255, 0.05)
    return Image.fromarray((230 * np.minimum(share, 1.1)).astype(np.uint8))


def ink(image: Any) -> Ink:
    """How far each pixel is from the background's colour, the farthest 1: the digit, either way.

    The background is what prevails along the border. ValueError if nothing stands out from it.
    """
    from PIL import ImageFilter

    smooth = image.filter(ImageFilter.BoxBlur(min(image.size) // 100))  # noise, in large pictures
    pixels = np.asarray(smooth, dtype=np.float32) / 255
    border = np.concatenate(sides(pixels))
    background = np.median(border, axis=0)
    distance = np.abs(pixels - background).max(axis=2)
    # A quarter of the border is free of ink even where the digit touches all sides.
    noise = 4 * np.quantile(np.abs(border - background).max(axis=1), 0.25)
    contrast = distance.max() - noise
    if contrast < 0.1:
        raise ValueError("no digit found: the picture is blank, or its lines too thin")
    out: Ink = np.clip((distance - noise) / contrast, 0, 1)
    return out


def crop(ink: Ink) -> Ink:
    """The smallest box that holds all ink but faint traces."""
    rows, columns = np.nonzero(ink > TRACE)
    return ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def unruled(ink: Ink) -> Ink:
    """The ink without the lines of squared or lined paper, both ways."""
    found = without_lines(without_lines(ink).T).T
    return found if found.max() > 0.5 else ink  # else they were the digit: an 8 of straight lines


def without_lines(ink: Ink) -> Ink:
    """The ink without lines that run from the left to the right, at least two, tilted alike."""
    height, width = ink.shape
    ends = width // 20 + 1
    if min(ink[:, :ends].max(), ink[:, -ends:].max()) < FRAME or min(ink.shape) < 16:
        return ink  # nothing runs to the border
    some = np.linspace(0, width - 1, 60).astype(int)  # columns, enough to see what runs through all
    best, level, tilt = 0.0, np.zeros(height), 0.0
    for t in np.linspace(-0.06, 0.06, 49):
        rows = (np.arange(height)[:, None] + np.rint(t * some).astype(int)) % height
        across = ink[rows, some]
        parts = [*np.split(across, 3, axis=1), across[:, :3], across[:, -3:]]
        *thirds, left, right = (np.median(x, axis=1) for x in parts)
        least = np.where(np.minimum(left, right) > FRAME, np.min(thirds, axis=0), 0)
        if (least**2).sum() > best:
            best, level, tilt = float((least**2).sum()), least, float(t)
    edges = np.flatnonzero(np.diff(np.pad(level > FRAME, 1).astype(int)))
    lines = np.add(edges.reshape(-1, 2), (-1, 1))  # with their soft sides
    if len(lines) < 2 or (level > FRAME).mean() > 0.5:
        return ink
    rows = (np.arange(height)[:, None] + np.rint(tilt * np.arange(width)).astype(int)) % height
    straight = np.take_along_axis(ink, rows, axis=0)
    for first, end in lines:
        band = slice(max(first, 0), min(end, height))
        over, under = straight[max(first - 1, 0)], straight[min(end, height - 1)]
        grey = min(float(level[band].max()), 0.99)
        darker = (straight[band] - grey) / (1 - grey)
        straight[band] = np.maximum(darker, np.minimum(over, under))  # a stroke goes on through it
    out = np.zeros_like(ink)
    np.put_along_axis(out, rows, straight, axis=0)
    return out


def alone(ink: Ink) -> Ink:
    """The digit without what is around it, such as a box or a ring, beside it or at the border.

    The parts that hang together are told apart. The digit is the largest that touches no border
    (if there is one) and encloses none of some size, with those close to it: strokes of a 4 or a 5.
    """
    part = components(ink > TRACE)
    y, x = np.nonzero(part)
    low, high = np.full((2, part.max() + 1, 2), max(ink.shape)) * [[[1]], [[-1]]]
    at = np.stack([y, x], axis=1)
    np.minimum.at(low, part[y, x], at)
    np.maximum.at(high, part[y, x], at)
    low, high = low[1:], high[1:]  # 0 is the paper
    size = (high - low).max(axis=1) + 1
    inner = (low > 0).all(axis=1) & (high < np.array(ink.shape) - 1).all(axis=1)
    large = np.flatnonzero(size > max(ink.shape) // 20)
    if not len(large):
        large = np.array([size.argmax()])

    def holds(i: Any) -> Any:
        """Whether the box of i lies around that of another part of some size."""
        within = (low > low[i]).all(axis=1) & (high < high[i]).all(axis=1)
        return bool((within & (size > 0.3 * size[i])).any())

    main = max(large, key=lambda i: (inner[i] and not holds(i), size[i]))
    reach = 0.3 * size[main]
    near = (low < high[main] + reach).all(axis=1) & (high > low[main] - reach).all(axis=1)
    around = (low < low[main]).all(axis=1) & (high > high[main]).all(axis=1)
    kept = near & ~around & (size > 0.1 * size[main]) & (inner | ~inner[main])
    digit, other = np.isin(part, 1 + np.flatnonzero(kept)), np.isin(part, 1 + np.flatnonzero(~kept))
    return np.where(grown(other, 5) & ~digit, 0, ink)


def components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """1, 2, ... for the parts of the mask that hang together, by sides or corners; 0 elsewhere."""
    label = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        joined = np.arange(mask.size + 1)
        np.maximum.at(joined, label[mask], grown(label, 3)[mask])
        while not np.array_equal(joined, further := joined[joined]):
            joined = further
        if np.array_equal(label, further := joined[label]):
            return np.where(mask, 1 + np.searchsorted(np.unique(label[mask]), label), 0)
        label = further


def grown(x: Any, side: int) -> Any:
    """The largest entry in a square of `side` (odd) around each."""
    for _ in range(2):  # Pillow's MaxFilter takes minutes where a picture is large
        x = np.pad(x, ((side // 2, side // 2), (0, 0)), mode="edge")
        width = 1
        while width < side:
            step = min(width, side - width)
            x = np.maximum(x[step:], x[:-step])
            width += step
        x = x.T
    return x


def thickened(ink: Ink, least: float, usual: float) -> Ink:
    """Strokes as wide as is usual, where they are less than `least`, both as shares of the size."""
    drawn = np.pad(ink > 0.5, 1).astype(int)
    outline = sum(int(np.abs(np.diff(drawn, axis=axis)).sum()) for axis in (0, 1))
    width = 2 * drawn.sum() / max(outline * math.pi / 4, 1) / max(ink.shape)
    if width >= least:
        return ink
    pen = 1 + 2 * round((usual - width) * max(ink.shape) / 2)
    wide = grown(np.pad(ink, pen), pen)
    wide = np.minimum(wide / np.median(wide[wide > TRACE]), 1)  # a thin line was pale, too
    return crop(wide)


def mnist(ink: Ink) -> Ink:
    """Scaled to fit 20x20, its centre of mass in the middle of 28x28 (Y. LeCun et al., 1998).

    The centre lies in the pixel right below the middle, 14 to 15, in every image of the set: it
    was moved by whole pixels.
    """
    scale = 20 / max(ink.shape)
    y, x = (math.ceil(14 - scale * c - 0.01) for c in _centre(ink))
    return _paste(ink, 28, (scale, scale), (y, x))


def digits(ink: Ink) -> Ink:
    """Upright, as tall as the 8x8 image and at most 6.5 columns wide, as measured on the set.

    The set's makers normalised size and slant: the digits lean by 0.03 columns per row on average
    (MNIST's by -0.2), all touch the top and the bottom, and are 6 columns wide (1: 5 columns).
    """
    ink = crop(_upright(ink))
    height, width = ink.shape
    columns = min(8 * width / height, 6.5)
    return _paste(ink, 8, (8 / height, columns / width), (0, (8 - columns) / 2))


LAYOUTS: dict[str, Callable[[Ink], Ink]] = {"mnist": mnist, "digits": digits}
# The width of strokes, over the larger side of the digit, that 99 % of each set exceed, and 50 %.
STROKES = {"mnist": (0.073, 0.117), "digits": (0.12, 0.185)}


def _centre(ink: Ink) -> tuple[float, float]:
    """The centre of mass (y, x), where the first pixel reaches from 0 to 1."""
    y, x = (ink.sum(1 - axis) @ (np.arange(ink.shape[axis]) + 0.5) for axis in (0, 1))
    return y / ink.sum(), x / ink.sum()


def _upright(ink: Ink) -> Ink:
    """Sheared until x no longer depends on y: the covariance of the ink's coordinates is 0."""
    from PIL import Image

    cy, cx = _centre(ink)
    y, x = np.arange(ink.shape[0])[:, None] + 0.5 - cy, np.arange(ink.shape[1]) + 0.5 - cx
    slant = float((ink * x * y).sum() / max((ink * y * y).sum(), 1e-9))
    margin = math.ceil(abs(slant) * ink.shape[0])
    image = Image.fromarray(np.pad(ink, ((0, 0), (margin, margin))))
    shear = (1, slant, -slant * cy, 0, 1, 0)
    return np.asarray(
        image.transform(image.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)
    )


def _paste(ink: Ink, side: int, scale: tuple[float, float], corner: tuple[float, float]) -> Ink:
    """`ink` scaled and pasted at `corner` of an empty square, each pixel the mean of its area."""
    from PIL import Image

    (sy, sx), (y, x) = scale, corner
    margin = math.ceil(side / min(sy, sx))
    image = Image.fromarray(np.pad(ink, margin))
    left, top = margin - x / sx, margin - y / sy
    box = (left, top, left + side / sx, top + side / sy)
    out: Ink = np.asarray(image.resize((side, side), Image.Resampling.BOX, box=box))
    out = out / out.max()
    return out


SURE = 0.95  # the probability from which an answer is no guess
LEAD = 0.5  # of outputs that are no probabilities, the best's over the next


def unsure(network: Any, answers: Any) -> bool:
    """Whether these outputs of the network, (n,), are no more than a guess.

    A network that ends in softmax answers with probabilities: its best must reach `SURE`. Each
    output of another stands for itself: the best must lead the next by `LEAD`.
    """
    second, best = np.sort(answers)[-2:]
    if isinstance(list(network.modules())[-1], nn.Softmax):
        return bool(best < SURE)
    return bool(best - second < LEAD)

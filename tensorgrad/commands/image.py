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
        found = ink(image if own else unframed(image))
    except ValueError as error:
        raise ValueError(printable(f"{path}: {error}")) from None
    if own:
        return found  # such a picture comes from the set, and counts as it stands
    return LAYOUTS[layout](thickened(crop(inside(found)), *STROKES[layout]))


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
    """The image without a frame along its border: lines of one colour around paper of another."""
    pixels = np.asarray(image, dtype=np.float32) / 255
    colours: list[Any] = []
    start = 0
    for k in range(min(3 + min(image.size) // 20, (min(image.size) - 1) // 2)):
        ring = np.concatenate(sides(pixels[k : len(pixels) - k, k : image.width - k]))
        colours.append(np.median(ring, axis=0))
        if np.mean(np.abs(ring - colours[k]).max(axis=1) < 0.1) < 0.9:
            break  # not of one colour
        jumps = [np.abs(a - b).max() for a, b in pairwise(colours[-3:])]
        if len(jumps) == 2 and jumps[0] > 0.08 > 2 * jumps[1]:
            start = k - 1  # another colour, and it stays
    return image.crop((start, start, image.width - start, image.height - start))


def sides(x: Any) -> list[Any]:
    """What lies along the border."""
    return [x[0], x[-1], x[:, 0], x[:, -1]]


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


def inside(ink: Ink) -> Ink:
    """What a thin frame stands around: four sides of ink, then a gap, which an 8 of straight lines
    does not have, then the digit."""
    drawn = np.pad(ink > FRAME, 1)
    rows, columns = np.nonzero(drawn)
    low, high = (rows.min(), columns.min()), (rows.max(), columns.max())
    for width in range(2 + min(ink.shape) // 20):
        (top, left), (bottom, right) = np.add(low, width), np.subtract(high, width)
        within = drawn[top : bottom + 1, left : right + 1]
        if min(within.shape) < 5:
            break
        inked = [side.mean() for side in sides(within)]
        if width and not any(inked) and within.any():
            return ink[top - 1 : bottom, left - 1 : right]  # the padding is not in it
        if min(inked) < 0.9:
            break
    return ink


def thickened(ink: Ink, least: float, usual: float) -> Ink:
    """Strokes as wide as is usual, where they are less than `least`, both as shares of the size."""
    drawn = np.pad(ink > 0.5, 1).astype(int)
    outline = sum(int(np.abs(np.diff(drawn, axis=axis)).sum()) for axis in (0, 1))
    width = 2 * drawn.sum() / max(outline * math.pi / 4, 1) / max(ink.shape)
    if width >= least:
        return ink
    pen = 1 + 2 * round((usual - width) * max(ink.shape) / 2)
    wide = np.pad(ink, pen)
    for axis in (0, 1):  # Pillow's MaxFilter takes minutes where a picture is large
        wide = np.lib.stride_tricks.sliding_window_view(wide, pen, axis).max(axis=-1)
    wide = np.minimum(wide / np.median(wide[wide > 0]), 1)  # a thin line was pale, too
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

"""A picture of a digit, made into what a network was trained on: centred, scaled, ink is 1.

`read_digit` finds what differs from the background, whatever the colours; `LAYOUTS` then places it
as the makers of each data set did. Pillow reads the files and resamples.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorgrad.extras import missing

Ink = NDArray[np.float32]  # (height, width), 0 paper to 1 ink
TRACE = 0.2  # less than this is no part of the digit: smudges, the soft edge of a stroke


def read_digit(path: str | os.PathLike[str], layout: str) -> Ink:
    """The digit in the image file at `path` as a data set has it, (28, 28) or (8, 8), 0..1.

    `layout`: "mnist" or "digits". The picture may have any size and be grey, coloured or
    transparent, dark on light or light on dark. OSError if it cannot be read, ValueError if there
    is nothing on it or Pillow is too wary to open it.
    """
    image = open_image(path)
    try:
        found = ink(image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if layout == "digits" and image.size == (8, 8):
        return found  # such a picture comes from the set, and counts as it stands
    return LAYOUTS[layout](crop(found))


def open_image(path: str | os.PathLike[str]) -> Any:
    """The image at `path` as Pillow's RGB, transparency resolved, at most 1024 pixels wide."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise missing("images need Pillow", "cli") from None
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow knows") from None
    except (SyntaxError, ValueError, OverflowError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is a damaged image: {error}") from error
    except OSError as error:
        if error.errno is None:  # Pillow's own, without the file's name
            raise ValueError(f"{path} is a damaged image: {error}") from error
        raise
    if image.mode[0] in "IF":  # 16 bits or floats, which Pillow would clip to 8
        levels = np.asarray(image, dtype=np.float64)
        low, high = np.nanmin(levels), np.nanmax(levels)
        levels = np.nan_to_num((levels - low) / max(high - low, 1e-9) * 255)
        image = Image.fromarray(levels.astype(np.uint8))
    if image.has_transparency_data:
        image = _on_paper(image.convert("RGBA"))
    image = image.convert("RGB")
    image.thumbnail((1024, 1024), Image.Resampling.BOX)
    return image


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


def ink(image: Any) -> Ink:
    """How far each pixel is from the background's colour, the farthest 1: the digit, either way.

    The background is what prevails along the border. ValueError if nothing stands out from it.
    """
    from PIL import ImageFilter

    smooth = image.filter(ImageFilter.BoxBlur(min(image.size) // 100))  # noise, in large pictures
    pixels = np.asarray(smooth, dtype=np.float32) / 255
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    background = np.median(border, axis=0)
    distance = np.abs(pixels - background).max(axis=2)
    # A quarter of the border is free of ink even where the digit touches all sides.
    noise = 4 * np.quantile(np.abs(border - background).max(axis=1), 0.25)
    contrast = distance.max() - noise
    if contrast < 0.1:
        raise ValueError("no digit found, the picture is blank")
    out: Ink = np.clip((distance - noise) / contrast, 0, 1)
    return out


def crop(ink: Ink) -> Ink:
    """The smallest box that holds all ink but faint traces."""
    rows, columns = np.nonzero(ink > TRACE)
    return ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


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

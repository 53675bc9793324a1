"""A picture of a digit, made into what a network was trained on: centred, scaled, ink is 1.

`read_digit` finds what differs from the background, whatever the colours; `LAYOUTS` then places it
as the makers of each data set did. Pillow reads the files and resamples.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ink = NDArray[np.float32]  # (height, width), 0 paper to 1 ink


def read_digit(path: str | os.PathLike[str], layout: str) -> Ink:
    """The digit in the image file at `path` as a data set has it, (28, 28) or (8, 8), 0..1.

    `layout`: "mnist" or "digits". The picture may have any size and be grey, coloured or
    transparent, dark on light or light on dark. OSError if it cannot be read, ValueError if there
    is nothing on it or Pillow is too wary to open it.
    """
    return LAYOUTS[layout](crop(ink(open_image(path))))


def open_image(path: str | os.PathLike[str]) -> Any:
    """The image at `path` as Pillow's RGB, transparency resolved, at most 1024 pixels wide."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise ImportError("images need Pillow: pip install 'tensorgrad-engine[cli]'") from None
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
    rows, columns = opaque.any(1).nonzero()[0], opaque.any(0).nonzero()[0]
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
    noise = 3 * np.median(np.abs(border - background).max(axis=1))
    contrast = distance.max() - noise
    if contrast < 0.1:
        raise ValueError("there is no digit on it, it is blank")
    out: Ink = np.clip((distance - noise) / contrast, 0, 1)
    return out


def crop(ink: Ink, threshold: float = 0.2) -> Ink:
    """The smallest box that holds all clear ink."""
    rows, columns = ((ink > threshold).any(axis).nonzero()[0] for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

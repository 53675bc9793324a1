"""Conv Nets, Understanding Convolutions: a convolution is a matrix of tied weights, mostly 0."""

import numpy as np

import tensorgrad as tg
from examples import mnist
from examples.experiment import Claim, Reached, experiment
from tensorgrad import nn


def tied(image, kernel):
    """The matrix that convolves: [output, input] is the weight by which a pixel reaches it.

    `image`, `kernel`: shapes. Returns the number of the kernel's weight, from 1, and 0 where there
    is no connection: (outputs, inputs).
    """
    (h, w), (a, b) = image, kernel
    pixels = np.arange(h * w).reshape(h, w)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, kernel).reshape(-1, a * b)
    which = np.zeros((len(windows), h * w), int)
    np.put_along_axis(which, windows, np.arange(1, a * b + 1)[None], axis=1)
    return which


@experiment(
    Claim("28×28 digits, 5×5 kernel: largest difference to the matrix product", None,
          at_most=1e-12, quick=1e-12, form=".0e"),
    Claim("of the gradient by the digits", None, at_most=1e-12, quick=1e-12, form=".0e"),
    Claim("of the gradient by the kernel: that of the matrix, summed where weights are tied", None,
          at_most=1e-10, quick=1e-10, form=".0e"),
    Claim("weights that are 0, of 576 × 784", None, form=".1%"),
    seeds=1,
)  # fmt: skip
def toeplitz(seed=0, images=100):
    rng = np.random.default_rng(seed)
    rows = mnist.split().test.x[:images].astype(np.float64)
    kernel = rng.normal(size=(5, 5))
    which = tied((28, 28), (5, 5))
    delta = rng.normal(size=(images, len(which)))

    x, w = tg.Value(rows.reshape(-1, 1, 28, 28)), tg.Value(kernel[None, None])
    slid = nn.functional.conv2d(x, w)
    np.sum(slid * delta.reshape(slid.shape)).backward()

    matrix = np.append(0, kernel)[which]
    product = rows @ matrix.T
    by_matrix = delta.T @ rows
    by_kernel = np.bincount(which.ravel(), by_matrix.ravel())[1:].reshape(5, 5)
    differences = [
        np.abs(slid.data.reshape(product.shape) - product).max(),
        np.abs(x.grad.reshape(rows.shape) - delta @ matrix).max(),
        np.abs(w.grad[0, 0] - by_kernel).max(),
    ]
    return Reached([*differences, np.mean(which == 0)], lambda: picture(kernel))


def picture(kernel):
    """A digit, what the kernel makes of it, and a part of the matrix, a colour for each weight."""
    from tensorgrad.viz.figures.canvas import TITLE, caption, sheet

    digit = mnist.split().test.x[0].reshape(28, 28).astype(np.float64)
    which = tied((28, 28), (5, 5))
    figure = sheet(13.5, 4.4)
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.6])
    panels[0].imshow(digit, cmap="gray_r")
    panels[0].set_title("28×28 pixels x", fontsize=TITLE)
    made = (np.append(0, kernel)[which] @ digit.ravel()).reshape(24, 24)
    most = np.abs(made).max()
    shown = panels[1].imshow(made, cmap="RdBu", vmin=-most, vmax=most)
    figure.colorbar(shown, ax=panels[1], shrink=0.75)
    panels[1].set_title("24×24 outputs W x", fontsize=TITLE)
    part = np.ma.masked_equal(which[:52, :190], 0)
    panels[2].imshow(part, cmap="turbo", aspect="auto", interpolation="nearest")
    caption(panels[2], "a corner of W: a colour for each of 25 weights", "pixel", "output")
    for axes in panels[:2]:
        axes.set(xticks=[], yticks=[])
    return figure

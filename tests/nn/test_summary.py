"""The table of a model, against counts by hand."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import pytest

from tensorgrad import nn


def net() -> nn.Sequential:
    head = nn.Sequential(nn.Dropout(), nn.Linear(5 * 36, 10, rng=2))
    return nn.Sequential(
        nn.Conv2d(1, 5, 3, rng=0), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), head
    )


def test_parameters_operations_and_bytes_are_those_that_a_person_counts() -> None:
    model = net()
    model[0].weight.requires_grad = False
    found = nn.summary(model, (2, 1, 8, 8))
    rows = {row.kind: row for row in found.rows}
    assert [row.kind for row in found.rows][4:] == ["Flatten", "Sequential", "Dropout", "Linear"]
    assert found.rows[5].name == "layers.4"
    entries = 2 * 5 * 6 * 6
    assert rows["Conv2d"].output == (2, 5, 6, 6)
    assert rows["Conv2d"].parameters == 5 * 9 + 5
    assert rows["Conv2d"].flops == 2 * entries * 9
    assert rows["Linear"].flops == 2 * 2 * 10 * 180
    assert rows["ReLU"].memory == 4 * entries
    assert rows["Flatten"].flops == rows["Flatten"].memory == rows["Dropout"].flops == 0
    assert found.parameters == 50 + 10 + 1810
    assert found.trainable == found.parameters - 45
    assert found.flops == sum(row.flops for row in found.rows)
    assert found.held == 4 * (found.parameters + 10) + 8
    assert model[1].num_batches_tracked == 0
    assert model[1].training
    assert model[0]._hooks.after == []


def test_it_is_a_table_in_a_terminal_a_notebook_and_with_rich(monkeypatch: Any) -> None:
    found = nn.summary(net(), (2, 1, 8, 8))
    text = str(found)
    assert re.search(r"    layers.4.layers.1 .Linear. +.2, 10. +1,810 +7,200 +80 B\n", text)
    assert "1,870 parameters" in text
    assert found._repr_html_().count("<tr>") == 1 + len(found.rows)
    console = pytest.importorskip("rich.console")
    terminal = console.Console(width=100, record=True, file=io.StringIO())
    terminal.print(found)
    assert "layers.4.layers.1 (Linear)" in terminal.export_text()
    monkeypatch.setitem(sys.modules, "rich", None)
    assert str(found) == text  # without it


def test_numbers_of_rows_several_inputs_and_shared_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.table = nn.Embedding(9, 4, rng=0)
            self.out = nn.Linear(4, 9, bias=False, rng=0)
            self.out.weight = self.table.weight
            self.mix = nn.Bilinear(4, 4, 4, rng=0)

        def forward(self, i: Any, x: Any) -> Any:
            return self.out(self.mix(self.table(i), x))

    found = nn.summary(Tied(), np.array([1, 2, 3]), (3, 4))
    assert found.parameters == 36 + 64 + 4
    assert found.rows[-1].output == (3, 4)
    assert sum(row.parameters for row in found.rows) == found.parameters
    lstm = nn.summary(nn.LSTM(3, 5, rng=0), (7, 2, 3))
    assert lstm.rows[0].output == ((7, 2, 5), ((1, 2, 5), (1, 2, 5)))
    assert lstm.flops > 2 * 14 * (3 * 20 + 5 * 20)


def test_where_nothing_is_computed_the_totals_say_so() -> None:
    table = nn.summary(nn.Embedding(10, 4), np.zeros((2, 3), int))
    assert str(table).endswith("160 B of parameters and buffers, 0 B computed")

"""Views: what is written into one name is seen in all that show the same memory, as in NumPy.

    row = x[0]
    row += 1        # x has changed, and so has x.T

The graph knows nothing of memory: a write makes a new node. So a view remembers what it is a view
of and how it was made: a write goes on into that, and who reads a view after a write has it made
again, of what is there now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import is_numpy, kind_of, views
from tensorgrad.engine.batching import levels_of
from tensorgrad.engine.node import Array, Node, record, recorder, within
from tensorgrad.engine.primitive import Primitive, apply
from tensorgrad.ops.index import getitem, numbers, setitem
from tensorgrad.value import Value


class View(Value):
    """A Value that shows entries of another one, its `parent`, which may itself be a view.

    `how`: the operation and params that make it. `seen`: the data of the `root`, which is no view,
    when it was made. `places`: where its entries are in the root, known for those without axes and
    inside of a `vmap`.
    """

    __slots__ = ("how", "made", "parent", "places", "recorded", "root", "seen")
    how: tuple[Primitive, Mapping[str, Any]]
    made: Node
    parent: Value
    places: Array
    recorded: bool
    root: Value
    seen: Array

    @staticmethod
    def of_part(parent: Value, op: Primitive, params: Mapping[str, Any], made: Value) -> Value:
        """What `op` has made of `parent`, which shows entries of that or has its own."""
        node, places = made.node, None
        if type(node.data) is np.ndarray and parent.ndim:
            if not views(node.data, parent.node.data):
                return made
        elif parent.ndim and kind_of(node.data).writes:
            if not kind_of(node.data).shows(node.data, parent.node.data):
                return made
        else:
            number = not parent.ndim and type(parent) is not View
            if number or levels_of(*params.values()):
                return made
            if not (is_numpy(node.data) or levels_of(node.data) or kind_of(node.data).writes):
                return made
            shown = parent.places if type(parent) is View else None
            whole = numbers(parent.shape) if shown is None else shown
            places = op.forward(whole, **params)
            if not views(places, whole):
                return made
        view = object.__new__(View)
        view.parent, view.how, view.made, view.places = parent, (op, params), node, places
        view.root = root = parent.root if type(parent) is View else parent
        view.seen, view.recorded = root.node.data, recorder.get() is not None
        return view

    @property
    def node(self) -> Node:  # type: ignore[override]
        """Its node: another one after a write."""
        if self.seen is not self.root.node.data:
            self._make_again()
        return self.made

    def _make_again(self) -> None:
        behind: list[View] = []
        view: Value = self
        while isinstance(view, View) and view.seen is not view.root.node.data:
            behind.append(view)
            view = view.parent
        for view in reversed(behind):
            op, params = view.how
            new = (recorder.get() or record) if view.recorded else None
            node = within(recorder, new, apply, (op, (view.parent,), params), {}).node
            node.name, node.retains_grad = view.made.name, view.made.retains_grad
            view.made = node
            view.seen = view.root.node.data

    def _may_change(self) -> None:
        self.root._may_change()

    def _in_place(self, updated: Value) -> Value:
        """As of arrays; a view without axes is one too."""
        return self._changed_to(updated)

    def _become(self, updated: Value) -> None:
        """A write into what this is a view of."""
        view: Value = self
        while isinstance(view, View):
            updated = apply(setitem, (view.parent, updated), {"index": view._index()})
            view = view.parent
        view._become(updated)

    def _index(self) -> Any:
        """Which entries of its parent it shows."""
        op, params = self.how
        if op is getitem:
            return params["index"]
        if self.dtype != self.parent.dtype:
            raise TypeError(f"{op.name} of a {self.parent.dtype} Value: write into that as a whole")
        shown: Array = op.forward(numbers(self.parent.shape), **params)
        if np.unique(shown).size < shown.size:
            raise ValueError(f"{op.name} shows an entry in several places: write into a copy")
        if not self.parent.ndim:
            return ...
        return np.unravel_index(shown, self.parent.shape)

"""The engine: nodes, primitives, the sweep. It knows no operation.

Read `node.py`, `primitive.py`, `backprop.py`, `repair.py`, in this order; `rules.py`,
`arguments.py`, `domain.py` and `batching.py` when they are met.
"""

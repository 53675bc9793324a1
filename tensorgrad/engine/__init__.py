"""The engine: nodes, primitives, the sweep. It knows no operation.

Read `arrays.py`, `node.py`, `primitive.py`, `backprop.py`, `repair.py`, in this order; `rules.py`,
`arguments.py`, `domain.py`, `batching.py` and `calls.py` when they are met.
"""

"""The engine: nodes, primitives, the sweep. It loads no operation of `ops/`.

Read `node.py`, `rules.py`, `primitive.py`, `backprop.py`, `repair.py`, in this order: that is
backpropagation. Then, when you meet them: `arguments.py` (calls as NumPy spells them), `domain.py`
(what tests draw), `arrays.py` (kinds of array), `care.py` (zeros that meet infinities),
`batching.py` and `levels.py` (`vmap`), `chunked.py` (Dask's arrays), `sparse.py` (sparse
arrays), `device.py` (arrays on a GPU), `short.py` and `dtypes.py` (float16 and bfloat16),
`strangers.py` (objects of no kind), `words.py` (what others call otherwise), `calls.py` (which
call of a Module made a node).
"""

import tensorgrad.engine.chunked
import tensorgrad.engine.device
import tensorgrad.engine.short
import tensorgrad.engine.sparse  # noqa: F401 - rows of the table of kinds

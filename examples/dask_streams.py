"""Mini-batches from files that do not fit: Zarr, Parquet and CSV through Dask, into `fit`.

    python examples/dask_streams.py

Whatever Dask reads becomes a chunked array, and `data.Chunks` has its batches: a chunk is read when
its turn comes, the next one meanwhile, and the rows within it come in a new order each epoch
(needs `tensorgrad-engine[dask]`, and zarr, pandas and pyarrow for their files).
"""

import tempfile
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd

import tensorgrad as tg
from tensorgrad import data, nn, optim
from tensorgrad.nn import functional as F

rng = np.random.default_rng(0)
x = rng.standard_normal((20_000, 2))
table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "inside": (x**2).sum(axis=1) < 1.4})


def from_table(frame):
    """The columns of a Dask DataFrame, whose partitions are chunks of rows of unknown lengths."""
    columns = frame[["a", "b", "inside"]].astype(float).to_dask_array()
    return columns[:, :2], columns[:, 2].astype(int)


def train(name, rows, classes):
    batches = data.Chunks(rows, classes, batch_size=100, shuffle=True, prefetch=1)
    model = nn.Sequential(nn.Linear(2, 16, rng=0), nn.Tanh(), nn.Linear(16, 2, rng=0))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    history = tg.fit(
        *(model, batches, F.cross_entropy, optimizer), epochs=2, validation=(rows, classes)
    )
    print(f"{name:8} {batches}: accuracy {history[-1].accuracy:.3f}")
    assert history[-1].accuracy > 0.95


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    da.to_zarr(da.from_array(x, chunks=(4000, 2)), folder / "x.zarr")
    da.to_zarr(da.from_array(table["inside"].to_numpy(int), chunks=4000), folder / "y.zarr")
    train("Zarr", da.from_zarr(folder / "x.zarr"), da.from_zarr(folder / "y.zarr"))

    dd.from_pandas(table, npartitions=5).to_parquet(folder / "parquet")
    train("Parquet", *from_table(dd.read_parquet(folder / "parquet")))

    dd.from_pandas(table, npartitions=5).to_csv(folder / "*.csv", index=False)
    train("CSV", *from_table(dd.read_csv(folder / "*.csv")))

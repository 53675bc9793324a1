"""Moved to `tensorgrad.ops.coverage`; this name answers for one more version."""

import warnings

from tensorgrad.ops.coverage import main

if __name__ == "__main__":
    warnings.warn("tensorgrad.coverage is tensorgrad.ops.coverage now", FutureWarning, stacklevel=1)
    main()

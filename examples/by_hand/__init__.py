"""The same networks in plain NumPy, forward and backward by hand: what ours are timed against."""

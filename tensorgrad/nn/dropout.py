"""Dropout: what a training step leaves out is drawn anew each time."""

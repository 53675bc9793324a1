"""Layers that move entries: flatten, pad, fold."""

"""Interpolation, and the shuffling of pixels."""

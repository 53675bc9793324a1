"""Normalisations: of a batch, a layer, groups, instances."""

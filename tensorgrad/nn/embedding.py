"""Rows of a table, chosen by numbers."""

"""`report`: a training run as one page."""

from tensorgrad.viz.report.report import report

__all__ = ["report"]

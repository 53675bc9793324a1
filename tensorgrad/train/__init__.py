"""Training: `Step`, one step as an object, and `fit`, which takes it for each batch.

`callbacks.py` has what is told of a training, `metrics.py` what is measured.
"""

from tensorgrad.train import metrics
from tensorgrad.train.callbacks import (
    Average,
    Checkpoint,
    EarlyStopping,
    GradientNorms,
    Log,
    Schedule,
    TensorBoard,
)
from tensorgrad.train.fit import fit, predict, vote
from tensorgrad.train.history import Epoch, History
from tensorgrad.train.metrics import (
    accuracy,
    calibrate,
    calibration_error,
    confusion_matrix,
    f1,
    mean_absolute_error,
    perplexity,
    r2,
    top_k_accuracy,
)
from tensorgrad.train.penalty import clipped, penalised
from tensorgrad.train.run import Callback, Run
from tensorgrad.train.step import Step

__all__ = [
    "Average",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Epoch",
    "GradientNorms",
    "History",
    "Log",
    "Run",
    "Schedule",
    "Step",
    "TensorBoard",
    "accuracy",
    "calibrate",
    "calibration_error",
    "clipped",
    "confusion_matrix",
    "f1",
    "fit",
    "mean_absolute_error",
    "metrics",
    "penalised",
    "perplexity",
    "predict",
    "r2",
    "top_k_accuracy",
    "vote",
]

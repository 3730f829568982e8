"""One trainer for everything: objective and batch source are open, the loop is not.

Knows steps, accumulation, clipping, guards, checkpoints, throughput and the run log; does not know which task it
trains. Everything here needs torch, so names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.train.checkpoint import average_weights
    from podium.train.objective import Batch, Loss, NextToken, Objective
    from podium.train.optim import OptimizerConfig
    from podium.train.packing import Document, PackedSource, PackingReport
    from podium.train.schedule import ScheduleConfig
    from podium.train.throughput import measure_gemm_peak
    from podium.train.trainer import BatchSource, TrainConfig, TrainResult, train

_HOME = {
    "average_weights": "checkpoint",
    "Batch": "objective",
    "Loss": "objective",
    "NextToken": "objective",
    "Objective": "objective",
    "OptimizerConfig": "optim",
    "Document": "packing",
    "PackedSource": "packing",
    "PackingReport": "packing",
    "ScheduleConfig": "schedule",
    "measure_gemm_peak": "throughput",
    "BatchSource": "trainer",
    "TrainConfig": "trainer",
    "TrainResult": "trainer",
    "train": "trainer",
}

__all__ = [
    "Batch",
    "BatchSource",
    "Document",
    "Loss",
    "NextToken",
    "Objective",
    "OptimizerConfig",
    "PackedSource",
    "PackingReport",
    "ScheduleConfig",
    "TrainConfig",
    "TrainResult",
    "average_weights",
    "measure_gemm_peak",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

"""First weights that the rules give: a TensorFlow checkpoint of the reference into a model of ours.

Names are those of podium.bench.tensor_names; TensorFlow's kernels are [in, out] and [height, width, in, out].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from podium.bench.formats.checkpoint import read_checkpoint
from podium.bench.tensor_names import official_names
from podium.errors import InputError

MOVING = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def find_checkpoint(folder: Path) -> Path:
    """The prefix of the one checkpoint in `folder`; of several the one of the latest step.

    Raises:
        InputError: there is none.
    """
    found = [path.with_suffix("") for path in folder.glob("*.index")]
    if not found:
        raise InputError(f"{folder}: no checkpoint (PREFIX.index)", "unpack the reference's checkpoint there")
    return max(found, key=lambda prefix: int(prefix.name.rpartition("-")[2]) if "-" in prefix.name else -1)


@torch.no_grad()
def load_official(model: nn.Module, benchmark: str, prefix: Path) -> None:
    """Give every parameter of `model`, and the statistics of its batch norms, the values of the checkpoint.

    Raises:
        InputError: a file is missing or cut off, a tensor is missing or has another shape than the model's.
    """
    tensors = read_checkpoint(prefix)
    names = official_names(benchmark, [name for name, _ in model.named_parameters()])
    for name, parameter in model.named_parameters():
        parts = [_oriented(_tensor(tensors, official, prefix), official) for official in names[name]]
        _copy(parameter, np.concatenate(parts), " + ".join(names[name]), prefix)
    norms = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    # A norm without a scale has no parameter to be named by; it is counted in the same order.
    counted = official_names(benchmark, [f"{name}.weight" for name, _ in norms]) if norms else {}
    for name, module in norms:
        stem = counted[f"{name}.weight"][0].rpartition("/")[0]
        for ours, theirs in MOVING.items():
            official = f"{stem}/{theirs}"
            _copy(module.get_buffer(ours), _tensor(tensors, official, prefix), official, prefix)


def _tensor(tensors: dict[str, np.ndarray], name: str, prefix: Path) -> np.ndarray:
    if name not in tensors:
        raise InputError(f"{prefix}: no tensor {name} in it", "it must be the reference's checkpoint")
    return tensors[name]


def _oriented(tensor: np.ndarray, name: str) -> np.ndarray:
    if not name.endswith("/kernel"):
        return tensor
    return tensor.T if tensor.ndim == 2 else tensor.transpose(3, 2, 0, 1)


def _copy(target: torch.Tensor, values: np.ndarray, name: str, prefix: Path) -> None:
    if tuple(values.shape) != tuple(target.shape):
        raise InputError(
            f"{prefix}: {name} has the shape {tuple(values.shape)}, the model's is {tuple(target.shape)}",
            "it must be the reference's checkpoint of this benchmark",
        )
    target.copy_(torch.from_numpy(np.array(values, dtype=np.float32)))

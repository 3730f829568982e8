"""Which device a model runs on, in which numbers, and getting it there one layer at a time.

Knows devices and modules; no steps, no requests.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from podium.errors import CompleterError, InputError, nearest
from podium.generate.device.fp8 import Fp8Linear, check_fp8
from podium.generate.layered import LayeredModel
from podium.models import Transformer

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "fp8": None}
"""By weight format; fp8: matrices of the layers, the rest in the device's own dtype."""

_RESERVE = 1 << 30
"""Bytes that graphs, workspaces and the activations of a prompt's chunk may take."""


def find_device(name: str) -> torch.device:
    """The device that "cpu", "cuda" or "cuda:1" stands for.

    Raises:
        InputError: another name, no CUDA here, or no GPU of that number.
    """
    kind, _, number = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise InputError(f"device {name!r} is not known", "use cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        built = "this PyTorch was built without CUDA" if torch.version.cuda is None else "the driver shows no GPU"
        raise InputError(f"device {name!r}: {built}", "use cpu; or install PyTorch for CUDA on a machine with a GPU")
    count = torch.cuda.device_count()
    index = int(number) if number else torch.cuda.current_device()
    if index >= count:
        raise InputError(f"device {name!r}: there are {count} GPUs, counted from 0", "use one of them")
    return torch.device("cuda", index)


def own_dtype(device: torch.device) -> torch.dtype:
    """What a device computes in where nothing else is asked for: bf16 on GPUs that know it, else fp16; fp32 on CPUs."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def cache_budget(device: torch.device, weight_bytes: int) -> int:
    """Bytes for keys and values on a GPU that will also hold so many bytes of weights.

    Raises:
        CompleterError: the weights do not fit.
    """
    free, total = torch.cuda.mem_get_info(device)
    # A tenth of the memory is left to whoever else is there, and to fragments.
    budget = free - total // 10 - weight_bytes - _RESERVE
    if budget < _RESERVE // 4:
        raise CompleterError(
            f"{weight_bytes / 1e9:.1f} GB of weights do not fit into {free / 1e9:.1f} GB of free memory on {device}",
            "use format fp8, a smaller model or another GPU",
        )
    return budget


def weight_bytes(model: Transformer, device: torch.device, format: str | None) -> int:
    """Bytes that the weights of a model of this shape (it may be on the meta device) take in a format on a device.

    Raises:
        InputError: an unknown format.
    """
    dtype = _dtype(format, device)
    layers = sum(parameter.numel() for parameter in model.layers.parameters() if parameter.dim() > 1)
    others = sum(parameter.numel() for parameter in model.parameters()) - layers
    wide = (dtype or own_dtype(device)).itemsize
    return layers * (1 if dtype is None else wide) + others * wide


def _dtype(format: str | None, device: torch.device) -> torch.dtype | None:
    """None for fp8."""
    if format is not None and format not in DTYPES:
        raise InputError(f"unknown weight format {format!r} for {device.type}", nearest(format, DTYPES))
    return DTYPES[format] if format else own_dtype(device)


def place_model(model: LayeredModel, device: torch.device, format: str | None) -> tuple[Transformer, str]:
    """The model on a device, and the name of the format it is in there. Of a stored one a layer at a time is in the
    host's memory. One that is there already, in that format, is used as it is; otherwise it stays untouched.

    Args:
        format: see DTYPES; None: that of a model in memory on its own device, else the device's.

    Raises:
        InputError: an unknown format, or FP8 where it cannot be had; a stored model that holds NaN.
    """
    there = model.in_memory if model.in_memory is not None and model.device == device else None
    own = None if there is None else there.embedding.weight.dtype
    dtype = own if own is not None and format is None else _dtype(format, device)
    if there is not None and dtype is not None and dtype == own:
        return there, name_of(dtype)
    eight = dtype is None
    if dtype is None:
        check_fp8(device)
        dtype = own_dtype(device)
        if dtype == torch.float16:
            raise InputError(f"fp8 on {device}: it has no bf16", "use format fp16")
    with torch.device("meta"):
        placed = Transformer(model.config)
    placed.requires_grad_(False)
    for number in range(model.config.num_hidden_layers):
        with model.layer(number) as block:
            _put(placed.layers[number], block, device, dtype, _matrices(block) if eight else ())
    with model.ends() as ends:
        _put_ends(placed, ends, device, dtype)
    return placed, "fp8" if eight else name_of(dtype)


def _matrices(block: nn.Module) -> tuple[str, ...]:
    """Paths of the matrices that FP8 rounds: all but a router's, whose rounding would send tokens to other experts."""
    return tuple(
        path
        for path, module in block.named_modules()
        if isinstance(module, nn.Linear) and not path.endswith("feed_forward.router")
    )


def name_of(dtype: torch.dtype) -> str:
    """The weight format of a dtype, or the dtype's own name."""
    return next((name for name, known in DTYPES.items() if known == dtype), str(dtype).removeprefix("torch."))


def _put(
    target: nn.Module, source: nn.Module, device: torch.device, dtype: torch.dtype, matrices: tuple[str, ...] = ()
) -> None:
    """Copies of the parameters of `source` take the places of those of `target`; `matrices` in FP8."""
    for path in matrices:
        parent, _, leaf = path.rpartition(".")
        linear = cast("nn.Linear", source.get_submodule(path))
        setattr(target.get_submodule(parent), leaf, Fp8Linear(linear, device, dtype))
    for name, parameter in source.named_parameters():
        parent, _, leaf = name.rpartition(".")
        if parent not in matrices:
            copied = parameter.detach().to(device, dtype, copy=True)
            setattr(target.get_submodule(parent), leaf, nn.Parameter(copied, requires_grad=False))


def _put_ends(target: Transformer, source: Transformer, device: torch.device, dtype: torch.dtype) -> None:
    for part in ("embedding", "norm", "unembedding"):
        if getattr(source, part) is not None:
            _put(target.get_submodule(part), source.get_submodule(part), device, dtype)

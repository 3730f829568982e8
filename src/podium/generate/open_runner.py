"""Choosing how a model is computed: which runner, with which sampler.

Stands above all runners: knows what each of them needs, and imports those that are not chosen not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from podium.errors import CompleterError, InputError
from podium.generate.device.place import find_device, name_of, place_model
from podium.generate.drawing import Sampler, TorchSampler
from podium.generate.layered import layered
from podium.generate.runner import Runner, TorchRunner

if TYPE_CHECKING:
    from podium.models import StoredModel, Transformer, TransformerConfig


class OpenedRunner(NamedTuple):
    """A runner, the sampler for what it computes, and a description for people."""

    runner: Runner
    sampler: Sampler
    description: str


def not_captured(config: TransformerConfig) -> str | None:
    """What in a model keeps its steps from being captured as graphs on a GPU, or None."""
    if config.rope.kind == "dynamic":
        return "rope_type 'dynamic'"  # a position is turned by other angles in longer texts
    if config.sliding_window is not None:
        return "sliding-window attention"  # the kernels over paged blocks see all positions up to a row's own
    if config.mixture is not None:
        return "a mixture of experts"  # which matrices are multiplied depends on values
    return None


def open_runner(
    model: Transformer | StoredModel, kernel: str, format: str | None, threads: int | None, device: str | None = None
) -> OpenedRunner:
    """The runner for `kernel` with the sampler that suits it, and a description for people.

    Args:
        kernel: "native" (the C kernels), "graphs" (captured steps, see podium.generate.device), "torch", or "auto":
            graphs on a GPU, elsewhere native where it can be had, else torch.
        format: of the weights; None: fp16 in native, the device's own in graphs. torch computes with the model's own.
        device: "cpu", "cuda" or "cuda:N"; None: where the model is, a stored one on the CPU.

    Raises:
        InputError: an unknown kernel, format or device, one that is not to be had here, or a stored model's weights
            that hold NaN.
        CompleterError: native was asked for and cannot be had, or there is no memory for it.
    """
    if kernel not in ("auto", "torch", "native", "graphs"):
        raise InputError(f"kernel is {kernel!r}", "it must be 'auto', 'torch', 'native' or 'graphs'")
    source = layered(model)
    place = source.device if device is None else find_device(device)
    uncaptured = not_captured(source.config)
    if kernel == "graphs" and uncaptured:
        raise InputError(f"kernel 'graphs' with {uncaptured}", "use kernel 'auto' or 'torch'")
    if kernel == "graphs" or (kernel == "auto" and place.type == "cuda" and not uncaptured):
        from podium.generate.device.runner import GraphRunner
        from podium.generate.device.sampler import GraphSampler

        placed, name = place_model(source, place, format)
        runner = GraphRunner(placed)
        where = torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)
        description = f"graphs, {name} on {where}, attention {runner.attention}"
        return OpenedRunner(runner, GraphSampler(runner), description)
    if place.type != "cpu" and kernel == "native":
        raise InputError(f"kernel 'native' on {place}", "it computes on the CPU: use kernel 'graphs' or 'auto'")
    why = ""
    if kernel != "torch" and place.type != "cpu":
        why = f", since steps with {uncaptured} are not captured"
    elif kernel != "torch":
        from podium.generate.native.runner import NativeRunner, missing
        from podium.generate.native.sampler import NativeSampler

        reason = missing(source)
        if reason is None:
            chosen = format or "fp16"
            # Exact weights are asked for by those who want exact numbers: keys and values are not rounded either.
            kv = "fp32" if chosen == "fp32" else "fp16"
            runner = NativeRunner(source, format=chosen, threads=threads or torch.get_num_threads(), kv=kv)
            return OpenedRunner(runner, NativeSampler(runner.stack), f"native, {chosen} weights")
        if kernel == "native":
            raise CompleterError(f"the native kernel cannot be used: {reason}", "use kernel 'auto' or 'torch'")
        why = f", since the native kernel cannot be used: {reason}"
    if place.type == "cpu" and source.in_memory is None:
        network = source.whole()
    else:
        network, _ = place_model(source, place, None)
    weight = network.embedding.weight
    own = name_of(weight.dtype)
    if kernel == "torch" and format not in (None, own):
        raise InputError(
            f"format is {format!r}, and the torch kernel computes with the model's own {own}",
            "use the native kernel, or convert the model",
        )
    return OpenedRunner(TorchRunner(network), TorchSampler(), f"torch, {own} on {weight.device.type}{why}")

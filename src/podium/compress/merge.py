"""Merging models of one architecture by a weighted mean of their weights (model soups, arXiv:2203.05482).

Works on Hugging Face folders, tensor by tensor; never builds a network. Arithmetic is that of mergekit's `linear`:
fp32 accumulation in the order given, one division by the sum of the weights, one rounding to the output's dtype.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
import torch
from torch import Tensor

from podium.errors import InputError
from podium.models.checkpoint import MAX_SHARD_BYTES, tensor_shapes
from podium.models.config import TransformerConfig
from podium.models.folder import Weights, atomic_folder, write_weights
from podium.models.place import read_shape
from podium.storage import storage_errors
from podium.text.sameness import difference
from podium.text.tokenizer import FILES as TOKENIZER_FILES
from podium.text.tokenizer import build


def merge_linear(
    models: Sequence[Path | str],
    weights: Sequence[float],
    out_folder: Path | str,
    *,
    normalise: bool = True,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write the folder whose every tensor is sum(weight * tensor), divided by sum(weights) when `normalise`.

    Config, tokenizer and dtypes are those of the first model. One tensor per model is in memory at a time, and nothing
    is left under `out_folder` unless all of it is.

    Raises:
        InputError: differing architectures, tensors, shapes or tokenizers; NaN in a model; weights that are not
            finite, do not match the models in number, or sum to 0 while they are to be normalised.
        StorageError: disk full, no permission.
    """
    folders = [Path(folder) for folder in models]
    _check_weights(folders, weights, normalise)
    if Path(out_folder).resolve() in [folder.resolve() for folder in folders]:
        raise InputError(f"{out_folder}: is one of the models to merge", "name a new folder for the merged model")
    configs = [read_shape(folder) for folder in folders]
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        _check_same(folders[0], configs[0], folder, config)
    _check_tokenizers(folders)
    shapes = tensor_shapes(configs[0])
    files = [Weights(folder) for folder in folders]
    for file in files:
        file.check(shapes)
    layout = {name: (files[0].dtype(name), shape) for name, shape in shapes.items()}

    def merged() -> Iterator[tuple[str, Tensor]]:
        for name, (dtype, _) in layout.items():
            yield name, _mean(files, name, weights, normalise, dtype)

    with atomic_folder(out_folder) as partial:
        write_weights(partial, layout, merged(), max_shard_bytes)
        for name in ("config.json", "generation_config.json"):
            if (folders[0] / name).exists():
                shutil.copyfile(folders[0] / name, partial / name)
        source = next((folder for folder in folders if (folder / "tokenizer.json").exists()), None)
        for name in TOKENIZER_FILES if source else ():
            if source and (source / name).exists():
                shutil.copyfile(source / name, partial / name)


def _mean(files: Sequence[Weights], name: str, weights: Sequence[float], normalise: bool, dtype: torch.dtype) -> Tensor:
    first = files[0][name]
    work = torch.float64 if first.dtype == torch.float64 else torch.float32
    factors = torch.tensor(weights, dtype=work)
    total = torch.zeros(first.shape, dtype=work)
    for index, factor in enumerate(factors):
        # A fused multiply-add, as in mergekit: multiplying and adding apart rounds differently.
        total.addcmul_((first if index == 0 else files[index][name]).to(work), factor)
    if normalise:
        total.div_(factors.sum())
    result = total.to(dtype)
    if not result.isfinite().all():
        raise InputError(f"the merged tensor {name} is not finite in {dtype}", "choose smaller weights")
    return result


def _check_weights(folders: Sequence[Path], weights: Sequence[float], normalise: bool) -> None:
    if not folders:
        raise InputError("no models to merge", "name at least one model folder")
    if len(folders) != len(weights):
        raise InputError(f"{len(folders)} models but {len(weights)} weights", "give one weight per model")
    if not all(math.isfinite(weight) for weight in weights):
        raise InputError(f"weights {list(weights)} are not all finite", "give ordinary numbers")
    if normalise and abs(sum(weights)) < 1e-8:
        raise InputError("the weights sum to 0", "choose others, or merge without normalising")


def _check_same(first: Path, config: TransformerConfig, folder: Path, other: TransformerConfig) -> None:
    # How long a context was promised does not change what the weights mean.
    for key, value in config.architecture().items():
        found = other.architecture()[key]
        if key != "max_position_embeddings" and found != value:
            cure = "only models with one vocabulary merge" if key == "vocab_size" else "only one architecture merges"
            raise InputError(f"{folder}: {key} is {found}, but {value} in {first}", cure)


def _check_tokenizers(folders: Sequence[Path]) -> None:
    known: tuple[Path, tokenizers.Tokenizer] | None = None
    for folder in folders:
        path = folder / "tokenizer.json"
        if not path.exists():
            continue
        with storage_errors(path, "reading"):
            core = build(path.read_text(errors="replace"), str(folder))
        if known is None:
            known = folder, core
            continue
        what = difference(known[1], core)
        if what is not None:
            raise InputError(
                f"{folder}: the tokenizer differs from that of {known[0]}: {what}",
                "merge models trained with one tokenizer",
            )

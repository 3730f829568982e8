"""Hugging Face model folders in and out.

Knows how the tensors that a family names (podium.models.families) lie in the joined matrices of
podium.models.transformer; knows nothing of training state.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from podium.errors import InputError
from podium.models.config import TransformerConfig
from podium.models.finite import all_finite
from podium.models.folder import Weights, atomic_folder, write_weights
from podium.models.place import read_shape
from podium.models.transformer import Block, Transformer
from podium.text import Tokenizer

MAX_SHARD_BYTES = 5_000_000_000


class StoredModel:
    """A model folder whose weights stay on disk until a part of them is asked for.

    `model` has shapes and no weights (it is on the meta device); `tokenizer` is None where the folder has none.

    Raises:
        InputError: no config.json or not JSON, unknown model_type, tensors missing or of the wrong shape, truncated
            files, or a tokenizer with more entries than the embedding has rows.
    """

    def __init__(self, folder: Path | str, dtype: torch.dtype = torch.float32) -> None:
        self.folder = Path(folder)
        self.config = read_shape(self.folder)
        weights = Weights(self.folder)
        has_tokenizer = (self.folder / "tokenizer.json").exists()
        self.tokenizer = Tokenizer.load(self.folder) if has_tokenizer else None
        if self.tokenizer is not None:
            check_vocabulary(self.tokenizer, self.config, self.folder)
        with torch.device("meta"):
            self.model = Transformer(self.config).to(dtype)
        weights.check(tensor_shapes(self.config))

    def load(self, device: torch.device | str = "cpu") -> Transformer:
        """The whole model. Beside it, memory holds one tensor. Raises InputError for NaN or infinity."""
        weights = Weights(self.folder)
        model = self.model.to_empty(device=device)
        _fill(slots(model), weights)
        return model

    @contextmanager
    def layer(self, number: int) -> Iterator[Block]:
        """One layer, on the CPU, with its weights until the context ends. Raises InputError as `load` does."""
        block = self.model.layers[number]
        assert isinstance(block, Block)
        with self._held(block):
            _fill(_layer_slots(self.config, number, block), Weights(self.folder))
            yield block

    @contextmanager
    def ends(self) -> Iterator[Transformer]:
        """The model with the weights before and behind its layers, and without theirs, until the context ends."""
        model = self.model
        with ExitStack() as held:
            for part in (model.embedding, model.norm, model.unembedding):
                if part is not None:
                    held.enter_context(self._held(part))
            _fill(chain(_first_slots(model), _last_slots(model)), Weights(self.folder))
            yield model

    @contextmanager
    def _held(self, part: nn.Module) -> Iterator[None]:
        part.to_empty(device="cpu")
        try:
            yield
        finally:
            part.to("meta")


def load_model(
    folder: Path | str, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Transformer, Tokenizer | None]:
    """A model and, where the folder has one, its tokenizer.

    Weights are converted to `dtype` one tensor at a time: beside the model, memory holds one tensor.

    Raises:
        InputError: as StoredModel does, or weights that hold NaN or infinity.
    """
    stored = StoredModel(folder, dtype)
    return stored.load(device), stored.tokenizer


@torch.no_grad()
def _fill(parts: Iterable[Slot], weights: Weights) -> None:
    # `weights` is dropped by those who call: what was read of a mapped file counts as this process's memory until then.
    for slot in parts:
        slot.load(weights[slot.name])


def save_model(
    folder: Path | str,
    model: Transformer,
    tokenizer: Tokenizer | None = None,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a folder that transformers and vLLM load, all at once: a reader sees a whole model or none.

    Raises:
        InputError: the tokenizer has more entries than the embedding has rows, or weights hold NaN or infinity.
        StorageError: disk full, no permission.
    """
    config = model.config
    if tokenizer is not None:
        check_vocabulary(tokenizer, config, folder)
        config = replace(config, eos_token_id=(tokenizer.eos_id,), pad_token_id=tokenizer.pad_id)
    parts = list(slots(model))
    for slot in parts:
        if not all_finite(slot.view):
            raise InputError(
                f"{folder}: tensor {slot.name} holds NaN or infinity", "training diverged: nothing is saved"
            )
    name = str(parts[0].view.dtype).removeprefix("torch.")
    # Both spellings: transformers 5 reads dtype, earlier versions and vLLM torch_dtype.
    values = {**config.to_hf(), "dtype": name, "torch_dtype": name}
    generation = {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": sorted(tokenizer.stop_ids) if tokenizer is not None else values["eos_token_id"],
        "pad_token_id": config.pad_token_id,
    }
    with atomic_folder(folder) as partial:
        write_weights(
            partial,
            {slot.name: (slot.view.dtype, slot.shape) for slot in parts},
            ((slot.name, slot.read()) for slot in parts),
            max_shard_bytes,
        )
        if tokenizer is not None:
            tokenizer.save(partial)
        _write_json(partial / "generation_config.json", {k: v for k, v in generation.items() if v is not None})
        _write_json(partial / "config.json", values)


def check_vocabulary(tokenizer: Tokenizer, config: TransformerConfig, where: Path | str) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"{where}: the tokenizer has {tokenizer.vocab_size} entries, the embedding only {config.vocab_size} rows",
            "use the tokenizer the model was trained with",
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor as Hugging Face names it, and where it lies in a parameter: `view` in the order of its elements."""

    name: str
    view: Tensor
    shape: tuple[int, ...]

    def load(self, tensor: Tensor) -> None:
        self.view.copy_(tensor.reshape(self.view.shape))

    def read(self) -> Tensor:
        return self.view.detach().reshape(self.shape).cpu()


def slots(model: Transformer) -> Iterator[Slot]:
    """Every Hugging Face tensor of the model, in file order."""
    yield from _first_slots(model)
    for number, block in enumerate(model.layers):
        assert isinstance(block, Block)
        yield from _layer_slots(model.config, number, block)
    yield from _last_slots(model)


def _first_slots(model: Transformer) -> Iterator[Slot]:
    yield _whole("model.embed_tokens.weight", model.embedding.weight)


def _last_slots(model: Transformer) -> Iterator[Slot]:
    yield _whole("model.norm.weight", model.norm.weight)
    if model.unembedding is not None:
        yield _whole("lm_head.weight", model.unembedding.weight)


def _layer_slots(config: TransformerConfig, number: int, block: Block) -> Iterator[Slot]:
    for joined in config.family.tensors(config, number):
        part = block.get_submodule(joined.part)
        for kind in ("weight", "bias"):
            parameter = getattr(part, kind, None)
            if parameter is None:
                continue
            for (name, _), rows in zip(
                joined.tensors, parameter.split([rows for _, rows in joined.tensors]), strict=True
            ):
                full_name = f"model.layers.{number}.{name}.{kind}"
                yield _paired(full_name, rows, config.head_dim) if name in joined.turned else _whole(full_name, rows)


def _whole(name: str, tensor: Tensor) -> Slot:
    return Slot(name, tensor, tuple(tensor.shape))


def _paired(name: str, tensor: Tensor, head_dim: int) -> Slot:
    # Rows of a head lie as (i, i + Dh/2) pairs inside, as two halves outside.
    pairs = tensor.unflatten(0, (-1, head_dim // 2, 2)).transpose(1, 2)
    return Slot(name, pairs, tuple(tensor.shape))


def tensor_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Hugging Face name -> shape of every tensor of such a model."""
    with torch.device("meta"):
        return {slot.name: slot.shape for slot in slots(Transformer(config))}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

"""A model whose layers come one at a time, whether it lies on disk or in memory.

Knows models; no runners. Those that copy weights into a form of their own (packed for the C kernels, placed on a
device) ask for one layer after the other, so that a stored model is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, cast

import torch

from podium.models import StoredModel, Transformer

if TYPE_CHECKING:
    from podium.models import TransformerConfig
    from podium.models.transformer import Block


class LayeredModel(Protocol):
    """Attributes:
    model: shapes and, where they are in memory, weights.
    in_memory: the whole model with its weights, or None for one that is stored on disk.
    """

    @property
    def config(self) -> TransformerConfig: ...

    @property
    def model(self) -> Transformer: ...

    @property
    def in_memory(self) -> Transformer | None: ...

    @property
    def device(self) -> torch.device:
        """Where layers are when they come."""
        ...

    def layer(self, number: int) -> AbstractContextManager[Block]:
        """One layer with its weights until the context ends. Raises InputError for weights that hold NaN."""
        ...

    def ends(self) -> AbstractContextManager[Transformer]:
        """The model with the weights before and behind its layers until the context ends."""
        ...

    def whole(self) -> Transformer:
        """All of it in memory."""
        ...


def layered(model: Transformer | StoredModel) -> LayeredModel:
    """The model as one whose layers come one at a time."""
    return _Held(model) if isinstance(model, Transformer) else _Stored(model)


class _Held:
    """A model in memory: its layers are there already."""

    def __init__(self, model: Transformer) -> None:
        self.model: Transformer = model
        self.in_memory: Transformer | None = model
        self.config: TransformerConfig = model.config

    @property
    def device(self) -> torch.device:
        return self.model.embedding.weight.device

    @contextmanager
    def layer(self, number: int) -> Iterator[Block]:
        yield cast("Block", self.model.layers[number])

    @contextmanager
    def ends(self) -> Iterator[Transformer]:
        yield self.model

    def whole(self) -> Transformer:
        return self.model


class _Stored:
    """A model on disk: a layer is read when it is asked for, and forgotten afterwards."""

    device = torch.device("cpu")
    in_memory: Transformer | None = None

    def __init__(self, stored: StoredModel) -> None:
        self.model: Transformer = stored.model
        self.config: TransformerConfig = stored.config
        self.layer = stored.layer
        self.ends = stored.ends
        self.whole = stored.load

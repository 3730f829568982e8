"""Documents into rows of a fixed length, and rows into batches. Knows token ids, not what they mean.

A document is never split over rows and never sees its neighbours: positions restart, attention is isolated
(podium.train.attention), and no token of one document is predicted from another.
"""

from __future__ import annotations

import hashlib
import math
import random
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from podium.errors import TrainingError
from podium.train.attention import isolate

Method = Literal["first-fit-decreasing", "first-fit-shuffled"]


class Document(NamedTuple):
    """Token ids, and for each whether it is trained on (as a target; every token is context for the later ones)."""

    ids: Sequence[int]
    mask: Sequence[bool]


@dataclass(frozen=True, slots=True)
class PackingReport:
    """What became of the documents. `fill` is the share of the rows' tokens that are not padding."""

    documents: int  # packed
    tokens: int
    trained_tokens: int
    rows: int
    fill: float
    dropped: int  # longer than a row
    cut: int  # longer than a row, its head kept
    untrained: int  # left out: no token to train on


def first_fit(lengths: Sequence[int], capacity: int, order: Iterable[int]) -> list[list[int]]:
    """Put each item, in `order`, into the first bin it fits in; returns item numbers by bin.

    A tournament tree over the room left finds the bin in O(log bins).
    """
    leaves = 1 << max(0, len(lengths) - 1).bit_length()
    room = [capacity] * (2 * leaves)
    bins: list[list[int]] = []
    for item in order:
        need, node = lengths[item], 1
        while node < leaves:
            node *= 2
            if room[node] < need:
                node += 1
        if node - leaves == len(bins):
            bins.append([])
        bins[node - leaves].append(item)
        room[node] -= need
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return bins


@dataclass(slots=True)
class PackedBatch:
    """Rows ready for a decoder. `count` is tokens without padding.

    tokens, positions: [B, T]; predicting: [P] places in the flattened rows whose next token is trained; targets: [P].
    """

    tokens: Tensor
    positions: Tensor
    predicting: Tensor
    targets: Tensor
    attend: Any
    layout: tuple[tuple[int, ...], ...]
    count: int
    largest_id: int
    unit: str = "tokens"

    def to(self, device: torch.device) -> PackedBatch:
        if self.tokens.device == device:
            return self
        return replace(
            self,
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            predicting=self.predicting.to(device),
            targets=self.targets.to(device),
            attend=isolate(self.layout, self.tokens.shape[1], device),
        )


def make_batch(rows: Sequence[Sequence[Document]], row_length: int, pad_id: int = 0) -> PackedBatch:
    """Documents, given by row, as one batch."""
    tokens = torch.full((len(rows), row_length), pad_id, dtype=torch.long)
    positions = torch.zeros((len(rows), row_length), dtype=torch.long)
    trained = torch.zeros((len(rows), row_length), dtype=torch.bool)
    for row, documents in enumerate(rows):
        start = 0
        for ids, mask in documents:
            end = start + len(ids)
            tokens[row, start:end] = torch.as_tensor(ids)
            positions[row, start:end] = torch.arange(len(ids))
            # The first token of a document has nothing before it to be predicted from.
            trained[row, start + 1 : end] = torch.as_tensor(mask, dtype=torch.bool)[1:]
            start = end
    target_places = trained.flatten().nonzero().flatten()
    layout = tuple(tuple(len(d.ids) for d in documents) for documents in rows)
    return PackedBatch(
        tokens,
        positions,
        target_places - 1,
        tokens.flatten()[target_places],
        isolate(layout, row_length, torch.device("cpu")),
        layout,
        sum(map(sum, layout)),
        int(tokens.max()),
    )


class PackedSource:
    """An endless stream of batches: epoch after epoch, packed and shuffled anew by seed and epoch.

    Its state is an epoch and a row number, so that a run resumes at the very row it stopped at.
    """

    def __init__(
        self,
        documents: Iterable[tuple[Sequence[int], Sequence[bool]]],
        *,
        row_length: int,
        rows_per_batch: int,
        seed: int = 0,
        method: Method = "first-fit-shuffled",
        overlong: Literal["drop", "cut"] = "drop",
        pad_id: int = 0,
    ) -> None:
        """Raises TrainingError when no document can be trained on."""
        self.row_length, self.rows_per_batch, self.seed = row_length, rows_per_batch, seed
        self._method, self._pad_id = method, pad_id
        # One flat array each: millions of small lists would cost many times the memory.
        ids, mask, bounds = array("i"), array("b"), [0]
        given = dropped = cut = untrained = 0
        for document_ids, document_mask in documents:
            given += 1
            if len(document_ids) != len(document_mask):
                raise TrainingError(
                    f"document {given}: {len(document_ids)} token ids but a mask of {len(document_mask)}",
                    "give one mask value for each token",
                )
            if len(document_ids) > row_length:
                if overlong == "drop":
                    dropped += 1
                    continue
                document_ids, document_mask = document_ids[:row_length], document_mask[:row_length]
                cut += 1
            if not any(document_mask[1:]):
                untrained += 1
                continue
            ids.extend(document_ids)
            mask.extend(document_mask)
            bounds.append(len(ids))
        if len(bounds) == 1:
            if not given:
                raise TrainingError("no documents to train on", "check the stage that made the training set")
            raise TrainingError(
                f"none of {given} documents can be trained on: {dropped} are longer than row_length {row_length}, "
                f"{untrained} have no trained token",
                f"raise row_length above {row_length}, or cut with overlong='cut'"
                if dropped
                else "check the loss mask: it must mark the model's own tokens",
            )
        self._ids = torch.frombuffer(ids, dtype=torch.int32)
        self._mask = torch.frombuffer(mask, dtype=torch.bool)
        self._bounds = bounds
        self._lengths = [end - start for start, end in pairwise(bounds)]
        self._epoch, self._row = 0, 0
        self._rows = self._pack(0)
        tokens = len(ids)
        self.report = PackingReport(
            documents=len(self._lengths),
            tokens=tokens,
            trained_tokens=int(self._mask.sum()) - int(self._mask[bounds[:-1]].sum()),
            rows=len(self._rows),
            fill=tokens / (len(self._rows) * row_length),
            dropped=dropped,
            cut=cut,
            untrained=untrained,
        )

    def steps(self, epochs: float, accumulation: int = 1) -> int:
        """Steps that go through the data this often (later epochs may differ from the first by a few rows)."""
        return math.ceil(epochs * self.report.rows / (self.rows_per_batch * accumulation))

    def next(self) -> PackedBatch:
        rows = []
        for _ in range(self.rows_per_batch):
            if self._row == len(self._rows):
                self._epoch, self._row = self._epoch + 1, 0
                self._rows = self._pack(self._epoch)
            rows.append([self._document(index) for index in self._rows[self._row]])
            self._row += 1
        return make_batch(rows, self.row_length, self._pad_id)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "row": self._row, **self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises TrainingError, naming the field, when the state is of other data or another packing."""
        for key, value in self._identity.items():
            if state.get(key) != value:
                raise TrainingError(
                    f"the data position to resume at was saved with {key} = {state.get(key)!r}, now it is {value!r}",
                    "resume with the same data and packing, or start in another folder",
                )
        self._epoch, self._row = state["epoch"], state["row"]
        self._rows = self._pack(self._epoch)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        digest = hashlib.blake2b(digest_size=16)
        for part in (self._ids, self._mask, torch.tensor(self._bounds)):
            digest.update(part.numpy().tobytes())
        return {
            "documents": digest.hexdigest(),
            "row_length": self.row_length,
            "rows_per_batch": self.rows_per_batch,
            "packing": self._method,
            "seed": self.seed,
        }

    def _document(self, index: int) -> Document:
        part = slice(self._bounds[index], self._bounds[index + 1])
        return Document(self._ids[part], self._mask[part])  # pyright: ignore[reportArgumentType] - tensors serve as sequences

    def _pack(self, epoch: int) -> list[list[int]]:
        shuffle = random.Random(f"{self.seed}/{epoch}").shuffle
        order = list(range(len(self._lengths)))
        shuffle(order)
        if self._method == "first-fit-decreasing":
            order.sort(key=self._lengths.__getitem__, reverse=True)  # stable: equal lengths stay shuffled
        rows = first_fit(self._lengths, self.row_length, order)
        shuffle(rows)
        return rows

"""The Wikipedia of BERT as the reference prepares it: tfrecord/part-<i>-of-<n>, eval_10k, vocab.txt and the checkpoint
model.ckpt-28252 that the rules begin with.

Each record is a tf.train.Example of create_pretraining_data.py: two parts of a text with masked words. Shards are read
several at a time, in an order drawn anew for each pass, through a buffer from which the batches are drawn; 365 GB are
never held, nor counted.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from podium.bench.formats.protobuf import WireError
from podium.bench.formats.tfrecord import parse_example, read_records
from podium.bench.official_weights import load_official
from podium.bench.task import Data, Samples
from podium.errors import InputError
from podium.models.bert import Bert

IGNORED = -1
SHARD = re.compile(r"part-(\d+)-of-(\d+)")


@dataclass(frozen=True, slots=True)
class Wikipedia:
    """`train` rows are what the shards hold together; `together` shards are read at a time."""

    train: int
    evaluation: int
    length: int = 512
    buffer: int = 10_000
    together: int = 16
    checkpoint: str = "model.ckpt-28252"


@dataclass(frozen=True, slots=True)
class Row:
    """tokens, segments and real [T] (real: no padding), words [T] (what was masked, else -1), and whether the second
    part is a stray one that does not follow the first."""

    tokens: np.ndarray
    segments: np.ndarray
    real: np.ndarray
    words: np.ndarray
    stray: int


def open_wikipedia(folder: Path, model: nn.Module, wikipedia: Wikipedia, batch: int, seed: int) -> Data:
    """The dataset in `folder`; `model` gets the weights of the checkpoint.

    Raises:
        InputError: a shard, the evaluation set, the vocabulary or the checkpoint is missing, cut off or another one.
    """
    assert isinstance(model, Bert)
    _check_vocabulary(folder / "vocab.txt", model.config.vocab_size)
    shards = find_shards(folder / "tfrecord")
    load_official(model, "bert", folder / wikipedia.checkpoint)
    words = model.config.vocab_size
    held_out = list(read_rows(folder / "eval_10k", wikipedia.length, words))
    if len(held_out) != wikipedia.evaluation:
        raise InputError(
            f"{folder / 'eval_10k'}: {len(held_out)} records, the rules evaluate {wikipedia.evaluation}",
            "make it with the reference's pick_eval_samples.py",
        )

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Bert)
        right = asked = 0
        device = model.word.weight.device
        for start in range(0, len(held_out), batch):
            rows = together(held_out[start : start + batch])
            (tokens, segments, real), (wanted, _) = rows.to(device).inputs, rows.labels
            hidden = model.hidden(tokens, segments, real)
            at = wanted != IGNORED
            right += int((model.words(hidden[at.to(device)]).argmax(-1).cpu() == wanted[at]).sum())
            asked += int(at.sum())
        return {"masked_lm_accuracy": right / asked}

    return Data(ShuffledShards(shards, wikipedia, words, batch, seed), evaluate, wikipedia.train, len(held_out))


class ShuffledShards:
    """Batches of rows without end."""

    def __init__(self, shards: list[Path], wikipedia: Wikipedia, words: int, batch: int, seed: int) -> None:
        self.batch = batch
        self.rows = _drawn(shards, wikipedia, words, random.Random(seed))

    def next(self) -> Samples:
        return together([next(self.rows) for _ in range(self.batch)])

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError("a full-size run is timed and never resumed")


def _drawn(shards: list[Path], wikipedia: Wikipedia, words: int, draw: random.Random) -> Iterator[Row]:
    buffer: list[Row] = []
    while True:
        waiting = draw.sample(shards, len(shards))
        reading = [
            read_rows(waiting.pop(), wikipedia.length, words) for _ in range(min(wikipedia.together, len(waiting)))
        ]
        while reading:
            for rows in list(reading):
                row = next(rows, None)
                if row is None:
                    reading.remove(rows)
                    if waiting:
                        reading.append(read_rows(waiting.pop(), wikipedia.length, words))
                elif len(buffer) < wikipedia.buffer:
                    buffer.append(row)
                else:
                    place = draw.randrange(len(buffer))
                    buffer[place], row = row, buffer[place]
                    yield row
        if len(buffer) < wikipedia.buffer:  # all of it fits: the pass ends with what is left
            draw.shuffle(buffer)
            yield from buffer
            buffer.clear()


def find_shards(folder: Path) -> list[Path]:
    """Every part-<i>-of-<n> of `folder`.

    Raises:
        InputError: none, or not all n.
    """
    found = {
        int(match[1]): (int(match[2]), path) for path in folder.glob("part-*") if (match := SHARD.fullmatch(path.name))
    }
    if not found:
        raise InputError(f"{folder}: no part-00000-of-00500 in it", "make the shards with create_pretraining_data.py")
    number = max(count for count, _ in found.values())
    missing = [i for i in range(number) if i not in found]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {number} shards are missing, first part-{missing[0]:05d}-of-{number:05d}",
            "make them with create_pretraining_data.py",
        )
    return [found[i][1] for i in range(number)]


def read_rows(path: Path, length: int, words: int) -> Iterator[Row]:
    """The rows of a file of records.

    Raises:
        InputError: missing, cut off, or a record that is no row of `length` tokens out of `words`.
    """
    for number, record in enumerate(read_records(path), start=1):
        try:
            yield _row(record, length, words)
        except (WireError, KeyError, ValueError, IndexError, TypeError) as error:
            raise InputError(
                f"{path}: record {number} is no row of BERT's pre-training ({error!r})",
                f"make it with create_pretraining_data.py, max_seq_length {length}",
            ) from None


def _row(record: bytes, length: int, words: int) -> Row:
    example = parse_example(record)
    tokens, real, segments, places, ids, weights, (stray,) = (
        np.asarray(example[name])
        for name in (
            "input_ids",
            "input_mask",
            "segment_ids",
            "masked_lm_positions",
            "masked_lm_ids",
            "masked_lm_weights",
            "next_sentence_labels",
        )
    )
    if not len(tokens) == len(real) == len(segments) == length:
        raise ValueError(f"{len(tokens)} tokens instead of {length}")
    if min(tokens.min(), ids.min()) < 0 or max(tokens.max(), ids.max()) >= words or not 0 <= segments.max() <= 1:
        raise ValueError(f"token ids {tokens.min()} to {tokens.max()}, the vocabulary has {words}")
    chosen = weights > 0
    wanted = np.full(length, IGNORED, dtype=np.int64)
    wanted[places[chosen]] = ids[chosen]
    return Row(tokens, segments, real > 0, wanted, int(stray))


def together(rows: list[Row]) -> Samples:
    """Inputs: tokens, segments, real; labels: words, stray."""
    stack = lambda name: torch.from_numpy(np.stack([getattr(row, name) for row in rows]))  # noqa: E731
    stray = torch.tensor([row.stray for row in rows])
    return Samples((stack("tokens"), stack("segments"), stack("real")), (stack("words"), stray), "sequences")


def _check_vocabulary(path: Path, size: int) -> None:
    if not path.is_file():
        raise InputError(f"{path}: missing", "download the reference's vocab.txt")
    pieces = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(pieces) != size or "[MASK]" not in pieces:
        raise InputError(f"{path}: {len(pieces)} words, the model has {size}", "it must be the reference's vocab.txt")

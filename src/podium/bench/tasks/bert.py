"""Natural language: BERT pre-training, accuracy on masked words.

smoke and small learn the language of the Python standard library: its source files, cut into byte-level BPE tokens,
one file in twenty held out. full reads the Wikipedia of the rules. Rows are [CLS] first [SEP] second [SEP]; half of
the second parts do not follow the first. 15 % of the tokens are to be guessed: 80 % of them masked, 10 % replaced,
10 % left as they are. Evaluation rows and their masks are fixed when the data are prepared.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.bench.registry import benchmark_task
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Preset, Samples, Size, Task, at_least
from podium.bench.wikipedia import IGNORED, Wikipedia, open_wikipedia
from podium.models.bert import BERT_LARGE, Bert, BertConfig
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig

SPECIALS = 3  # CLS, SEP and MASK, behind the vocabulary of the tokenizer


@dataclass(frozen=True, slots=True)
class LibraryText:
    """`characters` of the standard library, in rows of `length` tokens."""

    vocabulary: int
    length: int
    characters: int
    evaluation: int


class MaskedWords:
    """Cross-entropy of the masked words, plus that of "does the second part follow" per row."""

    def __call__(self, model: Bert, batch: Samples) -> Loss:
        (tokens, segments, *real), (words, follows) = batch.inputs, batch.labels
        hidden = model.hidden(tokens, segments, *real)
        chosen = words != IGNORED
        cross = F.cross_entropy(model.words(hidden[chosen]).float(), words[chosen])
        next_part = F.cross_entropy(model.follows(hidden).float(), follows)
        return Loss((cross + next_part) * batch.count, batch.count)

    def flops(self, model: Bert, batch: Samples) -> float:
        return 0.0


@benchmark_task
class BertTask(Task):
    key = "bert"
    area = "natural language processing"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=BertConfig(
                vocab_size=320 + SPECIALS, width=64, layers=2, heads=4, feed_forward=256, positions=24, dropout=0.0
            ),
            data=LibraryText(vocabulary=320, length=24, characters=3_000_000, evaluation=1000),
            batch=96,
            train=TrainConfig(
                steps=1500,
                optimizer=OptimizerConfig(name="adamw", lr=5e-3, weight_decay=0.01, betas=(0.9, 0.98)),
                schedule=ScheduleConfig(name="linear", warmup=50),
                clip=1.0,
                guard_sigmas=0,
                evaluate_every=50,
            ),
            target=at_least("masked_lm_accuracy", 0.30),
            dataset="source text of the Python standard library",
            epoch="samples",
        ),
        "small": Preset(
            network=BertConfig(
                vocab_size=8192 + SPECIALS, width=512, layers=8, heads=8, feed_forward=2048, positions=128, dropout=0.1
            ),
            data=LibraryText(vocabulary=8192, length=128, characters=20_000_000, evaluation=1000),
            batch=256,
            train=TrainConfig(
                steps=20_000,
                optimizer=OptimizerConfig(name="lamb", lr=4e-3, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-6),
                schedule=ScheduleConfig(name="linear", warmup=1000),
                clip=1.0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=500,
            ),
            target=at_least("masked_lm_accuracy", 0.50),
            dataset="source text of the Python standard library",
            epoch="samples",
        ),
        # Batch 448 of the reference convergence points of the round.
        "full": Preset(
            network=BERT_LARGE,
            data=Wikipedia(train=156_725_653, evaluation=10_000),
            batch=8,
            train=TrainConfig(
                steps=8103,
                accumulation=56,
                optimizer=OptimizerConfig(name="lamb", lr=4e-4, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-6),
                schedule=ScheduleConfig(name="linear"),
                clip=1.0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=334,  # at most 150,000 samples
            ),
            target=at_least("masked_lm_accuracy", 0.72),
            dataset="Wikipedia 2020-01-01 as the reference prepares it",
            epoch="samples",
            settings={
                "opt_epsilon": 1e-6,
                "opt_learning_rate_training_steps": 8103,
                "num_warmup_steps": 0,
                "start_warmup_step": 0,
                "opt_lamb_beta_1": 0.9,
                "opt_lamb_beta_2": 0.999,
                "opt_lamb_weight_decay_rate": 0.01,
                "opt_lamb_learning_rate_decay_poly_power": 1.0,
            },
            official=True,
            samples=(156_725_653, 10_000),
            published={
                "vocab.txt": "64800d5d8528ce344256daf115d4965e",
                "model.ckpt-28252.index": "f97de3ae180eb8d479555c939d50d048",
                "model.ckpt-28252.data-00000-of-00001": "50797acd537880bfb5a7ade80d976129",
            },
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        from podium.text.training import train_tokenizer

        text: LibraryText = preset.data
        train, held_out = library_text(text.characters)
        tokenizer = train_tokenizer(train[::3], text.vocabulary)
        body = (text.length - 3) // 2
        for name, pieces in (("train", train), ("evaluation", held_out)):
            rows, starts = [], []
            for piece in pieces:
                ids = tokenizer.encode(piece)
                whole = len(ids) // body * body
                starts.append(len(rows))
                rows += [ids[start : start + body] for start in range(0, whole, body)]
            np.savez(
                folder / f"{name}.npz", rows=np.array(rows, dtype=np.uint16), starts=np.array(starts, dtype=np.int64)
            )

    def build(self, preset: Preset, seed: int) -> Bert:
        # Narrow networks need larger weights than the published 0.02 to leave the plateau of word frequencies.
        return Bert(preset.network).initialise(seed, std=0.02 if preset.network.width >= 256 else 0.1)

    def objective(self, preset: Preset) -> MaskedWords:
        return MaskedWords()

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        if preset.official:
            return open_wikipedia(folder, model, preset.data, preset.batch, seed)
        text: LibraryText = preset.data
        train, held_out = _Parts(folder / "train.npz", text), _Parts(folder / "evaluation.npz", text)
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(held_out), generator=generator)[: text.evaluation]
        fixed = held_out.batch(chosen, generator)

        def evaluate(model: nn.Module) -> dict[str, float]:
            assert isinstance(model, Bert)
            right = asked = 0
            device = model.word.weight.device
            for tokens, segments, words in zip(
                *(tensor.split(100) for tensor in (*fixed.inputs, fixed.labels[0])), strict=True
            ):
                hidden = model.hidden(tokens.to(device), segments.to(device)).cpu()
                at = words != IGNORED
                right += int((model.words(hidden[at].to(device)).argmax(-1).cpu() == words[at]).sum())
                asked += int(at.sum())
            return {"masked_lm_accuracy": right / asked}

        return Data(Shuffled(len(train), preset.batch, seed, train.batch), evaluate, len(train), len(chosen))


class _Parts:
    """Equal parts of tokens, in the order of the text; a row is made of one part and another one."""

    def __init__(self, path: Path, text: LibraryText) -> None:
        with np.load(path) as stored:
            self.rows = torch.from_numpy(stored["rows"].astype(np.int64))
            starts = torch.from_numpy(stored["starts"])
        self.vocabulary = text.vocabulary
        # A part whose successor is the first of another file has none.
        followed = torch.ones(len(self.rows), dtype=torch.bool)
        followed[(starts[1:] - 1).clamp(min=0)] = False
        followed[-1] = False
        self.firsts = followed.nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.firsts)

    def batch(self, chosen: Tensor, generator: torch.Generator) -> Samples:
        first = self.firsts[chosen]
        stray = torch.rand(len(chosen), generator=generator) < 0.5
        second = torch.where(stray, torch.randint(len(self.rows), (len(chosen),), generator=generator), first + 1)
        separator = torch.full((len(chosen), 1), self.vocabulary + 1)
        start = torch.full((len(chosen), 1), self.vocabulary)
        tokens = torch.cat([start, self.rows[first], separator, self.rows[second], separator], dim=1)
        segments = torch.zeros_like(tokens)
        segments[:, self.rows.shape[1] + 2 :] = 1
        asked = (torch.rand(tokens.shape, generator=generator) < 0.15) & (tokens < self.vocabulary)
        words = torch.where(asked, tokens, IGNORED)
        fate = torch.rand(tokens.shape, generator=generator)
        any_token = torch.randint(self.vocabulary, tokens.shape, generator=generator)
        shown = torch.where(fate < 0.8, self.vocabulary + 2, torch.where(fate < 0.9, any_token, tokens))
        return Samples((torch.where(asked, shown, tokens), segments), (words, stray.long()), "sequences")


def library_text(characters: int) -> tuple[list[str], list[str]]:
    """About `characters` of the standard library's modules in the order of their names, and one in twenty held out."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    train: list[str] = []
    held_out: list[str] = []
    seen = 0
    for number, path in enumerate(sorted(folder.glob("*.py"))):
        text = path.read_text(encoding="utf-8", errors="replace")
        (held_out if number % 20 == 19 else train).append(text)
        seen += len(text)
        if seen >= characters:
            break
    return train, held_out

"""Reinforcement learning: Go learnt by self-play, share of games won against a fixed opponent.

The batch source plays the network against itself with tree search, and trains on what search made of the positions
and on who won. full is v1.1's: 19 x 19, from the reference's checkpoint and its games, against the reference's target
network. smoke and small need no files: small boards, from nothing, against podium.bench.go.opponent's beginner, whom an
untrained network with the same search hardly ever beats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.bench.go.games import Experience, Rules, match, self_play, win_rate
from podium.bench.go.official import BLACK_TO_MOVE, load_start, load_target, read_generations
from podium.bench.go.search import network
from podium.bench.registry import benchmark_task
from podium.bench.task import Data, Preset, Samples, Size, Task, at_least
from podium.models.minigo import DualConfig, DualNet
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig


@dataclass(frozen=True, slots=True)
class Play:
    """`games` are played anew after every `steps` training steps, at most `at_once` of them together; the newest `keep`
    generations are trained on, and of the checkpoint's a `share` of the positions."""

    rules: Rules
    games: int
    steps: int
    keep: int
    judged: int  # games per evaluation
    value_weight: float = 1.0
    at_once: int = 256
    share: float = 1.0


class PolicyAndValue:
    """Cross-entropy with the shares of visits plus squared error of the value."""

    def __init__(self, value_weight: float) -> None:
        self.value_weight = value_weight

    def __call__(self, model: Any, batch: Samples) -> Loss:
        (planes,), (policy, value) = batch.inputs, batch.labels
        logits, guess = model(planes)
        moves = F.cross_entropy(logits.float(), policy, reduction="sum")
        return Loss(moves + self.value_weight * F.mse_loss(guess.float(), value, reduction="sum"), batch.count)

    def flops(self, model: Any, batch: Samples) -> float:
        return 0.0


class SelfPlay:
    """Batches of positions from self-play of `model` as it is when a generation begins."""

    def __init__(self, play: Play, model: DualNet, batch: int, seed: int, before: Sequence[Experience] = ()) -> None:
        self.play, self.model, self.batch = play, model, batch
        self.draw = np.random.default_rng(seed)
        self.pool: list[Experience] = list(before)
        self.taken = 0

    def next(self) -> Samples:
        play = self.play
        if self.taken % play.steps == 0:
            self.pool = [*self.pool, self.generation()][-play.keep :]
        self.taken += 1
        sizes = np.array([len(experience.value) for experience in self.pool])
        which = self.draw.choice(int(sizes.sum()), size=self.batch)
        generation = np.searchsorted(sizes.cumsum(), which, side="right")
        inside = which - (sizes.cumsum() - sizes)[generation]
        places = list(zip(generation, inside, strict=True))
        planes = torch.from_numpy(np.stack([self.pool[g].planes[i] for g, i in places])).float()
        policy = torch.from_numpy(np.stack([self.pool[g].policy[i] for g, i in places]))
        value = torch.from_numpy(np.array([self.pool[g].value[i] for g, i in places]))
        if self.model.config.value_for_black:
            value = value * (planes[:, BLACK_TO_MOVE, 0, 0] * 2 - 1)
        planes, policy = turned(planes, policy, int(self.draw.integers(8)))
        return Samples((planes,), (policy, value), "positions")

    def generation(self) -> Experience:
        play, left = self.play, self.play.games
        parts = []
        while left:
            number = min(left, play.at_once)
            parts.append(self_play(play.rules, network(self.model), number, self.draw))
            left -= number
        return Experience(
            np.concatenate([part.planes for part in parts]),
            np.concatenate([part.policy for part in parts]),
            np.concatenate([part.value for part in parts]),
        )

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError("a run of minigo is timed and never resumed")


def turned(planes: Tensor, policy: Tensor, symmetry: int) -> tuple[Tensor, Tensor]:
    """One of the eight symmetries of the board, of planes [B, P, S, S] and policy [B, S² + 1] alike."""
    size = planes.shape[-1]
    board = policy[:, :-1].reshape(-1, size, size)
    if symmetry >= 4:
        planes, board = planes.flip(-1), board.flip(-1)
    planes, board = planes.rot90(symmetry % 4, (-2, -1)), board.rot90(symmetry % 4, (-2, -1))
    return planes.contiguous(), torch.cat([board.reshape(len(board), -1), policy[:, -1:]], dim=1)


@benchmark_task
class MinigoTask(Task):
    key = "minigo"
    area = "reinforcement learning"
    control = "frozen weights"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=DualConfig(size=5, width=24, blocks=2, hidden=32),
            data=Play(Rules(size=5, komi=0.5, rounds=20, longest=50, opening=6), games=64, steps=80, keep=4, judged=40),
            batch=128,
            train=TrainConfig(
                steps=80 * 12,
                optimizer=OptimizerConfig(name="sgd", lr=0.02, momentum=0.9, weight_decay=1e-4),
                schedule=ScheduleConfig(name="constant"),
                clip=0,
                guard_sigmas=0,
                evaluate_every=80,
            ),
            target=at_least("win_rate", 0.5),
            dataset="self-play on 5 x 5",
        ),
        "small": Preset(
            network=DualConfig(size=7, width=64, blocks=5, hidden=64),
            data=Play(
                Rules(size=7, komi=4.5, rounds=64, longest=98, opening=10), games=128, steps=100, keep=8, judged=100
            ),
            batch=512,
            train=TrainConfig(
                steps=100 * 40,
                optimizer=OptimizerConfig(name="sgd", lr=0.02, momentum=0.9, weight_decay=1e-4),
                schedule=ScheduleConfig(name="constant"),
                clip=0,
                guard_sigmas=0,
                evaluate_every=100,
            ),
            target=at_least("win_rate", 0.8),
            dataset="self-play on 7 x 7",
        ),
        # The reference trains once on three tenths of the positions of five generations: here a fixed number of steps.
        "full": Preset(
            network=DualConfig(size=19, width=64, blocks=6, hidden=64, head_scales=False, value_for_black=True),
            data=Play(
                Rules(size=19, komi=7.5, rounds=100, longest=722, opening=30),
                games=8192,
                steps=600,
                keep=5,
                judged=100,
                value_weight=0.5,
                share=0.3,
            ),
            batch=4096,
            train=TrainConfig(
                steps=600 * 100,
                optimizer=OptimizerConfig(name="sgd", lr=0.16, momentum=0.9, weight_decay=1e-4),
                schedule=ScheduleConfig(name="step", boundaries=(25_000, 37_500), gamma=0.1),
                clip=0,
                guard_sigmas=0,
                evaluate_every=600,
            ),
            target=at_least("win_rate", 0.5),
            dataset="self-play on 19 x 19 from the reference's checkpoint",
            settings={
                "train_batch_size": 4096,
                "lr_boundaries": [25_000, 37_500],
                "lr_rates": [0.16, 0.016, 0.0016],
                "min_selfplay_games_per_generation": 8192,
                "actual_selfplay_games_per_generation": 8192,
            },
            official=True,
            samples=(600 * 4096, 100),
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        (folder / "rules.txt").write_text(f"{preset.data}\n")

    def build(self, preset: Preset, seed: int) -> DualNet:
        return DualNet(preset.network).initialise(seed)

    def objective(self, preset: Preset) -> PolicyAndValue:
        return PolicyAndValue(preset.data.value_weight)

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        play: Play = preset.data
        assert isinstance(model, DualNet)
        if preset.official:
            return _open_official(preset, folder, model, seed)
        source = SelfPlay(play, model, preset.batch, seed)

        def evaluate(model: nn.Module) -> dict[str, float]:
            return {"win_rate": win_rate(play.rules, network(model), play.judged, seed)}

        # An epoch is a generation of games.
        return Data(source, evaluate, play.steps * preset.batch, play.judged)


def _open_official(preset: Preset, folder: Path, model: DualNet, seed: int) -> Data:
    play: Play = preset.data
    load_start(model, folder)
    target = load_target(folder, preset.network).to(next(model.parameters()).device)
    before = read_generations(folder, play.rules.size, play.keep, play.share, np.random.default_rng(seed))

    def evaluate(model: nn.Module) -> dict[str, float]:
        draw = np.random.default_rng(seed)
        return {"win_rate": match(play.rules, network(model), network(target), play.judged, draw)}

    return Data(SelfPlay(play, model, preset.batch, seed, before), evaluate, play.steps * preset.batch, play.judged)

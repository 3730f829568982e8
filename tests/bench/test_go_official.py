"""The reference's checkpoint, games and target of Mini Go, on a small board in the same formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorflow_files import example, write_checkpoint, write_records

from podium.bench.go.board import BLACK, Position
from podium.bench.go.games import Rules, match
from podium.bench.go.official import CHECKPOINT, load_start, load_target, read_generations
from podium.bench.go.search import network, planes
from podium.bench.registry import find_task
from podium.bench.run import Entrant, prepared, run_once
from podium.bench.tasks.minigo import MinigoTask, Play, SelfPlay
from podium.errors import InputError
from podium.models.minigo import DualConfig, DualNet

MINIGO_TASK = find_task("minigo")
SIZE = 5
GAMES = CHECKPOINT / "data" / "selfplay"
CONFIG = DualConfig(size=SIZE, width=4, blocks=1, hidden=6, head_scales=False, value_for_black=True)
# The variables of the reference's graph with one block, in the order it makes them, and ours.
CONVOLUTIONS = ("input", "blocks.0.conv1", "blocks.0.conv2", "policy_conv", "value_conv")
NORMS = ("norm", "blocks.0.bn1", "blocks.0.bn2", "policy_norm", "value_norm")
LAYERS = ("policy", "value_hidden", "value")


def counted(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def variables(net: DualNet) -> dict[str, np.ndarray]:
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    made: dict[str, np.ndarray] = {"global_step": np.array([7.0])}
    for number, name in enumerate(CONVOLUTIONS):
        made[f"{counted('conv2d', number)}/kernel"] = state[f"{name}.weight"].transpose(2, 3, 1, 0)
    for number, name in enumerate(NORMS):
        stem = counted("batch_normalization", number)
        made[f"{stem}/moving_mean"], made[f"{stem}/moving_variance"] = (
            state[f"{name}.running_mean"],
            state[f"{name}.running_var"],
        )
        if number < 3:
            made[f"{stem}/gamma"], made[f"{stem}/beta"] = state[f"{name}.weight"], state[f"{name}.bias"]
    for number, name in enumerate(LAYERS):
        made[f"{counted('dense', number)}/kernel"] = state[f"{name}.weight"].T
        made[f"{counted('dense', number)}/bias"] = state[f"{name}.bias"]
    return made


def some_net(seed: int) -> DualNet:
    """Weights and statistics that all differ from those of a fresh network."""
    torch.manual_seed(seed)
    net = DualNet(CONFIG).initialise(seed)
    for name, values in net.state_dict().items():
        if "running" in name or "norm" in name or "bn" in name or name.endswith("bias"):
            values.copy_(torch.rand(values.shape) + 0.5)
    return net.eval()


def positions(number: int, seed: int) -> list[Position]:
    draw = np.random.default_rng(seed)
    found, position = [], Position(SIZE, 0.5)
    while len(found) < number:
        found.append(position)
        position = position.play(int(draw.choice(position.legal())))
        position = Position(SIZE, 0.5) if position.over else position
    return found


def record(position: Position, black_won: bool) -> bytes:
    policy = np.zeros(SIZE**2 + 1, np.float32)
    policy[position.legal()] = 1 / len(position.legal())
    outcome = 1.0 if black_won else -1.0
    return example(
        x=planes(position).astype(np.uint8).tobytes(), pi=policy.astype("<f4").tobytes(), outcome=np.array([outcome])
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / CHECKPOINT / "work_dir" / "model.ckpt-9", variables(some_net(1)))
    write_checkpoint(tmp_path / CHECKPOINT / "work_dir" / "model.ckpt-10", variables(some_net(2)))
    write_checkpoint(tmp_path / "target" / "target", variables(some_net(3)))
    for generation in range(3):
        root = tmp_path / CHECKPOINT / "data" / "selfplay" / f"00000{generation}" / "0"
        shown = positions(12, generation)
        for game in range(2):
            write_records(root / f"{game}.tfrecord.zz", [record(p, game == 0) for p in shown[6 * game : 6 * game + 6]])
    return tmp_path


def test_networks_of_the_reference_answer_as_they_did(folder: Path):
    shown = torch.from_numpy(np.stack([planes(position) for position in positions(6, 8)])).float()
    model = DualNet(CONFIG).eval()
    load_start(model, folder)  # the newest of the two
    with torch.no_grad():
        for ours, theirs in ((model, some_net(2)), (load_target(folder, CONFIG), some_net(3))):
            for a, b in zip(ours(shown), theirs(shown), strict=True):
                assert torch.allclose(a, b, atol=1e-6)


def test_the_value_of_the_reference_is_that_of_black():
    net, shown = some_net(4), positions(8, 1)
    logits, values = network(net)(shown)
    with torch.no_grad():
        raw, for_black = net(torch.from_numpy(np.stack([planes(position) for position in shown])).float())
    signs = [1.0 if position.turn == BLACK else -1.0 for position in shown]
    assert set(signs) == {1.0, -1.0}
    assert np.allclose(logits, raw.numpy())
    assert np.allclose(values, for_black.numpy() * np.array(signs))


def test_games_of_the_checkpoint_are_read_oldest_first(folder: Path):
    draw = np.random.default_rng(0)
    found = read_generations(folder, SIZE, most=2, share=1.0, draw=draw)
    assert [len(experience.value) for experience in found] == [12, 12]
    for experience, generation in zip(found, (1, 2), strict=True):
        for index, position in enumerate(positions(12, generation)):
            assert np.array_equal(experience.planes[index], planes(position))
            black_won = index < 6
            assert experience.value[index] == (1.0 if black_won == (position.turn == BLACK) else -1.0)
            assert experience.policy[index].sum() == pytest.approx(1.0)
    fewer = read_generations(folder, SIZE, most=3, share=0.4, draw=draw)
    assert 5 <= sum(len(experience.value) for experience in fewer) <= 26


def test_training_sees_the_value_as_the_network_means_it(folder: Path):
    play = Play(
        Rules(size=SIZE, komi=0.5, rounds=2, longest=6, opening=2), games=5, steps=4, keep=9, judged=2, at_once=2
    )
    before = read_generations(folder, SIZE, most=3, share=1.0, draw=np.random.default_rng(0))
    source = SelfPlay(play, some_net(2), 200, seed=1, before=before)
    batch = source.next()
    assert len(source.pool) == 4  # three that were and one of its own
    assert len(source.pool[-1].value) > 5 * 4
    (shown,), (policy, value) = batch.inputs, batch.labels
    assert policy.shape == (200, SIZE**2 + 1)
    # Both colours are to move in games that Black won and in those that White won.
    kinds = {(bool(one[8, 0, 0]), float(v)) for one, v in zip(shown, value, strict=True)}
    assert kinds == {(True, 1.0), (True, -1.0), (False, 1.0), (False, -1.0)}
    alone = SelfPlay(play, some_net(2), 50, seed=1, before=before[:1])
    alone.taken = 1  # no games of its own
    (shown,), (_, value) = (drawn := alone.next()).inputs, drawn.labels
    black_won = {tuple(planes(position).ravel()): index < 6 for index, position in enumerate(positions(12, 0))}
    assert len(black_won) == 12
    found = 0
    for one, result in zip(shown, value, strict=True):
        for turn in range(8):
            side = one.flip(-1) if turn >= 4 else one
            key = tuple(int(v) for v in torch.rot90(side, turn % 4, (-2, -1)).ravel())
            if key in black_won:
                assert (float(result) > 0) == black_won[key]
                found += 1
                break
    assert found == 50


def judge(sign: float) -> Any:
    """Counts stones: a player who knows, or with -1 one who is wrong about everything."""

    def ask(shown: Sequence[Position]) -> tuple[np.ndarray, np.ndarray]:
        values = [position.score() * (1 if position.turn == BLACK else -1) for position in shown]
        return np.zeros((len(shown), SIZE**2 + 1)), sign * np.tanh(np.array(values) / 5)

    return ask


def test_the_better_player_wins_the_match():
    rules = Rules(size=SIZE, komi=0.5, rounds=24, longest=40, opening=2)
    assert match(rules, judge(1.0), judge(-1.0), 10, np.random.default_rng(0)) >= 0.9
    assert match(rules, judge(-1.0), judge(1.0), 10, np.random.default_rng(0)) <= 0.1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "target" / "target.index").unlink(), "target: no checkpoint"),
        (
            lambda f: write_checkpoint(f / "target" / "target", {"conv2d/kernel": np.ones((3, 3, 13, 9))}),
            r"conv2d/kernel has the shape \(9, 13, 3, 3\), the model's is \(4, 13, 3, 3\)",
        ),
        (lambda f: [p.unlink() for p in (f / CHECKPOINT / "work_dir").iterdir()], "work_dir: no checkpoint"),
        (
            lambda f: write_records(f / GAMES / "000002/0/1.tfrecord.zz", [example(x=b"1")]),
            "record 1",
        ),
        (lambda f: (f / GAMES / "000002/0/1.tfrecord.zz").write_bytes(b"x\x9c12"), "cannot be read"),
        (lambda f: [p.unlink() for p in (f / GAMES / "000001/0").iterdir()], "000001: no games"),
        (lambda f: (f / GAMES).rename(f / "other"), "no generations"),
    ],
)
def test_other_files_are_refused(folder: Path, damage: Any, said: str):
    damage(folder)
    with pytest.raises(InputError, match=said):
        Tiny().open(Tiny.presets["full"], folder, DualNet(CONFIG), 0)


class Tiny(MinigoTask):
    presets = {  # noqa: RUF012
        "full": replace(
            MINIGO_TASK.presets["full"],
            network=CONFIG,
            data=Play(
                Rules(size=SIZE, komi=0.5, rounds=2, longest=8, opening=2),
                games=4,
                steps=2,
                keep=3,
                judged=4,
                share=0.9,
                at_once=3,
            ),
            batch=8,
            samples=(16, 4),
            train=MINIGO_TASK.presets["full"].train.model_copy(update={"steps": 2, "evaluate_every": 1}),
        )
    }


def test_a_run_from_the_files_to_the_log(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    log = tmp_path_factory.mktemp("log") / "result_0.txt"
    task = Tiny()
    entrant = Entrant(division="open", org="o", platform="p")
    data = prepared(task, "full", folder)
    outcome = run_once(task, "full", log, seed=1, data=data, entrant=entrant, progress=False)
    assert outcome.steps in (1, 2), outcome.why
    assert 0.0 <= outcome.quality["win_rate"] <= 1.0

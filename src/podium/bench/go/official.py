"""Go as MLPerf's reference begins it: the network and the games of its checkpoint, and the network to be beaten.

The folder holds what checkpoint.tar.gz unpacks to, and the files target.* in a folder of their own:

    checkpoints/mlperf07/work_dir/model.ckpt-<step>.index …      the network that training begins with
    checkpoints/mlperf07/data/selfplay/<generation>/**/*.tfrecord.zz   games of the generations before
    target/target.index …                                        the network that is played against

A record is a position, a tf.train.Example: x, 13 planes of bytes; pi, what search made of the position (float32);
outcome, 1 where Black won. Of the positions a share is kept (train_filter of the reference).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from podium.bench.formats.protobuf import WireError
from podium.bench.formats.tfrecord import parse_example, read_records
from podium.bench.go.games import Experience
from podium.bench.go.search import PLANES
from podium.bench.official_weights import find_checkpoint, load_official
from podium.errors import InputError
from podium.models.minigo import DualConfig, DualNet

CHECKPOINT = Path("checkpoints") / "mlperf07"
BLACK_TO_MOVE = 8  # the plane that says so


def load_target(folder: Path, config: DualConfig) -> DualNet:
    """The network to be beaten, in eval mode.

    Raises:
        InputError: missing, cut off, or of another shape.
    """
    target = DualNet(config)
    load_official(target, "minigo", find_checkpoint(folder / "target"))
    return target.eval()


def load_start(model: DualNet, folder: Path) -> None:
    """Give `model` the weights of the checkpoint. Raises InputError as `load_target` does."""
    load_official(model, "minigo", find_checkpoint(folder / CHECKPOINT / "work_dir"))


def read_generations(folder: Path, size: int, most: int, share: float, draw: np.random.Generator) -> list[Experience]:
    """The positions of the `most` newest generations, oldest first; of each a `share` is kept.

    Raises:
        InputError: there are none, or a record is no position of a board of `size`.
    """
    root = folder / CHECKPOINT / "data" / "selfplay"
    generations = sorted(path for path in root.glob("*") if path.is_dir())[-most:]
    if not generations:
        raise InputError(f"{root}: no generations of games", "unpack the reference's checkpoint.tar.gz")
    return [_generation(path, size, share, draw) for path in generations]


def _generation(folder: Path, size: int, share: float, draw: np.random.Generator) -> Experience:
    planes, policies, values = [], [], []
    for path in sorted(folder.rglob("*.tfrecord.zz")):
        for number, record in enumerate(read_records(path), start=1):
            if draw.random() >= share:
                continue
            try:
                shown, policy, value = _position(record, size)
            except (WireError, KeyError, ValueError, IndexError, TypeError) as error:
                raise InputError(
                    f"{path}: record {number} is no position on {size} x {size} ({error!r})",
                    "unpack the reference's checkpoint.tar.gz again",
                ) from None
            planes.append(shown)
            policies.append(policy)
            values.append(value)
    if not planes:
        raise InputError(f"{folder}: no games (*.tfrecord.zz)", "unpack the reference's checkpoint.tar.gz again")
    return Experience(np.stack(planes), np.stack(policies), np.array(values, dtype=np.float32))


def _position(record: bytes, size: int) -> tuple[np.ndarray, np.ndarray, float]:
    example = parse_example(record)
    (x,), (pi,), (outcome,) = example["x"], example["pi"], example["outcome"]
    assert isinstance(x, bytes)
    assert isinstance(pi, bytes)
    planes = np.frombuffer(x, np.uint8).reshape(PLANES, size, size)
    policy = np.frombuffer(pi, "<f4").reshape(size * size + 1)
    if abs(float(outcome)) > 1 or planes.max() > 1:
        raise ValueError(f"outcome {float(outcome):g}, planes up to {planes.max()}")
    return planes, policy, float(outcome) if planes[BLACK_TO_MOVE, 0, 0] else -float(outcome)

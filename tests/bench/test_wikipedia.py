"""The reference's Wikipedia and checkpoint of BERT, on small files in the same formats."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorflow_files import example, write_checkpoint, write_records

from podium.bench.registry import find_task
from podium.bench.run import Entrant, prepared, run_once
from podium.bench.tasks.bert import BertTask
from podium.bench.wikipedia import IGNORED, Wikipedia, find_shards, open_wikipedia
from podium.errors import InputError
from podium.models.bert import Bert, BertConfig

BERT_TASK = find_task("bert")
TINY = BertConfig(vocab_size=40, width=8, layers=2, heads=2, feed_forward=16, positions=16, dropout=0.0)
WIKIPEDIA = Wikipedia(train=30, evaluation=7, length=16, buffer=10, together=2)
ROWS = 30


def made_row(index: int) -> dict[str, Any]:
    """Row `index` says its number in the first two tokens; two words are masked, the third place is padding."""
    draw = np.random.default_rng(index)
    real = int(draw.integers(8, 17))
    tokens = np.where(np.arange(16) < real, draw.integers(4, 40, 16), 0)
    tokens[:2] = divmod(index, 40)
    places = draw.choice(np.arange(2, real), 2, replace=False)
    return {
        "input_ids": tokens,
        "input_mask": (np.arange(16) < real).astype(int),
        "segment_ids": ((np.arange(16) >= 5) & (np.arange(16) < real)).astype(int),
        "masked_lm_positions": [*places, 0],
        "masked_lm_ids": [*draw.integers(4, 40, 2), 0],
        "masked_lm_weights": np.array([1.0, 1.0, 0.0]),
        "next_sentence_labels": [index % 2],
    }


def tensorflow_names(model: Any) -> dict[str, np.ndarray]:
    """What transformers' BertForPreTraining holds under the names of the original code: its own rule of conversion."""
    turned = ("dense.weight", "attention.self.query", "attention.self.key", "attention.self.value")
    renamed = (
        ("layer.", "layer_"),
        ("word_embeddings.weight", "word_embeddings"),
        ("position_embeddings.weight", "position_embeddings"),
        ("token_type_embeddings.weight", "token_type_embeddings"),
        ("cls.predictions.bias", "cls.predictions.output_bias"),
        ("seq_relationship.weight", "seq_relationship.output_weights"),
        ("seq_relationship.bias", "seq_relationship.output_bias"),
        (".", "/"),
        ("LayerNorm/weight", "LayerNorm/gamma"),
        ("LayerNorm/bias", "LayerNorm/beta"),
        ("weight", "kernel"),
    )
    made = {}
    for name, parameter in model.state_dict().items():
        values = parameter.numpy()
        if any(part in name for part in turned) and name.endswith("weight"):
            values = values.T
        for old, new in renamed:
            # output_weights of the second head has no kernel.
            name = (
                name
                if (old, new) == ("weight", "kernel") and name.endswith("output_weights")
                else name.replace(old, new)
            )
        made[name] = values
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [example(**made_row(index)) for index in range(ROWS + 7)]
    for shard in range(3):
        write_records(tmp_path / "tfrecord" / f"part-{shard:05d}-of-00003", rows[shard:ROWS:3])
    write_records(tmp_path / "eval_10k", rows[ROWS:])
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[MASK]", *(f"w{i}" for i in range(38))]) + "\n")
    reference = Bert(TINY).initialise(5)
    write_checkpoint(tmp_path / WIKIPEDIA.checkpoint, own_names(reference))
    return tmp_path


def own_names(model: Bert) -> dict[str, np.ndarray]:
    from podium.bench.tensor_names import official_names

    parameters = dict(model.named_parameters())
    made: dict[str, np.ndarray] = {}
    for name, official in official_names("bert", parameters).items():
        for values, one in zip(parameters[name].detach().numpy().reshape(len(official), -1), official, strict=True):
            shape = (parameters[name].shape[0] // len(official), *parameters[name].shape[1:])
            made[one] = values.reshape(shape).T if one.endswith("kernel") else values.reshape(shape)
    return made


def opened(folder: Path, **changes: Any) -> Any:
    model = Bert(TINY).initialise(0)
    return model, open_wikipedia(folder, model, replace(WIKIPEDIA, **changes), 4, seed=1)


def number_of(tokens: torch.Tensor) -> list[int]:
    return (tokens[:, 0] * 40 + tokens[:, 1]).tolist()


def test_weights_of_the_original_code_give_the_answers_of_transformers(folder: Path):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    torch.manual_seed(3)
    theirs = transformers.BertForPreTraining(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tensors = tensorflow_names(theirs)
    # Slots of the optimiser are in the real file too, and nothing to us.
    write_checkpoint(folder / WIKIPEDIA.checkpoint, {**tensors, "bert/pooler/dense/kernel/adam_m": np.ones((8, 8))})
    model, data = opened(folder)
    model.eval()
    (tokens, segments, real), _ = (batch := data.batches.next()).inputs, batch.labels
    with torch.no_grad():
        said = theirs(input_ids=tokens, token_type_ids=segments, attention_mask=real.long())
        hidden = model.hidden(tokens, segments, real)
    assert torch.allclose(model.words(hidden)[real], said.prediction_logits[real], atol=1e-5)
    assert torch.allclose(model.follows(hidden), said.seq_relationship_logits, atol=1e-5)


def test_every_row_is_seen_once_per_pass_with_its_masks(folder: Path):
    _, data = opened(folder, buffer=100)
    assert (data.train_samples, data.eval_samples) == (30, 7)
    seen: list[int] = []
    for _ in range(15):  # two passes of 30 rows in batches of 4
        batch = data.batches.next()
        (tokens, segments, real), (words, stray) = batch.inputs, batch.labels
        for row, index in enumerate(number_of(tokens)):
            made = made_row(index)
            assert tokens[row].tolist() == made["input_ids"].tolist()
            assert segments[row].tolist() == made["segment_ids"].tolist()
            assert real[row].tolist() == made["input_mask"].astype(bool).tolist()
            masked = {place: int(words[row, place]) for place in range(16) if words[row, place] != IGNORED}
            assert masked == dict(zip(made["masked_lm_positions"][:2], made["masked_lm_ids"][:2], strict=True))
            assert int(stray[row]) == index % 2
        seen += number_of(tokens)
    assert Counter(seen) == Counter(list(range(30)) * 2)
    assert seen[:30] != sorted(seen[:30])
    assert seen[:30] != seen[30:]


def test_a_buffer_smaller_than_the_dataset_loses_nothing(folder: Path):
    _, data = opened(folder, buffer=5)
    seen = [index for _ in range(75) for index in number_of(data.batches.next().inputs[0])]
    counts = Counter(seen)  # ten passes, of which a few rows wait in the buffer
    assert set(counts) == set(range(30))
    assert sum(counts.values()) == 300
    assert all(8 <= count <= 12 for count in counts.values())


def test_accuracy_is_that_of_the_masked_words(folder: Path):
    model, data = opened(folder)
    model.eval()
    right = asked = 0
    with torch.no_grad():
        for index in range(ROWS, ROWS + 7):  # one by one, without padding to each other
            made = made_row(index)
            logits = model(
                torch.tensor(made["input_ids"])[None],
                torch.tensor(made["segment_ids"])[None],
                torch.tensor(made["input_mask"])[None],
            )[0]
            for place, word in zip(made["masked_lm_positions"][:2], made["masked_lm_ids"][:2], strict=True):
                asked += 1
                right += int(logits[place].argmax()) == word
        assert data.evaluate(model) == {"masked_lm_accuracy": pytest.approx(right / asked)}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "tfrecord" / "part-00001-of-00003").unlink(), "1 of 3 shards are missing, first part-00001"),
        (lambda f: [path.unlink() for path in (f / "tfrecord").iterdir()], "no part-00000-of-00500"),
        (lambda f: cut(f / "eval_10k"), "record 7 is cut off"),
        (lambda f: write_records(f / "eval_10k", [example(**made_row(1))] * 3), "3 records, the rules evaluate 7"),
        (lambda f: write_records(f / "eval_10k", [example(x=b"abc")] * 7), "record 1 is no row"),
        (lambda f: write_records(f / "eval_10k", [b"\xff\xff\xff"] * 7), "record 1 is no row"),
        (
            lambda f: write_records(f / "eval_10k", [example(**{**made_row(1), "input_ids": [40] * 16})]),
            "the vocabulary has 40",
        ),
        (lambda f: (f / "vocab.txt").write_text("[PAD]\n[MASK]\n"), "2 words, the model has 40"),
        (lambda f: (f / "vocab.txt").unlink(), r"vocab\.txt: missing"),
        (lambda f: (f / "model.ckpt-28252.index").unlink(), r"index: missing"),
        (lambda f: (f / "model.ckpt-28252.data-00000-of-00001").unlink(), "missing"),
        (lambda f: cut(f / "model.ckpt-28252.data-00000-of-00001"), "cut off"),
        (
            lambda f: write_checkpoint(f / "model.ckpt-28252", {"x": np.ones(3)}),
            "no tensor cls/predictions/output",
        ),
        (
            lambda f: write_checkpoint(
                f / "model.ckpt-28252", own_names(Bert(replace(TINY, width=16, heads=2)).initialise(0))
            ),
            "has the shape",
        ),
    ],
)
def test_other_files_are_refused(folder: Path, damage: Any, said: str):
    damage(folder)
    with pytest.raises(InputError, match=said):
        opened(folder)


def test_a_damaged_shard_is_named_when_it_is_read(folder: Path):
    cut(folder / "tfrecord" / "part-00002-of-00003")
    _, data = opened(folder)
    with pytest.raises(InputError, match="part-00002-of-00003: record 10 is cut off"):
        [data.batches.next() for _ in range(20)]
    assert len(find_shards(folder / "tfrecord")) == 3


class Tiny(BertTask):
    presets = {  # noqa: RUF012
        "full": replace(
            BERT_TASK.presets["full"],
            network=TINY,
            data=WIKIPEDIA,
            batch=4,
            samples=(30, 7),
            train=BERT_TASK.presets["full"].train.model_copy(
                update={"steps": 4, "accumulation": 2, "evaluate_every": 2, "precision": "float32"}
            ),
            published={},
        )
    }


def test_a_run_from_the_files_to_the_log(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    log = tmp_path_factory.mktemp("log") / "result_0.txt"
    task = Tiny()
    data = prepared(task, "full", folder)
    entrant = Entrant(division="closed", org="o", platform="p")
    outcome = run_once(task, "full", log, seed=1, data=data, entrant=entrant, progress=False)
    assert outcome.steps == 4, outcome.why
    assert [step for step, _ in outcome.curve] == [2, 4]
    text = log.read_text()
    assert '"epoch_num": 16' in text
    assert '"tensor": "bert/encoder/layer_1/attention/self/key/kernel"' in text


def test_files_that_their_makers_know_otherwise_are_refused(folder: Path):
    class Known(Tiny):
        presets = {  # noqa: RUF012
            "full": replace(Tiny.presets["full"], published={"vocab.txt": "0" * 32})
        }

    with pytest.raises(InputError, match=r"vocab\.txt: MD5 .*, its makers published 000"):
        prepared(Known(), "full", folder)
    assert not (folder / "manifest.json").exists()
    right = hashlib.md5((folder / "vocab.txt").read_bytes()).hexdigest()
    Known.presets = {"full": replace(Tiny.presets["full"], published={"vocab.txt": right})}
    assert prepared(Known(), "full", folder) == folder
    cut(folder / "tfrecord" / "part-00000-of-00003")
    with pytest.raises(InputError, match="part-00000-of-00003"):
        prepared(Known(), "full", folder)

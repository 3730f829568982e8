"""The draft head: it learns what its target says, guesses the same in NumPy and in torch, and what it refuses."""

import json
import random
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from podium.compress import DraftConfig, DraftHead, DraftTraining, load_draft, save_draft, train_draft
from podium.compress.draft import spread_taps
from podium.compress.draft_training import Redraft, frequent_ids
from podium.errors import InputError, TrainingError
from podium.generate.drafters import guesser
from podium.generate.guess import DraftRequest, Guess, Guesser
from podium.generate.native.build import native_library
from podium.generate.native.guess import NativeGuesser
from podium.generate.native.redraft import NativeHead
from podium.models import Transformer, TransformerConfig
from podium.runlog import RunLog
from podium.train import Document
from podium.train.packing import make_batch

VOCABULARY = 50


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def target():
    config = TransformerConfig(
        kind="qwen3",
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    return Transformer(config).initialise(1, std=0.2)


@torch.inference_mode()
def greedy(model, prompt, number):
    """Tokens one by one over the growing context, and the state from which each was chosen, layer 0 behind it."""
    tokens, states = list(prompt), []
    for _ in range(number):
        state = model.hidden(torch.tensor([tokens]), taps=(0,))[0, -1]
        states.append(state)
        tokens.append(int(model.head(state[:32]).argmax()))
    return tokens, states


@pytest.fixture(scope="module")
def answers(target):
    """The target's own answers to prompts of three tokens."""
    draw = random.Random(0)
    return [greedy(target, [draw.randrange(VOCABULARY) for _ in range(3)], 24)[0] for _ in range(20)]


@pytest.fixture(scope="module")
def documents(answers):
    return [(ids, [False] * 3 + [True] * 24) for ids in answers]


SETTINGS = {"epochs": 300, "lr": 1e-2, "row_length": 64, "rows_per_batch": 4, "validation": 0, "vocabulary": 40}


def run(target, documents, folder, **changes):
    with RunLog(folder) as log:
        settings = DraftTraining(**{**SETTINGS, **changes})
        return train_draft(target, documents, settings, folder, runlog=log, progress=False)


@pytest.fixture(scope="module")
def trained(target, documents, tmp_path_factory):
    return run(target, documents, tmp_path_factory.mktemp("draft"))[0]


def accepted(target, guesser, prompt, number):
    """Tokens per step of greedy speculation, by running the target over the growing context."""
    expected, states = greedy(target, prompt, number)
    place, steps = len(prompt) + 1, 0
    while place < len(expected):
        hidden = states[place - 1 - len(prompt)]
        [chain] = guesser.guess([DraftRequest(0, expected[:place], "", 0, 3)], hidden[None], 16)
        rest = expected[place:]
        right = next((i for i, pair in enumerate(zip(chain, rest, strict=False)) if pair[0] != pair[1]), len(chain))
        place, steps = place + right + 1, steps + 1
    return (len(expected) - len(prompt) - 1) / steps


def test_it_learns_what_the_target_says(target, trained, answers):
    untrained = DraftHead(trained.config, target)
    prompts = [ids[:3] for ids in answers[:12]]
    before, after = (
        np.mean([accepted(target, guesser(head, orders=()), prompt, 24) for prompt in prompts])
        for head in (untrained, trained)
    )
    assert before < 1.6
    assert after > 3.3  # of 4: three guesses and the token that the target itself gives


def test_the_target_stays_as_it_was(target, documents, tmp_path):
    before = {name: value.clone() for name, value in target.state_dict().items()}
    head, result = run(target, documents, tmp_path, epochs=2, validation=8)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
    assert not any("embed" in name for name in head.state_dict())
    [(step, values)] = result.evaluations
    assert step == result.steps
    assert {"loss", "top1_1", "top1_2", "top1_3"} == set(values)
    assert all(0 <= values[f"top1_{depth}"] <= 1 for depth in (1, 2, 3))


def test_a_run_that_was_broken_off_ends_with_the_same_head(target, documents, tmp_path, monkeypatch):
    whole, _ = run(target, documents, tmp_path / "whole", epochs=6, checkpoint_every=4)
    calls = Counter()
    once = Redraft.__call__

    def breaking(self, model, batch):
        calls["batches"] += 1
        if calls["batches"] == 10:
            raise RuntimeError("power cut")
        return once(self, model, batch)

    monkeypatch.setattr(Redraft, "__call__", breaking)
    with pytest.raises(RuntimeError, match="power cut"):
        run(target, documents, tmp_path / "broken", epochs=6, checkpoint_every=4)
    resumed, result = run(target, documents, tmp_path / "broken", epochs=6, checkpoint_every=4)
    assert result.resumed_at == 8
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_loss_is_that_of_every_place_by_hand(target):
    """Two documents in a row, a tool's output in the middle of one, and ids that cannot be guessed."""
    draw = random.Random(3)
    one = [draw.randrange(VOCABULARY) for _ in range(15)]
    two = [draw.randrange(VOCABULARY) for _ in range(9)]
    masks = ([0] * 3 + [1] * 5 + [0] * 2 + [1] * 5, [0] * 2 + [1] * 7)
    batch = make_batch([[Document(one, masks[0]), Document(two, masks[1])]], 32)
    vocabulary = tuple(sorted({*one, *two} - {one[6], two[5]}))
    head = DraftHead(DraftConfig(32, VOCABULARY, vocabulary, taps=(0,)), target, seed=4)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) * 0.1)
    loss = Redraft(target)(head, batch)
    total, weight = 0.0, 0
    for ids, mask in ((one, masks[0]), (two, masks[1])):
        below = []
        hook = target.layers[0].register_forward_hook(lambda _, inputs, output, below=below: below.append(output[0]))
        hidden = target.hidden(torch.tensor([ids]))[0]
        hook.remove()
        [below] = below
        read = torch.cat([hidden, below / (below**2).mean(-1, keepdim=True).sqrt()], -1)
        for place in range(len(ids)):
            state = None
            for depth in range(3):
                goal = place + 2 + depth
                if goal >= len(ids) or not all(mask[place + 1 : goal + 1]):
                    break
                if any(token not in vocabulary for token in ids[place + 2 : goal + 1]):
                    break
                entry = target.embedding.weight[ids[goal - 1]]
                carried = 0 if state is None else head.state.weight @ state
                state = torch.nn.functional.silu(head.input.weight @ entry + head.input.bias + carried)
                x = head.join_hidden.weight @ read[place] + head.join_hidden.bias + head.join_state.weight @ state
                for block in head.blocks:
                    x = x + torch.nn.functional.silu(block.weight @ x + block.bias)
                logprobs = torch.log_softmax(head.head.weight @ x, -1)
                total -= float(logprobs[vocabulary.index(ids[goal])])
                weight += 1
    assert weight >= 10
    assert loss.weight == weight
    assert float(loss.total) == pytest.approx(total, rel=1e-4)


needs_c = pytest.mark.skipif(native_library().library is None, reason=native_library().reason)


@needs_c
def test_c_and_torch_guess_the_same(target, trained):
    generator = torch.Generator().manual_seed(0)
    same = number = 0
    for rows in (1, 2, 7, 400):
        hidden = torch.randn(rows, 64, generator=generator) * 3
        tokens = torch.randint(VOCABULARY, (rows,), generator=generator)
        ids, sure = trained.draft(hidden, tokens)
        native_ids, native_sure = NativeHead(trained).draft(hidden, tokens.tolist())
        # In C weights and activations are rounded to 8 bits: near ties may fall otherwise, and what follows with them.
        first = ids[:, 0].numpy() == native_ids[:, 0]
        same, number = same + int(first.sum()), number + rows
        assert np.abs(native_sure[first, 0] - sure.numpy()[first, 0]).mean() < 0.15
    assert same >= 0.95 * number


@needs_c
def test_a_head_and_n_grams_together_are_the_same_in_c_and_python(target, trained, answers):
    """With the head's own chains taken out of the comparison: those of C are given to both."""
    python, native = Guesser(trained), NativeGuesser(trained)
    head = NativeHead(trained)

    def chains(states, last):
        ids, sure = head.draft(states, list(last))
        return [
            [Guess(t, ("head", depth, int(c * 8)), c) for depth, (t, c) in enumerate(zip(*pair, strict=True))]
            for pair in zip(ids.tolist(), sure.tolist(), strict=True)
        ]

    python._head.chains = chains
    by_depth = Counter()  # (place in its chain, whether it is right) -> guesses
    for prompt in range(6):
        texts = {key: list(answers[prompt]) for key in (prompt, 100 + prompt)}
        for end in range(4, 27, 2):
            requests = [
                DraftRequest(key, tokens[:end], prompt, row, 6) for row, (key, tokens) in enumerate(texts.items())
            ]
            _, states = greedy(target, answers[prompt][:3], 24)
            rows = torch.stack([states[end - 4], states[end - 4]])
            times = [1.0 + 0.02 * count for count in range(40)]
            found = [guesser.guess(requests, rows, 20, times, 1.02) for guesser in (python, native)]
            assert found[0] == found[1]
            for chain, tokens in zip(found[0], texts.values(), strict=True):
                by_depth.update((depth, a == b) for depth, (a, b) in enumerate(zip(chain, tokens[end:], strict=False)))
    right = sum(count for (_, is_right), count in by_depth.items() if is_right)
    assert right > 0.7 * by_depth.total()
    for depth in range(trained.config.depth):  # n-grams alone go on behind these
        assert by_depth[depth, True] > 100
        assert by_depth[depth, True] > 0.9 * (by_depth[depth, True] + by_depth[depth, False])


@pytest.mark.parametrize("make", [Guesser, guesser])
def test_requests_without_state_or_room_get_no_guesses(target, trained, make):
    states = torch.zeros(1, 64)
    requests = [
        DraftRequest(0, [1, 2], "", None, 3),
        DraftRequest(1, [1, 2], "", 0, 2),
        DraftRequest(2, [1, 2], "", 0, 0),
    ]
    head = make(trained, orders=())
    assert [len(chain) for chain in head.guess(requests, states, 9)] == [0, 2, 0]
    assert [len(chain) for chain in head.guess(requests, states, 1)] == [0, 1, 0]
    assert head.guess(requests[:1], states, 9) == [[]]
    assert head.guess(requests[:2], None, 9) == [[], []]


@pytest.mark.parametrize(
    ("layers", "number", "expected"),
    [(4, 3, (0, 1, 2)), (24, 3, (5, 11, 17)), (28, 1, (13,)), (2, 3, (0,)), (1, 3, ()), (24, 0, ()), (3, 9, (0, 1))],
)
def test_taps_are_spread_below_the_last_layer(layers, number, expected):
    assert spread_taps(layers, number) == expected


def test_the_vocabulary_is_what_the_model_writes_most():
    documents = [([1, 1, 1, 2, 2, 3], [0, 0, 0, 1, 1, 1]), ([5, 4, 3], [0, 1, 1])]
    assert frequent_ids(documents, 2) == (2, 3)
    assert frequent_ids(documents, 99) == (2, 3, 4)
    with pytest.raises(TrainingError, match="no token to draft"):
        frequent_ids([([1, 2], [0, 0])], 5)


def test_saved_and_loaded(target, trained, tmp_path):
    save_draft(tmp_path / "draft", trained)
    loaded = load_draft(tmp_path / "draft", target)
    assert loaded.config == trained.config
    for name, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert loaded.embeddings.data_ptr() == target.embedding.weight.data_ptr()


def damaged(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_wrong_folders_are_told_apart(target, trained, tmp_path):
    folder = tmp_path / "draft"
    with pytest.raises(InputError, match="no such model folder"):
        load_draft(folder, target)
    save_draft(folder, trained)
    for changes, message in (
        ({"model_type": "qwen2"}, "is of a 'qwen2', not of a draft head"),
        ({"target_vocab_size": 60}, "vocabulary size 60, this one has 50"),
        ({"hidden_size": 64}, "hidden size 64, this one has 32"),
        ({"vocabulary": [1, 2]}, r"head.weight has shape \[40, 32\], config.json asks for \[2, 32\]"),
        ({"vocabulary": [1, 50]}, "sizes or vocabulary"),
        ({"vocabulary": []}, "sizes or vocabulary"),
        ({"vocabulary": ["a"]}, "sizes or vocabulary"),
        ({"layers": 3}, "blocks.2.weight is missing"),
        ({"depth": 0}, "sizes or vocabulary"),
        ({"taps": [0, 0]}, "sizes or vocabulary"),
        ({"taps": [-1]}, "sizes or vocabulary"),
        ({"taps": ["a"]}, "sizes or vocabulary"),
        ({"taps": [1]}, "reads layer 1 of a model that has 2"),
        ({"taps": []}, r"join_hidden.weight has shape \[32, 64\], config.json asks for \[32, 32\]"),
        ({"width": 3}, "not that of a draft head"),
    ):
        save_draft(folder, trained)
        damaged(folder, **changes)
        with pytest.raises(InputError, match=message):
            load_draft(folder, target)
    save_draft(folder, trained)
    tensors = load_file(folder / "model.safetensors")
    tensors["head.weight"][3, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"head.weight holds NaN"):
        load_draft(folder, target)


def test_what_cannot_be_learnt_is_told(target, documents, tmp_path):
    with pytest.raises(TrainingError, match="token id 99, the target's vocabulary ends at 49"):
        run(target, [([1, 99, 2, 3, 4], [0, 1, 1, 1, 1])], tmp_path / "a", epochs=1)
    with pytest.raises(TrainingError, match="no token of this batch can be guessed"):
        run(target, [([1, 2, 3], [0, 0, 1])], tmp_path / "b", epochs=1)
    broken = DraftHead(DraftConfig(32, VOCABULARY, (1, 2)), target)
    with torch.no_grad():
        broken.head.weight[0, 0] = float("inf")
    with pytest.raises(InputError, match="nothing is saved"):
        save_draft(tmp_path / "c", broken)
    assert not (tmp_path / "c").exists()

"""Hugging Face folders both ways, and what is said when one cannot be used."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from podium.errors import InputError, StorageError
from podium.models import Transformer, TransformerConfig, load_model, save_model
from podium.text import train_tokenizer

transformers = pytest.importorskip("transformers")

CONFIG = TransformerConfig(
    kind="qwen3",
    vocab_size=300,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
)
TOKENS = torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["What is 12 + 30? 42", "print(12 + 30)"], 300)


@pytest.fixture
def saved(tmp_path, tokenizer):
    model = Transformer(CONFIG).initialise(3)
    save_model(tmp_path / "model", model, tokenizer)
    return tmp_path / "model"


def tensors(folder):
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
def test_round_trip_through_transformers(kind, tied, sharded, tmp_path, tokenizer):
    from dataclasses import replace

    model = Transformer(replace(CONFIG, kind=kind, tie_word_embeddings=tied)).initialise(1, std=0.1)
    save_model(tmp_path / "ours", model, tokenizer, max_shard_bytes=30_000 if sharded else 10**9)
    assert (len(list((tmp_path / "ours").glob("*.safetensors"))) > 3) == sharded
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert (theirs(TOKENS).logits - model(TOKENS)).abs().max() <= 1e-4
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="30KB" if sharded else "5GB")
    back, _ = load_model(tmp_path / "theirs")
    save_model(tmp_path / "again", back)
    assert_same(tensors(tmp_path / "ours"), tensors(tmp_path / "again"))
    assert_same(dict(model.named_parameters()), dict(back.named_parameters()))


def test_the_folder_holds_what_servers_look_for(saved, tokenizer):
    assert {path.name for path in saved.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    config = json.loads((saved / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert config["eos_token_id"] == tokenizer.eos_id
    generation = transformers.GenerationConfig.from_pretrained(saved)
    assert set(generation.eos_token_id) == tokenizer.stop_ids
    again = load_model(saved)[1]
    assert again is not None
    assert again.stop_ids == tokenizer.stop_ids
    assert again.encode("12 + 30") == tokenizer.encode("12 + 30")


def test_other_precisions(saved, tmp_path):
    model, _ = load_model(saved, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    save_model(tmp_path / "half", model)
    assert {tensor.dtype for tensor in tensors(tmp_path / "half").values()} == {torch.bfloat16}
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype="auto")
    assert theirs.dtype == torch.bfloat16
    expected = {name: tensor.bfloat16() for name, tensor in tensors(saved).items()}
    assert_same(expected, tensors(tmp_path / "half"))


def test_saving_over_a_model_leaves_no_trace_of_it(saved, tokenizer):
    (saved / "notes.txt").write_text("mine")
    other = Transformer(CONFIG).initialise(4)
    save_model(saved, other, max_shard_bytes=30_000)
    names = {path.name for path in saved.iterdir()}
    assert not names & {"model.safetensors", "tokenizer.json"}
    assert (saved / "notes.txt").read_text() == "mine"
    assert_same(dict(other.named_parameters()), dict(load_model(saved)[0].named_parameters()))
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_nothing_and_keeps_the_old(saved, tmp_path, tokenizer, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    broken = Transformer(CONFIG).initialise(5)
    with torch.no_grad():
        broken.layers[1].feed_forward.down.weight[3, 3] = torch.nan
    with pytest.raises(InputError, match=r"model\.layers\.1\.mlp\.down_proj\.weight"):
        save_model(saved, broken)
    with pytest.raises(InputError, match="down_proj"):
        save_model(tmp_path / "new", broken)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    import resource
    import signal

    # A file-size limit makes the operating system refuse the write as a full disk would.
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
        with pytest.raises(StorageError, match="no space left"):
            save_model(tmp_path / "model", Transformer(CONFIG).initialise(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def edit(path, **changes):
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(values))


def break_weights(folder, change):
    content = load_file(folder / "model.safetensors")
    change(content)
    save_file(content, folder / "model.safetensors")


def truncate(folder, part):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


def spoil(value):
    def change(content):
        content["model.layers.1.self_attn.k_proj.weight"][0, 0] = value

    return lambda folder: break_weights(folder, change)


DAMAGE = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "config is not JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json: not JSON"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), "not a JSON object"),
    "unknown kind": (lambda folder: edit(folder / "config.json", model_type="qwen33"), "did you mean 'qwen3'"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
    "truncated data": (lambda folder: truncate(folder, 0.5), "truncated"),
    "truncated header": (lambda folder: truncate(folder, 0.001), "truncated"),
    "empty file": (lambda folder: truncate(folder, 0), "truncated"),
    "tensor missing": (
        lambda folder: break_weights(folder, lambda content: content.pop("model.layers.1.self_attn.q_norm.weight")),
        "tensor model.layers.1.self_attn.q_norm.weight is missing",
    ),
    "another shape": (
        lambda folder: edit(folder / "config.json", intermediate_size=128),
        "gate_proj.weight has shape [96, 64], config.json asks for [128, 64]",
    ),
    "not a number": (spoil(float("nan")), "tensor model.layers.1.self_attn.k_proj.weight holds NaN"),
    "infinity": (spoil(float("inf")), "tensor model.layers.1.self_attn.k_proj.weight holds NaN or infinity"),
    "quantised": (
        lambda folder: break_weights(
            folder, lambda content: content.update({"lm_head.weight": content["lm_head.weight"].to(torch.int8)})
        ),
        "lm_head.weight is stored as I8",
    ),
    "tokenizer is not JSON": (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer.json"),
    "tokenizer is something else": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "not a tokenizer"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folders_are_named(damage, saved):
    break_it, words = DAMAGE[damage]
    break_it(saved)
    with pytest.raises(InputError) as caught:
        load_model(saved)
    assert words in str(caught.value)
    assert str(saved) in str(caught.value) or "config.json" in str(caught.value)
    assert caught.value.cure


def test_missing_shard_is_named(tmp_path):
    save_model(tmp_path / "model", Transformer(CONFIG).initialise(0), max_shard_bytes=30_000)
    next((tmp_path / "model").glob("model-00002-*")).unlink()
    with pytest.raises(InputError, match=r"model-00002-.*shard is missing"):
        load_model(tmp_path / "model")


def test_no_folder():
    with pytest.raises(InputError, match="no such model folder"):
        load_model("nowhere")


def test_tokenizer_larger_than_the_embedding(tmp_path, saved):
    words = [f"{a}{b}{c}" for a in "abcdefgh" for b in "aeiou" for c in "klmnop"]
    large = train_tokenizer([" ".join(words)], 400)
    assert large.vocab_size > CONFIG.vocab_size
    with pytest.raises(InputError, match="only 300 rows"):
        save_model(tmp_path / "new", Transformer(CONFIG).initialise(0), large)
    large.save(saved)
    with pytest.raises(InputError, match="only 300 rows"):
        load_model(saved)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_save_leaves_a_whole_model_or_none(tmp_path):
    import random
    import signal
    import time

    models = [Transformer(CONFIG).initialise(seed) for seed in range(2)]
    known = [dict(model.named_parameters()) for model in models]
    folder = tmp_path / "model"
    start = time.perf_counter()
    save_model(folder, models[0])
    save_model(folder, models[1], max_shard_bytes=30_000)
    duration = time.perf_counter() - start
    seen = set()
    for attempt in range(6):
        child = os.fork()
        if child == 0:
            try:
                for turn in range(attempt, 10_000):
                    save_model(folder, models[turn % 2], max_shard_bytes=(30_000, 10**9)[turn % 2])
            finally:
                os._exit(1)
        time.sleep(random.Random(attempt).uniform(0.1, 2.0) * duration)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        try:
            found = dict(load_model(folder)[0].named_parameters())
        except InputError as error:
            seen.add("none" if "no config.json" in str(error) else str(error))
        else:
            assert any(all(torch.equal(found[name], old[name]) for name in old) for old in known)
            seen.add("whole")
    assert "whole" in seen
    assert seen <= {"whole", "none"}
    save_model(folder, models[0])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]

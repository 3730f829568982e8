"""The linear merge against direct arithmetic, and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from podium.compress import merge_linear
from podium.errors import InputError
from podium.models import Transformer, TransformerConfig, load_model, save_model
from podium.text import train_tokenizer

CONFIG = TransformerConfig(
    kind="qwen2",
    vocab_size=300,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
)
CORPUS = ["What is 12 + 30? 42", "print(12 + 30)"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CORPUS, 290)


def make(folder, seed, *, config=CONFIG, tokenizer=None, dtype=torch.float32, **options):
    save_model(folder, Transformer(config).initialise(seed, std=0.3).to(dtype), tokenizer, **options)
    return folder


def tensors(folder):
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def combine(parts, dtype):
    """sum(w * x) of (weight, tensors) in double precision, rounded once."""
    names = parts[0][1].keys()
    return {name: sum(w * x[name].double() for w, x in parts).to(dtype) for name in names}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_weighted_mean(dtype, tmp_path, tokenizer):
    folders = [make(tmp_path / str(seed), seed, tokenizer=tokenizer, dtype=dtype) for seed in range(3)]
    merge_linear(folders, [3, 6, 1], tmp_path / "merged")
    found = tensors(tmp_path / "merged")
    expected = combine(list(zip((0.3, 0.6, 0.1), map(tensors, folders), strict=True)), torch.float64)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == dtype
        error = (tensor.double() - expected[name]).abs().max()
        # One rounding of the result, and for fp32 those of the sum.
        assert error <= 2 * torch.finfo(dtype).eps * expected[name].abs().max(), name


def test_weights_may_stay_as_they_are(tmp_path):
    folders = [make(tmp_path / str(seed), seed) for seed in range(2)]
    merge_linear(folders, [2.0, -0.5], tmp_path / "merged", normalise=False)
    expected = combine([(2.0, tensors(folders[0])), (-0.5, tensors(folders[1]))], torch.float32)
    for name, tensor in tensors(tmp_path / "merged").items():
        torch.testing.assert_close(tensor, expected[name])


def test_all_weight_on_one_model_gives_that_model(tmp_path):
    folders = [make(tmp_path / str(seed), seed, dtype=torch.bfloat16) for seed in range(2)]
    merge_linear(folders, [0, 5], tmp_path / "merged")
    expected = tensors(folders[1])
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors(tmp_path / "merged").items())


def test_sharded_inputs_and_output(tmp_path, tokenizer):
    whole = [make(tmp_path / f"w{seed}", seed, tokenizer=tokenizer) for seed in range(2)]
    parts = [make(tmp_path / f"p{seed}", seed, tokenizer=tokenizer, max_shard_bytes=9000 + seed) for seed in range(2)]
    merge_linear(whole, [0.3, 0.7], tmp_path / "one")
    merge_linear(parts, [0.3, 0.7], tmp_path / "many", max_shard_bytes=20_000)
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    one, many = tensors(tmp_path / "one"), tensors(tmp_path / "many")
    assert all(torch.equal(tensor, many[name]) for name, tensor in one.items())
    model, loaded = load_model(tmp_path / "many")
    assert model.config == load_model(whole[0])[0].config
    assert loaded is not None
    assert loaded.encode("12 + 30") == tokenizer.encode("12 + 30")


def test_transformers_loads_the_merged_model(tmp_path, tokenizer):
    transformers = pytest.importorskip("transformers")
    folders = [make(tmp_path / str(seed), seed, tokenizer=tokenizer) for seed in range(2)]
    merge_linear(folders, [0.3, 0.7], tmp_path / "merged")
    tokens = torch.arange(20)[None]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert (theirs(tokens).logits - load_model(tmp_path / "merged")[0](tokens)).abs().max() <= 1e-4


def refuse(folders, weights, out, words, **options):
    with pytest.raises(InputError) as caught:
        merge_linear(folders, weights, out, **options)
    assert words in str(caught.value), str(caught.value)
    assert caught.value.cure
    assert not [path for path in out.parent.iterdir() if path not in folders]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, but 2"),
        ({"kind": "qwen3"}, "kind is qwen3, but qwen2"),
        ({"vocab_size": 310}, "vocab_size is 310, but 300"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings"),
    ],
)
def test_other_architectures_are_refused(change, words, tmp_path):
    folders = [make(tmp_path / "a", 0), make(tmp_path / "b", 1, config=replace(CONFIG, **change))]
    refuse(folders, [0.3, 0.7], tmp_path / "merged", words)


def test_other_tokenizers_are_refused(tmp_path, tokenizer):
    other = train_tokenizer(["completely different words, different pairs"], 290)
    folders = [make(tmp_path / "a", 0, tokenizer=tokenizer), make(tmp_path / "b", 1, tokenizer=other)]
    refuse(folders, [0.3, 0.7], tmp_path / "merged", "the tokenizer differs from that of")


def test_one_tokenizer_written_in_two_ways_merges(tmp_path, tokenizer):
    """As transformers 4 and older libraries wrote it: merges as strings, later keys missing."""
    folders = [make(tmp_path / "a", 0, tokenizer=tokenizer), make(tmp_path / "b", 1, tokenizer=tokenizer)]
    path = folders[1] / "tokenizer.json"
    definition = json.loads(path.read_text())
    model = definition["model"]
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    model |= {"byte_fallback": None, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    del model["ignore_merges"]
    merges = model["merges"]
    model["merges"] = [merges[1], merges[0], *merges[2:]]
    path.write_text(json.dumps(definition))
    refuse(folders, [1, 1], tmp_path / "merged", "merges: number 0 is")
    model["merges"] = merges
    path.write_text(json.dumps(definition))
    merge_linear(folders, [1, 1], tmp_path / "merged")
    assert load_model(tmp_path / "merged")[1].encode("12 + 30") == tokenizer.encode("12 + 30")


def test_a_tokenizer_is_taken_from_whoever_has_one(tmp_path, tokenizer):
    folders = [make(tmp_path / "a", 0), make(tmp_path / "b", 1, tokenizer=tokenizer)]
    merge_linear(folders, [0.3, 0.7], tmp_path / "merged")
    assert load_model(tmp_path / "merged")[1] is not None


def test_nan_is_named_and_nothing_is_left(tmp_path):
    folders = [make(tmp_path / str(seed), seed) for seed in range(2)]
    content = load_file(folders[1] / "model.safetensors")
    content["model.norm.weight"][3] = torch.nan
    save_file(content, folders[1] / "model.safetensors")
    refuse(folders, [0.3, 0.7], tmp_path / "merged", "tensor model.norm.weight holds NaN")


def test_overflow_is_refused(tmp_path):
    folders = [make(tmp_path / str(seed), seed, dtype=torch.float16) for seed in range(2)]
    refuse(folders, [1e6, 1e6], tmp_path / "merged", "not finite", normalise=False)


def test_missing_tensors_are_named(tmp_path):
    folders = [make(tmp_path / str(seed), seed) for seed in range(2)]
    content = load_file(folders[1] / "model.safetensors")
    del content["model.layers.0.mlp.up_proj.weight"]
    save_file(content, folders[1] / "model.safetensors")
    refuse(folders, [0.3, 0.7], tmp_path / "merged", "model.layers.0.mlp.up_proj.weight is missing")


@pytest.mark.parametrize(
    ("weights", "words"),
    [([1.0], "2 models but 1 weights"), ([1.0, -1.0], "sum to 0"), ([1.0, float("nan")], "not all finite")],
)
def test_unusable_weights(weights, words, tmp_path):
    refuse([make(tmp_path / str(seed), seed) for seed in range(2)], weights, tmp_path / "merged", words)


def test_an_input_is_never_overwritten(tmp_path):
    folders = [make(tmp_path / str(seed), seed) for seed in range(2)]
    before = json.loads((folders[0] / "config.json").read_text())
    with pytest.raises(InputError, match="is one of the models"):
        merge_linear(folders, [0.3, 0.7], tmp_path / "x" / ".." / "0")
    assert json.loads((folders[0] / "config.json").read_text()) == before


def test_no_models(tmp_path):
    refuse([], [], tmp_path / "merged", "no models")

"""One reader of config.json: models and planner find the same faults, and what is left out or null means the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podium.errors import InputError
from podium.models.config import TransformerConfig
from podium.models.config_json import Fields, text_model
from podium.models.place import read_shape
from podium.plan.counting import parameters
from podium.plan.hf_config import read_config, shape_from_hf
from podium.plan.shapes import Shape

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
LLAMA = {"model_type": "llama", **SIZES}
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "truncated": (json.dumps(LLAMA).encode()[:-9], "not JSON"),
    "not JSON": (b"model_type: llama\n", "not JSON"),
    "not text": (b"\xff\xfe\x00{", "not JSON"),
    "a list": (b"[]", "not a JSON object"),
    "a word": (b'"llama"', "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "no family": (json.dumps(SIZES).encode(), "model_type"),
    "an unknown family": (json.dumps({**LLAMA, "model_type": "lama"}).encode(), "'lama'"),
}
FIELDS: list[tuple[dict[str, Any], str]] = [
    *(({name: value}, name) for name in SIZES for value in (None, "32", 2.5, [32], True, -1, {})),
    *(({"tie_word_embeddings": value}, "tie_word_embeddings") for value in ("false", "no", 2, [], {})),
    *(({"num_key_value_heads": value}, "num_key_value_heads") for value in ("4", 1.0, False)),
    *(({"head_dim": value}, "head_dim") for value in ("8", [8], -8)),
    *(({"max_position_embeddings": value}, "max_position_embeddings") for value in ("2k", 1e6)),
]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config_is_told_alike(tmp_path: Path, name: str) -> None:
    data, says = FILES[name]
    path = tmp_path / "config.json"
    path.write_bytes(data)
    for read in (lambda: read_shape(tmp_path), lambda: read_config(path)):
        with pytest.raises(InputError) as caught:
            read()
        assert str(path) in caught.value.message
        assert says in caught.value.message
        assert caught.value.cure


@pytest.mark.parametrize(("bad", "field"), FIELDS, ids=[str(bad) for bad, _ in FIELDS])
def test_a_wrong_field_is_named_alike(tmp_path: Path, bad: dict[str, Any], field: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA, **bad}))
    with pytest.raises(InputError) as models:
        read_shape(tmp_path)
    with pytest.raises(InputError) as planner:
        read_config(path)
    assert models.value.message == planner.value.message
    assert field in models.value.message


def built(kind: str, values: dict[str, Any]) -> int:
    """The weights of the model that transformers makes of these values."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values))
    return sum(parameter.numel() for parameter in model.parameters())


UNSET: list[tuple[str, dict[str, Any]]] = [
    (kind, given)
    for kind in ("llama", "mistral", "qwen2", "qwen3")
    for given in (
        {},
        {"num_key_value_heads": None},
        {"tie_word_embeddings": True},
        {"tie_word_embeddings": False},
        {"head_dim": 16},
    )
    if (kind, given) != ("mistral", {"num_key_value_heads": None})  # transformers refuses it
]


@pytest.mark.parametrize(("kind", "given"), UNSET, ids=[f"{kind}-{given}" for kind, given in UNSET])
def test_what_is_left_out_or_null_is_what_transformers_takes(kind: str, given: dict[str, Any]) -> None:
    values = {**SIZES, "num_attention_heads": 32, "hidden_size": 256, **given}  # Qwen's own default has 32 KV heads
    shape = shape_from_hf({"model_type": kind, **values})
    assert isinstance(shape, Shape)
    assert parameters(shape).total == built(kind, values)
    config = TransformerConfig.from_hf({"model_type": kind, **values})
    assert (config.num_key_value_heads, config.head_dim, config.tie_word_embeddings) == (
        shape.kv_heads,
        shape.head_dim,
        shape.tied,
    )


def test_the_text_of_several_towers_keeps_what_only_the_whole_says() -> None:
    inner = {"hidden_size": 8}
    whole = {"model_type": "gemma3", "tie_word_embeddings": False, "text_config": inner, "vision_config": {}}
    assert text_model(whole, {"gemma3": "gemma3_text"}) == {
        "model_type": "gemma3_text",
        "tie_word_embeddings": False,
        "hidden_size": 8,
    }
    named = {**whole, "text_config": {**inner, "model_type": "qwen3", "tie_word_embeddings": True}}
    assert text_model(named, {}) == {"model_type": "qwen3", "tie_word_embeddings": True, "hidden_size": 8}
    assert text_model(LLAMA, {}) is None
    assert text_model({**LLAMA, "text_config": None}, {}) is None


def test_of_several_names_the_one_with_a_value_counts() -> None:
    fields = Fields({"n_embd": None, "hidden_size": 8}, {"n_layer": 3})
    assert fields.whole(fields.first("n_embed", "n_embd", "hidden_size")) == 8
    assert fields.first("n_embed", "n_embd") == "n_embd"  # null: unset, so that no default is taken
    assert fields.whole(fields.first("layers", "n_layer")) == 3
    assert fields.first("a", "b") == "a"

"""The random-weight Qwen2 models every engine is given, as Hugging Face folders.

Knows shapes and files, no engine. The tokenizer has one word per id, so that texts and ids translate both ways without
loss; the last PAUSES words hold a "!", which contest_load.py stops at.
"""

from __future__ import annotations

import json
from pathlib import Path

VOCABULARY = 32_000
END = "<|endoftext|>"
PAUSES = 160
SHAPES: dict[str, dict[str, int]] = {
    "tiny50m": {
        "hidden_size": 512,
        "num_hidden_layers": 10,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "intermediate_size": 1536,
    },
    # Qwen2.5-0.5B with a smaller vocabulary
    "q05b": {
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
    },
}


def words() -> list[str]:
    plain = [f"w{number}" for number in range(2, VOCABULARY - PAUSES)]
    return [END, "<unk>", *plain, *[f"p{number}!" for number in range(PAUSES)]]


def parameters(name: str) -> int:
    """Weights of a model, embeddings (shared with the head) and biases included."""
    shape = SHAPES[name]
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    keys = width // shape["num_attention_heads"] * shape["num_key_value_heads"]
    layer = 2 * width * width + width + 2 * (width * keys + keys) + 3 * width * inner + 2 * width
    return VOCABULARY * width + shape["num_hidden_layers"] * layer + width


def build(name: str, folder: Path) -> Path:
    """The folder of a model, written on first use: config, fp32 safetensors, tokenizer."""
    if (folder / "tokenizer_config.json").exists():
        return folder
    import tokenizers
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    fixed = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    config = Qwen2Config.from_dict(fixed | SHAPES[name])
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: number for number, word in enumerate(words())}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([END])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END,
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder

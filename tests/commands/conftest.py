"""A model and problems that commands are tried with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights whose answers are nonsense, and come at once."""
    import torch

    from podium.models import Transformer, TransformerConfig, save_model
    from podium.text import train_tokenizer

    tokenizer = train_tokenizer(["What is 12 + 31? It is 43.\n"] * 3, 300)
    config = TransformerConfig(
        kind="llama",
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
        eos_token_id=(tokenizer.eos_id,),
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("commands") / "model"
    save_model(folder, Transformer(config).initialise(0, std=0.15), tokenizer)
    return folder


@pytest.fixture
def sums(tmp_path: Path) -> str:
    """The source of three sums."""
    path = tmp_path / "sums.jsonl"
    rows = [{"id": f"s{i}", "text": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"jsonl:{path}"

"""`podium generate`: answers to one prompt, on a terminal and elsewhere."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest
import torch

from podium.models import Transformer, TransformerConfig, save_model
from podium.text import train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = train_tokenizer(["What is 12 + 31? It is 43.\n"] * 3, 300)
    config = TransformerConfig(
        kind="llama",
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=262144,
        eos_token_id=(tokenizer.eos_id,),
    )
    folder = tmp_path_factory.mktemp("attempts") / "model"
    model = Transformer(config).initialise(0, std=0.15)
    head = model.embedding if model.unembedding is None else model.unembedding
    with torch.no_grad():
        # A logit of 0 is never the largest: greedy answers have no end.
        head.weight[sorted(tokenizer.stop_ids)] = 0.0
    save_model(folder, model, tokenizer)
    return folder


def generate(folder, *options):
    return ["generate", str(folder), "What is 12 + 31?", *options]


def test_without_a_terminal_attempts_come_one_after_the_other(folder, podium):
    command = generate(folder, "-n", "3", "--max-tokens", "20", "--seed", "4")
    first, second = (podium(*command) for _ in range(2))
    assert first.code == 0, first.error
    heads = [line for line in first.out.splitlines() if line.startswith("attempt ")]
    assert [head.split(":")[0] for head in heads] == ["attempt 1", "attempt 2", "attempt 3"]
    assert "\x1b" not in first.out
    assert first.out == second.out


def test_on_a_terminal_ctrl_c_shows_what_exists(folder):
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "podium"]
    command += generate(folder, "-n", "2", "--max-tokens", "250000", "--temperature", "0")
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    output = b""
    sent = False
    while True:
        try:
            read = os.read(master, 65536)
        except OSError:  # how Linux tells that nobody holds the other end any more
            break
        if not read:
            break
        output += read
        if not sent and b"2: running, " in output:
            process.send_signal(signal.SIGINT)
            sent = True
    os.close(master)
    assert process.wait(timeout=30) == 130, output[-2000:]
    assert sent
    assert b"attempt 1: cancelled" in output
    assert b"attempt 2: cancelled" in output
    assert b"Traceback" not in output


@pytest.mark.parametrize("arguments", [["-n", "0"], ["--temperature", "-1"], ["--max-tokens", "0"]])
def test_settings_that_mean_nothing_end_with_exit_code_2(folder, podium, arguments):
    done = podium(*generate(folder, *arguments))
    assert done.code == 2
    assert "error:" in done.error


def test_a_value_of_the_model_that_means_nothing_is_told_before_it_is_loaded(tmp_path, podium):
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 8, **shape}))
    (tmp_path / "generation_config.json").write_text('{"top_p": 2}')
    said = podium("generate", tmp_path, "x")
    assert (said.code, "generation_config.json: top_p is 2" in said.error) == (2, True), said.error

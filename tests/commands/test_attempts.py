"""Attempts on the screen, and the command that writes them."""

import io
import os
import pty
import signal
import subprocess
import sys

import pytest
import torch
from rich.console import Console

from podium.commands.attempts import show_attempt, side_by_side
from podium.models import Transformer, TransformerConfig, save_model
from podium.records import Attempt, Maker, Part
from podium.text import train_tokenizer


def attempt(index, *parts):
    return Attempt(
        id=f"x#{index}",
        problem_id="x",
        style="tir",
        prompt=(),
        parts=tuple(Part(role=role, text=text) for role, text in parts),
        maker=Maker(model="m"),
        index=index,
        stop_reason="eos",
    )


def shown(paint, width=120, height=30):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system="truecolor")
    paint(console)
    return console.file.getvalue()


WITH_CODE = attempt(
    0,
    ("model", "I compute.\n<tool_call>\nprint(6 * 7)\n</tool_call>"),
    ("tool", "\n```output\n42\n```\n"),
    ("model", "It is 42."),
)


def test_code_and_outputs_stand_out_from_the_text():
    text = shown(lambda console: show_attempt(console, WITH_CODE))
    assert "\x1b[36m42" in text.replace("```output\n", "\x1b[36m") or "\x1b[36m```output" in text
    assert "I compute." in text
    assert "print(6" not in text  # in several colours
    assert "<tool_call>" not in text


@pytest.mark.parametrize(("width", "columns"), [(200, 4), (100, 2), (30, 1)])
def test_attempts_stand_side_by_side_and_show_their_ends(width, columns):
    attempts = [attempt(index, ("model", "\n".join(f"{index}-{line}" for line in range(100)))) for index in range(4)]
    text = shown(lambda console: console.print(side_by_side(attempts, {1}, console)), width, 40)
    lines = [line for line in text.splitlines() if "-99" in line]
    assert len(lines) == 4 // columns
    assert len(text.splitlines()) <= 40
    assert "2: running" in text
    assert "1: eos" in text


def test_what_a_model_writes_cannot_command_the_terminal():
    text = shown(lambda console: show_attempt(console, attempt(0, ("model", "a\x1b[2Jb\x07\x9b2J"))))
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "[2Jb" in text


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

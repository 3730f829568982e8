"""Every command that uses a model takes the same options for how it is computed, and refuses the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from podium.commands.cli_options import EngineOptions
from podium.errors import InputError
from podium.opening import ModelSpec
from tests.commands.exams import call
from tests.commands.test_cli import COMMANDS

SERVER = "http://localhost:1#m"
WITH_A_MODEL = {
    "solve": ["{model}", "x"],
    "generate": ["{model}", "x"],
    "serve": ["{model}"],
    "draft": ["{model}", "--data", "none.jsonl"],
    "grade": ["none.jsonl", "--judge", "{model}"],
    "exam sit": ["{model}", "--set", "aime24"],
    "exam revote": ["none", "--verifier", "{model}"],
    "exam select": ["none", "{model}"],
}
OPTIONS = ("--replicas", "--device", "--format", "--threads", "--memory", "--drafter")


def words(command: str, model: str) -> list[str]:
    """A call of the command; nothing in it but the model and its options can be wrong before those are looked at."""
    return [*command.split(), *(word.format(model=model) for word in WITH_A_MODEL[command])]


@pytest.mark.parametrize("command", WITH_A_MODEL)
def test_a_command_with_a_model_takes_the_options_of_models(command):
    def told(name):
        options = {option: each for each in COMMANDS[tuple(name.split())].params for option in each.opts}
        return {option: (options[option].help, options[option].default, options[option].metavar) for option in OPTIONS}

    assert told(command) == told("solve")


def test_a_command_without_a_model_does_not_take_them():
    for command in ("merge", "problems", "compare", "exam replay", "exam rehearse"):
        there = {option for each in COMMANDS[tuple(command.split())].params for option in each.opts}
        assert not there & {*OPTIONS} - {"--device"}, command


@pytest.mark.parametrize("command", WITH_A_MODEL)
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--format", "int9"), "did you mean 'int8'?"),
        (("--device", "gpu"), "device 'gpu' is not known"),
        (("--device", "cuda", "--format", "w4a16"), "weights on a GPU cannot be held in it"),
        (("--memory", "lots"), "--memory lots: no amount of memory"),
        (("--device", "cuda", "--replicas", "2"), "--replicas 2 on cuda"),
        (("--threads", "0"), "--threads"),
        (("--replicas", "0"), "--replicas"),
    ],
)
def test_what_does_not_fit_is_the_first_thing_that_is_told(command, option, message):
    done = call(*words(command, "no_model"), *option)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", sorted(set(WITH_A_MODEL) - {"serve", "draft"}))  # they take folders only
@pytest.mark.parametrize(
    "option",
    [
        ("--replicas", "2"),
        ("--device", "cuda"),
        ("--format", "fp8"),
        ("--threads", "1"),
        ("--memory", "1g"),
        ("--drafter", "none"),
    ],
)
def test_a_server_was_told_these_where_it_was_started(command, option):
    done = call(*words(command, SERVER), *option)
    assert done.exit_code == 2
    assert f"{option[0]} " in done.stderr
    assert "http://localhost:1 is a server" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_told_before_anything_heavy_is_loaded():
    code = (
        "import sys\nfrom podium.commands.cli import app\n"
        f"for words in {[[*words(command, 'no_model'), '--device', 'cuda'] for command in WITH_A_MODEL]}:\n"
        "    try: app(words)\n"
        "    except SystemExit as end: print(end.code)\n"
        "heavy = ('torch', 'transformers', 'tokenizers', 'sympy', 'numpy', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2"] * len(WITH_A_MODEL) + ["[]"]
    assert done.stderr.count("error: device 'cuda': ") == len(WITH_A_MODEL)


@pytest.mark.parametrize("command", [["grade", "none.jsonl"], ["exam", "revote", "none"]], ids=["grade", "revote"])
def test_an_option_without_a_model_is_a_mistake(command):
    done = call(*command, "--format", "int8")
    assert (done.exit_code, "--format int8: no model is used" in done.stderr) == (2, True), done.stderr


def test_a_verifier_is_computed_as_the_model_beside_it_in_one_engine():
    engine = EngineOptions(replicas=3, format="int8", threads=2, memory="2g")
    assert engine.spec("m") == ModelSpec("m", 3, "cpu", "int8", 2, 2 << 30)
    assert engine.helper("v") == ModelSpec("v", format="int8", threads=2)
    assert engine.helper(SERVER) == ModelSpec(SERVER)  # though the model beside it has options
    assert engine.helper(None) is None


def test_verifier_and_judge_alone_are_what_the_options_are_of():
    engine = EngineOptions(replicas=3, format="int8", threads=2, memory="2g")
    assert engine.helpers("v", SERVER) == [engine.spec("v"), ModelSpec(SERVER)]
    assert engine.helpers(None, "j") == [None, engine.spec("j")]
    assert EngineOptions().helpers(None, SERVER) == [None, ModelSpec(SERVER)]
    assert EngineOptions().helpers(None, None) == [None, None]
    with pytest.raises(InputError, match="is a server"):
        engine.helpers(SERVER, SERVER)

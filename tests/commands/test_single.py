"""Whose sampling counts, and what is said of a model that is not there."""

import json
import socket

import pytest

from podium.commands.attempts import generate_command
from podium.errors import CompleterError, InputError
from podium.opening import model_sampling, open_model
from podium.solve import get_profile
from podium.solve.profile import profile_overrides


def write_config(folder):
    """A model folder as far as it is looked at before anything is loaded."""
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 8, **shape}))


def test_the_users_word_goes_before_the_models_and_that_before_ours(tmp_path, capsys):
    write_config(tmp_path)
    recommended = {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.1, "max_new_tokens": 500}
    (tmp_path / "generation_config.json").write_text(json.dumps(recommended))
    named = profile_overrides(True, None, 0.0)
    chosen = get_profile("kaggle", **model_sampling(str(tmp_path), "auto", named)).sampling(0)
    assert (chosen.temperature, chosen.top_k, chosen.repetition_penalty, chosen.max_tokens) == (0.0, 20, 1.1, 500)
    assert chosen.top_p == get_profile("kaggle").top_p
    line, *others = capsys.readouterr().err.splitlines()
    assert "top_k 20, repetition_penalty 1.1, max_tokens 500" in line
    assert "temperature" not in line
    assert not others
    off = get_profile("kaggle", **model_sampling(str(tmp_path), "none", named)).sampling(0)
    assert (off.top_k, off.repetition_penalty, off.max_tokens) == (0, 1.0, get_profile("kaggle").max_tokens)
    assert capsys.readouterr().err == ""


def test_a_value_of_the_model_that_means_nothing_is_told_before_it_is_loaded(tmp_path):
    write_config(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"top_p": 2}')
    with pytest.raises(InputError, match=r"generation_config.json: top_p is 2"):
        generate_command(
            str(tmp_path), "x", attempts=1, tools=False, max_tokens=None, temperature=None, top_p=None, seed=0
        )


def test_a_server_that_is_not_there_is_told_before_anything_is_begun():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(CompleterError, match=f"{url}/v1: nothing listens there"):
            open_model(f"{url}#m", 1)
    with pytest.raises(InputError, match="no such model folder") as caught:
        open_model("localhost:8000", 1)
    assert "http://" in caught.value.cure

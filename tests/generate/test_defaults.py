"""What a model's generation_config.json recommends, read as transformers and vLLM read it."""

import json

import pytest

from podium.errors import InputError
from podium.generate.defaults import SamplingDefaults, read_defaults


def folder_with(tmp_path, said, name="generation_config.json"):
    tmp_path.mkdir(parents=True, exist_ok=True)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_text(said if isinstance(said, str) else json.dumps(said))
    return tmp_path


QWEN = {
    "bos_token_id": 151643, "do_sample": True, "eos_token_id": [151645, 151643], "repetition_penalty": 1.05,
    "temperature": 0.7, "top_k": 20, "top_p": 0.8, "transformers_version": "4.37.0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "values"),
    [
        (QWEN, {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}),
        ({"do_sample": False, "temperature": 0.3}, {"temperature": 0.3}),
        ({"max_new_tokens": 7, "min_p": 0.1}, {"max_tokens": 7, "min_p": 0.1}),
        ({"max_new_tokens": 2048.0, "top_k": 50.0}, {"max_tokens": 2048, "top_k": 50}),
        ({"temperature": 0, "top_k": -1}, {"temperature": 0, "top_k": 0}),
        ({"presence_penalty": 1.5, "frequency_penalty": 0.5}, {"presence_penalty": 1.5, "frequency_penalty": 0.5}),
        ({"temperature": None, "top_p": None, "max_length": 20, "eos_token_id": 2}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_what_the_file_says_counts_as_it_stands(tmp_path, said, values):
    defaults = read_defaults(folder_with(tmp_path, said))
    assert defaults.values == values
    transformers = pytest.importorskip("transformers")
    read = transformers.GenerationConfig.from_pretrained(tmp_path).to_diff_dict()
    for name, value in values.items():
        key = "max_new_tokens" if name == "max_tokens" else name
        assert max(0, read[key]) == value


def test_where_it_is_looked_for(tmp_path):
    model = folder_with(tmp_path / "stage" / "model", {"temperature": 0.4})
    assert read_defaults(tmp_path / "stage").values == read_defaults(str(model)).values == {"temperature": 0.4}
    other = folder_with(tmp_path / "other", {"top_k": 3})
    for choice in (other, other / "generation_config.json"):
        assert read_defaults(model, str(choice)).values == {"top_k": 3}
    for choice in ("none", "vllm"):
        assert read_defaults(model, choice) == SamplingDefaults()
    assert read_defaults("http://127.0.0.1:1/v1#m").values == {}
    assert read_defaults(tmp_path).values == {}
    with pytest.raises(InputError, match="no file"):
        read_defaults(model, str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ('{"temperature": NaN}', "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 95}, "top_p"),
        ({"top_k": 2.5}, "top_k"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_can_be_left_out(tmp_path, said, words):
    folder = folder_with(tmp_path, said)
    with pytest.raises(InputError, match=words) as caught:
        read_defaults(folder)
    assert str(folder) in caught.value.message
    assert "--generation-config none" in caught.value.cure
    assert read_defaults(folder, "none").values == {}


def test_the_line_names_what_counts_and_nothing_else():
    defaults = SamplingDefaults({"temperature": 0.6, "top_k": 20}, "m/generation_config.json")
    assert "temperature 0.6, top_k 20 (from m/generation_config.json;" in defaults.line()
    assert "temperature" not in defaults.line({"temperature": 0.0, "top_k": None})
    assert defaults.line({"temperature": 1.0, "top_k": 1}) is None
    assert SamplingDefaults().line() is None

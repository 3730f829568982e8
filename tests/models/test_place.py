"""What is said of a path that holds no model we can run, before anything heavy is loaded."""

import json
import subprocess
import sys

import pytest

from podium.errors import InputError
from podium.models.place import find_model

LLAMA = {
    "model_type": "llama",
    "vocab_size": 16,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
}


def put(path, content="{}"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def a_file(root):
    return put(root / "config.json")


def a_gguf(root):
    return put(root / "smollm2.Q4.gguf", "GGUF")


def a_gguf_by_its_content(root):
    return put(root / "blob", "GGUF\x03")


def a_folder_of_gguf(root):
    return put(root / "m" / "model.gguf", "GGUF").parent


def an_empty_folder(root):
    (root / "m").mkdir()
    return root / "m"


def a_folder_above(root):
    put(root / "m" / "snapshots" / "abc" / "config.json", LLAMA)
    return root / "m"


def a_folder_without_config(root):
    put(root / "m" / "tokenizer.json")
    return root / "m"


def an_unknown_family(root):
    return put(root / "m" / "config.json", {"model_type": "gemma3_text"}).parent


def a_config_without_a_family(root):
    return put(root / "m" / "config.json", {key: LLAMA[key] for key in LLAMA if key != "model_type"}).parent


def a_broken_shape(root):
    return put(root / "m" / "config.json", {**LLAMA, "num_key_value_heads": 3}).parent


CASES = [
    (a_file, "is a file, not a model folder", "name the folder"),
    (a_gguf, "GGUF", "llama-server -m"),
    (a_gguf_by_its_content, "GGUF", "http://localhost:8080/v1#NAME"),
    (a_folder_of_gguf, "model.gguf: is a GGUF file", "safetensors"),
    (an_empty_folder, "is empty", "podium run recipes/demo.yaml"),
    (a_folder_above, "snapshots/abc", "name that folder"),
    (a_folder_without_config, "no config.json (it holds tokenizer.json)", "config.json, *.safetensors"),
    (an_unknown_family, "unknown model_type 'gemma3_text'", "http://HOST:PORT/v1#NAME"),
    (an_unknown_family, "config.json: unknown model_type", "known families: llama, mistral, qwen2, qwen3"),
    (a_config_without_a_family, "model_type is missing", "known: llama, mistral, qwen2, qwen3"),
    (a_broken_shape, "not a multiple", "head counts"),
    (lambda root: root / "none", "no such model folder", "check the path"),
]


@pytest.mark.parametrize(("make", "message", "cure"), CASES)
def test_the_path_and_the_next_step_are_named(make, message, cure, tmp_path):
    path = make(tmp_path)
    with pytest.raises(InputError) as caught:
        find_model(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert cure in caught.value.cure


@pytest.mark.parametrize(("given", "address"), [("gpu1:8000", "gpu1:8000/v1"), ("localhost:80/v1", "localhost:80/v1")])
def test_a_server_without_http_is_told_how(given, address):
    with pytest.raises(InputError, match=f"begins with http://: http://{address}$"):
        find_model(given)


def test_a_name_of_a_hub_is_not_fetched():
    with pytest.raises(InputError, match=r"hf download Qwen/Qwen3-8B --local-dir Qwen3-8B"):
        find_model("Qwen/Qwen3-8B")


def test_the_folder_of_a_stage_leads_to_its_model(tmp_path):
    put(tmp_path / "model" / "config.json", LLAMA)
    assert find_model(tmp_path) == tmp_path / "model"
    assert find_model(tmp_path / "model") == tmp_path / "model"


def test_nothing_heavy_is_loaded_to_say_so(tmp_path):
    code = (
        "import sys\nfrom podium.models.place import find_model\n"
        "try: find_model(sys.argv[1])\nexcept Exception as error: print(error)\n"
        "print('heavy:', [name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "is empty" in done.stdout
    assert "heavy: []" in done.stdout


def test_commands_refuse_an_unknown_family_before_anything_heavy_is_loaded(tmp_path):
    folder = an_unknown_family(tmp_path)
    code = (
        "import sys\nfrom podium.commands.cli import app\n"
        "merge = ['merge', '--weights', '1', '--out', 'x']\n"
        "for command, *rest in (['serve'], ['generate', 'x'], ['solve', 'x'], merge):\n"
        "    try: app([command, sys.argv[1], *rest])\n"
        "    except SystemExit as end: print(command, end.code)\n"
        "print('heavy:', [name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["serve 2", "generate 2", "solve 2", "merge 2", "heavy: []"]
    assert done.stderr.count(f"{folder}/config.json: unknown model_type 'gemma3_text'") == 4
    assert done.stderr.count("known families: llama, mistral, qwen2, qwen3, qwen3_moe") == 4

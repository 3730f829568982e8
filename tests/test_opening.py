"""What a model is opened from, what is refused before anything is loaded, and whose sampling counts."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import torch

from podium.answering import Sampling
from podium.errors import CompleterError, InputError
from podium.generate import Engine
from podium.generate.formats import GPU_FORMATS, WEIGHT_FORMATS
from podium.opening import (
    MEMORY_BYTES,
    ModelSpec,
    check_format,
    model_name,
    model_sampling,
    open_judge,
    open_model,
    open_table,
    open_verifier,
    parse_memory,
)
from podium.solve import get_profile
from podium.solve.profile import profile_overrides
from tests.small_model import save_small_model

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The folder of a training stage, with a model of random weights in it."""
    folder = tmp_path_factory.mktemp("stage")
    save_small_model(folder / "model")
    return folder


def write_config(folder):
    """A model folder as far as it is looked at before anything is loaded."""
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 8, **shape}))


@pytest.mark.parametrize(
    ("fields", "message", "cure"),
    [
        ({"replicas": 0}, "--replicas is 0", "at least 1"),
        ({"threads": 0}, "--threads is 0", "at least 1"),
        ({"memory": 0}, "--memory is 0", "at least 1"),
        ({"device": "tpu"}, "device 'tpu' is not known", "cuda:N"),
        ({"device": "cuda:x"}, "device 'cuda:x' is not known", "cuda:N"),
        ({"device": "CUDA"}, "device 'CUDA' is not known", "cuda:N"),
        ({"device": ""}, "device '' is not known", "cuda:N"),
        ({"format": "int9"}, "format 'int9'", "did you mean 'int8'"),
        ({"format": "FP16"}, "format 'FP16'", "fp16"),
        ({"format": ""}, "format ''", "w4a16"),
        ({"device": "cuda", "format": "w4a16"}, "format 'w4a16': weights on a GPU", "bf16, fp16, fp32, fp8"),
        ({"device": "cuda:1", "replicas": 2}, "--replicas 2 on cuda:1", "podium serve"),
    ],
)
def test_what_fits_no_machine_is_refused_as_a_spec(fields, message, cure):
    with pytest.raises(InputError) as caught:
        ModelSpec("a/folder", **fields)
    assert message in caught.value.message
    assert cure in caught.value.cure


@pytest.mark.parametrize(
    "option", [{"replicas": 2}, {"device": "cuda"}, {"format": "fp8"}, {"threads": 2}, {"memory": 1 << 30}]
)
def test_a_server_was_told_everything_where_it_was_started(option):
    (name,) = option
    with pytest.raises(InputError, match=rf"--{name} \S+: http://localhost:1 is a server"):
        ModelSpec("http://localhost:1#m", **option)
    assert ModelSpec("http://localhost:1#m").is_server


@without_gpu
def test_a_gpu_that_is_not_there_is_told_without_importing_torch():
    code = (
        "import sys\nfrom podium.errors import InputError\nfrom podium.opening import ModelSpec\n"
        "try: ModelSpec('folder', device='cuda:0')\nexcept InputError as error: print(error.message)\n"
        "print('heavy:', [name for name in ('torch', 'numpy', 'transformers', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("device 'cuda:0': ")
    assert second == "heavy: []"


def test_every_format_has_a_device():
    for format in WEIGHT_FORMATS:
        check_format(format, "cpu")
    for format in GPU_FORMATS:
        check_format(format, "cuda:3")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4g", 4 << 30),
        ("4G", 4 << 30),
        ("4 GB", 4 << 30),
        ("4GiB", 4 << 30),
        ("1.5g", 3 << 29),
        ("512m", 512 << 20),
        ("8k", 8192),
        ("1t", 1 << 40),
        ("1000", 1000),
        ("1000b", 1000),
    ],
)
def test_amounts_of_memory(text, amount):
    assert parse_memory(text) == amount


@pytest.mark.parametrize("text", ["", "g", "-1g", "0", "0.0001", "4x", "4gg", "four", "1e9", "4 i", "nan", "٤g"])
def test_what_is_no_amount_of_memory(text):
    with pytest.raises(InputError, match="no amount of memory"):
        parse_memory(text)


def test_a_name_changes_with_the_numbers_that_are_computed_in_and_with_nothing_else(folder):
    plain = model_name(ModelSpec(str(folder)))
    assert plain.startswith(f"{folder / 'model'}@")
    # fp16 is what the CPU computes with where nothing is named.
    for same in ({"format": "fp16"}, {"threads": 1}, {"replicas": 2}, {"memory": 1 << 20}):
        assert model_name(ModelSpec(str(folder), **same)) == plain
    assert model_name(ModelSpec(str(folder / "model"))) == plain
    for format in set(WEIGHT_FORMATS) - {"fp16"}:
        assert model_name(ModelSpec(str(folder), format=format)) == f"{plain}+{format}"


def test_every_field_of_a_spec_reaches_the_engine(folder):
    def opened(**fields):
        made = open_model(ModelSpec(str(folder), **fields), 3)
        assert isinstance(made, Engine)
        asyncio.run(made.close())
        return made

    small = {"memory": 1 << 20}
    plain, exact = opened(**small), opened(format="fp32", **small)
    assert plain.description == "native, fp16 weights"
    assert exact.description == "native, fp32 weights"
    assert plain.name == model_name(ModelSpec(str(folder)))
    assert exact.name == f"{plain.name}+fp32"
    # Keys and values of exact weights are exact too, and take twice the memory.
    assert plain.stats().blocks_total > 1.8 * exact.stats().blocks_total
    for engine in (plain, exact):
        assert 0.8 * (1 << 20) < engine.stats().cache_bytes <= 1 << 20


def test_threads_are_those_of_the_kernel_and_change_no_answer(folder, monkeypatch):
    given = []
    load = Engine.load.__func__

    def watched(cls, *arguments, **keywords):
        given.append(keywords["threads"])
        return load(cls, *arguments, **keywords)

    monkeypatch.setattr(Engine, "load", classmethod(watched))

    async def answer(**fields):
        async with open_table(ModelSpec(str(folder), memory=1 << 20, **fields), 1, False) as (completer, sandbox):
            assert sandbox is None
            return "".join([piece.text async for piece in await completer.start("What is", Sampling(max_tokens=12))])

    answers = {asyncio.run(answer(threads=threads)) for threads in (1, 2)}
    assert given == [1, 2]
    assert len(answers) == 1


def test_replicas_share_rows_memory_and_threads(folder, monkeypatch):
    made = []
    monkeypatch.setattr("podium.generate.parallel.ParallelCompleter", lambda *given: made.append(given))
    cores = os.cpu_count() or 1
    open_model(ModelSpec(str(folder), replicas=2, threads=5, memory=3 << 20, format="fp32"), 5)
    open_model(ModelSpec(str(folder), replicas=2), 4, name="two")
    (first, count, threads), (second, _, of_all) = made
    assert (count, threads, of_all) == (2, 2, max(1, cores // 2))
    assert first.options == {"max_rows": 3, "memory_bytes": 3 << 19, "format": "fp32"}
    assert second.options == {"max_rows": 2, "memory_bytes": MEMORY_BYTES // 2}
    assert (first.folder, second.name) == (folder / "model", "two")
    assert first.name == model_name(ModelSpec(str(folder), format="fp32"))


@pytest.mark.parametrize(
    ("memory", "spare", "given"),
    [(None, False, 20 << 30), (None, True, MEMORY_BYTES), (6 << 30, False, 6 << 30), (6 << 30, True, 6 << 30)],
)
def test_a_model_takes_what_a_gpu_has_left_and_a_helper_leaves_it(folder, monkeypatch, memory, spare, given):
    """The GPU is made up: one whose memory has room for 20 GB beside the weights."""
    made = []
    monkeypatch.setattr("podium.opening.check_gpu", lambda device: None)
    monkeypatch.setattr("podium.generate.device.place.find_device", torch.device)
    monkeypatch.setattr("podium.generate.device.place.own_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr("podium.generate.device.place.cache_budget", lambda place, weights: 20 << 30)
    monkeypatch.setattr("podium.generate.replica.EngineSpec.load", lambda spec, threads: made.append(spec))
    open_model(ModelSpec(str(folder), device="cuda:1", format="fp8", memory=memory), 4, name="m", spare=spare)
    assert made[0].options == {"max_rows": 4, "format": "fp8", "device": "cuda:1", "memory_bytes": given}
    with pytest.raises(CompleterError, match=r"the weights leave 21\.5 GB"):
        open_model(ModelSpec(str(folder), device="cuda:1", format="bf16", memory=21 << 30), 4, name="m")


def test_the_kind_of_a_gpu_and_its_own_format_stand_in_the_name(folder, monkeypatch):
    plain = model_name(ModelSpec(str(folder)))
    monkeypatch.setattr("podium.opening.check_gpu", lambda device: None)
    monkeypatch.setattr("podium.generate.device.place.find_device", torch.device)
    monkeypatch.setattr("podium.generate.device.place.own_dtype", lambda device: torch.bfloat16)
    names = {model_name(ModelSpec(str(folder), device=device)) for device in ("cuda", "cuda:1")}
    assert names == {f"{plain}+cuda-bf16"}
    assert model_name(ModelSpec(str(folder), device="cuda", format="bf16")) in names
    assert model_name(ModelSpec(str(folder), device="cuda", format="fp8")) == f"{plain}+cuda-fp8"


def test_verifier_and_judge_are_opened_as_their_specs_say(folder):
    async def opened():
        async with AsyncExitStack() as stack:
            spec = ModelSpec(str(folder), format="int8", memory=1 << 20)
            verifier, judge = await open_verifier(spec, 4, stack), await open_judge(spec, stack)
            return verifier.name, judge.name

    assert asyncio.run(opened()) == (model_name(ModelSpec(str(folder), format="int8")),) * 2


def test_a_server_that_is_not_there_is_told_before_anything_is_begun():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(CompleterError, match=f"{url}/v1: nothing listens there"):
            open_model(ModelSpec(f"{url}#m"), 1)
    with pytest.raises(InputError, match="no such model folder") as caught:
        open_model(ModelSpec("localhost:8000"), 1)
    assert "http://" in caught.value.cure


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

"""Which device and which numbers; whole models placed there, from a folder and from memory."""

import pytest
import torch

from podium.answering import Sampling
from podium.errors import CompleterError, InputError
from podium.generate import Engine
from podium.generate.device import attention, place
from podium.generate.device.attention import first_right, gathered, kernels
from podium.generate.device.place import find_device, place_model, weight_bytes
from podium.generate.layered import layered
from podium.models import StoredModel, save_model
from tests.generate.conftest import answer, random_model

CPU = torch.device("cpu")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    # The rows of a vocabulary of its own: several shapes must not be mixed up.
    model = random_model(tokenizer, "qwen3", num_key_value_heads=4, head_dim=32)
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, model, tokenizer)
    return folder


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:-1", "CUDA", "", "cpu:0"])
def test_names_that_mean_nothing(name):
    with pytest.raises(InputError, match="not known"):
        find_device(name)


@without_gpu
def test_without_a_gpu_the_error_says_what_is_missing():
    with pytest.raises(InputError, match=r"CUDA|GPU") as found:
        find_device("cuda:0")
    assert "cpu" in found.value.cure


@pytest.mark.parametrize("kernel", ["torch", "native"])
def test_formats_are_checked_where_they_are_meant_for(model, tokenizer, kernel):
    with pytest.raises(InputError, match="format"):
        Engine(model, tokenizer, kernel=kernel, format="fp9")
    with pytest.raises(InputError, match="int8"):
        Engine(model, tokenizer, kernel="graphs", format="int8")


@pytest.mark.parametrize("format", [None, "fp32", "bf16", "fp8"])
def test_from_a_folder_as_from_memory(folder, format):
    stored = StoredModel(folder)
    from_disk, name = place_model(layered(stored), CPU, format)
    in_memory, same_name = place_model(layered(stored.load()), CPU, format)
    assert name == same_name == (format or "fp32")
    found, expected = dict(from_disk.state_dict()), dict(in_memory.state_dict())
    assert found.keys() == expected.keys()
    for key, tensor in found.items():
        assert tensor.dtype == expected[key].dtype
        assert torch.equal(tensor.view(torch.uint8), expected[key].view(torch.uint8)), key
    scales = sum(t.nbytes for key, t in found.items() if key.endswith("scales"))
    held = sum(t.nbytes for t in found.values()) - scales
    assert held == weight_bytes(from_disk if format != "fp8" else stored.model, CPU, format)


def test_a_model_in_memory_stays_as_it_was(model, tokenizer):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    same, _ = place_model(layered(model), CPU, "fp32")
    assert same is model, "nothing to change: no copy"
    other, _ = place_model(layered(model), CPU, "bf16")
    assert other.embedding.weight.dtype == torch.bfloat16
    place_model(layered(model), CPU, "fp8")
    assert model.state_dict().keys() == before.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


async def test_an_engine_of_a_folder_in_fp8_answers(folder):
    engine = Engine.load(folder, kernel="graphs", format="fp8", max_rows=4, memory_bytes=1 << 22)
    assert engine.description == "graphs, fp8 on cpu, attention gathered"
    first = await answer(engine, "What is 12 + 31?", Sampling(max_tokens=20, ignore_eos=True))
    assert len(first) == 20
    assert await answer(engine, "What is 12 + 31?", Sampling(max_tokens=20, ignore_eos=True)) == first
    await engine.close()


def test_weights_that_do_not_fit_are_told_before_they_are_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20 << 30, 24 << 30))
    assert place.cache_budget(torch.device("cuda:0"), 8 << 30) == (20 << 30) - (24 << 30) // 10 - (9 << 30)
    with pytest.raises(CompleterError, match="do not fit"):
        place.cache_budget(torch.device("cuda:0"), 17 << 30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_wrong_kernel_is_passed_over(dtype):
    def shifted(paged):
        return gathered(paged._replace(positions=paged.positions.clamp(min=1) - 1))

    def unscaled(paged):
        attend = gathered(paged)
        return lambda layer, q: attend(layer, q * 8)

    def missing(paged):
        raise NotImplementedError

    wrong = [("shifted", shifted), ("unscaled", unscaled), ("missing", missing)]
    right = ("gathered", gathered)
    assert first_right([*wrong, right], CPU, dtype, 28, 4, 128) == right
    assert kernels(CPU) == [right]
    with pytest.raises(CompleterError, match="does not give"):
        first_right(wrong, CPU, dtype, 4, 4, 16)
    assert not attention._flash_works(CPU)

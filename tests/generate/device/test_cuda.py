"""What only a GPU can show: captured steps against eager ones, FP8 products of the tensor cores, nothing that waits."""

import asyncio
import random
import threading

import pytest
import torch

from podium.answering import Sampling
from podium.generate import Engine
from podium.generate.device.fp8 import Fp8Linear
from podium.generate.device.place import find_device, own_dtype, place_model
from podium.generate.device.runner import GraphRunner
from podium.generate.layered import layered
from podium.generate.runner import Span, TorchRunner
from tests.generate.conftest import random_model, read
from tests.generate.test_parity import CAPTURED, KINDS, check_all, oracle  # noqa: F401

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]
PROMPT = list(range(5, 45))


@pytest.fixture
def gpu():
    return find_device("cuda")


def needs_fp8(gpu):
    if torch.cuda.get_device_capability(gpu) < (8, 9):
        pytest.skip("this GPU has no FP8")


def prompts_and_rows(vocabulary, rng):
    """Three prompts, then steps of 1 to 3 rows of one token each."""
    tables = [[7, 1], [0, 5], [3, 6]]
    draw = lambda count: [rng.randrange(vocabulary) for _ in range(count)]  # noqa: E731
    yield [Span(draw(20 + i), 0, table, 1) for i, table in enumerate(tables)]
    for step in range(12):
        yield [Span(draw(1), 20 + i + step, table, 1) for i, table in enumerate(tables[: 1 + step % 3])]


@pytest.mark.parametrize("format", ["fp32", "bf16", "fp16", "fp8"])
@pytest.mark.parametrize("kind", CAPTURED)
def test_captured_steps_are_the_eager_ones(tokenizer, gpu, kind, format):
    if format == "fp8":
        needs_fp8(gpu)
    model = random_model(tokenizer, kind, **KINDS[kind]).initialise(0, std=0.05)
    placed, _ = place_model(layered(model), gpu, format)
    eager, captured = TorchRunner(placed), GraphRunner(placed)
    for runner in (eager, captured):
        runner.allocate(9)
    tolerance = 1e-4 if format == "fp32" else 3e-2
    for spans in prompts_and_rows(tokenizer.vocab_size, random.Random(0)):
        expected, found = eager.step(spans)[0], captured.step(spans)[0].clone()
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def test_a_replayed_step_neither_waits_nor_allocates(tokenizer, gpu):
    placed, _ = place_model(layered(random_model(tokenizer)), gpu, None)
    runner = GraphRunner(placed)
    runner.allocate(9)
    spans = [Span([4], 3, [1], 1), Span([5], 40, [2, 3], 1)]
    runner.step(spans)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated(gpu)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            runner.step(spans)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated(gpu) == before


@pytest.mark.parametrize("oracle", CAPTURED, indirect=True)
async def test_greedy_answers_are_those_of_transformers(oracle, make_engine):  # noqa: F811
    engine = make_engine(oracle.model, device="cuda", format="fp32", max_rows=12)
    assert engine.description.startswith("graphs, fp32 on ")
    await check_all(engine, oracle)


async def test_drawn_answers_are_those_of_the_cpu_up_to_near_ties(model, make_engine):
    """The same seeds; in fp32 the logits differ in the sixth digit, and so a few of many tokens."""
    sampling = [
        Sampling(max_tokens=30, temperature=0.9, seed=seed, ignore_eos=True, **settings)
        for seed, settings in enumerate([{}, {"top_p": 0.9}, {"top_k": 20}, {"min_p": 0.05}, {"top_k": 100}] * 8)
    ]

    async def answers(**options):
        engine = make_engine(model, max_rows=48, **options)
        completions = [await engine.start(PROMPT, each) for each in sampling]
        return [tokens for _, tokens, _ in await asyncio.gather(*[read(each) for each in completions])]

    on_cpu, on_gpu = await answers(kernel="torch"), await answers(device="cuda", format="fp32")
    same = sum(a == b for a, b in zip(on_cpu, on_gpu, strict=True))
    assert same >= len(sampling) * 0.9


def test_the_tensor_cores_compute_what_the_cpu_says(gpu):
    needs_fp8(gpu)
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(512, 384)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(384, 512, generator=generator) * torch.logspace(-2, 2, 384)[:, None])
    for rows in (1, 2, 7, 16, 64, 300):
        x = torch.randn(rows, 512, generator=generator).bfloat16()
        expected = Fp8Linear(linear, torch.device("cpu"), torch.bfloat16)(x).float()
        found = Fp8Linear(linear, gpu, torch.bfloat16)(x.to(gpu)).float().cpu()
        # The same products; sums of the tensor cores keep some bits less than fp32's.
        scale = expected.abs().amax(0, keepdim=True)
        assert ((found - expected).abs() <= 2e-2 * scale).all()


async def test_an_engine_captures_while_others_compute(model, tokenizer, gpu):
    stop = threading.Event()

    def compute():
        x = torch.randn(256, 256, device=gpu)
        while not stop.is_set():
            x = torch.nn.functional.normalize(x @ x)

    other = threading.Thread(target=compute)
    other.start()
    try:
        engine = Engine(model, tokenizer, device="cuda", max_rows=16)
        completions = [await engine.start(PROMPT, Sampling(max_tokens=60, seed=seed)) for seed in range(16)]
        found = await asyncio.gather(*[read(each) for each in completions])
        assert all(tokens for _, tokens, _ in found)
        await engine.close()
    finally:
        stop.set()
        other.join()


def test_numbers_that_suit_the_gpu(gpu, model):
    placed, name = place_model(layered(model), gpu, None)
    assert placed.embedding.weight.dtype == own_dtype(gpu)
    assert name in ("bf16", "fp16")
    assert model.embedding.weight.device.type == "cpu"

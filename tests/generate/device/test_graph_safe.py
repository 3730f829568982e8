"""What is captured never leaves the device: checked on CUDA tensors that hold nothing, which need no GPU.

PyTorch's FakeTensorMode runs the very code on tensors that know their device and shape alone. It refuses what depends
on a value (a host that waits, a shape that is counted) and what mixes devices; a copy from the host fails for want of
CUDA or is found by `OnDevice`.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from podium.generate.device.attention import gathered
from podium.generate.device.decode import DecodeStep
from podium.generate.device.fp8 import E4M3, Fp8Linear
from podium.models import Transformer
from tests.generate.conftest import random_model

CUDA = torch.device("cuda:0")
ROWS, WIDTH, BLOCKS = 4, 3, 7


class OnDevice(TorchDispatchMode):
    """Fails when an operation takes or gives a tensor elsewhere; counts operations."""

    def __init__(self, device=CUDA):
        super().__init__()
        self.device = device
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, found)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device == self.device, f"{operation}: a tensor on {tensor.device}"
        assert "lift_fresh" not in str(operation), "numbers of the host become a tensor"
        self.operations.append(str(operation))
        return found


class WithoutDriver(TorchFunctionMode):
    """x[…] by the operators it stands for, and copies as an operation of the same devices and shapes: PyTorch's own way
    asks a driver first, which is not there."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.copy_:
            target, source = args
            assert source.device == target.device
            return target.mul_(source.expand(target.shape).sign().to(target.dtype))
        if function is torch.Tensor.contiguous:
            return args[0] * 1
        if function is not torch.Tensor.__getitem__:
            return function(*args, **(kwargs or {}))
        x, index = args
        index = index if isinstance(index, tuple) else (index,)
        at = 0
        for part in index:
            if part is None:
                x = x.unsqueeze(at)
            elif isinstance(part, int):
                x = x.select(at, part)
                continue
            elif isinstance(part, slice):
                x = torch.ops.aten.slice(x, at, part.start, part.stop, part.step or 1)
            else:
                raise AssertionError(f"indexing with {part}")
            at += 1
        return x


def on_fake_cuda(model, dtype, eight=False):
    """The model with parameters that hold nothing. Call within the FakeTensorMode."""
    with torch.device("meta"):
        fake = Transformer(model.config)
    for path, module in list(fake.named_modules()):
        if eight and isinstance(module, nn.Linear) and path.startswith("layers"):
            parent, _, leaf = path.rpartition(".")
            linear = Fp8Linear.__new__(Fp8Linear)
            nn.Module.__init__(linear)
            inner = (module.out_features, module.in_features)
            linear.weight = torch.empty(inner, dtype=E4M3, device=CUDA)
            linear.scales = torch.empty(1, inner[0], device=CUDA)
            linear.bias = None if module.bias is None else torch.empty(inner[0], dtype=dtype, device=CUDA)
            setattr(fake.get_submodule(parent), leaf, linear)
            continue
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, dtype=dtype, device=CUDA)
            setattr(module, name, nn.Parameter(empty, requires_grad=False))
    fake.rope.inverse_frequencies = torch.empty(model.config.head_dim // 2, device=CUDA)
    return fake


class Inputs:
    """A mailbox whose letters are there."""

    def __init__(self, device):
        self.device = torch.zeros(ROWS, 2 + WIDTH, dtype=torch.int64, device=device)


def decode_step(model, device, dtype):
    """A step over a pool that holds zeros."""
    config = model.config
    shape = (config.num_hidden_layers, 2, config.num_key_value_heads, BLOCKS, 32, config.head_dim)
    step = DecodeStep.__new__(DecodeStep)
    step.model, step.kernel, step.taps = model, gathered, (0,)
    step.pool = torch.zeros(shape, dtype=dtype, device=device)
    step.logits = torch.zeros(ROWS, config.vocab_size, device=device)
    step.states = torch.zeros(ROWS, 2 * config.hidden_size, device=device)
    step.inputs = Inputs(device)
    return step


KINDS = {
    "llama": {"attention_bias": True, "tie_word_embeddings": True},
    "qwen2": {"num_key_value_heads": 1},
    "qwen3": {"num_key_value_heads": 4, "head_dim": 32},
}


@pytest.mark.parametrize("eight", [False, True], ids=["bf16", "fp8"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_stays_on_the_device_and_waits_for_nothing(tokenizer, kind, eight):
    model = random_model(tokenizer, kind, **KINDS[kind])
    with FakeTensorMode(), WithoutDriver(), torch.inference_mode():
        step = decode_step(on_fake_cuda(model, torch.bfloat16, eight), CUDA, torch.bfloat16)
        with OnDevice() as watch:
            step.run()
        first = list(watch.operations)
        with watch:
            step.run()
        assert watch.operations == first * 2, "the same kernels every time"
        assert any("_scaled_mm" in operation for operation in first) == eight


@pytest.mark.parametrize(
    "way",
    [
        lambda x: float(x.sum()),  # waits
        lambda x: x.nonzero(),  # counts
        lambda x: x.add_(torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device)),
        lambda x: x.add_(torch.ones(4)),
        lambda x: x.cpu(),
    ],
)
def test_what_leaves_the_device_is_found(way):
    with FakeTensorMode(), OnDevice():
        x = torch.zeros(4, device=CUDA)
        with pytest.raises((RuntimeError, AssertionError)):
            way(x)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_answers_to_what_it_was_not_recorded_on(tokenizer, kind):
    """A graph repeats operations on the same tensors. A recording of them on the CPU, run again on other inputs, must
    give what the step itself gives to these: no number may have gone through Python."""
    model = random_model(tokenizer, kind, **KINDS[kind])
    first = torch.tensor([[5, 40, 2, 0, 6], [9, 0, 1, 6, 6], [1, 95, 5, 4, 3], [0, 0, 6, 6, 6]])
    second = torch.tensor([[7, 41, 2, 0, 6], [3, 64, 4, 5, 1], [0, 0, 6, 6, 6], [0, 0, 6, 6, 6]])
    with torch.no_grad():
        plain, recorded = (decode_step(model, torch.device("cpu"), torch.float32) for _ in range(2))
        recorded.inputs.device.copy_(first)
        graph = make_fx(lambda: recorded.run())()
        recorded.pool.zero_()
        for inputs in (first, second):
            for step, run in ((plain, plain.run), (recorded, graph)):
                step.inputs.device.copy_(inputs)
                run()
            assert torch.equal(recorded.logits, plain.logits)
            assert torch.equal(recorded.pool, plain.pool)
        assert plain.logits.abs().max() > 0

"""Claim: training steps of ResNet-50 and BERT-large are at least as fast as timm's and transformers' own.

The same weights, the same batch, the same optimiser (SGD), forward, backward and update; the contenders take turns
step by step in one process, so that a busy machine slows both alike. Samples per CPU second (of the process) and per
second are printed, with the losses of the first step, which agree. ResNet-50 is measured in timm's own environment,
which sees Podium and its torch too.

    benchmarks/peers/install.sh timm
    python benchmarks/train_step_vs_peers.py                             # resnet, bert
    python benchmarks/train_step_vs_peers.py bert --layers 4 --steps 5
    python benchmarks/train_step_vs_peers.py --device cuda --batch 64    # bf16; images/s, tokens/s and MFU
"""

from __future__ import annotations

import podium  # noqa: F401  # before torch: it says how waiting threads wait

# isort: split
import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from peers.environments import interpreter, missing
from rich.console import Console
from rich.table import Table

from podium.train import measure_gemm_peak

Step = Callable[[], torch.Tensor]
# Multiply-adds of a forward pass at 224 x 224, published with the model (4.09 G): two operations each, three passes.
RESNET50_FLOPS = 3 * 2 * 4.09e9


def stepper(model: torch.nn.Module, loss: Callable[[], torch.Tensor], device: str) -> Step:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def step() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value.detach()

    return step


def resnet_steps(batch: int, device: str, image: int) -> tuple[dict[str, Step], float]:
    # PyPI's torchvision is built for CUDA. Beside a CPU build of torch its operators do not load, and importing it
    # fails where it describes them; timm wants none of them for this.
    with mock.patch("torch.library.register_fake", return_value=lambda function: function):
        import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports]
    import timm  # pyright: ignore[reportMissingImports]

    from podium.models.resnet import RESNET50, ResNet

    ours = ResNet(RESNET50).initialise(0).to(device)
    theirs = timm.create_model("resnet50").to(device)
    theirs.load_state_dict(ours.state_dict())
    ours = ours.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images, labels = torch.randn(batch, 3, image, image, device=device), torch.randint(1000, (batch,), device=device)
    last = images.to(memory_format=torch.channels_last)
    steps = {
        "podium": stepper(ours, lambda: F.cross_entropy(ours(last).float(), labels), device),
        "timm": stepper(theirs, lambda: F.cross_entropy(theirs(images).float(), labels), device),
    }
    return steps, RESNET50_FLOPS * batch * (image / 224) ** 2


def bert_steps(batch: int, device: str, layers: int, length: int) -> tuple[dict[str, Step], float]:
    from transformers import BertConfig as TheirConfig
    from transformers import BertForPreTraining

    from podium.models.bert import BERT_LARGE, Bert, from_transformers

    config = replace(BERT_LARGE, layers=layers, dropout=0.0)
    theirs: Any = BertForPreTraining(
        TheirConfig(
            hidden_size=1024,
            num_hidden_layers=layers,
            num_attention_heads=16,
            intermediate_size=4096,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    theirs.to(device)
    ours = Bert(config).to(device)
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    theirs.train()
    tokens = torch.randint(1, 30522, (batch, length), device=device)
    asked = torch.rand(batch, length, device=device) < 0.15
    words, follows = torch.where(asked, tokens, -100), torch.randint(2, (batch,), device=device)

    def our_loss() -> torch.Tensor:
        hidden = ours.hidden(tokens)
        words_loss = F.cross_entropy(ours.words(hidden[asked]).float(), words[asked])
        return words_loss + F.cross_entropy(ours.follows(hidden).float(), follows)

    steps = {
        "podium": stepper(ours, our_loss, device),
        "transformers": stepper(theirs, lambda: theirs(tokens, labels=words, next_sentence_label=follows).loss, device),
    }
    return steps, ours.flops(batch * length, length, int(asked.sum()))


def compare(name: str, steps: dict[str, Step], batch: int, number: int, flops: float, device: str) -> Table:
    losses = {who: float(step()) for who, step in steps.items()}  # warm-up
    wall: dict[str, list[float]] = {who: [] for who in steps}
    cpu: dict[str, list[float]] = {who: [] for who in steps}
    for _ in range(number):
        for who, step in steps.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            step()
            if device != "cpu":
                torch.cuda.synchronize()
            wall[who].append(time.perf_counter() - began)
            cpu[who].append(time.process_time() - cpu_began)
    peak = measure_gemm_peak(device, torch.float32 if device == "cpu" else torch.bfloat16)
    table = Table(name, "first loss", "samples / CPU s", "samples / s", "MFU", "of peer (CPU s)")
    peer = statistics.median(cpu[list(steps)[1]])
    for who in steps:
        seconds, cpu_seconds = statistics.median(wall[who]), statistics.median(cpu[who])
        table.add_row(
            who,
            f"{losses[who]:.4f}",
            f"{batch / cpu_seconds:.3f}",
            f"{batch / seconds:.3f}",
            f"{flops / seconds / peak:.1%}",
            f"{peer / cpu_seconds:.2f}x",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["resnet", "bert"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    console = Console()
    for name in options.models:
        if name == "resnet" and importlib.util.find_spec("timm") is None:
            if reason := missing("timm"):
                console.print(f"resnet: skipped: {reason}")
            else:
                given = [argument for argument in sys.argv[1:] if argument not in ("resnet", "bert")]
                subprocess.run([str(interpreter("timm")), __file__, "resnet", *given], check=True)
            continue
        make: Any = resnet_steps if name == "resnet" else bert_steps
        more = (options.image,) if name == "resnet" else (options.layers, options.length)
        steps, flops = make(options.batch, options.device, *more)
        console.print(compare(name, steps, options.batch, options.steps, flops, options.device))


if __name__ == "__main__":
    main()

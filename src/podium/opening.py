"""Opening a model, in the one way that every command, stage and contest has: a folder, or a server's address.

A ModelSpec says which model and how it is computed; open_model, open_table, open_verifier and open_judge turn it into
something that answers. This room knows where models lie and who can run them; what is asked of them is the caller's.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.answering.reach import is_server
from podium.errors import CompleterError, InputError, nearest
from podium.models.place import find_model

if TYPE_CHECKING:
    from podium.answering.protocol import Completer
    from podium.grading.judge import Judge
    from podium.sandbox import Sandbox
    from podium.solve.verifier import Verifier

MEMORY_BYTES = 4 << 30
"""For keys and values where nothing is said: of an engine on the CPU, and of a verifier or judge anywhere."""

VERIFIER_ROWS = 16
"""Attempts that a verifier reads side by side."""

JUDGE_ROWS = 16
"""Questions that a judge answers side by side."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how it is computed. A spec that does not fit is refused before anything heavy is loaded.

    Attributes:
        model: a model folder, the folder of a training stage, or the address of a server, `http(s)://…`, with `#NAME`
            where the server has several models. A server was told everything else where it was started.
        replicas: engines side by side, each in a process of its own; they share rows, memory and threads.
        device: "cpu", "cuda" or "cuda:N".
        format: the format that the weights are held in; None: what suits the device, fp16 on the CPU.
        threads: processor threads of all replicas together; None: one per core.
        memory: bytes for keys and values of all replicas together; None: MEMORY_BYTES on the CPU, and on a GPU what the
            weights leave of its memory.
        drafter: who guesses tokens ahead, by its name in podium.generate.drafters; changes how fast an answer comes.

    Raises:
        InputError: a server with any of these, a number below 1, several replicas on a GPU, no such device or format,
            or no GPU on this machine.
    """

    model: str
    replicas: int = 1
    device: str = "cpu"
    format: str | None = None
    threads: int | None = None
    memory: int | None = None
    drafter: str = "own"

    def __post_init__(self) -> None:
        if self.is_server:
            for field in fields(self)[1:]:
                value = getattr(self, field.name)
                if value != field.default:
                    url = self.model.partition("#")[0]
                    cure = "start the replicas there" if field.name == "replicas" else "it was chosen there"
                    raise InputError(f"--{field.name} {value}: {url} is a server", cure)
            return
        for option in ("replicas", "threads", "memory"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise InputError(f"--{option} is {value}", "at least 1")
        check_device(self.device)
        check_format(self.format, self.device)
        if self.device == "cpu":
            return
        if self.replicas > 1:
            raise InputError(
                f"--replicas {self.replicas} on {self.device}", "start one `podium serve --device cuda:N` for each GPU"
            )
        check_gpu(self.device)

    @property
    def is_server(self) -> bool:
        """Whether a server computes the model."""
        return is_server(self.model)


def check_device(device: str) -> None:
    """Refuse a name that no device has. Whether this machine has such a device is asked by check_gpu.

    Raises:
        InputError: the name is neither cpu, nor cuda, nor cuda:N.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device, re.ASCII):
        raise InputError(f"device {device!r} is not known", "use cpu, cuda or cuda:N")


def check_format(format: str | None, device: str) -> None:
    """Refuse a weight format that engines on this device do not compute with.

    Raises:
        InputError: names the nearest format that they do compute with.
    """
    from podium.generate.formats import GPU_FORMATS, WEIGHT_FORMATS

    known = WEIGHT_FORMATS if device == "cpu" else GPU_FORMATS
    if format is not None and format not in known:
        where = "the CPU" if device == "cpu" else "a GPU"
        raise InputError(f"format {format!r}: weights on {where} cannot be held in it", nearest(format, known))


def check_gpu(device: str) -> None:
    """Refuse a GPU where this machine has none, without spending the seconds that an import of PyTorch takes.

    Where there is one, podium.generate.device.place.find_device looks closer when the model is opened.

    Raises:
        InputError: PyTorch was built without CUDA, or the driver is missing.
    """
    import ctypes
    import importlib.util

    torch = importlib.util.find_spec("torch")
    libraries = [Path(place) / "lib" for place in (torch.submodule_search_locations if torch else None) or ()]
    if any(any(place.glob("*torch_hip*")) for place in libraries):
        return
    why = None
    if not any(any(place.glob("*torch_cuda*")) for place in libraries):
        why = "this PyTorch was built without CUDA"
    else:
        try:
            ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        except OSError:
            why = "this machine has no driver for a GPU"
    if why is not None:
        raise InputError(f"device {device!r}: {why}", "use cpu; or install PyTorch for CUDA on a machine with a GPU")


def parse_memory(text: str) -> int:
    """The bytes that a text such as "4g", "512M", "1.5 GB" or "2GiB" stands for; without a unit it counts bytes, and
    1 k is 1024 bytes.

    Raises:
        InputError: the text is nothing of this kind, or less than one byte.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])i?)?b?", text.strip().lower(), re.ASCII)
    amount = int(float(found[1]) * 1024 ** " kmgt".index(found[2] or " ")) if found else 0
    if amount < 1:
        raise InputError(f"--memory {text}: no amount of memory", "write 4g, 512m or a number of bytes")
    return amount


def open_model(spec: ModelSpec, rows: int, *, name: str | None = None, spare: bool = False) -> Completer:
    """The engine over a model folder, or the client of a server; $PODIUM_API_KEY is the server's key.

    Args:
        rows: completions computed side by side, in all replicas together.
        name: what the completer of a folder is called; None: as model_name says.
        spare: the caller can do without its answers (a judge, a verifier). That a named server is away is no error
            yet, and on a GPU it takes MEMORY_BYTES for keys and values and leaves the rest to the model beside it.

    Raises:
        InputError: no such folder, no tokenizer in it, no such drafter, a server without this model, or no GPU of this
            number.
        CompleterError: the weights or the keys and values do not fit into the GPU's memory; no server is there, or
            none with this API.
    """
    if spec.is_server:
        return _open_server(spec.model, spare=spare)
    folder = find_model(spec.model)  # before anything heavy is imported
    from podium.generate.replica import EngineSpec

    options: dict[str, Any] = {"max_rows": math.ceil(rows / spec.replicas)}
    if spec.drafter != "own":
        from podium.generate.drafters import DRAFTERS

        DRAFTERS.find(spec.drafter)  # what is wrong with it is told before weights are read
        options["drafter"] = spec.drafter
    if spec.format is not None:
        options["format"] = spec.format
    if spec.device == "cpu":
        options["memory_bytes"] = (spec.memory or MEMORY_BYTES) // spec.replicas
    else:
        options |= {"device": spec.device, "memory_bytes": _memory_on_gpu(folder, spec, spare=spare)}
    engine = EngineSpec(folder, name or model_name(spec), options)
    if spec.replicas == 1:
        return engine.load(spec.threads)
    from podium.generate.parallel import ParallelCompleter

    threads = spec.threads or os.cpu_count() or 1
    return ParallelCompleter(engine, spec.replicas, max(1, threads // spec.replicas))


def _open_server(model: str, *, spare: bool) -> Completer:
    from podium.answering.openai import OpenAICompleter
    from podium.answering.reach import api_key, reach

    url, _, name = model.partition("#")
    try:
        found = reach(url, name or None, key=api_key())
    except CompleterError:
        if not spare or not name:
            raise
        return OpenAICompleter(url, model=name, api_key=api_key())
    return OpenAICompleter(found.url, model=found.model, api_key=api_key())


def _memory_on_gpu(folder: Path, spec: ModelSpec, *, spare: bool) -> int:
    """Bytes for keys and values on the GPU of a spec.

    Raises:
        InputError: there is no GPU of this number.
        CompleterError: the GPU has no room for so much beside the weights.
    """
    from podium.generate.device.place import cache_budget, find_device, weight_bytes
    from podium.models import StoredModel

    place = find_device(spec.device)
    left = cache_budget(place, weight_bytes(StoredModel(folder).model, place, spec.format))
    if spec.memory is None:
        return min(left, MEMORY_BYTES) if spare else left
    if spec.memory > left:
        raise CompleterError(
            f"{spec.memory / 1e9:.1f} GB for keys and values on {spec.device}: the weights leave {left / 1e9:.1f} GB",
            "ask for less --memory, or leave it out",
        )
    return spec.memory


def model_name(spec: ModelSpec) -> str:
    """What the completer of a spec will be called, without loading it: two specs of one name give the same answers.

    The name of a folder has a digest of its files behind it, and where they are computed in other numbers than those of
    fp16 on the CPU, device and format: `FOLDER@DIGEST+int8`, `FOLDER@DIGEST+cuda-bf16`. Threads, replicas, memory and
    the number of the GPU change how fast an answer comes.

    Raises:
        InputError: no such folder, a model of a family that is not known, or no GPU of this number.
        CompleterError: no server is there, or none with this API and model.
    """
    if spec.is_server:
        from podium.answering.reach import api_key, reach

        url, _, name = spec.model.partition("#")
        return reach(url, name or None, key=api_key()).model
    folder = find_model(spec.model)
    name = f"{folder}@{weights_digest(folder)}"
    if spec.device == "cpu":
        return name if spec.format in (None, "fp16") else f"{name}+{spec.format}"
    return f"{name}+cuda-{spec.format or _own_format(spec.device)}"


def _own_format(device: str) -> str:
    """The format that a GPU holds weights in where none is named."""
    from podium.generate.device.place import find_device, own_dtype

    return {"torch.bfloat16": "bf16", "torch.float16": "fp16"}[str(own_dtype(find_device(device)))]


def weights_digest(folder: Path) -> str:
    """Twelve hex digits that change with the model: a folder retrained in place is another model to an exam."""
    files = sorted([*folder.glob("*.safetensors"), folder / "config.json", folder / "tokenizer.json"])
    # Loading says what is missing.
    return _digest(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()))


@functools.lru_cache(maxsize=8)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files by their paths, sizes and times: a model is named before it is loaded, and read only once for that."""
    import hashlib

    digest = hashlib.blake2b(digest_size=6)
    for file, _, _ in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest())
    return digest.hexdigest()


@asynccontextmanager
async def open_table(
    spec: ModelSpec, rows: int, code: bool, *, name: str | None = None
) -> AsyncIterator[tuple[Completer, Sandbox | None]]:
    """A completer and, with `code`, a sandbox; both are closed on the way out. Arguments and errors as open_model."""
    if not spec.is_server:
        find_model(spec.model)  # what is wrong with it is told before a sandbox is started
    async with AsyncExitStack() as stack:
        sandbox = None
        if code:
            from podium.sandbox import Sandbox

            sandbox = await stack.enter_async_context(Sandbox(warm=("numpy", "sympy")))
        completer = open_model(spec, rows, name=name)
        stack.push_async_callback(completer.close)
        yield completer, sandbox


async def open_verifier(spec: ModelSpec, thinking: int, stack: AsyncExitStack) -> Verifier:
    """A verifier that may write so many tokens before its word; the stack closes it. It is opened before the model
    whose attempts it reads, which on a GPU takes what is left.

    Raises:
        InputError: no such folder, a server without a model name, fewer than 0 tokens to think.
        CompleterError: as open_model.
    """
    from podium.solve.verifier import Verifier

    completer = open_model(spec, VERIFIER_ROWS, spare=True)
    stack.push_async_callback(completer.close)
    return Verifier(completer, thinking=thinking)


async def open_judge(spec: ModelSpec, stack: AsyncExitStack) -> Judge:
    """A judge of answers that grading leaves undecided; the stack closes it. It is opened before the model whose
    answers it judges, which on a GPU takes what is left.

    Raises:
        InputError: no such folder, or a server without a model name.
        CompleterError: as open_model.
    """
    from podium.grading.judge import Judge

    completer = open_model(spec, JUDGE_ROWS, spare=True)
    stack.push_async_callback(completer.close)
    return Judge(completer)


def model_sampling(model: str, choice: str, named: dict[str, Any]) -> dict[str, Any]:
    """Fields of a tool profile: what the user has named, and behind it what the model's makers recommend.

    Says on standard error, in one line, which recommendations count.

    Args:
        choice: as for podium.generate.defaults.read_defaults.
        named: fields that the user has named; None: not named.

    Raises:
        InputError: as read_defaults, or no model of a known family at this path. Nothing heavy is imported before that
            is known.
    """
    import sys

    from podium.generate.defaults import read_defaults

    if not is_server(model):
        find_model(model)
    defaults = read_defaults(model, choice)
    line = defaults.line(named)
    if line is not None:
        print(line, file=sys.stderr)
    return {**defaults.values, **{key: value for key, value in named.items() if value is not None}}

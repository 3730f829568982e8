"""Opening a model, in the one way that every command, stage and contest has: a folder, or a server's address.

Knows where models lie and who can run them; what is asked of them is the caller's.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.answering.reach import is_server
from podium.errors import CompleterError, InputError
from podium.models.place import find_model

if TYPE_CHECKING:
    from podium.answering.protocol import Completer
    from podium.grading.judge import Judge
    from podium.solve.verifier import Verifier

MEMORY_BYTES = 4 << 30  # for keys and values
VERIFIER_ROWS = 16  # attempts read side by side
_JUDGE_ROWS = 16


def open_model(
    model: str, rows: int, replicas: int = 1, *, device: str = "cpu", format: str | None = None, spare: bool = False
) -> Completer:
    """The engine over a model folder, or the client of a server at `http(s)://…`; `URL#NAME` names the server's model,
    where it has several. $PODIUM_API_KEY is its key.

    With several `replicas`, engines in processes of their own share rows, memory and processors.

    Args:
        device: "cpu", "cuda" or "cuda:N".
        format: of the weights; None: what suits the device.
        spare: the caller can do without its answers (a judge, a verifier): that a named server is away is no error yet.

    Raises:
        InputError: no such folder, no tokenizer in it, a server without this model, replicas, a device or a format
            of a server, no such device or format here, or several replicas on one GPU.
        CompleterError: the weights do not fit into the GPU's memory; no server is there, or none with this API.
    """
    if is_server(model):
        from podium.answering.openai import OpenAICompleter
        from podium.answering.reach import api_key, reach

        url, _, name = model.partition("#")
        if replicas > 1:
            raise InputError(f"--replicas {replicas}: {url} is a server", "start the replicas there")
        if device != "cpu" or format is not None:
            option, value = ("device", device) if device != "cpu" else ("format", format)
            raise InputError(f"--{option} {value}: {url} is a server", "it was chosen there")
        try:
            found = reach(url, name or None, key=api_key())
        except CompleterError:
            if not spare or not name:
                raise
            return OpenAICompleter(url, model=name, api_key=api_key())
        return OpenAICompleter(found.url, model=found.model, api_key=api_key())
    folder = find_model(model)  # before anything heavy is imported
    from podium.generate.replica import EngineSpec

    options: dict[str, Any] = {"max_rows": math.ceil(rows / replicas), "memory_bytes": MEMORY_BYTES // replicas}
    if format is not None:
        options["format"] = format
    if device != "cpu":
        options |= _on_gpu(folder, device, format, replicas)
    spec = EngineSpec(folder, f"{folder}@{weights_digest(folder)}", options)
    if replicas == 1:
        return spec.load(None)
    from podium.generate.parallel import ParallelCompleter

    return ParallelCompleter(spec, replicas, max(1, (os.cpu_count() or 1) // replicas))


def model_name(model: str) -> str:
    """What the completer of `model` will be called, without loading it.

    Raises:
        InputError: no such folder, or a model of a family that is not known.
        CompleterError: no server is there, or none with this API and model.
    """
    if is_server(model):
        from podium.answering.reach import api_key, reach

        url, _, name = model.partition("#")
        return reach(url, name or None, key=api_key()).model
    folder = find_model(model)
    return f"{folder}@{weights_digest(folder)}"


def _on_gpu(folder: Path, device: str, format: str | None, replicas: int) -> dict[str, Any]:
    """Options of an engine that has a GPU to itself: what the weights leave of its memory is for keys and values."""
    from podium.generate.device.place import cache_budget, find_device, weight_bytes
    from podium.models import StoredModel

    place = find_device(device)
    if replicas > 1:
        raise InputError(f"--replicas {replicas} on {device}", "start one `podium serve --device cuda:N` for each GPU")
    return {
        "device": device,
        "memory_bytes": cache_budget(place, weight_bytes(StoredModel(folder).model, place, format)),
    }


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
    model: str, rows: int, code: bool, replicas: int = 1, *, device: str = "cpu", format: str | None = None
) -> AsyncIterator[tuple[Completer, Any]]:
    """A completer and, with `code`, a sandbox; both closed on the way out. Arguments and errors as open_model."""
    if not is_server(model):
        find_model(model)  # what is wrong with it is told before a sandbox is started
    async with AsyncExitStack() as stack:
        sandbox = None
        if code:
            from podium.sandbox import Sandbox

            sandbox = await stack.enter_async_context(Sandbox(warm=("numpy", "sympy")))
        completer = open_model(model, rows, replicas, device=device, format=format)
        stack.push_async_callback(completer.close)
        yield completer, sandbox


async def open_verifier(model: str, thinking: int, stack: AsyncExitStack) -> Verifier:
    """A verifier over a model folder or URL#NAME, let go of with the stack.

    Raises:
        InputError: no such folder, a server without a model name, fewer than 0 tokens to think.
    """
    from podium.solve.verifier import Verifier

    completer = open_model(model, VERIFIER_ROWS, spare=True)
    stack.push_async_callback(completer.close)
    return Verifier(completer, thinking=thinking)


async def open_judge(model: str, stack: AsyncExitStack) -> Judge:
    """A judge over a model folder or URL#NAME, let go of with the stack.

    Raises:
        InputError: no such folder, or a server without a model name.
    """
    from podium.grading.judge import Judge

    completer = open_model(model, _JUDGE_ROWS, spare=True)
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

"""`podium serve`: a model folder behind the OpenAI HTTP API. Puts rooms together; does no work of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from podium.errors import InputError


def serve_command(
    model: Path,
    *,
    host: str,
    port: int,
    name: str | None,
    rows: int,
    replicas: int,
    max_queue: int,
    max_body: int,
    grace: float,
    device: str = "cpu",
    format: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InputError: no such model, device or format, an address that cannot be bound, or a limit that means nothing.
    """
    for option, value, least in (
        ("rows", rows, 1),
        ("replicas", replicas, 1),
        ("max-queue", max_queue, 0),
        ("max-body", max_body, 1),
        ("grace", grace, 0),
    ):
        if value < least:
            raise InputError(f"--{option} is {value}", f"at least {least}")
    from podium.models.place import find_model

    folder = find_model(model)
    from podium.generate.server import Served, bind, create_app, serve

    bound = bind(host, port)  # before the model is loaded: a taken port is told at once

    from podium.generate.engine import Engine
    from podium.generate.parallel import ParallelCompleter
    from podium.recipe.single import open_model
    from podium.text import Tokenizer

    engine = open_model(str(model), rows, replicas, device=device, format=format)
    assert isinstance(engine, Engine | ParallelCompleter)
    served = Served(
        engine,
        name or str(model),
        Tokenizer.load(folder),
        engine.context,
        rows,
        max_queue=max_queue,
        max_body=max_body,
    )
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {served.name} at http://{shown}:{bound.getsockname()[1]}/v1 (Ctrl-C ends)", flush=True)

    async def until_told() -> None:
        try:
            await serve(create_app(served), served.gate, bound, grace=grace)
        finally:
            await engine.close()

    asyncio.run(until_told())

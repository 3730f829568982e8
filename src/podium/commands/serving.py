"""`podium serve`: a model folder behind the OpenAI HTTP API. Puts rooms together; does no work of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
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
    generation_config: str = "auto",
    api_key: str | None = None,
    allow_origin: Sequence[str] = (),
    allow_host: Sequence[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InputError: no such model, device or format, an address that cannot be bound, a limit, key, origin or host that
            means nothing, or a generation_config.json that cannot be used.
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

    folder = find_model(model)  # before anything heavy is imported

    from podium.generate.defaults import read_defaults
    from podium.generate.server import Served, bind, create_app, serve
    from podium.generate.server.access import access_for

    access = access_for(host, keys=[api_key] if api_key else [], origins=allow_origin, hosts=allow_host)
    defaults = read_defaults(model, generation_config)
    bound = bind(host, port)  # before the model is loaded: a taken port is told at once

    from podium.generate.engine import Engine
    from podium.generate.parallel import ParallelCompleter
    from podium.opening import open_model
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
        root=str(model),
        defaults=defaults,
        access=access,
    )
    line = defaults.line()
    for told in (line, "requests need the API key" if access.keys else None):
        if told is not None:
            print(told, file=sys.stderr)
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {served.name} at http://{shown}:{bound.getsockname()[1]}/v1 (Ctrl-C ends)", flush=True)

    async def until_told() -> None:
        try:
            await serve(create_app(served), served.gate, bound, grace=grace)
        finally:
            await engine.close()

    asyncio.run(until_told())

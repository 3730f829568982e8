"""`podium serve`: a model folder behind the OpenAI HTTP API, until SIGINT or SIGTERM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from podium.commands.cli_options import EngineOptions, GenerationConfigOption, with_groups
from podium.errors import InputError


@with_groups
def serve(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for every network.")] = "127.0.0.1",
    name: Annotated[str | None, typer.Option(help="What requests call the model (default: as given).")] = None,
    rows: Annotated[int, typer.Option(help="Completions computed side by side.")] = 48,
    max_queue: Annotated[int, typer.Option(help="Completions that may wait; more are refused with 429.")] = 1024,
    max_body: Annotated[int, typer.Option(help="Bytes of a request; larger ones are refused with 413.")] = 16 << 20,
    grace: Annotated[float, typer.Option(help="Seconds that running answers may take to finish at the end.")] = 30.0,
    generation_config: GenerationConfigOption = "auto",
    api_key: Annotated[
        str | None,
        typer.Option(help="Key that requests must carry as a bearer token.", envvar="PODIUM_API_KEY", show_envvar=True),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose pages may call the server from a browser; * for all.", metavar="ORIGIN"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that requests may be sent to, for example a proxy's; * for all.", metavar="NAME"),
    ] = None,
    engine: EngineOptions,
) -> None:
    """Serve a model with the OpenAI HTTP API.

    Example: podium serve runs/demo/merge/model --port 8000
    """
    import asyncio

    for option, value, least in (
        ("rows", rows, 1),
        ("max-queue", max_queue, 0),
        ("max-body", max_body, 1),
        ("grace", grace, 0),
    ):
        if value < least:
            raise InputError(f"--{option} is {value}", f"at least {least}")
    spec = engine.spec(model)
    from podium.models.place import find_model

    folder = find_model(model)  # before anything heavy is imported

    from podium.generate.defaults import read_defaults
    from podium.generate.server import Served, bind, create_app, serve
    from podium.generate.server.access import access_for

    access = access_for(host, keys=[api_key] if api_key else [], origins=allow_origin or [], hosts=allow_host or [])
    defaults = read_defaults(model, generation_config)
    bound = bind(host, port)  # before the model is loaded: a taken port is told at once

    from podium.generate.engine import Engine
    from podium.generate.parallel import ParallelCompleter
    from podium.opening import open_model
    from podium.text import Tokenizer

    completer = open_model(spec, rows)
    assert isinstance(completer, Engine | ParallelCompleter)
    served = Served(
        completer,
        name or str(model),
        Tokenizer.load(folder),
        completer.context,
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
            await completer.close()

    asyncio.run(until_told())

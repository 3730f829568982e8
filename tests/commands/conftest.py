"""A model and problems that commands are tried with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights whose answers are nonsense, and come at once."""
    from tests.small_model import save_small_model

    return save_small_model(tmp_path_factory.mktemp("commands") / "model")


@pytest.fixture
def sums(tmp_path: Path) -> str:
    """The source of three sums."""
    path = tmp_path / "sums.jsonl"
    rows = [{"id": f"s{i}", "text": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"jsonl:{path}"


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every engine that is loaded meanwhile says of itself, in this order."""
    from podium.generate.engine import Engine

    said: list[str] = []
    load = Engine.load.__func__  # type: ignore[attr-defined]

    def watched(cls: type[Engine], *arguments: Any, **options: Any) -> Engine:
        engine = load(cls, *arguments, **options)
        said.append(engine.description)
        return engine

    monkeypatch.setattr(Engine, "load", classmethod(watched))
    return said

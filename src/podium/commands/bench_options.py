"""Options that several commands of `podium bench` take."""

from __future__ import annotations

from typing import Annotated

import typer

RulesetOption = Annotated[str | None, typer.Option("--ruleset", help="Rule set to judge by (default: the log's own).")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text; one object per folder and line.")]

"""Options that several commands take, written once. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with exam files (default: $PODIUM_DATA).", envvar="PODIUM_DATA"),
]
ReplicasOption = Annotated[
    int, typer.Option(min=1, help="Engines side by side, each in a process of its own; they share the processors.")
]
VoteOption = Annotated[
    str | None,
    typer.Option(
        help="What a vote weighs by: uniform, length, logprob, entropy or verifier (default: uniform, or as recorded)."
    ),
]
VerifierOption = Annotated[
    str | None, typer.Option(help="Model folder or URL#NAME that reads each attempt and scores it for the vote.")
]
ThinkingOption = Annotated[
    int, typer.Option("--verifier-tokens", min=0, help="Tokens the verifier may think before its word.")
]
JudgeOption = Annotated[
    str | None, typer.Option(help="Model folder or URL#NAME that decides what grading leaves undecided.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Of weights. CPU: fp16 (default), fp32, bf16, int8, w8a16, w4a16, fp8; GPU: bf16 (default), fp16, fp8.",
    ),
]
GenerationConfigOption = Annotated[
    str,
    typer.Option(
        "--generation-config",
        help="Sampling where nothing is named: auto (the model's generation_config.json), none, or a folder with one.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of a table.")]
PromptOption = Annotated[
    str | None,
    typer.Option(
        help="How a problem is asked: plain (as it stands, the default), boxed, code, or a file with {problem} in it.",
        metavar="plain|boxed|code|FILE",
    ),
]
SystemOption = Annotated[str | None, typer.Option(help="System message of every attempt.", metavar="TEXT")]
ExtractOption = Annotated[
    str | None,
    typer.Option(
        help='Where an answer is looked for, in this order: boxed, final ("the answer is", ####), number, letter, all '
        "(default: as the exam says, mostly boxed).",
        metavar="PLACE[,PLACE]",
    ),
]
RepetitionOption = Annotated[
    bool,
    typer.Option("--repetition-stop/--no-repetition-stop", help="End an attempt that only repeats itself."),
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Start over; what is there is moved aside.")]

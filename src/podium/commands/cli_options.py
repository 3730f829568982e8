"""Options that several commands take, written once: single ones, and groups that belong together.

A group is a dataclass whose fields are options. A command that has a parameter of that type, and the decorator
`with_groups`, takes all options of the group. Imports nothing heavy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from podium.opening import ModelSpec

ModelArgument = Annotated[str, typer.Argument(help="A model folder, or the URL of an OpenAI-compatible server.")]
OptionalModelArgument = Annotated[
    str | None, typer.Argument(help="A model folder, or the URL of an OpenAI-compatible server.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with exam files (default: $PODIUM_DATA).", envvar="PODIUM_DATA"),
]
ReplicasOption = Annotated[
    int, typer.Option(min=1, help="Engines side by side, each in a process of its own; they share the processors.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Processor threads, of all replicas together (default: one per core).")
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        help="For keys and values, of all replicas together: 4g, 512m or bytes (default: 4g; GPU: what is left).",
        metavar="SIZE",
    ),
]
DrafterOption = Annotated[
    str,
    typer.Option(
        help="Who guesses tokens ahead, which changes no answer: own (the model's draft head, if it has one), ngrams, "
        "none, or a name that a package adds.",
    ),
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


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the models of a command are computed; see podium.opening.ModelSpec."""

    replicas: ReplicasOption = 1
    device: DeviceOption = "cpu"
    format: FormatOption = None
    threads: ThreadsOption = None
    memory: MemoryOption = None
    drafter: DrafterOption = "own"

    def spec(self, model: Path | str) -> ModelSpec:
        """The model of a command, computed as the options say.

        Raises:
            InputError: options that do not fit the model or this machine, as ModelSpec tells.
        """
        from podium.opening import ModelSpec, parse_memory

        memory = None if self.memory is None else parse_memory(self.memory)
        return ModelSpec(str(model), self.replicas, self.device, self.format, self.threads, memory, self.drafter)

    def helper(self, model: str | None) -> ModelSpec | None:
        """A verifier or judge beside the model of a command: on the same device, in the same format, with the same
        threads, in a single engine with the usual memory. Options say nothing about a helper that is a server.

        Raises:
            InputError: as `spec`.
        """
        from podium.opening import ModelSpec, is_server

        if model is None:
            return None
        if is_server(model):
            return ModelSpec(model)
        return ModelSpec(model, device=self.device, format=self.format, threads=self.threads)

    def helpers(self, *models: str | None) -> list[ModelSpec | None]:
        """The verifier and judge of a command that has no other model: all options are theirs, but those of servers.

        Raises:
            InputError: options where no model is used, or only servers; and as `spec`.
        """
        from podium.errors import InputError
        from podium.opening import ModelSpec, is_server

        given = [model for model in models if model is not None]
        if all(is_server(model) for model in given):
            if given:
                self.spec(given[0])
            for field in fields(self):
                if not given and (value := getattr(self, field.name)) != field.default:
                    raise InputError(f"--{field.name} {value}: no model is used", "leave it out, or name a model")
        return [
            None if model is None else ModelSpec(model) if is_server(model) else self.spec(model) for model in models
        ]


@dataclass(frozen=True, slots=True)
class AskingOptions:
    """How problems are asked and answers are found; see podium.solve.prompt."""

    prompt: PromptOption = None
    system: SystemOption = None
    extract: ExtractOption = None
    repetition_stop: RepetitionOption = True

    def overrides(self) -> dict[str, Any]:
        """Fields of a tool profile.

        Raises:
            InputError: no such style or file, or no template in it.
        """
        from podium.solve.prompt import prompt_fields

        return {
            **({} if self.prompt is None else prompt_fields(self.prompt)),
            **({"system": self.system} if self.system else {}),
            **({"repetition_stop": True} if self.repetition_stop else {}),
        }

    def places(self) -> tuple[Any, ...] | None:
        """Where answers are looked for; None: where the exam's own rules say.

        Raises:
            InputError: nowhere, or an unknown place.
        """
        from podium.solve.prompt import read_extraction

        return None if self.extract is None else read_extraction(self.extract)


ResultT = TypeVar("ResultT")


def with_groups(command: Callable[..., ResultT]) -> Callable[..., ResultT]:
    """The command with its groups spread out: typer sees their options, and the command is given each group as one."""
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters.values()
    groups = {each.name: hints[each.name] for each in own if is_dataclass(hints[each.name])}

    @wraps(command)
    def spread(**given: Any) -> ResultT:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        return command(**given)

    parameters = list(_spread(list(own), hints, groups))
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {each.name: each.annotation for each in parameters}
    return spread


def _spread(own: list[inspect.Parameter], hints: dict[str, Any], groups: dict[str, Any]) -> Iterator[inspect.Parameter]:
    for parameter in own:
        group = groups.get(parameter.name)
        if group is None:
            yield parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        options = get_type_hints(group, include_extras=True)
        for field in fields(group):
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=options[field.name]
            )

"""The stages of GenSelect: groups to train a selector on, and what it chooses in an exam.

In between stands the stage `train`: a selector is trained as every other model is. Thin wrappers of podium.solve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from podium.errors import InputError
from podium.folders import RESULTS
from podium.opening import open_table
from podium.recipe.inputs import MODEL, SOLUTIONS, answers_of, file_of
from podium.recipe.registry import Estimate, Params, StageContext, StageReport, stage
from podium.recipe.stages.model_params import ModelParams
from podium.records import ExamResult, Solution
from podium.storage import iterate_rows, read_rows, write_rows

ROWS_AT_ONCE = 32  # choices in flight


class GroupsParams(Params):
    """What a selector is to write of a group; see podium.solve.selector."""

    target: Literal["pick", "quote", "check", "work"] = Field(
        "quote", description="name the right solution; quote it; say which is right; work the problem out"
    )
    characters: int = Field(100_000, ge=1, description="groups with a longer prompt are left out")


def _estimate_groups(params: GroupsParams, inputs: Mapping[str, Estimate]) -> Estimate:
    from podium.solve.genselect import GROUPS

    problems = inputs["attempts"].rows
    return Estimate(rows=problems * GROUPS if problems else None, seconds=2.0, note="at most")


@stage("groups", version=1, inputs=("attempts",), optional=("solutions",), estimate=_estimate_groups)
def groups(context: StageContext, params: GroupsParams, inputs: dict[str, Path]) -> StageReport:
    """solutions.jsonl to train a selector on.

    Inputs: `attempts`, an exam sat on training problems; `solutions` of the same problems, for the target `work`.
    """
    from podium.solve.selector import GroupReport, selection_rows

    if (params.target == "work") != ("solutions" in inputs):
        raise InputError(
            f"stage {context.name!r}: the input 'solutions' and the target 'work' go together",
            "give both, or choose another target",
        )
    work = None
    if "solutions" in inputs:
        work = {row.problem_id: row.parts for row in iterate_rows(answers_of(inputs["solutions"]), Solution)}
    report = GroupReport()
    results = iterate_rows(file_of(inputs["attempts"], RESULTS), ExamResult)
    rows = list(
        selection_rows(
            results, params.target, seed=context.seed, characters=params.characters, work=work, report=report
        )
    )
    if not rows:
        known = " and a known solution" if params.target == "work" else ""
        raise InputError(
            f"stage {context.name!r}: no group from {report.problems} problems: a problem needs 4 attempts with an "
            f"answer, right and wrong ones among them{known}, in {params.characters} characters",
            "take problems that the model solves now and then, and more attempts at each",
        )
    write_rows(context.folder / SOLUTIONS, rows)
    return StageReport(
        {
            "groups": report.groups,
            "problems": report.problems,
            "mixed": report.mixed,
            "solutions_per_group": round(report.shown / report.groups, 1),
        }
    )


class SelectParams(ModelParams):
    """How is chosen; see podium.solve.selecting.SelectConfig."""

    n: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="attempts per problem to choose among; none: all there are"
    )
    repeats: int = Field(8, ge=1, description="choices per problem, which then vote")
    named: Literal["index", "answer"] = Field("index", description="how a pick is named")
    most: int = Field(16, ge=2, description="solutions shown at a time")
    characters: int = Field(100_000, ge=1, description="longest prompt; fewer solutions are shown above it")
    max_tokens: int = Field(2048, ge=1, description="longest choice")
    temperature: float = Field(0.7, ge=0, description="of the sampling")
    top_p: float = Field(0.95, gt=0, le=1, description="share of the probability that is drawn from")
    code: bool = Field(False, description="run the code that the selector writes")

    def config(self, seed: int) -> dict[str, Any]:
        """The fields of a SelectConfig."""
        return {**self.model_dump(exclude={"code", *ModelParams.model_fields}), "seed": seed}


def _estimate_select(params: SelectParams, inputs: Mapping[str, Estimate]) -> Estimate:
    problems = inputs["exam"].rows
    rows = problems * max(1, len(params.n)) if problems else None
    return Estimate(rows=rows, note=f"{params.repeats} choices of up to {params.most} solutions each")


@stage("select", version=1, inputs=("exam", MODEL), estimate=_estimate_select)
def select(context: StageContext, params: SelectParams, inputs: dict[str, Path]) -> StageReport:
    """A model chooses among the attempts of an exam: choices.jsonl, scores.json."""
    from podium.solve.selecting import SelectConfig, choose_all

    results = read_rows(file_of(inputs["exam"], RESULTS), ExamResult)
    config = SelectConfig.model_validate(params.config(context.seed))

    async def run() -> Any:
        table = open_table(params.spec(inputs[MODEL]), ROWS_AT_ONCE, params.code, name=inputs[MODEL].name)
        async with table as (completer, sandbox):
            return await choose_all(
                results,
                completer,
                config,
                context.folder,
                sandbox=sandbox,
                concurrency=max(1, ROWS_AT_ONCE // params.repeats),
                told=lambda done, total: context.progress(done, total),
            )

    figures: dict[str, Any] = {}
    for score in asyncio.run(run()):
        figures[f"maj@{score.n}"] = score.vote.value
        figures[f"select@{score.n}"] = score.select.value
        figures[f"pass@{score.n}"] = score.passed.value
    return StageReport(figures)

"""Claim: a selector trained on graded attempts chooses better than a vote over the same attempts.

Runs recipes/genselect.yaml with several seeds on a finished demo (its problems, its chain-of-thought model that makes
the attempts, its merged model that becomes the selector) and prints choice beside vote at equal samples, per seed and
over the problems of all seeds. Each seed has problems, attempts, groups, training and exam of its own. Beside it stands
what the merged model answers by itself. Runs that are finished are not run again.

    podium run recipes/demo.yaml
    python benchmarks/genselect.py [--demo runs/demo] [--seeds 3] [--runs runs] [--set select.repeats=8]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from podium.commands.exam_select import selection_table
from podium.commands.run import run as run_recipe
from podium.folders import ChoicesFolder
from podium.solve import ExamSummary
from podium.solve.selecting import Choice, score_choices
from podium.storage import read_json, read_rows

RECIPE = Path(__file__).parent.parent / "recipes" / "genselect.yaml"
DEMO_MODELS = {"attempts": "cot", "exam": "cot", "selector": "merge", "exam_judge": "merge"}


def run(demo: Path, seed: int, runs: Path, name: str, overrides: Sequence[str]) -> Path:
    """The folder of a finished run of the recipe."""
    given = [f"problems.inputs.apart={demo.resolve() / 'problems'}"]
    given += [f"{stage}.inputs.model={demo.resolve() / model}" for stage, model in DEMO_MODELS.items()]
    run_recipe(RECIPE, [f"name={name}", f"seed={seed}", *given, *overrides], runs=runs)
    return runs / name


def pooled(folders: Sequence[Path]) -> list[Choice]:
    """The choices of all seeds; a problem that two of them drew is two."""
    return [
        row.model_copy(update={"problem_id": f"{place}/{row.problem_id}"})
        for place, folder in enumerate(folders)
        for row in read_rows(ChoicesFolder(folder / "select").choices, Choice)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--name", default="genselect", help="run folders are NAME-SEED")
    parser.add_argument("--set", action="append", default=[], help="a parameter, as `podium run` takes it")
    options = parser.parse_args()
    folders = [
        run(options.demo, seed, options.runs, f"{options.name}-{seed}", options.set) for seed in range(options.seeds)
    ]
    console = Console(highlight=False, width=120)
    for seed, folder in enumerate(folders):
        console.print(f"\nseed {seed}")
        console.print(selection_table(score_choices(read_rows(ChoicesFolder(folder / "select").choices, Choice))))
        judge = ExamSummary.model_validate(read_json(folder / "exam_judge" / "summary.json")).scores
        console.print(f"the merged model by itself: {100 * judge.pass_1.value:.1f} with one attempt")
    console.print("\nall seeds")
    console.print(selection_table(score_choices(pooled(folders))))


if __name__ == "__main__":
    main()

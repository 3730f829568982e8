"""The folder layout of a submission, with everything in it that can be known beforehand.

    systems/SYSTEM.json                                       the system, filled in from this machine
    benchmarks/TASK/implementations/podium/README.md          what is run
    benchmarks/TASK/SYSTEM/{SYSTEM_podium.json, README.md, setup.sh, init_datasets.sh, run_and_time.sh}
    results/SYSTEM/TASK/result_<i>.txt                        written by the runs

(MLPerf Training submission rules, section "Directory structure".) Nothing that is there is overwritten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from podium import __version__
from podium.bench.registry import with_benchmark
from podium.bench.rules import Ruleset, load_ruleset
from podium.bench.system_desc import describe_this_machine
from podium.errors import InputError, nearest
from podium.storage import write_text

IMPLEMENTATION = "podium"
NAME = re.compile(r"[\w.+-]+( [\w.+-]+)*")


def scaffold(folder: Path, *, org: str, system: str, tasks: Sequence[str] = (), division: str = "open") -> list[Path]:
    """Make what is missing of a submission; returns the files that were made.

    Raises:
        InputError: a name that cannot be a folder, an unknown task or division.
        StorageError: the folder cannot be written.
    """
    rules = load_ruleset()
    if not NAME.fullmatch(system):
        raise InputError(f"system name {system!r} cannot be a folder", "use letters, digits, and . _ + -")
    if division not in rules.divisions:
        raise InputError(f"division {division!r} is unknown", nearest(division, rules.divisions))
    for task in tasks:
        rules = with_benchmark(rules, task)
        rules.benchmark(task)
    wanted = {f"systems/{system}.json": json.dumps(describe_this_machine(org, division, system), indent=2) + "\n"}
    for task in tasks or rules.benchmarks:
        wanted |= _benchmark_files(task, system, division, rules)
    made = []
    for name, content in wanted.items():
        path = folder / name
        if path.exists():
            continue
        write_text(path, content)
        if path.suffix == ".sh":
            path.chmod(0o755)
        made.append(path)
    for task in tasks or rules.benchmarks:
        (folder / "results" / system / task).mkdir(parents=True, exist_ok=True)
    return made


def _benchmark_files(task: str, system: str, division: str, rules: Ruleset) -> dict[str, str]:
    rule = rules.benchmark(task)
    here = f"benchmarks/{task}/{system}"
    evaluation = rule.evaluation.words if rule.evaluation else "as the reference does"
    readme = f"""# {task} on {system}

{rule.area.capitalize()}: {rule.model} on {rule.dataset}, {division} division, rule set {rules.version}.
Target: {rule.metric} {rule.target.words()}.
Runs: {rule.runs}, of which the {rule.drop} fastest and the {rule.drop} slowest are dropped.
Evaluation: {evaluation}.

1. `setup.sh` installs the software.
2. `init_datasets.sh` prepares the dataset and checks its checksums; this is not timed.
3. `run_and_time.sh` makes all runs of an entry; their logs lie in `results/{system}/{task}/`.
4. `podium bench check results/{system}/{task}` and `podium bench score results/{system}/{task}`.
"""
    run = f"podium bench run {task} --size full --runs {rule.runs} --division {division} --system systems/{system}.json"
    parameters = {
        "starting_weights_filename": "none: trained from scratch",
        "weight_transformations": "none",
        "weight_data_types": "fp32",
        "input_data_types": "fp32",
        "retraining": "yes",
    }
    return {
        f"benchmarks/{task}/implementations/{IMPLEMENTATION}/README.md": (
            f"# {rule.model}\n\nThe task `{task}` of podium {__version__}: `podium bench run {task}`.\n"
        ),
        f"{here}/{system}_{IMPLEMENTATION}.json": json.dumps(parameters, indent=2) + "\n",
        f"{here}/README.md": readme,
        f"{here}/setup.sh": (
            f"#!/bin/sh\n# Usage: setup.sh FOLDER_OF_PODIUM_{__version__}, a clone or its unpacked archive\nset -eu\n"
            'pip install "${1:?folder of Podium}"\n'
        ),
        f"{here}/init_datasets.sh": (
            "#!/bin/sh\n# Usage: init_datasets.sh FOLDER_OF_THE_OFFICIAL_DATASET\nset -eu\n"
            f'test -d "${{1:?folder of {rule.dataset}}}"\n'
        ),
        f"{here}/run_and_time.sh": (
            "#!/bin/sh\n# Run from the folder above `systems` and `results`: run_and_time.sh DATASET\nset -eu\n"
            f'{run} --out . --data "${{1:?folder of the prepared dataset}}"\n'
        ),
    }

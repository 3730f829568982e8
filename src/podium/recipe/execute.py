"""Running a planned chain, so that a kill at any moment costs only the unfinished part of one stage.

Order of writes for a stage: `stage.json` (whose folder this is), the stage's own work, `done.json` (finished; the
outputs' hashes). Everything is fsynced and renamed into place, so that a reader never sees half a mark.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podium.errors import PodiumError, StorageError
from podium.folders import BEGUN, DONE, RECIPE
from podium.lock import locked
from podium.recipe.chain import Link, keep_aside, plan, put_in_place
from podium.recipe.document import Recipe
from podium.recipe.identity import NOT_OUTPUTS, STATE, outputs
from podium.recipe.registry import StageContext, StageReport
from podium.recipe.view import View
from podium.runlog import SYSTEM, RunLog, system_description
from podium.storage import PARTIAL, read_json, storage_errors, sync_folder, write_json, write_text


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that came to its end."""

    folder: Path
    ran: tuple[str, ...]
    skipped: tuple[str, ...]


def execute(
    recipe: Recipe,
    runs: Path | str = "runs",
    *,
    until: str | None = None,
    fresh: bool = False,
    view: View | None = None,
) -> RunResult:
    """Run what is not finished of `recipe` in `runs/<name>`.

    Args:
        until: stop after this stage; only what it needs is run.
        fresh: move an earlier run to `runs/<name>.old-N` and start over.

    Raises:
        PodiumError: a stage's, or another process is at work in this run folder.
        KeyboardInterrupt: after everything was closed; the same call continues.
    """
    runs = Path(runs)
    folder = runs / recipe.name
    view = view or View()
    with locked(runs / f".{recipe.name}.lock"):
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"{folder}: is a file, not a run folder", "move it away or use --set name=OTHER")
        links = plan(recipe, folder, until)
        if fresh and folder.exists():
            number = 1
            while (runs / f"{recipe.name}.old-{number}").exists():
                number += 1
            view.say(f"moved the earlier run to {keep_aside(folder, runs, f'{recipe.name}.old-{number}')}")
            links = plan(recipe, folder, until)
        with storage_errors(folder, "creating"):
            folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        write_text(folder / RECIPE, recipe.as_yaml())
        write_json(folder / SYSTEM, system_description())
        had_torch = "torch" in sys.modules
        with RunLog(folder) as log, view:
            log.start("run_start", recipe.name, seed=recipe.seed, stages=len(links))
            ran = []
            try:
                for number, link in enumerate(links, start=1):
                    put_in_place(link)
                    if link.done is not None:
                        _empty_state(link.folder)
                        view.skipped(number, len(links), link)
                        continue
                    done = _run_stage(recipe, link, folder, log, view, number, len(links))
                    log.metrics(number, **{f"{link.spec.name}.{k}": v for k, v in _numbers(done["metrics"]).items()})
                    ran.append(link.spec.name)
            except KeyboardInterrupt:
                log.end("run_stop", "aborted", reason="interrupted")
                raise
            except PodiumError as error:
                log.end("run_stop", "aborted", reason=error.message)
                raise
            except Exception:
                log.end("run_stop", "aborted", reason=traceback.format_exc(limit=-3))
                raise
            log.end("run_stop", "success")
        if not had_torch and "torch" in sys.modules:
            # Only now can the accelerators be named.
            write_json(folder / SYSTEM, system_description())
        return RunResult(folder, tuple(ran), tuple(link.spec.name for link in links if link.done is not None))


def _run_stage(
    recipe: Recipe, link: Link, run_folder: Path, log: RunLog, view: View, number: int, total: int
) -> dict[str, Any]:
    spec, folder = link.spec, link.folder
    seconds_before, sessions = _begin(link, recipe)
    inputs = link.inputs(run_folder)
    for role, path in inputs.items():
        if not path.exists():
            raise StorageError(
                f"stage {spec.name!r}: its input {role!r} is not there: {path}",
                "the stage before it does not make this file; correct `inputs`",
            )
    state = folder / STATE
    with storage_errors(state, "creating"):
        state.mkdir(exist_ok=True)
    started = time.monotonic()
    log.start("stage_start", spec.name, kind=spec.kind.name, identity=link.identity, session=sessions)
    with RunLog(folder) as stage_log:
        progress = view.begin(number, total, link)
        context = StageContext(
            spec.name,
            folder,
            state,
            run_folder,
            recipe.seed,
            stage_log,
            progress,
            view.console,
            link.source is not None,
        )
        report = spec.kind.run(context, spec.params, inputs)
    if not isinstance(report, StageReport):
        raise TypeError(f"stage kind {spec.kind.name!r} returned {type(report).__name__}, not a StageReport")
    done = {
        "identity": link.identity,
        "name": spec.name,
        "kind": spec.kind.name,
        "version": spec.kind.version,
        "wall_seconds": round(seconds_before + time.monotonic() - started, 3),
        "sessions": sessions,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "metrics": report.metrics,
        "outputs": outputs(folder),
    }
    _make_durable(folder)
    write_json(folder / DONE, done)
    _empty_state(folder)
    log.end("stage_stop", spec.name, wall_seconds=done["wall_seconds"], metrics=report.metrics)
    view.finished(number, total, replace(link, done=done, status="done"))
    return done


def _begin(link: Link, recipe: Recipe) -> tuple[float, int]:
    """Write `stage.json`; returns the seconds earlier sessions spent, and which session this is."""
    folder, spec = link.folder, link.spec
    seconds, sessions = 0.0, 1
    if link.source is not None:
        before = read_json(folder / BEGUN)
        # Nobody could write down when a killed session ended: the last change in the folder tells.
        last = max(file.lstat().st_mtime for file in folder.rglob("*"))
        seconds, sessions = before["seconds"] + max(0.0, last - before["session_start"]), before["sessions"] + 1
    with storage_errors(folder, "creating"):
        folder.mkdir(exist_ok=True)
    write_json(
        folder / BEGUN,
        {
            "identity": link.identity,
            "name": spec.name,
            "kind": spec.kind.name,
            "version": spec.kind.version,
            "seed": recipe.seed,
            "params": spec.params.model_dump(mode="json"),
            "inputs": {role: source.written() for role, source in spec.inputs.items()},
            "seconds": seconds,
            "sessions": sessions,
            "session_start": time.time(),
        },
    )
    return seconds, sessions


def _sweep(folder: Path) -> None:
    """Take away the unfinished files of killed processes; those of living ones (a report being written) stay."""
    for file in folder.rglob(".*.partial"):
        if PARTIAL.fullmatch(file.name):
            writer = int(file.name.split(".")[-2])
            if writer == os.getpid() or not _is_alive(writer):
                file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _empty_state(folder: Path) -> None:
    # The scratch is only of use to an unfinished stage; it goes after done.json, so a kill in between is harmless.
    shutil.rmtree(folder / STATE, ignore_errors=True)


def _make_durable(folder: Path) -> None:
    """Flush the outputs to the disk, so that `done.json` never says more than the disk holds."""
    with storage_errors(folder, "flushing"):
        for file in folder.rglob("*"):
            if file.is_dir():
                sync_folder(file)
            elif file.is_file() and str(file.relative_to(folder)) not in NOT_OUTPUTS:
                descriptor = os.open(file, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        sync_folder(folder)


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }

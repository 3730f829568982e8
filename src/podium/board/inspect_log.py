"""An exam as an Inspect log: `inspect view` opens it, `inspect_ai.log.read_eval_log` reads it.

Writes Inspect's log format, version 2 (github.com/UKGovernmentBEIS/inspect_ai), without needing inspect-ai. One sample
is one attempt: its id is the problem's, its epoch the attempt's number from 1. Two scores stand at each: `attempt`, its
own verdict, and `vote`, that of the answer the exam gave. `.eval` is a zip with one file per sample, which a viewer
opens one by one; `.json` is one file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from podium.board.exam import task_of
from podium.errors import InputError
from podium.folders import ExamFolder
from podium.records import Attempt, ExamResult, Verdict
from podium.solve.scores import Scores, score_results
from podium.storage import atomic_file, storage_errors
from podium.toolcode import OPEN_TAG, closed_block, output_in

ENDINGS = (".eval", ".json")
_LETTER = {Verdict.CORRECT: "C", Verdict.WRONG: "I", Verdict.NO_ANSWER: "N", Verdict.UNDECIDED: "N"}
_VALUE = {"C": 1.0, "I": 0.0, "N": 0.0}
_STOP = {"eos": "stop", "answer": "stop", "length": "max_tokens"}


def export_inspect(folder: Path, out: Path) -> int:
    """Write the exam in `folder` as an Inspect log; returns the number of samples.

    Raises:
        InputError: no exam in the folder, damaged rows, an ending that is neither .eval nor .json.
        StorageError: the log cannot be written; an earlier file is still there.
    """
    if out.suffix not in ENDINGS:
        raise InputError(f"{out}: unknown ending", "an Inspect log ends with .eval or .json")
    sat = ExamFolder(folder)
    path = sat.results
    results = sat.read_results()
    if not results:
        raise InputError(f"{path}: no problem was finished", "sit the exam first")
    with storage_errors(path, "reading"):
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    header = _header(folder.resolve().name, results, sat.read_claim(), written, sat.is_finished())
    samples = list(_samples(results, written))
    with atomic_file(out) as file:
        if out.suffix == ".json":
            file.write(_json({**header, "samples": samples, "reductions": _reductions(results)}))
        else:
            _write_zip(file, header, samples, _reductions(results))
    return len(samples)


def _write_zip(file: Any, header: dict[str, Any], samples: Sequence[dict[str, Any]], reductions: list[Any]) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        start = {key: header[key] for key in ("version", "eval", "plan")}
        archive.writestr("_journal/start.json", _json(start))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", _json(sample))
        archive.writestr("summaries.json", _json([_summary(sample) for sample in samples]))
        archive.writestr("reductions.json", _json(reductions))
        archive.writestr("header.json", _json(header))
    file.write(held.getvalue())


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _header(
    name: str, results: Sequence[ExamResult], exam: dict[str, Any], written: datetime, finished: bool
) -> dict[str, Any]:
    attempts = [attempt for result in results for attempt in result.attempts]
    model = str(exam.get("model") or next((attempt.maker.model for attempt in attempts), "unknown"))
    config = exam.get("config") or {}
    epochs = max((len(result.attempts) for result in results), default=1)
    identity = hashlib.blake2b("\n".join(result.problem.id for result in results).encode(), digest_size=11).hexdigest()
    sampling = attempts[0].maker.sampling if attempts else {}
    source = results[0].problem.source or name
    return {
        "version": 2,
        "status": "success" if finished else "cancelled",
        "eval": {
            "eval_id": identity,
            "run_id": identity,
            "created": _moment(written),
            "task": source.partition(":")[2] or source,
            "task_id": identity,
            "task_version": 0,
            "task_args": config,
            "dataset": {
                "name": source,
                "samples": len(results),
                "sample_ids": [result.problem.id for result in results],
                "shuffled": False,
            },
            "model": model,
            "model_generate_config": {
                key: sampling[field]
                for key, field in (("temperature", "temperature"), ("top_p", "top_p"), ("max_tokens", "max_tokens"))
                if sampling.get(field) is not None
            },
            "config": {"epochs": epochs, "epochs_reducer": ["mean"]},
            "packages": _packages(),
            "metadata": {"made_by": "podium", "tool_profile": config.get("profile"), "policy": config.get("policy")},
            "scorers": [{"name": "attempt"}, {"name": "vote"}],
        },
        "plan": {"name": "plan", "steps": [{"solver": "podium", "params": config}], "config": {}},
        "results": _results(results, epochs),
        "stats": {
            "started_at": _moment(written - _length(results)),
            "completed_at": _moment(written),
            "model_usage": {model: _usage(attempts)},
        },
    }


def _moment(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")


def _length(results: Sequence[ExamResult]) -> timedelta:
    """Of the exam: what its problems took. When it began is not recorded, nor what lay in between."""
    return timedelta(seconds=sum(result.used_seconds for result in results))


def _packages() -> dict[str, str]:
    from podium import __version__

    return {"podium": __version__}


def _results(results: Sequence[ExamResult], epochs: int) -> dict[str, Any]:
    scores = score_results(results, epochs)
    total = sum(len(result.attempts) for result in results)
    return {
        "total_samples": total,
        "completed_samples": total,
        "scores": [
            {
                "name": "attempt",
                "scorer": "attempt",
                "reducer": "mean",
                "scored_samples": len(results),
                "metrics": _metrics({"accuracy": scores.pass_1, f"pass_at_{epochs}": scores.pass_n}, scores),
            },
            {
                "name": "vote",
                "scorer": "vote",
                "reducer": "mean",
                "scored_samples": len(results),
                "metrics": _metrics({"accuracy": scores.score, f"majority_{epochs}": scores.majority_n}, scores),
            },
        ],
    }


def _metrics(estimates: dict[str, Any], scores: Scores) -> dict[str, Any]:
    shares = {"no_answer": scores.no_answer, "undecided": scores.undecided, "truncated": scores.truncated}
    return {
        name: {"name": name, "value": value.value, "metadata": {"low": value.low, "high": value.high, "level": 0.95}}
        for name, value in estimates.items()
    } | {name: {"name": name, "value": count / max(1, scores.attempts)} for name, count in shares.items()}


def _reductions(results: Sequence[ExamResult]) -> list[dict[str, Any]]:
    def mean(result: ExamResult) -> float:
        values = [_VALUE[_letter(attempt.verdict)] for attempt in result.attempts]
        return sum(values) / len(values) if values else 0.0

    return [
        {
            "scorer": scorer,
            "reducer": "mean",
            "samples": [{"sample_id": result.problem.id, "value": value(result)} for result in results],
        }
        for scorer, value in (("attempt", mean), ("vote", lambda result: _VALUE[_letter(result.verdict)]))
    ]


def _letter(verdict: Verdict | None) -> str:
    return "N" if verdict is None else _LETTER[verdict]


def _samples(results: Sequence[ExamResult], written: datetime) -> Iterator[dict[str, Any]]:
    opened = written - _length(results)
    for result in results:
        for attempt in result.attempts:
            yield _sample(result, attempt, opened)
        opened += timedelta(seconds=result.used_seconds)


def _sample(result: ExamResult, attempt: Attempt, opened: datetime) -> dict[str, Any]:
    messages = _messages(attempt)
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    sample: dict[str, Any] = {
        "id": result.problem.id,
        "epoch": attempt.index + 1,
        "input": result.problem.text,
        "target": result.problem.answer or "",
        "messages": messages,
        "output": {
            "model": attempt.maker.model,
            "choices": [
                {
                    "message": last or {"role": "assistant", "content": ""},
                    "stop_reason": _STOP.get(attempt.stop_reason, "unknown"),
                }
            ],
            "completion": attempt.text,
            "usage": _usage([attempt]),
            "time": attempt.usage.seconds,
        },
        "scores": {
            "attempt": _score(attempt.verdict, attempt.answer),
            "vote": _score(result.verdict, result.answer, f"stopped by {result.stop_rule}" if result.stop_rule else ""),
        },
        "events": _events(attempt, opened),
        "started_at": _moment(opened + timedelta(seconds=attempt.events[0].time if attempt.events else 0.0)),
        "metadata": {
            "task": task_of(result),
            "style": attempt.style,
            "stop_reason": attempt.stop_reason,
            "seed": attempt.maker.seed,
            "code_calls": attempt.usage.code_calls,
            "code_timeouts": attempt.usage.code_timeouts,
            "signals": attempt.signals,
            "answers": [event.model_dump(mode="json") for event in attempt.events if event.kind == "answer"],
            "verdict_by": attempt.verdict_by,
            "vote_weighed_by": result.vote,
            "votes": [vote.model_dump(mode="json") for vote in result.votes],
            "tie": result.tie,
            "granted_seconds": result.granted_seconds,
            "used_seconds": result.used_seconds,
        },
        "model_usage": {attempt.maker.model: _usage([attempt])},
        "total_time": attempt.usage.seconds,
        "working_time": attempt.usage.seconds,
        "uuid": hashlib.blake2b(attempt.id.encode(), digest_size=11).hexdigest(),
    }
    if attempt.stop_reason == "clock":
        sample["limit"] = {"type": "time", "limit": result.granted_seconds}
    return sample


def _events(attempt: Attempt, opened: datetime) -> list[dict[str, Any]]:
    """The transcript: what happened when, in words; what was written stands in the messages."""
    return [
        {
            "event": "info",
            "uuid": f"{hashlib.blake2b(attempt.id.encode(), digest_size=8).hexdigest()}-{number}",
            "timestamp": _moment(opened + timedelta(seconds=event.time)),
            "working_start": event.time,
            "pending": False,
            "source": f"{event.time:.3f} s {event.kind}",
            "data": {
                "tokens": event.tokens,
                **({"answer": event.answer} if event.answer is not None else {}),
                **({"detail": event.detail} if event.detail else {}),
            },
        }
        for number, event in enumerate(attempt.events)
    ]


def _messages(attempt: Attempt) -> list[dict[str, Any]]:
    """The chat, then what the model wrote and what its code printed, in turn.

    The viewer shows what a tool said only under the call it answers: a block of code is a call, its output names it.
    What was put into the context without a call (a nudge) is a turn of the user.
    """
    said: list[dict[str, Any]] = [
        {"id": f"{attempt.index}-{number}", "role": message.role, "content": message.content, "source": "input"}
        for number, message in enumerate(attempt.prompt)
    ]
    call = ""
    for number, part in enumerate(attempt.parts, start=len(said)):
        name = f"{attempt.index}-{number}"
        message: dict[str, Any] = {"id": name, "content": part.text}
        if part.role == "model":
            message |= {"role": "assistant", "source": "generate", "model": attempt.maker.model}
            call = ""
            code = closed_block(part.text)
            if code is not None:
                call = f"call-{name}"
                message["content"] = part.text.rpartition(OPEN_TAG)[0]
                arguments = {"code": code}
                message["tool_calls"] = [
                    {
                        "id": call,
                        "function": "python",
                        "arguments": arguments,
                        "type": "function",
                        "view": _code(code),
                    }
                ]
        elif call:
            output = output_in(part.text)
            shown = part.text if output is None else output
            message |= {"role": "tool", "function": "python", "tool_call_id": call, "content": shown}
        else:
            message |= {"role": "user"}
        said.append(message)
    return said


def _code(text: str) -> dict[str, str]:
    """How the viewer shows a call."""
    return {"title": "python", "format": "markdown", "content": f"```python\n{text.strip()}\n```"}


def _score(verdict: Verdict | None, answer: str | None, explanation: str = "") -> dict[str, Any]:
    said = verdict.value if verdict is not None else "not graded"
    return {
        "value": _letter(verdict),
        "answer": answer,
        "explanation": f"{said}; {explanation}" if explanation else said,
    }


def _usage(attempts: Sequence[Attempt]) -> dict[str, int]:
    given = sum(attempt.usage.prompt_tokens + attempt.usage.tool_tokens for attempt in attempts)
    written = sum(attempt.usage.completion_tokens for attempt in attempts)
    return {"input_tokens": given, "output_tokens": written, "total_tokens": given + written}


def _summary(sample: dict[str, Any]) -> dict[str, Any]:
    kept = ("id", "epoch", "input", "target", "scores", "model_usage", "total_time", "working_time", "uuid")
    flat = {key: value for key, value in sample["metadata"].items() if isinstance(value, str | int | float | bool)}
    return {
        **{key: sample[key] for key in kept},
        "metadata": flat,
        "completed": True,
        "message_count": len(sample["messages"]),
        "limit": sample.get("limit", {}).get("type"),
    }

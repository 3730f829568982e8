"""The export to Inspect's log format, read back by hand and by inspect-ai itself."""

import json
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from runs import exam_rows

from podium.board.inspect_log import export_inspect
from podium.errors import InputError
from podium.solve.scores import score_results
from podium.storage import write_json, write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "results.jsonl", rows())
    write_json(tmp_path / "exam.json", {"model": "merge@abc", "config": {"attempts": 3, "policy": "all"}})
    write_json(tmp_path / "summary.json", {})
    return tmp_path


def rows():
    return exam_rows(5, 3, 0.6, 1.2, True, 1)


def written(messages: list[dict]) -> str:
    """The attempt's text, calls and outputs where they stood."""
    text = ""
    for message in messages:
        if message["role"] == "assistant":
            text += message["content"]
            text += "".join(
                f"<tool_call>\n{c['arguments']['code']}\n</tool_call>" for c in message.get("tool_calls", ())
            )
        elif message["role"] == "tool":
            text += f"\n```output\n{message['content']}\n```\n"
    return text


def test_every_attempt_is_a_sample_with_its_verdict_and_the_votes(folder: Path) -> None:
    count = export_inspect(folder, folder / "log.json")
    log = json.loads((folder / "log.json").read_text())
    results = rows()
    assert count == len(log["samples"]) == sum(len(result.attempts) for result in results)
    first = log["samples"][0]
    attempt = results[0].attempts[0]
    assert (first["id"], first["epoch"]) == (results[0].problem.id, attempt.index + 1)
    assert written(first["messages"]) == attempt.text
    calls = [call["id"] for message in first["messages"] for call in message.get("tool_calls", ())]
    assert calls
    assert calls == [message["tool_call_id"] for message in first["messages"] if message["role"] == "tool"]
    assert [event["source"].split()[-1] for event in first["events"]] == [event.kind for event in attempt.events]
    began, ended = (datetime.fromisoformat(log["stats"][key]) for key in ("started_at", "completed_at"))
    assert (ended - began).total_seconds() == pytest.approx(sum(result.used_seconds for result in results), abs=0.01)
    for sample, attempt in zip(log["samples"], (a for r in results for a in r.attempts), strict=True):
        assert sample["scores"]["attempt"]["value"] == {"correct": "C", "wrong": "I"}[str(attempt.verdict)]
        assert sample["scores"]["attempt"]["answer"] == attempt.answer
    scores = score_results(results, 3)
    metrics = {score["name"]: score["metrics"] for score in log["results"]["scores"]}
    assert metrics["attempt"]["accuracy"]["value"] == pytest.approx(scores.pass_1.value)
    assert metrics["vote"]["accuracy"]["value"] == pytest.approx(scores.score.value)
    assert log["status"] == "success"


def test_the_zip_holds_the_same_as_the_one_file(folder: Path) -> None:
    export_inspect(folder, folder / "log.json")
    export_inspect(folder, folder / "log.eval")
    log = json.loads((folder / "log.json").read_text())
    with zipfile.ZipFile(folder / "log.eval") as archive:
        assert archive.testzip() is None
        header = json.loads(archive.read("header.json"))
        assert header == {key: value for key, value in log.items() if key not in ("samples", "reductions")}
        assert json.loads(archive.read("reductions.json")) == log["reductions"]
        for sample in log["samples"]:
            assert json.loads(archive.read(f"samples/{sample['id']}_epoch_{sample['epoch']}.json")) == sample
        summaries = json.loads(archive.read("summaries.json"))
        assert [(one["id"], one["epoch"]) for one in summaries] == [(s["id"], s["epoch"]) for s in log["samples"]]


def test_an_exam_that_was_not_finished_is_marked_so(folder: Path) -> None:
    (folder / "summary.json").unlink()
    export_inspect(folder, folder / "log.json")
    assert json.loads((folder / "log.json").read_text())["status"] == "cancelled"


def test_what_is_no_exam_or_no_log_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown ending"):
        export_inspect(folder, folder / "log.txt")
    with pytest.raises(InputError, match="no such file"):
        export_inspect(tmp_path / "nowhere", folder / "log.eval")
    (folder / "results.jsonl").write_text("")
    with pytest.raises(InputError, match="no problem was finished"):
        export_inspect(folder, folder / "log.eval")


@pytest.mark.parametrize("ending", ["eval", "json"])
def test_inspect_reads_it(folder: Path, ending: str) -> None:
    from inspect_ai import log as log_module

    path = folder / f"log.{ending}"
    export_inspect(folder, path)
    log = log_module.read_eval_log(str(path))
    results = rows()
    assert log.status == "success"
    assert log.eval.model == "merge@abc"
    assert len(log.samples) == sum(len(result.attempts) for result in results)
    by_key = {(sample.id, sample.epoch): sample for sample in log.samples}
    for result in results:
        for attempt in result.attempts:
            sample = by_key[result.problem.id, attempt.index + 1]
            assert sample.target == result.problem.answer
            assert sample.scores["attempt"].answer == attempt.answer
            assert sample.output.completion == attempt.text
            assert sample.output.usage.output_tokens == attempt.usage.completion_tokens
    summaries = log_module.read_eval_log_sample_summaries(str(path))
    assert sorted((summary.id, summary.epoch) for summary in summaries) == sorted(by_key)
    for summary in summaries:
        theirs = by_key[summary.id, summary.epoch].summary()  # what Inspect itself would write of this sample
        for name in ("input", "target", "model_usage", "total_time", "working_time", "uuid", "limit", "message_count"):
            assert getattr(summary, name) == getattr(theirs, name), name
        assert summary.completed
        for scorer, score in theirs.scores.items():
            assert (summary.scores[scorer].value, summary.scores[scorer].answer) == (score.value, score.answer)
    assert log_module.read_eval_log(str(path), header_only=True).results.scores[0].name == "attempt"

"""Real logs have several writers, labels before lines, packed and half-written files: what `check` makes of them."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from runs_on_paper import RULES, TOKEN, edit, write_run

from podium.bench.check import CheckedFolder, check_file, check_folder
from podium.bench.mllog import Event, parse_line, read_log
from podium.bench.runs import read_run, rules_for
from podium.bench.verdict import Verdict

EVENT = {"time_ms": 5, "key": "a", "value": 1, "metadata": {}}


def verdict(checked: CheckedFolder, rule: str) -> Verdict:
    return next(one for one in checked.verdicts if one.rule == rule)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_run(tmp_path / "result_0.txt", "ssd", division="closed", epochs=(5, 10))


LABELS = ["0: ", "[0] ", "rank0: ", "[rank3]: ", "[1,2]<stdout>:", "node7.1 | ", "worker-3: ", "[default0]:", "3> "]


@pytest.mark.parametrize("label", [*LABELS, "(Actor pid=231) ", "  3| ", "slurm-12: [4]: "])
def test_a_label_before_the_token_names_the_writer(label: str) -> None:
    event = parse_line(label + TOKEN + json.dumps(EVENT))
    assert isinstance(event, Event)
    assert event.writer
    assert event.writer in label


@pytest.mark.parametrize("before", ["", "12:34:56 ", "2021-10-01 12:00:03 INFO ", "10%|## | 3/10 ", "+ ", "\x1b[0m"])
def test_what_is_no_label_names_nobody(before: str) -> None:
    event = parse_line(before + TOKEN + json.dumps(EVENT))
    assert isinstance(event, Event)
    assert event.writer == ""


@pytest.mark.parametrize("label", LABELS)
def test_labelled_lines_are_judged_as_bare_ones(label: str, log: Path) -> None:
    bare = [(one.rule, one.outcome) for one in check_file(log).verdicts]
    log.write_text("".join(f"{label}{line}\n{label}loss 0.3\n" for line in log.read_text().splitlines()))
    assert [(one.rule, one.outcome) for one in check_file(log).verdicts] == bare


def test_carriage_returns_and_packed_logs_are_read(log: Path) -> None:
    plain = [(one.rule, one.outcome) for one in check_file(log).verdicts]
    text = log.read_bytes()
    log.write_bytes(text.replace(b"\n", b"\r\n"))
    assert [(one.rule, one.outcome) for one in check_file(log).verdicts] == plain
    log.write_bytes(gzip.compress(text))  # packed under its old name
    assert [(one.rule, one.outcome) for one in check_file(log).verdicts] == plain
    packed = log.rename(log.with_name("result_0.txt.gz"))
    assert len(check_folder(packed.parent).runs) == 1
    packed.write_bytes(gzip.compress(text)[:200])
    assert "damaged gzip" in verdict(check_file(packed), "lines").message


def test_a_last_line_cut_off_is_told_as_such(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-30])
    found = verdict(check_file(log), "lines")
    assert (found.outcome, found.message) == ("fail", "the log is cut off in the middle of a line")


def ranks(log: Path, skew: int, label: str, seed: int = 0) -> None:
    """Two more processes write what the first one writes on the clock, `skew` ms away, their lines mixed in."""
    lines, rng = log.read_text().splitlines(), random.Random(seed)
    events = [json.loads(line[len(TOKEN) :]) for line in lines]
    first = next(number for number, event in enumerate(events) if event["key"] == "run_start")
    mixed: list[tuple[int, dict[str, Any]]] = [(0, event) for event in events]
    for rank, way in ((1, 1), (2, -1)):
        at = first
        for event in events[first:]:
            if event["key"].startswith(("eval_", "block_")):
                later = next(number for number, (who, one) in enumerate(mixed) if who == 0 and one is event)
                at = max(at + 1, later + rng.randint(0, 2))
                mixed.insert(min(at, len(mixed) - 1), (rank, {**event, "time_ms": event["time_ms"] + way * skew}))
    log.write_text("".join(f"{label.format(rank)}{TOKEN}{json.dumps(event)}\n" for rank, event in mixed))


@pytest.mark.parametrize("label", ["{}: ", "[rank{}] ", "worker-{} | "])
def test_time_is_judged_within_what_one_rank_wrote(label: str, log: Path) -> None:
    ranks(log, 60_000, label)
    found = verdict(check_file(log, RULES), "clock")
    assert found.outcome == "pass", found
    # A rank whose own clock runs backwards on the clock of the run is a fault, whatever the others do.
    lines = log.read_text().splitlines()
    own = label.format(0)
    last = max(number for number, line in enumerate(lines) if line.startswith(own) and '"eval_accuracy"' in line)
    before, _, body = lines[last].partition(TOKEN)
    event = json.loads(body)
    lines[last] = before + TOKEN + json.dumps({**event, "time_ms": event["time_ms"] - 5000})
    log.write_text("\n".join(lines) + "\n")
    found = verdict(check_file(log, RULES), "clock")
    assert found.outcome == "fail"
    assert found.where.endswith(f":{last + 1}")


def test_unlabelled_lines_of_several_ranks_are_a_warning(log: Path) -> None:
    def change(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for event in events:
            made.append(event)
            if event["key"] in ("seed", "eval_accuracy"):
                made.append({**event, "time_ms": event["time_ms"] - 3000})
        return made

    edit(log, change)
    assert verdict(check_file(log, RULES), "clock").outcome == "warn"


def test_a_run_that_stops_before_it_starts_fails_whoever_wrote_it(log: Path) -> None:
    lines = log.read_text().splitlines()
    start = next(json.loads(line[len(TOKEN) :])["time_ms"] for line in lines if '"run_start"' in line)
    made = []
    for line in lines:
        event = json.loads(line[len(TOKEN) :])
        stop = event["key"] == "run_stop"
        made.append(("1: " if stop else "0: ") + TOKEN + json.dumps(event | ({"time_ms": start - 10} if stop else {})))
    log.write_text("\n".join(made) + "\n")
    found = verdict(check_file(log, RULES), "clock")
    assert found.outcome == "fail"
    assert "run_stop" in found.message


# -- convergence ---------------------------------------------------------------------------------------------------


def bert_entry(root: Path, trained: str) -> Path:
    """Ten runs whose evaluations are counted 1, 2, 3; `trained` says where the number of samples stands."""
    folder = root / "results" / "box" / "bert"
    for number in range(10):
        path = write_run(
            folder / f"result_{number}.txt",
            "bert",
            division="closed",
            seed=number,
            epochs=(1, 2, 3),
            global_batch_size=3072,
        )

        def change(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
            rest = [event for event in events if event["key"] != "train_samples"]
            mine = {**next(event for event in events if event["key"] == "train_samples"), "value": 2_700_000}
            stop = next(number for number, event in enumerate(rest) if event["key"] == "run_stop")
            start = next(number for number, event in enumerate(rest) if event["key"] == "run_start")
            at = {"planned": start, "planned late": start + 1, "trained": stop}[trained]
            mine["time_ms"] = rest[at]["time_ms"]
            return [*rest[:at], mine, *rest[at:]]

        edit(path, change)
    return folder


def test_bert_converges_on_samples_that_were_trained_only(tmp_path: Path) -> None:
    done = verdict(check_folder(bert_entry(tmp_path / "a", "trained")), "reference convergence")
    assert done.outcome == "pass"
    assert "2.7e+06 samples" in done.message
    for planned in ("planned", "planned late"):
        found = verdict(check_folder(bert_entry(tmp_path / planned.replace(" ", ""), planned)), "reference convergence")
        assert found.outcome == "fail", planned
        assert "does not say how many samples" in found.message


# -- which rules ---------------------------------------------------------------------------------------------------


def written(log: Path, time_ms: int, benchmark: str | None = None) -> str:
    def change(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rest = [event for event in events if event["key"] != "benchmark_ruleset"]
        shift = time_ms - rest[0]["time_ms"]
        moved = [{**event, "time_ms": event["time_ms"] + shift} for event in rest]
        named = [{**event, "value": benchmark} if event["key"] == "submission_benchmark" else event for event in moved]
        return named if benchmark else moved

    edit(log, change)
    return rules_for([read_log(log)])[0].version


def test_the_rules_are_those_of_the_round_a_log_was_written_in(log: Path) -> None:
    assert rules_for([read_log(log)])[1] == "named by the log"
    assert written(log, 1_634_800_000_000) == "1.1.0"  # October 2021
    assert written(log, 1_652_900_000_000) == "2.0.0"  # May 2022
    assert written(log, 1_728_500_000_000) == "4.1.0"  # October 2024
    assert written(log, 1_900_000_000_000) == "1.1.0"  # no round of that date is shipped: the default
    assert written(log, 1_728_500_000_000, "resnet") == "4.0.0"  # left the round: the last that had it
    assert written(log, 1_900_000_000_000, "llama31_8b") == "5.1.0"
    assert written(log, 10**30) == "5.1.0"


def test_one_name_means_another_network_in_another_round(log: Path) -> None:
    """ssd is SSD with 0.23 mAP in v1.1 and RetinaNet with 0.34 from v2.0 on, which is called retinanet from v5.0 on."""
    written(log, 1_634_800_000_000)
    assert verdict(check_file(log), "target").message == ">= 0.23, < 1"
    written(log, 1_652_900_000_000)
    found = verdict(check_file(log), "target")
    assert found.outcome == "fail"
    assert ">= 0.34" in found.message
    assert not read_run(log, rules_for([read_log(log)])[0]).converged

"""The hostile programs, as root and as an unprivileged user, in tier A (namespaces) and tier B (landlock).

Each program of hostile/ runs in a session of a real sandbox, beside a listener on every local door, a folder with a
secret, a bystander process and a neighbour session; hostile/_driver.py looks at all of them afterwards. One driver
process serves one user and one tier, and runs as that user. A program that only lies about its own result is no
failure: nothing can stop that, and nothing here relies on it.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

HOSTILE = Path(__file__).parent / "hostile"
NOBODY = 65534
PROGRAMS = sorted(path.stem for path in HOSTILE.glob("[0-9]*.py"))
USERS = ("root", "nobody")
TIERS = ("A", "B")
pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(sys.platform != "linux", reason="tiers A and B are Linux")]


def launcher(user: str) -> list[str]:
    """What to put before a command so that it runs as `user`; skips the test where that cannot be had."""
    if user == "root":
        return [] if os.geteuid() == 0 else pytest.skip("the tests do not run as root")
    if os.geteuid() != 0:
        return []  # whoever runs the tests is an unprivileged user already
    start = [sys.executable, str(HOSTILE / "_launch.py"), str(NOBODY)]
    probe = subprocess.run([*start, sys.executable, "-c", "import podium.sandbox"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"an unprivileged user cannot be had here: {probe.stderr.strip().splitlines()[-1:]}")
    return start


@functools.cache
def report(user: str, tier: str, only: str = "") -> dict[str, Any]:
    """Run all programs, or those whose names begin as `only` says, once for that user and tier."""
    start = launcher(user)
    with tempfile.TemporaryDirectory(prefix="podium-report-", dir="/tmp") as folder:
        if start:
            os.chown(folder, NOBODY, NOBODY)
        path = Path(folder) / "report.json"
        command = [
            *start,
            sys.executable,
            str(HOSTILE / "_driver.py"),
            "--tier",
            tier,
            "--report",
            str(path),
            "--only",
            only,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=550, env=environment())
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(path.read_text())


def environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_contained(user, tier, program):
    found = report(user, tier)
    if "unavailable" in found:
        pytest.skip(f"tier {tier} cannot be had here: {found['unavailable']}")
    if program not in found["programs"]:
        pytest.skip(f"{program} is about another tier")
    one = found["programs"][program]
    assert not one["failures"], json.dumps(one, indent=1)
    assert {block["tier"] for block in one["blocks"]} == {tier}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("user", USERS)
def test_nothing_is_left_behind(user, tier):
    found = report(user, tier)
    if "unavailable" in found:
        pytest.skip(f"tier {tier} cannot be had here: {found['unavailable']}")
    assert (found["uid"] == 0) == (user == "root")
    assert found["left_processes"] == []
    assert found["host_errors"] == []
    assert len(found["programs"]) >= 64 + 20


def test_the_same_programs_do_harm_where_nothing_holds_them():
    """Without isolation each of these reaches its target, and the host notices: the checks above can fail."""
    reached = report("nobody", "D", "008_,016,018,019,020")["programs"]
    assert len(reached) == 5
    for program, one in reached.items():
        assert any("ESCAPED" in failure for failure in one["failures"]), program
    for program in ("018_tcp_loopback", "019_datagram_name_query", "020_local_sockets"):
        assert any("connections arrived" in failure for failure in reached[program]["failures"]), program
    assert any("folder changed" in failure for failure in reached["016_symlinks"]["failures"])

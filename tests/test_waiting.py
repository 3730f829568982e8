"""How waiting threads wait, as the OpenMP runtime of PyTorch itself says it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from podium import waiting
from podium.waiting import SPINS_ALONE, SPINS_BESIDE_OTHERS, spins

NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
CLEAN = {name: value for name, value in os.environ.items() if name not in NAMES}
CHOSEN = (SPINS_ALONE, SPINS_BESIDE_OTHERS)  # the machine may grow busy or quiet between two processes


@pytest.mark.parametrize(
    ("load", "chosen"), [(0.0, SPINS_ALONE), (0.7, SPINS_BESIDE_OTHERS), (40, SPINS_BESIDE_OTHERS)]
)
def test_threads_spin_longer_where_nobody_else_wants_the_cores(load, chosen, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))
    assert spins() == chosen


def test_where_the_load_is_not_known_others_are_expected(monkeypatch):
    def unknown():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown)
    assert spins() == SPINS_BESIDE_OTHERS


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch brings libgomp on Linux")
def test_the_runtime_spins_briefly():
    program = "import podium.commands.cli, torch; torch.ones(2) @ torch.ones(2)"
    environment = {**CLEAN, "OMP_DISPLAY_ENV": "VERBOSE"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert re.search(rf"GOMP_SPINCOUNT = '({'|'.join(CHOSEN)})'", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [CHOSEN, "1", None]),
        ({"GOMP_SPINCOUNT": "5"}, ["5", "1", None]),
        ({"KMP_BLOCKTIME": "9"}, [CHOSEN, "9", None]),
        ({"OMP_WAIT_POLICY": "active"}, [None, None, "active"]),
    ],
)
def test_what_the_user_says_counts(given, found, monkeypatch):
    environment = dict(given)
    monkeypatch.setattr(os, "environ", environment)
    waiting.wait_briefly()
    for name, value in zip(NAMES, found, strict=True):
        assert environment.get(name) in (value if isinstance(value, tuple) else (value,))


def test_importing_podium_sets_it_before_torch_for_processes_that_are_started_too():
    program = "import podium, subprocess, sys; print('torch' in sys.modules, flush=True); "
    program += "subprocess.run([sys.executable, '-c', 'import os; print(os.environ[\"GOMP_SPINCOUNT\"])'])"
    done = subprocess.run([sys.executable, "-c", program], env=CLEAN, capture_output=True, text=True, check=True)
    was_torch_loaded, found = done.stdout.split()
    assert was_torch_loaded == "False"
    assert found in CHOSEN

"""How waiting threads wait, as the OpenMP runtime of PyTorch itself says it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from podium.waiting import SPINS

NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
CLEAN = {name: value for name, value in os.environ.items() if name not in NAMES}


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch brings libgomp on Linux")
def test_the_runtime_spins_briefly():
    program = "import podium.cli, torch; torch.ones(2) @ torch.ones(2)"
    environment = {**CLEAN, "OMP_DISPLAY_ENV": "VERBOSE"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert re.search(rf"GOMP_SPINCOUNT = '{SPINS}'", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [SPINS, "1", None]),
        ({"GOMP_SPINCOUNT": "5"}, ["5", "1", None]),
        ({"KMP_BLOCKTIME": "9"}, [SPINS, "9", None]),
        ({"OMP_WAIT_POLICY": "active"}, [None, None, "active"]),
    ],
)
def test_what_the_user_says_counts(given, found):
    program = f"import os, sys, podium; print([os.environ.get(n) for n in {NAMES}], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env={**CLEAN, **given}, capture_output=True, text=True)
    assert done.stdout.strip() == f"{found} False"


def test_processes_that_are_started_have_it_too():
    program = "import podium, subprocess, sys; subprocess.run([sys.executable, '-c', 'import os; print(os.environ)'])"
    done = subprocess.run([sys.executable, "-c", program], env=CLEAN, capture_output=True, text=True)
    assert f"'GOMP_SPINCOUNT': '{SPINS}'" in done.stdout

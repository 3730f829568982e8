"""A session's process of tiers C and D, which no zygote prepared: warm up, bound what can be bound, serve."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from podium.sandbox import inside, pools, protocol, rlimits
from podium.sandbox.warm import ImportFailed, warm_up


def main(control: int) -> None:
    _, _, payload = protocol.read_request(control)
    settings = json.loads(payload)
    if sys.platform == "linux":
        import signal

        from podium.sandbox import syscalls

        syscalls.die_with_parent(signal.SIGKILL)
    try:
        if settings["isolated"]:
            pools.install()
        warm_up(settings["warm"], settings["paths"])
    except ImportFailed as failure:
        protocol.write_all(control, protocol.pack_reply(protocol.FAILED, 0, 0, f"warm: {failure}"))
        os._exit(1)
    statm = Path("/proc/self/statm")
    baseline = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 1 << 40
    rlimits.apply(settings["limits"], baseline)
    inside.serve(control, baseline, settings["limits"]["output_chars"])

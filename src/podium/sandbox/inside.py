"""The loop of one session: wait for a request, run it, answer.

Knows the protocol and the notebook. Runs in a process that has already given everything up.
"""

from __future__ import annotations

import json
import os

from podium.sandbox import protocol, rlimits
from podium.sandbox.notebook import Notebook
from podium.sandbox.transcript import Transcript

# Touches what a first block would touch, so that its pages are copied before anyone waits for them.
_REHEARSAL = "value = [n * n for n in range(64)]\nprint(value)\n1 / 0"


def serve(control: int, baseline: int, output_chars: int) -> None:
    """Answer requests until the host closes `control`."""
    notebook = Notebook(Transcript(output_chars))
    notebook.run(_REHEARSAL, room=0)
    notebook = Notebook(notebook.transcript)
    protocol.write_all(control, protocol.pack_reply(protocol.READY, 0, 0, ""))
    while True:
        try:
            kind, request, payload = protocol.read_request(control)
        except EOFError:
            os._exit(0)
        if kind == protocol.OPEN:
            # Comes right before the first block and is not answered: one round trip less.
            settings = json.loads(payload)
            notebook.transcript.limit = settings["limits"]["output_chars"]
            rlimits.apply(settings["limits"], baseline)
            notebook.open(settings["seed"])
            continue
        code, dropped, text = notebook.run(payload.decode(), room=notebook.transcript.limit)
        protocol.write_all(control, protocol.pack_reply(code, request, dropped, text))

"""The OpenAI HTTP API over any Completer: `create_app` makes the application, `serve` runs it until it is told to stop.

`asks.py` what a request may say · `gate.py` who is let in · `choice.py` one answer as its client may see it ·
`forms.py` and `shapes.py` the JSON of answers · `generating.py` a request from beginning to end · `app.py` the
addresses · `served.py` what they share · `metrics.py` what Prometheus reads · `run.py` the process.
"""

from podium.generate.server.app import create_app
from podium.generate.server.run import bind, serve
from podium.generate.server.served import Served

__all__ = ["Served", "bind", "create_app", "serve"]

"""Counters and histograms in Prometheus' text format (exposition format 0.0.4).

One event loop writes and reads them: no locks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counter:
    """Only grows; one value per set of labels."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self._meaning = meaning
        self._labels = tuple(labels)
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def add(self, amount: float = 1.0, *labels: str) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + amount

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._meaning}"
        yield f"# TYPE {self.name} counter"
        for labels, value in self._values.items():
            shown = ",".join(f'{key}="{text}"' for key, text in zip(self._labels, labels, strict=True))
            yield f"{self.name}{{{shown}}} {value:g}" if shown else f"{self.name} {value:.17g}"


class Histogram:
    """How often values fell into buckets; `bounds` are their upper ends."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float]) -> None:
        self.name = name
        self._meaning = meaning
        self._bounds = list(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._meaning}"
        yield f"# TYPE {self.name} histogram"
        total = 0
        for bound, count in zip([*self._bounds, float("inf")], self._counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{le="{"+Inf" if bound == float("inf") else format(bound, "g")}"}} {total}'
        yield f"{self.name}_sum {self._sum:.9g}"
        yield f"{self.name}_count {total}"


def gauge(name: str, meaning: str, value: float) -> Iterator[str]:
    """The lines of one value that is read at this moment."""
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} gauge"
    yield f"{name} {value:.17g}"


def gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Iterator[str]:
    """The lines of a value that several have, each under its own label."""
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} gauge"
    for own, value in values.items():
        yield f'{name}{{{label}="{own}"}} {value:.17g}'


class Metrics:
    """What the server counts."""

    def __init__(self) -> None:
        self.requests = Counter(
            "podium_requests_total",
            "Requests by endpoint and how they ended: finished, refused, disconnected, aborted or failed.",
            ("endpoint", "outcome"),
        )
        self.prompt_tokens = Counter("podium_prompt_tokens_total", "Tokens of prompts.")
        self.completion_tokens = Counter("podium_completion_tokens_total", "Tokens written by the model.")
        self.first_token = Histogram(
            "podium_time_to_first_token_seconds",
            "From the end of the request's body to the first token.",
            (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120),
        )
        self.per_token = Histogram(
            "podium_time_per_output_token_seconds",
            "Mean time between the tokens of a completion after its first.",
            (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
        )

    def lines(self) -> Iterator[str]:
        for each in (self.requests, self.prompt_tokens, self.completion_tokens, self.first_token, self.per_token):
            yield from each.lines()

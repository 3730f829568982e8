"""When text says that a completion is over: stop strings and repetition, looked for as the text grows.

Knows text only; what the tokens were is the engine's affair.
"""

from __future__ import annotations

from dataclasses import dataclass

from podium.answering.protocol import Finish, Sampling


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why the text is over. The last `overhang` characters pushed lie behind the stop string and do not count."""

    finish: Finish
    stop: str | None = None
    overhang: int = 0


class StopWatch:
    """Watches one completion's text, as written by the model (appended text is not pushed)."""

    __slots__ = ("_least", "_start", "_stops", "_times", "_window", "text")

    def __init__(self, sampling: Sampling) -> None:
        self._stops = tuple(stop for stop in sampling.stop if stop)
        self._least = sampling.min_tokens
        self._window = sampling.repetition_window if sampling.repetition_count > 0 else 0
        self._times = sampling.repetition_count
        self._start = 0
        self.text = ""

    def push(self, new: str, tokens: int) -> Stopped | None:
        """Take `new` text. The stop string that ends first wins, and of those that end together the longest.

        Args:
            tokens: that the completion has with this text. Text of the first min_tokens ends nothing, as in vLLM: a
                stop string that is complete by then is passed over for good.
        """
        if not new:
            return None
        before = len(self.text)
        self.text += new
        if tokens <= self._least:
            return None
        first: tuple[int, int] | None = None
        fired = ""
        for stop in self._stops:
            at = self.text.find(stop, max(self._start, before - len(stop) + 1))
            if at >= 0 and (first is None or (at + len(stop), -len(stop)) < first):
                first = (at + len(stop), -len(stop))
                fired = stop
        if first is not None:
            overhang = len(self.text) - first[0]
            if overhang:
                self.text = self.text[: first[0]]
            return Stopped("stop", fired, overhang)
        window = self._window
        if window and len(self.text) > window:
            tail = self.text[-window:]
            if self.text.count(tail, 0, len(self.text) - window) >= self._times:
                return Stopped("repetition")
        return None

    def restart(self) -> None:
        """Text was appended by somebody else: a stop string never spans what was written before it and after it."""
        self._start = len(self.text)

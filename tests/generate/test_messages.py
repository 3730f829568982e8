"""Messages survive the way between processes."""

import pickle

import pytest

from podium.answering import CompletionUsage, Piece, PromptScore, Sampling
from podium.errors import CompleterError
from podium.generate import messages as m

MESSAGES = [
    m.Start(1, "What is 1 + 1?", Sampling(temperature=0.7, stop=("x",), top_logprobs=2)),
    m.Start(2, [1, 2, 3], Sampling()),
    m.Extend(1, "text"),
    m.Cancel(1),
    m.Score(3, [4, 5], 2),
    m.AskFigures(4),
    m.Ready(4096),
    m.Started(1),
    m.PieceWritten(1, Piece("ab", (1, 2), (-0.5, -1.0), "stop", "x", None, (((1, -0.5),), ()), (("a",), ()))),
    m.PieceWritten(1, Piece("")),
    m.Finished(1, CompletionUsage(3, 4, 5, 6, -1.5, {"draft_tokens": 2})),
    m.Cancelled(1),
    m.Scored(3, PromptScore([None, -0.5], [(), ((4, -0.1),)])),
    m.Figures(4, {"open": 2.0}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message):
    arrived = pickle.loads(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    assert type(arrived) is type(message)
    assert arrived == message


@pytest.mark.parametrize("of", [m.Broken, m.Refused, m.Failed])
def test_a_failure_arrives_with_its_cure(of):
    failure = CompleterError("no memory", "use less")
    arrived = pickle.loads(pickle.dumps(of(failure) if of is m.Broken else of(1, failure))).failure
    assert (type(arrived), arrived.message, arrived.cure) == (CompleterError, "no memory", "use less")

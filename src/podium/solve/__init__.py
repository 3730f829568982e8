"""Solving: attempts with code, stopping rules, the clock, the vote, the exam."""

from podium.solve.clock import ExamClock
from podium.solve.exam import ExamConfig, ExamSummary, sit_exam
from podium.solve.policy import Policy, parse_policy
from podium.solve.profile import PROFILES, Profile, get_profile
from podium.solve.scores import Scores, score_results, table
from podium.solve.toolloop import attempt
from podium.solve.vote import WEIGHTS, Vote, ballots, majority, weigh

__all__ = [
    "PROFILES",
    "WEIGHTS",
    "ExamClock",
    "ExamConfig",
    "ExamSummary",
    "Policy",
    "Profile",
    "Scores",
    "Vote",
    "attempt",
    "ballots",
    "get_profile",
    "majority",
    "parse_policy",
    "score_results",
    "sit_exam",
    "table",
    "weigh",
]

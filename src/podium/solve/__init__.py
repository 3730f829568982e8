"""Solving: attempts with code, stopping rules, the clock, the vote, the exam."""

from podium.solve.clock import Ledger, Pool, PoolClock
from podium.solve.exam import ExamConfig, ExamSummary, sit_exam
from podium.solve.policy import Policy
from podium.solve.policyfile import parse_policy, shipped
from podium.solve.profile import PROFILES, Profile, get_profile
from podium.solve.scores import Scores, score_results, table
from podium.solve.toolloop import attempt
from podium.solve.vote import WEIGHTS, Vote, ballots, majority, weigh

__all__ = [
    "PROFILES",
    "WEIGHTS",
    "ExamConfig",
    "ExamSummary",
    "Ledger",
    "Policy",
    "Pool",
    "PoolClock",
    "Profile",
    "Scores",
    "Vote",
    "attempt",
    "ballots",
    "get_profile",
    "majority",
    "parse_policy",
    "score_results",
    "shipped",
    "sit_exam",
    "table",
    "weigh",
]

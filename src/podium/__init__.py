"""Podium builds reasoning models, makes them fast, and races them against the clock."""

from podium.waiting import wait_briefly

__version__ = "0.1.0"

wait_briefly()

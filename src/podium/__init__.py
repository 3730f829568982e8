"""Podium builds reasoning models, makes them fast, and races them against the clock."""

__version__ = "0.1.0"

"""The report of a run: a page that opens from the disk, and a summary in the terminal.

Reads run folders and rows; does not know how results were made.
"""

from podium.board.summary import print_summary

__all__ = ["print_summary"]

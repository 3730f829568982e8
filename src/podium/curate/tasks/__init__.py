"""The tasks the programmatic teacher can solve, by reasoning-gym's names."""

from podium.curate.tasks import arithmetic, numbers, puzzles
from podium.curate.tasks.writer import Declined, Writer, checked_steps

WRITERS: dict[str, Writer] = {
    writer.name: writer for writer in (*arithmetic.WRITERS, *numbers.WRITERS, *puzzles.WRITERS)
}

__all__ = ["WRITERS", "Declined", "Writer", "checked_steps"]

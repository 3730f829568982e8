"""Two exams over the same problems as a page: the difference first, what it must not be read without beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from podium.board.shell import colour, counted, header, page, table, text
from podium.solve.wording import say_points, say_share

if TYPE_CHECKING:
    from podium.solve.comparing import Contrast, ExamComparison, Level, Side
    from podium.solve.scores import Estimate

FACTS: tuple[tuple[str, Callable[[Side], str]], ...] = (
    ("model", lambda side: ", ".join(side.models)),
    ("attempts per problem", lambda side: str(side.attempts)),
    ("token limit", lambda side: ", ".join(map(str, side.token_limits)) or "none told"),
    ("tokens per attempt", lambda side: f"{side.mean_tokens:.0f}"),
    ("seconds in all", lambda side: f"{side.seconds:.1f}"),
    ("truncated attempts", lambda side: f"{100 * side.truncated:.1f} %"),
    ("undecided attempts", lambda side: f"{100 * side.undecided:.1f} %"),
    ("attempts decided by a judge", lambda side: str(side.judged)),
    ("votes weighed by", lambda side: ", ".join(side.votes)),
    ("undecided answers", lambda side: str(side.answers_undecided)),
    ("unanswered problems", lambda side: str(side.unanswered)),
    ("ties", lambda side: str(side.ties)),
    (
        "error of pass@1",
        lambda side: f"{100 * side.error:.1f}, {100 * side.error_of_problems:.1f} with endless attempts",
    ),
)
"""What is told of both exams, in the terminal and on the page."""


def comparison_page(comparison: ExamComparison, names: tuple[str, str], problems: Mapping[str, str]) -> str:
    """The page. `names`: of the two exams; `problems`: id -> text, for those that only one of them answered."""
    names = names if names[0] != names[1] else (f"{names[0]} (A)", f"{names[1]} (B)")
    first = comparison.contrasts[0]
    lede = (
        f"Of {counted(comparison.shared, 'shared problem')} {text(names[0])} answered {100 * first.a.value:.1f} %, "
        f"{text(names[1])} {100 * first.b.value:.1f} %: {_verdict(first)}"
    )
    links = {"difference": "Difference", "facts": "Both exams"}
    links |= {"budgets": "Within a budget"} if comparison.by_tokens[0] or comparison.by_seconds[0] else {}
    links |= {"flips": "Only one right"} if comparison.flips else {}
    body = header(f"{names[0]} against {names[1]}", kicker="Podium · comparison", lede=lede, links=links)
    body += "<main>" + _cautions(comparison.cautions) + _contrasts(comparison, names) + _facts(comparison, names)
    body += _budgets(comparison, names) + _flips(comparison, names, problems) + "</main>"
    return page(
        f"{names[0]} against {names[1]} · Podium",
        body,
        footer="Made by Podium from the rows of both exams.",
        mathematics=bool(comparison.flips),
    )


def _verdict(contrast: Contrast) -> str:
    found = contrast.difference
    change, interval = _change(contrast)
    words = f"{change} points, 95% interval {interval}."
    if found.low > 0 or found.high < 0:
        return words
    return f"{words} The interval holds 0: no difference showed."


def _cautions(cautions: Sequence[str]) -> str:
    said = "".join(f"<p><b>Caution:</b> {text(caution)}</p>" for caution in cautions)
    return f'<div class="warning" role="note">{said}</div>' if said else ""


def _contrasts(comparison: ExamComparison, names: tuple[str, str]) -> str:
    columns = [("", ""), ("A − B, points", "main num"), ("A", "num"), ("B", "num"), ("p", "num"), ("detectable", "num")]
    rows = [
        (
            f"<b>{text(row.measure)}</b>",
            '<span class="big">{}</span><div class="between">{}</div>'.format(*_change(row)),
            _share(row.a),
            _share(row.b),
            f"{row.p:.3f}" if row.p >= 0.001 else "&lt;0.001",
            f"{100 * row.detectable:.1f}",
        )
        for row in comparison.contrasts
    ]
    left_out = [
        (comparison.only_a, "only in A"),
        (comparison.only_b, "only in B"),
        (comparison.reworded, "of one id and two texts"),
    ]
    apart = "".join(f" {counted(count, 'problem')} {where} left out." for count, where in left_out if count)
    return f"""<section id="difference"><h2>Difference</h2>{_key(names)}
<p class="note">The score counts the answers given under the exam's own clock, rule and vote. 95% intervals over
problems; p of a paired sign-flip test; detectable: the true difference in points that this many problems show four
times in five.{apart}</p>{table(columns, rows)}</section>"""


def _key(names: tuple[str, str]) -> str:
    marks = (
        f'<span style="{colour(index)}"><i class="dot"></i>{letter}: {text(name)}</span>'
        for index, (letter, name) in enumerate(zip("AB", names, strict=True))
    )
    return f'<div class="key">{"".join(marks)}</div>'


def _facts(comparison: ExamComparison, names: tuple[str, str]) -> str:
    rows = [(label, *(text(read(side)) for side in comparison.sides)) for label, read in FACTS]
    return (
        f'<section id="facts"><h2>Both exams</h2>{_key(names)}'
        f"{table([('', ''), ('A', 'main'), ('B', '')], rows, tight=True)}</section>"
    )


def _budgets(comparison: ExamComparison, names: tuple[str, str]) -> str:
    parts = [
        _levels(unit, levels)
        for unit, levels in (("tokens", comparison.by_tokens), ("seconds", comparison.by_seconds))
        if levels[0]
    ]
    if not parts:
        return ""
    return (
        f'<section id="budgets"><h2>Within a budget</h2>{_key(names)}<p class="note">Scores in percent of what was '
        f"known within so many tokens, or seconds, of an attempt.</p>{''.join(parts)}</section>"
    )


def _levels(unit: str, levels: tuple[Sequence[Level], Sequence[Level]]) -> str:
    columns = [
        (f"within {unit}", ""),
        ("A vote", "main num"),
        ("B vote", "num"),
        ("A pass@1", "num"),
        ("B pass@1", "num"),
    ]
    rows = [
        (
            f"{a.budget:,.0f}" if a.budget >= 10 else f"{a.budget:.2g}",
            *(f"{100 * share:.1f}" for share in (a.majority, b.majority, a.pass_1, b.pass_1)),
        )
        for a, b in zip(*levels, strict=True)
    ]
    return table(columns, rows, tight=True)


def _flips(comparison: ExamComparison, names: tuple[str, str], problems: Mapping[str, str]) -> str:
    if not comparison.flips:
        return ""
    won = sum(flip.won == "a" for flip in comparison.flips)
    columns = [("problem", ""), ("right", "main"), ("gold", ""), ("A", ""), ("B", "")]
    rows = [
        (
            f'<details><summary>{text(flip.problem)}</summary><p class="question tex">'
            f"{text(problems.get(flip.problem, ''))}</p></details>",
            f"<b>{flip.won.upper()}</b>",
            *(_answer(answer) for answer in (flip.gold, flip.a, flip.b)),
        )
        for flip in comparison.flips
    ]
    return (
        f'<section id="flips"><h2>Only one right</h2>{_key(names)}<p class="note">{counted(won, "problem")} only in A, '
        f"{len(comparison.flips) - won} only in B.</p>{table(columns, rows, tight=True)}</section>"
    )


def _answer(answer: str | None) -> str:
    return '<span class="note">none</span>' if answer is None else f'<span class="tex" data-whole>{text(answer)}</span>'


def _share(value: Estimate) -> str:
    return '{}<div class="between">{}</div>'.format(*say_share(value.value, value.low, value.high, 1, " to "))


def _change(contrast: Contrast) -> tuple[str, str]:
    """The difference in points, and its interval, with the decimals that its verdict needs."""
    found = contrast.difference
    return say_points(found.value, found.low, found.high)

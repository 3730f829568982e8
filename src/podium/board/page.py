"""The sections of a run's or an exam's report: everything that can be read without JavaScript.

Knows facts, not files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podium.board import shell
from podium.board.effects import Effect
from podium.board.exam import Exam, is_correct, scores_by_task, task_of
from podium.board.run_folder import StageFacts
from podium.board.selection import Selection
from podium.board.shell import colour, counted, table, text
from podium.figures import say_number, say_seconds
from podium.folders import RESULTS
from podium.records import Attempt, ExamResult, Verdict, VoteClass
from podium.solve.scores import Estimate
from podium.solve.wording import say_points, say_share

TONES = {
    Verdict.CORRECT: ("right", "correct"),
    Verdict.WRONG: ("wrong", "wrong"),
    Verdict.UNDECIDED: ("warn", "undecided"),
    Verdict.NO_ANSWER: ("", "no answer"),
}


def percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def header(
    title: str,
    exams: Sequence[Exam],
    selections: Sequence[Selection],
    stages: Sequence[StageFacts],
    system: Mapping[str, Any],
    training: bool,
) -> str:
    """Title, one sentence that says what came out, and where it ran."""
    spent = sum(stage.wall_seconds or 0.0 for stage in stages)
    lede = []
    for selection in selections:
        last = selection.scores[-1]
        lede.append(
            f"Of {counted(last.n, 'attempt')} a problem {text(selection.label)} chose a right answer for "
            f"{percent(last.select.value)} of {counted(last.problems, 'problem')}, the vote over the same for "
            f"{percent(last.vote.value)}."
        )
    if exams and not selections:
        scored = [f"{text(exam.label)} {percent(exam.scores.score.value)}" for exam in exams]
        listed = " and ".join(filter(None, [", ".join(scored[:-1]), scored[-1]]))
        sizes = " and ".join(str(size) for size in sorted({exam.scores.problems for exam in exams}))
        lede += [f"{text(exam.label)}: {text(exam.unanswered[0])}" for exam in exams if exam.unanswered]
        lede.append(f"Answered of {sizes} problems: {listed}.")
    if spent:
        lede.append(f"The whole chain took {say_seconds(spent)}.")
    machine = [system.get("cpu"), f"{system['cores']} cores" if system.get("cores") else None]
    machine += [accelerator.get("name") for accelerator in system.get("accelerators", [])]
    links = {"choice": "Choice and vote"} if selections else {}
    links |= {"result": "Attempts" if selections else "Result", "votes": "Votes and time"} if exams else {}
    links |= {"tasks": "Tasks"} if exams else {}
    links |= {"chain": "Chain"} if stages else {}
    links |= {"training": "Training"} if training else {}
    links |= {"example": "One problem", "problems": "Problem by problem"} if exams else {}
    return shell.header(
        title,
        kicker=" · ".join(str(part) for part in ("Podium", *machine) if part),
        warning=warnings(exams),
        lede=" ".join(lede),
        links=links,
    )


def warnings(exams: Sequence[Exam]) -> str:
    """What must be known before any score: exams most of whose attempts have no answer, why, and what cures it."""
    said = ""
    for exam in exams:
        if exam.unanswered:
            first, *cures = exam.unanswered
            said += f"<p><b>{text(exam.label)}: {text(first)}</b></p>"
            said += f"<ul>{''.join(f'<li>{text(cure)}</li>' for cure in cures)}</ul>" if cures else ""
    return f'<div class="warning" role="note">{said}</div>' if said else ""


def choice(selections: Sequence[Selection]) -> str:
    """What a selector chose beside the vote over the same attempts: the result of GenSelect, before anything else."""
    parts = []
    for index, selection in enumerate(selections):
        columns = [("attempts", ""), ("chosen", "main"), ("vote", ""), ("chosen − vote", "num"), ("p", "num")]
        columns += [("both in one ballot", "num"), ("one attempt", "num"), ("any right", "num"), ("no pick", "num")]
        gains = [say_points(score.gain, score.gain_low, score.gain_high) for score in selection.scores]
        rows = [
            (
                f'<b>{score.n}</b><div class="between">{counted(score.problems, "problem")}, '
                f"{counted(score.sets, 'set')}</div>",
                _bar(score.select),
                _bar(score.vote),
                f'<b>{gain}</b><div class="between">{interval}</div>',
                f"{score.p:.2g}",
                *(f"{100 * each.value:.1f}%" for each in (score.both, score.single, score.passed)),
                percent(score.invalid / score.asked) if score.asked else "–",
            )
            for score, (gain, interval) in zip(selection.scores, gains, strict=True)
        ]
        last = selection.scores[-1]
        outcome = "showed" if last.gain_low > 0 else "opposite" if last.gain_high < 0 else "did not show"
        words = {"showed": "showed", "did not show": "did not show", "opposite": "the opposite"}[outcome]
        parts.append(
            f"<h3>{text(selection.label)}</h3>{table(columns, rows, styles=[colour(index)] * len(rows))}"
            f'<ul class="effects"><li><span class="tag {"" if outcome == "did not show" else outcome}">{words}</span>'
            f"<p><b>Choosing beats the vote.</b> {text(selection.label)} among {last.n} attempts: "
            f"{percent(last.select.value)}, the vote over the same {percent(last.vote.value)}: {gains[-1][0]} "
            f"points (95% interval {gains[-1][1]}).</p></li></ul>"
        )
    return f"""<section id="choice"><h2>Choice and vote</h2>
<p class="note">A model reads the attempts side by side and names one; beside it the vote over the same attempts. A
problem without a pick keeps its vote; ties are split. Intervals are over problems, p is a paired sign-flip test's.</p>
{"".join(parts)}</section>"""


def result(exams: Sequence[Exam], effects: Sequence[Effect], heading: str = "Result") -> str:
    """The score table and the sentences on the effects."""
    voted, passed = at_n(exams)
    several = max(exam.n for exam in exams) > 1
    columns = [("exam", ""), ("score", "main")]
    columns += [(voted, ""), ("pass@1", ""), (passed, "")] if several else [("pass@1", "")]
    columns += [("tokens", "num"), ("code calls", "num"), ("seconds", "num"), ("what did not end well", "")]
    rows = [_score_row(exam, several) for exam in exams]
    sentences = "".join(
        f'<li><span class="tag {"" if effect.outcome == "did not show" else effect.outcome}">'
        f"{_outcome(effect)}</span><p><b>{text(effect.claim)}.</b> {text(effect.sentence)}</p></li>"
        for effect in effects
    )
    votes_said = (
        f" {voted} is what a vote over so many attempts scores, a tie split among its answers; {passed} counts a "
        "problem if any attempt is right."
        if several
        else ""
    )
    return f"""<section id="result"><h2>{text(heading)}</h2>
<p class="note">The score is the share of problems whose answer, given under the exam's own clock, stopping rule and
vote, is right. pass@1 is the mean over attempts.{votes_said} The bars are 95% intervals over problems. Attempts that a
stopping rule cancelled count in no rate. Undecided is never correct. Tokens and code calls are means per attempt,
seconds per problem.</p>
{table(columns, rows, styles=[colour(index) for index in range(len(exams))])}
{f'<h3>What showed, and what did not</h3><ul class="effects">{sentences}</ul>' if sentences else ""}</section>"""


def at_n(exams: Sequence[Exam]) -> tuple[str, str]:
    """The names of the scores that use all attempts: maj@12 and pass@12, or with n where exams have several."""
    sizes = {exam.n for exam in exams}
    n = str(sizes.pop()) if len(sizes) == 1 else "n"
    return f"maj@{n}", f"pass@{n}"


def _outcome(effect: Effect) -> str:
    return {"showed": "showed", "did not show": "did not show", "opposite": "the opposite"}[effect.outcome]


def _score_row(exam: Exam, several: bool) -> tuple[str, ...]:
    scores = exam.scores
    trouble = [
        (scores.truncated, "attempt", "at the token limit"),
        (scores.repeated, "attempt", "ended for repeating the same text"),
        (scores.clock_cut, "attempt", "cut by the clock"),
        (scores.cancelled, "attempt", "cancelled by the rule"),
        (scores.no_answer, "attempt", "without answer"),
        (scores.undecided, "attempt", "undecided"),
        (scores.judged, "attempt", "decided by the judge"),
        (scores.errors, "attempt", "lost to errors"),
        (scores.code_timeouts, "code call", "timed out"),
        (scores.answers_undecided, "problem", "undecided"),
        (scores.ties, "tie", ""),
    ]
    said = "<br>".join(f"{counted(count, what)} {how}" for count, what, how in trouble if count) or "nothing"
    limits = ", ".join(f"{limit:,}" for limit in exam.token_limits)
    under = f"{counted(scores.problems, 'problem')}, {counted(exam.n, 'attempt')}"
    under += f",<br>token limit {limits}" if limits else ""
    under += f",<br>votes weighed by {text(exam.vote)}" if exam.vote != "uniform" else ""
    shares = (
        [scores.score, scores.majority_n, scores.pass_1, scores.pass_n] if several else [scores.score, scores.pass_1]
    )
    return (
        f'<span class="model"><i class="dot"></i>{text(exam.label)}</span><div class="between">{under}</div>',
        *map(_bar, shares),
        f"{scores.mean_tokens:,.0f}",
        f"{scores.mean_code_calls:.2f}",
        f"{scores.seconds / max(1, scores.problems):.1f}",
        f'<div class="between trouble">{said}</div>',
    )


def _bar(estimate: Estimate) -> str:
    low, high, value = (100 * x for x in (estimate.low, estimate.high, estimate.value))
    return (
        f'<span class="score">{value:.0f}%</span><div class="range" aria-hidden="true">'
        f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i><b style="left:{value:.1f}%"></b></div>'
        f'<div class="between">{say_share(estimate.value, estimate.low, estimate.high, 0, " to ")[1]}</div>'
    )


def votes(exams: Sequence[Exam], timed: bool) -> str:
    """Charts of score against attempts and against time, with the numbers beneath for those without charts."""
    key = "".join(
        f'<span style="{colour(index)}"><i class="dot"></i>{text(exam.label)}</span>'
        for index, exam in enumerate(exams)
    )
    ks = sorted({k for exam in exams for k in exam.scores.majority_at})
    # The most attempts first: theirs is the number that the result shows.
    columns = [("k", ""), (str(ks[-1]), "main num"), *((str(k), "num") for k in ks[:-1])]
    rows = [
        (
            f"{text(exam.label)}, {words}",
            *(percent(at[k].value) if k in at else "" for k in (ks[-1], *ks[:-1])),
        )
        for exam in exams
        for words, at in (("maj@k", exam.scores.majority_at), ("pass@k", exam.scores.pass_at))
    ]
    time_figure = (
        "<figure><figcaption><b>Score against time</b>: if every problem were stopped after so many seconds, and the "
        'answers known by then voted</figcaption><div class="chart" data-chart="time"></div></figure>'
        if timed
        else ""
    )
    return f"""<section id="votes"><h2>Votes and time</h2><div class="key">{key}</div><div class="figures">
<figure><figcaption><b>Score against attempts</b>: solid, a vote over k of them (maj@k); dashed, any one of k right
(pass@k)</figcaption><div class="chart" data-chart="votes"></div></figure>{time_figure}</div>
<details><summary class="note">the same as numbers</summary>{table(columns, rows, tight=True)}</details></section>"""


def tasks(exams: Sequence[Exam]) -> str:
    """Problems answered per task and exam, the hardest task first."""
    columns = [("task", ""), *((exam.label, "" if index else "main") for index, exam in enumerate(exams))]
    rows = [
        (
            text(task),
            *(
                f'<span class="cell" style="{colour(index)};--share:{correct / total:.2f}">'
                f'{correct} <span class="between">of {total}</span></span>'
                if total
                else ""
                for index, (correct, total) in enumerate(cells)
            ),
        )
        for task, cells in scores_by_task(exams).items()
    ]
    return f"""<section id="tasks"><h2>Task by task</h2><p class="note">Problems answered correctly, the hardest task
first. With so few problems to a task, a row is a hint, not a measurement.</p>
{table(columns, rows, tight=True)}</section>"""


def chain(stages: Sequence[StageFacts]) -> str:
    """The stages with what they took and found."""
    longest = max((stage.wall_seconds or 0.0 for stage in stages), default=0.0) or 1.0
    rows = []
    for stage in stages:
        if stage.wall_seconds is None:
            took = '<span class="note">not finished</span>'
        else:
            width = 8.0 * stage.wall_seconds / longest
            took = (
                f'<div class="took"><i style="width:{width:.2f}rem"></i><b>{say_seconds(stage.wall_seconds)}</b></div>'
            )
        again = (
            f' <span class="tag warn">stopped and continued {counted(stage.sessions - 1, "time")}</span>'
            if stage.sessions > 1
            else ""
        )
        figures = " · ".join(
            f"{text(key.replace('_', ' '))} {text(say_number(value))}"
            for key, value in stage.metrics.items()
            if isinstance(value, str | int | float)
        )
        rows.append(
            (
                f'<b>{text(stage.name)}</b>{again}<div class="between">{text(stage.kind)}'
                f"{' ← ' + text(', '.join(stage.inputs)) if stage.inputs else ''}</div>",
                took,
                f'<span class="note">{figures}</span>',
            )
        )
    total = sum(stage.wall_seconds or 0.0 for stage in stages)
    return f"""<section id="chain"><h2>Chain</h2><p class="note">Each stage with the seconds it took, interrupted
sessions included; {say_seconds(total)} in all.</p>
{table([("stage", ""), ("time", "main"), ("figures", "")], rows)}</section>"""


def training(charts: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Small multiples: a row of charts for every training stage. `charts`: stage -> (words, chart id)."""
    rows = "".join(
        f'<h3>{text(stage)}</h3><div class="figures small">'
        + "".join(
            f'<figure><figcaption>{text(words)}</figcaption><div class="chart" data-chart="{text(key)}"></div></figure>'
            for words, key in figures
        )
        + "</div>"
        for stage, figures in charts.items()
    )
    return f'<section id="training"><h2>Training</h2><p class="note">Against the step.</p>{rows}</section>'


def problems(exams: Sequence[Exam]) -> str:
    """Every exam problem by problem; the attempts inside are filled in by the script."""
    exam_buttons = "".join(
        f'<button data-exam="{index}" style="{colour(index)}"><i class="dot"></i>{text(exam.label)}</button>'
        for index, exam in enumerate(exams)
    )
    filters = "".join(
        f'<button data-filter="{name}">{words}</button>'
        for name, words in (("all", "all"), ("wrong", "not right"), ("tie", "tie"), ("clock", "clock hit"))
    )
    sheets = "".join(
        f'<div class="sheet" data-exam="{index}"><h3 style="{colour(index)}"><i class="dot"></i>{text(exam.label)}</h3>'
        '<div class="row head"><span>#</span><span>problem</span><span>verdict</span><span>answer</span>'
        '<span>votes</span><span class="num">seconds</span></div>'
        + "".join(
            _problem(index, number, row)
            # What is not right comes first; among equals the order of the exam stays.
            for number, row in sorted(enumerate(exam.results), key=lambda each: each[1].verdict == Verdict.CORRECT)
        )
        + "</div>"
        for index, exam in enumerate(exams)
    )
    return f"""<section id="problems"><h2>Problem by problem</h2>
<p class="note">What is not right comes first. Open a problem for its attempts, an attempt for what it wrote, ran and
read. Beside the seconds used stand those drawn from the shared pool.</p>
<div class="tools" id="tools" hidden>{f"<span>{exam_buttons}</span>" if len(exams) > 1 else ""}<span>{filters}</span>
<span class="note" id="count"></span></div>{sheets}
<noscript><p class="note">The text of the attempts is shown with JavaScript; it is also in {RESULTS} of the exam's
folder.</p></noscript></section>"""


def example(exams: Sequence[Exam]) -> str:
    """One problem of the last exam, unfolded: with a right attempt, and a wrong one where there is any."""
    index, exam = len(exams) - 1, exams[-1]
    number, row = min(enumerate(exam.results), key=lambda each: _instructive(each[1]))
    right = [attempt for attempt in row.attempts if is_correct(attempt)]
    others = [attempt for attempt in row.attempts if not is_correct(attempt)]
    shown = [min(each, key=_worth_reading).index for each in (right, others) if each]
    problem = _problem(index, number, row, shown)
    return f"""<section id="example" class="example"><h2>One problem, worked</h2>
<p class="note">{text(exam.label)}, problem {number + 1}: every attempt, {
        "a right one and another" if right and others else "one of them"
    } unfolded.</p>
<div class="sheet">{problem}</div></section>"""


def _instructive(row: ExamResult) -> tuple[int, int, int, int]:
    """Small for a problem that shows what an exam does: answered, with code, with attempts that differ, short."""
    right = [attempt for attempt in row.attempts if is_correct(attempt)]
    coded = any(attempt.usage.code_calls for attempt in right)
    written = sum(len(part.text) for attempt in row.attempts for part in attempt.parts)
    return (not right, not coded, row.verdict != Verdict.CORRECT or len(right) == len(row.attempts), written)


def _worth_reading(attempt: Attempt) -> tuple[int, int]:
    return (not attempt.usage.code_calls, sum(len(part.text) for part in attempt.parts))


def _problem(exam: int, number: int, row: ExamResult, shown: Sequence[int] | None = None) -> str:
    """A problem as a line that opens. `shown`: it stands open, and so do these of its attempts."""
    tone, word = TONES[row.verdict]
    kinds = ["right" if row.verdict == Verdict.CORRECT else "wrong"]
    kinds += ["tie"] if row.tie else []
    kinds += ["clock"] if row.clock_hit else []
    answer = "" if row.answer is None else row.answer
    gold = row.problem.answer
    facts = [
        ("right answer", "" if gold is None else _formula(gold)),
        ("given", _formula(answer) if answer else "none"),
    ]
    facts += [("task", text(task_of(row))), ("used", say_seconds(row.used_seconds))]
    if row.granted_seconds:
        facts += [
            ("granted", say_seconds(row.granted_seconds)),
            ("drawn from the pool", say_seconds(row.pool_drawn)),
            ("left in the pool", say_seconds(row.pool_after)),
        ]
    facts += [("ended by", text(row.stop_rule))] if row.stop_rule else []
    if row.votes:
        weighed = f" weighed by {row.vote}" if row.vote != "uniform" else ""
        facts += [(f"votes{weighed}", ", ".join(f"{_formula(v.answer)} {text(_count(row, v))}" for v in row.votes))]
    if row.verdict_by == "judge":
        facts += [("verdict by", "the judge")]
    listed = "".join(f"<span>{text(name)} <b>{value}</b></span>" for name, value in facts)
    marks = (' <span class="tag warn">tie</span>' if row.tie else "") + (
        ' <span class="tag warn">clock</span>' if row.clock_hit else ""
    )
    drawn = f' <span class="between">+{row.pool_drawn:.1f}</span>' if row.pool_drawn >= 0.05 else ""
    unfolded = "" if shown is None else f' open data-shown="{" ".join(map(str, shown))}"'
    return (
        f'<details class="problem" data-exam="{exam}" data-problem="{number}" data-is="{" ".join(kinds)}"{unfolded}>'
        f'<summary class="row"><span class="number">{number + 1}</span>'
        f'<span class="clip tex">{text(row.problem.text)}</span>'
        f'<span><span class="tag {tone}">{word}</span>{marks}</span>'
        f'<span class="clip tex" data-whole>{text(answer)}</span>'
        f'{_vote_bar(row)}<span class="num">{row.used_seconds:.1f}{drawn}</span></summary>'
        f'<div class="inside"><p class="question tex">{text(row.problem.text)}</p><div class="facts">{listed}</div>'
        '<h3>Attempts</h3><div class="attempts"></div></div></details>'
    )


def _vote_bar(row: ExamResult) -> str:
    """The vote: right classes, the answer given if it is wrong, others; what gave no answer stays empty."""
    right = {attempt.index for attempt in row.attempts if attempt.verdict == Verdict.CORRECT}
    total = max(1, len(row.attempts))
    bars = []
    for vote in row.votes:
        tone = "right" if right & set(vote.attempts) else "wrong" if vote.answer == row.answer else ""
        bars.append(f'<i class="{tone}" style="width:{100 * vote.count / total:.1f}%"></i>')
    words = ", ".join(_vote(row, vote) for vote in row.votes) or "no votes"
    return f'<span class="votes" role="img" aria-label="{text(words)}" title="{text(words)}">{"".join(bars)}</span>'


def _vote(row: ExamResult, vote: VoteClass) -> str:
    return f"{vote.answer} {_count(row, vote)}"


def _count(row: ExamResult, vote: VoteClass) -> str:
    share = f" ({100 * vote.weight:.0f} %)" if row.vote != "uniform" else ""
    return f"× {vote.count}{share}"


def _formula(answer: str) -> str:
    """An answer, typeset where it is a formula."""
    return f'<span class="tex" data-whole>{text(answer)}</span>'


def machine(system: Mapping[str, Any], tiers: Sequence[str]) -> str:
    """Where it ran."""
    versions = system.get("versions") or {}
    facts = [
        ("processor", system.get("cpu")),
        ("cores", system.get("cores")),
        ("memory", f"{system['memory_bytes'] / 2**30:.1f} GiB" if system.get("memory_bytes") else None),
        ("accelerators", ", ".join(str(a.get("name")) for a in system.get("accelerators", [])) or "none"),
        ("platform", system.get("platform")),
        ("python", system.get("python")),
        ("packages", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("revision", system.get("git_revision")),
        ("sandbox tier", ", ".join(tiers)),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in facts if value)
    return f'<section id="machine"><h2>Machine</h2><dl>{rows}</dl></section>'

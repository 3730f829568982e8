"""The report as HTML: everything that can be read without JavaScript.

Knows facts, not files. Every text that comes from a model, a problem, a recipe or a machine passes `text()`; there is
no other way into the page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from podium.board.effects import Effect
from podium.board.exam import Exam, scores_by_task, task_of
from podium.board.run_folder import StageFacts
from podium.records import ExamResult, Verdict, VoteClass
from podium.solve.scores import Estimate
from podium.solve.wording import say_share

TONES = {
    Verdict.CORRECT: ("right", "correct"),
    Verdict.WRONG: ("wrong", "wrong"),
    Verdict.UNDECIDED: ("warn", "undecided"),
    Verdict.NO_ANSWER: ("", "no answer"),
}


def text(value: Any) -> str:
    """Anything as text inside an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def script_json(value: Any) -> str:
    """JSON that can stand inside a <script> element whatever it holds."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


def percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def counted(count: int, one: str, many: str = "") -> str:
    """1 tie, 2 ties."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    """0.4 s, 12 s, 3 min 05 s."""
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def colour(index: int) -> str:
    return f"--c: var(--c{index % 6})"


def header(
    title: str, exams: Sequence[Exam], stages: Sequence[StageFacts], system: Mapping[str, Any], training: bool
) -> str:
    """Title, one sentence that says what came out, and where it ran."""
    spent = sum(stage.wall_seconds or 0.0 for stage in stages)
    lede = []
    if exams:
        scored = [f"{text(exam.label)} {percent(exam.scores.score.value)}" for exam in exams]
        listed = " and ".join(filter(None, [", ".join(scored[:-1]), scored[-1]]))
        sizes = " and ".join(str(size) for size in sorted({exam.scores.problems for exam in exams}))
        lede += [f"{text(exam.label)}: {text(exam.unanswered[0])}" for exam in exams if exam.unanswered]
        lede.append(f"Answered of {sizes} problems: {listed}.")
    if spent:
        lede.append(f"The whole chain took {seconds(spent)}.")
    machine = [system.get("cpu"), f"{system['cores']} cores" if system.get("cores") else None]
    machine += [accelerator.get("name") for accelerator in system.get("accelerators", [])]
    where = " · ".join(text(part) for part in machine if part)
    links = [("result", "Result"), ("votes", "Votes and time"), ("tasks", "Tasks")] if exams else []
    links += [("chain", "Chain")] if stages else []
    links += [("training", "Training")] if training else []
    links += [("problems", "Problem by problem")] if exams else []
    nav = "".join(f'<a href="#{to}">{words}</a>' for to, words in links)
    return (
        '<header class="top"><button id="theme" hidden aria-label="change theme"></button>'
        f'<p class="kicker">Podium{" · " + where if where else ""}</p><h1>{text(title)}</h1>'
        f'<p class="lede">{" ".join(lede)}</p>'
        f"<nav>{nav}</nav></header>"
    )


def missing(exams: Sequence[Exam]) -> str:
    """Exams in which most attempts have no answer, why, and what to do; empty where there is none."""
    told = "".join(
        f"<h3>{text(exam.label)}</h3><ul>{''.join(f'<li>{text(line)}</li>' for line in exam.unanswered)}</ul>"
        for exam in exams
        if exam.unanswered
    )
    return f'<section id="missing"><h2>Most attempts have no answer</h2>{told}</section>' if told else ""


def result(exams: Sequence[Exam], effects: Sequence[Effect]) -> str:
    """The score table and the sentences on the effects."""
    n = max(exam.n for exam in exams)
    rows = "".join(_score_row(index, exam) for index, exam in enumerate(exams))
    sentences = "".join(
        f'<li><span class="tag {"" if effect.outcome == "did not show" else effect.outcome}">'
        f"{_outcome(effect)}</span><p><b>{text(effect.claim)}.</b> {text(effect.sentence)}</p></li>"
        for effect in effects
    )
    return f"""<section id="result"><h2>Result</h2>
<p class="note">The bars are 95% intervals over problems. The score counts the answers that the exam gave under its
own clock and stopping rule; maj@{n} is the vote of the same attempts with every tie split; pass@1 is the mean over
attempts; pass@{n} counts a problem if any attempt is right. Attempts that a stopping rule cancelled count in no rate.
Undecided is never correct.
Tokens and code calls are means per attempt, seconds per problem.</p>
<div class="scroll"><table><thead><tr><th>exam</th><th>score</th><th>maj@{n}</th><th>pass@1</th><th>pass@{n}</th>
<th class="num">tokens</th><th class="num">code calls</th>
<th class="num">seconds</th><th>what did not end well</th></tr></thead>
<tbody>{rows}</tbody></table></div>
{f'<h3>What showed, and what did not</h3><ul class="effects">{sentences}</ul>' if sentences else ""}</section>"""


def _outcome(effect: Effect) -> str:
    return {"showed": "showed", "did not show": "did not show", "opposite": "the opposite"}[effect.outcome]


def _score_row(index: int, exam: Exam) -> str:
    scores = exam.scores
    trouble = [
        (scores.truncated, "attempt", "at the token limit"),
        (scores.repeated, "attempt", "ended for repeating itself"),
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
    under = f"{scores.problems} problems, {exam.n} attempts" + (f",<br>token limit {limits}" if limits else "")
    under += f",<br>votes weighed by {exam.vote}" if exam.vote != "uniform" else ""
    return (
        f'<tr style="{colour(index)}"><td><span class="model"><i class="dot"></i>{text(exam.label)}</span>'
        f'<div class="between">{under}</div></td>'
        f"{_score(scores.score)}{_score(scores.majority_n)}{_score(scores.pass_1)}{_score(scores.pass_n)}"
        f'<td class="num">{scores.mean_tokens:,.0f}</td><td class="num">{scores.mean_code_calls:.2f}</td>'
        f'<td class="num">{scores.seconds / max(1, scores.problems):.1f}</td>'
        f'<td class="between trouble">{said}</td></tr>'
    )


def _score(estimate: Estimate) -> str:
    low, high, value = (100 * x for x in (estimate.low, estimate.high, estimate.value))
    return (
        f'<td><span class="score">{value:.0f}%</span><div class="range" aria-hidden="true">'
        f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i><b style="left:{value:.1f}%"></b></div>'
        f'<div class="between">{say_share(estimate.value, estimate.low, estimate.high, 0, " to ")[1]}</div></td>'
    )


def votes(exams: Sequence[Exam], timed: bool) -> str:
    """Charts of score against attempts and against time, with the numbers beneath for those without charts."""
    key = "".join(
        f'<span style="{colour(index)}"><i class="dot"></i>{text(exam.label)}</span>'
        for index, exam in enumerate(exams)
    )
    ks = sorted({k for exam in exams for k in exam.scores.majority_at})
    rows = "".join(
        f"<tr><td>{text(exam.label)}, {words}</td>"
        + "".join(f'<td class="num">{percent(at[k].value) if k in at else ""}</td>' for k in ks)
        + "</tr>"
        for exam in exams
        for words, at in (("maj@k", exam.scores.majority_at), ("pass@k", exam.scores.pass_at))
    )
    head = "".join(f'<th class="num">{k}</th>' for k in ks)
    time_figure = (
        "<figure><figcaption><b>Score against time</b>: if every problem were stopped after so many seconds, and the "
        'answers known by then voted</figcaption><div class="chart" data-chart="time"></div></figure>'
        if timed
        else ""
    )
    return f"""<section id="votes"><h2>Votes and time</h2><div class="key">{key}</div><div class="figures">
<figure><figcaption><b>Score against attempts</b>: solid, a vote over k of them (maj@k); dashed, any one of k right
(pass@k)</figcaption><div class="chart" data-chart="votes"></div></figure>{time_figure}</div>
<details><summary class="note">the same as numbers</summary><div class="scroll"><table><thead><tr><th>k</th>
{head}</tr></thead><tbody>{rows}</tbody></table></div></details></section>"""


def tasks(exams: Sequence[Exam]) -> str:
    """Problems answered per task and exam, the hardest task first."""
    head = "".join(f"<th>{text(exam.label)}</th>" for exam in exams)
    rows = "".join(
        f'<tr><td class="tight">{text(task)}</td>'
        + "".join(
            f'<td class="tight"><span class="cell" style="{colour(index)};--share:{correct / total:.2f}">'
            f'{correct} <span class="between">of {total}</span></span></td>'
            if total
            else '<td class="tight"></td>'
            for index, (correct, total) in enumerate(cells)
        )
        + "</tr>"
        for task, cells in scores_by_task(exams).items()
    )
    return f"""<section id="tasks"><h2>Task by task</h2><p class="note">Problems answered correctly, the hardest task
first. With so few problems to a task, a row is a hint, not a measurement.</p>
<div class="scroll"><table><thead><tr><th>task</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"""


def chain(stages: Sequence[StageFacts]) -> str:
    """The stages with what they took and found."""
    longest = max((stage.wall_seconds or 0.0 for stage in stages), default=0.0) or 1.0
    rows = []
    for stage in stages:
        if stage.wall_seconds is None:
            took = '<span class="note">not finished</span>'
        else:
            width = 8.0 * stage.wall_seconds / longest
            took = f'<div class="took"><i style="width:{width:.2f}rem"></i>{seconds(stage.wall_seconds)}</div>'
        again = (
            f' <span class="tag warn">stopped and continued {counted(stage.sessions - 1, "time")}</span>'
            if stage.sessions > 1
            else ""
        )
        figures = " · ".join(
            f"{text(key.replace('_', ' '))} {text(_short(value))}"
            for key, value in stage.metrics.items()
            if isinstance(value, str | int | float)
        )
        rows.append(
            f'<tr><td><b>{text(stage.name)}</b>{again}<div class="between">{text(stage.kind)}'
            f"{' ← ' + text(', '.join(stage.inputs)) if stage.inputs else ''}</div></td><td>{took}</td>"
            f'<td class="note">{figures}</td></tr>'
        )
    total = sum(stage.wall_seconds or 0.0 for stage in stages)
    return f"""<section id="chain"><h2>Chain</h2><p class="note">Each stage with the seconds it took, interrupted
sessions included; {seconds(total)} in all.</p><div class="scroll"><table><thead><tr><th>stage</th><th>time</th>
<th>figures</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>"""


def _short(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


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
        + "".join(_problem(index, number, row) for number, row in enumerate(exam.results))
        + "</div>"
        for index, exam in enumerate(exams)
    )
    return f"""<section id="problems"><h2>Problem by problem</h2>
<p class="note">Open a problem for its attempts, an attempt for what it wrote, ran and read. Beside the seconds used
stand those drawn from the shared pool.</p>
<div class="tools" id="tools" hidden>{f"<span>{exam_buttons}</span>" if len(exams) > 1 else ""}<span>{filters}</span>
<span class="note" id="count"></span></div>{sheets}
<noscript><p class="note">The text of the attempts is shown with JavaScript; it is also in results.jsonl of the exam's
folder.</p></noscript></section>"""


def _problem(exam: int, number: int, row: ExamResult) -> str:
    tone, word = TONES[row.verdict]
    kinds = ["right" if row.verdict == Verdict.CORRECT else "wrong"]
    kinds += ["tie"] if row.tie else []
    kinds += ["clock"] if row.clock_hit else []
    answer = "" if row.answer is None else row.answer
    facts = [("right answer", "" if row.problem.answer is None else row.problem.answer), ("given", answer or "none")]
    facts += [("task", task_of(row)), ("used", seconds(row.used_seconds))]
    if row.granted_seconds:
        facts += [
            ("granted", seconds(row.granted_seconds)),
            ("drawn from the pool", seconds(row.pool_drawn)),
            ("left in the pool", seconds(row.pool_after)),
        ]
    facts += [("ended by", row.stop_rule)] if row.stop_rule else []
    if row.votes:
        weighed = f" weighed by {row.vote}" if row.vote != "uniform" else ""
        facts += [(f"votes{weighed}", ", ".join(_vote(row, vote) for vote in row.votes))]
    if row.verdict_by == "judge":
        facts += [("verdict by", "the judge")]
    listed = "".join(f"<span>{text(name)} <b>{text(value)}</b></span>" for name, value in facts)
    marks = (' <span class="tag warn">tie</span>' if row.tie else "") + (
        ' <span class="tag warn">clock</span>' if row.clock_hit else ""
    )
    drawn = f' <span class="between">+{row.pool_drawn:.1f}</span>' if row.pool_drawn >= 0.05 else ""
    return (
        f'<details class="problem" data-exam="{exam}" data-problem="{number}" data-is="{" ".join(kinds)}">'
        f'<summary class="row"><span class="number">{number + 1}</span>'
        f'<span class="clip">{text(row.problem.text)}</span>'
        f'<span><span class="tag {tone}">{word}</span>{marks}</span><span class="clip">{text(answer)}</span>'
        f'{_vote_bar(row)}<span class="num">{row.used_seconds:.1f}{drawn}</span></summary>'
        f'<div class="inside"><p class="question">{text(row.problem.text)}</p><div class="facts">{listed}</div>'
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
    share = f" ({100 * vote.weight:.0f} %)" if row.vote != "uniform" else ""
    return f"{vote.answer} × {vote.count}{share}"


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

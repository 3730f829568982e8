r"""Grading: agreement with graded pairs, gold answers in other spellings, speed, and hostile strings.

    python benchmarks/grading.py pairs PAIRS.jsonl     # beside Math-Verify alone
    python benchmarks/grading.py kinds [CORPUS.jsonl]  # false verdicts by kind; --list shows them
    python benchmarks/grading.py golds DATA            # every exam of podium.problems in the folder
    python benchmarks/grading.py speed
    python benchmarks/grading.py fuzz [--strings 100000] [--seed 0] [--threads 2]

`fuzz` hands strings to extraction and then to grading, as gold answer and as answer: random characters, soups of LaTeX
commands, damaged real answers, towers, factorials, brackets without end, long repetitions. It counts exceptions, takes
the slowest verdict and the largest resident memory of this process and of its workers.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from podium.boxes import last_box
from podium.errors import InputError
from podium.grading import compare, extract_answer, grade, make_rules, warm
from podium.grading.exact import compare_exactly
from podium.problems.exams import EXAMS, load_exam
from podium.records import Problem, Verdict


def pairs(path: Path) -> None:
    """Verdicts on graded pairs, ours and Math-Verify's (each answer in dollars, as NeMo-Skills hands them over)."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    began = time.monotonic()
    warm()
    print(f"workers warm after {time.monotonic() - began:.2f} s")
    right, slowest, wrong = 0, 0.0, []
    for row in rows:
        found = compare(row["gold"], row["answer"])
        slowest = max(slowest, found.seconds)
        if found.sameness.decided is row["equivalent"]:
            right += 1
        else:
            wrong.append(f"  {found.sameness}: {row['gold'][:40]} | {row['answer'][:40]} ({row.get('note', '')})")
    print(f"podium       {right} of {len(rows)}, slowest {slowest:.3f} s", *wrong, sep="\n")
    right, slowest, wrong = 0, 0.0, []
    for row in rows:
        began = time.monotonic()
        found = _math_verify(row["gold"], row["answer"])
        seconds = time.monotonic() - began
        slowest = max(slowest, seconds)
        if found is row["equivalent"]:
            right += 1
        else:
            wrong.append(f"  {found}: {row['gold'][:40]} | {row['answer'][:40]} ({row.get('note', '')})")
    print(f"math-verify  {right} of {len(rows)}, slowest {slowest:.3f} s", *wrong, sep="\n")


def _math_verify(gold: str, answer: str) -> bool | None:
    """Math-Verify in a process of its own, killed after 20 s: some answers never return."""
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(1) as pool:
        try:
            return pool.apply_async(_verify, (gold, answer)).get(20.0)
        except multiprocessing.TimeoutError:
            return None


def _verify(gold: str, answer: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(f"${gold}$"), parse(f"${answer}$")))


def spellings(gold: str) -> Iterator[tuple[str, str]]:
    """Other ways to write an answer, by name."""
    yield "itself", gold
    yield "dollar signs", gold if "$" in gold else f"${gold}$"
    yield "\\dfrac", gold.replace("\\frac", "\\dfrac")
    yield "\\tfrac", gold.replace("\\frac", "\\tfrac")
    yield "trailing period", gold.rstrip(".") + "."
    escaped = any(command in gold for command in ("\\\\", "\\ ", "\\,"))
    spaced = re.sub(r"(?<=[^\\\w.])(?=[^\w.])|(?<=[,+=({])|(?=[+=)}])", " ", f" {gold} ").replace("\\ ", "\\")
    yield "spaces", gold if escaped else spaced
    yield "\\left \\right", gold if "\\left" in gold else gold.replace("(", "\\left(").replace(")", "\\right)")
    yield "box", last_box(f"so \\boxed{{{gold}}}") or ""


KINDS = Path(__file__).parent.parent / "tests" / "grading" / "data" / "kinds.jsonl"


def kinds(path: Path, listed: bool) -> None:
    """The verdicts on pairs of known kinds as one confusion table.

    `compare` puts two answers in one order before it looks at them; whether the order matters below it is asked apart.
    """
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    warm()
    head = ("pairs", "right", "false equal", "false different", "undecided", "arguable", "orders differ")
    table: dict[str, collections.Counter[str]] = {}
    slowest: dict[str, float] = {}
    wrong: list[str] = []
    by: collections.Counter[str] = collections.Counter()
    began = time.monotonic()
    for row in rows:
        found = compare(row["a"], row["b"])
        said = found.sameness.value.partition("(")[0]
        turned = compare_exactly(row["a"], row["b"]) is not compare_exactly(row["b"], row["a"])
        by[found.by] += 1
        opposite = {"equal": ["different"], "different": ["equal"], "undecided": []}
        false = said in row.get("never", opposite[row["expected"]])
        line = table.setdefault(row["kind"], collections.Counter())
        line["pairs"] += 1
        if false:
            line[f"false {said}"] += 1
        elif said == row["expected"] or row["expected"] == "undecided":
            line["right"] += 1
        elif said == "undecided":
            line["undecided"] += 1
        else:
            line["arguable"] += 1  # the label is a judgement, and this verdict not false
        line["orders differ"] += turned
        slowest[row["kind"]] = max(slowest.get(row["kind"], 0.0), found.seconds)
        if false or turned or (said == "undecided" != row["expected"]):
            wrong.append(f"  {row['kind']}: {row['a']} | {row['b']}: {said}, not {row['expected']}")
    table["all"], slowest["all"] = sum(table.values(), collections.Counter()), max(slowest.values())
    print(f"{'kind':20}", *(f"{name:>16}" for name in (*head, "slowest s")), sep="")
    for kind, line in table.items():
        print(f"{kind:20}", *(f"{line[name]:16}" for name in head), f"{slowest[kind]:16.2f}", sep="")
    print(f"decided by: {dict(by)}; {time.monotonic() - began:.1f} s")
    if listed:
        print(*wrong, sep="\n")


def golds(data: Path) -> None:
    """Every gold answer of every exam equals itself and its other spellings."""
    checked: collections.Counter[str] = collections.Counter()
    missed: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
    slowest, exams = 0.0, 0
    for name in EXAMS:
        try:
            problems = load_exam(name, data)
        except InputError:
            continue
        exams += 1
        for problem in problems:
            for spelling, text in spellings(problem.answer) if problem.answer else ():
                began = time.monotonic()
                verdict = grade(problem, text)
                slowest = max(slowest, time.monotonic() - began)
                checked[spelling] += 1
                if verdict is not Verdict.CORRECT:
                    missed[spelling].append(f"  {name}: {problem.answer} | {text}: {verdict.value}")
    for spelling, count in checked.items():
        print(f"{spelling:16} {count - len(missed[spelling])} of {count}", *missed[spelling][:5], sep="\n")
    print(f"{exams} exams, {checked.total()} checks, slowest {slowest:.2f} s")


def speed() -> None:
    """Checks per second of processor time on one core, every answer another."""
    draw = random.Random(0)
    rules = {"rules": {"low": 0, "high": 999}}
    aime = [Problem(id=str(i), text="?", answer=str(i), verifier="integer", meta=rules) for i in range(1000)] * 20
    maths = [Problem(id=str(i), text="?", answer=str(i)) for i in range(1000)] * 5
    roots = [
        Problem(id=str(i), text="?", answer=f"\\frac{{{draw.randint(1, 99)}\\sqrt{{{draw.randint(2, 50)}}}}}{{7}}")
        for i in range(2000)
    ]

    def integer() -> str:
        return str(draw.randint(0, 999))

    for label, problems, form in (
        ("AIME, 73", aime, integer),
        ("AIME, 073", aime, lambda: f"{draw.randint(0, 999):03}"),
        ("AIME, $73$.", aime, lambda: f"${integer()}$."),
        ("AIME, x = 73", aime, lambda: f"x = {integer()}"),
        ("AIME, 2^6+9", aime, lambda: f"2^{draw.randint(1, 6)}+{integer()}"),
        ("math, integers", maths, lambda: str(draw.randint(0, 10**9))),
        ("math, 3\\sqrt{5}/7", roots, lambda: f"\\frac{{{integer()}\\sqrt{{{draw.randint(2, 50)}}}}}{{7}}"),
    ):
        work = [(problem, form()) for problem in problems]
        began = time.process_time()
        for problem, answer in work:
            grade(problem, answer)
        print(f"{label:20} {len(work) / (time.process_time() - began):9,.0f} checks/s")


COMMANDS = [
    r"\frac{",
    r"\sqrt{",
    r"\boxed{",
    r"\sum_{k=1}^{",
    r"\int_0^1",
    r"\prod_{n=1}^{",
    r"\lim_{x\to0}",
    r"\binom{",
    r"\left(",
    r"\right)",
    r"\text{",
    r"\{",
    r"\}",
    r"\cup",
    r"\infty",
    r"\pi",
    r"^{",
    r"_{",
    r"}",
    r"}",
    r"}",
    r")",
    r"(",
    r"[",
    r"]",
    r"+",
    r"-",
    r"*",
    r"/",
    r"=",
    r"<",
    r">",
    r",",
    r"!",
    r"|",
    r"^",
    r"_",
    r"&",
    r"\\",
    r"\le",
    r"\in",
    r"\pm",
    r"\cdot",
    r"\times",
    r"9",
    r"99",
    r"10^",
    r"2^",
    r"x",
    r"y",
    r"n",
    r"i",
    r"e",
    r".",
    r"0",
    r"1",
    r"7",
    r"3",
    r"\sin",
    r"\log",
    r"\ln",
    r"(",
    r")",
    r"\begin{pmatrix}",
    r"\end{pmatrix}",
    r"\circ",
    r"%",
    r"$",
    r"\%",
    r"\mathbb{R}",
    r"\emptyset",
    r"or",
    r"and",
    r"\dfrac",
    r"12",
    r"!!",
    r"1e9",
    r"sqrt(",
]
REAL = [
    r"\frac{1}{2}",
    r"\sqrt{2}+\sqrt{3}",
    r"(-\infty, 2) \cup (3, \infty)",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    r"x^2+2x+1",
    r"\{1\pm\sqrt{5},-2\}",
    r"5\text{ m}",
    r"90^\circ",
    r"50\%",
    r"1011_2",
    r"x=5 or x=-5",
    r"no solution",
    r"\text{(B)}",
    r"3\times10^{8}",
    r"2^{25} 26!",
    r"\sum_{k=1}^{10} \frac{1}{k^2}",
    r"\int_0^1 x^2\,dx",
    r"\log_2 3",
    r"1,234,567",
    r"y = 2x + 3",
    r"73",
    r"\frac{4^{2024}}{\binom{4048}{2024}}-2",
]
BOMBS = (
    lambda n: "9^{" * n + "9" + "}" * n,
    lambda n: "9**" * n + "9",
    lambda n: "(" * n + "9" + "!)" * n,
    lambda n: "9" + "!" * n,
    lambda n: "\\frac{" * n,
    lambda n: "{" * (n * 100),
    lambda n: "(" * (n * 50) + "1" + ")" * (n * 50),
    lambda n: "1+" * (n * 50) + "1",
    lambda n: "x^{" * n + "x" + "}" * n,
    lambda n: "\\sqrt{" * n + "2" + "}" * n,
    lambda n: f"10^{{10^{{{n}}}}}",
    lambda n: f"\\sum_{{k=1}}^{{10^{{{n}}}}} \\frac{{1}}{{k}}",
    lambda n: f"\\int_0^{{{n}}} e^{{-x^2}}\\sin(x^x)\\,dx",
    lambda n: f"\\binom{{10^{{{n}}}}}{{10^{{{n // 2}}}}}",
    lambda n: "\\boxed{" * n + "1" + "}" * (n // 2),
    lambda n: "9" * (n * 200),
    lambda n: f"{n}e{10 ** min(n, 18)}",
    lambda n: f"\\sin(10^{{{n * 100}}})",
    lambda n: "\\text{" * n + "a" + "}" * n,
    lambda n: "(x+y+z)^{" + str(n * 10) + "}",
    lambda n: ",".join(str(i) for i in range(n * 5)),
    lambda n: "\\pm " * n + "1",
    lambda n: " " * (n * 500) + "1",
    lambda n: "\\left" * n + "(" * n,
    lambda n: "1" + "," * (n * 100) + "1",
    lambda n: "__import__('os').system('true')" * n,
    lambda n: "-" * (n * 100) + "1",
    lambda n: "\x00\ud800é中" * n,
)


def hostile(draw: random.Random) -> str:
    """A string that no grader wants to see."""
    kind = draw.random()
    if kind < 0.25:
        return "".join(
            chr(draw.choice((draw.randint(0, 127), draw.randint(0, 0x2FFF)))) for _ in range(draw.randint(0, 80))
        )
    if kind < 0.55:
        return draw.choice(("", " ")).join(draw.choice(COMMANDS) for _ in range(draw.randint(1, 30)))
    if kind < 0.80:
        text = list(draw.choice(REAL))
        for _ in range(draw.randint(1, 4)):
            where = draw.randrange(len(text) + 1)
            text[where : where + draw.randint(0, 2)] = draw.choice(
                (draw.choice(COMMANDS), "", draw.choice("0123456789(){}"))
            )
        return "".join(text)
    if kind < 0.90:
        return draw.choice(BOMBS)(draw.randint(1, 40))
    return (
        "Thus \\boxed{" + draw.choice(REAL) + "} and " + draw.choice(REAL) + "\nFinal Answer: " + draw.choice(COMMANDS)
    )


def fuzz(strings: int, seed: int, threads: int) -> None:
    """Strings through extraction and grading; the outcome in one table."""
    warm()
    every = make_rules({"find": ("box", "final", "letter", "number", "all")})
    said: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    slowest: list[tuple[float, str]] = []
    lock = threading.Lock()
    began = time.monotonic()

    def work(part: int) -> None:
        draw = random.Random(f"{seed}/{part}")
        for number in range(part, strings, threads):
            text = hostile(draw)
            gold = draw.choice(REAL) if number % 4 else hostile(draw)
            started = time.monotonic()
            try:
                last_box(text)
                found = extract_answer(text, every)
                problem = Problem(
                    id="f", text="?", answer=gold, verifier=draw.choice(("math", "math", "math", "letter"))
                )
                verdict = grade(problem.model_copy(update={"verifier": "math"}), text)
                grade(Problem(id="i", text="?", answer="5", verifier="integer"), text)
                if found is not None:
                    grade(problem.model_copy(update={"verifier": "math"}), found)
            except Exception as error:
                with lock:
                    failures.append(f"{error!r} on {text[:80]!r} gold {gold[:80]!r}")
                continue
            seconds = time.monotonic() - started
            with lock:
                said[verdict.value] += 1
                slowest.append((seconds, text[:60]))
                slowest.sort(reverse=True)
                del slowest[5:]
                if sum(said.values()) % 5_000 == 0:
                    print(f"  {sum(said.values())} after {time.monotonic() - began:.0f} s", flush=True)

    workers = [threading.Thread(target=work, args=(part,)) for part in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{strings} strings, {time.monotonic() - began:.0f} s, exceptions {len(failures)}", *failures[:10], sep="\n  "
    )
    print("verdicts:", dict(said))
    print("slowest (two or three verdicts each):", *(f"{s:.2f} s {t!r}" for s, t in slowest), sep="\n  ")
    print(f"largest resident memory: this process {own:.0f} MiB; a worker is replaced beyond 600 MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("pairs").add_argument("path", type=Path)
    by_kind = what.add_parser("kinds")
    by_kind.add_argument("path", type=Path, nargs="?", default=KINDS)
    by_kind.add_argument("--list", action="store_true", dest="listed")
    what.add_parser("golds").add_argument("data", type=Path)
    what.add_parser("speed")
    fuzzing = what.add_parser("fuzz")
    fuzzing.add_argument("--strings", type=int, default=100_000)
    fuzzing.add_argument("--seed", type=int, default=0)
    fuzzing.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if given.what == "pairs":
        pairs(given.path)
    elif given.what == "kinds":
        kinds(given.path, given.listed)
    elif given.what == "golds":
        golds(given.data)
    elif given.what == "speed":
        speed()
    else:
        fuzz(given.strings, given.seed, given.threads)


if __name__ == "__main__":
    main()

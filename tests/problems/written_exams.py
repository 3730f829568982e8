"""Exams that were written for these tests, in the files and fields that published exams have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Kinds of answers that the published exams have.
ANSWERS = [
    "42",
    "-7",
    "1,024",
    "0.125",
    r"\frac{3}{8}",
    r"\frac{\sqrt{3}}{2}",
    r"2\sqrt{15}",
    r"\dfrac{1}{7}",
    "3/8",
    r"12\%",
    r"\$7.50",
    r"45^\circ",
    r"\pi",
    r"16\pi - 4",
    "x^2 + 2x + 1",
    "y = 2x - 3",
    "(1, -2)",
    r"\left(\frac{1}{2}, 3\right)",
    "[0, 1)",
    r"(-\infty, 2]",
    r"\{1, 2, 3\}",
    "1, 2, 5",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    "B",
    "1 + 2i",
    r"2^{10}",
    r"10^{-3}",
    r"\binom{6}{2}",
    r"\log_2 3",
    "101_2",
    r"5\text{ cm}",
]


def write_exams(folder: Path) -> dict[str, int]:
    """Write every file of podium.problems.exams into `folder`; returns how many problems each exam has."""
    whole = [str(number * 37 % 1000) for number in range(12)]

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    joint = {"aime24-": whole[:3], "aime25-": whole[3:7], "hmmt_N_2024_": ANSWERS[:5], "hmmt_F_2024_": ANSWERS[5:11]}
    joint["hmmt_F_2025_"] = ANSWERS[11:]
    write(
        "comp_math_24_25",
        [
            {"id": f"{prefix}{number}", "problem": f"Written {prefix}{number}: what is it?", "expected_answer": answer}
            for prefix, answers in joint.items()
            for number, answer in enumerate(answers, start=1)
        ],
    )
    write("aime_1983_2023", [{"problem": f"Old {a}?", "solution": "Count.", "answer": int(a)} for a in whole])
    math = [
        {"problem": f"Written {number}?", "solution": rf"So \boxed{{{a}}}.", "answer": a, "unique_id": f"test/{number}"}
        for number, a in enumerate(ANSWERS)
    ]
    write("math500", math)
    write("math_train", math[::2])
    steps = [f"I add <<{a}+0={a}>>{a} pens.\n#### {int(a):,}" for a in whole]
    pens = zip(whole, steps, strict=True)
    gsm = [{"question": f"How many pens make {a}? ({n})", "answer": text} for n, (a, text) in enumerate(pens)]
    write("gsm8k_test", gsm)
    write("gsm8k_train", gsm[:5])
    write("amc23", [{"id": n, "problem": f"Choose {a}.", "answer": float(a), "url": ""} for n, a in enumerate(whole)])
    write(
        "aimo2_reference", [{"id": f"r{n}", "question": f"Modulo {a}?", "answer": int(a)} for n, a in enumerate(whole)]
    )
    hmmt = {"hmmt_nov_2024": 5, "hmmt_feb_2024": 6, "hmmt_feb_2025": len(ANSWERS) - 11, "hmmt_24_25": len(ANSWERS)}
    return {
        **hmmt,
        "aime24": 3,
        "aime25": 4,
        "comp_math_24_25": 7 + len(ANSWERS),
        "aime_1983_2023": 12,
        "math500": len(ANSWERS),
        "math_train": (len(ANSWERS) + 1) // 2,
        "gsm8k": 12,
        "gsm8k_train": 5,
        "amc23": 12,
        "aimo2_reference": 12,
    }

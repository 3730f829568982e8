"""CTranslate2 behind benchmarks/peers/worker.py. Formats: its compute types, for instance int8_float32.

The prompt is its static prompt, computed once for the whole batch.
"""

# pyright: reportMissingImports=false
# It runs in an environment of its own.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ctranslate2
from worker import Run, apart, serve


def convert(model: str, folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(model).convert(str(folder), force=True)


def load(command: dict[str, Any]) -> tuple[Run, str]:
    folder = Path(command["model"]) / "ctranslate2"
    if not (folder / "model.bin").exists():
        apart(convert, command["model"], folder)
    vocabulary: list[str] = json.loads((folder / "vocabulary.json").read_text())
    generator = ctranslate2.Generator(
        str(folder),
        device="cpu",
        compute_type=command["format"],
        inter_threads=1,
        intra_threads=command["threads"],
    )

    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        words = [vocabulary[token] for token in prompt]
        results = generator.generate_batch(
            [words[-1:]] * batch,
            static_prompt=words[:-1],
            max_batch_size=batch,
            max_length=tokens,
            min_length=tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
        )
        return [result.sequences_ids[0] for result in results]

    return run, ctranslate2.__version__


if __name__ == "__main__":
    serve(load)

"""How many tokens a second Podium's engine writes for B attempts at one problem, beside the engines in use today.

    benchmarks/peers/install.sh
    python benchmarks/engine_vs_peers.py [--models tiny50m,q05b] [--batches 1,12,32] [--engines NAME,...] [--repeat 3]
        [--threads 2] [--json FILE]

The same random-weight models for all, a prompt of 128 tokens that no engine has seen before (the same one for all B
attempts: an engine may share its prefix), a fixed number of greedy tokens, end of text ignored, no speculation. Each
engine is a process in its own environment (benchmarks/peers/worker.py); the others are stopped while one computes, and
engines alternate within every repetition. Two rates, with the same definition for each, medians over repetitions:

- tok/s: all tokens written / wall time from the request to the last token, prefill included;
- decode: (tokens of the run - tokens of a run of two per attempt) / the difference of their times.

"of reads" is the share of the measured read bandwidth that reading the weights once per step takes, "of GEMM" the
share of the measured fp32 matrix product rate; both of the decode rate. "same" is how much of the first 16 tokens is
what HF in fp32 (or the first engine) writes before they part: near ties make less of it, above all in fewer bits, but a
peer that computed another model would have nothing. Engines that are not installed are named and
skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peers.environments import HOME, interpreter, missing
from peers.models import SHAPES, VOCABULARY, build, parameters

HERE = Path(__file__).resolve().parent
PROMPT = 128
WRITTEN = {"tiny50m": 128, "q05b": 32}


@dataclass(frozen=True, slots=True)
class Spec:
    """One row of the table: an engine in one format."""

    name: str
    script: str
    format: str
    weight_bytes: float  # per weight, as read in every step
    home: str | None = None  # folder of its environment; None: this one
    needs: str | None = None  # a flag of /proc/cpuinfo without which the format makes no sense


SPECS = [
    Spec("podium-fp32", "run_podium.py", "fp32", 4),
    Spec("podium-fp16", "run_podium.py", "fp16", 2),
    Spec("podium-bf16", "run_podium.py", "bf16", 2, needs="avx512_bf16"),
    Spec("podium-int8", "run_podium.py", "int8", 1),
    Spec("hf-fp32", "run_hf.py", "fp32", 4),
    Spec("hf-bf16", "run_hf.py", "bf16", 2, needs="avx512_bf16"),
    Spec("vllm-fp32", "run_vllm.py", "fp32", 4, "vllm"),
    Spec("vllm-bf16", "run_vllm.py", "bf16", 2, "vllm", needs="avx512_bf16"),
    Spec("llama.cpp-f16", "run_llama_cpp.py", "f16", 2, "llama.cpp"),
    Spec("llama.cpp-q8_0", "run_llama_cpp.py", "q8_0", 34 / 32, "llama.cpp"),
    Spec("openvino-fp32", "run_openvino.py", "fp32-f32", 4, "openvino"),
    Spec("openvino-fp32-default", "run_openvino.py", "fp32", 2, "openvino", needs="avx512_bf16"),
    Spec("openvino-int8", "run_openvino.py", "int8-f32", 1, "openvino"),
    Spec("openvino-int8-default", "run_openvino.py", "int8", 1, "openvino", needs="avx512_bf16"),
    Spec("ctranslate2-int8", "run_ctranslate2.py", "int8_float32", 1, "ctranslate2"),
]


@dataclass(slots=True)
class Result:
    """Measurements of one engine at one batch: seconds per repetition."""

    model: str
    batch: int
    engine: str
    tokens: int  # per attempt
    seconds: list[float] = field(default_factory=list)
    seconds_of_two: list[float] = field(default_factory=list)
    peak_rss: int = 0
    beginnings: list[list[int]] = field(default_factory=list)  # of the first answer, per repetition

    @property
    def rate(self) -> float:
        return self.batch * self.tokens / statistics.median(self.seconds)

    @property
    def decode_rate(self) -> float:
        gaps = [whole - two for whole, two in zip(self.seconds, self.seconds_of_two, strict=True)]
        return self.batch * (self.tokens - 2) / statistics.median(gaps)


def agreement(row: Result, other: Result) -> float:
    """The share of the first answers' first tokens up to which both write the same."""
    same = shown = 0
    for mine, theirs in zip(row.beginnings, other.beginnings, strict=True):
        shown += len(theirs)
        same += next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b), len(theirs))
    return same / shown


class EngineFailed(Exception):
    """An engine answered with an error, or died."""


class EngineProcess:
    """An engine in a process group of its own that is stopped except between a question and its answer."""

    def __init__(self, spec: Spec, threads: int, log: Path) -> None:
        python = interpreter(spec.home) if spec.home else Path(sys.executable)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        environment |= {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL")}
        environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        if spec.home is None:
            environment["PYTHONPATH"] = str(HERE.parent / "src")
        else:
            environment.pop("PYTHONPATH", None)
        # Engines that compile look for their environment's own tools (ninja) on the path.
        environment["PATH"] = f"{python.parent}:{environment['PATH']}"
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [str(python), str(HERE / "peers" / spec.script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                start_new_session=True,
            )

    def ask(self, **command: Any) -> dict[str, Any]:
        """Raises EngineFailed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EngineFailed(f"it died: {self._last_words()}")
        self._signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise EngineFailed(answer["error"])
        return answer

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "without a word"

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass  # it died; the next read says so

    def close(self) -> None:
        self._signal(signal.SIGKILL)
        self.process.wait()


def installed(spec: Spec) -> str | None:
    """Why a row cannot be measured here, or None."""
    if spec.home and (reason := missing(spec.home)):
        return reason
    if spec.needs and f" {spec.needs} " not in Path("/proc/cpuinfo").read_text():
        return f"this processor has no {spec.needs}"
    return None


def measure_ceilings(threads: int) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, str(HERE / "peers" / "ceilings.py"), str(threads)], stdout=subprocess.PIPE, check=True
    )
    return json.loads(answer.stdout)


def measure(
    model: str, specs: Sequence[Spec], batches: Sequence[int], threads: int, repeat: int, logs: Path
) -> list[Result]:
    """All engines on one model, alternating. One that fails is named and left out from there on."""
    folder = build(model, HOME / "models" / model)
    tokens = WRITTEN[model]
    engines: dict[str, EngineProcess] = {}
    results: list[Result] = []

    def failed(name: str, reason: object) -> None:
        print(f"{name}: skipped on {model}: {reason}", flush=True)
        if name in engines:
            engines.pop(name).close()

    try:
        for spec in specs:
            reason = installed(spec)
            if reason is not None:
                failed(spec.name, reason)
                continue
            engine = engines[spec.name] = EngineProcess(spec, threads, logs / f"{model}-{spec.name}.log")
            try:
                answer = engine.ask(
                    do="load",
                    model=str(folder),
                    format=spec.format,
                    threads=threads,
                    rows=max(batches),
                    context=PROMPT + tokens,
                )
            except EngineFailed as failure:
                failed(spec.name, failure)
                continue
            print(f"{spec.name}: {answer['version']}, ready after {answer['load_seconds']:.0f} s", flush=True)
        for batch in batches:
            rows = {name: Result(model, batch, name, tokens) for name in engines}
            for repetition in range(-1, repeat):  # the first is to warm up
                draw = random.Random(f"{model} {batch} {repetition}")
                prompts = [[draw.randrange(2, VOCABULARY) for _ in range(PROMPT)] for _ in range(2)]
                for name, engine in list(engines.items()):
                    row = rows[name]
                    written = tokens if repetition >= 0 else min(tokens, 16)
                    try:
                        two = engine.ask(do="run", batch=batch, prompt=prompts[0], tokens=2)
                        whole = engine.ask(do="run", batch=batch, prompt=prompts[1], tokens=written)
                        if whole["tokens"] != batch * written:
                            raise EngineFailed(f"it wrote {whole['tokens']} tokens and not {batch * written}")
                    except EngineFailed as failure:
                        failed(name, failure)
                        continue
                    if repetition >= 0:
                        row.seconds.append(whole["seconds"])
                        row.seconds_of_two.append(two["seconds"])
                        row.beginnings.append(whole["beginning"])
                    row.peak_rss = whole["peak_rss"]
            results += [rows[name] for name in engines]
    finally:
        for engine in engines.values():
            engine.close()
    return results


def show(results: Sequence[Result], ceilings: dict[str, float]) -> None:
    weight_bytes = {spec.name: spec.weight_bytes for spec in SPECS}
    for model in dict.fromkeys(result.model for result in results):
        for batch in dict.fromkeys(result.batch for result in results if result.model == model):
            rows = [result for result in results if (result.model, result.batch) == (model, batch)]
            ours = [row for row in rows if row.engine.startswith("podium-")]
            exact = next((row for row in rows if row.engine == "hf-fp32"), rows[0])
            best = max((row for row in rows if row not in ours), key=lambda row: row.rate, default=None)
            print(f"\n{model}, batch {batch}, {PROMPT} + {rows[0].tokens} tokens")
            ratios = "".join(f"{row.engine.removeprefix('podium-') + '/it':>9}" for row in ours)
            print(
                f"{'engine':24}{'tok/s':>8}{'min..max':>14}{'decode':>8}{'GB':>6}"
                f"{'of reads':>10}{'of GEMM':>9}{'same':>6}{ratios}"
            )
            for row in rows:
                written = batch * row.tokens
                spread = f"{written / max(row.seconds):.0f}..{written / min(row.seconds):.0f}"
                reads = row.decode_rate / batch * parameters(model) * weight_bytes[row.engine]
                operations = row.decode_rate * 2 * parameters(model)
                print(
                    f"{row.engine:24}{row.rate:8.1f}{spread:>14}{row.decode_rate:8.1f}{row.peak_rss / 1e9:6.2f}"
                    f"{reads / ceilings['read_bandwidth']:10.0%}{operations / ceilings['gemm_fp32']:9.0%}"
                    f"{agreement(row, exact):6.0%}"
                    + "".join(f"{our.rate / row.rate:9.2f}" for our in ours)
                    + (" <- best peer" if row is best else "")
                )


def chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no {what} {unknown[0]}: there are {', '.join(known)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(SHAPES))
    parser.add_argument("--engines", default=",".join(spec.name for spec in SPECS))
    parser.add_argument("--batches", default="1,12,32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write every measured time there")
    options = parser.parse_args()
    names = chosen(options.engines, [spec.name for spec in SPECS], "engine")
    models = chosen(options.models, list(SHAPES), "model")
    ceilings = measure_ceilings(options.threads)
    print(
        f"{options.threads} threads: reads {ceilings['read_bandwidth'] / 1e9:.1f} GB/s, fp32 GEMM "
        f"{ceilings['gemm_fp32'] / 1e9:.0f} GFLOP/s, bf16 GEMM {ceilings['gemm_bf16'] / 1e9:.0f} GFLOP/s",
        flush=True,
    )
    logs = Path(tempfile.mkdtemp(prefix="engine_vs_peers-"))
    print(f"what the engines print: {logs}", flush=True)
    results: list[Result] = []
    for model in models:
        results += measure(
            model,
            [spec for spec in SPECS if spec.name in names],
            [int(batch) for batch in options.batches.split(",")],
            options.threads,
            options.repeat,
            logs,
        )
        show([result for result in results if result.model == model], ceilings)
    if options.json:
        rows = [asdict(row) | {"rate": row.rate, "decode_rate": row.decode_rate} for row in results]
        options.json.write_text(json.dumps({"ceilings": ceilings, "results": rows}, indent=1))


if __name__ == "__main__":
    main()

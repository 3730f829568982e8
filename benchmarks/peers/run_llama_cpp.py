"""llama.cpp behind benchmarks/peers/worker.py, spoken to through the ctypes layer of llama-cpp-python.

Formats: f16, q8_0. The prompt is computed once; its cache cells are shared by all sequences of the batch.
"""

# pyright: reportMissingImports=false
# It runs in an environment of its own.

from __future__ import annotations

import ctypes
import json
import os
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors import safe_open
from worker import Run, apart, serve

HOME = Path(sys.executable).parent.parent.parent


def binding() -> Any:
    """llama_cpp.llama_cpp alone: the package around it wants more than is needed here."""
    os.environ["LLAMA_CPP_LIB_PATH"] = str(HOME / "build" / "bin")
    package = types.ModuleType("llama_cpp")
    package.__path__ = [str(HOME / "source" / "llama_cpp")]
    sys.modules["llama_cpp"] = package
    import llama_cpp.llama_cpp as library

    return library


def write_gguf(folder: Path, target: Path, kind: GGMLQuantizationType) -> None:
    """A GGUF without a vocabulary: llama.cpp's own converter refuses tokenizers it does not know."""
    config = json.loads((folder / "config.json").read_text())
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rope = config.get("rope_parameters") or {}
    writer = GGUFWriter(target.with_suffix(".part"), "qwen2")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    with safe_open(folder / "model.safetensors", "np") as tensors:
        for source in list(tensors.keys()):
            data = tensors.get_tensor(source).astype(np.float32)
            name = names.get_name(source, try_suffixes=(".weight", ".bias"))
            if data.ndim == 1:  # norms and biases stay fp32, as llama.cpp's converter leaves them
                writer.add_tensor(name, data)
            else:
                writer.add_tensor(name, gguf.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    target.with_suffix(".part").rename(target)


def load(command: dict[str, Any]) -> tuple[Run, str]:
    kind = {"f16": GGMLQuantizationType.F16, "q8_0": GGMLQuantizationType.Q8_0}[command["format"]]
    target = Path(command["model"]) / f"{command['format']}.gguf"
    if not target.exists():
        apart(write_gguf, Path(command["model"]), target, kind)
    library = binding()
    library.llama_backend_init()
    model = library.llama_model_load_from_file(str(target).encode(), library.llama_model_default_params())
    if not model:
        raise RuntimeError(f"llama.cpp does not load {target}")
    options = library.llama_context_default_params()
    options.n_ctx = command["rows"] * command["context"]
    options.n_batch = options.n_ubatch = 512
    options.n_seq_max = command["rows"]
    options.n_threads = options.n_threads_batch = command["threads"]
    options.kv_unified = True  # otherwise sequences cannot share the cells of the prompt
    context = library.llama_init_from_model(model, options)
    if not context:
        raise RuntimeError("llama.cpp makes no context")
    memory = library.llama_get_memory(context)
    vocabulary = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    places = library.llama_batch_init(512, 0, 1)

    def decode(tokens: list[int], positions: list[int], sequences: list[int], wanted: list[bool]) -> np.ndarray:
        places.n_tokens = len(tokens)
        for row, (token, position, sequence, logits) in enumerate(
            zip(tokens, positions, sequences, wanted, strict=True)
        ):
            places.token[row] = token
            places.pos[row] = position
            places.n_seq_id[row] = 1
            places.seq_id[row][0] = sequence
            places.logits[row] = logits
        if library.llama_decode(context, places):
            raise RuntimeError("llama_decode failed")
        logits = ctypes.cast(library.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(logits, (sum(wanted), vocabulary))

    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        library.llama_memory_clear(memory, False)
        length = len(prompt)
        logits = decode(prompt, list(range(length)), [0] * length, [False] * (length - 1) + [True])
        for sequence in range(1, batch):
            library.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
        last = [int(logits[0].argmax())] * batch
        steps = [last]
        for position in range(length, length + tokens - 1):
            logits = decode(last, [position] * batch, list(range(batch)), [True] * batch)
            last = logits.argmax(axis=1).tolist()
            steps.append(last)
        return [list(answer) for answer in zip(*steps, strict=True)]

    return run, f"llama-cpp-python {(HOME / 'version').read_text().strip()}, gguf {version('gguf')}"


if __name__ == "__main__":
    serve(load)

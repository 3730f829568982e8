"""Networks by name, with their published sizes. Figures are those of the released config.json or of the paper."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from podium.errors import InputError, nearest
from podium.plan.convnet import CONVNETS, ConvNet
from podium.plan.shapes import Experts, Latent, Patches, Shape, gpt_shape, parse_shape


def _llama(
    name: str, layers: int, hidden: int, heads: int, kv_heads: int, ffn: int, vocab: int, sequence: int, **more: Any
) -> Shape:
    more.setdefault("head_dim", hidden // heads)
    return Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        ffn=ffn,
        vocab=vocab,
        sequence=sequence,
        **more,
    )


def _qwen25(
    name: str, layers: int, hidden: int, heads: int, kv: int, ffn: int, vocab: int, tied: bool = False
) -> Shape:
    return _llama(name, layers, hidden, heads, kv, ffn, vocab, 4096, qkv_bias=True, tied=tied)


def _qwen3(name: str, layers: int, hidden: int, heads: int, ffn: int, tied: bool = False, **more: Any) -> Shape:
    more.setdefault("kv_heads", 8)
    return _llama(
        name, layers, hidden, heads, ffn=ffn, vocab=151936, sequence=4096, head_dim=128, qk_norm=True, tied=tied, **more
    )


def _bert(
    name: str, layers: int, hidden: int, heads: int, vocab: int = 30522, positions: int = 512, types: int = 2
) -> Shape:
    return Shape(
        name=name,
        kind="encoder",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=4 * hidden,
        vocab=vocab,
        sequence=512,
        positions=positions,
        gated=False,
        tied=True,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        # token types, pooler; the norm after the embedding takes the place of a last one
        extra=types * hidden + hidden * hidden + hidden,
    )


def _vit(name: str, layers: int, hidden: int, heads: int, patch: int) -> Shape:
    patches = Patches(patch=patch)
    return Shape(
        name=name,
        kind="vision",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=4 * hidden,
        vocab=0,
        sequence=patches.tokens,
        positions=patches.tokens,
        gated=False,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        patches=patches,
        extra=hidden,  # class token
    )


_V3 = Latent(q_rank=1536, kv_rank=512, nope=128, rope=64, value=128)
_TABLE = (
    # arXiv 2104.04473 table 1; the last two also MT-NLG's and the sequence-parallel paper's (arXiv 2205.05198 table 3)
    gpt_shape("megatron-1.7b", 24, 2304, 24, 51200, 2048),
    gpt_shape("megatron-3.6b", 30, 3072, 32, 51200, 2048),
    gpt_shape("megatron-7.5b", 36, 4096, 32, 51200, 2048),
    gpt_shape("megatron-18b", 40, 6144, 48, 51200, 2048),
    gpt_shape("megatron-22b", 48, 6144, 64, 51200, 2048),
    gpt_shape("megatron-39b", 48, 8192, 64, 51200, 2048),
    gpt_shape("megatron-76b", 60, 10240, 80, 51200, 2048),
    gpt_shape("megatron-145b", 80, 12288, 96, 51200, 2048),
    gpt_shape("megatron-310b", 96, 16384, 128, 51200, 2048),
    gpt_shape("megatron-530b", 105, 20480, 128, 51200, 2048),
    gpt_shape("megatron-1t", 128, 25600, 160, 51200, 2048),
    gpt_shape("mt-nlg-530b", 105, 20480, 128, 50257, 2048),  # arXiv 2201.11990
    gpt_shape("gpt2", 12, 768, 12, 50257, 1024),
    gpt_shape("gpt2-medium", 24, 1024, 16, 50257, 1024),
    gpt_shape("gpt2-large", 36, 1280, 20, 50257, 1024),
    gpt_shape("gpt2-xl", 48, 1600, 25, 50257, 1024),
    gpt_shape("gpt3-175b", 96, 12288, 96, 50257, 2048),  # arXiv 2005.14165 table 2.1
    gpt_shape("opt-175b", 96, 12288, 96, 50272, 2048),  # arXiv 2205.01068 table 1
    gpt_shape("yuan-245b", 76, 16384, 128, 53228, 2048),  # arXiv 2110.04725; its number of heads is an assumption
    Shape(  # arXiv 2211.05100: ALiBi, a norm after the embedding
        "bloom-176b",
        70,
        14336,
        112,
        112,
        128,
        57344,
        250880,
        2048,
        gated=False,
        tied=True,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        extra=2 * 14336,
    ),
    Shape(  # arXiv 2210.02414: GeGLU, DeepNorm
        "glm-130b",
        70,
        12288,
        96,
        96,
        128,
        32768,
        150528,
        2048,
        tied=True,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
    ),
    Shape(  # arXiv 2204.02311 table 1: multi-query, parallel layers, heads of 256, no biases
        "palm-540b",
        118,
        18432,
        48,
        1,
        256,
        73728,
        256000,
        2048,
        tied=True,
        norms=1,
    ),
    Shape("palm-62b", 64, 8192, 32, 1, 256, 32768, 256000, 2048, tied=True, norms=1),
    gpt_shape("gopher-280b", 80, 16384, 128, 32000, 2048),  # arXiv 2112.11446 table 1
    gpt_shape("chinchilla-70b", 80, 8192, 64, 32000, 2048),  # arXiv 2203.15556 table 4
    gpt_shape("pangu-alpha-200b", 63, 16384, 128, 40000, 1024),  # arXiv 2104.12369 table 1, its query layer as a 64th
    _llama("llama-7b", 32, 4096, 32, 32, 11008, 32000, 2048),  # arXiv 2302.13971 table 2
    _llama("llama-13b", 40, 5120, 40, 40, 13824, 32000, 2048),
    _llama("llama-33b", 60, 6656, 52, 52, 17920, 32000, 2048),
    _llama("llama-65b", 80, 8192, 64, 64, 22016, 32000, 2048),
    _llama("llama-2-7b", 32, 4096, 32, 32, 11008, 32000, 4096),
    _llama("llama-2-13b", 40, 5120, 40, 40, 13824, 32000, 4096),
    _llama("llama-2-70b", 80, 8192, 64, 8, 28672, 32000, 4096),
    _llama("llama-3.1-8b", 32, 4096, 32, 8, 14336, 128256, 8192),  # arXiv 2407.21783 table 3
    _llama("llama-3.1-70b", 80, 8192, 64, 8, 28672, 128256, 8192),
    _llama("llama-3.1-405b", 126, 16384, 128, 8, 53248, 128256, 8192),
    _llama("llama-3.2-1b", 16, 2048, 32, 8, 8192, 128256, 8192, tied=True),
    _llama("llama-3.2-3b", 28, 3072, 24, 8, 8192, 128256, 8192, tied=True),
    _llama("mistral-7b", 32, 4096, 32, 8, 14336, 32000, 8192),
    _llama("mixtral-8x7b", 32, 4096, 32, 8, 14336, 32000, 8192, experts=Experts(8, 2, 14336)),
    _llama("mixtral-8x22b", 56, 6144, 48, 8, 16384, 32768, 8192, experts=Experts(8, 2, 16384)),
    _llama("deepseek-math-7b", 30, 4096, 32, 32, 11008, 102400, 4096),
    Shape(  # arXiv 2412.19437; without the multi-token-prediction module
        "deepseek-v3",
        61,
        7168,
        128,
        128,
        128,
        18432,
        129280,
        4096,
        latent=_V3,
        experts=Experts(256, 8, 2048, shared=1, dense_layers=3),
    ),
    _qwen25("qwen2.5-0.5b", 24, 896, 14, 2, 4864, 151936, True),  # arXiv 2412.15115
    _qwen25("qwen2.5-1.5b", 28, 1536, 12, 2, 8960, 151936, True),
    _qwen25("qwen2.5-3b", 36, 2048, 16, 2, 11008, 151936, True),
    _qwen25("qwen2.5-7b", 28, 3584, 28, 4, 18944, 152064),
    _qwen25("qwen2.5-14b", 48, 5120, 40, 8, 13824, 152064),
    _qwen25("qwen2.5-32b", 64, 5120, 40, 8, 27648, 152064),
    _qwen25("qwen2.5-72b", 80, 8192, 64, 8, 29568, 152064),
    _qwen3("qwen3-0.6b", 28, 1024, 16, 3072, True),  # arXiv 2505.09388
    _qwen3("qwen3-1.7b", 28, 2048, 16, 6144, True),
    _qwen3("qwen3-4b", 36, 2560, 32, 9728, True),
    _qwen3("qwen3-8b", 36, 4096, 32, 12288),
    _qwen3("qwen3-14b", 40, 5120, 40, 17408),
    _qwen3("qwen3-32b", 64, 5120, 64, 25600),
    _qwen3("qwen3-30b-a3b", 48, 2048, 32, 6144, kv_heads=4, experts=Experts(128, 8, 768)),
    _qwen3("qwen3-235b-a22b", 94, 4096, 64, 12288, kv_heads=4, experts=Experts(128, 8, 1536)),
    _bert("bert-base", 12, 768, 12),  # arXiv 1810.04805; encoder and pooler, without the pre-training heads
    _bert("bert-large", 24, 1024, 16),
    _bert("roberta-large", 24, 1024, 16, 50265, 514, 1),
    _vit("vit-b/16", 12, 768, 12, 16),  # arXiv 2010.11929 table 1
    _vit("vit-l/16", 24, 1024, 16, 16),
    _vit("vit-h/14", 32, 1280, 16, 14),
)
MODELS: dict[str, Shape | ConvNet] = {model.name: model for model in (*_TABLE, *CONVNETS)}
_ALIASES = {
    "deepseek-r1": "deepseek-v3",
    "llama-3-8b": "llama-3.1-8b",
    "llama-3-70b": "llama-3.1-70b",
    "r1-distill-qwen-7b": "qwen2.5-7b",
    "r1-distill-qwen-14b": "qwen2.5-14b",
    "r1-distill-qwen-32b": "qwen2.5-32b",
    "openmath-nemotron-14b": "qwen2.5-14b",
    "openmath-nemotron-32b": "qwen2.5-32b",
    "openmath-nemotron-7b": "qwen2.5-7b",
    "openmath-nemotron-1.5b": "qwen2.5-1.5b",
    "yuan-1.0": "yuan-245b",
    "gpt-3": "gpt3-175b",
    "mt-nlg": "mt-nlg-530b",
}


def _key(name: str) -> str:
    """Names as people write them: "Qwen/Qwen2.5-14B-Instruct" is qwen2.5-14b."""
    name = name.split("/")[-1] if not name.lower().startswith("vit") else name
    name = re.sub(r"-(instruct|base|chat|hf|it|v0\.[0-9]|math|kaggle)\b", "", name.lower())
    return re.sub(r"[^a-z0-9.]", "", name.replace("meta-", ""))


_BY_KEY = {_key(name): model for name, model in MODELS.items()}
_BY_KEY |= {_key(alias): MODELS[name] for alias, name in _ALIASES.items()}


def find_model(text: str) -> Shape | ConvNet:
    """By name, as the path of a config.json (or of a folder that holds one), or as `key=value` pairs.

    Raises:
        InputError: unknown name, unreadable or unsupported config.json, bad pairs.
    """
    if "=" in text:
        return parse_shape(text)
    path = Path(text)
    if text.endswith(".json") or path.is_file() or (path / "config.json").is_file():
        from podium.plan.hf_config import read_config

        return read_config(path / "config.json" if path.is_dir() else path)
    if found := _BY_KEY.get(_key(text)):
        return found
    raise InputError(
        f"unknown model {text!r}",
        f"{nearest(text.lower(), MODELS)} Or give a config.json, or layers=32,hidden=4096,heads=32",
    )

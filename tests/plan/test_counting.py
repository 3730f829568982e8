"""Parameters and FLOPs against transformers' own modules, torch's FLOP counter, and published figures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import InputError
from podium.plan.compute import sequence_flops
from podium.plan.counting import forward_flops, parameters, rule_of_thumb, training_flops
from podium.plan.hf_config import _FAMILIES, _SIZE_NAMES, _SIZES, read_config, shape_from_hf
from podium.plan.named import MODELS, find_model
from podium.plan.runs import PUBLISHED, read_runs
from podium.plan.shapes import Experts, Shape, gpt_shape, parse_shape
from podium.plan.units import PFLOPS_DAY
from podium.plan.validate import Count

SMALL = {
    "llama": {"hidden_size": 96, "intermediate_size": 256, "num_key_value_heads": 2, "head_dim": 24},
    "qwen2": {"hidden_size": 96, "intermediate_size": 256, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": {"hidden_size": 96, "intermediate_size": 256, "num_key_value_heads": 4, "head_dim": 32},
    "mistral": {"hidden_size": 96, "intermediate_size": 200, "num_key_value_heads": 2},
    "mixtral": {"hidden_size": 96, "intermediate_size": 128, "num_key_value_heads": 2, "num_local_experts": 4},
    "qwen3_moe": {
        "hidden_size": 96,
        "intermediate_size": 256,
        "moe_intermediate_size": 64,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 2,
        "head_dim": 24,
    },
    "deepseek_v3": {
        "hidden_size": 96,
        "intermediate_size": 256,
        "moe_intermediate_size": 64,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": 48,
        "kv_lora_rank": 32,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "num_key_value_heads": 4,
    },
    "gemma": {"hidden_size": 96, "intermediate_size": 256, "num_key_value_heads": 1, "head_dim": 32},
    "gpt2": {"n_embd": 96, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "gpt_neox": {"hidden_size": 96, "intermediate_size": 384},
    "opt": {"hidden_size": 96, "ffn_dim": 384, "word_embed_proj_dim": 96, "max_position_embeddings": 64},
    "bloom": {"hidden_size": 96, "n_layer": 3, "n_head": 4},
    "gpt_oss": {
        "hidden_size": 96,
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
}


def build(kind: str, **values: object):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind, **{"vocab_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4, **values}
    )
    with torch.device("meta"):
        return config, AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", SMALL)
def test_parameters_are_those_of_transformers(kind: str) -> None:
    config, model = build(kind, **SMALL[kind])
    shape = shape_from_hf(config.to_dict())
    assert parameters(shape).total == sum(p.numel() for p in model.parameters())


MOE = {"hidden_size": 64, "intermediate_size": 96, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2}
MOE |= {"moe_intermediate_size": 32, "num_hidden_layers": 5}
# What real config.json files leave out or call otherwise; each is given to transformers as it stands.
TERSE: list[tuple[str, dict[str, object]]] = [
    ("qwen2_moe", {**MOE, "decoder_sparse_step": 2, "shared_expert_intermediate_size": 48}),
    ("qwen2_moe", {**MOE, "mlp_only_layers": [0, 3], "shared_expert_intermediate_size": 48}),
    ("qwen3_moe", {**MOE, "decoder_sparse_step": 2, "mlp_only_layers": [1]}),
    ("qwen3_moe", {**MOE, "decoder_sparse_step": 3}),
    ("qwen3_moe", {**MOE, "mlp_only_layers": [0, 1, 2, 3, 4]}),
    ("opt", {"hidden_size": 64, "word_embed_proj_dim": 32, "ffn_dim": 96, "do_layer_norm_before": False}),
    ("opt", {"hidden_size": 64, "word_embed_proj_dim": 32, "ffn_dim": 96}),
    ("opt", {"hidden_size": 64}),
    ("bloom", {"n_embed": 64, "n_layer": 2, "n_head": 4}),
    ("bloom", {"n_embed": 64, "n_layer": 2, "num_attention_heads": 4}),
    ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4}),
    ("gemma2", {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 8}),
    ("gemma3_text", {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 8}),
    ("mistral", {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 16}),
    ("mixtral", {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 16}),
    ("qwen2", {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 32}),
    ("qwen3", {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 32}),
    ("deepseek_v3", {"hidden_size": 64, "intermediate_size": 96, "q_lora_rank": 8, "num_hidden_layers": 4}),
    ("gpt_oss", {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 8, "num_local_experts": 4}),
]


@pytest.mark.parametrize(("kind", "values"), TERSE, ids=[kind for kind, _ in TERSE])
def test_what_a_config_leaves_out_is_what_transformers_takes(kind: str, values: dict[str, object]) -> None:
    sizes = {"vocab_size": 512} if kind in ("bloom", "gpt2") else {"vocab_size": 512, "num_hidden_layers": 3}
    given = {**sizes, **({} if kind in ("bloom", "gpt2") else {"num_attention_heads": 4}), **values}
    config, model = build(kind, **given) if kind not in ("bloom", "gpt2") else plain(kind, given)
    expected = sum(p.numel() for p in model.parameters())
    for form in ({"model_type": kind, **given}, config.to_dict()):
        shape = shape_from_hf(form)
        assert isinstance(shape, Shape)
        assert parameters(shape).total == expected


def plain(kind: str, values: dict[str, object]):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **values)
    with torch.device("meta"):
        return config, AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", _FAMILIES)
def test_defaults_of_a_family_are_those_of_transformers(kind: str) -> None:
    from transformers import AutoConfig

    ours = {**_FAMILIES[kind], **dict(zip(_SIZE_NAMES, _SIZES.get(kind, ()), strict=False))}
    theirs = AutoConfig.for_model(kind, use_sliding_window=True)  # which else hides the window it would have
    assert ours == {name: getattr(theirs, name) for name in ours}


def test_the_text_of_a_model_with_several_towers_is_saved_without_its_defaults() -> None:
    """Gemma 3 of 4 B: what its config.json holds, without heads, head size, KV heads and vocabulary."""
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    _, model = build(
        "gemma3_text",
        **{**text, "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256},
    )
    for inner in (text, {**text, "model_type": "gemma3_text"}):
        shape = shape_from_hf({"model_type": "gemma3", "text_config": inner, "vision_config": {}})
        assert isinstance(shape, Shape)
        assert parameters(shape).total == sum(p.numel() for p in model.parameters())
        assert (shape.window, shape.windowed, shape.heads, shape.vocab) == (1024, 29, 8, 262208)


def test_where_the_dense_layers_of_a_mixture_lie() -> None:
    def experts(**values: object) -> Experts | None:
        shape = shape_from_hf({"model_type": "qwen3_moe", "vocab_size": 64, "num_attention_heads": 4, **MOE, **values})
        assert isinstance(shape, Shape)
        return shape.experts

    found = experts(mlp_only_layers=[0, 1])
    assert found is not None
    assert (found.dense_layers, found.scattered) == (2, False)
    found = experts(decoder_sparse_step=2)
    assert found is not None
    assert (found.dense_layers, found.scattered) == (3, True)
    with pytest.raises(InputError, match="mlp_only_layers"):
        experts(mlp_only_layers="none")


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt2", 124_439_808),
        ("bert-base", 109_482_240),
        ("bert-large", 335_141_888),
        ("vit-b/16", 86_567_656),
        ("resnet-50", 25_557_032),
        ("resnet-18", 11_689_512),
        ("llama-2-7b", 6_738_415_616),
        ("llama-3.1-8b", 8_030_261_248),
        ("qwen2.5-14b", 14_770_033_664),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("mixtral-8x7b", 46_702_792_704),
    ],
)
def test_named_models_have_their_published_size(name: str, published: int) -> None:
    assert parameters(find_model(name)).total == published


def test_every_published_row_has_its_parameters() -> None:
    counts = [
        Count(run, parameters(run.shape).total, run.stated_parameters)
        for run in read_runs(PUBLISHED)
        if run.stated_parameters
    ]
    assert len(counts) >= 29
    assert [count.run.name for count in counts if not count.agrees] == []


def test_small_vision_and_convolution_agree_with_transformers() -> None:
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

    with torch.device("meta"):
        vit = ViTForImageClassification(
            ViTConfig(hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=200, num_labels=7)
        )
        resnet = ResNetForImageClassification(ResNetConfig(depths=[1, 2, 1, 1], num_labels=5))
    for model in (vit, resnet):
        shape = shape_from_hf(model.config.to_dict())
        assert parameters(shape).total == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_forward_operations_are_those_torch_counts(kind: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    config, _ = build(kind, **SMALL[kind])
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 48, dtype=torch.long))
    counted = forward_flops(shape_from_hf(config.to_dict()), 48, "full").total
    # transformers turns positions into angles with one small product that is no part of the network.
    assert counted == pytest.approx(counter.get_total_flops(), rel=2e-3)


def test_resnet_50_takes_4_1_billion_multiply_adds() -> None:
    assert forward_flops(find_model("resnet-50")).total == pytest.approx(2 * 4.089e9, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "window", "windowed"),
    [
        ({"model_type": "mistral"}, 4096, 4),
        ({"model_type": "mistral", "sliding_window": 100}, 100, 4),
        ({"model_type": "mistral", "sliding_window": None}, 0, 0),
        ({"model_type": "qwen2", "sliding_window": 100}, 0, 0),
        ({"model_type": "qwen2", "sliding_window": 100, "use_sliding_window": True, "max_window_layers": 3}, 100, 1),
        (
            {"model_type": "qwen3_moe", "sliding_window": 100, "use_sliding_window": True, **MOE},
            100,
            5,
        ),
        ({"model_type": "mixtral", "sliding_window": None}, 0, 0),
    ],
)
def test_windows_are_those_of_the_family(values: dict[str, object], window: int, windowed: int) -> None:
    sizes = {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 4, "vocab_size": 64,
    }  # fmt: skip
    shape = shape_from_hf({**sizes, **values})
    assert isinstance(shape, Shape)
    assert (shape.window, shape.windowed) == (window, windowed)


def test_causal_attention_is_half_of_full_and_windows_are_bands() -> None:
    shape = find_model("llama-3.1-8b")
    full, causal = forward_flops(shape, 8192, "full"), forward_flops(shape, 8192, "causal")
    assert causal.scores == full.scores / 2
    assert (causal.projections, causal.feed_forward, causal.head) == (full.projections, full.feed_forward, full.head)
    windowed = Shape("w", 2, 64, 4, 4, 16, 256, 100, window=5, windowed=1)
    plain = Shape("w", 1, 64, 4, 4, 16, 256, 100)
    # Brute force over the pairs a causal window of 5 leaves of 32 tokens, its diagonal counted half.
    seen = sum(min(5, i + 1) for i in range(32)) - 5 / 2 + (32 - 5) * 0
    band = forward_flops(windowed, 32, "causal").scores - forward_flops(plain, 32, "causal").scores
    assert band == pytest.approx(4 * 64 * seen, rel=0.03)


def test_megatron_formulas() -> None:
    """arXiv 2104.04473 equations 2 and 3, and the 72-coefficient form of arXiv 2205.05198 appendix A."""
    layers, h, s, vocab, batch = 96, 12288, 2048, 51200, 64
    shape = gpt_shape("x", layers, h, 96, vocab, s)
    assert parameters(shape).total == pytest.approx(
        12 * layers * h * h * (1 + 13 / (12 * h) + (vocab + s) / (12 * layers * h)), rel=1e-6
    )
    full = 96 * batch * s * layers * h * h * (1 + s / (6 * h) + vocab / (16 * layers * h))
    model = 72 * batch * s * layers * h * h * (1 + s / (6 * h) + vocab / (12 * layers * h))
    assert training_flops(shape, s, "full", "full").total * batch == pytest.approx(full, rel=1e-9)
    assert training_flops(shape, s, "full", "none").total * batch == pytest.approx(model, rel=1e-9)


def test_mt_nlg_reaches_its_published_teraflops() -> None:
    flop = training_flops(find_model("mt-nlg-530b"), 2048, "full", "full").total * 1920
    rates = [flop / seconds / gpus / 1e12 for seconds, gpus in ((60.1, 2240), (50.2, 2800), (44.4, 3360))]
    assert rates == pytest.approx([126, 121, 113], abs=0.7)
    assert rates[0] == pytest.approx(126, abs=0.5)


@pytest.mark.parametrize(
    ("name", "seconds", "gpus", "batch", "mfu"),
    [
        ("megatron-22b", 1.10, 8, 4, 41.5),
        ("gpt3-175b", 13.75, 64, 64, 51.4),
        ("megatron-530b", 37.83, 280, 280, 56.0),
        ("megatron-1t", 71.49, 512, 512, 56.3),
    ],
)
def test_sequence_parallel_table(name: str, seconds: float, gpus: int, batch: int, mfu: float) -> None:
    """arXiv 2205.05198 table 5."""
    flop = training_flops(find_model(name), 2048).total * batch
    assert 100 * flop / seconds / gpus / 312e12 == pytest.approx(mfu, abs=0.3)


@pytest.mark.parametrize(
    ("gpus", "rate", "name", "days"),
    [
        (384, 153, "gpt3-175b", 84),
        (1536, 141, "gpt3-175b", 23),
        (560, 171, "megatron-530b", 156),
        (2240, 159, "megatron-530b", 42),
    ],
)
def test_sc21_days(gpus: int, rate: float, name: str, days: float) -> None:
    """arXiv 2104.04473 table 2: 8 N D over what the machine does."""
    flop = rule_of_thumb(parameters(find_model(name)).total, 300e9, recomputed=True)
    assert flop / (gpus * rate * 1e12) / 86_400 == pytest.approx(days, rel=0.03)


def test_the_five_yuan_identities() -> None:
    """arXiv 2110.04725: parameters, devices, compute with recomputation, tokens per step, days at 44.8 %."""
    yuan = find_model("yuan-1.0")
    assert isinstance(yuan, Shape)
    count = parameters(yuan).total
    assert count == pytest.approx(245.7e9, rel=1e-3)
    assert 12 * yuan.layers * yuan.hidden**2 == pytest.approx(244.8e9, rel=1e-3)
    assert 8 * 38 * 7 == 2128
    assert yuan.layers % 38 == 0
    pflops_days = rule_of_thumb(count, 180e9, recomputed=True) / PFLOPS_DAY
    assert pflops_days == pytest.approx(4095, rel=1e-3)
    steps = 180e9 / (3360 * 2048)
    assert steps == pytest.approx(26_200, rel=2e-3)
    assert pflops_days / (2128 * 0.312 * 0.448) == pytest.approx(13.8, abs=0.05)


def test_packed_documents_only_see_themselves() -> None:
    shape = find_model("qwen2.5-0.5b")
    assert isinstance(shape, Shape)
    packed = sequence_flops(shape, 4096, attended=1024)
    whole = sequence_flops(shape, 4096)
    assert packed.scores == pytest.approx(whole.scores / 4)
    assert packed.feed_forward == pytest.approx(whole.feed_forward)


def test_a_shape_in_words() -> None:
    shape = parse_shape("layers=32,hidden=4096,heads=32,kv=8,ffn=14336,vocab=128256,seq=8192")
    assert parameters(shape).total == parameters(find_model("llama-3.1-8b")).total
    moe = parse_shape("layers=32,hidden=4096,heads=32,kv=8,ffn=14336,vocab=32000,experts=8,active=2")
    assert parameters(moe).total == parameters(find_model("mixtral-8x7b")).total
    gpt = parse_shape("layers=24,hidden=2304,heads=24,vocab=51200,style=gpt")
    assert parameters(gpt).total == parameters(find_model("megatron-1.7b")).total


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("layers=32,hiden=4096", "hidden"),
        ("layers=32", "hidden is missing"),
        ("layers=0,hidden=64", "more than 0"),
        ("layers=2,hidden=100,heads=3", "no multiple"),
        ("layers=2,hidden=64,heads=4,kv=3", "no multiple"),
        ("layers=2,hidden=64,heads=4,active=2", "experts"),
        ("layers=2.5,hidden=64", "whole"),
        ("layers=2,hidden=64T,heads=2", "suffix"),
    ],
)
def test_a_wrong_shape_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        parse_shape(text)
    assert says in str(error.value)


def test_a_config_json_is_a_model(tmp_path) -> None:
    config, _ = build("qwen2", **SMALL["qwen2"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert find_model(str(tmp_path)) == find_model(str(path)) == read_config(path)
    path.write_text('{"model_type": "lama"}')
    with pytest.raises(InputError, match="llama"):
        find_model(str(path))
    path.write_text('{"model_type": "llama", "hidden_size": "x"}')
    with pytest.raises(InputError, match="hidden_size"):
        find_model(str(path))


COMMON = {
    "vocab_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 99,
}
VISION = {"vit": {"patch_size": 8, "image_size": 32}, "resnet": {"depths": [1, 1, 1, 1]}, "bert": {}}
VALUES = st.one_of(st.integers(-2, 5), st.none(), st.text(max_size=2), st.lists(st.integers(0, 3), max_size=4))


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from([*SMALL, *VISION]), data=st.data())
def test_any_config_is_a_shape_or_an_input_error(kind: str, data: st.DataObject) -> None:
    """A good config.json with one or two fields that are not."""
    values = {**COMMON, **SMALL.get(kind, {}), **VISION.get(kind, {})}
    bad = data.draw(st.dictionaries(st.sampled_from(sorted(values)), VALUES, max_size=2))
    try:
        shape = shape_from_hf({"model_type": kind, **values, **bad})
    except InputError:
        return
    assert parameters(shape).total >= 0
    assert forward_flops(shape).total >= 0


def test_names_are_found_however_they_are_written() -> None:
    assert find_model("Qwen/Qwen2.5-14B-Instruct") is find_model("qwen2.5-14b")
    assert find_model("OpenMath-Nemotron-14B-Kaggle") is find_model("qwen2.5-14b")
    with pytest.raises(InputError, match=r"llama-3\.1-8b"):
        find_model("lama-3.1-8b")
    assert len(MODELS) >= 60

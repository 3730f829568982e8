"""The decoder against transformers on random weights, and what it promises by itself."""

import pytest
import torch

from podium.errors import InputError
from podium.models import RopeConfig, Transformer, TransformerConfig, load_model, save_model
from podium.models.families.family import Mixture
from podium.models.families.registry import FAMILIES

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
SIZES = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 48,
}
MOE = {"moe_intermediate_size": 40, "num_hidden_layers": 3}
KINDS = {
    "llama": (transformers.LlamaConfig, {}),
    "llama-biases-head_dim": (transformers.LlamaConfig, {"attention_bias": True, "mlp_bias": True, "head_dim": 24}),
    "llama-no-gqa": (transformers.LlamaConfig, {"num_key_value_heads": 4, "rope_theta": 500_000.0}),
    "qwen2": (transformers.Qwen2Config, {}),
    "qwen2-tied": (transformers.Qwen2Config, {"tie_word_embeddings": True, "rope_theta": 1e6}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 32}),
    "qwen3-tied": (transformers.Qwen3Config, {"head_dim": 16, "tie_word_embeddings": True, "attention_bias": True}),
    "mistral": (transformers.MistralConfig, {"sliding_window": 12}),
    "mistral-window-of-1": (transformers.MistralConfig, {"sliding_window": 1, "head_dim": 24}),
    "mistral-no-window": (transformers.MistralConfig, {"sliding_window": None}),
    "qwen3_moe": (transformers.Qwen3MoeConfig, {"num_experts": 8, "num_experts_per_tok": 2, **MOE}),
    "qwen3_moe-mixed": (
        transformers.Qwen3MoeConfig,
        {
            "num_experts": 5,
            "num_experts_per_tok": 5,
            "norm_topk_prob": True,
            "mlp_only_layers": [2],
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 11,
            **MOE,
        },
    ),
    "qwen3_moe-sparse-step": (
        transformers.Qwen3MoeConfig,
        {"num_experts": 6, "num_experts_per_tok": 1, "decoder_sparse_step": 2, "tie_word_embeddings": True, **MOE},
    ),
    "qwen2-window-above": (
        transformers.Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    ),
    "qwen3-window-between": (
        transformers.Qwen3Config,
        {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": 16,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
}
ROPES = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 2.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 24},
    "yarn-more": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 24,
        "beta_fast": 4.0,
        "beta_slow": 0.5,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
        "truncate": False,
    },
    "yarn-ratio": {  # DeepSeek's way: the factor is the ratio of the two lengths
        "rope_type": "yarn",
        "factor": None,
        "original_max_position_embeddings": 24,
        "mscale": 0.8,
        "mscale_all_dim": 0.4,
    },
    "yarn-without-original": {"rope_type": "yarn", "factor": 2.0},
    "yarn-factor": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 24,
        "attention_factor": 1.3,
    },
}


def oracle(config_class, seed=0, **options):
    torch.manual_seed(seed)
    config = config_class(**{**SIZES, **options})
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        # Biases and norms start as constants: random ones show whether they are used in the right place.
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def random_tokens(batch=2, length=40):
    return torch.randint(0, SIZES["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=KINDS, scope="module")
def pair(request, tmp_path_factory):
    """(transformers' model, ours loaded from its folder)."""
    config_class, options = KINDS[request.param]
    theirs = oracle(config_class, **options)
    folder = tmp_path_factory.mktemp("model") / "model"
    theirs.save_pretrained(folder)
    return theirs, load_model(folder)[0]


@torch.no_grad()
def test_logits_equal_those_of_transformers(pair):
    theirs, ours = pair
    tokens = random_tokens()
    assert (theirs(tokens).logits - ours(tokens)).abs().max() <= TOLERANCE


def test_a_folder_saved_here_is_the_same_model_to_transformers(pair, tmp_path):
    theirs, ours = pair
    save_model(tmp_path / "model", ours)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager")
    assert type(again) is type(theirs)
    assert again.config.to_dict().get("layer_types") == theirs.config.to_dict().get("layer_types")
    tokens = random_tokens()
    with torch.no_grad():
        assert (again(tokens).logits - theirs(tokens).logits).abs().max() <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_not_seen(pair, side):
    theirs, ours = pair
    tokens = random_tokens(batch=3)
    mask = torch.ones_like(tokens)
    for row, padding in enumerate((0, 5, 17)):
        if padding:
            mask[row, slice(0, padding) if side == "left" else slice(-padding, None)] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    expected = theirs(tokens, attention_mask=mask, position_ids=positions).logits
    found = ours(tokens, attention_mask=mask)
    assert found.isfinite().all()
    assert (expected - found)[mask.bool()].abs().max() <= TOLERANCE
    # The same row without its padding gives the same logits.
    alone = ours(tokens[2][mask[2].bool()][None])
    assert (found[2][mask[2].bool()] - alone[0]).abs().max() <= TOLERANCE


@torch.no_grad()
def test_positions_may_be_given(pair):
    theirs, ours = pair
    tokens = random_tokens()
    positions = torch.stack((torch.arange(40) + 3, torch.arange(40) // 2))
    lowest = torch.full((2, 1, 40, 40), torch.finfo(torch.float32).min)
    causal = lowest.triu(1)  # added to the scores
    sliding = causal + lowest.tril(-ours.config.sliding_window) if ours.config.sliding_window else causal
    by_type = {"full_attention": causal, "sliding_attention": sliding}  # where a family's layers differ
    mask = by_type if ours.config.kind in ("qwen2", "qwen3") else sliding
    expected = theirs(tokens, position_ids=positions, attention_mask=mask).logits
    assert (expected - ours(tokens, positions=positions)).abs().max() <= TOLERANCE


def test_gradients_equal_those_of_transformers(pair, tmp_path):
    theirs, ours = pair
    tokens = random_tokens()
    for model in (theirs, ours):
        model.zero_grad()
        logits = model(tokens)
        logits = getattr(logits, "logits", logits)
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    # Our gradients, named by Hugging Face: save a model whose weights are the gradients.
    carrier = Transformer(ours.config)
    with torch.no_grad():
        for to, source in zip(carrier.parameters(), ours.parameters(), strict=True):
            to.copy_(source.grad)
    save_model(tmp_path / "gradients", carrier)
    from safetensors.torch import load_file

    found = load_file(tmp_path / "gradients" / "model.safetensors")
    # Theirs likewise: what is one tensor in memory and several in a folder is written as several.
    carrier = type(theirs)(theirs.config)
    with torch.no_grad():
        for to, source in zip(carrier.parameters(), theirs.parameters(), strict=True):
            to.copy_(source.grad)
    carrier.save_pretrained(tmp_path / "expected")
    expected = load_file(tmp_path / "expected" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= 1e-4 * max(1.0, float(gradient.abs().max())), name


@torch.no_grad()
@pytest.mark.parametrize("name", ROPES)
@pytest.mark.parametrize("length", [20, 60])
def test_rope_scaling_kinds(name, length, tmp_path):
    """Below and beyond the length the model was made for (48, originally 24)."""
    rope = {"rope_type": name, "rope_theta": 10_000.0, **ROPES[name]}
    theirs = oracle(transformers.LlamaConfig, rope_parameters=rope)
    theirs.save_pretrained(tmp_path / "model")
    ours, _ = load_model(tmp_path / "model")
    tokens = random_tokens(length=length)
    assert (theirs(tokens).logits - ours(tokens)).abs().max() <= TOLERANCE
    save_model(tmp_path / "again", ours)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again", attn_implementation="eager")
    assert (again(tokens).logits - ours(tokens)).abs().max() <= TOLERANCE


def test_rope_is_read_in_its_older_spelling():
    values = {**SIZES, "model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}}
    assert TransformerConfig.from_hf(values).rope == RopeConfig(theta=5e5, kind="linear", factor=2.0)
    both = {**values, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}, "rope_scaling": None}
    assert TransformerConfig.from_hf(both).rope == RopeConfig(theta=1e4)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({}, 48),
        ({"rope_scaling": None}, 48),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 192),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 1e6}}, 120),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 96),
        ({"rope_scaling": {"rope_type": None, "type": "dynamic", "factor": 2.0}}, 96),
        ({"max_position_embeddings": 32, "rope_scaling": YARN}, 128),  # as Qwen2.5's page says to write it
        ({"max_position_embeddings": 128, "rope_scaling": YARN}, 128),  # as transformers 5 wants it
        ({"max_position_embeddings": 40, "rope_parameters": YARN}, 128),  # Qwen3's 40,960
        ({"max_position_embeddings": 32, "rope_parameters": {"type": "yarn", "factor": 4.0}}, 128),
        ({"max_position_embeddings": 128, "rope_parameters": {**YARN, "factor": None}}, 128),
        ({"original_max_position_embeddings": 16, "rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, 64),
        ({"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 24}}, 48),
        ({"layer_types": ["full_attention"] * 3, "rope_parameters": {"full_attention": YARN}}, 128),
    ],
)
def test_the_context_is_the_stretched_one(fields, context):
    values = {**SIZES, "model_type": "llama", **fields}
    config = TransformerConfig.from_hf(values)
    assert config.context == context
    assert TransformerConfig.from_hf(config.to_hf()).context == context


@pytest.mark.parametrize(
    ("written", "ids"),
    [(None, ()), (2, (2,)), ([2, 5, 2], (2, 5)), ([None, 3], (3,)), (-1, ()), ([], ()), (True, ())],
)
def test_end_tokens_of_a_config(written, ids):
    assert TransformerConfig.from_hf({**SIZES, "model_type": "llama", "eos_token_id": written}).eos_token_id == ids


WINDOWS = {"sliding_window": 20, "full_attention_layers": (0, 2)}


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        *((kind, {}) for kind in FAMILIES),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("mistral", {"sliding_window": 20}),
        ("qwen2", WINDOWS),
        ("qwen3", {**WINDOWS, "attention_bias": True}),
        ("qwen3", {"sliding_window": 20}),
        ("qwen3_moe", {"mixture": Mixture(6, 2, 24, normalised=True, dense_layers=(0, 3)), "sliding_window": 8}),
    ],
)
def test_config_survives_its_hugging_face_form(kind, own):
    config = TransformerConfig(
        kind=kind,
        **own,
        num_key_value_heads=2,
        rope=RopeConfig(theta=1e6, kind="yarn", factor=4.0, original_max_position_embeddings=512),
        eos_token_id=(3, 5),
        pad_token_id=0,
    )
    assert TransformerConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "qwen4"}, ["qwen4", "did you mean 'qwen", "known families: llama, mistral, qwen2"]),
        ({"model_type": "gemma3_text"}, ["'gemma3_text'", "known families: llama, mistral, qwen2"]),
        ({"model_type": None}, ["model_type is missing", "known: llama, mistral"]),
        ({"model_type": ["llama"]}, ["['llama']", "known families"]),
        ({"hidden_size": None}, ["hidden_size is missing"]),
        ({"hidden_size": "64"}, ["hidden_size", "whole number"]),
        ({"num_key_value_heads": 3}, ["not a multiple"]),
        ({"head_dim": 7}, ["odd"]),
        ({"hidden_act": "gelu"}, ["gelu"]),
        ({"use_sliding_window": True}, ["sliding"]),
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, ["sliding", "llama"]),
        ({"model_type": "mistral", "sliding_window": 0}, ["sliding_window is 0"]),
        ({"model_type": "mistral", "sliding_window": "big"}, ["sliding_window is 'big'"]),
        ({"model_type": "mistral", "layer_types": ["full_attention"] * 3}, ["4096", "leave layer_types out"]),
        (
            {"model_type": "qwen3", "use_sliding_window": True, "layer_types": ["full_attention"]},
            ["one type for each of 3"],
        ),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["full_attention"] * 2 + ["chunked"]},
            ["'chunked'"],
        ),
        ({"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 5}, ["num_experts_per_tok is 5 of 4"]),
        ({"model_type": "qwen3_moe", "num_experts": "many"}, ["num_experts is 'many'"]),
        ({"model_type": "qwen3_moe", "moe_intermediate_size": 0}, ["mixture.intermediate_size is 0"]),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 0}, ["decoder_sparse_step is 0"]),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [True]}, ["mlp_only_layers", "whole numbers"]),
        ({"model_type": "qwen3_moe", "layer_types": ["sliding_attention"] * 3}, ["leave layer_types out"]),
        ({"model_type": "qwen3", "layer_types": ["sliding_attention"] * 3}, ["use_sliding_window is false"]),
        ({"rope_scaling": {"rope_type": "longrop"}}, ["longrop"]),
        ({"rope_scaling": {"type": "su", "factor": 4.0}}, ["'su'"]),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}, ["longrope"]),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1, 2, 3]}}, ["mrope"]),
        ({"rope_scaling": {"type": "linear"}}, ["linear", "needs factor"]),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, ["0.5"]),
        ({"rope_scaling": "yarn"}, ["rope_scaling", "'yarn'"]),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, ["low_freq_factor"]),
    ],
)
def test_unusable_configs_are_refused(change, words):
    with pytest.raises(InputError) as caught:
        TransformerConfig.from_hf({**SIZES, "model_type": "llama", **change})
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_attention_is_handed_in(kind):
    model = Transformer(TransformerConfig(kind=kind, **SIZES, head_dim=16)).initialise(0)
    tokens = random_tokens()
    shapes = []

    def naive(layer, q, k, v, window):
        shapes.append((layer, tuple(q.shape), tuple(k.shape), tuple(v.shape)))
        k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], dim=2) for x in (k, v))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)

    assert (model(tokens, attend=naive) - model(tokens)).abs().max() <= 1e-5
    assert shapes == [(layer, (2, 40, 4, 16), (2, 40, 2, 16), (2, 40, 2, 16)) for layer in range(3)]
    with pytest.raises(ValueError):
        model(tokens, attend=naive, attention_mask=torch.ones_like(tokens))


def test_tapped_layers_stand_behind_the_state():
    model = Transformer(TransformerConfig(**SIZES, head_dim=16)).initialise(0)
    tokens = random_tokens()
    outputs = []
    for block in model.layers:
        block.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    state, second, first = model.hidden(tokens, taps=(1, 0)).split(64, -1)
    assert torch.equal(state, model.norm(outputs[-1]))
    assert torch.equal(second, outputs[1])
    assert torch.equal(first, outputs[0])


def test_head_and_hidden_make_the_logits():
    model = Transformer(TransformerConfig(**SIZES, head_dim=16, tie_word_embeddings=True)).initialise(0)
    tokens = random_tokens()
    hidden = model.hidden(tokens)
    assert hidden.shape == (2, 40, 64)
    assert torch.equal(model.head(hidden), model(tokens))
    assert torch.equal(model.head(hidden), hidden @ model.embedding.weight.T)


def test_bfloat16_stays_close_to_float32():
    model = Transformer(TransformerConfig(kind="qwen2", **SIZES, head_dim=16)).initialise(0, std=0.1)
    tokens = random_tokens()
    exact = model(tokens)
    loss = model.to(torch.bfloat16)(tokens)
    assert loss.dtype == torch.bfloat16
    loss.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert (loss.float() - exact).abs().max() <= 0.1 * exact.abs().max()


def test_initialise_is_a_function_of_the_seed():
    config = TransformerConfig(kind="qwen2", **SIZES, head_dim=16)
    first, second, other = (Transformer(config).initialise(seed) for seed in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)
    assert abs(float(first.layers[0].attention.qkv.weight.detach().std()) - 0.02) < 0.002
    assert not first.layers[0].attention.qkv.bias.any()


def test_zero_output_starts_every_block_as_the_identity():
    model = Transformer(TransformerConfig(**SIZES, head_dim=16)).initialise(0, zero_output=True)
    tokens = random_tokens()
    assert torch.equal(model.hidden(tokens), model.norm(model.embedding(tokens)))


def test_parameters_and_flops_are_counted():
    tied = Transformer(TransformerConfig(**SIZES, head_dim=16, tie_word_embeddings=True))
    untied = Transformer(TransformerConfig(**SIZES, head_dim=16))
    vocabulary = 160 * 64
    blocks = 3 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 96)
    norms = (3 * 2 + 1) * 64
    assert tied.num_parameters() == vocabulary + blocks + norms
    assert untied.num_parameters() == 2 * vocabulary + blocks + norms
    assert untied.num_parameters(embedding=False) == tied.num_parameters(embedding=False) == tied.num_parameters()
    attention = 12 * 3 * 64 * 100
    for model in (tied, untied):
        assert model.flops_per_token(100) == 6 * (vocabulary + blocks) + attention
        assert model.flops_per_token(100, causal=True) == 6 * (vocabulary + blocks) + attention / 2
        assert model.flops_per_token(100, backward=False) == model.flops_per_token(100) / 3


@pytest.mark.parametrize("layout", ["plain", "transposed", "expanded"])
def test_gradient_of_the_rotation(layout):
    """Against autograd of the written-out formula, for gradients in any memory layout."""
    from podium.models.ops import rotate, split_rotate

    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 5, 8, 6, generator=generator, requires_grad=True)
    angles = torch.randn(2, 5, 1, 3, generator=generator)
    turns = torch.polar(torch.full_like(angles, 1.2), angles)

    def formula(x):
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = 1.2 * angles.cos(), 1.2 * angles.sin()
        return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)

    def spread(x):
        weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(x.shape[2]))
        if layout == "transposed":
            return (x.permute(3, 2, 0, 1) * weights.permute(3, 2, 0, 1)).sum()
        return x.sum() if layout == "expanded" else (x * weights).sum()

    def gradient(parts):
        return torch.autograd.grad(sum(spread(part) for part in parts), qkv)[0]

    expected = gradient((formula(qkv[:, :, :4]), formula(qkv[:, :, 4:6]), qkv[:, :, 6:]))
    assert torch.allclose(gradient(split_rotate(qkv, turns, 2)), expected, atol=1e-5)
    assert torch.allclose(gradient((rotate(qkv, turns),)), gradient((formula(qkv),)), atol=1e-5)


def test_gradient_of_the_norm():
    from podium.models.fused import rms_norm

    generator = torch.Generator().manual_seed(0)
    x, weight, grad = (torch.randn(shape, generator=generator) for shape in ((2, 3, 4, 8), (8,), (2, 4, 3, 8)))
    x, weight = x.transpose(1, 2).requires_grad_(), weight.requires_grad_()  # a slice of heads is not contiguous
    expected = torch.nn.functional.rms_norm(x.double(), (8,), weight.double(), 1e-3)
    found = rms_norm(x, weight, 1e-3)
    torch.testing.assert_close(found, expected.float())
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight), grad),
        torch.autograd.grad(expected, (x, weight), grad.double()),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("width", [32, 21])
def test_gradient_of_the_feed_forward(width):
    """Also for widths whose rows do not begin at multiples of 64 bytes."""
    from podium.models.fused import feed_forward

    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 5, 12), (2 * width, 12), (12, width))
    x, gate_up, down = (torch.randn(shape, generator=generator).requires_grad_() for shape in shapes)
    grad = torch.randn(2, 5, 12, generator=generator)
    gate, up = (x.double() @ gate_up.double().T).chunk(2, dim=-1)
    expected = (gate * gate.sigmoid() * up) @ down.double().T
    found = feed_forward(x, gate_up, down)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, gate_up, down), grad),
        torch.autograd.grad(expected, (x, gate_up, down), grad.double()),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_joined_matrices_are_named_with_their_parts():
    model = Transformer(TransformerConfig(kind="qwen3", **SIZES, head_dim=16))
    matrices = dict(model.named_parameters())
    parts = model.fused_parts()
    assert {name.split(".", 2)[2] for name in parts} == {"attention.qkv.weight", "feed_forward.gate_up.weight"}
    assert all(sum(rows) == matrices[name].shape[0] for name, rows in parts.items())

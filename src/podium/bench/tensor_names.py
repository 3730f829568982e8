"""What the official logs call the tensors of the eight models: weights_initialization of a closed run.

One table per benchmark from patterns of our parameters to names of the round. Several parameters may share a name (all
tables of dlrm are "embeddings"); parameters that the rules have trained beforehand (backbone of maskrcnn) have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

NORM = {"weight": "gamma", "bias": "beta"}
DENSE = {"weight": "kernel", "bias": "bias"}
Naming = Callable[[re.Match[str]], str | list[str]]
Table = list[tuple[str, Naming | str | list[str]]]


def official_tensors(benchmark: str, parameters: Iterable[str]) -> list[str]:
    """The official name of every parameter that has one, each name once, in the order of the parameters.

    Raises:
        KeyError: a parameter that the table of the benchmark does not know.
    """
    found = dict.fromkeys(name for names in official_names(benchmark, parameters).values() for name in names)
    if benchmark == "minigo":
        found["global_step"] = None  # a variable of the reference's graph, initialised to 0
    return list(found)


def official_names(benchmark: str, parameters: Iterable[str]) -> dict[str, list[str]]:
    """Parameter -> its official names: none, one, or three where q, k and v are one matrix here.

    Raises:
        KeyError: a parameter that the table of the benchmark does not know.
    """
    names = list(parameters)
    return {
        name: _translate(benchmark, numbered) for name, numbered in zip(names, _numbered(benchmark, names), strict=True)
    }


def _translate(benchmark: str, name: str) -> list[str]:
    for pattern, naming in TABLES[benchmark]:
        if match := re.fullmatch(pattern, name):
            made = naming(match) if callable(naming) else naming
            return [made] if isinstance(made, str) else made
    raise KeyError(f"{benchmark}: no official name for {name}")


def _numbered(benchmark: str, names: list[str]) -> list[str]:
    """ssd and minigo count their convolutions and norms: `stage.kind.number.ending` in place of our names."""
    if benchmark not in ("ssd", "minigo"):
        return names
    seen: dict[str, list[str]] = {}
    made = []
    for name in names:
        module, _, ending = name.rpartition(".")
        kind = "norm" if re.search(r"(norm|bn\d?|downsample\.1)$", module) else "conv"
        stage = re.match(r"backbone\.layer(\d)\.", name)
        if benchmark == "ssd" and not stage:
            made.append(name)
            continue
        if benchmark == "minigo" and re.match(r"(policy|value|value_hidden)\.", name):
            made.append(name)
            continue
        group = seen.setdefault(f"{stage[1] if stage else 0}.{kind}", [])
        if module not in group:
            group.append(module)
        made.append(f"{stage[1] if stage else 0}.{kind}.{group.index(module)}.{ending}")
    return made


def _counted(name: str, number: str) -> str:
    return name if number == "0" else f"{name}_{number}"


def _bert_layer(match: re.Match[str]) -> str | list[str]:
    number, part, ending = match.groups()
    prefix = f"bert/encoder/layer_{number}"
    if part == "qkv":
        return [f"{prefix}/attention/self/{which}/{DENSE[ending]}" for which in ("query", "key", "value")]
    dense = {"output": "attention/output/dense", "up": "intermediate/dense", "down": "output/dense"}
    if part in dense:
        return f"{prefix}/{dense[part]}/{DENSE[ending]}"
    norm = {"attention_norm": "attention/output/LayerNorm", "norm": "output/LayerNorm"}
    return f"{prefix}/{norm[part]}/{NORM[ending]}"


def _unet_block(stage: Callable[[re.Match[str]], str]) -> Naming:
    # conv, norm, activation, conv, norm, activation
    def name(match: re.Match[str]) -> str:
        place = int(match["place"])
        return f"{stage(match)}_block_{place // 3}_{'conv' if place % 3 == 0 else 'instancenorm'}"

    return name


TABLES: dict[str, Table] = {
    "resnet": [
        (r"conv1\.weight", "conv0_weight"),
        (r"bn1\.(\w+)", lambda m: f"bn0_{NORM[m[1]]}"),
        (r"fc\.(\w+)", lambda m: f"fc1_{m[1]}"),
        (r"layer(\d)\.(\d)\.conv(\d)\.weight", lambda m: f"stage{m[1]}_unit{int(m[2]) + 1}_conv{m[3]}_weight"),
        (r"layer(\d)\.(\d)\.bn(\d)\.(\w+)", lambda m: f"stage{m[1]}_unit{int(m[2]) + 1}_bn{m[3]}_{NORM[m[4]]}"),
        (r"layer(\d)\.0\.downsample\.0\.weight", lambda m: f"stage{m[1]}_unit1_conv1sc_weight"),
        (r"layer(\d)\.0\.downsample\.1\.(\w+)", lambda m: f"stage{m[1]}_unit1_bnsc_{NORM[m[2]]}"),
    ],
    "unet3d": [
        (r"input\.(?P<place>\d)\.\w+", _unet_block(lambda m: "input")),
        (r"(?P<side>down|up)\.(?P<level>\d)\.(?P<place>\d)\.\w+", _unet_block(lambda m: m["side"] + m["level"])),
        (r"grow\.(\d)\.\w+", lambda m: f"up{m[1]}_deconv"),
        (r"output\.\w+", "output_conv"),
    ],
    "ssd": [
        (r"backbone\.conv1\.weight", "ssd0_resnetmlperf0_conv0_weight"),
        (r"backbone\.bn1\.(\w+)", lambda m: f"ssd0_resnetmlperf0_batchnorm0_{NORM[m[1]]}"),
        (r"(\d)\.conv\.(\d+)\.weight", lambda m: f"ssd0_resnetmlperf0_stage{m[1]}_conv{m[2]}_weight"),
        (r"(\d)\.norm\.(\d+)\.(\w+)", lambda m: f"ssd0_resnetmlperf0_stage{m[1]}_batchnorm{m[2]}_{NORM[m[3]]}"),
        (r"extras\.(\d)\.0\.(\w+)", lambda m: f"ssd0_expand_trans_conv{m[1]}_{m[2]}"),
        (r"extras\.(\d)\.2\.(\w+)", lambda m: f"ssd0_expand_conv{m[1]}_{m[2]}"),
        # The reference predicts boxes and classes with one convolution per level.
        (r"(?:boxes|kinds)\.(\d)\.(\w+)", lambda m: f"ssd0_convpredictor{m[1]}_conv0_{m[2]}"),
    ],
    "maskrcnn": [
        (r"backbone\..*", []),
        (r"pyramid\.lateral\.(\d)\.\w+", lambda m: f"FPN_inner_block{int(m[1]) + 1}"),
        (r"pyramid\.smooth\.(\d)\.\w+", lambda m: f"FPN_layer_block{int(m[1]) + 1}"),
        (r"propose\.\w+", "RPNHead_conv"),
        (r"propose_score\.\w+", "RPNHead_cls"),
        (r"propose_box\.\w+", "RPNHead_bbox"),
        (r"box_first\.\w+", "ROI_BOX_FEATURE_EXTRACTOR_fc6"),
        (r"box_second\.\w+", "ROI_BOX_FEATURE_EXTRACTOR_fc7"),
        (r"box_kind\.\w+", "ROI_BOX_PREDICTOR_cls"),
        (r"box_code\.\w+", "ROI_BOX_PREDICTOR_bbox"),
        (r"mask\.([0246])\.\w+", lambda m: f"ROI_MASK_FEATURE_EXTRACTOR_fcn{int(m[1]) // 2 + 1}"),
        (r"mask\.8\.\w+", "ROI_MASK_PREDICTOR_fcn5"),
        (r"mask\.10\.\w+", "ROI_MASK_PREDICTOR_fcn_logits"),
    ],
    "rnnt": [
        (r"before\.\w+", "pre_rnn"),
        (r"after\.\w+", "post_rnn"),
        (r"embedding\.\w+", "pred_embed"),
        (r"predictor\.\w+", "dec_rnn"),
        (r"from_encoder\.\w+", "joint_enc"),
        (r"from_predictor\.\w+", "joint_pred"),
        (r"output\.\w+", "joint_net"),
    ],
    "bert": [
        (r"word\.weight", "bert/embeddings/word_embeddings"),
        (r"position\.weight", "bert/embeddings/position_embeddings"),
        (r"segment\.weight", "bert/embeddings/token_type_embeddings"),
        (r"norm\.(\w+)", lambda m: f"bert/embeddings/LayerNorm/{NORM[m[1]]}"),
        (r"layers\.(\d+)\.(\w+)\.(\w+)", _bert_layer),
        (r"pooler\.(\w+)", lambda m: f"bert/pooler/dense/{DENSE[m[1]]}"),
        (r"word_bias", "cls/predictions/output_bias"),
        (r"transform\.(\w+)", lambda m: f"cls/predictions/transform/dense/{DENSE[m[1]]}"),
        (r"transform_norm\.(\w+)", lambda m: f"cls/predictions/transform/LayerNorm/{NORM[m[1]]}"),
        (r"follow\.weight", "cls/seq_relationship/output_weights"),
        (r"follow\.bias", "cls/seq_relationship/output_bias"),
    ],
    "dlrm": [
        (r"embedding\.weight", "embeddings"),
        (r"(bottom|top)\.(\d)\.\w+", lambda m: f"{m[1]}_mlp_dense{int(m[2]) // 2 + 1}"),
    ],
    "minigo": [
        (r"0\.conv\.(\d+)\.weight", lambda m: f"{_counted('conv2d', m[1])}/kernel"),
        (r"0\.norm\.(\d+)\.(\w+)", lambda m: f"{_counted('batch_normalization', m[1])}/{NORM[m[2]]}"),
        (r"policy\.(\w+)", lambda m: f"dense/{DENSE[m[1]]}"),
        (r"value_hidden\.(\w+)", lambda m: f"dense_1/{DENSE[m[1]]}"),
        (r"value\.(\w+)", lambda m: f"dense_2/{DENSE[m[1]]}"),
    ],
}

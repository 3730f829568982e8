"""The list of families, and finding one by the name that config.json gives it."""

from __future__ import annotations

from podium.errors import InputError, nearest
from podium.models.families import llama, mistral, qwen2, qwen3, qwen3_moe
from podium.models.families.family import Family

FAMILIES: dict[str, Family] = {
    module.FAMILY.model_type: module.FAMILY for module in (llama, mistral, qwen2, qwen3, qwen3_moe)
}


def find_family(model_type: object) -> Family:
    """The family that config.json calls `model_type`.

    Raises:
        InputError: there is none of that name; with the list of those that are.
    """
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    known = ", ".join(FAMILIES)
    if model_type is None:
        raise InputError("config.json: model_type is missing", f"it names the family; known: {known}")
    close = nearest(str(model_type), FAMILIES)
    hint = f"{close} " if close.startswith("did you mean") else ""
    raise InputError(f"config.json: unknown model_type {model_type!r}", f"{hint}known families: {known}")

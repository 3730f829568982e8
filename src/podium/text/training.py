"""Training a byte-level BPE tokenizer: single digits, the same result for the same texts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from podium.errors import InputError
from podium.text.sameness import WORDS
from podium.text.tokenizer import SPECIALS, TEXT_END, TURN_END, Tokenizer

SMALLEST = 256 + len(SPECIALS)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer with at most `vocab_size` entries: every text can be written and comes back unchanged.

    Ids 0-4 are <|endoftext|>, <|im_start|>, <|im_end|>, <tool_call>, </tool_call>; then 256 bytes; then merges. The
    rule for words is Qwen2's, so that digits stay single tokens.

    Raises:
        InputError: vocab_size below 261, or no text.
    """
    if vocab_size < SMALLEST:
        raise InputError(f"vocab_size {vocab_size} is too small", f"a byte-level vocabulary needs at least {SMALLEST}")
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(text, normalized=False) for text in SPECIALS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    seen = 0

    def with_roles() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += 1
            yield text
            # The template writes these into every chat: they deserve an entry of their own.
            yield "user\nassistant\n"

    core.train_from_iterator(with_roles(), trainer)
    if not seen:
        raise InputError("no text to train a tokenizer on", "an earlier stage made no rows")
    # The trainer marks every token it is given as special; the tool tags are to stay visible in decoded text.
    definition = json.loads(core.to_str())
    for token in definition["added_tokens"]:
        token["special"] = SPECIALS[token["content"]]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": TURN_END,
        "pad_token": TEXT_END,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
    }
    return Tokenizer(
        {
            "tokenizer.json": json.dumps(definition, ensure_ascii=False).encode(),
            "tokenizer_config.json": json.dumps(settings).encode(),
        }
    )

"""Two ways of writing one tokenizer, and differences that matter."""

import copy
import json

import pytest

from podium.text import Tokenizer, train_tokenizer
from podium.text.sameness import difference
from podium.text.tokenizer import build
from tests.text.test_tokenizer import sentence_piece, trained

BASE = json.loads(train_tokenizer(["What is 12 + 30? 42", "print(12 + 30)"], 290)._files["tokenizer.json"])


def compare(change, base=BASE):
    other = copy.deepcopy(base)
    change(other)
    forth, back = (build(json.dumps(one), "x") for one in (base, other))
    said = difference(forth, back)
    assert (difference(back, forth) is None) == (said is None)
    return said


def model(**fields):
    return lambda definition: definition["model"].update(fields)


def without(*keys):
    def drop(definition):
        for key in keys:
            definition["model"].pop(key, None)
            definition.pop(key, None)

    return drop


SAME = {
    "as it is": lambda definition: None,
    "merges as strings": model(merges=[" ".join(pair) for pair in BASE["model"]["merges"]]),
    "older keys missing": without("ignore_merges", "byte_fallback", "fuse_unk", "dropout", "unk_token", "normalizer"),
    "nulls": model(ignore_merges=None, byte_fallback=None, fuse_unk=None),
    "empty affixes": model(continuing_subword_prefix="", end_of_word_suffix="", dropout=0.0),
    "no type": without("type"),
    "an empty sequence": lambda d: d.update(normalizer={"type": "Sequence", "normalizers": []}),
    "idle flags": lambda d: d["decoder"].update(use_regex=False, trim_offsets=False, add_prefix_space=False),
    "a padded file": lambda d: d.update(truncation=None, padding=None, version="1.0", post_processor=None),
    "order of added tokens and who hides them": lambda d: d["added_tokens"][0].update(special=False),
    "order of the vocabulary": lambda d: d["model"].update(vocab=dict(sorted(d["model"]["vocab"].items()))),
}
DIFFERENT = {
    "merges: number 0": lambda d: d["model"]["merges"].reverse(),
    "merges: number": lambda d: d["model"]["merges"].pop(),
    "ignore_merges": model(ignore_merges=True),
    "byte_fallback": model(byte_fallback=True),
    "normalizer": lambda d: d.update(normalizer={"type": "NFC"}),
    "pre_tokenizer": lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"),
    "decoder": lambda d: d.update(decoder=None),
    "lstrip of '<|im_start|>'": lambda d: d["added_tokens"][1].update(lstrip=True),
    "'<|im_start|>' is an added token": lambda d: d["added_tokens"].pop(1),
    "entry": lambda d: d["added_tokens"].append({**d["added_tokens"][0], "content": "<new>", "id": 400}),
}


@pytest.mark.parametrize("way", SAME)
def test_one_tokenizer_in_two_ways(way):
    assert compare(SAME[way]) is None


@pytest.mark.parametrize("words", DIFFERENT)
def test_differences_are_named(words):
    assert words in (compare(DIFFERENT[words]) or "nothing")


def test_scores_of_a_unigram_count():
    base = json.loads(sentence_piece()["tokenizer.json"])
    assert compare(lambda d: None, base) is None
    assert "vocab: number 290" in (compare(lambda d: d["model"]["vocab"][290].__setitem__(1, -9.5), base) or "")


OTHER_WORDS = {  # every character by itself
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}
TEXT = "In 2026 it's 18271 * 43432 = 793,546,072.\n\n  So x is (3)"


def folder_of(path, *, kind, named, own):
    """A model folder's tokenizer; `own`: it cuts words by a rule of its own."""
    trained().save(path)
    definition = json.loads((path / "tokenizer.json").read_text())
    if own:
        definition["pre_tokenizer"] = OTHER_WORDS
    (path / "tokenizer.json").write_text(json.dumps(definition))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "tokenizer_class": named}))
    (path / "config.json").write_text(json.dumps({"model_type": kind}))
    return build(json.dumps(definition), "x").encode(TEXT, add_special_tokens=False).ids


@pytest.mark.parametrize("own", [True, False], ids=["own rule", "Qwen2's rule"])
@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("qwen2", "LlamaTokenizerFast"),  # DeepSeek's distilled Qwens
        ("qwen2", "Qwen2Tokenizer"),
        ("qwen3", "Qwen2Tokenizer"),
        ("qwen3", None),
        ("qwen3", "PreTrainedTokenizerFast"),
        ("llama", "PreTrainedTokenizerFast"),
    ],
)
def test_words_are_cut_as_the_file_says_and_a_line_tells_where_transformers_differs(kind, named, own, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    ids = folder_of(tmp_path, kind=kind, named=named, own=own)
    assert Tokenizer.load(tmp_path).encode(TEXT) == ids
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    differs = theirs.encode(TEXT, add_special_tokens=False) != ids
    said = capsys.readouterr().err
    assert ("Qwen2's rule" in said) == differs
    assert said.count("docs/text.md") == differs
    Tokenizer.load(tmp_path)
    assert "docs/text.md" not in capsys.readouterr().err  # once is enough
    # The way to have transformers' ids: let it write the file.
    theirs.save_pretrained(tmp_path / "again")
    (tmp_path / "again" / "config.json").write_text(json.dumps({"model_type": kind}))
    assert Tokenizer.load(tmp_path / "again").encode(TEXT) == theirs.encode(TEXT, add_special_tokens=False)
    assert "docs/text.md" not in capsys.readouterr().err

"""Text to ids and back: what is special, what is not, and agreement with transformers."""

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from podium.errors import InputError
from podium.records import Message, Part
from podium.text import Tokenizer, train_tokenizer
from podium.text.training import WORDS

TAGS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "</s>", "<think>")
CORPUS = [
    "What is 12 + 30? The answer is \\boxed{42}.",
    "<tool_call>\nprint(12 + 30)\n</tool_call>",
    "\n```output\n42\n```\n",
    "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n",
] * 4
# A template that strips contents, writes bos, and knows a tool turn, as those of Llama 3 and Qwen do.
TEMPLATE = """{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' and not loop.first %}{{ raise_exception('system comes first') }}{% endif %}
    {{- '<|im_start|>' + message['role'] + '\\n\\n' }}
    {%- generation %}{{- message['content'] | trim + '<|im_end|>' }}{% endgeneration %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n\\n' }}
{%- endif %}
"""


def trained(size=330):
    return train_tokenizer(CORPUS, size)


def byte_level(*, ignore_merges=False, normaliser=None):
    """Like Qwen's and Llama 3's files: byte-level BPE, added tokens after the vocabulary, some not marked special."""
    base = json.loads(trained()._files["tokenizer.json"])
    core = tokenizers.Tokenizer.from_str(json.dumps({**base, "added_tokens": []}))
    assert isinstance(core.model, models.BPE)
    core.model.ignore_merges = ignore_merges
    if normaliser:
        core.normalizer = normaliser
    core.add_tokens([AddedToken(tag, special=tag.startswith("<|"), normalized=False) for tag in TAGS])
    settings_ = {"eos_token": "<|im_end|>", "bos_token": {"content": "<|endoftext|>", "__type": "AddedToken"}}
    return {"tokenizer.json": core.to_str().encode(), "tokenizer_config.json": json.dumps(settings_).encode()}


def word_level():
    """Every tag is an ordinary entry too, and words are cut at blanks only: the hard case."""
    core = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, "a": 1, "<": 2, "/s>": 3} | {tag: n for n, tag in enumerate(TAGS, 4)}, "[UNK]")
    )
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(list(TAGS))
    return {"tokenizer.json": core.to_str().encode(), "tokenizer_config.json": b'{"eos_token": "</s>"}'}


def sentence_piece():
    """Unigram with blanks as marks and bytes for what is unknown; tags are pieces of the vocabulary."""
    pieces = [("<unk>", 0.0), *((tag, 0.0) for tag in TAGS), *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    pieces += [(character, -3.0) for character in "▁abcdefghijklmnopqrstuvwxyz<>|_/"]
    core = tokenizers.Tokenizer(models.Unigram(pieces, 0, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens(list(TAGS))
    return {"tokenizer.json": core.to_str().encode(), "tokenizer_config.json": b'{"eos_token": "</s>"}'}


OURS = trained()
KINDS = {
    "ours": OURS,
    "byte-level": Tokenizer(byte_level()),
    "byte-level that ignores merges": Tokenizer(byte_level(ignore_merges=True)),
    "byte-level with NFC": Tokenizer(byte_level(normaliser=normalizers.NFC())),
    "words": Tokenizer(word_level()),
    "pieces": Tokenizer(sentence_piece()),
}
FRAGMENTS = [*TAGS, "<|", "|>", "im", "_end", "<", ">", "tool_call", "</", " ", "\n", "12", "a", "é", "🦉", "\u200b"]
tagged_text = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=12).map("".join)


def added_ids(tokenizer):
    return set(tokenizer._core.get_added_tokens_decoder())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80, deadline=None)
@given(text=tagged_text)
def test_printed_text_never_becomes_special(kind, text):
    tokenizer = KINDS[kind]
    ids = tokenizer.encode(text)
    assert added_ids(tokenizer).isdisjoint(ids)
    if kind in ("ours", "byte-level", "byte-level that ignores merges"):
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tag", TAGS)
def test_every_tag_can_be_printed(kind, tag):
    tokenizer = KINDS[kind]
    assert added_ids(tokenizer).isdisjoint(tokenizer.encode(f"a {tag} a"))
    if kind != "words":
        assert tokenizer.decode(tokenizer.encode(f"a {tag} a")) == f"a {tag} a"


@settings(max_examples=60, deadline=None)
@given(text=tagged_text)
def test_a_model_writes_tool_tags_and_nothing_else(text):
    tokenizer = KINDS["byte-level"]
    ids = tokenizer.encode_model(text)
    tool = {tokenizer.special_id("<tool_call>"), tokenizer.special_id("</tool_call>")}
    assert added_ids(tokenizer) & set(ids) <= tool
    assert sum(token in tool for token in ids) == text.count("<tool_call>") + text.count("</tool_call>")
    assert tokenizer.decode(ids) == text


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(tagged_text, min_size=1, max_size=3), generate=st.booleans())
def test_contents_of_a_chat_stay_plain(contents, generate):
    messages = [Message(role="user", content=content) for content in contents]
    ids = OURS.render(messages, generate)
    specials = [token for token in ids if token in added_ids(OURS)]
    start, end = OURS.special_id("<|im_start|>"), OURS.special_id("<|im_end|>")
    assert specials == [start, end] * len(contents) + [start] * generate
    written = "".join(f"<|im_start|>user\n{content}<|im_end|>\n" for content in contents)
    assert OURS.decode(ids) == written + "<|im_start|>assistant\n" * generate


def test_lone_surrogates_are_replaced():
    assert OURS.decode(OURS.encode("a\ud800b")) == "a\ufffdb"


CHATS = [
    [("user", "What is 12 + 30?")],
    [("system", "Be brief."), ("user", "  What is 12?  \n"), ("assistant", "\n12 "), ("user", "And 5 * 6?\n\n")],
    [("user", ""), ("assistant", "\n\n"), ("user", "Größe π ≈ 3.14 🦉")],
]


@pytest.mark.parametrize("template", ["own", "strips"])
@pytest.mark.parametrize("generate", [True, False])
@pytest.mark.parametrize("chat", range(len(CHATS)))
def test_chats_equal_those_of_transformers(template, generate, chat, tmp_path):
    transformers = pytest.importorskip("transformers")
    files = byte_level(normaliser=normalizers.NFC()) | {"chat_template.jinja": TEMPLATE.encode()}
    tokenizer = OURS if template == "own" else Tokenizer(files)
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    expected = theirs.apply_chat_template(
        [{"role": role, "content": content} for role, content in CHATS[chat]],
        add_generation_prompt=generate,
        return_dict=False,
    )
    messages = [Message(role=role, content=content) for role, content in CHATS[chat]]
    assert tokenizer.render(messages, generate) == expected
    assert Tokenizer.load(tmp_path).render(messages, generate) == expected


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=40).filter(lambda text: not any(tag in text for tag in TAGS)))
def test_plain_ids_equal_those_of_the_tokenizers_library(text):
    tokenizer = KINDS["byte-level with NFC"]
    assert tokenizer.encode(text) == tokenizer._core.encode(text, add_special_tokens=False).ids


def test_a_template_that_refuses_is_quoted():
    tokenizer = Tokenizer(byte_level() | {"chat_template.jinja": TEMPLATE.encode()})
    with pytest.raises(InputError, match="system comes first"):
        tokenizer.render([Message(role="user", content="a"), Message(role="system", content="b")])


def test_a_broken_template_is_an_input_error():
    tokenizer = Tokenizer(byte_level() | {"chat_template.jinja": b"{% for %}"})
    with pytest.raises(InputError, match="chat template"):
        tokenizer.render([Message(role="user", content="a")])


def test_no_template_is_said():
    with pytest.raises(InputError, match="no chat template"):
        Tokenizer(unturned()).render([Message(role="user", content="a")])


def unturned():
    core = tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a"))
    core.add_special_tokens(["</s>"])
    return {"tokenizer.json": core.to_str().encode(), "tokenizer_config.json": b'{"eos_token": "</s>"}'}


PROMPT = (Message(role="system", content="Solve."), Message(role="user", content="What is 12 + 30?"))
PARTS = (
    Part(role="model", text="I compute.\n<tool_call>\nprint(12 + 30)\n</tool_call>"),
    Part(role="tool", text="\n```output\n42 <tool_call> <|im_end|>\n```\n"),
    Part(role="model", text="It is \\boxed{42}. <|im_end|>"),
)


@pytest.mark.parametrize("tokenizer", [OURS, KINDS["byte-level"]], ids=["ours", "loaded"])
def test_a_solution_is_masked_part_by_part(tokenizer):
    ids, mask = tokenizer.encode_solution(PROMPT, PARTS)
    assert len(ids) == len(mask)
    expected = tokenizer.render(PROMPT)
    assert ids[: len(expected)] == expected
    assert not any(mask[: len(expected)])
    trained_text = tokenizer.decode([token for token, flag in zip(ids, mask, strict=True) if flag])
    assert trained_text == PARTS[0].text + PARTS[2].text + "<|im_end|>"
    assert ids[-1] == tokenizer.special_id("<|im_end|>")
    assert mask[-1]
    answer = ids[len(expected) :]
    assert answer.count(tokenizer.special_id("<tool_call>")) == 1
    assert answer.count(tokenizer.special_id("<|im_end|>")) == 1
    assert tokenizer.decode(answer) == "".join(part.text for part in PARTS) + "<|im_end|>"


def test_many_solutions_are_encoded_like_one():
    rows = [(PROMPT, PARTS), (PROMPT[1:], PARTS[:1]), (PROMPT, ()), (PROMPT[1:], PARTS[2:])]
    assert OURS.encode_solutions(rows) == [OURS.encode_solution(*row) for row in rows]
    assert OURS.encode_solutions([]) == []
    assert OURS.encode_batch(["a", "", "<|im_end|>"]) == [OURS.encode(text) for text in ("a", "", "<|im_end|>")]


def test_special_tokens_can_be_left_out_of_decoded_text():
    ids = OURS.encode_solution(PROMPT[1:], PARTS[:1])[0]
    shown = OURS.decode(ids, special=False)
    assert "<|im" not in shown
    assert "<tool_call>" in shown


def test_ids_beyond_the_vocabulary_have_no_text():
    assert OURS.decode([OURS.vocab_size + 5, *OURS.encode("a")]) == "a"


def test_stop_ids_come_from_every_file(tmp_path):
    for name, data in byte_level().items():
        (tmp_path / name).write_bytes(data)
    tokenizer = Tokenizer.load(tmp_path)
    think = tokenizer.special_id("<think>")
    assert tokenizer.eos_id == tokenizer.special_id("<|im_end|>")
    assert tokenizer.stop_ids == {tokenizer.eos_id, tokenizer.special_id("<|endoftext|>")}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [think]}))
    assert Tokenizer.load(tmp_path).stop_ids == {*tokenizer.stop_ids, think}


def written(folder, files, **configs):
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name, values in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    return Tokenizer.load(folder)


def endless(settings_=None):
    """A tokenizer whose files name no end: `<|done|>` and `</s>` are there, one added, one an ordinary entry."""
    core = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "</s>": 2, "b": 3}, "[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(["<|done|>"])
    return {"tokenizer.json": core.to_str().encode(), "tokenizer_config.json": json.dumps(settings_ or {}).encode()}


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        ({"eos_token_id": 4}, None, {4}),
        ({"eos_token_id": [4, 3]}, None, {4, 3}),
        ({"eos_token_id": [None, 3]}, None, {3}),
        ({"eos_token_id": 4}, {}, {4}),
        ({"eos_token_id": 4}, {"eos_token_id": None}, {4}),
        ({"eos_token_id": 4}, {"eos_token_id": []}, {4}),
        ({"eos_token_id": 4}, {"eos_token_id": -1}, {4}),
        ({"eos_token_id": 4}, {"eos_token_id": 3}, {3}),
        ({"eos_token_id": 4}, {"eos_token_id": [1, 3]}, {1, 3}),
        ({"eos_token_id": None, "text_config": {"eos_token_id": [4, 1]}}, None, {4, 1}),
        ({"text_config": {"eos_token_id": 4}}, {"bos_token_id": 1}, {4}),
    ],
)
def test_ends_of_a_folder_whose_tokenizer_names_none(config, generation, ends, tmp_path):
    configs = {"config": config} | ({} if generation is None else {"generation_config": generation})
    tokenizer = written(tmp_path, endless(), **configs)
    assert tokenizer.stop_ids == ends
    assert tokenizer.eos_id in ends


def test_ends_of_all_files_count_together(tmp_path):
    tokenizer = written(tmp_path, endless({"eos_token": "<|done|>"}), config={"eos_token_id": 3})
    assert (tokenizer.eos_id, tokenizer.stop_ids) == (4, {3, 4})


def test_no_end_anywhere_is_said(tmp_path):
    with pytest.raises(InputError, match=r"(?s)no end-of-text token.*eos_token_id in config\.json"):
        written(tmp_path, endless(), config={"eos_token_id": None})


@pytest.mark.parametrize("home", ["tokenizer_config.json", "special_tokens_map.json"])
def test_an_end_token_that_is_an_ordinary_entry_is_special(home, tmp_path):
    """The oracle is transformers, which also makes it special."""
    transformers = pytest.importorskip("transformers")
    settings_ = {"eos_token": "</s>", "unk_token": "[UNK]"}
    files = endless() | {home: json.dumps(settings_).encode()}
    tokenizer = written(tmp_path, files)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert tokenizer.eos_id == theirs.eos_token_id == 2
    assert tokenizer.pad_id == 2
    assert tokenizer.decode([1, 2], special=False) == theirs.decode([1, 2], skip_special_tokens=True) == "a"
    assert 2 not in tokenizer.encode("a </s>")


def test_files_come_back_as_they_were(tmp_path):
    files = byte_level() | {"chat_template.jinja": TEMPLATE.encode(), "merges.txt": b"#version: 0.2\n"}
    Tokenizer(files).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("tokenizer.json", b"{", "tokenizer.json is not JSON"),
        ("tokenizer.json", b"[]", "not a JSON object"),
        ("tokenizer.json", b'{"model": 1}', "not a tokenizer"),
        ("tokenizer_config.json", b"\xff", "tokenizer_config.json is not JSON"),
        ("tokenizer_config.json", b"{}", "no end-of-text token"),
    ],
)
def test_unusable_files_are_named(name, data, words, tmp_path):
    files = word_level() | {name: data}
    if words == "no end-of-text token":
        files["tokenizer.json"] = tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a")).to_str().encode()
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_tokenizer(tmp_path):
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_training_is_deterministic_and_cuts_digits():
    first, second = trained(), trained()
    assert first._files == second._files
    assert [first.special_id(tag) for tag in TAGS[:5]] == [0, 1, 2, 3, 4]
    digits = [first.encode(digit) for digit in "9041"]
    assert all(len(ids) == 1 for ids in digits)
    assert first.encode("9041") == [token for ids in digits for token in ids]
    assert first.vocab_size <= 330
    assert len(first.encode("The answer is")) < len("The answer is") / 2
    assert len(first.encode("assistant")) == 1


def test_training_needs_room_and_text():
    with pytest.raises(InputError, match="at least 261"):
        train_tokenizer(["a"], 260)
    with pytest.raises(InputError, match="no text"):
        train_tokenizer([], 300)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30), cuts=st.lists(st.integers(1, 3), min_size=40, max_size=40))
def test_streamed_text_equals_decoded_text(kind, text, cuts):
    tokenizer = KINDS[kind]
    ids = tokenizer.encode(text)
    stream = tokenizer.stream()
    pieces = []
    place = 0
    while place < len(ids):
        step = cuts[place % 40]
        pieces.append(stream.push(ids[place : place + step]))
        place += step
    assert "".join([*pieces, stream.flush()]) == tokenizer.decode(ids)
    if kind == "ours":
        assert all(text.startswith("".join(pieces[: n + 1])) for n in range(len(pieces)))


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, OURS.vocab_size - 1), max_size=20))
def test_any_ids_stream_like_they_decode(ids):
    """Also ids that spell no valid UTF-8; the oracle is the tokenizers library."""
    stream = OURS.stream()
    text = "".join([*(stream.push([token]) for token in ids), stream.flush()])
    assert text == OURS.decode(ids) == OURS._core.decode(ids, skip_special_tokens=False)


def test_half_a_character_waits():
    ids = OURS.encode("🦉!")
    stream = OURS.stream()
    assert [stream.push([token]) for token in ids] == ["", "", "", "🦉", "!"]
    assert stream.push(ids[:2]) == ""
    assert stream.flush() == "\ufffd"
    assert stream.push(OURS.encode("a")) == "a"


def test_words_rule_is_that_of_qwen():
    rule = pre_tokenizers.Split(Regex(WORDS), "isolated")
    pieces = [piece for piece, _ in rule.pre_tokenize_str("It's 120+3\n\n  x")]
    assert pieces == ["It", "'s", " ", "1", "2", "0", "+", "3", "\n\n", " ", " x"]

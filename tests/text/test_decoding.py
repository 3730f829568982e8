"""How single tokens are spelled: blanks, bytes and unfinished characters."""

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from podium.text import Tokenizer
from tests.text.test_tokenizer import byte_level

WORDS = ["▁the", "▁", "▁Gr", "öß", "e", "t", "h", "▁▁", "a"]


def llama(decoder=None):
    """Like Llama 2's file: BPE with byte fallback, blanks as marks, the first of a text dropped again."""
    entries = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    core = tokenizers.Tokenizer(
        models.BPE({entry: number for number, entry in enumerate(entries)}, [], unk_token="<unk>", byte_fallback=True)
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoder or decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer(
        {"tokenizer.json": core.to_str().encode(), "tokenizer_config.json": json.dumps({"eos_token": "</s>"}).encode()}
    )


LLAMA = llama()
METASPACE = llama(decoders.Metaspace())


def ids(tokenizer, *entries):
    return [tokenizer._core.token_to_id(entry) for entry in entries]


@pytest.mark.parametrize("tokenizer", [LLAMA, METASPACE], ids=["replace", "metaspace"])
def test_blanks_of_single_tokens_are_kept(tokenizer):
    (the,) = ids(tokenizer, "▁the")
    assert tokenizer.token_bytes(the) == b" the"
    assert tokenizer.speller().spell(the) == " the"
    assert [tokenizer.token_bytes(token) for token in ids(tokenizer, "▁", "▁▁", "öß")] == [b" ", b"  ", "öß".encode()]
    assert tokenizer.token_bytes(ids(tokenizer, "</s>")[0]) == b"</s>"


def test_byte_pieces_are_their_bytes():
    assert [LLAMA.token_bytes(token) for token in ids(LLAMA, "<0x0A>", "<0xE2>", "<0x3C>")] == [b"\n", b"\xe2", b"<"]


def test_an_unfinished_character_is_spelled_by_the_token_that_ends_it():
    owl = ids(LLAMA, *(f"<0x{byte:02X}>" for byte in "🦉".encode()), "a")
    speller = LLAMA.speller()
    assert [speller.push(token) for token in owl[:3]] == ["", "", ""]
    assert (speller.spell(owl[3]), speller.spell(owl[4])) == ("🦉", "\ufffda")
    assert speller.offset == 0
    assert [speller.push(token) for token in owl[3:]] == ["🦉", "a"]
    assert speller.offset == 2


def test_offsets_are_those_of_the_text():
    """A text's first blank is in the token and not in the text."""
    tokens = ids(LLAMA, "▁the", "▁Gr", "öß", "e")
    speller = LLAMA.speller(begins=True)
    offsets = []
    for token in tokens:
        offsets.append(speller.offset)
        speller.push(token)
    assert LLAMA.decode(tokens) == "the Größe"
    assert offsets == [len(LLAMA.decode(tokens[:place])) for place in range(4)]
    # Entries come in another order from every tokenizer, those of two blanks among them.
    assert all(llama().speller(begins=True)._drops_space for _ in range(20))


@pytest.mark.parametrize("tokenizer", [LLAMA, METASPACE], ids=["replace", "metaspace"])
def test_text_that_goes_on_keeps_its_first_blank(tokenizer):
    the, e = ids(tokenizer, "▁the", "e")
    stream = tokenizer.stream(ids(tokenizer, "</s>", "▁Gr"))
    assert [stream.push([token]) for token in (the, e, the)] == [" the", "e", " the"]
    assert tokenizer.stream().push([the]) == "the"


@settings(max_examples=60, deadline=None)
@given(tokens=st.lists(st.integers(0, 320), max_size=12))
@pytest.mark.parametrize("kind", ["llama", "byte-level"])
def test_spellings_joined_are_the_text(kind, tokens):
    tokenizer = LLAMA if kind == "llama" else BYTES
    tokens = [token for token in tokens if 3 <= token < tokenizer.vocab_size]
    speller = tokenizer.speller()
    joined = "".join(speller.push(token) for token in tokens)
    assert speller.offset == len(joined)
    data = b"".join(map(tokenizer.token_bytes, tokens))
    assert data.decode(errors="replace").startswith(joined)
    if kind == "byte-level":
        assert data == b"".join(map(tokenizer.token_bytes, tokens))
        assert tokenizer.decode(tokens).startswith(joined)


BYTES = Tokenizer(byte_level())

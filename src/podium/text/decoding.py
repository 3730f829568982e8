"""Token ids back to text, at once or piece by piece, never showing half a character.

Knows the two ways tokenizers spell text: bytes (GPT-2's byte alphabet, used by Llama 3 and Qwen), which are joined
and read as UTF-8, and everything else, which is left to the tokenizers library.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import tokenizers

REPLACEMENT = "\ufffd"


class Decoder(Protocol):
    """Turns a stream of ids into a stream of text. The pieces joined are the text of all ids."""

    def push(self, ids: Iterable[int]) -> str:
        """The whole characters that these ids complete; bytes of an unfinished one wait."""
        ...

    def flush(self) -> str:
        """What waits, with U+FFFD for an unfinished character; the decoder starts anew."""
        ...


class ByteDecoder:
    """For byte-level tokenizers: ids are bytes."""

    def __init__(self, bytes_of: dict[int, bytes]) -> None:
        self._bytes_of = bytes_of
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: Iterable[int]) -> str:
        return self._utf8.decode(b"".join([self._bytes_of.get(token, b"") for token in ids]))

    def flush(self) -> str:
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text


class WindowDecoder:
    """For other tokenizers: decodes a short window of ids and holds back while it ends in the middle of a character.

    The ids of the last emitted piece stay in the window, because the text of an id may depend on the one before
    (SentencePiece drops the space of a text's first word). `after` are the ids that the text goes on behind.
    """

    def __init__(self, core: tokenizers.Tokenizer, after: Sequence[int] = ()) -> None:
        self._core = core
        self._context: list[int] = []
        for token in reversed(after[-4:]):
            text = core.decode([token], skip_special_tokens=False)
            if text and not text.endswith(REPLACEMENT):
                self._context = [token]
                break
        self._waiting: list[int] = []

    def push(self, ids: Iterable[int]) -> str:
        pieces = []
        for token in ids:
            self._waiting.append(token)
            text = self._text()
            if text and not text.endswith(REPLACEMENT):
                pieces.append(text)
                self._context, self._waiting = self._waiting, []
        return "".join(pieces)

    def flush(self) -> str:
        text = self._text() if self._waiting else ""
        self._context, self._waiting = [], []
        return text

    def _text(self) -> str:
        before = self._core.decode(self._context, skip_special_tokens=False)
        return self._core.decode(self._context + self._waiting, skip_special_tokens=False)[len(before) :]


class Speller:
    """What each token of a text adds to it, told for tokens that were drawn and for those that might have been.

    Joined, the spellings are the text: a token that leaves a character unfinished adds nothing, and the one that
    finishes it adds all of it. `offset` counts the characters so far.
    """

    def __init__(self, bytes_of: Callable[[int], bytes], drops_space: bool = False) -> None:
        """`drops_space`: the text leaves out the blank it begins with, as SentencePiece does at a text's beginning."""
        self._bytes_of = bytes_of
        self._drops_space = drops_space
        self._unfinished = b""
        self.offset = 0

    def spell(self, token: int) -> str:
        """What the token would add."""
        return self._read(token)[0]

    def push(self, token: int) -> str:
        """What the token adds; the text goes on behind it."""
        text, self._unfinished = self._read(token)
        self.offset += len(text)
        if self._drops_space and text:
            self.offset -= text.startswith(" ")
            self._drops_space = False
        return text

    def _read(self, token: int) -> tuple[str, bytes]:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        text = utf8.decode(self._unfinished + self._bytes_of(token))
        return text, utf8.getstate()[0]


_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def piece_bytes(piece: str, mark: str, byte_fallback: bool) -> bytes:
    """The bytes of a SentencePiece entry: `mark` stands for a blank, <0x0A> for a byte."""
    byte = _BYTE_PIECE.fullmatch(piece) if byte_fallback else None
    return bytes([int(byte[1], 16)]) if byte else piece.replace(mark, " ").encode()


def blank_mark(decoder: Any) -> tuple[str | None, bool]:
    """(what stands for a blank in the entries, or None where that is no single mark; whether <0x0A> is a byte), of the
    decoder of a tokenizer.json."""
    if not isinstance(decoder, dict):
        return None, False
    steps = decoder.get("decoders") or [] if decoder.get("type") == "Sequence" else [decoder]
    mark = None
    for step in steps:
        if step.get("type") == "Metaspace":
            mark = step.get("replacement", "▁")
        if step.get("type") == "Replace" and step.get("content") == " ":
            mark = (step.get("pattern") or {}).get("String", mark)
    return mark, any(step.get("type") == "ByteFallback" for step in steps)


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte (openai/gpt-2, encoder.py, bytes_to_unicode), the other way round."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def byte_table(vocabulary: dict[str, int], added: Sequence[tuple[int, str]]) -> dict[int, bytes]:
    """The bytes of every id: ordinary entries in GPT-2's alphabet, added tokens as they are written."""
    alphabet = byte_alphabet()
    table = {}
    for text, token in vocabulary.items():
        try:
            table[token] = bytes([alphabet[character] for character in text])
        except KeyError:
            table[token] = text.encode()
    table.update((token, text.encode()) for token, text in added)
    return table

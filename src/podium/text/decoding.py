"""Token ids back to text, at once or piece by piece, never showing half a character.

Knows the two ways tokenizers spell text: bytes (GPT-2's byte alphabet, used by Llama 3 and Qwen), which are joined
and read as UTF-8, and everything else, which is left to the tokenizers library.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import Protocol

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
    (SentencePiece spaces).
    """

    def __init__(self, core: tokenizers.Tokenizer) -> None:
        self._core = core
        self._context: list[int] = []
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

"""Text to token ids, with one promise: text can never become a special token, only the template and tags can.

Wraps a Hugging Face tokenizer (tokenizer.json, tokenizer_config.json, chat_template.jinja) without transformers.
Knows tags and turns, not what is trained or served. The promise is kept by encoding with a copy of the tokenizer that
has no added tokens at all; ids of added tokens are put in by name, between the pieces of text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from podium.errors import InputError
from podium.records import Message, Part, atomic_file, read_json, storage_errors
from podium.text.decoding import ByteDecoder, Decoder, WindowDecoder, byte_table
from podium.text.template import CHATML, ChatTemplate

TEXT_END, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TOOL_TAGS = ("<tool_call>", "</tool_call>")
# Content -> whether it is hidden when special tokens are left out of decoded text. Tool tags are not, as in Qwen.
SPECIALS = {TEXT_END: True, TURN_START: True, TURN_END: True, TOOL_TAGS[0]: False, TOOL_TAGS[1]: False}
# Tokens that end a turn or a text in the families we read, whatever a folder says.
_STOPS = (TURN_END, TEXT_END, "<|eot_id|>", "<|end_of_text|>", "<|eom_id|>")
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)

Segment = str | int
"""A piece of plain text, or the id of an added token."""


class Tokenizer:
    """Attributes: vocab_size (largest id + 1), eos_id (end of a turn), pad_id, stop_ids (ids that end an answer)."""

    def __init__(self, files: Mapping[str, bytes], *, where: str = "tokenizer", stop_ids: Iterable[int] = ()) -> None:
        """From the contents of the files of a Hugging Face tokenizer; `where` stands in errors.

        Raises:
            InputError: a file is not JSON or not a tokenizer, or no end-of-text token can be found.
        """
        self._files = {name: files[name] for name in FILES if name in files}
        definition = _object(files, "tokenizer.json", where)
        settings = _object(files, "tokenizer_config.json", where) if "tokenizer_config.json" in files else {}
        self._core = _build(files["tokenizer.json"].decode(errors="replace"), where)
        plain = {**definition, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._plain = _build(json.dumps(plain), where)

        added = self._core.get_added_tokens_decoder()
        self._added: dict[str, int] = {token.content: number for number, token in added.items()}
        self._hidden = {number for number, token in added.items() if token.special}
        self._forbidden = frozenset(added)
        self._added_pattern = _alternatives(
            [
                (r"\s*" if token.lstrip else "", token.content, r"\s*" if token.rstrip else "")
                for token in added.values()
            ]
        )
        self._tags = {tag: self._added[tag] for tag in TOOL_TAGS if tag in self._added}
        self._tag_pattern = _alternatives([("", tag, "") for tag in self._tags])

        vocabulary = self._core.get_vocab(with_added_tokens=True)
        self.vocab_size: int = max(vocabulary.values()) + 1
        self._bytes_of = (
            byte_table(vocabulary, [(number, token.content) for number, token in added.items()])
            if _is_byte_level(definition.get("decoder"))
            else None
        )

        names = {
            key: _content(value) for key, value in settings.items() if key.endswith("_token") and value is not None
        }
        stops = [name for name in (names.get("eos_token"), *_STOPS) if name in self._added]
        if not stops:
            raise InputError(f"{where}: no end-of-text token", "set eos_token in tokenizer_config.json")
        self.eos_id: int = self._added[stops[0]]
        self.pad_id: int = self._added.get(names.get("pad_token", ""), self.eos_id)
        self.stop_ids: frozenset[int] = frozenset({*(self._added[name] for name in stops), *stop_ids})
        source = _template_source(files, settings)
        if source is None and TURN_START in self._added and TURN_END in self._added:
            source = CHATML
            self._files["chat_template.jinja"] = CHATML.encode()
        self._template = None if source is None else ChatTemplate(source, names, where)
        self._turn_end = (
            self._added[TURN_END] if source and TURN_END in source and TURN_END in self._added else self.eos_id
        )
        self._where = where

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """From the files of a Hugging Face folder.

        Raises:
            InputError: no tokenizer.json, or files that cannot be read as a tokenizer.
        """
        folder = Path(folder)
        files = {}
        for name in FILES:
            if (folder / name).exists():
                with storage_errors(folder / name, "reading"):
                    files[name] = (folder / name).read_bytes()
        if "tokenizer.json" not in files:
            raise InputError(f"{folder}: no tokenizer.json", "name a Hugging Face folder with a fast tokenizer")
        stops: Any = None
        if (folder / "generation_config.json").exists():
            generation = read_json(folder / "generation_config.json")
            stops = generation.get("eos_token_id") if isinstance(generation, dict) else None
        stops = [] if stops is None else stops if isinstance(stops, list) else [stops]
        return cls(files, where=str(folder), stop_ids=(stop for stop in stops if isinstance(stop, int)))

    def save(self, folder: Path | str) -> None:
        """Write the files; those of a loaded tokenizer come back as they were."""
        for name, data in self._files.items():
            with atomic_file(Path(folder) / name) as file:
                file.write(data)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: no id is an added token, whatever the text says."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of many texts, on all cores."""
        return self._encode_segments([[text] for text in texts])

    def encode_model(self, text: str) -> list[int]:
        """Ids of text a model wrote: <tool_call> and </tool_call> become special, nothing else does."""
        return self._encode_segments([self._model_segments(text)])[0]

    def render(self, messages: Sequence[Message], generate: bool = True) -> list[int]:
        """Ids of a chat in the tokenizer's own template; contents are plain.

        `generate` opens the assistant's turn. What the template adds may hold special tokens, contents may not.

        Raises:
            InputError: the tokenizer has no chat template, or the template refuses these messages.
        """
        return self._encode_segments([self._chat_segments(messages, generate)])[0]

    def encode_solution(self, prompt: Sequence[Message], parts: Sequence[Part]) -> tuple[list[int], list[bool]]:
        """Ids and loss mask of a solution: True where the model wrote the token, the end of the turn included."""
        return self.encode_solutions([(prompt, parts)])[0]

    def encode_solutions(
        self, solutions: Sequence[tuple[Sequence[Message], Sequence[Part]]]
    ) -> list[tuple[list[int], list[bool]]]:
        """`encode_solution` of many (prompt, parts), on all cores."""
        stretches: list[list[Segment]] = []
        trained: list[list[bool]] = []
        for prompt, parts in solutions:
            stretches.append(self._chat_segments(prompt, generate=True))
            stretches.extend(self._model_segments(part.text) if part.role == "model" else [part.text] for part in parts)
            stretches.append([self._turn_end])
            trained.append([False, *(part.role == "model" for part in parts), True])
        encoded = iter(self._encode_segments(stretches))
        results = []
        for flags in trained:
            ids: list[int] = []
            mask: list[bool] = []
            for flag in flags:
                stretch = next(encoded)
                ids += stretch
                mask += [flag] * len(stretch)
            results.append((ids, mask))
        return results

    def decode(self, ids: Sequence[int], *, special: bool = True) -> str:
        """Text of ids. `special=False` leaves out the tokens that are marked special (not the tool tags).

        Ids outside the vocabulary, which a padded embedding can produce, have no text.
        """
        kept = ids if special else [token for token in ids if token not in self._hidden]
        if self._bytes_of is None:
            return self._core.decode(list(kept), skip_special_tokens=False)
        return b"".join([self._bytes_of.get(token, b"") for token in kept]).decode(errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes an id stands for; they may be part of a character."""
        if self._bytes_of is None:
            return self._core.decode([token], skip_special_tokens=False).encode()
        return self._bytes_of.get(token, b"")

    def piece(self, token: int) -> str:
        """The token as the vocabulary spells it: "Ġthe" in byte-level BPE, "▁the" or "<0x0A>" in SentencePiece."""
        return self._core.id_to_token(token) or ""

    def stream(self) -> Decoder:
        """A decoder for ids that arrive one by one."""
        return WindowDecoder(self._core) if self._bytes_of is None else ByteDecoder(self._bytes_of)

    def special_id(self, content: str) -> int | None:
        """The id of an added token such as <tool_call>, if there is one."""
        return self._added.get(content)

    def _model_segments(self, text: str) -> list[Segment]:
        return _split(text, self._tag_pattern, self._tags)

    def _chat_segments(self, messages: Sequence[Message], generate: bool) -> list[Segment]:
        if self._template is None:
            raise InputError(
                f"{self._where}: the tokenizer has no chat template", "add chat_template.jinja, or give a plain prompt"
            )
        rendered, fill = self._template.render(messages, generate)
        return [
            fill(segment) if isinstance(segment, str) else segment
            for segment in _split(rendered, self._added_pattern, self._added)
        ]

    def _encode_segments(self, stretches: Sequence[Sequence[Segment]]) -> list[list[int]]:
        # Rows share many stretches (turn openings, stock phrases): each distinct one is encoded once.
        texts = list(dict.fromkeys(part for stretch in stretches for part in stretch if isinstance(part, str)))
        storable = [_storable(text) for text in texts]
        if len(texts) == 1:
            # One text is not worth waking the thread pool.
            encodings = [self._plain.encode(storable[0], add_special_tokens=False)]
        else:
            encodings = self._plain.encode_batch_fast(storable, add_special_tokens=False)
        encoded: dict[Segment, list[int]] = {}
        for text, written, encoding in zip(texts, storable, encodings, strict=True):
            ids = encoding.ids
            encoded[text] = ids if self._forbidden.isdisjoint(ids) else self._encode_apart(written)
        results = []
        for stretch in stretches:
            ids = []
            for part in stretch:
                if isinstance(part, int):
                    ids.append(part)
                else:
                    ids += encoded[part]
            results.append(ids)
        return results

    def _encode_apart(self, text: str) -> list[int]:
        # Some vocabularies (Unigram, BPE with ignore_merges) spell an added token as an ordinary entry too: cut the
        # text inside it, so that neither half can be read as the token.
        encoding = self._plain.encode(text, add_special_tokens=False)
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token in self._forbidden:
                if end - start < 2:
                    raise InputError(
                        f"{self._where}: {text[start:end]!r} cannot be written without a special token",
                        "remove the character from the text",
                    )
                return self._encode_apart(text[: start + 1]) + self._encode_apart(text[start + 1 :])
        return encoding.ids


def _split(text: str, pattern: re.Pattern[str] | None, ids: Mapping[str, int]) -> list[Segment]:
    if pattern is None:
        return [text] if text else []
    segments: list[Segment] = []
    place = 0
    for match in pattern.finditer(text):
        if match.start() > place:
            segments.append(text[place : match.start()])
        segments.append(ids[match[0]] if match[0] in ids else ids[match[0].strip()])
        place = match.end()
    if place < len(text):
        segments.append(text[place:])
    return segments


def _alternatives(tokens: Sequence[tuple[str, str, str]]) -> re.Pattern[str] | None:
    # Longest first: of two tokens that start alike, the longer one is meant.
    ordered = sorted(tokens, key=lambda token: -len(token[1]))
    return (
        re.compile("|".join(before + re.escape(text) + after for before, text, after in ordered)) if ordered else None
    )


def _storable(text: str) -> str:
    # Lone surrogates (broken \ud800 escapes in JSON) are no text; they would stop the tokenizer.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _build(definition: str, where: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(definition)
    except Exception as error:  # the library raises nothing narrower
        raise InputError(
            f"{where}: tokenizer.json is not a tokenizer ({error})", "the file may be truncated: copy it again"
        ) from error


def _object(files: Mapping[str, bytes], name: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(files[name])
    except ValueError as error:
        raise InputError(
            f"{where}: {name} is not JSON ({error})", "the file may be truncated: copy it again"
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: {name} is not a JSON object", "copy the file again")
    return value


def _is_byte_level(decoder: Any) -> bool:
    if not isinstance(decoder, dict):
        return False
    if decoder.get("type") == "Sequence":
        parts = decoder.get("decoders") or []
        return len(parts) == 1 and _is_byte_level(parts[0])
    return decoder.get("type") == "ByteLevel"


def _content(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _template_source(files: Mapping[str, bytes], settings: Mapping[str, Any]) -> str | None:
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].decode(errors="replace")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None

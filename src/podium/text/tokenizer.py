"""Text to token ids, with one promise: text can never become a special token, only the template and tags can.

Wraps a Hugging Face tokenizer (tokenizer.json, tokenizer_config.json, chat_template.jinja) without transformers.
Knows tags and turns, not what is trained or served. The promise is kept by encoding with a copy of the tokenizer that
has no added tokens at all; ids of added tokens are put in by name, between the pieces of text.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from podium.errors import InputError
from podium.records import Message, Part, token_ids
from podium.storage import atomic_file, read_json, storage_errors
from podium.text.chat import chat_turns
from podium.text.decoding import ByteDecoder, Decoder, Speller, WindowDecoder, blank_mark, byte_table, piece_bytes
from podium.text.origin import MESSAGE, TEMPLATE, UNSURE
from podium.text.sameness import cuts_words_like_qwen2
from podium.text.template import CHATML, ChatTemplate, Rendered
from podium.toolcode import CLOSE_TAG, OPEN_TAG

TEXT_END, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Content -> whether it is hidden when special tokens are left out of decoded text. Tool tags are not, as in Qwen.
SPECIALS = {TEXT_END: True, TURN_START: True, TURN_END: True, OPEN_TAG: False, CLOSE_TAG: False}
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

_SAID: set[Path] = set()  # folders that a line was said about

Segment = str | int
"""A piece of plain text, or the id of an added token."""


class Tokenizer:
    """Attributes: vocab_size (largest id + 1), eos_id (end of a turn), pad_id, stop_ids (ids that end an answer)."""

    def __init__(self, files: Mapping[str, bytes], *, where: str = "tokenizer", stop_ids: Iterable[int] = ()) -> None:
        """From the contents of the files of a Hugging Face tokenizer.

        Args:
            where: stands in errors.
            stop_ids: ids that end an answer beside those the files name; the first is the end of a turn where the
                files name none.

        Raises:
            InputError: a file is not JSON or not a tokenizer, or no end-of-text token can be found.
        """
        self._files = {name: files[name] for name in FILES if name in files}
        definition = _object(files, "tokenizer.json", where)
        settings = _object(files, "tokenizer_config.json", where) if "tokenizer_config.json" in files else {}
        names = _named_tokens(files, settings, where)
        self._core = build(files["tokenizer.json"].decode(errors="replace"), where)
        # As in transformers: a token that has a role is special, also where tokenizer.json has it as a plain entry.
        there = {token.content for token in self._core.get_added_tokens_decoder().values()}
        # Not the unknown token, which every text may need.
        entries = [name for role, name in names.items() if role != "unk_token" and name not in there]
        self._core.add_special_tokens([name for name in entries if self._core.token_to_id(name) is not None])
        plain = {**definition, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._plain = build(json.dumps(plain), where)

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
        self._tags = {tag: self._added[tag] for tag in (OPEN_TAG, CLOSE_TAG) if tag in self._added}
        self._tag_pattern = _alternatives([("", tag, "") for tag in self._tags])

        vocabulary = self._core.get_vocab(with_added_tokens=True)
        self.vocab_size: int = max(vocabulary.values()) + 1
        self._bytes_of = (
            byte_table(vocabulary, [(number, token.content) for number, token in added.items()])
            if _is_byte_level(definition.get("decoder"))
            else None
        )
        self._mark, self._byte_fallback = blank_mark(definition.get("decoder"))

        named = [self._added[name] for name in (names.get("eos_token"),) if name in self._added]
        known = [self._added[name] for name in _STOPS if name in self._added]
        stops = [*named, *stop_ids, *known]
        if not stops:
            raise InputError(
                f"{where}: no end-of-text token",
                "set eos_token in tokenizer_config.json or eos_token_id in config.json",
            )
        self.eos_id: int = (named or known or stops)[0]
        self.pad_id: int = self._added.get(names.get("pad_token", ""), self.eos_id)
        self.stop_ids: frozenset[int] = frozenset(stops)
        source = _template_source(files, settings)
        if source is None and TURN_START in self._added and TURN_END in self._added:
            source = CHATML
            self._files["chat_template.jinja"] = CHATML.encode()
        self._template = None if source is None else ChatTemplate(source, names, where)
        self._turn_end = (
            self._added[TURN_END] if source and TURN_END in source and TURN_END in self._added else self.eos_id
        )
        self._marks = _marks(self._added)
        self._swaps_letters = source is not None and "replace" in source
        self._where = where

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """From the files of a Hugging Face folder.

        Answers also end at eos_token_id of generation_config.json or, where that says nothing, of config.json.

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
        tokenizer = cls(files, where=str(folder), stop_ids=_ends(folder))
        tokenizer._say_whose_words(folder)
        return tokenizer

    def _say_whose_words(self, folder: Path) -> None:
        """One line on standard error, once per folder, where transformers 5 would cut words by another rule."""
        settings = _object(self._files, "tokenizer_config.json", self._where) if len(self._files) > 1 else {}
        config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
        kind = config.get("model_type") if isinstance(config, dict) else None
        named = str(settings.get("tokenizer_class") or "")
        replaced = kind == "qwen2" or named.startswith("Qwen2Tokenizer") or (kind == "qwen3" and not named)
        if replaced and folder.resolve() not in _SAID and not cuts_words_like_qwen2(self._core):
            _SAID.add(folder.resolve())
            print(
                f"{folder}: words are cut as tokenizer.json says, which the model was made with; transformers 5 and "
                "vLLM put Qwen2's rule in its place and give other ids (docs/text.md)",
                file=sys.stderr,
            )

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

    def render(self, messages: Sequence[Message | Mapping[str, Any]], generate: bool = True) -> list[int]:
        """Ids of a chat in the tokenizer's own template, as transformers renders it; contents are plain.

        What the template writes may hold special tokens, what a message says may not.

        Args:
            messages: ours, or the dictionaries of a chat API, with parts, earlier thinking and tool calls.
            generate: opens the assistant's turn.

        Raises:
            InputError: the tokenizer has no chat template, the template refuses these messages, or it rewrites one
                that spells a special token so that nobody can tell whose the token is.
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
        if self._bytes_of is not None:
            return self._bytes_of.get(token, b"")
        if self._mark is None or token in self._forbidden:
            return self._core.decode([token], skip_special_tokens=False).encode()
        return piece_bytes(self._core.id_to_token(token) or "", self._mark, self._byte_fallback)

    def piece(self, token: int) -> str:
        """The token as the vocabulary spells it: "Ġthe" in byte-level BPE, "▁the" or "<0x0A>" in SentencePiece."""
        return self._core.id_to_token(token) or ""

    def stream(self, after: Sequence[int] = ()) -> Decoder:
        """A decoder for ids that arrive one by one, behind a text of the ids `after`."""
        return WindowDecoder(self._core, after) if self._bytes_of is None else ByteDecoder(self._bytes_of)

    def speller(self, *, begins: bool = False) -> Speller:
        """What single tokens add to a text; `begins`: they are its first ones."""
        return Speller(self.token_bytes, begins and self._drops_first_space)

    @cached_property
    def _drops_first_space(self) -> bool:
        if self._mark is None:
            return False
        # An entry with one blank and something behind it; of two blanks one would be left.
        marked = (
            number
            for entry, number in self._core.get_vocab().items()
            if entry.startswith(self._mark) and entry.lstrip(self._mark) == entry[1:] != ""
        )
        first = next(marked, None)
        return first is not None and not self._core.decode([first]).startswith(" ")

    def special_id(self, content: str) -> int | None:
        """The id of an added token such as <tool_call>, if there is one."""
        return self._added.get(content)

    def _model_segments(self, text: str) -> list[Segment]:
        return _split(text, self._tag_pattern, self._tags)

    def _chat_segments(self, messages: Sequence[Message | Mapping[str, Any]], generate: bool) -> list[Segment]:
        if self._template is None:
            raise InputError(
                f"{self._where}: the tokenizer has no chat template", "add chat_template.jinja, or give a plain prompt"
            )
        turns = chat_turns(messages, self._template.contents)
        # Most contents have no character that any special token could be made of.
        trace = self._swaps_letters or self._marks is None or _says(turns, self._marks)
        rendered = self._template.render(turns, generate, trace)
        if not trace:
            return _split(rendered.text, self._added_pattern, self._added)
        own = self._own_tokens(rendered, turns, generate)
        segments: list[Segment] = []
        place = 0
        for start, end, token in own:
            if start > place:
                segments.append(rendered.text[place:start])
            segments.append(token)
            place = end
        if place < len(rendered.text):
            segments.append(rendered.text[place:])
        return segments

    def _own_tokens(
        self, rendered: Rendered, turns: Sequence[Mapping[str, Any]], generate: bool
    ) -> list[tuple[int, int, int]]:
        """(start, end, id) of the added tokens that the template wrote. Those in a message's text are left out."""
        found: list[tuple[int, int, int, int]] = []
        place = 0
        while self._added_pattern is not None and (match := self._added_pattern.search(rendered.text, place)):
            content = match[0] if match[0] in self._added else match[0].strip()
            start = rendered.text.index(content, match.start())
            origins = set(rendered.origins[start : start + len(content)])
            origin = MESSAGE if MESSAGE in origins else UNSURE if UNSURE in origins else TEMPLATE
            if origin == MESSAGE:
                place = start + 1
                continue
            found.append((match.start(), match.end(), self._added[content], origin))
            place = match.end()
        unsure = Counter(token for _, _, token, origin in found if origin == UNSURE)
        if not unsure:
            return [each[:3] for each in found]
        # The template mixed its own text with a message's. What it writes when the messages spell no token is its own.
        sure = Counter(token for _, _, token, origin in found if origin == TEMPLATE)
        assert self._template is not None
        harmless = self._template.render(_without(turns, self._marks), generate, trace=False).text
        usual = Counter(part for part in _split(harmless, self._added_pattern, self._added) if isinstance(part, int))
        kept = set()
        for token, count in unsure.items():
            if usual[token] == sure[token] + count:
                kept.add(token)
            elif usual[token] != sure[token]:
                raise InputError(
                    f"{self._where}: the chat template rewrites a message that spells "
                    f"{self._core.id_to_token(token)!r}, so that nobody can tell whose it is",
                    "take it out of the message, or use a template that leaves contents as they are",
                )
        return [(start, end, token) for start, end, token, origin in found if origin == TEMPLATE or token in kept]

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


def _marks(added: Iterable[str]) -> re.Pattern[str] | None:
    """A character of which every added token has one, in either case; None where one of them has none."""
    left, chosen = list(added), set()
    while left:
        counts = Counter(character for token in left for character in set(token) if not character.isalnum())
        if not counts:
            counts = Counter(character for token in left for character in token)
        if not counts:
            return None
        best = max(counts, key=lambda character: (not character.isspace(), counts[character]))
        chosen |= {best, best.lower(), best.upper()}
        left = [token for token in left if best not in token]
    return re.compile("|".join(map(re.escape, sorted(chosen)))) if chosen else re.compile("(?!)")


def _says(value: Any, marks: re.Pattern[str]) -> bool:
    if isinstance(value, str):
        return marks.search(value) is not None
    if isinstance(value, Mapping):
        return any(_says(key, marks) or _says(part, marks) for key, part in value.items())
    return isinstance(value, list | tuple) and any(_says(part, marks) for part in value)


def _without(value: Any, marks: re.Pattern[str] | None) -> Any:
    """The same messages, as long, and with none of the characters that special tokens have."""
    if isinstance(value, str):
        return value if marks is None else marks.sub("_", value)
    if isinstance(value, Mapping):
        return {key: part if key == "role" else _without(part, marks) for key, part in value.items()}
    return [_without(part, marks) for part in value] if isinstance(value, list | tuple) else value


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


def build(definition: str, where: str) -> tokenizers.Tokenizer:
    """The tokenizers library's object of a tokenizer.json. Raises InputError for anything else."""
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


def _ends(folder: Path) -> tuple[int, ...]:
    """The ids that a model folder says end an answer."""
    for name in ("generation_config.json", "config.json"):
        if not (folder / name).exists():
            continue
        values = read_json(folder / name)
        if not isinstance(values, dict):
            continue
        ends = token_ids(values.get("eos_token_id"))
        text = values.get("text_config")
        if not ends and isinstance(text, dict):  # where a language model is a part of something larger
            ends = token_ids(text.get("eos_token_id"))
        if ends:
            return ends
    return ()


def _named_tokens(files: Mapping[str, bytes], settings: Mapping[str, Any], where: str) -> dict[str, str]:
    """Role (eos_token, bos_token …) -> token, of tokenizer_config.json and, for what it leaves out, of the older
    special_tokens_map.json."""
    older = _object(files, "special_tokens_map.json", where) if "special_tokens_map.json" in files else {}
    return {
        key: _content(value)
        for key, value in {**older, **settings}.items()
        if key.endswith("_token") and isinstance(value, str | dict) and _content(value)
    }


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

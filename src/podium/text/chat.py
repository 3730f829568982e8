"""Messages as chat templates see them: what clients of chat APIs send, read as vLLM reads it.

Knows dictionaries, no template. A message is a podium Message, or the dictionary of a chat API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from podium.errors import InputError
from podium.records import Message

# Types of parts that are text, and the field the text is in.
TEXT_PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
ROLES = ("system", "developer", "user", "assistant", "tool")


Contents = Literal["text", "parts", "either"]
"""What a template takes for the content of a message."""


def chat_turns(messages: Sequence[Message | Mapping[str, Any]], contents: Contents) -> list[dict[str, Any]]:
    """The dictionaries a template is given.

    Args:
        contents: "text": parts are joined by newlines; "parts": a text becomes a list of one
            {"type": "text", "text": …}; "either": each as it is. What tools said is always text.

    Raises:
        InputError: a role, part or field that is no chat message's, naming the message.
    """
    turns = []
    for number, message in enumerate(messages):
        if isinstance(message, Message):
            message = {"role": message.role, "content": message.content}
        turns.append(_turn(message, contents, f"messages[{number}]"))
    return turns


def content_text(message: Message | Mapping[str, Any], where: str = "the message") -> str:
    """The text of a message, parts joined by newlines. Raises InputError as `chat_turns` does."""
    return message.content if isinstance(message, Message) else "\n".join(_parts(message, where))


def _turn(message: Mapping[str, Any], contents: Contents, where: str) -> dict[str, Any]:
    role = message.get("role")
    if role not in ROLES:
        raise InputError(f"{where}: role is {role!r}", f"one of {', '.join(ROLES)}")
    texts = _parts(message, where)
    listed = contents == "parts" or (contents == "either" and not isinstance(message.get("content"), str))
    listed = listed and role != "tool"
    turn: dict[str, Any] = {
        "role": role,
        "content": [{"type": "text", "text": text} for text in texts] if listed else "\n".join(texts),
    }
    if isinstance(message.get("name"), str):
        turn["name"] = message["name"]
    if role == "tool" and message.get("tool_call_id") is not None:
        turn["tool_call_id"] = message["tool_call_id"]
    if role == "assistant":
        thinking = next(
            (message[key] for key in ("reasoning", "reasoning_content", "thinking") if message.get(key) is not None),
            None,
        )
        if thinking is not None:
            if not isinstance(thinking, str):
                raise InputError(f"{where}: reasoning_content is {thinking!r}", "it must be a string")
            # Families read their earlier thinking under different names.
            turn |= {"reasoning": thinking, "reasoning_content": thinking, "thinking": thinking}
        if message.get("tool_calls"):
            turn["tool_calls"] = [_tool_call(call, where) for call in message["tool_calls"]]
    return turn


def _parts(message: Mapping[str, Any], where: str) -> list[str]:
    content = message.get("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, Sequence):
        raise InputError(f"{where}: content is {content!r}", "it must be a string or a list of text parts")
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in TEXT_PARTS:
            raise InputError(
                f"{where}: content has a part of type {kind!r}", "only text is read: " + ", ".join(TEXT_PARTS)
            )
        text = part.get(TEXT_PARTS[kind])
        if text is None:
            continue
        if not isinstance(text, str):
            raise InputError(f"{where}: a part's {TEXT_PARTS[kind]} is {text!r}", "it must be a string")
        texts.append(text)
    return texts


def _tool_call(call: Any, where: str) -> dict[str, Any]:
    """A call with its arguments as an object, which is how templates expect them."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or call.get("type", "function") != "function":
        raise InputError(f"{where}: a tool call is not of the type 'function'", "give it a function with its arguments")
    arguments = function.get("arguments")
    if isinstance(arguments, str) and arguments:
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None  # written by a model once, and part of the past: no reason to refuse all that follows
    return {**call, "function": {**function, "arguments": arguments if isinstance(arguments, Mapping) else {}}}

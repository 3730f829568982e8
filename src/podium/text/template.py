"""Chat templates: messages to text in which contents are still placeholders.

Knows Jinja and turns, no token ids. A template decides only on placeholders that nobody can guess, so what a message
says cannot be mistaken for what the template wrote.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from podium.errors import InputError
from podium.records import Message

CHATML = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


class ChatTemplate:
    """A Jinja chat template with the names transformers gives to templates."""

    def __init__(self, source: str, tokens: Mapping[str, str], where: str) -> None:
        self._source = source
        self._tokens = dict(tokens)
        self._where = where
        self._compiled: Any = None
        # Drawn once per process and never shown: a message cannot contain it.
        self._nonce = secrets.token_hex(16)
        self._placeholder = re.compile(rf"{self._nonce}x(\d+)x")

    def render(self, messages: Sequence[Message], generate: bool) -> tuple[str, Callable[[str], str]]:
        """The text with placeholders for contents, and the function that puts the contents in.

        Blanks around a content stay outside its placeholder, so that templates that strip contents still do.

        Raises:
            InputError: the template cannot be read, or refuses these messages.
        """
        import jinja2

        contents: list[str] = []
        turns = []
        for message in messages:
            core = message.content.strip()
            content = message.content
            if core:
                before, _, after = content.partition(core)
                content = f"{before}{self._nonce}x{len(contents)}x{after}"
                contents.append(core)
            turns.append({"role": message.role, "content": content})
        try:
            if self._compiled is None:
                self._compiled = _environment().from_string(self._source)
            text = self._compiled.render(
                messages=turns, tools=None, documents=None, add_generation_prompt=generate, **self._tokens
            )
        except jinja2.TemplateError as error:
            raise InputError(
                f"{self._where}: the chat template failed: {error}", "check the order of roles, or the template"
            ) from error
        return text, lambda stretch: self._placeholder.sub(lambda match: contents[int(match[1])], stretch)


def _environment() -> Any:
    # The environment transformers renders templates in (utils/chat_template_utils.py).
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %}…{% endgeneration %} marks what a model wrote; rendering only drops the marks."""

        tags = {"generation"}  # noqa: RUF012 - the attribute jinja reads

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment

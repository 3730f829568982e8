"""Chat templates: messages to text, as transformers renders them, with the origin of every character.

Knows Jinja and messages, no token ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from podium.errors import InputError
from podium.text.chat import Contents
from podium.text.origin import UNSURE, Traced, dump_json, followed, joined, origins_of, spelled, traced

CHATML = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a chat; `origins` holds TEMPLATE, MESSAGE or UNSURE for each character (podium.text.origin)."""

    text: str
    origins: bytes


class ChatTemplate:
    """A Jinja chat template with the names transformers gives to templates."""

    def __init__(self, source: str, tokens: Mapping[str, str], where: str) -> None:
        self._source = source
        self._tokens = dict(tokens)
        self._where = where
        self._compiled: Any = None
        self._contents: Contents = "text"

    @property
    def contents(self) -> Contents:
        """What it takes for the content of a message.

        Raises:
            InputError: the template cannot be read.
        """
        self._compile()
        return self._contents

    def render(self, turns: Sequence[Mapping[str, Any]], generate: bool, trace: bool = True) -> Rendered:
        """The text of the turns, dictionaries as a template sees them.

        Args:
            trace: follow the origins; without it every character counts as the template's.

        Raises:
            InputError: the template cannot be read, or refuses these messages.
        """
        text = self._render(turns, generate)
        if not trace:
            return Rendered(text, bytes(len(text)))
        # A role is a word of ours and not text: templates spell special tokens with it.
        marked = [{key: value if key == "role" else traced(value) for key, value in turn.items()} for turn in turns]
        try:
            followed_text = self._render(marked, generate)
        except InputError:
            followed_text = ""
        if followed_text != text:
            return Rendered(text, bytes((UNSURE,)) * len(text))
        return Rendered(text, origins_of(followed_text))

    def _render(self, turns: Sequence[Mapping[str, Any]], generate: bool) -> str:
        compiled = self._compile()
        try:
            given = {"messages": turns, "tools": None, "documents": None, "add_generation_prompt": generate}
            return compiled.render(**self._tokens, **given)
        except Exception as error:  # a template is a program of somebody's: it may raise anything
            raise InputError(
                f"{self._where}: the chat template failed: {error}",
                "check the order of roles and what the messages hold, or the template",
            ) from error

    def _compile(self) -> Any:
        import jinja2

        if self._compiled is None:
            environment = _environment()
            try:
                self._contents = _contents(environment.parse(self._source))
                self._compiled = environment.from_string(self._source)
            except jinja2.TemplateError as error:
                raise InputError(
                    f"{self._where}: the chat template failed: {error}", "copy chat_template.jinja again"
                ) from error
        return self._compiled


def _contents(tree: Any) -> Contents:
    """What a template takes for contents: parts where it loops over them, text too where it asks whether they are text.

    The loops are found as vLLM finds them (its content format "openai"): over `content` of what runs through
    `messages` or a variable set to some of it.
    """
    from jinja2 import nodes

    def inner(node: Any) -> Any:
        while isinstance(node, nodes.Filter | nodes.Test) or (
            isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
        ):
            node = node.node
        return node

    def is_content(node: Any, names: set[str]) -> bool:
        node = inner(node)
        key = node.attr if isinstance(node, nodes.Getattr) else None
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            key = node.arg.value
        return key == "content" and isinstance(node.node, nodes.Name) and node.node.name in names

    def named(node: Any, names: set[str]) -> bool:
        node = inner(node)
        return isinstance(node, nodes.Name) and node.name in names

    lists = {"messages"}
    for _ in range(3):  # a variable may be set from one that is set further down
        for assign in tree.find_all(nodes.Assign):
            if isinstance(assign.target, nodes.Name) and named(assign.node, lists):
                lists.add(assign.target.name)
    loops = list(tree.find_all(nodes.For))
    messages = {loop.target.name for loop in loops if isinstance(loop.target, nodes.Name) and named(loop.iter, lists)}
    knows_text = any(test.name == "string" for test in tree.find_all(nodes.Test))
    if not any(is_content(loop.iter, messages) for loop in loops):
        return "text"
    return "either" if knows_text else "parts"


def _environment() -> Any:
    # The environment transformers renders templates in (utils/chat_template_utils.py), whose strings know their origin.
    from jinja2.compiler import CodeGenerator
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.filters import make_attrgetter
    from jinja2.runtime import Macro
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import pass_environment

    class Generation(Extension):
        """{% generation %}…{% endgeneration %} marks what a model wrote; rendering only drops the marks."""

        tags = {"generation"}  # noqa: RUF012 - the attribute jinja reads

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class Code(CodeGenerator):
        def visit_Concat(self, node: Any, frame: Any) -> None:
            self.write("environment.concat((")
            for part in node.nodes:
                self.write("environment.finalize(")
                self.visit(part, frame)
                self.write("), ")
            self.write("))")

    class Environment(ImmutableSandboxedEnvironment):
        code_generator_class = Code

        def call(self, context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
            result = super().call(context, called, *args, **kwargs)
            if isinstance(called, Macro):
                return result
            return followed(result, (getattr(called, "__self__", None), *args, *kwargs.values()))

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return dump_json(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    @pass_environment
    def join(environment: Any, value: Any, d: str = "", attribute: Any = None) -> str:
        parts = value if attribute is None else map(make_attrgetter(environment, attribute), value)
        return joined([piece for part in parts for piece in (d, spelled(part))][1:])

    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation], finalize=spelled
    )
    environment.concat = _concat  # pyright: ignore[reportAttributeAccessIssue]
    environment.filters.update(
        {name: _following(each) for name, each in environment.filters.items() if name not in _EXACT}
    )
    environment.filters["tojson"] = to_json
    environment.filters["join"] = join
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _concat(parts: Iterator[str]) -> str:
    parts = list(parts)  # pyright: ignore[reportAssignmentType]
    return joined(parts) if any(isinstance(part, Traced) for part in parts) else "".join(parts)


_EXACT = frozenset(
    (
        *("attr", "capitalize", "d", "default", "first", "last", "lower", "max", "min", "random", "replace"),
        *("reverse", "string", "sum", "trim", "truncate", "upper"),
    )
)
"""Filters that make their text of its parts with operations of strings alone, which keep the origins."""


def _following(apply: Any) -> Any:
    """A filter of Jinja whose text is UNSURE where a message's went in: it may be put together in any way."""
    import functools

    @functools.wraps(apply)  # with the marks that say what jinja passes first
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = apply(*args, **kwargs)
        if not isinstance(result, str | list):
            return result
        sources = [part for part in args if isinstance(part, str | list | tuple | dict)]
        return followed(str.__str__(result) if isinstance(result, str) else result, [*sources, *kwargs.values()])

    return wrapped

"""What a request may say: OpenAI's fields and the ones vLLM's users add, checked, and turned into Sampling.

Values are read as vLLM 0.33 reads them: 16.0 and "16" are the integer 16, and null is what was left out. A field that
nobody knows is ignored, as vLLM does, and named once on the server's standard error; one that is a known field misspelt
is refused, where vLLM would give the answer to another question. Fields that steer billing, storage or caching are
accepted and mean nothing here; fields of features that do not exist here are accepted
only with the value that switches the feature off, since ignoring them would answer another question.
"""

from __future__ import annotations

import difflib
import secrets
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from podium.answering.protocol import Sampling
from podium.errors import InputError, nearest
from podium.generate.defaults import SamplingDefaults
from podium.generate.server.refusal import Refusal
from podium.text.chat import content_text

MOST_CHOICES = 128
MOST_PROMPTS = 2048
MOST_STOPS = 64
MOST_LOGPROBS = 20
MISSPELT = 0.85  # of likeness (difflib's ratio) to a known field; max_new_tokens has 0.83 to max_tokens


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("podium", "{message}", {"message": message})


def _only(*off: Any) -> AfterValidator:
    """A feature that does not exist here may be switched off, not on."""

    def check(value: Any) -> Any:
        if value not in off:
            raise _wrong("not supported by this server")
        return value

    return AfterValidator(check)


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise _wrong("must be a number")
    return value


Whole: TypeAlias = Annotated[int, BeforeValidator(_no_boolean)]
"""An integer, as 16, 16.0 or "16"; vLLM also takes true for 1."""


def _is_token(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _prompts(value: Any) -> list[str | list[int]]:
    """One prompt or several, as text or as token ids -> several."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(map(_is_token, value)):
            return [[int(token) for token in value]]
        if len(value) > MOST_PROMPTS:
            raise _wrong(f"has {len(value)} prompts, at most {MOST_PROMPTS} are taken")
        if all(isinstance(part, str) for part in value):
            return value
        if all(isinstance(part, list) and all(map(_is_token, part)) for part in value):
            return [[int(token) for token in part] for part in value]
    raise _wrong("must be a string, a list of token ids, or a non-empty list of either")


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise _wrong("must be a string or a list of strings, none of them empty")
    if len(stops) > MOST_STOPS:
        raise _wrong(f"has {len(stops)} strings, at most {MOST_STOPS} are taken")
    return tuple(stops)


def _content(value: Any) -> Any:
    """Text, or a list of parts as long as they are text."""
    try:
        content_text({"content": value})
    except InputError as error:
        raise _wrong(f"{error.message}; {error.cure}") from error
    return value


def _plain_text(value: Any) -> Any:
    """The response format that asks for nothing but text."""
    if value is not None and not (isinstance(value, dict) and value.get("type") == "text"):
        raise _wrong("not supported by this server, unless its type is text")
    return value


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None  # with include_usage: each event says what was used so far


class Ask(BaseModel):
    """What both kinds of request share. `None` is the default, as clients send it for what was left out."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = None
    n: Annotated[Whole, Field(ge=1, le=MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[Whole, Field(ge=0)] | None = None
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[Whole, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[Any, AfterValidator(_stops)] = ()
    # What vLLM adds.
    top_k: Annotated[Whole, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    min_tokens: Annotated[Whole, Field(ge=0)] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Annotated[list[int], Field(max_length=1024)] | None = None
    include_stop_str_in_output: bool | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None  # of logprobs: token_id:5 instead of the token's text
    request_id: str | None = None  # what the answer's id ends with
    skip_special_tokens: bool | None = None  # ours are shown as the model writes them; eos never is
    spaces_between_special_tokens: bool | None = None
    # Accepted, without meaning here.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    cache_salt: str | None = None
    session_id: str | None = None
    stream_interval: Annotated[Whole, Field(ge=1)] | None = None
    length_penalty: float | None = None
    # Features that do not exist here.
    logit_bias: Annotated[Any, _only(None, {})] = None
    allowed_token_ids: Annotated[Any, _only(None)] = None
    bad_words: Annotated[Any, _only(None, [])] = None
    structured_outputs: Annotated[Any, _only(None)] = None
    response_format: Annotated[Any, AfterValidator(_plain_text)] = None
    # vLLM ignores these, which it had once, and answers without the constraint.
    guided_json: Annotated[Any, _only(None)] = None
    guided_regex: Annotated[Any, _only(None)] = None
    guided_choice: Annotated[Any, _only(None)] = None
    guided_grammar: Annotated[Any, _only(None)] = None
    use_beam_search: Annotated[Any, _only(None, False)] = None
    prompt_logprobs: Annotated[Any, _only(None)] = None
    logprob_token_ids: Annotated[Any, _only(None, [])] = None
    truncate_prompt_tokens: Annotated[Any, _only(None)] = None
    priority: Annotated[Any, _only(None, 0)] = None
    watermarking: Annotated[Any, _only(None, False)] = None
    repetition_detection: Annotated[Any, _only(None)] = None
    thinking_token_budget: Annotated[Any, _only(None, -1)] = None
    return_weight_versions: Annotated[Any, _only(None, False)] = None
    kv_transfer_params: Annotated[Any, _only(None, {})] = None
    vllm_xargs: Annotated[Any, _only(None, {})] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Ask:
        if self.stream_options is not None and self.stream_options.model_fields_set and not self.stream:
            raise _wrong("stream_options: only with stream")
        if self.min_tokens is not None and self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise _wrong(f"min_tokens: {self.min_tokens} is more than max_tokens {self.max_tokens}")
        return self

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        return self.include_usage and bool(self.stream_options and self.stream_options.continuous_usage_stats)

    def samplings(self, max_tokens: int, top_logprobs: int, defaults: SamplingDefaults) -> list[Sampling]:
        """One per choice: seed, seed + 1, …; a random start where none was given.

        Args:
            defaults: what counts where the request says nothing; where these say nothing either, OpenAI's defaults.
        """
        seed = secrets.randbits(48) if self.seed is None else self.seed

        def chosen(name: str, otherwise: float) -> float:
            named = getattr(self, name)
            return defaults.get(name, otherwise) if named is None else named

        sampling = Sampling(
            max_tokens=max_tokens,
            temperature=chosen("temperature", 1.0),
            top_p=chosen("top_p", 1.0),
            top_k=max(0, int(chosen("top_k", 0))),
            min_p=chosen("min_p", 0.0),
            stop=self.stop,
            min_tokens=self.min_tokens or 0,
            ignore_eos=bool(self.ignore_eos),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            repetition_penalty=chosen("repetition_penalty", 1.0),
            presence_penalty=chosen("presence_penalty", 0.0),
            frequency_penalty=chosen("frequency_penalty", 0.0),
            top_logprobs=top_logprobs,
        )
        return [replace(sampling, seed=seed + index) for index in range(self.n or 1)]


class CompletionAsk(Ask):
    prompt: Annotated[Any, AfterValidator(_prompts)]
    logprobs: Annotated[Whole, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    echo: bool | None = None
    best_of: Annotated[Whole, Field(ge=1)] | None = None
    add_special_tokens: bool | None = None  # accepted: plain text never gets any here
    suffix: Annotated[Any, _only(None, "")] = None
    prompt_embeds: Annotated[Any, _only(None, [])] = None

    @model_validator(mode="after")
    def _has_something_to_do(self) -> CompletionAsk:
        if self.max_tokens == 0 and not self.echo:
            raise _wrong("max_tokens: must be at least 1, unless echo is set")
        if self.max_tokens == 0 and self.stream:
            raise _wrong("stream: nothing is written with max_tokens 0")
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise _wrong("best_of: not supported by this server unless it equals n")
        return self


class Turn(BaseModel):
    """A message as podium.text.chat reads it. Clients send back whole messages they were given: other keys may be there
    as long as they are null."""

    model_config = ConfigDict(extra="allow", strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[Any, AfterValidator(_content)] = None
    name: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _nothing_more(self) -> Turn:
        for key, value in (self.model_extra or {}).items():
            if value not in (None, [], ""):
                raise _wrong(f"{key!r} is not supported by this server")
        if self.content is None and self.role != "assistant":
            raise _wrong("content: must be a string or a list of text parts")
        return self

    def message(self) -> dict[str, Any]:
        """What a template is asked with."""
        known = {key: value for key, value in dict(self).items() if key in type(self).model_fields}
        return known | {"role": "system" if self.role == "developer" else self.role}


class ChatAsk(Ask):
    messages: Annotated[list[Turn], Field(min_length=1)]
    max_completion_tokens: Annotated[Whole, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Whole, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    modalities: Annotated[Any, _only(None, ["text"])] = None
    tools: Annotated[Any, _only(None, [])] = None
    tool_choice: Annotated[Any, _only(None, "none", "auto")] = None
    functions: Annotated[Any, _only(None, [])] = None
    function_call: Annotated[Any, _only(None, "none", "auto")] = None
    parallel_tool_calls: bool | None = None
    include_reasoning: bool | None = None
    # Templates are asked with the messages alone.
    echo: Annotated[Any, _only(None, False)] = None
    add_special_tokens: Annotated[Any, _only(None, False)] = None
    chat_template: Annotated[Any, _only(None)] = None
    chat_template_kwargs: Annotated[Any, _only(None, {})] = None
    documents: Annotated[Any, _only(None, [])] = None
    reasoning_effort: Annotated[Any, _only(None)] = None
    mm_processor_kwargs: Annotated[Any, _only(None, {})] = None
    media_io_kwargs: Annotated[Any, _only(None, {})] = None

    @model_validator(mode="after")
    def _is_one_turn(self) -> ChatAsk:
        if self.max_tokens == 0:
            raise _wrong("max_tokens: must be at least 1")
        if self.top_logprobs and not self.logprobs:
            raise _wrong("top_logprobs: only with logprobs")
        if self.continue_final_message:
            if self.add_generation_prompt:
                raise _wrong("continue_final_message: not together with add_generation_prompt")
            if self.messages[-1].role != "assistant":
                raise _wrong("continue_final_message: the last message is not the assistant's")
        return self


class TokenizeAsk(BaseModel):
    model_config = ConfigDict(extra="allow")
    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Turn], Field(min_length=1)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None  # accepted: plain text never gets any here
    return_token_strs: bool | None = None
    chat_template: Annotated[Any, _only(None)] = None
    chat_template_kwargs: Annotated[Any, _only(None, {})] = None
    tools: Annotated[Any, _only(None, [])] = None

    @model_validator(mode="after")
    def _is_one(self) -> TokenizeAsk:
        if (self.prompt is None) == (self.messages is None):
            raise _wrong("prompt: give either a prompt or messages")
        return self


class DetokenizeAsk(BaseModel):
    model_config = ConfigDict(extra="allow")
    model: str | None = None
    tokens: list[int]


AskT = TypeVar("AskT", bound=BaseModel)


def unknown_fields(ask: BaseModel) -> dict[str, str]:
    """Fields of a request that mean nothing to anybody, each with what was perhaps meant."""
    return {name: nearest(name, type(ask).model_fields) for name in ask.model_extra or ()}


def read_ask(kind: type[AskT], body: bytes) -> AskT:
    """The request in `body`.

    Raises:
        Refusal: 400, naming the first field that is at fault.
    """
    try:
        ask = kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message, place = str(first["msg"]), [str(part) for part in first["loc"]]
        if first["type"] == "json_invalid":
            raise Refusal(400, f"the body is not JSON: {message}", code="invalid_json") from None
        if not place:  # a rule about several fields begins with the name of the one at fault
            named, colon, rest = message.partition(": ")
            place, message = ([named], rest) if colon and named.isidentifier() else ([], message)
        param = ".".join(place)[:100] or None
        if first["type"] == "missing":
            message = "missing"
        raise Refusal(400, f"{param or 'the body'}: {message}", param=param, code="invalid_value") from None
    for name in ask.model_extra or ():
        if difflib.get_close_matches(name, kind.model_fields, n=1, cutoff=MISSPELT):
            cure = nearest(name, kind.model_fields)
            raise Refusal(400, f"{name}: no such field; {cure}", param=name, code="invalid_value")
    return ask

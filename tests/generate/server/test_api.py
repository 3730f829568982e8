"""What clients are answered: the official client against a server over a small random model."""

import asyncio
import json
from dataclasses import replace

import httpx
import openai
import pytest

from podium.answering import Completer, Sampling, complete
from podium.answering.openai import OpenAICompleter
from podium.answering.protocol import CompletionUsage, Piece
from podium.generate.defaults import SamplingDefaults
from podium.records import Message
from tests.generate.conftest import answer
from tests.generate.server.conftest import serving, wait_for

CHAT = [{"role": "user", "content": "What is 12 + 31?"}]
PROMPT = "What is 12 + 31?"


def streamed(chunks):
    """Text and last finish reason by choice, and the usage."""
    texts, finishes, usage = {}, {}, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            new = choice.text if hasattr(choice, "text") else choice.delta.content
            assert choice.index not in finishes, "something came after the finish"
            texts[choice.index] = texts.get(choice.index, "") + (new or "")
            if choice.finish_reason:
                finishes[choice.index] = choice.finish_reason
    return texts, finishes, usage


def test_streamed_text_is_the_whole_text(server):
    client = server.client()
    settings = {"model": "tiny", "max_tokens": 60, "temperature": 0.9, "seed": 5, "n": 3}
    for create, extra, text in (
        (client.completions.create, {"prompt": PROMPT}, lambda choice: choice.text),
        (client.chat.completions.create, {"messages": CHAT}, lambda choice: choice.message.content),
    ):
        whole = create(**settings, **extra)
        texts, finishes, usage = streamed(
            create(**settings, **extra, stream=True, stream_options={"include_usage": True})
        )
        assert texts == {choice.index: text(choice) for choice in whole.choices}
        assert finishes == {choice.index: choice.finish_reason for choice in whole.choices}
        assert len(set(texts.values())) == 3
        assert usage.model_dump() == whole.usage.model_dump()


def test_choices_are_the_engines_answers_to_seed_plus_index(server, tokenizer):
    client = server.client()
    prompts = [tokenizer.encode(PROMPT), tokenizer.encode("Die Größe")]
    got = client.completions.create(model="tiny", prompt=prompts, n=2, seed=7, max_tokens=30, temperature=1.0)
    expected = [
        asyncio.run(complete(server.served.completer, prompt, Sampling(max_tokens=30, temperature=1.0, seed=7 + i)))
        for prompt in prompts
        for i in range(2)
    ]
    assert [choice.text for choice in sorted(got.choices, key=lambda choice: choice.index)] == expected
    assert got.usage.prompt_tokens == sum(map(len, prompts))
    again = client.completions.create(model="tiny", prompt=[PROMPT, "Die Größe"], n=2, seed=7, max_tokens=30)
    assert [choice.text for choice in again.choices] == expected


def test_without_a_seed_answers_differ(server):
    client = server.client()
    said = {client.completions.create(model="tiny", prompt=PROMPT, max_tokens=30).choices[0].text for _ in range(4)}
    assert len(said) == 4


def test_a_chat_goes_through_the_template_and_can_be_continued(server, tokenizer):
    client = server.client()
    rendered = tokenizer.render([Message(role="user", content=CHAT[0]["content"])])
    settings = {"model": "tiny", "temperature": 0, "max_tokens": 20}
    chat = client.chat.completions.create(messages=CHAT, **settings).choices[0].message.content
    assert chat == client.completions.create(prompt=rendered, **settings).choices[0].text
    begun = [*CHAT, {"role": "assistant", "content": "I add <tool_call>"}]
    body = {"continue_final_message": True, "add_generation_prompt": False}
    continued = client.chat.completions.create(messages=begun, extra_body=body, **settings)
    by_hand = rendered + tokenizer.encode_model("I add <tool_call>")
    assert continued.choices[0].message.content == client.completions.create(prompt=by_hand, **settings).choices[0].text


def test_parts_and_earlier_turns_of_a_chat_are_read_as_the_tokenizer_reads_them(server, tokenizer):
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "12 + 31?"}]
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "reasoning_content": "I add.", "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "1", "content": "43"},
    ]
    with httpx.Client(base_url=server.url) as client:
        got = client.post("/tokenize", json={"messages": messages}).json()
    expected = tokenizer.render([{**messages[0], "role": "system"}, *messages[1:]])
    assert got["tokens"] == expected
    assert "What is\n12 + 31?" in tokenizer.decode(expected)


def test_a_chat_may_fill_the_context(server):
    got = server.client().chat.completions.create(
        model="tiny", messages=CHAT, seed=1, temperature=0, extra_body={"ignore_eos": True}
    )
    assert got.usage.total_tokens <= 1024
    assert got.choices[0].finish_reason in ("length", "stop")


class Spelling(Completer):
    """A completer that writes a given text letter by letter, and remembers how it was asked."""

    name = "spelling"

    def __init__(self, text="", piece=1, pause=0.0):
        self.text, self.piece, self.pause = text, piece, pause
        self.asked = []
        self.cancelled = 0

    async def start(self, prompt, sampling):
        self.asked.append((prompt, sampling))
        return Spelled(self, sampling)

    async def close(self):
        pass


class Spelled:
    def __init__(self, parent, sampling):
        from podium.answering.stopping import StopWatch

        self.parent, self.sampling = parent, sampling
        self.watch = StopWatch(sampling)
        self.usage = CompletionUsage(prompt_tokens=1)
        self.ended = False

    async def __aiter__(self):
        text = self.parent.text
        for at in range(0, len(text), self.parent.piece):
            await asyncio.sleep(self.parent.pause)
            if self.ended:
                break
            piece = text[at : at + self.parent.piece]
            stopped = self.watch.push(piece, self.usage.completion_tokens + 1)
            self.usage.completion_tokens += 1
            if stopped is not None:
                yield Piece(piece[: len(piece) - stopped.overhang], (5,), (-1.0,), "stop", stopped.stop)
                return
            yield Piece(piece, (5,), (-1.0,))
        yield Piece("", finish="cancelled" if self.ended else "eos")

    async def cancel(self):
        if not self.ended:
            self.ended = True
            self.parent.cancelled += 1
        return self.usage

    async def extend(self, text):
        raise AssertionError("nobody extends over HTTP")


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 50])
def test_a_stop_string_never_leaks(tokenizer, piece):
    text = "aab <sto <stop> abc END. and more"
    assert isinstance(Spelling(), Completer)
    with serving(Spelling(text, piece), tokenizer) as server:
        client = server.client()
        for stop in (["END."], ["<stop>", "END."], "zzz", ["b <sto <stop> a", "c EN"], [" more!"]):
            stops = [stop] if isinstance(stop, str) else stop
            ends = [text.find(each) for each in stops if each in text]
            expected = text[: min(ends)] if ends else text
            seen = ""
            for chunk in client.completions.create(model="tiny", prompt="x", stop=stop, stream=True):
                seen += chunk.choices[0].text
                assert expected.startswith(seen)
            assert seen == expected
            whole = client.completions.create(model="tiny", prompt="x", stop=stop).choices[0]
            assert (whole.text, whole.finish_reason) == (expected, "stop")
            fired = min((each for each in stops if each in text), key=lambda each: text.find(each), default=None)
            assert whole.stop_reason == fired
            shown = {"include_stop_str_in_output": True}
            kept = client.completions.create(model="tiny", prompt="x", stop=stop, extra_body=shown).choices[0].text
            assert kept == expected + (fired or "")


def test_every_field_reaches_the_sampling(tokenizer):
    completer = Spelling("x")
    with serving(completer, tokenizer) as server:
        client = server.client()
        client.completions.create(
            model="tiny",
            prompt="x",
            max_tokens=9,
            temperature=0.5,
            top_p=0.9,
            presence_penalty=0.25,
            frequency_penalty=-0.5,
            seed=11,
            stop=["a", "b"],
            n=2,
            user="somebody",
            extra_body={
                "top_k": 12,
                "min_p": 0.1,
                "repetition_penalty": 1.2,
                "min_tokens": 3,
                "ignore_eos": True,
                "stop_token_ids": [7, 8],
                "skip_special_tokens": False,
            },
        )
        client.completions.create(model="tiny", prompt="x", extra_body={"top_k": -1}, seed=1)
        client.chat.completions.create(
            model="tiny", messages=CHAT, logprobs=True, top_logprobs=4, max_completion_tokens=8
        )
    first = Sampling(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=12,
        min_p=0.1,
        seed=11,
        stop=("a", "b"),
        min_tokens=3,
        ignore_eos=True,
        stop_token_ids=(7, 8),
        repetition_penalty=1.2,
        presence_penalty=0.25,
        frequency_penalty=-0.5,
    )
    samplings = [sampling for _, sampling in completer.asked]
    assert samplings[:3] == [first, replace(first, seed=12), Sampling(max_tokens=16, temperature=1.0, seed=1)]
    assert (samplings[3].top_logprobs, samplings[3].max_tokens) == (4, 8)


def test_logprobs_are_the_engines(server, tokenizer):
    client = server.client()
    settings = {"model": "tiny", "temperature": 0, "max_tokens": 12}
    tokens = asyncio.run(answer(server.served.completer, tokenizer.encode(PROMPT), Sampling(max_tokens=12)))
    got = client.completions.create(prompt=PROMPT, logprobs=2, **settings).choices[0]
    assert len(got.logprobs.tokens) == len(tokens)
    assert "".join(got.logprobs.tokens) == got.text.rstrip("\ufffd")
    assert all(value <= 0 for value in got.logprobs.token_logprobs)
    assert got.logprobs.text_offset[0] == 0
    for text, value, top in zip(
        got.logprobs.tokens, got.logprobs.token_logprobs, got.logprobs.top_logprobs, strict=True
    ):
        assert top[text] == value == max(top.values())  # greedy
    chunks = list(client.completions.create(prompt=PROMPT, logprobs=2, stream=True, **settings))
    parts = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [value for part in parts for value in part.token_logprobs] == got.logprobs.token_logprobs
    assert [value for part in parts for value in part.text_offset] == got.logprobs.text_offset
    chat = client.chat.completions.create(messages=CHAT, logprobs=True, **settings).choices[0]
    spelled = b"".join(bytes(entry.bytes) for entry in chat.logprobs.content)
    assert spelled.decode(errors="replace").startswith(chat.message.content.rstrip("\ufffd"))


class Scoring(Spelling):
    """Finds token i of a prompt e^-i likely."""

    async def score(self, tokens, top_logprobs=0):
        logprobs = [None, *(-float(place) for place in range(1, len(tokens)))]
        return logprobs, [(), *([((3, -0.5),)] * (len(tokens) - 1))]


def test_echo_tells_the_prompt_and_how_likely_it_is(tokenizer):
    tokens = tokenizer.encode(PROMPT)
    with serving(Scoring("zz"), tokenizer) as server:
        client = server.client()
        both = client.completions.create(model="tiny", prompt=tokens, echo=True, logprobs=1, max_tokens=2).choices[0]
        assert both.text == PROMPT + "zz"
        expected = [None, *(-float(place) for place in range(1, len(tokens))), -1.0, -1.0]
        assert both.logprobs.token_logprobs == expected
        assert both.logprobs.text_offset[: len(tokens) + 1] == [
            len(tokenizer.decode(tokens[:place])) for place in range(len(tokens) + 1)
        ]
        assert both.logprobs.top_logprobs[0] is None
        assert both.logprobs.top_logprobs[1][tokenizer.decode([3])] == -0.5
        chunks = client.completions.create(model="tiny", prompt=tokens, echo=True, logprobs=1, stream=True)
        texts = streamed(chunks)[0]
        assert texts[0] == PROMPT + "zz"
        asked = len(server.served.completer.asked)
        alone = client.completions.create(model="tiny", prompt=PROMPT, echo=True, logprobs=1, max_tokens=0).choices[0]
        assert (alone.text, alone.finish_reason) == (PROMPT, "length")
        assert alone.logprobs.token_logprobs == expected[:-2]
        assert len(server.served.completer.asked) == asked


@pytest.mark.parametrize("path", ["completions", "chat/completions"])
def test_usage_goes_along_where_it_is_asked_for(server, path):
    """As guidellm asks for it, always."""
    body = {"max_tokens": 12, "n": 2, "seed": 3, "stream": True, "ignore_eos": True}
    body |= {"prompt": PROMPT} if path == "completions" else {"messages": CHAT}
    options = {"include_usage": True, "continuous_usage_stats": True}
    lines = server.post(f"/v1/{path}", {**body, "stream_options": options}).text.split("\n\n")
    *events, last = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    so_far = {0: 0, 1: 0}
    for event in events:
        usage, index = event["usage"], event["choices"][0]["index"]
        assert so_far[index] <= usage["completion_tokens"] <= 12
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert usage["prompt_tokens"] == last["usage"]["prompt_tokens"]
        so_far[index] = usage["completion_tokens"]
    assert so_far == {0: 12, 1: 12}
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 24)
    # vLLM: nothing without include_usage.
    for quiet in ({"continuous_usage_stats": True}, {"include_usage": False, "continuous_usage_stats": True}, {}, None):
        text = server.post(f"/v1/{path}", {**body, "stream_options": quiet}).text
        assert '"usage"' not in text


def test_token_ids_of_prompt_and_answer_are_told_where_they_are_asked_for(server, tokenizer):
    prompt = tokenizer.encode(PROMPT)
    rendered = tokenizer.render([Message(role="user", content=CHAT[0]["content"])])
    ask = {"max_tokens": 8, "temperature": 0, "return_token_ids": True}
    whole = server.post("/v1/completions", {"prompt": [PROMPT, PROMPT], **ask}).json()
    expected = asyncio.run(answer(server.served.completer, prompt, Sampling(max_tokens=8)))
    for choice in whole["choices"]:
        assert (choice["prompt_token_ids"], choice["token_ids"]) == (prompt, expected)
    chat = server.post("/v1/chat/completions", {"messages": CHAT, **ask}).json()
    assert chat["prompt_token_ids"] == rendered
    assert chat["choices"][0]["token_ids"] == asyncio.run(
        answer(server.served.completer, rendered, Sampling(max_tokens=8))
    )

    def events(path, body):
        text = server.post(path, {**body, "stream": True}).text
        return [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]

    for extra in ({}, {"echo": True}):
        parts = [event["choices"][0] for event in events("/v1/completions", {"prompt": PROMPT, **ask, **extra})]
        assert [part["prompt_token_ids"] for part in parts] == [prompt] + [None] * (len(parts) - 1)
        assert [token for part in parts for token in part["token_ids"]] == expected
    first, *others = events("/v1/chat/completions", {"messages": CHAT, **ask})
    assert first["prompt_token_ids"] == rendered
    assert not any(event.get("prompt_token_ids") for event in others)
    tokens = [token for event in others for token in event["choices"][0]["token_ids"]]
    assert tokens == chat["choices"][0]["token_ids"]


def test_tokens_can_be_told_by_their_ids(server, tokenizer):
    ask = {"max_tokens": 6, "temperature": 0, "return_tokens_as_token_ids": True, "return_token_ids": True}
    whole = server.post("/v1/completions", {"prompt": PROMPT, "logprobs": 3, **ask}).json()["choices"][0]
    plain = server.post("/v1/completions", {"prompt": PROMPT, "logprobs": 3, "max_tokens": 6, "temperature": 0}).json()
    names = [f"token_id:{token}" for token in whole["token_ids"]]
    assert whole["logprobs"]["tokens"] == names
    assert whole["logprobs"]["token_logprobs"] == plain["choices"][0]["logprobs"]["token_logprobs"]
    for name, value, top in zip(
        names, whole["logprobs"]["token_logprobs"], whole["logprobs"]["top_logprobs"], strict=True
    ):
        assert top[name] == value == max(top.values())
        assert len(top) == 3
        assert all(other.startswith("token_id:") for other in top)
    chat = server.post("/v1/chat/completions", {"messages": CHAT, "logprobs": True, "top_logprobs": 2, **ask}).json()
    for token, entry in zip(chat["choices"][0]["token_ids"], chat["choices"][0]["logprobs"]["content"], strict=True):
        assert entry["token"] == entry["top_logprobs"][0]["token"] == f"token_id:{token}"
        assert bytes(entry["bytes"]) == tokenizer.token_bytes(token)


def test_what_was_not_asked_for_is_null(server):
    """The keys of vLLM 0.33's answers, so that a program written for these finds each of them."""
    whole = server.post("/v1/completions", {"prompt": "x", "max_tokens": 2}).json()
    assert all(whole[key] is None for key in ("service_tier", "system_fingerprint", "kv_transfer_params"))
    choice = whole["choices"][0]
    assert all(
        choice[key] is None for key in ("logprobs", "prompt_logprobs", "prompt_token_ids", "token_ids", "stop_reason")
    )
    assert whole["usage"]["prompt_tokens_details"] is None
    chat = server.post("/v1/chat/completions", {"messages": CHAT, "max_tokens": 2}).json()
    assert chat["prompt_token_ids"] is None
    assert chat["choices"][0]["token_ids"] is None
    message = chat["choices"][0]["message"]
    assert all(message[key] is None for key in ("refusal", "annotations", "audio", "function_call", "reasoning"))
    # It may be sent back as it came.
    assert (
        server.post("/v1/chat/completions", {"messages": [*CHAT, message, *CHAT], "max_tokens": 2}).status_code == 200
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("completions", {"max_tokens": 4.0, "n": 2.0, "seed": 7.0, "top_k": 5.0, "logprobs": 1.0, "min_tokens": 1.0}),
        ("completions", {"max_tokens": "4", "temperature": "0.5", "stop_token_ids": [5.0]}),
        ("completions", {"prompt": [5.0, 6.0], "max_tokens": 2}),
        ("completions", {"prompt": [[5.0], [6]], "max_tokens": 2}),
        ("completions", {"seed": 2**63 - 1}),
        ("completions", {"seed": -(2**63)}),
        ("completions", {"seed": 2**63 - 1, "n": 3, "temperature": 1.0}),
        ("completions", {"model": "", "max_tokens": 2}),
        ("completions", {"unheard_of": {"a": 1}, "web_search_options": {}, "max_tokens": 2}),
        ("completions", {"stream_options": {}, "max_tokens": 2}),
        ("completions", {"stream": True, "stream_options": {"include_usage": True, "obfuscation": 1}, "max_tokens": 2}),
        ("completions", {"use_beam_search": False, "truncate_prompt_tokens": None, "bad_words": [], "priority": 0}),
        ("completions", {"response_format": {"type": "text"}, "add_special_tokens": True, "cache_salt": "s"}),
        ("chat/completions", {"max_completion_tokens": 3.0, "top_logprobs": 2.0, "logprobs": True}),
        ("chat/completions", {"top_logprobs": None, "logprobs": None, "max_tokens": 2, "chat_template_kwargs": {}}),
        ("chat/completions", {"verbosity": "low", "prediction": None, "moderation": {}, "max_tokens": 2}),
    ],
)
def test_what_vllm_takes_is_taken(server, path, body):
    needed = {"prompt": "x"} if path == "completions" else {"messages": CHAT}
    response = server.post(f"/v1/{path}", {**needed, **body})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("path", ["completions", "chat/completions"])
def test_every_field_may_be_null(server, path):
    from podium.generate.server.asks import ChatAsk, CompletionAsk

    kind = CompletionAsk if path == "completions" else ChatAsk
    needed = {"prompt": "x"} if path == "completions" else {"messages": CHAT}
    body = {**dict.fromkeys(kind.model_fields), **needed, "temperature": 0, "seed": 1}
    plain = server.post(f"/v1/{path}", {**needed, "temperature": 0, "seed": 1, "max_tokens": 16})
    got = server.post(f"/v1/{path}", {**body, **({"max_tokens": 16} if path != "completions" else {})})
    assert got.json()["choices"] == plain.json()["choices"]


def test_an_answer_goes_by_the_requests_own_id(server):
    assert (
        server.post("/v1/completions", {"prompt": "x", "max_tokens": 1, "request_id": "a7"}).json()["id"] == "cmpl-a7"
    )


def test_a_field_without_a_meaning_is_named_once(server, capfd):
    for _ in range(2):
        assert server.post("/v1/completions", {"prompt": "x", "max_tokens": 1, "max_new_tokens": 5}).status_code == 200
    said = capfd.readouterr().err
    assert said.count("'max_new_tokens'") == 1
    assert "did you mean 'max_tokens'" in said


def test_the_models_own_sampling_counts_where_a_request_names_none(tokenizer):
    values = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1, "max_tokens": 7}
    completer = Spelling("x")
    with serving(completer, tokenizer, defaults=SamplingDefaults(values, "here")) as server:
        client = server.client()
        client.chat.completions.create(model="tiny", messages=CHAT, seed=1)
        client.completions.create(model="tiny", prompt="x", seed=1)
        client.chat.completions.create(
            model="tiny", messages=CHAT, seed=1, temperature=0, top_p=1, max_tokens=30,
            extra_body={"top_k": -1, "min_p": 0, "repetition_penalty": 1.0},
        )  # fmt: skip
        client.chat.completions.create(model="tiny", messages=CHAT, seed=1, temperature=None, max_completion_tokens=9)
    chat, text, named, half = (sampling for _, sampling in completer.asked)
    own = {name: value for name, value in values.items() if name != "max_tokens"}
    assert chat == Sampling(**own, max_tokens=7, seed=1)
    assert text == Sampling(**own, max_tokens=16, seed=1)  # vLLM: completions of text have OpenAI's limit
    assert named == Sampling(max_tokens=30, seed=1)
    assert half == Sampling(**own, max_tokens=9, seed=1)


def test_models_tokens_and_health(server, tokenizer):
    card = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    assert card == httpx.get(f"{server.url}/v1/models/tiny").json()
    assert (card["root"], card["parent"], card["max_model_len"]) == (server.served.completer.name, None, 1024)
    assert card["permission"][0]["object"] == "model_permission"
    assert [model.id for model in server.client().models.list()] == ["tiny"]
    assert server.client().models.retrieve("tiny").max_model_len == 1024
    told = server.post("/tokenize", {"prompt": "Größe", "return_token_strs": True}).json()
    assert told["tokens"] == tokenizer.encode("Größe")
    assert told["token_strs"] == [tokenizer.piece(token) for token in told["tokens"]]
    assert "Ã" in "".join(told["token_strs"])  # the vocabulary's spelling of the first byte of ö
    assert told["count"] == len(told["tokens"])
    assert server.post("/tokenize", {"prompt": "x", "return_token_strs": None}).json()["token_strs"] is None
    chat = server.post("/tokenize", {"model": "tiny", "messages": CHAT}).json()["tokens"]
    assert chat == tokenizer.render([Message(role="user", content=CHAT[0]["content"])])
    assert server.post("/detokenize", {"tokens": told["tokens"]}).json() == {"prompt": "Größe"}
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_metrics_count(server):
    client = server.client()
    got = client.completions.create(model="tiny", prompt=PROMPT, n=2, max_tokens=8, extra_body={"ignore_eos": True})
    server.post("/v1/completions", {"prompt": 5})
    wait_for(lambda: server.metric('podium_requests_total{endpoint="/v1/completions",outcome="finished"}') == 1)
    assert server.metric('podium_requests_total{endpoint="/v1/completions",outcome="refused"}') == 1
    assert server.metric("podium_completion_tokens_total") == got.usage.completion_tokens
    assert server.metric("podium_prompt_tokens_total") == got.usage.prompt_tokens
    assert server.metric("podium_time_to_first_token_seconds_count") == 1
    assert server.metric("podium_time_per_output_token_seconds_count") == 2
    assert server.metric("podium_completions_running") == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("completions", {"prompt": "x", "model": "other"}, 404, "model"),
        ("completions", {}, 400, "prompt"),
        ("completions", {"prompt": []}, 400, "prompt"),
        ("completions", {"prompt": ""}, 400, None),
        ("completions", {"prompt": [[1], "x"]}, 400, "prompt"),
        ("completions", {"prompt": [10**6]}, 400, None),
        ("completions", {"prompt": "x", "temperatur": 1}, 400, "temperatur"),
        ("completions", {"prompt": "x", "temperature": "hot"}, 400, "temperature"),
        ("completions", {"prompt": "x", "temperature": -1}, 400, "temperature"),
        ("completions", {"prompt": "x", "top_p": 0}, 400, "top_p"),
        ("completions", {"prompt": "x", "n": 0}, 400, "n"),
        ("completions", {"prompt": "x", "n": True}, 400, "n"),
        ("completions", {"prompt": "x", "n": 1.5}, 400, "n"),
        ("completions", {"prompt": "x", "max_tokens": 16.5}, 400, "max_tokens"),
        ("completions", {"prompt": "x", "max_tokens": 1e308}, 400, "max_tokens"),
        ("completions", {"prompt": [1.5, 2]}, 400, "prompt"),
        ("completions", {"prompt": None}, 400, "prompt"),
        ("completions", {"prompt": "x", "seed": 2**63}, 400, "seed"),
        ("completions", {"prompt": "x", "seed": -(2**63) - 1}, 400, "seed"),
        ("completions", {"prompt": "x", "seed": 1.5}, 400, "seed"),
        ("completions", {"prompt": "x", "allowed_token_ids": [5]}, 400, "allowed_token_ids"),
        ("completions", {"prompt": "x", "structured_outputs": {"choice": ["a"]}}, 400, "structured_outputs"),
        ("completions", {"prompt": "x", "guided_regex": "a+"}, 400, "guided_regex"),
        ("completions", {"prompt": "x", "use_beam_search": True}, 400, "use_beam_search"),
        ("completions", {"prompt": "x", "truncate_prompt_tokens": 5}, 400, "truncate_prompt_tokens"),
        ("completions", {"prompt": "x", "stream_options": {"include_usage": None}}, 400, "stream_options"),
        ("completions", {"prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        ("completions", {"prompt": "x", "max_tokens": 5000}, 400, "max_tokens"),
        ("completions", {"prompt": [5] * 1024}, 400, "prompt"),
        ("completions", {"prompt": "x", "stop": [""]}, 400, "stop"),
        ("completions", {"prompt": "x", "stream_options": {"include_usage": True}}, 400, "stream_options"),
        ("completions", {"prompt": "x", "logit_bias": {"5": 1}}, 400, "logit_bias"),
        ("completions", {"prompt": "x", "best_of": 3}, 400, "best_of"),
        ("completions", {"prompt": "x", "echo": True, "max_tokens": 0, "stream": True}, 400, "stream"),
        ("completions", {"prompt": "x", "min_tokens": 9, "max_tokens": 3}, 400, "min_tokens"),
        ("chat/completions", {}, 400, "messages"),
        ("chat/completions", {"messages": []}, 400, "messages"),
        ("chat/completions", {"messages": [{"role": "robot", "content": "x"}]}, 400, "messages.0.role"),
        ("chat/completions", {"messages": [{"role": "user", "content": 5}]}, 400, "messages.0.content"),
        ("chat/completions", {"messages": [{"role": "user"}]}, 400, "messages.0"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            "messages.0.content",
        ),
        ("chat/completions", {"messages": CHAT, "top_logprobs": 3}, 400, "top_logprobs"),
        ("chat/completions", {"messages": None}, 400, "messages"),
        ("chat/completions", {"messages": CHAT, "chat_template": "{{ x }}"}, 400, "chat_template"),
        ("chat/completions", {"messages": CHAT, "chat_template_kwargs": {"a": 1}}, 400, "chat_template_kwargs"),
        ("chat/completions", {"messages": CHAT, "continue_final_message": True}, 400, "continue_final_message"),
        ("chat/completions", {"messages": CHAT, "tools": [{"type": "function"}]}, 400, "tools"),
        ("chat/completions", {"messages": CHAT, "response_format": {"type": "json_object"}}, 400, "response_format"),
    ],
)
def test_a_bad_request_is_told_which_field(server, path, body, status, param):
    response = server.post(f"/v1/{path}", body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param)
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert server.served.gate.running == 0


def test_the_official_client_raises_its_own_errors(server):
    client = server.client()
    with pytest.raises(openai.BadRequestError, match="context"):
        client.completions.create(model="tiny", prompt="x", max_tokens=10**5)
    with pytest.raises(openai.NotFoundError, match="other"):
        client.chat.completions.create(model="other", messages=CHAT)
    assert httpx.get(f"{server.url}/v1/nothing").json()["error"]["code"] == "unknown_url"


def test_our_own_client_pauses_and_resumes_as_the_engine_does(server, tokenizer):
    """The same prompt, stop string, appended text and seed: the same tokens, over HTTP and without."""

    async def both_stretches(completer):
        completion = await completer.start(tokenizer.encode(PROMPT), Sampling(max_tokens=50, stop=(stop,)))
        first = "".join([piece.text async for piece in completion])
        await completion.extend("\n43\n")
        second = "".join([piece.text async for piece in completion])
        await completion.cancel()
        await completer.close() if isinstance(completer, OpenAICompleter) else None
        return first, second

    engine = server.served.completer
    whole = asyncio.run(complete(engine, tokenizer.encode(PROMPT), Sampling(max_tokens=50)))
    stop = next(character for character in whole[5:] if character.isalnum())
    remote = OpenAICompleter(server.url, model="tiny", tokenizer=tokenizer)
    assert asyncio.run(both_stretches(remote)) == asyncio.run(both_stretches(engine))

"""Who may ask: pages in a browser, names that were rebound, keys. Every request goes over a real socket."""

import http.client
import json
import threading

import httpx
import openai
import pytest

from podium.errors import InputError
from podium.generate.server.access import Access, access_for
from tests.generate.server.conftest import serving
from tests.generate.server.test_api import CHAT, Spelling

BODY = json.dumps({"prompt": "x", "max_tokens": 2})
JSON = {"Content-Type": "application/json"}
POSTS = ("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize")


@pytest.fixture(scope="module")
def open_server(tokenizer):
    """As a user starts it: at a loopback address, nothing else allowed."""
    with serving(Spelling("abc"), tokenizer) as running:
        yield running


def ask(server, method="POST", path="/v1/completions", body=BODY, **headers):
    """(status, headers, body) as a client that sets every header itself sees them."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body if method == "POST" else None, named)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, data


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ""]
)
def test_a_body_that_is_not_announced_as_json_is_not_read(open_server, path, kind):
    asked = len(open_server.served.completer.asked)
    status, _, data = ask(open_server, path=path, **({} if kind is None else {"Content_Type": kind}))
    assert status == 415
    assert "application/json" in json.loads(data)["error"]["message"]
    assert len(open_server.served.completer.asked) == asked


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"]
)
def test_json_is_json_however_it_is_spelt(open_server, kind):
    assert ask(open_server, Content_Type=kind)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "203.0.113.7:80",
     "a@b", "[2001:db8::1]:8000", "192.168.1.5", "xlocalhost"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_that_was_made_to_point_here_is_refused(open_server, host, method):
    path = "/v1/completions" if method == "POST" else "/v1/models"
    status, headers, data = ask(open_server, method, path, Host=host, Content_Type="application/json")
    assert (status, json.loads(data)["error"]["code"]) == (403, "host_not_allowed")
    assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9", "localhost.", "a.localhost:8000", "127.0.0.1", "127.8.8.8:1", "[::1]:8000", "0.0.0.0"],
)
def test_loopback_goes_by_many_names(open_server, host):
    assert ask(open_server, Host=host, Content_Type="application/json")[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:8000", "file://", "x"]
)
def test_pages_of_other_origins_are_refused(open_server, origin):
    asked = len(open_server.served.completer.asked)
    status, headers, data = ask(open_server, Origin=origin, Content_Type="application/json")
    assert (status, json.loads(data)["error"]["code"]) == (403, "origin_not_allowed")
    status, preflight, _ = ask(open_server, "OPTIONS", Origin=origin, Access_Control_Request_Method="POST")
    assert status == 403
    for told in (headers, preflight):
        assert not [name for name in told if name.lower().startswith("access-control")]
    assert ask(open_server, "GET", "/metrics", Origin=origin)[0] == 403
    assert len(open_server.served.completer.asked) == asked


def test_an_answer_to_nobodys_page_has_no_cors_headers(open_server):
    _, headers, _ = ask(open_server, Content_Type="application/json")
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert ask(open_server, "OPTIONS")[0] == 405


def test_probes_need_no_name_of_ours(open_server):
    assert ask(open_server, "GET", "/health", Host="10.0.0.3.probe.cluster.local")[0] == 200
    assert ask(open_server, "GET", "/metrics")[0] == 200


def test_an_allowed_origin_may_do_everything_and_no_other_may(tokenizer):
    access = access_for("127.0.0.1", origins=["https://Ui.example:443/", "http://localhost:3000"])
    with serving(Spelling("abc"), tokenizer, access=access) as server:
        for origin in ("https://ui.example", "http://localhost:3000"):
            status, headers, _ = ask(
                server, "OPTIONS", Origin=origin, Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="authorization,content-type,x-stainless-lang",
                Access_Control_Request_Private_Network="true",
            )  # fmt: skip
            assert status == 204
            assert headers["Access-Control-Allow-Origin"] == origin
            assert headers["Access-Control-Allow-Headers"] == "authorization,content-type,x-stainless-lang"
            assert "POST" in headers["Access-Control-Allow-Methods"]
            assert headers["Access-Control-Allow-Private-Network"] == "true"
            assert headers["Vary"] == "Origin"
            for kind, wanted in (("application/json", 200), ("text/plain", 415)):
                status, headers, _ = ask(server, Origin=origin, Content_Type=kind)
                assert (status, headers["Access-Control-Allow-Origin"]) == (wanted, origin)
        for origin in (
            "https://ui.example:8443",
            "http://ui.example",
            "https://sub.ui.example",
            "http://localhost:3001",
        ):
            assert ask(server, Origin=origin, Content_Type="application/json")[0] == 403
        # A stream tells the page too.
        streamed = json.dumps({"prompt": "x", "stream": True})
        status, headers, data = ask(
            server, body=streamed, Origin="http://localhost:3000", Content_Type="application/json"
        )
        assert headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert data.endswith(b"data: [DONE]\n\n")


def test_a_key_is_asked_for_where_there_is_one(tokenizer):
    access = access_for("127.0.0.1", keys=["s3cret", "other"], origins=["https://ui.example"])
    with serving(Spelling("abc"), tokenizer, access=access) as server:
        for wrong in (
            None,
            "Bearer",
            "Bearer s3cre",
            "Bearer S3CRET",
            "Basic s3cret",
            "s3cret",
            "Bearer s3cret x",
            "Bearer \xff",
        ):
            for path in POSTS:
                headers = {} if wrong is None else {"Authorization": wrong}
                status, told, data = ask(server, path=path, Content_Type="application/json", **headers)
                assert (status, json.loads(data)["error"]["code"]) == (401, "invalid_api_key"), wrong
                assert told["WWW-Authenticate"] == "Bearer"
        assert ask(server, "GET", "/v1/models")[0] == 401
        for path in ("/health", "/metrics"):
            assert ask(server, "GET", path)[0] == 200
        for key in ("s3cret", "other"):
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
            assert client.chat.completions.create(model="tiny", messages=CHAT).choices[0].message.content == "abc"
        with pytest.raises(openai.AuthenticationError):
            server.client().models.list()
        assert ask(server, Authorization="bearer s3cret", Content_Type="application/json")[0] == 200
        # The page sees why it was refused, and its preflight carries no key.
        status, headers, _ = ask(server, Origin="https://ui.example", Content_Type="application/json")
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, "https://ui.example")
        assert ask(server, "OPTIONS", Origin="https://ui.example", Access_Control_Request_Method="POST")[0] == 204


def test_a_connection_is_usable_after_a_refusal_without_a_body(open_server):
    with httpx.Client(base_url=open_server.url) as client:
        assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403
        assert client.post("/v1/completions", content=BODY, headers=JSON).status_code == 200


def test_refusals_are_counted(open_server):
    name = 'podium_requests_total{endpoint="/v1/completions",outcome="refused"}'
    before = open_server.metric(name)
    ask(open_server, Origin="https://evil.example", Content_Type="application/json")
    assert open_server.metric(name) == before + 1


@pytest.mark.parametrize(
    ("host", "given", "known", "unknown"),
    [
        ("127.0.0.1", (), ["127.0.0.1:1", "localhost"], ["10.0.0.1", "box"]),
        ("0.0.0.0", (), ["10.0.0.1:80", "[2001:db8::1]", "localhost", "0.0.0.0"], ["evil.example"]),
        ("::", (), ["10.0.0.1", "[fe80::1]:5"], ["evil.example"]),
        ("10.1.2.3", (), ["10.1.2.3:8000", "127.0.0.1"], ["10.1.2.4", "evil.example"]),
        ("gpu.lan", ("Models.Example.org:443",), ["gpu.lan:1", "models.example.org"], ["example.org", "10.0.0.1"]),
        ("127.0.0.1", ("*",), ["anything.example"], ["a@b"]),
        ("127.0.0.1", ("2001:db8::7",), [], ["[2001:db8::8]"]),
    ],
)
def test_the_names_of_a_server_are_those_it_listens_at(host, given, known, unknown):
    if given == ("2001:db8::7",):
        given = ("[2001:db8::7]",)
        known = ["[2001:db8::7]:80"]
    access = access_for(host, hosts=given)
    assert all(map(access.knows_host, known))
    assert not any(map(access.knows_host, unknown))


@pytest.mark.parametrize(
    "wrong",
    [{"origins": ["example.org"]}, {"origins": ["https://a.b/path"]}, {"origins": [""]}, {"keys": [""]},
     {"keys": ["a b"]}, {"keys": ["pä"]}, {"hosts": ["http://a"]}, {"hosts": [""]}],
)  # fmt: skip
def test_what_can_never_fit_is_refused_at_the_start(wrong):
    with pytest.raises(InputError):
        access_for("127.0.0.1", **wrong)


def test_every_origin_can_be_allowed_on_purpose():
    assert Access(origins=("*",)).knows_origin("https://anything.example")
    assert access_for("127.0.0.1", origins=["*"]).knows_origin("null")
    assert not access_for("127.0.0.1", origins=["null"]).knows_origin("https://anything.example")


def test_many_wrong_keys_at_once_let_nobody_in(tokenizer):
    with serving(Spelling("abc"), tokenizer, access=access_for("127.0.0.1", keys=["k"])) as server:
        statuses = []
        threads = [
            threading.Thread(target=lambda: statuses.append(ask(server, Authorization="Bearer j")[0]))
            for _ in range(20)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert statuses == [401] * 20
        assert server.served.completer.asked == []

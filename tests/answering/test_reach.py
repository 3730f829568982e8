"""What is said of an address where no OpenAI API is: every fault is a real socket that has it."""

import json
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from podium.answering.reach import api_root, reach
from podium.errors import CompleterError, InputError

MODELS = {"object": "list", "data": [{"id": "small-model", "max_model_len": 512}]}


@contextmanager
def answering(pages, certificate=None):
    """A server with these (method, path) -> (status, body or object, headers); 404 elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.path, self.headers.get("Authorization")))
            status, body, headers = pages.get((self.command, self.path), (404, "Not Found", {}))
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

    seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # handshakes that fail are the point
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    try:
        done = subprocess.run([*command, "-keyout", "-", "-out", "-"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    file.write_bytes(done.stdout)
    return file


def told(url, model="small-model", **options):
    with pytest.raises((CompleterError, InputError)) as caught:
        reach(url, model, timeout=5, **options)
    assert "\n" not in caught.value.message
    return caught.value.message, caught.value.cure


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/completions", "/v1/models"])
def test_an_address_may_be_written_in_many_ways(ending):
    with answering({("GET", "/v1/models"): (200, MODELS, {})}) as (url, seen):
        assert reach(url + ending, "small-model", key="k") == (f"{url}/v1", "small-model")
        assert reach(url + ending) == (f"{url}/v1", "small-model")
    assert seen[0] == ("GET", "/v1/models", "Bearer k")
    assert seen[1][2] is None


def test_a_dead_server_is_told_with_its_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        message, cure = told(url)
    assert f"{url}/v1" in message
    assert "nothing listens" in message
    assert "podium serve" in cure
    message, cure = told("http://no-such-host.invalid:8000")
    assert "no-such-host.invalid" in message
    assert "host" in cure


@pytest.mark.parametrize(
    ("page", "said", "cure"),
    [
        ((404, "Not Found", {}), "404", "/v1"),
        ((200, "<html>It works</html>", {}), "no OpenAI API", "/v1"),
        ((200, {"models": [{"name": "llama"}]}, {}), "no OpenAI API", "/v1"),
        ((401, {"error": {"message": "no key"}}, {}), "not allowed (401: no key)", "PODIUM_API_KEY"),
        ((403, {"error": {"message": "bad host"}}, {}), "not allowed (403: bad host)", "PODIUM_API_KEY"),
        ((301, "", {"Location": "https://models.example/v1/models"}), "moved to https://models.example/v1", "https://"),
        ((503, {"error": {"message": "loading"}}, {}), "503: loading", "log"),
        ((400, "The plain HTTP request was sent to HTTPS port", {}), "speaks https", "https://127.0.0.1"),
        ((400, "Client sent an HTTP request to an HTTPS server.", {}), "speaks https", "https://127.0.0.1"),
    ],
)
def test_what_is_no_list_of_models_is_explained(page, said, cure):
    with answering({("GET", "/v1/models"): page}) as (url, _):
        message, mended = told(url)
    assert f"{url}/v1" in message
    assert said in message
    assert cure in mended


def test_a_wrong_path_is_told_from_a_server_without_a_list():
    with answering({("GET", "/v1/models"): (404, "", {})}) as (url, _):
        assert "404" in told(f"{url}/api")[0]
    listless = {("POST", "/v1/chat/completions"): (422, {"detail": "messages: missing"}, {})}
    with answering(listless) as (url, _):
        assert reach(url, "anything") == (f"{url}/v1", "anything")


def test_models_that_are_not_there_or_not_named():
    two = {"data": [{"id": "small-model"}, {"id": "large-model"}]}
    with answering({("GET", "/v1/models"): (200, two, {})}) as (url, _):
        assert "small-model" in told(url, "smal-model")[1]
        message, cure = told(url, None)
        assert "small-model, large-model" in message
        assert cure == f"write {url}/v1#NAME"


def test_https_where_http_is_meant_and_the_other_way_round(certificate):
    with answering({("GET", "/v1/models"): (200, MODELS, {})}) as (url, _):
        message, cure = told(url.replace("http://", "https://"))
        assert "does not speak https" in message
        assert cure == f"write {url}/v1"
    with answering({("GET", "/v1/models"): (200, MODELS, {})}, certificate) as (url, _):
        message, cure = told(url)
        assert "speaks https" in message
        assert cure == f"write {url.replace('http://', 'https://')}/v1"
        message, cure = told(url.replace("http://", "https://"))
        assert "not trusted" in message
        assert "SSL_CERT_FILE" in cure


def test_a_server_that_does_not_answer_is_told():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(CompleterError, match="does not answer"):
            reach(f"http://127.0.0.1:{silent.getsockname()[1]}", "m", timeout=0.3)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://host:port/v1", "http:///v1"])
def test_what_is_no_address_is_told(url):
    with pytest.raises(InputError, match="not the address"):
        api_root(url)

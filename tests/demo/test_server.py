"""`python -m transfer demo`: who gets in and with what, and nobody gets more out of the server
than answers."""

import contextlib
import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.helpers.typed import typed
from transfer.decoding.rgb import BadImageError
from transfer.demo.app import HEADERS, create_app
from transfer.demo.server import listen, serve, trusted_hosts, url
from transfer.runtime.errors import PipelineError

MOST = 1_000_000
OURS = {"base_url": "http://127.0.0.1:8000"}


def answer(content: bytes) -> dict:
    if not content:
        raise BadImageError("the file is empty")
    if content == b"hot":
        raise PipelineError("no finite number")
    return {"length": len(content)}


@pytest.fixture
def app():
    service = SimpleNamespace(
        name="finetuned",
        class_names=["<b>", *(f"class {n}" for n in range(20))],
        answer=answer,
        explain=lambda content: {"explained": answer(content)["length"]},
    )
    with listen("127.0.0.1", 0) as listening:
        return create_app(service, trusted_hosts("127.0.0.1", listening), MOST)


@pytest.fixture
def served(app) -> Iterator[http.client.HTTPConnection]:
    """A connection to the real server; it ends with the process."""
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    threading.Thread(target=serve, args=(app, listening, MOST), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    yield connection
    connection.close()


def test_the_page_names_its_classes_as_text(app):
    text = app.test_client().get("/", **OURS).text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "knows 21 classes" in text
    assert "and 9 more" in text


def test_what_is_no_image_is_a_sentence(app):
    client = app.test_client()
    for content, status, expected in (
        (b"image", 200, {"length": 5}),
        (b"", 400, {"error": "the file is empty"}),
        (b"hot", 500, {"error": "no finite number"}),
        (b"x" * MOST, 200, {"length": MOST}),
        (b"x" * (MOST + 1), 413, {"error": "more than the 1,000,000 bytes that are allowed"}),
    ):
        for question, key in (("/predict", "length"), ("/explain", "explained")):
            response = client.post(question, data=content, **OURS)
            said = {key: expected["length"]} if status == 200 else expected
            assert (response.status_code, response.json) == (status, said)


def test_a_form_and_other_methods_are_refused_with_a_sentence(app):
    client = app.test_client()
    form = client.post("/predict", data={"file": (io.BytesIO(b"image"), "a.png")}, **OURS)
    assert (form.status_code, form.json["error"][:28]) == (415, "Send an image's bytes as the")
    got = client.get("/predict", **OURS)
    assert (got.status_code, set(got.headers["Allow"].split(", "))) == (405, {"POST", "OPTIONS"})
    assert got.json["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "127.0.0.1", "localhost:9999", "localhost"])
def test_the_servers_names_are_let_in(app, host):
    assert app.test_client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8000",
        "10.0.0.1",
        "[bad",
        "",
        "a@localhost:x",
    ],
)
def test_other_names_are_not_since_whoever_owns_one_may_point_it_here(app, host):
    for path in ("/", "/page.js", "/nowhere"):
        assert app.test_client().get(path, headers={"Host": host}).status_code == 400


def test_a_refused_name_is_told_what_adds_it(app):
    answer = app.test_client().get("/", headers={"Host": "evil.example"})
    assert answer.json["error"] == (
        "Host 'evil.example' is not trusted. Start the demo with --name to add a name."
    )


def test_if_other_machines_reach_it_this_machines_name_and_addresses_are_let_in(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Box")
    network = {
        "eth0": [
            SimpleNamespace(family=socket.AF_INET, address="10.1.2.3"),
            SimpleNamespace(family=socket.AF_INET6, address="fe80::1"),
        ]
    }
    monkeypatch.setattr("psutil.net_if_addrs", lambda: network)
    with listen("0.0.0.0", 0) as listening:
        found = trusted_hosts("0.0.0.0", listening, ["Forwarded.example"])
        assert url("0.0.0.0", listening).startswith("http://localhost:")
    assert found == ["0.0.0.0", "10.1.2.3", "127.0.0.1", "box", "forwarded.example", "localhost"]
    with listen("127.0.0.1", 0) as listening:
        assert trusted_hosts("127.0.0.1", listening) == ["127.0.0.1", "localhost"]


def test_at_an_ipv6_address_it_is_called_by_name():
    listening = SimpleNamespace(getsockname=lambda: ("::1", 8000, 0, 0))
    assert url("::1", listening) == "http://localhost:8000/"
    assert trusted_hosts("::1", listening) == ["127.0.0.1", "localhost"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_sites_page_cannot_ask(app, headers):
    for question in ("/predict", "/explain"):
        response = app.test_client().post(question, data=b"image", headers=headers, **OURS)
        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response.headers


def test_its_own_page_can_ask(app):
    headers = {"Origin": OURS["base_url"], "Sec-Fetch-Site": "same-origin"}
    assert (
        app.test_client().post("/predict", data=b"image", headers=headers, **OURS).status_code
        == 200
    )


def test_every_answer_carries_the_guards(app):
    for path in ("/", "/page.css", "/page.js", "/predict", "/explain", "/nowhere"):
        headers = app.test_client().get(path, **OURS).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS


PATHS = [
    *(
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "/page.js/../page.py",
    ),
    *(
        "/static/page.js",
        "/templates/page.html",
        "/page.html",
        "/params.yaml",
        "/data/images/train/images.npy",
        "/page.css%00.png",
        "/\\..\\x",
    ),
]


def test_no_path_names_a_file(app, served):
    assert {rule.rule for rule in app.url_map.iter_rules()} == {
        "/",
        "/page.css",
        "/page.js",
        "/predict",
        "/explain",
    }
    for path in PATHS:
        served.putrequest("GET", path)
        served.endheaders()
        response = served.getresponse()
        assert (response.status, "root:" in response.read().decode()) == (404, False), path


def test_uploads_stay_in_memory(served, monkeypatch):
    def refused(*_):
        raise AssertionError("a temporary file")

    monkeypatch.setattr("waitress.buffers.TempfileBasedBuffer", refused)
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    for body, chunked in ((b"x" * MOST, False), (iter([b"x" * (MOST // 2)] * 2), True)):
        served.request("POST", "/predict", body, encode_chunked=chunked)
        response = served.getresponse()
        assert (response.status, json.load(response)) == (200, {"length": MOST})


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_too_large_is_refused_before_it_is_there(served, chunked):
    served.putrequest("POST", "/predict")
    served.putheader(
        *(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(10**12)))
    )
    served.endheaders()
    if chunked:
        with contextlib.suppress(ConnectionError):  # it does not wait for the rest
            served.send(b"200000\r\n" + b"x" * 0x200000)
    assert served.getresponse().status == 413


@pytest.fixture
def say(monkeypatch, capsys):
    return typed("demo", monkeypatch, capsys)


def test_a_port_in_use_is_one_line(say):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        line = (
            f"demo: port {port} of 127.0.0.1 is in use; choose another with --port, or any that is "
            "free with --port 0\n"
        )
        assert say("--port", str(port)) == (1, "", line)


def test_other_mistakes_are_one_line_too(say, monkeypatch, project):
    code, out, err = say("--host", "no such host")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("demo: --host no such host: no such address")
    for option, number, expected in (
        ("--port", "70000", "a number from 0 to 65535 is expected"),
        ("--port", "http", "a number from 0 to 65535 is expected"),
        ("--max-megabytes", "0", "a number from 1 to 256 is expected"),
        ("--max-megabytes", "1.5", "a number from 1 to 256 is expected"),
    ):
        code, _, err = say(option, number)
        assert code == 2
        assert f"argument {option}: {number!r}: {expected}" in err


def test_only_an_open_address_is_remarked_on(say, monkeypatch):
    monkeypatch.setattr(
        "transfer.demo.service.load_service",
        lambda model: SimpleNamespace(name=model, class_names=["a"], answer=answer),
    )
    monkeypatch.setattr("transfer.demo.server.serve", lambda app, listening, most_bytes: None)
    code, out, err = say("--port", "0")
    assert (code, err) == (0, "")
    assert out.startswith("demo: finetuned at http://127.0.0.1:")
    code, out, err = say("--port", "0", "--host", "0.0.0.0", "--model", "head")
    assert err == "demo: other machines can connect to 0.0.0.0, and no password is needed\n"
    assert out.startswith("demo: head at http://localhost:")

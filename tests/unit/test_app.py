"""The app as others embed it: ``engineroom.create_app``."""

import asyncio
import io

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from engineroom import create_app
from engineroom.errors import LoadError, PackageError, SettingError


def test_an_app_with_its_lifespan_is_ready_when_it_has_started(services):
    with TestClient(create_app(services / "plain")) as client:
        assert client.get("/health/ready").json()["state"] == "ready"
        assert client.post("/", json={"x": [[1, 0, 0]]}).json() == {"y": [[0.0, 1.0]]}


def test_an_app_can_be_started_again(services):
    app = create_app(services / "plain")
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/", json={"x": [[1, 0, 0]]}).status_code == 200
    assert app.hosts[0].model.state.value == "stopped"


def test_a_mounted_app_loads_at_its_first_request(services):
    outer = Starlette(routes=[Mount("/models/plain", create_app(services / "plain"))])
    client = TestClient(outer)
    assert client.get("/models/plain/health/ready").status_code == 503
    assert client.post("/models/plain/", json={"x": [[0, 0, 1]]}).json() == {"y": [[4.0, 5.0]]}
    assert client.get("/models/plain/health").json()["status"] == "OK"
    assert client.post("/models/plain/nope").status_code == 404


def test_a_failed_load_fails_the_lifespan_and_answers_503_without_it(services):
    with (
        pytest.raises(LoadError, match="nowhere"),
        TestClient(create_app(services / "failing_thread")),
    ):
        pass
    reply = TestClient(create_app(services / "failing_thread")).post("/", json={"a": 1})
    assert reply.status_code == 503
    assert "KeyError: 'nowhere'" in reply.json()["error"]["message"]


def test_settings_are_checked_when_the_app_is_made(services, tmp_path):
    with pytest.raises(SettingError, match="did you mean 'timeout_s'"):
        create_app(services / "plain", timeout=3)
    with pytest.raises(SettingError, match="max_body_bytes"):
        create_app(services / "plain", max_body_bytes=0)
    with pytest.raises(PackageError, match="no such file or folder"):
        create_app(tmp_path / "nowhere")


def test_settings_come_from_the_environment_and_the_caller_wins(services, monkeypatch):
    monkeypatch.setenv("ENGINEROOM_MAX_BODY_BYTES", "10")
    with TestClient(create_app(services / "plain")) as client:
        assert client.post("/", json={"x": [[1, 0, 0]]}).status_code == 413
    with TestClient(create_app(services / "plain", max_body_bytes=1000)) as client:
        assert client.post("/", json={"x": [[1, 0, 0]]}).status_code == 200


def test_middleware_of_others_sees_predictions(services):
    app, seen = create_app(services / "plain"), []

    async def note(request, call_next):
        seen.append(request.url.path)
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=note)
    with TestClient(app) as client:
        assert client.post("/", json={"x": [[1, 0, 0]]}).status_code == 200
    assert seen == ["/"]


def test_uploads_through_the_test_client(services):
    with TestClient(create_app(services / "echo")) as client:
        files = [("f", ("a.txt", io.BytesIO(b"12"))), ("f", ("b.txt", io.BytesIO(b"3")))]
        reply = client.post("/?t=1", files=files, data={"k": "v"})
    assert reply.json() == {
        "f": {"a.txt": ["BytesIO", 2], "b.txt": ["BytesIO", 1]}, "k": "v", "t": "1"
    }  # fmt: skip


def test_requests_at_once_get_their_own_answers(services):
    async def ask():
        app = create_app(services / "echo")
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            replies = await asyncio.gather(*(client.post("/", json={"i": i}) for i in range(100)))
        return [reply.json()["i"] for reply in replies]

    assert asyncio.run(ask()) == list(range(100))


def test_a_bug_of_the_server_is_a_500_that_says_so(services, monkeypatch):
    app = create_app(services / "echo")
    monkeypatch.setattr(app.predicts["/"], "decode", lambda *_: 1 / 0)
    with TestClient(app) as client:
        reply = client.post("/", json={"a": 1})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert "Traceback" not in reply.text


@pytest.mark.parametrize(
    "extra", ["np.float32", "np.nan", "b'x'", "np.zeros(2)", "{(1, 2): 3}", "object()"]
)
def test_an_error_of_a_script_may_carry_anything(package, extra):
    path = package(
        "import numpy as np\n"
        "from engineroom.errors import InvalidInputError\n"
        "from model_service.onnx_model_service import OnnxServingBaseService\n"
        "class S(OnnxServingBaseService):\n"
        f"    def _inference(self, data): raise InvalidInputError('no', got={extra})\n"
    )
    with TestClient(create_app(path)) as client:
        reply = client.post("/", json={"a": 1})
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, "no")

"""What a script is given for a request, and what a client is given for its result."""

import http.client
import io
import json
import socket
import threading
import time

import pytest

ECHO = """
from model_service.model_service import SingleNodeService

class EchoService(SingleNodeService):
    def _inference(self, data):
        return data
"""
UPLOADS = """
from model_service.model_service import SingleNodeService

class UploadService(SingleNodeService):
    def _preprocess(self, data):
        seen = []
        for key, value in data.items():
            if isinstance(value, str):
                seen.append([key, value])
            else:
                for file_name, file_content in value.items():
                    seen.append([key, file_name, file_content.read().decode()])
        return seen

    def _inference(self, data):
        return data
"""


def steps(*lines: str, step: str = "_inference", top: str = "") -> str:
    """A service with one step."""
    body = "\n".join(f"        {line}" for line in lines)
    return (
        f"{top}\nfrom model_service.model_service import SingleNodeService\n"
        f"class StepService(SingleNodeService):\n"
        + ("" if step == "_inference" else "    def _inference(self, data): return data\n")
        + f"    def {step}(self, data):\n{body}\n"
    )


def answer(client, **request):
    """What the service answers to a good request."""
    reply = client.post("/", **request)
    assert reply.status_code == 200, reply.text
    return reply.json()


# --- what a request becomes


@pytest.mark.parametrize(
    "sent", [{"data": {"req_data": [{"x": 1.5}]}}, [1, [2, 3]], {"a": None}, "text", 7]
)
def test_a_json_body_is_the_parsed_value(serve, sent):
    script = steps("return [type(data).__name__, data]")
    assert answer(serve(script), json=sent) == [type(sent).__name__, sent]


def test_a_text_field_is_a_str_in_either_kind_of_form(serve, form):
    client = serve(ECHO)
    assert answer(client, data={"name": "猫", "size": "3"}) == {"name": "猫", "size": "3"}
    body, kind = form(("name", None, "猫".encode()), ("size", None, b"3"))
    assert answer(client, content=body, headers={"content-type": kind}) == {
        "name": "猫",
        "size": "3",
    }


def test_a_file_field_is_a_dict_from_client_file_name_to_content(serve):
    assert answer(serve(UPLOADS), files={"images": ("cat.png", b"12")}) == [
        ["images", "cat.png", "12"]
    ]


def test_files_of_one_key_share_its_dict_in_their_order(serve):
    files = [("images", (name, name[:1].encode())) for name in ("z.png", "a.png", "m.png")]
    assert answer(serve(UPLOADS), files=files) == [
        ["images", "z.png", "z"], ["images", "a.png", "a"], ["images", "m.png", "m"],
    ]  # fmt: skip


def test_one_file_is_a_dict_and_no_list_of_dicts(serve):
    script = steps("return [type(data['images']).__name__, len(data['images'])]")
    assert answer(serve(script), files={"images": ("a.png", b"1")}) == ["dict", 1]


def test_of_two_files_of_one_name_the_last_wins(serve):
    files = [("images", ("a.png", b"first")), ("images", ("a.png", b"last"))]
    assert answer(serve(UPLOADS), files=files) == [["images", "a.png", "last"]]


@pytest.mark.parametrize("text_first", [True, False])
def test_a_file_beats_a_text_field_of_its_key(serve, form, text_first):
    parts = [("images", None, b"text"), ("images", "a.png", b"file")]
    body, kind = form(*(parts if text_first else reversed(parts)))
    client = serve(UPLOADS)
    assert answer(client, content=body, headers={"content-type": kind}) == [
        ["images", "a.png", "file"]
    ]


@pytest.mark.parametrize(
    "request_", [{"json": {"k": 1, "other": 2}}, {"data": {"k": "1", "other": "2"}}]
)
def test_query_parameters_are_strings_that_override_keys_of_the_body(serve, request_):
    reply = serve(ECHO).post("/?k=5&more=a%20b", **request_).json()
    assert (reply["k"], reply["more"], str(reply["other"])) == ("5", "a b", "2")


def test_query_parameters_override_an_upload_too(serve):
    reply = serve(UPLOADS).post("/?images=text", files={"images": ("a.png", b"1")})
    assert reply.json() == [["images", "text"]]


def test_query_parameters_alone_are_a_request(serve):
    assert serve(ECHO).post("/?k=5").json() == {"k": "5"}


NOTHING = [
    (b"{}", "application/json"),
    (b"[]", "application/json"),
    (b"null", "application/json"),
    (b'""', "application/json"),
    (b"", "application/json"),
    (b"", ""),
    (b"", "application/x-www-form-urlencoded"),
    (b"{}", "application/x-www-form-urlencoded"),
    (b"--edge--\r\n", "multipart/form-data; boundary=edge"),
]


@pytest.mark.parametrize(("body", "kind"), NOTHING)
def test_nothing_usable_is_400_with_mr_0101(serve, body, kind):
    reply = serve(ECHO).post("/", content=body, headers={"content-type": kind})
    told = reply.json()
    assert reply.status_code == 400
    assert {key: told[key] for key in ("erno", "msg", "words_result")} == {
        "erno": "MR.0101", "msg": "The input parameter is invalid", "words_result": {},
    }  # fmt: skip


@pytest.mark.parametrize("body", ['{"a": "1&b=2"}', ' [{"a": 1}]', '{"a": "100%"}'])
def test_json_that_curl_calls_urlencoded_is_json(serve, body):
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert answer(serve(ECHO), content=body, headers=kind) == json.loads(body)


def test_json_without_a_content_type_is_json(serve):
    assert answer(serve(ECHO), content=b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("../../etc/labels.JPG", "labels.JPG"),
        ("C:\\\\Users\\\\me\\\\cat 1.png", "cat 1.png"),
        ("猫.tar.gz", "猫.tar.gz"),
        ("/tmp/.hidden", ".hidden"),
    ],
)
def test_the_client_s_file_name_survives_without_directories(serve, form, sent, name):
    body, kind = form(("f", sent, b"1"))
    client = serve(UPLOADS)
    assert answer(client, content=body, headers={"content-type": kind}) == [["f", name, "1"]]


def test_a_script_may_write_an_upload_under_its_name_and_open_it(serve):
    script = steps(
        "(name, content), = data['f'].items()",
        "with open(name, 'wb') as file:",
        "    file.write(content.getvalue())",
        "with open(name) as file:",
        "    return file.read()",
    )
    assert answer(serve(script), files={"f": ("note.txt", b"hello")}) == "hello"


def test_an_upload_offers_getvalue_getbuffer_read_and_seek(serve):
    script = steps(
        "f = list(data['f'].values())[0]",
        "head = f.read(2)",
        "rest = f.read()",
        "f.seek(0)",
        "again = f.read()",
        "return [head, rest, again, f.tell(), f.getvalue(), bytes(f.getbuffer()), len(f.getbuffer()),",
        "        isinstance(f, io.BytesIO)]",
        top="import io",
    )
    assert answer(serve(script), files={"f": ("a.bin", b"12345")}) == [
        "12", "345", "12345", 5, "12345", "12345", 5, True,
    ]  # fmt: skip


def test_a_picture_is_opened_from_its_upload(serve):
    from PIL import Image

    picture = io.BytesIO()
    Image.new("L", (3, 2), 9).save(picture, "PNG")
    script = steps(
        "image = Image.open(list(data['images'].values())[0]).convert('RGB')",
        "pixels = np.array(image)",
        "buffer = np.frombuffer(list(data['images'].values())[0].getbuffer(), np.uint8)",
        "return [image.size, pixels.shape, int(pixels.max()), len(buffer)]",
        top="import numpy as np\nfrom PIL import Image",
    )
    reply = answer(serve(script), files={"images": ("a.png", picture.getvalue())})
    assert reply == [[3, 2], [2, 3, 3], 9, len(picture.getvalue())]


@pytest.mark.parametrize(
    ("content", "reading"),
    [
        ('{"x": [1, 2]}', "json.load(f)['x']"),
        ('{"x": [1, 2]}', "json.loads(f.read())['x']"),
        ('{"x": [1, 2]}', "json.loads(f.getvalue().decode('utf-8'))['x']"),
        ("1,2\n", "[int(v) for v in next(csv.reader(io.StringIO(f.read().decode())))]"),
        ("1 2", "[int(v) for v in str(f.read(), 'utf-8').split()]"),
        ("1,2\n", "np.loadtxt(f, delimiter=',').astype(int).tolist()"),
    ],
)
def test_text_may_be_uploaded_as_a_file(serve, content, reading):
    top = "import csv, io, json\nimport numpy as np"
    script = steps("f, = data['f'].values()", f"return {reading}", top=top)
    assert answer(serve(script), files={"f": ("x.txt", content)}) == [1, 2]


# --- services of the engines that take text


def text_service(*lines: str, step: str = "inference") -> str:
    """A service under scikit-learn's parent class, with one step beside a bare ``_inference``."""
    body = "\n".join(f"        {line}" for line in lines)
    own = "" if step == "_inference" else "    def _inference(self, data): return data\n"
    return (
        "from model_service.python_model_service import XgSklServingBaseService\n"
        f"class TextService(XgSklServingBaseService):\n{own}    def {step}(self, data):\n{body}\n"
    )


@pytest.mark.parametrize("module", ["python_model_service", "spark_model_service"])
@pytest.mark.parametrize(
    "kind", ["application/json", "text/csv", "", "application/x-www-form-urlencoded"]
)
def test_scikit_learn_xgboost_and_spark_get_the_text_of_the_body(serve, module, kind):
    script = text_service("return repr(data)")
    if module == "spark_model_service":
        script = script.replace("python_model", "spark_model").replace("XgSkl", "Spark")
    reply = serve(script).post("/", content='{"x": [1]}', headers={"content-type": kind})
    assert json.dumps(repr('{"x": [1]}')) in reply.text


ROWS = {"data": {"count": "2", "req_data": [{"a": 1.5, "b": 2}, {"a": 3, "b": 4}]}}


@pytest.fixture
def _sklearn():
    pytest.importorskip("engineroom_sklearn")


@pytest.mark.usefixtures("_sklearn")
def test_their_first_step_gives_the_rows_in_the_order_of_their_keys(serve):
    reply = serve(text_service("return data", step="_inference").replace(
        "class TextService(XgSklServingBaseService):",
        "class TextService(XgSklServingBaseService):\n    def _postprocess(self, data): return data",
    )).post("/", json=ROWS)  # fmt: skip
    assert reply.json()["data"]["resp_data"] == [[1.5, 2], [3, 4]]


@pytest.mark.usefixtures("_sklearn")
def test_their_last_step_names_each_prediction(serve):
    reply = serve(text_service("return ['cat', 'dog']", step="_inference")).post("/", json=ROWS)
    wanted = [{"predictresult": "cat"}, {"predictresult": "dog"}]
    assert reply.json() == {"data": {"resp_data": wanted}}


@pytest.mark.usefixtures("_sklearn")
def test_their_result_is_wrapped_and_the_meta_of_the_request_comes_first(serve):
    client = serve(text_service("return {'any': 'result'}"))
    assert client.post("/", json=ROWS).json() == {"data": {"resp_data": {"any": "result"}}}
    reply = client.post("/", json={**ROWS, "meta": {"uuid": "10eb0091"}})
    assert reply.text.startswith('{"meta":{"uuid":"10eb0091"},"data":{"resp_data":')


@pytest.mark.usefixtures("_sklearn")
def test_a_body_that_is_not_json_is_400_with_py_0101(serve):
    reply = serve(text_service("return data", step="_inference")).post("/", content="1,2,3")
    told = reply.json()
    assert reply.status_code == 400
    assert (told["erno"], told["msg"]) == ("PY.0101", "The input data is invalid")
    assert told["error_info"]


@pytest.mark.usefixtures("_sklearn")
@pytest.mark.parametrize(
    ("line", "status"),
    [("return {}['x']", 400), ("return len(5)", 400), ("return 1 / 0", 500), ("exit()", 500)],
)
def test_their_failing_steps_are_py_0105(serve, line, status):
    reply = serve(text_service(line)).post("/", json=ROWS)
    told = reply.json()
    assert (reply.status_code, told["erno"], told["msg"]) == (status, "PY.0105", "Predict failed")
    assert told["error_info"]


# --- what a result becomes


@pytest.mark.parametrize(
    ("result", "body"),
    [
        ("{'b': 1, 'a': {'z': 2, 'y': 3}}", b'{"b":1,"a":{"z":2,"y":3}}'),
        ("[1, 2.5, True, None]", b"[1,2.5,true,null]"),
        ("'cat'", b'"cat"'),
        ("3", b"3"),
        ("0.25", b"0.25"),
        ("(1, 2)", b"[1,2]"),
        ("{'猫': 'ü'}", '{"猫":"ü"}'.encode()),
    ],
)
def test_a_result_is_json_in_the_order_of_its_keys_without_escapes(serve, result, body):
    assert serve(steps(f"return {result}")).post("/", json={"a": 1}).content == body


def test_a_result_is_200_and_application_json(serve):
    reply = serve(ECHO).post("/", json={"a": 1})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize("result", ["cat", '{"label": "cat"}', ""])
def test_a_bare_string_is_a_json_string_whatever_is_in_it(serve, result):
    reply = serve(steps(f"return {result!r}")).post("/", json={"a": 1})
    assert reply.content == json.dumps(result).encode()


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ("np.argmax([1, 3, 2])", 1),
        ("{'score': np.float32(0.5)}", {"score": 0.5}),
        ("[np.zeros((2, 1)), np.array(3)]", [[[0.0], [0.0]], 3]),
        ("np.bool_(True)", True),
        ("{np.int64(1): 'a'}", {"1": "a"}),
    ],
)
def test_numpy_values_are_encoded_and_not_refused(serve, result, wanted):
    assert answer(serve(steps(f"return {result}", top="import numpy as np")), json=[1]) == wanted


# --- errors of the model server


@pytest.mark.parametrize("step", ["_preprocess", "_inference", "_postprocess", "inference"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("return data['nothing']", 400),
        ("return len(5)", 400),
        ("raise UnboundLocalError('x')", 500),
        ("raise ValueError('no')", 500),
        ("raise AttributeError('no')", 500),
        ("return 1 / 0", 500),
        ("return [][5]", 500),
        ("raise Exception('no')", 500),
    ],
)
def test_a_failing_step_is_mr_0105_with_400_for_keyerror_and_typeerror(serve, step, line, status):
    reply = serve(steps(line, step=step)).post("/", json={"a": 1})
    told = reply.json()
    assert reply.status_code == status
    assert list(told)[:3] == ["erno", "msg", "words_result"]
    assert (told["erno"], told["msg"], told["words_result"]) == (
        "MR.0105",
        "Recognition failed",
        {},
    )


def test_what_mr_0105_hides_is_told_with_step_and_line(serve):
    told = serve(steps("x = 1", "return data['nothing']")).post("/", json={"a": 1}).json()["error"]
    assert told["step"] == "_inference"
    assert told["where"] == "customize_service.py:6"
    assert "KeyError: 'nothing'" in told["message"]


def test_an_upload_that_cannot_be_read_is_400(serve):
    script = steps(
        "return Image.open(list(data['f'].values())[0]).size", top="from PIL import Image"
    )
    reply = serve(script).post("/", files={"f": ("a.png", b"no picture")})
    assert (reply.status_code, reply.json()["erno"]) == (400, "MR.0101")


def test_one_failed_request_leaves_the_next_its_answer(serve):
    client = serve(steps("return 6 / data['by']"))
    statuses = [client.post("/", json=body).status_code for body in ({"by": 0}, {}, {"by": 2})]
    assert statuses == [500, 400, 200]


# --- errors of the gateway


def gateway(reply):
    """Status and code of an answer that has the gateway's two keys."""
    assert reply.json()["error_msg"]
    return reply.status_code, reply.json()["error_code"]


def test_an_unknown_url_is_404_with_apig_0101(serve):
    assert gateway(serve(ECHO).post("/nothing", json={"a": 1})) == (404, "APIG.0101")


def test_another_method_is_405_with_apig_0101(serve):
    reply = serve(ECHO).put("/", json={"a": 1})
    assert gateway(reply) == (405, "APIG.0101")
    assert reply.headers["allow"] == "POST"


def test_a_body_over_the_limit_is_413_with_apig_0201(serve):
    client = serve(ECHO, max_body_bytes=1000)
    assert gateway(client.post("/", json={"a": "x" * 1000})) == (413, "APIG.0201")
    assert answer(client, json={"a": "x" * 900})


def test_a_body_that_is_not_json_is_400_with_mr_0101(serve):
    kind = {"content-type": "application/json"}
    reply = serve(ECHO).post("/", content=b'{"a": ', headers=kind)
    assert (reply.status_code, reply.json()["erno"]) == (400, "MR.0101")
    assert "line 1, column" in reply.json()["error"]["message"]


SLOW = steps("time.sleep(data['seconds'])", "return data", top="import time")


def test_an_answer_that_comes_too_late_is_504_with_4503(serve):
    client = serve(SLOW, timeout_s=0.2)
    assert gateway(client.post("/", json={"seconds": 0.4})) == (504, "ModelArts.4503")


def test_a_full_queue_is_503_with_4302_and_says_when_to_come_back(serve):
    client, replies = serve(SLOW, max_queue_size=1), []

    def post():
        replies.append(client.post("/", json={"seconds": 0.3}))

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [reply for reply in replies if reply.status_code != 200]
    assert {gateway(reply) for reply in refused} == {(503, "ModelArts.4302")}
    assert int(refused[0].headers["retry-after"]) >= 1


def test_a_failed_load_is_503_with_4302_and_its_reason(package):
    from starlette.testclient import TestClient

    from engineroom import create_app

    path = package(ECHO + "    def __init__(self, a, b): raise OSError('no weights')\n")
    reply = TestClient(create_app(path)).post("/", json={"a": 1})  # nobody runs its lifespan
    assert gateway(reply) == (503, "ModelArts.4302")
    assert "no weights" in reply.json()["error"]["message"]


# --- the server


def test_health_is_200_with_status_ok(serve):
    reply = serve(ECHO).get("/health")
    assert (reply.status_code, reply.json()["status"]) == (200, "OK")


def test_tokens_and_keys_of_callers_are_ignored(serve):
    headers = {"x-auth-token": "t", "x-apig-appcode": "c", "apikey": "k", "authorization": "SDK-1"}
    assert answer(serve(ECHO), json={"a": 1}, headers=headers) == {"a": 1}


def test_the_public_path_of_a_service_answers_under_its_name(serve):
    config = json.dumps({"apis": [{"url": "/predict", "method": "POST"}]})
    name = "5b71ffa5-0c7e-4bfb-a3d1-2b1a7b5b0d2c"
    client = serve(ECHO, {"config.json": config}, name=name)
    for path in ("/", "/predict", f"/v1/infers/{name}", f"/v1/infers/{name}/predict"):
        assert client.post(path, json={"a": 1}).json() == {"a": 1}


@pytest.mark.slow
def test_a_body_that_does_not_arrive_is_408_with_4205(start_server, services):
    server = start_server(services / "echo", "--timeout-s", "0.5")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        reply = b""
        while b"ModelArts.4205" not in reply:
            part = sock.recv(65536)
            assert part, reply
            reply += part
    assert reply.startswith(b"HTTP/1.1 408")


@pytest.mark.slow
def test_a_connection_is_kept_for_the_next_request(start_server, services):
    server = start_server(services / "echo")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.connect()
    first = connection.sock
    for pause_s in (6, 0):  # longer than many servers wait
        connection.request("POST", "/", b'{"a": 1}')
        assert json.loads(connection.getresponse().read()) == {"a": 1}
        time.sleep(pause_s)
    assert connection.sock is first
    connection.close()

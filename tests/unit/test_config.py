"""How leniently config.json is read; what it then declares is in test_apis."""

import json
import random

import pytest

from engineroom.config import MAX_REPAIRS, read_config
from engineroom.package import open_package


@pytest.fixture
def read(tmp_path):
    """The value of a config.json, and its findings as ``(level, line, column, message)``."""

    def read(content):
        path = tmp_path / "config.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        document = read_config(path)
        findings = [(f.level, f.line, f.column, f.message) for f in document.findings]
        return document.value, findings

    return read


def test_the_config_of_a_package_is_what_is_read(package):
    opened = open_package(package(**{"config.json": '{"a": 1,}'}))
    assert opened.config == {"a": 1}
    assert [(f.line, f.column) for f in opened.document.findings] == [(1, 8)]


def test_a_package_may_lack_it(tmp_path):
    document = read_config(tmp_path / "config.json")
    assert (document.value, document.findings) == ({}, ())


def test_valid_json_has_no_findings(read):
    config, findings = read('{"apis": [{"procotol": "http", "url": "http://x/*y*/"}], "a": ",}"}')
    assert config["apis"][0] == {"procotol": "http", "url": "http://x/*y*/"}
    assert (config["a"], findings) == (",}", [])


VALUES = [None, True, 0, -1.5e-3, 10**20, "", 'q"\\\n\t/é中\u2028😀', [], {}, [[1, {"": None}]]]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_valid_json_is_read_as_python_s_own_parser_reads_it(read, value, indent, ascii_only):
    text = json.dumps({"a": value, "b": [value]}, indent=indent, ensure_ascii=ascii_only)
    assert read(text) == (json.loads(text), [])


# --- comments and commas


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{\n  // a note\n  "a": 1\n}', 2, 3),
        ('{"a": 1 // a note\n}', 1, 9),
        ('{"a": 1}\n// "a": 2', 2, 1),
        ('{\n /* two\n lines */ "a": 1}', 2, 2),
        ('{"a": 1 // it"s\n}', 1, 9),
        ('{"a": 1 # a note\n}', 1, 9),
        ('{"a": 1} /* no end', 1, 10),
    ],
)
def test_comments_are_ignored_and_reported_where_they_are(read, text, line, column):
    expected = ("warning", line, column, "comment in JSON; ignored")
    assert read(text) == ({"a": 1}, [expected])


@pytest.mark.parametrize(
    ("text", "value", "line", "column"),
    [
        ('{"a": 1,}', 1, 1, 8),
        ('{"a": 1,\r\n}', 1, 1, 8),
        ('{"a":\n [1, 2,  ]}', [1, 2], 2, 7),
        ('{"a": "\\",}",}', '",}', 1, 13),
    ],
)
def test_a_trailing_comma_is_ignored_and_reported(read, text, value, line, column):
    expected = ("warning", line, column, "trailing comma in JSON; ignored")
    assert read(text) == ({"a": value}, [expected])


@pytest.mark.parametrize("comment", ["// x\n", "// x\n // y\n", "/* x */", "/* x */ // y\n"])
def test_a_comment_may_stand_between_a_trailing_comma_and_its_bracket(read, comment):
    assert read('{"a": 1, ' + comment + "}")[0] == {"a": 1}


@pytest.mark.parametrize(
    ("text", "config", "places"),
    [
        ('{"a": 1\n "b": 2}', {"a": 1, "b": 2}, [(2, 2)]),
        ('{"a": [{"b": 1} {"c": 2}]}', {"a": [{"b": 1}, {"c": 2}]}, [(1, 17)]),
        ('{"a": [1 2 3]}', {"a": [1, 2, 3]}, [(1, 10), (1, 12)]),
        ('{"a":1"b":2"c":3}', {"a": 1, "b": 2, "c": 3}, [(1, 7), (1, 12)]),
    ],
)
def test_a_missing_comma_is_added_and_reported(read, text, config, places):
    expected = [("warning", *place, "missing comma; added") for place in places]
    assert read(text) == (config, expected)


def test_all_three_at_once_are_reported_in_the_order_of_the_file(read):
    config, findings = read('{\n  "a": 1 // one\n  "b": [2,],\n}')
    assert config == {"a": 1, "b": [2]}
    places = [(line, column) for _, line, column, _ in findings]
    assert places == [(2, 10), (3, 3), (3, 10), (3, 12)]


# --- other damage that can be mended


@pytest.mark.parametrize(
    ("text", "config", "line", "column", "message"),
    [
        ("{\n 'a': 'it\\'s \"1\"'}", {"a": 'it\'s "1"'}, 2, 2, "' as a quote; read as a plain one"),
        ("{“a”:1}", {"a": 1}, 1, 2, "“ as a quote; read as a plain one"),
        ('{"a"：1}', {"a": 1}, 1, 5, "full-width '：'; read as a plain one"),
        ('{"a": [1，2]}', {"a": [1, 2]}, 1, 9, "full-width '，'; read as a plain one"),
        ('{"a": True}', {"a": True}, 1, 7, "True is not JSON; read as true"),
        ('{"a": None}', {"a": None}, 1, 7, "None is not JSON; read as null"),
        ('{"a": .5}', {"a": 0.5}, 1, 7, ".5 is not how JSON writes a number; read as 0.5"),
        ('{"a": 007}', {"a": 7.0}, 1, 7, "007 is not how JSON writes a number; read as 7"),
        ("{a: 1}", {"a": 1}, 1, 2, "a name without quotes; read as text"),
        ('{"a": PyTorch}', {"a": "PyTorch"}, 1, 7, "text without quotes; read as text"),
        ('{"a": "C:\\dir"}', {"a": "C:\\dir"}, 1, 7, "a backslash that escapes nothing; kept"),
        ('{"a": "x\ny"}', {"a": "x\ny"}, 1, 7, "a line break inside a string; kept"),
        ('{"a": }', {"a": None}, 1, 7, "missing value; read as null"),
        ('{"a" 1}', {"a": 1}, 1, 6, "missing colon; added"),
        ('{"a": 1', {"a": 1}, 1, 8, "missing }; added"),
        ('{"a": [1, 2}', {"a": [1, 2]}, 1, 12, "missing ]; added"),
        ('{"a": 1}}', {"a": 1}, 1, 9, "text after the end; ignored"),
        ('{"a": 1} x', {"a": 1}, 1, 10, "text after the end; ignored"),
        ('{"a": [1,, 2]}', {"a": [1, 2]}, 1, 10, "one comma too many; ignored"),
        ('[{"a": 1}]', {"a": 1}, 1, 1, "an object in a list; read as the object"),
        ('"{\\"a\\": 1}"', {"a": 1}, 1, 1, "an object in a string; read as the object"),
    ],
)
def test_what_an_author_meant_is_read_and_reported(read, text, config, line, column, message):
    assert read(text) == (config, [("warning", line, column, message)])


def test_a_file_of_python_literals_is_read_with_one_finding_of_each_kind(read):
    python = {"model_type": "PyTorch", "apis": [{"ok": True, "no": None, "é": [1.5, False]}]}
    config, findings = read(repr(python))
    assert config == python
    assert len(findings) == 4  # quotes, True, None, False


# --- encodings


def test_gbk_is_read_as_the_chinese_that_it_is(read):
    config, findings = read('{\n"描述": "手写数字"}'.encode("gbk"))
    assert config == {"描述": "手写数字"}
    assert findings == [("warning", 2, 2, "not UTF-8; read as GBK")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_read_as_what_it_is(read, encoding):
    config, findings = read('{"描述": "手写数字"}'.encode(encoding))
    assert config == {"描述": "手写数字"}
    assert findings == [("warning", 1, 1, f"not UTF-8; read as {encoding.upper()[:6]}")]


def test_a_byte_order_mark_is_no_news(read):
    assert read(b'\xef\xbb\xbf{"a": 1}') == ({"a": 1}, [])


@pytest.mark.parametrize("raw", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_empty_object(read, raw):
    assert read(raw) == ({}, [("warning", 1, 1, "the file is empty; read as {}")])


# --- what cannot be mended


@pytest.mark.parametrize(
    ("text", "kind"), [("[1]", "list"), ('"x"', "str"), ("5", "int"), ("null", "NoneType")]
)
def test_something_else_than_an_object_is_ignored_and_reported(read, text, kind):
    message = f"expected an object, got {kind}; the file is ignored"
    assert read(text) == ({}, [("warning", 1, 1, message)])


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('{"a":\n "x}', 2, 2, "a string without its closing quote"),
        ("{: 1}", 1, 2, "expected a name, found ':'"),
        ('{"a": :}', 1, 7, "unexpected ':'"),
        ("// nothing\n", 2, 1, "it ends too soon"),
        ('{"a": ' + "9" * 5000 + "}", 1, 7, "a number of 5000 digits"),
        ("[" * 100_000, 1, 102, "it is nested too deeply"),
        ('{"a":' * 100_000, 1, 506, "it is nested too deeply"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_other_damage_is_reported_where_it_is_and_stops_nothing(read, text, line, column, message):
    expected = ("warning", line, column, f"not JSON ({message}); the file is ignored")
    assert read(text) == ({}, [expected])


def test_a_file_that_lacks_too_much_is_no_json(read):
    fields = "\n".join(f'"k{i}": {i}' for i in range(MAX_REPAIRS + 10))
    config, findings = read(f"{{{fields}}}")
    assert (config, len(findings)) == ({}, 1)
    assert "it lacks more than 50 marks" in findings[0][3]


def test_a_file_that_cannot_be_opened_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    path.write_text("{}")
    monkeypatch.setattr(type(path), "read_bytes", _refuse)
    (finding,) = read_config(path).findings
    assert "cannot be read (Permission denied); the file is ignored" in str(finding)


def _refuse(_path):
    raise PermissionError(13, "Permission denied")


SAMPLE = """{
  // 手写数字
  "model_algorithm": "image_classification", 'model_type': 'PyTorch', "metrics": {"f1": .5,},
  "apis": [{"procotol": "http", "url": "/", "request": {"Content-type": "multipart/form-data",
    "data": "{\\"type\\": \\"object\\", \\"properties\\": {\\"images\\": {\\"type\\": \\"file\\"}}}",
    "required": ["images"]}, "response": {"data": {"type": "list", "items": [{"type": "float"}]}}}]
}
""".encode()


def test_no_mutation_of_a_file_stops_anything(tmp_path, package):
    chance = random.Random(4)
    path = tmp_path / "config.json"
    for _ in range(400):
        raw = bytearray(SAMPLE)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(raw))
            raw[place : place + chance.randint(0, 3)] = chance.choice(
                [b"", bytes([chance.randrange(256)]), *(bytes([mark]) for mark in b"{}[],:\"'\\/#")]
            )
        path.write_bytes(raw)
        opened = open_package(tmp_path)
        for finding in opened.document.findings:
            assert finding.line >= 1
            assert finding.column >= 1
            str(finding).encode()
        assert opened.model_type is None or isinstance(opened.model_type, str)
        assert all(isinstance(key, str) for api in opened.apis for key in api.request.file_keys)

"""What `apis` of config.json is read as, however its author wrote it."""

import pytest

from engineroom.apis import apis_by_url, read_apis
from engineroom.findings import shown

FILE = {"type": "file"}
PHOTO = {"type": "object", "properties": {"photo": FILE}}


def request_of(api):
    """The request that one api declares, and the remarks on it by the last part of their place."""
    (read,), remarks = read_apis({"apis": [api]})
    return read.request, [(remark.keys[-1], remark.message) for remark in remarks]


def schema_of(data):
    request, remarks = request_of({"request": {"data": data}})
    return request.schema, [message for _, message in remarks]


def test_an_api_as_the_contract_has_it_has_no_remarks():
    api = {
        "protocol": "https",
        "url": "/v1/digits",
        "method": "post",
        "request": {
            "Content-type": "multipart/form-data",
            "data": {**PHOTO, "required": ["photo"]},
        },
        "response": {"Content-type": "application/json", "data": {"type": "object"}},
    }
    (read,), remarks = read_apis({"apis": [api]})
    assert (read.protocol, read.url, read.method) == ("https", "/v1/digits", "POST")
    assert (read.request.content_type, read.request.file_keys) == ("multipart/form-data", ["photo"])
    assert read.request.schema == {**PHOTO, "required": ["photo"]}
    assert read.response.schema == {"type": "object"}
    assert remarks == []


def test_what_an_api_leaves_out_has_the_defaults_of_the_contract():
    (read,), remarks = read_apis({"apis": [{}]})
    assert (read.protocol, read.url, read.method) == ("http", "/", "POST")
    assert (read.request.schema, remarks) == (None, [])


@pytest.mark.parametrize("config", [{}, {"apis": None}, {"apis": []}])
def test_a_package_may_declare_no_api(config):
    assert read_apis(config) == ([], [])


@pytest.mark.parametrize("apis", ["x", 5, True, [None, 5, "x", ["y"]]])
def test_apis_that_are_none_are_ignored_and_remarked(apis):
    read, remarks = read_apis({"apis": apis})
    assert read == []
    assert all("ignored" in remark.message for remark in remarks)
    assert len(remarks) == (len(apis) if isinstance(apis, list) else 1)


def test_one_api_without_its_list_is_an_api():
    (read,), remarks = read_apis({"apis": {"url": "/x"}})
    assert read.url == "/x"
    assert [remark.message for remark in remarks] == ['"apis" is an object; read as a list of it']


# --- protocol, url, method


def test_procotol_is_protocol():
    (read,), remarks = read_apis({"apis": [{"procotol": "https"}]})
    assert read.protocol == "https"
    assert [(r.keys, r.message, r.of_key) for r in remarks] == [
        (("apis", 0, "procotol"), '"procotol" is "protocol" misspelt; read as it', True)
    ]


@pytest.mark.parametrize("method", ["post", "Post", "POST", " post "])
def test_a_method_may_have_either_case(method):
    assert read_apis({"apis": [{"method": method}]})[1] == []


@pytest.mark.parametrize(
    ("given", "read_as", "message"),
    [
        ({"protocol": "grpc"}, "http", 'a protocol is http or https, not "grpc"; read as http'),
        ({"method": "GET"}, "GET", '"GET" is answered to POST only'),
        ({"method": "SEND"}, "POST", '"SEND" is not a method; read as POST'),
        ({"method": ["POST"]}, "POST", "a list is not a method; read as POST"),
        ({"url": "x/y"}, "/x/y", 'a url is a path such as /predict, not "x/y"; read as /x/y'),
        (
            {"url": "http://h/x"},
            "/",
            'a url is a path such as /predict, not "http://h/x"; read as /',
        ),
        ({"url": None}, "/", "a url is a path such as /predict, not null; read as /"),
    ],
)
def test_an_odd_protocol_method_or_url_is_read_as_the_next_best(given, read_as, message):
    (read,), remarks = read_apis({"apis": [given]})
    (name,) = given
    assert getattr(read, name) == read_as
    assert [remark.message for remark in remarks] == [message]


def test_the_root_is_the_first_api_s_unless_an_api_has_it():
    apis, _ = read_apis({"apis": [{"url": "/a", "method": "GET"}, {"url": "/b"}]})
    assert apis_by_url(apis)["/"] is apis[1]
    assert set(apis_by_url(apis)) == {"/", "/a", "/b"}
    apis, _ = read_apis({"apis": [{"url": "/a"}, {"url": "/"}]})
    assert apis_by_url(apis)["/"] is apis[1]
    assert apis_by_url([]) == {"/": None}


# --- content types


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ("applicaton/json", "application/json"),
        ("aplication/json", "application/json"),
        ("text/json", "application/json"),
        ("multipart/json", "multipart/form-data"),
        ("multipart/formdata", "multipart/form-data"),
        ("image/png", "image/png"),
    ],
)
def test_an_odd_content_type_is_read_as_the_one_that_is_meant(given, read_as):
    request, remarks = request_of({"request": {"Content-type": given}})
    assert request.content_type == read_as
    ((place, message),) = remarks
    assert (place, f'content type "{given}"' in message) == ("Content-type", True)


@pytest.mark.parametrize("given", ["application/json", "Application/JSON; charset=utf-8"])
@pytest.mark.parametrize("key", ["Content-type", "content-type", "Content-Type", "content_type"])
def test_a_content_type_may_be_written_in_any_way_that_means_one(key, given):
    request, remarks = request_of({"request": {key: given}})
    assert (request.content_type, remarks) == ("application/json", [])


def test_a_file_in_json_is_remarked():
    api = {"request": {"Content-type": "application/json", "data": PHOTO}}
    assert '"photo" is a file, which JSON cannot carry' in request_of(api)[1][0][1]


# --- where the schema is


@pytest.mark.parametrize(
    ("api", "messages"),
    [
        ({"request": {"data": PHOTO}}, []),
        (
            {"request": {"data": '{"type": "object", "properties": {"photo": {"type": "file"}}}'}},
            ["JSON in a string; read as what the string holds"],
        ),
        (
            {
                "request": '{"data": {"type": "object", "properties": {"photo": {"type": "file"}},},}'
            },
            ["JSON in a string; read as what the string holds"],
        ),
        ({"request": PHOTO}, ['the schema is directly in "request"; read as its "data"']),
        (
            {"request": {"data": {"photo": FILE}}},
            ['properties without "properties" around them; read as those of an object'],
        ),
        (
            {"reqeust": {"data": {"type": "object", "properties": {"photo": "file"}}}},
            [
                '"reqeust" is "request" misspelt; read as it',
                '"file" in place of a schema; read as its "type"',
            ],
        ),
        (
            {"request": {"data": {"type": "object", "propertise": {"photo": FILE}}}},
            ['"propertise" is "properties" misspelt; read as it'],
        ),
        (
            {"request": {"data": {"type": "object", "properties": [{"photo": FILE}]}}},
            ['"properties" is a list; read as one object of all its parts'],
        ),
        (
            {"input_params": [{"photo": FILE}]},
            [
                '"input_params" is no part of an api; read as "request"',
                "a list in place of a schema; read as one of all its parts",
                'properties without "properties" around them; read as those of an object',
            ],
        ),
    ],
)
def test_the_schema_is_found_where_authors_put_it(api, messages):
    request, remarks = request_of(api)
    assert request.schema == PHOTO
    assert [message for _, message in remarks] == messages


@pytest.mark.parametrize("data", [None, "", {}, []])
def test_a_body_may_say_nothing_about_its_data(data):
    assert request_of({"request": {"data": data}})[0].file_keys == []


def test_required_beside_data_belongs_to_it():
    request, remarks = request_of({"request": {"data": PHOTO, "required": ["photo"]}})
    assert request.schema == {**PHOTO, "required": ["photo"]}
    assert remarks == [("required", '"required" is beside "data"; read as a part of it')]


def test_a_response_inside_the_request_is_the_api_s():
    api = {"request": {"data": PHOTO, "response": {"data": {"type": "string"}}}}
    (read,), remarks = read_apis({"apis": [api]})
    assert (read.request.schema, read.response.schema) == (PHOTO, {"type": "string"})
    assert [r.message for r in remarks] == [
        '"response" is inside "request"; read as that of the api'
    ]


# --- the schema itself


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ("list", "array"), ("dict", "object"), ("float", "number"), ("double", "number"),
        ("int", "integer"), ("str", "string"), ("bool", "boolean"), ("String", "string"),
        ("File", "file"), ("strng", "string"), ("Integer", "integer"),
    ],
)  # fmt: skip
def test_an_odd_type_is_read_as_the_one_that_is_meant(given, read_as):
    schema, (message,) = schema_of({"type": given})
    assert schema == {"type": read_as}
    assert message == f'JSON Schema has no type "{given}"; read as "{read_as}"'


@pytest.mark.parametrize("given", ["json", "any", "image", 5, {"x": 1}, ["string", "json"]])
def test_a_type_that_nobody_knows_is_any_value(given):
    schema, messages = schema_of({"type": given, "description": "x", "oneOf": [{"type": "null"}]})
    assert "type" not in schema
    assert messages


def test_several_types_stay_several():
    assert schema_of({"type": ["string", "null"]}) == ({"type": ["string", "null"]}, [])
    assert schema_of({"type": ["float"]})[0] == {"type": "number"}


def test_a_tuple_of_one_is_the_schema_of_every_element():
    schema, messages = schema_of({"type": "array", "items": [{"type": "number"}]})
    assert schema == {"type": "array", "items": {"type": "number"}}
    assert messages == ['"items" is a list of one schema; read as the schema of every element']


def test_a_tuple_of_several_is_a_schema_for_each_element():
    schema, messages = schema_of({"items": [{"type": "number"}, {"type": "string"}]})
    assert schema == {"type": "array", "items": [{"type": "number"}, {"type": "string"}]}
    assert len(messages) == 1


def test_item_is_items():
    schema, messages = schema_of({"type": "array", "item": {"type": "number"}})
    assert schema == {"type": "array", "items": {"type": "number"}}
    assert messages == ['"item" is "items" misspelt; read as it']


@pytest.mark.parametrize(
    ("properties", "required", "message"),
    [
        ({"a": {"type": "string"}}, "a", '"required" should be a list; read as ["a"]'),
        ({"a": {"type": "string"}, "required": ["a"]}, None, '"required" is inside "properties"'),
        ({"a": {"type": "string", "required": True}}, None, '"required" in the property itself'),
    ],
)
def test_required_is_found_where_authors_put_it(properties, required, message):
    data = {"type": "object", "properties": properties}
    schema, messages = schema_of(data if required is None else {**data, "required": required})
    assert schema == {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert [message in got for got in messages] == [True]


def test_a_required_name_that_is_no_property_is_remarked_with_the_one_that_is_meant():
    schema, messages = schema_of({**PHOTO, "required": ["photos"]})
    assert schema["required"] == ["photos"]
    expected = '"photos" is required and not among the properties; did you mean "photo"?'
    assert messages == [expected]


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ({"minimum": "0.5"}, {"minimum": 0.5}),
        ({"minimum": 0, "exclusiveMinimum": True}, {"minimum": 0, "exclusiveMinimum": 0}),
        ({"minLength": "many"}, {}),
        ({"pattern": "("}, {}),
        ({"enum": "x"}, {}),
        ({"$ref": "http://elsewhere/schema"}, {}),
    ],
)
def test_limits_are_numbers_or_nothing(given, read_as):
    schema, messages = schema_of({"type": "string", **given})
    assert schema == {"type": "string", **read_as}
    assert len(messages) == 1


def test_what_describes_a_value_stays():
    data = {
        "type": "integer",
        "default": 5,
        "minimum": 0,
        "maximum": 9,
        "description": "of the best",
    }
    assert schema_of(data) == (data, [])


def test_strings_that_hold_json_without_end_are_any_value():
    data = {"type": "string"}
    for _ in range(120):
        data = {"type": "object", "properties": {"a": data}}
    assert schema_of(data)[0]["type"] == "object"


def test_what_a_message_shows_is_short_and_can_be_written_anywhere():
    assert len(shown("x" * 1000)) == 60
    shown("\ud800").encode()

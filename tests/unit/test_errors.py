"""What each error tells the client, and what ends a start."""

import pytest

from engineroom import errors
from engineroom.errors import (
    EngineroomError,
    InvalidTensorError,
    LoadError,
    MethodNotAllowedError,
    QueueFullError,
    RequestError,
    SettingError,
    StepError,
)

EVERY = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, EngineroomError)
]


@pytest.mark.parametrize(
    ("name", "status", "erno"),
    [
        ("InvalidInputError", 400, "MR.0101"),
        ("InvalidBodyError", 400, "MR.0101"),
        ("InvalidTensorError", 400, "MR.0101"),
        ("InvalidUploadError", 400, "MR.0101"),
        ("UnsupportedMediaTypeError", 415, "MR.0101"),
        ("StepInputError", 400, "MR.0105"),
        ("StepError", 500, "MR.0105"),
        ("ResultError", 500, "MR.0105"),
        ("UnexpectedError", 500, "MR.0105"),
        ("NotFoundError", 404, "APIG.0101"),
        ("MethodNotAllowedError", 405, "APIG.0101"),
        ("BodyTooLargeError", 413, "APIG.0201"),
        ("BodyTimeoutError", 408, "ModelArts.4205"),
        ("QueueFullError", 503, "ModelArts.4302"),
        ("NotReadyError", 503, "ModelArts.4302"),
        ("DeadlineError", 504, "ModelArts.4503"),
    ],
)
def test_status_and_erno_are_those_of_the_contract(name, status, erno):
    error = getattr(errors, name)
    assert (error.status, error.erno) == (status, erno)


def test_every_code_belongs_to_one_class():
    codes = [error.code for error in EVERY]
    assert sorted(codes) == sorted(set(codes))


def test_every_class_ends_in_error_and_is_one_of_three_families():
    for error in EVERY:
        assert error.__name__.endswith("Error")
        assert error is EngineroomError or issubclass(
            error, LoadError | RequestError | SettingError
        )


def test_a_body_has_the_keys_of_the_contract_first_and_then_what_went_wrong():
    error = StepError("boom", step="_inference", where="customize_service.py:7")
    assert list(error.body("id-1").items()) == [
        ("erno", "MR.0105"),
        ("msg", "Recognition failed"),
        ("words_result", {}),
        (
            "error",
            {
                "code": "step_failed",
                "message": "boom",
                "step": "_inference",
                "where": "customize_service.py:7",
            },
        ),
        ("request_id", "id-1"),
    ]


def test_a_body_of_the_gateway_has_the_gateway_s_keys_too():
    body = QueueFullError("full").body("id-1")
    assert (body["error_code"], body["error_msg"]) == (body["erno"], body["msg"])


def test_a_body_of_the_model_server_has_no_keys_of_the_gateway():
    assert "error_code" not in InvalidTensorError("no").body("id-1")


def test_an_error_is_its_message():
    assert str(InvalidTensorError("x is too long", input="x")) == "x is too long"


def test_a_busy_server_says_when_to_come_back():
    assert QueueFullError("full", retry_after_s=7).headers == {"retry-after": "7"}


def test_a_wrong_method_is_told_the_right_one():
    assert MethodNotAllowedError("no", allow="POST").headers == {"allow": "POST"}


def test_other_errors_add_no_headers():
    assert StepError("no").headers == {}

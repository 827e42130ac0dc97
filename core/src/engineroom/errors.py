"""Every exception, each with its HTTP status, a stable code and what the client is shown.

Two families. A :class:`LoadError` ends the start of a model; a :class:`RequestError` answers one
request. The ``erno`` values and the gateway codes are those of the ModelArts contract; ``code`` is
ours and never changes once released.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

LOAD_FAILED = 3
"""Exit code of a failed load; the one that uvicorn's supervisor takes for "do not restart"."""
ENGINE_ENDED = 1
"""Exit code of a server whose framework has ended: one that supervisors answer with a new start."""
ENGINE_HUNG = 4
"""Exit code of a server whose engine does not come back from a request; likewise."""
MR_INPUT = ("MR.0101", "The input parameter is invalid")
MR_FAILED = ("MR.0105", "Recognition failed")


class EngineroomError(Exception):
    """Anything that Engineroom raises on purpose. ``str(error)`` is a message for a person."""

    code: ClassVar[str] = "error"


class SettingError(EngineroomError):
    """A setting that does not exist or has a value it cannot have. ``serve`` exits with 2."""

    code = "bad_setting"


class LoadError(EngineroomError):
    """A model that cannot be made ready. ``serve`` exits with 3."""

    code = "load_failed"
    exit_code: ClassVar[int] = LOAD_FAILED


class PackageError(LoadError):
    """The folder or file is not a package that can be served."""

    code = "bad_package"


class EngineError(LoadError):
    """No engine fits, or the one that fits cannot be used here."""

    code = "engine_unavailable"


class PluginError(LoadError):
    """A plugin breaks the hook contract."""

    code = "bad_plugin"


class ScriptError(LoadError):
    """``customize_service.py`` cannot be loaded, or its service cannot be made."""

    code = "bad_script"


class ModelFileError(LoadError):
    """The engine cannot read the model file."""

    code = "bad_model_file"


class DeviceError(LoadError):
    """The device asked for is not there."""

    code = "no_such_device"


class EngineEndError(LoadError):
    """The framework of a model has ended. ``serve`` exits with 1, to be started again."""

    code = "engine_ended"
    exit_code = ENGINE_ENDED


class EngineHangError(EngineEndError):
    """The engine does not come back from a request. ``serve`` exits with 4, to be started again."""

    code = "engine_hung"
    exit_code = ENGINE_HUNG


class WarmUpError(LoadError):
    """The model loaded, but did not answer its warm-up."""

    code = "warm_up_failed"


class RequestError(EngineroomError):
    """One request that gets an error for an answer.

    ``erno`` and ``text`` are the contract's; ``detail`` holds what a person needs to find the
    cause (model, step, where, expected, got, …) and is shown to the client as it is.
    """

    code = "request_failed"
    status: ClassVar[int] = 500
    erno: ClassVar[str] = MR_FAILED[0]
    text: ClassVar[str] = MR_FAILED[1]

    def __init__(self, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.detail = detail

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to this error."""
        return {}

    def contract_words(self, words: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
        """``erno`` and ``msg``: those of ``words`` where an engine has its own."""
        return words.get(self.erno, (self.erno, self.text))

    def body(
        self, request_id: str, words: Mapping[str, tuple[str, str]] = MappingProxyType({})
    ) -> dict[str, Any]:
        """The JSON body: the contract's keys, then what went wrong.

        ``words`` are those of an engine whose errors have another ``erno`` and ``msg``.
        """
        erno, text = self.contract_words(words)
        body: dict[str, Any] = {"erno": erno, "msg": text, "words_result": {}}
        if self.erno in words:
            body = {"erno": erno, "msg": text, "error_info": str(self)}
        if not self.erno.startswith("MR."):
            # The platform's gateway answers with its own two keys, and its clients read those.
            body |= {"error_code": self.erno, "error_msg": self.text}
        body["error"] = {"code": self.code, "message": str(self), **self.detail}
        body["request_id"] = request_id
        return body


class InvalidInputError(RequestError):
    """The request carries nothing that a model could use."""

    code = "invalid_input"
    status = 400
    erno, text = MR_INPUT


class InvalidBodyError(InvalidInputError):
    """The body is not what its content type says: broken JSON, truncated multipart, …"""

    code = "invalid_body"


class RequestSchemaError(InvalidInputError):
    """The request does not fit the schema in config.json, and ``validate_requests`` rejects it."""

    code = "request_schema"


class InvalidTensorError(InvalidInputError):
    """A value that does not fit the model's declared input."""

    code = "invalid_tensor"


class InvalidUploadError(InvalidInputError):
    """An uploaded file that its reader cannot read: empty, truncated, of another kind."""

    code = "invalid_upload"


class NotFoundError(RequestError):
    """No such path."""

    code = "not_found"
    status = 404
    erno, text = "APIG.0101", "The API does not exist"


class MethodNotAllowedError(RequestError):
    """The path exists, for another method."""

    code = "method_not_allowed"
    status = 405
    erno, text = "APIG.0101", "The API does not exist for this method"

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow

    @property
    def headers(self) -> dict[str, str]:
        return {"allow": self.allow}


class BodyTimeoutError(RequestError):
    """The body did not arrive in time."""

    code = "body_timeout"
    status = 408
    erno, text = "ModelArts.4205", "The request timed out"


class BodyTooLargeError(RequestError):
    """The body is larger than ``max_body_bytes``."""

    code = "body_too_large"
    status = 413
    erno, text = "APIG.0201", "The request body is too large"


class UnsupportedMediaTypeError(RequestError):
    """A content type that nobody decodes."""

    code = "unsupported_media_type"
    status = 415
    erno, text = MR_INPUT


class StepInputError(RequestError):
    """KeyError or TypeError in a step of the script, which the contract calls the client's."""

    code = "step_rejected_input"
    status = 400


class StepError(RequestError):
    """Any other exception in a step of the script or the engine."""

    code = "step_failed"


class ResultError(RequestError):
    """The service answered with something that JSON cannot hold."""

    code = "invalid_result"


class UnexpectedError(RequestError):
    """A bug of the server itself."""

    code = "internal_error"


class BusyError(RequestError):
    """Try again later: the common part of a full queue and a model that is not ready."""

    code = "busy"
    status = 503
    erno, text = "ModelArts.4302", "The service is unavailable"

    def __init__(self, message: str, retry_after_s: int = 1, **detail: Any) -> None:
        super().__init__(message, **detail)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.retry_after_s)}


class QueueFullError(BusyError):
    """As many requests wait as ``max_queue_size`` allows."""

    code = "queue_full"


class NotReadyError(BusyError):
    """The model is loading, warming up, stuck, draining, stopped or failed."""

    code = "not_ready"


class ProcessEndError(RequestError):
    """The process that had the request ended: killed, or by a fault of its engine."""

    code = "process_ended"
    status = 502
    erno, text = BusyError.erno, BusyError.text


class DeadlineError(RequestError):
    """No answer within ``timeout_s``, the time in the queue included."""

    code = "deadline_exceeded"
    status = 504
    erno, text = "ModelArts.4503", "The service timed out"


class ClientLeftError(RequestError):
    """The client closed the connection; nobody reads this answer. 499 is nginx's log code."""

    code = "client_left"
    status = 499

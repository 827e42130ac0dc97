"""The log of a server process."""

import json
import logging
import subprocess
import sys

import pytest

from engineroom.logs import FIELDS, JSONFormatter

PRELUDE = """
import logging, sys
from engineroom.logs import configure
from engineroom.settings import Settings
log = logging.getLogger("engineroom")
"""


def record(message="hello %s", *args, **fields):
    made = logging.LogRecord("engineroom", logging.WARNING, "a.py", 1, message, args, None)
    vars(made).update(fields)
    return made


def run(code, **settings):
    """Standard output and standard error of a process that sets up its log and runs ``code``."""
    prelude = f"{PRELUDE}configure(Settings.read({settings!r}))\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + code],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return done.stdout, done.stderr


def test_a_json_line_has_time_level_logger_and_message():
    made = record("hello %s", "wörld", created=0.0, msecs=7.0)
    assert json.loads(JSONFormatter().format(made)) == {
        "time": "1970-01-01T00:00:00.007Z",
        "level": "warning",
        "logger": "engineroom",
        "message": "hello wörld",
    }


def test_a_json_line_has_the_fields_that_the_record_brings():
    line = json.loads(JSONFormatter().format(record("x", **{FIELDS: {"status": 200}})))
    assert line["status"] == 200


def test_a_json_line_is_one_line_whatever_is_in_it():
    text = JSONFormatter().format(record("two\nlines", **{FIELDS: {"odd": object()}}))
    assert "\n" not in text
    assert json.loads(text)["message"] == "two\nlines"


def test_a_json_line_has_the_traceback():
    try:
        raise ValueError("boom")
    except ValueError:
        made = record("failed", exc_info=sys.exc_info())
    assert "ValueError: boom" in json.loads(JSONFormatter().format(made))["traceback"]


def test_the_log_goes_to_standard_error_as_text():
    out, err = run('log.info("ready"); log.debug("hidden")')
    assert out == ""
    assert err.split(maxsplit=1)[1] == "INFO    ready\n"


def test_debug_shows_our_debug_lines_and_nobody_else_s():
    _, err = run('log.debug("ours"); logging.getLogger("other").debug("theirs")', debug=True)
    assert "ours" in err
    assert "theirs" not in err


def test_the_format_may_be_json():
    _, err = run('log.warning("ready 中")', log_format="json")
    assert json.loads(err)["message"] == "ready 中"


@pytest.mark.parametrize("theft", ["sys.stderr.detach()", "sys.stdout.detach()", "None"])
def test_a_script_that_takes_the_standard_streams_away_does_not_silence_the_log(theft):
    _, err = run(f'kept, sys.stderr = {theft}, None; log.info("still here")')
    assert "still here" in err


def test_what_the_terminal_cannot_show_is_escaped_and_not_lost():
    _, err = run('log.info("half \\ud800 pair")')
    assert "half \\ud800 pair" in err


def test_setting_up_twice_logs_once():
    _, err = run('configure(Settings.read()); log.info("once")')
    assert err.count("once") == 1


def test_lines_of_an_event_loop_keep_their_order_and_are_all_there_at_the_end():
    _, err = run(
        "import asyncio\n"
        "async def main():\n"
        "    for say in (log.info, log.info, log.warning, log.info): say('turn 1')\n"
        "    await asyncio.to_thread(log.info, 'a thread')\n"
        "    log.info('turn 2')\n"
        "asyncio.run(main())"
    )
    said = [
        line.split(maxsplit=2)[1:] for line in err.splitlines() if "turn" in line or "a th" in line
    ]
    assert said == [
        ["INFO", "turn 1"], ["INFO", "turn 1"], ["WARNING", "turn 1"], ["INFO", "turn 1"],
        ["INFO", "a thread"], ["INFO", "turn 2"],
    ]  # fmt: skip


def test_lines_of_one_turn_of_an_event_loop_are_one_write():
    code = (
        "import asyncio, os\n"
        "from engineroom.logs import JoinedLines\n"
        "class Stream:\n"
        "    def write(self, text): print(text.count('\\n'))\n"
        "log.handlers[:] = [JoinedLines(Stream())]\n"
        "async def main():\n"
        "    for _ in range(5): log.info('x')\n"
        "asyncio.run(main())"
    )
    assert run(code)[0] == "5\n"

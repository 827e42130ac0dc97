"""Processes that are killed, crash, hang, stop or are replaced while eight clients send requests.

What each test counts: ``answered`` 200; ``refused`` any other answer, or no connection; ``lost`` no
answer to a request that was sent.
"""

import collections
import contextlib
import http.client
import json
import logging
import os
import signal
import threading
import time

import psutil
import pytest

pytestmark = pytest.mark.slow

CLIENTS = 8


class Load:
    """Eight clients that send one request after the other, until the ``with`` block ends."""

    def __init__(self, server, body=None, keep_alive=True):
        self.server, self.keep_alive = server, keep_alive
        self.body = json.dumps(body or {"seconds": 0.02})
        self.counts = collections.Counter()
        self.statuses = collections.Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        logging.info("counts: %s; %s", dict(self.counts), dict(self.statuses))

    def _send(self):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.port)) as line:
            while not self._over.is_set():
                what = self._send_one(line)
                if not self.keep_alive:
                    line.close()
                if what != "answered":
                    time.sleep(0.05)

    def _send_one(self, line):
        if line.sock is None:
            try:
                line.connect()
            except OSError:
                return self._count("refused", "no connection")
        try:
            line.request("POST", "/", self.body, {"Content-Type": "application/json"})
            answer = line.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            line.close()
            return self._count("lost", type(error).__name__)
        return self._count("answered" if answer.status == 200 else "refused", answer.status)

    def _count(self, what, status):
        self.counts[what] += 1
        self.statuses[status] += 1
        return what

    def wait_for(self, answered):
        """Return when so many more requests have been answered."""
        wanted, limit = self.counts["answered"] + answered, time.monotonic() + 30
        while self.counts["answered"] < wanted:
            assert time.monotonic() < limit, self.counts
            time.sleep(0.01)


def workers_of(server):
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def wait_for_workers(server, count, ready=None):
    """Return when so many are ready, as the server says."""
    limit = time.monotonic() + 30
    while server.get("/health")[1].get("workers") != {"ready": count, "of": ready or count}:
        assert time.monotonic() < limit, server.log()
        time.sleep(0.05)


@pytest.mark.parametrize("keep_alive", [True, False])
def test_kill_9_of_a_worker_loses_only_what_it_had(start_server, services, keep_alive):
    server = start_server(services / "slow", "--workers", "2")
    wait_for_workers(server, 2)
    with Load(server, keep_alive=keep_alive) as load:
        load.wait_for(50)
        workers_of(server)[0].kill()
        wait_for_workers(server, 1, 2)
        load.wait_for(20)
        wait_for_workers(server, 2)
        load.wait_for(50)
    assert load.counts["refused"] == 0
    assert load.counts["lost"] <= CLIENTS
    assert "ended (SIGKILL); starting another" in server.log()


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("to_all", [False, True])
def test_sigterm_loses_nothing(start_server, services, keep_alive, workers, to_all):
    server = start_server(services / "slow", "--workers", workers)
    with Load(server, keep_alive=keep_alive) as load:
        load.wait_for(50)
        if to_all:
            os.killpg(server.process.pid, signal.SIGTERM)
        assert server.stop() == 0
    assert load.counts["lost"] == 0
    assert set(load.statuses) <= {200, "no connection"}
    assert "starting another" not in server.log()


@pytest.mark.parametrize("keep_alive", [True, False])
def test_sighup_replaces_every_worker_and_fails_no_request(start_server, services, keep_alive):
    server = start_server(services / "slow", "--workers", "2")
    wait_for_workers(server, 2)
    before = {worker.pid for worker in workers_of(server)}
    with Load(server, keep_alive=keep_alive) as load:
        load.wait_for(50)
        os.kill(server.process.pid, signal.SIGHUP)
        _, alive = psutil.wait_procs([psutil.Process(pid) for pid in before], 30)
        assert not alive
        load.wait_for(50)
    assert load.counts["lost"] == load.counts["refused"] == 0
    assert len(workers_of(server)) == 2

"""The event loop sleeps while the thread of a quick model works, and never long."""

import asyncio
import contextlib
import os
import threading
import time

import pytest

from engineroom.backlog import QUICK_S
from engineroom.runner import Runner
from engineroom.turns import LONG_S, WAIT_S, Turns, allowed


class Quick:
    """A runner that has got to know its model as a quick one."""

    def __init__(self, threads=1, prepare=None):
        self.turns = Turns()
        self.work = lambda data: data
        self.slept: list[bool] = []
        self.runner = Runner(
            self._works, contextlib.nullcontext, threads, 1000, prepare, self.turns
        )
        asyncio.run(self.ask(1, times=60))
        self.slept.clear()

    def _works(self, batch):
        self.slept.append(self.turns.is_waiting)
        return [self.work(data) for data in batch]

    async def ask(self, together, times=1):
        """The answers to so many requests at once, so many times over."""
        answers = []
        for _ in range(times):
            jobs = [self.runner.submit(i, time.monotonic() + 10) for i in range(together)]
            answers += [await job.wait() for job in jobs]
        return answers


@pytest.fixture
def quick():
    made = Quick()
    yield made
    made.runner.stop(5)


def test_the_loop_sleeps_until_requests_that_came_together_are_done(quick):
    assert asyncio.run(quick.ask(20)) == list(range(20))
    assert quick.slept == [True] * 20


def test_it_does_not_sleep_for_a_lone_request(quick):
    assert asyncio.run(quick.ask(1)) == [0]
    assert quick.slept == [False]


def test_it_does_not_sleep_for_more_than_can_be_done_meanwhile(quick):
    quick.work = lambda data: time.sleep(QUICK_S / 2) or data
    asyncio.run(quick.ask(1, times=60))
    quick.slept.clear()
    assert asyncio.run(quick.ask(50)) == list(range(50))
    assert not any(quick.slept)


def test_it_does_not_sleep_for_one_of_several_threads():
    quick = Quick(threads=2)
    assert asyncio.run(quick.ask(20)) == list(range(20))
    assert not any(quick.slept)
    quick.runner.stop(5)


def test_it_does_not_sleep_for_a_slow_model(quick):
    quick.work = lambda data: time.sleep(20 * QUICK_S) or data
    asyncio.run(quick.ask(1))
    quick.slept.clear()
    assert asyncio.run(quick.ask(3)) == [0, 1, 2]
    assert not any(quick.slept)


def test_work_that_does_not_come_back_costs_the_loop_one_short_sleep(quick, monkeypatch):
    held, sleeps = threading.Event(), []
    quick.work = lambda data: held.wait(5) and data
    give = quick.turns.give

    def timed_give(start):
        began = time.monotonic()
        give(start)
        sleeps.append(time.monotonic() - began)

    monkeypatch.setattr(quick.turns, "give", timed_give)

    async def ask_again_and_again():
        asking = [asyncio.create_task(quick.ask(2)) for _ in range(10)]
        for _ in range(10):
            asking.append(asyncio.create_task(quick.ask(2)))
            await asyncio.sleep(0.005)
        held.set()
        return await asyncio.gather(*asking)

    assert asyncio.run(ask_again_and_again()) == [[0, 1]] * 20
    assert WAIT_S <= sleeps[0] < 1
    assert len(sleeps) == 1


@pytest.mark.skipif(len(allowed()) < 2, reason="the engine has the only core")
def test_while_the_engine_runs_for_long_the_loop_is_awake(quick):
    awake = []

    def run(data):
        with quick.turns.aside():
            time.sleep(3 * LONG_S)
            awake.append(not quick.turns.is_waiting)
        return data

    quick.work = run
    asyncio.run(quick.ask(1, times=60))
    quick.slept.clear()
    awake.clear()
    assert asyncio.run(quick.ask(20)) == list(range(20))
    assert awake == [True] * 20
    assert quick.slept[0], "until the engine begins"


def test_workers_that_fill_the_cores_leave_none_for_the_loop():
    turns = Turns(0, workers=max(1, len(allowed())))
    for _ in range(60):
        with turns.aside():
            time.sleep(3 * LONG_S)
    assert not turns.runs_long


def test_an_answer_is_not_held_for_a_slow_request_behind_it(quick):
    quick.work = lambda seconds: time.sleep(seconds) or seconds

    async def ask():
        began = time.monotonic()
        answers = [quick.runner.submit(s, began + 10) for s in (0.0, 0.0, 0.5)]
        assert [await job.wait() for job in answers[:2]] == [0.0, 0.0]
        waited = time.monotonic() - began
        await answers[2].wait()
        return waited

    assert asyncio.run(ask()) < 0.3


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_whatever_a_script_starts_may_run_on_any_core(quick):
    everywhere = os.sched_getaffinity(0)
    quick.work = lambda _: os.sched_getaffinity(0)

    async def after():
        assert await quick.ask(20) == [everywhere] * 20
        return os.sched_getaffinity(0)

    assert asyncio.run(after()) == everywhere
    assert asyncio.run(quick.ask(1)) == [everywhere]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_a_script_that_chose_its_cores_keeps_them():
    def choose():
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    quick = Quick(prepare=choose)
    quick.work = lambda _: os.sched_getaffinity(0)
    assert asyncio.run(quick.ask(5)) == [{max(os.sched_getaffinity(0))}] * 5
    quick.runner.stop(5)

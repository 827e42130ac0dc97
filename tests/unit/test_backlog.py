"""The order of waiting requests, on a clock that the test moves."""

import asyncio
import functools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.backlog import Backlog
from engineroom.errors import DeadlineError, QueueFullError


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def on_a_loop(test):
    """Runs ``test``, a generator that yields to let the loop have its turn."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(_steps(test(*args, **kwargs)))

    return run


async def _steps(turns):
    for _ in turns:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def take(backlog, most=16):
    return backlog.batch(backlog.first(), most, 0)


@on_a_loop
def test_a_batch_is_what_waits_in_the_order_of_arrival():
    backlog = Backlog(100, 1)
    for i in range(5):
        backlog.add(i, 1e12)
    yield
    assert [job.data for job in take(backlog, 3)] == [0, 1, 2]
    assert [job.data for job in take(backlog, 3)] == [3, 4]
    assert backlog.waiting == 0


@on_a_loop
def test_retry_after_is_the_time_that_the_queue_takes():
    backlog = Backlog(4, takers=2)
    for _ in range(200):
        backlog.count(jobs=2, seconds=3.0)
    for i in range(4):
        backlog.add(i, 1e12)
    with pytest.raises(QueueFullError, match="try again in 3 s") as caught:
        backlog.add(5, 1e12)
    assert caught.value.retry_after_s == 3
    yield


@on_a_loop
def test_a_late_job_is_told_so_and_is_in_no_batch():
    clock = Clock()
    backlog = Backlog(100, 1, clock)
    late, good = backlog.add("late", clock() + 1), backlog.add("good", clock() + 5)
    yield
    clock.now += 2
    assert take(backlog) == [good]
    yield
    assert isinstance(late.result, DeadlineError)
    assert "waited 2.0 s in the queue" in str(late.result)


@on_a_loop
def test_a_client_that_leaves_while_its_batch_is_held_open_is_in_no_batch():
    backlog = Backlog(100, 1)
    leaves, stays = backlog.add("leaves", 1e12), backlog.add("stays", 1e12)
    yield
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(lambda: backlog.batch(backlog.first(), 16, 0.1))
        time.sleep(0.02)
        assert backlog.claim(leaves)
        assert batch.result() == [stays]


@on_a_loop
def test_a_batch_is_not_held_open_for_longer_than_its_jobs_can_wait():
    backlog = Backlog(100, 1)
    hasty = backlog.add("hasty", time.monotonic() + 0.2)
    yield
    began = time.monotonic()
    assert backlog.batch(backlog.first(), 16, wait_s=10) == [hasty]
    assert 0.05 < time.monotonic() - began < 0.2


@on_a_loop
def test_the_end_comes_after_what_waits_and_for_each_taker():
    backlog = Backlog(100, takers=2)
    job = backlog.add(1, 1e12)
    yield
    backlog.close()
    assert take(backlog) == [job]
    assert backlog.first() is None
    assert backlog.first() is None


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.floats(0, 10)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.floats(0, 5)),
        st.tuples(st.just("take"), st.integers(1, 8)),
    ),
    max_size=60,
)


@given(ACTIONS)
@on_a_loop
def test_each_request_is_run_refused_or_cancelled_once_and_in_order(actions):
    clock = Clock()
    backlog = Backlog(10, 1, clock)
    jobs, cancelled, ran, refused = [], set(), [], 0
    for action, value in actions:
        if action == "add":
            waiting = len([job for job in jobs if job.waiting])
            try:
                jobs.append(backlog.add(len(jobs), clock() + value))
                assert waiting < 10
            except QueueFullError:
                refused += 1
                assert waiting == 10
        elif action == "cancel" and value < len(jobs) and backlog.claim(jobs[value]):
            cancelled.add(value)
            jobs[value].settle(asyncio.CancelledError())
        elif action == "wait":
            clock.now += value
        elif action == "take":
            yield
            if not backlog.is_empty:
                batch = take(backlog, value)
                assert len(batch) <= value
                assert all(clock() < job.deadline for job in batch)
                ran += [job.data for job in batch]
                backlog.hand_back(batch, [job.data for job in batch], hold=False)
        assert backlog.waiting == len([job for job in jobs if job.waiting])
    yield
    backlog.close()
    while (first := backlog.first()) is not None:
        batch = backlog.batch(first, 4, 0)
        ran += [job.data for job in batch]
        backlog.hand_back(batch, [job.data for job in batch], hold=False)
    yield
    assert ran == sorted(ran)
    assert len(set(ran)) == len(ran)
    for i, job in enumerate(jobs):
        if i in ran:
            assert job.result == i
        elif i in cancelled:
            assert isinstance(job.result, asyncio.CancelledError)
        else:
            assert isinstance(job.result, DeadlineError)

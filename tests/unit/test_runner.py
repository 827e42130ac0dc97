"""The queue between the event loop and the threads that predict."""

import asyncio
import contextlib
import threading
import time

import pytest

from engineroom.errors import DeadlineError, NotReadyError, QueueFullError
from engineroom.runner import Runner


def one_by_one(work):
    def works(batch):
        return [work(data) for data in batch]

    return works


@contextlib.contextmanager
def running(work, threads=1, size=100, turn=contextlib.nullcontext):
    runner = Runner(one_by_one(work), turn, threads, size)
    try:
        yield runner
    finally:
        runner.stop(5)


def later(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def test_each_request_gets_its_own_answer_in_the_order_of_arrival():
    order = []

    def work(data):
        order.append(data)
        return data * 2

    async def ask(runner):
        jobs = [runner.submit(i, later()) for i in range(50)]
        return [await job.wait() for job in jobs]

    with running(work) as runner:
        assert asyncio.run(ask(runner)) == [i * 2 for i in range(50)]
    assert order == list(range(50))


def test_each_thread_is_prepared_before_its_first_job():
    prepared = []

    def prepare():
        time.sleep(0.05)
        prepared.append(threading.get_ident())

    runner = Runner(lambda _: [threading.get_ident()], contextlib.nullcontext, 3, 10, prepare)
    runner.wait_until_prepared()
    assert len(set(prepared)) == 3

    async def ask():
        return await runner.submit(1, later()).wait()

    assert asyncio.run(ask()) in prepared
    runner.stop(5)


def test_an_exception_is_the_answer_of_its_own_request_only():
    async def ask(runner):
        jobs = [runner.submit(i, later()) for i in (1, 0, 2)]
        return await asyncio.gather(*(job.wait() for job in jobs), return_exceptions=True)

    with running(lambda data: 1 / data) as runner:
        answers = asyncio.run(ask(runner))
    assert answers[0] == 1
    assert isinstance(answers[1], ZeroDivisionError)
    assert answers[2] == 0.5


def test_a_job_whose_deadline_has_passed_is_never_run():
    ran = []

    async def ask(runner):
        jobs = [runner.submit(0.1, later()), runner.submit(0, later(0.05))]
        return await asyncio.gather(*(job.wait() for job in jobs), return_exceptions=True)

    def work(seconds):
        ran.append(seconds)
        time.sleep(seconds)

    with running(work) as runner:
        answers = asyncio.run(ask(runner))
    assert isinstance(answers[1], DeadlineError)
    assert ran == [0.1]


def test_a_cancelled_job_is_never_run_and_its_place_is_free_at_once():
    ran, go = [], threading.Event()

    async def ask(runner):
        first = runner.submit("first", later())
        while first.waiting:
            await asyncio.sleep(0.001)
        second = runner.submit("second", later())
        with pytest.raises(QueueFullError):
            runner.submit("third", later())
        assert runner.cancel(second)
        fourth = runner.submit("fourth", later())
        go.set()
        await asyncio.gather(first.wait(), fourth.wait())

    def work(data):
        ran.append(data)
        go.wait(5)

    with running(work, size=1) as runner:
        asyncio.run(ask(runner))
    assert ran == ["first", "fourth"]


def test_a_running_job_cannot_be_cancelled_and_the_next_one_still_runs():
    async def ask(runner):
        first = runner.submit(0.1, later())
        while first.waiting:
            await asyncio.sleep(0.001)
        assert not runner.cancel(first)
        return await runner.submit(0, later()).wait()

    with running(lambda seconds: time.sleep(seconds) or "done") as runner:
        assert asyncio.run(ask(runner)) == "done"


def test_a_full_queue_says_when_to_come_back():
    async def ask(runner):
        for _ in range(20):
            runner.submit(0.05, later())
        with pytest.raises(QueueFullError) as caught:
            runner.submit(0.05, later())
        return caught.value

    with running(time.sleep, size=20) as runner:
        error = asyncio.run(ask(runner))
    assert error.status == 503
    assert int(error.headers["retry-after"]) >= 1


def test_threads_predict_at_once_but_never_more_than_there_are():
    now, most = [0], [0]
    lock = threading.Lock()

    def work(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    async def ask(runner):
        await asyncio.gather(*(runner.submit(i, later()).wait() for i in range(12)))

    with running(work, threads=3) as runner:
        asyncio.run(ask(runner))
    assert most == [3]


def test_a_turn_is_held_while_a_job_runs_and_deadlines_pass_behind_it():
    turn = threading.Lock()

    async def ask(runner):
        turn.acquire()
        job = runner.submit("late", later(0.05))
        await asyncio.sleep(0.1)
        turn.release()
        with pytest.raises(DeadlineError):
            await job.wait()

    with running(lambda data: data, turn=lambda: turn) as runner:
        asyncio.run(ask(runner))


@pytest.mark.parametrize("quick_ones", [1, 100])
def test_an_answer_does_not_wait_for_a_slow_job_behind_it(quick_ones):
    async def ask(runner):
        quick = [runner.submit(0, later()) for _ in range(quick_ones)]
        slow = runner.submit(0.5, later())
        began = time.monotonic()
        await asyncio.gather(*(job.wait() for job in quick))
        waited = time.monotonic() - began
        await slow.wait()
        return waited

    with running(time.sleep, size=200) as runner:
        assert asyncio.run(ask(runner)) < 0.3


def test_a_stopped_runner_finishes_what_it_has_and_takes_no_more():
    async def ask(runner):
        job = runner.submit(1, later())
        await asyncio.sleep(0)  # the loop queues what has arrived
        await asyncio.to_thread(runner.stop, 5)
        assert await job.wait() == 1
        with pytest.raises(NotReadyError):
            runner.submit(2, later())

    with running(lambda data: data) as runner:
        asyncio.run(ask(runner))


def test_a_thread_that_hangs_for_nobody_does_not_delay_the_stop():
    async def ask(runner):
        job = runner.submit(1.5, later())
        while job.waiting:
            await asyncio.sleep(0.001)
        runner.cancel(job)

    runner = Runner(one_by_one(time.sleep), contextlib.nullcontext, 1, 10)
    asyncio.run(ask(runner))
    began = time.monotonic()
    runner.stop(5)
    assert time.monotonic() - began < 1


def test_a_loop_that_ends_before_its_request_is_queued_does_not_block_the_next():
    with running(lambda data: data, size=1) as runner:
        loop = asyncio.new_event_loop()
        # stop() ends the loop after this callback, before the one that queues what has arrived.
        loop.call_soon(lambda: (runner.submit("lost", later()), loop.stop()))
        loop.run_forever()
        loop.close()

        async def ask():
            with contextlib.suppress(QueueFullError):  # the lost one may still wait for its turn
                return await runner.submit("next", later()).wait()
            await asyncio.sleep(0.1)
            return await runner.submit("next", later()).wait()

        assert asyncio.run(asyncio.wait_for(ask(), 5)) == "next"


def test_answers_for_a_loop_that_is_gone_are_dropped():
    async def ask(runner):
        runner.submit(0.05, later())
        await asyncio.sleep(0.01)

    with running(time.sleep) as runner:
        asyncio.run(ask(runner))
        time.sleep(0.1)

        async def again(runner):
            return await runner.submit(0, later()).wait()

        assert asyncio.run(again(runner)) is None

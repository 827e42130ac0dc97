"""The connections between a front and its children, against real sockets."""

import asyncio
import contextlib

import anyio
import pytest
import uvloop

from engineroom.relay import TRIES, Exchange, Pool

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nok"


@contextlib.asynccontextmanager
async def server(path, answer):
    """Listens at ``path``; ``await answer(reader, writer, n)`` has the n-th connection."""
    count = 0

    async def connected(reader, writer):
        nonlocal count
        count += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            await answer(reader, writer, count)
        writer.close()

    async with await asyncio.start_unix_server(connected, path) as listening:
        yield
        listening.close()


async def read_request(reader):
    await reader.readuntil(b"\r\n\r\n")


async def outcome(exchange):
    with anyio.fail_after(5):
        return await exchange.future


def ask(pool):
    exchange = Exchange([b"GET / HTTP/1.1\r\n", b"\r\n"])
    pool.send(exchange)
    return exchange


def run(tmp_path, answer, work):
    """The result of ``await work(pool)`` for a pool to a server that answers so."""

    async def main():
        path = str(tmp_path / "s")
        pool = Pool(path, lambda exchange: pool.send(exchange))
        async with server(path, answer):
            result = await work(pool)
            for connection in list(pool.open):
                connection.transport.abort()
            await asyncio.sleep(0.01)
        return result

    return in_loop(main())


def in_loop(work):
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def test_a_reply_has_status_headers_and_body_however_it_is_cut(tmp_path):
    async def answer(reader, writer, _):
        await read_request(reader)
        for i in range(len(REPLY)):
            writer.write(REPLY[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async def work(pool):
        return await outcome(ask(pool))

    status, headers, body = run(tmp_path, answer, work)
    assert (status, b"".join(body)) == (200, b"ok")
    assert headers == [(b"content-length", b"2"), (b"x-a", b"b")]


def test_a_connection_is_kept_and_used_again(tmp_path):
    seen = set()

    async def answer(reader, writer, n):
        while True:
            await read_request(reader)
            seen.add(n)
            writer.write(REPLY)

    async def work(pool):
        for _ in range(3):
            await outcome(ask(pool))
        assert not pool.is_busy
        await asyncio.gather(*(outcome(ask(pool)) for _ in range(2)))

    run(tmp_path, answer, work)
    assert seen == {1, 2}


def test_one_that_the_server_closes_is_not_used_again(tmp_path):
    async def answer(reader, writer, _):
        await read_request(reader)
        writer.write(REPLY.replace(b"x-a: b", b"connection: close"))

    async def work(pool):
        replies = [await outcome(ask(pool)) for _ in range(2)]
        return [reply.headers for reply in replies]

    assert run(tmp_path, answer, work) == [[(b"content-length", b"2")]] * 2


def test_a_request_that_was_not_read_is_sent_again(tmp_path):
    async def answer(reader, writer, n):
        if n == 1:
            await read_request(reader)
            writer.write(REPLY)
            reader._transport.pause_reading()
            await asyncio.sleep(0.1)  # the second request comes, and is left unread
        else:
            await read_request(reader)
            writer.write(REPLY)
            await reader.read()

    async def work(pool):
        await outcome(ask(pool))
        exchange = ask(pool)
        reply = await outcome(exchange)
        return reply.status, exchange.tries

    assert run(tmp_path, answer, work) == (200, 2)


def test_one_that_was_read_is_lost_with_its_server(tmp_path):
    async def answer(reader, writer, _):
        await read_request(reader)

    async def work(pool):
        with pytest.raises(ConnectionAbortedError):
            await outcome(ask(pool))

    run(tmp_path, answer, work)


def test_a_server_that_resets_for_ever_is_given_up(tmp_path):
    async def answer(reader, writer, _):
        reader._transport.pause_reading()
        await asyncio.sleep(0.02)

    async def work(pool):
        exchange = ask(pool)
        with pytest.raises(ConnectionAbortedError):
            await outcome(exchange)
        return exchange.tries

    assert run(tmp_path, answer, work) == TRIES


def test_nobody_at_the_socket_is_an_error_that_says_so(tmp_path):
    async def main():
        pool = Pool(str(tmp_path / "nowhere"), lambda _: None)
        with pytest.raises(FileNotFoundError):
            await outcome(ask(pool))

    in_loop(main())


def test_a_reply_that_is_not_http_is_a_lost_request(tmp_path):
    async def answer(reader, writer, _):
        await read_request(reader)
        writer.write(b"what?\r\n\r\n")
        await reader.read()

    async def work(pool):
        with pytest.raises(ConnectionAbortedError):
            await outcome(ask(pool))

    run(tmp_path, answer, work)


def test_cancelling_closes_the_connection(tmp_path):
    closed = asyncio.Event()

    async def answer(reader, writer, _):
        await read_request(reader)
        assert await reader.read() == b""
        closed.set()

    async def work(pool):
        exchange = ask(pool)
        await asyncio.sleep(0.05)
        exchange.cancel()
        with anyio.fail_after(5):
            await closed.wait()
        assert not pool.is_busy

    run(tmp_path, answer, work)

"""redis-py with asyncio: many things at once on one event loop, in both versions of the protocol."""

import asyncio

import redis.asyncio as redis
from redis.exceptions import LockError, NoScriptError, ResponseError, WatchError

from checks import HOST, PORT, SOCKET, check, equal, passed

SWAP = "local old = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return old"


async def refused(kind, awaitable, what):
    try:
        result = await awaitable
    except kind as error:
        check(True, what)
        return error
    check(False, f"{what}: no {kind.__name__}, but {result!r}")


async def cache(client, key):
    await asyncio.gather(*(client.set(key(f"page:{n}"), f"body {n}", ex=100) for n in range(100)))
    bodies = await asyncio.gather(*(client.get(key(f"page:{n}")) for n in range(100)))
    equal(bodies, [f"body {n}" for n in range(100)], "a hundred pages at once")
    equal(await client.mget([key(f"page:{n}") for n in range(100)]), bodies, "the same by MGET")
    equal(await client.get(key("absent")), None, "an absent page")
    check(90 < await client.ttl(key("page:1")) <= 100, "a time to live")
    equal(await client.getdel(key("page:1")), "body 1", "GETDEL")
    equal(await client.get(key("page:1")), None, "it is gone")


async def counter(client, key):
    replies = await asyncio.gather(*(client.incr(key("counter")) for _ in range(400)))
    equal(sorted(replies), list(range(1, 401)), "every count is given once")
    equal(await client.get(key("counter")), "400", "none is lost")


async def lock(client, key):
    seen = 0

    async def deposit():
        nonlocal seen
        async with client.lock(key("lock"), timeout=20, sleep=0.005):
            before = seen
            await asyncio.sleep(0.002)
            seen = before + 1

    await asyncio.gather(*(deposit() for _ in range(15)))
    equal(seen, 15, "one at a time")
    other = client.lock(key("lock"), timeout=20)
    await refused(LockError, other.release(), "nobody releases what he does not have")


async def queue(client, key):
    done = []

    async def worker():
        while (job := (await client.brpop([key("{q}urgent"), key("{q}jobs")], timeout=20))[1]) != "end":
            done.append(job)

    workers = asyncio.gather(*(worker() for _ in range(4)))
    for number in range(80):
        await client.lpush(key("{q}urgent" if number % 8 == 0 else "{q}jobs"), f"job {number}")
    for _ in range(4):
        await client.lpush(key("{q}jobs"), "end")
    await asyncio.wait_for(workers, 20)
    equal(sorted(done), sorted(f"job {number}" for number in range(80)), "every job once")
    waiting = asyncio.create_task(client.blpop(key("{q}jobs"), timeout=20))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    # Who gave up has closed its connection, so what comes now is for the next one.
    await asyncio.sleep(0.05)
    await client.rpush(key("{q}jobs"), "kept")
    equal(list(await client.blpop(key("{q}jobs"), timeout=5)), [key("{q}jobs"), "kept"], "it took nothing")


async def pub_sub(client, key):
    async with client.pubsub() as subscriber:
        await subscriber.subscribe(key("news"))
        await subscriber.psubscribe(key("room:*"))
        equal([(await message(subscriber))["type"] for _ in range(2)], ["subscribe", "psubscribe"], "confirmed")
        for number in range(50):
            await client.publish(key("news"), str(number))
        heard = [(await message(subscriber))["data"] for _ in range(50)]
        equal(heard, [*map(str, range(50))], "messages in order")
        await client.publish(key("room:1"), "hello")
        equal((await message(subscriber))["pattern"], key("room:*"), "a message by its pattern")
        await subscriber.unsubscribe()
        await subscriber.punsubscribe()
        equal([(await message(subscriber))["type"] for _ in range(2)], ["unsubscribe", "punsubscribe"], "the end")
        equal(await client.publish(key("news"), "unheard"), 0, "nobody listens")


async def message(subscriber):
    async with asyncio.timeout(10):
        while (got := await subscriber.get_message(timeout=1)) is None:
            pass
    return got


async def transactions(client, key):
    async def buy():
        async with client.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key("{t}money"), key("{t}goods"))
                    money = int(await pipe.get(key("{t}money")))
                    goods = int(await pipe.get(key("{t}goods")))
                    if goods == 0:
                        return 0
                    pipe.multi()
                    pipe.set(key("{t}money"), money - 3).set(key("{t}goods"), goods - 1)
                    await pipe.execute()
                    return 1
                except WatchError:
                    await asyncio.sleep(0.001)

    await client.mset({key("{t}money"): 100, key("{t}goods"): 8})
    equal(sum(await asyncio.gather(*(buy() for _ in range(12)))), 8, "eight of twelve buy")
    equal(await client.mget(key("{t}money"), key("{t}goods")), ["76", "0"], "what is left")


async def scripts(client, key):
    swap = client.register_script(SWAP)
    await client.script_flush()
    equal(await swap(keys=[key("value")], args=["a"]), None, "a script that the server did not have")
    equal(await client.get(key("value")), "a", "a read after it")
    equal(await swap(keys=[key("value")], args=["b"]), "a", "again")
    equal(await client.get(key("value")), "b", "a read after it")
    await refused(NoScriptError, client.evalsha("1" * 40, 0), "nobody has it")
    await refused(ResponseError, client.eval("return redis.call('INCR', KEYS[1])", 1, key("value")), "no number")


async def scan(client, key):
    async with client.pipeline(transaction=False) as pipe:
        for number in range(200):
            pipe.set(key(f"item:{number}"), number)
        equal(await pipe.execute(), [True] * 200, "a pipeline over all slots")
    found = {name async for name in client.scan_iter(match=key("item:*"), count=40)}
    equal(found, {key(f"item:{number}") for number in range(200)}, "SCAN finds every key")


async def streams(client, key):
    await client.xgroup_create(key("log"), "readers", mkstream=True)
    done = []

    async def consumer(name):
        while len(done) < 60:
            found = await client.xreadgroup("readers", name, {key("log"): ">"}, count=7, block=200)
            for pages in found.values() if isinstance(found, dict) else [[page] for _, page in found]:
                for entry, fields in (pair for page in pages for pair in page):
                    done.append(int(fields["n"]))
                    await client.xack(key("log"), "readers", entry)

    consumers = asyncio.gather(*(consumer(f"c{n}") for n in range(3)))
    for number in range(60):
        await client.xadd(key("log"), {"n": number})
    await asyncio.wait_for(consumers, 20)
    equal(sorted(done), list(range(60)), "every entry once")
    equal((await client.xpending(key("log"), "readers"))["pending"], 0, "all acknowledged")


BOUND = {"max_connections": 20, "timeout": 20, "decode_responses": True}
PARTS = [cache, counter, lock, queue, pub_sub, transactions, scripts, scan, streams]


async def main():
    # As many connections as there are, or it waits for one; a web server does not open a thousand of them.
    pools = {
        "resp2": redis.BlockingConnectionPool(host=HOST, port=PORT, protocol=2, **BOUND),
        "resp3": redis.BlockingConnectionPool(host=HOST, port=PORT, protocol=3, **BOUND),
        "unix": redis.BlockingConnectionPool(
            connection_class=redis.UnixDomainSocketConnection, path=SOCKET, protocol=2, **BOUND),
    }
    for name, pool in pools.items():
        async with redis.Redis.from_pool(pool) as client:
            for part in PARTS:
                await part(client, f"redis-py-asyncio:{name}:{part.__name__}:".__add__)


asyncio.run(main())
passed()

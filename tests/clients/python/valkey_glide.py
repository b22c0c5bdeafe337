"""valkey-glide as the client of one server: all that the application does shares a connection."""

import asyncio

import glide
from glide import (
    Batch, ConditionalChange, ExpirySet, ExpiryType, GlideClient, GlideClientConfiguration, ListDirection, NodeAddress,
    ProtocolVersion, RequestError, Script, StreamAddOptions, StreamGroupOptions, StreamReadGroupOptions,
)

from checks import HOST, PORT, check, equal, passed

PubSub = GlideClientConfiguration.PubSubSubscriptions
Modes = GlideClientConfiguration.PubSubChannelModes


def configuration(protocol, **more):
    return GlideClientConfiguration([NodeAddress(HOST, PORT)], protocol=protocol, request_timeout=10_000, **more)


async def refused(awaitable, words, what):
    try:
        result = await awaitable
    except RequestError as error:
        check(words in str(error), f"{what}: {error}")
        return
    check(False, f"{what}: {result!r}")


async def cache(client, key):
    await client.set(key("user"), "Ada", expiry=ExpirySet(ExpiryType.SEC, 100))
    equal(await client.get(key("user")), b"Ada", "what was set")
    check(90 < await client.ttl(key("user")) <= 100, "its time to live")
    equal(await client.set(key("user"), "Eve", ConditionalChange.ONLY_IF_DOES_NOT_EXIST), None, "SET NX")
    await client.set(key("user"), "Grace")
    equal(await client.get(key("user")), b"Grace", "what was set over it")
    users = {key(f"user:{n}"): f"name {n}" for n in range(50)}
    equal(await client.mset(users), "OK", "MSET over many slots")
    equal(await client.mget([*users, key("nobody")]), [v.encode() for v in users.values()] + [None], "MGET")
    await client.hset(key("profile"), {"name": "Ada", "visits": "3"})
    equal(await client.hgetall(key("profile")), {b"name": b"Ada", b"visits": b"3"}, "a hash as a dict")
    equal(await client.zadd(key("board"), {"ada": 10, "grace": 20.5}), 2, "a board")
    equal(await client.zscore(key("board"), "grace"), 20.5, "a score is a float")
    equal(await client.sadd(key("tags"), ["a", "b"]), 2, "a set")
    equal(await client.smembers(key("tags")), {b"a", b"b"}, "a set as a set")


async def counter(client, key):
    equal(sorted(await asyncio.gather(*(client.incr(key("n")) for _ in range(400)))), list(range(1, 401)), "counts")
    equal(await client.get(key("n")), b"400", "none is lost")


async def queue(client, key):
    """A waiting command keeps the whole connection busy, so every worker has a client of its own."""
    done = []

    async def worker(number):
        own = await GlideClient.create(configuration(client.config.protocol, client_name=f"worker-{number}"))
        while True:
            if number % 2:
                job = (await own.blpop([key("{q}jobs")], 5))[1]
            else:
                job = await own.blmove(key("{q}jobs"), key("{q}taken"), ListDirection.LEFT, ListDirection.RIGHT, 5)
            if job == b"end":
                break
            done.append(int(job))
        await own.close()

    workers = asyncio.gather(*(worker(n) for n in range(4)))
    for number in range(80):
        await client.rpush(key("{q}jobs"), [str(number)])
    await client.rpush(key("{q}jobs"), ["end"] * 4)
    await asyncio.wait_for(workers, 20)
    equal(sorted(done), list(range(80)), "every job once")


async def pub_sub(client, key):
    subscriptions = PubSub(
        channels_and_patterns={Modes.Exact: {key("news")}, Modes.Pattern: {key("room:*")}}, callback=None, context=None)
    listener = await GlideClient.create(configuration(client.config.protocol, pubsub_subscriptions=subscriptions))
    for _ in range(500):
        if await client.pubsub_numsub([key("news")]) == {key("news").encode(): 1}:
            break
        await asyncio.sleep(0.01)
    for number in range(50):
        await client.publish(str(number), key("news"))
    heard = [await asyncio.wait_for(listener.get_pubsub_message(), 10) for _ in range(50)]
    equal([m.message for m in heard], [str(n).encode() for n in range(50)], "messages in order")
    await client.publish("hello", key("room:1"))
    message = await asyncio.wait_for(listener.get_pubsub_message(), 10)
    equal((message.message, message.channel, message.pattern),
          (b"hello", key("room:1").encode(), key("room:*").encode()), "a message by pattern")
    await listener.close()


async def transactions(client, key):
    batch = Batch(is_atomic=True)
    batch.set(key("{t}a"), "1").incr(key("{t}a")).get(key("{t}a")).lpush(key("{t}list"), ["x"])
    equal(await client.exec(batch, raise_on_error=True), ["OK", 2, b"2", 1], "MULTI and EXEC")
    other = await GlideClient.create(configuration(client.config.protocol))
    await client.watch([key("{t}a")])
    await other.set(key("{t}a"), "7")
    batch = Batch(is_atomic=True)
    batch.set(key("{t}a"), "lost")
    equal(await client.exec(batch, raise_on_error=True), None, "a watched key was changed")
    equal(await client.exec(batch, raise_on_error=True), ["OK"], "the second try")
    equal(await other.get(key("{t}a")), b"lost", "it is carried out")
    await other.close()


async def pipelines(client, key):
    batch = Batch(is_atomic=False)
    for number in range(100):
        batch.set(key(str(number)), str(number)).get(key(str(number))).incr(key(str(number)))
    wanted = [reply for n in range(100) for reply in ("OK", str(n).encode(), n + 1)]
    equal(await client.exec(batch, raise_on_error=True), wanted, "three hundred replies, each in its place")


async def scripts(client, key):
    await client.script_flush()
    script = Script("return {redis.call('INCRBY', KEYS[1], ARGV[1]), ARGV[1]}")
    equal(await client.invoke_script(script, [key("sum")], ["5"]), [5, b"5"], "a script that no server had")
    equal(await client.get(key("sum")), b"5", "a read after it")
    equal(await client.invoke_script(script, [key("sum")], ["6"]), [11, b"6"], "again")
    equal(await client.get(key("sum")), b"11", "a read after it")
    await client.set(key("word"), "x")
    await refused(client.invoke_script(script, [key("word")], ["1"]), "not an integer", "an error of a script")


async def scan(client, key):
    wanted = {key(f"item:{n}").encode() for n in range(300)}
    await asyncio.gather(*(client.set(name, "x") for name in wanted))
    found, cursor = set(), b"0"
    while True:
        cursor, names = await client.scan(cursor, match=key("item:*"), count=50)
        found.update(names)
        if cursor == b"0":
            break
    equal(found, wanted, "SCAN finds every key")


async def streams(client, key):
    stream, group = key("orders"), "shipping"
    await client.xgroup_create(stream, group, "0", StreamGroupOptions(make_stream=True))
    await refused(client.xgroup_create(stream, group, "0"), "BUSYGROUP", "the group is there")
    for number in range(60):
        await client.xadd(stream, [("order", str(number))], StreamAddOptions())
    done = []

    async def consumer(name):
        own = await GlideClient.create(configuration(client.config.protocol))
        options = StreamReadGroupOptions(count=7, block_ms=200)
        while found := await own.xreadgroup({stream: ">"}, group, name, options):
            for entry, fields in found[stream.encode()].items():
                done.append(int(fields[0][1]))
                equal(await own.xack(stream, group, [entry]), 1, "an entry is acknowledged")
        await own.close()

    await asyncio.wait_for(asyncio.gather(*(consumer(f"c{n}") for n in range(3))), 20)
    equal(sorted(done), list(range(60)), "every order once")
    equal((await client.xpending(stream, group))[0], 0, "all acknowledged")


async def about_the_connection(client, _):
    equal(await client.ping(), b"PONG", "PING")
    equal(await client.client_getname(), b"shop", "its name")
    check(b"redis_version" in await client.info(), "INFO")
    equal(await client.config_get(["databases"]) != {}, True, "CONFIG GET")


PARTS = [cache, counter, queue, pub_sub, transactions, pipelines, scripts, scan, streams, about_the_connection]


async def main():
    for protocol in (ProtocolVersion.RESP2, ProtocolVersion.RESP3):
        client = await GlideClient.create(configuration(protocol, client_name="shop"))
        # Glide subscribes in RESP3 alone.
        for part in [part for part in PARTS if protocol == ProtocolVersion.RESP3 or part is not pub_sub]:
            await part(client, f"glide:{protocol.name}:{part.__name__}:".__add__)
        await client.close()


glide.Logger.set_logger_config(glide.LogLevel.ERROR)
asyncio.run(main())
passed()

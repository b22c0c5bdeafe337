"""redis-py, blocking: the parts of an application, in both versions of the protocol, over TCP and the Unix socket."""

import threading
import time

import redis
from redis.connection import CacheProxyConnection

from checks import HOST, PORT, SOCKET, check, equal, eventually, in_threads, passed, raises

# Its own cache asks for a server that calls itself 7.4; what it needs, CLIENT TRACKING, came with 6.0.
CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"

TAKE_FROM_STOCK = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left < tonumber(ARGV[1]) then return redis.error_reply('SOLDOUT only ' .. left .. ' left') end
return redis.call('DECRBY', KEYS[1], ARGV[1])
"""


def cache(client, key):
    client.set(key("user:1"), "Ada", ex=100)
    equal(client.get(key("user:1")), "Ada", "what was set")
    client.set(key("user:1"), "Grace", ex=100)
    equal(client.get(key("user:1")), "Grace", "what was set over it")
    check(90 < client.ttl(key("user:1")) <= 100, "its time to live")
    equal(client.get(key("user:2")), None, "what was never set")
    client.set(key("short"), "lived", px=150)
    equal(client.get(key("short")), "lived", "before it expires")
    eventually(lambda: client.get(key("short")) is None, "it expires")
    users = {key(f"user:{number}"): f"name {number}" for number in range(10, 60)}
    equal(client.mset(users), True, "MSET over many slots")
    equal(client.mget([*users, key("nobody")]), [*users.values(), None], "MGET over many slots")
    equal(client.delete(*users), 50, "DEL over many slots")
    equal(client.mget(list(users)), [None] * 50, "what was deleted")


def profile(client, key):
    client.hset(key("profile"), mapping={"name": "Ada", "visits": 3})
    equal(client.hgetall(key("profile")), {"name": "Ada", "visits": "3"}, "a hash as a dict")
    equal(client.hincrby(key("profile"), "visits", 2), 5, "a field counted up")
    equal(client.hmget(key("profile"), "visits", "city"), ["5", None], "fields after a write")
    client.zadd(key("board"), {"ada": 10, "grace": 20.5, "edsger": 15})
    equal([name for name, _ in client.zrevrange(key("board"), 0, 1, withscores=True)], ["grace", "edsger"], "a board")
    equal(client.zscore(key("board"), "grace"), 20.5, "a score is a float")
    client.sadd(key("tags"), "a", "b")
    equal(client.smembers(key("tags")), {"a", "b"}, "a set as a set")
    equal(client.type(key("tags")), "set", "its type")


def counter(client, key):
    in_threads(8, lambda _: [client.incr(key("counter")) for _ in range(50)])
    equal(client.get(key("counter")), "400", "eight times fifty")


def lock(client, key):
    balance = [0]

    def deposit(_):
        for _ in range(5):
            with client.lock(key("lock"), timeout=20, sleep=0.005):
                seen = balance[0]
                time.sleep(0.001)
                balance[0] = seen + 1

    in_threads(4, deposit)
    equal(balance[0], 20, "nobody was in the lock together with another")
    first, second = client.lock(key("lock"), timeout=20), client.lock(key("lock"), timeout=20)
    equal(first.acquire(blocking=False), True, "a free lock")
    equal(second.acquire(blocking=False), False, "a taken lock")
    equal(first.extend(5), True, "it is extended by who has it")
    raises(redis.exceptions.LockError, second.release, "it is not released by another")
    first.release()
    equal(client.exists(key("lock")), 0, "a released lock is gone")


def queue(client, key):
    """Workers that wait; one kind loses nothing when it dies, as it keeps what it works on in a second list."""
    done, guard = [], threading.Lock()

    def worker(number):
        while True:
            if number % 2:
                _, job = client.blpop(key("{q}jobs"), timeout=20)
            else:
                job = client.blmove(key("{q}jobs"), key(f"{{q}}taken:{number}"), 20, "LEFT", "RIGHT")
                client.lrem(key(f"{{q}}taken:{number}"), 1, job)
            if job == "end":
                return
            with guard:
                done.append(job)

    jobs = [f"job {number}" for number in range(60)]
    boss = threading.Thread(target=lambda: [client.rpush(key("{q}jobs"), job) for job in [*jobs, *["end"] * 4]])
    boss.start()
    in_threads(4, worker)
    boss.join()
    equal(sorted(done), sorted(jobs), "every job is done once")
    equal(client.blpop([key("{q}jobs"), key("{q}others")], timeout=0.1), None, "nothing to do")
    client.rpush(key("{q}jobs"), "last")
    equal(client.brpoplpush(key("{q}jobs"), key("{q}kept"), timeout=1), "last", "BRPOPLPUSH")
    equal(client.lmove(key("{q}kept"), key("{q}jobs"), "LEFT", "LEFT"), "last", "LMOVE")


def pub_sub(client, key):
    with client.pubsub() as subscriber:
        subscriber.subscribe(key("news"))
        subscriber.psubscribe(key("room:*"))
        kinds = [next_message(subscriber)["type"] for _ in range(2)]
        equal(kinds, ["subscribe", "psubscribe"], "the subscriptions are confirmed")
        for number in range(20):
            equal(client.publish(key("news"), f"news {number}"), 1, "one subscriber of the channel")
        got = [next_message(subscriber)["data"] for _ in range(20)]
        equal(got, [f"news {n}" for n in range(20)], "messages in order")
        client.publish(key("room:7"), "hello")
        got = next_message(subscriber)
        equal((got["type"], got["pattern"], got["channel"]),
              ("pmessage", key("room:*"), key("room:7")), "a message by pattern")
        equal(dict(client.pubsub_numsub(key("news"))), {key("news"): 1}, "who subscribes")
        subscriber.unsubscribe(key("news"))
        equal(next_message(subscriber)["type"], "unsubscribe", "the end of a subscription")
        equal(client.publish(key("news"), "unheard"), 0, "no subscriber is left")
    heard = []
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(**{key("events"): lambda message: heard.append(message["data"])})
    thread = listener.run_in_thread(sleep_time=0.05, daemon=True)
    eventually(lambda: client.publish(key("events"), "now") == 1, "the thread listens")
    eventually(lambda: heard == ["now"], "the handler is called")
    thread.stop()
    thread.join(5)


def next_message(subscriber):
    message = None
    deadline = time.monotonic() + 10
    while message is None and time.monotonic() < deadline:
        message = subscriber.get_message(timeout=1)
    check(message is not None, "a message within 10 s")
    return message


def transactions(client, key):
    with client.pipeline(transaction=True) as pipe:
        pipe.set(key("{t}a"), "1").incr(key("{t}a")).lpush(key("{t}list"), "x").get(key("{t}a"))
        equal(pipe.execute(), [True, 2, 1, "2"], "MULTI and EXEC")
        pipe.incr(key("{t}a")).incr(key("{t}list")).incr(key("{t}a"))
        replies = pipe.execute(raise_on_error=False)
        equal((replies[0], type(replies[1]), replies[2]), (3, redis.ResponseError, 4), "one of three fails")

    # Two that read, think and write: WATCH makes one of them read again.
    tries = []

    def add(pipe):
        before = int(pipe.get(key("{t}sum")) or 0)
        tries.append(before)
        if len(tries) == 1:
            client.set(key("{t}sum"), "100")
        pipe.multi()
        pipe.set(key("{t}sum"), before + 1)

    equal(client.transaction(add, key("{t}sum")), [True], "the second try is carried out")
    equal((tries, client.get(key("{t}sum"))), ([0, 100], "101"), "the first was in vain")
    with client.pipeline() as pipe:
        pipe.watch(key("{t}sum"))
        client.incr(key("{t}sum"))
        pipe.multi()
        pipe.set(key("{t}sum"), "lost")
        raises(redis.WatchError, pipe.execute, "a watched key was changed")
    equal(client.get(key("{t}sum")), "102", "a refused transaction changes nothing")

    def increment(_):
        for _ in range(5):
            client.transaction(
                lambda pipe: (value := int(pipe.get(key("{t}many")) or 0), pipe.multi(),
                              pipe.set(key("{t}many"), value + 1)), key("{t}many"))

    in_threads(4, increment)
    equal(client.get(key("{t}many")), "20", "no increment is lost")


def scripts(client, key):
    take = client.register_script(TAKE_FROM_STOCK)
    client.script_flush()
    client.set(key("stock"), 10)
    equal(client.get(key("stock")), "10", "the stock")
    equal(take(keys=[key("stock")], args=[3]), 7, "a script that no server had")
    equal(client.get(key("stock")), "7", "a read after a script sees what it wrote")
    refusal = raises(redis.ResponseError, lambda: take(keys=[key("stock")], args=[8]), "an error of the script")
    check("SOLDOUT only 7 left" in str(refusal), f"its words: {refusal}")
    equal(client.script_exists(take.sha), [True], "it is known now")
    unknown = "0" * 40
    raises(redis.exceptions.NoScriptError, lambda: client.evalsha(unknown, 1, key("stock")), "nobody has it")
    equal(client.eval("return {1, ARGV[1], {KEYS[1]}}", 1, key("stock"), "x"), [1, "x", [key("stock")]], "EVAL")
    with client.pipeline(transaction=False) as pipe:
        for _ in range(3):
            take(keys=[key("stock")], args=[1], client=pipe)
        equal(pipe.execute(), [6, 5, 4], "a script in a pipeline")


def scan(client, key):
    wanted = {key(f"scan:{number}") for number in range(300)}
    with client.pipeline(transaction=False) as pipe:
        for name in wanted:
            pipe.set(name, "x")
        equal(pipe.execute(), [True] * 300, "a pipeline over all slots")
    equal(set(client.scan_iter(match=key("scan:*"), count=50)), wanted, "SCAN finds every key")
    client.sadd(key("other"), "x")
    equal(set(client.scan_iter(match=key("*"), _type="set")) >= {key("other")}, True, "SCAN by type")
    client.hset(key("large"), mapping={f"field {number}": number for number in range(600)})
    equal(len(dict(client.hscan_iter(key("large"), count=100))), 600, "HSCAN finds every field")


def pipelines(client, key):
    with client.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.set(key(f"p:{number}"), number).get(key(f"p:{number}")).incr(key(f"p:{number}"))
        wanted = [reply for n in range(100) for reply in (True, str(n), n + 1)]
        equal(pipe.execute(), wanted, "three hundred replies, each in its place")
        pipe.get(key("p:1")).lpush(key("p:1"), "x").get(key("p:2"))
        replies = pipe.execute(raise_on_error=False)
        equal((replies[0], replies[2]), ("2", "3"), "around an error")
        check(str(replies[1]).startswith("WRONGTYPE"), f"the error itself: {replies[1]}")


def streams(client, key):
    stream, group = key("orders"), "shipping"
    client.xgroup_create(stream, group, id="0", mkstream=True)
    raises(redis.ResponseError, lambda: client.xgroup_create(stream, group), "BUSYGROUP")
    done, guard = [], threading.Lock()

    def consumer(number):
        while True:
            for _, entries in as_pairs(client.xreadgroup(group, f"c{number}", {stream: ">"}, count=5, block=200)):
                for entry, fields in entries:
                    with guard:
                        done.append(fields["order"])
                    client.xack(stream, group, entry)
            with guard:
                if len(done) == 60:
                    return

    def produce():
        for number in range(60):
            client.xadd(stream, {"order": str(number)})

    producer = threading.Thread(target=produce)
    producer.start()
    in_threads(3, consumer)
    producer.join()
    equal(sorted(done, key=int), [str(number) for number in range(60)], "every order is shipped once")
    equal(client.xpending(stream, group)["pending"], 0, "all are acknowledged")
    client.xadd(stream, {"order": "60"})
    client.xreadgroup(group, "dead", {stream: ">"})
    taken = client.xautoclaim(stream, group, "alive", min_idle_time=0)
    equal([fields for _, fields in taken[1]], [{"order": "60"}], "what a dead consumer had is taken over")
    equal(client.xlen(stream), 61, "the stream keeps all")
    equal(client.xinfo_groups(stream)[0]["name"], group, "XINFO")


def as_pairs(reply):
    """What XREADGROUP found, stream by stream: a list of pairs, or a dict of lists of pages, or nothing."""
    if isinstance(reply, dict):
        return [(stream, page) for stream, pages in reply.items() for page in pages]
    return reply or []


def about_the_connection(client, key):
    equal(client.ping(), True, "PING")
    equal(client.echo("hello"), "hello", "ECHO")
    with client.client() as one:
        one.client_setname("billing")
        equal(one.client_getname(), "billing", "its name")
        mine = one.client_id()
        listed = [row for row in client.client_list() if row["id"] == str(mine)]
        equal([row["name"] for row in listed], ["billing"], "CLIENT LIST names it")
    check("redis_version" in client.info("server"), "INFO as a dict")
    equal(client.info("cluster").get("cluster_enabled", 0), 0, "it looks like one server")
    equal(client.select(0), True, "SELECT 0")


def client_side_cache(key):
    """redis-py keeps what it read, and is told when another client changes it."""
    config = redis.cache.CacheConfig(max_size=1000)
    with (redis.Redis(host=HOST, port=PORT, protocol=3, decode_responses=True, cache_config=config) as cached,
          redis.Redis(host=HOST, port=PORT, decode_responses=True) as other):
        other.set(key("price"), "1")
        for round_ in range(1, 30):
            equal(cached.get(key("price")), str(round_), "the price through the cache")
            equal(cached.get(key("price")), str(round_), "and again")
            check(cached.get_cache().size > 0, "it is kept by the client")
            other.set(key("price"), str(round_ + 1))
            eventually(lambda: cached.get(key("price")) == str(round_ + 1), "the client is told of the new price")
        other.hset(key("basket"), "apples", 1)
        equal(cached.hgetall(key("basket")), {"apples": "1"}, "a hash through the cache")
        other.hset(key("basket"), "pears", 2)
        eventually(lambda: len(cached.hgetall(key("basket"))) == 2, "the hash is invalidated")
        other.delete(key("price"))
        eventually(lambda: cached.get(key("price")) is None, "it is deleted")


PARTS = [cache, profile, counter, lock, queue, pub_sub, transactions, scripts, scan, pipelines, streams,
         about_the_connection]
# With its own cache on, redis-py can neither subscribe nor watch keys from several threads, whatever the server.
CACHED_PARTS = [cache, profile, counter, lock, scripts, pipelines]

tcp, unix = {"host": HOST, "port": PORT}, {"unix_socket_path": SOCKET}
for name, parts, place in [
    ("resp2", PARTS, tcp | {"protocol": 2}),
    ("resp3", PARTS, tcp | {"protocol": 3}),
    ("unix", PARTS, unix | {"protocol": 3}),
    ("cached", CACHED_PARTS, tcp | {"protocol": 3, "cache_config": redis.cache.CacheConfig(max_size=1000)}),
]:
    with redis.Redis(**place, decode_responses=True) as application:
        for part in parts:
            part(application, f"redis-py:{name}:{part.__name__}:".__add__)
client_side_cache("redis-py:tracking:".__add__)
passed()

"""Pottery: Redlock and counters by scripts, and containers that watch keys and change them in transactions."""

import time
import warnings

from pottery import NextID, RedisCounter, RedisDeque, RedisDict, RedisList, RedisSet, Redlock, redis_cache, synchronize
from redis import Redis

from checks import HOST, PORT, check, equal, eventually, in_threads, passed, raises

# It warns of what is slow on a list.
warnings.simplefilter("ignore")
redis = Redis(host=HOST, port=PORT)
masters = {redis}

balance = [0]


def deposit(_):
    lock = Redlock(key="balance", masters={Redis(host=HOST, port=PORT)}, auto_release_time=20)
    for _ in range(5):
        with lock:
            seen = balance[0]
            time.sleep(0.001)
            balance[0] = seen + 1


in_threads(3, deposit)
equal(balance[0], 15, "nobody was in the lock together with another")
first, second = (Redlock(key="a", masters=masters, auto_release_time=20) for _ in range(2))
equal((first.acquire(), second.acquire(blocking=False)), (True, False), "a taken lock")
raises(Exception, second.release, "it is not released by another")
equal(first.locked() > 0, True, "its holder knows")
time.sleep(0.05)
left = redis.pttl("redlock:a")
first.extend()
check(redis.pttl("redlock:a") > left, "it is extended")
first.release()
equal(second.acquire(blocking=False), True, "a released lock is free")
second.release()
short = Redlock(key="short", masters=masters, auto_release_time=0.2)
short.acquire()
eventually(lambda: second.__class__(key="short", masters=masters).acquire(blocking=False), "a lock ends by itself")

ids = NextID(key="ids", masters=masters)
equal([next(ids) for _ in range(3)], [1, 2, 3], "ids in order")

words = RedisDict({"one": 1, "two": [2]}, redis=redis, key="words")
words.update({"three": {"3": 3}})
equal((words.pop("one"), dict(words)), (1, {"two": [2], "three": {"3": 3}}), "a dictionary")
letters = RedisSet("abc", redis=redis, key="letters")
letters.update("cd", RedisSet("e", redis=redis, key="more"))
letters.difference_update(RedisSet("ax", redis=redis, key="less"))
equal((letters.isdisjoint("xyz"), sorted(letters)), (True, list("bcde")), "sets")
numbers = RedisList([3, 1, 2], redis=redis, key="numbers")
numbers.sort()
numbers.insert(1, 9)
del numbers[0]
equal(list(numbers), [9, 2, 3], "a list")
ring = RedisDeque(range(5), maxlen=3, redis=redis, key="ring")
ring.appendleft(9)
equal(list(ring), [9, 2, 3], "a ring of three")
votes = RedisCounter("abca", redis=redis, key="votes")
equal(votes.most_common(1), [("a", 2)], "a counter")

calls = []


@redis_cache(redis=redis, key="squares")
def square(n):
    calls.append(n)
    return n * n


equal([square(4), square(4), square(5)], [16, 16, 25], "a cached function")
equal((calls, square.cache_info().hits), ([4, 5], 1), "is called once for each argument")

inside = []


@synchronize(key="synchronized", masters=masters, auto_release_time=5)
def alone():
    inside.append(1)
    equal(len(inside), 1, "alone in it")
    time.sleep(0.002)
    inside.pop()


in_threads(3, lambda _: [alone() for _ in range(3)])
passed()

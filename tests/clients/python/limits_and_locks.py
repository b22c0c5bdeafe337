"""Rate limits (limits) and locks (python-redis-lock, redlock-py), shared by several processes' worth of clients."""

import threading
import time

import redis_lock
import redlock
from limits import parse
from limits.storage import RedisStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from redis import Redis

from checks import HOST, PORT, SOCKET, check, equal, eventually, in_threads, passed, raises, together


def rate_limits(strategy, url):
    storage = storage_from_string(url, key_prefix=together(f"limits:{strategy.__name__}"))
    check(isinstance(storage, RedisStorage) and storage.check(), "the storage answers")
    limiter, limit = strategy(storage), parse("40/minute")
    allowed, guard = [], threading.Lock()

    def visitor(_):
        for _ in range(20):
            if limiter.hit(limit, "visitor"):
                with guard:
                    allowed.append(1)

    in_threads(4, visitor)
    equal(len(allowed), 40, f"{strategy.__name__}: of eighty hits at once, as many as are allowed")
    equal(limiter.test(limit, "visitor"), False, "no more")
    equal(limiter.hit(limit, "another"), True, "another visitor has a limit of his own")
    window = limiter.get_window_stats(limit, "visitor")
    equal(window.remaining, 0, "nothing remains")
    check(time.time() - 1 < window.reset_time <= time.time() + 61, "until the window ends")
    limiter.clear(limit, "visitor")
    equal(limiter.hit(limit, "visitor"), True, "a new beginning")


def short_window():
    limiter = FixedWindowRateLimiter(storage_from_string(f"redis://{HOST}:{PORT}", key_prefix="limits:short"))
    limit = parse("3/second")
    eventually(lambda: not limiter.hit(limit, "visitor"), "it is used up")
    eventually(lambda: limiter.hit(limit, "visitor"), "the next second brings more")


def locks(client):
    balance = [0]

    # A lock is two keys that its scripts change together: the hash tag puts them into one slot.
    def deposit(_):
        for _ in range(8):
            with redis_lock.Lock(client, together("lock:balance"), expire=20):
                seen = balance[0]
                time.sleep(0.001)
                balance[0] = seen + 1

    in_threads(4, deposit)
    equal(balance[0], 32, "nobody was in the lock together with another")
    first, second = redis_lock.Lock(client, together("lock:a"), expire=20), redis_lock.Lock(client, together("lock:a"), expire=20)
    equal((first.acquire(), second.acquire(blocking=False)), (True, False), "a taken lock")
    raises(redis_lock.NotAcquired, second.release, "it is not released by another")
    started = threading.Thread(target=lambda: (time.sleep(0.1), first.release()))
    started.start()
    equal(second.acquire(timeout=10), True, "who waits is woken by BLPOP")
    started.join()
    second.extend(50)
    check(client.ttl(f"lock:{together('lock:a')}") > 20, "it is extended")
    second.release()
    renewed = redis_lock.Lock(client, together("lock:b"), expire=1, auto_renewal=True)
    with renewed:
        time.sleep(1.5)
        equal(renewed.locked(), True, "a renewed lock outlives its first term")
    equal(renewed.locked(), False, "it is released")


def redlocks(server, name):
    """The algorithm that Redis' documentation describes, with one server: SET NX PX, and a script that releases."""
    manager = redlock.Redlock([server], retry_count=200, retry_delay=0.01)
    balance = [0]

    def deposit(_):
        for _ in range(8):
            lock = manager.lock(f"redlock:{name}:balance", 10_000)
            check(lock, "it is taken in the end")
            seen = balance[0]
            time.sleep(0.001)
            balance[0] = seen + 1
            manager.unlock(lock)

    in_threads(4, deposit)
    equal(balance[0], 32, "nobody was in the lock together with another")
    hasty = redlock.Redlock([server], retry_count=1, retry_delay=0.01)
    taken = hasty.lock(f"redlock:{name}", 2_000)
    equal(hasty.lock(f"redlock:{name}", 2_000), False, "a taken lock")
    hasty.unlock(taken._replace(key=b"of another"))
    equal(hasty.lock(f"redlock:{name}", 2_000), False, "it is not released by another")
    hasty.unlock(taken)
    check(hasty.lock(f"redlock:{name}", 2_000), "it is released")
    eventually(lambda: hasty.lock(f"redlock:{name}", 10_000), "its time is over")


for kind in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
    rate_limits(kind, f"redis://{HOST}:{PORT}")
short_window()
locks(Redis(host=HOST, port=PORT))
locks(Redis(unix_socket_path=SOCKET))
redlocks({"host": HOST, "port": PORT}, "port")
redlocks(Redis(unix_socket_path=SOCKET), "socket")
passed()

"""The broker and the actors of dramatiq_jobs.py."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend as ResultBackend
from redis import Redis

from checks import HOST, PORT

url = f"redis://{HOST}:{PORT}/0"
broker = RedisBroker(url=url)
broker.add_middleware(Results(backend=ResultBackend(url=url)))
broker.add_middleware(dramatiq.middleware.GroupCallbacks(RedisBackend(url=url)))
dramatiq.set_broker(broker)
limits = RedisBackend(url=url)
alone = ConcurrentRateLimiter(limits, "alone", limit=1, ttl=60_000)
client = Redis(host=HOST, port=PORT, decode_responses=True)


@dramatiq.actor(store_results=True)
def add(one, other):
    return one + other


@dramatiq.actor(store_results=True, max_retries=5, min_backoff=10, max_backoff=20)
def flaky(key):
    tries = client.incr(key)
    if tries < 3:
        raise ValueError(f"try {tries}")
    return tries


@dramatiq.actor(store_results=True, max_retries=0)
def fail():
    raise ValueError("nothing to be done")


@dramatiq.actor
def record(key):
    client.rpush(key, "%d.%06d" % client.time())


@dramatiq.actor(max_retries=200, min_backoff=5, max_backoff=20)
def guarded(key):
    """Reads, waits and writes: exact only if nobody else does so at the time."""
    with alone.acquire():
        count = int(client.get(key) or 0)
        client.ping()
        client.set(key, count + 1)

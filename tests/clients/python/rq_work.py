"""What the workers of rq_jobs.py do."""

import os

from redis import Redis

client = Redis(host=os.environ["NEARSIDE_HOST"], port=int(os.environ["NEARSIDE_PORT"]), decode_responses=True)


def multiply(one, other):
    return one * other


def now():
    seconds, micros = client.time()
    return seconds + micros / 1e6


def count(key):
    return client.incr(key)


def read(key):
    return client.get(key)


def fail():
    raise ValueError("nothing to be done")


def fail_twice(key):
    tries = client.incr(key)
    if tries < 3:
        raise ValueError(f"try {tries}")
    return tries

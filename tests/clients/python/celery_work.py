"""The Celery application of celery_jobs.py: its settings and its tasks."""

import os

import redis
from celery import Celery

from checks import CLUSTER

url = f"redis://{os.environ['NEARSIDE_HOST']}:{os.environ['NEARSIDE_PORT']}/0"
# Results are in a database of their own, where there is more than one.
app = Celery("celery_work", broker=url, backend=url if CLUSTER else url[:-1] + "1")
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
if CLUSTER:
    # Celery moves messages between keys in transactions; in front of a cluster all of them belong into one slot.
    app.conf.update(
        broker_transport_options={"global_keyprefix": "{celery}:", "fanout_prefix": True},
        result_backend_transport_options={"global_keyprefix": "{celery}:"},
    )
client = redis.Redis.from_url(url)


@app.task
def add(one, other):
    return one + other


@app.task
def count(key):
    return client.incr(key)


@app.task
def now():
    seconds, micros = client.time()
    return seconds + micros / 1e6


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True)
def retried(self, key):
    tries = client.incr(key)
    if tries < 3:
        raise self.retry(countdown=0, max_retries=5)
    return tries


@app.task
def fail():
    raise ValueError("nothing to be done")

"""The queue and the tasks of huey_jobs.py."""

from huey import PriorityRedisHuey

from checks import HOST, PORT

huey = PriorityRedisHuey("trial", host=HOST, port=PORT)
client = huey.storage.conn


@huey.task()
def add(one, other):
    return one + other


@huey.task(retries=4)
def flaky():
    tries = client.incr("huey:tries")
    if tries < 3:
        raise ValueError(f"try {tries}")
    client.rpush("huey:flaky", tries)


@huey.task()
def fail():
    raise ValueError("nothing to be done")


@huey.task()
def record(key, value):
    client.rpush(key, value)


@huey.task()
def now():
    seconds, micros = client.time()
    return seconds + micros / 1e6


@huey.task(retries=500)
@huey.lock_task("guard")
def guarded():
    """Reads, waits and writes: exact only if nobody else does so at the time."""
    count = int(client.get("huey:guarded") or 0)
    client.ping()
    client.set("huey:guarded", count + 1)

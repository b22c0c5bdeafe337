"""Dramatiq: one script with one key moves all messages, and builds the names of the other keys itself."""

import os
import subprocess
import sys
import time

from dramatiq import group, pipeline
from dramatiq.rate_limits import Barrier, BucketRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.rate_limiter import RateLimitExceeded
from dramatiq.results.errors import ResultFailure, ResultMissing

from checks import check, equal, eventually, passed, raises
from dramatiq_work import add, broker, client, fail, flaky, guarded, limits, record

directory = os.path.dirname(os.path.abspath(__file__))
environment = os.environ | {"PYTHONPATH": os.pathsep.join([directory, os.environ["PYTHONPATH"]])}
workers = subprocess.Popen(
    [sys.executable, "-m", "dramatiq", "dramatiq_work", "--processes", "2", "--threads", "2"],
    env=environment, stderr=subprocess.DEVNULL)

def is_done(message):
    try:
        message.get_result()
    except ResultMissing:
        return False
    return True


messages = [add.send(n, 1) for n in range(40)]
# A client waits for the reply to BRPOPLPUSH for less time than the workers may need to start.
eventually(lambda: is_done(messages[0]), "the workers begin", 40)
equal([message.get_result(block=True, timeout=40_000) for message in messages], list(range(1, 41)), "results")
started = time.time()
record.send_with_options(args=("late",), delay=1000)
equal(pipeline([add.message(1, 2), add.message(3), add.message(4)]).run().get_result(block=True, timeout=20_000), 10,
      "a pipeline")
sums = group([add.message(n, n) for n in range(10)])
sums.add_completion_callback(record.message("group"))
sums.run()
equal(sorted(sums.get_results(block=True, timeout=20_000)), [2 * n for n in range(10)], "a group")
eventually(lambda: client.llen("group") == 1, "what comes after the group, once")
equal(flaky.send("tries").get_result(block=True, timeout=20_000), 3, "the third try succeeds")
equal(client.get("tries"), "3", "after three tries")
failed = fail.send()
raises(ResultFailure, lambda: failed.get_result(block=True, timeout=20_000), "a job fails")
equal(client.zcard("dramatiq:default.XQ"), 1, "it is kept among the dead")
for _ in range(12):
    guarded.send("guarded")
eventually(lambda: client.get("guarded") == "12", "all had the lock, one after the other", 30)

eventually(lambda: client.llen("late") == 1, "a message for later is done")
check(float(client.lindex("late", 0)) - started >= 0.99, "and not before its time")
broker.join("default", timeout=20_000)
equal(client.llen("dramatiq:default"), 0, "nothing is left")

window = WindowRateLimiter(limits, "window", limit=5, window=60)
allowed = 0
for _ in range(9):
    with window.acquire(raise_on_failure=False) as acquired:
        allowed += acquired
equal(allowed, 5, "a window lets through as many as it may")
bucket = BucketRateLimiter(limits, "bucket", limit=2, bucket=60_000)
with bucket.acquire(), bucket.acquire():
    pass
raises(RateLimitExceeded, lambda: bucket.acquire().__enter__(), "an empty bucket")
barrier = Barrier(limits, "barrier", ttl=60_000)
equal(barrier.create(parties=2), True, "a barrier for two")
equal([barrier.wait(block=False), barrier.wait(block=False)], [False, True], "opens for the second")

workers.terminate()
equal(workers.wait(20), 0, "the workers end when they are told to")
passed()

"""Celery: a real worker takes tasks from lists by BRPOP, and results come back by publish and subscribe."""

import os
import subprocess
import sys
import time

from celery import chord, group

from celery_work import add, app, count, fail, now, retried, total
from checks import check, equal, passed

directory = os.path.dirname(os.path.abspath(__file__))
environment = os.environ | {"PYTHONPATH": os.pathsep.join([directory, os.environ["PYTHONPATH"]])}
worker = subprocess.Popen(
    [sys.executable, "-m", "celery", "--app", "celery_work", "worker", "--pool", "threads", "--concurrency", "4",
     "--loglevel", "WARNING", "--without-mingle"],
    env=environment)

results = [add.delay(number, 1) for number in range(30)]
equal([result.get(timeout=40) for result in results], list(range(1, 31)), "results, each of its task")
counted = group(count.s("celery:count") for _ in range(20)).apply_async()
equal(sorted(counted.get(timeout=20)), list(range(1, 21)), "every task of a group is done once")
equal((add.s(1, 2) | add.s(3) | add.s(4)).apply_async().get(timeout=20), 10, "a chain")
equal(chord((add.s(n, n) for n in range(10)), total.s()).apply_async().get(timeout=20), 90, "a chord")
equal(retried.delay("celery:tries").get(timeout=20), 3, "the third try succeeds")
failed = fail.delay()
equal(type(failed.get(timeout=20, propagate=False)).__name__, "ValueError", "a task fails")
equal(failed.state, "FAILURE", "and is known to have failed")
started = time.time()
check(now.apply_async(countdown=1).get(timeout=20) - started >= 0.99, "a task for later, and not before its time")
kept = add.delay(3, 4)
equal((kept.get(timeout=20), app.AsyncResult(kept.id).result), (7, 7), "a result is kept")
kept.forget()
equal(app.AsyncResult(kept.id).state, "PENDING", "until it is forgotten")
pong = app.control.ping(timeout=5, limit=1)
check(len(pong) == 1 and list(pong[0].values()) == [{"ok": "pong"}], f"the worker answers a broadcast: {pong}")
app.control.shutdown()
equal(worker.wait(30), 0, "the worker ends when it is told to")
passed()

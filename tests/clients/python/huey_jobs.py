"""Huey: a queue by priority, a schedule that a script empties, and results in a hash."""

import os
import subprocess
import sys
import time

from huey.exceptions import TaskException

from checks import check, equal, eventually, passed, raises
from huey_work import add, client, fail, flaky, guarded, huey, now, record

# Nobody works yet.
for value, priority in (("low", 1), ("high", 9), ("middle", 5)):
    huey.enqueue(record.s("huey:order", value, priority=priority))
revoked = add(1, 1)
revoked.revoke()
equal((len(huey), revoked.is_revoked()), (4, True), "tasks wait; one is taken back")

directory = os.path.dirname(os.path.abspath(__file__))
environment = os.environ | {"PYTHONPATH": os.pathsep.join([directory, os.environ["PYTHONPATH"]])}
consumer = [sys.executable, "-m", "huey.bin.huey_consumer", "huey_work.huey", "--quiet"]
first = subprocess.Popen([*consumer, "--workers", "1"], env=environment)
eventually(lambda: client.llen("huey:order") == 3, "the first are done", 20)
equal(client.lrange("huey:order", 0, -1), [b"high", b"middle", b"low"], "by priority")
started = time.time()
late = now.schedule(delay=1)
eventually(lambda: len(huey.scheduled()) == 1, "a task for later is put aside")

second = subprocess.Popen([*consumer, "--workers", "3"], env=environment)
results = [add(n, 1) for n in range(40)]
equal([result(blocking=True, timeout=20) for result in results], list(range(1, 41)), "results, each of its task")
chain = huey.enqueue(add.s(1, 2).then(add, 3).then(add, 4))
equal(chain(blocking=True, timeout=20), [3, 6, 10], "each result goes into the next task")
flaky()
eventually(lambda: client.lrange("huey:flaky", 0, -1) == [b"3"], "the third try succeeds")
failed = fail()
reason = raises(TaskException, lambda: failed(blocking=True, timeout=20), "a task fails")
check("nothing to be done" in str(reason), "with its reason")
for _ in range(10):
    guarded()
eventually(lambda: client.get("huey:guarded") == b"10", "all had the lock, one after the other", 20)
with huey.lock_task("guard"):
    equal(huey.is_locked("guard"), True, "a lock is seen by others")
equal(huey.is_locked("guard"), False, "it is released")
check(late(blocking=True, timeout=20) - started >= 0.99, "the task for later is done, and not before its time")
equal((len(huey), len(huey.scheduled())), (0, 0), "nothing is left")
equal(revoked(), None, "what was taken back was not done")

for consumer in (first, second):
    consumer.terminate()
for consumer in (first, second):
    check(consumer.wait(20) is not None, "a consumer ends when it is told to")
passed()

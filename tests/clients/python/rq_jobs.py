"""RQ: real workers in processes of their own do jobs, retry them, and do them in the order of their dependencies."""

import os
import subprocess
import sys
import time
from datetime import timedelta

from checks import CLUSTER, HOST, PORT, check, equal, eventually, passed

# RQ moves jobs between keys in transactions and scripts; in front of a cluster all of them belong into one slot.
if CLUSTER:
    os.environ["RQ_KEY_PREFIX"] = "{rq}"

from redis import Redis  # noqa: E402
from rq import Queue, Retry  # noqa: E402
from rq.job import JobStatus  # noqa: E402
from rq.registry import FailedJobRegistry, FinishedJobRegistry  # noqa: E402

client = Redis(host=HOST, port=PORT)
fast, slow = Queue("fast", connection=client), Queue("slow", connection=client)
jobs = [fast.enqueue("rq_work.multiply", number, 3) for number in range(25)]
jobs += [slow.enqueue("rq_work.count", "rq:count") for _ in range(15)]
first = fast.enqueue("rq_work.count", "rq:first")
second = slow.enqueue("rq_work.read", "rq:first", depends_on=first)
failing = fast.enqueue("rq_work.fail")
flaky = fast.enqueue("rq_work.fail_twice", "rq:flaky", retry=Retry(max=3))
equal(len(fast) + len(slow), 43, "jobs wait; one for another job")

environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ["PYTHONPATH"]])}
command = [sys.executable, "-m", "rq.cli", "worker", "--url", f"redis://{HOST}:{PORT}", "--with-scheduler",
           "fast", "slow"]
# One does every job in a fork of its own, as is RQ's custom; the other does not.
workers = [subprocess.Popen([*command, "--worker-class", kind], env=environment)
           for kind in ("rq.Worker", "rq.SimpleWorker")]
eventually(lambda: all(job.get_status() == JobStatus.FINISHED for job in [*jobs, first, second, flaky]),
           "the jobs are done", 60)
equal([job.return_value() for job in jobs[:25]], [number * 3 for number in range(25)], "their results")
equal(sorted(job.return_value() for job in jobs[25:]), list(range(1, 16)), "each is done once")
equal(client.get("rq:count"), b"15", "and counted once")
equal(second.return_value(), "1", "a job sees what the one before it wrote")
equal(flaky.return_value(), 3, "the third try succeeds")
eventually(lambda: failing.get_status() == JobStatus.FAILED, "a job fails")
equal([failing.id], FailedJobRegistry(queue=fast).get_job_ids(), "it is kept as failed")
check("nothing to be done" in failing.latest_result().exc_string, "with its reason")
equal(FinishedJobRegistry(queue=slow).count, 16, "what is done is kept for a time")
equal(len(fast) + len(slow), 0, "nothing is left")

started = time.time()
late = fast.enqueue_in(timedelta(seconds=2), "rq_work.now")
equal(late.get_status(), JobStatus.SCHEDULED, "a job for later")
eventually(lambda: late.get_status() == JobStatus.FINISHED, "the scheduler has it done")
# The scheduler of RQ counts whole seconds.
check(late.return_value() - started >= 0.99, "and not before its time")
for worker in workers:
    worker.terminate()
for worker in workers:
    equal(worker.wait(20), 0, "a worker ends when it is told to")
passed()

"""arq: jobs in a sorted set, taken in transactions that watch, by two workers that poll at once."""

import asyncio
import time

from arq import create_pool, cron
from arq.connections import RedisSettings
from arq.jobs import Job, JobStatus
from arq.worker import Worker, func

from arq_work import add, count, fail, flaky, now, tick
from checks import HOST, PORT, check, equal, passed

settings = RedisSettings(host=HOST, port=PORT)


def worker(name):
    functions = [add, count, fail, now, func(flaky, max_tries=5)]
    every_second = cron(tick, second=set(range(60)), unique=True)
    return Worker(functions, redis_settings=settings, poll_delay=0.05, handle_signals=False, max_tries=1,
                  cron_jobs=[every_second], ctx={"name": name}, health_check_interval=1)


async def eventually(look, what, limit=20):
    deadline = time.monotonic() + limit
    while not (found := await look()) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    check(found, f"{what}: not within {limit} s")


async def trial():
    redis = await create_pool(settings)
    jobs = [await redis.enqueue_job("add", n, 1) for n in range(20)]
    equal(await redis.zcard("arq:queue"), 20, "jobs wait")
    equal(await redis.enqueue_job("add", 1, 1, _job_id=jobs[0].job_id), None, "one that waits is not added again")
    taken_back = await redis.enqueue_job("count", "arq:late", _defer_by=0.5, _expires=0.1)
    started = time.time()
    late = await redis.enqueue_job("now", _defer_by=1)
    equal(await late.status(), JobStatus.deferred, "a job for later")

    workers = [worker(name) for name in ("first", "second")]
    tasks = [asyncio.create_task(one.main()) for one in workers]
    results = await asyncio.gather(*(job.result(timeout=20, poll_delay=0.02) for job in jobs))
    equal(results, list(range(1, 21)), "results, each of its job")
    counted = await asyncio.gather(*(redis.enqueue_job("count", "arq:count") for _ in range(30)))
    numbers = await asyncio.gather(*(job.result(timeout=20, poll_delay=0.02) for job in counted))
    equal(sorted(numbers), list(range(1, 31)), "each is done once, by two workers that compete")
    retried = await redis.enqueue_job("flaky", "arq:tries")
    equal(await retried.result(timeout=20, poll_delay=0.02), 3, "the third try succeeds")
    failed = await redis.enqueue_job("fail")
    outcome = await asyncio.gather(failed.result(timeout=20, poll_delay=0.02), return_exceptions=True)
    equal([str(error) for error in outcome], ["nothing to be done"], "a job fails, with its reason")
    check(await late.result(timeout=20, poll_delay=0.02) - started >= 0.99, "the job for later, not before its time")

    equal(await late.status(), JobStatus.complete, "it is complete")
    info = await Job(late.job_id, redis).result_info()
    equal((info.function, info.success), ("now", True), "as anybody can see")
    await eventually(lambda: redis.get("arq:ticks"), "the clock's job is done")
    equal(await redis.get("arq:late"), None, "a job that expired is not done")
    equal((await taken_back.result_info()).success, False, "and known to have failed")
    await eventually(lambda: redis.exists("arq:queue:health-check"), "the workers say that they are well")
    for task, one in zip(tasks, workers):
        await one.close()
        task.cancel()
    await redis.aclose()


asyncio.run(trial())
passed()

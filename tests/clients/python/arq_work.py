"""The functions that the workers of arq_jobs.py run."""

from arq import Retry


async def add(context, one, other):
    return one + other


async def flaky(context, key):
    tries = await context["redis"].incr(key)
    if context["job_try"] < 3:
        raise Retry(defer=0.05)
    return tries


async def fail(context):
    raise ValueError("nothing to be done")


async def count(context, key):
    return await context["redis"].incr(key)


async def now(context):
    seconds, micros = await context["redis"].time()
    return seconds + micros / 1e6


async def tick(context):
    await context["redis"].incr("arq:ticks")

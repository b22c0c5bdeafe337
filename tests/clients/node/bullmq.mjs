// BullMQ: queues made of Lua scripts, blocking pops of sorted sets and streams of events.

import { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } from 'bullmq';
import { check, cluster, equal, eventually, host, passed, port, range } from './checks.mjs';

// Its scripts work on many keys; in front of a cluster they belong into one slot, as BullMQ's documents say.
// Elsewhere the defaults hold.
const options = { connection: { host, port }, ...(cluster && { prefix: '{bull}' }) };

const queue = new Queue('mail', options);
const events = new QueueEvents('mail', options);
await events.waitUntilReady();
const completed = new Map();
const failed = new Map();
events.on('completed', ({ jobId, returnvalue }) => completed.set(jobId, returnvalue));
events.on('failed', ({ jobId, failedReason }) => failed.set(jobId, failedReason));

const tries = {};
const running = { now: 0, most: 0 };
async function work(job) {
  running.now += 1;
  running.most = Math.max(running.most, running.now);
  try {
    await job.updateProgress(50);
    await new Promise((resolve) => setTimeout(resolve, 2));
    tries[job.id] = (tries[job.id] ?? 0) + 1;
    if (job.name === 'flaky' && tries[job.id] < 3) throw new Error(`try ${tries[job.id]}`);
    if (job.name === 'hopeless') throw new UnrecoverableError('nothing to be done');
    return job.name === 'square' ? job.data.n ** 2 : `${job.name} ${job.data.n ?? ''}`;
  } finally {
    running.now -= 1;
  }
}
const workers = range(3).map(() => new Worker('mail', work, { ...options, concurrency: 5 }));
await Promise.all(workers.map((worker) => worker.waitUntilReady()));

const jobs = await queue.addBulk(range(100).map((n) => ({ name: 'square', data: { n } })));
equal(jobs.length, 100, 'a hundred jobs in one go');
const singles = await Promise.all(range(30).map((n) => queue.add('square', { n: n + 100 })));
const results = await Promise.all([...jobs, ...singles].map((job) => job.waitUntilFinished(events, 30_000)));
equal(results, range(130).map((n) => n ** 2), 'results, each of its job');
equal(Object.values(tries), Array(130).fill(1), 'every job is done once');
check(running.most > 1 && running.most <= 15, `several at once, and not more than told: ${running.most}`);

const flaky = await queue.add('flaky', {}, { attempts: 3, backoff: { type: 'fixed', delay: 20 } });
equal(await flaky.waitUntilFinished(events, 30_000), 'flaky ', 'the third try succeeds');
equal(tries[flaky.id], 3, 'after three tries');
const hopeless = await queue.add('hopeless', {}, { attempts: 5 });
await eventually(() => failed.get(hopeless.id) === 'nothing to be done', 'a failure is an event');
equal(await hopeless.getState(), 'failed', 'and a state');

const started = Date.now();
const late = await queue.add('late', { n: 1 }, { delay: 1000 });
equal(await late.getState(), 'delayed', 'a job for later');
equal(await late.waitUntilFinished(events, 30_000), 'late 1', 'it is done');
check(Date.now() - started >= 990, 'and not before its time');

const once = await Promise.all(range(5).map(() => queue.add('once', { n: 1 }, { jobId: 'only-one' })));
await once[0].waitUntilFinished(events, 30_000);
equal(tries['only-one'], 1, 'a job that is added five times under one id');

// Order: a queue whose only worker does one at a time.
const order = [];
const ordered = new Queue('ordered', options);
await ordered.pause();
for (const n of range(10)) await ordered.add('plain', { n });
await ordered.add('urgent', { n: 99 }, { lifo: true });
await ordered.addBulk([3, 1, 2].map((n) => ({ name: 'ranked', data: { n: 200 + n }, opts: { priority: n } })));
const counts = await ordered.getJobCounts('paused', 'prioritized');
equal(counts, { paused: 11, prioritized: 3 }, 'a paused queue keeps its jobs');
const one = new Worker('ordered', async (job) => order.push(job.data.n), { ...options, concurrency: 1 });
await ordered.resume();
await eventually(() => order.length === 14, 'all are done');
equal(order, [99, ...range(10), 201, 202, 203], 'urgent first, then in order, then by priority');

// A parent that waits for its children, in another queue.
const flows = new FlowProducer(options);
const sums = new Worker(
  'sums', async (job) => Object.values(await job.getChildrenValues()).reduce((sum, n) => sum + n, 0), options);
const sumEvents = new QueueEvents('sums', options);
await sumEvents.waitUntilReady();
const flow = await flows.add({
  name: 'sum', queueName: 'sums', children: range(5).map((n) => ({ name: 'square', queueName: 'mail', data: { n } })),
});
equal(await flow.job.waitUntilFinished(sumEvents, 30_000), 30, 'a flow: the sum of what the children returned');
const values = Object.entries(await flow.job.getChildrenValues());
equal(values.map(([, n]) => n).sort((a, b) => a - b), [0, 1, 4, 9, 16], 'the parent has what each child returned');
const prefix = `${options.prefix ?? 'bull'}:mail:`;
equal(values.filter(([key]) => !key.startsWith(prefix)), [], 'under the name of the child, as its clients know it');

// A rate limit: two jobs in each window, whatever the number of workers.
const WINDOW = 400;
const starts = [];
const limited = new Queue('limited', options);
const limiters = range(2).map(() => new Worker(
  'limited', async () => starts.push(Date.now()),
  { ...options, concurrency: 5, limiter: { max: 2, duration: WINDOW } }));
await limited.addBulk(range(7).map((n) => ({ name: 'call', data: { n } })));
await eventually(() => starts.length === 7, 'the limited jobs are done');
starts.sort((a, b) => a - b);
check(starts[6] - starts[0] >= 2 * WINDOW, `seven jobs take more than three windows: ${starts[6] - starts[0]} ms`);

// A schedule.
await queue.upsertJobScheduler('tick', { every: 100 }, { name: 'tick', data: { n: 7 } });
await eventually(() => [...completed.values()].filter((value) => value === 'tick 7').length >= 3, 'three ticks');
equal(await queue.removeJobScheduler('tick'), true, 'the schedule ends');

// Repeated by the clock, as cron does.
await queue.add('chime', { n: 3 }, { repeat: { pattern: '* * * * * *', limit: 2 } });
await eventually(() => [...completed.values()].filter((value) => value === 'chime 3').length === 2, 'it chimes twice');

// Added twice in a while, done once.
const [thrifty, again] = await Promise.all(
  range(2).map(() => queue.add('thrifty', { n: 5 }, { deduplication: { id: 'thrift', ttl: 60_000 } })));
equal(thrifty.id, again.id, 'a duplicate is the first job');
await thrifty.waitUntilFinished(events, 30_000);

// What is left, and what is forgotten.
equal(await queue.getWaitingCount(), 0, 'nothing waits');
equal((await queue.getFailed()).map((job) => job.id), [hopeless.id], 'what failed is kept');
await hopeless.remove();
equal(await queue.getFailedCount(), 0, 'until it is removed');
equal((await queue.getWorkers()).length, 3, 'CLIENT LIST names the workers');
await Promise.all([...workers, ...limiters, one, sums].map((worker) => worker.close()));
await queue.obliterate({ force: true });
equal(await queue.getCompletedCount(), 0, 'an obliterated queue is empty');
await Promise.all([queue, ordered, limited, events, sumEvents, flows].map((part) => part.close()));
passed();

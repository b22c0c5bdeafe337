// Bull: the queue that BullMQ came from, with scripts that build the names of keys themselves.

import Queue from 'bull';
import { check, cluster, equal, eventually, host, passed, port, range } from './checks.mjs';

const options = { redis: { host, port }, ...(cluster && { prefix: '{bull}' }) };

const mail = new Queue('mail', options);
await mail.isReady();
const tries = {};
let most = 0;
let now = 0;
mail.process('*', 5, async (job) => {
  now += 1;
  most = Math.max(most, now);
  tries[job.id] = (tries[job.id] ?? 0) + 1;
  await job.progress(50);
  await new Promise((resolve) => setTimeout(resolve, 2));
  now -= 1;
  if (job.name === 'flaky' && tries[job.id] < 3) throw new Error(`try ${tries[job.id]}`);
  if (job.name === 'hopeless') throw new Error('nothing to be done');
  return job.name === 'square' ? job.data.n ** 2 : `${job.name} ${job.data.n ?? ''}`;
});

// Another process knows of the jobs by the messages of Redis alone.
const observer = new Queue('mail', options);
const [completed, failed, progress] = [new Map(), new Map(), new Set()];
observer.on('global:completed', (id, value) => completed.set(id, JSON.parse(value)));
observer.on('global:failed', (id, reason) => failed.set(id, reason));
observer.on('global:progress', (id) => progress.add(id));
await observer.isReady();

const jobs = await mail.addBulk(range(60).map((n) => ({ name: 'square', data: { n } })));
const singles = await Promise.all(range(20).map((n) => observer.add('square', { n: n + 60 })));
const results = await Promise.all([...jobs, ...singles].map((job) => job.finished()));
equal(results, range(80).map((n) => n ** 2), 'results, each of its job');
equal(Object.values(tries), Array(80).fill(1), 'every job is done once');
check(most > 1 && most <= 5, `several at once, and at most as many as allowed: ${most}`);
await eventually(() => completed.size === 80 && progress.size === 80, 'the other process learns of each');

const flaky = await mail.add('flaky', {}, { attempts: 3, backoff: { type: 'fixed', delay: 20 } });
equal(await flaky.finished(), 'flaky ', 'the third try succeeds');
equal(tries[flaky.id], 3, 'after three tries');
const hopeless = await mail.add('hopeless', {}, { attempts: 2 });
await eventually(() => failed.get(String(hopeless.id)) === 'nothing to be done', 'a failure is an event');
equal([await hopeless.getState(), tries[hopeless.id]], ['failed', 2], 'and a state, after two tries');

const started = Date.now();
const late = await mail.add('late', { n: 1 }, { delay: 1000 });
equal(await late.getState(), 'delayed', 'a job for later');
equal(await late.finished(), 'late 1', 'it is done');
check(Date.now() - started >= 990, 'and not before its time');

const once = await Promise.all(range(5).map(() => mail.add('once', { n: 1 }, { jobId: 'only-one' })));
await once[0].finished();
equal(tries['only-one'], 1, 'a job that is added five times under one id');

await mail.add('tick', { n: 7 }, { repeat: { every: 100, limit: 3 } });
await eventually(() => [...completed.values()].filter((value) => value === 'tick 7').length === 3, 'three ticks');

// Order: first in, first out; the urgent before them; and by priority.
const order = [];
const ordered = new Queue('ordered', options);
await ordered.pause();
for (const n of range(5)) await ordered.add({ n });
await ordered.add({ n: 99 }, { lifo: true });
for (const priority of [3, 1, 2]) await ordered.add({ n: 200 + priority }, { priority });
equal((await ordered.getJobCounts()).paused, 9, 'a paused queue keeps its jobs');
ordered.process(async (job) => order.push(job.data.n));
await ordered.resume();
await eventually(() => order.length === 9, 'all are done');
equal(order.filter((n) => n < 100), [99, ...range(5)], 'the urgent first, then in order');
equal(order.filter((n) => n > 100), [201, 202, 203], 'by priority');

// A rate limit: two in each window.
const WINDOW = 400;
const starts = [];
const limited = new Queue('limited', { ...options, limiter: { max: 2, duration: WINDOW } });
limited.process(5, async () => starts.push(Date.now()));
for (const n of range(5)) await limited.add({ n });
await eventually(() => starts.length === 5, 'the limited jobs are done');
check(starts[4] - starts[0] >= 1.5 * WINDOW, `five jobs take more than two windows: ${starts[4] - starts[0]} ms`);

equal(await mail.getWaitingCount(), 0, 'nothing waits');
equal((await mail.getFailed()).map(({ id }) => id), [hopeless.id], 'what failed is kept');
check((await mail.clean(0, 'completed')).length > 80, 'what is done can be cleaned away');
equal(await mail.getCompletedCount(), 0, 'it is gone');
await mail.obliterate({ force: true });
equal(await mail.getFailedCount(), 0, 'an obliterated queue is empty');
await Promise.all([mail, observer, ordered, limited].map((queue) => queue.close()));
passed();

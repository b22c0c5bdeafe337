// Bee-Queue: jobs in one hash, moved between lists and sets by scripts and transactions.

import Queue from 'bee-queue';
import { check, cluster, equal, eventually, host, passed, port, range } from './checks.mjs';

const options = { redis: { host, port }, ...(cluster && { prefix: '{bq}' }) };

const producer = new Queue('sums', { ...options, isWorker: false });
const worker = new Queue('sums', { ...options, activateDelayedJobs: true, stallInterval: 300 });
await Promise.all([producer.ready(), worker.ready()]);
const tries = {};
worker.process(4, async (job) => {
  tries[job.id] = (tries[job.id] ?? 0) + 1;
  job.reportProgress({ percent: 50 });
  if (job.data.failures >= tries[job.id]) throw new Error(`try ${tries[job.id]}`);
  return job.data.x + job.data.y;
});

// The producer learns of results by publish and subscribe.
const ending = (job) => new Promise((resolve) => {
  job.once('succeeded', resolve);
  job.once('failed', resolve);
});
const jobs = range(40).map((n) => producer.createJob({ x: n, y: 1 }));
const endings = jobs.map(ending);
const progress = new Set();
for (const job of jobs) job.once('progress', ({ percent }) => progress.add(`${job.id}: ${percent}`));
equal((await producer.saveAll(jobs)).size, 0, 'forty jobs are saved in one go');
equal(await Promise.all(endings), range(40).map((n) => n + 1), 'results, each of its job');
equal(Object.values(tries), Array(40).fill(1), 'every job is done once');
await eventually(() => progress.size === 40, 'each told of its progress');

const flaky = producer.createJob({ x: 1, y: 1, failures: 2 }).retries(3).backoff('fixed', 50);
const retries = [];
flaky.on('retrying', ({ message }) => retries.push(message));
const flakyEnding = ending(flaky);
await flaky.save();
equal(await flakyEnding, 2, 'the third try succeeds');
equal([tries[flaky.id], retries], [3, ['try 1', 'try 2']], 'after three tries');
const hopeless = producer.createJob({ x: 1, y: 1, failures: 9 }).retries(1);
const hopelessEnding = ending(hopeless);
await hopeless.save();
equal((await hopelessEnding).message, 'try 2', 'the last try fails as well');

const started = Date.now();
const late = producer.createJob({ x: 2, y: 2 }).delayUntil(started + 1000);
const lateEnding = ending(late);
await late.save();
equal((await producer.checkHealth()).delayed, 1, 'a job for later');
equal(await lateEnding, 4, 'it is done');
check(Date.now() - started >= 990, 'and not before its time');

const twice = range(2).map(() => producer.createJob({ x: 1, y: 5 }).setId('only-one'));
const onlyEnding = ending(twice[0]);
for (const job of twice) await job.save();
equal([twice[0].id, twice[1].id], ['only-one', null], 'a job that is there already is not added');
equal(await onlyEnding, 6, 'it is done');
equal(tries['only-one'], 1, 'once');

// A worker that dies in the midst of a job: another takes it over.
const fallen = new Queue('fragile', { ...options, stallInterval: 200 });
const stuck = fallen.createJob({ x: 1, y: 1 });
await stuck.save();
await new Promise((resolve) => {
  fallen.process(() => {
    resolve();
    return new Promise(() => {});
  });
});
await fallen.close(1).catch(() => {});
const heir = new Queue('fragile', { ...options, stallInterval: 200 });
const stalled = [];
heir.on('stalled', (id) => stalled.push(id));
const inherited = [];
heir.process(async (job) => inherited.push(job.id));
heir.checkStalledJobs(50);
await eventually(() => inherited.length === 1, 'a stalled job is done by another');
equal([stalled, inherited], [[stuck.id], [stuck.id]], 'it is the one that stalled');

const health = await producer.checkHealth();
equal([health.waiting, health.active, health.delayed], [0, 0, 0], 'nothing is left');
equal([health.succeeded, health.failed], [43, 1], 'what became of the jobs');
equal((await producer.getJobs('failed', { size: 10 })).map(({ id }) => id), [hopeless.id], 'what failed is kept');
await producer.removeJob(hopeless.id);
equal((await producer.checkHealth()).failed, 0, 'until it is removed');
await producer.destroy();
equal((await producer.checkHealth()).succeeded, 0, 'a destroyed queue is empty');
await Promise.all([producer, worker, heir].map((queue) => queue.close()));
passed();

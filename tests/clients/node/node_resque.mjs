// node-resque: the lists, sets and sorted sets of Ruby's Resque, with a scheduler that watches keys and works in
// transactions.

import resque from 'node-resque';
import { check, equal, eventually, host, passed, port, range } from './checks.mjs';

const { Plugins, Queue, Scheduler, Worker } = resque;
const connection = () => ({ host, port, database: 0 });

const done = [];
let attempts = 0;
const jobs = {
  add: { perform: async (a, b) => { done.push(['add', a + b]); return a + b; } },
  late: { perform: async (name) => { done.push([name, Date.now()]); } },
  fail: { perform: async () => { throw new Error('nothing to be done'); } },
  flaky: {
    plugins: [Plugins.Retry],
    pluginOptions: { Retry: { retryLimit: 3, retryDelay: 50 } },
    perform: async () => {
      attempts += 1;
      if (attempts < 3) throw new Error(`try ${attempts}`);
      done.push(['flaky', attempts]);
    },
  },
  // At most one of these waits, and at most one runs.
  alone: {
    plugins: [Plugins.QueueLock, Plugins.JobLock], pluginOptions: { JobLock: { reEnqueue: true } },
    perform: async () => { done.push(['alone', 1]); },
  },
};

const queue = new Queue({ connection: connection() }, jobs);
await queue.connect();
const worker = new Worker({ connection: connection(), queues: ['math', 'other'], name: 'trial', timeout: 20 }, jobs);
const scheduler = new Scheduler({ connection: connection(), name: 'leader', timeout: 20 });
const second = new Scheduler({ connection: connection(), name: 'second', timeout: 20 });
const errors = [];
for (const part of [queue, worker, scheduler, second]) part.on('error', (error) => errors.push(error));
const failures = [];
worker.on('failure', (name, job, error) => failures.push(error.message));

for (const n of range(20)) await queue.enqueue(n % 2 ? 'math' : 'other', 'add', [n, 1]);
equal([await queue.length('math'), await queue.length('other')], [10, 10], 'jobs wait');
equal((await queue.queues()).sort(), ['math', 'other'], 'in two queues');
equal(await queue.del('math', 'add', [1, 1]), 1, 'one is taken back');
await queue.enqueue('math', 'alone', [7]);
equal(await queue.enqueue('math', 'alone', [7]), false, 'a job that waits is not added again');
equal((await queue.queued('math', 0, -1)).length, 10, 'nine and the one that is alone');

const started = Date.now();
await queue.enqueueIn(2000, 'math', 'late', ['soon']);
await queue.enqueueAt(started + 3_600_000, 'math', 'late', ['in an hour']);
equal((await queue.timestamps()).length, 2, 'two moments with jobs for later');
equal((await queue.scheduledAt('math', 'late', ['in an hour'])).length, 1, 'known by their arguments');

await Promise.all([worker.connect(), scheduler.connect(), second.connect()]);
await Promise.all([worker.start(), scheduler.start(), second.start()]);
await eventually(() => done.length >= 20, 'the jobs are done');
const sums = done.filter(([name]) => name === 'add').map(([, sum]) => sum).sort((a, b) => a - b);
equal(sums, range(20).filter((n) => n !== 1).map((n) => n + 1), 'each once, but for the one that was taken back');
equal(done.filter(([name]) => name === 'alone').length, 1, 'the one that is alone, once');
await eventually(() => scheduler.leader || second.leader, 'a scheduler leads');
equal(scheduler.leader && second.leader, false, 'but one alone');
equal(Object.keys(await queue.workers()), ['trial'], 'a worker is known by its name');

await queue.enqueue('math', 'flaky', []);
await eventually(() => done.some(([name]) => name === 'flaky'), 'a job is tried again');
equal(attempts, 3, 'until the third try succeeds');
await queue.enqueue('math', 'fail', []);
await eventually(async () => (await queue.failedCount()) === 1, 'a job fails');
await eventually(() => failures.at(-1) === 'nothing to be done', 'with its reason');
const [failed] = await queue.failed(0, -1);
equal([failed.payload.class, failed.error], ['fail', 'nothing to be done'], 'it is kept as failed');
await queue.removeFailed(failed);
equal(await queue.failedCount(), 0, 'until it is removed');

await eventually(() => done.some(([name]) => name === 'soon'), 'a job for later is done');
// The clock of node-resque rounds to seconds, twice.
check(done.find(([name]) => name === 'soon')[1] - started >= 990, 'and not before its time');
await eventually(async () => (await queue.timestamps()).length === 1, 'its moment is gone');
equal(await queue.delDelayed('math', 'late', ['in an hour']).then((times) => times.length), 1, 'the other is taken back');
await eventually(async () => {
  const { processed, failed } = await queue.stats();
  return processed === '22' && failed === '3';
}, 'the statistics count all');
await Promise.all([worker.end(), scheduler.end(), second.end()]);
equal(await queue.workers(), {}, 'no worker is left');
await queue.delQueue('math');
equal((await queue.queues()), ['other'], 'a queue is deleted');
await queue.end();
equal(errors, [], 'nobody met an error');
passed();

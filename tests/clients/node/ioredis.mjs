// ioredis: the parts of an application, over TCP and the Unix socket, with the library's own key prefix.

import Redis from 'ioredis';
import { check, equal, eventually, host, passed, port, range, rejects, socket } from './checks.mjs';

const TAKE = `
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left < tonumber(ARGV[1]) then return redis.error_reply('SOLDOUT only ' .. left .. ' left') end
return redis.call('DECRBY', KEYS[1], ARGV[1])`;

async function cache({ redis }) {
  equal(await redis.set('user:1', 'Ada', 'EX', 100), 'OK', 'SET');
  equal(await redis.get('user:1'), 'Ada', 'what was set');
  equal(await redis.set('user:1', 'Grace', 'EX', 100), 'OK', 'SET again');
  equal(await redis.get('user:1'), 'Grace', 'what was set over it');
  const ttl = await redis.ttl('user:1');
  check(ttl > 90 && ttl <= 100, 'its time to live');
  equal(await redis.get('user:2'), null, 'what was never set');
  await redis.set('short', 'x', 'PX', 150);
  await eventually(async () => (await redis.get('short')) === null, 'it expires');
  const users = Object.fromEntries(range(50).map((n) => [`user:${n + 10}`, `name ${n}`]));
  equal(await redis.mset(users), 'OK', 'MSET over many slots');
  equal(await redis.mget([...Object.keys(users), 'nobody']), [...Object.values(users), null], 'MGET over many slots');
  equal(await redis.del(Object.keys(users)), 50, 'DEL over many slots');
  equal(await redis.hset('profile', { name: 'Ada', visits: 3 }), 2, 'HSET');
  equal(await redis.hgetall('profile'), { name: 'Ada', visits: '3' }, 'a hash as an object');
  const bytes = Buffer.from(range(256));
  await redis.set('bytes', bytes);
  equal(await redis.getBuffer('bytes'), bytes, 'every byte there is');
}

async function counter({ redis }) {
  equal(await Promise.all(range(500).map(() => redis.incr('counter'))), range(500).map((n) => n + 1), 'in order');
  equal(await redis.get('counter'), '500', 'none is lost');
}

async function lock({ redis, another }) {
  const release = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
  equal(await redis.set('lock', 'mine', 'PX', 20_000, 'NX'), 'OK', 'a free lock');
  equal(await another.set('lock', 'yours', 'PX', 20_000, 'NX'), null, 'a taken lock');
  equal(await another.eval(release, 1, 'lock', 'yours'), 0, 'it is not released by another');
  equal(await redis.eval(release, 1, 'lock', 'mine'), 1, 'it is released by who has it');
  equal(await another.set('lock', 'yours', 'PX', 20_000, 'NX'), 'OK', 'it is free');
}

async function queue({ redis, connect }) {
  const done = [];
  const worker = async (number) => {
    const own = connect();
    for (;;) {
      let job;
      if (number % 3 === 0) [, job] = await own.blpop('{q}jobs', 20);
      else if (number % 3 === 1) job = await own.brpoplpush('{q}jobs', '{q}taken', 20);
      else job = await own.blmove('{q}jobs', '{q}taken', 'LEFT', 'RIGHT', 20);
      if (job === 'end') break;
      done.push(Number(job));
    }
    await own.quit();
  };
  const workers = Promise.all(range(6).map(worker));
  await Promise.all(range(90).map((number) => redis.rpush('{q}jobs', number)));
  await eventually(() => done.length === 90, 'all jobs are done');
  await redis.rpush('{q}jobs', ...Array(6).fill('end'));
  await workers;
  equal(done.sort((a, b) => a - b), range(90), 'each once');
}

async function pubSub({ redis, connect, prefix }) {
  // The library puts its prefix before keys alone.
  const channel = (name) => prefix + name;
  const subscriber = connect();
  const heard = [];
  subscriber.on('message', (channel, message) => heard.push([channel, message]));
  subscriber.on('pmessage', (pattern, channel, message) => heard.push([pattern, channel, message]));
  equal(await subscriber.subscribe(channel('news'), channel('sport')), 2, 'two channels');
  equal(await subscriber.psubscribe(channel('room:*')), 3, 'and a pattern');
  const receivers = await Promise.all(range(50).map((n) => redis.publish(channel('news'), n)));
  equal(receivers, Array(50).fill(1), 'one receiver each');
  await eventually(() => heard.length === 50, 'all messages come');
  equal(heard, range(50).map((n) => [channel('news'), String(n)]), 'in order');
  await redis.publish(channel('room:1'), 'hello');
  await eventually(() => heard.length === 51, 'and one more');
  equal(heard[50], [channel('room:*'), channel('room:1'), 'hello'], 'one by its pattern');
  equal(await subscriber.unsubscribe(channel('news')), 2, 'one less');
  equal(await redis.publish(channel('news'), 'unheard'), 0, 'nobody listens');
  await subscriber.quit();
}

async function transactions({ redis, another }) {
  const replies = await redis.multi().set('{t}a', 1).incr('{t}a').get('{t}a').lpush('{t}list', 'x').exec();
  equal(replies, [[null, 'OK'], [null, 2], [null, '2'], [null, 1]], 'MULTI and EXEC');
  const [one, two, three] = await redis.multi().incr('{t}a').incr('{t}list').incr('{t}a').exec();
  equal([one[1], three[1]], [3, 4], 'what succeeds around an error');
  check(two[0].message.startsWith('WRONGTYPE'), 'the error');
  let tries = 0;
  for (;;) {
    tries += 1;
    await redis.watch('{t}sum');
    const before = Number(await redis.get('{t}sum'));
    if (tries === 1) await another.set('{t}sum', 100);
    if ((await redis.multi().set('{t}sum', before + 1).exec()) !== null) break;
  }
  equal([tries, await redis.get('{t}sum')], [2, '101'], 'a conflict is tried again');
}

async function scripts({ redis }) {
  redis.defineCommand('take', { numberOfKeys: 1, lua: TAKE });
  await redis.script('FLUSH');
  await redis.set('stock', 10);
  equal(await redis.get('stock'), '10', 'the stock');
  equal(await redis.take('stock', 3), 7, 'EVALSHA, and EVAL as it is not known');
  equal(await redis.get('stock'), '7', 'a read after it');
  equal(await redis.take('stock', 1), 6, 'EVALSHA');
  await rejects(redis.take('stock', 9), /^SOLDOUT only 6 left/, 'an error of the script');
  await rejects(redis.evalsha('0'.repeat(40), 0), /^NOSCRIPT/, 'nobody has it');
  await redis.script('FLUSH');
  const [[, five], [, four]] = await redis.pipeline().take('stock', 1).take('stock', 1).exec();
  equal([five, four], [5, 4], 'a script in a pipeline after SCRIPT FLUSH');
}

async function scan({ redis, prefix }) {
  await redis.pipeline(range(300).map((n) => ['set', `item:${n}`, n])).exec();
  const found = new Set();
  for await (const keys of redis.scanStream({ match: `${prefix}item:*`, count: 50 })) {
    for (const key of keys) found.add(key);
  }
  equal(found, new Set(range(300).map((n) => `${prefix}item:${n}`)), 'SCAN finds every key');
  await redis.hset('large', Object.fromEntries(range(600).map((n) => [`field ${n}`, n])));
  let fields = 0;
  for await (const page of redis.hscanStream('large', { count: 100 })) fields += page.length / 2;
  equal(fields, 600, 'HSCAN finds every field');
}

async function pipelines({ redis }) {
  const pipeline = redis.pipeline();
  for (const n of range(200)) pipeline.set(`p:${n}`, n).get(`p:${n}`).incr(`p:${n}`);
  const replies = await pipeline.exec();
  equal(replies.map(([, reply]) => reply), range(200).flatMap((n) => ['OK', String(n), n + 1]), 'in their places');
}

async function streams({ connect, prefix }) {
  // The library does not put its prefix before the key of XGROUP.
  const plain = () => connect({ keyPrefix: '' });
  const [redis, orders] = [plain(), `${prefix}orders`];
  equal(await redis.xgroup('CREATE', orders, 'shipping', '0', 'MKSTREAM'), 'OK', 'a group');
  await rejects(redis.xgroup('CREATE', orders, 'shipping', '0'), /^BUSYGROUP/, 'it is there');
  const done = [];
  const consumer = async (name) => {
    const own = plain();
    while (done.length < 60) {
      const found = await own.xreadgroup(
        'GROUP', 'shipping', name, 'COUNT', 7, 'BLOCK', 200, 'STREAMS', orders, '>');
      for (const [id, [, order]] of found?.[0][1] ?? []) {
        done.push(Number(order));
        equal(await own.xack(orders, 'shipping', id), 1, 'an order is acknowledged');
      }
    }
    await own.quit();
  };
  const consumers = Promise.all(['a', 'b', 'c'].map(consumer));
  for (const number of range(60)) await redis.xadd(orders, '*', 'order', number);
  await consumers;
  equal(done.sort((a, b) => a - b), range(60), 'every order once');
  equal((await redis.xpending(orders, 'shipping'))[0], 0, 'all are acknowledged');
}

const places = {
  tcp: { host, port },
  unix: { path: socket },
  pipelining: { host, port, enableAutoPipelining: true },
};
for (const [name, place] of Object.entries(places)) {
  for (const part of [cache, counter, lock, queue, pubSub, transactions, scripts, scan, pipelines, streams]) {
    // What is one connection's own affair has no place where several callers are merged into one pipeline.
    if (place.enableAutoPipelining && part === transactions) continue;
    const prefix = `ioredis:${name}:${part.name}:`;
    const opened = [];
    const connect = (more) => opened[opened.push(new Redis({ ...place, keyPrefix: prefix, ...more })) - 1];
    await part({ redis: connect(), another: connect(), connect, prefix });
    for (const redis of opened) redis.disconnect();
  }
}
passed();

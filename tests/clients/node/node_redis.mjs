// node-redis: the parts of an application, in both versions of the protocol, and with its client-side cache.

import { BasicClientSideCache, createClient, createClientPool, defineScript, WatchError } from 'redis';
import { check, equal, eventually, host, passed, port, range, rejects, socket } from './checks.mjs';

const scripts = {
  take: defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: `local left = tonumber(redis.call('GET', KEYS[1]) or '0')
      if left < tonumber(ARGV[1]) then return redis.error_reply('SOLDOUT only ' .. left .. ' left') end
      return redis.call('DECRBY', KEYS[1], ARGV[1])`,
    parseCommand(parser, key, count) {
      parser.pushKey(key);
      parser.push(String(count));
    },
    transformReply: (reply) => reply,
  }),
};

async function cache({ redis, key }) {
  equal(await redis.set(key('user:1'), 'Ada', { expiration: { type: 'EX', value: 100 } }), 'OK', 'SET');
  equal(await redis.get(key('user:1')), 'Ada', 'what was set');
  equal(await redis.set(key('user:1'), 'Grace', { condition: 'NX' }), null, 'SET NX');
  const ttl = await redis.ttl(key('user:1'));
  check(ttl > 90 && ttl <= 100, 'its time to live');
  equal(await redis.get(key('user:2')), null, 'what was never set');
  await redis.set(key('short'), 'x', { expiration: { type: 'PX', value: 150 } });
  await eventually(async () => (await redis.get(key('short'))) === null, 'it expires');
  const users = Object.fromEntries(range(50).map((n) => [key(`user:${n + 10}`), `name ${n}`]));
  equal(await redis.mSet(users), 'OK', 'MSET over many slots');
  const names = [...Object.keys(users), key('nobody')];
  equal(await redis.mGet(names), [...Object.values(users), null], 'MGET over many slots');
  equal(await redis.del(names), 50, 'DEL over many slots');
  equal(await redis.hSet(key('profile'), { name: 'Ada', visits: 3 }), 2, 'HSET');
  equal({ ...(await redis.hGetAll(key('profile'))) }, { name: 'Ada', visits: '3' }, 'a hash as an object');
  equal(await redis.zAdd(key('board'), [{ value: 'ada', score: 10 }, { value: 'grace', score: 20.5 }]), 2, 'a board');
  equal(await redis.zScore(key('board'), 'grace'), 20.5, 'a score is a number');
  equal(await redis.zRangeWithScores(key('board'), 0, 0), [{ value: 'ada', score: 10 }], 'pairs');
  await redis.sAdd(key('tags'), ['a', 'b']);
  equal([...(await redis.sMembers(key('tags')))].sort(), ['a', 'b'], 'a set');
}

async function counter({ redis, key }) {
  equal(await Promise.all(range(500).map(() => redis.incr(key('n')))), range(500).map((n) => n + 1), 'in order');
  equal(await redis.get(key('n')), '500', 'none is lost');
}

async function queue({ redis, connect, key }) {
  const done = [];
  const worker = async (number) => {
    const own = await connect();
    for (;;) {
      let job;
      if (number % 2) job = (await own.blPop(key('{q}jobs'), 20)).element;
      else job = await own.blMove(key('{q}jobs'), key('{q}taken'), 'LEFT', 'RIGHT', 20);
      if (job === 'end') return;
      done.push(Number(job));
    }
  };
  const workers = Promise.all(range(4).map(worker));
  await Promise.all(range(80).map((number) => redis.rPush(key('{q}jobs'), String(number))));
  await eventually(() => done.length === 80, 'all jobs are done');
  await redis.rPush(key('{q}jobs'), Array(4).fill('end'));
  await workers;
  equal(done.sort((a, b) => a - b), range(80), 'each once');
}

async function pubSub({ redis, connect, key }) {
  const subscriber = await connect();
  const heard = [];
  await subscriber.subscribe(key('news'), (message, channel) => heard.push([channel, message]));
  await subscriber.pSubscribe(key('room:*'), (message, channel) => heard.push([channel, message]));
  const receivers = await Promise.all(range(50).map((n) => redis.publish(key('news'), String(n))));
  equal(receivers, Array(50).fill(1), 'one receiver each');
  await eventually(() => heard.length === 50, 'all messages come');
  equal(heard, range(50).map((n) => [key('news'), String(n)]), 'in order');
  await redis.publish(key('room:1'), 'hello');
  await eventually(() => heard.length === 51, 'and one more');
  equal(heard[50], [key('room:1'), 'hello'], 'one by its pattern');
  await subscriber.unsubscribe(key('news'));
  equal(await redis.publish(key('news'), 'unheard'), 0, 'nobody listens');
}

async function transactions({ redis, connect, key }) {
  const replies = await redis.multi().set(key('{t}a'), '1').incr(key('{t}a')).get(key('{t}a')).exec();
  equal(replies, ['OK', 2, '2'], 'MULTI and EXEC');
  const [own, another] = [await connect(), await connect()];
  let tries = 0;
  for (;;) {
    tries += 1;
    await own.watch(key('{t}sum'));
    const before = Number(await own.get(key('{t}sum')));
    if (tries === 1) await another.set(key('{t}sum'), '100');
    try {
      equal(await own.multi().set(key('{t}sum'), String(before + 1)).exec(), ['OK'], 'it is carried out');
      break;
    } catch (error) {
      check(error instanceof WatchError, `the conflict is told: ${error}`);
    }
  }
  equal([tries, await redis.get(key('{t}sum'))], [2, '101'], 'a conflict is tried again');
}

async function scripting({ redis, key }) {
  await redis.scriptFlush();
  await redis.set(key('stock'), '10');
  equal(await redis.get(key('stock')), '10', 'the stock');
  equal(await redis.take(key('stock'), 3), 7, 'EVALSHA, and EVAL as it is not known');
  equal(await redis.get(key('stock')), '7', 'a read after it');
  equal(await redis.take(key('stock'), 1), 6, 'EVALSHA');
  await rejects(redis.take(key('stock'), 9), /^SOLDOUT only 6 left/, 'an error of the script');
  equal(await redis.eval('return {KEYS[1], ARGV[1]}', { keys: [key('stock')], arguments: ['x'] }),
    [key('stock'), 'x'], 'EVAL');
}

async function scan({ redis, key }) {
  const wanted = new Set(range(300).map((n) => key(`item:${n}`)));
  await Promise.all([...wanted].map((name) => redis.set(name, 'x')));
  const found = new Set();
  for await (const keys of redis.scanIterator({ MATCH: key('item:*'), COUNT: 50 })) {
    for (const name of keys) found.add(name);
  }
  equal(found, wanted, 'SCAN finds every key');
}

async function pipelines({ redis, key }) {
  const replies = await Promise.all(range(200).flatMap((n) => [
    redis.set(key(`p:${n}`), String(n)), redis.get(key(`p:${n}`)), redis.incr(key(`p:${n}`))]));
  equal(replies, range(200).flatMap((n) => ['OK', String(n), n + 1]), 'six hundred replies in their places');
  const [first, last] = await redis.multi().incr(key('p:1')).incr(key('p:1')).execAsPipeline();
  equal([first, last], [3, 4], 'a pipeline without a transaction');
}

async function streams({ redis, connect, key }) {
  equal(await redis.xGroupCreate(key('orders'), 'shipping', '0', { MKSTREAM: true }), 'OK', 'a group');
  await rejects(redis.xGroupCreate(key('orders'), 'shipping', '0'), /^BUSYGROUP/, 'it is there');
  const done = [];
  const consumer = async (name) => {
    const own = await connect();
    while (done.length < 60) {
      const found = await own.xReadGroup('shipping', name, { key: key('orders'), id: '>' }, { COUNT: 7, BLOCK: 200 });
      for (const [id, order] of entries(found)) {
        done.push(Number(order));
        equal(await own.xAck(key('orders'), 'shipping', id), 1, 'an order is acknowledged');
      }
    }
  };
  const consumers = Promise.all(['a', 'b', 'c'].map(consumer));
  for (const number of range(60)) await redis.xAdd(key('orders'), '*', { order: String(number) });
  await consumers;
  equal(done.sort((a, b) => a - b), range(60), 'every order once');
  equal((await redis.xPending(key('orders'), 'shipping')).pending, 0, 'all are acknowledged');
}

// What XREADGROUP found in its only stream. In RESP3 node-redis leaves the reply as the server sent it.
function entries(found) {
  if (found === null) return [];
  if (Array.isArray(found)) return found[0].messages.map(({ id, message }) => [id, message.order]);
  return Object.values(found)[0].map(([id, [, order]]) => [id, order]);
}

// node-redis keeps what it read, and is told when another client changes it.
async function clientSideCache() {
  const kept = new BasicClientSideCache({ ttl: 0, maxEntries: 1000, evictPolicy: 'LRU' });
  const cached = await open({ socket: { host, port }, RESP: 3, clientSideCache: kept });
  const other = await open({ socket: { host, port } });
  const key = (name) => `node-redis:tracking:${name}`;
  await other.set(key('price'), '1');
  for (const round of range(30).map((n) => n + 1)) {
    equal([await cached.get(key('price')), await cached.get(key('price'))], [`${round}`, `${round}`], 'the price');
    await other.set(key('price'), `${round + 1}`);
    await eventually(async () => (await cached.get(key('price'))) === `${round + 1}`, 'it is told of the new price');
  }
  check(kept.stats().hitCount >= 30, 'it answered from its own memory');
  await other.hSet(key('basket'), 'apples', '1');
  equal({ ...(await cached.hGetAll(key('basket'))) }, { apples: '1' }, 'a hash through the cache');
  await other.hSet(key('basket'), 'pears', '2');
  await eventually(async () => Object.keys(await cached.hGetAll(key('basket'))).length === 2, 'it is told of a field');
  await cached.close();
  await other.close();
}

async function pool() {
  const clients = createClientPool({ socket: { path: socket } }, { minimum: 1, maximum: 8 });
  clients.on('error', () => {});
  await clients.connect();
  await Promise.all(range(200).map(() => clients.incr('node-redis:pool')));
  equal(await clients.get('node-redis:pool'), '200', 'a pool of clients');
  await clients.close();
}

async function open(options) {
  const client = createClient({ ...options, scripts });
  let failure;
  client.on('error', (error) => (failure ??= error));
  await client.connect();
  check(failure === undefined, `it connects without an error: ${failure}`);
  return client;
}

const places = {
  resp2: { socket: { host, port }, RESP: 2 },
  resp3: { socket: { host, port }, RESP: 3 },
  unix: { socket: { path: socket }, RESP: 3, name: 'shop' },
};
for (const [name, place] of Object.entries(places)) {
  for (const part of [cache, counter, queue, pubSub, transactions, scripting, scan, pipelines, streams]) {
    const opened = [];
    const connect = async () => opened[opened.push(await open(place)) - 1];
    await part({ redis: await connect(), connect, key: (key) => `node-redis:${name}:${part.name}:${key}` });
    await Promise.all(opened.map((client) => client.close()));
  }
}
await clientSideCache();
await pool();
passed();

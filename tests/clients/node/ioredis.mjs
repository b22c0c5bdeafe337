// ioredis: what an application does.

import Redis from 'ioredis';
import { check, equal, host, passed, port, range, socket } from './checks.mjs';

async function cache(redis) {
  equal(await redis.set('user:1', 'Ada', 'EX', 100), 'OK', 'SET');
  equal(await redis.get('user:1'), 'Ada', 'what was set');
  equal(await redis.set('user:1', 'Grace', 'EX', 100), 'OK', 'SET again');
  equal(await redis.get('user:1'), 'Grace', 'what was set over it');
  const ttl = await redis.ttl('user:1');
  check(ttl > 90 && ttl <= 100, 'its time to live');
  equal(await redis.get('user:2'), null, 'what was never set');
}

async function counter(redis) {
  await Promise.all(range(800).map(() => redis.incr('counter')));
  equal(await redis.get('counter'), '800', 'eight hundred at once');
}

for (const place of [{ host, port }, { path: socket }]) {
  const redis = new Redis({ ...place, keyPrefix: `ioredis:${Object.keys(place)[0]}:` });
  await cache(redis);
  await counter(redis);
  await redis.quit();
}
passed();

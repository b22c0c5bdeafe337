// Rate limits (rate-limiter-flexible) and locks (redlock), over ioredis and node-redis.

import Redis from 'ioredis';
import { createClient } from 'redis';
import { RateLimiterQueue, RateLimiterRedis } from 'rate-limiter-flexible';
import Redlock from 'redlock';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, equal, host, passed, port, range, rejects, socket, together } from './checks.mjs';

async function limits(storeClient, keyPrefix) {
  const limiter = new RateLimiterRedis({ storeClient, keyPrefix, points: 25, duration: 60, ...flavour(storeClient) });
  const outcomes = await Promise.allSettled(range(60).map(() => limiter.consume('visitor')));
  const allowed = outcomes.filter(({ status }) => status === 'fulfilled');
  equal(allowed.map(({ value }) => value.remainingPoints).sort((a, b) => b - a), range(25).reverse(), 'every point once');
  const refused = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  equal(refused.map((reason) => reason.remainingPoints), Array(35).fill(0), 'the others have none');
  check(refused.every(({ msBeforeNext }) => msBeforeNext > 0 && msBeforeNext <= 60_000), 'and know until when');
  equal((await limiter.get('visitor')).consumedPoints, 60, 'what was asked for');
  await limiter.reward('visitor', 36);
  equal((await limiter.consume('visitor')).remainingPoints, 0, 'a point given back');
  equal(await limiter.delete('visitor'), true, 'a limit forgotten');
  equal((await limiter.consume('visitor')).remainingPoints, 24, 'a new beginning');
  const blocking = new RateLimiterRedis({
    storeClient, keyPrefix: `${keyPrefix}:block`, points: 1, duration: 60, blockDuration: 100, ...flavour(storeClient) });
  await blocking.consume('intruder');
  const reason = await blocking.consume('intruder').catch((error) => error);
  check(reason.msBeforeNext > 90_000, `a blocked key waits longer: ${reason.msBeforeNext}`);
  const queue = new RateLimiterQueue(new RateLimiterRedis({
    storeClient, keyPrefix: `${keyPrefix}:queue`, points: 5, duration: 1, ...flavour(storeClient) }));
  await Promise.all(range(10).map(() => queue.removeTokens(1, 'api')));
  equal(await queue.getTokensRemaining('api') < 5, true, 'ten calls at five a second');
}

const flavour = (client) => (client instanceof Redis ? {} : { useRedisPackage: true });

async function locks(client, prefix) {
  const redlock = new Redlock([client], { retryCount: 2000, retryDelay: 5, retryJitter: 5 });
  let balance = 0;
  await Promise.all(range(20).map(async () => {
    const lock = await redlock.lock(`${prefix}balance`, 20_000);
    const before = balance;
    await sleep(2);
    balance = before + 1;
    await lock.unlock();
  }));
  equal(balance, 20, 'nobody was in the lock together with another');
  const impatient = new Redlock([client], { retryCount: 0 });
  let lock = await redlock.lock(`${prefix}a`, 20_000);
  await rejects(impatient.lock(`${prefix}a`, 1000), /unable to obtain lock|exceeded .* attempts/i, 'a taken lock');
  lock = await lock.extend(50_000);
  check((await client.pttl(`${prefix}a`)) > 20_000, 'it is extended');
  await lock.unlock();
  lock = await impatient.lock([`${prefix}${together('m')}a`, `${prefix}${together('m')}b`], 20_000);
  await rejects(impatient.lock([`${prefix}${together('m')}b`], 1000), /unable to obtain lock|exceeded .* attempts/i, 'one of two');
  await lock.unlock();
  lock = await impatient.lock(`${prefix}short`, 50);
  await sleep(80);
  await (await impatient.lock(`${prefix}short`, 1000)).unlock();
  await rejects(lock.unlock(), /Unable to fully release/, 'it is not released by who has lost it');
}

const [tcp, unix] = [new Redis({ host, port }), new Redis({ path: socket })];
const node = await createClient({ socket: { host, port } }).connect();
await limits(tcp, 'flexible:ioredis');
await limits(node, 'flexible:node-redis');
await locks(tcp, 'redlock:tcp:');
await locks(unix, 'redlock:unix:');
passed();

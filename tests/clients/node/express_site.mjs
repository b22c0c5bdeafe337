// Express: sessions by connect-redis, limits by rate-limit-redis, and a cache of its own; asked over HTTP.

import { RedisStore as SessionStore } from 'connect-redis';
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import session from 'express-session';
import { RedisStore as LimitStore } from 'rate-limit-redis';
import { createClient } from 'redis';
import { check, equal, eventually, host, passed, port, range, socket } from './checks.mjs';

const redis = await createClient({ socket: { path: socket } }).connect();
let rendered = 0;

// Two processes of one site, which share sessions and limits.
async function site() {
  const client = await createClient({ socket: { host, port } }).connect();
  const app = express();
  app.use(session({
    store: new SessionStore({ client, prefix: 'express:session:', ttl: 100 }),
    secret: 'not a secret', resave: false, saveUninitialized: false,
  }));
  app.get('/visit', (request, response) => {
    request.session.visits = (request.session.visits ?? 0) + 1;
    response.json({ visits: request.session.visits });
  });
  app.get('/bye', (request, response) => request.session.destroy(() => response.send('bye')));
  app.get('/page/:id', async (request, response) => {
    const key = `express:page:${request.params.id}`;
    let page = await client.get(key);
    if (page === null) {
      rendered += 1;
      page = `page ${request.params.id}`;
      await client.set(key, page, { expiration: { type: 'EX', value: 100 } });
    }
    response.send(page);
  });
  const store = new LimitStore({ sendCommand: (...args) => client.sendCommand(args), prefix: 'express:limit:' });
  app.use('/limited', rateLimit({ windowMs: 60_000, limit: 20, standardHeaders: 'draft-6', store, validate: false }));
  app.get('/limited', (request, response) => response.send('welcome'));
  const server = await new Promise((resolve) => {
    const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
  });
  return `http://127.0.0.1:${server.address().port}`;
}

function visitor() {
  let cookie = '';
  return async (url) => {
    const response = await fetch(url, { headers: { cookie } });
    cookie = response.headers.getSetCookie()[0]?.split(';')[0] ?? cookie;
    return response;
  };
}

const [here, there] = [await site(), await site()];
const ada = visitor();
for (const n of range(10)) {
  equal(await (await ada(`${n % 2 ? here : there}/visit`)).json(), { visits: n + 1 }, 'a session over both processes');
}
equal(await (await visitor()(`${here}/visit`)).json(), { visits: 1 }, 'another visitor');
equal((await redis.keys('express:session:*')).length, 2, 'two sessions');
await ada(`${here}/bye`);
equal(await (await ada(`${there}/visit`)).json(), { visits: 1 }, 'a session ends everywhere');

for (const _ of range(5)) {
  const pages = await Promise.all(range(5).map(async (n) => (await fetch(`${here}/page/${n}`)).text()));
  equal(pages, range(5).map((n) => `page ${n}`), 'pages');
}
equal(rendered, 5, 'each is rendered once');
await redis.set('express:page:1', 'changed');
equal(await (await fetch(`${there}/page/1`)).text(), 'changed', 'a changed page');

const statuses = await Promise.all(range(50).map(async (n) => (await fetch(`${n % 2 ? here : there}/limited`)).status));
equal(statuses.filter((status) => status === 200).length, 20, 'as many as are allowed, over both processes');
equal(statuses.filter((status) => status === 429).length, 30, 'the others are told');
const refused = await fetch(`${here}/limited`);
equal(refused.headers.get('ratelimit-remaining'), '0', 'nothing remains');
check(Number(refused.headers.get('retry-after')) <= 60, 'until the window ends');
await redis.del(await redis.keys('express:limit:*'));
await eventually(async () => (await fetch(`${here}/limited`)).status === 200, 'a new beginning');
passed();

// socket.io: two servers that speak to each other's clients by publish and subscribe.

import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import Redis from 'ioredis';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { io as connect } from 'socket.io-client';
import { equal, eventually, host, passed, port, range, socket } from './checks.mjs';

async function serve(publisher, subscriber) {
  const http = createServer();
  const server = new Server(http, { adapter: createAdapter(publisher, subscriber, { requestsTimeout: 10_000 }) });
  server.on('connection', (client) => {
    client.on('join', async (room, done) => done(await client.join(room)));
    client.on('say', (room, text) => server.to(room).emit('said', text));
  });
  server.on('sum', (a, b, reply) => reply(a + b));
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${http.address().port}` };
}

async function visit(url) {
  const client = connect(url, { transports: ['websocket'] });
  client.heard = [];
  client.on('said', (text) => client.heard.push(text));
  await new Promise((resolve) => client.once('connect', resolve));
  return client;
}

const first = await serve(new Redis({ host, port }), new Redis({ path: socket }));
const second = await serve(
  await createClient({ socket: { host, port } }).connect(), await createClient({ socket: { host, port } }).connect());
// Each hears the other once both have subscribed.
await eventually(async () => (await first.server.of('/').adapter.serverCount()) === 2, 'two servers know each other');

const clients = await Promise.all(range(6).map((n) => visit((n % 2 ? first : second).url)));
for (const [n, client] of clients.entries()) await client.emitWithAck('join', n < 4 ? 'tea' : 'coffee');
for (const n of range(30)) clients[0].emit('say', 'tea', n);
clients[5].emit('say', 'coffee', 'hello');
await eventually(() => clients.slice(0, 4).every(({ heard }) => heard.length === 30), 'all in the room hear all');
await eventually(() => clients.slice(4).every(({ heard }) => heard.length === 1), 'so do those of the other room');
for (const { heard } of clients.slice(0, 4)) equal(heard, range(30), 'in order, and nothing else');
for (const { heard } of clients.slice(4)) equal(heard, ['hello'], 'nothing of another room');

equal((await first.server.fetchSockets()).length, 6, 'the clients of both servers');
equal(await first.server.serverSideEmitWithAck('sum', 2, 3), [5], 'a question to the other server');
second.server.in('tea').socketsLeave('tea');
await eventually(async () => (await first.server.in('tea').fetchSockets()).length === 0, 'all are sent out of a room');
first.server.disconnectSockets();
await eventually(() => clients.every(({ connected }) => !connected), 'all are disconnected, by one of the servers');
passed();

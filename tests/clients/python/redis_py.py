"""redis-py, blocking: what an application does, in both versions of the protocol."""

import redis

from checks import HOST, PORT, SOCKET, check, equal, in_threads, passed


def cache(client, prefix):
    client.set(f"{prefix}user:1", "Ada", ex=100)
    equal(client.get(f"{prefix}user:1"), "Ada", "what was set")
    client.set(f"{prefix}user:1", "Grace", ex=100)
    equal(client.get(f"{prefix}user:1"), "Grace", "what was set over it")
    check(90 < client.ttl(f"{prefix}user:1") <= 100, "its time to live")
    equal(client.get(f"{prefix}user:2"), None, "what was never set")


def counter(client, prefix):
    in_threads(8, lambda _: [client.incr(f"{prefix}counter") for _ in range(100)])
    equal(client.get(f"{prefix}counter"), "800", "eight times a hundred")


for protocol in (2, 3):
    for place in ({"host": HOST, "port": PORT}, {"unix_socket_path": SOCKET}):
        with redis.Redis(**place, protocol=protocol, decode_responses=True) as client:
            prefix = f"redis_py:{protocol}:{next(iter(place))}:"
            cache(client, prefix)
            counter(client, prefix)
passed()

"""Flask-Session: two processes of one site share sessions, which live in Redis."""

import warnings

from flask import Flask, session
from flask_session import Session
from redis import Redis

from checks import HOST, PORT, SOCKET, check, equal, eventually, in_threads, passed

warnings.simplefilter("error")
LIFETIME = 100


def site(client, lifetime=LIFETIME):
    app = Flask(__name__)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client, PERMANENT_SESSION_LIFETIME=lifetime)
    Session(app)

    @app.get("/visit")
    def visit():
        session["visits"] = session.get("visits", 0) + 1
        session.setdefault("basket", []).append({"item": session["visits"], "bytes": b"\x00\r\n\xff"})
        session.modified = True
        return {"visits": session["visits"], "items": len(session["basket"])}

    @app.get("/look")
    def look():
        return {"visits": session.get("visits", 0)}

    @app.get("/bye")
    def bye():
        session.clear()
        return "bye"

    return app


redis = Redis(host=HOST, port=PORT, decode_responses=False)
here, there = site(Redis(host=HOST, port=PORT)), site(Redis(unix_socket_path=SOCKET))


def visitor(number_of_visits):
    """One whose requests go to either process in turn."""
    browsers = [here.test_client(), there.test_client()]
    for number in range(number_of_visits):
        browser, other = browsers[number % 2], browsers[1 - number % 2]
        response = browser.get("/visit")
        equal(response.json, {"visits": number + 1, "items": number + 1}, "a session over both processes")
        cookie = browser.get_cookie("session")
        other.set_cookie("session", cookie.value)
    return browsers[0]


ada = visitor(10)
key = b"session:" + ada.get_cookie("session").value.encode()
equal(redis.keys("session:*"), [key], "one session, under the name of its cookie")
equal(visitor(1).get("/look").json, {"visits": 1}, "another visitor has a session of their own")
in_threads(4, lambda _: visitor(10))
equal(len(redis.keys("session:*")), 6, "six sessions")

redis.expire(key, 20)
ada.get("/visit")
check(LIFETIME - 2 <= redis.ttl(key) <= LIFETIME, "a visit renews the time to live")
redis.expire(key, 20)
ada.get("/look")
check(redis.ttl(key) > 20, "so does a visit that changes nothing")
ada.get("/bye")
equal(redis.exists(key), 0, "a session that was ended is gone")
equal(ada.get("/look").json, {"visits": 0}, "for every process")

brief = site(Redis(host=HOST, port=PORT), lifetime=1).test_client()
equal(brief.get("/visit").json, {"visits": 1, "items": 1}, "a session for a second")
name = b"session:" + brief.get_cookie("session").value.encode()
check(0 < redis.pttl(name) <= 1000, "lives for a second")
eventually(lambda: redis.exists(name) == 0, "it expires")
equal(redis.keys("session:*").count(name), 0, "and is listed no more")
passed()

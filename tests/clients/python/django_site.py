"""Django with django-redis: a site whose cache and sessions live in Redis, asked over HTTP's own objects."""

import django
from django.conf import settings
from redis import Redis

from checks import CLUSTER, HOST, PORT, SOCKET, check, equal, eventually, in_threads, passed, together

# A cache in another database than the first, where there is one.
DATABASE = 0 if CLUSTER else 1

settings.configure(
    SECRET_KEY="not a secret",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["testserver"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.cache.UpdateCacheMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.cache.FetchFromCacheMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_CACHE_ALIAS="sessions",
    CACHE_MIDDLEWARE_SECONDS=100,
    # Django's set_many is a transaction; in front of a cluster its keys belong into one slot.
    CACHES={
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://{HOST}:{PORT}/{DATABASE}",
                    "KEY_PREFIX": together("django-pages")},
        "sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"unix://{SOCKET}?db=0",
                     "KEY_PREFIX": together("django-sessions")},
        # Django's own backend, without django-redis.
        "plain": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://{HOST}:{PORT}",
                  "KEY_PREFIX": together("django-plain")},
    },
)
django.setup()

from django.core.cache import cache, caches  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.cache import never_cache  # noqa: E402

rendered = []


def article(request, number):
    rendered.append(number)
    return HttpResponse(f"article {number}")


@never_cache
def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


@never_cache
def log_out(request):
    request.session.flush()
    return HttpResponse("bye")


urlpatterns = [path("article/<int:number>", article), path("visit", visit), path("bye", log_out)]


def pages():
    site = Client()
    for _ in range(3):
        equal([site.get(f"/article/{n}").content for n in range(5)], [b"article %d" % n for n in range(5)], "pages")
    equal(rendered, [0, 1, 2, 3, 4], "each is rendered once")


def sessions():
    ada, grace = Client(), Client()
    equal([ada.get("/visit").json()["visits"] for _ in range(5)], [1, 2, 3, 4, 5], "visits of Ada")
    equal(grace.get("/visit").json(), {"visits": 1}, "Grace has a session of her own")
    ada.get("/bye")
    equal(ada.get("/visit").json(), {"visits": 1}, "after the session was ended")

    def visitor(_):
        site = Client()
        equal([site.get("/visit").json()["visits"] for _ in range(20)], list(range(1, 21)), "visits")

    in_threads(4, visitor)


def backend(store):
    store.set("object", {"name": "Ada", "tags": [1, 2]}, timeout=100)
    equal(store.get("object"), {"name": "Ada", "tags": [1, 2]}, "an object")
    equal(store.get("absent", "default"), "default", "a default")
    equal((store.add("object", 1), store.add("once", 1)), (False, True), "only what is not there is added")
    store.set_many({f"key:{n}": n for n in range(60)}, timeout=100)
    equal(store.get_many([f"key:{n}" for n in range(61)]), {f"key:{n}": n for n in range(60)}, "many at once")
    store.set("count", 1)
    in_threads(4, lambda _: [store.incr("count") for _ in range(25)])
    equal(store.get("count"), 101, "counted by several")
    client = Redis(host=HOST, port=PORT, db=DATABASE if store is caches["default"] else 0)
    client.expire(store.make_key("count"), 20)
    equal((store.touch("count", 200), store.touch("absent", 200)), (True, False), "a longer life")
    check(190 < client.ttl(store.make_key("count")) <= 200, "is that of the key")
    store.set("short", 1, timeout=1)
    equal(store.get("short"), 1, "before it expires")
    eventually(lambda: store.get("short") is None, "it expires")
    equal(store.get_or_set("made", lambda: "once"), "once", "made when it is absent")
    equal(store.delete_many([f"key:{n}" for n in range(60)]) in (60, None), True, "many are deleted")
    equal(store.get_many([f"key:{n}" for n in range(60)]), {}, "they are gone")
    store.set("versioned", "one", version=1)
    equal((store.get("versioned", version=2), store.get("versioned", version=1)), (None, "one"), "versions")


def beyond_the_backend():
    """What django-redis has beside Django's interface."""
    for number in range(80):
        cache.set(f"news:{number}", number)
    equal(sorted(cache.iter_keys("news:*")), sorted(f"news:{n}" for n in range(80)), "keys by SCAN")
    check(0 < cache.ttl("news:1") <= 300, "a time to live")
    equal(cache.delete_pattern("news:*"), 80, "deleted by pattern")
    equal(cache.get("news:1"), None, "they are gone")
    with cache.lock("lock", timeout=10):
        equal(cache.lock("lock", timeout=10).acquire(blocking=False), False, "the lock is taken")


pages()
sessions()
for name in ("default", "plain"):
    backend(caches[name])
beyond_the_backend()
passed()

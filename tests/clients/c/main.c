// Scenarios with hiredis, against the Redis at NEARSIDE_HOST and NEARSIDE_PORT.
#include "scenario.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int passed;

int main(void) {
    redisContext *redis = connect_redis();
    cache(redis);
    counter(redis);
    scan(redis);
    pipeline(redis);
    lock(redis);
    queue(redis);
    reliable_queue(redis);
    publish_and_subscribe(redis);
    transaction(redis);
    script(redis);
    asynchronous(redis);
    redisFree(redis);
    printf("passed: %d checks\n", atomic_load(&passed));
    return 0;
}

redisContext *connect_redis(void) {
    const struct timeval patience = {.tv_sec = 10};
    redisContext *redis =
        redisConnectWithTimeout(getenv("NEARSIDE_HOST"), atoi(getenv("NEARSIDE_PORT")), patience);
    check("a connection", redis != NULL && redis->err == 0);
    check("its timeout", redisSetTimeout(redis, patience) == REDIS_OK);
    return redis;
}

void check(const char *what, bool holds) {
    if (!holds) {
        fprintf(stderr, "hiredis: this does not hold: %s\n", what);
        exit(1);
    }
    atomic_fetch_add(&passed, 1);
}

static redisReply *run_list(redisContext *redis, const char *form, va_list arguments) {
    redisReply *reply = redisvCommand(redis, form, arguments);
    if (reply == NULL) {
        fprintf(stderr, "hiredis: %s: %s\n", form, redis->errstr);
        exit(1);
    }
    return reply;
}

static void unexpected(const char *form, const redisReply *reply) {
    fprintf(stderr, "hiredis: %s: unexpected reply of type %d: %s %lld\n", form, reply->type,
            reply->str ? reply->str : "", reply->integer);
    exit(1);
}

redisReply *run(redisContext *redis, const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    redisReply *reply = run_list(redis, form, arguments);
    va_end(arguments);
    return reply;
}

long long run_number(redisContext *redis, const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    redisReply *reply = run_list(redis, form, arguments);
    va_end(arguments);
    if (reply->type != REDIS_REPLY_INTEGER) {
        unexpected(form, reply);
    }
    long long number = reply->integer;
    freeReplyObject(reply);
    return number;
}

void run_expect(redisContext *redis, const char *wanted, const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    redisReply *reply = run_list(redis, form, arguments);
    va_end(arguments);
    if (!is_text(reply, wanted)) {
        unexpected(form, reply);
    }
    check(form, true);
    freeReplyObject(reply);
}

bool is_text(const redisReply *reply, const char *wanted) {
    if (wanted == NULL) {
        return reply->type == REDIS_REPLY_NIL;
    }
    return (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) &&
           reply->len == strlen(wanted) && memcmp(reply->str, wanted, reply->len) == 0;
}

bool is_error(const redisReply *reply, const char *prefix) {
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, prefix, strlen(prefix)) == 0;
}

// What keeps and reads values: a cache, counters, iteration and pipelines.
#include "scenario.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 40, WORKERS = 4, TIMES = 100, KEYS = 300, ROUNDS = 400 };

static void many_keys(redisContext *redis) {
    char names[ITEMS + 1][64];
    const char *set[1 + 2 * ITEMS] = {"MSET"}, *get[2 + ITEMS] = {"MGET"};
    size_t set_lengths[1 + 2 * ITEMS] = {4}, get_lengths[2 + ITEMS] = {4};
    const char value[] = "binary\r\n\0value";
    for (int item = 0; item <= ITEMS; item++) {
        get_lengths[1 + item] = snprintf(names[item], sizeof names[item], PREFIX "item:%d", item);
        get[1 + item] = names[item];
        if (item < ITEMS) {
            set[1 + 2 * item] = names[item];
            set_lengths[1 + 2 * item] = get_lengths[1 + item];
            set[2 + 2 * item] = value;
            set_lengths[2 + 2 * item] = sizeof value;
        }
    }
    redisReply *reply = redisCommandArgv(redis, 1 + 2 * ITEMS, set, set_lengths);
    check("MSET", reply != NULL && is_text(reply, "OK"));
    freeReplyObject(reply);
    reply = redisCommandArgv(redis, 2 + ITEMS, get, get_lengths);
    check("MGET", reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == ITEMS + 1);
    for (int item = 0; item < ITEMS; item++) {
        const redisReply *one = reply->element[item];
        check("MGET in order", one->len == sizeof value && memcmp(one->str, value, sizeof value) == 0);
    }
    check("MGET of an absent key", reply->element[ITEMS]->type == REDIS_REPLY_NIL);
    freeReplyObject(reply);
    get[0] = "DEL", get_lengths[0] = 3;
    reply = redisCommandArgv(redis, 2 + ITEMS, get, get_lengths);
    check("DEL of many", reply != NULL && reply->integer == ITEMS);
    freeReplyObject(reply);
}

void cache(redisContext *redis) {
    run_expect(redis, NULL, "GET %s", PREFIX "page:1");
    run_expect(redis, "OK", "SET %s %s EX 60", PREFIX "page:1", "first");
    long long left = run_number(redis, "TTL %s", PREFIX "page:1");
    check("TTL is near 60", left >= 58 && left <= 60);

    // Who reads after the write was answered sees it, on any connection.
    redisContext *other = connect_redis();
    for (int round = 0; round < 50; round++) {
        char value[32];
        snprintf(value, sizeof value, "version %d", round);
        run_expect(redis, "OK", "SET %s %s", PREFIX "page:1", value);
        run_expect(other, value, "GET %s", PREFIX "page:1");
        run_expect(redis, value, "GET %s", PREFIX "page:1");
        run_expect(other, value, "GET %s", PREFIX "page:1");
    }

    run_expect(redis, "OK", "SET %s %s PX 1000", PREFIX "short", "soon gone");
    run_expect(other, "soon gone", "GET %s", PREFIX "short");
    usleep(1100000);
    run_expect(other, NULL, "GET %s", PREFIX "short");
    redisFree(other);
    many_keys(redis);
}

static void *count(void *unused) {
    redisContext *redis = connect_redis();
    for (int time = 0; time < TIMES; time++) {
        long long value = run_number(redis, "INCR %s", PREFIX "counter");
        check("a number of its own", run_number(redis, "SADD %s %lld", PREFIX "seen", value) == 1);
    }
    redisFree(redis);
    return unused;
}

void counter(redisContext *redis) {
    pthread_t workers[WORKERS];
    for (int worker = 0; worker < WORKERS; worker++) {
        check("a thread", pthread_create(&workers[worker], NULL, count, NULL) == 0);
    }
    for (int worker = 0; worker < WORKERS; worker++) {
        pthread_join(workers[worker], NULL);
    }
    run_expect(redis, "400", "GET %s", PREFIX "counter");
    check("all numbers", run_number(redis, "SCARD %s", PREFIX "seen") == WORKERS * TIMES);
}

void scan(redisContext *redis) {
    bool is_seen[KEYS] = {false};
    for (int key = 0; key < KEYS; key++) {
        redisAppendCommand(redis, "SET %s%d %d", PREFIX "scan:", key, key);
    }
    for (int key = 0; key < KEYS; key++) {
        redisReply *reply = NULL;
        check("a SET of a pipeline", redisGetReply(redis, (void **)&reply) == REDIS_OK && is_text(reply, "OK"));
        freeReplyObject(reply);
    }
    char cursor[32] = "0";
    do {
        redisReply *reply = run(redis, "SCAN %s MATCH %s COUNT 50", cursor, PREFIX "scan:*");
        check("a page of SCAN", reply->type == REDIS_REPLY_ARRAY && reply->elements == 2);
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        for (size_t found = 0; found < reply->element[1]->elements; found++) {
            is_seen[atoi(reply->element[1]->element[found]->str + strlen(PREFIX "scan:"))] = true;
        }
        freeReplyObject(reply);
    } while (strcmp(cursor, "0") != 0);
    for (int key = 0; key < KEYS; key++) {
        check("SCAN finds each key", is_seen[key]);
    }
}

void pipeline(redisContext *redis) {
    for (int round = 0; round < ROUNDS; round++) {
        redisAppendCommand(redis, "SET %s%d %d", PREFIX "pipe:", round % 7, round);
        redisAppendCommand(redis, "GET %s%d", PREFIX "pipe:", round % 7);
        redisAppendCommand(redis, "LPUSH %s%d %s", PREFIX "pipe:", round % 7, "no list");
    }
    for (int round = 0; round < ROUNDS; round++) {
        redisReply *replies[3];
        for (int one = 0; one < 3; one++) {
            check("a reply of the pipeline", redisGetReply(redis, (void **)&replies[one]) == REDIS_OK);
        }
        check("SET", is_text(replies[0], "OK"));
        check("GET in order", replies[1]->type == REDIS_REPLY_STRING && atoi(replies[1]->str) == round);
        check("its error stands in its place", is_error(replies[2], "WRONGTYPE "));
        for (int one = 0; one < 3; one++) {
            freeReplyObject(replies[one]);
        }
    }
}

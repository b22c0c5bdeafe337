// What several connections do together: locks, queues, messages, transactions and scripts.
#include "scenario.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 3, TIMES = 10, JOBS = 60, MESSAGES = 40 };

static const char *RELEASE =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

static void start(pthread_t *workers, void *(*work)(void *)) {
    for (intptr_t worker = 0; worker < WORKERS; worker++) {
        check("a thread", pthread_create(&workers[worker], NULL, work, (void *)worker) == 0);
    }
}

static void join(pthread_t *workers) {
    for (int worker = 0; worker < WORKERS; worker++) {
        pthread_join(workers[worker], NULL);
    }
}

static bool try_acquire(redisContext *redis, const char *token) {
    redisReply *reply = run(redis, "SET %s %s NX PX 10000", PREFIX "lock", token);
    bool is_mine = is_text(reply, "OK");
    check("SET NX gives OK or nil", is_mine || reply->type == REDIS_REPLY_NIL);
    freeReplyObject(reply);
    return is_mine;
}

static void *increment_under_lock(void *worker) {
    redisContext *redis = connect_redis();
    for (int time = 0; time < TIMES; time++) {
        char token[64];
        snprintf(token, sizeof token, "worker %d, time %d", (int)(intptr_t)worker, time);
        while (!try_acquire(redis, token)) {
            usleep(2000);
        }
        // Read, then write: exact only while nobody else is in here.
        redisReply *value = run(redis, "GET %s", PREFIX "guarded");
        run_expect(redis, "OK", "SET %s %d", PREFIX "guarded", value->str ? atoi(value->str) + 1 : 1);
        freeReplyObject(value);
        check("nobody else releases the lock",
              run_number(redis, "EVAL %s 1 %s %s", RELEASE, PREFIX "lock", "another") == 0);
        check("its owner releases the lock", run_number(redis, "EVAL %s 1 %s %s", RELEASE, PREFIX "lock", token) == 1);
    }
    redisFree(redis);
    return NULL;
}

void lock(redisContext *redis) {
    pthread_t workers[WORKERS];
    start(workers, increment_under_lock);
    join(workers);
    run_expect(redis, "30", "GET %s", PREFIX "guarded");
}

static void *do_jobs(void *worker) {
    (void)worker;
    redisContext *redis = connect_redis();
    for (bool is_end = false; !is_end;) {
        redisReply *job = run(redis, "BLPOP %s %s 5", PREFIX "{jobs}:urgent", PREFIX "{jobs}:normal");
        check("a job", job->type == REDIS_REPLY_ARRAY && job->elements == 2);
        is_end = is_text(job->element[1], "the end");
        if (!is_end) {
            check("a job is done once",
                  run_number(redis, "SADD %s %s", PREFIX "done", job->element[1]->str) == 1);
        }
        freeReplyObject(job);
    }
    redisFree(redis);
    return NULL;
}

void queue(redisContext *redis) {
    pthread_t workers[WORKERS];
    start(workers, do_jobs);
    for (int job = 0; job < JOBS; job++) {
        const char *list = job % 2 ? PREFIX "{jobs}:normal" : PREFIX "{jobs}:urgent";
        check("RPUSH", run_number(redis, "RPUSH %s job-%d", list, job) > 0);
    }
    for (int worker = 0; worker < WORKERS; worker++) {
        check("RPUSH", run_number(redis, "RPUSH %s %s", PREFIX "{jobs}:normal", "the end") > 0);
    }
    join(workers);
    check("every job was done", run_number(redis, "SCARD %s", PREFIX "done") == JOBS);
    run_expect(redis, NULL, "BLPOP %s 0.1", PREFIX "{jobs}:urgent");
}

void reliable_queue(redisContext *redis) {
    const char *todo = PREFIX "{steps}:todo", *doing = PREFIX "{steps}:doing";
    for (int job = 0; job < JOBS; job++) {
        check("LPUSH", run_number(redis, "LPUSH %s %d", todo, job) == job + 1);
    }
    for (int job = 0; job < JOBS; job++) {
        char wanted[16];
        snprintf(wanted, sizeof wanted, "%d", job);
        run_expect(redis, wanted, "LMOVE %s %s RIGHT LEFT", todo, doing);
        run_expect(redis, wanted, "LINDEX %s 0", doing);
        check("a job that is done goes", run_number(redis, "LREM %s 1 %d", doing, job) == 1);
    }
    run_expect(redis, NULL, "LMOVE %s %s RIGHT LEFT", todo, doing);
}

static void expect_message(redisContext *redis, const char *kind, const char *channel, const char *text) {
    redisReply *reply = NULL;
    check("something came", redisGetReply(redis, (void **)&reply) == REDIS_OK);
    size_t last = reply->elements - 1;
    check("a message of its kind", reply->type == REDIS_REPLY_ARRAY && is_text(reply->element[0], kind));
    check("its channel", is_text(reply->element[last - 1], channel));
    check("its text", text == NULL || is_text(reply->element[last], text));
    freeReplyObject(reply);
}

void publish_and_subscribe(redisContext *redis) {
    const char *channel = PREFIX "news:local", *pattern = PREFIX "news:*";
    redisContext *plain = connect_redis(), *matching = connect_redis();
    redisAppendCommand(plain, "SUBSCRIBE %s", channel);
    redisAppendCommand(matching, "PSUBSCRIBE %s", pattern);
    expect_message(plain, "subscribe", channel, NULL);
    expect_message(matching, "psubscribe", pattern, NULL);
    for (int message = 0; message < MESSAGES; message++) {
        check("PUBLISH counts who hears", run_number(redis, "PUBLISH %s %d", channel, message) == 2);
    }
    for (int message = 0; message < MESSAGES; message++) {
        char text[16];
        snprintf(text, sizeof text, "%d", message);
        expect_message(plain, "message", channel, text);
        expect_message(matching, "pmessage", channel, text);
    }
    redisAppendCommand(plain, "UNSUBSCRIBE %s", channel);
    expect_message(plain, "unsubscribe", channel, NULL);
    run_expect(plain, "PONG", "PING");
    redisFree(plain);
    redisFree(matching);
}

static redisReply *pay(redisContext *redis, const char *account, const char *history, int balance) {
    run_expect(redis, "OK", "MULTI");
    run_expect(redis, "QUEUED", "SET %s %d", account, balance);
    run_expect(redis, "QUEUED", "RPUSH %s %s", history, "paid 30");
    return run(redis, "EXEC");
}

void transaction(redisContext *redis) {
    const char *account = PREFIX "{account}", *history = PREFIX "{account}:history";
    run_expect(redis, "OK", "SET %s 100", account);
    redisContext *other = connect_redis();
    for (int attempt = 1; attempt <= 2; attempt++) {
        run_expect(redis, "OK", "WATCH %s", account);
        redisReply *balance = run(redis, "GET %s", account);
        if (attempt == 1) {
            check("INCRBY", run_number(other, "INCRBY %s 50", account) == 150);
        }
        redisReply *replies = pay(redis, account, history, atoi(balance->str) - 30);
        if (attempt == 1) {
            check("the conflict is seen", replies->type == REDIS_REPLY_NIL);
        } else {
            check("then there is none", replies->type == REDIS_REPLY_ARRAY && replies->elements == 2);
            check("its first reply", is_text(replies->element[0], "OK"));
            check("its second reply", replies->element[1]->integer == 1);
        }
        freeReplyObject(balance);
        freeReplyObject(replies);
    }
    run_expect(other, "120", "GET %s", account);
    run_expect(redis, "OK", "MULTI");
    run_expect(redis, "QUEUED", "SET %s 0", account);
    run_expect(redis, "OK", "DISCARD");
    run_expect(redis, "120", "GET %s", account);
    redisFree(other);
}

void script(redisContext *redis) {
    const char *source = "return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}";
    const char *sha = "2c07052f80e5e681332797b611348b834beac8e4";
    int loads = 0;
    for (int round = 1; round <= 3; round++) {
        redisReply *reply = run(redis, "EVALSHA %s 1 %s 5", sha, PREFIX "sum");
        if (is_error(reply, "NOSCRIPT ")) {
            loads++;
            freeReplyObject(reply);
            run_expect(redis, sha, "SCRIPT LOAD %s", source);
            reply = run(redis, "EVALSHA %s 1 %s 5", sha, PREFIX "sum");
        }
        check("what the script returns", reply->type == REDIS_REPLY_ARRAY && reply->elements == 2);
        check("its key", is_text(reply->element[0], PREFIX "sum"));
        check("its number", reply->element[1]->integer == 5 * round);
        freeReplyObject(reply);
        char wanted[16];
        snprintf(wanted, sizeof wanted, "%d", 5 * round);
        run_expect(redis, wanted, "GET %s", PREFIX "sum");
    }
    check("no server knew the script before it was loaded", loads == 1);
    redisReply *reply = run(redis, "EVAL %s 0", "return redis.error_reply('MINE my own error')");
    check("an error of a script", is_error(reply, "MINE my own error"));
    freeReplyObject(reply);
}

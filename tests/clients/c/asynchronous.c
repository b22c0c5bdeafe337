// The asynchronous interface on libevent: many commands under way, and messages as they come.
#include "scenario.h"

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 500, MESSAGES = 40 };

static const char *CHANNEL = PREFIX "async";

static int values_read;
static int messages_heard;
static int ended;

static void on_end(const redisAsyncContext *redis, int status) {
    (void)redis;
    check("an orderly end", status == REDIS_OK);
    ended++;
}

static redisAsyncContext *connect_async(struct event_base *events) {
    redisAsyncContext *redis = redisAsyncConnect(getenv("NEARSIDE_HOST"), atoi(getenv("NEARSIDE_PORT")));
    check("an asynchronous connection", redis != NULL && redis->err == 0);
    check("events", redisLibeventAttach(redis, events) == REDIS_OK);
    check("a callback at its end", redisAsyncSetDisconnectCallback(redis, on_end) == REDIS_OK);
    return redis;
}

static void on_value(redisAsyncContext *redis, void *reply, void *wanted) {
    check("a reply", reply != NULL && ((redisReply *)reply)->type == REDIS_REPLY_STRING);
    check("the value of its round", atoi(((redisReply *)reply)->str) == (int)(intptr_t)wanted);
    check("rounds are answered in order", values_read == (int)(intptr_t)wanted);
    if (++values_read == ROUNDS) {
        redisAsyncDisconnect(redis);
    }
}

static void on_count(redisAsyncContext *redis, void *reply, void *message) {
    (void)redis;
    check("PUBLISH counts who hears", reply != NULL && ((redisReply *)reply)->integer == 1);
    if ((intptr_t)message == MESSAGES - 1) {
        redisAsyncDisconnect(redis);
    }
}

static void on_message(redisAsyncContext *redis, void *received, void *publisher) {
    if (received == NULL) {
        return;
    }
    redisReply *reply = received;
    check("three parts", reply->type == REDIS_REPLY_ARRAY && reply->elements == 3);
    check("the channel", is_text(reply->element[1], CHANNEL));
    if (is_text(reply->element[0], "subscribe")) {
        for (intptr_t message = 0; message < MESSAGES; message++) {
            redisAsyncCommand(publisher, on_count, (void *)message, "PUBLISH %s %d", CHANNEL, (int)message);
        }
    } else if (is_text(reply->element[0], "message")) {
        check("messages in order", atoi(reply->element[2]->str) == messages_heard);
        if (++messages_heard == MESSAGES) {
            redisAsyncCommand(redis, NULL, NULL, "UNSUBSCRIBE %s", CHANNEL);
        }
    } else {
        check("the last one", is_text(reply->element[0], "unsubscribe") && messages_heard == MESSAGES);
        redisAsyncDisconnect(redis);
    }
}

void asynchronous(redisContext *redis) {
    struct event_base *events = event_base_new();
    redisAsyncContext *commands = connect_async(events);
    for (intptr_t round = 0; round < ROUNDS; round++) {
        redisAsyncCommand(commands, NULL, NULL, "SET %s%d %d", PREFIX "async:", (int)(round % 11), (int)round);
        redisAsyncCommand(commands, on_value, (void *)round, "GET %s%d", PREFIX "async:", (int)(round % 11));
    }
    redisAsyncContext *publisher = connect_async(events);
    redisAsyncContext *subscriber = connect_async(events);
    redisAsyncCommand(subscriber, on_message, publisher, "SUBSCRIBE %s", CHANNEL);
    // Returns when all three connections have ended.
    check("the events", event_base_dispatch(events) >= 0);
    check("all values were read", values_read == ROUNDS);
    check("all messages were heard", messages_heard == MESSAGES);
    check("all connections ended well", ended == 3);
    event_base_free(events);
    run_expect(redis, "499", "GET %s%d", PREFIX "async:", (ROUNDS - 1) % 11);
}

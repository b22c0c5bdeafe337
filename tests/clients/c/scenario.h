// What the scenarios with hiredis share: connections, commands and checks.
#ifndef SCENARIO_H
#define SCENARIO_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

// Every key of this program begins so.
#define PREFIX "hiredis:"

redisContext *connect_redis(void);

// Ends the program unless it holds.
void check(const char *what, bool holds);

// One command; ends the program when the connection fails. The reply is the caller's to free.
redisReply *run(redisContext *redis, const char *form, ...);

// The same where the reply is a number, or has to be a certain text (NULL: nil).
long long run_number(redisContext *redis, const char *form, ...);
void run_expect(redisContext *redis, const char *wanted, const char *form, ...);

bool is_text(const redisReply *reply, const char *wanted);
bool is_error(const redisReply *reply, const char *prefix);

void cache(redisContext *redis);
void counter(redisContext *redis);
void scan(redisContext *redis);
void pipeline(redisContext *redis);
void lock(redisContext *redis);
void queue(redisContext *redis);
void reliable_queue(redisContext *redis);
void publish_and_subscribe(redisContext *redis);
void transaction(redisContext *redis);
void script(redisContext *redis);
void asynchronous(redisContext *redis);

#endif

/* A module whose commands answer with the error that they are given. It declares what it needs of a server's module
 * interface, which is the same in Redis and Valkey, so that no header of either is needed to build it. */
#include <stddef.h>

typedef struct Context Context;
typedef struct String String;
typedef struct Reply Reply;

static int (*create_command)(Context *, const char *, int (*)(Context *, String **, int), const char *, int, int, int);
static int (*reply_with_error)(Context *, const char *);
static Reply *(*call)(Context *, const char *, const char *, ...);
static void (*free_reply)(Reply *);
static int (*reply_with_number)(Context *, long long);
static unsigned long long (*number_of_keys)(Context *);
static const char *(*text_of)(const String *, size_t *);

/* SAYS.WRITE key words: counts in the key that it ran. */
static int say(Context *ctx, String **argv, int argc) {
    if (argc != 3) return reply_with_error(ctx, "ERR wrong number of arguments");
    Reply *reply = call(ctx, "INCR", "s!", argv[1]);
    if (reply) free_reply(reply);
    return reply_with_error(ctx, text_of(argv[2], NULL));
}

/* SAYS.READ key words. */
static int tell(Context *ctx, String **argv, int argc) {
    if (argc != 3) return reply_with_error(ctx, "ERR wrong number of arguments");
    return reply_with_error(ctx, text_of(argv[2], NULL));
}

/* SAYS.SIZE: how many keys there are. It names none. */
static int size(Context *ctx, String **argv, int argc) {
    (void)argv, (void)argc;
    return reply_with_number(ctx, (long long)number_of_keys(ctx));
}

int RedisModule_OnLoad(Context *ctx, String **argv, int argc) {
    (void)argv, (void)argc;
    int (*get)(const char *, void *) = (int (*)(const char *, void *))((void **)ctx)[0];
    int (*set_attributes)(Context *, const char *, int, int);
    get("RedisModule_SetModuleAttribs", (void *)&set_attributes);
    get("RedisModule_CreateCommand", (void *)&create_command);
    get("RedisModule_ReplyWithError", (void *)&reply_with_error);
    get("RedisModule_Call", (void *)&call);
    get("RedisModule_FreeCallReply", (void *)&free_reply);
    get("RedisModule_StringPtrLen", (void *)&text_of);
    get("RedisModule_ReplyWithLongLong", (void *)&reply_with_number);
    get("RedisModule_DbSize", (void *)&number_of_keys);
    set_attributes(ctx, "says", 1, 1);
    if (create_command(ctx, "says.size", size, "readonly", 0, 0, 0)) return 1;
    if (create_command(ctx, "says.write", say, "write", 1, 1, 1)) return 1;
    return create_command(ctx, "says.read", tell, "readonly", 1, 1, 1);
}

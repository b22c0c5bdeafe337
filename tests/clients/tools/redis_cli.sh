#!/usr/bin/env bash
# What is done with redis-cli in scripts and at a terminal, in its modes that end or can be ended.
set -euo pipefail
here=$(dirname "$0")
. "$here/checks.sh"

prefix=redis-cli:

cache() {
    check 'a miss' "$(cli GET ${prefix}page)" ''
    check 'SET' "$(cli SET ${prefix}page first EX 60)" OK
    check 'GET' "$(cli GET ${prefix}page)" first
    check 'GET at a terminal' "$(cli --no-raw GET ${prefix}page)" '"first"'
    check 'a value from standard input' "$(printf 'second\nline' | cli -x SET ${prefix}page)" OK
    check 'GET over the Unix socket' "$(redis-cli -s "$NEARSIDE_SOCKET" GET ${prefix}page)" $'second\nline'
    check 'MSET' "$(cli MSET ${prefix}1 one ${prefix}2 two ${prefix}3 three)" OK
    check 'MGET as CSV' "$(cli --csv MGET ${prefix}1 ${prefix}2 ${prefix}absent)" '"one","two",NULL'
    check 'an error' "$(cli LPUSH ${prefix}1 x 2>&1 || echo "exit $?")" \
        $'WRONGTYPE Operation against a key holding the wrong kind of value\nexit 1'
}

resp3() {
    check 'HSET' "$(cli -3 HSET ${prefix}hash name Ada visits 3)" 2
    check 'a map' "$(cli -3 --no-raw HGETALL ${prefix}hash)" $'1# "name" => "Ada"\n2# "visits" => "3"'
    check 'a map as JSON' "$(cli --json HGETALL ${prefix}hash)" '{"name":"Ada","visits":"3"}'
    check 'a double' "$(cli -3 --no-raw ZADD ${prefix}zset INCR 1.5 one)" '(double) 1.5'
    check 'HELLO' "$(cli -3 --json HELLO | grep -oE '"(proto|mode|role)":[^,]*' | tr '\n' ' ')" \
        '"proto":3 "mode":"standalone" "role":"master" '
}

counter() {
    local worker
    for worker in 1 2 3 4; do
        cli -r 100 INCR ${prefix}counter >counted.$worker &
    done
    wait
    check 'the counter' "$(cli GET ${prefix}counter)" 400
    check 'every INCR gave a number of its own' "$(sort -n counted.* | uniq | wc -l)" 400
}

locked() {
    local release=release.lua
    echo 'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0' >$release
    check 'the lock' "$(cli SET ${prefix}lock mine NX PX 10000)" OK
    check 'it is taken' "$(cli SET ${prefix}lock yours NX PX 10000)" ''
    check 'nobody else releases it' "$(cli --eval $release ${prefix}lock , yours)" 0
    check 'its owner releases it' "$(cli --eval $release ${prefix}lock , mine)" 1
}

queue() {
    local worker
    for worker in 1 2 3; do
        while job=$(cli --csv BLPOP "${prefix}jobs" 5) && [[ $job != *'the end"' ]]; do
            echo "$job" >>done.$worker
        done &
    done
    seq -f "RPUSH ${prefix}jobs job-%g" 30 | cli >/dev/null
    cli RPUSH ${prefix}jobs 'the end' 'the end' 'the end' >/dev/null
    wait
    check 'every job was done once' "$(cat done.* | sort)" "$(seq -f "\"${prefix}jobs\",\"job-%g\"" 30 | sort)"
    check 'BLPOP gives up' "$(cli BLPOP ${prefix}jobs 0.1)" ''
}

publish_and_subscribe() {
    local channel=${prefix}news number
    stdbuf -oL redis-cli -h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT" --csv SUBSCRIBE $channel >heard &
    local subscriber=$!
    stdbuf -oL redis-cli -h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT" -3 --csv PSUBSCRIBE "${prefix}n*" >matched &
    local matcher=$!
    eventually 'SUBSCRIBE is confirmed' grep -q '"subscribe"' heard
    eventually 'PSUBSCRIBE is confirmed' grep -q '"psubscribe"' matched
    check 'PUBLISH counts who hears' "$(seq -f "PUBLISH $channel %g" 20 | cli | uniq -c | xargs)" '20 2'
    eventually 'the last message came' grep -q '"20"' heard
    eventually 'the last message came, by pattern' grep -q '"20"' matched
    kill $subscriber $matcher
    wait $subscriber $matcher || true
    check 'messages in order' "$(grep '"message"' heard)" "$(seq -f "\"message\",\"$channel\",\"%g\"" 20)"
    check 'messages of the pattern in order' "$(grep -c '"pmessage"' matched)" 20
}

transaction() {
    check 'MULTI, EXEC' "$(printf '%s\n' MULTI "SET ${prefix}account 100" "INCRBY ${prefix}account 5" EXEC | cli)" \
        $'OK\nQUEUED\nQUEUED\nOK\n105'
    {
        echo "WATCH ${prefix}account"
        # The other change is made while this client waits for its next line.
        eventually 'WATCH is answered' grep -q OK watched
        cli INCRBY ${prefix}account 50 >/dev/null
        printf '%s\n' MULTI "SET ${prefix}account 0" EXEC "GET ${prefix}account"
    } | stdbuf -oL redis-cli -h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT" --csv >watched
    check 'a watched key that changed' "$(cat watched)" $'"OK"\n"OK"\n"QUEUED"\nNULL\n"155"'
}

script() {
    local source="return redis.call('INCRBY', KEYS[1], ARGV[1]) -- $RANDOM$RANDOM"
    local sha
    sha=$(printf %s "$source" | sha1sum | cut -d' ' -f1)
    matches 'EVALSHA before EVAL' "$(cli EVALSHA "$sha" 1 ${prefix}sum 5 2>&1 || true)" '^NOSCRIPT '
    check 'EVAL' "$(cli EVAL "$source" 1 ${prefix}sum 5)" 5
    check 'EVALSHA' "$(cli EVALSHA "$sha" 1 ${prefix}sum 5)" 10
    check 'GET sees what the script wrote' "$(cli GET ${prefix}sum)" 10
    check 'SCRIPT LOAD' "$(cli SCRIPT LOAD "$source")" "$sha"
}

pipe() {
    local number
    matches '--pipe' "$(for number in $(seq 300); do
        printf '*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$5\r\nvalue\r\n' $((${#prefix} + 5 + ${#number})) "${prefix}scan:$number"
    done | cli --pipe)" '^errors: 0, replies: 300$'
}

scan() {
    check '--scan' "$(cli --scan --pattern "${prefix}scan:*" | sort -u)" "$(seq -f "${prefix}scan:%g" 300 | sort)"
}

samples() {
    cli DEL ${prefix}big:list >/dev/null
    cli RPUSH ${prefix}big:list a b c d e f g >/dev/null
    cli SADD ${prefix}big:set a b c >/dev/null
    cli SET ${prefix}big:string 0123456789 >/dev/null
    local big
    big=$(cli --bigkeys --pattern "${prefix}big:*")
    matches '--bigkeys samples all' "$big" '^Sampled 3 keys in the keyspace!$'
    matches 'the biggest list' "$big" "^Biggest +list found '\"${prefix}big:list\"' has 7 items$"
    matches 'the biggest string' "$big" "^Biggest +string found '\"${prefix}big:string\"' has 10 bytes$"
    matches 'the biggest set' "$big" "^Biggest +set found '\"${prefix}big:set\"' has 3 members$"
    local memory
    memory=$(cli --memkeys --pattern "${prefix}big:*")
    matches '--memkeys samples all' "$memory" '^Sampled 3 keys in the keyspace!$'
    matches 'the memory of the set' "$memory" "^Biggest +set found '\"${prefix}big:set\"' has [1-9][0-9]* bytes$"
}

watching() {
    # Without a terminal it samples for a second and prints one line: least, most, mean, count.
    matches '--latency' "$(timeout 5 redis-cli -h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT" --latency)" \
        '^[0-9]+ [0-9]+ [0-9.]+ [1-9][0-9]*$'
    local stat
    stat=$(timeout 2 stdbuf -oL redis-cli -h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT" --stat -i 0.2 || true)
    matches '--stat has its head' "$stat" '^keys +mem +clients'
    matches '--stat has numbers' "$stat" '^[0-9]+ +[0-9.]+[BKMG] +[1-9][0-9]* '
}

monitor() {
    stdbuf -oL redis-cli -h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT" MONITOR >monitored &
    local watcher=$!
    eventually 'MONITOR begins' grep -q OK monitored
    cli SET ${prefix}watched 'a "quoted" value' >/dev/null
    cli GET ${prefix}watched >/dev/null
    eventually 'MONITOR shows the last command' grep -q "\"GET\" \"${prefix}watched\"" monitored
    kill $watcher
    wait $watcher || true
    check 'what MONITOR shows' "$(grep -oE "\"(SET|GET)\" \"${prefix}watched\".*" monitored)" \
        "\"SET\" \"${prefix}watched\" \"a \\\"quoted\\\" value\""$'\n'"\"GET\" \"${prefix}watched\""
    matches 'its line says when, where and who' "$(cat monitored)" '^[0-9]+\.[0-9]{6} \[0 127\.0\.0\.1:[0-9]+\] "GET"'
}

about_clients() {
    matches 'CLIENT LIST shows this client' "$(printf '%s\n' 'CLIENT SETNAME somebody' 'CLIENT LIST' | cli)" \
        '^id=[0-9]+ addr=[^ ]+ .*name=somebody .*cmd=client'
    matches 'INFO names a version' "$(cli INFO server)" '^redis_version:[0-9]'
    matches 'COMMAND DOCS, as for hints' "$(cli --json COMMAND DOCS GET)" '"summary"'
}

cache
resp3
counter
locked
queue
publish_and_subscribe
transaction
script
pipe
scan
samples
watching
monitor
about_clients
echo "passed: $passed checks"

#!/usr/bin/env bash
# redis-benchmark, all its tests: each gives a result, and nothing else is printed.
set -euo pipefail
. "$(dirname "$0")/checks.sh"

tests='PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP ZADD ZPOPMIN LRANGE_100 LRANGE_300
    LRANGE_500 LRANGE_600 MSET'

benchmark() {
    redis-benchmark -q "$@" >said 2>&1 || { cat said >&2; exit 1; }
    # It writes over a line of its own until it has the result. No space is left around what is on a line.
    tr '\r' '\n' <said | sed 's/^ *//; s/ *$//' | grep -vE '^$|: rps=' >results
    local name
    for name in $tests; do
        matches "a result of $name" "$(cat results)" "^$name( \([^)]*\))?: [0-9.]+ requests per second, p50="
    done
    local result='^[A-Z_0-9]+( \([^)]*\))*: [0-9.]+ requests per second, p50=[0-9.]+ msec$'
    check 'nothing but results' "$(grep -vE "$result" results || true)" ''
}

tcp=(-h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT")
benchmark "${tcp[@]}" -n 1000
benchmark "${tcp[@]}" -n 2000 -c 20 -P 16 -r 500
benchmark "${tcp[@]}" -n 1000 -3 -r 500
benchmark -s "$NEARSIDE_SOCKET" -n 1000 -c 10
echo "passed: $passed checks"

# Checks for the shell programs, and redis-cli at the Redis of NEARSIDE_HOST and NEARSIDE_PORT.

passed=0

# check WHAT GOT WANTED
check() {
    if [ "$2" != "$3" ]; then
        printf '%s: got:\n%s\nwanted:\n%s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    passed=$((passed + 1))
}

# matches WHAT GOT REGEX
matches() {
    if ! grep -qE -- "$3" <<<"$2"; then
        printf '%s: got:\n%s\nwanted a line like: %s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    passed=$((passed + 1))
}

# eventually WHAT COMMAND...: waits until the command succeeds.
eventually() {
    local what=$1 try
    shift
    for try in $(seq 200); do
        if "$@"; then
            passed=$((passed + 1))
            return
        fi
        sleep 0.05
    done
    echo "not within 10 s: $what" >&2
    exit 1
}

# An error reply makes it fail.
cli() {
    redis-cli -e -h "$NEARSIDE_HOST" -p "$NEARSIDE_PORT" "$@"
}

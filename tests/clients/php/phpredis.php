<?php
// Scenarios with phpredis, against the Redis at NEARSIDE_HOST and NEARSIDE_PORT.
declare(strict_types=1);

require __DIR__ . '/values.php';
require __DIR__ . '/together.php';

// Every key of this program begins so.
const PREFIX = 'phpredis:';

$passed = 0;

set_exception_handler(function (Throwable $error): void {
    fwrite(STDERR, "phpredis: $error\n");
    exit(1);
});

/** Ends the program unless got is wanted, type and all. */
function check(string $what, mixed $got, mixed $wanted): void
{
    if ($got !== $wanted) {
        throw new RuntimeException("$what: got " . var_export($got, true) . ', wanted ' . var_export($wanted, true));
    }
    $GLOBALS['passed']++;
}

function connect(): Redis
{
    $redis = new Redis();
    $redis->connect(getenv('NEARSIDE_HOST'), (int) getenv('NEARSIDE_PORT'), 5.0, null, 0, 10.0);
    return $redis;
}

/** Starts a worker process; an exception in it becomes its exit code. */
function work(callable $task): int
{
    $process = pcntl_fork();
    if ($process === 0) {
        try {
            $task();
        } catch (Throwable $error) {
            fwrite(STDERR, "phpredis, a worker: $error\n");
            exit(1);
        }
        exit(0);
    }
    return $process;
}

/** Waits for these workers, which must end well. */
function join_all(array $processes): void
{
    foreach ($processes as $process) {
        pcntl_waitpid($process, $status);
        check('a worker ends well', $status, 0);
    }
}

$redis = connect();
cache($redis);
serialized($redis);
sessions($redis);
counter($redis);
scan($redis);
pipeline($redis);
lock($redis);
queue($redis);
reliable_queue($redis);
publish_and_subscribe($redis);
transaction($redis);
script($redis);
echo "passed: $passed checks\n";

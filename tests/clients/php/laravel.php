<?php
// A site as Laravel builds it on phpredis: a queue whose scripts move jobs between a list and two sorted sets, a cache in
// database 1, locks, and limits. The scripts do what Laravel's do; all options are its defaults.
declare(strict_types=1);

require __DIR__ . '/laravel_queue.php';

$passed = 0;

set_exception_handler(function (Throwable $error): void {
    fwrite(STDERR, "laravel: $error\n");
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

function eventually(string $what, callable $look): void
{
    $deadline = microtime(true) + 10;
    while (!($found = $look()) && microtime(true) < $deadline) {
        usleep(10_000);
    }
    check($what, (bool) $found, true);
}

function connect(int $database): Redis
{
    $redis = new Redis();
    $redis->pconnect(getenv('NEARSIDE_HOST'), (int) getenv('NEARSIDE_PORT'), 5.0, "database $database", 0, 10.0);
    $redis->setOption(Redis::OPT_PREFIX, 'laravel_database_');
    $redis->select($database);
    return $redis;
}

/** Starts a process, in which an exception becomes the exit code. */
function work(callable $task): int
{
    $process = pcntl_fork();
    if ($process === 0) {
        try {
            $task();
        } catch (Throwable $error) {
            fwrite(STDERR, "laravel, a worker: $error\n");
            exit(1);
        }
        exit(0);
    }
    return $process;
}

function join_all(array $processes): void
{
    foreach ($processes as $process) {
        pcntl_waitpid($process, $status);
        check('a worker ends well', $status, 0);
    }
}

function queues(): void
{
    $queue = new Queue(connect(0));
    for ($number = 0; $number < 30; $number++) {
        $queue->push('record', ['n' => $number]);
    }
    $started = microtime(true);
    $queue->later(1.0, 'moment', []);
    $queue->push('flaky', []);
    $queue->push('hopeless', []);
    check('jobs wait', $queue->size(), 33);
    check('one of them for later', $queue->delayed(), 1);

    $workers = array_map(fn (int $worker): int => work(function (): void {
        // A fork has a connection of its own.
        $redis = new Redis();
        $redis->connect(getenv('NEARSIDE_HOST'), (int) getenv('NEARSIDE_PORT'), 5.0, null, 0, 10.0);
        $redis->setOption(Redis::OPT_PREFIX, 'laravel_database_');
        $queue = new Queue($redis);
        while (!$redis->exists('stop')) {
            run_one($queue, $redis);
        }
    }), [1, 2, 3]);
    $redis = connect(0);
    eventually('the jobs are done', fn () => $redis->lLen('recorded') === 30);
    $recorded = array_map(intval(...), $redis->lRange('recorded', 0, -1));
    sort($recorded);
    check('each once', $recorded, range(0, 29));
    eventually('the third try succeeds', fn () => $redis->get('flaky') === '3');
    eventually('a job without another try fails', fn () => $redis->lLen('failed') === 1);
    check('after two tries', $redis->get('hopeless'), '2');
    eventually('the job for later is done', fn () => $redis->lLen('moments') === 1);
    check('and not before its time', (float) $redis->lIndex('moments', 0) - $started >= 0.99, true);
    eventually('nothing is left', fn () => $queue->size() === 0);

    // A worker that takes a job and dies: the job comes back when its time is over.
    $redis->set('stop', '1');
    join_all($workers);
    $queue->push('record', ['n' => 99]);
    $lost = $queue->pop(0.1);
    check('a job is taken', $lost['attempts'], 1);
    check('by one alone', $queue->pop(0.1), null);
    eventually('it comes back', function () use ($queue, &$again) {
        return ($again = $queue->pop(60)) !== null;
    });
    check('with its tries counted', [$again['data']['n'], $again['attempts']], [99, 2]);
    $queue->delete($again);
    check('it is done', $queue->size(), 0);
}

function run_one(Queue $queue, Redis $redis): void
{
    $job = $queue->pop(60);
    if ($job === null) {
        usleep(5_000);
        return;
    }
    try {
        switch ($job['job']) {
            case 'record':
                $redis->rPush('recorded', (string) $job['data']['n']);
                break;
            case 'moment':
                [$seconds, $micros] = $redis->time();
                $redis->rPush('moments', sprintf('%d.%06d', $seconds, $micros));
                break;
            case 'flaky':
            case 'hopeless':
                if ($redis->incr($job['job']) < ($job['job'] === 'flaky' ? 3 : 9)) {
                    throw new DomainException('nothing to be done');
                }
        }
        $queue->delete($job);
    } catch (DomainException $error) {
        if ($job['job'] === 'hopeless' && $job['attempts'] === 2) {
            $redis->rPush('failed', $job['job']);
            $queue->delete($job);
        } else {
            $queue->release($job, 0.02);
        }
    }
}

/** Laravel's cache is in database 1. */
function caches(): void
{
    $cache = connect(1);
    $values = array_combine(array_map(fn (int $n) => "cache:$n", range(1, 20)), array_map(serialize(...), range(1, 20)));
    $cache->multi();
    foreach ($values as $key => $value) {
        $cache->setex($key, 60, $value);
    }
    check('many are put in a transaction', array_unique($cache->exec()), [true]);
    check('many are read', $cache->mGet(array_keys($values)), array_values($values));
    check('they have a time to live', $cache->ttl('cache:7') > 50, true);
    $add = "return redis.call('exists', KEYS[1]) < 1 and redis.call('setex', KEYS[1], ARGV[2], ARGV[1])";
    check('only what is not there is added', (bool) $cache->eval($add, ['cache:1', 'x', 60], 1), false);
    check('what is not there', (bool) $cache->eval($add, ['cache:new', 'x', 60], 1), true);
    // Tags: sorted sets of keys, with the times when those expire.
    $cache->zAdd('tag:people:entries', time() + 60, 'cache:1', time() + 60, 'cache:2', -1, 'cache:3');
    $tagged = $cache->zRange('tag:people:entries', 0, -1);
    check('a tag is flushed', $cache->del(...$tagged), 3);
    check('with what it names', $cache->mGet(['cache:1', 'cache:3', 'cache:4']), [false, false, serialize(4)]);
    check('database 0 has none of it', connect(0)->exists('cache:4'), 0);
    $found = [];
    for ($cursor = null; ($keys = $cache->scan($cursor, 'laravel_database_cache:*', 10)) !== false;) {
        $found = [...$found, ...$keys];
    }
    check('SCAN finds the names as they are', count(array_unique($found)), 18);
    $cache->flushDB();
    check('a flush is of one database', [$cache->dbSize(), connect(0)->exists('recorded')], [0, 1]);
}

function locks(): void
{
    $redis = connect(1);
    $mine = new Lock($redis, 'report', 10, 'mine');
    $other = new Lock(connect(1), 'report', 10, 'other');
    check('a lock excludes', [$mine->acquire(), $other->acquire()], [true, false]);
    check('it is not released by another', $other->release(), false);
    check('but by its owner', $mine->release(), true);
    check('then it is free', $other->acquire(), true);
    $other->release();

    $redis->set('balance', '0');
    join_all(array_map(fn (int $worker): int => work(function () use ($worker): void {
        $redis = new Redis();
        $redis->connect(getenv('NEARSIDE_HOST'), (int) getenv('NEARSIDE_PORT'), 5.0, null, 0, 10.0);
        $redis->setOption(Redis::OPT_PREFIX, 'laravel_database_');
        $redis->select(1);
        for ($round = 0; $round < 10; $round++) {
            $lock = new Lock($redis, 'balance-lock', 10, "$worker:$round");
            while (!$lock->acquire()) {
                usleep(1_000);
            }
            $redis->set('balance', (string) ((int) $redis->get('balance') + 1));
            $lock->release();
        }
    }), [1, 2, 3]));
    check('no update under the lock was lost', $redis->get('balance'), '30');
}

function limits(): void
{
    $redis = connect(0);
    $funnel = new Funnel($redis, 'funnel', 3, 10);
    $slots = array_map(fn (int $n) => $funnel->acquire("owner $n"), range(1, 4));
    sort($slots);
    check('three at once', $slots, [null, 'funnel1', 'funnel2', 'funnel3']);
    check('a slot is not given back by another', $funnel->release('funnel2', 'owner 1'), false);
    check('a slot is given back', $funnel->release('funnel2', 'owner 2'), true);
    check('and taken again', $funnel->acquire('owner 5'), 'funnel2');

    $throttle = new Throttle($redis, 'throttle', 5, 60);
    $allowed = array_filter(array_map(fn () => $throttle->acquire(), range(1, 8)));
    check('five in a minute', count($allowed), 5);
    check('it ends by itself', $redis->ttl('throttle') > 60, true);
}

queues();
caches();
locks();
limits();
echo "passed: $passed checks\n";

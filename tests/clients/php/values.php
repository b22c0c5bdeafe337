<?php
// What keeps and reads values: a cache, serialized values, sessions, counters, iteration and pipelines.
declare(strict_types=1);

function cache(Redis $redis): void
{
    $key = PREFIX . 'page:1';
    check('a miss', $redis->get($key), false);
    check('SETEX', $redis->setex($key, 60, 'first'), true);
    $left = $redis->ttl($key);
    check('TTL is near 60', $left >= 58 && $left <= 60, true);

    // Who reads after the write was answered sees it, on any connection.
    $other = connect();
    for ($round = 0; $round < 50; $round++) {
        $redis->set($key, "version $round", ['ex' => 60]);
        check('GET after SET', [$other->get($key), $redis->get($key), $other->get($key)], array_fill(0, 3, "version $round"));
    }

    $redis->set(PREFIX . 'short', 'soon gone', ['px' => 1000]);
    check('GET before it expires', $other->get(PREFIX . 'short'), 'soon gone');
    usleep(1_100_000);
    check('GET after it expired', $other->get(PREFIX . 'short'), false);

    $values = [];
    for ($number = 0; $number < 40; $number++) {
        $values[PREFIX . "item:$number"] = "value $number\r\n\0";
    }
    check('MSET', $redis->mset($values), true);
    check('MGET', $other->mget([...array_keys($values), PREFIX . 'absent']), [...array_values($values), false]);
    check('EXISTS', $redis->exists(array_keys($values)), 40);
    check('DEL', $redis->del(array_keys($values)), 40);
    check('MGET after DEL', $other->mget(array_keys($values)), array_fill(0, 40, false));

    $redis->hMSet(PREFIX . 'profile', ['name' => 'Ada', 'visits' => 3]);
    check('HGETALL', $other->hGetAll(PREFIX . 'profile'), ['name' => 'Ada', 'visits' => '3']);
    check('HMGET', $other->hMGet(PREFIX . 'profile', ['visits', 'absent']), ['visits' => '3', 'absent' => false]);
    $redis->zAdd(PREFIX . 'board', 1.5, 'one', 2.25, 'two');
    check('ZRANGE', $other->zRange(PREFIX . 'board', 0, -1, true), ['one' => 1.5, 'two' => 2.25]);
}

function serialized(Redis $redis): void
{
    $store = connect();
    $store->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
    $store->setOption(Redis::OPT_PREFIX, PREFIX . 'object:');
    $value = ['name' => 'Ada', 'scores' => [1, 2.5, null, true]];
    $store->set('1', $value);
    check('a value with its types', $store->get('1'), $value);
    check('under the prefixed name', $redis->get(PREFIX . 'object:1'), serialize($value));
}

function sessions(Redis $redis): void
{
    $path = 'tcp://' . getenv('NEARSIDE_HOST') . ':' . getenv('NEARSIDE_PORT') . '?prefix=' . PREFIX . 'session:';
    $options = ['save_handler' => 'redis', 'save_path' => $path, 'use_cookies' => '0', 'cache_limiter' => ''];
    ini_set('redis.session.locking_enabled', '1');
    for ($request = 1; $request <= 3; $request++) {
        session_id('visitor');
        check('session_start', session_start($options), true);
        $_SESSION['requests'] = ($_SESSION['requests'] ?? 0) + 1;
        check('what the session remembers', $_SESSION['requests'], $request);
        check('the session is locked', $redis->exists(PREFIX . 'session:visitor_LOCK'), 1);
        session_write_close();
        check('the session is released', $redis->exists(PREFIX . 'session:visitor_LOCK'), 0);
        $_SESSION = [];
    }
}

function counter(Redis $redis): void
{
    $workers = [];
    for ($worker = 0; $worker < 4; $worker++) {
        $workers[] = work(function (): void {
            $redis = connect();
            for ($time = 0; $time < 100; $time++) {
                $redis->sAdd(PREFIX . 'seen', (string) $redis->incr(PREFIX . 'counter'));
                $redis->hIncrByFloat(PREFIX . 'sums', 'halves', 0.5);
            }
        });
    }
    join_all($workers);
    check('the counter', $redis->get(PREFIX . 'counter'), '400');
    check('every INCR gave a number of its own', $redis->sCard(PREFIX . 'seen'), 400);
    check('the sum of halves', (float) $redis->hGet(PREFIX . 'sums', 'halves'), 200.0);
}

function scan(Redis $redis): void
{
    $wanted = [];
    $writer = $redis->pipeline();
    for ($number = 0; $number < 300; $number++) {
        $wanted[] = PREFIX . "scan:$number";
        $writer->set(PREFIX . "scan:$number", $number);
    }
    check('the pipeline of SETs', array_unique($writer->exec()), [true]);
    sort($wanted);
    // The client goes on by itself until a page has something in it.
    $redis->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    $seen = [];
    $cursor = null;
    while (($keys = $redis->scan($cursor, PREFIX . 'scan:*', 50)) !== false) {
        array_push($seen, ...$keys);
    }
    $seen = array_values(array_unique($seen));
    sort($seen);
    check('SCAN MATCH finds each key', $seen, $wanted);

    $redis->hMSet(PREFIX . 'hash', array_flip($wanted));
    $fields = [];
    $cursor = null;
    while (($page = $redis->hScan(PREFIX . 'hash', $cursor, '*', 50)) !== false) {
        $fields += $page;
    }
    ksort($fields);
    check('HSCAN finds each field', array_keys($fields), $wanted);
}

function pipeline(Redis $redis): void
{
    $pipeline = $redis->pipeline();
    $wanted = [];
    for ($number = 0; $number < 400; $number++) {
        $key = PREFIX . 'pipe:' . $number % 7;
        $pipeline->set($key, "number $number")->get($key)->lPush($key, 'no list')->strlen($key);
        array_push($wanted, true, "number $number", false, strlen("number $number"));
    }
    check('replies in order, errors in their places', $pipeline->exec(), $wanted);
    check('the last error', str_starts_with($redis->getLastError(), 'WRONGTYPE '), true);
    $redis->clearLastError();
}

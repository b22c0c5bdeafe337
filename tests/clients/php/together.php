<?php
// What several connections do together: locks, queues, messages, transactions and scripts.
declare(strict_types=1);

const RELEASE = 'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) else return 0 end';

function lock(Redis $redis): void
{
    $workers = [];
    for ($worker = 0; $worker < 3; $worker++) {
        $workers[] = work(function () use ($worker): void {
            $redis = connect();
            for ($time = 0; $time < 10; $time++) {
                $token = "worker $worker, time $time";
                while ($redis->set(PREFIX . 'lock', $token, ['nx', 'px' => 10_000]) === false) {
                    usleep(2_000);
                }
                // Read, then write: exact only while nobody else is in here.
                $redis->set(PREFIX . 'guarded', (int) $redis->get(PREFIX . 'guarded') + 1);
                check('nobody else releases the lock', $redis->eval(RELEASE, [PREFIX . 'lock', 'another'], 1), 0);
                check('its owner releases the lock', $redis->eval(RELEASE, [PREFIX . 'lock', $token], 1), 1);
            }
        });
    }
    join_all($workers);
    check('no update under the lock was lost', $redis->get(PREFIX . 'guarded'), '30');
}

function queue(Redis $redis): void
{
    $lists = [PREFIX . '{jobs}:urgent', PREFIX . '{jobs}:normal'];
    $workers = [];
    for ($worker = 0; $worker < 3; $worker++) {
        $workers[] = work(function () use ($lists): void {
            $redis = connect();
            while (($job = $redis->blPop($lists, 5)[1]) !== 'the end') {
                $redis->rPush(PREFIX . 'done', $job);
            }
        });
    }
    $wanted = [];
    for ($job = 0; $job < 60; $job++) {
        $wanted[] = "job $job";
        $redis->rPush($lists[$job % 2], "job $job");
    }
    $redis->rPush($lists[1], 'the end', 'the end', 'the end');
    join_all($workers);
    $done = $redis->lRange(PREFIX . 'done', 0, -1);
    sort($done);
    sort($wanted);
    check('every job was done once', $done, $wanted);
    check('BLPOP gives up', $redis->blPop($lists, 1), []);
}

function reliable_queue(Redis $redis): void
{
    [$todo, $doing] = [PREFIX . '{steps}:todo', PREFIX . '{steps}:doing'];
    $feeder = work(function () use ($todo): void {
        $redis = connect();
        for ($job = 0; $job < 30; $job++) {
            $redis->lPush($todo, "job $job");
        }
    });
    for ($job = 0; $job < 30; $job++) {
        check('BRPOPLPUSH gives the oldest', $redis->bRPopLPush($todo, $doing, 5), "job $job");
        check('the job is kept while it is done', $redis->lRange($doing, 0, -1), ["job $job"]);
        check('a job that is done goes', $redis->lRem($doing, "job $job", 1), 1);
    }
    join_all([$feeder]);
    check('LMOVE from nothing', $redis->rawCommand('LMOVE', $todo, $doing, 'RIGHT', 'LEFT'), false);
}

function publish_and_subscribe(Redis $redis): void
{
    $channel = PREFIX . 'news:local';
    $subscribers = [
        work(function () use ($channel): void {
            $heard = listen('subscribe', $channel, fn ($redis) => $redis->unsubscribe([$channel]));
            check('messages of the channel in order', $heard, array_map('strval', range(0, 39)));
        }),
        work(function () use ($channel): void {
            $pattern = PREFIX . 'news:*';
            $heard = listen('psubscribe', $pattern, fn ($redis) => $redis->punsubscribe([$pattern]));
            check('messages of the pattern in order', $heard, array_map('strval', range(0, 39)));
        }),
    ];
    $deadline = microtime(true) + 5;
    while ($redis->publish($channel, 'anybody there?') < 2) {
        check('the subscribers are there in time', microtime(true) < $deadline, true);
        usleep(5_000);
    }
    for ($message = 0; $message < 40; $message++) {
        check('PUBLISH counts who hears', $redis->publish($channel, (string) $message), 2);
    }
    join_all($subscribers);
    check('nobody hears any more', $redis->publish($channel, 'anybody there?'), 0);
    check('PUBSUB NUMSUB', $redis->pubsub('numsub', [$channel]), [$channel => 0]);
}

/** What comes in on a subscription, until it is 40 messages. */
function listen(string $subscribe, string $to, callable $unsubscribe): array
{
    $redis = connect();
    $heard = [];
    try {
        $redis->$subscribe([$to], function (Redis $redis, string ...$message) use (&$heard, $to, $unsubscribe): void {
            check('the channel or the pattern', $message[0], $to);
            if (end($message) === 'anybody there?') {
                return;
            }
            $heard[] = end($message);
            if (count($heard) === 40) {
                check('unsubscribing is confirmed', $unsubscribe($redis), [$to => true]);
                // This client waits for messages until its connection ends.
                $redis->close();
            }
        });
    } catch (RedisException $end) {
        check('the subscription ended with the connection', count($heard), 40);
    }
    return $heard;
}

function transaction(Redis $redis): void
{
    [$account, $history] = [PREFIX . '{account}', PREFIX . '{account}:history'];
    $replies = $redis->multi()->set($account, 100)->rPush($history, 'opened')->get($account)->exec();
    check('the replies of EXEC', $replies, [true, 1, '100']);

    $other = connect();
    $attempts = 0;
    do {
        $attempts++;
        $redis->watch($account);
        $balance = (int) $redis->get($account);
        if ($attempts === 1) {
            $other->incrBy($account, 50);
        }
        $replies = $redis->multi()->set($account, $balance - 30)->rPush($history, 'paid 30')->exec();
    } while ($replies === false);
    check('the conflict was seen, and then there was none', $attempts, 2);
    check('the replies of the second attempt', $replies, [true, 2]);
    check('nothing was lost', $other->get($account), '120');

    $redis->multi();
    $redis->set($account, 0);
    check('DISCARD', $redis->discard(), true);
    check('DISCARD did nothing', $redis->get($account), '120');
}

function script(Redis $redis): void
{
    // A script that no server has seen yet: EVALSHA fails with NOSCRIPT and EVAL follows.
    $script = '-- ' . bin2hex(random_bytes(8)) . "\n"
        . 'redis.call("INCRBY", KEYS[1], ARGV[1]) redis.call("RPUSH", KEYS[2], ARGV[1])'
        . 'return {KEYS[1], tonumber(redis.call("GET", KEYS[1])), redis.call("LLEN", KEYS[2])}';
    [$sum, $log] = [PREFIX . '{sum}', PREFIX . '{sum}:log'];
    $other = connect();
    $fallbacks = 0;
    for ($time = 1; $time <= 3; $time++) {
        $redis->clearLastError();
        $reply = $redis->evalSha(sha1($script), [$sum, $log, 5], 2);
        if ($reply === false && str_starts_with((string) $redis->getLastError(), 'NOSCRIPT ')) {
            $fallbacks++;
            $reply = $redis->eval($script, [$sum, $log, 5], 2);
        }
        check('what the script returns', $reply, [$sum, 5 * $time, $time]);
        check('GET sees what the script wrote', $other->get($sum), (string) (5 * $time));
    }
    check('EVALSHA knew it after EVAL', $fallbacks, 1);
    $sha = $redis->script('load', 'return "loaded"');
    check('SCRIPT EXISTS', $redis->script('exists', $sha, str_repeat('0', 40)), [1, 0]);
    check('EVALSHA of a loaded script', $redis->evalSha($sha), 'loaded');
    try {
        $error = $redis->eval('return redis.error_reply("MINE my own error")');
    } catch (RedisException $thrown) {
        $error = $thrown->getMessage();
    }
    check('an error of a script', $error, 'MINE my own error');
}

<?php
// The queue, the lock and the limits of laravel.php: each is one or a few scripts.
declare(strict_types=1);

/** Runs a script as phpredis users do: by its SHA1, and in full where the server does not know it. */
function script(Redis $redis, string $body, array $keys, array $arguments): mixed
{
    $redis->clearLastError();
    $result = $redis->evalSha(sha1($body), [...$keys, ...$arguments], count($keys));
    if (str_starts_with($redis->getLastError() ?? '', 'NOSCRIPT')) {
        $redis->clearLastError();
        $result = $redis->eval($body, [...$keys, ...$arguments], count($keys));
    }
    if ($redis->getLastError() !== null) {
        throw new RuntimeException($redis->getLastError());
    }
    return $result;
}

final class Queue
{
    private const NAME = 'queues:default';
    private const DELAYED = self::NAME . ':delayed';
    private const RESERVED = self::NAME . ':reserved';
    private const NOTIFY = self::NAME . ':notify';

    private const PUSH = <<<'LUA'
        redis.call('rpush', KEYS[1], ARGV[1])
        return redis.call('rpush', KEYS[2], 1)
        LUA;

    /** From the sorted set KEYS[1], whatever is due at ARGV[1] goes to the list KEYS[2]. */
    private const MIGRATE = <<<'LUA'
        local due = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1], 'limit', 0, ARGV[2])
        if #due > 0 then
            redis.call('zremrangebyrank', KEYS[1], 0, #due - 1)
            redis.call('rpush', KEYS[2], unpack(due))
            for _ = 1, #due do redis.call('rpush', KEYS[3], 1) end
        end
        return #due
        LUA;

    private const POP = <<<'LUA'
        local job = redis.call('lpop', KEYS[1])
        if not job then return {false, false} end
        local reserved = cjson.decode(job)
        reserved.attempts = reserved.attempts + 1
        reserved = cjson.encode(reserved)
        redis.call('zadd', KEYS[2], ARGV[1], reserved)
        redis.call('lpop', KEYS[3])
        return {job, reserved}
        LUA;

    private const RELEASE = <<<'LUA'
        redis.call('zrem', KEYS[2], ARGV[1])
        redis.call('zadd', KEYS[1], ARGV[2], ARGV[1])
        return true
        LUA;

    private const SIZE = <<<'LUA'
        return redis.call('llen', KEYS[1]) + redis.call('zcard', KEYS[2]) + redis.call('zcard', KEYS[3])
        LUA;

    public function __construct(private Redis $redis)
    {
    }

    public function push(string $job, array $data): void
    {
        script($this->redis, self::PUSH, [self::NAME, self::NOTIFY], [$this->payload($job, $data)]);
    }

    public function later(float $seconds, string $job, array $data): void
    {
        $this->redis->zAdd(self::DELAYED, microtime(true) + $seconds, $this->payload($job, $data));
    }

    /** The next job, which comes back unless it is deleted or released within so many seconds. */
    public function pop(float $seconds): ?array
    {
        foreach ([self::DELAYED, self::RESERVED] as $from) {
            script($this->redis, self::MIGRATE, [$from, self::NAME, self::NOTIFY], [(string) microtime(true), 100]);
        }
        $until = (string) (microtime(true) + $seconds);
        [$job, $reserved] = script($this->redis, self::POP, [self::NAME, self::RESERVED, self::NOTIFY], [$until]);
        return $job === false ? null : json_decode($reserved, true) + ['raw' => $reserved];
    }

    public function delete(array $job): void
    {
        $this->redis->zRem(self::RESERVED, $job['raw']);
    }

    public function release(array $job, float $seconds): void
    {
        $at = (string) (microtime(true) + $seconds);
        script($this->redis, self::RELEASE, [self::DELAYED, self::RESERVED], [$job['raw'], $at]);
    }

    public function size(): int
    {
        return script($this->redis, self::SIZE, [self::NAME, self::DELAYED, self::RESERVED], []);
    }

    public function delayed(): int
    {
        return $this->redis->zCard(self::DELAYED);
    }

    private function payload(string $job, array $data): string
    {
        return json_encode(['id' => bin2hex(random_bytes(8)), 'job' => $job, 'data' => $data, 'attempts' => 0]);
    }
}

final class Lock
{
    private const RELEASE = <<<'LUA'
        if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('del', KEYS[1])
        LUA;

    public function __construct(private Redis $redis, private string $name, private int $seconds, private string $owner)
    {
    }

    public function acquire(): bool
    {
        return $this->redis->set($this->name, $this->owner, ['nx', 'ex' => $this->seconds]);
    }

    public function release(): bool
    {
        return script($this->redis, self::RELEASE, [$this->name], [$this->owner]) === 1;
    }
}

/** At most so many at once, each in a slot with a key of its own. */
final class Funnel
{
    private const ACQUIRE = <<<'LUA'
        for index, holder in ipairs(redis.call('mget', unpack(KEYS))) do
            if not holder then
                redis.call('set', KEYS[index], ARGV[3], 'EX', ARGV[2])
                return ARGV[1] .. index
            end
        end
        return false
        LUA;

    public function __construct(private Redis $redis, private string $name, private int $slots, private int $seconds)
    {
    }

    public function acquire(string $owner): ?string
    {
        $slots = array_map(fn (int $slot) => $this->name . $slot, range(1, $this->slots));
        $slot = script($this->redis, self::ACQUIRE, $slots, [$this->name, $this->seconds, $owner]);
        return $slot === false ? null : $slot;
    }

    public function release(string $slot, string $owner): bool
    {
        return (new Lock($this->redis, $slot, $this->seconds, $owner))->release();
    }
}

/** At most so many in each while. */
final class Throttle
{
    private const ACQUIRE = <<<'LUA'
        if redis.call('exists', KEYS[1]) == 0 or ARGV[1] > redis.call('hget', KEYS[1], 'end') then
            redis.call('hmset', KEYS[1], 'start', ARGV[1], 'end', ARGV[1] + ARGV[2], 'count', 1)
            redis.call('expire', KEYS[1], ARGV[2] * 2)
            return 1
        end
        return redis.call('hincrby', KEYS[1], 'count', 1) <= tonumber(ARGV[3]) and 1 or 0
        LUA;

    public function __construct(private Redis $redis, private string $name, private int $most, private int $seconds)
    {
    }

    public function acquire(): bool
    {
        return script($this->redis, self::ACQUIRE, [$this->name], [time(), $this->seconds, $this->most]) === 1;
    }
}

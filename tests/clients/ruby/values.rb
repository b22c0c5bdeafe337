# What keeps and reads values: a cache, counters, iteration and pipelines.

def cache(redis)
  key = "#{PREFIX}page:1"
  check('a miss', redis.get(key), nil)
  check('SET EX', redis.set(key, 'first', ex: 60), 'OK')
  check('TTL is near 60', redis.ttl(key).between?(58, 60), true)

  # Who reads after the write was answered sees it, on any connection.
  other = connect
  50.times do |round|
    redis.set(key, "version #{round}")
    check('GET after SET', [other.get(key), redis.get(key), other.get(key)], ["version #{round}"] * 3)
  end

  redis.set("#{PREFIX}short", 'soon gone', px: 1000)
  check('GET before it expires', other.get("#{PREFIX}short"), 'soon gone')
  sleep 1.1
  check('GET after it expired', other.get("#{PREFIX}short"), nil)

  items = (0...40).to_h { |number| ["#{PREFIX}item:#{number}", "value #{number}\r\n\0"] }
  check('MSET', redis.mapped_mset(items), 'OK')
  check('MGET', other.mget(*items.keys, "#{PREFIX}absent"), [*items.values, nil])
  check('MGET as a hash', other.mapped_mget(*items.keys), items)
  check('DEL', redis.del(*items.keys), 40)
  check('MGET after DEL', other.mget(*items.keys), [nil] * 40)

  redis.mapped_hmset("#{PREFIX}profile", 'name' => 'Ada', 'visits' => 3)
  check('HGETALL', other.hgetall("#{PREFIX}profile"), 'name' => 'Ada', 'visits' => '3')
  redis.zadd("#{PREFIX}board", [[1.5, 'one'], [Float::INFINITY, 'last'], [2.25, 'two']])
  check('ZRANGE', other.zrange("#{PREFIX}board", 0, -1, with_scores: true),
        [['one', 1.5], ['two', 2.25], ['last', Float::INFINITY]])
  other.close
end

def counter(redis)
  given = Array.new(4) do
    Thread.new do
      mine = connect
      numbers = Array.new(100) do
        mine.hincrbyfloat("#{PREFIX}sums", 'halves', 0.5)
        mine.incr("#{PREFIX}counter")
      end
      mine.close
      numbers
    end
  end
  check('every INCR gave a number of its own', given.flat_map(&:value).sort, (1..400).to_a)
  check('the counter', redis.get("#{PREFIX}counter"), '400')
  check('the sum of halves', redis.hget("#{PREFIX}sums", 'halves').to_f, 200.0)
end

def scan(redis)
  wanted = (0...300).map { |number| "#{PREFIX}scan:#{number}" }.sort
  redis.pipelined { |pipeline| wanted.each { |key| pipeline.set(key, 'value') } }
  check('SCAN MATCH finds each key', redis.scan_each(match: "#{PREFIX}scan:*", count: 50).to_a.uniq.sort, wanted)
  check('SCAN TYPE finds no other', redis.scan_each(match: "#{PREFIX}scan:*", type: 'list').to_a, [])
  redis.sadd("#{PREFIX}set", wanted)
  check('SSCAN finds each member', redis.sscan_each("#{PREFIX}set", count: 50).to_a.uniq.sort, wanted)
end

def pipeline(redis)
  wanted = []
  replies = redis.pipelined do |pipeline|
    400.times do |number|
      key = "#{PREFIX}pipe:#{number % 7}"
      pipeline.set(key, number)
      pipeline.get(key)
      pipeline.strlen(key)
      wanted.push('OK', number.to_s, number.to_s.size)
    end
  end
  check('replies in order', replies, wanted)
  begin
    redis.pipelined do |pipeline|
      pipeline.lpush("#{PREFIX}pipe:0", 'no list')
      pipeline.set("#{PREFIX}pipe:0", 'after the error')
    end
    error = nil
  rescue Redis::CommandError => raised
    error = raised.message
  end
  check('its error is raised', error.to_s.start_with?('WRONGTYPE '), true)
  check('what followed the error was done', redis.get("#{PREFIX}pipe:0"), 'after the error')
end

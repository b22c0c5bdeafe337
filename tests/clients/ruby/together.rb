# What several connections do together: locks, queues, messages, transactions and scripts.

require 'digest'
require 'securerandom'

RELEASE = 'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) else return 0 end'.freeze

def lock(redis)
  workers = Array.new(3) do |worker|
    Thread.new do
      mine = connect
      10.times { |time| locked_increment(mine, "worker #{worker}, time #{time}") }
      mine.close
    end
  end
  workers.each(&:join)
  check('no update under the lock was lost', redis.get("#{PREFIX}guarded"), '30')
end

def locked_increment(redis, token)
  name = "#{PREFIX}lock"
  sleep 0.002 until redis.set(name, token, nx: true, px: 10_000)
  # Read, then write: exact only while nobody else is in here.
  redis.set("#{PREFIX}guarded", redis.get("#{PREFIX}guarded").to_i + 1)
  check('nobody else releases the lock', redis.eval(RELEASE, keys: [name], argv: ['another']), 0)
  check('its owner releases the lock', redis.eval(RELEASE, keys: [name], argv: [token]), 1)
end

def queue(redis)
  lists = ["#{PREFIX}{jobs}:urgent", "#{PREFIX}{jobs}:normal"]
  workers = Array.new(3) do
    Thread.new do
      mine = connect
      done = []
      while (job = mine.blpop(*lists, timeout: 5).last) != 'the end'
        done << job
      end
      mine.close
      done
    end
  end
  wanted = (0...60).map { |job| "job #{job}" }
  wanted.each_with_index { |job, number| redis.rpush(lists[number % 2], job) }
  redis.rpush(lists.last, ['the end'] * 3)
  check('every job was done once', workers.flat_map(&:value).sort, wanted.sort)
  check('BLPOP gives up', redis.blpop(*lists, timeout: 0.1), nil)
end

def reliable_queue(redis)
  todo = "#{PREFIX}{steps}:todo"
  doing = "#{PREFIX}{steps}:doing"
  feeder = Thread.new do
    mine = connect
    30.times { |job| mine.lpush(todo, "job #{job}") }
    mine.close
  end
  30.times do |job|
    check('BLMOVE gives the oldest', redis.blmove(todo, doing, 'RIGHT', 'LEFT', timeout: 5), "job #{job}")
    check('the job is kept while it is done', redis.lrange(doing, 0, -1), ["job #{job}"])
    check('a job that is done goes', redis.lrem(doing, 1, "job #{job}"), 1)
  end
  feeder.join
  check('LMOVE from nothing', redis.lmove(todo, doing, 'RIGHT', 'LEFT'), nil)
end

def publish_and_subscribe(redis)
  channel = "#{PREFIX}news:local"
  pattern = "#{PREFIX}news:*"
  ready = Queue.new
  subscriber = Thread.new do
    mine = connect
    heard = []
    mine.subscribe(channel) do |on|
      on.subscribe { |name, count| ready << [name, count] }
      on.message { |_, message| (heard << message).size == 40 && mine.unsubscribe(channel) }
      on.unsubscribe { |name, count| heard << [name, count] }
    end
    check('commands go on after UNSUBSCRIBE', mine.ping, 'PONG')
    mine.close
    heard
  end
  matcher = Thread.new do
    mine = connect
    heard = []
    mine.psubscribe(pattern) do |on|
      on.psubscribe { |name, count| ready << [name, count] }
      on.pmessage { |_, from, message| (heard << [from, message]).size == 40 && mine.punsubscribe }
    end
    mine.close
    heard
  end
  check('both are confirmed', [ready.pop, ready.pop].sort, [[pattern, 1], [channel, 1]].sort)
  check('PUBSUB NUMSUB', redis.pubsub(:numsub, channel), [channel, 1])
  40.times { |message| check('PUBLISH counts who hears', redis.publish(channel, message), 2) }
  wanted = (0...40).map(&:to_s)
  check('messages of the channel in order', subscriber.value, [*wanted, [channel, 0]])
  check('messages of the pattern in order', matcher.value, wanted.map { |message| [channel, message] })
end

def transaction(redis)
  account = "#{PREFIX}{account}"
  history = "#{PREFIX}{account}:history"
  replies = redis.multi do |transaction|
    transaction.set(account, 100)
    transaction.rpush(history, 'opened')
    transaction.get(account)
  end
  check('the replies of EXEC', replies, ['OK', 1, '100'])

  other = connect
  attempts = 0
  loop do
    attempts += 1
    done = redis.watch(account) do
      balance = redis.get(account).to_i
      other.incrby(account, 50) if attempts == 1
      redis.multi do |transaction|
        transaction.set(account, balance - 30)
        transaction.rpush(history, 'paid 30')
      end
    end
    break if done
  end
  check('the conflict was seen, and then there was none', attempts, 2)
  check('nothing was lost', other.get(account), '120')
  redis.watch(account) { redis.unwatch }
  check('the history', other.lrange(history, 0, -1), ['opened', 'paid 30'])
  other.close
end

def script(redis)
  # A script that no server has seen yet: EVALSHA fails with NOSCRIPT and EVAL follows.
  source = "-- #{SecureRandom.hex}\n" \
           'redis.call("INCRBY", KEYS[1], ARGV[1]) redis.call("RPUSH", KEYS[2], ARGV[1]) ' \
           'return {KEYS[1], tonumber(redis.call("GET", KEYS[1])), redis.call("LLEN", KEYS[2])}'
  sum = "#{PREFIX}{sum}"
  arguments = { keys: [sum, "#{sum}:log"], argv: [5] }
  other = connect
  fallbacks = 0
  (1..3).each do |time|
    begin
      reply = redis.evalsha(Digest::SHA1.hexdigest(source), **arguments)
    rescue Redis::CommandError => error
      raise unless error.message.start_with?('NOSCRIPT ')

      fallbacks += 1
      reply = redis.eval(source, **arguments)
    end
    check('what the script returns', reply, [sum, 5 * time, time])
    check('GET sees what the script wrote', other.get(sum), (5 * time).to_s)
  end
  other.close
  check('EVALSHA knew it after EVAL', fallbacks, 1)
  sha = redis.script(:load, 'return "loaded"')
  check('SCRIPT EXISTS', redis.script(:exists, [sha, '0' * 40]), [true, false])
  check('EVALSHA of a loaded script', redis.evalsha(sha), 'loaded')
  begin
    redis.eval('return redis.error_reply("MINE my own error")')
  rescue Redis::CommandError => error
    check('an error of a script', error.message, 'MINE my own error')
  end
end

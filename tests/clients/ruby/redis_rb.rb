# Scenarios with redis-rb, against the Redis at NEARSIDE_HOST and NEARSIDE_PORT.

require 'redis'
require_relative 'values'
require_relative 'together'

# Every key of this program begins so.
PREFIX = 'redis-rb:'.freeze

Thread.abort_on_exception = true
$passed = 0
$counting = Mutex.new

# Ends the program unless got is wanted.
def check(what, got, wanted)
  raise "#{what}: got #{got.inspect}, wanted #{wanted.inspect}" unless got == wanted

  $counting.synchronize { $passed += 1 }
end

def connect
  Redis.new(host: ENV.fetch('NEARSIDE_HOST'), port: ENV.fetch('NEARSIDE_PORT').to_i, timeout: 10)
end

redis = connect
cache(redis)
counter(redis)
scan(redis)
pipeline(redis)
lock(redis)
queue(redis)
reliable_queue(redis)
publish_and_subscribe(redis)
transaction(redis)
script(redis)
redis.close
puts "passed: #{$passed} checks"

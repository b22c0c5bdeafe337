# Sidekiq: a real process takes jobs by BRPOP, a poller moves what is due by a script, and its API reads what is left.

require 'sidekiq'
require 'sidekiq/api'
require 'timeout'
require_relative 'sidekiq_work'

$passed = 0

# Ends the program unless got is wanted.
def check(what, got, wanted)
  raise "#{what}: got #{got.inspect}, wanted #{wanted.inspect}" unless got == wanted

  $passed += 1
end

# Ends the program unless the block becomes true in time.
def eventually(what, limit = 20)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + limit
  until (found = yield) || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
    sleep 0.02
  end
  check("#{what}, within #{limit} s", !!found, true)
end

def redis(*command)
  Sidekiq.redis { |connection| connection.call(command) }
end

# Before anybody works: the API.
20.times { |number| Record.perform_async('sidekiq:done', number) }
Sidekiq::Client.push_bulk('class' => Record, 'args' => (20...40).map { |number| ['sidekiq:done', number] })
taken_back = Record.perform_async('sidekiq:done', 'taken back')
check('jobs wait', Sidekiq::Queue.new.size, 41)
check('one is taken back', Sidekiq::Queue.new.find_job(taken_back).delete, true)
Record.set(queue: 'urgent').perform_async('sidekiq:order', 'urgent')
check('queues', Sidekiq::Queue.all.map(&:name).sort, %w[default urgent])
started = Time.now.to_f
Moment.perform_in(1, 'sidekiq:late')
check('a job for later', Sidekiq::ScheduledSet.new.size, 1)

command = ['sidekiq', '-r', File.join(__dir__, 'sidekiq_work.rb'), '-c', '4', '-q', 'urgent,10', '-q', 'default', '-t', '5']
worker = Process.spawn(*command, %i[out err] => 'sidekiq.log')
begin
  eventually('the jobs are done') { redis('LLEN', 'sidekiq:done') == 40 }
  check('each once', redis('LRANGE', 'sidekiq:done', 0, -1).map(&:to_i).sort, (0...40).to_a)
  check('the urgent one', redis('LRANGE', 'sidekiq:order', 0, -1), ['urgent'])
  eventually('the job for later is done') { redis('LLEN', 'sidekiq:late') == 1 }
  check('and not before its time', redis('LINDEX', 'sidekiq:late', 0).to_f - started >= 0.99, true)

  Flaky.perform_async('sidekiq:tries')
  2.times do |tries|
    # The next try is in half a minute; the API does not wait for it.
    eventually('a job that failed is to be tried again') { Sidekiq::RetrySet.new.size == 1 }
    check('it knows why', Sidekiq::RetrySet.new.first.item['error_message'], "try #{tries + 1}")
    Sidekiq::RetrySet.new.first.retry
  end
  eventually('the third try succeeds') { redis('GET', 'sidekiq:tries') == '3' }
  Hopeless.perform_async('sidekiq:hopeless')
  eventually('a job that fails is dead') { Sidekiq::DeadSet.new.size == 1 }
  check('with its reason', Sidekiq::DeadSet.new.first.item['error_message'], 'nothing to be done')
  eventually('the process is known') { Sidekiq::ProcessSet.new.size == 1 }
  Sidekiq::DeadSet.new.first.retry
  eventually('a dead job is tried again, and dies again') do
    redis('GET', 'sidekiq:hopeless') == '2' && Sidekiq::DeadSet.new.size == 1
  end
  Sidekiq::DeadSet.new.clear
  check('the dead are cleared away', Sidekiq::DeadSet.new.size, 0)
  eventually('what the statistics count') do
    stats = Sidekiq::Stats.new
    [stats.processed, stats.failed, stats.enqueued, stats.scheduled_size, stats.retry_size] == [47, 4, 0, 0, 0]
  end
rescue StandardError
  puts File.read('sidekiq.log')
  raise
ensure
  Process.kill('TERM', worker)
  _, status = Process.wait2(worker)
end
check('the process ends when it is told to', status.success?, true)
check('it has gone from the list', Sidekiq::ProcessSet.new.size, 0)
puts "passed: #{$passed} checks"

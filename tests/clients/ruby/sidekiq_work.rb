# The settings and the jobs of sidekiq_jobs.rb.

require 'sidekiq'

# As Sidekiq uses it, and without a word about each call.
Redis.sadd_returns_boolean = false
URL = "redis://#{ENV.fetch('NEARSIDE_HOST')}:#{ENV.fetch('NEARSIDE_PORT')}/0".freeze
Sidekiq.configure_client { |config| config.redis = { url: URL } }
Sidekiq.configure_server do |config|
  config.redis = { url: URL }
  # How often the poller looks for what is due; with its default it first waits for ten seconds.
  config.options[:poll_interval_average] = 0.1
end

class Record
  include Sidekiq::Job

  def perform(key, value)
    Sidekiq.redis { |connection| connection.rpush(key, value) }
  end
end

class Moment
  include Sidekiq::Job

  def perform(key)
    Sidekiq.redis { |connection| connection.rpush(key, connection.time.join('.')) }
  end
end

class Flaky
  include Sidekiq::Job
  sidekiq_options retry: 5

  def perform(key)
    tries = Sidekiq.redis { |connection| connection.incr(key) }
    raise "try #{tries}" if tries < 3
  end
end

class Hopeless
  include Sidekiq::Job
  sidekiq_options retry: 0

  def perform(key)
    Sidekiq.redis { |connection| connection.incr(key) }
    raise 'nothing to be done'
  end
end

# What several connections do together: locks, queues, messages, transactions and scripts.
package Together;
use strict;
use warnings;
use Digest::SHA 'sha1_hex';
use Support qw(check connect_redis join_all work PREFIX);
use Time::HiRes qw(sleep time);

use constant RELEASE =>
    'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) else return 0 end';

sub lock {
    my ($redis) = @_;
    my @workers;
    for my $worker (1 .. 3) {
        push @workers, work(sub {
            my $mine = connect_redis();
            for my $time (1 .. 10) {
                my $token = "worker $worker, time $time";
                sleep 0.002 until $mine->set(PREFIX . 'lock', $token, NX => PX => 10_000);

                # Read, then write: exact only while nobody else is in here.
                $mine->set(PREFIX . 'guarded', ($mine->get(PREFIX . 'guarded') // 0) + 1);
                check('nobody else releases it', $mine->eval(RELEASE, 1, PREFIX . 'lock', 'another'), 0);
                check('its owner releases it',   $mine->eval(RELEASE, 1, PREFIX . 'lock', $token),    1);
            }
            $mine->quit;
        });
    }
    join_all(@workers);
    check('no update under the lock was lost', $redis->get(PREFIX . 'guarded'), 30);
}

sub queue {
    my ($redis) = @_;
    my @lists = (PREFIX . '{jobs}:urgent', PREFIX . '{jobs}:normal');
    my $worker = sub {
        my $mine = connect_redis();
        while ((my $job = ($mine->blpop(@lists, 5))[1]) ne 'the end') {
            $mine->rpush(PREFIX . 'done', $job);
        }
        $mine->quit;
    };
    my @workers = map { work($worker) } 1 .. 3;
    my @wanted  = map {"job $_"} 0 .. 59;
    $redis->rpush($lists[$_ % 2], $wanted[$_]) for 0 .. 59;
    $redis->rpush($lists[1], ('the end') x 3);
    join_all(@workers);
    check('every job was done once', [sort $redis->lrange(PREFIX . 'done', 0, -1)], [sort @wanted]);
    check('BLPOP gives up', scalar $redis->blpop(@lists, '0.1'), undef);
}

sub reliable_queue {
    my ($redis) = @_;
    my ($todo, $doing) = (PREFIX . '{steps}:todo', PREFIX . '{steps}:doing');
    my $feeder = work(sub {
        my $mine = connect_redis();
        $mine->lpush($todo, "job $_") for 1 .. 30;
        $mine->quit;
    });
    for (1 .. 30) {
        check('BRPOPLPUSH gives the oldest', $redis->brpoplpush($todo, $doing, 5), "job $_");
        check('the job is kept while it is done', [$redis->lrange($doing, 0, -1)], ["job $_"]);
        check('a job that is done goes', $redis->lrem($doing, 1, "job $_"), 1);
    }
    join_all($feeder);
    check('LMOVE from nothing', $redis->lmove($todo, $doing, 'RIGHT', 'LEFT'), undef);
}

sub publish_and_subscribe {
    my ($redis) = @_;
    my ($channel, $pattern) = (PREFIX . 'news:local', PREFIX . 'news:*');
    my $subscriber = work(sub {
        my $mine = connect_redis();
        my (@plain, @matched);
        my $hear_plain   = sub { push @plain,   [@_[0, 1]] if $_[0] ne 'anybody there?' };
        my $hear_matched = sub { push @matched, [@_[0, 1]] if $_[0] ne 'anybody there?' };
        $mine->subscribe($channel, $hear_plain);
        $mine->psubscribe($pattern, $hear_matched);
        my $deadline = time + 5;
        $mine->wait_for_messages(0.1) while @plain + @matched < 80 && time < $deadline;
        check('messages of the channel in order', \@plain,   [map { [$_, $channel] } 0 .. 39]);
        check('messages of the pattern in order', \@matched, [map { [$_, $channel] } 0 .. 39]);
        $mine->unsubscribe($channel, $hear_plain);
        $mine->punsubscribe($pattern, $hear_matched);
        check('commands go on after UNSUBSCRIBE', $mine->ping, 'PONG');
        $mine->quit;
    });
    my $deadline = time + 5;
    while ($redis->publish($channel, 'anybody there?') < 2) {
        check('the subscriber is there in time', time < $deadline, 1);
        sleep 0.005;
    }
    check('PUBLISH counts who hears', $redis->publish($channel, $_), 2) for 0 .. 39;
    join_all($subscriber);
    check('PUBSUB NUMSUB', [$redis->pubsub('NUMSUB', $channel)], [$channel, 0]);
}

sub transaction {
    my ($redis) = @_;
    my ($account, $history) = (PREFIX . '{account}', PREFIX . '{account}:history');
    $redis->multi;
    check('a command of the transaction', $redis->set($account, 100), 'QUEUED');
    $redis->rpush($history, 'opened');
    $redis->get($account);
    check('the replies of EXEC', [$redis->exec], ['OK', 1, 100]);

    my $other = connect_redis();
    my ($attempts, @replies) = (0);
    do {
        $attempts++;
        $redis->watch($account);
        my $balance = $redis->get($account);
        $other->incrby($account, 50) if $attempts == 1;
        $redis->multi;
        $redis->set($account, $balance - 30);
        $redis->rpush($history, 'paid 30');
        @replies = $redis->exec;
    } until defined $replies[0];
    check('the conflict was seen, and then there was none', $attempts, 2);
    check('the replies of the second attempt', \@replies, ['OK', 2]);
    check('nothing was lost', $other->get($account), 120);

    $redis->multi;
    $redis->set($account, 0);
    check('DISCARD', $redis->discard, 'OK');
    check('DISCARD did nothing', $redis->get($account), 120);
    $other->quit;
}

sub script {
    my ($redis) = @_;

    # A script that no server has seen yet: EVALSHA fails with NOSCRIPT and EVAL follows.
    my $source = sprintf "-- %s %s\n%s", $$, rand, <<'LUA';
        redis.call("INCRBY", KEYS[1], ARGV[1]) redis.call("RPUSH", KEYS[2], ARGV[1])
        return {KEYS[1], tonumber(redis.call("GET", KEYS[1])), redis.call("LLEN", KEYS[2])}
LUA
    my $sum       = PREFIX . '{sum}';
    my @arguments = (2, $sum, "$sum:log", 5);
    my $other     = connect_redis();
    my $fallbacks = 0;
    for my $time (1 .. 3) {
        my @reply = eval { $redis->evalsha(sha1_hex($source), @arguments) };
        if ($@) {
            die $@ unless $@ =~ /NOSCRIPT /;
            $fallbacks++;
            @reply = $redis->eval($source, @arguments);
        }
        check('what the script returns', \@reply, [$sum, 5 * $time, $time]);
        check('GET sees what the script wrote', $other->get($sum), 5 * $time);
    }
    $other->quit;
    check('EVALSHA knew it after EVAL', $fallbacks, 1);
    my $sha = $redis->script_load('return "loaded"');
    check('SCRIPT EXISTS', [$redis->script_exists($sha, '0' x 40)], [1, 0]);
    check('EVALSHA of a loaded script', $redis->evalsha($sha, 0), 'loaded');
    eval { $redis->eval('return redis.error_reply("MINE my own error")', 0) };
    check('an error of a script', $@ =~ /MINE my own error/ ? 1 : 0, 1);
}

1;

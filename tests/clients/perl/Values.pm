# What keeps and reads values: a cache, counters, iteration and pipelines.
package Values;
use strict;
use warnings;
use Support qw(check connect_redis join_all work PREFIX);
use Time::HiRes 'sleep';

sub cache {
    my ($redis) = @_;
    my $key = PREFIX . 'page:1';
    check('a miss', $redis->get($key), undef);
    check('SET EX', $redis->set($key, 'first', EX => 60), 'OK');
    my $left = $redis->ttl($key);
    check('TTL is near 60', $left >= 58 && $left <= 60, 1);

    # Who reads after the write was answered sees it, on any connection.
    my $other = connect_redis();
    for my $round (0 .. 49) {
        $redis->set($key, "version $round");
        check('GET after SET', [map { $_->get($key) } $other, $redis, $other], [("version $round") x 3]);
    }

    $redis->set(PREFIX . 'short', 'soon gone', PX => 1000);
    check('GET before it expires', $other->get(PREFIX . 'short'), 'soon gone');
    sleep 1.1;
    check('GET after it expired', $other->get(PREFIX . 'short'), undef);

    my @keys = map { PREFIX . "item:$_" } 0 .. 39;
    my @values = map {"value $_\r\n\0"} 0 .. 39;
    check('MSET', $redis->mset(map { ($keys[$_], $values[$_]) } 0 .. 39), 'OK');
    check('MGET', [$other->mget(@keys, PREFIX . 'absent')], [@values, undef]);
    check('DEL', $redis->del(@keys), 40);
    check('MGET after DEL', [$other->mget(@keys)], [(undef) x 40]);

    $redis->hmset(PREFIX . 'profile', name => 'Ada', visits => 3);
    check('HGETALL', { $other->hgetall(PREFIX . 'profile') }, { name => 'Ada', visits => 3 });
    $redis->zadd(PREFIX . 'board', 1.5, 'one', 2.25, 'two');
    check('ZRANGE', [$other->zrange(PREFIX . 'board', 0, -1, 'WITHSCORES')], ['one', '1.5', 'two', '2.25']);
    $other->quit;
}

sub counter {
    my ($redis) = @_;
    my $count = sub {
        my $mine = connect_redis();
        for (1 .. 100) {
            $mine->sadd(PREFIX . 'seen', $mine->incr(PREFIX . 'counter'));
            $mine->hincrbyfloat(PREFIX . 'sums', 'halves', 0.5);
        }
        $mine->quit;
    };
    join_all(map { work($count) } 1 .. 4);
    check('the counter', $redis->get(PREFIX . 'counter'), 400);
    check('every INCR gave a number of its own', $redis->scard(PREFIX . 'seen'), 400);
    check('the sum of halves', $redis->hget(PREFIX . 'sums', 'halves') + 0, 200);
}

sub scan {
    my ($redis) = @_;
    my @wanted = sort map { PREFIX . "scan:$_" } 0 .. 299;
    $redis->set($_, 'value', sub { }) for @wanted;
    $redis->wait_all_responses;
    my (%seen, $page);
    my $cursor = 0;
    do {
        ($cursor, $page) = $redis->scan($cursor, MATCH => PREFIX . 'scan:*', COUNT => 50);
        $seen{$_} = 1 for @$page;
    } while ($cursor);
    check('SCAN MATCH finds each key', [sort keys %seen], \@wanted);

    my $number = 0;
    $redis->zadd(PREFIX . 'ranks', map { ($number++, $_) } @wanted);
    my %ranks;
    do {
        ($cursor, $page) = $redis->zscan(PREFIX . 'ranks', $cursor, COUNT => 50);
        %ranks = (%ranks, @$page);
    } while ($cursor);
    check('ZSCAN finds each member', [sort { $ranks{$a} <=> $ranks{$b} } keys %ranks], \@wanted);
}

sub pipeline {
    my ($redis) = @_;
    my (@got, @wanted, @errors);
    my $keep = sub { push @got, $_[0] };
    for my $number (0 .. 399) {
        my $key = PREFIX . 'pipe:' . $number % 7;
        $redis->set($key, $number, $keep);
        $redis->get($key, $keep);
        $redis->lpush($key, 'no list', sub { push @got, undef; push @errors, $_[1] });
        push @wanted, 'OK', $number, undef;
    }
    $redis->wait_all_responses;
    check('replies in order, errors in their places', \@got,                        \@wanted);
    check('the errors',                               scalar(grep {/WRONGTYPE /} @errors), 400);
}

1;

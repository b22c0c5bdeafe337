# Checks, connections and worker processes.
package Support;
use strict;
use warnings;
use Exporter 'import';
use JSON::PP;
use Redis;

our @EXPORT_OK = qw(check connect_redis join_all passed work PREFIX);

# Every key of this program begins so.
use constant PREFIX => 'perl-redis:';

my $passed = 0;
my $json   = JSON::PP->new->canonical->allow_nonref;

# Ends the program unless got is wanted.
sub check {
    my ($what, $got, $wanted) = @_;
    ($got, $wanted) = map { $json->encode(as_text($_)) } $got, $wanted;
    die "$what: got $got, wanted $wanted\n" if $got ne $wanted;
    $passed++;
}

# A number and its digits are the same to a client of Redis.
sub as_text {
    my ($value) = @_;
    return $value unless defined $value;
    return [map { as_text($_) } @$value] if ref $value eq 'ARRAY';
    return { map { ($_ => as_text($value->{$_})) } keys %$value } if ref $value eq 'HASH';
    return "$value";
}

sub passed { return $passed }

sub connect_redis {
    return Redis->new(
        server       => "$ENV{NEARSIDE_HOST}:$ENV{NEARSIDE_PORT}",
        cnx_timeout  => 5,
        read_timeout => 10,
    );
}

# Starts a worker process; dying in it becomes its exit code.
sub work {
    my ($task) = @_;
    my $process = fork;
    die "fork: $!" unless defined $process;
    return $process if $process;
    my $is_done = eval { $task->(); 1 };
    print STDERR "a worker: $@" unless $is_done;
    exit($is_done ? 0 : 1);
}

# Waits for these workers, which must end well.
sub join_all {
    for my $process (@_) {
        waitpid $process, 0;
        check('a worker ends well', $?, 0);
    }
}

1;

# Scenarios with the Redis module of CPAN, against the Redis at NEARSIDE_HOST and NEARSIDE_PORT.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use Support qw(check connect_redis passed);
use Together;
use Values;

my $redis = connect_redis();
Values::cache($redis);
Values::counter($redis);
Values::scan($redis);
Values::pipeline($redis);
Together::lock($redis);
Together::queue($redis);
Together::reliable_queue($redis);
Together::publish_and_subscribe($redis);
Together::transaction($redis);
Together::script($redis);
$redis->quit;
printf "passed: %d checks\n", passed();

//! Made-up histories: what the oracle must accept, and what it must reject.

use super::*;

const MS: Nanos = 1_000_000;
const BOUNDS: Bounds = Bounds { stale: Duration::from_millis(100), expired: Duration::from_millis(10) };

/// State 1 is a value from 10 to 20, 2 is absence from 20 to 30, 3 is a value after that; two daemons, times
/// in ms.
fn written() -> KeyLog {
    let mut log = KeyLog::new(2, 0);
    for (at, is_absent) in [(10, false), (20, true), (30, false)] {
        let number = log.begin(is_absent, at * MS - MS);
        log.acknowledge(number, at * MS, None);
    }
    log
}

fn judge(log: &mut KeyLog, daemon: usize, seen: Seen, asked: u64) -> Result<Judged, String> {
    let glance = log.glance(daemon);
    log.judge(daemon, glance, None, seen, (asked * MS, (asked + 1) * MS), BOUNDS)
}

#[track_caller]
fn reject(log: &mut KeyLog, daemon: usize, seen: Seen, asked: u64, why: &str) {
    let error = judge(log, daemon, seen, asked).unwrap_err();
    assert!(error.contains(why), "{error:?} is not {why:?}");
}

#[track_caller]
fn accept(log: &mut KeyLog, daemon: usize, seen: Seen, asked: u64, state: usize) {
    match judge(log, daemon, seen, asked).unwrap() {
        Judged::State { number, .. } => assert_eq!(number, state),
        Judged::Spared => panic!("it was not judged"),
    }
}

#[test]
fn what_is_new_or_not_stale_for_long_is_accepted() {
    let mut log = written();
    accept(&mut log, 0, Seen::Value(1), 40, 1);
    accept(&mut log, 0, Seen::Absent, 41, 2);
    accept(&mut log, 0, Seen::Value(3), 42, 3);
    // The other daemon has not served it yet.
    accept(&mut log, 1, Seen::Value(1), 43, 1);
    accept(&mut log, 1, Seen::Value(3), 4_000, 3);
}

#[test]
fn going_back_is_rejected() {
    let mut log = written();
    accept(&mut log, 0, Seen::Value(3), 40, 3);
    reject(&mut log, 0, Seen::Value(1), 41, "after the daemon had served");
    reject(&mut log, 0, Seen::Absent, 41, "has not been since");
}

#[test]
fn going_back_in_one_pipeline_is_rejected() {
    let mut log = written();
    let glance = log.glance(0);
    let times = (40 * MS, 41 * MS);
    log.judge(0, glance, None, Seen::Value(3), times, BOUNDS).unwrap();
    // Another session may have been overtaken on the way; this one may not.
    log.judge(0, glance, None, Seen::Value(1), times, BOUNDS).unwrap();
    let error = log.judge(0, glance, Some(3), Seen::Value(1), times, BOUNDS).unwrap_err();
    assert!(error.contains("in one pipeline"), "{error}");
}

#[test]
fn older_than_ones_own_write_is_rejected() {
    let mut log = written();
    let number = log.begin(false, 40 * MS);
    accept(&mut log, 0, Seen::Value(3), 40, 3);
    log.acknowledge(number, 41 * MS, Some(0));
    reject(&mut log, 0, Seen::Value(3), 42, "acknowledged");
    accept(&mut log, 1, Seen::Value(3), 42, 3);
}

#[test]
fn what_is_stale_for_longer_than_the_bound_is_rejected() {
    let mut log = written();
    accept(&mut log, 0, Seen::Value(1), 119, 1);
    reject(&mut log, 0, Seen::Value(1), 121, "was over");
    // A later write that was refused or is in doubt makes nothing of it.
    let refused = log.begin(false, 122 * MS);
    log.refuse(refused);
    log.begin(true, 123 * MS);
    log.doubt();
    reject(&mut log, 0, Seen::Value(1), 124, "was over");
}

#[test]
fn a_deleted_key_stays_deleted() {
    let mut log = written();
    let number = log.begin(true, 40 * MS);
    log.acknowledge(number, 41 * MS, None);
    accept(&mut log, 0, Seen::Absent, 200, 4);
    reject(&mut log, 0, Seen::Value(3), 201, "after the daemon had served");
    reject(&mut log, 1, Seen::Value(3), 201, "was over");
}

#[test]
fn an_absence_ends_when_the_key_appears() {
    let mut log = written();
    accept(&mut log, 0, Seen::Absent, 129, 2);
    reject(&mut log, 1, Seen::Absent, 131, "had ended");
}

#[test]
fn what_was_replaced_by_what_expired_is_over_after_the_bound() {
    let mut log = written();
    let brief = log.begin(false, 40 * MS);
    log.acknowledge(brief, 41 * MS, None);
    let expiry = log.begin_expiry(50 * MS);
    log.expires_by(expiry, 52 * MS);
    accept(&mut log, 0, Seen::Value(3), 120, 3);
    reject(&mut log, 0, Seen::Value(3), 143, "was over");
    reject(&mut log, 0, Seen::Value(brief), 63, "was over");
}

#[test]
fn who_has_not_heard_of_an_expire_serves_the_value_until_the_bound() {
    let mut log = written();
    let expiry = log.begin_expiry(50 * MS);
    log.expires_by(expiry, 52 * MS);
    log.expiry_set(expiry, 40 * MS, Some(1));
    accept(&mut log, 0, Seen::Value(3), 139, 3);
    reject(&mut log, 0, Seen::Value(3), 141, "was over");
    reject(&mut log, 1, Seen::Value(3), 63, "was over");
}

#[test]
fn what_expired_is_over_at_once() {
    let mut log = written();
    let expiry = log.begin_expiry(50 * MS);
    log.expires_by(expiry, 52 * MS);
    accept(&mut log, 0, Seen::Value(3), 49, 3);
    reject(&mut log, 0, Seen::Absent, 40, "has not been since");
    accept(&mut log, 0, Seen::Value(3), 61, 3);
    reject(&mut log, 0, Seen::Value(3), 63, "was over");
    accept(&mut log, 0, Seen::Absent, 63, 4);
    reject(&mut log, 0, Seen::Value(3), 55, "after the daemon had served");
}

#[test]
fn who_overwrites_a_key_ends_its_time() {
    let mut log = written();
    let expiry = log.begin_expiry(500 * MS);
    log.expires_by(expiry, 502 * MS);
    let number = log.begin(false, 60 * MS);
    log.acknowledge(number, 61 * MS, None);
    accept(&mut log, 0, Seen::Value(number), 600, number);
    reject(&mut log, 0, Seen::Absent, 610, "has not been since");
}

#[test]
fn what_was_never_written_or_refused_or_is_no_value_is_rejected() {
    let mut log = written();
    reject(&mut log, 0, Seen::Value(4), 40, "never written");
    reject(&mut log, 0, Seen::Value(2), 40, "never written");
    let number = log.begin(false, 40 * MS);
    log.refuse(number);
    reject(&mut log, 0, Seen::Value(number), 41, "refused");
}

#[test]
fn a_write_in_doubt_may_be_seen_or_not_but_not_be_taken_back() {
    let mut log = written();
    let number = log.begin(false, 40 * MS);
    log.doubt();
    accept(&mut log, 0, Seen::Value(3), 400, 3);
    accept(&mut log, 0, Seen::Value(number), 401, number);
    reject(&mut log, 0, Seen::Value(3), 402, "after the daemon had served");
}

#[test]
fn keys_of_a_failover_are_spared_until_their_owner_was_asked_and_no_longer() {
    let mut log = written();
    accept(&mut log, 0, Seen::Value(3), 40, 3);
    let before = log.glance(0);
    log.spare();
    assert_eq!(judge(&mut log, 0, Seen::Value(1), 900).unwrap(), Judged::Spared);
    assert_eq!(judge(&mut log, 0, Seen::Absent, 900).unwrap(), Judged::Spared);
    reject(&mut log, 0, Seen::Value(7), 900, "never written");

    // The successor never got state 3.
    log.settle(Seen::Value(1), 1_000 * MS).unwrap();
    let times = (40 * MS, 1_001 * MS);
    assert_eq!(log.judge(0, before, None, Seen::Value(3), times, BOUNDS).unwrap(), Judged::Spared);
    assert_eq!(log.newest(), Seen::Value(1));
    accept(&mut log, 0, Seen::Value(1), 1_001, 4);
    reject(&mut log, 0, Seen::Value(3), 1_002, "after the daemon");
    reject(&mut log, 0, Seen::Absent, 1_002, "has not been since");
    let number = log.begin(false, 1_003 * MS);
    log.acknowledge(number, 1_004 * MS, None);
    accept(&mut log, 0, Seen::Value(number), 1_005, number);
    reject(&mut log, 0, Seen::Value(1), 1_006, "after the daemon");
}

#[test]
fn an_owner_that_lost_what_nothing_may_undo_is_rejected() {
    written().settle(Seen::Value(3), 50 * MS).unwrap();
    written().settle(Seen::Value(1), 50 * MS).unwrap_err();
    written().settle(Seen::Absent, 50 * MS).unwrap_err();
    let mut log = written();
    log.begin(true, 40 * MS);
    log.doubt();
    log.settle(Seen::Absent, 50 * MS).unwrap();
    assert_eq!(log.newest(), Seen::Absent);
    log.settle(Seen::Value(3), 60 * MS).unwrap_err();
}

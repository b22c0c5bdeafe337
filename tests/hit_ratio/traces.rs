//! Traces that were recorded, and those that are drawn.

use std::collections::HashSet;
use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::generated;
use crate::recorded;
use crate::request::Request;
use crate::trace::Trace;

/// The trace with this name, of a directory with this file alone.
fn read(file: &str, bytes: &[u8], name: &str) -> Trace {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(file), bytes).unwrap();
    let found = recorded::all(Some(directory.path()));
    found.iter().find(|recorded| recorded.name == name).unwrap().read(usize::MAX)
}

fn reads(keys: &[u32]) -> Vec<Request> {
    keys.iter().copied().map(Request::Read).collect()
}

#[test]
fn the_traces_that_stand_here_are_whole() {
    let found = recorded::all(None);
    let names: Vec<_> = found.iter().map(|recorded| &recorded.name[..]).collect();
    assert_eq!(names, ["orm-busy", "vault", "web07", "web12"]);
    for (number, requests, keys) in [(1, 135_702, 90_468), (2, 76_118, 20_484), (3, 95_607, 13_756)] {
        let trace = found[number].read(usize::MAX);
        assert_eq!((trace.reads(), trace.sizes.len()), (requests, keys), "{}", trace.name);
        assert!(trace.is_recorded);
    }
    assert_eq!(found[0].read(1_000).requests.len(), 1_000);
}

#[test]
fn a_trace_by_path_may_have_each_of_the_forms() {
    let trace = read("few.trace", &[7, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0], "few");
    assert_eq!(trace.requests, reads(&[0, 1, 0]));

    let trace = read("blocks.lis", b"3 2 0 1\n9 1 0 2\n4 1 0 3\n", "blocks");
    assert_eq!(trace.requests, reads(&[0, 1, 2, 1]));

    let mut row = [0; 24];
    (row[4], row[12], row[13]) = (5, 2, 1);
    let trace = read("cloud.oracleGeneral.bin", &[row, row].concat(), "cloud");
    assert_eq!((trace.requests, trace.sizes[0].value), (reads(&[0, 0]), 258));

    let lines = b"0,a,10,100,1,get,0\n0,b,12,7,1,set,0\n1,a,10,100,1,gets,0\n";
    let trace = read("cluster.csv", lines, "cluster");
    assert_eq!(trace.requests, [Request::Read(0), Request::Write(1), Request::Read(0)]);
    assert_eq!((trace.bytes(), trace.reads()), (129, 2));
}

#[test]
fn a_trace_may_be_packed() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&[1; 16]).unwrap();
    let trace = read("trace_ledger.gz", &packed.finish().unwrap(), "ledger");
    assert_eq!(trace.requests, reads(&[0, 0]));
}

#[test]
fn drawn_traces_are_the_same_each_time() {
    for (one, other) in generated::all(100).zip(generated::all(100)) {
        assert!(one.requests == other.requests && one.bytes() == other.bytes(), "{}", one.name);
        let keys: HashSet<_> = one.requests.iter().map(|request| request.key()).collect();
        assert_eq!(keys.len(), one.sizes.len(), "{}", one.name);
        assert!(!one.is_recorded);
    }
}

#[test]
fn drawn_sizes_are_as_told() {
    let traces: Vec<_> = generated::all(10).collect();
    let values = |name: &str| {
        let trace = traces.iter().find(|trace| trace.name == name).unwrap();
        let mut values: Vec<_> = trace.sizes.iter().map(|size| size.value).collect();
        values.sort_unstable();
        values
    };
    let small = values("zipf 0.99");
    let mean = small.iter().sum::<u32>() as usize / small.len();
    assert!((110..130).contains(&small[small.len() / 2]) && (200..300).contains(&mean), "a mean of {mean}");
    let mixed = values("mixed sizes");
    assert!((400..600).contains(&mixed[mixed.len() / 2]));
    assert!(
        mixed.last().is_some_and(|largest| (100 << 10..=1 << 20).contains(largest)),
        "{:?}",
        mixed.last()
    );
}

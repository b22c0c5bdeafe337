//! What `make counts` says of new figures beside those that are kept (`benches/micro/figures.rs`): it has to
//! fail when an operation got more expensive, and only then.

#[path = "../benches/micro/figures.rs"]
mod figures;

use figures::{Figures, Tools};

fn with(rustc: &str, instructions: &[(&str, f64)]) -> Figures {
    let tools = Tools {
        rustc: rustc.to_owned(),
        libc: "glibc 2.36".to_owned(),
        valgrind: "valgrind-3.19.0".to_owned(),
        processor: "x86_64".to_owned(),
    };
    let instructions = instructions.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
    Figures { tools, instructions }
}

/// Whether new figures are good beside the kept one of 1,000, and what is said of them.
fn judged(now: &Figures) -> (bool, String) {
    let kept = with("rustc 1.90.0", &[("hit", 1_000.0)]);
    let comparison = now.compare(&kept);
    (comparison.is_good(), comparison.to_string())
}

#[test]
fn up_to_5_percent_more_is_reported_and_over_that_fails() {
    for (now, good, said) in [
        (1_000.0, true, "1.000"),
        (1_049.0, true, "1.049"),
        (1_051.0, false, "1.051  WORSE"),
        (960.0, true, "0.960"),
        (900.0, true, "0.900  better"),
    ] {
        let (is_good, text) = judged(&with("rustc 1.90.0", &[("hit", now)]));
        assert_eq!(is_good, good, "{text}");
        assert!(text.contains(said), "{text}");
        assert_eq!(text.contains("NEARSIDE_BLESS=1 make counts"), !good, "{text}");
    }
}

#[test]
fn with_another_compiler_nothing_is_judged_and_that_is_said() {
    let (is_good, text) = judged(&with("rustc 1.91.0", &[("hit", 2_000.0)]));
    assert!(is_good && text.contains("WORSE") && text.contains("NOT JUDGED"), "{text}");
}

#[test]
fn a_scenario_without_a_figure_and_a_figure_without_a_scenario_fail() {
    let (is_good, text) = judged(&with("rustc 1.90.0", &[("hit", 1_000.0), ("miss", 1.0)]));
    assert!(!is_good && text.contains("NEW"), "{text}");
    let (is_good, text) = judged(&with("rustc 1.90.0", &[]));
    assert!(!is_good && text.contains("GONE"), "{text}");
}

#[test]
fn kept_figures_are_read_as_they_were_written() -> std::io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("counts.json");
    let written = with("rustc 1.90.0", &[("hit", 1_000.5)]);
    written.write(&path)?;
    let read = Figures::read(&path)?;
    assert!(read.tools == written.tools && read.instructions == written.instructions);
    std::fs::write(&path, "{}")?;
    assert!(Figures::read(&path).is_err());
    Ok(())
}

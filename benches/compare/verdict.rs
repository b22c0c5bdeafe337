//! From rounds to a verdict: the middle of the rounds, how far they lie apart, and whether that settles a
//! goal.

use std::fmt;

use serde::Serialize;

/// The middle of some figures, and the quartiles around it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

/// What a figure has to keep to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    Holds,
    Misses,
    /// The rounds disagree: one quartile keeps to the goal, the other does not.
    Undecided,
    /// What was to be measured did not happen.
    Invalid(String),
}

// === impl Spread ===

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let place = quantile * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Spread { median: at(0.5), lower: at(0.25), upper: at(0.75) }
    }
}

// === impl Bound ===

impl Bound {
    pub(crate) fn verdict(self, spread: Spread) -> Verdict {
        let (best, worst, limit, sign) = match self {
            Bound::AtMost(limit) => (spread.lower, spread.upper, limit, 1.0),
            Bound::AtLeast(limit) => (spread.upper, spread.lower, limit, -1.0),
        };
        if worst * sign <= limit * sign {
            Verdict::Holds
        } else if best * sign > limit * sign {
            Verdict::Misses
        } else {
            Verdict::Undecided
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(limit) => write!(f, "at most {limit}"),
            Bound::AtLeast(limit) => write!(f, "at least {limit}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Holds => f.write_str("holds"),
            Verdict::Misses => f.write_str("**does not hold**"),
            Verdict::Undecided => f.write_str("undecided"),
            Verdict::Invalid(why) => write!(f, "INVALID: {why}"),
        }
    }
}

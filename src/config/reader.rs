//! Readers of values: each takes the text of a setting and what sizes depend on, and returns the value, or a
//! sentence that says what is allowed.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::units::GIB;
use super::value;
use crate::memory::{Limit, SMALL_BYTES, memory_max_by_default};

/// What the meaning of a text depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadContext<'a> {
    /// Where `proc` and `sys` of the machine are.
    pub(super) machine: &'a Path,
    /// What a size that is typed as a part, such as 25%, is a part of, in bytes; none while the daemon runs,
    /// when a size is given as such.
    pub(super) whole: Option<usize>,
}

/// The ceiling for the memory of the whole daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryMax {
    /// Bytes; none when there is no ceiling.
    pub max: Option<usize>,
    /// The limit of the machine that it follows from, if it does.
    pub limit: Option<Limit>,
    /// Bytes of a request that is taken in even when memory is scarce.
    pub small_bytes: usize,
}

/// With less than this the daemon cannot do its work, in bytes.
const MEMORY_MAX_MIN: usize = 16 << 20;

/// A whole number within `range`.
pub(super) fn number(
    range: RangeInclusive<usize>,
) -> impl FnOnce(&str, ReadContext<'_>) -> Result<usize, String> {
    move |text, _| value::number(text, range)
}

/// A size within `range`, in bytes, or a part of `memory_max`.
pub(super) fn size(
    range: RangeInclusive<usize>,
) -> impl FnOnce(&str, ReadContext<'_>) -> Result<usize, String> {
    move |text, context| match context.whole {
        Some(whole) => value::size_or_part(text, whole, range),
        None => value::size(text, range),
    }
}

/// A duration within `range`.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl FnOnce(&str, ReadContext<'_>) -> Result<Duration, String> {
    move |text, _| value::duration(text, range)
}

/// A value that depends on its text alone.
pub(super) fn text<T>(
    parse: fn(&str) -> Result<T, String>,
) -> impl FnOnce(&str, ReadContext<'_>) -> Result<T, String> {
    move |text, _| parse(text)
}

/// A value that need not be given.
pub(super) fn optional<T>(
    parse: fn(&str) -> Result<T, String>,
) -> impl FnOnce(&str, ReadContext<'_>) -> Result<Option<T>, String> {
    move |text, _| parse(text).map(Some)
}

/// The ceiling for the memory of the whole daemon.
pub(super) fn memory_max(text: &str, context: ReadContext<'_>) -> Result<MemoryMax, String> {
    let (max, limit) = match text {
        "auto" => {
            let limit = Limit::read(context.machine);
            (Some(memory_max_by_default(context.machine, limit.as_ref())), limit)
        }
        "none" | "0" => (None, None),
        text => {
            let max = value::size(text, MEMORY_MAX_MIN..=1024 * GIB);
            (Some(max.map_err(|error| value::beside(&error, "auto or none"))?), None)
        }
    };
    Ok(MemoryMax { max, limit, small_bytes: SMALL_BYTES })
}

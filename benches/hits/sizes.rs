//! Sizes of keys and values, where a trace has none: log-normal, drawn anew for each key from its number.

use crate::request::Key;
use crate::trace::Size;

/// Values are log-normal between two bounds, keys have from 20 to 45 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Half of the values are smaller.
    pub(crate) median: f64,
    /// The standard deviation of the logarithm.
    pub(crate) sigma: f64,
    pub(crate) largest: u32,
}

const SMALLEST: u32 = 8;

/// As in the published tables of Twitter's clusters: a mean of some 250 bytes.
pub(crate) const SMALL: Sizes = Sizes { median: 120.0, sigma: 1.2, largest: 8 << 10 };
/// A mean of some 5 KB, and a few of a megabyte.
pub(crate) const MIXED: Sizes = Sizes { median: 500.0, sigma: 2.2, largest: 1 << 20 };

// === impl Sizes ===

impl Sizes {
    pub(crate) fn of(self, key: Key) -> Size {
        let mut random = fastrand::Rng::with_seed(u64::from(key));
        // Box and Muller.
        let (radius, angle) =
            ((-2.0 * (1.0 - random.f64()).ln()).sqrt(), std::f64::consts::TAU * random.f64());
        let value = self.median * (self.sigma * radius * angle.cos()).exp();
        Size {
            key: random.u16(20..=45),
            value: value.clamp(f64::from(SMALLEST), f64::from(self.largest)) as u32,
        }
    }
}

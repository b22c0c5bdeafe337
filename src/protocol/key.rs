//! Where keys live: the slot of a binary key, as Redis Cluster computes it, and those of several keys.

use std::fmt;

/// How many slots a Redis Cluster has.
pub const SLOT_COUNT: usize = 16_384;

/// A hash slot: a part of the keyspace of a Redis Cluster, of which there are 16,384.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

/// The slots of the keys of a command or a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySlots {
    /// There are no keys.
    #[default]
    None,
    /// All keys lie in this one.
    One(Slot),
    /// The keys lie in several slots, or their slots are unknown.
    Several,
}

/// CRC16-CCITT (XMODEM), the polynomial named in the Redis Cluster specification, one entry per byte value.
const CRC16: [u16; 256] = crc16_table();

// === impl Slot ===

impl Slot {
    /// The slot of `key`: CRC16 of the hash tag (what stands between the first `{` and the next `}`, if that
    /// is not empty) or of the whole key, modulo 16,384. Source: the Redis Cluster specification, "Hash
    /// tags".
    pub fn of(key: &[u8]) -> Slot {
        let hashed = hash_tag(key).unwrap_or(key);
        let crc =
            hashed.iter().fold(0u16, |crc, byte| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)]);
        Slot(crc % SLOT_COUNT as u16)
    }

    /// The slot with this number, if there is one.
    pub fn from_number(number: u64) -> Option<Slot> {
        (number < SLOT_COUNT as u64).then_some(Slot(number as u16))
    }

    /// The number of the slot, 0 to 16,383.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The number of the slot, as an index into a table of [`SLOT_COUNT`] entries.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl KeySlots ===

impl KeySlots {
    /// The slots of these and of `other` keys.
    pub fn and(self, other: KeySlots) -> KeySlots {
        match (self, other) {
            (KeySlots::None, slots) | (slots, KeySlots::None) => slots,
            (one, other) if one == other => one,
            _ => KeySlots::Several,
        }
    }

    /// The slot in which all of the keys lie.
    #[inline]
    pub fn one(self) -> Option<Slot> {
        match self {
            KeySlots::One(slot) => Some(slot),
            KeySlots::None | KeySlots::Several => None,
        }
    }
}

impl FromIterator<Slot> for KeySlots {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> KeySlots {
        let mut slots = slots.into_iter();
        match slots.next() {
            None => KeySlots::None,
            Some(first) if slots.all(|slot| slot == first) => KeySlots::One(first),
            Some(_) => KeySlots::Several,
        }
    }
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let tagged = &key[open + 1..];
    let length = memchr::memchr(b'}', tagged)?;
    (length > 0).then(|| &tagged[..length])
}

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_keys_have_one_slot_or_several() {
        let slots = |keys: &[&[u8]]| keys.iter().map(|key| Slot::of(key)).collect::<KeySlots>();
        let (a, both) = (KeySlots::One(Slot::of(b"a")), KeySlots::Several);
        assert_eq!((slots(&[]), slots(&[b"a", b"{a}b"]), slots(&[b"a", b"b"])), (KeySlots::None, a, both));
        assert_eq!((KeySlots::None.and(a), a.and(KeySlots::None), a.and(a)), (a, a, a));
        assert_eq!((a.and(slots(&[b"b"])), a.and(both), both.and(both)), (both, both, both));
        assert_eq!((a.one(), both.one()), (Some(Slot::of(b"a")), None));
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        // The check value of CRC16/XMODEM is 0x31C3 (Redis Cluster specification, appendix A).
        assert_eq!(Slot::of(b"123456789").number(), 0x31C3 % SLOT_COUNT as u16);
        assert_eq!(Slot::of(b"foo").number(), 12_182);
        assert_eq!(Slot::of(b"").number(), 0);
        assert_eq!(Slot::of(b"{user1000}.following"), Slot::of(b"{user1000}.followers"));
        assert_eq!(Slot::of(b"foo{}{bar}"), Slot::of(b"foo{}{bar}"));
        assert_ne!(Slot::of(b"foo{}{bar}"), Slot::of(b"bar"));
        assert_eq!(Slot::of(b"foo{{bar}}zap"), Slot::of(b"{bar"));
        assert_eq!(Slot::of(b"foo{bar}{zap}"), Slot::of(b"bar"));
    }
}

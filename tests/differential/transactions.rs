//! Transactions of generated commands, right and wrong, whose watched keys somebody else may have changed.

use std::cell::RefCell;

use fastrand::Rng;
use nearside::protocol::command::{Class, Local, Spec, recognise};
use nearside::protocol::key::Slot;
use nearside::protocol::resp::request::OwnedRequest;

use crate::conversation::{Conversation, Differs};
use crate::coverage::{Coverage, rows};
use crate::family::Pair;
use crate::generator::Generator;
use crate::words::{Request, bytes, plain};
use crate::world;

/// Commands between MULTI and EXEC.
const QUEUED: std::ops::RangeInclusive<usize> = 0..=8;

pub(crate) fn hold_all(
    pair: &Pair,
    generator: &Generator,
    count: usize,
    coverage: &RefCell<Coverage>,
    rng: &mut Rng,
) -> Vec<Differs> {
    // The reply to EXEC holds those of all commands, so only those are queued whose replies are the same to
    // the byte.
    // A command that the server does not know spoils its slot's part alone.
    let is_known = |row: &&Spec| !pair.setting.is_per_slot() || generator.is_known(row);
    let rows =
        rows().filter(|row| is_about_keys(pair, row) && is_exact(pair, row) && !pair.setting.refuses(row));
    let exact: Vec<&Spec> = rows.filter(is_known).collect();
    (0..count).filter_map(|number| hold(pair, generator, &exact, number, coverage, rng).err()).collect()
}

fn hold(
    pair: &Pair,
    generator: &Generator,
    exact: &[&'static Spec],
    number: usize,
    coverage: &RefCell<Coverage>,
    rng: &mut Rng,
) -> Result<(), Differs> {
    let version = if number.is_multiple_of(2) { 2 } else { 3 };
    let mut conversation = Conversation::begin(pair, version, coverage);
    let mut other = Conversation::begin(pair, version, coverage);
    let tag = format!("t{number}");
    conversation.make_world(&tag, false)?;
    let mut tags = vec![tag.clone()];
    let watched = world::key(&tag, world::NAMES[rng.usize(..world::NAMES.len())]);
    if rng.bool() {
        conversation.ask(&plain(&["WATCH", &watched, &world::key(&tag, "none")]))?;
    } else if pair.setting.is_per_slot() {
        // All keys of a tag lie in one slot.
        tags.extend(["u", "v"].map(|letter| format!("{letter}{number}")));
        tags[1..].iter().try_for_each(|tag| conversation.make_world(tag, false))?;
    }
    if rng.u8(..4) == 0 {
        other.ask_once(&plain(&["SET", &watched, "changed"]))?;
    }
    conversation.ask(&plain(&["MULTI"]))?;
    for _ in 0..rng.usize(QUEUED) {
        let spec = exact[rng.usize(..exact.len())];
        let tag = &tags[rng.usize(..tags.len())];
        let request = generator.request(spec, usize::MAX, tag, rng);
        if !pair.setting.has_slots() || is_of_one_slot(&request, tag) {
            conversation.ask_once(&request)?;
        }
    }
    if pair.setting.is_namespace() && conversation.has_parted {
        // It refused at once what the server refuses at EXEC.
        return conversation.end();
    }
    if rng.u8(..8) == 0 {
        other.ask_once(&plain(&["APPEND", &watched, "too late"]))?;
    }
    let last = if rng.u8(..6) == 0 { "DISCARD" } else { "EXEC" };
    conversation.ask(&plain(&[last]))?;
    conversation.end()
}

/// Whether it is about keys; where nothing is about slots, also about databases.
fn is_about_keys(pair: &Pair, row: &Spec) -> bool {
    match row.class {
        Class::CacheableRead | Class::Forward | Class::FanOut(_) => true,
        Class::Database(_) | Class::Local(Local::Select) => !pair.setting.is_cluster(),
        _ => false,
    }
}

fn is_exact(pair: &Pair, row: &Spec) -> bool {
    // MIGRATE would wait for a connection with everything else behind it.
    row.name != "migrate"
        && !pair.setting.differences().any(|difference| difference.commands.contains(&row.name))
}

/// A command on several slots is refused in a transaction; that is tested where it is refused.
fn is_of_one_slot(request: &Request, tag: &str) -> bool {
    let request = OwnedRequest::from_args(bytes(request));
    let request = request.as_request();
    let home = Slot::of(world::key(tag, "").as_bytes());
    recognise(&request).is_ok_and(|spec| {
        spec.keys.positions(&request).is_ok_and(|mut keys| keys.all(|at| Slot::of(request.arg(at)) == home))
    })
}

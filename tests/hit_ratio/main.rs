//! What `make hits` compares with and what it replays: the policies, the bytes of entries, recorded and drawn
//! traces.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../benches/hits/cost.rs"]
mod cost;
#[path = "../../benches/hits/generated.rs"]
mod generated;
#[path = "../../benches/hits/policy/mod.rs"]
mod policy;
#[path = "../../benches/hits/recorded.rs"]
mod recorded;
#[path = "../../benches/hits/request.rs"]
mod request;
#[path = "../../benches/hits/sizes.rs"]
mod sizes;
#[path = "../../benches/hits/trace.rs"]
mod trace;

mod costs;
mod policies;
mod traces;

//! Places, kept in sorted sets.

use super::builder::{TWO, cached, write};
use crate::protocol::command::{Keys, Spec, TtlEffect};
use crate::protocol::resp::resp2::Form;

pub(super) const ROWS: &[Spec] = &[
    write("geoadd", -5),
    cached("geodist", -4),
    cached("geohash", -2),
    cached("geopos", -2).form(Form::NullElements),
    write("georadius", -6).keys(Keys::GeoStore).ttl_effect(TtlEffect::Keys(Keys::GeoDestination)).grows(),
    cached("georadius_ro", -6).grows(),
    write("georadiusbymember", -5)
        .keys(Keys::GeoStore)
        .ttl_effect(TtlEffect::Keys(Keys::GeoDestination))
        .grows(),
    cached("georadiusbymember_ro", -5).grows(),
    cached("geosearch", -7).grows(),
    write("geosearchstore", -8).keys(TWO),
];

//! Namespaces: the tables `[[namespace]]` of the file, the settings `namespace`, `pin` and `databases`, and
//! which clients they are for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::error::ConfigError;
use super::settings::SettingValues;
use super::source::{FileText, Source};
use super::table::{TableReader, tables};
use super::upstream_url::UpstreamKind;
use super::validator::Validator;
use super::value;
use crate::namespace::{ChannelRule, DATABASES, Namespace, Namespaces};

/// Namespaces at most.
const NAMESPACES_MAX: usize = 64;

/// The keys of a namespace.
const KEYS: [&str; 5] = ["name", "listen", "database", "pin", "channels"];

/// A namespace as the file has it.
#[derive(Debug)]
pub(super) struct NamespaceTable {
    namespace: Arc<Namespace>,
    /// Its listeners.
    listen: Vec<String>,
    /// Its database.
    database: Option<u32>,
    /// Where it is in the file.
    source: Source,
}

/// Reads all tables. What is wrong with them goes to `faults`.
pub(super) fn read(
    file: &FileText<'_>,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<ConfigError>,
) -> Vec<NamespaceTable> {
    let mut namespaces = Vec::new();
    for (table, span) in tables(file, "namespace", NAMESPACES_MAX, value, faults) {
        let source = file.at(span);
        if !table.contains_key("name") {
            faults.push(ConfigError::new("namespace.name", Some(source.clone()), None, "is not given"));
        }
        let mut read = TableReader { file, kind: "namespace", table, faults };
        read.names(&KEYS);
        let name = read.read("name", value::namespace);
        let listen = read.texts("listen");
        let last = DATABASES as usize - 1;
        let database = read.read("database", |text| value::number(text, 0..=last));
        let pinned = read.read("pin", value::switch).unwrap_or_default();
        let channels = read.read("channels", channels).unwrap_or_default();
        let Some(name) = name else { continue };
        let namespace = Arc::new(Namespace { name: name.into(), pinned, channels });
        let database = database.and_then(|database| u32::try_from(database).ok());
        namespaces.push(NamespaceTable { namespace, listen, database, source });
    }
    namespaces
}

/// Assigns the namespaces to listeners and databases. What is wrong goes to `read`.
pub(super) fn assign(
    read: &mut Validator<'_>,
    values: &SettingValues,
    tables: Vec<NamespaceTable>,
) -> Namespaces {
    let mut assigned = Namespaces { tcp: vec![None; values.listen.len()], ..Namespaces::default() };
    if values.pin && values.namespace.is_none() {
        read.fault("pin", "there is nothing to pin: give the name of a namespace too");
    }
    if let Some(name) = &values.namespace {
        if !tables.is_empty() {
            read.fault("namespace", "is the namespace of all clients, and [[namespace]] gives them others");
        }
        let (name, pinned) = (name.as_str().into(), values.pin);
        let namespace = Arc::new(Namespace { name, pinned, channels: ChannelRule::Own });
        assigned.tcp.fill(Some(namespace.clone()));
        assigned.unix = Some(namespace);
    }
    let is_cluster = matches!(values.upstream.kind, UpstreamKind::Cluster);
    let mut lines: BTreeMap<Box<str>, Source> = BTreeMap::new();
    for table in tables {
        let name = table.namespace.name.clone();
        let mut fault = |key: &str, given: &str, message: String| {
            read.fault_of_table(&format!("namespace.{key}"), table.source.clone(), given, message);
        };
        if let Some(former) = lines.insert(name.clone(), table.source.clone()) {
            fault("name", &name, format!("{former} has a namespace of this name already"));
        }
        if table.listen.is_empty() && table.database.is_none() {
            fault("name", &name, "has no clients: give listen or database".to_owned());
        }
        for text in &table.listen {
            match place(text, values, &mut assigned) {
                None => fault("listen", text, "no listen or unix has this address".to_owned()),
                Some(place) if place.is_some() => {
                    fault("listen", text, "has a namespace already".to_owned());
                }
                Some(place) => *place = Some(table.namespace.clone()),
            }
        }
        let Some(database) = table.database else { continue };
        if !is_cluster {
            let message = "one server has databases of its own; give listen to map a listener";
            fault("database", &database.to_string(), message.to_owned());
        }
        if assigned.databases.insert(database, table.namespace.clone()).is_some() {
            fault("database", &database.to_string(), "has a namespace already".to_owned());
        }
    }
    number_databases(read, values, is_cluster, &lines, &mut assigned);
    assigned
}

/// Makes namespaces of the databases that have none.
fn number_databases(
    read: &mut Validator<'_>,
    values: &SettingValues,
    is_cluster: bool,
    lines: &BTreeMap<Box<str>, Source>,
    assigned: &mut Namespaces,
) {
    if values.databases > 1 && !is_cluster && !read.is_faulty("upstream") {
        read.fault("databases", "one server has databases of its own");
    }
    for number in (1..DATABASES).take_while(|number| (*number as usize) < values.databases) {
        let name: Box<str> = format!("db{number}").into();
        if assigned.databases.contains_key(&number) {
            continue;
        }
        if let Some(source) = lines.get(&name) {
            read.fault(
                "databases",
                format!("{source} has a namespace {name}, the name of database {number}"),
            );
        }
        let (pinned, channels) = (false, ChannelRule::Shared);
        assigned.databases.insert(number, Arc::new(Namespace { name, pinned, channels }));
    }
}

/// The place for the namespace of a listener.
fn place<'a>(
    text: &str,
    values: &SettingValues,
    assigned: &'a mut Namespaces,
) -> Option<&'a mut Option<Arc<Namespace>>> {
    if values.unix.as_deref().is_some_and(|path| path.as_os_str() == text) {
        return Some(&mut assigned.unix);
    }
    let addresses: Vec<SocketAddr> = value::addresses(text).ok()?;
    let at = values.listen.iter().position(|address| addresses.contains(address))?;
    assigned.tcp.get_mut(at)
}

fn channels(text: &str) -> Result<ChannelRule, String> {
    match text {
        "own" => Ok(ChannelRule::Own),
        "shared" => Ok(ChannelRule::Shared),
        _ => Err("own or shared is wanted".to_owned()),
    }
}

//! What a command takes, as the server's COMMAND DOCS tells it.

use std::collections::HashMap;

use nearside::sandbox::{Reply, SandboxClient};

/// One argument, or several that belong together.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) what: What,
    /// The word that stands before it.
    pub(crate) token: Option<String>,
    pub(crate) optional: bool,
    pub(crate) multiple: bool,
    /// Whether the token is said again each time.
    pub(crate) multiple_token: bool,
}

/// What an argument is.
#[derive(Debug)]
pub(crate) enum What {
    Key,
    Integer,
    Double,
    Text,
    Pattern,
    UnixTime,
    /// The token alone.
    Token,
    OneOf(Vec<Shape>),
    Block(Vec<Shape>),
}

/// What the server says of one command.
#[derive(Debug)]
pub(crate) struct Doc {
    /// `list`, `sorted-set`, `generic` ...
    pub(crate) group: String,
    pub(crate) arguments: Vec<Shape>,
}

/// All commands and subcommands of a server, by their names as in the table.
pub(crate) fn docs(client: &mut SandboxClient) -> HashMap<String, Doc> {
    client.hello(3).unwrap();
    let reply = client.command(&["COMMAND", "DOCS"]).unwrap();
    let mut docs = HashMap::new();
    for (name, description) in pairs(&reply) {
        add(&name.text(), description, &mut docs);
    }
    assert!(docs.len() > 300, "only {} commands are described", docs.len());
    docs
}

fn add(name: &str, description: &Reply, docs: &mut HashMap<String, Doc>) {
    let shapes = |reply: &Reply| reply.items().iter().map(shape).collect();
    let doc = Doc {
        group: field(description, "group").map(Reply::text).unwrap_or_default(),
        arguments: field(description, "arguments").map(shapes).unwrap_or_default(),
    };
    docs.insert(name.to_owned(), doc);
    for (name, description) in field(description, "subcommands").map(pairs).unwrap_or_default() {
        add(&name.text(), description, docs);
    }
}

fn shape(argument: &Reply) -> Shape {
    let text = |name| field(argument, name).map(Reply::text);
    let flags: Vec<String> =
        field(argument, "flags").into_iter().flat_map(Reply::items).map(Reply::text).collect();
    let parts = || field(argument, "arguments").into_iter().flat_map(Reply::items).map(shape).collect();
    let what = match text("type").unwrap_or_default().as_str() {
        "key" => What::Key,
        "integer" => What::Integer,
        "double" => What::Double,
        "pattern" => What::Pattern,
        "unix-time" => What::UnixTime,
        "pure-token" => What::Token,
        "oneof" => What::OneOf(parts()),
        "block" => What::Block(parts()),
        _ => What::Text,
    };
    Shape {
        name: text("name").unwrap_or_default().to_ascii_lowercase().replace('_', "-"),
        what,
        token: text("token"),
        optional: flags.iter().any(|flag| flag == "optional"),
        multiple: flags.iter().any(|flag| flag == "multiple"),
        multiple_token: flags.iter().any(|flag| flag == "multiple_token"),
    }
}

fn pairs(reply: &Reply) -> &[(Reply, Reply)] {
    if let Reply::Map(pairs) = reply { pairs } else { &[] }
}

fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a Reply> {
    pairs(reply).iter().find(|(field, _)| field.bytes() == Some(name.as_bytes())).map(|(_, value)| value)
}

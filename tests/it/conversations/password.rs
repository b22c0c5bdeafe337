//! Clients that have a password to say: the same conversations with a plain server that has `requirepass`.

use std::io::Write;

use nearside::sandbox::{Address, SandboxClient, Standalone};

use super::differing::without_what_differs;
use crate::support::daemon::{Daemon, run_to_end};
use crate::support::servers::sandbox;

/// Each on a connection of its own, one inline request a line.
const CONVERSATIONS: &[&str] = &[
    "GET a\nPING\nPING x\nECHO x\nCLIENT ID\nCOMMAND\nMULTI\nEXEC\nEXEC x\nDISCARD\nSUBSCRIBE a\nMONITOR\nBLPOP l 0\nWAIT 0 0\n\
     CLIENT REPLY OFF\nWATCH a\nUNSUBSCRIBE\nRESET\nCLIENT TRACKING ON\nFOO\nFOO bar\nGET\nCLIENT FOO\nCLIENT\nCONFIG GET\n\
     SHUTDOWN NOSAVE\nCLUSTER INFO\nSCAN 0\nEVAL 1 0\nQUIT",
    "AUTH\nAUTH a b c\nAUTH wrong\nAUTH default wrong\nAUTH default\nAUTH user secret\nAUTH \"\"\nGET a\nAUTH secret\nGET a\nAUTH wrong\n\
     GET a\nAUTH user secret\nGET a\nRESET\nGET a\nAUTH default secret\nGET a\nACL WHOAMI\nACL LIST\nQUIT",
    "HELLO\nHELLO 3\nHELLO 9\nHELLO x\nHELLO 3 AUTH default wrong\nHELLO 3 AUTH default\nHELLO 3 AUTH user secret\nHELLO 3 FOO\n\
     HELLO 2 SETNAME x\nGET a\nHELLO 3 AUTH default secret\nCLIENT GETNAME\nGET a\nHELLO 2 AUTH default wrong\nGET a\nHELLO 2\nQUIT",
    "HELLO 2 SETNAME x AUTH default wrong\nHELLO 2 AUTH default secret\nCLIENT GETNAME",
    "HELLO 2 AUTH default secret SETNAME y\nCLIENT GETNAME\nHELLO\nRESET\nPING\nHELLO",
    "HELLO 3 AUTH default secret SETNAME \"a b\"\nGET a",
    "HELLO 3 AUTH default secret FOO\nGET a",
    "AUTH secret\nMULTI\nAUTH wrong\nAUTH secret\nHELLO 2 AUTH default wrong\nGET a\nEXEC\nMULTI\nRESET\nGET a",
    "AUTH secret\nSUBSCRIBE a\nRESET\nPING\nSUBSCRIBE a",
    "AUTH secret\nCLIENT TRACKING ON\nWATCH a\nMONITOR\nRESET\nPING\nAUTH secret\nPING",
];

/// What is sent in one piece, and how the other side answers until it is silent or closes.
const PIECES: &[&str] = &[
    "*11\r\n$3\r\nGET\r\n",
    "*2\r\n$3\r\nGET\r\n$16385\r\n",
    "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*12\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n\
     $1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\nRESET\r\n*11\r\n$3\r\nGET\r\n",
    "GET a\r\nAUTH secret\r\nGET a\r\nRESET\r\nGET a\r\nAUTH secret\r\nGET a\r\nQUIT\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
];

const PASSWORD: &str = "secret";

/// A file that holds `text`.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// What comes back, request by request. What modules a server has is its own affair.
fn talk(address: &Address) -> Vec<String> {
    let mut said = Vec::new();
    for conversation in CONVERSATIONS {
        let mut client = SandboxClient::connect(address).unwrap();
        for request in conversation.lines().map(str::trim_start) {
            client.send_raw(format!("{request}\r\n").as_bytes()).unwrap();
            let reply = client.receive_raw().unwrap_or_else(|error| panic!("{request}: {error}"));
            let reply = without_what_differs(reply).escape_ascii().to_string();
            said.push(format!("{request}: {}", reply.split("modules").next().unwrap()));
        }
    }
    for piece in PIECES {
        let mut client = SandboxClient::connect(address).unwrap();
        client.send_raw(piece.as_bytes()).unwrap();
        said.push(format!("{piece}: {}", client.receive_rest().unwrap().escape_ascii()));
    }
    said
}

#[test]
fn who_has_a_password_to_say_is_told_what_redis_says() {
    let plain = Standalone::launch(&["--databases", "1"].map(str::to_owned)).unwrap();
    let set = plain.server().command(&["CONFIG", "SET", "requirepass", PASSWORD]).unwrap();
    assert!(set.is_ok(), "{set:?}");
    let behind = Standalone::launch(&[]).unwrap();
    let (url, secret) = (format!("redis://{}", behind.server().address()), file("secret\n"));
    let unix = sandbox().make_directory().unwrap().join("nearside.sock");
    let daemon = Daemon::start(&[
        "--upstream",
        &url,
        "--unix",
        unix.to_str().unwrap(),
        "--password-file",
        secret.path().to_str().unwrap(),
    ]);
    let expected = talk(&Address::Tcp(plain.server().address()));
    assert!(expected.iter().any(|said| said.contains("unauthenticated multibulk length")));
    for address in [daemon.address().clone(), Address::Unix(unix)] {
        for (expected, said) in expected.iter().zip(talk(&address)) {
            assert_eq!(&said, expected, "{address}");
        }
    }
}

#[test]
fn the_password_is_shown_to_nobody() {
    let behind = Standalone::launch(&[]).unwrap();
    let url = format!("redis://{}", behind.server().address());
    let secret = file(PASSWORD);
    let daemon = Daemon::start(&["--upstream", &url, "--password-file", secret.path().to_str().unwrap()]);
    let mut client = daemon.client();
    assert!(client.command(&["AUTH", PASSWORD]).unwrap().is_ok());
    let all = client.command(&["CONFIG", "GET", "*"]).unwrap();
    let all: Vec<String> = all.items().iter().map(|item| item.text()).collect();
    let at = all.iter().position(|name| name == "requirepass").unwrap();
    assert_eq!(all[at + 1], "(redacted)");
    assert!(!all.iter().any(|text| text == PASSWORD), "{all:?}");
    let mut other = daemon.client();
    let refused = other.command(&["AUTH", "wrong"]).unwrap().text();
    assert!(refused.starts_with("WRONGPASS"), "{refused}");
}

#[test]
fn without_a_password_in_the_file_there_is_no_start() {
    let empty = file("\n");
    let empty = empty.path().to_str().unwrap();
    for (path, why) in [(empty, "the file is empty"), ("/nowhere/password", "cannot read the file")] {
        let ended = run_to_end(&["--upstream", "redis://127.0.0.1:1", "--password-file", path]);
        assert!(!ended.status.success());
        assert!(ended.stderr.contains("password_file") && ended.stderr.contains(why), "{}", ended.stderr);
    }
}

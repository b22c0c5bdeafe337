//! The arguments of a command that are passwords, so that they are never shown.

use super::Spec;
use crate::protocol::resp::request::Request;

impl Spec {
    /// The places of the arguments that MONITOR and SLOWLOG do not show.
    pub fn secrets(&self, request: &Request<'_>) -> Vec<usize> {
        match self.name {
            "auth" => (1..request.len()).collect(),
            "hello" => after(request, 2, b"auth", 2),
            "migrate" => [after(request, 6, b"auth", 1), after(request, 6, b"auth2", 2)].concat(),
            "config|set" => (2..request.len())
                .step_by(2)
                .filter(|at| SECRET_PARAMETERS.iter().any(|name| request.arg(*at).eq_ignore_ascii_case(name)))
                .map(|at| at + 1)
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The parameters of CONFIG SET whose values are secrets.
const SECRET_PARAMETERS: [&[u8]; 7] = [
    b"requirepass",
    b"masterauth",
    b"masteruser",
    b"primaryauth",
    b"primaryuser",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
];

/// The places of the `count` arguments that follow `option`, which is looked for from place `from` on.
fn after(request: &Request<'_>, from: usize, option: &[u8], count: usize) -> Vec<usize> {
    let found =
        request.args().enumerate().skip(from).find(|(_, argument)| argument.eq_ignore_ascii_case(option));
    found.map_or_else(Vec::new, |(at, _)| (at + 1..(at + 1 + count).min(request.len())).collect())
}

#[cfg(test)]
mod tests {
    use crate::protocol::command::recognise;
    use crate::protocol::resp::request::OwnedRequest;

    #[test]
    fn passwords_are_found_wherever_redis_takes_them() {
        let cases: [(&str, &[usize]); 7] = [
            ("CONFIG SET timeout 1 RequirePass secret", &[5]),
            ("AUTH secret", &[1]),
            ("AUTH user secret", &[1, 2]),
            ("HELLO 3 SETNAME auth AUTH user secret", &[4, 5]),
            ("HELLO 3 AUTH user secret", &[3, 4]),
            ("MIGRATE h 1 k 0 1 COPY AUTH2 user secret", &[8, 9]),
            ("GET auth", &[]),
        ];
        for (request, expected) in cases {
            let owned = OwnedRequest::from_args(request.split(' '));
            let request = owned.as_request();
            let found = recognise(&request).unwrap().secrets(&request);
            assert!(expected.iter().all(|place| found.contains(place)), "{request:?}: {found:?}");
        }
    }
}

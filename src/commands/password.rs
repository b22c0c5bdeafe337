//! The password of the daemon's own clients.

use subtle::ConstantTimeEq;

use crate::config::Secret;

/// What is remembered of the password: its SHA-256, which is what ACL LIST shows of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Password([u8; 32]);

/// The password that clients need now.
#[derive(Clone, Debug)]
pub(super) struct CurrentPassword {
    pub(super) password: Password,
    /// What CONFIG GET shows; a password that was read from a file stays where it was read.
    pub(super) shown: Option<Secret>,
}

// === impl Password ===

impl Password {
    /// Remembers `password`.
    pub fn new(password: &[u8]) -> Password {
        Password(hmac_sha256::Hash::hash(password))
    }

    /// Whether `text` is the password. The time that it takes depends on neither.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        hmac_sha256::Hash::hash(text).ct_eq(&self.0).into()
    }

    /// The SHA-256 in hexadecimal digits.
    pub(super) fn digest(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Password;

    #[test]
    fn only_the_password_is_the_password() {
        let password = Password::new(b"secret");
        assert!(password.is(b"secret"));
        for wrong in [&b""[..], b"secre", b"secret\n", b"Secret", b"secret\0"] {
            assert!(!password.is(wrong), "{wrong:?}");
        }
        let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(password.digest(), digest, "as ACL LIST of Redis has it");
    }
}

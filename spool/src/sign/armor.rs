//! A signature as ssh-keygen(1) writes it (OpenSSH, PROTOCOL.sshsig), in one form only: of what is signed not one byte
//! can change unnoticed, and of the signature neither.

use crate::error::{Error, Kind, Result};
use crate::worker::PublicKey;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Serialize;
use sha2::Digest;
use std::fmt;

/// No signature is longer, in bytes.
pub const LONGEST: usize = 16 << 10;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

/// The columns of a line.
const COLUMNS: usize = 70;

/// A public key in short, as ssh(1) shows it: `SHA256:` and base64.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fingerprint(String);

impl Fingerprint {
    fn of_blob(blob: &[u8]) -> Fingerprint {
        Fingerprint(format!("SHA256:{}", STANDARD_NO_PAD.encode(sha2::Sha256::digest(blob))))
    }

    /// That of a key; nothing when its second word can't be read.
    pub fn of(key: &PublicKey) -> Option<Fingerprint> {
        let text = key.to_string();
        let blob = STANDARD.decode(text.split(' ').nth(1)?).ok()?;
        Some(Fingerprint::of_blob(&blob))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A signature whose form is right. Whether it fits anything only ssh-keygen(1) knows.
#[derive(Clone, Debug)]
pub struct Signature {
    text: String,
    key: Fingerprint,
    namespace: String,
}

impl Signature {
    /// Reads one.
    ///
    /// # Errors
    /// [`Kind::Data`] for anything but what ssh-keygen(1) writes, byte for byte.
    pub fn parse(bytes: &[u8]) -> Result<Signature> {
        let wrong = |why: &str| Error::new(Kind::Data, format!("this is no signature of ssh-keygen: {why}"));
        if bytes.len() > LONGEST {
            return Err(wrong("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let within = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_prefix('\n'));
        let within = within.and_then(|rest| rest.strip_suffix('\n')?.strip_suffix(END)?.strip_suffix('\n'));
        let lines: Vec<&str> = within.ok_or_else(|| wrong("its first or last line"))?.split('\n').collect();
        let (last, full) = lines.split_last().ok_or_else(|| wrong("it is empty"))?;
        if full.iter().any(|line| line.len() != COLUMNS) || last.is_empty() || last.len() > COLUMNS {
            return Err(wrong("its lines"));
        }
        let blob = STANDARD.decode(lines.concat()).map_err(|_| wrong("it is not base64"))?;
        let (key, namespace) = taken_apart(&blob).ok_or_else(|| wrong("its parts"))?;
        Ok(Signature { text: text.to_owned(), key, namespace })
    }

    /// Whose it says that it is.
    pub fn key(&self) -> &Fingerprint {
        &self.key
    }

    /// What it says that it is for.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The file.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The key and the namespace of a blob with all its parts and nothing behind them.
fn taken_apart(blob: &[u8]) -> Option<(Fingerprint, String)> {
    let mut rest = blob.strip_prefix(b"SSHSIG")?.strip_prefix(&1u32.to_be_bytes())?;
    let mut next = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (part, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = behind;
        Some(part)
    };
    let (key, namespace) = (next()?, next()?);
    let (_reserved, _hash, _signature) = (next()?, next()?, next()?);
    let namespace = std::str::from_utf8(namespace).ok().filter(|text| !text.contains(char::is_control))?;
    rest.is_empty().then(|| (Fingerprint::of_blob(key), namespace.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg2KDb2HtNArWh/QkBfxLB2GgJ12
Wvmx32k40SFz0r9pwAAAAMc2VhbEBidWlsZGVyAAAAAAAAAAZzaGE1MTIAAABTAAAAC3Nz
aC1lZDI1NTE5AAAAQHKSMnPCJt/opvjTzYlq4qAyJst+35y4LFqlJdoCgoujG5nVP0Lr01
GsmhEddVAo6Vip4BINoHdjs4+7W4xDHg8=
-----END SSH SIGNATURE-----
";

    #[test]
    fn a_signature_says_whose_it_is() {
        let one = Signature::parse(ONE.as_bytes()).unwrap();
        assert_eq!(one.key().to_string(), "SHA256:iuFPu821sSQFsvtDYycpkE6PkLq7Wk1RmKU8/6eAXNo");
        assert_eq!(one.namespace(), "seal@builder");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINig29h7TQK1of0JAX8SwdhoCddlr5sd9pONEhc9K/ac".parse().unwrap();
        assert_eq!(Fingerprint::of(&key).as_ref(), Some(one.key()));
    }

    #[test]
    fn it_has_one_form_only() {
        let long = format!("{}{ONE}", " ".repeat(LONGEST));
        for other in [
            ONE.replace("77W4xDHg8=", "7W4xDHg8=="),
            ONE.replace("Dg8=", "Dg9="),
            ONE.replace("12\nWv", "12\x0bWv"),
            ONE.replace("12\nWv", "12Wv"),
            ONE.replace("12\n", "12\n\n"),
            ONE.trim_end().to_owned(),
            format!("{ONE}\n"),
            ONE.replace('\n', "\r\n"),
            ONE.replace("U1NI", "U1NJ"),
            ONE.replace("\nGsmhEddVAo6Vip4BINoHdjs4+7W4xDHg8=", ""),
            long,
            String::new(),
        ] {
            if other != ONE {
                assert!(Signature::parse(other.as_bytes()).is_err(), "{other}");
            }
        }
    }
}

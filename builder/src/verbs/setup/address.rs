//! Where a server is.

use spool::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// `ssh://USER@HOST:PORT`, the user and the port being optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As whom to log in.
    pub user: Option<String>,
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// Where sshd listens, when that is not 22.
    pub port: Option<u16>,
}

impl Address {
    /// As known_hosts has it (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
    pub fn known_as(&self) -> String {
        match self.port {
            Some(port) if port != 22 => format!("[{}]:{port}", self.host),
            _ => self.host.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        self.user.iter().try_for_each(|user| write!(f, "{user}@"))?;
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address> {
        let wrong = || {
            let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
            Error::new(Kind::Usage, format!("`{shown}` is no server"))
                .hint("write ssh://USER@HOST or ssh://USER@HOST:PORT")
        };
        let rest = text.strip_prefix("ssh://").ok_or_else(wrong)?;
        let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some(""))),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
                None => (rest, Some("")),
            },
        };
        let port = match port.ok_or_else(wrong)? {
            "" => None,
            port => Some(port.parse().map_err(|_| wrong())?),
        };
        let is_word = |word: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
            !word.is_empty() && !word.starts_with('-') && word.chars().all(plain)
        };
        if !is_word(host) || !user.is_none_or(is_word) {
            return Err(wrong());
        }
        Ok(Address { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_the_same() {
        for text in ["ssh://builder@farm.example:2222", "ssh://farm", "ssh://b@10.0.0.1", "ssh://b@[fe80::1]:22"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let known = |text: &str| text.parse::<Address>().unwrap().known_as();
        assert_eq!(known("ssh://b@farm"), "farm");
        assert_eq!(known("ssh://b@farm:22"), "farm");
        assert_eq!(known("ssh://b@[::1]:2222"), "[::1]:2222");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "farm",
            "builder@farm",
            "ssh://",
            "ssh://@farm",
            "ssh://b@",
            "ssh://b@farm:",
            "ssh://b@farm:x",
            "ssh://b@farm:70000",
            "ssh://b@-oProxyCommand=x",
            "ssh://-l@farm",
            "ssh://b@fa rm",
            "ssh://b@farm/x",
            "ssh://b@[::1",
            "ssh://b@[::1]x",
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err().kind(), Kind::Usage, "{text}");
        }
    }
}

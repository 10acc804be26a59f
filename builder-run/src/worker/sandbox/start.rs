//! The program that a sandbox executes: a script for sh(1), since any system has that.

use spool::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Its text: these words, in this directory, with these variables and no others.
pub fn text(
    words: &[PathBuf],
    directory: &Path,
    environment: &BTreeMap<String, String>,
    umask: u32,
) -> Result<Vec<u8>> {
    let mut text = format!("#!/bin/sh\numask {umask:04o}\ncd ").into_bytes();
    text.extend(quoted(directory.as_os_str().as_bytes())?);
    text.extend(b" || exit 126\nexec env -i");
    for (name, value) in environment {
        text.extend(b" \\\n    ");
        text.extend(quoted(format!("{name}={value}").as_bytes())?);
    }
    for word in words {
        text.extend(b" \\\n    ");
        text.extend(quoted(word.as_os_str().as_bytes())?);
    }
    text.push(b'\n');
    Ok(text)
}

/// A word between single quotes.
fn quoted(word: &[u8]) -> Result<Vec<u8>> {
    if word.contains(&0) {
        let shown = OsString::from_vec(word.to_vec());
        return Err(Error::new(Kind::Data, format!("{} contains a NUL byte", shown.display())));
    }
    let mut quoted = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'\'');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn every_value_arrives_as_it_is() {
        let environment = BTreeMap::from([
            ("A".to_owned(), "it's $HOME `x` \\ \"y\"\tz".to_owned()),
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
        ]);
        let words: Vec<PathBuf> = ["/bin/sh", "-c", "umask; pwd; printf '%s' \"$A\""].map(PathBuf::from).to_vec();
        let text = text(&words, Path::new("/usr/lib"), &environment, 0o002).unwrap();
        let output = Command::new("/bin/sh").arg("-c").arg(OsString::from_vec(text)).env("B", "x").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("0002\n/usr/lib\n{}", environment["A"]));
    }
}

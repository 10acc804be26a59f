//! Roles: what people may do who don't own the spool.

use crate::error::{Error, Kind, Result};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// What somebody may do; each role may all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See everything and change nothing.
    Read,
    /// Add jobs, and queue and end builds.
    Submit,
    /// Whatever the owner may, but nothing to the server's own files.
    Admin,
}

impl Role {
    /// The role as it stands in builder.toml and in authorized_keys.
    pub fn word(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Submit => "submit",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Role> {
        [Role::Read, Role::Submit, Role::Admin].into_iter().find(|role| role.word() == text).ok_or_else(|| {
            let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
            Error::new(Kind::Usage, format!("there is no role `{shown}`")).hint("use read, submit or admin")
        })
    }
}

/// `[roles]` of builder.toml: users by name, groups as `@name`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roles {
    /// Who may read.
    pub read: Vec<String>,
    /// Who may submit, too.
    pub submit: Vec<String>,
    /// Who may do everything.
    pub admin: Vec<String>,
}

impl Roles {
    /// The highest role that a user has, by name or by a group.
    pub fn of(&self, user: &str, groups: &[String]) -> Option<Role> {
        let named = |list: &[String]| {
            list.iter().any(|entry| match entry.strip_prefix('@') {
                Some(group) => groups.iter().any(|one| one == group),
                None => entry == user,
            })
        };
        let highest_first = [(Role::Admin, &self.admin), (Role::Submit, &self.submit), (Role::Read, &self.read)];
        highest_first.into_iter().find(|(_, list)| named(list)).map(|(role, _)| role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_role_counts_and_a_group_is_no_user() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let roles = Roles { read: list(&["ann", "@staff"]), submit: list(&["ann"]), admin: list(&["@wheel"]) };
        assert_eq!(roles.of("ann", &[]), Some(Role::Submit));
        assert_eq!(roles.of("bob", &list(&["staff"])), Some(Role::Read));
        assert_eq!(roles.of("ann", &list(&["staff", "wheel"])), Some(Role::Admin));
        assert_eq!(roles.of("wheel", &list(&["ann"])), None);
        assert_eq!(roles.of("@staff", &[]), None);
    }

    #[test]
    fn a_role_reads_as_it_is_written() {
        for role in [Role::Read, Role::Submit, Role::Admin] {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        assert!("root".parse::<Role>().is_err());
    }
}

//! Whom sshd lets in at all: `AllowUsers` and `DenyUsers`, and the same of groups; sshd_config(5).

use super::{Finding, Sshd};
use nix::unistd::{Group, User, getgrouplist};
use std::ffi::CString;

/// What keeps this user out, if anything does. Which hosts are let in can't be told here.
pub fn keeps_out(sshd: &Sshd, owner: &User) -> Option<Finding> {
    by(sshd, "Users", owner, std::slice::from_ref(&owner.name)).or_else(|| by(sshd, "Groups", owner, &groups(owner)))
}

fn by(sshd: &Sshd, kind: &str, owner: &User, names: &[String]) -> Option<Finding> {
    let (deny, allow) = (format!("Deny{kind}"), format!("Allow{kind}"));
    let (denied, allowed) = (deny.to_lowercase(), allow.to_lowercase());
    let is_one = |pattern: &str| names.iter().any(|name| is_like(pattern.as_bytes(), name.as_bytes()));
    if let Some(pattern) = sshd.all(&denied).find(|pattern| is_one(pattern)) {
        return Some(Finding::mend(
            format!("sshd keeps {} out", owner.name),
            format!("take `{deny} {pattern}` out of its settings"),
        ));
    }
    let mut allowed = sshd.all(&allowed).map(|pattern| pattern.split('@').next().unwrap_or_default()).peekable();
    if allowed.peek().is_none() || allowed.any(is_one) {
        return None;
    }
    Some(Finding::mend(
        format!("sshd lets others in by {allow}, and not {}", owner.name),
        format!("its settings need `{allow} {}`", names.first().unwrap_or(&owner.name)),
    ))
}

/// The names of a user's groups, the primary one first.
fn groups(owner: &User) -> Vec<String> {
    let Ok(name) = CString::new(owner.name.as_str()) else { return Vec::new() };
    let groups = getgrouplist(&name, owner.gid).unwrap_or_default();
    groups.into_iter().filter_map(|group| Group::from_gid(group).ok().flatten()).map(|group| group.name).collect()
}

/// Whether a name is as a pattern says, in which `*` is any text and `?` any character; ssh_config(5), PATTERNS.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| is_like(rest, &name[at..])),
        ([b'?', rest @ ..], [_, others @ ..]) => is_like(rest, others),
        ([one, rest @ ..], [other, others @ ..]) => one == other && is_like(rest, others),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_as_its_pattern_says() {
        let is = |pattern: &str| is_like(pattern.as_bytes(), b"builder");
        assert!(["builder", "*", "build*", "*er", "b?ild?r", "*u*d*"].iter().all(|pattern| is(pattern)));
        assert!(!["", "build", "builder?", "*x", "Builder", "builder@10.*"].iter().any(|pattern| is(pattern)));
    }
}

//! SSH_ORIGINAL_COMMAND, as the forced commands of workers and of people understand it.

use crate::is_a_line;
use builder::gate::{Judged, judge};
use builder_run::serve::asked;
use spool::error::Kind;
use spool::role::Role;

/// A command is understood, or refused in a line. What one role may, the next one may, too, and it means the same; and it
/// means the same when `builder --host` sends it.
pub fn command(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(e) = asked(Some(&text)) {
        is_a_line(&e);
        assert_eq!(e.kind(), Kind::NoPermission);
    }
    let mut before = None;
    for role in [Role::Read, Role::Submit, Role::Admin] {
        let meaning = meaning(role, &text);
        assert!(before.is_none() || before == meaning, "{role} may less than the one before: {before:?}");
        before = meaning;
    }
}

/// What a role makes a verb of; nothing when it does not.
fn meaning(role: Role, text: &str) -> Option<String> {
    let allowed = match judge(role, None, text) {
        Ok(Judged::Allowed(allowed)) => allowed,
        Ok(Judged::Unread(unread)) => {
            if let Some(wrong) = unread.wrong() {
                is_a_line(wrong);
            }
            return None;
        }
        Err(e) => {
            is_a_line(&e);
            assert!([Kind::NoPermission, Kind::Usage].contains(&e.kind()), "{e}");
            return None;
        }
    };
    let sent = allowed.command().expect("what came can be sent");
    match judge(role, None, &sent) {
        Ok(Judged::Allowed(again)) => assert_eq!(again.meaning(), allowed.meaning(), "{sent:?}"),
        other => panic!("{sent:?} is {other:?}"),
    }
    Some(allowed.meaning())
}

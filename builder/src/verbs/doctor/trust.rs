//! What builderd and the servers of workers would refuse at the moment when it is needed: secrets that others can read, hooks that
//! others can change.

use super::Finding;
use spool::config::Config;
use spool::error::Result;
use spool::{Spool, hook, secret};

/// Nothing where there is nothing, or where this user may not look.
pub fn findings(spool: &Spool, config: &Config) -> Result<Vec<Finding>> {
    let (owner, _) = spool.owner()?;
    let mut findings: Vec<Finding> = secret::faults(&config.secrets, owner).iter().map(Finding::failed).collect();
    for path in hook::all(&config.hooks)?.iter().filter(|path| !hook::is_trusted(path, owner)) {
        let path = path.display();
        findings.push(Finding::mend(
            format!("builderd leaves out the hook {path}: others than its owner can change it"),
            format!("say `chown root {path}` and `chmod go-w {path}`"),
        ));
    }
    Ok(findings)
}

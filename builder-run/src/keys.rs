//! `builder-run authorized-keys`: what sshd asks when a key knocks (sshd_config(5), AuthorizedKeysCommand).

use crate::args::AuthorizedKeysArgs;
use spool::Spool;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use spool::worker::{PublicKey, Worker, authorized_key};

/// Prints the line of the worker with this key, or of all workers when none is given.
pub fn run(args: &AuthorizedKeysArgs, config: &Config) -> Result<()> {
    let wanted: Option<PublicKey> = match args.key.as_slice() {
        [] => None,
        [kind, data] => Some(format!("{kind} {data}").parse()?),
        _ => {
            return Err(Error::new(Kind::Usage, "give a key as two words, its type and its base64")
                .hint("in sshd_config: %t %k"));
        }
    };
    let spool = Spool::open(&args.spool.spool(config)?)?;
    let run = config.forced_command();
    let root = spool.layout().named().display().to_string();
    for (name, worker) in spool.workers()? {
        if let Ok(Worker { key: Some(key), .. }) = worker
            && wanted.as_ref().is_none_or(|wanted| *wanted == key)
        {
            println!("{}", authorized_key(&name, &key, &run, &root)?);
        }
    }
    Ok(())
}

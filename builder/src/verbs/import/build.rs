//! A build comes in.

use super::Import;
use crate::out;
use crate::robur::full::Full;
use spool::build_id::BuildId;
use spool::error::Result;
use spool::import::Facts;
use std::io::Read;

/// Seconds that robur's builder gives a build.
const TIMEOUT: u64 = 3600;

impl Import<'_> {
    /// Takes a build, or says that it is there.
    pub(super) fn build(&self, from: impl Read, size: u64) -> Result<()> {
        let mut full = Full::read(from, size)?;
        let head = &full.head;
        let id = BuildId::of_import(head.started, &head.job.name, &head.job.platform, head.uuid);
        if self.spool.imported(&id, head.uuid)?.is_some() {
            if !self.dry_run {
                // Who brought it may have died before.
                self.spool.relink(&id)?;
            }
            return out::print(&format!("{id} was there already\n"));
        }
        if self.dry_run {
            while full.artifact()?.is_some() {}
            return out::print(&format!("would import {id}\n"));
        }
        let mut import = self.spool.begin_import(&id, head.uuid)?;
        import.console(head.console.lines())?;
        let mut buffer = vec![0; 128 << 10];
        while let Some(path) = full.artifact()? {
            let mut artifact = import.artifact(path)?;
            loop {
                match full.piece(&mut buffer)? {
                    0 => break,
                    got => artifact.write(&buffer[..got])?,
                }
            }
            artifact.end();
        }
        let head = full.head;
        let facts = Facts {
            skipped: head
                .job
                .files
                .iter()
                .map(|path| format!("{}: laid beside the script", path.escape_debug()))
                .collect(),
            script: head.job.script,
            started: head.started,
            finished: head.finished,
            outcome: head.outcome,
            timeout_seconds: TIMEOUT,
        };
        let came = import.finish(&facts)?;
        self.spool.relink(&id)?;
        match came {
            Some(_) => out::print(&format!("imported {id}\n")),
            None => out::print(&format!("{id} was there already\n")),
        }
    }
}

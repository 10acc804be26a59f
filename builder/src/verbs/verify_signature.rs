//! `builder verify-signature`: who vouches for a build, and whether it is what they vouched for.
//!
//! What it writes lies outside the spool, where the calls that the spool library reserves are everybody's.
//!
//! SECURITY. Whoever can write into a spool can write its keys, too: an auditor brings the server's key from elsewhere, with
//! `--signers`. Everything that ssh-keygen(1) is given is bounded.
#![allow(clippy::disallowed_methods)]

use crate::args::VerifySignatureArgs;
use crate::{out, text, words};
use spool::Spool;
use spool::error::{At, Error, Kind, Result};
use spool::place::Place;
use spool::sign::{Standing, Verdict};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// No file of keys is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// Says it, a line each. Exits 0 when all is good, else 1.
pub fn run(spool: &Spool, args: &VerifySignatureArgs) -> Result<ExitCode> {
    let build = spool.resolve(&args.build)?;
    let Place::Ended(_) = build.place else {
        return Err(Error::new(Kind::TryAgain, format!("{} is not over, and nobody signs it before that", build.id))
            .hint(format!("`builder watch {}` waits for it", build.id)));
    };
    let verdict = match &args.signers {
        None => build.verify(&spool.layout().signers(), false)?,
        Some(named) => build.verify(&Brought::from(named)?.0, true)?,
    };
    match args.json {
        true => out::json(&verdict)?,
        false => out::print(&lines(&verdict))?,
    }
    Ok(if is_good(&verdict, args.unsigned) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn is_good(verdict: &Verdict, may_be_unsigned: bool) -> bool {
    let unsigned = may_be_unsigned && verdict.statement == Standing::Absent;
    verdict.seal.is_good() && verdict.differs.is_empty() && (unsigned || verdict.statement.is_good())
}

fn lines(verdict: &Verdict) -> String {
    let worker = verdict.worker.as_ref().map_or("its worker".to_owned(), |worker| format!("worker {worker}"));
    let mut rows = vec![
        vec!["statement".to_owned(), said(&verdict.statement, &worker)],
        vec!["seal".to_owned(), said(&verdict.seal, "the server")],
    ];
    if verdict.seal.is_good() && verdict.differs.is_empty() {
        let (files, artifacts) = (text::count(verdict.files, "file"), text::count(verdict.artifacts, "artifact"));
        rows.push(vec!["contents".to_owned(), format!("{files} and {artifacts} are as the seal says")]);
    }
    let differs = verdict.differs.iter().map(|line| vec!["contents".to_owned(), text::tame(line)]);
    rows.extend(differs);
    text::table(&rows)
}

fn said(standing: &Standing, who: &str) -> String {
    match standing {
        Standing::Good { key } => format!("signed by {who} with {key}"),
        Standing::Bad { why } => format!("NOT GOOD: {why}"),
        Standing::Absent => format!("not signed by {who}"),
    }
}

/// Keys that the caller has brought, where ssh-keygen(1) finds them; the file goes with this.
struct Brought(PathBuf);

impl Brought {
    fn from(named: &Path) -> Result<Brought> {
        let mut bytes = Vec::new();
        let read = match named == Path::new("-") {
            true => std::io::stdin().take(LONGEST + 1).read_to_end(&mut bytes),
            false => words::open(named)?.take(LONGEST + 1).read_to_end(&mut bytes),
        };
        read.at("read", named)?;
        if bytes.len() as u64 > LONGEST {
            return Err(Error::new(Kind::Data, format!("{} is longer than {LONGEST} bytes", named.display())));
        }
        let path = std::env::temp_dir().join(format!("builder-signers.{}", std::process::id()));
        // A call of the same number that was killed may have left one.
        let _ = std::fs::remove_file(&path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).at("create", &path)?;
        let brought = Brought(path);
        file.write_all(&bytes).at("write", &brought.0)?;
        Ok(brought)
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

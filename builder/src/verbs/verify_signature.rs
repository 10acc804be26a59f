//! `builder verify-signature`: who vouches for a build, and whether it is what they vouched for.
//!
//! SECURITY. Whoever can write into a spool can write its keys, too: an auditor brings the server's key from elsewhere, with
//! `--signers`. Everything that ssh-keygen(1) is given is bounded.

use crate::args::VerifySignatureArgs;
use crate::{out, text, words};
use spool::Spool;
use spool::error::{At, Error, Kind, Result};
use spool::place::Place;
use spool::sign::{Standing, Vouching};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use tempfile::NamedTempFile;

/// No file of keys is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// Says it, a line each. Exits 0 when all is good, else 1.
pub fn run(spool: &Spool, args: &VerifySignatureArgs) -> Result<ExitCode> {
    let build = spool.resolve(&args.build)?;
    let Place::Ended(_) = build.place else {
        return Err(Error::new(Kind::TryAgain, format!("{} is not over, and nobody signs it before that", build.id))
            .hint(format!("`builder watch {}` waits for it", build.id)));
    };
    let vouching = match &args.signers {
        None => build.check_signatures(&spool.layout().signers(), false)?,
        Some(named) => build.check_signatures(brought(named)?.path(), true)?,
    };
    match args.json {
        true => out::json(&vouching)?,
        false => out::print(&lines(&vouching))?,
    }
    Ok(if is_good(&vouching, args.unsigned) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn is_good(vouching: &Vouching, may_be_unsigned: bool) -> bool {
    let unsigned = may_be_unsigned && vouching.statement == Standing::Absent;
    vouching.seal.is_good() && vouching.differs.is_empty() && (unsigned || vouching.statement.is_good())
}

fn lines(vouching: &Vouching) -> String {
    let worker = vouching.worker.as_ref().map_or("its worker".to_owned(), |worker| format!("worker {worker}"));
    let mut rows = vec![
        vec!["statement".to_owned(), said(&vouching.statement, &worker)],
        vec!["seal".to_owned(), said(&vouching.seal, "the server")],
    ];
    if vouching.seal.is_good() && vouching.differs.is_empty() {
        let (files, artifacts) = (text::count(vouching.files, "file"), text::count(vouching.artifacts, "artifact"));
        rows.push(vec!["contents".to_owned(), format!("{files} and {artifacts} are as the seal says")]);
    }
    let differs = vouching.differs.iter().map(|line| vec!["contents".to_owned(), text::tame(line)]);
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
fn brought(named: &Path) -> Result<NamedTempFile> {
    let mut bytes = Vec::new();
    let read = match named == Path::new("-") {
        true => std::io::stdin().take(LONGEST + 1).read_to_end(&mut bytes),
        false => words::open(named)?.take(LONGEST + 1).read_to_end(&mut bytes),
    };
    read.at("read", named)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::new(Kind::Data, format!("{} is longer than {LONGEST} bytes", named.display())));
    }
    let mut file = tempfile::Builder::new().prefix("builder-signers.").tempfile().at("create", "a temporary file")?;
    file.write_all(&bytes).at("write", file.path())?;
    Ok(file)
}

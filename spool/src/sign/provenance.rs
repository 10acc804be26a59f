//! What was made of what, for programs that know nothing of builder: an in-toto statement (version 1) with the predicate
//! of SLSA provenance (version 1) in a DSSE envelope, signed by the server.
//!
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>, <https://slsa.dev/spec/v1.0/provenance>,
//! <https://github.com/secure-systems-lab/dsse/blob/master/envelope.md>. DSSE leaves open what a signature is: here it is
//! that of ssh-keygen(1), armor and all.

use super::list::{self, Seal};
use super::server::ServerKey;
use super::verify::{Standing, seal_standing};
use super::{PROVENANCE, keygen};
use crate::digest::Sha256;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::find::Build;
use crate::inputs::Sides;
use crate::job::Ended;
use crate::layout::file;
use crate::manifest::Manifest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What the payload is.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// How builder builds: `SIGNATURES.md` says what stands in the parameters.
const BUILD_TYPE: &str = "urn:x-builder:build:1";

/// What the server is called, before the fingerprint of its key.
const SERVER_ID: &str = "urn:x-builder:server:";

/// No envelope is longer, in bytes.
const LONGEST: u64 = 256 << 20;

/// The signed envelope of a build; `seal` has the digests of its files.
///
/// # Errors
/// When ssh-keygen(1) can't sign.
pub fn provenance(ended: &Ended, manifest: &Manifest, seal: &Seal, key: &ServerKey) -> Result<Vec<u8>> {
    let statement = statement(ended, manifest, seal, key);
    let payload = bytes(&statement)?;
    let signature = keygen::sign(&key.file, PROVENANCE, &to_be_signed(&payload))?;
    let mut envelope = bytes(&json!({
        "payloadType": PAYLOAD_TYPE,
        "payload": STANDARD.encode(payload),
        "signatures": [{"keyid": key.fingerprint, "sig": STANDARD.encode(signature.as_str())}],
    }))?;
    envelope.push(b'\n');
    Ok(envelope)
}

impl Build<'_> {
    /// The signed envelope with the build's provenance, once it is known to be what the server has sealed.
    ///
    /// # Errors
    /// [`Kind::NoInput`] when there is none, [`Kind::Data`] when it is another one.
    pub fn provenance(&self) -> Result<String> {
        let (dir, signers) = (self.dir(), self.spool().layout().signers());
        let none = || {
            Error::new(Kind::NoInput, format!("{} has no provenance", self.id))
                .hint("a build has one when something came out of it and builderd has sealed it")
        };
        let wrong = |why: &str| {
            Error::new(Kind::Data, format!("the provenance of {} is not to be trusted: {why}", self.id))
                .hint(format!("`builder verify-signature {}` says more", self.id))
        };
        let envelope = disk::read_if_there(&dir.join(file::PROVENANCE), LONGEST)?.ok_or_else(none)?;
        let seal = disk::read_if_there(&dir.join(file::SEAL), list::LONGEST)?.ok_or_else(none)?;
        if Seal::parse(&seal)?.get(file::PROVENANCE) != Some(Sha256::of(&envelope)) {
            return Err(wrong("it is not what was sealed"));
        }
        match seal_standing(&signers, &dir, &seal)? {
            Standing::Good { .. } => String::from_utf8(envelope).map_err(|_| wrong("it is not UTF-8")),
            Standing::Bad { why } => Err(wrong(&format!("of the seal's signature, {why}"))),
            Standing::Absent => Err(wrong("the seal's signature is gone")),
        }
    }
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(Kind::Internal, format!("a provenance can't be written: {e}")))
}

/// DSSE's pre-authentication encoding (protocol.md, "PAE").
fn to_be_signed(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn statement(ended: &Ended, manifest: &Manifest, seal: &Seal, key: &ServerKey) -> Value {
    let (request, result) = (&ended.request, &ended.result);
    let sides = Sides::as_noted(manifest, &result.inputs);
    let listed = |names: &[&str]| -> Vec<Value> {
        names.iter().filter_map(|name| Some(resource(name, &seal.get(name)?))).collect()
    };
    let mut dependencies = listed(&[file::SCRIPT, file::ENVIRONMENT, file::PACKAGES]);
    let inputs = sides.inputs.iter();
    dependencies.extend(inputs.map(|(path, digest)| resource(&format!("{}/{path}", file::ARTIFACTS), digest)));
    let subject: Vec<Value> = sides.output.iter().map(|(path, digest)| resource(path.as_str(), digest)).collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "job": ended.id.job(),
                    "platform": ended.id.platform(),
                    "template": request.template,
                    "values": request.values,
                },
                "internalParameters": {
                    "origin": request.origin,
                    "becauseOf": request.because_of,
                    "worker": result.worker,
                    "sourceDateEpoch": request.source_date,
                    "outcome": result.outcome.to_string(),
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": format!("{SERVER_ID}{}", key.fingerprint),
                    "version": {"builder": env!("CARGO_PKG_VERSION")},
                },
                "metadata": {
                    "invocationId": ended.id,
                    "startedOn": result.started,
                    "finishedOn": result.finished,
                },
                "byproducts": listed(&[file::CONSOLE, file::STATEMENT, file::STATEMENT_SIGNATURE]),
            },
        },
    })
}

fn resource(name: &str, digest: &Sha256) -> Value {
    json!({"name": name, "digest": {"sha256": digest}})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of DSSE's protocol.md has another type; the form is the same.
    #[test]
    fn what_is_signed_says_how_long_its_parts_are() {
        assert_eq!(to_be_signed(b"hello world"), b"DSSEv1 28 application/vnd.in-toto+json 11 hello world");
    }
}

//! Who vouches for a build: its worker for what it did, the server for what it recorded. `SIGNATURES.md` has how anybody
//! checks it with ssh-keygen(1) and sha256sum(1).
//!
//! A worker signs the statement of its build with the key that it logs in with. When the build is over, the server seals it:
//! it signs the list of the digests of all files of the build's directory, the worker's signature among them.

pub mod armor;
mod claimed;
pub mod keygen;
mod list;
mod provenance;
mod sealing;
mod server;
pub mod statement;
mod verify;
mod vouched;

pub use claimed::Claimed;
pub use list::{Seal, is_sealed};
pub use provenance::provenance;
pub use sealing::Sealed;
pub use server::ServerKey;
pub(crate) use verify::seal_standing;
pub use verify::{Standing, Vouching};
pub use vouched::Vouched;

/// The namespace of workers' signatures (ssh-keygen(1), `-n`).
pub const STATEMENT: &str = "statement@builder";

/// The namespace of the server's signature of a seal.
pub const SEAL: &str = "seal@builder";

/// The namespace of the server's signature of a provenance.
pub const PROVENANCE: &str = "provenance@builder";

/// Who the server is in files of allowed signers. No worker can have this name.
pub const SERVER: &str = "server@builder";

//! A room for each verb.

pub mod add;
pub mod cancel;
pub mod check;
pub mod diff;
pub mod drain;
pub mod edit;
pub mod find;
pub mod gc;
pub mod get;
pub mod history;
pub mod init;
pub mod latest;
pub mod log;
pub mod ls;
pub mod next;
pub mod pin;
pub mod platform;
pub mod repro;
pub mod rm;
pub mod run;
pub mod set;
pub mod show;
pub mod verify;
pub mod verify_signature;
pub mod watch;
pub mod worker;

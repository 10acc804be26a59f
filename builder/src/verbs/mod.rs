//! A room for each verb.

pub mod add;
pub mod cancel;
pub mod get;
pub mod init;
pub mod log;
pub mod ls;
pub mod next;
pub mod rm;
pub mod run;
pub mod show;
pub mod watch;
pub mod worker;

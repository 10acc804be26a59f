//! What worker and server say to each other about one build, whatever else the worker is doing.

use super::ended_by_server;
use super::link::{Event, Link};
use super::process::Process;
use super::system::Inputs;
use crate::protocol::{ToServer, ToWorker};
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::layout::file;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Somebody out of reach who holds the console open holds the build no longer than this.
const CONSOLE_ENDS: Duration = Duration::from_secs(5);

/// A session while a build is carried out.
pub struct Talk<'a> {
    pub link: &'a mut Link,
    pub environment: &'a [u8],
    pub inputs: &'a Inputs,
}

impl Talk<'_> {
    /// Takes the build, and says what goes into it.
    pub fn accept(&self, id: &BuildId) -> Result<()> {
        let mut inputs = BTreeMap::from([(file::ENVIRONMENT.to_owned(), Sha256::of(self.environment))]);
        inputs.extend(self.inputs.packages().map(|(_, digest)| (file::PACKAGES.to_owned(), digest)));
        self.link.say(&ToServer::Accept { id: id.clone(), inputs }, b"")
    }

    /// The next event, at the latest after `wait`. What the server needs is sent on the way.
    ///
    /// # Errors
    /// The server's last words, or why the connection is lost.
    pub fn next(&mut self, wait: Duration) -> Result<Event> {
        let until = Instant::now() + wait;
        loop {
            match self.link.next(until.saturating_duration_since(Instant::now()))? {
                Event::Message(ToWorker::Need { inputs }, _) => {
                    inputs.iter().try_for_each(|name| self.send_input(name))?;
                }
                Event::Message(ToWorker::Error { text, code }, _) => return Err(ended_by_server(&text, code)),
                Event::Closed(why) => return Err(Error::new(Kind::TryAgain, format!("the connection is lost: {why}"))),
                event => return Ok(event),
            }
        }
    }

    fn send_input(&self, name: &str) -> Result<()> {
        let data = match name {
            file::ENVIRONMENT => self.environment,
            file::PACKAGES => self.inputs.packages().map_or(&b""[..], |(list, _)| list),
            _ => return Err(Error::new(Kind::Data, format!("the server needs `{}`", name.escape_default()))),
        };
        self.link.say(&ToServer::Input { name: name.to_owned(), n: data.len() }, data)
    }

    /// Waits for the end of the console of a script that is dead.
    pub fn drain_console(&mut self, process: &Process) -> Result<()> {
        let until = Instant::now() + CONSOLE_ENDS;
        while Instant::now() < until {
            if let Event::ConsoleEnded = self.next(until.saturating_duration_since(Instant::now()))? {
                return Ok(());
            }
        }
        process.hush();
        Ok(())
    }
}

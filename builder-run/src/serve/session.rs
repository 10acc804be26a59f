//! A worker's session: who it is, then builds, one at a time.

use super::building::{self, Served};
use super::link::{Event, Link, out_of_turn};
use crate::protocol::{PROTOCOL, ToServer, ToWorker};
use spool::Spool;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use spool::held::HeldBuild;
use spool::name::{Platform, WorkerName};
use spool::place::Ticket;
use spool::platform::Withheld;
use spool::queue::{Claimed, QueueView};
use spool::wake::{self, Listener};
use spool::{clock, worker};
use std::collections::BTreeMap;
use std::time::Duration;

/// A lost wake-up costs at most this.
const RESCAN: Duration = Duration::from_secs(5);

/// Serves a worker until it goes.
pub fn run(spool: &Spool, config: &Config, name: &WorkerName, local: bool) -> Result<()> {
    let mut link = Link::new(Duration::from_secs(config.grace_seconds.into()))?;
    let served = Server { spool, config, name, local }.serve(&mut link);
    if let Err(error) = &served {
        let _ = link.say(&ToWorker::Error { text: error.to_string(), code: error.exit_code() }, b"");
    }
    served
}

struct Server<'a> {
    spool: &'a Spool,
    config: &'a Config,
    name: &'a WorkerName,
    local: bool,
}

struct Welcome {
    system: BTreeMap<String, String>,
    wishes: Vec<Platform>,
}

impl Server<'_> {
    fn serve(&self, link: &mut Link) -> Result<()> {
        link.say(
            &ToWorker::Hello {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                grace_seconds: self.config.grace_seconds,
            },
            b"",
        )?;
        let Some(welcome) = self.greet(link)? else { return Ok(()) };
        let _session = self.open_session(welcome.system.clone())?;
        let mut listeners = vec![Listener::new(self.spool.layout().wake_worker(self.name))?];
        for platform in self.platforms(&welcome.wishes)? {
            self.spool.know_platform(&platform)?;
            listeners.push(Listener::new(self.spool.layout().wake_queue(&platform))?);
        }
        let mut view = QueueView::default();
        loop {
            match link.next(&listeners[..1], RESCAN)? {
                Event::Message(ToServer::Ready, _) => {}
                Event::Message(other, _) => return Err(out_of_turn(&other, "ready")),
                Event::Look => {
                    listeners[0].drain();
                    continue;
                }
                Event::Gone(_) => return Ok(()),
            }
            let context = building::Context {
                listeners: &listeners[..1],
                name: self.name,
                system: &welcome.system,
                config: self.config,
                spool: self.spool,
                touch_every: Duration::from_secs(self.config.grace_seconds.into()) / 4,
            };
            loop {
                let held = self.wait_for_build(link, &listeners, &mut view, &welcome.wishes)?;
                let Some(held) = held else { return Ok(()) };
                match building::serve(&context, link, held)? {
                    Served::Over => break,
                    Served::Unfit => {}
                    Served::Gone => return Ok(()),
                }
            }
        }
    }

    fn greet(&self, link: &mut Link) -> Result<Option<Welcome>> {
        loop {
            match link.next(&[], RESCAN)? {
                Event::Message(ToServer::Hello { protocol, platforms, system }, _) => {
                    if !(PROTOCOL[0]..=PROTOCOL[1]).contains(&protocol) {
                        let text =
                            format!("protocol {protocol} is not spoken here, only {} to {}", PROTOCOL[0], PROTOCOL[1]);
                        return Err(
                            Error::new(Kind::Data, text).hint("install the same release of builder on both sides")
                        );
                    }
                    return Ok(Some(Welcome { system: bounded(system), wishes: platforms }));
                }
                Event::Message(other, _) => return Err(out_of_turn(&other, "hello")),
                Event::Look => {}
                Event::Gone(_) => return Ok(None),
            }
        }
    }

    fn open_session(&self, system: BTreeMap<String, String>) -> Result<worker::Session> {
        self.spool.open_session(self.name, system)?.ok_or_else(|| {
            Error::new(Kind::TryAgain, format!("worker {} is connected already", self.name))
                .hint("give each worker a key of its own, or wait until the old connection is given up")
        })
    }

    /// What this worker may build and wants to: asked each time, because a sysadmin may have changed it.
    fn platforms(&self, wishes: &[Platform]) -> Result<Vec<Platform>> {
        if self.local {
            return match wishes {
                [] => Err(Error::new(Kind::Usage, "a local worker must say what it builds").hint("give --platform")),
                _ => Ok(wishes.to_vec()),
            };
        }
        let allowed = self.spool.worker(self.name)?.platforms;
        if let Some(other) = wishes.iter().find(|wish| !allowed.contains(wish)) {
            let allowed: Vec<&str> = allowed.iter().map(Platform::as_str).collect();
            return Err(Error::new(Kind::NoPermission, format!("worker {} may not build {other}", self.name))
                .hint(format!("it may build {}", allowed.join(", "))));
        }
        Ok(if wishes.is_empty() { allowed } else { wishes.to_vec() })
    }

    fn wait_for_build(
        &self,
        link: &mut Link,
        listeners: &[Listener],
        view: &mut QueueView,
        wishes: &[Platform],
    ) -> Result<Option<HeldBuild<'_>>> {
        let mut fresh = false;
        loop {
            let platforms = self.platforms(wishes)?;
            fresh |= self.hear(listeners, view, &platforms)?;
            self.refuse_if_dropped(&platforms)?;
            if let Some(held) = self.claim_first(view)? {
                return Ok(Some(held));
            }
            if !fresh {
                self.read_queues(view, &platforms)?;
                fresh = true;
                continue;
            }
            match link.next(listeners, RESCAN)? {
                Event::Message(other, _) => return Err(out_of_turn(&other, "nothing but heartbeats")),
                Event::Look => {}
                Event::Gone(_) => return Ok(None),
            }
        }
    }

    /// Takes in what was told of the queues. True when they were read anew.
    fn hear(&self, listeners: &[Listener], view: &mut QueueView, platforms: &[Platform]) -> Result<bool> {
        let (mut unknown, mut freed) = (false, false);
        for listener in listeners {
            listener.news(|news| match news.parse::<Ticket>() {
                Ok(ticket) if platforms.contains(ticket.id.platform()) => view.add(ticket),
                _ if news == wake::FREED => freed = true,
                _ => unknown = true,
            });
        }
        if freed {
            view.bring_back();
        }
        let anew = unknown || view.old(RESCAN);
        if anew {
            self.read_queues(view, platforms)?;
        }
        Ok(anew)
    }

    /// Reads the queues from which something is handed out: builds of a paused platform would take the others' place.
    fn read_queues(&self, view: &mut QueueView, platforms: &[Platform]) -> Result<()> {
        let open = platforms.iter().filter(|platform| self.spool.withheld(platform).is_none());
        view.refresh(self.spool, &open.cloned().collect::<Vec<_>>())
    }

    /// A worker whose platforms are all dropped is not needed any more.
    fn refuse_if_dropped(&self, platforms: &[Platform]) -> Result<()> {
        let dropped = |platform: &Platform| self.spool.withheld(platform) == Some(Withheld::Dropped);
        if platforms.is_empty() || !platforms.iter().all(dropped) {
            return Ok(());
        }
        let names: Vec<&str> = platforms.iter().map(Platform::as_str).collect();
        Err(Error::new(Kind::NoPermission, format!("platform {} is dropped here", names.join(" ")))
            .hint("this worker is not needed; stop it, or have the platform restored"))
    }

    /// The first build that may be taken now. What may not is set aside.
    fn claim_first(&self, view: &mut QueueView) -> Result<Option<HeldBuild<'_>>> {
        if self.spool.quarantined(self.name, clock::now()).is_some() || self.spool.make_sure_of_room().is_err() {
            return Ok(None);
        }
        while let Some(ticket) = view.pop() {
            if self.spool.withheld(ticket.id.platform()).is_some() {
                view.set_aside(ticket);
                continue;
            }
            match self.spool.claim(&ticket, self.name)? {
                Claimed::Yes(held) => return Ok(Some(held)),
                Claimed::Full => view.set_aside(ticket),
                Claimed::Gone => {}
            }
        }
        Ok(None)
    }
}

/// A worker's own words end up in files and on terminals: few, short, printable.
fn bounded(system: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let tidy = |text: String| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    system.into_iter().take(32).map(|(key, value)| (tidy(key), tidy(value))).collect()
}

//! A worker's session: who it is, then builds, one at a time.

use super::building::{self, Served};
use super::link::{Event, Link, out_of_turn};
use super::streams::Streams;
use super::throttle::Throttle;
use super::words;
use crate::protocol::{PROTOCOL, ToServer, ToWorker};
use spool::Spool;
use spool::build_id::BuildId;
use spool::clock;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use spool::held::HeldBuild;
use spool::name::{Platform, WorkerName};
use spool::place::Ticket;
use spool::platform::Withheld;
use spool::queue::{Claimed, QueueView};
use spool::resume::Resumed;
use spool::session::Session;
use spool::wake::{self, Listener};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often what could not be handed out is looked at again, though nobody has told of it.
const RESCAN: Duration = Duration::from_secs(5);

/// How often a worker that waits has its queues looked at, though nobody has told of them and they were empty. builderd
/// tells of what waits every few seconds, so that a lost wake-up costs as much only while it does not run.
const IDLE: Duration = Duration::from_secs(60);

/// For how long the server of an earlier connection of the same worker may take to leave.
const TAKE_OVER: Duration = Duration::from_secs(2);

/// How long it takes before that is looked at again.
const SOON: Duration = Duration::from_millis(20);

/// Serves a worker until it goes. A `local` worker may build what it says, another one what its file allows.
///
/// # Errors
/// Why the session ended before the worker did; the worker was told.
pub fn run(spool: &Spool, config: &Config, name: &WorkerName, local: bool, streams: Streams) -> Result<()> {
    let patience = Duration::from_secs(config.grace_seconds.into());
    let mut link = Link::new(streams, patience, Throttle::new(config.limits.bytes_per_second));
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

/// What came of listening.
enum Heard {
    /// Another process serves the worker from now on.
    Leave,
    /// The view is up to date with what was told; `anew` when the queues were read for that.
    News { anew: bool },
}

/// What a worker says when it has no build in hand.
enum Wish {
    Build,
    Resume(BuildId, String),
}

struct Welcome {
    instance: String,
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
                time: Some(clock::now()),
            },
            b"",
        )?;
        let Some(welcome) = self.greet(link)? else { return Ok(()) };
        let _session = self.open_session(&welcome)?;
        tracing::info!(worker = %self.name, "came in");
        let mut listeners = vec![Listener::new(self.spool.layout().wake_worker(self.name))?];
        for platform in self.platforms(&welcome.wishes)? {
            self.spool.know_platform(&platform)?;
            listeners.push(Listener::new(self.spool.layout().wake_queue(&platform))?);
        }
        let context = building::Context {
            listeners: &listeners[..1],
            name: self.name,
            system: &welcome.system,
            config: self.config,
            spool: self.spool,
            touch_every: Duration::from_secs(self.config.grace_seconds.into()) / 4,
        };
        let mut view = QueueView::default();
        let mut first = true;
        loop {
            let served = match self.next_wish(link, &listeners[..1])? {
                None => return Ok(()),
                Some(Wish::Resume(id, lease)) if first => self.resume(&context, link, &id, &lease)?,
                Some(Wish::Resume(..)) => return Err(Error::new(Kind::Data, "`resume` comes first or not at all")),
                Some(Wish::Build) => {
                    if first {
                        self.forget_builds();
                    }
                    self.serve_one(&context, link, &listeners, &mut view, &welcome.wishes)?
                }
            };
            first = false;
            if matches!(served, Served::Gone) {
                return Ok(());
            }
        }
    }

    /// What the worker wants, once it has said so. Nothing when it is gone.
    fn next_wish(&self, link: &mut Link, listeners: &[Listener]) -> Result<Option<Wish>> {
        loop {
            match link.next(listeners, RESCAN)? {
                Event::Message(ToServer::Ready, _) => return Ok(Some(Wish::Build)),
                Event::Message(ToServer::Resume { id, lease }, _) => return Ok(Some(Wish::Resume(id, lease))),
                Event::Message(other, _) => return Err(out_of_turn(&other, "ready")),
                Event::Look if told_to_leave(listeners) => return Ok(None),
                Event::Look => {}
                Event::Gone(_) => return Ok(None),
            }
        }
    }

    /// Serves a build that the worker may have, as soon as there is one.
    fn serve_one(
        &self,
        context: &building::Context<'_>,
        link: &mut Link,
        listeners: &[Listener],
        view: &mut QueueView,
        wishes: &[Platform],
    ) -> Result<Served> {
        loop {
            link.calm(true);
            let Some(held) = self.wait_for_build(link, listeners, view, wishes)? else { return Ok(Served::Gone) };
            link.calm(false);
            match building::serve(context, link, held)? {
                Served::Unfit => {}
                served => return Ok(served),
            }
        }
    }

    /// Goes on with a build that the worker has, if it is the worker's still.
    fn resume(&self, context: &building::Context<'_>, link: &mut Link, id: &BuildId, lease: &str) -> Result<Served> {
        let until = Instant::now() + TAKE_OVER;
        loop {
            match self.spool.resume(id, self.name, lease)? {
                Resumed::Held(held) => return building::resume(context, link, held),
                Resumed::Busy if Instant::now() < until => {}
                Resumed::Busy => {
                    return Err(Error::new(Kind::TryAgain, format!("{id} is still served by another process"))
                        .hint("try again a little later"));
                }
                Resumed::Over => {
                    link.say(&ToWorker::Finished { id: id.clone() }, b"")?;
                    return Ok(Served::Over);
                }
                Resumed::Lapsed => {
                    link.say(&ToWorker::Lapsed { id: id.clone() }, b"")?;
                    return Ok(Served::Over);
                }
            }
            match link.next(&[], SOON)? {
                Event::Message(other, _) => return Err(out_of_turn(&other, "nothing but heartbeats")),
                Event::Look => {}
                Event::Gone(_) => return Ok(Served::Gone),
            }
        }
    }

    /// A worker that waits has no build. One that it had when its machine went down waits for nobody.
    fn forget_builds(&self) {
        match self.spool.give_up_all_of(self.name) {
            Ok(taken) => taken.iter().for_each(|id| tracing::info!(build = %id, "its worker came back without it")),
            // builderd mends them when their time has come.
            Err(e) => tracing::warn!(worker = %self.name, "what it had can't be given up: {e}"),
        }
    }

    fn greet(&self, link: &mut Link) -> Result<Option<Welcome>> {
        loop {
            match link.next(&[], RESCAN)? {
                Event::Message(ToServer::Hello { protocol, instance, platforms, system }, _) => {
                    if !(PROTOCOL[0]..=PROTOCOL[1]).contains(&protocol) {
                        let text =
                            format!("protocol {protocol} is not spoken here, only {} to {}", PROTOCOL[0], PROTOCOL[1]);
                        return Err(
                            Error::new(Kind::Data, text).hint("install the same release of builder on both sides")
                        );
                    }
                    return Ok(Some(Welcome {
                        instance: words::instance(instance)?,
                        system: words::system(system),
                        wishes: words::platforms(platforms),
                    }));
                }
                Event::Message(other, _) => return Err(out_of_turn(&other, "hello")),
                Event::Look => {}
                Event::Gone(_) => return Ok(None),
            }
        }
    }

    /// Opens the session. One of the same process that has lost its connection is over soon.
    fn open_session(&self, welcome: &Welcome) -> Result<Session> {
        let until = Instant::now() + TAKE_OVER;
        loop {
            let platforms = self.platforms(&welcome.wishes)?;
            if let Some(session) = self.spool.open_session(self.name, &welcome.instance, &welcome.system, &platforms)? {
                return Ok(session);
            }
            let (seen, _) = self.spool.seen(self.name)?;
            if welcome.instance.is_empty() || seen.instance != welcome.instance || Instant::now() > until {
                return Err(Error::new(Kind::TryAgain, format!("worker {} is connected already", self.name))
                    .hint("give each worker a key of its own, or wait until the old connection is given up"));
            }
            std::thread::park_timeout(SOON);
        }
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
            match self.hear(listeners, view, &platforms)? {
                Heard::Leave => return Ok(None),
                Heard::News { anew } => fresh |= anew,
            }
            self.refuse_if_dropped(&platforms)?;
            if let Some(held) = self.claim_first(view)? {
                return Ok(Some(held));
            }
            if !fresh {
                self.read_queues(view, &platforms)?;
                fresh = true;
                continue;
            }
            let held_back = view.holds_back() || self.is_withheld();
            match link.next(listeners, if held_back { RESCAN } else { IDLE })? {
                Event::Message(other, _) => return Err(out_of_turn(&other, "nothing but heartbeats")),
                Event::Look => {}
                Event::Gone(_) => return Ok(None),
            }
        }
    }

    /// Takes in what was told of the queues.
    fn hear(&self, listeners: &[Listener], view: &mut QueueView, platforms: &[Platform]) -> Result<Heard> {
        let (mut unknown, mut freed, mut leave) = (false, false, false);
        for listener in listeners {
            listener.news(|news| match news.parse::<Ticket>() {
                Ok(ticket) if platforms.contains(ticket.id.platform()) => view.add(ticket),
                _ if news == wake::FREED => freed = true,
                _ if news == wake::LEAVE => leave = true,
                _ => unknown = true,
            });
        }
        if leave {
            return Ok(Heard::Leave);
        }
        if freed {
            view.bring_back();
        }
        let anew = unknown || view.old(RESCAN);
        if anew {
            self.read_queues(view, platforms)?;
        }
        Ok(Heard::News { anew })
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

    /// Whether this worker gets nothing now, whatever is queued.
    fn is_withheld(&self) -> bool {
        self.spool.quarantined(self.name, clock::now()).is_some() || self.spool.make_sure_of_room().is_err()
    }

    /// The first build that may be taken now. What may not is set aside.
    fn claim_first(&self, view: &mut QueueView) -> Result<Option<HeldBuild<'_>>> {
        if self.is_withheld() {
            return Ok(None);
        }
        while let Some(ticket) = view.pop() {
            if self.spool.withheld(ticket.id.platform()).is_some() {
                view.set_aside(ticket);
                continue;
            }
            if !self.spool.is_turn_of(&ticket, self.name)? {
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

/// Takes what was told to the worker's server, and says whether it is to leave.
pub fn told_to_leave(listeners: &[Listener]) -> bool {
    let mut leave = false;
    for listener in listeners {
        listener.news(|news| leave |= news == wake::LEAVE);
    }
    leave
}

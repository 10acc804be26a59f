//! What goes to the server: messages in their order, and between them the console from wherever the server stopped
//! hearing it. A thread of its own writes, so that nobody else ever waits for the network.

use super::console::Kept;
use super::event::{Event, Post};
use crate::protocol::ToServer;
use crate::protocol::inbox::send;
use spool::console::ConsoleReader;
use spool::error::{Error, Kind, Result};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// What the thread is told.
pub enum Order {
    /// Say this.
    Say(ToServer, Vec<u8>),
    /// Send a console from here on.
    Console(Feed),
    /// It has grown, or ended.
    Grown,
    /// Report when everything that was to be said before is written.
    Report(Sender<()>),
    /// Write nothing more.
    Close,
}

/// A console, and how far it was sent.
pub struct Feed {
    kept: Arc<Kept>,
    reader: ConsoleReader,
    told_end: bool,
}

impl Feed {
    /// Of a console, behind so many bytes.
    pub fn new(kept: &Arc<Kept>, from: u64) -> Result<Feed> {
        let mut reader = kept.reader()?;
        match reader.skip(from)? {
            got if got == from => Ok(Feed { kept: kept.clone(), reader, told_end: false }),
            got => Err(Error::new(Kind::Data, format!("the server has {from} bytes of console, and there are {got}"))),
        }
    }

    /// Sends a piece. False when there is nothing more for now.
    fn send(&mut self, to: &mut File, post: &Post) -> io::Result<bool> {
        self.kept.is_looked_at();
        let ended = self.kept.has_ended();
        match self.reader.next_chunk() {
            Ok(Some(chunk)) => {
                send(to, &ToServer::Con { ms: chunk.ms, n: chunk.bytes.len() }, chunk.bytes)?;
                return Ok(true);
            }
            _ if self.told_end => {}
            Ok(None) if !ended => {}
            Ok(None) => self.told_end = post.send(Event::ConsoleSent),
            Err(e) => {
                post.send(Event::ConsoleFailed(format!("its worker can't read what it printed: {e}")));
                self.told_end = post.send(Event::ConsoleSent);
            }
        }
        Ok(false)
    }
}

/// Starts the thread. It goes when it is told to, or nobody reads what it writes.
pub fn start(to: File, post: Post) -> Sender<Order> {
    let (orders, received) = channel();
    // That nothing can be written any more is seen by who reads: there, the server's last words come first.
    std::thread::spawn(move || run(&received, to, &post));
    orders
}

fn run(orders: &Receiver<Order>, mut to: File, post: &Post) -> io::Result<()> {
    let mut console: Option<Feed> = None;
    loop {
        match orders.try_recv() {
            Ok(Order::Close) => return Ok(()),
            Ok(order) => {
                obey(order, &mut console, &mut to)?;
                continue;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {}
        }
        if let Some(feed) = &mut console
            && feed.send(&mut to, post)?
        {
            continue;
        }
        match orders.recv() {
            Ok(Order::Close) | Err(_) => return Ok(()),
            Ok(order) => obey(order, &mut console, &mut to)?,
        }
    }
}

fn obey(order: Order, console: &mut Option<Feed>, to: &mut File) -> io::Result<()> {
    match order {
        Order::Say(message, data) => send(to, &message, &data)?,
        Order::Console(feed) => *console = Some(feed),
        Order::Report(to) => drop(to.send(())),
        Order::Grown | Order::Close => {}
    }
    Ok(())
}

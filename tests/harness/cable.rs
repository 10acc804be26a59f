//! A cable between two hosts, and its weather: packets can be lost, late or doubled.
//!
//! Its ends are TUN devices of this process, so that it needs nothing of the system but those: tc-netem(8), which does
//! the same, is not in every kernel.

use rustix::ioctl::{Setter, ioctl, opcode};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Of a hundred packets so many are lost.
    pub lost: u32,
    /// And so many come twice.
    pub doubled: u32,
    /// Each is late by so many milliseconds,
    pub delay: u64,
    /// and by up to so many more, so that they overtake each other.
    pub jitter: u64,
}

/// A cable. It can carry packets as long as this lives.
pub struct Cable {
    weather: Arc<Mutex<Weather>>,
}

impl Cable {
    /// Between two new network devices with these names.
    pub fn new(one: &str, other: &str) -> io::Result<Cable> {
        let weather = Arc::new(Mutex::new(Weather::default()));
        let ends = [device(one)?, device(other)?];
        for (from, to) in [(0, 1), (1, 0)] {
            let (mut from, mut to, weather) = (ends[from].try_clone()?, ends[to].try_clone()?, weather.clone());
            let (packets, arrivals) = channel();
            std::thread::spawn(move || deliver(&arrivals, &mut to));
            std::thread::spawn(move || {
                let (mut packet, mut dice) = (vec![0; 65_536], Dice(0x9e37_79b9_7f4a_7c15));
                // The device is gone with the network.
                while let Ok(length) = from.read(&mut packet) {
                    let weather = *weather.lock().expect("the weather");
                    let times = u32::from(!dice.says(weather.lost)) * (1 + u32::from(dice.says(weather.doubled)));
                    for _ in 0..times {
                        let late = weather.delay + dice.below(weather.jitter + 1);
                        let due = Instant::now() + Duration::from_millis(late);
                        let _ = packets.send((due, packet[..length].to_vec()));
                    }
                }
            });
        }
        Ok(Cable { weather })
    }

    /// From now on it is like this.
    pub fn change(&self, weather: Weather) {
        *self.weather.lock().expect("the weather") = weather;
    }
}

/// Writes each packet when its time has come.
fn deliver(arrivals: &Receiver<(Instant, Vec<u8>)>, to: &mut File) {
    let mut waiting: BTreeMap<(Instant, u64), Vec<u8>> = BTreeMap::new();
    for number in 0.. {
        let next = waiting
            .first_key_value()
            .map_or(Duration::from_secs(3600), |((due, _), _)| due.saturating_duration_since(Instant::now()));
        match arrivals.recv_timeout(next) {
            Ok((due, packet)) => drop(waiting.insert((due, number), packet)),
            Err(RecvTimeoutError::Timeout) => {
                // A host that takes none, because its link is down, loses it.
                let _ = waiting.pop_first().map(|(_, packet)| to.write(&packet));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The same numbers in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn says(&mut self, percent: u32) -> bool {
        self.below(100) < percent.into()
    }
}

/// A new network device whose packets are this process's to read and to write, without a header (tun.txt of Linux).
#[allow(unsafe_code)]
fn device(name: &str) -> io::Result<File> {
    /// TUNSETIFF of linux/if_tun.h.
    const SET: u32 = opcode::write::<i32>(b'T', 202);
    /// IFF_TUN and IFF_NO_PI.
    const FLAGS: u16 = 0x1001;
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&FLAGS.to_ne_bytes());
    // SAFETY: the kernel reads a struct ifreq, which has 40 bytes: a name of 16, zero at its end, and the flags.
    unsafe { ioctl(&file, Setter::<SET, [u8; 40]>::new(request))? };
    Ok(file)
}

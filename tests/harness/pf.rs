//! As much of pf(4) as `freebsd/pf.conf` uses, written from pf.conf(5): on a machine whose jails share its addresses, where
//! does a packet get, and does the answer come back? A word that is not known here fails the test.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Addresses that have the first so many bits in common.
#[derive(Clone, Copy, Debug)]
pub struct Net(Ipv4Addr, u32);

impl Net {
    /// `A.B.C.D/BITS`, the last parts and the bits being optional.
    pub fn of(text: &str) -> Net {
        let (address, bits) = text.split_once('/').map_or((text, 32), |(a, b)| (a, b.parse().expect("bits")));
        let mut parts: Vec<&str> = address.split('.').collect();
        parts.resize(4, "0");
        Net(parts.join(".").parse().unwrap_or_else(|e| panic!("{text}: {e}")), bits)
    }

    /// Whether an address is among them.
    pub fn has(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.1).unwrap_or(0);
        u32::from(self.0) & mask == u32::from(address) & mask
    }
}

/// Which way a packet crosses an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// A packet that opens a connection, or answers one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// `tcp` or `udp`.
    pub proto: &'static str,
    /// From where.
    pub from: (Ipv4Addr, u16),
    /// To where.
    pub to: (Ipv4Addr, u16),
}

impl Packet {
    fn answer(self) -> Packet {
        Packet { from: self.to, to: self.from, ..self }
    }
}

/// How far a packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does not arrive.
    Blocked,
    /// It arrives, and the answer does not.
    Unanswered,
    /// The answer comes back.
    Answered,
}

impl Reach {
    fn of(is_answered: bool) -> Reach {
        if is_answered { Reach::Answered } else { Reach::Unanswered }
    }
}

#[derive(Debug, Default)]
struct Rule {
    passes: bool,
    is_quick: bool,
    way: Option<Way>,
    on: Option<String>,
    protos: Vec<String>,
    from: Vec<Net>,
    to: Vec<Net>,
    ports: Vec<u16>,
    tag: Option<String>,
    tagged: Option<String>,
}

/// What a rule that passes a packet makes: others in the same direction pass with it, and answers in the other one.
struct State {
    way: Way,
    on: String,
    /// As it is outside, and as it was before it was translated.
    packet: Packet,
    before: Packet,
}

/// A machine with its interfaces and its rules.
pub struct Pf {
    interfaces: Vec<(String, Net)>,
    skipped: Vec<String>,
    is_floating: bool,
    nat: Vec<Rule>,
    rules: Vec<Rule>,
    states: Vec<State>,
}

impl Pf {
    /// Reads rules for a machine that has these interfaces, each with an address and its network. Its jails have theirs on lo1.
    pub fn new(text: &str, interfaces: &[(&str, &str)]) -> Pf {
        let interfaces = interfaces.iter().map(|(name, net)| ((*name).to_owned(), Net::of(net))).collect();
        let mut pf = Pf {
            interfaces,
            skipped: Vec::new(),
            is_floating: true,
            nat: Vec::new(),
            rules: Vec::new(),
            states: Vec::new(),
        };
        let (mut macros, mut tables) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            if let Some((name, value)) = line.split_once(" = ") {
                macros.insert(name.to_owned(), value.trim_matches('"').to_owned());
                continue;
            }
            let mut line = line.to_owned();
            for (name, value) in &macros {
                line = line.replace(&format!("${name}"), value);
            }
            let words: Vec<&str> = line.split([' ', ',']).filter(|word| !["", "{", "}"].contains(word)).collect();
            match words.as_slice() {
                [] => {}
                ["table", name, "const", nets @ ..] => {
                    tables.insert((*name).to_owned(), nets.iter().map(|net| Net::of(net)).collect::<Vec<_>>());
                }
                ["set", "skip", "on", name] => pf.skipped.push((*name).to_owned()),
                ["set", "state-policy", policy] => pf.is_floating = *policy == "floating",
                ["set", "block-policy", _] => {}
                ["nat", rest @ ..] => {
                    let end = rest.iter().position(|word| *word == "->").expect("an address to translate to");
                    let rule = pf.rule(&rest[..end], &tables);
                    pf.nat.push(rule);
                }
                [action @ ("pass" | "block"), rest @ ..] => {
                    let rule = pf.rule(rest, &tables);
                    pf.rules.push(Rule { passes: *action == "pass", ..rule });
                }
                other => panic!("not known here: {other:?}"),
            }
        }
        pf
    }

    fn rule(&self, words: &[&str], tables: &BTreeMap<String, Vec<Net>>) -> Rule {
        let (mut rule, mut at) = (Rule::default(), 0);
        while let Some(word) = words.get(at) {
            at += 1;
            let takes = words[at..].iter().take_while(|word| !KEYWORDS.contains(word)).count();
            let values = &words[at..at + takes];
            match *word {
                "in" => rule.way = Some(Way::In),
                "out" => rule.way = Some(Way::Out),
                "quick" => rule.is_quick = true,
                "return" | "inet" | "all" => {}
                "on" => rule.on = Some(values[0].to_owned()),
                "proto" => rule.protos = values.iter().map(|value| (*value).to_owned()).collect(),
                "from" => rule.from = self.nets(values, tables),
                "to" => rule.to = self.nets(values, tables),
                "port" => rule.ports = values.iter().map(|name| port(name)).collect(),
                "tag" => rule.tag = Some(values[0].to_owned()),
                "tagged" => rule.tagged = Some(values[0].to_owned()),
                other => panic!("not known here: {other:?} in {words:?}"),
            }
            at += takes;
        }
        rule
    }

    fn nets(&self, values: &[&str], tables: &BTreeMap<String, Vec<Net>>) -> Vec<Net> {
        let one = |value: &&str| match value.trim_matches(['(', ')']).split_once(':') {
            Some((name, "network")) => vec![self.first(name)],
            Some((name, "0")) => vec![Net(self.first(name).0, 32)],
            None if *value == "any" => vec![Net::of("0/0")],
            None if value.starts_with('<') => tables[*value].clone(),
            _ => vec![Net::of(value)],
        };
        values.iter().flat_map(one).collect()
    }

    fn first(&self, name: &str) -> Net {
        self.interfaces.iter().find(|(one, _)| one == name).expect("an interface").1
    }

    /// The interface by which this machine sends to an address: to its own it has a route by lo0, but not to those on lo1.
    fn route(&self, to: Ipv4Addr) -> &str {
        let own = self.interfaces.iter().find(|(_, net)| net.0 == to).map(|(name, _)| name.as_str());
        let near = self.interfaces.iter().filter(|(_, net)| net.has(to)).max_by_key(|(_, net)| net.1);
        match (own, near) {
            (Some(own), _) if !own.starts_with("lo") => "lo0",
            (_, Some((near, _))) => near,
            (_, None) => "em0",
        }
    }

    /// Whether a packet may cross an interface, and as what it does.
    fn cross(&mut self, way: Way, on: &str, packet: Packet) -> Option<Packet> {
        if self.skipped.iter().any(|name| name == on) {
            return Some(packet);
        }
        for state in self.states.iter().filter(|state| self.is_floating || state.on == on) {
            // An answer is translated back, what follows a packet is translated as that was.
            if state.way == way && state.before == packet {
                return Some(state.packet);
            }
            if state.way != way && state.packet.answer() == packet {
                return Some(state.before.answer());
            }
        }
        let mut now = packet;
        let mut tag = None;
        if way == Way::Out
            && let Some(nat) = self.nat.iter().find(|rule| rule.fits(way, on, &packet, None))
        {
            now.from = (self.first(on).0, 50_001);
            tag = nat.tag.clone();
        }
        let fits = |rule: &&Rule| rule.fits(way, on, &now, tag.as_deref());
        let mut fitting = self.rules.iter().filter(fits);
        let last = self.rules.iter().rfind(fits);
        match fitting.find(|rule| rule.is_quick).or(last) {
            Some(rule) if !rule.passes => return None,
            // What no rule is about passes, and makes no state unless it was translated.
            None if tag.is_none() => {}
            _ => self.states.push(State { way, on: on.to_owned(), packet: now, before: packet }),
        }
        Some(now)
    }

    /// How far a packet gets that something on this machine, or in one of its jails, sends.
    pub fn sends(&mut self, packet: Packet) -> Reach {
        let on = self.route(packet.to.0).to_owned();
        let Some(outside) = self.cross(Way::Out, &on, packet) else { return Reach::Blocked };
        if !on.starts_with("lo") {
            return Reach::of(self.cross(Way::In, &on, outside.answer()) == Some(packet.answer()));
        }
        if self.cross(Way::In, &on, outside).is_none() {
            return Reach::Blocked;
        }
        let back = self.route(packet.from.0).to_owned();
        let answer = self.cross(Way::Out, &back, packet.answer());
        Reach::of(answer.and_then(|answer| self.cross(Way::In, &back, answer)).is_some())
    }

    /// How far a packet gets that comes in on an interface.
    pub fn receives(&mut self, on: &str, packet: Packet) -> Reach {
        match self.cross(Way::In, on, packet) {
            Some(_) => Reach::of(self.cross(Way::Out, on, packet.answer()).is_some()),
            None => Reach::Blocked,
        }
    }
}

impl Rule {
    fn fits(&self, way: Way, on: &str, packet: &Packet, tag: Option<&str>) -> bool {
        let among = |nets: &[Net], address| nets.is_empty() || nets.iter().any(|net| net.has(address));
        self.way.is_none_or(|one| one == way)
            && self.on.as_ref().is_none_or(|one| one == on)
            && (self.protos.is_empty() || self.protos.iter().any(|one| one == packet.proto))
            && among(&self.from, packet.from.0)
            && among(&self.to, packet.to.0)
            && (self.ports.is_empty() || self.ports.contains(&packet.to.1))
            && self.tagged.as_deref().is_none_or(|one| tag == Some(one))
    }
}

const KEYWORDS: [&str; 13] =
    ["in", "out", "quick", "return", "inet", "all", "on", "proto", "from", "to", "port", "tag", "tagged"];

fn port(name: &str) -> u16 {
    match name {
        "ssh" => 22,
        "domain" => 53,
        "http" => 80,
        "https" => 443,
        other => other.parse().unwrap_or_else(|e| panic!("{other}: {e}")),
    }
}

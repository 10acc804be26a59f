//! `freebsd/pf.conf`, read as pf.conf(5) has it: whom a jail reaches, and who reaches it.

use harness::pf::{Packet, Pf, Reach};
use std::path::Path;

/// The addresses that the example has, and others.
const JAIL: &str = "10.77.0.2";
const OTHER_JAIL: &str = "10.77.0.3";
const SERVER: &str = "192.0.2.10";
const RESOLVER: &str = "192.0.2.53";
const NEIGHBOUR: &str = "192.0.2.77";
const WORLD: &str = "198.51.100.7";

/// A machine with an address, a second network that is directly there, and two jails.
fn machine(address: &str) -> Pf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../freebsd/pf.conf");
    let rules = std::fs::read_to_string(file).expect("the rules");
    let own = format!("{address}/24");
    Pf::new(
        &rules,
        &[("lo0", "127.0.0.1/8"), ("em0", &own), ("em1", "203.0.113.1/24"), ("lo1", JAIL), ("lo1", OTHER_JAIL)],
    )
}

fn packet(proto: &'static str, from: &str, to: &str, port: u16) -> Packet {
    let address = |text: &str| text.parse().expect("an address");
    Packet { proto, from: (address(from), 40_000), to: (address(to), port) }
}

#[test]
fn a_jail_reaches_the_server_the_resolver_and_the_web() {
    // The server is this machine, or another one; and so is the resolver.
    for own in [SERVER, RESOLVER, "192.0.2.20"] {
        for (proto, to, port) in [
            ("tcp", SERVER, 22),
            ("udp", RESOLVER, 53),
            ("tcp", RESOLVER, 53),
            ("tcp", WORLD, 80),
            ("tcp", WORLD, 443),
            ("tcp", JAIL, 8080),
        ] {
            let reach = machine(own).sends(packet(proto, JAIL, to, port));
            assert_eq!(reach, Reach::Answered, "{own}: {proto} to {to} port {port}");
        }
    }
}

#[test]
fn a_jail_reaches_nothing_else() {
    for own in [SERVER, RESOLVER, "192.0.2.20"] {
        for (proto, to, port) in [
            // This machine.
            ("tcp", own, 80),
            ("udp", own, 514),
            ("tcp", "203.0.113.1", 22),
            // Its networks, and those that are nobody's in the world.
            ("tcp", NEIGHBOUR, 22),
            ("tcp", NEIGHBOUR, 443),
            ("udp", NEIGHBOUR, 53),
            ("tcp", SERVER, 443),
            ("tcp", RESOLVER, 80),
            ("tcp", "203.0.113.9", 443),
            ("tcp", "10.1.2.3", 443),
            ("tcp", "172.16.0.1", 80),
            ("tcp", "192.168.7.1", 80),
            ("tcp", "169.254.169.254", 80),
            // The world by other ways than the web.
            ("tcp", WORLD, 22),
            ("tcp", WORLD, 25),
            ("udp", WORLD, 53),
            ("udp", WORLD, 443),
            // Another jail.
            ("tcp", OTHER_JAIL, 22),
            ("tcp", OTHER_JAIL, 80),
        ] {
            let reach = machine(own).sends(packet(proto, JAIL, to, port));
            assert_eq!(reach, Reach::Blocked, "{own}: {proto} to {to} port {port}");
        }
    }
}

#[test]
fn nothing_comes_in_to_a_jail() {
    for (on, from) in [("em0", NEIGHBOUR), ("em0", WORLD), ("em1", "203.0.113.9")] {
        for port in [22, 80] {
            assert_eq!(machine(SERVER).receives(on, packet("tcp", from, JAIL, port)), Reach::Blocked, "{from}");
        }
    }
    assert_eq!(machine(SERVER).sends(packet("tcp", SERVER, JAIL, 22)), Reach::Blocked);
}

/// Who starts pf by ssh goes on typing, and the machine does what it did.
#[test]
fn the_machine_itself_does_what_it_did() {
    for (from, to, port) in [
        ("127.0.0.1", "127.0.0.1", 8080),
        (SERVER, SERVER, 22),
        (SERVER, NEIGHBOUR, 2049),
        (SERVER, WORLD, 25),
        ("203.0.113.1", "203.0.113.9", 22),
    ] {
        assert_eq!(machine(SERVER).sends(packet("tcp", from, to, port)), Reach::Answered, "{from} to {to}");
    }
    assert_eq!(machine(SERVER).receives("em0", packet("tcp", NEIGHBOUR, SERVER, 22)), Reach::Answered);
}

//! OCaml's numbers for signals are negative and the same on every system (manual of OCaml, module `Sys`); other numbers
//! are the system's own.

use rustix::process::Signal;

/// OCaml's -1, -2 and so on.
const BY_OCAML: [Signal; 28] = [
    Signal::ABORT,
    Signal::ALARM,
    Signal::FPE,
    Signal::HUP,
    Signal::ILL,
    Signal::INT,
    Signal::KILL,
    Signal::PIPE,
    Signal::QUIT,
    Signal::SEGV,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::CHILD,
    Signal::CONT,
    Signal::STOP,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::VTALARM,
    Signal::PROF,
    Signal::BUS,
    POLL,
    Signal::SYS,
    Signal::TRAP,
    Signal::URG,
    Signal::XCPU,
    Signal::XFSZ,
];

/// FreeBSD calls it so.
const POLL: Signal = Signal::IO;

/// The number that this system has for a signal; nothing for what is none.
pub fn of_ocaml(number: i64) -> Option<i32> {
    if number > 0 {
        return i32::try_from(number).ok();
    }
    let place = usize::try_from(number.checked_neg()?).ok()?.checked_sub(1)?;
    BY_OCAML.get(place).map(|signal| signal.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_manual() {
        for (ocaml, here) in [(-7, 9), (-11, 15), (-10, 11), (-1, 6), (9, 9), (64, 64)] {
            assert_eq!(of_ocaml(ocaml), Some(here));
        }
        for none in [0, -29, i64::MIN, i64::MAX] {
            assert_eq!(of_ocaml(none), None);
        }
    }
}

//! A file that robur's builder has not written, or not to its end, is refused with the byte, and nothing of it comes in.

use harness::robur::{bytes, contents, fixture, import, refused, text, with};
use harness::{Finished, Lab};
use std::process::Command;

#[test]
fn each_file_that_is_cut_short_is_refused_with_the_byte() {
    let lab = Lab::new();
    let before = contents(&lab);
    for name in ["full-exited.der", "full-old.der", "state.der"] {
        let whole = bytes(name);
        (0..whole.len()).for_each(|length| refused(&lab, &whole[..length], ""));
        refused(&lab, &[&whole[..], b"\0"].concat(), "there is something behind its end");
        assert_eq!(contents(&lab), before, "{name}");
    }
    assert!(spool::disk::is_empty_dir(&lab.root().join("tmp")));
}

#[test]
fn a_hostile_file_is_refused_with_the_byte_and_the_field() {
    let lab = Lab::new();
    let before = contents(&lab);
    let deep: Vec<u8> = [0xa0, 0x80].repeat(100_000);
    for (bytes, says) in [
        (deep, "byte 1: build: its length is left open"),
        (b"PK\x03\x04".to_vec(), "byte 0: build: the tag must be 0xa0 and is 0x50"),
        (b"\xa1\x02\x05\x00".to_vec(), "byte 0: build: the tag must be 0xa0 and is 0xa1"),
        (b"\xa0\x88\x80\0\0\0\0\0\0\0".to_vec(), "byte 1: build: its 9223372036854775808 bytes end behind byte 10"),
        (b"\xa0\x88\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "byte 1: build: its 18446744073709551615 bytes"),
        (b"\xa0\xff".to_vec(), "its length has more than 8 bytes"),
        (b"\x30\x84\x7f\xff\xff\xff".to_vec(), "byte 1: state: its 2147483647 bytes end behind byte 6"),
        (with(b"\x0c\x05hello", b"\x0c\x05he/lo"), "byte 8: job.name: `he/lo` is not a job name"),
        (with(b"\x0c\x05hello", b"\x0c\x05he\xffl\xff"), "byte 12: job.name: it is not UTF-8"),
        (with(b"\x0c\x09debian-12", b"\x0c\x09../../../"), "job.platform: `../../../` is not a platform"),
        (with(b"\x0c\x10\x0f", b"\x0c\x0f\x0f"), "uuid: it has 15 bytes, not 16"),
        (with(b"\x02\x04\x59", b"\x02\x04\xd9"), "console.delta: it is before the start"),
        (with(b"\x02\x04\x59\x68", b"\x02\x04\x00\x68"), "console.delta: a number must have as many bytes as it needs"),
        (with(b"05.067Z", b"05,067Z"), "timestamps.started: it is no time of the form"),
        (with(b"20260102030407Z", b"20261302030407Z"), "timestamps.finished: it is no time of the form"),
        (with(b"20260102030407Z", b"19260102030407Z"), "timestamps.finished: it is before 1970"),
        (with(b"\xa0\x03\x02\x01\x00", b"\xa0\x03\x02\x01\xff"), "result.exited: -1 is no exit code"),
        (with(b"\xa0\x03\x02\x01\x00", b"\xa1\x03\x02\x01\x00"), "result.signalled: there is no such signal"),
        (with(b"\xa0\x03\x02\x01\x00", b"\xa4\x03\x02\x01\x00"), "result: the tag must be 0xa0 and is 0xa4"),
        (with(b"\xa0\x03\x02\x01\x00", b"\xa3\x03\x0c\x01\x80"), "result.msg: it is not UTF-8"),
        (with(b"bin/hello", b"../../etc"), "output.path: `../../etc` can't be an artifact's path"),
        (with(b"bin/hello", b"/in/hello"), "output.path: `/in/hello` can't be an artifact's path"),
        (with(b"bin/hello", b"bin\0hello"), "output.path: `bin\\0hello` can't be an artifact's path"),
        (with(b"\x0c\x05empty", b"\x0d\x05empty"), "output.path: the tag must be 0x0c and is 0x0d"),
        (with(b"\x0c\x06\x7f", b"\x0c\x07\x7f"), "output.data: its 7 bytes end behind byte "),
        (with(b"\x0c\x06\x7f", b"\x0c\x05\x7f"), "output: there is more in it than there may be"),
    ] {
        refused(&lab, &bytes, says);
    }
    assert_eq!(contents(&lab), before);
    assert!(spool::disk::is_empty_dir(&lab.root().join("tmp")));
}

/// A build with these artifacts, of which openssl(1) makes the file.
fn with_artifacts(lab: &Lab, paths: &[&str]) -> Vec<u8> {
    let description = std::fs::read_to_string(fixture("full-exited.conf")).expect("a description");
    let (start, _) = description.split_once("[output]").expect("the last section");
    let names: String = (0..paths.len()).map(|n| format!("a{n} = SEQUENCE:a{n}\n")).collect();
    let artifact = |(n, path): (usize, &&str)| format!("[a{n}]\np = UTF8String:{path}\nd = UTF8String:x\n");
    let sections: String = paths.iter().enumerate().map(artifact).collect();
    let conf = lab.script("made.conf", &format!("{start}[output]\n{names}{sections}"));
    let made = lab.path("made.der");
    let mut openssl = Command::new("openssl");
    let done = Finished::of(openssl.args(["asn1parse", "-noout", "-genconf"]).arg(conf).arg("-out").arg(&made));
    assert_eq!(done.code, 0, "{done:?}");
    std::fs::read(made).expect("what is made")
}

#[test]
fn artifacts_that_do_not_fit_together_are_refused_as_a_whole() {
    let lab = Lab::new();
    let before = contents(&lab);
    refused(&lab, &with_artifacts(&lab, &["good", "twice", "twice"]), "output.path: twice is there twice");
    let file = lab.path("bad");
    std::fs::write(&file, with_artifacts(&lab, &["a/b", "a"])).expect("written");
    lab.builder(&["import", text(&file)]).refused(65, "the artifact a is a directory of another one");
    assert_eq!(contents(&lab), before);
    let many: Vec<String> = (0..100).map(|n| format!("d{}/e/f{n:02}", n % 3)).collect();
    std::fs::write(&file, with_artifacts(&lab, &many.iter().map(String::as_str).collect::<Vec<_>>())).expect("written");
    let id = import(&lab, &file);
    assert_eq!(lab.build(&id).manifest().expect("readable").len(), 100);
    lab.check();
}

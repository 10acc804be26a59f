//! The record of a build says who got the same from the same, who did not, and what to compare it with.

use harness::{Lab, PLATFORM};

/// Runs a job once with a worker of some more variables, on a platform. Returns the build's id.
fn built(lab: &Lab, job: &str, platform: &str, variables: &[&str]) -> String {
    let id = lab.ok(&["run", job, "--platform", platform]).trim().to_owned();
    let mut worker = lab.program("builder-run");
    worker.args(["worker", "--once", "--name", "w", "--platform", platform, "--local"]).arg(lab.root());
    worker.arg("--work").arg(lab.path("work")).args(variables.iter().flat_map(|pair| ["--env", pair]));
    assert_eq!(harness::Finished::of(&mut worker).code, 0);
    lab.finished(&id);
    id
}

/// The lines of a section of `builder show`, without their indent.
fn section(lab: &Lab, id: &str, title: &str) -> Vec<String> {
    let page = lab.ok(&["show", id]);
    let rest = page.lines().skip_while(|line| *line != title).skip(1);
    rest.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

const NOT_REPRODUCIBLE: &str = "Same input, different output (not reproducible!)";
const COMPARISONS: &str = "Comparisons with other builds on the same platform";

#[test]
fn the_same_input_twice_gives_reproduced_on_both_pages() {
    let lab = Lab::new();
    lab.job("same", "echo always > f");
    let (one, two) = (built(&lab, "same", PLATFORM, &[]), built(&lab, "same", PLATFORM, &[]));
    for (id, other) in [(&one, &two), (&two, &one)] {
        let expected = format!("{other}  {PLATFORM}  same input  worker w");
        assert_eq!(section(&lab, id, "Reproduced by 1 build"), [expected]);
        assert!(section(&lab, id, NOT_REPRODUCIBLE).is_empty());
    }
}

#[test]
fn one_byte_of_difference_gives_the_warning_on_both_pages() {
    let lab = Lab::new();
    let count = lab.path("count");
    lab.job("differs", &format!("printf x >> {0}; printf 'always %s' $(wc -c < {0}) > f", count.display()));
    let (one, two) = (built(&lab, "differs", PLATFORM, &[]), built(&lab, "differs", PLATFORM, &[]));
    for (id, other) in [(&one, &two), (&two, &one)] {
        let expected = format!("{other}  {PLATFORM}  same input  worker w");
        assert_eq!(section(&lab, id, NOT_REPRODUCIBLE), [expected]);
        assert!(!lab.ok(&["show", id]).contains("Reproduced by"));
    }
}

#[test]
fn who_got_the_same_from_something_else_is_told_apart() {
    let lab = Lab::new();
    let script = lab.script("s", "echo always > f");
    let script = script.to_str().expect("UTF-8");
    lab.ok(&["add", "job", script, "--platform", PLATFORM, "--platform", "debian-13", "--every", "never"]);
    let one = built(&lab, "job", PLATFORM, &[]);
    let two = built(&lab, "job", PLATFORM, &["COLOUR=blue"]);
    let three = built(&lab, "job", "debian-13", &[]);
    let expected = [
        format!("{three}  debian-13  different input  worker w"),
        format!("{two}  {PLATFORM}  different input  worker w"),
    ];
    assert_eq!(section(&lab, &one, "Reproduced by 2 builds"), expected);
}

#[test]
fn what_to_compare_with_is_where_the_output_changed() {
    let lab = Lab::new();
    lab.job_with("job", "echo $N > f; [ $N != 9 ] || rm f", &["--platform", "debian-13", "--every", "never"]);
    let outputs = ["N=1", "N=2", "N=2", "N=3", "N=2", "N=4", "N=9"];
    let ids: Vec<String> = outputs.iter().map(|n| built(&lab, "job", PLATFORM, &[n])).collect();
    let expected = [
        format!("latest                          {}", ids[5]),
        format!("next with different output      {}", ids[3]),
        format!("previous with different output  {}", ids[0]),
    ];
    built(&lab, "job", "debian-13", &["N=5"]);
    assert_eq!(section(&lab, &ids[2], COMPARISONS), expected);
    assert!(section(&lab, &ids[2], NOT_REPRODUCIBLE).is_empty(), "their inputs differ");
    let first = [format!("latest                      {}", ids[5]), format!("next with different output  {}", ids[1])];
    assert_eq!(section(&lab, &ids[0], COMPARISONS), first);
    assert_eq!(section(&lab, &ids[5], COMPARISONS), [format!("previous with different output  {}", ids[4])]);
    // Without an artifact there is nothing to compare.
    assert!(section(&lab, &ids[6], COMPARISONS).is_empty());
    let json: serde_json::Value = serde_json::from_str(&lab.ok(&["show", &ids[2], "--json"])).expect("JSON");
    assert_eq!(json["compare_with"]["next"], *ids[3], "{json}");
    assert_eq!(json["reproduced_by"][0]["build"], *ids[4], "{json}");
}

#[test]
fn a_content_is_found_in_every_build_that_has_it_beside_one_that_is_damaged() {
    let lab = Lab::new();
    lab.job("job", "echo always > f; echo $N > g");
    let ids = ["N=1", "N=1", "N=2", "N=3"].map(|n| built(&lab, "job", PLATFORM, &[n]));
    std::fs::write(lab.path("always"), "always\n").expect("a file");
    let found = || {
        let json: serde_json::Value =
            serde_json::from_str(&lab.ok(&["find", "./always", "--json"])).expect("what was found");
        let builds = json["builds"].as_array().expect("builds").clone();
        builds.iter().map(|one| one["build"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(found(), newest_first);
    let manifest = lab.build(&ids[2]).dir().join("manifest");
    std::fs::remove_file(&manifest).expect("removed");
    std::fs::write(&manifest, "what?").expect("written");
    assert_eq!(found(), [ids[3].clone(), ids[1].clone(), ids[0].clone()]);
    // Of two contents that begin alike neither is meant.
    let shard = lab.root().join("store/sha256/00");
    for last in ["0", "1"] {
        std::fs::write(shard.join(format!("{}{last}", "0".repeat(61))), "").expect("a content");
    }
    lab.builder(&["find", "0000"]).refused(64, "fits more than one content");
}

#[test]
fn the_latest_is_the_newest_that_exited_0() {
    let lab = Lab::new();
    lab.job("job", "echo $N > f; exit $N");
    let ids = ["N=0", "N=0", "N=1"].map(|n| built(&lab, "job", PLATFORM, &[n]));
    let digest = spool::digest::Sha256::of(b"0\n");
    let expected = format!("  {PLATFORM}  {}  1 artifact  f SHA256:{digest}\n", ids[1]);
    assert_eq!(lab.ok(&["latest", "job"]), expected);
}

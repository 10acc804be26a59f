//! The templates that come with builder, each filled in and built. `debian-source` is what `./demo` builds.

use harness::{Finished, Lab, PLATFORM};
use spool::find::Build;
use std::path::{Path, PathBuf};
use std::process::Command;

fn template(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates").join(name).display().to_string()
}

/// Adds a job from a template, and builds it once with a worker whose environment has some more in it.
fn built<'l>(lab: &'l Lab, job: &str, words: &[&str], environment: &[String]) -> Build<'l> {
    lab.ok(&[&["add", job, "--every", "never"][..], words].concat());
    let id = lab.run(job);
    let pairs: Vec<&str> = environment.iter().flat_map(|pair| ["--env", pair]).collect();
    let worker = lab.local_worker("w", &pairs);
    let build = lab.finished(&id);
    assert_eq!(worker.ended(), 0);
    build
}

fn log(build: &Build<'_>) -> String {
    std::fs::read_to_string(build.dir().join("console.log")).unwrap_or_default()
}

#[test]
fn cargo_builds_the_programs_of_a_package() {
    let lab = Lab::new();
    let package = lab.path("package");
    std::fs::create_dir_all(package.join("src")).expect("a directory");
    lab.script("package/Cargo.toml", "[package]\nname = \"greet\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    lab.script("package/Cargo.lock", "version = 4\n\n[[package]]\nname = \"greet\"\nversion = \"1.0.0\"\n");
    lab.script("package/src/main.rs", "fn main() { println!(\"greetings\"); }\n");
    let source = format!("SOURCE={}", package.display());
    let cargo = PathBuf::from(env!("CARGO"));
    let environment = [
        format!("PATH={}:/usr/bin:/bin", cargo.parent().expect("a directory").display()),
        format!("RUSTUP_HOME={}", std::env::var("RUSTUP_HOME").unwrap_or_default()),
    ];
    let words = ["--template", &template("cargo"), "--set", &source, "--platform", PLATFORM];
    let build = built(&lab, "greet", &words, &environment);
    let names: Vec<String> = build.manifest().expect("readable").iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["bin/greet", "build-environment"], "{}", log(&build));
    let by = std::fs::read_to_string(build.dir().join("artifacts/build-environment")).expect("it");
    assert!(by.starts_with("rustc ") && by.contains("\ncargo ") && by.ends_with("\ngreet 1.0.0\n"), "{by}");
    let again = lab.run("greet");
    let _worker = lab.local_worker("w", &["--env", &environment[0], "--env", &environment[1]]);
    lab.finished(&again);
    assert!(lab.ok(&["show", &again]).contains("Reproduced by 1 build"), "{}", lab.ok(&["show", &again]));
}

/// A stand-in for each of Debian's programs: what is installed to build with is on record.
#[test]
fn what_debian_source_installs_is_said() {
    let lab = Lab::new();
    let bin = lab.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    for (name, text) in [
        ("id", "echo 0"),
        ("apt-get", "case \"$*\" in *\" source \"*) : >hello_1.dsc ;; *build-dep*) : >../installed ;; esac"),
        ("dpkg-source", "mkdir source"),
        ("dpkg-checkbuilddeps", "exit 1"),
        ("dpkg-parsechangelog", "echo 1"),
        ("dpkg-buildpackage", "echo deb >../hello_1_all.deb"),
        ("dpkg-query", "cat ../installed && echo gcc 12 amd64"),
    ] {
        std::fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).expect("a program");
        harness::make_executable(&bin.join(name));
    }
    let environment = [format!("PATH={}:/usr/bin:/bin", bin.display())];
    let words = ["--template", &template("debian-source"), "--set", "PACKAGE=hello", "--platform", PLATFORM];
    let build = built(&lab, "hello", &words, &environment);
    let names: Vec<String> = build.manifest().expect("readable").iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["hello_1_all.deb", "system-packages"], "{}", log(&build));
    let packages = std::fs::read_to_string(build.dir().join("artifacts/system-packages")).expect("it");
    assert_eq!(packages, "gcc 12 amd64\n");
}

/// orb itself comes from a server that tests can't reach; a stand-in says how it was called and leaves what orb does.
#[test]
fn orb_is_called_with_the_package_and_the_platform() {
    let lab = Lab::new();
    let bin = lab.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    for (name, text) in [
        (
            "orb",
            "#!/bin/sh\nprintf '%s\\n' \"$@\"\nfor f in opam-switch build-environment system-packages; do echo x > $f; done\n",
        ),
        ("wget", "#!/bin/sh\nprintf 'wget %s\\n' \"$@\"\n"),
        ("fetch", "#!/bin/sh\nprintf 'fetch %s\\n' \"$@\"\n"),
        ("apt-get", "#!/bin/sh\ntrue\n"),
        ("pkg", "#!/bin/sh\ntrue\n"),
    ] {
        std::fs::write(bin.join(name), text).expect("a program");
        harness::make_executable(&bin.join(name));
    }
    let environment = [format!("PATH={}:/usr/bin:/bin", bin.display())];
    let words = ["--template", &template("orb-build.debian"), "--set", "OPAM_PACKAGE=hello", "--platform", PLATFORM];
    let build = built(&lab, "orb", &words, &environment);
    let said = log(&build);
    assert!(said.contains("main-binary?platform=debian-12\n"), "{said}");
    assert!(said.contains("\nbuild\n") || said.starts_with("build\n"), "{said}");
    assert!(said.ends_with("\nhello\n"), "{said}");
    assert_eq!(build.manifest().expect("readable").len(), 3);
    let refused = lab.builder(&[
        "add",
        "other",
        "--template",
        &template("orb-build.freebsd"),
        "--set",
        "OPAM_PACKAGE=hello",
        "--platform",
        PLATFORM,
    ]);
    refused.refused(65, "is not for debian-12; it is for freebsd-*");
}

#[test]
fn every_template_is_readable_and_names_its_variables() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    let readme = include_str!("../README.md");
    let guide = include_str!("../templates/README.md");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("the templates").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        if name == "README.md" {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("readable");
        spool::template::Template::parse(&name, &text).expect("a template");
        let checked =
            Finished::of(Command::new(harness::binary("builder")).args(["template", "check"]).arg(entry.path()));
        assert_eq!(checked.code, 0, "{}", checked.stdout);
        assert!(guide.contains(&format!("`{name}`")), "{name} is not in templates/README.md");
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

/// The one that README.md shows is sound, and builds.
#[test]
fn the_guides_own_example_works() {
    let lab = Lab::new();
    let guide = include_str!("../templates/README.md");
    let (_, rest) = guide.split_once("```sh\n").expect("an example");
    let example = rest.split_once("```").expect("its end").0;
    let path = lab.script("example", example).display().to_string();
    let checked = lab.builder(&["template", "check", &path]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let bin = lab.path("bin");
    std::fs::create_dir_all(lab.path("hello-1")).expect("a directory");
    std::fs::create_dir(&bin).expect("a directory");
    lab.script("hello-1/Makefile", "all:\n\techo hello >hello\n");
    let packed = Finished::of(Command::new("tar").args(["-czf", "s.tar.gz", "hello-1"]).current_dir(lab.path("")));
    assert_eq!(packed.code, 0, "{packed:?}");
    std::fs::write(bin.join("wget"), "#!/bin/sh\ncp \"$3\" \"$2\"\n").expect("a program");
    harness::make_executable(&bin.join("wget"));
    let source = format!("SOURCE={}", lab.path("s.tar.gz").display());
    let words = ["--template", &path, "--set", &source, "--platform", PLATFORM];
    let build = built(&lab, "hello", &words, &[format!("PATH={}:/usr/bin:/bin", bin.display())]);
    let names: Vec<String> = build.manifest().expect("readable").iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["bin/hello"], "{}", log(&build));
}

/// There is no FreeBSD here; stand-ins say how its programs were called.
#[test]
fn a_port_is_made_away_from_its_tree() {
    let lab = Lab::new();
    let (bin, ports) = (lab.path("bin"), lab.path("ports"));
    std::fs::create_dir(&bin).expect("a directory");
    std::fs::create_dir_all(ports.join("misc/figlet")).expect("a directory");
    let make = "#!/bin/sh\ncase \"$*\" in\n'-V PKGNAME') echo figlet-2.2 ;;\n'-V PKG_SUFX') echo .pkg ;;\nshowconfig) echo ===options ;;\n\
        package) mkdir \"$PACKAGES/All\" && echo \"${PWD##*/} $FLAVOR $BATCH\" >\"$PACKAGES/All/figlet-2.2.pkg\" ;;\nesac\n";
    for (name, text) in [("make", make), ("pkg", "#!/bin/sh\nprintf '%s\\n' zlib-1 bash-5\n")] {
        std::fs::write(bin.join(name), text).expect("a program");
        harness::make_executable(&bin.join(name));
    }
    let text = std::fs::read_to_string(template("freebsd-port")).expect("it").replace("freebsd-*", "debian-*");
    let path = lab.script("freebsd-port", &text).display().to_string();
    let tree = format!("PORTS={}", ports.display());
    let words = ["--template", &path, "--set", "PORT=misc/figlet", "--set", "FLAVOR=tiny", "--set", &tree];
    let words = [&words[..], &["--platform", PLATFORM]].concat();
    let build = built(&lab, "port", &words, &[format!("PATH={}:/usr/bin:/bin", bin.display())]);
    let left = |name: &str| std::fs::read_to_string(build.dir().join("artifacts").join(name)).unwrap_or_default();
    assert_eq!(left("figlet-2.2.pkg"), "figlet tiny yes\n", "{}", log(&build));
    assert_eq!(left("build-environment"), "===options\nbash-5\nzlib-1\n");
    assert_eq!(std::fs::read_dir(ports.join("misc/figlet")).expect("the port").count(), 0);
}

//! A build is repeated by others and under other circumstances, and what they say of it is one verdict.

use harness::{Finished, Lab, PLATFORM, Running, wait_for};
use serde_json::Value;

/// Runs a job once with one worker. Returns the build's id.
fn built(lab: &Lab, job: &str, worker: &str) -> String {
    let id = lab.run(job);
    assert_eq!(lab.local_worker(worker, &[]).ended(), 0);
    lab.finished(&id);
    id
}

fn workers(lab: &Lab, names: &[&str]) -> Vec<Running> {
    let workers = names.iter().map(|name| lab.local_worker(name, &["--keep"])).collect();
    let connected = || lab.ok(&["worker", "ls"]).lines().filter(|line| line.contains("  connected")).count();
    wait_for("all are connected", || connected() == names.len());
    workers
}

fn verdict(said: &Finished) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

fn worker_of(lab: &Lab, id: &str) -> String {
    let result = lab.build(id).result().expect("readable").expect("there");
    result.worker.expect("a worker").to_string()
}

#[test]
fn what_comes_out_the_same_each_time_is_reproduced() {
    let lab = Lab::new();
    lab.job("same", "umask; echo $TZ $HOME $PWD; echo always > f");
    let id = built(&lab, "same", "one");
    let _workers = workers(&lab, &["one", "two", "three"]);
    let said = lab.builder(&["verify", "same", "-n", "3", "--vary", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let page = verdict(&said);
    assert_eq!((&page["verdict"], &page["build"]), (&Value::from("reproduced"), &Value::from(id.as_str())));
    let rebuilds = page["rebuilds"].as_array().expect("rebuilds");
    let by: Vec<&str> = rebuilds.iter().map(|one| one["worker"].as_str().expect("a worker")).collect();
    assert!(["two", "three"].iter().all(|one| by.contains(one)), "those who had not built it come first: {by:?}");
    for one in rebuilds {
        assert_eq!((&one["standing"], &one["same_input"]), (&"same output".into(), &true.into()), "{page}");
        let varied = one["varied"].as_object().expect("what was varied");
        assert_eq!(varied.len() + one["not_varied"].as_array().expect("a list").len(), 8, "{page}");
        assert!(varied.contains_key("path") && varied.contains_key("umask"), "{page}");
        let id = one["build"].as_str().expect("an id");
        let log = lab.ok(&["log", id]);
        assert!(log.starts_with("0002\nGMT") && !log.contains("/home "), "{log}");
    }
    assert!(lab.ok(&["log", &id]).starts_with("0022\n"), "the umask is not the worker's own");
    // On the pages of both; and a job's name stands for what is no repetition.
    let page = lab.ok(&["show", "same"]);
    assert!(page.contains(&id) && page.contains("Rebuilds\n") && page.contains("same output  same input"), "{page}");
    let rebuild = rebuilds[0]["build"].as_str().expect("an id");
    let page = lab.ok(&["show", rebuild]);
    assert!(page.contains(&format!("by rebuild {id}")) && page.contains("Varied\n"), "{page}");
    lab.check();
}

/// tar(1) writes when each file was changed.
#[test]
fn a_timestamp_in_an_archive_is_caught_and_named() {
    let lab = Lab::new();
    lab.job("tar", "echo x > file; tar -cf all.tar file; rm file");
    let id = built(&lab, "tar", "one");
    let _workers = workers(&lab, &["one", "two"]);
    let said = lab.builder(&["verify", "tar", "--vary=time"]);
    assert_eq!(said.code, 1, "{said:?}");
    let rebuild =
        said.stdout.lines().find_map(|line| line.split_whitespace().find(|word| word.contains("-u"))).expect("an id");
    let expected = format!("Not reproduced: all.tar of {rebuild} is another one\n  ");
    assert!(
        said.stdout.contains(&expected) && said.stdout.contains(" bytes differ, the first at 1"),
        "{}",
        said.stdout
    );
    let row = "different output  same input  worker two  varied time";
    assert!(said.stdout.contains(row), "{}", said.stdout);
    for page in [&id, rebuild].map(|id| lab.ok(&["show", id])) {
        assert!(page.contains("Same input, different output (not reproducible!)"), "{page}");
    }
    let said = lab.builder(&["verify", "tar", "--vary=time", "--json"]);
    assert_eq!((said.code, verdict(&said)["verdict"].as_str()), (1, Some("not reproduced")));
}

/// Each circumstance that is varied catches what depends on it, and is not in the input.
#[test]
fn each_circumstance_is_made_different() {
    let lab = Lab::new();
    let table = [
        ("user", "echo $USER > f"),
        ("home", "echo $HOME > f"),
        ("path", "pwd > f"),
        ("environment", "env | grep -e ^PATH -e ^VARIED > f"),
        ("locale", "echo $LC_ALL $LANG > f"),
        ("timezone", "echo $TZ > f; date +%Z >> f"),
        ("umask", "umask > f"),
        ("time", "date +%Y-%m > f"),
    ];
    for (name, script) in table {
        lab.job(name, script);
        built(&lab, name, "w");
    }
    let _workers = workers(&lab, &["w"]);
    for (name, _) in table {
        let said = lab.builder(&["verify", name, &format!("--vary={name}"), "--json"]);
        let page = verdict(&said);
        assert_eq!((said.code, page["verdict"].as_str()), (1, Some("not reproduced")), "{name}: {page}");
        assert_eq!(page["rebuilds"][0]["same_input"], true, "{name}: {page}");
        let others: Vec<&str> = table.iter().map(|(other, _)| *other).filter(|other| *other != name).collect();
        let said = lab.builder(&["verify", name, &format!("--vary={}", others.join(",")), "--json"]);
        // HOME lies in the directory of the build.
        let other = ["home", "path"].contains(&name);
        assert!(other || said.code == 0, "{name} differs by something else: {said:?}");
    }
}

#[test]
fn a_rebuild_is_where_it_is_to_be_and_says_when_it_failed() {
    let lab = Lab::new();
    let no = lab.path("no");
    lab.job("job", &format!("[ ! -e {} ] || exit 7; echo x > f", no.display()));
    let id = built(&lab, "job", "one");
    let both = workers(&lab, &["one", "two"]);
    let said = lab.builder(&["verify", &id, "--on", "one", "-n", "2", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    for one in verdict(&said)["rebuilds"].as_array().expect("rebuilds") {
        assert_eq!(one["worker"], "one");
    }
    std::fs::write(&no, "").expect("a file");
    let said = lab.builder(&["verify", "job"]);
    assert_eq!(said.code, 75, "{said:?}");
    assert!(said.stdout.contains("exited 7"), "{}", said.stdout);
    assert!(said.stderr.contains("is not confirmed: some of 1 rebuild did not exit 0"), "{said:?}");
    // A rebuild says nothing of its job: it is not the newest, nothing comes after it, and the next may be queued.
    assert!(lab.ok(&["show", "job"]).contains(&id));
    let failed = lab.ended().into_iter().find(|build| build.id.is_rebuild()).expect("a rebuild").id;
    lab.builder(&["verify", failed.as_str()]).refused(64, "repeats another build itself");
    lab.builder(&["verify", "job", "--on", "nobody"]).refused(66, "there is no worker nobody");
    lab.builder(&["verify", "job", "--vary=tea"]).refused(64, "`tea` is nothing that can be varied");
    lab.builder(&["verify", "job", "-n", "0"]).refused(64, "");
    both.into_iter().for_each(|worker| worker.terminate());
    lab.job("fails", "exit 1");
    let failed = built(&lab, "fails", "three");
    lab.builder(&["verify", &failed]).refused(66, "did not exit 0, so there is nothing to confirm");
    lab.job("empty", "true");
    let empty = built(&lab, "empty", "three");
    lab.builder(&["verify", &empty]).refused(66, "left no artifacts");
}

#[test]
fn rebuilds_stand_in_nobodys_way() {
    let lab = Lab::new();
    lab.job("job", "echo x > f");
    let id = built(&lab, "job", "one");
    let ids = lab.ok(&["verify", "job", "-n", "2", "--no-wait"]);
    assert_eq!(ids.lines().count(), 2);
    assert!(lab.ok(&["show", "job"]).contains(&format!("\n  {id}\n")), "a job's name stands for none of them");
    let next = lab.run("job");
    assert!(!ids.contains(&next) && next != id, "it is queued beside them");
    assert_eq!(lab.build(&next).place.word(), "queued");
    // Who removes the job removes them, too.
    lab.ok(&["rm", "job"]);
    assert!(lab.spool.open_builds().expect("the open builds").is_empty());
}

/// Neither one that exits 0 nor one that fails: nothing comes after it, it is not tried again, and nobody is ill of it.
#[test]
fn nothing_follows_a_rebuild() {
    let lab = Lab::new();
    std::fs::write(lab.config(), "retry_seconds = 0\n").expect("a configuration");
    let no = lab.path("no");
    let script = format!("[ ! -e {} ] || exit 7; echo x > f", no.display());
    lab.job_with("first", &script, &["--every", "never", "--retry-failures"]);
    lab.job_with("second", "true", &["--every", "never", "--after", "first"]);
    let _daemon = lab.daemon();
    let first = lab.run("first");
    let _workers = workers(&lab, &["one"]);
    let of = |job: &str| {
        let all = lab.spool.open_builds().expect("builds").into_iter().chain(lab.ended());
        all.filter(|build| build.id.job().as_str() == job).map(|build| build.id.to_string()).collect::<Vec<_>>()
    };
    let settled = || {
        let owing = lab.spool.owing().expect("owed");
        owing.is_empty() && lab.spool.open_builds().expect("builds").is_empty()
    };
    wait_for("what follows the first has ended", || of("second").len() == 1 && settled());
    assert_eq!(lab.builder(&["verify", &first]).code, 0);
    wait_for("nothing is owed", settled);
    std::fs::write(&no, "").expect("a file");
    assert_eq!(lab.builder(&["verify", &first]).code, 75);
    wait_for("nothing is owed again", settled);
    assert_eq!((of("first").len(), of("second").len()), (3, 1), "{:?} {:?}", of("first"), of("second"));
    assert!(!lab.root().join("workers/one.health").exists());
}

/// `latest` moves when as many as the job wants have confirmed a build, and not before.
#[test]
fn a_job_can_have_each_build_confirmed_before_it_is_the_latest() {
    let lab = Lab::new();
    let text = lab.path("text");
    let set = |what: &str| std::fs::write(&text, what).expect("written");
    lab.job_with(
        "job",
        &format!("cat {} > f", text.display()),
        &["--every", "never", "--reproduce", "2", "--vary=umask,time"],
    );
    let daemon = lab.daemon();
    set("one");
    let one = lab.run("job");
    let workers = workers(&lab, &["v", "w"]);
    let link = lab.root().join(format!("jobs/job/latest/{PLATFORM}"));
    let latest = || std::fs::read_link(&link).ok().and_then(|to| Some(to.file_name()?.to_str()?.to_owned()));
    wait_for("it is confirmed", || latest().as_deref() == Some(&one));
    assert_eq!(std::fs::read_to_string(link.join("artifacts/f")).expect("it"), "one");
    assert!(lab.ok(&["latest", "job"]).contains(&one));
    let rebuilds: Vec<String> =
        lab.ended().into_iter().filter(|one| one.id.is_rebuild()).map(|one| one.id.to_string()).collect();
    assert_eq!(rebuilds.len(), 2);
    assert!(rebuilds.iter().any(|id| worker_of(&lab, id) != worker_of(&lab, &one)));
    for id in &rebuilds {
        let request = lab.build(id).request().expect("readable").expect("there");
        assert_eq!(request.rebuild.expect("a rebuild").of.to_string(), one);
    }
    // The next one can't be confirmed: something else is there when it is repeated.
    workers.into_iter().for_each(|worker| worker.terminate());
    set("two");
    let two = built(&lab, "job", "x");
    set("three");
    let of_two = || -> Vec<String> {
        let of = |build: &spool::find::Build<'_>| {
            let request = build.request().expect("readable").expect("there");
            request.rebuild.is_some_and(|rebuild| rebuild.of.to_string() == two)
        };
        lab.ended().into_iter().filter(of).map(|build| build.id.to_string()).collect()
    };
    let _workers = self::workers(&lab, &["v", "w"]);
    wait_for("it was repeated", || of_two().len() == 2);
    wait_for("nothing is owed", || lab.spool.owing().expect("owed").is_empty());
    assert_eq!(latest().as_deref(), Some(one.as_str()));
    assert!(lab.ok(&["latest", "job"]).contains(&one));
    drop(daemon);
    lab.check();
}

#[test]
fn the_links_to_the_latest_are_kept_as_the_layout_says() {
    let lab = Lab::new();
    lab.job("job", "echo $N > f; exit $N");
    lab.job("job.toml", "echo x > f");
    let daemon = lab.daemon();
    let link = lab.root().join(format!("jobs/job/latest/{PLATFORM}"));
    let latest = || std::fs::read_link(&link).ok().and_then(|to| Some(to.file_name()?.to_str()?.to_owned()));
    let owes_nothing = || wait_for("nothing is owed", || lab.spool.owing().expect("owed").is_empty());
    let with = |n: &str| {
        let id = lab.run("job");
        assert_eq!(lab.local_worker("w", &["--env", n]).ended(), 0);
        lab.finished(&id);
        owes_nothing();
        id
    };
    let first = with("N=0");
    assert_eq!(latest().as_deref(), Some(first.as_str()));
    with("N=1");
    assert_eq!(latest().as_deref(), Some(first.as_str()), "one that failed is not the latest");
    let third = with("N=0");
    assert_eq!(latest().as_deref(), Some(third.as_str()));
    built(&lab, "job.toml", "w");
    owes_nothing();
    lab.ok(&["check"]);
    // A hand has bent it: that is found, put aside, and the next end makes it anew.
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink("/etc", &link).expect("a link");
    let said = lab.builder(&["check"]);
    assert!(said.code == 65 && said.stdout.contains("I16"), "{said:?}");
    lab.ok(&["check", "--repair"]);
    assert!(link.symlink_metadata().is_err());
    with("N=1");
    assert_eq!(latest().as_deref(), Some(third.as_str()));
    std::os::unix::fs::symlink("x", lab.root().join("jobs/job/latest/x y")).expect("a link");
    std::os::unix::fs::symlink("x", lab.root().join("store/x")).expect("a link");
    let said = lab.builder(&["check"]);
    assert!(said.stdout.contains("I2: jobs/job/latest/x y") && said.stdout.contains("I2: store/x"), "{}", said.stdout);
    lab.ok(&["check", "--repair"]);
    lab.ok(&["rm", "job"]);
    assert!(!lab.root().join("jobs/job").exists() && lab.build(&third).dir().exists());
    drop(daemon);
    lab.ok(&["check"]);
}

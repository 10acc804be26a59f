//! The promises of builder, each with the file that tests it.
//!
//! 1. An acknowledged job or result survives a crash at any instant:
//!    `an_acknowledged_job_survives_a_crash.rs`, `a_full_disk_loses_nothing.rs`,
//!    `what_is_acknowledged_was_synced_before.rs`, `each_disk_step_may_be_the_last.rs`,
//!    `each_disk_step_of_a_build_may_be_the_last.rs`,
//!    `a_power_cut_loses_nothing.rs`
//! 2. A build is in exactly one state, and runs at most once at a time: `a_build_runs_at_most_once_at_a_time.rs`,
//!    `any_order_of_events_keeps_the_promises.rs`
//! 3. A worker's key can do nothing but its own builds: `a_worker_key_can_only_run_its_builds.rs`,
//!    `a_lying_worker_harms_nobody_else.rs`
//! 4. A build outlives its connection, the daemon, and whoever is busy: `a_build_outlives_its_connection.rs`,
//!    `a_dead_network_is_noticed.rs`, `a_build_goes_from_add_to_its_record.rs`, `who_is_busy_is_not_dead.rs`
//! 5. Every console line arrives once, in order, at every watcher: `every_console_line_arrives_once.rs`
//! 6. What is in the store is what its name says, and stored once: `what_is_stored_is_stored_once.rs`
//! 7. Nothing of a script outlives its deadline: `nothing_of_a_script_outlives_its_deadline.rs`
//! 8. `spool-layout.md` is true: `the_layout_document_is_true.rs`
//! 9. A schedule means what crontab(5) and cron(8) say, whatever clocks do: `schedules_mean_what_crontab_says.rs`,
//!    `a_jumping_clock_fires_nothing_twice.rs`, `a_daemon_whose_clock_jumps_goes_on.rs`
//! 10. The queue does what its operator says: `an_operator_has_the_queue_in_hand.rs`,
//!     `a_job_changes_under_an_operators_hand.rs`
//! 11. What the end of a build owes happens, also after a crash: `what_an_end_owes.rs`,
//!     `the_example_hooks_do_what_they_say.rs`
//! 12. A secret reaches its script and nothing else: `secrets_stay_secret.rs`
//! 13. Who does not own the spool does what their role allows, and nothing with anybody else's files:
//!     `a_person_does_what_their_role_allows.rs`, `a_local_user_asks_the_daemon.rs`
//!     And nobody but the owner writes: `the_modes_of_a_spool_are_as_documented.rs`
//! 14. TAB completes what is meant, at once, and never complains: `a_tab_completes_from_the_spool.rs`
//! 15. What people see fits their terminal, and a pipe loses nothing: `the_client_fits_the_terminal.rs`
//! 16. Each verb says what it is known to say, here and over SSH: `what_each_verb_says.rs`
//! 17. Damage is named and mended, the rest goes on, and no byte of what is not understood is lost:
//!     `damage_is_named_and_mended.rs`, `a_repair_guesses_nothing.rs`
//! 18. An old spool stays readable, and a later one is left alone: `an_old_spool_stays_readable.rs`
//! 19. Who waits costs little: `idle_workers_cost_little.rs`
//! 20. The record says what was reproduced, and what differs is named: `a_record_says_what_was_reproduced.rs`,
//!     `two_builds_are_compared.rs`, `what_went_in_is_told_from_what_came_out.rs`, `a_build_is_confirmed_by_others.rs`,
//!     `what_was_built_is_built_again_elsewhere.rs`
//! 21. What is not to be kept goes, and nothing else: `what_is_not_to_be_kept_goes.rs`
//! 22. Whatever is sent breaks nothing: `whatever_is_sent_breaks_nothing.rs`
//! 23. What robur's builder left comes in whole or not at all, and goes out as it came: `what_robur_left_comes_in.rs`,
//!     `a_file_that_is_not_roburs_is_refused.rs`
//! 24. What is signed can be verified by anybody, with ssh-keygen(1) alone: `what_is_signed_can_be_verified_by_anybody.rs`,
//!     `what_changes_of_a_sealed_build_is_named.rs`
//! 25. An index makes answers fast and changes none: `an_index_changes_no_answer.rs`,
//!     `an_index_comes_back.rs`
//! 26. A service manager knows how builderd is, and new settings take effect or change nothing:
//!     `builderd_lives_under_a_service_manager.rs`, `the_units_say_what_systemd_understands.rs`
//! 27. A service of FreeBSD starts, stops and is seen as rc(8) has it, a jail for one build leaves nothing behind, and
//!     reaches what it is to reach: `a_freebsd_service_does_what_rc_says.rs`, `workers_are_profiles_of_rc.rs`,
//!     `a_jail_for_one_build_leaves_nothing.rs`, `a_jail_reaches_what_pf_lets_it.rs`, `the_steps_on_freebsd_lead_to_a_build.rs`
//! 28. A server and a worker are set up by what each of them prints for the other one, and what keeps them apart is named:
//!     `a_server_and_a_worker_find_each_other.rs`, `a_doctor_names_what_keeps_builds_away.rs`
//! 29. A Debian or Ubuntu is served from its package, and neither an upgrade nor a purge takes a build away:
//!     `a_debian_is_served_from_its_package.rs`, `a_package_gives_a_system_what_it_can_have.rs`
//! 30. A sandbox is fresh for each build and holds what runs in it, and one that can't be made takes no build:
//!     `a_sandbox_holds_what_runs_in_it.rs`, `a_sandbox_hinders_no_later_build.rs`
//! 31. A root for workers is whole or not there: `a_root_for_workers_is_whole_or_not_there.rs`
//! 32. A static worker needs only an ssh client: `a_static_worker_needs_only_an_ssh_client.rs`
//! 33. Builds that wait get workers, started by a command, up to a limit, and whatever that command does:
//!     `workers_are_launched_when_builds_wait.rs`, `the_example_launches_do_what_they_say.rs`
//! 34. Who watches the farm is told how it is, and each end is counted once: `who_watches_it_is_told_how_it_is.rs`
//! 35. A spool may lie behind a symlink, for whatever is done with it: `a_spool_may_lie_behind_a_symlink.rs`
//!
//! And at the door: `bad_input_is_refused_in_one_line.rs`, `the_client_finds_what_is_meant.rs`,
//! `templates_build_what_they_say.rs`, `the_readme_is_true.rs`, `the_manual_names_what_there_is.rs`

use std::collections::BTreeSet;
use std::path::Path;

/// A test file that nobody lists, or that Cargo does not know, would be forgotten.
#[test]
fn each_promise_file_is_listed_here_and_known_to_cargo() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let contents = include_str!("promises.rs");
    let manifest = include_str!("Cargo.toml");
    let mut files = 0;
    for entry in std::fs::read_dir(dir).expect("the tests").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        if name.ends_with(".rs") && name != "promises.rs" {
            files += 1;
            assert!(contents.contains(&format!("`{name}`")), "{name} is not listed in promises.rs");
            assert!(manifest.contains(&format!("path = \"{name}\"")), "{name} is not in Cargo.toml");
        }
    }
    assert!(files >= 10, "only {files} files");
}

/// What RELIABILITY.md claims is shown by a test that is there.
#[test]
fn each_line_of_the_reliability_page_names_a_test_that_exists() {
    let page = include_str!("../RELIABILITY.md");
    let known = tests();
    let mut rows = 0;
    for line in
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault") && !line.contains("---"))
    {
        rows += 1;
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 4, "{line}");
        let named: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test is named in {line}");
        for name in named {
            assert!(known.contains(name), "there is no test {name}");
        }
    }
    assert!(rows > 20, "only {rows} lines");
}

/// The names of all test files here and of the tests in them.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("the tests").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        if name.ends_with(".rs") {
            let text = std::fs::read_to_string(entry.path()).expect("a test file");
            let functions =
                text.split("#[test]").skip(1).filter_map(|rest| rest.split("fn ").nth(1)?.split('(').next());
            names.extend(functions.map(str::to_owned));
            names.insert(name);
        }
    }
    names
}

//! Any order of events keeps the promises: what people ask for, what workers do, connections and processes that end, clocks
//! that jump. After each event every build is where a model of a page says, whole, and nowhere else.
//!
//! The events are carried out by the library, in this process; what a death *within* a transition leaves is another
//! file's matter.

mod model;

use model::operation::{Operation, operations};
use model::world::World;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;

const CASES: u32 = 400;

#[test]
fn any_order_of_events() {
    let config = Config { cases: CASES, max_shrink_iters: 2000, failure_persistence: None, ..Config::default() };
    let done = Cell::new(0);
    let ran = TestRunner::new(config).run(&proptest::collection::vec(operations(), 1..60), |events| {
        let mut world = World::new();
        for event in beginning().iter().chain(&events) {
            world.carry_out(event);
            world.is_as_it_should_be(event);
        }
        bring_to_an_end(&mut world);
        done.set(done.get() + world.done());
        Ok(())
    });
    ran.unwrap_or_else(|e| panic!("{e}"));
    assert!(done.get() > CASES as usize, "hardly anything happened: {} builds", done.get());
}

/// Something to begin with: a job with a timer, one that is tried again, and one that comes after that.
fn beginning() -> [Operation; 3] {
    let add = |job, hourly, after, retry| Operation::Add { job, hourly, both: true, after, retry };
    [add(0, true, None, false), add(1, false, None, true), add(2, false, Some(1), false)]
}

/// Whatever was left open can be brought to its end.
fn bring_to_an_end(world: &mut World) {
    world.carry_out(&Operation::Open);
    (0..model::WORKERS).for_each(|worker| world.carry_out(&Operation::Crash(worker)));
    let most = world.open();
    for _ in 0..most {
        world.carry_out(&Operation::Mend(1000));
        for platform in 0..model::PLATFORMS {
            world.carry_out(&Operation::Claim(0, platform));
            world.carry_out(&Operation::Finish(0, true, 1));
        }
        world.is_as_it_should_be(&Operation::Open);
    }
    assert_eq!(world.open(), 0, "they can't be brought to an end");
    world.passes_a_deep_check();
}

//! How many failures a program has logged, for who watches it from afar.

use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

static LOGGED: AtomicU64 = AtomicU64::new(0);

/// Counts what is logged as an error.
pub struct Count;

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            LOGGED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How many errors this process has logged.
pub fn logged() -> u64 {
    LOGGED.load(Ordering::Relaxed)
}

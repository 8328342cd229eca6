//! The scenarios of the cluster manager: each has its name, and runs with `redis-cli` 7.0 on our nodes, with our manager on
//! our nodes, and with our manager on real ones. The body of a scenario is written once.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod support;

#[path = "manager/again.rs"]
mod again;
#[path = "manager/clients.rs"]
mod clients;
#[path = "manager/create.rs"]
mod create;
#[path = "manager/interrupted.rs"]
mod interrupted;
#[path = "manager/membership.rs"]
mod membership;
#[path = "manager/own.rs"]
mod own;
#[path = "manager/resharding.rs"]
mod resharding;
#[path = "manager/schema.rs"]
mod schema;

/// One test for each pair of a manager and a kind of nodes, in a module of the scenario's name.
macro_rules! scenarios {
    ($($(#[$about:meta])* $name:ident,)*) => {$(
        $(#[$about])*
        mod $name {
            use crate::support::driver::Driver;

            #[test]
            fn redis_cli_on_our_nodes() {
                super::$name(&Driver::REDIS_CLI);
            }

            #[test]
            fn our_manager_on_our_nodes() {
                super::$name(&Driver::OURS);
            }

            #[test]
            fn our_manager_on_real_nodes() {
                super::$name(&Driver::OURS_ON_REDIS);
            }
        }
    )*};
}
pub(crate) use scenarios;

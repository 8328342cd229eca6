//! One server by itself: configuration, supervisor, clean and unclean ends, what outside programs look for.

mod support;

#[path = "standalone/check_tools.rs"]
mod check_tools;
#[path = "standalone/configuration.rs"]
mod configuration;
#[path = "standalone/garbage.rs"]
mod garbage;
#[path = "standalone/persistence.rs"]
mod persistence;
#[path = "standalone/service.rs"]
mod service;
#[path = "standalone/suite.rs"]
mod suite;

//! The scenarios of clusters: each test carries the scenario's name.

mod support;

#[path = "cluster/basics.rs"]
mod basics;

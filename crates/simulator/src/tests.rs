//! Seeds that must pass, scenarios that must show something, and a bug that must be caught.

use crate::*;

#[test]
fn two_hundred_seeds() {
    let report = simulate_range(0..200, Options::default());
    for failure in &report.failures {
        println!("{failure}");
    }
    println!("{:?}", report.total);
    assert!(report.failures.is_empty());
    assert_eq!(report.passed, 200);
}

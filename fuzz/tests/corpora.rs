//! Every input of every corpus passes its entry, and so do a few thousand changed ones.

use shoal_fuzz::memory::{bound, peak_of};
use shoal_fuzz::{Mutator, TARGETS, corpus};

const CHANGED: usize = 3000;

#[test]
fn corpora_are_replayed() {
    for target in TARGETS {
        let inputs = corpus(target).unwrap();
        assert!(!inputs.is_empty(), "{} has a corpus", target.name);
        for (name, input) in &inputs {
            println!("{} {name}", target.name);
            (target.run)(input);
        }
    }
}

#[test]
fn changed_inputs_pass() {
    for target in TARGETS {
        let inputs = corpus(target).unwrap();
        let mut mutator = Mutator::new(7);
        for number in 0..CHANGED {
            let input = mutator.draw(&inputs);
            let outcome = std::panic::catch_unwind(|| {
                let peak = peak_of(|| (target.run)(&input));
                assert!(peak <= bound(input.len()), "{peak} bytes");
            });
            assert!(outcome.is_ok(), "{}, input {number}: {}", target.name, input.escape_ascii());
        }
    }
}

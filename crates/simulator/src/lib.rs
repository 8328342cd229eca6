//! Virtual time, a faulty network and disk, checkers and the seed runner.

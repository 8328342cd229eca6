//! Given this input, exactly these outputs.

//! Byte layouts shared by memory, files and wire.

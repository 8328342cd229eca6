//! Byte layouts shared by memory, files and wire: the checksum, the compression and the snapshot format of Redis.

pub mod crc64;
pub mod dump_payload;
pub mod lzf;
pub mod rdb;

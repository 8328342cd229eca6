//! Byte layouts shared by memory, files and wire: small collections, the checksum, the compression and the snapshot
//! format of Redis.

pub mod aof;
pub mod crc64;
pub mod dump_payload;
pub mod intset;
pub mod listpack;
pub mod lzf;
pub mod rdb;
pub mod stream_id;
pub mod thin_bytes;
pub mod ziplist;
pub mod zipmap;

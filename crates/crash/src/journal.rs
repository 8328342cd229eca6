//! The journal of a disk: every operation in the order in which they were done, by server and children.
//!
//! A record is its length (4 bytes, little endian), a letter, a number (the open file, or a size) and bytes. It is written
//! with one call to the end of the file, so that records of several processes do not mix. The last one may be torn.

use std::path::PathBuf;

/// An operation that has been done. Files are numbers that opening gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are what their names say.
pub enum Record {
    /// A file was opened, and emptied or made.
    Create { file: u64, path: PathBuf },
    /// A file was opened for appending, or made.
    Append { file: u64, path: PathBuf },
    /// Bytes were written behind those of before.
    Write { file: u64, bytes: Vec<u8> },
    /// An open file was cut off.
    Cut { file: u64, size: u64 },
    /// A sync has begun: it concerns what was written before.
    SyncBegins { file: u64 },
    /// It has ended well.
    Synced { file: u64 },
    /// It has failed: what it concerned may be on the disk or not, for ever.
    SyncFailed { file: u64 },
    /// A file was cut off, and that has reached the disk.
    Truncate { path: PathBuf, size: u64 },
    /// A file has another name.
    Rename { from: PathBuf, to: PathBuf },
    /// A file was deleted.
    Remove { path: PathBuf },
    /// A directory was made.
    MakeDirectory { path: PathBuf },
    /// The names in a directory have reached the disk.
    SyncDirectory { path: PathBuf },
}

/// Separates the names of [`Record::Rename`].
const SEPARATOR: u8 = 0;

impl Record {
    /// The record as it stands in the journal.
    pub fn encode(&self) -> Vec<u8> {
        let path_bytes = |path: &PathBuf| path.to_string_lossy().into_owned().into_bytes();
        let (letter, number, bytes) = match self {
            Self::Create { file, path } => (b'c', *file, path_bytes(path)),
            Self::Append { file, path } => (b'a', *file, path_bytes(path)),
            Self::Write { file, bytes } => (b'w', *file, bytes.clone()),
            Self::Cut { file, size } => (b'k', *file, size.to_le_bytes().to_vec()),
            Self::SyncBegins { file } => (b's', *file, Vec::new()),
            Self::Synced { file } => (b'S', *file, Vec::new()),
            Self::SyncFailed { file } => (b'F', *file, Vec::new()),
            Self::Truncate { path, size } => (b't', *size, path_bytes(path)),
            Self::Rename { from, to } => {
                (b'r', 0, [path_bytes(from), vec![SEPARATOR], path_bytes(to)].concat())
            }
            Self::Remove { path } => (b'd', 0, path_bytes(path)),
            Self::MakeDirectory { path } => (b'm', 0, path_bytes(path)),
            Self::SyncDirectory { path } => (b'D', 0, path_bytes(path)),
        };
        let mut record = Vec::with_capacity(bytes.len() + 13);
        record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        record.push(letter);
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(&bytes);
        record
    }

    fn decode(letter: u8, number: u64, bytes: &[u8]) -> Option<Self> {
        let path = |bytes: &[u8]| PathBuf::from(String::from_utf8_lossy(bytes).into_owned());
        Some(match letter {
            b'c' => Self::Create { file: number, path: path(bytes) },
            b'a' => Self::Append { file: number, path: path(bytes) },
            b'w' => Self::Write { file: number, bytes: bytes.to_vec() },
            b'k' => Self::Cut { file: number, size: u64::from_le_bytes(bytes.try_into().ok()?) },
            b's' => Self::SyncBegins { file: number },
            b'S' => Self::Synced { file: number },
            b'F' => Self::SyncFailed { file: number },
            b't' => Self::Truncate { path: path(bytes), size: number },
            b'r' => {
                let at = bytes.iter().position(|byte| *byte == SEPARATOR)?;
                Self::Rename { from: path(&bytes[..at]), to: path(&bytes[at + 1..]) }
            }
            b'd' => Self::Remove { path: path(bytes) },
            b'm' => Self::MakeDirectory { path: path(bytes) },
            b'D' => Self::SyncDirectory { path: path(bytes) },
            _ => return None,
        })
    }
}

/// Reads a journal up to its end, or up to a record that is torn.
pub fn read(mut bytes: &[u8]) -> Vec<Record> {
    const HEAD_BYTES: usize = 13;
    let mut records = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let number = u64::from_le_bytes(std::array::from_fn(|index| head[5 + index]));
        let Some((contents, rest)) = rest.split_at_checked(length) else { break };
        let Some(record) = Record::decode(head[4], number, contents) else { break };
        records.push(record);
        bytes = rest;
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_a_torn_one_is_left_out() {
        let path = PathBuf::from("/a/b");
        let records = vec![
            Record::Create { file: 1 << 40, path: path.clone() },
            Record::Append { file: 2, path: path.clone() },
            Record::Write { file: 2, bytes: vec![0, 1, 255] },
            Record::Cut { file: 2, size: 1 << 33 },
            Record::SyncBegins { file: 2 },
            Record::Synced { file: 2 },
            Record::SyncFailed { file: 3 },
            Record::Truncate { path: path.clone(), size: 9 },
            Record::Rename { from: path.clone(), to: "/c".into() },
            Record::Remove { path: path.clone() },
            Record::MakeDirectory { path: path.clone() },
            Record::SyncDirectory { path },
        ];
        let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        assert_eq!(read(&bytes), records);
        assert_eq!(read(&bytes[..bytes.len() - 1]), records[..records.len() - 1]);
    }
}

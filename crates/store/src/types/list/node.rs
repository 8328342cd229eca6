//! The nodes of a quicklist, and when a node is full.

use super::{NewElement, Part};
use crate::call::EncodingLimits;
use shoal_formats::listpack::{HEADER_BYTES, Listpack};
use shoal_formats::lzf;
use shoal_formats::thin_bytes::ThinBytes;
use shoal_protocol::SharedBytes;
use std::borrow::Cow;
use std::sync::Arc;

/// How large a node may become, from `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Bytes of the listpack.
    bytes: usize,
    /// Elements.
    count: usize,
}

impl Fill {
    /// A node that is bounded by its count is bounded by these bytes, too.
    const COUNTED_MAX_BYTES: usize = 8192;
    /// What an element is taken to need beside its bytes.
    const ELEMENT_OVERHEAD_BYTES: usize = 8;
    /// The largest count that a quicklist keeps in mind.
    const KEPT_MAX: i32 = i16::MAX as i32;

    /// -1 to -5 are 4 to 64 KiB, other negative numbers are taken for -5; positive numbers count elements, 0 stands for 1.
    pub fn new(list_max_listpack_size: i32) -> Self {
        match list_max_listpack_size {
            0.. => Self { bytes: Self::COUNTED_MAX_BYTES, count: list_max_listpack_size.max(1) as usize },
            level => Self { bytes: 2048 << level.saturating_neg().min(5), count: usize::MAX },
        }
    }

    /// Whether a listpack of so many bytes and elements is larger than it may be.
    pub fn is_exceeded(self, bytes: usize, count: usize) -> bool {
        bytes > self.bytes || count > self.count
    }

    /// What a quicklist of one node may at most be to become a listpack: the whole of it, or with `divisor` 2 half. The
    /// bytes do not matter then where elements are counted.
    pub fn to_return(self, divisor: usize) -> Self {
        if self.count == usize::MAX {
            Self { bytes: self.bytes / divisor, ..self }
        } else {
            Self { bytes: usize::MAX, count: self.count / divisor }
        }
    }

    /// Whether one more element of so many bytes may go into such a listpack.
    fn takes(self, listpack: &Listpack, count: u32, bytes: usize) -> bool {
        let grows_to = listpack.byte_len() + bytes + Self::ELEMENT_OVERHEAD_BYTES;
        !self.is_exceeded(grows_to, count as usize + 1)
    }
}

/// How the nodes of one quicklist are made; kept from its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// `list-max-listpack-size` as it was when the quicklist was made.
    pub(super) list_max_listpack_size: i32,
    /// How large a node may become.
    pub(super) fill: Fill,
    /// Nodes at each end that are not compressed; 0 compresses none.
    pub(super) compress_depth: u32,
}

impl Shape {
    pub(super) fn new(limits: &EncodingLimits) -> Self {
        let size = limits.list_max_listpack_size.clamp(-5, Fill::KEPT_MAX);
        Self {
            list_max_listpack_size: size,
            fill: Fill::new(size),
            compress_depth: limits.list_compress_depth,
        }
    }

    /// Whether an element of so many bytes has a node of its own.
    pub(super) fn is_large(&self, bytes: usize, limits: &EncodingLimits) -> bool {
        /// No listpack takes more.
        const PACKED_MAX_BYTES: usize = 1 << 29;
        match limits.quicklist_packed_threshold_bytes {
            0 => bytes > self.fill.bytes,
            threshold => bytes >= threshold || bytes > PACKED_MAX_BYTES,
        }
    }
}

/// A part of a quicklist.
#[derive(Clone, Debug)]
pub enum Node {
    /// Elements in a listpack, and their number.
    Packed {
        /// The number of elements, which the listpack itself may have to count.
        count: u32,
        /// The elements.
        listpack: Listpack,
    },
    /// A compressed node.
    Compressed {
        /// The number of elements.
        count: u32,
        /// It is one long element, not a listpack.
        is_plain: bool,
        /// The number of bytes before compression, little endian, and the compressed bytes.
        bytes: ThinBytes,
    },
    /// One long element.
    Plain(SharedBytes),
}

const _: () = assert!(size_of::<Node>() == 16);

/// Bytes before the compressed ones.
const LENGTH_BYTES: usize = size_of::<u32>();

impl Node {
    /// A node of these elements.
    pub(super) fn packed(listpack: Listpack) -> Self {
        Self::Packed { count: listpack.len() as u32, listpack }
    }

    /// A node of one element.
    pub(super) fn single(element: NewElement<'_>, is_large: bool) -> Self {
        if is_large {
            return Self::Plain(element.to_shared());
        }
        let mut listpack = Listpack::new();
        listpack.push(element.bytes);
        Self::Packed { count: 1, listpack }
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed { count, .. } | Self::Compressed { count, .. } => *count as usize,
            Self::Plain(_) => 1,
        }
    }

    /// Whether there are no elements; a quicklist has no such nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the listpack or the element, uncompressed.
    pub fn content_bytes(&self) -> usize {
        match self {
            Self::Packed { listpack, .. } => listpack.byte_len(),
            Self::Compressed { bytes, .. } => content_bytes(bytes),
            Self::Plain(bytes) => bytes.len(),
        }
    }

    /// Bytes on the heap.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Packed { listpack, .. } => listpack.size_bytes(),
            Self::Compressed { bytes, .. } => bytes.size_bytes(),
            Self::Plain(bytes) => bytes.capacity() + size_of::<Vec<u8>>() + 2 * size_of::<usize>(),
        }
    }

    /// Whether it is a listpack, compressed or not.
    pub fn is_packed(&self) -> bool {
        !matches!(self, Self::Plain(_) | Self::Compressed { is_plain: true, .. })
    }

    /// Whether it is compressed.
    pub fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed { .. })
    }

    /// Whether one more element of so many bytes may go into it. Compressed ones are asked after decompression.
    pub(super) fn takes(&self, shape: &Shape, bytes: usize) -> bool {
        matches!(self, Self::Packed { count, listpack } if shape.fill.takes(listpack, *count, bytes))
    }

    /// Whether both are listpacks that may become one, compressed or not.
    pub(super) fn can_absorb(&self, next: &Self, shape: &Shape) -> bool {
        let bytes = || self.content_bytes() + next.content_bytes() - HEADER_BYTES - 1;
        let both_packed = self.is_packed() && next.is_packed();
        both_packed && !shape.fill.is_exceeded(bytes(), self.len() + next.len())
    }

    /// Appends the elements of `next`; both are listpacks, see [`Node::can_absorb`].
    pub(super) fn absorb(&mut self, mut next: Self) {
        self.decompress();
        next.decompress();
        if let (Self::Packed { count, listpack }, Self::Packed { count: more, listpack: other }) =
            (self, next)
        {
            listpack.append(&other);
            *count += more;
        }
    }

    /// The node as files keep it.
    pub fn part(&self) -> Part<'_> {
        match self {
            Self::Packed { listpack, .. } => Part::Packed(Cow::Borrowed(listpack)),
            Self::Plain(bytes) => Part::Plain(Cow::Borrowed(bytes)),
            Self::Compressed { is_plain, bytes, .. } => {
                let content = decompressed(bytes);
                if *is_plain {
                    Part::Plain(Cow::Owned(content))
                } else {
                    Part::Packed(Cow::Owned(listpack_of(&content)))
                }
            }
        }
    }

    /// Decompresses it, if it is compressed.
    pub(super) fn decompress(&mut self) {
        if let Self::Compressed { count, is_plain, bytes } = self {
            let content = decompressed(bytes);
            *self = if *is_plain {
                Self::Plain(Arc::new(content))
            } else {
                Self::Packed { count: *count, listpack: listpack_of(&content) }
            };
        }
    }

    /// Compresses it, if that is worth it.
    pub(super) fn compress(&mut self, compressor: &mut lzf::Compressor) {
        /// Shorter nodes are left alone.
        const CONTENT_MIN_BYTES: usize = 48;
        /// Longer ones, too: an element that long would not be decompressed in a moment.
        const CONTENT_MAX_BYTES: usize = 1 << 30;
        /// What compression has to save.
        const SAVED_MIN_BYTES: usize = 8;
        let (content, count, is_plain) = match self {
            Self::Compressed { .. } => return,
            Self::Packed { count, listpack } => (listpack.as_bytes(), *count, false),
            Self::Plain(bytes) => (bytes.as_slice(), 1, true),
        };
        if !(CONTENT_MIN_BYTES..=CONTENT_MAX_BYTES).contains(&content.len()) {
            return;
        }
        let mut output = Vec::with_capacity(content.len());
        output.extend_from_slice(&(content.len() as u32).to_le_bytes());
        if compressor.compress(content, content.len() - SAVED_MIN_BYTES - 1, &mut output) {
            *self = Self::Compressed { count, is_plain, bytes: ThinBytes::new(&output) };
        }
    }
}

fn content_bytes(bytes: &ThinBytes) -> usize {
    let length = bytes.first_chunk::<LENGTH_BYTES>().expect("compressed nodes begin with a length");
    u32::from_le_bytes(*length) as usize
}

fn decompressed(bytes: &ThinBytes) -> Vec<u8> {
    let length = content_bytes(bytes);
    let mut content = Vec::with_capacity(length);
    lzf::decompress(&bytes[LENGTH_BYTES..], length, &mut content).expect("compressed by this process");
    content
}

fn listpack_of(content: &[u8]) -> Listpack {
    Listpack::from_bytes(content).expect("it was a listpack before compression")
}

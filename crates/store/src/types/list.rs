//! Lists.

use super::{Collection, collection_of};
use crate::digest::Digest;
use shoal_formats::listpack::Listpack;

/// A sequence of strings.
#[derive(Clone, Debug)]
pub enum List {
    /// Small ones.
    Packed(Listpack),
}

impl Default for List {
    fn default() -> Self {
        Self::Packed(Listpack::new())
    }
}

impl Collection for List {
    collection_of!(List);

    fn len(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
        }
    }

    fn size_bytes(&self, _: usize) -> usize {
        match self {
            Self::Packed(listpack) => listpack.size_bytes(),
        }
    }

    fn mix_into(&self, digest: &mut Digest) {
        match self {
            Self::Packed(listpack) => {
                listpack.iter().for_each(|element| element.with_text(|text| digest.mix(text)));
            }
        }
    }

    fn free_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
        }
    }
}

//! What a fuzzer does with bytes that claim to be a listpack.

use super::{Element, Listpack};

/// Reads a listpack from both ends, changes it, and compares with a plain list.
///
/// # Panics
/// What is read forwards is not what is read backwards, or a change does something else than to a list.
pub fn fuzz_listpack(bytes: &[u8]) {
    let Ok(mut listpack) = Listpack::from_bytes(bytes) else { return };
    let mut model: Vec<Vec<u8>> = listpack.iter().map(Element::to_vec).collect();
    assert_eq!(model.len(), listpack.len());
    let mut backwards = Vec::new();
    let mut here = listpack.last();
    while let Some(at) = here {
        backwards.push(listpack.get(at).to_vec());
        here = listpack.previous(at);
    }
    backwards.reverse();
    assert_eq!(backwards, model);
    let middle = model.len() / 2;
    if let Some(at) = listpack.seek(middle as i64) {
        listpack.replace(at, b"replaced");
        model[middle] = b"replaced".to_vec();
        let removed = listpack.remove(at, 2);
        model.drain(middle..middle + removed);
    }
    listpack.push(b"-5000");
    model.push(b"-5000".to_vec());
    assert!(listpack.iter().map(Element::to_vec).eq(model));
    assert!(Listpack::from_bytes(listpack.as_bytes()).is_ok());
}

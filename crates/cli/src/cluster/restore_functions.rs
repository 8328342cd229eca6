//! The function libraries of a backup: each snapshot has them, and every primary of the cluster gets them.

use super::client::{CallError, Cluster, Member};
use super::log::{Level, log};
use crate::exit::{Step, fail};
use crate::options::Options;
use crate::text::lossy;
use shoal_protocol::value::Value;
use std::collections::BTreeSet;

/// The name of a library and its code.
type Library = (String, Vec<u8>);

/// Loads libraries into every primary. Returns how many loads that took: a library that is there already stays.
///
/// # Errors
/// A node has another library of that name, and `--cluster-replace` is not given; or it does not take the code. That has been said.
pub(super) fn restore_libraries(
    cluster: &mut Cluster,
    libraries: &BTreeSet<Vec<u8>>,
    options: &Options,
) -> Step<usize> {
    let mut loaded = 0;
    if libraries.is_empty() {
        return Ok(loaded);
    }
    for member in cluster.members.iter_mut().filter(|member| !member.node.is_replica()) {
        let Some(present) = libraries_of(member)? else {
            let text = format!(
                "*** Node {} does not know FUNCTION: {} function libraries of the backup are not restored there.\n",
                member.node.address(),
                libraries.len()
            );
            log(Level::Warning, &text);
            continue;
        };
        for code in libraries {
            let name = name_of(code);
            match present.iter().find(|(other, _)| *other == name) {
                Some((_, other)) if other == code => continue,
                Some(_) if !options.cluster.replace => {
                    let address = member.node.address();
                    fail!(
                        "[ERR] Node {address} has another function library {name}.\n*** --cluster-replace puts the backup's in \
                         its place; FUNCTION DELETE {name} removes it."
                    );
                }
                _ => {}
            }
            member.call_or_complain(&[b"FUNCTION".as_slice(), b"LOAD", b"REPLACE", code])?;
            loaded += 1;
        }
    }
    log(Level::Information, &format!(">>> {} function libraries, {loaded} loads\n", libraries.len()));
    Ok(loaded)
}

/// Names and code of the libraries of a node; nothing if it does not know functions.
fn libraries_of(member: &mut Member) -> Step<Option<Vec<Library>>> {
    let listed = match member.call(&["FUNCTION", "LIST", "WITHCODE"]) {
        Ok(listed) => listed,
        Err(CallError::Refused(text)) if text.contains("unknown command") => return Ok(None),
        Err(error) => fail!("[ERR] Node {}: {error}", member.node.address()),
    };
    let library = |fields: &Value| {
        let name = fields.field("library_name")?.as_text()?.into_owned();
        Some((name, fields.field("library_code")?.as_bytes()?.to_vec()))
    };
    Ok(Some(listed.as_elements().unwrap_or_default().iter().filter_map(library).collect()))
}

/// The name that the first line of a library gives it: `#!lua name=NAME`.
fn name_of(code: &[u8]) -> String {
    let first = code.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = lossy(first);
    let name = first.split_whitespace().find_map(|word| word.strip_prefix("name="));
    name.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_of_libraries() {
        for (code, name) in [
            (&b"#!lua name=mylib\nredis.register_function('f', f)"[..], "mylib"),
            (b"#!lua   name=other \r\n", "other"),
            (b"return 1", ""),
        ] {
            assert_eq!(name_of(code), name);
        }
    }
}

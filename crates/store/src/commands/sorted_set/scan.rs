//! ZSCAN.

use crate::call::{Call, Outcome};
use crate::commands::generic::scan::{ScanOptions, Texts, reply_with_page, take_cursor};
use crate::types::SortedSet;
use shoal_protocol::Arguments;
use shoal_protocol::number::DoubleText;

pub(super) fn zscan(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let cursor = take_cursor(&mut arguments)?;
    let mut page = Texts::default();
    let mut next = 0;
    if let Some(found) = call.find_collection::<SortedSet>(key)? {
        let options = ScanOptions::of_elements(&mut arguments)?;
        let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
        // Redis shows the scores of large sets with 17 digits here, other than in all other replies.
        let text =
            if set.as_listpack().is_some() { DoubleText::shortest } else { DoubleText::with_17_digits };
        next = set.scan(cursor, options.count, |member, score| {
            member.with_text(|member| {
                if options.matches(member) {
                    page.push(member);
                    page.push(text(score).as_bytes());
                }
            });
        });
    }
    reply_with_page(call, next, &page);
    Ok(())
}

//! DEBUG HTSTATS and HTSTATS-KEY: how well tables are filled.

use crate::call::NodeCall;
use shoal_protocol::{Arguments, ErrorReply, errors};
use shoal_store::types::SortedSet;
use shoal_store::{Outcome, Value};

const NO_SUCH_DATABASE: ErrorReply = ErrorReply::new("ERR Out of range database");
const NO_TABLE: ErrorReply =
    ErrorReply::new("ERR The value stored at the specified key is not represented using an hash table");

pub(super) fn of_database(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let keyspace = &call.node.keyspace;
    let index =
        usize::try_from(arguments.take_i64()?).ok().filter(|index| *index < keyspace.database_count());
    let database = keyspace.database(index.ok_or(NO_SUCH_DATABASE)?);
    let (all, expiring) = (database.statistics(false), database.statistics(true));
    let text = format!("[Dictionary HT]\n{all}[Expires HT]\n{expiring}");
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

pub(super) fn of_key(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let database = call.node.keyspace.database(call.session.database);
    let found = database.find(arguments.take()?).ok_or(errors::NO_SUCH_KEY)?;
    let statistics = match database.entry(found).value() {
        Value::Set(set) => set.table().map(|members| members.table().statistics(false)),
        Value::Hash(hash) => hash.table().map(|fields| fields.table().statistics(false)),
        Value::SortedSet(SortedSet::Tree(tree)) => Some(tree.table_statistics()),
        _ => None,
    };
    let text = statistics.ok_or(NO_TABLE)?.to_string();
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    #[test]
    fn tables_are_described() {
        let mut fixture = Fixture::default();
        fixture.check("DEBUG HTSTATS 16", "-ERR Out of range database");
        fixture.check("DEBUG HTSTATS x", "-ERR value is not an integer or out of range");
        fixture.check("DEBUG HTSTATS-KEY none", "-ERR no such key");
        fixture.run("MSET a 1 b 2 c 3");
        fixture.run("EXPIRE a 100");
        let text = fixture.run("DEBUG HTSTATS 0");
        let (all, expiring) = text.split_once("[Expires HT]").unwrap();
        assert!(all.contains("number of elements: 3") && all.contains("table size: 1"), "{all}");
        assert!(expiring.contains("number of elements: 1"), "{expiring}");
        fixture.check(
            "DEBUG HTSTATS-KEY a",
            "-ERR The value stored at the specified key is not represented using an hash table",
        );
        fixture.run(&format!("SADD s {}x", "y".repeat(100)));
        assert!(fixture.run("DEBUG HTSTATS-KEY s").contains("different slots: 1"));
        fixture.run(&format!("HSET h f {}x", "y".repeat(100)));
        fixture.run(&format!("ZADD z 1 {}x", "y".repeat(100)));
        assert!(fixture.run("DEBUG HTSTATS-KEY z").contains("number of elements: 1"));
        assert!(fixture.run("DEBUG HTSTATS-KEY h").contains("max chain length: 1"));
    }
}

//! Random commands on places get the replies that Redis gives.

use crate::server::Server;
use shoal_machine::Rng;
use shoal_protocol::value::Decoder;
use shoal_store::digest::keyspace_digest;
use shoal_store::testing::{Fixture, show};

const COMMANDS: usize = 8_000;
/// After so many commands the data is compared as a whole.
const DIGEST_EVERY: usize = 200;

/// Forms of commands; the words in capitals in [`fill`]'s table are replaced.
const FORMS: &[&str] = &[
    "GEOADD KEY LONGITUDE LATITUDE MEMBER",
    "GEOADD KEY LONGITUDE LATITUDE MEMBER LONGITUDE LATITUDE MEMBER LONGITUDE LATITUDE MEMBER",
    "GEOADD KEY LONGITUDE LATITUDE MEMBER LONGITUDE LATITUDE MEMBER LONGITUDE LATITUDE MEMBER",
    "GEOADD KEY ADD LONGITUDE LATITUDE MEMBER",
    "GEOADD KEY ADD ADD LONGITUDE LATITUDE MEMBER",
    "GEOADD KEY ADD ADD ADD",
    "GEOADD KEY LONGITUDE LATITUDE MEMBER LONGITUDE",
    "GEODIST KEY MEMBER MEMBER",
    "GEODIST KEY MEMBER MEMBER UNIT",
    "GEOPOS KEY MEMBER MEMBER",
    "GEOHASH KEY MEMBER MEMBER",
    "ZADD KEY SCORE MEMBER",
    "ZREM KEY MEMBER",
    "GEORADIUS KEY LONGITUDE LATITUDE SIZE UNIT",
    "GEORADIUS KEY LONGITUDE LATITUDE SIZE UNIT OPTION",
    "GEORADIUS KEY LONGITUDE LATITUDE SIZE UNIT OPTION OPTION OPTION",
    "GEORADIUS KEY LONGITUDE LATITUDE SIZE UNIT WITHDIST WITHHASH WITHCOORD OPTION",
    "GEORADIUS KEY LONGITUDE LATITUDE SIZE UNIT STORE KEY OPTION",
    "GEORADIUS KEY LONGITUDE LATITUDE SIZE UNIT OPTION STOREDIST KEY",
    "GEORADIUS_RO KEY LONGITUDE LATITUDE SIZE UNIT WITHDIST OPTION",
    "GEORADIUS_RO KEY LONGITUDE LATITUDE SIZE UNIT STORE KEY",
    "GEORADIUSBYMEMBER KEY MEMBER SIZE UNIT",
    "GEORADIUSBYMEMBER KEY MEMBER SIZE UNIT WITHDIST OPTION OPTION",
    "GEORADIUSBYMEMBER KEY MEMBER SIZE UNIT STORE KEY OPTION",
    "GEORADIUSBYMEMBER_RO KEY MEMBER SIZE UNIT OPTION WITHDIST",
    "GEOSEARCH KEY FROMLONLAT LONGITUDE LATITUDE BYRADIUS SIZE UNIT WITHDIST OPTION",
    "GEOSEARCH KEY FROMLONLAT LONGITUDE LATITUDE BYBOX SIZE SIZE UNIT WITHDIST OPTION OPTION",
    "GEOSEARCH KEY FROMMEMBER MEMBER BYBOX SIZE SIZE UNIT WITHDIST WITHCOORD OPTION",
    "GEOSEARCH KEY BYRADIUS SIZE UNIT FROMMEMBER MEMBER WITHHASH",
    "GEOSEARCH KEY BYRADIUS SIZE UNIT OPTION",
    "GEOSEARCH KEY FROMMEMBER MEMBER OPTION OPTION",
    "GEOSEARCH KEY FROMMEMBER MEMBER FROMLONLAT LONGITUDE LATITUDE BYRADIUS SIZE UNIT",
    "GEOSEARCH KEY FROMMEMBER MEMBER BYRADIUS SIZE UNIT BYBOX SIZE SIZE UNIT",
    "GEOSEARCHSTORE KEY KEY FROMMEMBER MEMBER BYRADIUS SIZE UNIT OPTION",
    "GEOSEARCHSTORE KEY KEY FROMLONLAT LONGITUDE LATITUDE BYBOX SIZE SIZE UNIT STOREDIST OPTION",
    "ZRANGE KEY 0 -1",
    "DEL KEY",
    "SET text x",
];

fn fill(word: &str, rng: &mut Rng) -> Vec<u8> {
    const KEYS: &[&str] = &["a", "a", "a", "b", "b", "c", "text", "none"];
    const ADDS: &[&str] = &["NX", "XX", "CH", "FOO"];
    const SIZES: &[&str] =
        &["0", "1", "50", "1000", "5000", "20000", "100000", "3000000.5", "-1", "x", "1e7", "1e9"];
    const UNITS: &[&str] = &["m", "km", "km", "KM", "ft", "mi", "yd"];
    const OPTIONS: &[&str] = &["WITHDIST", "WITHHASH", "WITHCOORD", "ASC", "DESC", "ANY", "COUNT", "FOO"];
    const SCORES: &[&str] = &["-1", "0", "1e300", "-inf", "inf", "4503599627370495", "18446744073709551615"];
    let coordinate = |rng: &mut Rng, bound: f64| {
        if rng.chance(1, 40) {
            return rng
                .choose(&["181", "-181", "86", "x", "nan", "0", "85.05112878", "180"])
                .unwrap()
                .to_string();
        }
        // Many places are near each other, some are at the far ends.
        let spread = *rng.choose(&[0.001, 0.1, 1.0]).unwrap();
        let share = (rng.below(2_000_001) as f64 / 1_000_000.0 - 1.0) * spread;
        (share * bound).to_string()
    };
    match word {
        "LONGITUDE" => return coordinate(rng, 180.0).into_bytes(),
        "LATITUDE" => return coordinate(rng, 85.05).into_bytes(),
        "MEMBER" => return format!("m{}", rng.below(60)).into_bytes(),
        _ => {}
    }
    let choices = match word {
        "KEY" => KEYS,
        "ADD" => ADDS,
        "SIZE" => SIZES,
        "UNIT" => UNITS,
        "OPTION" => OPTIONS,
        "SCORE" => SCORES,
        literal => return literal.as_bytes().to_vec(),
    };
    rng.choose(choices).map_or(Vec::new(), |choice| choice.as_bytes().to_vec())
}

fn compare(entries: usize, resp3: bool, seed: u64) {
    let entries_text = entries.to_string();
    let mut server = Server::start(&["--zset-max-listpack-entries", &entries_text], |_| {});
    let mut fixture = Fixture { resp3, ..Fixture::default() };
    if resp3 {
        server.call(&["HELLO", "3"]);
    }
    fixture.options.limits.zset_max_listpack_entries = entries;
    let mut rng = Rng::new(seed);
    for round in 0..COMMANDS {
        let form = *rng.choose(FORMS).unwrap();
        let mut words: Vec<Vec<u8>> = Vec::new();
        for word in form.split(' ') {
            words.push(fill(word, &mut rng));
            if words.last().unwrap() == b"COUNT" {
                words.push(rng.choose(&["1", "2", "5", "0", "x"]).unwrap().as_bytes().to_vec());
            }
        }
        let mut decoder = Decoder::new();
        decoder.feed(&fixture.run_words(&words));
        let ours = decoder.next_value().unwrap().unwrap();
        let theirs = server.call(&words);
        let shown: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(show(&ours), show(&theirs), "command {round}: {shown:?}");
        if round % DIGEST_EVERY == 0 {
            let digest = server.text(&["DEBUG", "DIGEST"]);
            assert_eq!(keyspace_digest(&fixture.keyspace).to_string(), digest, "after {round} commands");
        }
    }
}

#[test]
fn places_are_those_of_redis() {
    compare(128, false, 1);
    compare(0, true, 2);
}

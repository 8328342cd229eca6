//! Cases for commands on places. Replies were taken from a redis-server 7.0.

use crate::testing::Fixture;

fn sicily() -> Fixture {
    let mut fixture = Fixture::default();
    fixture.check("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2");
    fixture
}

#[test]
fn positions() {
    sicily().check_all(&[
        ("ZSCORE s Palermo", "\"3479099956230698\""),
        ("GEODIST s Palermo Catania", "\"166274.1516\""),
        ("GEODIST s Palermo Catania km", "\"166.2742\""),
        ("GEODIST s Palermo Catania MI", "\"103.3182\""),
        ("GEODIST s Palermo none", "nil"),
        ("GEODIST none a b", "nil"),
        ("GEODIST s a b ell", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
        ("GEODIST s a b m x", "-ERR syntax error"),
        ("GEOHASH s Palermo none", "[\"sqc8b49rny0\" nil]"),
        ("GEOPOS s Palermo none", "[[\"13.36138933897018433\" \"38.11555639549629859\"] nil]"),
        ("GEOPOS none a", "[nil]"),
        ("GEOADD s 181 0 x", "-ERR invalid longitude,latitude pair 181.000000,0.000000"),
        ("GEOADD s 0 86 x", "-ERR invalid longitude,latitude pair 0.000000,86.000000"),
        ("GEOADD s x 0 x", "-ERR value is not a valid float"),
        ("GEOADD s NX XX 1 1 a", "-ERR syntax error"),
        ("GEOADD s 1 1 a 2", "-ERR syntax error"),
        ("GEOADD s CH XX 13.4 38 Palermo 1 1 new", ":1"),
        ("ZCARD s", ":2"),
    ]);
}

#[test]
fn searching() {
    sicily().check_all(&[
        ("GEORADIUS s 15 37 200 km WITHDIST", "[[\"Palermo\" \"190.4424\"] [\"Catania\" \"56.4413\"]]"),
        ("GEORADIUS s 15 37 200 km ASC COUNT 1", "[\"Catania\"]"),
        ("GEORADIUSBYMEMBER s Palermo 100 km", "[\"Palermo\"]"),
        ("GEORADIUSBYMEMBER s none 100 km", "-ERR could not decode requested zset member"),
        ("GEORADIUSBYMEMBER none none x y", "[]"),
        ("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km DESC", "[\"Palermo\" \"Catania\"]"),
        (
            "GEOSEARCH s FROMMEMBER Catania BYRADIUS 1 km WITHHASH WITHCOORD",
            "[[\"Catania\" :3479447370796909 [\"15.08726745843887329\" \"37.50266842333162032\"]]]",
        ),
        (
            "geosearch s BYBOX 400 400 km ASC DESC",
            "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearch",
        ),
        (
            "GEOSEARCH s FROMMEMBER Catania ASC COUNT 1 ANY",
            "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH",
        ),
        ("GEOSEARCH s FROMMEMBER Catania BYRADIUS 1 m ANY", "-ERR the ANY argument requires COUNT argument"),
        ("GEOSEARCH s FROMMEMBER Catania BYRADIUS 1 m BYBOX 1 1 m", "-ERR syntax error"),
        ("GEOSEARCH s FROMMEMBER Catania BYRADIUS -1 m", "-ERR radius cannot be negative"),
        ("GEOSEARCH s FROMMEMBER Catania BYRADIUS x m", "-ERR need numeric radius"),
        ("GEOSEARCH s FROMMEMBER Catania BYBOX 1 x m", "-ERR need numeric height"),
        ("GEOSEARCH s FROMMEMBER Catania BYRADIUS 1 m COUNT 0", "-ERR COUNT must be > 0"),
        ("GEORADIUS_RO s 15 37 200 km STORE t", "-ERR syntax error"),
        (
            "GEORADIUS s 15 37 200 km STORE t WITHDIST",
            "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        ),
        ("GEORADIUS s 15 37 200 km STOREDIST t", ":2"),
        ("ZRANGE t 0 -1", "[\"Catania\" \"Palermo\"]"),
        ("OBJECT ENCODING t", "\"listpack\""),
        ("GEOSEARCHSTORE u s FROMLONLAT 15 37 BYBOX 400 400 km", ":2"),
        ("GEOPOS u Catania", "[[\"15.08726745843887329\" \"37.50266842333162032\"]]"),
    ]);
}

#[test]
fn effects_are_the_same_everywhere() {
    let mut fixture = sicily();
    for (line, propagated, events) in [
        ("GEOADD s CH 13.361389 38.115556 New", vec!["ZADD s CH 3479099956230698 New"], vec!["zadd 0 s"]),
        ("GEOADD s NX 1 1 New", vec![], vec![]),
        (
            "GEORADIUS s 15 37 200 km STORE t",
            vec!["GEORADIUS s 15 37 200 km STORE t"],
            vec!["new 0 t", "georadiusstore 0 t"],
        ),
        (
            "GEOSEARCHSTORE t s FROMLONLAT 0 0 BYRADIUS 1 m",
            vec!["GEOSEARCHSTORE t s FROMLONLAT 0 0 BYRADIUS 1 m"],
            vec!["del 0 t"],
        ),
        ("GEOSEARCHSTORE t none FROMMEMBER x BYRADIUS 1 m", vec![], vec!["keymiss 0 none"]),
    ] {
        fixture.run(line);
        assert_eq!(fixture.propagated(line), propagated, "{line}");
        assert_eq!(fixture.events(), events, "{line}");
    }
    fixture.run("GEORADIUS s 15 37 200 km STORE t");
    assert_eq!(fixture.effects.dirty, 3, "every place counts");
}

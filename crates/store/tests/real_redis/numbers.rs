//! INCRBYFLOAT prints what Redis prints.

use crate::server::Server;
use shoal_machine::Rng;
use shoal_store::testing::{Fixture, show};

/// A number's text: short and long ones, with and without point and exponent, some odd.
fn number(rng: &mut Rng) -> String {
    const ODD: [&str; 14] = [
        "inf", "-inf", "nan", "1e4932", "-1e4932", "1e-4940", "0x1.8p3", "-0x.1p-5", "1e", "0x", "+3", ".5",
        "-0", "1e19",
    ];
    let sign = if rng.chance(1, 3) { "-" } else { "" };
    let digits = |rng: &mut Rng, count: u64| -> String {
        (0..rng.below(count) + 1).map(|_| char::from(b'0' + rng.below(10) as u8)).collect()
    };
    match rng.below(6) {
        0 => (*rng.choose(&ODD).unwrap()).to_owned(),
        1 => format!("{sign}{}", digits(rng, 20)),
        2 => format!("{sign}{}.{}", digits(rng, 3), digits(rng, 3)),
        3 => format!("{sign}{}.{}", digits(rng, 18), digits(rng, 22)),
        4 => format!("{sign}{}.{}e{}", digits(rng, 3), digits(rng, 10), rng.below(80) as i64 - 40),
        _ => format!("{sign}{}e{}", digits(rng, 19), rng.below(9800) as i64 - 4900),
    }
}

#[test]
fn sums_of_floats_are_those_of_redis() {
    let mut server = Server::start(&[], |_| {});
    let mut fixture = Fixture::default();
    let mut rng = Rng::new(11);
    for round in 0..4000 {
        if round % 4 == 0 {
            let start = number(&mut rng);
            fixture.run_words(&["SET", "k", &start]);
            server.call(&["SET", "k", &start]);
        }
        let increment = number(&mut rng);
        let before = show(&server.call(&["GET", "k"]));
        let expected = show(&server.call(&["INCRBYFLOAT", "k", &increment]));
        assert_eq!(fixture.run(&format!("INCRBYFLOAT k {increment}")), expected, "{before} + {increment}");
    }
}

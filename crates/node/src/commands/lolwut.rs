//! LOLWUT: a picture, and the version.

use crate::call::{NodeBody, NodeCall};
use shoal_config::REDIS_VERSION;
use shoal_machine::Rng;
use shoal_protocol::{Arguments, CommandId, errors};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[(CommandId::Lolwut, lolwut)];

const WIDTH_STANDARD: i64 = 66;
const WIDTH_MAX: i64 = 1000;
const HEIGHT_STANDARD: i64 = 12;
const HEIGHT_MAX: i64 = 100;
/// One fish for so many places of the picture.
const PLACES_PER_FISH: usize = 40;

/// Fish that swim to the right, and the same to the left.
const FISH: [[&[u8]; 3]; 2] = [[b"><>", b"><('>", b"><((\xc2\xba>"], [b"<><", b"<')><", b"<\xc2\xba))><"]];

fn lolwut(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    if !arguments.is_empty() && arguments.take_keyword("version") {
        // Every version draws the same here.
        arguments.take().map_err(|_| errors::SYNTAX)?;
    }
    let mut size = |standard: i64, largest: i64| -> Result<usize, shoal_protocol::ErrorReply> {
        let wanted = if arguments.is_empty() { standard } else { arguments.take_i64()? };
        Ok(usize::try_from(wanted.clamp(1, largest)).unwrap_or(1))
    };
    let width = size(WIDTH_STANDARD, WIDTH_MAX)?;
    let height = size(HEIGHT_STANDARD, HEIGHT_MAX)?;
    let mut text = draw(&mut call.node.rng, width, height);
    text.extend_from_slice(format!("\nRedis ver. {REDIS_VERSION}\n").as_bytes());
    call.reply().verbatim("txt", &text);
    Ok(())
}

/// A shoal: most fish swim the same way, none over another.
fn draw(rng: &mut Rng, width: usize, height: usize) -> Vec<u8> {
    let mut rows: Vec<Vec<(usize, &[u8])>> = vec![Vec::new(); height];
    let way = rng.below(2) as usize;
    for _ in 0..(width * height / PLACES_PER_FISH).max(1) {
        let against = usize::from(rng.below(8) == 0);
        let fish = FISH[(way + against) % 2][rng.below(3) as usize];
        let (row, column) = (rng.below(height as u64) as usize, rng.below(width as u64) as usize);
        let length = shown_length(fish);
        let is_free = column + length <= width
            && rows[row]
                .iter()
                .all(|&(other, known)| column > other + shown_length(known) || other > column + length);
        if is_free {
            rows[row].push((column, fish));
        }
    }
    let mut text = Vec::new();
    for mut row in rows {
        row.sort_unstable_by_key(|&(column, _)| column);
        let mut at = 0;
        for (column, fish) in row {
            text.resize(text.len() + column - at, b' ');
            text.extend_from_slice(fish);
            at = column + shown_length(fish);
        }
        text.push(b'\n');
    }
    text
}

/// Places that a text takes when it is shown: bytes that go on with a letter take none.
fn shown_length(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn every_picture_ends_with_the_version() {
        let mut fixture = Fixture::new();
        for line in ["LOLWUT", "LOLWUT VERSION 5", "LOLWUT VERSION 6 20 3", "LOLWUT 1 1"] {
            assert!(fixture.text(line).ends_with("\nRedis ver. 7.2.4\n"), "{line}");
        }
        assert!(fixture.text("LOLWUT").contains('>'));
        fixture.check("LOLWUT x", "-ERR value is not an integer or out of range");
        fixture.check("LOLWUT VERSION", "-ERR syntax error");
    }

    #[test]
    fn fish_keep_apart() {
        let mut rng = Rng::new(1);
        for _ in 0..50 {
            let text = String::from_utf8(draw(&mut rng, 40, 10)).unwrap();
            assert_eq!(text.lines().count(), 10);
            assert!(text.lines().all(|line| line.chars().count() <= 40));
        }
    }
}

//! PFDEBUG and PFSELFTEST.

use super::{Corrupted, Encoding, dense, edit_vec, encoding_of, sketch, sparse};
use crate::call::{Call, Outcome};
use crate::database::Found;
use shoal_protocol::{Arguments, ErrorReply};

const NO_KEY: ErrorReply = ErrorReply::new("ERR The specified key does not exist");
const NOT_SPARSE: ErrorReply = ErrorReply::new("ERR HLL encoding is not sparse");

pub(super) fn pfdebug(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = arguments.take()?;
    let key = arguments.take()?;
    let found = call.find_for_write(key).ok_or(NO_KEY)?;
    let encoding = encoding_of(call, found)?;
    // Whatever is asked: Redis takes the string out of the block that it shares with its header.
    edit_vec(call, Some(found), key, |_| Ok::<(), Corrupted>(()))?;
    let found = call.find(key).ok_or(NO_KEY)?;
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if is("GETREG") {
        registers(call, found, key, encoding)
    } else if is("DECODE") {
        decode(call, found, encoding)
    } else if is("ENCODING") {
        call.reply.simple(if encoding == Encoding::Dense { "dense" } else { "sparse" });
        Ok(())
    } else if is("TODENSE") {
        let was_sparse = make_dense(call, found, key, encoding)?;
        call.reply.integer(i64::from(was_sparse));
        Ok(())
    } else {
        let shown = String::from_utf8_lossy(name);
        Err(ErrorReply::from(format!("ERR Unknown PFDEBUG subcommand '{shown}'")))
    }
}

/// Makes a sketch dense, if it is not. True if it was not. Replicas repeat the command then.
fn make_dense(
    call: &mut Call<'_, '_>,
    found: Found,
    key: &[u8],
    encoding: Encoding,
) -> Result<bool, Corrupted> {
    if encoding == Encoding::Dense {
        return Ok(false);
    }
    edit_vec(call, Some(found), key, sketch::make_dense)?;
    call.effects.dirty += 1;
    Ok(true)
}

fn registers(call: &mut Call<'_, '_>, found: Found, key: &[u8], encoding: Encoding) -> Outcome {
    make_dense(call, found, key, encoding)?;
    // The key may be kept elsewhere now.
    let found = call.find(key).ok_or(NO_KEY)?;
    let string = call.keyspace.string(call.database_index, found);
    call.reply.array(sketch::REGISTERS);
    string.text().with_bytes(|bytes| {
        dense::for_each(&bytes[sketch::HEADER_BYTES..], |_, value| call.reply.integer(i64::from(value)));
    });
    Ok(())
}

fn decode(call: &mut Call<'_, '_>, found: Found, encoding: Encoding) -> Outcome {
    if encoding == Encoding::Dense {
        return Err(NOT_SPARSE);
    }
    let text = call.string(found)?.text().with_bytes(sparse::describe);
    call.reply.bulk(text.as_bytes());
    Ok(())
}

fn failed(text: &str) -> ErrorReply {
    ErrorReply::from(format!("ERR TESTFAILED {text}"))
}

/// Fills sketches of both encodings with random elements and compares them with each other and with the truth.
pub(super) fn pfselftest(call: &mut Call<'_, '_>, _: Arguments<'_>) -> Outcome {
    /// How many elements; everybody waits for this test.
    const ELEMENTS: u64 = 1_000_000;
    /// Errors of more standard deviations are not a matter of luck.
    const DEVIATIONS: f64 = 6.0;
    let max_bytes = call.options.limits.hll_sparse_max_bytes;
    let seed = call.rng.next_u64();
    let (mut mixed, mut dense) = (sketch::empty(), sketch::empty());
    sketch::make_dense(&mut dense)?;
    let standard_error = 1.04 / (sketch::REGISTERS as f64).sqrt();
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS {
        let element = (number ^ seed).to_le_bytes();
        sketch::add(&mut mixed, &element, max_bytes)?;
        sketch::add_to_dense(&mut dense, &element);
        if number != checkpoint {
            continue;
        }
        let is_small = usize::try_from(number).is_ok_and(|number| number < max_bytes / 2);
        if is_small && sketch::encoding(&mixed) != Some(Encoding::Sparse) {
            return Err(failed("sparse encoding not used"));
        }
        let count = sketch::count(&dense)?;
        if sketch::count(&mixed)? != count {
            return Err(failed("dense/sparse disagree"));
        }
        // Of ten elements two may share a register.
        let error_max = (standard_error * DEVIATIONS * number as f64).ceil().max(1.0) as u64;
        let error = count.abs_diff(number);
        if error > error_max {
            return Err(failed(&format!("Too big error. card:{number} abserr:{error}")));
        }
        checkpoint *= 10;
    }
    call.reply.ok();
    Ok(())
}

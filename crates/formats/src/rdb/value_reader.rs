//! Reading one value from bytes that are all there, as in the payload of RESTORE.

use super::cursor::Cursor;
use super::element::{ElementReader, Opening, RdbElement, skip_to_packed};
use super::{Place, RdbProblem, RdbString, RdbValue, ValueLayout};

/// A piece of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueEvent<'a> {
    /// The whole of it.
    Value(RdbValue<'a>),
    /// Its parts follow; what a count says is not to be trusted.
    Open {
        /// What it is.
        layout: ValueLayout,
        /// How many members, fields or nodes it is said to have.
        count: u64,
    },
    /// A part of it.
    Element(RdbElement<'a>),
    /// There are no more parts.
    Close,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Elements(ElementReader),
    Done,
}

/// Reads one value.
#[derive(Debug)]
pub struct ValueReader<'a> {
    bytes: &'a [u8],
    at: usize,
    state: State,
    scratch: [Vec<u8>; 2],
}

impl<'a> ValueReader<'a> {
    /// A reader of a value: its type byte, then what it is.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, state: State::Start, scratch: [Vec::new(), Vec::new()] }
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// The bytes are wrong, or end too early.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<ValueEvent<'_>>, RdbProblem> {
        let mut cursor = Cursor::new(self.bytes, self.at);
        let state = self.state;
        // Whoever goes on after an error finds the end.
        self.state = State::Done;
        match state {
            State::Done => Ok(None),
            State::Start => {
                let byte = cursor.byte().map_err(|stop| stop.into_problem())?;
                let layout = ValueLayout::from_byte(byte)?;
                if layout == ValueLayout::String || layout.is_packed() {
                    return self.value(layout, cursor).map(|value| Some(ValueEvent::Value(value)));
                }
                let opening = Opening::read(layout, &mut cursor).map_err(|stop| stop.into_problem())?;
                self.at = cursor.position();
                self.state = State::Elements(ElementReader::new(layout, opening));
                Ok(Some(ValueEvent::Open { layout, count: opening.count }))
            }
            State::Elements(mut reader) => {
                let element =
                    reader.next(&mut cursor, &mut self.scratch).map_err(|stop| stop.into_problem())?;
                self.at = cursor.position();
                let Some(element) = element else { return Ok(Some(ValueEvent::Close)) };
                self.state = State::Elements(reader);
                let (bytes, scratch) = (self.bytes, &self.scratch);
                Ok(Some(ValueEvent::Element(element.map(|place| place.bytes(bytes, scratch)))))
            }
        }
    }

    fn value(&mut self, layout: ValueLayout, mut cursor: Cursor<'_>) -> Result<RdbValue<'_>, RdbProblem> {
        skip_to_packed(layout, &mut cursor).map_err(|stop| stop.into_problem())?;
        let place = if layout == ValueLayout::String {
            Place::of_string(&mut cursor, &mut self.scratch, 0)
        } else {
            Place::of_text(&mut cursor, &mut self.scratch, 0)
        };
        let place = place.map_err(|stop| stop.into_problem())?;
        self.at = cursor.position();
        Ok(value_of(layout, place, place.bytes(self.bytes, &self.scratch)))
    }
}

/// The value that a string of the file is.
pub(crate) fn value_of(layout: ValueLayout, place: Place, bytes: &[u8]) -> RdbValue<'_> {
    match (layout, place) {
        (ValueLayout::String, Place::Integer(integer)) => RdbValue::String(RdbString::Integer(integer)),
        (ValueLayout::String, _) => RdbValue::String(RdbString::Bytes(bytes)),
        _ => RdbValue::Packed { layout, bytes },
    }
}

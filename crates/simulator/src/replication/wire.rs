//! A connection between a replica and its primary: delay, a bound on the pace, and silence.

use super::member::Member;
use shoal_machine::Rng;
use shoal_node::testing::Fixture;
use shoal_node::{Handle, Verdict};
use shoal_protocol::request::{Limits, RequestReader};
use shoal_session::Close;
use std::collections::VecDeque;

/// Bytes that are on their way to one side before the other side has to wait.
const IN_FLIGHT_MAX_BYTES: usize = 16 * 1024;
/// Bytes that a replica with a slow connection gets in one step.
const SLOW_BYTES: usize = 60;
/// Bytes that others get.
const USUAL_BYTES: usize = 5000;

/// Bytes on their way: when they arrive, and what they are.
type Flow = VecDeque<(u64, Vec<u8>)>;

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToReplica,
    ToPrimary,
}

/// Sees bytes, and may change them.
pub(super) type Change<'a> = dyn FnMut(Direction, &mut Vec<u8>) + 'a;

/// The connection.
pub(super) struct Wire {
    pub replica: usize,
    pub primary: usize,
    at_replica: Handle,
    at_primary: Handle,
    /// The lives of both sides.
    lives: (u64, u64),
    delay_ms: u64,
    /// Bytes that the replica gets in one step.
    pace: usize,
    to_replica: Flow,
    to_primary: Flow,
    reader: RequestReader,
}

impl Wire {
    pub fn new(
        (replica, primary): (usize, usize),
        handles: (Handle, Handle),
        lives: (u64, u64),
        rng: &mut Rng,
    ) -> Self {
        Self {
            replica,
            primary,
            at_replica: handles.0,
            at_primary: handles.1,
            lives,
            delay_ms: rng.below(120),
            pace: rng
                .choose(&[SLOW_BYTES, 300, 300, USUAL_BYTES, USUAL_BYTES, 100_000])
                .copied()
                .unwrap_or(USUAL_BYTES),
            to_replica: Flow::new(),
            to_primary: Flow::new(),
            reader: RequestReader::new(),
        }
    }

    /// Takes what both sides want to send, and delivers what is due. `change` sees all bytes before they are on their way,
    /// and may change them. False if the connection is to end.
    pub fn carry(&mut self, members: &mut [Member], now_ms: u64, change: &mut Change<'_>) -> bool {
        let (replica, primary) = (self.replica, self.primary);
        let is_alive = |index: usize, life| members[index].fixture.is_some() && members[index].life == life;
        if !is_alive(replica, self.lives.0) || !is_alive(primary, self.lives.1) {
            return false;
        }
        let due_ms = now_ms + self.delay_ms;
        let mut to_primary = |bytes: &mut Vec<u8>| change(Direction::ToPrimary, bytes);
        take(&mut members[replica], self.at_replica, &mut self.to_primary, due_ms, &mut to_primary);
        let mut to_replica = |bytes: &mut Vec<u8>| change(Direction::ToReplica, bytes);
        take(&mut members[primary], self.at_primary, &mut self.to_replica, due_ms, &mut to_replica);
        while self.to_primary.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
            let Some((_, bytes)) = self.to_primary.pop_front() else { break };
            if !self.execute(&mut members[primary], &bytes) {
                return false;
            }
        }
        let mut left = self.pace;
        while left > 0 && self.to_replica.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
            let Some(Fixture { node, host, .. }) = &mut members[replica].fixture else { break };
            if !node.wants_primary_input(self.at_replica) {
                break;
            }
            let Some((due_ms, mut bytes)) = self.to_replica.pop_front() else { break };
            if bytes.len() > left {
                self.to_replica.push_front((due_ms, bytes.split_off(left)));
            }
            left -= bytes.len();
            node.primary_input(host.clock, host, self.at_replica, &bytes);
        }
        !is_closing(&members[replica], self.at_replica) && !is_closing(&members[primary], self.at_primary)
    }

    /// Gives the primary what has arrived. False if the connection is to end: nothing that a replica says lets it wait.
    fn execute(&mut self, primary: &mut Member, bytes: &[u8]) -> bool {
        let Some(Fixture { node, host, .. }) = &mut primary.fixture else { return false };
        node.input_arrived(host.clock, self.at_primary, bytes.len(), 0, 0);
        self.reader.feed(bytes);
        while node.close_of(self.at_primary) == Close::No {
            match self.reader.next(&Limits::default()) {
                Ok(Some(request)) => {
                    if node.execute(host.clock, host, self.at_primary, request) != Verdict::Done {
                        return false;
                    }
                }
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        true
    }

    /// Bytes arrive at once, and as many in a step as are said.
    pub fn hurry(&mut self, pace: usize) {
        (self.delay_ms, self.pace) = (0, pace);
    }

    /// Bytes come slowly from now on.
    pub fn slow_down(&mut self) {
        self.pace = SLOW_BYTES;
    }

    /// They come at a usual pace again.
    pub fn recover(&mut self) {
        self.pace = self.pace.max(USUAL_BYTES);
    }

    /// Tells both sides that it has ended.
    pub fn end(&self, members: &mut [Member]) {
        members[self.replica].disconnected(self.at_replica, self.lives.0);
        self.end_at_primary(members);
    }

    /// Tells the primary that it has ended.
    pub fn end_at_primary(&self, members: &mut [Member]) {
        members[self.primary].disconnected(self.at_primary, self.lives.1);
    }
}

fn take(
    member: &mut Member,
    handle: Handle,
    flow: &mut Flow,
    due_ms: u64,
    change: &mut dyn FnMut(&mut Vec<u8>),
) {
    let in_flight: usize = flow.iter().map(|(_, bytes)| bytes.len()).sum();
    let Some(Fixture { node, .. }) = &mut member.fixture else { return };
    if node.close_of(handle) == Close::Now {
        return;
    }
    let room = IN_FLIGHT_MAX_BYTES.saturating_sub(in_flight);
    let mut bytes: Vec<u8> = node.output_slices(handle, 8).iter().flat_map(|slice| slice.to_vec()).collect();
    bytes.truncate(room);
    if !bytes.is_empty() {
        node.output_sent(handle, bytes.len());
        change(&mut bytes);
        flow.push_back((due_ms, bytes));
    }
}

fn is_closing(member: &Member, handle: Handle) -> bool {
    let Some(Fixture { node, .. }) = &member.fixture else { return true };
    match node.close_of(handle) {
        Close::No => false,
        Close::Now => true,
        Close::AfterReply => !node.has_output(handle),
    }
}

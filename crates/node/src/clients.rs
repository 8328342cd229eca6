//! The table of connections.

use shoal_session::Session;

/// A connection's place in the table. It is used again after the connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u32);

#[derive(Debug)]
enum Place {
    Vacant,
    Present(Box<Session>),
    /// Its command is running; the dispatcher holds the session.
    Running,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    places: Vec<Place>,
    vacant: Vec<u32>,
    /// Connections that have something to send or are to be closed.
    pending: Vec<Handle>,
    count: usize,
}

impl Clients {
    /// The number of connections.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds a connection.
    pub fn insert(&mut self, session: Session) -> Handle {
        self.count += 1;
        let place = Place::Present(Box::new(session));
        match self.vacant.pop() {
            Some(index) => {
                self.places[index as usize] = place;
                Handle(index)
            }
            None => {
                self.places.push(place);
                Handle(self.places.len() as u32 - 1)
            }
        }
    }

    /// Removes a connection.
    pub fn remove(&mut self, handle: Handle) -> Option<Box<Session>> {
        let place = self.places.get_mut(handle.0 as usize)?;
        let Place::Present(session) = std::mem::replace(place, Place::Vacant) else { return None };
        self.count -= 1;
        self.vacant.push(handle.0);
        Some(session)
    }

    /// A connection, unless its command is running.
    pub fn session(&self, handle: Handle) -> Option<&Session> {
        match self.places.get(handle.0 as usize) {
            Some(Place::Present(session)) => Some(session),
            _ => None,
        }
    }

    /// A connection to be changed, unless its command is running.
    pub fn session_mut(&mut self, handle: Handle) -> Option<&mut Session> {
        match self.places.get_mut(handle.0 as usize) {
            Some(Place::Present(session)) => Some(session),
            _ => None,
        }
    }

    /// All connections but the one whose command is running.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &Session)> {
        self.places.iter().enumerate().filter_map(|(index, place)| match place {
            Place::Present(session) => Some((Handle(index as u32), &**session)),
            _ => None,
        })
    }

    /// Notes that the connection whose command is running will have something to send, beside its output.
    pub fn mark_running_pending(&mut self, handle: Handle, session: &mut Session) {
        if !session.has_pending_output {
            session.has_pending_output = true;
            self.pending.push(handle);
        }
    }

    /// Visits all connections but the one whose command is running.
    pub fn for_each_mut(&mut self, mut visit: impl FnMut(&mut Session)) {
        for place in &mut self.places {
            if let Place::Present(session) = place {
                visit(session);
            }
        }
    }

    /// Takes a session out while its command runs.
    pub fn take(&mut self, handle: Handle) -> Option<Box<Session>> {
        let place = self.places.get_mut(handle.0 as usize)?;
        match std::mem::replace(place, Place::Running) {
            Place::Present(session) => Some(session),
            other => {
                *place = other;
                None
            }
        }
    }

    /// Puts a session back, and notes whether it has something to send.
    pub fn put_back(&mut self, handle: Handle, mut session: Box<Session>) {
        if wants_attention(&session) && !session.has_pending_output {
            session.has_pending_output = true;
            self.pending.push(handle);
        }
        if let Some(place) = self.places.get_mut(handle.0 as usize) {
            *place = Place::Present(session);
        }
    }

    /// Notes that a connection has something to send or is to be closed.
    pub fn mark_pending(&mut self, handle: Handle) {
        if let Some(session) = self.session_mut(handle)
            && !session.has_pending_output
        {
            session.has_pending_output = true;
            self.pending.push(handle);
        }
    }

    /// The connections that want attention since the last call.
    pub fn take_pending(&mut self, handles: &mut Vec<Handle>) {
        handles.clear();
        handles.append(&mut self.pending);
        for &handle in &*handles {
            if let Some(session) = self.session_mut(handle) {
                session.has_pending_output = false;
            }
        }
    }
}

fn wants_attention(session: &Session) -> bool {
    !session.output.is_empty() || session.close != shoal_session::Close::No
}

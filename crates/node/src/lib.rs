//! One whole server without sockets.

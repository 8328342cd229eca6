//! The poll loop, connections, timers and files that drive a node.

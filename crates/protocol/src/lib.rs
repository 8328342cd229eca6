//! RESP2 and RESP3, the command table, key specifications, hash slots and error texts.

//! What every client-facing program keeps per connection.

//! The configuration: directives, their types and defaults, redis.conf text in and out.

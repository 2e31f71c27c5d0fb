//! D-Bus as far as a runtime needs it: values, messages, the connection, the address of a bus.
//!
//! Knows nothing of OCI or systemd. `value`, `message` and `address` touch nothing; `link` is the connection.

pub mod address;
pub mod link;
pub mod message;
pub mod value;

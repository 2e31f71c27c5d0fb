//! D-Bus as far as a runtime needs it: values, messages, the connection, the address of a bus.
//!
//! No word of OCI; whom it looks for and asks is a systemd manager. `value`, `message` and `address` touch nothing; `link` is the connection.

pub mod address;
pub mod link;
pub mod message;
pub mod value;

//! D-Bus as far as a client of one service needs it: values, messages, the connection, the address of a bus.
//!
//! Whom it speaks to, and of what, says who uses it. `value`, `message` and `address` touch nothing; `link` is the connection.

pub mod address;
pub mod link;
pub mod message;
pub mod value;

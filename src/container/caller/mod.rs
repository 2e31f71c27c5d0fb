//! What the caller has handed over, and what it is told: its streams and terminal, the files and sockets it names, and whoever
//! supervises it.
//!
//! `streams` decides which of its standard streams a program gets as they are, and which by a pipe; `console` puts terminal and
//! streams together; `flows` are the bytes that go through us, and `terminal` is the one we were
//! called on; `files` are pid files, pidfd sockets and traces; `notify` is sd_notify(3).

pub(in crate::container) mod console;
pub(in crate::container) mod files;
pub(in crate::container) mod flows;
pub(in crate::container) mod notify;
pub(in crate::container) mod streams;
pub(in crate::container) mod terminal;

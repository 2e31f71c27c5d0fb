//! Why a request failed: a gRPC status code, which containerd makes its own errors of, and a text.

use std::fmt::Display;
use std::io;

use nix::errno::Errno;

use super::os;
use super::protobuf::Malformed;

/// gRPC's number of a status (https://grpc.io/docs/guides/status-codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
}

/// A failed request.
#[derive(Debug)]
pub struct Fault {
    pub code: Code,
    pub message: String,
}

/// The answer to a request.
pub type Answer<T> = Result<T, Fault>;

impl Fault {
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into() }
    }

    pub fn unknown(message: impl Into<String>) -> Fault {
        Fault::new(Code::Unknown, message)
    }

    pub fn not_found(message: impl Into<String>) -> Fault {
        Fault::new(Code::NotFound, message)
    }

    /// The client's time is over; in the words of Go.
    pub fn late() -> Fault {
        Fault::new(Code::DeadlineExceeded, "context deadline exceeded")
    }

    /// What was being done, before the error that came of it.
    pub fn doing<E: Into<Fault>>(what: impl Display) -> impl FnOnce(E) -> Fault {
        move |error| Fault::unknown(format!("{what}: {}", error.into().message))
    }
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Fault {
        Fault::new(Code::InvalidArgument, "the message is malformed")
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::unknown(os::errno::io_text(&error))
    }
}

/// What is told in the words of whoever made it.
macro_rules! told {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Fault {
                Fault::unknown(error.to_string())
            }
        })*
    };
}

told!(Errno, serde_json::Error, std::num::ParseIntError, std::string::FromUtf8Error);

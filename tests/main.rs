//! Tests that need no root and change nothing: plans, formats, the shape of the source.
mod seccomp;

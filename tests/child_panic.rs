//! A child that panics.

use brisk::sys::clone::{CloneArgs, Cloned, clone3};
use brisk::sys::pidfd::ProcessHandle;
use brisk::sys::process::{Exit, wait};

#[test]
fn a_child_that_panics_ends_alone() {
    match clone3(&CloneArgs::default()).unwrap() {
        Cloned::Child => panic!("as it should"),
        Cloned::Parent(ProcessHandle { pid, .. }) => assert_eq!(wait(pid, 0).unwrap(), Some((pid, Exit::Code(134)))),
    }
}

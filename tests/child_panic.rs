//! A child that panics.

use brisk::sys::process::{CloneArgs, Cloned, Exit, clone3, wait};

#[test]
fn a_child_that_panics_ends_alone() {
    match clone3(&CloneArgs::default()).unwrap() {
        Cloned::Child => panic!("as it should"),
        Cloned::Parent { pid, .. } => assert_eq!(wait(pid, 0).unwrap(), Some((pid, Exit::Code(134)))),
    }
}

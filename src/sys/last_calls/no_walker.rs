//! For an architecture without a walker: [`Block::run_op`](super::Block::run_op) makes the calls of a first block, and nobody is
//! brought a second.

/// The largest page of any architecture.
pub(super) const PAGE: usize = 65536;
pub(super) const RSEQ_SIGNATURE: u64 = 0;

/// Never called: `enter` looks at `HAS_WALKER` first.
///
/// # Safety
///
/// None is needed.
pub(super) unsafe fn jump(_code: usize, _header: usize, _call: usize, _stack: usize) -> ! {
    super::super::process::exit(255)
}

/// Nobody asks: there is no area that would have to be left.
pub(super) fn thread_pointer() -> usize {
    0
}

//! Ranges of system call numbers with equal verdict.

use super::graph::NodeId;

/// The numbers from `start` up to the next range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) verdict: NodeId,
}

/// Verdicts of single numbers, in ascending order, over a background that starts at 0.
pub(super) fn overlay(background: &[Range], verdicts: &[(u32, NodeId)]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::with_capacity(verdicts.len() / 2 + 8);
    let mut push = |start: u32, verdict: NodeId| {
        if ranges.last().is_none_or(|last| last.verdict != verdict) {
            ranges.push(Range { start, verdict });
        }
    };
    // In u64, where the end of the numbers is a number too.
    let fill = |from: u64, to: u64, push: &mut dyn FnMut(u32, NodeId)| {
        for (index, range) in background.iter().enumerate() {
            let end = background.get(index + 1).map_or(1 << 32, |next| u64::from(next.start));
            let start = from.max(u64::from(range.start));
            if start < end.min(to) {
                push(start as u32, range.verdict);
            }
        }
    };
    let mut next = 0;
    for &(number, verdict) in verdicts {
        if next < u64::from(number) {
            fill(next, u64::from(number), &mut push);
        }
        push(number, verdict);
        next = u64::from(number) + 1;
    }
    fill(next, 1 << 32, &mut push);
    ranges
}

/// Adjacent ranges that are told apart by asking for single numbers: one comparison for each instead of two.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) start: u32,
    /// Of all numbers but the exceptions.
    pub(super) verdict: NodeId,
    pub(super) exceptions: Vec<(u32, NodeId)>,
}

/// More exceptions save comparisons in the program, fewer save them on the way through it.
const MAX_EXCEPTIONS: usize = 3;

/// Groups ranges into chunks.
pub(super) fn chunks(ranges: &[Range]) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::with_capacity(ranges.len());
    let mut index = 0;
    while let Some(range) = ranges.get(index) {
        if let (Some(chunk), Some(after)) = (chunks.last_mut(), ranges.get(index + 1))
            && after.start - range.start == 1
            && after.verdict == chunk.verdict
            && chunk.exceptions.len() < MAX_EXCEPTIONS
        {
            chunk.exceptions.push((range.start, range.verdict));
            index += 2;
            continue;
        }
        chunks.push(Chunk { start: range.start, verdict: range.verdict, exceptions: Vec::new() });
        index += 1;
    }
    chunks
}

//! Lays a program out: from its end to its start, since classic BPF only jumps forward.
//!
//! A conditional jump reaches 255 instructions. What is farther is brought near: a return is repeated, anything else
//! gets an unconditional jump, whose reach is 32 bits.

use crate::sys::seccomp::Instruction;

use super::graph::{DataWord, Graph, Jump, Node, NodeId, Test};
use super::machine::{AND, JUMP, JUMP_EQ, JUMP_GE, JUMP_GT, JUMP_SET, LOAD, RETURN};
use super::ranges::Chunk;

/// Offsets of `nr` and `arch` in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

fn code(jump: Jump) -> u16 {
    match jump {
        Jump::Equal => JUMP_EQ,
        Jump::Greater => JUMP_GT,
        Jump::GreaterOrEqual => JUMP_GE,
        Jump::AnySet => JUMP_SET,
    }
}

/// Where a jump goes: an instruction, as its distance from the end of the program, or a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum JumpTarget {
    At(usize),
    /// Found wherever it is nearest; the accumulator holds none of its words.
    Node(NodeId),
}

/// How a node is come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    /// With its word in the accumulator.
    Compare,
    /// From anywhere.
    Load,
}

/// Where the code of a node is.
#[derive(Clone, Copy, Default)]
struct CodeOf {
    /// Its start.
    load: Option<usize>,
    /// Its comparison, for those who come with the word in the accumulator.
    compare: Option<usize>,
}

pub(super) struct Assembler<'a> {
    graph: &'a Graph,
    /// The last instruction first.
    reversed: Vec<Instruction>,
    codes: Vec<CodeOf>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        Assembler { graph, reversed: Vec::with_capacity(512), codes: vec![CodeOf::default(); graph.len()] }
    }

    /// The program, in the order of the kernel.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// The search through the numbers of one architecture.
    pub(super) fn numbers(&mut self, chunks: &[Chunk]) -> JumpTarget {
        self.nodes(chunks);
        let root = self.search(chunks);
        match root {
            JumpTarget::At(_) => JumpTarget::At(self.push(LOAD, NUMBER)),
            JumpTarget::Node(_) => root,
        }
    }

    /// The choice of the architecture; calls of others get `other`. This is the start of the program.
    pub(super) fn architectures(&mut self, bodies: &[(u32, JumpTarget)], other: NodeId) {
        let mut target = JumpTarget::Node(other);
        for (token, body) in bodies.iter().rev() {
            target = JumpTarget::At(self.branch(Jump::Equal, *token, *body, target));
        }
        self.push(LOAD, ARCH);
    }

    fn search(&mut self, chunks: &[Chunk]) -> JumpTarget {
        if let [chunk] = chunks {
            let mut target = JumpTarget::Node(chunk.verdict);
            for (number, verdict) in chunk.exceptions.iter().rev() {
                target = JumpTarget::At(self.branch(Jump::Equal, *number, JumpTarget::Node(*verdict), target));
            }
            return target;
        }
        let middle = chunks.len() / 2;
        let right = self.search(&chunks[middle..]);
        let left = self.search(&chunks[..middle]);
        JumpTarget::At(self.branch(Jump::GreaterOrEqual, chunks[middle].start, right, left))
    }

    /// Writes every test that these chunks lead to and that is not written yet. Returns are written where needed.
    fn nodes(&mut self, chunks: &[Chunk]) {
        let mut entries: Vec<Option<Arrival>> = vec![None; self.graph.len()];
        for chunk in chunks {
            for id in chunk.exceptions.iter().map(|(_, id)| *id).chain([chunk.verdict]) {
                entries[id.index()] = Some(Arrival::Load);
            }
        }
        // Ids fall along every edge, so one pass downwards sees each node after all that lead to it.
        let ids: Vec<NodeId> = self.graph.ids().collect();
        for &id in ids.iter().rev() {
            if let (Some(_), Node::Branch { test, yes, no }) = (entries[id.index()], self.graph.node(id)) {
                for next in [yes, no] {
                    let entry = if self.word(next) == Some(test.word) { Arrival::Compare } else { Arrival::Load };
                    entries[next.index()] = entries[next.index()].max(Some(entry));
                }
            }
        }
        for id in ids {
            if let (Some(entry), Node::Branch { test, yes, no }) = (entries[id.index()], self.graph.node(id)) {
                let at = self.codes[id.index()];
                if at.compare.is_none() || (entry == Arrival::Load && at.load.is_none()) {
                    self.codes[id.index()] = self.node(test, (yes, no), entry);
                }
            }
        }
    }

    fn node(&mut self, test: Test, (yes, no): (NodeId, NodeId), entry: Arrival) -> CodeOf {
        let yes = self.successor(yes, test.word);
        let no = self.successor(no, test.word);
        let compare = self.branch(test.jump, test.k, yes, no);
        let load = (entry == Arrival::Load).then(|| {
            if test.word.mask != u32::MAX {
                self.push(AND, test.word.mask);
            }
            self.push(LOAD, test.word.offset)
        });
        CodeOf { load, compare: Some(compare) }
    }

    /// The node as it is reached with `word` in the accumulator.
    fn successor(&self, id: NodeId, word: DataWord) -> JumpTarget {
        match self.codes[id.index()].compare {
            Some(compare) if self.word(id) == Some(word) => JumpTarget::At(compare),
            _ => JumpTarget::Node(id),
        }
    }

    fn word(&self, id: NodeId) -> Option<DataWord> {
        match self.graph.node(id) {
            Node::Branch { test, .. } => Some(test.word),
            Node::Return(_) => None,
        }
    }

    fn push(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt: 0, jf: 0, k });
        self.reversed.len() - 1
    }

    fn branch(&mut self, jump: Jump, k: u32, mut yes: JumpTarget, mut no: JumpTarget) -> usize {
        // Bringing one near moves the other one instruction away; the second time round both are near.
        loop {
            match (self.near(yes), self.near(no)) {
                (Some(jt), Some(jf)) => {
                    self.reversed.push(Instruction { code: code(jump), jt, jf, k });
                    return self.reversed.len() - 1;
                }
                (None, _) => yes = self.bring(yes),
                (_, None) => no = self.bring(no),
            }
        }
    }

    fn at(&self, target: JumpTarget) -> Option<usize> {
        match target {
            JumpTarget::At(at) => Some(at),
            JumpTarget::Node(id) => self.codes[id.index()].load,
        }
    }

    /// How many instructions the next one would have to skip, where a conditional jump can.
    fn near(&self, target: JumpTarget) -> Option<u8> {
        self.at(target).and_then(|at| u8::try_from(self.reversed.len() - 1 - at).ok())
    }

    fn bring(&mut self, target: JumpTarget) -> JumpTarget {
        let at = match (target, self.at(target)) {
            (JumpTarget::Node(id), at) => {
                let at = match (self.graph.node(id), at) {
                    (Node::Return(action), _) => self.push(RETURN, action),
                    (Node::Branch { .. }, Some(at)) => self.jump(at),
                    (Node::Branch { .. }, None) => unreachable!("tests are written before what leads to them"),
                };
                self.codes[id.index()].load = Some(at);
                at
            }
            (JumpTarget::At(at), _) => self.jump(at),
        };
        JumpTarget::At(at)
    }

    fn jump(&mut self, at: usize) -> usize {
        let skip = self.reversed.len() - 1 - at;
        self.push(JUMP, skip as u32)
    }
}

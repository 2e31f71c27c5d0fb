//! Lays a program out: from its end to its start, since classic BPF only jumps forward.
//!
//! A conditional jump reaches 255 instructions. What is farther is brought near: a return is repeated, anything else
//! gets an unconditional jump, whose reach is 32 bits.

use crate::sys::seccomp::Instruction;

use super::graph::{Graph, Jump, Node, NodeId, Test, Word};
use super::ranges::Chunk;

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_ALU | BPF_AND | BPF_K`, `BPF_JMP | BPF_JA`, `BPF_RET | BPF_K`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// Offsets of `nr` and `arch` in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

fn code(jump: Jump) -> u16 {
    // `BPF_JMP | BPF_K` with JEQ, JGT, JGE, JSET.
    match jump {
        Jump::Equal => 0x15,
        Jump::Greater => 0x25,
        Jump::GreaterOrEqual => 0x35,
        Jump::AnySet => 0x45,
    }
}

/// Where a jump goes: an instruction, as its distance from the end of the program, or a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    At(usize),
    /// Found wherever it is nearest; the accumulator holds none of its words.
    Node(NodeId),
}

/// How a node is reached; the later one includes the earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// With its word in the accumulator.
    Compare,
    /// With another word: it has to be loaded.
    Load,
}

/// Where the code of a node is.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Its start.
    load: Option<usize>,
    /// Its comparison, for those who come with the word in the accumulator.
    compare: Option<usize>,
}

pub(super) struct Assembler<'a> {
    graph: &'a Graph,
    /// The last instruction first.
    reversed: Vec<Instruction>,
    places: Vec<Place>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        Assembler { graph, reversed: Vec::with_capacity(512), places: vec![Place::default(); graph.len()] }
    }

    /// The program, in the order of the kernel.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// The search through the numbers of one architecture.
    pub(super) fn numbers(&mut self, chunks: &[Chunk]) -> Target {
        self.nodes(chunks);
        let root = self.search(chunks);
        match root {
            Target::At(_) => Target::At(self.push(LOAD, NUMBER)),
            Target::Node(_) => root,
        }
    }

    /// The choice of the architecture; calls of others get `other`. This is the start of the program.
    pub(super) fn architectures(&mut self, bodies: &[(u32, Target)], other: NodeId) {
        let mut target = Target::Node(other);
        for (token, body) in bodies.iter().rev() {
            target = self.branch(Jump::Equal, *token, *body, target);
        }
        self.push(LOAD, ARCH);
    }

    fn search(&mut self, chunks: &[Chunk]) -> Target {
        if let [chunk] = chunks {
            let mut target = Target::Node(chunk.verdict);
            for (number, verdict) in chunk.exceptions.iter().rev() {
                target = self.branch(Jump::Equal, *number, Target::Node(*verdict), target);
            }
            return target;
        }
        let middle = chunks.len() / 2;
        let right = self.search(&chunks[middle..]);
        let left = self.search(&chunks[..middle]);
        self.branch(Jump::GreaterOrEqual, chunks[middle].start, right, left)
    }

    /// Writes every test that these chunks lead to and that is not written yet. Returns are written where needed.
    fn nodes(&mut self, chunks: &[Chunk]) {
        let mut wanted: Vec<Option<Entry>> = vec![None; self.graph.len()];
        for chunk in chunks {
            for id in chunk.exceptions.iter().map(|(_, id)| *id).chain([chunk.verdict]) {
                wanted[id.index()] = Some(Entry::Load);
            }
        }
        // Ids fall along every edge, so one pass downwards sees each node after all that lead to it.
        let ids: Vec<NodeId> = self.graph.ids().collect();
        for &id in ids.iter().rev() {
            if let (Some(_), Node::Branch { test, yes, no }) = (wanted[id.index()], self.graph.node(id)) {
                for next in [yes, no] {
                    let other = self.word(next).is_some_and(|word| word != test.word);
                    let entry = if other { Entry::Load } else { Entry::Compare };
                    wanted[next.index()] = wanted[next.index()].max(Some(entry));
                }
            }
        }
        for id in ids {
            let place = self.places[id.index()];
            if let (Some(entry), Node::Branch { test, yes, no }) = (wanted[id.index()], self.graph.node(id))
                && (place.compare.is_none() || (entry == Entry::Load && place.load.is_none()))
            {
                self.node(id, test, (yes, no), entry);
            }
        }
    }

    fn node(&mut self, id: NodeId, test: Test, (yes, no): (NodeId, NodeId), entry: Entry) {
        let yes = self.successor(yes, test.word);
        let no = self.successor(no, test.word);
        let Target::At(compare) = self.branch(test.jump, test.k, yes, no) else {
            unreachable!("a branch is an instruction");
        };
        let mut place = Place { load: None, compare: Some(compare) };
        if entry == Entry::Load {
            if test.word.mask != u32::MAX {
                self.push(AND, test.word.mask);
            }
            place.load = Some(self.push(LOAD, test.word.offset));
        }
        self.places[id.index()] = place;
    }

    /// The node as it is reached with `word` in the accumulator.
    fn successor(&self, id: NodeId, word: Word) -> Target {
        match self.places[id.index()].compare {
            Some(compare) if self.word(id) == Some(word) => Target::At(compare),
            _ => Target::Node(id),
        }
    }

    fn word(&self, id: NodeId) -> Option<Word> {
        match self.graph.node(id) {
            Node::Branch { test, .. } => Some(test.word),
            Node::Return(_) => None,
        }
    }

    fn push(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt: 0, jf: 0, k });
        self.reversed.len() - 1
    }

    fn branch(&mut self, jump: Jump, k: u32, mut yes: Target, mut no: Target) -> Target {
        // Bringing one near moves the other one instruction away; the second time round both are near.
        loop {
            match (self.near(yes), self.near(no)) {
                (Some(jt), Some(jf)) => {
                    self.reversed.push(Instruction { code: code(jump), jt, jf, k });
                    return Target::At(self.reversed.len() - 1);
                }
                (None, _) => yes = self.bring(yes),
                (_, None) => no = self.bring(no),
            }
        }
    }

    fn place(&self, target: Target) -> Option<usize> {
        match target {
            Target::At(place) => Some(place),
            Target::Node(id) => self.places[id.index()].load,
        }
    }

    /// How many instructions the next one would have to skip, where a conditional jump can.
    fn near(&self, target: Target) -> Option<u8> {
        self.place(target).and_then(|place| u8::try_from(self.reversed.len() - 1 - place).ok())
    }

    fn bring(&mut self, target: Target) -> Target {
        let place = match (target, self.place(target)) {
            (Target::Node(id), place) => {
                let place = match (self.graph.node(id), place) {
                    (Node::Return(action), _) => self.push(RETURN, action),
                    (Node::Branch { .. }, Some(place)) => self.jump(place),
                    (Node::Branch { .. }, None) => unreachable!("tests are written before what leads to them"),
                };
                self.places[id.index()].load = Some(place);
                place
            }
            (Target::At(place), _) => self.jump(place),
        };
        Target::At(place)
    }

    fn jump(&mut self, place: usize) -> usize {
        let skip = self.reversed.len() - 1 - place;
        self.push(JUMP, skip as u32)
    }
}

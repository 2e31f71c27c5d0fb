//! Verdicts as a graph of tests: what is left to ask about a call once its number is known.
//!
//! Equal nodes are one node, so equal verdicts compare as equal ids, in one architecture or across several. An edge
//! skips every test whose outcome the tests before it have settled.

use std::collections::BTreeMap;

use super::arch::{Arch, Endian, Width};
use super::words::Operator;

/// A node of a [`Graph`]. What a node leads to always has a smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A word of `seccomp_data`, under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DataWord {
    pub(super) offset: u32,
    pub(super) mask: u32,
}

/// The kernel's conditional jumps; the comparisons are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Jump {
    Equal,
    Greater,
    GreaterOrEqual,
    AnySet,
}

/// A question about one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) word: DataWord,
    pub(super) jump: Jump,
    pub(super) k: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// Answer with this action.
    Return(u32),
    /// Ask, and go on.
    Branch { test: Test, yes: NodeId, no: NodeId },
}

/// A test whose outcome is known at some point.
type Fact = (Test, bool);

/// A condition on one argument. Bits outside the mask are clear in the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) index: u8,
    pub(super) operator: Operator,
    pub(super) value: u64,
    pub(super) mask: u64,
}

impl Condition {
    /// The condition as it is checked on an architecture; `None` when every argument meets it.
    pub(super) fn on(self, arch: Arch) -> Option<Condition> {
        let bits = match arch.width() {
            Width::Half => u64::from(u32::MAX),
            Width::Full => u64::MAX,
        };
        let condition = Condition { value: self.value & bits, mask: self.mask & bits, ..self };
        (condition.mask != 0).then_some(condition)
    }
}

#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    ids: BTreeMap<Node, NodeId>,
}

impl Graph {
    pub(super) fn node(&self, id: NodeId) -> Node {
        self.nodes[id.index()]
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Every node, each after all that it leads to.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    fn intern(&mut self, node: Node) -> NodeId {
        let next = NodeId(self.nodes.len() as u32);
        let id = *self.ids.entry(node).or_insert(next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }

    pub(super) fn action(&mut self, action: u32) -> NodeId {
        self.intern(Node::Return(action))
    }

    /// `yes` where all conditions hold, else `no`.
    pub(super) fn all_of(&mut self, arch: Arch, conditions: &[Condition], yes: NodeId, no: NodeId) -> NodeId {
        self.chain(arch, conditions, &mut Vec::new(), yes, no)
    }

    fn chain(
        &mut self,
        arch: Arch,
        conditions: &[Condition],
        facts: &mut Vec<Fact>,
        yes: NodeId,
        no: NodeId,
    ) -> NodeId {
        let Some((condition, rest)) = conditions.split_first() else {
            return yes;
        };
        let known = facts.len();
        if matches!(condition.operator, Operator::Equal | Operator::MaskedEqual) {
            facts.extend(equalities(arch, *condition).into_iter().flatten());
        }
        let rest = self.chain(arch, rest, facts, yes, no);
        facts.truncate(known);
        self.condition(arch, *condition, facts, rest, no)
    }

    fn condition(&mut self, arch: Arch, c: Condition, facts: &mut Vec<Fact>, yes: NodeId, no: NodeId) -> NodeId {
        match c.operator {
            Operator::Equal | Operator::MaskedEqual => self.conjunction(&equalities(arch, c), facts, yes, no),
            Operator::NotEqual => self.conjunction(&equalities(arch, c), facts, no, yes),
            Operator::Greater => self.order(arch, c, Jump::Greater, facts, yes, no),
            Operator::LessOrEqual => self.order(arch, c, Jump::Greater, facts, no, yes),
            Operator::GreaterOrEqual => self.order(arch, c, Jump::GreaterOrEqual, facts, yes, no),
            Operator::Less => self.order(arch, c, Jump::GreaterOrEqual, facts, no, yes),
        }
    }

    /// `yes` where every test has its outcome.
    fn conjunction(&mut self, tests: &[Option<Fact>], facts: &mut Vec<Fact>, yes: NodeId, no: NodeId) -> NodeId {
        match tests.split_first() {
            None => yes,
            Some((None, rest)) => self.conjunction(rest, facts, yes, no),
            Some((Some((test, outcome)), rest)) => {
                facts.push((*test, *outcome));
                let rest = self.conjunction(rest, facts, yes, no);
                facts.pop();
                let (yes, no) = if *outcome { (rest, no) } else { (no, rest) };
                self.branch(*test, facts, yes, no)
            }
        }
    }

    /// An argument against a value by `Greater` or `GreaterOrEqual`: the high halves decide unless they are equal.
    fn order(
        &mut self,
        arch: Arch,
        condition: Condition,
        jump: Jump,
        facts: &mut Vec<Fact>,
        yes: NodeId,
        no: NodeId,
    ) -> NodeId {
        let (high_offset, low_offset) = offsets(arch, condition.index);
        let low = Test { word: plain(low_offset), jump, k: condition.value as u32 };
        if arch.width() == Width::Half {
            return self.branch(low, facts, yes, no);
        }
        let high = (condition.value >> 32) as u32;
        let greater = Test { word: plain(high_offset), jump: Jump::Greater, k: high };
        let equal = Test { jump: Jump::Equal, ..greater };
        facts.push((greater, false));
        facts.push((equal, true));
        let decided_low = self.branch(low, facts, yes, no);
        facts.pop();
        let not_greater = self.branch(equal, facts, decided_low, no);
        facts.pop();
        self.branch(greater, facts, yes, not_greater)
    }

    /// A test, unless the facts or its own operand settle it.
    fn branch(&mut self, test: Test, facts: &mut Vec<Fact>, yes: NodeId, no: NodeId) -> NodeId {
        if let Some(outcome) = settled(test, facts) {
            return self.follow(if outcome { yes } else { no }, facts);
        }
        facts.push((test, true));
        let yes = self.follow(yes, facts);
        facts.pop();
        facts.push((test, false));
        let no = self.follow(no, facts);
        facts.pop();
        if yes == no { yes } else { self.intern(Node::Branch { test, yes, no }) }
    }

    /// The first node from here on that the facts leave open.
    fn follow(&self, mut id: NodeId, facts: &[Fact]) -> NodeId {
        while let Node::Branch { test, yes, no } = self.node(id) {
            match settled(test, facts) {
                Some(true) => id = yes,
                Some(false) => id = no,
                None => break,
            }
        }
        id
    }
}

fn plain(offset: u32) -> DataWord {
    DataWord { offset, mask: u32::MAX }
}

/// Where the halves of an argument are in `struct seccomp_data`: after nr, arch and the instruction pointer.
fn offsets(arch: Arch, index: u8) -> (u32, u32) {
    let offset = 16 + 8 * u32::from(index);
    match arch.endian() {
        Endian::Little => (offset + 4, offset),
        Endian::Big => (offset, offset + 4),
    }
}

/// The tests that together say that the masked argument has the value; `None` for a half that may be anything.
fn equalities(arch: Arch, condition: Condition) -> [Option<Fact>; 2] {
    let (high, low) = offsets(arch, condition.index);
    let high = match arch.width() {
        Width::Half => None,
        Width::Full => equality(high, (condition.mask >> 32) as u32, (condition.value >> 32) as u32),
    };
    [high, equality(low, condition.mask as u32, condition.value as u32)]
}

fn equality(offset: u32, mask: u32, value: u32) -> Option<Fact> {
    let word = plain(offset);
    match mask {
        0 => None,
        u32::MAX => Some((Test { word, jump: Jump::Equal, k: value }, true)),
        // One instruction instead of two, and the accumulator stays as it was.
        _ if value == 0 => Some((Test { word, jump: Jump::AnySet, k: mask }, false)),
        _ if value == mask && mask.is_power_of_two() => Some((Test { word, jump: Jump::AnySet, k: mask }, true)),
        _ => Some((Test { word: DataWord { offset, mask }, jump: Jump::Equal, k: value }, true)),
    }
}

/// The outcome of a test where it can be only one.
fn settled(test: Test, facts: &[Fact]) -> Option<bool> {
    outcome_within(test, 0, u32::MAX).or_else(|| facts.iter().find_map(|fact| implied(test, *fact)))
}

fn implied(test: Test, (fact, outcome): Fact) -> Option<bool> {
    if test == fact {
        return Some(outcome);
    }
    if test.word.offset != fact.word.offset || fact.word.mask != u32::MAX {
        return None;
    }
    // No operand makes these empty: such a test would have been settled without facts.
    let (low, high) = match (fact.jump, outcome) {
        (Jump::Equal, true) => (fact.k, fact.k),
        (Jump::Greater, true) => (fact.k.saturating_add(1), u32::MAX),
        (Jump::Greater, false) => (0, fact.k),
        (Jump::GreaterOrEqual, true) => (fact.k, u32::MAX),
        (Jump::GreaterOrEqual, false) => (0, fact.k.saturating_sub(1)),
        (Jump::Equal, false) | (Jump::AnySet, _) => return None,
    };
    outcome_within(test, low, high)
}

/// The outcome of a test on a word between two values, where it is the same for all of them.
fn outcome_within(test: Test, low: u32, high: u32) -> Option<bool> {
    if low == high {
        let value = low & test.word.mask;
        return Some(match test.jump {
            Jump::Equal => value == test.k,
            Jump::Greater => value > test.k,
            Jump::GreaterOrEqual => value >= test.k,
            Jump::AnySet => value & test.k != 0,
        });
    }
    if test.word.mask != u32::MAX {
        return None;
    }
    match test.jump {
        Jump::Equal if test.k < low || test.k > high => Some(false),
        Jump::Greater if low > test.k => Some(true),
        Jump::Greater if high <= test.k => Some(false),
        Jump::GreaterOrEqual if low >= test.k => Some(true),
        Jump::GreaterOrEqual if high < test.k => Some(false),
        _ => None,
    }
}

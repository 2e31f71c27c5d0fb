//! NUMA memory policy as the arguments of set_mempolicy(2). Pure; runs in the parent.

use libc::{MPOL_BIND, MPOL_DEFAULT, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_PREFERRED};

use crate::error::{Below, Error, Result, Stage};
use crate::plan::process::schedule;
use crate::spec::linux::MemoryPolicy;
use crate::spec::number_list;

// linux/mempolicy.h; libc stops at MPOL_LOCAL.
const MPOL_PREFERRED_MANY: i32 = 5;
const MPOL_WEIGHTED_INTERLEAVE: i32 = 6;

const MODES: &[(&str, i32)] = &[
    ("MPOL_BIND", MPOL_BIND),
    ("MPOL_DEFAULT", MPOL_DEFAULT),
    ("MPOL_INTERLEAVE", MPOL_INTERLEAVE),
    ("MPOL_LOCAL", MPOL_LOCAL),
    ("MPOL_PREFERRED", MPOL_PREFERRED),
    ("MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY),
    ("MPOL_WEIGHTED_INTERLEAVE", MPOL_WEIGHTED_INTERLEAVE),
];

const FLAGS: &[(&str, i32)] = &[
    ("MPOL_F_NUMA_BALANCING", libc::MPOL_F_NUMA_BALANCING),
    ("MPOL_F_RELATIVE_NODES", libc::MPOL_F_RELATIVE_NODES),
    ("MPOL_F_STATIC_NODES", libc::MPOL_F_STATIC_NODES),
];

/// The arguments of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// MPOL_* and MPOL_F_*.
    pub mode: i32,
    /// Bit n of word n/64 for node n; empty for none.
    pub nodes: Vec<u64>,
}

/// The modes by name, sorted: `linux.memoryPolicy.modes` of `features`.
pub fn modes() -> impl Iterator<Item = &'static str> {
    MODES.iter().map(|(name, _)| *name)
}

/// The flags by name, sorted: `linux.memoryPolicy.flags` of `features`.
pub fn flags() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|(name, _)| *name)
}

/// What such arguments ask for, in the words of config.json.
pub(in crate::plan) fn text(mode: u32, nodes: &[u64]) -> String {
    let asked = |flag: i32| mode & flag.cast_unsigned() != 0;
    let all = FLAGS.iter().fold(0, |all, (_, flag)| all | flag);
    let policy = MODES.iter().find(|(_, number)| number.cast_unsigned() == mode & !all.cast_unsigned());
    let mut words = policy.map_or("?", |(name, _)| name).to_owned();
    for (name, _) in FLAGS.iter().filter(|(_, flag)| asked(*flag)) {
        words.push('|');
        words.push_str(name);
    }
    let nodes: Vec<String> = number_list::numbers(nodes).map(|node| node.to_string()).collect();
    if nodes.is_empty() { words } else { format!("{words} on nodes {}", nodes.join(",")) }
}

/// Reads `linux.memoryPolicy`. Checks what set_mempolicy(2) answers with a bare EINVAL.
pub fn parse(spec: &MemoryPolicy) -> Result<Policy> {
    let bad = |field: &str, why: &str| {
        let what = format!("invalid memory policy {}: {why}", spec.mode);
        Err(Error::of_field(Stage::Bundle, format!("linux.memoryPolicy.{field}"), what))
    };
    let mode = schedule::lookup(MODES, "invalid memory policy mode", &spec.mode).below(|| "linux.memoryPolicy.mode")?;
    let mut flags = 0;
    for (index, name) in spec.flags.iter().enumerate() {
        flags |= schedule::lookup(FLAGS, "invalid memory policy flag", name)
            .below(|| format!("linux.memoryPolicy.flags[{index}]"))?;
    }
    let nodes = schedule::parse_list("invalid memory policy node", &spec.nodes)
        .below(|| "linux.memoryPolicy.nodes")?
        .unwrap_or_default();
    let placed = libc::MPOL_F_STATIC_NODES | libc::MPOL_F_RELATIVE_NODES;
    if flags & libc::MPOL_F_NUMA_BALANCING != 0 && !matches!(mode, MPOL_BIND | MPOL_PREFERRED_MANY) {
        return bad("flags", "takes no MPOL_F_NUMA_BALANCING, which is for MPOL_BIND and MPOL_PREFERRED_MANY");
    }
    if flags & placed == placed {
        return bad(
            "flags",
            "nodes are either static or relative: one of MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES",
        );
    }
    match mode {
        MPOL_DEFAULT | MPOL_LOCAL if !nodes.is_empty() => {
            let count: u32 = nodes.iter().map(|word| word.count_ones()).sum();
            return bad("nodes", &format!("mode requires 0 nodes but got {count}"));
        }
        MPOL_LOCAL if flags & placed != 0 => return bad("flags", "takes neither static nor relative nodes"),
        MPOL_PREFERRED if nodes.is_empty() && flags & placed != 0 => {
            return bad("nodes", "static or relative nodes need nodes, as in \"0-1\"");
        }
        // What MPOL_DEFAULT is told of nodes has no meaning without any, and the kernel takes it.
        MPOL_DEFAULT | MPOL_LOCAL | MPOL_PREFERRED => {}
        _ if nodes.is_empty() => return bad("nodes", "needs nodes, as in \"0-1\""),
        _ => {}
    }
    // Which nodes there are, and which of these modes and flags are known, only the kernel says.
    Ok(Policy { mode: mode | flags, nodes })
}

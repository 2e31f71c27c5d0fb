//! NUMA memory policy as the arguments of set_mempolicy(2). Pure; runs in the parent.

use libc::{MPOL_BIND, MPOL_DEFAULT, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_PREFERRED};

use crate::error::{Below, Error, Result, Stage};
use crate::plan::process::schedule;
use crate::spec::linux::MemoryPolicy;

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

/// Reads `linux.memoryPolicy`. Checks what set_mempolicy(2) answers with a bare EINVAL.
pub fn parse(spec: &MemoryPolicy) -> Result<Policy> {
    let bad = |why: &str| {
        Err(Error::of_field(Stage::Bundle, "linux.memoryPolicy", format!("invalid memory policy {}: {why}", spec.mode)))
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
    match mode {
        // What is said of the nodes has no meaning without any, and the kernel takes it.
        MPOL_DEFAULT if flags & !placed != 0 => return bad("takes no MPOL_F_NUMA_BALANCING"),
        MPOL_DEFAULT | MPOL_LOCAL if !nodes.is_empty() => {
            let count: u32 = nodes.iter().map(|word| word.count_ones()).sum();
            return bad(&format!("mode requires 0 nodes but got {count}"));
        }
        MPOL_LOCAL if flags & placed != 0 => return bad("takes neither static nor relative nodes"),
        MPOL_PREFERRED if nodes.is_empty() && flags & placed != 0 => return bad("static or relative nodes need nodes"),
        MPOL_DEFAULT | MPOL_LOCAL | MPOL_PREFERRED => {}
        _ if nodes.is_empty() => return bad("needs nodes"),
        _ => {}
    }
    if flags & placed == placed {
        return bad("nodes are either static or relative");
    }
    // MPOL_F_NUMA_BALANCING is for MPOL_BIND (Linux 5.12) and MPOL_PREFERRED_MANY (6.9): the kernel knows.
    Ok(Policy { mode: mode | flags, nodes })
}

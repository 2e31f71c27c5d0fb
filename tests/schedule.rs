//! Scheduling, I/O priority, lists of CPUs and nodes, memory policy, personality.

use brisk::plan::process::{memory_policy, schedule};
use brisk::spec::linux::{MemoryPolicy, Personality};
use brisk::spec::process::{IoPriority, Scheduler};

use crate::{refused, strings};

fn policy(name: &str) -> Scheduler {
    Scheduler { policy: name.to_owned(), ..Scheduler::default() }
}

#[test]
fn the_struct_is_the_kernels() {
    assert_eq!(size_of::<schedule::SchedAttr>(), 56);
    let attr = schedule::scheduler(&policy("SCHED_BATCH")).expect("valid");
    assert_eq!((attr.size, attr.policy), (56, 3));
}

#[test]
fn policies_and_flags() {
    // include/uapi/linux/sched.h
    let policies = [("SCHED_OTHER", 0), ("SCHED_BATCH", 3), ("SCHED_ISO", 4), ("SCHED_IDLE", 5)];
    for (name, number) in policies {
        assert_eq!(schedule::scheduler(&policy(name)).expect("valid").policy, number);
    }
    for (name, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let attr = schedule::scheduler(&Scheduler { priority: 99, ..policy(name) }).expect("valid");
        assert_eq!((attr.policy, attr.priority), (number, 99));
    }
    let flags =
        ["RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN", "UTIL_CLAMP_MAX"];
    let flags: Vec<_> = flags.iter().map(|flag| format!("SCHED_FLAG_{flag}")).collect();
    for (bit, flag) in flags.iter().enumerate() {
        let attr =
            schedule::scheduler(&Scheduler { flags: vec![flag.clone()], ..policy("SCHED_OTHER") }).expect("valid");
        assert_eq!(attr.flags, 1 << bit, "{flag}");
    }
    let all = schedule::scheduler(&Scheduler { flags, nice: -20, ..policy("SCHED_OTHER") }).expect("valid");
    assert_eq!((all.flags, all.nice), (0x7f, -20));
}

#[test]
fn deadline() {
    let spec = Scheduler { runtime: 1024, deadline: 2000, period: 3000, ..policy("SCHED_DEADLINE") };
    let attr = schedule::scheduler(&spec).expect("valid");
    assert_eq!((attr.policy, attr.runtime, attr.deadline, attr.period), (6, 1024, 2000, 3000));
    assert!(schedule::scheduler(&Scheduler { period: 0, ..spec.clone() }).is_ok());
    let refusals = [
        (0, 2000, 3000),
        (3000, 2000, 3000),
        (1024, 4000, 3000),
        (0, 0, 0),
        // What the kernel refuses however they stand to one another.
        (1023, 2000, 3000),
        (1024, 2000, 1 << 63),
        (1024, 1 << 63, 0),
    ];
    for (runtime, deadline, period) in refusals {
        let text = refused(schedule::scheduler(&Scheduler { runtime, deadline, period, ..spec.clone() }));
        assert!(text.contains("runtime <= deadline <= period"), "{text}");
    }
}

#[test]
fn scheduler_refusals() {
    let table = [
        (policy(""), "scheduler policy \"\" does not exist"),
        (policy("SCHED_NOPE"), "does not exist"),
        (Scheduler { flags: strings(&["X"]), ..policy("SCHED_OTHER") }, "scheduler flag \"X\" does not exist"),
        (Scheduler { nice: 20, ..policy("SCHED_OTHER") }, "nice 20"),
        (Scheduler { nice: -21, ..policy("SCHED_OTHER") }, "nice -21"),
        (Scheduler { priority: 1, ..policy("SCHED_OTHER") }, "priority is for SCHED_FIFO and SCHED_RR"),
        (policy("SCHED_FIFO"), "priority 0 of SCHED_FIFO"),
        (Scheduler { priority: 100, ..policy("SCHED_RR") }, "priority 100"),
        (Scheduler { runtime: 1, ..policy("SCHED_OTHER") }, "for SCHED_DEADLINE"),
        (Scheduler { period: 1, ..policy("SCHED_IDLE") }, "for SCHED_DEADLINE"),
    ];
    for (spec, want) in table {
        let text = refused(schedule::scheduler(&spec));
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn io_priority() {
    let value = |class: &str, priority| schedule::io_priority(&IoPriority { class: class.to_owned(), priority });
    assert_eq!(value("IOPRIO_CLASS_RT", 0).expect("valid"), 1 << 13);
    assert_eq!(value("IOPRIO_CLASS_BE", 7).expect("valid"), 2 << 13 | 7);
    assert_eq!(value("IOPRIO_CLASS_IDLE", 0).expect("valid"), 3 << 13);
    assert!(refused(value("IOPRIO_CLASS_BE", 8)).contains("I/O priority 8"));
    assert!(refused(value("IOPRIO_CLASS_BE", -1)).contains("I/O priority -1"));
    assert!(refused(value("", 0)).contains("does not exist"));
}

#[test]
fn lists() {
    let parse = |list| schedule::parse_list("CPU", list);
    assert_eq!(parse("0-3,5").expect("valid"), Some(vec![0b10_1111]));
    assert_eq!(parse(" 1 , 2-3 ,,").expect("valid"), Some(vec![0b1110]));
    assert_eq!(parse("").expect("valid"), None);
    assert_eq!(parse(" , ").expect("valid"), None);
    assert_eq!(parse("63-64").expect("valid"), Some(vec![1 << 63, 1]));
    let long = parse("2047").expect("valid").expect("a mask");
    assert_eq!((long.len(), long[31]), (32, 1 << 63));
    for bad in ["x", "3-1", "-1", "1-", "+1", "1-2-3", "0x1", "65536", "99999999999999999999", "1;2"] {
        assert!(refused(parse(bad)).contains("neither a number nor a range"), "{bad}");
    }
}

#[test]
fn memory_policies() {
    let spec = |mode: &str, nodes: &str, flags: &[&str]| {
        memory_policy::parse(&MemoryPolicy { mode: mode.to_owned(), nodes: nodes.to_owned(), flags: strings(flags) })
    };
    let modes = ["MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"];
    for (mode, number) in modes.into_iter().zip([2, 3, 1, 5, 6]) {
        let policy = spec(mode, "0,64", &["MPOL_F_STATIC_NODES"]).expect("valid");
        assert_eq!((policy.mode, policy.nodes.as_slice()), (number | 1 << 15, &[1, 1][..]));
    }
    for (mode, number) in [("MPOL_DEFAULT", 0), ("MPOL_LOCAL", 4), ("MPOL_PREFERRED", 1)] {
        let policy = spec(mode, "", &[]).expect("valid");
        assert_eq!((policy.mode, policy.nodes.len()), (number, 0));
    }
    assert_eq!(spec("MPOL_DEFAULT", "", &["MPOL_F_STATIC_NODES"]).expect("the kernel takes it").mode, 1 << 15);
    assert_eq!(spec("MPOL_BIND", "0", &["MPOL_F_NUMA_BALANCING"]).expect("valid").mode, 2 | 1 << 13);
    assert_eq!(spec("MPOL_BIND", "0", &["MPOL_F_RELATIVE_NODES"]).expect("valid").mode, 2 | 1 << 14);
    assert_eq!((memory_policy::modes().count(), memory_policy::flags().count()), (7, 3));
    let table: [(&str, &str, &[&str], &str); 12] = [
        ("MPOL_NOPE", "", &[], "does not exist"),
        ("MPOL_BIND", "0", &["MPOL_F_NOPE"], "does not exist"),
        ("MPOL_BIND", "", &[], "needs nodes"),
        ("MPOL_LOCAL", "0", &[], "mode requires 0 nodes but got 1"),
        ("MPOL_DEFAULT", "", &["MPOL_F_NUMA_BALANCING"], "takes no MPOL_F_NUMA_BALANCING"),
        ("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"], "either static or relative"),
        ("MPOL_BIND", "a", &[], "neither a number"),
        // What the kernel refuses with a bare EINVAL (mm/mempolicy.c, sanitize_mpol_flags() and mpol_new()).
        (
            "MPOL_INTERLEAVE",
            "0",
            &["MPOL_F_NUMA_BALANCING"],
            "memoryPolicy.flags: invalid memory policy MPOL_INTERLEAVE",
        ),
        ("MPOL_PREFERRED", "0", &["MPOL_F_NUMA_BALANCING"], "which is for MPOL_BIND and MPOL_PREFERRED_MANY"),
        ("MPOL_LOCAL", "", &["MPOL_F_NUMA_BALANCING"], "takes no MPOL_F_NUMA_BALANCING"),
        ("MPOL_WEIGHTED_INTERLEAVE", "0", &["MPOL_F_NUMA_BALANCING"], "takes no MPOL_F_NUMA_BALANCING"),
        ("MPOL_PREFERRED", "", &["MPOL_F_STATIC_NODES"], "linux.memoryPolicy.nodes"),
    ];
    for (mode, nodes, flags, want) in table {
        let text = refused(spec(mode, nodes, flags));
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn personalities() {
    let value = |domain: &str, flags: &[&str]| {
        schedule::personality(&Personality { domain: domain.to_owned(), flags: strings(flags) })
    };
    assert_eq!(value("LINUX", &[]).expect("valid"), 0);
    assert_eq!(value("LINUX32", &[]).expect("valid"), 8);
    assert!(refused(value("BSD", &[])).contains("personality \"BSD\" does not exist"));
    assert!(refused(value("LINUX", &["ADDR_NO_RANDOMIZE"])).contains("ADDR_NO_RANDOMIZE"));
}

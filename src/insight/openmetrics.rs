//! What containers use, as OpenMetrics text (version 1.0): one family after the other, a sample for each container of which the
//! number is known, and `# EOF`.

use std::fmt::Write;

use brisk::cgroup::stats::{Psi, PsiData};
use brisk::spec::status::Status;

use crate::figures::{Look, Reading};

/// A family of metrics.
struct Family {
    /// Without the suffix of a counter; it ends in its unit, where there is one.
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    help: &'static str,
    /// The values, with what stands in the labels besides.
    samples: fn(&Reading) -> Vec<(String, String)>,
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

const FAMILIES: &[Family] = &[
    Family {
        name: "brisk_container_state",
        // Not a stateset, which node exporter's textfile collector refuses, with the whole file.
        kind: GAUGE,
        unit: "",
        help: "What the container is doing.",
        samples: |row| {
            let all = [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped];
            let is = |status: Status| u8::from(status == row.subject.status).to_string();
            all.map(|status| (format!(",state=\"{}\"", status.name()), is(status))).to_vec()
        },
    },
    Family {
        name: "brisk_container_cpu_seconds",
        kind: COUNTER,
        unit: "seconds",
        help: "Time on CPUs.",
        samples: |row| one(row.totals.cpu_ns.map(seconds)),
    },
    Family {
        name: "brisk_container_cpu_mode_seconds",
        kind: COUNTER,
        unit: "seconds",
        help: "Time on CPUs, by mode.",
        samples: |row| {
            let modes = [("user", row.totals.user_ns), ("system", row.totals.system_ns)];
            some(modes.map(|(mode, ns)| (format!(",mode=\"{mode}\""), ns.map(seconds))))
        },
    },
    Family {
        name: "brisk_container_cpu_throttled_seconds",
        kind: COUNTER,
        unit: "seconds",
        help: "Time without a CPU for want of quota.",
        samples: |row| one(row.totals.throttled_ns.map(seconds)),
    },
    Family {
        name: "brisk_container_cpu_throttled_periods",
        kind: COUNTER,
        unit: "",
        help: "Periods in which the quota was used up.",
        samples: |row| one(row.totals.throttled_periods),
    },
    Family {
        name: "brisk_container_memory_bytes",
        kind: GAUGE,
        unit: "bytes",
        help: "Memory in use, page cache included.",
        samples: |row| one(row.levels.memory.map(|level| level.now)),
    },
    Family {
        name: "brisk_container_memory_limit_bytes",
        kind: GAUGE,
        unit: "bytes",
        help: "The limit of memory, where there is one.",
        samples: |row| one(row.levels.memory.and_then(|level| level.limit)),
    },
    Family {
        name: "brisk_container_memory_peak_bytes",
        kind: GAUGE,
        unit: "bytes",
        help: "The most memory at one time.",
        samples: |row| one(row.totals.memory_peak),
    },
    Family {
        name: "brisk_container_memory_cache_bytes",
        kind: GAUGE,
        unit: "bytes",
        help: "Page cache and tmpfs.",
        samples: |row| one(row.levels.cache),
    },
    Family {
        name: "brisk_container_memory_kernel_bytes",
        kind: GAUGE,
        unit: "bytes",
        help: "Memory that the kernel keeps for the container.",
        samples: |row| one(row.levels.kernel),
    },
    Family {
        name: "brisk_container_memory_limit_hits",
        kind: COUNTER,
        unit: "",
        help: "How often memory was at its limit.",
        samples: |row| one(row.totals.memory_limit_hits),
    },
    Family {
        name: "brisk_container_oom_kills",
        kind: COUNTER,
        unit: "",
        help: "Processes that were killed for want of memory.",
        samples: |row| one(row.totals.oom_kills),
    },
    Family {
        name: "brisk_container_tasks",
        kind: GAUGE,
        unit: "",
        help: "Processes and threads.",
        samples: |row| one(row.levels.pids.map(|level| level.now)),
    },
    Family {
        name: "brisk_container_tasks_limit",
        kind: GAUGE,
        unit: "",
        help: "The limit of processes and threads, where there is one.",
        samples: |row| one(row.levels.pids.and_then(|level| level.limit)),
    },
    Family {
        name: "brisk_container_io_read_bytes",
        kind: COUNTER,
        unit: "bytes",
        help: "Bytes read from block devices.",
        samples: |row| one(row.totals.read_bytes),
    },
    Family {
        name: "brisk_container_io_written_bytes",
        kind: COUNTER,
        unit: "bytes",
        help: "Bytes written to block devices.",
        samples: |row| one(row.totals.written_bytes),
    },
    Family {
        name: "brisk_container_pressure_waiting_seconds",
        kind: COUNTER,
        unit: "seconds",
        help: "Time in which some process waited for the resource.",
        samples: |row| pressure(row, |psi| &psi.some),
    },
    Family {
        name: "brisk_container_pressure_stalled_seconds",
        kind: COUNTER,
        unit: "seconds",
        help: "Time in which all processes waited for the resource.",
        samples: |row| pressure(row, |psi| &psi.full),
    },
];

/// The whole text.
pub fn text(look: &Look) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        let name = family.name;
        lay(&mut text, format_args!("# TYPE {name} {}\n", family.kind));
        if !family.unit.is_empty() {
            lay(&mut text, format_args!("# UNIT {name} {}\n", family.unit));
        }
        lay(&mut text, format_args!("# HELP {name} {}\n", family.help));
        let suffix = if family.kind == COUNTER { "_total" } else { "" };
        for row in &look.rows {
            let subject = &row.subject;
            let (id, root) = (escaped(&subject.id), escaped(&subject.root.to_string_lossy()));
            for (labels, value) in (family.samples)(row) {
                let labels = format!("id=\"{id}\",runtime=\"{}\",root=\"{root}\"{labels}", subject.maker.name());
                lay(&mut text, format_args!("{name}{suffix}{{{labels}}} {value}\n"));
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn lay(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _written = text.write_fmt(line);
}

fn one(value: Option<impl ToString>) -> Vec<(String, String)> {
    value.map(|value| (String::new(), value.to_string())).into_iter().collect()
}

fn some<const N: usize>(values: [(String, Option<String>); N]) -> Vec<(String, String)> {
    values.into_iter().filter_map(|(labels, value)| Some((labels, value?))).collect()
}

fn pressure(row: &Reading, line: fn(&Psi) -> &PsiData) -> Vec<(String, String)> {
    let pressure = &row.levels.pressure;
    let resources = [("cpu", &pressure.cpu), ("memory", &pressure.memory), ("io", &pressure.io)];
    let micros = |psi: &Psi| decimal(line(psi).total, 6);
    some(resources.map(|(name, psi)| (format!(",resource=\"{name}\""), psi.as_ref().map(micros))))
}

/// Nanoseconds as seconds, without a rounding.
fn seconds(ns: u64) -> String {
    decimal(ns, 9)
}

fn decimal(number: u64, digits: u32) -> String {
    let unit = 10u64.pow(digits);
    format!("{}.{:0width$}", number / unit, number % unit, width = digits as usize)
}

/// The value of a label.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |text, c| match c {
        '\\' => text + "\\\\",
        '"' => text + "\\\"",
        '\n' => text + "\\n",
        c => text + c.encode_utf8(&mut [0; 4]),
    })
}

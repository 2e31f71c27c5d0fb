//! `stats`: what containers use, once.

use brisk::cli::args::{StatsArgs, StatsFormat};
use brisk::cli::output;
use brisk::container::options::Global;
use brisk::error::Result;
use brisk::spec::status::Status;

use crate::containers::Finder;
use crate::figures::{Look, Reading};
use crate::looks::{Looks, Tone};
use crate::table::{Align, Cell, Column, lines, number};
use crate::{json, openmetrics, units};

/// Prints it.
pub fn stats(global: &Global<'_>, args: &StatsArgs) -> Result<()> {
    let StatsArgs { ids, format, filters, plain } = args;
    let search = Finder::new(global, ids)?;
    let look = Look::at(search.look_for_all(filters)?, None);
    if *format != StatsFormat::Json {
        look.problems.told.iter().for_each(|problem| (global.warn)(problem));
    }
    output::print(&match format {
        StatsFormat::Json => json::text(&json::look(&look, json::Rated::No))?,
        StatsFormat::OpenMetrics => openmetrics::text(&look),
        StatsFormat::Table => {
            let looks = Looks::of_stdout();
            let lines = table(&look, if *plain { looks.plain() } else { looks });
            lines.join("\n") + "\n"
        }
    })?;
    search.all_are_shown(&look.subjects(), &look.problems)
}

const COLUMNS: &[Column] = &[
    Column { title: "ID", spare: 0, least: 0, side: Align::Left },
    Column { title: "RUNTIME", spare: 9, least: 0, side: Align::Left },
    Column { title: "STATUS", spare: 5, least: 0, side: Align::Left },
    number("CPU TIME", 0),
    number("MEMORY", 0),
    number("LIMIT", 2),
    number("MEM%", 3),
    number("PIDS", 1),
    number("READ", 4),
    number("WRITTEN", 4),
    number("THROTTLED", 6),
    number("OOM", 3),
    number("CPU WAIT%", 7),
    number("MEM WAIT%", 8),
    number("IO WAIT%", 8),
];

fn table(look: &Look, looks: Looks) -> Vec<String> {
    let rows: Vec<Vec<Cell>> = look
        .rows
        .iter()
        .map(|row| {
            let shown = Shown { row, looks };
            let totals = &row.totals;
            let [cpu, throttled] = [totals.cpu_ns, totals.throttled_ns].map(|ns| shown.known(ns.map(units::time)));
            let [read, written] =
                [totals.read_bytes, totals.written_bytes].map(|count| shown.known(count.map(units::bytes)));
            shown.cells(Growing { cpu, read, written, throttled })
        })
        .collect();
    lines(COLUMNS, &rows, looks)
}

/// What grows as long as a container runs: a table has the sums, or by how much they grow.
pub struct Growing {
    pub cpu: Cell,
    pub read: Cell,
    pub written: Cell,
    pub throttled: Cell,
}

/// A row as the cells that several tables have.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub row: &'a Reading,
    pub looks: Looks,
}

impl Shown<'_> {
    /// A number, or what stands for one that is not known.
    pub fn known(self, text: Option<String>) -> Cell {
        text.map_or_else(|| Cell::new(self.looks.unknown()).toned(Tone::Faint), Cell::new)
    }

    /// The whole row, in the order of the columns of `stats` and `top`.
    pub fn cells(self, Growing { cpu, read, written, throttled }: Growing) -> Vec<Cell> {
        let [id, runtime, status] = self.names();
        let [memory, limit, share] = self.memory();
        let (pids, oom) = (self.pids(), self.oom());
        let [cpu_wait, memory_wait, io_wait] = self.pressure();
        vec![
            id,
            runtime,
            status,
            cpu,
            memory,
            limit,
            share,
            pids,
            read,
            written,
            throttled,
            oom,
            cpu_wait,
            memory_wait,
            io_wait,
        ]
    }

    /// Id, runtime, status.
    fn names(self) -> [Cell; 3] {
        let subject = &self.row.subject;
        let tone = match subject.status {
            Status::Stopped => Tone::Faint,
            Status::Paused => Tone::Warning,
            Status::Creating | Status::Created | Status::Running => Tone::Plain,
        };
        [
            Cell::new(subject.id.clone()).toned(tone),
            Cell::new(subject.maker.name()),
            Cell::new(subject.status.name()).toned(tone),
        ]
    }

    /// Memory, its limit, and how much of that is used.
    fn memory(self) -> [Cell; 3] {
        let memory = self.row.levels.memory;
        let limit = memory.map(|memory| memory.limit.map_or_else(|| "none".to_owned(), units::bytes));
        #[expect(clippy::cast_precision_loss, reason = "shown with a digit behind the point")]
        let share = memory.and_then(|memory| Some(memory.now as f64 / memory.limit.filter(|limit| *limit > 0)? as f64));
        let tone = match share {
            Some(share) if share >= 0.95 => Tone::Alarm,
            Some(share) if share >= 0.8 => Tone::Warning,
            _ => Tone::Plain,
        };
        let now = self.known(memory.map(|memory| units::bytes(memory.now)));
        // Without a limit there is no part of it.
        let part =
            if memory.is_some() && share.is_none() { Cell::default() } else { self.known(share.map(units::percent)) };
        [now, self.known(limit), if share.is_some() { part.toned(tone) } else { part }]
    }

    /// Tasks.
    fn pids(self) -> Cell {
        self.known(self.row.levels.pids.map(|pids| pids.now.to_string()))
    }

    /// OOM kills.
    fn oom(self) -> Cell {
        let kills = self.row.totals.oom_kills;
        let cell = self.known(kills.map(|kills| kills.to_string()));
        if kills.is_some_and(|kills| kills > 0) { cell.toned(Tone::Alarm) } else { cell }
    }

    /// The share of the last ten seconds in which some process waited for CPU, memory, block devices.
    fn pressure(self) -> [Cell; 3] {
        let pressure = &self.row.levels.pressure;
        [&pressure.cpu, &pressure.memory, &pressure.io].map(|psi| {
            let share = psi.as_ref().map(|psi| psi.some.avg10 / 100.0);
            let cell = self.known(share.map(units::percent));
            if share.is_some_and(|share| share >= 0.2) { cell.toned(Tone::Warning) } else { cell }
        })
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use brisk::cgroup::stats::{Pressure, Psi, PsiData};
    use brisk::cgroup::{Amount, Levels, Totals};
    use brisk::state::ProcessId;

    use super::*;
    use crate::containers::Problems;
    use crate::figures::Rates;
    use crate::subject::{RuntimeKind, Subject};

    /// Compares a view with its file in fixtures/insight; `UPDATE_VIEWS=1` writes it.
    pub fn view(name: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/insight").join(name);
        if std::env::var_os("UPDATE_VIEWS").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
    }

    fn subject(id: &str, maker: RuntimeKind, status: Status) -> Subject {
        Subject {
            id: id.to_owned(),
            maker,
            root: format!("/run/{}", maker.name()).into(),
            status,
            init: (status != Status::Stopped).then_some(ProcessId { pid: 42, start_time: 7 }),
            created: "2026-01-02T03:04:05Z".to_owned(),
            bundle: "/b\"\\".to_owned(),
            rootfs: "/b/rootfs".into(),
            owner: "root".to_owned(),
            annotations: BTreeMap::new(),
            cgroup: None,
        }
    }

    /// One that works hard, one of an ordinary user without a cgroup, one that has ended.
    pub fn look() -> Look {
        let psi =
            |avg10, total| Some(Psi { some: PsiData { avg10, total, ..PsiData::default() }, full: PsiData::default() });
        let busy = Reading {
            subject: subject("web", RuntimeKind::Brisk, Status::Running),
            totals: Totals {
                cpu_ns: Some(83_500_000_000),
                user_ns: Some(80_000_000_000),
                system_ns: Some(3_500_000_000),
                throttled_ns: Some(1_250_000_001),
                throttled_periods: Some(12),
                memory_peak: Some(64 << 20),
                memory_limit_hits: Some(3),
                oom_kills: Some(1),
                read_bytes: Some(5 << 20),
                written_bytes: Some(0),
                ..Totals::default()
            },
            levels: Levels {
                memory: Some(Amount { now: 62 << 20, limit: Some(64 << 20) }),
                cache: Some(1 << 20),
                shmem: Some(1 << 16),
                inactive_file: Some(1 << 19),
                kernel: Some(300_000),
                pids: Some(Amount { now: 7, limit: None }),
                pressure: Pressure { cpu: psi(31.25, 1_500_000), memory: psi(0.0, 0), io: None },
            },
            rates: Rates { cpus: Some(0.503), throttled: Some(0.12), read: Some(2.0e6), written: Some(0.0) },
        };
        let unknown = Reading {
            subject: subject("rootless", RuntimeKind::Crun, Status::Paused),
            totals: Totals::default(),
            levels: Levels::default(),
            rates: Rates::default(),
        };
        let id = "0e5574283393010ba08be4e5d1dbc0d3ad6ff2e0b6a1ae4d35c8b7aaf5b0a1de";
        let ended = Reading { subject: subject(id, RuntimeKind::Runc, Status::Stopped), ..unknown.clone() };
        Look { at_ns: 5, rows: vec![ended, unknown, busy], problems: Problems::default() }
    }

    #[test]
    fn tables_fit_their_width() {
        let look = look();
        for width in [40, 80, 160] {
            let lines = table(&look, Looks { width: Some(width), ..Looks::PLAIN });
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}");
            view(&format!("stats-{width}.txt"), &(lines.join("\n") + "\n"));
        }
        let whole = table(&look, Looks::PLAIN).join("\n");
        assert!(whole.contains(&look.rows[0].subject.id), "nothing is cut where nobody has said how wide it is");
    }

    #[test]
    fn what_is_not_known_is_null_and_no_metric() {
        let look = look();
        let value = json::look(&look, json::Rated::Yes);
        view("stats.json", &(serde_json::to_string_pretty(&value).unwrap() + "\n"));
        let text = openmetrics::text(&look);
        view("stats.openmetrics", &text);
        let of_unknown = text.lines().filter(|line| line.contains("id=\"rootless\""));
        assert!(of_unknown.clone().all(|line| line.starts_with("brisk_container_state{")), "{text}");
        assert_eq!(of_unknown.count(), 5, "{text}");
    }
}

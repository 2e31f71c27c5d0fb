//! The tables of `memory`.

use brisk::error::printable;
use brisk::spec::status::Status;

use super::look::{ContainerMemory, MemoryLook};
use super::smaps::Mapped;
use crate::looks::{Looks, Tone};
use crate::table::{Cell, Column, cut, lines, number, path, text};
use crate::units;

/// Files of one container that a table has; the others are summed up.
const MOST_ROWS: usize = 20;
/// Names of containers and processes are cut to this where a width is given.
const NAME: usize = 16;

const CONTAINERS: &[Column] = &[
    text("ID", 0),
    number("PROCS", 5),
    number("RSS", 1),
    number("SHARED", 1),
    number("PRIVATE", 1),
    number("PSS", 0),
    number("SWAP", 6),
    number("MEMORY", 0),
    number("CACHE", 2),
    number("TMPFS", 3),
    number("KERNEL", 4),
];

const PROCESSES: &[Column] = &[
    text("PROCESS", 0),
    text("ID", 4),
    number("PID", 2),
    number("RSS", 1),
    number("SHARED", 0),
    number("PRIVATE", 0),
    number("PSS", 0),
    number("SWAP", 6),
    number("HUGETLB", 7),
];

const FILES: &[Column] = &[
    path("FILE"),
    text("ID", 4),
    number("PROCS", 6),
    number("RSS", 1),
    number("SHARED", 0),
    number("PRIVATE", 0),
    number("PSS", 0),
    number("CONTAINERS", 5),
];

const BETWEEN: &[Column] = &[
    path("FILE"),
    text("IS", 1),
    number("INODES", 3),
    number("CONTAINERS", 2),
    number("PSS", 0),
    number("WOULD SAVE", 0),
];

/// All of them, with a line between two.
pub fn all(look: &MemoryLook, looks: Looks) -> Vec<String> {
    let blank = std::iter::once(String::new());
    let mut text =
        lines(CONTAINERS, &look.containers.iter().map(|one| container(one, looks)).collect::<Vec<_>>(), looks);
    for (columns, rows) in
        [(PROCESSES, processes(look, looks)), (FILES, files(look, looks)), (BETWEEN, between(look, looks))]
    {
        if !rows.is_empty() {
            text.extend(blank.clone().chain(lines(columns, &rows, looks)));
        }
    }
    text
}

fn known(text: Option<String>, looks: Looks) -> Cell {
    text.map_or_else(|| Cell::new(looks.unknown()).toned(Tone::Faint), Cell::new)
}

fn short(text: &str, looks: Looks) -> String {
    let text = printable(text);
    if looks.width.is_some() { cut(&text, NAME, looks) } else { text }
}

fn container(one: &ContainerMemory, looks: Looks) -> Vec<Cell> {
    let subject = &one.reading.subject;
    let tone = match subject.status {
        Status::Stopped => Tone::Faint,
        Status::Paused => Tone::Warning,
        Status::Creating | Status::Created | Status::Running => Tone::Plain,
    };
    let mapped = one.mapped();
    let part = |field: fn(&Mapped) -> u64| known(mapped.as_ref().map(field).map(units::bytes), looks);
    let levels = &one.reading.levels;
    let level = |bytes: Option<u64>| known(bytes.map(units::bytes), looks);
    vec![
        Cell::new(subject.id.clone()).toned(tone),
        Cell::new((one.processes.len() + one.unread).to_string()),
        part(|mapped| mapped.rss),
        part(|mapped| mapped.shared),
        part(|mapped| mapped.private),
        part(|mapped| mapped.pss),
        part(|mapped| mapped.swap),
        level(levels.memory.map(|memory| memory.now)),
        level(levels.cache),
        level(levels.shmem),
        level(levels.kernel),
    ]
}

fn sizes(mapped: Mapped) -> [Cell; 4] {
    [mapped.rss, mapped.shared, mapped.private, mapped.pss].map(|bytes| Cell::new(units::bytes(bytes)))
}

fn processes(look: &MemoryLook, looks: Looks) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for one in &look.containers {
        let id = short(&one.reading.subject.id, looks);
        for process in &one.processes {
            let names = [short(&process.name, looks), id.clone(), process.pid.to_string()].map(Cell::new);
            let rest = [process.mapped.swap, process.mapped.hugetlb].map(|bytes| Cell::new(units::bytes(bytes)));
            rows.push(names.into_iter().chain(sizes(process.mapped)).chain(rest).collect());
        }
    }
    rows
}

fn files(look: &MemoryLook, looks: Looks) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for one in &look.containers {
        let id = short(&one.reading.subject.id, looks);
        let mut row = |path: &str, processes: String, mapped: Mapped, containers: String| {
            let names = [printable(path), id.clone(), processes].map(Cell::new);
            rows.push(names.into_iter().chain(sizes(mapped)).chain([Cell::new(containers)]).collect());
        };
        let there = one.files.iter().filter(|file| file.mapped.rss > 0 || file.mapped.hugetlb > 0);
        let (mut shown, mut rest, mut others) = (0, Mapped::default(), 0);
        for file in there {
            shown += 1;
            if shown <= MOST_ROWS {
                let users = file.cache.map_or_else(String::new, |at| look.caches.all[at].users.len().to_string());
                row(&file.path, file.processes.to_string(), file.mapped, users);
            } else {
                rest += file.mapped;
                others += 1;
            }
        }
        if others > 0 {
            row(&format!("({others} more)"), String::new(), rest, String::new());
        }
    }
    rows
}

fn between(look: &MemoryLook, looks: Looks) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    let row = |path: &str, is: &str, [inodes, containers]: [usize; 2], pss: u64, saves: Cell| {
        let words = [printable(path), is.to_owned(), inodes.to_string(), containers.to_string(), units::bytes(pss)];
        words.map(Cell::new).into_iter().chain([saves]).collect::<Vec<Cell>>()
    };
    for set in look.copies.iter().flatten().take(MOST_ROWS) {
        let of_set: Vec<_> = set.caches.iter().map(|at| &look.caches.all[*at]).collect();
        let users: std::collections::BTreeSet<usize> = of_set.iter().flat_map(|cache| &cache.users).copied().collect();
        let pss = of_set.iter().map(|cache| cache.pss).sum();
        let saves = Cell::new(units::bytes(set.saves)).toned(Tone::Warning);
        rows.push(row(&of_set[0].path, "copies", [set.caches.len(), users.len()], pss, saves));
    }
    for at in look.shared().into_iter().take(MOST_ROWS) {
        let cache = &look.caches.all[at];
        let nothing = if look.copies.is_some() { Cell::default() } else { known(None, looks) };
        rows.push(row(&cache.path, "shared", [cache.inodes.len(), cache.users.len()], cache.pss, nothing));
    }
    rows
}

#[cfg(test)]
mod tests {
    use brisk::state::ProcessId;

    use super::super::caches::CopySet;
    use super::super::look::{FileMemory, ProcessMemory};
    use super::super::picture;
    use super::super::smaps::{Behind, MappedFile, MappedWhat};
    use super::*;
    use crate::stats::tests::view;

    /// Two that have a library in common and a program twice, one whose processes may not be looked at.
    fn look() -> MemoryLook {
        let mut look = MemoryLook { at_ns: 5, ..MemoryLook::default() };
        let mapped = |kib: u64, pss: u64| Mapped {
            rss: kib << 10,
            pss: pss << 10,
            shared: (kib - pss) << 11,
            private: kib.saturating_sub((kib - pss) * 2) << 10,
            ..Mapped::default()
        };
        let files: [&[(&str, u64, Mapped)]; 3] = [
            &[
                ("/usr/lib/x86_64-linux-gnu/libc.so.6", 7, mapped(1200, 700)),
                ("/bin/bad\u{1b}[2J", 8, mapped(640, 640)),
            ],
            &[("/usr/lib/x86_64-linux-gnu/libc.so.6", 7, mapped(1100, 600)), ("/bin/sh", 9, mapped(320, 320))],
            &[],
        ];
        for (user, (reading, files)) in crate::stats::tests::look().rows.into_iter().zip(files).enumerate() {
            let mut one = ContainerMemory { reading, processes: vec![], files: vec![], unread: usize::from(user == 2) };
            for (path, inode, mapped) in files {
                let file = MappedFile {
                    what: MappedWhat::File(1, *inode),
                    path: (*path).to_owned(),
                    mapped: *mapped,
                    range: (0, 4096),
                    written: false,
                    behind: Some(Behind { device: 1 << 32, inode: *inode, bytes: 900, regular: true }),
                    frames: vec![],
                };
                let cache = look.caches.note(&file, user, ProcessId { pid: 42, start_time: 7 });
                one.files.push(FileMemory { path: file.path, processes: 1, mapped: *mapped, cache });
                let name = if *inode == 8 { "bad\u{1b}[2J" } else { "sh" };
                one.processes.push(ProcessMemory {
                    pid: 40 + i32::try_from(*inode).unwrap(),
                    name: name.to_owned(),
                    mapped: *mapped,
                });
            }
            let heap = Mapped { rss: 99 << 20, pss: 99 << 20, private: 99 << 20, swap: 5 << 20, ..Mapped::default() };
            if user == 0 {
                one.files.push(FileMemory { path: "[heap]".to_owned(), processes: 1, mapped: heap, cache: None });
            }
            one.sort();
            look.containers.push(one);
        }
        look.caches.settle();
        look.copies = Some(vec![CopySet { bytes: 900, sha256: "ab".repeat(32), caches: vec![1, 2], saves: 320 << 10 }]);
        look
    }

    #[test]
    fn tables_of_memory_fit_their_width() {
        let look = look();
        for width in [40, 80, 160] {
            let lines = all(&look, Looks { width: Some(width), ..Looks::PLAIN });
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
            assert!(lines.iter().all(|line| line.is_ascii() && !line.contains('\u{1b}')), "{width}");
            view(&format!("memory-{width}.txt"), &(lines.join("\n") + "\n"));
        }
    }

    #[test]
    fn memory_as_json_and_as_a_picture() {
        let look = look();
        view("memory.json", &crate::json::text(&look.json()).unwrap());
        view("memory.svg", &picture::draw(&look));
    }
}

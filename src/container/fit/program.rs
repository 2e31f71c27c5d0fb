//! Whether a program can be run: it is there, it may be executed, and so is what interprets it.
//!
//! Not trusted: the file, which is the image's. Of it a few bounded pieces are read, and only if it is a regular file.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::files::{ContainerFiles, Found, Lost};
use crate::compose::elf::{self, ReadAt};
use crate::compose::script::{self, LINE_MAX};
use crate::plan::process::environment::Candidate;
use crate::proc::binfmt;
use crate::sys::fs;

/// Why not, and what to do.
#[derive(Debug)]
pub(super) struct Obstacle {
    pub what: String,
    pub hint: Option<&'static str>,
}

fn obstacle<T>(what: String, hint: Option<&'static str>) -> Result<T, Obstacle> {
    Err(Obstacle { what, hint })
}

/// Interpreters of interpreters (the depth of fs/exec.c).
const DEEPEST: usize = 5;

/// A program that is looked for.
pub(super) struct WantedProgram<'a> {
    pub name: &'a CStr,
    /// Where it may be, in order.
    pub candidates: &'a [Candidate],
    /// From where those count that are not absolute.
    pub cwd: &'a str,
    /// Where they are from, to be told.
    pub path: &'a str,
}

/// Looks for the first of the candidates that can be run; what keeps them all from it is the error. Where nobody can tell there is
/// none.
pub(super) fn first(files: &ContainerFiles, wanted: &WantedProgram<'_>) -> Result<(), Obstacle> {
    let WantedProgram { name, candidates, cwd, path } = wanted;
    let mut refused = None;
    for candidate in *candidates {
        let mut at = candidate.path().to_string_lossy().into_owned();
        if !at.starts_with('/') {
            at = format!("{}/{at}", cwd.trim_end_matches('/'));
        }
        match files.find(&at) {
            // Whether it will be found first cannot be told.
            Err(Lost::Unknown) => return Ok(()),
            Err(Lost::Missing(_) | Lost::NotDirectory(_)) if candidates.len() > 1 => {}
            _ => match (run(files, &at, 0), candidate) {
                // Whoever can write to the working directory could have put it there.
                (Ok(()), Candidate::Refuse(_)) => {
                    return obstacle(
                        format!("the program {name:?} is found relative to the working directory, which is refused"),
                        Some("PATH in process.env names a directory that is not absolute"),
                    );
                }
                (Ok(()), Candidate::Take(_)) => return Ok(()),
                (Err(obstacle), _) => drop(refused.get_or_insert(obstacle)),
            },
        }
    }
    match refused {
        Some(obstacle) => Err(obstacle),
        None => obstacle(
            format!("the program {name:?} is in no directory of PATH ({path}) inside the root"),
            Some("PATH is that of process.env, and the directories are the container's"),
        ),
    }
}

/// Whether this file can be run.
pub(super) fn run(files: &ContainerFiles, path: &str, depth: usize) -> Result<(), Obstacle> {
    match files.find(path) {
        Ok(found) => examine(files, path, &found, depth),
        Err(Lost::Unknown) => Ok(()),
        Err(lost) => obstacle(lost_words(path, &lost), None),
    }
}

/// [`run`] for a program of the host, whose path may be a link of proc: Docker's hook is `/proc/PID/exe`.
pub(super) fn run_on_host(host: &ContainerFiles, path: &str) -> Result<(), Obstacle> {
    match ContainerFiles::on_host(path) {
        Ok(found) => examine(host, path, &found, 0),
        Err(lost) => obstacle(lost_words(path, &lost), None),
    }
}

fn examine(files: &ContainerFiles, path: &str, found: &Found, depth: usize) -> Result<(), Obstacle> {
    match found.kind() {
        libc::S_IFREG => {}
        libc::S_IFDIR => return obstacle(format!("{path} is a directory"), None),
        _ => return obstacle(format!("{path} is no regular file"), None),
    }
    if found.stat.st_mode & 0o111 == 0 {
        let mode = found.stat.st_mode & 0o7777;
        return obstacle(format!("{path} is not executable (mode {mode:04o})"), Some("`chmod +x` makes it so"));
    }
    if !found.mapped && !files.who.may_execute(&found.stat) {
        let (mode, uid, gid) = (found.stat.st_mode & 0o7777, found.stat.st_uid, found.stat.st_gid);
        let what = format!("{path} may not be executed by this user (mode {mode:04o}, owner {uid}:{gid} on the host)");
        return obstacle(what, None);
    }
    if found.noexec {
        return obstacle(format!("{path} lies on a mount with noexec"), None);
    }
    interpreted(files, path, found, depth)
}

/// What to say of a path that leads nowhere.
pub(super) fn lost_words(path: &str, lost: &Lost) -> String {
    match lost {
        Lost::Missing(at) if at == path => format!("{path} does not exist"),
        Lost::Missing(at) => format!("{path} does not exist: there is no {at}"),
        Lost::NotDirectory(at) => format!("{path} does not exist: {at} is not a directory"),
        Lost::Closed(at) => format!("{path} cannot be reached by this user: no search permission for {at}"),
        Lost::Loop => format!("{path}: too many symbolic links"),
        Lost::Unknown => format!("{path} cannot be looked at"),
        Lost::Errno(errno) => format!("{path}: {}", crate::error::errno_text(*errno)),
    }
}

/// The interpreter of a script, the loader of an ELF file.
fn interpreted(files: &ContainerFiles, path: &str, found: &Found, depth: usize) -> Result<(), Obstacle> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    // A program may be executed without being read.
    let Ok(file) = fs::reopen(found.fd.as_fd(), flags).map(File::from) else { return Ok(()) };
    let interpreter = match needs(|bytes, offset| file.read_at(bytes, offset)) {
        Needs::Program(interpreter) => interpreter,
        Needs::Nothing => return Ok(()),
        Needs::Machine(_) | Needs::Kind | Needs::Repair(_) if is_registered(path, &file) => return Ok(()),
        Needs::Machine(machine) => {
            return obstacle(
                format!("{path} is for another machine (ELF machine {machine})"),
                Some("an emulator would have to be registered, see binfmt_misc"),
            );
        }
        Needs::Repair(what) => return obstacle(format!("{path} is a broken ELF file: {what}"), None),
        Needs::Kind => {
            return obstacle(
                format!("{path} is neither a program nor a script with a #! line"),
                Some("the first line of a script names its interpreter, as in #!/bin/sh"),
            );
        }
    };
    if interpreter.is_empty() {
        return obstacle(format!("{path}: its #! line names no interpreter"), None);
    }
    if depth >= DEEPEST {
        return obstacle(format!("{path}: interpreters that need interpreters"), None);
    }
    run(files, &interpreter, depth + 1).map_err(|inner| Obstacle {
        what: format!("{path} needs {interpreter}: {}", inner.what),
        hint: inner
            .hint
            .or(Some("a dynamic program needs its loader and its libraries in the root, a script its interpreter")),
    })
}

/// Whether the kernel has it run by an interpreter of the host's.
fn is_registered(path: &str, file: &File) -> bool {
    elf::bytes_at(&|bytes, offset| file.read_at(bytes, offset), 0, LINE_MAX)
        .is_ok_and(|head| binfmt::takes(path, &head))
}

/// What a file needs in order to be run.
#[derive(Debug, PartialEq, Eq)]
pub enum Needs {
    /// This interpreter or loader; an empty one is none.
    Program(String),
    /// Another machine: e_machine of elf(5).
    Machine(u16),
    /// Its kind to be known to the kernel (binfmt_misc): it is neither a script nor ELF.
    Kind,
    /// To be written anew: it is ELF that the kernel takes for broken, too (ENOEXEC).
    Repair(String),
    /// Nothing.
    Nothing,
}

/// Reads with `read`, which is pread(2), in a few bounded pieces.
pub fn needs(read: impl Fn(&mut [u8], u64) -> std::io::Result<usize>) -> Needs {
    let head = elf::bytes_at(&read, 0, LINE_MAX).unwrap_or_default();
    if let Some(mut words) = script::words(&head) {
        Needs::Program(String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned())
    } else if head.starts_with(b"\x7fELF") {
        loader(&read)
    } else {
        Needs::Kind
    }
}

/// What this machine can run, and the loader.
fn loader(read: &ReadAt<'_>) -> Needs {
    match elf::head(read) {
        Ok(Some(head)) if !head.machine.runs_here() => Needs::Machine(head.machine.number()),
        Ok(Some(head)) => head.interpreter.map_or(Needs::Nothing, Needs::Program),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Needs::Repair(error.to_string()),
        Ok(None) | Err(_) => Needs::Nothing,
    }
}

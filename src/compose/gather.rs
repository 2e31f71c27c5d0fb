//! Follows what files ask for, from a program to the last library, interpreter and converter, and takes each into the root.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::elf::{self, Machine, Object};
use super::loader::{self, Libc, Search};
use super::report::{ReportRow, Taken};
use super::root::{ComposedRoot, FileKind, Followed, follow};
use super::script::{self, LINE_MAX};
use crate::error::{Context, Error, Result, Stage};
use crate::spec::process::DEFAULT_PATH;

/// `--with nss`: what getaddrinfo(3) and getpwnam(3) read.
const NSS: [&str; 7] = [
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/protocols",
];

/// The path that the container will know it by: a link stays one, since some programs go by their name.
pub(super) fn find_program(program: &Path) -> Result<PathBuf> {
    if program.components().count() == 1 && !program.is_absolute() && !program.starts_with(".") {
        let found = DEFAULT_PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.is_file());
        return found.ok_or_else(|| {
            Error::new(Stage::Bundle, format!("no program {} in {}", program.display(), DEFAULT_PATH))
                .with_hint("name a file with its directory, as in ./a.out")
        });
    }
    absolute(program)
}

/// With a directory that has neither links nor `..`.
fn absolute(path: &Path) -> Result<PathBuf> {
    let what = || format!("find {}", path.display());
    let path = std::path::absolute(path).at(Stage::Args, what)?;
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok(follow(dir)?.0.join(name)),
        _ => Ok(follow(&path)?.0),
    }
}

/// How often it is looked whether a library is at a place, in all; a browser or an office program takes some ten thousand. One
/// that was not looked at before counts as several.
const LOOKS_MAX: u32 = 1 << 20;
const LOOKS_OF_NEW: u32 = 8;

/// Whether what cannot be found is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lenience {
    /// The program cannot do without.
    Fails,
    /// A file in a directory that was asked for needs it: the report has it.
    IsTold,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    pub(super) root: ComposedRoot,
    /// The one that the program has, and every other must.
    loader: Option<Loader>,
    /// What was looked at, without links.
    seen: BTreeSet<PathBuf>,
    /// Where libraries were looked for: what is there, if it is one.
    looked_up: BTreeMap<PathBuf, Option<Rc<LookedUp>>>,
    looks: u32,
    pub(super) absent: Vec<ReportRow>,
    /// Links in directories that are bound: they may lead out of them, to what is not there.
    pub(super) outward: Vec<PathBuf>,
}

#[derive(Debug)]
struct Loader {
    path: PathBuf,
    machine: Machine,
    search: Search,
}

/// What is at a path at which a library was looked for.
#[derive(Debug)]
struct LookedUp {
    followed: Followed,
    object: Object,
}

/// An object whose libraries are looked for.
struct Asker {
    /// Without links.
    path: PathBuf,
    object: Object,
    /// The DT_RPATH of those that asked for it.
    inherited: Vec<PathBuf>,
    missing: Lenience,
}

impl Asker {
    fn new(path: PathBuf, object: Object, missing: Lenience) -> Asker {
        Asker { path, object, inherited: Vec::new(), missing }
    }
}

impl Gatherer {
    /// A program, its interpreters and all that they ask for.
    pub(super) fn program(&mut self, path: &Path, why: &str) -> Result<()> {
        let mut left = vec![(path.to_owned(), why.to_owned())];
        while let Some((path, why)) = left.pop() {
            let why_next = format!("interpreter of {}", path.display());
            left.extend(self.program_alone(&path, &why)?.into_iter().rev().map(|next| (next, why_next.clone())));
        }
        Ok(())
    }

    /// The interpreters of a script; those of a long row of scripts are not called for within each other.
    fn program_alone(&mut self, path: &Path, why: &str) -> Result<Vec<PathBuf>> {
        let (real, kind) = self.root.take(path, why)?;
        let what = || format!("read {}", path.display());
        if kind == FileKind::Dir {
            return Err(Error::new(Stage::Bundle, format!("{} is a directory, not a program", path.display())));
        }
        // Something else has taken its place since.
        let file = open_file(&real)?.ok_or_else(|| Error::new(Stage::Bundle, format!("{} is gone", path.display())))?;
        if let Some(object) = elf::read(&|bytes, offset| file.read_at(bytes, offset)).at(Stage::Bundle, what)? {
            return self.object(Asker::new(real, object, Lenience::Fails)).map(|()| Vec::new());
        }
        let head = elf::bytes_at(&|bytes, offset| file.read_at(bytes, offset), 0, LINE_MAX).at(Stage::Bundle, what)?;
        match interpreter(&head) {
            Some(words) if self.seen.insert(real.clone()) => {
                // The kernel takes it as it is written, with the links on its way.
                let found = |word: &Path| if word.is_absolute() { Ok(word.to_owned()) } else { find_program(word) };
                words.iter().map(|word| found(Path::new(word))).collect()
            }
            Some(_) => Ok(Vec::new()),
            None => Err(Error::new(Stage::Bundle, format!("{} is neither an ELF file nor a script", path.display()))
                .with_hint("a script begins with #! and its interpreter; --with takes other files")),
        }
    }

    /// What `--with` names.
    pub(super) fn with(&mut self, wanted: &str) -> Result<()> {
        match wanted {
            "nss" => return self.nss(),
            "gconv" => return self.gconv(),
            _ => {}
        }
        let path = absolute(Path::new(wanted))?;
        let (real, kind) = self.root.take(&path, "asked for")?;
        match kind {
            FileKind::File => match open_object(&real)? {
                Some(object) => self.object(Asker::new(real, object, Lenience::Fails)),
                None => Ok(()),
            },
            FileKind::Dir => self.libraries_of_dir(&real),
        }
    }

    /// What converters and modules in a directory need.
    fn libraries_of_dir(&mut self, dir: &Path) -> Result<()> {
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            let what = || format!("read {}", dir.display());
            for entry in fs::read_dir(&dir).at(Stage::Bundle, what)? {
                let entry = entry.at(Stage::Bundle, what)?;
                let (kind, path) = (entry.file_type().at(Stage::Bundle, what)?, entry.path());
                if kind.is_dir() {
                    dirs.push(path);
                } else if kind.is_symlink() {
                    self.outward.push(path);
                } else if kind.is_file() {
                    match open_object(&path) {
                        Ok(Some(object)) => self.object(Asker::new(path, object, Lenience::IsTold))?,
                        Ok(None) => {}
                        Err(error) => self.absent("libraries", &error.to_string()),
                    }
                }
            }
        }
        Ok(())
    }

    fn absent(&mut self, what: &str, why: &str) {
        self.absent.push(ReportRow { taken: Taken::Absent, what: what.to_owned(), why: why.to_owned() });
    }

    /// An object with all that it asks for: one after the other, as a loader does, since a row of them may be long.
    fn object(&mut self, first: Asker) -> Result<()> {
        let mut left = VecDeque::from([first]);
        while let Some(asker) = left.pop_front() {
            let Asker { path, object, missing, .. } = &asker;
            if !self.seen.insert(path.clone()) {
                continue;
            }
            match self.fits(path, object) {
                Err(error) if *missing == Lenience::IsTold => {
                    self.absent(&path.display().to_string(), &error.to_string());
                    continue;
                }
                fits => fits?,
            }
            if let Some(interpreter) = &object.interpreter {
                self.interpreter(path, interpreter, object.machine)?;
            }
            for name in &object.needed {
                left.extend(self.library(name, &asker)?);
            }
        }
        Ok(())
    }

    /// The loader of the root is one, and everything is for its processor and its C library.
    fn fits(&self, path: &Path, object: &Object) -> Result<()> {
        let refuse = |what: String| Err(Error::new(Stage::Bundle, format!("{}: {what}", path.display())));
        if !object.machine.runs_here() {
            return refuse(format!("it is for {}, this machine is {}", object.machine.name(), std::env::consts::ARCH));
        }
        let Some(loader) = &self.loader else { return Ok(()) };
        if object.machine != loader.machine {
            return refuse(format!("it is for {}, the program for {}", object.machine.name(), loader.machine.name()));
        }
        let Some(libc) = Libc::of_loader(&loader.path) else { return Ok(()) };
        match object.needed.iter().find_map(|name| Libc::of_library(name)) {
            Some(own) if own != libc => refuse(format!("it needs {}, the program has {}", own.name(), libc.name())),
            _ => Ok(()),
        }
    }

    fn interpreter(&mut self, path: &Path, interpreter: &str, machine: Machine) -> Result<()> {
        // Whoever made the program has chosen this name. No other file than a loader of this machine is shown to it.
        let (real, _) = follow(Path::new(interpreter))?;
        let is_loader = |object: Object| object.machine == machine && object.interpreter.is_none();
        if !open_object(&real)?.is_some_and(is_loader) {
            let what = format!("{}: {interpreter}, which it names as its loader, is none", path.display());
            return Err(Error::new(Stage::Bundle, what));
        }
        self.root.take(Path::new(interpreter), &format!("loader of {}", path.display()))?;
        match &self.loader {
            Some(loader) if loader.path == real => Ok(()),
            Some(loader) => {
                let what = format!(
                    "{}: its loader is {}, the program's {}",
                    path.display(),
                    real.display(),
                    loader.path.display()
                );
                Err(Error::new(Stage::Bundle, what).with_hint("one root has one C library"))
            }
            None => {
                self.loader = Some(Loader { search: Search::of(&real)?, path: real, machine });
                Ok(())
            }
        }
    }

    /// What is at a place, looked at once. Files have names that many others give; how many of them and how many places is up to
    /// whoever made them.
    fn look(&mut self, path: &Path) -> Result<Option<Rc<LookedUp>>> {
        let known = self.looked_up.get(path).cloned();
        self.looks += if known.is_some() { 1 } else { LOOKS_OF_NEW };
        if self.looks > LOOKS_MAX {
            let what = format!("{}: libraries are looked for in more places than those of any program", path.display());
            return Err(Error::new(Stage::Bundle, what));
        }
        if let Some(found) = known {
            return Ok(found);
        }
        let found = match follow(path) {
            Ok(followed) => open_object(&followed.0)?.map(|object| Rc::new(LookedUp { followed, object })),
            Err(_) => None,
        };
        self.looked_up.insert(path.to_owned(), found.clone());
        Ok(found)
    }

    /// The library of that name, which asks in its turn, unless it has done so.
    fn library(&mut self, name: &str, asker: &Asker) -> Result<Option<Asker>> {
        let Some(Loader { search, machine, .. }) = &self.loader else {
            return Err(Error::new(
                Stage::Bundle,
                format!("{} needs {name}, and the program has no loader", asker.path.display()),
            )
            .with_hint("a static program loads no libraries"));
        };
        let machine = *machine;
        let origin = asker.path.parent().unwrap_or(Path::new("/"));
        let first = search.first().map(|dir| dir.join(name));
        for candidate in search.candidates(name, &asker.object, origin, &asker.inherited) {
            // As a loader does: one for another processor is not it.
            let Some(found) = self.look(&candidate.path)?.filter(|found| found.object.machine == machine) else {
                continue;
            };
            let why = format!("library of {}", asker.path.display());
            let (real, _) = self.root.take_followed(&candidate.path, found.followed.clone(), &why)?;
            if let Some(first) = first.filter(|_| candidate.by_cache) {
                self.root.link(first, candidate.path);
            }
            if self.seen.contains(&real) {
                return Ok(None);
            }
            let inherited = loader::rpath(&asker.object, origin, &asker.inherited);
            return Ok(Some(Asker { path: real, object: found.object.clone(), inherited, missing: asker.missing }));
        }
        match asker.missing {
            Lenience::IsTold => {
                self.absent(name, &format!("{} needs it", asker.path.display()));
                Ok(None)
            }
            Lenience::Fails => {
                let what = format!("{} needs {name}, which is nowhere that its loader looks", asker.path.display());
                Err(Error::new(Stage::Bundle, what)
                    .with_hint("LD_LIBRARY_PATH does not count: install it, or link with a RUNPATH"))
            }
        }
    }

    /// The name service switch: the modules that nsswitch.conf names, and what they read.
    fn nss(&mut self) -> Result<()> {
        const CONF: &str = "/etc/nsswitch.conf";
        let mut conf = String::new();
        if let Ok(mut file) = File::open(CONF) {
            file.read_to_string(&mut conf).at(Stage::Bundle, || format!("read {CONF}"))?;
        }
        for file in NSS.iter().map(Path::new).filter(|file| file.exists()) {
            self.root.take(file, "the name service switch")?;
        }
        let Some(loader) = self.loader.as_ref().filter(|loader| Libc::of_loader(&loader.path) == Some(Libc::Glibc))
        else {
            return Ok(());
        };
        let (path, machine) = (loader.path.clone(), loader.machine);
        let object = Object { machine, interpreter: None, needed: Vec::new(), rpath: None, runpath: None };
        let asker = Asker::new(path, object, Lenience::IsTold);
        let mut modules: BTreeSet<&str> = BTreeSet::new();
        modules.extend(["files", "dns"]);
        modules.extend(
            conf.lines()
                .filter_map(|line| line.split('#').next()?.split_once(':'))
                .flat_map(|(_, services)| services.split_whitespace().filter(|word| !word.starts_with('['))),
        );
        // `files` and `dns` are in the C library itself from 2.34 on; of others a host names more than it has.
        for module in modules {
            if let Some(module) = self.library(&format!("libnss_{module}.so.2"), &asker)? {
                self.object(module)?;
            }
        }
        Ok(())
    }

    /// The converters of iconv(3).
    fn gconv(&mut self) -> Result<()> {
        let dir = self.loader.as_ref().and_then(|loader| Some(loader.path.parent()?.join("gconv")));
        match dir.filter(|dir| dir.is_dir()) {
            Some(dir) => {
                let (real, _) = self.root.take(&dir, "the converters of iconv")?;
                self.libraries_of_dir(&real)
            }
            None => Err(Error::new(Stage::Bundle, "--with gconv: beside the program's loader is no directory gconv")),
        }
    }
}

/// What an ELF file asks for, if it is one.
fn open_object(path: &Path) -> Result<Option<Object>> {
    let what = || format!("read {}", path.display());
    match open_file(path)? {
        Some(file) => elf::read(&|bytes, offset| file.read_at(bytes, offset)).at(Stage::Bundle, what),
        None => Ok(None),
    }
}

/// Opens a regular file; none where the path leads to something else. It is looked at before it is opened, for whoever made the
/// program has chosen the name: a fifo would be waited for, and to open a device may do something (watchdog_open() of
/// drivers/watchdog/watchdog_dev.c starts the clock that resets the machine).
fn open_file(path: &Path) -> Result<Option<File>> {
    let what = || format!("read {}", path.display());
    let found = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map(File::from).at(Stage::Bundle, what)?;
    if !found.metadata().at(Stage::Bundle, what)?.is_file() {
        return Ok(None);
    }
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map(Some).at(Stage::Bundle, what)
}

/// The interpreter of a script, and with env(1) the program that it will look for.
fn interpreter(head: &[u8]) -> Option<Vec<String>> {
    let words = script::words(head)?.map(|word| std::str::from_utf8(word).ok()).collect::<Option<Vec<_>>>()?;
    let (interpreter, rest) = words.split_first()?;
    let looked_for = if Path::new(interpreter).file_name()? == "env" {
        rest.iter().find(|word| !word.starts_with('-') && !word.contains('='))
    } else {
        None
    };
    Some([interpreter].into_iter().chain(looked_for).map(|word| (*word).to_owned()).collect())
}

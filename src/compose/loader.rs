//! Where a loader finds a library: glibc's (ld.so(8)) and musl's.
//!
//! A loader in the new root has no ld.so.cache: what the host's has from a directory of its own configuration gets a link
//! where the loader looks without one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::elf::Object;
use super::root::follow;
use crate::error::{Context, Result, Stage};

/// glibc writes it (ldconfig(8)).
const CACHE: &str = "/etc/ld.so.cache";
/// What its newer part begins with; it stands alone, or after the older one.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// The part's header, and an entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// As long as a name in it may be, or it is none.
const PATH_MAX: usize = 4096;
/// Directories of DT_RPATH that count: as many as there is room for in two of the longest.
const DIRS_MAX: usize = 4096;

/// Whose C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// GNU's.
    Glibc,
    /// musl.
    Musl,
}

impl Libc {
    /// The library of a loader with this name.
    pub fn of_loader(loader: &Path) -> Option<Libc> {
        let name = loader.file_name()?.to_str()?;
        if name.starts_with("ld-musl") {
            Some(Libc::Musl)
        } else if name.starts_with("ld-linux") || name.starts_with("ld-2.") || name == "ld64.so.2" {
            Some(Libc::Glibc)
        } else {
            None
        }
    }

    /// The library that this one is a part of.
    pub fn of_library(name: &str) -> Option<Libc> {
        if name.starts_with("libc.musl-") || name == "libc.so" {
            Some(Libc::Musl)
        } else if name == "libc.so.6" || name.starts_with("ld-linux") {
            Some(Libc::Glibc)
        } else {
            None
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Libc::Glibc => "glibc",
            Libc::Musl => "musl",
        }
    }
}

/// A path at which a library may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryPath {
    /// Where.
    pub path: PathBuf,
    /// The loader finds it by its cache alone.
    pub by_cache: bool,
}

/// What a loader goes by.
#[derive(Debug)]
pub struct Search {
    /// Name and path, in the cache's order.
    cache: Vec<(String, String)>,
    /// The directories that it looks into without having been told.
    dirs: Vec<PathBuf>,
}

impl Search {
    /// What the loader at this path, which has no links, goes by.
    pub fn of(loader: &Path) -> Result<Search> {
        // Its own directory is among its standard ones, however a distribution calls them.
        let mut dirs: Vec<PathBuf> = loader.parent().map(Path::to_owned).into_iter().collect();
        let (cache, standard): (_, &[&str]) = match Libc::of_loader(loader) {
            Some(Libc::Musl) => (Vec::new(), &["/lib", "/usr/local/lib", "/usr/lib"]),
            _ => (read_cache()?, &["/lib64", "/usr/lib64", "/lib", "/usr/lib"]),
        };
        dirs.extend(standard.iter().map(PathBuf::from));
        Ok(Search { cache, dirs })
    }

    /// Where a link makes a library be found.
    pub fn first(&self) -> Option<&Path> {
        self.dirs.first().map(PathBuf::as_path)
    }

    /// Whether a loader finds what is in the directory of this file without its cache, too.
    fn looks_beside(&self, path: &str) -> bool {
        let real = |dir: &Path| Some(follow(dir).ok()?.0);
        let beside = Path::new(path).parent().and_then(real);
        beside.is_some() && self.dirs.iter().any(|dir| real(dir) == beside)
    }

    /// Where a library may be, in the loader's order. `origin` is the directory of the object that asks; `inherited` is
    /// the DT_RPATH of those that asked for that object.
    pub fn candidates(&self, name: &str, object: &Object, origin: &Path, inherited: &[PathBuf]) -> Vec<LibraryPath> {
        let plain = |path: PathBuf| LibraryPath { path, by_cache: false };
        if name.contains('/') {
            return expand(name, origin).into_iter().map(plain).collect();
        }
        let mut dirs = Vec::new();
        match &object.runpath {
            Some(runpath) => dirs.extend(split(runpath, origin)),
            None => dirs.extend(rpath(object, origin, inherited)),
        }
        let mut all: Vec<LibraryPath> = dirs.into_iter().map(|dir| plain(dir.join(name))).collect();
        // The cache goes first: a library in /usr/local/lib is there to stand for the distribution's.
        let cached = self.cache.iter().filter(|(known, _)| known == name);
        all.extend(cached.map(|(_, path)| LibraryPath { path: path.into(), by_cache: !self.looks_beside(path) }));
        all.extend(self.dirs.iter().map(|dir| plain(dir.join(name))));
        all
    }
}

/// What an object that has no DT_RUNPATH passes on to the libraries it asks for.
pub fn rpath(object: &Object, origin: &Path, inherited: &[PathBuf]) -> Vec<PathBuf> {
    let own = object.rpath.iter().filter(|_| object.runpath.is_none()).flat_map(|rpath| split(rpath, origin));
    // A row of objects that all have one would be as long as the row.
    let mut seen = BTreeSet::new();
    own.chain(inherited.iter().cloned()).filter(|dir| seen.insert(dir.clone())).take(DIRS_MAX).collect()
}

fn split(list: &str, origin: &Path) -> Vec<PathBuf> {
    list.split(':').filter(|dir| !dir.is_empty()).flat_map(|dir| expand(dir, origin)).collect()
}

/// With the names that a loader replaces (ld.so(8), "Dynamic string tokens").
fn expand(text: &str, origin: &Path) -> Vec<PathBuf> {
    let origin = origin.to_string_lossy();
    let text = text.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
    let multiarch = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    let replaced =
        ["lib64", multiarch.as_str(), "lib"].into_iter().map(|lib| text.replace("${LIB}", lib).replace("$LIB", lib));
    let mut all: Vec<PathBuf> = replaced.map(PathBuf::from).filter(|path| path.is_absolute()).collect();
    all.dedup();
    all
}

fn read_cache() -> Result<Vec<(String, String)>> {
    match std::fs::read(CACHE) {
        Ok(bytes) => Ok(parse_cache(&bytes)),
        // A loader does without a cache that is not there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).at(Stage::Bundle, || format!("read {CACHE}")),
    }
}

/// Name and path of each entry for any processor of its kind. (Those in glibc-hwcaps are for some, and the directory of such
/// an entry is not looked into without the cache.)
pub fn parse_cache(bytes: &[u8]) -> Vec<(String, String)> {
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else { return Vec::new() };
    let part = bytes.get(start..).unwrap_or_default();
    let number = |at: usize| Some(u32::from_ne_bytes(part.get(at..at + 4)?.try_into().ok()?));
    let text = |at: u32| {
        let rest = part.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().take(PATH_MAX).position(|byte| *byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok().map(str::to_owned)
    };
    let count = number(MAGIC.len()).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let entry = |index: usize| {
        let at = HEADER + index * ENTRY;
        let common = number(at + 16)? == 0 && number(at + 20)? == 0;
        Some((text(number(at + 4)?)?, text(number(at + 8)?)?)).filter(|_| common)
    };
    let room = part.len().saturating_sub(HEADER) / ENTRY;
    (0..count.min(room)).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::elf::read;
    use super::*;

    fn cache(entries: &[(&str, &str, u64)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut table = Vec::new();
        let base = HEADER + entries.len() * ENTRY;
        for (name, path, capabilities) in entries {
            let mut put = |text: &str| {
                let at = u32::try_from(base + strings.len()).unwrap();
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
                at.to_ne_bytes()
            };
            let (key, value) = (put(name), put(path));
            table.extend_from_slice(&3u32.to_ne_bytes());
            table.extend_from_slice(&key);
            table.extend_from_slice(&value);
            table.extend_from_slice(&0u32.to_ne_bytes());
            table.extend_from_slice(&capabilities.to_ne_bytes());
        }
        let mut all = MAGIC.to_vec();
        all.extend_from_slice(&u32::try_from(entries.len()).unwrap().to_ne_bytes());
        all.resize(HEADER, 0);
        [all, table, strings].concat()
    }

    #[test]
    fn a_cache_is_read_and_a_damaged_one_does_no_harm() {
        let whole = cache(&[
            ("liba.so.1", "/opt/liba.so.1", 0),
            ("libb.so", "/x/v3/libb.so", 1 << 62),
            ("libb.so", "/x/libb.so", 0),
        ]);
        let expected =
            [("liba.so.1", "/opt/liba.so.1"), ("libb.so", "/x/libb.so")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(parse_cache(&whole), expected);
        let older = [b"ld.so-1.7.0\0".as_slice(), &[0; 20], &whole].concat();
        assert_eq!(parse_cache(&older), expected);
        for end in 0..whole.len() {
            assert!(parse_cache(&whole[..end]).len() <= 2);
        }
        let mut many = whole;
        many[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(parse_cache(&many).len() >= 2);
    }

    #[test]
    fn the_cache_goes_before_the_standard_directories() {
        let path = |text: &str| PathBuf::from(text);
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let object = read(&|bytes, offset| file.read_at(bytes, offset)).unwrap().unwrap();
        let object = Object { rpath: None, runpath: None, ..object };
        let cache = [("liba.so", "/usr/liba.so"), ("libb.so", "/etc/libb.so")].map(|(a, b)| (a.into(), b.into()));
        let search = Search { cache: cache.into(), dirs: vec![path("/usr")] };
        let found = |name| search.candidates(name, &object, Path::new("/"), &[]);
        let beside = LibraryPath { path: path("/usr/liba.so"), by_cache: false };
        assert_eq!(found("liba.so"), [beside.clone(), beside]);
        let other = LibraryPath { path: path("/etc/libb.so"), by_cache: true };
        assert_eq!(found("libb.so"), [other, LibraryPath { path: path("/usr/libb.so"), by_cache: false }]);
    }

    #[test]
    fn tokens_are_replaced() {
        let origin = Path::new("/opt/app/bin");
        assert_eq!(
            split("$ORIGIN/../lib:${ORIGIN}:relative:", origin),
            [PathBuf::from("/opt/app/bin/../lib"), origin.into()]
        );
        assert!(expand("/usr/$LIB", origin).contains(&PathBuf::from("/usr/lib64")));
    }
}

//! The environment of the container's program, and the search for the program. Pure; runs in the parent.

use std::collections::BTreeSet;

use crate::error::{Error, Result, Stage};

/// PATH of a program whose environment has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A checked environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramEnvironment {
    /// `NAME=value`, each name once.
    pub vars: Vec<String>,
}

impl ProgramEnvironment {
    /// Reads `process.env`. The last value of a name wins and keeps its place in the order, as in runc 1.3.
    pub fn parse(list: &[String]) -> Result<Self> {
        let bad = |what: String| Err(Error::new(Stage::Bundle, format!("environment variable {what}")));
        // Not hashed: the keys of a hash come from getrandom(2), and std panics when that fails.
        let mut seen = BTreeSet::new();
        let mut vars = Vec::with_capacity(list.len());
        for var in list.iter().rev() {
            match var.split_once('=') {
                None => return bad(format!("{var:?} has no =")),
                Some(("", _)) => return bad(format!("{var:?} has no name")),
                Some((name, _)) if var.contains('\0') => return bad(format!("{name:?} contains a NUL byte")),
                Some((name, _)) => {
                    if seen.insert(name) {
                        vars.push(var.clone());
                    }
                }
            }
        }
        vars.reverse();
        Ok(ProgramEnvironment { vars })
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.iter().find_map(|var| var.strip_prefix(name)?.strip_prefix('='))
    }

    /// PATH, or the default.
    pub fn path(&self) -> &str {
        self.get("PATH").unwrap_or(DEFAULT_PATH)
    }
}

/// A file that may be the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// May be executed.
    Take(String),
    /// Found through a relative element of PATH: if it is there, it ends the search with an error (as Go's
    /// exec.LookPath), since anyone who can write the working directory could have put it there.
    Refuse(String),
}

/// Where to look for program `name`, in order. A name with a slash stands for itself, counted from the
/// working directory.
pub fn candidates(name: &str, path: &str) -> Result<Vec<Candidate>> {
    if name.is_empty() {
        return Err(Error::new(Stage::Bundle, "process.args: the program's name is empty"));
    }
    if name.contains('/') {
        return Ok(vec![Candidate::Take(name.to_owned())]);
    }
    let candidate = |dir: &str| match dir {
        "" => Candidate::Refuse(format!("./{name}")),
        dir if dir.starts_with('/') => Candidate::Take(format!("{}/{name}", dir.trim_end_matches('/'))),
        dir => Candidate::Refuse(format!("{dir}/{name}")),
    };
    Ok(path.split(':').map(candidate).collect())
}

//! The environment of the container's program, and the search for the program. Pure; runs in the parent.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

use crate::error::{Error, Result, Stage};
use crate::plan::strings::c_string;
use crate::spec::process::DEFAULT_PATH;
use crate::spec::text::Text;

/// A checked environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramEnvironment {
    /// `NAME=value`, each name once.
    pub vars: Vec<Text>,
}

impl ProgramEnvironment {
    /// Reads `process.env`. The last value of a name wins and keeps its place in the order, as in runc 1.3.
    pub fn parse(list: &[Text]) -> Result<Self> {
        let bad = |index: usize, what: String| {
            let what = format!("environment variable {what}");
            Err(Error::of_field(Stage::Bundle, format!("process.env[{index}]"), what))
        };
        // Not hashed: the keys of a hash come from getrandom(2), and std panics when that fails.
        let mut seen = BTreeSet::new();
        let mut vars = Vec::with_capacity(list.len());
        for (index, var) in list.iter().enumerate().rev() {
            match var.iter().position(|byte| *byte == b'=') {
                None => return bad(index, format!("{var:?} has no =")),
                Some(0) => return bad(index, format!("{var:?} has no name")),
                Some(_) if var.contains(&0) => return bad(index, format!("{var:?} contains a NUL byte")),
                Some(end) => {
                    if seen.insert(&var[..end]) {
                        vars.push(var.clone());
                    }
                }
            }
        }
        vars.reverse();
        Ok(ProgramEnvironment { vars })
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.vars.iter().find_map(|var| var.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// PATH, or the default.
    pub fn path(&self) -> &[u8] {
        self.get("PATH").unwrap_or(DEFAULT_PATH.as_bytes())
    }
}

/// A file that may be the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// May be executed.
    Take(CString),
    /// Found through a relative element of PATH: if it is there, it ends the search with an error (as Go's
    /// exec.LookPath), since anyone who can write the working directory could have put it there.
    Refuse(CString),
}

impl Candidate {
    /// Where it is: absolute, or counted from the working directory.
    pub fn path(&self) -> &CStr {
        let (Candidate::Take(path) | Candidate::Refuse(path)) = self;
        path
    }
}

/// Where to look for program `name`, in order. A name with a slash stands for itself, counted from the
/// working directory.
pub fn candidates(name: &[u8], path: &[u8]) -> Result<Vec<Candidate>> {
    if name.is_empty() {
        // runc's words, which engines make status 127 of.
        return Err(Error::new(Stage::Exec, "exec: \"\": executable file not found in $PATH")
            .with_hint("the first of process.args is empty"));
    }
    if name.contains(&b'/') {
        return Ok(vec![Candidate::Take(c_string(name, "process.args")?)]);
    }
    let in_dir = |dir: &[u8]| c_string([dir, b"/", name].concat(), "process.args");
    let candidate = |dir: &[u8]| match dir {
        b"" => in_dir(b".").map(Candidate::Refuse),
        [b'/', ..] => {
            let end = dir.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            in_dir(&dir[..end]).map(Candidate::Take)
        }
        dir => in_dir(dir).map(Candidate::Refuse),
    };
    path.split(|byte| *byte == b':').map(candidate).collect()
}

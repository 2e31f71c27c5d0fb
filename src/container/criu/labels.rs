//! Which labels of the security modules the restored process has to have, and whether it has them. CRIU gives each process the
//! label that the images name. One that was built without SELinux writes none and reads none, and says nothing of it: what is
//! restored then has the label of CRIU itself, which is ours.
//!
//! Of the first process only: a CRIU that does without labels does so for all, and others may have come by `exec` with labels of
//! their own. Runs in the parent.

use std::fs::File;
use std::io::{Read, Write};

use crate::error::{Context, Error, Result, Stage};
use crate::proc::file;
use crate::spec::process::Process;

/// A module that labels processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// Of profiles, several of which may hold at once.
    AppArmor,
    /// Of one label.
    SeLinux,
}

impl Module {
    /// What `--lsm-profile` calls it, which is CRIU's name.
    fn name(self) -> &'static str {
        match self {
            Module::AppArmor => "apparmor",
            Module::SeLinux => "selinux",
        }
    }

    /// The file of the label, below /proc/PID. SELinux has no directory of its own there.
    fn file(self) -> &'static str {
        match self {
            Module::AppArmor => "attr/apparmor/current",
            Module::SeLinux => "attr/current",
        }
    }
}

/// A label that the first process has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLabel {
    /// Whose label it is.
    pub module: Module,
    /// The field of config.json, or the flag.
    pub said_by: &'static str,
    /// As it was written there.
    pub label: String,
}

/// What the configuration says, or `--lsm-profile` in its stead. With its type `none` nobody wants any.
pub fn wanted(process: Option<&Process>, flag: Option<&str>) -> Vec<WantedLabel> {
    let flag = flag.and_then(|flag| flag.split_once(':'));
    if flag.is_some_and(|(name, _)| name == "none") {
        return Vec::new();
    }
    let fields = [
        (Module::AppArmor, "process.apparmorProfile", process.and_then(|process| process.apparmor_profile.as_deref())),
        (Module::SeLinux, "process.selinuxLabel", process.and_then(|process| process.selinux_label.as_deref())),
    ];
    let labels = fields.into_iter().filter_map(|(module, field, label)| match flag {
        Some((name, label)) if name == module.name() => Some((module, "--lsm-profile", label)),
        _ => Some((module, field, label?)),
    });
    // A program that nothing confines may come under a profile by its path: there is nothing to be lost.
    let confining = labels.filter(|(module, _, label)| !label.is_empty() && (*module, *label) != UNCONFINED);
    confining.map(|(module, said_by, label)| WantedLabel { module, said_by, label: label.to_owned() }).collect()
}

const UNCONFINED: (Module, &str) = (Module::AppArmor, "unconfined");

impl WantedLabel {
    /// Refuses a process that has not the label.
    pub fn check(&self, pid: i32) -> Result<()> {
        let path = format!("/proc/{pid}/{}", self.module.file());
        let text = file::read_record_text(&path).at(Stage::Lsm, || format!("read {path}, for {}", self.said_by))?;
        let found = text.trim_end_matches(['\0', '\n']);
        let holds = match self.module {
            Module::AppArmor => confines(&self.label, found),
            Module::SeLinux => self.label == found || canonical(&self.label)? == found,
        };
        if holds { Ok(()) } else { Err(self.lost(&format!("has the label {found:?}"))) }
    }

    /// An error about a process of which this is true.
    pub fn lost(&self, what: &str) -> Error {
        let WantedLabel { module, said_by, label } = self;
        let error = Error::new(Stage::Lsm, format!("{said_by} is {label:?}, and the restored process {what}"));
        let error = error.with_hint(match module {
            Module::SeLinux => {
                "labels are saved and restored by a criu with SELinux only, and Debian's and others are built without: both that of \
                 `checkpoint` and this one need it, or `--lsm-profile none:` does without"
            }
            Module::AppArmor => {
                "criu gives it the profile that it had at the checkpoint; `--lsm-profile apparmor:NAME` names another, `none:` none"
            }
        });
        if said_by.starts_with("--") { error } else { error.at_field(*said_by) }
    }
}

/// Whether what AppArmor says of a process is as narrow as this profile, or these (`ONE//&OTHER`): further ones take more away,
/// and what a profile has its programs come under (`PROFILE//CHILD`) is a part of it.
pub fn confines(wanted: &str, found: &str) -> bool {
    // The mode follows, but for unconfined.
    let found = found.strip_suffix(')').and_then(|found| found.rsplit_once(" (")).map_or(found, |(found, _)| found);
    let found: Vec<String> = found.split("//&").map(in_namespace).collect();
    wanted.split("//&").map(in_namespace).all(|wanted| {
        let is =
            |found: &String| found.strip_prefix(&*wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with("//"));
        found.iter().any(is)
    })
}

/// `:NAMESPACE:NAME` and `:NAMESPACE://NAME` are the same.
fn in_namespace(profile: &str) -> String {
    match profile.strip_prefix(':').and_then(|rest| rest.split_once("://")) {
        Some((namespace, name)) => format!(":{namespace}:{name}"),
        None => profile.to_owned(),
    }
}

/// The label as SELinux writes it: categories may be listed in any order, and ranges one by one.
fn canonical(label: &str) -> Result<String> {
    const CONTEXT: &str = "/sys/fs/selinux/context";
    let ask = || {
        let mut file = File::options().read(true).write(true).open(CONTEXT)?;
        file.write_all(label.as_bytes())?;
        let mut answer = String::new();
        file.read_to_string(&mut answer)?;
        Ok::<String, std::io::Error>(answer)
    };
    let answer = ask().at(Stage::Lsm, || format!("ask {CONTEXT} for {label}"))?;
    Ok(answer.trim_end_matches(['\0', '\n']).to_owned())
}

//! A container that is described on the command line: its configuration is the one that `spec` writes, and each flag changes
//! something in it. `spec` makes a file of it; `create` and `run` with `--rootfs` take it as it is.
//!
//! Runs in the parent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Origins, Result, SaidBy, Stage};
use crate::host::cgroup::{Layout, LayoutKind};
use crate::plan::cgroup::files::DEFAULT_PERIOD;
use crate::plan::namespace::NamespaceKind;
use crate::plan::process::environment::ProgramEnvironment;
use crate::plan::seccomp::{Arch, docker};
use crate::spec::annotations::{OVERLAY, OVERLAY_IDMAP, OVERLAY_LOWER};
use crate::spec::linux::Namespace;
use crate::spec::mounts::Mount;
use crate::spec::overlay::{self, Upper};
use crate::spec::process::{Capabilities, User};
use crate::spec::resources::{Cpu, Memory, Pids, Resources};
use crate::spec::seccomp::Seccomp;
use crate::spec::template::{self, For, TemplateLayout};
use crate::spec::{self, Loaded, Root, Spec};
use crate::sys;
use crate::sys::cred::Ids;

/// What Docker hides besides what `spec` hides: interrupts tell of keys that are pressed (timing), RAPL of what is computed
/// (CVE-2020-8694).
const HIDDEN: [&str; 2] = ["/proc/interrupts", "/sys/devices/virtual/powercap"];

/// What the flags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The root, in place of a bundle's.
    pub rootfs: Option<PathBuf>,
    /// Attach a terminal.
    pub terminal: Option<bool>,
    /// The root cannot be written.
    pub readonly: Option<bool>,
    /// What it may take.
    pub limits: LimitChoice,
    /// User and group.
    pub user: Option<Ids>,
    /// `NAME=value`, added to the environment.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Capabilities, added to those that there are.
    pub caps: Vec<String>,
    /// Binds and tmpfs, in the order of the flags; sources as typed.
    pub mounts: Vec<Mount>,
    /// Which network.
    pub network: Option<NetworkChoice>,
    /// Which filter of system calls.
    pub seccomp: Option<SeccompChoice>,
    /// A user namespace with the caller alone in it.
    pub rootless: bool,
    /// What lies over the root; of a bundle's as well.
    pub overlay: OverlayChoice,
    /// The program and its arguments.
    pub args: Vec<String>,
}

impl Outline {
    /// Which flag has said what of a configuration that was made of these.
    pub(super) fn origins(&self, spec: &Spec) -> Origins {
        let Outline {
            rootfs,
            terminal,
            readonly,
            limits,
            user,
            env,
            cwd,
            hostname,
            caps,
            mounts,
            network,
            seccomp,
            rootless,
            overlay,
            args,
        } = self;
        let mut origins = limits.origins();
        origins.add_given(&[
            ("process.terminal", "--tty", terminal.is_some()),
            ("process.user", "--user", user.is_some()),
            ("process.env", "--env", !env.is_empty()),
            ("process.cwd", "--cwd", cwd.is_some()),
            ("process.capabilities", "--cap", !caps.is_empty()),
            ("process.args", "COMMAND", !args.is_empty()),
            ("root.readonly", "--read-only", readonly.is_some()),
            ("root", "--rootfs", rootfs.is_some()),
            ("root", "--overlay", overlay.upper.is_some()),
            ("hostname", "--hostname", hostname.is_some()),
            ("linux.namespaces", "--network", network.is_some()),
            ("linux.seccomp", "--seccomp", seccomp.is_some()),
            ("linux.uidMappings", "--rootless", *rootless),
            ("linux.gidMappings", "--rootless", *rootless),
        ]);
        for (index, mount) in spec.mounts.iter().enumerate() {
            if let Some(ours) = mounts.iter().find(|ours| ours.destination == mount.destination) {
                origins.add(format!("mounts[{index}]"), flag_of(ours));
            }
        }
        origins
    }
}

/// The flag that a mount comes from.
pub(super) fn flag_of(mount: &Mount) -> &'static str {
    if mount.is_bind() { "--mount" } else { "--tmpfs" }
}

/// `--memory`, `--pids` and `--cpus`: of a container, and of the program that a template gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitChoice {
    /// Bytes of memory, swap included.
    pub memory: Option<i64>,
    /// Number of tasks.
    pub pids: Option<i64>,
    /// Microseconds of CPU time in each [`DEFAULT_PERIOD`].
    pub cpu_quota: Option<i64>,
}

impl LimitChoice {
    /// Whether anything is limited.
    pub(super) fn is_some(&self) -> bool {
        *self != LimitChoice::default()
    }

    /// Which flag has said what.
    pub(super) fn origins(&self) -> Origins {
        let LimitChoice { memory, pids, cpu_quota } = self;
        let mut origins = Origins::default();
        origins.add_given(&[
            // The limit of swap is the same.
            ("linux.resources.memory.limit", "--memory", memory.is_some()),
            ("linux.resources.memory.swap", "--memory", memory.is_some()),
            ("linux.resources.pids.limit", "--pids", pids.is_some()),
            // Quota and period are one file on v2.
            ("linux.resources.cpu.quota", "--cpus", cpu_quota.is_some()),
            ("linux.resources.cpu.period", "--cpus", cpu_quota.is_some()),
            ("linux.resources.cpu", "--cpus", cpu_quota.is_some()),
        ]);
        origins
    }

    /// Sets what is limited.
    pub(super) fn set(&self, resources: &mut Resources) {
        let LimitChoice { memory, pids, cpu_quota } = *self;
        if let Some(limit) = memory {
            // The same for both together: no swap.
            resources.memory = Some(Memory { limit: Some(limit), swap: Some(limit), ..Memory::default() });
        }
        if let Some(limit) = pids {
            resources.pids = Some(Pids { limit: Some(limit) });
        }
        if let Some(quota) = cpu_quota {
            resources.cpu = Some(Cpu { quota: Some(quota), period: Some(DEFAULT_PERIOD), ..Cpu::default() });
        }
    }
}

/// `--overlay`, `--lower` and `--overlay-idmap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayChoice {
    /// Where what is written goes.
    pub upper: Option<Upper>,
    /// More layers below the root, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// The owners of the files are those of the user namespace.
    pub idmap: bool,
}

impl OverlayChoice {
    /// The annotations that say the same.
    pub(super) fn annotations(&self) -> Result<BTreeMap<String, String>> {
        let OverlayChoice { upper, lower, idmap } = self;
        let upper = match upper {
            Some(Upper::Tmpfs(None)) => Some("tmpfs".to_owned()),
            Some(Upper::Tmpfs(Some(bytes))) => Some(format!("tmpfs:{bytes}")),
            Some(Upper::Dir(dir)) => Some(absolute(Path::new(dir), "--overlay")?),
            None => None,
        };
        let lower = lower.iter().map(|dir| absolute(dir, "--lower")).collect::<Result<Vec<_>>>()?;
        let lower = (!lower.is_empty()).then(|| overlay::join(&lower));
        let idmap = idmap.then(|| "1".to_owned());
        let all = [(OVERLAY, upper), (OVERLAY_LOWER, lower), (OVERLAY_IDMAP, idmap)];
        let mut annotations = BTreeMap::new();
        annotations.extend(all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        Ok(annotations)
    }
}

/// `--network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkChoice {
    /// One of its own, with nothing in it but a loopback.
    Own,
    /// The host's.
    Host,
    /// The namespace of this path.
    Of(PathBuf),
}

/// `--seccomp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompChoice {
    /// Docker's.
    Docker,
    /// None.
    Unconfined,
    /// `linux.seccomp` in a file.
    File(PathBuf),
}

/// config.json as `spec` writes it: runc's to the letter where no flag says otherwise.
pub fn file(outline: &Outline) -> Result<Vec<u8>> {
    let text = begin(outline)?;
    if (Outline { rootless: outline.rootless, ..Outline::default() }) == *outline {
        return Ok(text.into_bytes());
    }
    let mut spec: Spec = spec::parse(text.as_bytes(), "config.json")?;
    apply(&mut spec, outline)?;
    spec.annotations.extend(outline.overlay.annotations()?);
    let text = serde_json::to_vec(&spec).at(Stage::Bundle, || "describe the bundle")?;
    Ok(indented(&text))
}

/// JSON over several lines, with tabs. (serde_json could do that with another copy of all of its code for the types.)
fn indented(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * text.len());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + depth, b'\t');
    };
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if quoted {
            out.push(byte);
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if matches!(byte, b'}' | b']') && !matches!(out.last(), Some(b'{' | b'[')) {
            line(&mut out, depth - 1);
        }
        out.push(byte);
        match byte {
            b'"' => quoted = true,
            b':' => out.push(b' '),
            b',' => line(&mut out, depth),
            b'{' | b'[' => {
                depth += 1;
                if !matches!(bytes.peek(), Some(b'}' | b']')) {
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    out.push(b'\n');
    out
}

/// The configuration of a container that is made without a bundle: no terminal, a root that can be written, and Docker's
/// filter, unless the flags say otherwise.
pub(super) fn loaded(outline: &Outline) -> Result<Loaded> {
    let outline = Outline {
        terminal: outline.terminal.or(Some(false)),
        readonly: outline.readonly.or(Some(false)),
        seccomp: outline.seccomp.clone().or(Some(SeccompChoice::Docker)),
        ..outline.clone()
    };
    let mut spec: Spec = spec::parse(begin(&outline)?.as_bytes(), "config.json")?;
    apply(&mut spec, &outline)?;
    spec.linux.get_or_insert_default().masked_paths.extend(HIDDEN.map(str::to_owned));
    let text = serde_json::to_vec(&spec).at(Stage::Bundle, || "describe the container")?;
    Ok(Loaded { text, spec, warnings: Vec::new() })
}

/// The text that everything begins with.
fn begin(outline: &Outline) -> Result<String> {
    let whom = if outline.rootless {
        For::Rootless { uid: sys::process::geteuid(), gid: sys::process::getegid() }
    } else {
        For::Root
    };
    let layout = match Layout::read()?.kind() {
        LayoutKind::V2 => TemplateLayout::V2,
        _ => TemplateLayout::V1,
    };
    Ok(template::config(whom, layout))
}

fn apply(spec: &mut Spec, outline: &Outline) -> Result<()> {
    let Outline {
        rootfs,
        readonly,
        limits,
        hostname,
        mounts,
        network: network_choice,
        seccomp: seccomp_choice,
        rootless,
        // `process`.
        terminal: _,
        user: _,
        env: _,
        cwd: _,
        caps: _,
        args: _,
        // The annotations that say the same: `file`, `Bundle::load`.
        overlay: _,
    } = outline;
    if let Some(rootfs) = rootfs {
        let root = spec.root.get_or_insert_with(Root::default);
        root.path = absolute(rootfs, "--rootfs")?;
    }
    if let (Some(readonly), Some(root)) = (readonly, &mut spec.root) {
        root.readonly = *readonly;
    }
    process(spec, outline)?;
    if let Some(hostname) = hostname {
        spec.hostname = Some(hostname.clone());
    }
    for mount in mounts {
        let source = match &mount.source {
            Some(source) if mount.is_bind() => Some(absolute(Path::new(source), "--mount")?),
            source => source.clone(),
        };
        spec.mounts.push(Mount { source, ..mount.clone() });
    }
    let linux = spec.linux.get_or_insert_default();
    if limits.is_some() {
        limits.set(linux.resources.get_or_insert_default());
    }
    if let Some(choice) = seccomp_choice {
        linux.seccomp = seccomp(choice)?;
    }
    if let Some(choice) = network_choice {
        network(&mut linux.namespaces, choice)?;
        // Only one who has the rights over a network may have a sysfs, which shows its devices.
        let own = linux.namespace(NamespaceKind::Network.name()).is_some();
        let ordinary = *rootless || sys::process::geteuid() != 0;
        let (kind, source) = if own || !ordinary { ("sysfs", "sysfs") } else { ("none", "/sys") };
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination == "/sys") {
            mount.options.retain(|option| option != "rbind");
            if source == "/sys" {
                mount.options.insert(0, "rbind".to_owned());
            }
            (mount.kind, mount.source) = (Some(kind.to_owned()), Some(source.to_owned()));
        }
    }
    spec::validate::validate(spec).said_by(|| outline.origins(spec))
}

fn process(spec: &mut Spec, outline: &Outline) -> Result<()> {
    let process = spec.process.get_or_insert_default();
    process.terminal = outline.terminal.unwrap_or(process.terminal);
    if !outline.args.is_empty() {
        // A configuration is JSON, so these are UTF-8.
        process.args = outline.args.iter().map(|arg| arg.as_str().into()).collect();
    }
    if let Some(Ids { uid, gid }) = outline.user {
        process.user = User { uid, gid, ..User::default() };
    }
    if let Some(cwd) = &outline.cwd {
        process.cwd = cwd.as_str().into();
    }
    process.env.extend(outline.env.iter().map(|variable| variable.as_str().into()));
    // The last of equal names alone: config.json is read by people.
    process.env = ProgramEnvironment::parse(&process.env)?.vars;
    let caps = process.capabilities.get_or_insert_with(Capabilities::default);
    for set in [&mut caps.bounding, &mut caps.effective, &mut caps.permitted] {
        set.extend(outline.caps.iter().cloned());
    }
    if outline.user.is_some_and(|user| user.uid != 0) {
        // What was asked for by name is meant for the program, which as another user than root has it by this alone.
        for set in [&mut caps.inheritable, &mut caps.ambient] {
            set.extend(outline.caps.iter().cloned());
        }
    }
    Ok(())
}

fn network(namespaces: &mut Vec<Namespace>, choice: &NetworkChoice) -> Result<()> {
    let kind = NamespaceKind::Network.name();
    namespaces.retain(|namespace| namespace.kind != kind);
    let path = match choice {
        NetworkChoice::Own => None,
        NetworkChoice::Host => return Ok(()),
        NetworkChoice::Of(path) => Some(absolute(path, "--network")?),
    };
    namespaces.push(Namespace { kind: kind.to_owned(), path });
    Ok(())
}

fn seccomp(choice: &SeccompChoice) -> Result<Option<Seccomp>> {
    let file = match choice {
        SeccompChoice::Docker => return Ok(Some(docker::profile(Arch::NATIVE))),
        SeccompChoice::Unconfined => return Ok(None),
        SeccompChoice::File(file) => file,
    };
    let text = spec::read_file(file, Stage::Bundle).map_err(|error| {
        error.with_hint("--seccomp is docker, unconfined, or a file with what linux.seccomp may have")
    })?;
    let name = file.to_string_lossy();
    refuse_conditions(&spec::parse(&text, &name)?, &name)?;
    spec::parse(&text, &name).map(Some)
}

/// Docker's files say for whom a rule is, which Docker decides before it gives a profile to a runtime. Here every rule would
/// be for everybody.
fn refuse_conditions(profile: &serde_json::Value, name: &str) -> Result<()> {
    let empty = |value: &serde_json::Value| match value {
        serde_json::Value::Object(object) => object.is_empty(),
        value => value.is_null(),
    };
    let rules = profile["syscalls"].as_array().into_iter().flatten();
    let mut conditions = rules.flat_map(|rule| [&rule["includes"], &rule["excludes"]]).chain([&profile["archMap"]]);
    if conditions.all(empty) {
        return Ok(());
    }
    Err(Error::new(Stage::Seccomp, format!("{name} has conditions (includes, excludes, archMap) of Docker's own"))
        .with_hint(
            "--seccomp docker is that profile with the conditions decided; a file has what linux.seccomp may have",
        ))
}

/// A path that means the same from everywhere.
fn absolute(path: &Path, flag: &str) -> Result<String> {
    let path = std::path::absolute(path).at(Stage::Args, || format!("find {}", path.display()))?;
    let text = path.to_str().ok_or_else(|| Error::new(Stage::Args, format!("{flag} {}: not UTF-8", path.display())))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_spread_as_the_template_is() {
        let value = r#"{"a":[],"b":{},"c":[{"d":"x,\\\":[{}]\\\\","e":1},true],"f":null}"#;
        let lines = "{\n\t\"a\": [],\n\t\"b\": {},\n\t\"c\": [\n\t\t{\n\t\t\t\"d\": \"x,\\\\\\\":[{}]\\\\\\\\\",\n\t\t\t\"e\": 1\n\t\t},\n\t\ttrue\n\t],\n\t\"f\": null\n}\n";
        assert_eq!(String::from_utf8(indented(value.as_bytes())).unwrap(), lines);
    }
}

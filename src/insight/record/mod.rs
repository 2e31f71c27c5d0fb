//! `record`: runs a container, and writes the seccomp profile that it needed.
//!
//! `brisk run` does the running. It is given the bundle's config.json with another filter (`filter`), by which the kernel asks us
//! about each system call (seccomp_unotify(2)) that the container's own filter would answer. We note what is asked (`watch`, `calls`),
//! answer as that filter does, and say at the end what was seen (`profile`, `report`, with `capabilities`).
//!
//! Not trusted: the container. It may call what it likes, as often as it likes, and end whenever: what is kept of a call is a
//! number, and there are no more of those than the tables have, and some.

mod calls;
mod capabilities;
mod filter;
mod profile;
mod report;
mod watch;

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use brisk::cli::apart::each_its_own;
use brisk::cli::args::RecordArgs;
use brisk::cli::{insight, scan};
use brisk::container::options::Global;
use brisk::error::{Context, Error, Result, Stage};
use brisk::plan::process::caps;
use brisk::plan::seccomp::{FLAGS, flag};
use brisk::spec::annotations::SECCOMP_BPF_DATA;
use brisk::spec::seccomp::Seccomp;
use brisk::spec::{self, CONFIG, Loaded, Spec};
use brisk::sys::process::Exit;
use brisk::sys::seccomp::{FLAG_WAIT_KILLABLE_RECV, Instruction};
use brisk::sys::{self, arguments, fs, poll, process, signal};
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::containers::roots;
use crate::json;
use crate::looks::Looks;
use crate::svg::NamedFile;

use calls::{CallNames, FilterLoad};
use filter::OwnFilter;
use profile::RecordedProfile;
use report::RecordReport;
use watch::CallWatch;

/// Runs the container of a bundle; its exit status.
pub fn record(global: &Global<'_>, args: &RecordArgs) -> Result<u8> {
    let RecordArgs {
        id,
        bundle,
        config,
        output,
        merge,
        compare,
        // `files`.
        report: _,
        runtime,
        plain,
    } = args;
    let dir = std::path::absolute(bundle).at(Stage::Bundle, || format!("find the bundle {}", bundle.display()))?;
    let loaded = match config {
        Some(file) => spec::load_file(file)?,
        None => spec::load_text(&dir)?,
    };
    loaded.warnings.iter().for_each(|warning| (global.warn)(warning));
    let own = own_profile(&loaded.spec);
    let (profile_file, report_file) = files(global, args, &dir)?;
    let to_add_to = || match *merge {
        true => RecordedProfile::read(&profile_file, output, global.warn),
        false => Ok(RecordedProfile::default()),
    };
    to_add_to()?;
    let compared = match compare {
        Some(file) => Some((file.display().to_string(), spec::load_json::<Seccomp>(file, global.warn)?)),
        None => own.map(|own| ("config.json".to_owned(), own.clone())),
    };
    let kernel = sys::seccomp::probe();
    let filter = OwnFilter::of(own, kernel)?;
    let (socket, address) = meeting_place()?;
    let mut flags = filter.flags();
    if kernel.has_flags(FLAG_WAIT_KILLABLE_RECV) {
        flags |= FLAG_WAIT_KILLABLE_RECV;
    }
    let text = asking_config(&loaded, &filter.asking()?, flags, &by_number(&address))?;
    // Before there is a child whose end could be missed.
    let signals = signal::take_all().at(Stage::Host, || "take signals")?;
    let (child, _config) = run(global, &dir, &text, id)?;

    let mut watch = CallWatch::new(filter, socket, signals, CallNames::new());
    let ended = watch.until_the_end(child)?;
    let killed = ended.signal().map(|signal| Exit::Signal(signal).status());
    let status = killed.or(ended.code()).unwrap_or(1) as u8;
    if killed.is_some() && watch.has_begun() {
        // What was recorded is worth more than this.
        delete(id).unwrap_or_else(|error| (global.warn)(&format!("{id} is left without its `brisk run`: {error}")));
    }
    let seen = watch.finish();
    let Some(seen) = seen else {
        let what = "no program was run, so nothing was recorded";
        return Err(Error::new(Stage::Process, what).with_hint(format!("`brisk run` ended with status {status}")));
    };
    let load = match &loaded.spec.process {
        Some(process) if process.no_new_privileges => FilterLoad::AtTheEnd,
        _ => FilterLoad::Early,
    };
    // Once more: another recording may have added to it meanwhile. What follows is for one at a time; a set that was recorded is worth
    // more than that.
    let lock = if *merge { one_at_a_time(output) } else { Ok(None) };
    let _lock = lock.unwrap_or_else(|error| {
        (global.warn)(&format!("{error}; what another recording writes at this moment may be lost"));
        None
    });
    let (mut profile, kept) = match to_add_to() {
        Ok(profile) => (profile, Ok(())),
        Err(error) => (RecordedProfile::default(), Err(error)),
    };
    let added = profile.add(&seen, *runtime, load);
    let text = json::text(&profile.json())?;
    let kept = kept.and_then(|()| profile_file.keep(&text));
    let given = given_capabilities(&loaded.spec);
    let report_of =
        RecordReport { id, output, seen: &seen, added: &added, profile: &profile, compared, runtime: *runtime, given };
    let report_text = json::text(&report_of.json(status))?;
    let reported = report_file.map_or(Ok(()), |file| file.keep(&report_text));
    let looks = Looks::of_stderr();
    let looks = if *plain { looks.plain() } else { looks };
    // What the program writes goes to standard output.
    let _ = std::io::stderr().write_all((report_of.lines(looks).join("\n") + "\n").as_bytes());
    if let Err(error) = kept {
        NamedFile::Stdout.keep(&text)?;
        return Err(error.with_hint("the profile is on standard output instead"));
    }
    reported.map(|()| status)
}

/// Where the profile goes, and the report: neither is what the other is, or what is read.
fn files(global: &Global<'_>, args: &RecordArgs, bundle: &Path) -> Result<(NamedFile, Option<NamedFile>)> {
    let roots = roots(global)?;
    let profile = NamedFile::find_file(&args.output, &roots)?;
    let report = args.report.as_deref().map(|file| NamedFile::find_file(file, &roots)).transpose()?;
    let mut written = vec![("--output", &profile)];
    written.extend(report.iter().map(|report| ("--report", report)));
    // What the program writes.
    if !written.iter().any(|(_, file)| matches!(file, NamedFile::Stdout)) {
        written.push(("standard output", &NamedFile::Stdout));
    }
    let config = bundle.join(CONFIG);
    let mut read = vec![("the configuration of the bundle", &*config)];
    read.extend(args.config.as_deref().map(|path| ("--config", path)));
    each_its_own(&written, &read)?;
    // To what is in a profile can be added, and it may be asked what of that was not used now.
    let written = if args.merge { &written[1..] } else { &written };
    let compared: Vec<_> = args.compare.as_deref().map(|path| ("--compare", path)).into_iter().collect();
    each_its_own(written, &compared)?;
    Ok((profile, report))
}

/// Keeps others from adding to the file, for as long as what is returned is there. It is its directory that is locked: the file is
/// replaced, and may not be there yet.
fn one_at_a_time(file: &Path) -> Result<Option<File>> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const LOOK_AGAIN: Duration = Duration::from_millis(10);
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let what = || format!("lock {}", dir.display());
    let lock = File::open(dir).at(Stage::Host, what)?;
    let begun = Instant::now();
    loop {
        match fs::lock(lock.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
            Err(Errno::EAGAIN) if begun.elapsed() < PATIENCE => poll::pause(LOOK_AGAIN).at(Stage::Host, what)?,
            locked => return locked.map(|()| Some(lock)).at(Stage::Host, what),
        }
    }
}

/// The profile of a bundle, where it is one.
fn own_profile(spec: &Spec) -> Option<&Seccomp> {
    spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref())
}

/// The capabilities that the program has, or may come to have by a file.
fn given_capabilities(spec: &Spec) -> u64 {
    let list = spec.process.as_ref().and_then(|process| process.capabilities.as_ref());
    let sets = list.map(|list| caps::parse(list, u64::MAX).0).unwrap_or_default();
    sets.bounding | sets.permitted | sets.effective | sets.ambient
}

/// A socket that has no name any more, and what leads to it: nothing is left of it whenever we end, but for a SIGKILL while this is done.
fn meeting_place() -> Result<(UnixListener, OwnedFd)> {
    let within = std::env::temp_dir();
    let what = || format!("make a socket in {}", within.display());
    // Everybody may make names there, but none that he cannot guess.
    let mut random = [0; 16];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).at(Stage::Host, what)?;
    let dir = within.join(format!(".brisk-record.{:032x}", u128::from_ne_bytes(random)));
    std::fs::DirBuilder::new().mode(0o700).create(&dir).at(Stage::Host, what)?;
    let path = dir.join("socket");
    let made = UnixListener::bind(&path).at(Stage::Host, what).and_then(|socket| {
        let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        let address = fs::open(fs::CWD, &name, libc::O_PATH | libc::O_NOFOLLOW, 0).at(Stage::Host, what)?;
        Ok((socket, address))
    });
    // A name that stays leads to a socket that ends with us.
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_dir(&dir);
    made
}

/// A path to a file of ours for another process.
fn by_number(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// config.json, but that the kernel asks us.
fn asking_config(loaded: &Loaded, program: &[Instruction], flags: u64, listener: &Path) -> Result<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(&loaded.text).at(Stage::Bundle, || "read config.json once more")?;
    if config["annotations"].get(SECCOMP_BPF_DATA).is_some() {
        let what = format!("the annotation {SECCOMP_BPF_DATA} is a filter of its own, and not recorded");
        return Err(Error::new(Stage::Seccomp, what).with_hint("record it without: --config FILE"));
    }
    let names: Vec<&str> =
        FLAGS.iter().copied().filter(|name| flag(name).is_some_and(|bit| flags & bit != 0)).collect();
    // By its rule brisk knows that there is a listener; the filter itself is in the annotation.
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": names,
        "listenerPath": listener,
        "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|Instruction { code, jt, jf, k }| {
            let [c0, c1] = code.to_ne_bytes();
            let [k0, k1, k2, k3] = k.to_ne_bytes();
            [c0, c1, *jt, *jf, k0, k1, k2, k3]
        })
        .collect();
    config["annotations"][SECCOMP_BPF_DATA] = base64(&bytes).into();
    serde_json::to_vec(&config).at(Stage::Bundle, || "write config.json for the recording")
}

/// RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let at = (word >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit > group.len() { '=' } else { DIGITS[at].into() });
        }
    }
    text
}

/// Begins the container, of a file that has to stay open for as long. It ends with us: its `run` sees to that, and where that is
/// killed with us, the kernel.
fn run(global: &Global<'_>, bundle: &Path, config: &[u8], id: &str) -> Result<(Child, File)> {
    let file = fs::memfd(c"config.json").at(Stage::Host, || "make a memory file")?;
    let path = by_number(&file);
    let mut file = File::from(file);
    file.write_all(config).at(Stage::Host, || "write the configuration")?;
    let trusted = global.trust_annotations.iter().map(String::as_str).chain([SECCOMP_BPF_DATA]).collect::<Vec<_>>();
    let mut command = brisk()?;
    command.arg("--trust-annotations").arg(trusted.join(","));
    command.arg("run").arg("--die-with-parent").arg("--bundle").arg(bundle).arg("--config").arg(path).arg(id);
    let child = process::spawn(&mut command).at(Stage::Host, || "run brisk")?;
    Ok((child, file))
}

/// Deletes the container of a `run` that was killed: of whoever is alive in it each system call would wait for us. (With a pid namespace
/// that is nobody.)
fn delete(id: &str) -> Result<()> {
    let what = || format!("brisk delete --force {id}");
    let mut command = brisk()?;
    command.args(["delete", "--force", id]);
    let ended = process::spawn(&mut command).and_then(|mut child| child.wait()).at(Stage::Host, what)?;
    if ended.success() { Ok(()) } else { Err(Error::new(Stage::Host, format!("{}: {ended}", what()))) }
}

/// brisk with what we were told before the command.
fn brisk() -> Result<Command> {
    let argv: Vec<OsString> = arguments::all().into_iter().skip(1).collect();
    let mut command = Command::new(insight::caller()?);
    command.args(scan::before_the_command(&argv));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}

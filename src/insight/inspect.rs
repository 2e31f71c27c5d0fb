//! `inspect`: all that is known of a container, as JSON.

use std::path::Path;

use brisk::cgroup::SavedDir;
use brisk::cli::output;
use brisk::container::options::Global;
use brisk::error::{Context, Error, Result, Stage};
use brisk::plan::cgroup::Version;
use brisk::plan::cgroup::files;
use brisk::plan::process::caps;
use brisk::proc::mountinfo::{parse_whole, unescape};
use brisk::state::{Caller, Dir, RECORD, StateRoot};
use brisk::sys::process;
use serde_json::{Map, Value, json};

use crate::containers::{Discovery, Finder};
use crate::figures::Look;
use crate::json;
use crate::procdir::{ProcDir, read_small};
use crate::subject::{RuntimeKind, Subject};

/// The version of the format.
const VERSION: u32 = 1;
/// A container may have mounted as much as the kernel allows it: 100,000 mounts, of which few are long.
const LONGEST_MOUNTINFO: usize = 64 << 20;
/// The namespaces, by their names in proc.
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Prints it.
pub fn inspect(global: &Global<'_>, id: &String) -> Result<()> {
    let subject = Finder::new(global, std::slice::from_ref(id))?.one(global, id)?;
    let mut look = Look::at(Discovery { subjects: vec![subject], ..Discovery::default() }, None);
    let Some(reading) = look.rows.pop() else {
        return Err(Error::new(Stage::Cgroup, look.problems.told.concat()));
    };
    look.problems.told.iter().for_each(|problem| (global.warn)(problem));
    let mut value = json::row(&reading, json::Rated::No);
    let subject = &reading.subject;
    let root = StateRoot::choose(Some(&subject.root), Path::new("/"), &Caller::default())?;
    let dir = Dir::open(&root, id)?;
    // One part that cannot be read, which may be the container's doing, keeps nobody from the others.
    let part = |part: Result<Value>| {
        part.unwrap_or_else(|error| {
            (global.warn)(&error.to_string());
            Value::Null
        })
    };
    let parse = |text: Option<Vec<u8>>, name: &str| {
        let value = text.map(|text| serde_json::from_slice::<Value>(&text)).transpose();
        value.map(|value| json!(value)).at(Stage::State, || format!("parse {name}"))
    };
    value["version"] = json!(VERSION);
    value["state"] = part(match subject.maker {
        RuntimeKind::Brisk | RuntimeKind::Runc => dir.read(RECORD).and_then(|text| parse(text, "state.json")),
        RuntimeKind::Crun => dir.read(c"status").and_then(|text| parse(text, "status")),
    });
    value["config"] = part(dir.config().and_then(|text| parse(text, "the copy of config.json")));
    value["cgroups"] = part(cgroups(subject).map(|cgroups| json!(cgroups)));
    let proc = subject.init.map(ProcDir::open).transpose()?.flatten();
    if let Some(proc) = proc {
        value["namespaces"] = part(namespaces(&proc).map(Value::Object));
        value["mounts"] = part(mounts(&proc).map(|mounts| json!(mounts)));
        value["process"] = part(first_process(&proc));
        value["process"]["arguments"] = part(arguments(&proc).map(|arguments| json!(arguments)));
    } else {
        ["namespaces", "mounts", "process"].into_iter().for_each(|name| value[name] = Value::Null);
    }
    output::print(&json::text(&value)?)
}

/// Each cgroup with the files that limit something.
fn cgroups(subject: &Subject) -> Result<Option<Vec<Value>>> {
    let Some(saved) = &subject.cgroup else { return Ok(None) };
    let one = |dir: &SavedDir| {
        let version = if dir.version == Version::V1 { 1 } else { 2 };
        Ok(json!({ "path": dir.path, "version": version, "controllers": dir.controllers, "limits": limits(dir)? }))
    };
    saved.dirs.iter().map(one).collect::<Result<_>>().map(Some)
}

fn limits(dir: &SavedDir) -> Result<Map<String, Value>> {
    let mut limits = Map::new();
    let here = |file: &&files::LimitFile| {
        file.is_of(dir.version)
            && !file.name.contains('*')
            && dir.controllers.iter().any(|name| name == file.controller())
    };
    for file in files::ALL.iter().filter(here) {
        let path = dir.path.join(file.name);
        match read_small(&path) {
            Ok(text) => drop(limits.insert(file.name.to_owned(), text.trim_end().into())),
            // Gone, not of this kernel, not readable at all, or not by us.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::ENODEV | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP)
                ) => {}
            Err(error) => return Err(error).at(Stage::Cgroup, || format!("read {}", path.display())),
        }
    }
    Ok(limits)
}

/// The number of each, and whether it is that of whoever asks, too.
fn namespaces(proc: &ProcDir) -> Result<Map<String, Value>> {
    let own = brisk::state::ProcessId::of(process::getpid())?;
    let own = ProcDir::open(own)?;
    let mut all = Map::new();
    for name in NAMESPACES {
        let link = format!("ns/{name}");
        let Some(target) = proc.link(&link)? else {
            all.insert(name.to_owned(), Value::Null);
            continue;
        };
        let ours = own.as_ref().map(|own| own.link(&link)).transpose()?.flatten();
        let number =
            target.strip_prefix(name).and_then(|rest| rest.strip_prefix(":[")?.strip_suffix(']')?.parse::<u64>().ok());
        all.insert(name.to_owned(), json!({ "inode": number, "shared": ours.map(|ours| ours == target) }));
    }
    Ok(all)
}

/// The mounts as the first process sees them, in their order.
fn mounts(proc: &ProcDir) -> Result<Option<Vec<Value>>> {
    let Some(text) = proc.read("mountinfo", LONGEST_MOUNTINFO)? else { return Ok(None) };
    let plain = |text: &[u8]| String::from_utf8_lossy(&unescape(text)).into_owned();
    let words = |text: &[u8], by: u8| -> Vec<String> {
        text.split(|byte| *byte == by).filter(|word| !word.is_empty()).map(plain).collect()
    };
    let mount = |(line, more): (brisk::proc::mountinfo::MountLine<'_>, brisk::proc::mountinfo::MountDetails<'_>)| {
        json!({
            "id": line.id,
            "parent": more.parent,
            "device": plain(line.device),
            "root": plain(line.root),
            "point": plain(line.point),
            "type": plain(line.fs_type),
            "source": plain(more.source),
            "attributes": words(more.attributes, b','),
            "propagation": words(more.propagation, b' '),
            "options": plain(line.options),
        })
    };
    Ok(Some(parse_whole(&text).map(mount).collect()))
}

/// Who the first process is, and what it may.
fn first_process(proc: &ProcDir) -> Result<Value> {
    let status = proc.text("status")?.unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let numbers =
        |name: &str| field(name).map(|text| text.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect());
    let number = |name: &str| field(name).and_then(|text| text.parse::<u64>().ok());
    let capabilities = |name: &str| field(name).and_then(|text| u64::from_str_radix(text, 16).ok()).map(caps::names_of);
    let ids = |name: &str| -> Option<Vec<u64>> { numbers(name) };
    let line = |name: &str| Ok::<_, Error>(proc.text(name)?.map(|text| text.trim_end_matches(['\n', '\0']).to_owned()));
    let map = |text: Option<String>| text.map(|text| text.lines().map(id_range).collect::<Vec<_>>());
    Ok(json!({
        "pid": number("Pid"),
        "pidsInNamespaces": ids("NSpid"),
        "uids": ids("Uid"),
        "gids": ids("Gid"),
        "groups": ids("Groups"),
        "capabilities": {
            "bounding": capabilities("CapBnd"),
            "permitted": capabilities("CapPrm"),
            "effective": capabilities("CapEff"),
            "inheritable": capabilities("CapInh"),
            "ambient": capabilities("CapAmb"),
        },
        "noNewPrivileges": number("NoNewPrivs").map(|set| set == 1),
        "seccomp": number("Seccomp").map(|mode| ["disabled", "strict", "filter"].get(mode as usize).copied()),
        "threads": number("Threads"),
        "label": line("attr/current")?.filter(|label| !label.is_empty()),
        "oomScoreAdj": line("oom_score_adj")?.and_then(|text| text.parse::<i64>().ok()),
        "uidMappings": map(line("uid_map")?),
        "gidMappings": map(line("gid_map")?),
        "rlimits": proc.text("limits")?.map(|text| rlimits(&text)),
    }))
}

/// What its program was given.
fn arguments(proc: &ProcDir) -> Result<Option<Vec<String>>> {
    let words = |text: String| text.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    Ok(proc.text("cmdline")?.map(words))
}

/// A line of uid_map: ids inside, outside, and how many.
fn id_range(line: &str) -> Value {
    let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    json!({ "containerID": next(), "hostID": next(), "size": next() })
}

/// The table of proc: a name of at most 25 characters, two limits, a unit. No limit is null.
fn rlimits(text: &str) -> Map<String, Value> {
    let line = |line: &str| {
        let (name, rest) = line.split_at_checked(26)?;
        let mut limits = rest.split_ascii_whitespace().map(|limit| limit.parse::<u64>().ok());
        Some((name.trim().to_owned(), json!({ "soft": limits.next()?, "hard": limits.next()? })))
    };
    text.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_proc() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n";
        let limits = rlimits(text);
        assert_eq!(limits["Max cpu time"], json!({ "soft": null, "hard": null }));
        assert_eq!(limits["Max open files"], json!({ "soft": 1024, "hard": 524_288 }));
        assert_eq!(
            id_range("         0     100000      65536"),
            json!({ "containerID": 0, "hostID": 100_000, "size": 65536 })
        );
    }

    #[test]
    fn no_json_gives_a_terminal_orders() {
        let text = json::text(&json!({ "a\u{9b}": "\u{1b}[2J\u{202e}\n\u{85}\u{7f}" })).unwrap();
        assert!(text.trim_end().lines().all(|line| !line.chars().any(brisk::error::is_unseen)), "{text}");
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(again, json!({ "a\u{9b}": "\u{1b}[2J\u{202e}\n\u{85}\u{7f}" }));
    }
}

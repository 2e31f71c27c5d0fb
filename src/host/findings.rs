//! What the facts about a host mean for this user: what there is, what would not work, and the command that changes it.
//! Pure: facts in, rows of a table out.

use nix::errno::Errno;
use serde::Serialize;

use super::cgroup::LayoutKind;
use super::check::{CheckFacts, CheckNeed, Feature};
use crate::sys::seccomp;

/// How a row ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There, and it can be used.
    Yes,
    /// Not there, and something is done another way or more slowly.
    Without,
    /// Not there: something would not work.
    No,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `kernel`, `seccomp`, `cgroup`, `security`, `user` or `programs`.
    pub group: &'static str,
    /// What was looked for.
    pub name: String,
    /// Whether it was found.
    pub verdict: Verdict,
    /// What was seen, or what it is good for.
    pub detail: String,
    /// What would not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The one command that makes it work; none where only another kernel would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn new(group: &'static str, name: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Finding {
        Finding { group, name: name.into(), verdict, detail: detail.into(), trouble: None, fix: None }
    }

    fn trouble(mut self, what: impl Into<String>, fix: Option<String>) -> Finding {
        self.verdict = Verdict::No;
        self.trouble = Some(what.into());
        self.fix = fix;
        self
    }
}

/// All rows, group by group.
pub fn findings(facts: &CheckFacts) -> Vec<Finding> {
    let mut rows: Vec<Finding> = facts.features.iter().map(|f| feature(f, &facts.release)).collect();
    rows.extend(seccomp_rows(facts));
    rows.extend(cgroup_rows(facts));
    rows.push(security(facts));
    if !facts.real_root {
        rows.extend(user_rows(facts));
    }
    rows.push(criu(facts));
    rows
}

fn feature(feature: &Feature, release: &str) -> Finding {
    let detail = format!("{} (Linux {})", feature.gives, feature.since);
    let row = |verdict| Finding::new("kernel", feature.name, verdict, detail.clone());
    match (feature.there, feature.need) {
        (true, _) => row(Verdict::Yes),
        (false, CheckNeed::Speed) => row(Verdict::Without),
        (false, CheckNeed::Something) => {
            row(Verdict::No).trouble(format!("{release} does not give {}", feature.gives), None)
        }
        (false, CheckNeed::Everything) => row(Verdict::No)
            .trouble(format!("no container can be made by {release}: {} is missing", feature.name), None),
    }
}

fn seccomp_rows(facts: &CheckFacts) -> Vec<Finding> {
    let row = |name: &str, there, what: &str| {
        let row = Finding::new("seccomp", name, Verdict::Yes, what);
        if there { row } else { row.trouble(format!("seccomp profiles that use {name} are refused"), None) }
    };
    let (action, flag) = (|ret| facts.seccomp.has_action(ret), |flag| facts.seccomp.has_flags(flag));
    vec![
        row("filters", action(seccomp::RET_ERRNO), "system calls can be refused (Linux 3.5)"),
        row("SCMP_ACT_KILL_PROCESS", action(seccomp::RET_KILL_PROCESS), "kills more than a thread (Linux 4.14)"),
        row("SCMP_ACT_NOTIFY", action(seccomp::RET_USER_NOTIF), "asks a listener (Linux 5.0)"),
        row("SCMP_ACT_LOG", action(seccomp::RET_LOG), "allows and logs (Linux 4.14)"),
        row(
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            flag(seccomp::FLAG_WAIT_KILLABLE_RECV),
            "a listener is not interrupted (Linux 5.19)",
        ),
    ]
}

fn cgroup_rows(facts: &CheckFacts) -> Vec<Finding> {
    let layout = match facts.layout.kind() {
        LayoutKind::None => Finding::new("cgroup", "file system", Verdict::No, "none is mounted")
            .trouble("no limits, no pause, no statistics", Some("mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned())),
        LayoutKind::V1 => Finding::new("cgroup", "version", Verdict::Yes, "v1"),
        LayoutKind::V2 => Finding::new("cgroup", "version", Verdict::Yes, "v2"),
        LayoutKind::Hybrid => Finding::new("cgroup", "version", Verdict::Yes, "v1, with v2 beside it"),
    };
    let mut all: Vec<&str> = facts.layout.v1.iter().flat_map(|h| h.controllers.iter().map(String::as_str)).collect();
    all.extend(facts.layout.unified.iter().flat_map(|h| h.controllers.iter().map(String::as_str)));
    let mut rows = vec![layout, Finding::new("cgroup", "controllers", Verdict::Yes, all.join(" "))];
    let own = facts.own_controllers.as_deref();
    rows.push(match own {
        Some(own) => Finding::new(
            "cgroup",
            "cgroupfs driver",
            Verdict::Yes,
            format!("this user may make cgroups: {}", own.join(" ")),
        ),
        None if facts.user_manager.is_some() => Finding::new(
            "cgroup",
            "cgroupfs driver",
            Verdict::Without,
            "the caller's cgroup is not this user's: use --systemd-cgroup",
        ),
        None => Finding::new("cgroup", "cgroupfs driver", Verdict::No, "this user may not make cgroups here")
            .trouble("limits in config.json are an error, and pause does not work", delegation(facts)),
    });
    rows.push(systemd(facts));
    rows
}

/// Controllers that limits are usually asked of.
const WANTED: &[&str] = &["cpu", "cpuset", "io", "memory", "pids"];

fn systemd(facts: &CheckFacts) -> Finding {
    let row = |verdict, detail: String| Finding::new("cgroup", "systemd driver", verdict, detail);
    if !facts.systemd {
        return row(Verdict::Without, "systemd does not run here".to_owned());
    }
    if facts.owns_systemd {
        return row(Verdict::Yes, "scopes of the system's manager".to_owned());
    }
    let Some(given) = &facts.user_manager else {
        return row(Verdict::No, "this user has no service manager".to_owned())
            .trouble("--systemd-cgroup does not work", Some(format!("loginctl enable-linger {}", facts.name)));
    };
    let lacks: Vec<&str> = WANTED.iter().copied().filter(|name| !given.iter().any(|g| g == name)).collect();
    let row = row(Verdict::Yes, format!("delegated to this user's manager: {}", given.join(" ")));
    if lacks.is_empty() { row } else { row.trouble(format!("no limits of {}", lacks.join(", ")), delegation(facts)) }
}

/// What gives every user's manager its controllers (systemd.resource-control(5), Delegate=).
fn delegation(facts: &CheckFacts) -> Option<String> {
    let dir = "/etc/systemd/system/user@.service.d";
    facts.systemd.then(|| {
        format!(
            "mkdir -p {dir} && printf '[Service]\\nDelegate={}\\n' >{dir}/delegate.conf && systemctl daemon-reload",
            WANTED.join(" ")
        )
    })
}

fn security(facts: &CheckFacts) -> Finding {
    let detail = if facts.lsms.is_empty() { "none".to_owned() } else { facts.lsms.join(" ") };
    let labels = facts.lsms.iter().any(|lsm| lsm == "apparmor" || lsm == "selinux");
    Finding::new("security", "modules", if labels { Verdict::Yes } else { Verdict::Without }, detail)
}

fn user_rows(facts: &CheckFacts) -> Vec<Finding> {
    let mut rows = vec![userns(facts), sub_ids(facts)];
    rows.push(match &facts.runtime_dir {
        Some(dir) => Finding::new("user", "XDG_RUNTIME_DIR", Verdict::Yes, dir.display().to_string()),
        None => Finding::new("user", "XDG_RUNTIME_DIR", Verdict::No, "not set, or not this user's").trouble(
            "no place for the state of containers: every command needs --root DIR",
            Some(format!("loginctl enable-linger {0} && export XDG_RUNTIME_DIR=/run/user/{1}", facts.name, facts.uid)),
        ),
    });
    rows
}

fn userns(facts: &CheckFacts) -> Finding {
    let row = |verdict, detail: &str| Finding::new("user", "user namespace", verdict, detail);
    match facts.userns {
        Ok(()) => row(Verdict::Yes, "this user may make one"),
        Err(errno) => {
            let why = match errno {
                Errno::ENOSPC => "the limit of user namespaces is reached",
                _ => "the kernel, a sysctl or a security module forbids it",
            };
            let fix = facts.userns_switch.map(|switch| format!("sysctl -w {switch}"));
            row(Verdict::No, why).trouble("this user cannot make containers", fix)
        }
    }
}

fn sub_ids(facts: &CheckFacts) -> Finding {
    let total = |ranges: &[super::sub_ids::SubRange]| ranges.iter().map(|r| u64::from(r.count)).sum::<u64>();
    let (uids, gids) = (total(&facts.sub_ids.uids), total(&facts.sub_ids.gids));
    let row = Finding::new("user", "subordinate ids", Verdict::Yes, format!("{uids} uids, {gids} gids"));
    let one = "a container has this one user only: images with other users fail";
    if facts.program("newuidmap").is_none() || facts.program("newgidmap").is_none() {
        return row
            .trouble(format!("newuidmap or newgidmap is missing: {one}"), Some("apt-get install uidmap".to_owned()));
    }
    if uids == 0 || gids == 0 {
        let range = "100000-165535";
        let fix = format!("usermod --add-subuids {range} --add-subgids {range} {}", facts.name);
        return row.trouble(one, Some(fix));
    }
    row
}

fn criu(facts: &CheckFacts) -> Finding {
    match facts.program("criu") {
        Some(path) => Finding::new("programs", "criu", Verdict::Yes, path.display().to_string()),
        None => Finding::new("programs", "criu", Verdict::No, "not in PATH")
            .trouble("checkpoint and restore do not work", Some("apt-get install criu".to_owned())),
    }
}

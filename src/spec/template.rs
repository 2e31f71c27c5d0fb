//! The config.json that `spec` writes: runc's, line by line.

use super::VERSION;

/// Lines that start with `@WORD@` are kept where the word holds.
const TEMPLATE: &str = include_str!("config.template");

/// Whom the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Root.
    Root,
    /// An ordinary user: a user namespace with this one user and group, the host's network, no limits.
    Rootless {
        /// The user's id.
        uid: u32,
        /// The user's group.
        gid: u32,
    },
}

/// The cgroup layout of the host. On cgroup2 the container gets a cgroup namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TemplateLayout {
    V1,
    V2,
}

/// The text of config.json.
pub fn config(whom: For, layout: TemplateLayout) -> String {
    let (user, uid, gid) = match whom {
        For::Root => ("root", 0, 0),
        For::Rootless { uid, gid } => ("rootless", uid, gid),
    };
    let holds = |word: &str| word == user || (word == "v2" && layout == TemplateLayout::V2);
    let chosen =
        TEMPLATE.lines().filter_map(|line| match line.strip_prefix('@').and_then(|rest| rest.split_once('@')) {
            Some((word, rest)) => holds(word).then_some(rest),
            None => Some(line),
        });
    chosen
        .fold(String::new(), |text, line| text + line + "\n")
        .replace("@VERSION@", VERSION)
        .replace("@UID@", &uid.to_string())
        .replace("@GID@", &gid.to_string())
}

//! The root file system that a plan leads to: what is where, of what, how, and what is hidden.
//!
//! Only what the plan puts there: the image's own files are not looked at, and where a link of the image leads a mount is known when
//! it is made.

use super::document::{PlanDocument, PlanItem};

/// Something that is put into the root.
#[derive(Clone, Debug, PartialEq)]
pub struct RootEntry {
    /// The names on the way there from the root; none for the root itself.
    pub path: Vec<String>,
    /// What it is.
    pub what: String,
    pub options: Vec<String>,
    /// The operation that puts it there.
    pub by: String,
    /// Whether it covers what lies below it.
    pub covers: bool,
    /// What lies over it: its path and operation.
    pub hidden: Option<String>,
}

impl RootEntry {
    /// For people.
    pub fn text(&self) -> String {
        let options = self.options.join(",");
        if options.is_empty() { self.what.clone() } else { format!("{} ({options})", self.what) }
    }

    pub fn path_text(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

/// What is deeper is one name: no root has more levels that anybody looks at.
const DEEPEST: usize = 64;

fn names(path: &str) -> Vec<String> {
    path.trim_matches('/').splitn(DEEPEST, '/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Pairs of options, of which a later one takes the place of the other.
const CONTRARY: [(&str, &str); 7] = [
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("nodiratime", "diratime"),
    ("nosymfollow", "symfollow"),
    ("noatime", "relatime"),
];

/// What is in the root in the end, in the order in which it was put there, and what is hidden by then.
#[derive(Debug, Default)]
pub struct PlannedRoot {
    pub entries: Vec<RootEntry>,
    /// Whether programs of others run in it before it is entered.
    pub hooks: bool,
}

impl PlannedRoot {
    pub fn of(plan: &PlanDocument) -> PlannedRoot {
        let mut root = PlannedRoot::default();
        plan.items.iter().for_each(|item| root.put(item));
        root
    }

    fn put(&mut self, item: &PlanItem) {
        let destination = item.word("destination");
        let in_directory = || format!("{}/{}", item.word("directory"), item.word("name"));
        match item.op.as_str() {
            "root" | "open-root" => self.cover("/", item.word("path").to_owned(), item),
            "overlay" => {
                let root = self.entries.iter().rev().find(|entry| entry.path.is_empty());
                let root = root.map(|entry| entry.what.clone()).unwrap_or_default();
                self.cover("/", format!("{root} and over it an overlay: {}", item.word("over")), item);
            }
            "mount" if item.word("kind") == "remount" => self.change(destination, &item.list("options"), item),
            "mount" => self.cover(destination, mounted(item), item),
            "set-attributes" => self.change(destination, &item.list("options"), item),
            "read-only-root" => self.change("/", &["ro"], item),
            "root-propagation" => self.change("/", &[item.word("propagation")], item),
            "mask" => self.cover(destination, "masked, if it exists".to_owned(), item),
            "read-only" => self.protect(destination, item),
            "mknod" => self.add(&in_directory(), node(item), item),
            "bind-device" => self.add(&in_directory(), format!("the host's device, {}", item.word("source")), item),
            "symlink" => self.add(&in_directory(), link(item), item),
            "terminal" if !destination.is_empty() => self.cover(destination, "the terminal".to_owned(), item),
            "unmount" => self.entries.retain(|entry| entry.path != names(destination)),
            "hook" => self.hooks = true,
            _ => {}
        }
    }

    fn add(&mut self, path: &str, what: String, item: &PlanItem) {
        let path = names(path);
        self.entries.retain(|entry| entry.path != path || entry.covers || entry.hidden.is_some());
        let options = item.list("options").into_iter().map(str::to_owned).collect();
        let by = item.label().split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        self.entries.push(RootEntry { path, what, options, by, covers: false, hidden: None });
    }

    /// Something that lies over all that is there.
    fn cover(&mut self, path: &str, what: String, item: &PlanItem) {
        let over = names(path);
        let by = format!("/{} ({} {})", over.join("/"), item.side.name(), item.index);
        for entry in self.entries.iter_mut().filter(|entry| entry.hidden.is_none() && entry.path.starts_with(&over)) {
            entry.hidden = Some(by.clone());
        }
        self.add(path, what, item);
        if let Some(entry) = self.entries.last_mut() {
            entry.covers = true;
        }
    }

    /// Options of what lies uppermost at this path.
    fn change(&mut self, path: &str, options: &[&str], item: &PlanItem) {
        let at = names(path);
        let is_there = |entry: &&mut RootEntry| entry.hidden.is_none() && entry.covers && entry.path == at;
        match self.entries.iter_mut().rev().find(is_there) {
            Some(entry) => options.iter().for_each(|option| set(&mut entry.options, option)),
            None => {
                self.add(path, "what is there, changed".to_owned(), item);
                if let Some(entry) = self.entries.last_mut() {
                    entry.options = options.iter().map(|option| (*option).to_owned()).collect();
                }
            }
        }
    }

    fn protect(&mut self, path: &str, item: &PlanItem) {
        let at = names(path);
        match self.entries.iter_mut().rev().find(|entry| entry.hidden.is_none() && entry.path == at) {
            Some(entry) => set(&mut entry.options, "ro"),
            None => self.add(path, "read-only, if it exists".to_owned(), item),
        }
    }
}

fn set(options: &mut Vec<String>, option: &str) {
    let contrary = CONTRARY.iter().filter_map(|(one, other)| match option {
        _ if option == *one => Some(*other),
        _ if option == *other => Some(*one),
        _ => None,
    });
    let gone: Vec<&str> = contrary.chain([option]).collect();
    options.retain(|known| !gone.contains(&known.as_str()));
    options.push(option.to_owned());
}

fn mounted(item: &PlanItem) -> String {
    let (source, kind) = (item.word("source"), item.word("fsType"));
    match item.word("kind") {
        "new" if source == kind => kind.to_owned(),
        "new" => format!("{kind} {source}"),
        "bind-or-link" => format!("{source}, or a copy of the link"),
        _ if item.is("recursive") => format!("{source} and what is mounted below it"),
        _ => source.to_owned(),
    }
}

fn node(item: &PlanItem) -> String {
    let number = |key: &str| item.fields.get(key).map(ToString::to_string).unwrap_or_default();
    let owner = format!("{}:{}", number("uid"), number("gid"));
    let owner = if owner == "0:0" { String::new() } else { format!(" of {owner}") };
    match item.word("type") {
        "fifo" => format!("fifo {}{owner}", item.word("mode")),
        kind => format!("{kind} {}:{} {}{owner}", number("major"), number("minor"), item.word("mode")),
    }
}

fn link(item: &PlanItem) -> String {
    let rule = match item.word("rule") {
        "keep" => ", if nothing is there",
        "if-target-exists" => ", if that is there and nothing here",
        _ => "",
    };
    format!("-> {}{rule}", item.word("target"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn root(ops: &[Value]) -> PlannedRoot {
        let child: Vec<Value> = ops
            .iter()
            .map(|op| {
                let mut op = op.clone();
                op["group"] = json!("mounts");
                op["text"] = json!("");
                op
            })
            .collect();
        let document = json!({ "version": 1, "of": "create", "host": {}, "parent": [], "cgroup": [], "child": child });
        PlannedRoot::of(&PlanDocument::of(&document, "it").unwrap())
    }

    fn tmpfs(destination: &str) -> Value {
        json!({ "op": "mount", "kind": "new", "fsType": "tmpfs", "source": "tmpfs", "destination": destination,
            "options": ["nosuid", "rw"] })
    }

    #[test]
    fn a_later_mount_hides_what_is_there_and_below() {
        let root = root(&[tmpfs("/a/b"), tmpfs("/ab"), tmpfs("/a"), tmpfs("/a/c")]);
        let hidden: Vec<_> = root.entries.iter().map(|entry| (entry.path_text(), entry.hidden.as_deref())).collect();
        let by = Some("/a (child 2)");
        assert_eq!(hidden, [("/a/b".into(), by), ("/ab".into(), None), ("/a".into(), None), ("/a/c".into(), None)]);
    }

    #[test]
    fn the_uppermost_mount_is_the_one_that_changes() {
        let change = |options: &[&str]| json!({ "op": "set-attributes", "destination": "/a", "options": options });
        let root = root(&[tmpfs("/a"), tmpfs("/a"), change(&["ro", "noexec"]), change(&["suid"])]);
        assert_eq!(root.entries[0].text(), "tmpfs (nosuid,rw)");
        assert_eq!(root.entries[1].text(), "tmpfs (ro,noexec,suid)");
    }

    #[test]
    fn a_protected_path_is_one_of_its_own_or_an_attribute() {
        let protect = |path: &str| json!({ "op": "read-only", "destination": path });
        let root = root(&[tmpfs("/a"), protect("/a"), protect("/a/b"), json!({ "op": "mask", "destination": "/a/b" })]);
        assert_eq!(root.entries[0].text(), "tmpfs (nosuid,ro)");
        assert_eq!(root.entries[1].hidden.as_deref(), Some("/a/b (child 3)"));
        assert_eq!(root.entries[2].text(), "masked, if it exists");
    }

    #[test]
    fn a_path_of_a_million_names_has_an_end() {
        let root = root(&[tmpfs(&"/a".repeat(1_000_000))]);
        assert_eq!(root.entries[0].path.len(), DEEPEST);
    }
}

//! The root file system that a plan leads to: what is where, of what, how, and what is hidden.
//!
//! Only what the plan puts there: the image's own files are not looked at, and where a link of the image leads a mount is known when
//! it is made.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{PlanDocument, PlanItem};

/// Something that is put into the root.
#[derive(Clone, Debug, PartialEq)]
pub struct RootEntry {
    /// The names on the way there from the root; none for the root itself.
    pub path: Vec<String>,
    /// What it is.
    pub what: String,
    options: OptionList,
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
        let options = self.options.text();
        if options.is_empty() { self.what.clone() } else { format!("{} ({options})", self.what) }
    }

    pub fn path_text(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

/// What is deeper is one name: no root has more levels that anybody looks at.
const DEEPEST: usize = 64;

/// What an operation puts at a path, and which lets what lies below it be seen.
fn entry(path: Vec<String>, what: String, options: OptionList, item: &PlanItem) -> RootEntry {
    let by = item.label().split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    RootEntry { path, what, options, by, covers: false, hidden: None }
}

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

/// Options, each once, by when it was set last. (A map: a document from elsewhere may have any number.)
#[derive(Clone, Debug, Default, PartialEq)]
struct OptionList {
    turns: BTreeMap<String, usize>,
    next: usize,
}

impl OptionList {
    fn of(options: &[&str]) -> OptionList {
        let mut list = OptionList::default();
        options.iter().for_each(|option| list.add(option));
        list
    }

    fn add(&mut self, option: &str) {
        self.turns.insert(option.to_owned(), self.next);
        self.next += 1;
    }

    /// Instead of what is contrary to it.
    fn set(&mut self, option: &str) {
        for (one, other) in CONTRARY {
            match option {
                _ if option == one => drop(self.turns.remove(other)),
                _ if option == other => drop(self.turns.remove(one)),
                _ => {}
            }
        }
        self.add(option);
    }

    fn text(&self) -> String {
        let mut options: Vec<_> = self.turns.iter().collect();
        options.sort_by_key(|(_, turn)| **turn);
        options.into_iter().map(|(option, _)| option.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// What is in the root in the end, in the order in which it was put there, and what is hidden by then.
#[derive(Debug, Default)]
pub struct PlannedRoot {
    pub entries: Vec<RootEntry>,
    /// Whether programs of others run in it before it is entered.
    pub hooks: bool,
}

impl PlannedRoot {
    pub fn of(plan: &PlanDocument) -> PlannedRoot {
        let mut root = RootBuilder::default();
        plan.items.iter().for_each(|item| root.put(item));
        PlannedRoot { entries: root.entries.into_values().collect(), hooks: root.hooks }
    }
}

/// The root while it is made, so that no operation looks at more than what it changes.
#[derive(Default)]
struct RootBuilder {
    /// By when they were put there.
    entries: BTreeMap<usize, RootEntry>,
    next: usize,
    /// What is not hidden, by path and the older first.
    seen: BTreeMap<Vec<String>, BTreeSet<usize>>,
    /// What is hidden, by path.
    hidden: BTreeMap<Vec<String>, Vec<usize>>,
    hooks: bool,
}

impl RootBuilder {
    fn put(&mut self, item: &PlanItem) {
        let destination = item.word("destination");
        let in_directory = || format!("{}/{}", item.word("directory"), item.word("name"));
        match item.op.as_str() {
            "root" | "open-root" => self.cover("/", item.word("path").to_owned(), item),
            "overlay" => {
                let root = self.uppermost(&[], |_| true).map(|entry| entry.what.clone()).unwrap_or_default();
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
            "unmount" => self.remove(&names(destination)),
            "hook" => self.hooks = true,
            _ => {}
        }
    }

    fn add(&mut self, path: &str, what: String, item: &PlanItem) {
        self.put_entry(entry(names(path), what, OptionList::of(&item.list("options")), item));
    }

    fn put_entry(&mut self, entry: RootEntry) {
        let (seen, entries) = (self.seen.entry(entry.path.clone()).or_default(), &mut self.entries);
        seen.retain(|at| {
            let stays = entries.get(at).is_some_and(|entry| entry.covers);
            if !stays {
                entries.remove(at);
            }
            stays
        });
        seen.insert(self.next);
        entries.insert(self.next, entry);
        self.next += 1;
    }

    fn remove(&mut self, path: &[String]) {
        let gone = self.seen.remove(path).into_iter().flatten().chain(self.hidden.remove(path).into_iter().flatten());
        gone.for_each(|at| drop(self.entries.remove(&at)));
    }

    /// Of what is seen at this path the last that is such.
    fn uppermost(&mut self, path: &[String], such: impl Fn(&RootEntry) -> bool) -> Option<&mut RootEntry> {
        let at = self.seen.get(path)?.iter().rev().find(|at| self.entries.get(at).is_some_and(&such))?;
        self.entries.get_mut(at)
    }

    /// Something that lies over all that is there.
    fn cover(&mut self, path: &str, what: String, item: &PlanItem) {
        let over = names(path);
        let by = format!("/{} ({} {})", over.join("/"), item.side.name(), item.index);
        let below = self.seen.range(over.clone()..).take_while(|(path, _)| path.starts_with(&over));
        for path in below.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            let covered = self.seen.remove(&path).unwrap_or_default();
            for at in &covered {
                self.entries.entry(*at).and_modify(|entry| entry.hidden = Some(by.clone()));
            }
            self.hidden.entry(path).or_default().extend(covered);
        }
        self.put_entry(RootEntry { covers: true, ..entry(over, what, OptionList::of(&item.list("options")), item) });
    }

    /// Options of what lies uppermost at this path.
    fn change(&mut self, path: &str, options: &[&str], item: &PlanItem) {
        let at = names(path);
        match self.uppermost(&at, |entry| entry.covers) {
            Some(entry) => options.iter().for_each(|option| entry.options.set(option)),
            None => self.put_entry(entry(at, "what is there, changed".to_owned(), OptionList::of(options), item)),
        }
    }

    fn protect(&mut self, path: &str, item: &PlanItem) {
        match self.uppermost(&names(path), |_| true) {
            Some(entry) => entry.options.set("ro"),
            None => self.add(path, "read-only, if it exists".to_owned(), item),
        }
    }
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

    /// Mounts on each other, below each other and beside each other, one option more each time: as many as a document may have.
    #[test]
    fn a_root_of_many_mounts_takes_no_time() {
        let many = 10_000;
        let option = |at: usize| json!({ "op": "set-attributes", "destination": "/", "options": [format!("o{at}")] });
        let deep = |at: usize| tmpfs(&format!("/{}", vec![at.to_string(); 10].join("/")));
        let on_top = |at: usize| json!({ "op": "symlink", "directory": "/x", "name": at.to_string(), "target": "y" });
        let ops: Vec<Value> = std::iter::once(tmpfs("/"))
            .chain((0..many).flat_map(|at| [deep(at), tmpfs("/same"), option(at), on_top(at)]))
            .chain([json!({ "op": "unmount", "destination": "/same" })])
            .collect();
        let before = std::time::Instant::now();
        let root = root(&ops);
        // By far: it took minutes.
        assert!(before.elapsed().as_secs() < 60, "{:?}", before.elapsed());
        assert_eq!(root.entries.len(), 1 + 2 * many);
    }

    #[test]
    fn a_path_of_a_million_names_has_an_end() {
        let root = root(&[tmpfs(&"/a".repeat(1_000_000))]);
        assert_eq!(root.entries[0].path.len(), DEEPEST);
    }
}

//! What is different between two plans.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use brisk::plan::process::caps;
use brisk::plan::text::fields::PlanGroup;
use serde_json::{Value, json};

use super::document::{PlanDocument, PlanItem, PlanSide};
use super::layout::beside;
use crate::looks::{Looks, Tone};

/// The version of the format.
const VERSION: u32 = 1;

/// What has become of an operation of the first plan, or where one of the second comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ItemChange<'a> {
    Removed(&'a PlanItem),
    Added(&'a PlanItem),
    /// The operation does the same to the same thing, otherwise.
    Changed(&'a PlanItem, &'a PlanItem),
    /// Nothing but its turn.
    Moved(&'a PlanItem, &'a PlanItem),
}

impl ItemChange<'_> {
    /// The one that tells where it is listed.
    fn item(&self) -> &PlanItem {
        match self {
            ItemChange::Removed(item)
            | ItemChange::Added(item)
            | ItemChange::Changed(_, item)
            | ItemChange::Moved(_, item) => item,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            ItemChange::Removed(_) => "removed",
            ItemChange::Added(_) => "added",
            ItemChange::Changed(..) => "changed",
            ItemChange::Moved(..) => "moved",
        }
    }
}

/// A fact about the host that is another: its path in the document, and both values.
#[derive(Clone, Debug, PartialEq)]
struct FactChange {
    path: String,
    first: Value,
    second: Value,
}

/// Pairs those that have the same key, each with the first that is left.
fn pair<'a, K: Ord>(
    firsts: &mut Vec<&'a PlanItem>,
    seconds: &mut Vec<&'a PlanItem>,
    key: impl Fn(&PlanItem) -> K,
) -> Vec<(&'a PlanItem, &'a PlanItem)> {
    let mut left: BTreeMap<K, VecDeque<&'a PlanItem>> = BTreeMap::new();
    for item in firsts.iter() {
        left.entry(key(item)).or_default().push_back(item);
    }
    let mut pairs = Vec::new();
    seconds.retain(|second| match left.get_mut(&key(second)).and_then(VecDeque::pop_front) {
        Some(first) => {
            pairs.push((first, *second));
            false
        }
        None => true,
    });
    *firsts = left.into_values().flatten().collect();
    firsts.sort_by_key(|item| (item.side, item.index));
    pairs
}

/// What an operation is about: of the fields that may say so the first that it has.
fn subject(item: &PlanItem) -> (PlanSide, String, String) {
    const KEYS: [&str; 8] = ["destination", "file", "name", "path", "unit", "kind", "point", "namespace"];
    let found = KEYS.iter().map(|key| item.word(key)).find(|word| !word.is_empty());
    (item.side, item.op.clone(), format!("{}/{}", item.word("directory"), found.unwrap_or_default()))
}

/// Of pairs in the order of the second plan those that are in another order in the first, as few as will do.
fn out_of_order(pairs: &[(&PlanItem, &PlanItem)]) -> Vec<bool> {
    // The longest run of numbers that grow: for each length the last of the run that ends lowest.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, (first, _)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| pairs[*end].0.index < first.index);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        ends.truncate(ends.len().max(length));
        if length == ends.len() { ends.push(at) } else { ends[length] = at }
    }
    let mut moved = vec![true; pairs.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        moved[at] = false;
        next = before[at];
    }
    moved
}

/// What is different, by group and then in order; and how many operations are in both.
pub fn changes<'a>(first: &'a PlanDocument, second: &'a PlanDocument) -> (Vec<ItemChange<'a>>, usize) {
    let (mut firsts, mut seconds): (Vec<&PlanItem>, Vec<&PlanItem>) =
        (first.items.iter().collect(), second.items.iter().collect());
    let mut found = Vec::new();
    let same = pair(&mut firsts, &mut seconds, |item| (item.side, Value::Object(item.fields.clone()).to_string()));
    for side in [PlanSide::Parent, PlanSide::Cgroup, PlanSide::Child] {
        let of_side: Vec<_> = same.iter().copied().filter(|(_, item)| item.side == side).collect();
        let moved = out_of_order(&of_side);
        let moved = of_side.iter().zip(moved).filter(|(_, moved)| *moved);
        found.extend(moved.map(|((one, other), _)| ItemChange::Moved(one, other)));
    }
    let moved = found.len();
    let about_the_same = pair(&mut firsts, &mut seconds, subject);
    let alike = pair(&mut firsts, &mut seconds, |item| {
        (item.side, item.op.clone(), item.group.clone(), item.word("directory").to_owned())
    });
    found.extend(about_the_same.into_iter().chain(alike).map(|(one, other)| ItemChange::Changed(one, other)));
    found.extend(firsts.into_iter().map(ItemChange::Removed));
    found.extend(seconds.into_iter().map(ItemChange::Added));
    let group = |name: &str| PlanGroup::ALL.iter().position(|group| group.name() == name);
    found.sort_by_key(|change| (group(&change.item().group), change.item().side, change.item().index));
    (found, same.len() - moved)
}

/// The facts that are others.
fn facts(first: &Value, second: &Value) -> Vec<FactChange> {
    let (mut one, mut other) = (BTreeMap::new(), BTreeMap::new());
    flatten("", first, &mut one);
    flatten("", second, &mut other);
    let mut paths: Vec<&String> = one.keys().chain(other.keys()).collect();
    paths.sort();
    paths.dedup();
    let value = |of: &BTreeMap<String, Value>, path: &String| of.get(path).cloned().unwrap_or(Value::Null);
    let changes = paths.into_iter().map(|path| FactChange {
        path: path.clone(),
        first: value(&one, path),
        second: value(&other, path),
    });
    changes.filter(|change| change.first != change.second).collect()
}

/// The values of a document by their paths. A list of words is one value, and so is a hierarchy of cgroups.
fn flatten(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(&below(name), value, found)),
        // A hierarchy is known by where it is mounted.
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (index, item) in list.iter().enumerate() {
                let name = item["mount_point"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                found.insert(below(&name), item.clone());
            }
        }
        value => drop(found.insert(path.to_owned(), value.clone())),
    }
}

impl FactChange {
    fn text(&self) -> String {
        let (Some(first), Some(second)) = (self.first.as_u64(), self.second.as_u64()) else {
            return format!("{}: {} -> {}", self.path, self.first, self.second);
        };
        if !["bounding", "known_caps"].contains(&self.path.as_str()) {
            return format!("{}: {first} -> {second}", self.path);
        }
        let names =
            |sign: &str, mask: u64| caps::names_of(mask).iter().map(|name| format!("{sign}{name}")).collect::<Vec<_>>();
        format!("{}: {}", self.path, [names("-", first & !second), names("+", second & !first)].concat().join(" "))
    }
}

/// For people.
pub fn lines(first: &PlanDocument, second: &PlanDocument, looks: Looks) -> Vec<String> {
    let (found, same) = changes(first, second);
    let facts = facts(&first.host, &second.host);
    let mut lines = Vec::new();
    if first.of != second.of {
        lines.extend(beside("~ ", &format!("the plan of {} -> {}", first.of, second.of), Tone::Warning, looks));
    }
    let title = |lines: &mut Vec<String>, name: &str| {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(looks.paint(Tone::Title, name));
    };
    if !facts.is_empty() {
        title(&mut lines, "host");
        lines.extend(facts.iter().flat_map(|fact| beside("~ ", &fact.text(), Tone::Warning, looks)));
    }
    let warnings = warnings(first, second);
    if !warnings.is_empty() {
        title(&mut lines, "warnings");
        lines.extend(warnings.iter().flat_map(|(mark, text)| beside(&format!("{mark} "), text, tone(mark), looks)));
    }
    for group in PlanGroup::ALL {
        let of_group: Vec<_> = found.iter().filter(|change| change.item().group == group.name()).collect();
        if !of_group.is_empty() {
            title(&mut lines, group.name());
        }
        lines.extend(of_group.into_iter().flat_map(|change| change_lines(change, looks)));
    }
    if lines.is_empty() {
        return vec![format!("no difference: {same} steps and operations")];
    }
    lines.push(String::new());
    lines.extend(beside("", &format!("the same: {same} steps and operations"), Tone::Faint, looks));
    lines
}

fn tone(mark: &str) -> Tone {
    match mark {
        "-" => Tone::Alarm,
        "+" => Tone::Title,
        _ => Tone::Warning,
    }
}

fn warnings<'a>(first: &'a PlanDocument, second: &'a PlanDocument) -> Vec<(&'static str, &'a String)> {
    let only = |of: &'a PlanDocument, other: &'a PlanDocument, mark| {
        let known: BTreeSet<&String> = other.warnings.iter().collect();
        of.warnings.iter().filter(move |warning| !known.contains(warning)).map(move |warning| (mark, warning))
    };
    only(first, second, "-").chain(only(second, first, "+")).collect()
}

fn change_lines(change: &ItemChange<'_>, looks: Looks) -> Vec<String> {
    let line = |mark: &str, item: &PlanItem, text: &str| {
        beside(&format!("{mark} {}  ", item.label()), text, tone(mark), looks)
    };
    match change {
        ItemChange::Removed(item) => line("-", item, &item.text),
        ItemChange::Added(item) => line("+", item, &item.text),
        ItemChange::Moved(first, second) => line("~", second, &format!("{}; was {}", second.text, first.index)),
        ItemChange::Changed(first, second) if words(first, second).is_some() => {
            let (_, op, about) = subject(second);
            let text = format!("{op} {}; {}", about.trim_start_matches('/'), words(first, second).unwrap_or_default());
            line("~", second, &text.replace(" ; ", "; "))
        }
        ItemChange::Changed(first, second) if first.text != second.text => {
            [line("-", first, &first.text), line("+", second, &second.text)].concat()
        }
        ItemChange::Changed(first, second) => {
            let fields = fields(first, second).into_iter().map(|(key, one, other)| format!("{key}: {one} -> {other}"));
            let text = format!("{}; {}", second.text, fields.collect::<Vec<_>>().join(", "));
            line("~", second, &text)
        }
    }
}

/// What has come to, and gone from, lists of words, where nothing else is different.
fn words(first: &PlanItem, second: &PlanItem) -> Option<String> {
    let mut lists = Vec::new();
    for (key, _, _) in fields(first, second).into_iter().filter(|(key, ..)| *key != "text") {
        let is_list = |item: &PlanItem| {
            let list = item.fields.get(key).and_then(Value::as_array);
            list.is_some_and(|list| list.iter().all(Value::is_string))
        };
        let (one, other) = (first.list(key), second.list(key));
        let [firsts, seconds] = [&one, &other].map(|list| list.iter().collect::<BTreeSet<_>>());
        let gone = one.iter().filter(|word| !seconds.contains(word)).map(|word| format!("-{word}"));
        let come = other.iter().filter(|word| !firsts.contains(word)).map(|word| format!("+{word}"));
        let changed: Vec<String> = gone.chain(come).collect();
        // Their order may count.
        if !is_list(first) || !is_list(second) || changed.is_empty() {
            return None;
        }
        lists.push(format!("{key}: {}", changed.join(" ")));
    }
    (!lists.is_empty()).then(|| lists.join("; "))
}

/// The fields that are others.
fn fields<'a>(first: &'a PlanItem, second: &'a PlanItem) -> Vec<(&'a String, Value, Value)> {
    let value = |item: &PlanItem, key: &String| item.fields.get(key).cloned().unwrap_or(Value::Null);
    let mut keys: Vec<&String> = first.fields.keys().chain(second.fields.keys()).collect();
    keys.sort();
    keys.dedup();
    let all = keys.into_iter().map(|key| (key, value(first, key), value(second, key)));
    all.filter(|(_, one, other)| one != other).collect()
}

/// For programs.
pub fn json(first: &PlanDocument, second: &PlanDocument) -> Value {
    let (found, same) = changes(first, second);
    let one = |item: &PlanItem| {
        let mut value = Value::Object(item.fields.clone());
        value["index"] = json!(item.index);
        value
    };
    let change = |change: &ItemChange<'_>| {
        let (first, second) = match change {
            ItemChange::Removed(item) => (one(item), Value::Null),
            ItemChange::Added(item) => (Value::Null, one(item)),
            ItemChange::Changed(first, second) | ItemChange::Moved(first, second) => (one(first), one(second)),
        };
        let item = change.item();
        json!({ "change": change.name(), "group": item.group, "side": item.side.name(), "first": first, "second": second })
    };
    let fact =
        |FactChange { path, first, second }: FactChange| json!({ "fact": path, "first": first, "second": second });
    let warnings = warnings(first, second)
        .into_iter()
        .map(|(mark, text)| json!({ "change": if mark == "-" { "removed" } else { "added" }, "text": text }));
    json!({
        "version": VERSION,
        "host": facts(&first.host, &second.host).into_iter().map(fact).collect::<Vec<_>>(),
        "warnings": warnings.collect::<Vec<_>>(),
        "changes": found.iter().map(change).collect::<Vec<_>>(),
        "same": same,
    })
}

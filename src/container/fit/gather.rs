//! Every error of reading, validating and planning a bundle, where `create` ends with the first: what causes the first is
//! taken out of the document, and the rest is tried again. The plan is a pure function, so all of that is cheap and changes
//! nothing; and what had to go is the field that the error is about.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::field::{self, FieldChange, FieldPath, PathPart};
use super::misfit::{Misfit, Severity};
use crate::container::make::bundle::Bundle;
use crate::container::make::facts::host_for;
use crate::container::make::planned::PlannedContainer;
use crate::container::options::Global;
use crate::error::{Error, Result, nearest};
use crate::host::Host;
use crate::plan::ProgramStart;
use crate::plan::namespace::NamespaceKind;
use crate::spec;

/// With more errors than this the document is something else.
const MOST: usize = 100;

/// How long causes are looked for: a document may be made so that the search has no end that anybody waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a part that a bundle cannot do without is replaced by. Maps of all ids leave nothing out.
fn stand_ins() -> [(&'static str, Value); 9] {
    let all_ids = json!([{"containerID": 0, "hostID": 0, "size": u32::MAX}]);
    [
        ("linux.uidMappings", all_ids.clone()),
        ("linux.gidMappings", all_ids),
        ("ociVersion", json!("1.0.2")),
        ("root", json!({"path": "."})),
        ("root.path", json!(".")),
        ("process", json!({"args": ["sh"], "cwd": "/"})),
        ("process.args", json!(["sh"])),
        ("process.args[0]", json!("sh")),
        ("process.cwd", json!("/")),
    ]
}

/// What others depend on: it stays where all of `linux` goes, and is suspected last.
const STRUCTURE: [&str; 3] = ["namespaces", "uidMappings", "gidMappings"];

/// Where a cause is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspects {
    /// Everything but the [`STRUCTURE`].
    Parts,
    Structure,
}

/// What was found, and what is left of the bundle.
pub(super) struct Gathered {
    pub document: Value,
    pub changes: Vec<FieldChange>,
    pub misfits: Vec<Misfit>,
    /// The bundle without what is wrong with it; none where that cannot be told.
    pub planned: Option<PlannedContainer>,
}

pub(super) fn gather(global: &Global, dir: &Path, document: Value) -> Result<Gathered> {
    let host = Host::probe()?;
    let mut trial = Trial {
        global,
        dir,
        host,
        began: Instant::now(),
        gathered: Gathered { document, changes: vec![], misfits: vec![], planned: None },
    };
    trial.run();
    Ok(trial.gathered)
}

/// What is said of an error: where, and the sentence.
#[derive(PartialEq, Eq)]
struct Said {
    field: FieldPath,
    what: String,
}

struct Trial<'a> {
    global: &'a Global<'a>,
    dir: &'a Path,
    host: Host,
    began: Instant,
    gathered: Gathered,
}

impl Trial<'_> {
    fn run(&mut self) {
        while self.gathered.misfits.len() < MOST {
            let error = match self.attempt(&self.gathered.changes) {
                Ok(planned) => {
                    self.gathered.planned = Some(planned);
                    return;
                }
                Err(error) => error,
            };
            let said = self.said(&error, &self.gathered.changes);
            let culprit = self.culprit(&said);
            // An error that names its field is about that, whatever had to go for others to be seen.
            let field = match &culprit {
                Some(culprit) if said.field.is_empty() => culprit.field.clone(),
                _ => said.field,
            };
            let hint = error.hint().map(str::to_owned);
            self.gathered.misfits.push(Misfit { hint, ..Misfit::new(Severity::Error, field::name(&field), said.what) });
            let Some(culprit) = culprit else { break };
            self.gathered.changes = culprit.changes;
        }
        let what = "what else is wrong cannot be told before these errors are put right";
        self.gathered.misfits.push(Misfit::warning("", what));
    }

    fn attempt(&self, changes: &[FieldChange]) -> Result<PlannedContainer> {
        let document = field::changed(&self.gathered.document, changes);
        let loaded = spec::load_bytes(document.to_string().into_bytes())?;
        let bundle = Bundle::of(self.global, self.dir, loaded)?;
        let host = host_for(bundle.spec(), self.host.clone())?;
        PlannedContainer::preview(self.global, bundle, ProgramStart::OnSignal, host)
    }

    fn said(&self, error: &Error, changes: &[FieldChange]) -> Said {
        let document = &self.gathered.document;
        let named = error.field().unwrap_or_default();
        let field = field::find(&field::changed(document, changes), named);
        Said { field: field::original(document, changes, &field), what: sentence(error, named) }
    }

    /// The least that has to go for the error to go: the field that it names or what holds that; where it names none, what is
    /// found by trying.
    fn culprit(&self, said: &Said) -> Option<Culprit> {
        let above = (1..=said.field.len()).rev().map(|length| said.field[..length].to_vec());
        // Nothing misses the path of a namespace, which then is a new one.
        let namespaces = field::children(&self.gathered.document, &field::find(&Value::Null, "linux.namespaces"));
        let joined = namespaces.into_iter().map(|field| [field, vec![PathPart::Key("path".to_owned())]].concat());
        let joined = joined.filter(|field| field::get(&self.gathered.document, field).is_some());
        above
            .chain(joined)
            .find_map(|field| self.helps(field, said))
            .or_else(|| [Suspects::Parts, Suspects::Structure].into_iter().find_map(|those| self.search(said, those)))
    }

    /// Level by level, into what makes a difference.
    fn search(&self, said: &Said, suspects: Suspects) -> Option<Culprit> {
        let (mut at, mut best) = (FieldPath::new(), None);
        if suspects == Suspects::Structure {
            at = vec![PathPart::Key("linux".to_owned())];
        }
        loop {
            let below = field::children(&self.gathered.document, &at).into_iter();
            let fits = |field: &FieldPath| !is_linux(&at) || is_structure(field) == (suspects == Suspects::Structure);
            let Some(next) = below.filter(fits).find_map(|field| self.helps(field, said)) else { return best };
            at = next.field.clone();
            best = Some(next);
        }
    }

    /// The namespace that a name was meant for: without it others would be missed that are only misspelled.
    fn meant(&self, field: &[PathPart]) -> Option<Value> {
        let name = field::name(field);
        if !name.starts_with("linux.namespaces[") || !name.ends_with("].type") {
            return None;
        }
        let typed = field::get(&self.gathered.document, field)?.as_str()?;
        nearest(typed, NamespaceKind::ALL.iter().map(|kind| kind.name())).filter(|near| *near != typed).map(Value::from)
    }

    /// Takes this out; the culprit, if the error goes with it and none comes that says just that.
    fn helps(&self, field: FieldPath, said: &Said) -> Option<Culprit> {
        let document = &self.gathered.document;
        if self.gathered.changes.iter().any(|old| field.starts_with(&old.field)) || self.began.elapsed() > PATIENCE {
            return None;
        }
        let mut changes = self.gathered.changes.clone();
        let mut take_out = |field: FieldPath, new: Option<Value>| {
            // What is inside of it goes with it.
            changes.retain(|old| !old.field.starts_with(&field));
            changes.push(FieldChange { field, new });
        };
        let name = field::name(&field);
        if MAPS.iter().any(|list| name.starts_with(list)) {
            // Both, for neither goes without the other; and whole, for what a map lacks others ask for.
            let lists = stand_ins().into_iter().filter(|(part, _)| MAPS.contains(part));
            lists.for_each(|(part, new)| take_out(field::find(&Value::Null, part), Some(new)));
        } else if is_linux(&field) {
            let below = field::children(document, &field).into_iter().filter(|field| !is_structure(field));
            below.for_each(|field| take_out(field, None));
        } else {
            let stand_in = stand_ins().into_iter().find(|(part, _)| *part == name).map(|(_, value)| value);
            take_out(field.clone(), stand_in.or_else(|| self.meant(&field)));
        }
        match self.attempt(&changes) {
            Ok(_) => Some(Culprit { field, changes }),
            Err(error) => {
                let other = self.said(&error, &changes);
                let missed = !other.field.is_empty() && field.starts_with(&other.field);
                (other != *said && !missed).then_some(Culprit { field, changes })
            }
        }
    }
}

/// The lists that no user namespace does without.
const MAPS: [&str; 2] = ["linux.uidMappings", "linux.gidMappings"];

/// What an error is about, and all changes that there are without it.
struct Culprit {
    field: FieldPath,
    changes: Vec<FieldChange>,
}

/// Whether a field is, or is in, what others depend on.
fn is_structure(field: &[PathPart]) -> bool {
    matches!(field, [PathPart::Key(linux), PathPart::Key(key), ..] if linux == "linux" && STRUCTURE.contains(&key.as_str()))
}

fn is_linux(field: &[PathPart]) -> bool {
    matches!(field, [PathPart::Key(linux)] if linux == "linux")
}

/// An error without what the list of findings says anyway: the field.
fn sentence(error: &Error, field: &str) -> String {
    let words = error.words();
    let words = words.strip_prefix(field).unwrap_or(&words);
    words.trim_start_matches([':', ' ']).to_owned()
}

//! `list` with fields and filters.

use std::borrow::Cow;
use std::time::SystemTime;

use super::filter::{ANNOTATION, ListFilter};
use super::output::align;
use crate::container::View;
use crate::error::printable;
use crate::state::parse_rfc3339;

/// A field of a container; nothing where it has none of that.
fn field<'a>(view: &'a View, name: &str) -> Option<Cow<'a, str>> {
    let text = match name {
        "id" => &view.id,
        "status" => view.status,
        "bundle" => &view.bundle,
        "rootfs" => &view.rootfs,
        "created" => &view.created,
        "owner" => &view.owner,
        "runtime" => "brisk",
        "finished" => view.finished.as_ref()?,
        "reason" => view.reason.as_ref()?,
        "exit" => return Some(view.exit_status?.to_string().into()),
        "pid" => return Some(view.pid.to_string().into()).filter(|_| view.pid != 0),
        "age" => return age(&view.created, SystemTime::now()).map(Cow::Owned),
        name => view.annotations.get(name.strip_prefix(ANNOTATION)?)?,
    };
    Some(Cow::Borrowed(text))
}

/// Whether a container is to be shown.
pub fn holds(filter: &ListFilter, view: &View) -> bool {
    filter.holds(|name| field(view, name), |name| view.annotations.get(name).map(String::as_str))
}

/// A table of these fields.
pub fn fields(names: &[String], views: &[View]) -> String {
    let title: Vec<String> =
        names.iter().map(|name| name.strip_prefix(ANNOTATION).map_or(name.to_uppercase(), printable)).collect();
    let row = |view| {
        names.iter().map(|name| field(view, name).map_or_else(|| "-".to_owned(), |text| printable(&text))).collect()
    };
    align(&std::iter::once(title).chain(views.iter().map(row)).collect::<Vec<Vec<String>>>())
}

/// How long ago that was. A clock that was set back makes it nothing.
fn age(created: &str, now: SystemTime) -> Option<String> {
    let seconds = now.duration_since(parse_rfc3339(created)?).unwrap_or_default().as_secs();
    Some(match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ages() {
        let created = "2026-01-02T03:04:05.5Z";
        let at = |seconds| age(created, parse_rfc3339(created).unwrap() + Duration::from_secs(seconds)).unwrap();
        assert_eq!([0, 59, 60, 7199, 86_399, 900_000].map(at), ["0s", "59s", "1m", "1h", "23h", "10d"]);
        assert_eq!(age(created, SystemTime::UNIX_EPOCH).as_deref(), Some("0s"), "a clock that was set back");
        assert_eq!(age("yesterday", SystemTime::now()), None);
    }
}

//! How the text of a value gets into a field: the type of the field says what may be given.
//!
//! What is wrong is told by what it must be; [`super::scan`] makes the one sentence of all flags from it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::log::{Level, LogFormat};
use crate::container::options::{ExecUser, ResultTo, StreamChoice};
use crate::container::outline::{NetworkChoice, SeccompChoice};
use crate::plan::cgroup::files::DEFAULT_PERIOD;
use crate::plan::cgroup::tolerance::Tolerance;
use crate::plan::cgroup::transfer::Amounts;
use crate::plan::process::caps;
use crate::plan::systemd::driver::CgroupDriver;
use crate::spec::mounts::Mount;
use crate::spec::overlay::Upper;
use crate::spec::size::size;
use crate::spec::text::Text;
use crate::sys::cred::Ids;

/// Nothing, or what the value must be instead.
pub type PutResult = Result<(), Cow<'static, str>>;

/// What takes a value. An empty value is no value, as with runc: scripts write `--pid-file "$unset"`. (Commands that only brisk has
/// take none: [`super::verbs::Verb::is_of_brisk`].)
pub trait Put {
    /// Puts the value there.
    fn put(self, value: &OsStr) -> PutResult;
}

/// The value as text.
fn text(value: &OsStr) -> Result<&str, Cow<'static, str>> {
    value.to_str().ok_or(Cow::Borrowed("UTF-8"))
}

/// A switch: what follows its `=`, and `true` where it stands alone.
impl Put for &mut bool {
    fn put(self, value: &OsStr) -> PutResult {
        *self = go_bool(value.as_bytes()).ok_or("true or false")?;
        Ok(())
    }
}

/// A switch that may have a value, which means nothing: `--tty=/dev/pts/0`.
pub struct WhetherGiven<'a>(pub &'a mut bool);

impl Put for WhetherGiven<'_> {
    fn put(self, _: &OsStr) -> PutResult {
        *self.0 = true;
        Ok(())
    }
}

/// Accepted so that nobody's command line breaks.
pub struct Nothing;

impl Put for Nothing {
    fn put(self, _: &OsStr) -> PutResult {
        Ok(())
    }
}

/// A path that is needed: the current directory where it is empty.
impl Put for &mut PathBuf {
    fn put(self, value: &OsStr) -> PutResult {
        *self = if value.is_empty() { ".".into() } else { value.into() };
        Ok(())
    }
}

impl Put for &mut Option<PathBuf> {
    fn put(self, value: &OsStr) -> PutResult {
        *self = (!value.is_empty()).then(|| value.into());
        Ok(())
    }
}

impl Put for &mut Option<OsString> {
    fn put(self, value: &OsStr) -> PutResult {
        *self = (!value.is_empty()).then(|| value.into());
        Ok(())
    }
}

impl Put for &mut Vec<PathBuf> {
    fn put(self, value: &OsStr) -> PutResult {
        if value.is_empty() {
            return Err("a path".into());
        }
        self.push(value.into());
        Ok(())
    }
}

impl Put for &mut String {
    fn put(self, value: &OsStr) -> PutResult {
        *self = text(value)?.to_owned();
        Ok(())
    }
}

impl Put for &mut Option<String> {
    fn put(self, value: &OsStr) -> PutResult {
        *self = Some(text(value)?.to_owned()).filter(|text| !text.is_empty());
        Ok(())
    }
}

/// A program takes any bytes.
impl Put for &mut Vec<Text> {
    fn put(self, value: &OsStr) -> PutResult {
        self.push(value.into());
        Ok(())
    }
}

impl Put for &mut Option<Text> {
    fn put(self, value: &OsStr) -> PutResult {
        *self = (!value.is_empty()).then(|| value.into());
        Ok(())
    }
}

impl Put for &mut Vec<String> {
    fn put(self, value: &OsStr) -> PutResult {
        self.push(text(value)?.to_owned());
        Ok(())
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Put for &mut Option<$number> {
            fn put(self, value: &OsStr) -> PutResult {
                let text = text(value)?;
                let range = || format!("a whole number from {} to {}", <$number>::MIN, <$number>::MAX);
                *self = if text.is_empty() { None } else { Some(text.parse().map_err(|_| range())?) };
                Ok(())
            }
        }
    )*};
}

numbers! { u16 i32 u32 i64 u64 }

impl Put for &mut u32 {
    fn put(self, value: &OsStr) -> PutResult {
        let mut number = None;
        (&mut number).put(value)?;
        *self = number.unwrap_or_default();
        Ok(())
    }
}

impl Put for &mut Vec<u32> {
    fn put(self, value: &OsStr) -> PutResult {
        let mut number = None::<u32>;
        (&mut number).put(value)?;
        self.extend(number);
        Ok(())
    }
}

/// A value that is one of a few words. Help and completions have the words from here, too.
pub trait Word: Copy + Default + 'static {
    /// What may be given, in the order of `VALUES`.
    const WORDS: &'static [&'static str];
    /// What it means.
    const VALUES: &'static [Self];
}

fn one_of(words: &[&str]) -> Cow<'static, str> {
    match words {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")).into(),
        words => words.concat().into(),
    }
}

impl<T: Word> Put for &mut T {
    fn put(self, value: &OsStr) -> PutResult {
        *self = match T::WORDS.iter().zip(T::VALUES).find(|(word, _)| value == **word) {
            Some((_, found)) => *found,
            None if value.is_empty() => T::default(),
            None => return Err(one_of(T::WORDS)),
        };
        Ok(())
    }
}

/// A value of which it makes a difference whether it was given.
pub struct Maybe<'a, T>(pub &'a mut Option<T>);

impl<T: Word> Put for Maybe<'_, T> {
    fn put(self, value: &OsStr) -> PutResult {
        let mut found = T::default();
        (&mut found).put(value)?;
        *self.0 = (!value.is_empty()).then_some(found);
        Ok(())
    }
}

/// `table` or `json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    #[default]
    Table,
    Json,
}

impl Word for Format {
    const WORDS: &'static [&'static str] = &["table", "json"];
    const VALUES: &'static [Self] = &[Format::Table, Format::Json];
}

/// `--json`, which is `--format json`.
pub struct Json<'a, T>(pub &'a mut T);

impl<T: Word> Put for Json<'_, T> {
    fn put(self, value: &OsStr) -> PutResult {
        let mut json = false;
        (&mut json).put(value)?;
        self.0.put(OsStr::new(if json { "json" } else { "" }))
    }
}

/// A word that is handed on as it is.
pub struct Among<'a>(pub &'a mut Option<String>, pub &'static [&'static str]);

impl Put for Among<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let Among(field, words) = self;
        field.put(value)?;
        match field {
            Some(word) if !words.contains(&word.as_str()) => Err(one_of(words)),
            _ => Ok(()),
        }
    }
}

impl Word for CgroupDriver {
    const WORDS: &'static [&'static str] = &["cgroupfs", "systemd", "disabled"];
    const VALUES: &'static [Self] = &[CgroupDriver::Files, CgroupDriver::Systemd, CgroupDriver::Disabled];
}

impl Word for LogFormat {
    const WORDS: &'static [&'static str] = &["text", "json"];
    const VALUES: &'static [Self] = &[LogFormat::Text, LogFormat::Json];
}

/// The levels that are shown; logrus's other name of `warning` is taken as well.
pub const LEVELS: &[&str] = &["error", "warning", "info", "debug"];

impl Put for &mut Option<Level> {
    fn put(self, value: &OsStr) -> PutResult {
        let text = text(value)?;
        *self = if text.is_empty() { None } else { Some(Level::named(text).ok_or_else(|| one_of(LEVELS))?) };
        Ok(())
    }
}

/// `--rootless`: a truth value as Go reads it, or `auto`.
pub const ROOTLESS: &[&str] = &["true", "false", "auto"];

impl Put for &mut Tolerance {
    fn put(self, value: &OsStr) -> PutResult {
        *self = match go_bool(value.as_bytes()) {
            Some(true) => Tolerance::Everything,
            Some(false) => Tolerance::Nothing,
            None if value.is_empty() || value.eq_ignore_ascii_case("auto") => Tolerance::Auto,
            None => return Err(one_of(ROOTLESS)),
        };
        Ok(())
    }
}

/// The spellings Go's `strconv.ParseBool` takes.
fn go_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Some(false),
        _ => None,
    }
}

/// `UID[:GID]`: digits only, and both fit. Anything else is refused rather than read as far as it goes:
/// `--user app` that silently means root is CVE-2026-30892.
impl Put for &mut Option<ExecUser> {
    fn put(self, value: &OsStr) -> PutResult {
        let text = text(value)?;
        // An empty one is not none: a script whose variable is unset would else run as the container's user.
        *self = Some(user(text).ok_or("UID or UID:GID in numbers")?);
        Ok(())
    }
}

/// `UID[:GID]`, both as numbers.
pub fn user(text: &str) -> Option<ExecUser> {
    let id = |part: &str| -> Option<u32> {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        // 2^32-1 is "no change" to setresuid(2) and no id.
        part.parse().ok().filter(|id| digits && *id != u32::MAX)
    };
    match text.split_once(':') {
        Some((uid, gid)) => Some(ExecUser { uid: id(uid)?, gid: Some(id(gid)?) }),
        None => Some(ExecUser { uid: id(text)?, gid: None }),
    }
}

/// `--interval` where none is given.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// 292 years; a date that is further away overflows.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

impl Put for &mut Duration {
    fn put(self, value: &OsStr) -> PutResult {
        let text = text(value)?;
        *self = if text.is_empty() { INTERVAL } else { interval(text).ok_or("a duration such as 5s or 500ms")? };
        Ok(())
    }
}

/// A limit in time. An empty one is not none: a script whose variable is unset would else run without it.
impl Put for &mut Option<Duration> {
    fn put(self, value: &OsStr) -> PutResult {
        *self = Some(interval(text(value)?).ok_or("a duration such as 5s or 500ms")?);
        Ok(())
    }
}

/// A limit in time that may be nothing at all: 0.
pub struct OrNone<'a>(pub &'a mut Option<Duration>);

impl Put for OrNone<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        *self.0 = match text(value)? {
            "0" | "0s" => Some(Duration::ZERO),
            _ => return self.0.put(value),
        };
        Ok(())
    }
}

/// A file, or `fd:N`. Somebody waits for it, so an empty one is an error as well.
impl Put for &mut Option<ResultTo> {
    fn put(self, value: &OsStr) -> PutResult {
        let wanted = "a file, or fd: and a number";
        let number = value.to_str().and_then(|text| text.strip_prefix("fd:"));
        *self = match number {
            Some(number) => Some(ResultTo::Descriptor(number.parse().map_err(|_| wanted)?)),
            None if value.is_empty() => return Err(wanted.into()),
            None => Some(ResultTo::File(value.into())),
        };
        Ok(())
    }
}

/// `inherit`, `null`, or three of `null` and numbers of descriptors.
pub struct Stdio<'a>(pub &'a mut Option<[StreamChoice; 3]>);

impl Put for Stdio<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let one = |word: &str| match word {
            "null" => Some(StreamChoice::Null),
            number => number.parse().ok().map(StreamChoice::Descriptor),
        };
        *self.0 = match text(value)? {
            "inherit" => None,
            "null" => Some([StreamChoice::Null; 3]),
            list => {
                let streams: Option<Vec<_>> = list.split(',').map(one).collect();
                let streams = streams.and_then(|streams| streams.try_into().ok());
                Some(streams.ok_or("inherit, null, or three of null and numbers, as 0,1,null")?)
            }
        };
        Ok(())
    }
}

/// A number of bytes that is a limit.
pub struct AtMost<'a>(pub &'a mut Option<i64>);

impl Put for AtMost<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        *self.0 = Some(size(text(value)?).filter(|bytes| *bytes >= 0).ok_or("a size such as 64k")?);
        Ok(())
    }
}

/// A number of bytes that is a limit, and not none at all.
pub struct SomeBytes<'a>(pub &'a mut Option<i64>);

impl Put for SomeBytes<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        *self.0 = Some(size(text(value)?).filter(|bytes| *bytes > 0).ok_or("a size such as 64m")?);
        Ok(())
    }
}

/// How many there may be.
pub struct AtLeastOne<'a>(pub &'a mut Option<i64>);

impl Put for AtLeastOne<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        *self.0 = Some(text(value)?.parse().ok().filter(|count| *count > 0).ok_or("a whole number from 1")?);
        Ok(())
    }
}

/// A number of CPUs, as the time in each period.
pub struct Cpus<'a>(pub &'a mut Option<i64>);

impl Put for Cpus<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        // The kernel takes no less than a millisecond.
        *self.0 = Some(cpus(text(value)?, 1e3).ok_or("a number of CPUs from 0.01, such as 0.5")?);
        Ok(())
    }
}

/// What is moved from one container to another: each once, for of two nobody could tell which was meant.
impl Put for &mut Option<Amounts> {
    fn put(self, value: &OsStr) -> PutResult {
        let mut amounts = Amounts::default();
        for part in text(value)?.split(',') {
            let (name, amount) = part.split_once('=').unwrap_or_default();
            let (of, amount) = match name {
                "memory" => (&mut amounts.memory, size(amount)),
                // What is left has to be what the kernel takes; this may be less.
                "cpus" => (&mut amounts.cpu, cpus(amount, 1.0)),
                _ => (&mut amounts.pids, amount.parse().ok().filter(|_| name == "pids")),
            };
            let amount = amount.and_then(|amount| u64::try_from(amount).ok()).filter(|amount| *amount > 0 && *of == 0);
            *of = amount.ok_or("what is moved, each of it once, such as memory=64m,cpus=0.5,pids=10")?;
        }
        *self = Some(amounts);
        Ok(())
    }
}

/// No less than so many microseconds of a period.
fn cpus(text: &str, least: f64) -> Option<i64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let cpus: f64 = text.parse().ok().filter(|_| plain)?;
    #[expect(clippy::cast_precision_loss, reason = "the period is small")]
    let quota = (cpus * DEFAULT_PERIOD as f64).round();
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (least..=1e15).contains(&quota).then_some(quota as i64)
}

/// `UID[:GID]`; the group has the user's number where none is given, and never becomes root's by omission.
impl Put for &mut Option<Ids> {
    fn put(self, value: &OsStr) -> PutResult {
        let ExecUser { uid, gid } = user(text(value)?).ok_or("UID or UID:GID in numbers")?;
        *self = Some(Ids { uid, gid: gid.unwrap_or(uid) });
        Ok(())
    }
}

/// A switch that says yes, and one that says no, where it makes a difference whether it was given.
pub struct Yes<'a>(pub &'a mut Option<bool>);
/// See [`Yes`].
pub struct No<'a>(pub &'a mut Option<bool>);

impl Put for Yes<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let mut yes = false;
        (&mut yes).put(value)?;
        *self.0 = Some(yes);
        Ok(())
    }
}

impl Put for No<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let mut no = false;
        (&mut no).put(value)?;
        *self.0 = Some(!no);
        Ok(())
    }
}

/// Names of capabilities: who types one wants it, where config.json may be older or newer than the kernel.
pub struct Caps<'a>(pub &'a mut Vec<String>);

impl Put for Caps<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let name = text(value)?;
        if !caps::is_known(name) {
            return Err("the name of a capability, as CAP_CHOWN".into());
        }
        self.0.push(name.to_owned());
        Ok(())
    }
}

/// `SRC:DST[:ro]`. The destination is the last part that begins with a slash, so that a source may have colons.
pub struct Bind<'a>(pub &'a mut Vec<Mount>);

impl Put for Bind<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let text = text(value)?;
        let (pair, readonly) = match text.strip_suffix(":ro") {
            Some(pair) => (pair, true),
            None => (text.strip_suffix(":rw").unwrap_or(text), false),
        };
        let wanted = "SRC:DST, SRC:DST:ro or SRC:DST:rw, with DST absolute and without a colon or comma";
        // What is no word of ours, as `:ro,z` and `,ro`, must not become a part of the name.
        let at = pair.rfind(":/").filter(|at| *at > 0 && !pair[at + 1..].contains([':', ','])).ok_or(wanted)?;
        let options = ["rbind", "rprivate"].into_iter().chain(readonly.then_some("rro"));
        self.0.push(Mount {
            destination: pair[at + 1..].to_owned(),
            kind: Some("bind".to_owned()),
            source: Some(pair[..at].to_owned()),
            options: options.map(str::to_owned).collect(),
            ..Mount::default()
        });
        Ok(())
    }
}

/// `DST[:SIZE]`.
pub struct Tmpfs<'a>(pub &'a mut Vec<Mount>);

impl Put for Tmpfs<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let text = text(value)?;
        let wanted = "DST or DST:SIZE, with DST absolute and without a comma";
        let (destination, bytes) = match text.rsplit_once(':') {
            Some((destination, bytes)) => (destination, Some(size(bytes).filter(|bytes| *bytes > 0).ok_or(wanted)?)),
            None => (text, None),
        };
        if !destination.starts_with('/') || destination.contains(',') {
            return Err(wanted.into());
        }
        let mut options = ["nosuid", "nodev", "mode=1777"].map(str::to_owned).to_vec();
        options.extend(bytes.map(|bytes| format!("size={bytes}")));
        self.0.push(Mount {
            destination: destination.to_owned(),
            kind: Some("tmpfs".to_owned()),
            source: Some("tmpfs".to_owned()),
            options,
            ..Mount::default()
        });
        Ok(())
    }
}

impl Put for &mut Option<Upper> {
    fn put(self, value: &OsStr) -> PutResult {
        *self = Some(Upper::parse(text(value)?).ok_or("tmpfs, tmpfs:SIZE or a directory")?);
        Ok(())
    }
}

impl Put for &mut Option<NetworkChoice> {
    fn put(self, value: &OsStr) -> PutResult {
        let path = value.as_bytes().strip_prefix(b"ns:").filter(|path| !path.is_empty()).map(OsStr::from_bytes);
        *self = Some(match (value.as_bytes(), path) {
            (b"none", _) => NetworkChoice::Own,
            (b"host", _) => NetworkChoice::Host,
            (_, Some(path)) => NetworkChoice::Of(path.into()),
            _ => return Err("none, host or ns:PATH".into()),
        });
        Ok(())
    }
}

impl Put for &mut Option<SeccompChoice> {
    fn put(self, value: &OsStr) -> PutResult {
        *self = Some(match value.as_bytes() {
            b"docker" => SeccompChoice::Docker,
            b"unconfined" => SeccompChoice::Unconfined,
            b"" => return Err("a file, docker or unconfined".into()),
            _ => SeccompChoice::File(value.into()),
        });
        Ok(())
    }
}

/// A duration as Go writes it (`1m30s`, `500ms`, `1.5h`), or whole seconds as youki does. Greater than zero, and no
/// longer than Go's longest.
fn interval(text: &str) -> Option<Duration> {
    let seconds =
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse::<f64>().ok() } else { go_duration(text) };
    let interval = Duration::try_from_secs_f64(seconds?).ok()?;
    (!interval.is_zero() && interval <= LONGEST).then_some(interval)
}

fn go_duration(text: &str) -> Option<f64> {
    const UNITS: &[(&str, f64)] =
        &[("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        sum += value * seconds;
        rest = &rest[unit.len()..];
    }
    Some(sum)
}

/// A number of bytes.
pub struct Size<'a>(pub &'a mut Option<i64>);

impl Put for Size<'_> {
    fn put(self, value: &OsStr) -> PutResult {
        let text = text(value)?;
        *self.0 = if text.is_empty() { None } else { Some(size(text).ok_or("a size such as 512m, or -1")?) };
        Ok(())
    }
}

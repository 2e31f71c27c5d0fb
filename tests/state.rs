//! The state directory: the table of states, names, files, locks, damage.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use brisk::container::Container;
use brisk::spec::annotations::{self, MOUNT_CONTEXT_TYPE, Trust};
use brisk::spec::status::Status;
use brisk::state::{
    Caller, Dir, FIFO, Facts, Life, ProcessId, RECORD, Record, StateRoot, Wait, boot_id, rfc3339, status,
};

/// A directory of this test alone, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("brisk-state-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn root(&self) -> StateRoot {
        StateRoot::choose(Some(&self.0.join("root")), Path::new("/"), &Caller::default()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn me() -> ProcessId {
    ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap()
}

fn record(id: &str) -> Record {
    Record {
        version: Record::version(),
        id: id.into(),
        boot_id: boot_id().unwrap().to_owned(),
        creator: me(),
        ..Record::default()
    }
}

#[test]
fn the_status_follows_from_the_facts() {
    use Life::{Alive, Gone};
    let table = [
        // creator, init, set up, waits for start, frozen
        (Alive, None, false, false, false, Status::Creating),
        (Gone, None, false, false, false, Status::Stopped),
        (Alive, Some(Alive), false, true, false, Status::Creating),
        (Alive, Some(Alive), false, false, false, Status::Creating),
        (Alive, Some(Alive), true, true, false, Status::Created),
        (Gone, Some(Alive), true, true, false, Status::Created),
        (Gone, Some(Alive), false, true, false, Status::Created),
        (Gone, Some(Alive), true, false, false, Status::Running),
        (Alive, Some(Alive), true, false, false, Status::Running),
        (Gone, Some(Alive), true, false, true, Status::Paused),
        (Gone, Some(Alive), true, true, true, Status::Paused),
        (Gone, Some(Gone), true, false, false, Status::Stopped),
        (Gone, Some(Gone), true, true, true, Status::Stopped),
        (Alive, Some(Gone), false, true, false, Status::Stopped),
    ];
    for (creator, init, set_up, waits_for_start, frozen, expected) in table {
        let facts = Facts { creator, init, set_up, waits_for_start, frozen };
        assert_eq!(status(&facts), expected, "{facts:?}");
    }
}

#[test]
fn the_root_depends_on_the_user_and_xdg_alone() {
    let who = |real_root, dir: Option<&str>| Caller { real_root, runtime_dir: dir.map(Into::into) };
    let default = |who: Caller| StateRoot::choose(None, Path::new("/"), &who).unwrap().path().to_owned();
    assert_eq!(default(who(true, None)), Path::new("/run/brisk"));
    assert_eq!(default(who(true, Some("/run/user/0"))), Path::new("/run/brisk"));
    assert_eq!(default(who(false, Some("/run/user/1000"))), Path::new("/run/user/1000/brisk"));
    assert_eq!(default(who(false, Some(""))), Path::new("/run/brisk"), "podman passes an empty one");
    assert_eq!(default(who(false, None)), Path::new("/run/brisk"));
    assert_eq!(default(who(false, Some("run/user/1000"))), Path::new("/run/brisk"), "a relative one is none");
    let given = |path: &str| StateRoot::choose(Some(Path::new(path)), Path::new("/cwd"), &who(true, None));
    assert_eq!(given("x/../y//z/.").unwrap().path(), Path::new("/cwd/y/z"));
    for path in ["/", "../..", "/a/..", "//"] {
        assert!(given(path).is_err(), "{path}");
    }
}

#[test]
fn a_name_is_taken_once() {
    let scratch = Scratch::new("once");
    let root = scratch.root();
    let dir = Dir::create(&root, "a").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(root.path()), 0o700);
    assert_eq!(mode(&root.path().join("a")), 0o711);
    let error = Dir::create(&root, "a").unwrap_err();
    assert_eq!(error.to_string(), "state: container with given ID already exists");
    assert!(error.hint().unwrap().contains("`brisk run --replace` does so first"));
    dir.save(&record("a")).unwrap();
    assert_eq!(Dir::open(&root, "a").unwrap().load().unwrap(), record("a"));
    assert_eq!(root.ids().unwrap(), ["a"]);
    dir.remove().unwrap();
    assert!(root.ids().unwrap().is_empty());
    let error = Dir::open(&root, "a").unwrap_err().to_string();
    assert_eq!(error, "state: container does not exist");
    assert!(Dir::create(&root, "../x").is_err());
}

#[test]
fn a_root_that_does_not_exist_holds_nothing_unless_it_was_named() {
    let scratch = Scratch::new("named");
    assert_eq!(scratch.root().ids().unwrap_err().root_errno(), Some(nix::errno::Errno::ENOENT));
    assert!(Dir::find(&scratch.root(), "a").unwrap().is_none());
    let identity = Caller { real_root: false, runtime_dir: Some(scratch.0.clone().into_os_string()) };
    let default = StateRoot::choose(None, Path::new("/"), &identity).unwrap();
    assert!(default.ids().unwrap().is_empty());
    Dir::create(&default, "a").unwrap();
    let mode = std::fs::metadata(default.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1700, "the sticky bit keeps it from being cleaned up");
}

#[test]
fn links_are_not_followed() {
    let scratch = Scratch::new("links");
    let root = scratch.root();
    let dir = Dir::create(&root, "a").unwrap();
    let outside = scratch.0.join("outside");
    std::fs::write(&outside, "secret").unwrap();
    symlink(&outside, root.path().join("a/state.json")).unwrap();
    assert!(dir.read(RECORD).is_err());
    symlink(&outside, root.path().join("a/.new")).unwrap();
    assert!(dir.write(RECORD, b"x").is_err());
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "secret");
    symlink(root.path().join("a"), root.path().join("b")).unwrap();
    assert!(Dir::find(&root, "b").unwrap().is_none());
    assert_eq!(root.ids().unwrap(), ["a"]);
    dir.remove().unwrap();
    assert!(outside.exists());
}

#[test]
fn damage_is_named() {
    let scratch = Scratch::new("damage");
    let root = scratch.root();
    let dir = Dir::create(&root, "a").unwrap();
    assert!(dir.find_record().unwrap().is_none());
    for (text, expected) in [
        (&b""[..], "parse state.json"),
        (b"{\"version\":1,\"id\":\"a\"", "parse state.json"),
        (b"{\"version\":1}", "parse state.json"),
        (b"{\"version\":99,\"everything\":\"else\"}", "format 99"),
        (b"{}", "parse state.json"),
    ] {
        dir.write(RECORD, text).unwrap();
        let error = dir.load().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    dir.remove().unwrap();
}

#[test]
fn another_boot_has_no_processes_of_ours() {
    let mut record = record("a");
    assert_eq!(record.life(me()).unwrap(), Life::Alive);
    record.boot_id = "00000000-0000-0000-0000-000000000000".into();
    assert_eq!(record.life(me()).unwrap(), Life::Gone);
}

/// By every command: `mounts add`, too.
#[test]
fn annotations_that_were_followed_are_followed_afterwards() {
    let scratch = Scratch::new("annotations");
    let dir = Dir::create(&scratch.root(), "a").unwrap();
    let trust = Trust::parse(MOUNT_CONTEXT_TYPE, "test").unwrap();
    dir.save_first(&Record { trust, ..record("a") }).unwrap();
    dir.write_config(
        br#"{"ociVersion": "1.3.0", "annotations": {"run.oci.mount_context_type": "rootcontext", "run.oci.keep_original_groups": "1"}}"#,
    )
    .unwrap();
    dir.publish().unwrap();
    let spec = Container::load(&scratch.root(), "a").unwrap().spec().unwrap();
    assert_eq!(annotations::value(&spec.instructions, MOUNT_CONTEXT_TYPE), Some("rootcontext"));
    assert_eq!(spec.instructions.len(), 1, "of the other nobody has said so: {:?}", spec.instructions);
}

#[test]
fn one_at_a_time() {
    let scratch = Scratch::new("lock");
    let root = scratch.root();
    let dir = Dir::create(&root, "a").unwrap();
    let lock = dir.lock(Wait::Forever).unwrap().unwrap();
    let other = Dir::open(&root, "a").unwrap();
    assert_eq!(other.lock(Wait::No).unwrap_err().root_errno(), Some(nix::errno::Errno::EAGAIN));
    drop(lock);
    assert!(other.lock(Wait::No).unwrap().is_some());
    dir.remove().unwrap();
    assert!(other.lock(Wait::Forever).unwrap().is_none(), "deleted while we waited");
    // The same name again is another container.
    Dir::create(&root, "a").unwrap();
    assert!(other.lock(Wait::No).unwrap().is_none());
}

#[test]
fn a_removal_that_was_cut_short_can_be_done_again() {
    let scratch = Scratch::new("remove");
    let root = scratch.root();
    let dir = Dir::create(&root, "a").unwrap();
    dir.save(&record("a")).unwrap();
    dir.write(c"config.json", b"{}").unwrap();
    dir.write(c"something-of-a-later-version", b"x").unwrap();
    brisk::sys::fs::mkfifo(dir.fd(), FIFO, 0o622).unwrap();
    assert!(!dir.waits_for_start().unwrap(), "nobody reads it");
    let reader = brisk::sys::fs::open(dir.fd(), FIFO, libc::O_RDONLY | libc::O_NONBLOCK, 0).unwrap();
    assert!(dir.waits_for_start().unwrap());
    drop(reader);
    dir.remove().unwrap();
    dir.remove().unwrap_or_else(|error| assert!(error.root_errno().is_some(), "{error}"));
    assert!(root.ids().unwrap().is_empty());
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, nanos, text) in [
        (0, 0, "1970-01-01T00:00:00Z"),
        (951_782_399, 0, "2000-02-28T23:59:59Z"),
        (951_782_400, 0, "2000-02-29T00:00:00Z"),
        (951_868_800, 1_000, "2000-03-01T00:00:00.000001Z"),
        (4_107_542_400, 0, "2100-03-01T00:00:00Z"),
        (1_798_761_599, 999_999_999, "2026-12-31T23:59:59.999999999Z"),
    ] {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(seconds, nanos)), text);
    }
}

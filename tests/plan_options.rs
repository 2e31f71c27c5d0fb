//! What plans of the tests are asked for, in more than one program.

use std::path::PathBuf;

use brisk::plan::cgroup::tolerance::Tolerance;
use brisk::plan::op::{Enter, Terminal};
use brisk::plan::systemd::driver::CgroupDriver;
use brisk::plan::{CreateOptions, Hold, Keyring, Orphan, OverlaySize, ProgramStart};
use brisk::spec::Spec;

pub fn options(spec: &Spec) -> CreateOptions {
    CreateOptions {
        id: "web1".to_owned(),
        bundle: PathBuf::from("/bundle"),
        enter: Enter::Pivot,
        keyring: Keyring::New,
        start: ProgramStart::OnSignal,
        preserved_fds: 0,
        orphan: Orphan::LivesOn,
        cgroups: CgroupDriver::Files,
        tolerance: Tolerance::Auto,
        terminal: Terminal::of(spec.process.as_ref(), Terminal::Socket),
        notify: None,
        joined_own: 0,
        overlay_size: OverlaySize::NotAsked,
        hold: Hold::No,
        oddities: Vec::new(),
    }
}

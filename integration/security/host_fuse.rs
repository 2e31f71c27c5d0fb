//! A file system of the host whose server takes every question and answers none, as the source of a mount. The kernel then
//! lets nobody go, not even by SIGKILL; no command waits for that without an end, and nothing is left when the server is gone.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use nix::sys::signal::Signal;

use crate::common::{Bundle, Container, Need, brisk_only, process, skip_unless};
use crate::lifecycle::asked_to_end;

/// What `delete --force` waits for a creator that does not die, with room for the rest.
const BOUND: Duration = Duration::from_secs(15);

/// The server's end, which answers for as long as it takes to mount (fuse(4)); the mount is the bundle's.
struct Silent(Option<File>);

impl Silent {
    fn new(bundle: &mut Bundle, dir: &Path) -> Silent {
        let mut device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        bundle.mount_on_host(Path::new("brisktest"), dir, "fuse", MsFlags::empty(), &data);
        let mut request = [0u8; 1 << 16];
        let length = device.read(&mut request).unwrap();
        assert!(length >= 40 && request[4] == 26, "FUSE_INIT");
        // struct fuse_out_header and struct fuse_init_out: version 7.31, and as little as may be.
        let mut answer = [0u8; 80];
        answer[0] = 80;
        answer[8..16].copy_from_slice(&request[8..16]);
        (answer[16], answer[20]) = (7, 31);
        answer[37] = 16;
        device.write_all(&answer).unwrap();
        Silent(Some(device))
    }

    /// Takes a question: whoever asked it waits from now on.
    fn takes_a_question(&mut self) {
        let mut request = [0u8; 1 << 16];
        assert!(self.0.as_mut().unwrap().read(&mut request).unwrap() >= 40);
    }

    /// The server dies, and all who wait get an error.
    fn dies(&mut self) {
        self.0 = None;
    }
}

/// A `create` that waits for a silent file system.
fn create_that_waits() -> (Container, process::Running, Silent) {
    let mut bundle = Bundle::idle();
    let dir = bundle.host_dir("silent");
    let mut silent = Silent::new(&mut bundle, &dir);
    let source = dir.join("below");
    let container = bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["rbind"]).container();
    let create = container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    let create = process::start(create, Stdio::null());
    silent.takes_a_question();
    (container, create, silent)
}

#[test]
fn a_silent_file_system_of_the_host_keeps_no_command_for_ever() {
    if skip_unless(Need::from(Path::new("/dev/fuse").exists()), "no FUSE") || brisk_only("they have no bound") {
        return;
    }
    let (container, create, mut silent) = create_that_waits();
    assert_eq!(container.status(), "creating");
    let began = Instant::now();
    let error = container.delete_force().fails();
    assert!(began.elapsed() < BOUND, "{:?}: {error}", began.elapsed());
    assert!(error.contains("state D waits for a device or a network file system"), "{error}");
    silent.dies();
    let create = create.wait();
    assert_ne!(create.code, 0, "{create:?}");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Who is asked to end leaves the process that cannot, and what tells of it.
#[test]
fn who_is_asked_to_end_does_not_wait_for_it_either() {
    if skip_unless(Need::from(Path::new("/dev/fuse").exists()), "no FUSE") || brisk_only("they end where they are") {
        return;
    }
    let (container, create, mut silent) = create_that_waits();
    let began = Instant::now();
    let error = asked_to_end::end(create, Signal::SIGTERM, "FUSE").stderr();
    assert!(began.elapsed() < BOUND, "{:?}: {error}", began.elapsed());
    assert!(error.contains("was killed and does not end"), "{error}");
    // What is left can be found.
    let error = container.delete_force().fails();
    assert!(error.contains("state D waits for a device or a network file system"), "{error}");
    silent.dies();
    container.delete_force().ok();
    container.assert_nothing_left();
}

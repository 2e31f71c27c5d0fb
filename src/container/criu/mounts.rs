//! A mount namespace for CRIU: what is mounted there for its sake is never seen on the host and gone with it.

use std::ffi::{CStr, CString};

use crate::error::{Context, Result, Stage};
use crate::sys::mount;
use crate::sys::namespace::MountView;

/// Does `work` in a new mount namespace in which `from`, with everything below it, is bound onto `to`. Programs that
/// are started and descriptors that are opened there stay there; CRIU mounts things below the directories we open
/// for it, which only works for those of its own namespace.
pub fn with_bound<T>(from: CString, to: CString, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let what = || "enter a mount namespace for criu";
    let ours = MountView::current().at(Stage::Criu, what)?;
    ours.enter_copy().at(Stage::Criu, what)?;
    let result = bind(&from, &to).and_then(|()| work());
    // Whatever happened there, everything else has to happen here.
    ours.restore().at(Stage::Criu, || "go back to our mount namespace")?;
    result
}

fn bind(from: &CStr, to: &CStr) -> Result<()> {
    // Nothing goes to the host, but what is mounted there later on is seen.
    mount::mount(None, c"/", None, libc::MS_SLAVE | libc::MS_REC, None)
        .at(Stage::Criu, || "make the mounts of criu's namespace slaves")?;
    let what = || format!("bind {} on {}", from.to_string_lossy(), to.to_string_lossy());
    mount::mount(Some(from), to, None, libc::MS_BIND | libc::MS_REC, None).at(Stage::Criu, what)
}

//! The release ends at a panic instead of unwinding, and its stripped program has no names for a backtrace: the tables for
//! both, most of them of std and of the C library, would be a twelfth of the file that nothing ever reads.

fn main() {
    println!("cargo::rerun-if-changed=contrib/build.rs");
    println!("cargo::rerun-if-changed=contrib/no-unwind.ld");
    let has =
        |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value.split(',').any(|one| one == wanted));
    // A build script is not told of `panic = "abort"`; the release is the profile with this level.
    if has("OPT_LEVEL", "s") && has("CARGO_CFG_TARGET_FEATURE", "crt-static") {
        let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{root}/contrib/no-unwind.ld");
    }
}

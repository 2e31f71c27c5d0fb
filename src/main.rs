//! The `brisk` program.

fn main() -> std::process::ExitCode {
    brisk::cli::main()
}

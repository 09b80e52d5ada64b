//! `scenarios`: provokes real OOM kills and compares what oomtrace says with independent witnesses.

fn main() -> std::process::ExitCode {
    oomtrace_tests::cli::main()
}

//! For this crate's tests: a binary that can be a supervisor, an executor that is killed, or a program that shells
//! cannot play.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use broadsweep_leash::{Allowed, Leash, Order};

fn main() -> ExitCode {
    broadsweep_leash::supervise_if_asked();
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let role = arguments.first().and_then(|role| role.to_str()).unwrap_or_default().to_owned();
    let done = match role.as_str() {
        "executor" => be_an_executor(&arguments[1..]),
        "allocate" => allocate(arguments.get(1).and_then(|mib| mib.to_str()?.parse().ok()).unwrap_or(1)),
        "echo" => echo(),
        "descriptors" => list_descriptors(),
        "answer" => answer(),
        _ => Err(std::io::ErrorKind::InvalidInput.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a script for ever: `executor <namespaces> <groups> <mark> <script>`.
fn be_an_executor(arguments: &[std::ffi::OsString]) -> std::io::Result<()> {
    let [namespaces, groups, mark, script] = arguments else { return Err(std::io::ErrorKind::InvalidInput.into()) };
    let allowed = Allowed { namespaces: namespaces == "true", groups: groups == "true" };
    let mut slot = Leash::new(allowed).slot();
    let order = Order {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.clone()],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into()), ("LEASH_TEST".into(), mark.clone())],
        folder: "/".into(),
        ..Order::default()
    };
    let mut running = slot.start(&order).map_err(std::io::Error::other)?;
    loop {
        running.wait(Instant::now() + Duration::from_secs(1), |_| ());
    }
}

/// Fills memory, a MiB at a time.
fn allocate(mib: usize) -> std::io::Result<()> {
    let mut taken = Vec::new();
    for number in 0..mib {
        let mut block = Vec::new();
        block.try_reserve_exact(1 << 20).map_err(std::io::Error::other)?;
        block.resize(1 << 20, number as u8 | 1);
        taken.push(block);
    }
    let sum: u64 = taken.iter().map(|block| u64::from(block[4096])).sum();
    if sum > 0 { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
}

/// Prints arguments, variables, folder and standard input, each with a zero byte behind it.
fn echo() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for argument in std::env::args_os().skip(2) {
        out.write_all(&[argument.as_bytes(), b"\0"].concat())?;
    }
    for (name, value) in std::env::vars_os() {
        out.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat())?;
    }
    out.write_all(&[std::env::current_dir()?.as_os_str().as_bytes(), b"\0"].concat())?;
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    out.write_all(&[input.as_slice(), b"\0"].concat())
}

/// Prints the numbers of its descriptors, but for the one that it reads them with.
fn list_descriptors() -> std::io::Result<()> {
    let numbers: Vec<u32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|path| !path.ends_with("fd")))
        .collect();
    writeln!(std::io::stdout(), "{numbers:?}")
}

/// A warm worker: answers each line that it gets until there are no more.
fn answer() -> std::io::Result<()> {
    let mut reads = std::io::BufReader::new(fs::File::open("/proc/self/fd/3")?);
    let mut writes = fs::OpenOptions::new().write(true).open("/proc/self/fd/4")?;
    let mut line = String::new();
    while std::io::BufRead::read_line(&mut reads, &mut line)? > 0 {
        writes.write_all(format!("answer to {line}").as_bytes())?;
        line.clear();
    }
    Ok(())
}

//! The executor as a command: its flags, and the process around `serve`.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail};
use broadsweep_proto::SLOTS_MAX;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::server::{Settings, serve};
use crate::slots::SlotThreads;

/// Begins the line on standard output that says where an executor listens.
pub const LISTENING: &str = "broadsweep executor listens on ";

/// The flags of `broadsweep executor` and `broadsweep-executor`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "It prints its address on standard output once it listens. It serves one driver at a time, for as \
                        many runs as come, until SIGINT or SIGTERM ends it."
)]
pub struct ExecutorArgs {
    /// Address and port to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7717")]
    pub listen: SocketAddr,

    /// Attempts that train at the same time, one thread each [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_MAX)))]
    pub slots: Option<u32>,

    /// Folder that keeps data sets across runs; executors of one machine may share it
    /// [default: broadsweep in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Address of this executor for other executors, if it is not the one that the driver dials (not used yet)
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,

    /// Listen beyond this machine without encryption or authentication: anyone who reaches the port can use it
    #[arg(long)]
    pub insecure: bool,

    /// End when standard input closes: a local executor does not outlive its driver
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// Runs an executor until SIGINT or SIGTERM.
///
/// # Errors
/// In words, with what to do: an address in use, a cache folder that cannot be written.
pub fn run(args: &ExecutorArgs) -> anyhow::Result<()> {
    if !args.listen.ip().is_loopback() {
        if !args.insecure {
            bail!(
                "{} is reachable from other machines, and nothing is encrypted or authenticated yet; \
                 listen on 127.0.0.1, or add --insecure if you trust everyone on that network",
                args.listen
            );
        }
        tracing::warn!(listen = %args.listen, "insecure: anyone who reaches this port can use this machine");
    }
    let slots = match args.slots {
        Some(slots) => slots,
        None => cores(),
    };
    let settings = Settings {
        slots,
        memory_bytes: memory_bytes(),
        cache_dir: args.cache_dir.clone().map_or_else(default_cache_dir, Ok)?,
        advertise: args.advertise.clone(),
    };
    let threads = SlotThreads::start(slots).context("cannot start the slots' threads")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the network's threads")?;
    let result = runtime.block_on(listen_and_serve(args, settings, threads));
    // Slots stop between two batches once their session has ended; the process does not wait for them.
    runtime.shutdown_background();
    result
}

async fn listen_and_serve(args: &ExecutorArgs, settings: Settings, threads: SlotThreads) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen, or end what has it", args.listen)
    })?;
    let address = listener.local_addr()?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{LISTENING}{address}")?;
    stdout.flush()?;
    tracing::info!(%address, slots = settings.slots, cache = %settings.cache_dir.display(), "listening");
    serve(settings, listener, Arc::new(threads), end_of(args)?).await?;
    Ok(())
}

/// Resolves when the executor has to end.
fn end_of(args: &ExecutorArgs) -> io::Result<impl Future<Output = ()> + use<>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let orphaned = CancellationToken::new();
    if args.until_stdin_closes {
        let orphaned = orphaned.clone();
        thread::Builder::new().name("parent".to_owned()).spawn(move || {
            let _ = io::stdin().read_to_end(&mut Vec::new()); // an error closes it too
            orphaned.cancel();
        })?;
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = orphaned.cancelled() => {}
        }
    })
}

/// Cores of this machine that this process may use.
#[must_use]
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(SLOTS_MAX).min(SLOTS_MAX))
}

/// Memory of this machine.
fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// `broadsweep` in the user's cache folder.
///
/// # Errors
/// If the environment names neither a cache folder nor a home.
pub fn default_cache_dir() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set; name a folder with --cache-dir")?.join("broadsweep"))
}
